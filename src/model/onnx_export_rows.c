/*
 * How each op of a graph is written in ONNX. Most are the same operator; what is an attribute here and an input there
 * becomes a constant, and what ONNX has not at the exported opset is written out.
 */
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "graph/op.h"
#include "model/onnx_export_priv.h"

#define COUNT(l) ((int)(sizeof(l) / sizeof((l)[0])))

/* The row's attributes that ONNX's operator has under the same names. */
static int same_attrs(qn_onnx_view n, const char *const *names, qn_onnx_attr *dst)
{
    int count = 0;
    for (int i = 0; names && names[i]; i++) {
        const qn_attr *a = qn_onnx_export_attr(n, names[i]);
        if (!a || (a->kind == QN_ATTR_INTS && a->count == 0))
            continue;
        dst[count++] = a->kind == QN_ATTR_INT      ? QN_ONNX_I(a->name, a->i)
                       : a->kind == QN_ATTR_FLOAT  ? QN_ONNX_F(a->name, a->f)
                       : a->kind == QN_ATTR_STRING ? QN_ONNX_S(a->name, a->s)
                                                   : QN_ONNX_INTS(a->name, a->ints, a->count);
    }
    return count;
}

/* --- elementwise, in whichever layout the inputs are --- */

static const char *const math_attrs[] = {
    "alpha",       "beta", "gamma",           "lambd",           "bias",
    "approximate", "fmod", "detect_negative", "detect_positive", NULL};

/* A constant beside a channels-first tensor: one number, or one for each channel. */
static const char *beside_first(qn_onnx_exporter *e, qn_value value, int rank)
{
    qn_tensor tensor;
    if (!qn_onnx_export_read(e, value, &tensor) || tensor.shape.rank > 1)
        return NULL;
    if (tensor.shape.rank == 0 || tensor.shape.dims[0] == 1)
        return qn_onnx_export_plain(e, value);
    qn_shape column = {rank - 1, {tensor.shape.dims[0], 1, 1, 1, 1, 1, 1}};
    qn_tensor turned = qn_tensor_of(tensor.data, tensor.dtype, column);
    return qn_onnx_export_tensor(e, &turned);
}

/* Names of the inputs channels first when one of them is only so and the others can be; false otherwise. */
static bool all_first(qn_onnx_exporter *e, qn_onnx_view n, const char **names)
{
    int rank = 0;
    for (int i = 0; i < n->inputs_count; i++)
        if (n->inputs[i] != QN_NONE && e->names[n->inputs[i]].first &&
            !e->names[n->inputs[i]].plain)
            rank = TYPE(i)->shape.rank;
    for (int i = 0; i < n->inputs_count && rank > 0; i++) {
        bool turned = TYPE(i)->shape.rank == rank && e->names[n->inputs[i]].first;
        names[i] = turned ? e->names[n->inputs[i]].first : beside_first(e, n->inputs[i], rank);
        if (!names[i])
            return false;
    }
    return rank > 0;
}

static void export_each(qn_onnx_exporter *e, qn_onnx_view n)
{
    enum { MANY = 64 };
    const char *names[MANY];
    qn_onnx_attr attrs[QN_OP_ATTRS_MAX];
    int count = same_attrs(n, math_attrs, attrs);
    if (n->inputs_count > MANY) {
        qn_onnx_export_fail(e, QN_ERR_UNSUPPORTED, "%s of %d inputs", n->op, n->inputs_count);
        return;
    }
    if (all_first(e, n, names)) {
        OUT1 = qn_onnx_export_emit(e, n->op, names, n->inputs_count, attrs, count);
        return;
    }
    for (int i = 0; i < n->inputs_count; i++)
        names[i] = PLAIN(i);
    OUT = qn_onnx_export_emit(e, n->op, names, n->inputs_count, attrs, count);
}

static void export_silu(qn_onnx_exporter *e, qn_onnx_view n)
{
    const char *x;
    bool first = all_first(e, n, &x);
    if (!first)
        x = PLAIN(0);
    const char *y = qn_onnx_export_2(e, "Mul", x, qn_onnx_export_1(e, "Sigmoid", x));
    *(first ? &OUT1 : &OUT) = y;
}

static void export_square(qn_onnx_exporter *e, qn_onnx_view n)
{
    OUT = qn_onnx_export_2(e, "Mul", PLAIN(0), PLAIN(0));
}

static void export_clip(qn_onnx_exporter *e, qn_onnx_view n)
{
    const char *inputs[] = {PLAIN(0), qn_onnx_export_number(e, qn_onnx_export_f(n, "min", 0)),
                            qn_onnx_export_number(e, qn_onnx_export_f(n, "max", 0))};
    OUT = qn_onnx_export_emit(e, "Clip", inputs, 3, NULL, 0);
}

/* --- moves --- */

static void export_reshape(qn_onnx_exporter *e, qn_onnx_view n)
{
    const qn_attr *shape = qn_onnx_export_attr(n, "shape");
    OUT =
        qn_onnx_export_2(e, "Reshape", PLAIN(0), qn_onnx_export_ints(e, shape->ints, shape->count));
}

/* An open size, read off an input that has it. */
static const char *open_size(qn_onnx_exporter *e, int64_t symbol)
{
    for (qn_value v = 0; v < qn_graph_values_count(e->graph); v++) {
        const qn_shape *shape = &qn_graph_type(e->graph, v)->shape;
        for (int d = 0; d < shape->rank && qn_graph_kind(e->graph, v) == QN_VALUE_INPUT; d++)
            if (shape->dims[d] == symbol) {
                const char *x = qn_onnx_export_plain(e, v);
                qn_onnx_attr range[] = {QN_ONNX_I("start", d), QN_ONNX_I("end", d + 1)};
                return qn_onnx_export_emit(e, "Shape", &x, 1, range, 2);
            }
    }
    qn_onnx_export_fail(e, QN_ERR_UNSUPPORTED, "Expand to an open size that no input has");
    return "";
}

static void export_expand(qn_onnx_exporter *e, qn_onnx_view n)
{
    const qn_attr *shape = qn_onnx_export_attr(n, "shape");
    const char *sizes[QN_RANK_MAX], *all;
    bool open = false;
    for (int i = 0; i < shape->count; i++) {
        open = open || shape->ints[i] < 0;
        sizes[i] = shape->ints[i] < 0 ? open_size(e, shape->ints[i])
                                      : qn_onnx_export_ints(e, &shape->ints[i], 1);
    }
    all = open ? qn_onnx_export_emit(e, "Concat", sizes, shape->count, &QN_ONNX_I("axis", 0), 1)
               : qn_onnx_export_ints(e, shape->ints, shape->count);
    OUT = qn_onnx_export_2(e, "Expand", PLAIN(0), all);
}

static void export_by_axes(qn_onnx_exporter *e, qn_onnx_view n)
{
    const qn_attr *axes = qn_onnx_export_attr(n, "axes");
    const char *inputs[] = {PLAIN(0),
                            axes->count ? qn_onnx_export_ints(e, axes->ints, axes->count) : ""};
    qn_onnx_attr keep = QN_ONNX_I("keepdims", qn_onnx_export_i(n, "keepdims", 1));
    bool reduces = n->op[0] == 'R';
    OUT = qn_onnx_export_emit(e, n->op, inputs, 2, &keep, reduces);
}

/* Nothing but attributes: computed now. */
static void export_range(qn_onnx_exporter *e, qn_onnx_view n)
{
    qn_graph *alone = qn_graph_create();
    qn_tensor result;
    qn_value value = QN_NONE;
    if (alone)
        value = qn_graph_node(alone, n->op, NULL, 0, n->attrs, n->attrs_count);
    if (value != QN_NONE)
        value = qn_graph_fold(alone, value, NULL, INT64_MAX / 2);
    if (value != QN_NONE && qn_graph_const_read(alone, value, &result))
        OUT = qn_onnx_export_tensor(e, &result);
    else
        qn_onnx_export_fail(e, QN_ERR_MEMORY, "out of memory");
    qn_graph_destroy(alone);
}

static void export_tile(qn_onnx_exporter *e, qn_onnx_view n)
{
    const qn_attr *repeats = qn_onnx_export_attr(n, "repeats");
    OUT = qn_onnx_export_2(e, "Tile", PLAIN(0),
                           qn_onnx_export_ints(e, repeats->ints, repeats->count));
}

static void export_by_axis(qn_onnx_exporter *e, qn_onnx_view n)
{
    static const char *const names[] = {"axis", "keepdims", "select_last_index", "perm", "p", NULL};
    enum { MANY = 64 };
    const char *inputs[MANY];
    qn_onnx_attr attrs[4];
    int count = same_attrs(n, names, attrs);
    for (int i = 0; i < n->inputs_count && i < MANY; i++)
        inputs[i] = PLAIN(i);
    if (n->inputs_count > MANY)
        qn_onnx_export_fail(e, QN_ERR_UNSUPPORTED, "%s of %d inputs", n->op, n->inputs_count);
    else
        OUT = qn_onnx_export_emit(e, n->op, inputs, n->inputs_count, attrs, count);
}

static void export_slice(qn_onnx_exporter *e, qn_onnx_view n)
{
    static const char *const names[] = {"starts", "ends", "axes", "steps"};
    const char *inputs[5] = {PLAIN(0), "", "", "", ""};
    for (int i = 0; i < 4; i++) {
        const qn_attr *list = qn_onnx_export_attr(n, names[i]);
        if (list && list->count > 0)
            inputs[1 + i] = qn_onnx_export_ints(e, list->ints, list->count);
    }
    OUT = qn_onnx_export_emit(e, "Slice", inputs, 5, NULL, 0);
}

static void export_pad(qn_onnx_exporter *e, qn_onnx_view n)
{
    int64_t pads[2 * QN_RANK_MAX] = {0};
    const qn_attr *begins = qn_onnx_export_attr(n, "begins"),
                  *ends = qn_onnx_export_attr(n, "ends");
    int rank = TYPE(0)->shape.rank;
    memcpy(pads, begins->ints, (size_t)begins->count * sizeof *pads);
    memcpy(pads + rank, ends->ints, (size_t)ends->count * sizeof *pads);
    const char *inputs[] = {PLAIN(0), qn_onnx_export_ints(e, pads, 2 * rank),
                            qn_onnx_export_number(e, qn_onnx_export_f(n, "value", 0))};
    qn_onnx_attr mode = QN_ONNX_S("mode", qn_onnx_export_s(n, "mode", "constant"));
    OUT = qn_onnx_export_emit(e, "Pad", inputs, 3, &mode, 1);
}

static void export_cast(qn_onnx_exporter *e, qn_onnx_view n)
{
    const char *x = PLAIN(0);
    qn_onnx_attr to = QN_ONNX_I("to", qn_onnx_elem_of(qn_graph_type(e->graph, n->first)->dtype));
    OUT = qn_onnx_export_emit(e, "Cast", &x, 1, &to, 1);
}

/* --- products --- */

static const char *turn_matrix(qn_onnx_exporter *e, const char *x, int rank)
{
    int64_t perm[QN_RANK_MAX];
    for (int i = 0; i < rank; i++)
        perm[i] = i < rank - 2 ? i : i == rank - 2 ? rank - 1 : rank - 2;
    return qn_onnx_export_turn(e, x, perm, rank);
}

static void export_matmul(qn_onnx_exporter *e, qn_onnx_view n)
{
    const char *a = PLAIN(0), *b = PLAIN(1);
    if (qn_onnx_export_i(n, "transA", 0))
        a = turn_matrix(e, a, TYPE(0)->shape.rank);
    if (qn_onnx_export_i(n, "transB", 0))
        b = turn_matrix(e, b, TYPE(1)->shape.rank);
    OUT = qn_onnx_export_2(e, "MatMul", a, b);
}

/* What a row does behind itself. */
static const char *activate(qn_onnx_exporter *e, qn_onnx_view n, const char *y)
{
    static const char *const words[] = {"relu", "Relu", "sigmoid", "Sigmoid", "tanh", "Tanh"};
    const char *word = qn_onnx_export_s(n, "activation", "none");
    for (int i = 0; i < COUNT(words); i += 2)
        if (strcmp(word, words[i]) == 0)
            return qn_onnx_export_1(e, words[i + 1], y);
    if (strcmp(word, "silu") == 0)
        return qn_onnx_export_2(e, "Mul", y, qn_onnx_export_1(e, "Sigmoid", y));
    if (strcmp(word, "leaky_relu") == 0)
        return qn_onnx_export_emit(e, "LeakyRelu", &y, 1,
                                   &QN_ONNX_F("alpha", qn_onnx_export_f(n, "slope", 0.01)), 1);
    if (strncmp(word, "gelu", 4) == 0)
        return qn_onnx_export_emit(e, "Gelu", &y, 1,
                                   &QN_ONNX_S("approximate", word[4] ? "tanh" : "none"), 1);
    if (strcmp(word, "none") != 0)
        qn_onnx_export_fail(e, QN_ERR_UNSUPPORTED, "the activation '%s' behind %s", word, n->op);
    return y;
}

/* ONNX's Gemm takes matrices; rows of a batch of them go through MatMul. */
static void export_gemm(qn_onnx_exporter *e, qn_onnx_view n)
{
    static const char *const names[] = {"transA", "transB", "alpha", "beta", NULL};
    qn_onnx_attr attrs[4];
    const char *inputs[] = {PLAIN(0), PLAIN(1), PLAIN(2)};
    int count = same_attrs(n, names, attrs);
    bool plain = qn_onnx_export_f(n, "alpha", 1) == 1 && qn_onnx_export_f(n, "beta", 1) == 1;
    if (TYPE(0)->shape.rank == 2) {
        OUT = activate(e, n, qn_onnx_export_emit(e, "Gemm", inputs, 3, attrs, count));
        return;
    }
    if (!plain || qn_onnx_export_i(n, "transA", 0))
        qn_onnx_export_fail(e, QN_ERR_UNSUPPORTED, "Gemm of tensors with alpha, beta or transA");
    if (qn_onnx_export_i(n, "transB", 0))
        inputs[1] = turn_matrix(e, inputs[1], 2);
    const char *y = qn_onnx_export_2(e, "MatMul", inputs[0], inputs[1]);
    OUT = activate(e, n, inputs[2][0] ? qn_onnx_export_2(e, "Add", y, inputs[2]) : y);
}

/* --- images: channels first there --- */

static const char *const window_attrs[] = {
    "kernel_shape",      "strides", "pads",           "dilations",    "auto_pad", "group",
    "count_include_pad", "p",       "output_padding", "output_shape", NULL};

/* pads beside an auto_pad that chooses them would contradict it. */
static int read_window(qn_onnx_view n, qn_onnx_attr *dst)
{
    int count = same_attrs(n, window_attrs, dst), kept = 0;
    bool chosen = strcmp(qn_onnx_export_s(n, "auto_pad", "NOTSET"), "NOTSET") != 0;
    for (int i = 0; i < count; i++)
        if (!chosen || strcmp(dst[i].name, "pads") != 0)
            dst[kept++] = dst[i];
    count = kept;
    if (qn_onnx_export_i(n, "ceil_mode", 0))
        dst[count++] = QN_ONNX_I("ceil_mode", 1);
    return count;
}

/* [K..., a, b] as [b, a, K...], as the tensor of the file. */
static const char *weights_first(qn_onnx_exporter *e, qn_value value)
{
    int rank = qn_graph_type(e->graph, value)->shape.rank;
    int64_t perm[QN_RANK_MAX] = {rank - 1, rank - 2};
    for (int i = 2; i < rank; i++)
        perm[i] = i - 2;
    return qn_onnx_export_turn(e, qn_onnx_export_plain(e, value), perm, rank);
}

static void export_conv(qn_onnx_exporter *e, qn_onnx_view n)
{
    qn_onnx_attr attrs[QN_OP_ATTRS_MAX];
    int count = read_window(n, attrs);
    const char *inputs[] = {qn_onnx_export_first(e, IN(0)), weights_first(e, IN(1)), PLAIN(2)};
    const char *y = qn_onnx_export_emit(e, n->op, inputs, 3, attrs, count);
    if (IN(3) != QN_NONE)
        y = qn_onnx_export_2(e, "Add", y, qn_onnx_export_first(e, IN(3)));
    OUT1 = activate(e, n, y);
}

static void export_pool(qn_onnx_exporter *e, qn_onnx_view n)
{
    qn_onnx_attr attrs[QN_OP_ATTRS_MAX];
    int count = read_window(n, attrs);
    const char *x = qn_onnx_export_first(e, IN(0));
    OUT1 = qn_onnx_export_emit(e, n->op, &x, 1, attrs, count);
}

static void export_norm(qn_onnx_exporter *e, qn_onnx_view n)
{
    static const char *const names[] = {"epsilon", "num_groups", NULL};
    qn_onnx_attr attrs[2];
    const char *inputs[5] = {qn_onnx_export_first(e, IN(0)), "", "", "", ""};
    int count = same_attrs(n, names, attrs);
    for (int i = 1; i < n->inputs_count && i < 5; i++)
        inputs[i] = PLAIN(i);
    const char *y = qn_onnx_export_emit(e, n->op, inputs, n->inputs_count, attrs, count);
    *(TYPE(0)->shape.rank > 2 ? &OUT1 : &OUT) = y;
}

/* [N, C] as they come, then these: with `axes` ONNX Runtime loses the sizes of images. */
static const char *sizes_of_first(qn_onnx_exporter *e, const char *x, const int64_t *sizes,
                                  int count)
{
    qn_onnx_attr range[] = {QN_ONNX_I("start", 0), QN_ONNX_I("end", 2)};
    const char *parts[] = {qn_onnx_export_emit(e, "Shape", &x, 1, range, 2),
                           qn_onnx_export_ints(e, sizes, count)};
    return qn_onnx_export_emit(e, "Concat", parts, 2, &QN_ONNX_I("axis", 0), 1);
}

/* Channels first there; the batch may be open. Scales that are not the sizes' own ratio are a constant. */
static void export_resize(qn_onnx_exporter *e, qn_onnx_view n)
{
    static const char *const names[] = {"mode",
                                        "coordinate_transformation_mode",
                                        "nearest_mode",
                                        "cubic_coeff_a",
                                        "exclude_outside",
                                        "antialias",
                                        NULL};
    qn_onnx_attr attrs[8];
    int count = same_attrs(n, names, attrs), rank = TYPE(0)->shape.rank;
    const qn_attr *sizes = qn_onnx_export_attr(n, "sizes");
    const qn_shape *x = &TYPE(0)->shape;
    qn_tensor scales;
    float ratios[QN_RANK_MAX] = {1, 1};
    bool by_scales = IN(2) != QN_NONE && qn_onnx_export_read(e, IN(2), &scales);
    if (IN(1) != QN_NONE || (IN(2) != QN_NONE && !by_scales) || rank < 3 ||
        sizes->ints[0] != x->dims[0] || sizes->ints[rank - 1] != x->dims[rank - 1])
        qn_onnx_export_fail(e, QN_ERR_UNSUPPORTED, "Resize of a region, or of batch or channels");
    for (int i = 2; i < rank; i++)
        ratios[i] = by_scales ? (float)qn_tensor_f64_at(&scales, i - 1) : 1;
    qn_tensor all = qn_tensor_of(ratios, QN_DTYPE_F32, QN_SHAPE(rank));
    const char *first = qn_onnx_export_first(e, IN(0)), *wanted = "";
    if (!by_scales)
        wanted = sizes_of_first(e, first, sizes->ints + 1, rank - 2);
    const char *inputs[] = {first, "", by_scales ? qn_onnx_export_tensor(e, &all) : "", wanted};
    OUT1 = qn_onnx_export_emit(e, "Resize", inputs, 4, attrs, count);
}

/* For each of `out` windows of an axis its elements, as many as the largest has: the last one again, without weight, where
 * there are fewer. indices and weights: [out, most]; returns most. */
static int64_t adaptive_windows(int64_t in, int64_t out, int64_t *indices, float *weights)
{
    int64_t most = 1;
    for (int64_t o = 0; o < out; o++)
        most = qn_max_i64(most, ((o + 1) * in + out - 1) / out - o * in / out);
    for (int64_t at = 0; at < out * most; at++) {
        int64_t o = at / most, k = at % most, begin = o * in / out;
        int64_t count = ((o + 1) * in + out - 1) / out - begin;
        indices[at] = begin + qn_min_i64(k, count - 1);
        weights[at] = k < count ? 1 / (float)count : 0;
    }
    return most;
}

/* One axis of x brought to `out` elements: gathered as windows, then their mean or largest. */
static const char *adapt_axis(qn_onnx_exporter *e, const char *x, int axis, int rank, int64_t in,
                              int64_t out, bool largest)
{
    int64_t room = out * (in / qn_max_i64(out, 1) + 2), behind = axis + 1;
    int64_t *indices = QN_NEW(&e->arena, int64_t, room);
    float *weights = QN_NEW(&e->arena, float, room);
    if (!indices || !weights) {
        qn_onnx_export_fail(e, QN_ERR_MEMORY, "out of memory");
        return "";
    }
    int64_t most = adaptive_windows(in, out, indices, weights);
    const qn_tensor places = qn_tensor_of(indices, QN_DTYPE_I64, QN_SHAPE(out, most));
    const char *gathered[] = {x, qn_onnx_export_tensor(e, &places)};
    x = qn_onnx_export_emit(e, "Gather", gathered, 2, &QN_ONNX_I("axis", axis), 1);
    qn_shape column = {.rank = rank - axis + 1, .dims = {out, most, 1, 1, 1, 1}};
    const qn_tensor shares = qn_tensor_of(weights, QN_DTYPE_F32, column);
    if (!largest)
        x = qn_onnx_export_2(e, "Mul", x, qn_onnx_export_tensor(e, &shares));
    const char *reduced[] = {x, qn_onnx_export_ints(e, &behind, 1)};
    return qn_onnx_export_emit(e, largest ? "ReduceMax" : "ReduceSum", reduced, 2,
                               &QN_ONNX_I("keepdims", 0), 1);
}

/* ONNX has no adaptive pooling: axis by axis, since a rectangle's mean is that of its rows' means. */
static void export_adaptive(qn_onnx_exporter *e, qn_onnx_view n)
{
    const qn_attr *sizes = qn_onnx_export_attr(n, "output_size");
    const qn_shape *x = &TYPE(0)->shape;
    const char *y = PLAIN(0);
    bool largest = strcmp(n->op, "AdaptiveMaxPool") == 0;
    for (int i = 1; i + 1 < x->rank && e->status == QN_OK; i++) {
        int64_t out = sizes->count == 1 ? sizes->ints[0] : sizes->ints[i - 1];
        if (x->dims[i] < 1)
            qn_onnx_export_fail(e, QN_ERR_UNSUPPORTED, "%s of an open size", n->op);
        else if (out != x->dims[i])
            y = adapt_axis(e, y, i, x->rank, x->dims[i], out, largest);
    }
    OUT = y;
}

static void export_one_hot(qn_onnx_exporter *e, qn_onnx_view n)
{
    int64_t depth = qn_onnx_export_i(n, "depth", 1);
    float pair[] = {(float)qn_onnx_export_f(n, "off", 0), (float)qn_onnx_export_f(n, "on", 1)};
    const qn_tensor values = qn_tensor_of(pair, QN_DTYPE_F32, QN_SHAPE(2));
    const char *inputs[] = {PLAIN(0), qn_onnx_export_ints(e, &depth, 1),
                            qn_onnx_export_tensor(e, &values)};
    if (qn_graph_type(e->graph, n->first)->dtype != QN_DTYPE_F32)
        qn_onnx_export_fail(e, QN_ERR_UNSUPPORTED, "OneHot of another type than f32");
    OUT = qn_onnx_export_emit(e, "OneHot", inputs, 3,
                              &QN_ONNX_I("axis", qn_onnx_export_i(n, "axis", -1)), 1);
}

/* --- normalisations of sequences --- */

static void export_layer_norm(qn_onnx_exporter *e, qn_onnx_view n)
{
    static const char *const names[] = {"axis", "epsilon", NULL};
    qn_onnx_attr attrs[2];
    const char *inputs[] = {PLAIN(0), PLAIN(1), PLAIN(2)};
    int count = same_attrs(n, names, attrs);
    OUT = qn_onnx_export_emit(e, "LayerNormalization", inputs, 3, attrs, count);
}

static void export_rms_norm(qn_onnx_exporter *e, qn_onnx_view n)
{
    int rank = TYPE(0)->shape.rank, count = 0;
    int64_t axis = qn_onnx_export_i(n, "axis", -1), axes[QN_RANK_MAX];
    for (int64_t i = axis < 0 ? axis + rank : axis; i < rank; i++)
        axes[count++] = i;
    const char *x = PLAIN(0),
               *inputs[] = {qn_onnx_export_2(e, "Mul", x, x), qn_onnx_export_ints(e, axes, count)};
    const char *mean = qn_onnx_export_emit(e, "ReduceMean", inputs, 2, NULL, 0);
    const char *safe = qn_onnx_export_2(
        e, "Add", mean, qn_onnx_export_number(e, qn_onnx_export_f(n, "epsilon", 1e-5)));
    OUT = qn_onnx_export_2(
        e, "Mul", qn_onnx_export_2(e, "Div", x, qn_onnx_export_1(e, "Sqrt", safe)), PLAIN(1));
}

/* --- the table --- */

static const struct {
    const char *op;
    void (*write)(qn_onnx_exporter *e, qn_onnx_view node);
} rows[] = {
    {"Square", export_square},
    {"Silu", export_silu},
    {"Clip", export_clip},
    {"Reshape", export_reshape},
    {"Expand", export_expand},
    {"Squeeze", export_by_axes},
    {"Unsqueeze", export_by_axes},
    {"ReduceSum", export_by_axes},
    {"ReduceMean", export_by_axes},
    {"ReduceMax", export_by_axes},
    {"ReduceMin", export_by_axes},
    {"ReduceLogSumExp", export_by_axes},
    {"Softmax", export_by_axis},
    {"LogSoftmax", export_by_axis},
    {"Concat", export_by_axis},
    {"Gather", export_by_axis},
    {"Flatten", export_by_axis},
    {"ArgMax", export_by_axis},
    {"ArgMin", export_by_axis},
    {"Transpose", export_by_axis},
    {"Slice", export_slice},
    {"Pad", export_pad},
    {"Cast", export_cast},
    {"MatMul", export_matmul},
    {"Gemm", export_gemm},
    {"Conv", export_conv},
    {"ConvTranspose", export_conv},
    {"MaxPool", export_pool},
    {"MaxPoolIndices", qn_onnx_export_places},
    {"MaxUnpool", qn_onnx_export_unpool},
    {"AveragePool", export_pool},
    {"LpPool", export_pool},
    {"GlobalAveragePool", export_pool},
    {"GlobalMaxPool", export_pool},
    {"BatchNormalization", export_norm},
    {"GroupNormalization", export_norm},
    {"InstanceNormalization", export_norm},
    {"LayerNormalization", export_layer_norm},
    {"RMSNormalization", export_rms_norm},
    {"Tile", export_tile},
    {"Range", export_range},
    {"CumSum", qn_onnx_export_cumsum},
    {"TopK", qn_onnx_export_top_k},
    {"ScatterAddRows", qn_onnx_export_scatter},
    {"ReduceSumSquare", export_by_axes},
    {"ReduceL1", export_by_axes},
    {"ReduceL2", export_by_axes},
    {"ReduceProd", export_by_axes},
    {"ReduceLogSum", export_by_axes},
    {"Resize", export_resize},
    {"AdaptiveAveragePool", export_adaptive},
    {"AdaptiveMaxPool", export_adaptive},
    {"OneHot", export_one_hot},
    {"LpNormalization", export_by_axis},
    {"LSTM", qn_onnx_export_rnn},
    {"GRU", qn_onnx_export_rnn},
    {"RNN", qn_onnx_export_rnn},
    {"Attention", qn_onnx_export_attention},
    {"RotaryEmbedding", qn_onnx_export_rotary},
    {"SinusoidalPositions", qn_onnx_export_sinusoid},
    {"Positions", qn_onnx_export_positions},
    {"ZerosLike", qn_onnx_export_zeros},
};

/* Rows whose operator, inputs and attributes are ONNX's own. */
static const char *const same[] = {"Add",         "Sub",       "Mul",         "Div",
                                   "Pow",         "Min",       "Max",         "Sum",
                                   "Mean",        "Mod",       "PRelu",       "Equal",
                                   "Less",        "Greater",   "LessOrEqual", "GreaterOrEqual",
                                   "And",         "Or",        "Xor",         "Not",
                                   "Where",       "Neg",       "Abs",         "Exp",
                                   "Log",         "Sqrt",      "Reciprocal",  "Erf",
                                   "Sin",         "Cos",       "Tan",         "Asin",
                                   "Acos",        "Atan",      "Sinh",        "Cosh",
                                   "Asinh",       "Acosh",     "Atanh",       "Sign",
                                   "Floor",       "Ceil",      "Round",       "Relu",
                                   "LeakyRelu",   "Sigmoid",   "Tanh",        "Gelu",
                                   "HardSigmoid", "HardSwish", "Elu",         "Selu",
                                   "Celu",        "Softplus",  "Softsign",    "ThresholdedRelu",
                                   "Mish",        "Shrink",    "Identity",    "IsNaN",
                                   "IsInf"};

void qn_onnx_export_node(qn_onnx_exporter *e, qn_onnx_view node)
{
    for (int i = 0; i < COUNT(rows); i++)
        if (strcmp(rows[i].op, node->op) == 0) {
            rows[i].write(e, node);
            return;
        }
    for (int i = 0; i < COUNT(same); i++)
        if (strcmp(same[i], node->op) == 0) {
            export_each(e, node);
            return;
        }
    qn_onnx_export_fail(e, QN_ERR_UNSUPPORTED, "the op %s has no ONNX form here", node->op);
}
