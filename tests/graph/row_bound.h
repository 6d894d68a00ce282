/*
 * How far a row in f32 may be from the row in f64, element by element, from error theory.
 *
 * A sum of k products in f32 is off by at most k roundings u of the sum of the absolute products, and, roundings having
 * either sign, by about sqrt(k) u times the root of their squares (Higham and Mary 2019). That root is found by running the
 * row in f64 with every input moved by a small part of itself, up or down at random: it is what an output moves, over that
 * part. So the measure follows what a row does, cancels and divides by; no row needs a number of its own making.
 */
#ifndef QN_TESTS_GRAPH_ROW_BOUND_H
#define QN_TESTS_GRAPH_ROW_BOUND_H

#include "row_testing.h"

/* ROUNDINGS: sqrt of the longest chains of samples, about 1000; what exp, tanh and others add (1 to 5 ulp) is below it.
 * DRAWS: of the inputs' signs, the largest of which counts. WITHIN: roundings of numbers of about 1 inside a row, which
 * cancel: gates (1 - z), erf. */
enum { ROUNDINGS = 32, DRAWS = 4, WITHIN = 2 };
static const double rounding = 0x1p-24, part_moved = 0x1p-20;

/* The row in f64, and what its outputs move over the part that its inputs do. */
typedef struct {
    double *expected[QN_OP_OUTPUTS_MAX], *moved[QN_OP_OUTPUTS_MAX];
    int count;
} row_measure;

/* A value at every fifth place of one input; input -1: none. */
typedef struct {
    int input;
    double value;
} row_special;

static inline void fill_with(const bench *b, row_special special)
{
    fill(b);
    if (special.input < 0)
        return;
    const qn_tensor *x = qn_plan_input(b->plan, numbered('x', special.input));
    for (int64_t k = 2; k < qn_shape_count(&x->shape); k += 5)
        set_at(x, k, special.value);
}

/* Every float of every input up or down. */
static inline void move_inputs(const bench *b, uint32_t draw)
{
    for (int i = 0; i < b->sample->inputs_count; i++) {
        const qn_tensor *x = qn_plan_input(b->plan, numbered('x', i));
        qn_rng rng = {.seed = draw, .stream = (uint32_t)i};
        for (int64_t k = 0; is_float_input(b->sample, i) && k < qn_shape_count(&x->shape); k++) {
            double part = qn_rng_u32(rng, (uint64_t)k) & 1 ? part_moved : -part_moved;
            set_at(x, k, qn_tensor_f64_at(x, k) * (1 + part));
        }
    }
}

static inline void measure_output(row_measure *m, const bench *wide, int k, bool first)
{
    const qn_tensor *y = qn_plan_output(wide->plan, numbered('y', k));
    int64_t count = qn_shape_count(&y->shape);
    if (first) {
        m->expected[k] = calloc((size_t)count + 1, sizeof(double));
        m->moved[k] = calloc((size_t)count + 1, sizeof(double));
    }
    for (int64_t i = 0; i < count; i++) {
        double value = qn_tensor_f64_at(y, i);
        m->expected[k][i] = first ? value : m->expected[k][i];
        m->moved[k][i] = fmax(m->moved[k][i], fabs(value - m->expected[k][i]) / part_moved);
    }
}

static inline row_measure measure_row(const qn_op *op, const qn_op_sample *sample,
                                      row_special special)
{
    row_measure m = {.count = op->outputs_count};
    bench wide = open_bench(op, sample, QN_DTYPE_F64, false, true);
    for (uint32_t draw = 0; draw <= DRAWS; draw++) {
        fill_with(&wide, special);
        if (draw > 0)
            move_inputs(&wide, draw);
        qn_plan_run(wide.plan, 3);
        for (int k = 0; k < m.count; k++)
            measure_output(&m, &wide, k, draw == 0);
    }
    close_bench(&wide);
    return m;
}

static inline void free_measure(row_measure *m)
{
    for (int k = 0; k < m->count; k++) {
        free(m->expected[k]);
        free(m->moved[k]);
    }
}

/* What is allowed of the row's own numbers; no kernel may be further off than 1e-5 of 1 + |expected| even so. */
static inline double allowed_of(const qn_op *op, double want, double moved)
{
    static const struct {
        const char *op, *reason;
        double chains; /* times what ROUNDINGS counts for */
        bool cancels;  /* so much that 1e-5 is no limit */
    } rows[] = {
        {"RoiAlignGrad", "its reference adds up in f32 what all samples give a pixel", 4, false},
        {"RmsPropCenteredUpdate", "divides by a root of a difference", 1, true},
        {"AttentionGrad", "y is not that of q, k and v: differences that cancel", 1, true},
    };
    double chains = 1, most = 1e-5 * (1 + fabs(want));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rows[i].op, op->name) == 0) {
            chains = rows[i].chains;
            most = rows[i].cancels ? HUGE_VAL : most;
        }
    return fmin(most, rounding * (chains * ROUNDINGS * (fabs(want) + moved) + WITHIN));
}

/* Every output of `b` is as near to the row in f64 as rounding allows. Integers are equal, and so are NaN and infinities. */
static inline void compare_measured(const bench *b, const row_measure *m, int at, const char *what)
{
    for (int k = 0; k < m->count; k++) {
        const qn_tensor *y = qn_plan_output(b->plan, numbered('y', k));
        for (int64_t i = 0; i < qn_shape_count(&y->shape); i++) {
            double got = qn_tensor_f64_at(y, i), want = m->expected[k][i];
            double allowed =
                qn_dtype_is_float(y->dtype) ? allowed_of(b->op, want, m->moved[k][i]) : 0;
            bool same = (isnan(got) && isnan(want)) || got == want;
            if (!same && !(fabs(got - want) <= allowed))
                fail_msg("%s sample %d: y%d[%d] is %.9g in %s, expected %.9g within %.2g",
                         b->op->name, at, k, (int)i, got, what, want, allowed);
        }
    }
}

#endif
