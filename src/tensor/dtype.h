/*
 * Element types. Block-quantised types join when language models do.
 */
#ifndef QN_TENSOR_DTYPE_H
#define QN_TENSOR_DTYPE_H

#include <stdbool.h>
#include <stddef.h>

#include "quern/dtype.h"

size_t qn_dtype_size(qn_dtype dtype);
const char *qn_dtype_name(qn_dtype dtype);           /* "f32": for people and quern.json */
const char *qn_dtype_oip(qn_dtype dtype);            /* "FP32": Open Inference Protocol */
const char *qn_dtype_safetensors(qn_dtype dtype);    /* "F32" */
bool qn_dtype_find(const char *name, qn_dtype *ret); /* any of the three spellings */
bool qn_dtype_is_float(qn_dtype dtype);

#endif
