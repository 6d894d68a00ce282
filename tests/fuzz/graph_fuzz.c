/* Any bytes: a graph or an error; a graph written and read again is written the same, and a plan is made or refused. */
#include <stdint.h>
#include <stdlib.h>

#include "graph/graph_priv.h"
#include "graph/plan.h"

enum { STATE_ELEMENTS_MAX = 1 << 16 };

static void write_graph(const qn_graph *graph, qn_buf *dst)
{
    qn_json_writer w;
    qn_json_write_init(&w, dst);
    qn_graph_write(graph, &w);
}

static void read_again(const qn_graph *graph)
{
    qn_buf first, second;
    qn_arena arena;
    qn_json root;
    qn_graph *copy = NULL;
    qn_error err = {0};
    qn_buf_init(&first, 0);
    qn_buf_init(&second, 0);
    qn_arena_init(&arena, 64 << 20);
    write_graph(graph, &first);
    if (qn_json_read(qn_buf_view(&first), NULL, &arena, &root, &err) != QN_OK ||
        qn_graph_read(&root, &copy, &err) != QN_OK)
        abort();
    write_graph(copy, &second);
    if (!qn_str_equal(qn_buf_view(&first), qn_buf_view(&second)))
        abort();
    qn_graph_destroy(copy);
    qn_buf_deinit(&first);
    qn_buf_deinit(&second);
    qn_arena_deinit(&arena);
}

/* States are as large as the graph says: too large for a fuzzer, unless small. */
static bool has_small_states(const qn_graph *graph)
{
    int64_t total = 0;
    for (int i = 0; i < graph->values_count && total <= STATE_ELEMENTS_MAX; i++) {
        int64_t count = qn_shape_count(&graph->values[i].type.shape);
        if (graph->values[i].kind == QN_VALUE_STATE)
            total = count > STATE_ELEMENTS_MAX ? count : total + count;
    }
    return total <= STATE_ELEMENTS_MAX;
}

static void make_plan(const qn_graph *graph)
{
    qn_state *state = NULL;
    qn_plan *plan = NULL;
    qn_error err = {0};
    qn_plan_options options = {.batch = 2, .time = 3, .memory_max = 1 << 22};
    if (!has_small_states(graph) || qn_state_create(&state, &err) != QN_OK)
        return;
    if (qn_state_add_graph(state, graph, 1, &err) == QN_OK &&
        qn_plan_create(graph, state, &options, &plan, &err) == QN_OK)
        qn_plan_destroy(plan);
    qn_state_destroy(state);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qn_arena arena;
    qn_json root;
    qn_graph *graph = NULL;
    qn_error err = {0};
    qn_arena_init(&arena, 64 << 20);
    if (qn_json_read((qn_str){(const char *)data, size}, NULL, &arena, &root, &err) == QN_OK &&
        qn_graph_read(&root, &graph, &err) == QN_OK) {
        read_again(graph);
        make_plan(graph);
        qn_graph_destroy(graph);
    }
    qn_arena_deinit(&arena);
    return 0;
}
