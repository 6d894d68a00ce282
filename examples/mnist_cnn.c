/*
 * The mission's second program: a small convolutional network learns ten kinds of 28x28 images,
 * is saved, loaded again, and asked about the first test images.
 *
 * usage: mnist_cnn [FOLDER [EPOCHS]]     FOLDER holds the four IDX files of MNIST or Fashion-MNIST
 */
#include <quern/quern.h>
#include <stdio.h>
#include <stdlib.h>

static int say_epoch(void *context, const qn_epoch *epoch)
{
    (void)context;
    printf("epoch %d of %d: loss %.4f, accuracy %.4f, %.1f s\n", epoch->epoch, epoch->epochs,
           epoch->loss, epoch->accuracy, epoch->seconds);
    return 0;
}

/* Ten probabilities an image; says the likeliest of each of the first five. */
static qn_status ask(const char *folder, qn_view images, qn_error *err)
{
    float answers[5][10];
    images.dims[0] = 5;

    qn_net *net = qn_net_load(folder, err);
    if (!net)
        return err->code;
    qn_status status = qn_net_predict(net, images, QN_VIEW_OUT(answers), err);
    for (int i = 0; i < 5 && !status; i++) {
        int best = 0;
        for (int k = 1; k < 10; k++)
            best = answers[i][k] > answers[i][best] ? k : best;
        printf("test image %d: %d (%.1f %%)\n", i, best, 100 * (double)answers[i][best]);
    }
    qn_net_destroy(net);
    return status;
}

int main(int argc, char **argv)
{
    const char *folder = argc > 1 ? argv[1] : "/usr/share/datasets/fashion-mnist";
    qn_error err = {0};
    qn_array *images = qn_array_read_images(folder, "train-images-idx3-ubyte", &err);
    qn_array *labels = images ? qn_array_read(folder, "train-labels-idx1-ubyte", &err) : NULL;
    qn_array *test_images =
        labels ? qn_array_read_images(folder, "t10k-images-idx3-ubyte", &err) : NULL;
    qn_array *test_labels =
        test_images ? qn_array_read(folder, "t10k-labels-idx1-ubyte", &err) : NULL;
    qn_net *net = NULL;
    qn_evaluation result;
    int code = 1;
    if (!test_labels)
        goto out;

    net = qn_net_create(QN_INPUT(28, 28, 1), &err);
    qn_net_conv2d(net, 32, 3, QN_RELU, NULL);
    qn_net_max_pool2d(net, 2);
    qn_net_flatten(net);
    qn_net_dense(net, 10, QN_SOFTMAX);
    qn_fit_options fit = {.loss = QN_LOSS_CROSS_ENTROPY,
                          .optimizer = qn_adam(0.001f),
                          .epochs = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 3,
                          .on_epoch = say_epoch};
    if (qn_net_fit(net, qn_array_view(images), qn_array_view(labels), &fit, &err) ||
        qn_net_evaluate(net, qn_array_view(test_images), qn_array_view(test_labels), &result, &err))
        goto out;
    printf("test: loss %.4f, accuracy %.4f\n", result.loss, result.accuracy);
    if (qn_net_save(net, "models/mnist_cnn", &err) ||
        ask("models/mnist_cnn", qn_array_view(test_images), &err))
        goto out;
    code = 0;
out:
    if (code)
        fprintf(stderr, "mnist_cnn: %s%s%s\n", err.where, *err.where ? ": " : "", err.text);
    qn_net_destroy(net);
    qn_array_destroy(images);
    qn_array_destroy(labels);
    qn_array_destroy(test_images);
    qn_array_destroy(test_labels);
    return code;
}
