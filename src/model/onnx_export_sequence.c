/*
 * How rows of sequences are written in ONNX: recurrence, attention and positions. Attention is written out as products, a
 * mask and a softmax, so that every program reads it: the operator of opset 23 has no windows and no biases by distance.
 */
#include <math.h>
#include <string.h>

#include "graph/op/attention.h"
#include "graph/op/position.h"
#include "graph/op/rnn_act.h"
#include "model/onnx_export_priv.h"

/* ONNX's lists, which live until the node is emitted. */
typedef struct {
    const char *names[2 * QN_RNN_ACT_ROLES];
    float alphas[2 * QN_RNN_ACT_ROLES], betas[2 * QN_RNN_ACT_ROLES];
} activation_lists;

/* Activations that are not the usual ones; alpha and beta of those that have them, in order. Returns how many attributes. */
static int write_activations(qn_onnx_exporter *e, qn_onnx_view n, activation_lists *lists,
                             qn_onnx_attr *attrs)
{
    const char *usual = n->op[0] == 'L'   ? "sigmoid tanh tanh"
                        : n->op[0] == 'G' ? "sigmoid tanh"
                                          : qn_onnx_export_s(n, "activation", "tanh");
    const char *words = qn_onnx_export_s(n, "activations", "");
    bool both = strcmp(qn_onnx_export_s(n, "direction", "forward"), "bidirectional") == 0;
    int roles = n->op[0] == 'L' ? 3 : n->op[0] == 'G' ? 2 : 1, names = 0, alphas = 0, betas = 0;
    qn_rnn_act acts[2][QN_RNN_ACT_ROLES];
    qn_error err;
    if (!words[0] && strcmp(usual, "relu") != 0)
        return 0;
    if (qn_rnn_acts_read(words, usual, both ? 2 : 1, acts, &err) != QN_OK) {
        qn_onnx_export_fail(e, err.code, "%s", err.text);
        return 0;
    }
    for (int i = 0; i < (both ? 2 : 1) * roles; i++) {
        const qn_rnn_act *act = &acts[i / roles][i % roles];
        const qn_onnx_activation *name = &qn_onnx_activations[act->kind];
        lists->names[names++] = name->onnx;
        if (name->alpha)
            lists->alphas[alphas++] = (float)act->alpha;
        if (name->beta)
            lists->betas[betas++] = (float)act->beta;
    }
    attrs[0] = (qn_onnx_attr){.name = "activations",
                              .kind = QN_ONNX_ATTR_STRINGS,
                              .strings = lists->names,
                              .count = names};
    attrs[1] = (qn_onnx_attr){.name = "activation_alpha",
                              .kind = QN_ONNX_ATTR_FLOATS,
                              .floats = lists->alphas,
                              .count = alphas};
    attrs[2] = (qn_onnx_attr){.name = "activation_beta",
                              .kind = QN_ONNX_ATTR_FLOATS,
                              .floats = lists->betas,
                              .count = betas};
    return alphas == 0 ? 1 : betas == 0 ? 2 : 3;
}

/* Time goes first there: other programs do not take `layout` 1. */
void qn_onnx_export_rnn(qn_onnx_exporter *e, qn_onnx_view n)
{
    static const int64_t swap[] = {1, 0, 2}, back[] = {2, 0, 1, 3};
    bool lstm = n->op[0] == 'L', rows = qn_onnx_export_i(n, "layout", 0) != 0;
    const char *inputs[7], *outputs[3];
    int results = lstm ? 3 : 2, most = lstm ? 7 : 6, count = 0;
    qn_onnx_attr attrs[8];
    activation_lists lists;
    if (n->inputs_count > most)
        qn_onnx_export_fail(e, QN_ERR_UNSUPPORTED, "%s with peepholes", n->op);
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
    if (qn_onnx_export_f(n, "clip", 0) > 0)
        attrs[count++] = QN_ONNX_F("clip", qn_onnx_export_f(n, "clip", 0));
    count += write_activations(e, n, &lists, attrs + count);
    qn_onnx_export_many(e, n->op, inputs, most, attrs, count, outputs, results);
    for (int i = 0; i < results; i++)
        e->names[n->first + i].plain =
            !rows ? outputs[i] : qn_onnx_export_turn(e, outputs[i], i ? swap : back, i ? 3 : 4);
}

/* --- attention --- */

/* One of the sizes of `x`, as a list of one number. */
static const char *size_of(qn_onnx_exporter *e, const char *x, int64_t axis)
{
    const qn_onnx_attr attrs[] = {QN_ONNX_I("start", axis), QN_ONNX_I("end", axis + 1)};
    return qn_onnx_export_emit(e, "Shape", &x, 1, attrs, 2);
}

/* 0, 1, 2, ... as many as axis `axis` of `x` has, i64. */
static const char *count_up(qn_onnx_exporter *e, const char *x, int64_t axis)
{
    static const int64_t zero = 0, one = 1;
    const qn_tensor none = qn_tensor_of((void *)(uintptr_t)&zero, QN_DTYPE_I64, QN_SCALAR);
    const qn_tensor step = qn_tensor_of((void *)(uintptr_t)&one, QN_DTYPE_I64, QN_SCALAR);
    const char *inputs[] = {
        qn_onnx_export_tensor(e, &none),
        qn_onnx_export_2(e, "Reshape", size_of(e, x, axis), qn_onnx_export_ints(e, &zero, 0)),
        qn_onnx_export_tensor(e, &step)};
    return qn_onnx_export_emit(e, "Range", inputs, 3, NULL, 0);
}

static const char *unsqueeze(qn_onnx_exporter *e, const char *x, int64_t axis)
{
    return qn_onnx_export_2(e, "Unsqueeze", x, qn_onnx_export_ints(e, &axis, 1));
}

static const char *to_floats(qn_onnx_exporter *e, const char *x)
{
    return qn_onnx_export_emit(e, "Cast", &x, 1, &QN_ONNX_I("to", QN_ONNX_FLOAT), 1);
}

/* Key j minus query i, of scores [B, H, T, S]: i64 [T, S]. */
static const char *distances(qn_onnx_exporter *e, const char *scores)
{
    return qn_onnx_export_2(e, "Sub", count_up(e, scores, 3),
                            unsqueeze(e, count_up(e, scores, 2), 1));
}

/* [B, T, N, D] or [B, T, N * D] as [B, heads, T, D], or with `keys` as [B, heads, D, T]; a head that serves several stands there as
 * often. */
static const char *split_heads(qn_onnx_exporter *e, qn_value value, int64_t own, int64_t heads,
                               bool keys)
{
    static const int64_t queries_perm[] = {0, 2, 1, 3}, keys_perm[] = {0, 2, 3, 1};
    const qn_shape *s = &qn_graph_type(e->graph, value)->shape;
    const char *x = qn_onnx_export_plain(e, value);
    int64_t dim = s->rank == 3 ? s->dims[2] / own : s->dims[3];
    int64_t shape[] = {0, 0, own, dim}, spread[] = {1, 1, 1, heads / own, 1},
            joined[] = {0, 0, heads, dim};
    if (s->rank == 3)
        x = qn_onnx_export_2(e, "Reshape", x, qn_onnx_export_ints(e, shape, 4));
    if (own != heads) {
        x = qn_onnx_export_2(e, "Expand", unsqueeze(e, x, 3), qn_onnx_export_ints(e, spread, 5));
        x = qn_onnx_export_2(e, "Reshape", x, qn_onnx_export_ints(e, joined, 4));
    }
    return qn_onnx_export_turn(e, x, keys ? keys_perm : queries_perm, 4);
}

static const char *mask_with(qn_onnx_exporter *e, const char *allowed, const char *scores)
{
    const char *inputs[] = {allowed, scores, qn_onnx_export_number(e, -3e38)};
    return qn_onnx_export_emit(e, "Where", inputs, 3, NULL, 0);
}

/* A query that sees nothing gives 0: equal scores would give the mean. */
static const char *without_hidden(qn_onnx_exporter *e, const char *scores, const char *weights)
{
    const char *inputs[] = {qn_onnx_export_2(e, "Greater", scores, qn_onnx_export_number(e, -1e38)),
                            weights, qn_onnx_export_number(e, 0)};
    return qn_onnx_export_emit(e, "Where", inputs, 3, NULL, 0);
}

/* Keys before the length of their row: [S] < [B, 1, 1, 1]. */
static const char *within_lengths(qn_onnx_exporter *e, qn_value lengths, const char *scores)
{
    static const int64_t column[] = {-1, 1, 1, 1};
    const char *rows = qn_onnx_export_2(e, "Reshape", qn_onnx_export_plain(e, lengths),
                                        qn_onnx_export_ints(e, column, 4));
    return qn_onnx_export_2(e, "Less", count_up(e, scores, 3), rows);
}

/* Scores less slope(h) |j - i|. */
static const char *with_alibi(qn_onnx_exporter *e, const char *scores, const char *away,
                              int64_t heads)
{
    float *slopes = QN_NEW(&e->arena, float, heads);
    for (int64_t h = 0; slopes && h < heads; h++)
        slopes[h] = (float)qn_op_alibi_slope(h, heads);
    if (!slopes) {
        qn_onnx_export_fail(e, QN_ERR_MEMORY, "out of memory");
        return "";
    }
    const qn_tensor each = qn_tensor_of(slopes, QN_DTYPE_F32, QN_SHAPE(heads, 1, 1));
    const char *far = to_floats(e, qn_onnx_export_1(e, "Abs", away));
    return qn_onnx_export_2(e, "Sub", scores,
                            qn_onnx_export_2(e, "Mul", far, qn_onnx_export_tensor(e, &each)));
}

static const char *whole(qn_onnx_exporter *e, int64_t number)
{
    const qn_tensor one = qn_tensor_of(&number, QN_DTYPE_I64, QN_SCALAR);
    return qn_onnx_export_tensor(e, &one);
}

/* Soft-cap, biases and everything that hides keys, in the order of the row. */
static const char *shape_scores(qn_onnx_exporter *e, qn_onnx_view n, const char *scores,
                                int64_t heads)
{
    int64_t window = qn_onnx_export_i(n, "window", 0), causal = qn_onnx_export_i(n, "is_causal", 0),
            alibi = qn_onnx_export_i(n, "alibi", 0);
    double cap = qn_onnx_export_f(n, "softcap", 0);
    const char *away = window || causal || alibi ? distances(e, scores) : "";
    if (cap > 0) {
        const char *limit = qn_onnx_export_number(e, cap);
        const char *turn = qn_onnx_export_1(e, "Tanh", qn_onnx_export_2(e, "Div", scores, limit));
        scores = qn_onnx_export_2(e, "Mul", turn, limit);
    }
    if (alibi)
        scores = with_alibi(e, scores, away, heads);
    if (IN(3) != QN_NONE)
        scores = TYPE(3)->dtype == QN_DTYPE_BOOL ? mask_with(e, PLAIN(3), scores)
                                                 : qn_onnx_export_2(e, "Add", scores, PLAIN(3));
    if (causal)
        scores = mask_with(e, qn_onnx_export_2(e, "LessOrEqual", away, whole(e, 0)), scores);
    if (window)
        scores = mask_with(
            e, qn_onnx_export_2(e, "Less", qn_onnx_export_1(e, "Abs", away), whole(e, window)),
            scores);
    if (IN(4) != QN_NONE)
        scores = mask_with(e, within_lengths(e, IN(4), scores), scores);
    return scores;
}

void qn_onnx_export_attention(qn_onnx_exporter *e, qn_onnx_view n)
{
    static const int64_t perm[] = {0, 2, 1, 3}, joined[] = {0, 0, -1};
    const qn_shape *q = &TYPE(0)->shape, *k = &TYPE(1)->shape;
    int64_t heads = q->rank == 4 ? q->dims[2] : qn_onnx_export_i(n, "q_num_heads", 1);
    int64_t own = k->rank == 4 ? k->dims[2] : qn_onnx_export_i(n, "kv_num_heads", 0);
    own = own ? own : heads;
    int64_t dim = q->rank == 4 ? q->dims[3] : q->dims[2] / heads;
    double scale = qn_onnx_export_f(n, "scale", 0);
    if (IN(5) != QN_NONE) {
        qn_onnx_export_fail(e, QN_ERR_UNSUPPORTED, "attention that goes on from a past");
        return;
    }
    const char *factor = qn_onnx_export_number(e, scale > 0 ? scale : 1 / sqrt((double)dim));
    const char *query =
        qn_onnx_export_2(e, "Mul", split_heads(e, IN(0), heads, heads, false), factor);
    const char *scores =
        qn_onnx_export_2(e, "MatMul", query, split_heads(e, IN(1), own, heads, true));
    scores = shape_scores(e, n, scores, heads);
    const char *weights = qn_onnx_export_emit(e, "Softmax", &scores, 1, &QN_ONNX_I("axis", -1), 1);
    if (IN(4) != QN_NONE) /* a row of padding may leave a query nothing */
        weights = without_hidden(e, scores, weights);
    const char *y =
        qn_onnx_export_2(e, "MatMul", weights, split_heads(e, IN(2), own, heads, false));
    y = qn_onnx_export_turn(e, y, perm, 4);
    OUT = qn_graph_type(e->graph, n->first)->shape.rank == 3
              ? qn_onnx_export_2(e, "Reshape", y, qn_onnx_export_ints(e, joined, 3))
              : y;
}

/* --- positions --- */

/* Angles of places [T] at `half` speeds: f32 [T, half]. Exact where the length is known; in f32 where it is open. */
static const char *angles(qn_onnx_exporter *e, const char *x, int64_t steps, int64_t half,
                          double base)
{
    int64_t rows = steps > 0 ? steps : 1;
    float *table = QN_NEW(&e->arena, float, rows *half);
    if (!table) {
        qn_onnx_export_fail(e, QN_ERR_MEMORY, "out of memory for %lld angles",
                            (long long)(rows * half));
        return "";
    }
    for (int64_t i = 0; i < rows * half; i++)
        table[i] = (float)qn_op_angle(steps > 0 ? i / half : 1, i % half, half, base);
    const qn_tensor tensor = qn_tensor_of(table, QN_DTYPE_F32, QN_SHAPE(rows, half));
    const char *speeds = qn_onnx_export_tensor(e, &tensor);
    if (steps > 0)
        return speeds;
    return qn_onnx_export_2(e, "Mul", unsqueeze(e, to_floats(e, count_up(e, x, 1)), 1), speeds);
}

/* Elements start, start + step, ... below `end` of the last dimension. */
static const char *part(qn_onnx_exporter *e, const char *x, int64_t start, int64_t end,
                        int64_t step)
{
    static const int64_t last = -1;
    const char *inputs[] = {x, qn_onnx_export_ints(e, &start, 1), qn_onnx_export_ints(e, &end, 1),
                            qn_onnx_export_ints(e, &last, 1), qn_onnx_export_ints(e, &step, 1)};
    return qn_onnx_export_emit(e, "Slice", inputs, 5, NULL, 0);
}

static const char *join(qn_onnx_exporter *e, const char *const *parts, int count)
{
    return qn_onnx_export_emit(e, "Concat", parts, count, &QN_ONNX_I("axis", -1), 1);
}

/* a cos - sign b sin, for both halves of the pairs. */
static const char *turned(qn_onnx_exporter *e, const char *a, const char *b, const char *cosine,
                          const char *sine, const char *op)
{
    return qn_onnx_export_2(e, op, qn_onnx_export_2(e, "Mul", a, cosine),
                            qn_onnx_export_2(e, "Mul", b, sine));
}

void qn_onnx_export_rotary(qn_onnx_exporter *e, qn_onnx_view n)
{
    const qn_shape *s = &TYPE(0)->shape;
    int64_t heads = s->rank == 4 ? s->dims[2] : qn_onnx_export_i(n, "num_heads", 1);
    int64_t dim = s->rank == 4 ? s->dims[3] : s->dims[2] / heads, all[] = {0, 0, heads, dim};
    int64_t wide = qn_onnx_export_i(n, "rotary_dim", 0), whole_shape[] = {0, 0, heads * dim};
    wide = wide ? wide : dim;
    int64_t half = wide / 2, pairs[] = {0, 0, heads, wide};
    bool mixed = qn_onnx_export_i(n, "interleaved", 0) != 0,
         back = qn_onnx_export_i(n, "inverse", 0) != 0;
    const char *x = PLAIN(0);
    if (IN(1) != QN_NONE)
        qn_onnx_export_fail(e, QN_ERR_UNSUPPORTED, "rotary positions that go on from a past");
    if (s->rank == 3)
        x = qn_onnx_export_2(e, "Reshape", x, qn_onnx_export_ints(e, all, 4));
    const char *turn =
        unsqueeze(e, angles(e, x, s->dims[1], half, qn_onnx_export_f(n, "base", 10000)), 1);
    const char *cosine = qn_onnx_export_1(e, "Cos", turn), *sine = qn_onnx_export_1(e, "Sin", turn);
    const char *a = mixed ? part(e, x, 0, wide, 2) : part(e, x, 0, half, 1);
    const char *b = mixed ? part(e, x, 1, wide, 2) : part(e, x, half, wide, 1);
    const char *parts[] = {turned(e, a, b, cosine, sine, back ? "Add" : "Sub"),
                           turned(e, b, a, cosine, sine, back ? "Sub" : "Add"), ""};
    if (mixed) {
        parts[0] = unsqueeze(e, parts[0], -1);
        parts[1] = unsqueeze(e, parts[1], -1);
        parts[0] =
            qn_onnx_export_2(e, "Reshape", join(e, parts, 2), qn_onnx_export_ints(e, pairs, 4));
    } else {
        parts[0] = join(e, parts, 2);
    }
    parts[1] = wide < dim ? part(e, x, wide, dim, 1) : "";
    const char *y = wide < dim ? join(e, parts, 2) : parts[0];
    OUT = s->rank == 3 ? qn_onnx_export_2(e, "Reshape", y, qn_onnx_export_ints(e, whole_shape, 3))
                       : y;
}

/* sin and cos in turn: angles of (D + 1) / 2 speeds, both put side by side and cut to D. */
void qn_onnx_export_sinusoid(qn_onnx_exporter *e, qn_onnx_view n)
{
    const qn_shape *s = &TYPE(0)->shape;
    int64_t steps = s->dims[s->rank - 2], dim = s->dims[s->rank - 1], half = (dim + 1) / 2;
    int64_t flat[] = {0, 2 * half};
    if (IN(1) != QN_NONE || s->rank != 3)
        qn_onnx_export_fail(e, QN_ERR_UNSUPPORTED, "positions that go on from a past");
    const char *turn = angles(e, PLAIN(0), steps, half, qn_onnx_export_f(n, "base", 10000));
    const char *parts[] = {unsqueeze(e, qn_onnx_export_1(e, "Sin", turn), -1),
                           unsqueeze(e, qn_onnx_export_1(e, "Cos", turn), -1)};
    const char *both =
        qn_onnx_export_2(e, "Reshape", join(e, parts, 2), qn_onnx_export_ints(e, flat, 2));
    OUT = 2 * half == dim ? both : part(e, both, 0, dim, 1);
}

void qn_onnx_export_positions(qn_onnx_exporter *e, qn_onnx_view n)
{
    if (IN(1) != QN_NONE)
        qn_onnx_export_fail(e, QN_ERR_UNSUPPORTED, "positions that go on from a past");
    OUT = count_up(e, PLAIN(0), 1);
}

/* Zeros of another value's shape, which may be open. */
void qn_onnx_export_zeros(qn_onnx_exporter *e, qn_onnx_view n)
{
    const qn_type *type = qn_graph_type(e->graph, n->first);
    double zero[2] = {0};
    const qn_tensor one = qn_tensor_of(zero, type->dtype, QN_SCALAR);
    OUT = qn_onnx_export_2(e, "Expand", qn_onnx_export_tensor(e, &one),
                           qn_onnx_export_1(e, "Shape", PLAIN(0)));
}
