/*
 * The compute thread and the dynamic batcher. The thread takes the oldest waiting request and, with it, every waiting
 * request that may share its run: same model version, same signature, equal row shapes, up to batch_max rows.
 * It never waits for more: a lone request meets an empty queue and runs at once, a crowd joins itself while the
 * run before it is under way.
 *
 * A row's answer does not depend on its neighbours: the predictor gives the same bits at any batch size. When a joined
 * run fails, each member runs alone, so that one bad row is one client's error.
 */
#include "serve_priv.h"

#include "base/error.h"
#include "os/clock.h"
#include "os/pool.h"

enum { MEMBERS_MAX = 64 };

/* ---- may they share a run? ---- */

static bool same_row(const qn_tensor *a, const qn_tensor *b)
{
    return a->dtype == b->dtype && a->shape.rank == b->shape.rank && a->shape.rank > 0 &&
           memcmp(a->shape.dims + 1, b->shape.dims + 1,
                  (size_t)(a->shape.rank - 1) * sizeof(int64_t)) == 0;
}

static bool same_tensors(const qn_infer *a, const qn_infer *b)
{
    if (a->inputs_count != b->inputs_count)
        return false;
    for (int i = 0; i < a->inputs_count; i++)
        if (strcmp(a->inputs[i].name, b->inputs[i].name) != 0 ||
            !same_row(&a->inputs[i].tensor, &b->inputs[i].tensor) ||
            a->inputs[i].tensor.shape.dims[0] != a->rows ||
            b->inputs[i].tensor.shape.dims[0] != b->rows)
            return false;
    return true;
}

static bool same_columns(const qn_frame *a, const qn_frame *b)
{
    if (a->columns_count != b->columns_count)
        return false;
    for (int64_t i = 0; i < a->columns_count; i++) {
        const qn_column *x = &a->columns[i], *y = &b->columns[i];
        if (!qn_str_equal(x->name, y->name) || x->kind != y->kind || x->boolean != y->boolean ||
            (x->kind == QN_COLUMN_ARRAY && !same_row(&x->array, &y->array)))
            return false;
    }
    return true;
}

static bool may_join(const qn_infer *a, const qn_infer *b)
{
    if (a->served != b->served || a->tensors != b->tensors)
        return false;
    if (a->tensors && a->served->signature->apart)
        return false;
    return a->tensors ? same_tensors(a, b) : same_columns(&a->frame, &b->frame);
}

/* ---- joining ---- */

/* The whole run: a qn_infer over the members' rows, in the thread's scratch. */
typedef struct {
    qn_infer *members[MEMBERS_MAX];
    int count;
    int64_t rows;
} group;

static bool join_tensor(const group *g, int input, qn_tensor *dst, qn_arena *scratch)
{
    const qn_tensor *first = &g->members[0]->inputs[input].tensor;
    qn_shape shape = first->shape;
    shape.dims[0] = g->rows;
    char *data =
        qn_arena_alloc(scratch, (size_t)qn_shape_count(&shape) * qn_dtype_size(first->dtype));
    if (!data)
        return false;
    *dst = qn_tensor_of(data, first->dtype, shape);
    for (int m = 0; m < g->count; m++) {
        const qn_tensor *part = &g->members[m]->inputs[input].tensor;
        size_t bytes = qn_tensor_bytes(part);
        memcpy(data, part->data, bytes);
        data += bytes;
    }
    return true;
}

static size_t cell_bytes(const qn_column *column)
{
    if (column->kind == QN_COLUMN_NUMBER)
        return sizeof(double);
    if (column->kind != QN_COLUMN_ARRAY)
        return sizeof(qn_str);
    qn_shape row = column->array.shape;
    row.dims[0] = 1;
    return (size_t)qn_shape_count(&row) * qn_dtype_size(column->array.dtype);
}

static const void *cells(const qn_column *column)
{
    if (column->kind == QN_COLUMN_NUMBER)
        return column->numbers;
    return column->kind == QN_COLUMN_ARRAY ? column->array.data : (const void *)column->strings;
}

static bool join_missing(const group *g, int64_t column, qn_column *dst, qn_arena *scratch)
{
    bool any = false;
    for (int m = 0; m < g->count; m++)
        any = any || g->members[m]->frame.columns[column].missing;
    dst->missing = any ? QN_NEW(scratch, uint8_t, g->rows) : NULL;
    int64_t at = 0;
    for (int m = 0; m < g->count && dst->missing; m++) {
        const qn_infer *member = g->members[m];
        const uint8_t *missing = member->frame.columns[column].missing;
        if (missing)
            memcpy(dst->missing + at, missing, (size_t)member->rows);
        at += member->rows;
    }
    return !any || dst->missing;
}

static bool join_column(const group *g, int64_t column, qn_column *dst, qn_arena *scratch)
{
    *dst = g->members[0]->frame.columns[column];
    size_t each = cell_bytes(dst);
    char *data = qn_arena_zero(scratch, g->rows, each);
    if (!data || !join_missing(g, column, dst, scratch))
        return false;
    if (dst->kind == QN_COLUMN_NUMBER) {
        dst->numbers = (double *)(void *)data;
    } else if (dst->kind == QN_COLUMN_ARRAY) {
        qn_shape shape = dst->array.shape;
        shape.dims[0] = g->rows;
        dst->array = qn_tensor_of(data, dst->array.dtype, shape);
    } else {
        dst->strings = (qn_str *)(void *)data;
    }
    for (int m = 0; m < g->count; m++) {
        size_t bytes = each * (size_t)g->members[m]->rows;
        if (bytes)
            memcpy(data, cells(&g->members[m]->frame.columns[column]), bytes);
        data += bytes;
    }
    return true;
}

static bool join(const group *g, qn_infer *whole, qn_arena *scratch)
{
    const qn_infer *first = g->members[0];
    *whole = (qn_infer){.serve = first->serve,
                        .served = first->served,
                        .arena = scratch,
                        .tensors = first->tensors,
                        .inputs_count = first->inputs_count,
                        .rows = g->rows,
                        .frame = first->frame};
    if (first->tensors) {
        whole->inputs = QN_NEW(scratch, qn_named_tensor, first->inputs_count);
        for (int i = 0; whole->inputs && i < first->inputs_count; i++) {
            whole->inputs[i].name = first->inputs[i].name;
            if (!join_tensor(g, i, &whole->inputs[i].tensor, scratch))
                return false;
        }
        return whole->inputs != NULL;
    }
    int64_t columns = first->frame.columns_count;
    whole->frame.rows = g->rows;
    whole->frame.columns = QN_NEW(scratch, qn_column, columns + 1);
    for (int64_t i = 0; whole->frame.columns && i < columns; i++)
        if (!join_column(g, i, &whole->frame.columns[i], scratch))
            return false;
    return whole->frame.columns != NULL;
}

/* ---- parting ---- */

static void *copy(qn_arena *arena, const void *src, size_t size)
{
    void *dst = qn_arena_alloc(arena, size);
    if (dst && size)
        memcpy(dst, src, size);
    return dst;
}

static bool part_tensors(const qn_infer *whole, qn_infer *member, int64_t first)
{
    int count = whole->served->signature->outputs_count;
    member->outputs = QN_NEW(member->arena, qn_named_tensor, count);
    for (int i = 0; member->outputs && i < count; i++) {
        member->outputs[i] = whole->outputs[i];
        qn_tensor rows = qn_tensor_rows(&whole->outputs[i].tensor, first, first + member->rows);
        rows.data = copy(member->arena, rows.data, qn_tensor_bytes(&rows));
        member->outputs[i].tensor = rows;
        if (!rows.data)
            return false;
    }
    return member->outputs != NULL;
}

static bool part_rows(const qn_infer *whole, qn_infer *member, int64_t first)
{
    const qn_predictions *all = &whole->predictions;
    qn_predictions *mine = &member->predictions;
    size_t rows = (size_t)member->rows, classes = (size_t)all->classes;
    *mine = *all;
    mine->rows = member->rows;
    if (!all->classes) {
        mine->number = copy(member->arena, all->number + first, rows * sizeof(double));
        return mine->number != NULL;
    }
    mine->choice = copy(member->arena, all->choice + first, rows * sizeof(int64_t));
    mine->probability = copy(member->arena, all->probability + first * all->classes,
                             rows * classes * sizeof(float));
    return mine->choice && mine->probability;
}

static void part(const group *g, const qn_infer *whole)
{
    int64_t first = 0;
    for (int m = 0; m < g->count; m++) {
        qn_infer *member = g->members[m];
        bool good =
            member->tensors ? part_tensors(whole, member, first) : part_rows(whole, member, first);
        member->status =
            good ? QN_OK : qn_error_set(&member->err, QN_ERR_MEMORY, NULL, "out of memory");
        member->begin_ns = whole->begin_ns;
        member->end_ns = whole->end_ns;
        member->run_rows = m == 0 ? g->rows : 0;
        first += member->rows;
    }
}

static void run_group(qn_compute *compute, const group *g)
{
    qn_infer whole;
    qn_arena_reset(&compute->scratch);
    if (g->count > 1 && join(g, &whole, &compute->scratch)) {
        qn_infer_run(&whole);
        if (whole.status == QN_OK) {
            part(g, &whole);
            return;
        }
    }
    for (int m = 0; m < g->count; m++)
        qn_infer_run(g->members[m]);
}

/* ---- the queue and its thread ---- */

/* Takes the oldest request and those that may join it. The lock is held. */
static void take_group(qn_compute *compute, group *g)
{
    qn_infer *first = compute->head;
    int64_t rows_max = first->serve->limits.batch_max;
    *g = (group){.members = {first}, .count = 1, .rows = first->rows};
    compute->head = first->next;
    compute->waiting--;
    qn_infer **at = &compute->head;
    while (*at && g->count < MEMBERS_MAX) {
        qn_infer *x = *at;
        if (g->rows + x->rows > rows_max || !may_join(first, x)) {
            at = &x->next;
            continue;
        }
        *at = x->next;
        compute->waiting--;
        g->members[g->count++] = x;
        g->rows += x->rows;
    }
    compute->tail = &compute->head;
    while (*compute->tail)
        compute->tail = &(*compute->tail)->next;
    for (int m = 0; m < g->count; m++)
        g->members[m]->queued = false;
}

static void finish_in_loop(qn_net_job *job)
{
    qn_infer *x = (qn_infer *)((char *)job - offsetof(qn_infer, job));
    x->done(x);
}

static void compute_main(void *argument)
{
    qn_compute *compute = argument;
    qn_flush_denormals();
    uv_mutex_lock(&compute->lock);
    for (;;) {
        while (!compute->head && !compute->stop)
            uv_cond_wait(&compute->wake, &compute->lock);
        if (compute->stop)
            break;
        group g;
        take_group(compute, &g);
        uv_mutex_unlock(&compute->lock);
        qn_served *served = g.members[0]->served;
        uv_mutex_lock(&served->lock);
        run_group(compute, &g);
        uv_mutex_unlock(&served->lock);
        for (int m = 0; m < g.count; m++)
            qn_net_post(compute->serve->net, &g.members[m]->job);
        uv_mutex_lock(&compute->lock);
    }
    uv_mutex_unlock(&compute->lock);
}

qn_status qn_compute_init(qn_compute *compute, qn_serve *serve, qn_error *err)
{
    *compute = (qn_compute){.serve = serve};
    compute->tail = &compute->head;
    qn_arena_init(&compute->scratch, 0);
    if (uv_mutex_init(&compute->lock) != 0 || uv_cond_init(&compute->wake) != 0)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    return QN_OK;
}

void qn_compute_stop(qn_compute *compute)
{
    if (!compute->started)
        return;
    uv_mutex_lock(&compute->lock);
    compute->stop = true;
    uv_cond_signal(&compute->wake);
    uv_mutex_unlock(&compute->lock);
    uv_thread_join(&compute->thread);
    compute->started = false;
}

void qn_compute_deinit(qn_compute *compute)
{
    uv_cond_destroy(&compute->wake);
    uv_mutex_destroy(&compute->lock);
    qn_arena_deinit(&compute->scratch);
}

qn_status qn_compute_push(qn_compute *compute, qn_infer *x, qn_error *err)
{
    if (!compute->started) {
        if (uv_thread_create(&compute->thread, compute_main, compute) != 0)
            QN_FAIL(err, QN_ERR_BUSY, "the system gives no thread to compute on");
        compute->started = true;
    }
    x->job.run = finish_in_loop;
    x->next = NULL;
    uv_mutex_lock(&compute->lock);
    bool full = compute->waiting >= compute->serve->limits.queue_max;
    if (!full) {
        x->queued = true;
        *compute->tail = x;
        compute->tail = &x->next;
        compute->waiting++;
        uv_cond_signal(&compute->wake);
    }
    uv_mutex_unlock(&compute->lock);
    if (full)
        QN_FAIL(err, QN_ERR_BUSY, "overloaded: %lld requests wait already",
                (long long)compute->serve->limits.queue_max);
    return QN_OK;
}

bool qn_compute_remove(qn_compute *compute, qn_infer *x)
{
    uv_mutex_lock(&compute->lock);
    bool waiting = x->queued;
    for (qn_infer **at = &compute->head; waiting && *at; at = &(*at)->next) {
        if (*at != x)
            continue;
        *at = x->next;
        compute->waiting--;
        x->queued = false;
        break;
    }
    compute->tail = &compute->head;
    while (*compute->tail)
        compute->tail = &(*compute->tail)->next;
    uv_mutex_unlock(&compute->lock);
    return waiting;
}
