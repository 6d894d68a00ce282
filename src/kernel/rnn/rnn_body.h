/*
 * Gates of recurrent networks for any vector width.
 */
#include "kernel/rnn/rnn_table.h"
#include "kernel/vec_math.h"

VEC vm lanes_left(int64_t left)
{
    return vm_first(left < VL ? (int)left : VL);
}

/* y (1 - y), the slope of a sigmoid; 1 - y^2, that of a tanh */
VEC vf slope_sigmoid(vf y)
{
    return vf_fnma(y, y, y);
}
VEC vf slope_tanh(vf y)
{
    return vf_fnma(y, y, vf_set(1));
}

/* tanh x = p / q, both polynomials of x^2, p times x: the minimax ratio of degrees 13 and 6 that Eigen and XLA use. One
 * division and no exponential, half of the work of math_tanh. Beyond 7.9988 the ratio is 1. <= 5 ulp */
typedef struct {
    vf over, under;
} ratio;

VEC ratio tanh_ratio(vf x)
{
    x = vf_min(vf_set(7.99881172f), vf_max(vf_set(-7.99881172f), x));
    vf z = vf_mul(x, x), p = vf_set(-2.76076847742355e-16f), q = vf_set(1.19825839466702e-06f);
    p = vf_fma(p, z, vf_set(2.00018790482477e-13f));
    p = vf_fma(p, z, vf_set(-8.60467152213735e-11f));
    p = vf_fma(p, z, vf_set(5.12229709037114e-08f));
    p = vf_fma(p, z, vf_set(1.48572235717979e-05f));
    p = vf_fma(p, z, vf_set(6.37261928875436e-04f));
    p = vf_fma(p, z, vf_set(4.89352455891786e-03f));
    q = vf_fma(q, z, vf_set(1.18534705686654e-04f));
    q = vf_fma(q, z, vf_set(2.26843463243900e-03f));
    q = vf_fma(q, z, vf_set(4.89352518554385e-03f));
    return (ratio){vf_mul(p, x), q};
}
VEC vf gate_tanh(vf x)
{
    ratio r = tanh_ratio(x);
    return vf_div(r.over, r.under);
}
/* (1 + tanh(x / 2)) / 2, within 2.1e-7 and within [0, 1] */
VEC vf gate_sigmoid(vf x)
{
    ratio r = tanh_ratio(vf_mul(x, vf_set(0.5f)));
    return vf_div(vf_add(r.under, r.over), vf_add(r.under, r.under));
}

static void lstm(float *kept, float *y, float *h, float *c, const float *sums, int64_t n)
{
    for (int64_t j = 0; j < n; j += VL) {
        vm m = lanes_left(n - j);
        vf in = gate_sigmoid(vf_load_mask(sums + j, m));
        vf out = gate_sigmoid(vf_load_mask(sums + n + j, m));
        vf keep = gate_sigmoid(vf_load_mask(sums + 2 * n + j, m));
        vf fresh = gate_tanh(vf_load_mask(sums + 3 * n + j, m));
        vf cell = vf_fma(keep, vf_load_mask(c + j, m), vf_mul(in, fresh));
        vf state = vf_mul(out, gate_tanh(cell));
        vf_store_mask(kept + j, in, m);
        vf_store_mask(kept + n + j, out, m);
        vf_store_mask(kept + 2 * n + j, keep, m);
        vf_store_mask(kept + 3 * n + j, fresh, m);
        vf_store_mask(kept + 4 * n + j, cell, m);
        vf_store_mask(c + j, cell, m);
        vf_store_mask(h + j, state, m);
        vf_store_mask(y + j, state, m);
    }
}

/* h' = n + z (h - n), and all that the backward reads */
VEC void gru_end(float *kept, float *y, float *h, const vf part[4], int64_t j, int64_t n, vm m)
{
    vf state = vf_fma(part[0], vf_sub(vf_load_mask(h + j, m), part[2]), part[2]);
    for (int i = 0; i < 4; i++)
        vf_store_mask(kept + i * n + j, part[i], m);
    vf_store_mask(h + j, state, m);
    vf_store_mask(y + j, state, m);
}

static void gru(float *kept, float *y, float *h, const float *sums, int64_t n)
{
    for (int64_t j = 0; j < n; j += VL) {
        vm m = lanes_left(n - j);
        vf r = gate_sigmoid(vf_load_mask(sums + n + j, m));
        vf past = vf_load_mask(sums + 3 * n + j, m);
        vf fresh = gate_tanh(vf_fma(r, past, vf_load_mask(sums + 2 * n + j, m)));
        vf z = gate_sigmoid(vf_load_mask(sums + j, m));
        gru_end(kept, y, h, (const vf[4]){z, r, fresh, past}, j, n, m);
    }
}

static void gru_gates(float *sums, float *reset, const float *h, int64_t n)
{
    for (int64_t j = 0; j < n; j += VL) {
        vm m = lanes_left(n - j);
        vf r = gate_sigmoid(vf_load_mask(sums + n + j, m));
        vf_store_mask(sums + j, gate_sigmoid(vf_load_mask(sums + j, m)), m);
        vf_store_mask(sums + n + j, r, m);
        vf_store_mask(reset + j, vf_mul(r, vf_load_mask(h + j, m)), m);
    }
}

static void gru_first(float *kept, float *y, float *h, const float *sums, int64_t n)
{
    for (int64_t j = 0; j < n; j += VL) {
        vm m = lanes_left(n - j);
        vf z = vf_load_mask(sums + j, m), r = vf_load_mask(sums + n + j, m);
        vf past = vf_load_mask(sums + 3 * n + j, m);
        vf fresh = gate_tanh(vf_add(vf_load_mask(sums + 2 * n + j, m), past));
        gru_end(kept, y, h, (const vf[4]){z, r, fresh, past}, j, n, m);
    }
}

static void plain(float *kept, float *y, float *h, const float *sums, bool relu, int64_t n)
{
    for (int64_t j = 0; j < n; j += VL) {
        vm m = lanes_left(n - j);
        vf x = vf_load_mask(sums + j, m);
        x = relu ? vf_max(vf_zero(), x) : gate_tanh(x);
        vf_store_mask(kept + j, x, m);
        vf_store_mask(h + j, x, m);
        vf_store_mask(y + j, x, m);
    }
}

static void lstm_grad(float *slopes, const float *a, const float *c_before, float *dh, float *dc,
                      int64_t n)
{
    for (int64_t j = 0; j < n; j += VL) {
        vm m = lanes_left(n - j);
        vf in = vf_load_mask(a + j, m), out = vf_load_mask(a + n + j, m);
        vf keep = vf_load_mask(a + 2 * n + j, m), fresh = vf_load_mask(a + 3 * n + j, m);
        vf turn = gate_tanh(vf_load_mask(a + 4 * n + j, m)), up = vf_load_mask(dh + j, m);
        vf slope = vf_fma(vf_mul(up, out), slope_tanh(turn), vf_load_mask(dc + j, m));
        vf old = vf_load_mask(c_before + j, m);
        vf_store_mask(slopes + j, vf_mul(vf_mul(slope, fresh), slope_sigmoid(in)), m);
        vf_store_mask(slopes + n + j, vf_mul(vf_mul(up, turn), slope_sigmoid(out)), m);
        vf_store_mask(slopes + 2 * n + j, vf_mul(vf_mul(slope, old), slope_sigmoid(keep)), m);
        vf_store_mask(slopes + 3 * n + j, vf_mul(vf_mul(slope, in), slope_tanh(fresh)), m);
        vf_store_mask(dc + j, vf_mul(slope, keep), m);
        vf_store_mask(dh + j, vf_zero(), m);
    }
}

static void gru_grad(float *slopes, const float *a, const float *h_before, float *dh, int64_t n)
{
    for (int64_t j = 0; j < n; j += VL) {
        vm m = lanes_left(n - j);
        vf z = vf_load_mask(a + j, m), r = vf_load_mask(a + n + j, m);
        vf fresh = vf_load_mask(a + 2 * n + j, m), up = vf_load_mask(dh + j, m);
        vf slope = vf_mul(vf_mul(up, vf_sub(vf_set(1), z)), slope_tanh(fresh));
        vf behind = vf_sub(vf_load_mask(h_before + j, m), fresh);
        vf past = vf_load_mask(a + 3 * n + j, m);
        vf_store_mask(slopes + j, vf_mul(vf_mul(up, behind), slope_sigmoid(z)), m);
        vf_store_mask(slopes + n + j, vf_mul(vf_mul(slope, past), slope_sigmoid(r)), m);
        vf_store_mask(slopes + 2 * n + j, slope, m);
        vf_store_mask(slopes + 3 * n + j, vf_mul(slope, r), m);
        vf_store_mask(dh + j, vf_mul(up, z), m);
    }
}

static void gru_first_grad(float *slopes, const float *a, const float *h_before, float *dh,
                           int64_t n)
{
    for (int64_t j = 0; j < n; j += VL) {
        vm m = lanes_left(n - j);
        vf z = vf_load_mask(a + j, m), fresh = vf_load_mask(a + 2 * n + j, m);
        vf up = vf_load_mask(dh + j, m);
        vf slope = vf_mul(vf_mul(up, vf_sub(vf_set(1), z)), slope_tanh(fresh));
        vf behind = vf_sub(vf_load_mask(h_before + j, m), fresh);
        vf_store_mask(slopes + j, vf_mul(vf_mul(up, behind), slope_sigmoid(z)), m);
        vf_store_mask(slopes + 2 * n + j, slope, m);
        vf_store_mask(slopes + 3 * n + j, slope, m);
        vf_store_mask(dh + j, vf_mul(up, z), m);
    }
}

static void gru_reset_grad(float *slopes, const float *a, float *before, const float *pulled,
                           float *dh, int64_t n)
{
    for (int64_t j = 0; j < n; j += VL) {
        vm m = lanes_left(n - j);
        vf r = vf_load_mask(a + n + j, m), back = vf_load_mask(pulled + j, m);
        vf old = vf_load_mask(before + j, m);
        vf_store_mask(slopes + n + j, vf_mul(vf_mul(back, old), slope_sigmoid(r)), m);
        vf_store_mask(before + j, vf_mul(r, old), m);
        vf_store_mask(dh + j, vf_fma(back, r, vf_load_mask(dh + j, m)), m);
    }
}

static void plain_grad(float *slopes, const float *a, float *dh, bool relu, int64_t n)
{
    for (int64_t j = 0; j < n; j += VL) {
        vm m = lanes_left(n - j);
        vf y = vf_load_mask(a + j, m), up = vf_load_mask(dh + j, m);
        vf slope = relu ? vf_keep(vf_lt(vf_zero(), y), up) : vf_mul(up, slope_tanh(y));
        vf_store_mask(slopes + j, slope, m);
        vf_store_mask(dh + j, vf_zero(), m);
    }
}

static void stack(float *dst, const float *src, int64_t lds, int64_t rows, int64_t cols)
{
    for (int64_t i = 0; i < rows; i++, src += lds, dst += cols) {
        for (int64_t j = 0; j < cols; j += VL) {
            vm m = lanes_left(cols - j);
            vf_store_mask(dst + j, vf_load_mask(src + j, m), m);
        }
    }
}

#define RNN_TABLE                                                                                  \
    {                                                                                              \
        .lstm = lstm, .gru = gru, .gru_gates = gru_gates, .gru_first = gru_first, .plain = plain,  \
        .lstm_grad = lstm_grad, .gru_grad = gru_grad, .gru_first_grad = gru_first_grad,            \
        .gru_reset_grad = gru_reset_grad, .plain_grad = plain_grad, .stack = stack                 \
    }
