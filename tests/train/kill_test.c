/*
 * A run that is killed (SIGKILL) at random moments: whatever is on disk afterwards loads, the next run
 * goes on from it, and what comes out in the end is what an undisturbed run gives, bit for bit.
 */
#include "testing.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/rng.h"
#include "model/folder.h"
#include "model/recipe.h"
#include "os/file.h"
#include "train/fit.h"

enum { KILLS = 50, ROWS = 900 };

static char folder[64];
static char table[96];

static int setup(void **state)
{
    (void)state;
    qn_buf text;
    qn_rng rng = {.seed = 9};
    (void)snprintf(folder, sizeof folder, "/tmp/quern-kill-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    (void)snprintf(table, sizeof table, "%s/table.csv", folder);
    qn_buf_init(&text, 0);
    qn_buf_text(&text, "a,b,y\n");
    for (uint64_t row = 0; row < ROWS; row++) {
        double a = qn_rng_normal(rng, 3 * row), b = qn_rng_normal(rng, 3 * row + 1);
        qn_buf_printf(&text, "%.4f,%.4f,%.4f\n", a, b,
                      a * b + 0.1 * qn_rng_normal(rng, 3 * row + 2));
    }
    qn_status status = qn_file_replace(table, text.data, text.size, NULL);
    qn_buf_deinit(&text);
    return status == QN_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    (void)!qn_folder_remove(folder, NULL);
    return 0;
}

/* A checkpoint after every step. */
static qn_status train(const char *name, qn_error *err)
{
    qn_arena arena;
    qn_recipe recipe;
    qn_fit_result result;
    char text[512], out[128];
    (void)snprintf(text, sizeof text,
                   "quern: 1\ndata: {path: %s, target: y}\nsplit: {parts: [0.8, 0.1, 0.1]}\n"
                   "model: {type: mlp, hidden: [8]}\n"
                   "train: {epochs: 12, batch: 64, dropout: 0.1, early_stop: 0}\n",
                   table);
    (void)snprintf(out, sizeof out, "%s/%s", folder, name);
    qn_arena_init(&arena, 0);
    qn_status status =
        qn_recipe_parse(qn_str_from(text), "kill.yaml", NULL, 0, &arena, &recipe, err);
    if (status == QN_OK) {
        qn_fit_run_options options = {
            .out = out, .threads = 1, .resume = true, .checkpoint_every_s = 1e-9};
        status = qn_fit_run(&recipe, &options, &arena, &result, err);
    }
    qn_arena_deinit(&arena);
    return status;
}

/* Runs training in a child and kills it after `wait_us`. True = it had ended by itself, well. */
static bool train_and_kill(const char *name, int64_t wait_us)
{
    qn_error err = {0};
    int code = 0;
    (void)fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        _exit(train(name, &err) == QN_OK ? 0 : 1);
    (void)usleep((useconds_t)wait_us);
    (void)kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &code, 0), child);
    if (WIFSIGNALED(code))
        return false;
    assert_int_equal(WEXITSTATUS(code), 0); /* a resumed run must not fail */
    return true;
}

/* Every version there is reads and agrees with its digests. */
static int check_versions(const char *name)
{
    qn_arena arena;
    qn_error err;
    int64_t *versions, count = 0;
    qn_arena_init(&arena, 0);
    const char *path = qn_path_join(&arena, folder, name);
    if (qn_path_is_folder(path)) {
        assert_ok(qn_folder_versions(path, &arena, &versions, &count, &err), &err);
        for (int64_t i = 0; i < count; i++)
            assert_ok(qn_folder_verify(path, versions[i], &arena, &err), &err);
    }
    qn_arena_deinit(&arena);
    return (int)count;
}

static void assert_same_weights(const char *a, const char *b)
{
    qn_arena arena;
    qn_error err;
    qn_str left, right;
    qn_arena_init(&arena, 0);
    const char *first = qn_arena_printf(&arena, "%s/%s/1/model.safetensors", folder, a);
    const char *second = qn_arena_printf(&arena, "%s/%s/1/model.safetensors", folder, b);
    assert_ok(qn_file_read(first, 0, &arena, &left, &err), &err);
    assert_ok(qn_file_read(second, 0, &arena, &right, &err), &err);
    assert_int_equal(left.size, right.size);
    assert_memory_equal(left.data, right.data, left.size);
    qn_arena_deinit(&arena);
}

static void killed_fifty_times_is_the_same(void **state)
{
    (void)state;
    qn_error err;
    qn_rng rng = {.seed = 4};
    assert_ok(train("whole", &err), &err);
    for (uint64_t kills = 0; kills < KILLS; kills++) {
        (void)train_and_kill("killed", (int64_t)qn_rng_below(rng, kills, 60000));
        (void)check_versions("killed");
    }
    if (check_versions("killed") == 0)
        assert_ok(train("killed", &err), &err);
    assert_same_weights("whole", "killed");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(killed_fifty_times_is_the_same)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
