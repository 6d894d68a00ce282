/*
 * Pairs of bf16: packing at every size against the rounding of half.h bit for bit, strips against double. The bound of a
 * strip is that of a chain of additions: products are exact.
 */
#include "kernel_testing.h"

#include "kernel/gemm/pairs.h"
#include "kernel/half/half.h"

static const qn_pairs_kernels *kernels_at(qn_cpu_level_id level)
{
    return level == QN_CPU_PORTABLE ? &qn_pairs_ref : qn_pairs();
}

/* [lines, wide] numbers, a NaN, an infinity and a rounding carry among them, as f32 and as bf16. */
typedef struct {
    guarded wide, half;
    int64_t lines, pitch;
} source;

static source source_make(int64_t lines, int64_t pitch)
{
    source s = {guarded_uniform(lines * pitch, 1, 7, -2, 2),
                guarded_make((lines * pitch + 1) / 2, 1), lines, pitch};
    static const float odd[] = {NAN, INFINITY, -0.0f, 1.99999988f, 1.00390625f};
    for (int64_t i = 0; i < lines * pitch; i += 11)
        s.wide.at[i] = odd[i / 11 % 5];
    qn_bf16_of_f32(NULL, (uint16_t *)(void *)s.half.at, s.wide.at, lines * pitch);
    return s;
}

static void source_free(source *s)
{
    guarded_free(&s->wide);
    guarded_free(&s->half);
}

enum { JOIN, TURN, LINE };

/* Depth and columns of the same numbers: lines of k for JOIN, along k for the others. */
static void check_pack(const qn_pairs_kernels *kernels, int way, bool wide, int64_t depth,
                       int64_t cols)
{
    source s = way == JOIN ? source_make(depth, cols + 3) : source_make(cols, depth + 1);
    int64_t ldd = cols + 2, pairs = (depth + 1) / 2;
    guarded dst = guarded_uniform(pairs * ldd, 0, 3, 5, 6);
    const uint16_t *half = (const uint16_t *)(const void *)s.half.at;
    const qn_pairs_pack *pack = wide ? &kernels->of_f32 : &kernels->of_bf16;
    const void *src = wide ? (const void *)s.wide.at : half;
    uint32_t *out = (uint32_t *)(void *)dst.at;
    if (way == JOIN)
        pack->join(out, ldd, src, s.pitch, depth, cols);
    else if (way == TURN)
        pack->turn(out, ldd, src, s.pitch, depth, cols);
    else
        pack->line(out, src, depth);
    for (int64_t k = 0; k < depth; k += 2)
        for (int64_t j = 0; j < (way == LINE ? 1 : ldd); j++) {
            int64_t low = way == JOIN ? k * s.pitch + j : j * s.pitch + k;
            int64_t high = low + (way == JOIN ? s.pitch : 1);
            uint32_t got = out[way == LINE ? k / 2 : k / 2 * ldd + j], want;
            float untouched = 5;
            if (j >= cols) {
                memcpy(&untouched, &got, sizeof got);
                assert_true(untouched >= 5 && untouched < 6);
                continue;
            }
            want = (uint32_t)(k + 1 < depth ? half[high] : 0) << 16 | half[low];
            if (got != want)
                fail_msg("way %d wide %d depth %d cols %d at %d %d: %08x, want %08x", way, wide,
                         (int)depth, (int)cols, (int)k, (int)j, got, want);
        }
    guarded_free(&dst);
    source_free(&s);
}

static void packing_rounds_as_halves_do_at_every_size(void **state)
{
    (void)state;
    FOR_EACH_LEVEL(level)
    for (int64_t depth = 0; kernels_at(level) && depth <= 67; depth++)
        for (int64_t cols = 1; cols <= 50; cols += cols < 34 ? 1 : 7)
            for (int way = JOIN; way <= TURN; way++)
                for (int wide = 0; wide < 2; wide++)
                    check_pack(kernels_at(level), way, wide, depth, cols);
}

static void lines_round_as_halves_do_at_every_size(void **state)
{
    (void)state;
    FOR_EACH_LEVEL(level)
    for (int64_t depth = 0; kernels_at(level) && depth <= 200; depth++)
        for (int wide = 0; wide < 2; wide++)
            check_pack(kernels_at(level), LINE, wide, depth, 1);
}

static double half_number(const guarded *g, int64_t pair, int part)
{
    uint16_t bits;
    float wide;
    memcpy(&bits, (const char *)(g->at + pair) + 2 * part, sizeof bits);
    qn_f32_of_bf16(NULL, &wide, &bits, 1);
    return (double)wide;
}

/* Pairs of ordinary numbers. */
static guarded pairs_make(int64_t count, uint64_t seed)
{
    guarded wide = guarded_uniform(2 * count, 0, seed, -1, 1), pairs = guarded_make(count, 2);
    qn_bf16_of_f32(NULL, (uint16_t *)(void *)pairs.at, wide.at, 2 * count);
    guarded_free(&wide);
    return pairs;
}

static void check_strip(const qn_pairs_kernels *kernels, int64_t rows, int cols, int64_t pairs,
                        bool add)
{
    enum { SEGS = 2 };
    int64_t row[32], seg[SEGS] = {0, pairs + 1}, pitch = SEGS * (pairs + 1), ldb = cols + 1,
                     ldc = cols + 3;
    guarded a = pairs_make(rows * pitch, 1), b = pairs_make(SEGS * pairs * ldb, 2);
    guarded c = guarded_uniform(rows * ldc, 1, 3, -1, 1), bias = guarded_uniform(cols, 1, 4, -1, 1);
    float *before = malloc((size_t)(rows * ldc) * sizeof *before);
    memcpy(before, c.at, (size_t)(rows * ldc) * sizeof *before);
    for (int64_t i = 0; i < rows; i++)
        row[i] = i * pitch;
    kernels->tile->strip(&(qn_strip){.rows = rows,
                                     .cols = cols,
                                     .a = a.at,
                                     .row = row,
                                     .seg = seg,
                                     .segs = SEGS,
                                     .seg_len = pairs,
                                     .step = 1,
                                     .b = b.at,
                                     .ldb = ldb,
                                     .c = c.at,
                                     .ldc = ldc,
                                     .add = add,
                                     .bias = bias.at});
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++) {
            double sum = (double)bias.at[j] + (add ? (double)before[i * ldc + j] : 0), size = 2;
            for (int64_t k = 0; k < SEGS * pairs; k++)
                for (int part = 0; part < 2; part++) {
                    int64_t at = row[i] + seg[k / pairs] + k % pairs;
                    double x = half_number(&a, at, part) * half_number(&b, k * ldb + j, part);
                    sum += x;
                    size += fabs(x);
                }
            double bound = (double)(2 * SEGS * pairs + 2) * 0x1p-24 * size;
            if (!(fabs((double)c.at[i * ldc + j] - sum) <= bound))
                fail_msg("%dx%dx%d at %d %d: %g, want %g", (int)rows, cols, (int)pairs, (int)i,
                         (int)j, (double)c.at[i * ldc + j], sum);
        }
    free(before);
    guarded_free(&a);
    guarded_free(&b);
    guarded_free(&c);
    guarded_free(&bias);
}

static void strips_match_double_at_every_size(void **state)
{
    (void)state;
    FOR_EACH_LEVEL(level)
    {
        const qn_pairs_kernels *kernels = kernels_at(level);
        for (int cols = 1; kernels && cols <= kernels->tile->lanes * kernels->tile->vecs_max;
             cols++)
            for (int64_t rows = 1; rows <= 17; rows++)
                check_strip(kernels, rows, cols, 1 + rows % 4 * 7, (rows + cols) % 2);
    }
}

static void pairs_lie_where_all_is_even(void **state)
{
    (void)state;
    static const uint32_t room[2];
    assert_true(qn_pairs_lie(room, 6, 4));
    assert_false(qn_pairs_lie(room, 6, 3));
    assert_false(qn_pairs_lie(room, 5, 4));
    assert_false(qn_pairs_lie((const char *)room + 2, 6, 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(packing_rounds_as_halves_do_at_every_size, levels_reset),
        cmocka_unit_test_teardown(lines_round_as_halves_do_at_every_size, levels_reset),
        cmocka_unit_test_teardown(strips_match_double_at_every_size, levels_reset),
        cmocka_unit_test(pairs_lie_where_all_is_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
