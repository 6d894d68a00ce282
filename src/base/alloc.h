/*
 * The only place that calls libc's allocator. Counts calls, so that a test can fail the k-th one.
 */
#ifndef QN_BASE_ALLOC_H
#define QN_BASE_ALLOC_H

#include <stddef.h>
#include <stdint.h>

/* Return NULL when memory is short; size 0 gives a valid pointer. Threads: any. */
void *qn_alloc(size_t size_bytes);
void *qn_alloc_zero(int64_t count, size_t each_bytes); /* checked product */
void *qn_realloc(void *old, size_t size_bytes);
/* alignment: a power of two; release with qn_free. */
void *qn_alloc_aligned(size_t size_bytes, size_t alignment);
void qn_free(void *memory);
char *qn_strdup(const char *text);

/* Fault injection (tests): from now on the `nth` allocation (1 = next) returns NULL, once; 0 = off.
 * qn_alloc_count() is the number of allocations made so far in the process. */
void qn_alloc_fail_at(int64_t nth);
int64_t qn_alloc_count(void);

#endif
