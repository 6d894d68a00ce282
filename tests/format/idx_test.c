/*
 * IDX: plain and gzipped values come out alike; every lie of the header is caught before it costs memory.
 */
#include "testing.h"

#include <zlib.h>

#include "base/alloc.h"
#include "format/idx.h"

static const char images[] = "\0\0\x08\x03\0\0\0\2\0\0\0\2\0\0\0\2abcdefgh";
#define IMAGES ((qn_str){images, sizeof images - 1})

static qn_str gzip(qn_str plain, char *dst, size_t room)
{
    z_stream stream = {0};
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY),
                     Z_OK);
    stream.next_in = (Bytef *)(uintptr_t)plain.data;
    stream.avail_in = (uInt)plain.size;
    stream.next_out = (Bytef *)dst;
    stream.avail_out = (uInt)room;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    deflateEnd(&stream);
    return (qn_str){dst, room - stream.avail_out};
}

static void idx_reads_plain_and_gzipped(void **state)
{
    (void)state;
    char packed[256];
    qn_str both[] = {IMAGES, gzip(IMAGES, packed, sizeof packed)};
    for (int i = 0; i < 2; i++) {
        qn_arena arena;
        qn_tensor array;
        qn_error err = {0};
        char copy[8];
        qn_arena_init(&arena, 0);
        assert_ok(qn_idx_peek(both[i], "f", &array, &err), &err);
        assert_null(array.data);
        assert_ok(qn_idx_read(both[i], "f", 0, &arena, &array, &err), &err);
        assert_int_equal(array.dtype, QN_DTYPE_U8);
        assert_int_equal(array.shape.rank, 3);
        assert_int_equal(array.shape.dims[0], 2);
        assert_memory_equal(array.data, "abcdefgh", 8);
        assert_ok(qn_idx_read_into(both[i], "f", copy, 8, &err), &err);
        assert_memory_equal(copy, "abcdefgh", 8);
        qn_arena_deinit(&arena);
    }
}

static void idx_turns_wide_values_into_host_order(void **state)
{
    (void)state;
    static const char numbers[] = "\0\0\x0c\x01\0\0\0\2\0\0\1\2\xff\xff\xff\xff";
    qn_arena arena;
    qn_tensor array;
    qn_error err = {0};
    qn_arena_init(&arena, 0);
    assert_ok(qn_idx_read((qn_str){numbers, sizeof numbers - 1}, "f", 0, &arena, &array, &err),
              &err);
    assert_int_equal(((int32_t *)array.data)[0], 258);
    assert_int_equal(((int32_t *)array.data)[1], -1);
    qn_arena_deinit(&arena);
}

static void idx_refuses_what_does_not_add_up(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *says;
    } cases[] = {
        {"", 0, "ends after 0 of 4"},
        {"PK\3\4aaaa", 8, "not an IDX file"},
        {"\0\0\x07\x01\0\0\0\1a", 9, "element type 0x07"},
        {"\0\0\x08\x00", 4, "rank 0"},
        {"\0\0\x08\x09", 4, "rank 9"},
        {"\0\0\x08\x03\0\0\0\1", 8, "ends after 4 of 12"},
        {"\0\0\x08\x01\0\0\0\5abcd", 12, "ends after 4 of 5"},
        {"\0\0\x08\x01\0\0\0\2abcd", 12, "2 bytes follow"},
        {"\0\0\x0e\x02\xff\xff\xff\xff\xff\xff\xff\xff", 12, ""},
        {"\0\0\x08\x01\xff\xff\xff\xff", 8, "the file can hold 8 at most"},
        {"\x1f\x8b\x08\0garbage", 11, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_arena arena;
        qn_tensor array;
        qn_error err = {0};
        qn_arena_init(&arena, 1 << 20);
        qn_status status =
            qn_idx_read((qn_str){cases[i].bytes, cases[i].size}, "f", 0, &arena, &array, &err);
        if (status == QN_OK || !strstr(err.text, cases[i].says))
            fail_msg("case %zu: %d \"%s\"", i, status, err.text);
        qn_arena_deinit(&arena);
    }
}

static void idx_refuses_bombs_and_cut_streams(void **state)
{
    (void)state;
    char packed[256];
    qn_arena arena;
    qn_tensor array;
    qn_error err = {0};
    qn_arena_init(&arena, 0);
    static const char huge[] = "\0\0\x08\x02\x40\0\0\0\0\0\0\2";
    qn_str bomb = gzip((qn_str){huge, sizeof huge - 1}, packed, sizeof packed);
    assert_int_equal(qn_idx_read(bomb, "f", 0, &arena, &array, &err), QN_ERR_DATA);
    assert_text(&err, "can hold");
    qn_str cut = gzip(IMAGES, packed, sizeof packed);
    for (size_t size = 0; size < cut.size; size++)
        assert_int_not_equal(qn_idx_read((qn_str){packed, size}, "f", 0, &arena, &array, &err),
                             QN_OK);
    assert_int_equal(qn_idx_read(IMAGES, "f", 4, &arena, &array, &err), QN_ERR_BUDGET);
    assert_text(&err, "takes 8 bytes, the limit is 4");
    assert_int_equal(qn_idx_read_into(IMAGES, "f", packed, 4, &err), QN_ERR_ARG);
    qn_arena_deinit(&arena);
}

static void idx_survives_every_failed_allocation(void **state)
{
    (void)state;
    char packed[256];
    qn_str bytes = gzip(IMAGES, packed, sizeof packed);
    for (int64_t nth = 1; nth < 8; nth++) {
        qn_arena arena;
        qn_tensor array;
        qn_arena_init(&arena, 0);
        qn_alloc_fail_at(nth);
        qn_status status = qn_idx_read(bytes, "f", 0, &arena, &array, NULL);
        qn_alloc_fail_at(0);
        assert_true(status == QN_OK || status == QN_ERR_MEMORY);
        qn_arena_deinit(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idx_reads_plain_and_gzipped),
        cmocka_unit_test(idx_turns_wide_values_into_host_order),
        cmocka_unit_test(idx_refuses_what_does_not_add_up),
        cmocka_unit_test(idx_refuses_bombs_and_cut_streams),
        cmocka_unit_test(idx_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
