/*
 * Reading files whole or mapped, and replacing them atomically. Folders are in folder.c.
 */
#include "os/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READ_FIRST = 1 << 16 };

static qn_status fail_path(qn_error *err, const char *path, const char *what)
{
    int code = errno;
    qn_status status = code == ENOENT || code == ENOTDIR ? QN_ERR_NOT_FOUND : QN_ERR_IO;
    return qn_error_set_os(err, status, code, NULL, "cannot %s %s", what, path);
}

/* Opens a regular file; `ret_size` is its size now. */
static qn_status open_regular(const char *path, int *ret_fd, size_t *ret_size, qn_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a named pipe must not block here */
    struct stat info;
    if (fd < 0)
        return fail_path(err, path, "open");
    if (fstat(fd, &info) != 0) {
        close(fd);
        return fail_path(err, path, "read");
    }
    if (!S_ISREG(info.st_mode)) {
        close(fd);
        errno = S_ISDIR(info.st_mode) ? EISDIR : EINVAL;
        return fail_path(err, path, "read");
    }
    *ret_fd = fd;
    *ret_size = (size_t)info.st_size;
    return QN_OK;
}

qn_status qn_map_open(const char *path, qn_map *ret, qn_error *err)
{
    int fd = -1;
    size_t size = 0;
    QN_TRY(open_regular(path, &fd, &size, err));
    if (size == 0) {
        close(fd);
        *ret = (qn_map){0};
        return QN_OK;
    }
    void *map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    qn_status status = map == MAP_FAILED ? fail_path(err, path, "map") : QN_OK;
    close(fd);
    if (status == QN_OK)
        *ret = (qn_map){.data = map, .size = size, .map = map};
    return status;
}

void qn_map_close(qn_map *map)
{
    if (map->map)
        munmap(map->map, map->size);
    *map = (qn_map){0};
}

static qn_status fail_limit(qn_error *err, const char *path, size_t limit_bytes)
{
    return qn_error_set(err, QN_ERR_BUDGET, NULL, "%s is larger than the limit of %zu bytes", path,
                        limit_bytes);
}

/* Reads to the end into a buffer: for streams, whose size nobody knows. */
static qn_status read_stream(int fd, const char *path, size_t limit_bytes, qn_buf *buf,
                             qn_error *err)
{
    for (;;) {
        char *at = qn_buf_reserve(buf, READ_FIRST);
        if (!at)
            QN_FAIL(err, QN_ERR_MEMORY, "no memory to read %s", path);
        ssize_t got = read(fd, at, READ_FIRST);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_path(err, path, "read");
        if (got == 0)
            return QN_OK;
        buf->size += (size_t)got;
        if (limit_bytes && buf->size > limit_bytes)
            return fail_limit(err, path, limit_bytes);
    }
}

static qn_status read_whole_stream(int fd, const char *name, size_t limit_bytes, qn_arena *arena,
                                   qn_str *ret, qn_error *err)
{
    qn_buf buf;
    qn_buf_init(&buf, 0);
    qn_status status = read_stream(fd, name, limit_bytes, &buf, err);
    if (status == QN_OK) {
        char *text = qn_arena_strndup(arena, buf.data, buf.size);
        if (text)
            *ret = (qn_str){text, buf.size};
        else
            status = qn_error_set(err, QN_ERR_MEMORY, NULL, "no memory to read %s", name);
    }
    qn_buf_deinit(&buf);
    return status;
}

/* Reads exactly `size` bytes, or fewer when the file has become shorter meanwhile. */
static qn_status read_all(int fd, const char *path, char *dst, size_t size, size_t *ret_got,
                          qn_error *err)
{
    size_t done = 0;
    while (done < size) {
        ssize_t got = read(fd, dst + done, size - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_path(err, path, "read");
        if (got == 0)
            break;
        done += (size_t)got;
    }
    *ret_got = done;
    return QN_OK;
}

qn_status qn_file_read(const char *path, size_t limit_bytes, qn_arena *arena, qn_str *ret,
                       qn_error *err)
{
    if (strcmp(path, "-") == 0)
        return read_whole_stream(STDIN_FILENO, "standard input", limit_bytes, arena, ret, err);
    int fd = -1;
    size_t size = 0;
    size_t got = 0;
    QN_TRY(open_regular(path, &fd, &size, err));
    char *data = NULL;
    qn_status status = QN_OK;
    if (limit_bytes && size > limit_bytes)
        status = fail_limit(err, path, limit_bytes);
    else if (!(data = qn_arena_alloc(arena, size + 1)))
        status =
            qn_error_set(err, QN_ERR_MEMORY, NULL, "no memory for the %zu bytes of %s", size, path);
    else
        status = read_all(fd, path, data, size, &got, err);
    close(fd);
    if (status != QN_OK || !data)
        return status;
    data[got] = '\0';
    *ret = (qn_str){data, got};
    return QN_OK;
}

static bool write_all(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t put = write(fd, data, size);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return false;
        data += put;
        size -= (size_t)put;
    }
    return true;
}

/* The folder part of a path, "." without one. */
static qn_status folder_of(const char *path, char *dst, size_t size, qn_error *err)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    if (length + 2 > size)
        QN_FAIL(err, QN_ERR_ARG, "the path %.60s... is longer than %zu bytes", path, size);
    if (!slash)
        snprintf(dst, size, ".");
    else
        snprintf(dst, size, "%.*s", length ? (int)length : 1, path);
    return QN_OK;
}

/* Permissions that a plain open() would have given: the umask can only be read by setting it, so it
 * is taken from /proc. */
static mode_t default_mode(void)
{
    char line[256];
    mode_t mode = 0644;
    FILE *file = fopen("/proc/self/status", "re");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "Umask:", 6) == 0) {
            mode = 0666 & ~(mode_t)strtol(line + 6, NULL, 8);
            break;
        }
    if (file)
        fclose(file);
    return mode;
}

/* A file that exists keeps its permissions. */
static mode_t mode_for(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 ? info.st_mode & 07777 : default_mode();
}

static qn_status write_temporary(int fd, const char *path, const void *data, size_t size,
                                 qn_error *err)
{
    bool written = write_all(fd, data, size) && fchmod(fd, mode_for(path)) == 0 && fsync(fd) == 0;
    qn_status status = written ? QN_OK : fail_path(err, path, "write");
    if (close(fd) != 0 && status == QN_OK)
        status = fail_path(err, path, "write");
    return status;
}

/* Devices and pipes are written to: a rename would put a file in the place of /dev/null. */
static qn_status write_device(const char *path, const void *data, size_t size, qn_error *err)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return fail_path(err, path, "open");
    qn_status status = write_all(fd, data, size) ? QN_OK : fail_path(err, path, "write");
    close(fd);
    return status;
}

qn_status qn_file_replace(const char *path, const void *data, size_t size, qn_error *err)
{
    char folder[4096];
    char temporary[4096 + 16];
    char target[PATH_MAX];
    struct stat info;
    bool exists = stat(path, &info) == 0;
    if (exists && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode))
        return write_device(path, data, size, err);
    if (exists && lstat(path, &info) == 0 && S_ISLNK(info.st_mode) && realpath(path, target))
        path = target; /* the link stays, what it names is replaced */
    QN_TRY(folder_of(path, folder, sizeof folder, err));
    int length = snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
    if (length < 0 || (size_t)length >= sizeof temporary)
        QN_FAIL(err, QN_ERR_ARG, "the path %.60s... is longer than 4096 bytes", path);
    int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return fail_path(err, path, "write");
    qn_status status = write_temporary(fd, path, data, size, err);
    if (status == QN_OK && rename(temporary, path) != 0)
        status = fail_path(err, path, "replace");
    if (status != QN_OK) {
        unlink(temporary);
        return status;
    }
    return qn_folder_sync(folder, err);
}

bool qn_path_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0;
}

bool qn_path_is_stream(const char *path)
{
    struct stat info;
    return strcmp(path, "-") == 0 ||
           (stat(path, &info) == 0 && (S_ISFIFO(info.st_mode) || S_ISCHR(info.st_mode)));
}

qn_status qn_stream_read(const char *path, size_t limit_bytes, qn_arena *arena, qn_str *ret,
                         qn_error *err)
{
    if (strcmp(path, "-") == 0)
        return qn_file_read(path, limit_bytes, arena, ret, err);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail_path(err, path, "open");
    qn_status status = read_whole_stream(fd, path, limit_bytes, arena, ret, err);
    close(fd);
    return status;
}

bool qn_path_is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

const char *qn_path_join(qn_arena *arena, const char *folder, const char *name)
{
    size_t size = strlen(folder);
    if (size == 0 || name[0] == '/')
        return qn_arena_strndup(arena, name, strlen(name));
    return qn_arena_printf(arena, folder[size - 1] == '/' ? "%s%s" : "%s/%s", folder, name);
}
