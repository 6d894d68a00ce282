/*
 * Optimisers, schedules and groups of weights as quern/net.h describes them.
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

qn_status qn_net_check_schedule(const qn_rate_schedule *chosen, qn_error *err)
{
    if ((int)chosen->kind < 0 || chosen->kind > QN_RATE_RESTARTS)
        QN_FAIL(err, QN_ERR_ARG, "schedule %d is none of qn_rate_kind", (int)chosen->kind);
    if (!(chosen->warmup >= 0 && chosen->warmup <= 1))
        QN_FAIL(err, QN_ERR_ARG, "a warm-up of %g is not a share of all steps from 0 to 1",
                (double)chosen->warmup);
    return QN_OK;
}

qn_nn_schedule qn_net_schedule_of(const qn_rate_schedule *chosen, double rate, int64_t steps_epoch,
                                  int64_t steps_total)
{
    static const qn_nn_schedule_kind kinds[] = {
        [QN_RATE_CONSTANT] = QN_NN_SCHEDULE_CONSTANT,
        [QN_RATE_STEP] = QN_NN_SCHEDULE_STEP,
        [QN_RATE_COSINE] = QN_NN_SCHEDULE_COSINE,
        [QN_RATE_LINEAR] = QN_NN_SCHEDULE_LINEAR,
        [QN_RATE_PLATEAU] = QN_NN_SCHEDULE_PLATEAU,
        [QN_RATE_EXPONENTIAL] = QN_NN_SCHEDULE_EXPONENTIAL,
        [QN_RATE_POLYNOMIAL] = QN_NN_SCHEDULE_POLYNOMIAL,
        [QN_RATE_INVERSE_SQRT] = QN_NN_SCHEDULE_INVERSE_SQRT,
        [QN_RATE_ONE_CYCLE] = QN_NN_SCHEDULE_ONE_CYCLE,
        [QN_RATE_RESTARTS] = QN_NN_SCHEDULE_RESTARTS,
    };
    return (qn_nn_schedule){
        .kind = kinds[chosen->kind],
        .lr = rate,
        .lr_min = (double)chosen->rate_min,
        .steps_total = steps_total,
        .steps_warmup = (int64_t)((double)chosen->warmup * (double)steps_total),
        .step_size = steps_epoch * (chosen->step_epochs > 0 ? chosen->step_epochs : 1),
        .gamma = (double)chosen->gamma,
        .power = (double)chosen->power,
        .growth = (double)chosen->growth,
    };
}

qn_status qn_net_set_groups(const qn_group *groups, int count, qn_arena *arena,
                            qn_nn_optimizer *optimizer, qn_error *err)
{
    count = groups ? count : 0;
    qn_nn_group *made = QN_NEW(arena, qn_nn_group, count + 1);
    if (!made)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    for (int i = 0; i < count; i++) {
        const qn_group *group = &groups[i];
        if (!group->names || !(group->rate >= 0) || !(group->weight_decay >= 0))
            QN_FAIL(err, QN_ERR_ARG, "group %d has no names, or a negative rate or decay", i);
        made[i] = (qn_nn_group){.pattern = group->names,
                                .rate = (double)group->rate,
                                .weight_decay = (double)group->weight_decay,
                                .frozen = group->frozen};
    }
    optimizer->groups = made;
    optimizer->groups_count = count;
    return QN_OK;
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
