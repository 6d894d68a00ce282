/*
 * Rows that fuse several steps against the same thing built of primitives, in f64: results and gradients. Every row that is not
 * itself a primitive must be met in one of the cases, as a node of the fused graph or of its gradient.
 */
#include "decompose_testing.h"

#include <stdio.h>

#include "base/rng.h"
#include "graph/op.h"
#include "graph/plan.h"
#include "graph/state.h"

static qn_error err;

enum { ROWS_MAX = 512 };

/* Which rows of the registry a fused graph had. */
static bool met[ROWS_MAX];

typedef struct {
    double values[INPUTS_MAX + 1][ELEMENTS_MAX]; /* the result, then the gradients */
    int64_t counts[INPUTS_MAX + 1];
} results;

static const char *numbered(char letter, int i)
{
    static char names[8][16];
    static int next = 0;
    char *name = names[next++ % 8];
    snprintf(name, 16, "%c%d", letter, i);
    return name;
}

static void note_rows(const qn_graph *g)
{
    for (int i = 0; i < qn_graph_nodes_count(g); i++) {
        const qn_op *op = qn_op_find(qn_graph_node_at(g, i).op);
        for (int row = 0; row < ROWS_MAX && qn_op_at(row); row++)
            met[row] = met[row] || qn_op_at(row) == op;
    }
}

static void fill(const fusion *f, const qn_tensor *x, uint32_t stream)
{
    qn_rng rng = {.seed = 3, .stream = stream};
    for (int64_t i = 0; i < qn_shape_count(&x->shape); i++) {
        if (x->dtype == QN_DTYPE_F64)
            ((double *)x->data)[i] =
                f->low + (f->high - f->low) * qn_rng_uniform_f64(rng, (uint64_t)i);
        else if (x->shape.rank == 0) /* a step */
            ((int64_t *)x->data)[i] = 2 + (int64_t)qn_rng_below(rng, (uint64_t)i, 3);
        else /* labels below 3, or rows of a table of 4 */
            ((int64_t *)x->data)[i] = 1 + (int64_t)qn_rng_below(rng, (uint64_t)i, 3) - (f->low < 1);
    }
}

static void keep(const qn_plan *plan, const char *output, results *dst, int slot)
{
    const qn_tensor *tensor = qn_plan_output(plan, output);
    dst->counts[slot] = qn_shape_count(&tensor->shape);
    assert_true(dst->counts[slot] <= ELEMENTS_MAX);
    for (int64_t i = 0; i < dst->counts[slot]; i++)
        dst->values[slot][i] = qn_tensor_f64_at(tensor, i);
}

/* The result, and the gradients of sum(result^2 + result). */
static void run(const fusion *f, build_fn build, int option, results *dst)
{
    qn_graph *g = qn_graph_create();
    qn_value x[INPUTS_MAX], grads[INPUTS_MAX];
    for (int i = 0; i < f->count; i++)
        x[i] = qn_graph_input(g, numbered('x', i), f->inputs[i].dtype, f->inputs[i].shape);
    qn_value y = build(g, x, option);
    if (qn_graph_check(g, &err) != QN_OK)
        fail_msg("%s: %s", f->name, err.text);
    qn_graph_output(g, "y", y);
    qn_value loss = total(g, "ReduceSum", two(g, "Add", y, one(g, "Square", y)));
    if (f->differentiate > 0)
        assert_ok(qn_graph_grad(g, loss, x, f->differentiate, grads, &err), &err);
    for (int i = 0; i < f->differentiate; i++)
        qn_graph_output(g, numbered('g', i), grads[i]);
    if (build == f->fused)
        note_rows(g);
    qn_state *state = NULL;
    qn_plan *plan = NULL;
    qn_plan_options options = {.batch = 1, .reference = true, .training = true};
    assert_ok(qn_state_create(&state, &err), &err);
    assert_ok(qn_plan_create(g, state, &options, &plan, &err), &err);
    for (int i = 0; i < f->count; i++)
        fill(f, qn_plan_input(plan, numbered('x', i)), (uint32_t)i);
    qn_plan_run(plan, 0);
    keep(plan, "y", dst, 0);
    for (int i = 0; i < f->differentiate; i++)
        keep(plan, numbered('g', i), dst, 1 + i);
    qn_plan_destroy(plan);
    qn_state_destroy(state);
    qn_graph_destroy(g);
}

static void compare(const fusion *f, int option, const results *fused, const results *parts)
{
    for (int slot = 0; slot <= f->differentiate; slot++) {
        assert_int_equal(fused->counts[slot], parts->counts[slot]);
        for (int64_t i = 0; i < fused->counts[slot]; i++) {
            double a = fused->values[slot][i], b = parts->values[slot][i];
            if (!(fabs(a - b) <= 1e-11 * (1 + fabs(b))))
                fail_msg("%s option %d, %s %d, element %d: %.15g, its parts say %.15g", f->name,
                         option, slot ? "gradient" : "result", slot, (int)i, a, b);
        }
    }
}

static void fused_rows_equal_their_parts(void **unused)
{
    (void)unused;
    static results fused, parts;
    const fusion *const lists[] = {decompose_layers, decompose_images, decompose_sequences,
                                   decompose_losses, decompose_updates};
    for (size_t list = 0; list < sizeof lists / sizeof lists[0]; list++)
        for (const fusion *f = lists[list]; f->name; f++)
            for (int option = 0; option < f->options; option++) {
                run(f, f->fused, option, &fused);
                run(f, f->parts, option, &parts);
                compare(f, option, &fused, &parts);
            }
}

/* Rows with no parts to compare with, beside the elementwise ones, which are formulas of one number each. */
static const struct {
    const char *rows, *reason;
} primitives[] = {
    {"IsNaN IsInf Equal Less Greater LessOrEqual GreaterOrEqual Where Cast BitCast WhenTraining",
     "a formula of one number of each input"},
    {"Transpose Concat Slice SliceGrad DepthToSpace SpaceToDepth Trilu Expand Pad PadGrad Tile "
     "Identity Reshape Flatten Squeeze Unsqueeze TensorScatter MaxUnpool MaxUnpoolGrad Col2Im "
     "Im2Col "
     "ReverseSequence GatherElements ScatterElements GatherND ScatterND PackFloat UnpackFloat",
     "moves numbers; what meets is added"},
    {"ArgMax ArgMin TopK Hardmax OneHot MaxPoolIndices", "chooses places"},
    {"Shape Size ConstantOfShape Range EyeLike HannWindow HammingWindow BlackmanWindow "
     "MelWeightMatrix SinusoidalPositions Positions",
     "reads no numbers: a formula of shapes and attributes"},
    {"ReduceSum ReduceMax ReduceMin MatMul", "what the parts are made of"},
    {"RandomUniform RandomUniformLike RandomNormal RandomNormalLike Bernoulli Multinomial",
     "draws numbers"},
    {"QuantizeLinear DequantizeLinear DynamicQuantizeLinear MatMulInteger QLinearMatMul",
     "whole numbers without a gradient: number_test and ONNX's own cases"},
};

static bool has_word(const char *words, const char *word)
{
    size_t size = strlen(word);
    for (const char *at = strstr(words, word); at; at = strstr(at + 1, word))
        if ((at == words || at[-1] == ' ') && (at[size] == ' ' || at[size] == 0))
            return true;
    return false;
}

static bool is_primitive(const qn_op *op)
{
    for (size_t i = 0; i < sizeof primitives / sizeof primitives[0]; i++)
        if (has_word(primitives[i].rows, op->name))
            return true;
    return op->flags & QN_OP_ELEMENTWISE;
}

/* After the cases have run. */
static void every_coarse_row_has_a_decomposition(void **unused)
{
    (void)unused;
    const qn_op *op;
    for (int row = 0; (op = qn_op_at(row)); row++) {
        assert_true(row < ROWS_MAX);
        if (!met[row] && !is_primitive(op))
            fail_msg("%s is no primitive, and no case of decompose_*.c has it", op->name);
    }
}

/* Values worked out by hand or by numpy, so that fused rows and parts are not wrong together. */
static void refs_agree_with_numbers_from_outside(void **unused)
{
    (void)unused;
    static const struct {
        const char *op;
        double x[4];
        double y[4];
        const char *attr;
    } cases[] = {
        {"Erf",
         {0, 0.5, 1, -2},
         {0, 0.5204998778130465, 0.8427007929497149, -0.9953222650189527},
         0},
        {"Gelu",
         {0, 1, -1, 2},
         {0, 0.8413447460685429, -0.15865525393145707, 1.9544997361036416},
         0},
        {"Gelu",
         {0, 1, -1, 2},
         {0, 0.8411919906082768, -0.15880800939172324, 1.954597694087775},
         "tanh"},
        {"Silu",
         {0, 1, -1, 2},
         {0, 0.7310585786300049, -0.2689414213699951, 1.7615941559557646},
         0},
        {"Softmax",
         {1, 2, 3, 4},
         {0.03205860328008499, 0.08714431874203257, 0.23688281808991013, 0.6439142598879722},
         0},
        {"LogSoftmax",
         {1, 2, 3, 4},
         {-3.4401896985611953, -2.4401896985611953, -1.4401896985611953, -0.4401896985611953},
         0},
        {"Sign", {0, 3, -3, 1e-300}, {0, 1, -1, 1}, 0},
        {"Floor", {-1.5, 1.5, 2, -2}, {-2, 1, 2, -2}, 0},
        {"Ceil", {-1.5, 1.5, 2, -2}, {-1, 2, 2, -2}, 0},
        {"LeakyRelu", {-1, 1, -100, 0}, {-0.01, 1, -1, 0}, 0},
        {"Clip", {-1, 1, 1e300, 0}, {-1, 1, 3.4028234663852886e38, 0}, 0},
    };
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        qn_graph *g = qn_graph_create();
        qn_state *state = NULL;
        qn_plan *plan = NULL;
        qn_attr attr = QN_ATTR_S("approximate", cases[k].attr ? cases[k].attr : "none");
        qn_value x = qn_graph_input(g, "x", QN_DTYPE_F64, QN_SHAPE(1, 4));
        qn_graph_output(g, "y", qn_graph_node(g, cases[k].op, &x, 1, &attr, cases[k].attr != NULL));
        assert_ok(qn_state_create(&state, &err), &err);
        assert_ok(qn_plan_create(g, state, &(qn_plan_options){.reference = true}, &plan, &err),
                  &err);
        memcpy(qn_plan_input(plan, "x")->data, cases[k].x, sizeof cases[k].x);
        qn_plan_run(plan, 0);
        for (int i = 0; i < 4; i++) {
            double y = qn_tensor_f64_at(qn_plan_output(plan, "y"), i);
            if (!(fabs(y - cases[k].y[i]) <= 1e-14 * (1 + fabs(cases[k].y[i]))))
                fail_msg("%s of %g is %.17g, expected %.17g", cases[k].op, cases[k].x[i], y,
                         cases[k].y[i]);
        }
        qn_plan_destroy(plan);
        qn_state_destroy(state);
        qn_graph_destroy(g);
    }
}

/* Nothing counts: no loss, no gradient, no division by zero, in kernel and ref alike. */
static void cross_entropy_of_ignored_rows_is_zero(void **unused)
{
    (void)unused;
    for (int reference = 0; reference < 2; reference++) {
        for (int bad = 0; bad < 2; bad++) {
            qn_graph *g = qn_graph_create();
            qn_state *state = NULL;
            qn_plan *plan = NULL;
            qn_value x[] = {qn_graph_input(g, "x", QN_DTYPE_F32, QN_SHAPE(2, 3)),
                            qn_graph_input(g, "t", QN_DTYPE_I64, QN_SHAPE(2))};
            qn_value y = qn_graph_node(g, "SoftmaxCrossEntropy", x, 2, NULL, 0);
            qn_graph_output(g, "loss", y);
            qn_graph_output(g, "slope", y + 1);
            assert_ok(qn_state_create(&state, &err), &err);
            assert_ok(
                qn_plan_create(g, state, &(qn_plan_options){.reference = reference}, &plan, &err),
                &err);
            const float logits[6] = {1, 2, 3, 4, 5, 6};
            const int64_t labels[2] = {-100, bad ? 3 : -100};
            memcpy(qn_plan_input(plan, "x")->data, logits, sizeof logits);
            memcpy(qn_plan_input(plan, "t")->data, labels, sizeof labels);
            qn_plan_run(plan, 0);
            double loss = qn_tensor_f64_at(qn_plan_output(plan, "loss"), 0);
            assert_true(bad ? isnan(loss) : fpclassify(loss) == FP_ZERO);
            for (int i = 0; i < 3; i++)
                assert_true(fpclassify(qn_tensor_f64_at(qn_plan_output(plan, "slope"), i)) ==
                            FP_ZERO);
            qn_plan_destroy(plan);
            qn_state_destroy(state);
            qn_graph_destroy(g);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fused_rows_equal_their_parts),
        cmocka_unit_test(every_coarse_row_has_a_decomposition),
        cmocka_unit_test(refs_agree_with_numbers_from_outside),
        cmocka_unit_test(cross_entropy_of_ignored_rows_is_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
