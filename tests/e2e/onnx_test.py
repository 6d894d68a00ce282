#!/usr/bin/env python3
"""ONNX both ways: every kind of network trained, written, read again, and run by ONNX Runtime where PyPI is in reach."""
import os
import random
import struct
import subprocess
import sys

from harness import BUILD, WORK, Skip, case, expect, finish, npz, npz_floats, ok, quern, write

CONV = "{conv2d: {filters: 8, kernel: 3, padding: same}}"
NETWORKS = {
    "linear": ("table", "{type: linear}"),
    "mlp": ("table", "{type: mlp}"),
    "logistic": ("image", "{type: logistic}"),
    "cnn": ("image", "{type: cnn}"),
    "resnet": ("image", f"{{layers: [{CONV}, batch_norm, {{residual: {{layers: [{CONV}, batch_norm, {CONV}, batch_norm], activation: relu}}}}, "
               "{max_pool2d: {size: 2}}, global_avg_pool2d, {dense: {units: auto}}]}"),
    "rnn": ("sequence", "{layers: [{rnn: {units: 8}}, {dense: {units: auto}}]}"),
    "lstm": ("sequence", "{layers: [{lstm: {units: 8, bidirectional: true}}, {dense: {units: auto}}]}"),
    "gru": ("sequence", "{layers: [{gru: {units: 8}}, {dense: {units: auto}}]}"),
    "transformer": ("sequence", "{layers: [{dense: {units: 16}}, {transformer: {heads: 4, blocks: 2}}, flatten, {dense: {units: auto}}]}"),
}
SHAPES = {"table": (6,), "image": (12, 12, 3), "sequence": (10, 6)}
ROWS = 128

RUNTIME = """
import sys
import numpy
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])
given = numpy.load(sys.argv[2])
expected = numpy.load(sys.argv[3])
results = session.run(None, {i.name: given[i.name] for i in session.get_inputs()})
for output, result in zip(session.get_outputs(), results):
    difference = abs(result - expected[output.name]).max()
    assert result.shape == expected[output.name].shape and difference < 1e-4, (output.name, result.shape, difference)
"""


def floats(numbers):
    return struct.pack(f"<{len(numbers)}f", *numbers)


def data(kind, rows, name):
    """Random arrays of a kind with a label that follows from them, and the arrays alone."""
    chance, shape = random.Random(3), SHAPES[kind]
    size = 1
    for dim in shape:
        size *= dim
    values = [[chance.gauss(0, 1) for _ in range(size)] for _ in range(rows)]
    sums = [sum(row) for row in values]
    labels = struct.pack(f"<{rows}q", *(total > 0 for total in sums))
    target = ("<f4", (rows,), floats(sums)) if kind == "table" else ("<i8", (rows,), labels)
    x = ("<f4", (rows, *shape), b"".join(map(floats, values)))
    npz(WORK / f"{name}.npz", {"x": x, "y": target})
    npz(WORK / f"{name}_in.npz", {"x": x})
    return WORK / f"{name}.npz", WORK / f"{name}_in.npz"


def close(one, other, bound):
    return len(one) == len(other) and all(abs(a - b) <= bound for a, b in zip(one, other))


def runtime():
    """A Python with ONNX Runtime, made once in the build folder."""
    folder = BUILD / "onnx-venv"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        try:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True)
            subprocess.run([python, "-m", "pip", "install", "-q", "--retries", "1", "--timeout", "10", "onnxruntime", "numpy"], check=True,
                           capture_output=True)
        except (OSError, subprocess.CalledProcessError) as problem:
            raise Skip("ONNX Runtime cannot be installed from PyPI") from problem
        (folder / "complete").touch()
    return python


def trained(name):
    """The network's answers and its ONNX file, made on first use."""
    folder, answers, model = WORK / f"m_{name}", WORK / f"{name}_out.npz", WORK / f"{name}.onnx"
    kind, layers = NETWORKS[name]
    table, given = data(kind, ROWS, name)
    if not model.exists():
        recipe = write(f"{name}.yaml", f"quern: 1\ndata: {{path: [{table}], target: y}}\nmodel: {layers}\ntrain: {{epochs: 1, batch: 32}}\n")
        ok("train", recipe, "--out", folder, "--quiet")
        ok("predict", folder, given, "--out", answers)
        ok("convert", folder, model)
    return given, answers, model


@case("every_network_is_written_and_read_again")
def _():
    for name in NETWORKS:
        given, answers, model = trained(name)
        ok("check", model)
        ok("predict", model, given, "--out", WORK / "again.npz")
        output = "prediction" if name in ("linear", "mlp") else "probability"
        assert close(npz_floats(answers, output), npz_floats(WORK / "again.npz", output), 1e-5), name


@case("onnx_runtime_gives_the_same_answers")
def _():
    python = runtime()
    script = write("runtime.py", RUNTIME)
    for name in NETWORKS:
        given, answers, model = trained(name)
        done = subprocess.run([python, script, model, given, answers], capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"})
        assert done.returncode == 0, f"{name}: {done.stderr[-600:]}"


@case("what_is_no_onnx_model_is_refused_with_a_reason")
def _():
    model = trained("linear")[2]
    (WORK / "cut.onnx").write_bytes(model.read_bytes()[:-30])
    (WORK / "empty.onnx").write_bytes(b"")
    expect(quern("check", WORK / "cut.onnx"), 1, r"cut\.onnx")
    expect(quern("check", WORK / "empty.onnx"), 1, r"not an ONNX file")
    expect(quern("convert", WORK / "m_linear", WORK / "m.pt"), 2, r"converted to \.onnx")
    expect(quern("predict", model, trained("cnn")[0], "--out", WORK / "o.npz"), 3, r"expects shape")


@case("the_operators_that_are_read_are_listed")
def _():
    lines = ok("schema", "onnx").out.splitlines()
    assert len(lines) > 150 and any(line.startswith("Conv 6") for line in lines), lines[:5]


finish()
