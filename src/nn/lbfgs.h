/*
 * L-BFGS: quasi-Newton minimisation for small smooth problems, such as linear and logistic
 * regression on whole data, where it reaches the optimum in tens of evaluations. It knows nothing
 * of graphs: it sees flat vectors and a callback.
 */
#ifndef QN_NN_LBFGS_H
#define QN_NN_LBFGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"

/* Evaluates the loss at x [n] and its gradient into grad [n]. An error stops the search and is
 * returned. */
typedef qn_status (*qn_lbfgs_eval)(void *context, const double *x, double *grad, double *ret_loss,
                                   qn_error *err);
/* After each iteration; false stops the search (counts as done). May be NULL. */
typedef struct qn_lbfgs_report qn_lbfgs_report;
typedef bool (*qn_lbfgs_progress)(void *context, const qn_lbfgs_report *report);

typedef enum { QN_LBFGS_STRONG_WOLFE, QN_LBFGS_BACKTRACKING } qn_lbfgs_search;
typedef enum {
    QN_LBFGS_CONVERGED_GRADIENT, /* max |grad| <= tolerance_grad */
    QN_LBFGS_CONVERGED_LOSS,     /* relative decrease <= tolerance_loss */
    QN_LBFGS_ITERATIONS,         /* iterations_max reached */
    QN_LBFGS_NO_DESCENT, /* the line search found no lower point: the limit of the precision */
    QN_LBFGS_STOPPED     /* by the progress callback */
} qn_lbfgs_reason;

typedef struct {
    int history;           /* pairs kept; 0 = 10 */
    int iterations_max;    /* 0 = 100 */
    int evaluations_max;   /* per line search; 0 = 25 */
    double tolerance_grad; /* 0 = 1e-6 */
    double tolerance_loss; /* 0 = 1e-10 */
    double noise;          /* relative error of the loss as evaluated; 0 = 1e-14; f32: 1e-6 */
    qn_lbfgs_search search;
    qn_lbfgs_eval eval;
    qn_lbfgs_progress progress;
    void *context;
} qn_lbfgs_problem;

struct qn_lbfgs_report {
    int iterations, evaluations;
    double loss, grad_max, step;
    qn_lbfgs_reason reason; /* when done */
};

/*
 * Minimises from x [n], which ends at the best point found.
 * Errors: ERR_NUMERIC when the loss at the start is not finite; ERR_MEMORY; what eval returns (x is
 * then the best point so far). Memory: (2 * history + 5) * n doubles of `scratch`. Source: Nocedal
 * and Wright, Numerical Optimization, 2nd ed., algorithms 7.4, 3.5 and 3.6.
 */
QN_MUST_USE qn_status qn_lbfgs_minimize(const qn_lbfgs_problem *lbfgs, double *x, int64_t n,
                                        qn_arena *scratch, qn_lbfgs_report *ret, qn_error *err);

#endif
