/*
 * Products of bf16 against double: widening at every level, tiles and pairs in plain C, and by their instructions where
 * there are any; factors in bf16 and in f32. The bound is that of a chain of k roundings: products are exact.
 */
#include "kernel_testing.h"

#include "kernel/gemm/gemm_bf16_table.h"
#include "kernel/half/half.h"

typedef struct {
    int64_t m, n, k;
    bool trans_a, trans_b, beta, bias;
    qn_act act;
    int64_t gap; /* between rows, in all three */
    int batches;
    bool wide_a, wide_b; /* f32 in memory, rounded on the way */
} product;

typedef struct {
    guarded a, b, c, bias; /* a and b may hold bf16, two to a float */
    float *wide_a, *wide_b, *before;
    qn_bf16_product product;
    qn_gemm gemm;
    int64_t a_size, b_size, c_size;
} setting;

/* Random numbers as they lie in memory, f32 or bf16, and what they are in the precision of bf16. */
static void half_matrix(guarded *g, float **ret_wide, int64_t count, uint64_t seed, bool wide)
{
    *g = guarded_make(wide ? count : (count + 1) / 2, 1);
    *ret_wide = calloc((size_t)count + 1, sizeof **ret_wide);
    uint16_t *half = wide ? malloc((size_t)count * 2 + 2) : (uint16_t *)(void *)g->at;
    values_uniform(*ret_wide, count, seed, -1, 1);
    qn_bf16_of_f32(NULL, half, *ret_wide, count);
    if (wide) {
        memcpy(g->at, *ret_wide, (size_t)count * sizeof **ret_wide);
        qn_f32_of_bf16(NULL, *ret_wide, half, count);
        free(half);
        return;
    }
    qn_f32_of_bf16(NULL, *ret_wide, half, count);
}

static void setting_init(setting *s, const product *p)
{
    int64_t lda = (p->trans_a ? p->m : p->k) + p->gap, ldb = (p->trans_b ? p->k : p->n) + p->gap;
    int64_t ldc = p->n + p->gap, count = p->batches ? p->batches : 1;
    s->a_size = lda * (p->trans_a ? p->k : p->m);
    s->b_size = ldb * (p->trans_b ? p->n : p->k);
    s->c_size = ldc * p->m;
    half_matrix(&s->a, &s->wide_a, s->a_size * count, 1, p->wide_a);
    half_matrix(&s->b, &s->wide_b, s->b_size * count, 2, p->wide_b);
    s->c = guarded_uniform(s->c_size * count, 3, 3, -1, 1);
    s->bias = guarded_uniform(p->n, 2, 4, -1, 1);
    s->before = calloc((size_t)(s->c_size * count) + 1, sizeof *s->before);
    memcpy(s->before, s->c.at, (size_t)(s->c_size * count) * sizeof *s->before);
    s->gemm = (qn_gemm){.m = p->m,
                        .n = p->n,
                        .k = p->k,
                        .c = s->c.at,
                        .lda = lda,
                        .ldb = ldb,
                        .ldc = ldc,
                        .trans_a = p->trans_a,
                        .trans_b = p->trans_b,
                        .alpha = 1,
                        .beta = p->beta,
                        .bias = p->bias ? s->bias.at : NULL,
                        .act = p->act};
    if (p->batches) {
        s->gemm.batch_rank = 1;
        s->gemm.batch[0] = p->batches;
        s->gemm.batch_a[0] = s->a_size;
        s->gemm.batch_b[0] = s->b_size;
        s->gemm.batch_c[0] = s->c_size;
    }
    s->product = (qn_bf16_product){&s->gemm, s->a.at, s->b.at, p->wide_a, p->wide_b};
}

static void setting_deinit(setting *s)
{
    guarded_free(&s->a);
    guarded_free(&s->b);
    guarded_free(&s->c);
    guarded_free(&s->bias);
    free(s->wide_a);
    free(s->wide_b);
    free(s->before);
}

/* One way to compute: blocks by kernels, or pairs. */
typedef struct {
    const qn_bf16_kernels *blocks;
    const qn_pairs_kernels *pairs;
} way;

static void run(const setting *s, way w, qn_pool *pool, int threads)
{
    size_t bytes = w.blocks ? qn_gemm_bf16_scratch_by(w.blocks, &s->product, threads)
                            : qn_gemm_pairs_scratch_bytes(w.pairs, &s->product, threads);
    char *scratch = aligned_alloc(64, (bytes + 127) / 64 * 64), guard[64];
    memset(guard, 77, sizeof guard);
    memcpy(scratch + bytes, guard, sizeof guard);
    if (w.blocks)
        qn_gemm_bf16_by(w.blocks, pool, &s->product, scratch);
    else
        qn_gemm_pairs(w.pairs, pool, &s->product, scratch);
    assert_memory_equal(scratch + bytes, guard, sizeof guard);
    free(scratch);
}

static void check_element(const setting *s, const product *p, int64_t batch, int64_t i, int64_t j)
{
    int64_t at = batch * s->c_size + i * s->gemm.ldc + j;
    double sum = 0, size = 0;
    for (int64_t k = 0; k < p->k; k++) {
        int64_t a = p->trans_a ? k * s->gemm.lda + i : i * s->gemm.lda + k;
        int64_t b = p->trans_b ? j * s->gemm.ldb + k : k * s->gemm.ldb + j;
        double x =
            (double)s->wide_a[batch * s->a_size + a] * (double)s->wide_b[batch * s->b_size + b];
        sum += x;
        size += fabs(x);
    }
    if (p->beta) {
        sum += (double)s->before[at];
        size += fabs((double)s->before[at]);
    }
    if (p->bias) {
        sum += (double)s->bias.at[j];
        size += fabs((double)s->bias.at[j]);
    }
    double want = p->act == QN_ACT_RELU && sum < 0 ? 0 : sum;
    if (fabs((double)s->c.at[at] - want) > ((double)p->k + 2) * 0x1p-24 * size)
        fail_msg("%lldx%lldx%lld%s%s at %lld, %lld: %g, not %g (%s)", (long long)p->m,
                 (long long)p->n, (long long)p->k, p->trans_a ? " A'" : "", p->trans_b ? " B'" : "",
                 (long long)i, (long long)j, (double)s->c.at[at], want,
                 qn_cpu_level_name(qn_cpu_level()));
}

static void check(const product *p, way w)
{
    setting s;
    setting_init(&s, p);
    run(&s, w, NULL, 1);
    for (int64_t batch = 0; batch < (p->batches ? p->batches : 1); batch++)
        for (int64_t i = 0; i < p->m; i++) {
            bool some = p->m * p->n * p->k < 1 << 25 || i % 64 == 1; /* of a large one some rows */
            for (int64_t j = 0; some && j < p->n; j++)
                check_element(&s, p, batch, i, j);
            for (int64_t j = p->n; j < s.gemm.ldc; j++) /* between the rows */
                assert_true(s.c.at[batch * s.c_size + i * s.gemm.ldc + j] ==
                            s.before[batch * s.c_size + i * s.gemm.ldc + j]);
        }
    setting_deinit(&s);
}

static void check_all(const product *p, qn_cpu_level_id level)
{
    check(p, (way){.blocks = &qn_bf16_widen});
    if (level == QN_CPU_PORTABLE) { /* the same at every level */
        check(p, (way){.blocks = &qn_bf16_tiles_soft});
        check(p, (way){.pairs = &qn_pairs_ref});
        check(p, (way){.pairs = &qn_pairs_soft});
    }
    if (qn_pairs())
        check(p, (way){.pairs = qn_pairs()});
#if defined(__x86_64__)
    if (level == QN_CPU_AMX)
        check(p, (way){.blocks = &qn_bf16_tiles_amx});
#endif
}

static void products_match_double_at_every_size(void **state)
{
    (void)state;
    static const int64_t sizes[] = {0, 1, 2, 3, 7, 16, 31, 32, 33, 49, 64, 65};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    FOR_EACH_LEVEL(level)
    for (int i = 0; i < SIZES * SIZES * SIZES; i++) {
        product p = {.m = sizes[i % SIZES],
                     .n = sizes[i / SIZES % SIZES],
                     .k = sizes[i / SIZES / SIZES],
                     .trans_a = i % 5 == 0 || i % 7 == 1,
                     .trans_b = i % 3 == 0,
                     .beta = i % 4 == 1,
                     .bias = i % 2,
                     .act = i % 5 == 2 ? QN_ACT_RELU : QN_ACT_NONE,
                     .gap = i % 3,
                     .wide_a = i % 11 < 5,
                     .wide_b = i % 13 < 6};
        check_all(&p, level);
    }
}

static void products_match_double_in_many_blocks(void **state)
{
    (void)state;
    static const product cases[] = {
        {.m = 300, .n = 205, .k = 70, .bias = true},
        {.m = 257, .n = 97, .k = 40, .trans_a = true, .beta = true},
        {.m = 33, .n = 801, .k = 17, .trans_b = true, .act = QN_ACT_RELU},
        {.m = 5, .n = 40, .k = 2100, .bias = true},
        {.m = 40, .n = 35, .k = 1057, .trans_a = true, .trans_b = true, .gap = 1},
        {.m = 64, .n = 64, .k = 1088, .trans_b = true},
        {.m = 20, .n = 30, .k = 10, .batches = 3, .bias = true},
        {.m = 32, .n = 32, .k = 64, .batches = 2, .trans_b = true},
        {.m = 21, .n = 33, .k = 12, .batches = 3, .trans_a = true, .wide_a = true, .wide_b = true},
        {.m = 300, .n = 205, .k = 70, .wide_a = true, .act = QN_ACT_RELU},
        {.m = 270, .n = 101, .k = 1031, .trans_a = true, .wide_a = true, .wide_b = true},
        {.m = 200, .n = 400, .k = 512, .wide_a = true, .wide_b = true, .trans_b = true},
        {.m = 40, .n = 200, .k = 4103, .wide_a = true, .beta = true},
        {.m = 129, .n = 100, .k = 701, .wide_b = true, .trans_a = true},
        {.m = 260, .n = 1040, .k = 4100, .bias = true},
    };
    FOR_EACH_LEVEL(level)
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_all(&cases[i], level);
}

static void check_bits(const product *p, way w)
{
    setting first;
    setting_init(&first, p);
    run(&first, w, NULL, 1);
    for (int i = 0; i < POOLS; i++) {
        setting s;
        qn_pool *pool = pool_of(pool_threads[i]);
        setting_init(&s, p);
        run(&s, w, pool, pool_threads[i]);
        if (memcmp(s.c.at, first.c.at, (size_t)s.c_size * sizeof(float)) != 0)
            fail_msg("other bits with %d threads at %s", pool_threads[i],
                     qn_cpu_level_name(qn_cpu_level()));
        setting_deinit(&s);
        qn_pool_destroy(pool);
    }
    setting_deinit(&first);
}

static void products_give_the_same_bits_on_any_threads(void **state)
{
    (void)state;
    static const product cases[] = {
        {.m = 300, .n = 250, .k = 70, .bias = true},
        {.m = 150, .n = 300, .k = 250, .wide_a = true, .trans_b = true},
        {.m = 129, .n = 100, .k = 701, .wide_b = true, .trans_b = true},
        {.m = 270, .n = 120, .k = 540, .wide_a = true, .wide_b = true, .trans_a = true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_bits(&cases[i], (way){.blocks = &qn_bf16_tiles_soft});
        check_bits(&cases[i], (way){.pairs = &qn_pairs_ref});
        check_bits(&cases[i], (way){.pairs = &qn_pairs_soft});
        FOR_EACH_LEVEL(level)
        {
            check_bits(&cases[i], (way){.blocks = &qn_bf16_widen});
            if (qn_pairs())
                check_bits(&cases[i], (way){.pairs = qn_pairs()});
        }
    }
}

static void widening_gives_the_same_bits_at_every_level(void **state)
{
    (void)state;
    static const product p = {.m = 300, .n = 500, .k = 300, .bias = true, .wide_b = true};
    setting first;
    setting_init(&first, &p);
    run(&first, (way){.blocks = &qn_bf16_widen}, NULL, 1);
    FOR_EACH_LEVEL(level)
    {
        setting s;
        setting_init(&s, &p);
        run(&s, (way){.blocks = &qn_bf16_widen}, NULL, 1);
        assert_memory_equal(s.c.at, first.c.at, (size_t)s.c_size * sizeof(float));
        setting_deinit(&s);
    }
    setting_deinit(&first);
}

static void only_plain_cases_are_taken(void **state)
{
    (void)state;
    assert_true(qn_gemm_bf16_takes(&(qn_gemm){.alpha = 1}));
    assert_true(qn_gemm_bf16_takes(&(qn_gemm){.alpha = 1, .beta = 1}));
    assert_false(qn_gemm_bf16_takes(&(qn_gemm){.alpha = 0.5f}));
    assert_false(qn_gemm_bf16_takes(&(qn_gemm){.alpha = 1, .beta = 0.5f}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(products_match_double_at_every_size, levels_reset),
        cmocka_unit_test_teardown(products_match_double_in_many_blocks, levels_reset),
        cmocka_unit_test_teardown(products_give_the_same_bits_on_any_threads, levels_reset),
        cmocka_unit_test_teardown(widening_gives_the_same_bits_at_every_level, levels_reset),
        cmocka_unit_test(only_plain_cases_are_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
