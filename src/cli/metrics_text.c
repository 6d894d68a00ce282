/*
 * metrics.json for people, and --fail-under.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "cli/verbs.h"
#include "train/metrics.h"

static double number_at(const qn_json *object, const char *key)
{
    double value = (double)NAN;
    const qn_json *found = qn_json_find(object, key);
    if (found && !qn_json_as_f64(found, &value))
        return (double)NAN;
    return value;
}

static void metric_line(qn_str name, const qn_json *value, const qn_json *baseline, qn_buf *dst)
{
    char interval[72], number[32], other[32];
    snprintf(interval, sizeof interval, "[%s, %s]", qn_metric_text(number_at(value, "low"), number),
             qn_metric_text(number_at(value, "high"), other));
    qn_buf_printf(dst, "  %-18.*s %-10s %-22s %s\n", QN_STR_ARG(name),
                  qn_metric_text(number_at(value, "value"), number), interval,
                  qn_metric_text(number_at(baseline, "value"), other));
}

void qn_cli_metrics_text(const qn_json *metrics, const char *rows, qn_buf *dst)
{
    const qn_json *test = qn_json_find(metrics, "test");
    const qn_json *baseline = qn_json_find(metrics, "baseline");
    qn_str task = QN_STR("");
    if (qn_json_get_str(metrics, "task", false, &task, NULL) != QN_OK || !test ||
        test->kind != QN_JSON_OBJECT)
        return;
    qn_buf_printf(dst, "%.*s, %s%.0f rows\n  %-18s %-10s %-22s %s\n", QN_STR_ARG(task), rows,
                  number_at(qn_json_find(metrics, "rows"), "test"), "metric", "value",
                  "95 % interval", "baseline");
    for (int64_t i = 0; i < test->count; i++) {
        char key[64];
        snprintf(key, sizeof key, "%.*s", QN_STR_ARG(test->keys[i]));
        metric_line(test->keys[i], &test->items[i], baseline ? qn_json_find(baseline, key) : NULL,
                    dst);
    }
}

static qn_status unknown_metric(qn_str name, qn_error *err)
{
    const char *names[QN_METRIC_COUNT];
    char word[64];
    for (int i = 0; i < QN_METRIC_COUNT; i++)
        names[i] = qn_metric_name((qn_metric)i);
    snprintf(word, sizeof word, "%.*s", (int)(name.size < 60 ? name.size : 60), name.data);
    const char *near = qn_error_nearest(word, names, QN_METRIC_COUNT);
    (void)qn_error_set(err, QN_ERR_ARG, "--fail-under", "unknown metric '%s'", word);
    return near ? qn_error_hint(err, QN_ERR_ARG, "did you mean '%s'?", near)
                : qn_error_hint(err, QN_ERR_ARG, "such as accuracy, auroc, log_loss, rmse, r2");
}

static qn_status read_limit(const char *limit, qn_metric *ret_metric, double *ret_bound,
                            qn_error *err)
{
    const char *equals = strchr(limit, '=');
    if (!equals || !qn_str_to_f64(qn_str_from(equals + 1), false, ret_bound))
        QN_FAIL(err, QN_ERR_ARG, "--fail-under takes METRIC=VALUE, such as auroc=0.9, got '%s'",
                limit);
    qn_str name = {limit, (size_t)(equals - limit)};
    return qn_metric_find(name, ret_metric) ? QN_OK : unknown_metric(name, err);
}

qn_status qn_cli_check_fail_under(const qn_cli *cli, qn_error *err)
{
    const char *limit = qn_cli_text(cli, "fail-under");
    qn_metric metric;
    double bound;
    return limit ? read_limit(limit, &metric, &bound, err) : QN_OK;
}

qn_status qn_cli_fail_under(qn_cli *cli, const qn_json *metrics, qn_error *err)
{
    const char *limit = qn_cli_text(cli, "fail-under");
    qn_metric metric = QN_METRIC_COUNT;
    double bound = 0;
    if (!limit)
        return QN_OK;
    QN_TRY(read_limit(limit, &metric, &bound, err));
    const qn_json *found = qn_json_find(qn_json_find(metrics, "test"), qn_metric_name(metric));
    if (!found)
        QN_FAIL(err, QN_ERR_ARG, "--fail-under: this model has no metric '%s'",
                qn_metric_name(metric));
    double value = number_at(found, "value");
    bool met = qn_metric_higher_is_better(metric) ? value >= bound : value <= bound;
    if (!met) {
        fprintf(stderr, "quern: %s is %.6g, wanted %s %.6g\n", qn_metric_name(metric), value,
                qn_metric_higher_is_better(metric) ? "at least" : "at most", bound);
        cli->negative = true;
    }
    return QN_OK;
}
