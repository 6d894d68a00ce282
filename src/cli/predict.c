/*
 * quern predict: rows in, one prediction per row out, in order.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/checked.h"
#include "cli/verbs.h"
#include "format/csv.h"
#include "format/npy.h"
#include "model/predictor.h"
#include "os/file.h"

enum { CHUNK_ROWS = 4096 };

typedef enum { FORMAT_CSV, FORMAT_JSONL, FORMAT_NPZ } output_format;

typedef struct {
    qn_cli *cli;
    qn_predictor *predictor;
    const qn_frame *frame;
    output_format format;
    bool keep;
    const char *out; /* NULL = standard output */
    int64_t unseen;  /* categories that training had not */
    qn_buf text;     /* everything when `out` is a file (it appears whole), one chunk otherwise */
} prediction_run;

static qn_status find_format(qn_cli *cli, prediction_run *run, qn_error *err)
{
    const char *out = qn_cli_text(cli, "out");
    const char *name = qn_cli_text(cli, "format");
    run->out = out && strcmp(out, "-") != 0 ? out : NULL;
    qn_str file = qn_str_from(run->out ? run->out : "x.csv");
    if (name ? strcmp(name, "csv") == 0 : qn_str_ends(file, ".csv"))
        run->format = FORMAT_CSV;
    else if (name ? strcmp(name, "jsonl") == 0
                  : qn_str_ends(file, ".jsonl") || qn_str_ends(file, ".ndjson"))
        run->format = FORMAT_JSONL;
    else if (name ? strcmp(name, "npz") == 0 : qn_str_ends(file, ".npz"))
        run->format = FORMAT_NPZ;
    else
        QN_FAIL(err, QN_ERR_ARG, "cannot tell the format of '%s': .csv, .jsonl or .npz",
                name ? name : run->out);
    return QN_OK;
}

static void write_head(prediction_run *run, const qn_predictions *answers)
{
    for (int64_t i = 0; run->keep && i < run->frame->columns_count; i++) {
        qn_csv_write_cell(&run->text, run->frame->columns[i].name, ',');
        qn_buf_byte(&run->text, ',');
    }
    qn_buf_text(&run->text, "prediction");
    for (int64_t i = 0; i < answers->classes; i++) {
        qn_buf label;
        qn_buf_init(&label, 0);
        qn_buf_printf(&label, "probability_%.*s", QN_STR_ARG(answers->labels[i]));
        qn_buf_byte(&run->text, ',');
        qn_csv_write_cell(&run->text, qn_buf_view(&label), ',');
        qn_buf_deinit(&label);
    }
    qn_buf_byte(&run->text, '\n');
}

static void write_kept(prediction_run *run, int64_t row)
{
    char scratch[32];
    for (int64_t i = 0; i < run->frame->columns_count; i++) {
        const qn_column *column = &run->frame->columns[i];
        if (!qn_column_missing(column, row))
            qn_csv_write_cell(&run->text, qn_column_text(column, row, scratch), ',');
        qn_buf_byte(&run->text, ',');
    }
}

static void write_csv_row(prediction_run *run, const qn_predictions *answers, int64_t row,
                          int64_t frame_row)
{
    char number[32];
    if (run->keep)
        write_kept(run, frame_row);
    if (!answers->classes) {
        qn_buf_append(&run->text, number, (size_t)qn_f64_to_text(answers->number[row], number));
    } else {
        qn_csv_write_cell(&run->text, answers->labels[answers->choice[row]], ',');
        for (int64_t i = 0; i < answers->classes; i++) {
            qn_buf_byte(&run->text, ',');
            qn_buf_append(
                &run->text, number,
                (size_t)qn_f32_to_text(answers->probability[row * answers->classes + i], number));
        }
    }
    qn_buf_byte(&run->text, '\n');
}

static void write_json_row(prediction_run *run, const qn_predictions *answers, int64_t row)
{
    qn_json_writer w;
    qn_json_write_init(&w, &run->text);
    qn_json_object_begin(&w);
    qn_json_key(&w, "prediction");
    if (!answers->classes) {
        qn_json_f64(&w, answers->number[row]);
    } else {
        qn_json_str(&w, answers->labels[answers->choice[row]]);
        qn_json_key(&w, "probability");
        qn_json_object_begin(&w);
        for (int64_t i = 0; i < answers->classes; i++) {
            qn_json_key_str(&w, answers->labels[i]);
            qn_json_f32(&w, answers->probability[row * answers->classes + i]);
        }
        qn_json_object_end(&w);
    }
    qn_json_object_end(&w);
    qn_buf_byte(&run->text, '\n');
}

/* Standard output gets each chunk as it is ready. */
static qn_status flush(prediction_run *run, qn_error *err)
{
    if (run->text.failed)
        QN_FAIL(err, QN_ERR_MEMORY, "no memory for %zu bytes of predictions", run->text.size);
    if (run->out)
        return QN_OK;
    QN_TRY(qn_cli_print(&run->text, err));
    qn_buf_reset(&run->text);
    return QN_OK;
}

static qn_status predict_rows(prediction_run *run, qn_error *err)
{
    qn_arena request;
    qn_frame part;
    qn_predictions answers;
    qn_status status = QN_OK;
    bool ignore_unknown = qn_cli_has(run->cli, "ignore-unknown");
    const qn_transforms *transforms = qn_predictor_transforms(run->predictor);
    qn_arena_init(&request, 0);
    for (int64_t first = 0; status == QN_OK && first < run->frame->rows; first += CHUNK_ROWS) {
        int64_t count = qn_min_i64(CHUNK_ROWS, run->frame->rows - first);
        qn_arena_reset(&request);
        status = qn_frame_rows(run->frame, first, count, &request, &part, err);
        if (status == QN_OK)
            status =
                qn_predictor_rows(run->predictor, &part, ignore_unknown, &request, &answers, err);
        if (status == QN_OK && first == 0 && run->format == FORMAT_CSV)
            write_head(run, &answers);
        for (int64_t row = 0; status == QN_OK && row < count; row++) {
            if (run->format == FORMAT_CSV)
                write_csv_row(run, &answers, row, first + row);
            else
                write_json_row(run, &answers, row);
        }
        if (status == QN_OK && transforms)
            run->unseen += qn_transforms_unseen(transforms, &part);
        if (status == QN_OK)
            status = flush(run, err);
    }
    qn_arena_deinit(&request);
    return status;
}

static void note_unseen(const prediction_run *run)
{
    if (run->unseen > 0 && !run->cli->quiet)
        fprintf(stderr,
                "note: %lld %s a category that training had not seen, or too seldom: read as any "
                "other\n",
                (long long)run->unseen, run->unseen == 1 ? "value is" : "values are");
}

static qn_status predict_table(prediction_run *run, const char *path, qn_error *err)
{
    qn_dataset *dataset;
    QN_TRY(qn_cli_model_data(run->cli, run->predictor, path, &dataset, err));
    run->frame = &dataset->frame;
    qn_status status = predict_rows(run, err);
    if (status == QN_OK)
        note_unseen(run);
    qn_dataset_close(dataset);
    return status;
}

/* The file that the model was trained on holds the target too; a prediction does not look at it. */
static int64_t without_target(const qn_signature *signature, qn_named_tensor *inputs, int64_t count)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < count; i++)
        if (!signature->target || strcmp(inputs[i].name, signature->target) != 0)
            inputs[kept++] = inputs[i];
    return kept;
}

/* The tensor signature: arrays of an NPZ by name in, the outputs by name out. */
static qn_status predict_tensors(prediction_run *run, const char *path, qn_error *err)
{
    qn_map map;
    qn_named_tensor *inputs;
    int64_t count;
    qn_arena *arena = &run->cli->arena;
    const qn_signature *signature = qn_predictor_signature(run->predictor);
    qn_named_tensor *outputs = QN_NEW(arena, qn_named_tensor, signature->outputs_count + 1);
    if (!outputs)
        QN_FAIL(err, QN_ERR_MEMORY, "no memory for the outputs");
    QN_TRY(qn_map_open(path, &map, err));
    qn_status status =
        qn_npz_read((qn_str){map.data, map.size}, path, 0, arena, &inputs, &count, err);
    if (status == QN_OK)
        count = without_target(signature, inputs, count);
    if (status == QN_OK)
        status = qn_predictor_tensors(run->predictor, inputs, (int)count, arena, outputs, err);
    qn_map_close(&map);
    if (status == QN_ERR_ARG && err) { /* arrays of a file, not words of the command */
        err->code = status = QN_ERR_DATA;
        status = err->where[0] ? status : qn_error_at(err, status, "%s", path);
    }
    QN_TRY(status);
    QN_TRY(qn_npz_write(&run->text, outputs, signature->outputs_count, err));
    return flush(run, err);
}

static qn_status predict(prediction_run *run, qn_error *err)
{
    const char *path = run->cli->arguments_count > 1 ? run->cli->arguments[1] : "-";
    bool tensors = qn_str_ends(qn_str_from(path), ".npz") && run->format == FORMAT_NPZ;
    const qn_signature *signature = qn_predictor_signature(run->predictor);
    if (!tensors && !signature->has_rows) {
        (void)qn_error_set(err, QN_ERR_ARG, NULL, "model '%s' takes tensors, not rows of columns",
                           signature->name);
        return qn_error_hint(err, QN_ERR_ARG, "give it an .npz, and --out FILE.npz");
    }
    if (run->format == FORMAT_NPZ && !tensors)
        QN_FAIL(err, QN_ERR_ARG, "output as .npz needs input as .npz, got '%s'", path);
    QN_TRY(tensors ? predict_tensors(run, path, err) : predict_table(run, path, err));
    return run->out ? qn_file_replace(run->out, run->text.data, run->text.size, err) : QN_OK;
}

static qn_status run_verb(qn_cli *cli, qn_error *err)
{
    prediction_run run = {.cli = cli, .keep = qn_cli_has(cli, "keep")};
    qn_pool *pool;
    QN_TRY(find_format(cli, &run, err));
    if (run.keep && run.format != FORMAT_CSV)
        QN_FAIL(err, QN_ERR_ARG,
                "--keep puts columns before predictions in CSV, not in JSON Lines or NPZ");
    QN_TRY(qn_cli_pool(cli, &pool, err));
    qn_predictor_options options = {.pool = pool};
    qn_buf_init(&run.text, 0);
    qn_status status = qn_predictor_open(cli->arguments[0], 0, &options, &run.predictor, err);
    if (status == QN_OK) {
        status = predict(&run, err);
        qn_predictor_close(run.predictor);
    }
    qn_buf_deinit(&run.text);
    qn_pool_destroy(pool);
    return status;
}

static const qn_flag flags[] = {
    {"out", "FILE", "standard output", "where predictions go; the extension gives the format"},
    {"format", "FORMAT", "csv", "csv, jsonl or npz"},
    {"keep", NULL, NULL, "puts the input's columns before the prediction (CSV)"},
    {"ignore-unknown", NULL, NULL, "leaves columns aside that the model does not know"},
    {0},
};

const qn_verb qn_verb_predict = {
    .name = "predict",
    .arguments = "MODEL [DATA]",
    .summary = "one prediction per row, in order: CSV, JSON Lines or NPZ",
    .about =
        "Reads rows (CSV, TSV, JSON Lines, pictures) in the columns the model was trained on; the "
        "target may be there\n"
        "or not. Writes one prediction per row, in order. Missing columns are missing values. "
        "NPZ in and out runs the\n"
        "model on tensors by name.",
    .arguments_min = 1,
    .arguments_max = 2,
    .flags = flags,
    .common = QN_FLAG_QUIET | QN_FLAG_THREADS | QN_FLAG_MEM,
    .examples = {"quern predict models/churn new.csv --out answers.csv --keep",
                 "the rows of new.csv with a prediction each",
                 "quern predict models/churn < new.csv", "standard input to standard output"},
    .run = run_verb,
};
