/*
 * Equal rows, by a 64-bit hash of all cells: within a table (profile) and across the parts of a split (a leak).
 */
#include "base/checked.h"
#include "base/hash.h"
#include "data/dataset.h"
#include "data/duplicates_priv.h"

uint64_t qn_row_hash(const qn_frame *frame, int64_t row)
{
    uint64_t hash = 0;
    for (int64_t c = 0; c < frame->columns_count; c++) {
        const qn_column *column = &frame->columns[c];
        bool missing = column->kind != QN_COLUMN_ARRAY && qn_column_missing(column, row);
        if (missing) {
            hash = qn_hash64("?", 1, hash);
        } else if (column->kind == QN_COLUMN_NUMBER) {
            double value = column->numbers[row] + 0.0; /* -0 and 0 are the same */
            hash = qn_hash64(&value, sizeof value, hash);
        } else if (column->kind == QN_COLUMN_ARRAY) {
            qn_tensor one = qn_tensor_rows(&column->array, row, row + 1);
            hash = qn_hash64(one.data, qn_tensor_bytes(&one), hash);
        } else {
            hash = qn_hash64(column->strings[row].data, column->strings[row].size, hash);
        }
    }
    return hash;
}

bool qn_row_set_init(qn_row_set *set, int64_t rows, qn_arena *arena)
{
    int64_t slots = 16;
    while (slots < 2 * rows)
        slots *= 2;
    *set = (qn_row_set){QN_NEW(arena, uint64_t, slots), (uint64_t)slots - 1};
    return set->slots != NULL;
}

bool qn_row_set_has(const qn_row_set *set, uint64_t hash)
{
    hash |= hash == 0; /* 0 marks an empty slot */
    uint64_t at = hash & set->mask;
    while (set->slots[at] && set->slots[at] != hash)
        at = (at + 1) & set->mask;
    return set->slots[at] == hash;
}

void qn_row_set_add(qn_row_set *set, uint64_t hash)
{
    hash |= hash == 0;
    uint64_t at = hash & set->mask;
    while (set->slots[at] && set->slots[at] != hash)
        at = (at + 1) & set->mask;
    set->slots[at] = hash;
}

static int64_t count_known(const qn_frame *frame, const int64_t *rows, int64_t count,
                           const qn_row_set *known)
{
    int64_t found = 0;
    for (int64_t i = 0; i < count; i++)
        found += qn_row_set_has(known, qn_row_hash(frame, rows[i]));
    return found;
}

static void report(qn_findings *findings, int64_t found, int64_t count, const char *part,
                   const char *other)
{
    if (found > 0)
        qn_finding_add(
            findings, QN_FINDING_WARNING, "CROSS_SPLIT_DUPLICATES", (qn_str){"", 0},
            "%lld of %lld %s rows stand in the %s part too: its results look better than they are",
            (long long)found, (long long)count, part, other);
}

qn_status qn_split_find_duplicates(const qn_dataset *dataset, const qn_split *split,
                                   qn_arena *scratch, qn_findings *findings, qn_error *err)
{
    qn_row_set train;
    if (!qn_row_set_init(&train, split->train_count, scratch))
        QN_FAIL(err, QN_ERR_MEMORY, "no memory to look for duplicate rows");
    for (int64_t i = 0; i < split->train_count; i++)
        qn_row_set_add(&train, qn_row_hash(&dataset->frame, split->train[i]));
    report(findings, count_known(&dataset->frame, split->valid, split->valid_count, &train),
           split->valid_count, "validation", "training");
    report(findings, count_known(&dataset->frame, split->test, split->test_count, &train),
           split->test_count, "test", "training");
    return QN_OK;
}
