/*
 * README.md of a model folder: the model card (Mitchell et al., 2019), with the metadata block that
 * model hubs read. Everything in it was measured or said in the recipe; what nobody said is named as
 * not stated.
 */
#include <math.h>
#include <string.h>

#include "train/result_priv.h"

static const char *stated(const char *text)
{
    return text && *text ? text : "not stated";
}

/* Quotes for YAML: control characters become spaces. */
static void yaml_text(qn_buf *dst, const char *text)
{
    qn_buf_byte(dst, '"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            qn_buf_byte(dst, '\\');
        qn_buf_byte(dst, (unsigned char)*text < 32 ? ' ' : *text);
    }
    qn_buf_byte(dst, '"');
}

static const char *hub_task(qn_task task, bool images, bool array)
{
    if (array)
        return "other";
    if (images)
        return "image-classification";
    return task == QN_TASK_REGRESSION ? "tabular-regression" : "tabular-classification";
}

static bool takes_images(const qn_result *result)
{
    int64_t count;
    const qn_raw_input *inputs = qn_transforms_inputs(result->winner->data->transforms, &count);
    for (int64_t i = 0; i < count; i++)
        if (inputs[i].type == QN_TYPE_IMAGE)
            return true;
    return false;
}

static void write_front(const qn_result *result, qn_buf *dst)
{
    const qn_fit *fit = result->fit;
    const char *task = hub_task(fit->task, takes_images(result), fit->array != NULL);
    qn_buf_printf(dst, "---\nlibrary_name: quern\npipeline_tag: %s\ntags: [quern, %s]\n", task,
                  result->winner->name);
    qn_buf_text(dst, "model-index:\n- name: ");
    yaml_text(dst, fit->name);
    qn_buf_printf(dst, "\n  results:\n  - task: {type: %s}\n    dataset: {type: %s, name: ", task,
                  strcmp(fit->dataset->kind, "csv") == 0 ? "csv" : "files");
    yaml_text(dst, fit->recipe.data.path.count > 0 ? fit->recipe.data.path.items[0] : "");
    qn_buf_printf(dst, ", split: %s}\n    metrics:\n", qn_part_names[result->shown]);
    const qn_metric_set *set = &result->metrics[result->shown];
    for (int i = 0; i < set->count; i++)
        if (!isnan(set->items[i].value))
            qn_buf_printf(dst, "    - {type: %s, value: %.6g}\n",
                          qn_metric_name(set->items[i].metric), set->items[i].value);
    qn_buf_text(dst, "---\n\n");
}

static void write_metrics_table(const qn_result *result, qn_buf *dst)
{
    const qn_metric_set *set = &result->metrics[result->shown];
    qn_buf_printf(dst,
                  "## How good it is\n\nOn the %lld rows of the %s part%s. \"Trivial\" answers "
                  "every row alike, with what training saw most or on average.\n\n",
                  (long long)result->outcome[result->shown].rows, qn_part_names[result->shown],
                  result->shown == QN_PART_TEST ? ", which training did not see" : "");
    qn_buf_text(dst, "| metric | value | 95 % interval | trivial |\n|---|---|---|---|\n");
    for (int i = 0; i < set->count; i++) {
        const qn_metric_value *item = &set->items[i];
        const qn_metric_value *trivial = qn_metric_set_find(&result->baseline, item->metric);
        char value[32], low[32], high[32], other[32];
        qn_buf_printf(dst, "| %s | %s | %s to %s | %s |\n", qn_metric_name(item->metric),
                      qn_metric_text(item->value, value), qn_metric_text(item->low, low),
                      qn_metric_text(item->high, high),
                      qn_metric_text(trivial ? trivial->value : (double)NAN, other));
    }
    qn_buf_byte(dst, '\n');
    if (result->slices.count == 0)
        return;
    qn_buf_printf(dst, "Worst groups by %s:\n\n| column | level | rows | %s |\n|---|---|---|---|\n",
                  qn_metric_name(result->slices.metric), qn_metric_name(result->slices.metric));
    for (int64_t i = 0; i < result->slices.count && i < 8; i++) {
        const qn_slice *slice = &result->slices.items[i];
        char value[32];
        qn_buf_printf(dst, "| %.*s | %.*s | %lld | %s |\n", QN_STR_ARG(slice->column),
                      QN_STR_ARG(slice->level), (long long)slice->rows,
                      qn_metric_text(slice->value, value));
    }
    qn_buf_byte(dst, '\n');
}

static void write_inputs(const qn_result *result, qn_buf *dst)
{
    int64_t count;
    const qn_raw_input *inputs = qn_transforms_inputs(result->winner->data->transforms, &count);
    qn_buf_text(dst, "## What it takes\n\n| column | type |\n|---|---|\n");
    for (int64_t i = 0; i < count; i++)
        qn_buf_printf(dst, "| %.*s | %s |\n", QN_STR_ARG(inputs[i].name),
                      qn_type_name(inputs[i].type));
    qn_buf_text(dst,
                "\nMissing columns count as missing values. Cleaning and scaling are stored in "
                "the model and were fitted on the training part alone.\n\n");
}

static void write_training(const qn_result *result, qn_buf *dst)
{
    const qn_fit *fit = result->fit;
    const qn_candidate *winner = result->winner;
    qn_buf_printf(dst,
                  "## How it was trained\n\n- Data: %s; split %s into %lld train, %lld valid, %lld "
                  "test rows.\n- Network: %s (%lld parameters).\n- Best epoch: %lld of %lld, by %s "
                  "on the validation part.\n",
                  fit->dataset->kind, fit->split.text, (long long)fit->split.train_count,
                  (long long)fit->split.valid_count, (long long)fit->split.test_count, winner->text,
                  (long long)winner->parameters, (long long)winner->best_epoch,
                  (long long)winner->history_count, qn_metric_name(fit->metric));
    for (int i = 0; i < fit->candidates_count && fit->candidates_count > 1; i++) {
        const qn_candidate *candidate = &fit->candidates[i];
        if (!candidate->done)
            continue;
        char text[32];
        qn_buf_printf(dst, "- Candidate %s: %s %s on the validation part", candidate->name,
                      qn_metric_name(fit->metric), qn_metric_text(candidate->score.value, text));
        if (!isnan(candidate->test))
            qn_buf_printf(dst, ", %s on the test part", qn_metric_text(candidate->test, text));
        qn_buf_text(dst, i == fit->winner ? " (chosen).\n" : ".\n");
    }
    qn_buf_text(dst, "- `recipe.yaml` is complete: training it again on the same data gives the "
                     "same weights.\n\n");
}

static void write_limits(const qn_result *result, qn_buf *dst)
{
    const qn_findings *findings = &result->fit->schema.findings;
    qn_buf_text(dst, "## Limits\n\nIt has seen one data set; elsewhere, and later, it can be worse "
                     "than the table says. A prediction is not a reason.\n");
    for (int64_t i = 0; i < findings->count; i++) {
        const qn_finding *finding = &findings->items[i];
        if (finding->level == QN_FINDING_NOTE)
            continue;
        qn_buf_printf(dst, "- %.*s%s%s\n", QN_STR_ARG(finding->column),
                      finding->column.size ? ": " : "", finding->text);
    }
    qn_buf_byte(dst, '\n');
}

void qn_card_write(const qn_result *result, qn_buf *dst)
{
    const qn_fit *fit = result->fit;
    write_front(result, dst);
    qn_buf_printf(dst, "# %s\n\nPredicts `%s` (%s", fit->name, fit->recipe.data.target,
                  qn_task_name(fit->task));
    if (fit->classes > 0)
        qn_buf_printf(dst, ", %lld classes", (long long)fit->classes);
    qn_buf_text(dst, "). Written by quern " QN_VERSION ".\n\n## What it is for\n\n");
    qn_buf_printf(dst, "- Intended use: %s\n- Out of scope: %s\n- Contact: %s\n\n",
                  stated(fit->recipe.purpose.intended), stated(fit->recipe.purpose.out_of_scope),
                  stated(fit->recipe.purpose.contact));
    write_metrics_table(result, dst);
    write_inputs(result, dst);
    write_training(result, dst);
    write_limits(result, dst);
    qn_buf_printf(dst,
                  "## How to use it\n\n    quern predict FOLDER %s\n    quern serve FOLDER "
                  "--port 8080\n",
                  fit->array ? "arrays.npz --out answers.npz" : "rows.csv");
}
