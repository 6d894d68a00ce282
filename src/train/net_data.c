/*
 * The caller's numbers, checked and packed for a learner, and the loss and accuracy of answers to
 * them.
 */
#include "train/net_priv.h"

#include <math.h>
#include <string.h>

static const char *shape_text(int rank, const int64_t *dims, char dst[128])
{
    qn_shape shape = {.rank = rank};
    for (int i = 0; i < rank && i < QN_RANK_MAX; i++)
        shape.dims[i] = dims[i];
    return qn_shape_text(&shape, dst);
}

static qn_status check_view(const qn_view *view, const char *what, qn_error *err)
{
    if (!view->data || view->rank < 1 || view->rank > QN_VIEW_RANK_MAX)
        QN_FAIL(err, QN_ERR_ARG, "the %s have no data or %d dimensions (1 to %d are possible)",
                what, view->rank, QN_VIEW_RANK_MAX);
    qn_shape shape = {.rank = view->rank};
    memcpy(shape.dims, view->dims, (size_t)view->rank * sizeof *view->dims);
    int64_t bytes;
    QN_TRY(qn_shape_check(&shape, view->dtype, &bytes, err));
    if (view->dims[0] < 1)
        QN_FAIL(err, QN_ERR_ARG, "the %s have %lld samples; at least 1 is expected", what,
                (long long)view->dims[0]);
    return QN_OK;
}

qn_status qn_net_check_samples(const qn_view *view, const char *what, int rank, const int64_t *dims,
                               qn_error *err)
{
    char expected[128], received[128];
    QN_TRY(check_view(view, what, err));
    int longest = rank > view->rank - 1 ? rank : view->rank - 1;
    for (int i = 0; i < longest; i++) {
        int64_t want = i < rank ? dims[i] : 1;
        int64_t got = i < view->rank - 1 ? view->dims[i + 1] : 1;
        if (want == got)
            continue;
        QN_FAIL(
            err, QN_ERR_ARG,
            "the %s have dimension %d of %lld where %lld is expected: samples of shape %s came, "
            "the net takes %s",
            what, i + 1, (long long)got, (long long)want,
            shape_text(view->rank - 1, view->dims + 1, received), shape_text(rank, dims, expected));
    }
    return QN_OK;
}

qn_tensor qn_net_view_tensor(const qn_view *view)
{
    qn_shape shape = {.rank = view->rank};
    memcpy(shape.dims, view->dims, (size_t)view->rank * sizeof *view->dims);
    return qn_tensor_of((void *)(uintptr_t)view->data, view->dtype, shape);
}

/* f32 and u8 are read where they lie; other numbers are converted once. */
static qn_status pack_numbers(const qn_view *view, const char *name, qn_shape shape,
                              qn_arena *arena, qn_packed_tensor *ret, qn_error *err)
{
    qn_packed_tensor tensor = {.name = qn_str_from(name),
                               .stored = view->dtype,
                               .dtype = QN_DTYPE_F32,
                               .shape = shape,
                               .count = qn_shape_count(&shape),
                               .scale = 1,
                               .data = view->data};
    if (view->dtype != QN_DTYPE_F32 && view->dtype != QN_DTYPE_U8) {
        qn_tensor source = qn_net_view_tensor(view);
        float *numbers = qn_arena_zero(arena, qn_shape_count(&source.shape), sizeof *numbers);
        if (!numbers)
            QN_FAIL(err, QN_ERR_MEMORY, "out of memory for %lld samples", (long long)view->dims[0]);
        qn_tensor_convert(numbers, QN_DTYPE_F32, &source);
        tensor.stored = QN_DTYPE_F32;
        tensor.data = numbers;
    }
    *ret = tensor;
    return QN_OK;
}

static qn_status pack_inputs(const qn_net *net, const qn_view *inputs, qn_arena *arena,
                             qn_packed_tensor *ret, qn_error *err)
{
    QN_TRY(qn_net_check_samples(inputs, "inputs", net->input.rank, net->input.dims, err));
    qn_shape shape = {.rank = net->input.rank};
    memcpy(shape.dims, net->input.dims, (size_t)net->input.rank * sizeof(int64_t));
    return pack_numbers(inputs, "input", shape, arena, ret, err);
}

/* One-hot rows to labels; exactly one 1 among zeros. */
static qn_status label_of_row(const qn_tensor *rows, int64_t row, int64_t classes, int64_t *ret,
                              qn_error *err)
{
    int64_t label = -1;
    for (int64_t c = 0; c < classes; c++) {
        double value = qn_tensor_f64_at(rows, row * classes + c);
        if (value == 1 && label < 0)
            label = c;
        else if (value != 0)
            QN_FAIL(err, QN_ERR_DATA, "target row %lld is not one-hot: column %lld is %g",
                    (long long)row, (long long)c, value);
    }
    if (label < 0)
        QN_FAIL(err, QN_ERR_DATA, "target row %lld is not one-hot: it has no 1", (long long)row);
    *ret = label;
    return QN_OK;
}

static qn_status pack_labels(const qn_view *targets, int64_t classes, qn_arena *arena,
                             qn_packed_tensor *ret, qn_error *err)
{
    QN_TRY(check_view(targets, "targets", err));
    qn_tensor source = qn_net_view_tensor(targets);
    int64_t rows = targets->dims[0], count = qn_shape_count(&source.shape);
    bool onehot = count == rows * classes && classes > 1;
    if (!onehot && count != rows)
        QN_FAIL(err, QN_ERR_ARG,
                "the targets have %lld numbers a sample; one label or %lld "
                "one-hot columns are expected",
                (long long)(count / rows), (long long)classes);
    int64_t *labels = QN_NEW(arena, int64_t, rows);
    if (!labels)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory for %lld labels", (long long)rows);
    for (int64_t row = 0; row < rows; row++) {
        if (onehot) {
            QN_TRY(label_of_row(&source, row, classes, &labels[row], err));
            continue;
        }
        double label = qn_tensor_f64_at(&source, row);
        if (!(label >= 0 && label < (double)classes && label == floor(label)))
            QN_FAIL(err, QN_ERR_DATA, "label %g of sample %lld is not one of 0 to %lld", label,
                    (long long)row, (long long)classes - 1);
        labels[row] = (int64_t)label;
    }
    *ret = (qn_packed_tensor){.name = QN_STR("target"),
                              .stored = QN_DTYPE_I64,
                              .dtype = QN_DTYPE_I64,
                              .count = 1,
                              .scale = 1,
                              .data = labels};
    return QN_OK;
}

/* Rows of labels, filled up with -1. Which labels there are, the loss knows. */
static qn_status pack_sequences(const qn_view *targets, int64_t most, qn_arena *arena,
                                qn_packed_tensor *ret, qn_error *err)
{
    QN_TRY(qn_net_check_samples(targets, "targets", 1, &most, err));
    qn_tensor source = qn_net_view_tensor(targets);
    int64_t *labels = QN_NEW(arena, int64_t, qn_shape_count(&source.shape));
    if (!labels)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory for the labels of %lld samples",
                (long long)targets->dims[0]);
    qn_tensor_convert(labels, QN_DTYPE_I64, &source);
    *ret = (qn_packed_tensor){.name = QN_STR("target"),
                              .stored = QN_DTYPE_I64,
                              .dtype = QN_DTYPE_I64,
                              .shape = QN_SHAPE(most),
                              .count = most,
                              .scale = 1,
                              .data = labels};
    return QN_OK;
}

qn_status qn_net_pack(const qn_net *net, const qn_view *inputs, const qn_view *targets,
                      const qn_nn_loss *loss, const qn_shape *output, qn_arena *arena,
                      qn_net_samples *ret, qn_error *err)
{
    QN_TRY(pack_inputs(net, inputs, arena, &ret->tensors[0], err));
    ret->packed = (qn_packed){ret->tensors, 1, inputs->dims[0]};
    if (!qn_nn_loss_has_target(loss->kind))
        return QN_OK;
    bool labels = loss->kind == QN_NN_LOSS_CE ||
                  (loss->kind == QN_NN_LOSS_FOCAL && output->dims[output->rank - 1] > 1);
    if (labels) {
        QN_TRY(pack_labels(targets, output->dims[output->rank - 1], arena, &ret->tensors[1], err));
    } else if (loss->kind == QN_NN_LOSS_CTC) {
        QN_TRY(pack_sequences(targets, loss->labels_max, arena, &ret->tensors[1], err));
    } else {
        qn_type type = {QN_DTYPE_F32, *output};
        qn_shape want = qn_nn_loss_target(loss, &type).shape;
        qn_shape shape = {.rank = want.rank - 1};
        memcpy(shape.dims, want.dims + 1, (size_t)shape.rank * sizeof(int64_t));
        QN_TRY(qn_net_check_samples(targets, "targets", shape.rank, shape.dims, err));
        QN_TRY(pack_numbers(targets, "target", shape, arena, &ret->tensors[1], err));
    }
    if (inputs->dims[0] != targets->dims[0])
        QN_FAIL(err, QN_ERR_ARG, "%lld inputs, but %lld targets", (long long)inputs->dims[0],
                (long long)targets->dims[0]);
    ret->packed.tensors_count = 2;
    return QN_OK;
}
