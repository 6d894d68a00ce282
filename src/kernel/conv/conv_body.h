/*
 * Depthwise strips, the fused 2x2 pool and strips with the pool behind them, for any vector width: a vector of channels
 * at a time.
 */
#include <stdbool.h>
#include <string.h>

#include "kernel/conv/conv_table.h"

#define DEPTHWISE_ROWS 8

/* One vector of columns of rows [i, i + R): the loads of B are shared, and R chains hide the latency of one. */
VEC void depthwise_lanes(const int R, const qn_strip *s, int64_t i, int c, vm m)
{
    vf acc[DEPTHWISE_ROWS];
    const float *a[DEPTHWISE_ROWS], *b = s->b + c;
    float *to = s->c + i * s->ldc + c;
    UNROLL for (int r = 0; r < R; r++)
    {
        acc[r] = s->add ? vf_load_mask(to + r * s->ldc, m) : vf_zero();
        a[r] = s->a + s->row[i + r] + c;
    }
    for (int64_t seg = 0; seg < s->segs; seg++) {
        int64_t at = s->seg[seg];
        for (int64_t k = 0; k < s->seg_len; k++, at += s->step, b += s->ldb) {
            vf w = vf_load_mask(b, m);
            UNROLL for (int r = 0; r < R; r++) acc[r] =
                vf_fma(vf_load_mask(a[r] + at, m), w, acc[r]);
        }
    }
    UNROLL for (int r = 0; r < R; r++)
    {
        if (s->bias)
            acc[r] = vf_add(acc[r], vf_load_mask(s->bias + c, m));
        if (s->added)
            acc[r] = vf_add(acc[r], vf_load_mask(s->added + (i + r) * s->ldc + c, m));
        vf_store_mask(to + r * s->ldc, s->relu ? vf_max(vf_zero(), acc[r]) : acc[r], m);
    }
}

VEC void depthwise_rows(const int R, const qn_strip *s, int64_t i)
{
    const vm all = vm_first(VL);
    int c = 0;
    for (; c + VL <= s->cols; c += VL)
        depthwise_lanes(R, s, i, c, all);
    if (c < s->cols)
        depthwise_lanes(R, s, i, c, vm_first(s->cols - c));
}

static void depthwise(const qn_strip *s)
{
    int64_t i = 0;
    for (; i + DEPTHWISE_ROWS <= s->rows; i += DEPTHWISE_ROWS)
        depthwise_rows(DEPTHWISE_ROWS, s, i);
    for (; i + 2 <= s->rows; i += 2)
        depthwise_rows(2, s, i);
    for (; i < s->rows; i++)
        depthwise_rows(1, s, i);
}

/* The register tile of strips with a pool: windows of four rows, as wide as the micro-kernel's. */
#define TILE_ROWS (VL == 8 ? 4 : 8)
#define TILE_VECS (VL == 8 ? 2 : 3)
#include "kernel/gemm/tile_sum.h"

/* Takes x over best where it is larger, or the first NaN. */
VEC void prefer(vf *best, vi *at, vf x, int place)
{
    vm better = vm_or(vf_lt(*best, x), vm_and(vf_isnan(x), vf_eq(*best, *best)));
    *best = vf_pick(better, x, *best);
    *at = vi_pick(better, vi_set(place), *at);
}

/* The largest of a window's four and its place, the first of equals. `prefer` has the order where a NaN is among them. */
VEC vf window_best(const vf x[4], vi *ret_at)
{
    vf best = vf_max(vf_max(x[3], x[2]), vf_max(x[1], x[0])); /* of equals the second operand */
    vm bad = vm_or(vm_or(vf_isnan(x[0]), vf_isnan(x[1])), vm_or(vf_isnan(x[2]), vf_isnan(x[3])));
    vi at = vi_pick(vf_eq(x[2], best), vi_set(2), vi_set(3));
    at = vi_pick(vf_eq(x[1], best), vi_set(1), at);
    *ret_at = vi_pick(vf_eq(x[0], best), vi_set(0), at);
    if (__builtin_expect(vm_bits(bad) != 0, 0)) {
        best = x[0];
        *ret_at = vi_set(0);
        UNROLL for (int k = 1; k < 4; k++) prefer(&best, ret_at, x[k], k);
    }
    return best;
}

VEC vf pool_lanes(const float *top, const float *bottom, int64_t channels, vm m, vi *ret_at)
{
    const vf x[4] = {vf_load_mask(top, m), vf_load_mask(top + channels, m), vf_load_mask(bottom, m),
                     vf_load_mask(bottom + channels, m)};
    return window_best(x, ret_at);
}

VEC void places_store(const bool full, uint8_t *dst, vi place, int64_t count)
{
    uint8_t bytes[VL];
    if (full) {
        vi_store_u8(dst, place);
        return;
    }
    vi_store_u8(bytes, place);
    memcpy(dst, bytes, (size_t)count);
}

static void pool(float *y, uint8_t *choice, const float *top, const float *bottom, int64_t count,
                 int64_t channels)
{
    const vm all = vm_first(VL);
    for (int64_t p = 0; p < count; p++) {
        const float *t = top + 2 * p * channels, *b = bottom + 2 * p * channels;
        int64_t c = 0, at = p * channels;
        vi place;
        for (; c + VL <= channels; c += VL) {
            vf_store(y + at + c, pool_lanes(t + c, b + c, channels, all, &place));
            if (choice)
                places_store(true, choice + at + c, place, VL);
        }
        if (c < channels) {
            vm m = vm_first((int)(channels - c));
            vf_store_mask(y + at + c, pool_lanes(t + c, b + c, channels, m, &place), m);
            if (choice)
                places_store(false, choice + at + c, place, channels - c);
        }
    }
}

/* Windows of rows [first, first + R), V vectors wide. */
VEC void windows(const int R, const int V, const qn_strip *s, uint8_t *choice, int64_t first,
                 vm tail)
{
    vf acc[TILE_ROWS][TILE_VECS];
    UNROLL for (int i = 0; i < R; i++)
    {
        UNROLL for (int j = 0; j < V; j++) acc[i][j] = vf_zero();
    }
    tile_sum(R, V, acc, s, first, tail);
    UNROLL for (int j = 0; j < V; j++)
    {
        const bool full = j < V - 1;
        vm m = full ? vm_first(VL) : tail;
        vf bias = s->bias ? vf_load_mask(s->bias + j * VL, m) : vf_set(-0.0f); /* x + -0 is x */
        UNROLL for (int i = 0; i < R; i += 4)
        {
            vf x[4];
            vi place;
            int64_t at = (first + i) / 4 * s->ldc + j * VL;
            UNROLL for (int k = 0; k < 4; k++) x[k] =
                vf_max(vf_zero(), vf_add(acc[i + k][j], bias));
            vf_store_mask(s->c + at, window_best(x, &place), m);
            if (choice)
                places_store(full || s->cols == V * VL, choice + at, place, s->cols - j * VL);
        }
    }
}

VEC void windows_panel(const int V, const qn_strip *s, uint8_t *choice, vm tail)
{
    int64_t i = 0;
    for (; i + TILE_ROWS <= s->rows; i += TILE_ROWS)
        windows(TILE_ROWS, V, s, choice, i, tail);
    for (; i + 4 <= s->rows; i += 4)
        windows(4, V, s, choice, i, tail);
}

static void strip_pooled(const qn_strip *s, uint8_t *choice)
{
    int vecs = (s->cols + VL - 1) / VL;
    vm tail = vm_first(s->cols - (vecs - 1) * VL);
    if (vecs == 1)
        windows_panel(1, s, choice, tail);
    else if (vecs == 2)
        windows_panel(2, s, choice, tail);
    else
        windows_panel(TILE_VECS, s, choice, tail);
}

VEC void unpool_lanes(float *top, float *bottom, vf g, vi at, int64_t channels, vm m)
{
    vf_store_mask(top, vf_keep(vi_eq(at, vi_set(0)), g), m);
    vf_store_mask(top + channels, vf_keep(vi_eq(at, vi_set(1)), g), m);
    vf_store_mask(bottom, vf_keep(vi_eq(at, vi_set(2)), g), m);
    vf_store_mask(bottom + channels, vf_keep(vi_eq(at, vi_set(3)), g), m);
}

VEC vf passed(const float *y, const float *dy, int64_t at, vm m)
{
    vf g = vf_load_mask(dy + at, m);
    return y ? vf_keep(vf_lt(vf_zero(), vf_load_mask(y + at, m)), g) : g;
}

static void unpool(float *top, float *bottom, const float *dy, const float *y,
                   const uint8_t *choice, int64_t count, int64_t channels)
{
    const vm all = vm_first(VL);
    for (int64_t p = 0; p < count; p++) {
        float *t = top + 2 * p * channels, *b = bottom + 2 * p * channels;
        int64_t from = p * channels, c = 0;
        for (; c + VL <= channels; c += VL) {
            vf g = passed(y, dy, from + c, all);
            unpool_lanes(t + c, b + c, g, vi_load_u8(choice + from + c), channels, all);
        }
        if (c < channels) {
            uint8_t last[VL] = {0};
            vm m = vm_first((int)(channels - c));
            memcpy(last, choice + from + c, (size_t)(channels - c));
            vf g = passed(y, dy, from + c, m);
            unpool_lanes(t + c, b + c, g, vi_load_u8(last), channels, m);
        }
    }
}
