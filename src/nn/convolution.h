/*
 * Layers over sequences [B, W, C], images [B, H, W, C] and volumes [B, D, H, W, C]: convolution, pooling, and what
 * changes the number of pixels. `rank` is 1, 2 or 3; lists have that many numbers.
 */
#ifndef QN_NN_CONVOLUTION_H
#define QN_NN_CONVOLUTION_H

#include "nn/layers.h"

/* Windows of convolution and pooling. Zero in `stride` means 1 (convolution) or the window
 * (pooling); zero in `dilation` means 1. SAME gives ceil(size / stride) outputs, the odd pixel of
 * padding at the end, as Keras and ONNX SAME_UPPER. */
typedef enum { QN_NN_PAD_VALID, QN_NN_PAD_SAME, QN_NN_PAD_EXPLICIT } qn_nn_padding;
typedef struct {
    int64_t size[3]; /* of an image: height, width */
    int64_t stride[3];
    int64_t dilation[3];
    qn_nn_padding padding;
    int64_t pads[6]; /* EXPLICIT: all begins, then all ends; of an image top, left, bottom, right */
    bool ceil;       /* pooling: also windows that begin inside and end past the padding */
    bool count_pads; /* mean pooling: zeros of the padding count, as in PyTorch */
} qn_nn_window;

/* Shapes: weight [K..., C / groups, filters], bias [filters]. */
typedef struct {
    int64_t filters;
    qn_nn_window kernel;
    int64_t groups; /* 0 = 1 */
    const char *activation;
    qn_nn_init init;
    bool no_bias;
    qn_nn_reparam reparam;
} qn_nn_conv_options;
qn_value qn_nn_conv(const qn_nn_scope *at, qn_value x, int rank, const qn_nn_conv_options *options);

/* The transpose of a convolution from the result back to x. VALID and explicit padding take pixels away from the
 * full result, stride * (size - 1) + window; SAME gives stride * size. extra: pixels more at the end, less than
 * the stride. Shapes: weight [K..., filters / groups, C], bias [filters]. */
qn_value qn_nn_conv_transpose(const qn_nn_scope *at, qn_value x, int rank,
                              const qn_nn_conv_options *options, const int64_t *extra);

/* Each channel by itself; options.filters: results for each channel (Keras' depth_multiplier). */
qn_value qn_nn_depthwise_conv(const qn_nn_scope *at, qn_value x, int rank,
                              const qn_nn_conv_options *options);
/* That with `multiplier`, then a convolution of one pixel. States NAME.depthwise and NAME.pointwise. Source: Chollet 2017. */
qn_value qn_nn_separable_conv(const qn_nn_scope *at, qn_value x, int rank,
                              const qn_nn_conv_options *options, int64_t multiplier);

qn_value qn_nn_max_pool(const qn_nn_scope *at, qn_value x, int rank, const qn_nn_window *window);
qn_value qn_nn_avg_pool(const qn_nn_scope *at, qn_value x, int rank, const qn_nn_window *window);
/* The p-norm of each window: (sum |x|^p)^(1 / p). Source: Boureau et al. 2010. */
qn_value qn_nn_lp_pool(const qn_nn_scope *at, qn_value x, int rank, const qn_nn_window *window,
                       int64_t p);
/* The largest of each window, and where each stood, for qn_nn_max_unpool. Windows of `size` stand side by side, so that
 * no two share a pixel; pixels left over at the end belong to none. */
qn_value qn_nn_max_pool_places(const qn_nn_scope *at, qn_value x, int rank, const int64_t *size,
                               qn_value *ret_places);
/* An image as large as x, which was pooled: zeros, and y, of the small image's shape, at `places`. */
qn_value qn_nn_max_unpool(const qn_nn_scope *at, qn_value y, int rank, const int64_t *size,
                          qn_value places, qn_value x);
/* To [B, C]. */
typedef enum { QN_NN_LARGEST, QN_NN_MEAN } qn_nn_summary;
qn_value qn_nn_global_pool(const qn_nn_scope *at, qn_value x, int rank, qn_nn_summary summary);
/* To `size` pixels along each dimension, whatever came in. */
qn_value qn_nn_adaptive_pool(const qn_nn_scope *at, qn_value x, int rank, const int64_t *size,
                             qn_nn_summary summary);

/* mode: "nearest", "linear" or "cubic". */
qn_value qn_nn_upsample(const qn_nn_scope *at, qn_value x, int rank, const int64_t *factor,
                        const char *mode);
/* To `size` pixels along each dimension; mode as above. */
qn_value qn_nn_resize(const qn_nn_scope *at, qn_value x, int rank, const int64_t *size,
                      const char *mode);
/* pads: all begins, then all ends. */
qn_value qn_nn_zero_padding(const qn_nn_scope *at, qn_value x, int rank, const int64_t *pads);

#endif
