"""The networks of infer_bench.c in ONNX Runtime, weights drawn at random.

usage: ort_infer.py CASE ROWS THREADS     CASE: cnn or resnet18
Prints one line of JSON: microseconds of a call, the median of those in a second.
"""
import json
import statistics
import sys
import time

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

RNG = np.random.default_rng(1)


class Net:
    def __init__(self):
        self.nodes, self.weights, self.count = [], [], 0

    def weight(self, *shape, low=None):
        array = RNG.uniform(0.5, 1.5, shape) if low else RNG.normal(0, (2 / max(np.prod(shape[1:]), 1)) ** 0.5, shape)
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array.astype(np.float32), name))
        return name

    def add(self, op, *inputs, **attributes):
        self.count += 1
        self.nodes.append(helper.make_node(op, list(inputs), [f"v{self.count}"], **attributes))
        return f"v{self.count}"

    def conv(self, x, cin, cout, kernel, stride=1, norm=True):
        pad = kernel // 2
        inputs = [x, self.weight(cout, cin, kernel, kernel)] + ([] if norm else [self.weight(cout)])
        x = self.add("Conv", *inputs, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)
        if norm:
            x = self.add("BatchNormalization", x, self.weight(cout, low=True), self.weight(cout), self.weight(cout),
                         self.weight(cout, low=True))
        return x


def cnn(net):
    x = "x"
    for cin, cout in ((1, 32), (32, 64)):
        x = net.add("MaxPool", net.add("Relu", net.conv(x, cin, cout, 3, norm=False)), kernel_shape=[2, 2], strides=[2, 2])
    x = net.add("Relu", net.add("Gemm", net.add("Flatten", x), net.weight(3136, 128), net.weight(128)))
    return net.add("Gemm", x, net.weight(128, 10), net.weight(10)), [1, 28, 28]


def resnet18(net):
    x = net.add("Relu", net.conv("x", 3, 64, 7, 2))
    x = net.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
    cin = 64
    for block in range(8):
        cout, stride = 64 << block // 2, 2 if block and block % 2 == 0 else 1
        y = net.conv(net.add("Relu", net.conv(x, cin, cout, 3, stride)), cout, cout, 3)
        x = net.add("Relu", net.add("Add", y, net.conv(x, cin, cout, 1, stride) if stride == 2 else x))
        cin = cout
    return net.add("Gemm", net.add("Flatten", net.add("GlobalAveragePool", x)), net.weight(512, 1000), net.weight(1000)), [3, 224, 224]


def main():
    name, rows, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    net = Net()
    y, shape = {"cnn": cnn, "resnet18": resnet18}[name](net)
    value = lambda label, dims: helper.make_tensor_value_info(label, TensorProto.FLOAT, dims)
    graph = helper.make_graph(net.nodes, name, [value("x", [rows, *shape])], [value(y, None)], net.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    x = {"x": RNG.normal(size=[rows, *shape]).astype(np.float32)}
    for _ in range(3):
        session.run(None, x)
    laps, began = [], time.perf_counter()
    while len(laps) < 5 or time.perf_counter() - began < 1.5:
        lap = time.perf_counter()
        session.run(None, x)
        laps.append(time.perf_counter() - lap)
    print(json.dumps({"case": name, "rows": rows, "call_us": statistics.median(laps) * 1e6,
                      "version": "ONNX Runtime " + onnxruntime.__version__}))


main()
