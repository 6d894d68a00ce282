/*
 * Signals: DFT, STFT and the mel filters. A transform is a sum over every bin, by definition and not
 * by a fast algorithm: lengths of a few hundred cost less than the layers behind them.
 *
 *     y[k] = scale sum over j of x[j] e^(-+ 2 pi i j k / N)
 *
 * The inverse one-sided transform gives real numbers from half of the bins: the others are their
 * conjugates, so all but the first and the middle one count twice. A gradient is the sum with the
 * other sign and the sides exchanged.
 */
#include "graph/op/common.h"
#include "graph/op/number.h"

#include <math.h>
#include <string.h>

/* Numbers along one axis of a tensor whose last dimension holds the real part and maybe the other. */
typedef struct {
    const qn_tensor *tensor;
    qn_op_lines lines; /* without the parts */
    int64_t parts;
} signal_side;

typedef struct {
    int64_t length; /* N */
    double sign, scale;
    bool half_in, half_out;  /* bins that stand for two */
    const qn_tensor *window; /* factors of the input; NULL = none */
} transform;

static signal_side side_of(const qn_tensor *tensor, int axis)
{
    qn_shape shape = tensor->shape;
    signal_side side = {.tensor = tensor, .parts = shape.dims[shape.rank - 1]};
    shape.rank--;
    side.lines = qn_op_lines_of(&shape, axis);
    return side;
}

static double weight_of(const transform *t, bool half, int64_t bin)
{
    return half && bin != 0 && 2 * bin != t->length ? 2 : 1;
}

/* One sum. The factor turns by multiplication, and anew every 64 bins, so that it stays exact. */
static void sum_bin(const transform *t, const signal_side *in, int64_t line, int64_t k,
                    double ret_sum[2])
{
    int64_t at = qn_op_line_at(&in->lines, line);
    int64_t count = in->lines.count < t->length ? in->lines.count : t->length;
    double turn = t->sign * 2 * M_PI / (double)t->length, re = 1, im = 0;
    double step_re = cos(turn * (double)k), step_im = sin(turn * (double)k);
    ret_sum[0] = ret_sum[1] = 0;
    for (int64_t j = 0; j < count; j++) {
        if (j % 64 == 0) {
            double angle = turn * (double)(j % t->length * k % t->length);
            re = cos(angle);
            im = sin(angle);
        }
        int64_t place = (at + j * in->lines.inner) * in->parts;
        double factor = weight_of(t, t->half_in, j) * (t->window ? qn_op_get(t->window, j) : 1);
        double x = factor * qn_op_get(in->tensor, place);
        double y = in->parts > 1 ? factor * qn_op_get(in->tensor, place + 1) : 0;
        ret_sum[0] += x * re - y * im;
        ret_sum[1] += x * im + y * re;
        double turned = re * step_re - im * step_im;
        im = re * step_im + im * step_re;
        re = turned;
    }
}

static void run_transform(const transform *t, const signal_side *out, const signal_side *in)
{
    QN_ASSERT(out->parts <= 2);
    for (int64_t line = 0; line < out->lines.outer * out->lines.inner; line++)
        for (int64_t k = 0; k < out->lines.count; k++) {
            double sum[2] = {0, 0};
            if (k < t->length)
                sum_bin(t, in, line, k, sum);
            double scale = t->scale * weight_of(t, t->half_out, k);
            int64_t at = qn_op_line_at(&out->lines, line) + k * out->lines.inner;
            for (int64_t part = 0; part < 2 && part < out->parts; part++)
                qn_op_put(out->tensor, at * out->parts + part, scale * sum[part]);
        }
}

static bool is_inverse(const qn_op_types *types)
{
    return qn_op_attr_i(types, "inverse") != 0;
}
static bool is_onesided(const qn_op_types *types)
{
    return qn_op_attr_i(types, "onesided") != 0;
}

/* N: given, or as many as the signal has, or what half of the bins come from. */
static int64_t length_of(const qn_op_types *types, int64_t size)
{
    int64_t given = qn_op_attr_i(types, "dft_length");
    if (given > 0)
        return given;
    return is_inverse(types) && is_onesided(types) ? 2 * (size - 1) : size;
}

/* The transform's shape of a signal of `shape`. */
static qn_status transformed(const qn_op_types *types, const qn_shape *shape, qn_shape *ret,
                             qn_error *err)
{
    qn_shape out = *shape;
    int axis = 0;
    char text[128];
    QN_TRY(qn_op_axis(types, shape->rank, &axis, err));
    if (shape->rank < 2 || axis == shape->rank - 1 || shape->dims[axis] < 1 ||
        shape->dims[shape->rank - 1] < 1 || shape->dims[shape->rank - 1] > 2)
        QN_FAIL(err, QN_ERR_ARG, "%s is no signal along dimension %d, with 1 or 2 parts last",
                qn_shape_text(shape, text), axis);
    int64_t length = length_of(types, shape->dims[axis]);
    if (length < 1 || length > INT32_MAX)
        QN_FAIL(err, QN_ERR_ARG, "a transform of length %lld, expected 1 to %d", (long long)length,
                INT32_MAX);
    bool halves = is_onesided(types) && !is_inverse(types);
    out.dims[axis] = halves ? length / 2 + 1 : length;
    out.dims[shape->rank - 1] = is_onesided(types) && is_inverse(types) ? 1 : 2;
    *ret = out;
    return QN_OK;
}

static qn_status dft_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_shape shape;
    QN_TRY(qn_op_want_kind(types, 0, OP_KIND_FLOAT, err));
    QN_TRY(transformed(types, &types->inputs[0].shape, &shape, err));
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, shape};
    return QN_OK;
}

static transform transform_of(const qn_op_types *types, int64_t size)
{
    bool inverse = is_inverse(types);
    transform t = {.length = length_of(types, size), .sign = inverse ? 1 : -1, .scale = 1};
    if (inverse)
        t.scale = 1 / (double)t.length;
    t.half_in = inverse && is_onesided(types);
    return t;
}

static void dft_ref(const qn_op_run *run)
{
    int axis = qn_op_axis_of(run->types, run->inputs[0].shape.rank);
    signal_side in = side_of(&run->inputs[0], axis), out = side_of(&run->outputs[0], axis);
    transform t = transform_of(run->types, in.lines.count);
    run_transform(&t, &out, &in);
}

static qn_status dft_grad_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_shape shape = qn_op_attr_shape(types), own;
    QN_TRY(qn_op_want_kind(types, 0, OP_KIND_FLOAT, err));
    QN_TRY(transformed(types, &shape, &own, err));
    QN_TRY(qn_op_want_shape(types, 0, &own, err));
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, shape};
    return QN_OK;
}

static void dft_grad_ref(const qn_op_run *run)
{
    int axis = qn_op_axis_of(run->types, run->outputs[0].shape.rank);
    signal_side in = side_of(&run->inputs[0], axis), out = side_of(&run->outputs[0], axis);
    transform t = transform_of(run->types, out.lines.count);
    t.sign = -t.sign;
    t.half_out = t.half_in;
    t.half_in = false;
    run_transform(&t, &out, &in);
}

static qn_value dft_grad(qn_graph *graph, qn_value dy, const qn_shape *shape,
                         const qn_attr attrs[4])
{
    qn_attr all[5] = {[4] = {.name = "shape", .kind = QN_ATTR_INTS, .count = shape->rank}};
    memcpy(all, attrs, 4 * sizeof *all);
    memcpy(all[4].ints, shape->dims, sizeof all[4].ints);
    return qn_graph_node(graph, "DFTGrad", &dy, 1, all, 5);
}

static void dft_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = dft_grad(in->graph, in->grads[0], &in->types->inputs[0].shape, in->types->attrs);
}

/* STFT: the transform of every frame, under a window. signal [B, L, parts]. */

static int64_t frame_length(const qn_op_types *types)
{
    int64_t given = qn_op_attr_i(types, "frame_length");
    if (given > 0)
        return given;
    return qn_op_has(types, 1) ? types->inputs[1].shape.dims[0] : types->inputs[0].shape.dims[1];
}

static int64_t frames_count(const qn_op_types *types)
{
    return 1 + (types->inputs[0].shape.dims[1] - frame_length(types)) /
                   qn_op_attr_i(types, "frame_step");
}

static qn_status stft_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    const qn_shape *signal = &types->inputs[0].shape;
    QN_TRY(qn_op_want_kind(types, 0, OP_KIND_FLOAT, err));
    QN_TRY(qn_op_want_rank(types, 0, 3, err));
    if (qn_op_has(types, 1)) {
        QN_TRY(qn_op_want_dtype(types, 1, types->inputs[0].dtype, err));
        QN_TRY(qn_op_want_rank(types, 1, 1, err));
        qn_shape window = QN_SHAPE(frame_length(types));
        QN_TRY(qn_op_want_shape(types, 1, &window, err));
    }
    int64_t length = frame_length(types);
    if (signal->dims[1] < 1 || signal->dims[2] < 1 || signal->dims[2] > 2 || length < 1 ||
        length > signal->dims[1])
        QN_FAIL(err, QN_ERR_ARG, "frames of %lld in %lld places of %lld parts", (long long)length,
                (long long)signal->dims[1], (long long)signal->dims[2]);
    int64_t bins = is_onesided(types) ? length / 2 + 1 : length;
    ret_outputs[0] =
        (qn_type){types->inputs[0].dtype, QN_SHAPE(signal->dims[0], frames_count(types), bins, 2)};
    return QN_OK;
}

static void stft_ref(const qn_op_run *run)
{
    const qn_tensor *signal = &run->inputs[0], *dst = &run->outputs[0];
    int64_t step = qn_op_attr_i(run->types, "frame_step"), length = frame_length(run->types);
    transform t = {.length = length, .sign = -1, .scale = 1};
    t.window = qn_op_has(run->types, 1) ? &run->inputs[1] : NULL;
    size_t size = qn_dtype_size(signal->dtype);
    int64_t parts = signal->shape.dims[2], bins = dst->shape.dims[2];
    for (int64_t b = 0; b < signal->shape.dims[0]; b++)
        for (int64_t f = 0; f < dst->shape.dims[1]; f++) {
            int64_t from = (b * signal->shape.dims[1] + f * step) * parts;
            int64_t to = (b * dst->shape.dims[1] + f) * bins * 2;
            qn_tensor frame = qn_tensor_of((char *)signal->data + (size_t)from * size,
                                           signal->dtype, QN_SHAPE(length, parts));
            qn_tensor spectrum =
                qn_tensor_of((char *)dst->data + (size_t)to * size, dst->dtype, QN_SHAPE(bins, 2));
            signal_side in = side_of(&frame, 0), out = side_of(&spectrum, 0);
            run_transform(&t, &out, &in);
        }
}

static qn_value numbers(qn_graph *graph, int64_t count, const int64_t shape[2], int64_t factor)
{
    qn_attr range[] = {QN_ATTR_F("limit", (double)count), QN_ATTR_S("dtype", "i64")};
    qn_attr as = QN_ATTR_2I("shape", shape[0], shape[1]);
    qn_value x = qn_graph_node(graph, "Range", NULL, 0, range, 2);
    x = qn_graph_node(graph, "Reshape", &x, 1, &as, 1);
    return qn_graph_op2(graph, "Mul", x, qn_graph_scalar(graph, QN_DTYPE_I64, (double)factor));
}

/* To each frame what its transform gives back, times the window, added where frames lie. */
static void stft_vjp(const qn_op_vjp *in, qn_value *ret)
{
    const qn_shape *signal = &in->types->inputs[0].shape;
    int64_t frames = frames_count(in->types), length = frame_length(in->types);
    qn_attr attrs[4] = {QN_ATTR_I("axis", 2), QN_ATTR_I("dft_length", length),
                        QN_ATTR_I("inverse", 0), QN_ATTR_I("onesided", is_onesided(in->types))};
    qn_attr rows[] = {QN_ATTR_I("rows", signal->dims[1]), QN_ATTR_I("axis", 1)};
    qn_shape shape = QN_SHAPE(signal->dims[0], frames, length, signal->dims[2]);
    qn_value back = dft_grad(in->graph, in->grads[0], &shape, attrs), weighted = back;
    qn_value begins = numbers(in->graph, frames, (const int64_t[]){frames, 1},
                              qn_op_attr_i(in->types, "frame_step"));
    qn_value places = qn_graph_op2(in->graph, "Add", begins,
                                   numbers(in->graph, length, (const int64_t[]){1, length}, 1));
    if (qn_op_has(in->types, 1)) {
        qn_attr column = QN_ATTR_2I("shape", length, 1);
        qn_value window = in->inputs[1], signal_value = in->inputs[0];
        window = qn_graph_node(in->graph, "Reshape", &window, 1, &column, 1);
        weighted = qn_op_mul(in, back, window);
        qn_value cut =
            qn_graph_node(in->graph, "Gather", (qn_value[]){signal_value, places}, 2, &rows[1], 1);
        qn_attr sum[] = {{.name = "axes", .kind = QN_ATTR_INTS, .count = 3, .ints = {0, 1, 3}},
                         QN_ATTR_I("keepdims", 0)};
        qn_value products = qn_op_mul(in, back, cut);
        ret[1] = qn_graph_node(in->graph, "ReduceSum", &products, 1, sum, 2);
    }
    ret[0] = qn_graph_node(in->graph, "ScatterAddRows", (qn_value[]){weighted, places}, 2, rows, 2);
}

static int64_t dft_flops(const qn_op_types *types)
{
    const qn_shape *in = &types->inputs[0].shape;
    int axis = qn_op_axis_of(types, in->rank);
    return 8 * qn_shape_count(&types->outputs[0].shape) * in->dims[axis];
}

static int64_t stft_flops(const qn_op_types *types)
{
    return 8 * qn_shape_count(&types->outputs[0].shape) * frame_length(types);
}

/* Triangles over the bins of a spectrum, their corners equally far apart in mel. */

static qn_status mel_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_dtype dtype = QN_DTYPE_F32;
    bool found = qn_dtype_find(qn_op_attr_s(types, "dtype"), &dtype);
    QN_ASSERT(found);
    double top = qn_op_attr_f(types, "upper_edge_hertz"), rate = qn_op_attr_f(types, "sample_rate");
    if (!(qn_op_attr_f(types, "lower_edge_hertz") < top) || 2 * top > rate)
        QN_FAIL(err, QN_ERR_ARG, "filters from %g to %g Hz at %g samples a second",
                qn_op_attr_f(types, "lower_edge_hertz"), top, rate);
    ret_outputs[0] = (qn_type){dtype, QN_SHAPE(qn_op_attr_i(types, "dft_length") / 2 + 1,
                                               qn_op_attr_i(types, "num_mel_bins"))};
    return QN_OK;
}

/* The bin of corner i. */
static int64_t mel_corner(const qn_op_types *types, int64_t i)
{
    double low = 2595 * log10(1 + qn_op_attr_f(types, "lower_edge_hertz") / 700);
    double high = 2595 * log10(1 + qn_op_attr_f(types, "upper_edge_hertz") / 700);
    double step = (high - low) / (double)(qn_op_attr_i(types, "num_mel_bins") + 2);
    double hertz = 700 * expm1((low + (double)i * step) / 2595 * log(10));
    double length = (double)qn_op_attr_i(types, "dft_length");
    return (int64_t)floor((length + 1) * hertz / qn_op_attr_f(types, "sample_rate"));
}

static void mel_ref(const qn_op_run *run)
{
    const qn_tensor *dst = &run->outputs[0];
    int64_t rows = dst->shape.dims[0], filters = dst->shape.dims[1];
    memset(dst->data, 0, qn_tensor_bytes(dst));
    for (int64_t i = 0; i < filters; i++) {
        int64_t left = mel_corner(run->types, i), centre = mel_corner(run->types, i + 1),
                right = mel_corner(run->types, i + 2);
        for (int64_t j = left; j < right && j < rows; j++) {
            double up = centre > left ? (double)(j - left) / (double)(centre - left) : 1;
            double down = (double)(right - j) / (double)(right - centre);
            qn_op_put(dst, j * filters + i, j < centre ? up : down);
        }
        if (centre < rows)
            qn_op_put(dst, centre * filters + i, 1);
    }
}

#define TRANSFORM                                                                                  \
    {.name = "axis", .kind = QN_ATTR_INT, .value = -2},                                            \
        {.name = "dft_length", .kind = QN_ATTR_INT, .high = 2147483647.0},                         \
        {.name = "inverse", .kind = QN_ATTR_INT, .high = 1},                                       \
    {                                                                                              \
        .name = "onesided", .kind = QN_ATTR_INT, .high = 1                                         \
    }
static const qn_attr_spec dft_attrs[] = {TRANSFORM, {0}};
static const qn_attr_spec dft_grad_attrs[] = {
    TRANSFORM,
    {.name = "shape", .kind = QN_ATTR_INTS, .required = true, .symbolic = true},
    {0},
};
static const qn_attr_spec stft_attrs[] = {
    {.name = "frame_step", .kind = QN_ATTR_INT, .required = true, .low = 1, .high = 1e12},
    {.name = "frame_length", .kind = QN_ATTR_INT, .high = 2147483647.0},
    {.name = "onesided", .kind = QN_ATTR_INT, .high = 1, .value = 1},
    {0},
};
static const qn_attr_spec mel_attrs[] = {
    {.name = "num_mel_bins", .kind = QN_ATTR_INT, .required = true, .low = 1, .high = 1e6},
    {.name = "dft_length", .kind = QN_ATTR_INT, .required = true, .low = 1, .high = 1e9},
    {.name = "sample_rate", .kind = QN_ATTR_FLOAT, .required = true, .low = 1, .high = 1e9},
    {.name = "lower_edge_hertz", .kind = QN_ATTR_FLOAT, .required = true, .high = 1e9},
    {.name = "upper_edge_hertz", .kind = QN_ATTR_FLOAT, .required = true, .high = 1e9},
    {.name = "dtype", .kind = QN_ATTR_STRING, .choices = "f32 f64 f16 bf16"},
    {0},
};

#define SAMPLE(type, count, ...)                                                                   \
    {                                                                                              \
        .inputs_count = 1, .inputs = {type}, .low = -2, .high = 2, .attrs_count = (count),         \
        .attrs = {                                                                                 \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
static const qn_op_sample dft_samples[] = {
    SAMPLE(OP_F64(2, 5, 2), 0, {0}),
    SAMPLE(OP_F64(2, 6, 3, 1), 2, OP_AI("axis", 1), OP_AI("onesided", 1)),
    SAMPLE(OP_F64(7, 2), 1, OP_AI("inverse", 1)),
    SAMPLE(OP_F64(2, 4, 2), 2, OP_AI("inverse", 1), OP_AI("onesided", 1)),
    SAMPLE(OP_F64(2, 4, 1), 1, OP_AI("dft_length", 6)),
    SAMPLE(OP_F64(2, 7, 2), 2, OP_AI("dft_length", 5), OP_AI("onesided", 1)),
};
static const qn_op_sample dft_grad_samples[] = {
    SAMPLE(OP_F64(3, 6, 2), 2, OP_AI("dft_length", 6), OP_AINTS("shape", 3, 4, 1)),
};
static const qn_op_sample stft_samples[] = {
    {.inputs_count = 2,
     .inputs = {OP_F64(2, 11, 1), OP_F64(4)},
     .low = -2,
     .high = 2,
     .attrs_count = 1,
     .attrs = {OP_AI("frame_step", 3)}},
    SAMPLE(OP_F64(1, 9, 2), 3, OP_AI("frame_step", 2), OP_AI("frame_length", 5),
           OP_AI("onesided", 0)),
};
static const qn_op_sample mel_samples[] = {
    {.attrs_count = 5,
     .attrs = {OP_AI("num_mel_bins", 8), OP_AI("dft_length", 16), OP_AI("sample_rate", 8192),
               OP_AF("lower_edge_hertz", 0), OP_AF("upper_edge_hertz", 4096)}},
};

const qn_op qn_ops_signal[] = {
    {.name = "DFT",
     .inputs_min = 1,
     .inputs_max = 1,
     .outputs_count = 1,
     .attrs = dft_attrs,
     .infer = dft_infer,
     .vjp = dft_vjp,
     .ref = dft_ref,
     .flops = dft_flops,
     OP_SAMPLES(dft_samples)},
    {.name = "DFTGrad",
     .inputs_min = 1,
     .inputs_max = 1,
     .outputs_count = 1,
     .flags = QN_OP_NO_GRADIENT,
     .attrs = dft_grad_attrs,
     .infer = dft_grad_infer,
     .ref = dft_grad_ref,
     .flops = dft_flops,
     OP_SAMPLES(dft_grad_samples)},
    {.name = "STFT",
     .inputs_min = 1,
     .inputs_max = 2,
     .outputs_count = 1,
     .attrs = stft_attrs,
     .infer = stft_infer,
     .vjp = stft_vjp,
     .ref = stft_ref,
     .flops = stft_flops,
     OP_SAMPLES(stft_samples)},
    {.name = "MelWeightMatrix",
     .outputs_count = 1,
     .flags = QN_OP_NO_GRADIENT,
     .attrs = mel_attrs,
     .infer = mel_infer,
     .ref = mel_ref,
     OP_SAMPLES(mel_samples)},
    {0},
};
