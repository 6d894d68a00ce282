/*
 * How each op of a graph is written in ONNX. Most are the same operator; what is an attribute here and an input there
 * becomes a constant, and what ONNX has not at the exported opset is written out.
 */
#include <math.h>
#include <string.h>

#include "graph/op.h"
#include "model/onnx_export_priv.h"

#define IN(k)    ((k) < n->inputs_count ? n->inputs[k] : QN_NONE)
#define PLAIN(k) qn_onnx_export_plain(e, IN(k))
#define OUT      e->names[n->first].plain
#define OUT1     e->names[n->first].first
#define TYPE(k)  qn_graph_type(e->graph, n->inputs[k])
#define COUNT(l) ((int)(sizeof(l) / sizeof((l)[0])))

static const char *unary(qn_onnx_exporter *e, const char *op, const char *x)
{
    return qn_onnx_export_emit(e, op, &x, 1, NULL, 0);
}

static const char *binary(qn_onnx_exporter *e, const char *op, const char *a, const char *b)
{
    const char *inputs[] = {a, b};
    return qn_onnx_export_emit(e, op, inputs, 2, NULL, 0);
}

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

static const char *const math_attrs[] = {"alpha", "beta",        "gamma", "lambd",
                                         "bias",  "approximate", "fmod",  NULL};

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
    const char *y = binary(e, "Mul", x, unary(e, "Sigmoid", x));
    *(first ? &OUT1 : &OUT) = y;
}

static void export_square(qn_onnx_exporter *e, qn_onnx_view n)
{
    OUT = binary(e, "Mul", PLAIN(0), PLAIN(0));
}

static void export_clip(qn_onnx_exporter *e, qn_onnx_view n)
{
    const char *inputs[] = {PLAIN(0), qn_onnx_export_number(e, qn_onnx_export_f(n, "min", 0)),
                            qn_onnx_export_number(e, qn_onnx_export_f(n, "max", 0))};
    OUT = qn_onnx_export_emit(e, "Clip", inputs, 3, NULL, 0);
}

/* Outside training a dropped-out value is itself. */
static void export_alias(qn_onnx_exporter *e, qn_onnx_view n)
{
    e->names[n->first] = e->names[n->inputs[0]];
    if (!OUT && !OUT1)
        OUT = PLAIN(0);
}

/* --- moves --- */

static void export_reshape(qn_onnx_exporter *e, qn_onnx_view n)
{
    const qn_attr *shape = qn_onnx_export_attr(n, "shape");
    OUT = binary(e, "Reshape", PLAIN(0), qn_onnx_export_ints(e, shape->ints, shape->count));
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
    OUT = binary(e, "Expand", PLAIN(0), all);
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

static void export_by_axis(qn_onnx_exporter *e, qn_onnx_view n)
{
    static const char *const names[] = {"axis", "keepdims", "select_last_index", "perm", NULL};
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
    OUT = binary(e, "MatMul", a, b);
}

/* What a row does behind itself. */
static const char *activate(qn_onnx_exporter *e, qn_onnx_view n, const char *y)
{
    static const char *const words[] = {"relu", "Relu", "sigmoid", "Sigmoid", "tanh", "Tanh"};
    const char *word = qn_onnx_export_s(n, "activation", "none");
    for (int i = 0; i < COUNT(words); i += 2)
        if (strcmp(word, words[i]) == 0)
            return unary(e, words[i + 1], y);
    if (strcmp(word, "silu") == 0)
        return binary(e, "Mul", y, unary(e, "Sigmoid", y));
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
    const char *y = binary(e, "MatMul", inputs[0], inputs[1]);
    OUT = activate(e, n, inputs[2][0] ? binary(e, "Add", y, inputs[2]) : y);
}

/* --- images: channels first there --- */

static const char *const window_attrs[] = {
    "kernel_shape",      "strides", "pads",           "dilations",    "auto_pad", "group",
    "count_include_pad", "p",       "output_padding", "output_shape", NULL};

/* pads beside an auto_pad that chooses them would contradict it. */
static int read_window(qn_onnx_view n, qn_onnx_attr *dst)
{
    int count = same_attrs(n, window_attrs, dst);
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
        y = binary(e, "Add", y, qn_onnx_export_first(e, IN(3)));
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

/* --- sequences --- */

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
               *inputs[] = {binary(e, "Mul", x, x), qn_onnx_export_ints(e, axes, count)};
    const char *mean = qn_onnx_export_emit(e, "ReduceMean", inputs, 2, NULL, 0);
    const char *safe =
        binary(e, "Add", mean, qn_onnx_export_number(e, qn_onnx_export_f(n, "epsilon", 1e-5)));
    OUT = binary(e, "Mul", binary(e, "Div", x, unary(e, "Sqrt", safe)), PLAIN(1));
}

/* Time goes first there: other programs do not take `layout` 1. */
static void export_rnn(qn_onnx_exporter *e, qn_onnx_view n)
{
    static const int64_t swap[] = {1, 0, 2}, back[] = {2, 0, 1, 3};
    bool lstm = n->op[0] == 'L', rows = qn_onnx_export_i(n, "layout", 0) != 0;
    const char *inputs[7], *outputs[3];
    int results = lstm ? 3 : 2, most = lstm ? 7 : 6, count = 0;
    qn_onnx_attr attrs[4];
    if (n->inputs_count > most || qn_onnx_export_s(n, "activations", "")[0] ||
        qn_onnx_export_f(n, "clip", 0) > 0 ||
        strcmp(qn_onnx_export_s(n, "activation", "tanh"), "tanh") != 0)
        qn_onnx_export_fail(e, QN_ERR_UNSUPPORTED, "%s with other activations, clip or peepholes",
                            n->op);
    for (int i = 0; i < most; i++) {
        inputs[i] = PLAIN(i);
        if (rows && inputs[i][0] && (i == 0 || i > 4))
            inputs[i] = qn_onnx_export_turn(e, inputs[i], swap, 3);
        if (i == 4 && inputs[i][0])
            inputs[i] =
                qn_onnx_export_emit(e, "Cast", &inputs[i], 1, &QN_ONNX_I("to", QN_ONNX_INT32), 1);
    }
    attrs[count++] = QN_ONNX_S("direction", qn_onnx_export_s(n, "direction", "forward"));
    attrs[count++] = QN_ONNX_I("hidden_size", TYPE(2)->shape.dims[2]);
    if (n->op[0] == 'G')
        attrs[count++] =
            QN_ONNX_I("linear_before_reset", qn_onnx_export_i(n, "linear_before_reset", 0));
    qn_onnx_export_many(e, n->op, inputs, most, attrs, count, outputs, results);
    for (int i = 0; i < results; i++)
        e->names[n->first + i].plain =
            !rows ? outputs[i] : qn_onnx_export_turn(e, outputs[i], i ? swap : back, i ? 3 : 4);
}

/* [B, T, H, D] or [B, T, H * D] as [B, H, T, D]. */
static const char *split_heads(qn_onnx_exporter *e, qn_value value, int64_t heads, bool keys)
{
    static const int64_t queries_perm[] = {0, 2, 1, 3}, keys_perm[] = {0, 2, 3, 1};
    const qn_shape *s = &qn_graph_type(e->graph, value)->shape;
    const char *x = qn_onnx_export_plain(e, value);
    int64_t shape[] = {0, 0, heads, s->rank == 3 ? s->dims[2] / heads : 0};
    if (s->rank == 3)
        x = binary(e, "Reshape", x, qn_onnx_export_ints(e, shape, 4));
    return qn_onnx_export_turn(e, x, keys ? keys_perm : queries_perm, 4);
}

/* Ones at and below the diagonal of the scores' last two dimensions, as truth values. */
static const char *below_diagonal(qn_onnx_exporter *e, const char *scores)
{
    const char *sizes = qn_onnx_export_emit(e, "Shape", &scores, 1, &QN_ONNX_I("start", 2), 1),
               *inputs[2];
    inputs[0] = qn_onnx_export_number(e, 1);
    inputs[1] = sizes;
    const char *ones = qn_onnx_export_emit(e, "Expand", inputs, 2, NULL, 0);
    const char *low = qn_onnx_export_emit(e, "Trilu", &ones, 1, &QN_ONNX_I("upper", 0), 1);
    return qn_onnx_export_emit(e, "Cast", &low, 1, &QN_ONNX_I("to", QN_ONNX_BOOL), 1);
}

static const char *mask_with(qn_onnx_exporter *e, const char *allowed, const char *scores)
{
    const char *inputs[] = {allowed, scores, qn_onnx_export_number(e, -3e38)};
    return qn_onnx_export_emit(e, "Where", inputs, 3, NULL, 0);
}

/* Keys before the length of their row: [S] < [B, 1, 1, 1]. */
static const char *within_lengths(qn_onnx_exporter *e, qn_value lengths, int64_t keys)
{
    int64_t *places = keys > 0 ? QN_NEW(&e->arena, int64_t, keys) : NULL, column[] = {-1, 1, 1, 1};
    if (!places) {
        qn_onnx_export_fail(e, QN_ERR_UNSUPPORTED,
                            "attention with lengths over an open number of keys");
        return "";
    }
    for (int64_t i = 0; i < keys; i++)
        places[i] = i;
    const char *rows =
        binary(e, "Reshape", qn_onnx_export_plain(e, lengths), qn_onnx_export_ints(e, column, 4));
    return binary(e, "Less", qn_onnx_export_ints(e, places, (int)keys), rows);
}

static void export_attention(qn_onnx_exporter *e, qn_onnx_view n)
{
    static const int64_t perm[] = {0, 2, 1, 3};
    const qn_shape *q = &TYPE(0)->shape, *k = &TYPE(1)->shape;
    int64_t heads = q->rank == 4 ? q->dims[2] : qn_onnx_export_i(n, "q_num_heads", 1);
    int64_t groups = k->rank == 4 ? k->dims[2] : qn_onnx_export_i(n, "kv_num_heads", 0);
    groups = groups ? groups : heads;
    int64_t dim = q->rank == 4 ? q->dims[3] : q->dims[2] / heads;
    double scale = qn_onnx_export_f(n, "scale", 0), cap = qn_onnx_export_f(n, "softcap", 0);
    if (groups != heads || qn_onnx_export_i(n, "window", 0) || qn_onnx_export_i(n, "alibi", 0) ||
        IN(5) != QN_NONE)
        qn_onnx_export_fail(e, QN_ERR_UNSUPPORTED,
                            "attention with shared keys, a window, biases by distance or a past");
    const char *factor = qn_onnx_export_number(e, scale > 0 ? scale : 1 / sqrt((double)dim));
    const char *query = binary(e, "Mul", split_heads(e, IN(0), heads, false), factor);
    const char *scores = binary(e, "MatMul", query, split_heads(e, IN(1), heads, true));
    if (cap > 0) {
        const char *limit = qn_onnx_export_number(e, cap);
        scores = binary(e, "Mul", unary(e, "Tanh", binary(e, "Div", scores, limit)), limit);
    }
    if (IN(3) != QN_NONE)
        scores = TYPE(3)->dtype == QN_DTYPE_BOOL ? mask_with(e, PLAIN(3), scores)
                                                 : binary(e, "Add", scores, PLAIN(3));
    if (qn_onnx_export_i(n, "is_causal", 0))
        scores = mask_with(e, below_diagonal(e, scores), scores);
    if (IN(4) != QN_NONE)
        scores = mask_with(e, within_lengths(e, IN(4), k->dims[1]), scores);
    const char *weights = qn_onnx_export_emit(e, "Softmax", &scores, 1, &QN_ONNX_I("axis", -1), 1);
    const char *y = qn_onnx_export_turn(
        e, binary(e, "MatMul", weights, split_heads(e, IN(2), heads, false)), perm, 4);
    int64_t joined[] = {0, 0, -1};
    OUT = qn_graph_type(e->graph, n->first)->shape.rank == 3
              ? binary(e, "Reshape", y, qn_onnx_export_ints(e, joined, 3))
              : y;
}

/* Rows that read shapes alone, of known sizes: computed now. */
static void export_computed(qn_onnx_exporter *e, qn_onnx_view n)
{
    qn_graph *alone = qn_graph_create();
    qn_tensor result;
    qn_value inputs[QN_OP_INPUTS_MAX], first = QN_NONE;
    bool known = alone && n->inputs_count <= QN_OP_INPUTS_MAX;
    for (int i = 0; known && i < n->inputs_count; i++) {
        qn_tensor zero = qn_tensor_of(NULL, TYPE(i)->dtype, TYPE(i)->shape);
        known = qn_shape_count(&zero.shape) >= 0;
        zero.data = known ? QN_NEW(&e->arena, char, (int64_t)qn_tensor_bytes(&zero)) : NULL;
        inputs[i] = zero.data ? qn_graph_const(alone, &zero) : QN_NONE;
    }
    if (known)
        first = qn_graph_node(alone, n->op, inputs, n->inputs_count, n->attrs, n->attrs_count);
    if (first != QN_NONE)
        first = qn_graph_fold(alone, first, NULL, INT64_MAX / 2);
    if (first != QN_NONE && qn_graph_const_read(alone, first, &result))
        OUT = qn_onnx_export_tensor(e, &result);
    else
        qn_onnx_export_fail(e, QN_ERR_UNSUPPORTED, "%s over an open length", n->op);
    qn_graph_destroy(alone);
}

/* --- the table --- */

static const struct {
    const char *op;
    void (*write)(qn_onnx_exporter *e, qn_onnx_view node);
} rows[] = {
    {"Square", export_square},
    {"Silu", export_silu},
    {"Clip", export_clip},
    {"Dropout", export_alias},
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
    {"AveragePool", export_pool},
    {"LpPool", export_pool},
    {"GlobalAveragePool", export_pool},
    {"GlobalMaxPool", export_pool},
    {"BatchNormalization", export_norm},
    {"GroupNormalization", export_norm},
    {"InstanceNormalization", export_norm},
    {"LayerNormalization", export_layer_norm},
    {"RMSNormalization", export_rms_norm},
    {"LSTM", export_rnn},
    {"GRU", export_rnn},
    {"RNN", export_rnn},
    {"Attention", export_attention},
    {"SinusoidalPositions", export_computed},
    {"Positions", export_computed},
    {"ZerosLike", export_computed},
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
                                   "Mish",        "Shrink",    "Identity"};

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
