/*
 * Sequence models in C (quern/sequence.h): made, checked, judged, kept. Fitting is in seq_fit.c, generation in
 * seq_generate.c.
 */
#include "train/seq_priv.h"

#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "nn/training.h"

enum { JUDGED_ROWS = 32 };

static int64_t either(int64_t given, int64_t fallback)
{
    return given != 0 ? given : fallback;
}

static qn_seq_options complete(const qn_seq_options *given)
{
    qn_seq_options o = *given;
    o.context = either(o.context, 64);
    o.width = either(o.width, 128);
    o.layers = either(o.layers, 4);
    o.heads = either(o.heads, 4);
    o.activation = o.activation == QN_LINEAR ? QN_GELU : o.activation;
    o.source_context = o.source_vocab ? either(o.source_context, o.context) : 0;
    o.seed = o.seed ? o.seed : 1;
    return o;
}

static qn_status check_options(const qn_seq_options *o, qn_error *err)
{
    const struct {
        const char *name;
        int64_t value, low;
    } sizes[] = {{"vocab", o->vocab, 1},
                 {"context", o->context, 1},
                 {"width", o->width, 1},
                 {"layers", o->layers, 1},
                 {"heads", o->heads, 1},
                 {"kv_heads", o->kv_heads, 0},
                 {"window", o->window, 0},
                 {"units", o->units, 0},
                 {"source_vocab", o->source_vocab, 0},
                 {"source_layers", o->source_layers, 0}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        if (sizes[i].value < sizes[i].low || sizes[i].value > 1 << 24)
            QN_FAIL(err, QN_ERR_ARG, "%s is %lld, expected %lld to %d", sizes[i].name,
                    (long long)sizes[i].value, (long long)sizes[i].low, 1 << 24);
    if ((int)o->kind < 0 || o->kind > QN_SEQ_LSTM || (int)o->positions < 0 ||
        o->positions > QN_POSITIONS_NONE)
        QN_FAIL(err, QN_ERR_ARG, "kind %d, positions %d: not of their lists", (int)o->kind,
                (int)o->positions);
    if (o->activation != QN_GELU && o->activation != QN_RELU && o->activation != QN_SILU)
        QN_FAIL(err, QN_ERR_ARG, "the feed-forward part takes QN_GELU, QN_RELU or QN_SILU");
    if (!(o->softcap >= 0 && o->softcap <= 1e6F))
        QN_FAIL(err, QN_ERR_ARG, "a softcap of %g is not in [0, 1e6]", (double)o->softcap);
    if (!(o->dropout >= 0 && o->dropout < 1))
        QN_FAIL(err, QN_ERR_ARG, "a dropout of %g is not in [0, 1)", (double)o->dropout);
    return QN_OK;
}

static qn_nn_sequence_options model_of(const qn_seq_options *o)
{
    const char *activation = o->swiglu                  ? "swiglu"
                             : o->activation == QN_RELU ? "relu"
                             : o->activation == QN_SILU ? "silu"
                                                        : "gelu";
    return (qn_nn_sequence_options){
        .kind = (qn_nn_sequence_kind)o->kind,
        .vocab = o->vocab,
        .context = o->context,
        .width = o->width,
        .positions = (qn_nn_sequence_positions)o->positions,
        .block = {.attention = {.heads = o->heads,
                                .kv_heads = o->kv_heads,
                                .window = o->window,
                                .softcap = (double)o->softcap,
                                .no_bias = o->no_bias},
                  .blocks = o->layers,
                  .units = o->units,
                  .activation = activation,
                  .dropout = (double)o->dropout,
                  .post_norm = o->post_norm,
                  .rms = o->rms_norm},
        .tied = o->tied,
        .source_vocab = o->source_vocab,
        .source_context = o->source_context,
        .source_blocks = o->source_layers,
    };
}

qn_value qn_seq_build(qn_graph *graph, const qn_nn_sequence_options *model, int64_t rows,
                      bool carried)
{
    qn_nn_sequence_inputs in = {QN_NONE, QN_NONE, QN_NONE, QN_NONE, QN_NONE, NULL, 0};
    in.tokens = qn_graph_input(graph, "input_ids", QN_DTYPE_I64, QN_SHAPE(rows, model->context));
    in.carried = carried ? rows : 0;
    if (model->source_vocab > 0) {
        in.source = qn_graph_input(graph, "source_ids", QN_DTYPE_I64,
                                   QN_SHAPE(rows, model->source_context));
        in.source_lengths = qn_graph_input(graph, "source_lengths", QN_DTYPE_I64, QN_SHAPE(rows));
    }
    return qn_nn_sequence(graph, model, &in);
}

static qn_status make_weights(qn_seq *seq, qn_error *err)
{
    qn_graph *graph = qn_graph_create();
    if (!graph)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    (void)qn_seq_build(graph, &seq->model, QN_DIM_BATCH, false);
    qn_status status = qn_graph_check(graph, err);
    if (status == QN_OK)
        status = qn_state_create(&seq->state, err);
    if (status == QN_OK)
        status = qn_state_add_graph(seq->state, graph, seq->options.seed, err);
    for (int i = 0; status == QN_OK && i < qn_state_count(seq->state); i++)
        seq->parameters += qn_shape_count(&qn_state_at(seq->state, i)->tensor.shape);
    qn_graph_destroy(graph);
    return status;
}

qn_seq *qn_seq_create(const qn_seq_options *options, qn_error *err)
{
    qn_seq_options chosen = complete(options);
    if (check_options(&chosen, err) != QN_OK)
        return NULL;
    qn_seq *seq = qn_alloc_zero(1, sizeof *seq);
    if (!seq) {
        (void)qn_error_set(err, QN_ERR_MEMORY, NULL, "out of memory");
        return NULL;
    }
    seq->options = chosen;
    seq->model = model_of(&chosen);
    if (make_weights(seq, err) != QN_OK) {
        qn_seq_destroy(seq);
        return NULL;
    }
    return seq;
}

void qn_seq_drop_made(qn_seq *seq)
{
    qn_generator_destroy(seq->generator);
    seq->generator = NULL;
}

void qn_seq_destroy(qn_seq *seq)
{
    if (!seq)
        return;
    qn_seq_drop_made(seq);
    if (seq->state)
        qn_state_destroy(seq->state);
    if (seq->pool)
        qn_pool_destroy(seq->pool);
    qn_free(seq);
}

int64_t qn_seq_parameters(const qn_seq *seq)
{
    return seq ? seq->parameters : 0;
}

qn_status qn_seq_usable(const qn_seq *seq, qn_error *err)
{
    if (!seq)
        QN_FAIL(err, QN_ERR_MEMORY, "the model is NULL: it could not be created");
    return QN_OK;
}

qn_status qn_seq_need_pool(qn_seq *seq, int threads, qn_error *err)
{
    if (seq->pool && seq->threads == threads)
        return QN_OK;
    qn_seq_drop_made(seq);
    if (seq->pool)
        qn_pool_destroy(seq->pool);
    seq->pool = NULL;
    seq->threads = threads;
    return qn_pool_create(threads, &seq->pool, err);
}

qn_status qn_seq_check_tokens(const char *what, const int32_t *tokens, int64_t count, int64_t vocab,
                              qn_error *err)
{
    for (int64_t i = 0; i < count; i++)
        if (tokens[i] < 0 || tokens[i] >= vocab)
            QN_FAIL(err, QN_ERR_ARG, "%s %lld is %d, expected 0 to %lld", what, (long long)i,
                    (int)tokens[i], (long long)vocab - 1);
    return QN_OK;
}

qn_status qn_seq_check_pairs(const qn_seq *seq, const qn_seq_pairs *pairs, qn_error *err)
{
    const qn_seq_options *o = &seq->options;
    if (o->source_vocab < 1)
        QN_FAIL(err, QN_ERR_ARG, "the model has no source: set source_vocab");
    if (pairs->count < 1)
        QN_FAIL(err, QN_ERR_ARG, "%lld pairs, expected 1 or more", (long long)pairs->count);
    for (int64_t i = 0; i < pairs->count; i++) {
        int64_t source = pairs->source_lengths[i], target = pairs->target_lengths[i];
        if (source < 1 || source > o->source_context || target < 2 || target > o->context + 1)
            QN_FAIL(err, QN_ERR_ARG,
                    "pair %lld has %lld and %lld tokens, expected 1 to %lld and 2 to %lld",
                    (long long)i, (long long)source, (long long)target,
                    (long long)o->source_context, (long long)o->context + 1);
        QN_TRY(qn_seq_check_tokens("source token", pairs->sources + i * o->source_context, source,
                                   o->source_vocab, err));
        QN_TRY(qn_seq_check_tokens("target token", pairs->targets + i * (o->context + 1), target,
                                   o->vocab, err));
    }
    return QN_OK;
}

/* Batches. */

static int64_t *input_of(const qn_plan *plan, const char *name)
{
    const qn_tensor *input = qn_plan_input(plan, name);
    return input ? input->data : NULL;
}

qn_seq_batch qn_seq_batch_of(const qn_seq *seq, const qn_plan *plan, int64_t rows)
{
    return (qn_seq_batch){.rows = rows,
                          .context = seq->options.context,
                          .source_context = seq->options.source_context,
                          .tokens = input_of(plan, "input_ids"),
                          .labels = input_of(plan, "train.target"),
                          .source = input_of(plan, "source_ids"),
                          .source_lengths = input_of(plan, "source_lengths")};
}

void qn_seq_batch_row(const qn_seq_batch *batch, int64_t row, const int32_t *tokens, int64_t count)
{
    QN_ASSERT(batch->tokens && batch->labels);
    int64_t *read = batch->tokens + row * batch->context;
    int64_t *labels = batch->labels + row * batch->context;
    for (int64_t i = 0; i < batch->context; i++) {
        read[i] = i + 1 < count ? tokens[i] : 0;
        labels[i] = i + 1 < count ? tokens[i + 1] : QN_NN_IGNORE_INDEX;
    }
}

void qn_seq_batch_pair(const qn_seq_batch *batch, int64_t row, const qn_seq_pairs *pairs,
                       int64_t pair)
{
    QN_ASSERT(batch->source && batch->source_lengths);
    const int32_t *source = pairs->sources + pair * batch->source_context;
    int64_t count = pairs->source_lengths[pair], *dst = batch->source + row * batch->source_context;
    qn_seq_batch_row(batch, row, pairs->targets + pair * (batch->context + 1),
                     pairs->target_lengths[pair]);
    for (int64_t i = 0; i < batch->source_context; i++)
        dst[i] = i < count ? source[i] : 0;
    batch->source_lengths[row] = count;
}

/* Judging. */

static qn_status judge_plan(qn_seq_judge *judge, qn_graph *graph, qn_state *state, qn_error *err)
{
    static const char *const outputs[] = {"train.loss"};
    qn_nn_training training = {.loss = {.kind = QN_NN_LOSS_CE}, .loss_only = true};
    qn_value scores = qn_seq_build(graph, &judge->seq->model, QN_DIM_BATCH, false);
    QN_TRY(qn_graph_check(graph, err));
    QN_TRY(qn_nn_training_add(graph, scores, &training, NULL, err));
    qn_plan_options options = {
        .batch = judge->rows, .pool = judge->seq->pool, .outputs = outputs, .outputs_count = 1};
    return qn_plan_create(graph, state, &options, &judge->plan, err);
}

qn_status qn_seq_judge_init(qn_seq_judge *judge, const qn_seq *seq, qn_state *state, qn_error *err)
{
    *judge = (qn_seq_judge){.seq = seq, .rows = JUDGED_ROWS};
    qn_graph *graph = qn_graph_create();
    if (!graph)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    qn_status status = judge_plan(judge, graph, state, err);
    qn_graph_destroy(graph);
    return status;
}

void qn_seq_judge_deinit(qn_seq_judge *judge)
{
    if (judge->plan)
        qn_plan_destroy(judge->plan);
    judge->plan = NULL;
}

/* The sum over `labels` labels of what the plan's inputs hold. */
static double run_judge(const qn_seq_judge *judge, int64_t labels)
{
    qn_plan_run(judge->plan, 0);
    const float *loss = qn_plan_output(judge->plan, "train.loss")->data;
    return (double)*loss * (double)labels;
}

double qn_seq_judge_text(const qn_seq_judge *judge, const int32_t *tokens, int64_t count)
{
    qn_seq_batch batch = qn_seq_batch_of(judge->seq, judge->plan, judge->rows);
    double sum = 0;
    for (int64_t at = 0; at + 1 < count; at += batch.rows * batch.context) {
        int64_t labels = qn_min_i64(batch.rows * batch.context, count - 1 - at);
        for (int64_t row = 0; row < batch.rows; row++) {
            int64_t first = at + row * batch.context;
            int64_t size = qn_min_i64(batch.context + 1, count - first);
            qn_seq_batch_row(&batch, row, tokens + first, size > 0 ? size : 0);
        }
        sum += run_judge(judge, labels);
    }
    return sum;
}

double qn_seq_judge_pairs(const qn_seq_judge *judge, const qn_seq_pairs *pairs)
{
    qn_seq_batch batch = qn_seq_batch_of(judge->seq, judge->plan, judge->rows);
    double sum = 0;
    for (int64_t at = 0; at < pairs->count; at += batch.rows) {
        int64_t labels = 0;
        for (int64_t row = 0; row < batch.rows; row++) {
            /* rows beyond the last pair repeat it without labels */
            int64_t pair = qn_min_i64(at + row, pairs->count - 1);
            qn_seq_batch_pair(&batch, row, pairs, pair);
            if (at + row >= pairs->count)
                qn_seq_batch_row(&batch, row, pairs->targets, 0);
            else
                labels += pairs->target_lengths[pair] - 1;
        }
        sum += run_judge(judge, labels);
    }
    return sum;
}

qn_status qn_seq_loss(qn_seq *seq, const int32_t *tokens, int64_t count, double *ret, qn_error *err)
{
    qn_seq_judge judge;
    QN_TRY(qn_seq_usable(seq, err));
    if (seq->options.source_vocab > 0)
        QN_FAIL(err, QN_ERR_ARG, "the model reads pairs: use qn_seq_loss_pairs");
    if (count < 2)
        QN_FAIL(err, QN_ERR_ARG, "%lld tokens, expected 2 or more", (long long)count);
    QN_TRY(qn_seq_check_tokens("token", tokens, count, seq->options.vocab, err));
    QN_TRY(qn_seq_need_pool(seq, seq->threads, err));
    qn_flush_denormals();
    qn_status status = qn_seq_judge_init(&judge, seq, seq->state, err);
    if (status == QN_OK)
        *ret = qn_seq_judge_text(&judge, tokens, count) / (double)(count - 1);
    qn_seq_judge_deinit(&judge);
    return status;
}

qn_status qn_seq_loss_pairs(qn_seq *seq, const qn_seq_pairs *pairs, double *ret, qn_error *err)
{
    qn_seq_judge judge;
    int64_t labels = 0;
    QN_TRY(qn_seq_usable(seq, err));
    QN_TRY(qn_seq_check_pairs(seq, pairs, err));
    QN_TRY(qn_seq_need_pool(seq, seq->threads, err));
    for (int64_t i = 0; i < pairs->count; i++)
        labels += pairs->target_lengths[i] - 1;
    qn_flush_denormals();
    qn_status status = qn_seq_judge_init(&judge, seq, seq->state, err);
    if (status == QN_OK)
        *ret = qn_seq_judge_pairs(&judge, pairs) / (double)labels;
    qn_seq_judge_deinit(&judge);
    return status;
}
