/*
 * Recurrent networks with ONNX's equations, weights and order of gates.
 *
 *   RNN   h' = f(x W' + h R' + b), f = tanh or relu
 *   LSTM  i, o, f = sigmoid, g = tanh of x W' + h R' + b;  c' = f c + i g;  h' = o tanh(c')   (rows i o f g)
 *         with peepholes [D, 3 H] (rows i o f) i and f also see c times theirs, o sees c' (Gers and Schmidhuber 2000);
 *         with input_forget f = 1 - i
 *   GRU   z, r = sigmoid; n = tanh(x Wn' + bn + r (h Rn' + rn)) with linear_before_reset (Keras, PyTorch), else
 *         n = tanh(x Wn' + bn + (r h) Rn' + rn);  h' = (1 - z) n + z h                         (rows z r n)
 * x is [T, B, I] (layout 0) or [B, T, I] (layout 1); weight [D, G H, I], recurrent [D, G H, H], bias [D, 2 G H] (input's,
 * then state's), D = 2 when bidirectional. Other activations are named by `activations` (rnn_act.h), and what goes into
 * them is kept within [-clip, clip]. Steps at or beyond lengths[b] give 0 and leave the state alone; a backward
 * direction begins at a row's own last step.
 *
 * The forward keeps activated gates for each step, `kept`: RNN h; LSTM i o f g c; GRU z r n and h Rn' + rn. The backward
 * goes through time once, writing the gradients of what stands before the activations (`slopes`; GRU has n twice, seen
 * from the input and from the state); all weight gradients are then one product each over all steps.
 */
#include "graph/op/common.h"

#include <math.h>
#include <string.h>

#include "graph/op/rnn_act.h"

typedef enum { RNN_PLAIN, RNN_GRU, RNN_LSTM } rnn_kind;

typedef struct {
    rnn_kind kind;
    int64_t dirs, steps, batch, input, hidden;
    int64_t gates, kept, slopes; /* in units of hidden */
    bool batch_first, reverse, reset_after, coupled;
    qn_rnn_act acts[2][QN_RNN_ACT_ROLES];
    double clip; /* 0 = none */
    const int64_t *lengths;
} rnn_walk;

/* Rows of x, of y, of states, and of kept and slopes. */
static int64_t in_place(const rnn_walk *w, int64_t t, int64_t b)
{
    return w->batch_first ? b * w->steps + t : t * w->batch + b;
}
static int64_t out_place(const rnn_walk *w, int64_t d, int64_t t, int64_t b)
{
    return w->batch_first ? (b * w->steps + t) * w->dirs + d : (t * w->dirs + d) * w->batch + b;
}
static int64_t state_place(const rnn_walk *w, int64_t d, int64_t b)
{
    return w->batch_first ? b * w->dirs + d : d * w->batch + b;
}
static int64_t kept_place(const rnn_walk *w, int64_t d, int64_t t, int64_t b)
{
    return d * w->steps * w->batch + in_place(w, t, b);
}

static int64_t length_of(const rnn_walk *w, int64_t b)
{
    int64_t length = w->lengths ? w->lengths[b] : w->steps;
    return length < 0 ? 0 : length < w->steps ? length : w->steps;
}

/* The time of step s in the order the direction goes. */
static int64_t time_of(const rnn_walk *w, int64_t d, int64_t s, int64_t end)
{
    return w->reverse || d == 1 ? end - 1 - s : s;
}

static double activate(const rnn_walk *w, const qn_rnn_act *act, double x)
{
    return qn_rnn_act_apply(act, w->clip > 0 ? fmax(-w->clip, fmin(w->clip, x)) : x);
}

#define OP_BODY "graph/op/rnn_body.h"
#include "graph/op/typed.h"

static bool is_word(const qn_op_types *types, const char *attr, const char *word)
{
    return strcmp(qn_op_attr_s(types, attr), word) == 0;
}

static const char *usual_activations(const qn_op_types *types)
{
    const char name = types->op->name[0];
    return name == 'L'   ? "sigmoid tanh tanh"
           : name == 'G' ? "sigmoid tanh"
                         : qn_op_attr_s(types, "activation");
}

/* Sizes from x, weight, recurrent, the first three inputs. */
static qn_status read_walk(const qn_op_types *types, rnn_walk *ret, qn_error *err)
{
    const char name = types->op->name[0];
    const qn_shape *x = &types->inputs[0].shape, *r = &types->inputs[2].shape;
    rnn_walk w = {.kind = name == 'L'   ? RNN_LSTM
                          : name == 'G' ? RNN_GRU
                                        : RNN_PLAIN,
                  .dirs = is_word(types, "direction", "bidirectional") ? 2 : 1,
                  .batch_first = qn_op_attr_i(types, "layout") != 0,
                  .reverse = is_word(types, "direction", "reverse")};
    QN_TRY(qn_op_want_float(types, 0, err));
    QN_TRY(qn_op_want_rank(types, 0, 3, err));
    QN_TRY(qn_op_want_rank(types, 2, 3, err));
    w.steps = x->dims[!w.batch_first ? 0 : 1];
    w.batch = x->dims[w.batch_first ? 0 : 1];
    w.input = x->dims[2];
    w.hidden = r->dims[2];
    w.gates = w.kind == RNN_LSTM ? 4 : w.kind == RNN_GRU ? 3 : 1;
    w.kept = w.kind == RNN_LSTM ? 5 : w.kind == RNN_GRU ? 4 : 1;
    w.slopes = w.kind == RNN_PLAIN ? 1 : 4;
    w.clip = qn_op_attr_f(types, "clip");
    w.coupled = w.kind == RNN_LSTM && qn_op_attr_i(types, "input_forget") != 0;
    QN_TRY(qn_rnn_acts_read(qn_op_attr_s(types, "activations"), usual_activations(types), w.dirs,
                            w.acts, err));
    w.reset_after = w.kind == RNN_GRU && qn_op_attr_i(types, "linear_before_reset") != 0;
    if (w.input < 1 || w.hidden < 1 || w.hidden > INT32_MAX)
        QN_FAIL(err, QN_ERR_ARG, "%lld numbers a step and %lld units, expected 1 or more",
                (long long)w.input, (long long)w.hidden);
    qn_shape weight = QN_SHAPE(w.dirs, w.gates * w.hidden, w.input);
    qn_shape recurrent = QN_SHAPE(w.dirs, w.gates * w.hidden, w.hidden);
    for (int i = 1; i < 3; i++) {
        QN_TRY(qn_op_want_dtype(types, i, types->inputs[0].dtype, err));
        QN_TRY(qn_op_want_shape(types, i, i == 1 ? &weight : &recurrent, err));
    }
    *ret = w;
    return QN_OK;
}

static qn_shape state_shape(const rnn_walk *w)
{
    return w->batch_first ? QN_SHAPE(w->batch, w->dirs, w->hidden)
                          : QN_SHAPE(w->dirs, w->batch, w->hidden);
}

static qn_shape out_shape(const rnn_walk *w)
{
    return w->batch_first ? QN_SHAPE(w->batch, w->steps, w->dirs, w->hidden)
                          : QN_SHAPE(w->steps, w->dirs, w->batch, w->hidden);
}

static qn_shape kept_shape(const rnn_walk *w, int64_t parts)
{
    return w->batch_first ? QN_SHAPE(w->dirs, w->batch, w->steps, parts * w->hidden)
                          : QN_SHAPE(w->dirs, w->steps, w->batch, parts * w->hidden);
}

/* An optional input of the given shape and x's type. */
static qn_status want(const qn_op_types *types, int input, qn_shape shape, qn_error *err)
{
    if (!qn_op_has(types, input))
        return QN_OK;
    QN_TRY(qn_op_want_dtype(types, input, types->inputs[0].dtype, err));
    return qn_op_want_shape(types, input, &shape, err);
}

static qn_status want_lengths(const qn_op_types *types, int input, const rnn_walk *w, qn_error *err)
{
    qn_shape each = QN_SHAPE(w->batch);
    if (!qn_op_has(types, input))
        return QN_OK;
    QN_TRY(qn_op_want_dtype(types, input, QN_DTYPE_I64, err));
    return qn_op_want_shape(types, input, &each, err);
}

static qn_status rnn_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    rnn_walk w;
    qn_dtype dtype = types->inputs[0].dtype;
    QN_TRY(read_walk(types, &w, err));
    QN_TRY(want(types, 3, QN_SHAPE(w.dirs, 2 * w.gates * w.hidden), err));
    QN_TRY(want_lengths(types, 4, &w, err));
    QN_TRY(want(types, 5, state_shape(&w), err));
    QN_TRY(want(types, 6, state_shape(&w), err));
    QN_TRY(want(types, 7, QN_SHAPE(w.dirs, 3 * w.hidden), err));
    int last = types->outputs_count - 1;
    ret_outputs[0] = (qn_type){dtype, out_shape(&w)};
    for (int i = 1; i < last; i++)
        ret_outputs[i] = (qn_type){dtype, state_shape(&w)};
    ret_outputs[last] = (qn_type){dtype, kept_shape(&w, w.kept)};
    return QN_OK;
}

static rnn_walk walk_of(const qn_op_run *run, int lengths)
{
    rnn_walk w = {0};
    qn_status status = read_walk(run->types, &w, NULL);
    QN_ASSERT(status == QN_OK);
    w.lengths = qn_op_has(run->types, lengths) ? run->inputs[lengths].data : NULL;
    return w;
}

static void rnn_ref(const qn_op_run *run)
{
    rnn_walk w = walk_of(run, 4);
    OP_FLOAT_CALL(run->inputs[0].dtype, forward, run, &w);
}

static qn_value given(const qn_op_vjp *in, int input)
{
    return qn_op_has(in->types, input) ? in->inputs[input] : QN_NONE;
}

static void rnn_vjp(const qn_op_vjp *in, qn_value *ret)
{
    static const char *const ops[] = {"RNNGrad", "GRUGrad", "LSTMGrad"};
    rnn_walk w = {0};
    if (read_walk(in->types, &w, NULL) != QN_OK)
        return;
    bool lstm = w.kind == RNN_LSTM;
    int kept = lstm ? 3 : 2;
    if (in->grads[kept] != QN_NONE) {
        qn_graph_fail(in->graph, QN_ERR_ARG, "%s: what it keeps has no gradient",
                      in->types->op->name);
        return;
    }
    qn_value inputs[12] = {
        in->inputs[0],     in->inputs[1], in->inputs[2], in->outputs[0],
        in->outputs[kept], in->grads[0],  in->grads[1],  lstm ? in->grads[2] : QN_NONE,
        given(in, 4),      given(in, 5),  given(in, 6),  given(in, 7)};
    int count = 12;
    while (inputs[count - 1] == QN_NONE)
        count--;
    qn_value first = qn_op_like_node(in, ops[w.kind], inputs, count);
    if (first == QN_NONE)
        return;
    for (int i = 0; i < in->types->inputs_count && i < 7; i++)
        if (qn_op_has(in->types, i) && i != 4)
            ret[i] = first + (i < 4 ? i : i - 1);
    if (qn_op_has(in->types, 7))
        ret[7] = first + 7;
}

static qn_status grad_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    rnn_walk w;
    qn_dtype dtype = types->inputs[0].dtype;
    QN_TRY(read_walk(types, &w, err));
    QN_TRY(want(types, 3, out_shape(&w), err));
    QN_TRY(want(types, 4, kept_shape(&w, w.kept), err));
    QN_TRY(want(types, 5, out_shape(&w), err));
    QN_TRY(want(types, 6, state_shape(&w), err));
    QN_TRY(want(types, 7, state_shape(&w), err));
    QN_TRY(want_lengths(types, 8, &w, err));
    QN_TRY(want(types, 9, state_shape(&w), err));
    QN_TRY(want(types, 10, state_shape(&w), err));
    QN_TRY(want(types, 11, QN_SHAPE(w.dirs, 3 * w.hidden), err));
    for (int i = 0; i < 3; i++)
        ret_outputs[i] = types->inputs[i];
    int last = w.kind == RNN_LSTM ? 6 : 5;
    if (w.kind == RNN_LSTM)
        ret_outputs[7] = (qn_type){dtype, QN_SHAPE(w.dirs, 3 * w.hidden)};
    ret_outputs[3] = (qn_type){dtype, QN_SHAPE(w.dirs, 2 * w.gates * w.hidden)};
    for (int i = 4; i < last; i++)
        ret_outputs[i] = (qn_type){dtype, state_shape(&w)};
    ret_outputs[last] = (qn_type){dtype, kept_shape(&w, w.slopes)};
    return QN_OK;
}

static void grad_ref(const qn_op_run *run)
{
    rnn_walk w = walk_of(run, 8);
    OP_FLOAT_CALL(run->inputs[0].dtype, backward, run, &w);
}

static int64_t rnn_flops(const qn_op_types *types)
{
    rnn_walk w = {0};
    qn_status status = read_walk(types, &w, NULL);
    QN_ASSERT(status == QN_OK);
    int64_t pass = 2 * w.dirs * w.steps * w.batch * w.gates * w.hidden * (w.input + w.hidden);
    return strstr(types->op->name, "Grad") ? 2 * pass : pass;
}

#define DIRECTION                                                                                  \
    {.name = "direction", .kind = QN_ATTR_STRING, .choices = "forward reverse bidirectional"},     \
        {.name = "layout", .kind = QN_ATTR_INT, .high = 1},                                        \
        {.name = "activations", .kind = QN_ATTR_STRING},                                           \
    {                                                                                              \
        .name = "clip", .kind = QN_ATTR_FLOAT, .low = 0, .high = 1e30                              \
    }
static const qn_attr_spec lstm_attrs[] = {
    DIRECTION,
    {.name = "input_forget", .kind = QN_ATTR_INT, .high = 1},
    {0},
};
static const qn_attr_spec gru_attrs[] = {
    DIRECTION,
    {.name = "linear_before_reset", .kind = QN_ATTR_INT, .high = 1},
    {0},
};
static const qn_attr_spec rnn_attrs[] = {
    DIRECTION,
    {.name = "activation", .kind = QN_ATTR_STRING, .choices = "tanh relu"},
    {0},
};

/* T 3, B 2, I 3, H 2: one direction; and T 3, B 3, I 2, H 2 batch-first both ways, with lengths and states. */
#define PLAIN(G)                                                                                   \
    .inputs_count = 4,                                                                             \
    .inputs = {OP_F64(3, 2, 3), OP_F64(1, (int64_t)(G)*2, 3), OP_F64(1, (int64_t)(G)*2, 2),        \
               OP_F64(1, (int64_t)(G)*4)},                                                         \
    .low = -1, .high = 1
#define FULL(G, count)                                                                             \
    .inputs_count = (count),                                                                       \
    .inputs = {OP_F64(3, 3, 2),                                                                    \
               OP_F64(2, (int64_t)(G)*2, 2),                                                       \
               OP_F64(2, (int64_t)(G)*2, 2),                                                       \
               OP_F64(2, (int64_t)(G)*4),                                                          \
               OP_I64(3),                                                                          \
               OP_F64(3, 2, 2),                                                                    \
               OP_F64(3, 2, 2),                                                                    \
               OP_F64(2, 6)},                                                                      \
    .low = -1, .high = 4
#define BOTH OP_AS("direction", "bidirectional"), OP_AI("layout", 1)
static const qn_op_sample lstm_samples[] = {
    {PLAIN(4)},
    {PLAIN(4), .attrs_count = 1, .attrs = {OP_AS("direction", "reverse")}},
    {FULL(4, 7), .attrs_count = 2, .attrs = {BOTH}},
    {FULL(4, 8), .attrs_count = 2, .attrs = {BOTH}},
    {FULL(4, 8), .attrs_count = 3, .attrs = {BOTH, OP_AI("input_forget", 1)}},
    {PLAIN(4), .attrs_count = 2,
     .attrs = {OP_AS("activations", "hard_sigmoid scaled_tanh:1.7:0.7 softsign"),
               OP_AF("clip", 0.9)}},
    {PLAIN(4), .attrs_count = 1,
     .attrs = {OP_AS("activations", "softplus affine:0.5:0.1 elu:0.7")}},
};
static const qn_op_sample gru_samples[] = {
    {PLAIN(3)},
    {PLAIN(3), .attrs_count = 1, .attrs = {OP_AI("linear_before_reset", 1)}},
    {FULL(3, 6), .attrs_count = 3, .attrs = {BOTH, OP_AI("linear_before_reset", 1)}},
    {FULL(3, 6), .attrs_count = 2, .attrs = {BOTH}},
    {FULL(3, 6), .attrs_count = 4,
     .attrs = {BOTH, OP_AS("activations", "softsign leaky_relu:0.3 sigmoid elu"),
               OP_AF("clip", 0.8)}},
};
static const qn_op_sample rnn_samples[] = {
    {PLAIN(1)},
    {PLAIN(1), .attrs_count = 1, .attrs = {OP_AS("activation", "relu")}},
    {PLAIN(1), .attrs_count = 1, .attrs = {OP_AS("activations", "thresholded_relu:0.05")}},
    {FULL(1, 6), .attrs_count = 2, .attrs = {BOTH}},
};
#define GRAD(G, S, count)                                                                          \
    .inputs_count = (count),                                                                       \
    .inputs = {OP_F64(3, 4, 3),                                                                    \
               OP_F64(2, (int64_t)(G)*2, 3),                                                       \
               OP_F64(2, (int64_t)(G)*2, 2),                                                       \
               OP_F64(3, 2, 4, 2),                                                                 \
               OP_F64(2, 3, 4, (int64_t)(S)*2),                                                    \
               OP_F64(3, 2, 4, 2),                                                                 \
               OP_F64(2, 4, 2),                                                                    \
               OP_F64(2, 4, 2),                                                                    \
               OP_I64(4),                                                                          \
               OP_F64(2, 4, 2),                                                                    \
               OP_F64(2, 4, 2),                                                                    \
               OP_F64(2, 6)},                                                                      \
    .low = 0.1, .high = 1.9, .attrs_count = 1, .attrs = {OP_AS("direction", "bidirectional")}
static const qn_op_sample lstm_grad_samples[] = {{GRAD(4, 5, 11)}, {GRAD(4, 5, 12)}};
#define GRAD_ONE(G, S)                                                                             \
    .inputs_count = 10,                                                                            \
    .inputs = {OP_F64(3, 4, 3),                                                                    \
               OP_F64(1, (int64_t)(G)*2, 3),                                                       \
               OP_F64(1, (int64_t)(G)*2, 2),                                                       \
               OP_F64(3, 1, 4, 2),                                                                 \
               OP_F64(1, 3, 4, (int64_t)(S)*2),                                                    \
               OP_ABSENT,                                                                          \
               OP_F64(1, 4, 2),                                                                    \
               OP_ABSENT,                                                                          \
               OP_I64(4),                                                                          \
               OP_F64(1, 4, 2)},                                                                   \
    .low = 0.1, .high = 1.9
static const qn_op_sample gru_grad_samples[] = {
    {GRAD_ONE(3, 4), .attrs_count = 1, .attrs = {OP_AI("linear_before_reset", 1)}},
};
static const qn_op_sample rnn_grad_samples[] = {{GRAD_ONE(1, 1)}};

#define FORWARD(op_name, high, outputs, list, table)                                               \
    {                                                                                              \
        .name = (op_name), .inputs_min = 3, .inputs_max = (high), .outputs_count = (outputs),      \
        .factors = 7, .attrs = (list), .infer = rnn_infer, .vjp = rnn_vjp, .ref = rnn_ref,         \
        .flops = rnn_flops, OP_SAMPLES(table)                                                      \
    }
#define BACKWARD(op_name, high, outputs, slopes, list, table)                                      \
    {                                                                                              \
        .name = (op_name), .inputs_min = 5, .inputs_max = (high), .outputs_count = (outputs),      \
        .factors = 7, .spare = 1U << (slopes), .flags = QN_OP_NO_GRADIENT, .attrs = (list),        \
        .infer = grad_infer, .ref = grad_ref, .flops = rnn_flops, OP_SAMPLES(table)                \
    }

const qn_op qn_ops_rnn[] = {
    FORWARD("LSTM", 8, 4, lstm_attrs, lstm_samples),
    FORWARD("GRU", 6, 3, gru_attrs, gru_samples),
    FORWARD("RNN", 6, 3, rnn_attrs, rnn_samples),
    BACKWARD("LSTMGrad", 12, 8, 6, lstm_attrs, lstm_grad_samples),
    BACKWARD("GRUGrad", 10, 6, 5, gru_attrs, gru_grad_samples),
    BACKWARD("RNNGrad", 10, 6, 5, rnn_attrs, rnn_grad_samples),
    {0},
};
