/* Passes, one by one: graph in, graph out. */
#include "testing.h"

#include "graph/pass/pass.h"

static qn_error err;

static int count_op(const qn_graph *graph, const char *op)
{
    int count = 0;
    for (int i = 0; i < graph->nodes_count; i++)
        count += strcmp(graph->nodes[i].op->name, op) == 0;
    return count;
}

typedef qn_status (*pass_fn)(const qn_graph *graph, qn_graph **ret, qn_error *err);

/* Runs the pass and drops the graph it was given. */
static qn_graph *after(qn_graph *graph, pass_fn pass)
{
    qn_graph *out = NULL;
    assert_ok(qn_graph_check(graph, &err), &err);
    assert_ok(pass(graph, &out, &err), &err);
    qn_graph_destroy(graph);
    return out;
}

static qn_value matrix(qn_graph *graph, const char *name, int64_t rows, int64_t cols)
{
    return qn_graph_input(graph, name, QN_DTYPE_F32, QN_SHAPE(rows, cols));
}

static void resolve_puts_sizes_and_drops_dropout(void **state)
{
    (void)state;
    for (int training = 0; training < 2; training++) {
        qn_graph *graph = qn_graph_create(), *out = NULL;
        qn_value x = matrix(graph, "x", QN_DIM_BATCH, 4);
        qn_attr shape = {
            .name = "shape", .kind = QN_ATTR_INTS, .count = 2, .ints = {QN_DIM_BATCH, 4}};
        qn_value one = qn_graph_scalar(graph, QN_DTYPE_F32, 1);
        qn_value wide = qn_graph_node(graph, "Expand", &one, 1, &shape, 1);
        qn_value y = qn_graph_op1(graph, "Dropout", qn_graph_op2(graph, "Add", x, wide));
        qn_graph_output(graph, "y", y);
        qn_graph_output(graph, "unused", qn_graph_op1(graph, "Exp", x));
        const char *names[] = {"y"};
        qn_pass_sizes sizes = {
            .batch = 7, .training = training, .outputs = names, .outputs_count = 1};
        assert_ok(qn_pass_resolve(graph, &sizes, &out, &err), &err);
        qn_value found = qn_graph_find(out, "y");
        assert_int_equal(qn_graph_type(out, found)->shape.dims[0], 7);
        assert_int_equal(count_op(out, "Dropout"), training);
        assert_int_equal(count_op(out, "Exp"), 0);
        assert_int_equal(qn_graph_type(out, qn_graph_find(out, "x"))->shape.dims[0], 7);
        qn_graph_destroy(out);
        sizes.batch = 0;
        assert_int_equal(qn_pass_resolve(graph, &sizes, &out, &err), QN_ERR_ARG);
        qn_graph_destroy(graph);
    }
}

static void prune_keeps_what_is_needed(void **state)
{
    (void)state;
    qn_graph *graph = qn_graph_create();
    qn_value x = matrix(graph, "x", 2, 2);
    qn_value w = qn_graph_state(graph, "w", QN_DTYPE_F32, QN_SHAPE(2, 2), (qn_init){0}, true);
    qn_graph_op1(graph, "Exp", qn_graph_op1(graph, "Neg", x));
    qn_graph_assign(graph, w, qn_graph_op1(graph, "Tanh", w));
    qn_graph_output(graph, "y", qn_graph_op1(graph, "Abs", x));
    graph = after(graph, qn_pass_prune);
    assert_int_equal(graph->nodes_count, 2);
    assert_int_equal(count_op(graph, "Abs") + count_op(graph, "Tanh"), 2);
    assert_int_equal(graph->assigns_count, 1);
    qn_graph_destroy(graph);
}

static void fold_computes_constants_and_drops_identities(void **state)
{
    (void)state;
    qn_graph *graph = qn_graph_create();
    qn_value x = matrix(graph, "x", 2, 2);
    qn_value two = qn_graph_scalar(graph, QN_DTYPE_F32, 2);
    qn_value zero = qn_graph_op2(graph, "Sub", two, two);
    qn_value one = qn_graph_op2(graph, "Div", two, two);
    qn_value y = qn_graph_op2(graph, "Mul", one, qn_graph_op2(graph, "Add", x, zero));
    qn_graph_output(graph, "y", y);
    qn_graph_output(graph, "four", qn_graph_op1(graph, "Square", two));
    qn_graph_output(graph, "kept", qn_graph_op2(graph, "Sub", zero, x));
    graph = after(graph, qn_pass_fold);
    assert_int_equal(qn_graph_find(graph, "y"), qn_graph_find(graph, "x"));
    const qn_value_info *four = &graph->values[qn_graph_find(graph, "four")];
    assert_int_equal(four->kind, QN_VALUE_CONST);
    assert_true(*(const float *)four->data == 4);
    assert_int_equal(graph->nodes_count, 1); /* 0 - x is no identity */
    qn_graph_destroy(graph);
}

/* 1 of another shape widens: it has to stay. */
static void fold_keeps_identities_that_broadcast(void **state)
{
    (void)state;
    qn_graph *graph = qn_graph_create();
    qn_value x = matrix(graph, "x", 1, 2);
    float ones[6] = {1, 1, 1, 1, 1, 1};
    qn_tensor tensor = qn_tensor_of(ones, QN_DTYPE_F32, QN_SHAPE(3, 2));
    qn_graph_output(graph, "y", qn_graph_op2(graph, "Mul", x, qn_graph_const(graph, &tensor)));
    graph = after(graph, qn_pass_fold);
    assert_int_equal(graph->nodes_count, 1);
    qn_graph_destroy(graph);
}

static void share_joins_equal_nodes_only(void **state)
{
    (void)state;
    qn_graph *graph = qn_graph_create();
    qn_value x = matrix(graph, "x", 3, 3);
    qn_attr trans = QN_ATTR_I("transA", 1);
    qn_value pair[] = {x, x};
    qn_value a = qn_graph_node(graph, "MatMul", pair, 2, NULL, 0);
    qn_value b = qn_graph_node(graph, "MatMul", pair, 2, NULL, 0);
    qn_value c = qn_graph_node(graph, "MatMul", pair, 2, &trans, 1);
    qn_value d =
        qn_graph_op2(graph, "Add", qn_graph_op1(graph, "Exp", a), qn_graph_op1(graph, "Exp", b));
    qn_value two = qn_graph_scalar(graph, QN_DTYPE_F32, 2),
             also = qn_graph_scalar(graph, QN_DTYPE_F32, 2);
    qn_graph_output(graph, "d", qn_graph_op2(graph, "Add", c, d));
    qn_graph_output(graph, "e", qn_graph_op2(graph, "Mul", x, two));
    qn_graph_output(graph, "f", qn_graph_op2(graph, "Mul", x, also));
    qn_graph_output(graph, "r1", qn_graph_op1(graph, "Dropout", x));
    qn_graph_output(graph, "r2", qn_graph_op1(graph, "Dropout", x));
    graph = after(graph, qn_pass_share);
    assert_int_equal(count_op(graph, "MatMul"), 2);
    assert_int_equal(count_op(graph, "Exp"), 1);
    assert_int_equal(count_op(graph, "Mul"), 1);
    assert_int_equal(count_op(graph, "Dropout"), 2);
    assert_int_equal(qn_graph_find(graph, "e"), qn_graph_find(graph, "f"));
    qn_graph_destroy(graph);
}

static const char *text_attr(const qn_graph *graph, int node, const char *name)
{
    const qn_node *at = &graph->nodes[node];
    for (int i = 0; at->op->attrs[i].name; i++)
        if (strcmp(at->op->attrs[i].name, name) == 0)
            return at->attrs[i].s;
    return NULL;
}

static void fuse_takes_bias_and_activation(void **state)
{
    (void)state;
    qn_graph *graph = qn_graph_create();
    qn_value x = matrix(graph, "x", 3, 4), w = matrix(graph, "w", 4, 5);
    qn_value b = qn_graph_input(graph, "b", QN_DTYPE_F32, QN_SHAPE(5));
    qn_value z = qn_graph_op2(graph, "MatMul", x, w);
    qn_attr tanh_form = QN_ATTR_S("approximate", "tanh");
    qn_value sum = qn_graph_op2(graph, "Add", b, z);
    qn_graph_output(graph, "y", qn_graph_node(graph, "Gelu", &sum, 1, &tanh_form, 1));
    graph = after(graph, qn_pass_fuse);
    assert_int_equal(graph->nodes_count, 1);
    assert_string_equal(graph->nodes[0].op->name, "Gemm");
    assert_int_equal(graph->nodes[0].inputs_count, 3);
    assert_string_equal(text_attr(graph, 0, "activation"), "gelu_tanh");
    qn_graph_destroy(graph);
}

/* One matrix for the rows of a batch becomes a Gemm, too; one turned or of a batch of its own does not. */
static void fuse_takes_batches_of_rows(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) {
        qn_graph *graph = qn_graph_create();
        qn_value x = qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SHAPE(2, 4, 4));
        qn_value w = way == 1 ? qn_graph_input(graph, "w", QN_DTYPE_F32, QN_SHAPE(2, 4, 5))
                              : matrix(graph, "w", 4, 5);
        qn_value b = qn_graph_input(graph, "b", QN_DTYPE_F32, QN_SHAPE(5));
        qn_attr turned = QN_ATTR_I("transA", way == 2);
        qn_value z = qn_graph_node(graph, "MatMul", (qn_value[]){x, w}, 2, &turned, 1);
        qn_graph_output(graph, "y", qn_graph_op1(graph, "Relu", qn_graph_op2(graph, "Add", z, b)));
        graph = after(graph, qn_pass_fuse);
        assert_int_equal(graph->nodes_count, way == 0 ? 1 : 3);
        qn_value y = qn_graph_find(graph, "y");
        assert_int_equal(qn_graph_type(graph, y)->shape.rank, 3);
        assert_int_equal(qn_graph_type(graph, y)->shape.dims[2], 5);
        qn_graph_destroy(graph);
    }
}

static void fuse_leaves_values_that_others_read(void **state)
{
    (void)state;
    qn_graph *graph = qn_graph_create();
    qn_value x = matrix(graph, "x", 3, 4), w = matrix(graph, "w", 4, 5);
    qn_value column = matrix(graph, "c", 3, 1);
    qn_value z = qn_graph_op2(graph, "MatMul", x, w);
    qn_graph_output(graph, "y", qn_graph_op1(graph, "Relu", z));
    qn_graph_output(graph, "z", z);
    qn_value p = qn_graph_op2(graph, "Gemm", x, w);
    qn_graph_output(graph, "q", qn_graph_op2(graph, "Add", p, column));
    qn_attr relu = QN_ATTR_S("activation", "relu");
    qn_value r = qn_graph_node(graph, "Gemm", (qn_value[]){x, w}, 2, &relu, 1);
    qn_graph_output(graph, "s", qn_graph_op1(graph, "Tanh", r));
    graph = after(graph, qn_pass_fuse);
    assert_int_equal(graph->nodes_count, 6);
    assert_int_equal(count_op(graph, "MatMul"), 1);
    qn_graph_destroy(graph);
}

/* Conv(relu) and a 2x2 pool; with gradients when asked. */
static qn_graph *pooled_graph(bool training, int64_t stride)
{
    qn_graph *graph = qn_graph_create();
    qn_value x = qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SHAPE(2, 8, 8, 3));
    qn_value w = qn_graph_state(graph, "w", QN_DTYPE_F32, QN_SHAPE(3, 3, 3, 4), (qn_init){0}, true);
    qn_attr relu = QN_ATTR_S("activation", "relu"), keep = QN_ATTR_I("keepdims", 0);
    qn_attr window[] = {QN_ATTR_2I("kernel_shape", 2, 2), QN_ATTR_2I("strides", stride, stride)};
    qn_value c = qn_graph_node(graph, "Conv", (qn_value[]){x, w}, 2, &relu, 1);
    qn_value y = qn_graph_node(graph, "MaxPool", &c, 1, window, 2);
    qn_value loss = qn_graph_node(graph, "ReduceSum", &y, 1, &keep, 1), grads[2];
    qn_graph_output(graph, "y", y);
    if (training) {
        assert_ok(qn_graph_grad(graph, loss, (qn_value[]){x, w}, 2, grads, &err), &err);
        qn_graph_output(graph, "dx", grads[0]);
        qn_graph_output(graph, "dw", grads[1]);
    }
    return after(graph, qn_pass_prune);
}

static void fuse_pool_takes_forward_and_backward(void **state)
{
    (void)state;
    for (int training = 0; training < 2; training++) {
        qn_graph *graph = after(pooled_graph(training, 2), qn_pass_fuse_pool);
        assert_int_equal(count_op(graph, "ConvReluPool"), 1);
        assert_int_equal(count_op(graph, "ConvReluPoolGrad"), training);
        assert_int_equal(count_op(graph, "Conv") + count_op(graph, "MaxPool"), 0);
        assert_int_equal(count_op(graph, "ReluGrad") + count_op(graph, "MaxPoolGrad"), 0);
        assert_int_equal(count_op(graph, "ConvGradData") + count_op(graph, "ConvGradWeight"), 0);
        qn_graph_destroy(graph);
    }
}

static void fuse_pool_leaves_other_windows_and_readers(void **state)
{
    (void)state;
    qn_graph *graph = after(pooled_graph(true, 1), qn_pass_fuse_pool);
    assert_int_equal(count_op(graph, "Conv"), 1);
    qn_graph_destroy(graph);
    graph = pooled_graph(true, 2);
    for (int i = 0; i < graph->nodes_count; i++)
        if (strcmp(graph->nodes[i].op->name, "Conv") == 0)
            qn_graph_output(graph, "c", graph->nodes[i].first);
    graph = after(graph, qn_pass_fuse_pool);
    assert_int_equal(count_op(graph, "Conv"), 1);
    assert_int_equal(count_op(graph, "ConvReluPool"), 0);
    qn_graph_destroy(graph);
}

/* The input dtype of the op's first node. */
static qn_dtype read_as(const qn_graph *graph, const char *op, int input)
{
    for (int i = 0; i < graph->nodes_count; i++)
        if (strcmp(graph->nodes[i].op->name, op) == 0) {
            assert_true(graph->nodes[i].narrow);
            return graph->values[graph->nodes[i].inputs[input]].type.dtype;
        }
    fail_msg("no %s", op);
    return QN_DTYPE_F32;
}

/* y is read by products only, z by the output too; w lies in f32, too. */
static void bf16_stores_what_only_products_read(void **state)
{
    (void)state;
    qn_graph *graph = qn_graph_create();
    qn_value x = matrix(graph, "x", 8, 6), w = matrix(graph, "w", 6, 6);
    qn_value y = qn_graph_op1(graph, "Exp", x), z = qn_graph_op2(graph, "MatMul", y, w);
    qn_graph_output(graph, "z", z);
    qn_graph_output(graph, "yy", qn_graph_op2(graph, "MatMulGradWeight", y, z));
    graph = after(graph, qn_pass_bf16);
    assert_int_equal(count_op(graph, "Cast"), 1);
    assert_int_equal(read_as(graph, "MatMul", 0), QN_DTYPE_BF16);
    assert_int_equal(read_as(graph, "MatMul", 1), QN_DTYPE_F32);
    assert_int_equal(read_as(graph, "MatMulGradWeight", 0), QN_DTYPE_BF16);
    assert_int_equal(read_as(graph, "MatMulGradWeight", 1), QN_DTYPE_F32);
    qn_graph_destroy(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resolve_puts_sizes_and_drops_dropout),
        cmocka_unit_test(prune_keeps_what_is_needed),
        cmocka_unit_test(fold_computes_constants_and_drops_identities),
        cmocka_unit_test(fold_keeps_identities_that_broadcast),
        cmocka_unit_test(share_joins_equal_nodes_only),
        cmocka_unit_test(fuse_takes_bias_and_activation),
        cmocka_unit_test(fuse_takes_batches_of_rows),
        cmocka_unit_test(fuse_leaves_values_that_others_read),
        cmocka_unit_test(fuse_pool_takes_forward_and_backward),
        cmocka_unit_test(fuse_pool_leaves_other_windows_and_readers),
        cmocka_unit_test(bf16_stores_what_only_products_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
