/*
 * Layout: in which order nodes run, which values share memory, and where it lies.
 *
 * Order: as built, but nodes whose results only go into states come last (the tail), so that every other reader of
 * a state sees its old value, updates may run in place, and a run can still stop before the tail. Where gradients are
 * too many for the caches, the tail begins behind the guards instead, and each update runs as soon as it may.
 *
 * Sharing: a view has its input's buffer. An update node writes straight into the states it is assigned to, and so does
 * one that only adds to a state which nobody else reads (a cache), though later nodes of the main part read it. An
 * elementwise node takes over an input that nobody reads later. Gradients of updates lie in a range that mirrors the
 * parameters' layout, so that one call can walk all of them.
 *
 * Place: buffers that live at the same time must not overlap; largest first, each at the lowest free offset.
 * Source: Pisarchyk and Lee, Efficient Memory Management for Deep Neural Net Inference, 2020 (greedy by size).
 */
#include <string.h>

#include "graph/plan_priv.h"
#include "graph/state_priv.h"

enum { CACHED_BYTES = 32 << 20 }; /* gradients that caches may keep until the end of a run */

/* In the order in which nodes run that wait for the same one. */
typedef enum {
    ONCE,
    MAIN,
    NUMBER, /* of MAIN: one number (a count of steps, a rate) that updates may wait for, run as soon as it may */
    UPDATE,
    WRITER /* others that write states, and may clear what updates read */
} node_phase;

typedef struct {
    int block;
    size_t base;
} flat_range;

typedef struct {
    qn_layout *layout;
    const qn_graph *graph;
    int *position;     /* by node: its place in the order */
    node_phase *phase; /* by node */
    int *behind;       /* by node: the last of MAIN that must have run before; of MAIN, itself */
    bool *awaited;     /* by node: some `behind` names it */
    bool prompt;       /* all run right behind those, not the tail last */
    int guarded;       /* the node behind which the tail may begin; -1 = none */
    int *merged_into;  /* by buffer: itself, or the buffer that took it over */
    const qn_plan_options *options;
    bool *once; /* by node: runs while the plan is made */
    flat_range *flats;
    int flats_count;
} layout_work;

static bool is_view(const qn_node *node)
{
    return (node->op->flags & QN_OP_VIEW) != 0;
}

static size_t value_bytes(const qn_graph *graph, qn_value value)
{
    const qn_type *type = &graph->values[value].type;
    size_t bytes = (size_t)qn_shape_count(&type->shape) * qn_dtype_size(type->dtype);
    bytes = (bytes + QN_PLAN_ALIGNMENT - 1) / QN_PLAN_ALIGNMENT * QN_PLAN_ALIGNMENT;
    return bytes ? bytes : QN_PLAN_ALIGNMENT;
}

/* Order. */

static node_phase phase_of(const layout_work *work, const int *assigned, const qn_node *node)
{
    bool any = false, only = true;
    for (int k = 0; k < node->op->outputs_count; k++) {
        int times = assigned[node->first + k];
        any = any || times > 0;
        only = only && times == work->layout->uses[node->first + k];
    }
    if (!any || !only || is_view(node))
        return MAIN;
    return node->op->flags & QN_OP_FLAT ? UPDATE : WRITER;
}

/* Whether a node reads only what stays: states, constants, and nodes of which that holds. */
static bool is_fixed(const layout_work *work, const bool *once, const qn_node *node)
{
    if (node->op->flags & (QN_OP_RANDOM | QN_OP_INPLACE))
        return false;
    for (int k = 0; k < node->inputs_count; k++) {
        if (node->inputs[k] == QN_NONE)
            continue;
        const qn_value_info *value = &work->graph->values[node->inputs[k]];
        if (value->kind == QN_VALUE_INPUT || (value->kind == QN_VALUE_NODE && !once[value->node]))
            return false;
    }
    return true;
}

static void place(layout_work *work, int index)
{
    work->position[index] = work->layout->order_count;
    work->layout->order[work->layout->order_count++] = index;
}

static void order_once(layout_work *work)
{
    qn_layout *layout = work->layout;
    const qn_graph *graph = work->graph;
    for (int i = 0; i < graph->nodes_count && graph->assigns_count == 0; i++) {
        work->once[i] = is_fixed(work, work->once, &graph->nodes[i]);
        if (work->once[i])
            place(work, i);
    }
    layout->once_count = layout->order_count;
}

/* The state that a value is or shows, or QN_NONE. */
static qn_value shown_state(const qn_graph *graph, qn_value value)
{
    while (graph->values[value].kind == QN_VALUE_NODE &&
           is_view(&graph->nodes[graph->values[value].node]))
        value = graph->nodes[graph->values[value].node].inputs[0];
    return graph->values[value].kind == QN_VALUE_STATE ? value : QN_NONE;
}

static void wait_for(layout_work *work, int node, int other)
{
    if (work->behind[node] < other)
        work->behind[node] = other;
}

/* A node waits for the guards, for what it reads, and for those that read the states it goes into. */
static void find_behind(layout_work *work, const int *reader, int index)
{
    const qn_graph *graph = work->graph;
    const qn_node *node = &graph->nodes[index];
    work->behind[index] = work->guarded;
    for (int k = 0; k < node->inputs_count; k++)
        if (node->inputs[k] != QN_NONE && graph->values[node->inputs[k]].kind == QN_VALUE_NODE)
            wait_for(work, index, work->behind[graph->values[node->inputs[k]].node]);
    for (int i = 0; i < graph->assigns_count; i++) {
        const qn_value_info *value = &graph->values[graph->assigns[i].value];
        if (value->kind == QN_VALUE_NODE && value->node == index)
            wait_for(work, index, reader[graph->assigns[i].state]);
    }
}

static void note_reads(const layout_work *work, int *reader, int index)
{
    const qn_node *node = &work->graph->nodes[index];
    for (int k = 0; k < node->inputs_count; k++) {
        qn_value state =
            node->inputs[k] == QN_NONE ? QN_NONE : shown_state(work->graph, node->inputs[k]);
        if (state != QN_NONE && reader[state] < work->behind[index])
            reader[state] = work->behind[index];
    }
}

static void find_guarded(layout_work *work)
{
    const qn_graph *graph = work->graph;
    work->guarded = -1;
    for (int i = 0; i < graph->outputs_count; i++)
        for (int g = 0; g < work->options->guards_count; g++) {
            const qn_value_info *value = &graph->values[graph->outputs[i].value];
            bool guard = strcmp(graph->outputs[i].name, work->options->guards[g]) == 0;
            if (guard && value->kind == QN_VALUE_NODE && work->guarded < value->node)
                work->guarded = value->node;
        }
}

static bool is_number(const layout_work *work, int index)
{
    const qn_node *node = &work->graph->nodes[index];
    for (int k = 0; k < node->op->outputs_count; k++)
        if (qn_shape_count(&work->graph->values[node->first + k].type.shape) != 1)
            return false;
    return index > work->guarded && !is_view(node);
}

/* Finds what each node waits for; returns the bytes of gradients that updates use up on the way. reader: by state. */
static size_t find_waits(layout_work *work, int *reader)
{
    const qn_graph *graph = work->graph;
    size_t early = 0;
    int last = -1;
    for (node_phase phase = MAIN; phase <= WRITER; phase++)
        for (int i = 0; i < graph->nodes_count; i++) {
            const qn_node *node = &graph->nodes[i];
            if (work->phase[i] != phase || phase == NUMBER)
                continue;
            if (phase == MAIN && is_number(work, i))
                work->phase[i] = NUMBER;
            if (work->phase[i] == MAIN)
                last = work->behind[i] = i;
            else
                find_behind(work, reader, i);
            note_reads(work, reader, i);
            int grad = node->op->outputs_count;
            if (phase == UPDATE && work->behind[i] < last && grad < node->inputs_count)
                early += value_bytes(graph, node->inputs[grad]);
        }
    return early;
}

/* Whether the tail runs on the way or last, and behind which nodes. reader: room, by value. */
static void plan_tail(layout_work *work, int *reader)
{
    int last = -1;
    for (int v = 0; v < work->graph->values_count; v++)
        reader[v] = -1;
    find_guarded(work);
    work->prompt = find_waits(work, reader) > CACHED_BYTES;
    for (int i = 0; i < work->graph->nodes_count; i++) {
        if (!work->prompt && work->phase[i] == NUMBER)
            work->phase[i] = MAIN;
        if (work->phase[i] == MAIN)
            last = i;
    }
    if (!work->prompt)
        work->guarded = last;
    for (int i = 0; i < work->graph->nodes_count; i++) {
        if (work->phase[i] > MAIN && !work->prompt)
            work->behind[i] = last;
        if (work->phase[i] > MAIN && work->behind[i] >= 0)
            work->awaited[work->behind[i]] = true;
    }
}

/* Those that wait for node `behind`, or for none. */
static void place_behind(layout_work *work, int behind)
{
    for (node_phase phase = NUMBER; phase <= WRITER; phase++)
        for (int i = 0; i < work->graph->nodes_count; i++)
            if (work->phase[i] == phase && work->behind[i] == behind)
                place(work, i);
}

static void make_order(layout_work *work, const int *assigned, int *reader)
{
    qn_layout *layout = work->layout;
    const qn_graph *graph = work->graph;
    if (work->options->frozen)
        order_once(work);
    for (int i = 0; i < graph->nodes_count; i++)
        work->phase[i] = work->once[i] ? ONCE : phase_of(work, assigned, &graph->nodes[i]);
    plan_tail(work, reader);
    layout->main_count = layout->order_count;
    place_behind(work, -1);
    for (int i = 0; i < graph->nodes_count; i++) {
        if (work->phase[i] == MAIN)
            place(work, i);
        if (i == work->guarded)
            layout->main_count = layout->order_count;
        if (work->awaited[i])
            place_behind(work, i);
    }
}

/* Buffers. */

static int add_buffer(qn_layout *layout, qn_buffer_kind kind, qn_value value, int first)
{
    layout->buffers[layout->buffers_count] =
        (qn_plan_buffer){.kind = kind,
                         .value = value,
                         .bytes = value_bytes(layout->graph, value),
                         .first = first,
                         .last = first};
    return layout->buffers_count++;
}

static void read_at(qn_layout *layout, qn_value value, int position)
{
    if (value == QN_NONE)
        return;
    qn_plan_buffer *buffer = &layout->buffers[layout->buffer_of[value]];
    if (buffer->last < position)
        buffer->last = position;
}

static void make_buffers(layout_work *work)
{
    static const qn_buffer_kind kinds[] = {[QN_VALUE_INPUT] = QN_BUFFER_INPUT,
                                           [QN_VALUE_STATE] = QN_BUFFER_STATE,
                                           [QN_VALUE_CONST] = QN_BUFFER_CONST};
    qn_layout *layout = work->layout;
    const qn_graph *graph = work->graph;
    for (int v = 0; v < graph->values_count; v++)
        if (graph->values[v].kind != QN_VALUE_NODE)
            layout->buffer_of[v] = add_buffer(layout, kinds[graph->values[v].kind], v, 0);
    for (int p = 0; p < layout->order_count; p++) {
        const qn_node *node = &graph->nodes[layout->order[p]];
        for (int k = 0; k < node->inputs_count; k++)
            read_at(layout, node->inputs[k], p);
        for (int k = 0; k < node->op->outputs_count; k++) {
            qn_value value = node->first + k;
            layout->buffer_of[value] = is_view(node)
                                           ? layout->buffer_of[node->inputs[0]]
                                           : add_buffer(layout, QN_BUFFER_ARENA, value, p);
            if (qn_op_is_spare(node->op, k) && layout->uses[value] == 0)
                layout->buffers[layout->buffer_of[value]].bytes = 0;
        }
    }
    for (int i = 0; i < graph->outputs_count; i++)
        read_at(layout, graph->outputs[i].value, layout->order_count);
    for (int b = 0; b < layout->buffers_count; b++) {
        qn_plan_buffer *buffer = &layout->buffers[b];
        const qn_value_info *value = &graph->values[buffer->value];
        bool made = value->kind == QN_VALUE_NODE && work->once[value->node];
        bool kept =
            buffer->kind == QN_BUFFER_STATE && work->options->frozen && graph->assigns_count == 0;
        buffer->fixed = buffer->kind == QN_BUFFER_CONST || made || kept;
        if (made)
            buffer->last = layout->order_count + 1;
    }
}

static bool is_assigned_state(const qn_graph *graph, qn_value state)
{
    for (int i = 0; i < graph->assigns_count; i++)
        if (graph->assigns[i].state == state)
            return true;
    return false;
}

/* A value that shows a state is read after the state has changed: keep what it was. */
static void keep_early(qn_layout *layout, qn_value value)
{
    const qn_plan_buffer *buffer = &layout->buffers[layout->buffer_of[value]];
    if (buffer->kind != QN_BUFFER_STATE || layout->copy_of[value] >= 0 ||
        !is_assigned_state(layout->graph, buffer->value))
        return;
    int copy = add_buffer(layout, QN_BUFFER_ARENA, value, layout->main_count);
    layout->buffers[copy].last = layout->order_count;
    layout->copy_of[value] = copy;
}

static void keep_all_early(layout_work *work)
{
    for (int i = 0; i < work->graph->outputs_count; i++)
        keep_early(work->layout, work->graph->outputs[i].value);
    for (int i = 0; i < work->graph->assigns_count; i++)
        keep_early(work->layout, work->graph->assigns[i].value);
}

/* Writing states directly. */

static bool may_overwrite(const qn_layout *layout, const qn_node *node, int output, qn_value state)
{
    unsigned flags = node->op->flags;
    int buffer = layout->buffer_of[state];
    for (int k = 0; k < node->inputs_count; k++) {
        if (node->inputs[k] == QN_NONE || layout->buffer_of[node->inputs[k]] != buffer)
            continue;
        bool in_place = node->inputs[k] == state && ((flags & QN_OP_INPLACE && k == output) ||
                                                     (flags & QN_OP_ELEMENTWISE && output == 0));
        if (!in_place)
            return false;
    }
    return true;
}

static bool is_read_from(const layout_work *work, int buffer, int position)
{
    const qn_layout *layout = work->layout;
    for (int p = position; p < layout->order_count; p++) {
        const qn_node *node = &work->graph->nodes[layout->order[p]];
        for (int k = 0; k < node->inputs_count; k++)
            if (node->inputs[k] != QN_NONE && layout->buffer_of[node->inputs[k]] == buffer)
                return true;
    }
    return false;
}

static bool is_direct(const layout_work *work, const qn_assign *assign)
{
    const qn_layout *layout = work->layout;
    const qn_value_info *value = &work->graph->values[assign->value];
    if (value->kind != QN_VALUE_NODE)
        return false;
    const qn_node *node = &work->graph->nodes[value->node];
    int position = work->position[value->node];
    if (node->op->flags & QN_OP_EARLY && node->inputs[0] == assign->state &&
        node->first == assign->value && layout->uses[assign->state] == 1)
        return true;
    if (layout->uses[assign->value] != 1)
        return false;
    return position >= layout->main_count && !is_view(node) &&
           may_overwrite(layout, node, assign->value - node->first, assign->state) &&
           !is_read_from(work, layout->buffer_of[assign->state], position + 1);
}

static void write_states_directly(layout_work *work)
{
    qn_layout *layout = work->layout;
    for (int i = 0; i < work->graph->assigns_count; i++) {
        const qn_assign *assign = &work->graph->assigns[i];
        int from = layout->buffer_of[assign->value];
        layout->direct[i] = is_direct(work, assign);
        if (layout->direct[i])
            work->merged_into[from] = layout->buffer_of[assign->state];
        else
            read_at(layout, assign->value, layout->order_count);
    }
}

/* Gradients beside each other. */

static size_t find_flat_base(layout_work *work, const qn_state_place *place)
{
    for (int i = 0; i < work->flats_count; i++)
        if (work->flats[i].block == place->block)
            return work->flats[i].base;
    work->flats[work->flats_count++] = (flat_range){place->block, work->layout->bytes};
    work->layout->bytes += place->block_bytes;
    return work->flats[work->flats_count - 1].base;
}

static void pin_gradients(layout_work *work)
{
    qn_layout *layout = work->layout;
    for (int p = layout->main_count; p < layout->order_count && !work->prompt; p++) {
        const qn_node *node = &work->graph->nodes[layout->order[p]];
        int outputs = node->op->outputs_count;
        if (!(node->op->flags & QN_OP_FLAT) || node->inputs_count <= outputs)
            continue;
        const qn_value_info *param = &work->graph->values[node->inputs[0]];
        qn_plan_buffer *grad = &layout->buffers[layout->buffer_of[node->inputs[outputs]]];
        qn_state_place place;
        if (param->kind != QN_VALUE_STATE || grad->kind != QN_BUFFER_ARENA ||
            grad->bytes != value_bytes(work->graph, node->inputs[0]) ||
            !qn_state_find_place(layout->state, param->name, &place))
            continue;
        grad->offset = find_flat_base(work, &place) + place.offset;
        grad->kind = QN_BUFFER_FLAT;
    }
}

/* Running in place. */

static int find_root(const layout_work *work, int buffer)
{
    while (work->merged_into[buffer] != buffer)
        buffer = work->merged_into[buffer];
    return buffer;
}

/* Whether output `output` of the node at `position` may take over input `input`, which dies there. */
static bool may_take_over(const layout_work *work, int position, int output, int input)
{
    const qn_layout *layout = work->layout;
    const qn_node *node = &work->graph->nodes[layout->order[position]];
    if (node->inputs[input] == QN_NONE)
        return false;
    int from = find_root(work, layout->buffer_of[node->inputs[input]]);
    const qn_plan_buffer *old = &layout->buffers[from];
    const qn_type *type = &work->graph->values[node->first + output].type;
    if (old->kind != QN_BUFFER_ARENA || old->last > position || old->first == position)
        return false;
    /* The same memory under another shape would be walked in another order. */
    for (int k = 0; k < node->inputs_count; k++) {
        if (node->inputs[k] == QN_NONE ||
            find_root(work, layout->buffer_of[node->inputs[k]]) != from)
            continue;
        const qn_type *other = &work->graph->values[node->inputs[k]].type;
        if (other->dtype != type->dtype || !qn_shape_equal(&other->shape, &type->shape))
            return false;
        if (k != input && !(node->op->flags & QN_OP_ELEMENTWISE))
            return false;
    }
    return true;
}

static void take_over(layout_work *work, int position, int output, int input)
{
    qn_layout *layout = work->layout;
    const qn_node *node = &work->graph->nodes[layout->order[position]];
    int from = find_root(work, layout->buffer_of[node->inputs[input]]);
    int own = layout->buffer_of[node->first + output];
    if (work->merged_into[own] != own)
        return;                                                /* a state already */
    bool pinned = layout->buffers[own].kind == QN_BUFFER_FLAT; /* then the other comes to it */
    work->merged_into[pinned ? from : own] = pinned ? own : from;
    qn_plan_buffer *kept = &layout->buffers[pinned ? own : from];
    kept->first = layout->buffers[from].first;
    kept->last = layout->buffers[own].last;
}

static void run_in_place(layout_work *work)
{
    const qn_layout *layout = work->layout;
    for (int p = 0; p < layout->order_count; p++) {
        const qn_node *node = &work->graph->nodes[layout->order[p]];
        unsigned flags = node->op->flags;
        if (flags & QN_OP_INPLACE) {
            for (int k = 0; k < node->op->outputs_count && k < node->inputs_count; k++)
                if (may_take_over(work, p, k, k))
                    take_over(work, p, k, k);
        } else if (flags & QN_OP_ELEMENTWISE && !is_view(node)) {
            int input = 0;
            while (input < node->inputs_count && !may_take_over(work, p, 0, input))
                input++;
            if (input < node->inputs_count)
                take_over(work, p, 0, input);
        }
    }
}

/* Places. */

static bool live_together(const qn_plan_buffer *a, const qn_plan_buffer *b)
{
    return a->first <= b->last && b->first <= a->last;
}

/* Lowest offset from `base` that no placed buffer of the same time covers. placed: by rising offset. */
static size_t find_offset(const qn_layout *layout, const int *placed, int count,
                          const qn_plan_buffer *buffer, size_t base)
{
    size_t offset = base;
    for (int i = 0; i < count; i++) {
        const qn_plan_buffer *other = &layout->buffers[placed[i]];
        if (!live_together(buffer, other) || other->offset + other->bytes <= offset)
            continue;
        if (other->offset >= offset + buffer->bytes)
            break;
        offset = other->offset + other->bytes;
    }
    return offset;
}

static void insert_by_offset(const qn_layout *layout, int *placed, int count, int buffer)
{
    int at = count;
    for (; at > 0 && layout->buffers[placed[at - 1]].offset > layout->buffers[buffer].offset; at--)
        placed[at] = placed[at - 1];
    placed[at] = buffer;
}

static void sort_by_size(const qn_layout *layout, int *items, int count)
{
    for (int gap = count / 2; gap > 0; gap /= 2)
        for (int i = gap; i < count; i++) {
            int item = items[i], at = i;
            const qn_plan_buffer *a = &layout->buffers[item];
            for (; at >= gap; at -= gap) {
                const qn_plan_buffer *b = &layout->buffers[items[at - gap]];
                bool before = a->bytes != b->bytes ? a->bytes > b->bytes : item < items[at - gap];
                if (!before)
                    break;
                items[at] = items[at - gap];
            }
            items[at] = item;
        }
}

static void place_buffers(layout_work *work, int *items, int *placed)
{
    qn_layout *layout = work->layout;
    int count = 0;
    for (int b = 0; b < layout->buffers_count; b++) {
        qn_plan_buffer *buffer = &layout->buffers[b];
        if (buffer->kind == QN_BUFFER_INPUT) {
            buffer->offset = layout->bytes;
            layout->bytes += buffer->bytes;
        } else if (buffer->kind == QN_BUFFER_ARENA && work->merged_into[b] == b) {
            items[count++] = b;
        }
    }
    sort_by_size(layout, items, count);
    size_t base = layout->bytes;
    for (int i = 0; i < count; i++) {
        qn_plan_buffer *buffer = &layout->buffers[items[i]];
        buffer->offset = find_offset(layout, placed, i, buffer, base);
        insert_by_offset(layout, placed, i, items[i]);
        if (layout->bytes < buffer->offset + buffer->bytes)
            layout->bytes = buffer->offset + buffer->bytes;
    }
}

static void count_assigned(const qn_graph *graph, int *assigned)
{
    for (int i = 0; i < graph->assigns_count; i++)
        assigned[graph->assigns[i].value]++;
}

qn_status qn_layout_make(const qn_graph *graph, const qn_state *state,
                         const qn_plan_options *options, qn_arena *arena, qn_layout *ret,
                         qn_error *err)
{
    int values = graph->values_count,
        buffers = values + graph->outputs_count + graph->assigns_count;
    qn_layout layout = {.graph = graph, .state = state};
    layout.order = QN_NEW(arena, int, graph->nodes_count + 1);
    layout.buffer_of = QN_NEW(arena, int, values + 1);
    layout.copy_of = QN_NEW(arena, int, values + 1);
    layout.uses = QN_NEW(arena, int, values + 1);
    layout.direct = QN_NEW(arena, bool, graph->assigns_count + 1);
    layout.buffers = QN_NEW(arena, qn_plan_buffer, buffers + 1);
    layout_work work = {.layout = &layout, .graph = graph, .options = options};
    work.once = QN_NEW(arena, bool, graph->nodes_count + 1);
    work.position = QN_NEW(arena, int, graph->nodes_count + 1);
    work.phase = QN_NEW(arena, node_phase, graph->nodes_count + 1);
    work.behind = QN_NEW(arena, int, graph->nodes_count + 1);
    work.awaited = QN_NEW(arena, bool, graph->nodes_count + 1);
    work.merged_into = QN_NEW(arena, int, buffers + 1);
    work.flats = QN_NEW(arena, flat_range, graph->nodes_count + 1);
    int *assigned = QN_NEW(arena, int, values + 1), *items = QN_NEW(arena, int, buffers + 1);
    int *reader = QN_NEW(arena, int, values + 1);
    int *placed = QN_NEW(arena, int, buffers + 1);
    if (!layout.order || !layout.buffer_of || !layout.copy_of || !layout.uses || !layout.direct ||
        !layout.buffers || !work.position || !work.once || !work.merged_into || !work.flats ||
        !work.phase || !work.behind || !work.awaited || !reader || !assigned || !items || !placed)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory while planning a graph");
    for (int v = 0; v < values; v++)
        layout.copy_of[v] = -1;
    qn_graph_count_uses(graph, layout.uses);
    count_assigned(graph, assigned);
    make_order(&work, assigned, reader);
    make_buffers(&work);
    keep_all_early(&work);
    for (int b = 0; b < layout.buffers_count; b++)
        work.merged_into[b] = b;
    write_states_directly(&work);
    pin_gradients(&work);
    layout.flat_bytes = layout.bytes;
    run_in_place(&work);
    place_buffers(&work, items, placed);
    for (int v = 0; v < values; v++)
        layout.buffer_of[v] = find_root(&work, layout.buffer_of[v]);
    *ret = layout;
    return QN_OK;
}
