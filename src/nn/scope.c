/*
 * Where a layer is built: its label, the names of its states, and its refusals (scope_priv.h).
 */
#include "nn/scope_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { NAME_SIZE = 256 };

static const char *label_of(const qn_nn_scope *at)
{
    return at->label ? at->label : at->name;
}

/* The scope of the graph is dropped: it would say the same again. */
qn_value qn_nn_fail(const qn_nn_scope *at, const char *format, ...)
{
    char text[400];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    qn_graph_scope(at->graph, NULL);
    return qn_graph_fail(at->graph, QN_ERR_ARG, "%s %s", label_of(at), text);
}

bool qn_nn_begin(const qn_nn_scope *at, qn_value x)
{
    if (x == QN_NONE || qn_graph_check(at->graph, NULL) != QN_OK)
        return false;
    qn_graph_scope(at->graph, label_of(at));
    return true;
}

qn_shape qn_nn_shape(const qn_nn_scope *at, qn_value x)
{
    return qn_graph_type(at->graph, x)->shape;
}

const char *qn_nn_sample_text(qn_shape shape, char dst[128])
{
    if (shape.rank > 0) {
        shape.rank--;
        memmove(shape.dims, shape.dims + 1, (size_t)shape.rank * sizeof(*shape.dims));
    }
    return qn_shape_text(&shape, dst);
}

int64_t qn_nn_channels(const qn_nn_scope *at, qn_value x)
{
    char text[128];
    qn_shape shape = qn_nn_shape(at, x);
    int64_t channels = shape.rank > 1 ? shape.dims[shape.rank - 1] : -1;
    if (channels > 0)
        return channels;
    qn_nn_fail(at, "expects input of 1 dimension or more [..., C], got %s",
               qn_nn_sample_text(shape, text));
    return -1;
}

const qn_nn_scope *qn_nn_part_of(const qn_nn_scope *at, const char *what, qn_nn_part *ret)
{
    int size = snprintf(ret->name, sizeof(ret->name), "%s.%s", at->name, what);
    if (size >= (int)sizeof(ret->name))
        qn_nn_fail(at, "has a name of %d bytes, expected at most %d", size,
                   (int)sizeof(ret->name) - 1);
    ret->at = (qn_nn_scope){at->graph, ret->name, label_of(at)};
    return &ret->at;
}

const qn_nn_scope *qn_nn_part_at(const qn_nn_scope *at, int64_t index, qn_nn_part *ret)
{
    char number[24];
    snprintf(number, sizeof(number), "%lld", (long long)index);
    return qn_nn_part_of(at, number, ret);
}

qn_value qn_nn_state_of(const qn_nn_scope *at, const char *what, qn_dtype dtype, qn_shape shape,
                        qn_init init, bool trainable)
{
    char name[NAME_SIZE];
    snprintf(name, sizeof(name), "%s.%s", at->name, what);
    return qn_graph_state(at->graph, name, dtype, shape, init, trainable);
}

qn_value qn_nn_state(const qn_nn_scope *at, const char *what, qn_value like, qn_shape shape,
                     qn_init init, bool trainable)
{
    qn_dtype dtype = qn_graph_type(at->graph, like)->dtype;
    if (dtype != QN_DTYPE_F32 && dtype != QN_DTYPE_F64)
        return qn_nn_fail(at, "has weights and expects f32, got %s: %s", qn_dtype_name(dtype),
                          qn_dtype_is_float(dtype) ? "put cast: {to: f32} before it"
                                                   : "put embedding, one_hot or cast before it");
    return qn_nn_state_of(at, what, dtype, shape, init, trainable);
}
