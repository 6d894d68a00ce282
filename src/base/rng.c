/*
 * Philox4x32-10: ten rounds of two 32x32 -> 64 bit products over a 128-bit counter and a 64-bit
 * key. The counter is (element block, stream, step), the key is the seed.
 *
 * Source: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011; the
 * constants are Random123's, and the known-answer test is its kat_vectors.
 */
#include "base/rng.h"

#include <math.h>

#include "base/error.h"

enum { PHILOX_ROUNDS = 10 };

void qn_rng_block(qn_rng rng, uint64_t index, uint32_t ret_words[4])
{
    uint32_t c0 = (uint32_t)index;
    uint32_t c1 = (uint32_t)(index >> 32);
    uint32_t c2 = rng.stream;
    uint32_t c3 = rng.step;
    uint32_t k0 = (uint32_t)rng.seed;
    uint32_t k1 = (uint32_t)(rng.seed >> 32);
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0;
        uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u; /* the golden ratio */
        k1 += 0xBB67AE85u; /* sqrt(3) - 1 */
    }
    ret_words[0] = c0;
    ret_words[1] = c1;
    ret_words[2] = c2;
    ret_words[3] = c3;
}

uint32_t qn_rng_u32(qn_rng rng, uint64_t element)
{
    uint32_t words[4];
    qn_rng_block(rng, element / 4, words);
    return words[element % 4];
}

/* Element i as 64 bits: half a block each, from the upper half of the block space, so that it never
 * shares a block with the 32-bit elements of the same stream. */
static uint64_t rng_u64(qn_rng rng, uint64_t element)
{
    uint32_t words[4];
    qn_rng_block(rng, element / 2 | UINT64_C(1) << 63, words);
    const uint32_t *half = words + 2 * (element % 2);
    return (uint64_t)half[1] << 32 | half[0];
}

/* Multiply-shift with rejection (Lemire, "Fast random integer generation in an interval", 2019). A
 * rejected draw continues in blocks of its own: the retry number is folded into the top of the
 * index. */
uint64_t qn_rng_below(qn_rng rng, uint64_t element, uint64_t bound)
{
    QN_ASSERT(bound >= 1);
    uint64_t threshold = -bound % bound;
    for (uint64_t attempt = 0;; attempt++) {
        uint64_t draw = rng_u64(rng, element ^ attempt << 48);
        __extension__ typedef unsigned __int128 wide;
        wide product = (wide)draw * bound;
        if ((uint64_t)product >= threshold)
            return (uint64_t)(product >> 64);
    }
}

float qn_rng_uniform(qn_rng rng, uint64_t element)
{
    return (float)(qn_rng_u32(rng, element) >> 8) * 0x1p-24f;
}

double qn_rng_uniform_f64(qn_rng rng, uint64_t element)
{
    return (double)(rng_u64(rng, element) >> 11) * 0x1p-53;
}

/* Box-Muller, one value per 64-bit pair: 1 - u keeps the logarithm finite. */
double qn_rng_normal(qn_rng rng, uint64_t element)
{
    uint32_t words[4];
    qn_rng_block(rng, element | UINT64_C(1) << 62, words);
    double u = (double)(((uint64_t)words[1] << 32 | words[0]) >> 11) * 0x1p-53;
    double v = (double)(((uint64_t)words[3] << 32 | words[2]) >> 11) * 0x1p-53;
    return sqrt(-2.0 * log(1.0 - u)) * cos(6.283185307179586477 * v);
}

void qn_rng_shuffle(qn_rng rng, int64_t *items, int64_t count)
{
    for (int64_t i = count - 1; i > 0; i--) {
        int64_t j = (int64_t)qn_rng_below(rng, (uint64_t)i, (uint64_t)i + 1);
        int64_t item = items[i];
        items[i] = items[j];
        items[j] = item;
    }
}
