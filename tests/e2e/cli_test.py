#!/usr/bin/env python3
"""The program as its users type it: every verb, help, exit codes, --json, files in and files out."""
import csv
import gzip
import io
import json
import re
import signal
import struct
import subprocess
import time

from harness import (BUILD, QUERN, WORK, adult, bars_images, case, churn_model, churn_table, expect, finish, newest, npz, npz_floats, ok,
                     png_bytes, price_table, quern,
                     shared, write)

VERBS = ["look", "init", "check", "train", "eval", "predict", "serve", "doctor", "schema"]


@case("version_and_help_name_every_verb")
def _():
    assert re.search(r"\d+\.\d+\.\d+", ok("--version").out)
    text = ok("help").out
    for verb in VERBS:
        assert re.search(rf"^\s*{verb}\b", text, re.M), f"'{verb}' is not in help:\n{text}"
    assert ok("--help").out == text


@case("each_verb_explains_itself_with_examples")
def _():
    for verb in VERBS:
        text = ok(verb, "--help").out
        assert ok("help", verb).out == text, verb
        assert text.count(f"quern {verb}") >= 3, f"{verb}: a usage line and two examples expected:\n{text}"


@case("each_verb_has_a_man_page_to_install")
def _():
    verbs = re.findall(r"^  (\w+) ", ok("help").out, re.M)
    for page, words in [("quern.1", []), *((f"quern-{verb}.1", [verb]) for verb in verbs)]:
        text = (BUILD / page).read_text()
        assert text.startswith(".TH QUERN") and ".SH EXAMPLES" in text or not words, page
        assert ok("help", *words, "--man").out == text, page
    for name, shell in {"quern.bash": "bash", "_quern": "zsh", "quern.fish": "fish"}.items():
        assert (BUILD / name).read_text() == ok("completion", shell).out, name


@case("eval_calls_a_whole_table_no_test_part")
def _():
    first = ok("eval", churn_model(), churn_table()).out.splitlines()[0]
    assert first == "binary, 400 rows", first


@case("weights_of_classes_move_the_answers")
def _():
    def share_of_yes(*words):
        out = WORK / "weighed"
        ok("train", churn_table(), "--target", "churn", "--model", "logistic", "--out", out, "--quiet", *words)
        rows = list(csv.DictReader(io.StringIO(ok("predict", out, churn_table()).out)))
        return sum(row["prediction"] == "yes" for row in rows) / len(rows)
    plain, more, less = (share_of_yes("--set", f"train.class_weight={value}") for value in ["none", "{yes: 8}", "{yes: 0.1}"])
    assert less < plain - 0.05 < plain + 0.05 < more, (less, plain, more)
    for value, text in [("{yep: 2}", "'yep' is not a label of 'churn'"), ("{yes: 0}", "1 labels of 'churn' weigh more than 0")]:
        expect(quern("train", churn_table(), "--target", "churn", "--set", f"train.class_weight={value}"), 2, text)
    expect(quern("train", price_table(), "--target", "price", "--set", "train.class_weight={low: 2}"), 2, "no classes to weigh")


@case("ignored_labels_are_no_labels")
def _():
    rows = "".join(f"{i % 10},{['no', 'yes', 'unsure'][i % 10 // 4]}\n" for i in range(300))
    table = write("unsure.csv", "x,sure\n" + rows)
    done = ok("train", table, "--target", "sure", "--model", "logistic", "--out", WORK / "unsure", "--set", "data.ignore=[unsure]")
    metrics = json.loads((newest(WORK / "unsure") / "metrics.json").read_text())
    assert metrics["task"] == "binary" and sum(metrics["rows"].values()) == 240, metrics["rows"]
    first = ok("eval", WORK / "unsure", table)
    assert "240 rows" in first.out.splitlines()[0], first
    expect(quern("train", table, "--target", "sure", "--set", "data.ignore=[unsrue]", "--out", WORK / "none"), 0,
           "0 rows of 'sure' have a label that data.ignore names")


@case("check_plan_shows_each_call_with_shape_and_kernel")
def _():
    done = ok("check", churn_table(), "--target", "churn", "--plan")
    assert re.search(r"^mlp: a step of \d+ rows$", done.out, re.M), done
    assert re.search(r"^ +\d+  \w+ +\[\d+, \d+\].* -> .*  \w+.* \d+ B \d+ flop", done.out, re.M), done
    assert re.search(r"^\d+ calls, \d+ B of memory", done.out, re.M), done
    event = ok("check", churn_table(), "--target", "churn", "--plan", "--json").events()[-1]
    assert event["ok"] and "calls," in event["plans"], event
    assert "plans" not in ok("check", churn_table(), "--target", "churn", "--json").events()[-1]


@case("predict_counts_categories_that_training_had_not")
def _():
    rows = write("elsewhere.csv", "age,city,spend,calls\n39,Atlantis,3.5,4\n40,Oslo,1,2\n41,Mu,1,2\n42,,1,2\n")
    done = ok("predict", churn_model(), rows)
    assert "note: 2 values are a category that training had not seen" in done.err, done
    assert "note" not in ok("predict", churn_model(), rows, "--quiet").err
    assert "category" not in ok("predict", churn_model(), churn_table()).err


@case("worst_examples_are_wrong_ones")
def _():
    report = (newest(churn_model()) / "report.html").read_text()
    part = report[report.index("<h2>Worst examples"):].split("<h2>")[1]
    assert re.search(r"\d+ of \d+ answers on the test part are wrong", part), part[:300]
    assert "class='bad'" in part and "class='good'" not in part
    table = write("plain.csv", "x,y\n" + "".join(f"{i},{'yes' if i > 150 else 'no'}\n" for i in range(300) if abs(i - 150) > 20))
    ok("train", table, "--target", "y", "--model", "logistic", "--out", WORK / "plain", "--quiet")
    report = (newest(WORK / "plain") / "report.html").read_text()
    assert "Worst examples" not in report
    part = report[report.index("<h2>Least certain examples"):].split("<h2>")[1]
    assert re.search(r"None of the \d+ answers on the test part is wrong", part) and "class='bad'" not in part


@case("a_report_of_large_numbers_has_no_exponents")
def _():
    table = write("dear.csv", "x,y,price\n" + "".join(f"{i},{i * 7 % 50},{50000 + 1900 * i + i * 7919 % 9000}\n" for i in range(200)))
    ok("train", table, "--target", "price", "--model", "linear", "--out", WORK / "dear", "--quiet")
    folder = newest(WORK / "dear")
    report, card = (folder / "report.html").read_text(), (folder / "README.md").read_text()
    worst = report[report.index("Worst examples"):report.index("<h2>Data")]
    assert re.search(r"said <b>\d{5,6}</b>, is <b>\d{5,6}</b>", worst), worst[:400]
    shown = report[:report.index("<h2>Recipe")]
    assert not re.search(r"\de\+0[0-6]\b", shown), re.findall(r">[^<]*\de\+0[0-6]\b[^<]*<", shown)
    assert re.search(r"\| rmse \| [\d.]+ \|", card), card


@case("words_for_what_was_piped_in_and_for_metrics")
def _():
    done = quern("predict", churn_model(), stdin="age,city\nold,Oslo\n")
    expect(done, 3, r"expected a number, got 'old' \(standard input, row 2, column 1 'age'\)")
    expect(quern("train", churn_table(), "--target", "churn", "--set", "train.metric=rmse", "--out", WORK / "none"), 2,
           "'rmse' is not a metric of task binary", "hint: these are: accuracy, balanced_accuracy, auroc")


@case("networks_are_described_with_their_sizes")
def _():
    text = ok("check", churn_table(), "--target", "churn").out
    assert "dense 1" in text and "auto" not in text, text


@case("lbfgs_trains_networks_too")
def _():
    out = WORK / "quasi"
    ok("train", churn_table(), "--target", "churn", "--model", "mlp", "--set", "train.optimizer=lbfgs", "--out", out)
    metrics = json.loads((newest(out) / "metrics.json").read_text())
    assert metrics["test"]["auroc"]["value"] > metrics["baseline"]["auroc"]["value"] + 0.1, metrics["test"]
    expect(quern("train", churn_table(), "--target", "churn", "--model", "mlp", "--set", "train.optimizer=lbfgs",
                 "--set", "train.dropout=0.2"), 2, "dropout makes each another one")


@case("keep_is_for_csv_and_says_so")
def _():
    expect(quern("predict", churn_model(), churn_table(), "--keep", "--format", "jsonl"), 2, "--keep")


@case("minmax_takes_clipped_values_from_0_to_1")
def _():
    rows = "".join(f"{i * 37 % 50 if i < 199 else 100000},{i % 2}\n" for i in range(200))
    table = write("outlier.csv", "x,y\n" + rows)
    ok("train", table, "--target", "y", "--model", "logistic", "--out", WORK / "outlier", "--quiet",
       "--set", "columns.x.scale=minmax", "--set", "columns.x.clip=[p1, p99]", "--set", "task=binary")
    fitted = json.loads((newest(WORK / "outlier") / "quern.json").read_text())["transforms"]["columns"][0]
    width = (fitted["clip_high"] - fitted["clip_low"]) * fitted["value"]["scale"]
    assert abs(width - 1) < 1e-6, fitted


@case("help_answers_within_ten_milliseconds")
def _():
    best = min(ok("train", "--help").seconds for _ in range(15))
    assert best < 0.010, f"{best * 1e3:.1f} ms"


@case("no_verb_is_wrong_use")
def _():
    expect(quern(), 2)


@case("look_says_types_and_why")
def _():
    text = ok("look", churn_table()).out
    for word in ("400", "age", "city", "spend", "churn", "number", "category"):
        assert word in text, f"'{word}' is missing:\n{text}"


@case("look_json_ends_with_a_result")
def _():
    events = ok("look", churn_table(), "--json").events()
    assert events[-1]["event"] == "result", events[-1]


@case("look_reads_a_table_without_a_header")
def _():
    text = ok("look", shared("adult", "adult-train.csv")).out
    assert "32,561" in text or "32561" in text, text
    assert re.search(r"\bc15\b", text), text


@case("schema_is_json_schema")
def _():
    tree = json.loads(ok("schema", "recipe").out)
    assert "properties" in tree and "data" in tree["properties"], list(tree)


@case("schema_shows_one_layer_or_those_of_a_word")
def _():
    every, pools = ok("schema", "layers").out, ok("schema", "layers", "pool").out
    heads = [line for line in pools.splitlines() if not line.startswith(" ")]
    assert len(heads) > 9 and all("pool" in line.split(":")[0] for line in heads) and len(pools) < len(every), heads
    assert ok("schema", "layers", "lstm").out.startswith("lstm: ")
    expect(quern("schema", "layers", "lstn"), 2, "unknown layer 'lstn'", "did you mean 'lstm'")
    expect(quern("schema", "recipe", "lstm"), 2, "lstm")


@case("init_writes_a_recipe_that_checks_and_trains_to_the_same_bits")
def _():
    table = churn_table()
    text = ok("init", table, "--target", "churn").out
    assert "#" in text and "quern: 1" in text, text
    recipe = write("init.yaml", text)
    ok("check", recipe)
    ok("train", table, "--target", "churn", "--out", WORK / "zero", "--set", "train.epochs=3", "--quiet")
    ok("train", recipe, "--out", WORK / "init", "--set", "train.epochs=3", "--quiet")
    weights = [newest(WORK / name).joinpath("model.safetensors").read_bytes() for name in ("zero", "init")]
    assert weights[0] == weights[1]


@case("the_stored_recipe_trains_to_the_same_bits")
def _():
    first = newest(churn_model())
    ok("train", first / "recipe.yaml", "--out", WORK / "again", "--quiet")
    assert (first / "model.safetensors").read_bytes() == (newest(WORK / "again") / "model.safetensors").read_bytes()


@case("a_model_is_a_folder_of_known_files")
def _():
    folder = newest(churn_model())
    for name in ("quern.json", "model.safetensors", "recipe.yaml", "metrics.json", "README.md", "report.html", "run.jsonl"):
        assert (folder / name).stat().st_size > 0, name
    assert not (folder / "checkpoint").exists()
    for line in (folder / "run.jsonl").read_text().splitlines():
        json.loads(line)


@case("metrics_stand_beside_the_baseline_with_intervals")
def _():
    metrics = json.loads((newest(churn_model()) / "metrics.json").read_text())
    assert metrics["task"] == "binary", metrics["task"]
    test = metrics["test"]["auroc"]
    assert test["low"] <= test["value"] <= test["high"], test
    assert test["value"] > 0.85, test
    assert metrics["baseline"], metrics
    rows = metrics["rows"]
    assert rows["train"] + rows["valid"] + rows["test"] == 400, rows


@case("the_report_is_one_offline_file_without_script")
def _():
    text = (newest(churn_model()) / "report.html").read_text()
    assert "<svg" in text
    assert "<script" not in text
    assert not re.search(r"""(?:src|href)\s*=\s*["']https?:""", text)


@case("regression_beats_the_mean")
def _():
    ok("train", price_table(), "--target", "price", "--out", WORK / "price", "--quiet")
    metrics = json.loads((newest(WORK / "price") / "metrics.json").read_text())
    assert metrics["task"] == "regression"
    assert metrics["test"]["r2"]["value"] > 0.95, metrics["test"]


@case("training_again_adds_a_version")
def _():
    table = churn_table(name="versions.csv")
    for _ in range(2):
        ok("train", table, "--target", "churn", "--out", WORK / "versions", "--set", "train.epochs=1", "--quiet")
    assert sorted(path.name for path in (WORK / "versions").iterdir() if path.name.isdigit()) == ["1", "2"]


@case("train_json_streams_events_and_ends_with_a_result")
def _():
    done = ok("train", churn_table(), "--target", "churn", "--out", WORK / "events", "--set", "train.epochs=2", "--json")
    events = done.events()
    assert events[-1]["event"] == "result", events[-1]
    assert len(events) > 3


@case("results_on_stdout_everything_else_on_stderr")
def _():
    done = ok("train", churn_table(), "--target", "churn", "--out", WORK / "quiet", "--set", "train.epochs=1", "--quiet")
    assert done.err.strip() == "", done.err


@case("dry_run_prints_the_recipe_with_origins_and_trains_nothing")
def _():
    done = ok("train", churn_table(), "--target", "churn", "--out", WORK / "dry", "--dry-run", "--set", "train.epochs=3",
              env={"QUERN_SEED": "9"})
    assert "epochs" in done.out and re.search(r"flag|--set", done.out), done.out
    assert not (WORK / "dry").exists()


@case("eval_scores_and_fails_under")
def _():
    events = ok("eval", churn_model(), churn_table(), "--json").events()
    assert events[-1]["event"] == "result"
    ok("eval", churn_model(), churn_table(), "--fail-under", "auroc=0.5")
    expect(quern("eval", churn_model(), churn_table(), "--fail-under", "auroc=0.99999"), 1, "auroc")


@case("predict_answers_each_row_in_order")
def _():
    table = churn_table()
    rows = list(csv.DictReader(io.StringIO(ok("predict", churn_model(), table).out)))
    assert len(rows) == 400
    assert list(rows[0]) == ["prediction", "probability_no", "probability_yes"], list(rows[0])
    for row in rows:
        high = max(("no", "yes"), key=lambda label: float(row[f"probability_{label}"]))
        assert row["prediction"] == high, row
        assert abs(float(row["probability_no"]) + float(row["probability_yes"]) - 1) < 1e-5, row


@case("predict_does_not_need_the_target")
def _():
    lines = churn_table().read_text().splitlines()
    without = write("no-target.csv", "\n".join(line.rsplit(",", 1)[0] for line in lines) + "\n")
    assert ok("predict", churn_model(), without).out == ok("predict", churn_model(), churn_table()).out


@case("predict_keeps_columns_and_writes_files")
def _():
    out = WORK / "kept.csv"
    ok("predict", churn_model(), churn_table(), "--keep", "--out", out)
    rows = list(csv.DictReader(out.open()))
    assert list(rows[0])[:2] == ["age", "city"] and "prediction" in rows[0], list(rows[0])


@case("predict_writes_json_lines")
def _():
    out = WORK / "rows.jsonl"
    ok("predict", churn_model(), churn_table(), "--out", out)
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(lines) == 400
    assert set(lines[0]) == {"prediction", "probability"} and set(lines[0]["probability"]) == {"no", "yes"}, lines[0]


@case("predict_reads_standard_input")
def _():
    text = churn_table().read_text()
    assert ok("predict", churn_model(), stdin=text).out == ok("predict", churn_model(), churn_table()).out


@case("json_lines_are_data_as_a_table_is")
def _():
    rows = list(csv.DictReader(io.StringIO(churn_table().read_text())))
    lines = write("churn.jsonl", "".join(json.dumps({key: value or None for key, value in row.items()}) + "\n" for row in rows))
    expected = ok("predict", churn_model(), churn_table()).out
    assert ok("predict", churn_model(), lines).out == expected
    assert ok("predict", churn_model(), stdin=lines.read_text()).out == expected
    numbers = write("churn-numbers.jsonl", "".join(
        json.dumps({key: float(value) if value and key in ("age", "spend", "calls") else value or None for key, value in row.items()}) + "\n"
        for row in rows))
    assert ok("predict", churn_model(), numbers).out == expected
    ok("train", numbers, "--target", "churn", "--out", WORK / "from-lines", "--model", "logistic")
    assert ok("predict", WORK / "from-lines", numbers).out.count("\n") == len(rows) + 1


@case("a_reader_that_has_seen_enough_is_no_error_to_tell")
def _():
    line = f"{QUERN} predict {churn_model()} {churn_table()} --format jsonl | head -n 1"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60)
    assert done.stderr == "" and json.loads(done.stdout), done


@case("check_names_the_networks_that_would_be_trained")
def _():
    out = ok("check", churn_table(), "--target", "churn").out
    assert out.startswith("ok: ") and "logistic (" in out and "mlp (" in out, out
    assert not (WORK / "models" / "churn").exists() or "checkpoint" not in str(list((WORK / "models" / "churn").iterdir()))


@case("a_pipe_is_data_too")
def _():
    for verb in (f"look <(cat {churn_table()})", f"predict {churn_model()} <(cat {churn_table()})"):
        done = subprocess.run(["bash", "-c", f"{QUERN} {verb}"], capture_output=True, text=True, cwd=WORK)
        assert done.returncode == 0 and done.stdout, f"{verb}: {done.stderr}"


@case("predict_does_not_depend_on_its_neighbours")
def _():
    lines = churn_table().read_text().splitlines()
    whole = ok("predict", churn_model(), churn_table()).out.splitlines()
    for at in (1, 17, 400):
        alone = write("one.csv", lines[0] + "\n" + lines[at] + "\n")
        assert ok("predict", churn_model(), alone).out.splitlines()[1] == whole[at], at


@case("missing_and_unseen_values_still_get_an_answer")
def _():
    odd = write("odd.csv", "age,city,spend,calls\n,Atlantis,,3\n41,,12.5,\n")
    rows = list(csv.DictReader(io.StringIO(ok("predict", churn_model(), odd).out)))
    assert len(rows) == 2 and all(row["prediction"] in ("yes", "no") for row in rows), rows


@case("images_in_idx_files_train_and_predict")
def _():
    folder = bars_images("bars")
    recipe = write("bars.yaml", f"quern: 1\nname: bars\ndata: {{path: {folder}}}\nmodel: {{type: cnn}}\ntrain: {{epochs: 2}}\n")
    ok("train", recipe, "--out", WORK / "bars-model", "--quiet")
    metrics = json.loads((newest(WORK / "bars-model") / "metrics.json").read_text())
    assert metrics["test"]["accuracy"]["value"] > 0.95, metrics["test"]


@case("pictures_are_answered_alike_from_idx_tables_and_arrays")
def _():
    folder, model = WORK / "bars", WORK / "bars-model"
    pixels = gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())[16:16 + 10 * 784]
    expected = ok("predict", model, folder).out.splitlines()
    for i in range(10):
        write(f"pics/{i}.png", png_bytes(28, 28, pixels[i * 784:(i + 1) * 784]))
    table = write("pics.csv", "image\n" + "".join(f"pics/{i}.png\n" for i in range(10)))
    test = expected[1 + 600:1 + 610]
    assert ok("predict", model, table).out.splitlines()[1:] == test, test
    probabilities = [float(cell) for line in test for cell in line.split(",")[1:]]
    for name, dtype, shape, data in (("bytes", "|u1", [10, 28, 28], pixels), ("deep", "|u1", [10, 28, 28, 1], pixels),
                                     ("floats", "<f4", [10, 28, 28, 1], struct.pack(f"<{len(pixels)}f", *(p / 255 for p in pixels)))):
        ok("predict", model, npz(WORK / f"{name}.npz", {"image": (dtype, shape, data)}), "--out", WORK / "answers.npz")
        got = npz_floats(WORK / "answers.npz", "probability")
        assert max(abs(a - b) for a, b in zip(got, probabilities, strict=True)) < 1e-5, name
    one = write("one-small.csv", "image\npics/small.png\n")
    write("pics/small.png", png_bytes(14, 14, bytes(196)))
    assert len(ok("predict", model, one).out.splitlines()) == 2
    assert "PNG" not in ok("look", table).out


@case("pictures_that_cannot_be_read_say_their_row")
def _():
    write("pics/cut.png", png_bytes(28, 28, bytes(784))[:60])
    for name, where in (("cut", r"damaged.*row 3, column 1 'image'"), ("absent", r"absent.png.*row 3, column 1 'image'"),
                        ("../up", r"not a path beside the table.*row 3")):
        table = write("bad-pics.csv", f"image\npics/0.png\npics/{name}.png\n")
        expect(quern("predict", WORK / "bars-model", table), 5 if name == "absent" else 3, where)
    for name, shape, text in (("image", [1, 20, 28], r"expects shape \[B, 28, 28, 1\], got \[1, 20, 28\]"),
                              ("img", [1, 28, 28], "'image' of shape .* is missing; given is img")):
        data = npz(WORK / "bad.npz", {name: ("|u1", shape, bytes(shape[1] * shape[2]))})
        expect(quern("predict", WORK / "bars-model", data, "--out", WORK / "never.npz"), 3, text, "bad.npz")


@case("check_accepts_a_model_and_finds_a_changed_byte")
def _():
    folder = WORK / "checked"
    subprocess.run(["cp", "-r", str(newest(churn_model())), str(folder)], check=True)
    ok("check", folder)
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    done = quern("check", folder)
    assert done.code == 1 and "model.safetensors" in done.err + done.out, done


@case("doctor_tests_this_machine_in_five_seconds")
def _():
    done = ok("doctor")
    assert done.seconds < 10, f"{done.seconds:.1f} s"
    assert re.search(r"avx|neon|portable", done.out, re.I), done.out


@case("resume_without_a_checkpoint_says_so_and_begins")
def _():
    done = ok("train", churn_table(), "--target", "churn", "--out", WORK / "fresh", "--resume", "--set", "train.epochs=1")
    assert "no checkpoint" in done.err, done.err


@case("a_time_budget_ends_training_with_a_model")
def _():
    done = ok("train", churn_table(), "--target", "churn", "--model", "mlp", "--set", "train.epochs=100000", "--set", "train.early_stop=0",
              "--time", "1s", "--out", WORK / "in-time")
    assert done.seconds < 8 and "time budget of 1 s is used" in done.err, done
    folder = newest(WORK / "in-time")
    kept = next(one for one in json.loads((folder / "metrics.json").read_text())["candidates"] if one["chosen"])
    events = [json.loads(line) for line in (folder / "run.jsonl").read_text().splitlines()]
    epochs = [event for event in events if event["event"] == "epoch"]
    assert len(epochs) > 20 and kept["valid"] == max(event["value"] for event in epochs)
    assert kept["best_epoch"] < len(epochs), "the last weights were kept, not the best"


@case("an_interrupt_keeps_what_was_learned")
def _():
    recipe = write("long.yaml", f"quern: 1\nname: long\ndata: {{path: {churn_table(4000, name='long.csv')}, target: churn}}\n"
                                "model: {type: mlp}\ntrain: {epochs: 100000, early_stop: 0}\n")
    process = subprocess.Popen([QUERN, "train", str(recipe), "--out", str(WORK / "long")], stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, text=True, cwd=WORK)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=60)[1]
    assert process.returncode == 130, f"exit {process.returncode}: {err[-800:]}"
    assert "a second signal stops at once" in err, err[-800:]
    assert (newest(WORK / "long") / "report.html").exists()
    ok("predict", WORK / "long", churn_table())


@case("penguins_train_without_a_word_of_configuration")
def _():
    table = shared("penguins", "penguins.csv")
    target = "species" if "species" in table.read_text().splitlines()[0] else table.read_text().splitlines()[0].split(",")[0]
    ok("train", table, "--target", target, "--out", WORK / "penguins", "--quiet")
    metrics = json.loads((newest(WORK / "penguins") / "metrics.json").read_text())
    assert metrics["task"] == "multiclass"
    assert metrics["test"]["accuracy"]["value"] > 0.9, metrics["test"]


@case("a_threads_flag_does_not_change_the_weights")
def _():
    table = adult("test")
    for threads in (1, 2):
        ok("train", table, "--target", "income", "--threads", threads, "--out", WORK / f"threads{threads}", "--set", "train.epochs=1",
           "--set", "model.type=mlp", "--quiet")
    weights = [(newest(WORK / f"threads{threads}") / "model.safetensors").read_bytes() for threads in (1, 2)]
    assert weights[0] == weights[1]


finish()
