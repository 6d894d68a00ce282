/*
 * Geometries of convolution that the tests of its kernels share.
 */
#ifndef QN_TESTS_CONV_TESTING_H
#define QN_TESTS_CONV_TESTING_H

#include <stdint.h>

#include "kernel/conv/conv.h"

static inline int64_t conv_out_size(int64_t size, int64_t k, int64_t stride, int64_t pads,
                                    int64_t dilation)
{
    int64_t span = (k - 1) * dilation + 1;
    return size + pads < span ? 0 : (size + pads - span) / stride + 1;
}

/* The i-th of CONV_GEOMETRIES windows, strides, paddings and dilations, by no two sides alike, over c's batch, width, channels
 * and groups. False where it leaves no output. */
enum { CONV_GEOMETRIES = 4 * 3 * 3 * 2 };
static inline bool conv_geometry(qn_conv2d *c, int i)
{
    int64_t k = 1 + i % 4, stride = 1 + i / 4 % 3, pad = i / 12 % 3, dilation = 1 + i / 36 % 2;
    c->h = 7;
    c->kh = k;
    c->kw = k == 4 ? 2 : k;
    c->stride_h = stride;
    c->stride_w = k == 2 ? 1 : stride;
    c->pad_top = pad;
    c->pad_left = k == 3 ? 1 : pad;
    c->dilation_h = dilation;
    c->dilation_w = k == 4 ? 1 : dilation;
    c->oh = conv_out_size(c->h, c->kh, c->stride_h, 2 * c->pad_top, c->dilation_h);
    c->ow = conv_out_size(c->w, c->kw, c->stride_w, c->pad_left + 1, c->dilation_w);
    return c->oh > 0 && c->ow > 0;
}

#endif
