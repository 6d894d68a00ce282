/*
 * The graph: typed values in static single assignment, made by nodes, each an op applied to values.
 *
 * Everything a model computes is such a graph: forward pass, gradients (qn_graph_grad adds ordinary
 * nodes), clipping and optimiser updates. A plan (plan.h) turns it and concrete sizes into a flat
 * list of kernel calls.
 *
 * Building calls chain without a check after each: the first error sticks to the graph, later calls
 * return QN_NONE, and qn_graph_check (or the plan) reports it.
 */
#ifndef QN_GRAPH_GRAPH_H
#define QN_GRAPH_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/json.h"
#include "tensor/tensor.h"

typedef struct qn_graph qn_graph;
typedef int32_t qn_value; /* index of a value in its graph */
enum { QN_NONE = -1 };    /* no value: an optional input left out, or the result of a failed call */

typedef struct {
    qn_dtype dtype;
    qn_shape shape; /* dimensions may be symbolic */
} qn_type;

typedef enum { QN_ATTR_INT, QN_ATTR_FLOAT, QN_ATTR_INTS, QN_ATTR_STRING } qn_attr_kind;
typedef struct {
    const char *name;
    qn_attr_kind kind;
    int count; /* INTS */
    union {
        int64_t i;
        double f;
        int64_t ints[QN_RANK_MAX];
        const char *s; /* copied by qn_graph_node */
    };
} qn_attr;
#define QN_ATTR_I(key, value) ((qn_attr){.name = (key), .kind = QN_ATTR_INT, .i = (value)})
#define QN_ATTR_F(key, value) ((qn_attr){.name = (key), .kind = QN_ATTR_FLOAT, .f = (value)})
#define QN_ATTR_S(key, value) ((qn_attr){.name = (key), .kind = QN_ATTR_STRING, .s = (value)})
#define QN_ATTR_2I(key, a, b)                                                                      \
    ((qn_attr){.name = (key), .kind = QN_ATTR_INTS, .count = 2, .ints = {(a), (b)}})

typedef enum {
    QN_VALUE_INPUT, /* filled before each run */
    QN_VALUE_STATE, /* persists between runs, lives in a qn_state under its name; trainable or not
                     */
    QN_VALUE_CONST,
    QN_VALUE_NODE, /* result of a node */
} qn_value_kind;

qn_graph *qn_graph_create(void); /* NULL = memory */
void qn_graph_destroy(qn_graph *graph);
QN_MUST_USE qn_status qn_graph_check(const qn_graph *graph, qn_error *err); /* the sticky error */
/* For code above that finds a problem while building (names the layer, say). Returns QN_NONE. */
qn_value qn_graph_fail(qn_graph *graph, qn_status code, const char *format, ...) QN_PRINTF(3, 4);

qn_value qn_graph_input(qn_graph *graph, const char *name, qn_dtype dtype, qn_shape shape);
/* How a state begins. Values come from Philox keyed by (seed, hash of the name), so adding a layer
 * does not change another's. fan_in and fan_out are given by the layer. */
typedef enum {
    QN_INIT_ZERO,
    QN_INIT_ONE,
    QN_INIT_CONST,
    QN_INIT_UNIFORM,
    QN_INIT_NORMAL
} qn_init_kind;
typedef struct {
    qn_init_kind kind;
    double value; /* CONST: the value; UNIFORM: [-value, value); NORMAL: standard deviation */
} qn_init;
qn_value qn_graph_state(qn_graph *graph, const char *name, qn_dtype dtype, qn_shape shape,
                        qn_init init, bool trainable);
/* A zero state of the parameter's type that belongs to it: "adam_m.NAME" for role "adam_m". All
 * states of a role lie in memory like their parameters, so that one update call can walk all of
 * them. Not trainable. */
qn_value qn_graph_state_like(qn_graph *graph, qn_value param, const char *role);
qn_value qn_graph_const(qn_graph *graph, const qn_tensor *tensor); /* copied */
qn_value qn_graph_scalar(qn_graph *graph, qn_dtype dtype, double value);

/* Applies an op by name (op.h). Unknown op, wrong arity, attribute or shape: sticky error naming op
 * and shapes. Returns the first output; others follow as ret + 1, ret + 2. */
qn_value qn_graph_node(qn_graph *graph, const char *op, const qn_value *inputs, int inputs_count,
                       const qn_attr *attrs, int attrs_count);
/* The same for code that has another way: a refusal does not stick, it comes in `err` with QN_NONE. */
qn_value qn_graph_try(qn_graph *graph, const char *op, const qn_value *inputs, int inputs_count,
                      const qn_attr *attrs, int attrs_count, qn_error *err);
/* Short forms for the many ops without attributes. */
qn_value qn_graph_op1(qn_graph *graph, const char *op, qn_value a);
qn_value qn_graph_op2(qn_graph *graph, const char *op, qn_value a, qn_value b);

/* After a run `state` holds `value` (same type). In-place where liveness allows. */
void qn_graph_assign(qn_graph *graph, qn_value state, qn_value value);
void qn_graph_output(qn_graph *graph, const char *name, qn_value value);

/* Reverse-mode differentiation of the scalar `loss`: adds nodes and gives one gradient value per
 * `wrt` (zeros where the loss does not depend on it). Source: Griewank and Walther,
 * Evaluating Derivatives, chapter 3. */
QN_MUST_USE qn_status qn_graph_grad(qn_graph *graph, qn_value loss, const qn_value *wrt,
                                    int wrt_count, qn_value *ret_grads, qn_error *err);

/* The end of a block: a value that the gradients may keep while what lies before it is computed again. */
void qn_graph_mark(qn_graph *graph, qn_value value);
/* The same gradients, to the bit, by computing most values of the forward pass a second time: the activations
 * of a deep network then need memory as the square root of its marked blocks. Source: Chen et al. 2016. */
QN_MUST_USE qn_status qn_graph_grad_recompute(qn_graph *graph, qn_value loss, const qn_value *wrt,
                                              int wrt_count, qn_value *ret_grads, qn_error *err);

/* Reading the graph. */
const qn_type *qn_graph_type(const qn_graph *graph, qn_value value);
qn_value_kind qn_graph_kind(const qn_graph *graph, qn_value value);
const char *qn_graph_name(const qn_graph *graph,
                          qn_value value); /* inputs and states; NULL otherwise */
int qn_graph_values_count(const qn_graph *graph);
bool qn_graph_is_trainable(const qn_graph *graph, qn_value value);
/* Trainable states in creation order: fills up to `max`, returns how many there are. */
int qn_graph_trainable(const qn_graph *graph, qn_value *dst, int max);
/* Does any node draw random numbers (dropout)? */
bool qn_graph_is_random(const qn_graph *graph);
qn_value qn_graph_find(const qn_graph *graph, const char *name); /* input, state or output name */
/* The part of the graph that the named outputs need, without assignments: the inference graph out
 * of a training graph. ERR_ARG names an output that is not there. */
QN_MUST_USE qn_status qn_graph_extract(const qn_graph *graph, const char *const *outputs,
                                       int outputs_count, qn_graph **ret, qn_error *err);

/* Reading nodes, for exporters: in an order in which inputs come first. Pointers live with the graph. */
typedef struct {
    const char *op;
    const qn_attr *attrs; /* complete */
    const qn_value *inputs;
    int attrs_count, inputs_count, outputs_count;
    qn_value first; /* outputs are first .. first + outputs_count - 1 */
} qn_graph_node_view;
int qn_graph_nodes_count(const qn_graph *graph);
qn_graph_node_view qn_graph_node_at(const qn_graph *graph, int index);
int qn_graph_outputs_count(const qn_graph *graph);
const char *qn_graph_output_at(const qn_graph *graph, int index, qn_value *ret);

/* For importers, whose constants decide shapes. */
/* The elements of a constant; false = the value is none. They are read only and live with the graph. */
bool qn_graph_const_read(const qn_graph *graph, qn_value value, qn_tensor *ret);
/* Computes the node whose first output is `first` now, when its inputs are constants of at most
 * `bytes_max` result bytes: gives the first of as many neighbouring constants, or `first` itself. With
 * `inputs` (as many as the node has) these elements count instead of the constants' own. */
qn_value qn_graph_fold(qn_graph *graph, qn_value first, const qn_tensor *inputs, int64_t bytes_max);
/* A copy without what outputs do not need, in which these constants are states of the given names; their elements
 * stay with the old graph. */
typedef struct {
    qn_value value;
    const char *name;
    bool trainable;
} qn_graph_weight;
QN_MUST_USE qn_status qn_graph_promote(const qn_graph *graph, const qn_graph_weight *weights,
                                       int weights_count, qn_graph **ret, qn_error *err);

/* Adds to `graph` what one output of `from` needs, its states and their assignments included, with other values in the place
 * of its inputs; gives the output's value. Errors (sticky): ERR_ARG names an input without a value or with one of another
 * type, and a state whose name is taken. */
typedef struct {
    const char *name; /* of the input; those that `from` has not are passed over */
    qn_value value;
} qn_graph_feed;
qn_value qn_graph_graft(qn_graph *graph, const qn_graph *from, const char *output,
                        const qn_graph_feed *feeds, int feeds_count);

/* A label that later nodes carry, for messages and plan prints: "layers[2] dense". Copied; NULL
 * ends it. */
void qn_graph_scope(qn_graph *graph, const char *label);

/* quern.json keeps the inference graph: nodes, attributes, types, names. Reading checks everything.
 */
void qn_graph_write(const qn_graph *graph, qn_json_writer *writer);
QN_MUST_USE qn_status qn_graph_read(const qn_json *json, qn_graph **ret, qn_error *err);

#endif
