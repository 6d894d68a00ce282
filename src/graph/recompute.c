/*
 * Gradient checkpointing: which values of the forward pass are kept for the backward pass, and which are computed again.
 *
 *     forward   [ segment 0 ] k0 [ segment 1 ] k1 [ segment 2 ] loss
 *     backward                                    grads of 2 | segment 1 again | grads of 1 | segment 0 again | grads of 0
 *
 * Marks (qn_graph_mark) say where a network may be cut; every n-th of them ends a segment, and its value is kept. When the walk
 * backwards enters a segment, its nodes are built once more, and what the gradients read of them are the copies. The originals
 * are then read by the forward pass alone and their memory is free for the next segment. With the square root of the marks as n,
 * memory grows with the square root of the depth, for one more forward pass.
 *
 * The copies have the same inputs, attributes and random streams, so they have the same bits. `again` keeps the pass that shares
 * equal nodes from joining them. Source: Chen et al. 2016, Training Deep Nets with Sublinear Memory Cost.
 */
#include "graph/recompute.h"

#include <math.h>

#include "base/alloc.h"

static int compare_nodes(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

/* The node of every mark that one made, in order and each once. */
static int collect_ends(const qn_graph *graph, int *ends)
{
    int count = 0, kept = 0;
    for (int i = 0; i < graph->marks_count; i++)
        if (graph->values[graph->marks[i]].kind == QN_VALUE_NODE)
            ends[count++] = graph->values[graph->marks[i]].node;
    if (count > 1)
        qsort(ends, (size_t)count, sizeof *ends, compare_nodes);
    for (int i = 0; i < count; i++)
        if (kept == 0 || ends[kept - 1] != ends[i])
            ends[kept++] = ends[i];
    return kept;
}

bool qn_recompute_init(qn_recompute *again, const qn_graph *graph)
{
    *again = (qn_recompute){.current = -1};
    again->ends = qn_alloc((size_t)(graph->marks_count + 1) * sizeof *again->ends);
    again->map = qn_alloc((size_t)(graph->values_count + 1) * sizeof *again->map);
    if (!again->ends || !again->map)
        return false;
    for (int v = 0; v < graph->values_count; v++)
        again->map[v] = QN_NONE;
    again->values_count = graph->values_count;
    int marks = collect_ends(graph, again->ends);
    int every = (int)ceil(sqrt((double)marks));
    for (int i = every - 1; every > 0 && i < marks; i += every)
        again->ends[again->segments++] = again->ends[i];
    return true;
}

void qn_recompute_deinit(qn_recompute *again)
{
    qn_free(again->ends);
    qn_free(again->map);
    *again = (qn_recompute){0};
}

qn_value qn_recompute_value(const qn_recompute *again, qn_value value)
{
    bool copied =
        again && value >= 0 && value < again->values_count && again->map[value] != QN_NONE;
    return copied ? again->map[value] : value;
}

/* The segment of a node; `segments` = behind the last end. */
static int segment_of(const qn_recompute *again, int node)
{
    int segment = 0;
    while (segment < again->segments && again->ends[segment] < node)
        segment++;
    return segment;
}

/* One node once more. The value that ends the segment is kept, so its copy is not read. */
static void copy_node(qn_recompute *again, qn_graph *graph, int index, int segment)
{
    qn_node node = graph->nodes[index]; /* building moves the tables */
    node.again = (uint32_t)segment + 1;
    qn_value *inputs = qn_alloc((size_t)(node.inputs_count + 1) * sizeof *inputs);
    if (!inputs) {
        qn_graph_fail_memory(graph);
        return;
    }
    for (int k = 0; k < node.inputs_count; k++)
        inputs[k] = qn_recompute_value(again, node.inputs[k]);
    qn_value first = qn_graph_copy_node(graph, &node, inputs);
    for (int k = 0; first != QN_NONE && k < node.op->outputs_count; k++)
        again->map[node.first + k] = first + k;
    qn_free(inputs);
}

static bool is_mark(const qn_graph *graph, qn_value value)
{
    for (int i = 0; i < graph->marks_count; i++)
        if (graph->marks[i] == value)
            return true;
    return false;
}

void qn_recompute_enter(qn_recompute *again, qn_graph *graph, int node)
{
    int segment = again ? segment_of(again, node) : 0;
    if (!again || segment >= again->segments || segment == again->current)
        return;
    again->current = segment;
    int end = again->ends[segment];
    for (int i = segment ? again->ends[segment - 1] + 1 : 0; i <= end; i++)
        if (graph->error.code == QN_OK)
            copy_node(again, graph, i, segment);
    const qn_node *last = &graph->nodes[end];
    for (int k = 0; graph->error.code == QN_OK && k < last->op->outputs_count; k++)
        if (is_mark(graph, last->first + k))
            again->map[last->first + k] = QN_NONE;
}
