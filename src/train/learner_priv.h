/*
 * Between the files of the learner.
 */
#ifndef QN_TRAIN_LEARNER_PRIV_H
#define QN_TRAIN_LEARNER_PRIV_H

#include "train/learner.h"

/* What a plan that was stopped by its guard says: the step and the first bad operation. Returns ERR_NUMERIC. */
qn_status qn_learner_not_finite(qn_learner *learner, const qn_learner_plan *plan, qn_error *err);

#endif
