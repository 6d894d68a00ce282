/*
 * The mission's first program: one dense unit learns from four rows that the answer is half the
 * second number.
 */
#include <quern/quern.h>
#include <stdio.h>

int main(void)
{
    static const float inputs[4][2] = {{1, 2}, {3, 4}, {5, 6}, {7, 8}};
    static const float targets[4][1] = {{1}, {2}, {3}, {4}};
    static const float questions[2][2] = {{9, 10}, {11, 12}};
    float answers[2][1];
    qn_error err = {0};

    qn_net *net = qn_net_create(QN_INPUT(2), &err);
    qn_net_dense(net, 1, QN_LINEAR);
    qn_fit_options fit = {.loss = QN_LOSS_MSE, .optimizer = qn_sgd(0.01f), .epochs = 1000};
    if (qn_net_fit(net, QN_VIEW(inputs), QN_VIEW(targets), &fit, &err) ||
        qn_net_predict(net, QN_VIEW(questions), QN_VIEW_OUT(answers), &err)) {
        fprintf(stderr, "linear: %s\n", err.text);
        qn_net_destroy(net);
        return 1;
    }
    printf("%.4f %.4f\n", answers[0][0], answers[1][0]);
    qn_net_destroy(net);
    return 0;
}
