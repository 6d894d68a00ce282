/*
 * Networks that come as ONNX files and learn on: which of the file's inputs takes which tensor of the data, where the network
 * ends, and what its output means to the loss. Not here: what the operators mean (onnx_import.h).
 *
 * Class scores are logits inside, so a softmax or sigmoid that ends the file is left to the loss and the answer. Numbers
 * come in raw units from a file, while the loss works on standardised ones: they are turned here and turned back there.
 */
#include <string.h>

#include "format/onnx.h"
#include "model/architecture_priv.h"
#include "model/onnx_import.h"
#include "nn/layers.h"

/* How a row of the data becomes a row of the file's input. */
typedef enum { FIT_NOT, FIT_AS_IS, FIT_CHANNELS_FIRST, FIT_RESHAPED } fit;

typedef struct {
    const qn_architecture *architecture;
    const char *file; /* without its folders */
    qn_graph *graph;
    qn_arena *arena;
    qn_onnx_model model;
    const qn_onnx_info **inputs; /* those that are no weights */
    int inputs_count;
    qn_graph_feed *feeds;   /* one for each input */
    qn_named_tensor *given; /* their sizes */
    qn_onnx_import_options options;
    qn_onnx_training training;
} file_network;

/* --- shapes --- */

/* "[batch, 3, height, 28]" */
static const char *info_text(const file_network *n, const qn_onnx_info *info)
{
    const char *text = info->rank < 0 ? "of any shape" : "[";
    for (int i = 0; i < info->rank && text; i++) {
        const char *comma = i ? ", " : "";
        const char *name = info->params[i] && *info->params[i] ? info->params[i] : "?";
        text = info->dims[i] >= 0
                   ? qn_arena_printf(n->arena, "%s%s%lld", text, comma, (long long)info->dims[i])
                   : qn_arena_printf(n->arena, "%s%s%.40s", text, comma, name);
    }
    if (text && info->rank >= 0)
        text = qn_arena_printf(n->arena, "%s]", text);
    return text ? text : "?";
}

static bool matches(const qn_onnx_info *info, const qn_shape *row)
{
    if (info->rank != row->rank + 1)
        return false;
    for (int i = 0; i < row->rank; i++)
        if (info->dims[i + 1] >= 0 && info->dims[i + 1] != row->dims[i])
            return false;
    return true;
}

/* The dimensions that are not 1; false where one is open. */
static bool squeeze(const int64_t *dims, int rank, qn_shape *ret)
{
    *ret = (qn_shape){0};
    for (int i = 0; i < rank; i++) {
        if (dims[i] < 0)
            return false;
        if (dims[i] != 1)
            ret->dims[ret->rank++] = dims[i];
    }
    return true;
}

static fit fit_of(const qn_onnx_info *info, const qn_feature_tensor *source)
{
    const qn_shape *row = &source->shape;
    qn_shape want, have;
    if (info->rank < 0 || matches(info, row))
        return FIT_AS_IS;
    qn_shape first = {.rank = 3, .dims = {row->dims[2], row->dims[0], row->dims[1]}};
    if (row->rank == 3 && matches(info, &first))
        return FIT_CHANNELS_FIRST;
    if (info->rank < 1 || !squeeze(info->dims + 1, info->rank - 1, &want) ||
        !squeeze(row->dims, row->rank, &have))
        return FIT_NOT;
    bool orders_agree = row->rank < 3 || row->dims[2] == 1; /* pixels one by one, no channels */
    bool flat = row->rank == 1 || (want.rank == 1 && orders_agree);
    bool same = qn_shape_equal(&want, &have);
    return same || (flat && qn_shape_count(&want) == source->count) ? FIT_RESHAPED : FIT_NOT;
}

/* --- inputs --- */

static qn_status find_inputs(file_network *n, qn_error *err)
{
    const qn_onnx_model *model = &n->model;
    n->inputs = QN_NEW(n->arena, const qn_onnx_info *, model->inputs_count + 1);
    n->feeds = QN_NEW(n->arena, qn_graph_feed, model->inputs_count + 1);
    n->given = QN_NEW(n->arena, qn_named_tensor, model->inputs_count + 1);
    if (!n->inputs || !n->feeds || !n->given)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    for (int i = 0; i < model->inputs_count; i++) {
        bool weight = false;
        for (int k = 0; k < model->initializers_count && !weight; k++)
            weight = strcmp(model->initializers[k].name, model->inputs[i].name) == 0;
        if (!weight)
            n->inputs[n->inputs_count++] = &model->inputs[i];
    }
    return QN_OK;
}

static const qn_feature_tensor *find_source(const file_network *n, const char *name)
{
    const qn_architecture *a = n->architecture;
    for (int64_t i = 0; i < a->sources_count; i++)
        if (qn_str_is(a->sources[i].name, name))
            return &a->sources[i];
    return a->sources_count == 1 && n->inputs_count == 1 ? &a->sources[0] : NULL;
}

static const char *sources_text(const file_network *n)
{
    const char *text = "";
    char shape[128];
    for (int64_t i = 0; i < n->architecture->sources_count && text; i++) {
        const qn_feature_tensor *source = &n->architecture->sources[i];
        text = qn_arena_printf(n->arena, "%s%s'%.*s' of %s", text, i ? ", " : "",
                               QN_STR_ARG(source->name), qn_shape_text(&source->shape, shape));
    }
    return text ? text : "";
}

static qn_status fail_missing(const file_network *n, const qn_onnx_info *info, qn_error *err)
{
    (void)qn_error_set(err, QN_ERR_ARG, n->file, "the data has nothing for the input '%.80s' %s",
                       info->name, info_text(n, info));
    return qn_error_hint(err, QN_ERR_ARG,
                         "a file with several inputs takes arrays of their names (NPZ); the data "
                         "gives %s",
                         sources_text(n));
}

static qn_status fail_shape(const file_network *n, const qn_onnx_info *info,
                            const qn_feature_tensor *source, qn_error *err)
{
    char text[128];
    const char *name = qn_str_is(source->name, "x") ? "features" : "numbers";
    (void)qn_error_set(err, QN_ERR_ARG, n->file,
                       "the input '%.80s' is %s; a row of the data gives %lld %s, shape %s",
                       info->name, info_text(n, info), (long long)source->count, name,
                       qn_shape_text(&source->shape, text));
    return qn_error_hint(err, QN_ERR_ARG,
                         source->shape.rank == 3
                             ? "images are brought to a size by columns.NAME.size and channels"
                             : "numbers are one feature each and categories one for each level; "
                               "leave columns out with columns.NAME.drop");
}

static qn_status fail_batch(const file_network *n, const qn_onnx_info *info, qn_error *err)
{
    (void)qn_error_set(err, QN_ERR_ARG, n->file,
                       "the input '%.80s' is %s: it takes %lld rows at a time, and training takes "
                       "other numbers",
                       info->name, info_text(n, info), (long long)info->dims[0]);
    return qn_error_hint(err, QN_ERR_ARG,
                         "export it with an open batch: torch.onnx.export(..., "
                         "dynamic_axes={'%.60s': {0: 'batch'}}) or dynamic_shapes",
                         info->name);
}

static qn_value turn(const file_network *n, const qn_nn_scope *at, qn_value x,
                     const qn_onnx_info *info, fit how, const qn_shape *shape)
{
    qn_dtype dtype = QN_DTYPE_F32;
    if (how == FIT_RESHAPED)
        x = qn_nn_reshape(at, x, shape->dims + 1, shape->rank - 1);
    if (!qn_onnx_elem_dtype(info->elem, &dtype))
        return qn_graph_fail(n->graph, QN_ERR_UNSUPPORTED, "input '%.80s' is no tensor of numbers",
                             info->name);
    if (qn_graph_check(n->graph, NULL) != QN_OK || qn_graph_type(n->graph, x)->dtype == dtype)
        return x;
    qn_attr to = QN_ATTR_S("to", qn_dtype_name(dtype));
    return qn_graph_node(n->graph, "Cast", &x, 1, &to, 1);
}

/* The sizes of the file's input for this source, in the file's order. */
static qn_shape shape_of(const qn_onnx_info *info, const qn_feature_tensor *source, fit how)
{
    qn_shape shape = qn_architecture_batch_shape(source);
    if (how == FIT_CHANNELS_FIRST) {
        shape.dims[1] = source->shape.dims[2];
        shape.dims[2] = source->shape.dims[0];
        shape.dims[3] = source->shape.dims[1];
    }
    for (int i = 1; how == FIT_RESHAPED && i < info->rank; i++)
        shape.dims[i] = info->dims[i];
    if (how == FIT_RESHAPED)
        shape.rank = info->rank;
    return shape;
}

static qn_status feed_input(file_network *n, int index, qn_error *err)
{
    const qn_onnx_info *info = n->inputs[index];
    const qn_feature_tensor *source = find_source(n, info->name);
    if (!source)
        return fail_missing(n, info, err);
    fit how = fit_of(info, source);
    if (how == FIT_NOT)
        return fail_shape(n, info, source, err);
    if (info->rank > 0 && info->dims[0] >= 0)
        return fail_batch(n, info, err);
    const char *name = qn_arena_strndup(n->arena, source->name.data, source->name.size);
    if (!name)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    qn_shape shape = shape_of(info, source, how);
    qn_nn_scope at = {n->graph, name, NULL};
    qn_value x = qn_graph_input(n->graph, name, source->dtype, qn_architecture_batch_shape(source));
    if (how == FIT_CHANNELS_FIRST && !n->options.channels_last)
        n->options.channels_last = info->name;
    else if (how == FIT_CHANNELS_FIRST)
        x = qn_nn_permute(&at, x, (const int64_t[]){3, 1, 2}, 3);
    x = turn(n, &at, x, info, how, &shape);
    n->given[index] = (qn_named_tensor){info->name, qn_tensor_of(NULL, QN_DTYPE_F32, shape)};
    n->feeds[index] = (qn_graph_feed){info->name, x};
    return qn_graph_check(n->graph, err);
}

static qn_status feed_inputs(file_network *n, qn_error *err)
{
    const qn_architecture *a = n->architecture;
    QN_TRY(find_inputs(n, err));
    if (a->sources_count == 0)
        QN_FAIL(err, QN_ERR_DATA, "no column is left to learn from");
    if (a->sources_count > n->inputs_count) {
        (void)qn_error_set(err, QN_ERR_ARG, n->file, "it has %d inputs, and the data gives %s",
                           n->inputs_count, sources_text(n));
        return qn_error_hint(err, QN_ERR_ARG, "leave columns out with columns.NAME.drop");
    }
    for (int i = 0; i < n->inputs_count; i++)
        QN_TRY(feed_input(n, i, err));
    return QN_OK;
}

/* --- the end of the network --- */

static qn_status choose_output(file_network *n, qn_error *err)
{
    const qn_onnx_model *model = &n->model;
    n->options.output = n->architecture->file_output;
    if (n->options.output)
        return QN_OK;
    if (model->outputs_count == 1) {
        n->options.output = model->outputs[0].name;
        return QN_OK;
    }
    const char *names = "";
    for (int i = 0; i < model->outputs_count && names; i++)
        names =
            qn_arena_printf(n->arena, "%s%s%.60s", names, i ? ", " : "", model->outputs[i].name);
    (void)qn_error_set(err, QN_ERR_ARG, n->file, "it has %d outputs", model->outputs_count);
    return qn_error_hint(err, QN_ERR_ARG, "name one of them as model.output: %s",
                         names ? names : "");
}

/* What stands before a softmax or sigmoid that made `value`, or `value` itself. */
static qn_value without_closing(const qn_graph *graph, qn_value value)
{
    static const char *const closings[] = {"Softmax", "LogSoftmax", "Sigmoid"};
    for (int i = qn_graph_nodes_count(graph) - 1; i >= 0; i--) {
        qn_graph_node_view node = qn_graph_node_at(graph, i);
        if (node.first != value)
            continue;
        for (size_t k = 0; k < sizeof closings / sizeof *closings; k++)
            if (strcmp(node.op, closings[k]) == 0)
                return node.inputs[0];
        return value;
    }
    return value;
}

/* [B] and [B, C, 1, 1] -> rows of scores. */
static qn_value as_rows(qn_graph *graph, qn_value x)
{
    qn_nn_scope at = {graph, "file", NULL};
    qn_shape shape = qn_graph_type(graph, x)->shape;
    int64_t count = 1, most = 1;
    for (int i = 1; i < shape.rank; i++) {
        count *= shape.dims[i];
        most = shape.dims[i] > most ? shape.dims[i] : most;
    }
    if (shape.rank == 2 || shape.rank < 1 || shape.dims[0] != QN_DIM_BATCH || count != most)
        return x;
    return qn_nn_reshape(&at, x, &count, 1);
}

/* The file's answer as the loss takes it. */
static qn_value scores_of(const file_network *n, qn_value x)
{
    const qn_architecture *a = n->architecture;
    qn_graph *graph = n->graph;
    bool scaled = a->task == QN_TASK_REGRESSION && !a->closing;
    if (!scaled)
        x = without_closing(graph, x);
    if (a->layers->count > 0)
        return x;
    if (a->target.rank == 0)
        x = as_rows(graph, x);
    if (!scaled || qn_graph_check(graph, NULL) != QN_OK)
        return x;
    qn_value mean = qn_graph_scalar(graph, QN_DTYPE_F32, a->target_mean);
    qn_value deviation = qn_graph_scalar(graph, QN_DTYPE_F32, a->target_deviation);
    return qn_graph_op2(graph, "Div", qn_graph_op2(graph, "Sub", x, mean), deviation);
}

static qn_status graft(file_network *n, qn_value *ret, qn_state **ret_weights, qn_error *err)
{
    qn_graph *graph;
    qn_state *weights;
    qn_status status = qn_onnx_import(&n->model, &n->options, &graph, &weights, err);
    if (status != QN_OK) {
        return qn_error_at(err, status, "%s", n->file);
    }
    qn_value x = qn_graph_graft(n->graph, graph, n->options.output, n->feeds, n->inputs_count);
    if (x != QN_NONE)
        x = scores_of(n, x);
    qn_graph_destroy(graph);
    status = qn_graph_check(n->graph, err);
    if (status == QN_OK) {
        *ret = x;
        *ret_weights = weights;
    } else {
        qn_state_destroy(weights);
    }
    return status;
}

static qn_status build(file_network *n, qn_value *ret, qn_state **ret_weights, qn_error *err)
{
    QN_TRY(feed_inputs(n, err));
    QN_TRY(choose_output(n, err));
    n->options.given = n->given;
    n->options.given_count = n->inputs_count;
    n->options.training = &n->training;
    return graft(n, ret, ret_weights, err);
}

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

qn_status qn_architecture_file(const qn_architecture *architecture, qn_graph *graph, qn_value *ret,
                               qn_state **ret_weights, qn_error *err)
{
    qn_arena scratch; /* the file's tensors are copied once more into states */
    qn_arena_init(&scratch, 0);
    file_network n = {.architecture = architecture,
                      .file = name_of(architecture->file),
                      .graph = graph,
                      .arena = &scratch,
                      .training = {architecture->frozen, architecture->frozen_count}};
    qn_status status = qn_onnx_open(architecture->file, &scratch, &n.model, err);
    if (status == QN_OK) {
        status = build(&n, ret, ret_weights, err);
        qn_onnx_close(&n.model);
    }
    qn_arena_deinit(&scratch);
    return status;
}

/* What the file's last product of a weight reads: where another layer can stand in its place. */
static const char *before_last_product(const qn_onnx_model *model)
{
    for (int i = model->nodes_count - 1; i >= 0; i--) {
        const qn_onnx_node *node = &model->nodes[i];
        if ((strcmp(node->op, "Gemm") == 0 || strcmp(node->op, "MatMul") == 0) &&
            node->inputs_count > 1)
            return node->inputs[0];
    }
    return NULL;
}

qn_status qn_architecture_file_misfit(const qn_architecture *architecture, const qn_error *problem,
                                      qn_error *err)
{
    qn_onnx_model model;
    qn_arena scratch;
    const char *layer = NULL;
    qn_arena_init(&scratch, 0);
    (void)qn_error_set(err, QN_ERR_ARG, name_of(architecture->file), "%s", problem->text);
    if (qn_onnx_open(architecture->file, &scratch, &model, NULL) == QN_OK) {
        layer = before_last_product(&model);
        qn_onnx_close(&model);
    }
    (void)qn_error_hint(err, QN_ERR_ARG,
                        "put a layer of the right size behind it: model: {file: ..., %s%.80s%s"
                        "layers: [{dense: {units: auto}}]}",
                        layer ? "output: '" : "", layer ? layer : "", layer ? "', " : "");
    qn_arena_deinit(&scratch);
    return QN_ERR_ARG;
}
