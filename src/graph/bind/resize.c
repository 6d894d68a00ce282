/*
 * Binding of Resize: one pass for each axis that changes, with its taps worked out when the plan is made, from scales that are
 * constant or follow from the sizes. A crop that is read from data (roi), and scales that are, run the reference.
 */
#include <string.h>

#include "base/checked.h"
#include "graph/bind/bind.h"
#include "graph/op/resize.h"
#include "kernel/resize/resize.h"

typedef struct {
    int count;
    qn_resize_pass passes[QN_RANK_MAX];
    float *dst, *room[2]; /* between passes */
    const float *src;
} resize_args;

static bool is_grad(const qn_bind *bind)
{
    return strcmp(bind->types->op->name, "ResizeGrad") == 0;
}

static qn_resize read(const qn_bind *bind)
{
    qn_resize resize;
    const qn_shape *a = &bind->types->inputs[0].shape, *b = &bind->types->outputs[0].shape;
    bool given = bind->types->inputs_count == 3 && bind->inputs && bind->inputs[2].data;
    qn_resize_read(bind->types, is_grad(bind) ? b : a, is_grad(bind) ? a : b, NULL,
                   given ? &bind->inputs[2] : NULL, &resize);
    return resize;
}

static bool is_plain(const qn_bind *bind, const qn_resize *resize)
{
    bool known = bind->types->inputs_count == 1 ||
                 (bind->types->inputs_count == 3 && bind->fixed && bind->fixed[2]);
    return known && bind->types->inputs[0].dtype == QN_DTYPE_F32 && !resize->crops &&
           qn_shape_count(&bind->types->inputs[0].shape) > 0;
}

/* Elements between passes: at most those of the larger of the two sizes of every axis. */
static int64_t room_floats(const qn_resize *resize)
{
    int64_t count = 1;
    for (int d = 0; d < resize->rank; d++)
        count *= qn_max_i64(resize->axes[d].in, resize->axes[d].out);
    return (count + 15) / 16 * 16;
}

static size_t resize_scratch(const qn_bind *bind)
{
    qn_resize resize = read(bind);
    return is_plain(bind, &resize) ? 2 * (size_t)room_floats(&resize) * sizeof(float) : 0;
}

/* The taps of one axis, clamped, in memory of the plan; false = memory is short. */
static bool make_pass(const qn_bind *bind, const qn_resize *resize, int axis, qn_resize_pass *pass)
{
    const qn_resize_axis *a = &resize->axes[axis];
    pass->in = a->in;
    pass->out = a->out;
    pass->taps = 1;
    for (int64_t o = 0; o < a->out; o++)
        pass->taps = qn_max_i64(pass->taps, qn_resize_taps_of(resize, a, o).count);
    int64_t *index = QN_NEW(bind->context->arena, int64_t, a->out * pass->taps);
    float *weight = QN_NEW(bind->context->arena, float, a->out * pass->taps);
    bind->bound->failed = !index || !weight;
    if (bind->bound->failed)
        return false;
    for (int64_t o = 0; o < a->out; o++) {
        qn_resize_taps taps = qn_resize_taps_of(resize, a, o);
        for (int64_t t = 0; t < taps.count; t++)
            weight[o * pass->taps + t] =
                (float)qn_resize_tap(resize, a, &taps, t, &index[o * pass->taps + t]);
    }
    pass->index = index;
    pass->weight = weight;
    return true;
}

static void run_forward(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const resize_args *a = args;
    const float *from = a->src;
    for (int i = 0; i < a->count; i++) {
        float *to = i + 1 == a->count ? a->dst : a->room[i % 2];
        qn_resize_f32(pool, &a->passes[i], to, from);
        from = to;
    }
}

static void run_backward(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const resize_args *a = args;
    const float *from = a->src;
    for (int i = a->count - 1; i >= 0; i--) {
        float *to = i == 0 ? a->dst : a->room[i % 2];
        qn_resize_grad_f32(pool, &a->passes[i], to, from);
        from = to;
    }
}

/* Axis by axis: those done have their outputs' size, the others still their inputs'. */
static bool make_passes(const qn_bind *bind, const qn_resize *resize, resize_args *args)
{
    for (int d = 0; d < resize->rank; d++) {
        qn_resize_pass pass = {.outer = 1, .inner = 1};
        bool last = d + 1 == resize->rank && args->count == 0; /* something must write the result */
        if (resize->axes[d].same && !last)
            continue;
        for (int k = 0; k < resize->rank; k++) {
            if (k < d)
                pass.outer *= resize->axes[k].out;
            if (k > d)
                pass.inner *= resize->axes[k].in;
        }
        if (!make_pass(bind, resize, d, &pass))
            return false;
        args->passes[args->count++] = pass;
    }
    return true;
}

static bool bind_resize(const qn_bind *bind)
{
    qn_resize resize = read(bind);
    if (!is_plain(bind, &resize) || resize.rank == 0)
        return false;
    /* bound again, the taps are there already */
    resize_args kept = {0};
    if (bind->bound->args)
        kept = *(const resize_args *)bind->bound->args;
    resize_args *args = qn_bind_args(bind, sizeof *args);
    if (!args)
        return false;
    *args = kept;
    args->src = bind->inputs[0].data;
    args->dst = bind->outputs[0].data;
    args->room[0] = bind->scratch;
    args->room[1] = args->room[0] ? args->room[0] + room_floats(&resize) : NULL;
    if (args->count == 0 && !make_passes(bind, &resize, args))
        return false;
    return is_grad(bind) ? qn_bind_to(bind, run_backward, "resize gradient")
                         : qn_bind_to(bind, run_forward, "resize");
}

const qn_binding qn_bindings_resize[] = {
    {.op = "Resize", .bind = bind_resize, .scratch_bytes = resize_scratch},
    {.op = "ResizeGrad", .bind = bind_resize, .scratch_bytes = resize_scratch},
    {0},
};
