/*
 * The signature of a model, read off its graph and transforms.
 */
#ifndef QN_MODEL_SIGNATURE_H
#define QN_MODEL_SIGNATURE_H

#include "model/predictor.h"

/* Strings and arrays lie in `arena`, `transforms` (may be NULL) and the graph, which must outlive
 * the result. Errors: ERR_DATA when the graph has no output of a known name, or inputs that the
 * transforms do not fill. */
QN_MUST_USE qn_status qn_signature_make(const qn_graph *graph, const qn_transforms *transforms,
                                        const char *name, int64_t version, qn_task task,
                                        qn_arena *arena, qn_signature *ret, qn_error *err);

#endif
