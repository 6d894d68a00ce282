/*
 * The parts of convolution that are not matrix products, in plain C.
 */
#include <math.h>

#include "kernel/conv/conv_table.h"

static void depthwise(const qn_strip *s)
{
    for (int64_t i = 0; i < s->rows; i++) {
        for (int c = 0; c < s->cols; c++) {
            float acc = s->add ? s->c[i * s->ldc + c] : 0;
            const float *b = s->b + c;
            for (int64_t seg = 0; seg < s->segs; seg++) {
                const float *a = s->a + s->row[i] + s->seg[seg] + c;
                for (int64_t k = 0; k < s->seg_len; k++, b += s->ldb)
                    acc += a[k * s->step] * *b;
            }
            acc = s->bias ? acc + s->bias[c] : acc;
            acc = s->added ? acc + s->added[i * s->ldc + c] : acc;
            s->c[i * s->ldc + c] = s->relu && acc < 0 ? 0 : acc;
        }
    }
}

static void pool(float *y, uint8_t *choice, const float *top, const float *bottom, int64_t count,
                 int64_t channels)
{
    for (int64_t p = 0; p < count; p++) {
        for (int64_t c = 0; c < channels; c++) {
            int64_t at = 2 * p * channels + c;
            const float from[4] = {top[at], top[at + channels], bottom[at], bottom[at + channels]};
            int best = 0;
            for (int i = 1; i < 4; i++)
                if (from[i] > from[best] || (isnan(from[i]) && !isnan(from[best])))
                    best = i;
            y[p * channels + c] = from[best];
            choice[p * channels + c] = (uint8_t)best;
        }
    }
}

static void unpool(float *top, float *bottom, const float *dy, const float *y,
                   const uint8_t *choice, int64_t count, int64_t channels)
{
    for (int64_t p = 0; p < count; p++) {
        for (int64_t c = 0; c < channels; c++) {
            int64_t at = 2 * p * channels + c, from = p * channels + c;
            float g = !y || y[from] > 0 ? dy[from] : 0;
            top[at] = choice[from] == 0 ? g : 0;
            top[at + channels] = choice[from] == 1 ? g : 0;
            bottom[at] = choice[from] == 2 ? g : 0;
            bottom[at + channels] = choice[from] == 3 ? g : 0;
        }
    }
}

const qn_conv_kernels qn_conv_f32_ref = {.depthwise = depthwise, .pool = pool, .unpool = unpool};
