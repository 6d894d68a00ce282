/*
 * Copies, casts, gathers and pixel conversion against plain loops.
 */
#include "kernel_testing.h"

#include "kernel/move/move.h"

static void strided_copies_follow_their_strides(void **state)
{
    (void)state;
    /* transposes of [d0, d1, d2] in every order, from a larger buffer (a slice), in each element size */
    static const int order[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                    {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    static const int64_t sizes[][3] = {{1, 1, 1},    {3, 4, 5},  {1, 37, 70},
                                       {2, 65, 130}, {7, 1, 16}, {0, 3, 2}};
    static uint8_t src[8 * 80 * 80 * 140], dst[8 * 70 * 140 * 8], want[sizeof dst];
    for (size_t i = 0; i < sizeof src; i++)
        src[i] = (uint8_t)(i * 2654435761u >> 13);
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        for (int c = 0; c < 6 * 6 * 4; c++) {
            const int64_t *n = sizes[c / 6 % 6];
            const int *o = order[c % 6];
            int bytes = 1 << c / 36;
            int64_t from[3] = {(n[1] + 1) * (n[2] + 3), n[2] + 3, 1};
            qn_strided s = {.rank = 3};
            int64_t stride = 1;
            for (int d = 2; d >= 0; stride *= n[o[d]], d--) {
                s.dim[d] = n[o[d]];
                s.src_stride[d] = from[o[d]];
                s.dst_stride[d] = stride;
            }
            memset(dst, 0xee, sizeof dst);
            memset(want, 0xee, sizeof want);
            for (int64_t i = 0; i < s.dim[0]; i++)
                for (int64_t j = 0; j < s.dim[1]; j++)
                    for (int64_t k = 0; k < s.dim[2]; k++)
                        memcpy(want + (i * s.dst_stride[0] + j * s.dst_stride[1] + k) * bytes,
                               src + (i * s.src_stride[0] + j * s.src_stride[1] +
                                      k * s.src_stride[2]) *
                                         bytes,
                               (size_t)bytes);
            qn_copy_strided(NULL, dst, src, &s, bytes);
            assert_memory_equal(dst, want, sizeof dst);
            memset(dst, 0xee, sizeof dst);
            qn_strided_collapse(&s);
            qn_copy_strided(NULL, dst, src, &s, bytes);
            assert_memory_equal(dst, want, sizeof dst);
        }
    }
}

static void strided_copies_reverse_and_repeat(void **state)
{
    (void)state;
    float src[4] = {1, 2, 3, 4}, dst[8];
    qn_strided s = {.rank = 2, .dim = {2, 4}, .dst_stride = {4, 1}, .src_stride = {0, -1}};
    qn_strided_collapse(&s);
    qn_copy_strided(NULL, dst, src + 3, &s, 4);
    for (int i = 0; i < 8; i++)
        assert_float_equal(dst[i], src[3 - i % 4], 0);
}

static void casts_truncate_and_saturate(void **state)
{
    (void)state;
    const float f[] = {0,    -0.0f, 1.9f,  -1.9f,  255.5f,   300,       -5,
                       3e9f, -3e9f, 1e20f, -1e20f, INFINITY, -INFINITY, NAN};
    enum { N = sizeof f / sizeof *f };
    const int32_t want32[N] = {0,         0,         1,         -1,        255,       300,       -5,
                               INT32_MAX, INT32_MIN, INT32_MAX, INT32_MIN, INT32_MAX, INT32_MIN, 0};
    const uint8_t want8[N] = {0, 0, 1, 0, 255, 255, 0, 255, 0, 255, 0, 255, 0, 0};
    const uint8_t truths[N] = {0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    int32_t to32[N];
    int64_t to64[N];
    uint8_t to8[N], bits[N];
    double to_double[N];
    qn_cast(NULL, to32, QN_CAST_I32, f, QN_CAST_F32, N);
    qn_cast(NULL, to64, QN_CAST_I64, f, QN_CAST_F32, N);
    qn_cast(NULL, to8, QN_CAST_U8, f, QN_CAST_F32, N);
    qn_cast(NULL, bits, QN_CAST_BOOL, f, QN_CAST_F32, N);
    qn_cast(NULL, to_double, QN_CAST_F64, f, QN_CAST_F32, N);
    assert_memory_equal(to32, want32, sizeof to32);
    assert_memory_equal(to8, want8, sizeof to8);
    assert_memory_equal(bits, truths, sizeof bits);
    assert_true(to64[7] == 3000000000 && to64[9] == INT64_MAX && to64[12] == INT64_MIN &&
                to64[13] == 0);
    assert_true(to_double[2] == (double)f[2] && isnan(to_double[13]));
    const int64_t whole[] = {-1, 0, 300, INT64_MAX};
    float to_float[4];
    qn_cast(NULL, to_float, QN_CAST_F32, whole, QN_CAST_I64, 4);
    assert_true(to_float[0] == -1 && to_float[2] == 300 && to_float[3] == 9223372036854775808.0f);
    qn_cast(NULL, to32, QN_CAST_I32, whole, QN_CAST_I64, 4);
    assert_true(to32[3] == -1 && to32[2] == 300 && to32[0] == -1);
    qn_cast(NULL, to8, QN_CAST_U8, whole, QN_CAST_I64, 4);
    assert_true(to8[0] == 255 && to8[2] == 44 && to8[3] == 255);
    const uint8_t loose[] = {0, 1, 2, 255};
    qn_cast(NULL, to_float, QN_CAST_F32, loose, QN_CAST_U8, 4);
    assert_true(to_float[3] == 255 && to_float[2] == 2);
    qn_cast(NULL, to64, QN_CAST_I64, loose, QN_CAST_BOOL, 4);
    assert_true(to64[0] == 0 && to64[2] == 1 && to64[3] == 1);
}

static void gather_zeroes_rows_outside_and_scatter_skips_them(void **state)
{
    (void)state;
    enum { ROWS = 5, COLS = 70, COUNT = 10 };
    float src[ROWS * COLS], dst[COUNT * COLS], sums[ROWS * COLS], want[ROWS * COLS] = {0};
    const int64_t index[COUNT] = {4, 0, -1, 5, 2, 2, -5, 1, -6, INT64_MIN};
    values_uniform(src, ROWS * COLS, 1, -1, 1);
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        qn_gather_rows(NULL, dst, src, ROWS, sizeof(float) * COLS, index, COUNT);
        memset(want, 0, sizeof want);
        for (int i = 0; i < COUNT; i++) {
            bool inside = index[i] >= -ROWS && index[i] < ROWS;
            int64_t row = inside && index[i] < 0 ? index[i] + ROWS : index[i];
            for (int c = 0; c < COLS; c++) {
                assert_true(dst[i * COLS + c] == (inside ? src[row * COLS + c] : 0));
                if (inside)
                    want[row * COLS + c] += dst[i * COLS + c];
            }
        }
        qn_pool *pool = pool_of(2);
        qn_scatter_add_rows_f32(pool, sums, ROWS, COLS, dst, index, COUNT, false);
        assert_memory_equal(sums, want, sizeof want);
        qn_scatter_add_rows_f32(pool, sums, ROWS, COLS, dst, index, COUNT, true);
        qn_pool_destroy(pool);
        for (int i = 0; i < COUNT; i++)
            for (int c = 0; index[i] >= -ROWS && index[i] < ROWS && c < COLS; c++)
                want[(index[i] + ROWS) % ROWS * COLS + c] += dst[i * COLS + c];
        assert_memory_equal(sums, want, sizeof want);
    }
}

static void pixels_become_normalised_floats(void **state)
{
    (void)state;
    const float mean[5] = {10, 20, 30, 40, 50}, scale[5] = {0.5f, 0.25f, 2, 1, 3};
    uint8_t src[4 * 5 * 53];
    for (size_t i = 0; i < sizeof src; i++)
        src[i] = (uint8_t)(i * 37);
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        for (int64_t channels = 1; channels <= 5; channels++) {
            for (int64_t pixels = 0; pixels <= 53; pixels += pixels < 20 ? 1 : 11) {
                guarded dst = guarded_make(pixels * channels, 1);
                qn_u8_normalise_f32(NULL, dst.at, src, pixels, channels, mean, scale);
                for (int64_t i = 0; i < pixels * channels; i++)
                    assert_float_equal(
                        dst.at[i], ((float)src[i] - mean[i % channels]) * scale[i % channels], 0);
                guarded_free(&dst);
            }
            qn_u8_images images = {src, 4, 53, channels, mean, scale};
            const int64_t index[3] = {3, 9, 1};
            guarded dst = guarded_make(3 * 53 * channels, 1);
            qn_gather_u8_normalise_f32(NULL, dst.at, &images, index, 3);
            for (int64_t i = 0; i < 53 * channels; i++) {
                assert_float_equal(dst.at[i],
                                   ((float)src[3 * 53 * channels + i] - mean[i % channels]) *
                                       scale[i % channels],
                                   0);
                assert_float_equal(dst.at[53 * channels + i], 0, 0);
            }
            guarded_free(&dst);
        }
    }
}

static void fills_and_copies_stay_in_bounds(void **state)
{
    (void)state;
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        for (int64_t n = 0; n < 50; n++) {
            guarded a = guarded_make(n, 1), b = guarded_make(n, 3);
            qn_fill_f32(NULL, a.at, n, 2.5f);
            qn_copy_bytes(NULL, b.at, a.at, (size_t)n * sizeof(float));
            for (int64_t i = 0; i < n; i++)
                assert_float_equal(b.at[i], 2.5f, 0);
            qn_fill_bytes(NULL, a.at, (size_t)n * sizeof(float), 0);
            for (int64_t i = 0; i < n; i++)
                assert_float_equal(a.at[i], 0, 0);
            guarded_free(&a);
            guarded_free(&b);
        }
    }
}

static void moves_give_the_same_bits_for_any_thread_count(void **state)
{
    (void)state;
    enum { ROWS = 300, COLS = 130, COUNT = 4000, N = COUNT * COLS };
    static float src[N], sums[POOLS][ROWS * COLS], rows[POOLS][N], turned[POOLS][N];
    static int64_t index[COUNT], whole[POOLS][N];
    static uint8_t bytes[N];
    static float pixels[POOLS][N];
    const float mean = 0.3F, scale = 1 / 255.0F;
    values_uniform(src, N, 1, -9, 9);
    for (int i = 0; i < COUNT; i++)
        index[i] = (i * 7919 + i / 3) % ROWS; /* each row many times, in no order */
    for (int i = 0; i < N; i++)
        bytes[i] = (uint8_t)(i * 31 % 251);
    qn_strided transpose = {
        .rank = 2, .dim = {COLS, COUNT}, .dst_stride = {COUNT, 1}, .src_stride = {1, COLS}};
    qn_u8_images images = {.src = bytes,
                           .src_rows = ROWS,
                           .pixels = COLS,
                           .channels = 1,
                           .mean = &mean,
                           .scale = &scale};
    for (int p = 0; p < POOLS; p++) {
        qn_pool *pool = pool_of(pool_threads[p]);
        qn_scatter_add_rows_f32(pool, sums[p], ROWS, COLS, src, index, COUNT, false);
        qn_gather_rows(pool, rows[p], src, ROWS, sizeof(float) * COLS, index, COUNT);
        qn_copy_strided(pool, turned[p], src, &transpose, sizeof(float));
        qn_cast(pool, whole[p], QN_CAST_I64, src, QN_CAST_F32, N);
        qn_gather_u8_normalise_f32(pool, pixels[p], &images, index, COUNT);
        assert_memory_equal(sums[p], sums[0], sizeof sums[0]);
        assert_memory_equal(rows[p], rows[0], sizeof rows[0]);
        assert_memory_equal(turned[p], turned[0], sizeof turned[0]);
        assert_memory_equal(whole[p], whole[0], sizeof whole[0]);
        assert_memory_equal(pixels[p], pixels[0], sizeof pixels[0]);
        qn_pool_destroy(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(strided_copies_follow_their_strides, levels_reset),
        cmocka_unit_test(strided_copies_reverse_and_repeat),
        cmocka_unit_test(casts_truncate_and_saturate),
        cmocka_unit_test_teardown(gather_zeroes_rows_outside_and_scatter_skips_them, levels_reset),
        cmocka_unit_test_teardown(pixels_become_normalised_floats, levels_reset),
        cmocka_unit_test_teardown(fills_and_copies_stay_in_bounds, levels_reset),
        cmocka_unit_test(moves_give_the_same_bits_for_any_thread_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
