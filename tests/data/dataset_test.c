/*
 * Opening data: tables of one and many files, test files, IDX folders, NPZ, image folders, and what is wrong with them.
 */
#include "data_testing.h"

#include "base/alloc.h"
#include "format/image.h"
#include "format/npy.h"

static void dataset_opens_a_table_with_its_test_file(void **state)
{
    fixture *f = *state;
    qn_dataset *dataset;
    const char *path = put_file(f, "train.csv", "age,income\n39,<=50K\n50,>50K\n38,<=50K\n");
    qn_dataset_options options = {.paths = &path,
                                  .paths_count = 1,
                                  .target = "income",
                                  .test = put_file(f, "test.csv", "25, <=50K.\n38, >50K.\n")};
    assert_ok(qn_dataset_open(&options, &dataset, &f->err), &f->err);
    assert_int_equal(dataset->rows_main, 3);
    assert_int_equal(dataset->frame.rows, 5);
    assert_int_equal(dataset->files_count, 2);
    const qn_column *income = qn_frame_find(&dataset->frame, QN_STR("income"));
    assert_non_null(income);
    assert_true(qn_str_is(income->strings[3], "<=50K"));
    assert_true(qn_str_is(income->strings[4], ">50K"));
    assert_true(has_finding(&dataset->findings, "LABEL_SPELLING"));
    char where[160];
    qn_frame_where(&dataset->frame, income, 4, where);
    assert_non_null(strstr(where, "test.csv, row 2, column 2 'income'"));
    qn_dataset_close(dataset);
}

static void dataset_joins_files_and_settles_types(void **state)
{
    fixture *f = *state;
    qn_dataset *dataset;
    put_file(f, "p1.csv", "a,b,y\n1,1,p\n2,2,q\n");
    put_file(f, "p2.csv", "b,a,y\nx,3,p\n4,4,q\n");
    const char *pattern = qn_path_join(&f->arena, f->root, "p*.csv");
    qn_dataset_options options = {.paths = &pattern, .paths_count = 1, .target = "y"};
    assert_ok(qn_dataset_open(&options, &dataset, &f->err), &f->err);
    assert_int_equal(dataset->frame.rows, 4);
    const qn_column *a = qn_frame_find(&dataset->frame, QN_STR("a")),
                    *b = qn_frame_find(&dataset->frame, QN_STR("b"));
    assert_int_equal(a->kind, QN_COLUMN_NUMBER);
    assert_near(a->numbers[2], 3, 0);
    assert_int_equal(b->kind, QN_COLUMN_STRING);
    assert_true(qn_str_is(b->strings[0], "1"));
    assert_true(qn_str_is(b->strings[2], "x"));
    qn_dataset_close(dataset);
}

static void dataset_says_what_is_wrong_with_files(void **state)
{
    fixture *f = *state;
    const char *good = put_file(f, "good.csv", "a,y\n1,p\n2,q\n");
    const struct {
        const char *path, *test;
        qn_status status;
        const char *says, *where;
    } cases[] = {
        {"/tmp/quern-no-such-file.csv", NULL, QN_ERR_NOT_FOUND, "does not exist", ""},
        {"/tmp/quern-no-such-*.csv", NULL, QN_ERR_NOT_FOUND, "no file matches", ""},
        {good, put_file(f, "t1.csv", "a,y\n1,p\nx,q\n"), QN_ERR_DATA, "expected a number as in",
         "row 3, column 1 'a'"},
        {good, put_file(f, "t2.csv", "b,y\n1,p\n"), QN_ERR_DATA, "column 'b' of", ""},
        {good, put_file(f, "t3.csv", "y\np\nq\n"), QN_ERR_DATA, "column 'a' of", ""},
        {put_file(f, "ragged.csv", "a,y\n1,p\n2\n"), NULL, QN_ERR_DATA, "1 cells, expected 2",
         "ragged.csv, row 3"},
        {put_file(f, "empty.csv", ""), NULL, QN_ERR_DATA, "no rows", "empty.csv"},
        {put_file(f, "bad.npz", "PK"), NULL, QN_ERR_DATA, "not an npz", "bad.npz"},
        {f->root, NULL, QN_ERR_DATA, "holds no data", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_dataset *dataset = NULL;
        qn_dataset_options options = {
            .paths = &cases[i].path, .paths_count = 1, .test = cases[i].test};
        f->err = (qn_error){0};
        qn_status status = qn_dataset_open(&options, &dataset, &f->err);
        if (status != cases[i].status || !strstr(f->err.text, cases[i].says) ||
            !strstr(f->err.where, cases[i].where))
            fail_msg("case %zu: %d \"%s\" at \"%s\"", i, status, f->err.text, f->err.where);
        assert_null(dataset);
    }
}

static void dataset_keeps_to_its_memory(void **state)
{
    fixture *f = *state;
    qn_dataset *dataset;
    qn_buf text;
    qn_buf_init(&text, 0);
    qn_buf_text(&text, "a,b\n");
    for (int i = 0; i < 200000; i++)
        qn_buf_text(&text, "1,2\n");
    const char *path = put_bytes(f, "t.csv", text.data, text.size);
    qn_dataset_options options = {.paths = &path, .paths_count = 1, .memory_max = 1 << 20};
    assert_int_equal(qn_dataset_open(&options, &dataset, &f->err), QN_ERR_BUDGET);
    assert_text(&f->err, "does not fit into 1048576 bytes");
    qn_buf_deinit(&text);
}

static void put_idx(fixture *f, const char *prefix, int rows, int first)
{
    char images[64] = "\0\0\x08\x03\0\0\0\0\0\0\0\2\0\0\0\2", labels[32] = "\0\0\x08\x01", name[64];
    images[7] = labels[7] = (char)rows;
    for (int i = 0; i < rows * 4; i++)
        images[16 + i] = (char)(first + i);
    for (int i = 0; i < rows; i++)
        labels[8 + i] = (char)((first + i) % 2);
    snprintf(name, sizeof name, "%s-images-idx3-ubyte", prefix);
    put_bytes(f, name, images, (size_t)(16 + rows * 4));
    snprintf(name, sizeof name, "%s-labels-idx1-ubyte", prefix);
    put_bytes(f, name, labels, (size_t)(8 + rows));
}

static void dataset_opens_an_idx_folder(void **state)
{
    fixture *f = *state;
    put_idx(f, "train", 5, 0);
    put_idx(f, "t10k", 3, 100);
    qn_dataset *dataset = open_table(f, f->root, NULL);
    assert_int_equal(dataset->rows_main, 5);
    assert_int_equal(dataset->frame.rows, 8);
    assert_string_equal(dataset->target, "label");
    const qn_column *image = qn_frame_find(&dataset->frame, QN_STR("image"));
    assert_int_equal(image->kind, QN_COLUMN_ARRAY);
    assert_int_equal(((const uint8_t *)image->array.data)[20], 100);
    assert_near(qn_frame_find(&dataset->frame, QN_STR("label"))->numbers[6], 1, 0);
    qn_schema schema = infer_schema(f, dataset);
    assert_int_equal(schema.columns[0].type, QN_TYPE_IMAGE);
    assert_int_equal(schema.columns[0].stats.channels, 1);
    qn_dataset_close(dataset);
}

static void dataset_refuses_idx_parts_that_do_not_match(void **state)
{
    fixture *f = *state;
    qn_dataset *dataset;
    const char *root = f->root;
    qn_dataset_options options = {.paths = &root, .paths_count = 1};
    put_idx(f, "train", 5, 0);
    put_bytes(f, "train-labels-idx1-ubyte", "\0\0\x08\x01\0\0\0\2\1\1", 10);
    assert_int_equal(qn_dataset_open(&options, &dataset, &f->err), QN_ERR_DATA);
    assert_text(&f->err, "2 labels for the 5 images");
}

static void dataset_opens_npz_arrays(void **state)
{
    fixture *f = *state;
    static const float x[] = {1, 2, 3, 4, 5, 6};
    static const int64_t y[] = {0, 1, 0};
    qn_named_tensor arrays[] = {
        {"x", qn_tensor_of((void *)(uintptr_t)x, QN_DTYPE_F32, QN_SHAPE(3, 2))},
        {"y", qn_tensor_of((void *)(uintptr_t)y, QN_DTYPE_I64, QN_SHAPE(3, 1))}};
    qn_buf file;
    qn_buf_init(&file, 0);
    assert_ok(qn_npz_write(&file, arrays, 2, &f->err), &f->err);
    qn_dataset *dataset = open_table(f, put_bytes(f, "a.npz", file.data, file.size), "y");
    assert_int_equal(dataset->frame.rows, 3);
    assert_int_equal(qn_frame_find(&dataset->frame, QN_STR("x"))->kind, QN_COLUMN_ARRAY);
    assert_near(qn_frame_find(&dataset->frame, QN_STR("y"))->numbers[1], 1, 0);
    qn_schema schema = infer_schema(f, dataset);
    assert_int_equal(qn_schema_find(&schema, QN_STR("x"))->type, QN_TYPE_TENSOR);
    assert_int_equal(schema.task, QN_TASK_BINARY);
    qn_dataset_close(dataset);
    qn_buf_deinit(&file);
}

static void put_png(fixture *f, const char *name, uint8_t value)
{
    uint8_t pixels[4] = {value, value, value, value};
    qn_image image = {2, 2, 1, pixels};
    qn_buf file;
    qn_buf_init(&file, 0);
    assert_ok(qn_image_write_png(&file, &image, &f->err), &f->err);
    put_bytes(f, name, file.data, file.size);
    qn_buf_deinit(&file);
}

static void dataset_opens_a_folder_of_classes(void **state)
{
    fixture *f = *state;
    static const char *const folders[] = {"cat", "dog"};
    for (int i = 0; i < 2; i++)
        assert_ok(qn_folder_make(qn_path_join(&f->arena, f->root, folders[i]), &f->err), &f->err);
    put_png(f, "cat/1.png", 10);
    put_png(f, "cat/2.png", 20);
    put_png(f, "dog/1.png", 200);
    put_file(f, "cat/readme.txt", "no picture");
    qn_dataset *dataset = open_table(f, f->root, NULL);
    assert_int_equal(dataset->frame.rows, 3);
    assert_string_equal(dataset->target, "label");
    qn_column *label = qn_frame_find(&dataset->frame, QN_STR("label"));
    assert_true(qn_str_is(label->strings[2], "dog"));
    qn_schema schema = infer_schema(f, dataset);
    assert_int_equal(schema.columns[0].type, QN_TYPE_IMAGE);
    assert_int_equal(schema.columns[0].stats.height, 2);
    qn_dataset_close(dataset);
}

static void dataset_loads_images_that_a_table_names(void **state)
{
    fixture *f = *state;
    assert_ok(qn_folder_make(qn_path_join(&f->arena, f->root, "p"), &f->err), &f->err);
    put_png(f, "p/1.png", 10);
    put_png(f, "p/2.png", 20);
    put_png(f, "p/3.png", 30);
    const char *path = put_file(f, "t.csv", "photo,y\np/1.png,a\np/2.png,b\np/3.png,a\n");
    qn_dataset *dataset = open_table(f, path, "y");
    qn_column *photo = qn_frame_find(&dataset->frame, QN_STR("photo"));
    assert_int_equal(photo->kind, QN_COLUMN_BYTES);
    assert_true(qn_image_is_known(photo->strings[1]));
    qn_dataset_close(dataset);
    /* A path out of the folder makes the column what it looks like: texts. */
    path = put_file(f, "t.csv", "photo,y\n../p/1.png,a\n../p/2.png,b\n../p/3.png,a\n");
    dataset = open_table(f, path, "y");
    assert_int_equal(qn_frame_find(&dataset->frame, QN_STR("photo"))->kind, QN_COLUMN_STRING);
    qn_dataset_close(dataset);
}

static void dataset_reads_json_lines_as_a_table(void **state)
{
    fixture *f = *state;
    qn_dataset *dataset = open_table(
        f,
        put_file(f, "t.jsonl",
                 "{\"a\": 1, \"y\": 1}\n{\"a\": null, \"y\": 0}\n{\"y\": 1, \"a\": 3}\n"),
        "y");
    assert_string_equal(dataset->kind, "json lines");
    assert_int_equal(dataset->frame.rows, 3);
    const qn_column *a = qn_frame_find(&dataset->frame, QN_STR("a"));
    assert_int_equal(a->kind, QN_COLUMN_NUMBER);
    assert_true(qn_column_missing(a, 1));
    assert_near(a->numbers[2], 3, 0);
    char where[160];
    qn_frame_where(&dataset->frame, a, 2, where);
    assert_non_null(strstr(where, "t.jsonl, row 3, column 1 'a'"));
    qn_dataset_close(dataset);
    dataset =
        open_table(f, put_file(f, "t.data", "{\"a\": 1, \"y\": 1}\n"), "y"); /* by its bytes */
    assert_int_equal(dataset->frame.columns_count, 2);
    qn_dataset_close(dataset);
}

static void dataset_names_columns_without_a_header(void **state)
{
    fixture *f = *state;
    const char *path = put_file(f, "t.csv", "1,a\n2,b\n3,a\n"), *names[] = {"n", "y"};
    qn_dataset *dataset;
    qn_dataset_options options = {.paths = &path, .paths_count = 1};
    assert_ok(qn_dataset_open(&options, &dataset, &f->err), &f->err);
    assert_true(qn_str_is(dataset->frame.columns[1].name, "c2"));
    assert_true(has_finding(&dataset->findings, "NO_HEADER"));
    qn_dataset_close(dataset);
    options.names = names;
    options.names_count = 2;
    assert_ok(qn_dataset_open(&options, &dataset, &f->err), &f->err);
    assert_true(qn_str_is(dataset->frame.columns[1].name, "y"));
    qn_dataset_close(dataset);
    /* What a model was trained on names them too, with and without the target. */
    const qn_str expected[] = {QN_STR("n"), QN_STR("z"), QN_STR("y")};
    options = (qn_dataset_options){
        .paths = &path, .paths_count = 1, .target = "z", .expected = expected, .expected_count = 3};
    assert_ok(qn_dataset_open(&options, &dataset, &f->err), &f->err);
    assert_true(qn_str_is(dataset->frame.columns[1].name, "y"));
    assert_false(has_finding(&dataset->findings, "NO_HEADER"));
    qn_dataset_close(dataset);
    options =
        (qn_dataset_options){.paths = &path, .paths_count = 1, .names = names, .names_count = 1};
    assert_int_equal(qn_dataset_open(&options, &dataset, &f->err), QN_ERR_DATA);
    assert_text(&f->err, "1 names are given for 2 columns");
}

/* Fails allocation after allocation until opening succeeds: clean errors all the way, and no leak (seen by ASan). */
static int64_t fail_each_allocation(const qn_dataset_options *options)
{
    for (int64_t nth = 1; nth < 2000; nth++) {
        qn_dataset *dataset = NULL;
        qn_alloc_fail_at(nth);
        qn_status status = qn_dataset_open(options, &dataset, NULL);
        qn_alloc_fail_at(0);
        if (status == QN_OK) {
            qn_dataset_close(dataset);
            return nth;
        }
        assert_int_equal(status, QN_ERR_MEMORY);
        assert_null(dataset);
    }
    return -1;
}

static void dataset_survives_every_failed_allocation(void **state)
{
    fixture *f = *state;
    const char *table = put_file(f, "a.csv", "a,b,y\n1,x,p\n2,\"q\"\"q\",q\n3,,p\n"),
               *root = f->root;
    qn_dataset_options with_test = {
        .paths = &table, .paths_count = 1, .target = "y", .test = table};
    assert_true(fail_each_allocation(&with_test) > 3);
    put_idx(f, "train", 5, 0);
    put_idx(f, "t10k", 3, 9);
    qn_dataset_options idx = {.paths = &root, .paths_count = 1};
    assert_true(fail_each_allocation(&idx) > 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(dataset_opens_a_table_with_its_test_file),
        TEST(dataset_joins_files_and_settles_types),
        TEST(dataset_says_what_is_wrong_with_files),
        TEST(dataset_keeps_to_its_memory),
        TEST(dataset_opens_an_idx_folder),
        TEST(dataset_refuses_idx_parts_that_do_not_match),
        TEST(dataset_opens_npz_arrays),
        TEST(dataset_opens_a_folder_of_classes),
        TEST(dataset_loads_images_that_a_table_names),
        TEST(dataset_reads_json_lines_as_a_table),
        TEST(dataset_names_columns_without_a_header),
        TEST(dataset_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
