/*
 * Rows by index: Gather (embeddings), its gradient ScatterAddRows, and OneHot. An index outside the table gives
 * zeros and is skipped when scattering: outside data is checked where it is read.
 */
#include "graph/op/common.h"

#include <string.h>

/* Elements of one row: all dimensions after the first `from`. */
static int64_t row_size(const qn_shape *shape, int from)
{
    int64_t size = 1;
    for (int d = from; d < shape->rank; d++)
        size *= shape->dims[d];
    return size;
}

static qn_status join(const qn_op_types *types, const qn_shape *first, const int64_t *dims,
                      int count, qn_shape *ret, qn_error *err)
{
    qn_shape out = *first;
    if (out.rank + count > QN_RANK_MAX)
        QN_FAIL(err, QN_ERR_ARG, "%s would have %d dimensions, at most %d are allowed",
                types->op->name, out.rank + count, QN_RANK_MAX);
    if (count > 0)
        memcpy(out.dims + out.rank, dims, (size_t)count * sizeof(*dims));
    out.rank += count;
    *ret = out;
    return QN_OK;
}

static qn_status gather_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    const qn_shape *data = &types->inputs[0].shape;
    qn_shape out;
    QN_TRY(qn_op_want_dtype(types, 1, QN_DTYPE_I64, err));
    if (data->rank < 1)
        QN_FAIL(err, QN_ERR_ARG, "input 0 is one number, expected rows");
    QN_TRY(join(types, &types->inputs[1].shape, data->dims + 1, data->rank - 1, &out, err));
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, out};
    return QN_OK;
}

static void gather_ref(const qn_op_run *run)
{
    const qn_tensor *data = &run->inputs[0], *indices = &run->inputs[1];
    const int64_t *index = indices->data;
    int64_t count = qn_shape_count(&indices->shape), rows = data->shape.dims[0];
    size_t bytes = (size_t)row_size(&data->shape, 1) * qn_dtype_size(data->dtype);
    char *dst = run->outputs[0].data;
    memset(dst, 0, qn_tensor_bytes(&run->outputs[0]));
    for (int64_t i = 0; i < count; i++)
        if (index[i] >= 0 && index[i] < rows)
            memcpy(dst + (size_t)i * bytes, (const char *)data->data + (size_t)index[i] * bytes,
                   bytes);
}

static void gather_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_attr rows = QN_ATTR_I("rows", in->types->inputs[0].shape.dims[0]);
    if (qn_op_vjp_wants(in, 0))
        ret[0] = qn_graph_node(in->graph, "ScatterAddRows",
                               (qn_value[]){in->grads[0], in->inputs[1]}, 2, &rows, 1);
}

static qn_status scatter_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    const qn_shape *src = &types->inputs[0].shape, *indices = &types->inputs[1].shape;
    qn_shape rows = {1, {qn_op_attr_i(types, "rows")}}, leading = *src, out;
    char came[128], want[128];
    QN_TRY(qn_op_want_float(types, 0, err));
    QN_TRY(qn_op_want_dtype(types, 1, QN_DTYPE_I64, err));
    leading.rank = indices->rank;
    if (indices->rank > src->rank || !qn_shape_equal(&leading, indices))
        QN_FAIL(err, QN_ERR_ARG, "input 0 is %s, expected it to begin with %s",
                qn_shape_text(src, came), qn_shape_text(indices, want));
    QN_TRY(join(types, &rows, src->dims + indices->rank, src->rank - indices->rank, &out, err));
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, out};
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

static void scatter_ref(const qn_op_run *run)
{
    const qn_tensor *src = &run->inputs[0], *indices = &run->inputs[1];
    const int64_t *index = indices->data;
    int64_t count = qn_shape_count(&indices->shape), rows = run->outputs[0].shape.dims[0];
    int64_t size = row_size(&run->outputs[0].shape, 1);
    size_t bytes = (size_t)size * qn_dtype_size(src->dtype);
    char *dst = run->outputs[0].data;
    memset(dst, 0, qn_tensor_bytes(&run->outputs[0]));
    for (int64_t i = 0; i < count; i++)
        if (index[i] >= 0 && index[i] < rows)
            OP_FLOAT_CALL(src->dtype, add_row, dst + (size_t)index[i] * bytes,
                          (const char *)src->data + (size_t)i * bytes, size);
}

static void scatter_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = qn_graph_op2(in->graph, "Gather", in->grads[0], in->inputs[1]);
}

static qn_status one_hot_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    int64_t depth = qn_op_attr_i(types, "depth");
    qn_shape out;
    qn_dtype dtype = QN_DTYPE_F32;
    bool found = qn_dtype_find(qn_op_attr_s(types, "dtype"), &dtype);
    QN_ASSERT(found);
    QN_TRY(qn_op_want_dtype(types, 0, QN_DTYPE_I64, err));
    QN_TRY(join(types, &types->inputs[0].shape, &depth, 1, &out, err));
    ret_outputs[0] = (qn_type){dtype, out};
    return QN_OK;
}

static void one_hot_ref(const qn_op_run *run)
{
    const int64_t *index = run->inputs[0].data;
    int64_t count = qn_shape_count(&run->inputs[0].shape),
            depth = qn_op_attr_i(run->types, "depth");
    float *f32 = run->outputs[0].data;
    double *f64 = run->outputs[0].data;
    bool wide = run->outputs[0].dtype == QN_DTYPE_F64;
    memset(run->outputs[0].data, 0, qn_tensor_bytes(&run->outputs[0]));
    for (int64_t i = 0; i < count; i++) {
        if (index[i] < 0 || index[i] >= depth)
            continue;
        if (wide)
            f64[i * depth + index[i]] = 1;
        else
            f32[i * depth + index[i]] = 1;
    }
}

static const qn_attr_spec rows_attrs[] = {
    {.name = "rows", .kind = QN_ATTR_INT, .required = true, .low = 0, .high = 1e15},
    {0},
};
static const qn_attr_spec one_hot_attrs[] = {
    {.name = "depth", .kind = QN_ATTR_INT, .required = true, .low = 1, .high = 1e9},
    {.name = "dtype", .kind = QN_ATTR_STRING, .choices = "f32 f64"},
    {0},
};
static const qn_op_sample gather_samples[] = {
    {.inputs_count = 2, .inputs = {OP_F64(4, 3), OP_I64(2, 5)}, .low = -1, .high = 4},
    {.inputs_count = 2, .inputs = {OP_F64(4, 2, 3), OP_I64(6)}, .low = -1, .high = 4},
    {.inputs_count = 2, .inputs = {OP_F64(4), OP_I64_SCALAR}, .low = -1, .high = 4},
};
static const qn_op_sample scatter_samples[] = {
    {.inputs_count = 2,
     .inputs = {OP_F64(2, 5, 3), OP_I64(2, 5)},
     .low = -1,
     .high = 4,
     .attrs_count = 1,
     .attrs = {OP_AI("rows", 4)}},
};
static const qn_op_sample one_hot_samples[] = {
    {.inputs_count = 1,
     .inputs = {OP_I64(2, 5)},
     .low = 0,
     .high = 4,
     .attrs_count = 1,
     .attrs = {OP_AI("depth", 4)}},
    {.inputs_count = 1,
     .inputs = {OP_I64(5)},
     .low = 0,
     .high = 4,
     .attrs_count = 2,
     .attrs = {OP_AI("depth", 3), OP_AS("dtype", "f64")}},
};

const qn_op qn_ops_index[] = {
    {.name = "Gather",
     .inputs_min = 2,
     .inputs_max = 2,
     .outputs_count = 1,
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
    {.name = "OneHot",
     .inputs_min = 1,
     .inputs_max = 1,
     .outputs_count = 1,
     .flags = QN_OP_NO_GRADIENT,
     .attrs = one_hot_attrs,
     .infer = one_hot_infer,
     .ref = one_hot_ref,
     OP_SAMPLES(one_hot_samples)},
    {0},
};
