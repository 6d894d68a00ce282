/*
 * How weights begin: the variance that keeps a signal's size from layer to layer.
 *
 * Glorot: 2 / (fan_in + fan_out); He: 2 / fan_in, for relu; LeCun: 1 / fan_in. A uniform distribution of that variance
 * reaches to sqrt(3 variance).
 */
#include <math.h>
#include <string.h>

#include "nn/layers.h"

static const char *const names[QN_NN_INIT_COUNT] = {
    "glorot_uniform", "glorot_normal", "he_uniform", "he_normal",
    "lecun_uniform",  "lecun_normal",  "zero",
};

const char *qn_nn_init_name(qn_nn_init init)
{
    return names[init];
}

bool qn_nn_init_find(const char *name, qn_nn_init *ret)
{
    for (int i = 0; i < QN_NN_INIT_COUNT; i++) {
        if (strcmp(names[i], name) == 0) {
            *ret = (qn_nn_init)i;
            return true;
        }
    }
    return false;
}

qn_init qn_nn_init_of(qn_nn_init init, int64_t fan_in, int64_t fan_out)
{
    double in = fan_in > 0 ? (double)fan_in : 1, out = fan_out > 0 ? (double)fan_out : 1;
    double variance = 2 / (in + out);
    if (init == QN_NN_INIT_ZERO)
        return (qn_init){.kind = QN_INIT_ZERO};
    if (init == QN_NN_INIT_HE_UNIFORM || init == QN_NN_INIT_HE_NORMAL)
        variance = 2 / in;
    if (init == QN_NN_INIT_LECUN_UNIFORM || init == QN_NN_INIT_LECUN_NORMAL)
        variance = 1 / in;
    bool uniform = init == QN_NN_INIT_GLOROT_UNIFORM || init == QN_NN_INIT_HE_UNIFORM ||
                   init == QN_NN_INIT_LECUN_UNIFORM;
    if (uniform)
        return (qn_init){.kind = QN_INIT_UNIFORM, .value = sqrt(3 * variance)};
    return (qn_init){.kind = QN_INIT_NORMAL, .value = sqrt(variance)};
}
