#!/usr/bin/env python3
"""Writes cases/: a model of a few nodes for each thing that once went wrong or that no case of ONNX's own covers, and its inputs and
outputs ("expected NAME") by NumPy. The batch of a model called open_... stays open. Needs the onnx package (1.23 made these).
"""
import pathlib

import numpy as np
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).parent / "cases"
node = helper.make_node
chance = np.random.default_rng(0)
ELEMS = {np.dtype(k): v for k, v in {"f4": 1, "f8": 11, "i8": 7, "i4": 6, "i2": 5, "u1": 2, "i1": 3, "?": 9}.items()}


def tensor(name, value, dtype=np.int64):
    return numpy_helper.from_array(np.asarray(value, dtype), name)


def info(name, array, shape=None):
    return helper.make_tensor_value_info(name, ELEMS[array.dtype], list(array.shape) if shape is None else shape)


def save(name, nodes, inputs, outputs, tensors=(), shapes=(), opset=21, functions=(), domains=()):
    shapes = dict(shapes)
    graph = helper.make_graph(nodes, name, [info(k, v, shapes.get(k)) for k, v in inputs.items()],
                              [info(k, v, shapes.get(k)) for k, v in outputs.items()], list(tensors))
    opsets = [helper.make_opsetid("", opset), *[helper.make_opsetid(d, 1) for d in domains]]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="", functions=list(functions))
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString())
    np.savez(HERE / f"{name}.npz", **inputs, **{f"expected {k}": v for k, v in outputs.items()})


def body(name, nodes, inputs, outputs, tensors=()):
    return helper.make_graph(nodes, name, [helper.make_tensor_value_info(i, 1, None) for i in inputs],
                             [helper.make_tensor_value_info(o, 1, None) for o in outputs], list(tensors))


x = chance.normal(size=(2, 3)).astype(np.float32)

# A branch that a size decides, as exporters write squeezes: its graph sees the values around it.
save("open_if_of_a_size", [
    node("Shape", ["x"], ["s"], start=1, end=2), node("Equal", ["s", "one"], ["is_one"]),
    node("If", ["is_one"], ["y"], then_branch=body("t", [node("Squeeze", ["x", "axis"], ["a"])], [], ["a"]),
         else_branch=body("e", [node("Neg", ["x"], ["n"]), node("Add", ["n", "half"], ["b"])], [], ["b"], [tensor("half", 0.5, np.float32)])),
], {"x": x}, {"y": 0.5 - x}, [tensor("one", [1]), tensor("axis", [1])], {"x": ["batch", 3], "y": ["batch", 3]})

# Functions of the file's own: one that calls another twice, attributes of the caller and by default, names that clash.
scale = helper.make_function("own", "Scale", ["x"], ["y"], [
    node("Constant", [], ["c"]), node("LeakyRelu", ["x"], ["r"]), node("Mul", ["r", "c"], ["y"])],
    [helper.make_opsetid("", 21)], ["factor"], [helper.make_attribute("alpha", 0.5)])
for at, attr, ref in ((0, "value_float", "factor"), (1, "alpha", "alpha")):
    scale.node[at].attribute.add(name=attr, type=1, ref_attr_name=ref)
twice = helper.make_function("own", "Twice", ["x"], ["y", "c"], [
    node("Scale", ["x"], ["c"], domain="own", factor=2.0), node("Scale", ["c"], ["y"], domain="own", factor=3.0, alpha=0.25)],
    [helper.make_opsetid("", 21), helper.make_opsetid("own", 1)])
first = np.where(x < 0, x / 2, x) * 2
save("functions", [node("Twice", ["x"], ["y", "c"], domain="own")], {"x": x},
     {"y": np.where(first < 0, first / 4, first) * np.float32(3), "c": first.astype(np.float32)}, functions=[scale, twice], domains=["own"])

# A score function that uses a value from outside.
q, k, v = (chance.normal(size=(1, 2, 3, 4)).astype(np.float32) for _ in range(3))
scores = q @ k.transpose(0, 1, 3, 2) / 2 * np.float32(0.5)
weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
save("flex_score", [node("FlexAttention", ["q", "k", "v"], ["y"], domain="ai.onnx.preview",
                         score_mod=body("m", [node("Mul", ["s", "outside"], ["t"])], ["s"], ["t"]))],
     {"q": q, "k": k, "v": v}, {"y": (weights @ v).astype(np.float32)}, [tensor("outside", 0.5, np.float32)], opset=26, domains=["ai.onnx.preview"])

# Rows counted up to an open batch; sizes that decide a shape in a way that no symbol has.
save("open_range_of_the_batch", [node("Shape", ["x"], ["s"], end=1), node("Squeeze", ["s"], ["b"]), node("Range", ["zero", "b", "one"], ["r"]),
                            node("Gather", ["x", "r"], ["y"])],
     {"x": x}, {"y": x}, [tensor("zero", 0), tensor("one", 1)], {"x": ["batch", 3], "y": ["batch", 3]})
save("range_by_two", [node("Shape", ["x"], ["s"], end=1), node("Squeeze", ["s"], ["b"]), node("Range", ["zero", "b", "two"], ["r"]),
                      node("Gather", ["x", "r"], ["y"])],
     {"x": x}, {"y": x[::2]}, [tensor("zero", 0), tensor("two", 2)], {"x": ["batch", 3], "y": [None, 3]})

# A length that is declared open, and is 10 in a constant.
long = chance.normal(size=(2, 10, 4)).astype(np.float32)
save("length_baked_in", [node("Reshape", ["x", "shape"], ["y"])], {"x": long}, {"y": long.reshape(-1, 20, 2)}, [tensor("shape", [-1, 20, 2])],
     {"x": ["batch", "time", 4], "y": ["batch", 20, 2]})
wide = chance.normal(size=(1, 1, 2, 40)).astype(np.float32)
save("width_open", [node("MaxPool", ["x"], ["y"], kernel_shape=[2, 3], strides=[2, 3])], {"x": wide},
     {"y": wide[:, :, :, :39].reshape(1, 1, 2, 13, 3).max((2, 4))[:, :, None]}, (), {"x": ["batch", 1, 2, "width"], "y": ["batch", 1, 1, None]})

# Gradients of a sum, through a value that is used twice.
save("gradient", [node("Mul", ["x", "x"], ["a"]), node("Sin", ["a"], ["c"]),
                  node("Gradient", ["x"], ["dx"], xs=["x"], y="c", domain="ai.onnx.preview.training")],
     {"x": x}, {"c": np.sin(x * x), "dx": np.cos(x * x) * 2 * x}, domains=["ai.onnx.preview.training"])

# What NumPy's generator drops.
mask = np.random.RandomState(7).uniform(size=(400, 2)) >= 0.25
ones = np.ones((400, 2), np.float32)
save("dropout_seed", [node("Dropout", ["x", "ratio", "yes"], ["y", "mask"], seed=7)], {"x": ones}, {"y": mask * ones / np.float32(0.75), "mask": mask},
     [tensor("ratio", 0.25, np.float32), tensor("yes", True, bool)])

# Opset 28.
numbers, places = np.array([-8, -1, 5, 127, -128], np.int8), np.array([1, 9, -1, 3, 7], np.int8)
save("shift_right", [node("BitShift", ["x", "n"], ["y"], direction="RIGHT")], {"x": numbers, "n": places}, {"y": np.array([-4, -1, 0, 15, -1], np.int8)}, opset=28)
save("shift_left", [node("BitShift", ["x", "n"], ["y"], direction="LEFT")], {"x": numbers, "n": places}, {"y": np.array([-16, 0, 0, -8, 0], np.int8)}, opset=28)
save("swiglu", [node("SwiGLU", ["x", "z"], ["y"], alpha=0.5)], {"x": x, "z": x[::-1].copy()}, {"y": (x / (1 + np.exp(-x / 2)) * x[::-1]).astype(np.float32)}, opset=28)
image = np.arange(32, dtype=np.float32).reshape(1, 2, 4, 4)
save("space_to_depth_crd", [node("SpaceToDepth", ["x"], ["y"], blocksize=2, mode="CRD")], {"x": image},
     {"y": image.reshape(1, 2, 2, 2, 2, 2).transpose(0, 1, 3, 5, 2, 4).reshape(1, 8, 2, 2)}, opset=28)
save("one_hot_outside", [node("OneHot", ["i", "depth", "values"], ["y"])], {"i": np.array([3, -4, -1])},
     {"y": np.array([[0, 0, 0], [0, 0, 0], [0, 0, 5]], np.float32)}, [tensor("depth", 3), tensor("values", [0, 5], np.float32)], opset=28)
for kind, dtype, end in (("bool", bool, False), ("i16", np.int16, -32768), ("u8", np.uint8, 0)):
    save(f"max_of_none_{kind}", [node("ReduceMax", ["x", "axes"], ["y"], keepdims=0)], {"x": np.zeros((2, 0), dtype)}, {"y": np.full(2, end, dtype)}, [tensor("axes", [1])])
save("min_of_none_u8", [node("ReduceMin", ["x", "axes"], ["y"], keepdims=0)], {"x": np.zeros((2, 0), np.uint8)}, {"y": np.full(2, 255, np.uint8)}, [tensor("axes", [1])])
save("einsum_f16", [node("Cast", ["x"], ["h"], to=10), node("Einsum", ["h", "h"], ["z"], equation="ij,kj->ik"), node("Cast", ["z"], ["y"], to=1)],
     {"x": x}, {"y": np.einsum("ij,kj->ik", *[x.astype(np.float16).astype(np.float32)] * 2).astype(np.float16).astype(np.float32)}, opset=28)

# A size of the result that is the batch's own, beside one that is not.
save("open_resize_by_sizes", [node("Shape", ["x"], ["s"], end=2), node("Concat", ["s", "hw"], ["sizes"], axis=0),
                         node("Resize", ["x", "", "", "sizes"], ["y"], mode="nearest")],
     {"x": image}, {"y": image.repeat(2, 2).repeat(2, 3)}, [tensor("hw", [8, 8])], {"x": ["batch", 2, 4, 4], "y": ["batch", 2, 8, 8]})

# What holds of large batches and not of this one.
double, triple = (body(f"{k}s", [node("Constant", [], [f"{k}n"], value_float=float(k)), node("Mul", ["x", f"{k}n"], [f"{k}x"])], [], [f"{k}x"])
                  for k in (2, 3))
save("if_of_the_batch", [node("Shape", ["x"], ["s"], end=1), node("Equal", ["s", "one"], ["c"]), node("If", ["c"], ["y"], then_branch=double, else_branch=triple)],
     {"x": x[:1]}, {"y": x[:1] * 2}, [tensor("one", [1])], {"x": ["batch", 3], "y": ["batch", 3]})
save("least_of_the_batch", [node("Shape", ["x"], ["s"], end=1), node("Min", ["s", "four"], ["m"]), node("Cast", ["m"], ["f"], to=1), node("Mul", ["x", "f"], ["y"])],
     {"x": x}, {"y": x * 2}, [tensor("four", [4])], {"x": ["batch", 3], "y": ["batch", 3]})
