/*
 * Opening data sets: dataset.c chooses the form, one file per form fills frames, dataset.c joins them.
 */
#ifndef QN_DATA_DATASET_PRIV_H
#define QN_DATA_DATASET_PRIV_H

#include "data/dataset.h"
#include "os/file.h"

typedef struct {
    qn_dataset public; /* first: qn_dataset_close finds the rest by it */
    const qn_dataset_options *options;
    qn_arena arena;
    qn_map *maps;
    int64_t maps_count, maps_max;
    const char **files;
    qn_digest *digests;
} qn_open_dataset;

/* Files of a list, patterns expanded, in order. */
typedef struct {
    const char **paths;
    int64_t count;
} qn_path_list;

/* Maps a file for the life of the data set and notes its digest. */
QN_MUST_USE qn_status qn_dataset_map(qn_open_dataset *set, const char *path, qn_str *ret,
                                     qn_error *err);
/* Room to map so many more files. */
QN_MUST_USE qn_status qn_dataset_reserve(qn_open_dataset *set, int64_t files, qn_error *err);
qn_status qn_dataset_no_memory(const qn_open_dataset *set, qn_error *err);

QN_MUST_USE qn_status qn_dataset_open_csv(qn_open_dataset *set, const qn_path_list *paths,
                                          int64_t main_count, qn_error *err);
QN_MUST_USE qn_status qn_dataset_open_npz(qn_open_dataset *set, const qn_path_list *paths,
                                          int64_t main_count, qn_error *err);
bool qn_dataset_is_idx(const char *path);                           /* a file, by its name */
bool qn_dataset_is_idx_folder(const char *path, qn_arena *scratch); /* the usual names in it */
QN_MUST_USE qn_status qn_dataset_open_idx(qn_open_dataset *set, const qn_path_list *paths,
                                          int64_t main_count, qn_error *err);
QN_MUST_USE qn_status qn_dataset_open_images(qn_open_dataset *set, const char *folder,
                                             const char *test, qn_error *err);
/* Columns of texts that are paths of image files beside the table become those files. */
QN_MUST_USE qn_status qn_dataset_load_images(qn_open_dataset *set, qn_error *err);

/* Appends frames: the columns of the first, in its order; the others must have the same ones. Copies unless alone. */
QN_MUST_USE qn_status qn_dataset_join(qn_open_dataset *set, const qn_frame *frames, int64_t count,
                                      qn_error *err);

#endif
