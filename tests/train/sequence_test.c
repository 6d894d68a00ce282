/*
 * Sequence models in C: what a cache gives against the whole computed anew, generation that neither neighbours nor threads
 * change, training on texts, streams and pairs, and folders.
 */
#include "testing.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "nn/sample.h"
#include "os/file.h"
#include "quern/quern.h"
#include "train/seq_priv.h"

static qn_error err;
enum { VOCAB = 11, CONTEXT = 12, SOURCE = 7 };

static int32_t token_at(uint32_t stream, int64_t i)
{
    return (int32_t)qn_rng_below((qn_rng){.seed = 2, .stream = stream}, (uint64_t)i, VOCAB);
}

static void fill_tokens(int32_t *dst, int64_t count, uint32_t stream)
{
    for (int64_t i = 0; i < count; i++)
        dst[i] = token_at(stream, i);
}

static const qn_seq_options kinds[] = {
    {.layers = 2, .heads = 2, .width = 16},
    {.layers = 2,
     .heads = 4,
     .kv_heads = 2,
     .width = 16,
     .positions = QN_POSITIONS_ROTARY,
     .swiglu = true,
     .rms_norm = true},
    {.layers = 1,
     .heads = 2,
     .width = 16,
     .positions = QN_POSITIONS_ALIBI,
     .post_norm = true,
     .activation = QN_RELU},
    {.layers = 1,
     .heads = 2,
     .width = 16,
     .positions = QN_POSITIONS_SINUSOIDAL,
     .tied = true,
     .no_bias = true,
     .softcap = 2},
    {.layers = 2, .heads = 2, .width = 16, .positions = QN_POSITIONS_ROTARY, .window = 4},
    {.kind = QN_SEQ_LSTM, .layers = 2, .width = 9},
    {.kind = QN_SEQ_GRU, .layers = 1, .width = 9, .tied = true},
    {.kind = QN_SEQ_RNN, .layers = 2, .width = 9},
    {.layers = 2,
     .heads = 2,
     .width = 16,
     .source_vocab = VOCAB,
     .source_context = SOURCE,
     .source_layers = 1},
    {.layers = 1,
     .heads = 2,
     .width = 16,
     .source_vocab = VOCAB,
     .source_context = SOURCE,
     .positions = QN_POSITIONS_ROTARY,
     .post_norm = true},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static qn_seq *make(int kind, int64_t context)
{
    qn_seq_options options = kinds[kind];
    options.vocab = VOCAB;
    options.context = context;
    options.seed = 5;
    qn_seq *seq = qn_seq_create(&options, &err);
    if (!seq)
        fail_msg("kind %d: %s", kind, err.text);
    return seq;
}

static bool has_source(int kind)
{
    return kinds[kind].source_vocab > 0;
}

/* A few steps, so that scores are not all alike. */
static void train_a_little(qn_seq *seq, int kind)
{
    qn_seq_fit_options fit = {
        .steps = 30, .batch = 4, .threads = 1, .optimizer = qn_adamw(0.01F, 0)};
    if (!has_source(kind)) {
        int32_t text[200];
        fill_tokens(text, 200, 1);
        assert_ok(qn_seq_fit(seq, text, 200, &fit, &err), &err);
        return;
    }
    int32_t sources[6 * SOURCE], targets[6 * (CONTEXT + 1)];
    int64_t source_lengths[6] = {7, 3, 5, 1, 6, 2}, target_lengths[6] = {13, 4, 9, 2, 7, 12};
    fill_tokens(sources, 6 * SOURCE, 2);
    fill_tokens(targets, 6 * (CONTEXT + 1), 3);
    qn_seq_pairs pairs = {sources, targets, source_lengths, target_lengths, 6};
    assert_ok(qn_seq_fit_pairs(seq, &pairs, &fit, &err), &err);
}

static qn_seq_prompt prompt_of(const int32_t *tokens, int64_t count, const int32_t *source,
                               int64_t source_count)
{
    return (qn_seq_prompt){tokens, count, source, source_count};
}

static int32_t likeliest(const float *scores)
{
    int32_t best = 0;
    for (int32_t i = 1; i < VOCAB; i++)
        if (scores[i] > scores[best])
            best = i;
    return best;
}

/* Greedy by computing all anew for each token. */
static void greedy_anew(qn_seq *seq, const qn_seq_prompt *prompt, int64_t most, int32_t *dst)
{
    int32_t tokens[CONTEXT];
    float scores[CONTEXT * VOCAB];
    int64_t count = prompt->count;
    memcpy(tokens, prompt->tokens, (size_t)count * sizeof *tokens);
    for (int64_t i = 0; i < most; i++) {
        assert_ok(
            qn_seq_scores(seq, prompt->source, prompt->source_count, tokens, count, scores, &err),
            &err);
        dst[i] = likeliest(scores + (count - 1) * VOCAB);
        if (count < CONTEXT)
            tokens[count++] = dst[i];
    }
}

static void greedy_is_the_same_as_computing_all_anew(void **unused)
{
    (void)unused;
    enum { MOST = 8 };
    for (int kind = 0; kind < KINDS; kind++) {
        qn_seq *seq = make(kind, CONTEXT);
        int32_t tokens[3][5], source[3][SOURCE], got[3][MOST], want[MOST];
        int64_t made[3], counts[3] = {1, 5, 3}, source_counts[3] = {SOURCE, 1, 4};
        qn_seq_prompt prompts[3];
        train_a_little(seq, kind);
        for (int i = 0; i < 3; i++) {
            fill_tokens(tokens[i], 5, (uint32_t)(10 + i));
            fill_tokens(source[i], SOURCE, (uint32_t)(20 + i));
            prompts[i] = prompt_of(tokens[i], counts[i], has_source(kind) ? source[i] : NULL,
                                   has_source(kind) ? source_counts[i] : 0);
        }
        qn_seq_generate_options options = {.tokens_max = MOST, .threads = 2};
        assert_ok(qn_seq_generate(seq, prompts, 3, &options, got[0], made, &err), &err);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(made[i], MOST);
            greedy_anew(seq, &prompts[i], MOST, want);
            if (memcmp(got[i], want, sizeof want) != 0)
                fail_msg("kind %d, prompt %d: not what computing anew gives", kind, i);
        }
        qn_seq_destroy(seq);
    }
}

/* Scores after every piece that is fed against the scores of the whole. */
static void check_scores(qn_seq *seq, const qn_seq_prompt *prompt, const float *got)
{
    float scores[CONTEXT * VOCAB];
    assert_ok(qn_seq_scores(seq, prompt->source, prompt->source_count, prompt->tokens,
                            prompt->count, scores, &err),
              &err);
    const float *want = scores + (prompt->count - 1) * VOCAB;
    for (int i = 0; i < VOCAB; i++)
        assert_near((double)got[i], (double)want[i], 1e-5 * (1 + fabs((double)want[i])));
}

static void cached_scores_are_those_of_the_whole(void **unused)
{
    (void)unused;
    /* what rows 0 and 1 read at each feed */
    static const int64_t feeds[][3] = {{5, 5, 2}, {1, 1, 0}, {1, 1, 1}, {3, 1, 3}, {1, 1, 1}};
    for (int kind = 0; kind < KINDS; kind++) {
        qn_seq *seq = make(kind, CONTEXT);
        qn_generator *generator = NULL;
        int32_t text[2][CONTEXT], source[2][SOURCE];
        int64_t wide[2 * SOURCE] = {0}, lengths[2] = {SOURCE, 3}, read[2] = {0, 0};
        train_a_little(seq, kind);
        assert_ok(qn_generator_create(&seq->model, seq->state, 2, NULL, &generator, &err), &err);
        for (int row = 0; row < 2; row++) {
            fill_tokens(text[row], CONTEXT, (uint32_t)(30 + row));
            fill_tokens(source[row], SOURCE, (uint32_t)(40 + row));
            for (int i = 0; i < lengths[row]; i++)
                wide[row * SOURCE + i] = source[row][i];
        }
        if (has_source(kind))
            qn_generator_source(generator, wide, lengths);
        for (size_t f = 0; f < sizeof feeds / sizeof feeds[0]; f++) {
            int64_t piece[2 * CONTEXT] = {0};
            const float *scores;
            for (int row = 0; row < 2; row++)
                for (int64_t i = 0; i < feeds[f][1 + row]; i++)
                    piece[row * feeds[f][0] + i] = text[row][read[row] + i];
            assert_ok(qn_generator_feed(generator, piece, feeds[f] + 1, feeds[f][0], &scores, &err),
                      &err);
            for (int row = 0; row < 2; row++) {
                read[row] += feeds[f][1 + row];
                qn_seq_prompt so_far = prompt_of(text[row], read[row], source[row], lengths[row]);
                if (feeds[f][1 + row] > 0)
                    check_scores(seq, &so_far, scores + row * VOCAB);
            }
        }
        qn_generator_destroy(generator);
        qn_seq_destroy(seq);
    }
}

static void a_row_does_not_see_its_neighbours(void **unused)
{
    (void)unused;
    enum { MOST = 30 }; /* more than a context */
    for (int kind = 0; kind < KINDS; kind += 1) {
        qn_seq *seq = make(kind, CONTEXT);
        int32_t tokens[3][CONTEXT], source[SOURCE], alone[MOST], beside[3][MOST];
        int64_t made[3], counts[3] = {3, CONTEXT, 1};
        qn_seq_prompt prompts[3];
        train_a_little(seq, kind);
        fill_tokens(source, SOURCE, 6);
        for (int i = 0; i < 3; i++) {
            fill_tokens(tokens[i], CONTEXT, (uint32_t)(50 + i));
            prompts[i] = prompt_of(tokens[i], counts[i], source, has_source(kind) ? SOURCE - i : 0);
        }
        for (int warm = 0; warm < 2; warm++) {
            qn_seq_generate_options options = {.tokens_max = MOST,
                                               .temperature = warm ? 1.2F : 0,
                                               .top_p = 0.95F,
                                               .seed = 4,
                                               .threads = warm ? 1 : 2};
            assert_ok(qn_seq_generate(seq, prompts, 1, &options, alone, made, &err), &err);
            assert_int_equal(made[0], MOST);
            assert_ok(qn_seq_generate(seq, prompts, 3, &options, beside[0], made, &err), &err);
            if (memcmp(alone, beside[0], sizeof alone) != 0)
                fail_msg("kind %d: neighbours changed the tokens", kind);
            options.seed = 5;
            assert_ok(qn_seq_generate(seq, prompts, 1, &options, beside[1], made, &err), &err);
            assert_true(!warm == (memcmp(alone, beside[1], sizeof alone) == 0));
        }
        qn_seq_destroy(seq);
    }
}

/* The best path of all by computing each anew. */
enum { FEW = 4, BEAM_STEPS = 3 };
static double best_of_all(qn_seq *seq, double penalty, int32_t best[BEAM_STEPS], int64_t *ret_count)
{
    double found = -HUGE_VAL;
    for (int code = 0; code < FEW * FEW * FEW; code++) {
        int32_t tokens[2 + BEAM_STEPS] = {1, 2, code % FEW, code / FEW % FEW, code / FEW / FEW};
        float scores[(2 + BEAM_STEPS) * FEW];
        double sum = 0, logs[FEW];
        int64_t count = 0;
        assert_ok(qn_seq_scores(seq, NULL, 0, tokens, 2 + BEAM_STEPS, scores, &err), &err);
        while (count < BEAM_STEPS) {
            qn_nn_log_softmax(logs, scores + (1 + count) * FEW, FEW);
            sum += logs[tokens[2 + count]];
            if (tokens[2 + count++] == 3)
                break;
        }
        double own = sum / pow((double)count, penalty);
        if (own > found) {
            found = own;
            *ret_count = count;
            memcpy(best, tokens + 2, BEAM_STEPS * sizeof *best);
        }
    }
    return found;
}

static void beams_find_the_best_path(void **unused)
{
    (void)unused;
    static const int32_t start[] = {1, 2};
    for (int kind = 0; kind < 8; kind++) {
        qn_seq_options options = kinds[kind];
        int32_t text[100], best[BEAM_STEPS], got[2][BEAM_STEPS];
        int64_t count = 0, made[2];
        options.vocab = FEW;
        options.context = 8;
        qn_seq *seq = qn_seq_create(&options, &err);
        assert_non_null(seq);
        for (int i = 0; i < 100; i++)
            text[i] = (token_at(60, i) + i) % FEW;
        qn_seq_fit_options fit = {.steps = 40, .batch = 4, .threads = 1};
        assert_ok(qn_seq_fit(seq, text, 100, &fit, &err), &err);
        for (int penalty = 0; penalty < 2; penalty++) {
            (void)best_of_all(seq, penalty, best, &count);
            qn_seq_prompt prompts[2] = {prompt_of(start, 2, NULL, 0), prompt_of(start, 2, NULL, 0)};
            qn_seq_generate_options how = {.tokens_max = BEAM_STEPS,
                                           .beams = FEW * FEW,
                                           .length_penalty = (float)penalty,
                                           .stop = 3,
                                           .has_stop = true,
                                           .threads = 1};
            assert_ok(qn_seq_generate(seq, prompts, 2, &how, got[0], made, &err), &err);
            for (int i = 0; i < 2; i++) {
                assert_int_equal(made[i], count);
                assert_memory_equal(got[i], best, (size_t)count * sizeof *best);
            }
        }
        qn_seq_destroy(seq);
    }
}

static int keep_report(void *context, const qn_seq_report *report)
{
    *(qn_seq_report *)context = *report;
    return 0;
}

/* Windows of 5 whose states are carried are one sequence of 20: with a rate of next to nothing, the same loss. */
static void streams_go_on_where_they_ended(void **unused)
{
    (void)unused;
    int32_t text[21];
    fill_tokens(text, 21, 70);
    for (int kind = 5; kind < 8; kind++) {
        qn_seq_report told[2];
        double whole = 0;
        qn_seq *long_one = make(kind, 20);
        assert_ok(qn_seq_loss(long_one, text, 21, &whole, &err), &err);
        for (int pass = 0; pass < 2; pass++) {
            qn_seq *seq = make(kind, 5);
            qn_seq_fit_options fit = {.steps = pass ? 8 : 4, /* the second pass begins anew */
                                      .batch = 1,
                                      .carry = true,
                                      .optimizer = qn_sgd(1e-20F),
                                      .threads = 1,
                                      .on_report = keep_report,
                                      .context = &told[pass]};
            assert_ok(qn_seq_fit(seq, text, 21, &fit, &err), &err);
            assert_near(told[pass].loss, whole, 1e-5);
            double cut = 0;
            assert_ok(qn_seq_loss(seq, text, 21, &cut, &err), &err);
            assert_true(fabs(cut - whole) > 1e-5); /* begun anew at each piece it is another */
            qn_seq_destroy(seq);
        }
        qn_seq_destroy(long_one);
    }
}

/* A text that repeats is learned by heart, and the same bits come from any number of threads. */
static void training_learns_and_repeats_to_the_bit(void **unused)
{
    (void)unused;
    int32_t text[400];
    for (int i = 0; i < 400; i++)
        text[i] = i * i % 7;
    for (int kind = 0; kind < 8; kind += 5) {
        double loss[3] = {0};
        qn_seq_report told = {0};
        for (int run = 0; run < 3; run++) {
            qn_seq *seq = make(kind, CONTEXT);
            qn_seq_fit_options fit = {.steps = 500,
                                      .batch = 4,
                                      .optimizer = qn_adamw(0.01F, 0.01F),
                                      .schedule = {.kind = QN_RATE_COSINE, .rate_min = 0.001F},
                                      .clip_norm = 1,
                                      .threads = run == 2 ? 3 : 1,
                                      .valid_tokens = text + 300,
                                      .valid_count = 100,
                                      .on_report = keep_report,
                                      .context = &told};
            assert_ok(qn_seq_fit(seq, text, 300, &fit, &err), &err);
            assert_ok(qn_seq_loss(seq, text + 300, 100, &loss[run], &err), &err);
            assert_near(told.valid_loss, loss[run], 1e-9);
            qn_seq_destroy(seq);
        }
        if (!(loss[0] < 0.8))
            fail_msg("kind %d: a loss of %g", kind, loss[0]);
        assert_true(loss[0] == loss[1] && loss[0] == loss[2]);
    }
}

/* The weights after `steps` steps, in the order of the state. */
static int64_t weights_after(int64_t steps, float ema, const qn_group *group, float *dst)
{
    int32_t text[200];
    int64_t count = 0;
    fill_tokens(text, 200, 1);
    qn_seq *seq = make(0, CONTEXT);
    qn_seq_fit_options fit = {.steps = steps,
                              .batch = 4,
                              .optimizer = qn_adamw(0.01F, 0),
                              .schedule = {.kind = QN_RATE_INVERSE_SQRT},
                              .groups = group,
                              .groups_count = 1,
                              .ema = ema,
                              .recompute = true,
                              .clip_value = 1,
                              .threads = 1};
    fit.schedule.warmup = 1 / (float)steps; /* the same first step, however many follow */
    assert_ok(qn_seq_fit(seq, text, 200, &fit, &err), &err);
    for (int i = 0; i < qn_state_count(seq->state); i++) {
        const qn_tensor *weight = &qn_state_at(seq->state, i)->tensor;
        int64_t size = qn_shape_count(&weight->shape);
        memcpy(dst + count, weight->data, (size_t)size * sizeof *dst);
        count += size;
    }
    qn_seq_destroy(seq);
    return count;
}

enum { WEIGHTS = 20000 };
static void averages_and_groups_are_those_of_nets(void **unused)
{
    (void)unused;
    static float one[WEIGHTS], two[WEIGHTS], mean[WEIGHTS], still[WEIGHTS], untouched[WEIGHTS];
    const qn_group frozen = {.names = "embed", .frozen = true};
    int64_t count = weights_after(1, 0, NULL, one);
    assert_true(count < WEIGHTS);
    (void)weights_after(2, 0, NULL, two);
    (void)weights_after(2, 0.25F, NULL, mean);
    float apart = 0;
    for (int64_t i = 0; i < count; i++) {
        assert_near(mean[i], 0.25F * one[i] + 0.75F * two[i], 1e-6);
        apart = fmaxf(apart, fabsf(two[i] - one[i]));
    }
    assert_true(apart > 1e-3F);
    qn_seq *seq = make(0, CONTEXT);
    int64_t at = 0;
    (void)weights_after(2, 0, &frozen, still);
    for (int i = 0; i < qn_state_count(seq->state); i++) {
        const qn_named_tensor *weight = qn_state_at(seq->state, i);
        int64_t size = qn_shape_count(&weight->tensor.shape);
        memcpy(untouched, weight->tensor.data, (size_t)size * sizeof *untouched);
        bool same = memcmp(untouched, still + at, (size_t)size * sizeof *still) == 0;
        if (strcmp(weight->name, "embed.weight") == 0)
            assert_true(same);
        if (strcmp(weight->name, "head.weight") == 0)
            assert_false(same);
        at += size;
    }
    qn_seq_destroy(seq);
}

/* Sequences turned round: 0 begins, 1 ends. */
static void an_encoder_and_decoder_learn_to_turn_round(void **unused)
{
    (void)unused;
    enum { PAIRS = 120, LONGEST = 5 };
    static int32_t sources[PAIRS * LONGEST], targets[PAIRS * (LONGEST + 3)];
    static int64_t source_lengths[PAIRS], target_lengths[PAIRS];
    for (int i = 0; i < PAIRS; i++) {
        int64_t count = 2 + token_at(80, i) % 4;
        source_lengths[i] = count;
        target_lengths[i] = count + 2;
        for (int k = 0; k < count; k++) {
            sources[i * LONGEST + k] = 2 + token_at(81, i * LONGEST + k) % 6;
            targets[i * (LONGEST + 3) + count - k] = sources[i * LONGEST + k];
        }
        targets[i * (LONGEST + 3)] = 0;
        targets[i * (LONGEST + 3) + count + 1] = 1;
    }
    qn_seq_options options = {.vocab = 8,
                              .context = LONGEST + 2,
                              .width = 32,
                              .layers = 1,
                              .heads = 2,
                              .source_vocab = 8,
                              .source_context = LONGEST};
    qn_seq *seq = qn_seq_create(&options, &err);
    assert_non_null(seq);
    qn_seq_pairs pairs = {sources, targets, source_lengths, target_lengths, PAIRS};
    qn_seq_fit_options fit = {
        .steps = 600, .batch = 16, .optimizer = qn_adam(0.005F), .threads = 2};
    assert_ok(qn_seq_fit_pairs(seq, &pairs, &fit, &err), &err);
    double loss = 1;
    assert_ok(qn_seq_loss_pairs(seq, &pairs, &loss, &err), &err);
    assert_true(loss < 0.1);
    int right = 0;
    for (int i = 0; i < PAIRS; i++) {
        static const int32_t begin[] = {0};
        int32_t got[LONGEST + 1];
        int64_t made;
        qn_seq_prompt prompt = prompt_of(begin, 1, sources + i * LONGEST, source_lengths[i]);
        qn_seq_generate_options how = {
            .tokens_max = LONGEST + 1, .beams = i % 2 ? 3 : 0, .stop = 1, .has_stop = true};
        assert_ok(qn_seq_generate(seq, &prompt, 1, &how, got, &made, &err), &err);
        right += made == target_lengths[i] - 1 &&
                 memcmp(got, targets + i * (LONGEST + 3) + 1, (size_t)made * sizeof *got) == 0;
    }
    assert_true(right >= PAIRS * 9 / 10);
    qn_seq_destroy(seq);
}

static void folders_keep_a_model(void **unused)
{
    (void)unused;
    for (int kind = 0; kind < KINDS; kind++) {
        char folder[] = "/tmp/quern-seq-XXXXXX";
        int32_t tokens[CONTEXT], source[SOURCE];
        float before[CONTEXT * VOCAB], after[CONTEXT * VOCAB];
        assert_non_null(mkdtemp(folder));
        qn_seq *seq = make(kind, CONTEXT);
        fill_tokens(tokens, CONTEXT, 90);
        fill_tokens(source, SOURCE, 91);
        assert_ok(qn_seq_scores(seq, source, 4, tokens, CONTEXT, before, &err), &err);
        assert_ok(qn_seq_save(seq, folder, &err), &err);
        qn_seq *again = qn_seq_load(folder, &err);
        if (!again)
            fail_msg("kind %d: %s", kind, err.text);
        assert_int_equal(qn_seq_parameters(again), qn_seq_parameters(seq));
        assert_ok(qn_seq_scores(again, source, 4, tokens, CONTEXT, after, &err), &err);
        assert_memory_equal(before, after, sizeof before);
        qn_seq_destroy(again);
        qn_seq_destroy(seq);
        assert_ok(qn_folder_remove(folder, &err), &err);
    }
    assert_null(qn_seq_load("/nowhere", &err));
    assert_int_equal(err.code, QN_ERR_NOT_FOUND);
}

/* Layers of a recipe over tokens: which of three tokens came first? */
static void a_net_of_layers_reads_tokens(void **unused)
{
    (void)unused;
    enum { ROWS = 90, STEPS = 6 };
    static float inputs[ROWS][STEPS];
    static int32_t labels[ROWS];
    static float answers[ROWS][3];
    for (int i = 0; i < ROWS; i++) {
        labels[i] = i % 3;
        for (int t = 0; t < STEPS; t++)
            inputs[i][t] = (float)(t == 0 ? i % 3 : token_at(7, i * STEPS + t) % 3);
    }
    static const char *const bodies[][2] = {{"gru", "{\"units\": 12}"},
                                            {"lstm", "{\"units\": 12, \"reverse\": true}"},
                                            {"transformer", "{\"heads\": 2, \"units\": 16}"}};
    for (int b = 0; b < 3; b++) {
        qn_net *net = qn_net_create(QN_INPUT(STEPS), &err);
        qn_net_layer(net, "embedding", "{\"count\": 3, \"size\": 8}");
        qn_net_layer(net, "positions", NULL);
        qn_net_layer(net, bodies[b][0], bodies[b][1]);
        if (b == 2)
            qn_net_flatten(net);
        qn_net_dense(net, 3, QN_SOFTMAX);
        qn_fit_options fit = {
            .loss = QN_LOSS_CROSS_ENTROPY, .optimizer = qn_adam(0.02F), .epochs = 40};
        assert_ok(qn_net_fit(net, QN_VIEW(inputs), QN_VIEW_1D(labels), &fit, &err), &err);
        assert_ok(qn_net_predict(net, QN_VIEW(inputs), QN_VIEW_OUT(answers), &err), &err);
        int right = 0;
        for (int i = 0; i < ROWS; i++)
            right += answers[i][labels[i]] > 0.5F;
        if (right < ROWS * 9 / 10)
            fail_msg("%s: %d of %d", bodies[b][0], right, ROWS);
        qn_net_destroy(net);
    }
}

static void mistakes_are_named(void **unused)
{
    (void)unused;
    int32_t tokens[40], out[4];
    int64_t made;
    double loss;
    fill_tokens(tokens, 40, 1);
    assert_null(qn_seq_create(&(qn_seq_options){0}, &err));
    assert_text(&err, "vocab is 0, expected 1");
    assert_null(qn_seq_create(&(qn_seq_options){.vocab = 4, .width = 10, .heads = 4}, &err));
    assert_text(&err, "4 heads, which do not divide 10");
    assert_null(
        qn_seq_create(&(qn_seq_options){.kind = QN_SEQ_GRU, .vocab = 4, .source_vocab = 4}, &err));
    assert_text(&err, "a model with a source is a transformer");
    qn_seq *seq = make(0, CONTEXT);
    assert_int_equal(qn_seq_fit(seq, tokens, CONTEXT, NULL, &err), QN_ERR_ARG);
    assert_text(&err, "a text of 12 tokens; 13 or more are needed");
    tokens[7] = VOCAB;
    assert_int_equal(qn_seq_fit(seq, tokens, 40, NULL, &err), QN_ERR_ARG);
    assert_text(&err, "token 7 is 11, expected 0 to 10");
    assert_int_equal(qn_seq_loss(seq, tokens, 1, &loss, &err), QN_ERR_ARG);
    qn_seq_prompt empty = {0}, one = prompt_of(tokens, 1, NULL, 0);
    assert_int_equal(qn_seq_generate(seq, &empty, 1, NULL, out, &made, &err), QN_ERR_ARG);
    assert_text(&err, "prompt 0 has no tokens");
    qn_seq_generate_options wide = {.tokens_max = CONTEXT + 1, .beams = 2};
    assert_int_equal(qn_seq_generate(seq, &one, 1, &wide, out, &made, &err), QN_ERR_ARG);
    assert_text(&err, "do not fit in a context of 12");
    qn_seq_fit_options carry = {.carry = true};
    const qn_seq_fit_options whole = {.optimizer = qn_lbfgs(0)},
                             plateau = {.schedule = {.kind = QN_RATE_PLATEAU}},
                             restarts = {.schedule = {.kind = QN_RATE_RESTARTS}};
    assert_int_equal(qn_seq_fit(seq, tokens, 7, &whole, &err), QN_ERR_ARG);
    assert_text(&err, "qn_lbfgs");
    assert_int_equal(qn_seq_fit(seq, tokens, 7, &plateau, &err), QN_ERR_ARG);
    assert_text(&err, "QN_RATE_PLATEAU");
    assert_int_equal(qn_seq_fit(seq, tokens, 7, &restarts, &err), QN_ERR_ARG);
    assert_text(&err, "QN_RATE_RESTARTS counts epochs");
    assert_int_equal(qn_seq_fit(seq, tokens, 7, &carry, &err), QN_ERR_ARG);
    assert_text(&err, "carry is for recurrent models");
    assert_int_equal(qn_seq_fit(NULL, tokens, 7, NULL, &err), QN_ERR_MEMORY);
    qn_seq_destroy(seq);
    qn_seq_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(greedy_is_the_same_as_computing_all_anew),
        cmocka_unit_test(cached_scores_are_those_of_the_whole),
        cmocka_unit_test(a_row_does_not_see_its_neighbours),
        cmocka_unit_test(beams_find_the_best_path),
        cmocka_unit_test(streams_go_on_where_they_ended),
        cmocka_unit_test(training_learns_and_repeats_to_the_bit),
        cmocka_unit_test(averages_and_groups_are_those_of_nets),
        cmocka_unit_test(an_encoder_and_decoder_learn_to_turn_round),
        cmocka_unit_test(folders_keep_a_model),
        cmocka_unit_test(a_net_of_layers_reads_tokens),
        cmocka_unit_test(mistakes_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
