/*
 * Adaptive pooling and unpooling at every level against loops over the definition, and with pools of threads.
 */
#include "kernel_testing.h"

#include "kernel/pool/pool.h"

enum { SHAPES = 6 };
static const qn_adaptive_pool shapes[SHAPES] = {
    {2, 3, {1, 7, 5}, {1, 3, 2}}, {3, 17, {1, 1, 9}, {1, 1, 4}}, {1, 70, {1, 40, 31}, {1, 1, 2}},
    {2, 5, {3, 4, 6}, {2, 5, 4}}, {2, 1, {1, 3, 3}, {1, 7, 8}},  {16, 33, {1, 41, 40}, {1, 7, 6}},
};

static int64_t pixels(const int64_t size[3])
{
    return size[0] * size[1] * size[2];
}

/* Whether pixel p of the image lies under output o. */
static bool covers(const qn_adaptive_pool *s, int64_t o, int64_t p)
{
    bool in = true;
    for (int i = 2; i >= 0; o /= s->out[i], p /= s->in[i], i--) {
        int64_t at = o % s->out[i], x = p % s->in[i];
        in = in && x >= at * s->in[i] / s->out[i] &&
             x < ((at + 1) * s->in[i] + s->out[i] - 1) / s->out[i];
    }
    return in;
}

typedef struct {
    guarded x, dy, y, average, dx, spread;
    int32_t *choice;
} results;

static results run(const qn_adaptive_pool *s, qn_pool *pool)
{
    int64_t xs = s->n * pixels(s->in) * s->c, ys = s->n * pixels(s->out) * s->c;
    results r = {.x = guarded_uniform(xs, 1, 1, -1, 1),
                 .dy = guarded_uniform(ys, 2, 2, -1, 1),
                 .y = guarded_make(ys, 3),
                 .average = guarded_make(ys, 1),
                 .dx = guarded_make(xs, 2),
                 .spread = guarded_make(xs, 0),
                 .choice = malloc((size_t)ys * sizeof(int32_t))};
    r.x.at[xs / 2] = NAN;
    qn_adaptive_max_f32(pool, s, r.y.at, r.choice, r.x.at);
    qn_adaptive_max_grad_f32(pool, s, r.dx.at, r.dy.at, r.choice);
    r.x.at[xs / 2] = 0.5F;
    qn_adaptive_avg_f32(pool, s, r.average.at, r.x.at);
    qn_adaptive_avg_grad_f32(pool, s, r.spread.at, r.dy.at);
    r.x.at[xs / 2] = NAN;
    return r;
}

static void results_free(results *r)
{
    guarded *all[] = {&r->x, &r->dy, &r->y, &r->average, &r->dx, &r->spread};
    for (int i = 0; i < 6; i++)
        guarded_free(all[i]);
    free(r->choice);
}

/* Output i of all images: its largest and its mean, and its part of the gradients. */
static void check_output(const qn_adaptive_pool *s, const results *r, int64_t i, double *dx,
                         double *spread)
{
    int64_t image = pixels(s->in), n = i / s->c / pixels(s->out), o = i / s->c % pixels(s->out),
            best = -1, places = 0;
    double sum = 0;
    const float *x = r->x.at + n * image * s->c + i % s->c;
    for (int64_t p = 0; p < image; p++) {
        if (!covers(s, o, p))
            continue;
        float v = x[p * s->c];
        if (best < 0 || v > x[best * s->c] || (isnan(v) && !isnan(x[best * s->c])))
            best = p;
        sum += isnan(v) ? 0.5 : (double)v;
        places++;
    }
    assert_int_equal(r->choice[i], best);
    assert_true(ulp_error(r->y.at[i], (double)x[best * s->c]) == 0);
    assert_true(fabs((double)r->average.at[i] - sum / (double)places) <= 1e-6);
    dx[(n * image + best) * s->c + i % s->c] += (double)r->dy.at[i];
    for (int64_t p = 0; p < image; p++)
        if (covers(s, o, p))
            spread[(n * image + p) * s->c + i % s->c] += (double)r->dy.at[i] / (double)places;
}

static void adaptive_pools_match_their_definition(void **state)
{
    (void)state;
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        for (int k = 0; k < SHAPES - 1; k++) {
            const qn_adaptive_pool *s = &shapes[k];
            results r = run(s, NULL);
            int64_t xs = s->n * pixels(s->in) * s->c;
            double *dx = calloc((size_t)xs, sizeof *dx), *spread = calloc((size_t)xs, sizeof *dx);
            for (int64_t i = 0; i < s->n * pixels(s->out) * s->c; i++)
                check_output(s, &r, i, dx, spread);
            for (int64_t i = 0; i < xs; i++) {
                assert_true(fabs((double)r.dx.at[i] - dx[i]) <= 1e-6);
                assert_true(fabs((double)r.spread.at[i] - spread[i]) <= 1e-6);
            }
            free(dx);
            free(spread);
            results_free(&r);
        }
    }
}

static void adaptive_pools_give_the_same_bits_for_any_thread_count(void **state)
{
    (void)state;
    const qn_adaptive_pool *s = &shapes[SHAPES - 1];
    size_t xs = (size_t)(s->n * pixels(s->in) * s->c), ys = (size_t)(s->n * pixels(s->out) * s->c);
    results one = run(s, NULL);
    for (int p = 0; p < POOLS; p++) {
        qn_pool *pool = pool_of(pool_threads[p]);
        results r = run(s, pool);
        assert_memory_equal(r.y.at, one.y.at, ys * sizeof(float));
        assert_memory_equal(r.choice, one.choice, ys * sizeof(int32_t));
        assert_memory_equal(r.average.at, one.average.at, ys * sizeof(float));
        assert_memory_equal(r.dx.at, one.dx.at, xs * sizeof(float));
        assert_memory_equal(r.spread.at, one.spread.at, xs * sizeof(float));
        results_free(&r);
        qn_pool_destroy(pool);
    }
    results_free(&one);
}

/* Indices of a pool stay in their image and channel; `stray`: some go elsewhere, or nowhere. Several meet. */
static int64_t *indices(const qn_unpool *s, bool stray)
{
    int64_t count = s->n * s->from * s->c, *index = malloc((size_t)count * sizeof *index);
    for (int64_t i = 0; i < count; i++) {
        int64_t n = i / s->c / s->from,
                place = (int64_t)qn_rng_below((qn_rng){.seed = 3}, (uint64_t)i, (uint64_t)s->to);
        index[i] = (n * s->c + i % s->c) * s->to + place;
        if (stray && i % 7 == 0)
            index[i] = (index[i] * 5 + 11) % (s->n * s->c * s->to + 9) - 4;
    }
    return index;
}

static void unpooling_scatters_in_order(void **state)
{
    (void)state;
    const qn_unpool s = {.n = 9, .c = 33, .from = 60, .to = 200};
    int64_t xs = s.n * s.from * s.c, ys = s.n * s.to * s.c;
    for (int i = 0; i < 2 * POOLS; i++) {
        qn_pool *pool = pool_of(pool_threads[i / 2]);
        int64_t *index = indices(&s, i % 2);
        guarded x = guarded_uniform(xs, 0, 1, -1, 1), y = guarded_make(ys, 1),
                dx = guarded_make(xs, 2), dy = guarded_uniform(ys, 3, 2, -1, 1);
        float *want = calloc((size_t)ys, sizeof *want);
        qn_unpool_f32(pool, &s, y.at, x.at, index);
        qn_unpool_grad_f32(pool, &s, dx.at, dy.at, index);
        for (int64_t k = 0; k < xs; k++) {
            bool inside = index[k] >= 0 && index[k] < s.n * s.c * s.to;
            int64_t line = index[k] / s.to, pixel = index[k] % s.to,
                    at = inside ? (line / s.c * s.to + pixel) * s.c + line % s.c : 0;
            if (inside)
                want[at] += x.at[k];
            assert_true(dx.at[k] == (inside ? dy.at[at] : 0));
        }
        assert_memory_equal(y.at, want, (size_t)ys * sizeof *want);
        free(want);
        free(index);
        guarded *all[] = {&x, &y, &dx, &dy};
        for (int k = 0; k < 4; k++)
            guarded_free(all[k]);
        qn_pool_destroy(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(adaptive_pools_match_their_definition, levels_reset),
        cmocka_unit_test(adaptive_pools_give_the_same_bits_for_any_thread_count),
        cmocka_unit_test(unpooling_scatters_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
