/*
 * Rows that run, choose and place along an axis, in ONNX: what is an attribute here is an input there. And unpooling.
 */
#include <string.h>

#include "model/onnx_export_priv.h"

void qn_onnx_export_cumsum(qn_onnx_exporter *e, qn_onnx_view n)
{
    int64_t axis = qn_onnx_export_i(n, "axis", 0);
    qn_tensor scalar = qn_tensor_of(&axis, QN_DTYPE_I64, QN_SCALAR);
    const char *inputs[] = {PLAIN(0), qn_onnx_export_tensor(e, &scalar)};
    qn_onnx_attr attrs[] = {QN_ONNX_I("exclusive", qn_onnx_export_i(n, "exclusive", 0)),
                            QN_ONNX_I("reverse", qn_onnx_export_i(n, "reverse", 0))};
    OUT = qn_onnx_export_emit(e, "CumSum", inputs, 2, attrs, 2);
}

void qn_onnx_export_top_k(qn_onnx_exporter *e, qn_onnx_view n)
{
    int64_t k = qn_onnx_export_i(n, "k", 1);
    const char *inputs[] = {PLAIN(0), qn_onnx_export_ints(e, &k, 1)}, *outputs[2];
    qn_onnx_attr attrs[] = {QN_ONNX_I("axis", qn_onnx_export_i(n, "axis", -1)),
                            QN_ONNX_I("largest", qn_onnx_export_i(n, "largest", 1)),
                            QN_ONNX_I("sorted", qn_onnx_export_i(n, "sorted", 1))};
    qn_onnx_export_many(e, "TopK", inputs, 2, attrs, 3, outputs, 2);
    e->names[n->first].plain = outputs[0];
    e->names[n->first + 1].plain = outputs[1];
}

/* The matrix [count, rows] with a one in each row, at the place that it goes to. */
static const char *placing(qn_onnx_exporter *e, const qn_tensor *indices, int64_t count,
                           int64_t rows)
{
    float *ones = QN_NEW(&e->arena, float, count *rows);
    for (int64_t i = 0; ones && i < count; i++) {
        int64_t at = ((const int64_t *)indices->data)[i];
        if (at >= 0 && at < rows)
            ones[i * rows + at] = 1;
    }
    if (!ones) {
        qn_onnx_export_fail(e, QN_ERR_MEMORY, "out of memory");
        return "";
    }
    const qn_tensor matrix = qn_tensor_of(ones, QN_DTYPE_F32, QN_SHAPE(count, rows));
    return qn_onnx_export_tensor(e, &matrix);
}

/* As a product with that matrix along the axis: which rows meet is known. */
void qn_onnx_export_scatter(qn_onnx_exporter *e, qn_onnx_view n)
{
    int axis = (int)qn_onnx_export_i(n, "axis", 0), rank = TYPE(0)->shape.rank;
    int64_t rows = qn_onnx_export_i(n, "rows", 0), perm[QN_RANK_MAX];
    qn_tensor indices;
    bool known = IN(1) != QN_NONE && qn_onnx_export_read(e, IN(1), &indices) &&
                 indices.shape.rank == 1 && indices.dtype == QN_DTYPE_I64 &&
                 TYPE(0)->dtype == QN_DTYPE_F32;
    if (!known) {
        qn_onnx_export_fail(e, QN_ERR_UNSUPPORTED, "ScatterAddRows to computed places");
        return;
    }
    for (int d = 0; d < rank; d++)
        perm[d] = d == axis ? rank - 1 : d == rank - 1 ? axis : d; /* its own inverse */
    const char *x = PLAIN(0), *where = placing(e, &indices, indices.shape.dims[0], rows);
    if (axis < rank - 1)
        x = qn_onnx_export_turn(e, x, perm, rank);
    x = qn_onnx_export_2(e, "MatMul", x, where);
    OUT = axis < rank - 1 ? qn_onnx_export_turn(e, x, perm, rank) : x;
}

/* There they are the second result of the pool itself: the node written for it gets one. */
void qn_onnx_export_places(qn_onnx_exporter *e, qn_onnx_view n)
{
    const char *pooled = e->names[IN(0) - 1].first;
    int i = e->nodes_count - 1;
    while (i >= 0 && e->nodes[i].outputs[0] != pooled)
        i--;
    if (i < 0 || e->nodes[i].outputs_count != 1 || qn_onnx_export_i(n, "storage_order", 0) != 0) {
        qn_onnx_export_fail(e, QN_ERR_UNSUPPORTED, "places of a pool written in another way");
        return;
    }
    OUT1 = qn_onnx_export_name(e);
    const char *both[] = {pooled, OUT1};
    e->nodes[i].outputs = qn_onnx_export_keep(e, both, 2, sizeof *both);
    e->nodes[i].outputs_count = 2;
}

/* The window is what the sizes say: side by side. */
void qn_onnx_export_unpool(qn_onnx_exporter *e, qn_onnx_view n)
{
    const qn_shape *small = &TYPE(0)->shape, *large = &qn_graph_type(e->graph, n->first)->shape;
    const char *inputs[] = {qn_onnx_export_first(e, IN(0)), qn_onnx_export_first(e, IN(1))};
    int64_t window[QN_RANK_MAX];
    int rank = small->rank - 2;
    for (int i = 0; i < rank; i++) {
        window[i] = large->dims[1 + i] / small->dims[1 + i];
        if (window[i] * small->dims[1 + i] != large->dims[1 + i])
            qn_onnx_export_fail(e, QN_ERR_UNSUPPORTED, "unpooling to a size that is no multiple");
    }
    qn_onnx_attr attrs[] = {QN_ONNX_INTS("kernel_shape", window, rank),
                            QN_ONNX_INTS("strides", window, rank)};
    OUT1 = qn_onnx_export_emit(e, "MaxUnpool", inputs, 2, attrs, 2);
}
