/* Training graphs: they learn, clip, decay, accumulate and evaluate as they say. */
#include "testing.h"

#include <math.h>
#include <stdio.h>

#include "graph/plan.h"
#include "graph/state.h"
#include "nn/layers.h"
#include "nn/training.h"

static qn_error err;

static const float four_inputs[4][2] = {{1, 2}, {3, 4}, {5, 6}, {7, 8}};
static const float four_targets[4] = {1, 2, 3, 4};

typedef struct {
    qn_graph *graph, *apply;
    qn_state *state;
    qn_plan *plan, *apply_plan;
} session;

static qn_value mlp(qn_graph *graph, qn_value x, int64_t hidden, int64_t outputs)
{
    qn_nn_scope first = {.graph = graph, .name = "first"}, last = {.graph = graph, .name = "last"};
    if (hidden > 0)
        x = qn_nn_dense(&first, x, &(qn_nn_dense_options){.units = hidden, .activation = "tanh"});
    return qn_nn_dense(&last, x, &(qn_nn_dense_options){.units = outputs});
}

static session open_session(const qn_nn_training *training, int64_t hidden, int64_t outputs,
                            int64_t batch)
{
    session s = {.graph = qn_graph_create()};
    qn_value x = qn_graph_input(s.graph, "x", QN_DTYPE_F32, QN_SHAPE(QN_DIM_BATCH, 2));
    qn_value y = mlp(s.graph, x, hidden, outputs);
    qn_graph_output(s.graph, "y", y);
    assert_ok(qn_nn_training_add(s.graph, y, training, &s.apply, &err), &err);
    assert_ok(qn_state_create(&s.state, &err), &err);
    assert_ok(qn_state_add_graph(s.state, s.graph, 3, &err), &err);
    qn_plan_options options = {.batch = batch, .training = true};
    assert_ok(qn_plan_create(s.graph, s.state, &options, &s.plan, &err), &err);
    if (s.apply) {
        assert_ok(qn_state_add_graph(s.state, s.apply, 3, &err), &err);
        assert_ok(qn_plan_create(s.apply, s.state, &options, &s.apply_plan, &err), &err);
    }
    return s;
}

static void close_session(session *s)
{
    qn_plan_destroy(s->plan);
    qn_plan_destroy(s->apply_plan);
    qn_state_destroy(s->state);
    qn_graph_destroy(s->graph);
    qn_graph_destroy(s->apply);
}

static void set_lr(const qn_plan *plan, float lr)
{
    *(float *)qn_plan_input(plan, "train.lr")->data = lr;
}

static float loss_of(const qn_plan *plan)
{
    return *(const float *)qn_plan_output(plan, "train.loss")->data;
}

static float *state_of(const session *s, const char *name)
{
    const qn_named_tensor *found = qn_state_find(s->state, name);
    if (!found)
        fail_msg("no state '%s'", name);
    return found->tensor.data;
}

/* The mission's first program. */
static void linear_regression_learns_five_and_six(void **unused)
{
    (void)unused;
    qn_nn_training training = {.loss = {.kind = QN_NN_LOSS_MSE},
                               .optimizer = qn_nn_optimizer_default(QN_NN_SGD)};
    session s = open_session(&training, 0, 1, 4);
    memcpy(qn_plan_input(s.plan, "x")->data, four_inputs, sizeof four_inputs);
    memcpy(qn_plan_input(s.plan, "train.target")->data, four_targets, sizeof four_targets);
    set_lr(s.plan, 0.01F);
    for (uint32_t i = 0; i < 1000; i++)
        qn_plan_run(s.plan, i);
    assert_true(loss_of(s.plan) < 1e-2F);
    assert_int_equal(*(int64_t *)(void *)state_of(&s, "train.step"), 1000);
    const char *outputs[] = {"y"};
    qn_plan *predict = NULL;
    qn_plan_options options = {.batch = 2, .outputs = outputs, .outputs_count = 1};
    assert_ok(qn_plan_create(s.graph, s.state, &options, &predict, &err), &err);
    const float questions[4] = {9, 10, 11, 12};
    memcpy(qn_plan_input(predict, "x")->data, questions, sizeof questions);
    qn_plan_run(predict, 0);
    const float *y = qn_plan_output(predict, "y")->data;
    assert_true(fabsf(y[0] - 5) < 0.05F && fabsf(y[1] - 6) < 0.05F);
    qn_plan_destroy(predict);
    close_session(&s);
}

static void every_optimizer_learns_exclusive_or(void **unused)
{
    (void)unused;
    static const float inputs[4][2] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}};
    static const int64_t labels[4] = {0, 1, 1, 0};
    static const float rates[QN_NN_OPTIMIZER_COUNT] = {
        [QN_NN_SGD] = 0.1F,       [QN_NN_ADAM] = 0.02F,    [QN_NN_ADAMW] = 0.02F,
        [QN_NN_ADAGRAD] = 0.3F,   [QN_NN_RMSPROP] = 0.01F, [QN_NN_ADADELTA] = 10,
        [QN_NN_NADAM] = 0.02F,    [QN_NN_LION] = 0.01F,    [QN_NN_LAMB] = 0.02F,
        [QN_NN_ADAFACTOR] = 0.1F, [QN_NN_MUON] = 0.05F};
    for (int kind = 0; kind < QN_NN_OPTIMIZER_COUNT; kind++) {
        qn_nn_training training = {.loss = {.kind = QN_NN_LOSS_CE},
                                   .optimizer =
                                       qn_nn_optimizer_default((qn_nn_optimizer_kind)kind)};
        if (kind == QN_NN_SGD) {
            training.optimizer.momentum = 0.9;
            training.optimizer.nesterov = true;
        }
        session s = open_session(&training, 8, 2, 4);
        memcpy(qn_plan_input(s.plan, "x")->data, inputs, sizeof inputs);
        memcpy(qn_plan_input(s.plan, "train.target")->data, labels, sizeof labels);
        set_lr(s.plan, rates[kind]);
        for (uint32_t i = 0; i < 600; i++)
            qn_plan_run(s.plan, i);
        if (!(loss_of(s.plan) < 0.05F))
            fail_msg("%s: loss %g", qn_nn_optimizer_name((qn_nn_optimizer_kind)kind),
                     (double)loss_of(s.plan));
        close_session(&s);
    }
}

/* Names that match a pattern, and the group's own rate, decay or rest. */
static void groups_have_their_own_rate_and_decay(void **unused)
{
    (void)unused;
    assert_true(qn_nn_pattern_matches("first", "first.weight"));
    assert_true(qn_nn_pattern_matches("*.bias", "layers.0.bias"));
    assert_true(qn_nn_pattern_matches("l*s.*.w*", "layers.10.weight"));
    assert_false(qn_nn_pattern_matches("first", "first2.weight"));
    assert_false(qn_nn_pattern_matches("*.bias", "layers.0.bias2"));
    const qn_nn_group groups[] = {{.pattern = "*.bias", .weight_decay = 0},
                                  {.pattern = "first", .rate = 0.5, .weight_decay = -1}};
    qn_nn_training training = {.loss = {.kind = QN_NN_LOSS_MSE},
                               .optimizer = qn_nn_optimizer_default(QN_NN_ADAMW)};
    training.optimizer.weight_decay = 0.5;
    training.optimizer.groups = groups;
    training.optimizer.groups_count = 2;
    session s = open_session(&training, 3, 1, 4);
    memset(state_of(&s, "last.weight"), 0,
           3 * sizeof(float)); /* no gradient reaches the first layer */
    float before = state_of(&s, "first.weight")[0];
    *state_of(&s, "first.bias") = 2;
    set_lr(s.plan, 0.1F);
    qn_plan_run(s.plan, 0);
    assert_near((double)state_of(&s, "first.weight")[0], (double)before * (1 - 0.05 * 0.5), 1e-6);
    assert_true(*state_of(&s, "first.bias") == 2.0F);
    close_session(&s);
}

/* w and b after one step of plain SGD, by hand: prediction 0, so g = 2/4 sum(-t x). */
static void one_step_is_what_the_formula_says(void **unused)
{
    (void)unused;
    qn_nn_training training = {.loss = {.kind = QN_NN_LOSS_MSE},
                               .optimizer = qn_nn_optimizer_default(QN_NN_SGD)};
    const double sums[3] = {1 + 6 + 15 + 28, 2 + 8 + 18 + 32, 10};
    const double norm = sqrt(25.0 * 25 + 30.0 * 30 + 5.0 * 5);
    for (int clip = 0; clip < 3; clip++) {
        training.optimizer.clip_norm = clip == 1 ? 2 : 0;
        training.optimizer.clip_value = clip == 2 ? 7 : 0;
        session s = open_session(&training, 0, 1, 4);
        float *w = state_of(&s, "last.weight"), *b = state_of(&s, "last.bias");
        w[0] = w[1] = 0;
        memcpy(qn_plan_input(s.plan, "x")->data, four_inputs, sizeof four_inputs);
        memcpy(qn_plan_input(s.plan, "train.target")->data, four_targets, sizeof four_targets);
        set_lr(s.plan, 0.5F);
        qn_plan_run(s.plan, 0);
        double g[3];
        for (int i = 0; i < 3; i++) {
            g[i] = -0.5 * sums[i];
            if (clip == 1)
                g[i] *= 2 / norm;
            if (clip == 2)
                g[i] = fmax(g[i], -7);
        }
        assert_true(fabs((double)w[0] + 0.5 * g[0]) < 1e-4);
        assert_true(fabs((double)w[1] + 0.5 * g[1]) < 1e-4);
        assert_true(fabs((double)b[0] + 0.5 * g[2]) < 1e-4);
        assert_true(fabsf(loss_of(s.plan) - 7.5F) < 1e-5F);
        const qn_tensor *measured = qn_plan_output(s.plan, "train.grad_norm");
        assert_true((measured != NULL) == (clip == 1));
        if (measured)
            assert_true(fabs(qn_tensor_f64_at(measured, 0) - norm) < 1e-3);
        close_session(&s);
    }
}

static void weight_decay_spares_biases_when_asked(void **unused)
{
    (void)unused;
    for (int matrices = 0; matrices < 2; matrices++) {
        qn_nn_training training = {.loss = {.kind = QN_NN_LOSS_MSE},
                                   .optimizer = qn_nn_optimizer_default(QN_NN_ADAMW)};
        training.optimizer.weight_decay = 0.5;
        training.optimizer.decay_matrices = matrices;
        session s = open_session(&training, 0, 1, 4);
        float *w = state_of(&s, "last.weight"), *b = state_of(&s, "last.bias");
        w[0] = w[1] = 0;
        b[0] = 2; /* all targets 2: no gradient */
        float *target = qn_plan_input(s.plan, "train.target")->data;
        for (int i = 0; i < 4; i++)
            target[i] = 2;
        memcpy(qn_plan_input(s.plan, "x")->data, four_inputs, sizeof four_inputs);
        set_lr(s.plan, 0.1F);
        qn_plan_run(s.plan, 0);
        assert_true(fabsf(b[0] - (matrices ? 2.0F : 1.9F)) < 1e-5F);
        close_session(&s);
    }
}

/* Two micro-batches of two are one batch of four. */
static void accumulation_equals_the_larger_batch(void **unused)
{
    (void)unused;
    qn_nn_training training = {.loss = {.kind = QN_NN_LOSS_MSE},
                               .optimizer = qn_nn_optimizer_default(QN_NN_ADAM)};
    training.optimizer.clip_norm = 1;
    session whole = open_session(&training, 3, 1, 4);
    training.accumulate = 2;
    session parts = open_session(&training, 3, 1, 2);
    assert_non_null(parts.apply);
    assert_null(whole.apply);
    memcpy(qn_plan_input(whole.plan, "x")->data, four_inputs, sizeof four_inputs);
    memcpy(qn_plan_input(whole.plan, "train.target")->data, four_targets, sizeof four_targets);
    set_lr(whole.plan, 0.01F);
    set_lr(parts.apply_plan, 0.01F);
    for (uint32_t step = 0; step < 5; step++) {
        qn_plan_run(whole.plan, step);
        for (int part = 0; part < 2; part++) {
            memcpy(qn_plan_input(parts.plan, "x")->data, four_inputs[2 * part], 16);
            memcpy(qn_plan_input(parts.plan, "train.target")->data, &four_targets[2 * part], 8);
            qn_plan_run(parts.plan, step);
        }
        qn_plan_run(parts.apply_plan, step);
    }
    const float *a = state_of(&whole, "first.weight"), *b = state_of(&parts, "first.weight");
    for (int i = 0; i < 6; i++)
        assert_true(fabsf(a[i] - b[i]) < 1e-5F);
    assert_true(fpclassify(state_of(&parts, "accum.first.weight")[0]) == FP_ZERO);
    close_session(&whole);
    close_session(&parts);
}

static void row_weights_and_class_weights_count(void **unused)
{
    (void)unused;
    qn_nn_training training = {
        .loss = {.kind = QN_NN_LOSS_MAE}, .weighted = true, .loss_only = true};
    session s = open_session(&training, 0, 1, 4);
    float *w = state_of(&s, "last.weight");
    w[0] = w[1] = 0;
    memcpy(qn_plan_input(s.plan, "x")->data, four_inputs, sizeof four_inputs);
    memcpy(qn_plan_input(s.plan, "train.target")->data, four_targets, sizeof four_targets);
    const float weights[4] = {1, 0, 0, 3};
    memcpy(qn_plan_input(s.plan, "train.weight")->data, weights, sizeof weights);
    qn_plan_run(s.plan, 0);
    assert_true(fabsf(loss_of(s.plan) - (1 + 12) / 4.0F) < 1e-6F);
    assert_null(qn_plan_input(s.plan, "train.lr"));
    close_session(&s);

    /* Logits 0: each row costs log 2, so weights cancel; an ignored label leaves the mean as it is. */
    const double class_weights[2] = {1, 5};
    training = (qn_nn_training){
        .loss = {.kind = QN_NN_LOSS_CE, .class_weights = class_weights, .label_smoothing = 0.1},
        .loss_only = true,
        .gradients = true};
    s = open_session(&training, 0, 2, 4);
    memset(state_of(&s, "last.weight"), 0, 16);
    memcpy(qn_plan_input(s.plan, "x")->data, four_inputs, sizeof four_inputs);
    const int64_t labels[4] = {0, 1, QN_NN_IGNORE_INDEX, 0};
    memcpy(qn_plan_input(s.plan, "train.target")->data, labels, sizeof labels);
    qn_plan_run(s.plan, 0);
    /* rows: (0.9 w[t] + 0.1 * 3) log 2 */
    double rows = (0.9 * 7 + 0.1 * 3 * 3) * log(2) / 7;
    assert_true(fabs((double)loss_of(s.plan) - rows) < 1e-6);
    const qn_tensor *bias = qn_plan_output(s.plan, "grad.last.bias");
    assert_non_null(bias);
    assert_true(fabs(qn_tensor_f64_at(bias, 0) + qn_tensor_f64_at(bias, 1)) < 1e-6);
    close_session(&s);
}

/* The loss of scores that are states, one row [N, C] each, and its gradient in ret_slopes; f64. */
static double loss_of_scores(const qn_nn_loss *loss, const double *scores, int64_t n, int64_t c,
                             const void *targets, double *ret_slopes)
{
    qn_graph *graph = qn_graph_create();
    qn_state *state = NULL;
    qn_plan *plan = NULL;
    qn_value x = qn_graph_input(graph, "x", QN_DTYPE_F64, QN_SHAPE(n, c));
    qn_type type = *qn_graph_type(graph, x), target = qn_nn_loss_target(loss, &type);
    qn_value t = qn_graph_input(graph, "t", target.dtype, target.shape), slopes = QN_NONE;
    qn_value value = qn_nn_loss_add(graph, loss, x, t, QN_NONE);
    assert_ok(qn_graph_check(graph, &err), &err);
    assert_ok(qn_graph_grad(graph, value, &x, 1, &slopes, &err), &err);
    qn_graph_output(graph, "loss", value);
    qn_graph_output(graph, "slopes", slopes);
    assert_ok(qn_state_create(&state, &err), &err);
    qn_plan_options options = {.batch = 1};
    assert_ok(qn_plan_create(graph, state, &options, &plan, &err), &err);
    memcpy(qn_plan_input(plan, "x")->data, scores, (size_t)(n * c) * sizeof(double));
    const qn_tensor *to = qn_plan_input(plan, "t");
    memcpy(to->data, targets, qn_tensor_bytes(to));
    qn_plan_run(plan, 0);
    double result = qn_tensor_f64_at(qn_plan_output(plan, "loss"), 0);
    for (int64_t i = 0; ret_slopes && i < n * c; i++)
        ret_slopes[i] = qn_tensor_f64_at(qn_plan_output(plan, "slopes"), i);
    qn_plan_destroy(plan);
    qn_state_destroy(state);
    qn_graph_destroy(graph);
    return result;
}

/* -(1 - p)^focus log p, by the definition. */
static double focal_by_hand(const double *scores, int c, int label, double focus)
{
    double sum = 0, own = c == 1 ? (label ? scores[0] : -scores[0]) : scores[label];
    for (int i = 0; i < c; i++)
        sum += exp(scores[i]);
    double p = c == 1 ? 1 / (1 + exp(-own)) : exp(own) / sum;
    return -pow(1 - p, focus) * log(p);
}

static void focal_loss_is_what_its_paper_says(void **unused)
{
    (void)unused;
    enum { N = 3, C = 4 };
    static const double scores[N * C] = {1, -2, 0.5, 3, -1, 0, 2, 0.3, 0.1, 0.2, -0.7, 1.5};
    static const double weights[C] = {1, 2, 0.5, 3};
    static const int64_t labels[N] = {3, 1, 2}, ignoring[N] = {3, QN_NN_IGNORE_INDEX, 2};
    static const double sides[N] = {1, 0, 1};
    for (double focus = 0; focus <= 2; focus += 0.5) {
        qn_nn_loss loss = {.kind = QN_NN_LOSS_FOCAL, .focus = focus};
        double rows[N], slopes[N * C], want = 0, one = 0;
        for (int i = 0; i < N; i++) {
            rows[i] = focal_by_hand(scores + C * i, C, (int)labels[i], focus);
            want += rows[i] / N;
            one += focal_by_hand(scores + i, 1, sides[i] > 0, focus) / N;
        }
        assert_near(loss_of_scores(&loss, scores, N, C, labels, slopes), want, 1e-12);
        assert_near(loss_of_scores(&loss, scores, N, C, ignoring, NULL), (rows[0] + rows[2]) / 2,
                    1e-12);
        assert_near(loss_of_scores(&loss, scores, N, 1, sides, NULL), one, 1e-12);
        for (int i = 0; i < N * C; i++) {
            double moved[N * C];
            memcpy(moved, scores, sizeof moved);
            moved[i] += 1e-6;
            double up = loss_of_scores(&loss, moved, N, C, labels, NULL);
            assert_near(slopes[i], (up - want) / 1e-6, 1e-5);
        }
        loss.class_weights = weights;
        want = (3 * rows[0] + 2 * rows[1] + 0.5 * rows[2]) / 5.5;
        assert_near(loss_of_scores(&loss, scores, N, C, labels, NULL), want, 1e-12);
    }
    /* what is right beyond doubt costs nothing and pulls at nothing */
    static const double sure[2] = {900, -900};
    static const int64_t right = 0;
    double slopes[2];
    qn_nn_loss loss = {.kind = QN_NN_LOSS_FOCAL, .focus = 0.5};
    assert_true(loss_of_scores(&loss, sure, 1, 2, &right, slopes) <= 0);
    assert_true(fabs(slopes[0]) <= 0 && fabs(slopes[1]) <= 0);
}

static void two_sides_are_smoothed_and_weighed(void **unused)
{
    (void)unused;
    static const double scores[3] = {0.5, -2, 0.25}, sides[3] = {1, 0, 0}, weights[2] = {2, 6};
    qn_nn_loss bce = {.kind = QN_NN_LOSS_BCE, .label_smoothing = 0.2};
    double want =
        (log1p(exp(0.5)) - 0.9 * 0.5 + log1p(exp(-2)) + 0.1 * 2 + log1p(exp(0.25)) - 0.1 * 0.25) /
        3;
    assert_near(loss_of_scores(&bce, scores, 3, 1, sides, NULL), want, 1e-12);
    bce = (qn_nn_loss){.kind = QN_NN_LOSS_BCE, .class_weights = weights};
    want = (3 * log1p(exp(-0.5)) + log1p(exp(-2)) + log1p(exp(0.25))) / 3;
    assert_near(loss_of_scores(&bce, scores, 3, 1, sides, NULL), want, 1e-12);
    qn_nn_loss hinge = {.kind = QN_NN_LOSS_HINGE, .class_weights = weights};
    want = (3 * 0.5 + 0 + 1.25) / 3;
    assert_near(loss_of_scores(&hinge, scores, 3, 1, sides, NULL), want, 1e-12);
}

static void wrong_targets_and_options_are_refused(void **unused)
{
    (void)unused;
    qn_graph *graph = qn_graph_create();
    qn_value x = qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SHAPE(QN_DIM_BATCH, 3));
    qn_value t = qn_graph_input(graph, "t", QN_DTYPE_F32, QN_SHAPE(QN_DIM_BATCH));
    qn_nn_loss loss = {.kind = QN_NN_LOSS_CE};
    assert_int_equal(qn_nn_loss_add(graph, &loss, x, t, QN_NONE), QN_NONE);
    assert_int_equal(qn_graph_check(graph, &err), QN_ERR_ARG);
    assert_text(&err, "loss ce of predictions [B, 3] expects targets of i64 [B], got f32 [B]");
    qn_graph_destroy(graph);

    graph = qn_graph_create();
    x = qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SHAPE(QN_DIM_BATCH, 3));
    qn_nn_training training = {.optimizer = qn_nn_optimizer_default(QN_NN_SGD)};
    qn_graph *apply = NULL;
    assert_int_equal(qn_nn_training_add(graph, x, &training, &apply, &err), QN_ERR_ARG);
    assert_text(&err, "nothing to train");
    qn_graph_destroy(graph);

    graph = qn_graph_create();
    x = qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SHAPE(QN_DIM_BATCH, 3));
    training.optimizer.momentum = 1;
    assert_int_equal(qn_nn_training_add(graph, mlp(graph, x, 0, 1), &training, &apply, &err),
                     QN_ERR_ARG);
    assert_text(&err, "momentum is 1");
    qn_graph_destroy(graph);
}

static void names_are_found(void **unused)
{
    (void)unused;
    qn_nn_loss_kind loss;
    qn_nn_optimizer_kind optimizer;
    for (int i = 0; i < QN_NN_LOSS_COUNT; i++)
        assert_true(qn_nn_loss_find(qn_nn_loss_name((qn_nn_loss_kind)i), &loss) && (int)loss == i);
    for (int i = 0; i < QN_NN_OPTIMIZER_COUNT; i++)
        assert_true(
            qn_nn_optimizer_find(qn_nn_optimizer_name((qn_nn_optimizer_kind)i), &optimizer) &&
            (int)optimizer == i);
    assert_false(qn_nn_loss_find("mean", &loss));
    assert_false(qn_nn_optimizer_find("adamax", &optimizer));
    assert_true(qn_nn_optimizer_lr(QN_NN_SGD) > qn_nn_optimizer_lr(QN_NN_ADAM));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_regression_learns_five_and_six),
        cmocka_unit_test(every_optimizer_learns_exclusive_or),
        cmocka_unit_test(groups_have_their_own_rate_and_decay),
        cmocka_unit_test(one_step_is_what_the_formula_says),
        cmocka_unit_test(weight_decay_spares_biases_when_asked),
        cmocka_unit_test(accumulation_equals_the_larger_batch),
        cmocka_unit_test(row_weights_and_class_weights_count),
        cmocka_unit_test(focal_loss_is_what_its_paper_says),
        cmocka_unit_test(two_sides_are_smoothed_and_weighed),
        cmocka_unit_test(wrong_targets_and_options_are_refused),
        cmocka_unit_test(names_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
