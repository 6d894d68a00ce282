/* Slices: the metric of each level, worst first, small levels left out. */
#include "testing.h"

#include "train/evaluate.h"

enum { ROWS = 300 };

typedef struct {
    qn_arena arena;
    qn_error err;
    qn_frame frame;
    qn_schema schema;
    qn_transforms *transforms;
    int64_t labels[ROWS];
    float probability[2 * ROWS];
    qn_outcome outcome;
} fixture;

/* Level a: every answer right; b: every second; rare: eight rows only. The number column is no slice. */
static int setup(void **state)
{
    static fixture f;
    memset(&f, 0, sizeof f);
    qn_arena_init(&f.arena, 0);
    if (qn_frame_init(&f.frame, &f.arena, 3, ROWS, &f.err) != QN_OK)
        return -1;
    qn_str *group = qn_frame_strings(&f.frame, QN_STR("group"), &f.arena);
    double *size = qn_frame_numbers(&f.frame, QN_STR("size"), &f.arena);
    qn_str *target = qn_frame_strings(&f.frame, QN_STR("y"), &f.arena);
    for (int64_t i = 0; i < ROWS; i++) {
        group[i] = i < 8 ? QN_STR("rare") : i % 3 == 0 ? QN_STR("b") : QN_STR("a");
        size[i] = (double)(i * 7 % 101) + 0.5;
        f.labels[i] = i % 2;
        target[i] = f.labels[i] ? QN_STR("yes") : QN_STR("no");
        bool right = i % 3 != 0 || i % 4 < 2;
        f.probability[2 * i + (right ? f.labels[i] : 1 - f.labels[i])] = 1;
    }
    const qn_schema_options options = {.target = "y"};
    const qn_transform_options defaults = {0};
    if (qn_schema_infer(&f.frame, NULL, ROWS, &options, &f.arena, &f.schema, &f.err) != QN_OK ||
        qn_transforms_fit(&f.schema, &f.frame, NULL, ROWS, &defaults, &f.arena, &f.transforms,
                          &f.err) != QN_OK)
        return -1;
    f.outcome = (qn_outcome){.task = QN_TASK_BINARY,
                             .rows = ROWS,
                             .classes = 2,
                             .labels = f.labels,
                             .probability = f.probability};
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    qn_arena_deinit(&((fixture *)*state)->arena);
    return 0;
}

static void slices_show_the_worst_level_first(void **state)
{
    fixture *f = *state;
    qn_slices slices;
    assert_ok(qn_slices_of(&f->outcome, &f->frame, NULL, f->transforms, QN_METRIC_ACCURACY,
                           &f->arena, &slices, &f->err),
              &f->err);
    assert_int_equal(slices.count, 2);
    assert_true(qn_str_is(slices.items[0].column, "group"));
    assert_true(qn_str_is(slices.items[0].level, "b"));
    assert_true(slices.items[0].value > 0.4 && slices.items[0].value < 0.6);
    assert_true(qn_str_is(slices.items[1].level, "a"));
    assert_true(slices.items[1].value == 1);
    int64_t rows = slices.items[0].rows + slices.items[1].rows;
    assert_int_equal(rows, ROWS - 8);
}

/* The outcome of the odd rows alone, in another order than the frame's. */
static void slices_follow_the_given_rows(void **state)
{
    fixture *f = *state;
    int64_t rows[ROWS / 2];
    qn_outcome half = f->outcome;
    for (int64_t i = 0; i < ROWS / 2; i++)
        rows[i] = ROWS - 1 - 2 * i;
    half.rows = ROWS / 2;
    qn_slices slices;
    assert_ok(qn_slices_of(&half, &f->frame, rows, f->transforms, QN_METRIC_ACCURACY, &f->arena,
                           &slices, &f->err),
              &f->err);
    int64_t counted = 0;
    for (int64_t i = 0; i < slices.count; i++)
        counted += slices.items[i].rows;
    assert_int_equal(counted, ROWS / 2 - 4);
}

static void slices_are_written_with_their_metric(void **state)
{
    fixture *f = *state;
    qn_slices slices;
    qn_buf text;
    qn_json_writer w;
    qn_json read;
    int64_t rows;
    double value;
    assert_ok(qn_slices_of(&f->outcome, &f->frame, NULL, f->transforms, QN_METRIC_ACCURACY,
                           &f->arena, &slices, &f->err),
              &f->err);
    qn_buf_init(&text, 0);
    qn_json_write_init(&w, &text);
    qn_slices_write_json(&slices, &w);
    assert_ok(qn_json_read(qn_buf_view(&text), NULL, &f->arena, &read, &f->err), &f->err);
    qn_json first = qn_json_at(&read, 0);
    assert_ok(qn_json_get_i64(&first, "rows", true, &rows, &f->err), &f->err);
    assert_ok(qn_json_get_f64(&first, "accuracy", true, &value, &f->err), &f->err);
    assert_true(rows == slices.items[0].rows && value == slices.items[0].value);
    qn_buf_deinit(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_show_the_worst_level_first),
        cmocka_unit_test(slices_follow_the_given_rows),
        cmocka_unit_test(slices_are_written_with_their_metric),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
