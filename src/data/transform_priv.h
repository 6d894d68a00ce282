/*
 * A fitted transform per column. transform_fit.c makes them, transform_apply.c replays them, transform_json.c stores them.
 */
#ifndef QN_DATA_TRANSFORM_PRIV_H
#define QN_DATA_TRANSFORM_PRIV_H

#include "data/dates.h"
#include "data/levels.h"
#include "data/transform.h"

/* v -> (v - shift) * scale */
typedef struct {
    double shift, scale;
} qn_affine;

/* Number: [scaled value] [log] [flag] [bins]. Which of them there are is fixed when fitted. */
typedef struct {
    double fill; /* for missing cells */
    bool plain;  /* the scaled value itself; off where the logarithm stands for it */
    bool log, flag;
    bool clip;
    double clip_low, clip_high;
    qn_affine value, log_value;
    double *
        edges; /* bins_count + 1 ascending edges; feature b is the part of bin b that lies below the value, in 0..1
                    * (piecewise-linear encoding, Gorishniy et al., NeurIPS 2022) */
    int64_t bins_count;
} qn_number_transform;

/* Category: one-hot features or one index. Index 0..levels-1 are levels by falling count, then `other`, then missing,
 * where they exist. */
typedef struct {
    qn_levels levels;
    bool embed;
    bool has_other;   /* rare levels were joined; unseen ones go there too */
    bool has_missing; /* the training rows had missing cells: an own level */
    int64_t width;    /* levels + other + missing */
} qn_category_transform;

/* Binary: 1 for the second level, 0 for the first, `share` for missing or unseen; [flag]. */
typedef struct {
    qn_str level[2];
    double share;
    bool flag;
} qn_binary_transform;

enum {
    QN_DATE_DAYS = 1,    /* time since the training rows began, scaled */
    QN_DATE_MONTH = 2,   /* sine and cosine of the month */
    QN_DATE_WEEKDAY = 4, /* sine and cosine of the day of the week */
    QN_DATE_HOUR = 8,    /* sine and cosine of the time of day */
    QN_DATE_FLAG = 16,   /* missing */
};
typedef struct {
    qn_date_order order;
    unsigned parts;
    qn_affine seconds;
} qn_date_transform;

typedef struct {
    qn_raw_input input;
    /* first feature in "x", or column of "index", or the output tensor of images and tensors */
    int64_t at;
    int64_t width; /* features in "x" */
    union {
        qn_number_transform number;
        qn_category_transform category;
        qn_binary_transform binary;
        qn_date_transform date;
    };
} qn_encoder;

struct qn_transforms {
    qn_encoder *encoders;
    int64_t encoders_count;
    qn_raw_input *inputs;
    qn_feature_tensor *outputs;
    int64_t outputs_count;
    qn_feature *features;
    int64_t features_count;         /* width of "x" */
    int64_t indices_count;          /* width of "index" */
    int64_t x_output, index_output; /* -1 = absent */
    const qn_str *columns;          /* of the training file, in order */
    int64_t columns_count;
    const qn_str *ignored; /* columns of the training file that are not used but may come */
    int64_t ignored_count;
    qn_task task;
    qn_str target; /* empty = none */
    qn_str *labels;
    int64_t labels_count;
    qn_str *labels_ignored; /* these count as missing */
    int64_t labels_ignored_count;
    const double *shares; /* of the labels in the training part; NULL = not known */
    double target_mean, target_deviation;
    qn_target_array target_array; /* shape of rank 0: one value a row */
};

/* Counts widths, places features and makes outputs, inputs and names from the encoders: the same after fitting and after
 * reading. Errors: ERR_MEMORY. */
QN_MUST_USE qn_status qn_transforms_lay_out(qn_transforms *transforms, qn_arena *arena,
                                            qn_error *err);
int64_t qn_date_width(unsigned parts);

#endif
