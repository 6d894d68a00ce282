/*
 * A plan in words: one line a call, and the sums.
 */
#include <stdio.h>
#include <string.h>

#include "graph/plan_priv.h"

static void print_shapes(qn_buf *dst, const qn_tensor *tensors, int count)
{
    char text[128];
    for (int i = 0; i < count && i < 3; i++)
        if (tensors[i].data)
            qn_buf_printf(dst, "%s%s", i ? " " : "", qn_shape_text(&tensors[i].shape, text));
    if (count > 3)
        qn_buf_printf(dst, " and %d more", count - 3);
}

static void print_step(qn_buf *dst, const qn_plan *plan, int index)
{
    const qn_plan_step *step = &plan->steps[index];
    const qn_op_types *types = &step->types;
    qn_buf_printf(dst, "%4d  %-22s ", index, types->op->name);
    print_shapes(dst, step->inputs, types->inputs_count);
    qn_buf_text(dst, " -> ");
    print_shapes(dst, step->outputs, types->outputs_count);
    qn_buf_printf(dst, "  %s%s", step->bound.kernel, plan->calls[index].pool ? " parallel" : "");
    if (types->inputs_count > 0 && types->outputs_count > 0 &&
        step->inputs[0].data == step->outputs[0].data)
        qn_buf_text(dst, " in place");
    if (step->joined > 1)
        qn_buf_printf(dst, " x%d", step->joined);
    qn_buf_printf(dst, "  %lld B %lld flop", (long long)qn_step_bytes(step),
                  (long long)qn_step_flops(step));
    if (step->scope[0])
        qn_buf_printf(dst, "  # %s", step->scope);
    qn_buf_byte(dst, '\n');
}

void qn_plan_print(const qn_plan *plan, qn_buf *dst)
{
    for (int i = 0; i < plan->calls_count; i++) {
        if (i == plan->main_count)
            qn_buf_text(dst, "      -- states change from here --\n");
        print_step(dst, plan, i);
    }
    qn_buf_printf(dst, "%d calls, %lld B of memory (%lld B scratch), %lld flop a run\n",
                  plan->calls_count, (long long)plan->memory_bytes, (long long)plan->scratch_bytes,
                  (long long)qn_plan_flops(plan));
}
