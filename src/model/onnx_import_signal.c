/*
 * ONNX operators of signals and chance, Einstein sums and determinants.
 */
#include <string.h>

#include "graph/einsum.h"
#include "model/onnx_import_priv.h"

static void map_einsum(qn_onnx_call *call)
{
    enum { MANY = 16 };
    qn_value inputs[MANY];
    int count = call->node->inputs_count;
    qn_dtype dtype = qn_onnx_type(call, qn_onnx_in(call, 0))->dtype;
    bool half = dtype == QN_DTYPE_F16 || dtype == QN_DTYPE_BF16;
    if (count > MANY)
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "%d inputs, at most %d are read", count, (int)MANY);
    for (int i = 0; i < count && call->status == QN_OK; i++)
        inputs[i] =
            half ? qn_onnx_cast(call, qn_onnx_in(call, i), QN_DTYPE_F32) : qn_onnx_in(call, i);
    if (call->status != QN_OK)
        return;
    qn_value y = qn_graph_einsum(call->graph, qn_onnx_attr_s(call, "equation", ""), inputs, count);
    qn_onnx_out(call, 0, y == QN_NONE ? y : qn_onnx_cast(call, y, dtype));
}

/* Before opset 20 the axis is an attribute, 1 by default; later an input, -2 by default. */
static void map_dft(qn_onnx_call *call)
{
    double length = 0, axis = (double)qn_onnx_attr_i(call, "axis", call->version < 20 ? 1 : -2);
    qn_value x = qn_onnx_in(call, 0);
    if ((qn_onnx_has(call, 1) && !qn_onnx_const_number(call, 1, &length)) ||
        (qn_onnx_has(call, 2) && !qn_onnx_const_number(call, 2, &axis)))
        return;
    qn_attr attrs[] = {QN_ATTR_I("axis", (int64_t)axis), QN_ATTR_I("dft_length", (int64_t)length),
                       QN_ATTR_I("inverse", qn_onnx_attr_i(call, "inverse", 0) != 0),
                       QN_ATTR_I("onesided", qn_onnx_attr_i(call, "onesided", 0) != 0)};
    qn_onnx_out(call, 0, qn_onnx_emit(call, "DFT", &x, 1, attrs, 4));
}

static void map_stft(qn_onnx_call *call)
{
    double step, length = 0;
    qn_value inputs[] = {qn_onnx_in(call, 0), qn_onnx_has(call, 2) ? qn_onnx_in(call, 2) : QN_NONE};
    if (!qn_onnx_const_number(call, 1, &step) ||
        (qn_onnx_has(call, 3) && !qn_onnx_const_number(call, 3, &length)))
        return;
    qn_attr attrs[] = {QN_ATTR_I("frame_step", (int64_t)step),
                       QN_ATTR_I("onesided", qn_onnx_attr_i(call, "onesided", 1) != 0),
                       QN_ATTR_I("frame_length", (int64_t)length)};
    qn_onnx_out(call, 0,
                qn_onnx_emit(call, "STFT", inputs, inputs[1] == QN_NONE ? 1 : 2, attrs,
                             length > 0 ? 3 : 2));
}

static void map_mel(qn_onnx_call *call)
{
    static const char *const names[] = {"num_mel_bins", "dft_length", "sample_rate",
                                        "lower_edge_hertz", "upper_edge_hertz"};
    qn_attr attrs[5];
    double number;
    qn_dtype dtype = QN_DTYPE_F32;
    for (int i = 0; i < 5; i++) {
        if (!qn_onnx_const_number(call, i, &number))
            return;
        attrs[i] = i < 2 ? QN_ATTR_I(names[i], (int64_t)number) : QN_ATTR_F(names[i], number);
    }
    if (!qn_onnx_elem_dtype((int)qn_onnx_attr_i(call, "output_datatype", QN_ONNX_FLOAT), &dtype))
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "an element type that is not read");
    qn_onnx_out(
        call, 0,
        qn_onnx_cast(call, qn_onnx_emit(call, "MelWeightMatrix", NULL, 0, attrs, 5), dtype));
}

static void map_det(qn_onnx_call *call)
{
    qn_onnx_out(call, 0, qn_onnx_emit1(call, "Det", qn_onnx_in(call, 0)));
}

/* A shape or the shape of an input; the file's `seed` chooses nothing here, since streams are counted. */
static void map_random(qn_onnx_call *call)
{
    const char *op = call->node->op;
    bool normal = strncmp(op, "RandomNormal", 12) == 0, like = call->node->inputs_count > 0;
    int64_t dims[QN_RANK_MAX];
    qn_value x = like ? qn_onnx_in(call, 0) : QN_NONE;
    qn_dtype dtype = like ? qn_onnx_type(call, x)->dtype : QN_DTYPE_F32;
    int64_t elem = qn_onnx_attr_i(call, "dtype", qn_onnx_elem_of(dtype));
    int count = 0, rank = qn_onnx_attr_ints(call, "shape", dims, QN_RANK_MAX);
    qn_attr attrs[4];
    if (call->status == QN_OK &&
        (elem < 1 || elem >= QN_ONNX_ELEM_COUNT || !qn_onnx_elem_dtype((int)elem, &dtype)))
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "elements of type %lld", (long long)elem);
    if (strcmp(op, "Bernoulli") != 0) {
        const char *first = normal ? "mean" : "low", *second = normal ? "scale" : "high";
        attrs[count++] = QN_ATTR_F(first, qn_onnx_attr_f(call, first, 0));
        attrs[count++] = QN_ATTR_F(second, qn_onnx_attr_f(call, second, 1));
    }
    attrs[count++] = QN_ATTR_S("dtype", qn_dtype_name(dtype));
    if (!like)
        attrs[count++] = qn_onnx_list("shape", dims, rank);
    qn_onnx_out(call, 0, qn_onnx_emit(call, op, &x, like, attrs, count));
}

#define STREAM "other numbers than elsewhere: a stream of this program's"

const qn_onnx_row qn_onnx_rows_signal[] = {
    QN_ONNX_ROW("Einsum", 12, map_einsum),
    QN_ONNX_NOTED("DFT", 17, map_dft, "length and axis are constants"),
    QN_ONNX_NOTED("STFT", 17, map_stft, "step and length are constants"),
    QN_ONNX_NOTED("MelWeightMatrix", 17, map_mel, "of constants"),
    QN_ONNX_NOTED("Det", 11, map_det, "up to 64 x 64"),
    QN_ONNX_NOTED("RandomUniform", 1, map_random, STREAM),
    QN_ONNX_NOTED("RandomUniformLike", 1, map_random, STREAM),
    QN_ONNX_NOTED("RandomNormal", 1, map_random, STREAM),
    QN_ONNX_NOTED("RandomNormalLike", 1, map_random, STREAM),
    QN_ONNX_NOTED("Bernoulli", 15, map_random, STREAM),
    {0},
};
