/*
 * Element types of tensors and views.
 */
#ifndef QUERN_DTYPE_H
#define QUERN_DTYPE_H

#ifdef __cplusplus
extern "C" {
#endif

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

#ifdef __cplusplus
}
#endif
#endif
