/*
 * The log sink: the one mutable file-scope state of base/ besides the allocation counter. Set it
 * before other threads start.
 */
#include "base/log.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *const level_words[] = {"debug: ", "", "warning: ", "error: "};

/* One write() per line, so that lines of several threads never mix. */
static void write_line(void *context, qn_log_level level, const char *line)
{
    (void)context;
    char text[1280];
    int size = snprintf(text, sizeof text, "quern: %s%s\n", level_words[level], line);
    if (size >= (int)sizeof text) {
        size = (int)sizeof text - 1;
        text[size - 1] = '\n';
    }
    ssize_t written = size > 0 ? write(STDERR_FILENO, text, (size_t)size) : 0;
    (void)written; /* nobody is left to tell */
}

static struct {
    qn_log_sink sink;
    void *context;
    qn_log_level least;
} log_state = {write_line, NULL, QN_LOG_INFO};

void qn_log_set(qn_log_sink sink, void *context, qn_log_level least)
{
    log_state.sink = sink ? sink : write_line;
    log_state.context = context;
    log_state.least = least;
}

void qn_log(qn_log_level level, const char *format, ...)
{
    if (level < log_state.least)
        return;
    char line[1200];
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    log_state.sink(log_state.context, level, line);
}
