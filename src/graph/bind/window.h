/* The window attributes of convolution and pooling, with the defaults of ONNX. */
#ifndef QN_GRAPH_BIND_WINDOW_H
#define QN_GRAPH_BIND_WINDOW_H

#include "graph/bind/bind.h"

/* dilation may be NULL for ops without the attribute. pads: top, left, bottom, right. */
static inline void qn_bind_window(const qn_bind *bind, int64_t stride[2], int64_t pads[4],
                                  int64_t dilation[2])
{
    int count = 0;
    const int64_t *list = qn_op_attr_ints(bind->types, "strides", &count);
    for (int i = 0; i < 2; i++)
        stride[i] = count == 2 ? list[i] : 1;
    list = qn_op_attr_ints(bind->types, "pads", &count);
    for (int i = 0; i < 4; i++)
        pads[i] = count == 4 ? list[i] : 0;
    if (!dilation)
        return;
    list = qn_op_attr_ints(bind->types, "dilations", &count);
    for (int i = 0; i < 2; i++)
        dilation[i] = count == 2 ? list[i] : 1;
}

#endif
