/*
 * Times the kernels on the shapes that matter for training, one JSON line each: name, microseconds (median), GF/s or
 * GB/s, and the fraction of the peak that a loop of independent FMAs reaches on all threads between the samples, so that
 * both meet the same clock and the same neighbours. Usage: kernel_bench [THREADS [FILTER]]
 */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/conv/conv.h"
#include "kernel/conv/conv_bf16.h"
#include "kernel/elementwise/binary.h"
#include "kernel/elementwise/unary.h"
#include "kernel/gemm/gemm.h"
#include "kernel/gemm/gemm_bf16.h"
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

enum { SAMPLES = 31, PEAK_CHUNKS = 16, PEAK_ROUNDS = 10000, PEAK_APART = 16 };
static const double sample_ns = 2e6;

typedef struct {
    qn_pool *pool;
    int threads;
    const char *filter;
    char *arena; /* zeroed once, touched, reused by every case */
    size_t arena_size;
    float *peak_sums; /* [threads][PEAK_CHUNKS][PEAK_APART], at the end of the arena */
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

static void peak_chunk(void *context, int64_t chunk, int worker)
{
    (void)worker;
    ((float *)context)[chunk * PEAK_APART] = fma_chains(PEAK_ROUNDS);
}

/* GF/s of independent FMAs on all threads at once: cores that share a clock or a unit must not promise more than they
 * give together. */
static double sample_peak(bench *b)
{
    int64_t chunks = (int64_t)b->threads * PEAK_CHUNKS, start = bench_now_ns(b);
    qn_pool_run(b->pool, peak_chunk, b->peak_sums, chunks);
    double ns = (double)(bench_now_ns(b) - start);
    return (double)PEAK_ROUNDS * FLOPS_PER_ROUND * (double)chunks / ns;
}

typedef struct {
    double us,
        us_least; /* median, and the quickest, which neighbours on the machine disturb least */
    double peak,
        peak_least; /* what `flops` in those times are of the FMA loop's pace: median of pairs, best of best */
} timing;

/* Samples of about 2 ms each, in turn with the FMA loop. */
static timing time_case(bench *b, bench_fn *fn, void *context, double flops)
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
    double ns[SAMPLES], share[SAMPLES], top = 1;
    for (int s = 0; s < SAMPLES; s++) {
        double peak = flops > 0 ? sample_peak(b) : 1;
        int64_t start = bench_now_ns(b);
        for (int64_t i = 0; i < repeats; i++)
            fn(b, context);
        ns[s] = (double)(bench_now_ns(b) - start) / (double)repeats;
        share[s] = flops / ns[s] / peak;
        top = peak > top ? peak : top;
    }
    qsort(ns, SAMPLES, sizeof *ns, compare_doubles);
    qsort(share, SAMPLES, sizeof *share, compare_doubles);
    return (timing){.us = ns[SAMPLES / 2] / 1000,
                    .us_least = ns[0] / 1000,
                    .peak = share[SAMPLES / 2],
                    .peak_least = flops / ns[0] / top};
}

static void report(bench *b, const char *name, bench_fn *fn, void *context, double flops,
                   double bytes)
{
    if (b->filter && !strstr(name, b->filter))
        return;
    timing t = time_case(b, fn, context, flops);
    printf("{\"name\":\"%s\",\"threads\":%d,\"us\":%.3f,\"us_least\":%.3f", name, b->threads, t.us,
           t.us_least);
    if (flops > 0)
        printf(",\"gflops\":%.1f,\"peak\":%.3f,\"peak_least\":%.3f", flops / t.us * 1e-3, t.peak,
               t.peak_least);
    if (bytes > 0)
        printf(",\"gbytes\":%.1f,\"gbytes_least\":%.1f", bytes / t.us * 1e-3,
               bytes / t.us_least * 1e-3);
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

static void run_gemm_bf16(bench *b, void *context)
{
    qn_gemm *g = context;
    size_t at = 0;
    /* As training has them: weights, and what their gradients are made of, in f32. */
    qn_bf16_product product = {.gemm = g, .wide_b = !g->trans_a, .wide_a = g->trans_a};
    product.a = take(b, &at, (g->m * g->k + 1) / (product.wide_a ? 1 : 2));
    product.b = take(b, &at, (g->n * g->k + 1) / (product.wide_b ? 1 : 2));
    g->c = take(b, &at, g->m * g->n);
    qn_gemm_bf16(b->pool, &product, b->arena + at);
}

static void report_gemm(bench *b, qn_gemm *g)
{
    double flops = 2.0 * (double)g->m * (double)g->n * (double)g->k;
    char sizes[64], name[80];
    snprintf(sizes, sizeof sizes, "%c%c_%dx%dx%d", g->trans_a ? 't' : 'n', g->trans_b ? 't' : 'n',
             (int)g->m, (int)g->n, (int)g->k);
    snprintf(name, sizeof name, "gemm_%s", sizes);
    report(b, name, run_gemm, g, flops, 0);
    snprintf(name, sizeof name, "gemm_bf16_%s", sizes);
    report(b, name, run_gemm_bf16, g, flops, 0);
}

static void bench_gemm(bench *b)
{
    static const struct {
        int64_t m, n, k;
        bool ta, tb;
    } cases[] = {
        {32, 128, 784, 0, 0},
        {32, 10, 784, 0, 0},
        {784, 10, 32, 1, 0},
        {784, 128, 32, 1, 0},
        {32, 784, 128, 0, 1},
        {32, 10, 128, 0, 0},
        {128, 10, 32, 1, 0},
        {32, 128, 10, 0, 1},
        {128, 128, 784, 0, 0},
        {64, 64, 64, 0, 0},
        {128, 128, 128, 0, 0},
        {256, 256, 256, 0, 0},
        {512, 512, 512, 0, 0},
        {512, 512, 512, 0, 1},
        {512, 512, 512, 1, 0},
        {1024, 1024, 1024, 0, 0},
        {1000, 1000, 1000, 0, 0},
        {2048, 2048, 2048, 0, 0},
        {256, 768, 768, 0, 0},
        {256, 3072, 768, 0, 0},
        {32, 3136, 128, 0, 1},
        {32, 128, 3136, 0, 0},
        {3136, 128, 32, 1, 0},
        {1, 1024, 1024, 0, 0},
        {1, 128, 784, 0, 0},
        {8, 4096, 4096, 0, 0},
        {4, 4, 4, 0, 0},
        {16, 16, 16, 0, 0},
        /* an encoder layer's, GPT-2's and a character model's: forward, gradient of x, gradient of the weights */
        {2048, 256, 256, 0, 0},
        {2048, 1024, 256, 0, 0},
        {2048, 256, 1024, 0, 0},
        {2048, 256, 1024, 0, 1},
        {2048, 1024, 256, 0, 1},
        {256, 1024, 2048, 1, 0},
        {1024, 256, 2048, 1, 0},
        {256, 768, 3072, 0, 0},
        {256, 768, 3072, 0, 1},
        {768, 3072, 256, 1, 0},
        {256, 8192, 768, 0, 1},
        {256, 768, 8192, 0, 0},
        {8192, 768, 256, 1, 0},
        {768, 128, 128, 0, 0},
        {768, 512, 128, 0, 0},
        {768, 128, 512, 0, 0},
        {768, 512, 128, 0, 1},
        {128, 512, 768, 1, 0},
        {512, 128, 768, 1, 0},
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
        report_gemm(b, &g);
    }
}

enum { FORWARD, GRAD_X, GRAD_W, FUSED, FUSED_GRAD, PASSES };

typedef struct {
    qn_conv2d c;
    int pass;
    bool bf16;
} conv_case;

/* The floats of the arena as bf16: whatever numbers their halves are. */
static const uint16_t *halves(const float *floats)
{
    return (const uint16_t *)(const void *)floats;
}

typedef struct {
    float *x, *y, *w, *bias, *z, *dx, *dw;
    uint8_t *choice;
    void *scratch;
} conv_buffers;

static void run_conv_bf16(bench *b, const conv_case *k, const conv_buffers *at)
{
    const qn_conv2d *c = &k->c;
    const qn_pairs_kernels *pairs = qn_pairs();
    qn_conv2d_bf16_forward io = {.x = halves(k->pass == GRAD_X ? at->z : at->x),
                                 .weight = halves(at->w),
                                 .bias = k->pass == GRAD_X ? NULL : at->bias,
                                 .y = k->pass == GRAD_X ? at->dx : at->y,
                                 .act = k->pass == FORWARD ? QN_ACT_RELU : QN_ACT_NONE};
    float *dbias = at->dw + c->kh * c->kw * c->cin * c->cout;
    switch (k->pass) {
    case FORWARD:
        qn_conv2d_bf16(pairs, b->pool, c, &io, at->scratch);
        break;
    case GRAD_X:
        qn_conv2d_transposed_bf16(pairs, b->pool, c, &io, at->scratch);
        break;
    case GRAD_W:
        qn_conv2d_grad_w_bf16(pairs, b->pool, c,
                              &(qn_conv2d_bf16_grad_w){at->dw, dbias, halves(at->x), halves(at->z)},
                              at->scratch);
        break;
    case FUSED:
        qn_conv2d_relu_pool_bf16(pairs, b->pool, c, &io, at->choice, at->scratch);
        break;
    default:
        qn_conv2d_relu_pool_grad_bf16(pairs, b->pool, c,
                                      &(qn_conv2d_bf16_pool_grad){.dx = c->cin > 1 ? at->dx : NULL,
                                                                  .dweight = at->dw,
                                                                  .dbias = dbias,
                                                                  .dy = halves(at->z),
                                                                  .x = halves(at->x),
                                                                  .weight = halves(at->w),
                                                                  .y = at->y,
                                                                  .choice = at->choice},
                                      at->scratch);
    }
}

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
    if (k->bf16) {
        run_conv_bf16(b, k, &(conv_buffers){x, y, w, bias, z, dx, dw, choice, scratch});
        return;
    }
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
        qn_conv2d_relu_pool_f32(b->pool, c,
                                &(qn_conv2d_forward){.x = x, .weight = w, .bias = bias, .y = y},
                                choice, scratch);
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

/* Layers of digit readers, then those of a ResNet. */
static const struct {
    int64_t n, size, cin, cout, k, stride, pad;
} conv_cases[] = {
    {32, 28, 1, 32, 3, 1, 0},    {32, 28, 1, 32, 3, 1, 1},  {128, 28, 1, 32, 3, 1, 0},
    {32, 14, 32, 64, 3, 1, 1},   {32, 28, 32, 64, 3, 1, 1}, {128, 14, 32, 64, 3, 1, 1},
    {32, 14, 256, 256, 3, 1, 1}, {8, 224, 3, 64, 7, 2, 3},  {8, 56, 64, 64, 3, 1, 1},
    {8, 56, 64, 128, 3, 2, 1},   {8, 56, 64, 128, 1, 2, 0}, {8, 7, 512, 512, 3, 1, 1},
    {8, 28, 256, 128, 1, 1, 0}};

static conv_case conv_case_of(size_t i)
{
    int64_t size = conv_cases[i].size, k = conv_cases[i].k, pad = conv_cases[i].pad;
    int64_t out = (size + 2 * pad - k) / conv_cases[i].stride + 1;
    return (conv_case){.c = {.n = conv_cases[i].n,
                             .h = size,
                             .w = size,
                             .cin = conv_cases[i].cin,
                             .oh = out,
                             .ow = out,
                             .cout = conv_cases[i].cout,
                             .kh = k,
                             .kw = k,
                             .stride_h = conv_cases[i].stride,
                             .stride_w = conv_cases[i].stride,
                             .pad_top = pad,
                             .pad_left = pad,
                             .dilation_h = 1,
                             .dilation_w = 1,
                             .groups = 1}};
}

/* Whether bf16 has a kernel for it here. */
static bool takes_bf16(const conv_case *k)
{
    static const qn_conv_pass passes[PASSES] = {QN_CONV_FORWARD, QN_CONV_GRAD_X, QN_CONV_GRAD_W,
                                                QN_CONV_FORWARD, QN_CONV_GRAD_W};
    return qn_pairs() && qn_conv2d_bf16_takes(&k->c, passes[k->pass]);
}

static void report_conv(bench *b, conv_case *k)
{
    static const char *const names[PASSES] = {"forward", "grad_x", "grad_w", "relu_pool",
                                              "relu_pool_grad"};
    const qn_conv2d *c = &k->c;
    char name[96];
    snprintf(name, sizeof name, "conv_%s%s_n%d_%dx%d_%d_%d_k%d_s%d_p%d", names[k->pass],
             k->bf16 ? "_bf16" : "", (int)c->n, (int)c->h, (int)c->w, (int)c->cin, (int)c->cout,
             (int)c->kh, (int)c->stride_h, (int)c->pad_top);
    double flops =
        2.0 * (double)(c->n * c->oh * c->ow * c->kh * c->kw) * (double)(c->cin * c->cout);
    report(b, name, run_conv, k, k->pass == FUSED_GRAD && c->cin > 1 ? 2 * flops : flops, 0);
}

static void bench_conv(bench *b)
{
    for (size_t i = 0; i < sizeof conv_cases / sizeof *conv_cases * PASSES; i++) {
        conv_case k = conv_case_of(i / PASSES);
        k.pass = (int)(i % PASSES);
        report_conv(b, &k);
        k.bf16 = takes_bf16(&k);
        if (k.bf16)
            report_conv(b, &k);
    }
}

typedef struct {
    int64_t rows, cols;
} plain_case;

/* Buffers of a case on [rows, cols]; pools take it as 32 images of 28 x 28 with `cols` channels. */
typedef struct {
    int64_t n;
    float *x, *y, *z, *w, *stats;
    int64_t *labels;
    void *scratch;
} plain_room;

static plain_room room_of(bench *b, const plain_case *k)
{
    size_t at = 0;
    plain_room r = {.n = k->rows * k->cols};
    r.x = take(b, &at, r.n);
    r.y = take(b, &at, r.n);
    r.z = take(b, &at, r.n);
    r.w = take(b, &at, r.n);
    r.stats = take(b, &at, 4 * k->cols);
    r.labels = (int64_t *)(void *)take(b, &at, 2 * k->rows);
    r.scratch = b->arena + at;
    return r;
}

#define PLAIN(name, call)                                                                          \
    static void run_##name(bench *b, void *context)                                                \
    {                                                                                              \
        const plain_case *k = context;                                                             \
        plain_room r = room_of(b, k);                                                              \
        call;                                                                                      \
    }

static const float rate = 1e-9f, one = 1;
static const int64_t fifth = 5;

PLAIN(relu, qn_unary_f32(b->pool, QN_UNARY_RELU, r.y, r.x, r.n, 0))
PLAIN(relu_grad, qn_unary_grad_f32(b->pool, QN_UNARY_RELU, r.y, r.x, r.z, r.n, 0))
PLAIN(tanh, qn_unary_f32(b->pool, QN_UNARY_TANH, r.y, r.x, r.n, 0))
PLAIN(gelu, qn_unary_f32(b->pool, QN_UNARY_GELU, r.y, r.x, r.n, 0))
PLAIN(exp, qn_unary_f32(b->pool, QN_UNARY_EXP, r.y, r.x, r.n, 0))
PLAIN(sgd,
      qn_sgd_f32(b->pool,
                 &(qn_sgd){.count = r.n, .weight = r.x, .grad = r.w, .lr = &rate, .step = &fifth}))
PLAIN(softmax, qn_softmax_f32(b->pool, r.y, r.x, k->rows, k->cols))
PLAIN(sum,
      qn_reduce_f32(b->pool, QN_REDUCE_SUM, r.stats, r.x, &(qn_reduce_shape){1, r.n, 1}, r.scratch))
PLAIN(column_sum, qn_reduce_f32(b->pool, QN_REDUCE_SUM, r.stats, r.x,
                                &(qn_reduce_shape){1, k->rows, k->cols}, r.scratch))
PLAIN(dropout,
      qn_dropout_f32(b->pool, r.y, r.x, r.n, &(qn_random_source){.rng = {.seed = 1}}, 0.5f))
PLAIN(pixels, qn_u8_normalise_f32(b->pool, r.y, (const uint8_t *)r.x, r.n, 1, &rate, &one))

static void run_add_row(bench *b, void *context)
{
    const plain_case *k = context;
    plain_room r = room_of(b, k);
    const int64_t dims[2] = {k->rows, k->cols}, row[1] = {k->cols};
    const int64_t *shapes[2] = {dims, row};
    qn_bcast shape = qn_bcast_make(dims, 2, shapes, (int[2]){2, 1}, 2);
    qn_binary_f32(b->pool, QN_BINARY_ADD, r.y, r.x, r.stats, &shape);
}

static void run_adam(bench *b, void *context)
{
    plain_room r = room_of(b, context);
    qn_adam io = {.count = r.n,
                  .weight = r.x,
                  .first = r.y,
                  .second = r.z,
                  .grad = r.w,
                  .lr = &rate,
                  .step = &fifth,
                  .beta1 = 0.9,
                  .beta2 = 0.999,
                  .eps = 1e-8};
    qn_adam_f32(b->pool, &io);
}

static void run_cross_entropy(bench *b, void *context)
{
    const plain_case *k = context;
    plain_room r = room_of(b, k);
    for (int64_t i = 0; i < k->rows; i++)
        r.labels[i] = i % k->cols;
    qn_cross_entropy io = {.rows = k->rows,
                           .classes = k->cols,
                           .logits = r.x,
                           .labels = r.labels,
                           .loss = r.stats,
                           .dlogits = r.y};
    qn_cross_entropy_f32(b->pool, &io, r.scratch);
}

static qn_pool2d halving(int64_t channels)
{
    return (qn_pool2d){.n = 32,
                       .h = 28,
                       .w = 28,
                       .c = channels,
                       .oh = 14,
                       .ow = 14,
                       .kh = 2,
                       .kw = 2,
                       .stride_h = 2,
                       .stride_w = 2,
                       .dilation_h = 1,
                       .dilation_w = 1};
}

static void run_max_pool(bench *b, void *context)
{
    plain_room r = room_of(b, context);
    qn_pool2d shape = halving(((const plain_case *)context)->cols);
    qn_max_pool2d_f32(b->pool, &shape, r.y, r.w, r.x);
}

static void run_max_pool_grad(bench *b, void *context)
{
    plain_room r = room_of(b, context);
    qn_pool2d shape = halving(((const plain_case *)context)->cols);
    qn_max_pool2d_grad_f32(b->pool, &shape, r.y, r.x, r.w);
}

static void run_batch_norm(bench *b, void *context)
{
    const plain_case *k = context;
    plain_room r = room_of(b, k);
    qn_batch_norm io = {.rows = k->rows,
                        .channels = k->cols,
                        .x = r.x,
                        .y = r.y,
                        .save_mean = r.stats,
                        .save_rstd = r.stats + k->cols,
                        .eps = 1e-5f};
    qn_batch_norm_train_f32(b->pool, &io, r.scratch);
}

static void run_transpose(bench *b, void *context)
{
    const plain_case *k = context;
    plain_room r = room_of(b, k);
    qn_strided shape = {.rank = 2,
                        .dim = {k->cols, k->rows},
                        .dst_stride = {k->rows, 1},
                        .src_stride = {1, k->cols}};
    qn_copy_strided(b->pool, r.y, r.x, &shape, sizeof(float));
}

static void bench_plain(bench *b)
{
    static const struct {
        const char *name;
        bench_fn *run;
        double floats; /* read and written for each element */
        plain_case k;
    } cases[] = {
        {"relu", run_relu, 2, {32, 128}},
        {"relu", run_relu, 2, {1, 1 << 20}},
        {"relu_grad", run_relu_grad, 3, {1, 1 << 20}},
        {"tanh", run_tanh, 2, {1, 1 << 18}},
        {"gelu", run_gelu, 2, {1, 1 << 18}},
        {"exp", run_exp, 2, {1, 1 << 18}},
        {"add_row", run_add_row, 2, {32, 128}},
        {"add_row", run_add_row, 2, {25088, 32}},
        {"adam", run_adam, 7, {1, 7850}},
        {"adam", run_adam, 7, {1, 101770}},
        {"adam", run_adam, 7, {1, 421642}},
        {"sgd", run_sgd, 3, {1, 101770}},
        {"cross_entropy", run_cross_entropy, 2, {32, 10}},
        {"cross_entropy", run_cross_entropy, 2, {256, 1000}},
        {"softmax", run_softmax, 2, {256, 768}},
        {"sum", run_sum, 1, {1, 1 << 20}},
        {"column_sum", run_column_sum, 1, {32, 128}},
        {"column_sum", run_column_sum, 1, {25088, 32}},
        {"max_pool_2x2", run_max_pool, 1.3, {25088, 32}},
        {"max_pool_2x2_grad", run_max_pool_grad, 1.3, {25088, 32}},
        {"batch_norm", run_batch_norm, 2, {25088, 32}},
        {"dropout", run_dropout, 2, {1, 1 << 18}},
        {"u8_normalise", run_pixels, 1.25, {32, 784}},
        {"transpose", run_transpose, 2, {1000, 1000}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        plain_case k = cases[i].k;
        char name[80];
        snprintf(name, sizeof name, "%s_%dx%d", cases[i].name, (int)k.rows, (int)k.cols);
        report(b, name, cases[i].run, &k, 0,
               (double)(k.rows * k.cols) * cases[i].floats * sizeof(float));
    }
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
        ((float *)(void *)b.arena)[i] = (float)(i * 2654435761u % 1000) * 1e-3f;
    b.arena_size -= sizeof(float) * PEAK_CHUNKS * PEAK_APART * (size_t)b.threads;
    b.peak_sums = (float *)(void *)(b.arena + b.arena_size);
    double peak = 0;
    for (int i = 0; i < SAMPLES; i++)
        peak = fmax(peak, sample_peak(&b));
    printf("{\"name\":\"fma_peak\",\"threads\":%d,\"gflops\":%.1f,\"level\":\"%s\"}\n", b.threads,
           peak, qn_cpu_level_name(qn_cpu_level()));
    bench_gemm(&b);
    bench_conv(&b);
    bench_plain(&b);
    free(b.arena);
    qn_pool_destroy(b.pool);
    return 0;
}
