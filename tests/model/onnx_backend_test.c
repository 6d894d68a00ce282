/*
 * ONNX's own backend cases (v1.22.0, each a model with inputs and outputs) at rtol 1e-3 and atol 1e-7. onnx_pass.txt lists
 * the cases that pass and may only grow; onnx_out.txt lists every other with its reason: out of scope, or what it lacks.
 *
 * QUERN_ONNX_LISTS=write makes both lists anew; QUERN_ONNX_CASE=NAME runs one case and says what differs; with
 * QUERN_ONNX_DATA=FOLDER another folder of cases is run (`onnx/backend/test/data` of an onnx package has all of them) and
 * everything in scope that fails is named. Cases whose shapes depend on the elements of inputs are imported with these inputs
 * as constants.
 */
#include "testing.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "graph/plan.h"
#include "model/onnx_import.h"
#include "os/file.h"

#define CASES QN_TEST_SOURCE_ROOT "/../shared/data/onnx-backend-tests"
#define PASS  QN_TEST_SOURCE_ROOT "/tests/model/onnx_pass.txt"
#define OUT   QN_TEST_SOURCE_ROOT "/tests/model/onnx_out.txt"

enum { TENSORS_MAX = 64 };
static const double RTOL = 1e-3, ATOL = 1e-7;

/* --- scope --- */

/* What the first of these in a model means. */
static const struct {
    const char *op, *reason;
} outside[] = {
    {"If", "control flow"},
    {"Loop", "control flow"},
    {"Scan", "control flow"},
    {"ImageDecoder", "image decoding"},
    {"StringNormalizer", "strings"},
    {"StringConcat", "strings"},
    {"StringSplit", "strings"},
    {"RegexFullMatch", "strings"},
    {"LabelEncoder", "classical ai.onnx.ml operators"},
    {"TreeEnsemble", "classical ai.onnx.ml operators"},
    {"ArrayFeatureExtractor", "classical ai.onnx.ml operators"},
    {"Binarizer", "classical ai.onnx.ml operators"},
    {"SequenceMap", "sequences"},
    {"SequenceEmpty", "sequences"},
    {"SequenceConstruct", "sequences"},
    {"SplitToSequence", "sequences"},
    {"OptionalHasElement", "optionals"},
    {"OptionalGetElement", "optionals"},
};

/* NULL = in scope. */
static const char *find_outside(const qn_onnx_model *model)
{
    for (int i = 0; i < model->nodes_count; i++)
        for (size_t k = 0; k < sizeof outside / sizeof outside[0]; k++)
            if (strcmp(model->nodes[i].op, outside[k].op) == 0)
                return outside[k].reason;
    for (int i = 0; i < model->inputs_count + model->outputs_count; i++) {
        const qn_onnx_info *info =
            i < model->inputs_count ? &model->inputs[i] : &model->outputs[i - model->inputs_count];
        if (info->elem == QN_ONNX_STRING)
            return "strings";
        if (info->elem == 0)
            return "sequences, maps and optionals";
    }
    return NULL;
}

/* --- one case --- */

typedef struct {
    qn_arena arena;
    const char *folder;
    qn_onnx_model model;
    qn_named_tensor inputs[TENSORS_MAX];
    qn_onnx_tensor expected[TENSORS_MAX];
    int inputs_count;
} onnx_case;

static qn_status read_tensor(onnx_case *at, const char *kind, int index, qn_onnx_tensor *ret,
                             qn_error *err)
{
    qn_str bytes;
    const char *path =
        qn_arena_printf(&at->arena, "%s/test_data_set_0/%s_%d.pb", at->folder, kind, index);
    QN_TRY(qn_file_read(path, 0, &at->arena, &bytes, err));
    return qn_onnx_read_tensor(bytes, path, &at->arena, ret, err);
}

static bool is_weight(const qn_onnx_model *model, const char *name)
{
    for (int i = 0; i < model->initializers_count; i++)
        if (strcmp(model->initializers[i].name, name) == 0)
            return true;
    return false;
}

static qn_status read_inputs(onnx_case *at, qn_error *err)
{
    const qn_onnx_model *model = &at->model;
    for (int i = 0, index = 0; i < model->inputs_count && at->inputs_count < TENSORS_MAX; i++) {
        qn_onnx_tensor tensor;
        if (is_weight(model, model->inputs[i].name))
            continue;
        QN_TRY(read_tensor(at, "input", index++, &tensor, err));
        at->inputs[at->inputs_count++] = (qn_named_tensor){model->inputs[i].name, tensor.tensor};
    }
    for (int i = 0; i < model->outputs_count && i < TENSORS_MAX; i++)
        QN_TRY(read_tensor(at, "output", i, &at->expected[i], err));
    return QN_OK;
}

static bool is_near(double came, double want)
{
    if (isnan(want) || isnan(came))
        return isnan(want) && isnan(came);
    return came == want || fabs(came - want) <= ATOL + RTOL * fabs(want);
}

static qn_status compare(const qn_onnx_tensor *want, const char *name, const qn_tensor *came,
                         qn_error *err)
{
    char a[128], b[128];
    if (want->tensor.dtype != came->dtype || !qn_shape_equal(&want->tensor.shape, &came->shape))
        QN_FAIL(err, QN_ERR_NEGATIVE, "'%s' is %s %s, expected %s %s", name,
                qn_dtype_name(came->dtype), qn_shape_text(&came->shape, a),
                qn_dtype_name(want->tensor.dtype), qn_shape_text(&want->tensor.shape, b));
    int64_t count = qn_shape_count(&came->shape);
    for (int64_t i = 0; i < count; i++)
        if (!is_near(qn_tensor_f64_at(came, i), qn_tensor_f64_at(&want->tensor, i)))
            QN_FAIL(err, QN_ERR_NEGATIVE, "'%s'[%lld] is %.9g, expected %.9g", name, (long long)i,
                    qn_tensor_f64_at(came, i), qn_tensor_f64_at(&want->tensor, i));
    return QN_OK;
}

static qn_status run_plan(onnx_case *at, qn_plan *plan, qn_error *err)
{
    for (int i = 0; i < at->inputs_count; i++) {
        const qn_tensor *input = qn_plan_input(plan, at->inputs[i].name);
        if (input && qn_tensor_bytes(input) > 0)
            memcpy(input->data, at->inputs[i].tensor.data, qn_tensor_bytes(input));
    }
    qn_plan_run(plan, 0);
    for (int i = 0; i < at->model.outputs_count; i++) {
        const char *name = at->model.outputs[i].name;
        const qn_tensor *output = qn_plan_output(plan, name);
        if (!output)
            QN_FAIL(err, QN_ERR_NEGATIVE, "there is no output '%s'", name);
        QN_TRY(compare(&at->expected[i], name, output, err));
    }
    return QN_OK;
}

static qn_status run_with(onnx_case *at, qn_onnx_fix fix, qn_error *err)
{
    qn_onnx_import_options options = {
        .given = at->inputs, .given_count = at->inputs_count, .fix = fix};
    qn_graph *graph;
    qn_state *state;
    qn_plan *plan = NULL;
    QN_TRY(qn_onnx_import(&at->model, &options, &graph, &state, err));
    qn_status status = qn_plan_create(graph, state, &(qn_plan_options){.batch = 1}, &plan, err);
    if (status == QN_OK)
        status = run_plan(at, plan, err);
    qn_plan_destroy(plan);
    qn_graph_destroy(graph);
    qn_state_destroy(state);
    return status;
}

/* ERR_UNSUPPORTED with "out of scope: ..." where it is. */
static qn_status run_case(const char *folder, qn_error *err)
{
    onnx_case at = {.folder = folder};
    qn_arena_init(&at.arena, 0);
    const char *path = qn_arena_printf(&at.arena, "%s/model.onnx", folder);
    qn_status status = qn_onnx_open(path, &at.arena, &at.model, err);
    const char *reason = status == QN_OK ? find_outside(&at.model) : NULL;
    if (reason)
        status = qn_error_set(err, QN_ERR_UNSUPPORTED, NULL, "out of scope: %s", reason);
    else if (status == QN_OK)
        status = read_inputs(&at, err);
    if (status == QN_OK) {
        status = QN_ERR_UNSUPPORTED;
        for (int fix = QN_ONNX_FIX_NONE;
             fix <= (int)QN_ONNX_FIX_ALL && status == QN_ERR_UNSUPPORTED; fix++)
            status = run_with(&at, (qn_onnx_fix)fix, err);
    }
    qn_onnx_close(&at.model);
    qn_arena_deinit(&at.arena);
    return status;
}

/* --- the lists --- */

static bool is_in(qn_str list, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = list.data, *end = list.data + list.size; at < end;) {
        const char *line = memchr(at, '\n', (size_t)(end - at));
        size_t size = (size_t)((line ? line : end) - at);
        if (size >= length && memcmp(at, name, length) == 0 &&
            (size == length || at[length] == ':'))
            return true;
        at += size + 1;
    }
    return false;
}

typedef struct {
    qn_str pass, out;         /* committed */
    qn_buf new_pass, new_out; /* now */
    int passed, failed, outside, wrong, newly;
    bool other; /* cases that the lists do not know */
} tally;

static void judge(tally *all, const char *name, qn_status status, const qn_error *err)
{
    bool scope = strncmp(err->text, "out of scope", 12) != 0;
    all->passed += status == QN_OK;
    all->outside += status != QN_OK && !scope;
    all->failed += status != QN_OK && scope;
    if (status == QN_OK)
        qn_buf_printf(&all->new_pass, "%s\n", name);
    else
        qn_buf_printf(&all->new_out, "%s: %s\n", name, err->text);
    const char *told = NULL;
    if (status != QN_OK && is_in(all->pass, name))
        told = "passed before";
    else if (status != QN_OK && !is_in(all->out, name) && (scope || !all->other))
        told = "is in no list";
    all->newly += status == QN_OK && !is_in(all->pass, name);
    all->wrong += told != NULL;
    if (told)
        print_message("%s %s: %s\n", name, told, status == QN_OK ? "" : err->text);
}

static void run_folder(tally *all, const char *cases, const char *group, const char *only,
                       qn_arena *arena)
{
    char **names;
    int64_t count = 0;
    qn_error err = {0};
    const char *folder = qn_path_join(arena, cases, group);
    if (!qn_path_is_folder(folder))
        return;
    assert_ok(qn_folder_list(folder, arena, &names, &count, &err), &err);
    for (int64_t i = 0; i < count; i++) {
        if (only && strcmp(only, names[i]) != 0)
            continue;
        err = (qn_error){0};
        qn_status status = run_case(qn_path_join(arena, folder, names[i]), &err);
        if (only)
            print_message("%s: %s %s\n", names[i], status == QN_OK ? "passes" : "fails", err.text);
        judge(all, qn_arena_printf(arena, "%s/%s", group, names[i]), status, &err);
    }
}

static void read_list(const char *path, qn_arena *arena, qn_str *ret)
{
    *ret = QN_STR("");
    if (qn_path_exists(path))
        assert_int_equal(qn_file_read(path, 0, arena, ret, NULL), QN_OK);
}

static void onnx_backend_cases_pass(void **state)
{
    static const char *const groups[] = {"node", "pytorch-converted", "pytorch-operator", "simple"};
    (void)state;
    const char *lists = getenv("QUERN_ONNX_LISTS"), *only = getenv("QUERN_ONNX_CASE");
    const char *data = getenv("QUERN_ONNX_DATA"), *cases = data ? data : CASES;
    qn_arena arena;
    tally all = {.other = data != NULL};
    if (!qn_path_is_folder(cases)) {
        print_message("skipped: %s is not there\n", cases);
        skip();
    }
    qn_arena_init(&arena, 0);
    qn_buf_init(&all.new_pass, 0);
    qn_buf_init(&all.new_out, 0);
    read_list(PASS, &arena, &all.pass);
    read_list(OUT, &arena, &all.out);
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
        run_folder(&all, cases, groups[i], only, &arena);
    if (all.newly > 0 && !data)
        print_message("%d more cases pass than are listed: QUERN_ONNX_LISTS=write lists them\n",
                      all.newly);
    print_message("%d of %d cases in scope pass (%.1f %%); %d are out of scope\n", all.passed,
                  all.passed + all.failed, 100.0 * all.passed / fmax(1, all.passed + all.failed),
                  all.outside);
    if (lists && !data && strcmp(lists, "write") == 0) {
        assert_int_equal(qn_file_replace(PASS, all.new_pass.data, all.new_pass.size, NULL), QN_OK);
        assert_int_equal(qn_file_replace(OUT, all.new_out.data, all.new_out.size, NULL), QN_OK);
    } else if (!only) {
        assert_int_equal(all.wrong, 0);
    }
    qn_buf_deinit(&all.new_pass);
    qn_buf_deinit(&all.new_out);
    qn_arena_deinit(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(onnx_backend_cases_pass)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
