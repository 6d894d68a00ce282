/*
 * The worst examples: rows whose answer was surest and wrong, or farthest off, as pictures where the
 * model sees pictures and as cells where it sees columns.
 */
#include <math.h>
#include <string.h>

#include "model/picture.h"
#include "train/report_priv.h"

enum { PICTURES = 24, ROWS = 12, COLUMNS = 8, CELL_MAX = 60 };

typedef struct {
    int64_t row; /* of the outcome */
    double badness;
} qn_worst;

/* Probability given to the truth, turned round; or the size of the error. */
static double badness_of(const qn_outcome *outcome, int64_t row)
{
    if (outcome->task == QN_TASK_REGRESSION)
        return fabs(outcome->number[row] - outcome->truth[row]);
    return 1 - (double)outcome->probability[row * outcome->classes + outcome->labels[row]];
}

static int64_t choice_of(const qn_outcome *outcome, int64_t row)
{
    const float *probability = outcome->probability + row * outcome->classes;
    int64_t best = 0;
    for (int64_t c = 1; c < outcome->classes; c++)
        best = probability[c] > probability[best] ? c : best;
    return best;
}

/* A number is never quite right. */
static bool is_right(const qn_outcome *outcome, int64_t row)
{
    return outcome->task != QN_TASK_REGRESSION && choice_of(outcome, row) == outcome->labels[row];
}

static int64_t count_wrong(const qn_outcome *outcome)
{
    int64_t count = 0;
    for (int64_t row = 0; row < outcome->rows; row++)
        count += !is_right(outcome, row);
    return count;
}

/* The `max` worst, worst first; ties keep the order of rows. Right answers only where none is wrong: they are then
 * the least certain. */
static int find_worst(const qn_outcome *outcome, qn_worst *worst, int max)
{
    int count = 0;
    bool any_wrong = count_wrong(outcome) > 0;
    for (int64_t row = 0; row < outcome->rows; row++) {
        double badness = badness_of(outcome, row);
        if (any_wrong && is_right(outcome, row))
            continue;
        if (!(count < max || badness > worst[count - 1].badness))
            continue;
        int at = count < max ? count++ : max - 1;
        for (; at > 0 && worst[at - 1].badness < badness; at--)
            worst[at] = worst[at - 1];
        worst[at] = (qn_worst){row, badness};
    }
    return count;
}

static const qn_packed_tensor *find_picture(const qn_packed *packed)
{
    for (int64_t i = 0; i < packed->tensors_count; i++) {
        const qn_packed_tensor *tensor = &packed->tensors[i];
        bool pixels = tensor->stored == QN_DTYPE_U8 || tensor->stored == QN_DTYPE_F32;
        if (pixels && tensor->shape.rank == 3 &&
            (tensor->shape.dims[2] == 1 || tensor->shape.dims[2] == 3))
            return tensor;
    }
    return NULL;
}

static qn_status write_picture(qn_report *report, const qn_packed_tensor *tensor, int64_t row,
                               qn_error *err)
{
    uint8_t *pixels = QN_NEW(report->scratch, uint8_t, tensor->count);
    if (!pixels)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory for the report");
    for (int64_t i = 0; i < tensor->count; i++) {
        int64_t at = row * tensor->count + i;
        if (tensor->stored == QN_DTYPE_U8) {
            pixels[i] = ((const uint8_t *)tensor->data)[at];
            continue;
        }
        float value = ((const float *)tensor->data)[at] * 255;
        pixels[i] = (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
    }
    qn_buf_text(report->dst, "<img alt='' src='");
    QN_TRY(qn_picture_write(report->dst, pixels, tensor->shape.dims[0], tensor->shape.dims[1],
                            tensor->shape.dims[2], err));
    qn_buf_text(report->dst, "'>");
    return QN_OK;
}

/* "said 4 (98 %), is 9" */
static void write_verdict(qn_report *report, const qn_outcome *outcome, int64_t row)
{
    qn_buf *dst = report->dst;
    if (outcome->task == QN_TASK_REGRESSION) {
        char said[32], is[32];
        qn_buf_printf(dst, "said <b>%s</b>, is <b>%s</b>",
                      qn_f64_to_brief(outcome->number[row], said),
                      qn_f64_to_brief(outcome->truth[row], is));
        return;
    }
    int64_t count, best = choice_of(outcome, row);
    const qn_str *labels = qn_transforms_labels(report->result->winner->data->transforms, &count);
    const float *probability = outcome->probability + row * outcome->classes;
    qn_buf_printf(dst, "said <b class='%s'>", best == outcome->labels[row] ? "good" : "bad");
    qn_html_text(dst, labels[best]);
    qn_buf_printf(dst, "</b> (%.0f %%), is <b>", 100 * (double)probability[best]);
    qn_html_text(dst, labels[outcome->labels[row]]);
    qn_buf_text(dst, "</b>");
}

static qn_status write_pictures(qn_report *report, const qn_outcome *outcome,
                                const qn_packed_tensor *tensor, qn_error *err)
{
    qn_worst worst[PICTURES];
    int count = find_worst(outcome, worst, PICTURES);
    qn_buf_text(report->dst, "<div class='shots'>");
    for (int i = 0; i < count; i++) {
        qn_buf_text(report->dst, "<div class='shot'>");
        QN_TRY(write_picture(report, tensor, worst[i].row, err));
        write_verdict(report, outcome, worst[i].row);
        qn_buf_text(report->dst, "</div>");
    }
    qn_buf_text(report->dst, "</div>\n");
    return QN_OK;
}

static void write_cell(qn_buf *dst, const qn_column *column, int64_t row)
{
    char number[32];
    qn_buf_text(dst, "<td>");
    if (qn_column_missing(column, row)) {
        qn_buf_text(dst, "<span class='sub'>missing</span>");
    } else if (column->kind == QN_COLUMN_NUMBER || column->kind == QN_COLUMN_STRING) {
        qn_str text = qn_column_text(column, row, number);
        bool cut = text.size > CELL_MAX;
        text.size = cut ? CELL_MAX : text.size;
        while (cut && text.size > 0 && ((unsigned char)text.data[text.size] & 0xC0) == 0x80)
            text.size--; /* not inside a UTF-8 character */
        qn_html_text(dst, text);
        qn_buf_text(dst, cut ? "..." : "");
    }
    qn_buf_text(dst, "</td>");
}

static void write_rows(qn_report *report, const qn_outcome *outcome)
{
    const qn_fit *fit = report->result->fit;
    const qn_frame *frame = &fit->dataset->frame;
    qn_buf *dst = report->dst;
    const qn_column *columns[COLUMNS];
    int shown = 0;
    int64_t inputs_count, rows_count;
    const qn_raw_input *inputs =
        qn_transforms_inputs(report->result->winner->data->transforms, &inputs_count);
    const int64_t *rows = qn_fit_part_rows(fit, report->result->shown, &rows_count);
    qn_worst worst[ROWS];
    int count = find_worst(outcome, worst, ROWS);
    qn_buf_text(dst, "<div class='wide'><table><tr><th>answer</th>");
    for (int64_t i = 0; i < inputs_count && shown < COLUMNS; i++) {
        const qn_column *column = qn_frame_find(frame, inputs[i].name);
        if (!column || column->kind == QN_COLUMN_ARRAY || column->kind == QN_COLUMN_BYTES)
            continue;
        columns[shown++] = column;
        qn_buf_text(dst, "<th>");
        qn_html_text(dst, column->name);
        qn_buf_text(dst, "</th>");
    }
    qn_buf_text(dst, "</tr>");
    for (int i = 0; i < count; i++) {
        qn_buf_text(dst, "<tr><td class='say'>");
        write_verdict(report, outcome, worst[i].row);
        qn_buf_text(dst, "</td>");
        for (int c = 0; c < shown; c++)
            write_cell(dst, columns[c], rows[worst[i].row]);
        qn_buf_text(dst, "</tr>");
    }
    qn_buf_text(dst, "</table></div>\n");
}

static void write_heading(qn_report *report, const qn_outcome *outcome)
{
    qn_buf *dst = report->dst;
    const char *part = qn_part_names[report->result->shown];
    int64_t wrong = count_wrong(outcome);
    if (outcome->task == QN_TASK_REGRESSION)
        qn_buf_text(dst, "<h2>Worst examples</h2><p class='note'>The answers that are farthest "
                         "off. Often the number in the file is the mistake.</p>");
    else if (wrong == 0)
        qn_buf_printf(dst,
                      "<h2>Least certain examples</h2><p class='note'>None of the %lld answers on "
                      "the %s part is wrong. These were the least certain.</p>",
                      (long long)outcome->rows, part);
    else
        qn_buf_printf(dst,
                      "<h2>Worst examples</h2><p class='note'>%lld of %lld answers on the %s part "
                      "are wrong; these were the surest of them. Often the label is the "
                      "mistake.</p>",
                      (long long)wrong, (long long)outcome->rows, part);
}

qn_status qn_report_examples(qn_report *report, qn_error *err)
{
    const qn_result *result = report->result;
    const qn_outcome *outcome = &result->outcome[result->shown];
    if (outcome->rows == 0)
        return QN_OK;
    write_heading(report, outcome);
    const qn_packed *packed = &result->winner->data->parts[result->shown];
    const qn_packed_tensor *picture = find_picture(packed);
    if (picture)
        return write_pictures(report, outcome, picture, err);
    write_rows(report, outcome);
    return QN_OK;
}
