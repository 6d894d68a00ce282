/*
 * Splits. Every way ends in one byte per row (train, valid, test or left out); only how it is chosen differs. Choices are pure
 * functions of the seed and of the row's own key, so the same data gives the same parts on every machine.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/rng.h"
#include "data/dataset.h"
#include "data/levels.h"
#include "data/measure_priv.h"
#include "data/schema_priv.h"

enum { PART_TRAIN, PART_VALID, PART_TEST, PART_NONE };
enum { SPLIT_STREAM = 0x5350 /* "SP" */, VALID_MAX = 5000 };

static const char *const split_names[] = {"auto", "random", "stratified", "group",
                                          "time", "hash",   "column"};

const char *qn_split_name(qn_split_by by)
{
    return split_names[by];
}

bool qn_split_find(qn_str name, qn_split_by *ret)
{
    for (int i = 0; i <= QN_SPLIT_COLUMN; i++)
        if (qn_str_is(name, split_names[i])) {
            *ret = (qn_split_by)i;
            return true;
        }
    return false;
}

typedef struct {
    const qn_dataset *dataset;
    const qn_schema *schema;
    qn_split_options options;
    bool given;                     /* the data brings its own test rows */
    double valid_share, test_share; /* of the rows to split */
    int64_t *rows;                  /* rows to split: main rows that have a target */
    int64_t count;
    uint8_t *parts; /* per frame row */
    qn_arena *scratch;
} splitting;

static qn_status no_memory(qn_error *err)
{
    QN_FAIL(err, QN_ERR_MEMORY, "no memory to split the rows");
}

static bool has_target(const splitting *in, int64_t row)
{
    if (in->schema->target < 0)
        return true;
    return !qn_column_missing(&in->dataset->frame.columns[in->schema->target], row);
}

static qn_status choose_shares(splitting *in, qn_error *err)
{
    const double *parts = in->options.parts;
    double sum = parts[0] + parts[1] + parts[2];
    bool automatic = sum == 0;
    if (!automatic && (fabs(sum - 1) > 1e-6 || parts[0] <= 0 || parts[1] < 0 || parts[2] < 0))
        QN_FAIL(err, QN_ERR_ARG,
                "split parts %g, %g, %g: expected shares that sum to 1, the first above 0",
                parts[0], parts[1], parts[2]);
    if (in->given && automatic) /* a tenth for early stopping, and no more than it needs */
        in->valid_share = fmin(0.1, VALID_MAX / fmax(1, (double)in->count));
    else if (in->given)
        in->valid_share = parts[1] / (parts[0] + parts[1]);
    else {
        in->valid_share = automatic ? 0.1 : parts[1];
        in->test_share = automatic ? 0.2 : parts[2];
    }
    return QN_OK;
}

/* How many of n rows go to valid and test; train keeps at least one. */
static void part_sizes(const splitting *in, int64_t n, int64_t *ret_valid, int64_t *ret_test)
{
    *ret_test = (int64_t)((double)n * in->test_share + 0.5);
    *ret_valid = (int64_t)((double)n * in->valid_share + 0.5);
    while (n > 0 && *ret_test + *ret_valid >= n) {
        if (*ret_valid > 0)
            --*ret_valid;
        else
            --*ret_test;
    }
}

static void deal(splitting *in, const int64_t *rows, int64_t n)
{
    int64_t valid, test;
    part_sizes(in, n, &valid, &test);
    for (int64_t i = 0; i < n; i++)
        in->parts[rows[i]] = i < test ? PART_TEST : i < test + valid ? PART_VALID : PART_TRAIN;
}

static void split_random(splitting *in)
{
    qn_rng rng = {.seed = in->options.seed, .stream = SPLIT_STREAM};
    qn_rng_shuffle(rng, in->rows, in->count);
    deal(in, in->rows, in->count);
}

static int64_t label_of(const splitting *in, int64_t row)
{
    char scratch[32];
    qn_str text;
    if (!qn_schema_label(&in->dataset->frame.columns[in->schema->target], row, scratch, &text))
        return 0;
    for (int64_t i = 0; i < in->schema->labels_count; i++)
        if (qn_str_equal(in->schema->labels[i], text))
            return i;
    return 0;
}

/* Shuffled as one, then dealt class by class: a stable counting sort keeps the shuffle inside each class. */
static qn_status split_stratified(splitting *in, qn_error *err)
{
    int64_t classes = in->schema->labels_count;
    int64_t *sorted = QN_NEW(in->scratch, int64_t, in->count),
            *labels = QN_NEW(in->scratch, int64_t, in->count);
    int64_t *starts = QN_NEW(in->scratch, int64_t, classes + 1);
    if (!sorted || !labels || !starts)
        return no_memory(err);
    qn_rng rng = {.seed = in->options.seed, .stream = SPLIT_STREAM};
    qn_rng_shuffle(rng, in->rows, in->count);
    for (int64_t i = 0; i < in->count; i++) {
        labels[i] = label_of(in, in->rows[i]);
        starts[labels[i] + 1]++;
    }
    for (int64_t c = 0; c < classes; c++)
        starts[c + 1] += starts[c];
    for (int64_t i = 0; i < in->count; i++)
        sorted[starts[labels[i]]++] = in->rows[i];
    int64_t begin = 0;
    for (int64_t c = 0; c < classes; c++) { /* starts[c] has moved to the end of class c */
        deal(in, sorted + begin, starts[c] - begin);
        begin = starts[c];
    }
    return QN_OK;
}

static qn_status find_key(const splitting *in, const qn_column **ret, qn_error *err)
{
    const qn_frame *frame = &in->dataset->frame;
    if (!in->options.key)
        QN_FAIL(err, QN_ERR_ARG, "a %s split needs a key column", qn_split_name(in->options.by));
    *ret = qn_frame_find(frame, qn_str_from(in->options.key));
    if (*ret && (*ret)->kind != QN_COLUMN_ARRAY)
        return QN_OK;
    qn_status status =
        qn_error_set(err, QN_ERR_ARG, NULL,
                     "the split's key '%s' is not a column that can be compared", in->options.key);
    return qn_schema_hint_name(frame, qn_str_from(in->options.key), status, err);
}

/* Whole groups in shuffled order fill test, then valid, then train. */
static qn_status split_group(splitting *in, qn_error *err)
{
    const qn_column *key = NULL;
    QN_TRY(find_key(in, &key, err));
    qn_levels groups;
    qn_levels_init(&groups, in->scratch);
    int64_t *group_of = QN_NEW(in->scratch, int64_t, in->count);
    for (int64_t i = 0; group_of && i < in->count; i++) {
        char text[32];
        qn_str level = qn_column_text(key, in->rows[i], text);
        level.data = qn_arena_strndup(in->scratch, level.data, level.size);
        group_of[i] = level.data ? qn_levels_add(&groups, level, 1) : -1;
        if (group_of[i] < 0)
            return no_memory(err);
    }
    int64_t *order = QN_NEW(in->scratch, int64_t, groups.count);
    uint8_t *part = QN_NEW(in->scratch, uint8_t, groups.count);
    if (!group_of || !order || !part)
        return no_memory(err);
    for (int64_t g = 0; g < groups.count; g++)
        order[g] = g;
    qn_rng_shuffle((qn_rng){.seed = in->options.seed, .stream = SPLIT_STREAM}, order, groups.count);
    int64_t valid, test, used = 0;
    part_sizes(in, in->count, &valid, &test);
    for (int64_t g = 0; g < groups.count; g++) {
        part[order[g]] = used < test ? PART_TEST : used < test + valid ? PART_VALID : PART_TRAIN;
        used += groups.counts[order[g]];
    }
    for (int64_t i = 0; i < in->count; i++)
        in->parts[in->rows[i]] = part[group_of[i]];
    return QN_OK;
}

typedef struct {
    double when;
    int64_t row;
} timed;

static int timed_order(const void *left, const void *right)
{
    const timed *a = left, *b = right;
    if (a->when != b->when)
        return a->when < b->when ? -1 : 1;
    return a->row < b->row ? -1 : a->row > b->row;
}

/* Newest rows first, dealt like shuffled ones: test, valid, train. */
static qn_status split_time(splitting *in, qn_error *err)
{
    const qn_column *key = NULL;
    bool ambiguous;
    qn_date_order order = QN_DATE_ISO;
    QN_TRY(find_key(in, &key, err));
    bool dates = key->kind == QN_COLUMN_STRING &&
                 qn_schema_find_date(key, in->rows, in->count, &order, &ambiguous);
    timed *sorted = QN_NEW(in->scratch, timed, in->count);
    if (!sorted)
        return no_memory(err);
    for (int64_t i = 0; i < in->count; i++) {
        int64_t row = in->rows[i];
        sorted[i].row = row;
        qn_cell cell = dates ? qn_cell_date(key, row, order, &sorted[i].when)
                             : qn_cell_number(key, row, &sorted[i].when);
        if (cell != QN_CELL_NUMBER) {
            char where[160];
            qn_frame_where(&in->dataset->frame, key, row, where);
            return qn_error_set(err, QN_ERR_DATA, where,
                                "a time split needs a date or number in every row");
        }
    }
    qsort(sorted, (size_t)in->count, sizeof *sorted, timed_order);
    for (int64_t i = 0; i < in->count; i++)
        in->rows[i] = sorted[in->count - 1 - i].row;
    deal(in, in->rows, in->count);
    return QN_OK;
}

static qn_status split_hash(splitting *in, qn_error *err)
{
    const qn_column *key = NULL;
    QN_TRY(find_key(in, &key, err));
    for (int64_t i = 0; i < in->count; i++) {
        char text[32];
        qn_str level = qn_column_text(key, in->rows[i], text);
        double share =
            (double)(qn_hash64(level.data, level.size, in->options.seed) >> 11) * 0x1p-53;
        in->parts[in->rows[i]] = share < in->test_share                     ? PART_TEST
                                 : share < in->test_share + in->valid_share ? PART_VALID
                                                                            : PART_TRAIN;
    }
    return QN_OK;
}

static qn_status split_column(splitting *in, qn_error *err)
{
    static const struct {
        const char *word;
        uint8_t part;
    } table[] = {{"train", PART_TRAIN}, {"valid", PART_VALID}, {"validation", PART_VALID},
                 {"val", PART_VALID},   {"dev", PART_VALID},   {"test", PART_TEST}};
    const qn_column *key = NULL;
    QN_TRY(find_key(in, &key, err));
    for (int64_t i = 0; i < in->count; i++) {
        char text[32], where[160];
        qn_str level = qn_column_text(key, in->rows[i], text);
        in->parts[in->rows[i]] = PART_NONE;
        for (size_t k = 0; k < sizeof table / sizeof table[0]; k++)
            if (qn_str_equal_nocase(level, qn_str_from(table[k].word)))
                in->parts[in->rows[i]] = table[k].part;
        if (in->parts[in->rows[i]] != PART_NONE)
            continue;
        qn_frame_where(&in->dataset->frame, key, in->rows[i], where);
        return qn_error_set(err, QN_ERR_DATA, where, "'%.*s' is not train, valid or test",
                            (int)qn_min_i64((int64_t)level.size, 60), level.data);
    }
    return QN_OK;
}

static qn_status choose_parts(splitting *in, qn_error *err)
{
    switch (in->options.by) {
    case QN_SPLIT_STRATIFIED:
        if (in->schema->labels_count > 0)
            return split_stratified(in, err);
        break;
    case QN_SPLIT_GROUP:
        return split_group(in, err);
    case QN_SPLIT_TIME:
        return split_time(in, err);
    case QN_SPLIT_HASH:
        return split_hash(in, err);
    case QN_SPLIT_COLUMN:
        return split_column(in, err);
    case QN_SPLIT_AUTO:
    case QN_SPLIT_RANDOM:
        break;
    }
    split_random(in);
    return QN_OK;
}

static qn_status gather_rows(splitting *in, qn_error *err)
{
    const qn_dataset *dataset = in->dataset;
    in->rows = QN_NEW(in->scratch, int64_t, dataset->rows_main);
    in->parts = QN_NEW(in->scratch, uint8_t, dataset->frame.rows);
    if (!in->rows || !in->parts)
        return no_memory(err);
    for (int64_t row = 0; row < dataset->frame.rows; row++) {
        bool usable = has_target(in, row);
        in->parts[row] = usable && row >= dataset->rows_main ? PART_TEST : PART_NONE;
        if (usable && row < dataset->rows_main)
            in->rows[in->count++] = row;
    }
    return QN_OK;
}

static qn_status store(const splitting *in, qn_arena *arena, qn_split *ret, qn_error *err)
{
    int64_t *lists[3], counts[3] = {0}, rows = in->dataset->frame.rows;
    for (int64_t row = 0; row < rows; row++)
        if (in->parts[row] != PART_NONE)
            counts[in->parts[row]]++;
    for (int part = 0; part < 3; part++) {
        lists[part] = QN_NEW(arena, int64_t, counts[part]);
        if (!lists[part])
            return no_memory(err);
        counts[part] = 0;
    }
    for (int64_t row = 0; row < rows; row++)
        if (in->parts[row] != PART_NONE)
            lists[in->parts[row]][counts[in->parts[row]]++] = row;
    double all = fmax(1, (double)(counts[0] + counts[1] + counts[2]));
    *ret = (qn_split){lists[0],  lists[1],  lists[2],       counts[0],
                      counts[1], counts[2], in->options.by, NULL};
    ret->text = qn_arena_printf(
        arena, "%.0f/%.0f/%.0f %s%s, seed %llu", 100 * (double)counts[0] / all,
        100 * (double)counts[1] / all, 100 * (double)counts[2] / all, qn_split_name(in->options.by),
        in->given ? " with the given test rows" : "", (unsigned long long)in->options.seed);
    return ret->text ? QN_OK : no_memory(err);
}

static qn_status make(splitting *in, qn_arena *arena, qn_split *ret, qn_error *err)
{
    QN_TRY(gather_rows(in, err));
    if (in->count < 1)
        QN_FAIL(err, QN_ERR_DATA, "no rows are left to split: at least 1 with a target is needed");
    if (in->options.by == QN_SPLIT_AUTO)
        in->options.by = in->schema->labels_count > 0 ? QN_SPLIT_STRATIFIED : QN_SPLIT_RANDOM;
    QN_TRY(choose_shares(in, err));
    QN_TRY(choose_parts(in, err));
    QN_TRY(store(in, arena, ret, err));
    if (ret->train_count == 0)
        QN_FAIL(err, QN_ERR_DATA, "the split leaves no training rows out of %lld",
                (long long)in->count);
    return QN_OK;
}

qn_status qn_split_make(const qn_dataset *dataset, const qn_schema *schema,
                        const qn_split_options *options, qn_arena *arena, qn_split *ret,
                        qn_findings *findings, qn_error *err)
{
    qn_arena scratch;
    qn_arena_init(&scratch, 0);
    splitting in = {.dataset = dataset,
                    .schema = schema,
                    .options = *options,
                    .scratch = &scratch,
                    .given = dataset->rows_main < dataset->frame.rows};
    qn_status status = make(&in, arena, ret, err);
    qn_arena_deinit(&scratch);
    if (status == QN_OK && findings && (ret->valid_count == 0 || ret->test_count == 0))
        qn_finding_add(findings, QN_FINDING_WARNING, "EMPTY_PART", (qn_str){"", 0},
                       "the split has %lld validation and %lld test rows: what it says of unseen "
                       "data is little",
                       (long long)ret->valid_count, (long long)ret->test_count);
    return status;
}
