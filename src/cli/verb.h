/*
 * The command line as data: a verb is one row (what it takes, what it says in --help, what runs). Parsing, help,
 * shell completion and man pages all read the same rows.
 */
#ifndef QN_CLI_VERB_H
#define QN_CLI_VERB_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/json.h"

typedef struct {
    const char *name;     /* "target": --target */
    const char *value;    /* what follows: "COLUMN"; NULL = a switch */
    const char *fallback; /* the default with its unit, as words; NULL = none worth a word */
    const char *doc;
} qn_flag;

/* Flags that many verbs share; a verb names the ones it takes. */
enum {
    QN_FLAG_JSON = 1 << 0,
    QN_FLAG_QUIET = 1 << 1,
    QN_FLAG_THREADS = 1 << 2,
    QN_FLAG_SEED = 1 << 3,
    QN_FLAG_SET = 1 << 4,
    QN_FLAG_MEM = 1 << 5,
    QN_FLAG_TIME = 1 << 6,
};

typedef struct qn_cli qn_cli;

typedef struct {
    const char *name;
    const char *arguments; /* "MODEL [DATA]" */
    const char *summary;   /* one line */
    const char *about;     /* a paragraph or two */
    int arguments_min, arguments_max;
    const qn_flag *flags;    /* its own; ended by a NULL name; may be NULL */
    unsigned common;         /* QN_FLAG_ bits */
    const char *examples[4]; /* command, what it does, command, what it does */
    qn_status (*run)(qn_cli *cli, qn_error *err);
} qn_verb;

/* Every verb, in the order of --help; NULL past the end. */
const qn_verb *qn_verb_at(int index);
const qn_verb *qn_verb_find(const char *name);
/* Flag i of a verb: its own first, then the common ones it takes, then --help; NULL past the end. */
const qn_flag *qn_verb_flag(const qn_verb *verb, int index);

enum { QN_CLI_FLAGS_MAX = 48 };

struct qn_cli {
    const qn_verb *verb;
    qn_arena arena;         /* lifetime: the command */
    const char **arguments; /* without flags */
    int arguments_count;
    struct {
        const qn_flag *flag;
        const char *value; /* NULL = a switch */
    } * given;             /* in the order of the command line */
    int given_count;
    bool json, quiet;
    bool negative;    /* results are out, but --fail-under or a comparison came out negative */
    bool interrupted; /* a signal ended the work early; what could be kept was kept */
};

/* Errors: ERR_ARG naming the word, with the nearest flag. */
QN_MUST_USE qn_status qn_cli_parse(qn_cli *cli, const qn_verb *verb, int words_count, char **words,
                                   qn_error *err);

/* The last value given; NULL = not given. Common flags fall back on QUERN_THREADS, QUERN_SEED, QUERN_MEM, QUERN_TIME. */
const char *qn_cli_text(const qn_cli *cli, const char *flag);
bool qn_cli_has(const qn_cli *cli, const char *flag);
/* Not given leaves *ret untouched. Errors: ERR_ARG naming flag, value and range. */
QN_MUST_USE qn_status qn_cli_i64(const qn_cli *cli, const char *flag, int64_t low, int64_t high,
                                 int64_t *ret, qn_error *err);
QN_MUST_USE qn_status qn_cli_bytes(const qn_cli *cli, const char *flag, int64_t *ret,
                                   qn_error *err);
QN_MUST_USE qn_status qn_cli_seconds(const qn_cli *cli, const char *flag, double *ret,
                                     qn_error *err);
/* Every value of a flag that may be repeated, in order. */
QN_MUST_USE qn_status qn_cli_all(qn_cli *cli, const char *flag, const char *const **ret,
                                 int *ret_count, qn_error *err);

/* Texts made from the rows. */
void qn_help_program(qn_buf *dst);
void qn_help_verb(const qn_verb *verb, qn_buf *dst);
void qn_help_man(const qn_verb *verb, qn_buf *dst); /* NULL: the program's page */
QN_MUST_USE qn_status qn_help_completion(const char *shell, qn_buf *dst, qn_error *err);

/* Writes all of it. Errors: ERR_IO ("cannot write standard output"), so that a full disk is never silent. */
QN_MUST_USE qn_status qn_cli_write(int fd, const void *data, size_t size, qn_error *err);
QN_MUST_USE qn_status qn_cli_print(const qn_buf *buf, qn_error *err); /* to standard output */
QN_MUST_USE qn_status qn_cli_print_free(qn_buf *buf, qn_error *err);  /* and deinits it */
/* One event of --json, a line of its own: {"event": NAME, what comes between. */
void qn_cli_event_begin(qn_json_writer *w, qn_buf *dst, const char *name);
void qn_cli_event_end(qn_json_writer *w, qn_buf *dst);
/* "quern: error: TEXT (WHERE)" and "hint: HINT" on standard error; with --json also one event. */
void qn_cli_report(const qn_cli *cli, const qn_error *err);

/* SIGINT and SIGTERM, counted: *qn_cli_stop() rises to QN_STOP_STEP, then QN_STOP_NOW (train/fit.h). `on_signal` (may be
 * NULL) runs in the handler. */
void qn_cli_catch_signals(void (*on_signal)(int signal));
const volatile sig_atomic_t *qn_cli_stop(void);
int qn_cli_signal(void); /* the first one seen, 0 = none */

#endif
