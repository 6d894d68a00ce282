/*
 * The key table of the recipe and the one place where a value goes from text to a field and back.
 */
#ifndef QN_MODEL_RECIPE_PRIV_H
#define QN_MODEL_RECIPE_PRIV_H

#include "format/yaml.h"
#include "model/recipe.h"

typedef enum {
    QN_KEY_INT,         /* int64_t */
    QN_KEY_FLOAT,       /* double */
    QN_KEY_BOOL,        /* bool */
    QN_KEY_TEXT,        /* const char *, NULL = absent */
    QN_KEY_TEXTS,       /* qn_recipe_texts: one text or a list */
    QN_KEY_WORD,        /* const char *, one of `choices` */
    QN_KEY_CHOICE,      /* an enum whose values count `choices` from 0 */
    QN_KEY_INTS,        /* qn_recipe_integers */
    QN_KEY_WEIGHTS,     /* qn_recipe_weights: none, balanced or a map from label to number */
    QN_KEY_PARTS,       /* double[3] that sum to 1 */
    QN_KEY_PERCENTILES, /* clip, clip_low, clip_high of qn_column_options: [p1, p99] or null */
    QN_KEY_SIZE,        /* height, width of qn_column_options: [28, 28] */
    QN_KEY_LAYERS,      /* qn_json */
    QN_KEY_OPTIONS,     /* qn_recipe_options: {beta1: 0.9} */
    QN_KEY_GROUPS,      /* qn_recipe_groups: [{match: "*.bias", lr: 0.1}] */
    QN_KEY_LATER,       /* in the contract, but no part of this version */
} qn_key_type;

/* A word that is no choice, and why: "whose targets are ...". */
typedef struct {
    const char *word, *why;
} qn_recipe_refusal;

typedef struct {
    const char *path; /* "train.epochs"; of column keys the option alone: "scale" */
    qn_key_type type;
    size_t offset;        /* of the field in qn_recipe or qn_column_options */
    const char *fallback; /* as the recipe would write it; NULL = absent */
    const char *choices;  /* words, space between; also the words that a number may be: "auto" */
    const char *later;    /* choices of the contract that this version has not */
    double low, high;     /* of numbers, inclusive */
    unsigned types;       /* column keys: bits of qn_column_type that it belongs to */
    const char *doc;
    const qn_recipe_refusal *refusals; /* ended by a NULL word; NULL = none */
} qn_recipe_key;

extern const qn_recipe_key qn_recipe_keys[]; /* ended by a NULL path */
extern const qn_recipe_key qn_recipe_column_keys[];

/* Sections in the order they are written. */
typedef struct {
    const char *name; /* "" = the top */
    const char *doc;
} qn_recipe_section;
extern const qn_recipe_section qn_recipe_sections[]; /* ended by a NULL name */

/* Index into qn_recipe_keys, -1 = absent. */
int qn_recipe_key_find(qn_str path);
const qn_recipe_key *qn_recipe_column_key_find(qn_str name);
/* Is key `i` directly in `section`? Its own name is then *ret_name. */
bool qn_recipe_key_in(const qn_recipe_key *key, const char *section, const char **ret_name);
/* Word i of a list of words with spaces between; false past the end. */
bool qn_recipe_word(const char *words, int index, qn_str *ret);

/* Where a value came from. */
typedef struct {
    const char *file;  /* of a recipe's text: messages then say file:line:column */
    const char *where; /* otherwise: "--set", "QUERN_TRAIN_LR" */
    qn_origin origin;
    qn_arena *arena;
    qn_error *err;
} qn_recipe_source;

/* A message at a node's place. */
qn_status qn_recipe_fail(const qn_recipe_source *source, const qn_yaml *node, const char *format,
                         ...) QN_PRINTF(3, 4);
/* "epoch" -> "; did you mean 'epochs'?" among `names`, or nothing. */
const char *qn_recipe_suggest(qn_arena *arena, const char *word, const char *const *names,
                              int count);

/* Reads `node` as `key` into its field of `base`; `label` is the full path for messages. */
QN_MUST_USE qn_status qn_recipe_value_read(const qn_recipe_source *source, const qn_recipe_key *key,
                                           const char *label, const qn_yaml *node, void *base);
/* The field as one line of YAML. LAYERS are not written here. */
void qn_recipe_value_write(const qn_recipe_key *key, const void *base, qn_buf *dst);
/* A text as a YAML scalar, in quotes when it needs them. */
void qn_recipe_text_write(qn_str text, qn_buf *dst);

/* `model.layers`: names and attributes against nn's table, values with its types. */
QN_MUST_USE qn_status qn_recipe_layers_read(const qn_recipe_source *source, const qn_yaml *node,
                                            qn_json *ret);
/* `train.options` and `train.groups`, in one line each. */
QN_MUST_USE qn_status qn_recipe_options_read(const qn_recipe_source *source, const char *label,
                                             const qn_yaml *node, qn_recipe_options *ret);
QN_MUST_USE qn_status qn_recipe_groups_read(const qn_recipe_source *source, const char *label,
                                            const qn_yaml *node, qn_recipe_groups *ret);
void qn_recipe_options_write(const qn_recipe_options *options, qn_buf *dst);
void qn_recipe_groups_write(const qn_recipe_groups *groups, qn_buf *dst);
void qn_recipe_options_schema(qn_json_writer *w);
void qn_recipe_groups_schema(qn_json_writer *w);
/* A list of lines, each indented by `indent`. */
void qn_recipe_layers_write(const qn_json *layers, int indent, qn_buf *dst);

#endif
