/*
 * Generation over plans (generate.h). Two plans share one state: one reads a token a row, the other a piece, the prompt
 * say. Positions of a row come from the caller's side, as the input "starts": what lies in a cache beyond them is never
 * looked at, so forgetting is setting a number.
 */
#include "train/generate.h"

#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"

static bool is_transformer(const qn_generator *g)
{
    return g->options.kind == QN_NN_SEQUENCE_TRANSFORMER;
}

/* States that hold what was read, row by row. */
static bool is_carried(const qn_generator *g, const qn_named_tensor *state)
{
    const char *dot = strrchr(state->name, '.');
    if (!dot)
        return false;
    return is_transformer(g) ? strcmp(dot, ".cached_key") == 0 || strcmp(dot, ".cached_value") == 0
                             : strcmp(dot, ".h") == 0 || strcmp(dot, ".c") == 0;
}

static qn_status build_step(const qn_generator *g, int64_t size, qn_graph *graph, qn_error *err)
{
    qn_shape each = QN_SHAPE(g->rows);
    qn_nn_cache cache = {.rows = g->rows,
                         .capacity = g->options.context,
                         .memory_capacity = g->options.source_context,
                         .starts = QN_NONE};
    qn_nn_sequence_inputs in = {QN_NONE, QN_NONE, QN_NONE, QN_NONE, QN_NONE, NULL, 0};
    in.tokens = qn_graph_input(graph, "tokens", QN_DTYPE_I64, QN_SHAPE(g->rows, size));
    in.last = qn_graph_input(graph, "last", QN_DTYPE_I64, each);
    if (is_transformer(g)) {
        cache.starts = qn_graph_input(graph, "starts", QN_DTYPE_I64, each);
        in.cache = &cache;
    } else {
        in.lengths = qn_graph_input(graph, "lengths", QN_DTYPE_I64, each);
        in.carried = g->rows;
    }
    if (g->options.source_vocab > 0)
        in.source_lengths = qn_graph_input(graph, "source_lengths", QN_DTYPE_I64, each);
    qn_value scores = qn_nn_sequence(graph, &g->options, &in);
    QN_TRY(qn_graph_check(graph, err));
    qn_graph_output(graph, "scores", scores);
    return qn_graph_check(graph, err);
}

static qn_status build_source(const qn_generator *g, qn_graph *graph, qn_error *err)
{
    int64_t size = g->options.source_context;
    qn_nn_cache cache = {.rows = g->rows,
                         .capacity = g->options.context,
                         .memory_capacity = size,
                         .starts = QN_NONE};
    qn_nn_sequence_inputs in = {QN_NONE, QN_NONE, QN_NONE, QN_NONE, QN_NONE, &cache, 0};
    in.source = qn_graph_input(graph, "source", QN_DTYPE_I64, QN_SHAPE(g->rows, size));
    in.source_lengths = qn_graph_input(graph, "source_lengths", QN_DTYPE_I64, QN_SHAPE(g->rows));
    qn_nn_sequence_remember(graph, &g->options, &in);
    return qn_graph_check(graph, err);
}

static qn_status copy_weights(qn_generator *g, const qn_state *weights, qn_error *err)
{
    for (int i = 0; i < qn_state_count(g->state); i++) {
        const char *name = qn_state_at(g->state, i)->name;
        const qn_named_tensor *from = qn_state_find(weights, name);
        if (from && !is_carried(g, from))
            QN_TRY(qn_state_set(g->state, name, &from->tensor, err));
    }
    return QN_OK;
}

static qn_status make_spare(qn_generator *g, qn_error *err)
{
    size_t most = 0;
    for (int i = 0; i < qn_state_count(g->state); i++) {
        const qn_named_tensor *state = qn_state_at(g->state, i);
        if (is_carried(g, state) && qn_tensor_bytes(&state->tensor) > most)
            most = qn_tensor_bytes(&state->tensor);
    }
    if (most < (size_t)g->rows * sizeof(int64_t))
        most = (size_t)g->rows * sizeof(int64_t);
    g->spare = qn_arena_alloc(&g->arena, most);
    g->read = QN_NEW(&g->arena, int64_t, g->rows);
    if (!g->spare || !g->read)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory to generate %lld rows", (long long)g->rows);
    return QN_OK;
}

static qn_status plan_of(qn_generator *g, const qn_graph *graph, qn_plan **ret, qn_error *err)
{
    qn_plan_options options = {.batch = g->rows, .pool = g->pool};
    QN_TRY(qn_state_add_graph(g->state, graph, 1, err));
    return qn_plan_create(graph, g->state, &options, ret, err);
}

/* A plan that reads `size` tokens a row, or the source where size is 0. */
static qn_status make_plan(qn_generator *g, int64_t size, qn_plan **ret, qn_error *err)
{
    qn_graph *graph = qn_graph_create();
    if (!graph)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    qn_status status = size > 0 ? build_step(g, size, graph, err) : build_source(g, graph, err);
    if (status == QN_OK)
        status = plan_of(g, graph, ret, err);
    qn_graph_destroy(graph);
    return status;
}

static qn_status open_generator(qn_generator *g, const qn_state *weights, qn_error *err)
{
    QN_TRY(qn_state_create(&g->state, err));
    if (g->options.source_vocab > 0)
        QN_TRY(make_plan(g, 0, &g->source_plan, err));
    QN_TRY(make_plan(g, 1, &g->step, err));
    QN_TRY(copy_weights(g, weights, err));
    return make_spare(g, err);
}

qn_status qn_generator_create(const qn_nn_sequence_options *options, const qn_state *weights,
                              int64_t rows, qn_pool *pool, qn_generator **ret, qn_error *err)
{
    qn_generator *g = qn_alloc_zero(1, sizeof *g);
    if (!g)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    g->options = *options;
    g->rows = rows;
    g->pool = pool;
    qn_arena_init(&g->arena, 0);
    qn_status status = open_generator(g, weights, err);
    if (status != QN_OK) {
        qn_generator_destroy(g);
        return status;
    }
    *ret = g;
    return QN_OK;
}

void qn_generator_destroy(qn_generator *g)
{
    if (!g)
        return;
    qn_plan *plans[] = {g->step, g->piece, g->source_plan};
    for (int i = 0; i < 3; i++)
        if (plans[i])
            qn_plan_destroy(plans[i]);
    if (g->state)
        qn_state_destroy(g->state);
    qn_arena_deinit(&g->arena);
    qn_free(g);
}

void qn_generator_reset(qn_generator *g)
{
    memset(g->read, 0, (size_t)g->rows * sizeof *g->read);
    for (int i = 0; i < qn_state_count(g->state) && !is_transformer(g); i++) {
        const qn_named_tensor *state = qn_state_at(g->state, i);
        if (is_carried(g, state))
            memset(state->tensor.data, 0, qn_tensor_bytes(&state->tensor));
    }
}

void qn_generator_rewind(qn_generator *g, int64_t row)
{
    g->read[row] = 0;
}

static int64_t *find_input(const qn_plan *plan, const char *name)
{
    const qn_tensor *input = qn_plan_input(plan, name);
    return input ? input->data : NULL;
}

static void set_source_lengths(qn_generator *g, const qn_plan *plan, const int64_t *lengths)
{
    int64_t *dst = plan ? find_input(plan, "source_lengths") : NULL;
    if (dst)
        memcpy(dst, lengths, (size_t)g->rows * sizeof *dst);
}

void qn_generator_source(qn_generator *g, const int64_t *source, const int64_t *lengths)
{
    size_t count = (size_t)(g->rows * g->options.source_context);
    memcpy(find_input(g->source_plan, "source"), source, count * sizeof *source);
    set_source_lengths(g, g->source_plan, lengths);
    set_source_lengths(g, g->step, lengths);
    set_source_lengths(g, g->piece, lengths);
    qn_plan_run(g->source_plan, 0);
}

/* A plan for pieces of `size`; the lengths of the source go with it. */
static qn_status need_piece(qn_generator *g, int64_t size, qn_error *err)
{
    if (g->piece && g->piece_size == size)
        return QN_OK;
    if (g->piece)
        qn_plan_destroy(g->piece);
    g->piece = NULL;
    QN_TRY(make_plan(g, size, &g->piece, err));
    g->piece_size = size;
    if (g->source_plan)
        set_source_lengths(g, g->piece, find_input(g->source_plan, "source_lengths"));
    return QN_OK;
}

/* What a plan's inputs say of each row. */
static void fill_rows(const qn_generator *g, const qn_plan *plan, const int64_t *counts,
                      int64_t size)
{
    int64_t *starts = find_input(plan, "starts"), *lengths = find_input(plan, "lengths");
    int64_t *last = find_input(plan, "last");
    for (int64_t row = 0; row < g->rows; row++) {
        last[row] = row * size + (counts[row] > 0 ? counts[row] - 1 : 0);
        if (starts)
            starts[row] = g->read[row];
        if (lengths)
            lengths[row] = counts[row];
    }
}

qn_status qn_generator_feed(qn_generator *g, const int64_t *tokens, const int64_t *counts,
                            int64_t size, const float **ret_scores, qn_error *err)
{
    for (int64_t row = 0; row < g->rows && is_transformer(g); row++)
        if (counts[row] > g->options.context - g->read[row])
            QN_FAIL(err, QN_ERR_ARG, "%lld tokens after %lld that were read: the context is %lld",
                    (long long)counts[row], (long long)g->read[row], (long long)g->options.context);
    if (size > 1)
        QN_TRY(need_piece(g, size, err));
    qn_plan *plan = size > 1 ? g->piece : g->step;
    memcpy(find_input(plan, "tokens"), tokens, (size_t)(g->rows * size) * sizeof *tokens);
    fill_rows(g, plan, counts, size);
    qn_plan_run(plan, 0);
    for (int64_t row = 0; row < g->rows; row++)
        g->read[row] += counts[row];
    *ret_scores = qn_plan_output(plan, "scores")->data;
    return QN_OK;
}

void qn_generator_reorder(qn_generator *g, const int64_t *parents)
{
    bool same = true;
    for (int64_t row = 0; row < g->rows; row++)
        same = same && parents[row] == row;
    for (int i = 0; i < qn_state_count(g->state) && !same; i++) {
        const qn_named_tensor *state = qn_state_at(g->state, i);
        if (!is_carried(g, state))
            continue;
        size_t row_bytes = qn_tensor_bytes(&state->tensor) / (size_t)g->rows;
        char *rows = state->tensor.data;
        memcpy(g->spare, rows, qn_tensor_bytes(&state->tensor));
        for (int64_t row = 0; row < g->rows; row++)
            if (parents[row] != row)
                memcpy(rows + (size_t)row * row_bytes, g->spare + (size_t)parents[row] * row_bytes,
                       row_bytes);
    }
    int64_t *read = (int64_t *)(void *)g->spare;
    memcpy(read, g->read, (size_t)g->rows * sizeof *read);
    for (int64_t row = 0; row < g->rows; row++)
        g->read[row] = read[parents[row]];
}
