/*
 * Running ONNX files: which plan serves which input shapes.
 */
#include "model/onnx_session.h"

#include <string.h>

#include "base/alloc.h"
#include "format/onnx.h"
#include "graph/plan.h"
#include "model/onnx_import.h"

enum { PLANS_DEFAULT = 8, PLANS_MAX = 64, INPUTS_MAX = 64 };

/* A plan and the input shapes it was made for. */
typedef struct {
    qn_plan *plan;
    qn_graph *graph; /* of its own where the graph has no symbols; the state too */
    qn_state *state;
    qn_shape *shapes; /* [inputs] */
    uint64_t used;
} kept_plan;

struct qn_onnx_session {
    qn_arena load;
    qn_onnx_model model;
    qn_tensor_spec *inputs, *outputs;
    int inputs_count, outputs_count;
    qn_graph *graph; /* with symbols; NULL: none can be built */
    bool apart;      /* some output has not one row for each row of the inputs */
    qn_state *state;
    qn_onnx_fix fix; /* what had to be constant where the graph is built for each shape */
    qn_pool *pool;
    kept_plan plans[PLANS_MAX];
    int plans_count, plans_max;
    uint64_t clock;
    int64_t flops;
};

/* --- opening --- */

static bool is_weight(const qn_onnx_model *model, const char *name)
{
    for (int i = 0; i < model->initializers_count; i++)
        if (strcmp(model->initializers[i].name, name) == 0)
            return true;
    return false;
}

static qn_status make_spec(const qn_onnx_info *info, qn_tensor_spec *ret, qn_error *err)
{
    qn_tensor_spec spec = {.name = info->name, .shape = {.rank = info->rank}};
    if (!qn_onnx_elem_dtype(info->elem, &spec.dtype))
        QN_FAIL(err, QN_ERR_UNSUPPORTED, "'%.100s' is not a tensor of numbers (type %s)",
                info->name,
                info->elem ? qn_onnx_elem_name(info->elem) : "sequence, map or optional");
    for (int i = 0; i < info->rank; i++)
        spec.shape.dims[i] = info->dims[i];
    *ret = spec;
    return QN_OK;
}

static qn_status make_specs(qn_onnx_session *session, qn_error *err)
{
    const qn_onnx_model *model = &session->model;
    session->inputs = QN_NEW(&session->load, qn_tensor_spec, model->inputs_count + 1);
    session->outputs = QN_NEW(&session->load, qn_tensor_spec, model->outputs_count + 1);
    if (!session->inputs || !session->outputs)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    for (int i = 0; i < model->inputs_count; i++)
        if (!is_weight(model, model->inputs[i].name))
            QN_TRY(make_spec(&model->inputs[i], &session->inputs[session->inputs_count++], err));
    for (int i = 0; i < model->outputs_count; i++)
        QN_TRY(make_spec(&model->outputs[i], &session->outputs[session->outputs_count++], err));
    if (session->inputs_count > INPUTS_MAX)
        QN_FAIL(err, QN_ERR_UNSUPPORTED, "%d inputs, at most %d are taken", session->inputs_count,
                (int)INPUTS_MAX);
    return QN_OK;
}

/* The graph knows its outputs better than the file may have declared them. */
static void refine_outputs(qn_onnx_session *session, const qn_graph *graph, bool open)
{
    for (int i = 0; i < session->outputs_count; i++) {
        const qn_type *type = qn_graph_type(graph, qn_graph_find(graph, session->outputs[i].name));
        qn_shape shape = type->shape;
        for (int d = 0; d < shape.rank; d++)
            shape.dims[d] = shape.dims[d] < 0 ? -1 : shape.dims[d];
        session->apart =
            session->apart || (open && (shape.rank < 1 || type->shape.dims[0] != QN_DIM_BATCH));
        session->outputs[i].dtype = type->dtype;
        if (open || session->outputs[i].shape.rank < 0)
            session->outputs[i].shape = shape;
    }
}

static bool has_whole_inputs(const qn_onnx_session *session)
{
    for (int i = 0; i < session->inputs_count; i++)
        if (!qn_dtype_is_float(session->inputs[i].dtype))
            return true;
    return false;
}

/* --- sizes to try --- */

enum { SIZES_MAX = 32 };
typedef struct {
    int64_t sizes[SIZES_MAX];
    int count;
} trial_sizes;

static void add_size(trial_sizes *trial, int64_t size)
{
    static const int64_t largest = 4096; /* of lengths that exporters have baked in */
    bool known = size < 2 || size > largest || trial->count == SIZES_MAX;
    for (int i = 0; i < trial->count && !known; i++)
        known = trial->sizes[i] == size;
    if (!known)
        trial->sizes[trial->count++] = size;
}

static void add_constant(trial_sizes *trial, const qn_tensor *tensor)
{
    bool whole = tensor->dtype == QN_DTYPE_I64 && tensor->data && tensor->shape.rank <= 1;
    int64_t count = whole ? qn_shape_count(&tensor->shape) : 0;
    for (int64_t i = 0; i < count && count <= QN_RANK_MAX; i++)
        add_size(trial, ((const int64_t *)tensor->data)[i]);
}

/* PyTorch's older exporter writes some lengths that are declared open as the numbers that they were, in constants of
 * shapes; windows need more than one place. */
static void find_sizes(const qn_onnx_model *model, trial_sizes *ret)
{
    ret->sizes[0] = 1;
    ret->count = 1;
    add_size(ret, 64);
    add_size(ret, 256);
    for (int i = 0; i < model->initializers_count; i++)
        add_constant(ret, &model->initializers[i].tensor);
    for (int i = 0; i < model->nodes_count; i++)
        for (int k = 0; k < model->nodes[i].attrs_count; k++)
            if (model->nodes[i].attrs[k].kind == QN_ONNX_ATTR_TENSOR)
                add_constant(ret, &model->nodes[i].attrs[k].tensor.tensor);
}

/* The first of the sizes with which the model can be built; the error of the first when there is none. */
static qn_status try_sizes(qn_onnx_session *session, qn_error *err)
{
    trial_sizes trial;
    qn_error first = {0};
    find_sizes(&session->model, &trial);
    for (int i = 0; i < trial.count; i++) {
        qn_graph *graph;
        qn_state *state;
        qn_onnx_import_options one = {.open_size = trial.sizes[i]};
        qn_error each = {0};
        if (qn_onnx_import(&session->model, &one, &graph, &state, &each) == QN_OK) {
            refine_outputs(session, graph, false);
            qn_graph_destroy(graph);
            qn_state_destroy(state);
            return QN_OK;
        }
        first = i == 0 ? each : first;
        if (each.code != QN_ERR_ARG && each.code != QN_ERR_DATA) /* whatever the sizes */
            break;
    }
    *err = first;
    return first.code;
}

/* With symbols; else with numbers for open sizes, to see that it can be built at all. A model whose shapes follow from the
 * elements of inputs is only known to work when they come. */
static qn_status try_graph(qn_onnx_session *session, qn_error *err)
{
    qn_error first = {0};
    qn_status status =
        qn_onnx_import(&session->model, NULL, &session->graph, &session->state, &first);
    if (status == QN_OK) {
        refine_outputs(session, session->graph, true);
        return QN_OK;
    }
    session->graph = NULL;
    session->state = NULL;
    qn_error second = {0};
    if (try_sizes(session, &second) == QN_OK)
        return QN_OK;
    if (status == QN_ERR_UNSUPPORTED && has_whole_inputs(session) &&
        strstr(first.text, "must be a constant")) {
        session->fix = QN_ONNX_FIX_WHOLE_NUMBERS;
        return QN_OK;
    }
    /* With sizes in place the message is about the model, not about symbols. */
    if (err)
        *err = second;
    return second.code;
}

qn_status qn_onnx_session_open(const char *path, qn_pool *pool, int plans_max,
                               qn_onnx_session **ret, qn_error *err)
{
    qn_onnx_session *session = qn_alloc_zero(1, sizeof *session);
    if (!session)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    qn_arena_init(&session->load, 0);
    session->pool = pool;
    session->plans_max = plans_max > 0 ? plans_max : PLANS_DEFAULT;
    if (session->plans_max > PLANS_MAX)
        session->plans_max = PLANS_MAX;
    qn_status status = qn_onnx_open(path, &session->load, &session->model, err);
    if (status == QN_OK)
        status = make_specs(session, err);
    if (status == QN_OK)
        status = try_graph(session, err);
    if (status != QN_OK) {
        if (err && !err->where[0])
            (void)qn_error_at(err, status, "%s", path);
        qn_onnx_session_close(session);
        return status;
    }
    *ret = session;
    return QN_OK;
}

static void drop_plan(kept_plan *place)
{
    qn_plan_destroy(place->plan);
    qn_graph_destroy(place->graph);
    qn_state_destroy(place->state);
    *place = (kept_plan){.shapes = place->shapes};
}

void qn_onnx_session_close(qn_onnx_session *session)
{
    if (!session)
        return;
    for (int i = 0; i < session->plans_count; i++)
        drop_plan(&session->plans[i]);
    qn_graph_destroy(session->graph);
    qn_state_destroy(session->state);
    qn_onnx_close(&session->model);
    qn_arena_deinit(&session->load);
    qn_free(session);
}

/* Is the open size in front called a length? Requests behind one another would then be one long sequence. */
static bool begins_with_length(const qn_onnx_session *session)
{
    static const char *const words[] = {"seq", "time", "len", "step", "frames"};
    const char *name = "";
    for (int i = 0; i < session->model.inputs_count; i++)
        if (strcmp(session->model.inputs[i].name, session->inputs[0].name) == 0 &&
            session->model.inputs[i].rank > 0 && session->model.inputs[i].dims[0] < 0)
            name = session->model.inputs[i].params[0];
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strstr(name, words[i]))
            return true;
    return false;
}

void qn_onnx_session_describe(const qn_onnx_session *session, qn_signature *dst)
{
    bool joins = session->graph && session->inputs_count > 0 && !session->apart &&
                 !begins_with_length(session);
    dst->inputs = session->inputs;
    dst->inputs_count = session->inputs_count;
    dst->outputs = session->outputs;
    dst->outputs_count = session->outputs_count;
    for (int i = 0; i < session->inputs_count; i++)
        joins = joins && session->inputs[i].shape.rank > 0 && session->inputs[i].shape.dims[0] < 0;
    for (int i = 0; i < session->outputs_count; i++)
        joins =
            joins && session->outputs[i].shape.rank > 0 && session->outputs[i].shape.dims[0] < 0;
    dst->apart = !joins;
}

static int64_t state_bytes(const qn_state *state)
{
    int64_t bytes = 0;
    for (int i = 0; state && i < qn_state_count(state); i++)
        bytes += (int64_t)qn_tensor_bytes(&qn_state_at(state, i)->tensor);
    return bytes;
}

int64_t qn_onnx_session_bytes(const qn_onnx_session *session)
{
    int64_t bytes = (int64_t)session->load.used_bytes + state_bytes(session->state);
    for (int i = 0; i < session->plans_count; i++)
        bytes += qn_plan_bytes(session->plans[i].plan) + state_bytes(session->plans[i].state);
    return bytes;
}

int64_t qn_onnx_session_flops(const qn_onnx_session *session)
{
    return session->flops > 0 ? session->flops : state_bytes(session->state) / 2;
}

/* --- inputs --- */

static const qn_named_tensor *find_named(const qn_named_tensor *list, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (strcmp(list[i].name, name) == 0)
            return &list[i];
    return NULL;
}

static bool fits(const qn_shape *spec, const qn_shape *shape)
{
    bool good = spec->rank < 0 || spec->rank == shape->rank;
    for (int i = 0; good && i < spec->rank; i++)
        good = spec->dims[i] < 0 || spec->dims[i] == shape->dims[i];
    return good;
}

/* In the file's order, of the file's types. */
static qn_status take_input(const qn_tensor_spec *spec, const qn_named_tensor *given,
                            qn_arena *request, qn_named_tensor *ret, qn_error *err)
{
    char expected[128], received[128];
    if (!given)
        QN_FAIL(err, QN_ERR_ARG, "input '%s' of shape %s is missing", spec->name,
                qn_shape_text(&spec->shape, expected));
    const qn_tensor *tensor = &given->tensor;
    if (!fits(&spec->shape, &tensor->shape))
        QN_FAIL(err, QN_ERR_ARG, "input '%s' expects shape %s, got %s", spec->name,
                qn_shape_text(&spec->shape, expected), qn_shape_text(&tensor->shape, received));
    bool numbers = qn_dtype_is_float(spec->dtype) || !qn_dtype_is_float(tensor->dtype);
    if (tensor->dtype != spec->dtype && !numbers)
        QN_FAIL(err, QN_ERR_ARG, "input '%s' expects %s, got %s", spec->name,
                qn_dtype_name(spec->dtype), qn_dtype_name(tensor->dtype));
    if (!qn_tensor_contiguous(tensor))
        QN_FAIL(err, QN_ERR_ARG, "input '%s' is not contiguous", spec->name);
    *ret = (qn_named_tensor){spec->name, *tensor};
    if (tensor->dtype == spec->dtype)
        return QN_OK;
    ret->tensor = qn_tensor_of(NULL, spec->dtype, tensor->shape);
    ret->tensor.data = qn_arena_alloc_aligned(request, qn_tensor_bytes(&ret->tensor) + 1, 64);
    if (!ret->tensor.data)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    qn_tensor_convert(ret->tensor.data, spec->dtype, tensor);
    return QN_OK;
}

static qn_status take_inputs(const qn_onnx_session *session, const qn_named_tensor *given,
                             int count, qn_arena *request, qn_named_tensor *dst, qn_error *err)
{
    for (int i = 0; i < session->inputs_count; i++) {
        const qn_tensor_spec *spec = &session->inputs[i];
        QN_TRY(take_input(spec, find_named(given, count, spec->name), request, &dst[i], err));
    }
    for (int i = 0; i < count; i++) {
        if (!find_named(dst, session->inputs_count, given[i].name))
            QN_FAIL(err, QN_ERR_ARG, "the model has no input '%s'%s%s", given[i].name,
                    session->inputs_count ? "; it has " : "",
                    session->inputs_count ? session->inputs[0].name : "");
        if (find_named(given, i, given[i].name))
            QN_FAIL(err, QN_ERR_ARG, "input '%s' is given twice", given[i].name);
    }
    return QN_OK;
}

/* --- plans --- */

/* What the symbols of the graph's inputs stand for; equal symbols must be equal sizes. */
static qn_status read_sizes(const qn_onnx_session *session, const qn_named_tensor *inputs,
                            int64_t sizes[2], qn_error *err)
{
    for (int i = 0; i < session->inputs_count; i++) {
        qn_value value = qn_graph_find(session->graph, inputs[i].name);
        const qn_shape *shape = &qn_graph_type(session->graph, value)->shape;
        for (int d = 0; d < shape->rank; d++) {
            int64_t *size = shape->dims[d] < 0 ? &sizes[-1 - shape->dims[d]] : NULL;
            int64_t came = inputs[i].tensor.shape.dims[d];
            if (!size)
                continue;
            if (*size > 0 && *size != came)
                QN_FAIL(err, QN_ERR_ARG, "input '%s': dimension %d is %lld, of the others %lld",
                        inputs[i].name, d, (long long)came, (long long)*size);
            if (came < 1)
                QN_FAIL(err, QN_ERR_ARG, "input '%s' has no rows", inputs[i].name);
            *size = came;
        }
    }
    return QN_OK;
}

static qn_status make_open_plan(qn_onnx_session *session, const qn_named_tensor *inputs,
                                kept_plan *ret, qn_error *err)
{
    int64_t sizes[2] = {0, 0};
    QN_TRY(read_sizes(session, inputs, sizes, err));
    qn_plan_options options = {
        .batch = sizes[0] ? sizes[0] : 1, .time = sizes[1], .pool = session->pool};
    return qn_plan_create(session->graph, session->state, &options, &ret->plan, err);
}

static qn_status make_closed_plan(qn_onnx_session *session, const qn_named_tensor *inputs,
                                  kept_plan *ret, qn_error *err)
{
    qn_onnx_import_options options = {
        .given = inputs, .given_count = session->inputs_count, .fix = session->fix};
    QN_TRY(qn_onnx_import(&session->model, &options, &ret->graph, &ret->state, err));
    qn_plan_options sizes = {.batch = 1, .pool = session->pool};
    qn_status status = qn_plan_create(ret->graph, ret->state, &sizes, &ret->plan, err);
    if (status != QN_OK) {
        qn_graph_destroy(ret->graph);
        qn_state_destroy(ret->state);
    }
    return status;
}

/* An empty place, or the least recently used one emptied. */
static kept_plan *free_place(qn_onnx_session *session)
{
    kept_plan *oldest = &session->plans[0];
    if (session->plans_count < session->plans_max)
        oldest = &session->plans[session->plans_count++];
    for (int i = 0; i < session->plans_count && oldest->plan; i++)
        if (session->plans[i].used < oldest->used)
            oldest = &session->plans[i];
    drop_plan(oldest);
    return oldest;
}

static kept_plan *find_plan(qn_onnx_session *session, const qn_named_tensor *inputs)
{
    for (int i = 0; i < session->plans_count; i++) {
        kept_plan *kept = &session->plans[i];
        bool same = kept->plan && session->fix == QN_ONNX_FIX_NONE;
        for (int k = 0; same && k < session->inputs_count; k++)
            same = qn_shape_equal(&kept->shapes[k], &inputs[k].tensor.shape);
        if (same)
            return kept;
    }
    return NULL;
}

static qn_status get_plan(qn_onnx_session *session, const qn_named_tensor *inputs, kept_plan **ret,
                          qn_error *err)
{
    kept_plan *place = find_plan(session, inputs), made = {0};
    if (!place) {
        QN_TRY(session->graph ? make_open_plan(session, inputs, &made, err)
                              : make_closed_plan(session, inputs, &made, err));
        place = free_place(session);
        made.shapes = place->shapes ? place->shapes
                                    : QN_NEW(&session->load, qn_shape, session->inputs_count + 1);
        *place = made;
        if (!made.shapes) {
            drop_plan(place);
            QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
        }
        for (int i = 0; i < session->inputs_count; i++)
            place->shapes[i] = inputs[i].tensor.shape;
        session->flops = qn_plan_flops(place->plan);
    }
    place->used = ++session->clock;
    *ret = place;
    return QN_OK;
}

static qn_status give_outputs(const qn_onnx_session *session, const qn_plan *plan,
                              qn_arena *request, qn_named_tensor *ret, qn_error *err)
{
    for (int i = 0; i < session->outputs_count; i++) {
        qn_tensor output = *qn_plan_output(plan, session->outputs[i].name);
        size_t size = qn_tensor_bytes(&output);
        void *data = qn_arena_alloc_aligned(request, size + 1, 64);
        if (!data)
            QN_FAIL(err, QN_ERR_MEMORY, "out of memory for output '%s'", session->outputs[i].name);
        if (size > 0)
            memcpy(data, output.data, size);
        output.data = data;
        ret[i] = (qn_named_tensor){session->outputs[i].name, output};
    }
    return QN_OK;
}

qn_status qn_onnx_session_run(qn_onnx_session *session, const qn_named_tensor *inputs,
                              int inputs_count, qn_arena *request, qn_named_tensor *ret_outputs,
                              qn_error *err)
{
    qn_named_tensor taken[INPUTS_MAX] = {{0}};
    kept_plan *place = NULL;
    QN_TRY(take_inputs(session, inputs, inputs_count, request, taken, err));
    QN_TRY(get_plan(session, taken, &place, err));
    for (int i = 0; i < session->inputs_count; i++) {
        const qn_tensor *input = qn_plan_input(place->plan, taken[i].name);
        const void *data = taken[i].tensor.data; /* none of an empty tensor */
        if (input && data && qn_tensor_bytes(input) > 0)
            memcpy(input->data, data, qn_tensor_bytes(input));
    }
    qn_plan_run(place->plan, 0);
    return give_outputs(session, place->plan, request, ret_outputs, err);
}
