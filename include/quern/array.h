/*
 * Arrays of numbers in files, for programs that train their own nets: IDX (the files of MNIST) and
 * NumPy's NPY. Tables and folders of data are read by qn_train (quern/model.h).
 */
#ifndef QUERN_ARRAY_H
#define QUERN_ARRAY_H

#include "quern/error.h"
#include "quern/view.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct qn_array qn_array;

/* The array in FOLDER/NAME, or in FOLDER/NAME.gz when only that is there: IDX or NPY, told apart by
 * their first bytes. NULL = error: not found, or the file, what it says and what is there.
 * Threads: any. */
QN_API qn_array *qn_array_read(const char *folder, const char *name, qn_error *err);

/* As above, for images of bytes: floats from 0 to 1 with channels last.
 * Shapes: [images, height, width] and [images, height, width, channels] in the file; four
 * dimensions in memory. */
QN_API qn_array *qn_array_read_images(const char *folder, const char *name, qn_error *err);

/* Lives as long as the array. */
QN_API qn_view qn_array_view(const qn_array *array);
QN_API void qn_array_destroy(qn_array *array);

#ifdef __cplusplus
}
#endif
#endif
