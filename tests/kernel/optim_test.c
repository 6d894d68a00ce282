/*
 * Optimiser updates of every level against the published recurrences in double precision, over ten steps.
 */
#include "kernel_testing.h"

#include "kernel/optim/optim.h"
#include "kernel/optim/tensor.h"
#include "kernel/optim/update.h"

enum { MOST = 53, STEPS = 10 };

static void close_to(float got, double want, double scale)
{
    if (!(fabs((double)got - want) <= 3e-6 * (fabs(want) + scale)))
        fail_msg("%.9g, want %.9g", (double)got, want);
}

static void check_sgd(int64_t n, float momentum, float dampening, float decay, bool nesterov,
                      bool clipped)
{
    guarded w = guarded_uniform(n, 1, 1, -1, 1), v = guarded_uniform(n, 2, 5, -9, 9),
            g = guarded_make(n, 3);
    double want[MOST], speed[MOST] = {0};
    for (int64_t i = 0; i < n; i++)
        want[i] = (double)w.at[i];
    float lr = 0, scale = 0.7f;
    int64_t step = 0;
    qn_sgd io = {.count = n,
                 .weight = w.at,
                 .velocity = momentum > 0 ? v.at : NULL,
                 .grad = g.at,
                 .lr = &lr,
                 .step = &step,
                 .grad_scale = clipped ? &scale : NULL,
                 .momentum = momentum,
                 .dampening = dampening,
                 .weight_decay = decay,
                 .nesterov = nesterov};
    while (step++ < STEPS) {
        lr = 0.1f / (float)step;
        values_uniform(g.at, n, (uint64_t)step, -1, 1);
        for (int64_t i = 0; i < n; i++) {
            double grad = (double)g.at[i] * (clipped ? (double)scale : 1) + (double)decay * want[i];
            speed[i] =
                step == 1 ? grad : (double)momentum * speed[i] + (1 - (double)dampening) * grad;
            double update =
                momentum > 0 ? nesterov ? grad + (double)momentum * speed[i] : speed[i] : grad;
            want[i] -= (double)lr * update;
        }
        qn_sgd_f32(NULL, &io);
        for (int64_t i = 0; i < n; i++)
            close_to(w.at[i], want[i], 1);
    }
    guarded_free(&w);
    guarded_free(&v);
    guarded_free(&g);
}

static void sgd_follows_its_recurrence(void **state)
{
    (void)state;
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        for (int64_t n = 0; n < MOST; n++) {
            check_sgd(n, 0, 0, 0, false, false);
            check_sgd(n, 0, 0, 0.01f, false, true);
            check_sgd(n, 0.9f, 0, 0, false, false);
            check_sgd(n, 0.9f, 0.1f, 0.01f, false, true);
            check_sgd(n, 0.9f, 0, 0.01f, true, false);
        }
    }
}

static void check_adam(int64_t n, float decay, bool decoupled, bool clipped)
{
    guarded w = guarded_uniform(n, 1, 1, -1, 1), m = guarded_make(n, 2), v = guarded_make(n, 0),
            g = guarded_make(n, 3);
    double want[MOST], first[MOST] = {0}, second[MOST] = {0};
    for (int64_t i = 0; i < n; i++) {
        want[i] = (double)w.at[i];
        m.at[i] = v.at[i] = 0;
    }
    float lr = 0, scale = 0.7f;
    int64_t step = 0;
    qn_adam io = {.count = n,
                  .weight = w.at,
                  .first = m.at,
                  .second = v.at,
                  .grad = g.at,
                  .lr = &lr,
                  .step = &step,
                  .grad_scale = clipped ? &scale : NULL,
                  .beta1 = 0.9,
                  .beta2 = 0.999,
                  .eps = 1e-8,
                  .weight_decay = (double)decay,
                  .decoupled = decoupled};
    double b1 = 0.9, b2 = 0.999;
    while (step++ < STEPS) {
        lr = 0.01f / (float)step;
        values_uniform(g.at, n, (uint64_t)step, -1, 1);
        for (int64_t i = 0; i < n; i++) {
            double grad = (double)g.at[i] * (clipped ? (double)scale : 1) +
                          (decoupled ? 0 : (double)decay * want[i]);
            first[i] = b1 * first[i] + (1 - b1) * grad;
            second[i] = b2 * second[i] + (1 - b2) * grad * grad;
            double rate = (double)lr / (1 - pow(b1, (double)step));
            if (decoupled)
                want[i] *= 1 - (double)lr * (double)decay;
            want[i] -= rate * first[i] / (sqrt(second[i] / (1 - pow(b2, (double)step))) + 1e-8);
        }
        qn_adam_f32(NULL, &io);
        for (int64_t i = 0; i < n; i++) {
            close_to(w.at[i], want[i], 1);
            close_to(v.at[i], second[i], 1 - b2);
        }
    }
    guarded_free(&w);
    guarded_free(&m);
    guarded_free(&v);
    guarded_free(&g);
}

static void adam_and_adamw_follow_their_recurrences(void **state)
{
    (void)state;
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        for (int64_t n = 0; n < MOST; n++) {
            check_adam(n, 0, false, false);
            check_adam(n, 0.01f, false, true);
            check_adam(n, 0.01f, true, false);
        }
    }
}

static void adam_leaves_weights_alone_where_no_gradient_ever_was(void **state)
{
    (void)state;
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        float w[3] = {1, 2, 3}, m[3] = {0}, v[3] = {0}, g[3] = {0, 0, NAN}, lr = 0.1f;
        int64_t step = 1;
        qn_adam io = {.count = 3,
                      .weight = w,
                      .first = m,
                      .second = v,
                      .grad = g,
                      .lr = &lr,
                      .step = &step,
                      .beta1 = 0.9,
                      .beta2 = 0.999,
                      .eps = 1e-8};
        qn_adam_f32(NULL, &io);
        assert_true(w[0] == 1 && w[1] == 2 && isnan(w[2]));
    }
}

static void gradients_are_clipped_by_their_common_norm(void **state)
{
    (void)state;
    enum { N = 30011 };
    static float g[N], scratch[16];
    values_uniform(g, N, 1, -1, 1);
    double want = 0;
    for (int i = 0; i < N; i++)
        want += (double)g[i] * (double)g[i];
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        double sum = 5;
        float scale;
        qn_grad_square_f32(NULL, &sum, g, 10000, false, scratch);
        qn_grad_square_f32(NULL, &sum, g + 10000, N - 10000, true, scratch);
        assert_true(fabs(sum - want) <= 1e-5 * want);
        qn_grad_clip_scale(&scale, &sum, 2);
        assert_true(fabs((double)scale - 2 / sqrt(want)) < 1e-6);
        qn_grad_clip_scale(&scale, &sum, 1e6f);
        assert_true(scale == 1);
        sum = (double)NAN;
        qn_grad_clip_scale(&scale, &sum, 1);
        assert_true(isnan(scale));
    }
}

static void updates_give_the_same_bits_for_any_thread_count(void **state)
{
    (void)state;
    enum { N = 100003 };
    static float w[POOLS][N], m[N], v[N], g[N], scratch[32];
    static double sums[POOLS];
    values_uniform(g, N, 1, -1, 1);
    for (int p = 0; p < POOLS; p++) {
        qn_pool *pool = pool_of(pool_threads[p]);
        values_uniform(w[p], N, 2, -1, 1);
        memset(m, 0, sizeof m);
        memset(v, 0, sizeof v);
        float lr = 0.01f;
        int64_t step = 1;
        qn_adam io = {.count = N,
                      .weight = w[p],
                      .first = m,
                      .second = v,
                      .grad = g,
                      .lr = &lr,
                      .step = &step,
                      .beta1 = 0.9,
                      .beta2 = 0.999,
                      .eps = 1e-8};
        qn_adam_f32(pool, &io);
        qn_grad_square_f32(pool, &sums[p], w[p], N, false, scratch);
        assert_memory_equal(w[p], w[0], sizeof w[0]);
        assert_memory_equal(&sums[p], &sums[0], sizeof(double));
        qn_pool_destroy(pool);
    }
}

/* Ten steps of one kind at this level; w holds the weights. */
static void run_update(qn_update_kind kind, float *w, int64_t n, guarded *m)
{
    static float g[MOST];
    float lr = 0.02f, scale = 0.7f, product = 1;
    int64_t step = 0;
    values_uniform(w, n, 9, -1, 1);
    for (int k = 0; k < QN_UPDATE_MOMENTS; k++)
        memset(m[k].at, 0, (size_t)n * sizeof(float));
    qn_update io = {.count = n,
                    .weight = w,
                    .moments = {m[0].at, m[1].at, m[2].at},
                    .grad = g,
                    .lr = &lr,
                    .step = &step,
                    .grad_scale = &scale,
                    .product = &product,
                    .beta1 = 0.9,
                    .beta2 = 0.99,
                    .rho = 0.9,
                    .momentum = 0.5,
                    .eps = 1e-3,
                    .weight_decay = 0.01,
                    .lr_decay = 0.1,
                    .momentum_decay = 4e-3,
                    .decoupled = n % 2 == 1};
    while (step++ < STEPS) {
        values_uniform(g, n, (uint64_t)step, -1, 1);
        product *= 0.5f;
        qn_update_f32(NULL, kind, &io);
    }
}

/* The rows' references are compared with the formulae elsewhere (golden runs); here every level is compared with plain C. */
static void every_level_updates_as_plain_c(void **state)
{
    (void)state;
    static float want[MOST];
    for (int kind = 0; kind < QN_UPDATE_KINDS; kind++)
        for (int64_t n = 0; n < MOST; n++) {
            guarded w = guarded_make(n, 1), m[QN_UPDATE_MOMENTS];
            for (int k = 0; k < QN_UPDATE_MOMENTS; k++)
                m[k] = guarded_make(n, 2 + k);
            FOR_EACH_LEVEL(level)
            {
                run_update((qn_update_kind)kind, w.at, n, m);
                if (level == QN_CPU_PORTABLE)
                    memcpy(want, w.at, (size_t)n * sizeof(float));
                for (int64_t i = 0; i < n; i++)
                    close_to(w.at[i], (double)want[i], 1);
            }
            guarded_free(&w);
            for (int k = 0; k < QN_UPDATE_MOMENTS; k++)
                guarded_free(&m[k]);
        }
}

static void lion_keeps_nan_and_stands_still_without_gradient(void **state)
{
    (void)state;
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        float w[3] = {1, 2, 3}, m[3] = {0}, g[3] = {0, -5, NAN}, lr = 0.5f;
        qn_update io = {.count = 3,
                        .weight = w,
                        .moments = {m},
                        .grad = g,
                        .lr = &lr,
                        .beta1 = 0.9,
                        .beta2 = 0.99};
        qn_update_f32(NULL, QN_UPDATE_LION, &io);
        assert_true(w[0] == 1 && w[1] == 2.5f && isnan(w[2]));
    }
}

typedef struct {
    int64_t matrices, rows, cols;
} tensor_size;

/* Five steps of LAMB (kind 0), Adafactor of matrices (1) or of a vector (2) into w. */
static void run_tensor(int kind, tensor_size size, qn_pool *pool, float *w, float *first,
                       float *second, float *g)
{
    int64_t n = size.matrices * size.rows * size.cols, step = 0;
    float lr = 0.05f, scale = 0.7f;
    void *scratch = scratch_of(qn_lamb_scratch_bytes(n) +
                               qn_adafactor_scratch_bytes(size.matrices, size.rows, size.cols));
    values_uniform(w, n, 9, -1, 1);
    memset(first, 0, (size_t)n * sizeof(float));
    memset(second, 0, (size_t)n * sizeof(float));
    qn_lamb lamb = {.count = n,
                    .weight = w,
                    .first = first,
                    .second = second,
                    .grad = g,
                    .lr = &lr,
                    .step = &step,
                    .grad_scale = &scale,
                    .beta1 = 0.9,
                    .beta2 = 0.999,
                    .eps = 1e-6,
                    .weight_decay = 0.01};
    qn_adafactor factor = {.matrices = size.matrices,
                           .rows = size.rows,
                           .cols = size.cols,
                           .weight = w,
                           .row = kind == 1 ? first : NULL,
                           .col = second,
                           .grad = g,
                           .lr = &lr,
                           .step = &step,
                           .grad_scale = &scale,
                           .beta2_decay = -0.8,
                           .eps1 = 1e-7,
                           .eps2 = 1e-3,
                           .clip = 0.5,
                           .weight_decay = 0.01};
    while (step++ < 5) {
        values_uniform(g, n, (uint64_t)step, -1, 1);
        if (kind == 0)
            qn_lamb_f32(pool, &lamb, scratch);
        else
            qn_adafactor_f32(pool, &factor, scratch);
    }
    free(scratch);
}

static void every_level_updates_tensors_as_plain_c(void **state)
{
    (void)state;
    static const tensor_size sizes[] = {{1, 1, 1},  {1, 3, 7},   {2, 5, 16},   {3, 1, 17},
                                        {1, 33, 9}, {1, 1, 100}, {1, 300, 131}};
    for (int c = 0; c < 21; c++) {
        int kind = c % 3;
        tensor_size size = sizes[c / 3];
        if (kind == 2)
            size = (tensor_size){1, 1, size.cols};
        int64_t n = size.matrices * size.rows * size.cols;
        guarded w = guarded_make(n, 1), a = guarded_make(n, 2), b = guarded_make(n, 0),
                g = guarded_make(n, 3);
        float *want = malloc((size_t)n * sizeof *want);
        FOR_EACH_LEVEL(level)
        {
            run_tensor(kind, size, NULL, w.at, a.at, b.at, g.at);
            if (level == QN_CPU_PORTABLE)
                memcpy(want, w.at, (size_t)n * sizeof *want);
            for (int64_t i = 0; i < n; i++)
                close_to(w.at[i], (double)want[i], 3);
        }
        free(want);
        guarded_free(&w);
        guarded_free(&a);
        guarded_free(&b);
        guarded_free(&g);
    }
}

static void tensor_updates_give_the_same_bits_for_any_thread_count(void **state)
{
    (void)state;
    enum { ROWS = 301, COLS = 257, N = ROWS * COLS };
    static float w[POOLS][N], a[N], b[N], g[N];
    for (int kind = 0; kind < 2; kind++)
        for (int p = 0; p < POOLS; p++) {
            qn_pool *pool = pool_of(pool_threads[p]);
            run_tensor(kind, (tensor_size){1, ROWS, COLS}, pool, w[p], a, b, g);
            assert_memory_equal(w[p], w[0], sizeof w[0]);
            qn_pool_destroy(pool);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(sgd_follows_its_recurrence, levels_reset),
        cmocka_unit_test_teardown(adam_and_adamw_follow_their_recurrences, levels_reset),
        cmocka_unit_test_teardown(adam_leaves_weights_alone_where_no_gradient_ever_was,
                                  levels_reset),
        cmocka_unit_test_teardown(gradients_are_clipped_by_their_common_norm, levels_reset),
        cmocka_unit_test_teardown(every_level_updates_as_plain_c, levels_reset),
        cmocka_unit_test_teardown(lion_keeps_nan_and_stands_still_without_gradient, levels_reset),
        cmocka_unit_test_teardown(every_level_updates_tensors_as_plain_c, levels_reset),
        cmocka_unit_test_teardown(tensor_updates_give_the_same_bits_for_any_thread_count,
                                  levels_reset),
        cmocka_unit_test_teardown(updates_give_the_same_bits_for_any_thread_count, levels_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
