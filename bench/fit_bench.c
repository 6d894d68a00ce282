/*
 * Times training through the public API, the way a user's own program would run it: qn_net_fit on
 * samples in memory, shuffled, every epoch. bench/run runs it in turn with the same networks in
 * other programs. Not for kernels alone: those are in kernel_bench.c.
 *
 * usage: fit_bench CASE[_bf16] FOLDER THREADS     FOLDER holds MNIST's four IDX files
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "format/idx.h"
#include "os/file.h"
#include "quern/quern.h"

enum { EPOCHS_MAX = 64 };

typedef struct {
    double ended[EPOCHS_MAX]; /* seconds since fit began, by epoch */
    double loss;              /* of the last */
    int count;
} laps;

static int note_epoch(void *context, const qn_epoch *epoch)
{
    laps *seen = context;
    seen->loss = epoch->loss;
    if (seen->count < EPOCHS_MAX) {
        seen->ended[seen->count++] = epoch->seconds;
    }
    return 0;
}

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof(double), compare_doubles);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* The networks. Steps of the first two are timed on 3,200 samples, epochs of the others on all. */
typedef struct {
    const char *name;
    int64_t samples;
    int64_t batch;
    int epochs; /* the first warms up and is not counted, unless it is the only one */
    void (*build)(qn_net *net);
} bench_case;

static void build_linear(qn_net *net)
{
    qn_net_flatten(net);
    qn_net_dense(net, 10, QN_SOFTMAX);
}

static void build_mlp(qn_net *net)
{
    qn_net_flatten(net);
    qn_net_dense(net, 128, QN_RELU);
    qn_net_dense(net, 10, QN_SOFTMAX);
}

static void build_cnn(qn_net *net)
{
    qn_net_conv2d(net, 32, 3, QN_RELU, NULL);
    qn_net_max_pool2d(net, 2);
    qn_net_flatten(net);
    qn_net_dense(net, 10, QN_SOFTMAX);
}

static void build_cnn_deep(qn_net *net)
{
    const qn_conv_options same = {.same = true};
    qn_net_conv2d(net, 32, 3, QN_RELU, &same);
    qn_net_max_pool2d(net, 2);
    qn_net_conv2d(net, 64, 3, QN_RELU, &same);
    qn_net_max_pool2d(net, 2);
    qn_net_flatten(net);
    qn_net_dense(net, 128, QN_RELU);
    qn_net_dense(net, 10, QN_SOFTMAX);
}

static const bench_case cases[] = {
    {"linear", 3200, 32, 40, build_linear},     {"mlp", 3200, 32, 40, build_mlp},
    {"cnn", 60000, 32, 1, build_cnn},           {"cnn128", 60000, 128, 1, build_cnn},
    {"cnn_deep", 60000, 32, 1, build_cnn_deep}, {"cnn_deep128", 60000, 128, 1, build_cnn_deep},
};

static qn_status read_idx(const char *folder, const char *name, qn_arena *arena, qn_tensor *ret,
                          qn_error *err)
{
    const char *path = qn_arena_printf(arena, "%s/%s", folder, name);
    qn_str bytes;
    qn_status status = qn_file_read(path, 0, arena, &bytes, err);
    return status != QN_OK ? status : qn_idx_read(bytes, path, 0, arena, ret, err);
}

static qn_status run(const bench_case *chosen, const char *folder, int threads, bool bf16,
                     qn_arena *arena, qn_error *err)
{
    qn_tensor images;
    qn_tensor labels;
    qn_status status = read_idx(folder, "train-images-idx3-ubyte.gz", arena, &images, err);
    if (status == QN_OK) {
        status = read_idx(folder, "train-labels-idx1-ubyte.gz", arena, &labels, err);
    }
    if (status != QN_OK) {
        return status;
    }
    int64_t pixels = chosen->samples * 784;
    float *inputs = qn_arena_zero(arena, pixels, sizeof(float));
    for (int64_t i = 0; i < pixels; i++) {
        inputs[i] = (float)((const uint8_t *)images.data)[i] / 255.0F;
    }
    laps seen = {.count = 0};
    qn_net *net = qn_net_create(QN_INPUT(28, 28, 1), err);
    chosen->build(net);
    qn_fit_options fit = {.loss = QN_LOSS_CROSS_ENTROPY,
                          .optimizer = qn_adam(0.001F),
                          .epochs = chosen->epochs,
                          .batch = chosen->batch,
                          .threads = threads,
                          .bf16 = bf16,
                          .on_epoch = note_epoch,
                          .context = &seen};
    qn_view targets = QN_VIEW_OF((const uint8_t *)labels.data, chosen->samples);
    status = qn_net_fit(net, QN_VIEW_OF(inputs, chosen->samples, 28, 28, 1), targets, &fit, err);
    qn_net_destroy(net);
    if (status != QN_OK) {
        return status;
    }
    double each[EPOCHS_MAX];
    int count = 0;
    for (int i = seen.count > 1 ? 1 : 0; i < seen.count; i++) {
        each[count++] = seen.ended[i] - (i ? seen.ended[i - 1] : 0);
    }
    double epoch_s = median(each, count);
    printf("{\"case\": \"%s\", \"epoch_s\": %.6f, \"step_us\": %.3f, \"loss\": %.6f, "
           "\"version\": \"%s\"}\n",
           chosen->name, epoch_s, epoch_s * 1e6 / ((double)chosen->samples / (double)chosen->batch),
           seen.loss, QN_VERSION);
    return QN_OK;
}

/* A case and its precision: "NAME" or "NAME_bf16". */
static bool case_is(const char *word, const char *name, bool *ret_bf16)
{
    size_t size = strlen(name);
    *ret_bf16 = strncmp(word, name, size) == 0 && strcmp(word + size, "_bf16") == 0;
    return *ret_bf16 || strcmp(word, name) == 0;
}

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 4 && i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool bf16;
        if (!case_is(argv[1], cases[i].name, &bf16)) {
            continue;
        }
        qn_error err = {0};
        qn_arena load;
        qn_arena_init(&load, 0);
        qn_status status =
            run(&cases[i], argv[2], (int)strtol(argv[3], NULL, 10), bf16, &load, &err);
        qn_arena_deinit(&load);
        if (status != QN_OK) {
            fprintf(stderr, "fit_bench: %s\n", err.text);
        }
        return status != QN_OK;
    }
    fprintf(stderr, "usage: fit_bench linear|mlp|cnn[128]|cnn_deep[128][_bf16] FOLDER THREADS\n");
    return 2;
}
