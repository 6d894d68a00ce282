/*
 * GridSample (spatial transformers, Jaderberg et al., 2015): an image read at the places that a grid
 * names, in [-1, 1] from one side to the other, and Col2Im, which adds windows to the image they
 * were cut from. Images are channels last; Col2Im has ONNX's own layout.
 */
#include "base/checked.h"
#include "graph/op/common.h"
#include "graph/op/number.h"

#include <math.h>
#include <string.h>

enum { SPACE_MAX = 3, TAPS_MAX = 4, POINT_MAX = 64 };

/* Along one dimension: the pixels that a place lies between, their weights, and how those move with
 * the grid's number. An index of -1 is a zero outside. */
typedef struct {
    int count;
    int64_t index[TAPS_MAX];
    double weight[TAPS_MAX], slope[TAPS_MAX];
} axis_taps;

typedef struct {
    bool nearest, cubic, zeros, border, align;
} grid_rules;

static grid_rules rules_of(const qn_op_types *types)
{
    const char *mode = qn_op_attr_s(types, "mode"), *padding = qn_op_attr_s(types, "padding_mode");
    return (grid_rules){.nearest = strcmp(mode, "nearest") == 0,
                        .cubic = strcmp(mode, "cubic") == 0,
                        .zeros = strcmp(padding, "zeros") == 0,
                        .border = strcmp(padding, "border") == 0,
                        .align = qn_op_attr_i(types, "align_corners") != 0};
}

/* Back and forth between the sides; the direction it then goes in turns with it. */
static double reflected(double x, double low, double high, double *direction)
{
    double range = high - low, beyond = x < low ? low - x : x - high;
    if (x >= low && x <= high)
        return x;
    if (!(range > 0)) {
        *direction = 0;
        return low;
    }
    double turns = floor(beyond / range), rest = beyond - turns * range;
    bool from_low = (x < low) == (fmod(turns, 2) < 1);
    *direction *= from_low == (x < low) ? -1 : 1;
    return from_low ? low + rest : high - rest;
}

static int64_t pixel(const grid_rules *rules, double at, int64_t size)
{
    double ignored = 1, half = rules->align ? 0 : 0.5;
    if (at >= 0 && at < (double)size)
        return (int64_t)at;
    if (rules->zeros || !(fabs(at) < 1e15))
        return -1;
    if (!rules->border)
        at = reflected(at, -half, (double)size - 1 + half, &ignored);
    return at < 0 ? 0 : at > (double)size - 1 ? size - 1 : (int64_t)at;
}

/* Keys' cubic with a = -0.75, at distance d from the place, and its derivative. */
static double cubic(double d, double *ret_slope)
{
    const double a = -0.75;
    double x = fabs(d), sign = d < 0 ? -1 : 1;
    if (x <= 1) {
        *ret_slope = sign * (3 * (a + 2) * x * x - 2 * (a + 3) * x);
        return ((a + 2) * x - (a + 3)) * x * x + 1;
    }
    *ret_slope = sign * (3 * a * x * x - 10 * a * x + 8 * a);
    return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
}

static axis_taps taps_of(const grid_rules *rules, double place, int64_t size)
{
    double half = rules->align ? 0 : 0.5, low = -half, high = (double)size - 1 + half;
    double rate = ((double)size - (rules->align ? 1 : 0)) / 2;
    double at = (place + 1) * rate - half;
    axis_taps taps = {0};
    if (rules->nearest)
        at = rint(at);
    if (at < low || at > high) {
        if (rules->border) {
            at = at < 0 ? 0 : (double)size - 1;
            rate = 0;
        } else if (!rules->zeros) {
            at = reflected(at, low, high, &rate);
        }
    }
    double first = rules->nearest ? at : floor(at) - (rules->cubic ? 1 : 0);
    taps.count = rules->nearest ? 1 : rules->cubic ? 4 : 2;
    for (int i = 0; i < taps.count; i++) {
        double d = at - (first + i), slope = d < 0 ? 1 : -1;
        taps.index[i] = pixel(rules, first + i, size);
        taps.weight[i] = rules->nearest ? 1 : rules->cubic ? cubic(d, &slope) : 1 - fabs(d);
        taps.slope[i] = rules->nearest ? 0 : slope * rate;
    }
    return taps;
}

/* Everything that one place of the output reads. */
typedef struct {
    int count;
    int64_t offset[POINT_MAX]; /* of a pixel's first channel */
    double weight[POINT_MAX], slope[SPACE_MAX][POINT_MAX];
} grid_point;

static void find_point(const grid_rules *rules, const qn_shape *x, const qn_tensor *grid,
                       int64_t point, int64_t image, grid_point *ret)
{
    int space = x->rank - 2;
    axis_taps taps[SPACE_MAX] = {0};
    QN_ASSERT(space >= 1 && space <= SPACE_MAX);
    int64_t all = 1, channels = x->dims[x->rank - 1];
    for (int d = 0; d < space; d++) { /* the grid names the last dimension first */
        double place = qn_op_get(grid, point * space + (space - 1 - d));
        taps[d] = taps_of(rules, place, x->dims[1 + d]);
        all *= taps[d].count;
    }
    ret->count = 0;
    for (int64_t i = 0; i < all; i++) {
        int64_t at = image, left = i;
        int pick[SPACE_MAX] = {0};
        bool inside = true;
        for (int d = space - 1; d >= 0; left /= taps[d].count, d--)
            pick[d] = (int)(left % taps[d].count);
        ret->weight[ret->count] = 1;
        for (int d = 0; d < space; d++) {
            inside = inside && taps[d].index[pick[d]] >= 0;
            at = at * x->dims[1 + d] + taps[d].index[pick[d]];
            ret->weight[ret->count] *= taps[d].weight[pick[d]];
            double slope = taps[d].slope[pick[d]];
            for (int other = 0; other < space; other++)
                slope *= other == d ? 1 : taps[other].weight[pick[other]];
            ret->slope[d][ret->count] = slope;
        }
        ret->offset[ret->count] = at * channels;
        ret->count += inside;
    }
}

static qn_status check_grid(const qn_op_types *types, int x_input, int grid_input, qn_error *err)
{
    const qn_shape *x = &types->inputs[x_input].shape, *grid = &types->inputs[grid_input].shape;
    char a[128], b[128];
    QN_TRY(qn_op_want_kind(types, x_input, OP_KIND_FLOAT, err));
    QN_TRY(qn_op_want_dtype(types, grid_input, types->inputs[x_input].dtype, err));
    if (x->rank < 3 || x->rank > 2 + SPACE_MAX || grid->rank != x->rank ||
        grid->dims[0] != x->dims[0] || grid->dims[grid->rank - 1] != x->rank - 2)
        QN_FAIL(err, QN_ERR_ARG, "a grid of %s does not fit images of %s", qn_shape_text(grid, a),
                qn_shape_text(x, b));
    for (int d = 1; d < x->rank - 1; d++)
        if (x->dims[d] < 1)
            QN_FAIL(err, QN_ERR_ARG, "images of %s, expected known sizes of 1 or more",
                    qn_shape_text(x, b));
    return QN_OK;
}

static qn_status sample_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    QN_TRY(check_grid(types, 0, 1, err));
    qn_type out = {types->inputs[0].dtype, types->inputs[1].shape};
    out.shape.dims[out.shape.rank - 1] =
        types->inputs[0].shape.dims[types->inputs[0].shape.rank - 1];
    ret_outputs[0] = out;
    return QN_OK;
}

static int64_t points_of(const qn_shape *grid)
{
    int64_t count = 1;
    for (int d = 1; d < grid->rank - 1; d++)
        count *= grid->dims[d];
    return count;
}

static void sample_ref(const qn_op_run *run)
{
    const qn_tensor *x = &run->inputs[0], *grid = &run->inputs[1];
    grid_rules rules = rules_of(run->types);
    int64_t points = points_of(&grid->shape), channels = x->shape.dims[x->shape.rank - 1];
    for (int64_t p = 0; p < points * grid->shape.dims[0]; p++) {
        grid_point point;
        find_point(&rules, &x->shape, grid, p, p / points, &point);
        for (int64_t c = 0; c < channels; c++) {
            double sum = 0;
            for (int i = 0; i < point.count; i++)
                sum += point.weight[i] * qn_op_get(x, point.offset[i] + c);
            qn_op_put(&run->outputs[0], p * channels + c, sum);
        }
    }
}

static void sample_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_value inputs[] = {in->grads[0], in->inputs[0], in->inputs[1]};
    ret[0] = qn_op_like_node(in, "GridSampleGrad", inputs, 3);
    ret[1] = ret[0] == QN_NONE ? QN_NONE : ret[0] + 1;
}

static qn_status sample_grad_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    QN_TRY(check_grid(types, 1, 2, err));
    qn_shape shape = types->inputs[2].shape;
    shape.dims[shape.rank - 1] = types->inputs[1].shape.dims[types->inputs[1].shape.rank - 1];
    QN_TRY(qn_op_want_dtype(types, 0, types->inputs[1].dtype, err));
    QN_TRY(qn_op_want_shape(types, 0, &shape, err));
    ret_outputs[0] = types->inputs[1];
    ret_outputs[1] = types->inputs[2];
    return QN_OK;
}

static void sample_grad_ref(const qn_op_run *run)
{
    const qn_tensor *dy = &run->inputs[0], *x = &run->inputs[1], *grid = &run->inputs[2];
    const qn_tensor *dx = &run->outputs[0];
    grid_rules rules = rules_of(run->types);
    int space = x->shape.rank - 2;
    int64_t points = points_of(&grid->shape), channels = x->shape.dims[space + 1];
    memset(dx->data, 0, qn_tensor_bytes(dx));
    for (int64_t p = 0; p < points * grid->shape.dims[0]; p++) {
        grid_point point;
        double moves[SPACE_MAX] = {0};
        find_point(&rules, &x->shape, grid, p, p / points, &point);
        for (int64_t k = 0; k < point.count * channels; k++) {
            int i = (int)(k / channels);
            int64_t at = point.offset[i] + k % channels;
            double up = qn_op_get(dy, p * channels + k % channels), value = qn_op_get(x, at);
            qn_op_put(dx, at, qn_op_get(dx, at) + point.weight[i] * up);
            for (int d = 0; d < space; d++)
                moves[d] += point.slope[d][i] * up * value;
        }
        for (int d = 0; d < space; d++)
            qn_op_put(&run->outputs[1], p * space + (space - 1 - d), moves[d]);
    }
}

static int64_t sample_flops(const qn_op_types *types)
{
    return 30 * qn_shape_count(&types->outputs[0].shape);
}

/* Col2Im: [N, C * window, places] -> [N, C, image...]. */

typedef struct {
    int space;
    int64_t channels, window, places;
    int64_t image[SPACE_MAX], block[SPACE_MAX], count[SPACE_MAX]; /* count: windows along each */
    int64_t stride[SPACE_MAX], dilation[SPACE_MAX], begin[SPACE_MAX];
} fold_sizes;

/* What the attributes say; channels are left to the caller. */
static qn_status read_fold(const qn_op_types *types, fold_sizes *ret, qn_error *err)
{
    fold_sizes z = {.window = 1, .places = 1};
    int64_t pads[2 * SPACE_MAX];
    const int64_t *image = qn_op_attr_ints(types, "image_shape", &z.space);
    if (z.space < 1 || z.space > SPACE_MAX)
        QN_FAIL(err, QN_ERR_ARG, "an image of %d dimensions, expected 1 to %d", z.space, SPACE_MAX);
    QN_TRY(qn_op_ints(types, "block_shape", z.space, 1, z.block, err));
    QN_TRY(qn_op_ints(types, "strides", z.space, 1, z.stride, err));
    QN_TRY(qn_op_ints(types, "dilations", z.space, 1, z.dilation, err));
    QN_TRY(qn_op_ints(types, "pads", 2 * z.space, 0, pads, err));
    for (int d = 0; d < z.space; d++) {
        z.image[d] = image[d];
        z.begin[d] = pads[d];
        int64_t most = INT32_MAX, end = pads[z.space + d];
        if (image[d] < 1 || z.block[d] < 1 || z.stride[d] < 1 || z.dilation[d] < 1 || pads[d] < 0 ||
            end < 0 || image[d] > most || z.block[d] > most || z.stride[d] > most ||
            z.dilation[d] > most || pads[d] > most || end > most)
            QN_FAIL(err, QN_ERR_ARG,
                    "a size, block, stride, dilation or padding of dimension %d "
                    "is out of range",
                    d);
        int64_t room = image[d] + pads[d] + end - z.dilation[d] * (z.block[d] - 1) - 1;
        z.count[d] = room < 0 ? 0 : room / z.stride[d] + 1;
        if (!qn_mul_i64(z.window, z.block[d], &z.window) ||
            !qn_mul_i64(z.places, z.count[d], &z.places))
            QN_FAIL(err, QN_ERR_ARG, "the windows are too many");
    }
    *ret = z;
    return QN_OK;
}

static qn_shape image_of(const fold_sizes *z, int64_t rows)
{
    qn_shape shape = {.rank = 2 + z->space, .dims = {rows, z->channels}};
    memcpy(shape.dims + 2, z->image, (size_t)z->space * sizeof z->image[0]);
    return shape;
}

/* Where element i of the columns lies in the image; -1 = in the padding. */
static int64_t find_fold(const fold_sizes *z, int64_t i)
{
    int64_t place = i % z->places, row = i / z->places, tap = row % z->window;
    int64_t at = 0, step = 1;
    for (int d = z->space - 1; d >= 0; d--) {
        int64_t pixel_at =
            place % z->count[d] * z->stride[d] + tap % z->block[d] * z->dilation[d] - z->begin[d];
        if (pixel_at < 0 || pixel_at >= z->image[d])
            return -1;
        at += pixel_at * step;
        step *= z->image[d];
        place /= z->count[d];
        tap /= z->block[d];
    }
    return row / z->window * step + at;
}

static qn_status fold_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    const qn_shape *columns = &types->inputs[0].shape;
    fold_sizes z;
    char text[128];
    QN_TRY(qn_op_want_kind(types, 0, OP_KIND_FLOAT, err));
    QN_TRY(read_fold(types, &z, err));
    if (columns->rank != 3 || columns->dims[1] < 0 || columns->dims[1] % z.window != 0 ||
        columns->dims[2] != z.places)
        QN_FAIL(err, QN_ERR_ARG, "input 0 is %s, expected [N, channels * %lld, %lld]",
                qn_shape_text(columns, text), (long long)z.window, (long long)z.places);
    z.channels = columns->dims[1] / z.window;
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, image_of(&z, columns->dims[0])};
    return QN_OK;
}

static fold_sizes fold_of(const qn_op_run *run, const qn_shape *image)
{
    fold_sizes z = {0};
    qn_status status = read_fold(run->types, &z, NULL);
    QN_ASSERT(status == QN_OK);
    z.channels = image->dims[1];
    return z;
}

static void fold_ref(const qn_op_run *run)
{
    const qn_tensor *y = &run->outputs[0];
    fold_sizes z = fold_of(run, &y->shape);
    memset(y->data, 0, qn_tensor_bytes(y));
    for (int64_t i = 0; i < qn_shape_count(&run->inputs[0].shape); i++) {
        int64_t at = find_fold(&z, i);
        if (at >= 0)
            qn_op_put(y, at, qn_op_get(y, at) + qn_op_get(&run->inputs[0], i));
    }
}

static void fold_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = qn_op_like_node(in, "Im2Col", in->grads, 1);
}

/* The windows of an image, which is also the gradient of adding them. */
static qn_status unfold_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    const qn_shape *image = &types->inputs[0].shape;
    fold_sizes z;
    QN_TRY(qn_op_want_kind(types, 0, OP_KIND_FLOAT, err));
    QN_TRY(read_fold(types, &z, err));
    QN_TRY(qn_op_want_rank(types, 0, 2 + z.space, err));
    z.channels = image->dims[1];
    qn_shape want = image_of(&z, image->dims[0]), columns = QN_SHAPE(image->dims[0], 0, z.places);
    QN_TRY(qn_op_want_shape(types, 0, &want, err));
    if (z.channels < 0 || !qn_mul_i64(z.channels, z.window, &columns.dims[1]))
        QN_FAIL(err, QN_ERR_ARG, "the windows are too many");
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, columns};
    return QN_OK;
}

static void unfold_ref(const qn_op_run *run)
{
    fold_sizes z = fold_of(run, &run->inputs[0].shape);
    memset(run->outputs[0].data, 0, qn_tensor_bytes(&run->outputs[0]));
    for (int64_t i = 0; i < qn_shape_count(&run->outputs[0].shape); i++) {
        int64_t at = find_fold(&z, i);
        if (at >= 0)
            qn_op_put_from(&run->outputs[0], i, &run->inputs[0], at);
    }
}

static void unfold_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = qn_op_like_node(in, "Col2Im", in->grads, 1);
}

static const qn_attr_spec sample_attrs[] = {
    {.name = "mode", .kind = QN_ATTR_STRING, .choices = "linear nearest cubic"},
    {.name = "padding_mode", .kind = QN_ATTR_STRING, .choices = "zeros border reflection"},
    {.name = "align_corners", .kind = QN_ATTR_INT, .high = 1},
    {0},
};
static const qn_attr_spec fold_attrs[] = {
    {.name = "image_shape", .kind = QN_ATTR_INTS, .required = true},
    {.name = "block_shape", .kind = QN_ATTR_INTS, .required = true},
    {.name = "strides", .kind = QN_ATTR_INTS},
    {.name = "pads", .kind = QN_ATTR_INTS},
    {.name = "dilations", .kind = QN_ATTR_INTS},
    {0},
};

#define SAMPLE(x, grid, count, ...)                                                                \
    {                                                                                              \
        .inputs_count = 2, .inputs = {x, grid}, .low = -1.4, .high = 1.4, .attrs_count = (count),  \
        .attrs = {                                                                                 \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
static const qn_op_sample sample_samples[] = {
    SAMPLE(OP_F64(2, 4, 5, 3), OP_F64(2, 3, 2, 2), 0, {0}),
    SAMPLE(OP_F64(1, 4, 5, 2), OP_F64(1, 3, 3, 2), 2, OP_AS("padding_mode", "border"),
           OP_AI("align_corners", 1)),
    SAMPLE(OP_F64(1, 4, 5, 2), OP_F64(1, 3, 3, 2), 2, OP_AS("padding_mode", "reflection"),
           OP_AS("mode", "cubic")),
    SAMPLE(OP_F64(1, 4, 5, 2), OP_F64(1, 3, 3, 2), 2, OP_AS("padding_mode", "reflection"),
           OP_AI("align_corners", 1)),
    SAMPLE(OP_F64(1, 3, 4, 2, 2), OP_F64(1, 2, 2, 2, 3), 0, {0}),
    SAMPLE(OP_F64(1, 6, 2), OP_F64(1, 5, 1), 1, OP_AS("mode", "nearest")),
};
static const qn_op_sample sample_grad_samples[] = {
    {.inputs_count = 3,
     .inputs = {OP_F64(1, 3, 2, 2), OP_F64(1, 4, 5, 2), OP_F64(1, 3, 2, 2)},
     .low = -1.4,
     .high = 1.4},
};
#define FOLD(type, count, ...)                                                                     \
    {                                                                                              \
        .inputs_count = 1, .inputs = {type}, .low = -2, .high = 2, .attrs_count = (count),         \
        .attrs = {                                                                                 \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
static const qn_op_sample fold_samples[] = {
    FOLD(OP_F64(2, 12, 4), 2, OP_AINTS("image_shape", 3, 3), OP_AINTS("block_shape", 2, 2)),
    FOLD(OP_F64(1, 12, 4), 5, OP_AINTS("image_shape", 4, 5), OP_AINTS("block_shape", 2, 3),
         OP_AINTS("strides", 2, 1), OP_AINTS("pads", 0, 1, 1, 0), OP_AINTS("dilations", 1, 2)),
};
static const qn_op_sample unfold_samples[] = {
    FOLD(OP_F64(2, 3, 3, 3), 2, OP_AINTS("image_shape", 3, 3), OP_AINTS("block_shape", 2, 2)),
    FOLD(OP_F64(1, 2, 7), 3, OP_AINTS("image_shape", 7), OP_AINTS("block_shape", 3),
         OP_AINTS("strides", 2)),
};

#define FOLD_ROW(op_name, stem)                                                                    \
    {                                                                                              \
        .name = (op_name), .inputs_min = 1, .inputs_max = 1, .outputs_count = 1,                   \
        .attrs = fold_attrs, .infer = stem##_infer, .vjp = stem##_vjp, .ref = stem##_ref,          \
        OP_SAMPLES(stem##_samples)                                                                 \
    }

const qn_op qn_ops_grid[] = {
    {.name = "GridSample",
     .inputs_min = 2,
     .inputs_max = 2,
     .outputs_count = 1,
     .attrs = sample_attrs,
     .infer = sample_infer,
     .vjp = sample_vjp,
     .ref = sample_ref,
     .flops = sample_flops,
     OP_SAMPLES(sample_samples)},
    {.name = "GridSampleGrad",
     .inputs_min = 3,
     .inputs_max = 3,
     .outputs_count = 2,
     .flags = QN_OP_NO_GRADIENT,
     .attrs = sample_attrs,
     .infer = sample_grad_infer,
     .ref = sample_grad_ref,
     .flops = sample_flops,
     OP_SAMPLES(sample_grad_samples)},
    FOLD_ROW("Col2Im", fold),
    FOLD_ROW("Im2Col", unfold),
    {0},
};
