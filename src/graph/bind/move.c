/*
 * Bindings of ops that move memory.
 */
#include "graph/bind/bind.h"

#include <string.h>

typedef struct {
    void *dst;
    const void *src;
    size_t size;
} copy_args;

static void run_copy(const void *args, qn_pool *pool, uint32_t step)
{
    (void)pool, (void)step;
    const copy_args *copy = args;
    memcpy(copy->dst, copy->src, copy->size);
}

static bool bind_copy(const qn_bind *bind)
{
    copy_args *args = qn_bind_args(bind, sizeof *args);
    if (!args)
        return false;
    *args = (copy_args){bind->outputs[0].data, bind->inputs[0].data,
                        qn_tensor_bytes(&bind->outputs[0])};
    return qn_bind_to(bind, run_copy, "copy");
}

const qn_binding qn_bindings_move[] = {
    {.op = "Copy", .bind = bind_copy},
    {0},
};
