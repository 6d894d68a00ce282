/*
 * Pooling at every level against loops over the definition, in many geometries.
 */
#include "kernel_testing.h"

#include "kernel/pool/pool.h"

static int64_t place_of(const void *choice, int bytes, int64_t at)
{
    return bytes == 1 ? ((const uint8_t *)choice)[at] : ((const int32_t *)choice)[at];
}

static int64_t or_1(int64_t value)
{
    return value ? value : 1;
}

/* Index in x of tap t of output at, or -1 when it lies outside. `padded` counts places that an average with padding
 * divides by. */
static int64_t tap_of(const qn_pool2d *p, int64_t at, int64_t t, bool *ret_padded)
{
    int64_t od = or_1(p->od), d = or_1(p->d), pixel = at / p->c, c = at % p->c, s = pixel % p->ow,
            r = pixel / p->ow % p->oh, q = pixel / p->ow / p->oh % od,
            n = pixel / p->ow / p->oh / od;
    int64_t slice = q * p->stride_d - p->pad_front + t / p->kw / p->kh * p->dilation_d;
    int64_t row = r * p->stride_h - p->pad_top + t / p->kw % p->kh * p->dilation_h;
    int64_t col = s * p->stride_w - p->pad_left + t % p->kw * p->dilation_w;
    *ret_padded =
        slice < d + p->pad_back && row < p->h + p->pad_bottom && col < p->w + p->pad_right;
    return slice < 0 || slice >= d || row < 0 || row >= p->h || col < 0 || col >= p->w
               ? -1
               : (((n * d + slice) * p->h + row) * p->w + col) * p->c + c;
}

/* The p-norm of scaled numbers, whose powers are beyond f32, and its gradient. */
static void check_norm(const qn_pool2d *p, qn_pool *pool, int power, float scale)
{
    int64_t xs = p->n * or_1(p->d) * p->h * p->w * p->c,
            ys = p->n * or_1(p->od) * p->oh * p->ow * p->c, taps = or_1(p->kd) * p->kh * p->kw;
    guarded x = guarded_uniform(xs, 1, 3, -scale, scale), dy = guarded_uniform(ys, 2, 4, -1, 1),
            y = guarded_make(ys, 3), dx = guarded_make(xs, 2);
    double *slopes = calloc((size_t)xs, sizeof *slopes), *sizes = calloc((size_t)xs, sizeof *sizes);
    memset(x.at, 0, (size_t)xs / 3 * sizeof *x.at); /* whole windows of zeros */
    qn_norm_pool_grad from = {dy.at, x.at, y.at};
    qn_norm_pool2d_f32(pool, p, power, y.at, x.at);
    qn_norm_pool2d_grad_f32(pool, p, power, dx.at, &from);
    for (int64_t i = 0; i < ys; i++) {
        double sum = 0;
        bool padded;
        for (int64_t t = 0; t < taps; t++) {
            int64_t at = tap_of(p, i, t, &padded);
            sum += at < 0 ? 0 : pow(fabs((double)x.at[at]), power);
        }
        double want = pow(sum, 1.0 / power);
        assert_true(fabs((double)y.at[i] - want) <= (double)(taps + 8) * 1.2e-7 * want);
        for (int64_t t = 0; t < taps && want > 0; t++) {
            int64_t at = tap_of(p, i, t, &padded);
            double slope = at < 0 ? 0 : pow(fabs((double)x.at[at]) / (double)y.at[i], power - 1);
            if (at < 0)
                continue;
            slopes[at] += (double)dy.at[i] * copysign(slope, (double)x.at[at]);
            sizes[at] += fabs((double)dy.at[i] * slope);
        }
    }
    double bound = (double)(2 * power + taps + 4) * 1.2e-7;
    for (int64_t i = 0; i < xs; i++)
        assert_true(fabs((double)dx.at[i] - slopes[i]) <= bound * sizes[i] + 1e-37);
    free(slopes);
    free(sizes);
    guarded *buffers[] = {&x, &dy, &y, &dx};
    for (int i = 0; i < 4; i++)
        guarded_free(buffers[i]);
}

static void check_pool(const qn_pool2d *p, qn_pool *pool)
{
    static const int powers[] = {1, 2, 3, 64};
    check_norm(p, pool, powers[(p->h + p->w + p->kw + p->stride_w) % 4], 1);
    int64_t xs = p->n * or_1(p->d) * p->h * p->w * p->c,
            ys = p->n * or_1(p->od) * p->oh * p->ow * p->c, taps = or_1(p->kd) * p->kh * p->kw;
    int bytes = qn_pool2d_choice_bytes(p);
    guarded x = guarded_uniform(xs, 1, 1, -1, 1), dy = guarded_uniform(ys, 2, 2, -1, 1),
            y = guarded_make(ys, 3);
    guarded dx = guarded_make(xs, 1), average = guarded_make(ys, 0), bare = guarded_make(ys, 2);
    char *choice = malloc((size_t)(ys * bytes + 1));
    choice[ys * bytes] = 77;
    if (xs > 40)
        x.at[40] = NAN;
    qn_max_pool2d_f32(pool, p, y.at, choice, x.at);
    qn_max_pool2d_f32(pool, p, bare.at, NULL, x.at);
    assert_int_equal(choice[ys * bytes], 77);
    double *slopes = calloc((size_t)xs, sizeof *slopes);
    for (int64_t i = 0; i < ys; i++) {
        int64_t best = -1;
        bool padded;
        for (int64_t t = 0; t < taps; t++) {
            int64_t from = tap_of(p, i, t, &padded),
                    held = best < 0 ? -1 : tap_of(p, i, best, &padded);
            if (from >= 0 &&
                (best < 0 || x.at[from] > x.at[held] || (isnan(x.at[from]) && !isnan(x.at[held]))))
                best = t;
        }
        int64_t from = tap_of(p, i, best, &padded);
        assert_int_equal(place_of(choice, bytes, i), best);
        assert_true(ulp_error(y.at[i], (double)x.at[from]) == 0 &&
                    ulp_error(bare.at[i], (double)x.at[from]) == 0);
        slopes[from] += (double)dy.at[i];
    }
    qn_max_pool2d_grad_f32(pool, p, dx.at, dy.at, choice);
    for (int64_t i = 0; i < xs; i++)
        assert_true(fabs((double)dx.at[i] - slopes[i]) <= 2e-6);
    if (xs > 40)
        x.at[40] = 0;
    qn_avg_pool2d_f32(pool, p, average.at, x.at);
    qn_avg_pool2d_grad_f32(pool, p, dx.at, dy.at);
    memset(slopes, 0, (size_t)xs * sizeof *slopes);
    for (int64_t i = 0; i < ys; i++) {
        double sum = 0;
        int64_t inside = 0, places = 0;
        bool padded;
        for (int64_t t = 0; t < taps; t++) {
            int64_t from = tap_of(p, i, t, &padded);
            places += padded;
            inside += from >= 0;
            sum += from >= 0 ? (double)x.at[from] : 0;
        }
        double by = (double)(p->count_include_pad ? places : inside);
        assert_true(fabs((double)average.at[i] - sum / by) <= 2e-6);
        for (int64_t t = 0; t < taps; t++)
            if (tap_of(p, i, t, &padded) >= 0)
                slopes[tap_of(p, i, t, &padded)] += (double)dy.at[i] / by;
    }
    for (int64_t i = 0; i < xs; i++)
        assert_true(fabs((double)dx.at[i] - slopes[i]) <= 4e-6);
    free(choice);
    free(slopes);
    guarded *buffers[] = {&x, &dy, &y, &dx, &average, &bare};
    for (int i = 0; i < 6; i++)
        guarded_free(buffers[i]);
}

static int64_t out_size(int64_t size, int64_t span, int64_t stride, int64_t pad, bool ceil_mode)
{
    int64_t room = size + 2 * pad - span;
    int64_t out = room < 0 ? 0 : (room + (ceil_mode ? stride - 1 : 0)) / stride + 1;
    return out > 0 && (out - 1) * stride >= size + pad ? out - 1
                                                       : out; /* a window must start inside */
}

static void pools_match_their_definition_in_every_geometry(void **state)
{
    (void)state;
    static const int64_t channels[] = {1, 3, 8, 17, 32, 49};
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        for (int i = 0; i < 6 * 3 * 3 * 2 * 2 * 2; i++) {
            int64_t k = 1 + i / 6 % 3, stride = 1 + i / 18 % 3, dilation = 1 + i / 54 % 2,
                    pad = i / 108 % 2;
            qn_pool2d p = {.n = 2,
                           .h = 7,
                           .w = 8,
                           .c = channels[i % 6],
                           .kh = k,
                           .kw = k,
                           .stride_h = stride,
                           .stride_w = stride,
                           .dilation_h = dilation,
                           .dilation_w = dilation,
                           .count_include_pad = i / 216 % 2};
            p.pad_top = p.pad_left = p.pad_bottom = p.pad_right = k > 1 ? pad : 0;
            p.oh = out_size(p.h, (k - 1) * dilation + 1, stride, p.pad_top, i % 2);
            p.ow = out_size(p.w, (k - 1) * dilation + 1, stride, p.pad_left, i % 2);
            check_pool(&p, NULL);
            qn_pool2d volume = p;
            volume.d = 4;
            volume.kd = 2;
            volume.stride_d = stride;
            volume.dilation_d = 1;
            volume.pad_front = volume.pad_back = i % 2;
            volume.od = out_size(4, 2, stride, volume.pad_front, i % 3);
            check_pool(&volume, NULL);
        }
        qn_pool *pool = pool_of(2);
        check_pool(&(qn_pool2d){.n = 3,
                                .h = 40,
                                .w = 40,
                                .c = 5,
                                .oh = 2,
                                .ow = 2,
                                .kh = 20,
                                .kw = 20,
                                .stride_h = 20,
                                .stride_w = 20,
                                .dilation_h = 1,
                                .dilation_w = 1},
                   pool);
        check_pool(&(qn_pool2d){.n = 32,
                                .h = 27,
                                .w = 26,
                                .c = 33,
                                .oh = 13,
                                .ow = 13,
                                .kh = 2,
                                .kw = 2,
                                .stride_h = 2,
                                .stride_w = 2,
                                .dilation_h = 1,
                                .dilation_w = 1},
                   pool);
        qn_pool_destroy(pool);
    }
}

static void global_pools_match_their_definition(void **state)
{
    (void)state;
    enum { N = 3, P = 1100, C = 70 };
    static float x[N * P * C], dx[N * P * C];
    values_uniform(x, N * P * C, 1, -1, 1);
    x[P * C + 7 * C + 3] = NAN;
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        float y[N * C], average[N * C], dy[N * C];
        int32_t choice[N * C];
        values_uniform(dy, N * C, 2, -1, 1);
        qn_global_max_f32(NULL, y, choice, x, N, P, C);
        qn_global_max_grad_f32(NULL, dx, dy, choice, N, P, C);
        for (int i = 0; i < N * C; i++) {
            const float *from = x + i / C * P * C + i % C;
            int best = 0;
            for (int p = 1; p < P; p++)
                if (from[p * C] > from[best * C] || (isnan(from[p * C]) && !isnan(from[best * C])))
                    best = p;
            assert_int_equal(choice[i], best);
            assert_true(ulp_error(y[i], (double)from[best * C]) == 0);
            for (int p = 0; p < P; p++)
                assert_true(dx[i / C * P * C + p * C + i % C] == (p == best ? dy[i] : 0));
        }
        qn_global_avg_f32(NULL, average, x, N, P, C);
        qn_global_avg_grad_f32(NULL, dx, dy, N, P, C);
        for (int i = 0; i < N * C; i++) {
            double sum = 0;
            for (int p = 0; p < P; p++)
                sum += (double)x[i / C * P * C + p * C + i % C];
            assert_true(isnan(sum) ? isnan(average[i]) : fabs((double)average[i] - sum / P) < 1e-5);
            assert_true(fabs((double)dx[i / C * P * C + i % C] - (double)dy[i] / P) < 1e-8);
        }
    }
}

/* Numbers whose powers f32 does not hold; infinities and NaN. */
static void norms_neither_overflow_nor_lose_nan(void **state)
{
    (void)state;
    const qn_pool2d s = {.n = 2,
                         .h = 6,
                         .w = 6,
                         .c = 21,
                         .oh = 3,
                         .ow = 3,
                         .kh = 2,
                         .kw = 2,
                         .stride_h = 2,
                         .stride_w = 2,
                         .dilation_h = 1,
                         .dilation_w = 1};
    enum { X = 2 * 6 * 6 * 21, Y = 2 * 3 * 3 * 21 };
    static float x[X], y[Y];
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        for (int power = 1; power < 6; power++) {
            check_norm(&s, NULL, power, 1e30F);
            check_norm(&s, NULL, power, 1e-30F);
            values_uniform(x, X, 1, -1, 1);
            x[0] = INFINITY;
            x[1] = NAN;
            x[2] = INFINITY;
            x[21 + 2] = NAN;
            qn_norm_pool2d_f32(NULL, &s, power, y, x);
            assert_true(isinf(y[0]) && isnan(y[1]) && isnan(y[2]));
            for (int i = 3; i < Y; i++)
                assert_true(isfinite(y[i]));
        }
    }
}

/* Enough work for several threads: pieces are cut by shape, whoever takes them. */
static void pools_give_the_same_bits_for_any_thread_count(void **state)
{
    (void)state;
    const qn_pool2d s = {.n = 16,
                         .h = 41,
                         .w = 40,
                         .c = 33,
                         .oh = 20,
                         .ow = 20,
                         .kh = 3,
                         .kw = 3,
                         .stride_h = 2,
                         .stride_w = 2,
                         .pad_top = 1,
                         .pad_left = 1,
                         .dilation_h = 1,
                         .dilation_w = 1};
    enum { X = 16 * 41 * 40 * 33, Y = 16 * 20 * 20 * 33, G = 16 * 33 };
    static float x[X], dy[Y], y[POOLS][2 * Y], dx[POOLS][2 * X], g[POOLS][2 * G], dg[POOLS][2 * X],
        norm[POOLS][Y + X];
    static uint8_t choice[POOLS][Y];
    static int32_t place[POOLS][G];
    values_uniform(x, X, 1, -1, 1);
    values_uniform(dy, Y, 2, -1, 1);
    for (int p = 0; p < POOLS; p++) {
        qn_pool *pool = pool_of(pool_threads[p]);
        qn_max_pool2d_f32(pool, &s, y[p], choice[p], x);
        qn_max_pool2d_grad_f32(pool, &s, dx[p], dy, choice[p]);
        qn_avg_pool2d_f32(pool, &s, y[p] + Y, x);
        qn_avg_pool2d_grad_f32(pool, &s, dx[p] + X, dy);
        qn_norm_pool2d_f32(pool, &s, 3, norm[p], x);
        qn_norm_pool_grad from = {dy, x, norm[p]};
        qn_norm_pool2d_grad_f32(pool, &s, 3, norm[p] + Y, &from);
        assert_memory_equal(norm[p], norm[0], sizeof norm[0]);
        qn_global_max_f32(pool, g[p], place[p], x, 16, 41 * 40, 33);
        qn_global_avg_f32(pool, g[p] + G, x, 16, 41 * 40, 33);
        qn_global_max_grad_f32(pool, dg[p], g[p], place[p], 16, 41 * 40, 33);
        qn_global_avg_grad_f32(pool, dg[p] + X, g[p], 16, 41 * 40, 33);
        assert_memory_equal(y[p], y[0], sizeof y[0]);
        assert_memory_equal(dx[p], dx[0], sizeof dx[0]);
        assert_memory_equal(g[p], g[0], sizeof g[0]);
        assert_memory_equal(dg[p], dg[0], sizeof dg[0]);
        assert_memory_equal(choice[p], choice[0], sizeof choice[0]);
        assert_memory_equal(place[p], place[0], sizeof place[0]);
        qn_pool_destroy(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(pools_match_their_definition_in_every_geometry, levels_reset),
        cmocka_unit_test_teardown(global_pools_match_their_definition, levels_reset),
        cmocka_unit_test_teardown(norms_neither_overflow_nor_lose_nan, levels_reset),
        cmocka_unit_test(pools_give_the_same_bits_for_any_thread_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
