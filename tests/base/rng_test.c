/* Philox against Random123's known answers, and the distributions made from it. */
#include "testing.h"

#include <math.h>
#include <stdlib.h>

#include "base/rng.h"

/* kat_vectors of Random123 1.14, philox4x32 10 rounds. */
static void philox_gives_the_known_answers(void **state)
{
    (void)state;
    uint32_t words[4];
    static const uint32_t zeros[4] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
    qn_rng_block((qn_rng){0}, 0, words);
    assert_memory_equal(words, zeros, sizeof words);
    static const uint32_t ones[4] = {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
    qn_rng_block((qn_rng){UINT64_MAX, UINT32_MAX, UINT32_MAX}, UINT64_MAX, words);
    assert_memory_equal(words, ones, sizeof words);
    static const uint32_t pi[4] = {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1};
    qn_rng_block((qn_rng){UINT64_C(0x299f31d0a4093822), 0x13198a2e, 0x03707344},
                 UINT64_C(0x85a308d3243f6a88), words);
    assert_memory_equal(words, pi, sizeof words);
}

static void uniform_and_normal_have_their_moments(void **state)
{
    (void)state;
    enum { COUNT = 100000 };
    qn_rng rng = {.seed = 3, .stream = 1};
    double sum = 0;
    double normal_sum = 0;
    double normal_squares = 0;
    for (uint64_t i = 0; i < COUNT; i++) {
        float u = qn_rng_uniform(rng, i);
        assert_true(u >= 0 && u < 1);
        double v = qn_rng_uniform_f64(rng, i);
        assert_true(v >= 0 && v < 1);
        sum += (double)u;
        double n = qn_rng_normal(rng, i);
        normal_sum += n;
        normal_squares += n * n;
    }
    /* Five standard errors. */
    assert_true(fabs(sum / COUNT - 0.5) < 5 * 0.2887 / sqrt(COUNT));
    assert_true(fabs(normal_sum / COUNT) < 5 / sqrt(COUNT));
    assert_true(fabs(normal_squares / COUNT - 1) < 5 * sqrt(2.0 / COUNT));
}

static void below_is_unbiased_and_in_range(void **state)
{
    (void)state;
    enum { COUNT = 60000, BOUND = 6 };
    int64_t seen[BOUND] = {0};
    for (uint64_t i = 0; i < COUNT; i++)
        seen[qn_rng_below((qn_rng){.seed = 9}, i, BOUND)]++;
    for (int i = 0; i < BOUND; i++)
        assert_true(llabs(seen[i] - COUNT / BOUND) < 5 * 92); /* sqrt(COUNT * 5 / 36) = 91.3 */
    assert_int_equal(qn_rng_below((qn_rng){.seed = 9}, 1, 1), 0);
    uint64_t huge = (UINT64_C(1) << 63) + 1; /* nearly half of the draws are rejected */
    for (uint64_t i = 0; i < 1000; i++)
        assert_true(qn_rng_below((qn_rng){.seed = 9}, i, huge) < huge);
}

static void shuffle_permutes_and_depends_on_the_key(void **state)
{
    (void)state;
    enum { COUNT = 100 };
    int64_t a[COUNT];
    int64_t b[COUNT];
    int64_t sum = 0;
    for (int i = 0; i < COUNT; i++)
        a[i] = b[i] = i;
    qn_rng_shuffle((qn_rng){.seed = 1}, a, COUNT);
    qn_rng_shuffle((qn_rng){.seed = 1, .step = 1}, b, COUNT);
    assert_memory_not_equal(a, b, sizeof a);
    for (int i = 0; i < COUNT; i++)
        sum += a[i];
    assert_int_equal(sum, COUNT * (COUNT - 1) / 2);
    for (int i = 0; i < COUNT; i++)
        b[i] = i;
    qn_rng_shuffle((qn_rng){.seed = 1}, b, COUNT);
    assert_memory_equal(a, b, sizeof a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_known_answers),
        cmocka_unit_test(uniform_and_normal_have_their_moments),
        cmocka_unit_test(below_is_unbiased_and_in_range),
        cmocka_unit_test(shuffle_permutes_and_depends_on_the_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
