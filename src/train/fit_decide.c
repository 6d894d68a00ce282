/*
 * What a recipe leaves open is decided here, from the data, and written into the candidate's copy of
 * the recipe, so that the recipe.yaml of the model says everything.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "train/fit_priv.h"

static bool has_images(const qn_fit *fit)
{
    int64_t count;
    const qn_feature_tensor *outputs = qn_transforms_outputs(fit->data[0].transforms, &count);
    for (int64_t i = 0; i < count; i++)
        if (outputs[i].shape.rank == 3)
            return count == 1;
    return false;
}

/* --- numbers --- */

/* Small batches learn more from each row, large ones run faster: about a hundred steps an epoch. */
static int64_t decide_batch(const qn_fit *fit, qn_model_type type)
{
    if (type == QN_MODEL_CNN || has_images(fit))
        return 64;
    int64_t batch = 16;
    while (batch < 512 && batch * 128 < fit->split.train_count)
        batch *= 2;
    return batch;
}

static qn_recipe_optimizer decide_optimizer(qn_model_type type)
{
    bool convex = type == QN_MODEL_LINEAR || type == QN_MODEL_LOGISTIC;
    return convex ? QN_RECIPE_LBFGS : QN_RECIPE_ADAMW;
}

static double decide_rate(qn_recipe_optimizer optimizer, qn_model_type type)
{
    bool adam = optimizer == QN_RECIPE_ADAM || optimizer == QN_RECIPE_ADAMW;
    if (optimizer < QN_RECIPE_SGD || (adam && type == QN_MODEL_MLP))
        return 0.002;
    double rate = qn_nn_optimizer_lr((qn_nn_optimizer_kind)(optimizer - QN_RECIPE_SGD));
    /* what a file has learned before shall not be lost in the first steps */
    return type == QN_MODEL_FILE ? 0.3 * rate : rate;
}

/* Ridge as scikit-learn's C = 1 for the convex models, the usual decay of AdamW otherwise. */
static double decide_decay(const qn_fit *fit, qn_recipe_optimizer optimizer)
{
    if (optimizer == QN_RECIPE_LBFGS)
        return 1 / (double)fit->split.train_count;
    return qn_nn_optimizer_default((qn_nn_optimizer_kind)(optimizer - QN_RECIPE_SGD)).weight_decay;
}

static qn_recipe_loss decide_loss(qn_task task)
{
    if (task == QN_TASK_REGRESSION)
        return QN_RECIPE_MSE;
    if (task == QN_TASK_TRANSCRIBE)
        return QN_RECIPE_CTC;
    return task == QN_TASK_BINARY ? QN_RECIPE_BCE : QN_RECIPE_CE;
}

static void decide_numbers(const qn_fit *fit, qn_model_type type, qn_recipe *recipe)
{
    if (recipe->train.optimizer == QN_RECIPE_OPTIMIZER_AUTO) {
        recipe->train.optimizer = decide_optimizer(type);
        qn_recipe_decided(recipe, "train.optimizer");
    }
    if (recipe->train.batch == QN_AUTO) {
        recipe->train.batch = decide_batch(fit, type);
        qn_recipe_decided(recipe, "train.batch");
    }
    if (recipe->train.lr == QN_AUTO) {
        recipe->train.lr = decide_rate(recipe->train.optimizer, type);
        qn_recipe_decided(recipe, "train.lr");
    }
    if (recipe->train.weight_decay == QN_AUTO) {
        recipe->train.weight_decay = decide_decay(fit, recipe->train.optimizer);
        qn_recipe_decided(recipe, "train.weight_decay");
    }
    if (recipe->train.warmup == QN_AUTO) {
        qn_nn_schedule_kind schedule = recipe->train.schedule;
        bool falls = schedule == QN_NN_SCHEDULE_COSINE || schedule == QN_NN_SCHEDULE_LINEAR ||
                     schedule == QN_NN_SCHEDULE_POLYNOMIAL ||
                     schedule == QN_NN_SCHEDULE_INVERSE_SQRT;
        recipe->train.warmup = falls ? 0.05 : 0;
        qn_recipe_decided(recipe, "train.warmup");
    }
    if (recipe->train.gamma == QN_AUTO) {
        recipe->train.gamma = qn_nn_schedule_gamma(recipe->train.schedule);
        qn_recipe_decided(recipe, "train.gamma");
    }
    if (recipe->train.dropout == QN_AUTO) {
        recipe->train.dropout = recipe->train.optimizer == QN_RECIPE_LBFGS ? 0
                                : type == QN_MODEL_MLP                     ? 0.1
                                : type == QN_MODEL_CNN                     ? 0.25
                                : type >= QN_MODEL_RNN                     ? 0.1
                                                                           : 0;
        qn_recipe_decided(recipe, "train.dropout");
    }
    if (recipe->train.loss == QN_RECIPE_LOSS_AUTO) {
        recipe->train.loss = decide_loss(fit->task);
        qn_recipe_decided(recipe, "train.loss");
    }
}

const char *qn_fit_array_loss(const qn_fit *fit)
{
    qn_recipe_loss loss = fit->recipe.train.loss;
    if (fit->task == QN_TASK_TRANSCRIBE)
        return "ctc";
    if (fit->dataset->frame.columns[fit->schema.target].kind != QN_COLUMN_ARRAY)
        return NULL;
    return loss == QN_RECIPE_BCE ? "bce" : loss == QN_RECIPE_KL ? "kl" : NULL;
}

static bool metric_fits(const qn_fit *fit, qn_metric metric)
{
    return qn_metric_applies(metric, fit->task, fit->classes) ||
           (metric == QN_METRIC_LOSS && qn_fit_array_loss(fit));
}

static qn_status fail_metric(const qn_fit *fit, const char *name, qn_error *err)
{
    char fitting[200] = "";
    size_t used = 0;
    for (int i = 0; i < QN_METRIC_COUNT && used < sizeof fitting - 32; i++)
        if (metric_fits(fit, (qn_metric)i))
            used += (size_t)snprintf(fitting + used, sizeof fitting - used, "%s%s",
                                     used ? ", " : "", qn_metric_name((qn_metric)i));
    (void)qn_error_set(err, QN_ERR_ARG, "train.metric",
                       "'%s' is not a metric of task %s with %lld classes", name,
                       qn_task_name(fit->task), (long long)fit->classes);
    return qn_error_hint(err, QN_ERR_ARG, "these are: %s", fitting);
}

static qn_status decide_metric(qn_fit *fit, qn_error *err)
{
    qn_recipe *recipe = &fit->recipe;
    if (!recipe->train.metric || strcmp(recipe->train.metric, "auto") == 0) {
        fit->metric = qn_fit_array_loss(fit) ? QN_METRIC_LOSS : qn_metric_default(fit->task);
        recipe->train.metric = qn_metric_name(fit->metric);
        qn_recipe_decided(recipe, "train.metric");
        return QN_OK;
    }
    if (!qn_metric_find(qn_str_from(recipe->train.metric), &fit->metric) ||
        !metric_fits(fit, fit->metric))
        return fail_metric(fit, recipe->train.metric, err);
    return QN_OK;
}

static void decide_task(qn_fit *fit)
{
    qn_recipe *recipe = &fit->recipe;
    if (recipe->task == QN_TASK_AUTO) {
        recipe->task = fit->task;
        qn_recipe_decided(recipe, "task");
    }
    if (!recipe->data.target) {
        recipe->data.target = fit->dataset->target;
        qn_recipe_decided(recipe, "data.target");
    }
    if (recipe->split.by == QN_SPLIT_AUTO) {
        recipe->split.by = fit->split.by;
        qn_recipe_decided(recipe, "split.by");
    }
    if (!recipe->name) {
        recipe->name = fit->name;
        qn_recipe_decided(recipe, "name");
    }
}

/* --- candidates --- */

/* Number i of a part's targets, of which a row has `width`. */
static double target_at(const qn_fit *fit, int part, int64_t i)
{
    return fit->array ? (double)((const float *)fit->arrays[part])[i] : fit->truth[part][i];
}

static qn_status fail_target(const qn_fit *fit, const char *expects, double number, int64_t row,
                             qn_error *err)
{
    return qn_error_set(err, QN_ERR_DATA, "train.loss", "%s; '%s' %s %g in row %lld", expects,
                        fit->dataset->target, fit->array ? "holds" : "is", number,
                        (long long)row + 1);
}

/* Counts are not below 0, and some are above. */
static qn_status check_counts(const qn_fit *fit, qn_error *err)
{
    double sum = 0;
    int64_t width = fit->array ? qn_shape_count(&fit->array->shape) : 1;
    for (int part = 0; part < QN_PARTS; part++) {
        int64_t count;
        const int64_t *rows = qn_fit_part_rows(fit, (qn_part)part, &count);
        for (int64_t i = 0; i < count * width; i++) {
            double number = target_at(fit, part, i);
            if (number < 0)
                return fail_target(fit, "poisson is for counts", number, rows[i / width], err);
            sum += part == QN_PART_TRAIN ? number : 0;
        }
    }
    if (sum > 0)
        return QN_OK;
    return qn_error_set(err, QN_ERR_DATA, "train.loss",
                        "poisson is for counts; '%s' is 0 in all training rows",
                        fit->dataset->target);
}

/* bce: numbers from 0 to 1; kl: rows of them (along the last dimension) that add up to 1. */
static qn_status check_shares(const qn_fit *fit, bool rows_of_one, qn_error *err)
{
    const qn_shape *shape = &fit->array->shape;
    int64_t width = qn_shape_count(shape), last = shape->dims[shape->rank - 1];
    for (int part = 0; part < QN_PARTS; part++) {
        int64_t count;
        double sum = 0;
        const int64_t *rows = qn_fit_part_rows(fit, (qn_part)part, &count);
        for (int64_t i = 0; i < count * width; i++) {
            double number = target_at(fit, part, i);
            sum = i % last ? sum + number : number;
            if (!(number >= 0 && number <= 1))
                return fail_target(fit, "bce and kl take numbers from 0 to 1", number,
                                   rows[i / width], err);
            if (rows_of_one && i % last == last - 1 && fabs(sum - 1) > 1e-3)
                return fail_target(fit, "kl takes distributions, whose numbers add up to 1", number,
                                   rows[i / width], err);
        }
    }
    return QN_OK;
}

static qn_status check_array_loss(const qn_fit *fit, qn_recipe_loss loss, qn_error *err)
{
    bool labels = fit->task == QN_TASK_TRANSCRIBE;
    bool numbers = loss == QN_RECIPE_MSE || loss == QN_RECIPE_MAE || loss == QN_RECIPE_HUBER ||
                   loss == QN_RECIPE_QUANTILE || loss == QN_RECIPE_POISSON ||
                   loss == QN_RECIPE_BCE || loss == QN_RECIPE_KL;
    if (labels && loss != QN_RECIPE_CTC)
        return qn_error_set(err, QN_ERR_ARG, "train.loss", "the loss of task transcribe is ctc");
    if (!labels && !numbers)
        return qn_error_set(
            err, QN_ERR_ARG, "train.loss",
            "'%s' holds an array a row, whose losses are mse, mae, huber, quantile, poisson, bce "
            "(numbers from 0 to 1), kl (distributions) and ctc (labels, task transcribe)",
            fit->dataset->target);
    if (loss == QN_RECIPE_BCE || loss == QN_RECIPE_KL)
        return check_shares(fit, loss == QN_RECIPE_KL, err);
    return QN_OK;
}

static qn_status check_task_loss(const qn_fit *fit, qn_recipe_loss loss, qn_error *err)
{
    bool two = loss == QN_RECIPE_BCE || loss == QN_RECIPE_HINGE || loss == QN_RECIPE_SQUARED_HINGE;
    bool classes = two || loss == QN_RECIPE_CE || loss == QN_RECIPE_NLL || loss == QN_RECIPE_FOCAL;
    if (fit->array)
        return check_array_loss(fit, loss, err);
    if (loss == QN_RECIPE_KL)
        return qn_error_set(err, QN_ERR_ARG, "train.loss",
                            "kl learns distributions: an NPZ whose target is an array [rows, "
                            "classes]; '%s' holds one value a row",
                            fit->dataset->target);
    if (fit->task == QN_TASK_REGRESSION && classes)
        return qn_error_set(err, QN_ERR_ARG, "train.loss",
                            "bce, ce, nll, focal and the hinges are losses of classes; the task is "
                            "regression");
    if (fit->task != QN_TASK_REGRESSION && !classes) {
        (void)qn_error_set(err, QN_ERR_ARG, "train.loss",
                           "the task is %s, whose loss is bce, hinge or squared_hinge (two "
                           "classes), ce, nll or focal",
                           qn_task_name(fit->task));
        return qn_error_hint(err, QN_ERR_ARG, "if '%s' is a number, say task: regression",
                             fit->dataset->target);
    }
    if (fit->task == QN_TASK_MULTICLASS && two)
        return qn_error_set(err, QN_ERR_ARG, "train.loss",
                            "bce and the hinges are for two classes; here are %lld",
                            (long long)fit->classes);
    return QN_OK;
}

static qn_status check_loss(const qn_fit *fit, const qn_recipe *recipe, qn_error *err)
{
    qn_recipe_loss loss = recipe->train.loss;
    bool smooth = loss == QN_RECIPE_BCE || loss == QN_RECIPE_CE || loss == QN_RECIPE_NLL;
    QN_TRY(check_task_loss(fit, loss, err));
    if (recipe->train.label_smoothing > 0 && !smooth)
        return qn_error_set(err, QN_ERR_ARG, "train.label_smoothing",
                            "only the losses bce, ce and nll have labels to smooth");
    if (loss == QN_RECIPE_POISSON)
        QN_TRY(check_counts(fit, err));
    if (recipe->train.optimizer == QN_RECIPE_LBFGS &&
        (recipe->train.ema > 0 || recipe->train.swa > 0))
        return qn_error_set(
            err, QN_ERR_ARG, recipe->train.ema > 0 ? "train.ema" : "train.swa",
            "lbfgs goes straight to the minimum and has no steps to average; choose "
            "another train.optimizer");
    if (recipe->train.ema > 0 && recipe->train.swa > 0)
        return qn_error_set(err, QN_ERR_ARG, "train.swa",
                            "train.ema and train.swa both average the weights; choose one");
    return QN_OK;
}

/* The sizes that an MLP would choose by itself. */
static qn_status decide_hidden(qn_fit *fit, qn_candidate *candidate, qn_error *err)
{
    qn_learner_options options;
    qn_recipe_integers *hidden = &candidate->recipe.model.hidden;
    if (candidate->recipe.model.type != QN_MODEL_MLP || hidden->count > 0)
        return QN_OK;
    QN_TRY(qn_fit_learner_options(fit, candidate, &fit->load, &options, err));
    hidden->items = QN_NEW(&fit->load, int64_t, QN_HIDDEN_MAX);
    if (!hidden->items)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    hidden->count = qn_architecture_hidden(&options.architecture, hidden->items);
    qn_recipe_decided(&candidate->recipe, "model.hidden");
    return QN_OK;
}

static qn_status add_candidate(qn_fit *fit, qn_model_type type, qn_error *err)
{
    qn_candidate *candidate = &fit->candidates[fit->candidates_count];
    *candidate = (qn_candidate){
        .recipe = fit->recipe, .score = {(double)NAN, (double)NAN}, .test = (double)NAN};
    qn_recipe *recipe = &candidate->recipe;
    if (recipe->model.type == QN_MODEL_AUTO) {
        recipe->model.type = type;
        qn_recipe_decided(recipe, "model.type");
    }
    decide_numbers(fit, type, recipe);
    QN_TRY(check_loss(fit, recipe, err));
    (void)snprintf(candidate->name, sizeof candidate->name, "%s", qn_model_type_name(type));
    bool linear = type == QN_MODEL_LINEAR || type == QN_MODEL_LOGISTIC;
    candidate->data = linear && fit->data_differs ? &fit->data[1] : &fit->data[0];
    QN_TRY(decide_hidden(fit, candidate, err));
    candidate->history_max = recipe->train.epochs + 2;
    candidate->history = QN_NEW(&fit->load, qn_epoch_record, candidate->history_max);
    if (!candidate->history)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    fit->candidates_count++;
    return QN_OK;
}

/* Only networks that answer at each step. */
static qn_status choose_transcriber(qn_fit *fit, qn_error *err)
{
    qn_model_type type = fit->recipe.model.type;
    if (type == QN_MODEL_AUTO)
        return add_candidate(fit, QN_MODEL_GRU, err);
    if (type >= QN_MODEL_LAYERS)
        return add_candidate(fit, type, err);
    return qn_error_set(err, QN_ERR_ARG, "model.type",
                        "%s gives one answer a row; ctc wants one for each step: rnn, lstm, gru, "
                        "transformer or layers",
                        qn_model_type_name(type));
}

qn_status qn_fit_choose_candidates(qn_fit *fit, qn_error *err)
{
    qn_model_type type = fit->recipe.model.type;
    bool classes = fit->task != QN_TASK_REGRESSION;
    decide_task(fit);
    QN_TRY(decide_metric(fit, err));
    if (fit->task == QN_TASK_TRANSCRIBE)
        return choose_transcriber(fit, err);
    if (type == QN_MODEL_LINEAR && classes)
        return qn_error_set(err, QN_ERR_ARG, "model.type",
                            "linear predicts numbers; for task %s say logistic",
                            qn_task_name(fit->task));
    if (type == QN_MODEL_LOGISTIC && !classes)
        return qn_error_set(err, QN_ERR_ARG, "model.type",
                            "logistic predicts classes; for regression say linear");
    if (type != QN_MODEL_AUTO)
        return add_candidate(fit, type, err);
    if (has_images(fit))
        return add_candidate(fit, QN_MODEL_CNN, err);
    QN_TRY(add_candidate(fit, classes ? QN_MODEL_LOGISTIC : QN_MODEL_LINEAR, err));
    return add_candidate(fit, QN_MODEL_MLP, err);
}

/* --- from a candidate's recipe to a learner --- */

static qn_nn_loss_kind loss_kind(qn_recipe_loss loss)
{
    switch (loss) {
    case QN_RECIPE_MAE:
        return QN_NN_LOSS_MAE;
    case QN_RECIPE_HUBER:
        return QN_NN_LOSS_HUBER;
    case QN_RECIPE_BCE:
        return QN_NN_LOSS_BCE;
    case QN_RECIPE_CE:
    case QN_RECIPE_NLL:
        return QN_NN_LOSS_CE;
    case QN_RECIPE_HINGE:
        return QN_NN_LOSS_HINGE;
    case QN_RECIPE_SQUARED_HINGE:
        return QN_NN_LOSS_SQUARED_HINGE;
    case QN_RECIPE_FOCAL:
        return QN_NN_LOSS_FOCAL;
    case QN_RECIPE_QUANTILE:
        return QN_NN_LOSS_QUANTILE;
    case QN_RECIPE_POISSON:
        return QN_NN_LOSS_POISSON;
    case QN_RECIPE_KL:
        return QN_NN_LOSS_KL;
    case QN_RECIPE_CTC:
        return QN_NN_LOSS_CTC;
    default:
        return QN_NN_LOSS_MSE;
    }
}

/* balanced: rows / (classes * rows of the class), as scikit-learn. */
static void balance(const qn_fit *fit, double *weights)
{
    for (int64_t c = 0; c < fit->classes; c++)
        weights[c] = fit->shares[c] > 0 ? 1 / ((double)fit->classes * fit->shares[c]) : 1;
}

/* "no, yes, maybe, ..." */
static void list_labels(const qn_str *labels, int64_t count, char dst[160])
{
    size_t used = 0;
    dst[0] = '\0';
    for (int64_t c = 0; c < count && used < 120; c++)
        used += (size_t)snprintf(dst + used, 160 - used, "%s%.*s", c ? ", " : "",
                                 (int)qn_min_i64((int64_t)labels[c].size, 30), labels[c].data);
}

static qn_status weigh_label(const qn_fit *fit, const char *label, double weight, double *weights,
                             qn_error *err)
{
    int64_t count;
    const qn_str *labels = qn_transforms_labels(fit->data[0].transforms, &count);
    for (int64_t c = 0; c < count; c++)
        if (qn_str_is(labels[c], label)) {
            weights[c] = weight;
            return QN_OK;
        }
    char known[160];
    list_labels(labels, count, known);
    (void)qn_error_set(err, QN_ERR_ARG, "train.class_weight", "'%.60s' is not a label of '%s'",
                       label, fit->dataset->target);
    return qn_error_hint(err, QN_ERR_ARG, "its labels are: %s", known);
}

static qn_status check_weights(const qn_fit *fit, const double *weights, qn_error *err)
{
    int64_t learned = 0;
    for (int64_t c = 0; c < fit->classes; c++)
        learned += weights[c] > 0;
    if (learned >= 2)
        return QN_OK;
    return qn_error_set(err, QN_ERR_ARG, "train.class_weight",
                        "%lld labels of '%s' weigh more than 0; telling them apart needs 2",
                        (long long)learned, fit->dataset->target);
}

/* Only ratios of weights count: cross-entropy divides by their sum, and two classes share one factor. */
static qn_status class_weights(const qn_fit *fit, const qn_recipe *recipe, qn_arena *arena,
                               qn_nn_loss *loss, qn_error *err)
{
    const qn_recipe_weights *given = &recipe->train.class_weight;
    if (given->kind == QN_CLASS_WEIGHT_GIVEN && fit->classes == 0)
        return qn_error_set(err, QN_ERR_ARG, "train.class_weight",
                            "'%s' is a number and has no classes to weigh", fit->dataset->target);
    if (given->kind == QN_CLASS_WEIGHT_NONE || fit->classes == 0)
        return QN_OK;
    double *weights = QN_NEW(arena, double, fit->classes);
    if (!weights)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    for (int64_t c = 0; c < fit->classes; c++)
        weights[c] = 1;
    if (given->kind == QN_CLASS_WEIGHT_BALANCED)
        balance(fit, weights);
    for (int64_t i = 0; i < given->count; i++)
        QN_TRY(weigh_label(fit, given->labels[i], given->items[i], weights, err));
    QN_TRY(check_weights(fit, weights, err));
    loss->class_weights = weights;
    return QN_OK;
}

/* Groups with their rates as factors of the peak. Memory: `arena`. */
static qn_status groups_of(const qn_recipe *recipe, qn_arena *arena, qn_nn_optimizer *optimizer,
                           qn_error *err)
{
    const qn_recipe_groups *from = &recipe->train.groups;
    qn_nn_group *groups = QN_NEW(arena, qn_nn_group, from->count + 1);
    if (!groups)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    for (int64_t i = 0; i < from->count; i++) {
        const qn_recipe_group *group = &from->items[i];
        groups[i] = (qn_nn_group){.pattern = group->match,
                                  .weight_decay = group->weight_decay,
                                  .frozen = group->freeze || (group->lr >= 0 && group->lr <= 0)};
        if (group->lr > 0)
            groups[i].rate = group->lr / recipe->train.lr;
    }
    optimizer->groups = groups;
    optimizer->groups_count = (int)from->count;
    return QN_OK;
}

static qn_status optimizer_of(const qn_recipe *recipe, qn_arena *arena, qn_nn_optimizer *ret,
                              qn_error *err)
{
    int kind = (int)recipe->train.optimizer - QN_RECIPE_SGD; /* L-BFGS has no updates */
    qn_nn_optimizer optimizer =
        qn_nn_optimizer_default(kind >= 0 ? (qn_nn_optimizer_kind)kind : QN_NN_ADAMW);
    if (optimizer.kind == QN_NN_SGD) {
        optimizer.momentum = recipe->train.momentum;
        optimizer.nesterov = recipe->train.nesterov;
    }
    optimizer.weight_decay = recipe->train.weight_decay;
    optimizer.clip_norm = recipe->train.clip_norm;
    optimizer.clip_value = recipe->train.clip_value;
    for (int64_t i = 0; kind >= 0 && i < recipe->train.options.count; i++) {
        const qn_recipe_option *option = &recipe->train.options.items[i];
        QN_TRY(qn_nn_optimizer_set(&optimizer, option->name, option->value, err));
    }
    QN_TRY(groups_of(recipe, arena, &optimizer, err));
    *ret = optimizer;
    return QN_OK;
}

/* model.freeze: the word all is every name. */
static const char *const *frozen_of(const qn_recipe *recipe, int64_t *ret_count)
{
    static const char *const all[] = {"*"};
    const qn_recipe_texts *freeze = &recipe->model.freeze;
    bool whole = freeze->count == 1 && strcmp(freeze->items[0], "all") == 0;
    *ret_count = freeze->count;
    return whole ? all : freeze->items;
}

qn_status qn_fit_learner_options(const qn_fit *fit, const qn_candidate *candidate, qn_arena *arena,
                                 qn_learner_options *ret, qn_error *err)
{
    const qn_recipe *recipe = &candidate->recipe;
    const qn_transforms *transforms = candidate->data->transforms;
    qn_learner_options options = {
        .loss = {.kind = loss_kind(recipe->train.loss),
                 .label_smoothing = recipe->train.label_smoothing,
                 .quantile = recipe->train.quantile,
                 .focus = recipe->train.focus,
                 .has_margin = true,
                 .margin = recipe->train.margin,
                 .blank = recipe->train.blank},
        .accumulate = (int)recipe->train.accumulate,
        .lbfgs = recipe->train.optimizer == QN_RECIPE_LBFGS,
        .recompute = recipe->train.recompute,
        .average = recipe->train.ema > 0 || recipe->train.swa > 0,
        .ema = recipe->train.ema,
        .seed = (uint64_t)recipe->train.seed,
        .pool = fit->pool,
        .memory_max = fit->options->memory_max_bytes,
        .bf16 = strcmp(recipe->train.precision, "bf16") == 0,
    };
    QN_TRY(optimizer_of(recipe, arena, &options.optimizer, err));
    QN_TRY(class_weights(fit, recipe, arena, &options.loss, err));
    qn_architecture *architecture = &options.architecture;
    architecture->type = recipe->model.type;
    architecture->layers = &recipe->model.layers;
    architecture->file = recipe->model.file;
    architecture->file_output = recipe->model.output;
    architecture->frozen = frozen_of(recipe, &architecture->frozen_count);
    architecture->hidden_count = (int)qn_min_i64(recipe->model.hidden.count, QN_HIDDEN_MAX);
    for (int i = 0; i < architecture->hidden_count; i++)
        architecture->hidden[i] = recipe->model.hidden.items[i];
    architecture->dropout = recipe->train.dropout;
    architecture->task = fit->task;
    architecture->classes = fit->classes;
    architecture->sources = qn_transforms_outputs(transforms, &architecture->sources_count);
    if (fit->array) {
        qn_nn_loss loss;
        architecture->target = fit->array->shape;
        options.loss.labels_max = fit->array->shape.dims[0];
        (void)qn_arrays_loss(fit->array, &loss, &architecture->closing);
    }
    if (fit->task == QN_TASK_TRANSCRIBE)
        architecture->classes = fit->array_classes;
    architecture->keep_closing = fit->task == QN_TASK_REGRESSION && !architecture->closing;
    architecture->rows = fit->split.train_count;
    architecture->counts = recipe->train.loss == QN_RECIPE_POISSON;
    qn_transforms_target_scale(transforms, &architecture->target_mean,
                               &architecture->target_deviation);
    *ret = options;
    return QN_OK;
}
