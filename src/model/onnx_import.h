/*
 * ONNX models as graphs: for answers, and with their weights as states for further training.
 *
 * A graph here is static, so whatever decides a shape is computed while importing: Shape, Gather, Concat and the like
 * over constants and declared sizes. A size that the file leaves open is the batch or the length, or is given.
 */
#ifndef QN_MODEL_ONNX_IMPORT_H
#define QN_MODEL_ONNX_IMPORT_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "format/onnx.h"
#include "graph/graph.h"
#include "graph/state.h"

/* Which inputs become constants: their elements may then decide shapes. */
typedef enum { QN_ONNX_FIX_NONE, QN_ONNX_FIX_WHOLE_NUMBERS, QN_ONNX_FIX_ALL } qn_onnx_fix;

/* For further training: batch normalisation takes the batch's statistics and its running ones move, as where the model came
 * from. Weights whose names match a pattern of `frozen` (qn_nn_pattern_matches) are not trained, and their normalisation
 * stays as it is. */
typedef struct {
    const char *const *frozen;
    int64_t frozen_count;
} qn_onnx_training;

typedef struct {
    /* Sizes of inputs by name, and with `fix` their elements. An input that is not listed has the sizes that the file
     * declares: the first open one is the batch, another the length, and equal names are equal sizes. */
    const qn_named_tensor *given;
    int given_count;
    qn_onnx_fix fix;
    int64_t open_size; /* what open sizes are instead of symbols; 0 = symbols */
    /* bytes that computed constants and those of functions and branches may take; 0 = 1 GiB and 8 times the file's
     * tensors */
    int64_t constants_max;
    const char *
        output; /* the one value to give, an inner one too, channels last where it is made so; NULL = the outputs */
    const char *channels_last;        /* the input that comes with its channels last, NULL = none */
    const qn_onnx_training *training; /* NULL = for answers alone */
} qn_onnx_import_options;

/* `graph` has the file's inputs and outputs under their names; `state` has its weights. Weights are float tensors of the
 * file with at least one dimension, and what is computed from them alone; convolution weights are stored channels last.
 * Masks (infinite or huge elements) are no weights. Errors: ERR_UNSUPPORTED and ERR_DATA name the node, its operator and
 * what was expected; with `training`, ERR_ARG names a pattern that matches no weight, and weights that are not f32. */
QN_MUST_USE qn_status qn_onnx_import(const qn_onnx_model *model,
                                     const qn_onnx_import_options *options, qn_graph **ret_graph,
                                     qn_state **ret_state, qn_error *err);

/* The operators that are read, one line each: name, first and last opset, remark. For `quern schema onnx` and the docs. */
typedef struct {
    const char *domain, *op, *note;
    int since, until; /* until 0: to the newest */
} qn_onnx_support;
bool qn_onnx_support_at(int index, qn_onnx_support *ret); /* false past the end */
enum { QN_ONNX_OPSET_MIN = 6, QN_ONNX_OPSET_MAX = 28 };

#endif
