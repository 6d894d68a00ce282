/*
 * The state: named tensors in a few blocks of memory.
 *
 *     block 0   | w1 ... | b1 | w2 ... | b2 |      trainable states of one graph, in creation order
 *     block 1   | m1 ... |    | m2 ... |    |      role "adam.m": each at its parameter's offset
 *     block 2   | other states |
 *
 * Each tensor starts at a multiple of 64 bytes and the gaps stay zero, so that an update may run over a whole
 * block as if it were one tensor.
 */
#include "graph/state.h"

#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "base/hash.h"
#include "base/rng.h"
#include "graph/graph_priv.h"
#include "graph/state_priv.h"

enum { ALIGNMENT = 64 };

typedef struct {
    char *data;
    size_t bytes;
    const char *role; /* of states that belong to parameters, else NULL */
    int owner;        /* block of those parameters, or -1 */
    qn_dtype dtype;
    bool trainable;
} state_block;

typedef struct {
    qn_named_tensor named;
    int block;
    size_t offset;
} state_entry;

struct qn_state {
    qn_arena arena; /* names and entries */
    state_entry **entries;
    state_block *blocks;
    int entries_count, entries_room, blocks_count, blocks_room;
};

static qn_status fail_memory(qn_error *err)
{
    QN_FAIL(err, QN_ERR_MEMORY, "out of memory for the states of a model");
}

qn_status qn_state_create(qn_state **ret, qn_error *err)
{
    qn_state *state = qn_alloc_zero(1, sizeof *state);
    if (!state)
        return fail_memory(err);
    qn_arena_init(&state->arena, 0);
    *ret = state;
    return QN_OK;
}

void qn_state_destroy(qn_state *state)
{
    if (!state)
        return;
    for (int i = 0; i < state->blocks_count; i++)
        qn_free(state->blocks[i].data);
    qn_free(state->blocks);
    qn_free(state->entries);
    qn_arena_deinit(&state->arena);
    qn_free(state);
}

int qn_state_count(const qn_state *state)
{
    return state->entries_count;
}

const qn_named_tensor *qn_state_at(const qn_state *state, int index)
{
    QN_ASSERT(index >= 0 && index < state->entries_count);
    return &state->entries[index]->named;
}

static const state_entry *find_entry(const qn_state *state, const char *name)
{
    for (int i = 0; i < state->entries_count; i++)
        if (strcmp(state->entries[i]->named.name, name) == 0)
            return state->entries[i];
    return NULL;
}

const qn_named_tensor *qn_state_find(const qn_state *state, const char *name)
{
    const state_entry *entry = find_entry(state, name);
    return entry ? &entry->named : NULL;
}

bool qn_state_find_place(const qn_state *state, const char *name, qn_state_place *ret)
{
    const state_entry *entry = find_entry(state, name);
    if (!entry)
        return false;
    *ret = (qn_state_place){entry->block, entry->offset, state->blocks[entry->block].bytes};
    return true;
}

bool qn_state_flat(const qn_state *state, qn_tensor *ret)
{
    for (int i = 0; i < state->blocks_count; i++) {
        const state_block *block = &state->blocks[i];
        if (!block->trainable || block->dtype != QN_DTYPE_F32)
            continue;
        int64_t count = (int64_t)(block->bytes / sizeof(float));
        *ret = qn_tensor_of(block->data, QN_DTYPE_F32, QN_SHAPE(count));
        return true;
    }
    return false;
}

/* How a state begins. */

static void write_element(void *data, qn_dtype dtype, int64_t index, double value)
{
    qn_tensor element = qn_tensor_of(&value, QN_DTYPE_F64, QN_SCALAR);
    qn_tensor_convert((char *)data + index * (int64_t)qn_dtype_size(dtype), dtype, &element);
}

static void fill_value(void *data, qn_dtype dtype, int64_t count, double value)
{
    qn_tensor repeated = {.dtype = QN_DTYPE_F64, .shape = QN_SHAPE(count), .data = &value};
    if (count > 0)
        qn_tensor_convert(data, dtype, &repeated);
}

/* One Philox block serves four elements. */
static void fill_uniform(void *data, qn_dtype dtype, int64_t count, qn_rng rng, double bound)
{
    for (int64_t i = 0; i < count; i += 4) {
        uint32_t words[4];
        qn_rng_block(rng, (uint64_t)i / 4, words);
        for (int64_t k = 0; k < 4 && i + k < count; k++) {
            double unit = (double)(words[k] >> 8) * 0x1p-24;
            double value = bound * (2 * unit - 1);
            if (dtype == QN_DTYPE_F32)
                ((float *)data)[i + k] = (float)value;
            else
                write_element(data, dtype, i + k, value);
        }
    }
}

static void fill_initial(const qn_tensor *tensor, const qn_init *init, qn_rng rng)
{
    int64_t count = qn_shape_count(&tensor->shape);
    switch (init->kind) {
    case QN_INIT_ZERO:
        return; /* blocks come zeroed */
    case QN_INIT_ONE:
        fill_value(tensor->data, tensor->dtype, count, 1);
        return;
    case QN_INIT_CONST:
        fill_value(tensor->data, tensor->dtype, count, init->value);
        return;
    case QN_INIT_UNIFORM:
        fill_uniform(tensor->data, tensor->dtype, count, rng, init->value);
        return;
    case QN_INIT_NORMAL:
        for (int64_t i = 0; i < count; i++)
            write_element(tensor->data, tensor->dtype, i,
                          init->value * qn_rng_normal(rng, (uint64_t)i));
        return;
    }
}

/* Placing states in blocks. */

static size_t round_up(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static size_t value_bytes(const qn_value_info *value)
{
    return round_up((size_t)qn_shape_count(&value->type.shape) * qn_dtype_size(value->type.dtype));
}

/* -1 = memory */
static int add_block(qn_state *state, const state_block *block)
{
    if (state->blocks_count == state->blocks_room) {
        int room = state->blocks_room ? state->blocks_room * 2 : 8;
        void *grown = qn_realloc(state->blocks, (size_t)room * sizeof *state->blocks);
        if (!grown)
            return -1;
        state->blocks = grown;
        state->blocks_room = room;
    }
    char *data = qn_alloc_aligned(block->bytes ? block->bytes : ALIGNMENT, ALIGNMENT);
    if (!data)
        return -1;
    memset(data, 0, block->bytes ? block->bytes : ALIGNMENT);
    state->blocks[state->blocks_count] = *block;
    state->blocks[state->blocks_count].data = data;
    return state->blocks_count++;
}

static bool add_entry(qn_state *state, const qn_value_info *value, int block, size_t offset)
{
    if (state->entries_count == state->entries_room) {
        int room = state->entries_room ? state->entries_room * 2 : 32;
        void *grown = qn_realloc(state->entries, (size_t)room * sizeof *state->entries);
        if (!grown)
            return false;
        state->entries = grown;
        state->entries_room = room;
    }
    state_entry *entry = QN_NEW(&state->arena, state_entry, 1);
    char *name = qn_arena_strndup(&state->arena, value->name, strlen(value->name));
    if (!entry || !name)
        return false;
    *entry = (state_entry){.named = {name, qn_tensor_of(state->blocks[block].data + offset,
                                                        value->type.dtype, value->type.shape)},
                           .block = block,
                           .offset = offset};
    state->entries[state->entries_count++] = entry;
    return true;
}

static int find_role_block(const qn_state *state, const char *role, int owner, qn_dtype dtype)
{
    for (int i = 0; i < state->blocks_count; i++) {
        const state_block *block = &state->blocks[i];
        if (block->owner == owner && block->role && block->dtype == dtype &&
            strcmp(block->role, role) == 0)
            return i;
    }
    return -1;
}

/* A state that belongs to a parameter: at the parameter's offset in the block of its role. */
static bool place_owned(qn_state *state, const qn_graph *graph, const qn_value_info *value)
{
    const state_entry *owner = find_entry(state, graph->values[value->owner].name);
    QN_ASSERT(owner);
    int block = find_role_block(state, value->role, owner->block, value->type.dtype);
    if (block < 0) {
        const char *role = qn_arena_strndup(&state->arena, value->role, strlen(value->role));
        if (!role)
            return false;
        block = add_block(state, &(state_block){.bytes = state->blocks[owner->block].bytes,
                                                .role = role,
                                                .owner = owner->block,
                                                .dtype = value->type.dtype});
    }
    return block >= 0 && add_entry(state, value, block, owner->offset);
}

typedef struct {
    bool trainable;
    qn_dtype dtype;
} state_group;

static bool is_new_in(const qn_state *state, const qn_value_info *value, state_group group)
{
    return value->kind == QN_VALUE_STATE && value->owner == QN_NONE &&
           value->trainable == group.trainable && value->type.dtype == group.dtype &&
           !find_entry(state, value->name);
}

/* All new states of one kind and type, side by side in one new block. */
static bool place_group(qn_state *state, const qn_graph *graph, state_group group)
{
    size_t bytes = 0;
    bool any = false;
    for (int i = 0; i < graph->values_count; i++)
        if (is_new_in(state, &graph->values[i], group)) {
            bytes += value_bytes(&graph->values[i]);
            any = true;
        }
    if (!any)
        return true;
    int block = add_block(state, &(state_block){.bytes = bytes,
                                                .owner = -1,
                                                .dtype = group.dtype,
                                                .trainable = group.trainable});
    if (block < 0)
        return false;
    size_t offset = 0;
    for (int i = 0; i < graph->values_count; i++)
        if (is_new_in(state, &graph->values[i], group)) {
            if (!add_entry(state, &graph->values[i], block, offset))
                return false;
            offset += value_bytes(&graph->values[i]);
        }
    return true;
}

static bool place_all(qn_state *state, const qn_graph *graph)
{
    for (int trainable = 1; trainable >= 0; trainable--)
        for (int dtype = 0; dtype < QN_DTYPE_COUNT; dtype++)
            if (!place_group(state, graph, (state_group){trainable != 0, (qn_dtype)dtype}))
                return false;
    for (int i = 0; i < graph->values_count; i++) {
        const qn_value_info *value = &graph->values[i];
        if (value->kind == QN_VALUE_STATE && value->owner != QN_NONE &&
            !find_entry(state, value->name) && !place_owned(state, graph, value))
            return false;
    }
    return true;
}

static qn_status check_type(const qn_named_tensor *have, qn_dtype dtype, const qn_shape *shape,
                            qn_error *err)
{
    char old[128], new[128];
    if (have->tensor.dtype == dtype && qn_shape_equal(&have->tensor.shape, shape))
        return QN_OK;
    QN_FAIL(err, QN_ERR_ARG, "state '%s' is %s %s, not %s %s", have->name,
            qn_dtype_name(have->tensor.dtype), qn_shape_text(&have->tensor.shape, old),
            qn_dtype_name(dtype), qn_shape_text(shape, new));
}

qn_status qn_state_add_graph(qn_state *state, const qn_graph *graph, uint64_t seed, qn_error *err)
{
    QN_TRY(qn_graph_check(graph, err));
    for (int i = 0; i < graph->values_count; i++) {
        const qn_value_info *value = &graph->values[i];
        const qn_named_tensor *have =
            value->kind == QN_VALUE_STATE ? qn_state_find(state, value->name) : NULL;
        if (have)
            QN_TRY(check_type(have, value->type.dtype, &value->type.shape, err));
    }
    int old_entries = state->entries_count, old_blocks = state->blocks_count;
    if (!place_all(state, graph)) {
        while (state->blocks_count > old_blocks)
            qn_free(state->blocks[--state->blocks_count].data);
        state->entries_count = old_entries;
        return fail_memory(err);
    }
    for (int i = old_entries; i < state->entries_count; i++) {
        const qn_named_tensor *named = &state->entries[i]->named;
        const qn_value_info *value = &graph->values[qn_graph_find(graph, named->name)];
        uint64_t hash = qn_hash64(named->name, strlen(named->name), 0);
        fill_initial(&named->tensor, &value->init,
                     (qn_rng){.seed = seed, .stream = (uint32_t)(hash ^ hash >> 32)});
    }
    return QN_OK;
}

qn_status qn_state_set(qn_state *state, const char *name, const qn_tensor *value, qn_error *err)
{
    const state_entry *entry = find_entry(state, name);
    if (!entry)
        QN_FAIL(err, QN_ERR_NOT_FOUND, "the model has no state '%s'", name);
    QN_TRY(check_type(&entry->named, value->dtype, &value->shape, err));
    qn_tensor_convert(entry->named.tensor.data, value->dtype, value);
    return QN_OK;
}

/* Entries point into blocks, so they are made anew over the copied blocks. */
static bool copy_into(qn_state *copy, const qn_state *state)
{
    for (int i = 0; i < state->blocks_count; i++) {
        const state_block *block = &state->blocks[i];
        state_block same = *block;
        if (block->role)
            same.role = qn_arena_strndup(&copy->arena, block->role, strlen(block->role));
        if (block->role && !same.role)
            return false;
        int added = add_block(copy, &same);
        if (added < 0)
            return false;
        memcpy(copy->blocks[added].data, block->data, block->bytes);
    }
    for (int i = 0; i < state->entries_count; i++) {
        const state_entry *entry = state->entries[i];
        qn_value_info value = {.name = entry->named.name,
                               .type = {entry->named.tensor.dtype, entry->named.tensor.shape}};
        if (!add_entry(copy, &value, entry->block, entry->offset))
            return false;
    }
    return true;
}

qn_status qn_state_snapshot(const qn_state *state, qn_state **ret, qn_error *err)
{
    qn_state *copy = NULL;
    QN_TRY(qn_state_create(&copy, err));
    if (!copy_into(copy, state)) {
        qn_state_destroy(copy);
        return fail_memory(err);
    }
    *ret = copy;
    return QN_OK;
}

void qn_state_restore(qn_state *state, const qn_state *snapshot)
{
    QN_ASSERT(snapshot->blocks_count <= state->blocks_count);
    for (int i = 0; i < snapshot->blocks_count; i++) {
        QN_ASSERT(snapshot->blocks[i].bytes == state->blocks[i].bytes);
        memcpy(state->blocks[i].data, snapshot->blocks[i].data, snapshot->blocks[i].bytes);
    }
}
