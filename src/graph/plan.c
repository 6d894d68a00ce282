/*
 * Making and running plans. A plan is made once per set of sizes: passes, layout, steps, memory. Running walks
 * the calls.
 */
#include "graph/plan.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "graph/pass/pass.h"
#include "graph/plan_priv.h"

typedef qn_status (*pass_fn)(const qn_graph *graph, qn_graph **ret, qn_error *err);

/* Replaces the graph by the pass's, or drops it. */
static qn_status run_pass(pass_fn pass, qn_graph **graph, qn_error *err)
{
    qn_graph *next = NULL;
    qn_status status = pass(*graph, &next, err);
    qn_graph_destroy(*graph);
    *graph = next;
    return status;
}

/* The graph that is run: sizes settled, then made smaller. Reference plans keep the nodes as they were built. */
static qn_status run_passes(const qn_graph *graph, const qn_plan_options *options, qn_graph **ret,
                            qn_error *err)
{
    static const pass_fn passes[] = {qn_pass_fold,      qn_pass_share, qn_pass_prune,
                                     qn_pass_fuse_norm, qn_pass_fuse,  qn_pass_fuse_pool};
    qn_pass_sizes sizes = {.batch = options->batch,
                           .time = options->time,
                           .training = options->training,
                           .outputs = options->outputs,
                           .outputs_count = options->outputs_count};
    qn_graph *now = NULL;
    QN_TRY(qn_pass_resolve(graph, &sizes, &now, err));
    size_t count = options->reference ? 0 : sizeof passes / sizeof passes[0];
    for (size_t i = 0; i < count; i++)
        if (passes[i] != qn_pass_fuse_norm || (options->frozen && !options->training))
            QN_TRY(run_pass(passes[i], &now, err));
    if (options->bf16)
        QN_TRY(run_pass(qn_pass_bf16, &now, err));
    *ret = now;
    return QN_OK;
}

static qn_status check_states(const qn_graph *graph, const qn_state *state, qn_error *err)
{
    for (int v = 0; v < graph->values_count; v++) {
        const qn_value_info *value = &graph->values[v];
        if (value->kind != QN_VALUE_STATE)
            continue;
        const qn_named_tensor *have = state ? qn_state_find(state, value->name) : NULL;
        char want[128], got[128];
        if (!have)
            QN_FAIL(err, QN_ERR_NOT_FOUND, "the model has no state '%s'", value->name);
        if (have->tensor.dtype != value->type.dtype ||
            !qn_shape_equal(&have->tensor.shape, &value->type.shape))
            QN_FAIL(err, QN_ERR_ARG, "state '%s' is %s %s, not %s %s as the graph has it",
                    value->name, qn_dtype_name(have->tensor.dtype),
                    qn_shape_text(&have->tensor.shape, got), qn_dtype_name(value->type.dtype),
                    qn_shape_text(&value->type.shape, want));
    }
    return QN_OK;
}

/* All of it is touched here: a first touch in the middle of a run costs microseconds a page. */
static qn_status take_memory(qn_plan *plan, const qn_plan_options *options, qn_error *err)
{
    int64_t memory_max = options->memory_max;
    plan->memory_bytes = plan->buffers_bytes + plan->scratch_bytes + QN_PLAN_ALIGNMENT;
    if (memory_max > 0 && plan->memory_bytes > (size_t)memory_max)
        QN_FAIL(err, QN_ERR_BUDGET, "a plan needs %.1f MiB, %.1f MiB are allowed",
                (double)plan->memory_bytes / 1048576, (double)memory_max / 1048576);
    /* what was computed once must stay where it lies */
    bool stays = plan->once_count > 0 || (options->memory_of && options->memory_of->once_count > 0);
    if (options->memory_of && !stays && options->memory_of->memory_bytes >= plan->memory_bytes) {
        plan->memory = options->memory_of->memory;
        plan->borrowed = true;
        return QN_OK;
    }
    plan->memory = qn_alloc_aligned(plan->memory_bytes, QN_PLAN_ALIGNMENT);
    if (!plan->memory)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory: a plan needs %.1f MiB",
                (double)plan->memory_bytes / 1048576);
    memset(plan->memory, 0, plan->memory_bytes);
    return QN_OK;
}

static qn_status find_guards(qn_plan *plan, const qn_plan_options *options, qn_error *err)
{
    plan->guards = QN_NEW(&plan->arena, const qn_tensor *, options->guards_count + 1);
    if (!plan->guards)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory while planning a graph");
    for (int i = 0; i < options->guards_count; i++) {
        const qn_tensor *guard = qn_plan_output(plan, options->guards[i]);
        if (!guard || qn_shape_count(&guard->shape) != 1 || !qn_dtype_is_float(guard->dtype))
            QN_FAIL(err, QN_ERR_ARG, "the guard '%s' is not an output of one floating-point number",
                    options->guards[i]);
        plan->guards[plan->guards_count++] = guard;
    }
    return QN_OK;
}

static qn_status build(qn_plan *plan, const qn_graph *graph, const qn_state *state,
                       const qn_plan_options *options, qn_error *err)
{
    plan->context = (qn_bind_context){.pool = options->pool,
                                      .threads = options->pool ? qn_pool_threads(options->pool) : 1,
                                      .seed = options->seed,
                                      .training = options->training,
                                      .reference = options->reference,
                                      .arena = &plan->arena};
    qn_layout layout;
    QN_TRY(check_states(graph, state, err));
    QN_TRY(qn_layout_make(graph, state, options, &plan->arena, &layout, err));
    QN_TRY(qn_steps_measure(plan, &layout, err));
    QN_TRY(take_memory(plan, options, err));
    QN_TRY(qn_steps_make(plan, &layout, err));
    return find_guards(plan, options, err);
}

qn_status qn_plan_create(const qn_graph *graph, qn_state *state, const qn_plan_options *options,
                         qn_plan **ret, qn_error *err)
{
    qn_graph *ready = NULL;
    QN_TRY(run_passes(graph, options, &ready, err));
    qn_plan *plan = qn_alloc_zero(1, sizeof *plan);
    qn_status status = QN_ERR_MEMORY;
    if (plan) {
        qn_arena_init(&plan->arena, 0);
        status = build(plan, ready, state, options, err);
    } else {
        qn_error_set(err, status, NULL, "out of memory while planning a graph");
    }
    qn_graph_destroy(ready);
    if (status != QN_OK) {
        qn_plan_destroy(plan);
        return status;
    }
    *ret = plan;
    return QN_OK;
}

void qn_plan_destroy(qn_plan *plan)
{
    if (!plan)
        return;
    if (!plan->borrowed)
        qn_free(plan->memory);
    qn_arena_deinit(&plan->arena);
    qn_free(plan);
}

static const qn_tensor *find_name(const qn_plan_name *names, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (strcmp(names[i].name, name) == 0)
            return &names[i].tensor;
    return NULL;
}

const qn_tensor *qn_plan_input(const qn_plan *plan, const char *name)
{
    return find_name(plan->inputs, plan->inputs_count, name);
}

const qn_tensor *qn_plan_output(const qn_plan *plan, const char *name)
{
    return find_name(plan->outputs, plan->outputs_count, name);
}

static bool move_input(qn_plan_step *step, int input, void *data)
{
    bool moved = false;
    for (int k = 0; k < step->types.inputs_count; k++)
        if (step->input_sources[k] == input) {
            step->inputs[k].data = data;
            moved = true;
        }
    return moved;
}

qn_status qn_plan_bind(qn_plan *plan, const char *name, const void *data, qn_error *err)
{
    int input = 0;
    while (input < plan->inputs_count && strcmp(plan->inputs[input].name, name) != 0)
        input++;
    if (input == plan->inputs_count)
        QN_FAIL(err, QN_ERR_NOT_FOUND, "the plan has no input '%s'", name);
    if (plan->inputs[input].tensor.data == data)
        return QN_OK;
    /* No kernel writes to an input; tensors merely have no const form. */
    void *memory = (void *)(uintptr_t)data;
    plan->inputs[input].tensor.data = memory;
    for (int i = 0; i < plan->outputs_count; i++)
        if (plan->outputs[i].source == input)
            plan->outputs[i].tensor.data = memory;
    for (int i = 0; i < plan->calls_count; i++)
        if (move_input(&plan->steps[i], input, memory))
            QN_TRY(qn_step_bind(plan, i, err));
    return QN_OK;
}

static bool guards_hold(const qn_plan *plan)
{
    for (int i = 0; i < plan->guards_count; i++)
        if (!isfinite(qn_tensor_f64_at(plan->guards[i], 0)))
            return false;
    return true;
}

static void run_calls(const qn_call *calls, int count, uint32_t step)
{
    for (int i = 0; i < count; i++)
        calls[i].fn(calls[i].args, calls[i].pool, step);
}

void qn_plan_run(qn_plan *plan, uint32_t step)
{
    qn_flush_denormals();
    run_calls(plan->calls + plan->once_count, plan->main_count - plan->once_count, step);
    plan->stopped = !guards_hold(plan);
    if (!plan->stopped)
        run_calls(plan->calls + plan->main_count, plan->calls_count - plan->main_count, step);
}

bool qn_plan_stopped(const qn_plan *plan)
{
    return plan->stopped;
}

static bool all_finite(const qn_tensor *tensor)
{
    if (!qn_dtype_is_float(tensor->dtype))
        return true;
    int64_t count = qn_shape_count(&tensor->shape);
    for (int64_t i = 0; i < count; i++)
        if (!isfinite(qn_tensor_f64_at(tensor, i)))
            return false;
    return true;
}

static void describe_step(const qn_plan_step *step, const char *what, char *dst, int size)
{
    snprintf(dst, (size_t)size, "%s%s%s%s", step->types.op->name, step->scope[0] ? " " : "",
             step->scope, what);
}

/* A parameter was spoilt before this run. */
static bool find_bad_state(const qn_plan_step *step)
{
    for (int k = 0; k < step->types.inputs_count; k++)
        if (step->input_sources[k] == QN_SOURCE_STATE && !all_finite(&step->inputs[k]))
            return true;
    return false;
}

bool qn_plan_find_nonfinite(qn_plan *plan, uint32_t step, char *dst, int size)
{
    qn_flush_denormals();
    for (int i = 0; i < plan->inputs_count; i++)
        if (!all_finite(&plan->inputs[i].tensor)) {
            snprintf(dst, (size_t)size, "input %s", plan->inputs[i].name);
            return true;
        }
    for (int i = 0; i < plan->main_count; i++) {
        const qn_plan_step *at = &plan->steps[i];
        if (find_bad_state(at)) {
            describe_step(at, ", in parameters left by an earlier update", dst, size);
            return true;
        }
        run_calls(&plan->calls[i], 1, step);
        for (int k = 0; k < at->types.outputs_count; k++)
            if (at->wanted[k] && !all_finite(&at->outputs[k])) {
                describe_step(at, "", dst, size);
                return true;
            }
    }
    return false;
}

int64_t qn_plan_bytes(const qn_plan *plan)
{
    int64_t tables = (int64_t)plan->arena.used_bytes; /* and what kernels keep */
    return tables + (plan->borrowed ? 0 : (int64_t)plan->memory_bytes);
}

int64_t qn_plan_flops(const qn_plan *plan)
{
    int64_t flops = 0;
    for (int i = plan->once_count; i < plan->calls_count; i++)
        flops += qn_step_flops(&plan->steps[i]);
    return flops;
}

int qn_plan_calls(const qn_plan *plan)
{
    return plan->calls_count;
}
