/*
 * The choice of the moving kernels, fills, plain copies, and rows by index.
 */
#include "kernel/move/move.h"

#include <string.h>

#include "kernel/isa.h"
#include "kernel/move/move_table.h"
#include "kernel/split.h"

enum {
    GRAIN_BYTES = 64 << 10, /* about 3 us of copying out of L2 */
    SCATTER_COLUMNS = 64    /* a quarter of a KiB of each row: several cores share wide tables */
};

static const qn_move_kernels *choose(void)
{
    static const qn_move_kernels *const rows[QN_CPU_LEVELS] = QN_ISA_ROWS(qn_move_f32);
    return rows[qn_cpu_level()];
}

typedef struct {
    const qn_move_kernels *kernels;
    char *dst;
    const char *src;
    float value;
    int byte;
} move_job;

static void fill_range(void *context, int64_t first, int64_t end)
{
    const move_job *j = context;
    j->kernels->fill((float *)(void *)j->dst + first, end - first, j->value);
}

void qn_fill_f32(qn_pool *pool, float *dst, int64_t count, float value)
{
    move_job j = {.kernels = choose(), .dst = (char *)dst, .value = value};
    qn_split(pool, count, GRAIN_BYTES / (int64_t)sizeof *dst, fill_range, &j);
}

static void fill_bytes_range(void *context, int64_t first, int64_t end)
{
    const move_job *j = context;
    memset(j->dst + first, j->byte, (size_t)(end - first));
}

void qn_fill_bytes(qn_pool *pool, void *dst, size_t size, uint8_t value)
{
    move_job j = {.dst = dst, .byte = value};
    qn_split(pool, (int64_t)size, GRAIN_BYTES, fill_bytes_range, &j);
}

static void copy_range(void *context, int64_t first, int64_t end)
{
    const move_job *j = context;
    memcpy(j->dst + first, j->src + first, (size_t)(end - first));
}

void qn_copy_bytes(qn_pool *pool, void *dst, const void *src, size_t size)
{
    move_job j = {.dst = dst, .src = src};
    qn_split(pool, (int64_t)size, GRAIN_BYTES, copy_range, &j);
}

typedef struct {
    char *dst;
    const char *src;
    int64_t src_rows;
    size_t row_bytes;
    const int64_t *index;
} gather_job;

/* Negative indices count from the end; -1 = outside. */
static int64_t place_row(int64_t index, int64_t rows)
{
    if (index < 0 && index >= -rows)
        index += rows;
    return index >= 0 && index < rows ? index : -1;
}

static void gather_range(void *context, int64_t first, int64_t end)
{
    const gather_job *j = context;
    for (int64_t i = first; i < end; i++) {
        char *dst = j->dst + (size_t)i * j->row_bytes;
        int64_t row = place_row(j->index[i], j->src_rows);
        if (row >= 0)
            memcpy(dst, j->src + (size_t)row * j->row_bytes, j->row_bytes);
        else
            memset(dst, 0, j->row_bytes);
    }
}

void qn_gather_rows(qn_pool *pool, void *dst, const void *src, int64_t src_rows, size_t row_bytes,
                    const int64_t *index, int64_t count)
{
    gather_job j = {dst, src, src_rows, row_bytes, index};
    qn_split(pool, count, qn_split_grain((int64_t)row_bytes, GRAIN_BYTES), gather_range, &j);
}

typedef struct {
    const qn_move_kernels *kernels;
    float *dst;
    int64_t rows, cols;
    const float *src;
    const int64_t *index;
    int64_t count;
    bool add;
} scatter_job;

/* Columns [first, end) in units of SCATTER_COLUMNS: each sum is made by one worker, in order of i. */
static void scatter_range(void *context, int64_t first, int64_t end)
{
    const scatter_job *j = context;
    int64_t col = first * SCATTER_COLUMNS;
    int64_t width = (end * SCATTER_COLUMNS < j->cols ? end * SCATTER_COLUMNS : j->cols) - col;
    for (int64_t r = 0; !j->add && r < j->rows; r++)
        memset(j->dst + r * j->cols + col, 0, (size_t)width * sizeof *j->dst);
    for (int64_t i = 0; i < j->count; i++) {
        int64_t row = place_row(j->index[i], j->rows);
        if (row >= 0)
            j->kernels->add(j->dst + row * j->cols + col, j->src + i * j->cols + col, width);
    }
}

void qn_scatter_add_rows_f32(qn_pool *pool, float *dst, int64_t rows, int64_t cols,
                             const float *src, const int64_t *index, int64_t count, bool add)
{
    scatter_job j = {choose(), dst, rows, cols, src, index, count, add};
    int64_t units = (cols + SCATTER_COLUMNS - 1) / SCATTER_COLUMNS;
    int64_t unit_bytes = ((add ? 0 : rows) + count) * SCATTER_COLUMNS * (int64_t)sizeof *dst;
    qn_split(pool, units, qn_split_grain(unit_bytes, GRAIN_BYTES), scatter_range, &j);
}

typedef struct {
    const qn_move_kernels *kernels;
    float *dst;
    const uint8_t *src;
    int64_t channels;
    const float *mean, *scale;
    const qn_u8_images *images;
    const int64_t *index;
} pixel_job;

static void normalise_range(void *context, int64_t first, int64_t end)
{
    const pixel_job *j = context;
    int64_t at = first * j->channels;
    j->kernels->normalise(j->dst + at, j->src + at, end - first, j->channels, j->mean, j->scale);
}

void qn_u8_normalise_f32(qn_pool *pool, float *dst, const uint8_t *src, int64_t pixels,
                         int64_t channels, const float *mean, const float *scale)
{
    pixel_job j = {.kernels = choose(),
                   .dst = dst,
                   .src = src,
                   .channels = channels,
                   .mean = mean,
                   .scale = scale};
    qn_split(pool, pixels, qn_split_grain(channels * (int64_t)sizeof *dst, GRAIN_BYTES),
             normalise_range, &j);
}

static void gather_pixels_range(void *context, int64_t first, int64_t end)
{
    const pixel_job *j = context;
    const qn_u8_images *m = j->images;
    int64_t size = m->pixels * m->channels;
    for (int64_t i = first; i < end; i++) {
        int64_t row = j->index[i];
        if (row >= 0 && row < m->src_rows)
            j->kernels->normalise(j->dst + i * size, m->src + row * size, m->pixels, m->channels,
                                  m->mean, m->scale);
        else
            j->kernels->fill(j->dst + i * size, size, 0);
    }
}

void qn_gather_u8_normalise_f32(qn_pool *pool, float *dst, const qn_u8_images *images,
                                const int64_t *index, int64_t count)
{
    pixel_job j = {.kernels = choose(), .dst = dst, .images = images, .index = index};
    int64_t bytes = images->pixels * images->channels * (int64_t)sizeof *dst;
    qn_split(pool, count, qn_split_grain(bytes, GRAIN_BYTES), gather_pixels_range, &j);
}
