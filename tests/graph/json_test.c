/* Graphs as JSON: round trips, and files that are wrong. */
#include "testing.h"

#include <math.h>

#include "graph/graph_priv.h"

static qn_error err;

static qn_graph *sample_graph(void)
{
    qn_graph *graph = qn_graph_create();
    qn_value x = qn_graph_input(graph, "x", QN_DTYPE_F32, QN_SHAPE(QN_DIM_BATCH, QN_DIM_TIME, 2));
    qn_value w = qn_graph_state(graph, "w", QN_DTYPE_F32, QN_SHAPE(2, 3),
                                (qn_init){QN_INIT_UNIFORM, 0.25}, true);
    qn_value m = qn_graph_state_like(graph, w, "m");
    float data[3] = {0.1f, INFINITY, -3};
    qn_tensor tensor = qn_tensor_of(data, QN_DTYPE_F32, QN_SHAPE(3));
    qn_value c = qn_graph_const(graph, &tensor);
    int64_t big = (1LL << 53) + 1;
    tensor = qn_tensor_of(&big, QN_DTYPE_I64, QN_SCALAR);
    qn_graph_const(graph, &tensor);
    qn_graph_scope(graph, "layers[0] dense");
    qn_value y = qn_graph_op2(graph, "MatMul", x, w);
    qn_graph_scope(graph, NULL);
    qn_attr axes = {.name = "axes", .kind = QN_ATTR_INTS, .count = 1, .ints = {-1}};
    y = qn_graph_op2(graph, "Min", y, c);
    qn_graph_output(graph, "y", qn_graph_node(graph, "ReduceMax", &y, 1, &axes, 1));
    qn_graph_assign(graph, m, w);
    return graph;
}

static void write_text(const qn_graph *graph, qn_buf *buf)
{
    qn_json_writer writer;
    qn_buf_init(buf, 0);
    qn_json_write_init(&writer, buf);
    qn_graph_write(graph, &writer);
    assert_false(buf->failed);
}

static qn_status read_text(qn_str text, qn_graph **ret)
{
    qn_arena arena;
    qn_json json;
    qn_arena_init(&arena, 0);
    qn_status status = qn_json_read(text, NULL, &arena, &json, &err);
    if (status == QN_OK)
        status = qn_graph_read(&json, ret, &err);
    qn_arena_deinit(&arena);
    return status;
}

static void graph_survives_a_round_trip(void **state)
{
    (void)state;
    qn_graph *graph = sample_graph(), *copy = NULL;
    qn_buf first, second;
    write_text(graph, &first);
    assert_ok(read_text(qn_buf_view(&first), &copy), &err);
    write_text(copy, &second);
    assert_int_equal(first.size, second.size);
    assert_memory_equal(first.data, second.data, first.size);
    assert_int_equal(copy->values_count, graph->values_count);
    assert_int_equal(copy->nodes_count, graph->nodes_count);
    assert_string_equal(copy->nodes[0].scope, "layers[0] dense");
    const qn_value_info *w = &copy->values[qn_graph_find(copy, "w")];
    assert_true(w->trainable && w->init.kind == QN_INIT_UNIFORM && w->init.value == 0.25);
    const qn_value_info *m = &copy->values[qn_graph_find(copy, "m.w")];
    assert_int_equal(m->owner, qn_graph_find(copy, "w"));
    assert_string_equal(m->role, "m");
    qn_buf_deinit(&first);
    qn_buf_deinit(&second);
    qn_graph_destroy(graph);
    qn_graph_destroy(copy);
}

#define X "\"inputs\":[{\"name\":\"x\",\"dtype\":\"f32\",\"shape\":[\"B\",2]}]"

static void wrong_files_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json, *where, *text;
    } cases[] = {
        {"[]", "", "a graph is an object"},
        {"{\"inputs\":3}", "", "'inputs' must be an array"},
        {"{\"inputs\":[{\"dtype\":\"f32\",\"shape\":[]}]}", "inputs[0]", "name"},
        {"{\"inputs\":[{\"name\":\"x\",\"dtype\":\"f31\",\"shape\":[]}]}", "inputs[0]", "f31"},
        {"{\"inputs\":[{\"name\":\"x\",\"dtype\":\"f32\",\"shape\":[\"Q\"]}]}", "inputs[0]",
         "a dimension is"},
        {"{\"inputs\":[{\"name\":\"x\",\"dtype\":\"f32\",\"shape\":[-1]}]}", "inputs[0]",
         "a dimension is"},
        {"{\"inputs\":[{\"name\":\"x\",\"dtype\":\"f32\",\"shape\":[1,1,1,1,1,1,1,1,1]}]}",
         "inputs[0]", "at most 8"},
        {"{\"inputs\":[{\"name\":\"x\",\"dtype\":\"f32\",\"shape\":[4611686018427387904,4]}]}",
         "inputs[0]", "too large"},
        {"{\"inputs\":[{\"name\":\"x\\u0000y\",\"dtype\":\"f32\",\"shape\":[]}]}", "inputs[0]",
         "zero byte"},
        {"{" X "," X "}", NULL, ""},
        {"{\"states\":[{\"name\":\"w\",\"dtype\":\"f32\",\"shape\":[\"B\"]}]}", "states[0]",
         "concrete"},
        {"{\"states\":[{\"name\":\"w\",\"dtype\":\"f32\",\"shape\":[2],\"init\":{\"kind\":\"odd\"}}"
         "]}",
         "states[0]", "'odd'"},
        {"{\"states\":[{\"name\":\"w\",\"dtype\":\"f32\",\"shape\":[2],\"owner\":7,\"role\":\"m\"}]"
         "}",
         "states[0]", "belongs to value 7"},
        {"{\"constants\":[{\"dtype\":\"f32\",\"shape\":[3],\"data\":[1,2]}]}", "constants[0]",
         "3 elements has 2"},
        {"{\"constants\":[{\"dtype\":\"f32\",\"shape\":[99999999999],\"data\":[1]}]}",
         "constants[0]", "has 1"},
        {"{\"constants\":[{\"dtype\":\"f32\",\"shape\":[2],\"data\":[1,\"x\"]}]}", "constants[0]",
         "element 1"},
        {"{" X ",\"nodes\":[{\"op\":\"Evil\",\"inputs\":[0]}]}", "nodes[0]", "unknown op 'Evil'"},
        {"{" X ",\"nodes\":[{\"op\":\"Relu\",\"inputs\":[1]}]}", "nodes[0]", "earlier value"},
        {"{" X ",\"nodes\":[{\"op\":\"Relu\",\"inputs\":[-1]}]}", "nodes[0]", "earlier value"},
        {"{" X ",\"nodes\":[{\"op\":\"Relu\",\"inputs\":[null]}]}", "nodes[0]", "missing"},
        {"{" X ",\"nodes\":[{\"op\":\"Relu\",\"inputs\":[0,0]}]}", "nodes[0]", "takes 1"},
        {"{" X ",\"nodes\":[{\"op\":\"Softmax\",\"inputs\":[0],\"attributes\":{\"axis\":\"z\"}}]}",
         "nodes[0]", "must be an integer"},
        {"{" X ",\"nodes\":[{\"op\":\"Softmax\",\"inputs\":[0],\"attributes\":{\"axis\":9}}]}",
         "nodes[0]", "Softmax of"},
        {"{" X ",\"nodes\":[{\"op\":\"Softmax\",\"inputs\":[0],\"attributes\":{\"axis\":{}}}]}",
         "nodes[0]", "cannot be"},
        {"{" X
         ",\"nodes\":[{\"op\":\"Transpose\",\"inputs\":[0],\"attributes\":{\"perm\":[0,1.5]}}]}",
         "nodes[0]", "not an integer"},
        {"{" X ",\"outputs\":[{\"name\":\"y\",\"value\":3}]}", "outputs[0]", "values 0 to 0"},
        {"{" X ",\"assigns\":[{\"state\":0,\"value\":0}]}", "assigns[0]", "only states"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_graph *graph = NULL;
        err = (qn_error){0};
        if (read_text(qn_str_from(cases[i].json), &graph) == QN_OK)
            fail_msg("accepted: %s", cases[i].json);
        assert_null(graph);
        assert_text(&err, cases[i].text);
        if (cases[i].where && strncmp(err.where, cases[i].where, strlen(cases[i].where)) != 0)
            fail_msg("%s: where is '%s'", cases[i].json, err.where);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(graph_survives_a_round_trip),
        cmocka_unit_test(wrong_files_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
