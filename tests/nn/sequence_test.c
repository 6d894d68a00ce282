/*
 * Sequence layers whole: rows against numbers from PyTorch 2.15 in f64 (torch.nn.LSTM, GRU, RNN, layer_norm, rms_norm,
 * group_norm, scaled_dot_product_attention on the values of `pattern`), and networks, forward and backward, with f32
 * kernels against their f64 references.
 */
#include "testing.h"

#include <math.h>
#include <stdio.h>

#include "base/json.h"
#include "base/rng.h"
#include "graph/plan.h"
#include "graph/state.h"
#include "nn/layers.h"

static qn_error err;

/* Element i of every tensor of the golden runs. */
static double pattern(int64_t i)
{
    return (double)((i * 37) % 23 - 11) / 20;
}

typedef struct {
    const char *op;
    int inputs;
    qn_shape shapes[4];
    double factors[4];
    qn_attr attr;
    int count;
    double want[12];
} golden;

#define INT_ATTR(key, value)                                                                       \
    {                                                                                              \
        .name = (key), .kind = QN_ATTR_INT, .i = (value)                                           \
    }
static const golden goldens[] = {
    {"LSTM",
     4,
     {{3, {2, 2, 2}}, {3, {1, 8, 2}}, {3, {1, 8, 2}}, {2, {1, 16}}},
     {1, 1, 1, 0},
     INT_ATTR("layout", 0),
     8,
     {0.06366359767664181, -0.15764378967893064, 0.061682766434974896, -0.1819707671701753,
      0.03428800217568808, -0.08787442889668583, 0.043808664716837385, -0.11916991677775628}},
    {"GRU",
     4,
     {{3, {2, 2, 2}}, {3, {1, 6, 2}}, {3, {1, 6, 2}}, {2, {1, 12}}},
     {1, 1, 1, 0},
     INT_ATTR("linear_before_reset", 1),
     8,
     {-0.18528297868444238, -0.13708350163616972, -0.12349740481433812, -0.15124717162478268,
      -0.14230773092626878, -0.3772949074387388, -0.03157957385598585, -0.404624281048939}},
    {"RNN",
     4,
     {{3, {2, 2, 2}}, {3, {1, 2, 2}}, {3, {1, 2, 2}}, {2, {1, 4}}},
     {1, 1, 1, 0},
     INT_ATTR("layout", 0),
     8,
     {-0.46211715726000974, 0.42189900525000795, -0.5370495669980353, 0.4422303560457262,
      -0.5042960395860587, 0.3340630525401817, -0.5446816843901771, 0.38251893482693555}},
    {"Attention",
     3,
     {{4, {1, 2, 2, 2}}, {4, {1, 3, 2, 2}}, {4, {1, 3, 2, 2}}},
     {2, 3, 1},
     INT_ATTR("is_causal", 1),
     8,
     {-0.55, 0.15, -0.3, 0.4, -0.1593898235715656, -0.3577932293569648, 0.0764084965561185,
      -0.08933104552295404}},
    {"LayerNormalization",
     3,
     {{2, {2, 6}}, {1, {6}}, {1, {6}}},
     {1, 1, 1},
     INT_ATTR("axis", -1),
     12,
     {0.10418325439653499, 0.2774382963110133, -0.1616384211480427, 1.031122991254542,
      -0.06335067866115378, 0.02189016584510206, -0.8491446309162403, 0.011305671120652271,
      -0.707924496703964, 0.35648805368491054, 0.028865402696099697, -0.8535345638101021}},
    {"RMSNormalization",
     2,
     {{2, {2, 6}}, {1, {6}}},
     {1, 1},
     INT_ATTR("axis", -1),
     12,
     {0.8145190737331939, 0.0605840633355268, 0.2423362533421072, 0.43082000594152403,
      0.006731562592836313, 0.6731562592836312, -0.356868344437485, -0.12165966287641532,
      -0.4379747863550952, 0.0, 0.0729957977258492, -0.4055322095880511}},
    {"GroupNormalization",
     3,
     {{3, {1, 3, 4}}, {1, {4}}, {1, {4}}},
     {1, 1, 1},
     INT_ATTR("num_groups", 2),
     12,
     {0.18164635305387433, 0.24976995723461923, -0.042063623849144895, 0.9315052599472168,
      -0.6022604537895625, -0.028160637918962894, -0.5110388532143361, 0.11861486238088531,
      -1.386167260632999, 0.18563212758379258, 0.09862894496041247, 0.7439151682011402}},
};

/* A factor of 0 marks the two halves of a recurrent bias: the pattern, then half of it again. */
static double golden_value(double factor, int64_t i, int64_t count)
{
    if (factor > 0)
        return factor * pattern(i);
    return i < count / 2 ? pattern(i) : 0.5 * pattern(i - count / 2);
}

static void rows_agree_with_pytorch(void **unused)
{
    (void)unused;
    for (size_t k = 0; k < sizeof goldens / sizeof goldens[0]; k++) {
        const golden *c = &goldens[k];
        qn_graph *graph = qn_graph_create();
        qn_state *state = NULL;
        qn_plan *plan = NULL;
        qn_value x[4];
        char name[8];
        for (int i = 0; i < c->inputs; i++) {
            snprintf(name, sizeof name, "x%d", i);
            x[i] = qn_graph_input(graph, name, QN_DTYPE_F64, c->shapes[i]);
        }
        qn_graph_output(graph, "y", qn_graph_node(graph, c->op, x, c->inputs, &c->attr, 1));
        assert_ok(qn_state_create(&state, &err), &err);
        assert_ok(qn_plan_create(graph, state, &(qn_plan_options){.reference = true}, &plan, &err),
                  &err);
        for (int i = 0; i < c->inputs; i++) {
            snprintf(name, sizeof name, "x%d", i);
            double *data = qn_plan_input(plan, name)->data;
            int64_t count = qn_shape_count(&c->shapes[i]);
            for (int64_t at = 0; at < count; at++)
                data[at] = golden_value(c->factors[i], at, count);
        }
        qn_plan_run(plan, 0);
        const double *y = qn_plan_output(plan, "y")->data;
        for (int i = 0; i < c->count; i++)
            if (!(fabs(y[i] - c->want[i]) <= 1e-12))
                fail_msg("%s: y[%d] is %.17g, PyTorch says %.17g", c->op, i, y[i], c->want[i]);
        qn_plan_destroy(plan);
        qn_state_destroy(state);
        qn_graph_destroy(graph);
    }
}

/*
 * What PyTorch has not, against ONNX Runtime 1.23 in f32: T 3, B 2, I 2, H 2, x twice the pattern, all weights the pattern.
 */
typedef struct {
    const char *op, *activations;
    double clip;
    bool both, peepholes, input_forget;
    int64_t lengths[2]; /* 0: none */
    double want[24];
} unusual;

static const unusual unusuals[] = {
    {"LSTM",
     "",
     0,
     true,
     true,
     false,
     {3, 2},
     {0.09369418025016785,
      -0.22430288791656494,
      0.08169563114643097,
      -0.24619612097740173,
      0.03807895630598068,
      -0.025836937129497528,
      0.00032240766449831426,
      0.01391894742846489,
      0.008537331596016884,
      -0.18661077320575714,
      0.044003814458847046,
      -0.23760077357292175,
      -0.24020232260227203,
      -0.16129283607006073,
      -0.22018350660800934,
      -0.09758707135915756,
      0.0004217347886878997,
      -0.2154768854379654,
      0.0,
      0.0,
      -0.2543412148952484,
      -0.0779971331357956,
      0.0,
      0.0}},
    {"LSTM",
     "hard_sigmoid:0.3:0.4 scaled_tanh:1.7:0.7 softsign",
     0.4,
     false,
     false,
     false,
     {0},
     {0.054420605301856995, -0.09844297170639038, 0.05314876511693001, -0.09698528051376343,
      -0.011453166604042053, -0.07091312110424042, 0.01186934020370245, -0.09413054585456848,
      -0.0008985637687146664, -0.09011199325323105, 0.05665091052651405, -0.13427899777889252}},
    {"LSTM",
     "",
     0,
     false,
     true,
     true,
     {0},
     {0.09369418025016785, -0.22430288791656494, 0.08169563114643097, -0.24619612097740173,
      0.037774208933115005, -0.2190009504556656, 0.0691283568739891, -0.27359339594841003,
      0.013032396323978901, -0.25128448009490967, 0.09644559025764465, -0.2809584140777588}},
    {"LSTM",
     "",
     0.2,
     false,
     false,
     false,
     {0},
     {0.048662763088941574, -0.05943683534860611, 0.048662763088941574, -0.05943683534860611,
      -0.017996137961745262, -0.07524006813764572, -0.0002527404867578298, -0.07524006813764572,
      -0.002374908421188593, -0.08376989513635635, 0.0485503152012825, -0.10016985982656479}},
    {"GRU",
     "sigmoid elu:0.7",
     0,
     false,
     false,
     false,
     {0},
     {-0.18775323033332825, 0.13228236138820648, -0.17855598032474518, 0.08828873187303543,
      -0.2619037628173828, -0.07589729130268097, -0.20155811309814453, -0.1219150498509407,
      -0.15503345429897308, -0.21578000485897064, -0.29784998297691345, 0.0532495453953743}},
    {"GRU",
     "",
     0,
     true,
     false,
     false,
     {2, 3},
     {-0.3232051134109497,
      0.1279447078704834,
      -0.3073049783706665,
      0.08689137548208237,
      0.1562889665365219,
      -0.2711281478404999,
      0.17175330221652985,
      -0.49736419320106506,
      -0.45863646268844604,
      -0.13645868003368378,
      -0.35251012444496155,
      -0.20928743481636047,
      -0.0609637126326561,
      -0.037544626742601395,
      -0.02246592938899994,
      -0.31342536211013794,
      0.0,
      0.0,
      -0.516165554523468,
      0.005281269550323486,
      0.0,
      0.0,
      0.18795768916606903,
      -0.2921940088272095}},
    {"RNN",
     "affine:0.5:0.1",
     0,
     false,
     false,
     false,
     {0},
     {7.450580596923828e-09, 0.6000000238418579, -0.10000000149011612, 0.625, -0.32750001549720764,
      0.3100000023841858, -0.3981249928474426, 0.35499998927116394, -0.4591875374317169,
      0.35112500190734863, 0.09610936790704727, 0.7407187819480896}},
};

static qn_value unusual_node(qn_graph *graph, const unusual *c)
{
    int64_t gates = c->op[0] == 'L' ? 4 : c->op[0] == 'G' ? 3 : 1, dirs = c->both ? 2 : 1;
    const qn_shape shapes[4] = {QN_SHAPE(3, 2, 2), QN_SHAPE(dirs, gates * 2, 2),
                                QN_SHAPE(dirs, gates * 2, 2), QN_SHAPE(dirs, gates * 4)};
    qn_value x[8] = {QN_NONE, QN_NONE, QN_NONE, QN_NONE, QN_NONE, QN_NONE, QN_NONE, QN_NONE};
    char name[8];
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "x%d", i);
        x[i] = qn_graph_input(graph, name, QN_DTYPE_F64, shapes[i]);
    }
    if (c->lengths[0] > 0)
        x[4] = qn_graph_input(graph, "lengths", QN_DTYPE_I64, QN_SHAPE(2));
    if (c->peepholes)
        x[7] = qn_graph_input(graph, "x7", QN_DTYPE_F64, QN_SHAPE(dirs, 6));
    int count = c->peepholes ? 8 : c->lengths[0] > 0 ? 5 : 4;
    qn_attr attrs[] = {QN_ATTR_S("direction", c->both ? "bidirectional" : "forward"),
                       QN_ATTR_S("activations", c->activations), QN_ATTR_F("clip", c->clip),
                       QN_ATTR_I("input_forget", c->input_forget)};
    return qn_graph_node(graph, c->op, x, count, attrs, c->op[0] == 'L' ? 4 : 3);
}

static void recurrent_rows_agree_with_onnx_runtime(void **unused)
{
    (void)unused;
    for (size_t k = 0; k < sizeof unusuals / sizeof unusuals[0]; k++) {
        const unusual *c = &unusuals[k];
        qn_graph *graph = qn_graph_create();
        qn_state *state = NULL;
        qn_plan *plan = NULL;
        qn_graph_output(graph, "y", unusual_node(graph, c));
        assert_ok(qn_state_create(&state, &err), &err);
        assert_ok(qn_plan_create(graph, state, &(qn_plan_options){0}, &plan, &err), &err);
        for (int i = 0; i < 8; i++) {
            char name[8];
            snprintf(name, sizeof name, "x%d", i);
            const qn_tensor *input = qn_plan_input(plan, name);
            for (int64_t at = 0; input && at < qn_shape_count(&input->shape); at++)
                ((double *)input->data)[at] = (i ? 1 : 2) * pattern(at);
        }
        if (c->lengths[0] > 0)
            memcpy(qn_plan_input(plan, "lengths")->data, c->lengths, sizeof c->lengths);
        qn_plan_run(plan, 0);
        const double *y = qn_plan_output(plan, "y")->data;
        for (int i = 0; i < (c->both ? 24 : 12); i++)
            if (!(fabs(y[i] - c->want[i]) <= 1e-6))
                fail_msg("case %d, %s: y[%d] is %.9g, ONNX Runtime says %.9g", (int)k, c->op, i,
                         y[i], c->want[i]);
        qn_plan_destroy(plan);
        qn_state_destroy(state);
        qn_graph_destroy(graph);
    }
}

static void unknown_activations_are_named(void **unused)
{
    (void)unused;
    static const char *const words[] = {"sigmoid tanh swish", "sigmoid tanh:x tanh", "sigmoid"};
    static const char *const told[] = {"'swish' is no activation", "'tanh:x' is no activation",
                                       "1 activations, expected 3"};
    for (int i = 0; i < 3; i++) {
        unusual c = {.op = "LSTM", .activations = words[i]};
        qn_graph *graph = qn_graph_create();
        assert_int_equal(unusual_node(graph, &c), QN_NONE);
        assert_int_equal(qn_graph_check(graph, &err), QN_ERR_ARG);
        assert_text(&err, told[i]);
        qn_graph_destroy(graph);
    }
}

/*
 * Networks
 */
enum { B = 3, T = 7, I = 6, PARAMS_MAX = 64 };

typedef struct {
    qn_graph *graph;
    qn_state *state;
    qn_plan *plan;
    int params;
} network;

static void set_at(const qn_tensor *t, int64_t k, float value)
{
    if (t->dtype == QN_DTYPE_F32)
        ((float *)t->data)[k] = value;
    else
        ((double *)t->data)[k] = (double)value;
}

/* The same values for both dtypes. */
static void network_fill(network *n, const qn_value *params)
{
    for (int i = 0; i < n->params; i++) {
        const qn_tensor *t = &qn_state_find(n->state, qn_graph_name(n->graph, params[i]))->tensor;
        qn_rng rng = {.seed = 4, .stream = (uint32_t)i + 1};
        for (int64_t k = 0; k < qn_shape_count(&t->shape); k++)
            set_at(t, k, 0.6F * (qn_rng_uniform(rng, (uint64_t)k) - 0.5F));
    }
    const qn_tensor *x = qn_plan_input(n->plan, "x");
    for (int64_t k = 0; k < qn_shape_count(&x->shape); k++)
        set_at(x, k, (float)(2 * pattern(k)));
}

static void network_differentiate(network *n, qn_value y, qn_value *params)
{
    qn_value grads[PARAMS_MAX];
    qn_attr keep = QN_ATTR_I("keepdims", 0);
    qn_value square = qn_graph_op1(n->graph, "Square", y);
    qn_value loss = qn_graph_node(n->graph, "ReduceSum", &square, 1, &keep, 1);
    n->params = qn_graph_trainable(n->graph, params, PARAMS_MAX);
    assert_true(n->params > 0 && n->params <= PARAMS_MAX);
    assert_ok(qn_graph_grad(n->graph, loss, params, n->params, grads, &err), &err);
    qn_graph_output(n->graph, "y", y);
    for (int i = 0; i < n->params; i++) {
        char name[16];
        snprintf(name, sizeof name, "g%d", i);
        qn_graph_output(n->graph, name, grads[i]);
    }
}

static network network_make(const char *layers, qn_dtype dtype, bool reference)
{
    network n = {.graph = qn_graph_create()};
    qn_arena arena;
    qn_json json;
    qn_value y = QN_NONE, params[PARAMS_MAX];
    qn_arena_init(&arena, 0);
    assert_ok(qn_json_read(qn_str_from(layers), NULL, &arena, &json, &err), &err);
    qn_value x = qn_graph_input(n.graph, "x", dtype, QN_SHAPE(QN_DIM_BATCH, T, I));
    qn_nn_layers_options options = {.units_auto = 2};
    assert_ok(qn_nn_layers_build(n.graph, x, &json, &options, &y, NULL, &err), &err);
    qn_arena_deinit(&arena);
    network_differentiate(&n, y, params);
    assert_ok(qn_state_create(&n.state, &err), &err);
    assert_ok(qn_state_add_graph(n.state, n.graph, 1, &err), &err);
    qn_plan_options plan = {.batch = B, .training = true, .reference = reference};
    assert_ok(qn_plan_create(n.graph, n.state, &plan, &n.plan, &err), &err);
    network_fill(&n, params);
    qn_plan_run(n.plan, 0);
    return n;
}

static void network_free(network *n)
{
    qn_plan_destroy(n->plan);
    qn_state_destroy(n->state);
    qn_graph_destroy(n->graph);
}

static void networks_agree_with_their_references(void **unused)
{
    (void)unused;
    static const char *const networks[] = {
        "[{\"dense\": {\"units\": 16}}, \"positions\", {\"transformer\": {\"heads\": 4, "
        "\"kv_heads\": 2, "
        "\"blocks\": 2, \"rotary\": true, \"causal\": true}}, \"global_avg_pool1d\", {\"dense\": "
        "{\"units\": 2}}]",
        "[{\"transformer\": {\"heads\": 2, \"order\": \"post\", \"norm\": \"rms\", \"activation\": "
        "\"swiglu\", \"bias\": false, \"window\": 3}}, \"global_max_pool1d\"]",
        "[{\"positions\": {\"kind\": \"learned\"}}, {\"lstm\": {\"units\": 9, "
        "\"return_sequences\": true, "
        "\"bidirectional\": true}}, {\"group_norm\": {\"groups\": 3}}, {\"gru\": {\"units\": 5}}]",
        "[{\"gru\": {\"units\": 5, \"layers\": 2, \"reverse\": true, \"reset_first\": true, "
        "\"return_sequences\": true}}, "
        "{\"transformer\": {\"heads\": 5, \"alibi\": true, \"causal\": true}}, {\"lstm\": "
        "{\"units\": 3, \"layers\": 3}}]",
        "[{\"rnn\": {\"units\": 17, \"return_sequences\": true}}, \"layer_norm\", {\"lstm\": "
        "{\"units\": "
        "4}}]",
    };
    for (size_t k = 0; k < sizeof networks / sizeof networks[0]; k++) {
        network fast = network_make(networks[k], QN_DTYPE_F32, false);
        network ref = network_make(networks[k], QN_DTYPE_F64, true);
        for (int i = -1; i < ref.params; i++) {
            char name[16] = "y";
            if (i >= 0)
                snprintf(name, sizeof name, "g%d", i);
            const qn_tensor *a = qn_plan_output(fast.plan, name);
            const qn_tensor *b = qn_plan_output(ref.plan, name);
            for (int64_t at = 0; at < qn_shape_count(&a->shape); at++) {
                double va = qn_tensor_f64_at(a, at), vb = qn_tensor_f64_at(b, at);
                if (!(fabs(va - vb) <= 1e-4 * (1 + fabs(vb))))
                    fail_msg("network %d: %s[%d] is %.9g, expected %.9g", (int)k, name, (int)at, va,
                             vb);
            }
        }
        network_free(&fast);
        network_free(&ref);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_agree_with_pytorch),
        cmocka_unit_test(recurrent_rows_agree_with_onnx_runtime),
        cmocka_unit_test(unknown_activations_are_named),
        cmocka_unit_test(networks_agree_with_their_references),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
