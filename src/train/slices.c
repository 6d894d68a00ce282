/*
 * Slices: the same metric on the rows of one level of one category column, so that a good average cannot hide a
 * group that the model fails.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "train/evaluate.h"

enum {
    LEVELS_MAX = 256,  /* a column with more is an identifier or text here */
    TABLE_SIZE = 1024, /* open addressing, a quarter full at most */
    LEVELS_KEPT = 10
};

typedef struct {
    qn_str text;
    int64_t rows;
} level;

typedef struct {
    const qn_outcome *outcome;
    const qn_frame *frame;
    const int64_t *frame_rows;
    qn_metric metric;
    qn_arena *arena;
    qn_arena scratch;
    level levels[LEVELS_MAX];
    int64_t levels_count;
    int16_t table[TABLE_SIZE]; /* index + 1 of a level; 0 = free */
    int16_t *level_of;         /* per row of the outcome; -1 = missing */
    qn_slices found;
} slicer;

static qn_status fail_memory(qn_error *err)
{
    return qn_error_set(err, QN_ERR_MEMORY, NULL, "no memory for slices");
}

/* Index of the level; -1 = more levels than are kept, -2 = memory. */
static int find_level(slicer *s, qn_str text)
{
    uint64_t at = qn_hash64(text.data, text.size, 0) % TABLE_SIZE;
    for (; s->table[at]; at = (at + 1) % TABLE_SIZE)
        if (qn_str_equal(s->levels[s->table[at] - 1].text, text))
            return s->table[at] - 1;
    if (s->levels_count == LEVELS_MAX)
        return -1;
    char *copy = qn_arena_strndup(s->arena, text.data, text.size);
    if (!copy)
        return -2;
    s->levels[s->levels_count] = (level){.text = {copy, text.size}};
    s->table[at] = (int16_t)(s->levels_count + 1);
    return (int)s->levels_count++;
}

/* false: too many levels for slices, or memory (*err is then set). */
static bool count_levels(slicer *s, const qn_column *column, qn_status *status, qn_error *err)
{
    char scratch[32];
    s->levels_count = 0;
    memset(s->table, 0, sizeof s->table);
    for (int64_t i = 0; i < s->outcome->rows; i++) {
        int64_t row = s->frame_rows ? s->frame_rows[i] : i;
        s->level_of[i] = -1;
        if (qn_column_missing(column, row))
            continue;
        int index = find_level(s, qn_column_text(column, row, scratch));
        if (index == -2)
            *status = fail_memory(err);
        if (index < 0)
            return false;
        s->level_of[i] = (int16_t)index;
        s->levels[index].rows++;
    }
    return true;
}

/* The outcome's rows of one level, copied side by side. */
static qn_status gather(slicer *s, int index, qn_outcome *ret, qn_error *err)
{
    const qn_outcome *all = s->outcome;
    int64_t rows = s->levels[index].rows;
    int64_t classes = all->classes;
    bool labelled = all->labels != NULL;
    int64_t *labels = QN_NEW(&s->scratch, int64_t, labelled ? rows : 0);
    float *probability = QN_NEW(&s->scratch, float, labelled ? rows *classes : 0);
    double *truth = QN_NEW(&s->scratch, double, labelled ? 0 : rows);
    double *number = QN_NEW(&s->scratch, double, labelled ? 0 : rows);
    if (!labels || !probability || !truth || !number)
        return fail_memory(err);
    int64_t at = 0;
    for (int64_t i = 0; i < all->rows; i++) {
        if (s->level_of[i] != index)
            continue;
        if (labelled) {
            labels[at] = all->labels[i];
            memcpy(probability + at * classes, all->probability + i * classes,
                   (size_t)classes * sizeof *probability);
        } else {
            truth[at] = all->truth[i];
            number[at] = all->number[i];
        }
        at++;
    }
    *ret = (qn_outcome){.task = all->task, .rows = rows, .classes = classes};
    if (labelled) {
        ret->labels = labels;
        ret->probability = probability;
    } else {
        ret->truth = truth;
        ret->number = number;
    }
    return QN_OK;
}

static qn_status add_slice(slicer *s, const qn_column *column, int index, qn_error *err)
{
    qn_outcome part;
    qn_score score;
    qn_arena_reset(&s->scratch);
    QN_TRY(gather(s, index, &part, err));
    QN_TRY(qn_metric_of(s->metric, &part, &s->scratch, &score, err));
    s->found.items[s->found.count++] =
        (qn_slice){column->name, s->levels[index].text, part.rows, score.value};
    return QN_OK;
}

/* The most frequent level not yet taken (rows set to 0 when it is); -1 = none large enough. */
static int next_level(const slicer *s)
{
    int best = -1;
    for (int i = 0; i < s->levels_count; i++)
        if (s->levels[i].rows >= QN_SLICE_ROWS_MIN &&
            (best < 0 || s->levels[i].rows > s->levels[best].rows))
            best = i;
    return best;
}

static qn_status slice_column(slicer *s, const qn_column *column, qn_error *err)
{
    qn_status status = QN_OK;
    if (!count_levels(s, column, &status, err))
        return status;
    for (int kept = 0; kept < LEVELS_KEPT && s->found.count < QN_SLICES_MAX; kept++) {
        int index = next_level(s);
        if (index < 0)
            break;
        QN_TRY(add_slice(s, column, index, err));
        s->levels[index].rows = 0;
    }
    return QN_OK;
}

/* Worst first, undefined values last; ties in the order found. */
static void sort_slices(qn_slices *slices)
{
    bool higher = qn_metric_higher_is_better(slices->metric);
    for (int64_t i = 1; i < slices->count; i++) {
        qn_slice item = slices->items[i];
        int64_t at = i;
        for (; at > 0 && !isnan(item.value); at--) {
            double above = slices->items[at - 1].value;
            if (!isnan(above) && (higher ? above <= item.value : above >= item.value))
                break;
            slices->items[at] = slices->items[at - 1];
        }
        slices->items[at] = item;
    }
}

static qn_status slice_all(slicer *s, const qn_transforms *transforms, qn_error *err)
{
    int64_t count;
    const qn_raw_input *inputs = qn_transforms_inputs(transforms, &count);
    for (int64_t i = 0; i < count && s->found.count < QN_SLICES_MAX; i++) {
        const qn_column *column = qn_frame_find(s->frame, inputs[i].name);
        bool category = inputs[i].type == QN_TYPE_CATEGORY || inputs[i].type == QN_TYPE_BINARY;
        bool scalar =
            column && (column->kind == QN_COLUMN_STRING || column->kind == QN_COLUMN_NUMBER);
        if (category && scalar)
            QN_TRY(slice_column(s, column, err));
    }
    return QN_OK;
}

qn_status qn_slices_of(const qn_outcome *outcome, const qn_frame *frame, const int64_t *frame_rows,
                       const qn_transforms *transforms, qn_metric metric, qn_arena *arena,
                       qn_slices *ret, qn_error *err)
{
    slicer *s = QN_NEW(arena, slicer, 1);
    if (!s)
        return fail_memory(err);
    *s = (slicer){.outcome = outcome,
                  .frame = frame,
                  .frame_rows = frame_rows,
                  .metric = metric,
                  .arena = arena,
                  .found = {.metric = metric}};
    s->level_of = QN_NEW(arena, int16_t, outcome->rows);
    s->found.items = QN_NEW(arena, qn_slice, QN_SLICES_MAX);
    if (!s->level_of || !s->found.items)
        return fail_memory(err);
    qn_arena_init(&s->scratch, 0);
    qn_status status = slice_all(s, transforms, err);
    qn_arena_deinit(&s->scratch);
    if (status != QN_OK)
        return status;
    sort_slices(&s->found);
    *ret = s->found;
    return QN_OK;
}

void qn_slices_write_json(const qn_slices *slices, qn_json_writer *w)
{
    qn_json_array_begin(w);
    for (int64_t i = 0; i < slices->count; i++) {
        const qn_slice *slice = &slices->items[i];
        qn_json_object_begin(w);
        qn_json_key(w, "column");
        qn_json_str(w, slice->column);
        qn_json_key(w, "level");
        qn_json_str(w, slice->level);
        qn_json_put_i64(w, "rows", slice->rows);
        qn_json_key(w, qn_metric_name(slices->metric));
        qn_json_f64(w, slice->value);
        qn_json_object_end(w);
    }
    qn_json_array_end(w);
}
