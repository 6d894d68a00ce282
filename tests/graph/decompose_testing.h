/*
 * What the tests of decompositions share: how a case is told, and short hands for building graphs of f64. A case is one thing
 * built twice, of rows that fuse several steps and of primitives.
 */
#ifndef QN_TESTS_GRAPH_DECOMPOSE_TESTING_H
#define QN_TESTS_GRAPH_DECOMPOSE_TESTING_H

#include "testing.h"

#include <math.h>

#include "graph/graph.h"

enum { INPUTS_MAX = 8, ELEMENTS_MAX = 512 };

/* Builds one value from inputs of a case; `option` tells variants of a case apart. */
typedef qn_value (*build_fn)(qn_graph *g, const qn_value *x, int option);

typedef struct {
    const char *name; /* NULL ends a list */
    build_fn fused, parts;
    int count;
    qn_type inputs[INPUTS_MAX];
    double low, high;
    int differentiate; /* how many of the first inputs */
    int options;       /* option 0 .. options - 1 */
} fusion;

extern const fusion decompose_layers[], decompose_images[], decompose_sequences[],
    decompose_losses[], decompose_updates[];

/* Short hands for building. */
static inline qn_value two(qn_graph *g, const char *op, qn_value a, qn_value b)
{
    return qn_graph_op2(g, op, a, b);
}
static inline qn_value one(qn_graph *g, const char *op, qn_value a)
{
    return qn_graph_op1(g, op, a);
}
static inline qn_value number(qn_graph *g, double value)
{
    return qn_graph_scalar(g, QN_DTYPE_F64, value);
}
static inline qn_value scaled(qn_graph *g, qn_value a, double factor)
{
    return two(g, "Mul", a, number(g, factor));
}
static inline qn_value plus(qn_graph *g, qn_value a, double term)
{
    return two(g, "Add", a, number(g, term));
}
static inline qn_value with_ints(qn_graph *g, const char *op, qn_value a, const char *name,
                                 int count, const int64_t *ints)
{
    qn_attr attr = {.name = name, .kind = QN_ATTR_INTS, .count = count};
    memcpy(attr.ints, ints, (size_t)count * sizeof *ints);
    return qn_graph_node(g, op, &a, 1, &attr, 1);
}
static inline qn_value over_axis(qn_graph *g, const char *op, qn_value a, int64_t axis)
{
    return with_ints(g, op, a, "axes", 1, &axis);
}
static inline qn_value total(qn_graph *g, const char *op, qn_value a)
{
    qn_attr keep = QN_ATTR_I("keepdims", 0);
    return qn_graph_node(g, op, &a, 1, &keep, 1);
}

/* Elements [from, from + size) along an axis. */
static inline qn_value part_of(qn_graph *g, qn_value a, int64_t axis, int64_t from, int64_t size)
{
    qn_attr attrs[] = {{.name = "starts", .kind = QN_ATTR_INTS, .count = 1, .ints = {from}},
                       {.name = "ends", .kind = QN_ATTR_INTS, .count = 1, .ints = {from + size}},
                       {.name = "axes", .kind = QN_ATTR_INTS, .count = 1, .ints = {axis}}};
    return qn_graph_node(g, "Slice", &a, 1, attrs, 3);
}

/* A constant; `count` numbers in rows as `shape` says. */
static inline qn_value constant(qn_graph *g, qn_dtype dtype, const void *values, qn_shape shape)
{
    qn_tensor tensor = qn_tensor_of((void *)(uintptr_t)values, dtype, shape);
    return qn_graph_const(g, &tensor);
}
static inline qn_value reshaped(qn_graph *g, qn_value a, int rank, const int64_t *shape)
{
    return with_ints(g, "Reshape", a, "shape", rank, shape);
}
/* Several results as one row of numbers, so that all of them are compared and differentiated. */
static inline qn_value joined(qn_graph *g, const qn_value *values, int count)
{
    qn_value flat[8];
    qn_attr axis = QN_ATTR_I("axis", 0);
    for (int i = 0; i < count; i++)
        flat[i] = reshaped(g, values[i], 1, (int64_t[]){-1});
    return qn_graph_node(g, "Concat", flat, count, &axis, 1);
}

/* What `activation` words of rows mean, by index; 0 is none. */
static inline qn_value activate(qn_graph *g, qn_value x, int option)
{
    static const char *const ops[] = {NULL,   "Relu", "LeakyRelu", "Sigmoid",
                                      "Tanh", "Gelu", "Gelu",      "Silu"};
    qn_attr attr = option == 2 ? QN_ATTR_F("alpha", 0.1) : QN_ATTR_S("approximate", "tanh");
    return option == 0 ? x
                       : qn_graph_node(g, ops[option], &x, 1, &attr, option == 2 || option == 6);
}
static const char *const activation_words[] = {"none", "relu", "leaky_relu", "sigmoid",
                                               "tanh", "gelu", "gelu_tanh",  "silu"};

#define F64(rank, ...)                                                                             \
    {                                                                                              \
        QN_DTYPE_F64,                                                                              \
        {                                                                                          \
            (rank),                                                                                \
            {                                                                                      \
                __VA_ARGS__                                                                        \
            }                                                                                      \
        }                                                                                          \
    }
#define I64(rank, ...)                                                                             \
    {                                                                                              \
        QN_DTYPE_I64,                                                                              \
        {                                                                                          \
            (rank),                                                                                \
            {                                                                                      \
                __VA_ARGS__                                                                        \
            }                                                                                      \
        }                                                                                          \
    }

#endif
