/*
 * Answers from an opened model. Requests are cut into runs whose batch is a power of two, so that a
 * few plans serve all sizes; the rows of padding are zeros and their answers are dropped. Kernels
 * compute each row by itself, so padding and neighbours change no bit of it.
 */
#include "model/predictor.h"

#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"
#include "base/hash.h"
#include "graph/plan.h"
#include "model/folder.h"
#include "model/onnx_session.h"
#include "model/signature.h"
#include "os/file.h"

enum { PLANS_DEFAULT = 8, BATCH_DEFAULT = 256, PLANS_MAX = 64 };

/* Assumed speed of one core where nothing was measured: 20 GFLOP/s, and 2 us around a run. */
static const double NS_PER_FLOP = 0.05;
static const int64_t RUN_NS = 2000;

typedef struct {
    qn_plan *plan;
    int64_t batch;
    uint64_t used; /* clock of the last use */
    void **inputs; /* data of each signature input */
    const qn_tensor *output;
} qn_kept_plan;

struct qn_predictor {
    qn_arena load;
    qn_onnx_session *onnx; /* an ONNX file: what follows is then empty */
    qn_folder_model model;
    const qn_graph *graph;
    qn_state *state;
    const qn_transforms *transforms;
    qn_signature signature;
    qn_pool *pool;
    int64_t batch_max;
    int plans_max;
    int plans_count;
    uint64_t clock;
    qn_kept_plan plans[PLANS_MAX];
    void **features; /* [transform outputs]: where qn_transforms_apply writes */
    int64_t flops;   /* of one row */
};

/* --- opening and closing --- */

static qn_status prepare(qn_predictor *predictor, const qn_predictor_options *options,
                         qn_error *err)
{
    qn_predictor_options chosen = {0};
    if (options)
        chosen = *options;
    predictor->pool = chosen.pool;
    predictor->batch_max = chosen.batch_max > 0 ? chosen.batch_max : BATCH_DEFAULT;
    predictor->plans_max = chosen.plans_max > 0 ? chosen.plans_max : PLANS_DEFAULT;
    if (predictor->plans_max > PLANS_MAX)
        predictor->plans_max = PLANS_MAX;
    int64_t features = 0;
    if (predictor->transforms)
        (void)qn_transforms_outputs(predictor->transforms, &features);
    predictor->features = QN_NEW(&predictor->load, void *, features + 1);
    for (int i = 0; i < predictor->plans_max; i++) {
        predictor->plans[i].inputs =
            QN_NEW(&predictor->load, void *, predictor->signature.inputs_count + 1);
        if (!predictor->plans[i].inputs || !predictor->features)
            QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    }
    return QN_OK;
}

static qn_predictor *create_empty(qn_error *err)
{
    qn_predictor *predictor = qn_alloc_zero(1, sizeof *predictor);
    if (!predictor) {
        (void)qn_error_set(err, QN_ERR_MEMORY, NULL, "out of memory");
        return NULL;
    }
    qn_arena_init(&predictor->load, 0);
    return predictor;
}

/* "model" of "some/model.onnx". */
static const char *file_stem(const char *path, qn_arena *arena)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    return qn_arena_strndup(arena, name, dot && dot > name ? (size_t)(dot - name) : strlen(name));
}

static qn_status open_onnx(qn_predictor *predictor, const char *path,
                           const qn_predictor_options *options, qn_error *err)
{
    qn_predictor_options chosen = {0};
    if (options)
        chosen = *options;
    QN_TRY(qn_onnx_session_open(path, chosen.pool, chosen.plans_max, &predictor->onnx, err));
    predictor->signature = (qn_signature){.name = file_stem(path, &predictor->load)};
    predictor->model.path = qn_arena_strndup(&predictor->load, path, strlen(path));
    if (!predictor->signature.name || !predictor->model.path)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    qn_onnx_session_describe(predictor->onnx, &predictor->signature);
    qn_map map; /* the digest tells files apart, as that of a folder does */
    QN_TRY(qn_map_open(path, &map, err));
    qn_digest digest = qn_digest_of(map.data, map.size);
    qn_digest_text(&digest, predictor->model.digest);
    qn_map_close(&map);
    return QN_OK;
}

qn_status qn_predictor_open(const char *folder, int64_t version,
                            const qn_predictor_options *options, qn_predictor **ret, qn_error *err)
{
    qn_predictor *predictor = create_empty(err);
    if (!predictor)
        return QN_ERR_MEMORY;
    qn_folder_model *model = &predictor->model;
    bool onnx = qn_path_is_onnx(folder);
    qn_status status = onnx ? open_onnx(predictor, folder, options, err)
                            : qn_folder_read(folder, version, &predictor->load, model, err);
    if (status == QN_OK && !onnx) {
        predictor->graph = model->graph;
        predictor->state = model->state;
        predictor->transforms = model->transforms;
        status = qn_signature_make(model->graph, model->transforms, model->name, model->version,
                                   model->task, &predictor->load, &predictor->signature, err);
    }
    if (status == QN_OK && !onnx)
        status = prepare(predictor, options, err);
    if (status != QN_OK) {
        qn_predictor_close(predictor);
        return status;
    }
    *ret = predictor;
    return QN_OK;
}

qn_status qn_predictor_wrap(const qn_graph *graph, qn_state *state, const qn_transforms *transforms,
                            const qn_predictor_options *options, qn_predictor **ret, qn_error *err)
{
    qn_predictor *predictor = create_empty(err);
    if (!predictor)
        return QN_ERR_MEMORY;
    predictor->graph = graph;
    predictor->state = state;
    predictor->transforms = transforms;
    qn_task task = transforms ? qn_transforms_task(transforms) : QN_TASK_AUTO;
    qn_status status = qn_signature_make(graph, transforms, "model", 0, task, &predictor->load,
                                         &predictor->signature, err);
    if (status == QN_OK)
        status = prepare(predictor, options, err);
    if (status != QN_OK) {
        qn_predictor_close(predictor);
        return status;
    }
    *ret = predictor;
    return QN_OK;
}

void qn_predictor_close(qn_predictor *predictor)
{
    if (!predictor)
        return;
    for (int i = 0; i < predictor->plans_count; i++)
        qn_plan_destroy(predictor->plans[i].plan);
    qn_onnx_session_close(predictor->onnx);
    qn_folder_model_deinit(&predictor->model);
    qn_arena_deinit(&predictor->load);
    qn_free(predictor);
}

const qn_signature *qn_predictor_signature(const qn_predictor *predictor)
{
    return &predictor->signature;
}

const qn_transforms *qn_predictor_transforms(const qn_predictor *predictor)
{
    return predictor->transforms;
}

const char *qn_predictor_folder(const qn_predictor *predictor)
{
    return predictor->model.path ? predictor->model.path : "";
}

const char *qn_predictor_digest(const qn_predictor *predictor)
{
    return predictor->model.digest;
}

int64_t qn_predictor_bytes(const qn_predictor *predictor)
{
    int64_t bytes = (int64_t)predictor->load.used_bytes;
    if (predictor->onnx)
        return bytes + qn_onnx_session_bytes(predictor->onnx);
    for (int i = 0; i < qn_state_count(predictor->state); i++)
        bytes += (int64_t)qn_tensor_bytes(&qn_state_at(predictor->state, i)->tensor);
    for (int i = 0; i < predictor->plans_count; i++)
        bytes += qn_plan_bytes(predictor->plans[i].plan);
    return bytes;
}

int64_t qn_predictor_cost_ns(const qn_predictor *predictor, int64_t rows)
{
    /* Before the first plan is made the weights stand for the work: two operations each. */
    int64_t flops = predictor->onnx ? qn_onnx_session_flops(predictor->onnx) : predictor->flops;
    if (flops == 0 && !predictor->onnx)
        for (int i = 0; i < qn_state_count(predictor->state); i++)
            flops += 2 * qn_shape_count(&qn_state_at(predictor->state, i)->tensor.shape);
    return RUN_NS + (int64_t)((double)flops * (double)rows * NS_PER_FLOP);
}

qn_status qn_predictor_measure(qn_predictor *predictor, qn_error *err)
{
    const char *outputs[1] = {predictor->signature.outputs[0].name};
    qn_plan_options options = {.batch = 1, .outputs = outputs, .outputs_count = 1};
    qn_plan *plan;
    if (predictor->onnx || predictor->flops > 0)
        return QN_OK;
    QN_TRY(qn_plan_create(predictor->graph, predictor->state, &options, &plan, err));
    predictor->flops = qn_plan_flops(plan);
    qn_plan_destroy(plan);
    return QN_OK;
}

/* --- plans --- */

/* The least recently used place, emptied; a new place while there are any. */
static qn_kept_plan *free_place(qn_predictor *predictor)
{
    if (predictor->plans_count < predictor->plans_max)
        return &predictor->plans[predictor->plans_count];
    qn_kept_plan *oldest = &predictor->plans[0];
    for (int i = 1; i < predictor->plans_count; i++)
        if (predictor->plans[i].used < oldest->used)
            oldest = &predictor->plans[i];
    return oldest;
}

static qn_status make_plan(qn_predictor *predictor, int64_t batch, qn_kept_plan **ret,
                           qn_error *err)
{
    const qn_signature *signature = &predictor->signature;
    const char *outputs[1] = {signature->outputs[0].name};
    qn_plan_options options = {.batch = batch,
                               .pool = predictor->pool,
                               .frozen = true,
                               .outputs = outputs,
                               .outputs_count = 1};
    qn_plan *plan;
    QN_TRY(qn_plan_create(predictor->graph, predictor->state, &options, &plan, err));
    qn_kept_plan *place = free_place(predictor);
    if (place->plan)
        qn_plan_destroy(place->plan);
    else
        predictor->plans_count++;
    place->plan = plan;
    place->batch = batch;
    place->output = qn_plan_output(plan, outputs[0]);
    for (int i = 0; i < signature->inputs_count; i++) {
        const qn_tensor *input = qn_plan_input(plan, signature->inputs[i].name);
        place->inputs[i] = input ? input->data : NULL; /* NULL: nothing depends on it */
    }
    predictor->flops = qn_plan_flops(plan) / batch;
    *ret = place;
    return QN_OK;
}

static qn_status find_plan(qn_predictor *predictor, int64_t rows, qn_kept_plan **ret, qn_error *err)
{
    int64_t batch = 1;
    while (batch < rows)
        batch *= 2;
    qn_kept_plan *found = NULL;
    for (int i = 0; i < predictor->plans_count && !found; i++)
        if (predictor->plans[i].batch == batch)
            found = &predictor->plans[i];
    if (!found)
        QN_TRY(make_plan(predictor, batch, &found, err));
    found->used = ++predictor->clock;
    *ret = found;
    return QN_OK;
}

static size_t row_bytes(const qn_tensor_spec *spec)
{
    size_t bytes = qn_dtype_size(spec->dtype);
    for (int i = 1; i < spec->shape.rank; i++)
        bytes *= (size_t)spec->shape.dims[i];
    return bytes;
}

/* Zeros behind `rows` rows, so that padding is the same whatever ran before. */
static void pad_inputs(const qn_predictor *predictor, const qn_kept_plan *place, int64_t rows)
{
    for (int i = 0; i < predictor->signature.inputs_count && rows < place->batch; i++) {
        size_t each = row_bytes(&predictor->signature.inputs[i]);
        char *data = place->inputs[i];
        if (data)
            memset(data + each * (size_t)rows, 0, each * (size_t)(place->batch - rows));
    }
}

static void run_plan(const qn_predictor *predictor, const qn_kept_plan *place, void *dst,
                     int64_t rows)
{
    pad_inputs(predictor, place, rows);
    qn_plan_run(place->plan, 0);
    memcpy(dst, place->output->data, row_bytes(&predictor->signature.outputs[0]) * (size_t)rows);
}

/* --- rows --- */

/* Plan inputs in the order of the transforms' outputs. */
static qn_status point_features(qn_predictor *predictor, const qn_kept_plan *place, int64_t rows,
                                qn_arena *request, qn_error *err)
{
    int64_t count;
    const qn_feature_tensor *features = qn_transforms_outputs(predictor->transforms, &count);
    for (int64_t f = 0; f < count; f++) {
        predictor->features[f] = NULL;
        for (int i = 0; i < predictor->signature.inputs_count; i++)
            if (qn_str_is(features[f].name, predictor->signature.inputs[i].name))
                predictor->features[f] = place->inputs[i];
        if (!predictor->features[f])
            predictor->features[f] =
                qn_arena_zero(request, rows * features[f].count, qn_dtype_size(features[f].dtype));
        if (!predictor->features[f])
            QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    }
    return QN_OK;
}

static qn_status run_rows(qn_predictor *predictor, const qn_frame *frame, char *dst,
                          qn_arena *request, qn_error *err)
{
    size_t each = row_bytes(&predictor->signature.outputs[0]);
    int64_t largest = qn_min_i64(frame->rows, predictor->batch_max);
    int64_t *indices = QN_NEW(request, int64_t, largest);
    if (!indices)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    for (int64_t first = 0; first < frame->rows; first += largest) {
        int64_t count = qn_min_i64(largest, frame->rows - first);
        for (int64_t i = 0; i < count; i++)
            indices[i] = first + i;
        qn_kept_plan *place;
        QN_TRY(find_plan(predictor, count, &place, err));
        QN_TRY(point_features(predictor, place, count, request, err));
        QN_TRY(qn_transforms_apply(predictor->transforms, frame, indices, count,
                                   predictor->features, predictor->pool, request, err));
        run_plan(predictor, place, dst + each * (size_t)first, count);
    }
    return QN_OK;
}

static void choose_labels(qn_predictions *predictions)
{
    for (int64_t row = 0; row < predictions->rows; row++) {
        const float *probability = predictions->probability + row * predictions->classes;
        int64_t best = 0;
        for (int64_t c = 1; c < predictions->classes; c++)
            best = probability[c] > probability[best] ? c : best;
        predictions->choice[row] = best;
    }
}

static qn_status allocate_predictions(const qn_signature *signature, int64_t rows,
                                      qn_arena *request, qn_predictions *predictions, float **dst,
                                      qn_error *err)
{
    int64_t values = 0;
    predictions->rows = rows;
    if (signature->labels_count > 0) {
        predictions->labels = signature->labels;
        predictions->classes = signature->labels_count;
        predictions->choice = QN_NEW(request, int64_t, rows);
        if (!qn_mul_i64(rows, predictions->classes, &values))
            QN_FAIL(err, QN_ERR_BUDGET, "too many rows: %lld", (long long)rows);
        predictions->probability = QN_NEW(request, float, values);
        *dst = predictions->probability;
        if (!predictions->choice)
            QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    } else {
        predictions->number = QN_NEW(request, double, rows);
        *dst = QN_NEW(request, float, rows);
        if (!predictions->number)
            QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    }
    if (!*dst)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    return QN_OK;
}

qn_status qn_predictor_rows(qn_predictor *predictor, const qn_frame *rows, bool ignore_unknown,
                            qn_arena *request, qn_predictions *ret, qn_error *err)
{
    if (!predictor->signature.has_rows)
        QN_FAIL(err, QN_ERR_ARG, "model '%s' takes tensors, not rows of columns",
                predictor->signature.name);
    QN_TRY(qn_transforms_check(predictor->transforms, rows, ignore_unknown, err));
    qn_predictions predictions = {0};
    float *dst = NULL;
    QN_TRY(
        allocate_predictions(&predictor->signature, rows->rows, request, &predictions, &dst, err));
    QN_TRY(run_rows(predictor, rows, (char *)dst, request, err));
    if (predictions.classes > 0)
        choose_labels(&predictions);
    else
        for (int64_t row = 0; row < rows->rows; row++)
            predictions.number[row] = (double)dst[row];
    *ret = predictions;
    return QN_OK;
}

/* --- tensors --- */

/* Do the dimensions behind the batch agree? A last dimension of 1 (grey pictures) may be left out. */
static bool same_row_shape(const qn_shape *spec, const qn_shape *shape)
{
    int rank = spec->rank;
    if (rank == shape->rank + 1 && rank > 1 && spec->dims[rank - 1] == 1)
        rank--;
    return rank == shape->rank && rank > 0 &&
           memcmp(spec->dims + 1, shape->dims + 1, (size_t)(rank - 1) * sizeof(int64_t)) == 0;
}

/* Pictures are numbers from 0 to 1 inside; bytes are what they are in files. */
static bool takes_pixels(const qn_predictor *predictor, const qn_tensor_spec *spec)
{
    int64_t count = 0;
    const qn_raw_input *inputs =
        predictor->transforms ? qn_transforms_inputs(predictor->transforms, &count) : NULL;
    for (int64_t i = 0; i < count; i++)
        if (inputs[i].type == QN_TYPE_IMAGE &&
            (strcmp(spec->name, "image") == 0 || qn_str_is(inputs[i].name, spec->name)))
            return true;
    return false;
}

static qn_status check_input(const qn_tensor_spec *spec, const qn_named_tensor *input, int64_t rows,
                             qn_error *err)
{
    char expected[128], received[128];
    const qn_shape *shape = &input->tensor.shape;
    if (!same_row_shape(&spec->shape, shape) || shape->dims[0] < 0)
        QN_FAIL(err, QN_ERR_ARG, "input '%s' expects shape %s, got %s", spec->name,
                qn_shape_text(&spec->shape, expected), qn_shape_text(shape, received));
    if (shape->dims[0] != rows)
        QN_FAIL(err, QN_ERR_ARG, "input '%s' has %lld rows, the first input has %lld", spec->name,
                (long long)shape->dims[0], (long long)rows);
    bool numbers = qn_dtype_is_float(spec->dtype) || !qn_dtype_is_float(input->tensor.dtype);
    if (input->tensor.dtype != spec->dtype && !numbers)
        QN_FAIL(err, QN_ERR_ARG, "input '%s' expects %s, got %s", spec->name,
                qn_dtype_name(spec->dtype), qn_dtype_name(input->tensor.dtype));
    if (!qn_tensor_contiguous(&input->tensor))
        QN_FAIL(err, QN_ERR_ARG, "input '%s' is not contiguous", spec->name);
    return QN_OK;
}

static const qn_named_tensor *find_input(const qn_named_tensor *inputs, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (strcmp(inputs[i].name, name) == 0)
            return &inputs[i];
    return NULL;
}

/* Every given name is known, every expected one is given. */
static qn_status check_inputs(const qn_signature *signature, const qn_named_tensor *inputs,
                              int count, int64_t *ret_rows, qn_error *err)
{
    int64_t rows = -1;
    for (int i = 0; i < signature->inputs_count; i++) {
        const qn_tensor_spec *spec = &signature->inputs[i];
        const qn_named_tensor *input = find_input(inputs, count, spec->name);
        char text[128];
        if (!input)
            QN_FAIL(err, QN_ERR_ARG, "input '%s' of shape %s is missing%s%s", spec->name,
                    qn_shape_text(&spec->shape, text), count > 0 ? "; given is " : "",
                    count > 0 ? inputs[0].name : "");
        if (rows < 0 && input->tensor.shape.rank > 0)
            rows = input->tensor.shape.dims[0];
        QN_TRY(check_input(spec, input, rows, err));
    }
    for (int i = 0; i < count; i++) {
        bool known = false;
        for (int k = 0; k < signature->inputs_count; k++)
            known = known || strcmp(signature->inputs[k].name, inputs[i].name) == 0;
        if (!known)
            QN_FAIL(err, QN_ERR_ARG, "model '%s' has no input '%s'; it has '%s'", signature->name,
                    inputs[i].name, signature->inputs[0].name);
        if (find_input(inputs, i, inputs[i].name))
            QN_FAIL(err, QN_ERR_ARG, "input '%s' is given twice", inputs[i].name);
    }
    *ret_rows = rows;
    return QN_OK;
}

static void scale_bytes(float *pixels, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        pixels[i] *= 1.0f / 255.0f; /* the same bits as the transforms of training */
}

static void fill_inputs(const qn_predictor *predictor, const qn_kept_plan *place,
                        const qn_named_tensor *inputs, int inputs_count, int64_t first,
                        int64_t count)
{
    for (int i = 0; i < predictor->signature.inputs_count; i++) {
        const qn_tensor_spec *spec = &predictor->signature.inputs[i];
        const qn_named_tensor *input = find_input(inputs, inputs_count, spec->name);
        if (!place->inputs[i])
            continue;
        qn_tensor rows = qn_tensor_rows(&input->tensor, first, first + count);
        if (rows.dtype == spec->dtype)
            memcpy(place->inputs[i], rows.data, qn_tensor_bytes(&rows));
        else
            qn_tensor_convert(place->inputs[i], spec->dtype, &rows);
        if (rows.dtype == QN_DTYPE_U8 && spec->dtype == QN_DTYPE_F32 &&
            takes_pixels(predictor, spec))
            scale_bytes(place->inputs[i], qn_shape_count(&rows.shape));
    }
}

/* A category's index from outside becomes a row of an embedding: it must be one of its levels. */
static qn_status check_levels(const qn_predictor *predictor, const qn_kept_plan *place,
                              int64_t count, qn_error *err)
{
    int64_t features_count = 0;
    const qn_feature_tensor *features = NULL;
    if (predictor->transforms)
        features = qn_transforms_outputs(predictor->transforms, &features_count);
    for (int i = 0; i < predictor->signature.inputs_count; i++) {
        const int64_t *index = place->inputs[i];
        const qn_feature_tensor *feature = NULL;
        for (int64_t f = 0; f < features_count; f++)
            if (qn_str_is(features[f].name, predictor->signature.inputs[i].name))
                feature = &features[f];
        if (!index || !feature || !feature->levels)
            continue;
        for (int64_t k = 0; k < count * feature->count; k++) {
            int64_t levels = feature->levels[k % feature->count];
            if (index[k] < 0 || index[k] >= levels)
                QN_FAIL(err, QN_ERR_ARG, "input '%s': %lld is not a level of '%.*s' (0 to %lld)",
                        predictor->signature.inputs[i].name, (long long)index[k],
                        QN_STR_ARG(feature->columns[k % feature->count]), (long long)(levels - 1));
        }
    }
    return QN_OK;
}

qn_status qn_predictor_tensors(qn_predictor *predictor, const qn_named_tensor *inputs,
                               int inputs_count, qn_arena *request, qn_named_tensor *ret_outputs,
                               qn_error *err)
{
    const qn_signature *signature = &predictor->signature;
    int64_t rows = 0, bytes = 0;
    if (predictor->onnx)
        return qn_onnx_session_run(predictor->onnx, inputs, inputs_count, request, ret_outputs,
                                   err);
    QN_TRY(check_inputs(signature, inputs, inputs_count, &rows, err));
    qn_shape shape = signature->outputs[0].shape;
    shape.dims[0] = rows;
    QN_TRY(qn_shape_check(&shape, signature->outputs[0].dtype, &bytes, err));
    char *dst = qn_arena_alloc_aligned(request, (size_t)bytes, 64);
    if (!dst)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory for %lld rows of answers", (long long)rows);
    size_t each = row_bytes(&signature->outputs[0]);
    for (int64_t first = 0; first < rows; first += predictor->batch_max) {
        int64_t count = qn_min_i64(predictor->batch_max, rows - first);
        qn_kept_plan *place;
        QN_TRY(find_plan(predictor, count, &place, err));
        fill_inputs(predictor, place, inputs, inputs_count, first, count);
        QN_TRY(check_levels(predictor, place, count, err));
        run_plan(predictor, place, dst + each * (size_t)first, count);
    }
    ret_outputs[0].name = signature->outputs[0].name;
    ret_outputs[0].tensor = qn_tensor_of(dst, signature->outputs[0].dtype, shape);
    return QN_OK;
}
