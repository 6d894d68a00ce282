/*
 * What the program says: results to standard output, everything else to standard error, and signals
 * turned into a wish to stop.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/verb.h"

static volatile sig_atomic_t stop_wish; /* rises with each signal: QN_STOP_STEP, QN_STOP_NOW */
static volatile sig_atomic_t first_signal;
static void (*volatile signal_hook)(int signal);

qn_status qn_cli_write(int fd, const void *data, size_t size, qn_error *err)
{
    const char *next = data;
    while (size > 0) {
        ssize_t done = write(fd, next, size);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return qn_error_set_os(err, QN_ERR_IO, errno, NULL, "cannot write standard %s",
                                   fd == 1 ? "output" : "error");
        next += done;
        size -= (size_t)done;
    }
    return QN_OK;
}

qn_status qn_cli_print(const qn_buf *buf, qn_error *err)
{
    if (buf->failed)
        QN_FAIL(err, QN_ERR_MEMORY, "no memory for %zu bytes of output", buf->size);
    return qn_cli_write(STDOUT_FILENO, buf->data, buf->size, err);
}

qn_status qn_cli_print_free(qn_buf *buf, qn_error *err)
{
    qn_status status = qn_cli_print(buf, err);
    qn_buf_deinit(buf);
    return status;
}

void qn_cli_event_begin(qn_json_writer *w, qn_buf *dst, const char *name)
{
    qn_json_write_init(w, dst);
    qn_json_object_begin(w);
    qn_json_put_text(w, "event", name);
}

void qn_cli_event_end(qn_json_writer *w, qn_buf *dst)
{
    qn_json_object_end(w);
    qn_buf_byte(dst, '\n');
}

static void report_event(const qn_error *err)
{
    qn_buf line;
    qn_json_writer w;
    qn_buf_init(&line, 0);
    qn_cli_event_begin(&w, &line, "error");
    qn_json_put_text(&w, "code", qn_status_name(err->code));
    qn_json_put_i64(&w, "exit", qn_status_exit(err->code));
    qn_json_put_text(&w, "text", err->text);
    qn_json_put_text(&w, "where", err->where);
    qn_json_put_text(&w, "hint", err->hint);
    qn_cli_event_end(&w, &line);
    qn_error ignored;
    if (!line.failed && qn_cli_write(STDOUT_FILENO, line.data, line.size, &ignored) != QN_OK) {
        /* standard output is what failed: the lines on standard error say so */
    }
    qn_buf_deinit(&line);
}

void qn_cli_report(const qn_cli *cli, const qn_error *err)
{
    fprintf(stderr, "quern: error: %s", err->text);
    if (err->where[0])
        fprintf(stderr, " (%s)", err->where);
    fputc('\n', stderr);
    if (err->hint[0])
        fprintf(stderr, "hint: %s\n", err->hint);
    if (err->code == QN_ERR_INTERNAL)
        fprintf(stderr, "hint: this is a fault of quern " QN_VERSION
                        "; please report the command and this text\n");
    if (cli && cli->json)
        report_event(err);
}

static void on_stop_signal(int signal)
{
    if (!first_signal)
        first_signal = signal;
    if (stop_wish < 2)
        stop_wish = stop_wish + 1;
    if (signal_hook)
        signal_hook(signal);
}

void qn_cli_catch_signals(void (*on_signal)(int signal))
{
    signal_hook = on_signal;
    struct sigaction action = {.sa_handler = on_stop_signal, .sa_flags = SA_RESTART};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

const volatile sig_atomic_t *qn_cli_stop(void)
{
    return &stop_wish;
}

int qn_cli_signal(void)
{
    return (int)first_signal;
}
