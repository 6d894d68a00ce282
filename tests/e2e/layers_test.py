#!/usr/bin/env python3
"""Networks of one's own in a recipe: `model.layers` over data of several kinds, and losses and optimisers chosen by name."""
import json
import random
import struct

from harness import WORK, case, churn_table, expect, finish, newest, npz, npz_floats, ok, quern, write

STEPS = 8


def words(name, rows=400, letters=10, dtype="<i4"):
    """Integers 1 to letters - 1 with zeros behind them; the class is whether the largest letter occurs."""
    chance = random.Random(5)
    code = {"<i4": "i", "<i8": "q", "<f4": "f"}[dtype]
    x, y = [], []
    for _ in range(rows):
        length = chance.randint(2, STEPS)
        word = [chance.randint(1, letters - 1) for _ in range(length)]
        x += word + [0] * (STEPS - length)
        y.append(int(letters - 1 in word))
    arrays = {"x": (dtype, (rows, STEPS), struct.pack(f"<{len(x)}{code}", *x))}
    npz(WORK / f"{name}_x.npz", arrays)
    return npz(WORK / f"{name}.npz", {**arrays, "y": ("<i8", (rows,), struct.pack(f"<{rows}q", *y))})


def recipe(name, data, layers, train="epochs: 4"):
    return write(f"{name}.yaml", f"quern: 1\nname: {name}\ndata: {{path: [{data}], target: y}}\nmodel: {{layers: {layers}}}\n"
                 f"train: {{{train}}}\n")


def metric(folder, name):
    return json.loads((newest(folder) / "metrics.json").read_text())["test"][name]["value"]


READER = "[{embedding: {count: 10, size: 8, mask_zero: true}}, {lstm: {units: 16, bidirectional: true}}, {dense: {units: auto}}]"


@case("integers_of_an_array_begin_with_an_embedding")
def _():
    for dtype in ("<i4", "<i8", "<f4"):
        name = "words" + dtype[1:]
        data = words(name, dtype=dtype)
        done = ok("train", recipe(name, data, READER, "epochs: 12, lr: 0.01"), "--out", WORK / name)
        assert "embedding 10 8 mask_zero, lstm 16 bidirectional, dense 1" in done.out, done
        assert metric(WORK / name, "accuracy") > 0.95, done
        ok("predict", WORK / name, WORK / f"{name}_x.npz", "--out", WORK / "out.npz")
        assert len(npz_floats(WORK / "out.npz", "probability")) == 800


@case("integers_of_an_array_are_numbers_to_other_networks")
def _():
    data = words("numbers")
    for kind in ("mlp", "lstm", "transformer"):
        ok("train", data, "--target", "y", "--model", kind, "--set", "train.epochs=1", "--out", WORK / kind, "--quiet")


@case("integers_beyond_an_embedding_are_refused")
def _():
    data = words("many")
    small = READER.replace("count: 10", "count: 9")
    expect(quern("train", recipe("many", data, small), "--out", WORK / "never"), 3, r"embedding takes whole numbers from 0 to 8; 'x' holds 9",
           r"raise count")
    table = write("scaled.csv", "a,b,y\n" + "".join(f"{i % 7},{i % 5},{i % 3}\n" for i in range(300)))
    expect(quern("train", recipe("scaled", table, "[{one_hot: {count: 7}}, flatten, {dense: {units: auto}}]"), "--out", WORK / "never"), 3,
           r"one_hot takes whole numbers from 0 to 6; 'x' holds -", r"scale: none")


@case("a_gap_in_an_array_is_refused_by_row_before_training")
def _():
    values = [float(i % 5) for i in range(60 * 4)]
    for bad, text in ((float("nan"), "NaN"), (float("inf"), "infinity")):
        values[4 * 41 + 2] = bad
        data = npz(WORK / "gaps.npz", {"x": ("<f4", (60, 4, 1), struct.pack("<240f", *values)),
                                       "y": ("<i8", (60,), struct.pack("<60q", *(i % 2 for i in range(60))))})
        expect(quern("train", data, "--target", "y", "--model", "lstm", "--set", "split.parts=[1,0,0]", "--out", WORK / "never"), 3,
               rf"'x' holds {text} in row 42", "fill gaps")


@case("weights_beyond_the_budget_are_refused_before_they_are_made")
def _():
    data = words("wide", dtype="<f4")
    for units, text in ((10**6, r"dense 1000000, dense 1 and what the optimizer keeps of them need \d+ MiB; the memory budget is 64 MiB"),
                        (20000, r"need|budget")):
        layers = f"[{{dense: {{units: {units}}}}}, {{dense: {{units: auto}}}}]"
        expect(quern("train", recipe("wide", data, layers), "--mem", "64MiB", "--set", "train.batch=400", "--out", WORK / "never"), 4, text,
               "--mem")


@case("layers_are_described_by_what_was_written")
def _():
    data = words("described")
    layers = "[{reshape: {shape: [8, 1, 1]}}, {conv2d: {filters: 4, kernel: [3, 1], bias: false}}, flatten, {dense: {units: auto}}]"
    done = ok("train", recipe("described", data.parent / words("floats", dtype="<f4").name, layers, "epochs: 1"), "--out", WORK / "described")
    assert "reshape [8,1,1], conv2d 4 [3,1] no bias, flatten, dense 1" in done.out, done


@case("optimizers_learn_at_their_own_rate")
def _():
    for optimizer, rate in (("lion", 0.0005), ("muon", 0.005), ("adamw", 0.002), ("sgd", 0.01)):
        ok("train", churn_table(), "--target", "churn", "--model", "mlp", "--set", "train.epochs=1", "--set", f"train.optimizer={optimizer}",
           "--out", WORK / optimizer, "--quiet")
        text = (newest(WORK / optimizer) / "recipe.yaml").read_text()
        assert f"  lr: {rate}\n" in text, text


def class_loss(loss, *settings, layers=None):
    """Accuracy and balanced accuracy of a net for the churn table."""
    out = WORK / "class-loss"
    words = [word for setting in (f"train.loss={loss}", "train.epochs=25", "train.lr=0.02", *settings) for word in ("--set", setting)]
    ok("train", churn_table(), "--target", "churn", *(["--set", f"model.layers={layers}"] if layers else ["--model", "mlp"]), *words,
       "--out", out, "--quiet")
    return metric(out, "auroc"), metric(out, "log_loss"), metric(out, "balanced_accuracy")


@case("two_classes_have_one_score_or_two_for_every_loss_that_takes_them")
def _():
    one, two = '[{"dense": {"units": 1}}]', '[{"dense": {"units": 2}}]'
    for loss in ("bce", "ce", "nll", "focal"):
        assert class_loss(loss, layers=one)[0] > 0.9 and class_loss(loss, layers=two)[0] > 0.9, loss
    assert class_loss("ce", layers=one) == class_loss("bce", layers=one)
    for loss in ("hinge", "squared_hinge"):
        assert class_loss(loss, layers=one)[0] > 0.85, loss
        expect(quern("train", churn_table(), "--target", "churn", "--set", f"train.loss={loss}", "--set", f"model.layers={two}", "--out",
                     WORK / "never"), 2, rf"{loss} takes one score; the last layer gives 2", r"units: 1")


@case("smoothing_and_class_weights_reach_every_loss_of_two_classes")
def _():
    for loss in ("bce", "focal", "hinge"):
        assert class_loss(loss) != class_loss(loss, 'train.class_weight={"yes": 6}'), loss
    assert class_loss("bce") != class_loss("bce", "train.label_smoothing=0.3")
    assert class_loss("focal") != class_loss("focal", "train.focus=0.5")
    expect(quern("train", churn_table(), "--target", "churn", "--set", "train.loss=hinge", "--set", "train.label_smoothing=0.1", "--out",
                 WORK / "never"), 2, "label_smoothing", "bce, ce and nll")


@case("an_exponential_schedule_falls_by_a_tenth_an_epoch")
def _():
    for schedule, gamma in (("exponential", "0.9"), ("step", "0.1")):
        ok("train", churn_table(), "--target", "churn", "--model", "mlp", "--set", "train.epochs=2", "--set", f"train.schedule={schedule}",
           "--out", WORK / schedule, "--quiet")
        assert f"  gamma: {gamma}\n" in (newest(WORK / schedule) / "recipe.yaml").read_text()


finish()
