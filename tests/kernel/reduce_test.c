/*
 * Reductions of every level against sums in double precision, with odd shapes, NaN and empty dimensions.
 */
#include "kernel_testing.h"

#include "kernel/reduce/reduce.h"

static double reduce_of(qn_reduce op, const float *x, int64_t count, int64_t stride,
                        double *ret_size)
{
    double a = op == QN_REDUCE_PROD  ? 1
               : op == QN_REDUCE_MAX ? -HUGE_VAL
               : op == QN_REDUCE_MIN ? HUGE_VAL
                                     : 0,
           size = 0;
    double top = -HUGE_VAL;
    for (int64_t i = 0; i < count; i++)
        top = fmax(top, (double)x[i * stride]);
    for (int64_t i = 0; i < count; i++) {
        double v = (double)x[i * stride];
        size += op == QN_REDUCE_SUM_SQUARE ? v * v : fabs(v);
        switch (op) {
        case QN_REDUCE_MAX:
            a = fmax(a, v);
            break;
        case QN_REDUCE_MIN:
            a = fmin(a, v);
            break;
        case QN_REDUCE_PROD:
            a *= v;
            break;
        case QN_REDUCE_SUM_SQUARE:
            a += v * v;
            break;
        case QN_REDUCE_SUM_ABS:
            a += fabs(v);
            break;
        case QN_REDUCE_LOGSUMEXP:
            a += exp(v - top);
            break;
        default:
            a += v;
        }
    }
    *ret_size = op == QN_REDUCE_MEAN   ? size / (double)count
                : op == QN_REDUCE_PROD ? fabs(a) * (double)count
                                       : size;
    return op == QN_REDUCE_MEAN ? a / (double)count : op == QN_REDUCE_LOGSUMEXP ? top + log(a) : a;
}

static void check_shape(const qn_reduce_shape *s, qn_pool *pool)
{
    int64_t size = s->outer * s->reduce * s->inner, results = s->outer * s->inner;
    guarded x = guarded_uniform(size, 1, 1, -2, 2), y = guarded_make(results, 3);
    void *scratch = scratch_of(qn_reduce_f32_scratch_bytes(s));
    for (int op = 0; op < QN_REDUCE_COUNT; op++) {
        qn_reduce_f32(pool, (qn_reduce)op, y.at, x.at, s, scratch);
        for (int64_t i = 0; i < results; i++) {
            double scale,
                want = reduce_of((qn_reduce)op,
                                 x.at + i / s->inner * s->reduce * s->inner + i % s->inner,
                                 s->reduce, s->inner, &scale);
            bool exact = op == QN_REDUCE_MAX || op == QN_REDUCE_MIN;
            double bound = exact                       ? 0
                           : op == QN_REDUCE_LOGSUMEXP ? 4e-6 * (1 + fabs(want))
                                                       : 600 * 6e-8 * scale + 1e-30;
            if (!(fabs((double)y.at[i] - want) <= bound))
                fail_msg("[%d %d %d] op %d: %g, want %g", (int)s->outer, (int)s->reduce,
                         (int)s->inner, op, (double)y.at[i], want);
        }
    }
    int64_t *at = malloc((size_t)(results + 1) * sizeof *at);
    for (int least = 0; least < 2; least++) {
        (least ? qn_argmin_f32 : qn_argmax_f32)(pool, at, x.at, s);
        for (int64_t i = 0; i < results; i++) {
            const float *p = x.at + i / s->inner * s->reduce * s->inner + i % s->inner;
            int64_t best = 0;
            for (int64_t r = 1; r < s->reduce; r++)
                if (least ? p[r * s->inner] < p[best * s->inner]
                          : p[r * s->inner] > p[best * s->inner])
                    best = r;
            assert_int_equal(at[i], best);
        }
    }
    qn_reduce_spread_f32(pool, x.at, y.at, s, 0.5f);
    for (int64_t i = 0; i < size; i++)
        assert_float_equal(x.at[i],
                           0.5f * y.at[i / (s->reduce * s->inner) * s->inner + i % s->inner], 0);
    free(at);
    free(scratch);
    guarded_free(&x);
    guarded_free(&y);
}

static void reductions_match_double_at_every_size(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 2, 7, 8, 9, 15, 16, 17, 33, 48, 64, 65, 100};
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        for (int r = 0; r < 13; r++)
            for (int i = 0; i < 13; i++)
                for (int64_t o = 1; o < 4; o += 2)
                    check_shape(&(qn_reduce_shape){o, sizes[r], sizes[i]}, NULL);
        qn_pool *pool = pool_of(2);
        check_shape(&(qn_reduce_shape){1, 200003, 1}, pool);
        check_shape(&(qn_reduce_shape){3, 9000, 1}, pool);
        check_shape(&(qn_reduce_shape){1, 5000, 33}, pool);
        check_shape(&(qn_reduce_shape){700, 300, 1}, pool);
        check_shape(&(qn_reduce_shape){5, 0 + 1, 3000}, pool);
        qn_pool_destroy(pool);
    }
}

static void reductions_of_nothing_have_their_neutral_value(void **state)
{
    (void)state;
    static const float want[QN_REDUCE_COUNT] = {0, NAN, -INFINITY, INFINITY, 1, 0, 0, -INFINITY};
    for (int op = 0; op < QN_REDUCE_COUNT; op++) {
        float y[2], scratch[8];
        qn_reduce_f32(NULL, (qn_reduce)op, y, NULL, &(qn_reduce_shape){1, 0, 2}, scratch);
        assert_true(ulp_error(y[1], (double)want[op]) == 0);
    }
}

static void reductions_let_nan_and_infinity_through(void **state)
{
    (void)state;
    enum { N = 70 };
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        for (int at = 0; at < N; at += 3) {
            float x[N], y, scratch[4];
            int64_t place;
            values_uniform(x, N, 1, -1, 1);
            qn_reduce_shape s = {1, N, 1};
            x[at] = INFINITY;
            qn_reduce_f32(NULL, QN_REDUCE_LOGSUMEXP, &y, x, &s, scratch);
            assert_true(y == INFINITY);
            qn_argmax_f32(NULL, &place, x, &s);
            assert_int_equal(place, at);
            x[at] = NAN;
            for (int op = 0; op < QN_REDUCE_COUNT; op++) {
                qn_reduce_f32(NULL, (qn_reduce)op, &y, x, &s, scratch);
                assert_true(isnan(y));
            }
            qn_argmin_f32(NULL, &place, x, &s);
            assert_int_equal(place, at);
            float columns[N], wide[2 * N];
            memcpy(wide, x, sizeof x);
            memcpy(wide + N, x, sizeof x);
            float scratch_wide[4 * N];
            qn_reduce_f32(NULL, QN_REDUCE_MIN, columns, wide, &(qn_reduce_shape){1, 2, N},
                          scratch_wide);
            assert_true(isnan(columns[at]) && columns[(at + 1) % N] == x[(at + 1) % N]);
        }
        float none[3] = {-INFINITY, -INFINITY, -INFINITY}, y, scratch[4];
        qn_reduce_f32(NULL, QN_REDUCE_LOGSUMEXP, &y, none, &(qn_reduce_shape){1, 3, 1}, scratch);
        assert_true(y == -INFINITY);
    }
}

static void dot_matches_double(void **state)
{
    (void)state;
    static float scratch[64];
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        for (int64_t n = 0; n < 20000; n = n < 70 ? n + 1 : n * 3) {
            guarded a = guarded_uniform(n, 1, 1, -1, 1), b = guarded_uniform(n, 2, 2, -1, 1);
            float y;
            double want = 0, size = 0;
            for (int64_t i = 0; i < n; i++) {
                want += (double)a.at[i] * (double)b.at[i];
                size += fabs((double)a.at[i] * (double)b.at[i]);
            }
            qn_dot_f32(NULL, &y, a.at, b.at, n, scratch);
            assert_true(fabs((double)y - want) <= 300 * 6e-8 * size + 1e-9);
            guarded_free(&a);
            guarded_free(&b);
        }
    }
}

static void reductions_give_the_same_bits_for_any_thread_count(void **state)
{
    (void)state;
    enum { N = 600011 };
    static float x[N], y[POOLS][64], scratch[64 * 32];
    values_uniform(x, N, 1, -1, 1);
    for (int p = 0; p < POOLS; p++) {
        qn_pool *pool = pool_of(pool_threads[p]);
        qn_reduce_f32(pool, QN_REDUCE_SUM, y[p], x, &(qn_reduce_shape){1, N, 1}, scratch);
        qn_reduce_f32(pool, QN_REDUCE_MEAN, y[p] + 1, x, &(qn_reduce_shape){1, N / 40, 40},
                      scratch);
        qn_reduce_f32(pool, QN_REDUCE_LOGSUMEXP, y[p] + 41, x, &(qn_reduce_shape){20, N / 20, 1},
                      scratch);
        qn_dot_f32(pool, y[p] + 61, x, x, N, scratch);
        assert_memory_equal(y[p], y[0], 62 * sizeof(float));
        qn_pool_destroy(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(reductions_match_double_at_every_size, levels_reset),
        cmocka_unit_test(reductions_of_nothing_have_their_neutral_value),
        cmocka_unit_test_teardown(reductions_let_nan_and_infinity_through, levels_reset),
        cmocka_unit_test_teardown(dot_matches_double, levels_reset),
        cmocka_unit_test_teardown(reductions_give_the_same_bits_for_any_thread_count, levels_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
