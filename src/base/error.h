/*
 * Setting and passing on errors. An error is set once, at its origin (QN_FAIL), and passed up
 * (QN_TRY, the one macro that may return) or cleaned up after (`goto out`).
 */
#ifndef QN_BASE_ERROR_H
#define QN_BASE_ERROR_H

#include "quern/error.h"

/* Fills `err` (which may be NULL) and returns `code`. `where` may be NULL. */
qn_status qn_error_set(qn_error *err, qn_status code, const char *where, const char *format, ...)
    QN_PRINTF(4, 5);
/* As above, and appends the system's words for `os_errno`. */
qn_status qn_error_set_os(qn_error *err, qn_status code, int os_errno, const char *where,
                          const char *format, ...) QN_PRINTF(5, 6);
/* Adds a hint to an error already set; returns err->code (or `code` when err is NULL). */
qn_status qn_error_hint(qn_error *err, qn_status code, const char *format, ...) QN_PRINTF(3, 4);
/* Prefixes where an error came from, when a caller knows more (a file name, a recipe path). */
qn_status qn_error_at(qn_error *err, qn_status code, const char *format, ...) QN_PRINTF(3, 4);
/* Nearest of `names` by edit distance <= 2 (NULL = none near enough): for "did you mean". */
const char *qn_error_nearest(const char *word, const char *const *names, int names_count);

/* Returns the code itself, which a reader of one file (the analyser too) can see is not QN_OK. */
#define QN_FAIL(err, code, ...)                                                                    \
    do {                                                                                           \
        qn_error_set((err), (code), NULL, __VA_ARGS__);                                            \
        return (code);                                                                             \
    } while (0)

#define QN_TRY(call)                                                                               \
    do {                                                                                           \
        qn_status qn_try_status_ = (call);                                                         \
        if (qn_try_status_ != QN_OK)                                                               \
            return qn_try_status_;                                                                 \
    } while (0)

/* A broken promise of our own code, never of outside data; kept in release builds. */
_Noreturn void qn_assert_fail(const char *file, int line, const char *expression);
#define QN_ASSERT(expression)                                                                      \
    ((expression) ? (void)0 : qn_assert_fail(__FILE__, __LINE__, #expression))

#endif
