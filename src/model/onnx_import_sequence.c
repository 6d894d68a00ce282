/*
 * ONNX operators over sequences: recurrent networks, attention, rotary positions, running sums.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "model/onnx_activation.h"
#include "model/onnx_import_priv.h"

/* --- recurrent networks --- */

const qn_onnx_activation qn_onnx_activations[QN_RNN_ACTS] = {
    [QN_RNN_ACT_SIGMOID] = {"Sigmoid", "sigmoid", false, false},
    [QN_RNN_ACT_TANH] = {"Tanh", "tanh", false, false},
    [QN_RNN_ACT_RELU] = {"Relu", "relu", false, false},
    [QN_RNN_ACT_AFFINE] = {"Affine", "affine", true, true},
    [QN_RNN_ACT_LEAKY_RELU] = {"LeakyRelu", "leaky_relu", true, false},
    [QN_RNN_ACT_THRESHOLDED_RELU] = {"ThresholdedRelu", "thresholded_relu", true, false},
    [QN_RNN_ACT_SCALED_TANH] = {"ScaledTanh", "scaled_tanh", true, true},
    [QN_RNN_ACT_HARD_SIGMOID] = {"HardSigmoid", "hard_sigmoid", true, true},
    [QN_RNN_ACT_ELU] = {"Elu", "elu", true, false},
    [QN_RNN_ACT_SOFTSIGN] = {"Softsign", "softsign", false, false},
    [QN_RNN_ACT_SOFTPLUS] = {"Softplus", "softplus", false, false},
};
enum { ACTIVATIONS_SIZE = 512 };

/* The next element of a list, ":0.5"; nothing when the list has ended. */
static void put_next(char *dst, size_t *used, const qn_onnx_attr *list, int64_t *next)
{
    if (list && *next < list->count && *used + 40 < ACTIVATIONS_SIZE)
        *used += (size_t)snprintf(dst + *used, ACTIVATIONS_SIZE - *used, ":%.9g",
                                  (double)list->floats[(*next)++]);
}

/* "sigmoid leaky_relu:0.1 tanh": the attributes activations, activation_alpha and activation_beta as one text. */
static void read_activations(qn_onnx_call *call, char dst[ACTIVATIONS_SIZE])
{
    const qn_onnx_attr *names = qn_onnx_attr_find(call, "activations");
    const qn_onnx_attr *alphas = qn_onnx_attr_find(call, "activation_alpha");
    const qn_onnx_attr *betas = qn_onnx_attr_find(call, "activation_beta");
    int64_t alpha = 0, beta = 0;
    size_t used = 0;
    dst[0] = '\0';
    for (int64_t i = 0; names && i < names->count && i < 6; i++) {
        size_t k = 0;
        while (k < QN_RNN_ACTS && strcmp(qn_onnx_activations[k].onnx, names->strings[i]) != 0)
            k++;
        if (k == QN_RNN_ACTS) {
            qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "activation '%.40s'", names->strings[i]);
            return;
        }
        used += (size_t)snprintf(dst + used, ACTIVATIONS_SIZE - used, "%s%s", i ? " " : "",
                                 qn_onnx_activations[k].own);
        if (qn_onnx_activations[k].alpha)
            put_next(dst, &used, alphas, &alpha);
        if (qn_onnx_activations[k].beta)
            put_next(dst, &used, betas, &beta);
    }
}

/* Whether an input is there and not a constant of zeros. */
static bool matters(qn_onnx_call *call, int input)
{
    qn_tensor tensor;
    if (!qn_onnx_has(call, input))
        return false;
    if (!qn_graph_const_read(call->graph, qn_onnx_in(call, input), &tensor))
        return true;
    for (int64_t i = 0; i < qn_shape_count(&tensor.shape); i++)
        if (qn_tensor_f64_at(&tensor, i) != 0)
            return true;
    return false;
}

/* Are these the functions `usual`, of one direction or of both? */
static bool says_usual(const char *activations, const char *usual)
{
    size_t size = strlen(usual);
    if (strncmp(activations, usual, size) != 0)
        return false;
    const char *rest = activations + size;
    return !*rest || (*rest == ' ' && strcmp(rest + 1, usual) == 0);
}

static void map_rnn(qn_onnx_call *call)
{
    const char *op = call->node->op;
    static const char *const usual[] = {"sigmoid tanh tanh", "sigmoid tanh", "tanh"};
    char activations[ACTIVATIONS_SIZE] = "";
    bool lstm = op[0] == 'L', gru = op[0] == 'G';
    read_activations(call, activations);
    qn_attr attrs[6] = {QN_ATTR_S("direction", qn_onnx_attr_s(call, "direction", "forward")),
                        QN_ATTR_I("layout", qn_onnx_attr_i(call, "layout", 0)),
                        QN_ATTR_S("activations", activations),
                        QN_ATTR_F("clip", qn_onnx_attr_f(call, "clip", 0))};
    int attrs_count = 4;
    if (gru)
        attrs[attrs_count++] =
            QN_ATTR_I("linear_before_reset", qn_onnx_attr_i(call, "linear_before_reset", 0) != 0);
    if (lstm)
        attrs[attrs_count++] =
            QN_ATTR_I("input_forget", qn_onnx_attr_i(call, "input_forget", 0) != 0);
    if (says_usual(activations, usual[lstm ? 0 : gru ? 1 : 2]))
        activations[0] = '\0'; /* the row's own, which have kernels */
    if (!lstm && !gru && says_usual(activations, "relu"))
        attrs[2] = QN_ATTR_S("activation", "relu");
    qn_value inputs[8], outputs[4];
    int most = lstm ? 7 : 6, results = lstm ? 4 : 3;
    for (int i = 0; i < most; i++)
        inputs[i] = qn_onnx_has(call, i) ? qn_onnx_in(call, i) : QN_NONE;
    if (inputs[4] != QN_NONE)
        inputs[4] = qn_onnx_cast(call, inputs[4], QN_DTYPE_I64);
    if (lstm && matters(call, 7))
        inputs[most++] = qn_onnx_in(call, 7);
    qn_onnx_emit_many(call, op, inputs, most, attrs, attrs_count, outputs, results);
    for (int i = 0; i < results - 1; i++)
        if (qn_onnx_wants(call, i))
            qn_onnx_out(call, i, outputs[i]);
}

/* --- positions --- */

/* Pairs of a head's numbers are turned by angles whose cosines and sines come from tables, by position. */
static qn_value rotate(qn_onnx_call *call, qn_value x, qn_value cosines, qn_value sines,
                       int64_t dim, bool interleaved)
{
    qn_shape s = qn_onnx_type(call, x)->shape; /* [B, T, H, dim] */
    int64_t half = dim / 2;
    qn_value pair[2], turned[2];
    if (interleaved) {
        qn_value apart =
            qn_onnx_reshape(call, x, &QN_SHAPE(s.dims[0], s.dims[1], s.dims[2], half, 2));
        for (int i = 0; i < 2; i++)
            pair[i] = qn_onnx_reshape(call, qn_onnx_slice(call, apart, 4, i, i + 1),
                                      &QN_SHAPE(s.dims[0], s.dims[1], s.dims[2], half));
    } else
        for (int i = 0; i < 2; i++)
            pair[i] = qn_onnx_slice(call, x, 3, i * half, (i + 1) * half);
    turned[0] = qn_onnx_emit2(call, "Sub", qn_onnx_emit2(call, "Mul", pair[0], cosines),
                              qn_onnx_emit2(call, "Mul", pair[1], sines));
    turned[1] = qn_onnx_emit2(call, "Add", qn_onnx_emit2(call, "Mul", pair[1], cosines),
                              qn_onnx_emit2(call, "Mul", pair[0], sines));
    qn_attr axis = QN_ATTR_I("axis", interleaved ? 4 : 3);
    for (int i = 0; i < 2 && interleaved; i++)
        turned[i] =
            qn_onnx_reshape(call, turned[i], &QN_SHAPE(s.dims[0], s.dims[1], s.dims[2], half, 1));
    qn_value joined = qn_onnx_emit(call, "Concat", turned, 2, &axis, 1);
    return qn_onnx_reshape(call, joined, &s);
}

/* Rows of a table by position, [B, T, 1, dim / 2]; without positions the table is [B, T, ..] already. */
static qn_value angles(qn_onnx_call *call, int table, int64_t batch, int64_t time, int64_t half)
{
    qn_value rows = qn_onnx_in(call, table);
    if (qn_onnx_has(call, 3)) {
        qn_value places = qn_onnx_cast(call, qn_onnx_in(call, 3), QN_DTYPE_I64);
        rows = qn_onnx_emit2(call, "Gather", rows, places);
    }
    qn_shape shape = qn_onnx_type(call, rows)->shape;
    return qn_onnx_reshape(call, rows,
                           &QN_SHAPE(shape.rank == 3 ? shape.dims[0] : batch, time, 1, half));
}

static void map_rotary(qn_onnx_call *call)
{
    static const int64_t swap[] = {0, 2, 1, 3};
    qn_value x = qn_onnx_in(call, 0);
    qn_shape from = qn_onnx_type(call, x)->shape, s;
    int64_t heads = qn_onnx_attr_i(call, "num_heads", 0),
            dim = qn_onnx_attr_i(call, "rotary_embedding_dim", 0);
    bool interleaved = qn_onnx_attr_i(call, "interleaved", 0) != 0;
    if (from.rank != 4 && (from.rank != 3 || heads < 1 || from.dims[2] % heads)) {
        qn_onnx_fail(call, QN_ERR_DATA, "expected [B, H, T, D], or [B, T, H * D] with num_heads");
        return;
    }
    x = from.rank == 4
            ? qn_onnx_transpose(call, x, swap)
            : qn_onnx_reshape(call, x,
                              &QN_SHAPE(from.dims[0], from.dims[1], heads, from.dims[2] / heads));
    s = qn_onnx_type(call, x)->shape;
    int64_t size = call->status == QN_OK ? s.dims[3] : 2;
    dim = dim ? dim : size;
    if (dim > size || dim % 2)
        qn_onnx_fail(call, QN_ERR_DATA, "rotary_embedding_dim %lld of heads of size %lld",
                     (long long)dim, (long long)size);
    qn_value cosines = angles(call, 1, s.dims[0], s.dims[1], dim / 2);
    qn_value sines = angles(call, 2, s.dims[0], s.dims[1], dim / 2);
    qn_value parts[2] = {dim < size ? qn_onnx_slice(call, x, 3, 0, dim) : x, QN_NONE};
    parts[0] = rotate(call, parts[0], cosines, sines, dim, interleaved);
    if (dim < size) {
        qn_attr axis = QN_ATTR_I("axis", 3);
        parts[1] = qn_onnx_slice(call, x, 3, dim, size);
        parts[0] = qn_onnx_emit(call, "Concat", parts, 2, &axis, 1);
    }
    qn_onnx_out(call, 0,
                from.rank == 4 ? qn_onnx_transpose(call, parts[0], swap)
                               : qn_onnx_reshape(call, parts[0], &from));
}

/* --- attention --- */

typedef struct {
    qn_value q, k, v,
        bias; /* [B, H, T, D], [B, G, S, D], [B, G, S, E]; bias: added to scores, QN_NONE = none */
    int64_t heads, groups, queries, keys, past;
    double scale, softcap;
    int64_t mode;
    bool causal;
    qn_dtype dtype;
} attention;

static qn_value split_heads(qn_onnx_call *call, qn_value x, int64_t heads)
{
    static const int64_t swap[] = {0, 2, 1, 3};
    qn_shape s = qn_onnx_type(call, x)->shape;
    if (s.rank == 4 || call->status != QN_OK)
        return x;
    if (s.rank != 3 || heads < 1 || s.dims[2] % heads)
        return qn_onnx_fail(call, QN_ERR_DATA,
                            "expected [B, H, T, D], or [B, T, H * D] with the number of heads");
    x = qn_onnx_reshape(call, x, &QN_SHAPE(s.dims[0], s.dims[1], heads, s.dims[2] / heads));
    return qn_onnx_transpose(call, x, swap);
}

static qn_value join_past(qn_onnx_call *call, int past, qn_value now)
{
    qn_attr axis = QN_ATTR_I("axis", 2);
    qn_value both[] = {qn_onnx_has(call, past) ? qn_onnx_in(call, past) : QN_NONE, now};
    return both[0] == QN_NONE ? now : qn_onnx_emit(call, "Concat", both, 2, &axis, 1);
}

/* [B, G, S, D] with each head repeated for the heads of q that share it. */
static qn_value repeat_heads(qn_onnx_call *call, qn_value x, int64_t heads)
{
    qn_shape s = qn_onnx_type(call, x)->shape;
    if (call->status != QN_OK || s.dims[1] == heads)
        return x;
    if (s.dims[1] < 1 || heads % s.dims[1])
        return qn_onnx_fail(call, QN_ERR_DATA, "%lld heads of keys do not divide %lld",
                            (long long)s.dims[1], (long long)heads);
    int64_t wide[] = {s.dims[0], s.dims[1], heads / s.dims[1], s.dims[2], s.dims[3]};
    qn_attr attr = qn_onnx_list("shape", wide, 5);
    x = qn_onnx_reshape(call, x, &QN_SHAPE(s.dims[0], s.dims[1], 1, s.dims[2], s.dims[3]));
    x = qn_onnx_emit(call, "Expand", &x, 1, &attr, 1);
    return qn_onnx_reshape(call, x, &QN_SHAPE(s.dims[0], heads, s.dims[2], s.dims[3]));
}

/* 0 where allowed, minus infinity elsewhere. */
static qn_value bias_of(qn_onnx_call *call, qn_value allowed, qn_dtype dtype)
{
    qn_value inputs[] = {allowed, qn_onnx_scalar(call, dtype, 0),
                         qn_onnx_scalar(call, dtype, -INFINITY)};
    return qn_onnx_emit(call, "Where", inputs, 3, NULL, 0);
}

static qn_value plus(qn_onnx_call *call, qn_value a, qn_value b)
{
    return a == QN_NONE ? b : b == QN_NONE ? a : qn_onnx_emit2(call, "Add", a, b);
}

/* 0, 1, 2, ... along a dimension of `shape`. */
static qn_value counting(qn_onnx_call *call, int64_t count, qn_shape shape, int64_t from)
{
    if (count < 0)
        return qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "the number of keys must be known");
    int64_t *places = qn_onnx_numbers(call, count, sizeof(int64_t));
    if (!places)
        return QN_NONE;
    for (int64_t i = 0; i < count; i++)
        places[i] = i + from;
    qn_tensor tensor = qn_tensor_of(places, QN_DTYPE_I64, shape);
    return qn_onnx_constant(call, &tensor);
}

static qn_value read_mask(qn_onnx_call *call, const attention *a)
{
    qn_value mask = qn_onnx_in(call, 3);
    qn_type type = *qn_onnx_type(call, mask);
    if (call->status == QN_OK && type.shape.rank > 0 &&
        type.shape.dims[type.shape.rank - 1] < a->keys) {
        int64_t begins[QN_RANK_MAX] = {0}, ends[QN_RANK_MAX] = {0};
        bool truth = type.dtype == QN_DTYPE_BOOL;
        ends[type.shape.rank - 1] = a->keys - type.shape.dims[type.shape.rank - 1];
        qn_attr attrs[] = {qn_onnx_list("begins", begins, type.shape.rank),
                           qn_onnx_list("ends", ends, type.shape.rank),
                           QN_ATTR_F("value", truth ? 0 : -INFINITY)};
        mask = qn_onnx_emit(call, "Pad", &mask, 1, attrs, 3);
    }
    return type.dtype == QN_DTYPE_BOOL ? bias_of(call, mask, a->dtype)
                                       : qn_onnx_cast(call, mask, a->dtype);
}

/* Everything that is added to the scores: mask, causal frontier, window, lengths. */
static qn_value read_bias(qn_onnx_call *call, const attention *a)
{
    int64_t left = qn_onnx_attr_i(call, "left_window_size", -1),
            right = qn_onnx_attr_i(call, "right_window_size", -1);
    qn_value bias = qn_onnx_has(call, 3) ? read_mask(call, a) : QN_NONE, lengths = QN_NONE;
    qn_value key = counting(call, a->keys, QN_SHAPE(1, 1, 1, a->keys), 0);
    qn_value query = counting(call, a->queries, QN_SHAPE(1, 1, a->queries, 1), a->past);
    if (qn_onnx_has(call, 6)) {
        lengths = qn_onnx_cast(call, qn_onnx_in(call, 6), QN_DTYPE_I64);
        qn_shape s = qn_onnx_type(call, lengths)->shape;
        lengths = qn_onnx_reshape(call, lengths, &QN_SHAPE(s.rank ? s.dims[0] : 1, 1, 1, 1));
        qn_value start = qn_onnx_emit2(call, "Sub", lengths,
                                       qn_onnx_scalar(call, QN_DTYPE_I64, (double)a->queries));
        query = qn_onnx_emit2(call, "Add", query, start);
        bias = plus(call, bias, bias_of(call, qn_onnx_emit2(call, "Less", key, lengths), a->dtype));
    }
    qn_value behind =
        a->causal || left >= 0 || right >= 0 ? qn_onnx_emit2(call, "Sub", query, key) : QN_NONE;
    if (a->causal)
        bias = plus(call, bias,
                    bias_of(call,
                            qn_onnx_emit2(call, "GreaterOrEqual", behind,
                                          qn_onnx_scalar(call, QN_DTYPE_I64, 0)),
                            a->dtype));
    if (left >= 0)
        bias = plus(call, bias,
                    bias_of(call,
                            qn_onnx_emit2(call, "LessOrEqual", behind,
                                          qn_onnx_scalar(call, QN_DTYPE_I64, (double)left)),
                            a->dtype));
    if (right >= 0)
        bias = plus(call, bias,
                    bias_of(call,
                            qn_onnx_emit2(call, "GreaterOrEqual", behind,
                                          qn_onnx_scalar(call, QN_DTYPE_I64, -(double)right)),
                            a->dtype));
    return bias;
}

/* A row that sees no key has weights 0. */
static qn_value blank_rows(qn_onnx_call *call, qn_value weights, const attention *a)
{
    if (a->bias == QN_NONE)
        return weights;
    int64_t last = qn_onnx_type(call, a->bias)->shape.rank - 1;
    qn_attr attrs[] = {qn_onnx_list("axes", &last, 1), QN_ATTR_I("keepdims", 1)};
    qn_value most = qn_onnx_emit(call, "ReduceMax", &a->bias, 1, attrs, 2);
    qn_value empty = qn_onnx_emit2(call, "Equal", most, qn_onnx_scalar(call, a->dtype, -INFINITY));
    qn_value inputs[] = {empty, qn_onnx_scalar(call, a->dtype, 0), weights};
    return qn_onnx_emit(call, "Where", inputs, 3, NULL, 0);
}

/* A function of the user's on scores or weights, in the softmax's precision. */
static qn_value modify(qn_onnx_call *call, const char *function, qn_value x, qn_dtype dtype)
{
    bool half = dtype == QN_DTYPE_F16 || dtype == QN_DTYPE_BF16;
    if (!qn_onnx_attr_find(call, function))
        return x;
    x = qn_onnx_apply(call, function, half ? qn_onnx_cast(call, x, QN_DTYPE_F32) : x);
    return half ? qn_onnx_cast(call, x, dtype) : x;
}

/* By the definition, with the scores as a tensor. Gives y [B, H, T, E]. */
static qn_value attend(qn_onnx_call *call, const attention *a)
{
    static const int64_t swap[] = {0, 1, 3, 2};
    qn_value factor = qn_onnx_scalar(call, a->dtype, sqrt(a->scale)), shown = QN_NONE;
    qn_value k = qn_onnx_transpose(call, repeat_heads(call, a->k, a->heads), swap);
    qn_value scores = qn_onnx_emit2(call, "MatMul", qn_onnx_emit2(call, "Mul", a->q, factor),
                                    qn_onnx_emit2(call, "Mul", k, factor));
    if (a->mode == 0)
        shown = scores;
    if (a->softcap != 0) {
        qn_value cap = qn_onnx_scalar(call, a->dtype, a->softcap);
        scores = qn_onnx_emit2(
            call, "Mul", qn_onnx_emit1(call, "Tanh", qn_onnx_emit2(call, "Div", scores, cap)), cap);
    }
    bool capped = a->mode == 1 && a->softcap != 0;
    shown = capped || (a->mode == 0 && a->softcap != 0) ? scores : shown;
    scores = modify(call, "score_mod", plus(call, scores, a->bias), a->dtype);
    shown = (a->mode == 1 && !capped) || a->mode == 2 ? scores : shown;
    qn_attr axis = QN_ATTR_I("axis", -1);
    qn_value weights = blank_rows(call, qn_onnx_emit(call, "Softmax", &scores, 1, &axis, 1), a);
    weights = modify(call, "prob_mod", weights, a->dtype);
    shown = a->mode == 3 ? weights : shown;
    qn_onnx_out(call, 3, shown);
    return qn_onnx_emit2(call, "MatMul", weights, repeat_heads(call, a->v, a->heads));
}

/* Our row holds no matrix of scores. It takes what training and encoders use: no past, no lengths, no scores wanted. */
static bool fits_row(qn_onnx_call *call, const attention *a)
{
    bool plain =
        a->past == 0 && !qn_onnx_has(call, 6) && !qn_onnx_wants(call, 3) && !qn_onnx_has(call, 3);
    bool open = !qn_onnx_attr_find(call, "score_mod") && !qn_onnx_attr_find(call, "prob_mod") &&
                qn_onnx_attr_i(call, "left_window_size", -1) < 0 &&
                qn_onnx_attr_i(call, "right_window_size", -1) < 0;
    return plain && open && (a->dtype == QN_DTYPE_F32 || a->dtype == QN_DTYPE_F64) &&
           a->scale > 0 && (!a->causal || a->queries <= a->keys) && a->queries >= 0;
}

static qn_value attend_row(qn_onnx_call *call, const attention *a)
{
    static const int64_t swap[] = {0, 2, 1, 3};
    qn_attr attrs[] = {QN_ATTR_F("scale", a->scale), QN_ATTR_I("is_causal", a->causal),
                       QN_ATTR_F("softcap", a->softcap)};
    qn_value inputs[] = {qn_onnx_transpose(call, a->q, swap), qn_onnx_transpose(call, a->k, swap),
                         qn_onnx_transpose(call, a->v, swap)};
    return qn_onnx_transpose(call, qn_onnx_emit(call, "Attention", inputs, 3, attrs, 3), swap);
}

static void map_attention(qn_onnx_call *call)
{
    static const int64_t swap[] = {0, 2, 1, 3};
    int64_t q_heads = qn_onnx_attr_i(call, "q_num_heads", 0),
            kv_heads = qn_onnx_attr_i(call, "kv_num_heads", 0);
    attention a = {.causal = qn_onnx_attr_i(call, "is_causal", 0) != 0,
                   .softcap = qn_onnx_attr_f(call, "softcap", 0),
                   .mode = qn_onnx_attr_i(call, "qk_matmul_output_mode", 0)};
    bool flat = qn_onnx_type(call, qn_onnx_in(call, 0))->shape.rank == 3;
    a.q = split_heads(call, qn_onnx_in(call, 0), q_heads);
    a.k = join_past(call, 4, split_heads(call, qn_onnx_in(call, 1), kv_heads));
    a.v = join_past(call, 5, split_heads(call, qn_onnx_in(call, 2), kv_heads));
    qn_type q = *qn_onnx_type(call, a.q), k = *qn_onnx_type(call, a.k);
    if (call->status == QN_OK && (q.shape.rank != 4 || k.shape.rank != 4))
        qn_onnx_fail(call, QN_ERR_DATA, "q and k differ in their dimensions");
    if (call->status != QN_OK)
        return;
    a.dtype = q.dtype;
    a.heads = q.shape.dims[1];
    a.queries = q.shape.dims[2];
    a.keys = k.shape.dims[2];
    a.past = qn_onnx_has(call, 4) ? qn_onnx_type(call, qn_onnx_in(call, 4))->shape.dims[2] : 0;
    a.scale = qn_onnx_attr_f(call, "scale", 1 / sqrt((double)q.shape.dims[3]));
    bool row = fits_row(call, &a);
    a.bias = row ? QN_NONE : read_bias(call, &a);
    qn_value y = row ? attend_row(call, &a) : attend(call, &a);
    if (flat) {
        qn_shape s = qn_onnx_type(call, y)->shape;
        y = qn_onnx_reshape(call, qn_onnx_transpose(call, y, swap),
                            &QN_SHAPE(s.dims[0], s.dims[2], s.dims[1] * s.dims[3]));
    }
    qn_onnx_out(call, 0, y);
    qn_onnx_out(call, 1, a.k);
    qn_onnx_out(call, 2, a.v);
}

/* --- linear attention: S <- exp(g) S + k (beta (v - S'k))', y = scale q S --- */

typedef struct {
    qn_value q, k, v, state, decay, beta; /* [B, H, T, .], [B, G, T, .], state [B, G, K, V] */
    int64_t heads, steps;
    double scale;
} linear_attention;

/* Position t of [B, H, T, D] as a column [B, H, D, 1] or a row [B, H, 1, D]. */
static qn_value step_of(qn_onnx_call *call, qn_value x, int64_t t, bool column)
{
    static const int64_t swap[] = {0, 1, 3, 2};
    x = qn_onnx_slice(call, x, 2, t, t + 1);
    return column ? qn_onnx_transpose(call, x, swap) : x;
}

static qn_value linear_step(qn_onnx_call *call, linear_attention *a, int64_t t)
{
    qn_value key = step_of(call, a->k, t, true), value = step_of(call, a->v, t, false);
    if (a->decay != QN_NONE)
        a->state = qn_onnx_emit2(call, "Mul", a->state,
                                 qn_onnx_emit1(call, "Exp", step_of(call, a->decay, t, true)));
    if (a->beta != QN_NONE) {
        qn_value known = qn_onnx_emit2(call, "MatMul", step_of(call, a->k, t, false), a->state);
        value = qn_onnx_emit2(call, "Mul", qn_onnx_emit2(call, "Sub", value, known),
                              step_of(call, a->beta, t, false));
    }
    a->state = qn_onnx_emit2(call, "Add", a->state, qn_onnx_emit2(call, "MatMul", key, value));
    qn_value y = qn_onnx_emit2(call, "MatMul", step_of(call, a->q, t, false),
                               repeat_heads(call, a->state, a->heads));
    return qn_onnx_emit2(call, "Mul", y, qn_onnx_scalar(call, QN_DTYPE_F32, a->scale));
}

static qn_value wide_heads(qn_onnx_call *call, int input, int64_t heads)
{
    if (!qn_onnx_has(call, input))
        return QN_NONE;
    qn_value x = qn_onnx_cast(call, qn_onnx_in(call, input), QN_DTYPE_F32);
    qn_shape s = qn_onnx_type(call, x)->shape;
    return split_heads(call, x, s.rank == 3 && s.dims[2] < heads ? s.dims[2] : heads);
}

static void map_linear_attention(qn_onnx_call *call)
{
    enum { STEPS_MAX = 512 };
    static const int64_t swap[] = {0, 2, 1, 3};
    qn_value steps[STEPS_MAX];
    int64_t groups = qn_onnx_attr_i(call, "kv_num_heads", 1);
    linear_attention a = {.heads = qn_onnx_attr_i(call, "q_num_heads", 1)};
    qn_dtype dtype = qn_onnx_type(call, qn_onnx_in(call, 0))->dtype, kept = dtype;
    a.q = wide_heads(call, 0, a.heads);
    a.k = wide_heads(call, 1, groups);
    a.v = wide_heads(call, 2, groups);
    a.decay = wide_heads(call, 4, groups);
    a.beta = wide_heads(call, 5, groups);
    qn_shape q = qn_onnx_type(call, a.q)->shape, v = qn_onnx_type(call, a.v)->shape;
    if (call->status == QN_OK &&
        (q.rank != 4 || v.rank != 4 || q.dims[2] < 1 || q.dims[2] > STEPS_MAX))
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "1 to %d steps are read", (int)STEPS_MAX);
    if (call->status != QN_OK)
        return;
    a.steps = q.dims[2];
    double scale = qn_onnx_attr_f(call, "scale", 0);
    a.scale = scale != 0 ? scale : 1 / sqrt((double)q.dims[3]);
    if (qn_onnx_has(call, 3)) {
        kept = qn_onnx_type(call, qn_onnx_in(call, 3))->dtype;
        a.state = qn_onnx_cast(call, qn_onnx_in(call, 3), QN_DTYPE_F32);
    } else {
        qn_attr shape =
            qn_onnx_list("shape", (int64_t[]){q.dims[0], groups, q.dims[3], v.dims[3]}, 4);
        qn_value zero = qn_onnx_scalar(call, QN_DTYPE_F32, 0);
        a.state = qn_onnx_emit(call, "Expand", &zero, 1, &shape, 1);
    }
    for (int64_t t = 0; t < a.steps; t++)
        steps[t] = linear_step(call, &a, t);
    qn_attr axis = QN_ATTR_I("axis", 2);
    qn_value y =
        qn_onnx_transpose(call, qn_onnx_emit(call, "Concat", steps, (int)a.steps, &axis, 1), swap);
    y = qn_onnx_reshape(call, y, &QN_SHAPE(q.dims[0], a.steps, a.heads * v.dims[3]));
    qn_onnx_out(call, 0, qn_onnx_cast(call, y, dtype));
    qn_onnx_out(call, 1, qn_onnx_cast(call, a.state, kept));
}

/* A depthwise convolution over what was before and what is now; the end of it is kept. */
static void map_causal_conv(qn_onnx_call *call)
{
    qn_value both[2] = {QN_NONE, qn_onnx_in(call, 0)}, weight = qn_onnx_in(call, 1);
    qn_type type = *qn_onnx_type(call, both[1]), w = *qn_onnx_type(call, weight);
    const char *activation = qn_onnx_attr_s(call, "activation", "none");
    if (call->status == QN_OK && (type.shape.rank != 3 || w.shape.rank != 3))
        qn_onnx_fail(call, QN_ERR_DATA, "expected [B, C, T] and weights [C, 1, K]");
    if (call->status != QN_OK)
        return;
    int64_t before = w.shape.dims[2] - 1;
    if (qn_onnx_has(call, 3))
        both[0] = qn_onnx_in(call, 3);
    else {
        qn_attr shape =
            qn_onnx_list("shape", (int64_t[]){type.shape.dims[0], type.shape.dims[1], before}, 3);
        qn_value zero = qn_onnx_scalar(call, type.dtype, 0);
        both[0] = qn_onnx_emit(call, "Expand", &zero, 1, &shape, 1);
    }
    qn_attr axis = QN_ATTR_I("axis", 2), group = QN_ATTR_I("group", type.shape.dims[1]);
    qn_value padded = qn_onnx_emit(call, "Concat", both, 2, &axis, 1);
    qn_value inputs[] = {qn_onnx_to_last(call, padded), qn_onnx_weights_last(call, weight),
                         qn_onnx_has(call, 2) ? qn_onnx_in(call, 2) : QN_NONE};
    qn_value y = qn_onnx_emit(call, "Conv", inputs, inputs[2] == QN_NONE ? 2 : 3, &group, 1);
    if (strcmp(activation, "none") != 0)
        y = qn_onnx_emit1(call, "Silu", y);
    qn_onnx_out_last(call, 0, y);
    qn_onnx_out(call, 1,
                qn_onnx_slice(call, padded, 2, type.shape.dims[2], type.shape.dims[2] + before));
}

const qn_onnx_row qn_onnx_rows_sequence[] = {
    QN_ONNX_ROW("LSTM", 7, map_rnn),
    QN_ONNX_ROW("GRU", 7, map_rnn),
    QN_ONNX_ROW("RNN", 7, map_rnn),
    QN_ONNX_ROW("RotaryEmbedding", 23, map_rotary),
    QN_ONNX_ROW("Attention", 23, map_attention),
    {"ai.onnx.preview", "FlexAttention", 1, 0, map_attention, NULL, NULL, NULL},
    QN_ONNX_NOTED("LinearAttention", 26, map_linear_attention,
                  "up to 512 steps, one after the other"),
    QN_ONNX_ROW("CausalConvWithState", 26, map_causal_conv),
    {0},
};
