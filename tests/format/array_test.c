/*
 * The public reader of single arrays: plain and gzipped IDX, NPY, images as floats, clean errors.
 */
#include "quern/array.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "testing.h"

static char folder[] = "/tmp/quern-array-XXXXXX";

static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void put(const char *name, const void *data, size_t size)
{
    FILE *file = fopen(path_of(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    fclose(file);
}

/* Two images of 1 x 3 bytes. */
static const uint8_t images_idx[] = {0, 0, 8, 3, 0, 0, 0,   2,  0,   0, 0,
                                     1, 0, 0, 0, 3, 0, 255, 51, 102, 0, 255};

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    static const char *const names[] = {"plain", "zipped.gz", "numbers.npy", "short"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        unlink(path_of(names[i]));
    return rmdir(folder);
}

static void array_reads_idx_as_it_is(void **state)
{
    (void)state;
    put("plain", images_idx, sizeof images_idx);
    qn_error err = {0};
    qn_array *array = qn_array_read(folder, "plain", &err);
    assert_non_null(array);
    qn_view view = qn_array_view(array);
    assert_int_equal(view.dtype, QN_DTYPE_U8);
    assert_int_equal(view.rank, 3);
    assert_int_equal(view.dims[0], 2);
    assert_int_equal(view.dims[2], 3);
    assert_memory_equal(view.data, images_idx + 16, 6);
    qn_array_destroy(array);
}

static void array_finds_the_gzipped_file(void **state)
{
    (void)state;
    gzFile file = gzopen(path_of("zipped.gz"), "wb");
    assert_non_null(file);
    assert_int_equal(gzwrite(file, images_idx, sizeof images_idx), sizeof images_idx);
    gzclose(file);
    qn_array *array = qn_array_read(folder, "zipped", NULL);
    assert_non_null(array);
    assert_memory_equal(qn_array_view(array).data, images_idx + 16, 6);
    qn_array_destroy(array);
}

static void array_gives_images_as_floats_with_channels(void **state)
{
    (void)state;
    put("plain", images_idx, sizeof images_idx);
    qn_array *array = qn_array_read_images(folder, "plain", NULL);
    assert_non_null(array);
    qn_view view = qn_array_view(array);
    assert_int_equal(view.dtype, QN_DTYPE_F32);
    assert_int_equal(view.rank, 4);
    assert_int_equal(view.dims[3], 1);
    const float *pixels = view.data;
    assert_float_equal(pixels[1], 1.0F, 0);
    assert_float_equal(pixels[2], 0.2F, 1e-6F);
    qn_array_destroy(array);
}

static void array_reads_npy(void **state)
{
    (void)state;
    char bytes[128 + 8];
    memset(bytes, ' ', sizeof bytes);
    static const char head[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";
    memcpy(bytes, "\x93NUMPY\x01\x00\x76\x00", 10);
    memcpy(bytes + 10, head, sizeof head - 1);
    bytes[127] = '\n';
    const float numbers[2] = {1.5F, -2};
    memcpy(bytes + 128, numbers, sizeof numbers);
    put("numbers.npy", bytes, sizeof bytes);
    qn_array *array = qn_array_read(folder, "numbers.npy", NULL);
    assert_non_null(array);
    assert_int_equal(qn_array_view(array).rank, 1);
    assert_memory_equal(qn_array_view(array).data, numbers, sizeof numbers);
    qn_array_destroy(array);
}

static void array_says_what_is_wrong(void **state)
{
    (void)state;
    qn_error err = {0};
    assert_null(qn_array_read(folder, "absent", &err));
    assert_int_equal(err.code, QN_ERR_NOT_FOUND);
    put("short", images_idx, sizeof images_idx - 2);
    assert_null(qn_array_read(folder, "short", &err));
    assert_int_equal(err.code, QN_ERR_DATA);
    static const uint8_t labels[] = {0, 0, 8, 1, 0, 0, 0, 1, 7};
    put("short", labels, sizeof labels);
    assert_null(qn_array_read_images(folder, "short", &err));
    assert_int_equal(err.code, QN_ERR_DATA);
    assert_non_null(strstr(err.text, "[1]"));
    qn_array_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(array_reads_idx_as_it_is),
        cmocka_unit_test(array_finds_the_gzipped_file),
        cmocka_unit_test(array_gives_images_as_floats_with_channels),
        cmocka_unit_test(array_reads_npy),
        cmocka_unit_test(array_says_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
