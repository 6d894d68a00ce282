/*
 * Generation by a sequence model, from C: prompts side by side, each with its own random numbers, or beams of one prompt
 * after the other.
 */
#include "train/seq_priv.h"

#include <string.h>

#include "base/arena.h"
#include "base/checked.h"
#include "base/rng.h"
#include "nn/sample.h"

enum { TOKENS_DEFAULT = 100, ROWS_MAX = 4096 };
static const uint32_t STREAM_SAMPLES = 0x73616d70;

typedef struct {
    qn_seq *seq;
    qn_generator *generator;
    const qn_seq_prompt *prompts;
    const qn_seq_generate_options *options;
    int64_t count, rows, most; /* prompts; rows of the generator; new tokens of each */
    int32_t *tokens;           /* [count, most] */
    int64_t *made;             /* [count] */
    int64_t *piece, *counts;   /* [rows, longest], [rows] */
    int64_t *source, *source_lengths;
    qn_nn_choice *scratch;
    bool stopped; /* by the caller */
} generation;

static int64_t keeps(const qn_seq *seq)
{
    return seq->options.kind == QN_SEQ_TRANSFORMER ? seq->options.context : INT64_MAX;
}

static qn_status check_prompts(const generation *g, int64_t beams, qn_error *err)
{
    const qn_seq_options *o = &g->seq->options;
    if (g->count < 1 || g->count > ROWS_MAX || beams > ROWS_MAX || g->most < 1)
        QN_FAIL(err, QN_ERR_ARG, "%lld prompts, %lld beams, %lld tokens: 1 to %d, and 1 or more",
                (long long)g->count, (long long)beams, (long long)g->most, (int)ROWS_MAX);
    for (int64_t i = 0; i < g->count; i++) {
        const qn_seq_prompt *p = &g->prompts[i];
        if (p->count < 1)
            QN_FAIL(err, QN_ERR_ARG, "prompt %lld has no tokens: give at least one", (long long)i);
        if (beams > 1 && p->count + g->most - 1 > keeps(g->seq))
            QN_FAIL(err, QN_ERR_ARG,
                    "prompt %lld and %lld new tokens do not fit in a context of %lld", (long long)i,
                    (long long)g->most, (long long)o->context);
        if (o->source_vocab > 0 && (p->source_count < 1 || p->source_count > o->source_context))
            QN_FAIL(err, QN_ERR_ARG, "prompt %lld has a source of %lld tokens, expected 1 to %lld",
                    (long long)i, (long long)p->source_count, (long long)o->source_context);
        QN_TRY(qn_seq_check_tokens("prompt token", p->tokens, p->count, o->vocab, err));
        if (o->source_vocab > 0)
            QN_TRY(qn_seq_check_tokens("source token", p->source, p->source_count, o->source_vocab,
                                       err));
    }
    return QN_OK;
}

static qn_status need_generator(generation *g, int64_t rows, qn_error *err)
{
    qn_seq *seq = g->seq;
    if (seq->generator && seq->generator->rows != rows)
        qn_seq_drop_made(seq);
    if (!seq->generator)
        QN_TRY(qn_generator_create(&seq->model, seq->state, rows, seq->pool, &seq->generator, err));
    g->generator = seq->generator;
    g->rows = rows;
    return QN_OK;
}

/* How much of a prompt is read: a context can hold no more than its end, and must leave room for what follows. */
static int64_t prompt_size(const generation *g, const qn_seq_prompt *prompt)
{
    return qn_min_i64(prompt->count, keeps(g->seq));
}

static qn_status make_room(generation *g, qn_arena *arena, qn_error *err)
{
    int64_t longest = 1;
    for (int64_t i = 0; i < g->count; i++)
        if (prompt_size(g, &g->prompts[i]) > longest)
            longest = prompt_size(g, &g->prompts[i]);
    if (keeps(g->seq) != INT64_MAX && keeps(g->seq) > longest)
        longest = keeps(g->seq);
    g->piece = QN_NEW(arena, int64_t, g->rows * longest);
    g->counts = QN_NEW(arena, int64_t, g->rows);
    g->source = QN_NEW(arena, int64_t, g->rows * g->seq->options.source_context + 1);
    g->source_lengths = QN_NEW(arena, int64_t, g->rows);
    g->scratch = QN_NEW(arena, qn_nn_choice, g->seq->options.vocab);
    if (!g->piece || !g->counts || !g->source || !g->source_lengths || !g->scratch)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory to generate");
    return QN_OK;
}

static void set_source(generation *g, int64_t row, const qn_seq_prompt *prompt)
{
    int64_t *dst = g->source + row * g->seq->options.source_context;
    for (int64_t i = 0; i < prompt->source_count; i++)
        dst[i] = prompt->source[i];
    g->source_lengths[row] = prompt->source_count;
}

/* The prompts' ends, row by row; first: prompt of row 0, each the same number of rows. */
static qn_status read_prompts(generation *g, int64_t first, int64_t each, const float **ret_scores,
                              qn_error *err)
{
    int64_t longest = 1;
    qn_generator_reset(g->generator);
    for (int64_t row = 0; row < g->rows; row++) {
        const qn_seq_prompt *prompt = &g->prompts[first + row / each];
        g->counts[row] = prompt_size(g, prompt);
        longest = g->counts[row] > longest ? g->counts[row] : longest;
        if (g->seq->options.source_vocab > 0)
            set_source(g, row, prompt);
    }
    if (g->seq->options.source_vocab > 0)
        qn_generator_source(g->generator, g->source, g->source_lengths);
    memset(g->piece, 0, (size_t)(g->rows * longest) * sizeof *g->piece);
    for (int64_t row = 0; row < g->rows; row++) {
        const qn_seq_prompt *prompt = &g->prompts[first + row / each];
        for (int64_t i = 0; i < g->counts[row]; i++)
            g->piece[row * longest + i] = prompt->tokens[prompt->count - g->counts[row] + i];
    }
    return qn_generator_feed(g->generator, g->piece, g->counts, longest, ret_scores, err);
}

/* Token `back` places before the end of prompt and new tokens; 1 = the last. */
static int32_t token_back(const generation *g, int64_t i, int64_t back)
{
    if (back <= g->made[i])
        return g->tokens[i * g->most + g->made[i] - back];
    return g->prompts[i].tokens[g->prompts[i].count - (back - g->made[i])];
}

static bool is_done(const generation *g, int64_t i)
{
    const qn_seq_generate_options *o = g->options;
    return g->made[i] == g->most ||
           (o->has_stop && g->made[i] > 0 && g->tokens[i * g->most + g->made[i] - 1] == o->stop);
}

static void choose(generation *g, int64_t i, const float *scores)
{
    const qn_seq_generate_options *o = g->options;
    qn_nn_sampling how = {(double)o->temperature, o->top_k, (double)o->top_p};
    /* Keyed by the prompt's own place and the token's: neighbours change nothing. */
    qn_rng rng = {.seed = o->seed ? o->seed : 1,
                  .stream = STREAM_SAMPLES + (uint32_t)i,
                  .step = (uint32_t)g->made[i]};
    int64_t token =
        qn_nn_sample(scores, g->seq->options.vocab, &how, qn_rng_uniform_f64(rng, 0), g->scratch);
    g->tokens[i * g->most + g->made[i]++] = (int32_t)token;
    if (o->on_token && o->on_token(o->context, i, (int32_t)token))
        g->stopped = true;
}

/* Rows whose context is full forget all but the last half, which is read again. */
static qn_status make_space(generation *g, qn_error *err)
{
    int64_t half = keeps(g->seq) / 2;
    const float *unused;
    bool any = false;
    for (int64_t row = 0; row < g->rows; row++) {
        bool full = !is_done(g, row) && g->generator->read[row] == keeps(g->seq);
        g->counts[row] = full ? half : 0;
        if (!full)
            continue;
        any = half > 0;
        qn_generator_rewind(g->generator, row);
        for (int64_t k = 0; k < half; k++)
            g->piece[row * half + k] = token_back(g, row, half + 1 - k);
    }
    /* A row of its own may be computed for nothing beside one that is full; that is rare. */
    return any ? qn_generator_feed(g->generator, g->piece, g->counts, half, &unused, err) : QN_OK;
}

static qn_status sample_all(generation *g, qn_error *err)
{
    const float *scores;
    int64_t vocab = g->seq->options.vocab;
    QN_TRY(read_prompts(g, 0, 1, &scores, err));
    for (;;) {
        bool any = false;
        for (int64_t i = 0; i < g->count; i++) {
            if (!is_done(g, i))
                choose(g, i, scores + i * vocab);
            any = any || !is_done(g, i);
        }
        if (!any || g->stopped)
            return QN_OK;
        QN_TRY(make_space(g, err));
        for (int64_t i = 0; i < g->count; i++) {
            g->counts[i] = is_done(g, i) ? 0 : 1;
            g->piece[i] = token_back(g, i, 1);
        }
        QN_TRY(qn_generator_feed(g->generator, g->piece, g->counts, 1, &scores, err));
    }
}

static qn_status search(generation *g, int64_t prompt, qn_arena *arena, qn_error *err)
{
    const qn_seq_generate_options *o = g->options;
    const float *scores;
    qn_nn_beam beam;
    qn_nn_beam_options how = {.beams = o->beams,
                              .vocab = g->seq->options.vocab,
                              .steps_max = g->most,
                              .stop = o->has_stop ? o->stop : -1,
                              .length_penalty = (double)o->length_penalty};
    int64_t *parents = QN_NEW(arena, int64_t, o->beams);
    if (!parents)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory for %lld beams", (long long)o->beams);
    QN_TRY(qn_nn_beam_init(&beam, &how, arena, err));
    QN_TRY(read_prompts(g, prompt, o->beams, &scores, err));
    while (qn_nn_beam_step(&beam, scores, parents, g->piece)) {
        qn_generator_reorder(g->generator, parents);
        for (int64_t row = 0; row < g->rows; row++)
            g->counts[row] = 1;
        QN_TRY(qn_generator_feed(g->generator, g->piece, g->counts, 1, &scores, err));
    }
    const qn_nn_beam_path *best = &beam.done[0];
    for (int64_t i = 0; i < best->length; i++)
        g->tokens[prompt * g->most + i] = (int32_t)best->tokens[i];
    g->made[prompt] = best->length;
    return QN_OK;
}

static qn_status run_generation(generation *g, qn_arena *arena, qn_error *err)
{
    const qn_seq_generate_options *o = g->options;
    bool beams = o->beams > 1;
    QN_TRY(check_prompts(g, o->beams, err));
    QN_TRY(qn_seq_need_pool(g->seq, o->threads, err));
    QN_TRY(need_generator(g, beams ? o->beams : g->count, err));
    QN_TRY(make_room(g, arena, err));
    if (!beams)
        return sample_all(g, err);
    for (int64_t i = 0; i < g->count; i++)
        QN_TRY(search(g, i, arena, err));
    return QN_OK;
}

qn_status qn_seq_generate(qn_seq *seq, const qn_seq_prompt *prompts, int64_t count,
                          const qn_seq_generate_options *options, int32_t *tokens,
                          int64_t *ret_counts, qn_error *err)
{
    static const qn_seq_generate_options defaults = {0};
    QN_TRY(qn_seq_usable(seq, err));
    generation g = {.seq = seq,
                    .prompts = prompts,
                    .options = options ? options : &defaults,
                    .count = count,
                    .tokens = tokens,
                    .made = ret_counts};
    qn_arena arena;
    g.most = g.options->tokens_max ? g.options->tokens_max : TOKENS_DEFAULT;
    for (int64_t i = 0; i < count; i++)
        ret_counts[i] = 0;
    qn_arena_init(&arena, 0);
    qn_flush_denormals();
    qn_status status = run_generation(&g, &arena, err);
    qn_arena_deinit(&arena);
    return status;
}
