/*
 * Random vectors at every level: element by element the values of base/rng.h.
 */
#include "kernel_testing.h"

#include "kernel/random/random.h"

static void uniform_vectors_are_the_generators_values(void **state)
{
    (void)state;
    const qn_rng rng = {.seed = 0x123456789abcdef0u, .stream = 7, .step = 3};
    static const uint64_t starts[] = {0, 1, 4, 5, 1000, (UINT64_C(1) << 34) - 8, UINT64_C(1) << 40};
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        for (int f = 0; f < 7; f++) {
            for (int64_t n = 0; n < 140; n++) {
                guarded y = guarded_make(n, n % 4);
                qn_random_source source = {.rng = rng, .first = starts[f]};
                qn_random_uniform_f32(NULL, y.at, n, &source, 0, 1);
                for (int64_t i = 0; i < n; i++)
                    assert_float_equal(y.at[i], qn_rng_uniform(rng, starts[f] + (uint64_t)i), 0);
                guarded_free(&y);
            }
        }
    }
}

static void dropout_keeps_by_the_generators_values(void **state)
{
    (void)state;
    enum { N = 133 };
    float x[N];
    values_uniform(x, N, 1, 1, 2);
    const int64_t step = 9;
    const qn_rng rng = {.seed = 5, .stream = 2, .step = 9};
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        for (int64_t n = 0; n <= N; n++) {
            guarded y = guarded_make(n, 1);
            qn_random_source source = {.rng = {.seed = 5, .stream = 2}, .step = &step};
            qn_dropout_f32(NULL, y.at, x, n, &source, 0.3f);
            float scale = 1 / (1 - 0.3f);
            for (int64_t i = 0; i < n; i++)
                assert_float_equal(y.at[i],
                                   qn_rng_uniform(rng, (uint64_t)i) >= 0.3f ? x[i] * scale : 0, 0);
            qn_dropout_f32(NULL, y.at, x, n, &source, 1);
            for (int64_t i = 0; i < n; i++)
                assert_float_equal(y.at[i], 0, 0);
            qn_dropout_f32(NULL, y.at, x, n, &source, 0);
            assert_memory_equal(y.at, x, (size_t)n * sizeof *x);
            guarded_free(&y);
        }
    }
}

static void dropout_gives_the_same_bits_for_any_level_and_thread_count(void **state)
{
    (void)state;
    enum { N = 200003 };
    static float x[N], first[N], y[N];
    values_uniform(x, N, 1, -1, 1);
    qn_random_source source = {.rng = {.seed = 5}};
    bool begun = false;
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        for (int p = 0; p < POOLS; p++) {
            qn_pool *pool = pool_of(pool_threads[p]);
            qn_dropout_f32(pool, begun ? y : first, x, N, &source, 0.5f);
            if (begun)
                assert_memory_equal(y, first, sizeof y);
            begun = true;
            qn_pool_destroy(pool);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(uniform_vectors_are_the_generators_values, levels_reset),
        cmocka_unit_test_teardown(dropout_keeps_by_the_generators_values, levels_reset),
        cmocka_unit_test_teardown(dropout_gives_the_same_bits_for_any_level_and_thread_count,
                                  levels_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
