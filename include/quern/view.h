/*
 * Views of the caller's numbers: where they lie, of what type, in what shape. A view owns nothing
 * and copies nothing; the numbers outlive the call it is given to.
 *
 * QN_VIEW reads type and shape off a C array of two or three dimensions, QN_VIEW_1D off a vector;
 * QN_VIEW_OF takes a pointer and the dimensions. The first dimension counts samples. In C++ they are templates (view_cpp.h).
 */
#ifndef QUERN_VIEW_H
#define QUERN_VIEW_H

#include <stdint.h>

#include "quern/dtype.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { QN_VIEW_RANK_MAX = 8 };

/* Row-major and contiguous: dims[0] samples of dims[1] x dims[2] x ... numbers. */
typedef struct {
    const void *data;
    qn_dtype dtype;
    int rank;
    int64_t dims[QN_VIEW_RANK_MAX];
} qn_view;

/* The same for results, which are written. */
typedef struct {
    void *data;
    qn_dtype dtype;
    int rank;
    int64_t dims[QN_VIEW_RANK_MAX];
} qn_view_out;

#ifdef __cplusplus
} /* extern "C" */
#include "quern/view_cpp.h"
#else

/* Element types of a pointer to numbers, or of a pointer to an array of them. */
#define QN_VIEW_DTYPE(pointer)                                                                     \
    _Generic((pointer),                                                                            \
        const float *: QN_DTYPE_F32,                                                               \
        float *: QN_DTYPE_F32,                                                                     \
        const float(*)[]: QN_DTYPE_F32,                                                            \
        float(*)[]: QN_DTYPE_F32,                                                                  \
        const double *: QN_DTYPE_F64,                                                              \
        double *: QN_DTYPE_F64,                                                                    \
        const double(*)[]: QN_DTYPE_F64,                                                           \
        double(*)[]: QN_DTYPE_F64,                                                                 \
        const int64_t *: QN_DTYPE_I64,                                                             \
        int64_t *: QN_DTYPE_I64,                                                                   \
        const int64_t(*)[]: QN_DTYPE_I64,                                                          \
        int64_t(*)[]: QN_DTYPE_I64,                                                                \
        const int32_t *: QN_DTYPE_I32,                                                             \
        int32_t *: QN_DTYPE_I32,                                                                   \
        const int32_t(*)[]: QN_DTYPE_I32,                                                          \
        int32_t(*)[]: QN_DTYPE_I32,                                                                \
        const uint8_t *: QN_DTYPE_U8,                                                              \
        uint8_t *: QN_DTYPE_U8,                                                                    \
        const uint8_t(*)[]: QN_DTYPE_U8,                                                           \
        uint8_t(*)[]: QN_DTYPE_U8)

/* 3 when one element of an array's row is itself an array, otherwise 2. */
#define QN_VIEW_RANK(pointer)                                                                      \
    _Generic((pointer), const float(*)[] : 3, float(*)[] : 3, const double(*)[] : 3,               \
             double(*)[] : 3, const int64_t(*)[] : 3, int64_t(*)[] : 3, const int32_t(*)[] : 3,    \
             int32_t(*)[] : 3, const uint8_t(*)[] : 3, uint8_t(*)[] : 3, default : 2)
#define QN_VIEW_LEAF(pointer)                                                                      \
    _Generic((pointer), const float(*)[]                                                           \
             : sizeof(float), float(*)[]                                                           \
             : sizeof(float), const double(*)[]                                                    \
             : sizeof(double), double(*)[]                                                         \
             : sizeof(double), const int64_t(*)[]                                                  \
             : sizeof(int64_t), int64_t(*)[]                                                       \
             : sizeof(int64_t), const int32_t(*)[]                                                 \
             : sizeof(int32_t), int32_t(*)[]                                                       \
             : sizeof(int32_t), const uint8_t(*)[]                                                 \
             : sizeof(uint8_t), uint8_t(*)[]                                                       \
             : sizeof(uint8_t), default                                                            \
             : sizeof(*(pointer)))

#define QN_VIEW_FIELDS(array)                                                                      \
    {                                                                                              \
        (array), QN_VIEW_DTYPE(&(array)[0][0]), QN_VIEW_RANK(&(array)[0][0]),                      \
        {                                                                                          \
            (int64_t)(sizeof(array) / sizeof((array)[0])),                                         \
                (int64_t)(sizeof((array)[0]) / sizeof((array)[0][0])),                             \
                (int64_t)(sizeof((array)[0][0]) / (QN_VIEW_LEAF(&(array)[0][0])))                  \
        }                                                                                          \
    }

/* static const float inputs[4][2] = ...; QN_VIEW(inputs) */
#define QN_VIEW(array)     ((qn_view)QN_VIEW_FIELDS(array))
#define QN_VIEW_OUT(array) ((qn_view_out)QN_VIEW_FIELDS(array))
/* static const int32_t labels[4] = ...; QN_VIEW_1D(labels) */
#define QN_VIEW_1D(array)                                                                          \
    ((qn_view){                                                                                    \
        (array), QN_VIEW_DTYPE(&(array)[0]), 1, {(int64_t)(sizeof(array) / sizeof((array)[0]))}})
/* const float *images; QN_VIEW_OF(images, 60000, 28, 28, 1) */
#define QN_VIEW_OF(pointer, ...)                                                                   \
    ((qn_view){(pointer),                                                                          \
               QN_VIEW_DTYPE(pointer),                                                             \
               (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),                          \
               {__VA_ARGS__}})
#define QN_VIEW_OUT_OF(pointer, ...)                                                               \
    ((qn_view_out){(pointer),                                                                      \
                   QN_VIEW_DTYPE(pointer),                                                         \
                   (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),                      \
                   {__VA_ARGS__}})

#endif
#endif
