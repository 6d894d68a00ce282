/*
 * Shapes: counting, checking, printing and broadcasting.
 */
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "tensor/tensor.h"

static void multiply(qn_dim_product *product, int64_t factor)
{
    if (product->known >= 0 && !qn_mul_i64(product->known, factor, &product->known))
        product->known = -1;
}

qn_dim_product qn_dim_product_of(const int64_t *dims, int count)
{
    qn_dim_product product = {.known = 1};
    for (int i = 0; i < count; i++) {
        int64_t code = -1 - dims[i];
        if (!qn_dim_is_symbolic(dims[i])) {
            multiply(&product, dims[i]);
            continue;
        }
        multiply(&product, code / 3 + 1);
        product.batch += code % 3 != 1;
        product.time += code % 3 != 0;
    }
    return product;
}

bool qn_dim_from_product(qn_dim_product product, int64_t *ret)
{
    bool symbolic = product.batch || product.time;
    if (product.known < 0 || product.batch < 0 || product.batch > 1 || product.time < 0 ||
        product.time > 1)
        return false;
    if (symbolic && (product.known < 1 || product.known > QN_DIM_SYMBOLS / 3))
        return false;
    int64_t kind = product.batch && product.time ? 2 : product.time;
    *ret = symbolic ? -1 - (3 * (product.known - 1) + kind) : product.known;
    return true;
}

int64_t qn_shape_count(const qn_shape *shape)
{
    int64_t count = 1;
    for (int i = 0; i < shape->rank; i++) {
        if (shape->dims[i] < 0)
            return -1;
        count *= shape->dims[i];
    }
    return count;
}

bool qn_shape_equal(const qn_shape *a, const qn_shape *b)
{
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dims[i] != b->dims[i])
            return false;
    return true;
}

qn_status qn_shape_check(const qn_shape *shape, qn_dtype dtype, int64_t *ret_bytes, qn_error *err)
{
    char text[128];
    if (shape->rank < 0 || shape->rank > QN_RANK_MAX)
        QN_FAIL(err, QN_ERR_ARG, "a shape has %d dimensions; 0 to %d are possible", shape->rank,
                (int)QN_RANK_MAX);
    if ((unsigned)dtype >= QN_DTYPE_COUNT)
        QN_FAIL(err, QN_ERR_ARG, "element type %d does not exist", (int)dtype);
    /* A zero dimension must not hide an overflow of the others: strides are products too. */
    int64_t bytes = (int64_t)qn_dtype_size(dtype);
    bool empty = false;
    for (int i = 0; i < shape->rank; i++) {
        int64_t dim = shape->dims[i];
        if (dim < 0)
            QN_FAIL(err, QN_ERR_ARG, "dimension %d of shape %s is negative", i,
                    qn_shape_text(shape, text));
        empty = empty || dim == 0;
        if (!qn_mul_i64(bytes, qn_max_i64(dim, 1), &bytes))
            QN_FAIL(err, QN_ERR_ARG, "shape %s of %s is too large", qn_shape_text(shape, text),
                    qn_dtype_name(dtype));
    }
    if (ret_bytes)
        *ret_bytes = empty ? 0 : bytes;
    return QN_OK;
}

const char *qn_shape_text(const qn_shape *shape, char dst[128])
{
    /* Eight dimensions of at most 13 characters fit; a longer one (a refused shape) is cut. */
    int used = snprintf(dst, 128, "[");
    for (int i = 0; i < shape->rank && i < QN_RANK_MAX && used < 100; i++) {
        const char *comma = i ? ", " : "";
        int64_t dim = shape->dims[i];
        qn_dim_product product = qn_dim_product_of(&dim, 1);
        if (!qn_dim_is_symbolic(dim) || product.known != 1)
            used += snprintf(dst + used, 128 - (size_t)used, "%s%lld", comma,
                             (long long)(qn_dim_is_symbolic(dim) ? product.known : dim));
        else
            used += snprintf(dst + used, 128 - (size_t)used, "%s", comma);
        if (qn_dim_is_symbolic(dim))
            used += snprintf(dst + used, 128 - (size_t)used, "%s%s", product.batch ? "B" : "",
                             product.time ? "T" : "");
    }
    snprintf(dst + used, 128 - (size_t)used, "]");
    return dst;
}

qn_status qn_shape_broadcast(const qn_shape *a, const qn_shape *b, qn_shape *ret, qn_error *err)
{
    qn_shape out = {.rank = a->rank > b->rank ? a->rank : b->rank};
    for (int i = 1; i <= out.rank; i++) {
        int64_t da = i <= a->rank ? a->dims[a->rank - i] : 1;
        int64_t db = i <= b->rank ? b->dims[b->rank - i] : 1;
        if (da != db && da != 1 && db != 1) {
            char ta[128], tb[128];
            QN_FAIL(err, QN_ERR_ARG, "cannot broadcast %s with %s: %lld is neither %lld nor 1",
                    qn_shape_text(a, ta), qn_shape_text(b, tb), (long long)da, (long long)db);
        }
        out.dims[out.rank - i] = da == 1 ? db : da;
    }
    *ret = out;
    return QN_OK;
}
