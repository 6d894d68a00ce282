/*
 * Choosing tokens: frequencies against probabilities, what top-k and top-p leave, and beam search against all paths there
 * are.
 */
#include "testing.h"

#include <math.h>

#include "base/rng.h"
#include "nn/sample.h"

static qn_error err;
enum { V = 6, DRAWS = 200000 };
static const float scores[V] = {1.0F, 2.5F, -1.0F, 2.0F, 0.0F, 2.5F};

/* Share of each token over many counted draws. */
static void draw(const qn_nn_sampling *how, double shares[V])
{
    qn_nn_choice scratch[V];
    for (int i = 0; i < V; i++)
        shares[i] = 0;
    for (int i = 0; i < DRAWS; i++) {
        double uniform = qn_rng_uniform_f64((qn_rng){.seed = 3}, (uint64_t)i);
        shares[qn_nn_sample(scores, V, how, uniform, scratch)] += 1.0 / DRAWS;
    }
}

/* Softmax over the tokens that `kept` marks. */
static void check_shares(const qn_nn_sampling *how, const bool kept[V])
{
    double shares[V], total = 0;
    draw(how, shares);
    for (int i = 0; i < V; i++)
        total += kept[i] ? exp((double)scores[i] / how->temperature) : 0;
    for (int i = 0; i < V; i++) {
        double p = kept[i] ? exp((double)scores[i] / how->temperature) / total : 0;
        /* five standard deviations */
        assert_near(shares[i], p, 5 * sqrt(p * (1 - p) / DRAWS) + 1e-9);
    }
}

static void draws_follow_the_probabilities(void **unused)
{
    (void)unused;
    static const bool all[V] = {true, true, true, true, true, true};
    check_shares(&(qn_nn_sampling){.temperature = 1}, all);
    check_shares(&(qn_nn_sampling){.temperature = 0.5}, all);
    check_shares(&(qn_nn_sampling){.temperature = 3, .top_k = V, .top_p = 1}, all);
}

static void top_k_and_top_p_leave_the_likeliest(void **unused)
{
    (void)unused;
    /* by falling probability: 1 and 5 (0.34 each), 3 (0.21), 0 (0.077), 4 (0.028), 2 */
    static const bool three[V] = {false, true, false, true, false, true};
    static const bool four[V] = {true, true, false, true, false, true};
    static const bool two[V] = {false, true, false, false, false, true};
    static const bool first[V] = {false, true, false, false, false, false};
    check_shares(&(qn_nn_sampling){.temperature = 1, .top_k = 3}, three);
    check_shares(&(qn_nn_sampling){.temperature = 1, .top_p = 0.7}, three);
    check_shares(&(qn_nn_sampling){.temperature = 1, .top_p = 0.9}, four);
    check_shares(&(qn_nn_sampling){.temperature = 1, .top_k = 4, .top_p = 0.6}, two);
    check_shares(&(qn_nn_sampling){.temperature = 1, .top_k = 1}, first);
    check_shares(&(qn_nn_sampling){.temperature = 1, .top_p = 0.01}, first);
}

static void greedy_takes_the_first_of_equals(void **unused)
{
    (void)unused;
    qn_nn_choice scratch[V];
    assert_int_equal(qn_nn_sample(scores, V, &(qn_nn_sampling){0}, 0.99, scratch), 1);
}

/*
 * Beams over a chain whose scores follow from the tokens before.
 */
enum { TOKENS = 3, STEPS = 4, STOP = 0, PATHS_MAX = 128 };

static void chain_scores(const int64_t *tokens, int64_t count, float dst[TOKENS])
{
    uint64_t key = 1;
    for (int64_t i = 0; i < count; i++)
        key = key * 31 + (uint64_t)tokens[i] + 1;
    for (int i = 0; i < TOKENS; i++)
        dst[i] = 2 * qn_rng_uniform((qn_rng){.seed = 9}, key * TOKENS + (uint64_t)i);
}

/* The best finished path of all there are, by sum / length^penalty. */
static double best_of_all(double penalty, int64_t best[STEPS], int64_t *ret_length)
{
    double found = -HUGE_VAL;
    for (int code = 0; code < 81; code++) {
        int64_t tokens[STEPS] = {code % 3, code / 3 % 3, code / 9 % 3, code / 27}, length = 0;
        double sum = 0;
        while (length < STEPS) {
            float at[TOKENS];
            double logs[TOKENS];
            chain_scores(tokens, length, at);
            qn_nn_log_softmax(logs, at, TOKENS);
            sum += logs[tokens[length]];
            if (tokens[length++] == STOP)
                break;
        }
        double score = sum / pow((double)length, penalty);
        if (score > found) {
            found = score;
            *ret_length = length;
            memcpy(best, tokens, sizeof tokens);
        }
    }
    return found;
}

static void run_beam(qn_nn_beam *beam)
{
    int64_t parents[64], tokens[64];
    float rows[64 * TOKENS];
    chain_scores(NULL, 0, rows);
    while (qn_nn_beam_step(beam, rows, parents, tokens))
        for (int64_t i = 0; i < beam->open_count; i++) {
            const qn_nn_beam_path *path = &beam->open[i];
            assert_int_equal(path->tokens[path->length - 1], tokens[i]);
            chain_scores(path->tokens, path->length, rows + i * TOKENS);
        }
}

static void wide_beams_find_the_best_of_all_paths(void **unused)
{
    (void)unused;
    static const double penalties[] = {0, 0.6, 1, 2};
    for (int i = 0; i < 4; i++) {
        qn_arena arena;
        qn_nn_beam beam;
        int64_t best[STEPS], length = 0;
        double want = best_of_all(penalties[i], best, &length);
        qn_nn_beam_options how = {.beams = 27,
                                  .vocab = TOKENS,
                                  .steps_max = STEPS,
                                  .stop = STOP,
                                  .length_penalty = penalties[i]};
        qn_arena_init(&arena, 0);
        assert_ok(qn_nn_beam_init(&beam, &how, &arena, &err), &err);
        run_beam(&beam);
        assert_near(beam.done[0].score, want, 1e-12);
        assert_int_equal(beam.done[0].length, length);
        assert_memory_equal(beam.done[0].tokens, best, (size_t)length * sizeof *best);
        qn_arena_deinit(&arena);
    }
}

/* Two beams, no stop: the step written out again, with all candidates sorted. */
static void narrow_beams_keep_the_best_prefixes(void **unused)
{
    (void)unused;
    int64_t paths[2][STEPS] = {{0}}, open = 1;
    double sums[2] = {0};
    for (int64_t step = 0; step < STEPS; step++) {
        double best[2] = {-HUGE_VAL, -HUGE_VAL}, logs[TOKENS];
        int64_t next[2][STEPS] = {{0}};
        for (int64_t at = 0; at < open * TOKENS; at++) {
            float row[TOKENS];
            chain_scores(paths[at / TOKENS], step, row);
            qn_nn_log_softmax(logs, row, TOKENS);
            double sum = sums[at / TOKENS] + logs[at % TOKENS];
            int place = sum > best[0] ? 0 : sum > best[1] ? 1 : 2;
            if (place == 0) {
                best[1] = best[0];
                memcpy(next[1], next[0], sizeof next[0]);
            }
            if (place < 2) {
                best[place] = sum;
                memcpy(next[place], paths[at / TOKENS], sizeof next[0]);
                next[place][step] = at % TOKENS;
            }
        }
        memcpy(paths, next, sizeof paths);
        memcpy(sums, best, sizeof sums);
        open = 2;
    }
    qn_arena arena;
    qn_nn_beam beam;
    qn_nn_beam_options how = {.beams = 2, .vocab = TOKENS, .steps_max = STEPS, .stop = -1};
    qn_arena_init(&arena, 0);
    assert_ok(qn_nn_beam_init(&beam, &how, &arena, &err), &err);
    run_beam(&beam);
    for (int i = 0; i < 2; i++) {
        assert_near(beam.done[i].sum, sums[i], 1e-12);
        assert_memory_equal(beam.done[i].tokens, paths[i], sizeof paths[i]);
    }
    qn_arena_deinit(&arena);
}

static void beams_refuse_sizes(void **unused)
{
    (void)unused;
    qn_arena arena;
    qn_nn_beam beam;
    qn_arena_init(&arena, 0);
    assert_int_equal(
        qn_nn_beam_init(&beam, &(qn_nn_beam_options){.vocab = 3, .steps_max = 4}, &arena, &err),
        QN_ERR_ARG);
    assert_text(&err, "0 beams of 4 tokens");
    qn_arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_follow_the_probabilities),
        cmocka_unit_test(top_k_and_top_p_leave_the_likeliest),
        cmocka_unit_test(greedy_takes_the_first_of_equals),
        cmocka_unit_test(wide_beams_find_the_best_of_all_paths),
        cmocka_unit_test(narrow_beams_keep_the_best_prefixes),
        cmocka_unit_test(beams_refuse_sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
