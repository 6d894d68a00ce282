/*
 * Files: read whole, map, write so that a reader sees the old content or the new, never half.
 */
#ifndef QN_OS_FILE_H
#define QN_OS_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"

typedef struct {
    const char *data; /* read-only; NULL when size is 0 */
    size_t size;
    void *map; /* private */
} qn_map;

/* Errors name the path: ERR_NOT_FOUND, ERR_IO with os_errno (a folder, no permission, ...). */
QN_MUST_USE qn_status qn_map_open(const char *path, qn_map *ret, qn_error *err);
void qn_map_close(qn_map *map);
/* Whole file or standard input ("-") into an arena; ERR_BUDGET beyond limit_bytes (0 = none). */
QN_MUST_USE qn_status qn_file_read(const char *path, size_t limit_bytes, qn_arena *arena,
                                   qn_str *ret, qn_error *err);

/* Atomic replacement: write to a temporary beside it, fsync, rename, fsync of the folder. A link is followed; a device
 * or pipe is written to as it is. */
QN_MUST_USE qn_status qn_file_replace(const char *path, const void *data, size_t size,
                                      qn_error *err);

/* Standard input ("-"), a named or anonymous pipe (/dev/fd/63), a character device. */
bool qn_path_is_stream(const char *path);
/* Waits for the other end and reads until it closes. Errors as of qn_file_read. */
QN_MUST_USE qn_status qn_stream_read(const char *path, size_t limit_bytes, qn_arena *arena,
                                     qn_str *ret, qn_error *err);
bool qn_path_exists(const char *path);
bool qn_path_is_folder(const char *path);
QN_MUST_USE qn_status qn_folder_make(const char *path,
                                     qn_error *err); /* with parents; existing is fine */
/* Could the folder be made, or written into, now? Makes nothing. *ret_free: bytes free there. */
QN_MUST_USE qn_status qn_folder_check_room(const char *path, int64_t *ret_free, qn_error *err);
QN_MUST_USE qn_status qn_folder_remove(const char *path,
                                       qn_error *err); /* recursive, follows no link */
QN_MUST_USE qn_status qn_folder_rename(const char *from, const char *to,
                                       qn_error *err); /* + fsync of the parent */
QN_MUST_USE qn_status qn_folder_sync(const char *path, qn_error *err);
/* Names in a folder, sorted bytewise, without . and .. */
QN_MUST_USE qn_status qn_folder_list(const char *path, qn_arena *arena, char ***ret_names,
                                     int64_t *ret_count, qn_error *err);
const char *qn_path_join(qn_arena *arena, const char *folder, const char *name);
QN_MUST_USE qn_status qn_disk_free(const char *path, int64_t *ret_bytes, qn_error *err);

#endif
