/*
 * ONNX operators that move elements or compute sizes: shapes, slices, joins, constants, gathers, casts. Those whose form
 * is an input in ONNX need it constant: it becomes an attribute here.
 */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "model/onnx_import_priv.h"

/* Rows along an axis. */
static qn_value gather(qn_onnx_call *call, qn_value x, qn_value places, int axis)
{
    qn_attr attr = QN_ATTR_I("axis", axis);
    qn_value inputs[] = {x, places};
    return qn_onnx_emit(call, "Gather", inputs, 2, &attr, 1);
}

/* Moves keep what the bytes stand for. */
static void out_moved(qn_onnx_call *call, int output, qn_value value)
{
    qn_onnx_out_elem(call, output, value, qn_onnx_in_elem(call, 0));
}

static qn_value whole_numbers(qn_onnx_call *call, const int64_t *numbers, int count, qn_shape shape)
{
    bool symbolic = false;
    for (int i = 0; i < count; i++)
        symbolic = symbolic || qn_onnx_is_symbol(numbers[i]);
    qn_tensor tensor = qn_tensor_of((void *)(uintptr_t)numbers, QN_DTYPE_I64, shape);
    qn_value made = qn_onnx_constant(call, &tensor);
    if (symbolic && made != QN_NONE && !qn_onnx_mark(call->importer, made, NULL, true))
        qn_onnx_fail(call, QN_ERR_MEMORY, "out of memory");
    return made;
}

static qn_shape logical_shape(qn_onnx_call *call, int input)
{
    bool last = qn_onnx_is_last(call, input);
    qn_value x = last ? qn_onnx_in_last(call, input) : qn_onnx_in(call, input);
    qn_shape shape = qn_onnx_type(call, x)->shape;
    if (last && call->status == QN_OK) {
        int64_t channels = shape.dims[shape.rank - 1];
        for (int i = shape.rank - 1; i > 1; i--)
            shape.dims[i] = shape.dims[i - 1];
        shape.dims[1] = channels;
    }
    return shape;
}

static void map_shape(qn_onnx_call *call)
{
    int64_t sizes[QN_RANK_MAX];
    qn_shape shape = logical_shape(call, 0);
    int64_t start = qn_onnx_attr_i(call, "start", 0), end = qn_onnx_attr_i(call, "end", shape.rank);
    start = qn_max_i64(0, qn_min_i64(start < 0 ? start + shape.rank : start, shape.rank));
    end = qn_max_i64(0, qn_min_i64(end < 0 ? end + shape.rank : end, shape.rank));
    int count = 0;
    for (int64_t i = start; i < end; i++)
        sizes[count++] = shape.dims[i] < 0 ? QN_ONNX_SYMBOL(shape.dims[i]) : shape.dims[i];
    qn_onnx_out(call, 0, whole_numbers(call, sizes, count, QN_SHAPE(count)));
}

static void map_size(qn_onnx_call *call)
{
    qn_shape shape = logical_shape(call, 0);
    int64_t count = QN_ONNX_UNKNOWN;
    if (qn_dim_from_product(qn_dim_product_of(shape.dims, shape.rank), &count) && count < 0)
        count = QN_ONNX_SYMBOL(count);
    qn_onnx_out(call, 0, whole_numbers(call, &count, 1, QN_SCALAR));
}

static void map_constant(qn_onnx_call *call)
{
    const qn_onnx_attr *attr = call->node->attrs_count == 1 ? &call->node->attrs[0] : NULL;
    qn_tensor tensor = {.dtype = QN_DTYPE_F32};
    int elem = QN_ONNX_FLOAT;
    float number;
    if (!attr) {
        qn_onnx_fail(call, QN_ERR_DATA, "expected one attribute with the value");
        return;
    }
    number = attr->f;
    if (attr->kind == QN_ONNX_ATTR_TENSOR && attr->tensor.elem != QN_ONNX_STRING) {
        tensor = attr->tensor.tensor;
        elem = attr->tensor.elem;
    } else if (attr->kind == QN_ONNX_ATTR_FLOAT)
        tensor = qn_tensor_of(&number, QN_DTYPE_F32, QN_SCALAR);
    else if (attr->kind == QN_ONNX_ATTR_FLOATS)
        tensor = qn_tensor_of((void *)(uintptr_t)attr->floats, QN_DTYPE_F32, QN_SHAPE(attr->count));
    else if (attr->kind == QN_ONNX_ATTR_INTS || attr->kind == QN_ONNX_ATTR_INT) {
        bool one = attr->kind == QN_ONNX_ATTR_INT;
        const int64_t *numbers = one ? &attr->i : attr->ints;
        tensor = qn_tensor_of((void *)(uintptr_t)numbers, QN_DTYPE_I64,
                              one ? QN_SCALAR : QN_SHAPE(attr->count));
        elem = QN_ONNX_INT64;
    } else
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "a constant of strings or of a sparse tensor");
    qn_onnx_spend(call, qn_tensor_bytes(&tensor));
    qn_onnx_out_elem(call, 0, qn_onnx_constant(call, &tensor), elem);
}

/* A value repeated to a shape that may have symbols. */
static qn_value spread(qn_onnx_call *call, qn_value value, const qn_shape *shape)
{
    qn_attr attr = qn_onnx_list("shape", shape->dims, shape->rank);
    return qn_onnx_emit(call, "Expand", &value, 1, &attr, 1);
}

/* A shape from a constant input; symbols become dimensions. */
static bool read_shape(qn_onnx_call *call, int input, qn_shape *ret)
{
    if (!qn_onnx_const_ints(call, input, ret->dims, QN_RANK_MAX, &ret->rank))
        return false;
    for (int i = 0; i < ret->rank; i++) {
        int64_t size = ret->dims[i];
        if (qn_onnx_is_symbol(size) && size != QN_ONNX_UNKNOWN)
            ret->dims[i] = QN_ONNX_SYMBOL(size);
        else if (size < -1 && size != QN_ONNX_UNKNOWN) {
            qn_onnx_fail(call, QN_ERR_DATA, "size %lld of dimension %d", (long long)size, i);
            return false;
        }
    }
    return true;
}

static void map_constant_of_shape(qn_onnx_call *call)
{
    qn_shape shape = {0};
    const qn_onnx_attr *attr = qn_onnx_attr_find(call, "value");
    if (!read_shape(call, 0, &shape))
        return;
    bool given = attr && attr->kind == QN_ONNX_ATTR_TENSOR && attr->tensor.tensor.data &&
                 qn_shape_count(&attr->tensor.tensor.shape) == 1;
    qn_tensor one = given ? attr->tensor.tensor : (qn_tensor){0};
    one.shape = QN_SCALAR;
    qn_value value = given ? qn_onnx_constant(call, &one) : qn_onnx_scalar(call, QN_DTYPE_F32, 0);
    qn_onnx_out_elem(call, 0, spread(call, value, &shape),
                     given ? attr->tensor.elem : QN_ONNX_FLOAT);
}

static void map_expand(qn_onnx_call *call)
{
    qn_shape wanted = {0}, shape;
    qn_value x = qn_onnx_in(call, 0);
    qn_error err = {0};
    qn_shape from = qn_onnx_type(call, x)->shape;
    if (!read_shape(call, 1, &wanted))
        return;
    for (int i = 0; i < wanted.rank; i++) {
        int d = i - wanted.rank + from.rank;
        if (wanted.dims[i] == QN_ONNX_UNKNOWN && d >= 0)
            wanted.dims[i] = from.dims[d]; /* can only be that size, or 1 */
    }
    if (qn_shape_broadcast(&from, &wanted, &shape, &err) != QN_OK)
        qn_onnx_fail(call, QN_ERR_DATA, "%s", err.text);
    else
        out_moved(call, 0, spread(call, x, &shape));
}

/* The size that -1 stands for, where the others are known: beside an open size that moved it must not be left to the row. */
static void solve_inferred(qn_onnx_call *call, const qn_shape *from, qn_shape *to)
{
    qn_shape known = {0};
    int at = -1;
    int64_t solved;
    for (int i = 0; i < to->rank && call->status == QN_OK; i++) {
        int64_t size = to->dims[i];
        if (size == QN_ONNX_UNKNOWN || (size == -1 && at >= 0) || (size == 0 && i >= from->rank))
            return;
        if (size == -1)
            at = i;
        else
            known.dims[known.rank++] = size == 0                 ? from->dims[i]
                                       : qn_onnx_is_symbol(size) ? QN_ONNX_SYMBOL(size)
                                                                 : size;
    }
    qn_dim_product all = qn_dim_product_of(from->dims, from->rank),
                   rest = qn_dim_product_of(known.dims, known.rank);
    if (at < 0 || rest.known < 1 || all.known < 0 || all.known % rest.known != 0)
        return;
    all = (qn_dim_product){all.known / rest.known, all.batch - rest.batch, all.time - rest.time};
    if (qn_dim_from_product(all, &solved) && solved > 0)
        to->dims[at] = solved;
}

/* Sizes as the input `shape` (or before opset 5 the attribute) says: 0 copies unless allowzero, -1 is inferred, symbols
 * and what is computed from them are found by their place or inferred. */
static void map_reshape(qn_onnx_call *call)
{
    qn_shape to = {0};
    int inferred = 0;
    qn_value x = qn_onnx_in(call, 0);
    qn_shape from = qn_onnx_type(call, x)->shape;
    bool zero = qn_onnx_attr_i(call, "allowzero", 0) != 0;
    if (qn_onnx_has(call, 1)) {
        if (!qn_onnx_const_ints(call, 1, to.dims, QN_RANK_MAX, &to.rank))
            return;
    } else
        to.rank = qn_onnx_attr_ints(call, "shape", to.dims, QN_RANK_MAX);
    if (!zero)
        solve_inferred(call, &from, &to);
    qn_attr attr = qn_onnx_list("shape", to.dims, to.rank);
    bool empty = false;
    for (int i = 0; i < to.rank; i++) {
        bool symbol = qn_onnx_is_symbol(to.dims[i]);
        bool copied = symbol && i < from.rank && from.dims[i] < 0 &&
                      to.dims[i] == QN_ONNX_SYMBOL(from.dims[i]);
        if (symbol)
            attr.ints[i] = copied ? 0 : -1;
        empty = empty || (zero && to.dims[i] == 0);
        inferred += attr.ints[i] == -1;
    }
    if (empty) {
        qn_dtype dtype = qn_onnx_type(call, x)->dtype;
        qn_error err = {0};
        for (int i = 0; i < to.rank; i++)
            to.dims[i] = to.dims[i] < 0 ? 0 : to.dims[i];
        if (qn_shape_check(&to, dtype, NULL, &err) != QN_OK) {
            qn_onnx_fail(call, QN_ERR_DATA, "%s", err.text);
            return;
        }
        qn_tensor none = qn_tensor_of(NULL, dtype, to);
        out_moved(call, 0, qn_onnx_constant(call, &none));
        return;
    }
    if (inferred > 1)
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED,
                     "%d sizes depend on open sizes; give the inputs' sizes", inferred);
    out_moved(call, 0, qn_onnx_emit(call, "Reshape", &x, 1, &attr, 1));
}

static int read_axes(qn_onnx_call *call, int input, int64_t axes[QN_RANK_MAX])
{
    int count = qn_onnx_attr_ints(call, "axes", axes, QN_RANK_MAX);
    if (qn_onnx_has(call, input) && !qn_onnx_const_ints(call, input, axes, QN_RANK_MAX, &count))
        return 0;
    return count;
}

static void map_squeeze(qn_onnx_call *call)
{
    int64_t axes[QN_RANK_MAX];
    qn_value x = qn_onnx_in(call, 0);
    int count = read_axes(call, 1, axes);
    qn_attr attr = qn_onnx_list("axes", axes, count);
    out_moved(call, 0, qn_onnx_emit(call, "Squeeze", &x, 1, &attr, count > 0));
}

static void map_unsqueeze(qn_onnx_call *call)
{
    int64_t axes[QN_RANK_MAX];
    qn_value x = qn_onnx_in(call, 0);
    int count = read_axes(call, 1, axes);
    qn_attr attr = qn_onnx_list("axes", axes, count);
    out_moved(call, 0, count ? qn_onnx_emit(call, "Unsqueeze", &x, 1, &attr, 1) : x);
}

static void map_flatten(qn_onnx_call *call)
{
    qn_value x = qn_onnx_in(call, 0);
    qn_attr attr = QN_ATTR_I("axis", qn_onnx_attr_i(call, "axis", 1));
    out_moved(call, 0, qn_onnx_emit(call, "Flatten", &x, 1, &attr, 1));
}

static void map_transpose(qn_onnx_call *call)
{
    int64_t perm[QN_RANK_MAX];
    qn_value x = qn_onnx_in(call, 0);
    int rank = qn_onnx_type(call, x)->shape.rank,
        count = qn_onnx_attr_ints(call, "perm", perm, QN_RANK_MAX);
    for (int i = 0; count == 0 && i < rank; i++)
        perm[i] = rank - 1 - i;
    out_moved(call, 0, rank > 0 ? qn_onnx_transpose(call, x, perm) : x);
}

static void map_identity(qn_onnx_call *call)
{
    if (qn_onnx_is_last(call, 0))
        qn_onnx_out_last(call, 0, qn_onnx_in_last(call, 0));
    else
        out_moved(call, 0, qn_onnx_in(call, 0));
}

/* Channels-last where every input is, with the axis moved along. */
static void map_concat(qn_onnx_call *call)
{
    enum { MANY = 1024 };
    qn_value inputs[MANY] = {QN_NONE};
    int count = 0, given = call->node->inputs_count;
    bool last = given > 0 && given <= MANY;
    for (int i = 0; i < given && last; i++)
        last = qn_onnx_is_last(call, i);
    if (given == 0 || given > MANY) {
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "%d inputs, 1 to %d are read", given, (int)MANY);
        return;
    }
    for (int i = 0; i < given; i++)
        inputs[count++] = last ? qn_onnx_in_last(call, i) : qn_onnx_in(call, i);
    int rank = qn_onnx_type(call, inputs[0])->shape.rank;
    int axis =
        qn_onnx_axis(call, qn_onnx_attr_i(call, "axis", call->version < 4 ? 1 : 0), rank, false);
    if (last)
        axis = axis == 0 ? 0 : axis == 1 ? rank - 1 : axis - 1;
    qn_attr attr = QN_ATTR_I("axis", axis);
    qn_value y = qn_onnx_emit(call, "Concat", inputs, count, &attr, 1);
    if (last)
        qn_onnx_out_last(call, 0, y);
    else
        out_moved(call, 0, y);
}

/* --- slices --- */

typedef struct {
    int64_t start, end, step;
    int axis;
} cut;

/* Bounds as ONNX clamps them, turned to a range that counts upwards where the step is negative. */
static qn_value cut_axis(qn_onnx_call *call, qn_value x, cut c)
{
    int64_t size = qn_onnx_type(call, x)->shape.dims[c.axis];
    if (size < 0 && c.start == 0 && c.end >= INT32_MAX && c.step == 1)
        return x;
    if (size < 0) {
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "dimension %d is open and cannot be cut", c.axis);
        return QN_NONE;
    }
    int64_t low = c.step < 0 ? -1 : 0, high = c.step < 0 ? size - 1 : size;
    c.start = qn_max_i64(
        low, qn_min_i64(c.start < 0 ? qn_max_i64(c.start, -size - 1) + size : c.start, high));
    c.end =
        qn_max_i64(low, qn_min_i64(c.end < 0 ? qn_max_i64(c.end, -size - 1) + size : c.end, high));
    if (c.step == 1)
        return qn_onnx_slice(call, x, c.axis, c.start, qn_max_i64(c.start, c.end));
    QN_ASSERT(c.step != 0); /* who reads the attributes refuses it */
    int64_t span = c.step > 0 ? c.end - c.start : c.start - c.end;
    int64_t stride = c.step > 0 ? c.step : c.step == INT64_MIN ? INT64_MAX : -c.step;
    int64_t count = span > 0 ? (span - 1) / stride + 1 : 0;
    int64_t *rows = qn_onnx_numbers(call, count, sizeof(int64_t));
    if (!rows)
        return QN_NONE;
    for (int64_t i = 0; i < count; i++)
        rows[i] = c.start + i * c.step;
    qn_tensor tensor = qn_tensor_of(rows, QN_DTYPE_I64, QN_SHAPE(count));
    return gather(call, x, qn_onnx_constant(call, &tensor), c.axis);
}

static void map_slice(qn_onnx_call *call)
{
    int64_t starts[QN_RANK_MAX], ends[QN_RANK_MAX], axes[QN_RANK_MAX], steps[QN_RANK_MAX];
    int count = 0, ends_count = 0, axes_count = 0, steps_count = 0;
    qn_value x = qn_onnx_in(call, 0);
    int rank = qn_onnx_type(call, x)->shape.rank;
    if (call->version < 10) {
        count = qn_onnx_attr_ints(call, "starts", starts, QN_RANK_MAX);
        ends_count = qn_onnx_attr_ints(call, "ends", ends, QN_RANK_MAX);
        axes_count = qn_onnx_attr_ints(call, "axes", axes, QN_RANK_MAX);
    } else if (!qn_onnx_const_ints(call, 1, starts, QN_RANK_MAX, &count) ||
               !qn_onnx_const_ints(call, 2, ends, QN_RANK_MAX, &ends_count) ||
               (qn_onnx_has(call, 3) &&
                !qn_onnx_const_ints(call, 3, axes, QN_RANK_MAX, &axes_count)) ||
               (qn_onnx_has(call, 4) &&
                !qn_onnx_const_ints(call, 4, steps, QN_RANK_MAX, &steps_count)))
        return;
    if (count != ends_count || (axes_count && axes_count != count) ||
        (steps_count && steps_count != count))
        qn_onnx_fail(call, QN_ERR_DATA, "starts, ends, axes and steps differ in number");
    for (int i = 0; i < count && call->status == QN_OK; i++) {
        cut c = {starts[i], ends[i], steps_count ? steps[i] : 1,
                 qn_onnx_axis(call, axes_count ? axes[i] : i, rank, false)};
        if (c.step == 0 || qn_onnx_is_symbol(c.start) || qn_onnx_is_symbol(c.step))
            qn_onnx_fail(call, QN_ERR_UNSUPPORTED,
                         "a step of 0, or a start that depends on an open size");
        if (qn_onnx_is_symbol(c.end) && c.start == 0 && c.step == 1 && call->status == QN_OK &&
            qn_onnx_type(call, x)->shape.dims[c.axis] == QN_ONNX_SYMBOL(c.end))
            continue; /* all of an open dimension */
        if (qn_onnx_is_symbol(c.end))
            qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "an end that depends on an open size");
        if (call->status == QN_OK)
            x = cut_axis(call, x, c);
    }
    out_moved(call, 0, x);
}

/* Parts of the sizes given by an attribute or input, or equal ones as many as there are outputs. */
static void map_split(qn_onnx_call *call)
{
    enum { PARTS = 1024 };
    int64_t sizes[PARTS];
    int count = qn_onnx_attr_ints(call, "split", sizes, PARTS);
    qn_value x = qn_onnx_in(call, 0);
    qn_shape shape = qn_onnx_type(call, x)->shape;
    int axis = qn_onnx_axis(call, qn_onnx_attr_i(call, "axis", 0), shape.rank, false);
    if (qn_onnx_has(call, 1) && !qn_onnx_const_ints(call, 1, sizes, PARTS, &count))
        return;
    int parts = call->node->outputs_count;
    int64_t size = call->status == QN_OK ? shape.dims[axis] : 1,
            each = parts ? (size + parts - 1) / parts : 0;
    if (size < 0 || parts > PARTS || (count && count != parts)) {
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED,
                     "%d outputs for %d parts of a dimension of size %lld", parts, count,
                     (long long)size);
        return;
    }
    int64_t at = 0;
    for (int i = 0; i < parts && call->status == QN_OK; i++) {
        int64_t length = count ? sizes[i] : qn_min_i64(each, size - at);
        if (length < 0 || length > size - at)
            qn_onnx_fail(call, QN_ERR_DATA, "part %d has size %lld, %lld are left", i,
                         (long long)length, (long long)(size - at));
        else
            out_moved(call, i, qn_onnx_slice(call, x, axis, at, at + length));
        at += length;
    }
}

/* Repeats along each dimension: [.., n, ..] is seen as [.., 1, n, ..], spread and seen as [.., r n, ..]. */
static void map_tile(qn_onnx_call *call)
{
    int64_t repeats[QN_RANK_MAX];
    int count = 0;
    qn_value x = qn_onnx_in(call, 0);
    qn_shape shape = qn_onnx_type(call, x)->shape;
    if (!qn_onnx_const_ints(call, 1, repeats, QN_RANK_MAX, &count))
        return;
    if (count != shape.rank)
        qn_onnx_fail(call, QN_ERR_DATA, "%d repeats for %d dimensions", count, shape.rank);
    for (int d = 0; d < shape.rank && call->status == QN_OK; d++) {
        if (repeats[d] == 1)
            continue;
        qn_value copies[64];
        if (repeats[d] < 0 || repeats[d] > 64) {
            qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "%lld repeats, 0 to 64 are read",
                         (long long)repeats[d]);
            return;
        }
        if (repeats[d] == 0) {
            x = qn_onnx_slice(call, x, d, 0, 0);
            continue;
        }
        for (int64_t i = 0; i < repeats[d]; i++)
            copies[i] = x;
        qn_attr attr = QN_ATTR_I("axis", d);
        x = qn_onnx_emit(call, "Concat", copies, (int)repeats[d], &attr, 1);
    }
    out_moved(call, 0, x);
}

/* --- padding --- */

/* Places of an axis that the padded one reads: mirrored, clamped or wrapped around. */
static int64_t place_of(const char *mode, int64_t at, int64_t size)
{
    if (strcmp(mode, "edge") == 0)
        return at < 0 ? 0 : at >= size ? size - 1 : at;
    if (strcmp(mode, "wrap") == 0)
        return (at % size + size) % size;
    int64_t period = size > 1 ? 2 * (size - 1) : 1;
    int64_t turn = (at % period + period) % period;
    return turn < size ? turn : period - turn;
}

static qn_value pad_by_places(qn_onnx_call *call, qn_value x, int axis, int64_t begin, int64_t end,
                              const char *mode)
{
    int64_t size = qn_onnx_type(call, x)->shape.dims[axis], total = 0;
    if (size < 1 || !qn_add_i64(begin, end, &total) || !qn_add_i64(total, size, &total) ||
        total < 0 || total > INT32_MAX) {
        qn_onnx_fail(call, QN_ERR_DATA, "cannot pad dimension %d of size %lld", axis,
                     (long long)size);
        return QN_NONE;
    }
    int64_t *places = qn_onnx_numbers(call, total, sizeof(int64_t));
    if (!places)
        return QN_NONE;
    for (int64_t i = 0; i < total; i++)
        places[i] = place_of(mode, i - begin, size);
    qn_tensor tensor = qn_tensor_of(places, QN_DTYPE_I64, QN_SHAPE(total));
    return gather(call, x, qn_onnx_constant(call, &tensor), axis);
}

/* pads: all begins, then all ends, for the axes given (all by default). False after an error. */
static bool read_pads(qn_onnx_call *call, int rank, int64_t begins[QN_RANK_MAX],
                      int64_t ends[QN_RANK_MAX], double *value)
{
    int64_t pads[2 * QN_RANK_MAX], axes[QN_RANK_MAX];
    int count =
        qn_onnx_attr_ints(call, call->version < 2 ? "paddings" : "pads", pads, 2 * QN_RANK_MAX);
    int axes_count = 0;
    *value = qn_onnx_attr_f(call, "value", 0);
    if (call->version >= 11 && !qn_onnx_const_ints(call, 1, pads, 2 * QN_RANK_MAX, &count))
        return false;
    if (qn_onnx_has(call, 2) && !qn_onnx_const_number(call, 2, value))
        return false;
    if (qn_onnx_has(call, 3) && !qn_onnx_const_ints(call, 3, axes, QN_RANK_MAX, &axes_count))
        return false;
    int given = qn_onnx_has(call, 3) ? axes_count : rank;
    if (count != 2 * given) {
        qn_onnx_fail(call, QN_ERR_DATA, "%d pads for %d dimensions", count, given);
        return false;
    }
    for (int i = 0; i < given; i++) {
        int axis = qn_onnx_axis(call, axes_count ? axes[i] : i, rank, false);
        begins[axis] = pads[i];
        ends[axis] = pads[given + i];
        if (llabs(pads[i]) > INT32_MAX || llabs(pads[given + i]) > INT32_MAX)
            qn_onnx_fail(call, QN_ERR_DATA, "a pad of %lld", (long long)pads[i]);
    }
    return call->status == QN_OK;
}

static void map_pad(qn_onnx_call *call)
{
    int64_t begins[QN_RANK_MAX] = {0}, ends[QN_RANK_MAX] = {0};
    double number;
    const char *mode = qn_onnx_attr_s(call, "mode", "constant");
    qn_value x = qn_onnx_in(call, 0);
    int rank = qn_onnx_type(call, x)->shape.rank;
    if (call->status != QN_OK || !read_pads(call, rank, begins, ends, &number))
        return;
    for (int d = 0; d < rank; d++) { /* negative pads cut */
        qn_shape shape = qn_onnx_type(call, x)->shape;
        int64_t from = qn_max_i64(0, -begins[d]), to = shape.dims[d] - qn_max_i64(0, -ends[d]);
        if (from > 0 || ends[d] < 0)
            x = qn_onnx_slice(call, x, d, from, to);
        begins[d] = qn_max_i64(0, begins[d]);
        ends[d] = qn_max_i64(0, ends[d]);
        if (strcmp(mode, "constant") != 0 && begins[d] + ends[d] > 0 && call->status == QN_OK)
            x = pad_by_places(call, x, d, begins[d], ends[d], mode);
    }
    qn_attr attrs[] = {qn_onnx_list("begins", begins, rank), qn_onnx_list("ends", ends, rank),
                       QN_ATTR_F("value", number)};
    bool constant = strcmp(mode, "constant") == 0 && rank > 0;
    out_moved(call, 0, constant ? qn_onnx_emit(call, "Pad", &x, 1, attrs, 3) : x);
}

/* --- constants computed here --- */

/* 0, 1, 2, ... up to an open size: counted while the plan runs. */
static bool map_open_range(qn_onnx_call *call)
{
    int64_t ends[3];
    int count = 0;
    qn_dtype dtype = qn_onnx_type(call, qn_onnx_in(call, 1))->dtype;
    if (call->status != QN_OK || !qn_onnx_is_symbolic(call, qn_onnx_in(call, 1)))
        return false;
    for (int i = 0; i < 3; i++)
        if (!qn_onnx_const_ints(call, i, &ends[i], 1, &count))
            return true;
    if (ends[0] != 0 || ends[2] != 1 || ends[1] == QN_ONNX_UNKNOWN)
        return false;
    qn_attr axis = QN_ATTR_I("axis", 0);
    qn_value one = qn_onnx_scalar(call, dtype, 1);
    qn_value ones = spread(call, one, &QN_SHAPE(QN_ONNX_SYMBOL(ends[1])));
    qn_value places = qn_onnx_emit(call, "CumSum", &ones, 1, &axis, 1);
    qn_onnx_out(call, 0, qn_onnx_emit2(call, "Sub", places, one));
    return true;
}

static void map_range(qn_onnx_call *call)
{
    double start, limit, delta;
    if (map_open_range(call))
        return;
    if (!qn_onnx_const_number(call, 0, &start) || !qn_onnx_const_number(call, 1, &limit) ||
        !qn_onnx_const_number(call, 2, &delta))
        return;
    qn_dtype dtype = qn_onnx_type(call, qn_onnx_in(call, 0))->dtype;
    double exact = delta != 0 ? ceil((limit - start) / delta) : -1;
    if (!(exact < 1e9) || delta == 0) {
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "a range from %g to %g by %g", start, limit, delta);
        return;
    }
    int64_t count = exact > 0 ? (int64_t)exact : 0;
    double *numbers = qn_onnx_numbers(call, count, sizeof(double));
    if (!numbers)
        return;
    for (int64_t i = 0; i < count; i++)
        numbers[i] = start + (double)i * delta;
    qn_tensor tensor = qn_tensor_of(numbers, QN_DTYPE_F64, QN_SHAPE(count));
    qn_onnx_out(call, 0, qn_onnx_cast(call, qn_onnx_constant(call, &tensor), dtype));
}

/* A constant of the element type that the file names by number. */
static bool dtype_of_elem(qn_onnx_call *call, int64_t elem, qn_dtype *ret)
{
    if (elem > 0 && elem < QN_ONNX_ELEM_COUNT && qn_onnx_elem_dtype((int)elem, ret) &&
        qn_onnx_elem_of(*ret) == (int)elem)
        return true;
    qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "elements of type %lld (%s)", (long long)elem,
                 qn_onnx_elem_name((int)elem));
    return false;
}

static void map_eye_like(qn_onnx_call *call)
{
    qn_value x = qn_onnx_in(call, 0);
    qn_type type = *qn_onnx_type(call, x);
    qn_dtype dtype = type.dtype;
    int64_t k = qn_onnx_attr_i(call, "k", 0), elem = qn_onnx_attr_i(call, "dtype", 0);
    if (elem && !dtype_of_elem(call, elem, &dtype))
        return;
    int64_t count = qn_shape_count(&type.shape);
    if (count < 0 || type.shape.rank != 2) {
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "expected a matrix of known sizes");
        return;
    }
    double *numbers = qn_onnx_numbers(call, count, sizeof(double));
    if (!numbers)
        return;
    for (int64_t row = 0; row < type.shape.dims[0]; row++)
        if (row + k >= 0 && row + k < type.shape.dims[1])
            numbers[row * type.shape.dims[1] + row + k] = 1;
    qn_tensor tensor = qn_tensor_of(numbers, QN_DTYPE_F64, type.shape);
    qn_onnx_out(call, 0, qn_onnx_cast(call, qn_onnx_constant(call, &tensor), dtype));
}

/* Elements above (or below) a diagonal become 0: x where a constant mask says so. */
static void map_trilu(qn_onnx_call *call)
{
    double k = 0;
    bool upper = qn_onnx_attr_i(call, "upper", 1) != 0;
    qn_value x = qn_onnx_in(call, 0);
    qn_type type = *qn_onnx_type(call, x);
    int rank = type.shape.rank;
    if (qn_onnx_has(call, 1) && !qn_onnx_const_number(call, 1, &k))
        return;
    int64_t rows = rank < 2 ? -1 : type.shape.dims[rank - 2],
            columns = rank < 2 ? -1 : type.shape.dims[rank - 1];
    int64_t count = 0;
    if (rows < 0 || columns < 0 || !qn_mul_i64(rows, columns, &count) || count > 1 << 28) {
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "expected matrices of known sizes");
        return;
    }
    uint8_t *mask = qn_onnx_numbers(call, count, sizeof(uint8_t));
    if (!mask)
        return;
    for (int64_t i = 0; i < count; i++) {
        double over = (double)(i % columns) - (double)(i / columns) - k;
        mask[i] = upper ? over >= 0 : over <= 0;
    }
    qn_tensor tensor = qn_tensor_of(mask, QN_DTYPE_BOOL, QN_SHAPE(rows, columns));
    qn_value inputs[] = {qn_onnx_constant(call, &tensor), x, qn_onnx_scalar(call, type.dtype, 0)};
    qn_onnx_out(call, 0, qn_onnx_emit(call, "Where", inputs, 3, NULL, 0));
}

/* --- picking --- */

/* Negative places count from the end. */
static qn_value wrap_places(qn_onnx_call *call, qn_value places, int64_t size)
{
    places = qn_onnx_cast(call, places, QN_DTYPE_I64);
    qn_value zero = qn_onnx_scalar(call, QN_DTYPE_I64, 0),
             end = qn_onnx_scalar(call, QN_DTYPE_I64, (double)size);
    qn_value negative = qn_onnx_emit2(call, "Less", places, zero);
    qn_value wrapped = qn_onnx_emit2(call, "Add", places, end);
    return qn_onnx_emit(call, "Where", (qn_value[]){negative, wrapped, places}, 3, NULL, 0);
}

static bool has_negative(const qn_tensor *places)
{
    int64_t count = qn_shape_count(&places->shape);
    for (int64_t i = 0; i < count; i++)
        if (qn_tensor_f64_at(places, i) < 0)
            return true;
    return false;
}

static void map_gather(qn_onnx_call *call)
{
    qn_value x = qn_onnx_in(call, 0), places = qn_onnx_in(call, 1);
    qn_tensor tensor;
    qn_shape shape = qn_onnx_type(call, x)->shape;
    int axis = qn_onnx_axis(call, qn_onnx_attr_i(call, "axis", 0), shape.rank, false);
    if (call->status != QN_OK)
        return;
    bool known = qn_graph_const_read(call->graph, places, &tensor) && !has_negative(&tensor);
    places = qn_onnx_cast(call, places, QN_DTYPE_I64);
    if (!known && shape.dims[axis] >= 0)
        places = wrap_places(call, places, shape.dims[axis]);
    out_moved(call, 0, gather(call, x, places, axis));
}

static void map_one_hot(qn_onnx_call *call)
{
    double depth;
    qn_tensor values;
    qn_value places = qn_onnx_in(call, 0);
    if (!qn_onnx_const_number(call, 1, &depth) || !qn_onnx_const_tensor(call, 2, &values))
        return;
    int rank = qn_onnx_type(call, places)->shape.rank;
    int axis = qn_onnx_axis(call, qn_onnx_attr_i(call, "axis", -1), rank + 1, false);
    if (!(depth >= 1 && depth < 1e9) || qn_shape_count(&values.shape) != 2 ||
        rank + 1 > QN_RANK_MAX) {
        qn_onnx_fail(call, QN_ERR_DATA, "expected a depth of at least 1 and two values");
        return;
    }
    places = qn_onnx_cast(call, places, QN_DTYPE_I64);
    qn_attr attrs[] = {QN_ATTR_I("depth", (int64_t)depth), QN_ATTR_S("dtype", "f32")};
    qn_value hot = qn_onnx_emit(call, "OneHot", &places, 1, attrs, 2);
    int64_t perm[QN_RANK_MAX];
    for (int i = 0; i <= rank; i++)
        perm[i] = i < axis ? i : i == axis ? rank : i - 1;
    hot = qn_onnx_cast(call, qn_onnx_transpose(call, hot, perm), QN_DTYPE_BOOL);
    qn_value off = qn_onnx_cast(
        call, qn_onnx_scalar(call, QN_DTYPE_F64, qn_tensor_f64_at(&values, 0)), values.dtype);
    qn_value on = qn_onnx_cast(
        call, qn_onnx_scalar(call, QN_DTYPE_F64, qn_tensor_f64_at(&values, 1)), values.dtype);
    qn_onnx_out(call, 0, qn_onnx_emit(call, "Where", (qn_value[]){hot, on, off}, 3, NULL, 0));
}

#define FORM "the form must be a constant"

const qn_onnx_row qn_onnx_rows_shape[] = {
    QN_ONNX_ROW("Shape", 1, map_shape),
    QN_ONNX_ROW("Size", 1, map_size),
    QN_ONNX_ROW("Constant", 1, map_constant),
    QN_ONNX_NOTED("ConstantOfShape", 9, map_constant_of_shape, FORM),
    QN_ONNX_NOTED("Expand", 8, map_expand, FORM),
    QN_ONNX_NOTED("Reshape", 1, map_reshape, FORM),
    QN_ONNX_NOTED("Squeeze", 1, map_squeeze, FORM),
    QN_ONNX_NOTED("Unsqueeze", 1, map_unsqueeze, FORM),
    QN_ONNX_ROW("Flatten", 1, map_flatten),
    QN_ONNX_ROW("Transpose", 1, map_transpose),
    QN_ONNX_ROW("Identity", 1, map_identity),
    QN_ONNX_ROW("Concat", 1, map_concat),
    QN_ONNX_NOTED("Slice", 1, map_slice, FORM),
    QN_ONNX_NOTED("Split", 2, map_split, FORM),
    QN_ONNX_NOTED("Tile", 6, map_tile, "at most 64 repeats, constant"),
    QN_ONNX_NOTED("Pad", 1, map_pad, FORM),
    QN_ONNX_NOTED("Range", 11, map_range, "of constants, or from 0 to an open size by 1"),
    QN_ONNX_ROW("EyeLike", 9, map_eye_like),
    QN_ONNX_NOTED("Trilu", 14, map_trilu, "matrices of known sizes"),
    QN_ONNX_ROW("Gather", 1, map_gather),
    QN_ONNX_NOTED("OneHot", 9, map_one_hot, "depth and values are constants"),
    {0},
};
