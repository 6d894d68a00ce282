/*
 * Functions of one number: each level against the function in double precision, tails against whole vectors,
 * special values, and the gradients against the derivative's formula in double precision.
 */
#include "kernel_testing.h"

#include <float.h>

#include "kernel/elementwise/unary.h"

/* The truth in double: y and dy/dx; `ulp` bounds the vector kernels, `absolute` what cancellation leaves. */
typedef struct {
    const char *name;
    double (*f)(double x), (*slope)(double x);
    float low, high;
    double ulp, absolute;
} function;

static const double alpha = 0.3;

static double relu(double x)
{
    return x > 0 ? x : 0;
}
static double relu_slope(double x)
{
    return x > 0;
}
static double leaky(double x)
{
    return x > 0 ? x : (double)(float)alpha * x;
}
static double leaky_slope(double x)
{
    return x > 0 ? 1 : (double)(float)alpha;
}
static double elu(double x)
{
    return x > 0 ? x : (double)(float)alpha * expm1(x);
}
static double elu_slope(double x)
{
    return x > 0 ? 1 : (double)(float)alpha * exp(x);
}
static double sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}
static double sigmoid_slope(double x)
{
    return sigmoid(x) * sigmoid(-x);
}
static double tanh_slope(double x)
{
    return 1 - tanh(x) * tanh(x);
}
static double gelu(double x)
{
    return 0.5 * x * erfc(-x * sqrt(0.5));
}
static double gelu_slope(double x)
{
    return 0.5 * erfc(-x * sqrt(0.5)) + x * exp(-x * x / 2) / sqrt(2 * M_PI);
}
static double gelu_tanh(double x)
{
    return x * sigmoid(2 * sqrt(2 / M_PI) * (x + 0.044715 * x * x * x));
}
static double gelu_tanh_slope(double x)
{
    double s = sigmoid(2 * sqrt(2 / M_PI) * (x + 0.044715 * x * x * x));
    return s + x * s * (1 - s) * 2 * sqrt(2 / M_PI) * (1 + 3 * 0.044715 * x * x);
}
static double silu(double x)
{
    return x * sigmoid(x);
}
static double silu_slope(double x)
{
    return sigmoid(x) * (1 + x * sigmoid(-x));
}
static double softplus(double x)
{
    return (x > 0 ? x : 0) + log1p(exp(-fabs(x)));
}
static double swish(double x)
{
    return x * sigmoid((double)(float)alpha * x);
}
static double swish_slope(double x)
{
    double z = (double)(float)alpha * x;
    return sigmoid(z) * (1 + z * sigmoid(-z));
}
static double hard_swish(double x)
{
    return x * fmin(fmax(x / 6 + 0.5, 0), 1);
}
static double hard_swish_slope(double x)
{
    return x <= -3 ? 0 : x >= 3 ? 1 : x / 3 + 0.5;
}
static double softsign(double x)
{
    return x / (1 + fabs(x));
}
static double softsign_slope(double x)
{
    return 1 / ((1 + fabs(x)) * (1 + fabs(x)));
}
static double mish(double x)
{
    return x * tanh(softplus(x));
}
static double mish_slope(double x)
{
    double t = tanh(softplus(x));
    return t + x * sigmoid(x) * (1 - t * t);
}
static double threshold(double x)
{
    return x > (double)(float)alpha ? x : 0;
}
static double threshold_slope(double x)
{
    return x > (double)(float)alpha;
}
static double log_slope(double x)
{
    return 1 / x;
}
static double log1p_slope(double x)
{
    return 1 / (1 + x);
}
static double sqrt_slope(double x)
{
    return 0.5 / sqrt(x);
}
static double rsqrt(double x)
{
    return 1 / sqrt(x);
}
static double rsqrt_slope(double x)
{
    return -0.5 / (x * sqrt(x));
}
static double neg(double x)
{
    return -x;
}
static double neg_slope(double x)
{
    (void)x;
    return -1;
}
static double sign(double x)
{
    return x > 0 ? 1 : x < 0 ? -1 : 0;
}
static double recip(double x)
{
    return 1 / x;
}
static double recip_slope(double x)
{
    return -1 / (x * x);
}
static double square(double x)
{
    return x * x;
}
static double square_slope(double x)
{
    return 2 * x;
}
static double erf_slope(double x)
{
    return 2 / sqrt(M_PI) * exp(-x * x);
}
static double sin_slope(double x)
{
    return cos(x);
}
static double cos_slope(double x)
{
    return -sin(x);
}
static double zero(double x)
{
    (void)x;
    return 0;
}
static double identity(double x)
{
    return x;
}
static double one(double x)
{
    (void)x;
    return 1;
}

static const function functions[QN_UNARY_COUNT] = {
    [QN_UNARY_RELU] = {"relu", relu, relu_slope, -9, 9, 0, 0},
    [QN_UNARY_LEAKY] = {"leaky", leaky, leaky_slope, -9, 9, 1, 0},
    [QN_UNARY_ELU] = {"elu", elu, elu_slope, -20, 9, 4, 0},
    [QN_UNARY_SIGMOID] = {"sigmoid", sigmoid, sigmoid_slope, -80, 80, 4, 0},
    [QN_UNARY_TANH] = {"tanh", tanh, tanh_slope, -12, 12, 4, 0},
    [QN_UNARY_GELU] = {"gelu", gelu, gelu_slope, -9, 9, 8, 2e-7},
    [QN_UNARY_GELU_TANH] = {"gelu_tanh", gelu_tanh, gelu_tanh_slope, -9, 9, 8, 2e-7},
    [QN_UNARY_SILU] = {"silu", silu, silu_slope, -60, 60, 8, 0},
    [QN_UNARY_SOFTPLUS] = {"softplus", softplus, sigmoid, -80, 80, 4, 0},
    [QN_UNARY_SWISH] = {"swish", swish, swish_slope, -60, 60, 18, 0},
    [QN_UNARY_HARD_SWISH] = {"hard_swish", hard_swish, hard_swish_slope, -9, 9, 4, 3e-7},
    [QN_UNARY_SOFTSIGN] = {"softsign", softsign, softsign_slope, -90, 90, 2, 0},
    [QN_UNARY_MISH] = {"mish", mish, mish_slope, -30, 60, 8, 0},
    [QN_UNARY_THRESHOLD] = {"threshold", threshold, threshold_slope, -9, 9, 0, 0},
    [QN_UNARY_EXP] = {"exp", exp, exp, -87, 88.7f, 4, 0},
    [QN_UNARY_LOG] = {"log", log, log_slope, 1e-6f, 1e5f, 4, 0},
    [QN_UNARY_LOG1P] = {"log1p", log1p, log1p_slope, -0.999f, 30, 4, 0},
    [QN_UNARY_SQRT] = {"sqrt", sqrt, sqrt_slope, 1e-4f, 1e4f, 0.51, 0},
    [QN_UNARY_RSQRT] = {"rsqrt", rsqrt, rsqrt_slope, 1e-4f, 1e4f, 1.5, 0},
    [QN_UNARY_NEG] = {"neg", neg, neg_slope, -9, 9, 0, 0},
    [QN_UNARY_ABS] = {"abs", fabs, sign, -9, 9, 0, 0},
    [QN_UNARY_RECIP] = {"recip", recip, recip_slope, 0.01f, 100, 0.51, 0},
    [QN_UNARY_SQUARE] = {"square", square, square_slope, -9, 9, 0.51, 0},
    [QN_UNARY_ERF] = {"erf", erf, erf_slope, -5, 5, 4, 0},
    [QN_UNARY_SIN] = {"sin", sin, sin_slope, -2e4f, 2e4f, 4, 0},
    [QN_UNARY_COS] = {"cos", cos, cos_slope, -2e4f, 2e4f, 4, 0},
    [QN_UNARY_SIGN] = {"sign", sign, zero, -9, 9, 0, 0},
    [QN_UNARY_FLOOR] = {"floor", floor, zero, -9, 9, 0, 0},
    [QN_UNARY_CEIL] = {"ceil", ceil, zero, -9, 9, 0, 0},
    [QN_UNARY_ROUND] = {"round", nearbyint, zero, -9, 9, 0, 0},
    [QN_UNARY_COPY] = {"copy", identity, one, -9, 9, 0, 0},
};

enum { COUNT = 200003 };

static void check_near(const function *f, const char *what, float got, double want, double ulp,
                       double absolute, float x)
{
    if (ulp_error(got, want) > ulp && !(fabs((double)got - want) <= absolute))
        fail_msg("%s%s(%.9g) = %.9g, want %.9g (%.2f ulp, level %s)", f->name, what, (double)x,
                 (double)got, want, ulp_error(got, want), qn_cpu_level_name(qn_cpu_level()));
}

static void unary_functions_keep_their_accuracy(void **state)
{
    (void)state;
    float *x = malloc(COUNT * sizeof(float)), *y = malloc(COUNT * sizeof(float));
    FOR_EACH_LEVEL(level)
    {
        for (int op = 0; op < QN_UNARY_COUNT; op++) {
            const function *f = &functions[op];
            values_uniform(x, COUNT, (uint64_t)op, f->low, f->high);
            values_uniform(x, COUNT / 4, 77, f->low > -1 ? f->low : -1,
                           1); /* more of them near 0 */
            qn_unary_f32(NULL, (qn_unary)op, y, x, COUNT, (float)alpha);
            for (int i = 0; i < COUNT; i++)
                check_near(f, "", y[i], f->f((double)x[i]), f->ulp, f->absolute, x[i]);
        }
    }
    free(x);
    free(y);
}

/* The derivative from a rounded y or x has the rounding of that input in it: a looser, relative bound. */
static void unary_gradients_follow_the_derivative(void **state)
{
    (void)state;
    enum { N = 5003 };
    float x[N], y[N], dy[N], dx[N];
    FOR_EACH_LEVEL(level)
    {
        for (int op = 0; op < QN_UNARY_COUNT; op++) {
            const function *f = &functions[op];
            float low = f->low < -8 ? -8 : f->low, high = f->high > 8 ? 8 : f->high;
            values_uniform(x, N, (uint64_t)op, low, high);
            values_uniform(dy, N, 5, -2, 2);
            qn_unary_f32(NULL, (qn_unary)op, y, x, N, (float)alpha);
            const float *saved = qn_unary_saved((qn_unary)op) == 0   ? NULL
                                 : qn_unary_saved((qn_unary)op) == 1 ? x
                                                                     : y;
            qn_unary_grad_f32(NULL, (qn_unary)op, dx, dy, saved, N, (float)alpha);
            for (int i = 0; i < N; i++) {
                double want = (double)dy[i] * f->slope((double)x[i]);
                double bound = 4e-6 * fabs(want) + 5e-7 * fabs((double)dy[i]);
                if (!(fabs((double)dx[i] - want) <= bound))
                    fail_msg("%s'(%g) = %.9g, want %.9g", f->name, (double)x[i], (double)dx[i],
                             want);
            }
        }
    }
}

static void unary_tails_equal_whole_vectors_and_stay_in_bounds(void **state)
{
    (void)state;
    enum { MOST = 49 };
    FOR_EACH_LEVEL(level)
    {
        for (int op = 0; op < QN_UNARY_COUNT; op++) {
            guarded x = guarded_uniform(MOST, 1, 3, functions[op].low, functions[op].high);
            float whole[64], grads[64], in[64] = {0};
            memcpy(in, x.at, MOST * sizeof(float));
            qn_unary_f32(NULL, (qn_unary)op, whole, in, 64, (float)alpha);
            qn_unary_grad_f32(NULL, (qn_unary)op, grads, in, in, 64, (float)alpha);
            for (int64_t n = 0; n <= MOST; n++) {
                guarded y = guarded_make(n, n % 5), dx = guarded_make(n, n % 3);
                qn_unary_f32(NULL, (qn_unary)op, y.at, x.at, n, (float)alpha);
                qn_unary_grad_f32(NULL, (qn_unary)op, dx.at, x.at, x.at, n, (float)alpha);
                assert_memory_equal(y.at, whole, (size_t)n * sizeof(float));
                assert_memory_equal(dx.at, grads, (size_t)n * sizeof(float));
                guarded_free(&y);
                guarded_free(&dx);
            }
            guarded_free(&x);
        }
    }
}

static void unary_special_values_are_those_of_c(void **state)
{
    (void)state;
    static const struct {
        qn_unary op;
        float x, y;
    } cases[] = {
        {QN_UNARY_RELU, NAN, NAN},
        {QN_UNARY_RELU, -INFINITY, 0},
        {QN_UNARY_EXP, NAN, NAN},
        {QN_UNARY_EXP, INFINITY, INFINITY},
        {QN_UNARY_EXP, -INFINITY, 0},
        {QN_UNARY_EXP, 89, INFINITY},
        {QN_UNARY_EXP, 1000, INFINITY},
        {QN_UNARY_EXP, 0, 1},
        {QN_UNARY_LOG, 0, -INFINITY},
        {QN_UNARY_LOG, -1, NAN},
        {QN_UNARY_LOG, INFINITY, INFINITY},
        {QN_UNARY_LOG, 1, 0},
        {QN_UNARY_LOG, NAN, NAN},
        {QN_UNARY_LOG, -INFINITY, NAN},
        {QN_UNARY_LOG1P, -1, -INFINITY},
        {QN_UNARY_LOG1P, INFINITY, INFINITY},
        {QN_UNARY_LOG1P, 1e-30f, 1e-30f},
        {QN_UNARY_LOG1P, -2, NAN},
        {QN_UNARY_SIGMOID, INFINITY, 1},
        {QN_UNARY_SIGMOID, -INFINITY, 0},
        {QN_UNARY_SIGMOID, NAN, NAN},
        {QN_UNARY_TANH, INFINITY, 1},
        {QN_UNARY_TANH, -INFINITY, -1},
        {QN_UNARY_TANH, NAN, NAN},
        {QN_UNARY_ERF, INFINITY, 1},
        {QN_UNARY_ERF, -INFINITY, -1},
        {QN_UNARY_ERF, NAN, NAN},
        {QN_UNARY_SIN, INFINITY, NAN},
        {QN_UNARY_COS, NAN, NAN},
        {QN_UNARY_SQRT, -1, NAN},
        {QN_UNARY_SQRT, INFINITY, INFINITY},
        {QN_UNARY_SIGN, NAN, NAN},
        {QN_UNARY_RECIP, INFINITY, 0},
        {QN_UNARY_ROUND, 2.5f, 2},
        {QN_UNARY_ROUND, -3.5f, -4},
        {QN_UNARY_FLOOR, -0.5f, -1},
        {QN_UNARY_GELU, NAN, NAN},
        {QN_UNARY_GELU, INFINITY, INFINITY},
        {QN_UNARY_GELU_TANH, NAN, NAN},
        {QN_UNARY_GELU_TANH, INFINITY, INFINITY},
        {QN_UNARY_GELU_TANH, -1e30f, 0},
        {QN_UNARY_SILU, INFINITY, INFINITY},
        {QN_UNARY_SOFTPLUS, INFINITY, INFINITY},
        {QN_UNARY_SOFTPLUS, NAN, NAN},
        {QN_UNARY_SOFTPLUS, -INFINITY, 0},
        {QN_UNARY_EXP, 1e-42f, 1},
        {QN_UNARY_RELU, 1e30f, 1e30f},
        {QN_UNARY_ELU, -INFINITY, -0.3f},
        {QN_UNARY_SWISH, INFINITY, INFINITY},
        {QN_UNARY_HARD_SWISH, NAN, NAN},
        {QN_UNARY_HARD_SWISH, INFINITY, INFINITY},
        {QN_UNARY_SOFTSIGN, -INFINITY, -1},
        {QN_UNARY_SOFTSIGN, NAN, NAN},
        {QN_UNARY_MISH, INFINITY, INFINITY},
        {QN_UNARY_MISH, NAN, NAN},
        {QN_UNARY_THRESHOLD, NAN, NAN},
        {QN_UNARY_THRESHOLD, -INFINITY, 0},
        {QN_UNARY_SIN, 3e6f, 0.0f},
    };
    FOR_EACH_LEVEL(level)
    {
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            float y = 0, x = cases[i].x, want = cases[i].y;
            if (cases[i].op == QN_UNARY_SIN && isfinite(x))
                want = sinf(x);
            qn_unary_f32(NULL, cases[i].op, &y, &x, 1, (float)alpha);
            if (ulp_error(y, (double)want) > 2)
                fail_msg("%s(%g) = %g, want %g at %s", functions[cases[i].op].name, (double)x,
                         (double)y, (double)want, qn_cpu_level_name(level));
        }
    }
}

static void unary_helpers_clamp_scale_and_add(void **state)
{
    (void)state;
    enum { N = 37 };
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        float x[N], y[N], g[N], one_by[N], factor = 3;
        values_uniform(x, N, 1, -2, 2);
        x[5] = NAN;
        for (int i = 0; i < N; i++)
            one_by[i] = 1;
        qn_clamp_f32(NULL, y, x, N, -1, 0.5f);
        qn_clamp_grad_f32(NULL, g, one_by, x, N, -1, 0.5f);
        assert_true(isnan(y[5]));
        for (int i = 0; i < N; i++) {
            if (i == 5)
                continue;
            assert_float_equal(y[i], x[i] < -1 ? -1.0f : x[i] > 0.5f ? 0.5f : x[i], 0);
            assert_float_equal(g[i], x[i] >= -1 && x[i] <= 0.5f ? 1.0f : 0.0f, 0);
        }
        x[5] = 0;
        qn_clamp_f32(NULL, y, x, N, 1, -1);
        for (int i = 0; i < N; i++)
            assert_float_equal(y[i], -1, 0); /* bounds that cross: the upper one */
        qn_affine_f32(NULL, y, x, N, 2, 1);
        qn_axpy_f32(NULL, y, x, N, -2);
        qn_scale_by_f32(NULL, g, x, N, &factor);
        for (int i = 0; i < N; i++) {
            assert_float_equal(y[i], 1.0f, 5e-7f);
            assert_float_equal(g[i], 3 * x[i], 0);
        }
    }
}

static void unary_gives_the_same_bits_for_any_thread_count(void **state)
{
    (void)state;
    float *x = malloc(COUNT * sizeof(float)), *first = malloc(COUNT * sizeof(float)),
          *y = malloc(COUNT * sizeof(float));
    values_uniform(x, COUNT, 1, -5, 5);
    for (int p = 0; p < POOLS; p++) {
        qn_pool *pool = pool_of(pool_threads[p]);
        qn_unary_f32(pool, QN_UNARY_TANH, p ? y : first, x, COUNT, 0);
        if (p)
            assert_memory_equal(y, first, COUNT * sizeof(float));
        qn_pool_destroy(pool);
    }
    free(x);
    free(y);
    free(first);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(unary_functions_keep_their_accuracy, levels_reset),
        cmocka_unit_test_teardown(unary_gradients_follow_the_derivative, levels_reset),
        cmocka_unit_test_teardown(unary_tails_equal_whole_vectors_and_stay_in_bounds, levels_reset),
        cmocka_unit_test_teardown(unary_special_values_are_those_of_c, levels_reset),
        cmocka_unit_test_teardown(unary_helpers_clamp_scale_and_add, levels_reset),
        cmocka_unit_test_teardown(unary_gives_the_same_bits_for_any_thread_count, levels_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
