/*
 * A counting set of texts by open addressing with linear probing, at most half full.
 */
#include "data/levels.h"

#include "base/hash.h"

enum { CAPACITY_FIRST = 16 };

void qn_levels_init(qn_levels *levels, qn_arena *arena)
{
    *levels = (qn_levels){.arena = arena};
}

static int64_t *find_slot(const qn_levels *levels, qn_str key)
{
    uint64_t mask = (uint64_t)levels->slots_count - 1;
    uint64_t at = qn_hash64(key.data, key.size, 0) & mask;
    while (levels->slots[at] && !qn_str_equal(levels->keys[levels->slots[at] - 1], key))
        at = (at + 1) & mask;
    return &levels->slots[at];
}

static bool grow(qn_levels *levels)
{
    int64_t capacity = levels->capacity ? levels->capacity * 2 : CAPACITY_FIRST;
    qn_str *keys = QN_NEW(levels->arena, qn_str, capacity);
    int64_t *counts = QN_NEW(levels->arena, int64_t, capacity);
    int64_t *slots = QN_NEW(levels->arena, int64_t, capacity * 2);
    if (!keys || !counts || !slots)
        return false;
    for (int64_t i = 0; i < levels->count; i++) {
        keys[i] = levels->keys[i];
        counts[i] = levels->counts[i];
    }
    *levels =
        (qn_levels){keys, counts, levels->count, slots, capacity * 2, capacity, levels->arena};
    for (int64_t i = 0; i < levels->count; i++)
        *find_slot(levels, keys[i]) = i + 1;
    return true;
}

int64_t qn_levels_add(qn_levels *levels, qn_str key, int64_t times)
{
    if (levels->count == levels->capacity && !grow(levels))
        return -1;
    int64_t *slot = find_slot(levels, key);
    if (!*slot) {
        levels->keys[levels->count] = key;
        *slot = ++levels->count;
    }
    levels->counts[*slot - 1] += times;
    return *slot - 1;
}

int64_t qn_levels_find(const qn_levels *levels, qn_str key)
{
    return levels->count ? *find_slot(levels, key) - 1 : -1;
}
