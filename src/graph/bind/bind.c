/*
 * The table of bindings, what they share, and the binding of last resort: the row's reference.
 */
#include "graph/bind/bind.h"

#include <string.h>

#include "kernel/carve.h"

static const qn_binding *const families[] = {
    qn_bindings_conv,      qn_bindings_elementwise, qn_bindings_index,  qn_bindings_layer_norm,
    qn_bindings_attention, qn_bindings_position,    qn_bindings_ctc,    qn_bindings_loss,
    qn_bindings_matmul,    qn_bindings_move,        qn_bindings_norm,   qn_bindings_optim,
    qn_bindings_pool,      qn_bindings_random,      qn_bindings_reduce, qn_bindings_resize,
    qn_bindings_rnn,       qn_bindings_softmax,     qn_bindings_update, NULL,
};

const qn_binding *qn_binding_find(const char *op)
{
    for (int family = 0; families[family]; family++)
        for (const qn_binding *row = families[family]; row->op; row++)
            if (strcmp(row->op, op) == 0)
                return row;
    return NULL;
}

/* Memory of the plan. */
static void *take(const qn_bind *bind, size_t bytes, size_t alignment)
{
    void *memory = qn_arena_alloc_aligned(bind->context->arena, bytes, alignment);
    bind->bound->failed = bind->bound->failed || !memory;
    return memory;
}

void *qn_bind_args(const qn_bind *bind, size_t size)
{
    qn_bound *bound = bind->bound;
    if (!bound->args || bound->args_bytes < size) {
        bound->args = take(bind, size, 16);
        bound->args_bytes = size;
    }
    if (bound->args)
        memset(bound->args, 0, size);
    return bound->args;
}

void *qn_bind_keep(const qn_bind *bind, size_t bytes, bool *ret_fresh)
{
    qn_bound *bound = bind->bound;
    *ret_fresh = !bound->kept;
    if (!bound->kept)
        bound->kept = take(bind, bytes, 64);
    return bound->kept;
}

bool qn_bind_to(const qn_bind *bind, qn_call_fn fn, const char *kernel)
{
    bind->bound->fn = fn;
    bind->bound->kernel = kernel;
    return true;
}

bool qn_bind_all_f32(const qn_bind *bind)
{
    for (int i = 0; i < bind->types->inputs_count; i++)
        if (bind->types->inputs[i].shape.rank >= 0 && bind->types->inputs[i].dtype != QN_DTYPE_F32)
            return false;
    for (int i = 0; i < bind->types->outputs_count; i++)
        if (bind->types->outputs[i].dtype != QN_DTYPE_F32)
            return false;
    return true;
}

int64_t qn_bind_count(const qn_tensor *tensor)
{
    return qn_shape_count(&tensor->shape);
}

static void run_reference(const void *args, qn_pool *pool, uint32_t step)
{
    (void)pool;
    qn_op_run run = *(const qn_op_run *)args;
    run.rng.step = step;
    run.types->op->ref(&run);
}

/* The run, then its outputs, which references take as writable. */
typedef struct {
    qn_op_run run;
    qn_tensor outputs[QN_OP_OUTPUTS_MAX];
} reference_args;

/* The outputs without memory get theirs; the bytes of all. */
static size_t place_spares(const qn_bind *bind, qn_tensor *outputs, char *memory)
{
    qn_carve carve = {.base = memory};
    for (int i = 0; i < bind->types->outputs_count; i++)
        if (qn_op_is_spare(bind->types->op, i) && !bind->wanted[i])
            outputs[i].data = qn_carve_take(&carve, qn_tensor_bytes(&outputs[i]));
    return carve.used;
}

size_t qn_bind_reference_scratch_bytes(const qn_bind *bind)
{
    qn_tensor outputs[QN_OP_OUTPUTS_MAX];
    for (int i = 0; i < bind->types->outputs_count; i++)
        outputs[i] = bind->outputs[i];
    return place_spares(bind, outputs, NULL);
}

size_t qn_bind_scratch_bytes(const qn_bind *bind, const qn_binding *binding)
{
    if (!binding)
        return qn_bind_reference_scratch_bytes(bind);
    return binding->scratch_bytes ? binding->scratch_bytes(bind) : 0;
}

bool qn_bind_reference(const qn_bind *bind)
{
    reference_args *args = bind->bound->failed ? NULL : qn_bind_args(bind, sizeof *args);
    if (!args)
        return false;
    for (int i = 0; i < bind->types->outputs_count; i++)
        args->outputs[i] = bind->outputs[i];
    place_spares(bind, args->outputs, bind->scratch);
    args->run = (qn_op_run){.types = bind->types,
                            .inputs = bind->inputs,
                            .outputs = args->outputs,
                            .rng = {.seed = bind->context->seed, .stream = bind->stream},
                            .training = bind->context->training};
    return qn_bind_to(bind, run_reference, "reference");
}
