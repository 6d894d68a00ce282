/*
 * Every row of the registry: that it is complete, that its gradient agrees with central differences in f64,
 * that its f32 form is the rounded f64 one, and that the kernel bound to it agrees with its ref.
 */
#include "row_testing.h"

#include "os/cpu.h"

static void every_row_is_complete(void **unused)
{
    (void)unused;
    int count = 0;
    for (const qn_op *op; (op = qn_op_at(count)); count++) {
        if (!op->infer || !op->ref || !op->samples || op->samples_count < 1)
            fail_msg("%s lacks infer, ref or samples", op->name);
        if (!op->vjp && !(op->flags & QN_OP_NO_GRADIENT))
            fail_msg("%s has no gradient and does not say so", op->name);
        if (op->vjp && op->flags & QN_OP_NO_GRADIENT)
            fail_msg("%s has a gradient and says it has none", op->name);
        if (op->outputs_count < 1 || op->outputs_count > QN_OP_OUTPUTS_MAX)
            fail_msg("%s has %d outputs", op->name, op->outputs_count);
        if (qn_op_find(op->name) != op)
            fail_msg("%s is there twice", op->name);
        for (int i = 0; op->attrs && op->attrs[i].name; i++)
            if (i >= QN_OP_ATTRS_MAX)
                fail_msg("%s has too many attributes", op->name);
    }
    assert_true(count >= 60);
    assert_null(qn_op_find("Nothing"));
}

static void gradients_agree_with_differences(void **unused)
{
    (void)unused;
    const qn_op *op;
    for (int row = 0; (op = qn_op_at(row)); row++) {
        if (!op->vjp)
            continue;
        int checked = 0;
        for (int at = 0; at < op->samples_count; at++) {
            bench probe = open_bench(op, &op->samples[at], QN_DTYPE_F64, false, true);
            bool smooth = qn_plan_output(probe.plan, "y0")->dtype == QN_DTYPE_F64;
            close_bench(&probe);
            if (!smooth)
                continue;
            bench b = open_bench(op, &op->samples[at], QN_DTYPE_F64, true, true);
            fill(&b);
            for (int i = 0; i < b.sample->inputs_count; i++) {
                if (is_float_input(b.sample, i)) {
                    check_gradient(&b, i, at);
                    checked++;
                }
            }
            close_bench(&b);
        }
        if (checked == 0)
            fail_msg("%s has a gradient that no sample checks", op->name);
    }
}

static void f32_ref_is_the_rounded_f64_ref(void **unused)
{
    (void)unused;
    const qn_op *op;
    for (int row = 0; (op = qn_op_at(row)); row++) {
        for (int at = 0; at < op->samples_count; at++) {
            bench single = open_bench(op, &op->samples[at], QN_DTYPE_F32, false, true);
            bench wide = open_bench(op, &op->samples[at], QN_DTYPE_F64, false, true);
            fill(&single);
            fill(&wide);
            qn_plan_run(single.plan, 3);
            qn_plan_run(wide.plan, 3);
            compare_outputs(&single, &wide, 1e-6, at, "f32");
            close_bench(&single);
            close_bench(&wide);
        }
    }
}

static void check_kernel(const qn_op *op, int at)
{
    bench ref = open_bench(op, &op->samples[at], QN_DTYPE_F32, false, true);
    fill(&ref);
    qn_plan_run(ref.plan, 3);
    for (qn_cpu_level_id level = QN_CPU_PORTABLE; level < QN_CPU_LEVELS; level++) {
        if (qn_cpu_limit(level) != level)
            continue;
        bench fast = open_bench(op, &op->samples[at], QN_DTYPE_F32, false, false);
        fill(&fast);
        qn_plan_run(fast.plan, 3);
        compare_outputs(&fast, &ref, 1e-5, at, qn_cpu_level_name(level));
        close_bench(&fast);
    }
    close_bench(&ref);
}

/* Whatever a row is bound to, at every level of this machine. */
static void kernels_agree_with_refs_at_every_level(void **unused)
{
    (void)unused;
    const qn_op *op;
    for (int row = 0; (op = qn_op_at(row)); row++)
        for (int at = 0; at < op->samples_count; at++)
            check_kernel(op, at);
    qn_cpu_limit(QN_CPU_LEVELS - 1);
}

/* f16 or bf16 inputs, or f64 ones of the same values: false = the row does not take them. */
static bool takes(const qn_op *op, const qn_op_sample *sample, qn_dtype dtype)
{
    bool any = false;
    for (int i = 0; i < sample->inputs_count; i++)
        any = any || is_float_input(sample, i);
    return any && accepts(op, sample, dtype);
}

static void check_half(const qn_op *op, int at, qn_dtype dtype, double tolerance)
{
    bench half = open_bench(op, &op->samples[at], dtype, false, false);
    bench wide = open_bench(op, &op->samples[at], QN_DTYPE_F64, false, true);
    fill(&half);
    for (int i = 0; i < half.sample->inputs_count; i++) {
        const qn_tensor *from = qn_plan_input(half.plan, numbered('x', i));
        const qn_tensor *to = qn_plan_input(wide.plan, numbered('x', i));
        for (int64_t k = 0; from && k < qn_shape_count(&from->shape); k++)
            set_at(to, k, qn_tensor_f64_at(from, k));
    }
    qn_plan_run(half.plan, 3);
    qn_plan_run(wide.plan, 3);
    compare_outputs(&half, &wide, tolerance, at, qn_dtype_name(dtype));
    close_bench(&half);
    close_bench(&wide);
}

static bench open_narrow(const qn_op *op, const qn_op_sample *sample, bool reference)
{
    bench b = {.graph = qn_graph_create(), .op = op, .sample = sample};
    qn_value inputs[QN_OP_INPUTS_MAX];
    qn_plan_options options = {
        .batch = 1, .seed = 5, .reference = reference, .training = true, .bf16 = true};
    (void)build_node(&b, QN_DTYPE_F32, inputs);
    assert_ok(qn_state_create(&b.state, &err), &err);
    assert_ok(qn_plan_create(b.graph, b.state, &options, &b.plan, &err), &err);
    return b;
}

/* Rounds what the row reads from bf16, so that a plan of f32 computes on the same numbers. */
static void round_factors(const bench *b)
{
    for (int i = 0; i < b->sample->inputs_count; i++) {
        const qn_tensor *x = qn_plan_input(b->plan, numbered('x', i));
        if (!x || !(b->op->factors >> i & 1))
            continue;
        for (int64_t k = 0; k < qn_shape_count(&x->shape); k++) {
            double value = qn_tensor_f64_at(x, k);
            uint16_t half;
            qn_dtype_write_f64(&half, QN_DTYPE_BF16, &value, 1);
            qn_tensor narrow = qn_tensor_of(&half, QN_DTYPE_BF16, QN_SHAPE(1));
            set_at(x, k, qn_tensor_f64_at(&narrow, 0));
        }
    }
}

/* What products inside a row read in bf16 too, where the machine multiplies pairs of it: the state and the slopes of a recurrent
 * row; the weights of attention and their slopes, by 2^-8 of the largest terms, some of which cancel. */
static double narrow_tolerance(const bench *plain)
{
    static const char *const rows[] = {"LSTM", "GRU", "RNN", "LSTMGrad", "GRUGrad", "RNNGrad"};
    double most = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (strcmp(plain->op->name, rows[i]) == 0)
            return 2 * 0x1p-8;
    if (strncmp(plain->op->name, "Attention", 9) != 0)
        return 1e-5;
    for (int k = 0; k < plain->op->outputs_count; k++) {
        const qn_tensor *y = qn_plan_output(plain->plan, numbered('y', k));
        for (int64_t i = 0; i < qn_shape_count(&y->shape); i++)
            most = fmax(most, fabs(qn_tensor_f64_at(y, i)));
    }
    return (1 + most) * 0x1p-6;
}

/* A plan of bf16 gives what one of f32 gives on rounded factors: nothing else is rounded, and outputs stay f32. */
static void factors_are_read_from_bf16(void **unused)
{
    (void)unused;
    const qn_op *op;
    int rows = 0;
    for (int row = 0; (op = qn_op_at(row)); row++) {
        rows += op->factors != 0;
        for (int at = 0; op->factors && at < op->samples_count; at++) {
            bench plain = open_bench(op, &op->samples[at], QN_DTYPE_F32, false, true);
            fill(&plain);
            round_factors(&plain);
            qn_plan_run(plain.plan, 3);
            for (int reference = 0; reference < 2; reference++) {
                bench narrow = open_narrow(op, &op->samples[at], reference);
                fill(&narrow);
                qn_plan_run(narrow.plan, 3);
                compare_outputs(&narrow, &plain, reference ? 1e-5 : narrow_tolerance(&plain), at,
                                "bf16");
                assert_int_equal(qn_plan_output(narrow.plan, "y0")->dtype,
                                 qn_plan_output(plain.plan, "y0")->dtype);
                close_bench(&narrow);
            }
            close_bench(&plain);
        }
    }
    assert_true(rows >= 15);
}

/* The tolerances are two roundings of f16 and of bf16. */
static void short_floats_are_the_rounded_f64_ref(void **unused)
{
    (void)unused;
    const qn_op *op;
    int rows = 0;
    for (int row = 0; (op = qn_op_at(row)); row++) {
        bool taken = false;
        for (int at = 0; at < op->samples_count; at++) {
            if (!takes(op, &op->samples[at], QN_DTYPE_F16))
                continue;
            check_half(op, at, QN_DTYPE_F16, 1.0 / 1024);
            check_half(op, at, QN_DTYPE_BF16, 1.0 / 128);
            taken = true;
        }
        rows += taken;
    }
    assert_true(rows >= 80);
}

/* What infer must refuse, and in which words. */
static void wrong_calls_are_refused_with_reasons(void **unused)
{
    (void)unused;
    qn_attr axis = QN_ATTR_I("axis", 5), perm = QN_ATTR_2I("perm", 0, 0);
    qn_attr shape = QN_ATTR_2I("shape", 5, 2), group = QN_ATTR_I("group", 2);
    qn_attr huge = QN_ATTR_2I("shape", 1LL << 40, 1LL << 40);
    qn_attr kernel = QN_ATTR_2I("kernel_shape", 9, 9);
    const struct {
        const char *op, *text;
        qn_type inputs[4];
        int count;
        const qn_attr *attr;
    } cases[] = {
        {"Exp", "expected a float", {{QN_DTYPE_I64, {1, {3}}}}, 1, NULL},
        {"Add", "input 1 is f64", {{QN_DTYPE_F32, {1, {3}}}, {QN_DTYPE_F64, {1, {3}}}}, 2, NULL},
        {"Add", "[4]", {{QN_DTYPE_F32, {1, {3}}}, {QN_DTYPE_F32, {1, {4}}}}, 2, NULL},
        {"Reshape", "cannot view [3, 4] as [5, 2]", {{QN_DTYPE_F32, {2, {3, 4}}}}, 1, &shape},
        {"Transpose", "perm names axis 0", {{QN_DTYPE_F32, {2, {3, 4}}}}, 1, &perm},
        {"Softmax", "axis 5 is outside", {{QN_DTYPE_F32, {2, {3, 4}}}}, 1, &axis},
        {"MatMul",
         "cannot multiply [3, 4] by [5, 6]",
         {{QN_DTYPE_F32, {2, {3, 4}}}, {QN_DTYPE_F32, {2, {5, 6}}}},
         2,
         NULL},
        {"Conv",
         "the weights take 3 channels",
         {{QN_DTYPE_F32, {4, {1, 8, 8, 4}}}, {QN_DTYPE_F32, {4, {3, 3, 3, 8}}}},
         2,
         NULL},
        {"Conv",
         "2 groups do not divide 3",
         {{QN_DTYPE_F32, {4, {1, 8, 8, 3}}}, {QN_DTYPE_F32, {4, {3, 3, 1, 8}}}},
         2,
         &group},
        {"MaxPool", "a window of 9 does not fit", {{QN_DTYPE_F32, {4, {1, 8, 8, 4}}}}, 1, &kernel},
        {"SoftmaxCrossEntropy",
         "input 1 is [5], expected [4]",
         {{QN_DTYPE_F32, {2, {4, 3}}}, {QN_DTYPE_I64, {1, {5}}}},
         2,
         NULL},
        {"Reshape", "cannot view", {{QN_DTYPE_F32, {2, {3, 4}}}}, 1, &huge},
        {"ReduceMeanGrad",
         "input 0 is [3], expected [1, 1]",
         {{QN_DTYPE_F32, {1, {3}}}},
         1,
         &shape},
        {"Conv",
         "a window of 4294967296",
         {{QN_DTYPE_F32, {4, {1, 8, 8, 1}}}, {QN_DTYPE_F32, {4, {1LL << 32, 1, 1, 8}}}},
         2,
         NULL},
        {"BatchNormalizationGrad",
         "input 3 is u8",
         {{QN_DTYPE_F32, {2, {4, 3}}},
          {QN_DTYPE_F32, {2, {4, 3}}},
          {QN_DTYPE_F32, {1, {3}}},
          {QN_DTYPE_U8, {2, {2, 3}}}},
         4,
         NULL},
        {"Nothing", "unknown op 'Nothing'", {{QN_DTYPE_F32, {1, {3}}}}, 1, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_graph *graph = qn_graph_create();
        qn_value inputs[4];
        for (int k = 0; k < cases[i].count; k++)
            inputs[k] = qn_graph_input(graph, numbered('x', k), cases[i].inputs[k].dtype,
                                       cases[i].inputs[k].shape);
        qn_value y = qn_graph_node(graph, cases[i].op, inputs, cases[i].count, cases[i].attr,
                                   cases[i].attr != NULL);
        assert_int_equal(y, QN_NONE);
        assert_true(qn_graph_check(graph, &err) != QN_OK);
        assert_text(&err, cases[i].text);
        qn_graph_destroy(graph);
    }
}

/* Symbols pass through views and come back in gradients. */
static void views_keep_symbolic_dimensions(void **unused)
{
    (void)unused;
    qn_graph *graph = qn_graph_create();
    qn_value x = qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SHAPE(QN_DIM_BATCH, 3, 4, 5));
    qn_value flat = qn_graph_op1(graph, "Flatten", x);
    qn_attr mean = QN_ATTR_I("keepdims", 0);
    qn_value loss = qn_graph_node(graph, "ReduceMean", &flat, 1, &mean, 1), gradient = QN_NONE;
    assert_ok(qn_graph_grad(graph, loss, &x, 1, &gradient, &err), &err);
    const qn_shape *shape = &qn_graph_type(graph, flat)->shape;
    assert_int_equal(shape->dims[0], QN_DIM_BATCH);
    assert_int_equal(shape->dims[1], 60);
    shape = &qn_graph_type(graph, gradient)->shape;
    assert_int_equal(shape->rank, 4);
    assert_int_equal(shape->dims[0], QN_DIM_BATCH);
    qn_graph_output(graph, "g", gradient);
    qn_state *state = NULL;
    qn_plan *plan = NULL;
    assert_ok(qn_state_create(&state, &err), &err);
    assert_ok(qn_plan_create(graph, state, &(qn_plan_options){.batch = 2}, &plan, &err), &err);
    qn_plan_run(plan, 0);
    assert_true(fabs(qn_tensor_f64_at(qn_plan_output(plan, "g"), 7) - 1.0 / 120) < 1e-9);
    qn_plan_destroy(plan);
    qn_state_destroy(state);
    qn_graph_destroy(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_complete),
        cmocka_unit_test(gradients_agree_with_differences),
        cmocka_unit_test(f32_ref_is_the_rounded_f64_ref),
        cmocka_unit_test(kernels_agree_with_refs_at_every_level),
        cmocka_unit_test(factors_are_read_from_bf16),
        cmocka_unit_test(short_floats_are_the_rounded_f64_ref),
        cmocka_unit_test(wrong_calls_are_refused_with_reasons),
        cmocka_unit_test(views_keep_symbolic_dimensions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
