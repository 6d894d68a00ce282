/*
 * Rows of arrays summed up, and sequences of labels read from the classes of steps: the best path is the likeliest class of
 * every step, repeats joined, blanks left out (Graves et al. 2006, 3.2).
 */
#include "train/arrays.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "train/loss_probe.h"

bool qn_arrays_loss(const qn_target_array *target, qn_nn_loss *ret, const char **ret_closing)
{
    qn_nn_loss loss = {.blank = target->blank, .labels_max = target->shape.dims[0]};
    if (!target->loss || !qn_nn_loss_find(target->loss, &loss.kind))
        return false;
    *ret_closing = loss.kind == QN_NN_LOSS_BCE ? "sigmoid" : "softmax";
    *ret = loss;
    return true;
}

static int64_t width_of(const qn_array_rows *in)
{
    return qn_shape_count(&in->target->shape);
}

/* --- numbers --- */

/* The mean of every place. */
static double *means_of(const qn_array_rows *in, qn_arena *arena)
{
    int64_t width = width_of(in);
    const float *truth = in->truth;
    double *means = QN_NEW(arena, double, width);
    for (int64_t i = 0; means && i < in->rows * width; i++)
        means[i % width] += (double)truth[i] / (double)in->rows;
    return means;
}

static void sum_numbers(const float *truth, const float *answer, const double *means, int64_t width,
                        qn_row_sums *ret)
{
    for (int64_t k = 0; k < width; k++) {
        double t = (double)truth[k], error = (double)answer[k] - t;
        double both = fabs(t) + fabs(t + error), off = t - means[k];
        ret->square += error * error;
        ret->absolute += fabs(error);
        ret->relative += t != 0 ? fabs(error / t) : (double)INFINITY;
        ret->symmetric += both > 0 ? 2 * fabs(error) / both : 0;
        ret->spread += off * off;
    }
}

/* --- labels --- */

static int64_t labels_count(const int64_t *labels, int64_t most)
{
    int64_t count = 0;
    while (count < most && labels[count] >= 0)
        count++;
    return count;
}

/* The best path of [T, classes] into dst [T]; returns how many labels it spells. Of equals the blank is chosen. */
static int64_t best_path(const float *answer, const qn_shape *shape, int64_t blank, int64_t *dst)
{
    int64_t steps = shape->dims[0], classes = shape->dims[1], count = 0, last = -1;
    for (int64_t t = 0; t < steps; t++) {
        const float *step = answer + t * classes;
        int64_t best = blank;
        for (int64_t c = 0; c < classes; c++)
            best = step[c] > step[best] ? c : best;
        if (best != blank && best != last)
            dst[count++] = best;
        last = best;
    }
    return count;
}

/* Levenshtein's distance; `line` has room for b_count + 1. */
static int64_t edit_distance(const int64_t *a, int64_t a_count, const int64_t *b, int64_t b_count,
                             int64_t *line)
{
    for (int64_t j = 0; j <= b_count; j++)
        line[j] = j;
    for (int64_t i = 1; i <= a_count; i++) {
        int64_t corner = line[0];
        line[0] = i;
        for (int64_t j = 1; j <= b_count; j++) {
            int64_t changed = corner + (a[i - 1] != b[j - 1]);
            corner = line[j];
            line[j] = qn_min_i64(changed, 1 + qn_min_i64(corner, line[j - 1]));
        }
    }
    return line[b_count];
}

/* Steps that a row of labels needs: one each, and a blank between two alike. */
static int64_t steps_needed(const int64_t *labels, int64_t count)
{
    int64_t steps = count;
    for (int64_t i = 1; i < count; i++)
        steps += labels[i] == labels[i - 1];
    return steps;
}

static qn_status check_row(const qn_array_rows *in, const int64_t *labels, qn_str name, int64_t row,
                           qn_error *err)
{
    int64_t most = in->target->shape.dims[0], classes = in->answer.dims[1];
    int64_t count = labels_count(labels, most), steps = steps_needed(labels, count);
    for (int64_t k = 0; k < most; k++) {
        if (labels[k] >= classes || labels[k] == in->target->blank || labels[k] < -1)
            QN_FAIL(err, QN_ERR_DATA,
                    "'%.*s' holds %lld in row %lld; labels are 0 to %lld without %lld, the blank "
                    "(train.blank), and -1 behind them",
                    QN_STR_ARG(name), (long long)labels[k], (long long)row, (long long)classes - 1,
                    (long long)in->target->blank);
        if (k > count && labels[k] >= 0)
            QN_FAIL(err, QN_ERR_DATA,
                    "'%.*s' holds %lld behind a -1 in row %lld; rows are filled up with -1 from "
                    "behind",
                    QN_STR_ARG(name), (long long)labels[k], (long long)row);
    }
    if (steps <= in->answer.dims[0])
        return QN_OK;
    QN_FAIL(err, QN_ERR_DATA,
            "'%.*s' holds %lld labels in row %lld, which need %lld steps (a blank between two "
            "alike); the network gives %lld",
            QN_STR_ARG(name), (long long)count, (long long)row, (long long)steps,
            (long long)in->answer.dims[0]);
}

qn_status qn_arrays_check_labels(const qn_array_rows *in, qn_str name, const int64_t *frame_rows,
                                 qn_error *err)
{
    const int64_t *labels = in->truth;
    if (in->target->blank >= in->answer.dims[1])
        return qn_error_set(err, QN_ERR_ARG, "train.blank",
                            "the blank is class %lld; the network gives %lld classes",
                            (long long)in->target->blank, (long long)in->answer.dims[1]);
    for (int64_t i = 0; i < in->rows; i++)
        QN_TRY(check_row(in, labels + i * in->target->shape.dims[0], name,
                         (frame_rows ? frame_rows[i] : i) + 1, err));
    return QN_OK;
}

/* --- rows --- */

typedef struct {
    const qn_array_rows *in;
    int64_t answers;     /* numbers of one answer */
    const double *means; /* of numbers */
    int64_t *path, *line;
    qn_loss_probe probe;
    bool has_loss;
} summing;

static qn_status begin(summing *s, qn_arena *arena, qn_error *err)
{
    const qn_array_rows *in = s->in;
    qn_nn_loss loss;
    const char *closing;
    s->answers = qn_shape_count(&in->answer);
    if (in->task == QN_TASK_TRANSCRIBE) {
        s->path = QN_NEW(arena, int64_t, in->answer.dims[0]);
        s->line = QN_NEW(arena, int64_t, in->target->shape.dims[0] + 1);
    } else {
        s->means = means_of(in, arena);
    }
    if (!s->means && (!s->path || !s->line))
        QN_FAIL(err, QN_ERR_MEMORY, "no memory for metrics of %lld rows", (long long)in->rows);
    s->has_loss = qn_arrays_loss(in->target, &loss, &closing);
    if (!s->has_loss)
        return QN_OK;
    qn_type one = {QN_DTYPE_F32, {.rank = in->answer.rank + 1, .dims = {1}}};
    memcpy(one.shape.dims + 1, in->answer.dims, (size_t)in->answer.rank * sizeof(int64_t));
    return qn_loss_probe_open(&s->probe, &loss, closing, &one, err);
}

static void sum_row(summing *s, int64_t row, const float *answer, qn_row_sums *ret)
{
    const qn_array_rows *in = s->in;
    int64_t width = width_of(in);
    bool transcribe = in->task == QN_TASK_TRANSCRIBE;
    size_t size = (size_t)width * qn_dtype_size(transcribe ? QN_DTYPE_I64 : QN_DTYPE_F32);
    const char *truth = (const char *)in->truth + (size_t)row * size;
    if (transcribe) {
        const int64_t *labels = (const int64_t *)(const void *)truth;
        int64_t there = labels_count(labels, width);
        int64_t said = best_path(answer, &in->answer, in->target->blank, s->path);
        ret->labels = (double)there;
        ret->edits = (double)edit_distance(s->path, said, labels, there, s->line);
    } else {
        sum_numbers((const float *)(const void *)truth, answer, s->means, width, ret);
    }
    if (!s->has_loss)
        return;
    memcpy(s->probe.answers, answer, (size_t)s->answers * sizeof *answer);
    memcpy(s->probe.target, truth, size);
    ret->loss = qn_loss_probe_run(&s->probe);
}

const float *qn_arrays_constant(const qn_array_rows *in, qn_arena *arena)
{
    int64_t count = qn_shape_count(&in->answer);
    bool labels = in->task == QN_TASK_TRANSCRIBE;
    float *constant = QN_NEW(arena, float, count);
    const double *means = labels ? NULL : means_of(in, arena);
    if (!constant || (!labels && !means))
        return NULL;
    for (int64_t i = 0; i < count; i++)
        constant[i] = labels ? 1 / (float)in->answer.dims[1] : (float)means[i];
    return constant;
}

qn_status qn_arrays_outcome(const qn_array_rows *in, const float *constant, qn_arena *arena,
                            qn_outcome *ret, qn_error *err)
{
    summing s = {.in = in};
    qn_row_sums *sums = QN_NEW(arena, qn_row_sums, in->rows);
    qn_row_sums *trivial = constant ? QN_NEW(arena, qn_row_sums, in->rows) : NULL;
    if (!sums || (constant && !trivial))
        QN_FAIL(err, QN_ERR_MEMORY, "no memory for metrics of %lld rows", (long long)in->rows);
    qn_status status = begin(&s, arena, err);
    for (int64_t row = 0; status == QN_OK && row < in->rows; row++) {
        sum_row(&s, row, in->answers + row * s.answers, &sums[row]);
        if (trivial)
            sum_row(&s, row, constant, &trivial[row]);
    }
    qn_loss_probe_close(&s.probe);
    if (status == QN_OK)
        *ret = (qn_outcome){.task = in->task,
                            .rows = in->rows,
                            .sums = sums,
                            .trivial = trivial,
                            .width = width_of(in),
                            .has_loss = s.has_loss};
    return status;
}
