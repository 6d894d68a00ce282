/*
 * Arenas: memory that dies together. Named by lifetime at the call site: load, step, request,
 * scratch. Blocks grow by doubling; reset keeps the largest block so that a steady user allocates
 * nothing.
 */
#ifndef QN_BASE_ARENA_H
#define QN_BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

typedef struct qn_arena_block qn_arena_block;
typedef struct {
    qn_arena_block *block; /* newest block; private */
    size_t limit_bytes;    /* 0 = none: an allocation beyond it returns NULL */
    size_t used_bytes;     /* handed out since init or reset, padding included */
} qn_arena;

void qn_arena_init(qn_arena *arena, size_t limit_bytes);
void qn_arena_deinit(qn_arena *arena);
void qn_arena_reset(qn_arena *arena);

/* NULL when memory or the limit is short. 16-byte aligned; `aligned` takes any power of two. */
void *qn_arena_alloc(qn_arena *arena, size_t size_bytes);
void *qn_arena_alloc_aligned(qn_arena *arena, size_t size_bytes, size_t alignment);
void *qn_arena_zero(qn_arena *arena, int64_t count, size_t each_bytes); /* checked product */
char *qn_arena_strndup(qn_arena *arena, const char *text, size_t length);
char *qn_arena_printf(qn_arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* `count` zeroed elements of `type` */
#define QN_NEW(arena, type, count) ((type *)qn_arena_zero((arena), (count), sizeof(type)))

#endif
