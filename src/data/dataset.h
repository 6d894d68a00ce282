/*
 * Opening DATA (SPEC.md section 2) as one frame, splitting its rows, and looking for rows that leak
 * between the parts.
 */
#ifndef QN_DATA_DATASET_H
#define QN_DATA_DATASET_H

#include "base/hash.h"
#include "data/frame.h"
#include "data/schema.h"

/* Does a table's first row hold column names? The same values as format/csv.h, which train/ does not see. */
typedef enum { QN_HEADER_AUTO, QN_HEADER_YES, QN_HEADER_NO } qn_header;

typedef struct {
    const char *const *paths; /* files, folders and patterns (*, ?, [..]) */
    int64_t paths_count;
    const char *test;   /* a second table or folder, NULL = none */
    const char *target; /* NULL = none; IDX folders and CLASS/file folders have the target "label"
                           by themselves */
    const char *const *ignored; /* labels of the target that count as missing */
    int64_t ignored_count;
    qn_header header;
    const char *const *names; /* column names of a table without a header */
    int64_t names_count;
    const qn_str *
        expected; /* columns that a model was trained on: a table without a header that has as many cells (or
                             * as many without the target) has these; NULL = none */
    int64_t expected_count;
    const char *const
        *texts; /* further columns to keep as text (id, categories declared in the recipe) */
    int64_t texts_count;
    const char *const *
        images; /* columns known to hold paths of images: every cell must be one. Others are found out */
    int64_t images_count;
    int64_t memory_max; /* bytes the rows may take; 0 = none. ERR_BUDGET says what is needed */
} qn_dataset_options;

typedef struct {
    qn_frame frame;     /* the training file's rows, then the given test rows */
    int64_t rows_main;  /* rows [0, rows_main) are from `paths`; the rest from `test` (or the t10k
                           files) */
    const char *target; /* the option, or the one the layout implies; NULL = none */
    const char *kind;   /* "csv", "idx folder", "npz", "image folder" */
    const char *const *files; /* every file read, for the run record */
    const qn_digest *digests; /* of each */
    int64_t files_count;
    qn_findings findings; /* what opening noticed: header recognised, labels mapped, ... */
} qn_dataset;

/* Memory: everything lives in the dataset until close. Errors: ERR_NOT_FOUND, ERR_IO, ERR_DATA with
 * file, row and column, ERR_BUDGET, ERR_ARG (unknown target with the nearest name). Threads: any.
 */
QN_MUST_USE qn_status qn_dataset_open(const qn_dataset_options *options, qn_dataset **ret,
                                      qn_error *err);
void qn_dataset_close(qn_dataset *dataset);

typedef enum {
    QN_SPLIT_AUTO, /* stratified for classes, random for numbers; `given` keeps a given test file */
    QN_SPLIT_RANDOM,
    QN_SPLIT_STRATIFIED,
    QN_SPLIT_GROUP,  /* all rows of one key on one side */
    QN_SPLIT_TIME,   /* oldest rows train, newest test */
    QN_SPLIT_HASH,   /* side from the hash of the key: stays when data grows */
    QN_SPLIT_COLUMN, /* a column says train, valid or test */
} qn_split_by;
const char *qn_split_name(qn_split_by by);
bool qn_split_find(qn_str name, qn_split_by *ret);

typedef struct {
    qn_split_by by;
    double parts[3]; /* train, valid, test; all zero = 0.7 0.1 0.2. With a given test file: test
                        comes from it */
    uint64_t seed;
    const char *key;      /* column for group, time, hash, column */
    bool keep_duplicates; /* by default rows whose twin stands in an earlier part (train, valid,
                             test) are reported only */
} qn_split_options;

typedef struct {
    int64_t *train, *valid, *test; /* row indices, ascending */
    int64_t train_count, valid_count, test_count;
    qn_split_by by;
    const char *text; /* "70/10/20 stratified, seed 1" */
} qn_split;

/* Rows whose target is missing are left out and reported. `stratify` columns come from the schema's
 * target. Errors: ERR_ARG, ERR_DATA (too few rows: says how many are needed). */
QN_MUST_USE qn_status qn_split_make(const qn_dataset *dataset, const qn_schema *schema,
                                    const qn_split_options *options, qn_arena *arena, qn_split *ret,
                                    qn_findings *findings, qn_error *err);
/* Equal rows (target included) that stand in more than one part: counts per pair of parts, as
 * findings. */
QN_MUST_USE qn_status qn_split_find_duplicates(const qn_dataset *dataset, const qn_split *split,
                                               qn_arena *scratch, qn_findings *findings,
                                               qn_error *err);

#endif
