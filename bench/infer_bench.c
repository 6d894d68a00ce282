/*
 * Times answers through the public API: qn_net_predict on samples in memory, weights as they are
 * initialised. bench/run runs it in turn with the same networks in other programs.
 *
 * usage: infer_bench CASE ROWS     CASE: cnn (28x28x1) or resnet18 (224x224x3)
 * Prints one line of JSON: microseconds of a call, the median of those in a second.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/clock.h"
#include "quern/quern.h"

enum { LAPS_MAX = 20000, LAPS_MIN = 5, WARM = 3 };
static const int64_t TIME_NS = 1500000000;

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static qn_net *build_cnn(qn_error *err)
{
    const qn_conv_options same = {.same = true};
    qn_net *net = qn_net_create(QN_INPUT(28, 28, 1), err);
    qn_net_conv2d(net, 32, 3, QN_RELU, &same);
    qn_net_max_pool2d(net, 2);
    qn_net_conv2d(net, 64, 3, QN_RELU, &same);
    qn_net_max_pool2d(net, 2);
    qn_net_flatten(net);
    qn_net_dense(net, 128, QN_RELU);
    qn_net_dense(net, 10, QN_LINEAR);
    return net;
}

static void add_conv(qn_net *net, int filters, int kernel, int stride)
{
    char text[128];
    snprintf(text, sizeof text,
             "{\"filters\": %d, \"kernel\": %d, \"stride\": %d, \"padding\": %d, \"bias\": false}",
             filters, kernel, stride, kernel / 2);
    qn_net_layer(net, "conv2d", text);
    qn_net_batch_norm(net);
}

static qn_net *build_resnet18(qn_error *err)
{
    qn_net *net = qn_net_create(QN_INPUT(224, 224, 3), err);
    add_conv(net, 64, 7, 2);
    qn_net_layer(net, "activation", "{\"name\": \"relu\"}");
    qn_net_layer(net, "max_pool2d", "{\"size\": 3, \"stride\": 2, \"padding\": 1}");
    for (int block = 0; block < 8; block++) {
        int filters = 64 << block / 2, stride = block > 0 && block % 2 == 0 ? 2 : 1;
        qn_net_residual_begin(net);
        add_conv(net, filters, 3, stride);
        qn_net_layer(net, "activation", "{\"name\": \"relu\"}");
        add_conv(net, filters, 3, 1);
        if (stride == 2) {
            qn_net_shortcut(net);
            add_conv(net, filters, 1, 2);
        }
        qn_net_residual_end(net, QN_RELU);
    }
    qn_net_layer(net, "global_avg_pool2d", NULL);
    qn_net_dense(net, 1000, QN_LINEAR);
    return net;
}

/* Microseconds of one call, or less than 0. */
static double time_calls(qn_net *net, qn_view inputs, qn_view_out outputs, qn_error *err)
{
    static double laps[LAPS_MAX];
    int count = 0;
    for (int i = 0; i < WARM; i++)
        if (qn_net_predict(net, inputs, outputs, err) != QN_OK)
            return -1;
    int64_t began = qn_now_ns();
    while (count < LAPS_MIN || (count < LAPS_MAX && qn_now_ns() - began < TIME_NS)) {
        int64_t lap = qn_now_ns();
        if (qn_net_predict(net, inputs, outputs, err) != QN_OK)
            return -1;
        laps[count++] = (double)(qn_now_ns() - lap) / 1e3;
    }
    qsort(laps, (size_t)count, sizeof *laps, compare_doubles);
    return laps[count / 2];
}

int main(int argc, char **argv)
{
    qn_error err = {0};
    bool cnn = argc == 3 && strcmp(argv[1], "cnn") == 0;
    int64_t rows = argc == 3 ? strtol(argv[2], NULL, 10) : 0;
    if (argc != 3 || rows < 1 || rows > 4096 || (!cnn && strcmp(argv[1], "resnet18") != 0)) {
        fprintf(stderr, "usage: infer_bench cnn|resnet18 ROWS\n");
        return 2;
    }
    int64_t side = cnn ? 28 : 224, channels = cnn ? 1 : 3, classes = cnn ? 10 : 1000;
    size_t numbers = (size_t)(rows * side * side * channels);
    float *x = calloc(numbers, sizeof *x), *y = calloc((size_t)(rows * classes), sizeof *y);
    qn_net *net = cnn ? build_cnn(&err) : build_resnet18(&err);
    double us = -1;
    if (x && y) {
        for (size_t i = 0; i < numbers; i++)
            x[i] = (float)(i * 2654435761u % 1000) / 500 - 1;
        us = time_calls(net, QN_VIEW_OF(x, rows, side, side, channels),
                        QN_VIEW_OUT_OF(y, rows, classes), &err);
    }
    if (us < 0)
        fprintf(stderr, "infer_bench: %s\n", err.text);
    else
        printf("{\"case\": \"%s\", \"rows\": %lld, \"call_us\": %.3f, \"version\": \"%s\"}\n",
               argv[1], (long long)rows, us, QN_VERSION);
    qn_net_destroy(net);
    free(x);
    free(y);
    return us < 0;
}
