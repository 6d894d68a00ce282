/*
 * Saves the smallest useful model, the mission's first program trained for 1,000 epochs, for the
 * server benches.
 *
 * usage: tiny_model FOLDER
 */
#include <stdio.h>

#include "quern/quern.h"

int main(int argc, char **argv)
{
    static const float inputs[4][2] = {{1, 2}, {3, 4}, {5, 6}, {7, 8}};
    static const float targets[4][1] = {{1}, {2}, {3}, {4}};
    qn_error err = {0};

    if (argc != 2) {
        fprintf(stderr, "usage: tiny_model FOLDER\n");
        return 2;
    }
    qn_net *net = qn_net_create(QN_INPUT(2), &err);
    qn_net_dense(net, 1, QN_LINEAR);
    qn_fit_options fit = {.loss = QN_LOSS_MSE, .optimizer = qn_sgd(0.01F), .epochs = 1000};
    qn_status status = qn_net_fit(net, QN_VIEW(inputs), QN_VIEW(targets), &fit, &err);
    if (status == QN_OK) {
        status = qn_net_save(net, argv[1], &err);
    }
    if (status != QN_OK) {
        fprintf(stderr, "tiny_model: %s\n", err.text);
    }
    qn_net_destroy(net);
    return status != QN_OK;
}
