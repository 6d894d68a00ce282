#!/usr/bin/env python3
"""Writes the small models beside it, in the form in which PyTorch's exporter writes such networks. Needs the onnx package (1.23 made
these); weights are drawn from seed 0.
"""
import pathlib

import numpy as np
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).parent
chance = np.random.default_rng(0)
node = helper.make_node


def weight(name, *shape):
    return numpy_helper.from_array((chance.normal(size=shape) * 0.3).astype(np.float32), name)


def whole(name, *numbers):
    return numpy_helper.from_array(np.array(numbers, np.int64), name)


def save(name, shape, nodes, tensors):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *shape])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 2])
    graph = helper.make_graph(nodes, name, [x], [y], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="")
    (HERE / f"{name}.onnx").write_bytes(model.SerializeToString())


save("cnn", (1, 8, 8), [
    node("Conv", ["x", "conv.weight", "conv.bias"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    node("BatchNormalization", ["a", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"], ["b"]),
    node("Relu", ["b"], ["c"]),
    node("MaxPool", ["c"], ["d"], kernel_shape=[2, 2], strides=[2, 2]),
    node("Flatten", ["d"], ["e"]),
    node("Gemm", ["e", "out.weight", "out.bias"], ["y"], transB=1),
], [weight("conv.weight", 4, 1, 3, 3), weight("conv.bias", 4), numpy_helper.from_array(np.ones(4, np.float32), "bn.weight"), weight("bn.bias", 4),
    numpy_helper.from_array(np.zeros(4, np.float32), "bn.running_mean"), numpy_helper.from_array(np.ones(4, np.float32), "bn.running_var"),
    weight("out.weight", 2, 64), weight("out.bias", 2)])

save("lstm", (6, 3), [
    node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
    node("Shape", ["t"], ["shape"]),
    node("Gather", ["shape", "one"], ["rows"]),
    node("Unsqueeze", ["rows", "first"], ["rows_list"]),
    node("Concat", ["one_list", "rows_list", "hidden"], ["state_shape"], axis=0),
    node("ConstantOfShape", ["state_shape"], ["zeros"]),
    node("LSTM", ["t", "w", "r", "b", "", "zeros", "zeros"], ["all", "", ""], hidden_size=8),
    node("Squeeze", ["all", "one_list"], ["steps"]),
    node("Gather", ["steps", "last"], ["end"], axis=0),
    node("MatMul", ["end", "out.weight"], ["m"]),
    node("Add", ["m", "out.bias"], ["y"]),
], [numpy_helper.from_array(np.array(1, np.int64), "one"), numpy_helper.from_array(np.array(-1, np.int64), "last"), whole("one_list", 1), whole("first", 0),
    whole("hidden", 8), weight("w", 1, 32, 3), weight("r", 1, 32, 8), weight("b", 1, 64), weight("out.weight", 8, 2), weight("out.bias", 2)])

save("transformer", (6, 8), [
    node("MatMul", ["x", "qkv.weight"], ["qkv"]),
    node("Reshape", ["qkv", "heads"], ["split"]),
    node("Transpose", ["split"], ["parts"], perm=[2, 0, 3, 1, 4]),
    *[node("Gather", ["parts", f"at{i}"], [name], axis=0) for i, name in enumerate("qkv")],
    node("Transpose", ["k"], ["kt"], perm=[0, 1, 3, 2]),
    node("MatMul", ["q", "kt"], ["scores"]),
    node("Mul", ["scores", "scale"], ["scaled"]),
    node("Softmax", ["scaled"], ["weights"], axis=-1),
    node("MatMul", ["weights", "v"], ["heads_out"]),
    node("Transpose", ["heads_out"], ["turned"], perm=[0, 2, 1, 3]),
    node("Reshape", ["turned", "joined"], ["attended"]),
    node("Add", ["x", "attended"], ["sum"]),
    node("LayerNormalization", ["sum", "norm.weight", "norm.bias"], ["normed"], axis=-1),
    node("ReduceMean", ["normed"], ["mean"], axes=[1], keepdims=0),
    node("Gemm", ["mean", "out.weight", "out.bias"], ["y"], transB=1),
], [weight("qkv.weight", 8, 24), whole("heads", 0, 6, 3, 2, 4), whole("joined", 0, 6, 8),
    *[numpy_helper.from_array(np.array(i, np.int64), f"at{i}") for i in range(3)], numpy_helper.from_array(np.float32(0.5), "scale"),
    numpy_helper.from_array(np.ones(8, np.float32), "norm.weight"), weight("norm.bias", 8), weight("out.weight", 2, 8), weight("out.bias", 2)])
