/*
 * CTC at every level: loss and gradient against a sum over all paths in double precision, the cases without a path, and the same
 * bits for any number of threads.
 */
#include "kernel_testing.h"

#include "kernel/loss/ctc.h"

enum { FRAMES = 5, CLASSES = 3, LABELS = 2, PATHS = 243 /* CLASSES to the FRAMES */ };

/* Does the path, frame by frame, spell the labels? */
static bool spells(const int *path, int64_t frames, const int64_t *labels, int64_t count)
{
    int64_t at = 0;
    for (int64_t t = 0; t < frames; t++) {
        if (path[t] == 0 || (t > 0 && path[t] == path[t - 1]))
            continue;
        if (at >= count || labels[at] != path[t])
            return false;
        at++;
    }
    return at == count;
}

/* The probability of the labels, and of them with class k at frame t. */
static double sum_paths(const float *logits, int64_t frames, const int64_t *labels, int64_t count,
                        double with[FRAMES][CLASSES])
{
    double total = 0;
    memset(with, 0, FRAMES * sizeof *with);
    for (int code = 0; code < PATHS; code++) {
        int path[FRAMES], rest = code;
        double p = 1;
        for (int64_t t = 0; t < FRAMES; t++, rest /= CLASSES)
            path[t] = rest % CLASSES;
        bool repeated = false; /* frames that do not count: each path once */
        for (int64_t t = frames; t < FRAMES; t++)
            repeated = repeated || path[t] != 0;
        if (repeated || !spells(path, frames, labels, count))
            continue;
        for (int64_t t = 0; t < frames; t++) {
            double sum = 0;
            for (int c = 0; c < CLASSES; c++)
                sum += exp((double)logits[t * CLASSES + c]);
            p *= exp((double)logits[t * CLASSES + path[t]]) / sum;
        }
        total += p;
        for (int64_t t = 0; t < frames; t++)
            with[t][path[t]] += p;
    }
    return total;
}

static void loss_and_gradient_are_those_of_all_paths(void **state)
{
    (void)state;
    enum { ROWS = 4 };
    static const int64_t labels[ROWS][LABELS] = {{1, 2}, {2, 2}, {1, -1}, {-1, -1}};
    static const int64_t counts[ROWS] = {2, 2, 1, 0}, frames[ROWS] = {5, 5, 3, 4};
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        guarded x = guarded_uniform(ROWS * FRAMES * CLASSES, 1, 3, -3, 3),
                dx = guarded_make(ROWS * FRAMES * CLASSES, 2),
                kept = guarded_make(ROWS * (FRAMES + 2) * (2 * LABELS + 1), 3);
        float loss = -1;
        qn_ctc io = {.rows = ROWS,
                     .frames = FRAMES,
                     .classes = CLASSES,
                     .labels_max = LABELS,
                     .logits = x.at,
                     .labels = &labels[0][0],
                     .frames_counts = frames,
                     .loss = &loss,
                     .dlogits = dx.at,
                     .kept = kept.at};
        void *scratch = scratch_of(qn_ctc_scratch_bytes(ROWS, FRAMES, LABELS));
        double want = 0;
        qn_ctc_f32(NULL, &io, scratch);
        for (int r = 0; r < ROWS; r++) {
            double with[FRAMES][CLASSES], share = 1.0 / (counts[r] ? (double)counts[r] : 1) / ROWS;
            const float *row = x.at + r * FRAMES * CLASSES;
            double p = sum_paths(row, frames[r], labels[r], counts[r], with);
            want -= log(p) * share;
            for (int t = 0; t < FRAMES; t++)
                for (int c = 0; c < CLASSES; c++) {
                    double sum = 0, slope = 0;
                    for (int k = 0; k < CLASSES; k++)
                        sum += exp((double)row[t * CLASSES + k]);
                    if (t < frames[r])
                        slope = share * (exp((double)row[t * CLASSES + c]) / sum - with[t][c] / p);
                    assert_near((double)dx.at[(r * FRAMES + t) * CLASSES + c], slope, 2e-6);
                }
        }
        assert_near((double)loss, want, 4e-6);
        free(scratch);
        guarded_free(&x);
        guarded_free(&dx);
        guarded_free(&kept);
    }
}

/* A long row: f32 keeps its digits, as the sum of the gradients of a frame, which is 0. */
static void long_rows_and_many_labels_keep_their_digits(void **state)
{
    (void)state;
    enum { T = 400, S = 90, C = 30, ROWS = 3 };
    static float x[ROWS * T * C], dx[POOLS][ROWS * T * C], kept[ROWS * (T + 2) * (2 * S + 1)];
    static int64_t labels[ROWS][S];
    static float loss[POOLS];
    values_uniform(x, ROWS * T * C, 1, -8, 8);
    for (int i = 0; i < ROWS * S; i++)
        labels[i / S][i % S] = 1 + i * 7 % (C - 1);
    void *scratch = scratch_of(qn_ctc_scratch_bytes(ROWS, T, S));
    float first = 0;
    FOR_EACH_LEVEL(level)
    {
        for (int p = 0; p < POOLS; p++) {
            qn_pool *pool = pool_of(pool_threads[p]);
            qn_ctc io = {.rows = ROWS,
                         .frames = T,
                         .classes = C,
                         .labels_max = S,
                         .logits = x,
                         .labels = &labels[0][0],
                         .loss = &loss[p],
                         .dlogits = dx[p],
                         .kept = kept};
            qn_ctc_f32(pool, &io, scratch);
            assert_memory_equal(dx[p], dx[0], sizeof dx[0]);
            assert_memory_equal(&loss[p], &loss[0], sizeof(float));
            qn_pool_destroy(pool);
        }
        first = level == QN_CPU_PORTABLE ? loss[0] : first;
        assert_near((double)loss[0], (double)first, 1e-5 * fabs((double)first));
        for (int t = 0; t < ROWS * T; t++) {
            double sum = 0;
            for (int c = 0; c < C; c++)
                sum += (double)dx[0][t * C + c];
            assert_near(sum, 0, 1e-8);
        }
    }
    free(scratch);
}

static void rows_without_a_path_are_told_apart(void **state)
{
    (void)state;
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        float x[6] = {0, 1, 2, 2, 1, 0}, dx[6], kept[4 * 5], loss = 0, scratch[64];
        int64_t labels[2] = {1, 1}; /* needs a blank between: three frames */
        qn_ctc io = {.rows = 1,
                     .frames = 2,
                     .classes = 3,
                     .labels_max = 2,
                     .logits = x,
                     .labels = labels,
                     .loss = &loss,
                     .dlogits = dx,
                     .kept = kept};
        qn_ctc_f32(NULL, &io, scratch);
        assert_true(isinf(loss) && loss > 0 && dx[0] == 0);
        io.zero_infinity = true;
        qn_ctc_f32(NULL, &io, scratch);
        assert_true(loss == 0 && dx[0] == 0);
        labels[1] = 3;
        qn_ctc_f32(NULL, &io, scratch);
        assert_true(isnan(loss));
        labels[1] = 0;
        qn_ctc_f32(NULL, &io, scratch);
        assert_true(isnan(loss));
        labels[1] = 2;
        x[1] = NAN;
        qn_ctc_f32(NULL, &io, scratch);
        assert_true(isnan(loss));
        x[1] = -INFINITY; /* class 1 is impossible at frame 0, where it must be */
        qn_ctc_f32(NULL, &io, scratch);
        assert_true(loss == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(loss_and_gradient_are_those_of_all_paths, levels_reset),
        cmocka_unit_test_teardown(long_rows_and_many_labels_keep_their_digits, levels_reset),
        cmocka_unit_test_teardown(rows_without_a_path_are_told_apart, levels_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
