/*
 * Between the table of layers and the reading of its attributes.
 */
#ifndef QN_NN_TABLE_PRIV_H
#define QN_NN_TABLE_PRIV_H

#include "nn/layers.h"

enum { QN_NN_ATTRS_MAX = 16, QN_NN_WORD_SIZE = 24 };

/* What the attribute `padding` may be, for people. */
#define PADDING_FORMS                                                                              \
    "valid, same, an integer, [vertical, horizontal] or [top, left, bottom, right]"

/* One attribute as read. */
typedef struct {
    int64_t i; /* INT, UNITS, BOOL */
    double f;
    char word[QN_NN_WORD_SIZE]; /* CHOICE */
    int64_t ints[QN_RANK_MAX];
    int count;
    qn_nn_padding padding;
} qn_nn_slot;

/* What building an entry knows of the list. */
typedef struct {
    const qn_nn_layers_options *options;
    const char **closing; /* set for the last layer where its activation may be left out */
} qn_nn_building;

/* A row of the table: what people see, and the function that turns slots into a call of layers.h. */
typedef struct {
    qn_nn_layer layer;
    qn_value (*build)(const qn_nn_scope *at, const qn_nn_building *b, qn_value x,
                      const qn_nn_slot *slots);
} qn_nn_row;

/* Families of rows beside those of table.c, each ended by a NULL name. */
extern const qn_nn_row qn_nn_rows_norm[];
extern const qn_nn_row qn_nn_rows_recurrent[];
extern const qn_nn_row qn_nn_rows_transformer[];

/* Reads a layer's attributes into one slot each, in the table's order, with defaults filled in. label: what
 * messages begin with. Errors: ERR_ARG naming attribute, value and what was expected. */
QN_MUST_USE qn_status qn_nn_slots_read(const char *label, const qn_nn_layer *layer,
                                       const qn_json *attrs, int64_t units_auto, qn_nn_slot *slots,
                                       qn_error *err);
/* "LABEL: unknown WHAT 'WORD'; did you mean ...?" */
qn_status qn_nn_fail_unknown(const char *what, qn_str word, const char *const *names, int count,
                             const char *label, qn_error *err);

#endif
