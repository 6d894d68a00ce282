/*
 * safetensors: round trips, and the reference implementation's attacks.
 */
#include "testing.h"

#include "base/alloc.h"
#include "format/safetensors.h"

/* A file of this header and so many zero bytes of data. */
static qn_str make_file(char *dst, const char *header, size_t data_size)
{
    size_t size = strlen(header);
    memset(dst, 0, 8);
    dst[0] = (char)(size & 0xff);
    dst[1] = (char)(size >> 8);
    memcpy(dst + 8, header, size);
    memset(dst + 8 + size, 0, data_size);
    return (qn_str){dst, 8 + size + data_size};
}

static void safetensors_reads_back_what_it_writes(void **state)
{
    (void)state;
    static const float w[] = {1, 2, 3, 4, 5, 6};
    static const int64_t n[] = {42};
    qn_named_tensor tensors[] = {
        {"w", qn_tensor_of((void *)(uintptr_t)w, QN_DTYPE_F32, QN_SHAPE(2, 3))},
        {"n", qn_tensor_of((void *)(uintptr_t)n, QN_DTYPE_I64, QN_SCALAR)},
        {"empty", qn_tensor_of(NULL, QN_DTYPE_F32, QN_SHAPE(0, 4))}};
    qn_str keys[] = {QN_STR("format")}, values[] = {QN_STR("quern")};
    qn_buf file;
    qn_arena arena;
    qn_safetensors back;
    qn_error err = {0};
    qn_buf_init(&file, 0);
    qn_arena_init(&arena, 0);
    assert_ok(qn_safetensors_write(&file, tensors, 3, keys, values, 1, &err), &err);
    assert_ok(qn_safetensors_read(qn_buf_view(&file), "m", &arena, &back, &err), &err);
    assert_int_equal(back.count, 3);
    assert_int_equal(back.meta_count, 1);
    assert_true(qn_str_is(back.meta_values[0], "quern"));
    const qn_named_tensor *found = qn_safetensors_find(&back, "w");
    assert_non_null(found);
    assert_memory_equal(found->tensor.data, w, sizeof w);
    assert_int_equal((uintptr_t)((const char *)found->tensor.data - file.data) % 64, 0);
    assert_int_equal(*(int64_t *)qn_safetensors_find(&back, "n")->tensor.data, 42);
    assert_null(qn_safetensors_find(&back, "none"));
    qn_arena_deinit(&arena);
    qn_buf_deinit(&file);
}

static void safetensors_copies_misaligned_values(void **state)
{
    (void)state;
    static _Alignas(8) char bytes[256];
    qn_str file =
        make_file(bytes, "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}  ", 4);
    qn_arena arena;
    qn_safetensors back;
    qn_error err = {0};
    qn_arena_init(&arena, 0);
    assert_ok(qn_safetensors_read(file, "m", &arena, &back, &err), &err);
    assert_int_equal((uintptr_t)back.tensors[0].tensor.data % 4, 0);
    qn_arena_deinit(&arena);
}

#define ENTRY(name, dtype, shape, begin, end)                                                      \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end \
    "]}"

static void safetensors_refuses_attacks(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        const char *says;
    } cases[] = {
        {"[]", 0, "does not begin with '{'"},
        {" {}", 0, "does not begin with '{'"},
        {"{", 0, ""},
        {"{}", 3, "3 bytes follow the last tensor"},
        {"{" ENTRY("a", "F32", "[1]", 0, 4) "}", 0, "outside the file"},
        {"{" ENTRY("a", "F32", "[1]", 0, 4) "}", 8, "4 bytes follow"},
        {"{" ENTRY("a", "F32", "[2]", 0, 4) "}", 4, "do not fit its dtype and shape"},
        {"{" ENTRY("a", "F99", "[1]", 0, 4) "}", 4, "dtype is absent or unknown"},
        {"{" ENTRY("a", "F32", "[-1]", 0, 4) "}", 4, "its shape"},
        {"{" ENTRY("a", "F32", "[1.5]", 0, 4) "}", 4, "its shape"},
        {"{" ENTRY("a", "F32", "[1,1,1,1,1,1,1,1,1]", 0, 4) "}", 4, "its shape"},
        {"{" ENTRY("a", "F32", "[4294967296,4294967296]", 0, 4) "}", 4, "its shape"},
        {"{" ENTRY("a", "F32", "[9223372036854775807]", 0, 4) "}", 4, "its shape"},
        {"{" ENTRY("a", "F32", "[1]", 4, 0) "}", 4, "not [begin, end]"},
        {"{" ENTRY("a", "F32", "[1]", -4, 0) "}", 4, "not [begin, end]"},
        {"{" ENTRY("a", "F32", "[1]", 0, 4) "," ENTRY("b", "F32", "[1]", 0, 4) "}", 4, "overlaps"},
        {"{" ENTRY("a", "F32", "[1]", 0, 4) "," ENTRY("b", "F32", "[1]", 2, 6) "}", 6, "overlaps"},
        {"{" ENTRY("a", "F32", "[1]", 0, 4) "," ENTRY("b", "F32", "[1]", 8, 12) "}", 12, "hole"},
        {"{" ENTRY("a", "F32", "[1]", 0, 4) "," ENTRY("a", "F32", "[1]", 4, 8) "}", 8, ""},
        {"{" ENTRY("", "F32", "[1]", 0, 4) "}", 4, "name is empty"},
        {"{" ENTRY("a\\u0000b", "F32", "[1]", 0, 4) "}", 4, "zero byte"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "expected an object of"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "not [begin, end]"},
        {"{\"a\":5}", 0, "expected an object"},
        {"{\"__metadata__\":{\"a\":1}}", 0, "expected a string"},
        {"{\"__metadata__\":[]}", 0, "expected an object"},
    };
    static char bytes[1024];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_arena arena;
        qn_safetensors back;
        qn_error err = {0};
        qn_arena_init(&arena, 1 << 20);
        qn_status status = qn_safetensors_read(make_file(bytes, cases[i].header, cases[i].data),
                                               "m", &arena, &back, &err);
        if (status != QN_ERR_DATA || (cases[i].says[0] && !strstr(err.text, cases[i].says)))
            fail_msg("case %zu: %d \"%s\"", i, status, err.text);
        qn_arena_deinit(&arena);
    }
}

static void safetensors_bounds_its_header(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *says;
    } cases[] = {
        {"", 0, "too few"},
        {"\1\0\0\0", 4, "too few"},
        {"\xff\xff\xff\xff\xff\xff\xff\xff{}", 10, "the limit is 100000000"},
        {"\x01\xe1\xf5\x05\0\0\0\0{}", 10, "the limit is 100000000"},
        {"\x03\0\0\0\0\0\0\0{}", 10, "a header of 3 bytes in a file of 10"},
        {"\0\0\0\0\0\0\0\0{}", 10, "does not begin"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_arena arena;
        qn_safetensors back;
        qn_error err = {0};
        qn_arena_init(&arena, 1 << 20);
        assert_int_equal(
            qn_safetensors_read((qn_str){cases[i].bytes, cases[i].size}, "m", &arena, &back, &err),
            QN_ERR_DATA);
        assert_text(&err, cases[i].says);
        qn_arena_deinit(&arena);
    }
}

static void safetensors_refuses_to_write_bad_names(void **state)
{
    (void)state;
    static const float value[] = {1};
    qn_tensor one = qn_tensor_of((void *)(uintptr_t)value, QN_DTYPE_F32, QN_SHAPE(1));
    qn_named_tensor twice[] = {{"a", one}, {"a", one}}, empty[] = {{"", one}},
                    meta[] = {{"__metadata__", one}};
    qn_buf file;
    qn_error err = {0};
    qn_buf_init(&file, 0);
    assert_int_equal(qn_safetensors_write(&file, twice, 2, NULL, NULL, 0, &err), QN_ERR_ARG);
    assert_text(&err, "two tensors are named 'a'");
    assert_int_equal(qn_safetensors_write(&file, empty, 1, NULL, NULL, 0, &err), QN_ERR_ARG);
    assert_int_equal(qn_safetensors_write(&file, meta, 1, NULL, NULL, 0, &err), QN_ERR_ARG);
    qn_buf_deinit(&file);
}

static void safetensors_survives_every_failed_allocation(void **state)
{
    (void)state;
    static _Alignas(8) char bytes[512];
    qn_str file = make_file(
        bytes, "{" ENTRY("a", "F32", "[1]", 0, 4) "," ENTRY("b", "F64", "[1]", 4, 12) "}", 12);
    for (int64_t nth = 1; nth < 12; nth++) {
        qn_arena arena;
        qn_safetensors back;
        qn_arena_init(&arena, 0);
        qn_alloc_fail_at(nth);
        qn_status status = qn_safetensors_read(file, "m", &arena, &back, NULL);
        qn_alloc_fail_at(0);
        assert_true(status == QN_OK || status == QN_ERR_MEMORY);
        qn_arena_deinit(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(safetensors_reads_back_what_it_writes),
        cmocka_unit_test(safetensors_copies_misaligned_values),
        cmocka_unit_test(safetensors_refuses_attacks),
        cmocka_unit_test(safetensors_bounds_its_header),
        cmocka_unit_test(safetensors_refuses_to_write_bad_names),
        cmocka_unit_test(safetensors_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
