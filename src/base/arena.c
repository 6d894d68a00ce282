/*
 * Arenas as a chain of blocks that double in size. Under AddressSanitizer-like tools the blocks are
 * plain allocations, so an overrun of a whole block is seen; one inside a block is not.
 */
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/checked.h"

struct qn_arena_block {
    qn_arena_block *older;
    size_t size; /* usable bytes behind the header */
    size_t used;
};

enum {
    BLOCK_FIRST = 4096 - 64, /* with malloc's own header the first block fits a page */
    BLOCK_GROWTH_MAX = 64 << 20
};

/* The header is padded so that the first allocation of a block is 16-byte aligned. */
#define HEADER_BYTES ((sizeof(qn_arena_block) + 15) & ~(size_t)15)

static char *block_data(qn_arena_block *block)
{
    return (char *)block + HEADER_BYTES;
}

void qn_arena_init(qn_arena *arena, size_t limit_bytes)
{
    *arena = (qn_arena){.limit_bytes = limit_bytes};
}

static void free_from(qn_arena_block *block)
{
    while (block) {
        qn_arena_block *older = block->older;
        qn_free(block);
        block = older;
    }
}

void qn_arena_deinit(qn_arena *arena)
{
    free_from(arena->block);
    arena->block = NULL;
    arena->used_bytes = 0;
}

/* Blocks double, so the newest is the largest: it alone is kept. */
void qn_arena_reset(qn_arena *arena)
{
    arena->used_bytes = 0;
    if (!arena->block)
        return;
    free_from(arena->block->older);
    arena->block->older = NULL;
    arena->block->used = 0;
}

static qn_arena_block *grow(qn_arena *arena, size_t need)
{
    size_t size = arena->block ? arena->block->size * 2 : BLOCK_FIRST;
    if (size > BLOCK_GROWTH_MAX)
        size = BLOCK_GROWTH_MAX;
    if (size < need)
        size = need;
    if (arena->block && size < arena->block->size)
        size = arena->block->size; /* keeps "the newest is the largest" beyond the growth limit */
    size_t total;
    if (!qn_add_size(size, HEADER_BYTES, &total))
        return NULL;
    qn_arena_block *block = qn_alloc(total);
    if (!block)
        return NULL;
    *block = (qn_arena_block){.older = arena->block, .size = size};
    arena->block = block;
    return block;
}

/* Padding in front of the next allocation of `block`. */
static size_t padding_for(qn_arena_block *block, size_t alignment)
{
    uintptr_t at = (uintptr_t)(block_data(block) + block->used);
    return (size_t)(-at & (alignment - 1));
}

void *qn_arena_alloc_aligned(qn_arena *arena, size_t size_bytes, size_t alignment)
{
    size_t most;
    if (!qn_add_size(size_bytes, alignment, &most))
        return NULL;
    qn_arena_block *block = arena->block;
    size_t padding = block ? padding_for(block, alignment) : 0;
    bool fits = block && padding <= block->size - block->used &&
                size_bytes <= block->size - block->used - padding;
    if (arena->limit_bytes && (most > arena->limit_bytes ||
                               arena->used_bytes > arena->limit_bytes - size_bytes - padding))
        return NULL;
    if (!fits) {
        block = grow(arena, most);
        if (!block)
            return NULL;
        padding = padding_for(block, alignment);
    }
    char *memory = block_data(block) + block->used + padding;
    block->used += padding + size_bytes;
    arena->used_bytes += padding + size_bytes;
    return memory;
}

void *qn_arena_alloc(qn_arena *arena, size_t size_bytes)
{
    return qn_arena_alloc_aligned(arena, size_bytes, 16);
}

void *qn_arena_zero(qn_arena *arena, int64_t count, size_t each_bytes)
{
    size_t size;
    if (count < 0 || !qn_mul_size((size_t)count, each_bytes, &size))
        return NULL;
    void *memory = qn_arena_alloc(arena, size);
    if (memory)
        memset(memory, 0, size);
    return memory;
}

char *qn_arena_strndup(qn_arena *arena, const char *text, size_t length)
{
    size_t size;
    if (!qn_add_size(length, 1, &size))
        return NULL;
    char *copy = qn_arena_alloc(arena, size);
    if (!copy)
        return NULL;
    if (length)
        memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

char *qn_arena_printf(qn_arena *arena, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    va_list again;
    va_copy(again, list);
    int size = vsnprintf(NULL, 0, format, list);
    va_end(list);
    char *text = size < 0 ? NULL : qn_arena_alloc(arena, (size_t)size + 1);
    if (text)
        vsnprintf(text, (size_t)size + 1, format, again);
    va_end(again);
    return text;
}
