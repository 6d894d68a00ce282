/*
 * Windows of convolution and pooling over one, two or three spatial dimensions. They are always described as three
 * (depth, height, width); the missing ones are of size 1 and stand in front.
 *
 * Shapes: x is [N, W, C], [N, H, W, C] or [N, D, H, W, C]. Lists of attributes have an entry for each spatial dimension
 * that is there; pads has all begins, then all ends, as in ONNX.
 */
#ifndef QN_GRAPH_OP_WINDOW_H
#define QN_GRAPH_OP_WINDOW_H

#include "graph/op.h"

typedef struct {
    int rank;     /* spatial dimensions of x: 1 to 3 */
    int64_t n, c; /* of x */
    int64_t in[3], out[3], kernel[3], stride[3], before[3], after[3], dilation[3];
} qn_op_window;

/* Reads strides, pads, dilations, auto_pad and ceil_mode as far as the row has them, and sizes from x. The window's own
 * size is `kernel`, one entry for each spatial dimension, or the attribute kernel_shape where that is NULL. An unknown size (a
 * symbol) stays unknown where the window keeps it. Errors: ERR_ARG. */
QN_MUST_USE qn_status qn_op_window_read(const qn_op_types *types, const qn_shape *x,
                                        const int64_t *kernel, qn_op_window *ret, qn_error *err);
/* The window of the convolution whose transpose takes x to `in`, by ONNX ConvTranspose: x has the sizes `out`, the
 * result the sizes `in`. Also reads output_padding and output_shape. */
QN_MUST_USE qn_status qn_op_window_transposed(const qn_op_types *types, const qn_shape *x,
                                              const int64_t *kernel, qn_op_window *ret,
                                              qn_error *err);
/* The shape of an input or output of the window with `channels`. */
qn_shape qn_op_window_shape(const qn_op_window *window, const int64_t size[3], int64_t channels);
/* A list attribute of the row's spatial dimensions as three numbers, the missing ones `fallback`. */
QN_MUST_USE qn_status qn_op_spatial(const qn_op_types *types, const char *name, int rank,
                                    int64_t fallback, int64_t ret[3], qn_error *err);
/* 1 to 3 for [N, spatial..., C]. Errors: ERR_ARG for any other rank. */
QN_MUST_USE qn_status qn_op_spatial_rank(const qn_op_types *types, int input, int *ret,
                                         qn_error *err);

/* One output: image, place, and the rest of the index. */
typedef struct {
    int64_t n, at[3];
} qn_op_place;

static inline qn_op_place qn_op_place_of(const int64_t size[3], int64_t pixel)
{
    return (qn_op_place){
        pixel / size[2] / size[1] / size[0],
        {pixel / size[2] / size[1] % size[0], pixel / size[2] % size[1], pixel % size[2]}};
}

static inline int64_t qn_op_window_places(const qn_op_window *w)
{
    return w->kernel[0] * w->kernel[1] * w->kernel[2];
}

/* The pixel of x, counted over [n, d, h, w], under element `place` of the window of an output; -1 = outside. */
static inline int64_t qn_op_window_pixel(const qn_op_window *w, const qn_op_place *out,
                                         int64_t place)
{
    qn_op_place tap = qn_op_place_of(w->kernel, place);
    int64_t pixel = out->n;
    for (int i = 0; i < 3; i++) {
        int64_t from = out->at[i] * w->stride[i] - w->before[i] + tap.at[i] * w->dilation[i];
        if (from < 0 || from >= w->in[i])
            return -1;
        pixel = pixel * w->in[i] + from;
    }
    return pixel;
}

/* Attributes that rows with windows share. */
#define OP_AUTO_PAD                                                                                \
    {                                                                                              \
        .name = "auto_pad", .kind = QN_ATTR_STRING,                                                \
        .choices = "NOTSET SAME_UPPER SAME_LOWER VALID"                                            \
    }
#define OP_CEIL_MODE                                                                               \
    {                                                                                              \
        .name = "ceil_mode", .kind = QN_ATTR_INT, .high = 1                                        \
    }
#define OP_INPUT_SIZE                                                                              \
    {                                                                                              \
        .name = "input_size", .kind = QN_ATTR_INTS, .required = true, .symbolic = true             \
    }

#endif
