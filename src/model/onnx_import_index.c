/*
 * ONNX operators that pick, scatter, order and count along axes, resize, and those whose result's shape depends on
 * values: these are computed while importing and need constant inputs.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "model/onnx_import_priv.h"

static qn_value whole_constant(qn_onnx_call *call, int64_t *numbers, qn_shape shape)
{
    qn_tensor tensor = qn_tensor_of(numbers, QN_DTYPE_I64, shape);
    return qn_onnx_constant(call, &tensor);
}

/* --- picking and scattering: rows of ours take i64 places that may be negative --- */

static void map_by_places(qn_onnx_call *call)
{
    bool nd = strstr(call->node->op, "ND") != NULL, gathers = call->node->op[0] == 'G';
    const char *op = strcmp(call->node->op, "Scatter") == 0 ? "ScatterElements" : call->node->op;
    qn_value inputs[3] = {qn_onnx_in(call, 0),
                          qn_onnx_cast(call, qn_onnx_in(call, 1), QN_DTYPE_I64), QN_NONE};
    if (!gathers)
        inputs[2] = qn_onnx_in(call, 2);
    qn_attr attrs[2];
    int count = 0;
    if (nd && gathers)
        attrs[count++] = QN_ATTR_I("batch_dims", qn_onnx_attr_i(call, "batch_dims", 0));
    else if (!nd)
        attrs[count++] = QN_ATTR_I("axis", qn_onnx_attr_i(call, "axis", 0));
    if (!gathers)
        attrs[count++] = QN_ATTR_S("reduction", qn_onnx_attr_s(call, "reduction", "none"));
    qn_onnx_out(call, 0, qn_onnx_emit(call, op, inputs, gathers ? 2 : 3, attrs, count));
}

/* Before opset 10 k is an attribute. */
static void map_top_k(qn_onnx_call *call)
{
    double k = (double)qn_onnx_attr_i(call, "k", 0);
    qn_value x = qn_onnx_in(call, 0), outputs[2];
    if (qn_onnx_has(call, 1) && !qn_onnx_const_number(call, 1, &k))
        return;
    qn_attr attrs[] = {QN_ATTR_I("k", (int64_t)k),
                       QN_ATTR_I("axis", qn_onnx_attr_i(call, "axis", -1)),
                       QN_ATTR_I("largest", qn_onnx_attr_i(call, "largest", 1) != 0),
                       QN_ATTR_I("sorted", qn_onnx_attr_i(call, "sorted", 1) != 0)};
    qn_onnx_emit_many(call, "TopK", &x, 1, attrs, 4, outputs, 2);
    qn_onnx_out(call, 0, outputs[0]);
    qn_onnx_out(call, 1, outputs[1]);
}

static void map_scan(qn_onnx_call *call)
{
    double axis;
    qn_value x = qn_onnx_in(call, 0);
    if (!qn_onnx_const_number(call, 1, &axis))
        return;
    qn_attr attrs[] = {QN_ATTR_I("axis", (int64_t)axis),
                       QN_ATTR_I("exclusive", qn_onnx_attr_i(call, "exclusive", 0) != 0),
                       QN_ATTR_I("reverse", qn_onnx_attr_i(call, "reverse", 0) != 0)};
    qn_onnx_out(call, 0, qn_onnx_emit(call, call->node->op, &x, 1, attrs, 3));
}

static void map_reverse(qn_onnx_call *call)
{
    qn_value inputs[] = {qn_onnx_in(call, 0),
                         qn_onnx_cast(call, qn_onnx_in(call, 1), QN_DTYPE_I64)};
    qn_attr attrs[] = {QN_ATTR_I("batch_axis", qn_onnx_attr_i(call, "batch_axis", 1)),
                       QN_ATTR_I("time_axis", qn_onnx_attr_i(call, "time_axis", 0))};
    qn_onnx_out(call, 0, qn_onnx_emit(call, "ReverseSequence", inputs, 2, attrs, 2));
}

static void map_window(qn_onnx_call *call)
{
    double size;
    qn_dtype dtype = QN_DTYPE_F32;
    if (!qn_onnx_const_number(call, 0, &size))
        return;
    int elem = (int)qn_onnx_attr_i(call, "output_datatype", QN_ONNX_FLOAT);
    qn_attr attrs[] = {QN_ATTR_I("size", (int64_t)size),
                       QN_ATTR_I("periodic", qn_onnx_attr_i(call, "periodic", 1)),
                       QN_ATTR_S("dtype", "f64")};
    qn_value window = qn_onnx_emit(call, call->node->op, NULL, 0, attrs, 3);
    if (!qn_onnx_elem_dtype(elem, &dtype))
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "elements of type %d", elem);
    qn_onnx_out(call, 0, qn_onnx_cast(call, window, dtype));
}

/* Each row of a batch goes into the cache from its own place on; around the end in circular mode. */
static void map_tensor_scatter(qn_onnx_call *call)
{
    qn_value cache = qn_onnx_in(call, 0), update = qn_onnx_in(call, 1);
    qn_type type = *qn_onnx_type(call, cache), given = *qn_onnx_type(call, update);
    int rank = type.shape.rank,
        axis = qn_onnx_axis(call, qn_onnx_attr_i(call, "axis", -2), rank, false);
    bool circular = strcmp(qn_onnx_attr_s(call, "mode", "linear"), "circular") == 0;
    int64_t count = qn_shape_count(&given.shape),
            size = call->status == QN_OK ? type.shape.dims[axis] : 1;
    int64_t *places = qn_onnx_numbers(call, count, sizeof *places);
    if (!places)
        return;
    int64_t inner = 1;
    for (int i = axis + 1; i < rank; i++)
        inner *= given.shape.dims[i];
    for (int64_t i = 0; i < count; i++)
        places[i] = i / inner % given.shape.dims[axis];
    qn_value at = whole_constant(call, places, given.shape);
    if (qn_onnx_has(call, 2)) {
        qn_shape column = {.rank = rank};
        for (int i = 0; i < rank; i++)
            column.dims[i] = i == 0 ? given.shape.dims[0] : 1;
        qn_value starts = qn_onnx_cast(call, qn_onnx_in(call, 2), QN_DTYPE_I64);
        at = qn_onnx_emit2(call, "Add", at, qn_onnx_reshape(call, starts, &column));
    }
    if (circular)
        at = qn_onnx_emit2(call, "Mod", at, qn_onnx_scalar(call, QN_DTYPE_I64, (double)size));
    qn_attr attr = QN_ATTR_I("axis", axis);
    qn_value inputs[] = {cache, at, update};
    qn_onnx_out(call, 0, qn_onnx_emit(call, "ScatterElements", inputs, 3, &attr, 1));
}

/* --- resizing --- */

/* Sizes of the result and the scales, from whichever is given. */
typedef struct {
    int64_t sizes[QN_RANK_MAX];
    double scales[QN_RANK_MAX];
    double roi[2 * QN_RANK_MAX];
    bool has_roi;
} resizing;

static bool read_numbers(qn_onnx_call *call, int input, double *dst, int64_t count)
{
    qn_tensor tensor;
    if (!qn_onnx_const_tensor(call, input, &tensor))
        return false;
    if (qn_shape_count(&tensor.shape) != count)
        qn_onnx_fail(call, QN_ERR_DATA, "input %d has %lld numbers, expected %lld", input,
                     (long long)qn_shape_count(&tensor.shape), (long long)count);
    for (int64_t i = 0; i < count && call->status == QN_OK; i++)
        dst[i] = qn_tensor_f64_at(&tensor, i);
    return call->status == QN_OK;
}

/* Sizes of the result; of an open dimension only its own, which becomes -HUGE_VAL. */
static bool read_sizes(qn_onnx_call *call, int input, const qn_shape *x, const int64_t *axes,
                       double *dst, int count)
{
    int64_t sizes[QN_RANK_MAX];
    int given = 0;
    if (!qn_onnx_const_ints(call, input, sizes, QN_RANK_MAX, &given))
        return false;
    if (given != count)
        qn_onnx_fail(call, QN_ERR_DATA, "%d sizes, expected %d", given, count);
    for (int i = 0; i < count && call->status == QN_OK; i++) {
        bool open = qn_onnx_is_symbol(sizes[i]);
        if (open && (sizes[i] == QN_ONNX_UNKNOWN || QN_ONNX_SYMBOL(sizes[i]) != x->dims[axes[i]]))
            qn_onnx_fail(
                call, QN_ERR_UNSUPPORTED,
                "an open size of dimension %lld that is not its own; give the inputs' sizes",
                (long long)axes[i]);
        dst[i] = open ? -HUGE_VAL : (double)sizes[i];
    }
    return call->status == QN_OK;
}

static bool is_empty_input(qn_onnx_call *call, int input)
{
    return !qn_onnx_has(call, input) ||
           qn_shape_count(&qn_onnx_type(call, qn_onnx_in(call, input))->shape) == 0;
}

/* keep_aspect_ratio_policy: one scale for all axes, the least or the greatest. */
static void keep_aspect(const char *policy, const int64_t *axes, int count, const qn_shape *x,
                        double *sizes)
{
    bool smaller = strcmp(policy, "not_larger") == 0, larger = strcmp(policy, "not_smaller") == 0;
    double scale = sizes[0] / (double)x->dims[axes[0]];
    for (int i = 1; i < count; i++) {
        double own = sizes[i] / (double)x->dims[axes[i]];
        scale = smaller ? fmin(scale, own) : fmax(scale, own);
    }
    for (int i = 0; i < count && (smaller || larger); i++)
        sizes[i] = round(scale * (double)x->dims[axes[i]]);
}

static bool read_resizing(qn_onnx_call *call, const qn_shape *x, resizing *r)
{
    double scales[QN_RANK_MAX], sizes[QN_RANK_MAX] = {0}, roi[2 * QN_RANK_MAX];
    int64_t axes[QN_RANK_MAX];
    bool modern = call->version >= 11 && strcmp(call->node->op, "Resize") == 0;
    int count = qn_onnx_attr_ints(call, "axes", axes, QN_RANK_MAX), scales_at = modern ? 2 : 1;
    bool by_sizes = modern && !is_empty_input(call, 3);
    for (int i = 0; i < count; i++)
        axes[i] = qn_onnx_axis(call, axes[i], x->rank, false);
    for (int i = 0; count == 0 && i < x->rank; i++)
        axes[i] = i;
    count = count ? count : x->rank;
    for (int i = 0; i < x->rank; i++) {
        r->sizes[i] = x->dims[i];
        r->scales[i] = 1;
        r->roi[i] = 0;
        r->roi[x->rank + i] = 1;
    }
    if (by_sizes ? !read_sizes(call, 3, x, axes, sizes, count)
                 : !read_numbers(call, scales_at, scales, count))
        return false;
    if (by_sizes && count > 0)
        keep_aspect(qn_onnx_attr_s(call, "keep_aspect_ratio_policy", "stretch"), axes, count, x,
                    sizes);
    r->has_roi = modern && !is_empty_input(call, 1);
    if (r->has_roi && !read_numbers(call, 1, roi, (int64_t)2 * count))
        return false;
    bool crops = strcmp(qn_onnx_attr_s(call, "coordinate_transformation_mode", "half_pixel"),
                        "tf_crop_and_resize") == 0;
    for (int i = 0; i < count; i++) {
        double size = (double)x->dims[axes[i]];
        /* An open dimension stays as it is. */
        if (size < 0 && (by_sizes ? sizes[i] < 0 : scales[i] == 1))
            continue;
        if (r->has_roi) {
            r->roi[axes[i]] = roi[i];
            r->roi[x->rank + axes[i]] = roi[count + i];
        }
        double span = r->has_roi && crops ? roi[count + i] - roi[i] : 1;
        double to = by_sizes ? sizes[i] : floor(size * span * scales[i]);
        if (!(to >= 0 && to < 1e9) || size < 0) {
            qn_onnx_fail(call, QN_ERR_DATA, "a size of %g on dimension %lld", to,
                         (long long)axes[i]);
            return false;
        }
        if (x->dims[axes[i]] >= 0)
            r->sizes[axes[i]] = (int64_t)to;
        r->scales[axes[i]] = by_sizes ? to / size : scales[i];
    }
    return true;
}

static void move_last(void *list, size_t each, int rank)
{
    char *at = list, held[8];
    memcpy(held, at + each, each);
    memmove(at + each, at + 2 * each, (size_t)(rank - 2) * each);
    memcpy(at + (size_t)(rank - 1) * each, held, each);
}

static qn_value numbers_constant(qn_onnx_call *call, double *numbers, int count, qn_dtype dtype)
{
    qn_tensor tensor = qn_tensor_of(numbers, QN_DTYPE_F64, QN_SHAPE(count));
    return qn_onnx_cast(call, qn_onnx_constant(call, &tensor), dtype);
}

/* Upsample and the first Resize take corners as they are; from opset 11 on the attributes say. */
static void map_resize(qn_onnx_call *call)
{
    bool modern = call->version >= 11 && strcmp(call->node->op, "Resize") == 0;
    bool last = qn_onnx_is_last(call, 0);
    qn_value x = last ? qn_onnx_in_last(call, 0) : qn_onnx_in(call, 0);
    qn_type type = *qn_onnx_type(call, x);
    qn_shape shape = type.shape;
    resizing r = {0};
    if (last) { /* the file's order */
        int64_t channels = shape.dims[shape.rank - 1];
        memmove(shape.dims + 2, shape.dims + 1, (size_t)(shape.rank - 2) * sizeof *shape.dims);
        shape.dims[1] = channels;
    }
    if (call->status != QN_OK || !read_resizing(call, &shape, &r))
        return;
    if (last) {
        move_last(r.sizes, sizeof *r.sizes, shape.rank);
        move_last(r.scales, sizeof *r.scales, shape.rank);
        move_last(r.roi, sizeof *r.roi, shape.rank);
        move_last(r.roi + shape.rank, sizeof *r.roi, shape.rank);
    }
    qn_attr attrs[] = {
        qn_onnx_list("sizes", r.sizes, shape.rank),
        QN_ATTR_S("mode", qn_onnx_attr_s(call, "mode", "nearest")),
        QN_ATTR_S("coordinate_transformation_mode",
                  modern ? qn_onnx_attr_s(call, "coordinate_transformation_mode", "half_pixel")
                         : "asymmetric"),
        QN_ATTR_S("nearest_mode",
                  modern ? qn_onnx_attr_s(call, "nearest_mode", "round_prefer_floor") : "floor"),
        QN_ATTR_F("cubic_coeff_a", qn_onnx_attr_f(call, "cubic_coeff_a", -0.75)),
        QN_ATTR_I("exclude_outside", qn_onnx_attr_i(call, "exclude_outside", 0)),
        QN_ATTR_F("extrapolation_value", qn_onnx_attr_f(call, "extrapolation_value", 0)),
        QN_ATTR_I("antialias", qn_onnx_attr_i(call, "antialias", 0))};
    attrs[1].s = strcmp(attrs[1].s, "bilinear") == 0 ? "linear" : attrs[1].s;
    qn_dtype dtype = type.dtype == QN_DTYPE_F64 ? QN_DTYPE_F64 : QN_DTYPE_F32;
    qn_value inputs[3] = {qn_onnx_cast(call, x, dtype), QN_NONE,
                          numbers_constant(call, r.scales, shape.rank, dtype)};
    if (r.has_roi)
        inputs[1] = numbers_constant(call, r.roi, 2 * shape.rank, dtype);
    qn_value y = qn_onnx_cast(call, qn_onnx_emit(call, "Resize", inputs, 3, attrs, 8), type.dtype);
    if (last)
        qn_onnx_out_last(call, 0, y);
    else
        qn_onnx_out(call, 0, y);
}

/* Each axis is cut or padded in the middle; the odd one goes to the end. */
static void map_center_crop_pad(qn_onnx_call *call)
{
    int64_t sizes[QN_RANK_MAX], axes[QN_RANK_MAX], begins[QN_RANK_MAX] = {0},
                                                   ends[QN_RANK_MAX] = {0};
    int given = 0, count = qn_onnx_attr_ints(call, "axes", axes, QN_RANK_MAX);
    qn_value x = qn_onnx_in(call, 0);
    qn_shape shape = qn_onnx_type(call, x)->shape;
    if (!qn_onnx_const_ints(call, 1, sizes, QN_RANK_MAX, &given))
        return;
    for (int i = 0; i < given && call->status == QN_OK; i++) {
        int axis = qn_onnx_axis(call, count ? axes[i] : i, shape.rank, false);
        int64_t more = sizes[i] - shape.dims[axis];
        if (more < 0)
            x = qn_onnx_slice(call, x, axis, -more / 2, -more / 2 + sizes[i]);
        begins[axis] = more > 0 ? more / 2 : 0;
        ends[axis] = more > 0 ? more - more / 2 : 0;
    }
    qn_attr attrs[] = {qn_onnx_list("begins", begins, shape.rank),
                       qn_onnx_list("ends", ends, shape.rank)};
    qn_onnx_out(call, 0, qn_onnx_emit(call, "Pad", &x, 1, attrs, 2));
}

/* --- shapes that depend on values --- */

static bool is_true(const qn_tensor *tensor, int64_t i)
{
    return qn_tensor_f64_at(tensor, i) != 0;
}

static void map_non_zero(qn_onnx_call *call)
{
    qn_tensor x;
    if (!qn_onnx_const_tensor(call, 0, &x))
        return;
    int64_t count = qn_shape_count(&x.shape), found = 0;
    int64_t *places =
        qn_onnx_numbers(call, count * (x.shape.rank ? x.shape.rank : 1), sizeof *places);
    if (!places)
        return;
    for (int64_t i = 0; i < count; i++)
        found += is_true(&x, i);
    for (int64_t i = 0, at = 0; i < count; i++) {
        if (!is_true(&x, i))
            continue;
        int64_t rest = i;
        for (int d = x.shape.rank - 1; d >= 0; d--) {
            places[d * found + at] = rest % x.shape.dims[d];
            rest /= x.shape.dims[d];
        }
        at++;
    }
    qn_onnx_out(call, 0, whole_constant(call, places, QN_SHAPE(x.shape.rank, found)));
}

static void map_compress(qn_onnx_call *call)
{
    qn_tensor keep;
    qn_value x = qn_onnx_in(call, 0);
    qn_shape shape = qn_onnx_type(call, x)->shape;
    int axis = 0;
    if (!qn_onnx_const_tensor(call, 1, &keep))
        return;
    if (qn_onnx_attr_find(call, "axis"))
        axis = qn_onnx_axis(call, qn_onnx_attr_i(call, "axis", 0), shape.rank, false);
    else {
        shape = QN_SHAPE(qn_shape_count(&shape));
        x = qn_onnx_reshape(call, x, &shape);
    }
    int64_t count = qn_shape_count(&keep.shape), found = 0;
    int64_t *places = qn_onnx_numbers(call, count, sizeof *places);
    for (int64_t i = 0; places && i < count && i < shape.dims[axis]; i++)
        if (is_true(&keep, i))
            places[found++] = i;
    if (!places)
        return;
    qn_attr attr = QN_ATTR_I("axis", axis);
    qn_value inputs[] = {x, whole_constant(call, places, QN_SHAPE(found))};
    qn_onnx_out(call, 0, qn_onnx_emit(call, "Gather", inputs, 2, &attr, 1));
}

/* --- Unique --- */

typedef struct {
    const qn_tensor *x;
    int64_t count, inner, outer; /* slices along the axis; elements behind and before it */
} slices;

static int compare_slices(const slices *s, int64_t a, int64_t b)
{
    for (int64_t o = 0; o < s->outer; o++)
        for (int64_t i = 0; i < s->inner; i++) {
            double x = qn_tensor_f64_at(s->x, (o * s->count + a) * s->inner + i);
            double y = qn_tensor_f64_at(s->x, (o * s->count + b) * s->inner + i);
            if (x != y)
                return x < y ? -1 : 1;
        }
    return 0;
}

typedef struct {
    int64_t *first, *inverse, *counts; /* [slices] */
    int64_t found;
} uniques;

static void find_uniques(const slices *s, uniques *u)
{
    for (int64_t i = 0; i < s->count; i++) {
        int64_t k = 0;
        while (k < u->found && compare_slices(s, u->first[k], i) != 0)
            k++;
        if (k == u->found) {
            u->first[u->found] = i;
            u->counts[u->found++] = 0;
        }
        u->counts[k]++;
        u->inverse[i] = k;
    }
}

/* By insertion, and the inverse follows: lists of this kind are short. */
static void sort_uniques(const slices *s, uniques *u, int64_t *place)
{
    for (int64_t k = 0; k < u->found; k++)
        place[k] = k;
    for (int64_t i = 1; i < u->found; i++)
        for (int64_t k = i;
             k > 0 && compare_slices(s, u->first[place[k - 1]], u->first[place[k]]) > 0; k--) {
            int64_t held = place[k];
            place[k] = place[k - 1];
            place[k - 1] = held;
        }
}

static void out_uniques(qn_onnx_call *call, qn_value x, int axis, const slices *s, const uniques *u,
                        const int64_t *place)
{
    int64_t *first = qn_onnx_numbers(call, u->found, sizeof *first),
            *counts = qn_onnx_numbers(call, u->found, sizeof *counts);
    int64_t *inverse = qn_onnx_numbers(call, s->count, sizeof *inverse),
            *back = qn_onnx_numbers(call, u->found, sizeof *back);
    if (!first || !counts || !inverse || !back)
        return;
    for (int64_t k = 0; k < u->found; k++) {
        first[k] = u->first[place[k]];
        counts[k] = u->counts[place[k]];
        back[place[k]] = k;
    }
    for (int64_t i = 0; i < s->count; i++)
        inverse[i] = back[u->inverse[i]];
    qn_attr attr = QN_ATTR_I("axis", axis);
    qn_value inputs[] = {x, whole_constant(call, first, QN_SHAPE(u->found))};
    qn_onnx_out(call, 0, qn_onnx_emit(call, "Gather", inputs, 2, &attr, 1));
    qn_onnx_out(call, 1, inputs[1]);
    qn_onnx_out(call, 2, whole_constant(call, inverse, QN_SHAPE(s->count)));
    qn_onnx_out(call, 3, whole_constant(call, counts, QN_SHAPE(u->found)));
}

static void map_unique(qn_onnx_call *call)
{
    enum { SLICES_MAX = 1 << 14 };
    qn_tensor x;
    qn_value value = qn_onnx_in(call, 0);
    int axis = 0;
    if (!qn_onnx_const_tensor(call, 0, &x))
        return;
    if (qn_onnx_attr_find(call, "axis"))
        axis = qn_onnx_axis(call, qn_onnx_attr_i(call, "axis", 0), x.shape.rank, false);
    else {
        x.shape = QN_SHAPE(qn_shape_count(&x.shape));
        x = qn_tensor_of(x.data, x.dtype, x.shape);
        value = qn_onnx_reshape(call, value, &x.shape);
    }
    if (call->status != QN_OK || x.shape.dims[axis] > SLICES_MAX) {
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "more than %d elements to compare", (int)SLICES_MAX);
        return;
    }
    slices s = {&x, x.shape.dims[axis], 1, 1};
    for (int d = 0; d < x.shape.rank; d++)
        *(d < axis ? &s.outer : &s.inner) *= d == axis ? 1 : x.shape.dims[d];
    uniques u = {qn_onnx_numbers(call, s.count, 8), qn_onnx_numbers(call, s.count, 8),
                 qn_onnx_numbers(call, s.count, 8), 0};
    int64_t *place = qn_onnx_numbers(call, s.count, sizeof *place);
    if (call->status != QN_OK)
        return;
    find_uniques(&s, &u);
    for (int64_t k = 0; k < u.found; k++)
        place[k] = k;
    if (qn_onnx_attr_i(call, "sorted", 1))
        sort_uniques(&s, &u, place);
    out_uniques(call, value, axis, &s, &u, place);
}

/* --- NonMaxSuppression --- */

typedef struct {
    qn_tensor boxes, scores; /* [N, B, 4], [N, C, B] */
    bool centred;
    double overlap, least;
    int64_t most;
    int64_t *chosen; /* triples */
    int64_t count;
} suppression;

static void corners(const suppression *s, int64_t box, double ret[4])
{
    double v[4];
    for (int i = 0; i < 4; i++)
        v[i] = qn_tensor_f64_at(&s->boxes, box * 4 + i);
    if (s->centred) { /* centre x, centre y, width, height */
        ret[0] = v[1] - v[3] / 2;
        ret[1] = v[0] - v[2] / 2;
        ret[2] = v[1] + v[3] / 2;
        ret[3] = v[0] + v[2] / 2;
    } else /* y1, x1, y2, x2 of any two opposite corners */
        for (int i = 0; i < 2; i++) {
            ret[i] = fmin(v[i], v[2 + i]);
            ret[2 + i] = fmax(v[i], v[2 + i]);
        }
}

static double overlap_of(const suppression *s, int64_t one, int64_t two)
{
    double a[4], b[4];
    corners(s, one, a);
    corners(s, two, b);
    double height = fmin(a[2], b[2]) - fmax(a[0], b[0]),
           width = fmin(a[3], b[3]) - fmax(a[1], b[1]);
    if (height <= 0 || width <= 0)
        return 0;
    double area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - height * width;
    return area > 0 ? height * width / area : 0;
}

/* The best box that is left, again and again, while it overlaps none chosen before. */
static void suppress(suppression *s, int64_t image, int64_t class, uint8_t *gone)
{
    int64_t boxes = s->boxes.shape.dims[1],
            scores = (image * s->scores.shape.dims[1] + class) * boxes;
    int64_t begin = s->count;
    memset(gone, 0, (size_t)boxes);
    for (;;) {
        int64_t best = -1;
        for (int64_t i = 0; i < boxes; i++)
            if (!gone[i] && qn_tensor_f64_at(&s->scores, scores + i) > s->least &&
                (best < 0 || qn_tensor_f64_at(&s->scores, scores + i) >
                                 qn_tensor_f64_at(&s->scores, scores + best)))
                best = i;
        if (best < 0 || s->count - begin >= s->most)
            return;
        gone[best] = 1;
        bool free = true;
        for (int64_t k = begin; k < s->count && free; k++)
            free = overlap_of(s, image * boxes + s->chosen[3 * k + 2], image * boxes + best) <=
                   s->overlap;
        if (!free)
            continue;
        s->chosen[3 * s->count] = image;
        s->chosen[3 * s->count + 1] = class;
        s->chosen[3 * s->count++ + 2] = best;
    }
}

static void map_suppression(qn_onnx_call *call)
{
    suppression s = {.centred = qn_onnx_attr_i(call, "center_point_box", 0) != 0,
                     .least = -HUGE_VAL};
    double most = 0;
    if (!qn_onnx_const_tensor(call, 0, &s.boxes) || !qn_onnx_const_tensor(call, 1, &s.scores) ||
        (qn_onnx_has(call, 2) && !qn_onnx_const_number(call, 2, &most)) ||
        (qn_onnx_has(call, 3) && !qn_onnx_const_number(call, 3, &s.overlap)) ||
        (qn_onnx_has(call, 4) && !qn_onnx_const_number(call, 4, &s.least)))
        return;
    const int64_t *b = s.boxes.shape.dims, *c = s.scores.shape.dims;
    if (s.boxes.shape.rank != 3 || s.scores.shape.rank != 3 || b[2] != 4 || b[0] != c[0] ||
        b[1] != c[2]) {
        qn_onnx_fail(call, QN_ERR_DATA, "expected boxes [N, B, 4] and scores [N, C, B]");
        return;
    }
    int64_t count = qn_shape_count(&s.scores.shape);
    s.most = most < 0 ? 0 : (int64_t)fmin(most, (double)b[1]);
    s.chosen = qn_onnx_numbers(call, 3 * count, sizeof *s.chosen);
    uint8_t *gone = qn_onnx_numbers(call, b[1], 1);
    for (int64_t i = 0; i < c[0] * c[1] && s.chosen && gone; i++)
        suppress(&s, i / c[1], i % c[1], gone);
    if (s.chosen && gone)
        qn_onnx_out(call, 0, whole_constant(call, s.chosen, QN_SHAPE(s.count, 3)));
}

const qn_onnx_row qn_onnx_rows_index[] = {
    QN_ONNX_ROW("GatherElements", 11, map_by_places),
    QN_ONNX_ROW("GatherND", 11, map_by_places),
    QN_ONNX_ROW("ScatterElements", 11, map_by_places),
    QN_ONNX_ROW("Scatter", 9, map_by_places),
    QN_ONNX_ROW("ScatterND", 11, map_by_places),
    QN_ONNX_NOTED("TopK", 1, map_top_k, "k is a constant"),
    QN_ONNX_NOTED("CumSum", 11, map_scan, "the axis is a constant"),
    QN_ONNX_NOTED("CumProd", 26, map_scan, "the axis is a constant"),
    QN_ONNX_ROW("ReverseSequence", 10, map_reverse),
    QN_ONNX_ROW("HannWindow", 17, map_window),
    QN_ONNX_ROW("HammingWindow", 17, map_window),
    QN_ONNX_ROW("BlackmanWindow", 17, map_window),
    QN_ONNX_ROW("TensorScatter", 24, map_tensor_scatter),
    QN_ONNX_NOTED("Resize", 10, map_resize, "the form must be a constant"),
    QN_ONNX_NOTED("Upsample", 7, map_resize, "the form must be a constant"),
    QN_ONNX_NOTED("CenterCropPad", 18, map_center_crop_pad, "the form must be a constant"),
    QN_ONNX_NOTED("NonZero", 9, map_non_zero, "of constants"),
    QN_ONNX_NOTED("Compress", 9, map_compress, "the condition is a constant"),
    QN_ONNX_NOTED("Unique", 11, map_unique, "of constants"),
    QN_ONNX_NOTED("NonMaxSuppression", 10, map_suppression, "of constants"),
    {0},
};
