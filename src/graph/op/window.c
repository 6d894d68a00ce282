/*
 * Reading windows (window.h): attributes with the defaults of ONNX, padding that follows from the sizes, and sizes of outputs.
 */
#include "graph/op/window.h"

#include <string.h>

#include "graph/op/common.h"

static bool has_attr(const qn_op *op, const char *name)
{
    for (int i = 0; op->attrs && op->attrs[i].name; i++)
        if (strcmp(op->attrs[i].name, name) == 0)
            return true;
    return false;
}

qn_status qn_op_spatial_rank(const qn_op_types *types, int input, int *ret, qn_error *err)
{
    char text[128];
    const qn_shape *shape = &types->inputs[input].shape;
    if (shape->rank < 3 || shape->rank > 5)
        QN_FAIL(err, QN_ERR_ARG,
                "input %d is %s, expected 3 to 5 dimensions: a batch, up to three sizes, channels",
                input, qn_shape_text(shape, text));
    *ret = shape->rank - 2;
    return QN_OK;
}

qn_status qn_op_spatial(const qn_op_types *types, const char *name, int rank, int64_t fallback,
                        int64_t ret[3], qn_error *err)
{
    int64_t given[3];
    QN_TRY(qn_op_ints(types, name, rank, fallback, given, err));
    for (int i = 0; i < 3; i++)
        ret[i] = i < 3 - rank ? fallback : given[i - (3 - rank)];
    return QN_OK;
}

static qn_status read_pads(const qn_op_types *types, qn_op_window *w, qn_error *err)
{
    int64_t pads[6];
    QN_TRY(qn_op_ints(types, "pads", 2 * w->rank, 0, pads, err));
    for (int i = 3 - w->rank; i < 3; i++) {
        w->before[i] = pads[i - (3 - w->rank)];
        w->after[i] = pads[i - (3 - w->rank) + w->rank];
    }
    return QN_OK;
}

static qn_status check_range(const char *name, const int64_t values[3], int64_t low, qn_error *err)
{
    for (int i = 0; i < 3; i++)
        if (values[i] < low || values[i] > INT32_MAX)
            QN_FAIL(err, QN_ERR_ARG, "'%s' holds %lld, expected %lld to %d", name,
                    (long long)values[i], (long long)low, INT32_MAX);
    return QN_OK;
}

static qn_status read_attrs(const qn_op_types *types, const int64_t *kernel, qn_op_window *w,
                            qn_error *err)
{
    const int64_t one[3] = {1, 1, 1};
    memcpy(w->dilation, one, sizeof one);
    if (kernel) {
        memcpy(w->kernel, one, sizeof one);
        memcpy(w->kernel + 3 - w->rank, kernel, (size_t)w->rank * sizeof *kernel);
    } else {
        QN_TRY(qn_op_spatial(types, "kernel_shape", w->rank, 1, w->kernel, err));
    }
    QN_TRY(qn_op_spatial(types, "strides", w->rank, 1, w->stride, err));
    if (has_attr(types->op, "dilations"))
        QN_TRY(qn_op_spatial(types, "dilations", w->rank, 1, w->dilation, err));
    QN_TRY(read_pads(types, w, err));
    for (int i = 0; i < 3; i++)
        if (w->kernel[i] < 1 || w->kernel[i] > INT32_MAX)
            QN_FAIL(err, QN_ERR_ARG, "a window of %lld pixels, expected 1 to %d",
                    (long long)w->kernel[i], INT32_MAX);
    QN_TRY(check_range("strides", w->stride, 1, err));
    QN_TRY(check_range("pads", w->before, 0, err));
    QN_TRY(check_range("pads", w->after, 0, err));
    return check_range("dilations", w->dilation, 1, err);
}

/* ceil(size / stride) outputs; the odd pixel of padding behind (SAME_UPPER) or in front. */
static void pad_same(qn_op_window *w, int i, bool upper)
{
    int64_t outputs = (w->in[i] + w->stride[i] - 1) / w->stride[i];
    int64_t covers = (w->kernel[i] - 1) * w->dilation[i] + 1;
    int64_t total = w->in[i] < 0 ? covers - 1 : (outputs - 1) * w->stride[i] + covers - w->in[i];
    total = total > 0 ? total : 0;
    w->before[i] = upper ? total / 2 : total - total / 2;
    w->after[i] = total - w->before[i];
}

static qn_status read_size(qn_op_window *w, int i, bool ceil, qn_error *err)
{
    static const char *const sides[] = {"depth", "height", "width"};
    int64_t extent = w->in[i], stride = w->stride[i];
    int64_t covers = (w->kernel[i] - 1) * w->dilation[i] + 1, pads = w->before[i] + w->after[i];
    if (extent < 0 && (stride != 1 || pads != covers - 1))
        QN_FAIL(err, QN_ERR_ARG,
                "the %s must be known, or kept by the window (stride 1, same padding)", sides[i]);
    if (extent > INT32_MAX)
        QN_FAIL(err, QN_ERR_ARG, "a window of %lld on %lld pixels, expected 1 to %d",
                (long long)w->kernel[i], (long long)extent, INT32_MAX);
    if (extent >= 0 && covers > extent + pads)
        QN_FAIL(err, QN_ERR_ARG, "a window of %lld does not fit the %s of %lld", (long long)covers,
                sides[i], (long long)(extent + pads));
    w->out[i] = extent;
    if (extent < 0)
        return QN_OK;
    w->out[i] = (extent + pads - covers + (ceil ? stride - 1 : 0)) / stride + 1;
    if (ceil &&
        (w->out[i] - 1) * stride >= extent + w->before[i]) /* it would begin in the padding */
        w->out[i]--;
    return QN_OK;
}

qn_status qn_op_window_read(const qn_op_types *types, const qn_shape *x, const int64_t *kernel,
                            qn_op_window *ret, qn_error *err)
{
    const char *automatic = qn_op_attr_s(types, "auto_pad");
    bool ceil = has_attr(types->op, "ceil_mode") && qn_op_attr_i(types, "ceil_mode") != 0;
    qn_op_window w = {.rank = x->rank - 2, .n = x->dims[0], .c = x->dims[x->rank - 1]};
    for (int i = 0; i < 3; i++)
        w.in[i] = i < 3 - w.rank ? 1 : x->dims[1 + i - (3 - w.rank)];
    QN_TRY(read_attrs(types, kernel, &w, err));
    for (int i = 3 - w.rank; i < 3; i++) {
        if (strcmp(automatic, "VALID") == 0)
            w.before[i] = w.after[i] = 0;
        else if (strcmp(automatic, "NOTSET") != 0)
            pad_same(&w, i, strcmp(automatic, "SAME_UPPER") == 0);
    }
    for (int i = 0; i < 3; i++)
        QN_TRY(read_size(&w, i, ceil, err));
    *ret = w;
    return QN_OK;
}

/* What of a larger result the padding takes away: ONNX gives the odd pixel to the end for SAME_UPPER alone. */
static void pad_transposed(qn_op_window *w, int i, int64_t total, bool upper)
{
    total = total > 0 ? total : 0;
    w->before[i] = upper ? total / 2 : total - total / 2;
    w->after[i] = total - w->before[i];
}

static qn_status read_transposed(const qn_op_types *types, qn_op_window *w, int i, int64_t extra,
                                 int64_t wanted, qn_error *err)
{
    const char *automatic = qn_op_attr_s(types, "auto_pad");
    int64_t covers = (w->kernel[i] - 1) * w->dilation[i] + 1, extent = w->out[i];
    if (extent < 1 || extent > INT32_MAX)
        QN_FAIL(err, QN_ERR_ARG, "sizes of transposed convolution must be known and not 0");
    int64_t full = w->stride[i] * (extent - 1) + covers;
    bool same = strncmp(automatic, "SAME", 4) == 0;
    if (strcmp(automatic, "VALID") == 0)
        w->before[i] = w->after[i] = 0;
    if (wanted == 0 && same)
        wanted = extent * w->stride[i];
    if (wanted > 0) {
        pad_transposed(w, i, full + extra - wanted, strcmp(automatic, "SAME_UPPER") == 0);
        extra = wanted - (full - w->before[i] - w->after[i]);
    }
    w->in[i] = full - w->before[i] - w->after[i] + extra;
    if (extra < 0 || extra >= w->stride[i] || w->in[i] < 1)
        QN_FAIL(err, QN_ERR_ARG,
                "a result of %lld from %lld pixels with stride %lld: padding of the output is 0 to "
                "stride - 1, and something must be left",
                (long long)w->in[i], (long long)extent, (long long)w->stride[i]);
    return QN_OK;
}

qn_status qn_op_window_transposed(const qn_op_types *types, const qn_shape *x,
                                  const int64_t *kernel, qn_op_window *ret, qn_error *err)
{
    qn_op_window w = {.rank = x->rank - 2, .n = x->dims[0], .c = x->dims[x->rank - 1]};
    int64_t extra[3], wanted[3];
    QN_TRY(read_attrs(types, kernel, &w, err));
    QN_TRY(qn_op_spatial(types, "output_padding", w.rank, 0, extra, err));
    QN_TRY(qn_op_spatial(types, "output_shape", w.rank, 0, wanted, err));
    QN_TRY(check_range("output_padding", extra, 0, err));
    QN_TRY(check_range("output_shape", wanted, 0, err));
    for (int i = 0; i < 3; i++) {
        w.out[i] = i < 3 - w.rank ? 1 : x->dims[1 + i - (3 - w.rank)];
        w.in[i] = 1;
        if (i >= 3 - w.rank)
            QN_TRY(read_transposed(types, &w, i, extra[i], wanted[i], err));
    }
    *ret = w;
    return QN_OK;
}

qn_shape qn_op_window_shape(const qn_op_window *window, const int64_t size[3], int64_t channels)
{
    qn_shape shape = {.rank = window->rank + 2, .dims = {window->n}};
    for (int i = 0; i < window->rank; i++)
        shape.dims[1 + i] = size[3 - window->rank + i];
    shape.dims[window->rank + 1] = channels;
    return shape;
}
