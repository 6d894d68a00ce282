/*
 * What training says while it runs: one live line on a terminal, a line at powers of two and at each epoch elsewhere,
 * one JSON object per event with --json.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/verbs.h"
#include "os/term.h"

void qn_progress_init(qn_progress *progress, const qn_cli *cli)
{
    *progress =
        (qn_progress){.cli = cli, .live = !cli->quiet && qn_term_is(STDERR_FILENO), .next_step = 1};
}

void qn_progress_end(qn_progress *progress)
{
    if (progress->live)
        qn_term_live_end(STDERR_FILENO);
}

static void print_json(const qn_fit_event *event)
{
    qn_buf line;
    qn_json_writer w;
    qn_error ignored;
    qn_buf_init(&line, 0);
    qn_json_write_init(&w, &line);
    qn_fit_event_write_json(event, &w);
    qn_buf_byte(&line, '\n');
    if (qn_cli_write(STDOUT_FILENO, line.data, line.size, &ignored) != QN_OK) {
        /* the result is written last and fails loudly when standard output is gone */
    }
    qn_buf_deinit(&line);
}

static void say(const qn_progress *progress, const char *line)
{
    if (progress->live)
        qn_term_live_end(STDERR_FILENO);
    fprintf(stderr, "%s\n", line);
}

static void append_rate(char *line, size_t size, const qn_fit_event *event)
{
    size_t used = strlen(line);
    if (event->rows_per_s > 0)
        used += (size_t)snprintf(line + used, size - used, "  %.0f rows/s", event->rows_per_s);
    if (used < size && event->eta_s >= 0.5) /* NaN is not */
        used += (size_t)snprintf(line + used, size - used, "  %.0f s left", event->eta_s);
    if (used < size && event->memory_bytes > 0)
        snprintf(line + used, size - used, "  %.0f MiB", (double)event->memory_bytes / (1 << 20));
}

/* A candidate begins: "train mlp: dense 64 relu, dense 1"; is done: "train mlp: best auroc 0.9051 in epoch 3". */
static void describe_candidate(const qn_fit_event *event, char *line, size_t size)
{
    if (!event->metric)
        snprintf(line, size, "%s %s: %s", event->phase, event->candidate, event->text);
    else if (isfinite(event->value))
        snprintf(line, size, "%s %s: best %s %.4f in epoch %lld", event->phase, event->candidate,
                 event->metric, event->value, (long long)event->epoch);
    else
        snprintf(line, size, "%s %s: done", event->phase, event->candidate);
}

/* "train mlp  epoch 3/20  step 512  loss 0.3121  auroc 0.9051  120000 rows/s  4 s left  31 MiB" */
static void describe(const qn_fit_event *event, char *line, size_t size)
{
    int used = snprintf(line, size, "%s%s%s", event->phase ? event->phase : "",
                        event->candidate ? " " : "", event->candidate ? event->candidate : "");
    if (event->epochs > 0 && (size_t)used < size)
        used += snprintf(line + used, size - (size_t)used, "  epoch %lld/%lld",
                         (long long)event->epoch, (long long)event->epochs);
    if (event->step > 0 && (size_t)used < size)
        used += snprintf(line + used, size - (size_t)used, "  step %lld", (long long)event->step);
    if (isfinite(event->loss) && (size_t)used < size)
        used += snprintf(line + used, size - (size_t)used, "  loss %.4f", event->loss);
    if (event->metric && isfinite(event->value) && (size_t)used < size)
        snprintf(line + used, size - (size_t)used, "  %s %.4f", event->metric, event->value);
    append_rate(line, size, event);
}

static void on_step(qn_progress *progress, const qn_fit_event *event)
{
    char line[256];
    bool due = event->step >= progress->next_step;
    while (progress->next_step <= event->step)
        progress->next_step *= 2;
    if (!progress->live && !due)
        return;
    describe(event, line, sizeof line);
    if (progress->live)
        qn_term_live(STDERR_FILENO, line);
    else
        say(progress, line);
}

void qn_progress_event(void *context, const qn_fit_event *event)
{
    qn_progress *progress = context;
    char line[1024];
    if (progress->cli->json)
        print_json(event);
    if (progress->cli->quiet || event->kind == QN_FIT_RESULT)
        return;
    switch (event->kind) {
    case QN_FIT_PHASE:
        if (progress->live)
            qn_term_live(STDERR_FILENO, event->phase);
        break;
    case QN_FIT_NOTE:
    case QN_FIT_WARNING:
        snprintf(line, sizeof line, "%s: %s", event->kind == QN_FIT_NOTE ? "note" : "warning",
                 event->text);
        qn_text_hide_controls(line);
        say(progress, line);
        break;
    case QN_FIT_STEP:
        on_step(progress, event);
        break;
    case QN_FIT_CANDIDATE:
        progress->next_step = 1;
        describe_candidate(event, line, sizeof line);
        say(progress, line);
        break;
    default:
        describe(event, line, sizeof line);
        say(progress, line);
    }
}
