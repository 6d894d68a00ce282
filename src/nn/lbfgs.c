/*
 * L-BFGS: the last `history` steps s and gradient changes y stand for the curvature, and two loops over them turn
 * the gradient into a direction. A line search along it gives the next step.
 *
 * Source: Nocedal and Wright, Numerical Optimization, 2nd ed.: algorithm 7.4 (two loops), 7.5, 3.5 and 3.6 (line
 * search for the strong Wolfe conditions), and the cubic step of equation 3.59.
 */
#include "nn/lbfgs.h"

#include <math.h>
#include <string.h>

/* Sufficient decrease and curvature: Nocedal and Wright's values for quasi-Newton directions. */
static const double decrease_share = 1e-4, curvature_share = 0.9;

typedef struct {
    const qn_lbfgs_problem *lbfgs;
    int64_t n;
    int history, pairs, newest; /* pairs kept, and where the newest is */
    double *s, *y;              /* [history][n], rings */
    double *rho, *alpha;        /* [history] */
    double *x, *grad;           /* the point */
    double *direction, *trial, *trial_grad;
    double loss, trial_loss;
    qn_lbfgs_report report;
} search;

static double dot(const double *a, const double *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* dst += factor * src */
static void add_scaled(double *dst, const double *src, int64_t n, double factor)
{
    for (int64_t i = 0; i < n; i++)
        dst[i] += factor * src[i];
}

static double largest(const double *a, int64_t n)
{
    double top = 0;
    for (int64_t i = 0; i < n; i++)
        top = fmax(top, fabs(a[i]));
    return top;
}

/* Algorithm 7.4: direction = -H grad. */
static void find_direction(search *f)
{
    int64_t n = f->n;
    for (int64_t i = 0; i < n; i++)
        f->direction[i] = -f->grad[i];
    for (int back = 0; back < f->pairs; back++) {
        int k = (f->newest - back + f->history) % f->history;
        f->alpha[k] = f->rho[k] * dot(f->s + k * n, f->direction, n);
        add_scaled(f->direction, f->y + k * n, n, -f->alpha[k]);
    }
    if (f->pairs > 0) { /* the scale of the newest curvature, equation 7.20 */
        const double *y = f->y + f->newest * n;
        double scale = 1 / (f->rho[f->newest] * dot(y, y, n));
        for (int64_t i = 0; i < n; i++)
            f->direction[i] *= scale;
    }
    for (int back = f->pairs - 1; back >= 0; back--) {
        int k = (f->newest - back + f->history) % f->history;
        double beta = f->rho[k] * dot(f->y + k * n, f->direction, n);
        add_scaled(f->direction, f->s + k * n, n, f->alpha[k] - beta);
    }
}

/* Keeps the step to the trial point where its curvature is positive; otherwise the model would not be convex. */
static void keep_pair(search *f)
{
    int next = f->pairs ? (f->newest + 1) % f->history : 0;
    double *s = f->s + next * f->n, *y = f->y + next * f->n;
    for (int64_t i = 0; i < f->n; i++) {
        s[i] = f->trial[i] - f->x[i];
        y[i] = f->trial_grad[i] - f->grad[i];
    }
    double curvature = dot(s, y, f->n);
    if (!(curvature > 1e-10 * dot(y, y, f->n)))
        return;
    f->rho[next] = 1 / curvature;
    f->newest = next;
    f->pairs = f->pairs < f->history ? f->pairs + 1 : f->history;
}

/* Evaluates at x + step * direction; gives the slope along the direction. */
static qn_status evaluate(search *f, double step, double *ret_slope, qn_error *err)
{
    memcpy(f->trial, f->x, (size_t)f->n * sizeof(*f->x));
    add_scaled(f->trial, f->direction, f->n, step);
    f->report.evaluations++;
    QN_TRY(f->lbfgs->eval(f->lbfgs->context, f->trial, f->trial_grad, &f->trial_loss, err));
    *ret_slope = dot(f->trial_grad, f->direction, f->n);
    return QN_OK;
}

/* A place on the line: step, loss and slope there. */
typedef struct {
    double step, loss, slope;
} place;

/* Equation 3.59, the minimum of the cubic through both ends, kept inside the interval; the middle where it fails. */
static double cubic_step(place a, place b)
{
    double d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.step - b.step);
    double root = d1 * d1 - a.slope * b.slope;
    double low = fmin(a.step, b.step), high = fmax(a.step, b.step), margin = 0.1 * (high - low);
    if (!(root >= 0) || !isfinite(b.loss))
        return 0.5 * (low + high);
    double d2 = copysign(sqrt(root), b.step - a.step);
    double step = b.step - (b.step - a.step) * (b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2);
    if (!isfinite(step))
        return 0.5 * (low + high);
    return fmin(fmax(step, low + margin), high - margin);
}

/* Sufficient decrease. Within the noise of the loss, where differences mean nothing, the slopes say it instead
 * (Hager and Zhang 2005, the approximate Wolfe condition). */
static bool decreases(const search *f, const place *start, const place *p)
{
    double noise = f->lbfgs->noise > 0 ? f->lbfgs->noise : 1e-14;
    if (!isfinite(p->loss))
        return false;
    if (p->loss <= start->loss + decrease_share * p->step * start->slope)
        return true;
    return p->loss <= start->loss + noise * fabs(start->loss) &&
           p->slope <= (2 * decrease_share - 1) * start->slope;
}

static bool is_flat(const place *start, const place *p)
{
    return fabs(p->slope) <= -curvature_share * start->slope;
}

/* Algorithms 3.5 and 3.6 in one loop: while no interval is known the step grows; then it is narrowed. `found` stays
 * false when the evaluations run out without a point that is lower. */
static qn_status search_wolfe(search *f, place start, double step, int tries, bool *found,
                              qn_error *err)
{
    place low = start, high = {0};
    bool bracketed = false;
    for (int i = 0; i < tries; i++) {
        place p = {.step = step};
        QN_TRY(evaluate(f, step, &p.slope, err));
        p.loss = f->trial_loss;
        if (decreases(f, &start, &p) && is_flat(&start, &p)) {
            *found = true;
            return QN_OK;
        }
        bool grown = (bracketed || i > 0) && p.loss >= low.loss;
        if (grown || !decreases(f, &start, &p)) {
            high = p;
            bracketed = true;
        } else {
            if (p.slope * (bracketed ? high.step - low.step : 1) >= 0) {
                high = low;
                bracketed = true;
            }
            low = p;
        }
        if (bracketed && fabs(high.step - low.step) < 1e-16 * fmax(1, fabs(low.step)))
            break;
        step = bracketed ? cubic_step(low, high) : 2 * step;
    }
    *found = low.step > 0;
    double slope = 0;
    return *found ? evaluate(f, low.step, &slope, err) : QN_OK;
}

static qn_status search_backtracking(search *f, place start, double step, int tries, bool *found,
                                     qn_error *err)
{
    *found = false;
    for (int i = 0; i < tries && !*found; i++) {
        place p = {.step = step};
        QN_TRY(evaluate(f, step, &p.slope, err));
        p.loss = f->trial_loss;
        *found = decreases(f, &start, &p);
        step *= 0.5;
    }
    return QN_OK;
}

/* One iteration. *done when nothing lower was found. */
static qn_status iterate(search *f, bool *done, qn_error *err)
{
    const qn_lbfgs_problem *l = f->lbfgs;
    int tries = l->evaluations_max ? l->evaluations_max : 25;
    find_direction(f);
    place start = {.loss = f->loss, .slope = dot(f->grad, f->direction, f->n)};
    if (!(start.slope < 0)) { /* rounding has spoilt the model: begin again downhill */
        f->pairs = 0;
        find_direction(f);
        start.slope = dot(f->grad, f->direction, f->n);
    }
    /* The first direction has the gradient's size, which says nothing about a good step. */
    double step = f->pairs ? 1 : fmin(1, 1 / sqrt(dot(f->grad, f->grad, f->n)));
    bool found = false;
    if (l->search == QN_LBFGS_STRONG_WOLFE)
        QN_TRY(search_wolfe(f, start, step, tries, &found, err));
    else
        QN_TRY(search_backtracking(f, start, step, tries, &found, err));
    if (!found) {
        f->report.reason = QN_LBFGS_NO_DESCENT;
        *done = f->pairs == 0; /* once more from the plain gradient */
        f->pairs = 0;
        return QN_OK;
    }
    keep_pair(f);
    double before = f->loss, tolerance = l->tolerance_loss > 0 ? l->tolerance_loss : 1e-10;
    f->report.step = sqrt(dot(f->direction, f->direction, f->n));
    memcpy(f->x, f->trial, (size_t)f->n * sizeof(*f->x));
    memcpy(f->grad, f->trial_grad, (size_t)f->n * sizeof(*f->grad));
    f->loss = f->trial_loss;
    f->report.reason = QN_LBFGS_CONVERGED_LOSS;
    *done = before - f->loss <= tolerance * fmax(1, fmax(fabs(before), fabs(f->loss)));
    return QN_OK;
}

static bool grad_small(search *f)
{
    double tolerance = f->lbfgs->tolerance_grad > 0 ? f->lbfgs->tolerance_grad : 1e-6;
    f->report.loss = f->loss;
    f->report.grad_max = largest(f->grad, f->n);
    return f->report.grad_max <= tolerance;
}

static qn_status run(search *f, qn_error *err)
{
    int most = f->lbfgs->iterations_max ? f->lbfgs->iterations_max : 100;
    bool done = grad_small(f);
    f->report.reason = QN_LBFGS_CONVERGED_GRADIENT;
    while (!done && f->report.iterations < most) {
        QN_TRY(iterate(f, &done, err));
        f->report.iterations++;
        if (grad_small(f)) {
            f->report.reason = QN_LBFGS_CONVERGED_GRADIENT;
            return QN_OK;
        }
        if (!done && f->lbfgs->progress && !f->lbfgs->progress(f->lbfgs->context, &f->report)) {
            f->report.reason = QN_LBFGS_STOPPED;
            return QN_OK;
        }
    }
    if (!done)
        f->report.reason = QN_LBFGS_ITERATIONS;
    return QN_OK;
}

qn_status qn_lbfgs_minimize(const qn_lbfgs_problem *lbfgs, double *x, int64_t n, qn_arena *scratch,
                            qn_lbfgs_report *ret, qn_error *err)
{
    if (n < 1 || lbfgs->history < 0)
        QN_FAIL(err, QN_ERR_ARG, "%lld parameters and a history of %d, expected 1 or more",
                (long long)n, lbfgs->history);
    search f = {.lbfgs = lbfgs, .n = n, .x = x};
    f.history = lbfgs->history ? lbfgs->history : 10;
    f.s = QN_NEW(scratch, double, f.history *n);
    f.y = QN_NEW(scratch, double, f.history *n);
    f.rho = QN_NEW(scratch, double, f.history);
    f.alpha = QN_NEW(scratch, double, f.history);
    f.grad = QN_NEW(scratch, double, n);
    f.direction = QN_NEW(scratch, double, n);
    f.trial = QN_NEW(scratch, double, n);
    f.trial_grad = QN_NEW(scratch, double, n);
    if (!f.s || !f.y || !f.rho || !f.alpha || !f.grad || !f.direction || !f.trial || !f.trial_grad)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory for %d pairs of %lld parameters", f.history,
                (long long)n);
    f.report.evaluations = 1;
    QN_TRY(lbfgs->eval(lbfgs->context, x, f.grad, &f.loss, err));
    if (!isfinite(f.loss) || !isfinite(largest(f.grad, n)))
        QN_FAIL(err, QN_ERR_NUMERIC, "the loss at the start is %g", f.loss);
    QN_TRY(run(&f, err));
    *ret = f.report;
    return QN_OK;
}
