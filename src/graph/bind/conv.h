/*
 * Convolution: what the bindings of f32 (conv.c) and of bf16 (conv_bf16.c) share.
 */
#ifndef QN_GRAPH_BIND_CONV_H
#define QN_GRAPH_BIND_CONV_H

#include "graph/bind/bind.h"
#include "graph/bind/window.h"

/* The convolution behind each row, as kernels describe it. */
qn_conv2d qn_bind_conv_forward(const qn_bind *bind);
qn_conv2d qn_bind_conv_grad_x(const qn_bind *bind);
qn_conv2d qn_bind_conv_grad_w(const qn_bind *bind);
qn_conv2d qn_bind_conv_transposed(const qn_bind *bind);
qn_conv2d qn_bind_conv_pooled(const qn_bind *bind);

/* A step for which qn_bind_conv_takes_bf16 holds. */
bool qn_bind_conv_bf16(const qn_bind *bind);
size_t qn_bind_conv_bf16_scratch_bytes(const qn_bind *bind);

#endif
