/*
 * Softmax and losses: values and gradients of every level against formulas in double precision.
 */
#include "kernel_testing.h"

#include "kernel/loss/loss.h"
#include "kernel/softmax/softmax.h"

static double log_sum_exp(const float *x, int64_t n)
{
    double top = -HUGE_VAL, sum = 0;
    for (int64_t i = 0; i < n; i++)
        top = fmax(top, (double)x[i]);
    for (int64_t i = 0; i < n; i++)
        sum += exp((double)x[i] - top);
    return top + log(sum);
}

static void softmax_and_its_gradients_match_double(void **state)
{
    (void)state;
    enum { ROWS = 3 };
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        for (int64_t n = 1; n < 70; n += n < 35 ? 1 : 7) {
            guarded x = guarded_uniform(ROWS * n, 1, 1, -9, 9), y = guarded_make(ROWS * n, 2),
                    dx = guarded_make(ROWS * n, 0);
            guarded dy = guarded_uniform(ROWS * n, 3, 2, -1, 1);
            for (int logs = 0; logs < 2; logs++) {
                (logs ? qn_log_softmax_f32 : qn_softmax_f32)(NULL, y.at, x.at, ROWS, n);
                (logs ? qn_log_softmax_grad_f32 : qn_softmax_grad_f32)(NULL, dx.at, dy.at, y.at,
                                                                       ROWS, n);
                for (int64_t r = 0; r < ROWS; r++) {
                    double lse = log_sum_exp(x.at + r * n, n), dot = 0, sum = 0;
                    for (int64_t i = r * n; i < (r + 1) * n; i++) {
                        dot += (double)dy.at[i] * exp((double)x.at[i] - lse);
                        sum += (double)dy.at[i];
                    }
                    for (int64_t i = r * n; i < (r + 1) * n; i++) {
                        double p = exp((double)x.at[i] - lse);
                        double want = logs ? (double)x.at[i] - lse : p;
                        double slope =
                            logs ? (double)dy.at[i] - p * sum : ((double)dy.at[i] - dot) * p;
                        assert_true(fabs((double)y.at[i] - want) <=
                                    3e-6 * fabs(want) + 1e-9 + logs * 2e-6);
                        assert_true(fabs((double)dx.at[i] - slope) <= 4e-6);
                    }
                }
            }
            guarded_free(&x);
            guarded_free(&y);
            guarded_free(&dx);
            guarded_free(&dy);
        }
    }
}

static void softmax_handles_infinity_and_large_logits(void **state)
{
    (void)state;
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        float x[4] = {1000, 1000, -INFINITY, -1000}, y[4], bad[3] = {NAN, 0, 1},
              none[2] = {-INFINITY, -INFINITY};
        qn_softmax_f32(NULL, y, x, 1, 4);
        assert_true(y[0] == 0.5f && y[1] == 0.5f && y[2] == 0 && y[3] == 0);
        qn_softmax_f32(NULL, bad, bad, 1, 3);
        assert_true(isnan(bad[0]) && isnan(bad[1]) && isnan(bad[2]));
        qn_softmax_f32(NULL, none, none, 1, 2);
        assert_true(isnan(none[0]) && isnan(none[1]));
    }
}

typedef struct {
    int64_t rows, classes;
    bool weights, targets, narrow;
    float smoothing;
    bool ignore;
    qn_loss_reduction reduction;
} ce_case;

/* u[c] of one row: what multiplies the negative log-probabilities. */
static double mass_of(const qn_cross_entropy *io, int64_t r, int64_t c)
{
    int64_t label = io->targets ? -1 : io->labels ? io->labels[r] : io->labels_i32[r];
    double t = io->targets ? (double)io->targets[r * io->classes + c] : (double)(c == label);
    double w = io->class_weights ? (double)io->class_weights[c] : 1;
    return w * ((1 - (double)io->smoothing) * t + (double)io->smoothing / (double)io->classes);
}

static void check_cross_entropy(const ce_case *t, qn_pool *pool)
{
    int64_t size = t->rows * t->classes;
    guarded x = guarded_uniform(size, 1, 1, -6, 6), dx = guarded_make(size, 2),
            each = guarded_make(t->rows, 0);
    guarded weights = guarded_uniform(t->classes, 1, 3, 0.2f, 2),
            targets = guarded_uniform(size, 0, 4, 0, 1);
    int64_t *labels = malloc((size_t)t->rows * sizeof *labels), correct = -1;
    int32_t *narrow = malloc((size_t)t->rows * sizeof *narrow);
    for (int64_t r = 0; r < t->rows; r++)
        narrow[r] = (int32_t)(labels[r] = t->ignore && r % 3 == 1 ? -100 : r * 7 % t->classes);
    float loss = -1;
    qn_cross_entropy io = {.rows = t->rows,
                           .classes = t->classes,
                           .logits = x.at,
                           .labels = t->narrow ? NULL : labels,
                           .labels_i32 = narrow,
                           .targets = t->targets ? targets.at : NULL,
                           .class_weights = t->weights ? weights.at : NULL,
                           .smoothing = t->smoothing,
                           .has_ignore = t->ignore,
                           .ignore = -100,
                           .reduction = t->reduction,
                           .loss = &loss,
                           .row_loss = each.at,
                           .dlogits = dx.at,
                           .correct = t->targets ? NULL : &correct};
    void *scratch = scratch_of(qn_cross_entropy_scratch_bytes(t->rows, t->classes));
    qn_cross_entropy_f32(pool, &io, scratch);
    double mass = 0, total = 0;
    int64_t hits = 0;
    for (int64_t r = 0; r < t->rows; r++)
        if (t->targets || labels[r] >= 0)
            mass += t->targets || !t->weights ? 1 : (double)weights.at[labels[r]];
    if (t->reduction == QN_LOSS_SUM)
        mass = 1;
    for (int64_t r = 0; r < t->rows; r++) {
        const float *row = x.at + r * t->classes;
        bool counts = t->targets || labels[r] >= 0;
        double lse = log_sum_exp(row, t->classes), want = 0, all = 0;
        int64_t best = 0;
        for (int64_t c = 0; counts && c < t->classes; c++) {
            want += mass_of(&io, r, c) * (lse - (double)row[c]);
            all += mass_of(&io, r, c);
            best = row[c] > row[best] ? c : best;
        }
        hits += counts && best == labels[r];
        total += want;
        assert_true(fabs((double)each.at[r] - want) <= 2e-6 * (1 + all) * 12);
        for (int64_t c = 0; c < t->classes; c++) {
            double slope =
                counts ? (exp((double)row[c] - lse) * all - mass_of(&io, r, c)) / mass : 0;
            assert_true(fabs((double)dx.at[r * t->classes + c] - slope) <= 3e-6 * (all + 1) / mass);
        }
    }
    assert_true(fabs((double)loss - total / mass) <= 4e-6 * (1 + fabs(total / mass)));
    if (!t->targets)
        assert_int_equal(correct, hits);
    free(scratch);
    free(labels);
    free(narrow);
    guarded_free(&x);
    guarded_free(&dx);
    guarded_free(&each);
    guarded_free(&weights);
    guarded_free(&targets);
}

static void cross_entropy_matches_its_formula(void **state)
{
    (void)state;
    static const int64_t classes[] = {1, 2, 3, 7, 8, 9, 10, 16, 17, 33, 100};
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        for (int c = 0; c < 11; c++)
            for (int bits = 0; bits < 64; bits++)
                check_cross_entropy(&(ce_case){.rows = 1 + c % 5,
                                               .classes = classes[c],
                                               .weights = bits & 1,
                                               .smoothing = bits & 2 ? 0.1f : 0,
                                               .targets = bits & 4,
                                               .narrow = bits & 8,
                                               .ignore = bits & 16,
                                               .reduction = bits & 32 ? QN_LOSS_SUM : QN_LOSS_MEAN},
                                    NULL);
        qn_pool *pool = pool_of(2);
        check_cross_entropy(&(ce_case){.rows = 5000, .classes = 10, .ignore = true}, pool);
        qn_pool_destroy(pool);
    }
}

static void cross_entropy_survives_odd_labels_and_logits(void **state)
{
    (void)state;
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        float x[6] = {1, 2, -INFINITY, 3, 1, 0}, dx[6], loss = 0, each[2], scratch[4];
        int64_t labels[2] = {1, 7};
        qn_cross_entropy io = {.rows = 2,
                               .classes = 3,
                               .logits = x,
                               .labels = labels,
                               .loss = &loss,
                               .row_loss = each,
                               .dlogits = dx};
        qn_cross_entropy_f32(NULL, &io, scratch);
        assert_true(isnan(loss) && isnan(each[1]) && isfinite(each[0]));
        assert_true(dx[3] == 0 && dx[4] == 0 && dx[5] == 0 && dx[2] == 0);
        labels[0] = labels[1] = -1;
        io.has_ignore = true;
        io.ignore = -1;
        qn_cross_entropy_f32(NULL, &io, scratch);
        assert_true(loss == 0 && dx[0] == 0);
        const float targets[6] = {0.5f, 0.5f, 0, 1, 0, 0};
        io.targets = targets;
        qn_cross_entropy_f32(NULL, &io, scratch);
        assert_true(isfinite(loss));
    }
}

static double pointwise_of(qn_loss_kind kind, double x, double t, double p, double *ret_slope)
{
    double d = x - t, side = t > 0 ? 1 : -1;
    switch (kind) {
    case QN_LOSS_MSE:
        *ret_slope = 2 * d;
        return d * d;
    case QN_LOSS_MAE:
        *ret_slope = (d > 0) - (d < 0);
        return fabs(d);
    case QN_LOSS_HUBER:
        *ret_slope = fmax(-p, fmin(p, d));
        return fabs(d) <= p ? d * d / 2 : p * (fabs(d) - p / 2);
    case QN_LOSS_POISSON:
        *ret_slope = exp(x) - t;
        return exp(x) - t * x;
    case QN_LOSS_QUANTILE:
        *ret_slope = (d > 0) * (1 - p) - (d < 0) * p;
        return fmax(p * -d, (1 - p) * d);
    case QN_LOSS_HINGE:
        *ret_slope = p > side * x ? -side : 0;
        return fmax(0, p - side * x);
    case QN_LOSS_SQUARED_HINGE:
        *ret_slope = -2 * side * fmax(0, p - side * x);
        return pow(fmax(0, p - side * x), 2);
    case QN_LOSS_KL:
        *ret_slope = -t;
        return t > 0 ? t * (log(t) - x) : 0;
    default:
        *ret_slope = (1 - t) / (1 + exp(-x)) - p * t / (1 + exp(x));
        return (1 - t) * (x > 0 ? x + log1p(exp(-x)) : log1p(exp(x))) +
               p * t * (x > 0 ? log1p(exp(-x)) : log1p(exp(x)) - x);
    }
}

static void pointwise_losses_match_their_formulas(void **state)
{
    (void)state;
    static const int64_t counts[] = {0, 1, 7, 8, 9, 16, 17, 33, 4095, 4097, 12345};
    static float scratch[16];
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        for (int c = 0; c < 11 * QN_LOSS_KINDS * 2; c++) {
            int64_t n = counts[c / 2 / QN_LOSS_KINDS];
            qn_loss_kind kind = (qn_loss_kind)(c / 2 % QN_LOSS_KINDS);
            guarded x = guarded_uniform(n, 1, 1, -4, 4), t = guarded_uniform(n, 2, 2, 0, 1),
                    w = guarded_uniform(n, 0, 3, 0, 2);
            guarded each = guarded_make(n, 1), dx = guarded_make(n, 3);
            if (n > 4)
                t.at[4] = x.at[4] = 0.5f;
            for (int64_t i = 0; i < n;
                 i += 3) /* half of the signs of a hinge, and no mass for a divergence */
                t.at[i] = 0;
            float loss = -1, option = kind == QN_LOSS_BCE_LOGITS ? 2.5f : 0.8f;
            qn_pointwise_loss io = {.count = n,
                                    .predictions = x.at,
                                    .targets = t.at,
                                    .weights = c % 2 ? w.at : NULL,
                                    .option = option,
                                    .rows = n / 3,
                                    .loss = &loss,
                                    .element_loss = each.at,
                                    .dpredictions = dx.at,
                                    .reduction = kind == QN_LOSS_KL ? QN_LOSS_BATCH_MEAN
                                                 : c % 4 < 2        ? QN_LOSS_MEAN
                                                                    : QN_LOSS_SUM};
            double mass = io.reduction == QN_LOSS_MEAN  ? (double)n
                          : io.reduction == QN_LOSS_SUM ? 1
                                                        : (double)io.rows;
            double total = 0, size = 0;
            mass = mass > 0 ? mass : 1;
            qn_pointwise_loss_f32(NULL, kind, &io, scratch);
            for (int64_t i = 0; i < n; i++) {
                double slope, weight = c % 2 ? (double)w.at[i] : 1;
                double want = weight * pointwise_of(kind, (double)x.at[i], (double)t.at[i],
                                                    (double)option, &slope);
                total += want;
                size += fabs(want);
                assert_true(fabs((double)each.at[i] - want) <= 2e-6 * (1 + fabs(want)));
                assert_true(fabs((double)dx.at[i] - weight * slope / mass) <=
                            3e-6 * (1 + fabs(slope)) / mass);
            }
            assert_true(fabs((double)loss - total / mass) <= 1e-5 * (1e-6 + size / mass));
            guarded_free(&x);
            guarded_free(&t);
            guarded_free(&w);
            guarded_free(&each);
            guarded_free(&dx);
        }
    }
}

static void losses_give_the_same_bits_for_any_thread_count(void **state)
{
    (void)state;
    enum { ROWS = 3000, CLASSES = 37, N = ROWS * CLASSES };
    static float x[N], t[N], dx[POOLS][N], loss[POOLS][2];
    static int64_t labels[ROWS];
    static char scratch[ROWS * 8];
    values_uniform(x, N, 1, -4, 4);
    values_uniform(t, N, 2, 0, 1);
    for (int i = 0; i < ROWS; i++)
        labels[i] = i % CLASSES;
    for (int p = 0; p < POOLS; p++) {
        qn_pool *pool = pool_of(pool_threads[p]);
        qn_cross_entropy ce = {.rows = ROWS,
                               .classes = CLASSES,
                               .logits = x,
                               .labels = labels,
                               .loss = &loss[p][0],
                               .dlogits = dx[p]};
        qn_cross_entropy_f32(pool, &ce, scratch);
        qn_pointwise_loss bce = {
            .count = N, .predictions = x, .targets = t, .option = 1, .loss = &loss[p][1]};
        qn_pointwise_loss_f32(pool, QN_LOSS_BCE_LOGITS, &bce, scratch);
        assert_memory_equal(dx[p], dx[0], sizeof dx[0]);
        assert_memory_equal(loss[p], loss[0], sizeof loss[0]);
        qn_pool_destroy(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(softmax_and_its_gradients_match_double, levels_reset),
        cmocka_unit_test_teardown(softmax_handles_infinity_and_large_logits, levels_reset),
        cmocka_unit_test_teardown(cross_entropy_matches_its_formula, levels_reset),
        cmocka_unit_test_teardown(cross_entropy_survives_odd_labels_and_logits, levels_reset),
        cmocka_unit_test_teardown(pointwise_losses_match_their_formulas, levels_reset),
        cmocka_unit_test_teardown(losses_give_the_same_bits_for_any_thread_count, levels_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
