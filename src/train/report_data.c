/*
 * The report's account of its data: the split, the columns with their types and reasons, what was
 * found, which files were read, and the whole recipe.
 */
#include <math.h>
#include <string.h>

#include "train/report_priv.h"

enum { COLUMNS_MAX = 200 };

static void write_split(qn_report *report)
{
    const qn_fit *fit = report->result->fit;
    qn_buf *dst = report->dst;
    double total =
        (double)(fit->split.train_count + fit->split.valid_count + fit->split.test_count);
    qn_buf_text(dst, "<h2>Data</h2><div class='bars'>");
    for (int part = 0; part < QN_PARTS; part++) {
        int64_t count;
        (void)qn_fit_part_rows(fit, (qn_part)part, &count);
        qn_buf_printf(dst, "<i class='c%d' style='width:%.2f%%'></i>", part,
                      100 * (double)count / total);
    }
    qn_buf_text(dst, "</div><p class='legend'>");
    for (int part = 0; part < QN_PARTS; part++) {
        int64_t count;
        (void)qn_fit_part_rows(fit, (qn_part)part, &count);
        qn_buf_printf(dst, "<span class='key c%d'></span>%s %lld ", part, qn_part_names[part],
                      (long long)count);
    }
    qn_buf_text(dst, "</p><p class='note'>Split: ");
    qn_html_text(dst, qn_str_from(fit->split.text));
    qn_buf_text(dst, ". Everything that was fitted saw the training part alone.</p>\n");
}

static void write_labels(qn_report *report)
{
    const qn_schema *schema = &report->result->fit->schema;
    qn_buf *dst = report->dst;
    int64_t most = 1;
    if (schema->labels_count == 0 || schema->labels_count > 40)
        return;
    for (int64_t i = 0; i < schema->labels_count; i++)
        most = schema->label_counts[i] > most ? schema->label_counts[i] : most;
    qn_buf_text(dst, "<h3>Classes in the training part</h3><table>");
    for (int64_t i = 0; i < schema->labels_count; i++) {
        qn_buf_text(dst, "<tr><td>");
        qn_html_text(dst, schema->labels[i]);
        qn_buf_printf(dst,
                      "</td><td class='n'>%lld</td><td style='width:220px'><div class='bars c0' "
                      "style='margin:3px 0;height:12px'><i style='width:%.1f%%'></i></div></td>"
                      "</tr>",
                      (long long)schema->label_counts[i],
                      100 * (double)schema->label_counts[i] / (double)most);
    }
    qn_buf_text(dst, "</table>\n");
}

static void write_range(qn_buf *dst, const qn_schema_column *column)
{
    const qn_column_stats *stats = &column->stats;
    if (column->type == QN_TYPE_NUMBER) {
        char low[32], high[32], mean[32];
        qn_buf_printf(dst, "%s to %s, mean %s", qn_f64_to_brief(stats->minimum, low),
                      qn_f64_to_brief(stats->maximum, high), qn_f64_to_brief(stats->mean, mean));
        return;
    }
    if (column->type == QN_TYPE_IMAGE || column->type == QN_TYPE_TENSOR) {
        if (stats->height > 0)
            qn_buf_printf(dst, "%lld x %lld x %lld", (long long)stats->height,
                          (long long)stats->width, (long long)stats->channels);
        return;
    }
    for (int64_t i = 0; i < stats->top_count && i < 3; i++) {
        qn_buf_text(dst, i ? ", " : "");
        qn_html_text(dst, stats->top[i].level);
        qn_buf_printf(dst, " (%lld)", (long long)stats->top[i].count);
    }
}

static void write_columns(qn_report *report)
{
    const qn_schema *schema = &report->result->fit->schema;
    qn_buf *dst = report->dst;
    qn_buf_text(dst, "<h3>Columns</h3><div class='wide'><table><tr><th>column</th><th>type</th><th>"
                     "why</th><th class='n'>missing</th><th class='n'>distinct</th><th>values</th>"
                     "</tr>");
    for (int64_t i = 0; i < schema->columns_count && i < COLUMNS_MAX; i++) {
        const qn_schema_column *column = &schema->columns[i];
        qn_buf_text(dst, "<tr><td>");
        qn_html_text(dst, column->name);
        qn_buf_printf(dst, "%s</td><td>%s</td><td class='sub'>",
                      i == schema->target ? " <span class='good'>target</span>" : "",
                      qn_type_name(column->type));
        qn_html_text(dst, qn_str_from(column->reason ? column->reason : ""));
        qn_buf_printf(dst, "</td><td class='n'>%lld</td><td class='n'>%lld</td><td>",
                      (long long)column->stats.missing, (long long)column->stats.distinct);
        write_range(dst, column);
        qn_buf_text(dst, "</td></tr>");
    }
    qn_buf_text(dst, "</table></div>");
    if (schema->columns_count > COLUMNS_MAX)
        qn_buf_printf(dst, "<p class='note'>and %lld more</p>",
                      (long long)(schema->columns_count - COLUMNS_MAX));
}

static void write_findings_of(qn_buf *dst, const qn_findings *findings)
{
    for (int64_t i = 0; i < findings->count; i++) {
        const qn_finding *finding = &findings->items[i];
        const char *class = finding->level == QN_FINDING_NOTE ? "sub" : "bad";
        qn_buf_printf(dst, "<tr><td class='%s'>%s</td><td>", class, finding->code);
        qn_html_text(dst, finding->column);
        qn_buf_text(dst, "</td><td>");
        qn_html_text(dst, qn_str_from(finding->text));
        qn_buf_text(dst, "</td></tr>");
    }
}

static void write_findings(qn_report *report)
{
    const qn_fit *fit = report->result->fit;
    if (fit->schema.findings.count + fit->dataset->findings.count == 0)
        return;
    qn_buf_text(report->dst, "<h3>What was noticed</h3><div class='wide'><table>");
    write_findings_of(report->dst, &fit->dataset->findings);
    write_findings_of(report->dst, &fit->schema.findings);
    qn_buf_text(report->dst, "</table></div>\n");
}

static void write_files(qn_report *report)
{
    const qn_dataset *dataset = report->result->fit->dataset;
    qn_buf *dst = report->dst;
    if (dataset->files_count == 0)
        return; /* a folder of pictures has no list */
    qn_buf_text(dst,
                "<h3>Files</h3><div class='wide'><table><tr><th>file</th><th>SHA-256</th></tr>");
    for (int64_t i = 0; i < dataset->files_count && i < 100; i++) {
        char digest[65];
        qn_digest_text(&dataset->digests[i], digest);
        qn_buf_text(dst, "<tr><td>");
        qn_html_text(dst, qn_str_from(dataset->files[i]));
        qn_buf_printf(dst, "</td><td class='sub'>%s</td></tr>", digest);
    }
    qn_buf_text(dst, "</table></div>\n");
}

static void write_recipe(qn_report *report)
{
    qn_buf text;
    qn_buf_init(&text, 0);
    qn_recipe_write(&report->result->winner->recipe, false, &text);
    qn_buf_text(report->dst, "<h2>Recipe</h2><details><summary>the complete recipe: training it "
                             "again gives the same weights</summary><pre>");
    qn_html_text(report->dst, qn_buf_view(&text));
    qn_buf_text(report->dst, "</pre></details>\n");
    if (text.failed)
        report->dst->failed = true;
    qn_buf_deinit(&text);
}

qn_status qn_report_data(qn_report *report, qn_error *err)
{
    (void)err;
    write_split(report);
    write_labels(report);
    write_columns(report);
    write_findings(report);
    write_files(report);
    write_recipe(report);
    return QN_OK;
}
