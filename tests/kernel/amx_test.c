/*
 * The kernels of AMX as they were compiled, their instructions interpreted where the machine has none, against the same
 * bodies over tiles in plain C: the same bits, for strips, matrix products, convolution, attention and recurrence. That
 * those in plain C are right is for the tests of each family.
 */
#include "kernel_testing.h"

#include "amx_interpreter.h"
#include "kernel/attention/attention.h"
#include "kernel/conv/conv_bf16.h"
#include "kernel/gemm/gemm_bf16_table.h"
#include "kernel/rnn/rnn.h"

/* Tiles are AVX-512's neighbours: their kernels use it, and what packs for them AVX512_BF16. */
static void begin(qn_cpu_level_id least)
{
    if (qn_cpu_level() < least)
        skip();
    amx_interpret();
}

/* Every setup was taken back; and where the machine did not do it itself, something was multiplied. */
static void end(void)
{
    assert_false(amx()->ready);
    assert_true(qn_cpu_level() == QN_CPU_AMX || (amx()->setups > 0 && amx()->products > 0));
}

static guarded pairs_make(int64_t count, uint64_t seed)
{
    guarded wide = guarded_uniform(2 * count, 0, seed, -1, 1), pairs = guarded_make(count, 2);
    qn_pairs_ref.of_f32.line((uint32_t *)(void *)pairs.at, wide.at, 2 * count);
    guarded_free(&wide);
    return pairs;
}

static void assert_same(const guarded *a, const guarded *b)
{
    assert_memory_equal(a->at, b->at, (size_t)a->count * sizeof(float));
}

/* n picks how A lies and what is added. */
static void check_strip(int64_t rows, int cols, int64_t pairs, int n)
{
    int64_t row[40], seg[2] = {0, 0}, step = n % 3 == 0 ? 1 : n % 3 == 1 ? rows : 2;
    int64_t pitch = n % 3 == 1 ? 1 : pairs * step + 1, ldc = cols + n % 2;
    seg[1] = n % 3 == 1 ? pairs * rows : rows * pitch;
    for (int64_t i = 0; i < rows; i++)
        row[i] = (n % 4 == 3 ? i ^ 1 : i) * pitch;
    guarded a = pairs_make(2 * (rows + 1) * (pairs + 1) * (step + 1), 1);
    guarded b = pairs_make(2 * pairs * cols, 2), bias = guarded_uniform(cols, 1, 4, -1, 1);
    guarded want = guarded_uniform(rows * ldc, 3, 3, -1, 1);
    guarded got = guarded_uniform(rows * ldc, 0, 3, -1, 1);
    guarded added = guarded_uniform(rows * ldc, 1, 5, -1, 1);
    qn_strip s = {.rows = rows,
                  .cols = cols,
                  .a = a.at,
                  .row = row,
                  .seg = seg,
                  .segs = 2,
                  .seg_len = pairs,
                  .step = step,
                  .b = b.at,
                  .ldb = cols,
                  .c = want.at,
                  .ldc = ldc,
                  .add = n % 2,
                  .bias = n % 5 < 2 ? bias.at : NULL,
                  .added = n % 5 == 2 ? added.at : NULL,
                  .relu = n % 7 == 1};
    qn_pairs_soft.tile->strip(&s);
    s.c = got.at;
    qn_pairs_amx.tile->strip(&s);
    assert_same(&got, &want);
    guarded *all[] = {&a, &b, &bias, &want, &got, &added};
    for (int i = 0; i < 6; i++)
        guarded_free(all[i]);
}

static void strips_have_the_bits_of_plain_c(void **state)
{
    (void)state;
    static const int sizes[] = {1, 15, 16, 17, 31, 32, 33};
    begin(QN_CPU_AVX512);
    for (int n = 0; n < 3 * 7 * 7 * 7; n++) {
        int64_t rows = sizes[n % 7], pairs = sizes[n / 49 % 7];
        int cols = sizes[n / 7 % 7];
        check_strip(rows, cols + n / 343 * 15, pairs, n);
    }
    end();
}

static void check_product(const qn_gemm *shape, const guarded *a, const guarded *b)
{
    guarded want = guarded_uniform(shape->m * shape->n, 1, 3, -1, 1);
    guarded got = guarded_uniform(shape->m * shape->n, 2, 3, -1, 1);
    const qn_bf16_kernels *const kernels[] = {&qn_bf16_tiles_soft, &qn_bf16_tiles_amx};
    for (int way = 0; way < 2; way++) {
        qn_gemm gemm = *shape;
        gemm.c = way ? got.at : want.at;
        qn_bf16_product product = {&gemm, a->at, b->at, false, true};
        void *scratch = scratch_of(qn_gemm_bf16_scratch_by(kernels[way], &product, 1));
        qn_gemm_bf16_by(kernels[way], NULL, &product, scratch);
        free(scratch);
    }
    assert_same(&got, &want);
    guarded_free(&want);
    guarded_free(&got);
}

static void products_have_the_bits_of_plain_c(void **state)
{
    (void)state;
    static const int sizes[] = {1, 31, 32, 64, 65};
    begin(QN_CPU_AVX512_BF16);
    const int64_t most = (int64_t)65 * 65;
    guarded a = pairs_make(most, 1), b = guarded_uniform(most, 1, 2, -1, 1);
    for (int n = 0; n < 125; n++) {
        qn_gemm g = {.m = sizes[n % 5], .n = sizes[n / 5 % 5], .k = sizes[n / 25], .alpha = 1};
        g.trans_a = n % 3 == 0;
        g.trans_b = n % 4 == 0;
        g.beta = (float)(n % 2);
        g.lda = g.trans_a ? g.m : g.k;
        g.ldb = g.trans_b ? g.k : g.n;
        g.ldc = g.n;
        check_product(&g, &a, &b);
    }
    guarded_free(&a);
    guarded_free(&b);
    end();
}

/* Halves as convolution reads them. */
static const uint16_t *halves(const guarded *pairs)
{
    return (const uint16_t *)(const void *)pairs->at;
}

static void convolve(const qn_pairs_kernels *pairs, const qn_conv2d *c, const guarded in[3],
                     guarded out[4])
{
    void *scratch = scratch_of(qn_conv2d_bf16_forward_scratch_bytes(pairs, c, 1));
    qn_conv2d_bf16_forward io = {
        .x = halves(&in[0]), .weight = halves(&in[1]), .y = out[0].at, .act = QN_ACT_RELU};
    qn_conv2d_bf16(pairs, NULL, c, &io, scratch);
    free(scratch);
    scratch = scratch_of(qn_conv2d_bf16_grad_x_scratch_bytes(pairs, c, 1));
    io = (qn_conv2d_bf16_forward){.x = halves(&in[2]), .weight = halves(&in[1]), .y = out[1].at};
    qn_conv2d_transposed_bf16(pairs, NULL, c, &io, scratch);
    free(scratch);
    scratch = scratch_of(qn_conv2d_bf16_grad_w_scratch_bytes(pairs, c, 1));
    qn_conv2d_bf16_grad_w to_w = {out[2].at, out[3].at, halves(&in[0]), halves(&in[2])};
    qn_conv2d_grad_w_bf16(pairs, NULL, c, &to_w, scratch);
    free(scratch);
}

static void check_convolution(const qn_conv2d *c)
{
    int64_t xs = c->n * c->h * c->w * c->cin, ys = c->n * c->oh * c->ow * c->cout,
            ws = c->kh * c->kw * c->cin * c->cout;
    const int64_t in_counts[] = {xs, ws, ys}, out_counts[] = {ys, xs, ws, c->cout};
    guarded in[3], out[2][4];
    for (int i = 0; i < 3; i++)
        in[i] = pairs_make((in_counts[i] + 1) / 2, (uint64_t)i);
    for (int way = 0; way < 2; way++) {
        for (int i = 0; i < 4; i++)
            out[way][i] = guarded_make(out_counts[i], i);
        convolve(way ? &qn_pairs_amx : &qn_pairs_soft, c, in, out[way]);
    }
    for (int i = 0; i < 4; i++) {
        assert_same(&out[1][i], &out[0][i]);
        guarded_free(&out[0][i]);
        guarded_free(&out[1][i]);
        if (i < 3)
            guarded_free(&in[i]);
    }
}

static void convolution_has_the_bits_of_plain_c(void **state)
{
    (void)state;
    enum { SHAPES = 4, PASSES = 3, SETUPS = SHAPES * PASSES };
    static const int64_t channels[SHAPES][2] = {{3, 32}, {16, 66}, {33, 18}, {70, 130}};
    begin(QN_CPU_AVX512_BF16);
    for (int i = 0; i < SHAPES; i++)
        check_convolution(&(qn_conv2d){.n = 2 + i % 2,
                                       .h = 9,
                                       .w = 18,
                                       .cin = channels[i][0],
                                       .oh = 9,
                                       .ow = 18,
                                       .cout = channels[i][1],
                                       .kh = 3,
                                       .kw = 3,
                                       .stride_h = 1,
                                       .stride_w = 1,
                                       .pad_top = 1,
                                       .pad_left = 1,
                                       .dilation_h = 1,
                                       .dilation_w = 1,
                                       .groups = 1});
    /* tiles are set up once for a thread's piece of work, not for every strip */
    assert_true(qn_cpu_level() == QN_CPU_AMX || amx()->setups == SETUPS);
    end();
}

static void check_attention(const qn_attention *shape)
{
    int64_t count = shape->batch * shape->queries * shape->heads;
    guarded in[4], out[2][5];
    for (int i = 0; i < 4; i++)
        in[i] = guarded_uniform(count * shape->dim, i, (uint64_t)i, -1, 1);
    for (int way = 0; way < 2; way++) {
        guarded *o = out[way];
        for (int i = 0; i < 5; i++)
            o[i] = guarded_uniform(i < 4 ? count * shape->dim : count, i, 9, 0, 0);
        qn_attention io = *shape;
        io.pairs = way ? &qn_pairs_amx : &qn_pairs_soft;
        io.q = in[0].at;
        io.k = in[1].at;
        io.v = in[2].at;
        void *scratch = scratch_of(qn_attention_scratch_bytes(&io, 1));
        qn_attention_f32(NULL, &io, o[0].at, o[4].at, scratch);
        free(scratch);
        scratch = scratch_of(qn_attention_grad_scratch_bytes(&io, 1));
        qn_attention_grad_f32(
            NULL, &io, &(qn_attention_grad){in[3].at, o[0].at, o[4].at, o[1].at, o[2].at, o[3].at},
            scratch);
        free(scratch);
    }
    for (int i = 0; i < 5; i++) {
        assert_same(&out[1][i], &out[0][i]);
        guarded_free(&out[0][i]);
        guarded_free(&out[1][i]);
        if (i < 4)
            guarded_free(&in[i]);
    }
}

static void attention_has_the_bits_of_plain_c(void **state)
{
    (void)state;
    begin(QN_CPU_AVX512_BF16);
    for (int n = 0; n < 4; n++)
        check_attention(&(qn_attention){.batch = 1,
                                        .heads = 2,
                                        .kv_heads = 2,
                                        .queries = n < 2 ? 150 : 33,
                                        .keys = n < 2 ? 150 : 33,
                                        .dim = n % 2 ? 32 : 21,
                                        .value_dim = n % 2 ? 32 : 21,
                                        .scale = 0.2f,
                                        .causal = n < 2});
    end();
}

static void check_recurrence(qn_rnn shape)
{
    enum { IN = 4, OUT = 11 };
    int64_t n = shape.hidden, rows = shape.steps * shape.batch, wide = 4 * n,
            state = shape.batch * n;
    const int64_t in_counts[IN] = {rows * shape.input, wide * shape.input, wide * n, 2 * wide};
    const int64_t out_counts[OUT] = {
        rows * n, state,    state, 5 * rows * n, rows * shape.input, wide * shape.input,
        wide * n, 2 * wide, state, state,        rows * wide};
    guarded in[IN], out[2][OUT];
    for (int i = 0; i < IN; i++)
        in[i] = guarded_uniform(in_counts[i], i, (uint64_t)i, -0.3f, 0.3f);
    qn_pool *pool = pool_of(1);
    for (int way = 0; way < 2; way++) {
        guarded *o = out[way];
        for (int i = 0; i < OUT; i++)
            o[i] = guarded_uniform(out_counts[i], i % 4, 9, 0, 0);
        qn_rnn io = shape;
        io.pairs = way ? &qn_pairs_amx : &qn_pairs_soft;
        io.dirs = 1;
        io.x = in[0].at;
        io.weight = in[1].at;
        io.recurrent = in[2].at;
        io.bias = in[3].at;
        void *scratch = scratch_of(qn_rnn_scratch_bytes(&io, 1));
        qn_rnn_f32(pool, &io, &(qn_rnn_result){o[0].at, o[1].at, o[2].at, o[3].at}, scratch);
        free(scratch);
        scratch = scratch_of(qn_rnn_grad_scratch_bytes(&io, 1));
        qn_rnn_grad grad = {.y = o[0].at,
                            .kept = o[3].at,
                            .dy = o[0].at,
                            .dx = o[4].at,
                            .dweight = o[5].at,
                            .drecurrent = o[6].at,
                            .dbias = o[7].at,
                            .dh0 = o[8].at,
                            .dc0 = o[9].at,
                            .slopes = o[10].at};
        qn_rnn_grad_f32(pool, &io, &grad, scratch);
        free(scratch);
    }
    qn_pool_destroy(pool);
    for (int i = 0; i < OUT; i++) {
        assert_same(&out[1][i], &out[0][i]);
        guarded_free(&out[0][i]);
        guarded_free(&out[1][i]);
        if (i < IN)
            guarded_free(&in[i]);
    }
}

static void recurrence_has_the_bits_of_plain_c(void **state)
{
    (void)state;
    begin(QN_CPU_AVX512_BF16);
    static const qn_rnn_kind kinds[] = {QN_RNN_LSTM, QN_RNN_GRU, QN_RNN_TANH};
    for (int k = 0; k < 3; k++)
        for (int n = 0; n < 2; n++)
            check_recurrence((qn_rnn){.kind = kinds[k],
                                      .steps = 3,
                                      .batch = n ? 32 : 19,
                                      .input = n ? 32 : 37,
                                      .hidden = n ? 64 : 50,
                                      .batch_first = n,
                                      .reset_first = kinds[k] == QN_RNN_GRU && n});
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strips_have_the_bits_of_plain_c),
        cmocka_unit_test(products_have_the_bits_of_plain_c),
        cmocka_unit_test(convolution_has_the_bits_of_plain_c),
        cmocka_unit_test(attention_has_the_bits_of_plain_c),
        cmocka_unit_test(recurrence_has_the_bits_of_plain_c),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
