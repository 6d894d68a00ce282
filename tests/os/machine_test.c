/* Clocks, memory readings, CPU levels and the terminal. */
#include "testing.h"

#include <fcntl.h>
#include <unistd.h>

#include "os/clock.h"
#include "os/cpu.h"
#include "os/term.h"

static void clocks_go_forward(void **state)
{
    (void)state;
    int64_t start_ns = qn_now_ns();
    int64_t cpu_ns = qn_cpu_time_ns();
    volatile double work = 0;
    for (int i = 0; i < 100000; i++)
        work = work + i;
    assert_true(qn_now_ns() > start_ns);
    assert_true(qn_cpu_time_ns() > cpu_ns);
    assert_true(qn_wall_s() > 1700000000);
    char text[32];
    qn_wall_text(1769860800, text);
    assert_string_equal(text, "2026-01-31T12:00:00Z");
}

static void memory_is_read(void **state)
{
    (void)state;
    assert_true(qn_rss_bytes() > 100000);
    assert_true(qn_rss_peak_bytes() > 100000);
    assert_true(qn_memory_available_bytes() > 0);
}

static void cpu_level_is_limited_never_raised(void **state)
{
    (void)state;
    qn_cpu_level_id machine = qn_cpu_limit(QN_CPU_LEVELS - 1);
    assert_int_equal(qn_cpu_level(), machine);
    assert_int_equal(qn_cpu_limit(QN_CPU_PORTABLE), QN_CPU_PORTABLE);
    assert_int_equal(qn_cpu_level(), QN_CPU_PORTABLE);
    char text[200];
    qn_cpu_describe(text, sizeof text);
    assert_non_null(strstr(text, "granted"));
    if (machine != QN_CPU_PORTABLE)
        assert_non_null(strstr(text, "limited to portable"));
    assert_string_equal(qn_cpu_level_name(QN_CPU_AVX2), "avx2");
    qn_cpu_limit(machine);
}

static void terminal_is_none_for_a_file(void **state)
{
    (void)state;
    int fd = open("/dev/null", O_WRONLY);
    assert_false(qn_term_is(fd));
    assert_false(qn_term_colour(fd));
    assert_int_equal(qn_term_columns(fd), 80);
    close(fd);
}

static void live_line_is_cut_to_the_width(void **state)
{
    (void)state;
    int ends[2];
    char line[400];
    char got[500];
    assert_int_equal(pipe(ends), 0);
    for (size_t i = 0; i + 2 < sizeof line; i += 2)
        memcpy(line + i, "\xC3\xA9", 3);
    qn_term_live(ends[1], line);
    qn_term_live_end(ends[1]);
    ssize_t size = read(ends[0], got, sizeof got);
    assert_int_equal(size, 1 + 79 * 2 + 3 + 4);
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clocks_go_forward),
        cmocka_unit_test(memory_is_read),
        cmocka_unit_test(cpu_level_is_limited_never_raised),
        cmocka_unit_test(terminal_is_none_for_a_file),
        cmocka_unit_test(live_line_is_cut_to_the_width),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
