/*
 * Steps over whole data: the learner's loss, gradient and ridge as a function of one flat vector, for L-BFGS (nn/lbfgs.h).
 */
#include <math.h>
#include <string.h>

#include "train/learner_priv.h"

/* The flat vector of L-BFGS is all trainable states that are not frozen, one behind the other. */
typedef struct {
    qn_learner *learner;
    const qn_packed *packed;
    const qn_learner_lbfgs_options *options;
    double *x; /* the best point so far */
    int count;
    const qn_named_tensor **weights; /* [count] */
    const qn_tensor **grads_full, **grads_tail;
} qn_whole;

static void load_point(const qn_whole *whole, const double *x)
{
    for (int i = 0; i < whole->count; i++) {
        const qn_tensor *weight = &whole->weights[i]->tensor;
        float *data = weight->data;
        int64_t count = qn_shape_count(&weight->shape);
        for (int64_t k = 0; k < count; k++)
            data[k] = (float)*x++;
    }
}

static void save_point(const qn_whole *whole, double *x)
{
    for (int i = 0; i < whole->count; i++) {
        const qn_tensor *weight = &whole->weights[i]->tensor;
        const float *data = weight->data;
        int64_t count = qn_shape_count(&weight->shape);
        for (int64_t k = 0; k < count; k++)
            *x++ = (double)data[k];
    }
}

static void add_gradients(const qn_whole *whole, const qn_tensor **grads, double share,
                          double *grad)
{
    for (int i = 0; i < whole->count; i++) {
        const float *data = grads[i]->data;
        int64_t count = qn_shape_count(&grads[i]->shape);
        for (int64_t k = 0; k < count; k++)
            *grad++ += share * (double)data[k];
    }
}

static double add_penalty(const qn_whole *whole, const double *x, double *grad)
{
    double l2 = whole->options->l2, sum = 0;
    for (int i = 0; i < whole->count; i++) {
        const qn_shape *shape = &whole->weights[i]->tensor.shape;
        int64_t count = qn_shape_count(shape);
        for (int64_t k = 0; shape->rank >= 2 && k < count; k++) {
            sum += x[k] * x[k];
            grad[k] += l2 * x[k];
        }
        x += count;
        grad += count;
    }
    return 0.5 * l2 * sum;
}

static bool report_progress(void *context, const qn_lbfgs_report *report)
{
    const qn_whole *whole = context;
    load_point(whole, whole->x);
    return !whole->options->progress || whole->options->progress(whole->options->context, report);
}

static qn_status evaluate_whole(void *context, const double *x, double *grad, double *ret_loss,
                                qn_error *err)
{
    qn_whole *whole = context;
    qn_learner *learner = whole->learner;
    int64_t n = 0;
    for (int i = 0; i < whole->count; i++)
        n += qn_shape_count(&whole->weights[i]->tensor.shape);
    memset(grad, 0, (size_t)n * sizeof *grad);
    load_point(whole, x);
    double loss = 0;
    for (int64_t first = 0; first < whole->packed->rows;) {
        int64_t left = whole->packed->rows - first;
        bool last = left < learner->full.batch;
        qn_learner_plan *plan = last ? &learner->tail : &learner->full;
        double share = (double)plan->batch / (double)whole->packed->rows;
        qn_packed_gather(whole->packed, learner->options.pool, NULL, first, plan->batch,
                         plan->inputs);
        qn_plan_run(plan->plan, 0);
        if (!isfinite(*plan->loss))
            return qn_learner_not_finite(learner, plan, err);
        loss += share * (double)*plan->loss;
        add_gradients(whole, last ? whole->grads_tail : whole->grads_full, share, grad);
        first += plan->batch;
    }
    *ret_loss = loss + add_penalty(whole, x, grad);
    return QN_OK;
}

static qn_status find_gradients(qn_whole *whole, const qn_plan *plan, const qn_tensor ***ret,
                                qn_error *err)
{
    const qn_tensor **grads = QN_NEW(&whole->learner->load, const qn_tensor *, whole->count);
    for (int i = 0; grads && i < whole->count; i++) {
        char name[256] = "grad.";
        size_t length = strlen(whole->weights[i]->name);
        QN_ASSERT(length + 6 < sizeof name);
        memcpy(name + 5, whole->weights[i]->name, length + 1);
        grads[i] = qn_plan_output(plan, name);
        QN_ASSERT(grads[i]);
    }
    if (!grads)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    *ret = grads;
    return QN_OK;
}

static qn_status collect_weights(qn_whole *whole, int64_t *ret_n, qn_error *err)
{
    qn_learner *learner = whole->learner;
    int count = qn_graph_trainable(learner->graph, NULL, 0);
    qn_value *values = QN_NEW(&learner->load, qn_value, count);
    whole->weights = QN_NEW(&learner->load, const qn_named_tensor *, count);
    if (!values || !whole->weights)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    (void)qn_graph_trainable(learner->graph, values, count);
    *ret_n = 0;
    for (int i = 0; i < count; i++) {
        const char *name = qn_graph_name(learner->graph, values[i]);
        const qn_nn_group *group = qn_nn_group_find(&learner->options.optimizer, name);
        if (group && group->frozen)
            continue;
        const qn_named_tensor *weight = qn_state_find(learner->state, name);
        whole->weights[whole->count++] = weight;
        *ret_n += qn_shape_count(&weight->tensor.shape);
    }
    return QN_OK;
}

qn_status qn_learner_lbfgs(qn_learner *learner, const qn_packed *packed,
                           const qn_learner_lbfgs_options *options, qn_lbfgs_report *ret,
                           qn_error *err)
{
    qn_whole whole = {.learner = learner, .packed = packed, .options = options};
    int64_t n = 0;
    QN_TRY(collect_weights(&whole, &n, err));
    QN_TRY(find_gradients(&whole, learner->full.plan, &whole.grads_full, err));
    if (learner->tail.plan)
        QN_TRY(find_gradients(&whole, learner->tail.plan, &whole.grads_tail, err));
    double *x = QN_NEW(&learner->load, double, n);
    if (!x)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    whole.x = x;
    if (!options->from_zero)
        save_point(&whole, x);
    qn_lbfgs_problem lbfgs = {.iterations_max = options->iterations_max,
                              .eval = evaluate_whole,
                              .progress = report_progress,
                              .tolerance_grad = 1e-5,
                              .tolerance_loss = 1e-7,
                              .noise = 1e-6, /* the loss is summed in f32 */
                              .context = &whole};
    qn_arena scratch;
    qn_arena_init(&scratch, 0);
    qn_status status = qn_lbfgs_minimize(&lbfgs, x, n, &scratch, ret, err);
    load_point(&whole, x);
    qn_arena_deinit(&scratch);
    return status;
}
