/* Recipes: defaults, precedence, types from the key table, errors with places, and writing. */
#include "testing.h"

#include <stdio.h>
#include <stdlib.h>

#include "data/dataset.h"
#include "model/recipe.h"
#include "model/recipe_priv.h"
#include "nn/layers.h"
#include "nn/schedules.h"
#include "os/file.h"
#include "train/metrics.h"

typedef struct {
    qn_arena arena;
    qn_error err;
    qn_recipe recipe;
} fixture;

static int setup(void **state)
{
    static fixture f;
    qn_arena_init(&f.arena, 0);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    qn_arena_deinit(&((fixture *)*state)->arena);
    return 0;
}

static qn_status parse(fixture *f, const char *text)
{
    return qn_recipe_parse(qn_str_from(text), "r.yaml", NULL, 0, &f->arena, &f->recipe, &f->err);
}

static void recipe_needs_only_data(void **state)
{
    fixture *f = *state;
    assert_ok(parse(f, "data: {path: a.csv}\n"), &f->err);
    const qn_recipe *r = &f->recipe;
    assert_int_equal(r->version, 1);
    assert_int_equal(r->task, QN_TASK_AUTO);
    assert_int_equal(r->data.path.count, 1);
    assert_string_equal(r->data.path.items[0], "a.csv");
    assert_null(r->data.target);
    assert_int_equal(r->split.by, QN_SPLIT_AUTO);
    assert_true(r->split.parts[0] == 0.7);
    assert_int_equal(r->model.type, QN_MODEL_AUTO);
    assert_int_equal(r->train.epochs, 20);
    assert_int_equal(r->train.batch, QN_AUTO);
    assert_true(r->train.lr == QN_AUTO);
    assert_int_equal(r->train.schedule, QN_NN_SCHEDULE_COSINE);
    assert_string_equal(r->train.metric, "auto");
    assert_string_equal(qn_recipe_model_name(r, &f->arena), "a");
}

static void recipe_reads_every_kind_of_value(void **state)
{
    fixture *f = *state;
    assert_ok(
        parse(f,
              "quern: 1\nname: no\ntask: binary\n"
              "data: {path: [a/*.csv, b.csv], target: yes, id: 7, header: false, names: [x, y]}\n"
              "split: {by: group, key: k, parts: [0.5, 0.25, 0.25], seed: 9}\n"
              "columns:\n"
              "  age: {type: number, missing: median, flag_missing: true, scale: none,"
              " clip: [p1, 99.5]}\n"
              "  'a.b': {type: category, min_count: 5, encode: embed}\n"
              "  pic: {type: image, size: [28, 20], channels: 1}\n"
              "  ssn: {drop: true}\n"
              "model: {type: mlp, hidden: [64, 32]}\n"
              "train: {lr: 1e-3, nesterov: true, optimizer: sgd, loss: ce, batch: 32}\n"
              "purpose: {intended: \"a, b\"}\n"),
        &f->err);
    const qn_recipe *r = &f->recipe;
    assert_string_equal(r->name, "no");
    assert_string_equal(r->data.target, "yes");
    assert_string_equal(r->data.id, "7");
    assert_int_equal(r->data.header, QN_HEADER_NO);
    assert_int_equal(r->data.path.count, 2);
    assert_int_equal(r->split.by, QN_SPLIT_GROUP);
    assert_int_equal(r->split.seed, 9);
    assert_int_equal(r->columns_count, 4);
    assert_int_equal(r->columns[0].missing, QN_MISSING_MEDIAN);
    assert_int_equal(r->columns[0].flag_missing, QN_SWITCH_ON);
    assert_int_equal(r->columns[0].scale, QN_SCALE_NONE);
    assert_true(r->columns[0].clip && r->columns[0].clip_high == 99.5);
    assert_true(qn_str_is(r->columns[1].name, "a.b"));
    assert_int_equal(r->columns[1].encode, QN_ENCODE_EMBED);
    assert_int_equal(r->columns[2].width, 20);
    assert_true(r->columns[3].drop);
    assert_int_equal(r->model.hidden.count, 2);
    assert_int_equal(r->model.hidden.items[1], 32);
    assert_true(r->train.lr == 1e-3 && r->train.nesterov);
    assert_int_equal(r->train.optimizer, QN_RECIPE_SGD);
    assert_int_equal(r->train.loss, QN_RECIPE_CE);
    assert_string_equal(r->purpose.intended, "a, b");
}

static void recipe_reads_options_and_groups(void **state)
{
    fixture *f = *state;
    assert_ok(parse(f, "data: {path: x}\ntrain:\n  optimizer: rmsprop\n"
                       "  options: {rho: 0.8, centered: true}\n  groups:\n"
                       "    - {match: \"*.bias\", weight_decay: 0}\n"
                       "    - {match: layers.0, lr: 1e-4, freeze: true}\n"),
              &f->err);
    const qn_recipe *r = &f->recipe;
    assert_int_equal(r->train.optimizer, QN_RECIPE_SGD + (int)QN_NN_RMSPROP);
    assert_int_equal(r->train.options.count, 2);
    assert_string_equal(r->train.options.items[0].name, "rho");
    assert_true(r->train.options.items[1].value == 1);
    assert_int_equal(r->train.groups.count, 2);
    assert_true(r->train.groups.items[0].weight_decay == 0 && r->train.groups.items[0].lr < 0);
    assert_true(r->train.groups.items[1].freeze);
    qn_buf text;
    qn_buf_init(&text, 0);
    qn_recipe_write(&f->recipe, false, &text);
    qn_buf_byte(&text, '\0');
    assert_non_null(strstr(text.data, "  options: {rho: 0.8, centered: 1}\n"
                                      "  groups: [{match: \"*.bias\", weight_decay: 0}, "
                                      "{match: layers.0, lr: 0.0001, freeze: true}]\n"));
    qn_buf_deinit(&text);
    assert_int_equal(parse(f, "data: {path: x}\ntrain:\n  options: {beta: 1}\n"), QN_ERR_ARG);
    assert_text(&f->err, "did you mean 'beta1'?");
    assert_int_equal(parse(f, "data: {path: x}\ntrain:\n  groups: [{lr: 1}]\n"), QN_ERR_ARG);
    assert_text(&f->err, "has no 'match'");
    assert_int_equal(parse(f, "data: {path: x}\ntrain:\n  groups: [{match: a, rate: 1}]\n"),
                     QN_ERR_ARG);
    assert_text(&f->err, "has no 'rate'");
}

static void recipe_reads_layers(void **state)
{
    fixture *f = *state;
    assert_ok(parse(f, "data: {path: x}\nmodel:\n  layers:\n"
                       "    - conv2d: {filters: 32, kernel: [3, 3], activation: relu}\n"
                       "    - flatten\n    - dense: {units: auto}\n"),
              &f->err);
    const qn_json *layers = &f->recipe.model.layers;
    assert_int_equal(f->recipe.model.type, QN_MODEL_LAYERS);
    assert_int_equal(layers->count, 3);
    const qn_json *conv = qn_json_find(&layers->items[0], "conv2d");
    assert_int_equal(qn_json_find(conv, "filters")->integer, 32);
    assert_int_equal(qn_json_find(conv, "kernel")->kind, QN_JSON_NUMBERS);
    assert_true(qn_str_is(layers->items[1].string, "flatten"));
    qn_buf text;
    qn_buf_init(&text, 0);
    qn_recipe_write(&f->recipe, false, &text);
    qn_buf_byte(&text, '\0');
    assert_non_null(strstr(text.data,
                           "    - conv2d: {filters: 32, kernel: [3, 3], activation: relu}\n"
                           "    - flatten\n    - dense: {units: auto}\n"));
    qn_buf_deinit(&text);
}

static void weights_of_labels_come_back_as_written(void **state)
{
    fixture *f = *state;
    assert_ok(parse(f, "data: {path: x}\n"), &f->err);
    assert_int_equal(f->recipe.train.class_weight.kind, QN_CLASS_WEIGHT_NONE);
    assert_ok(parse(f, "data: {path: x, ignore: [maybe, 'no idea']}\n"
                       "train: {class_weight: {'yes': 3, 'no way': 0.5}}\n"),
              &f->err);
    const qn_recipe_weights *weights = &f->recipe.train.class_weight;
    assert_int_equal(weights->kind, QN_CLASS_WEIGHT_GIVEN);
    assert_int_equal(weights->count, 2);
    assert_string_equal(weights->labels[1], "no way");
    assert_true(weights->items[0] == 3 && weights->items[1] == 0.5);
    assert_int_equal(f->recipe.data.ignore.count, 2);
    qn_buf text;
    qn_buf_init(&text, 0);
    qn_recipe_write(&f->recipe, true, &text);
    qn_buf_byte(&text, '\0');
    assert_non_null(strstr(text.data, "class_weight: {\"yes\": 3, \"no way\": 0.5}"));
    assert_non_null(strstr(text.data, "ignore: [maybe, \"no idea\"]"));
    assert_ok(parse(f, text.data), &f->err);
    assert_int_equal(f->recipe.train.class_weight.count, 2);
    qn_buf_deinit(&text);
}

typedef struct {
    const char *text;
    const char *where;
    const char *message;
} bad_case;

static void recipe_refuses_and_says_where(void **state)
{
    fixture *f = *state;
    static const bad_case cases[] = {
        {"dta: {path: x}", "r.yaml:1:1", "unknown key 'dta'; did you mean 'data'?"},
        {"data: {path: x}\ntrain:\n  epocs: 3\n", "r.yaml:3:3",
         "unknown key 'train.epocs'; did you mean 'epochs'?"},
        {"data: {path: x}\ntrain: {zzzz: 3}\n", "r.yaml:2:9", "unknown key 'train.zzzz'"},
        {"data: {path: x}\ntrain: {epochs: 3, epochs: 4}\n", "r.yaml:2:20",
         "the key 'epochs' stands"},
        {"data: {path: x}\ntrain: {epochs: many}\n", "r.yaml:2:17",
         "train.epochs is many; expected an integer from 1 to 1000000"},
        {"data: {path: x}\ntrain: {epochs: \"3\"}\n", "r.yaml:2:17", "the text \"3\""},
        {"data: {path: x}\ntrain: {epochs: 0}\n", "r.yaml:2:17", "expected an integer from 1"},
        {"data: {path: x}\ntrain: {epochs: auto}\n", "r.yaml:2:17", "expected an integer from 1"},
        {"data: {path: x}\ntrain: {batch: 1.5}\n", "r.yaml:2:16", ", or auto"},
        {"data: {path: x}\ntrain: {lr: -1}\n", "r.yaml:2:13", "expected a number from 0 to 1000"},
        {"data: {path: x}\ntrain: {schedule: cosin}\n", "r.yaml:2:19", "did you mean 'cosine'?"},
        {"data: {path: x}\ntrain: {loss: cosine}\n", "r.yaml:2:15",
         "train.loss is cosine, which compares pairs of answers"},
        {"data: {path: x}\ntrain: {loss: triplet}\n", "r.yaml:2:15", "in C it is QN_LOSS_TRIPLET"},
        {"data: {path: x}\ntrain: {class_weight: balance}\n", "r.yaml:2:23",
         "did you mean 'balanced'?"},
        {"data: {path: x}\ntrain: {class_weight: [1, 2]}\n", "r.yaml:2:23",
         "expected none, balanced or a map such as {yes: 3}"},
        {"data: {path: x}\ntrain: {class_weight: {}}\n", "r.yaml:2:23", "at least one label"},
        {"data: {path: x}\ntrain: {class_weight: {no: 1, yes: -2}}\n", "r.yaml:2:36",
         "train.class_weight is -2; expected a number from 0 to 1000000"},
        {"data: {path: x}\ntrain: {nesterov: 1}\n", "r.yaml:2:19", "expected true or false"},
        {"data: {path: x}\ntrain: 5\n", "r.yaml:2:8", "train takes a map"},
        {"data: x.csv\n", "r.yaml:1:7", "data takes a map"},
        {"data: {path: {a: 1}}\n", "r.yaml:1:14", "data.path is a map; expected a text"},
        {"data: {path: [a, [b]]}\n", "r.yaml:1:18", "data.path is a list"},
        {"data: {path: x}\nsplit: {parts: [1, 2, 3]}\n", "r.yaml:2:20", "three shares"},
        {"data: {path: x}\nsplit: {parts: [0.5, 0.4, 0]}\n", "r.yaml:2:16", "sum to 0.9"},
        {"data: {path: x}\nsplit: {by: group}\n", "r.yaml", "split.key must name"},
        {"data: {path: x}\nsplit: {by: time}\n", "r.yaml", "data.time must name"},
        {"data: {path: x}\nsplit: {by: kfold}\n", "r.yaml:2:13", "this version does not have"},
        {"data: {path: x}\ncolumns: {age: number}\n", "r.yaml:2:16", "columns.age takes a map"},
        {"data: {path: x}\ncolumns: {age: {tpye: number}}\n", "r.yaml:2:17",
         "did you mean 'type'?"},
        {"data: {path: x}\ncolumns: {age: {type: category, scale: standard}}\n", "r.yaml:2:33",
         "does nothing for a category column"},
        {"data: {path: x}\ncolumns: {age: {clip: [p99, p1]}}\n", "r.yaml:2:23",
         "rising percentiles"},
        {"data: {path: x}\ncolumns: {t: {tokenizer: bpe}}\n", "r.yaml:2:26",
         "this version has no text"},
        {"data: {path: x}\ntune: {trials: 3}\n", "r.yaml:2:7",
         "'tune' belongs to recipes, but this version has no hyper-parameter search"},
        {"data: {path: x}\nmodel: {type: lstmm}\n", "r.yaml:2:15", "did you mean 'lstm'?"},
        {"data: {path: x}\ntask: forecast\n", "r.yaml:2:7", "this version does not have"},
        {"data: {path: x}\nmodel: {layers: [dens]}\n", "r.yaml:2:18", "did you mean 'dense'?"},
        {"data: {path: x}\nmodel: {layers: [{dense: {unit: 3}}]}\n", "r.yaml:2:27",
         "did you mean 'units'?"},
        {"data: {path: x}\nmodel: {layers: [{transformer: {mask: [1, 0]}}]}\n", "r.yaml:2:40",
         "mask takes rows of 0 and 1"},
        {"data: {path: x}\nmodel: {layers: [{transformer: {mask: [[1, yes]]}}]}\n", "r.yaml:2:44",
         "mask takes rows of 0 and 1"},
        {"data: {path: x}\nmodel: {layers: []}\n", "r.yaml:2:17", "1 to 256 layers"},
        {"data: {path: x}\nmodel: {type: mlp, layers: [flatten]}\n", "r.yaml", "give one of them"},
        {"data: {path: x}\nmodel: {type: layers}\n", "r.yaml", "model.layers is missing"},
        {"quern: 2\ndata: {path: x}\n", "r.yaml:1:8", "quern is 2; expected 1"},
        {"name: ../up\ndata: {path: x}\n", "r.yaml", "name is '../up'; expected letters"},
        {"name: \"\"\ndata: {path: x}\n", "r.yaml", "name is ''; expected letters"},
        {"quern: 1\n", "r.yaml", "data.path is missing"},
        {"[1, 2]\n", "r.yaml:1:1", "a recipe takes a map"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(parse(f, cases[i].text), QN_ERR_ARG);
        assert_text(&f->err, cases[i].message);
        assert_string_equal(f->err.where, cases[i].where);
    }
}

static void settings_win_over_environment_over_file(void **state)
{
    fixture *f = *state;
    const char *path = "/tmp/quern-recipe-test.yaml";
    const qn_recipe_setting settings[] = {
        {"train.batch", "64", "--set"},
        {"columns.a.b.scale", "minmax", "--set"},
        {"columns.c", "{drop: true}", "--set"},
        {"data.target", "'yes: no'", "--target"},
    };
    const char text[] = "data: {path: x}\ntrain: {epochs: 3, batch: 4, lr: 0.5}\n";
    assert_int_equal(qn_file_replace(path, text, sizeof text - 1, &f->err), QN_OK);
    setenv("QUERN_TRAIN_EPOCHS", "7", 1);
    setenv("QUERN_TRAIN_BATCH", "8", 1);
    qn_status status = qn_recipe_read(path, settings, 4, &f->arena, &f->recipe, &f->err);
    setenv("QUERN_TRAIN_EPOCHS", "x", 1);
    qn_recipe unused;
    qn_status bad = qn_recipe_read(path, NULL, 0, &f->arena, &unused, &f->err);
    unsetenv("QUERN_TRAIN_EPOCHS");
    unsetenv("QUERN_TRAIN_BATCH");
    remove(path);
    assert_int_equal(status, QN_OK);
    const qn_recipe *r = &f->recipe;
    assert_int_equal(r->train.epochs, 7);
    assert_int_equal(r->train.batch, 64);
    assert_true(r->train.lr == 0.5);
    assert_string_equal(r->data.target, "yes: no");
    assert_true(qn_str_is(r->columns[0].name, "a.b"));
    assert_int_equal(r->columns[0].scale, QN_SCALE_MINMAX);
    assert_true(r->columns[1].drop);
    assert_int_equal(bad, QN_ERR_ARG);
    assert_string_equal(f->err.where, "QUERN_TRAIN_EPOCHS");
    qn_buf origins;
    qn_buf_init(&origins, 0);
    qn_recipe_write_origins(r, &origins);
    qn_buf_byte(&origins, '\0');
    assert_non_null(strstr(origins.data, "train.epochs: 7                   # environment\n"));
    assert_non_null(strstr(origins.data, "train.batch: 64                   # flag\n"));
    assert_non_null(strstr(origins.data, "train.lr: 0.5                     # recipe\n"));
    assert_non_null(strstr(origins.data, "train.momentum: 0.9               # default\n"));
    qn_buf_deinit(&origins);
}

static void settings_name_their_flag_in_errors(void **state)
{
    fixture *f = *state;
    static const qn_recipe_setting cases[][1] = {
        {{"train.epocs", "3", "--set"}}, {{"train", "3", "--set"}},
        {{"train.lr", "[", "--set"}},    {{"columns.a", "3", "--set"}},
        {{"nope.x", "3", "--set"}},      {{"train.epochs", "", "--set"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(qn_recipe_parse(QN_STR("data: {path: x}"), "r.yaml", cases[i], 1,
                                         &f->arena, &f->recipe, &f->err),
                         QN_ERR_ARG);
        assert_true(strncmp(f->err.where, "--set", 5) == 0);
    }
    static const qn_recipe_setting misspelt[] = {{"trian.epochs", "3", "--set"}};
    assert_int_equal(qn_recipe_parse(QN_STR("data: {path: x}"), "r.yaml", misspelt, 1, &f->arena,
                                     &f->recipe, &f->err),
                     QN_ERR_ARG);
    assert_text(&f->err, "unknown key 'trian.epochs'; did you mean 'train.epochs'?");
}

/* A JSON recipe packs numbers, the YAML that a model stores does not: what is read must be readable again. */
static void masks_of_a_recipe_are_bounded(void **state)
{
    fixture *f = *state;
    for (int side = 362; side <= 363; side++) {
        qn_buf text;
        qn_buf_init(&text, 0);
        qn_buf_text(&text, "{\"quern\": 1, \"data\": {\"path\": \"x\"}, \"model\": {\"layers\": "
                           "[{\"transformer\": {\"mask\": [");
        for (int i = 0; i < side * side; i++)
            qn_buf_text(&text, i == 0 ? "[1" : i % side == 0 ? "],[1" : ",1");
        qn_buf_text(&text, "]]}}]}}");
        qn_status status =
            qn_recipe_parse(qn_buf_view(&text), "r.json", NULL, 0, &f->arena, &f->recipe, &f->err);
        assert_int_equal(status, side == 362 ? QN_OK : QN_ERR_ARG);
        if (status != QN_OK)
            assert_text(&f->err, "model.layers has lists of 131769 numbers, at most 131072");
        qn_buf_reset(&text);
        if (status == QN_OK) {
            qn_recipe_write(&f->recipe, false, &text);
            assert_ok(qn_recipe_parse(qn_buf_view(&text), "w.yaml", NULL, 0, &f->arena, &f->recipe,
                                      &f->err),
                      &f->err);
        }
        qn_buf_deinit(&text);
    }
}

/* What is written reads back to the same text, with and without comments. */
static void recipe_written_reads_back(void **state)
{
    fixture *f = *state;
    static const char *const texts[] = {
        "data: {path: x}\n",
        "name: 'null'\ndata: {path: ['a b.csv', '1e3', \"q'\\\"\\n\"], target: \"no\"}\n"
        "columns: {'a: b': {type: number, clip: [p1, p99], log: true}, 'true': {drop: true},"
        " p: {type: image, size: [3, 4]}, z: {type: auto, encode: onehot}}\n"
        "model: {hidden: [3]}\ntrain: {lr: 1e-9, metric: f1, loss: huber}\n",
        "data: {path: x}\nmodel: {layers: [{dense: {units: 3, activation: tanh}}, flatten]}\n",
        "data: {path: x}\nmodel: {layers: [{multi_head_attention: {mask: [[1, 0], [true, true]]}}, "
        "{lstm: {units: 3, initial: [flatten, {dense: {units: 6}}]}}, {gather: {indices: [9, 8, 7, "
        "6, 5, 4, 3, 2, 1]}}, {activation: {name: elu, alpha: 0.5}}]}\n",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        qn_buf first;
        qn_buf second;
        qn_buf_init(&first, 0);
        qn_buf_init(&second, 0);
        assert_ok(parse(f, texts[i]), &f->err);
        qn_recipe_write(&f->recipe, true, &first);
        assert_ok(
            qn_recipe_parse(qn_buf_view(&first), "w.yaml", NULL, 0, &f->arena, &f->recipe, &f->err),
            &f->err);
        qn_recipe_write(&f->recipe, true, &second);
        assert_true(qn_str_equal(qn_buf_view(&first), qn_buf_view(&second)));
        qn_buf_reset(&first);
        qn_recipe_write(&f->recipe, false, &first);
        assert_ok(
            qn_recipe_parse(qn_buf_view(&first), "w.yaml", NULL, 0, &f->arena, &f->recipe, &f->err),
            &f->err);
        qn_buf_deinit(&first);
        qn_buf_deinit(&second);
    }
}

/* A name may hold characters that YAML knows only as escapes; JSON and column names of data bring them. */
static void written_texts_keep_every_character(void **state)
{
    fixture *f = *state;
    static const char name[] =
        "a\x7f\xc2\x80\xc2\x85\xc2\x9f\xc2\xa0\xc3\xa9\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa"
        "\xed\x9f\xbf\xef\xbb\xbf\xef\xbf\xbd\xef\xbf\xbe\xef\xbf\xbf\xf0\x9f\x98\x80 z";
    char json[200];
    snprintf(json, sizeof json, "{\"data\": {\"path\": \"x\", \"target\": \"%s\"}}", name);
    assert_ok(qn_recipe_parse(qn_str_from(json), "r.json", NULL, 0, &f->arena, &f->recipe, &f->err),
              &f->err);
    qn_buf text;
    qn_buf_init(&text, 0);
    qn_recipe_write(&f->recipe, false, &text);
    assert_ok(
        qn_recipe_parse(qn_buf_view(&text), "w.yaml", NULL, 0, &f->arena, &f->recipe, &f->err),
        &f->err);
    assert_string_equal(f->recipe.data.target, name);
    qn_buf_deinit(&text);
}

/* Words of the table against the names their owners use, in the order of their enums. */
static void choices_follow_their_enums(void **state)
{
    (void)state;
    qn_str word;
    const qn_recipe_key *task = &qn_recipe_keys[qn_recipe_key_find(QN_STR("task"))];
    for (int i = 0; qn_recipe_word(task->choices, i, &word); i++)
        assert_true(qn_str_is(word, qn_task_name((qn_task)i)));
    const qn_recipe_key *type = qn_recipe_column_key_find(QN_STR("type"));
    for (int i = 0; qn_recipe_word(type->choices, i, &word); i++)
        assert_true(qn_str_is(word, qn_type_name((qn_column_type)i)));
    const qn_recipe_key *by = &qn_recipe_keys[qn_recipe_key_find(QN_STR("split.by"))];
    for (int i = 0; qn_recipe_word(by->choices, i, &word); i++)
        assert_true(qn_str_is(word, qn_split_name((qn_split_by)i)));
    const qn_recipe_key *schedule = &qn_recipe_keys[qn_recipe_key_find(QN_STR("train.schedule"))];
    for (int i = 0; qn_recipe_word(schedule->choices, i, &word); i++)
        assert_true(qn_str_is(word, qn_nn_schedule_name((qn_nn_schedule_kind)i)));
    const qn_recipe_key *metric = &qn_recipe_keys[qn_recipe_key_find(QN_STR("train.metric"))];
    qn_metric found;
    for (int i = 1; qn_recipe_word(metric->choices, i, &word); i++)
        assert_true(qn_metric_find(word, &found));
    int count = 0;
    while (qn_recipe_keys[count].path)
        count++;
    assert_true(count < QN_RECIPE_KEYS_MAX);
}

static void schema_is_json_and_knows_every_key(void **state)
{
    fixture *f = *state;
    qn_buf text;
    qn_json_writer w;
    qn_json schema;
    qn_buf_init(&text, 0);
    qn_json_write_init(&w, &text);
    w.pretty = true;
    qn_recipe_write_schema(&w);
    assert_ok(qn_json_read(qn_buf_view(&text), NULL, &f->arena, &schema, &f->err), &f->err);
    const qn_json *top = qn_json_find(&schema, "properties");
    const qn_json *train = qn_json_find(qn_json_find(top, "train"), "properties");
    const qn_json *epochs = qn_json_find(train, "epochs");
    assert_int_equal(qn_json_find(epochs, "default")->integer, 20);
    assert_true(qn_str_is(qn_json_find(epochs, "type")->string, "integer"));
    assert_non_null(qn_json_find(qn_json_find(top, "model"), "properties"));
    assert_non_null(qn_json_find(qn_json_find(top, "columns"), "additionalProperties"));
    assert_null(qn_json_find(top, "tune"));
    const qn_json *model = qn_json_find(qn_json_find(top, "model"), "properties");
    const qn_json *kinds =
        qn_json_find(qn_json_find(qn_json_find(model, "layers"), "items"), "anyOf");
    const qn_json *units = NULL;
    for (int64_t i = 0; i < kinds->count && !units; i++) {
        const qn_json *lstm = qn_json_find(qn_json_find(&kinds->items[i], "properties"), "lstm");
        if (lstm)
            units = qn_json_find(qn_json_find(lstm, "properties"), "units");
    }
    assert_non_null(units);
    assert_true(qn_str_is(qn_json_at(qn_json_find(units, "type"), 0).string, "integer"));
    assert_int_equal(qn_json_find(units, "minimum")->integer, 1);
    qn_buf_deinit(&text);
}

static void recipe_is_told_from_data(void **state)
{
    fixture *f = *state;
    assert_true(qn_recipe_is("a.yaml"));
    assert_true(qn_recipe_is("a.yml"));
    assert_false(qn_recipe_is("a.csv"));
    const char *path = "/tmp/quern-recipe-test.json";
    assert_ok(qn_file_replace(path, " {\"quern\": 1}", 13, &f->err), &f->err);
    assert_true(qn_recipe_is(path));
    assert_ok(qn_file_replace(path, "{\"age\": 1}", 10, &f->err), &f->err);
    assert_false(qn_recipe_is(path));
    remove(path);
    assert_false(qn_recipe_is(path));
}

static void model_is_named_after_its_data(void **state)
{
    fixture *f = *state;
    static const char *const cases[][2] = {{"data/sales.csv", "sales"},
                                           {"images/", "images"},
                                           {"a/*.csv", "model"},
                                           {"x/train v2.csv.gz", "trainv2"},
                                           {".hidden", "hidden"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        qn_recipe recipe = {0};
        recipe.data.path = (qn_recipe_texts){&cases[i][0], 1};
        assert_string_equal(qn_recipe_model_name(&recipe, &f->arena), cases[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recipe_needs_only_data),
        cmocka_unit_test(recipe_reads_every_kind_of_value),
        cmocka_unit_test(recipe_reads_options_and_groups),
        cmocka_unit_test(recipe_reads_layers),
        cmocka_unit_test(masks_of_a_recipe_are_bounded),
        cmocka_unit_test(weights_of_labels_come_back_as_written),
        cmocka_unit_test(recipe_refuses_and_says_where),
        cmocka_unit_test(settings_win_over_environment_over_file),
        cmocka_unit_test(settings_name_their_flag_in_errors),
        cmocka_unit_test(recipe_written_reads_back),
        cmocka_unit_test(written_texts_keep_every_character),
        cmocka_unit_test(choices_follow_their_enums),
        cmocka_unit_test(schema_is_json_and_knows_every_key),
        cmocka_unit_test(recipe_is_told_from_data),
        cmocka_unit_test(model_is_named_after_its_data),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
