#!/usr/bin/env python3
"""Same seed, same data, same bits: for any number of threads, and for a run stopped and resumed."""
import json
import os
import random
import signal
import struct
import subprocess
import time

from harness import QUERN, ROOT, WORK, bars_images, case, churn_table, finish, newest, npz, ok, write

EPOCHS = 6


def recipes():
    table = churn_table(3000, name="resume.csv")
    images = bars_images("resume-images", train=1200, test=100)
    yield write("mlp.yaml", f"quern: 1\nname: mlp\ndata: {{path: {table}, target: churn}}\nmodel: {{type: mlp}}\n"
                            f"train: {{epochs: {EPOCHS}, dropout: 0.1, early_stop: 0}}\n")
    yield write("cnn.yaml", f"quern: 1\nname: cnn\ndata: {{path: {images}}}\n"
                            "model:\n  layers:\n    - conv2d: {filters: 8, kernel: 3, activation: relu}\n    - batch_norm\n"
                            "    - max_pool2d: {size: 2}\n    - flatten\n    - dropout: {rate: 0.2}\n    - dense: {units: auto}\n"
                            f"train: {{epochs: {EPOCHS}, early_stop: 0}}\n")
    yield write("bf16.yaml", f"quern: 1\nname: bf16\ndata: {{path: {images}}}\n"
                             "model:\n  layers:\n    - conv2d: {filters: 8, kernel: 3, activation: relu}\n    - max_pool2d: {size: 2}\n"
                             "    - flatten\n    - dropout: {rate: 0.2}\n    - dense: {units: 32, activation: relu}\n    - dense: {units: auto}\n"
                             f"train: {{epochs: {EPOCHS}, early_stop: 0, precision: bf16}}\n")
    small = bars_images("resume-small", train=1200, test=100, size=8)
    yield write("file.yaml", f"quern: 1\nname: file\ndata: {{path: {small}}}\n"
                             f"model: {{file: {ROOT}/tests/model/onnx/cnn.onnx, output: e, freeze: conv.bias, layers: [{{dense: {{units: auto}}}}]}}\n"
                             f"train: {{epochs: {EPOCHS}, early_stop: 0}}\n")
    yield write("ctc.yaml", f"quern: 1\nname: ctc\ndata: {{path: {spoken()}, target: y}}\n"
                            "model: {layers: [{gru: {units: 32, return_sequences: true}}, {dropout: {rate: 0.2}}, {dense: {units: auto}}]}\n"
                            f"train: {{epochs: {EPOCHS}, early_stop: 0, loss: ctc, metric: cer}}\n")


def spoken(rows=1200, steps=12, most=4):
    """Steps of noise, and labels 1 to 5 that have nothing to do with them."""
    chance = random.Random(5)
    x = [chance.random() for _ in range(rows * steps * 3)]
    y = [chance.randint(1, 5) if chance.random() < 0.9 - 0.2 * (i % most) else -1 for i in range(rows * most)]
    for row in range(rows):
        said = sorted(y[row * most:(row + 1) * most], key=lambda label: label < 0)
        y[row * most:(row + 1) * most] = said
    return npz(WORK / "spoken.npz", {"x": ("<f4", (rows, steps, 3), struct.pack(f"<{len(x)}f", *x)),
                                     "y": ("<i8", (rows, most), struct.pack(f"<{len(y)}q", *y))})


def weights(folder):
    return (newest(folder) / "model.safetensors").read_bytes()


def whole(recipe):
    """The uninterrupted run's weights, once."""
    folder = WORK / f"whole-{recipe.stem}"
    if not folder.exists():
        ok("train", recipe, "--out", folder, "--threads", 2, "--quiet")
    return weights(folder)


@case("one_two_and_seven_threads_give_the_same_bits")
def _():
    for recipe in recipes():
        for threads in (1, 7):
            folder = WORK / f"threads{threads}-{recipe.stem}"
            ok("train", recipe, "--out", folder, "--threads", threads, "--quiet")
            assert weights(folder) == whole(recipe), f"{recipe.name} with {threads} threads"


@case("another_seed_gives_other_bits")
def _():
    for recipe in recipes():
        ok("train", recipe, "--out", WORK / f"seed-{recipe.stem}", "--seed", 2, "--quiet")
        assert weights(WORK / f"seed-{recipe.stem}") != whole(recipe), recipe.name


def stop_twice(recipe, folder, after_s):
    """Starts a run and interrupts it twice after `after_s`; True when it was stopped before it was done."""
    process = subprocess.Popen([QUERN, "train", str(recipe), "--out", str(folder), "--quiet"], stdout=subprocess.DEVNULL,
                               stderr=subprocess.PIPE, cwd=WORK)
    time.sleep(after_s)
    for _ in range(2):
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            time.sleep(0.002)
    err = process.communicate(timeout=60)[1]
    assert process.returncode in (0, 130), f"exit {process.returncode}: {err[-600:]}"
    return process.returncode == 130 and not has_version(folder)


def has_version(folder):
    return os.path.isdir(folder) and any(name.isdigit() for name in os.listdir(folder))


@case("stopped_and_resumed_equals_uninterrupted")
def _():
    stopped = 0
    for recipe in recipes():
        expected = whole(recipe)
        length = json.loads((newest(WORK / f"whole-{recipe.stem}") / "run.jsonl").read_text().splitlines()[-1]).get("seconds") or 1.0
        for share in (0.3, 0.6):
            folder = WORK / f"resumed-{recipe.stem}-{share}"
            stopped += stop_twice(recipe, folder, length * share)
            if not has_version(folder):
                ok("train", recipe, "--out", folder, "--resume", "--quiet", "--threads", 1)
                assert weights(folder) == expected, f"{recipe.name} stopped at {share:.0%}"
    assert stopped, "no run was stopped in its middle"


finish()
