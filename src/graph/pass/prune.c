/*
 * Dead code: a node stays when an output or an assignment needs it, directly or through other nodes.
 */
#include "base/alloc.h"
#include "graph/pass/pass.h"
#include "graph/pass/pass_priv.h"

void qn_pass_mark(const qn_graph *graph, bool *live)
{
    for (int i = graph->nodes_count - 1; i >= 0; i--) {
        const qn_node *node = &graph->nodes[i];
        bool any = false;
        for (int k = 0; k < node->op->outputs_count; k++)
            any = any || live[node->first + k];
        for (int k = 0; any && k < node->inputs_count; k++)
            if (node->inputs[k] != QN_NONE)
                live[node->inputs[k]] = true;
        for (int k = 0; any && k < node->op->outputs_count; k++)
            live[node->first + k] = true;
    }
}

qn_status qn_pass_prune(const qn_graph *graph, qn_graph **ret, qn_error *err)
{
    qn_rewrite rewrite;
    QN_TRY(qn_rewrite_init(&rewrite, graph, err));
    bool *live = qn_alloc_zero(graph->values_count + 1, sizeof *live);
    if (!live)
        qn_graph_fail_memory(rewrite.to);
    for (int i = 0; live && i < graph->outputs_count; i++)
        live[graph->outputs[i].value] = true;
    for (int i = 0; live && i < graph->assigns_count; i++)
        live[graph->assigns[i].value] = true;
    if (live)
        qn_pass_mark(graph, live);
    for (int i = 0; live && i < graph->nodes_count; i++)
        if (live[graph->nodes[i].first])
            qn_rewrite_copy(&rewrite, i);
    qn_free(live);
    return qn_rewrite_finish(&rewrite, ret, err);
}
