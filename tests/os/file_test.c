/* Files and folders, in a temporary folder of each test's own. */
#include "testing.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/file.h"

typedef struct {
    qn_arena arena;
    qn_error err;
    char root[64];
} fixture;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    qn_arena_init(&f->arena, 0);
    snprintf(f->root, sizeof f->root, "/tmp/quern-test-XXXXXX");
    *state = f;
    return mkdtemp(f->root) ? 0 : -1;
}

static int teardown(void **state)
{
    fixture *f = *state;
    qn_status removed = qn_folder_remove(f->root, NULL);
    qn_arena_deinit(&f->arena);
    free(f);
    return removed == QN_OK ? 0 : -1;
}

static const char *in_root(fixture *f, const char *name)
{
    return qn_path_join(&f->arena, f->root, name);
}

static void file_is_replaced_whole(void **state)
{
    fixture *f = *state;
    const char *path = in_root(f, "a.txt");
    qn_str text;
    assert_ok(qn_file_replace(path, "one", 3, &f->err), &f->err);
    assert_int_equal(chmod(path, 0600), 0);
    assert_ok(qn_file_replace(path, "second", 6, &f->err), &f->err);
    assert_ok(qn_file_read(path, 0, &f->arena, &text, &f->err), &f->err);
    assert_true(qn_str_is(text, "second"));
    assert_int_equal(text.data[text.size], 0);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    char **names;
    int64_t count;
    assert_ok(qn_folder_list(f->root, &f->arena, &names, &count, &f->err), &f->err);
    assert_int_equal(count, 1);
}

/* A file size limit of the process stands for a full disk. */
static void failed_replacement_keeps_the_old_file_and_no_rest(void **state)
{
    fixture *f = *state;
    const char *path = in_root(f, "a.txt");
    static char big[100000];
    struct rlimit old;
    qn_str text;
    assert_ok(qn_file_replace(path, "old", 3, &f->err), &f->err);
    getrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &(struct rlimit){1000, old.rlim_max});
    qn_status status = qn_file_replace(path, big, sizeof big, &f->err);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(status, QN_ERR_IO);
    assert_text(&f->err, path);
    assert_true(f->err.os_errno != 0);
    assert_ok(qn_file_read(path, 0, &f->arena, &text, &f->err), &f->err);
    assert_true(qn_str_is(text, "old"));
    char **names;
    int64_t count;
    assert_ok(qn_folder_list(f->root, &f->arena, &names, &count, &f->err), &f->err);
    assert_int_equal(count, 1);
}

static void reading_names_path_and_reason(void **state)
{
    fixture *f = *state;
    qn_map map;
    qn_str text;
    assert_int_equal(qn_map_open(in_root(f, "none"), &map, &f->err), QN_ERR_NOT_FOUND);
    assert_text(&f->err, "none: No such file");
    assert_int_equal(qn_map_open(f->root, &map, &f->err), QN_ERR_IO);
    assert_text(&f->err, "Is a directory");
    assert_int_equal(qn_file_replace(in_root(f, "no/such"), "x", 1, &f->err), QN_ERR_NOT_FOUND);
    assert_ok(qn_file_replace(in_root(f, "ten"), "0123456789", 10, &f->err), &f->err);
    assert_int_equal(qn_file_read(in_root(f, "ten"), 9, &f->arena, &text, &f->err), QN_ERR_BUDGET);
    assert_ok(qn_file_read(in_root(f, "ten"), 10, &f->arena, &text, &f->err), &f->err);
}

static void map_shows_the_file_and_an_empty_one(void **state)
{
    fixture *f = *state;
    qn_map map;
    assert_ok(qn_file_replace(in_root(f, "a"), "abc", 3, &f->err), &f->err);
    assert_ok(qn_map_open(in_root(f, "a"), &map, &f->err), &f->err);
    assert_int_equal(map.size, 3);
    assert_memory_equal(map.data, "abc", 3);
    qn_map_close(&map);
    assert_ok(qn_file_replace(in_root(f, "empty"), NULL, 0, &f->err), &f->err);
    assert_ok(qn_map_open(in_root(f, "empty"), &map, &f->err), &f->err);
    assert_int_equal(map.size, 0);
    qn_map_close(&map);
}

static void folders_are_made_listed_renamed_and_removed(void **state)
{
    fixture *f = *state;
    char **names;
    int64_t count;
    int64_t bytes;
    assert_ok(qn_folder_make(in_root(f, "x/y/z"), &f->err), &f->err);
    assert_ok(qn_folder_make(in_root(f, "x/y/z"), &f->err), &f->err);
    assert_ok(qn_file_replace(in_root(f, "x/b"), "1", 1, &f->err), &f->err);
    assert_int_equal(qn_folder_make(in_root(f, "x/b/c"), &f->err), QN_ERR_IO);
    assert_int_equal(qn_folder_make(in_root(f, "x/b"), &f->err), QN_ERR_IO);
    assert_int_equal(qn_folder_make("", &f->err), QN_ERR_ARG);
    assert_ok(qn_folder_rename(in_root(f, "x/y"), in_root(f, "x/a"), &f->err), &f->err);
    assert_ok(qn_folder_list(in_root(f, "x"), &f->arena, &names, &count, &f->err), &f->err);
    assert_int_equal(count, 2);
    assert_string_equal(names[0], "a");
    assert_string_equal(names[1], "b");
    assert_true(qn_path_is_folder(in_root(f, "x/a")));
    assert_false(qn_path_is_folder(in_root(f, "x/b")));
    assert_true(qn_path_exists(in_root(f, "x/b")));
    assert_ok(qn_disk_free(f->root, &bytes, &f->err), &f->err);
    assert_true(bytes > 0);
    assert_int_equal(qn_folder_remove(in_root(f, "none"), &f->err), QN_ERR_NOT_FOUND);
    assert_int_equal(qn_folder_list(in_root(f, "none"), &f->arena, &names, &count, &f->err),
                     QN_ERR_NOT_FOUND);
}

static void removal_follows_no_link(void **state)
{
    fixture *f = *state;
    assert_ok(qn_folder_make(in_root(f, "keep"), &f->err), &f->err);
    assert_ok(qn_file_replace(in_root(f, "keep/file"), "1", 1, &f->err), &f->err);
    assert_ok(qn_folder_make(in_root(f, "gone"), &f->err), &f->err);
    assert_int_equal(symlink(in_root(f, "keep"), in_root(f, "gone/link")), 0);
    assert_ok(qn_folder_remove(in_root(f, "gone"), &f->err), &f->err);
    assert_true(qn_path_exists(in_root(f, "keep/file")));
    assert_int_equal(symlink(in_root(f, "keep"), in_root(f, "link")), 0);
    assert_int_equal(qn_folder_remove(in_root(f, "link"), &f->err), QN_ERR_IO);
    assert_true(qn_path_exists(in_root(f, "keep/file")));
}

static void paths_join(void **state)
{
    fixture *f = *state;
    assert_string_equal(qn_path_join(&f->arena, "a", "b"), "a/b");
    assert_string_equal(qn_path_join(&f->arena, "a/", "b"), "a/b");
    assert_string_equal(qn_path_join(&f->arena, "", "b"), "b");
    assert_string_equal(qn_path_join(&f->arena, "a", "/b"), "/b");
}

static void replace_follows_links_and_writes_to_devices(void **state)
{
    fixture *f = *state;
    struct stat info;
    qn_str text;
    const char *file = qn_path_join(&f->arena, f->root, "file");
    const char *link_path = qn_path_join(&f->arena, f->root, "link");
    const char *pipe_path = qn_path_join(&f->arena, f->root, "pipe");
    assert_ok(qn_file_replace(file, "old", 3, &f->err), &f->err);
    assert_int_equal(symlink("file", link_path), 0);
    assert_ok(qn_file_replace(link_path, "new", 3, &f->err), &f->err);
    assert_int_equal(lstat(link_path, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_ok(qn_file_read(file, 0, &f->arena, &text, &f->err), &f->err);
    assert_true(qn_str_is(text, "new"));
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    int fd = open(pipe_path, O_RDONLY | O_NONBLOCK);
    char got[8] = "";
    assert_ok(qn_file_replace(pipe_path, "through", 7, &f->err), &f->err);
    assert_int_equal(read(fd, got, sizeof got), 7);
    assert_string_equal(got, "through");
    close(fd);
    assert_int_equal(lstat(pipe_path, &info), 0);
    assert_true(S_ISFIFO(info.st_mode));
}

static void room_is_looked_for_without_making_anything(void **state)
{
    fixture *f = *state;
    int64_t room = 0;
    const char *deep = qn_path_join(&f->arena, f->root, "a/b/c");
    assert_ok(qn_folder_check_room(deep, &room, &f->err), &f->err);
    assert_true(room > 0);
    assert_false(qn_path_exists(qn_path_join(&f->arena, f->root, "a")));
    assert_ok(qn_folder_check_room("models/x", &room, &f->err), &f->err);
    assert_ok(qn_folder_check_room("/quern-nowhere", &room, &f->err), &f->err);
    const char *file = qn_path_join(&f->arena, f->root, "file");
    assert_ok(qn_file_replace(file, "x", 1, &f->err), &f->err);
    assert_int_not_equal(qn_folder_check_room(file, &room, &f->err), QN_OK);
    assert_int_not_equal(
        qn_folder_check_room(qn_path_join(&f->arena, f->root, "file/b"), &room, &f->err), QN_OK);
    assert_text(&f->err, "cannot write into the folder");
}

int main(void)
{
#define with_folder(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        with_folder(room_is_looked_for_without_making_anything),
        with_folder(replace_follows_links_and_writes_to_devices),
        with_folder(file_is_replaced_whole),
        with_folder(failed_replacement_keeps_the_old_file_and_no_rest),
        with_folder(reading_names_path_and_reason),
        with_folder(map_shows_the_file_and_an_empty_one),
        with_folder(folders_are_made_listed_renamed_and_removed),
        with_folder(removal_follows_no_link),
        with_folder(paths_join),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
