/*
 * How Resize reads an axis: for each output a run of neighbouring inputs with their weights. The row's reference and its
 * binding share it.
 */
#ifndef QN_GRAPH_OP_RESIZE_H
#define QN_GRAPH_OP_RESIZE_H

#include "graph/op.h"

typedef enum { QN_RESIZE_NEAREST, QN_RESIZE_LINEAR, QN_RESIZE_CUBIC } qn_resize_mode;

typedef struct {
    int64_t in, out;
    double scale;      /* outputs per input */
    double start, end; /* tf_crop_and_resize: the part that is seen, as shares of the axis */
    bool same;         /* every output is the input of its own place */
} qn_resize_axis;

typedef struct {
    int rank;
    qn_resize_axis axes[QN_RANK_MAX];
    qn_resize_mode mode;
    const char *coordinates,
        *nearest; /* attributes coordinate_transformation_mode and nearest_mode */
    double cubic_a, extrapolation;
    bool exclude_outside, antialias, crops;
} qn_resize;

/* The inputs of one output: `count` from `first` on, which may lie past the ends and are then clamped. */
typedef struct {
    int64_t first, count;
    double ratio, squeeze, sum; /* of the weights; squeeze: of the kernel when antialiasing */
    bool outside;               /* the output is the extrapolation value */
} qn_resize_taps;

/* x and y: the row's forward input and output. roi and scales: input data or NULL, of `dtype`. */
void qn_resize_read(const qn_op_types *types, const qn_shape *x, const qn_shape *y,
                    const qn_tensor *roi, const qn_tensor *scales, qn_resize *ret);
qn_resize_taps qn_resize_taps_of(const qn_resize *resize, const qn_resize_axis *axis, int64_t out);
/* Tap i: its weight, and its input in *ret_index. */
double qn_resize_tap(const qn_resize *resize, const qn_resize_axis *axis,
                     const qn_resize_taps *taps, int64_t i, int64_t *ret_index);

#endif
