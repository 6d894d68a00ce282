/* What each ISA provides for tensor.h. */
#ifndef QN_KERNEL_OPTIM_TENSOR_TABLE_H
#define QN_KERNEL_OPTIM_TENSOR_TABLE_H

#include <stdint.h>

typedef struct {
    float grad_scale, decay; /* r = first' / (sqrt(second') + eps) + decay * w */
    float beta1, fresh1, beta2, fresh2;
    float rate; /* 1 / (1 - beta1^t) */
    float root; /* 1 / sqrt(1 - beta2^t) */
    float eps;
    float lr; /* of the second pass: with the trust ratio */
} qn_lamb_step;

/* One row of g against its estimates: v = max(row * col, floor), u = grad_scale * g / sqrt(v). */
typedef struct {
    float grad_scale, row, floor;
    float shrink, rate; /* w = shrink * w - rate * u */
} qn_factor_step;

typedef struct {
    /* New moments; ret_sums: of w^2 and r^2. */
    void (*lamb_moments)(const float *w, float *m, float *v, const float *grad, int64_t count,
                         const qn_lamb_step *step, float ret_sums[2]);
    void (*lamb_apply)(float *w, const float *m, const float *v, int64_t count,
                       const qn_lamb_step *step);
    /* col += (scale g)^2; gives the sum of what was added. */
    float (*factor_squares)(float *col, const float *grad, int64_t count, float scale);
    /* kept += share * (factor * x - kept) */
    void (*factor_keep)(float *kept, const float *x, int64_t count, float share, float factor);
    /* ret_sums: of w^2 and u^2. */
    void (*factor_sums)(const float *w, const float *grad, const float *col, int64_t count,
                        const qn_factor_step *step, float ret_sums[2]);
    void (*factor_apply)(float *w, const float *grad, const float *col, int64_t count,
                         const qn_factor_step *step);
} qn_optim_tensor_kernels;

extern const qn_optim_tensor_kernels qn_optim_tensor_f32_ref, qn_optim_tensor_f32_neon,
    qn_optim_tensor_f32_avx2, qn_optim_tensor_f32_avx512;

#endif
