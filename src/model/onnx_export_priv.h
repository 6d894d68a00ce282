/*
 * Between the files of the ONNX exporter. Names of values are made in order; the first error sticks, as in the importer.
 */
#ifndef QN_MODEL_ONNX_EXPORT_PRIV_H
#define QN_MODEL_ONNX_EXPORT_PRIV_H

#include "base/arena.h"
#include "format/onnx.h"
#include "model/onnx_activation.h"
#include "model/onnx_export.h"

/* A value's name as the graph has it, and with channels first; NULL = not made yet. */
typedef struct {
    const char *plain, *first;
} qn_onnx_names;

typedef struct {
    const qn_graph *graph;
    const qn_state *state;
    qn_arena arena;
    qn_onnx_names *names; /* [values] */
    qn_tensor *computed;  /* [values] what hangs on weights alone; data NULL = not so */
    qn_onnx_node *nodes;
    qn_onnx_tensor *tensors;
    int nodes_count, nodes_max, tensors_count, tensors_max;
    int made; /* names so far */
    qn_status status;
    qn_error err;
} qn_onnx_exporter;

typedef const qn_graph_node_view *qn_onnx_view;
void qn_onnx_export_node(qn_onnx_exporter *e, qn_onnx_view node);

void qn_onnx_export_fail(qn_onnx_exporter *e, qn_status code, const char *format, ...)
    QN_PRINTF(3, 4);
const char *qn_onnx_export_plain(qn_onnx_exporter *e, qn_value value); /* "" for QN_NONE */
const char *qn_onnx_export_first(qn_onnx_exporter *e, qn_value value);
const char *qn_onnx_export_name(qn_onnx_exporter *e); /* a new one */
/* A copy that lives as long as the exporter. */
void *qn_onnx_export_keep(qn_onnx_exporter *e, const void *data, int64_t count, size_t each);
/* A node of one output whose name is made here; attributes are copied. */
const char *qn_onnx_export_emit(qn_onnx_exporter *e, const char *op, const char *const *inputs,
                                int inputs_count, const qn_onnx_attr *attrs, int attrs_count);
void qn_onnx_export_many(qn_onnx_exporter *e, const char *op, const char *const *inputs,
                         int inputs_count, const qn_onnx_attr *attrs, int attrs_count,
                         const char **outputs, int outputs_count);
const char *qn_onnx_export_tensor(qn_onnx_exporter *e, const qn_tensor *tensor);
const char *qn_onnx_export_ints(qn_onnx_exporter *e, const int64_t *numbers, int count);
const char *qn_onnx_export_number(qn_onnx_exporter *e, double number); /* f32 scalar */
/* A weight or constant's elements; false = it is computed. */
bool qn_onnx_export_read(qn_onnx_exporter *e, qn_value value, qn_tensor *ret);
const char *qn_onnx_export_turn(qn_onnx_exporter *e, const char *x, const int64_t *perm, int rank);

/* Attributes of the graph's node. */
const qn_attr *qn_onnx_export_attr(qn_onnx_view node,
                                   const char *name); /* NULL = the row has none */
int64_t qn_onnx_export_i(qn_onnx_view node, const char *name, int64_t fallback);
double qn_onnx_export_f(qn_onnx_view node, const char *name, double fallback);
const char *qn_onnx_export_s(qn_onnx_view node, const char *name, const char *fallback);

/* A node of one or two inputs without attributes. */
const char *qn_onnx_export_1(qn_onnx_exporter *e, const char *op, const char *x);
const char *qn_onnx_export_2(qn_onnx_exporter *e, const char *op, const char *a, const char *b);

/* Rows of sequences (onnx_export_sequence.c). */
void qn_onnx_export_rnn(qn_onnx_exporter *e, qn_onnx_view node);
void qn_onnx_export_attention(qn_onnx_exporter *e, qn_onnx_view node);
void qn_onnx_export_rotary(qn_onnx_exporter *e, qn_onnx_view node);
void qn_onnx_export_sinusoid(qn_onnx_exporter *e, qn_onnx_view node);
void qn_onnx_export_positions(qn_onnx_exporter *e, qn_onnx_view node);
void qn_onnx_export_zeros(qn_onnx_exporter *e, qn_onnx_view node);

/* Rows that move numbers along an axis (onnx_export_moves.c). */
void qn_onnx_export_cumsum(qn_onnx_exporter *e, qn_onnx_view node);
void qn_onnx_export_top_k(qn_onnx_exporter *e, qn_onnx_view node);
void qn_onnx_export_scatter(qn_onnx_exporter *e, qn_onnx_view node);
void qn_onnx_export_places(qn_onnx_exporter *e, qn_onnx_view node);
void qn_onnx_export_unpool(qn_onnx_exporter *e, qn_onnx_view node);

/* Inside a function that writes node `n`: its inputs, their names and types, and the names of its first output. */
#define IN(k)    ((k) < n->inputs_count ? n->inputs[k] : QN_NONE)
#define PLAIN(k) qn_onnx_export_plain(e, IN(k))
#define OUT      e->names[n->first].plain
#define OUT1     e->names[n->first].first
#define TYPE(k)  qn_graph_type(e->graph, n->inputs[k])

#define QN_ONNX_I(key, value)                                                                      \
    ((qn_onnx_attr){.name = (key), .kind = QN_ONNX_ATTR_INT, .i = (value)})
#define QN_ONNX_F(key, value)                                                                      \
    ((qn_onnx_attr){.name = (key), .kind = QN_ONNX_ATTR_FLOAT, .f = (float)(value)})
#define QN_ONNX_S(key, value)                                                                      \
    ((qn_onnx_attr){.name = (key), .kind = QN_ONNX_ATTR_STRING, .s = (value)})
#define QN_ONNX_INTS(key, list, n)                                                                 \
    ((qn_onnx_attr){.name = (key), .kind = QN_ONNX_ATTR_INTS, .ints = (list), .count = (n)})

#endif
