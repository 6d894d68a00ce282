/*
 * Passes: each takes a graph and makes another that computes the same outputs and assignments. They are run by
 * planning in the order in which they stand here and are tested one by one.
 */
#ifndef QN_GRAPH_PASS_PASS_H
#define QN_GRAPH_PASS_PASS_H

#include "graph/graph_priv.h"

/* What planning knows that the graph does not. */
typedef struct {
    int64_t batch, time; /* 0 = symbol must not occur */
    bool training;
    const char *const *outputs; /* NULL = all, and the assignments */
    int outputs_count;
} qn_pass_sizes;

/* Puts sizes in place of symbols (types are inferred again), keeps what the chosen outputs and assignments need,
 * and drops TRAINING_ONLY nodes where nothing trains. */
QN_MUST_USE qn_status qn_pass_resolve(const qn_graph *graph, const qn_pass_sizes *sizes,
                                      qn_graph **ret, qn_error *err);
/* Dead code: keeps what outputs and assignments need. */
QN_MUST_USE qn_status qn_pass_prune(const qn_graph *graph, qn_graph **ret, qn_error *err);
/* Constant folding by the ops' references, and x * 1, x / 1, x + 0, x - 0 -> x. Concrete sizes only. */
QN_MUST_USE qn_status qn_pass_fold(const qn_graph *graph, qn_graph **ret, qn_error *err);
/* Common subexpressions: equal nodes of equal inputs become one, equal small constants too. */
QN_MUST_USE qn_status qn_pass_share(const qn_graph *graph, qn_graph **ret, qn_error *err);
/* Bias, an added tensor (convolution) and activation into the product or convolution in front of them, where nothing else
 * reads between. */
QN_MUST_USE qn_status qn_pass_fuse(const qn_graph *graph, qn_graph **ret, qn_error *err);
/* Batch norm by running statistics into the convolution before it, where nothing else reads between: the weights are scaled by
 * ordinary nodes. Pays where those run once (frozen plans). Before fuse. */
QN_MUST_USE qn_status qn_pass_fuse_norm(const qn_graph *graph, qn_graph **ret, qn_error *err);
/* Convolution with ReLU and the 2x2 max pool behind it, and their gradients, as one node each way. After fuse. */
QN_MUST_USE qn_status qn_pass_fuse_pool(const qn_graph *graph, qn_graph **ret, qn_error *err);

/* Products read their factors from bf16: a Cast in front of each f32 factor, one for all that read it. Last. */
QN_MUST_USE qn_status qn_pass_bf16(const qn_graph *graph, qn_graph **ret, qn_error *err);

#endif
