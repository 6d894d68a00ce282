/*
 * Common subexpressions: two nodes of the same op, attributes and inputs give the same values, so the second is
 * dropped. Random and in-place nodes are left alone. Candidates are found by hash.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "graph/pass/pass.h"

enum { CONST_BYTES_MAX = 256 }; /* larger constants are rarely equal; comparing them costs */

static bool attrs_equal(const qn_attr *a, const qn_attr *b)
{
    switch (a->kind) {
    case QN_ATTR_INT:
        return a->i == b->i;
    case QN_ATTR_FLOAT:
        return memcmp(&a->f, &b->f, sizeof a->f) == 0;
    case QN_ATTR_INTS:
        return a->count == b->count &&
               memcmp(a->ints, b->ints, (size_t)a->count * sizeof a->ints[0]) == 0;
    case QN_ATTR_STRING:
        return strcmp(a->s, b->s) == 0;
    }
    return false;
}

/* Both in the new graph. */
static bool nodes_equal(const qn_node *a, const qn_node *b)
{
    if (a->op != b->op || a->again != b->again || a->inputs_count != b->inputs_count ||
        memcmp(a->inputs, b->inputs, (size_t)a->inputs_count * sizeof *a->inputs) != 0)
        return false;
    for (int i = 0; a->op->attrs && a->op->attrs[i].name; i++)
        if (!attrs_equal(&a->attrs[i], &b->attrs[i]))
            return false;
    return true;
}

/* An open-addressed table from hash to node index + 1; room is a power of two above twice the nodes. */
typedef struct {
    int *slots;
    uint64_t mask;
} node_table;

static uint64_t hash_node(const qn_node *node)
{
    return qn_hash64(node->inputs, (size_t)node->inputs_count * sizeof *node->inputs,
                     (uint64_t)(uintptr_t)node->op);
}

/* The newest node stands last in `to`; gives an older equal one or -1 after entering the newest. */
static int find_or_enter(node_table *table, const qn_graph *to)
{
    int newest = to->nodes_count - 1;
    const qn_node *node = &to->nodes[newest];
    uint64_t at = hash_node(node) & table->mask;
    for (; table->slots[at]; at = (at + 1) & table->mask)
        if (nodes_equal(&to->nodes[table->slots[at] - 1], node))
            return table->slots[at] - 1;
    table->slots[at] = newest + 1;
    return -1;
}

static void share_node(qn_rewrite *rewrite, node_table *table, int index)
{
    const qn_node *node = &rewrite->from->nodes[index];
    qn_graph *to = rewrite->to;
    qn_rewrite_copy(rewrite, index);
    if (to->error.code != QN_OK || node->op->flags & (QN_OP_RANDOM | QN_OP_INPLACE))
        return;
    int older = find_or_enter(table, to);
    if (older < 0)
        return;
    to->nodes_count--; /* the copy that turned out to be double */
    to->values_count -= node->op->outputs_count;
    for (int k = 0; k < node->op->outputs_count; k++)
        rewrite->map[node->first + k] = to->nodes[older].first + k;
}

static void share_constants(qn_rewrite *rewrite)
{
    const qn_graph *from = rewrite->from;
    for (int i = 0; i < from->values_count; i++) {
        const qn_value_info *value = &from->values[i];
        if (value->kind != QN_VALUE_CONST)
            continue;
        size_t bytes =
            (size_t)qn_shape_count(&value->type.shape) * qn_dtype_size(value->type.dtype);
        for (int k = 0; k < i && bytes <= CONST_BYTES_MAX; k++) {
            const qn_value_info *old = &from->values[k];
            if (old->kind != QN_VALUE_CONST || old->type.dtype != value->type.dtype ||
                !qn_shape_equal(&old->type.shape, &value->type.shape) ||
                memcmp(old->data, value->data, bytes) != 0)
                continue;
            rewrite->map[i] = rewrite->map[k];
            break;
        }
        qn_rewrite_get(rewrite, i);
    }
}

qn_status qn_pass_share(const qn_graph *graph, qn_graph **ret, qn_error *err)
{
    qn_rewrite rewrite;
    QN_TRY(qn_rewrite_init(&rewrite, graph, err));
    int64_t room = 64;
    while (room < 2 * (int64_t)graph->nodes_count)
        room *= 2;
    node_table table = {qn_alloc_zero(room, sizeof *table.slots), (uint64_t)room - 1};
    if (!table.slots)
        qn_graph_fail_memory(rewrite.to);
    share_constants(&rewrite);
    /* Leaves first, so that a dropped node's values are always the last ones. */
    for (int i = 0; i < graph->values_count; i++)
        if (graph->values[i].kind != QN_VALUE_NODE)
            qn_rewrite_get(&rewrite, i);
    for (int i = 0; i < graph->nodes_count && table.slots; i++)
        share_node(&rewrite, &table, i);
    qn_free(table.slots);
    return qn_rewrite_finish(&rewrite, ret, err);
}
