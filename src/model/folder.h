/*
 * The model folder (SPEC.md section 3): DIR/<version>/ with quern.json, model.safetensors and the
 * files for people. A version is written under a temporary name and appears by one rename when all
 * of it is on disk; a reader never sees half of one. Nothing read from a folder is trusted.
 */
#ifndef QN_MODEL_FOLDER_H
#define QN_MODEL_FOLDER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/json.h"
#include "data/schema.h"
#include "data/transform.h"
#include "graph/graph.h"
#include "graph/state.h"

enum { QN_MODEL_FORMAT = 1 }; /* "quern": 1 in quern.json */

/* What a folder is made of. Texts may be empty (size 0): that file is then left out. */
typedef struct {
    const char *name;
    const qn_graph *graph;           /* inference; outputs named as in the signature */
    const qn_state *state;           /* the graph's states are written, nothing else */
    const qn_transforms *transforms; /* NULL = a model of tensors */
    const qn_schema *schema;         /* NULL = none */
    qn_task task;
    qn_str net;     /* JSON of a network written in C (train/net.c): {"input", "layers", "loss"} */
    qn_str recipe;  /* recipe.yaml */
    qn_str metrics; /* metrics.json */
    qn_str card;    /* README.md */
    qn_str report;  /* report.html */
    qn_str run;     /* run.jsonl */
} qn_folder_content;

/* Writes the next version below `folder` (made when absent). Leaves DIR/checkpoint alone.
 * `ret_path` is in `arena`. Errors: ERR_IO, ERR_MEMORY; nothing new is then visible. */
QN_MUST_USE qn_status qn_folder_write(const char *folder, const qn_folder_content *content,
                                      qn_arena *arena, const char **ret_path, int64_t *ret_version,
                                      qn_error *err);

/* A folder read and checked. */
typedef struct {
    const char *path; /* the version's own folder */
    const char *name;
    int64_t version;
    qn_task task;
    qn_graph *graph;           /* owned */
    qn_state *state;           /* owned */
    qn_transforms *transforms; /* in `arena`; NULL = a model of tensors */
    const qn_json *net;        /* in `arena`; NULL = none */
    char digest[65];
} qn_folder_model;

/* `folder` holds versions (version 0 = the newest complete one), or is a version's own folder.
 * Memory: strings and transforms in `arena` (load lifetime). Errors: ERR_NOT_FOUND says which
 * versions there are; ERR_DATA names the file and what is wrong. */
QN_MUST_USE qn_status qn_folder_read(const char *folder, int64_t version, qn_arena *arena,
                                     qn_folder_model *ret, qn_error *err);
void qn_folder_model_deinit(qn_folder_model *model);

/* Resolves as qn_folder_read does, without reading. */
QN_MUST_USE qn_status qn_folder_find(const char *folder, int64_t version, qn_arena *arena,
                                     const char **ret_path, int64_t *ret_version, qn_error *err);
/* Letters, digits, '-', '_' and '.', first a letter or digit, 128 at most: what can be a folder and a part of URLs. */
bool qn_folder_name_check(const char *name);
/* `path` looks like a model: a version's own folder or a folder of versions. */
bool qn_folder_is_model(const char *path, qn_arena *scratch);
/* `path` names an ONNX file: a model of tensors by itself. */
bool qn_path_is_onnx(const char *path);
/* Versions present, ascending. */
QN_MUST_USE qn_status qn_folder_versions(const char *folder, qn_arena *arena,
                                         int64_t **ret_versions, int64_t *ret_count, qn_error *err);

/* `quern check MODEL`: all of qn_folder_read, and every file against its recorded digest.
 * Errors: ERR_NEGATIVE names the first file that differs. */
QN_MUST_USE qn_status qn_folder_verify(const char *folder, int64_t version, qn_arena *scratch,
                                       qn_error *err);

#endif
