/* What each ISA provides for optim.h: loops with the step's coefficients worked out. */
#ifndef QN_KERNEL_OPTIM_TABLE_H
#define QN_KERNEL_OPTIM_TABLE_H

#include <stdint.h>

typedef struct {
    float grad_scale, decay; /* g = grad_scale * grad + decay * w */
    float momentum, fresh;   /* v = momentum * v + fresh * g */
    float of_g, of_v; /* w -= lr * (of_g * g + of_v * v): (0, 1), or (1, momentum) for Nesterov */
    float lr;
} qn_sgd_step;

typedef struct {
    float grad_scale, decay; /* g = grad_scale * grad + decay * w */
    float shrink;            /* w *= shrink: 1 - lr * weight_decay when decoupled */
    float beta1, fresh1, beta2, fresh2;
    float rate; /* lr / (1 - beta1^t) */
    float root; /* 1 / sqrt(1 - beta2^t) */
    float eps;
} qn_adam_step;

typedef struct {
    void (*sgd_plain)(float *w, const float *grad, int64_t count, const qn_sgd_step *step);
    void (*sgd_momentum)(float *w, float *v, const float *grad, int64_t count,
                         const qn_sgd_step *step);
    void (*adam)(float *w, float *m, float *v, const float *grad, int64_t count,
                 const qn_adam_step *step);
} qn_optim_kernels;

extern const qn_optim_kernels qn_optim_f32_ref, qn_optim_f32_neon, qn_optim_f32_avx2,
    qn_optim_f32_avx512;

#endif
