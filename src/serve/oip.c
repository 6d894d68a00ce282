/*
 * The part of the Open Inference Protocol that does not depend on the encoding: datatypes and shapes, tensors
 * of a request as rows or as tensors of the model, answers as tensors.
 */
#include "oip.h"

#include "base/checked.h"
#include "base/error.h"

qn_status qn_oip_datatype(qn_str input, qn_str datatype, qn_dtype *ret, bool *ret_strings,
                          qn_error *err)
{
    *ret_strings = qn_str_is(datatype, "BYTES");
    *ret = QN_DTYPE_U8;
    if (*ret_strings)
        return QN_OK;
    for (int dtype = 0; dtype < QN_DTYPE_COUNT; dtype++) {
        if (qn_str_is(datatype, qn_dtype_oip((qn_dtype)dtype))) {
            *ret = (qn_dtype)dtype;
            return QN_OK;
        }
    }
    QN_FAIL(
        err, QN_ERR_ARG,
        "input '%.*s': datatype '%.*s' is not one of BOOL, UINT8 to UINT64, INT8 to INT64, FP16, "
        "BF16, FP32, FP64, BYTES",
        input.size > 64 ? 64 : (int)input.size, input.data,
        datatype.size > 20 ? 20 : (int)datatype.size, datatype.data);
}

const char *qn_oip_datatype_name(const qn_oip_tensor *tensor)
{
    return tensor->strings ? "BYTES" : qn_dtype_oip(tensor->dtype);
}

qn_status qn_oip_shape(qn_str input, const int64_t *dims, int64_t rank, qn_shape *ret,
                       int64_t *ret_count, qn_error *err)
{
    int shown = input.size > 64 ? 64 : (int)input.size;
    if (rank < 1 || rank > QN_RANK_MAX)
        QN_FAIL(err, QN_ERR_ARG, "input '%.*s': shape has %lld dimensions, expected 1 to %d", shown,
                input.data, (long long)rank, QN_RANK_MAX);
    qn_shape shape = {.rank = (int)rank};
    int64_t count = 1;
    for (int64_t i = 0; i < rank; i++) {
        if (dims[i] < 0)
            QN_FAIL(err, QN_ERR_ARG,
                    "input '%.*s': dimension %lld of the shape is %lld, expected 0 "
                    "or more",
                    shown, input.data, (long long)i, (long long)dims[i]);
        if (!qn_mul_i64(count, dims[i], &count) || count > INT64_MAX / 16)
            QN_FAIL(err, QN_ERR_BUDGET, "input '%.*s': the shape has too many elements", shown,
                    input.data);
        shape.dims[i] = dims[i];
    }
    *ret = shape;
    *ret_count = count;
    return QN_OK;
}

/* ---- raw elements ---- */

static qn_status read_raw_texts(qn_oip_tensor *tensor, qn_str bytes, qn_arena *arena, qn_error *err)
{
    const char *name = tensor->name.data;
    int shown = tensor->name.size > 64 ? 64 : (int)tensor->name.size;
    /* Each element takes four bytes at least: checked before anything is allocated for the count. */
    if (tensor->count > (int64_t)(bytes.size / 4))
        QN_FAIL(err, QN_ERR_ARG,
                "input '%.*s': %zu bytes hold fewer than the %lld strings of its shape", shown,
                name, bytes.size, (long long)tensor->count);
    qn_str *texts = QN_NEW(arena, qn_str, tensor->count);
    if (!texts)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    size_t at = 0;
    for (int64_t i = 0; i < tensor->count; i++) {
        uint32_t size = 0;
        if (bytes.size - at >= 4)
            memcpy(&size, bytes.data + at, 4);
        if (bytes.size - at < 4 || bytes.size - at - 4 < size)
            QN_FAIL(err, QN_ERR_ARG, "input '%.*s': string %lld goes beyond the data", shown, name,
                    (long long)i);
        texts[i] = (qn_str){bytes.data + at + 4, size};
        at += 4 + (size_t)size;
    }
    if (at != bytes.size)
        QN_FAIL(err, QN_ERR_ARG, "input '%.*s': %zu bytes follow its last string", shown, name,
                bytes.size - at);
    tensor->texts = texts;
    return QN_OK;
}

qn_status qn_oip_read_raw(qn_oip_tensor *tensor, qn_str bytes, qn_arena *arena, qn_error *err)
{
    if (tensor->strings)
        return read_raw_texts(tensor, bytes, arena, err);
    size_t expected = (size_t)tensor->count * qn_dtype_size(tensor->dtype);
    char shape[128];
    if (bytes.size != expected)
        QN_FAIL(err, QN_ERR_ARG, "input '%.*s': %zu bytes came, its shape %s of %s takes %zu",
                tensor->name.size > 64 ? 64 : (int)tensor->name.size, tensor->name.data, bytes.size,
                qn_shape_text(&tensor->shape, shape), qn_dtype_oip(tensor->dtype), expected);
    /* Kernels and converters read aligned elements; the bytes may lie anywhere in the body. */
    char *copy = qn_arena_alloc_aligned(arena, bytes.size, 64);
    if (!copy)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    if (bytes.size)
        memcpy(copy, bytes.data, bytes.size);
    for (size_t i = 0; tensor->dtype == QN_DTYPE_BOOL && i < bytes.size; i++)
        copy[i] = copy[i] != 0;
    tensor->data = copy;
    return QN_OK;
}

/* ---- the terms of a request ---- */

bool qn_signature_has_rows(const qn_signature *signature)
{
    return signature->has_rows;
}

qn_status qn_signature_choose(qn_str asked, const qn_signature *signature, bool *ret_tensors,
                              qn_error *err)
{
    bool rows = qn_signature_has_rows(signature);
    if (asked.size == 0 || qn_str_is(asked, "serving_default")) {
        *ret_tensors = !rows;
        return QN_OK;
    }
    *ret_tensors = qn_str_is(asked, "tensor");
    if (*ret_tensors || (rows && qn_str_is(asked, "raw")))
        return QN_OK;
    QN_FAIL(err, QN_ERR_ARG, "model '%s' has no signature '%.*s'; it has %s", signature->name,
            asked.size > 64 ? 64 : (int)asked.size, asked.data,
            rows ? "'raw' and 'tensor'" : "'tensor'");
}

static const char *terminated(qn_str name, qn_arena *arena)
{
    return memchr(name.data ? name.data : "", '\0', name.size)
               ? NULL
               : qn_arena_strndup(arena, name.data, name.size);
}

static qn_status bind_tensors(const qn_oip_request *request, qn_infer *infer, qn_error *err)
{
    infer->inputs = QN_NEW(infer->arena, qn_named_tensor, request->inputs_count);
    if (!infer->inputs)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    for (int64_t i = 0; i < request->inputs_count; i++) {
        const qn_oip_tensor *from = &request->inputs[i];
        const char *name = terminated(from->name, infer->arena);
        if (!name)
            QN_FAIL(err, QN_ERR_ARG, "the name of input %lld has a zero byte", (long long)i);
        if (from->strings)
            QN_FAIL(err, QN_ERR_ARG, "input '%s' is BYTES, expected numbers", name);
        infer->inputs[i] = (qn_named_tensor){
            name, qn_tensor_of((void *)(uintptr_t)from->data, from->dtype, from->shape)};
    }
    infer->inputs_count = (int)request->inputs_count;
    infer->rows = request->inputs_count ? request->inputs[0].shape.dims[0] : 0;
    return QN_OK;
}

static const qn_raw_input *find_column(const qn_signature *signature, qn_str name)
{
    for (int64_t i = 0; i < signature->columns_count; i++)
        if (qn_str_equal(signature->columns[i].name, name))
            return &signature->columns[i];
    return NULL;
}

/* ---- tensors as columns ---- */

static bool takes_arrays(const qn_raw_input *column)
{
    return column && (column->type == QN_TYPE_IMAGE || column->type == QN_TYPE_TENSOR);
}

static qn_status bind_texts(const qn_oip_tensor *from, const qn_raw_input *column, qn_infer *infer,
                            qn_error *err)
{
    /* An image comes as its file's bytes. Nothing that a client sends is ever a path. */
    bool bytes = column && (column->kind == QN_COLUMN_BYTES || takes_arrays(column));
    qn_column *to = qn_frame_add(&infer->frame, from->name,
                                 bytes ? QN_COLUMN_BYTES : QN_COLUMN_STRING, infer->arena);
    if (!to)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    for (int64_t row = 0; row < from->count; row++) {
        size_t bad_at;
        if (!bytes && !qn_utf8_check(from->texts[row].data, from->texts[row].size, &bad_at))
            QN_FAIL(err, QN_ERR_ARG, "input '%.*s': string %lld is not UTF-8 at byte %zu",
                    QN_STR_ARG(from->name), (long long)row, bad_at);
        to->strings[row] = from->texts[row];
    }
    return QN_OK;
}

static qn_status bind_numbers(const qn_oip_tensor *from, qn_infer *infer, qn_error *err)
{
    qn_column *to = qn_frame_add(&infer->frame, from->name, QN_COLUMN_NUMBER, infer->arena);
    if (!to)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    to->boolean = from->dtype == QN_DTYPE_BOOL;
    qn_tensor tensor = qn_tensor_of((void *)(uintptr_t)from->data, from->dtype, from->shape);
    qn_tensor_convert(to->numbers, QN_DTYPE_F64, &tensor);
    return QN_OK;
}

static qn_status bind_column(const qn_oip_tensor *from, const qn_raw_input *column, qn_infer *infer,
                             qn_error *err)
{
    bool arrays = takes_arrays(column) && !from->strings;
    char shape[128];
    if (from->shape.dims[0] != infer->rows)
        QN_FAIL(err, QN_ERR_ARG, "input '%.*s' has %lld rows, the first input has %lld",
                QN_STR_ARG(from->name), (long long)from->shape.dims[0], (long long)infer->rows);
    if (!arrays && from->count != infer->rows)
        QN_FAIL(err, QN_ERR_ARG, "input '%.*s' has shape %s, expected [N] or [N, 1]",
                QN_STR_ARG(from->name), qn_shape_text(&from->shape, shape));
    if (from->strings)
        return bind_texts(from, column, infer, err);
    if (!arrays)
        return bind_numbers(from, infer, err);
    qn_tensor tensor = qn_tensor_of((void *)(uintptr_t)from->data, from->dtype, from->shape);
    if (!qn_frame_add_array(&infer->frame, from->name, &tensor))
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    return QN_OK;
}

static qn_status bind_rows(const qn_oip_request *request, bool ignore_unknown, qn_infer *infer,
                           qn_error *err)
{
    infer->rows = request->inputs_count ? request->inputs[0].shape.dims[0] : 0;
    QN_TRY(qn_frame_init(&infer->frame, infer->arena, request->inputs_count + 1, infer->rows, err));
    for (int64_t i = 0; i < request->inputs_count; i++) {
        const qn_oip_tensor *from = &request->inputs[i];
        const qn_raw_input *column = find_column(infer->served->signature, from->name);
        if (!column && ignore_unknown)
            continue;
        if (qn_frame_find(&infer->frame, from->name))
            QN_FAIL(err, QN_ERR_ARG, "input '%.*s' is given twice", QN_STR_ARG(from->name));
        QN_TRY(bind_column(from, column, infer, err));
    }
    return QN_OK;
}

qn_status qn_oip_bind(const qn_oip_request *request, bool ignore_unknown,
                      const qn_serve_limits *limits, qn_infer *infer, qn_error *err)
{
    QN_TRY(qn_signature_choose(request->signature, infer->served->signature, &infer->tensors, err));
    if (request->inputs_count == 0)
        QN_FAIL(err, QN_ERR_ARG, "'inputs' is empty, expected at least one tensor");
    if (request->inputs[0].shape.dims[0] > limits->rows_max)
        QN_FAIL(err, QN_ERR_BUDGET, "%lld rows came, the limit is %lld",
                (long long)request->inputs[0].shape.dims[0], (long long)limits->rows_max);
    return infer->tensors ? bind_tensors(request, infer, err)
                          : bind_rows(request, ignore_unknown, infer, err);
}

/* ---- answers ---- */

static qn_status all_results(const qn_infer *infer, qn_oip_tensor *dst, int64_t *count,
                             qn_error *err)
{
    if (infer->tensors) {
        *count = infer->served->signature->outputs_count;
        for (int64_t i = 0; i < *count; i++) {
            const qn_named_tensor *from = &infer->outputs[i];
            dst[i] = (qn_oip_tensor){.name = qn_str_from(from->name),
                                     .dtype = from->tensor.dtype,
                                     .shape = from->tensor.shape,
                                     .count = qn_shape_count(&from->tensor.shape),
                                     .data = from->tensor.data};
        }
        return QN_OK;
    }
    const qn_predictions *p = &infer->predictions;
    dst[0] =
        (qn_oip_tensor){.name = QN_STR("prediction"), .shape = QN_SHAPE(p->rows), .count = p->rows};
    *count = 1;
    if (!p->classes) {
        dst[0].dtype = QN_DTYPE_F64;
        dst[0].data = p->number;
        return QN_OK;
    }
    qn_str *labels = QN_NEW(infer->arena, qn_str, p->rows);
    if (!labels)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    for (int64_t row = 0; row < p->rows; row++)
        labels[row] = p->labels[p->choice[row]];
    dst[0].strings = true;
    dst[0].texts = labels;
    dst[1] = (qn_oip_tensor){.name = QN_STR("probability"),
                             .dtype = QN_DTYPE_F32,
                             .shape = QN_SHAPE(p->rows, p->classes),
                             .count = p->rows * p->classes,
                             .data = p->probability};
    *count = 2;
    return QN_OK;
}

static qn_status select_results(const qn_oip_request *request, const qn_oip_tensor *all,
                                int64_t all_count, qn_oip_tensor *dst, qn_error *err)
{
    for (int64_t i = 0; i < request->wanted_count; i++) {
        const qn_oip_tensor *found = NULL;
        for (int64_t k = 0; k < all_count && !found; k++)
            if (qn_str_equal(all[k].name, request->wanted[i].name))
                found = &all[k];
        qn_str name = request->wanted[i].name;
        if (!found)
            QN_FAIL(err, QN_ERR_ARG, "there is no output '%.*s'; there is '%.*s'%s%.*s%s",
                    name.size > 64 ? 64 : (int)name.size, name.data, QN_STR_ARG(all[0].name),
                    all_count > 1 ? " and '" : "", all_count > 1 ? (int)all[1].name.size : 0,
                    all_count > 1 ? all[1].name.data : "", all_count > 1 ? "'" : "");
        dst[i] = *found;
        dst[i].binary = request->wanted[i].binary;
    }
    return QN_OK;
}

qn_status qn_oip_results(const qn_oip_request *request, const qn_infer *infer, qn_oip_tensor **ret,
                         int64_t *ret_count, qn_error *err)
{
    int64_t room = infer->served->signature->outputs_count + 2, count;
    qn_oip_tensor *all = QN_NEW(infer->arena, qn_oip_tensor, room);
    if (!all)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    QN_TRY(all_results(infer, all, &count, err));
    for (int64_t i = 0; i < count; i++)
        all[i].binary = request->binary;
    if (request->wanted_count == 0) {
        *ret = all;
        *ret_count = count;
        return QN_OK;
    }
    qn_oip_tensor *wanted = QN_NEW(infer->arena, qn_oip_tensor, request->wanted_count);
    if (!wanted)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    QN_TRY(select_results(request, all, count, wanted, err));
    *ret = wanted;
    *ret_count = request->wanted_count;
    return QN_OK;
}

/* ---- metadata ---- */

void qn_oip_column_spec(const qn_raw_input *column, qn_arena *arena, qn_oip_spec *ret)
{
    *ret = (qn_oip_spec){.shape = QN_SHAPE(-1), .datatype = "FP64"};
    ret->name = qn_arena_strndup(arena, column->name.data, column->name.size);
    if (column->kind == QN_COLUMN_STRING || column->kind == QN_COLUMN_BYTES)
        ret->datatype = "BYTES";
    if (column->type == QN_TYPE_IMAGE && column->kind == QN_COLUMN_ARRAY) {
        ret->datatype = "UINT8";
        ret->shape = column->channels > 1
                         ? QN_SHAPE(-1, column->height, column->width, column->channels)
                         : QN_SHAPE(-1, column->height, column->width);
    } else if (column->type == QN_TYPE_TENSOR) {
        ret->datatype = qn_dtype_oip(column->dtype);
        for (int i = 0; i < column->shape.rank && i + 1 < QN_RANK_MAX; i++)
            ret->shape.dims[ret->shape.rank++] = column->shape.dims[i];
    }
}

static qn_oip_spec tensor_spec(const qn_tensor_spec *tensor)
{
    qn_oip_spec spec = {tensor->name, qn_dtype_oip(tensor->dtype), tensor->shape};
    if (spec.shape.rank)
        spec.shape.dims[0] = -1;
    return spec;
}

qn_oip_spec *qn_oip_inputs(const qn_signature *signature, bool tensors, qn_arena *arena,
                           int64_t *ret_count)
{
    int64_t count = tensors ? signature->inputs_count : signature->columns_count;
    qn_oip_spec *specs = QN_NEW(arena, qn_oip_spec, count + 1);
    for (int64_t i = 0; specs && i < count; i++) {
        if (tensors)
            specs[i] = tensor_spec(&signature->inputs[i]);
        else
            qn_oip_column_spec(&signature->columns[i], arena, &specs[i]);
        if (!specs[i].name)
            return NULL;
    }
    *ret_count = count;
    return specs;
}

qn_oip_spec *qn_oip_outputs(const qn_signature *signature, bool tensors, qn_arena *arena,
                            int64_t *ret_count)
{
    qn_oip_spec *specs = QN_NEW(arena, qn_oip_spec, signature->outputs_count + 2);
    *ret_count = 0;
    if (!specs)
        return NULL;
    if (tensors) {
        for (int i = 0; i < signature->outputs_count; i++)
            specs[i] = tensor_spec(&signature->outputs[i]);
        *ret_count = signature->outputs_count;
        return specs;
    }
    bool classes = signature->labels_count > 0;
    specs[0] = (qn_oip_spec){"prediction", classes ? "BYTES" : "FP64", QN_SHAPE(-1)};
    specs[1] = (qn_oip_spec){"probability", "FP32", QN_SHAPE(-1, signature->labels_count)};
    *ret_count = classes ? 2 : 1;
    return specs;
}
