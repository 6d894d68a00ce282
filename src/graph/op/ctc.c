/*
 * Connectionist temporal classification (Graves et al. 2006): minus the log-probability that the frames of a row, each a choice
 * of one class, spell its labels once repetitions are joined and blanks are dropped.
 *
 * With labels l1 .. lS the states are blank l1 blank l2 ... lS blank, L = 2 S + 1 of them. A path starts in one of the first two,
 * ends in one of the last two, and from frame to frame stays, goes one on, or skips a blank between two different labels:
 *
 *     alpha[t][s] = y[t][s] + log(e^alpha[t-1][s] + e^alpha[t-1][s-1] + (skip) e^alpha[t-1][s-2])
 *     beta likewise from the end;   log p = log sum_s e^(alpha[t][s] + beta[t][s] - y[t][s])   at every t
 *
 * all in logarithms, y being the log-softmax of the logits. The gradient to a logit of class k is
 * softmax[t][k] - sum over the states of class k of e^(alpha + beta - y - log p): exact, no sampling.
 *
 * Frames past a row's input length count nothing; labels past its label length, or from the first negative one on when lengths
 * are absent, neither. A row whose frames are too few costs infinity, or nothing with zero_infinity. The mean is that of
 * loss / label length (at least 1) over the rows, as in PyTorch; "sum" divides by nothing.
 *
 * The third output is memory: alpha of every frame and two rows of beta (from the last state to the first), each with its
 * largest taken off, which keeps the digits of f32 however long a row is. Frames and labels must be known sizes.
 */
#include "graph/op/common.h"

#include <math.h>
#include <string.h>

typedef struct {
    int64_t rows, frames, classes, labels, blank;
    bool sum, zero_infinity;
} ctc_options;

/* No path: far below every sum of logarithms, and finite, so that differences are numbers. */
static const double ctc_low = -1e30;

/* One row: its labels, how many count, and how many frames. Reversed: read from the last. */
typedef struct {
    const int64_t *labels;
    int64_t count, frames;
    bool reversed;
} ctc_row;

static int64_t label_at(const ctc_row *row, int64_t i)
{
    return row->labels[row->reversed ? row->count - 1 - i : i];
}

static int64_t class_of(const ctc_row *row, int64_t state, int64_t blank)
{
    return state % 2 ? label_at(row, state / 2) : blank;
}

static bool may_skip(const ctc_row *row, int64_t state)
{
    return state % 2 && state >= 3 && label_at(row, state / 2) != label_at(row, state / 2 - 1);
}

static double add_logs(double a, double b)
{
    double high = a > b ? a : b;
    return high + log(exp(a - high) + exp(b - high));
}

static int64_t length_of(const qn_op_run *run, int input, int64_t row, int64_t most)
{
    int64_t length =
        qn_op_has(run->types, input) ? ((const int64_t *)run->inputs[input].data)[row] : most;
    return length < 0 ? 0 : length > most ? most : length;
}

static ctc_row read_row(const qn_op_run *run, const ctc_options *o, int64_t r)
{
    ctc_row row = {.labels = (const int64_t *)run->inputs[1].data + r * o->labels};
    row.frames = length_of(run, 2, r, o->frames);
    row.count = length_of(run, 3, r, o->labels);
    for (int64_t i = 0; i < row.count && !qn_op_has(run->types, 3); i++)
        if (row.labels[i] < 0)
            row.count = i;
    return row;
}

/* Labels must be classes and not the blank: another one makes the loss NaN. */
static bool is_sound(const ctc_row *row, const ctc_options *o)
{
    for (int64_t i = 0; i < row->count; i++)
        if (row->labels[i] < 0 || row->labels[i] >= o->classes || row->labels[i] == o->blank)
            return false;
    return true;
}

#define OP_BODY "graph/op/ctc_body.h"
#include "graph/op/typed.h"

static void ctc_ref(const qn_op_run *run)
{
    const qn_shape *logits = &run->inputs[0].shape;
    ctc_options options = {
        .rows = logits->dims[0],
        .frames = logits->dims[1],
        .classes = logits->dims[2],
        .labels = run->inputs[1].shape.dims[1],
        .blank = qn_op_attr_i(run->types, "blank"),
        .sum = strcmp(qn_op_attr_s(run->types, "reduction"), "sum") == 0,
        .zero_infinity = qn_op_attr_i(run->types, "zero_infinity") != 0,
    };
    OP_FLOAT_CALL(run->inputs[0].dtype, ctc, run, &options);
}

static qn_status ctc_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    const qn_shape *logits = &types->inputs[0].shape;
    QN_TRY(qn_op_want_float(types, 0, err));
    QN_TRY(qn_op_want_rank(types, 0, 3, err));
    QN_TRY(qn_op_want_dtype(types, 1, QN_DTYPE_I64, err));
    QN_TRY(qn_op_want_rank(types, 1, 2, err));
    qn_shape rows = QN_SHAPE(logits->dims[0]), labels = types->inputs[1].shape;
    labels.dims[0] = logits->dims[0];
    QN_TRY(qn_op_want_shape(types, 1, &labels, err));
    for (int i = 2; i < 4; i++)
        if (qn_op_has(types, i)) {
            QN_TRY(qn_op_want_dtype(types, i, QN_DTYPE_I64, err));
            QN_TRY(qn_op_want_shape(types, i, &rows, err));
        }
    int64_t blank = qn_op_attr_i(types, "blank");
    if (blank >= logits->dims[2])
        QN_FAIL(err, QN_ERR_ARG, "the blank is class %lld of %lld", (long long)blank,
                (long long)logits->dims[2]);
    ret_outputs[0] = (qn_type){types->inputs[0].dtype, QN_SCALAR};
    ret_outputs[1] = types->inputs[0];
    qn_shape kept = *logits;
    kept.dims[1] = logits->dims[1] < 0 ? logits->dims[1] : logits->dims[1] + 2;
    kept.dims[2] = 2 * labels.dims[1] + 1;
    ret_outputs[2] = (qn_type){types->inputs[0].dtype, kept};
    return QN_OK;
}

static void ctc_vjp(const qn_op_vjp *in, qn_value *ret)
{
    if (in->grads[0] != QN_NONE)
        ret[0] = qn_graph_op2(in->graph, "Mul", in->outputs[1], in->grads[0]);
}

static int64_t ctc_flops(const qn_op_types *types)
{
    const qn_shape *logits = &types->inputs[0].shape;
    return 10 * qn_shape_count(logits) +
           120 * logits->dims[0] * logits->dims[1] * types->inputs[1].shape.dims[1];
}

static const qn_attr_spec ctc_attrs[] = {
    {.name = "blank", .kind = QN_ATTR_INT, .low = 0, .high = 1 << 30},
    {.name = "reduction", .kind = QN_ATTR_STRING, .choices = "mean sum"},
    {.name = "zero_infinity", .kind = QN_ATTR_INT, .high = 1},
    {0},
};
/* Labels 1 and 2 of four classes; the second sample has lengths 1 and 2, some of them too short. */
static const qn_op_sample ctc_samples[] = {
    {.inputs_count = 2, .inputs = {OP_F64(3, 6, 4), OP_I64(3, 2)}, .low = 1, .high = 3},
    {.inputs_count = 4,
     .inputs = {OP_F64(5, 4, 4), OP_I64(5, 3), OP_I64(5), OP_I64(5)},
     .low = 1,
     .high = 3,
     .attrs_count = 3,
     .attrs = {OP_AI("zero_infinity", 1), OP_AI("blank", 3), OP_AS("reduction", "sum")}},
};

const qn_op qn_ops_ctc[] = {
    {.name = "CTCLoss",
     .inputs_min = 2,
     .inputs_max = 4,
     .outputs_count = 3,
     .attrs = ctc_attrs,
     .infer = ctc_infer,
     .vjp = ctc_vjp,
     .ref = ctc_ref,
     .flops = ctc_flops,
     OP_SAMPLES(ctc_samples)},
    {0},
};
