/*
 * Learning-rate schedules (schedules.h).
 */
#include "nn/schedules.h"

#include <math.h>
#include <string.h>

static const char *const names[QN_NN_SCHEDULE_COUNT] = {"constant", "step", "cosine", "linear",
                                                        "plateau"};

const char *qn_nn_schedule_name(qn_nn_schedule_kind kind)
{
    return names[kind];
}

bool qn_nn_schedule_find(const char *name, qn_nn_schedule_kind *ret)
{
    for (int i = 0; i < QN_NN_SCHEDULE_COUNT; i++) {
        if (strcmp(names[i], name) == 0) {
            *ret = (qn_nn_schedule_kind)i;
            return true;
        }
    }
    return false;
}

/* How far the part after the warm-up has come, 0 to 1. */
static double progress(const qn_nn_schedule *s, int64_t step)
{
    int64_t span = s->steps_total - s->steps_warmup, done = step - s->steps_warmup;
    if (span < 1)
        return 1;
    return done < span ? (double)done / (double)span : 1;
}

double qn_nn_schedule_lr(const qn_nn_schedule *s, int64_t step, double plateau_scale)
{
    if (step < s->steps_warmup)
        return s->lr * (double)(step + 1) / (double)s->steps_warmup;
    double part = progress(s, step), gamma = s->gamma > 0 ? s->gamma : 0.1;
    switch (s->kind) {
    case QN_NN_SCHEDULE_STEP:
        if (s->step_size < 1)
            return s->lr;
        return s->lr * pow(gamma, (double)((step - s->steps_warmup) / s->step_size));
    case QN_NN_SCHEDULE_COSINE:
        return s->lr_min + 0.5 * (s->lr - s->lr_min) * (1 + cos(M_PI * part));
    case QN_NN_SCHEDULE_LINEAR:
        return s->lr + (s->lr_min - s->lr) * part;
    case QN_NN_SCHEDULE_PLATEAU:
        return fmax(s->lr * plateau_scale, fmin(s->lr_min, s->lr));
    case QN_NN_SCHEDULE_CONSTANT:
    case QN_NN_SCHEDULE_COUNT:
        break;
    }
    return s->lr;
}

void qn_nn_plateau_init(qn_nn_plateau *plateau)
{
    *plateau = (qn_nn_plateau){.scale = 1};
}

static bool is_better(const qn_nn_plateau *plateau, const qn_nn_plateau_options *options,
                      double metric)
{
    if (isnan(metric))
        return false;
    if (!plateau->started)
        return true;
    double threshold = options->threshold > 0 ? options->threshold : 1e-4;
    double margin = threshold * fabs(plateau->best);
    return options->higher ? metric > plateau->best + margin : metric < plateau->best - margin;
}

bool qn_nn_plateau_update(qn_nn_plateau *plateau, const qn_nn_plateau_options *options,
                          double metric)
{
    int64_t patience = options->patience > 0 ? options->patience : 10;
    if (is_better(plateau, options, metric)) {
        plateau->started = true;
        plateau->best = metric;
        plateau->bad = 0;
        return false;
    }
    if (++plateau->bad <= patience)
        return false;
    plateau->bad = 0;
    plateau->scale *= options->factor > 0 ? options->factor : 0.1;
    return true;
}
