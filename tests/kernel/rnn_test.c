/*
 * Recurrent networks at every level against the f64 references of their rows: units around the vectors, rows around the
 * pieces of work, both directions, both layouts, lengths and states, with NaN in all steps beyond a row's length; and the
 * same bits for any number of threads.
 */
#include "kernel_testing.h"

#include <stdio.h>

#include "graph/graph.h"
#include "graph/plan.h"
#include "graph/state.h"

typedef struct {
    const char *op, *direction;
    int64_t steps, batch, input, hidden, layout;
    bool full; /* lengths and states too */
    bool reset_first;
} shape_case;

enum { INPUTS = 7, DRAWS = 4 };
static const double part_moved = 0x1p-20;

typedef enum { FULL, NARROW, REFERENCE } precision;

typedef struct {
    qn_graph *graph;
    qn_state *state;
    qn_plan *plan;
    qn_pool *pool;
} bench;

static qn_error err;

static const char *name_of(char letter, int i)
{
    static char names[16][8];
    static int next = 0;
    char *name = names[next++ % 16];
    snprintf(name, 8, "%c%d", letter, i);
    return name;
}

static int outputs_of(const shape_case *c)
{
    return c->op[0] == 'L' ? 3 : 2;
}

static bool is_relu(const shape_case *c)
{
    return c->op[0] == 'R' && c->batch % 2;
}

/* Row b has b modulo steps + 2 steps. */
static bool is_beyond(const shape_case *c, int64_t row)
{
    int64_t b = c->layout ? row / c->steps : row % c->batch;
    return (c->layout ? row % c->steps : row / c->batch) >= b % (c->steps + 2);
}

/* Inputs x0.. (4 the lengths), outputs y0.., gradients g0.. of a loss that weighs every output. draw > 0: every input is
 * moved by a small part of itself, up or down. */
static bench bench_make(const shape_case *c, qn_dtype dtype, precision kind, int threads,
                        uint32_t draw)
{
    bench b = {.graph = qn_graph_create(), .pool = pool_of(threads)};
    int64_t dirs = c->direction[0] == 'b' ? 2 : 1, n = c->hidden;
    int64_t gates = c->op[0] == 'L' ? 4 : c->op[0] == 'G' ? 3 : 1;
    qn_shape state = c->layout ? QN_SHAPE(c->batch, dirs, n) : QN_SHAPE(dirs, c->batch, n);
    const qn_shape shapes[INPUTS] = {c->layout ? QN_SHAPE(c->batch, c->steps, c->input)
                                               : QN_SHAPE(c->steps, c->batch, c->input),
                                     QN_SHAPE(dirs, gates * n, c->input),
                                     QN_SHAPE(dirs, gates * n, n),
                                     QN_SHAPE(dirs, 2 * gates * n),
                                     QN_SHAPE(c->batch),
                                     state,
                                     state};
    qn_value x[INPUTS], grads[INPUTS], wrt[INPUTS], loss = QN_NONE;
    int count = !c->full ? 4 : c->op[0] == 'L' ? 7 : 6, wrt_count = 0;
    for (int i = 0; i < count; i++) {
        x[i] = qn_graph_input(b.graph, name_of('x', i), i == 4 ? QN_DTYPE_I64 : dtype, shapes[i]);
        if (i != 4)
            wrt[wrt_count++] = x[i];
    }
    qn_attr attrs[] = {QN_ATTR_S("direction", c->direction), QN_ATTR_I("layout", c->layout),
                       QN_ATTR_I("linear_before_reset", !c->reset_first)};
    if (c->op[0] == 'R')
        attrs[2] = QN_ATTR_S("activation", is_relu(c) ? "relu" : "tanh");
    qn_value y = qn_graph_node(b.graph, c->op, x, count, attrs, c->op[0] == 'L' ? 2 : 3);
    qn_attr keep = QN_ATTR_I("keepdims", 0);
    for (int i = 0; i < outputs_of(c); i++) {
        qn_value square = qn_graph_op1(b.graph, "Square", y + i);
        qn_value sum = qn_graph_node(b.graph, "ReduceSum", &square, 1, &keep, 1);
        qn_graph_output(b.graph, name_of('y', i), y + i);
        loss = loss == QN_NONE ? sum : qn_graph_op2(b.graph, "Add", loss, sum);
    }
    assert_ok(qn_graph_grad(b.graph, loss, wrt, wrt_count, grads, &err), &err);
    for (int i = 0; i < wrt_count; i++)
        qn_graph_output(b.graph, name_of('g', i), grads[i]);
    qn_plan_options options = {
        .reference = kind == REFERENCE, .bf16 = kind == NARROW, .training = true, .pool = b.pool};
    assert_ok(qn_state_create(&b.state, &err), &err);
    assert_ok(qn_plan_create(b.graph, b.state, &options, &b.plan, &err), &err);
    for (int i = 0; i < count; i++) {
        const qn_tensor *t = qn_plan_input(b.plan, name_of('x', i));
        for (int64_t k = 0; k < qn_shape_count(&t->shape); k++) {
            qn_rng rng = {.seed = 8, .stream = (uint32_t)i};
            float value = 0.8f * (qn_rng_uniform(rng, (uint64_t)k) - 0.5f);
            double part = qn_rng_u32((qn_rng){.seed = draw, .stream = (uint32_t)i}, (uint64_t)k) & 1
                              ? part_moved
                              : -part_moved;
            if (i == 0 && c->full && is_beyond(c, k / c->input))
                value = NAN;
            if (t->dtype == QN_DTYPE_I64)
                ((int64_t *)t->data)[k] = k % (c->steps + 2);
            else if (t->dtype == QN_DTYPE_F32)
                ((float *)t->data)[k] = value;
            else
                ((double *)t->data)[k] = (double)value * (1 + (draw ? part : 0));
        }
    }
    qn_plan_run(b.plan, 0);
    return b;
}

static void bench_free(bench *b)
{
    qn_plan_destroy(b->plan);
    qn_state_destroy(b->state);
    qn_graph_destroy(b->graph);
    qn_pool_destroy(b->pool);
}

static int grads_of(const shape_case *c)
{
    return !c->full ? 4 : c->op[0] == 'L' ? 6 : 5;
}

static const qn_tensor *output_at(const bench *b, const shape_case *c, int i)
{
    int grads = grads_of(c);
    return qn_plan_output(b->plan, i < grads ? name_of('g', i) : name_of('y', i - grads));
}

/* `moved`: the network in f64 with its inputs moved, DRAWS times; `part`: how far numbers may be off the expected one, as part of
 * it and of what it moves over what the inputs do. */
static void compare(const bench *a, const bench *want, const bench *moved, const shape_case *c,
                    double part)
{
    for (int i = 0; i < outputs_of(c) + grads_of(c); i++) {
        const qn_tensor *ta = output_at(a, c, i), *tb = output_at(want, c, i);
        for (int64_t k = 0; k < qn_shape_count(&ta->shape); k++) {
            double va = qn_tensor_f64_at(ta, k), vb = qn_tensor_f64_at(tb, k), most = 0;
            for (int d = 0; moved && d < DRAWS; d++)
                most = fmax(most, fabs(qn_tensor_f64_at(output_at(&moved[d], c, i), k) - vb));
            double allowed = part * (fabs(vb) + most / part_moved);
            if (!(fabs(va - vb) <= allowed))
                fail_msg("%s %s H %d: %d[%d] is %.9g, expected %.9g within %.2g", c->op,
                         c->direction, (int)c->hidden, i, (int)k, va, vb, allowed);
        }
    }
}

static const shape_case cases[] = {
    {"LSTM", "forward", 3, 2, 3, 5, 0, false, false},
    {"LSTM", "bidirectional", 4, 17, 5, 16, 1, true, false},
    {"LSTM", "reverse", 3, 18, 2, 17, 0, true, false},
    {"LSTM", "forward", 5, 3, 33, 9, 1, true, false},
    {"LSTM", "forward", 2, 261, 2, 3, 0, false, false}, /* many pieces of work */
    {"GRU", "bidirectional", 3, 265, 2, 3, 1, true, true},
    {"GRU", "forward", 3, 2, 3, 5, 1, false, false},
    {"GRU", "bidirectional", 4, 17, 5, 16, 0, true, false},
    {"GRU", "reverse", 3, 18, 2, 17, 1, true, false},
    {"GRU", "forward", 3, 2, 3, 5, 0, false, true},
    {"GRU", "bidirectional", 4, 17, 5, 16, 1, true, true},
    {"GRU", "reverse", 3, 18, 2, 17, 0, true, true},
    {"RNN", "forward", 3, 2, 3, 5, 0, false, false},
    {"RNN", "bidirectional", 4, 17, 5, 16, 1, true, false},
    {"RNN", "reverse", 1, 18, 2, 17, 0, true, false},
};

static void check_levels(const shape_case *c, precision kind, double part)
{
    bench ref = bench_make(c, QN_DTYPE_F64, REFERENCE, 1, 0), moved[DRAWS];
    for (uint32_t d = 0; d < DRAWS; d++)
        moved[d] = bench_make(c, QN_DTYPE_F64, REFERENCE, 1, d + 1);
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        bench fast = bench_make(c, QN_DTYPE_F32, kind, 2, 0);
        compare(&fast, &ref, moved, c, part);
        bench_free(&fast);
    }
    for (int d = 0; d < DRAWS; d++)
        bench_free(&moved[d]);
    bench_free(&ref);
}

/* What rounding may do follows what the numbers move when all inputs do (tests/graph/row_bound.h). */
static void recurrent_networks_match_double(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_levels(&cases[i], FULL, 24 * 0x1p-24);
}

/* A factor in bf16 is off by 2^-8 of itself at most: input, weight, state and slope. */
static void recurrent_networks_match_double_at_bf16(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_levels(&cases[i], NARROW, 4 * 0x1p-8);
}

static void check_threads(precision kind)
{
    static const char *const ops[] = {"LSTM", "GRU", "RNN", "GRU"};
    for (int i = 0; i < 4; i++) {
        shape_case c = {ops[i], "bidirectional", 12, 50, 20, 40, 1, true, i == 3};
        bench first = bench_make(&c, QN_DTYPE_F32, kind, 1, 0);
        for (int p = 1; p < POOLS; p++) {
            bench other = bench_make(&c, QN_DTYPE_F32, kind, pool_threads[p], 0);
            compare(&other, &first, NULL, &c, 0);
            bench_free(&other);
        }
        bench_free(&first);
    }
}

static void recurrent_networks_give_the_same_bits_for_any_thread_count(void **state)
{
    (void)state;
    check_threads(FULL);
    check_threads(NARROW);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(recurrent_networks_match_double, levels_reset),
        cmocka_unit_test_teardown(recurrent_networks_match_double_at_bf16, levels_reset),
        cmocka_unit_test_teardown(recurrent_networks_give_the_same_bits_for_any_thread_count,
                                  levels_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
