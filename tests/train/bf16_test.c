/*
 * Training with products of bf16: losses within one hundredth of those of f32 for each kind of network, the same bits
 * for any number of threads, and other bits than f32 gives (so that the option does something).
 */
#include "testing.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "quern/quern.h"

enum { IMAGES = 256, SIDE = 12, KINDS = 4, TOKENS = 3000, VOCAB = 16, THREADS = 4 };

static float images[IMAGES][SIDE][SIDE];
static int32_t labels[IMAGES], tokens[TOKENS];
static const int threads[THREADS] = {1, 2, 3, 8};

/* Bars across, down, both or none, in noise so strong that the loss stays away from 0. */
static void draw_images(void)
{
    qn_rng rng = {.seed = 5};
    for (int i = 0; i < IMAGES; i++) {
        labels[i] = i % KINDS;
        int at = (int)qn_rng_below(rng, (uint64_t)i, SIDE);
        for (int r = 0; r < SIDE; r++)
            for (int c = 0; c < SIDE; c++) {
                bool bar = (labels[i] & 1 && r == at) || (labels[i] & 2 && c == at);
                uint64_t element = (uint64_t)(IMAGES + (i * SIDE + r) * SIDE + c);
                images[i][r][c] = (bar ? 0.5F : 0.0F) + qn_rng_uniform(rng, element);
            }
    }
}

/* Each token follows from the two before it, but for a third that are drawn. */
static void draw_tokens(void)
{
    qn_rng rng = {.seed = 6};
    for (int i = 0; i < TOKENS; i++) {
        bool drawn = i < 2 || qn_rng_below(rng, (uint64_t)i, 3) == 0;
        tokens[i] = drawn ? (int32_t)qn_rng_below(rng, (uint64_t)(TOKENS + i), VOCAB)
                          : (3 * tokens[i - 1] + tokens[i - 2] + 1) % VOCAB;
    }
}

static int setup(void **state)
{
    (void)state;
    draw_images();
    draw_tokens();
    return 0;
}

static int keep_loss(void *context, const qn_epoch *epoch)
{
    *(double *)context = epoch->loss;
    return 0;
}

static qn_net *make_net(bool convolution)
{
    qn_net *net = qn_net_create(QN_INPUT(SIDE, SIDE, 1), NULL);
    if (convolution) {
        qn_net_conv2d(net, 16, 3, QN_RELU, NULL);
        qn_net_max_pool2d(net, 2);
        qn_net_conv2d(net, 24, 3, QN_RELU, NULL);
        qn_net_batch_norm(net);
    }
    qn_net_flatten(net);
    qn_net_dense(net, 48, QN_RELU);
    qn_net_dense(net, KINDS, QN_SOFTMAX);
    return net;
}

static double net_loss(bool convolution, bool bf16, int count)
{
    double loss = NAN;
    qn_error err = {0};
    qn_net *net = make_net(convolution);
    qn_fit_options fit = {.loss = QN_LOSS_CROSS_ENTROPY,
                          .optimizer = qn_adam(0.0005F),
                          .epochs = 6,
                          .threads = count,
                          .bf16 = bf16,
                          .on_epoch = keep_loss,
                          .context = &loss};
    qn_view x = QN_VIEW_OF(&images[0][0][0], IMAGES, SIDE, SIDE, 1);
    assert_ok(qn_net_fit(net, x, QN_VIEW_1D(labels), &fit, &err), &err);
    qn_net_destroy(net);
    return loss;
}

static int keep_report(void *context, const qn_seq_report *report)
{
    *(double *)context = report->loss;
    return 0;
}

static double seq_loss(qn_seq_kind kind, bool bf16, int count)
{
    double loss = NAN;
    qn_error err = {0};
    qn_seq_options options = {
        .kind = kind, .vocab = VOCAB, .context = 16, .width = 32, .layers = 1, .heads = 2};
    qn_seq_fit_options fit = {.optimizer = qn_adamw(0.003F, 0.01F),
                              .steps = 60,
                              .batch = 8,
                              .threads = count,
                              .bf16 = bf16,
                              .on_report = keep_report,
                              .context = &loss};
    qn_seq *seq = qn_seq_create(&options, &err);
    assert_ok(qn_seq_fit(seq, tokens, TOKENS, &fit, &err), &err);
    qn_seq_destroy(seq);
    return loss;
}

typedef double (*train_fn)(int kind, bool bf16, int count);

static double train_net(int kind, bool bf16, int count)
{
    return net_loss(kind == 1, bf16, count);
}

static double train_seq(int kind, bool bf16, int count)
{
    return seq_loss((qn_seq_kind)kind, bf16, count);
}

static void check(train_fn train, int kind, const char *name)
{
    double wide = train(kind, false, 2), narrow = train(kind, true, threads[0]);
    if (!(wide > 0.02) || !(fabs(narrow - wide) <= 0.01 * wide))
        fail_msg("%s: a loss of %.6f in bf16, %.6f in f32", name, narrow, wide);
    assert_true(narrow < wide || narrow > wide);
    for (int i = 1; i < THREADS; i++) {
        double other = train(kind, true, threads[i]);
        assert_memory_equal(&narrow, &other, sizeof narrow);
    }
}

static void networks_learn_as_in_f32(void **state)
{
    (void)state;
    check(train_net, 0, "mlp");
    check(train_net, 1, "cnn");
}

static void sequences_learn_as_in_f32(void **state)
{
    (void)state;
    check(train_seq, QN_SEQ_TRANSFORMER, "transformer");
    check(train_seq, QN_SEQ_LSTM, "lstm");
    check(train_seq, QN_SEQ_GRU, "gru");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_learn_as_in_f32),
        cmocka_unit_test(sequences_learn_as_in_f32),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
