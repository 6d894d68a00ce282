/*
 * Resize (ONNX): interpolation along any axes of a tensor, nearest, linear or cubic.
 *
 * Output o of an axis reads near x(o), a coordinate that `coordinate_transformation_mode` gives, with weights k(i - x(o)): k(t) is
 * 1 - |t| (linear) or Keys' cubic with a = cubic_coeff_a (Keys 1981). Antialiasing stretches k by the factor of shrinking. The
 * axes are independent, so the weight of several is a product. The gradient applies the same weights the other way.
 */
#include "graph/op/resize.h"

#include <math.h>
#include <string.h>

#include "graph/op/common.h"

static bool is_word(const char *word, const char *other)
{
    return strcmp(word, other) == 0;
}

void qn_resize_read(const qn_op_types *types, const qn_shape *x, const qn_shape *y,
                    const qn_tensor *roi, const qn_tensor *scales, qn_resize *ret)
{
    const char *mode = qn_op_attr_s(types, "mode");
    *ret = (qn_resize){
        .rank = x->rank,
        .mode = is_word(mode, "nearest")  ? QN_RESIZE_NEAREST
                : is_word(mode, "linear") ? QN_RESIZE_LINEAR
                                          : QN_RESIZE_CUBIC,
        .coordinates = qn_op_attr_s(types, "coordinate_transformation_mode"),
        .nearest = qn_op_attr_s(types, "nearest_mode"),
        .cubic_a = qn_op_attr_f(types, "cubic_coeff_a"),
        .extrapolation = qn_op_attr_f(types, "extrapolation_value"),
        .exclude_outside = qn_op_attr_i(types, "exclude_outside") != 0,
        .antialias = qn_op_attr_i(types, "antialias") != 0,
    };
    ret->crops = is_word(ret->coordinates, "tf_crop_and_resize");
    for (int d = 0; d < x->rank; d++) {
        qn_resize_axis *axis = &ret->axes[d];
        *axis = (qn_resize_axis){.in = x->dims[d], .out = y->dims[d], .end = 1};
        axis->scale = axis->in ? (double)axis->out / (double)axis->in : 1;
        if (scales)
            axis->scale = qn_tensor_f64_at(scales, d);
        if (roi && ret->crops) {
            axis->start = qn_tensor_f64_at(roi, d);
            axis->end = qn_tensor_f64_at(roi, x->rank + d);
        }
        axis->same = axis->in == axis->out && fabs(axis->scale - 1) < 1e-12 &&
                     fabs(axis->start) < 1e-12 && fabs(axis->end - 1) < 1e-12;
    }
}

/* Where in the input output o lies. */
static double coordinate(const qn_resize *r, const qn_resize_axis *a, int64_t o)
{
    double x = (double)o, in = (double)a->in, out = (double)a->out;
    if (is_word(r->coordinates, "asymmetric"))
        return x / a->scale;
    if (is_word(r->coordinates,
                "align_corners")) { /* a given scale counts, not what it rounds to */
        double end = (fabs(a->scale * in - out) < 1e-6 ? out : a->scale * in) - 1;
        return a->out > 1 && end > 0 ? x * (in - 1) / end : 0;
    }
    if (r->crops && a->out > 1)
        return a->start * (in - 1) + x * (a->end - a->start) * (in - 1) / (out - 1);
    if (r->crops)
        return 0.5 * (a->start + a->end) * (in - 1);
    if (is_word(r->coordinates, "pytorch_half_pixel") && a->out <= 1)
        return 0;
    double half = (x + 0.5) / a->scale - 0.5;
    if (is_word(r->coordinates, "half_pixel_symmetric"))
        half += in / 2 * (1 - out / (a->scale * in));
    return half;
}

static double nearest_of(const qn_resize *r, double x)
{
    if (is_word(r->nearest, "round_prefer_floor"))
        return ceil(x - 0.5);
    if (is_word(r->nearest, "round_prefer_ceil"))
        return floor(x + 0.5);
    return is_word(r->nearest, "floor") ? floor(x) : ceil(x);
}

static double kernel_at(const qn_resize *r, double t)
{
    double a = r->cubic_a, d = fabs(t);
    if (r->mode == QN_RESIZE_LINEAR)
        return d < 1 ? 1 - d : 0;
    if (d <= 1)
        return ((a + 2) * d - (a + 3)) * d * d + 1;
    return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
}

qn_resize_taps qn_resize_taps_of(const qn_resize *r, const qn_resize_axis *a, int64_t o)
{
    if (a->same)
        return (qn_resize_taps){.first = o, .count = 1, .sum = 1};
    double x = coordinate(r, a, o);
    qn_resize_taps taps = {.count = 1, .squeeze = 1, .sum = 1};
    taps.outside = r->crops && !(x >= 0 && x <= (double)(a->in - 1));
    x = fmin(fmax(x, -1e9), 1e9);
    if (r->mode == QN_RESIZE_NEAREST) {
        taps.first = (int64_t)nearest_of(r, x);
        return taps;
    }
    taps.squeeze = r->antialias ? fmin(a->scale, 1) : 1;
    double reach = r->mode == QN_RESIZE_LINEAR ? 1 : 2;
    int64_t start = (int64_t)floor(-reach / taps.squeeze) + 1;
    taps.ratio = x - floor(x);
    taps.first = (int64_t)floor(x) + start;
    taps.count = 2 - 2 * start;
    double sum = 0;
    for (int64_t i = 0; i < taps.count; i++) {
        int64_t index;
        sum += qn_resize_tap(r, a, &taps, i, &index);
    }
    if (r->antialias || r->exclude_outside)
        taps.sum = sum;
    return taps;
}

double qn_resize_tap(const qn_resize *r, const qn_resize_axis *a, const qn_resize_taps *taps,
                     int64_t i, int64_t *ret_index)
{
    int64_t index = taps->first + i;
    bool inside = index >= 0 && index < a->in;
    *ret_index = index < 0 ? 0 : index < a->in ? index : a->in - 1;
    if (a->same || r->mode == QN_RESIZE_NEAREST)
        return 1;
    if (r->exclude_outside && !inside)
        return 0;
    int64_t floor_x = taps->first - (1 - taps->count / 2);
    return kernel_at(r, taps->squeeze * ((double)(index - floor_x) - taps->ratio)) / taps->sum;
}

/* All axes at one output: a counter that runs through every combination of taps. */
typedef struct {
    qn_resize_taps taps[QN_RANK_MAX];
    int64_t at[QN_RANK_MAX];
    bool outside;
} tap_walk;

static tap_walk walk_of(const qn_resize *r, int64_t flat)
{
    tap_walk walk = {0};
    for (int d = r->rank - 1; d >= 0; d--) {
        QN_ASSERT(r->axes[d].out > 0); /* an empty output has no places */
        walk.taps[d] = qn_resize_taps_of(r, &r->axes[d], flat % r->axes[d].out);
        walk.outside = walk.outside || walk.taps[d].outside;
        flat /= r->axes[d].out;
    }
    return walk;
}

/* The weight and the input of the combination the walk stands at. */
static double walk_weight(const qn_resize *r, const tap_walk *walk, int64_t *ret_flat)
{
    double weight = 1;
    int64_t flat = 0;
    for (int d = 0; d < r->rank; d++) {
        int64_t index;
        weight *= qn_resize_tap(r, &r->axes[d], &walk->taps[d], walk->at[d], &index);
        flat = flat * r->axes[d].in + index;
    }
    *ret_flat = flat;
    return weight;
}

static bool walk_next(const qn_resize *r, tap_walk *walk)
{
    for (int d = r->rank - 1; d >= 0; d--) {
        if (++walk->at[d] < walk->taps[d].count)
            return true;
        walk->at[d] = 0;
    }
    return false;
}

#define OP_BODY "graph/op/resize_body.h"
#include "graph/op/typed.h"

/* `sizes` or `input_sizes` as a whole shape; the pixels along each axis must be there. */
static qn_status read_shape(const qn_op_types *types, const char *name, qn_shape *ret,
                            qn_error *err)
{
    const qn_shape *from = &types->inputs[0].shape;
    qn_shape shape = {.rank = from->rank};
    QN_TRY(qn_op_ints(types, name, from->rank, -1, shape.dims, err));
    bool back = strcmp(name, "input_sizes") == 0; /* a gradient of nothing is zeros of any size */
    for (int d = 0; d < shape.rank; d++) {
        bool known = shape.dims[d] >= 0 && from->dims[d] >= 0;
        if (known ? shape.dims[d] > 0 && from->dims[d] == 0 && !back
                  : shape.dims[d] != from->dims[d])
            QN_FAIL(err, QN_ERR_ARG, "cannot resize axis %d from %lld to %lld", d,
                    (long long)from->dims[d], (long long)shape.dims[d]);
    }
    *ret = shape;
    return QN_OK;
}

static qn_status check_extras(const qn_op_types *types, qn_error *err)
{
    int rank = types->inputs[0].shape.rank;
    for (int i = 1; i < 3; i++) {
        if (!qn_op_has(types, i))
            continue;
        QN_TRY(qn_op_want_float(types, i, err));
        QN_TRY(qn_op_want_shape(types, i, &QN_SHAPE(i == 1 ? 2 * rank : rank), err));
    }
    return QN_OK;
}

static qn_status resize_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    QN_TRY(qn_op_want_float(types, 0, err));
    QN_TRY(check_extras(types, err));
    ret_outputs[0].dtype = types->inputs[0].dtype;
    return read_shape(types, "sizes", &ret_outputs[0].shape, err);
}

static qn_status resize_grad_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    QN_TRY(qn_op_want_float(types, 0, err));
    QN_TRY(check_extras(types, err));
    ret_outputs[0].dtype = types->inputs[0].dtype;
    return read_shape(types, "input_sizes", &ret_outputs[0].shape, err);
}

static const qn_tensor *extra(const qn_op_run *run, int i)
{
    return qn_op_has(run->types, i) ? &run->inputs[i] : NULL;
}

static void resize_ref(const qn_op_run *run)
{
    qn_resize r;
    qn_resize_read(run->types, &run->inputs[0].shape, &run->outputs[0].shape, extra(run, 1),
                   extra(run, 2), &r);
    OP_FLOAT_CALL(run->inputs[0].dtype, resize, run, &r);
}
static void resize_grad_ref(const qn_op_run *run)
{
    qn_resize r;
    qn_resize_read(run->types, &run->outputs[0].shape, &run->inputs[0].shape, extra(run, 1),
                   extra(run, 2), &r);
    OP_FLOAT_CALL(run->inputs[0].dtype, resize_grad, run, &r);
}

static void resize_vjp(const qn_op_vjp *in, qn_value *ret)
{
    enum { COUNT = 8 };
    const qn_shape *x = &in->types->inputs[0].shape;
    qn_attr attrs[COUNT + 1];
    memcpy(attrs, in->types->attrs, COUNT * sizeof *attrs);
    attrs[COUNT] = (qn_attr){.name = "input_sizes", .kind = QN_ATTR_INTS, .count = x->rank};
    memcpy(attrs[COUNT].ints, x->dims, (size_t)x->rank * sizeof *x->dims);
    qn_value inputs[3] = {in->grads[0], QN_NONE, QN_NONE};
    for (int i = 1; i < 3; i++)
        if (qn_op_has(in->types, i))
            inputs[i] = in->inputs[i];
    ret[0] =
        qn_graph_node(in->graph, "ResizeGrad", inputs, in->types->inputs_count, attrs, COUNT + 1);
}

#define ATTRS                                                                                      \
    {.name = "sizes", .kind = QN_ATTR_INTS, .required = true, .symbolic = true},                   \
        {.name = "mode", .kind = QN_ATTR_STRING, .choices = "nearest linear cubic"},               \
        {.name = "coordinate_transformation_mode",                                                 \
         .kind = QN_ATTR_STRING,                                                                   \
         .choices = "half_pixel half_pixel_symmetric pytorch_half_pixel align_corners asymmetric " \
                    "tf_crop_and_resize"},                                                         \
        {.name = "nearest_mode",                                                                   \
         .kind = QN_ATTR_STRING,                                                                   \
         .choices = "round_prefer_floor round_prefer_ceil floor ceil"},                            \
        {.name = "cubic_coeff_a", .kind = QN_ATTR_FLOAT, .value = -0.75},                          \
        {.name = "exclude_outside", .kind = QN_ATTR_INT, .high = 1},                               \
        {.name = "extrapolation_value", .kind = QN_ATTR_FLOAT},                                    \
    {                                                                                              \
        .name = "antialias", .kind = QN_ATTR_INT, .high = 1                                        \
    }
static const qn_attr_spec attrs[] = {ATTRS, {0}};
static const qn_attr_spec grad_attrs[] = {
    ATTRS,
    {.name = "input_sizes", .kind = QN_ATTR_INTS, .required = true, .symbolic = true},
    {0},
};

#define SAMPLE(type, count, ...)                                                                   \
    {                                                                                              \
        .inputs_count = 1, .inputs = {type}, .low = -1, .high = 1, .attrs_count = (count),         \
        .attrs = {                                                                                 \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define SIZES(...) OP_AINTS("sizes", __VA_ARGS__)
#define MODE(word) OP_AS("mode", word)
#define AT(word)   OP_AS("coordinate_transformation_mode", word)
static const qn_op_sample samples[] = {
    SAMPLE(OP_F64(2, 3, 4, 2), 1, SIZES(2, 6, 8, 2)),
    SAMPLE(OP_F64(1, 5, 7, 2), 3, SIZES(1, 3, 9, 2), AT("asymmetric"),
           OP_AS("nearest_mode", "ceil")),
    SAMPLE(OP_F64(1, 3, 4, 2), 2, SIZES(1, 6, 7, 2), MODE("linear")),
    SAMPLE(OP_F64(1, 3, 4, 2), 3, SIZES(1, 1, 7, 2), MODE("linear"), AT("align_corners")),
    SAMPLE(OP_F64(1, 5, 4, 2), 3, SIZES(1, 7, 3, 2), MODE("cubic"), AT("pytorch_half_pixel")),
    SAMPLE(OP_F64(1, 5, 4), 3, SIZES(1, 9, 4), MODE("cubic"), OP_AI("exclude_outside", 1)),
    SAMPLE(OP_F64(1, 9, 2), 3, SIZES(1, 4, 2), MODE("linear"), OP_AI("antialias", 1)),
    SAMPLE(OP_F64(1, 9, 2), 3, SIZES(1, 3, 2), MODE("cubic"), OP_AI("antialias", 1)),
    SAMPLE(OP_F64(1, 2, 3, 2, 2), 3, SIZES(1, 4, 3, 5, 2), MODE("linear"),
           AT("half_pixel_symmetric")),
    {.inputs_count = 3,
     .inputs = {OP_F64(1, 4, 3), OP_F64(6), OP_ABSENT},
     .low = -0.3,
     .high = 1.2,
     .attrs_count = 4,
     .attrs = {SIZES(1, 5, 3), MODE("linear"), AT("tf_crop_and_resize"),
               OP_AF("extrapolation_value", 2)}},
};
static const qn_op_sample grad_samples[] = {
    SAMPLE(OP_F64(2, 6, 8, 2), 2, SIZES(2, 6, 8, 2), OP_AINTS("input_sizes", 2, 3, 4, 2)),
    SAMPLE(OP_F64(1, 6, 7, 2), 3, SIZES(1, 6, 7, 2), MODE("linear"),
           OP_AINTS("input_sizes", 1, 3, 4, 2)),
};

const qn_op qn_ops_resize[] = {
    {.name = "Resize",
     .inputs_min = 1,
     .inputs_max = 3,
     .outputs_count = 1,
     .attrs = attrs,
     .infer = resize_infer,
     .vjp = resize_vjp,
     .ref = resize_ref,
     OP_SAMPLES(samples)},
    {.name = "ResizeGrad",
     .inputs_min = 1,
     .inputs_max = 3,
     .outputs_count = 1,
     .flags = QN_OP_NO_GRADIENT,
     .attrs = grad_attrs,
     .infer = resize_grad_infer,
     .ref = resize_grad_ref,
     OP_SAMPLES(grad_samples)},
    {0},
};
