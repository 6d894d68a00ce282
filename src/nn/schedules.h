/*
 * Learning-rate schedules: pure functions of the step, so that a resumed run needs no memory of
 * them. Only the plateau rule has a state, which a checkpoint keeps.
 */
#ifndef QN_NN_SCHEDULES_H
#define QN_NN_SCHEDULES_H

#include <stdbool.h>
#include <stdint.h>

typedef enum {
    QN_NN_SCHEDULE_CONSTANT,
    QN_NN_SCHEDULE_STEP, /* times gamma every step_size steps */
    QN_NN_SCHEDULE_COSINE, /* from lr to lr_min when steps_total are done (Loshchilov and Hutter 2017) */
    QN_NN_SCHEDULE_LINEAR,      /* from lr to lr_min when steps_total are done, straight */
    QN_NN_SCHEDULE_PLATEAU,     /* lr times the scale of qn_nn_plateau */
    QN_NN_SCHEDULE_EXPONENTIAL, /* times gamma over every step_size steps, smoothly */
    QN_NN_SCHEDULE_POLYNOMIAL,  /* lr_min + (lr - lr_min) (1 - part done)^power */
    QN_NN_SCHEDULE_INVERSE_SQRT, /* lr sqrt(warm-up / step), as the first transformer (Vaswani et al. 2017) */
    /* From lr / 25 up to lr over the warm-up (without one: 30 % of all) and down to lr / 250,000 (or lr_min), both along a
       cosine: Smith and Topin 2019 as PyTorch's OneCycleLR. */
    QN_NN_SCHEDULE_ONE_CYCLE,
    /* Cosine from lr to lr_min over step_size steps, then anew, each period `growth` times as long. */
    QN_NN_SCHEDULE_RESTARTS,
    QN_NN_SCHEDULE_COUNT
} qn_nn_schedule_kind;
const char *qn_nn_schedule_name(qn_nn_schedule_kind kind);
bool qn_nn_schedule_find(const char *name, qn_nn_schedule_kind *ret);

typedef struct {
    qn_nn_schedule_kind kind;
    double lr;            /* the peak */
    double lr_min;        /* reached at the end, or never below */
    int64_t steps_total;  /* of the kinds that end */
    int64_t steps_warmup; /* any kind: rises linearly from lr / steps_warmup; 0 = off */
    int64_t step_size;    /* STEP, EXPONENTIAL, RESTARTS */
    double gamma;         /* STEP, EXPONENTIAL; 0 = qn_nn_schedule_gamma */
    double power;         /* POLYNOMIAL; 0 = 1 */
    double growth;        /* RESTARTS; 0 = 1 */
} qn_nn_schedule;

/* What a gamma of 0 stands for. */
double qn_nn_schedule_gamma(qn_nn_schedule_kind kind);
/* step: 0 for the first update. `plateau_scale`: of qn_nn_plateau, 1 for other kinds. */
double qn_nn_schedule_lr(const qn_nn_schedule *schedule, int64_t step, double plateau_scale);

/* Multiplies the rate by `factor` when a metric has not become better for `patience` reports. */
typedef struct {
    double factor;    /* 0 = 0.1 */
    int64_t patience; /* 0 = 10 */
    double threshold; /* relative change that counts as better; 0 = 1e-4 */
    bool higher;      /* the metric is better when higher */
} qn_nn_plateau_options;
typedef struct {
    double best;
    int64_t bad; /* reports since the best */
    double scale;
    bool started;
} qn_nn_plateau;
void qn_nn_plateau_init(qn_nn_plateau *plateau);
/* True when the rate was lowered by this report. A NaN metric counts as not better. */
bool qn_nn_plateau_update(qn_nn_plateau *plateau, const qn_nn_plateau_options *options,
                          double metric);

#endif
