/*
 * Functions of two numbers: every level against plain C through general strides, in place, with special values.
 */
#include "kernel_testing.h"

#include "kernel/elementwise/binary.h"

static float binary_of(qn_binary op, float a, float b)
{
    switch (op) {
    case QN_BINARY_ADD:
        return a + b;
    case QN_BINARY_SUB:
        return a - b;
    case QN_BINARY_MUL:
        return a * b;
    case QN_BINARY_DIV:
        return a / b;
    case QN_BINARY_MIN:
        return isnan(a) ? a : isnan(b) ? b : fminf(a, b);
    case QN_BINARY_MAX:
        return isnan(a) ? a : isnan(b) ? b : fmaxf(a, b);
    case QN_BINARY_POW:
        return powf(a, b);
    case QN_BINARY_PRELU:
        return a < 0 ? a * b : a;
    default:
        return (a - b) * (a - b);
    }
}

static bool compare_of(qn_compare op, float a, float b)
{
    const bool holds[] = {a == b, a != b, a<b, a <= b, a> b, a >= b};
    return holds[op];
}

typedef struct {
    int rank, rank_a, rank_b;
    int64_t dst[4], a[4], b[4];
} shapes;

static const shapes cases[] = {
    {1, 1, 1, {1}, {1}, {1}},
    {1, 1, 1, {37}, {37}, {37}},
    {1, 1, 0, {37}, {37}, {0}},
    {1, 1, 1, {37}, {1}, {37}},
    {2, 2, 1, {5, 35}, {5, 35}, {35}},
    {2, 2, 2, {5, 35}, {5, 1}, {5, 35}},
    {2, 2, 1, {35, 3}, {35, 1}, {3}},
    {3, 3, 2, {2, 3, 20}, {2, 1, 20}, {3, 1}},
    {4, 4, 3, {2, 3, 4, 5}, {2, 1, 4, 1}, {3, 1, 5}},
    {2, 2, 2, {0, 5}, {0, 5}, {1, 5}},
    {3, 1, 1, {2, 3, 17}, {1}, {1}},
};

static int64_t offset_of(const shapes *s, const int64_t *dim, int rank, int64_t flat)
{
    int64_t at[4], stride = 1, offset = 0;
    for (int d = s->rank - 1; d >= 0; flat /= s->dst[d], d--)
        at[d] = flat % s->dst[d];
    for (int d = rank - 1; d >= 0; stride *= dim[d], d--)
        offset += dim[d] == 1 ? 0 : at[s->rank - rank + d] * stride;
    return offset;
}

static int64_t count_of(const int64_t *dim, int rank)
{
    int64_t count = 1;
    for (int d = 0; d < rank; d++)
        count *= dim[d];
    return count;
}

static void binary_broadcasts_like_numpy(void **state)
{
    (void)state;
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
            const shapes *s = &cases[c];
            int64_t count = count_of(s->dst, s->rank);
            guarded a = guarded_uniform(count_of(s->a, s->rank_a), 1, 1, -2, 2);
            guarded b = guarded_uniform(count_of(s->b, s->rank_b), 2, 2, -2, 2);
            const int64_t *dims[2] = {s->a, s->b};
            qn_bcast shape =
                qn_bcast_make(s->dst, s->rank, dims, (int[2]){s->rank_a, s->rank_b}, 2);
            for (int op = 0; op < QN_BINARY_COUNT; op++) {
                guarded y = guarded_make(count, 3);
                qn_binary_f32(NULL, (qn_binary)op, y.at, a.at, b.at, &shape);
                for (int64_t i = 0; i < count; i++) {
                    float want = binary_of((qn_binary)op, a.at[offset_of(s, s->a, s->rank_a, i)],
                                           b.at[offset_of(s, s->b, s->rank_b, i)]);
                    if (ulp_error(y.at[i], (double)want) != 0)
                        fail_msg("case %d op %d element %d: %g, want %g", (int)c, op, (int)i,
                                 (double)y.at[i], (double)want);
                }
                guarded_free(&y);
            }
            uint8_t *bits = malloc((size_t)count + 1);
            bits[count] = 77;
            for (int op = 0; op < QN_COMPARE_COUNT; op++) {
                qn_compare_f32(NULL, (qn_compare)op, bits, a.at, b.at, &shape);
                for (int64_t i = 0; i < count; i++)
                    assert_int_equal(bits[i], compare_of((qn_compare)op,
                                                         a.at[offset_of(s, s->a, s->rank_a, i)],
                                                         b.at[offset_of(s, s->b, s->rank_b, i)]));
                assert_int_equal(bits[count], 77);
            }
            free(bits);
            guarded_free(&a);
            guarded_free(&b);
        }
    }
}

static void binary_tails_stay_in_bounds(void **state)
{
    (void)state;
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        for (int64_t n = 0; n < 50; n++) {
            guarded a = guarded_uniform(n, n % 4, 1, -2, 2), b = guarded_uniform(n, 1, 2, -2, 2),
                    y = guarded_make(n, 2);
            qn_bcast shape = qn_bcast_same(n);
            qn_binary_f32(NULL, QN_BINARY_MUL, y.at, a.at, b.at, &shape);
            for (int64_t i = 0; i < n; i++)
                assert_float_equal(y.at[i], a.at[i] * b.at[i], 0);
            qn_binary_f32(NULL, QN_BINARY_ADD, y.at, y.at, b.at, &shape);
            for (int64_t i = 0; i < n; i++)
                assert_float_equal(y.at[i], a.at[i] * b.at[i] + b.at[i], 0);
            guarded_free(&a);
            guarded_free(&b);
            guarded_free(&y);
        }
    }
}

static void binary_keeps_nan_and_infinity(void **state)
{
    (void)state;
    const float values[] = {0, -0.0f, 1, -1, INFINITY, -INFINITY, NAN, 1e-42f};
    float a[64], b[64], y[64];
    uint8_t bits[64];
    for (int i = 0; i < 64; i++) {
        a[i] = values[i / 8];
        b[i] = values[i % 8];
    }
    qn_bcast shape = qn_bcast_same(64);
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        for (int op = 0; op < QN_BINARY_COUNT; op++) {
            qn_binary_f32(NULL, (qn_binary)op, y, a, b, &shape);
            for (int i = 0; i < 64; i++)
                assert_true(ulp_error(y[i], (double)binary_of((qn_binary)op, a[i], b[i])) == 0);
        }
        for (int op = 0; op < QN_COMPARE_COUNT; op++) {
            qn_compare_f32(NULL, (qn_compare)op, bits, a, b, &shape);
            for (int i = 0; i < 64; i++)
                assert_int_equal(bits[i], compare_of((qn_compare)op, a[i], b[i]));
        }
    }
}

static void where_picks_with_broadcast(void **state)
{
    (void)state;
    enum { R = 7, C = 37 };
    uint8_t condition[R * C];
    float a[R * C], b = -5, y[R * C], column[R];
    values_uniform(a, R * C, 1, -1, 1);
    values_uniform(column, R, 2, -1, 1);
    for (int i = 0; i < R * C; i++)
        condition[i] = (uint8_t)(i * 7 % 3);
    static const int64_t full[] = {R, C}, single[] = {1}, col[] = {R, 1};
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        const int64_t *dims[3] = {full, full, single};
        qn_bcast shape = qn_bcast_make(full, 2, dims, (int[3]){2, 2, 1}, 3);
        qn_where_f32(NULL, y, condition, a, &b, &shape);
        for (int i = 0; i < R * C; i++)
            assert_true(y[i] == (condition[i] ? a[i] : b));
        dims[2] = col;
        shape = qn_bcast_make(full, 2, dims, (int[3]){2, 2, 2}, 3);
        qn_where_f32(NULL, y, condition, a, column, &shape);
        for (int i = 0; i < R * C; i++)
            assert_true(y[i] == (condition[i] ? a[i] : column[i / C]));
    }
}

static void whole_numbers_wrap_and_never_trap(void **state)
{
    (void)state;
    const int64_t a[] = {INT64_MIN, INT64_MAX, 7, -7, 0}, b[] = {-1, 1, 0, 2, 5};
    int64_t y[5];
    uint8_t bits[5];
    qn_bcast shape = qn_bcast_same(5);
    qn_binary_i64(NULL, QN_BINARY_DIV, y, a, b, &shape);
    assert_true(y[0] == INT64_MIN && y[1] == INT64_MAX && y[2] == 0 && y[3] == -3 && y[4] == 0);
    qn_binary_i64(NULL, QN_BINARY_ADD, y, a, b, &shape);
    assert_true(y[1] == INT64_MIN && y[0] == INT64_MAX && y[2] == 7);
    qn_binary_i64(NULL, QN_BINARY_MAX, y, a, b, &shape);
    assert_true(y[0] == -1 && y[2] == 7);
    qn_compare_i64(NULL, QN_COMPARE_LT, bits, a, b, &shape);
    assert_true(bits[0] == 1 && bits[1] == 0 && bits[4] == 1);
    const uint8_t p[] = {0, 1, 2, 0}, q[] = {0, 0, 1, 3};
    shape = qn_bcast_same(4);
    qn_logic_u8(NULL, QN_LOGIC_AND, bits, p, q, &shape);
    assert_memory_equal(bits, ((uint8_t[]){0, 0, 1, 0}), 4);
    qn_logic_u8(NULL, QN_LOGIC_XOR, bits, p, q, &shape);
    assert_memory_equal(bits, ((uint8_t[]){0, 1, 0, 1}), 4);
    qn_not_u8(NULL, bits, p, 4);
    assert_memory_equal(bits, ((uint8_t[]){1, 0, 0, 1}), 4);
}

static void binary_gives_the_same_bits_for_any_thread_count(void **state)
{
    (void)state;
    enum { R = 700, C = 301 };
    static float a[R * C], b[C], first[R * C], y[R * C], first_power[R * C], power[R * C];
    values_uniform(a, R * C, 1, -5, 5);
    values_uniform(b, C, 2, -5, 5);
    static const int64_t full[] = {R, C}, row[] = {C};
    const int64_t *dims[2] = {full, row};
    qn_bcast shape = qn_bcast_make(full, 2, dims, (int[2]){2, 1}, 2);
    const int64_t *other_way[2] = {row, full};
    qn_bcast swapped = qn_bcast_make(full, 2, other_way, (int[2]){1, 2}, 2);
    for (int p = 0; p < POOLS; p++) {
        qn_pool *pool = pool_of(pool_threads[p]);
        qn_binary_f32(pool, QN_BINARY_DIV, p ? y : first, a, b, &shape);
        if (p)
            assert_memory_equal(y, first, sizeof y);
        qn_binary_f32(pool, QN_BINARY_POW, p ? power : first_power, b, a, &swapped);
        if (p)
            assert_memory_equal(power, first_power, sizeof power);
        qn_pool_destroy(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(binary_broadcasts_like_numpy, levels_reset),
        cmocka_unit_test_teardown(binary_tails_stay_in_bounds, levels_reset),
        cmocka_unit_test_teardown(binary_keeps_nan_and_infinity, levels_reset),
        cmocka_unit_test_teardown(where_picks_with_broadcast, levels_reset),
        cmocka_unit_test_teardown(whole_numbers_wrap_and_never_trap, levels_reset),
        cmocka_unit_test_teardown(binary_gives_the_same_bits_for_any_thread_count, levels_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
