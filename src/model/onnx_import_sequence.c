/*
 * ONNX operators over sequences: recurrent networks, attention, rotary positions, running sums.
 */
#include <string.h>

#include "model/onnx_import_priv.h"

/* --- recurrent networks --- */

static int gates_of(const char *op)
{
    return op[0] == 'L' ? 4 : op[0] == 'G' ? 3 : 1;
}

/* The activations must be the ones that the rows compute; of a plain RNN all directions have the same. Gives the RNN's. */
static const char *read_activations(qn_onnx_call *call)
{
    static const char *const usual[] = {"Sigmoid", "Tanh", "Tanh"};
    const qn_onnx_attr *attr = qn_onnx_attr_find(call, "activations");
    int gates = gates_of(call->node->op), each = gates == 4 ? 3 : gates == 3 ? 2 : 1;
    const char *first = attr && attr->count > 0 ? attr->strings[0] : "Tanh";
    for (int64_t i = 0; attr && i < attr->count; i++) {
        const char *expected = gates == 1 ? first : usual[i % each];
        if (strcmp(attr->strings[i], expected) != 0)
            qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "activation '%.40s', expected '%.40s'",
                         attr->strings[i], expected);
    }
    if (gates == 1 && strcmp(first, "Tanh") != 0 && strcmp(first, "Relu") != 0)
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "activation '%.40s', expected Tanh or Relu", first);
    return strcmp(first, "Relu") == 0 ? "relu" : "tanh";
}

static void map_rnn(qn_onnx_call *call)
{
    const char *op = call->node->op, *activation = read_activations(call);
    bool lstm = gates_of(op) == 4, gru = gates_of(op) == 3;
    qn_attr attrs[] = {
        QN_ATTR_S("direction", qn_onnx_attr_s(call, "direction", "forward")),
        QN_ATTR_I("layout", qn_onnx_attr_i(call, "layout", 0)),
        gru ? QN_ATTR_I("linear_before_reset", qn_onnx_attr_i(call, "linear_before_reset", 0) != 0)
            : QN_ATTR_S("activation", activation)};
    if (qn_onnx_attr_find(call, "clip") || qn_onnx_attr_i(call, "input_forget", 0))
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "clip and input_forget are not read");
    qn_value inputs[7], outputs[4];
    int most = lstm ? 7 : 6, results = lstm ? 4 : 3;
    for (int i = 0; i < most; i++)
        inputs[i] = qn_onnx_has(call, i) ? qn_onnx_in(call, i) : QN_NONE;
    if (inputs[4] != QN_NONE)
        inputs[4] = qn_onnx_cast(call, inputs[4], QN_DTYPE_I64);
    qn_value peephole = qn_onnx_has(call, 7) ? qn_onnx_in(call, 7) : QN_NONE;
    qn_tensor tensor;
    bool none = true;
    if (peephole != QN_NONE) {
        none = qn_graph_const_read(call->graph, peephole, &tensor);
        for (int64_t i = 0; none && i < qn_shape_count(&tensor.shape); i++)
            none = qn_tensor_f64_at(&tensor, i) == 0;
    }
    if (!none)
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "peepholes that are not zero are not read");
    qn_onnx_emit_many(call, op, inputs, most, attrs, lstm ? 2 : 3, outputs, results);
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
#define NOTED(name, since, map, note)                                                              \
    {                                                                                              \
        NULL, name, since, 0, map, NULL, NULL, note                                                \
    }

const qn_onnx_row qn_onnx_rows_sequence[] = {
    NOTED("LSTM", 7, map_rnn, "usual activations; no clip, input_forget or peepholes"),
    NOTED("GRU", 7, map_rnn, "usual activations; no clip"),
    NOTED("RNN", 7, map_rnn, "Tanh or Relu; no clip"),
    ROW("RotaryEmbedding", 23, map_rotary),
    {0},
};
