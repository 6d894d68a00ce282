/*
 * Einstein sums against loops over every index, and their gradients against differences.
 */
#include "testing.h"

#include <math.h>
#include <stdio.h>

#include "base/rng.h"
#include "graph/einsum.h"
#include "graph/plan.h"
#include "graph/state.h"

static qn_error err;

enum { SIZE_MAX_ELEMENTS = 512 };

/* An equation without "...", its inputs' terms and sizes. */
typedef struct {
    const char *equation;
    qn_shape shapes[3];
    int count;
    const char *terms[3], *result;
} einsum_case;

typedef struct {
    qn_graph *graph;
    qn_state *state;
    qn_plan *plan;
} bench;

static bench open_bench(const einsum_case *c, bool gradients)
{
    bench b = {.graph = qn_graph_create()};
    static const char *const names[] = {"x0", "x1", "x2"}, *const grads[] = {"g0", "g1", "g2"};
    qn_value inputs[3], got[3];
    for (int i = 0; i < c->count; i++)
        inputs[i] = qn_graph_input(b.graph, names[i], QN_DTYPE_F64, c->shapes[i]);
    qn_value y = qn_graph_einsum(b.graph, c->equation, inputs, c->count);
    assert_ok(qn_graph_check(b.graph, &err), &err);
    qn_graph_output(b.graph, "y", y);
    if (gradients) {
        qn_attr keep = QN_ATTR_I("keepdims", 0);
        qn_value square = qn_graph_op1(b.graph, "Square", y);
        qn_value loss = qn_graph_node(b.graph, "ReduceSum", &square, 1, &keep, 1);
        qn_graph_output(b.graph, "loss", loss);
        assert_ok(qn_graph_grad(b.graph, loss, inputs, c->count, got, &err), &err);
        for (int i = 0; i < c->count; i++)
            qn_graph_output(b.graph, grads[i], got[i]);
    }
    assert_ok(qn_state_create(&b.state, &err), &err);
    assert_ok(qn_plan_create(b.graph, b.state, &(qn_plan_options){.batch = 1}, &b.plan, &err),
              &err);
    for (int i = 0; i < c->count; i++) {
        const qn_tensor *x = qn_plan_input(b.plan, names[i]);
        qn_rng rng = {.seed = 3, .stream = (uint32_t)i + 1};
        for (int64_t k = 0; k < qn_shape_count(&x->shape); k++)
            ((double *)x->data)[k] = qn_rng_uniform_f64(rng, (uint64_t)k) - 0.5;
    }
    return b;
}

static void close_bench(bench *b)
{
    qn_plan_destroy(b->plan);
    qn_state_destroy(b->state);
    qn_graph_destroy(b->graph);
}

/* Where a term's element lies when letter l has the value index[l]. */
static int64_t offset_of(const char *term, const int64_t *sizes, const int64_t *index)
{
    int64_t at = 0;
    for (; *term; term++)
        at = at * sizes[(int)*term] + index[(int)*term];
    return at;
}

/* The sum by its definition. */
static int64_t by_loops(const einsum_case *c, const bench *b, double *dst)
{
    int64_t sizes[128] = {0}, index[128] = {0}, all = 1, count = 1;
    char letters[32] = "";
    for (int i = 0; i < c->count; i++)
        for (int d = 0; c->terms[i][d]; d++) {
            char letter[2] = {c->terms[i][d]};
            if (sizes[(int)letter[0]] == 0) {
                strncat(letters, letter, sizeof letters - strlen(letters) - 1);
                all *= c->shapes[i].dims[d];
            }
            sizes[(int)letter[0]] = c->shapes[i].dims[d];
        }
    for (const char *r = c->result; *r; r++)
        count *= sizes[(int)*r];
    assert_true(count <= SIZE_MAX_ELEMENTS);
    memset(dst, 0, SIZE_MAX_ELEMENTS * sizeof *dst);
    static const char *const names[] = {"x0", "x1", "x2"};
    for (int64_t flat = 0; flat < all; flat++) {
        int64_t left = flat;
        for (const char *l = letters; *l; left /= sizes[(int)*l], l++)
            index[(int)*l] = left % sizes[(int)*l];
        double product = 1;
        for (int i = 0; i < c->count; i++)
            product *= qn_tensor_f64_at(qn_plan_input(b->plan, names[i]),
                                        offset_of(c->terms[i], sizes, index));
        dst[offset_of(c->result, sizes, index)] += product;
    }
    return count;
}

/* clang-format off */
static const einsum_case cases[] = {
    {"ij,jk->ik", {{2, {3, 4}}, {2, {4, 5}}}, 2, {"ij", "jk"}, "ik"},
    {"ij,jk", {{2, {3, 4}}, {2, {4, 5}}}, 2, {"ij", "jk"}, "ik"},
    {"b i d, b j d -> b i j", {{3, {2, 3, 4}}, {3, {2, 5, 4}}}, 2, {"bid", "bjd"}, "bij"},
    {"bhqd,bkhd->bhqk", {{4, {2, 3, 4, 5}}, {4, {2, 6, 3, 5}}}, 2, {"bhqd", "bkhd"}, "bhqk"},
    {"ij->ji", {{2, {3, 4}}}, 1, {"ij"}, "ji"},
    {"ij->", {{2, {3, 4}}}, 1, {"ij"}, ""},
    {"ii->i", {{2, {4, 4}}}, 1, {"ii"}, "i"},
    {"iji->j", {{3, {4, 3, 4}}}, 1, {"iji"}, "j"},
    {"bii", {{3, {2, 4, 4}}}, 1, {"bii"}, "b"},
    {"i,i", {{1, {5}}, {1, {5}}}, 2, {"i", "i"}, ""},
    {"i,j->ji", {{1, {5}}, {1, {3}}}, 2, {"i", "j"}, "ji"},
    {"ij,ij->ij", {{2, {3, 4}}, {2, {3, 4}}}, 2, {"ij", "ij"}, "ij"},
    {"ijk,jm->im", {{3, {2, 3, 4}}, {2, {3, 5}}}, 2, {"ijk", "jm"}, "im"},
    {"ij,jk,kl->il", {{2, {2, 3}}, {2, {3, 4}}, {2, {4, 5}}}, 3, {"ij", "jk", "kl"}, "il"},
    {"abcd,dcef->afbe", {{4, {2, 3, 4, 2}}, {4, {2, 4, 3, 5}}}, 2, {"abcd", "dcef"}, "afbe"},
    {"...ij,...jk->...ik", {{3, {2, 3, 4}}, {3, {2, 4, 5}}}, 2, {"bij", "bjk"}, "bik"},
    {"...ij,jk", {{3, {2, 3, 4}}, {2, {4, 5}}}, 2, {"bij", "jk"}, "bik"},
    {"...ii->...i", {{3, {2, 4, 4}}}, 1, {"bii"}, "bi"},
};
/* clang-format on */

static void sums_are_those_of_the_loops(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bench b = open_bench(&cases[i], false);
        double want[SIZE_MAX_ELEMENTS];
        qn_plan_run(b.plan, 0);
        const qn_tensor *y = qn_plan_output(b.plan, "y");
        int64_t count = by_loops(&cases[i], &b, want);
        assert_int_equal(qn_shape_count(&y->shape), count);
        assert_int_equal(y->shape.rank, strlen(cases[i].result));
        for (int64_t k = 0; k < count; k++)
            if (!(fabs(qn_tensor_f64_at(y, k) - want[k]) < 1e-12))
                fail_msg("%s [%d]: %.9g, expected %.9g", cases[i].equation, (int)k,
                         qn_tensor_f64_at(y, k), want[k]);
        close_bench(&b);
    }
}

static double loss_of(const bench *b)
{
    qn_plan_run(b->plan, 0);
    return qn_tensor_f64_at(qn_plan_output(b->plan, "loss"), 0);
}

static void gradients_agree_with_differences(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bench b = open_bench(&cases[i], true);
        const qn_tensor *x = qn_plan_input(b.plan, "x0");
        double *values = x->data, gradient[SIZE_MAX_ELEMENTS], eps = 1e-6;
        qn_plan_run(b.plan, 0);
        for (int64_t k = 0; k < qn_shape_count(&x->shape); k++)
            gradient[k] = qn_tensor_f64_at(qn_plan_output(b.plan, "g0"), k);
        for (int64_t k = 0; k < qn_shape_count(&x->shape); k++) {
            double kept = values[k];
            values[k] = kept + eps;
            double up = loss_of(&b);
            values[k] = kept - eps;
            double slope = (up - loss_of(&b)) / (2 * eps);
            values[k] = kept;
            if (!(fabs(slope - gradient[k]) <= 1e-5 + 1e-3 * fabs(slope)))
                fail_msg("%s d/dx0[%d]: %.9g, by differences %.9g", cases[i].equation, (int)k,
                         gradient[k], slope);
        }
        close_bench(&b);
    }
}

/* Sizes of 1 under "..." are broadcast, also where they are summed. */
static void dots_broadcast(void **unused)
{
    (void)unused;
    static const einsum_case c = {
        .equation = "...i,...i->i", .shapes = {{3, {2, 1, 4}}, {2, {3, 4}}}, .count = 2};
    bench b = open_bench(&c, false);
    qn_plan_run(b.plan, 0);
    const double *x = qn_plan_input(b.plan, "x0")->data, *z = qn_plan_input(b.plan, "x1")->data;
    for (int i = 0; i < 4; i++) {
        double want = 0;
        for (int k = 0; k < 6; k++)
            want += x[k / 3 * 4 + i] * z[k % 3 * 4 + i];
        assert_true(fabs(qn_tensor_f64_at(qn_plan_output(b.plan, "y"), i) - want) < 1e-12);
    }
    close_bench(&b);
}

static void equations_that_do_not_fit_are_refused(void **unused)
{
    (void)unused;
    static const struct {
        const char *equation;
        int count;
    } wrong[] = {{"ij,jk->ik", 1}, {"ij->il", 1},    {"ijk->i", 1}, {"ij->ii", 1},
                 {"i.j->ij", 1},   {"ij,jk->i1", 2}, {"ii->i", 1},  {"i", 1},
                 {"ij,ij->ij", 1}, {"", 1},          {"...->", 0}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        qn_graph *graph = qn_graph_create();
        qn_value x[2] = {qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SHAPE(3, 4)),
                         qn_graph_input(graph, "z", QN_DTYPE_F32, QN_SHAPE(4, 3))};
        assert_int_equal(qn_graph_einsum(graph, wrong[i].equation, x, wrong[i].count), QN_NONE);
        assert_true(qn_graph_check(graph, &err) != QN_OK);
        assert_text(&err, "Einsum");
        qn_graph_destroy(graph);
    }
}

/* One open size passes through. */
static void a_batch_may_be_open(void **unused)
{
    (void)unused;
    qn_graph *graph = qn_graph_create();
    qn_value x[2] = {qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SHAPE(QN_DIM_BATCH, 3, 4)),
                     qn_graph_input(graph, "w", QN_DTYPE_F32, QN_SHAPE(4, 5, 2))};
    qn_value y = qn_graph_einsum(graph, "btd,dhk->bthk", x, 2);
    assert_ok(qn_graph_check(graph, &err), &err);
    const qn_shape *shape = &qn_graph_type(graph, y)->shape;
    assert_int_equal(shape->rank, 4);
    assert_int_equal(shape->dims[0], QN_DIM_BATCH);
    assert_int_equal(shape->dims[3], 2);
    qn_graph_destroy(graph);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_are_those_of_the_loops),
        cmocka_unit_test(gradients_agree_with_differences),
        cmocka_unit_test(dots_broadcast),
        cmocka_unit_test(equations_that_do_not_fit_are_refused),
        cmocka_unit_test(a_batch_may_be_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
