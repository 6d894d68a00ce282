/*
 * Element types. Block-quantised types join when language models do.
 */
#ifndef QN_TENSOR_DTYPE_H
#define QN_TENSOR_DTYPE_H

#include <stdbool.h>
#include <stddef.h>

typedef enum {
    QN_DTYPE_F32,
    QN_DTYPE_F64,
    QN_DTYPE_F16,
    QN_DTYPE_BF16,
    QN_DTYPE_I64,
    QN_DTYPE_I32,
    QN_DTYPE_I16,
    QN_DTYPE_I8,
    QN_DTYPE_U64,
    QN_DTYPE_U32,
    QN_DTYPE_U16,
    QN_DTYPE_U8,
    QN_DTYPE_BOOL, /* one byte, 0 or 1 */
    QN_DTYPE_COUNT
} qn_dtype;

size_t qn_dtype_size(qn_dtype dtype);
const char *qn_dtype_name(qn_dtype dtype);        /* "f32": for people and quern.json */
const char *qn_dtype_oip(qn_dtype dtype);         /* "FP32": Open Inference Protocol */
const char *qn_dtype_safetensors(qn_dtype dtype); /* "F32" */
bool qn_dtype_find(const char *name, qn_dtype *ret); /* any of the three spellings */
bool qn_dtype_is_float(qn_dtype dtype);

#endif
