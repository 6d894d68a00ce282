/*
 * 16-bit floats at every level: every value of theirs, and every f32 near a tie, against the conversions of tensors.
 */
#include "kernel_testing.h"

#include "kernel/half/half.h"
#include "tensor/tensor.h"

typedef void narrow_fn(qn_pool *pool, uint16_t *dst, const float *src, int64_t count);
typedef void widen_fn(qn_pool *pool, float *dst, const uint16_t *src, int64_t count);
static const struct {
    qn_dtype dtype;
    uint32_t infinity; /* bits; more is NaN */
    narrow_fn *narrow;
    widen_fn *widen;
} kinds[] = {{QN_DTYPE_BF16, 0x7f80, qn_bf16_of_f32, qn_f32_of_bf16},
             {QN_DTYPE_F16, 0x7c00, qn_f16_of_f32, qn_f32_of_f16}};

enum { ALL = 65536 };
static uint16_t halves[ALL], back[ALL];
static float wide[ALL], expected[ALL];

static void every_half_widens_exactly_and_comes_back(void **state)
{
    (void)state;
    for (int i = 0; i < ALL; i++)
        halves[i] = (uint16_t)i;
    FOR_EACH_LEVEL(level)
    for (size_t k = 0; k < 2; k++) {
        qn_tensor src = qn_tensor_of(halves, kinds[k].dtype, QN_SHAPE(ALL));
        qn_tensor_convert(expected, QN_DTYPE_F32, &src);
        kinds[k].widen(NULL, wide, halves, ALL);
        kinds[k].narrow(NULL, back, wide, ALL);
        for (uint32_t i = 0; i < ALL; i++) {
            bool nan = (i & 0x7fff) > kinds[k].infinity;
            if (nan ? !isnan(wide[i]) || (back[i] & 0x7fff) <= kinds[k].infinity
                    : memcmp(&wide[i], &expected[i], 4) != 0 || back[i] != i)
                fail_msg("%04x becomes %g and %04x at %s", i, (double)wide[i], back[i],
                         qn_cpu_level_name(level));
        }
    }
}

/* The f32 half way between neighbouring halves, and its neighbours. */
static void ties_go_to_even(void **state)
{
    (void)state;
    FOR_EACH_LEVEL(level)
    for (size_t k = 0; k < 2; k++)
        for (int side = -1; side <= 1; side++) {
            for (int i = 0; i < ALL; i++)
                halves[i] = (uint16_t)i;
            kinds[k].widen(NULL, wide, halves, ALL);
            for (uint32_t i = 0; i + 1 < ALL; i++) {
                bool finite = (i & 0x7fff) < kinds[k].infinity;
                float tie = finite ? (float)(((double)wide[i] + (double)wide[i + 1]) / 2) : 0;
                if (isinf(tie)) /* the last tie lies above the largest half */
                    tie = kinds[k].dtype == QN_DTYPE_F16 ? copysignf(65520, tie) : 0;
                wide[i] = side < 0 ? nextafterf(tie, 0) : side > 0 ? nextafterf(tie, 2 * tie) : tie;
            }
            wide[ALL - 1] = 0;
            qn_tensor src = qn_tensor_of(wide, QN_DTYPE_F32, QN_SHAPE(ALL));
            qn_tensor_convert(back, kinds[k].dtype, &src);
            kinds[k].narrow(NULL, halves, wide, ALL);
            for (int i = 0; i < ALL; i++)
                if (halves[i] != back[i])
                    fail_msg("%a rounds to %04x, not %04x, at %s", (double)wide[i], halves[i],
                             back[i], qn_cpu_level_name(level));
        }
}

static void tails_touch_nothing_else(void **state)
{
    (void)state;
    FOR_EACH_LEVEL(level)
    for (int64_t n = 0; n < 50; n++) {
        guarded x = guarded_uniform(n, 1, 1, -9, 9), y = guarded_make(n, 3);
        guarded bits = guarded_make((n + 1) / 2, 2);
        uint16_t *half = (uint16_t *)(void *)bits.at;
        for (size_t k = 0; k < 2; k++) {
            if (n % 2)
                half[n] = 7; /* the odd element behind is a guard too */
            kinds[k].narrow(NULL, half, x.at, n);
            assert_true(n % 2 == 0 || half[n] == 7);
            kinds[k].widen(NULL, y.at, half, n);
            for (int64_t i = 0; i < n; i++)
                assert_true(fabsf(y.at[i] - x.at[i]) <= 0x1p-8f * fabsf(x.at[i]));
        }
        (void)level;
        guarded_free(&x);
        guarded_free(&y);
        guarded_free(&bits);
    }
}

/* Whole pieces and tails, in place too. */
static void rounding_is_there_and_back(void **state)
{
    (void)state;
    FOR_EACH_LEVEL(level)
    for (int64_t n = 0; n < 1200; n += 37) {
        guarded x = guarded_uniform(n, 1, 2, -9, 9), y = guarded_make(n, 3);
        qn_bf16_of_f32(NULL, halves, x.at, n);
        qn_f32_of_bf16(NULL, wide, halves, n);
        qn_f32_round_bf16(NULL, y.at, x.at, n);
        qn_f32_round_bf16(NULL, x.at, x.at, n);
        assert_memory_equal(y.at, wide, (size_t)n * sizeof *wide);
        assert_memory_equal(x.at, wide, (size_t)n * sizeof *wide);
        (void)level;
        guarded_free(&x);
        guarded_free(&y);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_half_widens_exactly_and_comes_back, levels_reset),
        cmocka_unit_test_teardown(ties_go_to_even, levels_reset),
        cmocka_unit_test_teardown(tails_touch_nothing_else, levels_reset),
        cmocka_unit_test_teardown(rounding_is_there_and_back, levels_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
