/*
 * The key table: every key of the recipe with its type, default, choices, range and meaning. What reads,
 * writes, documents or checks a recipe walks this table; adding a key means one row here and one field in
 * qn_recipe.
 */
#include <stddef.h>

#include "model/recipe_priv.h"

#define FIELD(name) offsetof(qn_recipe, name)

const qn_recipe_section qn_recipe_sections[] = {
    {"", NULL},
    {"data", "where the rows are and what their columns are for"},
    {"split", "which rows train, which choose the best weights, which are kept for the test"},
    {"columns", "what single columns mean; those left out are decided from the data"},
    {"model", "the network"},
    {"train", "how it learns"},
    {"purpose", "for the model card"},
    {NULL, NULL},
};

/* Losses of quern/net.h that compare answers with each other: a model of pairs is not what one would use. */
static const qn_recipe_refusal losses[] = {
    {"cosine", "which compares pairs of answers; in C it is QN_LOSS_COSINE (quern/net.h)"},
    {"triplet", "which compares three answers; in C it is QN_LOSS_TRIPLET (quern/net.h)"},
    {NULL, NULL},
};

const qn_recipe_key qn_recipe_keys[] = {
    {"quern", QN_KEY_INT, FIELD(version), "1", .low = 1, .high = QN_RECIPE_VERSION,
     .doc = "version of the recipe's format"},
    {"name", QN_KEY_TEXT, FIELD(name),
     .doc = "name of the model; from the data's file name if absent"},
    {"task", QN_KEY_CHOICE, FIELD(task), "auto", "auto binary multiclass regression transcribe",
     "forecast tag language-model translate", .doc = "what is learned; auto looks at the target"},

    {"data.path", QN_KEY_TEXTS, FIELD(data.path),
     .doc = "file, folder, pattern (*.csv) or a list of them"},
    {"data.target", QN_KEY_TEXT, FIELD(data.target), .doc = "column to predict"},
    {"data.ignore", QN_KEY_TEXTS, FIELD(data.ignore),
     .doc = "labels of the target that count as none: their rows are left out"},
    {"data.id", QN_KEY_TEXT, FIELD(data.id), .doc = "column that names the row; never a feature"},
    {"data.time", QN_KEY_TEXT, FIELD(data.time),
     .doc = "column that says when; orders split: time"},
    {"data.test", QN_KEY_TEXT, FIELD(data.test),
     .doc = "a second table or folder that is the test part"},
    {"data.header", QN_KEY_CHOICE, FIELD(data.header), "auto", "auto true false",
     .doc = "does the table's first row hold column names?"},
    {"data.names", QN_KEY_TEXTS, FIELD(data.names),
     .doc = "column names of a table without a header"},

    {"split.by", QN_KEY_CHOICE, FIELD(split.by), "auto",
     "auto random stratified group time hash column", "kfold",
     .doc = "auto: stratified for classes, random for numbers"},
    {"split.parts", QN_KEY_PARTS, FIELD(split.parts), "[0.7, 0.1, 0.2]",
     .doc = "shares of train, validation and test"},
    {"split.key", QN_KEY_TEXT, FIELD(split.key), .doc = "column of split: group, hash and column"},
    {"split.seed", QN_KEY_INT, FIELD(split.seed), "1", .high = 0x1p53, .doc = "seed of the split"},

    {"model.type", QN_KEY_CHOICE, FIELD(model.type), "auto",
     "auto linear logistic mlp cnn layers file rnn lstm gru transformer",
     .doc = "auto tries candidates and keeps the best on validation"},
    {"model.hidden", QN_KEY_INTS, FIELD(model.hidden), "auto", "auto", .low = 1, .high = 65536,
     .doc = "mlp: units of each hidden layer"},
    {"model.layers", QN_KEY_LAYERS, FIELD(model.layers), .doc = "the network layer by layer"},
    {"model.file", QN_KEY_TEXT, FIELD(model.file),
     .doc = "an ONNX file whose network learns on; layers, if any, follow it"},
    {"model.output", QN_KEY_TEXT, FIELD(model.output),
     .doc = "the file's value that the layers follow; absent: its output"},
    {"model.freeze", QN_KEY_TEXTS, FIELD(model.freeze),
     .doc = "the file's weights that stay as they are: all, or patterns of names"},

    {"train.epochs", QN_KEY_INT, FIELD(train.epochs), "20", .low = 1, .high = 1e6,
     .doc = "passes over the training rows at most"},
    {"train.batch", QN_KEY_INT, FIELD(train.batch), "auto", "auto", .low = 1, .high = 1 << 20,
     .doc = "rows of a step"},
    {"train.optimizer", QN_KEY_CHOICE, FIELD(train.optimizer), "auto",
     "auto lbfgs sgd adam adamw adagrad rmsprop adadelta nadam lion lamb adafactor muon",
     .doc = "auto: lbfgs for small linear models, adamw otherwise"},
    {"train.lr", QN_KEY_FLOAT, FIELD(train.lr), "auto", "auto", .high = 1000,
     .doc = "peak learning rate"},
    {"train.momentum", QN_KEY_FLOAT, FIELD(train.momentum), "0.9", .high = 1, .doc = "sgd only"},
    {"train.nesterov", QN_KEY_BOOL, FIELD(train.nesterov), "false", .doc = "sgd only"},
    {"train.options", QN_KEY_OPTIONS, FIELD(train.options), "{}",
     .doc = "the optimiser's own numbers: {beta1: 0.95}"},
    {"train.groups", QN_KEY_GROUPS, FIELD(train.groups), "[]",
     .doc = "weights by name with lr, weight_decay or freeze of their own"},
    {"train.schedule", QN_KEY_CHOICE, FIELD(train.schedule), "cosine",
     "constant step cosine linear plateau exponential polynomial inverse_sqrt one_cycle restarts",
     .doc = "how the learning rate changes"},
    {"train.lr_min", QN_KEY_FLOAT, FIELD(train.lr_min), "0", .high = 1000,
     .doc = "where schedules that fall end"},
    {"train.warmup", QN_KEY_FLOAT, FIELD(train.warmup), "auto", "auto", .high = 1,
     .doc = "share of all steps in which the rate rises from 0"},
    {"train.step_size", QN_KEY_INT, FIELD(train.step_size), "10", .low = 1, .high = 1e6,
     .doc = "schedule step: epochs between two steps; restarts: epochs of the first period"},
    {"train.gamma", QN_KEY_FLOAT, FIELD(train.gamma), "auto", "auto", .high = 1,
     .doc = "schedules step and plateau: factor of a step, auto 0.1; exponential: of an epoch, "
            "auto 0.9"},
    {"train.power", QN_KEY_FLOAT, FIELD(train.power), "1", .low = 0.01, .high = 100,
     .doc = "schedule polynomial: exponent of the way down"},
    {"train.growth", QN_KEY_FLOAT, FIELD(train.growth), "1", .low = 1, .high = 100,
     .doc = "schedule restarts: factor of a period's length to the one before"},
    {"train.patience", QN_KEY_INT, FIELD(train.patience), "3", .low = 1, .high = 1e6,
     .doc = "schedule plateau: epochs without progress before a step"},
    {"train.weight_decay", QN_KEY_FLOAT, FIELD(train.weight_decay), "auto", "auto", .high = 1000,
     .doc = "pull of the weights towards 0"},
    {"train.clip_norm", QN_KEY_FLOAT, FIELD(train.clip_norm), "1", .high = 1e30,
     .doc = "longest gradient; 0 = no limit"},
    {"train.clip_value", QN_KEY_FLOAT, FIELD(train.clip_value), "0", .high = 1e30,
     .doc = "largest element of a gradient; 0 = no limit"},
    {"train.accumulate", QN_KEY_INT, FIELD(train.accumulate), "1", .low = 1, .high = 65536,
     .doc = "batches of one update"},
    {"train.ema", QN_KEY_FLOAT, FIELD(train.ema), "0", .high = 0.999999,
     .doc = "share that a running average of the weights keeps at each step; 0 = none"},
    {"train.swa", QN_KEY_FLOAT, FIELD(train.swa), "0", .high = 1,
     .doc = "share of the epochs, the last ones, whose weights are averaged; 0 = none"},
    {"train.recompute", QN_KEY_BOOL, FIELD(train.recompute), "false",
     .doc = "less memory for more time: inner values are computed again for the gradients"},
    {"train.dropout", QN_KEY_FLOAT, FIELD(train.dropout), "auto", "auto", .high = 0.99,
     .doc = "share of units left out between layers of mlp and cnn"},
    {"train.early_stop", QN_KEY_INT, FIELD(train.early_stop), "5", .high = 1e6,
     .doc = "epochs without progress on validation before the end; 0 = never"},
    {"train.metric", QN_KEY_WORD, FIELD(train.metric), "auto",
     "auto accuracy balanced_accuracy auroc auprc log_loss brier ece f1 f1_macro mcc top5 rmse mae "
     "r2 "
     "mape smape mse loss cer",
     .doc = "what validation judges by; auto: auroc, accuracy, rmse or, of bce, kl and ctc over "
            "arrays, loss"},
    {"train.loss", QN_KEY_CHOICE, FIELD(train.loss), "auto",
     "auto mse mae huber bce ce nll hinge squared_hinge quantile poisson focal kl ctc",
     .refusals = losses, .doc = "auto follows the task"},
    {"train.label_smoothing", QN_KEY_FLOAT, FIELD(train.label_smoothing), "0", .high = 0.99,
     .doc = "losses ce and bce: probability spread over the other classes"},
    {"train.quantile", QN_KEY_FLOAT, FIELD(train.quantile), "0.5", .low = 0.001, .high = 0.999,
     .doc = "loss quantile: share of the targets that shall lie below the answer"},
    {"train.focus", QN_KEY_FLOAT, FIELD(train.focus), "2", .high = 100,
     .doc = "loss focal: how little what is right already counts; 0: as in ce"},
    {"train.margin", QN_KEY_FLOAT, FIELD(train.margin), "1", .high = 1e6,
     .doc = "losses hinge and squared_hinge: score from which an answer is right enough"},
    {"train.blank", QN_KEY_INT, FIELD(train.blank), "0", .high = 1e6,
     .doc = "loss ctc: the class that is no label"},
    {"train.class_weight", QN_KEY_WEIGHTS, FIELD(train.class_weight), "none", "none balanced",
     .high = 1e6, .doc = "balanced: rare classes weigh more; or {label: weight, ...}, others 1"},
    {"train.precision", QN_KEY_WORD, FIELD(train.precision), "f32", "f32 bf16",
     .doc = "bf16: products read 16-bit numbers, sums and weights stay f32"},
    {"train.seed", QN_KEY_INT, FIELD(train.seed), "1", .high = 0x1p53,
     .doc = "seed of weights, shuffling and dropout"},

    {"purpose.intended", QN_KEY_TEXT, FIELD(purpose.intended), .doc = "what the model is for"},
    {"purpose.out_of_scope", QN_KEY_TEXT, FIELD(purpose.out_of_scope), .doc = "what it is not for"},
    {"purpose.contact", QN_KEY_TEXT, FIELD(purpose.contact), .doc = "whom to ask"},

    {"tune", QN_KEY_LATER, .doc = "hyper-parameter search"},
    {"privacy", QN_KEY_LATER, .doc = "differential privacy"},
    {NULL, QN_KEY_LATER, 0, NULL, NULL, NULL, 0, 0, 0, NULL, NULL},
};

#define OPTION(name) offsetof(qn_column_options, name)
#define NUMBER       (1u << QN_TYPE_NUMBER)
#define DATE         (1u << QN_TYPE_DATE)
#define CATEGORY     (1u << QN_TYPE_CATEGORY)
#define IMAGE        (1u << QN_TYPE_IMAGE)
#define ANY          (~0u)

const qn_recipe_key qn_recipe_column_keys[] = {
    {"type", QN_KEY_CHOICE, OPTION(type), "auto",
     "auto number category binary date image text tensor", "audio", .types = ANY,
     .doc = "what the values mean"},
    {"drop", QN_KEY_BOOL, OPTION(drop), "false", .types = ANY, .doc = "leaves the column out"},
    {"missing", QN_KEY_CHOICE, OPTION(missing), "auto", "auto median mean zero",
     .types = NUMBER | DATE, .doc = "what stands for a missing value"},
    {"flag_missing", QN_KEY_CHOICE, OPTION(flag_missing), "auto", "auto false true",
     .types = NUMBER | DATE, .doc = "adds a feature that says a value is missing"},
    {"scale", QN_KEY_CHOICE, OPTION(scale), "auto", "auto standard minmax none", .types = NUMBER,
     .doc = "standard: mean 0, deviation 1"},
    {"clip", QN_KEY_PERCENTILES, OPTION(clip), .types = NUMBER,
     .doc = "cuts values at two percentiles of the training rows: [p1, p99]"},
    {"log", QN_KEY_CHOICE, OPTION(log), "auto", "auto false true", .types = NUMBER,
     .doc = "adds the logarithm"},
    {"bins", QN_KEY_CHOICE, OPTION(bins), "auto", "auto false true", .types = NUMBER,
     .doc = "adds piecewise-linear quantile bins"},
    {"min_count", QN_KEY_INT, OPTION(min_count), "0", .high = 1e9, .types = CATEGORY,
     .doc = "levels rarer than this become one; 0 = decided from the data"},
    {"encode", QN_KEY_CHOICE, OPTION(encode), "auto", "auto onehot embed", .types = CATEGORY,
     .doc = "auto: one-hot for few levels, embedding for many"},
    {"size", QN_KEY_SIZE, OPTION(height), .high = 16384, .types = IMAGE,
     .doc = "[height, width] that images are brought to"},
    {"channels", QN_KEY_INT, OPTION(channels), "0", .high = 4, .types = IMAGE,
     .doc = "1 grey, 3 colour; 0 = as in the data"},
    {"augment", QN_KEY_LATER, .doc = "image augmentation"},
    {"tokenizer", QN_KEY_LATER, .doc = "text columns"},
    {"vocab", QN_KEY_LATER, .doc = "text columns"},
    {"length", QN_KEY_LATER, .doc = "text columns"},
    {"rate", QN_KEY_LATER, .doc = "audio columns"},
    {"features", QN_KEY_LATER, .doc = "audio columns"},
    {"bands", QN_KEY_LATER, .doc = "audio columns"},
    {NULL, QN_KEY_LATER, 0, NULL, NULL, NULL, 0, 0, 0, NULL, NULL},
};

int qn_recipe_key_find(qn_str path)
{
    for (int i = 0; qn_recipe_keys[i].path; i++)
        if (qn_str_is(path, qn_recipe_keys[i].path))
            return i;
    return -1;
}

const qn_recipe_key *qn_recipe_column_key_find(qn_str name)
{
    for (const qn_recipe_key *key = qn_recipe_column_keys; key->path; key++)
        if (qn_str_is(name, key->path))
            return key;
    return NULL;
}

bool qn_recipe_key_in(const qn_recipe_key *key, const char *section, const char **ret_name)
{
    const char *dot = strchr(key->path, '.');
    size_t size = dot ? (size_t)(dot - key->path) : 0;
    if (strlen(section) != size || memcmp(key->path, section, size) != 0)
        return false;
    *ret_name = dot ? dot + 1 : key->path;
    return true;
}

bool qn_recipe_word(const char *words, int index, qn_str *ret)
{
    const char *at = words;
    while (at && *at) {
        size_t size = strcspn(at, " ");
        if (index-- == 0) {
            *ret = (qn_str){at, size};
            return true;
        }
        at += size;
        at += *at == ' ';
    }
    return false;
}
