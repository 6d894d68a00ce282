/*
 * ONNX operators over sequences: recurrent networks, attention, rotary positions, running sums.
 */
#include <stdio.h>
#include <string.h>

#include "model/onnx_import_priv.h"

/* --- recurrent networks --- */

/* How ONNX spells what the rows spell otherwise, and which of alpha and beta a function takes from the lists. */
static const struct {
    const char *onnx, *own;
    bool alpha, beta;
} activation_names[] = {
    {"Sigmoid", "sigmoid", false, false},
    {"Tanh", "tanh", false, false},
    {"Relu", "relu", false, false},
    {"Affine", "affine", true, true},
    {"LeakyRelu", "leaky_relu", true, false},
    {"ThresholdedRelu", "thresholded_relu", true, false},
    {"ScaledTanh", "scaled_tanh", true, true},
    {"HardSigmoid", "hard_sigmoid", true, true},
    {"Elu", "elu", true, false},
    {"Softsign", "softsign", false, false},
    {"Softplus", "softplus", false, false},
};
enum { ACTIVATIONS_SIZE = 512, ACTIVATIONS = sizeof activation_names / sizeof activation_names[0] };

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
        while (k < ACTIVATIONS && strcmp(activation_names[k].onnx, names->strings[i]) != 0)
            k++;
        if (k == ACTIVATIONS) {
            qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "activation '%.40s'", names->strings[i]);
            return;
        }
        used += (size_t)snprintf(dst + used, ACTIVATIONS_SIZE - used, "%s%s", i ? " " : "",
                                 activation_names[k].own);
        if (activation_names[k].alpha)
            put_next(dst, &used, alphas, &alpha);
        if (activation_names[k].beta)
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

static void map_rnn(qn_onnx_call *call)
{
    const char *op = call->node->op;
    static const char *const usual[] = {"sigmoid tanh tanh", "sigmoid tanh", "tanh"};
    char activations[ACTIVATIONS_SIZE];
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
    if (strcmp(activations, usual[lstm ? 0 : gru ? 1 : 2]) == 0)
        activations[0] = '\0'; /* the row's own, which have kernels */
    if (!lstm && !gru && strcmp(activations, "relu") == 0)
        attrs[2] = QN_ATTR_S("activation", activations);
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

#define ROW(name, since, map)                                                                      \
    {                                                                                              \
        NULL, name, since, 0, map, NULL, NULL, NULL                                                \
    }

const qn_onnx_row qn_onnx_rows_sequence[] = {
    ROW("LSTM", 7, map_rnn),
    ROW("GRU", 7, map_rnn),
    ROW("RNN", 7, map_rnn),
    ROW("RotaryEmbedding", 23, map_rotary),
    {0},
};
