/*
 * Deformable convolution (Dai et al., 2017): each tap of the window reads the image beside its place, by offsets that another
 * part of the network computes. Written as samples of the image (GridSample) times the weights.
 */
#include "model/onnx_import_priv.h"

typedef struct {
    int64_t kernel[2], strides[2], dilations[2], pads[4], out[2], size[2];
    int64_t batch, taps, parts; /* parts: channels that share offsets, how many of them */
} deformed;

static bool read_deformed(qn_onnx_call *call, deformed *d)
{
    qn_shape x = qn_onnx_type(call, qn_onnx_in_last(call, 0))->shape;
    qn_shape w = qn_onnx_type(call, qn_onnx_in(call, 1))->shape;
    qn_shape offset = qn_onnx_type(call, qn_onnx_in(call, 2))->shape;
    *d = (deformed){.batch = x.dims[0], .strides = {1, 1}, .dilations = {1, 1}};
    (void)qn_onnx_attr_ints(call, "strides", d->strides, 2);
    (void)qn_onnx_attr_ints(call, "dilations", d->dilations, 2);
    (void)qn_onnx_attr_ints(call, "pads", d->pads, 4);
    d->parts = qn_onnx_attr_i(call, "offset_group", 1);
    bool ranks = x.rank == 4 && w.rank == 4 && offset.rank == 4;
    for (int i = 0; i < 2 && ranks; i++) {
        d->kernel[i] = w.dims[2 + i];
        d->size[i] = x.dims[1 + i];
        d->out[i] = offset.dims[2 + i];
    }
    d->taps = d->kernel[0] * d->kernel[1];
    bool known = ranks && d->taps > 0 && d->taps <= 1024 && d->size[0] > 0 && d->size[1] > 0 &&
                 d->out[0] > 0 && d->out[1] > 0;
    if (call->status == QN_OK &&
        (!known || d->parts < 1 || offset.dims[1] != 2 * d->taps * d->parts || x.dims[3] < 1 ||
         x.dims[3] % d->parts))
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED,
                     "needs images of known size and 2 offsets for each tap and offset group");
    return call->status == QN_OK;
}

/* Where the taps stand without offsets, along y (axis 0) or x, as GridSample counts: [1, 1, taps, OH, OW, 1]. */
static qn_value tap_places(qn_onnx_call *call, const deformed *d, int axis, qn_dtype dtype)
{
    int64_t count = d->taps * d->out[0] * d->out[1];
    double *places = qn_onnx_numbers(call, count, sizeof *places);
    for (int64_t i = 0; i < count && places; i++) {
        int64_t pixel = i % (d->out[0] * d->out[1]), tap = i / (d->out[0] * d->out[1]);
        int64_t at = axis ? pixel % d->out[1] : pixel / d->out[1];
        int64_t step = axis ? tap % d->kernel[1] : tap / d->kernel[1];
        double place = (double)(at * d->strides[axis] - d->pads[axis] + step * d->dilations[axis]);
        places[i] = (2 * place + 1) / (double)d->size[axis] - 1;
    }
    if (!places)
        return QN_NONE;
    qn_tensor tensor =
        qn_tensor_of(places, QN_DTYPE_F64, QN_SHAPE(1, 1, d->taps, d->out[0], d->out[1], 1));
    return qn_onnx_cast(call, qn_onnx_constant(call, &tensor), dtype);
}

/* Offsets [N, parts * taps * 2, OH, OW], y before x, as a grid [N, parts, taps, OH, OW, 2], x before y. */
static qn_value deformed_grid(qn_onnx_call *call, const deformed *d, qn_dtype dtype)
{
    static const int64_t perm[] = {0, 1, 2, 4, 5, 3};
    qn_value offset = qn_onnx_cast(call, qn_onnx_in(call, 2), dtype), both[2];
    offset = qn_onnx_transpose(
        call,
        qn_onnx_reshape(call, offset,
                        &QN_SHAPE(d->batch, d->parts, d->taps, 2, d->out[0], d->out[1])),
        perm);
    for (int axis = 0; axis < 2; axis++) {
        qn_value moved = qn_onnx_slice(call, offset, 5, axis, axis + 1);
        qn_value scale = qn_onnx_scalar(call, dtype, 2 / (double)d->size[axis]);
        both[1 - axis] = qn_onnx_emit2(call, "Add", qn_onnx_emit2(call, "Mul", moved, scale),
                                       tap_places(call, d, axis, dtype));
    }
    qn_attr last = QN_ATTR_I("axis", 5);
    return qn_onnx_emit(call, "Concat", both, 2, &last, 1);
}

/* The image under every tap: [N, taps, OH, OW, C], times the mask [N, parts * taps, OH, OW] where there is one. */
static qn_value sample_taps(qn_onnx_call *call, const deformed *d)
{
    enum { PARTS = 64 };
    qn_value x = qn_onnx_in_last(call, 0), parts[PARTS], mask = QN_NONE;
    qn_type type = *qn_onnx_type(call, x);
    qn_value grid = deformed_grid(call, d, type.dtype);
    int64_t each = type.shape.dims[3] / d->parts;
    qn_attr zeros = QN_ATTR_S("padding_mode", "zeros"), last = QN_ATTR_I("axis", 4);
    if (d->parts > PARTS)
        return qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "more than %d offset groups", (int)PARTS);
    if (qn_onnx_has(call, 4))
        mask = qn_onnx_reshape(call, qn_onnx_in(call, 4),
                               &QN_SHAPE(d->batch, d->parts, d->taps, d->out[0], d->out[1], 1));
    for (int64_t p = 0; p < d->parts; p++) {
        qn_value image = qn_onnx_slice(call, x, 3, p * each, (p + 1) * each);
        qn_value places = qn_onnx_reshape(call, qn_onnx_slice(call, grid, 1, p, p + 1),
                                          &QN_SHAPE(d->batch, d->taps * d->out[0], d->out[1], 2));
        image = qn_onnx_emit(call, "GridSample", (qn_value[]){image, places}, 2, &zeros, 1);
        image =
            qn_onnx_reshape(call, image, &QN_SHAPE(d->batch, d->taps, d->out[0], d->out[1], each));
        if (mask != QN_NONE)
            image = qn_onnx_emit2(
                call, "Mul", image,
                qn_onnx_reshape(call, qn_onnx_slice(call, mask, 1, p, p + 1),
                                &QN_SHAPE(d->batch, d->taps, d->out[0], d->out[1], 1)));
        parts[p] = image;
    }
    return qn_onnx_emit(call, "Concat", parts, (int)d->parts, &last, 1);
}

/* What was sampled times the weights, group by group. */
static void map_deform_conv(qn_onnx_call *call)
{
    static const int64_t pixels_first[] = {0, 2, 3, 1, 4}, taps_first[] = {2, 3, 1, 0};
    enum { GROUPS = 64 };
    deformed d;
    if (!read_deformed(call, &d))
        return;
    qn_value taps = qn_onnx_transpose(call, sample_taps(call, &d), pixels_first);
    qn_value weights = qn_onnx_in(call, 1), results[GROUPS];
    qn_shape w = qn_onnx_type(call, weights)->shape;
    int64_t groups = qn_onnx_attr_i(call, "group", 1), inside = w.dims[1];
    if (call->status == QN_OK && (groups < 1 || groups > GROUPS || w.dims[0] % groups))
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "%lld groups; 1 to %d are read", (long long)groups,
                     (int)GROUPS);
    for (int64_t g = 0; g < groups && call->status == QN_OK; g++) {
        int64_t each = w.dims[0] / groups;
        qn_value part = qn_onnx_slice(call, taps, 4, g * inside, (g + 1) * inside);
        qn_value of = qn_onnx_slice(call, weights, 0, g * each, (g + 1) * each);
        part = qn_onnx_reshape(call, part, &QN_SHAPE(d.batch, d.out[0], d.out[1], d.taps * inside));
        of = qn_onnx_reshape(call, qn_onnx_transpose(call, of, taps_first),
                             &QN_SHAPE(d.taps * inside, each));
        results[g] = qn_onnx_emit2(call, "MatMul", part, of);
    }
    qn_attr last = QN_ATTR_I("axis", 3);
    qn_value y = call->status == QN_OK
                     ? qn_onnx_emit(call, "Concat", results, (int)groups, &last, 1)
                     : QN_NONE;
    if (qn_onnx_has(call, 3))
        y = qn_onnx_emit2(call, "Add", y, qn_onnx_in(call, 3));
    qn_onnx_out_last(call, 0, y);
}

const qn_onnx_row qn_onnx_rows_deform[] = {
    QN_ONNX_NOTED("DeformConv", 19, map_deform_conv, "images of known size"),
    {0},
};
