/*
 * The programs of examples/ as a user runs them: what they print, how long the first one takes, and what
 * the second one says of data that has the wrong shape.
 */
#include "testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "os/clock.h"
#include "os/file.h"

static char folder[64];

static int setup(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/quern-examples-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    (void)!qn_folder_remove(folder, NULL);
    return 0;
}

/* Runs a program of the build folder in the test's own folder; its output (both streams) and code. */
static int run(const char *command, char *dst, size_t size)
{
    char line[512];
    (void)snprintf(line, sizeof line, "cd %s && %s/examples/%s 2>&1", folder, QN_TEST_BUILD_ROOT,
                   command);
    FILE *pipe = popen(line, "r");
    assert_non_null(pipe);
    size_t count = fread(dst, 1, size - 1, pipe);
    dst[count] = '\0';
    int code = pclose(pipe);
    return WIFEXITED(code) ? WEXITSTATUS(code) : -1;
}

static void linear_prints_about_five_and_six(void **state)
{
    (void)state;
    char text[256];
    double first, second;
    assert_int_equal(run("linear", text, sizeof text), 0);
    assert_int_equal(sscanf(text, "%lf %lf", &first, &second), 2);
    assert_near(first, 5, 0.05);
    assert_near(second, 6, 0.05);
}

static void linear_takes_milliseconds(void **state)
{
    (void)state;
    char text[256];
    int64_t best_ns = INT64_MAX;
    for (int i = 0; i < 10; i++) {
        int64_t begin = qn_now_ns();
        assert_int_equal(run("linear", text, sizeof text), 0);
        int64_t taken = qn_now_ns() - begin;
        best_ns = taken < best_ns ? taken : best_ns;
    }
    assert_true(best_ns < 200000000); /* 2 ms alone; the shell and sanitizers take the rest */
}

static void big_endian(uint8_t *dst, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        dst[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* An IDX file of `rank` dimensions, values 0, 1, 2, ... modulo `modulo`. */
static void write_idx(const char *name, int rank, const uint32_t *dims, int modulo)
{
    static uint8_t bytes[65536];
    char path[128];
    size_t size = 4;
    size_t count = 1;
    bytes[0] = bytes[1] = 0;
    bytes[2] = 8;
    bytes[3] = (uint8_t)rank;
    for (int i = 0; i < rank; i++, size += 4) {
        big_endian(bytes + size, dims[i]);
        count *= dims[i];
    }
    assert_true(size + count <= sizeof bytes);
    for (size_t i = 0; i < count; i++)
        bytes[size + i] = (uint8_t)(i % (size_t)modulo);
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(qn_file_replace(path, bytes, size + count, NULL), QN_OK);
}

static void write_set(uint32_t side)
{
    const uint32_t images[3] = {20, side, side}, labels[1] = {20};
    write_idx("train-images-idx3-ubyte", 3, images, 251);
    write_idx("train-labels-idx1-ubyte", 1, labels, 10);
    write_idx("t10k-images-idx3-ubyte", 3, images, 251);
    write_idx("t10k-labels-idx1-ubyte", 1, labels, 10);
}

static void mnist_cnn_trains_saves_and_asks(void **state)
{
    (void)state;
    char text[2048];
    write_set(28);
    assert_int_equal(run("mnist_cnn . 2", text, sizeof text), 0);
    assert_non_null(strstr(text, "epoch 2 of 2"));
    assert_non_null(strstr(text, "test: loss"));
    assert_non_null(strstr(text, "test image 4:"));
}

static void mnist_cnn_names_the_wrong_dimension(void **state)
{
    (void)state;
    char text[2048];
    write_set(14);
    assert_int_equal(run("mnist_cnn . 1", text, sizeof text), 1);
    assert_non_null(strstr(text, "dimension 1 of 14 where 28 is expected"));
    assert_non_null(strstr(text, "[14, 14, 1]"));
}

/* 20 kB of a sentence, learned and gone on from. */
static void char_lm_learns_and_writes_on(void **state)
{
    (void)state;
    static const char sentence[] = "the mill turns, and the flour falls.\n";
    static char text[20000];
    char path[128], printed[4096];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = sentence[i % (sizeof sentence - 1)];
    (void)snprintf(path, sizeof path, "%s/mill.txt", folder);
    assert_int_equal(qn_file_replace(path, text, sizeof text, NULL), QN_OK);
    assert_int_equal(run("char_lm mill.txt 100 the", printed, sizeof printed), 0);
    assert_non_null(strstr(printed, "step 100 of 100"));
    assert_non_null(strstr(printed, "\nthe mill turns, and the flour falls."));
    assert_int_equal(run("char_lm nothing.txt", printed, sizeof printed), 2);
    assert_non_null(strstr(printed, "cannot read nothing.txt"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_prints_about_five_and_six),
        cmocka_unit_test(linear_takes_milliseconds),
        cmocka_unit_test(mnist_cnn_trains_saves_and_asks),
        cmocka_unit_test(mnist_cnn_names_the_wrong_dimension),
        cmocka_unit_test(char_lm_learns_and_writes_on),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
