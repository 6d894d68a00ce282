/*
 * Activations that kernels can fuse behind a product. The same numbers are computed by the unary
 * kernels of elementwise/unary.h: fusing changes speed, never bits within one ISA.
 */
#ifndef QN_KERNEL_ACT_H
#define QN_KERNEL_ACT_H

typedef enum {
    QN_ACT_NONE,
    QN_ACT_RELU,    /* max(x, 0); NaN stays NaN */
    QN_ACT_LEAKY,   /* x > 0 ? x : slope * x */
    QN_ACT_SIGMOID, /* 1 / (1 + exp(-x)) */
    QN_ACT_TANH,
    QN_ACT_GELU,      /* x / 2 * (1 + erf(x / sqrt 2)) */
    QN_ACT_GELU_TANH, /* the tanh approximation of Hendrycks and Gimpel, 2016 */
    QN_ACT_SILU,      /* x * sigmoid(x) */
    QN_ACT_COUNT
} qn_act;

#endif
