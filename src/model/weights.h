/*
 * Named tensors with a note in one file: what a checkpoint is. The file is safetensors; the note is a
 * text of its metadata.
 */
#ifndef QN_MODEL_WEIGHTS_H
#define QN_MODEL_WEIGHTS_H

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"
#include "os/file.h"
#include "tensor/tensor.h"

/* Replaces `path` atomically: a reader sees the old file or the new one. */
QN_MUST_USE qn_status qn_weights_write(const char *path, const qn_named_tensor *tensors,
                                       int64_t count, qn_str note, qn_error *err);

typedef struct {
    const qn_named_tensor *tensors; /* data in `map` */
    int64_t count;
    qn_str note; /* empty = none */
    qn_map map;
} qn_weights;
/* Memory: names and note in `arena`, data in the mapped file until close. */
QN_MUST_USE qn_status qn_weights_open(const char *path, qn_arena *arena, qn_weights *ret,
                                      qn_error *err);
void qn_weights_close(qn_weights *weights);

#endif
