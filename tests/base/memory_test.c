/* Allocation with fault injection, arenas, buffers and checked sizes. */
#include "testing.h"

#include "base/alloc.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/checked.h"

static void alloc_fails_exactly_the_kth_call(void **state)
{
    (void)state;
    qn_alloc_fail_at(2);
    void *first = qn_alloc(8);
    void *second = qn_alloc(8);
    void *third = qn_alloc(8);
    assert_non_null(first);
    assert_null(second);
    assert_non_null(third);
    qn_free(first);
    qn_free(third);
    qn_alloc_fail_at(0);
}

static void alloc_rejects_overflow_and_gives_memory_for_zero(void **state)
{
    (void)state;
    assert_null(qn_alloc_zero(INT64_MAX, 16));
    assert_null(qn_alloc_zero(-1, 16));
    void *nothing = qn_alloc(0);
    assert_non_null(nothing);
    qn_free(nothing);
    void *aligned = qn_alloc_aligned(100, 64);
    assert_int_equal((uintptr_t)aligned % 64, 0);
    qn_free(aligned);
    char *copy = qn_strdup("abc");
    assert_string_equal(copy, "abc");
    qn_free(copy);
}

static void arena_aligns_and_keeps_contents(void **state)
{
    (void)state;
    qn_arena arena;
    qn_arena_init(&arena, 0);
    char *texts[200];
    for (int i = 0; i < 200; i++) {
        texts[i] = qn_arena_printf(&arena, "number %d", i);
        assert_int_equal((uintptr_t)texts[i] % 16, 0);
    }
    double *numbers = QN_NEW(&arena, double, 100000);
    assert_non_null(numbers);
    assert_true(numbers[99999] == 0);
    void *wide = qn_arena_alloc_aligned(&arena, 3, 4096);
    assert_int_equal((uintptr_t)wide % 4096, 0);
    assert_string_equal(texts[0], "number 0");
    assert_string_equal(texts[199], "number 199");
    assert_string_equal(qn_arena_strndup(&arena, "abcdef", 3), "abc");
    assert_string_equal(qn_arena_strndup(&arena, NULL, 0), "");
    qn_arena_deinit(&arena);
}

static void arena_reset_allocates_nothing_for_a_steady_user(void **state)
{
    (void)state;
    qn_arena arena;
    qn_arena_init(&arena, 0);
    for (int round = 0; round < 3; round++) {
        int64_t before = qn_alloc_count();
        for (int i = 0; i < 1000; i++)
            assert_non_null(qn_arena_alloc(&arena, 100));
        qn_arena_reset(&arena);
        assert_int_equal(arena.used_bytes, 0);
        if (round == 2)
            assert_int_equal(qn_alloc_count(), before);
    }
    qn_arena_deinit(&arena);
}

static void arena_keeps_its_limit(void **state)
{
    (void)state;
    qn_arena arena;
    qn_arena_init(&arena, 1000);
    assert_non_null(qn_arena_alloc(&arena, 900));
    assert_null(qn_arena_alloc(&arena, 200));
    assert_non_null(qn_arena_alloc(&arena, 50));
    assert_null(qn_arena_alloc(&arena, SIZE_MAX - 4));
    assert_null(qn_arena_zero(&arena, INT64_MAX, 8));
    assert_null(qn_arena_zero(&arena, -1, 8));
    qn_arena_deinit(&arena);
}

static void arena_survives_failed_allocation(void **state)
{
    (void)state;
    qn_arena arena;
    qn_arena_init(&arena, 0);
    qn_alloc_fail_at(1);
    assert_null(qn_arena_alloc(&arena, 10));
    assert_non_null(qn_arena_alloc(&arena, 10));
    qn_alloc_fail_at(0);
    qn_arena_deinit(&arena);
}

static void buf_grows_and_prints(void **state)
{
    (void)state;
    qn_buf buf;
    qn_buf_init(&buf, 0);
    for (int i = 0; i < 1000; i++)
        qn_buf_printf(&buf, "%d,", i);
    qn_buf_byte(&buf, '!');
    qn_buf_text(&buf, "end");
    qn_buf_str(&buf, QN_STR("."));
    assert_false(buf.failed);
    assert_int_equal(buf.size, 3895);
    assert_true(qn_str_starts(qn_buf_view(&buf), "0,1,2,3"));
    assert_true(qn_str_ends(qn_buf_view(&buf), "999,!end."));
    qn_buf_consume(&buf, 4);
    assert_true(qn_str_starts(qn_buf_view(&buf), "2,3"));
    qn_buf_consume(&buf, 100000);
    assert_int_equal(buf.size, 0);
    qn_buf_deinit(&buf);
}

static void buf_first_failure_sticks(void **state)
{
    (void)state;
    qn_buf buf;
    qn_buf_init(&buf, 10);
    qn_buf_text(&buf, "12345678");
    qn_buf_text(&buf, "abc");
    assert_true(buf.failed);
    qn_buf_text(&buf, "x");
    assert_int_equal(buf.size, 8);
    qn_buf_reset(&buf);
    qn_buf_text(&buf, "1234567890");
    assert_false(buf.failed);
    assert_int_equal(buf.size, 10);
    qn_buf_reset(&buf);
    assert_null(qn_buf_reserve(&buf, SIZE_MAX));
    qn_buf_deinit(&buf);
    qn_buf_init(&buf, 0);
    qn_alloc_fail_at(1);
    qn_buf_byte(&buf, 'x');
    assert_true(buf.failed);
    qn_alloc_fail_at(0);
    qn_buf_deinit(&buf);
}

static void checked_sizes_reject_overflow(void **state)
{
    (void)state;
    int64_t value = 7;
    size_t size = 7;
    assert_false(qn_mul_i64(INT64_MAX, 2, &value));
    assert_false(qn_add_i64(INT64_MAX, 1, &value));
    assert_int_equal(value, 7);
    assert_true(qn_mul_i64(6, 7, &value));
    assert_int_equal(value, 42);
    assert_false(qn_mul_size(SIZE_MAX, 2, &size));
    assert_false(qn_add_size(SIZE_MAX, 1, &size));
    assert_int_equal(size, 7);
    assert_int_equal(qn_min_i64(-1, 2), -1);
    assert_int_equal(qn_max_i64(-1, 2), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(alloc_fails_exactly_the_kth_call),
        cmocka_unit_test(alloc_rejects_overflow_and_gives_memory_for_zero),
        cmocka_unit_test(arena_aligns_and_keeps_contents),
        cmocka_unit_test(arena_reset_allocates_nothing_for_a_steady_user),
        cmocka_unit_test(arena_keeps_its_limit),
        cmocka_unit_test(arena_survives_failed_allocation),
        cmocka_unit_test(buf_grows_and_prints),
        cmocka_unit_test(buf_first_failure_sticks),
        cmocka_unit_test(checked_sizes_reject_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
