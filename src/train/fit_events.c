/*
 * Events of a run: to the caller as they happen, and as lines of run.jsonl.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "os/clock.h"
#include "train/fit_priv.h"

static const char *const kind_names[] = {"phase", "note",  "warning", "candidate",
                                         "step",  "epoch", "result"};

static void write_number(qn_json_writer *w, const char *key, double value)
{
    if (isnan(value))
        return;
    qn_json_put_f64(w, key, value);
}

static void write_text(qn_json_writer *w, const char *key, const char *value)
{
    if (!value)
        return;
    qn_json_put_text(w, key, value);
}

static void write_count(qn_json_writer *w, const char *key, int64_t value)
{
    if (value <= 0)
        return;
    qn_json_put_i64(w, key, value);
}

void qn_fit_event_write_json(const qn_fit_event *event, qn_json_writer *w)
{
    qn_json_object_begin(w);
    write_text(w, "event", kind_names[event->kind]);
    write_text(w, "phase", event->phase);
    write_text(w, "candidate", event->candidate);
    write_text(w, "text", event->text);
    write_count(w, "epoch", event->epoch);
    write_count(w, "epochs", event->epochs);
    write_count(w, "step", event->step);
    write_count(w, "steps", event->steps);
    if (event->kind == QN_FIT_STEP || event->kind == QN_FIT_EPOCH) {
        write_number(w, "loss", event->loss);
        write_number(w, "lr", event->learning_rate);
        write_number(w, "rows_per_s", event->rows_per_s);
        write_number(w, "eta_s", event->eta_s);
    }
    if (event->metric) {
        write_text(w, "metric", event->metric);
        write_number(w, "value", event->value);
        write_number(w, "best", event->best);
    }
    write_number(w, "seconds", event->seconds);
    write_count(w, "memory_bytes", event->memory_bytes);
    write_text(w, "model", event->folder);
    if (event->metrics_json.size > 0) {
        qn_arena scratch;
        qn_json metrics;
        qn_arena_init(&scratch, 0);
        if (qn_json_read(event->metrics_json, NULL, &scratch, &metrics, NULL) == QN_OK) {
            qn_json_key(w, "metrics");
            qn_json_value(w, &metrics);
        }
        qn_arena_deinit(&scratch);
    }
    qn_json_object_end(w);
}

qn_fit_event qn_fit_event_of(qn_fit_kind kind)
{
    const double unknown = (double)NAN;
    return (qn_fit_event){.kind = kind,
                          .loss = unknown,
                          .value = unknown,
                          .best = unknown,
                          .learning_rate = unknown,
                          .rows_per_s = unknown,
                          .eta_s = unknown};
}

double qn_fit_seconds(const qn_fit *fit)
{
    return fit->seconds_before + (double)(qn_now_ns() - fit->begin_ns) / 1e9;
}

void qn_fit_emit(qn_fit *fit, qn_fit_event *event, bool logged)
{
    event->phase = fit->phase;
    event->seconds = qn_fit_seconds(fit);
    event->memory_bytes = qn_rss_bytes();
    if (logged) {
        qn_json_writer w;
        qn_json_write_init(&w, &fit->log);
        qn_fit_event_write_json(event, &w);
        qn_buf_byte(&fit->log, '\n');
    }
    if (fit->options->on_event)
        fit->options->on_event(fit->options->context, event);
}

void qn_fit_phase(qn_fit *fit, const char *phase)
{
    fit->phase = phase;
    qn_fit_event event = qn_fit_event_of(QN_FIT_PHASE);
    qn_fit_emit(fit, &event, true);
}

void qn_fit_note(qn_fit *fit, qn_fit_kind kind, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    qn_fit_event event = qn_fit_event_of(kind);
    event.text = text;
    qn_fit_emit(fit, &event, true);
}
