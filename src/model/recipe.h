/*
 * The recipe (SPEC.md section 2): one table of keys gives reading with types, errors with line, column and
 * the nearest key, the JSON Schema, the commented recipe that is written, --set, QUERN_* and the origin of
 * every value.
 *
 *     qn_recipe recipe;
 *     QN_TRY(qn_recipe_read("churn.yaml", settings, settings_count, arena, &recipe, err));
 *
 * Precedence: built-in < file < QUERN_* environment < settings. Numbers that may be `auto` are QN_AUTO until
 * data decides; whoever decides writes the value into its copy, and qn_recipe_write then gives the complete
 * recipe of the run.
 */
#ifndef QN_MODEL_RECIPE_H
#define QN_MODEL_RECIPE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"
#include "data/dataset.h"
#include "data/schema.h"
#include "model/architecture.h"
#include "nn/optimizers.h"
#include "nn/schedules.h"

#define QN_AUTO (-1) /* of numbers: decided later; no key of the recipe takes negative numbers */

enum { QN_RECIPE_VERSION = 1, QN_RECIPE_KEYS_MAX = 96 };

typedef enum {
    QN_RECIPE_OPTIMIZER_AUTO,
    QN_RECIPE_LBFGS,
    QN_RECIPE_SGD, /* this and the following: qn_nn_optimizer_kind + QN_RECIPE_SGD */
    QN_RECIPE_ADAM,
    QN_RECIPE_ADAMW,
    QN_RECIPE_OPTIMIZER_LAST = QN_RECIPE_SGD + QN_NN_OPTIMIZER_COUNT - 1,
} qn_recipe_optimizer;

typedef enum {
    QN_RECIPE_LOSS_AUTO,
    QN_RECIPE_MSE,
    QN_RECIPE_MAE,
    QN_RECIPE_HUBER,
    QN_RECIPE_BCE,
    QN_RECIPE_CE,
    QN_RECIPE_NLL, /* the same: scores are logits inside */
    QN_RECIPE_HINGE,
    QN_RECIPE_SQUARED_HINGE,
    QN_RECIPE_QUANTILE,
    QN_RECIPE_POISSON,
    QN_RECIPE_FOCAL,
    QN_RECIPE_KL, /* this and the following: of arrays */
    QN_RECIPE_CTC,
} qn_recipe_loss;

typedef struct {
    const char *const *items;
    int64_t count;
} qn_recipe_texts;

typedef struct {
    int64_t *items;
    int64_t count; /* 0 = auto */
} qn_recipe_integers;

/* train.options: options of the optimiser beyond those with keys of their own. */
typedef struct {
    const char *name; /* of nn/optimizers.h */
    double value;
} qn_recipe_option;
typedef struct {
    qn_recipe_option *items;
    int64_t count;
} qn_recipe_options;

/* train.groups: weights that learn in their own way. */
typedef struct {
    const char *match;   /* pattern of names: qn_nn_group */
    double lr;           /* peak; QN_AUTO = train.lr */
    double weight_decay; /* QN_AUTO = train.weight_decay */
    bool freeze;
} qn_recipe_group;
typedef struct {
    qn_recipe_group *items;
    int64_t count;
} qn_recipe_groups;

typedef enum {
    QN_CLASS_WEIGHT_NONE,
    QN_CLASS_WEIGHT_BALANCED,
    QN_CLASS_WEIGHT_GIVEN
} qn_class_weight;

/* Weights of classes by label; those not named weigh 1. */
typedef struct {
    qn_class_weight kind;
    const char *const *labels; /* GIVEN */
    const double *items;
    int64_t count;
} qn_recipe_weights;

typedef enum {
    QN_ORIGIN_DEFAULT,
    QN_ORIGIN_FILE,
    QN_ORIGIN_ENVIRONMENT,
    QN_ORIGIN_FLAG,
    QN_ORIGIN_DATA, /* set by training for what was auto */
} qn_origin;

/* Texts are NULL when absent. */
typedef struct qn_recipe {
    int64_t version;
    const char *name; /* NULL = from the data's file name */
    qn_task task;
    struct {
        qn_recipe_texts path;
        const char *target, *id, *time, *test;
        qn_recipe_texts ignore; /* labels of the target that count as missing */
        qn_header header;
        qn_recipe_texts names;
    } data;
    struct {
        qn_split_by by;
        double parts[3];
        const char *key;
        int64_t seed;
    } split;
    qn_column_options *columns;
    int64_t columns_count;
    struct {
        qn_model_type type;        /* FILE when `file` is given, LAYERS when `layers` alone */
        qn_recipe_integers hidden; /* mlp */
        qn_json layers;            /* ARRAY for qn_nn_layers_build, checked against its table;
                                      otherwise count 0 */
        const char *file;          /* an ONNX file: the network, or what `layers` go on from */
        const char *output;        /* the file's value to go on from; NULL = its output */
        qn_recipe_texts freeze;    /* the file's weights that are not trained */
    } model;
    struct {
        int64_t epochs;
        int64_t batch; /* QN_AUTO */
        qn_recipe_optimizer optimizer;
        double lr; /* QN_AUTO */
        double momentum;
        bool nesterov;
        qn_recipe_options options;
        qn_recipe_groups groups;
        qn_nn_schedule_kind schedule;
        double lr_min;
        double warmup;       /* share of all steps; QN_AUTO */
        int64_t step_size;   /* epochs between steps of schedule: step */
        double gamma;        /* factor of schedules step, exponential and plateau; QN_AUTO */
        double power;        /* schedule polynomial */
        double growth;       /* schedule restarts: each period is longer by this factor */
        int64_t patience;    /* epochs without progress before schedule: plateau lowers the rate */
        double weight_decay; /* QN_AUTO */
        double clip_norm;    /* 0 = off */
        double clip_value;   /* 0 = off */
        int64_t accumulate;
        double ema;     /* what the average of weights keeps at each step; 0 = off */
        bool recompute; /* activations inside blocks are computed again for the gradients */
        double swa; /* share of the epochs, the last ones, whose weights are averaged; 0 = off */
        double dropout;     /* QN_AUTO */
        int64_t early_stop; /* epochs without progress; 0 = off */
        const char *metric; /* "auto" or a name of train/metrics.h */
        qn_recipe_loss loss;
        double label_smoothing;
        double quantile; /* loss quantile */
        double focus;    /* loss focal */
        double margin;   /* losses hinge and squared_hinge */
        int64_t blank;   /* loss ctc */
        qn_recipe_weights class_weight;
        const char *precision; /* "f32" or "bf16" */
        int64_t seed;
    } train;
    struct {
        const char *intended, *out_of_scope, *contact;
    } purpose;
    /* By row of the key table; private but for qn_recipe_decided. */
    uint8_t origins[QN_RECIPE_KEYS_MAX];
    const char
        *file; /* the recipe's own file, NULL = none; data paths in it are relative to the working
                         directory */
} qn_recipe;

/* One `--set path=value`, or a flag that stands for a key. The value reads as in YAML: a number, a word,
 * [a, b] or {a: 1}. */
typedef struct {
    const char *path;  /* "train.epochs", "columns.age.scale" */
    const char *value; /* "5" */
    const char *where; /* "--set", "--seed": for messages */
} qn_recipe_setting;

/* `path` NULL = defaults and settings alone. Memory: all in `arena`. Errors: ERR_ARG with "file:line:column"
 * and the nearest key; ERR_NOT_FOUND, ERR_IO; ERR_ARG when data.path is missing at the end. */
QN_MUST_USE qn_status qn_recipe_read(const char *path, const qn_recipe_setting *settings,
                                     int settings_count, qn_arena *arena, qn_recipe *ret,
                                     qn_error *err);
/* The same from a text; the environment is not asked. */
QN_MUST_USE qn_status qn_recipe_parse(qn_str text, const char *file,
                                      const qn_recipe_setting *settings, int settings_count,
                                      qn_arena *arena, qn_recipe *ret, qn_error *err);
/* Is this file a recipe rather than data? By its extension: .yaml, .yml, or .json whose first key is
 * "quern". */
bool qn_recipe_is(const char *path);

/* Marks a key as decided from the data, for the origins. */
void qn_recipe_decided(qn_recipe *recipe, const char *key);

/* The complete recipe as YAML. `commented`: each key with its choices, range and meaning. */
void qn_recipe_write(const qn_recipe *recipe, bool commented, qn_buf *dst);
/* `train --dry-run`: one line per key, "train.epochs: 20  # default". */
void qn_recipe_write_origins(const qn_recipe *recipe, qn_buf *dst);
/* The JSON Schema (2020-12) that `quern schema recipe` prints. */
void qn_recipe_write_schema(qn_json_writer *w);
/* Opens the recipe's data. Memory: names in `arena`, which outlives the opening only. Close with
 * qn_dataset_close. */
QN_MUST_USE qn_status qn_recipe_open_data(const qn_recipe *recipe, int64_t memory_max,
                                          qn_arena *arena, qn_dataset **ret, qn_error *err);
/* Target, roles and column entries, for qn_schema_infer. */
qn_schema_options qn_recipe_schema_options(const qn_recipe *recipe, const qn_dataset *dataset);
/* The recipe's name, or one made from the first data path: "sales" of "data/sales.csv". */
const char *qn_recipe_model_name(const qn_recipe *recipe, qn_arena *arena);

#endif
