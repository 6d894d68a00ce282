/* What each ISA provides for update.h: loops with the step's coefficients worked out. */
#ifndef QN_KERNEL_UPDATE_TABLE_H
#define QN_KERNEL_UPDATE_TABLE_H

#include "kernel/optim/update.h"

typedef struct {
    float grad_scale, decay; /* g = grad_scale * grad + decay * w */
    float shrink;            /* w *= shrink, decoupled */
    float keep1, fresh1;     /* first moment = keep1 * it + fresh1 * g */
    float keep2, fresh2;     /* second = keep2 * it + fresh2 * g^2 */
    float momentum;
    float rate;  /* of the update */
    float rate2; /* NADAM: of the first moment, where rate is of g */
    float root;  /* NADAM: 1 / sqrt(1 - beta2^t) */
    float eps;
} qn_update_step;

/* Over [0, count) of pointers already moved to their chunk. */
typedef struct {
    float *w, *m[QN_UPDATE_MOMENTS];
    const float *grad;
} qn_update_chunk;

typedef void (*qn_update_loop)(const qn_update_chunk *chunk, int64_t count,
                               const qn_update_step *step);
typedef struct {
    qn_update_loop loops[QN_UPDATE_KINDS];
} qn_update_kernels;

extern const qn_update_kernels qn_update_f32_ref, qn_update_f32_neon, qn_update_f32_avx2,
    qn_update_f32_avx512;

#endif
