/*
 * What the files of layers share: beginning a layer, its states, and refusals that name it.
 */
#ifndef QN_NN_SCOPE_PRIV_H
#define QN_NN_SCOPE_PRIV_H

#include "nn/layers.h"

/* A sticky error whose text begins with the layer. Returns QN_NONE. */
qn_value qn_nn_fail(const qn_nn_scope *at, const char *format, ...) QN_PRINTF(2, 3);
/* Begins a layer: labels its nodes. false = an earlier call failed. */
bool qn_nn_begin(const qn_nn_scope *at, qn_value x);
qn_shape qn_nn_shape(const qn_nn_scope *at, qn_value x);
/* One sample's shape, "[28, 28, 1]": users count without the batch. */
const char *qn_nn_sample_text(qn_shape shape, char dst[128]);
/* The size of the last dimension of [B, ..., C]; -1 with a sticky error when it is not known. */
int64_t qn_nn_channels(const qn_nn_scope *at, qn_value x);

/* Is x [B, T, D]? false = a sticky error. */
bool qn_nn_want_sequence(const qn_nn_scope *at, qn_value x);

/* A layer inside a layer: "NAME.what", or "NAME.3". */
typedef struct {
    char name[224];
    qn_nn_scope at;
} qn_nn_part;
const qn_nn_scope *qn_nn_part_of(const qn_nn_scope *at, const char *what, qn_nn_part *ret);
const qn_nn_scope *qn_nn_part_at(const qn_nn_scope *at, int64_t index, qn_nn_part *ret);

/* A state "NAME.what": of the type of `like`, or of the given one. */
qn_value qn_nn_state(const qn_nn_scope *at, const char *what, qn_value like, qn_shape shape,
                     qn_init init, bool trainable);
qn_value qn_nn_state_of(const qn_nn_scope *at, const char *what, qn_dtype dtype, qn_shape shape,
                        qn_init init, bool trainable);
/* Where a weight has its outputs: [..., in, outputs]; [..., outputs, in] of a transposed convolution; several matrices
 * [D, outputs, in] of a recurrent layer. */
typedef enum { QN_NN_OUTPUTS_LAST, QN_NN_OUTPUTS_NEXT, QN_NN_OUTPUTS_ROWS } qn_nn_outputs;
/* The weight that a layer uses for the state `weight`, which begins as `init`. what: in front of the names of further
 * states: "" or "recurrent_". */
qn_value qn_nn_reparametrise(const qn_nn_scope *at, const char *what, qn_value weight,
                             qn_nn_outputs outputs, qn_nn_reparam reparam, const qn_init *init);

/* i64 [B]: how many steps of x, [B, T] or [B, T, C], there are up to the last that holds another number than `padding`. */
qn_value qn_nn_lengths(const qn_nn_scope *at, qn_value x, double padding);

#endif
