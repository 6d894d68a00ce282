/*
 * Models as folders: train one from a recipe or a table, open one, ask it for predictions.
 *
 * What `quern train`, `quern eval` and `quern predict` do is one call each of this header.
 */
#ifndef QUERN_MODEL_H
#define QUERN_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "quern/error.h"
#include "quern/view.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Zero or NULL in a field means its default. */
typedef struct {
    const char *out;    /* the model's folder; default: as the recipe says, or models/NAME */
    const char *target; /* with a table instead of a recipe */
    int threads;        /* what the cgroup grants */
    bool resume;        /* go on from the checkpoint in `out` */
    int64_t memory_max_bytes;
    double seconds_max;
    const char *const *set; /* "train.epochs=5": recipe keys and values */
    int set_count;
    /* One JSON object per event, without a line end. A result other than 0 finishes the step, keeps
     * the best weights and writes the report. */
    int (*on_event)(void *context, const char *json);
    void *context;
} qn_train_options;

/* `path` is a recipe (.yaml, .yml, .json) or data. `ret_folder` (may be NULL) gets the folder of
 * the new version, with its end mark; ERR_ARG when it does not fit. */
QN_MUST_USE QN_API qn_status qn_train(const char *path, const qn_train_options *options,
                                      char *ret_folder, size_t ret_folder_size, qn_error *err);

typedef struct qn_model qn_model;

/* The newest version in `folder`, or a version's own folder. NULL = error.
 * Threads: one at a time per model. */
QN_API qn_model *qn_model_open(const char *folder, qn_error *err);
QN_API void qn_model_close(qn_model *model);

/* {"name":..., "task":..., "columns":[...], "inputs":[...], "outputs":[...], "labels":[...]}; lives
 * as long as the model. */
QN_API const char *qn_model_signature(const qn_model *model);

/* Rows as text in, predictions as text out. Rows: CSV with a header, or a JSON array of objects.
 * The answer is a JSON array with one {"prediction":..., "probability":{...}} a row, and lives
 * until the next call. Missing columns are missing values; unknown columns are an error. */
QN_MUST_USE QN_API qn_status qn_model_predict_csv(qn_model *model, const char *rows, size_t size,
                                                  const char **ret_json, qn_error *err);
QN_MUST_USE QN_API qn_status qn_model_predict_json(qn_model *model, const char *rows, size_t size,
                                                   const char **ret_json, qn_error *err);

/* The first tensor input and output, whatever their names. Shapes: as the signature says. */
QN_MUST_USE QN_API qn_status qn_model_predict(qn_model *model, qn_view input, qn_view_out output,
                                              qn_error *err);

#ifdef __cplusplus
}
#endif
#endif
