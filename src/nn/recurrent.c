/*
 * Recurrent layers, and their rows in the table of layers.
 */
#include "nn/recurrent.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "nn/scope_priv.h"
#include "nn/table_priv.h"

static const struct {
    const char *op;
    int64_t gates, gate_roles, roles; /* activations, those of gates first */
} kinds[] = {[QN_NN_RNN] = {"RNN", 1, 0, 1},
             [QN_NN_GRU] = {"GRU", 3, 1, 2},
             [QN_NN_LSTM] = {"LSTM", 4, 1, 3}};

/* As the row spells it, whose defaults are ONNX's. */
static const char *spell_activation(const char *word)
{
    return strcmp(word, "hard_sigmoid") == 0 ? "hard_sigmoid:0.16666666666666666:0.5"
           : strcmp(word, "linear") == 0     ? "affine"
                                             : word;
}

/* "sigmoid tanh tanh", or "" for the usual ones, which have kernels. */
static void write_activations(const qn_nn_recurrent_options *o, char dst[160])
{
    const char *gate = o->gate_activation ? o->gate_activation : "sigmoid";
    const char *rest = o->activation ? o->activation : "tanh";
    bool usual = strcmp(rest, "tanh") == 0;
    usual = o->kind == QN_NN_RNN ? usual || strcmp(rest, "relu") == 0
                                 : usual && strcmp(gate, "sigmoid") == 0;
    size_t used = 0;
    dst[0] = '\0';
    for (int64_t role = 0; !usual && role < kinds[o->kind].roles; role++) {
        const char *word = role < kinds[o->kind].gate_roles ? gate : rest;
        used += (size_t)snprintf(dst + used, 160 - used, "%s%s", role ? " " : "",
                                 spell_activation(word));
    }
}

static qn_value run(const qn_nn_scope *at, const qn_value *inputs, int count,
                    const qn_nn_recurrent_options *o)
{
    const char *direction = o->bidirectional ? "bidirectional" : o->reverse ? "reverse" : "forward";
    bool relu = o->activation && strcmp(o->activation, "relu") == 0;
    char activations[160];
    write_activations(o, activations);
    qn_attr attrs[] = {QN_ATTR_S("direction", direction), QN_ATTR_I("layout", 1),
                       QN_ATTR_S("activations", activations),
                       QN_ATTR_I("linear_before_reset", !o->reset_first)};
    if (o->kind == QN_NN_RNN)
        attrs[3] = QN_ATTR_S("activation", relu ? "relu" : "tanh");
    return qn_graph_node(at->graph, kinds[o->kind].op, inputs, count, attrs,
                         o->kind == QN_NN_LSTM ? 3 : 4);
}

/* Where the run before ended, for the inputs h0 and c0. */
static void take_carried(const qn_nn_scope *at, qn_value x, const qn_nn_recurrent_options *o,
                         qn_value ret_states[2])
{
    static const char *const names[] = {"h", "c"};
    qn_shape shape = QN_SHAPE(o->carried, o->bidirectional ? 2 : 1, o->units);
    for (int i = 0; i < (o->kind == QN_NN_LSTM ? 2 : 1); i++)
        ret_states[i] = qn_nn_state(at, names[i], x, shape, (qn_init){.kind = QN_INIT_ZERO}, false);
}

/* One trained beginning for all rows: [D, units] -> [B, D, units]. */
static qn_value trained_start(const qn_nn_scope *at, const char *what, qn_value x, int64_t dirs,
                              int64_t units)
{
    qn_value start = qn_nn_state(at, what, x, QN_SHAPE(dirs, units), (qn_init){0}, true);
    qn_attr axis = {.name = "axes", .kind = QN_ATTR_INTS, .count = 1, .ints = {0}};
    qn_attr shape = {.name = "shape",
                     .kind = QN_ATTR_INTS,
                     .count = 3,
                     .ints = {qn_nn_shape(at, x).dims[0], dirs, units}};
    start = start == QN_NONE ? QN_NONE : qn_graph_node(at->graph, "Unsqueeze", &start, 1, &axis, 1);
    return start == QN_NONE ? QN_NONE : qn_graph_node(at->graph, "Expand", &start, 1, &shape, 1);
}

qn_value qn_nn_recurrent(const qn_nn_scope *at, qn_value x, qn_value lengths, qn_value h0,
                         qn_value c0, const qn_nn_recurrent_options *options)
{
    char text[128];
    if (!qn_nn_begin(at, x))
        return QN_NONE;
    qn_shape shape = qn_nn_shape(at, x);
    int64_t n = options->units, dirs = options->bidirectional ? 2 : 1;
    int64_t rows = kinds[options->kind].gates * n;
    if (shape.rank != 3 || shape.dims[2] < 1)
        return qn_nn_fail(at, "expects input of 2 dimensions [T, features], got %s",
                          qn_nn_sample_text(shape, text));
    if (n < 1 || n > 1 << 20)
        return qn_nn_fail(at, "has %lld units, expected 1 to %d", (long long)n, 1 << 20);
    qn_init init = {.kind = QN_INIT_UNIFORM, .value = 1 / sqrt((double)n)};
    qn_value inputs[7] = {
        x,
        qn_nn_state(at, "weight", x, QN_SHAPE(dirs, rows, shape.dims[2]), init, true),
        qn_nn_state(at, "recurrent", x, QN_SHAPE(dirs, rows, n), init, true),
        qn_nn_state(at, "bias", x, QN_SHAPE(dirs, 2 * rows), init, true),
        lengths,
        h0,
        c0};
    inputs[1] = qn_nn_reparametrise(at, "", inputs[1], QN_NN_OUTPUTS_ROWS, options->reparam, &init);
    inputs[2] = qn_nn_reparametrise(at, "recurrent_", inputs[2], QN_NN_OUTPUTS_ROWS,
                                    options->reparam, &init);
    if (options->carried > 0)
        take_carried(at, x, options, inputs + 5);
    else if (options->trained_start && h0 == QN_NONE) {
        inputs[5] = trained_start(at, "h0", x, dirs, n);
        if (options->kind == QN_NN_LSTM)
            inputs[6] = trained_start(at, "c0", x, dirs, n);
    }
    if (qn_graph_check(at->graph, NULL) != QN_OK)
        return QN_NONE;
    int count = 7;
    while (inputs[count - 1] == QN_NONE)
        count--;
    qn_value y = run(at, inputs, count, options);
    if (y == QN_NONE)
        return QN_NONE;
    for (int i = 0; options->carried > 0 && i < (options->kind == QN_NN_LSTM ? 2 : 1); i++)
        qn_graph_assign(at->graph, inputs[5 + i], y + 1 + i);
    qn_attr flat = {.name = "shape", .kind = QN_ATTR_INTS, .count = 3, .ints = {0, 0, dirs * n}};
    if (!options->sequences) {
        y++;
        flat.count = 2;
        flat.ints[1] = dirs * n;
    }
    return qn_graph_node(at->graph, "Reshape", &y, 1, &flat, 1);
}

static bool check_start(const qn_nn_scope *at, qn_value x, qn_value start, int64_t layers,
                        const qn_nn_recurrent_options *o)
{
    char came[128], each[80] = "";
    qn_shape shape = qn_nn_shape(at, start);
    qn_dtype dtype = qn_graph_type(at->graph, x)->dtype;
    int64_t dirs = o->bidirectional ? 2 : 1, states = o->kind == QN_NN_LSTM ? 2 : 1;
    int64_t want = o->units <= 1 << 20 ? states * layers * dirs * o->units : -1;
    if (qn_graph_type(at->graph, start)->dtype != dtype)
        qn_nn_fail(at, "begins from %s, expected %s",
                   qn_dtype_name(qn_graph_type(at->graph, start)->dtype), qn_dtype_name(dtype));
    else if (shape.rank != 2 || shape.dims[1] != want) {
        if (layers * dirs > 1)
            snprintf(each, sizeof each, " for each of %lld layers in %lld directions",
                     (long long)layers, (long long)dirs);
        qn_nn_fail(at, "begins from %s, expected [%lld]: %s of %lld numbers%s",
                   qn_nn_sample_text(shape, came), (long long)want,
                   states == 2 ? "h, then c," : "h", (long long)o->units, each);
    }
    return qn_graph_check(at->graph, NULL) == QN_OK;
}

/* State `place` of start's: [B, D, units]. */
static qn_value part_of_start(const qn_nn_scope *at, qn_value start, int64_t place,
                              const qn_nn_recurrent_options *o)
{
    int64_t dirs = o->bidirectional ? 2 : 1, size = dirs * o->units;
    qn_attr attrs[] = {
        {.name = "starts", .kind = QN_ATTR_INTS, .count = 1, .ints = {place * size}},
        {.name = "ends", .kind = QN_ATTR_INTS, .count = 1, .ints = {(place + 1) * size}},
        {.name = "axes", .kind = QN_ATTR_INTS, .count = 1, .ints = {1}}};
    qn_attr shape = {
        .name = "shape", .kind = QN_ATTR_INTS, .count = 3, .ints = {0, dirs, o->units}};
    qn_value part = qn_graph_node(at->graph, "Slice", &start, 1, attrs, 3);
    return part == QN_NONE ? QN_NONE : qn_graph_node(at->graph, "Reshape", &part, 1, &shape, 1);
}

qn_value qn_nn_recurrent_stack(const qn_nn_scope *at, qn_value x, qn_value lengths, qn_value start,
                               const qn_nn_recurrent_options *options)
{
    int64_t layers = options->layers ? options->layers : 1;
    if (start != QN_NONE && (!qn_nn_begin(at, x) || !check_start(at, x, start, layers, options)))
        return QN_NONE;
    for (int64_t i = 0; i < layers; i++) {
        qn_nn_recurrent_options one = *options;
        qn_nn_part layer, drop;
        qn_value h0 = QN_NONE, c0 = QN_NONE;
        one.sequences = options->sequences || i + 1 < layers;
        const qn_nn_scope *own = layers > 1 ? qn_nn_part_at(at, i, &layer) : at;
        if (i > 0 && options->dropout > 0)
            x = qn_nn_dropout(qn_nn_part_of(own, "dropout", &drop), x, options->dropout);
        if (start != QN_NONE)
            h0 = part_of_start(own, start, i, options);
        if (start != QN_NONE && options->kind == QN_NN_LSTM)
            c0 = part_of_start(own, start, layers + i, options);
        x = qn_nn_recurrent(own, x, lengths, h0, c0, &one);
    }
    return x;
}

static qn_value build(const qn_nn_scope *at, const qn_nn_building *b, qn_value x,
                      const qn_nn_slot *s, qn_nn_recurrent_kind kind)
{
    qn_nn_recurrent_options options = {.kind = kind,
                                       .units = s[0].i,
                                       .sequences = s[1].i,
                                       .bidirectional = s[2].i,
                                       .reverse = s[3].i,
                                       .layers = s[4].i,
                                       .dropout = s[5].f,
                                       .activation = s[6].word,
                                       .reparam = qn_nn_slot_reparam(&s[7]),
                                       .trained_start = s[8].word[0] == 't'};
    options.gate_activation = kind == QN_NN_RNN ? NULL : s[9].word;
    options.reset_first = kind == QN_NN_GRU && s[10].i;
    qn_value start = QN_NONE;
    if (s[8].list.kind == QN_JSON_ARRAY) {
        start = qn_nn_list_build(at, b, "initial", &s[8].list, x, NULL);
        if (start == QN_NONE)
            return QN_NONE;
    }
    return qn_nn_recurrent_stack(at, x, *b->lengths, start, &options);
}

QN_NN_BUILD(build_rnn, build(at, b, x, s, QN_NN_RNN))
QN_NN_BUILD(build_gru, build(at, b, x, s, QN_NN_GRU))
QN_NN_BUILD(build_lstm, build(at, b, x, s, QN_NN_LSTM))

#define COMMON                                                                                     \
    {.name = "units",                                                                              \
     .kind = QN_NN_ATTR_INT,                                                                       \
     .required = true,                                                                             \
     .low = 1,                                                                                     \
     .high = 1048576,                                                                              \
     .doc = "size of the state"},                                                                  \
        {.name = "return_sequences",                                                               \
         .kind = QN_NN_ATTR_BOOL,                                                                  \
         .fallback = "false",                                                                      \
         .doc = "every step's output, not the last one alone"},                                    \
        {.name = "bidirectional",                                                                  \
         .kind = QN_NN_ATTR_BOOL,                                                                  \
         .fallback = "false",                                                                      \
         .doc = "whether a second one reads from the end, its output set beside"},                 \
        {.name = "reverse",                                                                        \
         .kind = QN_NN_ATTR_BOOL,                                                                  \
         .fallback = "false",                                                                      \
         .doc = "whether it reads from the end (Keras go_backwards)"},                             \
        {.name = "layers",                                                                         \
         .kind = QN_NN_ATTR_INT,                                                                   \
         .low = 1,                                                                                 \
         .high = 1000,                                                                             \
         .fallback = "1",                                                                          \
         .doc = "how many of them follow one another (PyTorch num_layers)"},                       \
        {.name = "dropout",                                                                        \
         .kind = QN_NN_ATTR_FLOAT,                                                                 \
         .low = 0,                                                                                 \
         .high = 0.999,                                                                            \
         .fallback = "0",                                                                          \
         .doc = "share of the numbers between layers set to 0 while training"},                    \
        {.name = "activation",                                                                     \
         .kind = QN_NN_ATTR_CHOICE,                                                                \
         .fallback = "tanh",                                                                       \
         .choices = ACTIVATIONS,                                                                   \
         .doc = "what the state goes through"},                                                    \
        QN_NN_ATTR_REPARAM,                                                                        \
    {                                                                                              \
        .name = "initial", .kind = QN_NN_ATTR_LAYERS, .fallback = "zeros",                         \
        .choices = "zeros trained",                                                                \
        .doc = "what the state begins as; trained: learned, one for all samples; layers make it "  \
               "of the input: h of each layer and direction, then an LSTM's c (Keras "             \
               "initial_state, PyTorch h_0 and c_0)"                                               \
    }
#define ACTIVATIONS "tanh relu sigmoid hard_sigmoid leaky_relu elu softsign softplus linear"
#define GATES                                                                                      \
    {                                                                                              \
        .name = "recurrent_activation", .kind = QN_NN_ATTR_CHOICE, .fallback = "sigmoid",          \
        .choices = ACTIVATIONS, .doc = "what the gates go through"                                 \
    }
static const qn_nn_attr rnn_attrs[] = {COMMON, {0}};
static const qn_nn_attr lstm_attrs[] = {COMMON, GATES, {0}};
static const qn_nn_attr gru_attrs[] = {
    COMMON,
    GATES,
    {.name = "reset_first",
     .kind = QN_NN_ATTR_BOOL,
     .fallback = "false",
     .doc = "whether the state is reset before its product (Keras reset_after: false)"},
    {0},
};

const qn_nn_row qn_nn_rows_recurrent[] = {
    {{"rnn", "a state carried along a sequence [T, features] (Keras SimpleRNN)", rnn_attrs},
     build_rnn},
    {{"lstm", "a state with a memory cell carried along a sequence (Keras LSTM)", lstm_attrs},
     build_lstm},
    {{"gru", "a gated state carried along a sequence (Keras GRU)", gru_attrs}, build_gru},
    {{0}, NULL},
};
