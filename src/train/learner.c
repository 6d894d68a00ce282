/*
 * Graphs, weights and plans of one network in training.
 *
 * A step is: the loader gathers rows straight into the plan's inputs, the rate is written, the plan
 * runs forward, backward and update as one flat list, the loss is read from its output. Nothing is
 * allocated. A loss that is not finite stops the plan before the update (qn_plan guards), so the
 * weights stay sound and the first bad op can be named.
 */
#include "train/learner_priv.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "nn/average.h"
#include "os/clock.h"

enum {
    ANSWER_BATCH = 256,
    GATHER_FLOPS = 3 << 20 /* of a step: products of fewer run on one core */
};

static const char *const loss_output = "train.loss";
static const char *const scores_output = "train.scores";

/* --- graphs and weights --- */

/* Two classes may have one score or one each: the loss follows. */
static qn_status fit_scores(const qn_learner *learner, qn_nn_loss *loss, qn_error *err)
{
    if (learner->options.architecture.classes != 2)
        return QN_OK;
    if (loss->kind == QN_NN_LOSS_BCE && learner->score_count == 2)
        loss->kind = QN_NN_LOSS_CE;
    else if (loss->kind == QN_NN_LOSS_CE && learner->score_count == 1)
        loss->kind = QN_NN_LOSS_BCE;
    bool hinge = loss->kind == QN_NN_LOSS_HINGE || loss->kind == QN_NN_LOSS_SQUARED_HINGE;
    if (hinge && learner->score_count != 1)
        QN_FAIL(
            err, QN_ERR_ARG,
            "the loss %s takes one score; the last layer gives %lld: end with dense: {units: 1}",
            qn_nn_loss_name(loss->kind), (long long)learner->score_count);
    return QN_OK;
}

static qn_status build_training(qn_learner *learner, qn_error *err)
{
    const qn_learner_options *options = &learner->options;
    learner->graph = qn_graph_create();
    if (!learner->graph)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    QN_TRY(qn_architecture_build(&options->architecture, learner->graph, false, &learner->load,
                                 &learner->network, err));
    const qn_type *scores = qn_graph_type(learner->graph, learner->network.scores);
    learner->score_count = 1;
    for (int i = 1; i < scores->shape.rank; i++)
        learner->score_count *= scores->shape.dims[i];
    if (!options->lbfgs)
        qn_graph_output(learner->graph, scores_output, learner->network.scores);
    qn_nn_loss *loss = &learner->options.loss;
    QN_TRY(fit_scores(learner, loss, err));
    qn_nn_training training = {.loss = *loss,
                               .optimizer = options->optimizer,
                               .accumulate = options->accumulate,
                               .recompute = options->recompute,
                               .loss_only = options->lbfgs,
                               .gradients = options->lbfgs};
    if (options->lbfgs && qn_graph_is_random(learner->graph))
        QN_FAIL(err, QN_ERR_ARG,
                "lbfgs compares losses of the same network, and dropout makes each another one");
    qn_status status = qn_nn_training_add(learner->graph, learner->network.scores, &training,
                                          &learner->apply, err);
    learner->counts_right =
        loss->kind == QN_NN_LOSS_CE || loss->kind == QN_NN_LOSS_FOCAL ||
        (qn_nn_loss_takes_sides(loss->kind, learner->score_count) && learner->score_count == 1);
    return status;
}

static qn_status build_inference(qn_learner *learner, qn_error *err)
{
    qn_network network;
    learner->inference = qn_graph_create();
    if (!learner->inference)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    QN_TRY(qn_architecture_build(&learner->options.architecture, learner->inference, true,
                                 &learner->load, &network, err));
    if (network.weights)
        qn_state_destroy(network.weights); /* those of the training graph count */
    const qn_type *answer = qn_graph_type(learner->inference, network.answer);
    learner->answer.rank = answer->shape.rank - 1;
    memcpy(learner->answer.dims, answer->shape.dims + 1,
           (size_t)learner->answer.rank * sizeof(int64_t));
    learner->answer_count = qn_shape_count(&learner->answer);
    return QN_OK;
}

/* A network from a file goes on from its weights. */
static qn_status take_weights(qn_learner *learner, qn_error *err)
{
    qn_state *from = learner->network.weights;
    for (int i = 0; from && i < qn_state_count(from); i++) {
        const qn_named_tensor *weight = qn_state_at(from, i);
        if (qn_state_find(learner->state, weight->name))
            QN_TRY(qn_state_set(learner->state, weight->name, &weight->tensor, err));
    }
    if (from)
        qn_state_destroy(from);
    learner->network.weights = NULL;
    return QN_OK;
}

static double states_bytes(const qn_graph *graph)
{
    double bytes = 0;
    for (qn_value value = 0; graph && value < qn_graph_values_count(graph); value++) {
        const qn_type *type = qn_graph_type(graph, value);
        if (qn_graph_kind(graph, value) == QN_VALUE_STATE)
            bytes += (double)qn_shape_count(&type->shape) * (double)qn_dtype_size(type->dtype);
    }
    return bytes;
}

/* Before any of it is asked for: a system that promises too much would stop the process in the middle. */
static qn_status check_states(const qn_learner *learner, qn_error *err)
{
    int64_t limit = learner->options.memory_max;
    double bytes = states_bytes(learner->graph) + states_bytes(learner->apply);
    if (limit == 0)
        limit = qn_rss_bytes() + qn_memory_available_bytes();
    if ((double)qn_rss_bytes() + bytes <= (double)limit)
        return QN_OK;
    (void)qn_error_set(err, QN_ERR_BUDGET, NULL,
                       "the weights of %s and what the optimizer keeps of them need %.0f MiB; the "
                       "memory budget is %lld MiB",
                       learner->network.text, bytes / 1048576, (long long)(limit >> 20));
    return qn_error_hint(err, QN_ERR_BUDGET, "make layers smaller, or raise --mem");
}

qn_status qn_learner_init(qn_learner *learner, const qn_learner_options *options, qn_error *err)
{
    *learner = (qn_learner){.options = *options};
    qn_arena_init(&learner->load, 0);
    QN_TRY(build_training(learner, err));
    QN_TRY(build_inference(learner, err));
    QN_TRY(check_states(learner, err));
    QN_TRY(qn_state_create(&learner->state, err));
    QN_TRY(qn_state_add_graph(learner->state, learner->graph, options->seed, err));
    QN_TRY(take_weights(learner, err));
    if (learner->apply)
        QN_TRY(qn_state_add_graph(learner->state, learner->apply, options->seed, err));
    if (!options->average)
        return QN_OK;
    QN_TRY(qn_nn_average_create(learner->inference, &learner->averages, err));
    return qn_state_add_graph(learner->state, learner->averages, options->seed, err);
}

static void close_plan(qn_learner_plan *plan)
{
    if (plan->plan)
        qn_plan_destroy(plan->plan);
    *plan = (qn_learner_plan){0};
}

void qn_learner_deinit(qn_learner *learner)
{
    close_plan(&learner->full);
    close_plan(&learner->tail);
    close_plan(&learner->answers);
    if (learner->apply_plan)
        qn_plan_destroy(learner->apply_plan);
    if (learner->average_plan)
        qn_plan_destroy(learner->average_plan);
    if (learner->state)
        qn_state_destroy(learner->state);
    if (learner->graph)
        qn_graph_destroy(learner->graph);
    if (learner->apply)
        qn_graph_destroy(learner->apply);
    if (learner->inference)
        qn_graph_destroy(learner->inference);
    if (learner->averages)
        qn_graph_destroy(learner->averages);
    if (learner->network.weights)
        qn_state_destroy(learner->network.weights);
    qn_arena_deinit(&learner->load);
    *learner = (qn_learner){0};
}

/* --- the target as the loss wants it --- */

static qn_packed_tensor *find_packed(const qn_packed *packed, const char *name)
{
    for (int64_t i = 0; i < packed->tensors_count; i++)
        if (qn_str_is(packed->tensors[i].name, name))
            return &packed->tensors[i];
    return NULL;
}

static bool takes_labels(const qn_learner *learner)
{
    qn_type scores = *qn_graph_type(learner->graph, learner->network.scores);
    return qn_nn_loss_target(&learner->options.loss, &scores).dtype == QN_DTYPE_I64;
}

/* Counts are compared as they are, not in units of their deviation. */
static qn_status restore_counts(const qn_learner *learner, qn_packed_tensor *target, int64_t rows,
                                qn_arena *arena, qn_error *err)
{
    const qn_architecture *architecture = &learner->options.architecture;
    const float *scaled = target->data;
    float *counts = QN_NEW(arena, float, rows * target->count);
    if (!counts)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    for (int64_t i = 0; i < rows * target->count; i++)
        counts[i] = (float)fmax(0, (double)scaled[i] * architecture->target_deviation +
                                       architecture->target_mean);
    target->data = counts;
    return QN_OK;
}

qn_status qn_learner_adapt(const qn_learner *learner, const qn_packed *packed, qn_arena *arena,
                           qn_packed *ret, qn_error *err)
{
    qn_packed adapted = *packed;
    adapted.tensors = QN_NEW(arena, qn_packed_tensor, packed->tensors_count);
    if (!adapted.tensors)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    memcpy(adapted.tensors, packed->tensors,
           (size_t)packed->tensors_count * sizeof *packed->tensors);
    qn_packed_tensor *target = find_packed(&adapted, "target");
    if (target && learner->options.architecture.counts)
        QN_TRY(restore_counts(learner, target, packed->rows, arena, err));
    if (target && target->dtype == QN_DTYPE_I64 && target->count == 1 && !takes_labels(learner)) {
        float *numbers = QN_NEW(arena, float, packed->rows);
        if (!numbers)
            QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
        const int64_t *labels = target->data;
        for (int64_t row = 0; row < packed->rows; row++)
            numbers[row] = (float)labels[row];
        target->data = numbers;
        target->stored = target->dtype = QN_DTYPE_F32;
        target->shape = QN_SHAPE(1);
        target->count = 1;
    }
    *ret = adapted;
    return QN_OK;
}

/* --- plans --- */

/* Finds the plan's input for every packed tensor: same name, but "target" is "train.target". */
static qn_status point_inputs(qn_learner *learner, const qn_packed *packed, qn_learner_plan *plan,
                              qn_error *err)
{
    plan->inputs = QN_NEW(&learner->load, void *, packed->tensors_count + 1);
    if (!plan->inputs)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    for (int64_t i = 0; i < packed->tensors_count; i++) {
        const qn_packed_tensor *tensor = &packed->tensors[i];
        bool target = qn_str_is(tensor->name, "target");
        char name[256];
        if (tensor->name.size >= sizeof name)
            QN_FAIL(err, QN_ERR_ARG, "the name of input '%.*s' is too long", 40, tensor->name.data);
        memcpy(name, tensor->name.data, tensor->name.size);
        name[tensor->name.size] = '\0';
        const qn_tensor *input = qn_plan_input(plan->plan, target ? "train.target" : name);
        plan->inputs[i] = input ? input->data : NULL;
        if (input && (input->dtype != tensor->dtype ||
                      qn_shape_count(&input->shape) != tensor->count * plan->batch))
            QN_FAIL(err, QN_ERR_ARG,
                    "the %s does not have the type and shape that the network "
                    "takes",
                    target ? "target" : name);
    }
    return QN_OK;
}

/* The last, smaller batch runs in the memory of the others. */
static qn_status make_plan(const qn_learner *learner, int64_t batch, qn_plan **ret, qn_error *err)
{
    const qn_plan_options options = {
        .batch = batch,
        .seed = learner->options.seed,
        .pool = learner->options.pool,
        .training = true,
        .bf16 = learner->options.bf16 && !learner->options.lbfgs,
        .memory_max = learner->options.memory_max,
        .memory_of = learner->options.lbfgs ? NULL : learner->full.plan,
        .guards = &loss_output,
        .guards_count = learner->options.lbfgs ? 0 : 1,
    };
    qn_status status = qn_plan_create(learner->graph, learner->state, &options, ret, err);
    if (status != QN_ERR_BUDGET)
        return status;
    return qn_error_hint(err, status,
                         "raise --mem, lower train.batch, or say train.recompute: true");
}

static qn_status make_apply_plan(const qn_learner *learner, int64_t batch, qn_plan **ret,
                                 qn_error *err)
{
    const qn_plan_options options = {
        .batch = batch, .pool = learner->options.pool, .training = true};
    return qn_plan_create(learner->apply, learner->state, &options, ret, err);
}

static qn_status open_plan(qn_learner *learner, const qn_packed *packed, int64_t batch,
                           qn_learner_plan *plan, qn_error *err)
{
    close_plan(plan);
    QN_TRY(make_plan(learner, batch, &plan->plan, err));
    plan->batch = batch;
    const qn_tensor *rate = qn_plan_input(plan->plan, "train.lr");
    const qn_tensor *scores = qn_plan_output(plan->plan, scores_output);
    plan->rate = rate ? rate->data : NULL;
    plan->loss = qn_plan_output(plan->plan, loss_output)->data;
    plan->scores = scores ? scores->data : NULL;
    return point_inputs(learner, packed, plan, err);
}

static qn_status open_average(qn_learner *learner, qn_error *err)
{
    qn_plan_options options = {.batch = 1, .pool = learner->options.pool};
    if (!learner->averages || learner->average_plan)
        return QN_OK;
    QN_TRY(
        qn_plan_create(learner->averages, learner->state, &options, &learner->average_plan, err));
    learner->average_share = qn_plan_input(learner->average_plan, "train.share")->data;
    return QN_OK;
}

qn_status qn_learner_open(qn_learner *learner, const qn_packed *packed, int64_t batch,
                          qn_error *err)
{
    batch = qn_min_i64(batch, packed->rows);
    close_plan(&learner->tail); /* it may use the memory of the other */
    QN_TRY(open_plan(learner, packed, batch, &learner->full, err));
    if (packed->rows % batch != 0)
        QN_TRY(open_plan(learner, packed, packed->rows % batch, &learner->tail, err));
    QN_TRY(open_average(learner, err));
    if (!learner->apply || learner->apply_plan)
        return QN_OK;
    QN_TRY(make_apply_plan(learner, batch, &learner->apply_plan, err));
    const qn_tensor *rate = qn_plan_input(learner->apply_plan, "train.lr");
    learner->apply_rate = rate ? rate->data : NULL;
    return QN_OK;
}

qn_status qn_learner_print(const qn_learner *learner, int64_t batch, qn_buf *dst, qn_error *err)
{
    qn_plan *plan;
    QN_TRY(make_plan(learner, batch, &plan, err));
    qn_plan_print(plan, dst);
    qn_plan_destroy(plan);
    if (!learner->apply)
        return QN_OK;
    QN_TRY(make_apply_plan(learner, batch, &plan, err));
    qn_buf_printf(dst, "after every %d of them:\n", learner->options.accumulate);
    qn_plan_print(plan, dst);
    qn_plan_destroy(plan);
    return QN_OK;
}

static int64_t plan_bytes(const qn_plan *plan)
{
    return plan ? qn_plan_bytes(plan) : 0;
}

qn_learner_memory qn_learner_memory_of(const qn_learner *learner)
{
    qn_learner_memory memory = {.answers = plan_bytes(learner->answers.plan)};
    memory.step = plan_bytes(learner->full.plan) + plan_bytes(learner->tail.plan) +
                  plan_bytes(learner->apply_plan) + plan_bytes(learner->average_plan);
    for (int i = 0; i < qn_state_count(learner->state); i++) {
        const qn_named_tensor *named = qn_state_at(learner->state, i);
        int64_t bytes = (int64_t)qn_tensor_bytes(&named->tensor);
        if (qn_graph_find(learner->inference, named->name) != QN_NONE)
            memory.weights += bytes;
        else
            memory.optimizer += bytes;
    }
    return memory;
}

int64_t qn_learner_bytes(const qn_learner *learner)
{
    qn_learner_memory memory = qn_learner_memory_of(learner);
    return memory.weights + memory.optimizer + memory.step + memory.answers;
}

int64_t qn_learner_flops(const qn_learner *learner)
{
    return qn_plan_flops(learner->full.plan);
}

qn_pool *qn_learner_gatherers(const qn_learner *learner)
{
    return qn_learner_flops(learner) >= GATHER_FLOPS ? learner->options.pool : NULL;
}

/* --- a step --- */

qn_status qn_learner_not_finite(qn_learner *learner, const qn_learner_plan *plan, qn_error *err)
{
    char place[160];
    uint32_t step = (uint32_t)learner->step;
    if (!qn_plan_find_nonfinite(plan->plan, step, place, sizeof place))
        memcpy(place, "the loss", sizeof "the loss");
    (void)qn_error_set(err, QN_ERR_NUMERIC, NULL,
                       "a number became NaN or infinite at step %lld; the first is in %s",
                       (long long)learner->step + 1, place);
    return qn_error_hint(err, QN_ERR_NUMERIC,
                         "lower train.lr, set train.clip_norm, or look for extreme values in the "
                         "data");
}

/* Rows of the step whose largest score stands at the label (two classes: whose score has its side). */
static double count_right(const qn_learner *learner, const qn_learner_plan *plan,
                          const qn_loader *loader, const int64_t *rows_order, int64_t rows)
{
    const qn_packed_tensor *target = find_packed(loader->packed, "target");
    int64_t classes = learner->score_count, right = 0;
    for (int64_t i = 0; target && i < rows; i++) {
        const float *scores = plan->scores + i * classes;
        if (classes == 1) {
            bool truth = target->stored == QN_DTYPE_U8
                             ? ((const uint8_t *)target->data)[rows_order[i]] > 0
                             : ((const float *)target->data)[rows_order[i]] > 0.5F;
            right += (scores[0] > 0) == truth;
            continue;
        }
        int64_t best = 0;
        for (int64_t c = 1; c < classes; c++)
            best = scores[c] > scores[best] ? c : best;
        right += best == ((const int64_t *)target->data)[rows_order[i]];
    }
    return (double)right;
}

/* The first update begins the averages. */
static void average_update(qn_learner *learner)
{
    bool first = learner->step <= qn_max_i64(learner->options.accumulate, 1);
    qn_learner_average(learner, first ? 1 : 1 - learner->options.ema);
}

qn_status qn_learner_step(qn_learner *learner, qn_loader *loader, double rate, int64_t *ret_rows,
                          double *ret_loss, qn_error *err)
{
    int64_t first = loader->cursor.batch * loader->options.batch;
    bool last = first + learner->full.batch > loader->packed->rows;
    qn_learner_plan *plan = last && learner->tail.plan ? &learner->tail : &learner->full;
    int64_t rows = qn_loader_next(loader, plan->inputs);
    *ret_rows = rows;
    if (rows == 0)
        return QN_OK;
    QN_ASSERT(rows == plan->batch);
    if (plan->rate)
        *plan->rate = (float)rate;
    qn_plan_run(plan->plan, (uint32_t)learner->step);
    if (qn_plan_stopped(plan->plan))
        return qn_learner_not_finite(learner, plan, err);
    learner->step++;
    *ret_loss = (double)*plan->loss;
    if (learner->counts_right)
        learner->right += count_right(learner, plan, loader, loader->order + first, rows);
    if (learner->apply_plan && ++learner->micro >= learner->options.accumulate) {
        *learner->apply_rate = (float)rate;
        qn_plan_run(learner->apply_plan, (uint32_t)learner->step);
        learner->micro = 0;
    }
    if (learner->options.ema > 0 && learner->micro == 0)
        average_update(learner);
    return QN_OK;
}

/* --- answers --- */

qn_status qn_learner_open_answers(qn_learner *learner, const qn_packed *packed, qn_error *err)
{
    qn_learner_plan *plan = &learner->answers;
    if (plan->plan)
        return QN_OK;
    qn_plan_options options = {.batch = ANSWER_BATCH, .pool = learner->options.pool};
    QN_TRY(qn_plan_create(learner->inference, learner->state, &options, &plan->plan, err));
    plan->batch = ANSWER_BATCH;
    plan->scores = qn_plan_output(plan->plan, learner->network.output)->data;
    return point_inputs(learner, packed, plan, err);
}

qn_status qn_learner_answer(qn_learner *learner, const qn_packed *packed, float *dst, qn_error *err)
{
    QN_TRY(qn_learner_open_answers(learner, packed, err));
    const qn_learner_plan *plan = &learner->answers;
    for (int64_t first = 0; first < packed->rows; first += ANSWER_BATCH) {
        int64_t count = qn_min_i64(ANSWER_BATCH, packed->rows - first);
        for (int64_t i = 0; i < packed->tensors_count && count < ANSWER_BATCH; i++) {
            size_t each =
                (size_t)packed->tensors[i].count * qn_dtype_size(packed->tensors[i].dtype);
            if (plan->inputs[i])
                memset(plan->inputs[i], 0, each * ANSWER_BATCH);
        }
        qn_packed_gather(packed, learner->options.pool, NULL, first, count, plan->inputs);
        qn_plan_run(plan->plan, 0);
        memcpy(dst + first * learner->answer_count, plan->scores,
               (size_t)(count * learner->answer_count) * sizeof(float));
    }
    return QN_OK;
}
