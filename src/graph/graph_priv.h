/*
 * What a graph is made of, for the files of this folder and its passes.
 *
 * Nodes stand in creation order, which is a topological order: a node's inputs exist before it. The outputs of a
 * node are neighbouring values. Everything lies in the graph's arena except the growing tables.
 */
#ifndef QN_GRAPH_PRIV_H
#define QN_GRAPH_PRIV_H

#include "graph/graph.h"
#include "graph/op.h"

/* More than any model built here needs; bounds what a file can ask for. */
enum { QN_GRAPH_VALUES_MAX = 1 << 20 };

typedef struct {
    qn_type type;
    qn_value_kind kind;
    int node;         /* NODE: index of its node */
    const char *name; /* INPUT, STATE */
    /* STATE */
    qn_init init;
    bool trainable;
    qn_value owner;   /* the parameter it belongs to (qn_graph_state_like), or QN_NONE */
    const char *role; /* of such a state */
    /* CONST: contiguous elements */
    const void *data;
} qn_value_info;

typedef struct {
    const qn_op *op;
    qn_attr *attrs; /* complete, in the order of op->attrs */
    qn_value *inputs;
    int inputs_count;
    qn_value first;    /* outputs are first .. first + op->outputs_count - 1 */
    const char *scope; /* "" = none */
    uint32_t again;  /* computed once more for the gradients of this segment (from 1); 0 = not so */
    uint32_t stream; /* RANDOM: which stream of random numbers; kept by all passes */
    bool narrow;     /* its inputs among op->factors count as bf16, in f32 or in bf16 */
} qn_node;

typedef struct {
    qn_value state, value;
} qn_assign;

typedef struct {
    const char *name;
    qn_value value;
} qn_output;

struct qn_graph {
    qn_arena arena;
    qn_value_info *values;
    qn_node *nodes;
    qn_assign *assigns;
    qn_output *outputs;
    qn_value *marks; /* where the forward pass may be cut (recompute.c) */
    int values_count, nodes_count, assigns_count, outputs_count, marks_count;
    int values_room, nodes_room, assigns_room, outputs_room, marks_room;
    uint32_t streams_count;
    const char *scope;
    qn_error error;
};

/* What op functions see of a node. The tables are in `dst`, which is valid until the graph next grows. */
typedef struct {
    qn_op_types types;
    qn_type outputs[QN_OP_OUTPUTS_MAX];
    qn_type few[QN_OP_INPUTS_MAX]; /* inputs, where they are few */
    qn_type *many;                 /* otherwise */
} qn_node_types;
/* false = memory (only for more than QN_OP_INPUTS_MAX inputs). */
bool qn_node_types_init(qn_node_types *dst, const qn_graph *graph, const qn_node *node);
void qn_node_types_deinit(qn_node_types *types);

/* For the files that add to a graph; each sets the sticky error and gives QN_NONE or false on failure. */
qn_value qn_graph_fail_memory(qn_graph *graph);
bool qn_graph_grow(qn_graph *graph, void **table, int *room, int need, size_t each_bytes);
qn_value qn_graph_add_value(qn_graph *graph, const qn_value_info *value);

/* Adds a node whose attributes are complete already; keeps `stream` and `scope`. For passes. */
qn_value qn_graph_copy_node(qn_graph *graph, const qn_node *node, const qn_value *inputs);
/* Adds an input, state or constant like `value` of another graph; `type` replaces its type. */
qn_value qn_graph_copy_leaf(qn_graph *graph, const qn_value_info *value, const qn_type *type);
/* How many nodes, assignments and outputs read each value. counts: values_count elements. */
void qn_graph_count_uses(const qn_graph *graph, int *counts);

/*
 * A rewrite walks a graph in order and makes another: map[old] is the new value (QN_NONE = not made yet).
 * A pass decides for each node; leaves are copied on first use or up front.
 */
typedef struct {
    const qn_graph *from;
    qn_graph *to;
    qn_value *map;
} qn_rewrite;
QN_MUST_USE qn_status qn_rewrite_init(qn_rewrite *rewrite, const qn_graph *from, qn_error *err);
/* The new value of an old one; copies a leaf when it is first asked for. */
qn_value qn_rewrite_get(qn_rewrite *rewrite, qn_value old);
/* Copies node `index` with mapped inputs. */
void qn_rewrite_copy(qn_rewrite *rewrite, int index);
/* The same for a changed form of an old node: inputs and first are old values. */
void qn_rewrite_copy_as(qn_rewrite *rewrite, const qn_node *node);
/* Gives the new graph, or fails with its sticky error; either way releases the rewrite. `finish` maps outputs and
 * assignments first. */
QN_MUST_USE qn_status qn_rewrite_give(qn_rewrite *rewrite, qn_graph **ret, qn_error *err);
QN_MUST_USE qn_status qn_rewrite_finish(qn_rewrite *rewrite, qn_graph **ret, qn_error *err);

#endif
