/*
 * Losses in plain C.
 */
#include <math.h>
#include <stddef.h>

#include "kernel/loss/loss_table.h"

static float target_of(const qn_cross_entropy_row *row, int64_t c)
{
    float t = row->targets ? row->targets[c] : (float)(c == row->label);
    return (row->weights ? row->weights[c] : 1) * (row->keep * t + row->uniform);
}

static float cross_entropy(float *dx, const float *x, int64_t cols, const qn_cross_entropy_row *row)
{
    float top = x[0], sum = 0, mass = 0, loss = 0;
    for (int64_t i = 1; i < cols; i++)
        top = isnan(top) || top > x[i] ? top : x[i];
    for (int64_t i = 0; i < cols; i++) {
        float u = target_of(row, i);
        sum += expf(x[i] - top);
        mass += u;
        if (u != 0)
            loss -= u * (x[i] - top);
    }
    loss += mass * logf(sum);
    for (int64_t i = 0; dx && i < cols; i++)
        dx[i] = row->scale * (expf(x[i] - top) / sum * mass - target_of(row, i));
    return loss;
}

static int64_t first_largest(const float *x, int64_t cols)
{
    int64_t at = 0;
    for (int64_t i = 0; i < cols; i++) {
        if (isnan(x[i]))
            return -1;
        if (x[i] > x[at])
            at = i;
    }
    return at;
}

static float mse(float d, float t, float p, float *ret_slope)
{
    (void)t;
    (void)p;
    *ret_slope = 2 * d;
    return d * d;
}

static float mae(float d, float t, float p, float *ret_slope)
{
    (void)t;
    (void)p;
    *ret_slope = d > 0 ? 1 : d < 0 ? -1 : d;
    return fabsf(d);
}

static float huber(float d, float t, float p, float *ret_slope)
{
    (void)t;
    float size = fabsf(d);
    *ret_slope = d < -p ? -p : d > p ? p : d;
    return size <= p ? 0.5f * d * d : p * (size - 0.5f * p);
}

static float bce(float x, float t, float p, float *ret_slope)
{
    float weight = 1 + (p - 1) * t;
    *ret_slope = 1 - t - weight / (1 + expf(x));
    return (1 - t) * x + weight * (log1pf(expf(-fabsf(x))) + (x < 0 ? -x : 0));
}

static float poisson(float x, float t, float p, float *ret_slope)
{
    (void)p;
    *ret_slope = expf(x) - t;
    return expf(x) - t * x;
}

static float quantile(float d, float t, float p, float *ret_slope)
{
    (void)t;
    float slope = d < 0 ? -p : 1 - p;
    *ret_slope = d < 0 || d > 0 ? slope : d;
    return slope * d;
}

static float hinge(float x, float t, float p, float *ret_slope)
{
    float side = t > 0 ? 1 : -1, gap = p - side * x;
    *ret_slope = gap > 0 ? -side : gap < 0 ? 0 : gap;
    return gap < 0 ? 0 : gap;
}

static float squared_hinge(float x, float t, float p, float *ret_slope)
{
    float gap = hinge(x, t, p, ret_slope);
    *ret_slope *= 2 * gap;
    return gap * gap;
}

static float kl(float x, float t, float p, float *ret_slope)
{
    (void)p;
    *ret_slope = -t;
    return t > 0 || t < 0 || isnan(t) ? t * (logf(t) - x) : 0;
}

/* The first argument is x - t, or x itself for the loss on logits. */
#define POINTWISE(name, function, argument)                                                        \
    static float name(const qn_pointwise_block *b)                                                 \
    {                                                                                              \
        float sum = 0;                                                                             \
        for (int64_t i = 0; i < b->count; i++) {                                                   \
            float slope, w = b->weights ? b->weights[i] : 1, x = b->x[i], t = b->t[i];             \
            float loss = w * function(argument, t, b->p, &slope);                                  \
            sum += loss;                                                                           \
            if (b->each)                                                                           \
                b->each[i] = loss;                                                                 \
            if (b->dx)                                                                             \
                b->dx[i] = b->scale * (w * slope);                                                 \
        }                                                                                          \
        return sum;                                                                                \
    }
POINTWISE(block_mse, mse, x - t)
POINTWISE(block_mae, mae, x - t)
POINTWISE(block_huber, huber, x - t)
POINTWISE(block_bce, bce, x)
POINTWISE(block_poisson, poisson, x)
POINTWISE(block_quantile, quantile, x - t)
POINTWISE(block_hinge, hinge, x)
POINTWISE(block_squared_hinge, squared_hinge, x)
POINTWISE(block_kl, kl, x)

const qn_loss_kernels qn_loss_f32_ref = {
    .cross_entropy = cross_entropy,
    .first_largest = first_largest,
    .pointwise = {block_mse, block_mae, block_huber, block_bce, block_poisson, block_quantile,
                  block_hinge, block_squared_hinge, block_kl},
};
