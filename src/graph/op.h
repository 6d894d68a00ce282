/*
 * An op is one row: what it is called, what it takes, what it gives, its gradient and its meaning.
 *
 * `ref` is the specification in plain C, for f32 and f64. Fast kernels are bound to ops in bind/
 * and are compared with it. A row without ref and samples, or without vjp unless it says
 * NO_GRADIENT, fails the tests. Names and attributes follow ONNX where ONNX has the op, with two
 * differences: images are channels-last
 * ([N, H, W, C]) and convolution weights are [KH, KW, Cin / groups, Cout] (docs/decisions/).
 */
#ifndef QN_GRAPH_OP_H
#define QN_GRAPH_OP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/rng.h"
#include "graph/graph.h"
#include "tensor/tensor.h"

/* INPUTS_MAX bounds the samples only: a variadic row (GlobalNorm, Concat) may allow up to
 * VARIADIC_MAX. */
enum {
    QN_OP_INPUTS_MAX = 12,
    QN_OP_OUTPUTS_MAX = 8,
    QN_OP_ATTRS_MAX = 12,
    QN_OP_VARIADIC_MAX = 4096
};

typedef enum {
    QN_OP_NO_GRADIENT = 1 << 0, /* integers, comparisons, updates */
    /* Depends on (seed, stream, step), the stream being the row's attribute `stream`; never folded
       or shared. */
    QN_OP_RANDOM = 1 << 1,
    QN_OP_ELEMENTWISE =
        1 << 2,          /* output element i depends on input elements i only: may run in place */
    QN_OP_VIEW = 1 << 3, /* output is input 0 seen under another contiguous shape: no call at all */
    /* Output k may overwrite input k, for every k < outputs_count (optimiser updates: param,
       moments). */
    QN_OP_INPLACE = 1 << 4,
    /* With INPLACE: elementwise over all inputs of input 0's type, the other inputs are scalars
     * shared by all elements, and zeros stay zeros. Nodes over neighbouring states then become one
     * call over the whole range. Input outputs_count is the gradient, which the plan lays out like
     * the parameters. */
    QN_OP_FLAT = 1 << 5,
    /* Outside training output 0 is input 0 (dropout): such a plan drops the node. */
    QN_OP_TRAINING_ONLY = 1 << 6,
    /* With INPLACE: adds to its input 0 and leaves the rest of it as it was, and its readers want the new value. A state
     * that only such a node reads is written where it lies, before the tail. */
    QN_OP_EARLY = 1 << 7,
} qn_op_flags;

typedef struct {
    const char *name;
    qn_attr_kind kind;
    bool required;
    double low, high;    /* INT and FLOAT: inclusive range (both 0: any) */
    double value;        /* default of INT and FLOAT */
    const char *choices; /* STRING: "none relu sigmoid"; the first is the default */
    bool symbolic; /* INTS that are a shape, INT that is a size: symbols become numbers in a plan */
} qn_attr_spec;

/* What infer, vjp and ref see of a node. Attributes are complete: defaults are filled in. */
typedef struct {
    const struct qn_op *op;
    const qn_attr *attrs; /* in the order of op->attrs */
    int inputs_count;     /* trailing absent inputs are not counted; absent inner ones have rank -1
                             types */
    int outputs_count;
    const qn_type *inputs;
    const qn_type *outputs; /* vjp, ref, cost */
} qn_op_types;

int64_t qn_op_attr_i(const qn_op_types *types, const char *name);
double qn_op_attr_f(const qn_op_types *types, const char *name);
const char *qn_op_attr_s(const qn_op_types *types, const char *name);
const int64_t *qn_op_attr_ints(const qn_op_types *types, const char *name, int *ret_count);

typedef struct {
    const qn_op_types *types; /* concrete shapes */
    const qn_tensor *inputs;  /* data NULL = absent optional input */
    qn_tensor *outputs;       /* contiguous */
    qn_rng rng;               /* RANDOM ops: seed and step; the row sets the stream */
    bool training;
} qn_op_run;

/* vjp gets values of the node and gradients of its outputs (QN_NONE = no gradient flows in) and
 * returns gradients of its inputs (QN_NONE = none). It builds ordinary nodes in `graph`. */
typedef struct {
    qn_graph *graph;
    const qn_op_types *types;
    const qn_value *inputs;
    const qn_value *outputs;
    const qn_value *grads; /* of outputs */
} qn_op_vjp;

/* One sample: input types and attributes; values are drawn by the tests from [low, high] (integers
 * from [max(low, 0), high)); kinks of the op lie outside that range or are named by `avoid`. */
typedef struct {
    int inputs_count;
    qn_type inputs[QN_OP_INPUTS_MAX];
    double low, high;
    double avoid; /* gradient checks keep |x - avoid| > 1e-3 when avoid_kink is set */
    bool avoid_kink;
    int attrs_count;
    qn_attr attrs[QN_OP_ATTRS_MAX];
    int outputs_count; /* 0 = the op's own */
} qn_op_sample;

typedef struct qn_op {
    const char *name;
    int inputs_min, inputs_max;
    int outputs_count;
    unsigned flags;
    const qn_attr_spec *attrs; /* ended by a NULL name; may be NULL */
    qn_status (*infer)(const qn_op_types *types, qn_type *ret_outputs, qn_error *err);
    void (*vjp)(const qn_op_vjp *in, qn_value *ret_grads); /* errors stick to the graph */
    void (*ref)(const qn_op_run *run);                     /* f32 and f64 by inputs[0].dtype */
    int64_t (*flops)(const qn_op_types *types);            /* NULL = one per output element */
    const qn_op_sample *samples;
    int samples_count;
    /* Bit i: input i is a factor of the row's products, so plans of bf16 may store it in bf16 (pass/bf16.c). Such a
     * node is f32 in all else: infer, ref and bindings without a way of their own see that input as f32. */
    unsigned factors;
    /* Bit i: output i is work space of the reference that kernels do without. Where nobody reads it, it has no memory in a
     * plan; a step that runs its reference finds it in scratch. */
    unsigned spare;
} qn_op;

static inline bool qn_op_is_spare(const qn_op *op, int output)
{
    return op->spare >> output & 1;
}

const qn_op *qn_op_find(const char *name); /* NULL = unknown */
const qn_op *qn_op_at(int index);          /* NULL past the end: tests walk all rows */

#endif
