/*
 * safetensors: a JSON header and one flat data area. Read with every check that reference
 * implementations and their attack files ask for (header cap, no holes, no overlaps, no duplicate
 * keys, checked products); written sorted.
 */
#ifndef QN_FORMAT_SAFETENSORS_H
#define QN_FORMAT_SAFETENSORS_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"
#include "tensor/tensor.h"

#define QN_SAFETENSORS_HEADER_MAX                                                                  \
    100000000 /* the reference implementation's cap (safetensors/src/tensor.rs) */

typedef struct {
    qn_named_tensor *tensors; /* in file order; data points into the file's bytes */
    int64_t count;
    qn_str *meta_keys; /* __metadata__ */
    qn_str *meta_values;
    int64_t meta_count;
} qn_safetensors;

/* `bytes` (a mapped file) must outlive the result. Errors: ERR_DATA names the tensor, value and
 * expectation. Memory: the header's tree in `arena`. Threads: any. */
QN_MUST_USE qn_status qn_safetensors_read(qn_str bytes, const char *file, qn_arena *arena,
                                          qn_safetensors *ret, qn_error *err);
const qn_named_tensor *qn_safetensors_find(const qn_safetensors *file,
                                           const char *name); /* NULL = absent */

/* Writes header and data; the data area starts 64-byte aligned and follows the given order. Errors:
 * ERR_ARG for a duplicate or empty name; ERR_MEMORY. */
QN_MUST_USE qn_status qn_safetensors_write(qn_buf *dst, const qn_named_tensor *tensors,
                                           int64_t count, const qn_str *meta_keys,
                                           const qn_str *meta_values, int64_t meta_count,
                                           qn_error *err);

#endif
