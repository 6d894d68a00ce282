/*
 * Reductions over any axes, in double for floats and in int64 for integers where that is exact, and their gradients.
 */
#include "graph/op/common.h"
#include "graph/op/number.h"

#include <math.h>
#include <string.h>

/* The input's dimensions, parted: an output is an index of `kept`, its elements are those of `reduced`. */
typedef struct {
    qn_shape kept, reduced;
    int64_t kept_strides[QN_RANK_MAX], strides[QN_RANK_MAX];
    int64_t count; /* of reduced */
} reduce_walk;

/* What a row is: the step from one element to the next, and what becomes of the sum. Rows without an
 * integer step compute in double. */
typedef struct {
    const char *op;
    double start;
    double (*step)(double so_far, double x);
    double (*finish)(double so_far, double count); /* NULL = as it is */
    int64_t whole_start;
    int64_t (*whole_step)(int64_t so_far, int64_t x);
} reduce_rule;

static double add(double a, double x)
{
    return a + x;
}
static double add_size(double a, double x)
{
    return a + fabs(x);
}
static double add_square(double a, double x)
{
    return a + x * x;
}
static double multiply(double a, double x)
{
    return a * x;
}
static double largest(double a, double x) /* NaN stays */
{
    return x > a || isnan(x) ? x : a;
}
static double least(double a, double x)
{
    return x < a || isnan(x) ? x : a;
}
static double mean_of(double sum, double count)
{
    return sum / count;
}
static double root_of(double sum, double count)
{
    (void)count;
    return sqrt(sum);
}
static double log_of(double sum, double count)
{
    (void)count;
    return log(sum);
}
/* Integers wrap. */
static int64_t add_whole(int64_t a, int64_t x)
{
    return (int64_t)((uint64_t)a + (uint64_t)x);
}
static int64_t add_size_whole(int64_t a, int64_t x)
{
    return add_whole(a, x < 0 ? (int64_t)(0 - (uint64_t)x) : x);
}
static int64_t multiply_whole(int64_t a, int64_t x)
{
    return (int64_t)((uint64_t)a * (uint64_t)x);
}
static int64_t add_square_whole(int64_t a, int64_t x)
{
    return add_whole(a, multiply_whole(x, x));
}
static int64_t largest_whole(int64_t a, int64_t x)
{
    return x > a ? x : a;
}
static int64_t least_whole(int64_t a, int64_t x)
{
    return x < a ? x : a;
}

/* ReduceLogSumExp begins with its maximum and is completed in log_sum_exp. */
static const reduce_rule rules[] = {
    {"ReduceSum", 0, add, NULL, 0, add_whole},
    {"ReduceMean", 0, add, mean_of, 0, NULL},
    {"ReduceMax", -HUGE_VAL, largest, NULL, INT64_MIN, largest_whole},
    {"ReduceMin", HUGE_VAL, least, NULL, INT64_MAX, least_whole},
    {"ReduceProd", 1, multiply, NULL, 1, multiply_whole},
    {"ReduceL1", 0, add_size, NULL, 0, add_size_whole},
    {"ReduceL2", 0, add_square, root_of, 0, NULL},
    {"ReduceSumSquare", 0, add_square, NULL, 0, add_square_whole},
    {"ReduceLogSum", 0, add, log_of, 0, NULL},
    {"ReduceLogSumExp", -HUGE_VAL, largest, NULL, 0, NULL},
};

static const reduce_rule *rule_of(const qn_op_run *run)
{
    size_t i = 0;
    while (strcmp(rules[i].op, run->types->op->name) != 0)
        i++;
    return &rules[i];
}

static reduce_walk walk_of(const qn_shape *shape, const bool axes[QN_RANK_MAX])
{
    reduce_walk walk = {0};
    int64_t step[QN_RANK_MAX];
    int64_t product = 1;
    for (int d = shape->rank - 1; d >= 0; d--) {
        step[d] = product;
        product *= shape->dims[d];
    }
    for (int d = 0; d < shape->rank; d++) {
        qn_shape *side = axes[d] ? &walk.reduced : &walk.kept;
        int64_t *strides = axes[d] ? walk.strides : walk.kept_strides;
        strides[side->rank] = step[d];
        side->dims[side->rank++] = shape->dims[d];
    }
    walk.count = qn_shape_count(&walk.reduced);
    return walk;
}

/* Where the elements from the r-th on lie, how far apart, and how many of them stand in one row and
 * fit a block. */
static int next_block(const reduce_walk *walk, int64_t base, int64_t r, int64_t *ret_at,
                      int64_t *ret_step)
{
    int last = walk->reduced.rank - 1;
    int64_t length = last < 0 ? 1 : walk->reduced.dims[last], rest = length - r % length;
    *ret_at = base + qn_op_offset(&walk->reduced, walk->strides, r);
    *ret_step = last < 0 ? 1 : walk->strides[last];
    return rest < QN_OP_BLOCK ? (int)rest : QN_OP_BLOCK;
}

static const char *element(const qn_tensor *x, int64_t at)
{
    return (const char *)x->data + at * (int64_t)qn_dtype_size(x->dtype);
}

static double reduce_floats(const reduce_rule *rule, const qn_tensor *x, int64_t base,
                            const reduce_walk *walk)
{
    double so_far = rule->start, values[QN_OP_BLOCK];
    int64_t at = 0, step = 0;
    for (int64_t r = 0; r < walk->count;) {
        int count = next_block(walk, base, r, &at, &step);
        qn_dtype_read_f64(values, element(x, at), x->dtype, step, count);
        for (int i = 0; i < count && !isnan(so_far); i++)
            so_far = rule->step(so_far, values[i]);
        r += count;
    }
    return rule->finish ? rule->finish(so_far, (double)walk->count) : so_far;
}

/* The least or the largest number of a whole type. */
static int64_t end_of(qn_dtype dtype, bool largest_of)
{
    int bits = 8 * (int)qn_dtype_size(dtype);
    bool is_signed = dtype == QN_DTYPE_I8 || dtype == QN_DTYPE_I16 || dtype == QN_DTYPE_I32 ||
                     dtype == QN_DTYPE_I64;
    if (dtype == QN_DTYPE_BOOL)
        return largest_of;
    if (is_signed)
        return largest_of ? INT64_MAX >> (64 - bits) : -(INT64_MAX >> (64 - bits)) - 1;
    return largest_of ? (int64_t)(UINT64_MAX >> (64 - bits)) : 0;
}

/* u64 is compared as i64 with the first bit turned, and turned back. Of no elements the extreme is the type's own end. */
static int64_t reduce_integers(const reduce_rule *rule, const qn_tensor *x, int64_t base,
                               const reduce_walk *walk)
{
    int64_t so_far = rule->whole_start, values[QN_OP_BLOCK], at = 0, step = 0;
    bool compares = rule->whole_step == largest_whole || rule->whole_step == least_whole;
    int64_t turn = compares && x->dtype == QN_DTYPE_U64 ? INT64_MIN : 0;
    if (compares && walk->count == 0)
        return end_of(x->dtype, rule->whole_step == least_whole);
    for (int64_t r = 0; r < walk->count;) {
        int count = next_block(walk, base, r, &at, &step);
        qn_dtype_read_i64(values, element(x, at), x->dtype, step, count);
        for (int i = 0; i < count; i++)
            so_far = rule->whole_step(so_far, values[i] ^ turn);
        r += count;
    }
    return so_far ^ turn;
}

static double log_sum_exp(double high, const qn_tensor *x, int64_t base, const reduce_walk *walk)
{
    double sum = 0, values[QN_OP_BLOCK];
    int64_t at = 0, step = 0;
    if (isinf(high) || isnan(high))
        return high;
    for (int64_t r = 0; r < walk->count;) {
        int count = next_block(walk, base, r, &at, &step);
        qn_dtype_read_f64(values, element(x, at), x->dtype, step, count);
        for (int i = 0; i < count; i++)
            sum += exp(values[i] - high);
        r += count;
    }
    return high + log(sum);
}

/* The shape with reduced dimensions 1 (keep) or gone. */
static qn_shape reduced_shape(const qn_shape *shape, const bool axes[QN_RANK_MAX], bool keep)
{
    qn_shape out = {0};
    for (int d = 0; d < shape->rank; d++)
        if (!axes[d] || keep)
            out.dims[out.rank++] = axes[d] ? 1 : shape->dims[d];
    return out;
}

/* Without axes all are meant, or none with noop_with_empty_axes. */
static qn_status read_axes(const qn_op_types *types, const qn_shape *shape, bool axes[QN_RANK_MAX],
                           qn_error *err)
{
    int count = 0;
    qn_op_attr_ints(types, "axes", &count);
    QN_TRY(qn_op_axes(types, "axes", shape->rank, axes, err));
    for (int d = 0; d < QN_RANK_MAX && count == 0; d++)
        axes[d] = axes[d] && qn_op_attr_i(types, "noop_with_empty_axes") == 0;
    return QN_OK;
}

/* In ref and vjp, where infer has checked them. */
static void take_axes(const qn_op_types *types, const qn_shape *shape, bool axes[QN_RANK_MAX])
{
    qn_status status = read_axes(types, shape, axes, NULL);
    QN_ASSERT(status == QN_OK);
}

static qn_status reduce_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    bool axes[QN_RANK_MAX];
    QN_TRY(qn_op_want_kind(types, 0, OP_KIND_NUMBER, err));
    QN_TRY(read_axes(types, &types->inputs[0].shape, axes, err));
    bool keep = qn_op_attr_i(types, "keepdims") != 0;
    ret_outputs[0] =
        (qn_type){types->inputs[0].dtype, reduced_shape(&types->inputs[0].shape, axes, keep)};
    return QN_OK;
}

/* Extremes exist of bools too. */
static qn_status extreme_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    if (types->inputs[0].dtype != QN_DTYPE_BOOL)
        return reduce_infer(types, ret_outputs, err);
    qn_op_types as_bytes = *types;
    qn_type input = {QN_DTYPE_U8, types->inputs[0].shape};
    as_bytes.inputs = &input;
    QN_TRY(reduce_infer(&as_bytes, ret_outputs, err));
    ret_outputs[0].dtype = QN_DTYPE_BOOL;
    return QN_OK;
}

static void reduce_ref(const qn_op_run *run)
{
    bool axes[QN_RANK_MAX];
    const qn_tensor *x = &run->inputs[0];
    const reduce_rule *rule = rule_of(run);
    take_axes(run->types, &x->shape, axes);
    reduce_walk walk = walk_of(&x->shape, axes);
    bool whole = !qn_dtype_is_float(x->dtype) && rule->whole_step;
    bool two_passes = strcmp(rule->op, "ReduceLogSumExp") == 0;
    int64_t count = qn_shape_count(&walk.kept);
    for (int64_t i = 0; i < count; i++) {
        int64_t base = qn_op_offset(&walk.kept, walk.kept_strides, i);
        if (whole) {
            qn_op_put_i64(&run->outputs[0], i, reduce_integers(rule, x, base, &walk));
            continue;
        }
        double value = reduce_floats(rule, x, base, &walk);
        qn_op_put(&run->outputs[0], i, two_passes ? log_sum_exp(value, x, base, &walk) : value);
    }
}

/* A value of the output's shape, broadcast to the input's: reduced dimensions come back as 1 first. */
static qn_value spread_back(const qn_op_vjp *in, qn_value value)
{
    const qn_shape *shape = &in->types->inputs[0].shape;
    bool axes[QN_RANK_MAX];
    qn_attr attr = {.name = "axes", .kind = QN_ATTR_INTS};
    take_axes(in->types, shape, axes);
    for (int d = 0; d < shape->rank; d++)
        if (axes[d])
            attr.ints[attr.count++] = d;
    if (qn_op_attr_i(in->types, "keepdims") == 0 && attr.count > 0)
        value = qn_graph_node(in->graph, "Unsqueeze", &value, 1, &attr, 1);
    return qn_op_expand(in->graph, value, shape);
}

static void sum_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = spread_back(in, in->grads[0]);
}

/* The count may be symbolic, so the division is left to the row that sees it. */
static void mean_vjp(const qn_op_vjp *in, qn_value *ret)
{
    const qn_shape *shape = &in->types->inputs[0].shape;
    qn_attr attrs[4] = {
        in->types->attrs[0],
        in->types->attrs[1],
        in->types->attrs[2],
        {.name = "shape", .kind = QN_ATTR_INTS, .count = shape->rank},
    };
    memcpy(attrs[3].ints, shape->dims, sizeof(attrs[3].ints));
    ret[0] = qn_graph_node(in->graph, "ReduceMeanGrad", in->grads, 1, attrs, 4);
}

/* Elements equal to the extreme share its gradient. */
static void extreme_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_graph *graph = in->graph;
    qn_attr to = QN_ATTR_S("to", qn_dtype_name(qn_op_vjp_dtype(in, 0)));
    qn_value top = spread_back(in, in->outputs[0]);
    qn_value equal = qn_graph_op2(graph, "Equal", in->inputs[0], top);
    qn_value mask = qn_graph_node(graph, "Cast", &equal, 1, &to, 1);
    qn_value ties = qn_graph_node(graph, "ReduceSum", &mask, 1, in->types->attrs, 3);
    qn_value share = qn_graph_op2(graph, "Div", in->grads[0], ties);
    ret[0] = qn_graph_op2(graph, "Mul", mask, spread_back(in, share));
}

static void log_sum_exp_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_graph *graph = in->graph;
    qn_value below = qn_graph_op2(graph, "Sub", in->inputs[0], spread_back(in, in->outputs[0]));
    ret[0] = qn_graph_op2(graph, "Mul", qn_graph_op1(graph, "Exp", below),
                          spread_back(in, in->grads[0]));
}

/* The gradient of the sum of something of x, times its slope. */
static void l1_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_value sign = qn_graph_op1(in->graph, "Sign", in->inputs[0]);
    ret[0] = qn_op_mul(in, sign, spread_back(in, in->grads[0]));
}

/* x / y; where y is 0 all of x is, and so is the gradient. */
static void l2_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_value zero = qn_graph_scalar(in->graph, qn_op_vjp_dtype(in, 0), 0);
    qn_value none = qn_graph_op2(in->graph, "Equal", in->outputs[0], zero);
    qn_value over = qn_op_div(in, in->grads[0], in->outputs[0]);
    ret[0] = qn_op_mul(in, in->inputs[0], spread_back(in, qn_op_pick(in, none, zero, over)));
}

static void sum_square_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_value twice = qn_op_scale(in, in->grads[0], 2);
    ret[0] = qn_op_mul(in, in->inputs[0], spread_back(in, twice));
}

static void log_sum_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_value sum = qn_graph_op1(in->graph, "Exp", in->outputs[0]);
    ret[0] = spread_back(in, qn_op_div(in, in->grads[0], sum));
}

static void prod_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = qn_op_like_node(in, "ReduceProdGrad", (qn_value[]){in->grads[0], in->inputs[0]}, 2);
}

static qn_status mean_grad_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    bool axes[QN_RANK_MAX];
    qn_shape shape = qn_op_attr_shape(types);
    QN_TRY(qn_op_want_float(types, 0, err));
    QN_TRY(read_axes(types, &shape, axes, err));
    qn_shape reduced = reduced_shape(&shape, axes, qn_op_attr_i(types, "keepdims") != 0);
    QN_TRY(qn_op_want_shape(types, 0, &reduced, err));
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, shape};
    return QN_OK;
}

OP_LOOP1(f64, double, scale, a *p[0])
static const qn_op_loops scale_loops = {scale_f64, NULL, NULL};

static void mean_grad_ref(const qn_op_run *run)
{
    bool axes[QN_RANK_MAX];
    const qn_shape *shape = &run->outputs[0].shape;
    take_axes(run->types, shape, axes);
    qn_tensor dy = run->inputs[0];
    qn_op_run spread = *run;
    dy.shape = reduced_shape(shape, axes, true);
    spread.inputs = &dy;
    double share = (double)qn_shape_count(&dy.shape) / (double)qn_shape_count(shape);
    qn_op_map(&spread, &scale_loops, &share);
}

static qn_status prod_grad_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    bool axes[QN_RANK_MAX];
    const qn_shape *shape = &types->inputs[1].shape;
    QN_TRY(qn_op_want_kind(types, 0, OP_KIND_FLOAT, err));
    QN_TRY(qn_op_want_dtype(types, 1, types->inputs[0].dtype, err));
    QN_TRY(read_axes(types, shape, axes, err));
    qn_shape reduced = reduced_shape(shape, axes, qn_op_attr_i(types, "keepdims") != 0);
    QN_TRY(qn_op_want_shape(types, 0, &reduced, err));
    ret_outputs[0] = types->inputs[1];
    return QN_OK;
}

/* dx = dy times the product of all others: with one zero only that one has a gradient, with two none. */
static void prod_grad_ref(const qn_op_run *run)
{
    bool axes[QN_RANK_MAX];
    const qn_tensor *dy = &run->inputs[0], *x = &run->inputs[1];
    take_axes(run->types, &x->shape, axes);
    reduce_walk walk = walk_of(&x->shape, axes);
    for (int64_t i = 0; i < qn_shape_count(&walk.kept); i++) {
        int64_t base = qn_op_offset(&walk.kept, walk.kept_strides, i), zeros = 0;
        double product = qn_op_get(dy, i);
        for (int64_t r = 0; r < walk.count; r++) {
            double value = qn_op_get(x, base + qn_op_offset(&walk.reduced, walk.strides, r));
            zeros += value == 0;
            product *= value == 0 ? 1 : value;
        }
        for (int64_t r = 0; r < walk.count; r++) {
            int64_t at = base + qn_op_offset(&walk.reduced, walk.strides, r);
            double value = qn_op_get(x, at);
            bool alone = zeros == (value == 0); /* the others have no zero */
            qn_op_put(&run->outputs[0], at, alone ? product / (value == 0 ? 1 : value) : 0);
        }
    }
}

static int64_t input_flops(const qn_op_types *types)
{
    return qn_shape_count(&types->inputs[0].shape);
}

#define KEEPDIMS                                                                                   \
    {                                                                                              \
        .name = "keepdims", .kind = QN_ATTR_INT, .high = 1, .value = 1                             \
    }
static const qn_attr_spec reduce_attrs[] = {
    {.name = "axes", .kind = QN_ATTR_INTS},
    KEEPDIMS,
    {.name = "noop_with_empty_axes", .kind = QN_ATTR_INT, .high = 1},
    {0},
};
static const qn_attr_spec mean_grad_attrs[] = {
    {.name = "axes", .kind = QN_ATTR_INTS},
    KEEPDIMS,
    {.name = "noop_with_empty_axes", .kind = QN_ATTR_INT, .high = 1},
    {.name = "shape", .kind = QN_ATTR_INTS, .required = true, .symbolic = true},
    {0},
};
#define SAMPLE(type, from, count, ...)                                                             \
    {                                                                                              \
        .inputs_count = 1, .inputs = {type}, .low = (from), .high = 2, .attrs_count = (count),     \
        .attrs = {                                                                                 \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
static const qn_op_sample samples[] = {
    SAMPLE(OP_F64(3, 4), -2, 0, {0}),
    SAMPLE(OP_F64(2, 3, 4), -2, 2, OP_AINTS("axes", 0, 2), OP_AI("keepdims", 0)),
    SAMPLE(OP_F64(2, 3, 4), -2, 1, OP_AINTS("axes", 1)),
    SAMPLE(OP_F64(2, 3, 4), -2, 2, OP_AINTS("axes", -1), OP_AI("keepdims", 0)),
    SAMPLE(OP_F64(2, 3), -2, 1, OP_AI("noop_with_empty_axes", 1)),
    SAMPLE(OP_F64(0, 3), -2, 1, OP_AINTS("axes", 1)),
    SAMPLE(OP_F64(1, 300), -2, 1, OP_AINTS("axes", 1)),
    SAMPLE(OP_I32(4, 7), -2, 1, OP_AINTS("axes", 0)),
    SAMPLE(OP_I64(4, 7), -2, 0, {0}),
};
static const qn_op_sample mean_grad_samples[] = {
    SAMPLE(OP_F64(1, 3, 1), -2, 2, OP_AINTS("axes", 0, 2), OP_AINTS("shape", 2, 3, 4)),
    SAMPLE(OP_F64(2, 1, 4), -2, 2, OP_AINTS("axes", 1), OP_AINTS("shape", 2, 3, 4)),
    SAMPLE(OP_F64(2, 4), -2, 3, OP_AINTS("axes", 1), OP_AI("keepdims", 0),
           OP_AINTS("shape", 2, 3, 4)),
};
static const qn_op_sample positive_samples[] = {
    SAMPLE(OP_F64(3, 4), 0.5, 0, {0}),
    SAMPLE(OP_F64(2, 3, 4), 0.5, 2, OP_AINTS("axes", 0, 2), OP_AI("keepdims", 0)),
    SAMPLE(OP_F64(2, 3, 4), 0.5, 1, OP_AINTS("axes", 1)),
    SAMPLE(OP_F64(2, 3), 0.5, 1, OP_AI("noop_with_empty_axes", 1)),
};
static const qn_op_sample prod_grad_samples[] = {
    {.inputs_count = 2,
     .inputs = {OP_F64(2, 1, 4), OP_F64(2, 3, 4)},
     .low = -2,
     .high = 2,
     .attrs_count = 1,
     .attrs = {OP_AINTS("axes", 1)}},
};

#define ROW(op_name, infer_fn, vjp_fn, table)                                                      \
    {                                                                                              \
        .name = (op_name), .inputs_min = 1, .inputs_max = 1, .outputs_count = 1,                   \
        .attrs = reduce_attrs, .infer = (infer_fn), .vjp = (vjp_fn), .ref = reduce_ref,            \
        .flops = input_flops, OP_SAMPLES(table)                                                    \
    }

const qn_op qn_ops_reduce[] = {
    ROW("ReduceSum", reduce_infer, sum_vjp, samples),
    ROW("ReduceMean", reduce_infer, mean_vjp, samples),
    ROW("ReduceMax", extreme_infer, extreme_vjp, samples),
    ROW("ReduceMin", extreme_infer, extreme_vjp, samples),
    ROW("ReduceProd", reduce_infer, prod_vjp, samples),
    ROW("ReduceL1", reduce_infer, l1_vjp, samples),
    ROW("ReduceL2", reduce_infer, l2_vjp, samples),
    ROW("ReduceSumSquare", reduce_infer, sum_square_vjp, samples),
    ROW("ReduceLogSum", reduce_infer, log_sum_vjp, positive_samples),
    ROW("ReduceLogSumExp", reduce_infer, log_sum_exp_vjp, samples),
    {.name = "ReduceMeanGrad",
     .inputs_min = 1,
     .inputs_max = 1,
     .outputs_count = 1,
     .flags = QN_OP_NO_GRADIENT,
     .attrs = mean_grad_attrs,
     .infer = mean_grad_infer,
     .ref = mean_grad_ref,
     OP_SAMPLES(mean_grad_samples)},
    {.name = "ReduceProdGrad",
     .inputs_min = 2,
     .inputs_max = 2,
     .outputs_count = 1,
     .flags = QN_OP_NO_GRADIENT,
     .attrs = reduce_attrs,
     .infer = prod_grad_infer,
     .ref = prod_grad_ref,
     .flops = input_flops,
     OP_SAMPLES(prod_grad_samples)},
    {0},
};
