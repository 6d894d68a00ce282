/*
 * Fitting a net: one learner, epochs of its steps, and its weights back into the net.
 */
#include "train/net_priv.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "nn/schedules.h"
#include "os/clock.h"

enum { BATCH_DEFAULT = 32, LBFGS_BATCH = 4096, LBFGS_ITERATIONS = 200 };

/* Everything of one fit that must be given back. */
typedef struct {
    qn_net *net;
    const qn_fit_options *options;
    qn_arena arena;
    qn_learner learner;
    qn_loader loader;
    qn_net_samples train, valid;
    bool has_valid;
    int averaged;    /* epochs in the average of weights */
    qn_view targets; /* rank 0 = none are known: a plan is asked for */
    float *answers;  /* of the validation samples */
    int64_t begin_ns;
    int64_t step; /* of the whole fit: the schedule reads it */
    qn_nn_schedule schedule;
    qn_nn_plateau plateau;
    qn_status failed; /* inside a report of L-BFGS, which cannot return it */
    qn_error *err;
} qn_net_fit_run;

/* The closing activation must be one that the loss contains. */
static qn_status check_closing(qn_nn_loss_kind loss, const char *closing, qn_error *err)
{
    const char *wanted = loss == QN_NN_LOSS_BCE ? "sigmoid" : "softmax";
    if (strcmp(closing, "linear") == 0 || strcmp(closing, wanted) == 0)
        return QN_OK;
    if (loss == QN_NN_LOSS_FOCAL && strcmp(closing, "sigmoid") == 0) /* of one output */
        return QN_OK;
    QN_FAIL(err, QN_ERR_ARG, "the loss %s wants a last layer that is linear or %s, not %s",
            qn_net_loss_names[loss], wanted, closing);
}

/* Weights of an earlier fit go on; what is new (moments) is fresh. */
static qn_status keep_weights(const qn_net *net, qn_learner *learner, qn_error *err)
{
    for (int i = 0; net->state && i < qn_state_count(net->state); i++) {
        const qn_named_tensor *old = qn_state_at(net->state, i);
        if (qn_graph_find(net->graph, old->name) != QN_NONE &&
            qn_state_find(learner->state, old->name))
            QN_TRY(qn_state_set(learner->state, old->name, &old->tensor, err));
    }
    return QN_OK;
}

static qn_status check_options(const qn_fit_options *options, qn_error *err)
{
    QN_TRY(qn_net_check_schedule(&options->schedule, err));
    if (!(options->clip_norm >= 0 && options->clip_value >= 0))
        QN_FAIL(err, QN_ERR_ARG, "clipping at norm %g and value %g: neither may be negative",
                (double)options->clip_norm, (double)options->clip_value);
    if (options->accumulate < 0)
        QN_FAIL(err, QN_ERR_ARG, "%d batches per update: 1 or more are expected",
                options->accumulate);
    if (!(options->ema >= 0 && options->ema < 1))
        QN_FAIL(err, QN_ERR_ARG, "an average that keeps %g of itself is not in [0, 1)",
                (double)options->ema);
    if (!(options->swa >= 0 && options->swa <= 1))
        QN_FAIL(err, QN_ERR_ARG, "averaging over %g of the epochs: expected 0 to 1",
                (double)options->swa);
    if (qn_net_is_lbfgs(&options->optimizer) && (options->ema > 0 || options->swa > 0))
        QN_FAIL(err, QN_ERR_ARG,
                "qn_lbfgs goes straight to the minimum and has no steps to average");
    if (options->ema > 0 && options->swa > 0)
        QN_FAIL(err, QN_ERR_ARG, "ema and swa both average the weights; choose one");
    if (!(options->focus >= 0))
        QN_FAIL(err, QN_ERR_ARG, "a focus of %g is below 0", (double)options->focus);
    if (!(options->quantile >= 0 && options->quantile < 1))
        QN_FAIL(err, QN_ERR_ARG, "a quantile of %g is not in [0, 1)", (double)options->quantile);
    if (!(options->label_smoothing >= 0 && options->label_smoothing < 1))
        QN_FAIL(err, QN_ERR_ARG, "a label smoothing of %g is not in [0, 1)",
                (double)options->label_smoothing);
    return QN_OK;
}

static qn_nn_loss loss_of(const qn_net_fit_run *run)
{
    const qn_fit_options *options = run->options;
    qn_nn_loss loss = {.kind = (qn_nn_loss_kind)options->loss,
                       .label_smoothing = (double)options->label_smoothing,
                       .focus = options->focus > 0 ? (double)options->focus : 2,
                       .class_weights = options->class_weights,
                       .quantile = (double)options->quantile,
                       .has_margin = options->margin > 0 || options->margin < 0,
                       .margin = (double)options->margin,
                       .blank = options->blank};
    if (loss.kind == QN_NN_LOSS_CTC) /* a plan that is only shown: for a label each */
        loss.labels_max = run->targets.rank == 2 ? run->targets.dims[1] : 1;
    return loss;
}

static qn_status build_learner(qn_net_fit_run *run, qn_error *err)
{
    qn_net *net = run->net;
    const qn_fit_options *options = run->options;
    if ((int)options->loss < 0 || options->loss > QN_LOSS_FOCAL)
        QN_FAIL(err, QN_ERR_ARG, "unknown loss %d", (int)options->loss);
    QN_TRY(check_options(options, err));
    qn_nn_loss loss = loss_of(run);
    qn_learner_options chosen = {.loss = loss,
                                 .optimizer = qn_net_optimizer_of(&options->optimizer),
                                 .accumulate =
                                     qn_net_is_lbfgs(&options->optimizer) ? 0 : options->accumulate,
                                 .lbfgs = qn_net_is_lbfgs(&options->optimizer),
                                 .average = options->ema > 0 || options->swa > 0,
                                 .ema = (double)options->ema,
                                 .recompute = options->recompute,
                                 .seed = options->seed ? options->seed : 1,
                                 .bf16 = options->bf16};
    QN_TRY(qn_net_set_groups(options->groups, options->groups_count, &run->arena, &chosen.optimizer,
                             err));
    chosen.optimizer.clip_norm = (double)options->clip_norm;
    chosen.optimizer.clip_value = (double)options->clip_value;
    QN_TRY(qn_net_describe(net, loss.kind, &run->arena, &chosen.architecture, err));
    QN_TRY(qn_learner_init(&run->learner, &chosen, err));
    return check_closing(loss.kind, run->learner.network.closing, err);
}

static qn_status start_learner(qn_net_fit_run *run, qn_view inputs, qn_view targets, qn_error *err)
{
    const qn_net *net = run->net;
    const qn_fit_options *options = run->options;
    run->targets = targets;
    QN_TRY(build_learner(run, err));
    const qn_nn_loss *loss = &run->learner.options.loss;
    QN_TRY(keep_weights(net, &run->learner, err));
    const qn_shape *output = &qn_graph_type(run->learner.graph, run->learner.network.scores)->shape;
    QN_TRY(qn_net_pack(net, &inputs, &targets, loss, output, &run->arena, &run->train, err));
    run->has_valid = options->valid_inputs.rank > 0;
    if (run->has_valid)
        QN_TRY(qn_net_pack(net, &options->valid_inputs, &options->valid_targets, loss, output,
                           &run->arena, &run->valid, err));
    return QN_OK;
}

static qn_status start_plans(qn_net_fit_run *run, qn_error *err)
{
    const qn_fit_options *options = run->options;
    int64_t batch = options->batch > 0 ? options->batch : BATCH_DEFAULT;
    batch = qn_min_i64(qn_net_is_lbfgs(&options->optimizer) ? LBFGS_BATCH : batch,
                       run->train.packed.rows);
    QN_TRY(qn_learner_open(&run->learner, &run->train.packed, batch, err));
    QN_TRY(qn_net_need_pool(run->net, options->threads, qn_learner_flops(&run->learner), err));
    if (run->net->pool) {
        run->learner.options.pool = run->net->pool;
        QN_TRY(qn_learner_open(&run->learner, &run->train.packed, batch, err));
    }
    int64_t rows = run->has_valid ? run->valid.packed.rows : 0;
    if (qn_net_is_lbfgs(&options->optimizer) && run->train.packed.rows > rows)
        rows = run->train.packed.rows;
    if (rows > 0) {
        run->answers = qn_arena_zero(&run->arena, rows * run->learner.answer_count, sizeof(float));
        if (!run->answers)
            QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    }
    qn_loader_options loading = {.batch = batch,
                                 .seed = options->seed ? options->seed : 1,
                                 .shuffle = !options->in_order,
                                 .pool = qn_learner_gatherers(&run->learner)};
    return qn_loader_init(&run->loader, &run->train.packed, &loading, &run->arena, err);
}

static qn_nn_schedule schedule_of(const qn_net_fit_run *run)
{
    const qn_fit_options *options = run->options;
    int64_t steps = qn_loader_batches(&run->loader);
    double rate = options->optimizer.rate > 0 ? (double)options->optimizer.rate
                                              : qn_nn_optimizer_lr(QN_NN_ADAM);
    return qn_net_schedule_of(&options->schedule, rate, steps,
                              steps * (options->epochs > 0 ? options->epochs : 1));
}

static qn_status run_epoch(qn_net_fit_run *run, double *ret_loss, qn_error *err)
{
    double sum = 0, loss;
    run->learner.right = 0;
    for (;;) {
        int64_t rows;
        double rate = qn_nn_schedule_lr(&run->schedule, run->step, run->plateau.scale);
        QN_TRY(qn_learner_step(&run->learner, &run->loader, rate, &rows, &loss, err));
        if (rows == 0)
            break;
        run->step++;
        sum += loss * (double)rows;
    }
    *ret_loss = sum / (double)run->train.packed.rows;
    return QN_OK;
}

static qn_status measure(qn_net_fit_run *run, const qn_packed *packed, qn_evaluation *ret,
                         qn_error *err)
{
    qn_learner *learner = &run->learner;
    qn_shape shape = qn_graph_type(learner->graph, learner->network.scores)->shape;
    bool averages = run->averaged > 0;
    shape.dims[0] = packed->rows;
    if (averages) /* what the net would answer if it ended here */
        qn_learner_swap_average(learner);
    qn_status status = qn_learner_answer(learner, packed, run->answers, err);
    if (averages)
        qn_learner_swap_average(learner);
    QN_TRY(status);
    qn_tensor answers = qn_tensor_of(run->answers, QN_DTYPE_F32, shape);
    return qn_net_score(&learner->options.loss, learner->network.closing, packed, &answers, ret,
                        err);
}

/* After an epoch: what plateau and the caller want to know of it. */
static qn_status end_epoch(qn_net_fit_run *run, int epoch, int epochs, double loss, bool *ret_stop,
                           qn_error *err)
{
    const qn_fit_options *options = run->options;
    const qn_learner *learner = &run->learner;
    bool plateau = run->schedule.kind == QN_NN_SCHEDULE_PLATEAU;
    qn_evaluation valid = {(double)NAN, (double)NAN}, train = valid;
    if (!options->on_epoch && !plateau)
        return QN_OK;
    if (run->has_valid)
        QN_TRY(measure(run, &run->valid.packed, &valid, err));
    if (plateau) {
        qn_nn_plateau_options rule = {.factor = (double)options->schedule.gamma,
                                      .patience = options->schedule.patience};
        (void)qn_nn_plateau_update(&run->plateau, &rule, run->has_valid ? valid.loss : loss);
    }
    if (!options->on_epoch)
        return QN_OK;
    if (learner->options.lbfgs)
        QN_TRY(measure(run, &run->train.packed, &train, err));
    else if (learner->counts_right)
        train.accuracy = learner->right / (double)run->train.packed.rows;
    qn_epoch report = {.epoch = epoch,
                       .epochs = epochs,
                       .loss = loss,
                       .accuracy = train.accuracy,
                       .valid_loss = valid.loss,
                       .valid_accuracy = valid.accuracy,
                       .seconds = (double)(qn_now_ns() - run->begin_ns) / 1e9};
    *ret_stop = options->on_epoch(options->context, &report) != 0;
    return QN_OK;
}

/* --- whole-data steps --- */

static int iterations_of(const qn_fit_options *options)
{
    return options->epochs > 0 ? options->epochs : LBFGS_ITERATIONS;
}

static bool end_iteration(void *context, const qn_lbfgs_report *report)
{
    qn_net_fit_run *run = context;
    bool stop = false;
    run->step = report->iterations;
    run->failed = end_epoch(run, report->iterations, iterations_of(run->options), report->loss,
                            &stop, run->err);
    return run->failed == QN_OK && !stop;
}

static qn_status run_lbfgs(qn_net_fit_run *run, qn_error *err)
{
    qn_lbfgs_report last;
    run->err = err;
    const qn_learner_lbfgs_options options = {
        .l2 = (double)run->options->optimizer.weight_decay,
        .iterations_max = iterations_of(run->options),
        .progress = end_iteration,
        .context = run,
    };
    QN_TRY(qn_learner_lbfgs(&run->learner, &run->train.packed, &options, &last, err));
    if (last.iterations > run->step) /* the one that reached the minimum */
        (void)end_iteration(run, &last);
    return run->failed;
}

/* The average after an epoch: SWA moves it here, EMA has moved it at every step. */
static void average_epoch(qn_net_fit_run *run, int epoch, int epochs)
{
    double share = (double)run->options->swa;
    if (!run->learner.options.average ||
        (share > 0 && epoch <= epochs - (int)ceil(share * (double)epochs)))
        return;
    run->averaged++;
    if (share > 0)
        qn_learner_average(&run->learner, 1 / (double)run->averaged);
}

static qn_status run_epochs(qn_net_fit_run *run, qn_error *err)
{
    const qn_fit_options *options = run->options;
    int epochs = options->epochs > 0 ? options->epochs : 1;
    bool stop = false;
    run->schedule = schedule_of(run);
    qn_nn_plateau_init(&run->plateau);
    if (qn_net_is_lbfgs(&options->optimizer))
        return run_lbfgs(run, err);
    for (int epoch = 1; epoch <= epochs && !stop; epoch++) {
        double loss;
        QN_TRY(run_epoch(run, &loss, err));
        average_epoch(run, epoch, epochs);
        QN_TRY(end_epoch(run, epoch, epochs, loss, &stop, err));
    }
    return QN_OK;
}

/* The learner's inference graph and weights become the net's. */
static void adopt(qn_net *net, qn_learner *learner, bool averaged)
{
    qn_net_drop_built(net);
    if (averaged)
        qn_learner_swap_average(learner);
    net->graph = learner->inference;
    net->state = learner->state;
    net->loss = learner->options.loss;
    net->loss.class_weights = NULL; /* the caller's */
    net->outputs_count = learner->answer_count;
    net->closing = strcmp(learner->network.closing, "softmax") == 0   ? "softmax"
                   : strcmp(learner->network.closing, "sigmoid") == 0 ? "sigmoid"
                                                                      : "linear";
    learner->inference = NULL;
    learner->state = NULL;
}

qn_status qn_net_fit(qn_net *net, qn_view inputs, qn_view targets, const qn_fit_options *options,
                     qn_error *err)
{
    static const qn_fit_options defaults = {0};
    QN_TRY(qn_net_usable(net, err));
    qn_net_fit_run run = {.net = net, .options = options ? options : &defaults};
    qn_arena_init(&run.arena, 0);
    qn_flush_denormals();
    run.begin_ns = qn_now_ns();
    qn_status status = start_learner(&run, inputs, targets, err);
    if (status == QN_OK)
        status = start_plans(&run, err);
    if (status == QN_OK)
        status = run_epochs(&run, err);
    if (status == QN_OK)
        adopt(net, &run.learner, run.averaged > 0);
    qn_learner_deinit(&run.learner);
    qn_arena_deinit(&run.arena);
    return status;
}

/* --- in words --- */

static qn_status print_training(qn_net *net, int64_t batch, const qn_fit_options *options,
                                qn_error *err)
{
    qn_net_fit_run run = {.net = net, .options = options};
    qn_arena_init(&run.arena, 0);
    qn_status status = build_learner(&run, err);
    if (status == QN_OK)
        status = qn_learner_print(&run.learner, batch, &net->plan_text, err);
    qn_learner_deinit(&run.learner);
    qn_arena_deinit(&run.arena);
    return status;
}

static qn_status print_prediction(qn_net *net, int64_t batch, qn_error *err)
{
    qn_plan *plan;
    qn_plan_options options = {.batch = batch, .pool = net->pool};
    QN_TRY(qn_net_build_fresh(net, err));
    QN_TRY(qn_plan_create(net->graph, net->state, &options, &plan, err));
    qn_plan_print(plan, &net->plan_text);
    qn_plan_destroy(plan);
    return QN_OK;
}

qn_status qn_net_plan(qn_net *net, int64_t batch, const qn_fit_options *options,
                      const char **ret_text, qn_error *err)
{
    QN_TRY(qn_net_usable(net, err));
    if (batch < 1)
        QN_FAIL(err, QN_ERR_ARG, "a batch of %lld samples; at least 1 is expected",
                (long long)batch);
    qn_buf_reset(&net->plan_text);
    QN_TRY(options ? print_training(net, batch, options, err) : print_prediction(net, batch, err));
    qn_buf_byte(&net->plan_text, '\0');
    if (net->plan_text.failed)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory for the plan's text");
    *ret_text = net->plan_text.data;
    return QN_OK;
}
