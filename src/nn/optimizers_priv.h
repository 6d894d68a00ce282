/*
 * What the files of optimisers share.
 */
#ifndef QN_NN_OPTIMIZERS_PRIV_H
#define QN_NN_OPTIMIZERS_PRIV_H

#include "nn/optimizers.h"

enum { QN_NN_STATE_NAME = 256 };

/* The same for all updates of one graph. */
typedef struct {
    qn_graph *graph;
    const qn_nn_optimizer *options;
    qn_value lr, step;
    qn_value scale;   /* of all gradients; QN_NONE = 1 */
    qn_value product; /* NADAM, else QN_NONE */
} qn_nn_updates;

typedef struct {
    qn_value param, grad;
    qn_value lr; /* of its group */
    double decay;
} qn_nn_update;

qn_nn_update qn_nn_update_of(const qn_nn_updates *u, qn_value param, qn_value grad);
/* The row `op` over the parameter and its moments, with every option that the row lists, and the assigns. */
void qn_nn_update_add(const qn_nn_updates *u, const qn_nn_update *update, const char *op,
                      const qn_value *moments, int moments_count);
/* A parameter of rank 2 or 4. */
void qn_nn_update_muon(const qn_nn_updates *u, const qn_nn_update *update);

#endif
