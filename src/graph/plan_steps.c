/*
 * Steps: the nodes of a layout in their order, each with its tensors, then bound to a kernel. Copies for states that
 * could not be written directly stand between; neighbouring updates become one step.
 */
#include <string.h>

#include "base/alloc.h"
#include "graph/plan_priv.h"
#include "os/cpu.h"

/* Under this estimate waking a worker costs more than it saves (measured: a wake-up is 5 to 10 us). */
enum { SERIAL_NS = 4000, FLOPS_PER_NS = 100, BYTES_PER_NS = 20 };

typedef struct {
    qn_plan *plan;
    const qn_layout *layout;
    void **input_data; /* address of each buffer */
    int *sources;      /* by buffer: the plan input it is, or a QN_SOURCE */
    bool failed;       /* memory */
} step_work;

static void copy_ref(const qn_op_run *run)
{
    memcpy(run->outputs[0].data, run->inputs[0].data, qn_tensor_bytes(&run->outputs[0]));
}

/* Not in the registry: no graph can ask for it. */
static const qn_op copy_op = {
    .name = "Copy", .inputs_min = 1, .inputs_max = 1, .outputs_count = 1, .ref = copy_ref};

int64_t qn_step_bytes(const qn_plan_step *step)
{
    int64_t bytes = 0;
    for (int i = 0; i < step->types.inputs_count; i++)
        if (step->inputs[i].data)
            bytes += (int64_t)qn_tensor_bytes(&step->inputs[i]);
    for (int i = 0; i < step->types.outputs_count; i++)
        bytes += (int64_t)qn_tensor_bytes(&step->outputs[i]);
    return bytes;
}

/* What the row knows of a step whose factors are stored in bf16: f32 as everything else. */
static const qn_type *widened_types(const qn_plan_step *step, qn_type *inputs)
{
    for (int i = 0; i < step->types.inputs_count; i++) {
        inputs[i] = step->types.inputs[i];
        if (step->types.op->factors >> i & 1 && inputs[i].dtype == QN_DTYPE_BF16)
            inputs[i].dtype = QN_DTYPE_F32;
    }
    return inputs;
}

int64_t qn_step_flops(const qn_plan_step *step)
{
    if (step->types.op->flops) {
        qn_type inputs[QN_OP_INPUTS_MAX];
        qn_op_types types = step->types;
        if (step->narrow)
            types.inputs = widened_types(step, inputs);
        return types.op->flops(&types);
    }
    int64_t flops = 0;
    for (int i = 0; i < step->types.outputs_count; i++)
        flops += qn_shape_count(&step->types.outputs[i].shape);
    return flops;
}

static qn_bind make_bind(qn_plan *plan, qn_plan_step *step)
{
    return (qn_bind){.context = &plan->context,
                     .types = &step->types,
                     .inputs = step->inputs,
                     .outputs = step->outputs,
                     .wanted = step->wanted,
                     .fixed = step->fixed,
                     .narrow = step->narrow,
                     .scratch = plan->memory ? plan->memory + plan->buffers_bytes : NULL,
                     .stream = step->stream,
                     .bound = &step->bound};
}

/* A tensor without elements. Such steps run their references, so that no kernel has to plan work of no size. */
static bool is_empty(const qn_plan_step *step)
{
    bool empty = false;
    for (int i = 0; i < step->types.inputs_count; i++)
        empty = empty || (step->types.inputs[i].shape.rank >= 0 &&
                          qn_shape_count(&step->types.inputs[i].shape) == 0);
    for (int i = 0; i < step->types.outputs_count; i++)
        empty = empty || qn_shape_count(&step->types.outputs[i].shape) == 0;
    return empty;
}

static bool is_reference(const qn_plan *plan, const qn_plan_step *step)
{
    return (plan->context.reference || is_empty(step)) && step->types.op != &copy_op;
}

/* NULL = the row's reference. */
static const qn_binding *find_binding(const qn_plan *plan, const qn_plan_step *step)
{
    return is_reference(plan, step) ? NULL : qn_binding_find(step->types.op->name);
}

/* Factors of bf16, but no kernel reads them so. */
static bool is_widened(const qn_plan *plan, const qn_bind *bind, const qn_plan_step *step)
{
    return step->narrow && (is_reference(plan, step) || !qn_bind_takes_bf16(bind));
}

qn_status qn_step_bind(qn_plan *plan, int index, qn_error *err)
{
    qn_plan_step *step = &plan->steps[index];
    qn_bind bind = make_bind(plan, step);
    const qn_binding *binding = find_binding(plan, step);
    bool widened = is_widened(plan, &bind, step);
    bool bound = widened ? qn_bind_widened(&bind, binding)
                         : (binding && binding->bind(&bind)) || qn_bind_reference(&bind);
    if (!bound)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory while planning a graph");
    int64_t by_flops = qn_step_flops(step) / FLOPS_PER_NS,
            by_bytes = qn_step_bytes(step) / BYTES_PER_NS;
    bool serial = (by_flops > by_bytes ? by_flops : by_bytes) < SERIAL_NS;
    plan->calls[index] =
        (qn_call){step->bound.fn, step->bound.args, serial ? NULL : plan->context.pool};
    return QN_OK;
}

/* Deep copies into the plan: the graph may go. */

static const qn_attr *copy_attrs(step_work *work, const qn_op *op, const qn_attr *attrs)
{
    qn_arena *arena = &work->plan->arena;
    int count = 0;
    while (op->attrs && op->attrs[count].name)
        count++;
    qn_attr *copy = QN_NEW(arena, qn_attr, count + 1);
    for (int i = 0; copy && i < count; i++) {
        copy[i] = attrs[i];
        if (attrs[i].kind == QN_ATTR_STRING)
            copy[i].s = qn_arena_strndup(arena, attrs[i].s, strlen(attrs[i].s));
        work->failed = work->failed || (attrs[i].kind == QN_ATTR_STRING && !copy[i].s);
    }
    work->failed = work->failed || !copy;
    return copy;
}

static bool alloc_step(step_work *work, qn_plan_step *step, const qn_op *op, int inputs_count)
{
    qn_arena *arena = &work->plan->arena;
    qn_type *inputs = QN_NEW(arena, qn_type, inputs_count + 1);
    qn_type *outputs = QN_NEW(arena, qn_type, op->outputs_count + 1);
    step->inputs = QN_NEW(arena, qn_tensor, inputs_count + 1);
    step->outputs = QN_NEW(arena, qn_tensor, op->outputs_count + 1);
    step->wanted = QN_NEW(arena, bool, op->outputs_count + 1);
    step->input_sources = QN_NEW(arena, int, inputs_count + 1);
    step->fixed = QN_NEW(arena, bool, inputs_count + 1);
    step->types = (qn_op_types){.op = op,
                                .inputs_count = inputs_count,
                                .outputs_count = op->outputs_count,
                                .inputs = inputs,
                                .outputs = outputs};
    step->joined = 1;
    step->scope = "";
    bool made = inputs && outputs && step->inputs && step->outputs && step->wanted &&
                step->input_sources && step->fixed;
    work->failed = work->failed || !made;
    return made;
}

/* The types of a step are its own memory, const for everybody else. */
static void set_types(qn_plan_step *step, const qn_type *inputs, const qn_type *outputs)
{
    memcpy((qn_type *)(uintptr_t)step->types.inputs, inputs,
           (size_t)step->types.inputs_count * sizeof *inputs);
    memcpy((qn_type *)(uintptr_t)step->types.outputs, outputs,
           (size_t)step->types.outputs_count * sizeof *outputs);
    for (int i = 0; i < step->types.inputs_count; i++)
        step->inputs[i] = inputs[i].shape.rank < 0
                              ? (qn_tensor){.shape.rank = -1}
                              : qn_tensor_of(NULL, inputs[i].dtype, inputs[i].shape);
    for (int i = 0; i < step->types.outputs_count; i++)
        step->outputs[i] = qn_tensor_of(NULL, outputs[i].dtype, outputs[i].shape);
}

static qn_plan_step *push_step(step_work *work)
{
    qn_plan *plan = work->plan;
    return &plan->steps[plan->calls_count++];
}

static void push_node(step_work *work, const qn_node *node)
{
    const qn_graph *graph = work->layout->graph;
    qn_plan_step *step = push_step(work);
    qn_node_types types;
    if (!alloc_step(work, step, node->op, node->inputs_count) ||
        !qn_node_types_init(&types, graph, node)) {
        work->failed = true;
        return;
    }
    set_types(step, types.types.inputs, types.types.outputs);
    qn_node_types_deinit(&types);
    step->types.attrs = copy_attrs(work, node->op, node->attrs);
    step->scope = qn_arena_strndup(&work->plan->arena, node->scope, strlen(node->scope));
    work->failed = work->failed || !step->scope;
    step->stream = node->stream;
    step->narrow = node->narrow;
    for (int i = 0; i < node->inputs_count; i++) {
        qn_value value = node->inputs[i];
        step->input_sources[i] = QN_SOURCE_PLAN;
        if (value == QN_NONE)
            continue;
        int buffer = work->layout->buffer_of[value];
        step->input_sources[i] = work->sources[buffer];
        step->inputs[i].data = work->input_data[buffer];
        step->fixed[i] = work->layout->buffers[buffer].fixed;
    }
    for (int i = 0; i < node->op->outputs_count; i++) {
        step->wanted[i] = work->layout->uses[node->first + i] > 0;
        if (step->wanted[i] || !qn_op_is_spare(node->op, i))
            step->outputs[i].data = work->input_data[work->layout->buffer_of[node->first + i]];
    }
}

static void push_copy(step_work *work, qn_value value, int from, int to)
{
    const qn_graph *graph = work->layout->graph;
    qn_plan_step *step = push_step(work);
    if (!alloc_step(work, step, &copy_op, 1))
        return;
    const qn_type *type = &graph->values[value].type;
    set_types(step, type, type);
    step->inputs[0].data = work->input_data[from];
    step->outputs[0].data = work->input_data[to];
    step->input_sources[0] = work->sources[from];
    step->wanted[0] = true;
}

static void push_early_copies(step_work *work)
{
    const qn_layout *layout = work->layout;
    for (int v = 0; v < layout->graph->values_count; v++)
        if (layout->copy_of[v] >= 0)
            push_copy(work, v, layout->buffer_of[v], layout->copy_of[v]);
}

static void push_late_copies(step_work *work)
{
    const qn_layout *layout = work->layout;
    for (int i = 0; i < layout->graph->assigns_count; i++) {
        const qn_assign *assign = &layout->graph->assigns[i];
        int copy = layout->copy_of[assign->value];
        int from = copy >= 0 ? copy : layout->buffer_of[assign->value];
        if (!layout->direct[i] && from != layout->buffer_of[assign->state])
            push_copy(work, assign->value, from, layout->buffer_of[assign->state]);
    }
}

/* Joining: updates over neighbouring states with the same options and scalars become one. */

static bool attrs_equal(const qn_plan_step *a, const qn_plan_step *b)
{
    const qn_attr_spec *specs = a->types.op->attrs;
    for (int i = 0; specs && specs[i].name; i++) {
        const qn_attr *x = &a->types.attrs[i], *y = &b->types.attrs[i];
        bool equal = x->kind == QN_ATTR_STRING  ? strcmp(x->s, y->s) == 0
                     : x->kind == QN_ATTR_FLOAT ? memcmp(&x->f, &y->f, sizeof x->f) == 0
                     : x->kind == QN_ATTR_INT   ? x->i == y->i
                                                : false;
        if (!equal)
            return false;
    }
    return true;
}

static size_t padded_bytes(const qn_tensor *tensor)
{
    return (qn_tensor_bytes(tensor) + QN_PLAN_ALIGNMENT - 1) / QN_PLAN_ALIGNMENT *
           QN_PLAN_ALIGNMENT;
}

static bool follows(const qn_tensor *a, const qn_tensor *b)
{
    return (const char *)a->data + padded_bytes(a) == (const char *)b->data;
}

/* `b` walks on where `a` ends, in everything that is as large as a parameter. */
static bool can_join(const qn_plan_step *a, const qn_plan_step *b)
{
    const qn_op *op = a->types.op;
    if (!(op->flags & QN_OP_FLAT) || b->types.op != op ||
        a->types.inputs_count != b->types.inputs_count ||
        a->types.inputs[0].dtype != b->types.inputs[0].dtype || !attrs_equal(a, b))
        return false;
    for (int i = 0; i < op->outputs_count; i++)
        if (a->outputs[i].data != a->inputs[i].data || b->outputs[i].data != b->inputs[i].data)
            return false;
    for (int i = 0; i < a->types.inputs_count; i++) {
        bool scalar = i > op->outputs_count;
        if (scalar ? a->inputs[i].data != b->inputs[i].data
                   : !follows(&a->inputs[i], &b->inputs[i]))
            return false;
    }
    return true;
}

static void join(qn_plan_step *a, const qn_plan_step *b)
{
    int outputs = a->types.outputs_count;
    int64_t count = (int64_t)(padded_bytes(&a->inputs[0]) / qn_dtype_size(a->inputs[0].dtype)) +
                    qn_shape_count(&b->inputs[0].shape);
    qn_type *inputs = (qn_type *)(uintptr_t)a->types.inputs;
    qn_type *results = (qn_type *)(uintptr_t)a->types.outputs;
    for (int i = 0; i <= outputs; i++) {
        inputs[i].shape = QN_SHAPE(count);
        a->inputs[i] = qn_tensor_of(a->inputs[i].data, inputs[i].dtype, inputs[i].shape);
        if (i == outputs)
            break;
        results[i].shape = QN_SHAPE(count);
        a->outputs[i] = a->inputs[i];
    }
    a->joined += b->joined;
}

static bool is_flat(const qn_plan_step *step)
{
    return (step->types.op->flags & QN_OP_FLAT) != 0;
}

/* Updates do not read each other's states, so a run of them may stand in the order of their addresses. */
static void sort_updates(qn_plan_step *steps, int count)
{
    for (int i = 1; i < count; i++)
        for (int k = i; k > 0 && is_flat(&steps[k]) && is_flat(&steps[k - 1]) &&
                        (uintptr_t)steps[k].inputs[0].data < (uintptr_t)steps[k - 1].inputs[0].data;
             k--) {
            qn_plan_step swap = steps[k];
            steps[k] = steps[k - 1];
            steps[k - 1] = swap;
        }
}

static void join_updates(qn_plan *plan)
{
    qn_plan_step *tail = plan->steps + plan->main_count;
    int count = plan->calls_count - plan->main_count, kept = 0;
    sort_updates(tail, count);
    for (int i = 0; i < count; i++) {
        if (kept > 0 && can_join(&tail[kept - 1], &tail[i]))
            join(&tail[kept - 1], &tail[i]);
        else
            tail[kept++] = tail[i];
    }
    plan->calls_count = plan->main_count + kept;
}

/* Addresses of all buffers; constants are copied into the plan. */
static void set_addresses(step_work *work)
{
    qn_plan *plan = work->plan;
    const qn_layout *layout = work->layout;
    for (int b = 0; b < layout->buffers_count; b++) {
        const qn_plan_buffer *buffer = &layout->buffers[b];
        const qn_value_info *value = &layout->graph->values[buffer->value];
        if (buffer->kind == QN_BUFFER_CONST) {
            void *copy = qn_arena_alloc_aligned(&plan->arena, buffer->bytes, QN_PLAN_ALIGNMENT);
            work->failed = work->failed || !copy;
            qn_tensor tensor = {.dtype = value->type.dtype, .shape = value->type.shape};
            if (copy)
                memcpy(copy, value->data, qn_tensor_bytes(&tensor));
            work->input_data[b] = copy;
        } else if (buffer->kind == QN_BUFFER_STATE) {
            work->input_data[b] = qn_state_find(layout->state, value->name)->tensor.data;
        } else {
            work->input_data[b] = plan->memory + buffer->offset;
        }
    }
}

static int count_steps(const qn_layout *layout)
{
    return layout->order_count + 2 * layout->graph->assigns_count + layout->graph->outputs_count +
           1;
}

/* Inputs and outputs by name, in the order of the graph. */
static void name_tensors(step_work *work)
{
    qn_plan *plan = work->plan;
    const qn_graph *graph = work->layout->graph;
    for (int v = 0; v < graph->values_count; v++) {
        const qn_value_info *value = &graph->values[v];
        if (value->kind != QN_VALUE_INPUT)
            continue;
        int buffer = work->layout->buffer_of[v];
        work->sources[buffer] = plan->inputs_count;
        plan->inputs[plan->inputs_count++] = (qn_plan_name){
            qn_arena_strndup(&plan->arena, value->name, strlen(value->name)),
            qn_tensor_of(work->input_data[buffer], value->type.dtype, value->type.shape), -1};
    }
    for (int i = 0; i < graph->outputs_count; i++) {
        const qn_output *output = &graph->outputs[i];
        const qn_type *type = &graph->values[output->value].type;
        int buffer = work->layout->copy_of[output->value];
        if (buffer < 0)
            buffer = work->layout->buffer_of[output->value];
        plan->outputs[plan->outputs_count++] =
            (qn_plan_name){qn_arena_strndup(&plan->arena, output->name, strlen(output->name)),
                           qn_tensor_of(work->input_data[buffer], type->dtype, type->shape),
                           work->sources[buffer]};
    }
    for (int i = 0; i < plan->inputs_count; i++)
        work->failed = work->failed || !plan->inputs[i].name;
    for (int i = 0; i < plan->outputs_count; i++)
        work->failed = work->failed || !plan->outputs[i].name;
}

static void push_all(step_work *work)
{
    const qn_layout *layout = work->layout;
    qn_plan *plan = work->plan;
    for (int p = 0; p < layout->order_count; p++) {
        const qn_node *node = &layout->graph->nodes[layout->order[p]];
        if (p == layout->once_count)
            plan->once_count = plan->calls_count;
        if (p == layout->main_count) {
            push_early_copies(work);
            plan->main_count = plan->calls_count;
        }
        if (!(node->op->flags & QN_OP_VIEW))
            push_node(work, node);
    }
    if (layout->once_count == layout->order_count)
        plan->once_count = plan->calls_count;
    if (layout->main_count == layout->order_count) {
        push_early_copies(work);
        plan->main_count = plan->calls_count;
    }
    push_late_copies(work);
}

static bool alloc_tables(step_work *work)
{
    qn_plan *plan = work->plan;
    const qn_layout *layout = work->layout;
    int inputs = 0;
    for (int v = 0; v < layout->graph->values_count; v++)
        inputs += layout->graph->values[v].kind == QN_VALUE_INPUT;
    plan->steps = QN_NEW(&plan->arena, qn_plan_step, count_steps(layout));
    plan->calls = QN_NEW(&plan->arena, qn_call, count_steps(layout));
    plan->inputs = QN_NEW(&plan->arena, qn_plan_name, inputs + 1);
    plan->outputs = QN_NEW(&plan->arena, qn_plan_name, layout->graph->outputs_count + 1);
    work->input_data = QN_NEW(&plan->arena, void *, layout->buffers_count + 1);
    work->sources = QN_NEW(&plan->arena, int, layout->buffers_count + 1);
    for (int b = 0; work->sources && b < layout->buffers_count; b++)
        work->sources[b] =
            layout->buffers[b].kind == QN_BUFFER_STATE ? QN_SOURCE_STATE : QN_SOURCE_PLAN;
    return plan->steps && plan->calls && plan->inputs && plan->outputs && work->input_data &&
           work->sources;
}

/* The most any binding asks for. Types are enough for that: addresses come later. */
static size_t find_scratch(qn_plan *plan)
{
    size_t most = 0;
    for (int i = 0; i < plan->calls_count; i++) {
        qn_bind bind = make_bind(plan, &plan->steps[i]);
        const qn_binding *binding = find_binding(plan, &plan->steps[i]);
        bool widened = is_widened(plan, &bind, &plan->steps[i]);
        size_t bytes = widened ? qn_bind_widened_scratch_bytes(&bind, binding)
                               : qn_bind_scratch_bytes(&bind, binding);
        plan->steps[i].scratch_bytes = bytes;
        most = bytes > most ? bytes : most;
    }
    return most;
}

qn_status qn_steps_measure(qn_plan *plan, const qn_layout *layout, qn_error *err)
{
    step_work work = {.plan = plan, .layout = layout};
    if (!alloc_tables(&work))
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory while planning a graph");
    push_all(&work);
    if (work.failed)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory while planning a graph");
    plan->buffers_bytes = layout->bytes;
    plan->scratch_bytes = find_scratch(plan);
    return QN_OK;
}

qn_status qn_steps_make(qn_plan *plan, const qn_layout *layout, qn_error *err)
{
    step_work work = {.plan = plan, .layout = layout};
    plan->calls_count = 0;
    if (!alloc_tables(&work))
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory while planning a graph");
    plan->context.flat = plan->memory;
    plan->context.flat_bytes = layout->flat_bytes;
    set_addresses(&work);
    name_tensors(&work);
    push_all(&work);
    if (work.failed)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory while planning a graph");
    if (!plan->context.reference)
        join_updates(plan);
    qn_flush_denormals();
    for (int i = 0; i < plan->calls_count; i++) {
        QN_TRY(qn_step_bind(plan, i, err));
        if (i < plan->once_count) /* later steps may look at what it gives while they are bound */
            plan->calls[i].fn(plan->calls[i].args, plan->calls[i].pool, 0);
    }
    return QN_OK;
}
