/*
 * Between the files of the ONNX reader and writer.
 */
#ifndef QN_FORMAT_ONNX_PRIV_H
#define QN_FORMAT_ONNX_PRIV_H

#include "format/onnx.h"
#include "onnx.pb-c.h"

typedef struct {
    const char *file, *folder;
    qn_arena *arena;
    qn_onnx_model *model; /* its maps grow; NULL: external data is refused */
} qn_onnx_reader;

/* Elements of `message` as a contiguous tensor: a view of its raw data where that is aligned and whole, otherwise a copy
 * in the arena. `what` names the tensor in errors where the message has no name. */
QN_MUST_USE qn_status qn_onnx_tensor_of(const qn_onnx_reader *reader, const Onnx__Tensor *message,
                                        const char *what, qn_onnx_tensor *ret, qn_error *err);
int qn_onnx_elem_bits(int elem); /* 0 = no storage */

#endif
