/*
 * Reading ONNX models. The protobuf library turns bytes into messages; here they become plain structs, every count
 * and name checked. No message of ours nests in itself (a graph in an attribute stays bytes until it is asked for), so depth
 * is bounded, and memory by a budget on the messages: a short file of many empty ones would otherwise grow sixtyfold.
 */
#include "format/onnx.h"

#include <limits.h>
#include <string.h>

#include "format/onnx_priv.h"

/* Messages take about their own size, and for each node, tensor and string a struct; 12 is three times what models with
 * the smallest nodes reach. */
enum { MESSAGES_BYTES = 64 << 20, MESSAGES_FACTOR = 12 };

typedef struct {
    qn_arena *arena;
    size_t left;
    bool spent;
} budget;

static void *take(void *user, size_t size)
{
    budget *memory = user;
    if (size > memory->left) {
        memory->spent = true;
        return NULL;
    }
    memory->left -= size;
    return qn_arena_alloc(memory->arena, size ? size : 1);
}

static void keep(void *user, void *pointer)
{
    (void)user;
    (void)pointer; /* the arena frees it with the rest */
}

static qn_status out_of_memory(qn_error *err)
{
    return qn_error_set(err, QN_ERR_MEMORY, NULL, "out of memory while reading an ONNX file");
}

static qn_status unpack(const ProtobufCMessageDescriptor *type, qn_str bytes, const char *file,
                        qn_arena *arena, const ProtobufCMessage **ret, qn_error *err)
{
    budget memory = {arena, MESSAGES_BYTES + (size_t)MESSAGES_FACTOR * bytes.size, false};
    ProtobufCAllocator allocator = {take, keep, &memory};
    const ProtobufCMessage *message =
        bytes.size > 0
            ? protobuf_c_message_unpack(type, &allocator, bytes.size, (const uint8_t *)bytes.data)
            : NULL;
    if (!message && memory.spent)
        return qn_error_set(err, QN_ERR_BUDGET, file,
                            "the file asks for more memory than its %zu bytes justify", bytes.size);
    if (!message)
        return qn_error_set(err, QN_ERR_DATA, file, "not an ONNX file: no protobuf message in it");
    *ret = message;
    return QN_OK;
}

/* --- structs out of messages --- */

static const char *const *strings_of(char **list)
{
    return (const char *const *)(void *)list;
}

/* Two spellings of one domain. */
static const char *domain_of(const char *domain)
{
    return strcmp(domain, "ai.onnx") == 0 ? "" : domain;
}

static qn_status read_opsets(Onnx__OperatorSet **list, size_t count, qn_arena *arena,
                             const qn_onnx_opset **ret, int *ret_count, qn_error *err)
{
    qn_onnx_opset *opsets = QN_NEW(arena, qn_onnx_opset, (int64_t)count + 1);
    if (!opsets)
        return out_of_memory(err);
    for (size_t i = 0; i < count; i++)
        opsets[i] = (qn_onnx_opset){domain_of(list[i]->domain), list[i]->version};
    *ret = opsets;
    *ret_count = (int)count;
    return QN_OK;
}

/* The type as attributes of files before IR version 2 leave it out. */
static qn_onnx_attr_kind kind_of(const Onnx__Attribute *message)
{
    if (message->type != 0)
        return (qn_onnx_attr_kind)message->type;
    if (message->n_ints > 0)
        return QN_ONNX_ATTR_INTS;
    if (message->n_floats > 0)
        return QN_ONNX_ATTR_FLOATS;
    if (message->n_strings > 0)
        return QN_ONNX_ATTR_STRINGS;
    if (message->t)
        return QN_ONNX_ATTR_TENSOR;
    if (message->s.len > 0)
        return QN_ONNX_ATTR_STRING;
    return message->f != 0 ? QN_ONNX_ATTR_FLOAT : QN_ONNX_ATTR_INT;
}

static const char *text_of(const ProtobufCBinaryData *bytes, qn_arena *arena)
{
    return qn_arena_strndup(arena, bytes->len ? (const char *)bytes->data : "", bytes->len);
}

static qn_status read_attr(const qn_onnx_reader *reader, const Onnx__Attribute *message,
                           const char *node, qn_onnx_attr *dst, qn_error *err)
{
    qn_onnx_attr attr = {
        .name = message->name, .kind = kind_of(message), .ref = message->ref_attr_name};
    attr.graph = (qn_str){(const char *)message->g.data, message->g.len};
    attr.f = message->f;
    attr.i = message->i;
    attr.floats = message->floats;
    attr.ints = message->ints;
    attr.s = text_of(&message->s, reader->arena);
    if (attr.kind == QN_ONNX_ATTR_FLOATS)
        attr.count = (int64_t)message->n_floats;
    else if (attr.kind == QN_ONNX_ATTR_INTS)
        attr.count = (int64_t)message->n_ints;
    else if (attr.kind == QN_ONNX_ATTR_STRINGS) {
        attr.count = (int64_t)message->n_strings;
        const char **strings = QN_NEW(reader->arena, const char *, attr.count + 1);
        for (int64_t i = 0; strings && i < attr.count; i++)
            if (!(strings[i] = text_of(&message->strings[i], reader->arena)))
                return out_of_memory(err);
        attr.strings = strings;
        if (!strings)
            return out_of_memory(err);
    } else if (attr.kind == QN_ONNX_ATTR_TENSOR && message->t)
        QN_TRY(qn_onnx_tensor_of(reader, message->t, message->name, &attr.tensor, err));
    else if (attr.kind == QN_ONNX_ATTR_TENSOR && attr.ref[0] == 0)
        return qn_error_set(err, QN_ERR_DATA, reader->file,
                            "node '%.100s': attribute '%.60s' lacks its tensor", node, attr.name);
    if (!attr.s)
        return out_of_memory(err);
    *dst = attr;
    return QN_OK;
}

static qn_status read_attrs(const qn_onnx_reader *reader, Onnx__Attribute **list, size_t count,
                            const char *node, const qn_onnx_attr **ret, int *ret_count,
                            qn_error *err)
{
    qn_onnx_attr *attrs = QN_NEW(reader->arena, qn_onnx_attr, (int64_t)count + 1);
    if (!attrs)
        return out_of_memory(err);
    for (size_t i = 0; i < count; i++)
        QN_TRY(read_attr(reader, list[i], node, &attrs[i], err));
    *ret = attrs;
    *ret_count = (int)count;
    return QN_OK;
}

static qn_status read_node(const qn_onnx_reader *reader, const Onnx__Node *message,
                           qn_onnx_node *dst, qn_error *err)
{
    if (message->n_input > INT_MAX || message->n_output > INT_MAX ||
        message->n_attribute > INT_MAX || message->op_type[0] == 0)
        return qn_error_set(err, QN_ERR_DATA, reader->file, "node '%.100s' has no operator",
                            message->name);
    qn_onnx_node node = {.op = message->op_type,
                         .domain = domain_of(message->domain),
                         .name = message->name,
                         .overload = message->overload,
                         .inputs = strings_of(message->input),
                         .outputs = strings_of(message->output),
                         .inputs_count = (int)message->n_input,
                         .outputs_count = (int)message->n_output};
    QN_TRY(read_attrs(reader, message->attribute, message->n_attribute, message->name, &node.attrs,
                      &node.attrs_count, err));
    *dst = node;
    return QN_OK;
}

static qn_status read_nodes(const qn_onnx_reader *reader, Onnx__Node **list, size_t count,
                            const qn_onnx_node **ret, int *ret_count, qn_error *err)
{
    if (count > INT_MAX)
        return qn_error_set(err, QN_ERR_BUDGET, reader->file, "the graph has too many nodes");
    qn_onnx_node *nodes = QN_NEW(reader->arena, qn_onnx_node, (int64_t)count + 1);
    if (!nodes)
        return out_of_memory(err);
    for (size_t i = 0; i < count; i++)
        QN_TRY(read_node(reader, list[i], &nodes[i], err));
    *ret = nodes;
    *ret_count = (int)count;
    return QN_OK;
}

static void read_dimension(const Onnx__Dimension *message, int64_t *ret_size,
                           const char **ret_param)
{
    bool number = message->value_case == ONNX__DIMENSION__VALUE_DIM_VALUE;
    bool named = message->value_case == ONNX__DIMENSION__VALUE_DIM_PARAM;
    *ret_size = number && message->dim_value >= 0 ? message->dim_value : -1;
    *ret_param = named ? message->dim_param : "";
}

static qn_status read_info(const qn_onnx_reader *reader, const Onnx__Info *message,
                           qn_onnx_info *dst, qn_error *err)
{
    qn_onnx_info info = {.name = message->name, .rank = -1};
    const Onnx__TensorType *type = message->type ? message->type->tensor_type : NULL;
    if (type)
        info.elem = type->elem_type;
    if (type && type->shape) {
        if (type->shape->n_dim > QN_RANK_MAX)
            return qn_error_set(err, QN_ERR_DATA, reader->file,
                                "'%.100s' has %zu dimensions, at most %d fit", message->name,
                                type->shape->n_dim, (int)QN_RANK_MAX);
        info.rank = (int)type->shape->n_dim;
        for (int i = 0; i < info.rank; i++)
            read_dimension(type->shape->dim[i], &info.dims[i], &info.params[i]);
    }
    *dst = info;
    return QN_OK;
}

static qn_status read_infos(const qn_onnx_reader *reader, Onnx__Info **list, size_t count,
                            const qn_onnx_info **ret, int *ret_count, qn_error *err)
{
    qn_onnx_info *infos = QN_NEW(reader->arena, qn_onnx_info, (int64_t)count + 1);
    if (!infos)
        return out_of_memory(err);
    for (size_t i = 0; i < count; i++)
        QN_TRY(read_info(reader, list[i], &infos[i], err));
    *ret = infos;
    *ret_count = (int)count;
    return QN_OK;
}

static qn_status read_graph(const qn_onnx_reader *reader, const Onnx__Graph *message,
                            qn_onnx_model *dst, qn_error *err)
{
    if (message->n_initializer > INT_MAX)
        return qn_error_set(err, QN_ERR_BUDGET, reader->file, "the graph has too many tensors");
    if (message->n_sparse_initializer > 0)
        return qn_error_set(err, QN_ERR_UNSUPPORTED, reader->file,
                            "the graph has sparse tensors, which are not read");
    QN_TRY(read_nodes(reader, message->node, message->n_node, &dst->nodes, &dst->nodes_count, err));
    qn_onnx_tensor *tensors =
        QN_NEW(reader->arena, qn_onnx_tensor, (int64_t)message->n_initializer + 1);
    if (!tensors)
        return out_of_memory(err);
    for (size_t i = 0; i < message->n_initializer; i++)
        QN_TRY(qn_onnx_tensor_of(reader, message->initializer[i], "?", &tensors[i], err));
    dst->graph_name = message->name;
    dst->initializers = tensors;
    dst->initializers_count = (int)message->n_initializer;
    QN_TRY(read_infos(reader, message->input, message->n_input, &dst->inputs, &dst->inputs_count,
                      err));
    return read_infos(reader, message->output, message->n_output, &dst->outputs,
                      &dst->outputs_count, err);
}

static qn_status read_function(const qn_onnx_reader *reader, const Onnx__Function *message,
                               qn_onnx_function *dst, qn_error *err)
{
    qn_onnx_function function = {.op = message->name,
                                 .domain = domain_of(message->domain),
                                 .overload = message->overload,
                                 .inputs = strings_of(message->input),
                                 .outputs = strings_of(message->output),
                                 .inputs_count = (int)message->n_input,
                                 .outputs_count = (int)message->n_output};
    if (message->n_input > INT_MAX || message->n_output > INT_MAX)
        return qn_error_set(err, QN_ERR_BUDGET, reader->file, "function '%.100s' has %zu inputs",
                            message->name, message->n_input);
    QN_TRY(read_attrs(reader, message->attribute_proto, message->n_attribute_proto, message->name,
                      &function.attrs, &function.attrs_count, err));
    QN_TRY(read_opsets(message->opset_import, message->n_opset_import, reader->arena,
                       &function.opsets, &function.opsets_count, err));
    QN_TRY(read_nodes(reader, message->node, message->n_node, &function.nodes,
                      &function.nodes_count, err));
    *dst = function;
    return QN_OK;
}

static qn_status read_functions(const qn_onnx_reader *reader, const Onnx__Model *message,
                                qn_onnx_model *dst, qn_error *err)
{
    qn_onnx_function *functions =
        QN_NEW(reader->arena, qn_onnx_function, (int64_t)message->n_functions + 1);
    if (!functions)
        return out_of_memory(err);
    for (size_t i = 0; i < message->n_functions; i++)
        QN_TRY(read_function(reader, message->functions[i], &functions[i], err));
    dst->functions = functions;
    dst->functions_count = (int)message->n_functions;
    return QN_OK;
}

static qn_status read_meta(const Onnx__Model *message, qn_arena *arena, qn_onnx_model *dst,
                           qn_error *err)
{
    int64_t count = (int64_t)message->n_metadata_props;
    const char **keys = QN_NEW(arena, const char *, count + 1);
    const char **values = QN_NEW(arena, const char *, count + 1);
    if (!keys || !values)
        return out_of_memory(err);
    for (int64_t i = 0; i < count; i++) {
        keys[i] = message->metadata_props[i]->key;
        values[i] = message->metadata_props[i]->value;
    }
    dst->meta_keys = keys;
    dst->meta_values = values;
    dst->meta_count = (int)count;
    return QN_OK;
}

qn_status qn_onnx_read(qn_str bytes, const char *file, const char *folder, qn_arena *arena,
                       qn_onnx_model *ret, qn_error *err)
{
    const ProtobufCMessage *message = NULL;
    QN_TRY(unpack(&onnx__model__descriptor, bytes, file, arena, &message, err));
    const Onnx__Model *from = (const Onnx__Model *)(const void *)message;
    if (!from || !from->graph)
        QN_FAIL(err, QN_ERR_DATA, "not an ONNX model: there is no graph in it");
    qn_onnx_model model = {.ir_version = from->ir_version,
                           .producer = from->producer_name,
                           .producer_version = from->producer_version};
    qn_onnx_reader reader = {file, folder, arena, &model};
    qn_status status = read_opsets(from->opset_import, from->n_opset_import, arena, &model.opsets,
                                   &model.opsets_count, err);
    if (status == QN_OK)
        status = read_meta(from, arena, &model, err);
    if (status == QN_OK)
        status = read_functions(&reader, from, &model, err);
    if (status == QN_OK)
        status = read_graph(&reader, from->graph, &model, err);
    if (status == QN_OK)
        *ret = model;
    else
        qn_onnx_close(&model);
    return status;
}

void qn_onnx_close(qn_onnx_model *model)
{
    for (int i = 0; i < model->maps_count; i++)
        qn_map_close(&model->maps[i]);
    model->maps_count = 0;
}

qn_status qn_onnx_open(const char *path, qn_arena *arena, qn_onnx_model *ret, qn_error *err)
{
    const char *slash = strrchr(path, '/');
    const char *folder = slash ? qn_arena_strndup(arena, path, (size_t)(slash - path) + 1) : ".";
    qn_map map;
    if (!folder)
        return out_of_memory(err);
    QN_TRY(qn_map_open(path, &map, err));
    qn_status status = qn_onnx_read((qn_str){map.data, map.size}, path, folder, arena, ret, err);
    qn_map_close(&map); /* messages are copies */
    return status;
}

qn_status qn_onnx_read_body(const qn_onnx_attr *attr, qn_arena *arena, qn_onnx_model *ret,
                            qn_error *err)
{
    const ProtobufCMessage *message = NULL;
    QN_TRY(unpack(&onnx__graph__descriptor, attr->graph, attr->name, arena, &message, err));
    QN_ASSERT(message);
    qn_onnx_reader reader = {attr->name, NULL, arena, NULL};
    qn_onnx_model body = {0};
    QN_TRY(read_graph(&reader, (const Onnx__Graph *)(const void *)message, &body, err));
    *ret = body;
    return QN_OK;
}

qn_status qn_onnx_read_tensor(qn_str bytes, const char *file, qn_arena *arena, qn_onnx_tensor *ret,
                              qn_error *err)
{
    const ProtobufCMessage *message = NULL;
    QN_TRY(unpack(&onnx__tensor__descriptor, bytes, file, arena, &message, err));
    qn_onnx_reader reader = {file, NULL, arena, NULL};
    return qn_onnx_tensor_of(&reader, (const Onnx__Tensor *)(const void *)message, "?", ret, err);
}
