/*
 * Batch normalisation at every level against double precision, also with a mean far from zero.
 */
#include "kernel_testing.h"

#include "kernel/norm/norm.h"

static void check_norm(int64_t rows, int64_t channels, float centre, bool affine, qn_pool *pool)
{
    int64_t size = rows * channels;
    guarded x = guarded_uniform(size, 1, 1, centre - 1, centre + 1),
            dy = guarded_uniform(size, 2, 2, -1, 1);
    guarded y = guarded_make(size, 3), dx = guarded_make(size, 0),
            scale = guarded_uniform(channels, 1, 3, 0.5f, 2);
    guarded shift = guarded_uniform(channels, 2, 4, -1, 1), mean = guarded_make(channels, 1),
            rstd = guarded_make(channels, 2);
    guarded run_mean = guarded_uniform(channels, 0, 5, -1, 1),
            run_var = guarded_uniform(channels, 0, 6, 0.5f, 1);
    guarded dscale = guarded_make(channels, 1), dshift = guarded_make(channels, 1);
    void *scratch = scratch_of(qn_batch_norm_scratch_bytes(rows, channels));
    qn_batch_norm io = {.rows = rows,
                        .channels = channels,
                        .x = x.at,
                        .scale = affine ? scale.at : NULL,
                        .shift = affine ? shift.at : NULL,
                        .y = y.at,
                        .save_mean = mean.at,
                        .save_rstd = rstd.at,
                        .running_mean = run_mean.at,
                        .running_var = run_var.at,
                        .eps = 1e-5f,
                        .momentum = 0.1f,
                        .unbiased = true};
    qn_batch_norm_train_f32(pool, &io, scratch);
    qn_batch_norm_grad back = {.rows = rows,
                               .channels = channels,
                               .dy = dy.at,
                               .x = x.at,
                               .scale = io.scale,
                               .save_mean = mean.at,
                               .save_rstd = rstd.at,
                               .dx = dx.at,
                               .dscale = dscale.at,
                               .dshift = dshift.at};
    qn_batch_norm_grad_f32(pool, &back, scratch);
    float old_mean[128], old_var[128];
    values_uniform(old_mean, channels, 5, -1, 1);
    values_uniform(old_var, channels, 6, 0.5f, 1);
    double tolerance = 3e-6 * (1 + fabs((double)centre));
    for (int64_t c = 0; c < channels; c++) {
        double m = 0, v = 0, sum = 0, dot = 0, w = affine ? (double)scale.at[c] : 1,
               b = affine ? (double)shift.at[c] : 0;
        for (int64_t r = 0; r < rows; r++)
            m += (double)x.at[r * channels + c] / (double)rows;
        for (int64_t r = 0; r < rows; r++)
            v += ((double)x.at[r * channels + c] - m) * ((double)x.at[r * channels + c] - m);
        double s = 1 / sqrt(v / (double)rows + 1e-5),
               unbiased = v / (double)(rows > 1 ? rows - 1 : rows);
        for (int64_t r = 0; r < rows; r++) {
            sum += (double)dy.at[r * channels + c];
            dot += (double)dy.at[r * channels + c] * ((double)x.at[r * channels + c] - m) * s;
        }
        double size_of = sqrt((double)rows) + 1;
        assert_true(fabs((double)mean.at[c] - m) <= tolerance &&
                    fabs((double)rstd.at[c] / s - 1) <= tolerance * s * s + 1e-5);
        assert_true(fabs((double)run_mean.at[c] - 0.9 * (double)old_mean[c] - 0.1 * m) <=
                    tolerance);
        assert_true(fabs((double)run_var.at[c] - 0.9 * (double)old_var[c] - 0.1 * unbiased) <=
                    tolerance);
        assert_true(fabs((double)dshift.at[c] - sum) <= 1e-5 * size_of);
        assert_true(fabs((double)dscale.at[c] - dot) <= tolerance * s * 10 * size_of);
        for (int64_t r = 0; r < rows; r++) {
            double hat = ((double)x.at[r * channels + c] - m) * s;
            double want =
                w * s *
                ((double)dy.at[r * channels + c] - sum / (double)rows - hat * dot / (double)rows);
            assert_true(fabs((double)y.at[r * channels + c] - (hat * w + b)) <= tolerance * s * 4);
            assert_true(fabs((double)dx.at[r * channels + c] - want) <= tolerance * s * s * 40);
        }
    }
    qn_batch_norm_infer infer = {.rows = rows,
                                 .channels = channels,
                                 .x = x.at,
                                 .scale = io.scale,
                                 .shift = io.shift,
                                 .mean = run_mean.at,
                                 .var = run_var.at,
                                 .y = y.at,
                                 .eps = 1e-3f};
    qn_batch_norm_infer_f32(pool, &infer, scratch);
    for (int64_t i = 0; i < size; i++) {
        int64_t c = i % channels;
        double want =
            ((double)x.at[i] - (double)run_mean.at[c]) / sqrt((double)run_var.at[c] + 1e-3);
        want = want * (affine ? (double)scale.at[c] : 1) + (affine ? (double)shift.at[c] : 0);
        assert_true(fabs((double)y.at[i] - want) <= 1e-6 * (8 + fabs(want)));
    }
    free(scratch);
    guarded *buffers[] = {&x,    &dy,   &y,        &dx,      &scale,  &shift,
                          &mean, &rstd, &run_mean, &run_var, &dscale, &dshift};
    for (int i = 0; i < 12; i++)
        guarded_free(buffers[i]);
}

static void batch_norm_matches_double(void **state)
{
    (void)state;
    static const int64_t channels[] = {1, 3, 8, 15, 16, 17, 33, 64};
    static const int64_t rows[] = {2, 7, 100, 513, 1500};
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        qn_pool *pool = pool_of(2);
        for (int i = 0; i < 8 * 5 * 2; i++)
            check_norm(rows[i / 8 % 5], channels[i % 8], i < 40 ? 0 : 100, i % 3,
                       i % 2 ? pool : NULL);
        qn_pool_destroy(pool);
    }
}

static void batch_norm_of_one_row_is_its_shift(void **state)
{
    (void)state;
    float x[3] = {5, -2, 0}, y[3], mean[3], rstd[3], shift[3] = {1, 2, 3};
    void *scratch = scratch_of(qn_batch_norm_scratch_bytes(1, 3));
    qn_batch_norm io = {.rows = 1,
                        .channels = 3,
                        .x = x,
                        .shift = shift,
                        .y = y,
                        .save_mean = mean,
                        .save_rstd = rstd,
                        .eps = 1e-5f};
    qn_batch_norm_train_f32(NULL, &io, scratch);
    free(scratch);
    for (int i = 0; i < 3; i++)
        assert_float_equal(y[i], shift[i], 0);
}

static void batch_norm_gives_the_same_bits_for_any_thread_count(void **state)
{
    (void)state;
    enum { R = 9000, C = 24 };
    static float x[R * C], y[POOLS][R * C], mean[C], rstd[POOLS][C];
    values_uniform(x, R * C, 1, -1, 3);
    void *scratch = scratch_of(qn_batch_norm_scratch_bytes(R, C));
    for (int p = 0; p < POOLS; p++) {
        qn_pool *pool = pool_of(pool_threads[p]);
        qn_batch_norm io = {.rows = R,
                            .channels = C,
                            .x = x,
                            .y = y[p],
                            .save_mean = mean,
                            .save_rstd = rstd[p],
                            .eps = 1e-5f};
        qn_batch_norm_train_f32(pool, &io, scratch);
        assert_memory_equal(y[p], y[0], sizeof y[0]);
        assert_memory_equal(rstd[p], rstd[0], sizeof rstd[0]);
        qn_pool_destroy(pool);
    }
    free(scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(batch_norm_matches_double, levels_reset),
        cmocka_unit_test(batch_norm_of_one_row_is_its_shift),
        cmocka_unit_test_teardown(batch_norm_gives_the_same_bits_for_any_thread_count,
                                  levels_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
