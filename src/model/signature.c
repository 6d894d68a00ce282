/*
 * What a model takes and gives, in raw and in tensor terms. Everything is derived from the graph and
 * the transforms, so that the written signature cannot disagree with what runs.
 */
#include "model/signature.h"

#include <string.h>

static const char *const output_names[] = {"probability", "prediction", "output", "logits"};

static qn_tensor_spec spec_of(const qn_graph *graph, qn_value value, const char *name)
{
    const qn_type *type = qn_graph_type(graph, value);
    qn_tensor_spec spec = {.name = name, .dtype = type->dtype, .shape = type->shape};
    return spec;
}

static int inputs_count(const qn_graph *graph)
{
    int count = 0;
    for (qn_value value = 0; value < qn_graph_values_count(graph); value++)
        count += qn_graph_kind(graph, value) == QN_VALUE_INPUT;
    return count;
}

static qn_status find_inputs(const qn_graph *graph, qn_arena *arena, qn_signature *signature,
                             qn_error *err)
{
    int count = inputs_count(graph);
    qn_tensor_spec *inputs = QN_NEW(arena, qn_tensor_spec, count);
    if (!inputs)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    int filled = 0;
    for (qn_value value = 0; value < qn_graph_values_count(graph); value++) {
        if (qn_graph_kind(graph, value) != QN_VALUE_INPUT)
            continue;
        inputs[filled] = spec_of(graph, value, qn_graph_name(graph, value));
        const qn_shape *shape = &inputs[filled].shape;
        if (shape->rank < 1 || shape->dims[0] != QN_DIM_BATCH)
            QN_FAIL(err, QN_ERR_DATA, "input '%s' of the graph has no batch dimension",
                    inputs[filled].name);
        filled++;
    }
    signature->inputs = inputs;
    signature->inputs_count = count;
    return QN_OK;
}

static qn_status find_output(const qn_graph *graph, qn_arena *arena, qn_signature *signature,
                             qn_error *err)
{
    qn_tensor_spec *output = QN_NEW(arena, qn_tensor_spec, 1);
    if (!output)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    for (size_t i = 0; i < sizeof output_names / sizeof output_names[0]; i++) {
        qn_value value = qn_graph_find(graph, output_names[i]);
        if (value == QN_NONE)
            continue;
        *output = spec_of(graph, value, output_names[i]);
        signature->outputs = output;
        signature->outputs_count = 1;
        if (output->shape.rank < 1 || output->shape.dims[0] != QN_DIM_BATCH)
            break;
        return QN_OK;
    }
    QN_FAIL(err, QN_ERR_DATA,
            "the graph has no output 'probability', 'prediction', 'output' or 'logits' with a "
            "batch dimension");
}

/* Numbers in the shape of the target; of a transcription the classes of each step. */
static qn_status check_answer(const qn_signature *signature, const qn_target_array *array,
                              qn_error *err)
{
    const qn_tensor_spec *answer = &signature->outputs[0];
    char text[128];
    bool fits = answer->dtype == QN_DTYPE_F32 && answer->shape.rank == 3 &&
                answer->shape.dims[1] > 0 && answer->shape.dims[2] > 0;
    if (signature->task != QN_TASK_TRANSCRIBE)
        fits = answer->dtype == QN_DTYPE_F32 && answer->shape.rank == array->shape.rank + 1 &&
               memcmp(answer->shape.dims + 1, array->shape.dims,
                      (size_t)array->shape.rank * sizeof(int64_t)) == 0;
    if (!fits)
        QN_FAIL(err, QN_ERR_DATA, "the graph's output is not f32 of the target's shape %s",
                qn_shape_text(&array->shape, text));
    return QN_OK;
}

/* A table's model: every graph input is filled by a transform of the same name, type and shape, and
 * the answer has a place for every label. */
static qn_status check_against(const qn_signature *signature, const qn_transforms *transforms,
                               qn_error *err)
{
    int64_t count;
    const qn_feature_tensor *features = qn_transforms_outputs(transforms, &count);
    for (int i = 0; i < signature->inputs_count; i++) {
        const qn_tensor_spec *input = &signature->inputs[i];
        bool found = false;
        for (int64_t f = 0; f < count && !found; f++) {
            const qn_feature_tensor *feature = &features[f];
            found = qn_str_is(feature->name, input->name) && feature->dtype == input->dtype &&
                    feature->shape.rank + 1 == input->shape.rank &&
                    memcmp(feature->shape.dims, input->shape.dims + 1,
                           (size_t)feature->shape.rank * sizeof(int64_t)) == 0;
        }
        if (!found)
            QN_FAIL(err, QN_ERR_DATA, "input '%s' of the graph is not what the transforms give",
                    input->name);
    }
    const qn_shape *answer = &signature->outputs[0].shape;
    const qn_target_array *array = qn_transforms_target_array(transforms);
    if (array)
        return check_answer(signature, array, err);
    int64_t expected = signature->labels_count > 0 ? signature->labels_count : 1;
    bool known = signature->task != QN_TASK_AUTO;
    if (known && (answer->rank != 2 || answer->dims[1] != expected ||
                  signature->outputs[0].dtype != QN_DTYPE_F32))
        QN_FAIL(err, QN_ERR_DATA, "the graph's output is not [B, %lld] of f32",
                (long long)expected);
    return QN_OK;
}

qn_status qn_signature_make(const qn_graph *graph, const qn_transforms *transforms,
                            const char *name, int64_t version, qn_task task, qn_arena *arena,
                            qn_signature *ret, qn_error *err)
{
    qn_signature signature = {.name = name, .version = version, .task = task};
    QN_TRY(find_inputs(graph, arena, &signature, err));
    QN_TRY(find_output(graph, arena, &signature, err));
    if (transforms) {
        signature.columns = qn_transforms_inputs(transforms, &signature.columns_count);
        signature.labels = qn_transforms_labels(transforms, &signature.labels_count);
        qn_str target = qn_transforms_target(transforms);
        if (target.size > 0) {
            signature.target = qn_arena_strndup(arena, target.data, target.size);
            if (!signature.target)
                QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
        }
        QN_TRY(check_against(&signature, transforms, err));
        signature.has_rows = task != QN_TASK_AUTO && !qn_transforms_target_array(transforms);
    }
    *ret = signature;
    return QN_OK;
}

static void write_shape(const qn_shape *shape, qn_json_writer *w)
{
    qn_json_key(w, "shape");
    qn_json_array_begin(w);
    for (int i = 0; i < shape->rank; i++)
        qn_json_i64(w, shape->dims[i] < 0 ? -1 : shape->dims[i]);
    qn_json_array_end(w);
}

static void write_tensors(const qn_tensor_spec *specs, int count, qn_json_writer *w)
{
    qn_json_array_begin(w);
    for (int i = 0; i < count; i++) {
        qn_json_object_begin(w);
        qn_json_put_text(w, "name", specs[i].name);
        qn_json_put_text(w, "dtype", qn_dtype_name(specs[i].dtype));
        write_shape(&specs[i].shape, w);
        qn_json_object_end(w);
    }
    qn_json_array_end(w);
}

static void write_column(const qn_raw_input *column, qn_json_writer *w)
{
    qn_json_object_begin(w);
    qn_json_key(w, "name");
    qn_json_str(w, column->name);
    qn_json_put_text(w, "type", qn_type_name(column->type));
    if (column->type == QN_TYPE_IMAGE) {
        qn_json_key(w, "size");
        qn_json_array_begin(w);
        qn_json_i64(w, column->height);
        qn_json_i64(w, column->width);
        qn_json_array_end(w);
        qn_json_put_i64(w, "channels", column->channels);
    } else if (column->type == QN_TYPE_TENSOR) {
        qn_json_put_text(w, "dtype", qn_dtype_name(column->dtype));
        write_shape(&column->shape, w);
    }
    qn_json_object_end(w);
}

void qn_signature_write_json(const qn_signature *signature, qn_json_writer *w)
{
    qn_json_object_begin(w);
    qn_json_put_text(w, "name", signature->name);
    if (signature->version > 0) {
        qn_json_put_i64(w, "version", signature->version);
    }
    qn_json_put_text(w, "task",
                     signature->task == QN_TASK_AUTO ? NULL : qn_task_name(signature->task));
    qn_json_put_text(w, "target", signature->target);
    qn_json_key(w, "columns");
    qn_json_array_begin(w);
    for (int64_t i = 0; i < signature->columns_count; i++)
        write_column(&signature->columns[i], w);
    qn_json_array_end(w);
    qn_json_key(w, "inputs");
    write_tensors(signature->inputs, signature->inputs_count, w);
    qn_json_key(w, "outputs");
    write_tensors(signature->outputs, signature->outputs_count, w);
    qn_json_key(w, "labels");
    qn_json_array_begin(w);
    for (int64_t i = 0; i < signature->labels_count; i++)
        qn_json_str(w, signature->labels[i]);
    qn_json_array_end(w);
    qn_json_object_end(w);
}
