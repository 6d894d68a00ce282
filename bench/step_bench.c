/*
 * Times training steps of sequence networks on random data: forward, backward and update as one plan, built with the
 * layers that recipes use. Also what a plan costs beside its kernels. bench/run runs it in turn with torch_step.py,
 * which has the same networks.
 *
 * usage: step_bench CASE[_bf16] THREADS [SECONDS]     one line of JSON: median and least microseconds of a step
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
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

static const bench_case cases[] = {
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

static qn_status run_steps(const bench_case *chosen, bool bf16, qn_graph *graph, qn_state *state,
                           qn_pool *pool, double seconds, qn_error *err)
{
    qn_nn_training training = {.loss = {.kind = QN_NN_LOSS_CE},
                               .optimizer = qn_nn_optimizer_default(QN_NN_ADAMW)};
    qn_value logits = chosen->build(graph, &chosen->size);
    QN_TRY(qn_graph_check(graph, err));
    QN_TRY(qn_nn_training_add(graph, logits, &training, NULL, err));
    QN_TRY(qn_state_add_graph(state, graph, 1, err));
    qn_plan *plan = NULL;
    qn_plan_options options = {
        .batch = chosen->size.batch, .training = true, .bf16 = bf16, .seed = 1, .pool = pool};
    QN_TRY(qn_plan_create(graph, state, &options, &plan, err));
    fill(qn_plan_input(plan, "x"), chosen->size.classes);
    fill(qn_plan_input(plan, "train.target"), chosen->size.classes);
    *(float *)qn_plan_input(plan, "train.lr")->data = 1e-4F;
    timing t = time_plan(plan, seconds);
    printf("{\"case\": \"%s%s\", \"step_us\": %.3f, \"least_us\": %.3f, \"allocations\": %lld, "
           "\"plan_mb\": %.1f, \"gflop\": %.3f, \"loss\": %.4f}\n",
           chosen->name, bf16 ? "_bf16" : "", t.median_us, t.least_us, (long long)t.allocations,
           (double)qn_plan_bytes(plan) / 1e6, (double)qn_plan_flops(plan) / 1e9,
           (double)*(const float *)qn_plan_output(plan, "train.loss")->data);
    if (getenv("STEP_BENCH_PLAN")) {
        qn_buf text;
        qn_buf_init(&text, 1 << 22);
        qn_plan_print(plan, &text);
        fprintf(stderr, "%.*s\n", (int)text.size, (const char *)text.data);
        qn_buf_deinit(&text);
    }
    qn_plan_destroy(plan);
    return QN_OK;
}

/* A chain of nodes on one number: what is left is the plan's walk and each kernel's own entry. */
static qn_status run_chain(qn_graph *graph, qn_state *state, qn_pool *pool, double seconds,
                           qn_error *err)
{
    qn_value x = qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SHAPE(1));
    for (int i = 0; i < CHAIN; i++)
        x = qn_graph_op1(graph, "Neg", x);
    qn_graph_output(graph, "y", x);
    QN_TRY(qn_graph_check(graph, err));
    qn_plan *plan = NULL;
    QN_TRY(qn_plan_create(graph, state, &(qn_plan_options){.batch = 1, .pool = pool}, &plan, err));
    timing t = time_plan(plan, seconds);
    int calls = qn_plan_calls(plan);
    printf("{\"case\": \"plan\", \"node_ns\": %.3f, \"least_ns\": %.3f, \"nodes\": %d, "
           "\"allocations\": %lld}\n",
           t.median_us * 1e3 / calls, t.least_us * 1e3 / calls, calls, (long long)t.allocations);
    qn_plan_destroy(plan);
    return QN_OK;
}

static qn_status run(const char *name, int threads, double seconds, qn_error *err)
{
    const bench_case *chosen = NULL;
    bool bf16 = false;
    for (size_t i = 0; !chosen && i < sizeof(cases) / sizeof(cases[0]); i++)
        if (case_is(name, cases[i].name, &bf16))
            chosen = &cases[i];
    if (!chosen && strcmp(name, "plan") != 0)
        QN_FAIL(err, QN_ERR_ARG, "no case '%s'; there are lstm gru encoder gpt2 char plan", name);
    qn_pool *pool = NULL;
    qn_state *state = NULL;
    qn_graph *graph = qn_graph_create();
    qn_status status = qn_pool_create(threads, &pool, err);
    if (status == QN_OK)
        status = qn_state_create(&state, err);
    if (status == QN_OK)
        status = chosen ? run_steps(chosen, bf16, graph, state, pool, seconds, err)
                        : run_chain(graph, state, pool, seconds, err);
    qn_state_destroy(state);
    qn_graph_destroy(graph);
    qn_pool_destroy(pool);
    return status;
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr,
                "usage: step_bench lstm|gru|encoder|gpt2|char[_bf16]|plan THREADS [SECONDS]\n");
        return 2;
    }
    qn_error err = {0};
    double seconds = argc > 3 ? strtod(argv[3], NULL) : 1.5;
    qn_status status = run(argv[1], (int)strtol(argv[2], NULL, 10), seconds, &err);
    if (status != QN_OK)
        fprintf(stderr, "step_bench: %s\n", err.text);
    return status != QN_OK;
}
