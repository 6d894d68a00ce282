/*
 * What each ISA provides for pool.h: runs of neighbouring outputs whose windows have the same shape.
 */
#ifndef QN_KERNEL_POOL_TABLE_H
#define QN_KERNEL_POOL_TABLE_H

#include <stdint.h>

/* `count` outputs of `channels`; output s reads x[s * move + k * slab + i * row + j * col + c] for k < slabs, i < rows,
 * j < cols. Place (k, i, j) is numbered first + k * number_slab + i * number_row + j. */
typedef struct {
    int64_t count, channels, move, slabs, rows, cols, slab, row, col;
    int32_t first, number_slab, number_row;
    float scale; /* average */
} qn_window;

/* Where the t-th place of a window lies, and its number. */
static inline int64_t qn_window_at(const qn_window *w, int64_t t)
{
    return t / w->cols / w->rows * w->slab + t / w->cols % w->rows * w->row + t % w->cols * w->col;
}
static inline int32_t qn_window_number(const qn_window *w, int64_t t)
{
    return w->first + (int32_t)(t / w->cols / w->rows) * w->number_slab +
           (int32_t)(t / w->cols % w->rows) * w->number_row + (int32_t)(t % w->cols);
}

typedef struct {
    /* choice8 or choice32 or neither */
    void (*max)(float *y, uint8_t *choice8, int32_t *choice32, const float *x, const qn_window *w);
    void (*max_grad)(float *dx, const float *dy, const uint8_t *choice8, const int32_t *choice32,
                     const qn_window *w);
    void (*average)(float *y, const float *x, const qn_window *w);
    void (*average_grad)(float *dx, const float *dy, const qn_window *w);
    /* The p-norm, p >= 1; its gradient adds dy sign(x) (|x| / y)^(p - 1), nothing where y is 0. */
    void (*norm)(float *y, const float *x, const qn_window *w, int p);
    void (*norm_grad)(float *dx, const float *dy, const float *x, const float *y,
                      const qn_window *w, int p);
} qn_pool_kernels;

extern const qn_pool_kernels qn_pool_f32_ref, qn_pool_f32_neon, qn_pool_f32_avx2,
    qn_pool_f32_avx512;
/* Those of the CPU level in force. */
const qn_pool_kernels *qn_pool_f32_kernels(void);

#endif
