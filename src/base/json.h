/*
 * Strict JSON (RFC 8259): a reader that makes a tree in an arena, and a writer into a buffer.
 *
 * Strict: UTF-8 checked, no trailing commas or comments, no duplicate keys, one value per text;
 * NaN and Infinity words only where allowed. Integers that fit int64 stay exact. A run of numbers
 * in an array is stored as one packed double (or int64) array, so that a tensor of a million floats
 * costs eight megabytes and no nodes.
 */
#ifndef QN_BASE_JSON_H
#define QN_BASE_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"

typedef enum {
    QN_JSON_NULL,
    QN_JSON_BOOL,
    QN_JSON_INT, /* fits int64, written without fraction or exponent */
    QN_JSON_FLOAT,
    QN_JSON_STRING,
    QN_JSON_ARRAY,   /* items */
    QN_JSON_NUMBERS, /* a non-empty array whose elements are all numbers, packed */
    QN_JSON_OBJECT,  /* keys + items, in file order */
} qn_json_kind;

typedef struct qn_json qn_json;
struct qn_json {
    qn_json_kind kind;
    bool all_int;   /* NUMBERS: every element was INT, see `ints`; otherwise see `floats` */
    int64_t count;  /* ARRAY, NUMBERS, OBJECT: number of elements */
    int64_t offset; /* byte offset in the text, for messages */
    union {
        bool boolean;
        int64_t integer;
        double number;
        qn_str string;
        struct qn_json *items; /* ARRAY and OBJECT */
        double *floats;
        int64_t *ints;
    };
    qn_str *keys; /* OBJECT */
};

typedef struct {
    int depth_max;        /* 0 = 63, which is also the most */
    int64_t values_max;   /* 0 = 16 Mi: nodes, not packed numbers */
    bool allow_nonfinite; /* NaN, Infinity, -Infinity as numbers */
} qn_json_limits;

/* Reads one text. Strings and arrays lie in `arena`; strings without escapes point into `text`,
 * which must outlive the tree. Errors: ERR_DATA with line and column in `where`; ERR_BUDGET over a
 * limit; ERR_MEMORY. */
QN_MUST_USE qn_status qn_json_read(qn_str text, const qn_json_limits *limits, qn_arena *arena,
                                   qn_json *ret, qn_error *err);

/* NULL when absent or `object` is not an object. */
const qn_json *qn_json_find(const qn_json *object, const char *key);
/* Typed access with an error that names `key`, what came and what was expected. `required` false:
 * absent or null leaves *ret untouched and returns QN_OK. Numbers convert only when exact. */
QN_MUST_USE qn_status qn_json_get_str(const qn_json *object, const char *key, bool required,
                                      qn_str *ret, qn_error *err);
QN_MUST_USE qn_status qn_json_get_i64(const qn_json *object, const char *key, bool required,
                                      int64_t *ret, qn_error *err);
QN_MUST_USE qn_status qn_json_get_f64(const qn_json *object, const char *key, bool required,
                                      double *ret, qn_error *err);
QN_MUST_USE qn_status qn_json_get_bool(const qn_json *object, const char *key, bool required,
                                       bool *ret, qn_error *err);
/* "an array of 3", "the string \"x\"": for messages. */
const char *qn_json_kind_name(const qn_json *value);
/* Length of an ARRAY or NUMBERS (-1 otherwise), and element i of either as a value. */
int64_t qn_json_length(const qn_json *array);
qn_json qn_json_at(const qn_json *array, int64_t index);
bool qn_json_as_f64(const qn_json *value, double *ret); /* INT or FLOAT */

/* The writer puts commas itself. Nesting errors are our bugs (QN_ASSERT). Non-finite numbers are
 * written as null, or as the words NaN / Infinity / -Infinity when `nonfinite_words` is set. */
typedef struct {
    qn_buf *buf;
    int depth;
    bool pretty; /* two-space indentation */
    bool nonfinite_words;
    uint64_t filled; /* private: bit per depth, an element was written */
    bool after_key;  /* private */
} qn_json_writer;

void qn_json_write_init(qn_json_writer *w, qn_buf *buf);
void qn_json_object_begin(qn_json_writer *w);
void qn_json_object_end(qn_json_writer *w);
void qn_json_array_begin(qn_json_writer *w);
void qn_json_array_end(qn_json_writer *w);
void qn_json_key(qn_json_writer *w, const char *key);
void qn_json_key_str(qn_json_writer *w, qn_str key);
void qn_json_str(qn_json_writer *w, qn_str value);
void qn_json_text(qn_json_writer *w, const char *value); /* NULL writes null */
void qn_json_i64(qn_json_writer *w, int64_t value);
void qn_json_f64(qn_json_writer *w, double value);
void qn_json_f32(qn_json_writer *w, float value);
void qn_json_bool(qn_json_writer *w, bool value);
void qn_json_null(qn_json_writer *w);
void qn_json_f32_array(qn_json_writer *w, const float *values, int64_t count); /* [..], fast */
void qn_json_value(qn_json_writer *w, const qn_json *value);                   /* a whole tree */
/* A key and its value. */
void qn_json_put_text(qn_json_writer *w, const char *key, const char *value);
void qn_json_put_i64(qn_json_writer *w, const char *key, int64_t value);
void qn_json_put_f64(qn_json_writer *w, const char *key, double value);
void qn_json_put_bool(qn_json_writer *w, const char *key, bool value);

#endif
