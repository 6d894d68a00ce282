/*
 * What the columns of a frame mean: a type for each with the reason, statistics, the task, and
 * problems found. Inferred from the rows given (the training part when called from training), never
 * from file names or known data sets.
 */
#ifndef QN_DATA_SCHEMA_H
#define QN_DATA_SCHEMA_H

#include "base/json.h"
#include "data/frame.h"

typedef enum {
    QN_TYPE_AUTO, /* only in options */
    QN_TYPE_NUMBER,
    QN_TYPE_CATEGORY,
    QN_TYPE_BINARY, /* a category of two levels, encoded as one 0/1 feature */
    QN_TYPE_DATE,
    QN_TYPE_IMAGE,
    QN_TYPE_TEXT,   /* recognised; left out until text models exist, and said so */
    QN_TYPE_TENSOR, /* an array column of an NPZ: goes to the model as it is */
    QN_TYPE_DROP,
    QN_TYPES
} qn_column_type;

const char *qn_type_name(qn_column_type type); /* "number" */
bool qn_type_find(qn_str name, qn_column_type *ret);

typedef enum {
    QN_TASK_AUTO,
    QN_TASK_BINARY,
    QN_TASK_MULTICLASS,
    QN_TASK_REGRESSION, /* a number a row, or an array of them */
    QN_TASK_TRANSCRIBE, /* a sequence of labels a row: an array of whole numbers, filled up with -1 */
} qn_task;
const char *qn_task_name(qn_task task);
bool qn_task_find(qn_str name, qn_task *ret);

typedef enum { QN_SWITCH_AUTO, QN_SWITCH_OFF, QN_SWITCH_ON } qn_switch;
typedef enum {
    QN_MISSING_AUTO,
    QN_MISSING_MEDIAN,
    QN_MISSING_MEAN,
    QN_MISSING_ZERO
} qn_missing_rule;
typedef enum { QN_SCALE_AUTO, QN_SCALE_STANDARD, QN_SCALE_MINMAX, QN_SCALE_NONE } qn_scale_rule;
typedef enum { QN_ENCODE_AUTO, QN_ENCODE_ONEHOT, QN_ENCODE_EMBED } qn_encode_rule;

/* The recipe's `columns:` entry for one column. All zero = decide everything. */
typedef struct {
    qn_str name;
    qn_column_type type;
    bool drop;
    qn_missing_rule missing;
    qn_switch flag_missing;
    qn_scale_rule scale;
    bool clip; /* clip_low and clip_high are percentiles (0..100) of the training rows */
    double clip_low, clip_high;
    int64_t min_count; /* category: rarer levels become `other`; 0 = auto */
    qn_encode_rule encode;
    qn_switch log; /* number: add the signed logarithm; auto = by skewness */
    /* number: add piecewise-linear quantile bins; auto = by distinct values and rows */
    qn_switch bins;
    int64_t height, width, channels; /* image; 0 = from the data */
} qn_column_options;

#define QN_SCHEMA_TOP 10
typedef struct {
    qn_str level;
    int64_t count;
} qn_level_count;

typedef struct {
    int64_t rows, missing,
        distinct; /* distinct of numbers is of a sample beyond 200,000 rows, exact where it is below 3; of texts it is
                                         exact up to 100,000, then a lower bound */
    double minimum, maximum, mean, deviation, skewness; /* numbers and dates (seconds since 1970) */
    double quantiles[21];                               /* 0, 5, ..., 100 percent */
    int64_t zeros, negatives, nonfinite;
    bool integral;
    qn_level_count top[QN_SCHEMA_TOP]; /* most frequent first (ties: by name) */
    int64_t top_count;
    double length_mean, length_max, words_mean; /* strings */
    int64_t height, width, channels;            /* images and arrays */
} qn_column_stats;

typedef struct {
    qn_str name;
    qn_column_type type;
    bool given;         /* the type came from the recipe, not from the data */
    const char *reason; /* "41 distinct texts in 32,561 rows" */
    qn_column_stats stats;
    qn_column_options options; /* the recipe's entry, completed */
} qn_schema_column;

typedef enum { QN_FINDING_NOTE, QN_FINDING_WARNING, QN_FINDING_PROBLEM } qn_finding_level;
typedef struct {
    qn_finding_level level;
    const char *code; /* stable: CONSTANT, IDENTIFIER, TARGET_LEAK, DUPLICATE_ROWS,
                       * CROSS_SPLIT_DUPLICATES, MISSING, SKEWED, IMBALANCE, HIGH_CARDINALITY,
                       * AMBIGUOUS_DATE, TEXT_LEFT_OUT, LABEL_SPELLING, ... */
    qn_str column;    /* empty = about the table */
    const char *text;
} qn_finding;

typedef struct {
    qn_finding *items;
    int64_t count, capacity;
    qn_arena *arena;
} qn_findings;
/* Silently keeps the first 1000. */
void qn_finding_add(qn_findings *findings, qn_finding_level level, const char *code, qn_str column,
                    const char *format, ...) __attribute__((format(printf, 5, 6)));

typedef struct {
    const char *target;            /* NULL = none (look) */
    const char *id, *time, *group; /* columns with a role, kept out of the features; NULL = none */
    qn_task task;
    const qn_column_options *columns;
    int64_t columns_count;
} qn_schema_options;

typedef struct {
    qn_schema_column *columns; /* in file order, the target among them */
    int64_t columns_count;
    int64_t target; /* index, -1 = none */
    qn_task task;
    const char *task_reason;
    qn_str *
        labels; /* classes in model order: sorted numerically when all are numbers, else bytewise */
    int64_t *label_counts;
    int64_t labels_count;
    int64_t rows;
    qn_findings findings;
} qn_schema;

/* rows: indices to look at, NULL = all rows_count of them. Errors: ERR_ARG for an unknown column
 * (with the nearest name), ERR_DATA when the target cannot be learned (one value only, all
 * missing). Memory: all in `arena`. */
QN_MUST_USE qn_status qn_schema_infer(const qn_frame *frame, const int64_t *rows,
                                      int64_t rows_count, const qn_schema_options *options,
                                      qn_arena *arena, qn_schema *ret, qn_error *err);
/* Replaces the statistics (not types, task or labels) by those of the rows: the training part, for the model's drift
 * sketch. Types come from all rows, so that a rare level in the test part cannot turn a column around. */
QN_MUST_USE qn_status qn_schema_measure(qn_schema *schema, const qn_frame *frame,
                                        const int64_t *rows, int64_t rows_count, qn_arena *arena,
                                        qn_error *err);
const qn_schema_column *qn_schema_find(const qn_schema *schema, qn_str name);

/* Looks for columns that give the target away (alone they separate or predict it almost perfectly,
 * or are named like it) and for rows that stand in more than one part; adds findings. */
QN_MUST_USE qn_status qn_schema_find_leaks(qn_schema *schema, const qn_frame *frame,
                                           const int64_t *rows, int64_t rows_count, qn_error *err);

/* Types, reasons, statistics and labels: the schema and drift sketch of quern.json. */
void qn_schema_write_json(const qn_schema *schema, qn_json_writer *w);

#endif
