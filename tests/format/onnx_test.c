/*
 * ONNX files: what is written is read back; what a hostile file says is refused.
 */
#include "testing.h"

#include "format/onnx.h"

/* Fields of protobuf by hand: key, length, bytes. */
static qn_str put(char *dst, int field, qn_str inside)
{
    assert_true(inside.size < 128);
    dst[0] = (char)(field << 3 | 2);
    dst[1] = (char)inside.size;
    memcpy(dst + 2, inside.data, inside.size);
    return (qn_str){dst, inside.size + 2};
}

/* A model of one initializer. */
static qn_status read_tensor(const char *tensor, size_t size, qn_onnx_model *ret, qn_arena *arena,
                             qn_error *err)
{
    char graph[160], model[200];
    qn_str file = put(model, 7, put(graph, 5, (qn_str){tensor, size}));
    return qn_onnx_read(file, "m.onnx", NULL, arena, ret, err);
}

static void onnx_reads_back_what_it_writes(void **state)
{
    (void)state;
    static const float numbers[] = {1, 2, 3, 4, 5, 6};
    static const int64_t pads[] = {1, 0, 1, 0};
    static const char *const inputs[] = {"x", "w"}, *const outputs[] = {"y"};
    qn_onnx_attr attrs[] = {
        {.name = "pads", .kind = QN_ONNX_ATTR_INTS, .ints = pads, .count = 4},
        {.name = "alpha", .kind = QN_ONNX_ATTR_FLOAT, .f = 0.5F},
        {.name = "mode", .kind = QN_ONNX_ATTR_STRING, .s = "edge"},
    };
    qn_onnx_node node = {"Pad", "", "n", "", inputs, outputs, attrs, 2, 1, 3};
    qn_onnx_tensor weight = {
        "w", QN_ONNX_FLOAT, qn_tensor_of((void *)(uintptr_t)numbers, QN_DTYPE_F32, QN_SHAPE(2, 3))};
    qn_onnx_info input = {"x", QN_ONNX_FLOAT, 2, {-1, 3}, {"batch", ""}};
    qn_onnx_opset opset = {"", 21};
    qn_onnx_model model = {.ir_version = 10,
                           .producer = "p",
                           .opsets = &opset,
                           .nodes = &node,
                           .initializers = &weight,
                           .inputs = &input,
                           .opsets_count = 1,
                           .nodes_count = 1,
                           .initializers_count = 1,
                           .inputs_count = 1},
                  back;
    qn_buf file;
    qn_arena arena;
    qn_error err = {0};
    qn_buf_init(&file, 0);
    qn_arena_init(&arena, 0);
    assert_ok(qn_onnx_write(&file, &model, &err), &err);
    assert_ok(qn_onnx_read(qn_buf_view(&file), "m", NULL, &arena, &back, &err), &err);
    assert_int_equal(back.opsets[0].version, 21);
    assert_string_equal(back.nodes[0].op, "Pad");
    assert_string_equal(back.nodes[0].inputs[1], "w");
    assert_int_equal(back.nodes[0].attrs[0].ints[2], 1);
    assert_near((double)back.nodes[0].attrs[1].f, 0.5, 0);
    assert_string_equal(back.nodes[0].attrs[2].s, "edge");
    assert_memory_equal(back.initializers[0].tensor.data, numbers, sizeof numbers);
    assert_int_equal(back.inputs[0].dims[0], -1);
    assert_string_equal(back.inputs[0].params[0], "batch");
    qn_onnx_close(&back);
    qn_arena_deinit(&arena);
    qn_buf_deinit(&file);
}

/* dims (1), data_type (2), raw_data (9), int32_data (5) */
static void onnx_unpacks_narrow_numbers(void **state)
{
    (void)state;
    static const char int4[] = "\x08\x03\x10\x16\x4a\x02\x9f\x07"; /* 3 of int4: -1, -7, 7 */
    static const char half[] = "\x08\x01\x10\x0a\x2a\x02\x80\x78"; /* f16 1.0 in int32_data */
    qn_arena arena;
    qn_onnx_model model;
    qn_error err = {0};
    qn_arena_init(&arena, 0);
    assert_ok(read_tensor(int4, sizeof int4 - 1, &model, &arena, &err), &err);
    assert_int_equal(((int8_t *)model.initializers[0].tensor.data)[0], -1);
    assert_int_equal(((int8_t *)model.initializers[0].tensor.data)[1], -7);
    assert_int_equal(((int8_t *)model.initializers[0].tensor.data)[2], 7);
    assert_ok(read_tensor(half, sizeof half - 1, &model, &arena, &err), &err);
    assert_near(qn_tensor_f64_at(&model.initializers[0].tensor, 0), 1, 0);
    qn_arena_deinit(&arena);
}

#define OUTSIDE "\x08\x01\x10\x01\x70\x01\x6a\x10\x0a\x08location\x12\x04../x"
static void onnx_refuses_what_does_not_fit(void **state)
{
    (void)state;
    static const struct {
        const char *tensor;
        size_t size;
        const char *says;
    } cases[] = {
        {"\x08\x02\x10\x01\x4a\x04\0\0\0\0", 10, "has 4 bytes, its shape and type take 8"},
        {"\x08\x02\x10\x01\x22\x04\0\0\0\0", 10, "has 1 elements, its shape and type take 2"},
        {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x10\x01", 13, ""}, /* -1 */
        {"\x08\xff\xff\xff\xff\xff\xff\xff\x7f\x10\x01", 11, ""},         /* 2^56 */
        {"\x08\x01\x08\x01\x08\x01\x08\x01\x08\x01\x08\x01\x08\x01\x08\x01\x08\x01\x10\x01", 20,
         "has 9 dimensions, at most 8 fit"},
        {"\x08\x01\x10\x63", 4, "elements of type 99"},
        {OUTSIDE, sizeof OUTSIDE - 1, "lies in another file"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_arena arena;
        qn_onnx_model model;
        qn_error err = {0};
        qn_arena_init(&arena, 0);
        assert_true(read_tensor(cases[i].tensor, cases[i].size, &model, &arena, &err) != QN_OK);
        assert_text(&err, cases[i].says);
        qn_arena_deinit(&arena);
    }
}

/* 64 MiB and twelve times its size is what a file's messages may take: two bytes for a node are too few for that. */
static void onnx_bounds_what_messages_take(void **state)
{
    (void)state;
    enum { NODES = 4 << 20 };
    qn_buf file;
    qn_arena arena;
    qn_onnx_model model;
    qn_error err = {0};
    qn_buf_init(&file, 0);
    qn_arena_init(&arena, 0);
    qn_buf_append(&file, "\x3a\x80\x80\x80\x04", 5); /* graph of 8 MiB */
    for (int i = 0; i < NODES; i++)
        qn_buf_append(&file, "\x0a\0", 2);
    assert_int_equal(qn_onnx_read(qn_buf_view(&file), "m", NULL, &arena, &model, &err),
                     QN_ERR_BUDGET);
    qn_arena_deinit(&arena);
    qn_buf_deinit(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(onnx_reads_back_what_it_writes),
        cmocka_unit_test(onnx_unpacks_narrow_numbers),
        cmocka_unit_test(onnx_refuses_what_does_not_fit),
        cmocka_unit_test(onnx_bounds_what_messages_take),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
