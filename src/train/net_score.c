/*
 * Loss and accuracy of a net's answers. Losses with their softmax or sigmoid inside are worked out from the answers as they are,
 * probabilities or scores; the others by the loss's own node in a graph over all samples.
 */
#include <math.h>
#include <string.h>

#include "train/loss_probe.h"
#include "train/net_priv.h"

/* -log softmax(scores)[label], and the place of the largest score. */
static double cross_entropy(const float *scores, int64_t classes, int64_t label, bool softmax,
                            int64_t *ret_best)
{
    int64_t best = 0;
    double sum = 0;
    for (int64_t c = 1; c < classes; c++)
        best = scores[c] > scores[best] ? c : best;
    *ret_best = best;
    if (softmax)
        return -log(fmax((double)scores[label], 1e-30));
    for (int64_t c = 0; c < classes; c++)
        sum += exp((double)scores[c] - (double)scores[best]);
    return log(sum) + (double)scores[best] - (double)scores[label];
}

static double binary_entropy(double answer, double target, bool sigmoid)
{
    if (!sigmoid) /* log(1 + exp(x)) - t x without overflow */
        return fmax(answer, 0) + log1p(exp(-fabs(answer))) - target * answer;
    answer = fmin(fmax(answer, 1e-15), 1 - 1e-15);
    return -target * log(answer) - (1 - target) * log1p(-answer);
}

static double pointwise(qn_nn_loss_kind loss, double answer, double target, const char *closing)
{
    double difference = answer - target, size = fabs(difference);
    switch (loss) {
    case QN_NN_LOSS_MSE:
        return difference * difference;
    case QN_NN_LOSS_MAE:
        return size;
    case QN_NN_LOSS_HUBER:
        return size <= 1 ? difference * difference / 2 : size - 0.5;
    default:
        return binary_entropy(answer, target, strcmp(closing, "sigmoid") == 0);
    }
}

static float target_at(const qn_packed_tensor *target, int64_t index)
{
    return target->stored == QN_DTYPE_U8 ? (float)((const uint8_t *)target->data)[index]
                                         : ((const float *)target->data)[index];
}

/* The loss as training computes it, over all answers at once. */
static qn_status loss_by_graph(const qn_nn_loss *loss, const char *closing, const qn_packed *packed,
                               const qn_tensor *answers, double *ret, qn_error *err)
{
    qn_loss_probe probe;
    qn_type type = {answers->dtype, answers->shape};
    qn_status status = qn_loss_probe_open(&probe, loss, closing, &type, err);
    if (status == QN_OK) {
        void *inputs[2] = {NULL, probe.target};
        memcpy(probe.answers, answers->data, qn_tensor_bytes(answers));
        if (probe.target)
            qn_packed_gather(packed, NULL, NULL, 0, packed->rows, inputs);
        *ret = qn_loss_probe_run(&probe);
    }
    qn_loss_probe_close(&probe);
    return status;
}

static qn_evaluation score_labels(const char *closing, const qn_packed *packed,
                                  const float *answers, int64_t classes)
{
    const int64_t *labels = packed->tensors[1].data;
    bool softmax = strcmp(closing, "softmax") == 0;
    double sum = 0, right = 0, rows = (double)packed->rows;
    for (int64_t row = 0; row < packed->rows; row++) {
        int64_t best;
        sum += cross_entropy(answers + row * classes, classes, labels[row], softmax, &best);
        right += best == labels[row];
    }
    return (qn_evaluation){sum / rows, right / rows};
}

/* Numbers on the right side of the middle, as a share. */
static double share_right(const char *closing, const qn_packed *packed, const qn_tensor *answers)
{
    double middle = strcmp(closing, "sigmoid") == 0 ? 0.5 : 0, right = 0;
    int64_t count = qn_shape_count(&answers->shape);
    for (int64_t i = 0; i < count; i++)
        right += ((double)((const float *)answers->data)[i] > middle) ==
                 (target_at(&packed->tensors[1], i) > 0.5F);
    return right / (double)count;
}

qn_status qn_net_score(const qn_nn_loss *loss, const char *closing, const qn_packed *packed,
                       const qn_tensor *answers, qn_evaluation *ret, qn_error *err)
{
    int64_t count = qn_shape_count(&answers->shape);
    const float *numbers = answers->data;
    qn_evaluation score = {0, (double)NAN};
    if (loss->kind == QN_NN_LOSS_CE) {
        *ret = score_labels(closing, packed, numbers, count / packed->rows);
        return QN_OK;
    }
    int64_t scores = answers->shape.dims[answers->shape.rank - 1];
    if (loss->kind < QN_NN_LOSS_CE) {
        for (int64_t i = 0; i < count; i++)
            score.loss += pointwise(loss->kind, (double)numbers[i],
                                    (double)target_at(&packed->tensors[1], i), closing);
        score.loss /= (double)count;
    } else {
        QN_TRY(loss_by_graph(loss, closing, packed, answers, &score.loss, err));
    }
    if (qn_nn_loss_takes_sides(loss->kind, scores))
        score.accuracy = share_right(closing, packed, answers);
    else if (loss->kind == QN_NN_LOSS_FOCAL)
        score.accuracy = score_labels(closing, packed, numbers, scores).accuracy;
    *ret = score;
    return QN_OK;
}
