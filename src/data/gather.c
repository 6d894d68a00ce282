/*
 * Row gathers. A row that is needed next is fetched while the current one is copied: shuffled rows lie far apart, and
 * without it each would cost a wait for memory.
 */
#include "data/gather.h"

#include <string.h>

#include "data/gather_priv.h"
#include "os/cpu.h"

enum { LINE_BYTES = 64, PREFETCH_LINES = 16 };

static void prefetch(const char *at, int64_t size)
{
    for (int64_t line = 0; line < PREFETCH_LINES && line * LINE_BYTES < size; line++)
        __builtin_prefetch(at + line * LINE_BYTES);
}

/* Where part of row i begins in the source. */
static int64_t source_of(const qn_batch_part *part, int64_t i)
{
    return (part->rows ? part->rows[i] : part->first + i) * part->width + part->from;
}

static void prefetch_next(const void *src, const qn_batch_part *part, int64_t i)
{
    if (part->rows && i + 1 < part->count)
        prefetch((const char *)src + source_of(part, i + 1), part->end - part->from);
}

void qn_batch_rows(void *dst, const void *src, const qn_batch_part *part)
{
    for (int64_t i = 0; i < part->count; i++) {
        prefetch_next(src, part, i);
        memcpy((char *)dst + i * part->width + part->from, (const char *)src + source_of(part, i),
               (size_t)(part->end - part->from));
    }
}

void qn_widen_pixels_ref(float *dst, const uint8_t *src, int64_t count, float scale)
{
    for (int64_t i = 0; i < count; i++)
        dst[i] = (float)src[i] * scale;
}

void qn_batch_pixels(float *dst, const uint8_t *src, const qn_batch_part *part, float scale)
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
    for (int64_t i = 0; i < part->count; i++) {
        prefetch_next(src, part, i);
        widen(dst + i * part->width + part->from, src + source_of(part, i), part->end - part->from,
              scale);
    }
}
