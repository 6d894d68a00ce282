/*
 * Windows as kernels describe them (window.h). The rows of a plane are what kernels cut into blocks, so a sequence runs down
 * the rows.
 */
#include "graph/bind/window.h"

/* Which of the window's three dimensions is the kernel's height, and which its width. */
typedef struct {
    int64_t h, w;
} pair;

static pair of(const qn_op_window *window, const int64_t list[3], int64_t fallback)
{
    if (window->rank == 1)
        return (pair){list[2], fallback};
    return (pair){list[1], list[2]};
}

qn_conv2d qn_bind_conv(const qn_op_window *window, int64_t cin, int64_t cout, int64_t groups)
{
    pair in = of(window, window->in, 1), out = of(window, window->out, 1),
         kernel = of(window, window->kernel, 1), stride = of(window, window->stride, 1),
         pad = of(window, window->before, 0), dilation = of(window, window->dilation, 1);
    qn_conv2d conv = {.n = window->n,
                      .h = in.h,
                      .w = in.w,
                      .cin = cin,
                      .oh = out.h,
                      .ow = out.w,
                      .cout = cout,
                      .kh = kernel.h,
                      .kw = kernel.w,
                      .stride_h = stride.h,
                      .stride_w = stride.w,
                      .pad_top = pad.h,
                      .pad_left = pad.w,
                      .dilation_h = dilation.h,
                      .dilation_w = dilation.w,
                      .groups = groups};
    if (window->rank < 3)
        return conv;
    conv.d = window->in[0];
    conv.od = window->out[0];
    conv.kd = window->kernel[0];
    conv.stride_d = window->stride[0];
    conv.pad_front = window->before[0];
    conv.dilation_d = window->dilation[0];
    return conv;
}

qn_pool2d qn_bind_pool(const qn_op_window *window)
{
    const int64_t *before = window->before, *after = window->after;
    return (qn_pool2d){.n = window->n,
                       .c = window->c,
                       .d = window->in[0],
                       .h = window->in[1],
                       .w = window->in[2],
                       .od = window->out[0],
                       .oh = window->out[1],
                       .ow = window->out[2],
                       .kd = window->kernel[0],
                       .kh = window->kernel[1],
                       .kw = window->kernel[2],
                       .stride_d = window->stride[0],
                       .stride_h = window->stride[1],
                       .stride_w = window->stride[2],
                       .pad_front = before[0],
                       .pad_top = before[1],
                       .pad_left = before[2],
                       .pad_back = after[0],
                       .pad_bottom = after[1],
                       .pad_right = after[2],
                       .dilation_d = window->dilation[0],
                       .dilation_h = window->dilation[1],
                       .dilation_w = window->dilation[2]};
}
