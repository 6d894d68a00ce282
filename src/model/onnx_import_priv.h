/*
 * Between the files of the ONNX importer: what a mapping function of one operator works with.
 *
 * A mapping reads attributes and inputs, emits nodes and sets outputs. The first error sticks to the call, later calls
 * give QN_NONE, so a mapping reads like the operator's definition.
 */
#ifndef QN_MODEL_ONNX_IMPORT_PRIV_H
#define QN_MODEL_ONNX_IMPORT_PRIV_H

#include "model/onnx_import.h"

/* A value of the file. Convolutions are channels-last here, so a value may exist in both layouts: whichever is asked
 * for first is made from the other, and chains of layers never leave channels-last. */
typedef struct {
    const char *name;
    int scope;      /* where the name is known */
    int elem;       /* ONNX's element type; more than the dtype says for small floats */
    qn_value plain; /* as the file has it, or QN_NONE: only `last` so far */
    qn_value last;  /* channels last, or QN_NONE */
} qn_onnx_value;

typedef struct qn_onnx_row qn_onnx_row;

/* Where names and attributes mean something: the file's graph, or a body that stands in a node's place. */
typedef struct qn_onnx_scope {
    const struct qn_onnx_scope *outer; /* whose values are seen too; NULL = of none */
    const qn_onnx_opset *opsets;
    const qn_onnx_attr *attrs; /* of the node that calls the function */
    int opsets_count, attrs_count;
    int id, depth;
} qn_onnx_scope;

typedef struct qn_onnx_importer {
    qn_graph *graph;
    const qn_onnx_model *model;
    const qn_onnx_import_options *options;
    qn_arena arena;
    const qn_onnx_scope *scope;
    int scopes_count;
    int64_t inlined_left; /* nodes of bodies */
    qn_onnx_value *values;
    int values_count, values_max;
    int *slots; /* hash table of indices into values, -1 = free */
    int slots_count;
    /* By graph value: name of the weight it is (a float tensor of the file, or computed from such alone), whether
     * elements are symbols. */
    const char **weights;
    bool *symbolic;
    int marks_max;
    int64_t constants_left;
    const char *params[2]; /* names of open sizes: batch, length */
    int params_count;
} qn_onnx_importer;

typedef struct {
    qn_onnx_importer *importer;
    qn_graph *graph;
    const qn_onnx_node *node;
    const qn_onnx_row *row;
    int64_t version; /* opset of the node's domain */
    qn_status status;
    qn_error err;
} qn_onnx_call;

struct qn_onnx_row {
    const char *domain, *op;
    int since, until;
    void (*map)(qn_onnx_call *call);
    const char *target;  /* op here; NULL = the same name */
    const char *ignored; /* attributes of the file without effect on results, "a b" */
    const char *note;    /* what is not read, for the documentation */
};
/* Tables end with a NULL op. */
extern const qn_onnx_row qn_onnx_rows_math[];
extern const qn_onnx_row qn_onnx_rows_shape[];
extern const qn_onnx_row qn_onnx_rows_image[];
extern const qn_onnx_row qn_onnx_rows_quant[];
extern const qn_onnx_row qn_onnx_rows_sequence[];
extern const qn_onnx_row qn_onnx_rows_loss[];
extern const qn_onnx_row qn_onnx_rows_index[];
extern const qn_onnx_row qn_onnx_rows_signal[];
extern const qn_onnx_row qn_onnx_rows_deform[];
extern const qn_onnx_row qn_onnx_rows_grams[];
extern const qn_onnx_row qn_onnx_rows_body[];
extern const qn_onnx_row qn_onnx_rows_dropout[];
const qn_onnx_row *qn_onnx_row_find(const char *domain, const char *op, int64_t version);

/* An importer's own. */
qn_status qn_onnx_name(qn_onnx_importer *importer, const char *name, qn_onnx_value value,
                       qn_error *err);
qn_onnx_value *qn_onnx_find(qn_onnx_importer *importer, const char *name);
qn_status qn_onnx_map_node(qn_onnx_importer *importer, const qn_onnx_node *node, qn_error *err);
/* A tensor of a file's graph or of a body, under its name. */
qn_status qn_onnx_add_tensor(qn_onnx_importer *importer, const qn_onnx_tensor *tensor,
                             qn_error *err);
bool qn_onnx_mark(qn_onnx_importer *importer, qn_value value, const char *weight, bool symbolic);
bool qn_onnx_is_frozen(const qn_onnx_training *training, const char *name);

/* Symbols among the elements of an i64 constant: a dimension's own number, and anything computed from one. */
#define QN_ONNX_SYMBOL(dim) (INT64_MIN - (dim)) /* of a symbolic dimension, and back */
#define QN_ONNX_UNKNOWN     (INT64_MIN + QN_DIM_SYMBOLS + 1)
static inline bool qn_onnx_is_symbol(int64_t element)
{
    return element > INT64_MIN &&
           element <= QN_ONNX_UNKNOWN; /* the least number itself means "from the start" */
}

/* Are there symbols among the elements of `value`? */
bool qn_onnx_is_symbolic(const qn_onnx_call *call, qn_value value);

/* Errors. Returns QN_NONE. */
qn_value qn_onnx_fail(qn_onnx_call *call, qn_status code, const char *format, ...) QN_PRINTF(3, 4);

/* Inputs. */
bool qn_onnx_has(const qn_onnx_call *call, int input);
qn_value qn_onnx_in(qn_onnx_call *call, int input);      /* in the file's layout */
qn_value qn_onnx_in_last(qn_onnx_call *call, int input); /* channels last: rank 3 and more */
bool qn_onnx_is_last(qn_onnx_call *call, int input);     /* exists channels-last only */
int qn_onnx_in_elem(qn_onnx_call *call, int input);
const qn_type *qn_onnx_type(qn_onnx_call *call, qn_value value); /* f32 scalar after an error */
/* A constant input: integers (of any type), a number, a tensor. False after setting an error that says the input must be
 * constant, that it depends on an open size, or that more than `max` came. Among integers symbols stay. */
bool qn_onnx_const_ints(qn_onnx_call *call, int input, int64_t *dst, int max, int *ret_count);
bool qn_onnx_const_number(qn_onnx_call *call, int input, double *ret);
bool qn_onnx_const_tensor(qn_onnx_call *call, int input, qn_tensor *ret);

/* Attributes, with the operator's default. */
const qn_onnx_attr *qn_onnx_attr_find(const qn_onnx_call *call, const char *name);
int64_t qn_onnx_attr_i(qn_onnx_call *call, const char *name, int64_t fallback);
double qn_onnx_attr_f(qn_onnx_call *call, const char *name, double fallback);
const char *qn_onnx_attr_s(qn_onnx_call *call, const char *name, const char *fallback);
/* How many there are; 0 = left out. */
int qn_onnx_attr_ints(qn_onnx_call *call, const char *name, int64_t *dst, int max);
/* `axis` counted from the end where negative, checked against `rank`; `rank` itself too where `end` is set. */
int qn_onnx_axis(qn_onnx_call *call, int64_t axis, int rank, bool end);

/* Nodes. Over constants they are computed at once. Where a row does not take the element type, floats of 16 bits are
 * computed in f32 and integers in i64 or f64, and the results turned back. */
qn_value qn_onnx_emit(qn_onnx_call *call, const char *op, const qn_value *inputs, int inputs_count,
                      const qn_attr *attrs, int attrs_count);
void qn_onnx_emit_many(qn_onnx_call *call, const char *op, const qn_value *inputs, int inputs_count,
                       const qn_attr *attrs, int attrs_count, qn_value *outputs, int outputs_count);
qn_value qn_onnx_emit1(qn_onnx_call *call, const char *op, qn_value a);
qn_value qn_onnx_emit2(qn_onnx_call *call, const char *op, qn_value a, qn_value b);
qn_value qn_onnx_scalar(qn_onnx_call *call, qn_dtype dtype, double number);
/* `count` zeroed numbers of `each` bytes, to fill and make a constant of; they count as constants computed here. NULL after
 * an error, which it sets. */
void *qn_onnx_numbers(qn_onnx_call *call, int64_t count, size_t each);
qn_value qn_onnx_constant(qn_onnx_call *call, const qn_tensor *tensor);
qn_value qn_onnx_cast(qn_onnx_call *call, qn_value value, qn_dtype dtype);
qn_value qn_onnx_reshape(qn_onnx_call *call, qn_value value, const qn_shape *shape);
qn_value qn_onnx_transpose(qn_onnx_call *call, qn_value value, const int64_t *perm);
qn_value qn_onnx_to_last(qn_onnx_call *call, qn_value value);
qn_value qn_onnx_to_first(qn_onnx_call *call, qn_value value);
qn_value qn_onnx_slice(qn_onnx_call *call, qn_value value, int axis, int64_t start, int64_t end);
qn_attr qn_onnx_list(const char *name, const int64_t *numbers, int count);

/* From one ONNX element type to another, small ones included. */
qn_value qn_onnx_convert(qn_onnx_call *call, qn_value x, int from, int to, int64_t saturate);
/* Convolution: weights [a, b, K...] as [K..., b, a], and the node's window. */
qn_value qn_onnx_weights_last(qn_onnx_call *call, qn_value weight);
int qn_onnx_window_attrs(qn_onnx_call *call, qn_attr dst[6]);

/* The graph in an attribute, applied to one value. */
qn_value qn_onnx_apply(qn_onnx_call *call, const char *attr, qn_value x);
/* The function of the file that a node calls; NULL = none. */
const qn_onnx_function *qn_onnx_function_find(const qn_onnx_model *model, const qn_onnx_node *node);
void qn_onnx_map_function(qn_onnx_call *call, const qn_onnx_function *function);
/* The node with what its attributes refer to, of the node that calls the function; what refers to nothing is left out. */
void qn_onnx_resolve(qn_onnx_call *call, qn_onnx_node *node);
/* Counts memory that a body takes in one of its places; that of the file's own graph is bounded by the file. */
void qn_onnx_spend(qn_onnx_call *call, size_t bytes);

/* Outputs. */
bool qn_onnx_wants(const qn_onnx_call *call, int output);
void qn_onnx_out(qn_onnx_call *call, int output, qn_value value);
void qn_onnx_out_elem(qn_onnx_call *call, int output, qn_value value, int elem);
void qn_onnx_out_last(qn_onnx_call *call, int output, qn_value value);

/* The usual mappings. */
void qn_onnx_map_same(qn_onnx_call *call);        /* attributes and inputs as they are */
void qn_onnx_map_elementwise(qn_onnx_call *call); /* the same, in whichever layout the inputs are */

/* A row whose node is mapped by a function; a note says what of the operator is read. */
#define QN_ONNX_ROW(name, since, map) QN_ONNX_NOTED(name, since, map, NULL)
#define QN_ONNX_NOTED(name, since, map, note)                                                      \
    {                                                                                              \
        NULL, name, since, 0, map, NULL, NULL, note                                                \
    }

#endif
