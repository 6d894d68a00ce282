/*
 * IDX, the file of MNIST and its relatives: two zero bytes, a type, a rank, big-endian sizes,
 * values. Gzipped or not.
 */
#ifndef QN_FORMAT_IDX_H
#define QN_FORMAT_IDX_H

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"
#include "tensor/tensor.h"

/* `bytes` may be gzip (recognised by its magic). Values are host order in `arena`, or point into
 * `bytes` when they need no change. Errors: ERR_DATA names what the header says and what is there;
 * ERR_BUDGET when the header asks for more than `limit_bytes` (0 = 4 GiB): checked before anything
 * is allocated. Threads: any. */
QN_MUST_USE qn_status qn_idx_read(qn_str bytes, const char *file, size_t limit_bytes,
                                  qn_arena *arena, qn_tensor *ret, qn_error *err);
/* As above, the header only (dtype and shape; data NULL): decompresses no more than the header. */
QN_MUST_USE qn_status qn_idx_peek(qn_str bytes, const char *file, qn_tensor *ret, qn_error *err);
/* Reads the values straight into `dst` of exactly qn_tensor_bytes of what qn_idx_peek found. */
QN_MUST_USE qn_status qn_idx_read_into(qn_str bytes, const char *file, void *dst, size_t size_bytes,
                                       qn_error *err);

#endif
