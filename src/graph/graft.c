/*
 * Grafting: a network made elsewhere (an imported file) becomes a part of the graph in hand. Not here: which of its values
 * the part begins and ends with.
 */
#include <string.h>

#include "base/alloc.h"
#include "graph/graph_priv.h"
#include "graph/pass/pass_priv.h"

static bool same_type(const qn_graph *graph, qn_value value, const qn_type *type)
{
    const qn_type *own = &graph->values[value].type;
    return own->dtype == type->dtype && qn_shape_equal(&own->shape, &type->shape);
}

static void map_inputs(qn_rewrite *rewrite, const qn_graph_feed *feeds, int feeds_count)
{
    const qn_graph *from = rewrite->from;
    char have[128], want[128];
    for (int i = 0; i < feeds_count; i++) {
        qn_value input = qn_graph_find(from, feeds[i].name);
        if (input == QN_NONE || from->values[input].kind != QN_VALUE_INPUT)
            continue;
        const qn_type *type = &from->values[input].type;
        rewrite->map[input] = feeds[i].value;
        if (feeds[i].value != QN_NONE && !same_type(rewrite->to, feeds[i].value, type))
            (void)qn_graph_fail(
                rewrite->to, QN_ERR_ARG, "input '%.80s' takes %s %s, got %s %s", feeds[i].name,
                qn_dtype_name(type->dtype), qn_shape_text(&type->shape, want),
                qn_dtype_name(rewrite->to->values[feeds[i].value].type.dtype),
                qn_shape_text(&rewrite->to->values[feeds[i].value].type.shape, have));
    }
}

static void check_leaf(const qn_rewrite *rewrite, qn_value leaf)
{
    const qn_value_info *value = &rewrite->from->values[leaf];
    if (value->kind == QN_VALUE_INPUT && rewrite->map[leaf] == QN_NONE)
        (void)qn_graph_fail(rewrite->to, QN_ERR_ARG, "nothing is given for input '%.80s'",
                            value->name);
    if (value->kind == QN_VALUE_STATE && qn_graph_find(rewrite->to, value->name) != QN_NONE)
        (void)qn_graph_fail(rewrite->to, QN_ERR_ARG, "two weights or inputs have the name '%.80s'",
                            value->name);
}

/* Random numbers of the two parts come from streams of their own. */
static void copy_node(qn_rewrite *rewrite, int index, uint32_t stream)
{
    qn_rewrite_copy(rewrite, index);
    if (rewrite->to->error.code == QN_OK && rewrite->from->nodes[index].op->flags & QN_OP_RANDOM)
        rewrite->to->nodes[rewrite->to->nodes_count - 1].stream += stream;
}

static qn_value graft(qn_rewrite *rewrite, qn_value output, bool *live)
{
    const qn_graph *from = rewrite->from;
    qn_graph *to = rewrite->to;
    uint32_t stream = to->streams_count;
    live[output] = true;
    qn_pass_mark(from, live);
    for (int i = 0; i < from->values_count; i++)
        if (live[i] && from->values[i].kind != QN_VALUE_NODE)
            check_leaf(rewrite, i);
    for (int i = 0; i < from->nodes_count && to->error.code == QN_OK; i++)
        if (live[from->nodes[i].first])
            copy_node(rewrite, i, stream);
    to->streams_count += from->streams_count;
    for (int i = 0; i < from->assigns_count && to->error.code == QN_OK; i++)
        if (live[from->assigns[i].value] && live[from->assigns[i].state])
            qn_graph_assign(to, qn_rewrite_get(rewrite, from->assigns[i].state),
                            qn_rewrite_get(rewrite, from->assigns[i].value));
    return to->error.code == QN_OK ? qn_rewrite_get(rewrite, output) : QN_NONE;
}

qn_value qn_graph_graft(qn_graph *graph, const qn_graph *from, const char *output,
                        const qn_graph_feed *feeds, int feeds_count)
{
    if (graph->error.code != QN_OK)
        return QN_NONE;
    if (from->error.code != QN_OK)
        return qn_graph_fail(graph, from->error.code, "%s", from->error.text);
    qn_value found = qn_graph_find(from, output), made = QN_NONE;
    if (found == QN_NONE)
        return qn_graph_fail(graph, QN_ERR_ARG, "there is no output '%.80s'", output);
    qn_value *map = qn_alloc((size_t)(from->values_count + 1) * sizeof *map);
    bool *live = qn_alloc_zero(from->values_count + 1, sizeof *live);
    for (int i = 0; map && i < from->values_count; i++)
        map[i] = QN_NONE;
    if (map && live) {
        qn_rewrite rewrite = {from, graph, map};
        map_inputs(&rewrite, feeds, feeds_count);
        made = graft(&rewrite, found, live);
    } else {
        made = qn_graph_fail_memory(graph);
    }
    qn_free(map);
    qn_free(live);
    return made;
}
