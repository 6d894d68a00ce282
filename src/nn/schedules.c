/*
 * Learning-rate schedules (schedules.h).
 */
#include "nn/schedules.h"

#include <math.h>
#include <string.h>

static const char *const names[QN_NN_SCHEDULE_COUNT] = {
    "constant",    "step",       "cosine",       "linear",    "plateau",
    "exponential", "polynomial", "inverse_sqrt", "one_cycle", "restarts"};

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

/* From `from` to `to` while part goes from 0 to 1. */
static double cosine(double from, double to, double part)
{
    return to + 0.5 * (from - to) * (1 + cos(M_PI * part));
}

/* The last step of the rise is the one before its share of all is done, as PyTorch counts. */
static double one_cycle(const qn_nn_schedule *s, int64_t step)
{
    double total = (double)s->steps_total, at = (double)step;
    double top = (s->steps_warmup > 0 ? (double)s->steps_warmup : 0.3 * total) - 1;
    double low = s->lr_min > 0 ? s->lr_min : s->lr / 25 / 1e4;
    if (at <= top)
        return cosine(s->lr / 25, s->lr, top > 0 ? at / top : 1);
    double span = total - 1 - top;
    return cosine(s->lr, low, span > 0 ? fmin(1, (at - top) / span) : 1);
}

/* Periods are counted off one by one: there are few. */
static double restarts(const qn_nn_schedule *s, int64_t step)
{
    double length = s->step_size > 0 ? (double)s->step_size : 1;
    double growth = s->growth > 1 ? s->growth : 1, at = (double)(step - s->steps_warmup);
    if (growth <= 1)
        at = fmod(at, length);
    while (at >= length) {
        at -= length;
        length = floor(length * growth);
    }
    return cosine(s->lr, s->lr_min, at / length);
}

static double inverse_sqrt(const qn_nn_schedule *s, int64_t step)
{
    double warm = s->steps_warmup > 0 ? (double)s->steps_warmup : 1;
    return fmax(s->lr * sqrt(warm / (double)(step + 1)), fmin(s->lr_min, s->lr));
}

double qn_nn_schedule_gamma(qn_nn_schedule_kind kind)
{
    return kind == QN_NN_SCHEDULE_EXPONENTIAL ? 0.9 : 0.1;
}

double qn_nn_schedule_lr(const qn_nn_schedule *s, int64_t step, double plateau_scale)
{
    if (s->kind == QN_NN_SCHEDULE_ONE_CYCLE)
        return one_cycle(s, step);
    if (step < s->steps_warmup)
        return s->lr * (double)(step + 1) / (double)s->steps_warmup;
    double part = progress(s, step);
    double gamma = s->gamma > 0 ? s->gamma : qn_nn_schedule_gamma(s->kind);
    switch (s->kind) {
    case QN_NN_SCHEDULE_STEP:
        if (s->step_size < 1)
            return s->lr;
        return s->lr * pow(gamma, (double)((step - s->steps_warmup) / s->step_size));
    case QN_NN_SCHEDULE_COSINE:
        return cosine(s->lr, s->lr_min, part);
    case QN_NN_SCHEDULE_LINEAR:
        return s->lr + (s->lr_min - s->lr) * part;
    case QN_NN_SCHEDULE_PLATEAU:
        return fmax(s->lr * plateau_scale, fmin(s->lr_min, s->lr));
    case QN_NN_SCHEDULE_EXPONENTIAL:
        if (s->step_size < 1)
            return s->lr;
        return fmax(s->lr * pow(gamma, (double)(step - s->steps_warmup) / (double)s->step_size),
                    fmin(s->lr_min, s->lr));
    case QN_NN_SCHEDULE_POLYNOMIAL:
        return s->lr_min + (s->lr - s->lr_min) * pow(1 - part, s->power > 0 ? s->power : 1);
    case QN_NN_SCHEDULE_INVERSE_SQRT:
        return inverse_sqrt(s, step);
    case QN_NN_SCHEDULE_RESTARTS:
        return restarts(s, step);
    case QN_NN_SCHEDULE_ONE_CYCLE:
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
