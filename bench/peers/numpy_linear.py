"""examples/linear.c by hand in numpy; the whole process is timed."""
import numpy

inputs = numpy.array([[1, 2], [3, 4], [5, 6], [7, 8]], dtype=numpy.float32)
targets = numpy.array([[1], [2], [3], [4]], dtype=numpy.float32)
weight, bias = numpy.random.default_rng(1).uniform(-1, 1, (2, 1)).astype(numpy.float32), numpy.zeros(1, numpy.float32)
for _ in range(1000):
    slope = 2 * (inputs @ weight + bias - targets) / len(inputs)
    weight -= 0.01 * (inputs.T @ slope)
    bias -= 0.01 * slope.sum(0)
answers = numpy.array([[9, 10], [11, 12]], dtype=numpy.float32) @ weight + bias
print("%.4f %.4f" % (answers[0, 0], answers[1, 0]))
