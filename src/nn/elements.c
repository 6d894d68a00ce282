/*
 * Layers that treat each number alone (function, threshold, cast), a product by Einstein's notation, and masking, which
 * finds out how many steps of a sequence count. Their rows in the table of layers.
 */
#include <string.h>

#include "graph/einsum.h"
#include "nn/scope_priv.h"
#include "nn/table_priv.h"

/*
 * Functions of ONNX beside the activations. Their ops have the same names with a capital.
 */
static const struct {
    const char *name, *op;
} functions[] = {
    {"abs", "Abs"},      {"acos", "Acos"},     {"acosh", "Acosh"}, {"asin", "Asin"},
    {"asinh", "Asinh"},  {"atan", "Atan"},     {"atanh", "Atanh"}, {"ceil", "Ceil"},
    {"cos", "Cos"},      {"cosh", "Cosh"},     {"erf", "Erf"},     {"exp", "Exp"},
    {"floor", "Floor"},  {"log", "Log"},       {"neg", "Neg"},     {"reciprocal", "Reciprocal"},
    {"round", "Round"},  {"sign", "Sign"},     {"sin", "Sin"},     {"sinh", "Sinh"},
    {"sqrt", "Sqrt"},    {"square", "Square"}, {"tan", "Tan"},     {"is_nan", "IsNaN"},
    {"is_inf", "IsInf"}, {"not", "Not"},
};
#define FUNCTION_WORDS                                                                             \
    "abs acos acosh asin asinh atan atanh ceil cos cosh erf exp floor log neg reciprocal round "   \
    "sign sin sinh sqrt square tan is_nan is_inf not"

static qn_value function(const qn_nn_scope *at, qn_value x, const char *name)
{
    if (!qn_nn_begin(at, x))
        return QN_NONE;
    size_t i = 0;
    while (i + 1 < sizeof functions / sizeof functions[0] && strcmp(functions[i].name, name) != 0)
        i++;
    return qn_graph_op1(at->graph, functions[i].op, x);
}

/* x where it is greater than `above`, else value. */
static qn_value threshold(const qn_nn_scope *at, qn_value x, double above, double value)
{
    if (!qn_nn_begin(at, x))
        return QN_NONE;
    qn_dtype dtype = qn_graph_type(at->graph, x)->dtype;
    qn_value limit = qn_graph_scalar(at->graph, dtype, above);
    qn_value inputs[3] = {qn_graph_op2(at->graph, "Greater", x, limit), x,
                          qn_graph_scalar(at->graph, dtype, value)};
    return qn_graph_node(at->graph, "Where", inputs, 3, NULL, 0);
}

static qn_value clip(const qn_nn_scope *at, qn_value x, double min, double max)
{
    qn_attr attrs[] = {QN_ATTR_F("min", min), QN_ATTR_F("max", max)};
    if (!qn_nn_begin(at, x))
        return QN_NONE;
    if (min > max)
        return qn_nn_fail(at, "has min %g above max %g", min, max);
    return qn_graph_node(at->graph, "Clip", &x, 1, attrs, 2);
}

static qn_value cast(const qn_nn_scope *at, qn_value x, const char *to)
{
    qn_attr attr = QN_ATTR_S("to", to);
    return qn_nn_begin(at, x) ? qn_graph_node(at->graph, "Cast", &x, 1, &attr, 1) : QN_NONE;
}

/* "bti,io->bto" cut up. */
typedef struct {
    const char *x, *weight, *result;
    int x_count, weight_count;
} einsum_parts;

static bool cut_equation(const char *equation, einsum_parts *ret)
{
    const char *comma = strchr(equation, ','), *arrow = comma ? strstr(comma, "->") : NULL;
    size_t letters = strspn(equation, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ,");
    if (!arrow || equation + letters != arrow)
        return false;
    *ret = (einsum_parts){.x = equation,
                          .weight = comma + 1,
                          .result = arrow + 2,
                          .x_count = (int)(comma - equation),
                          .weight_count = (int)(arrow - comma - 1)};
    return true;
}

/* Do the letters fit the shapes, batch first? What else may be wrong, the sum itself says. */
static bool check_equation(const qn_nn_scope *at, const char *equation, const qn_shape *x,
                           const qn_shape *weight, einsum_parts *parts)
{
    char have[128], own[128];
    if (!cut_equation(equation, parts) || parts->x_count != x->rank ||
        parts->weight_count != weight->rank) {
        qn_nn_fail(
            at,
            "has the equation '%s', expected as many letters as input %s (and its batch) and "
            "weight %s have dimensions, and a result: \"bti,io->bto\"",
            equation, qn_nn_sample_text(*x, have), qn_shape_text(weight, own));
        return false;
    }
    if (parts->result[0] != parts->x[0] ||
        memchr(parts->weight, parts->x[0], (size_t)weight->rank)) {
        qn_nn_fail(at,
                   "has the equation '%s', whose result must begin with '%c', the batch, which "
                   "the weight has not",
                   equation, parts->x[0]);
        return false;
    }
    for (int d = 0; d < weight->rank; d++) {
        const char *same = memchr(parts->x, parts->weight[d], (size_t)x->rank);
        if (same && x->dims[same - parts->x] != weight->dims[d]) {
            qn_nn_fail(at, "has %lld and %lld along '%c' of '%s'",
                       (long long)x->dims[same - parts->x], (long long)weight->dims[d],
                       parts->weight[d], equation);
            return false;
        }
    }
    return true;
}

/* How many numbers of the weight each result sums, and how many results each number of x reaches. */
static void einsum_fans(const einsum_parts *parts, const qn_shape *weight, int64_t *ret_in,
                        int64_t *ret_out)
{
    *ret_in = *ret_out = 1;
    for (int d = 0; d < weight->rank; d++) {
        bool stays = strchr(parts->result, parts->weight[d]) != NULL;
        bool shared = memchr(parts->x, parts->weight[d], (size_t)parts->x_count) != NULL;
        *ret_in *= stays ? 1 : weight->dims[d];
        *ret_out *= stays && !shared ? weight->dims[d] : 1;
    }
}

static qn_value einsum(const qn_nn_scope *at, const qn_nn_building *b, qn_value x,
                       const qn_nn_slot *s)
{
    int64_t in, out;
    qn_shape shape = {.rank = s[1].count};
    einsum_parts parts;
    if (!qn_nn_begin(at, x))
        return QN_NONE;
    qn_shape input = qn_nn_shape(at, x);
    memcpy(shape.dims, s[1].ints, sizeof shape.dims);
    if (!check_equation(at, s[0].word, &input, &shape, &parts))
        return QN_NONE;
    einsum_fans(&parts, &shape, &in, &out);
    qn_init init = qn_nn_init_of(qn_nn_slot_init(&s[3]), in, out);
    qn_value inputs[2] = {x, qn_nn_state(at, "weight", x, shape, init, true)};
    if (inputs[1] == QN_NONE)
        return QN_NONE;
    qn_value y = qn_graph_einsum(at->graph, s[0].word, inputs, 2);
    return qn_nn_activation(at, y, qn_nn_slot_activation(b, &s[2]));
}

/*
 * Masking
 */
qn_value qn_nn_lengths(const qn_nn_scope *at, qn_value x, double padding)
{
    qn_graph *graph = at->graph;
    char text[128];
    if (!qn_nn_begin(at, x))
        return QN_NONE;
    qn_shape shape = qn_nn_shape(at, x);
    if ((shape.rank != 2 && shape.rank != 3) || shape.dims[1] < 1)
        return qn_nn_fail(at, "expects input of 1 or 2 dimensions, [T] or [T, features], got %s",
                          qn_nn_sample_text(shape, text));
    qn_attr to[] = {QN_ATTR_S("to", "f32"), QN_ATTR_S("to", "i64")};
    qn_attr range[] = {QN_ATTR_F("start", 1), QN_ATTR_F("limit", (double)shape.dims[1] + 1)};
    qn_attr last[] = {{.name = "axes", .kind = QN_ATTR_INTS, .count = 1, .ints = {2}},
                      QN_ATTR_I("keepdims", 0)};
    qn_value other = qn_graph_scalar(graph, qn_graph_type(graph, x)->dtype, padding);
    qn_value same = qn_graph_op2(graph, "Equal", x, other);
    qn_value real = same == QN_NONE ? QN_NONE : qn_graph_op1(graph, "Not", same);
    qn_value counts = real == QN_NONE ? QN_NONE : qn_graph_node(graph, "Cast", &real, 1, to, 1);
    if (shape.rank == 3 && counts != QN_NONE)
        counts = qn_graph_node(graph, "ReduceMax", &counts, 1, last, 2);
    if (counts == QN_NONE)
        return QN_NONE;
    qn_value places = qn_graph_node(graph, "Range", NULL, 0, range, 2);
    last[0].ints[0] = 1;
    counts = qn_graph_op2(graph, "Mul", counts, places);
    counts = counts == QN_NONE ? QN_NONE : qn_graph_node(graph, "ReduceMax", &counts, 1, last, 2);
    return counts == QN_NONE ? QN_NONE : qn_graph_node(graph, "Cast", &counts, 1, &to[1], 1);
}

static qn_value masking(const qn_nn_scope *at, const qn_nn_building *b, qn_value x, double padding)
{
    *b->lengths = qn_nn_lengths(at, x, padding);
    return *b->lengths == QN_NONE ? QN_NONE : x;
}

QN_NN_BUILD(build_function, function(at, x, s[0].word))
QN_NN_BUILD(build_threshold, threshold(at, x, s[0].f, s[1].f))
QN_NN_BUILD(build_clip, clip(at, x, s[0].f, s[1].f))
QN_NN_BUILD(build_cast, cast(at, x, s[0].word))
QN_NN_BUILD(build_einsum, einsum(at, b, x, s))
QN_NN_BUILD(build_masking, masking(at, b, x, s[0].f))

#define NUMBER(key, text)                                                                          \
    {                                                                                              \
        .name = (key), .kind = QN_NN_ATTR_FLOAT, .low = -1e30, .high = 1e30, .fallback = "0",      \
        .doc = (text)                                                                              \
    }
static const qn_nn_attr function_attrs[] = {
    {.name = "name",
     .kind = QN_NN_ATTR_CHOICE,
     .required = true,
     .choices = FUNCTION_WORDS,
     .doc = "which function"},
    {0},
};
static const qn_nn_attr threshold_attrs[] = {
    NUMBER("above", "numbers greater than this stay"),
    NUMBER("value", "what the others become"),
    {0},
};
#define BOUND(key, text)                                                                           \
    {                                                                                              \
        .name = (key), .kind = QN_NN_ATTR_FLOAT, .required = true, .low = -1e30, .high = 1e30,     \
        .doc = (text)                                                                              \
    }
static const qn_nn_attr clip_attrs[] = {
    BOUND("min", "numbers below become this"), BOUND("max", "numbers above become this"), {0}};
static const qn_nn_attr cast_attrs[] = {
    {.name = "to",
     .kind = QN_NN_ATTR_CHOICE,
     .required = true,
     .choices = "f32 f64 f16 bf16 i64 i32 i16 i8 u64 u32 u16 u8 bool",
     .doc = "type of the numbers"},
    {0},
};
static const qn_nn_attr einsum_attrs[] = {
    {.name = "equation",
     .kind = QN_NN_ATTR_TEXT,
     .required = true,
     .doc = "input, weight and result, each with the batch: \"bti,io->bto\""},
    {.name = "weight",
     .kind = QN_NN_ATTR_INTS,
     .required = true,
     .low = 1,
     .high = 1e9,
     .doc = "dimensions of the trained weight"},
    QN_NN_ATTR_ACTIVATION,
    QN_NN_ATTR_INIT,
    {0},
};
static const qn_nn_attr masking_attrs[] = {
    NUMBER("value", "steps at the end that hold nothing else are padding"), {0}};

const qn_nn_row qn_nn_rows_elements[] = {
    {{"function", "a function of each number (Keras ops, PyTorch functions of the name)",
      function_attrs},
     build_function},
    {{"threshold", "numbers that are not large enough become another (PyTorch Threshold)",
      threshold_attrs},
     build_threshold},
    {{"clip", "numbers cut to a range (Keras ops.clip, PyTorch clamp)", clip_attrs}, build_clip},
    {{"cast", "the numbers in another type (Keras ops.cast, PyTorch to)", cast_attrs}, build_cast},
    {{"einsum", "a product with a trained weight, written as a sum (Keras EinsumDense)",
      einsum_attrs},
     build_einsum},
    {{"masking",
      "steps at the end of a sequence that are padding count no more: recurrent layers, attention "
      "and "
      "pooling after it leave them out (Keras Masking, PyTorch pack_padded_sequence)",
      masking_attrs},
     build_masking},
    {{0}, NULL},
};
