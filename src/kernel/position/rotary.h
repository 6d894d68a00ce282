/*
 * Rotary positions, f32: pairs of a head's numbers turned by an angle that grows with the position.
 */
#ifndef QN_KERNEL_ROTARY_H
#define QN_KERNEL_ROTARY_H

#include <stdbool.h>
#include <stdint.h>

#include "os/pool.h"

/* Shapes: x and y [batch, steps, heads, dim]; the first 2 * half numbers of a head turn, pair i being
 * (i, half + i), or (2 i, 2 i + 1) when interleaved; the others are copied. cosine and sine are
 * [steps, half], or [batch, steps, half] when each row has its own. y may be x. */
typedef struct {
    int64_t batch, steps, heads, dim, half;
    bool interleaved, by_row;
    const float *cosine, *sine, *x;
    float *y;
} qn_rotary;
void qn_rotary_f32(qn_pool *pool, const qn_rotary *io);

#endif
