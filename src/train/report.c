/*
 * report.html: one file that works offline and without scripts. Here are the page, its head and the
 * tables of metrics; charts, examples and data have their own files. It holds no clock, so that the
 * same training writes the same bytes.
 */
#include <math.h>
#include <stdio.h>

#include "train/report_priv.h"

static const char style[] =
    ":root{--bg:#fbfaf8;--card:#fff;--ink:#22262b;--soft:#6b7178;--line:#e4e1dc;--accent:#2f6f8f;"
    "--bad:#b4432f;--good:#3d7d4e}"
    "@media(prefers-color-scheme:dark){:root{--bg:#15181b;--card:#1d2125;--ink:#e6e4df;"
    "--soft:#9aa0a6;--line:#30353a;--accent:#6fb3d2;--bad:#e58a78;--good:#86c79a}}"
    "*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);"
    "font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}"
    "main{max-width:1080px;margin:0 auto;padding:28px 20px 60px}"
    "h1{font-size:28px;margin:0 0 4px}h2{font-size:19px;margin:38px 0 12px}"
    "h3{font-size:15px;margin:18px 0 8px}.sub,.note{color:var(--soft)}"
    ".cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(170px,1fr));gap:12px;"
    "margin:20px 0}.card{background:var(--card);border:1px solid var(--line);border-radius:10px;"
    "padding:14px 16px}.card b{display:block;font-size:26px;font-weight:650;letter-spacing:-.02em}"
    ".card span{color:var(--soft);font-size:13px}"
    "table{border-collapse:collapse;background:var(--card);border:1px solid var(--line);"
    "border-radius:10px;overflow:hidden;font-size:14px;max-width:100%}"
    "th,td{padding:6px 11px;text-align:left;border-bottom:1px solid var(--line);"
    "vertical-align:top}th{color:var(--soft);font-weight:600}tr:last-child td{border-bottom:0}"
    ".n{text-align:right;font-variant-numeric:tabular-nums}.wide{overflow-x:auto}"
    ".say{white-space:nowrap}"
    ".row{display:grid;grid-template-columns:repeat(auto-fit,minmax(330px,1fr));gap:14px}"
    "figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:10px;"
    "padding:8px}svg{width:100%;height:auto;display:block}"
    "svg text{fill:var(--soft);font-size:11px}svg .title{fill:var(--ink);font-size:13px;"
    "font-weight:600}.tx{text-anchor:middle}.ty{text-anchor:end}"
    ".grid{stroke:var(--line)}.axis{stroke:var(--soft)}"
    ".level{stroke:currentColor;stroke-width:1.5;stroke-dasharray:7 4}"
    ".dashed{stroke:var(--soft);stroke-dasharray:4 4}"
    ".line{fill:none;stroke:currentColor;stroke-width:2;stroke-linejoin:round}"
    ".dot{fill:currentColor;fill-opacity:.55}.bar{fill:currentColor;fill-opacity:.8}"
    ".c0{color:#2f7fa8}.c1{color:#d9822b}.c2{color:#4f9a5b}.c3{color:#b64f7d}.c4{color:#7b68b5}"
    ".c5{color:#a0843c}.c6{color:#3d9c9c}.c7{color:#c2553f}.c8{color:#6d7f8f}.c9{color:#8f9a3a}"
    ".legend{margin:6px 2px;font-size:13px;color:var(--soft)}.key{display:inline-block;width:10px;"
    "height:10px;border-radius:3px;background:currentColor;margin:0 5px 0 10px}"
    ".conf td{border:1px solid var(--card);text-align:right;min-width:34px;padding:4px 7px;"
    "font-variant-numeric:tabular-nums}.conf th{padding:4px 7px;text-align:right}"
    ".shots{display:grid;grid-template-columns:repeat(auto-fill,minmax(104px,1fr));gap:10px}"
    ".shot{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:8px;"
    "font-size:12px;line-height:1.35}.shot img{width:100%;image-rendering:pixelated;"
    "border-radius:5px;display:block;margin-bottom:5px}"
    ".bad{color:var(--bad)}.good{color:var(--good)}"
    ".bars{display:flex;height:16px;border-radius:8px;overflow:hidden;margin:8px 0}"
    ".bars i{display:block;background:currentColor}"
    "pre{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px;"
    "overflow-x:auto;font-size:12.5px;line-height:1.45}"
    "details summary{cursor:pointer;color:var(--accent)}";

static void write_card(qn_buf *dst, const char *value, const char *label)
{
    qn_buf_text(dst, "<div class='card'><b>");
    qn_buf_text(dst, value);
    qn_buf_text(dst, "</b><span>");
    qn_html_text(dst, qn_str_from(label));
    qn_buf_text(dst, "</span></div>");
}

static void write_key_numbers(qn_report *report)
{
    const qn_result *result = report->result;
    const qn_fit *fit = result->fit;
    const qn_metric_value *value = qn_metric_set_find(&result->metrics[result->shown], fit->metric);
    const qn_metric_value *trivial = qn_metric_set_find(&result->baseline, fit->metric);
    char text[64], label[160], low[32], high[32];
    qn_buf_text(report->dst, "<div class='cards'>");
    (void)snprintf(label, sizeof label, "%s on the %s part (95 %%: %s to %s)",
                   qn_metric_name(fit->metric), qn_part_names[result->shown],
                   qn_metric_text(value ? value->low : (double)NAN, low),
                   qn_metric_text(value ? value->high : (double)NAN, high));
    write_card(report->dst, qn_metric_text(value ? value->value : (double)NAN, text), label);
    write_card(report->dst, qn_metric_text(trivial ? trivial->value : (double)NAN, text),
               "the trivial answer");
    write_card(report->dst, result->winner->name, result->winner->text);
    (void)snprintf(text, sizeof text, "%lld", (long long)result->winner->parameters);
    write_card(report->dst, text, "parameters");
    (void)snprintf(text, sizeof text, "%lld", (long long)fit->split.train_count);
    write_card(report->dst, text, "rows to learn from");
    qn_buf_text(report->dst, "</div>\n");
}

static void write_head(qn_report *report)
{
    const qn_fit *fit = report->result->fit;
    qn_buf *dst = report->dst;
    qn_buf_text(dst, "<!doctype html>\n<html lang='en'><head><meta charset='utf-8'><meta "
                     "name='viewport' content='width=device-width,initial-scale=1'><title>");
    qn_html_text(dst, qn_str_from(fit->name));
    qn_buf_text(dst, " - Quern report</title><style>");
    qn_buf_text(dst, style);
    qn_buf_text(dst, "</style></head><body><main>\n<h1>");
    qn_html_text(dst, qn_str_from(fit->name));
    qn_buf_text(dst, "</h1><p class='sub'>Predicts <b>");
    qn_html_text(dst, qn_str_from(fit->recipe.data.target));
    qn_buf_printf(dst, "</b>: %s", qn_task_name(fit->task));
    if (fit->classes > 0)
        qn_buf_printf(dst, " with %lld classes", (long long)fit->classes);
    qn_buf_text(dst, ". Written by quern " QN_VERSION ".</p>\n");
    write_key_numbers(report);
}

static void write_number(qn_buf *dst, double value)
{
    char text[32];
    qn_buf_printf(dst, "<td class='n'>%s</td>", qn_metric_text(value, text));
}

static void write_cell(qn_buf *dst, const qn_metric_set *set, qn_metric metric, bool interval)
{
    char low[32], high[32];
    const qn_metric_value *item = qn_metric_set_find(set, metric);
    write_number(dst, item ? item->value : (double)NAN);
    if (!interval)
        return;
    if (!item || isnan(item->value))
        qn_buf_text(dst, "<td class='n'></td>");
    else
        qn_buf_printf(dst, "<td class='n sub'>%s to %s</td>", qn_metric_text(item->low, low),
                      qn_metric_text(item->high, high));
}

static void write_metrics(qn_report *report)
{
    const qn_result *result = report->result;
    qn_buf *dst = report->dst;
    qn_part shown = result->shown;
    bool both = shown == QN_PART_TEST && result->outcome[QN_PART_VALID].rows > 0;
    qn_buf_printf(dst,
                  "<h2>How good it is</h2><div class='wide'><table><tr><th>metric</th><th "
                  "class='n'>%s</th><th class='n'>95 %% interval</th>",
                  qn_part_names[shown]);
    if (both)
        qn_buf_text(dst, "<th class='n'>valid</th>");
    qn_buf_text(dst, "<th class='n'>trivial answer</th></tr>");
    for (int i = 0; i < result->metrics[shown].count; i++) {
        qn_metric metric = result->metrics[shown].items[i].metric;
        qn_buf_printf(dst, "<tr><td>%s</td>", qn_metric_name(metric));
        write_cell(dst, &result->metrics[shown], metric, true);
        if (both)
            write_cell(dst, &result->metrics[QN_PART_VALID], metric, false);
        write_cell(dst, &result->baseline, metric, false);
        qn_buf_text(dst, "</tr>");
    }
    qn_buf_text(dst,
                "</table></div><p class='note'>The trivial answer is the same for every row: "
                "the shares (or the mean) seen in training. Intervals are bootstrapped.</p>\n");
}

static void write_candidates(qn_report *report)
{
    const qn_fit *fit = report->result->fit;
    qn_buf *dst = report->dst;
    qn_buf_printf(dst,
                  "<h2>How it was chosen</h2><div class='wide'><table><tr><th>candidate</th>"
                  "<th>network</th><th class='n'>parameters</th><th class='n'>best epoch</th><th "
                  "class='n'>%s, valid</th><th class='n'>test</th><th></th></tr>",
                  qn_metric_name(fit->metric));
    for (int i = 0; i < fit->candidates_count; i++) {
        const qn_candidate *candidate = &fit->candidates[i];
        if (!candidate->done)
            continue;
        qn_buf_printf(dst, "<tr><td>%s</td><td>", candidate->name);
        qn_html_text(dst, qn_str_from(candidate->text));
        qn_buf_printf(dst, "</td><td class='n'>%lld</td><td class='n'>%lld</td>",
                      (long long)candidate->parameters, (long long)candidate->best_epoch);
        write_number(dst, candidate->score.value);
        write_number(dst, candidate->test);
        qn_buf_printf(dst, "<td class='good'>%s</td></tr>", i == fit->winner ? "chosen" : "");
    }
    qn_buf_text(dst, "</table></div>\n");
}

static void write_slices(qn_report *report)
{
    const qn_slices *slices = &report->result->slices;
    qn_buf *dst = report->dst;
    if (slices->count == 0)
        return;
    qn_buf_printf(dst,
                  "<h2>Groups where it is worst</h2><div class='wide'><table><tr><th>column</th>"
                  "<th>level</th><th class='n'>rows</th><th class='n'>%s</th></tr>",
                  qn_metric_name(slices->metric));
    for (int64_t i = 0; i < slices->count && i < 12; i++) {
        qn_buf_text(dst, "<tr><td>");
        qn_html_text(dst, slices->items[i].column);
        qn_buf_text(dst, "</td><td>");
        qn_html_text(dst, slices->items[i].level);
        qn_buf_printf(dst, "</td><td class='n'>%lld</td>", (long long)slices->items[i].rows);
        write_number(dst, slices->items[i].value);
        qn_buf_text(dst, "</tr>");
    }
    qn_buf_text(dst, "</table></div>\n");
}

static qn_status finish_report(qn_report *report, qn_error *err)
{
    QN_TRY(qn_report_data(report, err));
    qn_buf_text(report->dst, "</main></body></html>\n");
    return QN_OK;
}

qn_status qn_report_write(const qn_result *result, qn_arena *scratch, qn_buf *dst, qn_error *err)
{
    qn_report report = {result, dst, scratch};
    write_head(&report);
    write_metrics(&report);
    write_candidates(&report);
    QN_TRY(qn_report_learning(&report, err));
    if (result->fit->array)
        return finish_report(&report, err);
    if (result->fit->task == QN_TASK_REGRESSION)
        QN_TRY(qn_report_residuals(&report, err));
    else
        QN_TRY(qn_report_classes(&report, err));
    write_slices(&report);
    QN_TRY(qn_report_examples(&report, err));
    return finish_report(&report, err);
}
