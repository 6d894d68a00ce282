/*
 * RoiAlign (He et al., Mask R-CNN, 2017): each region of an image brought to one size, every output
 * place the mean (or the largest term) of numbers interpolated within its bin. Images are channels
 * last; the regions get no gradient, as in PyTorch.
 */
#include "graph/op/common.h"
#include "graph/op/number.h"

#include <math.h>
#include <string.h>

/* More points than this in a bin say nothing about an image; a region of any size must end. */
enum { GRID_MAX = 4096 };

/* Bins of one region along one dimension. */
typedef struct {
    double start, bin;
    int64_t points; /* in a bin */
} roi_axis;

/* Two neighbours along one dimension; a weight of 0 and 0 = outside. */
typedef struct {
    int64_t low, high;
    double low_weight, high_weight;
} roi_step;

static roi_axis axis_of(const qn_op_types *types, const qn_tensor *rois, int64_t region, int axis,
                        int64_t bins)
{
    bool half = strcmp(qn_op_attr_s(types, "coordinate_transformation_mode"), "half_pixel") == 0;
    double scale = qn_op_attr_f(types, "spatial_scale"), offset = half ? 0.5 : 0;
    double start = qn_op_get(rois, region * 4 + 1 - axis) * scale - offset;
    double size = qn_op_get(rois, region * 4 + 3 - axis) * scale - offset - start;
    if (!half && !(size > 1))
        size = 1;
    roi_axis a = {.start = start, .bin = size / (double)bins};
    a.points = qn_op_attr_i(types, "sampling_ratio");
    if (a.points == 0)
        a.points = a.bin > 0 ? (a.bin < GRID_MAX ? (int64_t)ceil(a.bin) : GRID_MAX) : 0;
    return a;
}

static roi_step step_of(const roi_axis *a, int64_t bin, int64_t point, int64_t size)
{
    double at =
        a->start + (double)bin * a->bin + ((double)point + 0.5) * a->bin / (double)a->points;
    roi_step s = {0};
    if (!(at >= -1 && at <= (double)size))
        return s;
    at = at < 0 ? 0 : at;
    s.low = (int64_t)at;
    s.high = s.low + 1;
    if (s.low >= size - 1) {
        s.low = s.high = size - 1;
        at = (double)s.low;
    }
    s.high_weight = at - (double)s.low;
    s.low_weight = 1 - s.high_weight;
    return s;
}

/* What a region reads at one point of a bin: four pixels and their weights. */
typedef struct {
    int64_t pixel[4];
    double weight[4];
} roi_point;

static roi_point join(const roi_step *y, const roi_step *x, int64_t width)
{
    return (roi_point){{y->low * width + x->low, y->low * width + x->high, y->high * width + x->low,
                        y->high * width + x->high},
                       {y->low_weight * x->low_weight, y->low_weight * x->high_weight,
                        y->high_weight * x->low_weight, y->high_weight * x->high_weight}};
}

/* One run over images x [N, H, W, C] and outputs [R, OH, OW, C]; with dx what the outputs' gradient `y`
 * gives back, else the outputs. */
typedef struct {
    const qn_op_run *run;
    const qn_tensor *x, *rois, *batch, *y;
    const qn_tensor *dx; /* NULL = forward */
    bool largest;
} roi_work;

/* One output number, or its gradient's way back. */
static void visit(const roi_work *w, const roi_axis axes[2], int64_t region, int64_t out,
                  int64_t channel)
{
    const int64_t *in = w->x->shape.dims, *od = w->y->shape.dims;
    int64_t row = out / od[2], col = out % od[2], image = qn_op_get_i64(w->batch, region);
    int64_t place = (region * od[1] * od[2] + out) * od[3] + channel, best = -1;
    double sum = 0, top = -HUGE_VAL, best_weight = 0, up = w->dx ? qn_op_get(w->y, place) : 0;
    int64_t count = axes[0].points * axes[1].points;
    bool outside = image < 0 || image >= in[0];
    for (int64_t i = 0; i < count && !outside; i++) {
        roi_step y = step_of(&axes[0], row, i / axes[1].points, in[1]);
        roi_step x = step_of(&axes[1], col, i % axes[1].points, in[2]);
        roi_point p = join(&y, &x, in[2]);
        for (int k = 0; k < 4; k++) {
            int64_t at = (image * in[1] * in[2] + p.pixel[k]) * in[3] + channel;
            double term = p.weight[k] * qn_op_get(w->x, at);
            sum += term;
            if (term > top) {
                top = term;
                best = at;
                best_weight = p.weight[k];
            }
            if (w->dx && !w->largest)
                qn_op_put(w->dx, at, qn_op_get(w->dx, at) + up * p.weight[k] / (double)count);
        }
    }
    if (w->dx && w->largest && best >= 0)
        qn_op_put(w->dx, best, qn_op_get(w->dx, best) + up * best_weight);
    if (!w->dx)
        qn_op_put(w->y, place, best < 0 ? 0 : w->largest ? top : sum / (double)count);
}

static void walk(const roi_work *w)
{
    const int64_t *od = w->y->shape.dims;
    for (int64_t r = 0; r < od[0]; r++) {
        roi_axis axes[2] = {axis_of(w->run->types, w->rois, r, 0, od[1]),
                            axis_of(w->run->types, w->rois, r, 1, od[2])};
        for (int64_t out = 0; out < od[1] * od[2]; out++)
            for (int64_t c = 0; c < od[3]; c++)
                visit(w, axes, r, out, c);
    }
}

static bool takes_largest(const qn_op_run *run)
{
    return strcmp(qn_op_attr_s(run->types, "mode"), "max") == 0;
}

/* The outputs' shape, when images, regions and their images' numbers come from input `first` on. */
static qn_status roi_shape(const qn_op_types *types, int first, qn_shape *ret, qn_error *err)
{
    const qn_shape *x = &types->inputs[first].shape, *rois = &types->inputs[first + 1].shape;
    QN_TRY(
        qn_op_want_float(types, first, err)); /* shorter ones would lose what the gradient adds */
    QN_TRY(qn_op_want_rank(types, first, 4, err));
    QN_TRY(qn_op_want_dtype(types, first + 1, types->inputs[first].dtype, err));
    QN_TRY(qn_op_want_rank(types, first + 1, 2, err));
    QN_TRY(qn_op_want_index(types, first + 2, err));
    qn_shape images = QN_SHAPE(rois->dims[0]);
    QN_TRY(qn_op_want_shape(types, first + 2, &images, err));
    if (rois->dims[1] != 4 || x->dims[1] < 1 || x->dims[2] < 1)
        QN_FAIL(err, QN_ERR_ARG, "regions of %lld numbers, expected x1, y1, x2, y2 in images",
                (long long)rois->dims[1]);
    *ret = QN_SHAPE(rois->dims[0], qn_op_attr_i(types, "output_height"),
                    qn_op_attr_i(types, "output_width"), x->dims[3]);
    return QN_OK;
}

static qn_status roi_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_shape shape;
    QN_TRY(roi_shape(types, 0, &shape, err));
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, shape};
    return QN_OK;
}

static void roi_ref(const qn_op_run *run)
{
    walk(&(roi_work){.run = run,
                     .x = &run->inputs[0],
                     .rois = &run->inputs[1],
                     .batch = &run->inputs[2],
                     .y = &run->outputs[0],
                     .largest = takes_largest(run)});
}

static void roi_vjp(const qn_op_vjp *in, qn_value *ret)
{
    qn_value inputs[] = {in->grads[0], in->inputs[0], in->inputs[1], in->inputs[2]};
    ret[0] = qn_op_like_node(in, "RoiAlignGrad", inputs, 4);
}

static qn_status roi_grad_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    qn_shape shape;
    QN_TRY(roi_shape(types, 1, &shape, err));
    QN_TRY(qn_op_want_dtype(types, 0, types->inputs[1].dtype, err));
    QN_TRY(qn_op_want_shape(types, 0, &shape, err));
    ret_outputs[0] = types->inputs[1];
    return QN_OK;
}

static void roi_grad_ref(const qn_op_run *run)
{
    memset(run->outputs[0].data, 0, qn_tensor_bytes(&run->outputs[0]));
    walk(&(roi_work){.run = run,
                     .x = &run->inputs[1],
                     .rois = &run->inputs[2],
                     .batch = &run->inputs[3],
                     .y = &run->inputs[0],
                     .dx = &run->outputs[0],
                     .largest = takes_largest(run)});
}

static int64_t roi_flops(const qn_op_types *types)
{
    return 100 * qn_shape_count(&types->outputs[0].shape);
}

static const qn_attr_spec attrs[] = {
    {.name = "output_height", .kind = QN_ATTR_INT, .low = 1, .high = 65536, .value = 1},
    {.name = "output_width", .kind = QN_ATTR_INT, .low = 1, .high = 65536, .value = 1},
    {.name = "sampling_ratio", .kind = QN_ATTR_INT, .high = GRID_MAX},
    {.name = "spatial_scale", .kind = QN_ATTR_FLOAT, .value = 1},
    {.name = "mode", .kind = QN_ATTR_STRING, .choices = "avg max"},
    {.name = "coordinate_transformation_mode",
     .kind = QN_ATTR_STRING,
     .choices = "half_pixel output_half_pixel"},
    {0},
};
static const qn_op_sample samples[] = {
    {.inputs_count = 3,
     .inputs = {OP_F64(2, 5, 6, 2), OP_F64(3, 4), OP_I64(3)},
     .low = -1,
     .high = 2,
     .attrs_count = 4,
     .attrs = {OP_AI("output_height", 2), OP_AI("output_width", 3), OP_AI("sampling_ratio", 2),
               OP_AF("spatial_scale", 2)}},
    {.inputs_count = 3,
     .inputs = {OP_F64(1, 5, 6, 1), OP_F64(2, 4), OP_I64(2)},
     .low = 0,
     .high = 1,
     .attrs_count = 3,
     .attrs = {OP_AI("output_height", 2), OP_AI("output_width", 2),
               OP_AS("coordinate_transformation_mode", "output_half_pixel")}},
    {.inputs_count = 3,
     .inputs = {OP_F64(1, 5, 6, 2), OP_F64(2, 4), OP_I64(2)},
     .low = 0.5,
     .high = 1,
     .attrs_count = 3,
     .attrs = {OP_AI("output_height", 2), OP_AS("mode", "max"), OP_AI("sampling_ratio", 2)}},
};
static const qn_op_sample grad_samples[] = {
    {.inputs_count = 4,
     .inputs = {OP_F64(2, 2, 2, 1), OP_F64(1, 5, 6, 1), OP_F64(2, 4), OP_I64(2)},
     .low = 0,
     .high = 1,
     .attrs_count = 3,
     .attrs = {OP_AI("output_height", 2), OP_AI("output_width", 2), OP_AI("sampling_ratio", 2)}},
};

const qn_op qn_ops_roi[] = {
    {.name = "RoiAlign",
     .inputs_min = 3,
     .inputs_max = 3,
     .outputs_count = 1,
     .attrs = attrs,
     .infer = roi_infer,
     .vjp = roi_vjp,
     .ref = roi_ref,
     .flops = roi_flops,
     OP_SAMPLES(samples)},
    {.name = "RoiAlignGrad",
     .inputs_min = 4,
     .inputs_max = 4,
     .outputs_count = 1,
     .flags = QN_OP_NO_GRADIENT,
     .attrs = attrs,
     .infer = roi_grad_infer,
     .ref = roi_grad_ref,
     .flops = roi_flops,
     OP_SAMPLES(grad_samples)},
    {0},
};
