/*
 * Averages of a learner's weights: moving them, and putting them in the weights' place.
 */
#include <string.h>

#include "nn/average.h"
#include "train/learner.h"

void qn_learner_average(qn_learner *learner, double share)
{
    *learner->average_share = (float)share;
    qn_plan_run(learner->average_plan, 0);
}

static void swap_bytes(void *a, void *b, size_t size)
{
    char part[4096];
    for (size_t at = 0; at < size; at += sizeof part) {
        size_t count = size - at < sizeof part ? size - at : sizeof part;
        memcpy(part, (char *)a + at, count);
        memcpy((char *)a + at, (char *)b + at, count);
        memcpy((char *)b + at, part, count);
    }
}

void qn_learner_swap_average(qn_learner *learner)
{
    qn_average_swap(learner->inference, learner->state);
}

void qn_average_swap(const qn_graph *model, qn_state *state)
{
    char name[256];
    for (qn_value v = 0; v < qn_graph_values_count(model); v++) {
        if (qn_graph_kind(model, v) != QN_VALUE_STATE)
            continue;
        const char *weight = qn_graph_name(model, v);
        qn_nn_average_name(weight, name, sizeof name);
        const qn_named_tensor *average = qn_state_find(state, name);
        const qn_named_tensor *own = qn_state_find(state, weight);
        if (average && own)
            swap_bytes(own->tensor.data, average->tensor.data, qn_tensor_bytes(&own->tensor));
    }
}
