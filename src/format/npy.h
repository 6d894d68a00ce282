/*
 * NumPy's .npy (one array) and .npz (a zip of them), read and written. Only plain numbers and
 * booleans: object arrays (pickles) are refused, Fortran order is turned into C order, big-endian
 * into host order.
 */
#ifndef QN_FORMAT_NPY_H
#define QN_FORMAT_NPY_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"
#include "tensor/tensor.h"

/* Points into `bytes` where the order is already right. Errors: ERR_DATA, ERR_BUDGET, ERR_MEMORY.
 * Threads: any. */
QN_MUST_USE qn_status qn_npy_read(qn_str bytes, const char *file, qn_arena *arena, qn_tensor *ret,
                                  qn_error *err);
void qn_npy_write(qn_buf *dst, const qn_tensor *array);

/* All members of an NPZ, names without ".npy". Members may be stored or deflated; CRC, sizes and
 * the sum of sizes (limit_bytes, 0 = 16 GiB) are checked. */
QN_MUST_USE qn_status qn_npz_read(qn_str bytes, const char *file, size_t limit_bytes,
                                  qn_arena *arena, qn_named_tensor **ret_arrays, int64_t *ret_count,
                                  qn_error *err);
/* Stored, not deflated, so that others can map it. */
QN_MUST_USE qn_status qn_npz_write(qn_buf *dst, const qn_named_tensor *arrays, int64_t count,
                                   qn_error *err);

#endif
