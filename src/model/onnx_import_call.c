/*
 * What mappings of ONNX operators are written with: inputs, attributes, nodes, outputs.
 *
 * Symbols. An open size is not a number yet, but programs compute with it: [B, T] -> B * T. A node over constants with
 * symbols is computed twice, with two different numbers in their place. Elements that are equal both times do not depend
 * on them; elements that are the numbers themselves are the symbol still; all others are unknown, which a Reshape may
 * leave to be inferred.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "model/onnx_import_priv.h"

qn_value qn_onnx_fail(qn_onnx_call *call, qn_status code, const char *format, ...)
{
    if (call->status != QN_OK)
        return QN_NONE;
    char text[320];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    const qn_onnx_node *node = call->node;
    call->status = code;
    const char *label = node->name[0] || node->outputs_count == 0 ? node->name : node->outputs[0];
    (void)qn_error_set(&call->err, code, NULL, "node '%.80s' (%.40s, opset %lld): %s", label,
                       node->op, (long long)call->version, text);
    return QN_NONE;
}

/* --- inputs --- */

bool qn_onnx_has(const qn_onnx_call *call, int input)
{
    return input < call->node->inputs_count && call->node->inputs[input][0] != 0;
}

static qn_onnx_value *input_of(qn_onnx_call *call, int input)
{
    if (call->status != QN_OK)
        return NULL;
    if (!qn_onnx_has(call, input)) {
        qn_onnx_fail(call, QN_ERR_DATA, "input %d is missing", input);
        return NULL;
    }
    qn_onnx_value *value = qn_onnx_find(call->importer, call->node->inputs[input]);
    if (!value)
        qn_onnx_fail(call, QN_ERR_DATA, "input %d, '%.80s', is not made by any node before it",
                     input, call->node->inputs[input]);
    return value;
}

qn_value qn_onnx_in(qn_onnx_call *call, int input)
{
    qn_onnx_value *value = input_of(call, input);
    if (value && value->plain == QN_NONE)
        value->plain = qn_onnx_to_first(call, value->last);
    return value ? value->plain : QN_NONE;
}

qn_value qn_onnx_in_last(qn_onnx_call *call, int input)
{
    qn_onnx_value *value = input_of(call, input);
    if (value && value->last == QN_NONE)
        value->last = qn_onnx_to_last(call, value->plain);
    return value ? value->last : QN_NONE;
}

bool qn_onnx_is_last(qn_onnx_call *call, int input)
{
    const qn_onnx_value *value = input_of(call, input);
    return value && value->plain == QN_NONE && value->last != QN_NONE;
}

int qn_onnx_in_elem(qn_onnx_call *call, int input)
{
    const qn_onnx_value *value = input_of(call, input);
    return value ? value->elem : 0;
}

const qn_type *qn_onnx_type(qn_onnx_call *call, qn_value value)
{
    static const qn_type none = {QN_DTYPE_F32, {0, {0}}};
    if (call->status != QN_OK || value == QN_NONE)
        return &none;
    return qn_graph_type(call->graph, value);
}

static bool is_symbolic(const qn_onnx_importer *importer, qn_value value)
{
    return value != QN_NONE && value < importer->marks_max && importer->symbolic[value];
}

/* Symbols and all. */
static bool read_const(qn_onnx_call *call, int input, qn_tensor *ret)
{
    qn_value value = qn_onnx_in(call, input);
    if (value == QN_NONE)
        return false;
    if (qn_graph_const_read(call->graph, value, ret))
        return true;
    qn_onnx_fail(call, QN_ERR_UNSUPPORTED,
                 "input %d, '%.80s', decides a shape or a form and must be a constant", input,
                 call->node->inputs[input]);
    return false;
}

static qn_value fail_open(qn_onnx_call *call)
{
    return qn_onnx_fail(
        call, QN_ERR_UNSUPPORTED,
        "its result depends on an open size (batch or length) in a way that a static "
        "graph cannot; give the inputs' sizes");
}

bool qn_onnx_const_tensor(qn_onnx_call *call, int input, qn_tensor *ret)
{
    if (!read_const(call, input, ret))
        return false;
    if (is_symbolic(call->importer, qn_onnx_in(call, input)))
        fail_open(call);
    return call->status == QN_OK;
}

bool qn_onnx_const_ints(qn_onnx_call *call, int input, int64_t *dst, int max, int *ret_count)
{
    qn_tensor tensor;
    if (!read_const(call, input, &tensor))
        return false;
    int64_t count = qn_shape_count(&tensor.shape);
    if (count > max || tensor.shape.rank > 1) {
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "input %d has %lld elements, at most %d are read",
                     input, (long long)count, max);
        return false;
    }
    qn_tensor_convert(dst, QN_DTYPE_I64, &tensor);
    /* "To the start" is one of the least numbers in files, and not a symbol there. */
    for (int64_t i = 0; i < count; i++)
        if (qn_onnx_is_symbol(dst[i]) && !is_symbolic(call->importer, qn_onnx_in(call, input)))
            dst[i] = INT64_MIN;
    *ret_count = (int)count;
    return true;
}

bool qn_onnx_const_number(qn_onnx_call *call, int input, double *ret)
{
    qn_tensor tensor;
    if (!qn_onnx_const_tensor(call, input, &tensor))
        return false;
    if (qn_shape_count(&tensor.shape) != 1) {
        char text[128];
        qn_onnx_fail(call, QN_ERR_DATA, "input %d is %s, expected one number", input,
                     qn_shape_text(&tensor.shape, text));
        return false;
    }
    *ret = qn_tensor_f64_at(&tensor, 0);
    return true;
}

/* --- attributes --- */

const qn_onnx_attr *qn_onnx_attr_find(const qn_onnx_call *call, const char *name)
{
    for (int i = 0; i < call->node->attrs_count; i++)
        if (strcmp(call->node->attrs[i].name, name) == 0)
            return &call->node->attrs[i];
    return NULL;
}

static const qn_onnx_attr *attr_of(qn_onnx_call *call, const char *name, qn_onnx_attr_kind kind)
{
    const qn_onnx_attr *attr = qn_onnx_attr_find(call, name);
    if (attr && attr->kind != kind) {
        qn_onnx_fail(call, QN_ERR_DATA, "attribute '%s' has kind %d, expected %d", name,
                     (int)attr->kind, (int)kind);
        return NULL;
    }
    return attr;
}

int64_t qn_onnx_attr_i(qn_onnx_call *call, const char *name, int64_t fallback)
{
    const qn_onnx_attr *attr = attr_of(call, name, QN_ONNX_ATTR_INT);
    return attr ? attr->i : fallback;
}

double qn_onnx_attr_f(qn_onnx_call *call, const char *name, double fallback)
{
    const qn_onnx_attr *attr = attr_of(call, name, QN_ONNX_ATTR_FLOAT);
    return attr ? (double)attr->f : fallback;
}

const char *qn_onnx_attr_s(qn_onnx_call *call, const char *name, const char *fallback)
{
    const qn_onnx_attr *attr = attr_of(call, name, QN_ONNX_ATTR_STRING);
    return attr ? attr->s : fallback;
}

int qn_onnx_attr_ints(qn_onnx_call *call, const char *name, int64_t *dst, int max)
{
    const qn_onnx_attr *attr = attr_of(call, name, QN_ONNX_ATTR_INTS);
    if (!attr)
        return 0;
    if (attr->count > max) {
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED,
                     "attribute '%s' has %lld numbers, at most %d are read", name,
                     (long long)attr->count, max);
        return 0;
    }
    if (attr->count > 0)
        memcpy(dst, attr->ints, (size_t)attr->count * sizeof *dst);
    return (int)attr->count;
}

int qn_onnx_axis(qn_onnx_call *call, int64_t axis, int rank, bool end)
{
    int64_t from_start = axis < 0 ? axis + rank : axis;
    if (from_start >= 0 && (from_start < rank || (end && from_start == rank)))
        return (int)from_start;
    qn_onnx_fail(call, QN_ERR_DATA, "axis %lld is outside a tensor of %d dimensions",
                 (long long)axis, rank);
    return 0;
}

qn_attr qn_onnx_list(const char *name, const int64_t *numbers, int count)
{
    /* After an error shapes have no dimensions, and a count made from them may be negative. */
    qn_attr attr = {.name = name, .kind = QN_ATTR_INTS, .count = count < 0 ? 0 : count};
    int kept = attr.count < QN_RANK_MAX ? attr.count : QN_RANK_MAX;
    memcpy(attr.ints, numbers, (size_t)kept * sizeof *numbers);
    return attr;
}

/* --- nodes over constants --- */

/* Batch, length and unknown of two trials and a check. Primes far apart, so that no sum or product of sizes meets the
 * other's; and the smallest sizes, at which a comparison or a minimum says something else than at large ones. */
enum { TRIALS = 3, SMALLEST = 2 };
static const int64_t stand_ins[TRIALS][3] = {
    {1000003, 2000003, 3000017}, {5000011, 7000003, 9000011}, {1, 1, 1}};

static int64_t stand_in(int64_t element, int trial)
{
    const int64_t *sizes = stand_ins[trial];
    if (!qn_onnx_is_symbol(element))
        return element;
    if (element == QN_ONNX_UNKNOWN)
        return sizes[2];
    qn_dim_product product = qn_dim_product_of(&(int64_t){QN_ONNX_SYMBOL(element)}, 1);
    int64_t factors[3] = {product.known, product.batch ? sizes[0] : 1, product.time ? sizes[1] : 1};
    product = qn_dim_product_of(factors, 3);
    return product.known < 0 ? sizes[2] : product.known;
}

/* The same multiple of one symbol in both trials is that symbol. */
static int64_t join_trials(int64_t first, int64_t second)
{
    if (first == second)
        return first;
    for (int kind = 1; kind < 4 && first > 0 && second > 0; kind++) {
        int64_t one = (kind & 1 ? stand_ins[0][0] : 1) * (kind & 2 ? stand_ins[0][1] : 1);
        int64_t two = (kind & 1 ? stand_ins[1][0] : 1) * (kind & 2 ? stand_ins[1][1] : 1), dim;
        qn_dim_product product = {first / one, kind & 1, kind >> 1};
        if (first % one == 0 && second % two == 0 && second / two == product.known &&
            qn_dim_from_product(product, &dim))
            return QN_ONNX_SYMBOL(dim);
    }
    return QN_ONNX_UNKNOWN;
}

/* The inputs with numbers in place of symbols. */
static bool fill_trial(qn_onnx_call *call, const qn_value *inputs, int count, int trial,
                       qn_tensor *dst, qn_arena *scratch)
{
    for (int i = 0; i < count; i++) {
        dst[i] = (qn_tensor){.shape.rank = -1};
        if (inputs[i] == QN_NONE)
            continue;
        if (!qn_graph_const_read(call->graph, inputs[i], &dst[i]))
            return false;
        if (!is_symbolic(call->importer, inputs[i]))
            continue;
        int64_t elements = qn_shape_count(&dst[i].shape);
        const int64_t *from = dst[i].data;
        int64_t *to = QN_NEW(scratch, int64_t, elements + 1);
        if (!to)
            return false;
        for (int64_t k = 0; k < elements; k++)
            to[k] = stand_in(from[k], trial);
        dst[i].data = to;
    }
    return true;
}

/* Does the joined constant say of the smallest sizes what the node makes of them? */
static bool holds_smallest(qn_onnx_call *call, const qn_tensor *joined, qn_value smallest)
{
    qn_tensor tensor;
    if (!qn_graph_const_read(call->graph, smallest, &tensor))
        return false;
    if (joined->dtype != QN_DTYPE_I64)
        return memcmp(joined->data, tensor.data, qn_tensor_bytes(joined)) == 0;
    const int64_t *says = joined->data, *is = tensor.data;
    for (int64_t i = 0; i < qn_shape_count(&joined->shape); i++)
        if (says[i] != QN_ONNX_UNKNOWN && stand_in(says[i], SMALLEST) != is[i])
            return false;
    return true;
}

/* Elements of two results of the same node joined into one constant. */
static qn_value join_results(qn_onnx_call *call, qn_value a, qn_value b)
{
    qn_tensor one, two;
    if (!qn_graph_const_read(call->graph, a, &one) || !qn_graph_const_read(call->graph, b, &two))
        return QN_NONE;
    if (memcmp(one.data, two.data, qn_tensor_bytes(&one)) == 0)
        return a;
    if (one.dtype != QN_DTYPE_I64)
        return QN_NONE; /* a truth or a narrower number that depends on an open size */
    int64_t count = qn_shape_count(&one.shape);
    int64_t *joined = QN_NEW(&call->importer->arena, int64_t, count + 1);
    if (!joined)
        return QN_NONE;
    for (int64_t i = 0; i < count; i++)
        joined[i] = join_trials(((int64_t *)one.data)[i], ((int64_t *)two.data)[i]);
    qn_tensor all = qn_tensor_of(joined, QN_DTYPE_I64, one.shape);
    qn_value made = qn_graph_const(call->graph, &all);
    if (!qn_onnx_mark(call->importer, made, NULL, true))
        return QN_NONE;
    return made;
}

/* Only single outputs: sizes are not computed with others. */
static qn_value fold_symbolic(qn_onnx_call *call, qn_value first, const qn_value *inputs, int count)
{
    enum { BYTES = 1 << 16 };
    qn_arena scratch;
    qn_tensor tensors[TRIALS][64], joined_tensor;
    qn_value results[TRIALS] = {QN_NONE, QN_NONE, QN_NONE};
    bool filled = true, folded = true;
    if (count > 64)
        return QN_NONE;
    qn_arena_init(&scratch, 0);
    for (int trial = 0; trial < TRIALS; trial++)
        filled = filled && fill_trial(call, inputs, count, trial, tensors[trial], &scratch);
    for (int trial = 0; trial < TRIALS && filled; trial++) {
        results[trial] = qn_graph_fold(call->graph, first, tensors[trial], BYTES);
        folded = folded && results[trial] != first;
    }
    qn_arena_deinit(&scratch);
    qn_value joined = filled && folded ? join_results(call, results[0], results[1]) : QN_NONE;
    if (joined != QN_NONE && qn_graph_const_read(call->graph, joined, &joined_tensor) &&
        holds_smallest(call, &joined_tensor, results[SMALLEST]))
        return joined;
    fail_open(call);
    return QN_NONE;
}

/* Of the inputs' weights the first names what is computed from them. */
static const char *weight_of(const qn_onnx_importer *importer, const qn_value *inputs, int count)
{
    for (int i = 0; i < count; i++)
        if (inputs[i] != QN_NONE && inputs[i] < importer->marks_max && importer->weights[inputs[i]])
            return importer->weights[inputs[i]];
    return NULL;
}

static qn_value fold_node(qn_onnx_call *call, qn_value first, const qn_value *inputs, int count,
                          int outputs_count)
{
    qn_onnx_importer *importer = call->importer;
    for (int i = 0; i < count; i++)
        if (is_symbolic(importer, inputs[i]))
            return fold_symbolic(call, first, inputs, count);
    qn_value folded = qn_graph_fold(call->graph, first, NULL, importer->constants_left);
    if (folded == first || folded == QN_NONE)
        return folded;
    const char *weight = weight_of(importer, inputs, count);
    for (int i = 0; i < outputs_count; i++) {
        qn_tensor tensor;
        if (qn_graph_const_read(call->graph, folded + i, &tensor))
            importer->constants_left -= (int64_t)qn_tensor_bytes(&tensor);
        bool is_weight = weight && qn_dtype_is_float(tensor.dtype);
        if (is_weight && !qn_onnx_mark(importer, folded + i, weight, false))
            qn_onnx_fail(call, QN_ERR_MEMORY, "out of memory");
    }
    return folded;
}

/* --- nodes --- */

static qn_value emit_once(qn_onnx_call *call, const char *op, const qn_value *inputs, int count,
                          const qn_attr *attrs, int attrs_count, int outputs_count, qn_error *err)
{
    qn_value first = qn_graph_try(call->graph, op, inputs, count, attrs, attrs_count, err);
    return first == QN_NONE ? QN_NONE : fold_node(call, first, inputs, count, outputs_count);
}

static bool is_half(qn_dtype dtype)
{
    return dtype == QN_DTYPE_F16 || dtype == QN_DTYPE_BF16;
}

/* Does some input have a type of which rows may know less? */
static bool find_narrow(qn_onnx_call *call, const qn_value *inputs, int count, bool half,
                        qn_dtype *ret)
{
    for (int i = 0; i < count; i++) {
        if (inputs[i] == QN_NONE)
            continue;
        qn_dtype dtype = qn_onnx_type(call, inputs[i])->dtype;
        bool whole = !qn_dtype_is_float(dtype) && dtype != QN_DTYPE_BOOL;
        if (half ? is_half(dtype) : whole) {
            *ret = dtype;
            return true;
        }
    }
    return false;
}

typedef struct {
    const char *op;
    const qn_value *inputs;
    int inputs_count;
    const qn_attr *attrs;
    int attrs_count;
    qn_value *outputs;
    int outputs_count;
} emission;

/* All inputs of type `from` (or of both halves) as `to`, and results of `to` turned back. */
static bool emit_widened(qn_onnx_call *call, const emission *e, qn_dtype from, qn_dtype to)
{
    enum { MANY = 64 };
    qn_value wide[MANY];
    qn_error err = {0};
    if (e->inputs_count > MANY)
        return false;
    for (int i = 0; i < e->inputs_count; i++) {
        qn_dtype dtype =
            e->inputs[i] == QN_NONE ? QN_DTYPE_BOOL : qn_onnx_type(call, e->inputs[i])->dtype;
        bool narrow = dtype == from || (is_half(from) && is_half(dtype));
        wide[i] = narrow ? qn_onnx_cast(call, e->inputs[i], to) : e->inputs[i];
    }
    qn_value first = emit_once(call, e->op, wide, e->inputs_count, e->attrs, e->attrs_count,
                               e->outputs_count, &err);
    for (int i = 0; i < e->outputs_count && first != QN_NONE; i++) {
        bool back = qn_onnx_type(call, first + i)->dtype == to;
        e->outputs[i] = back ? qn_onnx_cast(call, first + i, from) : first + i;
    }
    return first != QN_NONE;
}

bool qn_onnx_is_symbolic(const qn_onnx_call *call, qn_value value)
{
    return is_symbolic(call->importer, value);
}

/* Symbols are i64 whatever the file computes sizes in: constants beside one come along. False = none is a symbol. */
static bool widen_beside_symbols(qn_onnx_call *call, const qn_value *inputs, int count,
                                 qn_value *dst, int max)
{
    bool symbolic = false;
    for (int i = 0; i < count; i++)
        symbolic = symbolic || is_symbolic(call->importer, inputs[i]);
    if (!symbolic || count > max)
        return false;
    for (int i = 0; i < count; i++) {
        qn_dtype dtype =
            inputs[i] == QN_NONE ? QN_DTYPE_BOOL : qn_onnx_type(call, inputs[i])->dtype;
        bool whole = !qn_dtype_is_float(dtype) && dtype != QN_DTYPE_BOOL;
        dst[i] = whole ? qn_onnx_cast(call, inputs[i], QN_DTYPE_I64) : inputs[i];
    }
    return true;
}

void qn_onnx_emit_many(qn_onnx_call *call, const char *op, const qn_value *inputs, int inputs_count,
                       const qn_attr *attrs, int attrs_count, qn_value *outputs, int outputs_count)
{
    enum { FEW = 64 };
    qn_value wide[FEW];
    if (widen_beside_symbols(call, inputs, inputs_count, wide, FEW))
        inputs = wide;
    emission e = {op, inputs, inputs_count, attrs, attrs_count, outputs, outputs_count};
    qn_error err = {0};
    qn_dtype narrow;
    for (int i = 0; i < outputs_count; i++)
        outputs[i] = QN_NONE;
    if (call->status != QN_OK)
        return;
    qn_value first =
        emit_once(call, op, inputs, inputs_count, attrs, attrs_count, outputs_count, &err);
    if (first != QN_NONE)
        for (int i = 0; i < outputs_count; i++)
            outputs[i] = first + i;
    if (first != QN_NONE || call->status != QN_OK)
        return;
    bool may_widen = strcmp(op, "Cast") != 0; /* which is how operands are widened */
    if (may_widen && find_narrow(call, inputs, inputs_count, true, &narrow) &&
        emit_widened(call, &e, narrow, QN_DTYPE_F32))
        return;
    if (may_widen && find_narrow(call, inputs, inputs_count, false, &narrow) &&
        (emit_widened(call, &e, narrow, QN_DTYPE_I64) ||
         emit_widened(call, &e, narrow, QN_DTYPE_F64)))
        return;
    qn_onnx_fail(call, err.code == QN_OK ? QN_ERR_MEMORY : err.code, "%s", err.text);
}

qn_value qn_onnx_emit(qn_onnx_call *call, const char *op, const qn_value *inputs, int inputs_count,
                      const qn_attr *attrs, int attrs_count)
{
    qn_value made = QN_NONE;
    qn_onnx_emit_many(call, op, inputs, inputs_count, attrs, attrs_count, &made, 1);
    return made;
}

qn_value qn_onnx_emit1(qn_onnx_call *call, const char *op, qn_value a)
{
    return qn_onnx_emit(call, op, &a, 1, NULL, 0);
}

qn_value qn_onnx_emit2(qn_onnx_call *call, const char *op, qn_value a, qn_value b)
{
    qn_value inputs[] = {a, b};
    return qn_onnx_emit(call, op, inputs, 2, NULL, 0);
}

void *qn_onnx_numbers(qn_onnx_call *call, int64_t count, size_t each)
{
    if (call->status != QN_OK)
        return NULL;
    int64_t *left = &call->importer->constants_left;
    int64_t fitting = *left / (2 * (int64_t)each); /* here, and in the graph that copies them */
    void *made = NULL;
    if (count >= 0 && count < fitting)
        made = qn_arena_zero(&call->importer->arena, count + 1, each);
    if (made)
        *left -= 2 * count * (int64_t)each;
    else
        qn_onnx_fail(call, QN_ERR_BUDGET,
                     "a constant of %lld elements; constants may take %lld bytes more",
                     (long long)count, (long long)*left);
    return made;
}

qn_value qn_onnx_constant(qn_onnx_call *call, const qn_tensor *tensor)
{
    if (call->status != QN_OK)
        return QN_NONE;
    qn_value made = qn_graph_const(call->graph, tensor);
    qn_error err = {0};
    if (made == QN_NONE && qn_graph_check(call->graph, &err) != QN_OK)
        qn_onnx_fail(call, err.code, "%s", err.text);
    return made;
}

qn_value qn_onnx_scalar(qn_onnx_call *call, qn_dtype dtype, double number)
{
    return call->status == QN_OK ? qn_graph_scalar(call->graph, dtype, number) : QN_NONE;
}

qn_value qn_onnx_cast(qn_onnx_call *call, qn_value value, qn_dtype dtype)
{
    if (call->status != QN_OK || qn_onnx_type(call, value)->dtype == dtype)
        return value;
    qn_attr to = QN_ATTR_S("to", qn_dtype_name(dtype));
    return qn_onnx_emit(call, "Cast", &value, 1, &to, 1);
}

/* Sizes as Reshape takes them: a symbol in its own place is copied, one elsewhere is inferred. */
qn_value qn_onnx_reshape(qn_onnx_call *call, qn_value value, const qn_shape *shape)
{
    const qn_shape *from = &qn_onnx_type(call, value)->shape;
    qn_attr attr = qn_onnx_list("shape", shape->dims, shape->rank);
    int inferred = 0;
    if (qn_shape_equal(from, shape))
        return value;
    for (int i = 0; i < shape->rank; i++) {
        bool open = shape->dims[i] < 0;
        if (i < from->rank && from->dims[i] == shape->dims[i] && (open || shape->dims[i] == 0))
            attr.ints[i] = 0;
        else if (open || shape->dims[i] == 0) {
            attr.ints[i] = -1;
            inferred++;
        }
    }
    if (inferred > 1 || (inferred == 1 && qn_shape_count(shape) == 0)) {
        qn_tensor empty = qn_tensor_of(NULL, qn_onnx_type(call, value)->dtype, *shape);
        if (qn_shape_count(shape) == 0)
            return qn_onnx_constant(call, &empty);
    }
    return qn_onnx_emit(call, "Reshape", &value, 1, &attr, 1);
}

qn_value qn_onnx_transpose(qn_onnx_call *call, qn_value value, const int64_t *perm)
{
    int rank = qn_onnx_type(call, value)->shape.rank;
    qn_attr attr = qn_onnx_list("perm", perm, rank);
    return qn_onnx_emit(call, "Transpose", &value, 1, &attr, 1);
}

qn_value qn_onnx_to_last(qn_onnx_call *call, qn_value value)
{
    int rank = qn_onnx_type(call, value)->shape.rank;
    int64_t perm[QN_RANK_MAX] = {0};
    if (call->status != QN_OK || rank < 3)
        return value;
    for (int i = 1; i < rank - 1; i++)
        perm[i] = i + 1;
    perm[rank - 1] = 1;
    return qn_onnx_transpose(call, value, perm);
}

qn_value qn_onnx_to_first(qn_onnx_call *call, qn_value value)
{
    int rank = qn_onnx_type(call, value)->shape.rank;
    int64_t perm[QN_RANK_MAX] = {0};
    if (call->status != QN_OK || rank < 3)
        return value;
    perm[1] = rank - 1;
    for (int i = 2; i < rank; i++)
        perm[i] = i - 1;
    return qn_onnx_transpose(call, value, perm);
}

qn_value qn_onnx_slice(qn_onnx_call *call, qn_value value, int axis, int64_t start, int64_t end)
{
    int64_t at = axis;
    qn_attr attrs[] = {qn_onnx_list("starts", &start, 1), qn_onnx_list("ends", &end, 1),
                       qn_onnx_list("axes", &at, 1)};
    return qn_onnx_emit(call, "Slice", &value, 1, attrs, 3);
}

/* --- outputs --- */

bool qn_onnx_wants(const qn_onnx_call *call, int output)
{
    return output < call->node->outputs_count && call->node->outputs[output][0] != 0;
}

static void set_output(qn_onnx_call *call, int output, qn_onnx_value value)
{
    if (call->status != QN_OK || !qn_onnx_wants(call, output))
        return;
    value.name = call->node->outputs[output];
    qn_status status = qn_onnx_name(call->importer, value.name, value, &call->err);
    if (status != QN_OK)
        call->status = status;
}

void qn_onnx_out_elem(qn_onnx_call *call, int output, qn_value value, int elem)
{
    set_output(call, output, (qn_onnx_value){.elem = elem, .plain = value, .last = QN_NONE});
}

void qn_onnx_out(qn_onnx_call *call, int output, qn_value value)
{
    qn_onnx_out_elem(call, output, value, qn_onnx_elem_of(qn_onnx_type(call, value)->dtype));
}

void qn_onnx_out_last(qn_onnx_call *call, int output, qn_value value)
{
    int elem = qn_onnx_elem_of(qn_onnx_type(call, value)->dtype);
    set_output(call, output, (qn_onnx_value){.elem = elem, .plain = QN_NONE, .last = value});
}
