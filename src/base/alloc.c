/*
 * The only calls of libc's allocator, with a counter that lets a test fail the k-th allocation.
 */
#include "base/alloc.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

static _Atomic int64_t allocations;
static _Atomic int64_t fail_at; /* absolute number of the allocation that fails; 0 = none */

static bool may_allocate(void)
{
    int64_t number = atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed) + 1;
    return number != atomic_load_explicit(&fail_at, memory_order_relaxed);
}

void *qn_alloc(size_t size_bytes)
{
    return may_allocate() ? malloc(size_bytes ? size_bytes : 1) : NULL;
}

void *qn_alloc_zero(int64_t count, size_t each_bytes)
{
    size_t size_bytes;
    if (count < 0 || !qn_mul_size((size_t)count, each_bytes, &size_bytes) || !may_allocate())
        return NULL;
    return calloc(size_bytes ? size_bytes : 1, 1);
}

void *qn_realloc(void *old, size_t size_bytes)
{
    return may_allocate() ? realloc(old, size_bytes ? size_bytes : 1) : NULL;
}

void *qn_alloc_aligned(size_t size_bytes, size_t alignment)
{
    void *memory = NULL;
    if (alignment < sizeof(void *))
        alignment = sizeof(void *);
    if (!may_allocate() || posix_memalign(&memory, alignment, size_bytes ? size_bytes : 1) != 0)
        return NULL;
    return memory;
}

void qn_free(void *memory)
{
    free(memory);
}

char *qn_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = qn_alloc(size);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}

void qn_alloc_fail_at(int64_t nth)
{
    atomic_store(&fail_at, nth > 0 ? atomic_load(&allocations) + nth : 0);
}

int64_t qn_alloc_count(void)
{
    return atomic_load(&allocations);
}
