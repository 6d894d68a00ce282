/*
 * Matrix products at every ISA level against the definition: one chain of fused multiply-adds per element, which the
 * vector kernels must give bit for bit and the portable one within its error bound.
 */
#include "kernel_testing.h"

#include "kernel/gemm/gemm.h"

typedef struct {
    int64_t m, n, k, pad;
    bool ta, tb;
    float alpha, beta;
    bool bias;
    qn_act act;
} gemm_case;

static float definition(const qn_gemm *g, int64_t i, int64_t j, double *ret_magnitude)
{
    bool plain = g->alpha == 1 && (g->beta == 0 || g->beta == 1);
    float c0 = g->beta != 0 ? g->c[i * g->ldc + j] : 0;
    float sum = plain ? c0 : 0;
    double size = fabs((double)(g->beta * c0));
    for (int64_t k = 0; k < g->k; k++) {
        float a = g->trans_a ? g->a[k * g->lda + i] : g->a[i * g->lda + k];
        float b = g->trans_b ? g->b[j * g->ldb + k] : g->b[k * g->ldb + j];
        sum = fmaf(a, b, sum);
        size += fabs((double)g->alpha * (double)a * (double)b);
    }
    if (!plain)
        sum = g->beta != 0 ? g->alpha * sum + g->beta * c0 : g->alpha * sum;
    if (g->bias)
        sum += g->bias[j];
    *ret_magnitude = size + (g->bias ? fabs((double)g->bias[j]) : 0);
    switch (g->act) {
    case QN_ACT_RELU:
        return sum > 0 ? sum : 0;
    case QN_ACT_LEAKY:
        return sum > 0 ? sum : g->slope * sum;
    case QN_ACT_SIGMOID:
        return (float)(1 / (1 + exp(-(double)sum)));
    case QN_ACT_TANH:
        return (float)tanh((double)sum);
    case QN_ACT_GELU:
        return (float)(0.5 * (double)sum * (1 + erf((double)sum * sqrt(0.5))));
    default:
        return sum;
    }
}

/* A product of one row gives the same bits with B in the threads' order. `before`: what C was. */
static void check_lines(const qn_gemm *gemm, qn_pool *pool, const float *before, void *scratch)
{
    qn_gemm g = *gemm;
    size_t bytes = qn_gemm_lines_bytes(&g), row = (size_t)g.n * sizeof(float);
    if (bytes == 0)
        return;
    assert_int_equal(g.m, 1);
    float *lines = scratch_of(bytes), *first = scratch_of(row);
    qn_gemm_lines_pack(&g, lines);
    memcpy(first, g.c, row);
    memcpy(g.c, before, row);
    g.lines = lines;
    g.b = NULL;
    qn_gemm_f32(pool, &g, scratch);
    assert_memory_equal(first, g.c, row);
    free(lines);
    free(first);
}

static void check_case(const gemm_case *t, qn_pool *pool, int threads, bool exact)
{
    int64_t lda = (t->ta ? t->m : t->k) + t->pad, ldb = (t->tb ? t->k : t->n) + t->pad,
            ldc = t->n + t->pad;
    guarded a = guarded_uniform((t->ta ? t->k : t->m) * lda + 1, t->pad, 1, -1, 1);
    guarded b = guarded_uniform((t->tb ? t->n : t->k) * ldb + 1, 3 * t->pad, 2, -1, 1);
    guarded c = guarded_uniform(t->m * ldc, t->pad, 3, -1, 1),
            bias = guarded_uniform(t->n, 1, 4, -1, 1);
    float *before = malloc((size_t)(t->m * ldc + 1) * sizeof(float));
    memcpy(before, c.at, (size_t)(t->m * ldc) * sizeof(float));
    qn_gemm g = {.m = t->m,
                 .n = t->n,
                 .k = t->k,
                 .a = a.at,
                 .b = b.at,
                 .c = c.at,
                 .lda = lda,
                 .ldb = ldb,
                 .ldc = ldc,
                 .trans_a = t->ta,
                 .trans_b = t->tb,
                 .alpha = t->alpha,
                 .beta = t->beta,
                 .act = t->act,
                 .slope = 0.1f,
                 .bias = t->bias ? bias.at : NULL};
    void *scratch = scratch_of(qn_gemm_f32_scratch_bytes(&g, threads));
    qn_gemm_f32(pool, &g, scratch);
    qn_gemm want = g;
    want.c = before;
    bool bits = exact && (t->act == QN_ACT_NONE || t->act == QN_ACT_RELU);
    for (int64_t i = 0; i < t->m; i++) {
        for (int64_t j = 0; j < ldc; j++) {
            double size = 0;
            float w = j < t->n ? definition(&want, i, j, &size) : before[i * ldc + j];
            double error = fabs((double)c.at[i * ldc + j] - (double)w);
            double bound = bits || j >= t->n ? 0 : (double)(t->k + 4) * 6e-8 * size + 1e-6;
            if (!(error <= bound))
                fail_msg("m %d n %d k %d ta %d tb %d at %d %d: %g, want %g", (int)t->m, (int)t->n,
                         (int)t->k, t->ta, t->tb, (int)i, (int)j, (double)c.at[i * ldc + j],
                         (double)w);
        }
    }
    check_lines(&g, pool, before, scratch);
    free(scratch);
    free(before);
    guarded_free(&a);
    guarded_free(&b);
    guarded_free(&c);
    guarded_free(&bias);
}

static void gemm_follows_its_definition_at_every_size(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 2, 5, 7, 8, 9, 15, 16, 17, 31, 33, 48, 49};
    static const int64_t depths[] = {0, 1, 3, 17};
    FOR_EACH_LEVEL(level)
    {
        for (size_t i = 0; i < 13; i++)
            for (size_t j = 0; j < 13; j++)
                for (size_t k = 0; k < 4; k++)
                    for (int t = 0; t < 4; t++)
                        check_case(&(gemm_case){.m = sizes[i],
                                                .n = sizes[j],
                                                .k = depths[k],
                                                .pad = (int64_t)(i % 3),
                                                .ta = t & 1,
                                                .tb = t & 2,
                                                .alpha = 1,
                                                .beta = (float)(j % 2),
                                                .bias = k % 2,
                                                .act = i % 2 ? QN_ACT_RELU : QN_ACT_NONE},
                                   NULL, 1, level != QN_CPU_PORTABLE);
    }
}

/* Nothing to write: no scratch is asked for, and nothing is touched. */
static void gemm_of_no_rows_or_columns_does_nothing(void **state)
{
    (void)state;
    const qn_gemm empty[] = {{.m = 3, .n = 0, .k = 4, .alpha = 1},
                             {.m = 0, .n = 3, .k = 4, .alpha = 1}};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(qn_gemm_f32_scratch_bytes(&empty[i], 2), 0);
        qn_gemm_f32(NULL, &empty[i], NULL);
    }
}

static void gemm_follows_its_definition_on_blocked_paths(void **state)
{
    (void)state;
    static const gemm_case cases[] = {
        {.m = 300, .n = 200, .k = 530, .alpha = 1},
        {.m = 70, .n = 520, .k = 300, .tb = true, .alpha = 1, .beta = 1},
        {.m = 290, .n = 600, .k = 260, .ta = true, .alpha = 1},
        {.m = 40, .n = 512, .k = 512, .alpha = 1, .bias = true},
        {.m = 260, .n = 256, .k = 512, .alpha = 1, .beta = 1},
        {.m = 65, .n = 100, .k = 1100, .alpha = 0.5f, .beta = 2},
        {.m = 257, .n = 513, .k = 40, .ta = true, .tb = true, .alpha = -1.5f, .bias = true},
        {.m = 33, .n = 49, .k = 20, .alpha = 1, .act = QN_ACT_SIGMOID},
        {.m = 9, .n = 50, .k = 5, .alpha = 1, .act = QN_ACT_TANH},
        {.m = 9, .n = 50, .k = 5, .alpha = 2, .act = QN_ACT_LEAKY},
        {.m = 12, .n = 30, .k = 5, .alpha = 1, .act = QN_ACT_GELU},
        {.m = 32, .n = 128, .k = 784, .alpha = 1, .bias = true, .act = QN_ACT_RELU},
        {.m = 9, .n = 130, .k = 1601, .alpha = 1, .beta = 1, .act = QN_ACT_TANH},
        {.m = 1, .n = 130, .k = 1100, .tb = true, .alpha = 1, .bias = true},
        {.m = 1, .n = 200, .k = 1100, .alpha = 1, .bias = true, .act = QN_ACT_RELU},
        {.m = 1, .n = 517, .k = 300, .ta = true, .alpha = 1, .beta = 1, .act = QN_ACT_TANH},
    };
    FOR_EACH_LEVEL(level)
    {
        qn_pool *pool = pool_of(2);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
            check_case(&cases[i], pool, 2, level != QN_CPU_PORTABLE);
        qn_pool_destroy(pool);
    }
}

static void gemm_gives_the_same_bits_for_any_thread_count_and_batch(void **state)
{
    (void)state;
    enum { M = 190, N = 300, K = 400 };
    float *a = malloc(sizeof(float) * M * K), *b = malloc(sizeof(float) * K * N);
    float *c[POOLS], *one = malloc(sizeof(float) * N);
    values_uniform(a, M * K, 1, -1, 1);
    values_uniform(b, K * N, 2, -1, 1);
    FOR_EACH_LEVEL(level)
    {
        qn_gemm g = {
            .m = M, .n = N, .k = K, .a = a, .b = b, .lda = K, .ldb = N, .ldc = N, .alpha = 1};
        for (int p = 0; p < POOLS; p++) {
            qn_pool *pool = pool_of(pool_threads[p]);
            void *scratch = scratch_of(qn_gemm_f32_scratch_bytes(&g, pool_threads[p]));
            g.c = c[p] = malloc(sizeof(float) * M * N);
            qn_gemm_f32(pool, &g, scratch);
            assert_memory_equal(c[p], c[0], sizeof(float) * M * N);
            free(scratch);
            qn_pool_destroy(pool);
        }
        g.m = 1;
        g.c = one;
        void *scratch = scratch_of(qn_gemm_f32_scratch_bytes(&g, 1));
        for (int i = 0; i < M; i++) {
            g.a = a + i * K;
            qn_gemm_f32(NULL, &g, scratch);
            assert_memory_equal(one, c[0] + i * N, sizeof(float) * N);
        }
        free(scratch);
        for (int p = 0; p < POOLS; p++)
            free(c[p]);
    }
    free(a);
    free(b);
    free(one);
}

/* Halves of k that threads do for each other, in whatever order they come. */
static void gemm_of_few_rows_gives_the_same_bits_each_time(void **state)
{
    (void)state;
    enum { M = 30, N = 130, K = 785, TIMES = 300 };
    guarded a = guarded_uniform(M * K, 0, 1, -1, 1), b = guarded_uniform(K * N, 0, 2, -1, 1);
    guarded c = guarded_uniform(M * N, 0, 3, -1, 1), want = guarded_uniform(M * N, 0, 3, -1, 1);
    guarded bias = guarded_uniform(N, 1, 4, -1, 1);
    qn_gemm g = {.m = M,
                 .n = N,
                 .k = K,
                 .a = a.at,
                 .b = b.at,
                 .c = want.at,
                 .bias = bias.at,
                 .lda = K,
                 .ldb = N,
                 .ldc = N,
                 .alpha = 1,
                 .act = QN_ACT_RELU};
    qn_gemm_f32(NULL, &g, NULL);
    g.c = c.at;
    for (int p = 0; p < POOLS; p++) {
        qn_pool *pool = pool_of(pool_threads[p]);
        for (int i = 0; i < TIMES; i++) {
            memset(c.at, 0x7f, sizeof(float) * M * N);
            qn_gemm_f32(pool, &g, NULL);
            assert_memory_equal(c.at, want.at, sizeof(float) * M * N);
        }
        qn_pool_destroy(pool);
    }
    guarded_free(&a);
    guarded_free(&b);
    guarded_free(&c);
    guarded_free(&want);
    guarded_free(&bias);
}

/* Large enough for groups of panels that a worker keeps and several passes over k; a single row takes the direct path. */
static void gemm_of_large_sizes_equals_its_rows(void **state)
{
    (void)state;
    static const struct {
        int64_t m, n, k;
        bool ta, tb, relu;
    } cases[] = {{150, 1000, 2700, false, false, true}, {257, 100, 5200, false, true, false},
                 {130, 820, 2600, true, false, false},  {560, 300, 1100, true, false, true},
                 {2050, 60, 1100, true, false, false},  {2050, 100, 400, true, true, true},
                 {128, 8192, 64, true, true, true},     {140, 770, 2048, false, false, false}};
    qn_pool *pool = pool_of(3);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t m = cases[i].m, n = cases[i].n, k = cases[i].k;
        guarded a = guarded_uniform(m * k, 0, 1, -1, 1), b = guarded_uniform(k * n, 0, 2, -1, 1);
        guarded c = guarded_uniform(m * n, 0, 3, -1, 1), bias = guarded_uniform(n, 1, 4, -1, 1);
        guarded one = guarded_uniform(m * n, 0, 3, -1, 1);
        qn_gemm g = {.m = m,
                     .n = n,
                     .k = k,
                     .a = a.at,
                     .b = b.at,
                     .c = c.at,
                     .bias = bias.at,
                     .lda = cases[i].ta ? m : k,
                     .ldb = cases[i].tb ? k : n,
                     .ldc = n,
                     .trans_a = cases[i].ta,
                     .trans_b = cases[i].tb,
                     .alpha = 1,
                     .beta = cases[i].relu ? 0 : 1,
                     .act = cases[i].relu ? QN_ACT_RELU : QN_ACT_NONE};
        void *scratch = scratch_of(qn_gemm_f32_scratch_bytes(&g, 3));
        qn_gemm_f32(pool, &g, scratch);
        free(scratch);
        g.m = 1;
        scratch = scratch_of(qn_gemm_f32_scratch_bytes(&g, 1));
        for (int64_t r = 0; r < m; r += r < 3 ? 1 : 17) {
            g.a = a.at + r * (cases[i].ta ? 1 : k);
            g.c = one.at + r * n;
            qn_gemm_f32(NULL, &g, scratch);
            assert_memory_equal(one.at + r * n, c.at + r * n, (size_t)n * sizeof(float));
        }
        free(scratch);
        guarded_free(&a);
        guarded_free(&b);
        guarded_free(&c);
        guarded_free(&bias);
        guarded_free(&one);
    }
    qn_pool_destroy(pool);
}

static void gemm_batches_broadcast_by_stride(void **state)
{
    (void)state;
    enum { B0 = 2, B1 = 3, M = 5, N = 20, K = 7 };
    float a[B0 * M * K], b[B1 * K * N], c[B0 * B1 * M * N], want[M * N];
    values_uniform(a, B0 * M * K, 1, -1, 1);
    values_uniform(b, B1 * K * N, 2, -1, 1);
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        qn_gemm g = {.m = M,
                     .n = N,
                     .k = K,
                     .a = a,
                     .b = b,
                     .c = c,
                     .lda = K,
                     .ldb = N,
                     .ldc = N,
                     .alpha = 1,
                     .batch_rank = 2,
                     .batch = {B0, B1},
                     .batch_a = {M * K, 0},
                     .batch_b = {0, K * N},
                     .batch_c = {B1 * M * N, M * N}};
        qn_gemm_f32(NULL, &g, NULL);
        for (int i = 0; i < B0 * B1; i++) {
            qn_gemm s = {.m = M,
                         .n = N,
                         .k = K,
                         .a = a + i / B1 * M * K,
                         .b = b + i % B1 * K * N,
                         .c = want,
                         .lda = K,
                         .ldb = N,
                         .ldc = N,
                         .alpha = 1};
            qn_gemm_f32(NULL, &s, NULL);
            assert_memory_equal(want, c + i * M * N, sizeof want);
        }
    }
}

static void gemm_passes_on_nan_and_infinity(void **state)
{
    (void)state;
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        float a[2] = {1, 1}, b[2 * 3] = {NAN, INFINITY, 1, 0, 0, 1e-40f}, c[3];
        qn_gemm g = {.m = 1,
                     .n = 3,
                     .k = 2,
                     .a = a,
                     .b = b,
                     .c = c,
                     .lda = 2,
                     .ldb = 3,
                     .ldc = 3,
                     .alpha = 1,
                     .act = QN_ACT_RELU};
        qn_gemm_f32(NULL, &g, NULL);
        assert_true(isnan(c[0]));
        assert_true(isinf(c[1]));
        assert_float_equal(c[2], 1.0f, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(gemm_follows_its_definition_at_every_size, levels_reset),
        cmocka_unit_test_teardown(gemm_follows_its_definition_on_blocked_paths, levels_reset),
        cmocka_unit_test(gemm_of_no_rows_or_columns_does_nothing),
        cmocka_unit_test(gemm_of_large_sizes_equals_its_rows),
        cmocka_unit_test(gemm_of_few_rows_gives_the_same_bits_each_time),
        cmocka_unit_test_teardown(gemm_gives_the_same_bits_for_any_thread_count_and_batch,
                                  levels_reset),
        cmocka_unit_test_teardown(gemm_batches_broadcast_by_stride, levels_reset),
        cmocka_unit_test_teardown(gemm_passes_on_nan_and_infinity, levels_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
