"""examples/linear.c as its Keras original; the whole process is timed."""
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import keras
import numpy

inputs = numpy.array([[1, 2], [3, 4], [5, 6], [7, 8]], dtype="float32")
targets = numpy.array([[1], [2], [3], [4]], dtype="float32")
net = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(1)])
net.compile(optimizer=keras.optimizers.SGD(0.01), loss="mse")
net.fit(inputs, targets, epochs=1000, verbose=0)
answers = net.predict(numpy.array([[9, 10], [11, 12]], dtype="float32"), verbose=0)
print("%.4f %.4f" % (answers[0, 0], answers[1, 0]))
