/*
 * Between the table of layers and the reading of its attributes.
 */
#ifndef QN_NN_TABLE_PRIV_H
#define QN_NN_TABLE_PRIV_H

#include "nn/convolution.h"
#include "nn/layers.h"

enum { QN_NN_ATTRS_MAX = 18, QN_NN_WORD_SIZE = 64 };

/* One attribute as read. */
typedef struct {
    int64_t i; /* INT, UNITS, BOOL */
    double f;
    char word[QN_NN_WORD_SIZE]; /* CHOICE, TEXT; of others "" unless a word was given */
    int64_t ints[QN_RANK_MAX];  /* PAIR, TRIPLE, PADDING, INTS; the number of INT too */
    int count;
    qn_nn_padding padding;
    qn_json list; /* LAYERS, ROWS: an array, or null for a word; INDICES */
} qn_nn_slot;

/* What building an entry knows of the list. */
typedef struct {
    const qn_nn_layers_options *options;
    const char **closing; /* set for the last layer where its activation may be left out */
    int depth;            /* lists around this one */
    qn_value *
        lengths; /* i64 [B]: how many steps of each row of x count; QN_NONE = all. Layers change it */
} qn_nn_building;

/* The list of slot `name` of the layer `at`, built on x: its layers are "AT.NAME.0", ... ret_lengths: of its result;
 * NULL = nobody asks. */
qn_value qn_nn_list_build(const qn_nn_scope *at, const qn_nn_building *b, const char *name,
                          const qn_json *layers, qn_value x, qn_value *ret_lengths);

/* Of slots: an activation, NULL where it is left to the loss; an initialiser. */
const char *qn_nn_slot_activation(const qn_nn_building *b, const qn_nn_slot *slot);
qn_nn_init qn_nn_slot_init(const qn_nn_slot *slot);
qn_nn_reparam qn_nn_slot_reparam(const qn_nn_slot *slot);

/* Attributes that many rows have. */
#define QN_NN_ACTIVATION_WORDS                                                                     \
    "linear none relu leaky_relu sigmoid tanh gelu gelu_tanh silu softmax log_softmax elu selu "   \
    "celu softplus softsign mish relu6 hard_sigmoid hard_swish hard_tanh soft_shrink "             \
    "hard_shrink exponential"
#define QN_NN_INIT_WORDS                                                                           \
    "glorot_uniform glorot_normal he_uniform he_normal lecun_uniform lecun_normal zero"
#define QN_NN_ATTR_ACTIVATION                                                                      \
    {                                                                                              \
        .name = "activation", .kind = QN_NN_ATTR_CHOICE, .fallback = "linear",                     \
        .choices = QN_NN_ACTIVATION_WORDS, .doc = "what follows the sum"                           \
    }
#define QN_NN_ATTR_BIAS                                                                            \
    {                                                                                              \
        .name = "bias", .kind = QN_NN_ATTR_BOOL, .fallback = "true",                               \
        .doc = "whether a trained constant is added"                                               \
    }
#define QN_NN_ATTR_INIT                                                                            \
    {                                                                                              \
        .name = "init", .kind = QN_NN_ATTR_CHOICE, .fallback = "glorot_uniform",                   \
        .choices = QN_NN_INIT_WORDS, .doc = "how weights begin"                                    \
    }

#define QN_NN_ATTR_REPARAM                                                                         \
    {                                                                                              \
        .name = "reparametrize", .kind = QN_NN_ATTR_CHOICE, .fallback = "none",                    \
        .choices = "none weight_norm spectral_norm",                                               \
        .doc = "weights by direction and gain, or divided by the largest singular value"           \
    }

/* A row of the table: what people see, and the function that turns slots into a call of layers.h. */
typedef struct {
    qn_nn_layer layer;
    qn_value (*build)(const qn_nn_scope *at, const qn_nn_building *b, qn_value x,
                      const qn_nn_slot *slots);
} qn_nn_row;

/* The builder of a row whose work is one call over at, b, x and the slots s. */
#define QN_NN_BUILD(name, call)                                                                    \
    static qn_value name(const qn_nn_scope *at, const qn_nn_building *b, qn_value x,               \
                         const qn_nn_slot *s)                                                      \
    {                                                                                              \
        (void)b;                                                                                   \
        (void)s;                                                                                   \
        return call;                                                                               \
    }

/* Families of rows beside those of table.c, each ended by a NULL name. */
extern const qn_nn_row qn_nn_rows_convolution[];
extern const qn_nn_row qn_nn_rows_elements[];
extern const qn_nn_row qn_nn_rows_moves[];
extern const qn_nn_row qn_nn_rows_norm[];
extern const qn_nn_row qn_nn_rows_recurrent[];
extern const qn_nn_row qn_nn_rows_shaping[];
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
