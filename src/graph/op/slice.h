/* What the attributes of Slice mean, for its row and its binding. */
#ifndef QN_GRAPH_OP_SLICE_H
#define QN_GRAPH_OP_SLICE_H

#include "graph/op.h"

/* Dimension d: shape.dims[d] elements from begin[d] on, step[d] apart. */
typedef struct {
    qn_shape shape;
    int64_t begin[QN_RANK_MAX], step[QN_RANK_MAX];
} qn_op_range;
/* Of a tensor of shape `from`. */
QN_MUST_USE qn_status qn_op_slice_read(const qn_op_types *types, const qn_shape *from,
                                       qn_op_range *ret, qn_error *err);

#endif
