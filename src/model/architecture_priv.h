/* Between the files of architectures. */
#ifndef QN_MODEL_ARCHITECTURE_PRIV_H
#define QN_MODEL_ARCHITECTURE_PRIV_H

#include "model/architecture.h"

/* [B, ...] with the source's row shape behind the batch. */
qn_shape qn_architecture_batch_shape(const qn_feature_tensor *source);

/* The network of `architecture->file` on the sources, which become the graph's inputs: scores, where it ends there, or what
 * the layers go on from. Errors: ERR_ARG names the file's input, its shape and what the data gives. */
QN_MUST_USE qn_status qn_architecture_file(const qn_architecture *architecture, qn_graph *graph,
                                           qn_value *ret, qn_state **ret_weights, qn_error *err);
/* The file's scores do not fit the target: says how to put a layer of the right size behind it. ERR_ARG. */
qn_status qn_architecture_file_misfit(const qn_architecture *architecture, const qn_error *problem,
                                      qn_error *err);

#endif
