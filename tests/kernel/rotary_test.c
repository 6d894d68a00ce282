/*
 * Rotary positions at every level against double precision: tails, parts that do not turn, in place.
 */
#include "kernel_testing.h"

#include "kernel/position/rotary.h"

static void check(int64_t heads, int64_t dim, int64_t half, bool interleaved, bool in_place,
                  bool by_row, qn_pool *pool)
{
    enum { B = 2, STEPS = 5 };
    int64_t size = B * STEPS * heads * dim;
    guarded x = guarded_uniform(size, 1, 1, -1, 1), y = guarded_uniform(size, 3, 1, -1, 1);
    guarded c = guarded_uniform(B * STEPS * half, 2, 2, -1, 1);
    guarded s = guarded_uniform(B * STEPS * half, 3, 3, -1, 1);
    qn_rotary io = {.batch = B,
                    .steps = STEPS,
                    .heads = heads,
                    .dim = dim,
                    .half = half,
                    .interleaved = interleaved,
                    .by_row = by_row,
                    .cosine = c.at,
                    .sine = s.at,
                    .x = in_place ? y.at : x.at,
                    .y = y.at};
    qn_rotary_f32(pool, &io);
    for (int64_t at = 0; at < size; at++) {
        int64_t i = at % dim, row = at / dim / heads, base = at - i;
        int64_t angle = (by_row ? row : row % STEPS) * half;
        double want = (double)x.at[at];
        if (i < 2 * half) {
            int64_t pair = interleaved ? i / 2 : i % half;
            bool second = interleaved ? i % 2 : i >= half;
            int64_t a = base + (interleaved ? 2 * pair : pair), b = a + (interleaved ? 1 : half);
            double cosine = (double)c.at[angle + pair], sine = (double)s.at[angle + pair];
            want = second ? (double)x.at[b] * cosine + (double)x.at[a] * sine
                          : (double)x.at[a] * cosine - (double)x.at[b] * sine;
        }
        assert_true(fabs((double)y.at[at] - want) <= 3e-7);
    }
    guarded *all[] = {&x, &y, &c, &s};
    for (int i = 0; i < 4; i++)
        guarded_free(all[i]);
}

static void rotary_matches_double(void **state)
{
    (void)state;
    static const int64_t halves[] = {1, 3, 8, 15, 16, 17, 33};
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        qn_pool *pool = pool_of(2);
        for (int i = 0; i < 7 * 4; i++)
            check(1 + i % 3, 2 * halves[i % 7] + (i % 2 ? 5 : 0), halves[i % 7], i % 4 == 3,
                  i % 3 == 0, i % 5 == 2, i % 2 ? pool : NULL);
        qn_pool_destroy(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(rotary_matches_double, levels_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
