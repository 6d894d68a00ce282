/*
 * Optimisers of quern/net.h by name.
 */
#include "nn/optimizers.h"
#include "train/net_priv.h"

/* A kind that quern/net.h has beside those of nn: it takes whole-data steps instead. */
enum { KIND_LBFGS = QN_NN_OPTIMIZER_COUNT };

bool qn_net_is_lbfgs(const qn_optimizer *chosen)
{
    return chosen->kind == KIND_LBFGS;
}

qn_nn_optimizer qn_net_optimizer_of(const qn_optimizer *chosen)
{
    bool known = chosen->rate > 0 && !qn_net_is_lbfgs(chosen);
    qn_nn_optimizer_kind kind = known ? (qn_nn_optimizer_kind)chosen->kind : QN_NN_ADAM;
    qn_nn_optimizer optimizer = qn_nn_optimizer_default(kind);
    if (known) {
        if (chosen->momentum > 0) {
            optimizer.momentum = (double)chosen->momentum;
            optimizer.nesterov = chosen->nesterov;
        }
        optimizer.weight_decay = (double)chosen->weight_decay;
        if (chosen->beta1 > 0)
            optimizer.beta1 = (double)chosen->beta1;
        if (chosen->beta2 > 0)
            optimizer.beta2 = (double)chosen->beta2;
        if (chosen->epsilon > 0)
            optimizer.eps = (double)chosen->epsilon;
        if (chosen->rho > 0)
            optimizer.rho = (double)chosen->rho;
        optimizer.centered = chosen->centered;
    }
    return optimizer;
}

qn_optimizer qn_sgd(float rate)
{
    return (qn_optimizer){.kind = QN_NN_SGD, .rate = rate};
}

qn_optimizer qn_momentum(float rate, float momentum)
{
    return (qn_optimizer){.kind = QN_NN_SGD, .rate = rate, .momentum = momentum};
}

qn_optimizer qn_adam(float rate)
{
    return (qn_optimizer){.kind = QN_NN_ADAM, .rate = rate};
}

qn_optimizer qn_adamw(float rate, float weight_decay)
{
    return (qn_optimizer){.kind = QN_NN_ADAMW, .rate = rate, .weight_decay = weight_decay};
}

qn_optimizer qn_adagrad(float rate)
{
    return (qn_optimizer){.kind = QN_NN_ADAGRAD, .rate = rate};
}

qn_optimizer qn_rmsprop(float rate, float rho)
{
    return (qn_optimizer){.kind = QN_NN_RMSPROP, .rate = rate, .rho = rho};
}

qn_optimizer qn_adadelta(float rate)
{
    return (qn_optimizer){.kind = QN_NN_ADADELTA, .rate = rate};
}

qn_optimizer qn_nadam(float rate)
{
    return (qn_optimizer){.kind = QN_NN_NADAM, .rate = rate};
}

qn_optimizer qn_lion(float rate, float weight_decay)
{
    return (qn_optimizer){.kind = QN_NN_LION, .rate = rate, .weight_decay = weight_decay};
}

qn_optimizer qn_lamb(float rate, float weight_decay)
{
    return (qn_optimizer){.kind = QN_NN_LAMB, .rate = rate, .weight_decay = weight_decay};
}

qn_optimizer qn_adafactor(float rate)
{
    return (qn_optimizer){.kind = QN_NN_ADAFACTOR, .rate = rate};
}

qn_optimizer qn_muon(float rate, float weight_decay)
{
    return (qn_optimizer){.kind = QN_NN_MUON, .rate = rate, .weight_decay = weight_decay};
}

qn_optimizer qn_lbfgs(float weight_decay)
{
    return (qn_optimizer){.kind = KIND_LBFGS, .weight_decay = weight_decay};
}
