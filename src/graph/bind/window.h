/* From the windows of rows to the shapes that kernels take. Sequences are planes of one column. */
#ifndef QN_GRAPH_BIND_WINDOW_H
#define QN_GRAPH_BIND_WINDOW_H

#include "graph/op/window.h"
#include "kernel/conv/conv.h"
#include "kernel/pool/pool.h"

qn_conv2d qn_bind_conv(const qn_op_window *window, int64_t cin, int64_t cout, int64_t groups);
qn_pool2d qn_bind_pool(const qn_op_window *window);

#endif
