#!/usr/bin/env python3
"""Networks from ONNX files learn on: `model: {file: ...}` in a recipe, from the first answer to the file written again.

tests/model/onnx/cnn.onnx, in PyTorch's form, takes images [batch, 1, 8, 8] and gives two scores.
"""
import json
import math
import random
import struct
import urllib.request

from harness import ROOT, WORK, Server, case, expect, finish, newest, npz, npz_floats, ok, quern, write

CNN = ROOT / "tests" / "model" / "onnx" / "cnn.onnx"
LSTM = ROOT / "tests" / "model" / "onnx" / "lstm.onnx"
ROWS = 240


def images(name, channels_first=False, size=8, classes=2):
    """Images whose class is the quarter, half or place of a brighter band, as arrays x and y."""
    chance = random.Random(11)
    pixels, labels = [], []
    for _ in range(ROWS):
        label = chance.randrange(classes)
        image = [chance.gauss(0, 0.3) for _ in range(size * size)]
        for at in range(size * size):
            if at // size * classes // size == label:
                image[at] += 1
        pixels += image
        labels.append(label)
    shape = (ROWS, 1, size, size) if channels_first else (ROWS, size, size, 1)
    x = ("<f4", shape, struct.pack(f"<{len(pixels)}f", *pixels))
    npz(WORK / f"{name}_x.npz", {"x": x})
    return npz(WORK / f"{name}.npz", {"x": x, "y": ("<i8", (ROWS,), struct.pack(f"<{ROWS}q", *labels))})


def recipe(name, data, model, train="epochs: 6, lr: 0.01"):
    return write(f"{name}.yaml", f"quern: 1\nname: {name}\ndata: {{path: [{data}], target: y}}\nmodel: {model}\ntrain: {{{train}}}\n")


def weights(folder):
    """Name -> bytes of the newest version's weights."""
    data = (newest(folder) / "model.safetensors").read_bytes()
    size = struct.unpack("<q", data[:8])[0]
    return {name: data[8 + size:][slice(*entry["data_offsets"])] for name, entry in json.loads(data[8:8 + size]).items() if name != "__metadata__"}


def accuracy(folder):
    return json.loads((newest(folder) / "metrics.json").read_text())["test"]["accuracy"]["value"]


def softmax(pair):
    top = max(pair)
    parts = [math.exp(score - top) for score in pair]
    return [part / sum(parts) for part in parts]


@case("a_file_learns_on_and_is_used_like_any_model")
def _():
    for layout in (False, True):
        data = images(f"bands{layout:d}", layout)
        folder, out = WORK / f"tuned{layout:d}", WORK / f"tuned{layout:d}.npz"
        ok("check", recipe(f"tuned{layout:d}", data, f"{{file: {CNN}}}"))
        ok("train", WORK / f"tuned{layout:d}.yaml", "--out", folder, "--quiet")
        assert accuracy(folder) > 0.95, accuracy(folder)
        ok("eval", folder, data, "--fail-under", "accuracy=0.95")
        ok("predict", folder, WORK / f"bands{layout:d}_x.npz", "--out", out)
        ok("convert", folder, WORK / "tuned.onnx")
        ok("check", folder)
        ok("check", WORK / "tuned.onnx")
        ok("predict", WORK / "tuned.onnx", WORK / f"bands{layout:d}_x.npz", "--out", WORK / "again.npz")
        first, second = npz_floats(out, "probability"), npz_floats(WORK / "again.npz", "probability")
        assert len(first) == 2 * ROWS and all(abs(a - b) < 1e-5 for a, b in zip(first, second))
    with Server(WORK / "tuned1") as server:
        x = npz_floats(WORK / "bands1_x.npz", "x")[:64]
        body = {"signature_name": "tensor", "instances": [{"x": [[list(x[row:row + 8]) for row in range(0, 64, 8)]]}]}
        request = urllib.request.Request(f"{server.url}/v1/models/tuned1:predict", json.dumps(body).encode(), {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as reply:
            answer = json.load(reply)["predictions"][0]
        served = answer if isinstance(answer, list) else answer["probability"]
        assert all(abs(a - b) < 1e-5 for a, b in zip(served, second[:2])), (served, second[:2])


@case("training_begins_where_the_file_is")
def _():
    data = images("begin", True)
    ok("train", recipe("begin", data, f"{{file: {CNN}, freeze: ['conv', 'bn.*']}}", "epochs: 1, lr: 1e-12, weight_decay: 0"), "--out", WORK / "begin", "--quiet")
    ok("predict", WORK / "begin", WORK / "begin_x.npz", "--out", WORK / "begin_out.npz")
    ok("predict", CNN, WORK / "begin_x.npz", "--out", WORK / "file_out.npz")
    probability, scores = npz_floats(WORK / "begin_out.npz", "probability"), npz_floats(WORK / "file_out.npz", "y")
    for row in range(ROWS):
        expected = softmax(scores[2 * row:2 * row + 2])
        assert abs(probability[2 * row] - expected[0]) < 1e-4, (row, probability[2 * row], expected)


@case("frozen_weights_stay_and_a_new_head_learns_other_classes")
def _():
    data = images("three", True, classes=3)
    expect(quern("train", recipe("misfit", data, f"{{file: {CNN}}}"), "--out", WORK / "misfit"), 2, r"2 scores.*3 classes.*cnn\.onnx", r"output: 'e'")
    head = f"{{file: {CNN}, output: e, freeze: all, layers: [{{dense: {{units: auto}}}}]}}"
    ok("train", recipe("frozen", data, head), "--out", WORK / "frozen", "--quiet")
    ok("train", recipe("still", data, head, "epochs: 1, lr: 1e-12, weight_decay: 0"), "--out", WORK / "still", "--quiet")
    after, before = weights(WORK / "frozen"), weights(WORK / "still")
    assert set(after) == {"conv.weight", "conv.bias", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var", "added.0.weight", "added.0.bias"}
    same = {name for name in after if after[name] == before[name]}
    assert same == {name for name in after if not name.startswith("added")}, same
    assert accuracy(WORK / "frozen") > 0.9, accuracy(WORK / "frozen")
    text = (newest(WORK / "frozen") / "recipe.yaml").read_text()
    assert "output: e" in text and "freeze:" in text, text
    ok("train", newest(WORK / "frozen") / "recipe.yaml", "--out", WORK / "once-more", "--quiet")
    assert weights(WORK / "once-more") == after


@case("statistics_move_unless_they_are_frozen")
def _():
    data = images("moving", True)
    ok("train", recipe("moving", data, f"{{file: {CNN}}}"), "--out", WORK / "moving", "--quiet")
    ok("train", recipe("resting", data, f"{{file: {CNN}, freeze: bn}}"), "--out", WORK / "resting", "--quiet")
    ones = struct.pack("<4f", 1, 1, 1, 1)
    assert weights(WORK / "resting")["bn.running_var"] == ones
    assert weights(WORK / "moving")["bn.running_var"] != ones


@case("numbers_are_learned_in_their_own_units")
def _():
    chance = random.Random(2)
    rows = [[chance.gauss(0, 1) for _ in range(3)] for _ in range(200)]
    lines = [",".join(map(str, row)) + f",{100 + 20 * row[0] - 5 * row[2]}" for row in rows]
    table = write("units.csv", "a,b,c,y\n" + "\n".join(lines) + "\n")
    ok("train", write("one.yaml", f"data: {{path: [{table}], target: y}}\nmodel: {{type: linear}}\ncolumns: {{a: {{scale: none, log: false, bins: false}}, "
                      "b: {scale: none, log: false, bins: false}, c: {scale: none, log: false, bins: false}}\n"), "--out", WORK / "one", "--quiet")
    ok("convert", WORK / "one", WORK / "one.onnx")
    ok("train", write("two.yaml", f"data: {{path: [{table}], target: y}}\nmodel: {{file: {WORK}/one.onnx}}\ntrain: {{epochs: 1, lr: 1e-12}}\n"),
       "--out", WORK / "two", "--quiet")
    value = json.loads((newest(WORK / "two") / "metrics.json").read_text())["test"]["rmse"]["value"]
    assert value < 1, value


@case("what_does_not_fit_is_said_with_input_and_shape")
def _():
    data = images("wide", size=10)
    model = f"{{file: {CNN}}}"
    expect(quern("train", recipe("wide", data, model), "--out", WORK / "no"), 2, r"input 'x' is \[batch, 1, 8, 8\].*\[10, 10, 1\].*cnn\.onnx")
    expect(quern("train", recipe("flat", images("flat"), f"{{file: {LSTM}}}"), "--out", WORK / "no"), 2, r"input 'x' is \[batch, 6, 3\].*64")
    fine = images("fine")
    expect(quern("train", recipe("pattern", fine, f"{{file: {CNN}, freeze: fc}}"), "--out", WORK / "no"), 2, r"no weight matches 'fc'", r"conv\.weight")
    expect(quern("train", recipe("end", fine, f"{{file: {CNN}, output: z}}"), "--out", WORK / "no"), 2, r"no node makes a value 'z'", r"from the end: y, e, d")
    expect(quern("train", recipe("both", fine, f"{{file: {CNN}, type: mlp}}"), "--out", WORK / "no"), 2, r"model\.type is not 'file'")
    expect(quern("train", recipe("alone", fine, "{type: mlp, freeze: all}"), "--out", WORK / "no"), 2, r"model\.freeze.*missing")
    expect(quern("train", recipe("none", fine, "{type: file}"), "--out", WORK / "no"), 2, r"model\.file is missing")
    expect(quern("train", recipe("absent", fine, "{file: absent.onnx}"), "--out", WORK / "no"), 5, r"absent\.onnx")
    expect(quern("train", recipe("table", fine, f"{{file: {fine}}}"), "--out", WORK / "no"), 3, r"not an ONNX file|fine\.npz")


finish()
