/* Networks against PyTorch: logits, loss, every gradient, ten optimiser steps (golden.h, golden.py). */
#include "golden.h"

#include "nn/transformer.h"

static void a_convolutional_network_is_pytorchs(void **unused)
{
    (void)unused;
    golden_check("cnn", NULL);
    golden_check("resnet", NULL);
    golden_check("one_dimension", NULL);
}

static void stacked_and_bidirectional_lstm_are_pytorchs(void **unused)
{
    (void)unused;
    golden_check("lstm", NULL);
}

static void gru_and_rnn_are_pytorchs(void **unused)
{
    (void)unused;
    golden_check("gru", NULL);
    golden_check("gru_reset_first", NULL);
    golden_check("rnn", NULL);
}

static void encoders_of_both_orders_are_pytorchs(void **unused)
{
    (void)unused;
    golden_check("encoder_pre", NULL);
    golden_check("encoder_post", NULL);
}

static void masks_beginnings_and_unpooling_are_pytorchs(void **unused)
{
    (void)unused;
    golden_check("masked", NULL);
    golden_check("initial", NULL);
    golden_check("unpool", NULL);
}

static void choices_and_their_numbers_are_pytorchs(void **unused)
{
    (void)unused;
    golden_check("chosen", NULL);
}

static qn_value dense(qn_graph *graph, const char *name, qn_value x, int64_t units)
{
    qn_nn_scope at = {.graph = graph, .name = name};
    return qn_nn_dense(&at, x, &(qn_nn_dense_options){.units = units});
}

static qn_value decode(qn_graph *graph, qn_value x, qn_value memory, qn_value lengths,
                       const qn_nn_transformer_options *options)
{
    qn_nn_scope at = {.graph = graph, .name = "decoder"};
    qn_nn_memory source = {memory, lengths, QN_NONE};
    x = dense(graph, "first", x, 8);
    x = qn_nn_transformer_decoder(&at, x, &source, NULL, options);
    return dense(graph, "head", x, 3);
}

/* input, memory, lengths */
static qn_value build_decoder(const golden_case *golden, qn_graph *graph, const qn_value *inputs)
{
    (void)golden;
    qn_nn_transformer_options options = {.attention = {.heads = 2},
                                         .blocks = 2,
                                         .units = 12,
                                         .activation = "relu",
                                         .post_norm = true};
    return decode(graph, inputs[0], inputs[1], inputs[2], &options);
}

/* source, input, lengths */
static qn_value build_both(const golden_case *golden, qn_graph *graph, const qn_value *inputs)
{
    (void)golden;
    qn_nn_scope at = {.graph = graph, .name = "encoder"};
    qn_nn_transformer_options options = {.attention = {.heads = 2}, .blocks = 1, .units = 12};
    qn_value source = dense(graph, "source", inputs[0], 8);
    qn_value memory = qn_nn_transformer(&at, source, inputs[2], &options);
    options.blocks = 2;
    return decode(graph, inputs[1], memory, inputs[2], &options);
}

static void decoders_are_pytorchs(void **unused)
{
    (void)unused;
    golden_check("decoder", build_decoder);
    golden_check("encoder_decoder", build_both);
}

static void ten_steps_of_every_optimizer_are_pytorchs(void **unused)
{
    (void)unused;
    static const char *const cases[] = {"optimizer_adagrad",
                                        "optimizer_rmsprop",
                                        "optimizer_rmsprop_momentum",
                                        "optimizer_rmsprop_centered",
                                        "optimizer_adadelta",
                                        "optimizer_nadam",
                                        "optimizer_lion",
                                        "optimizer_lamb",
                                        "optimizer_adafactor",
                                        "optimizer_muon",
                                        "optimizer_muon_original"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        golden_check(cases[i], NULL);
}

static void reparametrised_weights_are_pytorchs(void **unused)
{
    (void)unused;
    golden_check("weight_norm", NULL);
    golden_check("spectral_norm", NULL);
    golden_check("weight_norm_sequence", NULL);
    golden_check("spectral_norm_sequence", NULL);
}

static void every_loss_is_pytorchs(void **unused)
{
    (void)unused;
    static const char *const cases[] = {"loss_kl",      "loss_hinge",    "loss_squared_hinge",
                                        "loss_poisson", "loss_quantile", "loss_cosine",
                                        "loss_triplet", "loss_ctc"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        golden_check(cases[i], NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_convolutional_network_is_pytorchs),
        cmocka_unit_test(stacked_and_bidirectional_lstm_are_pytorchs),
        cmocka_unit_test(gru_and_rnn_are_pytorchs),
        cmocka_unit_test(encoders_of_both_orders_are_pytorchs),
        cmocka_unit_test(masks_beginnings_and_unpooling_are_pytorchs),
        cmocka_unit_test(choices_and_their_numbers_are_pytorchs),
        cmocka_unit_test(decoders_are_pytorchs),
        cmocka_unit_test(ten_steps_of_every_optimizer_are_pytorchs),
        cmocka_unit_test(every_loss_is_pytorchs),
        cmocka_unit_test(reparametrised_weights_are_pytorchs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
