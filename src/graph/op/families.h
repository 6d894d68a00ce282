/*
 * The tables of op rows, one per family file. A table ends with a row whose name is NULL. A new
 * family adds its declaration here and its name to registry.c.
 */
#ifndef QN_GRAPH_OP_FAMILIES_H
#define QN_GRAPH_OP_FAMILIES_H

#include "graph/op.h"

extern const qn_op qn_ops_zeros[];
extern const qn_op qn_ops_unary[];
extern const qn_op qn_ops_activation[];
extern const qn_op qn_ops_binary[];
extern const qn_op qn_ops_move[];
extern const qn_op qn_ops_pad[];
extern const qn_op qn_ops_make[];
extern const qn_op qn_ops_view[];
extern const qn_op qn_ops_reduce[];
extern const qn_op qn_ops_matmul[];
extern const qn_op qn_ops_softmax[];
extern const qn_op qn_ops_conv[];
extern const qn_op qn_ops_conv_pool[];
extern const qn_op qn_ops_conv_transpose[];
extern const qn_op qn_ops_pool_global[];
extern const qn_op qn_ops_resize[];
extern const qn_op qn_ops_unpool[];
extern const qn_op qn_ops_pool[];
extern const qn_op qn_ops_narrow[];
extern const qn_op qn_ops_norm[];
extern const qn_op qn_ops_layer_norm[];
extern const qn_op qn_ops_attention[];
extern const qn_op qn_ops_position[];
extern const qn_op qn_ops_cache[];
extern const qn_op qn_ops_rnn[];
extern const qn_op qn_ops_random[];
extern const qn_op qn_ops_quantize[];
extern const qn_op qn_ops_signal[];
extern const qn_op qn_ops_grid[];
extern const qn_op qn_ops_roi[];
extern const qn_op qn_ops_det[];
extern const qn_op qn_ops_normalize[];
extern const qn_op qn_ops_order[];
extern const qn_op qn_ops_scan[];
extern const qn_op qn_ops_index[];
extern const qn_op qn_ops_scatter[];
extern const qn_op qn_ops_training[];
extern const qn_op qn_ops_loss[];
extern const qn_op qn_ops_loss_embedding[];
extern const qn_op qn_ops_ctc[];
extern const qn_op qn_ops_optim[];
extern const qn_op qn_ops_optim_flat[];
extern const qn_op qn_ops_optim_tensor[];

#endif
