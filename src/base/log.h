/*
 * The log sink: one function that receives finished lines. Default: standard error, one write per
 * line.
 */
#ifndef QN_BASE_LOG_H
#define QN_BASE_LOG_H

typedef enum { QN_LOG_DEBUG, QN_LOG_INFO, QN_LOG_WARN, QN_LOG_ERROR } qn_log_level;
typedef void (*qn_log_sink)(void *context, qn_log_level level, const char *line);

void qn_log_set(qn_log_sink sink, void *context, qn_log_level least);
void qn_log(qn_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
