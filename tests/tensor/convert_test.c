/* Conversions between element types. */
#include "testing.h"

#include <math.h>

#include "tensor/tensor.h"

static void every_half_survives_f64_and_back(void **state)
{
    (void)state;
    static uint16_t half[65536], back[65536];
    static double wide[65536];
    for (int i = 0; i < 65536; i++)
        half[i] = (uint16_t)i;
    for (int pass = 0; pass < 2; pass++) {
        qn_dtype dtype = pass ? QN_DTYPE_BF16 : QN_DTYPE_F16;
        qn_tensor t = qn_tensor_of(half, dtype, QN_SHAPE(65536));
        qn_tensor_convert(wide, QN_DTYPE_F64, &t);
        qn_tensor w = qn_tensor_of(wide, QN_DTYPE_F64, QN_SHAPE(65536));
        qn_tensor_convert(back, dtype, &w);
        for (int i = 0; i < 65536; i++)
            if (!isnan(wide[i]))
                assert_int_equal(back[i], i);
            else
                assert_true(
                    isnan(qn_tensor_f64_at(&(qn_tensor){.dtype = dtype, .data = &back[i]}, 0)));
    }
}

static void halves_round_to_even(void **state)
{
    (void)state;
    double in[] = {1 + 1.0 / 2048, 1 + 3.0 / 2048,  65519.9, 65520,
                   ldexp(1, -25),  ldexp(1.5, -25), -2.5};
    uint16_t want[] = {0x3c00, 0x3c02, 0x7bff, 0x7c00, 0, 1, 0xc100}, got[7];
    qn_tensor t = qn_tensor_of(in, QN_DTYPE_F64, QN_SHAPE(7));
    qn_tensor_convert(got, QN_DTYPE_F16, &t);
    assert_memory_equal(got, want, sizeof want);
}

static void floats_saturate_and_nan_is_zero(void **state)
{
    (void)state;
    double in[] = {(double)NAN, 1e300, -1e300, -1.9, 255.9};
    int64_t i64[5];
    uint8_t u8[5], flag[5];
    uint64_t u64[5];
    int32_t i32[5];
    qn_tensor t = qn_tensor_of(in, QN_DTYPE_F64, QN_SHAPE(5));
    qn_tensor_convert(i64, QN_DTYPE_I64, &t);
    assert_memory_equal(i64, ((int64_t[]){0, INT64_MAX, INT64_MIN, -1, 255}), sizeof i64);
    qn_tensor_convert(u8, QN_DTYPE_U8, &t);
    assert_memory_equal(u8, ((uint8_t[]){0, 255, 0, 0, 255}), sizeof u8);
    qn_tensor_convert(u64, QN_DTYPE_U64, &t);
    assert_memory_equal(u64, ((uint64_t[]){0, UINT64_MAX, 0, 0, 255}), sizeof u64);
    qn_tensor_convert(i32, QN_DTYPE_I32, &t);
    assert_memory_equal(i32, ((int32_t[]){0, INT32_MAX, INT32_MIN, -1, 255}), sizeof i32);
    qn_tensor_convert(flag, QN_DTYPE_BOOL, &t);
    assert_memory_equal(flag, ((uint8_t[]){1, 1, 1, 1, 1}), sizeof flag);
}

static void integers_stay_exact(void **state)
{
    (void)state;
    int64_t in[] = {INT64_MAX, INT64_MIN + 1, (1LL << 53) + 1}, back[3];
    uint64_t wide[3];
    qn_tensor t = qn_tensor_of(in, QN_DTYPE_I64, QN_SHAPE(3));
    qn_tensor_convert(wide, QN_DTYPE_U64, &t);
    qn_tensor w = qn_tensor_of(wide, QN_DTYPE_U64, QN_SHAPE(3));
    qn_tensor_convert(back, QN_DTYPE_I64, &w);
    assert_memory_equal(back, in, sizeof in);
    uint64_t big = UINT64_MAX;
    qn_tensor b = qn_tensor_of(&big, QN_DTYPE_U64, QN_SCALAR);
    assert_true(qn_tensor_f64_at(&b, 0) == 18446744073709551616.0);
}

static void every_pair_keeps_small_integers(void **state)
{
    (void)state;
    enum { COUNT = 600 };
    uint8_t first[COUNT], back[COUNT];
    char a[COUNT * 8], b[COUNT * 8];
    for (int i = 0; i < COUNT; i++)
        first[i] = (uint8_t)(i % 2);
    for (int from = 0; from < QN_DTYPE_COUNT; from++)
        for (int to = 0; to < QN_DTYPE_COUNT; to++) {
            qn_tensor s = qn_tensor_of(first, QN_DTYPE_U8, QN_SHAPE(COUNT));
            qn_tensor_convert(a, (qn_dtype)from, &s);
            s = qn_tensor_of(a, (qn_dtype)from, QN_SHAPE(COUNT));
            qn_tensor_convert(b, (qn_dtype)to, &s);
            s = qn_tensor_of(b, (qn_dtype)to, QN_SHAPE(COUNT));
            qn_tensor_convert(back, QN_DTYPE_U8, &s);
            assert_memory_equal(back, first, COUNT);
        }
}

static void strided_sources_are_walked(void **state)
{
    (void)state;
    float in[24], got[24];
    for (int i = 0; i < 24; i++)
        in[i] = (float)i;
    qn_tensor t = qn_tensor_of(in, QN_DTYPE_F32, QN_SHAPE(4, 3, 2));
    t.strides[0] = 1, t.strides[1] = 8, t.strides[2] = 4; /* in is [3, 2, 4], permuted */
    qn_tensor_convert(got, QN_DTYPE_F32, &t);
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < 3; j++)
            for (int k = 0; k < 2; k++) {
                float want = in[j * 8 + k * 4 + i];
                assert_true(got[(i * 3 + j) * 2 + k] == want);
                assert_true(qn_tensor_f64_at(&t, (i * 3 + j) * 2 + k) == (double)want);
            }
    int32_t one = 5, wide[6];
    qn_tensor broadcast = {.dtype = QN_DTYPE_I32, .shape = QN_SHAPE(2, 3), .data = &one};
    qn_tensor_convert(wide, QN_DTYPE_I32, &broadcast);
    for (int i = 0; i < 6; i++)
        assert_int_equal(wide[i], 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_half_survives_f64_and_back),
        cmocka_unit_test(halves_round_to_even),
        cmocka_unit_test(floats_saturate_and_nan_is_zero),
        cmocka_unit_test(integers_stay_exact),
        cmocka_unit_test(every_pair_keeps_small_integers),
        cmocka_unit_test(strided_sources_are_walked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
