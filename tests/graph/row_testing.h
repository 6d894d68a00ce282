/*
 * One sample of a row as a graph with inputs x0.., outputs y0.. and gradients g0..: filling it, running it by its
 * reference or its kernel, comparing two, and checking gradients by differences. For tests that walk the registry.
 */
#ifndef QN_TESTS_GRAPH_ROW_TESTING_H
#define QN_TESTS_GRAPH_ROW_TESTING_H

#include "testing.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "graph/op.h"
#include "graph/plan.h"
#include "graph/state.h"

static qn_error err;

/* One sample of a row as a graph: inputs x0.., weights w of output 0, outputs y0.., loss, g0... */
typedef struct {
    qn_graph *graph;
    qn_state *state;
    qn_plan *plan;
    const qn_op *op;
    const qn_op_sample *sample;
    bool present[QN_OP_INPUTS_MAX];
} bench;

static inline const char *numbered(char letter, int i)
{
    static char names[8][16];
    static int next = 0;
    char *name = names[next++ % 8];
    snprintf(name, 16, "%c%d", letter, i);
    return name;
}

static inline qn_type retyped(qn_type type, qn_dtype dtype)
{
    if (qn_dtype_is_float(type.dtype))
        type.dtype = dtype;
    return type;
}

/* Rows whose output type is an attribute follow the sample, not the test's dtype. */
static inline bool is_float_input(const qn_op_sample *sample, int i)
{
    return sample->inputs[i].shape.rank >= 0 && qn_dtype_is_float(sample->inputs[i].dtype);
}

static inline qn_value build_node(bench *b, qn_dtype dtype, qn_value *inputs)
{
    const qn_op_sample *sample = b->sample;
    for (int i = 0; i < sample->inputs_count; i++) {
        qn_type type = retyped(sample->inputs[i], dtype);
        b->present[i] = type.shape.rank >= 0;
        inputs[i] = QN_NONE;
        if (b->present[i])
            inputs[i] = qn_graph_input(b->graph, numbered('x', i), type.dtype, type.shape);
    }
    qn_value y = qn_graph_node(b->graph, b->op->name, inputs, sample->inputs_count, sample->attrs,
                               sample->attrs_count);
    if (y == QN_NONE && qn_graph_check(b->graph, &err) != QN_OK)
        fail_msg("%s: %s", b->op->name, err.text);
    for (int k = 0; k < b->op->outputs_count; k++)
        qn_graph_output(b->graph, numbered('y', k), y + k);
    return y;
}

/* loss = sum(y0 * w); gradients to all float inputs. */
static inline void build_gradients(bench *b, qn_value y, const qn_value *inputs)
{
    qn_type type = *qn_graph_type(b->graph, y);
    qn_value w = qn_graph_input(b->graph, "w", type.dtype, type.shape);
    qn_attr keep = QN_ATTR_I("keepdims", 0);
    qn_value product = qn_graph_op2(b->graph, "Mul", y, w);
    qn_value loss = qn_graph_node(b->graph, "ReduceSum", &product, 1, &keep, 1);
    qn_value wrt[QN_OP_INPUTS_MAX], grads[QN_OP_INPUTS_MAX];
    int count = 0, index[QN_OP_INPUTS_MAX];
    for (int i = 0; i < b->sample->inputs_count; i++) {
        if (is_float_input(b->sample, i)) {
            index[count] = i;
            wrt[count++] = inputs[i];
        }
    }
    qn_graph_output(b->graph, "loss", loss);
    if (qn_graph_grad(b->graph, loss, wrt, count, grads, &err) != QN_OK)
        fail_msg("%s: %s", b->op->name, err.text);
    for (int k = 0; k < count; k++)
        qn_graph_output(b->graph, numbered('g', index[k]), grads[k]);
}

static inline void make_plan(bench *b, bool reference)
{
    qn_plan_options options = {.batch = 1, .seed = 5, .reference = reference, .training = true};
    assert_ok(qn_state_create(&b->state, &err), &err);
    if (qn_plan_create(b->graph, b->state, &options, &b->plan, &err) != QN_OK)
        fail_msg("%s: %s", b->op->name, err.text);
}

static inline bench open_bench(const qn_op *op, const qn_op_sample *sample, qn_dtype dtype,
                               bool gradients, bool reference)
{
    bench b = {.graph = qn_graph_create(), .op = op, .sample = sample};
    qn_value inputs[QN_OP_INPUTS_MAX];
    qn_value y = build_node(&b, dtype, inputs);
    if (gradients)
        build_gradients(&b, y, inputs);
    make_plan(&b, reference);
    return b;
}

static inline void close_bench(bench *b)
{
    qn_plan_destroy(b->plan);
    qn_state_destroy(b->state);
    qn_graph_destroy(b->graph);
}

static inline void set_at(const qn_tensor *tensor, int64_t i, double value)
{
    char *data = tensor->data;
    qn_dtype_write_f64(data + i * (int64_t)qn_dtype_size(tensor->dtype), tensor->dtype, &value, 1);
}

/* Values that f32 holds exactly, away from the row's kink; integers from [max(low, 0), high). */
static inline double draw(const qn_op_sample *sample, qn_dtype dtype, qn_rng rng, int64_t i)
{
    if (dtype == QN_DTYPE_BOOL)
        return (double)(qn_rng_u32(rng, (uint64_t)i) & 1);
    if (!qn_dtype_is_float(dtype)) {
        double low = floor(fmax(sample->low, 0)), high = ceil(sample->high);
        return low + (double)qn_rng_below(rng, (uint64_t)i, (uint64_t)fmax(high - low, 1));
    }
    double value =
        sample->low + (sample->high - sample->low) * (double)qn_rng_uniform(rng, (uint64_t)i);
    if (sample->avoid_kink && fabs(value - sample->avoid) < 0.01)
        value = sample->avoid + 0.02;
    return (double)(float)value;
}

static inline void fill(const bench *b)
{
    for (int i = 0; i < b->sample->inputs_count; i++) {
        if (!b->present[i])
            continue;
        const qn_tensor *x = qn_plan_input(b->plan, numbered('x', i));
        qn_rng rng = {.seed = 11, .stream = (uint32_t)i + 1};
        for (int64_t k = 0; k < qn_shape_count(&x->shape); k++)
            set_at(x, k, draw(b->sample, x->dtype, rng, k));
    }
    const qn_tensor *w = qn_plan_input(b->plan, "w");
    qn_rng rng = {.seed = 11, .stream = 99};
    for (int64_t k = 0; w && k < qn_shape_count(&w->shape); k++)
        set_at(w, k, 0.5 + (double)qn_rng_uniform(rng, (uint64_t)k));
}

/* Whether infer takes the sample with floats of this type. */
static inline bool accepts(const qn_op *op, const qn_op_sample *sample, qn_dtype dtype)
{
    bench b = {.graph = qn_graph_create(), .op = op, .sample = sample};
    qn_value inputs[QN_OP_INPUTS_MAX] = {0};
    for (int i = 0; i < sample->inputs_count; i++) {
        qn_type type = retyped(sample->inputs[i], dtype);
        inputs[i] = type.shape.rank < 0
                        ? QN_NONE
                        : qn_graph_input(b.graph, numbered('x', i), type.dtype, type.shape);
    }
    qn_graph_node(b.graph, op->name, inputs, sample->inputs_count, sample->attrs,
                  sample->attrs_count);
    bool accepted = qn_graph_check(b.graph, NULL) == QN_OK;
    qn_graph_destroy(b.graph);
    return accepted;
}

/* Largest difference, relative to 1 + |b|; integers must be equal, and so must NaN and infinities. */
static inline void compare_outputs(const bench *a, const bench *b, double tolerance, int at,
                                   const char *what)
{
    for (int k = 0; k < a->op->outputs_count; k++) {
        const qn_tensor *ya = qn_plan_output(a->plan, numbered('y', k));
        const qn_tensor *yb = qn_plan_output(b->plan, numbered('y', k));
        for (int64_t i = 0; i < qn_shape_count(&ya->shape); i++) {
            double va = qn_tensor_f64_at(ya, i), vb = qn_tensor_f64_at(yb, i);
            double allowed = qn_dtype_is_float(ya->dtype) ? tolerance * (1 + fabs(vb)) : 0;
            bool same = (isnan(va) && isnan(vb)) || va == vb;
            if (!same && !(fabs(va - vb) <= allowed))
                fail_msg("%s sample %d: y%d[%d] is %.9g in %s, expected %.9g", a->op->name, at, k,
                         (int)i, va, what, vb);
        }
    }
}

/* Inputs that are data, not something to differentiate: from this one on. */
static inline int first_data_input(const qn_op *op)
{
    static const struct {
        const char *op;
        int first;
    } rows[] = {
        {"SoftmaxCrossEntropy", 1},
        {"BceWithLogits", 1},
        {"MeanSquaredError", 1},
        {"MeanAbsoluteError", 1},
        {"Huber", 1},
        {"BatchNormalization", 3},
        {"Attention", 3},
        {"RoiAlign", 1},
        {"PoissonNLLLoss", 1},
        {"QuantileLoss", 1},
        {"HingeLoss", 1},
        {"SquaredHingeLoss", 1},
        {"KLDivergence", 1},
        {"CosineEmbeddingLoss", 2},
        {"NegativeLogLikelihoodLoss", 1},
        {"Resize", 1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rows[i].op, op->name) == 0)
            return rows[i].first;
    return QN_OP_INPUTS_MAX;
}

static inline double loss_of(const bench *b)
{
    qn_plan_run(b->plan, 3);
    return qn_tensor_f64_at(qn_plan_output(b->plan, "loss"), 0);
}

static inline void check_gradient(const bench *b, int input, int at)
{
    const qn_tensor *x = qn_plan_input(b->plan, numbered('x', input));
    const qn_tensor *g = qn_plan_output(b->plan, numbered('g', input));
    int64_t count = qn_shape_count(&x->shape);
    double gradient[512], *value = x->data, eps = 1e-6;
    assert_true(count <= 512);
    qn_plan_run(b->plan, 3);
    for (int64_t i = 0; i < count; i++)
        gradient[i] = qn_tensor_f64_at(g, i);
    for (int64_t i = 0; i < count; i++) {
        double kept = value[i];
        value[i] = kept + eps;
        double up = loss_of(b);
        value[i] = kept - eps;
        double down = loss_of(b);
        value[i] = kept;
        double slope = (up - down) / (2 * eps);
        if (input >= first_data_input(b->op))
            slope = 0;
        if (!(fabs(slope - gradient[i]) <= 1e-5 + 1e-3 * fabs(slope)))
            fail_msg("%s sample %d: d/dx%d[%d] is %.9g, by differences %.9g", b->op->name, at,
                     input, (int)i, gradient[i], slope);
    }
}

static inline double sign_along(uint32_t direction, int64_t i)
{
    return qn_rng_u32((qn_rng){.seed = 17, .stream = direction}, (uint64_t)i) & 1 ? 1 : -1;
}

/* The loss with an input moved by `step` up or down each, as a random number of the direction says. */
static inline double loss_along(const bench *b, int input, uint32_t direction, double step)
{
    const qn_tensor *x = qn_plan_input(b->plan, numbered('x', input));
    double *value = x->data, loss;
    int64_t count = qn_shape_count(&x->shape);
    double *kept = calloc((size_t)count + 1, sizeof *kept);
    assert_non_null(kept);
    memcpy(kept, value, (size_t)count * sizeof *kept);
    for (int64_t i = 0; i < count; i++)
        value[i] += sign_along(direction, i) * step;
    loss = loss_of(b);
    memcpy(value, kept, (size_t)count * sizeof *kept);
    free(kept);
    return loss;
}

/* check_gradient for inputs of any size: along DIRECTIONS random directions, which every number is a part of. What f64 and a
 * step of 1e-6 leave is 1e-6 of the parts; an element that is missing or counted twice is a whole one. */
static inline void check_directions(const bench *b, int input, int at)
{
    enum { DIRECTIONS = 3 };
    const qn_tensor *g = qn_plan_output(b->plan, numbered('g', input));
    int64_t count = qn_shape_count(&g->shape);
    for (uint32_t direction = 1; direction <= DIRECTIONS; direction++) {
        double along = 0, parts = 0, eps = 1e-6;
        qn_plan_run(b->plan, 3);
        for (int64_t i = 0; i < count; i++) {
            double slope = qn_tensor_f64_at(g, i);
            along += slope * sign_along(direction, i);
            parts += fabs(slope);
        }
        double up = loss_along(b, input, direction, eps);
        double slope = (up - loss_along(b, input, direction, -eps)) / (2 * eps);
        if (input >= first_data_input(b->op)) { /* no gradient: none of its numbers is anything */
            slope = 0;
            along = parts;
        }
        if (!(fabs(slope - along) <= 1e-5 + 1e-6 * parts))
            fail_msg(
                "%s sample %d: along direction %u of x%d the slope is %.9g, by differences %.9g",
                b->op->name, at, direction, input, along, slope);
    }
}

#endif
