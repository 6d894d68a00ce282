/*
 * NPY and NPZ: what is written reads back, other orders are turned, damaged and malicious files are refused.
 */
#include "testing.h"

#include <stdio.h>
#include <zlib.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "format/npy.h"

static size_t put_npy(char *dst, const char *header, const void *values, size_t size)
{
    size_t length = strlen(header);
    memcpy(dst, "\x93NUMPY\x01\x00", 8);
    dst[8] = (char)(length & 0xff);
    dst[9] = (char)(length >> 8);
    memcpy(dst + 10, header, length);
    memcpy(dst + 10 + length, values, size);
    return 10 + length + size;
}

static qn_status read_npy(const char *header, const void *values, size_t size, qn_arena *arena,
                          qn_tensor *ret, qn_error *err)
{
    static char file[4096];
    return qn_npy_read((qn_str){file, put_npy(file, header, values, size)}, "a.npy", arena, ret,
                       err);
}

static void npy_reads_back_what_it_writes(void **state)
{
    (void)state;
    static const qn_dtype dtypes[] = {QN_DTYPE_F32, QN_DTYPE_F64,  QN_DTYPE_I64,
                                      QN_DTYPE_U8,  QN_DTYPE_BOOL, QN_DTYPE_F16};
    static const qn_shape shapes[] = {{0, {0}}, {1, {5}}, {2, {2, 3}}, {3, {0, 2, 2}}};
    static const double values[16] = {0};
    for (size_t d = 0; d < 6; d++)
        for (size_t s = 0; s < 4; s++) {
            qn_tensor array = qn_tensor_of((void *)(uintptr_t)values, dtypes[d], shapes[s]), back;
            qn_arena arena;
            qn_buf file;
            qn_error err = {0};
            qn_arena_init(&arena, 0);
            qn_buf_init(&file, 0);
            qn_npy_write(&file, &array);
            assert_false(file.failed);
            assert_int_equal((file.size - qn_tensor_bytes(&array)) % 64, 0);
            assert_ok(qn_npy_read(qn_buf_view(&file), "a.npy", &arena, &back, &err), &err);
            assert_int_equal(back.dtype, dtypes[d]);
            assert_true(qn_shape_equal(&back.shape, &shapes[s]));
            qn_buf_deinit(&file);
            qn_arena_deinit(&arena);
        }
}

static void npy_turns_fortran_order_and_big_endian(void **state)
{
    (void)state;
    static const uint8_t columns[] = {1, 4, 2, 5, 3, 6};
    static const char big[] = "\0\1\0\2";
    qn_arena arena;
    qn_tensor array;
    qn_error err = {0};
    qn_arena_init(&arena, 0);
    assert_ok(read_npy("{'descr': '|u1', 'fortran_order': True, 'shape': (2, 3), }\n", columns, 6,
                       &arena, &array, &err),
              &err);
    assert_memory_equal(array.data, "\1\2\3\4\5\6", 6);
    assert_ok(read_npy("{'descr': '>i2', 'fortran_order': False, 'shape': (2,), }", big, 4, &arena,
                       &array, &err),
              &err);
    assert_int_equal(((int16_t *)array.data)[0], 1);
    assert_int_equal(((int16_t *)array.data)[1], 2);
    qn_arena_deinit(&arena);
}

static void npy_refuses_bad_headers(void **state)
{
    (void)state;
    static const struct {
        const char *header, *says;
    } cases[] = {
        {"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
         "'|O', expected plain numbers"},
        {"{'descr': '<U5', 'fortran_order': False, 'shape': (1,), }", "expected plain numbers"},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", "records"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}", "each of descr"},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}",
         "each of descr"},
        {"{'descr': '<f4', 'shape': (1,), }", "descr, fortran_order and shape"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }",
         "takes 8 bytes, the file holds 4"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", "a size"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }", ""},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", "a size"},
        {"{'descr': '<f4', 'fortran_order': Maybe, 'shape': (1,), }", "True or False"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1, 1, 1, 1, 1, 1, 1, 1), }",
         "more than 8"},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1", "',' or ')'"},
        {"(1, 2)", "'{'"},
        {"", "'{'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_arena arena;
        qn_tensor array;
        qn_error err = {0};
        qn_arena_init(&arena, 0);
        qn_status status = read_npy(cases[i].header, "\0\0\0\0", 4, &arena, &array, &err);
        if (status == QN_OK || !strstr(err.text, cases[i].says))
            fail_msg("case %zu: %d \"%s\"", i, status, err.text);
        qn_arena_deinit(&arena);
    }
}

static void npy_refuses_every_cut(void **state)
{
    (void)state;
    static const float values[] = {1, 2, 3};
    qn_tensor array = qn_tensor_of((void *)(uintptr_t)values, QN_DTYPE_F32, QN_SHAPE(3)), back;
    qn_arena arena;
    qn_buf file;
    qn_arena_init(&arena, 0);
    qn_buf_init(&file, 0);
    qn_npy_write(&file, &array);
    for (size_t size = 0; size < file.size; size++)
        assert_int_equal(qn_npy_read((qn_str){file.data, size}, "a.npy", &arena, &back, NULL),
                         QN_ERR_DATA);
    qn_buf_deinit(&file);
    qn_arena_deinit(&arena);
}

static void write_pair(qn_buf *file)
{
    static const float x[] = {1, 2, 3, 4, 5, 6};
    static const int64_t y[] = {7, 8};
    qn_named_tensor arrays[] = {
        {"x", qn_tensor_of((void *)(uintptr_t)x, QN_DTYPE_F32, QN_SHAPE(2, 3))},
        {"y", qn_tensor_of((void *)(uintptr_t)y, QN_DTYPE_I64, QN_SHAPE(2))}};
    qn_error err = {0};
    assert_ok(qn_npz_write(file, arrays, 2, &err), &err);
}

static void npz_reads_back_what_it_writes(void **state)
{
    (void)state;
    qn_arena arena;
    qn_buf file;
    qn_named_tensor *arrays;
    int64_t count;
    qn_error err = {0};
    qn_arena_init(&arena, 0);
    qn_buf_init(&file, 0);
    write_pair(&file);
    assert_ok(qn_npz_read(qn_buf_view(&file), "a.npz", 0, &arena, &arrays, &count, &err), &err);
    assert_int_equal(count, 2);
    assert_string_equal(arrays[0].name, "x");
    assert_near(qn_tensor_f64_at(&arrays[0].tensor, 5), 6, 0);
    assert_string_equal(arrays[1].name, "y");
    assert_near(qn_tensor_f64_at(&arrays[1].tensor, 1), 8, 0);
    assert_int_equal(qn_npz_read(qn_buf_view(&file), "a.npz", 100, &arena, &arrays, &count, &err),
                     QN_ERR_BUDGET);
    assert_text(&err, "unpack to more than the limit");
    qn_buf_deinit(&file);
    qn_arena_deinit(&arena);
}

/* Every byte of the folder and of the headers, changed in turn: an error or the same arrays, never a crash. */
static void npz_survives_every_changed_byte(void **state)
{
    (void)state;
    qn_buf file;
    qn_buf_init(&file, 0);
    write_pair(&file);
    for (size_t at = 0; at < file.size; at++) {
        for (int change = 1; change < 256; change *= 5) {
            qn_arena arena;
            qn_named_tensor *arrays;
            int64_t count;
            qn_arena_init(&arena, 64 << 20);
            file.data[at] = (char)(file.data[at] ^ change);
            qn_status status =
                qn_npz_read(qn_buf_view(&file), "a.npz", 1 << 20, &arena, &arrays, &count, NULL);
            assert_true(status == QN_OK || status == QN_ERR_DATA || status == QN_ERR_BUDGET ||
                        status == QN_ERR_MEMORY);
            file.data[at] = (char)(file.data[at] ^ change);
            qn_arena_deinit(&arena);
        }
    }
    for (size_t size = 0; size < file.size; size++) {
        qn_arena arena;
        qn_named_tensor *arrays;
        int64_t count;
        qn_arena_init(&arena, 0);
        assert_int_not_equal(
            qn_npz_read((qn_str){file.data, size}, "a.npz", 0, &arena, &arrays, &count, NULL),
            QN_OK);
        qn_arena_deinit(&arena);
    }
    qn_buf_deinit(&file);
}

static void put_le(qn_buf *dst, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        qn_buf_byte(dst, (char)(value >> (8 * i)));
}

/* One deflated member; `size` is what the archive says of its size. */
static void write_deflated(qn_buf *dst, const char *name, qn_str plain, uint32_t size)
{
    static char packed[4096];
    z_stream stream = {0};
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_in = (Bytef *)(uintptr_t)plain.data;
    stream.avail_in = (uInt)plain.size;
    stream.next_out = (Bytef *)packed;
    stream.avail_out = sizeof packed;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    deflateEnd(&stream);
    size_t used = sizeof packed - stream.avail_out, length = strlen(name), central;
    uint32_t crc = qn_crc32(plain.data, plain.size);
    for (int record = 0; record < 2; record++) {
        central = dst->size;
        qn_buf_append(dst, record ? "PK\1\2" : "PK\3\4", 4);
        put_le(dst, 20, record ? 4 : 2);
        put_le(dst, 0, 2);
        put_le(dst, 8, 2);
        put_le(dst, 0, 4);
        put_le(dst, crc, 4);
        put_le(dst, used, 4);
        put_le(dst, size, 4);
        put_le(dst, length, 2);
        put_le(dst, 0, 2);
        if (record)
            put_le(dst, 0, 8), put_le(dst, 0, 2), put_le(dst, 0, 4);
        qn_buf_text(dst, name);
        if (!record)
            qn_buf_append(dst, packed, used);
    }
    size_t end = dst->size;
    qn_buf_append(dst, "PK\5\6", 4);
    put_le(dst, 0, 4);
    put_le(dst, 1, 2);
    put_le(dst, 1, 2);
    put_le(dst, end - central, 4);
    put_le(dst, central, 4);
    put_le(dst, 0, 2);
}

static void npz_reads_deflated_members_and_refuses_bombs(void **state)
{
    (void)state;
    static const float zeros[500];
    static const struct {
        const char *name;
        int64_t more;
        const char *says; /* NULL = reads */
    } cases[] = {
        {"x.npy", 0, NULL},
        {"x.npy", 1, "ends after"},
        {"x.npy", -1, "more data than the header says"},
        {"x.npy", 2000000000, "promises more than its data can hold"},
        {"x.txt", 0, "is not an npy file"},
    };
    qn_tensor array = qn_tensor_of((void *)(uintptr_t)zeros, QN_DTYPE_F32, QN_SHAPE(500));
    qn_buf npy;
    qn_buf_init(&npy, 0);
    qn_npy_write(&npy, &array);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_arena arena;
        qn_buf file;
        qn_named_tensor *arrays;
        int64_t count;
        qn_error err = {0};
        qn_arena_init(&arena, 0);
        qn_buf_init(&file, 0);
        write_deflated(&file, cases[i].name, qn_buf_view(&npy),
                       (uint32_t)((int64_t)npy.size + cases[i].more));
        qn_status status =
            qn_npz_read(qn_buf_view(&file), "a.npz", 0, &arena, &arrays, &count, &err);
        if ((status == QN_OK) != !cases[i].says ||
            (cases[i].says && !strstr(err.text, cases[i].says)))
            fail_msg("case %zu: %d \"%s\"", i, status, err.text);
        qn_buf_deinit(&file);
        qn_arena_deinit(&arena);
    }
    qn_buf_deinit(&npy);
}

static void npz_survives_every_failed_allocation(void **state)
{
    (void)state;
    qn_buf file;
    qn_buf_init(&file, 0);
    write_pair(&file);
    for (int64_t nth = 1; nth < 12; nth++) {
        qn_arena arena;
        qn_named_tensor *arrays;
        int64_t count;
        qn_arena_init(&arena, 0);
        qn_alloc_fail_at(nth);
        qn_status status =
            qn_npz_read(qn_buf_view(&file), "a.npz", 0, &arena, &arrays, &count, NULL);
        qn_alloc_fail_at(0);
        assert_true(status == QN_OK || status == QN_ERR_MEMORY);
        qn_arena_deinit(&arena);
    }
    qn_buf_deinit(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(npy_reads_back_what_it_writes),
        cmocka_unit_test(npy_turns_fortran_order_and_big_endian),
        cmocka_unit_test(npy_refuses_bad_headers),
        cmocka_unit_test(npy_refuses_every_cut),
        cmocka_unit_test(npz_reads_back_what_it_writes),
        cmocka_unit_test(npz_survives_every_changed_byte),
        cmocka_unit_test(npz_reads_deflated_members_and_refuses_bombs),
        cmocka_unit_test(npz_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
