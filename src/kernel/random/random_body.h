/*
 * Philox4x32-10 (see base/rng.c) on VL / 2 blocks at once. Each 32-bit word sits in the low half of a 64-bit lane,
 * where the widening multiplication wants it; what gathers in the upper halves is never read. The including file
 * defines `wide`, a vector of 64-bit lanes, and its operations.
 */
#include <string.h>

#include "kernel/random/random_table.h"

enum { BLOCKS = VL / 2, ELEMENTS = 4 * BLOCKS };

/* The words of blocks [block, block + BLOCKS), in order. */
VEC void philox(qn_rng rng, uint64_t block, vi *ret_low, vi *ret_high)
{
    wide index = wide_count(block);
    wide c0 = index, c1 = wide_high(index), c2 = wide_set(rng.stream), c3 = wide_set(rng.step);
    uint32_t k0 = (uint32_t)rng.seed, k1 = (uint32_t)(rng.seed >> 32);
    for (int round = 0; round < 10; round++) {
        wide p0 = wide_mul(c0, wide_set(0xD2511F53u)), p1 = wide_mul(c2, wide_set(0xCD9E8D57u));
        c0 = wide_xor(wide_xor(wide_high(p1), c1), wide_set(k0));
        c2 = wide_xor(wide_xor(wide_high(p0), c3), wide_set(k1));
        c1 = p1;
        c3 = p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    wide_interleave(wide_pair(c0, c1), wide_pair(c2, c3), ret_low, ret_high);
}

VEC vf unit_of(vi words)
{
    return vf_mul(vf_from_i32(vi_shr(words, 8)), vf_set(0x1p-24f));
}

VEC vf dropped(vf u, vf x, vf rate, vf scale)
{
    return vf_keep(vf_le(rate, u), vf_mul(x, scale));
}

static void uniform(float *dst, int64_t count, qn_rng rng, uint64_t first, float low, float span)
{
    const vf lows = vf_set(low), spans = vf_set(span);
    for (int64_t i = 0; i < count; i += ELEMENTS) {
        vi a, b;
        float last[ELEMENTS];
        philox(rng, (first + (uint64_t)i) / 4, &a, &b);
        float *to = i + ELEMENTS <= count ? dst + i : last;
        vf_store(to, vf_add(lows, vf_mul(spans, unit_of(a))));
        vf_store(to + VL, vf_add(lows, vf_mul(spans, unit_of(b))));
        if (to == last)
            memcpy(dst + i, last, (size_t)(count - i) * sizeof *dst);
    }
}

static void dropout(float *dst, const float *src, int64_t count, qn_rng rng, uint64_t first,
                    float rate, float scale)
{
    const vf rates = vf_set(rate), scales = vf_set(scale);
    for (int64_t i = 0; i < count; i += ELEMENTS) {
        vi a, b;
        philox(rng, (first + (uint64_t)i) / 4, &a, &b);
        int64_t left = count - i;
        vm m = vm_first(left < VL ? (int)left : VL), n = vm_first(left < VL         ? 0
                                                                  : left < ELEMENTS ? (int)left - VL
                                                                                    : VL);
        vf x = vf_load_mask(src + i, m), y = vf_load_mask(src + i + VL, n);
        vf_store_mask(dst + i, dropped(unit_of(a), x, rates, scales), m);
        vf_store_mask(dst + i + VL, dropped(unit_of(b), y, rates, scales), n);
    }
}

#define RANDOM_TABLE                                                                               \
    {                                                                                              \
        .uniform = uniform, .dropout = dropout                                                     \
    }
