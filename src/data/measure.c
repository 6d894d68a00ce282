/*
 * Statistics of one column: moments over all rows, quantiles and distinct values over a sorted copy.
 */
#include "data/measure_priv.h"

#include <math.h>

#include "base/checked.h"
#include "data/levels.h"
#include "format/csv.h"

enum {
    SAMPLE_MAX =
        200000, /* quantiles of so many values are good to a fraction of a percent of rank */
    DISTINCT_MAX =
        100000, /* beyond it a column is an identifier or a text; which of them it is needs no more */
};

qn_cell qn_cell_number(const qn_column *column, int64_t row, double *ret)
{
    if (qn_column_missing(column, row))
        return QN_CELL_MISSING;
    if (column->kind == QN_COLUMN_NUMBER) {
        *ret = column->numbers[row];
        return QN_CELL_NUMBER;
    }
    if (column->kind != QN_COLUMN_STRING)
        return QN_CELL_BAD;
    qn_str text = qn_str_trim(column->strings[row]);
    if (qn_csv_is_missing(text))
        return QN_CELL_MISSING;
    return qn_str_to_f64(text, true, ret) ? QN_CELL_NUMBER : QN_CELL_BAD;
}

qn_cell qn_cell_date(const qn_column *column, int64_t row, qn_date_order order, double *ret)
{
    if (qn_column_missing(column, row))
        return QN_CELL_MISSING;
    if (column->kind != QN_COLUMN_STRING)
        return QN_CELL_BAD;
    qn_str text = qn_str_trim(column->strings[row]);
    if (qn_csv_is_missing(text))
        return QN_CELL_MISSING;
    return qn_date_parse(text, order, ret) ? QN_CELL_NUMBER : QN_CELL_BAD;
}

/* Bits of a double, changed so that unsigned order is numeric order (Herf, "Radix Tricks", 2001). */
static uint64_t order_bits(double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits ^ (bits >> 63 ? UINT64_MAX : UINT64_C(1) << 63);
}

/* Least significant byte first; a byte that is equal everywhere (exponents of small integers) costs one look. */
void qn_sort_f64(double *values, double *scratch, int64_t count)
{
    double *from = values, *to = scratch;
    for (int shift = 0; shift < 64; shift += 8) {
        int64_t starts[256] = {0}, total = 0;
        for (int64_t i = 0; i < count; i++)
            starts[order_bits(from[i]) >> shift & 255]++;
        if (count > 0 && starts[order_bits(from[0]) >> shift & 255] == count)
            continue;
        for (int i = 0; i < 256; i++) {
            int64_t here = starts[i];
            starts[i] = total;
            total += here;
        }
        for (int64_t i = 0; i < count; i++)
            to[starts[order_bits(from[i]) >> shift & 255]++] = from[i];
        double *held = from;
        from = to;
        to = held;
    }
    if (from != values && count > 0)
        memcpy(values, from, (size_t)count * sizeof *values);
}

double qn_sorted_quantile(const qn_sorted *sorted, double share)
{
    if (sorted->count == 0)
        return NAN;
    double at = share * (double)(sorted->count - 1);
    int64_t low = (int64_t)at, high = qn_min_i64(low + 1, sorted->count - 1);
    double part = at - (double)low;
    if (part == 0 || sorted->values[low] == sorted->values[high])
        return sorted->values[low];
    return sorted->values[low] * (1.0 - part) + sorted->values[high] * part;
}

/* Welford's update with third moment (Pebay, SAND2008-6212): one pass, no cancellation. */
typedef struct {
    double count, mean, m2, m3;
} moments;

static void moments_add(moments *m, double value)
{
    double before = m->count;
    m->count += 1;
    double delta = value - m->mean, step = delta / m->count, term = delta * step * before;
    m->mean += step;
    m->m3 += term * step * (m->count - 2) - 3 * step * m->m2;
    m->m2 += term;
}

static void moments_store(const moments *m, qn_column_stats *ret)
{
    ret->mean = m->mean;
    ret->deviation = m->count > 0 ? sqrt(m->m2 / m->count) : 0;
    ret->skewness = m->m2 > 0 ? sqrt(m->count) * m->m3 / pow(m->m2, 1.5) : 0;
}

static void count_value(double value, qn_column_stats *ret, moments *m)
{
    if (m->count == 0)
        ret->minimum = ret->maximum = value;
    ret->minimum = fmin(ret->minimum, value);
    ret->maximum = fmax(ret->maximum, value);
    ret->zeros += value == 0;
    ret->negatives += value < 0;
    ret->integral = ret->integral && value == floor(value);
    moments_add(m, value);
}

/* Puts (level, count) into the list of the most frequent ones, which is kept in order. */
static bool top_beats(qn_level_count a, qn_level_count b)
{
    if (a.count != b.count)
        return a.count > b.count;
    size_t size = a.level.size < b.level.size ? a.level.size : b.level.size;
    int order = size ? memcmp(a.level.data, b.level.data, size) : 0;
    return order != 0 ? order < 0 : a.level.size < b.level.size;
}

static void top_insert(qn_column_stats *stats, qn_level_count entry)
{
    int64_t at = stats->top_count;
    if (at == QN_SCHEMA_TOP && !top_beats(entry, stats->top[at - 1]))
        return;
    at = at == QN_SCHEMA_TOP ? at - 1 : stats->top_count++;
    while (at > 0 && top_beats(entry, stats->top[at - 1])) {
        stats->top[at] = stats->top[at - 1];
        at--;
    }
    stats->top[at] = entry;
}

/* The first two values of a column and how often they stand in it: constants and pairs are told exactly, however long the
 * table; a sample would miss the one row in a million that differs. */
typedef struct {
    double value[2];
    int64_t count[2], other;
} pair;

static void pair_add(pair *p, double value)
{
    for (int i = 0; i < 2; i++) {
        if (p->count[i] == 0)
            p->value[i] = value;
        if (p->value[i] == value) {
            p->count[i]++;
            return;
        }
    }
    p->other++;
}

static bool top_add(double value, int64_t count, qn_column_stats *ret, qn_arena *keep)
{
    char text[32];
    int size = qn_f64_to_text(value, text);
    const char *copy = qn_arena_strndup(keep, text, (size_t)size);
    if (copy)
        top_insert(ret, (qn_level_count){{copy, (size_t)size}, count});
    return copy != NULL;
}

/* What a sample of `kept` values cannot know: constants and pairs exactly, other counts in proportion. */
static bool settle_sample(const pair *seen, int64_t kept, qn_column_stats *ret, qn_arena *keep)
{
    int64_t present = seen->count[0] + seen->count[1] + seen->other;
    if (seen->other > 0) {
        double times = (double)present / (double)qn_max_i64(kept, 1);
        for (int64_t i = 0; i < ret->top_count; i++)
            ret->top[i].count = (int64_t)((double)ret->top[i].count * times + 0.5);
        ret->distinct = qn_max_i64(ret->distinct, 3);
        return true;
    }
    ret->distinct = ret->top_count = 0;
    for (int i = 0; i < 2 && seen->count[i] > 0; i++) {
        ret->distinct++;
        if (!top_add(seen->value[i], seen->count[i], ret, keep))
            return false;
    }
    return true;
}

static bool measure_runs(const qn_sorted *sorted, qn_column_stats *ret, qn_arena *keep)
{
    for (int64_t begin = 0, end; begin < sorted->count; begin = end) {
        double value = sorted->values[begin];
        for (end = begin + 1; end < sorted->count && sorted->values[end] == value;)
            end++;
        ret->distinct++;
        if (end - begin == 1 && ret->top_count == QN_SCHEMA_TOP)
            continue;
        if (ret->top_count == QN_SCHEMA_TOP && end - begin < ret->top[QN_SCHEMA_TOP - 1].count)
            continue;
        if (!top_add(value, end - begin, ret, keep))
            return false;
    }
    return true;
}

static qn_status no_memory(qn_str name, qn_error *err)
{
    QN_FAIL(err, QN_ERR_MEMORY, "no memory for the statistics of column '%.*s'", QN_STR_ARG(name));
}

qn_status qn_measure_numbers(const qn_column *column, bool dates, qn_date_order order,
                             const int64_t *rows, int64_t rows_count, qn_arena *scratch,
                             qn_arena *keep, qn_column_stats *ret, qn_sorted *ret_sorted,
                             qn_error *err)
{
    int64_t stride = (rows_count + SAMPLE_MAX - 1) / SAMPLE_MAX, kept = 0;
    double *values = QN_NEW(scratch, double, qn_min_i64(rows_count, SAMPLE_MAX) + 1);
    double *space = QN_NEW(scratch, double, qn_min_i64(rows_count, SAMPLE_MAX) + 1);
    if (!values || !space)
        return no_memory(column->name, err);
    qn_column_stats stats = {.rows = rows_count, .integral = true};
    moments m = {0};
    pair seen = {0};
    for (int64_t i = 0; i < rows_count; i++) {
        double value;
        int64_t row = qn_row_at(rows, i);
        qn_cell cell =
            dates ? qn_cell_date(column, row, order, &value) : qn_cell_number(column, row, &value);
        if (cell != QN_CELL_NUMBER) {
            stats.missing++;
        } else if (!isfinite(value)) {
            stats.nonfinite++;
        } else {
            count_value(value, &stats, &m);
            pair_add(&seen, value);
            if (stride <= 1 || i % stride == 0)
                values[kept++] = value;
        }
    }
    moments_store(&m, &stats);
    stats.integral = stats.integral && m.count > 0;
    qn_sort_f64(values, space, kept);
    qn_sorted sorted = {values, kept, stride <= 1};
    for (int i = 0; i <= 20; i++)
        stats.quantiles[i] = qn_sorted_quantile(&sorted, i / 20.0);
    if (!measure_runs(&sorted, &stats, keep) ||
        (!sorted.exact && !settle_sample(&seen, kept, &stats, keep)))
        return no_memory(column->name, err);
    *ret = stats;
    if (ret_sorted)
        *ret_sorted = sorted;
    return QN_OK;
}

static int64_t count_words(qn_str text)
{
    int64_t words = 0;
    bool inside = false;
    for (size_t i = 0; i < text.size; i++) {
        bool space = text.data[i] == ' ' || text.data[i] == '\n' || text.data[i] == '\t';
        words += !space && !inside;
        inside = !space;
    }
    return words;
}

qn_status qn_measure_texts(const qn_column *column, const int64_t *rows, int64_t rows_count,
                           qn_arena *scratch, qn_column_stats *ret, qn_error *err)
{
    qn_column_stats stats = {.rows = rows_count};
    qn_levels levels;
    qn_levels_init(&levels, scratch);
    double length = 0, words = 0;
    for (int64_t i = 0; i < rows_count; i++) {
        int64_t row = qn_row_at(rows, i);
        if (qn_column_missing(column, row)) {
            stats.missing++;
            continue;
        }
        qn_str text = column->strings[row];
        length += (double)text.size;
        words += (double)count_words(text);
        stats.length_max = fmax(stats.length_max, (double)text.size);
        if (levels.count >= DISTINCT_MAX && qn_levels_find(&levels, text) < 0)
            continue;
        if (qn_levels_add(&levels, text, 1) < 0)
            return no_memory(column->name, err);
    }
    double present = (double)(rows_count - stats.missing);
    stats.length_mean = present > 0 ? length / present : 0;
    stats.words_mean = present > 0 ? words / present : 0;
    stats.distinct = levels.count;
    for (int64_t i = 0; i < levels.count; i++)
        top_insert(&stats, (qn_level_count){levels.keys[i], levels.counts[i]});
    *ret = stats;
    return QN_OK;
}
