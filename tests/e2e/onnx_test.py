#!/usr/bin/env python3
"""ONNX both ways: every kind of network trained, written, read again, and run by ONNX Runtime where PyPI is in reach."""
import os
import random
import struct
import subprocess
import sys

from harness import BUILD, WORK, Skip, case, expect, finish, npz, npz_floats, ok, quern, write

CONV = "{conv2d: {filters: 8, kernel: 3, padding: same}}"
# Masks of ten positions: each sees itself and the next; all see the first four, the rest what came before; two of a memory.
RING = [[int(j in (i, (i + 1) % 10)) for j in range(10)] for i in range(10)]
PREFIX = [[int(j < 4 or j <= i) for j in range(10)] for i in range(10)]
PAIRS = [[1, i % 2] for i in range(10)]
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
    "stacked": ("sequence", "{layers: [{lstm: {units: 6, layers: 2, return_sequences: true}}, {gru: {units: 5, reset_first: true, return_sequences: true}}, "
                "{rnn: {units: 4, bidirectional: true}}, {dense: {units: auto}}]}"),
    "grouped": ("sequence", "{layers: [{dense: {units: 16}}, {multi_head_attention: {heads: 4, kv_heads: 2, causal: true}}, global_avg_pool1d, {dense: {units: auto}}]}"),
    "windowed": ("sequence", "{layers: [{dense: {units: 16}}, {multi_head_attention: {heads: 2, window: 3}}, {multi_head_attention: {heads: 4, window: 2, causal: true}}, "
                 "global_max_pool1d, {dense: {units: auto}}]}"),
    "alibi": ("sequence", "{layers: [{dense: {units: 18}}, {multi_head_attention: {heads: 3, alibi: true, causal: true}}, {multi_head_attention: {heads: 6, kv_heads: 3, "
              "alibi: true, window: 4}}, global_avg_pool1d, {dense: {units: auto}}]}"),
    "rotary": ("sequence", "{layers: [{dense: {units: 16}}, {transformer: {heads: 4, kv_heads: 2, rotary: true, causal: true, norm: rms, activation: swiglu, bias: false}}, "
               "rms_norm, global_avg_pool1d, {dense: {units: auto}}]}"),
    "positions": ("sequence", "{layers: [{dense: {units: 7}}, positions, {positions: {kind: learned}}, {feed_forward: {activation: relu}}, layer_norm, flatten, {dense: {units: auto}}]}"),
    "rows": ("sequence", "{layers: [{conv1d: {filters: 6, kernel: 3}}, {zero_padding1d: {padding: 1}}, {max_pool1d: {size: 2}}, {upsample1d: {size: 2}}, {depthwise_conv1d: {kernel: 3}}, "
             "{separable_conv1d: {filters: 4, kernel: 3, padding: same}}, {conv1d_transpose: {filters: 4, kernel: 2, stride: 2}}, {avg_pool1d: {size: 2}}, prelu, "
             "{adaptive_avg_pool1d: {size: 2}}, {permute: {order: [2, 1]}}, {reshape: {shape: [8]}}, unit_norm, {repeat: {count: 3}}, {adaptive_max_pool1d: {size: 1}}, flatten, "
             "{dense: {units: auto}}]}"),
    "pixels": ("image", "{layers: [{zero_padding2d: {padding: 1}}, {depthwise_conv2d: {kernel: 3}}, {separable_conv2d: {filters: 6, kernel: 3}}, {group_norm: {groups: 2}}, "
               "{conv2d_transpose: {filters: 4, kernel: 3, stride: 2, padding: same}}, {upsample2d: {size: 2}}, {avg_pool2d: {size: 2}}, {adaptive_max_pool2d: {size: 5}}, "
               "{adaptive_avg_pool2d: {size: 3}}, {conv2d: {filters: 4, kernel: 2, reparametrize: weight_norm}}, {activation: {name: hard_swish}}, global_max_pool2d, "
               "{dense: {units: auto}}]}"),
    "volume": ("image", "{layers: [{reshape: {shape: [4, 9, 12, 1]}}, {zero_padding3d: {padding: 1}}, {conv3d: {filters: 4, kernel: 3, activation: gelu}}, {max_pool3d: {size: 2}}, "
               "{conv3d_transpose: {filters: 3, kernel: 2, stride: 2}}, {upsample3d: {size: 2}}, {avg_pool3d: {size: 2}}, {adaptive_avg_pool3d: {size: 3}}, {adaptive_max_pool3d: {size: 2}}, "
               "global_avg_pool3d, {dense: {units: auto, reparametrize: spectral_norm}}]}"),
    "activations": ("image", "{layers: [flatten, " + ", ".join(f"{{dense: {{units: 5, activation: {name}}}}}" for name in (
        "leaky_relu sigmoid tanh gelu gelu_tanh silu softmax log_softmax elu selu celu softplus softsign mish relu6 hard_sigmoid hard_swish hard_tanh soft_shrink "
        "hard_shrink exponential").split()) + ", {dense: {units: auto}}]}"),
    "words": ("counts", "{layers: [{embedding: {count: 9, size: 4}}, {lstm: {units: 4}}, {dense: {units: auto}}]}"),
    "padded": ("sequence", "{layers: [{masking: {value: 9}}, {lstm: {units: 4, return_sequences: true}}, {transformer: {heads: 2}}, global_avg_pool1d, {dense: {units: auto}}]}"),
    "crossed": ("sequence", "{layers: [{dense: {units: 8}}, {transformer_decoder: {heads: 2, softcap: 9, memory: [{transformer: {heads: 4}}]}}, {residual: {join: concat, layers: "
                "[{multi_head_attention: {heads: 2, memory: [{conv1d: {filters: 8, kernel: 3}}]}}]}}, instance_norm, flatten, {dense: {units: auto}}]}"),
    "moved": ("sequence", "{layers: [{slice: {start: 1, axis: 1}}, {gather: {indices: [5, 0, 2, 2]}}, {scatter: {indices: [4, 1, 1, 0], size: 5}}, {cumsum: {axis: 1, reverse: true}}, "
              "{einsum: {equation: \"btc,cd->bdt\", weight: [5, 6]}}, {top_k: {count: 4}}, {threshold: {above: 0.1}}, {function: {name: sin}}, {tile: {repeats: [2, 1]}}, "
              "{lp_pool1d: {size: 3}}, {resize1d: {size: 5, mode: linear}}, flatten, {dense: {units: auto}}]}"),
    "gated": ("sequence", "{layers: [{gru: {units: 5, return_sequences: true, bidirectional: true, activation: elu, recurrent_activation: hard_sigmoid, reparametrize: spectral_norm}}, "
              "{rnn: {units: 4, activation: relu, return_sequences: true}}, {residual: {join: multiply, layers: [{dense: {units: 4, activation: sigmoid}}]}}, "
              "{lstm: {units: 3, activation: softsign, reparametrize: weight_norm}}, {dense: {units: auto}}]}"),
    "masked": ("gappy", f"{{layers: [{{masking: {{value: 0}}}}, {{multi_head_attention: {{heads: 2, mask: {RING}}}}}, {{multi_head_attention: {{heads: 3, window: 2}}}}, "
               f"{{transformer: {{heads: 2, causal: true, mask: {PREFIX}}}}}, {{multi_head_attention: {{heads: 2, mask: {PAIRS}, memory: [{{slice: {{axis: 1, end: 2}}}}]}}}}, "
               "flatten, {dense: {units: auto}}]}"),
    "begun": ("sequence", "{layers: [{lstm: {units: 4, layers: 2, bidirectional: true, return_sequences: true, initial: [{slice: {axis: 1, end: 1}}, flatten, {dense: {units: 32}}]}}, "
              "{gru: {units: 5, return_sequences: true, initial: [{gru: {units: 5}}]}}, {rnn: {units: 4, reverse: true, initial: [global_avg_pool1d, {dense: {units: 4}}]}}, "
              "{dense: {units: auto}}]}"),
    "unpooled": ("image", "{layers: [{avg_pool2d: {size: 3, stride: 1, padding: 1, count_padding: true}}, {max_pool2d: {stride: 1, padding: 1, dilation: 2}}, {conv2d: {filters: 4, kernel: 3, activation: relu}}, {max_unpool2d: {size: [3, 2], layers: [{conv2d: {filters: 4, kernel: 3, padding: same}}]}}, "
                 "{reshape: {shape: [10, 40]}}, {max_unpool1d: {layers: [layer_norm]}}, {reshape: {shape: [4, 5, 5, 4]}}, {max_unpool3d: {layers: [{conv3d: {filters: 4, kernel: 1}}]}}, "
                 "flatten, {dense: {units: auto}}]}"),
    "chosen": ("sequence", "{layers: [{where: {condition: [{residual: {join: less, layers: [{dense: {units: 6}}]}}, {function: {name: not}}], layers: [{dense: {units: 1}}], "
               "otherwise: [{activation: {name: elu, alpha: 0.5}}]}}, {residual: {join: modulo, layers: [{dense: {units: 6}}], shortcut: [{clip: {min: 1, max: 2}}]}}, "
               "{residual: {join: divide, shortcut: [{clip: {min: 1, max: 3}}], layers: [{activation: {name: soft_shrink, alpha: 0.1}}]}}, flatten, "
               "{gather: {indices: [0, 9, 1, 8, 2, 7, 3, 6, 4, 5, 59]}}, {dense: {units: auto}}]}"),
    "transformer": ("sequence", "{layers: [{dense: {units: 16}}, {transformer: {heads: 4, blocks: 2}}, flatten, {dense: {units: auto}}]}"),
}
SHAPES = {"table": (6,), "counts": (6,), "image": (12, 12, 3), "sequence": (10, 6), "gappy": (10, 6)}
ROWS = 128

RUNTIME = """
import sys
import numpy
import onnx
import onnxruntime
onnx.checker.check_model(sys.argv[1], full_check=True)
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
    values = [[float(chance.randrange(9)) if kind == "counts" else chance.gauss(0, 1) for _ in range(size)] for _ in range(rows)]
    if kind == "gappy":
        values = [row[:size - row_at % 9 * shape[1]] + [0.0] * (row_at % 9 * shape[1]) for row_at, row in enumerate(values)]
    sums = [sum(row) for row in values]
    middle = sorted(sums)[rows // 2]
    labels = struct.pack(f"<{rows}q", *(total > middle for total in sums))
    target = ("<f4", (rows,), floats(sums)) if kind == "table" else ("<i8", (rows,), labels)
    x = ("<f4", (rows, *shape), b"".join(map(floats, values)))
    npz(WORK / f"{name}.npz", {"x": x, "y": target})
    npz(WORK / f"{name}_in.npz", {"x": x})
    return WORK / f"{name}.npz", WORK / f"{name}_in.npz"


def close(one, other, bound):
    return len(one) == len(other) and all(abs(a - b) <= bound for a, b in zip(one, other))


def runtime():
    """A Python with ONNX Runtime and ONNX's own checker, made once in the build folder."""
    folder = BUILD / "onnx-runtime"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        try:
            subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True)
            subprocess.run([python, "-m", "pip", "install", "-q", "--retries", "1", "--timeout", "10", "onnxruntime", "onnx", "numpy"], check=True,
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


@case("onnx_accepts_the_files_and_its_runtime_gives_the_same_answers")
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
