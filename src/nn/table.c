/*
 * The table behind `model.layers`, and the builder that reads a recipe's list against it.
 *
 * An entry is a bare name (flatten) or {name: {attribute: value}}. Values are read into slots (table_priv.h); a
 * layer's build function turns slots into a call of layers.h.
 */
#include <stdio.h>
#include <string.h>

#include "nn/scope_priv.h"
#include "nn/table_priv.h"

enum { LAYERS_MAX = 1000 };

/* A closing softmax or sigmoid is left to the loss where asked. */
const char *qn_nn_slot_activation(const qn_nn_building *b, const qn_nn_slot *s)
{
    bool closes = strcmp(s->word, "softmax") == 0 || strcmp(s->word, "log_softmax") == 0 ||
                  strcmp(s->word, "sigmoid") == 0;
    if (!b->closing || !closes)
        return s->word;
    const char *known = s->word[1] == 'o'   ? "softmax"
                        : s->word[0] == 'l' ? "log_softmax"
                                            : "sigmoid";
    *b->closing = known;
    return NULL;
}

qn_nn_init qn_nn_slot_init(const qn_nn_slot *s)
{
    qn_nn_init init = QN_NN_INIT_GLOROT_UNIFORM;
    bool found = qn_nn_init_find(s->word, &init);
    QN_ASSERT(found);
    return init;
}

qn_nn_reparam qn_nn_slot_reparam(const qn_nn_slot *s)
{
    return s->word[0] == 'w'   ? QN_NN_REPARAM_WEIGHT
           : s->word[0] == 's' ? QN_NN_REPARAM_SPECTRAL
                               : QN_NN_REPARAM_NONE;
}

static qn_value build_dense(const qn_nn_scope *at, const qn_nn_building *b, qn_value x,
                            const qn_nn_slot *s)
{
    qn_nn_dense_options options = {.units = s[0].i,
                                   .activation = qn_nn_slot_activation(b, &s[1]),
                                   .no_bias = !s[2].i,
                                   .init = qn_nn_slot_init(&s[3]),
                                   .reparam = qn_nn_slot_reparam(&s[4])};
    return qn_nn_dense(at, x, &options);
}

QN_NN_BUILD(build_batch_norm,
            qn_nn_batch_norm(at, x, &(qn_nn_batch_norm_options){.momentum = s[0].f, .eps = s[1].f}))
QN_NN_BUILD(build_dropout, qn_nn_dropout(at, x, s[0].f))
QN_NN_BUILD(build_flatten, qn_nn_flatten(at, x))
QN_NN_BUILD(build_reshape, qn_nn_reshape(at, x, s[0].ints, s[0].count))

/* With mask_zero, tokens 0 at the end are padding. */
static qn_value build_embedding(const qn_nn_scope *at, const qn_nn_building *b, qn_value x,
                                const qn_nn_slot *s)
{
    if (s[2].i && (*b->lengths = qn_nn_lengths(at, x, 0)) == QN_NONE)
        return QN_NONE;
    bool uniform = strcmp(s[3].word, "uniform") == 0;
    return qn_nn_embedding(at, x, s[0].i, s[1].i,
                           uniform ? QN_NN_EMBEDDING_UNIFORM : QN_NN_EMBEDDING_NORMAL);
}

/* How a branch and what goes past it become one. */
static const struct {
    const char *name, *op;
} joins[] = {{"add", "Add"},         {"multiply", "Mul"},
             {"subtract", "Sub"},    {"divide", "Div"},
             {"power", "Pow"},       {"modulo", "Mod"},
             {"maximum", "Max"},     {"minimum", "Min"},
             {"average", "Mean"},    {"equal", "Equal"},
             {"less", "Less"},       {"less_equal", "LessOrEqual"},
             {"greater", "Greater"}, {"greater_equal", "GreaterOrEqual"},
             {"and", "And"},         {"or", "Or"},
             {"xor", "Xor"}};
#define JOIN_WORDS                                                                                 \
    "add multiply subtract divide power modulo maximum minimum average concat equal less "         \
    "less_equal greater greater_equal and or xor"

/* Alike, or 1 where the other is not. */
static bool fits(const qn_shape *a, const qn_shape *b)
{
    bool good = a->rank == b->rank;
    for (int d = 0; good && d < a->rank; d++)
        good = a->dims[d] == b->dims[d] || a->dims[d] == 1 || b->dims[d] == 1;
    return good;
}

/* Side by side along the last dimension. */
static qn_value concatenate(const qn_nn_scope *at, qn_value straight, qn_value branch)
{
    qn_value pair[2] = {straight, branch};
    qn_shape a = qn_nn_shape(at, straight), b = qn_nn_shape(at, branch);
    char have[128], want[128];
    qn_attr axis = QN_ATTR_I("axis", a.rank - 1);
    qn_shape rest = b;
    if (a.rank == b.rank)
        rest.dims[b.rank - 1] = a.dims[a.rank - 1];
    if (!qn_shape_equal(&a, &rest))
        return qn_nn_fail(at, "sets %s beside %s: they may differ in the last dimension alone",
                          qn_nn_sample_text(b, have), qn_nn_sample_text(a, want));
    return qn_graph_node(at->graph, "Concat", pair, 2, &axis, 1);
}

static qn_value join(const qn_nn_scope *at, const char *how, qn_value branch, qn_value straight)
{
    char have[128], want[128];
    if (strcmp(how, "concat") == 0)
        return concatenate(at, straight, branch);
    qn_shape shape = qn_nn_shape(at, branch), other = qn_nn_shape(at, straight);
    bool exact = strcmp(how, "add") == 0;
    if (exact ? !qn_shape_equal(&shape, &other) : !fits(&shape, &other))
        return qn_nn_fail(at, "%ss %s to %s: its shortcut must give the same shape",
                          exact ? "add" : "join", qn_nn_sample_text(shape, have),
                          qn_nn_sample_text(other, want));
    size_t i = 0;
    while (i + 1 < sizeof joins / sizeof joins[0] && strcmp(joins[i].name, how) != 0)
        i++;
    qn_value pair[2] = {branch, straight};
    qn_attr sign = QN_ATTR_I("fmod", 1); /* of the branch's, as ONNX wants it for floats */
    return qn_graph_node(at->graph, joins[i].op, pair, 2, &sign, strcmp(how, "modulo") == 0);
}

/* activation(x + layers(x)), where the shortcut's layers bring x to the same shape; or another sum than that. */
static qn_value build_residual(const qn_nn_scope *at, const qn_nn_building *b, qn_value x,
                               const qn_nn_slot *s)
{
    qn_value branch = qn_nn_list_build(at, b, "layers", &s[0].list, x, NULL), straight = x;
    if (s[1].list.kind == QN_JSON_ARRAY)
        straight = qn_nn_list_build(at, b, "shortcut", &s[1].list, x, NULL);
    if (!qn_nn_begin(at, branch) || straight == QN_NONE)
        return QN_NONE;
    qn_value sum = join(at, s[3].word, branch, straight);
    return qn_nn_activation(at, sum, qn_nn_slot_activation(b, &s[2]));
}

/* The list's result, or x without one. */
static qn_value branch_of(const qn_nn_scope *at, const qn_nn_building *b, const char *name,
                          const qn_nn_slot *slot, qn_value x)
{
    return slot->list.kind == QN_JSON_ARRAY ? qn_nn_list_build(at, b, name, &slot->list, x, NULL)
                                            : x;
}

/* layers(x) where condition(x) is true, or a number other than 0, and otherwise(x) where it is not. */
static qn_value build_where(const qn_nn_scope *at, const qn_nn_building *b, qn_value x,
                            const qn_nn_slot *s)
{
    qn_value inputs[3] = {branch_of(at, b, "condition", &s[0], x),
                          branch_of(at, b, "layers", &s[1], x),
                          branch_of(at, b, "otherwise", &s[2], x)};
    qn_attr truth = QN_ATTR_S("to", "bool");
    char texts[3][128];
    if (inputs[0] == QN_NONE || inputs[1] == QN_NONE || !qn_nn_begin(at, inputs[2]))
        return QN_NONE;
    qn_shape shapes[3];
    for (int i = 0; i < 3; i++)
        shapes[i] = qn_nn_shape(at, inputs[i]);
    if (!fits(&shapes[0], &shapes[1]) || !fits(&shapes[0], &shapes[2]) ||
        !fits(&shapes[1], &shapes[2]))
        return qn_nn_fail(at, "has a condition of %s to choose from %s and %s: sizes differ",
                          qn_nn_sample_text(shapes[0], texts[0]),
                          qn_nn_sample_text(shapes[1], texts[1]),
                          qn_nn_sample_text(shapes[2], texts[2]));
    if (qn_graph_type(at->graph, inputs[0])->dtype != QN_DTYPE_BOOL)
        inputs[0] = qn_graph_node(at->graph, "Cast", &inputs[0], 1, &truth, 1);
    return inputs[0] == QN_NONE ? QN_NONE : qn_graph_node(at->graph, "Where", inputs, 3, NULL, 0);
}

static qn_value build_activation(const qn_nn_scope *at, const qn_nn_building *b, qn_value x,
                                 const qn_nn_slot *s)
{
    if (s[1].word[0] == '\0')
        return qn_nn_activation_with(at, x, s[0].word, s[1].f);
    return qn_nn_activation(at, x, qn_nn_slot_activation(b, &s[0]));
}

static const qn_nn_attr dense_attrs[] = {
    {.name = "units",
     .kind = QN_NN_ATTR_UNITS,
     .required = true,
     .low = 1,
     .high = 1e9,
     .doc = "outputs; auto in the last layer: classes, or 1"},
    QN_NN_ATTR_ACTIVATION,
    QN_NN_ATTR_BIAS,
    QN_NN_ATTR_INIT,
    QN_NN_ATTR_REPARAM,
    {0},
};
static const qn_nn_attr batch_norm_attrs[] = {
    {.name = "momentum",
     .kind = QN_NN_ATTR_FLOAT,
     .low = 0,
     .high = 1,
     .fallback = "0.9",
     .doc = "what the running statistics keep at each step"},
    {.name = "eps",
     .kind = QN_NN_ATTR_FLOAT,
     .low = 1e-12,
     .high = 1,
     .fallback = "1e-5",
     .doc = "added to the variance"},
    {0},
};
static const qn_nn_attr dropout_attrs[] = {
    {.name = "rate",
     .kind = QN_NN_ATTR_FLOAT,
     .low = 0,
     .high = 0.999,
     .fallback = "0.5",
     .doc = "share of elements set to 0 while training"},
    {0},
};
static const qn_nn_attr reshape_attrs[] = {
    {.name = "shape",
     .kind = QN_NN_ATTR_INTS,
     .required = true,
     .low = -1,
     .high = 1e9,
     .doc = "dimensions of a sample; one may be -1"},
    {0},
};
static const qn_nn_attr embedding_attrs[] = {
    {.name = "count",
     .kind = QN_NN_ATTR_INT,
     .required = true,
     .low = 1,
     .high = 1e9,
     .doc = "how many different integers come in"},
    {.name = "size",
     .kind = QN_NN_ATTR_INT,
     .required = true,
     .low = 1,
     .high = 1e6,
     .doc = "numbers for each of them"},
    {.name = "mask_zero",
     .kind = QN_NN_ATTR_BOOL,
     .fallback = "false",
     .doc = "whether integers 0 at the end of a sequence are padding, as masking says"},
    {.name = "init",
     .kind = QN_NN_ATTR_CHOICE,
     .fallback = "normal",
     .choices = "normal uniform",
     .doc = "how rows begin: with deviation 1 (PyTorch), or within 0.05 (Keras)"},
    {0},
};
static const qn_nn_attr activation_attrs[] = {
    {.name = "name",
     .kind = QN_NN_ATTR_CHOICE,
     .required = true,
     .choices = QN_NN_ACTIVATION_WORDS,
     .doc = "which function"},
    {.name = "alpha",
     .kind = QN_NN_ATTR_FLOAT,
     .low = 0,
     .high = 1e6,
     .fallback = "auto",
     .choices = "auto",
     .doc = "slope of leaky_relu and hard_sigmoid, scale of elu and celu, threshold of the "
            "shrinks; auto: "
            "PyTorch's"},
    {0},
};
static const qn_nn_attr residual_attrs[] = {
    {.name = "layers", .kind = QN_NN_ATTR_LAYERS, .required = true, .doc = "the branch"},
    {.name = "shortcut",
     .kind = QN_NN_ATTR_LAYERS,
     .fallback = "none",
     .choices = "none",
     .doc = "layers that bring the input to the branch's shape; none: it has that shape"},
    QN_NN_ATTR_ACTIVATION,
    {.name = "join",
     .kind = QN_NN_ATTR_CHOICE,
     .fallback = "add",
     .choices = JOIN_WORDS,
     .doc = "how branch and input become one, in this order; concat: side by side in the last "
            "dimension; comparisons give truths, of which and, or and xor make others"},
    {0},
};
#define BRANCH(key, text)                                                                          \
    {                                                                                              \
        .name = (key), .kind = QN_NN_ATTR_LAYERS, .fallback = "none", .choices = "none",           \
        .doc = (text)                                                                              \
    }
static const qn_nn_attr where_attrs[] = {
    {.name = "condition",
     .kind = QN_NN_ATTR_LAYERS,
     .required = true,
     .doc = "layers whose result says which: true, or a number other than 0"},
    BRANCH("layers", "what is taken where it is; none: the input"),
    BRANCH("otherwise", "what is taken where it is not; none: the input"),
    {0},
};
static const qn_nn_attr no_attrs[] = {{0}};

static const qn_nn_row rows_basic[] = {
    {{"dense", "every output is a weighted sum of all inputs (Keras Dense, PyTorch Linear)",
      dense_attrs},
     build_dense},
    {{"batch_norm",
      "each channel to mean 0 and deviation 1 (Keras BatchNormalization, PyTorch BatchNorm2d)",
      batch_norm_attrs},
     build_batch_norm},
    {{"dropout", "random zeros while training (Keras Dropout)", dropout_attrs}, build_dropout},
    {{"flatten", "a sample as one row of numbers (Keras Flatten)", no_attrs}, build_flatten},
    {{"reshape", "the same numbers in another shape (Keras Reshape)", reshape_attrs},
     build_reshape},
    {{"embedding", "a trained row of numbers for each integer (Keras Embedding)", embedding_attrs},
     build_embedding},
    {{"activation", "a function of each number (Keras Activation)", activation_attrs},
     build_activation},
    {{"residual",
      "a branch of layers whose result is added to its input (Keras Add, ResNet's block; with "
      "join: "
      "Multiply, Concatenate and so on)",
      residual_attrs},
     build_residual},
    {{"where",
      "of two branches of layers, number by number, the one that a third says (Keras ops.where, "
      "PyTorch where)",
      where_attrs},
     build_where},
    {{0}, NULL},
};
static const qn_nn_row *const families[] = {
    rows_basic,         qn_nn_rows_convolution, qn_nn_rows_elements,
    qn_nn_rows_moves,   qn_nn_rows_norm,        qn_nn_rows_recurrent,
    qn_nn_rows_shaping, qn_nn_rows_transformer, NULL /* the end */};
enum { ROWS_MAX = 128 };

static const qn_nn_row *row_at(int index)
{
    for (int family = 0; families[family] && index >= 0; family++)
        for (const qn_nn_row *row = families[family]; row->layer.name; row++)
            if (index-- == 0)
                return row;
    return NULL;
}

const qn_nn_layer *qn_nn_layer_at(int index)
{
    const qn_nn_row *row = row_at(index);
    return row ? &row->layer : NULL;
}

static const qn_nn_row *find_row(qn_str name)
{
    const qn_nn_row *row;
    for (int i = 0; (row = row_at(i)); i++)
        if (qn_str_is(name, row->layer.name))
            return row;
    return NULL;
}

const qn_nn_layer *qn_nn_layer_find(const char *name)
{
    const qn_nn_row *row = find_row(qn_str_from(name));
    return row ? &row->layer : NULL;
}

static qn_status fail_layer(qn_str word, const char *label, qn_error *err)
{
    const char *names[ROWS_MAX];
    int count = 0;
    for (; count < ROWS_MAX && row_at(count); count++)
        names[count] = row_at(count)->layer.name;
    return qn_nn_fail_unknown("layer", word, names, count, label, err);
}

/* An entry's name and attributes. */
static qn_status read_entry(const char *label, const qn_json *entry, qn_str *ret_name,
                            qn_json *ret_attrs, qn_error *err)
{
    if (entry->kind == QN_JSON_STRING) {
        *ret_name = entry->string;
        *ret_attrs = (qn_json){.kind = QN_JSON_NULL};
        return QN_OK;
    }
    if (entry->kind != QN_JSON_OBJECT || entry->count != 1)
        QN_FAIL(err, QN_ERR_ARG, "%s is %s, expected a layer's name or {name: {attributes}}", label,
                qn_json_kind_name(entry));
    *ret_name = entry->keys[0];
    *ret_attrs = entry->items[0];
    return QN_OK;
}

/* name and label: of the list; the entry's are "NAME.0" and "LABEL[0] conv2d". */
static qn_status build_one(qn_graph *graph, const qn_nn_building *b, const char *list_name,
                           const char *list_label, const qn_json *entry, int64_t index, qn_value *x,
                           qn_error *err)
{
    char name[256], label[256];
    qn_nn_slot slots[QN_NN_ATTRS_MAX] = {0};
    qn_str word = {0};
    qn_json attrs = {0};
    snprintf(name, sizeof(name), "%s.%lld", list_name, (long long)index);
    snprintf(label, sizeof(label), "%s[%lld]", list_label, (long long)index);
    QN_TRY(read_entry(label, entry, &word, &attrs, err));
    const qn_nn_row *row = find_row(word);
    if (!row)
        return fail_layer(word, label, err);
    snprintf(label, sizeof(label), "%s[%lld] %s", list_label, (long long)index, row->layer.name);
    QN_TRY(qn_nn_slots_read(label, &row->layer, &attrs, b->options->units_auto, slots, err));
    qn_nn_scope at = {.graph = graph, .name = name, .label = label};
    qn_shape before = qn_nn_shape(&at, *x);
    *x = row->build(&at, b, *x, slots);
    qn_graph_scope(graph, NULL);
    QN_TRY(qn_graph_check(graph, err));
    qn_shape after = qn_nn_shape(&at, *x);
    if (after.rank < 2 || after.dims[1] != before.dims[1]) /* other steps than those counted */
        *b->lengths = QN_NONE;
    return QN_OK;
}

/* Layers within layers: as deep as QN_NN_LISTS_MAX. */
qn_value qn_nn_list_build(const qn_nn_scope *at, const qn_nn_building *b, const char *name,
                          const qn_json *layers, qn_value x, qn_value *ret_lengths)
{
    char names[200], labels[200];
    qn_error err = {0};
    qn_value lengths = *b->lengths;
    qn_nn_building inner = {b->options, NULL, b->depth + 1, &lengths};
    if (!qn_nn_begin(at, x))
        return QN_NONE;
    if (inner.depth > QN_NN_LISTS_MAX)
        return qn_nn_fail(at, "stands in more than %d lists", QN_NN_LISTS_MAX);
    snprintf(names, sizeof names, "%s.%s", at->name, name);
    snprintf(labels, sizeof labels, "%s.%s", at->label ? at->label : at->name, name);
    qn_graph_scope(at->graph, NULL);
    for (int64_t i = 0; i < layers->count; i++) {
        if (build_one(at->graph, &inner, names, labels, &layers->items[i], i, &x, &err) == QN_OK)
            continue;
        if (qn_graph_check(at->graph, NULL) == QN_OK)
            return qn_graph_fail(at->graph, err.code, "%s", err.text);
        return QN_NONE;
    }
    if (ret_lengths)
        *ret_lengths = lengths;
    return x;
}

qn_status qn_nn_layers_build(qn_graph *graph, qn_value input, const qn_json *layers,
                             const qn_nn_layers_options *options, qn_value *ret,
                             const char **ret_closing, qn_error *err)
{
    const char *closing = "linear";
    const char *path = options->path ? options->path : "layers";
    const char *scope = options->scope ? options->scope : "layers";
    int64_t count = layers->kind == QN_JSON_ARRAY ? layers->count : -1;
    qn_value x = input, lengths = QN_NONE;
    QN_TRY(qn_graph_check(graph, err));
    if (count < 1 || count > LAYERS_MAX)
        QN_FAIL(err, QN_ERR_ARG, "%s is %s, expected a list of 1 to %d layers", path,
                qn_json_kind_name(layers), (int)LAYERS_MAX);
    for (int64_t i = 0; i < count; i++) {
        qn_nn_building b = {options, options->logits && i == count - 1 ? &closing : NULL, 0,
                            &lengths};
        QN_TRY(build_one(graph, &b, scope, path, &layers->items[i], i, &x, err));
        qn_graph_mark(graph, x);
    }
    *ret = x;
    if (ret_closing)
        *ret_closing = closing;
    return QN_OK;
}
