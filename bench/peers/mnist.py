"""Reads MNIST's training images and labels from IDX files, for the peers. Needs numpy only."""
import gzip
import pathlib

import numpy


def load(folder, count):
    """Pixels as float32 in 0..1 [count, 28, 28] and labels as int64 [count]."""
    folder = pathlib.Path(folder)
    images = gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes())
    labels = gzip.decompress((folder / "train-labels-idx1-ubyte.gz").read_bytes())
    pixels = numpy.frombuffer(images, numpy.uint8, offset=16).reshape(-1, 28, 28)[:count]
    return pixels.astype(numpy.float32) / 255, numpy.frombuffer(labels, numpy.uint8, offset=8)[:count].astype(numpy.int64)
