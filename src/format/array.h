/*
 * An array as a file holds it: dtype, shape and bytes in C order. The common result of the idx, npy
 * and npz readers.
 */
#ifndef QN_FORMAT_ARRAY_H
#define QN_FORMAT_ARRAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

#define QN_ARRAY_RANK_MAX 8

typedef enum {
    QN_ARRAY_BOOL,
    QN_ARRAY_U8,
    QN_ARRAY_I8,
    QN_ARRAY_U16,
    QN_ARRAY_I16,
    QN_ARRAY_U32,
    QN_ARRAY_I32,
    QN_ARRAY_U64,
    QN_ARRAY_I64,
    QN_ARRAY_F16,
    QN_ARRAY_BF16,
    QN_ARRAY_F32,
    QN_ARRAY_F64,
    QN_ARRAY_KINDS
} qn_array_kind;

typedef struct {
    qn_str name; /* of an NPZ member or a safetensors entry; empty otherwise */
    qn_array_kind kind;
    int rank;
    int64_t shape[QN_ARRAY_RANK_MAX];
    int64_t count;    /* product of the shape, checked */
    const void *data; /* little-endian host order, C order; alignment of 1 only when it points into
                         a mapped file */
    size_t size_bytes;
} qn_array;

size_t qn_array_kind_size(qn_array_kind kind);
const char *qn_array_kind_name(qn_array_kind kind); /* "f32" */
/* Fills count and size_bytes from kind and shape; false = a negative size or a product that does
 * not fit. */
bool qn_array_measure(qn_array *array);
/* Element `index` as a number. */
double qn_array_at(const qn_array *array, int64_t index);
/* "[60000, 28, 28]" into dst. */
void qn_array_shape_text(const qn_array *array, char dst[128]);

#endif
