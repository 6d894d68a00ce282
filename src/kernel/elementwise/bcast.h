/*
 * The shape of an operation whose inputs are broadcast against a contiguous row-major destination.
 */
#ifndef QN_KERNEL_BCAST_H
#define QN_KERNEL_BCAST_H

#include <stdint.h>

#define QN_KERNEL_RANK  8
#define QN_BCAST_INPUTS 3

/* dim[0] is outermost. stride[i][d]: elements that input i moves per step along d; 0 = broadcast.
 */
typedef struct {
    int rank;
    int64_t dim[QN_KERNEL_RANK];
    int64_t stride[QN_BCAST_INPUTS][QN_KERNEL_RANK];
} qn_bcast;

/* All inputs contiguous and of the destination's shape: rank 1. */
qn_bcast qn_bcast_same(int64_t count);
/* From shapes aligned at the right, as ONNX and numpy do: input i has ranks[i] dims[i][...] and is
 * contiguous. The shapes must be compatible (graph/ has checked them). Result is collapsed. */
qn_bcast qn_bcast_make(const int64_t *dst_dim, int dst_rank, const int64_t *const *dims,
                       const int *ranks, int inputs);
/* Drops dimensions of 1 and joins neighbours that every input walks as one. Do it once, when
 * planning: the kernels' fast paths (same shape, scalar, row, column) see collapsed shapes only. */
void qn_bcast_collapse(qn_bcast *shape, int inputs);
int64_t qn_bcast_count(const qn_bcast *shape);

#endif
