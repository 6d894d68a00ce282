/*
 * PNG: pixels come back, grey and colour convert, damage and bombs are refused, resizing keeps what it should.
 */
#include "testing.h"

#include "base/alloc.h"
#include "format/image.h"

static void write_gradient(qn_buf *file, int64_t channels)
{
    static uint8_t pixels[4 * 6 * 3];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 3);
    qn_image image = {4, 6, channels, pixels};
    qn_error err = {0};
    assert_ok(qn_image_write_png(file, &image, &err), &err);
}

static void image_reads_back_what_it_writes(void **state)
{
    (void)state;
    for (int64_t channels = 1; channels <= 3; channels += 2) {
        qn_buf file;
        qn_arena arena;
        qn_image image;
        qn_error err = {0};
        int64_t height, width, found;
        qn_buf_init(&file, 0);
        qn_arena_init(&arena, 0);
        write_gradient(&file, channels);
        assert_true(qn_image_is_known(qn_buf_view(&file)));
        assert_ok(qn_image_peek(qn_buf_view(&file), "i", &height, &width, &found, &err), &err);
        assert_int_equal(height, 4);
        assert_int_equal(width, 6);
        assert_int_equal(found, channels);
        assert_ok(qn_image_read(qn_buf_view(&file), "i", 0, &arena, &image, &err), &err);
        assert_int_equal(image.channels, channels);
        for (int64_t i = 0; i < 24 * channels; i++)
            assert_int_equal(image.pixels[i], (uint8_t)(i * 3));
        qn_arena_deinit(&arena);
        qn_buf_deinit(&file);
    }
}

static void image_converts_grey_and_colour(void **state)
{
    (void)state;
    qn_buf file;
    qn_arena arena;
    qn_image image;
    qn_error err = {0};
    qn_buf_init(&file, 0);
    qn_arena_init(&arena, 0);
    write_gradient(&file, 1);
    assert_ok(qn_image_read(qn_buf_view(&file), "i", 3, &arena, &image, &err), &err);
    assert_int_equal(image.pixels[3], 3);
    assert_int_equal(image.pixels[4], 3);
    assert_int_equal(image.pixels[5], 3);
    qn_buf_reset(&file);
    write_gradient(&file, 3);
    assert_ok(qn_image_read(qn_buf_view(&file), "i", 1, &arena, &image, &err), &err);
    assert_in_range(image.pixels[0], 0, 6); /* between its channels 0, 3 and 6 */
    qn_arena_deinit(&arena);
    qn_buf_deinit(&file);
}

static void image_refuses_damage(void **state)
{
    (void)state;
    qn_buf file;
    qn_buf_init(&file, 0);
    write_gradient(&file, 3);
    for (size_t size = 0; size + 12 < file.size; size++) { /* the end chunk alone may be lost */
        qn_arena arena;
        qn_image image;
        qn_arena_init(&arena, 0);
        assert_int_not_equal(qn_image_read((qn_str){file.data, size}, "i", 0, &arena, &image, NULL),
                             QN_OK);
        qn_arena_deinit(&arena);
    }
    for (size_t at = 0; at < file.size; at++) {
        qn_arena arena;
        qn_image image;
        qn_arena_init(&arena, 256 << 20);
        file.data[at] = (char)(file.data[at] ^ 0x55);
        qn_status status = qn_image_read(qn_buf_view(&file), "i", 0, &arena, &image, NULL);
        assert_true(status == QN_OK || status == QN_ERR_DATA || status == QN_ERR_BUDGET ||
                    status == QN_ERR_MEMORY);
        file.data[at] = (char)(file.data[at] ^ 0x55);
        qn_arena_deinit(&arena);
    }
    qn_buf_deinit(&file);
}

static void image_bounds_sizes_before_decoding(void **state)
{
    (void)state;
    static const char huge[] =
        "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\x7f\xff\xff\xff\x7f\xff\xff\xff\x08\x02\0\0\0....";
    qn_arena arena;
    qn_image image;
    qn_error err = {0};
    qn_arena_init(&arena, 0);
    assert_int_equal(qn_image_read((qn_str){huge, sizeof huge - 1}, "i", 0, &arena, &image, &err),
                     QN_ERR_BUDGET);
    assert_text(&err, "the limit is");
    assert_int_equal(qn_image_read(QN_STR("GIF89a......"), "i", 0, &arena, &image, &err),
                     QN_ERR_DATA);
    assert_text(&err, "expected PNG");
    qn_arena_deinit(&arena);
}

static void image_resizes_by_area_and_bilinearly(void **state)
{
    (void)state;
    uint8_t small[4] = {0, 100, 200, 100}, flat[16], one[1], large[16];
    qn_image image = {2, 2, 1, small};
    qn_image_resize(one, 1, 1, &image);
    assert_int_equal(one[0], 100);
    memset(flat, 77, sizeof flat);
    qn_image even = {4, 4, 1, flat};
    qn_image_resize(large, 3, 5, &even);
    for (int i = 0; i < 15; i++)
        assert_int_equal(large[i], 77);
    qn_image_resize(large, 4, 4, &image);
    assert_int_equal(large[0], 0);
    assert_int_equal(large[12], 200);
    assert_in_range(large[1], 1, 99);
}

static void image_survives_every_failed_allocation(void **state)
{
    (void)state;
    qn_buf file;
    qn_buf_init(&file, 0);
    write_gradient(&file, 3);
    for (int64_t nth = 1; nth < 30; nth++) {
        qn_arena arena;
        qn_image image;
        qn_arena_init(&arena, 0);
        qn_alloc_fail_at(nth);
        qn_status status = qn_image_read(qn_buf_view(&file), "i", 0, &arena, &image, NULL);
        qn_alloc_fail_at(0);
        assert_true(status == QN_OK || status == QN_ERR_MEMORY || status == QN_ERR_DATA);
        qn_arena_deinit(&arena);
    }
    qn_buf_deinit(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(image_reads_back_what_it_writes),
        cmocka_unit_test(image_converts_grey_and_colour),
        cmocka_unit_test(image_refuses_damage),
        cmocka_unit_test(image_bounds_sizes_before_decoding),
        cmocka_unit_test(image_resizes_by_area_and_bilinearly),
        cmocka_unit_test(image_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
