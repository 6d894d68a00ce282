/*
 * Times training steps on random data: forward, backward and update as one plan, built with the layers that recipes use;
 * or measures the memory of such steps. Also what a plan costs beside its kernels. bench/run runs it in turn with
 * torch_step.py, which has the same networks.
 *
 * usage: step_bench CASE[_bf16] THREADS [SECONDS | memory]
 * One line of JSON: median and least microseconds of a step; or by how many bytes the peak of resident memory during some steps is
 * above what it was before any weight existed, and how many were stated: weights, the optimiser's, and the plan's.
 */
#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "graph/graph.h"
#include "graph/plan.h"
#include "graph/state.h"
#include "nn/layers.h"
#include "nn/recurrent.h"
#include "nn/training.h"
#include "nn/transformer.h"
#include "os/clock.h"
#include "os/pool.h"

enum { STEPS_MIN = 7, STEPS_MAX = 1000, WARM = 3, CHAIN = 1000 };

typedef struct {
    int64_t batch, steps, width, classes;
    int64_t blocks, heads, units; /* of transformers */
} sizes;

typedef struct {
    const char *name;
    sizes size;
    qn_value (*build)(qn_graph *graph, const sizes *size);
} bench_case;

static qn_value numbers(qn_graph *graph, const sizes *s)
{
    return qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SHAPE(QN_DIM_BATCH, s->steps, s->width));
}

static qn_value classify(qn_graph *graph, qn_value x, int64_t classes)
{
    return qn_nn_dense(&(qn_nn_scope){graph, "head", NULL}, x,
                       &(qn_nn_dense_options){.units = classes});
}

static qn_value recurrent(qn_graph *graph, const sizes *s, qn_nn_recurrent_kind kind)
{
    qn_nn_recurrent_options options = {.kind = kind, .units = s->units};
    qn_value x = qn_nn_recurrent(&(qn_nn_scope){graph, "rnn", NULL}, numbers(graph, s), QN_NONE,
                                 QN_NONE, QN_NONE, &options);
    return classify(graph, x, s->classes);
}

static qn_value build_lstm(qn_graph *graph, const sizes *s)
{
    return recurrent(graph, s, QN_NN_LSTM);
}

static qn_value build_gru(qn_graph *graph, const sizes *s)
{
    return recurrent(graph, s, QN_NN_GRU);
}

/* torch.nn.TransformerEncoderLayer without dropout. */
static qn_value build_encoder(qn_graph *graph, const sizes *s)
{
    qn_nn_transformer_options options = {.attention = {.heads = s->heads},
                                         .blocks = s->blocks,
                                         .units = s->units,
                                         .activation = "relu",
                                         .post_norm = true};
    qn_value x = qn_nn_transformer(&(qn_nn_scope){graph, "encoder", NULL}, numbers(graph, s),
                                   QN_NONE, &options);
    return classify(graph, x, s->classes);
}

/* GPT-2: learned positions, norms before branches, the embedding again as the last product. */
static qn_value build_language(qn_graph *graph, const sizes *s)
{
    qn_nn_transformer_options options = {.attention = {.heads = s->heads, .causal = true},
                                         .blocks = s->blocks,
                                         .activation = "gelu_tanh"};
    qn_value x = qn_graph_input(graph, "x", QN_DTYPE_I64, QN_SHAPE(QN_DIM_BATCH, s->steps));
    x = qn_nn_embedding(&(qn_nn_scope){graph, "tokens", NULL}, x, s->classes, s->width,
                        QN_NN_EMBEDDING_UNIFORM);
    x = qn_nn_positions(&(qn_nn_scope){graph, "positions", NULL}, x, QN_NN_POSITIONS_LEARNED);
    x = qn_nn_transformer(&(qn_nn_scope){graph, "body", NULL}, x, QN_NONE, &options);
    qn_value factors[2] = {x, qn_graph_find(graph, "tokens.weight")};
    qn_attr turned = QN_ATTR_I("transB", 1);
    return qn_graph_node(graph, "MatMul", factors, 2, &turned, 1);
}

/* The networks of fit_bench.c whose memory is measured here. */
static qn_value build_list(qn_graph *graph, qn_value x, const char *list)
{
    qn_error err;
    qn_arena arena;
    qn_json layers;
    qn_value y = QN_NONE;
    qn_nn_layers_options options = {0};
    qn_arena_init(&arena, 0);
    if (qn_json_read(qn_str_from(list), NULL, &arena, &layers, &err) != QN_OK ||
        qn_nn_layers_build(graph, x, &layers, &options, &y, NULL, &err) != QN_OK)
        y = QN_NONE;
    qn_arena_deinit(&arena);
    return y;
}

static qn_value build_mlp(qn_graph *graph, const sizes *s)
{
    (void)s;
    qn_value x = qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SHAPE(QN_DIM_BATCH, 784));
    return build_list(
        graph, x,
        "[{\"dense\": {\"units\": 128, \"activation\": \"relu\"}}, {\"dense\": {\"units\": 10}}]");
}

static qn_value build_cnn_deep(qn_graph *graph, const sizes *s)
{
    (void)s;
    qn_value x = qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SHAPE(QN_DIM_BATCH, 28, 28, 1));
    return build_list(
        graph, x,
        "[{\"conv2d\": {\"filters\": 32, \"kernel\": 3, \"padding\": \"same\", \"activation\": "
        "\"relu\"}},"
        "\"max_pool2d\","
        "{\"conv2d\": {\"filters\": 64, \"kernel\": 3, \"padding\": \"same\", \"activation\": "
        "\"relu\"}},"
        "\"max_pool2d\", \"flatten\", {\"dense\": {\"units\": 128, \"activation\": \"relu\"}},"
        "{\"dense\": {\"units\": 10}}]");
}

static const bench_case cases[] = {
    {"mlp", {32, .classes = 10}, build_mlp},
    {"cnn_deep", {32, .classes = 10}, build_cnn_deep},
    {"lstm", {32, 100, 28, 10, .units = 128}, build_lstm},
    {"gru", {32, 100, 28, 10, .units = 128}, build_gru},
    {"encoder", {16, 128, 256, 10, 1, 8, 1024}, build_encoder},
    {"gpt2", {4, 64, 768, 50257, 12, 12, 0}, build_language},
    {"char", {12, 64, 128, 65, 4, 4, 0}, build_language},
};

/* Numbers in [-1, 1), or labels below `limit`; always the same. */
static void fill(const qn_tensor *tensor, int64_t limit)
{
    int64_t count = qn_shape_count(&tensor->shape);
    uint32_t bits = 1;
    for (int64_t i = 0; i < count; i++) {
        bits = bits * 1664525U + 1013904223U;
        if (tensor->dtype == QN_DTYPE_I64)
            ((int64_t *)tensor->data)[i] = (int64_t)((bits >> 8) % (uint32_t)limit);
        else
            ((float *)tensor->data)[i] = (float)(bits >> 8) / (float)(1 << 23) - 1;
    }
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

typedef struct {
    double median_us, least_us;
    int64_t allocations;
} timing;

static timing time_plan(qn_plan *plan, double seconds)
{
    static double laps[STEPS_MAX];
    uint32_t step = 0;
    int count = 0;
    for (; step < WARM; step++)
        qn_plan_run(plan, step);
    int64_t before = qn_alloc_count(), began = qn_now_ns();
    while (count < STEPS_MIN ||
           (count < STEPS_MAX && (double)(qn_now_ns() - began) < seconds * 1e9)) {
        int64_t start = qn_now_ns();
        qn_plan_run(plan, step++);
        laps[count++] = (double)(qn_now_ns() - start) / 1e3;
    }
    int64_t allocations = qn_alloc_count() - before;
    qsort(laps, (size_t)count, sizeof *laps, compare_doubles);
    return (timing){laps[count / 2], laps[0], allocations};
}

/* A case and its precision: "NAME" or "NAME_bf16". */
static bool case_is(const char *word, const char *name, bool *ret_bf16)
{
    size_t size = strlen(name);
    *ret_bf16 = strncmp(word, name, size) == 0 && strcmp(word + size, "_bf16") == 0;
    return *ret_bf16 || strcmp(word, name) == 0;
}

typedef struct {
    qn_graph *graph;
    qn_state *state;
    qn_plan *plan;
} session;

static void close_session(session *s)
{
    qn_plan_destroy(s->plan);
    qn_state_destroy(s->state);
    qn_graph_destroy(s->graph);
}

/* The network and its training as a graph; closed by the caller whatever came of it. */
static qn_status describe(const bench_case *chosen, const sizes *size, session *s, qn_error *err)
{
    qn_nn_training training = {.loss = {.kind = QN_NN_LOSS_CE},
                               .optimizer = qn_nn_optimizer_default(QN_NN_ADAMW)};
    *s = (session){.graph = qn_graph_create()};
    qn_value logits = chosen->build(s->graph, size);
    QN_TRY(qn_graph_check(s->graph, err));
    return qn_nn_training_add(s->graph, logits, &training, NULL, err);
}

/* Weights, moments and plan, filled and ready to run. */
static qn_status prepare(const sizes *size, bool bf16, qn_pool *pool, session *s, qn_error *err)
{
    QN_TRY(qn_state_create(&s->state, err));
    QN_TRY(qn_state_add_graph(s->state, s->graph, 1, err));
    qn_plan_options options = {
        .batch = size->batch, .training = true, .bf16 = bf16, .seed = 1, .pool = pool};
    QN_TRY(qn_plan_create(s->graph, s->state, &options, &s->plan, err));
    fill(qn_plan_input(s->plan, "x"), size->classes);
    fill(qn_plan_input(s->plan, "train.target"), size->classes);
    *(float *)qn_plan_input(s->plan, "train.lr")->data = 1e-4F;
    return QN_OK;
}

static qn_status time_steps(const bench_case *chosen, bool bf16, qn_pool *pool, double seconds,
                            session *s, qn_error *err)
{
    QN_TRY(describe(chosen, &chosen->size, s, err));
    QN_TRY(prepare(&chosen->size, bf16, pool, s, err));
    timing t = time_plan(s->plan, seconds);
    printf("{\"case\": \"%s%s\", \"step_us\": %.3f, \"least_us\": %.3f, \"allocations\": %lld, "
           "\"plan_mb\": %.1f, \"gflop\": %.3f, \"loss\": %.4f}\n",
           chosen->name, bf16 ? "_bf16" : "", t.median_us, t.least_us, (long long)t.allocations,
           (double)qn_plan_bytes(s->plan) / 1e6, (double)qn_plan_flops(s->plan) / 1e9,
           (double)*(const float *)qn_plan_output(s->plan, "train.loss")->data);
    if (getenv("STEP_BENCH_PLAN")) {
        qn_buf text;
        qn_buf_init(&text, 1 << 22);
        qn_plan_print(s->plan, &text);
        fprintf(stderr, "%.*s\n", (int)text.size, (const char *)text.data);
        qn_buf_deinit(&text);
    }
    return QN_OK;
}

/* Forgets the peak so far. */
static void reset_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");
    if (file) {
        fputs("5", file);
        fclose(file);
    }
}

static int64_t peak_bytes(void)
{
    char line[128];
    long long kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file) && sscanf(line, "VmHWM: %lld", &kib) != 1)
        ;
    if (file)
        fclose(file);
    return (int64_t)kib * 1024;
}

/* A small network of the same kind first, so that code has been loaded. */
static qn_status measure_steps(const bench_case *chosen, bool bf16, qn_pool *pool, session *s,
                               qn_error *err)
{
    sizes small = chosen->size;
    small.batch = 1;
    small.steps = small.steps > 8 ? 8 : small.steps;
    if (small.blocks > 1) {
        small.blocks = 1;
        small.classes = 65;
        small.width = 128;
        small.heads = 4;
    }
    QN_TRY(describe(chosen, &small, s, err));
    QN_TRY(prepare(&small, bf16, pool, s, err));
    qn_plan_run(s->plan, 0);
    close_session(s);
    QN_TRY(describe(chosen, &chosen->size, s, err));
    malloc_trim(0);
    reset_peak();
    int64_t before = peak_bytes(), weights = 0;
    QN_TRY(prepare(&chosen->size, bf16, pool, s, err));
    malloc_trim(0); /* the passes that made the plan are no part of a step */
    reset_peak();
    for (uint32_t step = 0; step < WARM; step++)
        qn_plan_run(s->plan, step);
    int64_t grown = peak_bytes() - before;
    for (int i = 0; i < qn_state_count(s->state); i++)
        weights += (int64_t)qn_tensor_bytes(&qn_state_at(s->state, i)->tensor);
    printf("{\"case\": \"%s%s\", \"grown_mb\": %.3f, \"stated_mb\": %.3f, \"plan_mb\": %.3f}\n",
           chosen->name, bf16 ? "_bf16" : "", (double)grown / 1e6,
           (double)(weights + qn_plan_bytes(s->plan)) / 1e6, (double)qn_plan_bytes(s->plan) / 1e6);
    return QN_OK;
}

/* A chain of nodes on one number: what is left is the plan's walk and each kernel's own entry. */
static qn_status run_chain(qn_pool *pool, double seconds, session *s, qn_error *err)
{
    *s = (session){.graph = qn_graph_create()};
    qn_value x = qn_graph_input(s->graph, "x", QN_DTYPE_F32, QN_SHAPE(1));
    for (int i = 0; i < CHAIN; i++)
        x = qn_graph_op1(s->graph, "Neg", x);
    qn_graph_output(s->graph, "y", x);
    QN_TRY(qn_graph_check(s->graph, err));
    QN_TRY(qn_state_create(&s->state, err));
    qn_plan_options options = {.batch = 1, .pool = pool};
    QN_TRY(qn_plan_create(s->graph, s->state, &options, &s->plan, err));
    timing t = time_plan(s->plan, seconds);
    int calls = qn_plan_calls(s->plan);
    printf("{\"case\": \"plan\", \"node_ns\": %.3f, \"least_ns\": %.3f, \"nodes\": %d, "
           "\"allocations\": %lld}\n",
           t.median_us * 1e3 / calls, t.least_us * 1e3 / calls, calls, (long long)t.allocations);
    return QN_OK;
}

/* `what`: seconds, or "memory". */
static qn_status run(const char *name, int threads, const char *what, qn_error *err)
{
    const bench_case *chosen = NULL;
    bool bf16 = false;
    for (size_t i = 0; !chosen && i < sizeof(cases) / sizeof(cases[0]); i++)
        if (case_is(name, cases[i].name, &bf16))
            chosen = &cases[i];
    if (!chosen && strcmp(name, "plan") != 0)
        QN_FAIL(err, QN_ERR_ARG,
                "no case '%s'; there are mlp cnn_deep lstm gru encoder gpt2 char plan", name);
    qn_pool *pool = NULL;
    session s = {0};
    double seconds = strtod(what, NULL);
    QN_TRY(qn_pool_create(threads, &pool, err));
    qn_status status = !chosen ? run_chain(pool, seconds, &s, err)
                       : strcmp(what, "memory") == 0
                           ? measure_steps(chosen, bf16, pool, &s, err)
                           : time_steps(chosen, bf16, pool, seconds, &s, err);
    close_session(&s);
    qn_pool_destroy(pool);
    return status;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr,
                "usage: step_bench mlp|cnn_deep|lstm|gru|encoder|gpt2|char[_bf16]|plan THREADS "
                "[SECONDS|memory]\n");
        return 2;
    }
    qn_error err = {0};
    qn_status status =
        run(argv[1], (int)strtol(argv[2], NULL, 10), argc > 3 ? argv[3] : "1.5", &err);
    if (status != QN_OK)
        fprintf(stderr, "step_bench: %s\n", err.text);
    return status != QN_OK;
}
