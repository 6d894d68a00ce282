/*
 * Shapes and strided views. A view owns nothing: whoever owns the buffer (an arena, a plan, a
 * mapped file, a state) outlives it.
 *
 * In a graph a dimension may be symbolic: QN_DIM_BATCH or QN_DIM_TIME stand for a size that is
 * known only when a plan is made, and so do multiples of them and of their product (rows and heads in
 * one dimension). A tensor's dimensions are always concrete.
 */
#ifndef QN_TENSOR_TENSOR_H
#define QN_TENSOR_TENSOR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "tensor/dtype.h"

enum { QN_RANK_MAX = 8 };
enum { QN_DIM_BATCH = -1, QN_DIM_TIME = -2 };
/* Symbols are -1 - (3 * (factor - 1) + kind) with kinds batch, time, batch * time; this many. */
#define QN_DIM_SYMBOLS ((int64_t)3 << 40)

/* A product of dimensions: `known` times the batch and the length as often as counted. */
typedef struct {
    int64_t known; /* -1 = too large */
    int batch, time;
} qn_dim_product;
static inline bool qn_dim_is_symbolic(int64_t dim)
{
    return dim < 0 && dim >= -QN_DIM_SYMBOLS;
}
qn_dim_product qn_dim_product_of(const int64_t *dims, int count);
/* The one dimension that is such a product; false = there is none. */
bool qn_dim_from_product(qn_dim_product product, int64_t *ret);

typedef struct {
    int rank;
    int64_t dims[QN_RANK_MAX];
} qn_shape;

/* qn_shape s = QN_SHAPE(32, 784); QN_SCALAR is rank 0. */
#define QN_SHAPE(...)                                                                              \
    ((qn_shape){(int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), {__VA_ARGS__}})
#define QN_SCALAR ((qn_shape){0, {0}})

typedef struct {
    qn_dtype dtype;
    qn_shape shape;
    int64_t strides[QN_RANK_MAX]; /* in elements; 0 where a dimension is broadcast */
    void *data;
} qn_tensor;

/* -1 when a dimension is symbolic. Concrete shapes in graphs and tensors always have a product that
 * fits. */
int64_t qn_shape_count(const qn_shape *shape);
bool qn_shape_equal(const qn_shape *a, const qn_shape *b);
/* Outside data: dims >= 0, rank <= 8, product and bytes fit int64. */
QN_MUST_USE qn_status qn_shape_check(const qn_shape *shape, qn_dtype dtype, int64_t *ret_bytes,
                                     qn_error *err);
/* "[32, 784]"; symbolic dimensions print as B and T. Returns dst. */
const char *qn_shape_text(const qn_shape *shape, char dst[128]);
/* Broadcasting by the rules of ONNX and NumPy; ERR_ARG names both shapes. Symbols match themselves
 * and 1. */
QN_MUST_USE qn_status qn_shape_broadcast(const qn_shape *a, const qn_shape *b, qn_shape *ret,
                                         qn_error *err);

qn_tensor qn_tensor_of(void *data, qn_dtype dtype, qn_shape shape); /* contiguous, row-major */
bool qn_tensor_contiguous(const qn_tensor *tensor);
size_t qn_tensor_bytes(const qn_tensor *tensor);
/* Same elements as another shape: "cannot view 12 elements as [5, 2]". */
QN_MUST_USE qn_status qn_tensor_view(const qn_tensor *tensor, qn_shape shape, qn_tensor *ret,
                                     qn_error *err);
/* Rows [begin, end) of the first dimension. */
qn_tensor qn_tensor_rows(const qn_tensor *tensor, int64_t begin, int64_t end);
double qn_tensor_f64_at(const qn_tensor *tensor,
                        int64_t flat_index); /* any dtype, for tests and printing */
/* Element-wise conversion between any two dtypes, strided source to contiguous destination of equal
 * count. */
void qn_tensor_convert(void *dst, qn_dtype dst_dtype, const qn_tensor *src);

/* A few elements at a time through one wide type, by the same rules: any type as double, integers
 * as int64 (u64 keeps its bits). Those read lie `step` elements apart, those written side by side. */
void qn_dtype_read_f64(double *dst, const void *src, qn_dtype dtype, int64_t step, int count);
void qn_dtype_read_i64(int64_t *dst, const void *src, qn_dtype dtype, int64_t step, int count);
void qn_dtype_write_f64(void *dst, qn_dtype dtype, const double *src, int count);
void qn_dtype_write_i64(void *dst, qn_dtype dtype, const int64_t *src, int count);

/* A tensor with a name: plan inputs and outputs, states, model files. The name outlives it. */
typedef struct {
    const char *name;
    qn_tensor tensor;
} qn_named_tensor;

#endif
