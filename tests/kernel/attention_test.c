/*
 * Attention at every level against double precision: sizes around the blocks, shared heads, windows, masks, lengths;
 * and the same bits for any number of threads. Each number has a bound of its own, carried along with it in f64. By pairs of
 * bf16, tiles in plain C among them, the factors are such numbers, and what the kernel itself rounds (weights and their slopes,
 * by 2^-8) is in the bound.
 */
#include "kernel_testing.h"

#include "kernel/attention/attention.h"
#include "kernel/half/half.h"

/* What a case has beside its sizes. */
enum { LENGTHS = 1, STARTS = 2, SLOPES = 4 };

typedef struct {
    guarded q, k, v, dy, y, lse, dq, dk, dv, bias;
    uint8_t *allowed;
    int64_t lengths[4], starts[4];
    float slopes[4];
    qn_attention io;
} bench;

static bench bench_make(qn_attention io, int masks)
{
    int64_t q = io.batch * io.queries * io.heads, k = io.batch * io.keys * io.kv_heads;
    int64_t pairs = io.batch * io.heads * io.queries * io.keys;
    bench b = {.q = guarded_uniform(q * io.dim, 1, 1, -1, 1),
               .k = guarded_uniform(k * io.dim, 2, 2, -1, 1),
               .v = guarded_uniform(k * io.value_dim, 3, 3, -1, 1),
               .dy = guarded_uniform(q * io.value_dim, 0, 4, -1, 1),
               .y = guarded_make(q * io.value_dim, 1),
               .lse = guarded_make(q, 2),
               .dq = guarded_make(q * io.dim, 3),
               .dk = guarded_make(k * io.dim, 1),
               .dv = guarded_make(k * io.value_dim, 2),
               .bias = guarded_uniform(pairs, 1, 5, -3, 3),
               .lengths = {io.keys, 0, io.keys / 2, io.keys + 7},
               .starts = {3, 0, io.keys - 1, 2 * io.keys},
               .slopes = {0.5f, 0.25f, 0.125f, 0.0625f}};
    b.allowed = calloc((size_t)pairs + 1, 1);
    for (int64_t i = 0; i < pairs; i++)
        b.allowed[i] = qn_rng_u32((qn_rng){.seed = 6}, (uint64_t)i) % 3 > 0;
    io.q = b.q.at;
    io.k = b.k.at;
    io.v = b.v.at;
    io.mask_head = io.queries * io.keys;
    io.mask_batch = io.mask_head * io.heads;
    io.bias = masks == 1 ? b.bias.at : NULL;
    io.allowed = masks == 2 ? b.allowed : NULL;
    b.io = io;
    return b;
}

/* NaN in keys and values beyond a row's length. */
static void poison(bench *b, int64_t n)
{
    const qn_attention *io = &b->io;
    for (int64_t j = b->lengths[n]; j < io->keys; j++) {
        int64_t row = (n * io->keys + j) * io->kv_heads;
        for (int64_t i = 0; i < io->kv_heads * io->dim; i++)
            b->k.at[row * io->dim + i] = NAN;
        for (int64_t i = 0; i < io->kv_heads * io->value_dim; i++)
            b->v.at[row * io->value_dim + i] = NAN;
    }
}

/* Rounds the factors; those of `halves` are put as bf16 into `store`, which the run reads. */
static const float *narrowed(guarded *g, bool half, uint16_t *store)
{
    qn_f32_round_bf16(NULL, g->at, g->at, g->count);
    qn_bf16_of_f32(NULL, store, g->at, g->count);
    return half ? (const float *)(const void *)store : g->at;
}

static void bench_run(bench *b, unsigned given, qn_pool *pool, int threads)
{
    b->io.lengths = given & LENGTHS ? b->lengths : NULL;
    b->io.starts = given & STARTS ? b->starts : NULL;
    b->io.slopes = given & SLOPES ? b->slopes : NULL;
    for (int64_t n = 0; given & LENGTHS && n < b->io.batch; n++)
        poison(b, n);
    qn_attention io = b->io;
    guarded *factors[4] = {&b->q, &b->k, &b->v, &b->dy};
    uint16_t *store[4];
    const float *seen_at[4];
    for (int f = 0; f < 4; f++) {
        store[f] = calloc((size_t)factors[f]->count + 1, sizeof *store[f]);
        seen_at[f] = io.pairs ? narrowed(factors[f], io.halves >> f & 1, store[f]) : factors[f]->at;
    }
    io.q = seen_at[0];
    io.k = seen_at[1];
    io.v = seen_at[2];
    void *scratch = scratch_of(qn_attention_scratch_bytes(&io, threads));
    qn_attention_f32(pool, &io, b->y.at, b->lse.at, scratch);
    free(scratch);
    scratch = scratch_of(qn_attention_grad_scratch_bytes(&io, threads));
    qn_attention_grad grad = {.dy = seen_at[3],
                              .y = b->y.at,
                              .lse = b->lse.at,
                              .dq = b->dq.at,
                              .dk = b->dk.at,
                              .dv = b->dv.at};
    qn_attention_grad_f32(pool, &io, &grad, scratch);
    free(scratch);
    for (int f = 0; f < 4; f++)
        free(store[f]);
}

static void bench_free(bench *b)
{
    guarded *all[] = {&b->q,   &b->k,  &b->v,  &b->dy, &b->y,
                      &b->lse, &b->dq, &b->dk, &b->dv, &b->bias};
    for (int i = 0; i < 10; i++)
        guarded_free(all[i]);
    free(b->allowed);
}

static bool seen(const qn_attention *io, int64_t n, int64_t h, int64_t row, int64_t j)
{
    int64_t i = row + (io->starts ? io->starts[n] : 0);
    if ((io->lengths && j >= io->lengths[n]) || (io->causal && j > i))
        return false;
    if (io->window > 0 && (i - j >= io->window || j - i >= io->window))
        return false;
    return !io->allowed ||
           io->allowed[n * io->mask_batch + h * io->mask_head + row * io->keys + j] != 0;
}

/*
 * Bounds. A sum of k products in f32 is off by k roundings u of the sum of the absolute products at most, and by 4 sqrt(k) of
 * them but once in a thousand (Higham and Mary 2019: the exception has a probability of 2 exp(-8)), since roundings have
 * either sign. exp and tanh are within 1.5 and 3 ulp, an ulp being up to 2 u.
 */
static const double u = 0x1p-24;
static double chain(int64_t k)
{
    return fmin((double)k, 4 * sqrt((double)k)) * u;
}

/* A number, and how far from it f32 may be. */
typedef struct {
    double value, loose;
} near_number;

/* Score of a pair; -inf where hidden. *ret_slope: of what comes after the product, with how far that may be off. */
static near_number score(const qn_attention *io, int64_t n, int64_t h, int64_t i, int64_t j,
                         near_number *ret_slope)
{
    *ret_slope = (near_number){(double)io->scale, 0};
    if (!seen(io, n, h, i, j))
        return (near_number){-INFINITY, 0};
    const float *q = io->q + ((n * io->queries + i) * io->heads + h) * io->dim;
    int64_t kv = h / (io->heads / io->kv_heads);
    const float *k = io->k + ((n * io->keys + j) * io->kv_heads + kv) * io->dim;
    double s = 0, size = 0;
    for (int64_t d = 0; d < io->dim; d++) {
        s += (double)q[d] * (double)k[d];
        size += fabs((double)q[d] * (double)k[d]);
    }
    s *= (double)io->scale;
    double loose = size * (double)io->scale * (chain(io->dim) + 2 * u);
    if (io->softcap > 0) {
        double cap = (double)io->softcap, turn = tanh(s / cap);
        double off = loose / cap + 8 * u * fabs(turn);
        s = cap * turn;
        loose = cap * off;
        ret_slope->value *= 1 - turn * turn;
        ret_slope->loose = (double)io->scale * (2 * fabs(turn) * off + 2 * u);
    }
    if (io->bias)
        s += (double)io->bias[n * io->mask_batch + h * io->mask_head + i * io->keys + j];
    if (io->slopes)
        s -= (double)io->slopes[h] * fabs((double)(i + (io->starts ? io->starts[n] : 0) - j));
    return (near_number){s, loose + 4 * u * fabs(s)};
}

/* A sum, and how far from it f32 and factors that are rounded on the way may be. */
typedef near_number bounded;

static void add(bounded *to, near_number x, double factor)
{
    to->value += x.value * factor;
    to->loose += x.loose * fabs(factor);
}

static void check_near(float got, bounded want)
{
    if (!(fabs((double)got - want.value) <= want.loose + 0x1p-126))
        fail_msg("%g, want %g within %g", (double)got, want.value, want.loose);
}

/* The softmax of a query: its largest score, and log-sum-exp. */
typedef struct {
    double top;
    near_number lse;
} softened;

static softened soften(const qn_attention *io, int64_t n, int64_t h, int64_t i)
{
    near_number slope;
    double top = -INFINITY, sum = 0, loose = 0;
    for (int64_t j = 0; j < io->keys; j++)
        top = fmax(top, score(io, n, h, i, j, &slope).value);
    for (int64_t j = 0; j < io->keys && top > -1e300; j++) {
        near_number s = score(io, n, h, i, j, &slope);
        double e = exp(s.value - top);
        sum += e;
        loose += e > 0 ? e * (s.loose + u * (top - s.value)) : 0;
    }
    if (!(sum > 0))
        return (softened){top, {-INFINITY, 0}};
    /* each block of keys corrects the sum by an exponential */
    double blocks = 8 * u * (double)(1 + io->keys / 64);
    loose = loose / sum + chain(io->keys) + blocks + u * (4 + 2 * fabs(top) + log(sum));
    return (softened){top, {top + log(sum), loose}};
}

/* The probability of a key, forward and backward. */
static near_number probability(near_number s, const softened *row)
{
    double p = exp(s.value - row->lse.value);
    return (near_number){
        p, p * (s.loose + row->lse.loose + u * (8 + 2 * fabs(s.value - row->lse.value)))};
}

static near_number rounded(near_number x, double unit)
{
    return (near_number){x.value, x.loose + unit * fabs(x.value)};
}

/* One query of one head: checks y, lse and dq; adds to dk and dv. */
static void check_query(const bench *b, int64_t n, int64_t h, int64_t i, bounded *dk, bounded *dv)
{
    const qn_attention *io = &b->io;
    const double unit = io->pairs ? 0x1p-8 : 0, over_keys = chain(io->keys);
    const double over_queries = chain(io->queries * io->heads / io->kv_heads);
    int64_t wide = io->value_dim, kv = h / (io->heads / io->kv_heads);
    int64_t at = (n * io->queries + i) * io->heads + h;
    const float *dy = b->dy.at + at * wide;
    near_number slope, delta = {0};
    bounded y[64] = {0}, dq[128] = {0};
    softened row = soften(io, n, h, i);
    float lse = b->lse.at[(n * io->heads + h) * io->queries + i];
    bool any = isfinite(row.lse.value);
    assert_true(any ? fabs((double)lse - row.lse.value) <= row.lse.loose : isinf(lse) && lse < 0);
    for (int64_t j = 0; j < io->keys && any; j++) {
        near_number p = probability(score(io, n, h, i, j, &slope), &row);
        const float *v = io->v + ((n * io->keys + j) * io->kv_heads + kv) * wide;
        for (int64_t d = 0; d < wide && seen(io, n, h, i, j); d++)
            add(&y[d], rounded(p, unit + over_keys), (double)v[d]);
    }
    for (int64_t d = 0; d < wide; d++) {
        check_near(b->y.at[at * wide + d], y[d]);
        add(&delta, rounded(y[d], chain(wide)), (double)dy[d]);
    }
    for (int64_t j = 0; j < io->keys && any; j++) {
        int64_t place = (n * io->keys + j) * io->kv_heads + kv;
        near_number p = probability(score(io, n, h, i, j, &slope), &row), dp = {0};
        if (!seen(io, n, h, i, j))
            continue;
        for (int64_t d = 0; d < wide; d++) {
            double v = (double)io->v[place * wide + d];
            add(&dp, (near_number){v, fabs(v) * chain(wide)}, (double)dy[d]);
            add(&dv[place * wide + d], rounded(p, unit + over_queries), (double)dy[d]);
        }
        double gap = dp.value - delta.value;
        near_number ds = {p.value * gap * slope.value,
                          p.loose * fabs(gap * slope.value) + p.value * fabs(gap) * slope.loose +
                              p.value * fabs(slope.value) * (dp.loose + delta.loose)};
        ds = rounded(ds, unit + 4 * u);
        for (int64_t d = 0; d < io->dim; d++) {
            add(&dq[d], rounded(ds, over_keys), (double)io->k[place * io->dim + d]);
            add(&dk[place * io->dim + d], rounded(ds, over_queries),
                (double)io->q[at * io->dim + d]);
        }
    }
    for (int64_t d = 0; d < io->dim; d++)
        check_near(b->dq.at[at * io->dim + d], dq[d]);
}

static void check(qn_attention io, int masks, unsigned given, qn_pool *pool)
{
    bench b = bench_make(io, masks);
    bench_run(&b, given, pool, 2);
    int64_t rows = io.batch * io.keys * io.kv_heads;
    bounded *dk = calloc((size_t)(rows * io.dim + 1), sizeof *dk);
    bounded *dv = calloc((size_t)(rows * io.value_dim + 1), sizeof *dv);
    for (int64_t at = 0; at < io.batch * io.heads * io.queries; at++)
        check_query(&b, at / io.queries / io.heads, at / io.queries % io.heads, at % io.queries, dk,
                    dv);
    for (int64_t i = 0; i < rows * io.dim; i++)
        check_near(b.dk.at[i], dk[i]);
    for (int64_t i = 0; i < rows * io.value_dim; i++)
        check_near(b.dv.at[i], dv[i]);
    free(dk);
    free(dv);
    bench_free(&b);
}

static void attention_matches_double(void **state)
{
    (void)state;
    static const struct {
        int64_t batch, heads, kv_heads, queries, keys, dim, value_dim, window;
        bool causal;
        unsigned given;
        int masks;
        float cap;
    } cases[] = {
        {2, 2, 2, 1, 1, 1, 1, 0, false, 0, 0, 0},
        {2, 4, 2, 7, 9, 5, 3, 0, false, 0, 0, 0},
        {1, 2, 1, 64, 128, 16, 16, 0, false, 0, 0, 0},
        {2, 1, 1, 65, 129, 17, 33, 0, true, 0, 0, 0},
        {1, 3, 3, 130, 261, 8, 40, 0, true, 0, 1, 0},
        {4, 2, 1, 70, 140, 32, 32, 0, false, LENGTHS, 0, 0},
        {3, 2, 2, 33, 50, 12, 12, 0, false, LENGTHS, 2, 0},
        {1, 2, 2, 300, 300, 8, 8, 20, true, 0, 0, 0},
        {2, 2, 2, 150, 150, 8, 8, 5, false, LENGTHS, 1, 2},
        {1, 2, 2, 40, 40, 64, 24, 0, true, 0, 2, 1.5f},
        {4, 4, 2, 3, 150, 8, 8, 0, true, STARTS, 0, 0},
        {4, 2, 2, 70, 140, 8, 8, 9, true, STARTS | LENGTHS, 1, 0},
        {4, 4, 2, 70, 140, 8, 8, 0, true, STARTS | SLOPES, 0, 2},
        {2, 4, 2, 33, 50, 8, 8, 0, false, SLOPES, 2, 0},
        {2, 4, 2, 33, 50, 8, 8, 7, false, SLOPES | STARTS, 1, 0},
    };
    FOR_EACH_LEVEL(level)
    {
        qn_pool *pool = pool_of(2);
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
            qn_attention io = {.batch = cases[i].batch,
                               .heads = cases[i].heads,
                               .kv_heads = cases[i].kv_heads,
                               .queries = cases[i].queries,
                               .keys = cases[i].keys,
                               .dim = cases[i].dim,
                               .value_dim = cases[i].value_dim,
                               .scale = 1 / sqrtf((float)cases[i].dim),
                               .softcap = cases[i].cap,
                               .causal = cases[i].causal,
                               .window = cases[i].window};
            check(io, cases[i].masks, cases[i].given, i % 2 ? pool : NULL);
            for (io.pairs = pairs_at(level); io.pairs; io.pairs = pairs_next(io.pairs))
                for (io.halves = (unsigned)(i % 5); io.halves < 16; io.halves += 5)
                    check(io, cases[i].masks, cases[i].given, i % 2 ? pool : NULL);
        }
        qn_pool_destroy(pool);
    }
}

static void attention_gives_the_same_bits_for_any_thread_count(void **state)
{
    (void)state;
    qn_attention io = {.batch = 2,
                       .heads = 4,
                       .kv_heads = 2,
                       .queries = 150,
                       .keys = 150,
                       .dim = 24,
                       .value_dim = 24,
                       .scale = 0.3f,
                       .causal = true};
    const qn_pairs_kernels *const kernels[] = {NULL, &qn_pairs_soft, qn_pairs()};
    for (int i = 0; i < (qn_pairs() ? 3 : 2); i++) {
        io.pairs = kernels[i];
        bench first = bench_make(io, 0);
        for (int p = 0; p < POOLS; p++) {
            qn_pool *pool = pool_of(pool_threads[p]);
            bench b = bench_make(io, 0);
            bench_run(p ? &b : &first, 0, pool, pool_threads[p]);
            if (p) {
                assert_memory_equal(b.y.at, first.y.at, (size_t)b.y.count * sizeof(float));
                assert_memory_equal(b.dq.at, first.dq.at, (size_t)b.dq.count * sizeof(float));
                assert_memory_equal(b.dk.at, first.dk.at, (size_t)b.dk.count * sizeof(float));
                assert_memory_equal(b.dv.at, first.dv.at, (size_t)b.dv.count * sizeof(float));
            }
            bench_free(&b);
            qn_pool_destroy(pool);
        }
        bench_free(&first);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(attention_matches_double, levels_reset),
        cmocka_unit_test_teardown(attention_gives_the_same_bits_for_any_thread_count, levels_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
