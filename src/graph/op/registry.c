/*
 * The registry: every op row there is, found by name or by position. Rows live in the family files
 * of this folder; here they are only gathered.
 */
#include "graph/op.h"

#include <string.h>

#include "graph/op/families.h"

/* One a line, so that two changes seldom meet. */
/* clang-format off */
static const qn_op *const families[] = {
    qn_ops_zeros,
    qn_ops_unary,
    qn_ops_activation,
    qn_ops_binary,
    qn_ops_move,
    qn_ops_pad,
    qn_ops_make,
    qn_ops_view,
    qn_ops_reduce,
    qn_ops_matmul,
    qn_ops_softmax,
    qn_ops_cache,
    qn_ops_conv,
    qn_ops_conv_pool,
    qn_ops_conv_transpose,
    qn_ops_pool,
    qn_ops_pool_global,
    qn_ops_resize,
    qn_ops_unpool,
    qn_ops_norm,
    qn_ops_layer_norm,
    qn_ops_attention,
    qn_ops_position,
    qn_ops_rnn,
    qn_ops_random,
    qn_ops_quantize,
    qn_ops_signal,
    qn_ops_grid,
    qn_ops_roi,
    qn_ops_det,
    qn_ops_normalize,
    qn_ops_order,
    qn_ops_scan,
    qn_ops_index,
    qn_ops_scatter,
    qn_ops_training,
    qn_ops_loss,
    qn_ops_loss_embedding,
    qn_ops_ctc,
    qn_ops_optim,
    qn_ops_optim_flat,
    qn_ops_optim_tensor,
    qn_ops_narrow,
    NULL, /* the end */
};
/* clang-format on */

const qn_op *qn_op_find(const char *name)
{
    for (int family = 0; families[family]; family++)
        for (const qn_op *op = families[family]; op->name; op++)
            if (strcmp(op->name, name) == 0)
                return op;
    return NULL;
}

const qn_op *qn_op_at(int index)
{
    for (int family = 0; families[family]; family++)
        for (const qn_op *op = families[family]; op->name; op++)
            if (index-- == 0)
                return op;
    return NULL;
}

static const qn_attr *find_attr(const qn_op_types *types, const char *name, qn_attr_kind kind)
{
    const qn_attr_spec *specs = types->op->attrs;
    for (int i = 0; specs && specs[i].name; i++) {
        if (strcmp(specs[i].name, name) != 0)
            continue;
        QN_ASSERT(specs[i].kind == kind);
        return &types->attrs[i];
    }
    QN_ASSERT(false && "an op reads an attribute its row does not list");
    return NULL;
}

int64_t qn_op_attr_i(const qn_op_types *types, const char *name)
{
    return find_attr(types, name, QN_ATTR_INT)->i;
}

double qn_op_attr_f(const qn_op_types *types, const char *name)
{
    return find_attr(types, name, QN_ATTR_FLOAT)->f;
}

const char *qn_op_attr_s(const qn_op_types *types, const char *name)
{
    return find_attr(types, name, QN_ATTR_STRING)->s;
}

const int64_t *qn_op_attr_ints(const qn_op_types *types, const char *name, int *ret_count)
{
    const qn_attr *attr = find_attr(types, name, QN_ATTR_INTS);
    *ret_count = attr->count;
    return attr->ints;
}
