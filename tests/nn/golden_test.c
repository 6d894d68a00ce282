/* Networks against PyTorch: logits, loss, every gradient, ten optimiser steps (golden.h, golden.py). */
#include "golden.h"

static void a_convolutional_network_is_pytorchs(void **unused)
{
    (void)unused;
    golden_check("cnn", NULL);
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
    golden_check("rnn", NULL);
}

static void encoders_of_both_orders_are_pytorchs(void **unused)
{
    (void)unused;
    golden_check("encoder_pre", NULL);
    golden_check("encoder_post", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_convolutional_network_is_pytorchs),
        cmocka_unit_test(stacked_and_bidirectional_lstm_are_pytorchs),
        cmocka_unit_test(gru_and_rnn_are_pytorchs),
        cmocka_unit_test(encoders_of_both_orders_are_pytorchs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
