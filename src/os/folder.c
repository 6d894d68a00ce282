/*
 * Folders: make with parents, list, remove, rename, and make such changes durable. Removal walks by
 * file descriptors and follows no link, so that nothing outside the folder can be reached.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "os/file.h"

enum { PATH_BYTES = 4096, DEPTH_MAX = 64 };

static qn_status fail_path(qn_error *err, const char *path, const char *what)
{
    int code = errno;
    qn_status status = code == ENOENT ? QN_ERR_NOT_FOUND : QN_ERR_IO;
    return qn_error_set_os(err, status, code, NULL, "cannot %s %s", what, path);
}

qn_status qn_folder_make(const char *path, qn_error *err)
{
    char partial[PATH_BYTES];
    size_t size = strlen(path);
    if (size == 0 || size >= sizeof partial)
        QN_FAIL(err, QN_ERR_ARG, "a folder path of %zu bytes; expected 1 to %d", size,
                PATH_BYTES - 1);
    memcpy(partial, path, size + 1);
    for (char *slash = strchr(partial + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(partial, 0777) != 0 && errno != EEXIST)
            return fail_path(err, partial, "make the folder");
        *slash = '/';
    }
    if (mkdir(partial, 0777) != 0 && errno != EEXIST)
        return fail_path(err, path, "make the folder");
    if (!qn_path_is_folder(path)) {
        errno = ENOTDIR;
        return fail_path(err, path, "make the folder");
    }
    return QN_OK;
}

qn_status qn_folder_check_room(const char *path, int64_t *ret_free, qn_error *err)
{
    char at[PATH_BYTES];
    struct stat info;
    size_t size = strlen(path);
    if (size == 0 || size >= sizeof at)
        QN_FAIL(err, QN_ERR_ARG, "a folder path of %zu bytes; expected 1 to %d", size,
                PATH_BYTES - 1);
    memcpy(at, path, size + 1);
    while (stat(at, &info) != 0 && errno == ENOENT) { /* up to the nearest that is there */
        char *slash = strrchr(at, '/');
        if (!slash)
            snprintf(at, sizeof at, ".");
        else
            slash[slash == at] = '\0';
    }
    errno = ENOTDIR;
    if (!qn_path_is_folder(at) || access(at, W_OK | X_OK) != 0)
        return fail_path(err, path, "write into the folder");
    return qn_disk_free(at, ret_free, err);
}

static bool is_dots(const char *name)
{
    return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

/* Removes what is in the folder `fd` (which is closed here); false with errno on the first failure.
 */
static bool remove_inside(int fd, int depth)
{
    DIR *folder = depth < DEPTH_MAX ? fdopendir(fd) : NULL;
    if (!folder) {
        int code = depth < DEPTH_MAX ? errno : ELOOP;
        close(fd);
        errno = code;
        return false;
    }
    bool removed = true;
    for (struct dirent *entry; removed && (entry = readdir(folder)) != NULL;) {
        if (is_dots(entry->d_name) || unlinkat(fd, entry->d_name, 0) == 0)
            continue;
        int inner = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        removed = inner >= 0 && remove_inside(inner, depth + 1) &&
                  unlinkat(fd, entry->d_name, AT_REMOVEDIR) == 0;
    }
    int code = errno;
    closedir(folder);
    errno = code;
    return removed;
}

qn_status qn_folder_remove(const char *path, qn_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return fail_path(err, path, "remove");
    if (!remove_inside(fd, 0) || rmdir(path) != 0)
        return fail_path(err, path, "remove");
    return QN_OK;
}

/* Some file systems cannot sync folders (EINVAL): there is nothing more to do then. */
qn_status qn_folder_sync(const char *path, qn_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail_path(err, path, "open the folder");
    bool synced = fsync(fd) == 0 || errno == EINVAL;
    qn_status status = synced ? QN_OK : fail_path(err, path, "sync the folder");
    close(fd);
    return status;
}

qn_status qn_folder_rename(const char *from, const char *to, qn_error *err)
{
    char parent[PATH_BYTES];
    const char *slash = strrchr(to, '/');
    size_t length = slash ? (size_t)(slash - to) : 0;
    if (length >= sizeof parent)
        QN_FAIL(err, QN_ERR_ARG, "the path %.60s... is longer than %d bytes", to, PATH_BYTES - 1);
    if (rename(from, to) != 0)
        return qn_error_set_os(err, errno == ENOENT ? QN_ERR_NOT_FOUND : QN_ERR_IO, errno, NULL,
                               "cannot rename %s to %s", from, to);
    if (!slash)
        return qn_folder_sync(".", err);
    snprintf(parent, sizeof parent, "%.*s", length ? (int)length : 1, to);
    return qn_folder_sync(parent, err);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names are gathered in a linked list first: their number is known only at the end. */
typedef struct name_link {
    struct name_link *next;
    char *name;
} name_link;

static qn_status gather(DIR *folder, const char *path, qn_arena *arena, name_link **ret_first,
                        int64_t *ret_count, qn_error *err)
{
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(folder);
        if (!entry)
            return errno ? fail_path(err, path, "list") : QN_OK;
        if (is_dots(entry->d_name))
            continue;
        name_link *link = QN_NEW(arena, name_link, 1);
        char *name = qn_arena_strndup(arena, entry->d_name, strlen(entry->d_name));
        if (!link || !name)
            QN_FAIL(err, QN_ERR_MEMORY, "no memory to list %s", path);
        *link = (name_link){.next = *ret_first, .name = name};
        *ret_first = link;
        ++*ret_count;
    }
}

qn_status qn_folder_list(const char *path, qn_arena *arena, char ***ret_names, int64_t *ret_count,
                         qn_error *err)
{
    DIR *folder = opendir(path);
    if (!folder)
        return fail_path(err, path, "list");
    name_link *first = NULL;
    int64_t count = 0;
    qn_status status = gather(folder, path, arena, &first, &count, err);
    closedir(folder);
    if (status != QN_OK)
        return status;
    char **names = QN_NEW(arena, char *, count);
    if (!names)
        QN_FAIL(err, QN_ERR_MEMORY, "no memory to list %s", path);
    for (int64_t i = 0; i < count; i++, first = first->next)
        names[i] = first->name;
    if (count > 1)
        qsort(names, (size_t)count, sizeof *names, compare_names);
    *ret_names = names;
    *ret_count = count;
    return QN_OK;
}

qn_status qn_disk_free(const char *path, int64_t *ret_bytes, qn_error *err)
{
    struct statvfs info;
    if (statvfs(path, &info) != 0)
        return fail_path(err, path, "ask for the free space of");
    *ret_bytes = (int64_t)(info.f_bavail * info.f_frsize);
    return QN_OK;
}
