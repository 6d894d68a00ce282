/*
 * Loaders: every row once an epoch, orders by seed and epoch alone, resuming in the middle, pixels widened alike everywhere.
 */
#include "data_testing.h"

#include "base/rng.h"
#include "data/gather.h"
#include "data/loader.h"
#include "os/cpu.h"

static qn_packed pack_range(fixture *f, int64_t rows)
{
    float *x = QN_NEW(&f->arena, float, rows * 3);
    int64_t *y = QN_NEW(&f->arena, int64_t, rows);
    for (int64_t i = 0; i < rows * 3; i++)
        x[i] = (float)i;
    for (int64_t i = 0; i < rows; i++)
        y[i] = i;
    qn_named_tensor arrays[] = {{"x", qn_tensor_of(x, QN_DTYPE_F32, QN_SHAPE(rows, 3))},
                                {"target", qn_tensor_of(y, QN_DTYPE_I64, QN_SHAPE(rows))}};
    qn_packed packed;
    assert_ok(qn_pack_arrays(arrays, 2, &f->arena, &packed, &f->err), &f->err);
    return packed;
}

static void loader_gives_every_row_once_an_epoch(void **state)
{
    fixture *f = *state;
    qn_packed packed = pack_range(f, 100);
    static const qn_last_batch policies[] = {QN_LAST_KEEP, QN_LAST_DROP};
    for (int policy = 0; policy < 2; policy++) {
        qn_loader loader;
        qn_loader_options options = {
            .batch = 32, .seed = 1, .shuffle = true, .last = policies[policy]};
        assert_ok(qn_loader_init(&loader, &packed, &options, &f->arena, &f->err), &f->err);
        assert_int_equal(qn_loader_batches(&loader), policy == 0 ? 4 : 3);
        uint8_t seen[100] = {0};
        float x[96];
        int64_t y[32], total = 0, count;
        while ((count = qn_loader_next(&loader, (void *[]){x, y})) > 0) {
            for (int64_t i = 0; i < count; i++) {
                assert_true(x[3 * i + 2] == (float)(3 * y[i] + 2));
                assert_int_equal(seen[y[i]]++, 0);
            }
            total += count;
        }
        assert_int_equal(total, policy == 0 ? 100 : 96);
        assert_int_equal(loader.cursor.epoch, 1);
        assert_int_equal(loader.cursor.batch, 0);
    }
}

static void loader_shuffles_by_seed_and_epoch(void **state)
{
    fixture *f = *state;
    qn_packed packed = pack_range(f, 64);
    int64_t orders[3][2][64];
    static const uint64_t seeds[] = {1, 1, 2};
    for (int run = 0; run < 3; run++) {
        qn_loader loader;
        qn_loader_options options = {.batch = 64, .seed = seeds[run], .shuffle = true};
        assert_ok(qn_loader_init(&loader, &packed, &options, &f->arena, &f->err), &f->err);
        for (int epoch = 0; epoch < 2; epoch++) {
            assert_int_equal(qn_loader_next(&loader, (void *[]){NULL, orders[run][epoch]}), 64);
            assert_int_equal(qn_loader_next(&loader, (void *[]){NULL, orders[run][epoch]}), 0);
        }
    }
    assert_memory_equal(orders[0], orders[1], sizeof orders[0]);
    assert_memory_not_equal(orders[0][0], orders[0][1], sizeof orders[0][0]);
    assert_memory_not_equal(orders[0][0], orders[2][0], sizeof orders[0][0]);
}

static void loader_resumes_where_it_was(void **state)
{
    fixture *f = *state;
    qn_packed packed = pack_range(f, 50);
    qn_loader_options options = {.batch = 8, .seed = 3, .shuffle = true};
    qn_loader whole, resumed;
    int64_t expected[8], got[8];
    assert_ok(qn_loader_init(&whole, &packed, &options, &f->arena, &f->err), &f->err);
    for (int step = 0; step < 40; step++) {
        qn_loader_cursor cursor = whole.cursor;
        int64_t count = qn_loader_next(&whole, (void *[]){NULL, expected});
        assert_ok(qn_loader_init(&resumed, &packed, &options, &f->arena, &f->err), &f->err);
        qn_loader_seek(&resumed, cursor);
        assert_int_equal(qn_loader_next(&resumed, (void *[]){NULL, got}), count);
        assert_memory_equal(got, expected, (size_t)count * sizeof(int64_t));
    }
}

static void loader_refuses_what_makes_no_batch(void **state)
{
    fixture *f = *state;
    qn_packed packed = pack_range(f, 5), none = pack_range(f, 0);
    qn_loader loader;
    qn_loader_options zero = {.batch = 0}, large = {.batch = 8, .last = QN_LAST_DROP},
                      fine = {.batch = 1};
    assert_int_equal(qn_loader_init(&loader, &packed, &zero, &f->arena, &f->err), QN_ERR_ARG);
    assert_int_equal(qn_loader_init(&loader, &packed, &large, &f->arena, &f->err), QN_ERR_ARG);
    assert_text(&f->err, "5 rows do not make a batch of 8");
    assert_int_equal(qn_loader_init(&loader, &none, &fine, &f->arena, &f->err), QN_ERR_ARG);
}

static void loader_refuses_arrays_that_do_not_fit(void **state)
{
    fixture *f = *state;
    static double values[4];
    qn_tensor two = qn_tensor_of(values, QN_DTYPE_F32, QN_SHAPE(2)),
              three = qn_tensor_of(values, QN_DTYPE_F32, QN_SHAPE(3));
    qn_packed packed;
    qn_named_tensor uneven[] = {{"a", two}, {"b", three}},
                    wide[] = {{"a", qn_tensor_of(values, QN_DTYPE_F64, QN_SHAPE(2))}};
    assert_int_equal(qn_pack_arrays(uneven, 2, &f->arena, &packed, &f->err), QN_ERR_ARG);
    assert_text(&f->err, "'b' has 3 rows, 'a' has 2");
    assert_int_equal(qn_pack_arrays(wide, 1, &f->arena, &packed, &f->err), QN_ERR_ARG);
    assert_text(&f->err, "'a' is f64");
}

static void gather_widens_pixels_alike_on_every_cpu(void **state)
{
    (void)state;
    static uint8_t pixels[3 * 100];
    static const int64_t rows[] = {2, 0, 1};
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 89);
    qn_cpu_level_id before = qn_cpu_level();
    for (int level = 0; level < QN_CPU_LEVELS; level++) {
        qn_cpu_limit((qn_cpu_level_id)level);
        for (int64_t size = 0; size <= 70; size++) {
            float dst[3 * 70 + 1];
            dst[3 * size] = -7;
            for (int64_t at = 0; at < 2; at++) /* in two parts */
                qn_batch_pixels(
                    dst, pixels,
                    &(qn_batch_part){rows, 0, 3, size, at * (size / 3), at ? size : size / 3},
                    1.0f / 255.0f);
            for (int64_t i = 0; i < 3 * size; i++)
                assert_true(dst[i] ==
                            (float)pixels[rows[i / size] * size + i % size] * (1.0f / 255.0f));
            assert_true(dst[3 * size] == -7);
        }
    }
    qn_cpu_limit(before);
}

static void pack_keeps_pixels_as_bytes_and_scales_targets(void **state)
{
    fixture *f = *state;
    static uint8_t pixels[4 * 6];
    static double amounts[] = {10, 20, 30, 40};
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 10);
    qn_frame frame;
    qn_schema schema;
    qn_transforms *transforms;
    qn_packed packed;
    qn_tensor array = qn_tensor_of(pixels, QN_DTYPE_U8, QN_SHAPE(4, 2, 3));
    assert_ok(qn_frame_init(&frame, &f->arena, 2, 4, &f->err), &f->err);
    assert_non_null(qn_frame_add_array(&frame, QN_STR("photo"), &array));
    memcpy(qn_frame_numbers(&frame, QN_STR("y"), &f->arena), amounts, sizeof amounts);
    qn_schema_options options = {.target = "y", .task = QN_TASK_REGRESSION};
    assert_ok(qn_schema_infer(&frame, NULL, 4, &options, &f->arena, &schema, &f->err), &f->err);
    assert_ok(qn_transforms_fit(&schema, &frame, NULL, 4, NULL, &f->arena, &transforms, &f->err),
              &f->err);
    static const int64_t rows[] = {3, 1};
    assert_ok(qn_pack(transforms, &frame, rows, 2, true, NULL, &f->arena, &packed, &f->err),
              &f->err);
    assert_int_equal(packed.tensors_count, 2);
    assert_int_equal(packed.tensors[0].stored, QN_DTYPE_U8);
    assert_true(qn_str_is(packed.tensors[0].name, "image"));
    float batch[12], target[2], served[24];
    qn_packed_gather(&packed, NULL, NULL, 0, 2, (void *[]){batch, target});
    assert_near((double)target[0], (40 - 25) / 11.180339887, 1e-6);
    /* The same bits as the server makes from the same pixels. */
    assert_ok(qn_transforms_apply(transforms, &frame, NULL, 4, (void *[]){served}, NULL, &f->arena,
                                  &f->err),
              &f->err);
    assert_memory_equal(batch, served + 18, 6 * sizeof(float));
    assert_memory_equal(batch + 6, served + 6, 6 * sizeof(float));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(loader_gives_every_row_once_an_epoch),
        TEST(loader_shuffles_by_seed_and_epoch),
        TEST(loader_resumes_where_it_was),
        TEST(loader_refuses_what_makes_no_batch),
        TEST(loader_refuses_arrays_that_do_not_fit),
        cmocka_unit_test(gather_widens_pixels_alike_on_every_cpu),
        TEST(pack_keeps_pixels_as_bytes_and_scales_targets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
