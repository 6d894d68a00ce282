/*
 * Transforms: raw columns to the tensors of a model. Fitted on the training rows only, stored in
 * quern.json, and replayed by this same code in training, `predict` and the server, so the three
 * cannot differ.
 *
 * Outputs are named tensors, each with the batch as its first dimension:
 *   "x"        f32 [B, F]        dense features: scaled numbers and their logs and bins, flags,
 * one-hot levels, date parts "index"    i64 [B, K]        one column per embedded category; level
 * counts in `levels` "image"    f32 [B, H, W, C]  pixels in 0..1, channels last; one tensor per
 * image column, named "image" when it is the only one and after its column otherwise NAME       any
 * [B, ...]      tensor columns, unchanged A tensor that has nothing to hold is absent.
 */
#ifndef QN_DATA_TRANSFORM_H
#define QN_DATA_TRANSFORM_H

#include "base/json.h"
#include "data/frame.h"
#include "data/schema.h"
#include "os/pool.h"

typedef struct {
    qn_str name;
    qn_dtype dtype;        /* F32 or I64 */
    qn_shape shape;        /* of one row, without the batch */
    int64_t count;         /* elements of one row */
    const int64_t *levels; /* "index": number of levels of each of the K columns */
    const qn_str *columns; /* "index": the K column names */
    bool table;            /* columns side by side, "x" or "index"; otherwise an array or image */
} qn_feature_tensor;

/* One dense feature, for reports and explanations: "age", "age is missing", "city = Oslo", "log
 * capital-gain". */
typedef struct {
    qn_str name;
    int64_t column; /* index into qn_transforms_inputs */
} qn_feature;

/* A raw input as callers send it: the signature in raw terms. */
typedef struct {
    qn_str name;
    qn_column_type type;
    qn_column_kind kind;             /* what the training file held; others convert when they can */
    int64_t height, width, channels; /* image */
    qn_dtype dtype;                  /* TENSOR */
    qn_shape shape;                  /* TENSOR: of one row */
} qn_raw_input;

typedef struct qn_transforms qn_transforms;

typedef struct {
    int64_t onehot_levels_max; /* more levels become an embedding index; 0 = 64. Linear models pass
                                  INT64_MAX: all one-hot */
    const char *target_loss; /* an array is learned as it is, by this loss: qn_target_array.loss */
    int64_t target_blank;
    const char *const *labels_ignored; /* labels of the target that count as missing */
    int64_t labels_ignored_count;
} qn_transform_options;

/* Fits on `rows` (NULL = all). Memory: `arena` (load lifetime) holds the result. Errors: ERR_DATA,
 * ERR_MEMORY. */
QN_MUST_USE qn_status qn_transforms_fit(const qn_schema *schema, const qn_frame *frame,
                                        const int64_t *rows, int64_t rows_count,
                                        const qn_transform_options *options, qn_arena *arena,
                                        qn_transforms **ret, qn_error *err);

const qn_feature_tensor *qn_transforms_outputs(const qn_transforms *transforms, int64_t *ret_count);
const qn_raw_input *qn_transforms_inputs(const qn_transforms *transforms, int64_t *ret_count);
/* All columns of the training file in its order, target and unused ones among them: what a table without a header
 * holds (qn_dataset_options.expected). */
const qn_str *qn_transforms_columns(const qn_transforms *transforms, int64_t *ret_count);
const qn_feature *qn_transforms_features(const qn_transforms *transforms,
                                         int64_t *ret_count); /* of "x" */

/* The target side. */
qn_task qn_transforms_task(const qn_transforms *transforms);
qn_str qn_transforms_target(const qn_transforms *transforms); /* empty = none */
const qn_str *qn_transforms_labels(const qn_transforms *transforms,
                                   int64_t *ret_count); /* classes in model order */
/* Shares of the labels among the rows of the training part; NULL = no labels, or a folder that does not say. */
const double *qn_transforms_shares(const qn_transforms *transforms);
/* Regression: networks learn (y - mean) / deviation and answers are turned back with these. */
void qn_transforms_target_scale(const qn_transforms *transforms, double *ret_mean,
                                double *ret_deviation);

/* A target that is an array a row, of an NPZ. */
typedef struct {
    qn_shape shape;   /* of one row */
    const char *loss; /* bce, kl or ctc: the numbers are learned as they are; NULL = scaled */
    int64_t blank;    /* ctc: the class that is no label */
} qn_target_array;
const qn_target_array *
qn_transforms_target_array(const qn_transforms *transforms); /* NULL = one value a row */
/* Those rows, raw: f32, or i64 for task transcribe; `dst` holds [count, numbers of a row]. Errors: ERR_DATA for an array of
 * another shape, and naming the row whose numbers are not finite. */
QN_MUST_USE qn_status qn_transforms_arrays(const qn_transforms *transforms, const qn_frame *frame,
                                           const int64_t *rows, int64_t count, void *dst,
                                           qn_error *err);

/* Are the frame's columns usable? Unknown columns are ERR_ARG with the nearest name unless
 * `ignore_unknown`; the target and dropped columns of the training file are known. Missing columns
 * are missing values. */
QN_MUST_USE qn_status qn_transforms_check(const qn_transforms *transforms, const qn_frame *frame,
                                          bool ignore_unknown, qn_error *err);

/* Writes `count` rows (indices `rows`, NULL = 0..count-1) of the frame into one buffer per output
 * tensor, in the order of qn_transforms_outputs (NULL leaves an image out). Allocates from `scratch` only (images and
 * lookups): a table of numbers and categories takes O(columns). Errors: ERR_DATA with row and
 * column when a cell cannot be read as its column's type. Threads: any, `pool` (may be NULL) splits
 * rows. */
QN_MUST_USE qn_status qn_transforms_apply(const qn_transforms *transforms, const qn_frame *frame,
                                          const int64_t *rows, int64_t count, void *const *dst,
                                          qn_pool *pool, qn_arena *scratch, qn_error *err);
/* Class index per row (i64), -1 where the label is missing; ERR_DATA names an unknown label with
 * its row. */
QN_MUST_USE qn_status qn_transforms_classes(const qn_transforms *transforms, const qn_frame *frame,
                                            const int64_t *rows, int64_t count, int64_t *dst,
                                            qn_error *err);
/* Regression targets in raw units (f32), NaN where missing. */
QN_MUST_USE qn_status qn_transforms_numbers(const qn_transforms *transforms, const qn_frame *frame,
                                            const int64_t *rows, int64_t count, float *dst,
                                            qn_error *err);

/* quern.json's "transforms" object; read back with every check that outside data needs. */
/* Cells of the frame whose category none of the training rows had, or too few of them: they were read as any other. */
int64_t qn_transforms_unseen(const qn_transforms *transforms, const qn_frame *frame);

void qn_transforms_write_json(const qn_transforms *transforms, qn_json_writer *w);
QN_MUST_USE qn_status qn_transforms_read_json(const qn_json *json, qn_arena *arena,
                                              qn_transforms **ret, qn_error *err);

#endif
