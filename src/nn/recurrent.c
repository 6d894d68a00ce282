/*
 * Recurrent layers, and their rows in the table of layers. Stacking is repeating the layer, all but the last with
 * return_sequences.
 */
#include "nn/recurrent.h"

#include <math.h>
#include <string.h>

#include "nn/scope_priv.h"
#include "nn/table_priv.h"

static const struct {
    const char *op;
    int64_t gates;
} kinds[] = {[QN_NN_RNN] = {"RNN", 1}, [QN_NN_GRU] = {"GRU", 3}, [QN_NN_LSTM] = {"LSTM", 4}};

static qn_value run(const qn_nn_scope *at, const qn_value *inputs, int count,
                    const qn_nn_recurrent_options *o)
{
    const char *direction = o->bidirectional ? "bidirectional" : o->reverse ? "reverse" : "forward";
    qn_attr attrs[] = {QN_ATTR_S("direction", direction), QN_ATTR_I("layout", 1),
                       QN_ATTR_I("linear_before_reset", 1)};
    if (o->kind == QN_NN_RNN)
        attrs[2] = QN_ATTR_S("activation", o->relu ? "relu" : "tanh");
    return qn_graph_node(at->graph, kinds[o->kind].op, inputs, count, attrs,
                         o->kind == QN_NN_LSTM ? 2 : 3);
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
    if (qn_graph_check(at->graph, NULL) != QN_OK)
        return QN_NONE;
    int count = 7;
    while (inputs[count - 1] == QN_NONE)
        count--;
    qn_value y = run(at, inputs, count, options);
    if (y == QN_NONE)
        return QN_NONE;
    qn_attr flat = {.name = "shape", .kind = QN_ATTR_INTS, .count = 3, .ints = {0, 0, dirs * n}};
    if (!options->sequences) {
        y++;
        flat.count = 2;
        flat.ints[1] = dirs * n;
    }
    return qn_graph_node(at->graph, "Reshape", &y, 1, &flat, 1);
}

static qn_value build(const qn_nn_scope *at, qn_value x, const qn_nn_slot *s,
                      qn_nn_recurrent_kind kind)
{
    qn_nn_recurrent_options options = {.kind = kind,
                                       .units = s[0].i,
                                       .sequences = s[1].i,
                                       .bidirectional = s[2].i,
                                       .relu = strcmp(s[3].word, "relu") == 0};
    return qn_nn_recurrent(at, x, QN_NONE, QN_NONE, QN_NONE, &options);
}

static qn_value build_rnn(const qn_nn_scope *at, const qn_nn_building *b, qn_value x,
                          const qn_nn_slot *s)
{
    (void)b;
    return build(at, x, s, QN_NN_RNN);
}

static qn_value build_gru(const qn_nn_scope *at, const qn_nn_building *b, qn_value x,
                          const qn_nn_slot *s)
{
    (void)b;
    return build(at, x, s, QN_NN_GRU);
}

static qn_value build_lstm(const qn_nn_scope *at, const qn_nn_building *b, qn_value x,
                           const qn_nn_slot *s)
{
    (void)b;
    return build(at, x, s, QN_NN_LSTM);
}

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
    {                                                                                              \
        .name = "bidirectional", .kind = QN_NN_ATTR_BOOL, .fallback = "false",                     \
        .doc = "whether a second one reads from the end, its output set beside"                    \
    }
static const qn_nn_attr gated_attrs[] = {COMMON, {0}};
static const qn_nn_attr rnn_attrs[] = {
    COMMON,
    {.name = "activation",
     .kind = QN_NN_ATTR_CHOICE,
     .fallback = "tanh",
     .choices = "tanh relu",
     .doc = "what follows the sum"},
    {0},
};

const qn_nn_row qn_nn_rows_recurrent[] = {
    {{"rnn", "a state carried along a sequence [T, features] (Keras SimpleRNN)", rnn_attrs},
     build_rnn},
    {{"lstm", "a state with a memory cell carried along a sequence (Keras LSTM)", gated_attrs},
     build_lstm},
    {{"gru", "a gated state carried along a sequence (Keras GRU)", gated_attrs}, build_gru},
    {{0}, NULL},
};
