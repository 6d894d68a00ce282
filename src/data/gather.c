/*
 * Row gathers. A row that is needed next is fetched while the current one is copied: shuffled rows lie far apart, and
 * without it each would cost a wait for memory.
 */
#include "data/gather.h"

#include <string.h>

#include "data/gather_priv.h"
#include "os/cpu.h"

enum { LINE_BYTES = 64, PREFETCH_LINES = 16 };

static void prefetch(const char *at, size_t size)
{
    for (size_t line = 0; line < PREFETCH_LINES && line * LINE_BYTES < size; line++)
        __builtin_prefetch(at + line * LINE_BYTES);
}

static int64_t row_of(const int64_t *rows, int64_t first, int64_t i)
{
    return rows ? rows[i] : first + i;
}

void qn_batch_rows(void *dst, const void *src, const int64_t *rows, int64_t first, int64_t count,
                   size_t row_bytes)
{
    char *to = dst;
    const char *from = src;
    for (int64_t i = 0; i < count; i++, to += row_bytes) {
        if (rows && i + 1 < count)
            prefetch(from + (size_t)rows[i + 1] * row_bytes, row_bytes);
        memcpy(to, from + (size_t)row_of(rows, first, i) * row_bytes, row_bytes);
    }
}

void qn_widen_pixels_ref(float *dst, const uint8_t *src, int64_t count, float scale)
{
    for (int64_t i = 0; i < count; i++)
        dst[i] = (float)src[i] * scale;
}

void qn_batch_pixels(float *dst, const uint8_t *src, const int64_t *rows, int64_t first,
                     int64_t count, int64_t row_count, float scale)
{
#if defined(__x86_64__)
    static void (*const table[QN_CPU_LEVELS])(float *, const uint8_t *, int64_t, float) = {
        [QN_CPU_PORTABLE] = qn_widen_pixels_ref,       [QN_CPU_NEON] = qn_widen_pixels_ref,
        [QN_CPU_AVX2] = qn_widen_pixels_avx2,          [QN_CPU_AVX512] = qn_widen_pixels_avx512,
        [QN_CPU_AVX512_BF16] = qn_widen_pixels_avx512, [QN_CPU_AMX] = qn_widen_pixels_avx512};
    void (*widen)(float *, const uint8_t *, int64_t, float) = table[qn_cpu_level()];
#else
    void (*widen)(float *, const uint8_t *, int64_t, float) = qn_widen_pixels_ref;
#endif
    for (int64_t i = 0; i < count; i++) {
        if (rows && i + 1 < count)
            prefetch((const char *)src + rows[i + 1] * row_count, (size_t)row_count);
        widen(dst + i * row_count, src + row_of(rows, first, i) * row_count, row_count, scale);
    }
}
