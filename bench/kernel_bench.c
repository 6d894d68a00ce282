/*
 * Times the kernels on the shapes that matter for training, one JSON line each: name, microseconds (median), GF/s or
 * GB/s, and the fraction of the peak that a loop of independent FMAs (or a plain read of L2) reaches in the same
 * process. Usage: kernel_bench [THREADS [FILTER]]
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/conv/conv.h"
#include "kernel/elementwise/binary.h"
#include "kernel/elementwise/unary.h"
#include "kernel/gemm/gemm.h"
#include "kernel/loss/loss.h"
#include "kernel/move/move.h"
#include "kernel/norm/norm.h"
#include "kernel/optim/optim.h"
#include "kernel/pool/pool.h"
#include "kernel/random/random.h"
#include "kernel/reduce/reduce.h"
#include "kernel/softmax/softmax.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/pool.h"

#if defined(__x86_64__)
#include <immintrin.h>

/* 2 x 10 independent chains: more than latency times throughput on any core so far. */
__attribute__((target("avx512f"))) static float fma_chains(int64_t rounds)
{
    __m512 acc[20], x = _mm512_set1_ps(0.999f), y = _mm512_set1_ps(1e-3f);
    for (int i = 0; i < 20; i++)
        acc[i] = _mm512_set1_ps((float)i);
    for (int64_t r = 0; r < rounds; r++)
#pragma GCC unroll 20
        for (int i = 0; i < 20; i++)
            acc[i] = _mm512_fmadd_ps(acc[i], x, y);
    for (int i = 1; i < 20; i++)
        acc[0] = _mm512_add_ps(acc[0], acc[i]);
    return _mm512_reduce_add_ps(acc[0]);
}
enum { FLOPS_PER_ROUND = 20 * 16 * 2 };
#else
static float fma_chains(int64_t rounds)
{
    float acc[20] = {0};
    for (int64_t r = 0; r < rounds; r++)
        for (int i = 0; i < 20; i++)
            acc[i] = acc[i] * 0.999f + 1e-3f;
    return acc[0];
}
enum { FLOPS_PER_ROUND = 40 };
#endif

enum { SAMPLES = 31 };
static const double sample_ns = 2e6;

typedef struct {
    qn_pool *pool;
    int threads;
    const char *filter;
    double peak; /* GF/s */
    char *arena; /* zeroed once, touched, reused by every case */
    size_t arena_size;
} bench;

typedef void bench_fn(bench *b, void *context);

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* One thread is timed by its CPU time, which other processes on the machine do not stretch; several by the clock. */
static int64_t bench_now_ns(const bench *b)
{
    return b->threads == 1 ? qn_cpu_time_ns() : qn_now_ns();
}

/* Median over samples of about 2 ms each; *ret_least: the quickest, which neighbours on the machine disturb least. */
static double time_us(bench *b, bench_fn *fn, void *context, double *ret_least)
{
    fn(b, context);
    int64_t repeats = 1;
    for (;;) {
        int64_t start = bench_now_ns(b);
        for (int64_t i = 0; i < repeats; i++)
            fn(b, context);
        if ((double)(bench_now_ns(b) - start) > sample_ns || repeats > 1000000)
            break;
        repeats *= 2;
    }
    double samples[SAMPLES];
    for (int s = 0; s < SAMPLES; s++) {
        int64_t start = bench_now_ns(b);
        for (int64_t i = 0; i < repeats; i++)
            fn(b, context);
        samples[s] = (double)(bench_now_ns(b) - start) / (double)repeats;
    }
    qsort(samples, SAMPLES, sizeof *samples, compare_doubles);
    *ret_least = samples[0] / 1000;
    return samples[SAMPLES / 2] / 1000;
}

static void report(bench *b, const char *name, bench_fn *fn, void *context, double flops,
                   double bytes)
{
    if (b->filter && !strstr(name, b->filter))
        return;
    double least, us = time_us(b, fn, context, &least);
    printf("{\"name\":\"%s\",\"threads\":%d,\"us\":%.3f,\"us_least\":%.3f", name, b->threads, us,
           least);
    if (flops > 0)
        printf(",\"gflops\":%.1f,\"peak\":%.3f,\"peak_least\":%.3f", flops / us * 1e-3,
               flops / us * 1e-3 / b->peak, flops / least * 1e-3 / b->peak);
    if (bytes > 0)
        printf(",\"gbytes\":%.1f,\"gbytes_least\":%.1f", bytes / us * 1e-3, bytes / least * 1e-3);
    printf("}\n");
    fflush(stdout);
}

static float *take(bench *b, size_t *at, int64_t floats)
{
    float *p = (float *)(void *)(b->arena + *at);
    *at += ((size_t)floats * 4 + 127) / 64 * 64;
    if (*at > b->arena_size) {
        fprintf(stderr, "the bench's arena of %zu bytes is too small\n", b->arena_size);
        exit(1);
    }
    return p;
}

static void run_gemm(bench *b, void *context)
{
    qn_gemm *g = context;
    size_t at = 0;
    g->a = take(b, &at, g->m * g->k);
    g->b = take(b, &at, g->n * g->k);
    g->c = take(b, &at, g->m * g->n);
    qn_gemm_f32(b->pool, g, b->arena + at);
}

static void bench_gemm(bench *b)
{
    static const struct {
        int64_t m, n, k;
        bool ta, tb;
    } cases[] = {
        {32, 128, 784, 0, 0},     {32, 10, 784, 0, 0},      {784, 10, 32, 1, 0},
        {784, 128, 32, 1, 0},     {32, 784, 128, 0, 1},     {32, 10, 128, 0, 0},
        {128, 10, 32, 1, 0},      {32, 128, 10, 0, 1},      {128, 128, 784, 0, 0},
        {64, 64, 64, 0, 0},       {128, 128, 128, 0, 0},    {256, 256, 256, 0, 0},
        {512, 512, 512, 0, 0},    {512, 512, 512, 0, 1},    {512, 512, 512, 1, 0},
        {1024, 1024, 1024, 0, 0}, {1000, 1000, 1000, 0, 0}, {2048, 2048, 2048, 0, 0},
        {256, 768, 768, 0, 0},    {256, 3072, 768, 0, 0},   {32, 3136, 128, 0, 1},
        {32, 128, 3136, 0, 0},    {3136, 128, 32, 1, 0},    {1, 1024, 1024, 0, 0},
        {1, 128, 784, 0, 0},      {8, 4096, 4096, 0, 0},    {4, 4, 4, 0, 0},
        {16, 16, 16, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        qn_gemm g = {.m = cases[i].m,
                     .n = cases[i].n,
                     .k = cases[i].k,
                     .trans_a = cases[i].ta,
                     .trans_b = cases[i].tb,
                     .alpha = 1,
                     .ldc = cases[i].n};
        g.lda = g.trans_a ? g.m : g.k;
        g.ldb = g.trans_b ? g.k : g.n;
        char name[80];
        snprintf(name, sizeof name, "gemm_%c%c_%dx%dx%d", g.trans_a ? 't' : 'n',
                 g.trans_b ? 't' : 'n', (int)g.m, (int)g.n, (int)g.k);
        report(b, name, run_gemm, &g, 2.0 * (double)g.m * (double)g.n * (double)g.k, 0);
    }
}

enum { FORWARD, GRAD_X, GRAD_W, FUSED, FUSED_GRAD, PASSES };

typedef struct {
    qn_conv2d c;
    int pass;
} conv_case;

static void run_conv(bench *b, void *context)
{
    const conv_case *k = context;
    const qn_conv2d *c = &k->c;
    size_t at = 0;
    int64_t pixels = c->n * c->oh * c->ow, weights = c->kh * c->kw * c->cin * c->cout;
    float *x = take(b, &at, c->n * c->h * c->w * c->cin), *y = take(b, &at, pixels * c->cout);
    float *w = take(b, &at, weights), *bias = take(b, &at, c->cout),
          *z = take(b, &at, pixels * c->cout);
    float *dx = take(b, &at, c->n * c->h * c->w * c->cin), *dw = take(b, &at, weights + c->cout);
    uint8_t *choice = (uint8_t *)take(b, &at, pixels * c->cout / 4);
    void *scratch = b->arena + at;
    switch (k->pass) {
    case FORWARD:
        qn_conv2d_f32(
            b->pool, c,
            &(qn_conv2d_forward){.x = x, .weight = w, .bias = bias, .y = y, .act = QN_ACT_RELU},
            scratch);
        break;
    case GRAD_X:
        qn_conv2d_grad_x_f32(b->pool, c, dx, y, w, scratch);
        break;
    case GRAD_W:
        qn_conv2d_grad_w_f32(b->pool, c, dw, dw + weights, x, y, scratch);
        break;
    case FUSED:
        qn_conv2d_relu_pool_f32(b->pool, c, y, choice, x, w, bias, scratch);
        break;
    default:
        qn_conv2d_relu_pool_grad_f32(b->pool, c,
                                     &(qn_conv2d_pool_grad){.dx = c->cin > 1 ? dx : NULL,
                                                            .dweight = dw,
                                                            .dbias = dw + weights,
                                                            .dy = z,
                                                            .y = y,
                                                            .x = x,
                                                            .weight = w,
                                                            .choice = choice},
                                     scratch);
    }
}

static void bench_conv(bench *b)
{
    static const char *const names[PASSES] = {"forward", "grad_x", "grad_w", "relu_pool",
                                              "relu_pool_grad"};
    static const struct {
        int64_t n, size, cin, cout, pad;
    } cases[] = {{32, 28, 1, 32, 0},   {32, 28, 1, 32, 1},  {128, 28, 1, 32, 0},
                 {32, 14, 32, 64, 1},  {32, 28, 32, 64, 1}, {128, 14, 32, 64, 1},
                 {32, 14, 256, 256, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases * PASSES; i++) {
        int64_t n = cases[i / PASSES].n, size = cases[i / PASSES].size, pad = cases[i / PASSES].pad;
        int64_t out = size + 2 * pad - 2;
        conv_case k = {.c = {.n = n,
                             .h = size,
                             .w = size,
                             .cin = cases[i / PASSES].cin,
                             .oh = out,
                             .ow = out,
                             .cout = cases[i / PASSES].cout,
                             .kh = 3,
                             .kw = 3,
                             .stride_h = 1,
                             .stride_w = 1,
                             .pad_top = pad,
                             .pad_left = pad,
                             .dilation_h = 1,
                             .dilation_w = 1,
                             .groups = 1},
                       .pass = (int)(i % PASSES)};
        char name[96];
        snprintf(name, sizeof name, "conv_%s_n%d_%dx%d_%d_%d_%s", names[k.pass], (int)n, (int)size,
                 (int)size, (int)k.c.cin, (int)k.c.cout, pad ? "same" : "valid");
        double flops = 2.0 * (double)(n * out * out) * 9 * (double)(k.c.cin * k.c.cout);
        report(b, name, run_conv, &k, k.pass == FUSED_GRAD && k.c.cin > 1 ? 2 * flops : flops, 0);
    }
}

typedef struct {
    int64_t rows, cols;
    int what;
} plain_case;

enum {
    RELU,
    RELU_GRAD,
    TANH,
    GELU,
    EXP,
    ADD_ROW,
    ADAM,
    SGD,
    CROSS_ENTROPY,
    SOFTMAX,
    SUM,
    COLUMN_SUM,
    MAX_POOL,
    MAX_POOL_GRAD,
    BATCH_NORM,
    DROPOUT,
    PIXELS,
    TRANSPOSE
};

static const char *const plain_names[] = {
    "relu",          "relu_grad",         "tanh",       "gelu",
    "exp",           "add_row",           "adam",       "sgd",
    "cross_entropy", "softmax",           "sum",        "column_sum",
    "max_pool_2x2",  "max_pool_2x2_grad", "batch_norm", "dropout",
    "u8_normalise",  "transpose"};
/* Floats read and written for each element. */
static const double plain_floats[] = {2, 3, 2, 2, 2, 2, 7, 3, 2, 2, 1, 1, 1.3, 1.3, 2, 2, 1.25, 2};

/* Work on [rows, cols]; pools take it as images of rows x rows pixels and 32 x cols channels in a batch of 32. */
static void run_plain(bench *b, void *context)
{
    const plain_case *k = context;
    int64_t n = k->rows * k->cols, step = 5;
    size_t at = 0;
    float *x = take(b, &at, n), *y = take(b, &at, n), *z = take(b, &at, n), *w = take(b, &at, n),
          lr = 1e-9f;
    int64_t *labels = (int64_t *)(void *)take(b, &at, 2 * k->rows);
    float *stats = take(b, &at, 4 * k->cols);
    void *scratch = b->arena + at;
    const int64_t dims[2] = {k->rows, k->cols}, row[1] = {k->cols};
    const int64_t *shapes[2] = {dims, row};
    qn_pool2d pool = {.n = 32,
                      .h = 28,
                      .w = 28,
                      .c = k->cols,
                      .oh = 14,
                      .ow = 14,
                      .kh = 2,
                      .kw = 2,
                      .stride_h = 2,
                      .stride_w = 2,
                      .dilation_h = 1,
                      .dilation_w = 1};
    switch (k->what) {
    case RELU:
    case TANH:
    case GELU:
    case EXP:
        qn_unary_f32(b->pool,
                     k->what == RELU   ? QN_UNARY_RELU
                     : k->what == TANH ? QN_UNARY_TANH
                     : k->what == GELU ? QN_UNARY_GELU
                                       : QN_UNARY_EXP,
                     y, x, n, 0);
        break;
    case RELU_GRAD:
        qn_unary_grad_f32(b->pool, QN_UNARY_RELU, y, x, z, n, 0);
        break;
    case ADD_ROW: {
        qn_bcast shape = qn_bcast_make(dims, 2, shapes, (int[2]){2, 1}, 2);
        qn_binary_f32(b->pool, QN_BINARY_ADD, y, x, stats, &shape);
        break;
    }
    case ADAM:
        qn_adam_f32(b->pool, &(qn_adam){.count = n,
                                        .weight = x,
                                        .first = y,
                                        .second = z,
                                        .grad = w,
                                        .lr = &lr,
                                        .step = &step,
                                        .beta1 = 1,
                                        .beta2 = 1,
                                        .eps = 1e-8f});
        break;
    case SGD:
        qn_sgd_f32(b->pool,
                   &(qn_sgd){.count = n, .weight = x, .grad = w, .lr = &lr, .step = &step});
        break;
    case CROSS_ENTROPY:
        for (int64_t i = 0; i < k->rows; i++)
            labels[i] = i % k->cols;
        qn_cross_entropy_f32(b->pool,
                             &(qn_cross_entropy){.rows = k->rows,
                                                 .classes = k->cols,
                                                 .logits = x,
                                                 .labels = labels,
                                                 .loss = stats,
                                                 .dlogits = y},
                             scratch);
        break;
    case SOFTMAX:
        qn_softmax_f32(b->pool, y, x, k->rows, k->cols);
        break;
    case SUM:
        qn_reduce_f32(b->pool, QN_REDUCE_SUM, stats, x, &(qn_reduce_shape){1, n, 1}, scratch);
        break;
    case COLUMN_SUM:
        qn_reduce_f32(b->pool, QN_REDUCE_SUM, stats, x, &(qn_reduce_shape){1, k->rows, k->cols},
                      scratch);
        break;
    case MAX_POOL:
        qn_max_pool2d_f32(b->pool, &pool, y, w, x);
        break;
    case MAX_POOL_GRAD:
        memset(w, 0, 1);
        qn_max_pool2d_grad_f32(b->pool, &pool, y, x, w);
        break;
    case BATCH_NORM:
        qn_batch_norm_train_f32(b->pool,
                                &(qn_batch_norm){.rows = k->rows,
                                                 .channels = k->cols,
                                                 .x = x,
                                                 .y = y,
                                                 .save_mean = stats,
                                                 .save_rstd = stats + k->cols,
                                                 .eps = 1e-5f},
                                scratch);
        break;
    case DROPOUT:
        qn_dropout_f32(b->pool, y, x, n, &(qn_random_source){.rng = {.seed = 1}}, 0.5f);
        break;
    case PIXELS:
        qn_u8_normalise_f32(b->pool, y, (const uint8_t *)x, n, 1, &lr, &lr);
        break;
    default: {
        qn_strided shape = {.rank = 2,
                            .dim = {k->cols, k->rows},
                            .dst_stride = {k->rows, 1},
                            .src_stride = {1, k->cols}};
        qn_copy_strided(b->pool, y, x, &shape, 4);
    }
    }
}

static void bench_plain(bench *b)
{
    static const plain_case cases[] = {
        {32, 128, RELU},         {1, 1 << 20, RELU},
        {32, 128, RELU_GRAD},    {1, 1 << 20, RELU_GRAD},
        {1, 1 << 18, TANH},      {1, 1 << 18, GELU},
        {1, 1 << 18, EXP},       {32, 128, ADD_ROW},
        {25088, 32, ADD_ROW},    {1, 7850, ADAM},
        {1, 101770, ADAM},       {1, 421642, ADAM},
        {1, 7850, SGD},          {1, 101770, SGD},
        {32, 10, CROSS_ENTROPY}, {256, 1000, CROSS_ENTROPY},
        {256, 768, SOFTMAX},     {1, 1 << 20, SUM},
        {32, 128, COLUMN_SUM},   {25088, 32, COLUMN_SUM},
        {25088, 32, MAX_POOL},   {25088, 32, MAX_POOL_GRAD},
        {25088, 32, BATCH_NORM}, {1, 1 << 18, DROPOUT},
        {32, 784, PIXELS},       {1000, 1000, TRANSPOSE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        plain_case k = cases[i];
        char name[80];
        snprintf(name, sizeof name, "%s_%dx%d", plain_names[k.what], (int)k.rows, (int)k.cols);
        report(b, name, run_plain, &k, 0, (double)(k.rows * k.cols) * plain_floats[k.what] * 4);
    }
}

static volatile float sink;

static void run_peak(bench *b, void *context)
{
    (void)b;
    (void)context;
    sink = fma_chains(10000);
}

int main(int argc, char **argv)
{
    bench b = {.threads = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 1,
               .filter = argc > 2 ? argv[2] : NULL,
               .arena_size = (size_t)160 << 20};
    if (qn_pool_create(b.threads, &b.pool, NULL) != QN_OK)
        return 1;
    qn_flush_denormals();
    b.arena = aligned_alloc(64, b.arena_size);
    if (!b.arena)
        return 1;
    for (size_t i = 0; i < b.arena_size / 4; i++)
        ((float *)(void *)b.arena)[i] = (float)(i * 2654435761u % 1000) * 1e-3f - 0.5f;
    double least;
    time_us(&b, run_peak, NULL, &least);
    b.peak = 10000.0 * FLOPS_PER_ROUND / least * 1e-3 * b.threads;
    printf("{\"name\":\"fma_peak\",\"threads\":%d,\"gflops\":%.1f,\"level\":\"%s\"}\n", b.threads,
           b.peak, qn_cpu_level_name(qn_cpu_level()));
    bench_gemm(&b);
    bench_conv(&b);
    bench_plain(&b);
    free(b.arena);
    qn_pool_destroy(b.pool);
    return 0;
}
