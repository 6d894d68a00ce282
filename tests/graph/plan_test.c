/* Plans: layout, in-place work, assignments, guards and rebinding, on graphs of primitive ops. */
#include "testing.h"

#include <math.h>
#include <stdio.h>

#include "graph/pass/pass.h"
#include "graph/plan.h"
#include "graph/plan_priv.h"
#include "graph/state.h"

static qn_error err;

static qn_plan *plan_of(qn_graph *graph, qn_state *state, qn_plan_options options)
{
    qn_plan *plan = NULL;
    assert_ok(qn_state_add_graph(state, graph, 7, &err), &err);
    assert_ok(qn_plan_create(graph, state, &options, &plan, &err), &err);
    return plan;
}

static qn_state *new_state(void)
{
    qn_state *state = NULL;
    assert_ok(qn_state_create(&state, &err), &err);
    return state;
}

static float *state_data(const qn_state *state, const char *name)
{
    return qn_state_find(state, name)->tensor.data;
}

static void plan_computes_and_binds_symbols(void **unused)
{
    (void)unused;
    qn_graph *graph = qn_graph_create();
    qn_value x = qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SHAPE(QN_DIM_BATCH, 3));
    qn_value two = qn_graph_scalar(graph, QN_DTYPE_F32, 2);
    qn_graph_output(graph, "y", qn_graph_op2(graph, "Mul", qn_graph_op2(graph, "Add", x, two), x));
    qn_state *state = new_state();
    for (int reference = 0; reference < 2; reference++) {
        qn_plan *plan =
            plan_of(graph, state, (qn_plan_options){.batch = 2, .reference = reference});
        const qn_tensor *in = qn_plan_input(plan, "x"), *out = qn_plan_output(plan, "y");
        assert_int_equal(in->shape.dims[0], 2);
        for (int i = 0; i < 6; i++)
            ((float *)in->data)[i] = (float)i;
        qn_plan_run(plan, 0);
        for (int i = 0; i < 6; i++)
            assert_true(((float *)out->data)[i] == (float)(i * (i + 2)));
        float other[6] = {1, 1, 1, 2, 2, 2};
        assert_ok(qn_plan_bind(plan, "x", other, &err), &err);
        qn_plan_run(plan, 1);
        assert_true(((float *)out->data)[5] == 8);
        assert_true(other[5] == 2); /* nothing runs in place on an input */
        assert_null(qn_plan_input(plan, "z"));
        assert_int_equal(qn_plan_bind(plan, "z", other, &err), QN_ERR_NOT_FOUND);
        qn_plan_destroy(plan);
    }
    qn_plan *plan = NULL;
    assert_int_equal(qn_plan_create(graph, state, &(qn_plan_options){0}, &plan, &err), QN_ERR_ARG);
    assert_text(&err, "symbolic batch");
    qn_state_destroy(state);
    qn_graph_destroy(graph);
}

static void assignments_write_states_in_place(void **unused)
{
    (void)unused;
    qn_graph *graph = qn_graph_create();
    qn_value x = qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SHAPE(4));
    qn_value w =
        qn_graph_state(graph, "w", QN_DTYPE_F32, QN_SHAPE(4), (qn_init){QN_INIT_ONE, 0}, true);
    qn_graph_output(graph, "y", qn_graph_op2(graph, "Mul", w, x));
    qn_graph_assign(graph, w, qn_graph_op2(graph, "Add", w, x));
    qn_state *state = new_state();
    qn_plan *plan = plan_of(graph, state, (qn_plan_options){.batch = 1});
    assert_int_equal(qn_plan_calls(plan), 2); /* no copy */
    float *in = qn_plan_input(plan, "x")->data;
    for (int i = 0; i < 4; i++)
        in[i] = (float)i;
    for (int run = 0; run < 3; run++) {
        qn_plan_run(plan, 0);
        assert_true(((float *)qn_plan_output(plan, "y")->data)[3] == 3 * (1 + 3 * (float)run));
        assert_true(state_data(state, "w")[3] == 1 + 3 * (float)(run + 1));
    }
    qn_plan_destroy(plan);
    qn_state_destroy(state);
    qn_graph_destroy(graph);
}

/* a and b change places, an output shows the old a, and c takes a value with another reader. */
/* A cache of 2 rows, 3 places of 2 numbers; each run adds one place a row and reads the whole. */
static void a_cache_is_written_where_it_lies(void **unused)
{
    (void)unused;
    qn_graph *graph = qn_graph_create();
    qn_attr axes = {.name = "axes", .kind = QN_ATTR_INTS, .count = 1, .ints = {1}};
    qn_value rows = qn_graph_input(graph, "rows", QN_DTYPE_F32, QN_SHAPE(2, 1, 2));
    qn_value starts = qn_graph_input(graph, "starts", QN_DTYPE_I64, QN_SHAPE(2));
    qn_value cache = qn_graph_state(graph, "cache", QN_DTYPE_F32, QN_SHAPE(2, 3, 2),
                                    (qn_init){QN_INIT_ZERO, 0}, false);
    qn_value inputs[3] = {cache, rows, starts};
    qn_value all = qn_graph_node(graph, "TensorScatter", inputs, 3, NULL, 0);
    qn_graph_assign(graph, cache, all);
    qn_graph_output(graph, "sum", qn_graph_node(graph, "ReduceSum", &all, 1, &axes, 1));
    qn_state *state = new_state();
    for (int reference = 0; reference < 2; reference++) {
        qn_plan *plan =
            plan_of(graph, state, (qn_plan_options){.batch = 1, .reference = reference});
        assert_int_equal(qn_plan_calls(plan), 2); /* no copy */
        memset(state_data(state, "cache"), 0, 12 * sizeof(float));
        const float *sum = qn_plan_output(plan, "sum")->data;
        for (int step = 0; step < 3; step++) {
            float *in = qn_plan_input(plan, "rows")->data;
            int64_t *at = qn_plan_input(plan, "starts")->data;
            for (int i = 0; i < 4; i++)
                in[i] = (float)(10 * step + i + 1);
            at[0] = step;
            at[1] = 2 - step;
            qn_plan_run(plan, (uint32_t)step);
            assert_true(state_data(state, "cache")[2 * step] == (float)(10 * step + 1));
            assert_true(state_data(state, "cache")[6 + 2 * (2 - step) + 1] ==
                        (float)(10 * step + 4));
        }
        assert_true(sum[0] == 33 && sum[1] == 36 && sum[2] == 39 && sum[3] == 42);
        qn_plan_destroy(plan);
    }
    qn_state_destroy(state);
    qn_graph_destroy(graph);
}

/* Another reader of the cache wants what it was: then there is a copy. */
static void a_cache_with_another_reader_is_kept(void **unused)
{
    (void)unused;
    qn_graph *graph = qn_graph_create();
    qn_value rows = qn_graph_input(graph, "rows", QN_DTYPE_F32, QN_SHAPE(1, 1, 2));
    qn_value cache = qn_graph_state(graph, "cache", QN_DTYPE_F32, QN_SHAPE(1, 2, 2),
                                    (qn_init){QN_INIT_ONE, 0}, false);
    qn_value inputs[2] = {cache, rows};
    qn_value all = qn_graph_node(graph, "TensorScatter", inputs, 2, NULL, 0);
    qn_graph_assign(graph, cache, all);
    qn_graph_output(graph, "y", qn_graph_op2(graph, "Sub", all, cache));
    qn_state *state = new_state();
    qn_plan *plan = plan_of(graph, state, (qn_plan_options){.batch = 1});
    float *in = qn_plan_input(plan, "rows")->data;
    in[0] = 5;
    in[1] = 7;
    qn_plan_run(plan, 0);
    const float *y = qn_plan_output(plan, "y")->data;
    assert_true(y[0] == 4 && y[1] == 6 && y[2] == 0 && y[3] == 0);
    assert_true(state_data(state, "cache")[1] == 7);
    qn_plan_destroy(plan);
    qn_state_destroy(state);
    qn_graph_destroy(graph);
}

static void assignments_read_old_values(void **unused)
{
    (void)unused;
    for (int reference = 0; reference < 2; reference++) {
        qn_graph *graph = qn_graph_create();
        qn_init one = {QN_INIT_ONE, 0}, five = {QN_INIT_CONST, 5};
        qn_value a = qn_graph_state(graph, "a", QN_DTYPE_F32, QN_SHAPE(3), one, false);
        qn_value b = qn_graph_state(graph, "b", QN_DTYPE_F32, QN_SHAPE(3), five, false);
        qn_value c = qn_graph_state(graph, "c", QN_DTYPE_F32, QN_SHAPE(3), one, false);
        qn_value next = qn_graph_op2(graph, "Add", c, a);
        qn_graph_assign(graph, a, b);
        qn_graph_assign(graph, b, a);
        qn_graph_assign(graph, c, next);
        qn_graph_output(graph, "old_a", a);
        qn_graph_output(graph, "next", next);
        qn_state *state = new_state();
        qn_plan *plan = plan_of(graph, state, (qn_plan_options){.reference = reference});
        qn_plan_run(plan, 0);
        assert_true(state_data(state, "a")[2] == 5 && state_data(state, "b")[2] == 1);
        assert_true(state_data(state, "c")[2] == 2);
        assert_true(((float *)qn_plan_output(plan, "old_a")->data)[2] == 1);
        qn_plan_run(plan, 0);
        assert_true(state_data(state, "a")[2] == 1 && state_data(state, "b")[2] == 5);
        assert_true(state_data(state, "c")[2] == 7);
        assert_true(((float *)qn_plan_output(plan, "next")->data)[2] == 7);
        qn_plan_destroy(plan);
        qn_state_destroy(state);
        qn_graph_destroy(graph);
    }
}

/* w is read by a node of the tail after the node that would change it. */
static void late_reader_of_a_state_sees_the_old_value(void **unused)
{
    (void)unused;
    qn_graph *graph = qn_graph_create();
    qn_init one = {QN_INIT_ONE, 0};
    qn_value w = qn_graph_state(graph, "w", QN_DTYPE_F32, QN_SHAPE(2), one, true);
    qn_value v = qn_graph_state(graph, "v", QN_DTYPE_F32, QN_SHAPE(2), one, true);
    qn_value x = qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SHAPE(2));
    qn_graph_assign(graph, w, qn_graph_op2(graph, "Add", w, x));
    qn_graph_assign(graph, v, qn_graph_op2(graph, "Add", v, w));
    qn_state *state = new_state();
    qn_plan *plan = plan_of(graph, state, (qn_plan_options){0});
    float *in = qn_plan_input(plan, "x")->data;
    in[0] = in[1] = 10;
    qn_plan_run(plan, 0);
    assert_true(state_data(state, "w")[0] == 11);
    assert_true(state_data(state, "v")[0] == 2);
    qn_plan_destroy(plan);
    qn_state_destroy(state);
    qn_graph_destroy(graph);
}

static void guard_leaves_states_alone_and_names_the_node(void **unused)
{
    (void)unused;
    qn_graph *graph = qn_graph_create();
    qn_value w =
        qn_graph_state(graph, "w", QN_DTYPE_F32, QN_SHAPE(2), (qn_init){QN_INIT_ONE, 0}, true);
    qn_value x = qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SHAPE(2));
    qn_graph_scope(graph, "layers[1] ratio");
    qn_value ratio = qn_graph_op2(graph, "Div", w, x);
    qn_graph_scope(graph, NULL);
    qn_attr axes = {.name = "keepdims", .kind = QN_ATTR_INT, .i = 0};
    qn_value loss = qn_graph_node(graph, "ReduceSum", &ratio, 1, &axes, 1);
    qn_graph_output(graph, "loss", loss);
    qn_graph_assign(graph, w, qn_graph_op2(graph, "Add", w, ratio));
    qn_state *state = new_state();
    const char *guard = "loss";
    qn_plan *plan = plan_of(graph, state, (qn_plan_options){.guards = &guard, .guards_count = 1});
    float *in = qn_plan_input(plan, "x")->data;
    char text[80];
    in[0] = 0, in[1] = 1;
    qn_plan_run(plan, 0);
    assert_true(qn_plan_stopped(plan));
    assert_true(state_data(state, "w")[0] == 1 && state_data(state, "w")[1] == 1);
    assert_true(qn_plan_find_nonfinite(plan, 0, text, sizeof text));
    assert_string_equal(text, "Div layers[1] ratio");
    in[1] = NAN;
    assert_true(qn_plan_find_nonfinite(plan, 0, text, sizeof text));
    assert_string_equal(text, "input x");
    in[0] = 2, in[1] = 1;
    state_data(state, "w")[1] = INFINITY;
    assert_true(qn_plan_find_nonfinite(plan, 0, text, sizeof text));
    assert_string_equal(text, "Div layers[1] ratio, in parameters left by an earlier update");
    state_data(state, "w")[1] = 1;
    qn_plan_run(plan, 0);
    assert_false(qn_plan_stopped(plan));
    assert_false(qn_plan_find_nonfinite(plan, 0, text, sizeof text));
    assert_true(state_data(state, "w")[0] == 1.5f);
    qn_plan_destroy(plan);
    const char *bad = "nothing";
    assert_int_equal(qn_plan_create(graph, state,
                                    &(qn_plan_options){.guards = &bad, .guards_count = 1}, &plan,
                                    &err),
                     QN_ERR_ARG);
    qn_state_destroy(state);
    qn_graph_destroy(graph);
}

/* A random graph of elementwise ops, views and reductions over a few shapes. */
static qn_graph *random_graph(uint32_t seed)
{
    static const char *const unary[] = {"Neg", "Tanh", "Sigmoid", "Relu", "Square"};
    static const char *const binary[] = {"Add", "Sub", "Mul", "Max"};
    qn_rng rng = {.seed = seed};
    uint64_t at = 0;
    qn_graph *graph = qn_graph_create();
    qn_value values[64];
    int count = 0;
    values[count++] = qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SHAPE(QN_DIM_BATCH, 6));
    values[count++] =
        qn_graph_state(graph, "w", QN_DTYPE_F32, QN_SHAPE(6), (qn_init){QN_INIT_UNIFORM, 1}, true);
    values[count++] =
        qn_graph_state(graph, "b", QN_DTYPE_F32, QN_SHAPE(1), (qn_init){QN_INIT_NORMAL, 1}, true);
    values[count++] = qn_graph_scalar(graph, QN_DTYPE_F32, 0.5);
    while (count < 40) {
        qn_value a = values[qn_rng_below(rng, at++, (uint64_t)count)];
        qn_value b = values[qn_rng_below(rng, at++, (uint64_t)count)];
        switch (qn_rng_below(rng, at++, 3)) {
        case 0:
            values[count++] = qn_graph_op1(graph, unary[qn_rng_below(rng, at++, 5)], a);
            break;
        case 1:
            values[count++] = qn_graph_op2(graph, binary[qn_rng_below(rng, at++, 4)], a, b);
            break;
        default: {
            qn_attr axis = {.name = "axes", .kind = QN_ATTR_INTS, .count = 1, .ints = {-1}};
            bool scalar = qn_graph_type(graph, a)->shape.rank == 0;
            values[count++] = qn_graph_node(graph, "ReduceMean", &a, 1, &axis, scalar ? 0 : 1);
        }
        }
    }
    qn_value step = qn_graph_node(graph, "ReduceMean", &values[count - 1], 1, NULL, 0);
    qn_graph_output(graph, "y", values[count - 1]);
    qn_graph_output(graph, "z", values[count - 4]);
    qn_attr shape = {.name = "shape", .kind = QN_ATTR_INTS, .count = 1, .ints = {1}};
    qn_graph_assign(graph, values[2], qn_graph_node(graph, "Reshape", &step, 1, &shape, 1));
    qn_graph_assign(graph, values[1], qn_graph_op2(graph, "Add", values[1], values[2]));
    return graph;
}

static void random_graphs_agree_with_their_reference(void **unused)
{
    (void)unused;
    for (uint32_t seed = 0; seed < 200; seed++) {
        qn_graph *graph = random_graph(seed);
        assert_ok(qn_graph_check(graph, &err), &err);
        qn_state *state[2] = {new_state(), new_state()};
        qn_plan *plan[2];
        for (int reference = 0; reference < 2; reference++) {
            plan[reference] = plan_of(graph, state[reference],
                                      (qn_plan_options){.batch = 5, .reference = reference});
            float *in = qn_plan_input(plan[reference], "x")->data;
            for (int i = 0; i < 30; i++)
                in[i] = (float)sin(i + (double)seed);
            for (uint32_t run = 0; run < 2; run++)
                qn_plan_run(plan[reference], run);
        }
        for (int k = 0; k < 4; k++) {
            static const char *const names[] = {"y", "z", "w", "b"};
            const qn_tensor *t[2];
            for (int r = 0; r < 2; r++)
                t[r] = k < 2 ? qn_plan_output(plan[r], names[k])
                             : &qn_state_find(state[r], names[k])->tensor;
            for (int64_t i = 0; i < qn_shape_count(&t[0]->shape); i++) {
                double a = qn_tensor_f64_at(t[0], i), b = qn_tensor_f64_at(t[1], i);
                if (!(fabs(a - b) <= 1e-5 + 1e-5 * fabs(b)) && !(isnan(a) && isnan(b)) && a != b)
                    fail_msg("seed %u: %s[%d] is %g, reference %g", seed, names[k], (int)i, a, b);
            }
        }
        for (int r = 0; r < 2; r++) {
            qn_plan_destroy(plan[r]);
            qn_state_destroy(state[r]);
        }
        qn_graph_destroy(graph);
    }
}

/* No two buffers that matter at the same time share bytes, and all are aligned and inside. */
static void layouts_do_not_overlap(void **unused)
{
    (void)unused;
    for (uint32_t seed = 0; seed < 100; seed++) {
        qn_graph *graph = random_graph(seed);
        qn_state *state = new_state();
        assert_ok(qn_state_add_graph(state, graph, 1, &err), &err);
        qn_graph *sized = NULL;
        qn_arena arena;
        qn_arena_init(&arena, 0);
        assert_ok(qn_pass_resolve(graph, &(qn_pass_sizes){.batch = 50}, &sized, &err), &err);
        qn_layout layout;
        assert_ok(qn_layout_make(sized, state, &(qn_plan_options){0}, &arena, &layout, &err), &err);
        size_t all = 0;
        for (int a = 0; a < layout.buffers_count; a++) {
            const qn_plan_buffer *x = &layout.buffers[a];
            bool used = false;
            for (int v = 0; v < sized->values_count; v++)
                used = used || layout.buffer_of[v] == a || layout.copy_of[v] == a;
            if (x->kind == QN_BUFFER_STATE || x->kind == QN_BUFFER_CONST || !used)
                continue;
            all += x->bytes;
            assert_int_equal(x->offset % QN_PLAN_ALIGNMENT, 0);
            assert_true(x->offset + x->bytes <= layout.bytes);
            for (int b = 0; b < a; b++) {
                const qn_plan_buffer *y = &layout.buffers[b];
                bool both = x->kind == QN_BUFFER_ARENA && y->kind == QN_BUFFER_ARENA;
                bool together = x->first <= y->last && y->first <= x->last;
                bool overlap = x->offset < y->offset + y->bytes && y->offset < x->offset + x->bytes;
                bool merged = true;
                for (int v = 0; v < sized->values_count; v++)
                    merged = merged && layout.buffer_of[v] != b && layout.copy_of[v] != b;
                assert_false(both && together && overlap && !merged);
            }
        }
        assert_true(layout.bytes <= all);
        qn_arena_deinit(&arena);
        qn_graph_destroy(sized);
        qn_state_destroy(state);
        qn_graph_destroy(graph);
    }
}

static void plan_refuses_beyond_its_budget_and_prints(void **unused)
{
    (void)unused;
    qn_graph *graph = random_graph(3);
    qn_state *state = new_state();
    assert_ok(qn_state_add_graph(state, graph, 1, &err), &err);
    qn_plan *plan = NULL;
    qn_plan_options options = {.batch = 100000, .memory_max = 1 << 20};
    assert_int_equal(qn_plan_create(graph, state, &options, &plan, &err), QN_ERR_BUDGET);
    assert_text(&err, "1.0 MiB are allowed");
    options = (qn_plan_options){.batch = 4};
    assert_ok(qn_plan_create(graph, state, &options, &plan, &err), &err);
    qn_buf text;
    qn_buf_init(&text, 0);
    qn_plan_print(plan, &text);
    qn_buf_byte(&text, 0);
    assert_non_null(strstr(text.data, "states change from here"));
    assert_true(qn_plan_bytes(plan) > 0 && qn_plan_flops(plan) > 0);
    qn_buf_deinit(&text);
    qn_plan_destroy(plan);
    qn_state_destroy(state);
    qn_graph_destroy(graph);
}

/* The gradient of a table that is looked up and multiplied by is one buffer beside the other gradients: the product
 * writes it and the rows are added where it lies, in any plan. */
static void gradient_of_a_tied_table_is_one_buffer(void **unused)
{
    (void)unused;
    qn_graph *graph = qn_graph_create();
    qn_value rows = qn_graph_input(graph, "rows", QN_DTYPE_I64, QN_SHAPE(QN_DIM_BATCH));
    qn_value table = qn_graph_state(graph, "table", QN_DTYPE_F32, QN_SHAPE(7, 16),
                                    (qn_init){QN_INIT_UNIFORM, 1}, true);
    qn_value seen = qn_graph_op2(graph, "Gather", table, rows);
    qn_value scores = qn_graph_op2(graph, "MatMul", seen, qn_graph_op1(graph, "Transpose", table));
    qn_value loss = qn_graph_node(graph, "ReduceMean", &scores, 1, NULL, 0), slope = QN_NONE;
    assert_ok(qn_graph_grad(graph, loss, &table, 1, &slope, &err), &err);
    qn_value update[] = {table, slope, qn_graph_scalar(graph, QN_DTYPE_F32, 0.5)};
    qn_graph_assign(graph, table, qn_graph_node(graph, "SgdUpdate", update, 3, NULL, 0));
    qn_state *state[2] = {new_state(), new_state()};
    for (int reference = 0; reference < 2; reference++) {
        qn_plan *plan =
            plan_of(graph, state[reference], (qn_plan_options){.batch = 5, .reference = reference});
        int64_t *at = qn_plan_input(plan, "rows")->data;
        for (int i = 0; i < 5; i++)
            at[i] = i * i % 7;
        qn_plan_run(plan, 0);
        qn_buf text;
        qn_buf_init(&text, 0);
        qn_plan_print(plan, &text);
        qn_buf_byte(&text, 0);
        const char *added = strstr(text.data, "AddRows"), *end = added ? strchr(added, '\n') : NULL;
        const char *in_place = added ? strstr(added, "in place") : NULL;
        assert_true(in_place && in_place < end);
        qn_buf_deinit(&text);
        qn_plan_destroy(plan);
    }
    for (int i = 0; i < 7 * 16; i++)
        assert_true(fabsf(state_data(state[0], "table")[i] - state_data(state[1], "table")[i]) <
                    1e-6f);
    for (int reference = 0; reference < 2; reference++)
        qn_state_destroy(state[reference]);
    qn_graph_destroy(graph);
}

/* The sum of rows 1, 1 and 0 of x [B, 2]. */
static void rows_of_the_batch_have_a_gradient(void **unused)
{
    (void)unused;
    enum { BATCH = 3 };
    static int64_t rows[] = {1, 1, 0};
    static const float right[] = {1, 1, 2, 2, 0, 0};
    qn_plan *plan;
    qn_graph *graph = qn_graph_create();
    qn_state *state = new_state();
    qn_tensor places = qn_tensor_of(rows, QN_DTYPE_I64, QN_SHAPE(3));
    qn_attr all = QN_ATTR_I("keepdims", 0);
    qn_value x = qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SHAPE(QN_DIM_BATCH, 2)), dx;
    qn_value y = qn_graph_op2(graph, "Gather", x, qn_graph_const(graph, &places));
    y = qn_graph_node(graph, "ReduceSum", &y, 1, &all, 1);
    assert_ok(qn_graph_grad(graph, y, &x, 1, &dx, &err), &err);
    qn_graph_output(graph, "dx", dx);
    assert_ok(qn_plan_create(graph, state, &(qn_plan_options){.batch = BATCH}, &plan, &err), &err);
    qn_plan_run(plan, 0);
    assert_memory_equal(qn_plan_output(plan, "dx")->data, right, sizeof right);
    qn_plan_destroy(plan);
    qn_state_destroy(state);
    qn_graph_destroy(graph);
}

/* x [B, 3, 1] to five rows by a given scale, which is not 5 / 3; y beside the reference's. */
static bool resize_agrees(bool constant)
{
    float factors[] = {1, 1.75F, 1}, *y[2], x[] = {1, -2, 5, 4, 0, 3};
    qn_plan *plans[2];
    qn_graph *graph = qn_graph_create();
    qn_state *state = new_state();
    qn_tensor scales = qn_tensor_of(factors, QN_DTYPE_F32, QN_SHAPE(3));
    qn_attr attrs[] = {
        {.name = "sizes", .kind = QN_ATTR_INTS, .count = 3, .ints = {QN_DIM_BATCH, 5, 1}},
        QN_ATTR_S("mode", "linear")};
    qn_value inputs[] = {qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SHAPE(QN_DIM_BATCH, 3, 1)),
                         QN_NONE,
                         constant ? qn_graph_const(graph, &scales)
                                  : qn_graph_input(graph, "scales", QN_DTYPE_F32, QN_SHAPE(3))};
    qn_buf text;
    qn_graph_output(graph, "y", qn_graph_node(graph, "Resize", inputs, 3, attrs, 2));
    for (int i = 0; i < 2; i++) {
        qn_plan_options options = {.batch = 2, .reference = i == 1};
        assert_ok(qn_plan_create(graph, state, &options, &plans[i], &err), &err);
        memcpy(qn_plan_input(plans[i], "x")->data, x, sizeof x);
        if (!constant)
            memcpy(qn_plan_input(plans[i], "scales")->data, factors, sizeof factors);
        qn_plan_run(plans[i], 0);
        y[i] = qn_plan_output(plans[i], "y")->data;
    }
    for (int i = 0; i < 10; i++)
        assert_true(fabsf(y[0][i] - y[1][i]) < 1e-6F);
    qn_buf_init(&text, 0);
    qn_plan_print(plans[0], &text);
    qn_buf_byte(&text, 0);
    bool bound = strstr(text.data, "reference") == NULL;
    qn_buf_deinit(&text);
    for (int i = 0; i < 2; i++)
        qn_plan_destroy(plans[i]);
    qn_state_destroy(state);
    qn_graph_destroy(graph);
    return bound;
}

static void given_scales_of_a_resize_are_bound_where_they_are_known(void **unused)
{
    (void)unused;
    assert_true(resize_agrees(true));
    assert_false(resize_agrees(false));
}

/* What an LSTM's backward gives beside its gradients is 3 MiB here: without readers it has no memory where a kernel runs,
 * and the reference finds it in scratch. */
static void spare_outputs_have_no_memory(void **unused)
{
    (void)unused;
    enum { T = 200, B = 32, I = 4, H = 32 };
    qn_graph *graph = qn_graph_create();
    qn_value x = qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SHAPE(T, B, I));
    qn_init init = {QN_INIT_UNIFORM, 0.5};
    qn_value inputs[] = {
        x, qn_graph_state(graph, "w", QN_DTYPE_F32, QN_SHAPE(1, 4 * H, I), init, true),
        qn_graph_state(graph, "r", QN_DTYPE_F32, QN_SHAPE(1, 4 * H, H), init, true)};
    qn_value y = qn_graph_node(graph, "LSTM", inputs, 3, NULL, 0), slopes[2];
    qn_value loss = qn_graph_node(graph, "ReduceMean", &y, 1, NULL, 0);
    assert_ok(qn_graph_grad(graph, loss, inputs + 1, 2, slopes, &err), &err);
    qn_graph_output(graph, "dw", slopes[0]);
    qn_graph_output(graph, "dr", slopes[1]);
    qn_state *state = new_state();
    qn_plan *plan[2];
    for (int reference = 0; reference < 2; reference++) {
        plan[reference] =
            plan_of(graph, state, (qn_plan_options){.batch = 1, .reference = reference});
        float *in = qn_plan_input(plan[reference], "x")->data;
        for (int i = 0; i < T * B * I; i++)
            in[i] = (float)sin(i);
        qn_plan_run(plan[reference], 0);
    }
    assert_true(qn_plan_bytes(plan[0]) + (2 << 20) < qn_plan_bytes(plan[1]));
    for (int k = 0; k < 2; k++) {
        const qn_tensor *found = qn_plan_output(plan[0], k ? "dr" : "dw");
        const qn_tensor *want = qn_plan_output(plan[1], k ? "dr" : "dw");
        for (int64_t i = 0; i < qn_shape_count(&found->shape); i++)
            assert_true(fabs(qn_tensor_f64_at(found, i) - qn_tensor_f64_at(want, i)) < 1e-5);
    }
    qn_plan_destroy(plan[0]);
    qn_plan_destroy(plan[1]);
    qn_state_destroy(state);
    qn_graph_destroy(graph);
}

enum { LARGE = 2064 }; /* two matrices of it are more than caches hold */

/* y = x a b b c with updates of a, b and c at a rate that a node computes after all gradients. */
static qn_graph *large_step(void)
{
    static const char *const names[] = {"a", "b", "c"};
    qn_graph *graph = qn_graph_create();
    qn_value w[3], grads[3];
    for (int i = 0; i < 3; i++)
        w[i] = qn_graph_state(graph, names[i], QN_DTYPE_F32, QN_SHAPE(LARGE, LARGE),
                              (qn_init){QN_INIT_UNIFORM, 0.04}, true);
    qn_value rate = qn_graph_state(graph, "rate", QN_DTYPE_F32, QN_SCALAR,
                                   (qn_init){.kind = QN_INIT_ONE}, false);
    qn_value y = qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SHAPE(2, LARGE));
    const qn_value factors[] = {w[0], w[1], w[1], w[2]};
    for (int i = 0; i < 4; i++)
        y = qn_graph_op2(graph, "MatMul", y, factors[i]);
    qn_attr keep = {.name = "keepdims", .kind = QN_ATTR_INT, .i = 0};
    qn_value loss = qn_graph_node(graph, "ReduceMean", &y, 1, &keep, 1);
    qn_graph_output(graph, "loss", loss);
    assert_ok(qn_graph_grad(graph, loss, w, 3, grads, &err), &err);
    qn_value half = qn_graph_scalar(graph, QN_DTYPE_F32, 0.5);
    qn_value slow = qn_graph_op2(graph, "Mul", rate, half);
    for (int i = 0; i < 3; i++) {
        const qn_value update[] = {w[i], grads[i], slow};
        qn_graph_assign(graph, w[i], qn_graph_node(graph, "SgdUpdate", update, 3, NULL, 0));
    }
    qn_graph_output(graph, "slow", slow);
    qn_graph_assign(graph, rate, slow);
    return graph;
}

/* A guard that is known only at the end keeps all gradients until then: the bits are the same, the memory is not. */
static void large_gradients_are_used_up_on_the_way(void **unused)
{
    (void)unused;
    const char *const guards[] = {"loss", "last"};
    qn_graph *graph = large_step();
    qn_value loss = qn_graph_find(graph, "loss");
    qn_graph_output(graph, "last", qn_graph_op1(graph, "Neg", loss));
    qn_state *states[2];
    qn_plan *plans[2];
    for (int k = 0; k < 2; k++) {
        states[k] = new_state();
        plans[k] =
            plan_of(graph, states[k], (qn_plan_options){.guards = guards, .guards_count = 1 + k});
        float *in = qn_plan_input(plans[k], "x")->data;
        for (int i = 0; i < 2 * LARGE; i++)
            in[i] = (float)(i % 7 - 3);
        for (uint32_t step = 0; step < 2; step++)
            qn_plan_run(plans[k], step);
        in[5] = INFINITY;
        qn_plan_run(plans[k], 2);
        assert_true(qn_plan_stopped(plans[k]));
    }
    assert_true(qn_plan_bytes(plans[0]) + (int64_t)LARGE * LARGE * 4 < qn_plan_bytes(plans[1]));
    for (int i = 0; i < 3; i++) {
        const char name[] = {(char)('a' + i), 0};
        assert_memory_equal(state_data(states[0], name), state_data(states[1], name),
                            (size_t)LARGE * LARGE * sizeof(float));
    }
    assert_true(state_data(states[0], "rate")[0] == 0.25f);
    for (int k = 0; k < 2; k++) {
        qn_plan_destroy(plans[k]);
        qn_state_destroy(states[k]);
    }
    qn_graph_destroy(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plan_computes_and_binds_symbols),
        cmocka_unit_test(assignments_write_states_in_place),
        cmocka_unit_test(a_cache_is_written_where_it_lies),
        cmocka_unit_test(a_cache_with_another_reader_is_kept),
        cmocka_unit_test(assignments_read_old_values),
        cmocka_unit_test(late_reader_of_a_state_sees_the_old_value),
        cmocka_unit_test(guard_leaves_states_alone_and_names_the_node),
        cmocka_unit_test(large_gradients_are_used_up_on_the_way),
        cmocka_unit_test(random_graphs_agree_with_their_reference),
        cmocka_unit_test(layouts_do_not_overlap),
        cmocka_unit_test(plan_refuses_beyond_its_budget_and_prints),
        cmocka_unit_test(gradient_of_a_tied_table_is_one_buffer),
        cmocka_unit_test(rows_of_the_batch_have_a_gradient),
        cmocka_unit_test(given_scales_of_a_resize_are_bound_where_they_are_known),
        cmocka_unit_test(spare_outputs_have_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
