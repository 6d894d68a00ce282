/*
 * Status codes and errors of every fallible Quern function.
 *
 * A fallible function returns a qn_status and fills an optional last `qn_error *`. On failure its
 * outputs are untouched. One table maps each code to its name, the program's exit code, the HTTP
 * status and the gRPC code, so that every surface answers alike.
 */
#ifndef QUERN_ERROR_H
#define QUERN_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define QN_API                         __attribute__((visibility("default")))
#define QN_MUST_USE                    __attribute__((warn_unused_result))
#define QN_PRINTF(format_at, first_at) __attribute__((format(printf, format_at, first_at)))
#else
#define QN_API
#define QN_MUST_USE
#define QN_PRINTF(format_at, first_at)
#endif

/*    code           exit  HTTP gRPC  meaning */
#define QN_STATUS_MAP(X)                                                                           \
    X(OK, 0, 200, 0, "ok")                                                                         \
    X(ERR_NEGATIVE, 1, 409, 9, "a check came out negative")                                        \
    X(ERR_ARG, 2, 400, 3, "a wrong argument")                                                      \
    X(ERR_UNSUPPORTED, 2, 501, 12, "not supported")                                                \
    X(ERR_DATA, 3, 400, 3, "bad data")                                                             \
    X(ERR_NUMERIC, 3, 500, 13, "a number became NaN or infinite")                                  \
    X(ERR_BUDGET, 4, 413, 8, "a budget or limit does not suffice")                                 \
    X(ERR_MEMORY, 4, 503, 8, "out of memory")                                                      \
    X(ERR_NOT_FOUND, 5, 404, 5, "not found")                                                       \
    X(ERR_IO, 5, 500, 14, "a file or the network failed")                                          \
    X(ERR_BUSY, 5, 503, 14, "overloaded")                                                          \
    X(ERR_TIMEOUT, 5, 504, 4, "the deadline passed")                                               \
    X(ERR_CANCELLED, 130, 499, 1, "cancelled")                                                     \
    X(ERR_INTERNAL, 70, 500, 13, "a fault of ours")

typedef enum {
#define X(code, exit_code, http, grpc, text) QN_##code,
    QN_STATUS_MAP(X)
#undef X
        QN_STATUS_COUNT
} qn_status;

/* What went wrong, where, and what to do. `text` names the thing, the value and what was expected,
 * in lower case without a full stop; `where` is a file:row:column, a recipe path or empty;
 * `hint` says what to do, or is empty. */
typedef struct {
    qn_status code;
    int os_errno; /* errno of a failed system call, or 0 */
    char where[160];
    char text[512];
    char hint[240];
} qn_error;

/* Name of a code as in this header without QN_ ("ERR_DATA"), its exit code, HTTP status, gRPC code.
 */
QN_API const char *qn_status_name(qn_status status);
QN_API const char *qn_status_text(qn_status status);
QN_API int qn_status_exit(qn_status status);
QN_API int qn_status_http(qn_status status);
QN_API int qn_status_grpc(qn_status status);

#ifdef __cplusplus
}
#endif
#endif
