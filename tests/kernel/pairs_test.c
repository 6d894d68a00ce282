/*
 * Pairs of bf16: packing at every size against the rounding of half.h bit for bit, strips against double, in plain C, by
 * tiles in plain C and by this machine's instructions. The bound of a strip is that of a chain of additions: products are
 * exact. What strips read and write ends where a page does that nobody may touch.
 */
#include "kernel_testing.h"

#include <sys/mman.h>
#include <unistd.h>

#include "base/checked.h"
#include "kernel/gemm/pairs.h"
#include "kernel/half/half.h"

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
    for (int64_t depth = 0; pairs_at(level) && depth <= 67; depth++)
        for (int64_t cols = 1; cols <= 50; cols += cols < 34 ? 1 : 7)
            for (int way = JOIN; way <= TURN; way++)
                for (int wide = 0; wide < 2; wide++)
                    check_pack(pairs_at(level), way, wide, depth, cols);
}

static void lines_round_as_halves_do_at_every_size(void **state)
{
    (void)state;
    FOR_EACH_LEVEL(level)
    for (int64_t depth = 0; pairs_at(level) && depth <= 200; depth++)
        for (int wide = 0; wide < 2; wide++)
            check_pack(pairs_at(level), LINE, wide, depth, 1);
}

/* Memory that ends where another page begins. */
typedef struct {
    char *map;
    size_t bytes; /* and a page */
} edge;

enum { EDGE_BYTES = 1 << 18 };

static edge edge_make(void)
{
    edge e = {.bytes = EDGE_BYTES};
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    e.map = mmap(NULL, e.bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(e.map != MAP_FAILED);
    assert_int_equal(mprotect(e.map + e.bytes, page, PROT_NONE), 0);
    return e;
}

static void edge_free(edge *e)
{
    munmap(e->map, e->bytes + (size_t)sysconf(_SC_PAGESIZE));
}

/* The last `count` floats, NaN like the guard's worth before them. */
static float *edge_take(const edge *e, int64_t count)
{
    float *end = (float *)(void *)(e->map + e->bytes);
    assert_true((size_t)(count + GUARD) * sizeof *end <= e->bytes);
    guard_fill(end - count - GUARD, count + GUARD);
    return end - count;
}

/* How A lies: rows that follow each other; side by side; in no order; with a step between their pairs. */
typedef enum { LINES, TURNED, SCATTERED, STEPPED, LAYOUTS } layout;

typedef struct {
    int64_t rows, pairs, segs; /* pairs: of a segment */
    int cols;
    layout lies;
    bool add, bias, added, relu;
} strip_case;

enum { ROWS_MAX = 49, SEGS_MAX = 3, PAIRS_MAX = 49, COLS_MAX = 64, DEPTH_MAX = 160 };

typedef struct {
    edge a, b, c, bias, added;
    strip_case of;
    qn_strip strip;
    float *at_a, *at_b;
    int64_t row[ROWS_MAX], seg[SEGS_MAX], depth, c_count;
    /* The same numbers for every layout: [row][number], [number][col], [row][col]. */
    float wide_a[ROWS_MAX][2 * DEPTH_MAX], wide_b[2 * DEPTH_MAX][COLS_MAX],
        before[ROWS_MAX][COLS_MAX], wide_added[ROWS_MAX][COLS_MAX], wide_bias[COLS_MAX];
} setting;

static setting *setting_make(void)
{
    setting *s = calloc(1, sizeof *s);
    s->a = edge_make();
    s->b = edge_make();
    s->c = edge_make();
    s->bias = edge_make();
    s->added = edge_make();
    values_uniform(&s->wide_a[0][0], sizeof s->wide_a / sizeof(float), 1, -1, 1);
    values_uniform(&s->wide_b[0][0], sizeof s->wide_b / sizeof(float), 2, -1, 1);
    values_uniform(&s->before[0][0], sizeof s->before / sizeof(float), 3, -1, 1);
    values_uniform(&s->wide_added[0][0], sizeof s->wide_added / sizeof(float), 4, -1, 1);
    values_uniform(s->wide_bias, COLS_MAX, 5, -1, 1);
    qn_f32_round_bf16(NULL, &s->wide_a[0][0], &s->wide_a[0][0], sizeof s->wide_a / sizeof(float));
    qn_f32_round_bf16(NULL, &s->wide_b[0][0], &s->wide_b[0][0], sizeof s->wide_b / sizeof(float));
    return s;
}

static void setting_free(setting *s)
{
    edge *all[] = {&s->a, &s->b, &s->c, &s->bias, &s->added};
    for (int i = 0; i < 5; i++)
        edge_free(all[i]);
    free(s);
}

static void pair_put(float *dst, float low, float high)
{
    uint32_t bits[2];
    memcpy(&bits[0], &low, sizeof low);
    memcpy(&bits[1], &high, sizeof high);
    bits[0] = (bits[1] & 0xffff0000U) | bits[0] >> 16;
    memcpy(dst, bits, sizeof *dst);
}

/* Offsets of rows, segments and steps; gives the words that A has. */
static int64_t lay_a(setting *s, const strip_case *c)
{
    bool turned = c->lies == TURNED;
    int64_t step = turned ? c->rows + 2 : c->lies == STEPPED ? 3 : 1;
    int64_t pitch = (c->pairs * step + 1) * c->segs, end = 0;
    s->strip.step = step;
    for (int64_t i = 0; i < c->rows; i++) {
        int64_t slot = c->lies == SCATTERED ? i ^ 1 : i;
        s->row[i] = turned ? i : slot * pitch;
    }
    for (int64_t g = 0; g < c->segs; g++)
        s->seg[g] = (c->segs - 1 - g) * (c->pairs * step + 1); /* not in their order in memory */
    for (int64_t i = 0; i < c->rows; i++)
        end = s->row[i] > end ? s->row[i] : end;
    return end + s->seg[0] + (c->pairs - 1) * step + 1;
}

/* Brings all numbers to where the case wants them. */
static void setting_lay(setting *s, const strip_case *c)
{
    int64_t ldb = c->cols + 1, ldc = c->cols + 3, words = lay_a(s, c);
    s->of = *c;
    s->depth = c->segs * c->pairs;
    s->c_count = (c->rows - 1) * ldc + c->cols;
    float *a = edge_take(&s->a, words > 0 ? words : 0);
    float *b = edge_take(&s->b, s->depth ? (s->depth - 1) * ldb + c->cols : 0);
    float *to = edge_take(&s->c, s->c_count), *added = edge_take(&s->added, s->c_count);
    float *bias = edge_take(&s->bias, c->cols);
    s->at_a = a;
    s->at_b = b;
    memcpy(bias, s->wide_bias, (size_t)c->cols * sizeof *bias);
    for (int64_t i = 0; i < c->rows; i++) {
        memcpy(to + i * ldc, s->before[i], (size_t)c->cols * sizeof *to);
        memcpy(added + i * ldc, s->wide_added[i], (size_t)c->cols * sizeof *added);
        for (int64_t k = 0; k < s->depth; k++)
            pair_put(a + s->row[i] + s->seg[k / c->pairs] + k % c->pairs * s->strip.step,
                     s->wide_a[i][2 * k], s->wide_a[i][2 * k + 1]);
    }
    for (int64_t k = 0; k < s->depth; k++)
        for (int j = 0; j < c->cols; j++)
            pair_put(b + k * ldb + j, s->wide_b[2 * k][j], s->wide_b[2 * k + 1][j]);
    s->strip = (qn_strip){.rows = c->rows,
                          .cols = c->cols,
                          .a = a,
                          .row = s->row,
                          .seg = s->seg,
                          .segs = c->segs,
                          .seg_len = c->pairs,
                          .step = s->strip.step,
                          .b = b,
                          .ldb = ldb,
                          .c = to,
                          .ldc = ldc,
                          .add = c->add,
                          .bias = c->bias ? bias : NULL,
                          .added = c->added ? added : NULL,
                          .relu = c->relu,
                          .next = to};
}

static void check_element(const setting *s, int64_t i, int j)
{
    const strip_case *c = &s->of;
    double sum = (c->add ? (double)s->before[i][j] : 0) + (c->bias ? (double)s->wide_bias[j] : 0) +
                 (c->added ? (double)s->wide_added[i][j] : 0);
    double size = 3;
    for (int64_t k = 0; k < 2 * s->depth; k++) {
        double x = (double)s->wide_a[i][k] * (double)s->wide_b[k][j];
        sum += x;
        size += fabs(x);
    }
    double want = c->relu && sum < 0 ? 0 : sum, got = (double)s->strip.c[i * s->strip.ldc + j];
    if (!(fabs(got - want) <= (double)(2 * s->depth + 2) * 0x1p-24 * size))
        fail_msg("%dx%d, %d times %d pairs, layout %d, at %d %d: %g, want %g", (int)c->rows,
                 c->cols, (int)c->segs, (int)c->pairs, (int)c->lies, (int)i, j, got, want);
}

static void check_strip(setting *s, const qn_pairs_kernels *kernels, const strip_case *c)
{
    setting_lay(s, c);
    kernels->tile->strip(&s->strip);
    for (int64_t i = 0; i < c->rows; i++)
        for (int j = 0; j < c->cols; j++)
            check_element(s, i, j);
    for (int64_t at = -GUARD; at < s->c_count; at++)
        if (at < 0 || at % s->strip.ldc >= c->cols)
            assert_memory_equal(s->strip.c + at, &guard_word, sizeof guard_word);
}

/* Every count of rows with every count of columns; of pairs around 0 to 3 lines of a tile, in all layouts. */
static void strips_match_double_at_every_size(void **state)
{
    (void)state;
    static const int64_t pairs[] = {0, 1, 2, 7, 15, 16, 17, 31, 32, 33, 48, 49};
    enum { PAIRS = sizeof pairs / sizeof *pairs };
    setting *s = setting_make();
    FOR_EACH_PAIRS(kernels)
    {
        const int most = kernels->tile->lanes * kernels->tile->vecs_max;
        int64_t n = 0;
        for (int cols = 1; cols <= most; cols++)
            for (int64_t rows = 1; rows <= ROWS_MAX; rows++, n++)
                check_strip(s, kernels,
                            &(strip_case){.rows = rows,
                                          .cols = cols,
                                          .pairs = pairs[n % PAIRS],
                                          .segs = 1 + n / 5 % SEGS_MAX,
                                          .lies = (layout)(n / 7 % LAYOUTS),
                                          .add = n % 2,
                                          .bias = n / 2 % 3 == 1,
                                          .added = n % 5 == 1,
                                          .relu = n % 7 == 3});
    }
    setting_free(s);
}

/* Each size around whole vectors and tiles, with each of the others. */
static void strips_match_double_around_whole_tiles(void **state)
{
    (void)state;
    static const int sizes[] = {1, 15, 16, 17, 32, 33, 48};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    setting *s = setting_make();
    FOR_EACH_PAIRS(kernels)
    for (int n = 0; n < SIZES * SIZES * SIZES * LAYOUTS; n++) {
        strip_case c = {.rows = sizes[n % SIZES],
                        .cols = sizes[n / SIZES % SIZES],
                        .pairs = sizes[n / SIZES / SIZES % SIZES],
                        .segs = 1 + n % 2,
                        .lies = (layout)(n / SIZES / SIZES / SIZES),
                        .add = n % 3 == 0,
                        .bias = n % 4 == 1};
        if (c.cols <= kernels->tile->lanes * kernels->tile->vecs_max)
            check_strip(s, kernels, &c);
    }
    setting_free(s);
}

/* Whatever rows are beside a row, however A lies, and between begin and end or not. */
static void rows_have_the_same_bits_alone_and_in_every_layout(void **state)
{
    (void)state;
    setting *s = setting_make();
    float *first = calloc((size_t)ROWS_MAX * (COLS_MAX + 3), sizeof *first);
    FOR_EACH_PAIRS(kernels)
    for (int n = 0; n < 3 * LAYOUTS; n++) {
        strip_case c = {.rows = 37,
                        .cols = kernels->tile->lanes * kernels->tile->vecs_max - n % 3 * 5,
                        .pairs = 16 + n % 3 * 9,
                        .segs = 2,
                        .add = true,
                        .bias = true};
        setting_lay(s, &c);
        kernels->tile->strip(&s->strip);
        memcpy(first, s->strip.c, (size_t)s->c_count * sizeof *first);
        c.lies = (layout)(n / 3);
        setting_lay(s, &c);
        qn_tile_begin(kernels->tile);
        for (int64_t i = 0; i < c.rows; i += 1 + i % 3) {
            qn_strip part = s->strip;
            part.rows = qn_min_i64(1 + i % 3, c.rows - i);
            part.row += i;
            part.c += i * part.ldc;
            kernels->tile->strip(&part);
        }
        qn_tile_end(kernels->tile);
        assert_memory_equal(s->strip.c, first, (size_t)s->c_count * sizeof *first);
    }
    free(first);
    setting_free(s);
}

/* In a row of A they stay in that row of C, in a column of B in that column; relu keeps NaN. */
static void nan_and_infinity_stay_where_they_are(void **state)
{
    (void)state;
    setting *s = setting_make();
    FOR_EACH_PAIRS(kernels)
    for (int n = 0; n < 2 * LAYOUTS; n++) {
        strip_case c = {.rows = 21, .cols = 13, .pairs = 19, .segs = 1, .relu = n % 2};
        c.lies = (layout)(n / 2);
        setting_lay(s, &c);
        pair_put(s->at_a + s->row[17] + 18 * s->strip.step, 1, NAN);
        pair_put(s->at_b + 4, INFINITY, 1);
        kernels->tile->strip(&s->strip);
        for (int64_t i = 0; i < c.rows; i++)
            for (int j = 0; j < c.cols; j++) {
                float got = s->strip.c[i * s->strip.ldc + j];
                if (i == 17)
                    assert_true(isnan(got));
                else if (j == 4)
                    assert_true(isinf(got) || (c.relu && got == 0));
                else
                    check_element(s, i, j);
            }
    }
    setting_free(s);
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
        cmocka_unit_test_teardown(strips_match_double_around_whole_tiles, levels_reset),
        cmocka_unit_test_teardown(rows_have_the_same_bits_alone_and_in_every_layout, levels_reset),
        cmocka_unit_test_teardown(nan_and_infinity_stay_where_they_are, levels_reset),
        cmocka_unit_test(pairs_lie_where_all_is_even),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
