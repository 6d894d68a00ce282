/*
 * Asking a sequence model for scores, and keeping it: a model folder whose graph any reader can run, with the options
 * beside it from which the other graphs are made again.
 */
#include "train/seq_priv.h"

#include <string.h>

#include "base/json.h"
#include "model/folder.h"
#include "nn/losses.h"
#include "train/net_priv.h"

/* --- scores --- */

static qn_status check_one(const qn_seq *seq, const int32_t *source, int64_t source_count,
                           const int32_t *tokens, int64_t count, qn_error *err)
{
    const qn_seq_options *o = &seq->options;
    if (count < 1 || count > o->context)
        QN_FAIL(err, QN_ERR_ARG, "%lld tokens, expected 1 to %lld", (long long)count,
                (long long)o->context);
    QN_TRY(qn_seq_check_tokens("token", tokens, count, o->vocab, err));
    if (o->source_vocab < 1)
        return QN_OK;
    if (!source || source_count < 1 || source_count > o->source_context)
        QN_FAIL(err, QN_ERR_ARG, "a source of %lld tokens, expected 1 to %lld",
                (long long)source_count, (long long)o->source_context);
    return qn_seq_check_tokens("source token", source, source_count, o->source_vocab, err);
}

static qn_status score_plan(qn_seq *seq, qn_graph *graph, qn_plan **ret, qn_error *err)
{
    qn_value scores = qn_seq_build(graph, &seq->model, 1, false);
    QN_TRY(qn_graph_check(graph, err));
    qn_graph_output(graph, "logits", scores);
    qn_plan_options options = {.batch = 1, .pool = seq->pool};
    return qn_plan_create(graph, seq->state, &options, ret, err);
}

static void run_scores(const qn_seq *seq, qn_plan *plan, const int32_t *source,
                       int64_t source_count, const int32_t *tokens, int64_t count, float *scores)
{
    qn_seq_batch batch = qn_seq_batch_of(seq, plan, 1);
    for (int64_t i = 0; i < batch.context; i++)
        batch.tokens[i] = i < count ? tokens[i] : 0;
    for (int64_t i = 0; batch.source && i < batch.source_context; i++)
        batch.source[i] = i < source_count ? source[i] : 0;
    if (batch.source)
        batch.source_lengths[0] = source_count;
    qn_plan_run(plan, 0);
    memcpy(scores, qn_plan_output(plan, "logits")->data,
           (size_t)(count * seq->options.vocab) * sizeof *scores);
}

qn_status qn_seq_scores(qn_seq *seq, const int32_t *source, int64_t source_count,
                        const int32_t *tokens, int64_t count, float *scores, qn_error *err)
{
    qn_plan *plan = NULL;
    QN_TRY(qn_seq_usable(seq, err));
    QN_TRY(check_one(seq, source, source_count, tokens, count, err));
    QN_TRY(qn_seq_need_pool(seq, seq->threads, err));
    qn_graph *graph = qn_graph_create();
    if (!graph)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    qn_flush_denormals();
    qn_status status = score_plan(seq, graph, &plan, err);
    if (status == QN_OK)
        run_scores(seq, plan, source, source_count, tokens, count, scores);
    if (plan)
        qn_plan_destroy(plan);
    qn_graph_destroy(graph);
    return status;
}

/* --- the options as JSON --- */

static const char *const kind_names[] = {"transformer", "rnn", "gru", "lstm"};
static const char *const position_names[] = {"learned", "sinusoidal", "rotary", "alibi", "none"};
static const char *const activation_names[] = {
    [QN_RELU] = "relu", [QN_GELU] = "gelu", [QN_SILU] = "silu"};

typedef struct {
    const char *name;
    int64_t *integer; /* or */
    bool *flag;
} field;
enum { INTEGERS = 10, FLAGS = 5, FIELDS = INTEGERS + FLAGS };

/* Every number and flag by its name: written and read by the same list. */
static void list_fields(qn_seq_options *o, field fields[FIELDS])
{
    const field all[FIELDS] = {
        {"vocab", &o->vocab, NULL},
        {"context", &o->context, NULL},
        {"width", &o->width, NULL},
        {"layers", &o->layers, NULL},
        {"heads", &o->heads, NULL},
        {"kv_heads", &o->kv_heads, NULL},
        {"window", &o->window, NULL},
        {"units", &o->units, NULL},
        {"source_vocab", &o->source_vocab, NULL},
        {"source_layers", &o->source_layers, NULL},
        {"swiglu", NULL, &o->swiglu},
        {"post_norm", NULL, &o->post_norm},
        {"rms_norm", NULL, &o->rms_norm},
        {"no_bias", NULL, &o->no_bias},
        {"tied", NULL, &o->tied},
    };
    memcpy(fields, all, sizeof all);
}

static void write_options(const qn_seq *seq, qn_buf *dst)
{
    qn_seq_options o = seq->options;
    field fields[FIELDS];
    qn_json_writer w;
    qn_json_write_init(&w, dst);
    qn_json_object_begin(&w);
    qn_json_key(&w, "sequence");
    qn_json_text(&w, kind_names[o.kind]);
    qn_json_key(&w, "positions");
    qn_json_text(&w, position_names[o.positions]);
    qn_json_key(&w, "activation");
    qn_json_text(&w, activation_names[o.activation]);
    qn_json_key(&w, "dropout");
    qn_json_f32(&w, o.dropout);
    qn_json_key(&w, "softcap");
    qn_json_f32(&w, o.softcap);
    qn_json_key(&w, "source_context");
    qn_json_i64(&w, o.source_context);
    list_fields(&o, fields);
    for (int i = 0; i < FIELDS; i++) {
        qn_json_key(&w, fields[i].name);
        if (fields[i].integer)
            qn_json_i64(&w, *fields[i].integer);
        else
            qn_json_bool(&w, *fields[i].flag);
    }
    qn_json_object_end(&w);
}

static qn_status read_word(const qn_json *json, const char *key, const char *const *words,
                           int count, int *ret, qn_error *err)
{
    qn_str word;
    QN_TRY(qn_json_get_str(json, key, true, &word, err));
    for (int i = 0; i < count; i++)
        if (words[i] && qn_str_is(word, words[i])) {
            *ret = i;
            return QN_OK;
        }
    QN_FAIL(err, QN_ERR_DATA, "\"net\": \"%s\" is \"%.*s\"", key, (int)word.size, word.data);
}

static qn_status read_options(const qn_json *json, qn_seq_options *o, qn_error *err)
{
    int kind = 0, positions = 0, activation = 0;
    double dropout = 0, softcap = 0;
    field fields[FIELDS];
    QN_TRY(read_word(json, "sequence", kind_names, 4, &kind, err));
    QN_TRY(read_word(json, "positions", position_names, 5, &positions, err));
    QN_TRY(read_word(json, "activation", activation_names, QN_SILU + 1, &activation, err));
    QN_TRY(qn_json_get_f64(json, "dropout", true, &dropout, err));
    QN_TRY(qn_json_get_f64(json, "softcap", false, &softcap, err));
    QN_TRY(qn_json_get_i64(json, "source_context", true, &o->source_context, err));
    list_fields(o, fields);
    for (int i = 0; i < INTEGERS; i++)
        QN_TRY(qn_json_get_i64(json, fields[i].name, true, fields[i].integer, err));
    for (int i = INTEGERS; i < FIELDS; i++)
        QN_TRY(qn_json_get_bool(json, fields[i].name, true, fields[i].flag, err));
    o->kind = (qn_seq_kind)kind;
    o->positions = (qn_positions)positions;
    o->activation = (qn_activation)activation;
    o->dropout = (float)dropout;
    o->softcap = (float)softcap;
    return QN_OK;
}

/* --- folders --- */

qn_status qn_seq_save(const qn_seq *seq, const char *folder, qn_error *err)
{
    QN_TRY(qn_seq_usable(seq, err));
    qn_graph *graph = qn_graph_create();
    if (!graph)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    qn_value scores = qn_seq_build(graph, &seq->model, QN_DIM_BATCH, false);
    if (scores != QN_NONE)
        qn_graph_output(graph, "logits", scores);
    qn_buf text;
    qn_buf_init(&text, 0);
    write_options(seq, &text);
    qn_status status = qn_graph_check(graph, err);
    if (status == QN_OK)
        status = qn_net_write_folder(folder, graph, seq->state, &text, err);
    qn_buf_deinit(&text);
    qn_graph_destroy(graph);
    return status;
}

/* Weights by name and type: a folder is not trusted. */
static qn_status take_weights(qn_seq *seq, const qn_folder_model *model, qn_error *err)
{
    for (int i = 0; i < qn_state_count(seq->state); i++) {
        const char *name = qn_state_at(seq->state, i)->name;
        const qn_named_tensor *from = qn_state_find(model->state, name);
        if (!from)
            return qn_error_set(err, QN_ERR_DATA, model->path, "the weights have no '%s'", name);
        QN_TRY(qn_state_set(seq->state, name, &from->tensor, err));
    }
    return QN_OK;
}

static qn_status load(const char *folder, qn_arena *arena, qn_seq **ret, qn_error *err)
{
    qn_folder_model model;
    qn_seq_options options = {0};
    QN_TRY(qn_folder_read(folder, 0, arena, &model, err));
    qn_status status = QN_OK;
    if (!model.net || !qn_json_find(model.net, "sequence"))
        status = qn_error_set(err, QN_ERR_ARG, model.path,
                              "the model was not written by qn_seq_save; open it with "
                              "qn_model_open");
    if (status == QN_OK)
        status = read_options(model.net, &options, err);
    if (status == QN_OK)
        *ret = qn_seq_create(&options, err);
    if (status == QN_OK && !*ret)
        status = err ? err->code : QN_ERR_DATA;
    if (status == QN_OK)
        status = take_weights(*ret, &model, err);
    qn_folder_model_deinit(&model);
    return status;
}

qn_seq *qn_seq_load(const char *folder, qn_error *err)
{
    qn_seq *seq = NULL;
    qn_arena arena;
    qn_arena_init(&arena, 0);
    if (load(folder, &arena, &seq, err) != QN_OK) {
        qn_seq_destroy(seq);
        seq = NULL;
    }
    qn_arena_deinit(&arena);
    return seq;
}
