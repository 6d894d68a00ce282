#!/usr/bin/env python3
"""Exports small PyTorch networks with random weights, in the forms that people write, by both exporters.

    python3 tests/model/exported/torch_models.py [NAME...]

Written with torch 2.15.0, onnxscript 0.7.2 and onnx 1.23.2. Nothing here runs in the tests: they read the files.
"""
import logging
import sys
import warnings

import numpy as np
import torch
from torch import nn
from torch.export import Dim
from torch.nn import functional as F

from exported import HERE, keep

ROWS = 6


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, stride=2), nn.ReLU(),
                                      nn.AdaptiveAvgPool2d(1))
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.features(x)
        return self.head(x.view(x.size(0), -1))


class Block(nn.Module):
    """Of ResNet-18."""

    def __init__(self, inside, outside, stride=1):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inside, outside, 3, stride, 1, bias=False), nn.BatchNorm2d(outside)
        self.conv2, self.bn2 = nn.Conv2d(outside, outside, 3, 1, 1, bias=False), nn.BatchNorm2d(outside)
        self.short = nn.Sequential(nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)) if stride > 1 else nn.Identity()

    def forward(self, x):
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))) + self.short(x))


class Squeeze(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.pool, self.down, self.up = nn.AdaptiveAvgPool2d(1), nn.Conv2d(channels, 2, 1), nn.Conv2d(2, channels, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.up(F.silu(self.down(self.pool(x)))))


class Inverted(nn.Module):
    """Of MobileNetV2, and with `squeeze` of EfficientNet."""

    def __init__(self, channels, act, squeeze):
        super().__init__()
        wide = 2 * channels
        self.layers = nn.Sequential(nn.Conv2d(channels, wide, 1, bias=False), nn.BatchNorm2d(wide), act(), nn.Conv2d(wide, wide, 3, 1, 1, groups=wide, bias=False),
                                    nn.BatchNorm2d(wide), act(), Squeeze(wide) if squeeze else nn.Identity(), nn.Conv2d(wide, channels, 1, bias=False),
                                    nn.BatchNorm2d(channels))

    def forward(self, x):
        return x + self.layers(x)


def mobile(act, squeeze):
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1, bias=False), nn.BatchNorm2d(4), act(), Inverted(4, act, squeeze), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Dropout(0.2), nn.Linear(4, 3))


class Unet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.mid, self.up, self.out = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1), nn.ConvTranspose2d(6, 4, 2, 2), nn.Conv2d(8, 3, 1)

    def forward(self, x):
        first = F.relu(self.down(x))
        up = self.up(F.relu(self.mid(F.max_pool2d(first, 2))))
        return F.interpolate(self.out(torch.cat([up, first], 1)), scale_factor=2, mode="bilinear", align_corners=False).mean((2, 3))


class Recurrent(nn.Module):
    def __init__(self, kind, layers, both, steps):
        super().__init__()
        self.rnn, self.steps = getattr(nn, kind)(4, 5, num_layers=layers, batch_first=True, bidirectional=both), steps
        self.head = nn.Linear(10 if both else 5, 3)

    def forward(self, x):
        steps, last = self.rnn(x)
        last = last[0] if isinstance(last, tuple) else last
        return self.head(steps.mean(1) if self.steps else last[-1] if self.head.in_features == 5 else torch.cat([last[-2], last[-1]], -1))


class Packed(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.LSTM(4, 5, batch_first=True, bidirectional=True), nn.Linear(10, 3)

    def forward(self, x, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
        steps, _ = nn.utils.rnn.pad_packed_sequence(self.rnn(packed)[0], batch_first=True)
        return self.head(steps.sum(1))


class Encoder(nn.Module):
    def __init__(self, mask, norm_first):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, norm_first=norm_first, activation="gelu" if mask else "relu")
        self.embed, self.encoder, self.head = nn.Linear(4, 8), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(8, 3)
        self.register_buffer("positions", torch.randn(1, 16, 8) * 0.1)
        self.mask = nn.Transformer.generate_square_subsequent_mask(7) if mask else None

    def forward(self, x):
        return self.head(self.encoder(self.embed(x) + self.positions[:, :x.size(1)], mask=self.mask).mean(1))


class Bert(nn.Module):
    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, activation="gelu")
        self.words, self.positions, self.norm = nn.Embedding(20, 8, padding_idx=0), nn.Embedding(16, 8), nn.LayerNorm(8)
        self.encoder, self.pool, self.head = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, ids, mask):
        x = self.norm(self.words(ids) + self.positions(torch.arange(ids.size(1), device=ids.device)))
        return self.head(torch.tanh(self.pool(self.encoder(x, src_key_padding_mask=mask == 0)[:, 0])))


class Gpt(nn.Module):
    """As nanoGPT writes it: one product for query, key and value, and a mask of ones filled with -inf."""

    def __init__(self):
        super().__init__()
        self.words, self.positions, self.norm1, self.norm2 = nn.Embedding(20, 8), nn.Embedding(16, 8), nn.LayerNorm(8), nn.LayerNorm(8)
        self.qkv, self.out, self.up, self.down, self.norm = nn.Linear(8, 24), nn.Linear(8, 8), nn.Linear(8, 16), nn.Linear(16, 8), nn.LayerNorm(8)
        self.register_buffer("mask", torch.tril(torch.ones(16, 16)).view(1, 1, 16, 16))

    def forward(self, ids):
        rows, steps = ids.shape
        x = self.words(ids) + self.positions(torch.arange(steps, device=ids.device))
        q, k, v = (part.view(rows, steps, 2, 4).transpose(1, 2) for part in self.qkv(self.norm1(x)).split(8, -1))
        weights = (q @ k.transpose(-1, -2) / 2).masked_fill(self.mask[:, :, :steps, :steps] == 0, float("-inf")).softmax(-1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(rows, steps, 8))
        x = x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))
        return (self.norm(x) @ self.words.weight.T)[:, -1]


class Llama(nn.Module):
    """Grouped-query attention with rotary positions, RMSNorm and a gated feed-forward part."""

    def __init__(self):
        super().__init__()
        self.words, self.norm, self.head = nn.Embedding(20, 8), nn.RMSNorm(8), nn.Linear(8, 3)
        self.q, self.k, self.v, self.out = nn.Linear(8, 8, bias=False), nn.Linear(8, 4, bias=False), nn.Linear(8, 4, bias=False), nn.Linear(8, 8, bias=False)
        self.gate, self.up, self.down = nn.Linear(8, 12), nn.Linear(8, 12), nn.Linear(12, 8)
        self.register_buffer("rates", 1 / 10000 ** (torch.arange(0, 4, 2) / 4))

    @staticmethod
    def turn(x, cos, sin):
        left, right = x.chunk(2, -1)
        return x * cos + torch.cat([-right, left], -1) * sin

    def forward(self, ids):
        rows, steps = ids.shape
        x = self.words(ids)
        normed = self.norm(x)
        q, k, v = (part(normed).view(rows, steps, -1, 4).transpose(1, 2) for part in (self.q, self.k, self.v))
        angles = torch.outer(torch.arange(steps).float(), self.rates).repeat(1, 2)
        q, k = self.turn(q, angles.cos(), angles.sin()), self.turn(k, angles.cos(), angles.sin())
        y = F.scaled_dot_product_attention(q, k.repeat_interleave(2, 1), v.repeat_interleave(2, 1), is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(rows, steps, 8))
        normed = self.norm(x)
        return self.head((x + self.down(F.silu(self.gate(normed)) * self.up(normed)))[:, -1])


class Vit(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches, self.token, self.positions = nn.Conv2d(3, 8, 4, 4), nn.Parameter(torch.zeros(1, 1, 8)), nn.Parameter(torch.randn(1, 5, 8) * 0.1)
        self.attention, self.norm, self.head = nn.MultiheadAttention(8, 2, batch_first=True), nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.size(0), -1, -1), x], 1) + self.positions
        return self.head(self.norm(x + self.attention(x, x, x, need_weights=False)[0])[:, 0])


def images():
    return (torch.randn(ROWS, 3, 8, 8),)


def steps():
    return (torch.randn(ROWS, 7, 4),)


def tokens():
    return (torch.randint(1, 20, (ROWS, 7)),)


LENGTHS = torch.tensor([7, 6, 5, 5, 3, 1])
CASES = {  # name: the network, its inputs, the exporter, the opset
    "cnn": (Cnn, images, "script", 17),
    "cnn_new": (Cnn, images, "dynamo", 18),
    "resnet": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), Block(4, 4), Block(4, 6, 2), nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(1), nn.Linear(6, 3)), images,
               "script", 11),
    "mobilenet": (lambda: mobile(nn.ReLU6, False), images, "script", 13),
    "efficientnet": (lambda: mobile(nn.SiLU, True), images, "dynamo", 21),
    "unet": (Unet, images, "dynamo", 18),
    "vit": (Vit, images, "script", 17),
    "lstm": (lambda: Recurrent("LSTM", 1, False, True), steps, "dynamo", 18),
    "lstm_deep": (lambda: Recurrent("LSTM", 2, True, False), steps, "script", 11),
    "gru": (lambda: Recurrent("GRU", 1, True, False), steps, "script", 17),
    "gru_new": (lambda: Recurrent("GRU", 1, False, True), steps, "dynamo", 20),
    "packed": (Packed, lambda: (torch.randn(ROWS, 7, 4), LENGTHS), "script", 14),
    "encoder": (lambda: Encoder(True, True), steps, "script", 17),
    "encoder_new": (lambda: Encoder(False, False), steps, "dynamo", 23),
    "bert": (Bert, lambda: (*tokens(), (torch.arange(7) < LENGTHS[:, None]).long()), "script", 14),
    "bert_new": (Bert, lambda: (*tokens(), (torch.arange(7) < LENGTHS[:, None]).long()), "dynamo", 18),
    "gpt": (Gpt, tokens, "script", 14),
    "llama": (Llama, tokens, "dynamo", 23),
}


def export(name):
    make, sample, how, opset = CASES[name]
    torch.manual_seed(1)
    model, inputs = make().eval(), sample()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.uniform_(part.running_mean, -0.3, 0.3)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
    path, names = HERE / f"torch_{name}.onnx", [f"in{i}" for i in range(len(inputs))]
    if how == "dynamo":
        torch.onnx.export(model, inputs, path, dynamo=True, opset_version=opset, input_names=names, output_names=["out"], external_data=False, verbose=False,
                          dynamic_shapes=tuple({0: Dim("batch")} for _ in inputs))
    else:
        torch.onnx.export(model, inputs, path, dynamo=False, opset_version=opset, input_names=names, output_names=["out"], keep_initializers_as_inputs=False,
                          dynamic_axes={each: {0: "batch"} for each in names}, training=torch.onnx.TrainingMode.EVAL)
    with torch.no_grad():
        keep(f"torch_{name}", [np.array(each) for each in inputs], np.array(model(*inputs)))


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    for chosen in sys.argv[1:] or CASES:
        export(chosen)
