/* What each ISA provides for rnn.h: the gates of one row at one step, n units. */
#ifndef QN_KERNEL_RNN_TABLE_H
#define QN_KERNEL_RNN_TABLE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    /* sums in, gates out to kept, which may be the sums' own place (LSTM: i o f g, and c behind them; GRU: z r n, and the
     * state's part of n behind them). h and c: the state, moved on; y: the same h. */
    void (*lstm)(float *kept, float *y, float *h, float *c, const float *sums, int64_t n);
    void (*gru)(float *kept, float *y, float *h, const float *sums, int64_t n);
    /* GRU that resets before its product: z and r in place of their sums, and r h; then, with the product behind n, the
     * rest. */
    void (*gru_gates)(float *sums, float *reset, const float *h, int64_t n);
    void (*gru_first)(float *kept, float *y, float *h, const float *sums, int64_t n);
    void (*plain)(float *kept, float *y, float *h, const float *sums, bool relu, int64_t n);
    /* slopes from the gates; dh and dc become what passes to the step before without going through a product. */
    void (*lstm_grad)(float *slopes, const float *a, const float *c_before, float *dh, float *dc,
                      int64_t n);
    void (*gru_grad)(float *slopes, const float *a, const float *h_before, float *dh, int64_t n);
    /* Likewise: all but r, then r from what came back through the product; before becomes r times it. */
    void (*gru_first_grad)(float *slopes, const float *a, const float *h_before, float *dh,
                           int64_t n);
    void (*gru_reset_grad)(float *slopes, const float *a, float *before, const float *pulled,
                           float *dh, int64_t n);
    void (*plain_grad)(float *slopes, const float *a, float *dh, bool relu, int64_t n);
    /* Rows of `lds` close together. */
    void (*stack)(float *dst, const float *src, int64_t lds, int64_t rows, int64_t cols);
} qn_rnn_kernels;

extern const qn_rnn_kernels qn_rnn_f32_ref, qn_rnn_f32_neon, qn_rnn_f32_avx2, qn_rnn_f32_avx512;

#endif
