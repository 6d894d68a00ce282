/* Layers and the table of layers: shapes, names of states, and the words of every refusal. */
#include "testing.h"

#include <math.h>
#include <stdio.h>

#include "graph/plan.h"
#include "graph/state.h"
#include "nn/layers.h"

static qn_error err;

/* Builds a recipe's list on an input; the graph is the caller's. */
static qn_status build(qn_graph *graph, qn_dtype dtype, qn_shape shape, const char *layers,
                       const qn_nn_layers_options *options, qn_value *ret, const char **closing)
{
    qn_arena arena;
    qn_json json;
    qn_arena_init(&arena, 0);
    assert_ok(qn_json_read(qn_str_from(layers), NULL, &arena, &json, &err), &err);
    qn_value x = qn_graph_input(graph, "x", dtype, shape);
    qn_status status = qn_nn_layers_build(graph, x, &json, options, ret, closing, &err);
    qn_arena_deinit(&arena);
    return status;
}

static void expect_shape(const char *layers, qn_shape input, qn_shape output)
{
    qn_graph *graph = qn_graph_create();
    qn_value y = QN_NONE;
    char came[128], want[128];
    assert_ok(build(graph, QN_DTYPE_F32, input, layers, &(qn_nn_layers_options){.units_auto = 7},
                    &y, NULL),
              &err);
    const qn_shape *shape = &qn_graph_type(graph, y)->shape;
    if (!qn_shape_equal(shape, &output))
        fail_msg("%s gives %s, expected %s", layers, qn_shape_text(shape, came),
                 qn_shape_text(&output, want));
    qn_graph_destroy(graph);
}

enum { B = QN_DIM_BATCH };

static void layers_give_the_shapes_of_keras(void **unused)
{
    (void)unused;
    expect_shape("[{\"dense\": {\"units\": 10}}]", QN_SHAPE(B, 784), QN_SHAPE(B, 10));
    expect_shape("[{\"dense\": {\"units\": 3}}]", QN_SHAPE(B, 5, 8), QN_SHAPE(B, 5, 3));
    expect_shape("[{\"dense\": {\"units\": \"auto\"}}]", QN_SHAPE(B, 4), QN_SHAPE(B, 7));
    expect_shape("[{\"conv2d\": {\"filters\": 32, \"kernel\": 3}}]", QN_SHAPE(B, 28, 28, 1),
                 QN_SHAPE(B, 26, 26, 32));
    expect_shape("[{\"conv2d\": {\"filters\": 4, \"kernel\": [3, 5], \"padding\": \"same\", "
                 "\"stride\": 2}}]",
                 QN_SHAPE(B, 28, 27, 1), QN_SHAPE(B, 14, 14, 4));
    expect_shape("[{\"conv2d\": {\"filters\": 4, \"kernel\": 3, \"dilation\": 2, \"groups\": 2}}]",
                 QN_SHAPE(B, 9, 9, 2), QN_SHAPE(B, 5, 5, 4));
    expect_shape("[{\"conv2d\": {\"filters\": 4, \"kernel\": 3, \"padding\": [1, 0, 2, 3], "
                 "\"init\": \"he_normal\"}}]",
                 QN_SHAPE(B, 8, 8, 2), QN_SHAPE(B, 9, 9, 4));
    expect_shape("[{\"max_pool2d\": {\"size\": 2}}]", QN_SHAPE(B, 26, 27, 3),
                 QN_SHAPE(B, 13, 13, 3));
    expect_shape("[{\"avg_pool2d\": {\"size\": 3, \"stride\": 1, \"padding\": \"same\"}}]",
                 QN_SHAPE(B, 6, 6, 3), QN_SHAPE(B, 6, 6, 3));
    expect_shape("[\"global_avg_pool2d\"]", QN_SHAPE(B, 6, 6, 3), QN_SHAPE(B, 3));
    expect_shape("[\"global_max_pool2d\"]", QN_SHAPE(B, 6, 6, 3), QN_SHAPE(B, 3));
    expect_shape("[\"flatten\"]", QN_SHAPE(B, 6, 6, 3), QN_SHAPE(B, 108));
    expect_shape("[{\"reshape\": {\"shape\": [4, -1]}}]", QN_SHAPE(B, 12), QN_SHAPE(B, 4, 3));
    expect_shape("[\"layer_norm\", \"rms_norm\", {\"group_norm\": {\"groups\": 3}}]",
                 QN_SHAPE(B, 5, 12), QN_SHAPE(B, 5, 12));
    expect_shape("[\"positions\", {\"positions\": {\"kind\": \"learned\"}}, "
                 "{\"multi_head_attention\": {\"heads\": 2}}, {\"feed_forward\": {\"activation\": "
                 "\"swiglu\"}}]",
                 QN_SHAPE(B, 5, 12), QN_SHAPE(B, 5, 12));
    expect_shape("[{\"transformer\": {\"heads\": 4, \"kv_heads\": 2, \"blocks\": 2, \"dropout\": "
                 "0.1, \"order\": \"post\"}}, \"global_avg_pool1d\"]",
                 QN_SHAPE(B, 5, 12), QN_SHAPE(B, 12));
    expect_shape("[{\"transformer\": {\"heads\": 2, \"rotary\": true, \"causal\": true, \"norm\": "
                 "\"rms\"}}, \"global_max_pool1d\"]",
                 QN_SHAPE(B, 5, 12), QN_SHAPE(B, 12));
    expect_shape(
        "[{\"lstm\": {\"units\": 6, \"return_sequences\": true, \"bidirectional\": true}}, "
        "{\"gru\": {\"units\": 5, \"return_sequences\": true}}, {\"rnn\": {\"units\": 4, "
        "\"activation\": \"relu\"}}]",
        QN_SHAPE(B, 9, 3), QN_SHAPE(B, 4));
    expect_shape(
        "[{\"lstm\": {\"units\": 6, \"return_sequences\": true, \"bidirectional\": true}}]",
        QN_SHAPE(B, 9, 3), QN_SHAPE(B, 9, 12));
    expect_shape("[{\"gru\": {\"units\": 6, \"bidirectional\": true}}]", QN_SHAPE(B, 9, 3),
                 QN_SHAPE(B, 12));
    expect_shape("[\"batch_norm\", {\"dropout\": {\"rate\": 0.2}}, {\"activation\": {\"name\": "
                 "\"gelu\"}}]",
                 QN_SHAPE(B, 12), QN_SHAPE(B, 12));
}

static void every_activation_keeps_the_shape(void **unused)
{
    (void)unused;
    static const char *const names[] = {
        "linear",       "none",       "relu",      "leaky_relu",  "sigmoid",     "tanh",
        "gelu",         "gelu_tanh",  "silu",      "softmax",     "log_softmax", "elu",
        "selu",         "celu",       "softplus",  "softsign",    "mish",        "relu6",
        "hard_sigmoid", "hard_swish", "hard_tanh", "soft_shrink", "hard_shrink", "exponential",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char text[96];
        snprintf(text, sizeof text, "[{\"activation\": {\"name\": \"%s\"}}]", names[i]);
        expect_shape(text, QN_SHAPE(B, 5, 12), QN_SHAPE(B, 5, 12));
    }
}

static void numbers_move_as_their_layers_say(void **unused)
{
    (void)unused;
    expect_shape("[{\"permute\": {\"order\": [2, 1]}}]", QN_SHAPE(B, 3, 4), QN_SHAPE(B, 4, 3));
    expect_shape("[{\"repeat\": {\"count\": 7}}]", QN_SHAPE(B, 3), QN_SHAPE(B, 7, 3));
    expect_shape("[\"prelu\", \"unit_norm\"]", QN_SHAPE(B, 5, 3), QN_SHAPE(B, 5, 3));
    qn_graph *graph = qn_graph_create();
    qn_nn_scope at = {.graph = graph, .name = "hot"};
    qn_value x = qn_graph_input(graph, "x", QN_DTYPE_I64, QN_SHAPE(B, 6));
    qn_value y = qn_nn_one_hot(&at, x, 9);
    assert_ok(qn_graph_check(graph, &err), &err);
    assert_int_equal(qn_graph_type(graph, y)->shape.rank, 3);
    assert_int_equal(qn_graph_type(graph, y)->shape.dims[2], 9);
    qn_graph_destroy(graph);
}

static void refusals_name_layer_value_and_expectation(void **unused)
{
    (void)unused;
    static const struct {
        qn_shape input;
        const char *layers, *text;
    } cases[] = {
        {{5, {B, 1, 1, 4, 2}},
         "[{\"conv2d\": {\"filters\": 32, \"kernel\": 3}}]",
         "layers[0] conv2d expects input of 3 dimensions [H, W, C], got [1, 1, 4, 2]"},
        {{2, {B, 4}},
         "[{\"conv2d\": {\"filters\": 32, \"kernel\": 3}}]",
         "layers[0] conv2d expects input of 3 dimensions [H, W, C], got [4]"},
        {{3, {B, 4, 3}},
         "[{\"permute\": {\"order\": [1, 1]}}]",
         "layers[0] permute has 1 in its order, expected each of 1 to 2 once"},
        {{3, {B, 4, 3}},
         "[{\"permute\": {\"order\": [1]}}]",
         "layers[0] permute orders 1 dimensions, got [4, 3]"},
        {{3, {B, 4, 3}},
         "[{\"repeat\": {\"count\": 2}}]",
         "layers[0] repeat expects input of 1 dimension [features], got [4, 3]"},
        {{2, {B, 4}}, "[\"flatten\", \"max_pool2d\"]", "layers[1] max_pool2d expects input of 3"},
        {{4, {B, 4, 4, 1}},
         "[{\"conv2d\": {\"filters\": 2, \"kernel\": 5}}]",
         "layers[0] conv2d has a window of 5, which does not fit input of height 4"},
        {{4, {B, 4, 4, 3}},
         "[{\"conv2d\": {\"filters\": 4, \"kernel\": 1, \"groups\": 2}}]",
         "layers[0] conv2d has 2 groups, which do not divide 3 channels"},
        {{2, {B, 4}},
         "[{\"dens\": {\"units\": 3}}]",
         "layers[0]: unknown layer 'dens'; did you "
         "mean 'dense'?"},
        {{2, {B, 4}},
         "[{\"dense\": {\"unit\": 3}}]",
         "unknown attribute 'unit'; did you mean "
         "'units'?"},
        {{2, {B, 4}}, "[{\"dense\": {}}]", "layers[0] dense needs 'units'"},
        {{2, {B, 4}}, "[{\"dense\": {\"units\": 0}}]", "'units' is 0, expected an integer or auto"},
        {{2, {B, 4}}, "[{\"dense\": {\"units\": 2.5}}]", "'units' is 2.5"},
        {{2, {B, 4}},
         "[{\"dense\": {\"units\": 2, \"activation\": \"rel\"}}]",
         "'activation' is \"rel\", expected one of linear none relu"},
        {{2, {B, 4}}, "[{\"dropout\": {\"rate\": 1}}]", "'rate' is 1, expected a number from 0"},
        {{2, {B, 4}}, "[{\"reshape\": {\"shape\": [5, 2]}}]", "cannot reshape [4] to [5, 2]"},
        {{2, {B, 4}}, "[\"group_norm\"]", "has 32 groups, which do not divide 4 channels"},
        {{3, {B, 5, 6}},
         "[{\"transformer\": {\"heads\": 4}}]",
         "transformer has 4 heads, which do not divide 6 numbers"},
        {{3, {B, 5, 6}},
         "[{\"multi_head_attention\": {\"heads\": 2, \"rotary\": true}}]",
         "has heads of 3 numbers, rotary positions need an even count"},
        {{2, {B, 4}}, "[\"positions\"]", "positions expects input of 2 dimensions [T, D], got [4]"},
        {{2, {B, 4}},
         "[{\"lstm\": {\"units\": 3}}]",
         "lstm expects input of 2 dimensions [T, features], got [4]"},
        {{3, {B, 5, 6}},
         "[{\"slice\": {\"axis\": 3}}]",
         "layers[0] slice has axis 3, expected 1 to 2 or -2 to -1 of input [5, 6]"},
        {{2, {B, 4}},
         "[{\"slice\": {\"start\": 3, \"end\": 2}}]",
         "layers[0] slice takes 3 to 2 of 4, which is nothing"},
        {{2, {B, 4}},
         "[{\"gather\": {\"indices\": [0, 4]}}]",
         "layers[0] gather has index 4, expected 0 to 3"},
        {{2, {B, 4}},
         "[{\"scatter\": {\"indices\": [0, 4], \"size\": 5}}]",
         "layers[0] scatter has 2 indices, expected one for each of 4"},
        {{2, {B, 2}},
         "[{\"scatter\": {\"indices\": [0, 5], \"size\": 5}}]",
         "layers[0] scatter has index 5, expected 0 to 4"},
        {{2, {B, 4}},
         "[{\"tile\": {\"repeats\": [1, 2]}}]",
         "layers[0] tile has 2 numbers for the dimensions of input [4]"},
        {{3, {B, 4, 2}},
         "[{\"expand\": {\"shape\": [4, 3]}}]",
         "layers[0] expand cannot expand dimension 2 of [4, 2] to 3: it must be 1"},
        {{2, {B, 4}}, "[{\"top_k\": {\"count\": 5}}]", "layers[0] top_k takes the 5 largest of 4"},
        {{4, {B, 4, 4, 1}}, "[\"masking\"]", "masking expects input of 1 or 2 dimensions, [T] or"},
        {{3, {B, 4, 2}},
         "[{\"einsum\": {\"equation\": \"btc,dc\", \"weight\": [3, 2, 2]}}]",
         "layers[0] einsum has the equation 'btc,dc', expected as many letters as input [4, 2] "
         "(and its batch) and weight [3, 2, 2] have dimensions"},
        {{3, {B, 4, 2}},
         "[{\"einsum\": {\"equation\": \"btc,cd->btd\", \"weight\": [3, 2]}}]",
         "layers[0] einsum has 2 and 3 along 'c' of 'btc,cd->btd'"},
        {{3, {B, 4, 2}},
         "[{\"einsum\": {\"equation\": \"btc,cd->tbd\", \"weight\": [2, 3]}}]",
         "layers[0] einsum has the equation 'btc,cd->tbd', whose result must begin with 'b', the "
         "batch"},
        {{4, {B, 5, 6, 3}},
         "[{\"residual\": {\"layers\": [\"max_pool2d\"], \"join\": \"concat\"}}]",
         "layers[0] residual sets [2, 3, 3] beside [5, 6, 3]: they may differ in the last"},
        {{4, {B, 5, 6, 3}},
         "[{\"residual\": {\"layers\": [\"flatten\"], \"join\": \"multiply\"}}]",
         "layers[0] residual joins [90] to [5, 6, 3]: its shortcut must"},
        {{3, {B, 5, 6}},
         "[{\"transformer_decoder\": {\"heads\": 2}}]",
         "layers[0] transformer_decoder needs 'memory'"},
        {{3, {B, 5, 6}},
         "[{\"lstm\": {\"units\": 2, \"recurrent_activation\": \"gelu\"}}]",
         "'recurrent_activation' is \"gelu\", expected one of tanh relu"},
        {{2, {B, 4}},
         "[{\"activation\": {\"name\": \"softmx\"}}]",
         "exponential; did you mean 'softmax'?"},
        {{3, {B, 4, 2}},
         "[\"argmax\", {\"dense\": {\"units\": 2}}]",
         "layers[1] dense has weights and expects f32, got i64: put embedding, one_hot or cast"},
        {{2, {B, 4}},
         "[{\"cast\": {\"to\": \"f16\"}}, {\"dense\": {\"units\": 2}}]",
         "layers[1] dense has weights and expects f32, got f16: put cast: {to: f32} before it"},
        {{2, {B, 4}}, "[3]", "layers is"},
        {{2, {B, 4}}, "[[\"flatten\"]]", "layers[0] is"},
        {{2, {B, 4}}, "[]", "expected a list of 1 to"},
        {{2, {B, 4}}, "[{\"flatten\": 3}]", "expected its attributes"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_graph *graph = qn_graph_create();
        qn_value y = QN_NONE;
        qn_status status = build(graph, QN_DTYPE_F32, cases[i].input, cases[i].layers,
                                 &(qn_nn_layers_options){0}, &y, NULL);
        assert_int_equal(status, QN_ERR_ARG);
        assert_int_equal(y, QN_NONE);
        assert_text(&err, cases[i].text);
        qn_graph_destroy(graph);
    }
}

/* What the list answers for one sample of 4 features a step, after `steps` steps of which the later ones may be padding. */
static void answer(const char *layers, int64_t steps, const float *x, float *dst)
{
    qn_graph *graph = qn_graph_create();
    qn_value y = QN_NONE;
    qn_state *state = NULL;
    qn_plan *plan = NULL;
    if (build(graph, QN_DTYPE_F32, QN_SHAPE(B, steps, 4), layers, &(qn_nn_layers_options){0}, &y,
              NULL) != QN_OK)
        fail_msg("%s: %s", layers, err.text);
    qn_graph_output(graph, "y", y);
    assert_ok(qn_state_create(&state, &err), &err);
    assert_ok(qn_state_add_graph(state, graph, 1, &err), &err);
    assert_ok(qn_plan_create(graph, state, &(qn_plan_options){.batch = 1}, &plan, &err), &err);
    memcpy(qn_plan_input(plan, "x")->data, x, (size_t)(4 * steps) * sizeof *x);
    qn_plan_run(plan, 0);
    const qn_tensor *out = qn_plan_output(plan, "y");
    assert_int_equal(qn_shape_count(&out->shape), 4);
    memcpy(dst, out->data, 4 * sizeof *dst);
    qn_plan_destroy(plan);
    qn_state_destroy(state);
    qn_graph_destroy(graph);
}

/* Padding behind a sequence changes nothing of what comes out, and without masking it does. */
static void padding_does_not_touch_results(void **unused)
{
    (void)unused;
    static const char *const lists[] = {
        "{\"lstm\": {\"units\": 4}}",
        "{\"gru\": {\"units\": 2, \"bidirectional\": true}}",
        "{\"rnn\": {\"units\": 4, \"layers\": 2, \"reverse\": true}}",
        "{\"transformer\": {\"heads\": 2}}, \"global_avg_pool1d\"",
        "{\"multi_head_attention\": {\"heads\": 2}}, \"global_max_pool1d\"",
        "{\"multi_head_attention\": {\"heads\": 2, \"memory\": [\"layer_norm\"]}}, "
        "\"global_avg_pool1d\"",
        "{\"transformer_decoder\": {\"heads\": 2, \"memory\": [{\"dense\": {\"units\": 4}}]}}, "
        "\"global_avg_pool1d\"",
        "{\"residual\": {\"layers\": [{\"dense\": {\"units\": 4}}, {\"lstm\": {\"units\": 4, "
        "\"return_sequences\": true}}]}}, \"global_avg_pool1d\"",
    };
    float x[24];
    for (int i = 0; i < 24; i++)
        x[i] = i < 12 ? sinf((float)i + 1) - 0.5F : -9; /* 3 steps and 3 of padding */
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        char masked[256], plain[256];
        float want[4], got[4], wrong[4];
        snprintf(masked, sizeof masked, "[{\"masking\": {\"value\": -9}}, %s]", lists[i]);
        snprintf(plain, sizeof plain, "[{\"activation\": {\"name\": \"linear\"}}, %s]", lists[i]);
        answer(plain, 3, x, want);
        answer(masked, 6, x, got);
        answer(plain, 6, x, wrong);
        bool differs = false;
        for (int k = 0; k < 4; k++) {
            if (fabsf(got[k] - want[k]) > 1e-5F)
                fail_msg("%s gives %g with padding, %g without", lists[i], (double)got[k],
                         (double)want[k]);
            differs |= fabsf(wrong[k] - want[k]) > 1e-3F;
        }
        if (!differs)
            fail_msg("%s does not look at the last steps at all", lists[i]);
    }
}

static void unknown_activation_suggests_the_nearest(void **unused)
{
    (void)unused;
    qn_graph *graph = qn_graph_create();
    qn_value x = qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SHAPE(B, 3));
    qn_nn_scope at = {.graph = graph, .name = "act"};
    assert_int_equal(qn_nn_activation(&at, x, "reul"), QN_NONE);
    assert_int_equal(qn_graph_check(graph, &err), QN_ERR_ARG);
    assert_text(&err, "did you mean 'relu'?");
    qn_graph_destroy(graph);
}

static void closing_activation_is_left_to_the_loss(void **unused)
{
    (void)unused;
    const char *layers = "[{\"dense\": {\"units\": 4, \"activation\": \"sigmoid\"}},"
                         " {\"dense\": {\"units\": 10, \"activation\": \"softmax\"}}]";
    const char *closing = NULL;
    for (int logits = 0; logits < 2; logits++) {
        qn_graph *graph = qn_graph_create();
        qn_value y = QN_NONE;
        assert_ok(build(graph, QN_DTYPE_F32, QN_SHAPE(B, 4), layers,
                        &(qn_nn_layers_options){.logits = logits}, &y, &closing),
                  &err);
        assert_string_equal(closing, logits ? "softmax" : "linear");
        qn_graph_output(graph, "y", y);
        qn_state *state = NULL;
        qn_plan *plan = NULL;
        assert_ok(qn_state_create(&state, &err), &err);
        assert_ok(qn_state_add_graph(state, graph, 1, &err), &err);
        assert_ok(qn_plan_create(graph, state, &(qn_plan_options){.batch = 1}, &plan, &err), &err);
        memset(qn_plan_input(plan, "x")->data, 0, 16);
        qn_plan_run(plan, 0);
        double sum = 0;
        for (int i = 0; i < 10; i++)
            sum += qn_tensor_f64_at(qn_plan_output(plan, "y"), i);
        assert_true((fabs(sum - 1) < 1e-6) == !logits);
        qn_plan_destroy(plan);
        qn_state_destroy(state);
        qn_graph_destroy(graph);
    }
}

static void states_are_named_by_place_and_begin_as_keras(void **unused)
{
    (void)unused;
    qn_graph *graph = qn_graph_create();
    qn_value y = QN_NONE;
    assert_ok(build(graph, QN_DTYPE_F32, QN_SHAPE(B, 28, 28, 1),
                    "[{\"conv2d\": {\"filters\": 32, \"kernel\": 3, \"activation\": \"relu\"}},"
                    " {\"max_pool2d\": {\"size\": 2}}, \"flatten\", {\"dense\": {\"units\": 10}}]",
                    &(qn_nn_layers_options){0}, &y, NULL),
              &err);
    qn_state *state = NULL;
    assert_ok(qn_state_create(&state, &err), &err);
    assert_ok(qn_state_add_graph(state, graph, 1, &err), &err);
    assert_int_equal(qn_state_count(state), 4);
    const qn_tensor *weight = &qn_state_find(state, "layers.3.weight")->tensor;
    assert_int_equal(weight->shape.dims[0], 13 * 13 * 32);
    double limit = sqrt(6.0 / (13 * 13 * 32 + 10)), squares = 0, top = 0;
    int64_t count = qn_shape_count(&weight->shape);
    for (int64_t i = 0; i < count; i++) {
        double w = qn_tensor_f64_at(weight, i);
        squares += w * w;
        top = fmax(top, fabs(w));
    }
    assert_true(top <= limit && top > 0.99 * limit);
    assert_true(fabs(squares / (double)count / (limit * limit / 3) - 1) < 0.03);
    const qn_tensor *bias = &qn_state_find(state, "layers.3.bias")->tensor;
    assert_true(fpclassify(qn_tensor_f64_at(bias, 9)) == FP_ZERO);
    assert_non_null(qn_state_find(state, "layers.0.weight"));
    qn_state_destroy(state);
    qn_graph_destroy(graph);
}

static void layers_of_pixels_come_in_one_to_three_dimensions(void **unused)
{
    (void)unused;
    expect_shape(
        "[{\"conv1d\": {\"filters\": 4, \"kernel\": 3, \"padding\": [2, 0], \"stride\": 2}}]",
        QN_SHAPE(B, 11, 3), QN_SHAPE(B, 6, 4));
    expect_shape("[{\"conv1d\": {\"filters\": 4, \"kernel\": 5, \"padding\": \"same\"}}]",
                 QN_SHAPE(B, QN_DIM_TIME, 3), QN_SHAPE(B, QN_DIM_TIME, 4));
    expect_shape(
        "[{\"conv3d\": {\"filters\": 4, \"kernel\": [1, 2, 3], \"padding\": [0, 0, 1, 0, 1, 1]}}]",
        QN_SHAPE(B, 4, 5, 6, 2), QN_SHAPE(B, 4, 5, 6, 4));
    expect_shape(
        "[{\"conv2d_transpose\": {\"filters\": 4, \"kernel\": 3, \"stride\": 2, \"padding\": 1, "
        "\"output_padding\": 1}}]",
        QN_SHAPE(B, 5, 6, 2), QN_SHAPE(B, 10, 12, 4));
    expect_shape("[{\"conv1d_transpose\": {\"filters\": 2, \"kernel\": 3, \"stride\": 3, "
                 "\"padding\": \"same\"}}]",
                 QN_SHAPE(B, 5, 2), QN_SHAPE(B, 15, 2));
    expect_shape("[{\"conv3d_transpose\": {\"filters\": 2, \"kernel\": 2}}]",
                 QN_SHAPE(B, 2, 3, 4, 1), QN_SHAPE(B, 3, 4, 5, 2));
    expect_shape(
        "[{\"depthwise_conv2d\": {\"kernel\": 3, \"multiplier\": 2}}, {\"separable_conv2d\": "
        "{\"filters\": 5, \"kernel\": 3, \"padding\": \"same\"}}]",
        QN_SHAPE(B, 6, 6, 3), QN_SHAPE(B, 4, 4, 5));
    expect_shape(
        "[{\"depthwise_conv1d\": {\"kernel\": 2}}, {\"separable_conv1d\": {\"filters\": 5, "
        "\"kernel\": 3, \"multiplier\": 2}}]",
        QN_SHAPE(B, 6, 3), QN_SHAPE(B, 3, 5));
    expect_shape("[{\"max_pool2d\": {\"size\": 2, \"ceil\": true}}, {\"zero_padding2d\": "
                 "{\"padding\": [1, 0, 0, "
                 "2]}}]",
                 QN_SHAPE(B, 5, 6, 3), QN_SHAPE(B, 4, 5, 3));
    expect_shape(
        "[{\"max_pool1d\": {\"size\": 3}}, {\"avg_pool1d\": {\"size\": 2}}, "
        "{\"zero_padding1d\": {\"padding\": [0, 1]}}, \"upsample1d\", {\"adaptive_avg_pool1d\": "
        "{\"size\": 3}}]",
        QN_SHAPE(B, 25, 3), QN_SHAPE(B, 3, 3));
    expect_shape("[{\"avg_pool3d\": {\"size\": [1, 2, 2]}}, \"max_pool3d\", {\"zero_padding3d\": "
                 "{\"padding\": "
                 "1}}, {\"upsample3d\": {\"size\": [1, 2, 3], \"mode\": \"linear\"}}]",
                 QN_SHAPE(B, 4, 8, 8, 2), QN_SHAPE(B, 4, 8, 12, 2));
    expect_shape("[\"global_avg_pool3d\"]", QN_SHAPE(B, 4, 8, 8, 2), QN_SHAPE(B, 2));
    expect_shape("[\"global_max_pool3d\"]", QN_SHAPE(B, 4, 8, 8, 2), QN_SHAPE(B, 2));
    expect_shape(
        "[{\"adaptive_avg_pool2d\": {\"size\": [3, 7]}}, {\"adaptive_max_pool2d\": {\"size\": 2}}]",
        QN_SHAPE(B, 9, 14, 2), QN_SHAPE(B, 2, 2, 2));
    expect_shape(
        "[{\"adaptive_max_pool3d\": {\"size\": 2}}, {\"adaptive_avg_pool3d\": {\"size\": 1}}]",
        QN_SHAPE(B, 3, 4, 5, 2), QN_SHAPE(B, 1, 1, 1, 2));
    expect_shape(
        "[{\"adaptive_max_pool1d\": {\"size\": 2}}, {\"upsample1d\": {\"size\": 3, \"mode\": "
        "\"cubic\"}}]",
        QN_SHAPE(B, 5, 2), QN_SHAPE(B, 6, 2));
    expect_shape("[{\"upsample2d\": {\"size\": [2, 1]}}]", QN_SHAPE(B, 5, 6, 2),
                 QN_SHAPE(B, 10, 6, 2));
}

static const char *const block =
    "[{\"residual\": {\"layers\": [{\"conv2d\": {\"filters\": 4, \"kernel\": 3, \"padding\": 1}}, "
    "\"batch_norm\", {\"residual\": {\"layers\": [{\"dense\": {\"units\": 4}}]}}], \"shortcut\": "
    "[{\"conv2d\": {\"filters\": 4, \"kernel\": 1}}], \"activation\": \"relu\"}}]";

static void residual_branches_add_to_their_input(void **unused)
{
    (void)unused;
    expect_shape(block, QN_SHAPE(B, 5, 6, 3), QN_SHAPE(B, 5, 6, 4));
    qn_graph *graph = qn_graph_create();
    qn_value y = QN_NONE;
    assert_ok(build(graph, QN_DTYPE_F32, QN_SHAPE(B, 5, 6, 3), block, &(qn_nn_layers_options){0},
                    &y, NULL),
              &err);
    assert_int_not_equal(qn_graph_find(graph, "layers.0.layers.0.weight"), QN_NONE);
    assert_int_not_equal(qn_graph_find(graph, "layers.0.layers.2.layers.0.bias"), QN_NONE);
    assert_int_not_equal(qn_graph_find(graph, "layers.0.shortcut.0.weight"), QN_NONE);
    qn_graph_destroy(graph);
    graph = qn_graph_create();
    assert_true(
        build(graph, QN_DTYPE_F32, QN_SHAPE(B, 5, 6, 3),
              "[{\"residual\": {\"layers\": [{\"conv2d\": {\"filters\": 4, \"kernel\": 3}}]}}]",
              &(qn_nn_layers_options){0}, &y, NULL) != QN_OK);
    assert_text(&err, "layers[0] residual adds [3, 4, 4] to [5, 6, 3]: its shortcut must");
    qn_graph_destroy(graph);
    graph = qn_graph_create();
    assert_true(build(graph, QN_DTYPE_F32, QN_SHAPE(B, 5, 6, 3),
                      "[{\"residual\": {\"layers\": [\"flatten\", {\"conv2b\": {}}]}}]",
                      &(qn_nn_layers_options){0}, &y, NULL) != QN_OK);
    assert_text(&err, "layers[0] residual.layers[1]: unknown layer 'conv2b'; did you mean");
    qn_graph_destroy(graph);
}

/* What the schema and the documentation are made of. */
static void every_row_of_the_table_is_whole(void **unused)
{
    (void)unused;
    int rows = 0;
    for (const qn_nn_layer *layer; (layer = qn_nn_layer_at(rows)); rows++) {
        assert_ptr_equal(qn_nn_layer_find(layer->name), layer);
        if (!strstr(layer->doc, "Keras") && !strstr(layer->doc, "PyTorch"))
            fail_msg("the doc of %s names no counterpart", layer->name);
        for (const qn_nn_attr *attr = layer->attrs; attr->name; attr++) {
            if (!attr->doc || attr->required == (attr->fallback != NULL))
                fail_msg("%s.%s lacks a doc, or has not one of required and a default", layer->name,
                         attr->name);
            assert_true(attr->kind != QN_NN_ATTR_CHOICE || attr->choices);
        }
    }
    assert_true(rows >= 15);
    assert_null(qn_nn_layer_find("dens"));
}

static void initialisers_have_their_variance(void **unused)
{
    (void)unused;
    qn_nn_init init;
    assert_true(qn_nn_init_find("he_normal", &init));
    qn_init he = qn_nn_init_of(init, 50, 70);
    assert_true(he.kind == QN_INIT_NORMAL && fabs(he.value - sqrt(2.0 / 50)) < 1e-12);
    qn_init lecun = qn_nn_init_of(QN_NN_INIT_LECUN_UNIFORM, 50, 70);
    assert_true(lecun.kind == QN_INIT_UNIFORM && fabs(lecun.value - sqrt(3.0 / 50)) < 1e-12);
    qn_init glorot = qn_nn_init_of(QN_NN_INIT_GLOROT_UNIFORM, 50, 70);
    assert_true(fabs(glorot.value - sqrt(6.0 / 120)) < 1e-12);
    assert_false(qn_nn_init_find("he", &init));
    for (int i = 0; i < QN_NN_INIT_COUNT; i++) {
        assert_true(qn_nn_init_find(qn_nn_init_name((qn_nn_init)i), &init));
        assert_int_equal((int)init, i);
    }
}

/* Batch statistics while training, running ones otherwise; dropout only while training. */
static void training_and_serving_differ_where_they_should(void **unused)
{
    (void)unused;
    qn_graph *graph = qn_graph_create();
    qn_value y = QN_NONE;
    assert_ok(build(graph, QN_DTYPE_F32, QN_SHAPE(B, 2),
                    "[{\"batch_norm\": {\"momentum\": 0.5}}, {\"dropout\": {\"rate\": 0.5}}]",
                    &(qn_nn_layers_options){0}, &y, NULL),
              &err);
    qn_graph_output(graph, "y", y);
    qn_state *state = NULL;
    qn_plan *train = NULL, *serve = NULL;
    const char *outputs[] = {"y"};
    assert_ok(qn_state_create(&state, &err), &err);
    assert_ok(qn_state_add_graph(state, graph, 1, &err), &err);
    assert_ok(qn_plan_create(graph, state, &(qn_plan_options){.batch = 64, .training = true},
                             &train, &err),
              &err);
    assert_ok(
        qn_plan_create(graph, state,
                       &(qn_plan_options){.batch = 64, .outputs = outputs, .outputs_count = 1},
                       &serve, &err),
        &err);
    float *a = qn_plan_input(train, "x")->data, *b = qn_plan_input(serve, "x")->data;
    for (int i = 0; i < 128; i++)
        a[i] = b[i] = i % 2 ? 3 : (float)(i % 4); /* column 0: 0 or 2; column 1: 3 */
    qn_plan_run(train, 0);
    const float *out = qn_plan_output(train, "y")->data;
    int zeros = 0;
    for (int i = 0; i < 64; i++) {
        zeros += fpclassify(out[2 * i]) == FP_ZERO;
        assert_true(fabsf(out[2 * i]) < 1e-6F || fabsf(fabsf(out[2 * i]) - 2) < 1e-3F);
    }
    assert_true(zeros > 16 && zeros < 48);
    const float *mean = qn_state_find(state, "layers.0.running_mean")->tensor.data;
    const float *var = qn_state_find(state, "layers.0.running_var")->tensor.data;
    assert_true(fabsf(mean[0] - 0.5F) < 1e-6F && fabsf(mean[1] - 1.5F) < 1e-6F);
    assert_true(fabsf(var[0] - 1) < 1e-6F && fabsf(var[1] - 0.5F) < 1e-6F);
    qn_plan_run(serve, 0);
    out = qn_plan_output(serve, "y")->data;
    assert_true(fabsf(out[1] - 1.5F / sqrtf(0.5F + 1e-5F)) < 1e-5F);
    assert_true(fabsf(mean[0] - 0.5F) < 1e-6F); /* serving changes nothing */
    qn_plan_destroy(train);
    qn_plan_destroy(serve);
    qn_state_destroy(state);
    qn_graph_destroy(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_give_the_shapes_of_keras),
        cmocka_unit_test(refusals_name_layer_value_and_expectation),
        cmocka_unit_test(padding_does_not_touch_results),
        cmocka_unit_test(every_activation_keeps_the_shape),
        cmocka_unit_test(numbers_move_as_their_layers_say),
        cmocka_unit_test(unknown_activation_suggests_the_nearest),
        cmocka_unit_test(closing_activation_is_left_to_the_loss),
        cmocka_unit_test(states_are_named_by_place_and_begin_as_keras),
        cmocka_unit_test(layers_of_pixels_come_in_one_to_three_dimensions),
        cmocka_unit_test(residual_branches_add_to_their_input),
        cmocka_unit_test(every_row_of_the_table_is_whole),
        cmocka_unit_test(initialisers_have_their_variance),
        cmocka_unit_test(training_and_serving_differ_where_they_should),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
