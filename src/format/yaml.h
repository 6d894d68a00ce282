/*
 * YAML (and JSON) to a tree of texts with their places. No types are guessed: `no` is the text "no", and
 * whoever reads the tree decides what a text means. Anchors, aliases, tags and several documents are
 * errors, so are duplicate keys; depth and size have limits.
 */
#ifndef QN_FORMAT_YAML_H
#define QN_FORMAT_YAML_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/str.h"

typedef enum { QN_YAML_SCALAR, QN_YAML_LIST, QN_YAML_MAP } qn_yaml_kind;

typedef struct qn_yaml qn_yaml;
struct qn_yaml {
    qn_yaml_kind kind;
    int line, column; /* from 1 */
    qn_str text;      /* SCALAR; ends with a zero byte too */
    bool quoted;      /* SCALAR: in quotes or a block, so it is a string and never null or auto */
    int64_t count;    /* LIST, MAP */
    qn_yaml *items;   /* LIST, MAP: values */
    qn_yaml *keys;    /* MAP: scalars */
};

/* `file` names the text in errors. A text that ends in .json is read as strict JSON, anything else as
 * YAML 1.1. Memory: the tree in `arena`. Errors: ERR_ARG (a recipe is wrong use) with "file:line:column"
 * in `where`; ERR_BUDGET over a limit; ERR_MEMORY. Threads: any. */
QN_MUST_USE qn_status qn_yaml_read(qn_str text, const char *file, qn_arena *arena, qn_yaml *ret,
                                   qn_error *err);
const qn_yaml *qn_yaml_find(const qn_yaml *map, const char *key); /* NULL = absent */
/* A plain scalar that YAML and JSON read as nothing: null, ~ or empty. */
bool qn_yaml_is_null(const qn_yaml *node);

#endif
