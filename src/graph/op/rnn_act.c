/*
 * Activations of recurrent networks (rnn_act.h). Defaults of alpha and beta are ONNX's.
 */
#include "graph/op/rnn_act.h"

#include <math.h>
#include <string.h>

#include "base/str.h"

static const struct {
    const char *name;
    double alpha, beta;
} kinds[QN_RNN_ACTS] = {
    [QN_RNN_ACT_SIGMOID] = {"sigmoid", 0, 0},
    [QN_RNN_ACT_TANH] = {"tanh", 0, 0},
    [QN_RNN_ACT_RELU] = {"relu", 0, 0},
    [QN_RNN_ACT_AFFINE] = {"affine", 1, 0},
    [QN_RNN_ACT_LEAKY_RELU] = {"leaky_relu", 0.01, 0},
    [QN_RNN_ACT_THRESHOLDED_RELU] = {"thresholded_relu", 1, 0},
    [QN_RNN_ACT_SCALED_TANH] = {"scaled_tanh", 1, 1},
    [QN_RNN_ACT_HARD_SIGMOID] = {"hard_sigmoid", 0.2, 0.5},
    [QN_RNN_ACT_ELU] = {"elu", 1, 0},
    [QN_RNN_ACT_SOFTSIGN] = {"softsign", 0, 0},
    [QN_RNN_ACT_SOFTPLUS] = {"softplus", 0, 0},
};

/* ":0.5" at *at, if it is there; false = no number. */
static bool read_number(const char **at, double *ret)
{
    if (**at != ':')
        return true;
    qn_str number = {*at + 1, strcspn(*at + 1, " :")};
    *at = number.data + number.size;
    return qn_str_to_f64(number, false, ret);
}

/* One word; *at moves behind it. */
static qn_status read_word(const char **at, qn_rnn_act *ret, qn_error *err)
{
    const char *word = *at;
    size_t size = strcspn(word, " "), name = strcspn(word, " :");
    for (int k = 0; k < QN_RNN_ACTS; k++) {
        if (strlen(kinds[k].name) != name || strncmp(word, kinds[k].name, name) != 0)
            continue;
        *ret = (qn_rnn_act){(qn_rnn_act_kind)k, kinds[k].alpha, kinds[k].beta};
        *at = word + name;
        if (read_number(at, &ret->alpha) && read_number(at, &ret->beta) && *at == word + size)
            return QN_OK;
        break;
    }
    QN_FAIL(err, QN_ERR_ARG, "'%.*s' is no activation of a recurrent network", (int)size, word);
}

static int count_words(const char *words)
{
    int count = 0;
    for (const char *at = words + strspn(words, " "); *at; at += strspn(at, " ")) {
        at += strcspn(at, " ");
        count++;
    }
    return count;
}

qn_status qn_rnn_acts_read(const char *words, const char *usual, int64_t dirs,
                           qn_rnn_act ret[2][QN_RNN_ACT_ROLES], qn_error *err)
{
    int roles = count_words(usual), count = count_words(words);
    const char *at = count == 0 ? usual : words;
    if (count != 0 && count != roles && count != roles * dirs)
        QN_FAIL(err, QN_ERR_ARG, "%d activations, expected %d%s", count, roles,
                dirs > 1 ? " or twice as many" : "");
    for (int d = 0; d < 2; d++) {
        if (d > 0 && count != 2 * roles) {
            memcpy(ret[1], ret[0], sizeof ret[1]);
            break;
        }
        for (int role = 0; role < roles; role++) {
            at += strspn(at, " ");
            QN_TRY(read_word(&at, &ret[d][role], err));
        }
    }
    return QN_OK;
}

double qn_rnn_act_apply(const qn_rnn_act *act, double x)
{
    switch (act->kind) {
    case QN_RNN_ACT_SIGMOID:
        return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
    case QN_RNN_ACT_TANH:
        return tanh(x);
    case QN_RNN_ACT_RELU:
        return x <= 0 ? 0 : x; /* NaN stays */
    case QN_RNN_ACT_AFFINE:
        return act->alpha * x + act->beta;
    case QN_RNN_ACT_LEAKY_RELU:
        return x < 0 ? act->alpha * x : x;
    case QN_RNN_ACT_THRESHOLDED_RELU:
        return x < act->alpha ? 0 : x;
    case QN_RNN_ACT_SCALED_TANH:
        return act->alpha * tanh(act->beta * x);
    case QN_RNN_ACT_HARD_SIGMOID:
        x = act->alpha * x + act->beta;
        return x < 0 ? 0 : x > 1 ? 1 : x;
    case QN_RNN_ACT_ELU:
        return x < 0 ? act->alpha * expm1(x) : x;
    case QN_RNN_ACT_SOFTSIGN:
        return x / (1 + fabs(x));
    default:
        return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
    }
}

double qn_rnn_act_slope(const qn_rnn_act *act, double y)
{
    double turn = act->alpha != 0 ? y / act->alpha : 0;
    switch (act->kind) {
    case QN_RNN_ACT_SIGMOID:
        return y * (1 - y);
    case QN_RNN_ACT_TANH:
        return 1 - y * y;
    case QN_RNN_ACT_RELU:
        return y > 0 ? 1 : 0;
    case QN_RNN_ACT_AFFINE:
        return act->alpha;
    case QN_RNN_ACT_LEAKY_RELU:
        return y < 0 ? act->alpha : 1;
    case QN_RNN_ACT_THRESHOLDED_RELU:
        return y != 0 ? 1 : 0;
    case QN_RNN_ACT_SCALED_TANH:
        return act->alpha * act->beta * (1 - turn * turn);
    case QN_RNN_ACT_HARD_SIGMOID:
        return y > 0 && y < 1 ? act->alpha : 0;
    case QN_RNN_ACT_ELU:
        return y < 0 ? y + act->alpha : 1;
    case QN_RNN_ACT_SOFTSIGN:
        return (1 - fabs(y)) * (1 - fabs(y));
    default:
        return 1 - exp(-y); /* y = log(1 + e^x) */
    }
}
