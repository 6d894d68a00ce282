/*
 * Views: a typed, shaped, strided window on memory that somebody else owns.
 */
#include "tensor/tensor.h"

#include "base/checked.h"

static void set_row_major(qn_tensor *tensor)
{
    int64_t stride = 1;
    for (int i = tensor->shape.rank - 1; i >= 0; i--) {
        tensor->strides[i] = stride;
        stride *= tensor->shape.dims[i];
    }
}

qn_tensor qn_tensor_of(void *data, qn_dtype dtype, qn_shape shape)
{
    qn_tensor tensor = {.dtype = dtype, .shape = shape, .data = data};
    set_row_major(&tensor);
    return tensor;
}

bool qn_tensor_contiguous(const qn_tensor *tensor)
{
    int64_t stride = 1;
    for (int i = tensor->shape.rank - 1; i >= 0; i--) {
        int64_t dim = tensor->shape.dims[i];
        if (dim == 0)
            return true;
        if (dim != 1 && tensor->strides[i] != stride)
            return false;
        stride *= dim;
    }
    return true;
}

size_t qn_tensor_bytes(const qn_tensor *tensor)
{
    return (size_t)qn_shape_count(&tensor->shape) * qn_dtype_size(tensor->dtype);
}

qn_status qn_tensor_view(const qn_tensor *tensor, qn_shape shape, qn_tensor *ret, qn_error *err)
{
    char have[128], want[128];
    QN_TRY(qn_shape_check(&shape, tensor->dtype, NULL, err));
    int64_t count = qn_shape_count(&tensor->shape);
    if (qn_shape_count(&shape) != count)
        QN_FAIL(err, QN_ERR_ARG, "cannot view %lld elements as %s", (long long)count,
                qn_shape_text(&shape, want));
    if (!qn_tensor_contiguous(tensor))
        QN_FAIL(err, QN_ERR_ARG, "cannot view a strided tensor %s as %s",
                qn_shape_text(&tensor->shape, have), qn_shape_text(&shape, want));
    *ret = qn_tensor_of(tensor->data, tensor->dtype, shape);
    return QN_OK;
}

qn_tensor qn_tensor_rows(const qn_tensor *tensor, int64_t begin, int64_t end)
{
    QN_ASSERT(tensor->shape.rank >= 1);
    QN_ASSERT(0 <= begin && begin <= end && end <= tensor->shape.dims[0]);
    qn_tensor rows = *tensor;
    rows.shape.dims[0] = end - begin;
    if (tensor->data)
        rows.data = (char *)tensor->data +
                    begin * tensor->strides[0] * (int64_t)qn_dtype_size(tensor->dtype);
    return rows;
}
