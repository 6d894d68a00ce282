#!/usr/bin/env python3
"""Exports small Keras networks with random weights, as `model.export(format="onnx")` writes them.

    python3 tests/model/exported/keras_models.py [NAME...]

Written with keras 3.15.1 on tensorflow 2.21.0, tf2onnx 1.17.0 and onnx 1.23.2. Nothing here runs in the tests: they read the files. GRU and SimpleRNN are
unrolled: otherwise Keras writes them as a Loop.
"""
import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import keras
import numpy as np
from keras import layers

from exported import HERE, keep

ROWS = 6


def block(x, width):
    attended = layers.MultiHeadAttention(2, width // 2)(x, x)
    x = layers.LayerNormalization()(x + attended)
    return layers.LayerNormalization()(x + layers.Dense(width)(layers.Dense(12, activation="gelu")(x)))


def cnn():
    return keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(6, 3, padding="same", activation="relu"), layers.BatchNormalization(), layers.MaxPooling2D(2),
                             layers.SeparableConv2D(6, 3, strides=2, padding="same"), layers.LeakyReLU(), layers.Dropout(0.3), layers.Flatten(),
                             layers.Dense(3, activation="softmax")])


def upsampling():
    return keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3, strides=2, padding="same", activation="swish"),
                             layers.Conv2DTranspose(4, 3, strides=2, padding="same"), layers.UpSampling2D(2), layers.ZeroPadding2D(1),
                             layers.GlobalAveragePooling2D(), layers.Dense(3)])


def lstm():
    return keras.Sequential([keras.Input((7, 4)), layers.LSTM(5, return_sequences=True), layers.LSTM(5), layers.Dense(3, activation="softmax")])


def bilstm():
    return keras.Sequential([keras.Input((7, 4)), layers.Bidirectional(layers.LSTM(5, return_sequences=True)), layers.GlobalAveragePooling1D(), layers.Dense(3)])


def gru():
    return keras.Sequential([keras.Input((4, 4)), layers.GRU(5, unroll=True), layers.Dense(3)])


def transformer():
    start = keras.Input((7, 4))
    return keras.Model(start, layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling1D()(block(layers.Dense(8)(start), 8))))


def tokens():
    start = keras.Input((7,), dtype="int32")
    x = layers.Embedding(20, 8)(start)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True))
    return keras.Model(start, layers.Dense(3)(x[:, -1]))


CASES = {each.__name__: each for each in (cnn, upsampling, lstm, bilstm, gru, transformer, tokens)}


def export(name):
    keras.utils.set_random_seed(1)
    model, chance = CASES[name](), np.random.default_rng(1)
    for weight in model.weights:
        if "moving" in weight.path:
            weight.assign(weight + chance.uniform(0, 0.3, weight.shape))
    shape = (ROWS, *model.inputs[0].shape[1:])
    x = chance.integers(1, 20, shape).astype(np.int32) if name == "tokens" else chance.normal(size=shape).astype(np.float32)
    output = np.array(model(x))
    model.export(HERE / f"keras_{name}.onnx", format="onnx", verbose=False)
    keep(f"keras_{name}", [x], output)


if __name__ == "__main__":
    for chosen in sys.argv[1:] or CASES:
        export(chosen)
