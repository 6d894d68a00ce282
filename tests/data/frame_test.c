/*
 * Frames, level sets and dates.
 */
#include "testing.h"

#include <math.h>
#include <stdio.h>

#include "data/dates.h"
#include "data/frame.h"
#include "data/levels.h"

static void frame_holds_cells_and_says_where_they_are(void **state)
{
    (void)state;
    qn_arena arena;
    qn_frame frame, slice;
    qn_error err = {0};
    char where[160], text[32];
    qn_arena_init(&arena, 0);
    assert_ok(qn_frame_init(&frame, &arena, 2, 3, &err), &err);
    double *age = qn_frame_numbers(&frame, QN_STR("age"), &arena);
    qn_str *city = qn_frame_strings(&frame, QN_STR("city"), &arena);
    assert_null(qn_frame_strings(&frame, QN_STR("more"), &arena));
    for (int i = 0; i < 3; i++) {
        age[i] = 30 + i;
        city[i] = QN_STR("Oslo");
    }
    age[1] = NAN;
    assert_true(qn_column_set_missing(&frame.columns[1], 2, 3, &arena));
    assert_true(qn_column_missing(&frame.columns[0], 1));
    assert_false(qn_column_missing(&frame.columns[1], 1));
    assert_true(qn_column_missing(&frame.columns[1], 2));
    assert_true(qn_str_is(qn_column_text(&frame.columns[0], 2, text), "32"));
    qn_frame_where(&frame, &frame.columns[1], 2, where);
    assert_string_equal(where, "instance 2, column 'city'");
    qn_frame_part parts[] = {{"a.csv", 0, 2}, {"b.csv", 2, 1}};
    frame.parts = parts;
    frame.parts_count = 2;
    qn_frame_where(&frame, &frame.columns[1], 1, where);
    assert_string_equal(where, "a.csv, row 3, column 2 'city'");
    assert_ok(qn_frame_rows(&frame, 1, 2, &arena, &slice, &err), &err);
    assert_true(qn_column_missing(&slice.columns[0], 0));
    qn_frame_where(&slice, &slice.columns[1], 1, where);
    assert_string_equal(where, "b.csv, row 1, column 2 'city'");
    qn_arena_deinit(&arena);
}

static void frame_reads_booleans_as_words(void **state)
{
    (void)state;
    double values[] = {1, 0};
    qn_column column = {.kind = QN_COLUMN_NUMBER, .boolean = true, .numbers = values};
    char text[32];
    assert_true(qn_str_is(qn_column_text(&column, 0, text), "true"));
    assert_true(qn_str_is(qn_column_text(&column, 1, text), "false"));
}

static void levels_count_and_find(void **state)
{
    (void)state;
    qn_arena arena;
    qn_levels levels;
    qn_arena_init(&arena, 0);
    qn_levels_init(&levels, &arena);
    assert_int_equal(qn_levels_find(&levels, QN_STR("0")), -1);
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 1000; i++) {
            const char *text = qn_arena_printf(&arena, "level %d", i);
            assert_int_equal(qn_levels_add(&levels, qn_str_from(text), 1), i);
        }
    assert_int_equal(levels.count, 1000);
    assert_int_equal(levels.counts[999], 2);
    assert_int_equal(qn_levels_find(&levels, QN_STR("level 500")), 500);
    assert_int_equal(qn_levels_find(&levels, QN_STR("level 1000")), -1);
    qn_arena_deinit(&arena);
}

static void dates_read_what_people_write(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        qn_date_order order;
        double seconds; /* -1 = refused */
    } cases[] = {
        {"1970-01-01", QN_DATE_ISO, 0},
        {"2000-02-29", QN_DATE_ISO, 951782400},
        {"2001-02-29", QN_DATE_ISO, -1},
        {"2026/1/31", QN_DATE_ISO, 1769817600},
        {"2026-01-31T12:30:15.5Z", QN_DATE_ISO, 1769862615.5},
        {"2026-01-31 12:30+01:00", QN_DATE_ISO, 1769859000},
        {"2026-01/31", QN_DATE_ISO, -1},
        {"2026-13-01", QN_DATE_ISO, -1},
        {"2026-01-31 25:00", QN_DATE_ISO, -1},
        {"2026-01-31 12:30 pm", QN_DATE_ISO, -1},
        {"31.01.2026", QN_DATE_DAY_FIRST, 1769817600},
        {"31/01/2026", QN_DATE_MONTH_FIRST, -1},
        {"01/31/2026", QN_DATE_MONTH_FIRST, 1769817600},
        {"20260131", QN_DATE_ISO, -1},
        {"yesterday", QN_DATE_ISO, -1},
        {"", QN_DATE_ISO, -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        double seconds = -1;
        bool read = qn_date_parse(qn_str_from(cases[i].text), cases[i].order, &seconds);
        if (read != (cases[i].seconds >= 0) || (read && seconds != cases[i].seconds))
            fail_msg("'%s': %d %.1f", cases[i].text, read, seconds);
    }
}

static void dates_split_every_day_of_four_centuries(void **state)
{
    (void)state;
    int weekday = 5; /* 1800-01-01 was a Wednesday: stepped below */
    double seconds;
    assert_true(qn_date_parse(QN_STR("1800-01-01"), QN_DATE_ISO, &seconds));
    qn_date_parts before = qn_date_split(seconds);
    assert_int_equal(before.weekday, 2);
    weekday = before.weekday;
    for (int day = 1; day < 146097; day++) {
        qn_date_parts parts = qn_date_split(seconds + day * 86400.0);
        char text[32];
        double back;
        weekday = (weekday + 1) % 7;
        assert_int_equal(parts.weekday, weekday);
        snprintf(text, sizeof text, "%04d-%02d-%02d", parts.year, parts.month, parts.day);
        assert_true(qn_date_parse(qn_str_from(text), QN_DATE_ISO, &back));
        assert_true(back == seconds + day * 86400.0);
    }
    assert_near(qn_date_split(3600 * 30.5).hour, 6.5, 1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frame_holds_cells_and_says_where_they_are),
        cmocka_unit_test(frame_reads_booleans_as_words),
        cmocka_unit_test(levels_count_and_find),
        cmocka_unit_test(dates_read_what_people_write),
        cmocka_unit_test(dates_split_every_day_of_four_centuries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
