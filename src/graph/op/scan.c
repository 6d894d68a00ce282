/*
 * Running sums and products along one axis. `exclusive` leaves the element itself out, `reverse`
 * runs from the end.
 */
#include "graph/op/common.h"
#include "graph/op/number.h"

#include <string.h>

/* One line: elements in the order they are taken, with a factor between places. */
typedef struct {
    int64_t at, step, count;
    bool exclusive;
} scan_line;

static scan_line line_of(const qn_op_run *run, const qn_op_lines *lines, int64_t line)
{
    bool reverse = qn_op_attr_i(run->types, "reverse") != 0;
    int64_t at = qn_op_line_at(lines, line);
    return (scan_line){.at = reverse ? at + (lines->count - 1) * lines->inner : at,
                       .step = reverse ? -lines->inner : lines->inner,
                       .count = lines->count,
                       .exclusive = qn_op_attr_i(run->types, "exclusive") != 0};
}

static void scan_floats(const qn_op_run *run, scan_line line, bool product)
{
    double so_far = product ? 1 : 0;
    for (int64_t i = 0, at = line.at; i < line.count; i++, at += line.step) {
        double x = qn_op_get(&run->inputs[0], at), next = product ? so_far * x : so_far + x;
        qn_op_put(&run->outputs[0], at, line.exclusive ? so_far : next);
        so_far = next;
    }
}

/* Integers wrap. */
static void scan_integers(const qn_op_run *run, scan_line line, bool product)
{
    uint64_t so_far = product;
    for (int64_t i = 0, at = line.at; i < line.count; i++, at += line.step) {
        uint64_t x = (uint64_t)qn_op_get_i64(&run->inputs[0], at);
        uint64_t next = product ? so_far * x : so_far + x;
        qn_op_put_i64(&run->outputs[0], at, (int64_t)(line.exclusive ? so_far : next));
        so_far = next;
    }
}

static qn_op_lines lines_of(const qn_op_run *run)
{
    const qn_shape *shape = &run->inputs[0].shape;
    return qn_op_lines_of(shape, qn_op_axis_of(run->types, shape->rank));
}

static void scan(const qn_op_run *run, bool product)
{
    qn_op_lines lines = lines_of(run);
    bool floats = qn_dtype_is_float(run->inputs[0].dtype);
    for (int64_t i = 0; i < lines.outer * lines.inner; i++)
        (floats ? scan_floats : scan_integers)(run, line_of(run, &lines, i), product);
}
static void sum_ref(const qn_op_run *run)
{
    scan(run, false);
}
static void product_ref(const qn_op_run *run)
{
    scan(run, true);
}

static qn_status scan_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    int axis = 0;
    QN_TRY(qn_op_want_kind(types, 0, OP_KIND_NUMBER, err));
    for (int i = 1; i < types->inputs_count; i++)
        QN_TRY(qn_op_want_like(types, i, 0, err));
    QN_TRY(qn_op_axis(types, types->inputs[0].shape.rank, &axis, err));
    ret_outputs[0] = types->inputs[0];
    return QN_OK;
}

/* Element i is in every sum that comes after it: the same sum of dy from the other end. */
static void sum_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_attr attrs[] = {
        QN_ATTR_I("axis", qn_op_attr_i(in->types, "axis")),
        QN_ATTR_I("exclusive", qn_op_attr_i(in->types, "exclusive")),
        QN_ATTR_I("reverse", qn_op_attr_i(in->types, "reverse") == 0),
    };
    ret[0] = qn_graph_node(in->graph, "CumSum", in->grads, 1, attrs, 3);
}

static void product_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = qn_op_like_node(in, "CumProdGrad", (qn_value[]){in->grads[0], in->inputs[0]}, 2);
}

/* dx of place i = the sum over the products that i is in of dy times their other factors. Not y / x,
 * which zeros would spoil. */
static void product_grad_line(const qn_op_run *run, scan_line line)
{
    const qn_tensor *dy = &run->inputs[0], *x = &run->inputs[1];
    double before = 1;
    for (int64_t i = 0; i < line.count; i++) {
        double others = before, sum = 0;
        for (int64_t j = line.exclusive ? i + 1 : i; j < line.count; j++) {
            if (line.exclusive ? j > i + 1 : j > i)
                others *= qn_op_get(x, line.at + (line.exclusive ? j - 1 : j) * line.step);
            sum += qn_op_get(dy, line.at + j * line.step) * others;
        }
        qn_op_put(&run->outputs[0], line.at + i * line.step, sum);
        before *= qn_op_get(x, line.at + i * line.step);
    }
}

static void product_grad_ref(const qn_op_run *run)
{
    qn_op_lines lines = lines_of(run);
    for (int64_t i = 0; i < lines.outer * lines.inner; i++)
        product_grad_line(run, line_of(run, &lines, i));
}

static const qn_attr_spec attrs[] = {
    {.name = "axis", .kind = QN_ATTR_INT, .required = true},
    {.name = "exclusive", .kind = QN_ATTR_INT, .high = 1},
    {.name = "reverse", .kind = QN_ATTR_INT, .high = 1},
    {0},
};

#define SAMPLE(type, count, ...)                                                                   \
    {                                                                                              \
        .inputs_count = 1, .inputs = {type}, .low = -2, .high = 2, .attrs_count = (count),         \
        .attrs = {                                                                                 \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
static const qn_op_sample samples[] = {
    SAMPLE(OP_F64(3, 5), 1, OP_AI("axis", 1)),
    SAMPLE(OP_F64(2, 4, 3), 2, OP_AI("axis", 1), OP_AI("exclusive", 1)),
    SAMPLE(OP_F64(2, 4, 3), 2, OP_AI("axis", -2), OP_AI("reverse", 1)),
    SAMPLE(OP_F64(5), 3, OP_AI("axis", 0), OP_AI("exclusive", 1), OP_AI("reverse", 1)),
    SAMPLE(OP_I32(3, 5), 1, OP_AI("axis", 0)),
};
static const qn_op_sample grad_samples[] = {
    {.inputs_count = 2,
     .inputs = {OP_F64(3, 5), OP_F64(3, 5)},
     .low = -2,
     .high = 2,
     .attrs_count = 1,
     .attrs = {OP_AI("axis", 1)}},
};

#define ROW(op_name, stem)                                                                         \
    {                                                                                              \
        .name = (op_name), .inputs_min = 1, .inputs_max = 1, .outputs_count = 1, .attrs = attrs,   \
        .infer = scan_infer, .vjp = stem##_vjp, .ref = stem##_ref, OP_SAMPLES(samples)             \
    }

const qn_op qn_ops_scan[] = {
    ROW("CumSum", sum),
    ROW("CumProd", product),
    {.name = "CumProdGrad",
     .inputs_min = 2,
     .inputs_max = 2,
     .outputs_count = 1,
     .flags = QN_OP_NO_GRADIENT,
     .attrs = attrs,
     .infer = scan_infer,
     .ref = product_grad_ref,
     OP_SAMPLES(grad_samples)},
    {0},
};
