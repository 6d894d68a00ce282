/*
 * Bindings of recurrent networks and their gradients. Peepholes, clipping and unusual activations run the row's
 * reference.
 */
#include <string.h>

#include "graph/bind/bind.h"
#include "kernel/rnn/rnn.h"

static bool has(const qn_bind *bind, int input)
{
    return input < bind->types->inputs_count && bind->types->inputs[input].shape.rank >= 0;
}

static const void *given(const qn_bind *bind, int input)
{
    return has(bind, input) ? bind->inputs[input].data : NULL;
}

static void *wanted(const qn_bind *bind, int output)
{
    return bind->wanted[output] ? bind->outputs[output].data : NULL;
}

static bool is_word(const qn_bind *bind, const char *attr, const char *word)
{
    return strcmp(qn_op_attr_s(bind->types, attr), word) == 0;
}

/* lengths, h0 and c0 stand side by side, from `lengths` on. */
static bool describe(const qn_bind *bind, int lengths, qn_rnn *io)
{
    const qn_shape *x = &bind->types->inputs[0].shape, *r = &bind->types->inputs[2].shape;
    char name = bind->types->op->name[0];
    bool batch_first = qn_op_attr_i(bind->types, "layout") != 0;
    *io = (qn_rnn){.kind = name == 'L'   ? QN_RNN_LSTM
                           : name == 'G' ? QN_RNN_GRU
                                         : QN_RNN_TANH,
                   .dirs = r->dims[0],
                   .steps = x->dims[batch_first ? 1 : 0],
                   .batch = x->dims[batch_first ? 0 : 1],
                   .input = x->dims[2],
                   .hidden = r->dims[2],
                   .batch_first = batch_first,
                   .reverse = is_word(bind, "direction", "reverse"),
                   .pairs = bind->narrow ? qn_pairs() : NULL,
                   .x = bind->inputs[0].data,
                   .weight = bind->inputs[1].data,
                   .recurrent = bind->inputs[2].data,
                   .ragged = has(bind, lengths),
                   .lengths = given(bind, lengths),
                   .h0 = given(bind, lengths + 1),
                   .c0 = given(bind, lengths + 2)};
    if (name == 'R' && is_word(bind, "activation", "relu"))
        io->kind = QN_RNN_RELU;
    bool usual = qn_op_attr_s(bind->types, "activations")[0] == '\0' &&
                 !(qn_op_attr_f(bind->types, "clip") > 0) && !has(bind, lengths + 3) &&
                 (name != 'L' || !qn_op_attr_i(bind->types, "input_forget"));
    io->reset_first = name == 'G' && !qn_op_attr_i(bind->types, "linear_before_reset");
    return usual && bind->types->inputs[0].dtype == QN_DTYPE_F32;
}

/* Of the backward; gradients of peepholes are the reference's. */
static bool describe_grad(const qn_bind *bind, qn_rnn *io)
{
    return describe(bind, 8, io) && !(bind->types->op->name[0] == 'L' && bind->wanted[7]);
}

bool qn_bind_recurrent_takes_bf16(const qn_bind *bind)
{
    qn_rnn io;
    bool wide = true;
    for (int i = 0; i < 3; i++)
        wide = wide && bind->types->inputs[i].dtype == QN_DTYPE_F32;
    bool grad = strstr(bind->types->op->name, "Grad") != NULL;
    return wide && (grad ? describe_grad(bind, &io) : describe(bind, 4, &io)) && io.pairs;
}

typedef struct {
    qn_rnn io;
    qn_rnn_result result;
    void *scratch;
} forward_args;

static void run_forward(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const forward_args *a = args;
    qn_rnn_f32(pool, &a->io, &a->result, a->scratch);
}

static size_t forward_scratch(const qn_bind *bind)
{
    qn_rnn io;
    return describe(bind, 4, &io) ? qn_rnn_scratch_bytes(&io, bind->context->threads) : 0;
}

static bool bind_forward(const qn_bind *bind)
{
    qn_rnn io;
    if (!describe(bind, 4, &io))
        return false;
    forward_args *args = qn_bind_args(bind, sizeof *args);
    if (!args)
        return false;
    bool lstm = io.kind == QN_RNN_LSTM;
    args->io = io;
    args->io.bias = given(bind, 3);
    args->result = (qn_rnn_result){.y = bind->outputs[0].data,
                                   .h = bind->outputs[1].data,
                                   .c = lstm ? bind->outputs[2].data : NULL,
                                   .kept = wanted(bind, lstm ? 3 : 2)};
    args->scratch = bind->scratch;
    return qn_bind_to(bind, run_forward, io.pairs ? "recurrent bf16" : "recurrent");
}

typedef struct {
    qn_rnn io;
    qn_rnn_grad grad;
    void *scratch;
} grad_args;

static void run_grad(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const grad_args *a = args;
    qn_rnn_grad_f32(pool, &a->io, &a->grad, a->scratch);
}

static size_t grad_scratch(const qn_bind *bind)
{
    qn_rnn io;
    return describe_grad(bind, &io) ? qn_rnn_grad_scratch_bytes(&io, bind->context->threads)
                                    : qn_bind_reference_scratch_bytes(bind);
}

static bool bind_grad(const qn_bind *bind)
{
    qn_rnn io;
    bool lstm = bind->types->op->name[0] == 'L';
    if (!describe_grad(bind, &io))
        return false;
    grad_args *args = qn_bind_args(bind, sizeof *args);
    if (!args)
        return false;
    args->io = io;
    args->grad = (qn_rnn_grad){.y = bind->inputs[3].data,
                               .kept = bind->inputs[4].data,
                               .dy = given(bind, 5),
                               .dh = given(bind, 6),
                               .dc = given(bind, 7),
                               .dx = wanted(bind, 0),
                               .dweight = wanted(bind, 1),
                               .drecurrent = wanted(bind, 2),
                               .dbias = wanted(bind, 3),
                               .dh0 = bind->outputs[4].data,
                               .dc0 = lstm ? bind->outputs[5].data : NULL,
                               .slopes = wanted(bind, lstm ? 6 : 5)};
    args->scratch = bind->scratch;
    return qn_bind_to(bind, run_grad, io.pairs ? "recurrent gradient bf16" : "recurrent gradient");
}

const qn_binding qn_bindings_rnn[] = {
    {"LSTM", bind_forward, forward_scratch},
    {"GRU", bind_forward, forward_scratch},
    {"RNN", bind_forward, forward_scratch},
    {"LSTMGrad", bind_grad, grad_scratch},
    {"GRUGrad", bind_grad, grad_scratch},
    {"RNNGrad", bind_grad, grad_scratch},
    {0},
};
