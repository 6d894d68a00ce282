#!/usr/bin/env python3
"""Targets that are arrays of an NPZ: numbers, shares, distributions and sequences of labels, from training to an answer."""
import json
import math
import random
import struct

from harness import WORK, Server, case, churn_table, expect, finish, newest, npz, npz_floats, ok, quern

ROWS, STEPS, MOST, CLASSES = 240, 8, 3, 4
CHANCE = random.Random(5)


def floats(values):
    return struct.pack(f"<{len(values)}f", *values)


def save(name, x_shape, x, y_shape, y, y_type="<f4"):
    data = floats(y) if y_type == "<f4" else struct.pack(f"<{len(y)}q", *y)
    npz(WORK / f"{name}_x.npz", {"x": ("<f4", x_shape, floats(x))})
    return npz(WORK / f"{name}.npz", {"x": ("<f4", x_shape, floats(x)), "y": (y_type, y_shape, data)})


def numbers(name, shape, of):
    """Rows of four numbers, and what `of` makes of each."""
    rows = [[CHANCE.gauss(0, 1) for _ in range(4)] for _ in range(ROWS)]
    return save(name, (ROWS, 4), sum(rows, []), (ROWS, *shape), sum((of(*row) for row in rows), []))


def speech(name="speech", rows=ROWS, steps=STEPS, fix=None):
    """Steps that light up where a label is said, two steps each and one of rest; labels from 1, filled up with -1."""
    x, y = [], []
    for row in range(rows):
        said = [CHANCE.randint(1, CLASSES - 1) for _ in range(CHANCE.randint(1, MOST))]
        for step in range(steps):
            lit = said[step // 3] if step // 3 < len(said) and step % 3 < 2 else 0
            x += [CHANCE.gauss(0, 0.1) + 2 * (lit == c) for c in range(CLASSES)]
        y += (said + [-1] * MOST)[:MOST]
    if fix:
        fix(y)
    return save(name, (rows, steps, CLASSES), x, (rows, MOST), y, "<i8")


def metrics(folder):
    return json.loads((newest(folder) / "metrics.json").read_text())


def train(data, *sets, out="model", code=0, model=None):
    words = ["train", data, "--target", "y", "--out", WORK / out, "--quiet"]
    words += ["--model", model] if model else []
    for word in sets:
        words += ["--set", word]
    return quern(*words) if code else ok(*words)


def truth(path):
    return npz_floats(path, "y")


@case("numbers_of_a_row_are_learned_and_measured_together")
def _():
    data = numbers("numbers", (3,), lambda a, b, c, d: [a + b, 5 - 2 * c, 0.1 * d])
    for model in ("linear", "mlp"):
        train(data, "train.epochs=40", "train.lr=0.01", out=model, model=model)
        found = metrics(WORK / model)
        assert found["task"] == "regression" and found["metric"] == "rmse"
        assert found["test"]["r2"]["value"] > 0.95, found["test"]
        assert found["baseline"]["r2"]["value"] < 0.01, found["baseline"]
    ok("predict", WORK / "linear", WORK / "numbers_x.npz", "--out", WORK / "answers.npz")
    ok("predict", WORK / "linear", data, "--out", WORK / "same.npz")  # the target may be there
    answers = npz_floats(WORK / "answers.npz", "prediction")
    assert len(answers) == 3 * ROWS and answers == npz_floats(WORK / "same.npz", "prediction")
    error = math.sqrt(sum((a - t) ** 2 for a, t in zip(answers, truth(data))) / len(answers))
    done = ok("eval", WORK / "linear", data, "--json").events()[-1]["metrics"]
    assert math.isclose(done["test"]["rmse"]["value"], error, rel_tol=1e-5), (done, error)


@case("images_are_learned_from_images")
def _():
    pixels = [CHANCE.random() for _ in range(ROWS * 36)]
    data = save("images", (ROWS, 6, 6, 1), pixels, (ROWS, 6, 6), [2 * v + 1 for v in pixels])
    train(data, "model.layers=[{conv2d: {filters: 1, kernel: 1}}]", "train.epochs=30", "train.lr=0.1", out="images")
    assert metrics(WORK / "images")["test"]["r2"]["value"] > 0.99
    ok("predict", WORK / "images", WORK / "images_x.npz", "--out", WORK / "answers.npz")
    assert len(npz_floats(WORK / "answers.npz", "prediction")) == ROWS * 36
    for model in ("cnn", "lstm"):  # whatever the network, its answer takes the target's shape
        flat = data if model == "cnn" else save("flat", (ROWS, 6, 6), pixels, (ROWS, 6, 6), pixels)
        train(flat, "train.epochs=1", out=model, model=model)
    expect(train(data, "model.layers=[{conv2d: {filters: 2, kernel: 1}}]", code=2), 2, r"gives \[6, 6, 2\], but the target is \[6, 6\]")


@case("counts_shares_and_distributions_have_their_losses")
def _():
    def distribution(a, b, c, d):
        sums = [math.exp(v) for v in (a, b, c)]
        return [v / sum(sums) for v in sums]
    sets = {
        "poisson": (numbers("counts", (2,), lambda a, b, c, d: [float(round(math.exp(a))), float(round(math.exp(b)))]), "prediction", "rmse"),
        "bce": (numbers("sides", (2,), lambda a, b, c, d: [float(a > 0), float(b > c)]), "probability", "loss"),
        "kl": (numbers("shares", (3,), distribution), "probability", "loss"),
    }
    for loss, (data, output, metric) in sets.items():
        train(data, f"train.loss={loss}", "train.epochs=20", out=loss)
        found = metrics(WORK / loss)
        assert found["metric"] == metric
        assert found["test"][metric]["value"] < 0.9 * found["baseline"][metric]["value"], (loss, found)
        ok("predict", WORK / loss, data, "--out", WORK / "answers.npz")
        answers = npz_floats(WORK / "answers.npz", output)
        assert min(answers) >= 0 and len(answers) == len(truth(data))
    assert all(abs(sum(answers[i:i + 3]) - 1) < 1e-5 for i in range(0, len(answers), 3))
    loss = sum(t * math.log(t / a) for a, t in zip(answers, truth(sets["kl"][0]))) / ROWS
    done = ok("eval", WORK / "kl", sets["kl"][0], "--json").events()[-1]["metrics"]
    assert math.isclose(done["test"]["loss"]["value"], loss, rel_tol=1e-3), (done, loss)


@case("sequences_of_labels_are_learned_without_their_places")
def _():
    data = speech()
    layers = "model.layers=[{gru: {units: 16, return_sequences: true}}, {dense: {units: auto}}]"
    train(data, "train.loss=ctc", layers, "train.epochs=40", "train.lr=0.02", out="speech")
    found = metrics(WORK / "speech")
    assert found["task"] == "transcribe" and found["metric"] == "loss"
    assert found["test"]["cer"]["value"] < 0.05 and found["baseline"]["cer"]["value"] == 1, found
    ok("predict", WORK / "speech", data, "--out", WORK / "answers.npz")
    assert len(npz_floats(WORK / "answers.npz", "probability")) == ROWS * STEPS * CLASSES
    ok("eval", WORK / "speech", data, "--fail-under", "cer=0.05")
    moved = speech("moved", fix=lambda y: y.__setitem__(slice(None), [v if v < 0 else v - 1 for v in y]))
    train(moved, "train.loss=ctc", f"train.blank={CLASSES - 1}", layers, "train.epochs=40", "train.lr=0.02", out="moved")
    assert metrics(WORK / "moved")["test"]["cer"]["value"] < 0.05
    for model in ("lstm", "transformer"):
        train(data, "train.loss=ctc", "train.epochs=1", out=model, model=model)


@case("the_recipe_that_is_written_gives_the_same_bits_again")
def _():
    data = speech("again")
    layers = "model.layers=[{gru: {units: 16, return_sequences: true}}, {dense: {units: auto}}]"
    train(data, "train.loss=ctc", layers, "train.epochs=3", out="again")
    first = (newest(WORK / "again") / "model.safetensors").read_bytes()
    ok("train", newest(WORK / "again") / "recipe.yaml", "--out", WORK / "more", "--threads", 1, "--quiet")
    assert (newest(WORK / "more") / "model.safetensors").read_bytes() == first


@case("targets_that_do_not_fit_are_named")
def _():
    def put(index, value):
        return lambda y: y.__setitem__(index, value)
    ctc, all_rows = "train.loss=ctc", "split.parts=[1,0,0]"
    row = 7 * MOST
    for name, fix, text in (("blank", put(row, 0), "'y' holds 0 in row 8; labels are 0 to 3 without 0, the blank"),
                            ("hole", put(slice(row, row + 3), [1, -1, 2]), "holds 2 behind a -1 in row 8")):
        expect(train(speech(name, fix=fix), ctc, all_rows, code=3), 3, text)
    short = speech("short", steps=3, fix=put(slice(row, row + 3), [2, 2, 3]))
    expect(train(short, ctc, all_rows, code=3), 3, "3 labels in row 8, which need 4 steps .*; the network gives 3")
    expect(train(speech(), ctc, code=2, model="mlp"), 2, "mlp gives one answer a row; ctc wants one for each step")
    table = ["train", churn_table(), "--target", "spend", "--out", WORK / "never", "--set"]
    expect(quern(*table, ctc), 3, r"'spend' holds one value a row.*NPZ whose target is an array \[rows, S\]")
    expect(quern(*table, "train.loss=kl"), 2, r"kl learns distributions: an NPZ whose target is an array")
    gaps = numbers("gaps", (2,), lambda a, b, c, d: [a, math.nan if b > 1.5 else b])
    expect(train(gaps, code=3), 3, "the target holds nan", r"row \d+, column 2 'y'")
    uneven = numbers("uneven", (2,), lambda a, b, c, d: [0.5, 0.6])
    expect(train(uneven, "train.loss=kl", code=3), 3, "kl takes distributions, whose numbers add up to 1")
    expect(train(uneven, "train.loss=ce", code=2), 2, "'y' holds an array a row, whose losses are mse, mae")
    expect(train(uneven, "task=multiclass", code=3), 3, r"array \[2\] a row; task multiclass learns one label a row")


@case("a_model_of_arrays_is_served_in_tensor_terms")
def _():
    data = numbers("served", (2,), lambda a, b, c, d: [a, b])
    train(data, "train.epochs=1", out="served", model="linear")
    expect(quern("predict", WORK / "served", WORK / "served_x.npz"), 2, "takes tensors", r"--out FILE\.npz")
    with Server(WORK / "served") as server:
        status, text = server.post("/v1/models/served:predict", {"instances": [[1, 2, 3, 4], [0, 0, 0, 0]]})
        assert status == 200 and [len(row) for row in json.loads(text)["predictions"]] == [2, 2], text
        status, text = server.get("/v2/models/served")
        assert json.loads(text)["outputs"] == [{"name": "prediction", "datatype": "FP32", "shape": [-1, 2]}], text


@case("the_schema_knows_the_losses_of_arrays")
def _():
    keys = json.loads(ok("schema", "recipe").out)["properties"]["train"]["properties"]
    assert "kl" in json.dumps(keys["loss"]) and "ctc" in json.dumps(keys["loss"]) and "blank" in keys


finish()
