/*
 * Arrays read from files, for the examples and for programs that have no reader of their own.
 */
#ifndef QUERN_ARRAY_H
#define QUERN_ARRAY_H

#include "quern/error.h"
#include "quern/view.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct qn_array qn_array;

/* FOLDER/NAME as an IDX file (the format of MNIST), or FOLDER/NAME.gz. NULL = error. */
QN_API qn_array *qn_array_read(const char *folder, const char *name, qn_error *err);
/* The same for grey images: bytes become f32 of 0 to 1, and a channel is added: [N, H, W, 1]. */
QN_API qn_array *qn_array_read_images(const char *folder, const char *name, qn_error *err);
QN_API void qn_array_destroy(qn_array *array);
/* Lives as long as the array. */
QN_API qn_view qn_array_view(const qn_array *array);

#ifdef __cplusplus
}
#endif
#endif
