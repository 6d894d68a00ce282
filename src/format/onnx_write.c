/*
 * Writing ONNX models: structs to messages, and the protobuf library packs them.
 */
#include <limits.h>
#include <string.h>

#include "format/bytes_priv.h"
#include "format/onnx_priv.h"

static const size_t FILE_MAX = (size_t)INT_MAX; /* of a protobuf message */

typedef struct {
    qn_arena arena;
    bool failed; /* memory */
} writer;

static void *take(writer *w, int64_t count, size_t each)
{
    void *made = qn_arena_zero(&w->arena, count + 1, each);
    w->failed = w->failed || !made;
    return made;
}

/* Strings of messages are not const, and are not written to. */
static char *text(const char *given)
{
    return qn_unconst(given ? given : "");
}

static void write_tensor(writer *w, const qn_onnx_tensor *from, Onnx__Tensor *to)
{
    onnx__tensor__init(to);
    const qn_tensor *tensor = &from->tensor;
    to->name = text(from->name);
    to->data_type = from->elem;
    to->n_dims = (size_t)tensor->shape.rank;
    to->dims = take(w, tensor->shape.rank, sizeof *to->dims);
    if (w->failed)
        return;
    for (int i = 0; i < tensor->shape.rank; i++)
        to->dims[i] = tensor->shape.dims[i];
    to->raw_data.data = tensor->data;
    to->raw_data.len = qn_tensor_bytes(tensor);
}

static void write_attr(writer *w, const qn_onnx_attr *from, Onnx__Attribute *to)
{
    onnx__attribute__init(to);
    to->name = text(from->name);
    to->type = (int32_t)from->kind;
    to->f = from->f;
    to->i = from->i;
    if (from->kind == QN_ONNX_ATTR_STRING)
        to->s = (ProtobufCBinaryData){strlen(from->s), qn_unconst(from->s)};
    if (from->kind == QN_ONNX_ATTR_INTS) {
        to->n_ints = (size_t)from->count;
        to->ints = qn_unconst(from->ints);
    }
    if (from->kind == QN_ONNX_ATTR_FLOATS) {
        to->n_floats = (size_t)from->count;
        to->floats = qn_unconst(from->floats);
    }
    if (from->kind == QN_ONNX_ATTR_STRINGS) {
        to->n_strings = (size_t)from->count;
        to->strings = take(w, from->count, sizeof *to->strings);
        for (int64_t i = 0; !w->failed && i < from->count; i++)
            to->strings[i] =
                (ProtobufCBinaryData){strlen(from->strings[i]), qn_unconst(from->strings[i])};
    }
    if (from->kind == QN_ONNX_ATTR_TENSOR) {
        to->t = take(w, 1, sizeof *to->t);
        if (!w->failed)
            write_tensor(w, &from->tensor, to->t);
    }
}

static void write_node(writer *w, const qn_onnx_node *from, Onnx__Node *to)
{
    onnx__node__init(to);
    to->op_type = text(from->op);
    to->domain = text(from->domain);
    to->name = text(from->name);
    to->n_input = (size_t)from->inputs_count;
    to->input = qn_unconst(from->inputs);
    to->n_output = (size_t)from->outputs_count;
    to->output = qn_unconst(from->outputs);
    to->n_attribute = (size_t)from->attrs_count;
    to->attribute = take(w, from->attrs_count, sizeof *to->attribute);
    Onnx__Attribute *attrs = take(w, from->attrs_count, sizeof *attrs);
    for (int i = 0; !w->failed && i < from->attrs_count; i++) {
        write_attr(w, &from->attrs[i], &attrs[i]);
        to->attribute[i] = &attrs[i];
    }
}

static void write_dims(writer *w, const qn_onnx_info *from, Onnx__Shape *to)
{
    to->n_dim = (size_t)from->rank;
    to->dim = take(w, from->rank, sizeof *to->dim);
    Onnx__Dimension *dims = take(w, from->rank, sizeof *dims);
    for (int i = 0; !w->failed && i < from->rank; i++) {
        onnx__dimension__init(&dims[i]);
        bool open = from->dims[i] < 0;
        dims[i].value_case =
            open ? ONNX__DIMENSION__VALUE_DIM_PARAM : ONNX__DIMENSION__VALUE_DIM_VALUE;
        if (open)
            dims[i].dim_param = text(from->params[i]);
        else
            dims[i].dim_value = from->dims[i];
        to->dim[i] = &dims[i];
    }
}

static void write_info(writer *w, const qn_onnx_info *from, Onnx__Info *to)
{
    onnx__info__init(to);
    to->name = text(from->name);
    to->type = take(w, 1, sizeof *to->type);
    Onnx__TensorType *type = take(w, 1, sizeof *type);
    Onnx__Shape *shape = take(w, 1, sizeof *shape);
    if (w->failed)
        return;
    onnx__type__init(to->type);
    onnx__tensor_type__init(type);
    onnx__shape__init(shape);
    to->type->tensor_type = type;
    type->elem_type = from->elem;
    type->shape = shape;
    write_dims(w, from, shape);
}

static Onnx__Info **write_infos(writer *w, const qn_onnx_info *from, int count)
{
    Onnx__Info **list = take(w, count, sizeof *list), *infos = take(w, count, sizeof *infos);
    for (int i = 0; !w->failed && i < count; i++) {
        write_info(w, &from[i], &infos[i]);
        list[i] = &infos[i];
    }
    return list;
}

static Onnx__Graph *write_graph(writer *w, const qn_onnx_model *from)
{
    Onnx__Graph *graph = take(w, 1, sizeof *graph);
    Onnx__Node *nodes = take(w, from->nodes_count, sizeof *nodes);
    Onnx__Tensor *tensors = take(w, from->initializers_count, sizeof *tensors);
    if (w->failed)
        return NULL;
    onnx__graph__init(graph);
    graph->name = text(from->graph_name);
    graph->node = take(w, from->nodes_count, sizeof *graph->node);
    graph->initializer = take(w, from->initializers_count, sizeof *graph->initializer);
    graph->input = write_infos(w, from->inputs, from->inputs_count);
    graph->output = write_infos(w, from->outputs, from->outputs_count);
    graph->n_node = (size_t)from->nodes_count;
    graph->n_initializer = (size_t)from->initializers_count;
    graph->n_input = (size_t)from->inputs_count;
    graph->n_output = (size_t)from->outputs_count;
    for (int i = 0; !w->failed && i < from->nodes_count; i++) {
        write_node(w, &from->nodes[i], &nodes[i]);
        graph->node[i] = &nodes[i];
    }
    for (int i = 0; !w->failed && i < from->initializers_count; i++) {
        write_tensor(w, &from->initializers[i], &tensors[i]);
        graph->initializer[i] = &tensors[i];
    }
    return graph;
}

static qn_status pack(writer *w, const qn_onnx_model *from, qn_buf *dst, qn_error *err)
{
    Onnx__Model model;
    Onnx__OperatorSet *opsets = take(w, from->opsets_count, sizeof *opsets);
    onnx__model__init(&model);
    model.opset_import = take(w, from->opsets_count, sizeof *model.opset_import);
    model.graph = write_graph(w, from);
    if (w->failed)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory while writing an ONNX file");
    model.ir_version = from->ir_version;
    model.producer_name = text(from->producer);
    model.producer_version = text(from->producer_version);
    model.n_opset_import = (size_t)from->opsets_count;
    for (int i = 0; i < from->opsets_count; i++) {
        onnx__operator_set__init(&opsets[i]);
        opsets[i].domain = text(from->opsets[i].domain);
        opsets[i].version = from->opsets[i].version;
        model.opset_import[i] = &opsets[i];
    }
    size_t size = onnx__model__get_packed_size(&model);
    if (size > FILE_MAX)
        QN_FAIL(err, QN_ERR_BUDGET, "the model has %zu bytes; an ONNX file holds at most %zu", size,
                FILE_MAX);
    char *bytes = qn_buf_reserve(dst, size);
    if (!bytes)
        QN_FAIL(err, QN_ERR_MEMORY, "no memory for %zu bytes of ONNX", size);
    dst->size += onnx__model__pack(&model, (uint8_t *)bytes);
    return QN_OK;
}

qn_status qn_onnx_write(qn_buf *dst, const qn_onnx_model *model, qn_error *err)
{
    writer w = {.failed = false};
    qn_arena_init(&w.arena, 0);
    qn_status status = pack(&w, model, dst, err);
    qn_arena_deinit(&w.arena);
    return status;
}
