/*
 * Losses by themselves: the node that training has, in a graph of its own.
 */
#include "train/loss_probe.h"

#include <string.h>

/* Scores that give these probabilities: logarithms are logits of the same softmax, and their difference of a sigmoid. */
static qn_value scores_of(qn_graph *graph, qn_value x, const char *closing)
{
    qn_attr bounds[] = {QN_ATTR_F("min", 1e-30), QN_ATTR_F("max", 1)};
    bool sigmoid = strcmp(closing, "sigmoid") == 0;
    if (!sigmoid && strcmp(closing, "softmax") != 0)
        return x;
    qn_value yes = qn_graph_op1(graph, "Log", qn_graph_node(graph, "Clip", &x, 1, bounds, 2));
    if (!sigmoid)
        return yes;
    qn_value no = qn_graph_op2(graph, "Sub", qn_graph_scalar(graph, QN_DTYPE_F32, 1), x);
    no = qn_graph_op1(graph, "Log", qn_graph_node(graph, "Clip", &no, 1, bounds, 2));
    return qn_graph_op2(graph, "Sub", yes, no);
}

/* The loss as training computes it. */
static qn_value add_loss(qn_graph *graph, const qn_nn_loss *loss, const qn_type *answers,
                         const char *closing)
{
    qn_value x = qn_graph_input(graph, "answers", answers->dtype, answers->shape);
    qn_value t = QN_NONE;
    if (qn_nn_loss_has_target(loss->kind)) {
        qn_type type = qn_nn_loss_target(loss, answers);
        t = qn_graph_input(graph, "target", type.dtype, type.shape);
    }
    x = scores_of(graph, x, qn_nn_loss_takes_logits(loss->kind) ? closing : "linear");
    qn_value value = qn_nn_loss_add(graph, loss, x, t, QN_NONE);
    if (value != QN_NONE)
        qn_graph_output(graph, "loss", value);
    return value;
}

qn_status qn_loss_probe_open(qn_loss_probe *probe, const qn_nn_loss *loss, const char *closing,
                             const qn_type *answers, qn_error *err)
{
    *probe = (qn_loss_probe){.graph = qn_graph_create()};
    if (!probe->graph)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    (void)add_loss(probe->graph, loss, answers, closing);
    QN_TRY(qn_graph_check(probe->graph, err));
    QN_TRY(qn_state_create(&probe->state, err));
    qn_plan_options options = {.batch = answers->shape.dims[0]};
    QN_TRY(qn_plan_create(probe->graph, probe->state, &options, &probe->plan, err));
    const qn_tensor *target = qn_plan_input(probe->plan, "target");
    probe->answers = qn_plan_input(probe->plan, "answers")->data;
    probe->target = target ? target->data : NULL;
    return QN_OK;
}

double qn_loss_probe_run(qn_loss_probe *probe)
{
    qn_plan_run(probe->plan, 0);
    return qn_tensor_f64_at(qn_plan_output(probe->plan, "loss"), 0);
}

void qn_loss_probe_close(qn_loss_probe *probe)
{
    if (probe->plan)
        qn_plan_destroy(probe->plan);
    if (probe->state)
        qn_state_destroy(probe->state);
    if (probe->graph)
        qn_graph_destroy(probe->graph);
    *probe = (qn_loss_probe){0};
}
