/*
 * Views: the same elements in the same order, mostly under another shape. A plan makes no call for them.
 *
 * A symbolic dimension counts as a factor of its own: [B, 7, 7, 4] flattens to [B, 196], and [10, B, 16] splits to [10, 4B, 4].
 */
#include "base/checked.h"
#include "graph/op/common.h"

#include <string.h>

/* The dimension that makes `rest` complete `all`; false = there is none. */
static bool missing_factor(qn_dim_product all, qn_dim_product rest, int64_t *ret)
{
    if (all.known < 0 || rest.known < 0)
        return false;
    if (all.known == rest.known)
        all.known = 1; /* both may be 0 */
    else if (rest.known > 0 && all.known % rest.known == 0)
        all.known /= rest.known;
    else
        return false;
    all.batch -= rest.batch;
    all.time -= rest.time;
    return qn_dim_from_product(all, ret);
}

static qn_status view_fail(const qn_op_types *types, const qn_shape *wanted, qn_error *err)
{
    char came[128], want[128];
    QN_FAIL(err, QN_ERR_ARG, "cannot view %s as %s", qn_shape_text(&types->inputs[0].shape, came),
            qn_shape_text(wanted, want));
}

static qn_status reshape_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    const qn_shape *from = &types->inputs[0].shape;
    qn_shape to = {0};
    int infer_at = -1;
    const int64_t *dims = qn_op_attr_ints(types, "shape", &to.rank);
    for (int i = 0; i < to.rank; i++) {
        if (dims[i] < -1 || (dims[i] == -1 && infer_at >= 0) || (dims[i] == 0 && i >= from->rank))
            QN_FAIL(err, QN_ERR_ARG,
                    "entry %d of shape is %lld, expected a size, 0 for the input's own, or "
                    "one -1",
                    i, (long long)dims[i]);
        if (dims[i] == -1)
            infer_at = i;
        to.dims[i] = dims[i] == 0 ? from->dims[i] : dims[i] == -1 ? 1 : dims[i];
    }
    qn_dim_product all = qn_dim_product_of(from->dims, from->rank),
                   rest = qn_dim_product_of(to.dims, to.rank);
    int64_t missing = 1;
    if (infer_at < 0 && all.known == 0 && rest.known == 0)
        all.known = rest.known = 1; /* nothing seen as nothing */
    if (!missing_factor(all, rest, &missing) || (infer_at < 0 && missing != 1))
        return view_fail(types, &to, err);
    if (infer_at >= 0)
        to.dims[infer_at] = missing;
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, to};
    return QN_OK;
}

static qn_status flatten_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    const qn_shape *from = &types->inputs[0].shape;
    int64_t axis = qn_op_attr_i(types, "axis");
    if (axis < 0)
        axis += from->rank;
    if (axis < 0 || axis > from->rank)
        QN_FAIL(err, QN_ERR_ARG, "axis %lld is outside a tensor of %d dimensions", (long long)axis,
                from->rank);
    qn_dim_product none = {.known = 1};
    qn_shape to = {2, {1, 1}};
    if (!missing_factor(qn_dim_product_of(from->dims, (int)axis), none, &to.dims[0]) ||
        !missing_factor(qn_dim_product_of(from->dims + axis, from->rank - (int)axis), none,
                        &to.dims[1]))
        return view_fail(types, &to, err);
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, to};
    return QN_OK;
}

static qn_status squeeze_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    const qn_shape *from = &types->inputs[0].shape;
    bool axes[QN_RANK_MAX];
    int given = 0;
    qn_op_attr_ints(types, "axes", &given);
    QN_TRY(qn_op_axes(types, "axes", from->rank, axes, err));
    qn_shape to = {0};
    for (int d = 0; d < from->rank; d++) {
        if (given && axes[d] && from->dims[d] != 1)
            QN_FAIL(err, QN_ERR_ARG, "axis %d has %lld elements, expected 1", d,
                    (long long)from->dims[d]);
        if (!axes[d] || from->dims[d] != 1)
            to.dims[to.rank++] = from->dims[d];
    }
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, to};
    return QN_OK;
}

static qn_status unsqueeze_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    const qn_shape *from = &types->inputs[0].shape;
    bool axes[QN_RANK_MAX];
    int given = 0;
    qn_op_attr_ints(types, "axes", &given);
    if (given == 0 || from->rank + given > QN_RANK_MAX)
        QN_FAIL(err, QN_ERR_ARG, "%d axes to add to %d dimensions, expected 1 to %d", given,
                from->rank, QN_RANK_MAX - from->rank);
    qn_shape to = {.rank = from->rank + given};
    QN_TRY(qn_op_axes(types, "axes", to.rank, axes, err));
    for (int d = 0, at = 0; d < to.rank; d++)
        to.dims[d] = axes[d] ? 1 : from->dims[at++];
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, to};
    return QN_OK;
}

static qn_status identity_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    (void)err;
    ret_outputs[0] = types->inputs[0];
    return QN_OK;
}

static void identity_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = in->grads[0];
}

/* Planned views are no call at all; the reference path copies. */
static void view_ref(const qn_op_run *run)
{
    size_t bytes = qn_tensor_bytes(&run->outputs[0]);
    if (bytes > 0 && run->outputs[0].data != run->inputs[0].data)
        memcpy(run->outputs[0].data, run->inputs[0].data, bytes);
}

/* Back to the input's shape. Symbols: a dimension at the same place on both sides is copied, and one that moved
 * is inferred. A size of 0 cannot be said to Reshape, so a gradient without elements is made anew. */
static void view_vjp(const qn_op_vjp *in, qn_value *ret)
{
    const qn_shape *own = &in->types->inputs[0].shape, *out = &in->types->outputs[0].shape;
    for (int d = 0; d < own->rank; d++) {
        if (own->dims[d] != 0)
            continue;
        qn_value zero = qn_graph_scalar(in->graph, qn_op_vjp_dtype(in, 0), 0);
        ret[0] = qn_op_expand(in->graph, zero, own);
        return;
    }
    qn_attr attr = {.name = "shape", .kind = QN_ATTR_INTS, .count = own->rank};
    for (int d = 0; d < own->rank; d++) {
        bool same_place = d < out->rank && out->dims[d] == own->dims[d];
        attr.ints[d] = own->dims[d] > 0 ? own->dims[d] : same_place ? 0 : -1;
    }
    ret[0] = qn_graph_node(in->graph, "Reshape", in->grads, 1, &attr, 1);
}

static const qn_attr_spec reshape_attrs[] = {
    {.name = "shape", .kind = QN_ATTR_INTS, .required = true},
    {0},
};
static const qn_attr_spec flatten_attrs[] = {
    {.name = "axis", .kind = QN_ATTR_INT, .value = 1},
    {0},
};
static const qn_attr_spec axes_attrs[] = {
    {.name = "axes", .kind = QN_ATTR_INTS},
    {0},
};

#define SAMPLE(type, count, ...)                                                                   \
    {                                                                                              \
        .inputs_count = 1, .inputs = {type}, .low = -2, .high = 2, .attrs_count = (count),         \
        .attrs = {                                                                                 \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

static const qn_op_sample reshape_samples[] = {
    SAMPLE(OP_F64(2, 3, 4), 1, OP_AINTS("shape", 0, -1)),
    SAMPLE(OP_F64(2, 6), 1, OP_AINTS("shape", 3, 2, 2)),
};
static const qn_op_sample flatten_samples[] = {
    SAMPLE(OP_F64(2, 3, 4), 0, {0}),
    SAMPLE(OP_F64(2, 3, 4), 1, OP_AI("axis", 2)),
};
static const qn_op_sample squeeze_samples[] = {
    SAMPLE(OP_F64(2, 1, 3, 1), 0, {0}),
    SAMPLE(OP_F64(2, 1, 3, 1), 1, OP_AINTS("axes", -1)),
};
static const qn_op_sample identity_samples[] = {
    SAMPLE(OP_F64(2, 3), 0, {0}),
    SAMPLE(OP_I32(5), 0, {0}),
};
static const qn_op_sample unsqueeze_samples[] = {
    SAMPLE(OP_F64(2, 3), 1, OP_AINTS("axes", 0, 2)),
};

#define ROW(op_name, stem, list, vjp_fn)                                                           \
    {                                                                                              \
        .name = (op_name), .inputs_min = 1, .inputs_max = 1, .outputs_count = 1,                   \
        .flags = QN_OP_VIEW, .attrs = (list), .infer = stem##_infer, .vjp = (vjp_fn),              \
        .ref = view_ref, OP_SAMPLES(stem##_samples)                                                \
    }

const qn_op qn_ops_view[] = {
    ROW("Identity", identity, NULL, identity_vjp),
    ROW("Reshape", reshape, reshape_attrs, view_vjp),
    ROW("Flatten", flatten, flatten_attrs, view_vjp),
    ROW("Squeeze", squeeze, axes_attrs, view_vjp),
    ROW("Unsqueeze", unsqueeze, axes_attrs, view_vjp),
    {0},
};
