/*
 * Evaluation of a stored model: its own transforms and predictor over labelled rows, then metrics, the trivial
 * baseline and slices. Nothing is fitted here.
 */
#include "train/evaluate.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "data/loader.h"
#include "train/arrays.h"

enum { CHUNK_ROWS = 4096, BOOTSTRAP_ROUNDS = 200 };

typedef struct {
    qn_predictor *predictor;
    const qn_signature *signature;
    const qn_transforms *transforms;
    const qn_frame *frame;
    const qn_eval_options *options;
    qn_arena *arena;
    bool classes;
    /* Of rows with a target, in order: */
    int64_t *rows; /* of the frame */
    int64_t count;
    int64_t *labels;
    float *probability;
    double *truth, *number;
} evaluation;

static qn_status fail_memory(const evaluation *e, qn_error *err)
{
    return qn_error_set(err, QN_ERR_MEMORY, NULL, "no memory to evaluate %lld rows",
                        (long long)e->frame->rows);
}

static const char *data_name(const qn_frame *frame)
{
    return frame->parts_count ? frame->parts[0].file : "the data";
}

static qn_status check_target(const evaluation *e, qn_error *err)
{
    const char *target = e->signature->target;
    if (!e->transforms || !target || e->signature->task == QN_TASK_AUTO)
        QN_FAIL(err, QN_ERR_ARG, "model '%s' has no target column: it works on tensors",
                e->signature->name);
    if (!qn_frame_find(e->frame, qn_str_from(target)))
        QN_FAIL(err, QN_ERR_DATA, "column '%s', the target of model '%s', is not in %s", target,
                e->signature->name, data_name(e->frame));
    return QN_OK;
}

static bool allocate(evaluation *e)
{
    int64_t rows = e->frame->rows;
    int64_t each = e->classes ? e->signature->labels_count : 0;
    e->rows = QN_NEW(e->arena, int64_t, rows);
    e->labels = QN_NEW(e->arena, int64_t, e->classes ? rows : 0);
    e->probability = qn_arena_zero(e->arena, rows, (size_t)each * sizeof *e->probability);
    e->truth = QN_NEW(e->arena, double, e->classes ? 0 : rows);
    e->number = QN_NEW(e->arena, double, e->classes ? 0 : rows);
    return e->rows && e->labels && e->probability && e->truth && e->number;
}

/* Class index or number of every row; rows without one are left out. */
static qn_status read_classes(evaluation *e, qn_error *err)
{
    int64_t rows = e->frame->rows;
    QN_TRY(qn_transforms_classes(e->transforms, e->frame, NULL, rows, e->labels, err));
    for (int64_t row = 0; row < rows; row++)
        if (e->labels[row] >= 0) {
            e->labels[e->count] = e->labels[row];
            e->rows[e->count++] = row;
        }
    return QN_OK;
}

static qn_status read_numbers(evaluation *e, qn_error *err)
{
    int64_t rows = e->frame->rows;
    float *numbers = QN_NEW(e->arena, float, rows);
    if (!numbers)
        return fail_memory(e, err);
    QN_TRY(qn_transforms_numbers(e->transforms, e->frame, NULL, rows, numbers, err));
    for (int64_t row = 0; row < rows; row++)
        if (!isnan(numbers[row])) {
            e->truth[e->count] = (double)numbers[row];
            e->rows[e->count++] = row;
        }
    return QN_OK;
}

/* Answers of frame rows [first, first + count); *at is the next labelled row. */
static qn_status predict_chunk(evaluation *e, int64_t first, int64_t count, int64_t *at,
                               qn_arena *request, qn_error *err)
{
    qn_frame part;
    qn_predictions answers;
    QN_TRY(qn_frame_rows(e->frame, first, count, request, &part, err));
    QN_TRY(
        qn_predictor_rows(e->predictor, &part, e->options->ignore_unknown, request, &answers, err));
    for (; *at < e->count && e->rows[*at] < first + count; ++*at) {
        int64_t row = e->rows[*at] - first;
        if (e->classes)
            memcpy(e->probability + *at * answers.classes,
                   answers.probability + row * answers.classes,
                   (size_t)answers.classes * sizeof *e->probability);
        else
            e->number[*at] = answers.number[row];
    }
    return QN_OK;
}

static qn_status predict_all(evaluation *e, qn_error *err)
{
    qn_arena request;
    qn_status status = QN_OK;
    int64_t at = 0;
    qn_arena_init(&request, 0);
    for (int64_t first = 0; status == QN_OK && first < e->frame->rows; first += CHUNK_ROWS) {
        qn_arena_reset(&request);
        status = predict_chunk(e, first, qn_min_i64(CHUNK_ROWS, e->frame->rows - first), &at,
                               &request, err);
    }
    qn_arena_deinit(&request);
    return status;
}

static qn_outcome outcome_of(const evaluation *e)
{
    qn_outcome outcome = {.task = e->signature->task, .rows = e->count};
    if (e->classes) {
        outcome.classes = e->signature->labels_count;
        outcome.labels = e->labels;
        outcome.probability = e->probability;
    } else {
        outcome.truth = e->truth;
        outcome.number = e->number;
    }
    return outcome;
}

/* The answer of one who saw only the training labels, as a regression's baseline is the training mean. */
static qn_status label_shares(const evaluation *e, const qn_outcome *outcome, const double **ret,
                              qn_error *err)
{
    *ret = qn_transforms_shares(e->transforms);
    if (!e->classes || *ret)
        return QN_OK;
    double *shares = QN_NEW(e->arena, double, outcome->classes);
    if (!shares)
        return fail_memory(e, err);
    for (int64_t i = 0; i < e->count; i++)
        shares[e->labels[i]] += 1.0 / (double)e->count;
    *ret = shares;
    return QN_OK;
}

/* --- targets that are arrays: in tensor terms --- */

/* Features of frame rows [first, first + count), and the model's answers to them. */
static qn_status answer_chunk(const evaluation *e, int64_t first, int64_t count, float *dst,
                              qn_arena *request, qn_error *err)
{
    qn_frame part;
    qn_packed packed;
    qn_named_tensor answer;
    QN_TRY(qn_frame_rows(e->frame, first, count, request, &part, err));
    QN_TRY(qn_transforms_check(e->transforms, &part, e->options->ignore_unknown, err));
    QN_TRY(qn_pack(e->transforms, &part, NULL, count, false, NULL, request, &packed, err));
    qn_named_tensor *inputs = QN_NEW(request, qn_named_tensor, packed.tensors_count);
    if (!inputs)
        return fail_memory(e, err);
    for (int64_t i = 0; i < packed.tensors_count; i++) {
        const qn_packed_tensor *from = &packed.tensors[i];
        union {
            const void *from;
            void *to; /* a view of what is only read */
        } data = {.from = from->data};
        qn_shape shape = {.rank = from->shape.rank + 1, .dims = {count}};
        memcpy(shape.dims + 1, from->shape.dims, (size_t)from->shape.rank * sizeof(int64_t));
        inputs[i].name = qn_arena_strndup(request, from->name.data, from->name.size);
        inputs[i].tensor = qn_tensor_of(data.to, from->stored, shape);
        if (!inputs[i].name)
            return fail_memory(e, err);
    }
    QN_TRY(qn_predictor_tensors(e->predictor, inputs, (int)packed.tensors_count, request, &answer,
                                err));
    memcpy(dst, answer.tensor.data, qn_tensor_bytes(&answer.tensor));
    return QN_OK;
}

static qn_status answer_all(const evaluation *e, float *dst, int64_t each, qn_error *err)
{
    qn_arena request;
    qn_status status = QN_OK;
    qn_arena_init(&request, 0);
    for (int64_t first = 0; status == QN_OK && first < e->frame->rows; first += CHUNK_ROWS) {
        qn_arena_reset(&request);
        status = answer_chunk(e, first, qn_min_i64(CHUNK_ROWS, e->frame->rows - first),
                              dst + first * each, &request, err);
    }
    qn_arena_deinit(&request);
    return status;
}

/* The trivial answer is the best constant of these rows: the folder does not keep that of the training part. */
static qn_status evaluate_arrays(const evaluation *e, const qn_target_array *target, qn_eval *ret,
                                 qn_error *err)
{
    const qn_shape *answer = &e->signature->outputs[0].shape;
    qn_array_rows rows = {.target = target,
                          .task = e->signature->task,
                          .rows = e->frame->rows,
                          .answer = {.rank = answer->rank - 1}};
    memcpy(rows.answer.dims, answer->dims + 1, (size_t)rows.answer.rank * sizeof(int64_t));
    int64_t each = qn_shape_count(&rows.answer);
    int64_t *truth = qn_arena_zero(e->arena, rows.rows * qn_shape_count(&target->shape), 8);
    float *answers = qn_arena_zero(e->arena, rows.rows * each, sizeof *answers);
    if (!truth || !answers)
        return fail_memory(e, err);
    QN_TRY(qn_transforms_arrays(e->transforms, e->frame, NULL, rows.rows, truth, err));
    rows.truth = truth;
    rows.answers = answers;
    if (rows.task == QN_TASK_TRANSCRIBE)
        QN_TRY(qn_arrays_check_labels(&rows, qn_str_from(e->signature->target), NULL, err));
    QN_TRY(answer_all(e, answers, each, err));
    const float *constant = qn_arrays_constant(&rows, e->arena);
    qn_outcome outcome;
    if (!constant)
        return fail_memory(e, err);
    QN_TRY(qn_arrays_outcome(&rows, constant, e->arena, &outcome, err));
    QN_TRY(
        qn_metrics_of(&outcome, BOOTSTRAP_ROUNDS, e->options->seed, e->arena, &ret->metrics, err));
    ret->rows = rows.rows;
    return qn_metrics_baseline(&outcome, NULL, 0, e->arena, &ret->baseline, err);
}

static qn_status add_baseline(const evaluation *e, const qn_outcome *outcome, qn_metric_set *ret,
                              qn_error *err)
{
    double mean;
    double deviation;
    const double *shares;
    QN_TRY(label_shares(e, outcome, &shares, err));
    qn_transforms_target_scale(e->transforms, &mean, &deviation);
    return qn_metrics_baseline(outcome, shares, mean, e->arena, ret, err);
}

qn_status qn_eval_run(qn_predictor *predictor, const qn_frame *frame,
                      const qn_eval_options *options, qn_arena *arena, qn_eval *ret, qn_error *err)
{
    evaluation e = {.predictor = predictor,
                    .signature = qn_predictor_signature(predictor),
                    .transforms = qn_predictor_transforms(predictor),
                    .frame = frame,
                    .options = options,
                    .arena = arena};
    qn_eval eval = {.task = e.signature->task};
    e.classes = e.signature->task != QN_TASK_REGRESSION;
    QN_TRY(check_target(&e, err));
    const qn_target_array *array = qn_transforms_target_array(e.transforms);
    if (array && frame->rows > 0) {
        QN_TRY(evaluate_arrays(&e, array, &eval, err));
        *ret = eval;
        return QN_OK;
    }
    if (!allocate(&e))
        return fail_memory(&e, err);
    QN_TRY(e.classes ? read_classes(&e, err) : read_numbers(&e, err));
    if (e.count == 0)
        QN_FAIL(err, QN_ERR_DATA, "no row of %s has a value in '%s', the target", data_name(frame),
                e.signature->target);
    QN_TRY(predict_all(&e, err));
    const qn_outcome outcome = outcome_of(&e);
    QN_TRY(qn_metrics_of(&outcome, BOOTSTRAP_ROUNDS, options->seed, arena, &eval.metrics, err));
    QN_TRY(add_baseline(&e, &outcome, &eval.baseline, err));
    QN_TRY(qn_slices_of(&outcome, frame, e.rows, e.transforms, qn_metric_default(eval.task), arena,
                        &eval.slices, err));
    eval.rows = e.count;
    eval.rows_unlabelled = frame->rows - e.count;
    *ret = eval;
    return QN_OK;
}

void qn_eval_write_json(const qn_eval *eval, qn_json_writer *w)
{
    qn_json_object_begin(w);
    qn_json_put_text(w, "task", qn_task_name(eval->task));
    qn_json_key(w, "test");
    qn_metric_set_write_json(&eval->metrics, w);
    qn_json_key(w, "baseline");
    qn_metric_set_write_json(&eval->baseline, w);
    qn_json_key(w, "slices");
    qn_slices_write_json(&eval->slices, w);
    qn_json_key(w, "rows");
    qn_json_object_begin(w);
    qn_json_put_i64(w, "test", eval->rows);
    qn_json_put_i64(w, "unlabelled", eval->rows_unlabelled);
    qn_json_object_end(w);
    qn_json_object_end(w);
}
