/*
 * Pad and Tile: an output element is one of the input's, found dimension by dimension, or a fixed
 * value. Negative padding cuts. The gradient adds every element back to where it came from.
 */
#include "base/checked.h"
#include "graph/op/common.h"
#include "graph/op/number.h"

#include <string.h>

typedef enum { PAD_CONSTANT, PAD_REFLECT, PAD_EDGE, PAD_WRAP } pad_mode;

/* How the larger shape lies over the smaller one: dimension d begins `begin[d]` before it. */
typedef struct {
    pad_mode mode;
    qn_shape small, large;
    int64_t begin[QN_RANK_MAX];
} pad_map;

static pad_mode mode_of(const qn_op_types *types)
{
    static const char *const words[] = {"constant", "reflect", "edge", "wrap"};
    int mode = 0;
    while (strcmp(words[mode], qn_op_attr_s(types, "mode")) != 0)
        mode++;
    return (pad_mode)mode;
}

/* The place in [0, size) that place `at`, counted from the first element, repeats; -1 = none. */
static int64_t source_of(pad_mode mode, int64_t at, int64_t size)
{
    if (at >= 0 && at < size)
        return at;
    if (mode == PAD_CONSTANT || size == 0)
        return -1;
    if (mode == PAD_EDGE)
        return at < 0 ? 0 : size - 1;
    int64_t period = mode == PAD_WRAP ? size : size > 1 ? 2 * (size - 1) : 1;
    at = (at % period + period) % period;
    return mode == PAD_REFLECT && at >= size ? period - at : at;
}

static int64_t find_source(const pad_map *map, int64_t flat)
{
    int64_t from = 0, step = 1;
    for (int d = map->large.rank - 1; d >= 0; d--) {
        int64_t at = flat % map->large.dims[d] - map->begin[d];
        int64_t place = source_of(map->mode, at, map->small.dims[d]);
        if (place < 0)
            return -1;
        from += place * step;
        step *= map->small.dims[d];
        flat /= map->large.dims[d];
    }
    return from;
}

static void spread(const qn_op_run *run, const pad_map *map, double value)
{
    int64_t count = qn_shape_count(&map->large);
    for (int64_t i = 0; i < count; i++) {
        int64_t from = find_source(map, i);
        if (from < 0)
            qn_op_put(&run->outputs[0], i, value);
        else
            qn_op_put_from(&run->outputs[0], i, &run->inputs[0], from);
    }
}

/* f32 sums are made in double, as all rows make them: a place's terms come in one pass over all. */
static void gather_back(const qn_op_run *run, const pad_map *map)
{
    const qn_tensor *dy = &run->inputs[0], *dx = &run->outputs[0];
    int64_t count = qn_shape_count(&map->large);
    memset(dx->data, 0, qn_tensor_bytes(dx));
    for (int64_t i = 0; i < count; i++) {
        int64_t to = find_source(map, i);
        if (to >= 0)
            qn_op_put(dx, to, qn_op_get(dx, to) + qn_op_get(dy, i));
    }
}

static pad_map map_of(const qn_op_types *types, const qn_shape *small, const qn_shape *large)
{
    pad_map map = {.mode = mode_of(types), .small = *small, .large = *large};
    qn_status status = qn_op_ints(types, "begins", small->rank, 0, map.begin, NULL);
    QN_ASSERT(status == QN_OK);
    return map;
}

/* The padded shape. */
static qn_status padded(const qn_op_types *types, const qn_shape *from, qn_shape *ret,
                        qn_error *err)
{
    qn_shape out = *from;
    int64_t begins[QN_RANK_MAX], ends[QN_RANK_MAX];
    bool constant = mode_of(types) == PAD_CONSTANT;
    QN_TRY(qn_op_ints(types, "begins", out.rank, 0, begins, err));
    QN_TRY(qn_op_ints(types, "ends", out.rank, 0, ends, err));
    for (int d = 0; d < out.rank; d++) {
        int64_t size = out.dims[d], more = begins[d] + ends[d];
        if (begins[d] > INT32_MAX || ends[d] > INT32_MAX || begins[d] < -INT32_MAX ||
            ends[d] < -INT32_MAX || (size >= 0 && size + more < 0))
            QN_FAIL(err, QN_ERR_ARG, "padding of %lld and %lld on the %lld of dimension %d",
                    (long long)begins[d], (long long)ends[d], (long long)size, d);
        if (size < 0 && (begins[d] || ends[d]))
            QN_FAIL(err, QN_ERR_ARG, "dimension %d is not known yet and cannot be padded", d);
        if (size == 0 && more > 0 && !constant)
            QN_FAIL(err, QN_ERR_ARG, "dimension %d has nothing to repeat", d);
        if (!qn_add_i64(size, more, &out.dims[d]))
            QN_FAIL(err, QN_ERR_ARG, "the padded dimension %d is too large", d);
    }
    *ret = out;
    return QN_OK;
}

static qn_status pad_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_shape shape;
    QN_TRY(padded(types, &types->inputs[0].shape, &shape, err));
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, shape};
    return QN_OK;
}

static void pad_ref(const qn_op_run *run)
{
    pad_map map = map_of(run->types, &run->inputs[0].shape, &run->outputs[0].shape);
    spread(run, &map, qn_op_attr_f(run->types, "value"));
}

static qn_status pad_grad_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_shape shape = qn_op_attr_shape(types), large;
    QN_TRY(qn_op_want_kind(types, 0, OP_KIND_FLOAT, err));
    QN_TRY(padded(types, &shape, &large, err));
    QN_TRY(qn_op_want_shape(types, 0, &large, err));
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, shape};
    return QN_OK;
}

static void pad_grad_ref(const qn_op_run *run)
{
    pad_map map = map_of(run->types, &run->outputs[0].shape, &run->inputs[0].shape);
    gather_back(run, &map);
}

/* The node that takes dy of a padding back. */
static qn_value pad_grad(const qn_op_vjp *in, const char *mode, const int64_t *begins,
                         const int64_t *ends)
{
    const qn_shape *own = &in->types->inputs[0].shape;
    qn_attr attrs[] = {{.name = "begins", .kind = QN_ATTR_INTS, .count = own->rank},
                       {.name = "ends", .kind = QN_ATTR_INTS, .count = own->rank},
                       {.name = "shape", .kind = QN_ATTR_INTS, .count = own->rank},
                       QN_ATTR_S("mode", mode)};
    memcpy(attrs[0].ints, begins, sizeof attrs[0].ints);
    memcpy(attrs[1].ints, ends, sizeof attrs[1].ints);
    memcpy(attrs[2].ints, own->dims, sizeof attrs[2].ints);
    return qn_graph_node(in->graph, "PadGrad", in->grads, 1, OP_NODE_ATTRS(attrs));
}

/* What was only added around is cut away again. */
static void pad_vjp(const qn_op_vjp *in, qn_value *ret)
{
    const qn_shape *own = &in->types->inputs[0].shape;
    int64_t begins[QN_RANK_MAX] = {0}, ends[QN_RANK_MAX] = {0};
    bool cuts = mode_of(in->types) != PAD_CONSTANT;
    if (!qn_op_vjp_wants(in, 0))
        return;
    qn_status status = qn_op_ints(in->types, "begins", own->rank, 0, begins, NULL);
    QN_ASSERT(status == QN_OK);
    status = qn_op_ints(in->types, "ends", own->rank, 0, ends, NULL);
    QN_ASSERT(status == QN_OK);
    for (int d = 0; d < own->rank; d++)
        cuts = cuts || begins[d] < 0 || ends[d] < 0;
    if (cuts) {
        ret[0] = pad_grad(in, qn_op_attr_s(in->types, "mode"), begins, ends);
        return;
    }
    ret[0] = in->grads[0];
    for (int d = 0; d < own->rank; d++)
        if (own->dims[d] != in->types->outputs[0].shape.dims[d])
            ret[0] = qn_op_slice(in->graph, ret[0], d, begins[d], begins[d] + own->dims[d]);
}

/* Tile: every dimension wrapped around until it has been walked `repeats` times. */

static qn_status tile_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_shape out = types->inputs[0].shape;
    int64_t repeats[QN_RANK_MAX];
    QN_TRY(qn_op_ints(types, "repeats", out.rank, 1, repeats, err));
    for (int d = 0; d < out.rank; d++) {
        if (repeats[d] < 0 || (out.dims[d] < 0 && repeats[d] != 1))
            QN_FAIL(err, QN_ERR_ARG, "cannot repeat dimension %d %lld times", d,
                    (long long)repeats[d]);
        if (out.dims[d] >= 0 && !qn_mul_i64(out.dims[d], repeats[d], &out.dims[d]))
            QN_FAIL(err, QN_ERR_ARG, "the repeated dimension %d is too large", d);
    }
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, out};
    return QN_OK;
}

static void tile_ref(const qn_op_run *run)
{
    pad_map map = {.mode = PAD_WRAP, .small = run->inputs[0].shape, .large = run->outputs[0].shape};
    spread(run, &map, 0);
}

static void tile_vjp(const qn_op_vjp *in, qn_value *ret)
{
    const qn_shape *own = &in->types->inputs[0].shape, *out = &in->types->outputs[0].shape;
    int64_t begins[QN_RANK_MAX] = {0}, ends[QN_RANK_MAX] = {0};
    for (int d = 0; d < own->rank; d++)
        ends[d] = out->dims[d] - own->dims[d]; /* 0 for symbols, which are not repeated */
    if (qn_op_vjp_wants(in, 0))
        ret[0] = pad_grad(in, "wrap", begins, ends);
}

#define SIDES                                                                                      \
    {.name = "begins", .kind = QN_ATTR_INTS, .required = true},                                    \
        {.name = "ends", .kind = QN_ATTR_INTS, .required = true},                                  \
    {                                                                                              \
        .name = "mode", .kind = QN_ATTR_STRING, .choices = "constant reflect edge wrap"            \
    }
static const qn_attr_spec pad_attrs[] = {
    SIDES,
    {.name = "value", .kind = QN_ATTR_FLOAT},
    {0},
};
static const qn_attr_spec pad_grad_attrs[] = {
    SIDES,
    {.name = "shape", .kind = QN_ATTR_INTS, .required = true, .symbolic = true},
    {0},
};
static const qn_attr_spec tile_attrs[] = {
    {.name = "repeats", .kind = QN_ATTR_INTS, .required = true},
    {0},
};

#define SAMPLE(type, count, ...)                                                                   \
    {                                                                                              \
        .inputs_count = 1, .inputs = {type}, .low = -2, .high = 2, .attrs_count = (count),         \
        .attrs = {                                                                                 \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
static const qn_op_sample pad_samples[] = {
    SAMPLE(OP_F64(2, 3), 3, OP_AINTS("begins", 1, 0), OP_AINTS("ends", 0, 2), OP_AF("value", 0.5)),
    SAMPLE(OP_F64(2, 3), 3, OP_AINTS("begins", 3, 1), OP_AINTS("ends", 0, 5),
           OP_AS("mode", "reflect")),
    SAMPLE(OP_F64(2, 3), 3, OP_AINTS("begins", 2, 0), OP_AINTS("ends", 1, 2),
           OP_AS("mode", "edge")),
    SAMPLE(OP_F64(2, 3), 3, OP_AINTS("begins", 2, 4), OP_AINTS("ends", 1, 2),
           OP_AS("mode", "wrap")),
    SAMPLE(OP_F64(3, 4), 2, OP_AINTS("begins", -1, 1), OP_AINTS("ends", 2, -2)),
    SAMPLE(OP_I32(3, 4), 3, OP_AINTS("begins", 1, 0), OP_AINTS("ends", 1, 0), OP_AF("value", 7)),
};
static const qn_op_sample pad_grad_samples[] = {
    SAMPLE(OP_F64(4, 5), 4, OP_AINTS("begins", 1, 2), OP_AINTS("ends", 1, 0),
           OP_AS("mode", "reflect"), OP_AINTS("shape", 2, 3)),
    SAMPLE(OP_F64(5, 4), 3, OP_AINTS("begins", 0, 1), OP_AINTS("ends", 0, 1),
           OP_AINTS("shape", 5, 2)),
};
static const qn_op_sample tile_samples[] = {
    SAMPLE(OP_F64(2, 3), 1, OP_AINTS("repeats", 2, 3)),
    SAMPLE(OP_F64(2, 1, 3), 1, OP_AINTS("repeats", 1, 4, 1)),
    SAMPLE(OP_F64(2, 3), 1, OP_AINTS("repeats", 0, 1)),
    SAMPLE(OP_U8(5), 1, OP_AINTS("repeats", 3)),
};

#define ROW(op_name, stem, flag_bits, vjp_fn)                                                      \
    {                                                                                              \
        .name = (op_name), .inputs_min = 1, .inputs_max = 1, .outputs_count = 1,                   \
        .flags = (flag_bits), .attrs = stem##_attrs, .infer = stem##_infer, .vjp = (vjp_fn),       \
        .ref = stem##_ref, OP_SAMPLES(stem##_samples)                                              \
    }

const qn_op qn_ops_pad[] = {
    ROW("Pad", pad, 0, pad_vjp),
    ROW("PadGrad", pad_grad, QN_OP_NO_GRADIENT, NULL),
    ROW("Tile", tile, 0, tile_vjp),
    {0},
};
