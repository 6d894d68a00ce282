/*
 * Broadcast shapes: from aligned dimensions to as few strided ones as possible.
 */
#include "kernel/elementwise/bcast.h"

#include <stdbool.h>

qn_bcast qn_bcast_same(int64_t count)
{
    return (qn_bcast){.rank = 1, .dim = {count}, .stride = {{1}, {1}, {1}}};
}

qn_bcast qn_bcast_make(const int64_t *dst_dim, int dst_rank, const int64_t *const *dims,
                       const int *ranks, int inputs)
{
    qn_bcast shape = {.rank = dst_rank};
    for (int d = 0; d < dst_rank; d++)
        shape.dim[d] = dst_dim[d];
    for (int i = 0; i < inputs; i++) {
        int64_t stride = 1;
        for (int d = ranks[i] - 1; d >= 0; d--) {
            int at = dst_rank - ranks[i] + d;
            shape.stride[i][at] = dims[i][d] == 1 ? 0 : stride;
            stride *= dims[i][d];
        }
    }
    qn_bcast_collapse(&shape, inputs);
    return shape;
}

/* Can dimension `outer` be walked as more steps of dimension `inner`? */
static bool joins(const qn_bcast *shape, int inputs, int outer, int inner)
{
    for (int i = 0; i < inputs; i++)
        if (shape->stride[i][outer] != shape->stride[i][inner] * shape->dim[inner])
            return false;
    return true;
}

static void dimension_move(qn_bcast *shape, int inputs, int to, int from)
{
    shape->dim[to] = shape->dim[from];
    for (int i = 0; i < inputs; i++)
        shape->stride[i][to] = shape->stride[i][from];
}

void qn_bcast_collapse(qn_bcast *shape, int inputs)
{
    int kept = 0;
    for (int d = 0; d < shape->rank; d++) {
        if (shape->dim[d] == 1)
            continue;
        if (kept > 0 && joins(shape, inputs, kept - 1, d)) {
            int64_t joined = shape->dim[kept - 1] * shape->dim[d];
            dimension_move(shape, inputs, kept - 1, d);
            shape->dim[kept - 1] = joined;
            continue;
        }
        dimension_move(shape, inputs, kept++, d);
    }
    if (kept == 0) {
        shape->dim[0] = 1;
        for (int i = 0; i < inputs; i++)
            shape->stride[i][0] = 0;
        kept = 1;
    }
    shape->rank = kept;
}

int64_t qn_bcast_count(const qn_bcast *shape)
{
    int64_t count = 1;
    for (int d = 0; d < shape->rank; d++)
        count *= shape->dim[d];
    return count;
}
