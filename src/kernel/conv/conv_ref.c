/*
 * The parts of convolution that are not matrix products, in plain C.
 */
#include <math.h>
#include <stddef.h>

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
            if (choice)
                choice[p * channels + c] = (uint8_t)best;
        }
    }
}

static void strip_pooled(const qn_strip *s, uint8_t *choice)
{
    float sums[4 * 16];
    qn_strip window = *s;
    window.rows = 4;
    window.c = sums;
    window.ldc = s->cols;
    window.relu = true;
    for (int64_t i = 0; i < s->rows; i += 4) {
        int64_t at = i / 4 * s->ldc;
        window.row = s->row + i;
        qn_tile_f32_ref.strip(&window);
        pool(s->c + at, choice ? choice + at : NULL, sums, sums + (ptrdiff_t)2 * s->cols, 1,
             s->cols);
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

/* B', A and G' of Winograd's F(2x2, 3x3), as in winograd.h. */
static const float source_of[4][4] = {{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, 1, 0, -1}};
static const float grad_of[4][2] = {{1, 0}, {1, 1}, {1, -1}, {0, -1}};
static const float weights_of[4][3] = {
    {1, 0, 0}, {0.5f, 0.5f, 0.5f}, {0.5f, -0.5f, 0.5f}, {0, 0, 1}};

/* dst [rows, rows] = left x left', x [cols, cols]; element (i, k) of left at left[i * row + k * col]. A zero is no term:
 * what it would meet may not be finite. */
static void both_sides(float *dst, const float *left, int row, int col, const float *x, int rows,
                       int cols)
{
    float half[4][4] = {0};
    for (int i = 0; i < rows; i++)
        for (int j = 0; j < cols; j++)
            for (int k = 0; k < cols; k++)
                if (fabsf(left[i * row + k * col]) > 0)
                    half[i][j] += left[i * row + k * col] * x[k * cols + j];
    for (int i = 0; i < rows; i++) {
        for (int j = 0; j < rows; j++) {
            float sum = 0;
            for (int k = 0; k < cols; k++)
                if (fabsf(left[j * row + k * col]) > 0)
                    sum += half[i][k] * left[j * row + k * col];
            dst[i * rows + j] = sum;
        }
    }
}

static void winograd_source(const qn_winograd_source *s)
{
    for (int64_t i = 0; i < s->tiles * s->channels; i++) {
        int64_t t = i / s->channels, c = i % s->channels;
        float x[16], made[16];
        for (int k = 0; k < 16; k++) {
            int64_t col = s->col + 2 * t + k % 4;
            bool inside = s->row[k / 4] && col >= 0 && col < s->width;
            x[k] = inside ? s->row[k / 4][col * s->pixel + c] : 0;
        }
        both_sides(made, source_of[0], 4, 1, x, 4, 4);
        for (int k = 0; k < 16; k++)
            s->planes[k * s->plane + i] = made[k];
    }
}

/* A' m A of number i of the planes. */
static void result_tile(float dst[4], const float *planes, int64_t plane, int64_t i)
{
    float m[16];
    for (int k = 0; k < 16; k++)
        m[k] = planes[k * plane + i];
    both_sides(dst, grad_of[0], 1, 2, m, 2, 4);
}

static float clamped(float x)
{
    return x < 0 ? 0 : x;
}

static void winograd_result(const qn_winograd_result *r)
{
    for (int64_t i = 0; i < r->tiles * r->channels; i++) {
        int64_t t = i / r->channels, c = i % r->channels;
        float y[4];
        result_tile(y, r->planes, r->plane, i);
        for (int k = 0; k < 4; k++) {
            int64_t col = 2 * t + k % 2, at = k / 2 * r->row + col * r->pixel + c;
            if (k / 2 >= r->rows || col >= r->cols)
                continue;
            float x = r->bias ? y[k] + r->bias[c] : y[k];
            x = r->added ? x + r->added[at] : x;
            r->dst[at] = r->relu ? clamped(x) : x;
        }
    }
}

static void winograd_pooled(const qn_winograd_pooled *r)
{
    for (int64_t i = 0; i < r->tiles * r->channels; i++) {
        int64_t c = i % r->channels, at = i / r->channels * r->pixel + c;
        float y[4];
        uint8_t place;
        result_tile(y, r->planes, r->plane, i);
        for (int k = 0; k < 4; k++)
            y[k] = clamped(r->bias ? y[k] + r->bias[c] : y[k]);
        pool(&r->dst[at], r->choice ? &r->choice[at] : &place, y, y + 2, 1, 1);
    }
}

static void winograd_grad(const qn_winograd_grad *g)
{
    for (int64_t i = 0; i < g->tiles * g->channels; i++) {
        int64_t t = i / g->channels, c = i % g->channels, at = t * g->pixel + c;
        float dy[4], made[16];
        if (!g->row[0])
            unpool(dy, dy + 2, g->dy + at, g->y + at, g->choice + at, 1, 1);
        for (int k = 0; k < 4 && g->row[0]; k++) {
            bool inside = g->row[k / 2] && 2 * t + k % 2 < g->width;
            dy[k] = inside ? g->row[k / 2][(2 * t + k % 2) * g->pixel + c] : 0;
        }
        both_sides(made, grad_of[0], 2, 1, dy, 4, 2);
        for (int k = 0; k < 16; k++)
            g->planes[k * g->plane + i] = made[k];
    }
}

static void winograd_weights(float *dst, int64_t plane, const float *src, int64_t tap,
                             int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        float w[9], made[16];
        for (int k = 0; k < 9; k++)
            w[k] = src[k * tap + i];
        both_sides(made, weights_of[0], 3, 1, w, 4, 3);
        for (int k = 0; k < 16; k++)
            dst[k * plane + i] = made[k];
    }
}

static void winograd_weights_grad(float *dst, int64_t tap, const float *src, int64_t plane,
                                  int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        float p[16], made[9];
        for (int k = 0; k < 16; k++)
            p[k] = src[k * plane + i];
        both_sides(made, weights_of[0], 1, 3, p, 3, 4);
        for (int k = 0; k < 9; k++)
            dst[k * tap + i] = made[k];
    }
}

const qn_conv_kernels qn_conv_f32_ref = {
    .depthwise = depthwise,
    .pool = pool,
    .strip_pooled = strip_pooled,
    .unpool = unpool,
    .unpool_bf16 = qn_conv_unpool_bf16_ref,
    .unpool_pairs = qn_conv_unpool_pairs_ref,
    .winograd_source = winograd_source,
    .winograd_result = winograd_result,
    .winograd_pooled = winograd_pooled,
    .winograd_grad = winograd_grad,
    .winograd_weights = winograd_weights,
    .winograd_weights_grad = winograd_weights_grad,
};
