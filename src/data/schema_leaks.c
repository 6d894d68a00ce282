/*
 * Columns that give the target away. A perfect predictor is seldom a gift: far more often the column was written after
 * the fact. It is reported, never dropped: only people know.
 */
#include <math.h>
#include <stdlib.h>

#include "base/checked.h"
#include "data/levels.h"
#include "data/measure_priv.h"
#include "data/schema_priv.h"

enum {
    ROWS_MAX = 50000, /* a separation of 0.99 shows in far fewer rows */
    ROWS_MIN = 50,
    NAME_SIZE_MIN = 4, /* "y" is in every other word */
};
static const double auc_limit = 0.99, purity_limit = 0.995, correlation_limit = 0.9999;

typedef struct {
    double value;
    bool positive;
} scored;

static int scored_order(const void *left, const void *right)
{
    const scored *a = left, *b = right;
    return a->value < b->value ? -1 : a->value > b->value;
}

/* Area under the ROC curve by ranks (Mann-Whitney), ties counting half. */
static double rank_auc(scored *items, int64_t count)
{
    double positives = 0, below = 0, area = 0;
    qsort(items, (size_t)count, sizeof *items, scored_order);
    for (int64_t begin = 0, end; begin < count; begin = end) {
        double here = 0;
        for (end = begin; end < count && items[end].value == items[begin].value; end++)
            here += items[end].positive;
        double negatives = (double)(end - begin) - here;
        area += here * (below + negatives / 2);
        below += negatives;
        positives += here;
    }
    return positives > 0 && below > 0 ? area / (positives * below) : 0.5;
}

typedef struct {
    const qn_schema *schema;
    const qn_frame *frame;
    const int64_t *rows;
    int64_t rows_count, stride;
    const qn_column *target;
    qn_arena *scratch;
} search;

static double number_auc(const search *in, const qn_column *column)
{
    scored *items = QN_NEW(in->scratch, scored, qn_min_i64(in->rows_count, ROWS_MAX) + 1);
    int64_t count = 0;
    for (int64_t i = 0; items && i < in->rows_count && count < ROWS_MAX; i += in->stride) {
        int64_t row = qn_row_at(in->rows, i);
        char text[32];
        qn_str label;
        if (qn_cell_number(column, row, &items[count].value) != QN_CELL_NUMBER ||
            !qn_schema_label(in->target, row, text, &label))
            continue;
        items[count++].positive = qn_str_equal(label, in->schema->labels[1]);
    }
    double auc = count >= ROWS_MIN ? rank_auc(items, count) : 0.5;
    return fmax(auc, 1 - auc);
}

static double correlation(const search *in, const qn_column *column)
{
    double n = 0, mean_x = 0, mean_y = 0, xx = 0, yy = 0, xy = 0;
    for (int64_t i = 0; i < in->rows_count; i += in->stride) {
        int64_t row = qn_row_at(in->rows, i);
        double x, y;
        if (qn_cell_number(column, row, &x) != QN_CELL_NUMBER ||
            qn_cell_number(in->target, row, &y) != QN_CELL_NUMBER)
            continue;
        n++;
        double dx = x - mean_x, dy = y - mean_y;
        mean_x += dx / n;
        mean_y += dy / n;
        xx += dx * (x - mean_x);
        yy += dy * (y - mean_y);
        xy += dx * (y - mean_y);
    }
    return n >= ROWS_MIN && xx > 0 && yy > 0 ? fabs(xy / sqrt(xx * yy)) : 0;
}

/* Level and label as one key, the size of the level last; data NULL = memory. */
static qn_str join(qn_str level, qn_str label, qn_arena *arena)
{
    size_t size = level.size + label.size + sizeof level.size;
    char *text = qn_arena_alloc(arena, size);
    if (!text)
        return (qn_str){0};
    memcpy(text, level.data, level.size);
    memcpy(text + level.size, label.data, label.size);
    memcpy(text + size - sizeof level.size, &level.size, sizeof level.size);
    return (qn_str){text, size};
}

static qn_str level_of(qn_str pair)
{
    size_t size;
    memcpy(&size, pair.data + pair.size - sizeof size, sizeof size);
    return (qn_str){pair.data, size};
}

/* Share of rows that the most frequent label of their level names rightly; 0 when levels are too many to tell. */
static double level_purity(const search *in, const qn_column *column)
{
    qn_levels levels, pairs;
    qn_levels_init(&levels, in->scratch);
    qn_levels_init(&pairs, in->scratch);
    int64_t seen = 0, right = 0;
    for (int64_t i = 0; i < in->rows_count; i += in->stride) {
        int64_t row = qn_row_at(in->rows, i);
        char level_text[32], label_text[32];
        qn_str label;
        if (qn_column_missing(column, row) || !qn_schema_label(in->target, row, label_text, &label))
            continue;
        qn_str level = qn_column_text(column, row, level_text);
        qn_str pair = join(level, label, in->scratch);
        if (!pair.data || qn_levels_add(&levels, (qn_str){pair.data, level.size}, 1) < 0 ||
            qn_levels_add(&pairs, pair, 1) < 0 || levels.count > ROWS_MAX / 20)
            return 0;
        seen++;
    }
    int64_t *best = QN_NEW(in->scratch, int64_t, levels.count);
    if (!best || seen < ROWS_MIN || levels.count * 20 > seen)
        return 0;
    for (int64_t i = 0; i < pairs.count; i++) {
        int64_t level = qn_levels_find(&levels, level_of(pairs.keys[i]));
        if (level >= 0)
            best[level] = qn_max_i64(best[level], pairs.counts[i]);
    }
    for (int64_t i = 0; i < levels.count; i++)
        right += best[i];
    return (double)right / (double)seen;
}

static bool majority_is_rare(const qn_schema *schema)
{
    int64_t total = 0, most = 0;
    for (int64_t i = 0; i < schema->labels_count; i++) {
        total += schema->label_counts[i];
        most = qn_max_i64(most, schema->label_counts[i]);
    }
    return most * 100 < total * 95;
}

static bool name_contains(qn_str name, qn_str part)
{
    for (size_t at = 0; at + part.size <= name.size; at++)
        if (qn_str_equal_nocase((qn_str){name.data + at, part.size}, part))
            return true;
    return false;
}

static void look_at(const search *in, qn_schema *schema, const qn_schema_column *out,
                    const qn_column *column)
{
    qn_str target = in->target->name;
    bool regression = schema->task == QN_TASK_REGRESSION, number = out->type == QN_TYPE_NUMBER;
    qn_findings *findings = &schema->findings;
    double found;
    if (target.size >= NAME_SIZE_MIN && name_contains(out->name, target))
        qn_finding_add(findings, QN_FINDING_WARNING, "TARGET_NAME", out->name,
                       "'%.*s' is named like the target: was it known before '%.*s'?",
                       QN_STR_ARG(out->name), QN_STR_ARG(target));
    if (regression && number && (found = correlation(in, column)) > correlation_limit)
        qn_finding_add(findings, QN_FINDING_PROBLEM, "TARGET_LEAK", out->name,
                       "'%.*s' alone gives the target away (correlation %.5f)",
                       QN_STR_ARG(out->name), found);
    if (schema->task == QN_TASK_BINARY && number && (found = number_auc(in, column)) > auc_limit)
        qn_finding_add(findings, QN_FINDING_PROBLEM, "TARGET_LEAK", out->name,
                       "'%.*s' alone gives the target away (AUROC %.4f)", QN_STR_ARG(out->name),
                       found);
    if (!regression && !number && majority_is_rare(schema) &&
        (found = level_purity(in, column)) > purity_limit)
        qn_finding_add(findings, QN_FINDING_PROBLEM, "TARGET_LEAK", out->name,
                       "'%.*s' alone gives the target away (right in %.2f %% of rows)",
                       QN_STR_ARG(out->name), 100 * found);
}

qn_status qn_schema_find_leaks(qn_schema *schema, const qn_frame *frame, const int64_t *rows,
                               int64_t rows_count, qn_error *err)
{
    qn_arena scratch; /* of one column */
    bool array = schema->target >= 0 && schema->target < frame->columns_count &&
                 frame->columns[schema->target].kind == QN_COLUMN_ARRAY;
    if (array) /* no column alone gives an array away */
        return QN_OK;
    if (schema->target < 0 || schema->target >= frame->columns_count)
        QN_FAIL(err, QN_ERR_ARG, "a search for leaks needs a target");
    search in = {.schema = schema,
                 .frame = frame,
                 .rows = rows,
                 .rows_count = rows_count,
                 .stride = qn_max_i64(1, (rows_count + ROWS_MAX - 1) / ROWS_MAX),
                 .target = &frame->columns[schema->target],
                 .scratch = &scratch};
    qn_arena_init(&scratch, 0);
    for (int64_t i = 0; i < schema->columns_count; i++) {
        qn_column_type type = schema->columns[i].type;
        qn_arena_reset(&scratch);
        if (i != schema->target &&
            (type == QN_TYPE_NUMBER || type == QN_TYPE_CATEGORY || type == QN_TYPE_BINARY))
            look_at(&in, schema, &schema->columns[i], &frame->columns[i]);
    }
    qn_arena_deinit(&scratch);
    return QN_OK;
}
