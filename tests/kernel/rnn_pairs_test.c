/*
 * Recurrent networks over pairs of bf16, forward and backward, by every set of kernels that runs here, tiles in plain C
 * among them, against the portable kernels of f32 (which rnn_test.c holds against doubles); and the same bits for any
 * number of threads and for a row whatever the batch.
 */
#include "kernel_testing.h"

#include "kernel/rnn/rnn.h"

typedef struct {
    qn_rnn_kind kind;
    int64_t dirs, steps, batch, input, hidden;
    bool batch_first, reverse, ragged, reset_first;
} net;

enum { GIVEN = 10, FOUND = 11 };

/* x, weight, recurrent, bias, h0, c0, dy, dh, dc, and lengths as numbers; then what comes of them. */
typedef struct {
    guarded given[GIVEN], found[FOUND];
    int64_t *lengths;
    qn_rnn io;
} bench;

enum { Y, H, C, KEPT, DX, DWEIGHT, DRECURRENT, DBIAS, DH0, DC0, SLOPES };

static int64_t units(qn_rnn_kind kind, int64_t lstm, int64_t gru)
{
    return kind == QN_RNN_LSTM ? lstm : kind == QN_RNN_GRU ? gru : 1;
}

static void give(bench *b, const net *n)
{
    int64_t gates = units(n->kind, 4, 3) * n->hidden, rows = n->steps * n->batch;
    int64_t state = n->dirs * n->batch * n->hidden;
    const int64_t counts[GIVEN] = {rows * n->input,
                                   n->dirs * gates * n->input,
                                   n->dirs * gates * n->hidden,
                                   2 * n->dirs * gates,
                                   state,
                                   state,
                                   rows * n->dirs * n->hidden,
                                   state,
                                   state,
                                   0};
    for (int i = 0; i < GIVEN; i++) {
        /* Sums of many terms as large as those of few, so that one bound serves all sizes. */
        int64_t depth = i == 1 ? n->input : i == 2 ? n->hidden : 4;
        float most = 0.8f / sqrtf((float)depth);
        b->given[i] = guarded_uniform(counts[i], i % 4, (uint64_t)i, -most, most);
    }
    b->lengths = calloc((size_t)n->batch + 1, sizeof *b->lengths);
    for (int64_t i = 0; i < n->batch; i++)
        b->lengths[i] = i % (n->steps + 2);
    for (int64_t row = 0; n->ragged && row < rows; row++) {
        int64_t t = n->batch_first ? row % n->steps : row / n->batch;
        int64_t at = n->batch_first ? row / n->steps : row % n->batch;
        for (int64_t k = 0; t >= b->lengths[at] && k < n->input; k++)
            b->given[0].at[row * n->input + k] = NAN;
    }
}

static bench bench_run(const net *n, const qn_pairs_kernels *pairs, int threads)
{
    bench b;
    give(&b, n);
    int64_t rows = n->dirs * n->steps * n->batch, state = n->dirs * n->batch * n->hidden;
    const int64_t counts[FOUND] = {rows * n->hidden,
                                   state,
                                   state,
                                   rows * units(n->kind, 5, 4) * n->hidden,
                                   b.given[0].count,
                                   b.given[1].count,
                                   b.given[2].count,
                                   b.given[3].count,
                                   state,
                                   state,
                                   rows * units(n->kind, 4, 4) * n->hidden};
    for (int i = 0; i < FOUND; i++)
        b.found[i] = guarded_uniform(counts[i], 3 - i % 4, 77, 0, 0);
    b.io = (qn_rnn){.kind = n->kind,
                    .dirs = n->dirs,
                    .steps = n->steps,
                    .batch = n->batch,
                    .input = n->input,
                    .hidden = n->hidden,
                    .batch_first = n->batch_first,
                    .reverse = n->reverse,
                    .reset_first = n->reset_first,
                    .pairs = pairs,
                    .ragged = n->ragged,
                    .x = b.given[0].at,
                    .weight = b.given[1].at,
                    .recurrent = b.given[2].at,
                    .bias = b.given[3].at,
                    .h0 = b.given[4].at,
                    .c0 = b.given[5].at,
                    .lengths = n->ragged ? b.lengths : NULL};
    qn_pool *pool = pool_of(threads);
    void *scratch = scratch_of(qn_rnn_scratch_bytes(&b.io, threads));
    qn_rnn_f32(pool, &b.io,
               &(qn_rnn_result){b.found[Y].at, b.found[H].at, b.found[C].at, b.found[KEPT].at},
               scratch);
    free(scratch);
    scratch = scratch_of(qn_rnn_grad_scratch_bytes(&b.io, threads));
    qn_rnn_grad_f32(pool, &b.io,
                    &(qn_rnn_grad){.y = b.found[Y].at,
                                   .kept = b.found[KEPT].at,
                                   .dy = b.given[6].at,
                                   .dh = b.given[7].at,
                                   .dc = b.given[8].at,
                                   .dx = b.found[DX].at,
                                   .dweight = b.found[DWEIGHT].at,
                                   .drecurrent = b.found[DRECURRENT].at,
                                   .dbias = b.found[DBIAS].at,
                                   .dh0 = b.found[DH0].at,
                                   .dc0 = b.found[DC0].at,
                                   .slopes = b.found[SLOPES].at},
                    scratch);
    free(scratch);
    qn_pool_destroy(pool);
    return b;
}

static void bench_free(bench *b)
{
    for (int i = 0; i < GIVEN; i++)
        guarded_free(&b->given[i]);
    for (int i = 0; i < FOUND; i++)
        guarded_free(&b->found[i]);
    free(b->lengths);
}

/* All but what is kept: beyond a row's length that is nothing. */
static const int compared[] = {Y, H, C, DX, DWEIGHT, DRECURRENT, DBIAS, DH0, DC0, SLOPES};
enum { COMPARED = sizeof compared / sizeof *compared };

static void compare(const bench *got, const bench *want, double tolerance)
{
    for (int i = 0; i < COMPARED; i++) {
        const guarded *a = &got->found[compared[i]], *b = &want->found[compared[i]];
        for (int64_t k = 0; k < a->count; k++) {
            double x = (double)a->at[k], y = (double)b->at[k];
            if (!(fabs(x - y) <= tolerance * (1 + fabs(y))))
                fail_msg("kind %d, batch %d, hidden %d: result %d at %d is %.9g, expected %.9g",
                         (int)got->io.kind, (int)got->io.batch, (int)got->io.hidden, compared[i],
                         (int)k, x, y);
        }
    }
}

/* Rows around a tile's, and units so that sums and panels end within tiles, or fill several parts. */
static const net nets[] = {
    {QN_RNN_LSTM, 1, 3, 2, 3, 5, false, false, false, false},
    {QN_RNN_LSTM, 2, 4, 17, 5, 16, true, false, true, false},
    {QN_RNN_LSTM, 1, 3, 33, 200, 80, false, true, true, false},
    {QN_RNN_LSTM, 1, 5, 16, 32, 64, true, false, false, false},
    {QN_RNN_GRU, 2, 3, 265, 2, 3, true, false, true, true},
    {QN_RNN_GRU, 1, 4, 31, 33, 72, false, true, true, false},
    {QN_RNN_GRU, 2, 3, 18, 40, 130, true, false, true, true},
    {QN_RNN_TANH, 2, 4, 17, 5, 48, true, false, true, false},
    {QN_RNN_RELU, 1, 3, 20, 70, 33, false, false, false, false},
};
enum { NETS = sizeof nets / sizeof *nets };

/* A factor in bf16 is off by 2^-8 of itself at most, a product of two by 2^-7; of sums of this size, with gates between that
 * are no steeper than 1, few steps make no more of it than twice that. A unit of relu that changes sides takes all its
 * slope with it. */
static void pairs_match_f32(void **state)
{
    (void)state;
    for (int i = 0; i < NETS; i++) {
        qn_cpu_limit(QN_CPU_PORTABLE);
        bench want = bench_run(&nets[i], NULL, 1);
        FOR_EACH_PAIRS(kernels)
        {
            bench got = bench_run(&nets[i], kernels, 2);
            compare(&got, &want, (nets[i].kind == QN_RNN_RELU ? 16 : 4) * 0x1p-8);
            bench_free(&got);
        }
        bench_free(&want);
    }
}

static void pairs_give_the_same_bits_for_any_thread_count(void **state)
{
    (void)state;
    FOR_EACH_PAIRS(kernels)
    for (int i = 1; i < NETS; i += 3) {
        bench first = bench_run(&nets[i], kernels, 1);
        for (int p = 1; p < POOLS; p++) {
            bench other = bench_run(&nets[i], kernels, pool_threads[p]);
            compare(&other, &first, 0);
            bench_free(&other);
        }
        bench_free(&first);
    }
}

/* The first rows of a batch answer as they do in a smaller one. */
static void a_row_has_the_same_bits_in_any_batch(void **state)
{
    (void)state;
    FOR_EACH_PAIRS(kernels)
    for (int64_t batch = 1; batch <= 16; batch += 5) {
        net n = {QN_RNN_LSTM, 1, 3, 18, 20, 40, true, false, false, false};
        bench all = bench_run(&n, kernels, 1);
        n.batch = batch;
        bench few = bench_run(&n, kernels, 1);
        size_t row = (size_t)(batch * n.steps) * sizeof(float);
        assert_memory_equal(few.found[Y].at, all.found[Y].at, row * (size_t)n.hidden);
        assert_memory_equal(few.found[DX].at, all.found[DX].at, row * (size_t)n.input);
        bench_free(&all);
        bench_free(&few);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(pairs_match_f32, levels_reset),
        cmocka_unit_test_teardown(pairs_give_the_same_bits_for_any_thread_count, levels_reset),
        cmocka_unit_test_teardown(a_row_has_the_same_bits_in_any_batch, levels_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
