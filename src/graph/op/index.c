/*
 * Rows by index: Gather (embeddings), its gradient ScatterAddRows, AddRows, which adds that to a table that is there
 * already, OneHot and ReverseSequence. A negative index counts from the end; one outside the table gives zeros and is
 * skipped when scattering: outside data is checked where it is read.
 */
#include "graph/op/common.h"
#include "graph/op/number.h"

#include <string.h>

/* `table` with dimension `axis` replaced by `dims`. */
static qn_status replace_axis(const qn_op_types *types, const qn_shape *table, int axis,
                              const qn_shape *dims, qn_shape *ret, qn_error *err)
{
    qn_shape out = {.rank = table->rank - 1 + dims->rank};
    if (out.rank > QN_RANK_MAX)
        QN_FAIL(err, QN_ERR_ARG, "%s would have %d dimensions, at most %d are allowed",
                types->op->name, out.rank, QN_RANK_MAX);
    for (int d = 0; d < out.rank; d++) {
        int behind = d - axis - dims->rank;
        out.dims[d] = d < axis      ? table->dims[d]
                      : behind >= 0 ? table->dims[axis + 1 + behind]
                                    : dims->dims[d - axis];
    }
    *ret = out;
    return QN_OK;
}

static qn_status gather_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    const qn_shape *data = &types->inputs[0].shape;
    qn_shape out;
    int axis = 0;
    QN_TRY(qn_op_want_index(types, 1, err));
    if (data->rank < 1)
        QN_FAIL(err, QN_ERR_ARG, "input 0 is one number, expected rows");
    QN_TRY(qn_op_axis(types, data->rank, &axis, err));
    QN_TRY(replace_axis(types, data, axis, &types->inputs[1].shape, &out, err));
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, out};
    return QN_OK;
}

/* The row that entry `i` names; -1 = outside. */
static int64_t row_of(const qn_tensor *indices, int64_t i, int64_t rows)
{
    int64_t row = qn_op_get_i64(indices, i);
    if (row < 0 && row >= -rows)
        row += rows;
    return row >= 0 && row < rows ? row : -1;
}

static void gather_ref(const qn_op_run *run)
{
    const qn_tensor *data = &run->inputs[0], *indices = &run->inputs[1];
    qn_op_lines lines = qn_op_lines_of(&data->shape, qn_op_axis_of(run->types, data->shape.rank));
    int64_t count = qn_shape_count(&indices->shape);
    size_t bytes = (size_t)lines.inner * qn_dtype_size(data->dtype);
    char *dst = run->outputs[0].data;
    for (int64_t o = 0; o < lines.outer; o++)
        for (int64_t i = 0; i < count; i++, dst += bytes) {
            int64_t row = row_of(indices, i, lines.count);
            if (row < 0)
                memset(dst, 0, bytes);
            else
                memcpy(dst, (const char *)data->data + (size_t)(o * lines.count + row) * bytes,
                       bytes);
        }
}

static void gather_vjp(const qn_op_vjp *in, qn_value *ret)
{
    const qn_shape *data = &in->types->inputs[0].shape;
    int axis = qn_op_axis_of(in->types, data->rank);
    qn_attr attrs[] = {QN_ATTR_I("rows", data->dims[axis]), QN_ATTR_I("axis", axis)};
    if (qn_op_vjp_wants(in, 0))
        ret[0] = qn_graph_node(in->graph, "ScatterAddRows",
                               (qn_value[]){in->grads[0], in->inputs[1]}, 2, OP_NODE_ATTRS(attrs));
}

/* The table of `rows` rows that input `at`, [outer..., indices..., inner...], is added to by the indices behind it; `axis`
 * dimensions are outer. */
static qn_status table_type(const qn_op_types *types, int at, int64_t rows, qn_type *ret,
                            qn_error *err)
{
    const qn_shape *src = &types->inputs[at].shape, *indices = &types->inputs[at + 1].shape;
    qn_shape named = *indices, out = *src;
    int axis = (int)qn_op_attr_i(types, "axis");
    char came[128], want[128];
    QN_TRY(qn_op_want_float(types, at, err));
    QN_TRY(qn_op_want_index(types, at + 1, err));
    bool fits = axis + indices->rank <= src->rank;
    if (fits)
        memcpy(named.dims, src->dims + axis, (size_t)indices->rank * sizeof named.dims[0]);
    if (!fits || !qn_shape_equal(&named, indices))
        QN_FAIL(err, QN_ERR_ARG, "input %d is %s, expected %s in it from dimension %d on", at,
                qn_shape_text(src, came), qn_shape_text(indices, want), axis);
    out.rank = src->rank - indices->rank + 1;
    if (out.rank > QN_RANK_MAX)
        QN_FAIL(err, QN_ERR_ARG, "the table would have %d dimensions, at most %d are allowed",
                out.rank, QN_RANK_MAX);
    out.dims[axis] = rows;
    for (int d = axis + 1; d < out.rank; d++)
        out.dims[d] = src->dims[d + indices->rank - 1];
    *ret = (qn_type){types->inputs[at].dtype, out};
    return QN_OK;
}

static qn_status scatter_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    return table_type(types, 0, qn_op_attr_i(types, "rows"), ret_outputs, err);
}

static qn_status add_rows_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    const qn_shape *table = &types->inputs[0].shape;
    int64_t axis = qn_op_attr_i(types, "axis");
    qn_type type;
    if (axis >= table->rank)
        QN_FAIL(err, QN_ERR_ARG, "input 0 has %d dimensions, expected more than %d", table->rank,
                (int)axis);
    QN_TRY(table_type(types, 1, table->dims[axis], &type, err));
    QN_TRY(qn_op_want_dtype(types, 0, type.dtype, err));
    QN_TRY(qn_op_want_shape(types, 0, &type.shape, err));
    ret_outputs[0] = type;
    return QN_OK;
}

#define SCATTER(T, suffix)                                                                         \
    static void add_row_##suffix(void *dst, const void *src, int64_t count)                        \
    {                                                                                              \
        T *to = dst;                                                                               \
        const T *from = src;                                                                       \
        for (int64_t i = 0; i < count; i++)                                                        \
            to[i] += from[i];                                                                      \
    }
SCATTER(float, f32)
SCATTER(double, f64)

/* Input `at` to the rows of output 0 that the indices behind it name. */
static void add_rows(const qn_op_run *run, int at)
{
    const qn_tensor *src = &run->inputs[at], *indices = &run->inputs[at + 1];
    qn_op_lines lines =
        qn_op_lines_of(&run->outputs[0].shape, (int)qn_op_attr_i(run->types, "axis"));
    int64_t count = qn_shape_count(&indices->shape);
    size_t bytes = (size_t)lines.inner * qn_dtype_size(src->dtype);
    const char *from = src->data;
    char *dst = run->outputs[0].data;
    for (int64_t o = 0; o < lines.outer; o++)
        for (int64_t i = 0; i < count; i++, from += bytes) {
            int64_t row = row_of(indices, i, lines.count);
            if (row >= 0)
                OP_FLOAT_CALL(src->dtype, add_row, dst + (size_t)(o * lines.count + row) * bytes,
                              from, lines.inner);
        }
}

static void scatter_ref(const qn_op_run *run)
{
    memset(run->outputs[0].data, 0, qn_tensor_bytes(&run->outputs[0]));
    add_rows(run, 0);
}

static void add_rows_ref(const qn_op_run *run)
{
    memmove(run->outputs[0].data, run->inputs[0].data, qn_tensor_bytes(&run->outputs[0]));
    add_rows(run, 1);
}

/* dy's rows, the slope of what was added to them by `indices`. */
static qn_value rows_added(const qn_op_vjp *in, qn_value indices)
{
    qn_attr axis = QN_ATTR_I("axis", qn_op_attr_i(in->types, "axis"));
    return qn_graph_node(in->graph, "Gather", (qn_value[]){in->grads[0], indices}, 2, &axis, 1);
}

static void scatter_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = rows_added(in, in->inputs[1]);
}

static void add_rows_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = in->grads[0];
    if (qn_op_vjp_wants(in, 1))
        ret[1] = rows_added(in, in->inputs[2]);
}

static qn_status one_hot_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    const qn_shape *indices = &types->inputs[0].shape;
    qn_shape out = *indices;
    qn_dtype dtype = QN_DTYPE_F32;
    int axis = 0;
    bool found = qn_dtype_find(qn_op_attr_s(types, "dtype"), &dtype);
    QN_ASSERT(found);
    QN_TRY(qn_op_want_kind(types, 0, OP_KIND_NUMBER, err));
    QN_TRY(qn_op_axis(types, indices->rank + 1, &axis, err));
    if (indices->rank == QN_RANK_MAX)
        QN_FAIL(err, QN_ERR_ARG, "input 0 has %d dimensions, at most %d are allowed", indices->rank,
                QN_RANK_MAX - 1);
    memmove(out.dims + axis + 1, out.dims + axis, (size_t)(out.rank - axis) * sizeof out.dims[0]);
    out.dims[axis] = qn_op_attr_i(types, "depth");
    out.rank++;
    ret_outputs[0] = (qn_type){dtype, out};
    return QN_OK;
}

static void one_hot_ref(const qn_op_run *run)
{
    const qn_tensor *indices = &run->inputs[0], *dst = &run->outputs[0];
    qn_op_lines lines = qn_op_lines_of(&dst->shape, qn_op_axis_of(run->types, dst->shape.rank));
    double off = qn_op_attr_f(run->types, "off"), on = qn_op_attr_f(run->types, "on");
    for (int64_t i = 0; i < lines.outer * lines.inner; i++) {
        double index = qn_op_get(indices, i);
        int64_t at = qn_op_line_at(&lines, i);
        index = index < 0 ? index + (double)lines.count : index;
        for (int64_t k = 0; k < lines.count; k++)
            qn_op_put(dst, at + k * lines.inner, index == (double)k ? on : off);
    }
}

static qn_status reverse_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    const qn_shape *x = &types->inputs[0].shape;
    int64_t batch = qn_op_attr_i(types, "batch_axis"), time = qn_op_attr_i(types, "time_axis");
    QN_TRY(qn_op_want_index(types, 1, err));
    if (x->rank < 2 || batch == time)
        QN_FAIL(err, QN_ERR_ARG, "needs two dimensions, one of batch and one of time");
    qn_shape lengths = QN_SHAPE(x->dims[batch]);
    QN_TRY(qn_op_want_shape(types, 1, &lengths, err));
    ret_outputs[0] = types->inputs[0];
    return QN_OK;
}

/* The first lengths[b] steps of row b in reverse, the others as they are. */
static void reverse_ref(const qn_op_run *run)
{
    const qn_tensor *x = &run->inputs[0];
    int64_t batch = qn_op_attr_i(run->types, "batch_axis");
    qn_op_lines b = qn_op_lines_of(&x->shape, (int)batch);
    qn_op_lines t = qn_op_lines_of(&x->shape, (int)qn_op_attr_i(run->types, "time_axis"));
    int64_t count = qn_shape_count(&x->shape);
    for (int64_t i = 0; i < count; i++) {
        int64_t length = qn_op_get_i64(&run->inputs[1], i / b.inner % b.count);
        int64_t step = i / t.inner % t.count, from = i;
        if (step < length && length <= t.count)
            from += (length - 1 - 2 * step) * t.inner;
        qn_op_put_from(&run->outputs[0], i, x, from);
    }
}

static void reverse_vjp(const qn_op_vjp *in, qn_value *ret)
{
    if (qn_op_vjp_wants(in, 0))
        ret[0] =
            qn_op_like_node(in, "ReverseSequence", (qn_value[]){in->grads[0], in->inputs[1]}, 2);
}

static const qn_attr_spec gather_attrs[] = {
    {.name = "axis", .kind = QN_ATTR_INT},
    {0},
};
static const qn_attr_spec rows_attrs[] = {
    {.name = "rows",
     .kind = QN_ATTR_INT,
     .required = true,
     .low = -QN_DIM_SYMBOLS,
     .high = 1e15,
     .symbolic = true},
    {.name = "axis", .kind = QN_ATTR_INT, .high = QN_RANK_MAX - 1},
    {0},
};
static const qn_attr_spec add_rows_attrs[] = {
    {.name = "axis", .kind = QN_ATTR_INT, .high = QN_RANK_MAX - 1},
    {0},
};
static const qn_attr_spec one_hot_attrs[] = {
    {.name = "depth", .kind = QN_ATTR_INT, .required = true, .low = 1, .high = 1e9},
    {.name = "dtype", .kind = QN_ATTR_STRING, .choices = OP_DTYPE_CHOICES},
    {.name = "axis", .kind = QN_ATTR_INT, .value = -1},
    {.name = "off", .kind = QN_ATTR_FLOAT},
    {.name = "on", .kind = QN_ATTR_FLOAT, .value = 1},
    {0},
};
static const qn_attr_spec reverse_attrs[] = {
    {.name = "batch_axis", .kind = QN_ATTR_INT, .high = 1, .value = 1},
    {.name = "time_axis", .kind = QN_ATTR_INT, .high = 1},
    {0},
};
#define SAMPLE(x, indices, count, ...)                                                             \
    {                                                                                              \
        .inputs_count = 2, .inputs = {x, indices}, .low = -1, .high = 4, .attrs_count = (count),   \
        .attrs = {                                                                                 \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define ADD_SAMPLE(table, x, indices, count, ...)                                                  \
    {                                                                                              \
        .inputs_count = 3, .inputs = {table, x, indices}, .low = -1, .high = 4,                    \
        .attrs_count = (count), .attrs = {                                                         \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define HOT_SAMPLE(x, count, ...)                                                                  \
    {                                                                                              \
        .inputs_count = 1, .inputs = {x}, .low = 0, .high = 4, .attrs_count = (count), .attrs = {  \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
static const qn_op_sample gather_samples[] = {
    SAMPLE(OP_F64(4, 3), OP_I64(2, 5), 0, {0}),
    SAMPLE(OP_F64(4, 2, 3), OP_I64(6), 0, {0}),
    SAMPLE(OP_F64(4), OP_I64_SCALAR, 0, {0}),
    SAMPLE(OP_F64(2, 5, 3), OP_I64(2, 2), 1, OP_AI("axis", 1)),
    SAMPLE(OP_F64(3, 5), OP_I32(4), 1, OP_AI("axis", -1)),
};
static const qn_op_sample scatter_samples[] = {
    SAMPLE(OP_F64(2, 5, 3), OP_I64(2, 5), 1, OP_AI("rows", 4)),
    SAMPLE(OP_F64(2, 5, 3), OP_I64(5), 2, OP_AI("rows", 4), OP_AI("axis", 1)),
};
static const qn_op_sample add_rows_samples[] = {
    ADD_SAMPLE(OP_F64(4, 3), OP_F64(2, 5, 3), OP_I64(2, 5), 0, {0}),
    ADD_SAMPLE(OP_F64(2, 4, 3), OP_F64(2, 5, 3), OP_I64(5), 1, OP_AI("axis", 1)),
};
static const qn_op_sample one_hot_samples[] = {
    HOT_SAMPLE(OP_I64(2, 5), 1, OP_AI("depth", 4)),
    HOT_SAMPLE(OP_I64(5), 2, OP_AI("depth", 3), OP_AS("dtype", "f64")),
    HOT_SAMPLE(OP_I32(2, 5), 4, OP_AI("depth", 3), OP_AI("axis", 1), OP_AF("on", 5),
               OP_AS("dtype", "i32")),
};
static const qn_op_sample reverse_samples[] = {
    SAMPLE(OP_F64(4, 3, 2), OP_I64(3), 0, {0}),
    SAMPLE(OP_F64(3, 4), OP_I64(3), 2, OP_AI("batch_axis", 0), OP_AI("time_axis", 1)),
};

const qn_op qn_ops_index[] = {
    {.name = "Gather",
     .inputs_min = 2,
     .inputs_max = 2,
     .outputs_count = 1,
     .attrs = gather_attrs,
     .infer = gather_infer,
     .vjp = gather_vjp,
     .ref = gather_ref,
     OP_SAMPLES(gather_samples)},
    {.name = "ScatterAddRows",
     .inputs_min = 2,
     .inputs_max = 2,
     .outputs_count = 1,
     .attrs = rows_attrs,
     .infer = scatter_infer,
     .vjp = scatter_vjp,
     .ref = scatter_ref,
     OP_SAMPLES(scatter_samples)},
    {.name = "AddRows",
     .inputs_min = 3,
     .inputs_max = 3,
     .outputs_count = 1,
     .flags = QN_OP_INPLACE,
     .attrs = add_rows_attrs,
     .infer = add_rows_infer,
     .vjp = add_rows_vjp,
     .ref = add_rows_ref,
     OP_SAMPLES(add_rows_samples)},
    {.name = "OneHot",
     .inputs_min = 1,
     .inputs_max = 1,
     .outputs_count = 1,
     .flags = QN_OP_NO_GRADIENT,
     .attrs = one_hot_attrs,
     .infer = one_hot_infer,
     .ref = one_hot_ref,
     OP_SAMPLES(one_hot_samples)},
    {.name = "ReverseSequence",
     .inputs_min = 2,
     .inputs_max = 2,
     .outputs_count = 1,
     .attrs = reverse_attrs,
     .infer = reverse_infer,
     .vjp = reverse_vjp,
     .ref = reverse_ref,
     OP_SAMPLES(reverse_samples)},
    {0},
};
