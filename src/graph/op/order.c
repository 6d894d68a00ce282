/*
 * Rows that compare the elements of one line: ArgMax, ArgMin, TopK, Hardmax. Among equals the first
 * comes first, and NaN counts as the largest.
 */
#include "graph/op/common.h"
#include "graph/op/number.h"

#include <math.h>
#include <string.h>

static qn_op_lines lines_of(const qn_op_run *run)
{
    const qn_shape *shape = &run->inputs[0].shape;
    return qn_op_lines_of(shape, qn_op_axis_of(run->types, shape->rank));
}

static qn_status arg_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_shape shape = types->inputs[0].shape;
    int axis = 0;
    QN_TRY(qn_op_want_kind(types, 0, OP_KIND_NUMBER, err));
    QN_TRY(qn_op_axis(types, shape.rank, &axis, err));
    if (shape.dims[axis] == 0)
        QN_FAIL(err, QN_ERR_ARG, "axis %d has no elements to choose from", axis);
    shape.dims[axis] = 1;
    if (qn_op_attr_i(types, "keepdims") == 0) {
        memmove(shape.dims + axis, shape.dims + axis + 1,
                (size_t)(shape.rank - axis - 1) * sizeof shape.dims[0]);
        shape.rank--;
    }
    ret_outputs[0] = (qn_type){QN_DTYPE_I64, shape};
    return QN_OK;
}

/* The place in a line of its largest element, or its smallest, where NaN wins too. */
static int64_t find_extreme(const qn_tensor *x, const qn_op_lines *lines, int64_t at, bool largest,
                            bool last)
{
    int64_t best = 0;
    for (int64_t i = 1; i < lines->count; i++) {
        int64_t place = at + i * lines->inner, top = at + best * lines->inner;
        int order = qn_op_compare(x, place, x, top);
        bool nan = qn_dtype_is_float(x->dtype) && isnan(qn_op_get(x, order < 0 ? top : place));
        if (!largest && !nan)
            order = -order;
        if (order > 0 || (order == 0 && last))
            best = i;
    }
    return best;
}

static void find_extremes(const qn_op_run *run, bool largest)
{
    qn_op_lines lines = lines_of(run);
    bool last = qn_op_attr_i(run->types, "select_last_index") != 0;
    int64_t *dst = run->outputs[0].data;
    for (int64_t i = 0; i < lines.outer * lines.inner; i++)
        dst[i] = find_extreme(&run->inputs[0], &lines, qn_op_line_at(&lines, i), largest, last);
}
static void argmax_ref(const qn_op_run *run)
{
    find_extremes(run, true);
}
static void argmin_ref(const qn_op_run *run)
{
    find_extremes(run, false);
}

/* 1 at the largest element of each line. */
static void hardmax_ref(const qn_op_run *run)
{
    qn_op_lines lines = lines_of(run);
    memset(run->outputs[0].data, 0, qn_tensor_bytes(&run->outputs[0]));
    for (int64_t i = 0; i < lines.outer * lines.inner; i++) {
        int64_t at = qn_op_line_at(&lines, i);
        if (lines.count > 0)
            at += find_extreme(&run->inputs[0], &lines, at, true, false) * lines.inner;
        qn_op_put(&run->outputs[0], at, 1);
    }
}

static qn_status hardmax_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    int axis = 0;
    QN_TRY(qn_op_want_kind(types, 0, OP_KIND_FLOAT, err));
    QN_TRY(qn_op_axis(types, types->inputs[0].shape.rank, &axis, err));
    ret_outputs[0] = types->inputs[0];
    return QN_OK;
}

static qn_status top_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_shape shape = types->inputs[0].shape;
    int64_t k = qn_op_attr_i(types, "k");
    int axis = 0;
    QN_TRY(qn_op_want_kind(types, 0, OP_KIND_NUMBER, err));
    QN_TRY(qn_op_axis(types, shape.rank, &axis, err));
    if (k > shape.dims[axis])
        QN_FAIL(err, QN_ERR_ARG, "cannot take %lld of the %lld elements of axis %d", (long long)k,
                (long long)shape.dims[axis], axis);
    shape.dims[axis] = k;
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, shape};
    ret_outputs[1] = (qn_type){QN_DTYPE_I64, shape};
    return QN_OK;
}

/* The best k of a line, kept as a heap of places in the output's own memory, the worst on top: an
 * element that loses against it costs one comparison. */
typedef struct {
    const qn_tensor *x;
    int64_t at, step, count; /* the line; the heap's entries are as far apart as its elements */
    int64_t *heap;
    int direction; /* 1 = the largest */
} top_line;

/* Whether element a comes before b; of equals the first. */
static bool is_before(const top_line *t, int64_t a, int64_t b)
{
    int order = t->direction * qn_op_compare(t->x, t->at + a * t->step, t->x, t->at + b * t->step);
    return order > 0 || (order == 0 && a < b);
}

static void sink(const top_line *t, int64_t size, int64_t i)
{
    int64_t item = t->heap[i * t->step];
    for (int64_t child; (child = 2 * i + 1) < size; i = child) {
        if (child + 1 < size &&
            is_before(t, t->heap[child * t->step], t->heap[(child + 1) * t->step]))
            child++;
        if (!is_before(t, item, t->heap[child * t->step]))
            break;
        t->heap[i * t->step] = t->heap[child * t->step];
    }
    t->heap[i * t->step] = item;
}

static void find_top(const top_line *t, int64_t k)
{
    for (int64_t i = 0; i < k; i++)
        t->heap[i * t->step] = i;
    for (int64_t i = k / 2 - 1; i >= 0; i--)
        sink(t, k, i);
    for (int64_t i = k; i < t->count; i++)
        if (is_before(t, i, t->heap[0])) {
            t->heap[0] = i;
            sink(t, k, 0);
        }
    for (int64_t last = k - 1; last > 0; last--) { /* the worst goes behind, again and again */
        int64_t worst = t->heap[0];
        t->heap[0] = t->heap[last * t->step];
        t->heap[last * t->step] = worst;
        sink(t, last, 0);
    }
}

static void top_ref(const qn_op_run *run)
{
    const qn_tensor *x = &run->inputs[0];
    qn_op_lines lines = lines_of(run);
    int64_t k = qn_op_attr_i(run->types, "k"), *indices = run->outputs[1].data;
    int direction = qn_op_attr_i(run->types, "largest") != 0 ? 1 : -1;
    qn_op_lines short_lines = {lines.outer, k, lines.inner};
    for (int64_t line = 0; line < lines.outer * lines.inner && k > 0; line++) {
        int64_t at = qn_op_line_at(&lines, line), to = qn_op_line_at(&short_lines, line);
        find_top(&(top_line){x, at, lines.inner, lines.count, indices + to, direction}, k);
        for (int64_t p = to; p < to + k * lines.inner; p += lines.inner)
            qn_op_put_from(&run->outputs[0], p, x, at + indices[p] * lines.inner);
    }
}

/* Back to where the elements came from. */
static void top_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_attr axis = QN_ATTR_I("axis", qn_op_attr_i(in->types, "axis"));
    if (in->grads[0] == QN_NONE)
        return;
    qn_value zeros = qn_graph_op1(in->graph, "ZerosLike", in->inputs[0]);
    ret[0] = qn_graph_node(in->graph, "ScatterElements",
                           (qn_value[]){zeros, in->outputs[1], in->grads[0]}, 3, &axis, 1);
}

/* Most elements of a long line lose against the worst of the best and cost one comparison. */
static int64_t top_flops(const qn_op_types *types)
{
    return 4 * qn_shape_count(&types->inputs[0].shape);
}
static int64_t input_flops(const qn_op_types *types)
{
    return qn_shape_count(&types->inputs[0].shape);
}

static const qn_attr_spec arg_attrs[] = {
    {.name = "axis", .kind = QN_ATTR_INT},
    {.name = "keepdims", .kind = QN_ATTR_INT, .high = 1, .value = 1},
    {.name = "select_last_index", .kind = QN_ATTR_INT, .high = 1},
    {0},
};
static const qn_attr_spec axis_attrs[] = {
    {.name = "axis", .kind = QN_ATTR_INT, .value = -1},
    {0},
};
static const qn_attr_spec top_attrs[] = {
    {.name = "k", .kind = QN_ATTR_INT, .required = true, .high = 1e15},
    {.name = "axis", .kind = QN_ATTR_INT, .value = -1},
    {.name = "largest", .kind = QN_ATTR_INT, .high = 1, .value = 1},
    {.name = "sorted", .kind = QN_ATTR_INT, .high = 1, .value = 1},
    {0},
};

#define SAMPLE(type, count, ...)                                                                   \
    {                                                                                              \
        .inputs_count = 1, .inputs = {type}, .low = -2, .high = 9, .attrs_count = (count),         \
        .attrs = {                                                                                 \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
static const qn_op_sample arg_samples[] = {
    SAMPLE(OP_F64(5, 7), 2, OP_AI("axis", -1), OP_AI("keepdims", 0)),
    SAMPLE(OP_F64(2, 5, 3), 1, OP_AI("axis", 1)),
    SAMPLE(OP_I32(4, 40), 2, OP_AI("axis", 1), OP_AI("select_last_index", 1)),
    SAMPLE(OP_U8(4, 40), 1, OP_AI("axis", 1)),
};
static const qn_op_sample hardmax_samples[] = {
    SAMPLE(OP_F64(5, 7), 0, {0}),
    SAMPLE(OP_F64(2, 5, 3), 1, OP_AI("axis", 1)),
};
static const qn_op_sample top_samples[] = {
    SAMPLE(OP_F64(5, 7), 1, OP_AI("k", 3)),
    SAMPLE(OP_F64(2, 5, 3), 3, OP_AI("k", 5), OP_AI("axis", 1), OP_AI("largest", 0)),
    SAMPLE(OP_I32(50), 1, OP_AI("k", 9)),
    SAMPLE(OP_U8(60), 1, OP_AI("k", 60)),
    SAMPLE(OP_F64(2, 3), 1, OP_AI("k", 0)),
};

#define ARG_ROW(op_name, stem)                                                                     \
    {                                                                                              \
        .name = (op_name), .inputs_min = 1, .inputs_max = 1, .outputs_count = 1,                   \
        .flags = QN_OP_NO_GRADIENT, .attrs = arg_attrs, .infer = arg_infer, .ref = stem##_ref,     \
        .flops = input_flops, OP_SAMPLES(arg_samples)                                              \
    }

const qn_op qn_ops_order[] = {
    ARG_ROW("ArgMax", argmax),
    ARG_ROW("ArgMin", argmin),
    {.name = "TopK",
     .inputs_min = 1,
     .inputs_max = 1,
     .outputs_count = 2,
     .attrs = top_attrs,
     .infer = top_infer,
     .vjp = top_vjp,
     .ref = top_ref,
     .flops = top_flops,
     OP_SAMPLES(top_samples)},
    {.name = "Hardmax",
     .inputs_min = 1,
     .inputs_max = 1,
     .outputs_count = 1,
     .flags = QN_OP_NO_GRADIENT,
     .attrs = axis_attrs,
     .infer = hardmax_infer,
     .ref = hardmax_ref,
     .flops = input_flops,
     OP_SAMPLES(hardmax_samples)},
    {0},
};
