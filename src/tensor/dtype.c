/*
 * The table of element types: size and the three spellings used around Quern.
 */
#include "tensor/dtype.h"

#include <string.h>

#include "base/error.h"

typedef struct {
    size_t size;
    const char *name, *oip, *safetensors;
    bool is_float;
} dtype_row;

static const dtype_row rows[QN_DTYPE_COUNT] = {
    [QN_DTYPE_F32] = {4, "f32", "FP32", "F32", true},
    [QN_DTYPE_F64] = {8, "f64", "FP64", "F64", true},
    [QN_DTYPE_F16] = {2, "f16", "FP16", "F16", true},
    [QN_DTYPE_BF16] = {2, "bf16", "BF16", "BF16", true},
    [QN_DTYPE_I64] = {8, "i64", "INT64", "I64", false},
    [QN_DTYPE_I32] = {4, "i32", "INT32", "I32", false},
    [QN_DTYPE_I16] = {2, "i16", "INT16", "I16", false},
    [QN_DTYPE_I8] = {1, "i8", "INT8", "I8", false},
    [QN_DTYPE_U64] = {8, "u64", "UINT64", "U64", false},
    [QN_DTYPE_U32] = {4, "u32", "UINT32", "U32", false},
    [QN_DTYPE_U16] = {2, "u16", "UINT16", "U16", false},
    [QN_DTYPE_U8] = {1, "u8", "UINT8", "U8", false},
    [QN_DTYPE_BOOL] = {1, "bool", "BOOL", "BOOL", false},
};

static const dtype_row *row_of(qn_dtype dtype)
{
    QN_ASSERT((unsigned)dtype < QN_DTYPE_COUNT);
    return &rows[dtype];
}

size_t qn_dtype_size(qn_dtype dtype)
{
    return row_of(dtype)->size;
}

const char *qn_dtype_name(qn_dtype dtype)
{
    return row_of(dtype)->name;
}

const char *qn_dtype_oip(qn_dtype dtype)
{
    return row_of(dtype)->oip;
}

const char *qn_dtype_safetensors(qn_dtype dtype)
{
    return row_of(dtype)->safetensors;
}

bool qn_dtype_is_float(qn_dtype dtype)
{
    return row_of(dtype)->is_float;
}

bool qn_dtype_find(const char *name, qn_dtype *ret)
{
    for (int i = 0; i < QN_DTYPE_COUNT; i++) {
        const dtype_row *row = &rows[i];
        if (strcmp(row->name, name) == 0 || strcmp(row->oip, name) == 0 ||
            strcmp(row->safetensors, name) == 0) {
            *ret = (qn_dtype)i;
            return true;
        }
    }
    return false;
}
