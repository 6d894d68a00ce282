/*
 * TensorFlow Serving's REST API and KServe V1: predict by rows ("instances") or by columns ("inputs"), model status
 * and metadata.
 *
 * The two protocols and OpenAI's share paths: /v1/models and /v1/models/M answer one object with the keys of all
 * three, and each client reads its own.
 */
#include "tfs.h"
#include "handlers_priv.h"

#include "base/error.h"
#include "os/clock.h"

typedef struct {
    bool columnar; /* answer with "outputs" instead of "predictions" */
} form;

/* ---- tensors ---- */

static qn_dtype json_dtype(qn_dtype dtype)
{
    return dtype == QN_DTYPE_F16 || dtype == QN_DTYPE_BF16 ? QN_DTYPE_F32 : dtype;
}

static qn_status add_tensor(qn_infer *infer, const char *name, qn_dtype dtype, const qn_json *value,
                            qn_error *err)
{
    qn_shape shape;
    int64_t bytes;
    const char *label = qn_arena_printf(infer->arena, "input '%s'", name);
    if (!label)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    dtype = json_dtype(dtype);
    QN_TRY(qn_json_tensor_shape(value, label, &shape, err));
    QN_TRY(qn_shape_check(&shape, dtype, &bytes, err));
    if (shape.rank == 0)
        QN_FAIL(err, QN_ERR_ARG, "%s is %s, expected an array", label, qn_json_kind_name(value));
    if (qn_json_tensor_count(value) != qn_shape_count(&shape))
        QN_FAIL(err, QN_ERR_ARG, "%s: arrays of one level differ in length", label);
    void *data = qn_arena_alloc_aligned(infer->arena, (size_t)bytes, 64);
    if (!data)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    QN_TRY(qn_json_tensor_fill(value, label, dtype, data, err));
    infer->inputs[infer->inputs_count++] =
        (qn_named_tensor){name, qn_tensor_of(data, dtype, shape)};
    infer->rows = shape.dims[0];
    return QN_OK;
}

static const qn_tensor_spec *find_spec(const qn_signature *signature, qn_str name)
{
    for (int i = 0; i < signature->inputs_count; i++)
        if (qn_str_is(name, signature->inputs[i].name))
            return &signature->inputs[i];
    return NULL;
}

static qn_status no_input(const qn_signature *signature, qn_str name, qn_error *err)
{
    QN_FAIL(err, QN_ERR_ARG, "model '%s' has no input '%.*s'; it has '%s'", signature->name,
            name.size > 64 ? 64 : (int)name.size, name.data, signature->inputs[0].name);
}

static qn_status one_tensor(qn_infer *infer, const qn_json *value, qn_error *err)
{
    const qn_signature *signature = infer->served->signature;
    if (signature->inputs_count != 1)
        QN_FAIL(err, QN_ERR_ARG, "model '%s' has %d inputs: give them by name", signature->name,
                signature->inputs_count);
    return add_tensor(infer, signature->inputs[0].name, signature->inputs[0].dtype, value, err);
}

/* {"x": [[...], ...]} */
static qn_status tensors_by_column(qn_infer *infer, const qn_json *inputs, qn_error *err)
{
    const qn_signature *signature = infer->served->signature;
    if (inputs->kind != QN_JSON_OBJECT)
        return one_tensor(infer, inputs, err);
    for (int64_t k = 0; k < inputs->count; k++) {
        const qn_tensor_spec *spec = find_spec(signature, inputs->keys[k]);
        if (!spec)
            return no_input(signature, inputs->keys[k], err);
        QN_TRY(add_tensor(infer, spec->name, spec->dtype, &inputs->items[k], err));
    }
    return QN_OK;
}

/* [{"x": [...]}, ...]: the values of each name become one array. */
static qn_status tensors_by_row(qn_infer *infer, const qn_json *instances, qn_error *err)
{
    const qn_signature *signature = infer->served->signature;
    if (instances->kind != QN_JSON_ARRAY || instances->items[0].kind != QN_JSON_OBJECT)
        return one_tensor(infer, instances, err);
    for (int i = 0; i < signature->inputs_count; i++) {
        qn_json column = {.kind = QN_JSON_ARRAY, .count = instances->count};
        column.items = QN_NEW(infer->arena, qn_json, instances->count);
        if (!column.items)
            QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
        for (int64_t row = 0; row < instances->count; row++) {
            const qn_json *value = qn_json_find(&instances->items[row], signature->inputs[i].name);
            if (!value)
                QN_FAIL(err, QN_ERR_ARG, "instance %lld has no '%s'", (long long)row,
                        signature->inputs[i].name);
            column.items[row] = *value;
        }
        QN_TRY(
            add_tensor(infer, signature->inputs[i].name, signature->inputs[i].dtype, &column, err));
    }
    const qn_json *first = &instances->items[0];
    for (int64_t k = 0; k < first->count; k++)
        if (!find_spec(signature, first->keys[k]))
            return no_input(signature, first->keys[k], err);
    return QN_OK;
}

/* A model whose columns are all arrays, as one learned from an NPZ, keeps TensorFlow Serving's own shape unless
 * "raw" is asked for. */
static bool speaks_tensors(const qn_signature *signature)
{
    for (int64_t i = 0; i < signature->columns_count; i++)
        if (signature->columns[i].type != QN_TYPE_TENSOR)
            return !qn_signature_has_rows(signature);
    return true;
}

static qn_status choose_terms(const qn_json *root, qn_infer *infer, qn_error *err)
{
    qn_str asked = {0};
    const qn_signature *signature = infer->served->signature;
    QN_TRY(qn_json_get_str(root, "signature_name", false, &asked, err));
    QN_TRY(qn_signature_choose(asked, signature, &infer->tensors, err));
    if (asked.size == 0 || qn_str_is(asked, "serving_default"))
        infer->tensors = speaks_tensors(signature);
    return QN_OK;
}

/* ---- the body ---- */

/* KServe's `inputs` may be a list of rows: it is then answered like `instances`. */
static bool is_rows(const qn_json *value)
{
    return value->kind == QN_JSON_ARRAY && value->count > 0 &&
           value->items[0].kind == QN_JSON_OBJECT && !qn_json_is_b64(&value->items[0]);
}

static qn_status read_values(qn_call *call, const qn_json *root, form *f, qn_error *err)
{
    qn_infer *infer = &call->infer;
    const qn_json *instances = qn_json_find(root, "instances"),
                  *inputs = qn_json_find(root, "inputs");
    if (instances && inputs)
        QN_FAIL(err, QN_ERR_ARG,
                "the body has both 'instances' and 'inputs', expected one of them");
    if (!instances && !inputs)
        QN_FAIL(err, QN_ERR_ARG, "the body has neither 'instances' nor 'inputs'");
    if (inputs && is_rows(inputs))
        instances = inputs;
    f->columnar = !instances;
    if (instances && qn_json_length(instances) < 0)
        QN_FAIL(err, QN_ERR_ARG, "'instances' is %s, expected an array of rows",
                qn_json_kind_name(instances));
    if (inputs && qn_json_length(inputs) < 0 && inputs->kind != QN_JSON_OBJECT)
        QN_FAIL(err, QN_ERR_ARG, "'inputs' is %s, expected an object of columns",
                qn_json_kind_name(inputs));
    const qn_serve_limits *limits = &call->serve->limits;
    if (!infer->tensors) {
        bool ignore = call->serve->ignore_unknown;
        const qn_signature *signature = infer->served->signature;
        if (instances)
            QN_TRY(qn_rows_from_instances(instances, signature, limits, ignore, infer->arena,
                                          &infer->frame, err));
        else
            QN_TRY(qn_rows_from_columns(inputs, signature, limits, ignore, infer->arena,
                                        &infer->frame, err));
        infer->rows = infer->frame.rows;
        return QN_OK;
    }
    infer->inputs = QN_NEW(infer->arena, qn_named_tensor, infer->served->signature->inputs_count);
    if (!infer->inputs)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    if (instances && qn_json_length(instances) == 0)
        return QN_OK;
    return instances ? tensors_by_row(infer, instances, err)
                     : tensors_by_column(infer, inputs, err);
}

static qn_status prepare(qn_call *call, qn_error *err)
{
    qn_infer *infer = &call->infer;
    infer->serve = call->serve;
    infer->call = call;
    infer->arena = call->request->arena;
    form *f = QN_NEW(infer->arena, form, 1);
    if (!f)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    call->protocol = f;
    QN_TRY(qn_models_get(call->serve, call->params[0], call->params[1], &infer->served, err));
    qn_json_limits limits = {.depth_max = (int)call->serve->limits.json_depth,
                             .allow_nonfinite = true};
    qn_json root;
    QN_TRY(qn_json_read(call->request->body, &limits, infer->arena, &root, err));
    if (root.kind != QN_JSON_OBJECT)
        QN_FAIL(err, QN_ERR_ARG, "the body is %s, expected an object", qn_json_kind_name(&root));
    QN_TRY(choose_terms(&root, infer, err));
    return read_values(call, &root, f, err);
}

/* ---- answering ---- */

static void write_row(qn_json_writer *w, const qn_predictions *p, int64_t row)
{
    qn_json_object_begin(w);
    qn_json_key(w, "prediction");
    if (!p->classes) {
        qn_json_f64(w, p->number[row]);
        qn_json_object_end(w);
        return;
    }
    qn_json_str(w, p->labels[p->choice[row]]);
    qn_json_key(w, "probability");
    qn_json_object_begin(w);
    for (int64_t c = 0; c < p->classes; c++) {
        qn_json_key_str(w, p->labels[c]);
        qn_json_f32(w, p->probability[row * p->classes + c]);
    }
    qn_json_object_end(w);
    qn_json_object_end(w);
}

static void write_columns(qn_json_writer *w, const qn_predictions *p)
{
    if (!p->classes) { /* one output: its name is dropped, as TensorFlow Serving does */
        qn_json_tensor_write_flat(w, QN_DTYPE_F64, p->number, p->rows);
        return;
    }
    qn_shape shape = QN_SHAPE(p->rows, p->classes);
    qn_json_object_begin(w);
    qn_json_key(w, "prediction");
    qn_json_array_begin(w);
    for (int64_t row = 0; row < p->rows; row++)
        qn_json_str(w, p->labels[p->choice[row]]);
    qn_json_array_end(w);
    qn_json_key(w, "probability");
    qn_json_tensor_write(w, QN_DTYPE_F32, p->probability, &shape, 0);
    qn_json_object_end(w);
}

static void write_tensors(qn_json_writer *w, const qn_infer *infer, bool columnar)
{
    int count = infer->served->signature->outputs_count;
    const qn_named_tensor *outputs = infer->outputs;
    if (count == 1) {
        const qn_tensor *tensor = &outputs[0].tensor;
        qn_json_tensor_write(w, tensor->dtype, tensor->data, &tensor->shape, 0);
        return;
    }
    if (columnar)
        qn_json_object_begin(w);
    else
        qn_json_array_begin(w);
    for (int64_t row = 0; row < (columnar ? 1 : infer->rows); row++) {
        if (!columnar)
            qn_json_object_begin(w);
        for (int i = 0; i < count; i++) {
            qn_tensor part =
                columnar ? outputs[i].tensor : qn_tensor_rows(&outputs[i].tensor, row, row + 1);
            qn_json_key(w, outputs[i].name);
            qn_json_tensor_write(w, part.dtype, part.data, &part.shape, columnar ? 0 : 1);
        }
        if (!columnar)
            qn_json_object_end(w);
    }
    if (columnar)
        qn_json_object_end(w);
    else
        qn_json_array_end(w);
}

static void write_answer(qn_json_writer *w, const qn_infer *infer, bool columnar)
{
    qn_json_object_begin(w);
    qn_json_key(w, columnar ? "outputs" : "predictions");
    if (infer->rows == 0) {
        qn_json_array_begin(w);
        qn_json_array_end(w);
    } else if (infer->tensors) {
        write_tensors(w, infer, columnar);
    } else if (columnar) {
        write_columns(w, &infer->predictions);
    } else {
        qn_json_array_begin(w);
        for (int64_t row = 0; row < infer->rows; row++)
            write_row(w, &infer->predictions, row);
        qn_json_array_end(w);
    }
    qn_json_object_end(w);
}

static void on_done(qn_infer *infer)
{
    qn_call *call = infer->call;
    infer->done = NULL;
    if (infer->status != QN_OK) {
        qn_infer_count(infer, qn_now_ns());
        qn_call_fail(call, infer->status, &infer->err);
        return;
    }
    qn_json_writer w = qn_call_json(call);
    w.nonfinite_words = true; /* as TensorFlow Serving writes them */
    write_answer(&w, infer, ((const form *)call->protocol)->columnar);
    qn_infer_count(infer, qn_now_ns());
    qn_call_reply_json(call, 200);
}

void qn_answer_predict(qn_call *call)
{
    qn_infer *infer = &call->infer;
    qn_status status = prepare(call, &infer->err);
    if (status != QN_OK) {
        if (infer->served)
            qn_duration_add(&infer->served->fail, qn_now_ns() - call->start_ns);
        qn_call_fail(call, status, &infer->err);
        return;
    }
    infer->start_ns = qn_now_ns();
    infer->done = on_done;
    if (infer->rows > 0) {
        qn_infer_submit(infer);
        return;
    }
    infer->begin_ns = infer->end_ns = infer->start_ns;
    on_done(infer);
}

/* ---- status and metadata ---- */

static void write_openai_model(qn_json_writer *w, const qn_model *model)
{
    qn_json_put_text(w, "id", model->name);
    qn_json_put_text(w, "object", "model");
    qn_json_put_i64(w, "created", model->created_s);
    qn_json_put_text(w, "owned_by", "quern");
}

void qn_answer_v1_models(qn_call *call)
{
    const qn_serve *serve = call->serve;
    qn_json_writer w = qn_call_json(call);
    qn_json_object_begin(&w);
    qn_json_put_text(&w, "object", "list");
    qn_json_key(&w, "data");
    qn_json_array_begin(&w);
    for (int64_t i = 0; i < serve->models_count; i++) {
        qn_json_object_begin(&w);
        write_openai_model(&w, &serve->models[i]);
        qn_json_object_end(&w);
    }
    qn_json_array_end(&w);
    qn_json_key(&w, "models");
    qn_json_array_begin(&w);
    for (int64_t i = 0; i < serve->models_count; i++)
        qn_json_text(&w, serve->models[i].name);
    qn_json_array_end(&w);
    qn_json_object_end(&w);
    qn_call_reply_json(call, 200);
}

static void write_version_status(qn_json_writer *w, const qn_served *served)
{
    qn_json_object_begin(w);
    qn_json_put_text(w, "version", served->version_text);
    qn_json_put_text(w, "state", "AVAILABLE");
    qn_json_key(w, "status");
    qn_json_object_begin(w);
    qn_json_put_text(w, "error_code", "OK");
    qn_json_put_text(w, "error_message", "");
    qn_json_object_end(w);
    qn_json_object_end(w);
}

static bool find_served(qn_call *call, qn_served **ret)
{
    qn_error err = {0};
    qn_status status = qn_models_get(call->serve, call->params[0], call->params[1], ret, &err);
    if (status != QN_OK)
        qn_call_fail(call, status, &err);
    return status == QN_OK;
}

void qn_answer_v1_model(qn_call *call)
{
    qn_served *served;
    if (!find_served(call, &served))
        return;
    const qn_model *model = qn_models_find(call->serve, call->params[0]);
    qn_json_writer w = qn_call_json(call);
    qn_json_object_begin(&w);
    write_openai_model(&w, model);
    qn_json_put_text(&w, "name", model->name);
    qn_json_put_bool(&w, "ready", qn_serve_ready(call->serve));
    qn_json_key(&w, "model_version_status");
    qn_json_array_begin(&w);
    for (int64_t i = model->versions_count; i-- > 0;)
        if (call->params[1].size == 0 || &model->versions[i] == served)
            write_version_status(&w, &model->versions[i]);
    qn_json_array_end(&w);
    qn_json_object_end(&w);
    qn_call_reply_json(call, qn_serve_ready(call->serve) ? 200 : 503);
}

static const char *tfs_dtype(const char *datatype)
{
    static const struct {
        const char *oip, *tfs;
    } rows[] = {{"BOOL", "DT_BOOL"},     {"UINT8", "DT_UINT8"},   {"UINT16", "DT_UINT16"},
                {"UINT32", "DT_UINT32"}, {"UINT64", "DT_UINT64"}, {"INT8", "DT_INT8"},
                {"INT16", "DT_INT16"},   {"INT32", "DT_INT32"},   {"INT64", "DT_INT64"},
                {"FP16", "DT_HALF"},     {"BF16", "DT_BFLOAT16"}, {"FP32", "DT_FLOAT"},
                {"FP64", "DT_DOUBLE"},   {"BYTES", "DT_STRING"}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (strcmp(rows[i].oip, datatype) == 0)
            return rows[i].tfs;
    return "DT_INVALID";
}

static void write_tensor_infos(qn_json_writer *w, const char *key, const qn_oip_spec *specs,
                               int64_t count)
{
    qn_json_key(w, key);
    qn_json_object_begin(w);
    for (int64_t i = 0; specs && i < count; i++) {
        qn_json_key(w, specs[i].name);
        qn_json_object_begin(w);
        qn_json_put_text(w, "dtype", tfs_dtype(specs[i].datatype));
        qn_json_key(w, "tensor_shape");
        qn_json_object_begin(w);
        qn_json_key(w, "dim");
        qn_json_array_begin(w);
        for (int d = 0; d < specs[i].shape.rank; d++) {
            char size[32];
            int length = qn_f64_to_text((double)specs[i].shape.dims[d], size);
            qn_json_object_begin(w);
            qn_json_key(w, "size");
            qn_json_str(w, (qn_str){size, (size_t)length}); /* int64 as a string: protobuf's JSON */
            qn_json_object_end(w);
        }
        qn_json_array_end(w);
        qn_json_object_end(w);
        qn_json_put_text(w, "name", specs[i].name);
        qn_json_object_end(w);
    }
    qn_json_object_end(w);
}

static void write_signature_def(qn_json_writer *w, const char *key, const qn_signature *signature,
                                bool tensors, qn_arena *arena)
{
    int64_t inputs_count = 0, outputs_count = 0;
    qn_oip_spec *inputs = qn_oip_inputs(signature, tensors, arena, &inputs_count);
    qn_oip_spec *outputs = qn_oip_outputs(signature, tensors, arena, &outputs_count);
    qn_json_key(w, key);
    qn_json_object_begin(w);
    write_tensor_infos(w, "inputs", inputs, inputs_count);
    write_tensor_infos(w, "outputs", outputs, outputs_count);
    qn_json_put_text(w, "method_name", "tensorflow/serving/predict");
    qn_json_object_end(w);
}

void qn_answer_v1_metadata(qn_call *call)
{
    qn_served *served;
    if (!find_served(call, &served))
        return;
    bool tensors = speaks_tensors(served->signature);
    qn_arena *arena = call->request->arena;
    qn_json_writer w = qn_call_json(call);
    qn_json_object_begin(&w);
    qn_json_key(&w, "model_spec");
    qn_json_object_begin(&w);
    qn_json_put_text(&w, "name", served->name);
    qn_json_put_text(&w, "signature_name", "");
    qn_json_put_text(&w, "version", served->version_text);
    qn_json_object_end(&w);
    qn_json_key(&w, "metadata");
    qn_json_object_begin(&w);
    qn_json_key(&w, "signature_def");
    qn_json_object_begin(&w);
    qn_json_key(&w, "signature_def");
    qn_json_object_begin(&w);
    write_signature_def(&w, "serving_default", served->signature, tensors, arena);
    write_signature_def(&w, "tensor", served->signature, true, arena);
    qn_json_object_end(&w);
    qn_json_object_end(&w);
    qn_json_object_end(&w);
    qn_json_object_end(&w);
    qn_call_reply_json(call, 200);
}
