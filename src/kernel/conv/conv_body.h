/*
 * Depthwise strips and the fused 2x2 pool for any vector width: a vector of channels at a time.
 */
#include <stdbool.h>
#include <string.h>

#include "kernel/conv/conv_table.h"

#define DEPTHWISE_ROWS 8
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

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

/* Takes x over best where it is larger, or the first NaN. */
VEC void prefer(vf *best, vi *at, vf x, int place)
{
    vm better = vm_or(vf_lt(*best, x), vm_and(vf_isnan(x), vf_eq(*best, *best)));
    *best = vf_pick(better, x, *best);
    *at = vi_pick(better, vi_set(place), *at);
}

VEC vf pool_lanes(const float *top, const float *bottom, int64_t channels, vm m, vi *ret_at)
{
    vf best = vf_load_mask(top, m);
    *ret_at = vi_set(0);
    prefer(&best, ret_at, vf_load_mask(top + channels, m), 1);
    prefer(&best, ret_at, vf_load_mask(bottom, m), 2);
    prefer(&best, ret_at, vf_load_mask(bottom + channels, m), 3);
    return best;
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
