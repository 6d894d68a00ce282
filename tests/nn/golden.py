#!/usr/bin/env python3
"""Makes tests/nn/golden/*.json: small networks with PyTorch's logits, loss, every gradient, and ten optimiser steps.

    python3 tests/nn/golden.py [NAME...]

Written with torch 2.15.0. All is computed in f64 from weights that f32 holds exactly, and kept with ten digits, so that the same
file checks f64 references to 1e-7 and f32 kernels to their own bounds. Nothing here runs in the tests.

A case is a torch module, its inputs, and `states`: for each state of Quern's network the parameters it is made of and how
(weights of dense layers are transposed, images are channels-last, gates stand in ONNX's order). Gradients and weights after the
steps go the same way.
"""

import json
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

FOLDER = Path(__file__).parent / "golden"
STEPS = 10


def number(value):
    return float(f"{value:.10g}")


def tensor(value):
    value = value.detach()
    data = value.reshape(-1).tolist()
    if value.dtype == torch.int64:
        return {"dtype": "i64", "shape": list(value.shape), "data": data}
    return {"shape": list(value.shape), "data": [number(x) for x in data]}


class States:
    """name -> (parameters, how they become Quern's tensor)"""

    def __init__(self):
        self.rows = {}

    def add(self, name, parameters, turn=lambda x: x):
        self.rows[name] = (parameters, turn)

    def dense(self, name, layer):
        self.add(f"{name}.weight", [layer.weight], lambda w: w.T)
        if layer.bias is not None:
            self.add(f"{name}.bias", [layer.bias])

    def conv2d(self, name, layer):
        self.add(f"{name}.weight", [layer.weight], lambda w: w.permute(2, 3, 1, 0))
        if layer.bias is not None:
            self.add(f"{name}.bias", [layer.bias])

    def norm(self, name, layer):
        self.add(f"{name}.scale", [layer.weight])
        if getattr(layer, "bias", None) is not None:
            self.add(f"{name}.shift", [layer.bias])

    def recurrent(self, name, layer, order):
        """order: torch's gates in ONNX's order"""

        def gates(w):
            return torch.cat([w.chunk(len(order))[g] for g in order])

        suffixes = ["_l0"] + (["_l0_reverse"] if layer.bidirectional else [])
        for state, part in (("weight", "weight_ih"), ("recurrent", "weight_hh")):
            self.add(f"{name}.{state}", [getattr(layer, part + s) for s in suffixes],
                     lambda *ws: torch.stack([gates(w) for w in ws]))
        biases = [getattr(layer, part + s) for s in suffixes for part in ("bias_ih", "bias_hh")]
        self.add(f"{name}.bias", biases, lambda *bs: torch.stack(
            [torch.cat([gates(bs[i]), gates(bs[i + 1])]) for i in range(0, len(bs), 2)]))

    def attention(self, name, layer):
        for i, part in enumerate(("query", "key", "value")):
            self.add(f"{name}.{part}.weight", [layer.in_proj_weight], lambda w, i=i: w.chunk(3)[i].T)
            self.add(f"{name}.{part}.bias", [layer.in_proj_bias], lambda b, i=i: b.chunk(3)[i])
        self.dense(f"{name}.output", layer.out_proj)

    def encoder_layer(self, name, layer):
        self.attention(f"{name}.attention", layer.self_attn)
        self.norm(f"{name}.norm1", layer.norm1)
        self.norm(f"{name}.norm2", layer.norm2)
        self.dense(f"{name}.feed_forward.up", layer.linear1)
        self.dense(f"{name}.feed_forward.down", layer.linear2)

    def write(self, of):
        return {name: tensor(turn(*[of(p) for p in parameters])) for name, (parameters, turn) in self.rows.items()}


def settle(module):
    """f64 parameters that f32 holds exactly; norms and biases too, so that every term counts."""
    module.double()
    with torch.no_grad():
        for name, p in module.named_parameters():
            if p.dim() < 2:
                p.add_(torch.randn_like(p) * 0.1)
            p.copy_(p.float().double())
    return module


def train(case, module, states, forward, loss_of, make_optimizer, clip_norm=0.0, after_step=None):
    """Fills in what the network gives now, and what ten steps make of it."""
    parameters = list(module.parameters())
    case["states"] = states.write(lambda p: p)
    optimizer = make_optimizer(parameters)
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        logits = forward(module)
        loss = loss_of(logits)
        loss.backward()
        losses.append(number(loss.item()))
        if step == 0:
            case["logits"] = tensor(logits)
            case["grads"] = states.write(lambda p: p.grad)
        if clip_norm > 0:
            nn.utils.clip_grad_norm_(parameters, clip_norm)
        optimizer.step()
        if after_step:
            after_step()
    case["losses"] = losses
    case["after"] = states.write(lambda p: p)
    return case


def data(*shape):
    return torch.randn(*shape).float().double()


def cnn():
    module = settle(nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, groups=2),
                                  nn.Tanh(), nn.Flatten(), nn.Linear(6 * 2 * 2, 3)))
    states = States()
    states.conv2d("layers.0", module[0])
    states.conv2d("layers.2", module[3])
    # channels-last flattening: [H, W, C] in place of [C, H, W]
    states.add("layers.4.weight", [module[6].weight],
               lambda w: w.reshape(3, 6, 2, 2).permute(2, 3, 1, 0).reshape(24, 3))
    states.add("layers.4.bias", [module[6].bias])
    x, t = data(4, 8, 8, 2), torch.randint(0, 3, (4,))
    case = {
        "layers": [{"conv2d": {"filters": 4, "kernel": 3, "padding": "same", "activation": "relu"}}, "max_pool2d",
                   {"conv2d": {"filters": 6, "kernel": 3, "groups": 2, "activation": "tanh"}}, "flatten",
                   {"dense": {"units": 3}}],
        "inputs": {"input": tensor(x)}, "target": tensor(t), "loss": "ce",
        "optimizer": {"name": "sgd", "rate": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    }
    return train(case, module, states, lambda m: m(x.permute(0, 3, 1, 2)), lambda y: F.cross_entropy(y, t),
                 lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, nesterov=True, weight_decay=0.01))


def resnet():
    """The parts of a ResNet: stem, plain block, block with a shortcut, global mean; and a transposed convolution."""

    class Block(nn.Module):
        def __init__(self, channels, filters, stride):
            super().__init__()
            self.first = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
            self.norm1 = nn.BatchNorm2d(filters)
            self.second = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
            self.norm2 = nn.BatchNorm2d(filters)
            self.shortcut = None
            if stride > 1:
                self.shortcut = nn.Sequential(nn.Conv2d(channels, filters, 1, stride, bias=False), nn.BatchNorm2d(filters))

        def forward(self, x):
            y = self.norm2(self.second(F.relu(self.norm1(self.first(x)))))
            return F.relu(y + (self.shortcut(x) if self.shortcut else x))

        def states(self, states, name):
            states.conv2d(f"{name}.layers.0", self.first)
            states.norm(f"{name}.layers.1", self.norm1)
            states.conv2d(f"{name}.layers.3", self.second)
            states.norm(f"{name}.layers.4", self.norm2)
            if self.shortcut:
                states.conv2d(f"{name}.shortcut.0", self.shortcut[0])
                states.norm(f"{name}.shortcut.1", self.shortcut[1])

    module = settle(nn.Sequential(nn.Conv2d(2, 4, 5, 2, 2, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
                                  Block(4, 4, 1), Block(4, 6, 2), nn.ConvTranspose2d(6, 3, 3, 2, 1, output_padding=1),
                                  nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3)))
    states = States()
    states.conv2d("layers.0", module[0])
    states.norm("layers.1", module[1])
    module[4].states(states, "layers.4")
    module[5].states(states, "layers.5")
    states.conv2d("layers.6", module[6])
    states.dense("layers.8", module[9])
    x, t = data(4, 13, 14, 2), torch.randint(0, 3, (4,))

    def conv(filters, stride=1):
        return {"conv2d": {"filters": filters, "kernel": 3, "stride": stride, "padding": 1, "bias": False}}

    relu = {"activation": {"name": "relu"}}
    case = {
        "layers": [{"conv2d": {"filters": 4, "kernel": 5, "stride": 2, "padding": 2, "bias": False}}, "batch_norm", relu,
                   {"max_pool2d": {"size": 3, "stride": 2, "padding": 1}},
                   {"residual": {"layers": [conv(4), "batch_norm", relu, conv(4), "batch_norm"], "activation": "relu"}},
                   {"residual": {"layers": [conv(6, 2), "batch_norm", relu, conv(6), "batch_norm"],
                                 "shortcut": [{"conv2d": {"filters": 6, "kernel": 1, "stride": 2, "bias": False}}, "batch_norm"],
                                 "activation": "relu"}},
                   {"conv2d_transpose": {"filters": 3, "kernel": 3, "stride": 2, "padding": 1, "output_padding": 1}},
                   "global_avg_pool2d", {"dense": {"units": 3}}],
        "inputs": {"input": tensor(x)}, "target": tensor(t), "loss": "ce",
        "optimizer": {"name": "sgd", "rate": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    }
    return train(case, module, states, lambda m: m(x.permute(0, 3, 1, 2)), lambda y: F.cross_entropy(y, t),
                 lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, nesterov=True, weight_decay=0.01))


def one_dimension():
    """Sequences: dilated, grouped and depthwise convolution, pools, up-sampling."""
    module = settle(nn.Sequential(nn.Conv1d(3, 6, 3, stride=2, padding=2, dilation=2), nn.GELU(), nn.Conv1d(6, 6, 3, padding=1, groups=6),
                                  nn.AvgPool1d(3, 1, 1, count_include_pad=False), nn.Upsample(scale_factor=2, mode="linear"),
                                  nn.MaxPool1d(2), nn.AdaptiveAvgPool1d(3), nn.Flatten(), nn.Linear(18, 2)))
    states = States()
    for name, layer in (("layers.0", module[0]), ("layers.1", module[2])):
        states.add(f"{name}.weight", [layer.weight], lambda w: w.permute(2, 1, 0))
        states.add(f"{name}.bias", [layer.bias])
    states.add("layers.7.weight", [module[8].weight], lambda w: w.reshape(2, 6, 3).permute(2, 1, 0).reshape(18, 2))
    states.add("layers.7.bias", [module[8].bias])
    x, t = data(3, 17, 3), torch.randint(0, 2, (3,))
    case = {
        "layers": [{"conv1d": {"filters": 6, "kernel": 3, "stride": 2, "padding": 2, "dilation": 2, "activation": "gelu"}},
                   {"depthwise_conv1d": {"kernel": 3, "padding": "same"}}, {"avg_pool1d": {"size": 3, "stride": 1, "padding": 1}},
                   {"upsample1d": {"mode": "linear"}}, "max_pool1d", {"adaptive_avg_pool1d": {"size": 3}}, "flatten",
                   {"dense": {"units": 2}}],
        "inputs": {"input": tensor(x)}, "target": tensor(t), "loss": "ce",
        "optimizer": {"name": "sgd", "rate": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
    }
    return train(case, module, states, lambda m: m(x.permute(0, 2, 1)), lambda y: F.cross_entropy(y, t),
                 lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, nesterov=True, weight_decay=0.01))


class LastStep(nn.Module):
    def __init__(self, recurrent, head):
        super().__init__()
        self.recurrent, self.head = recurrent, head

    def forward(self, x):
        return self.head(self.recurrent(x)[0][:, -1])


def lstm():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.LSTM(4, 5, batch_first=True, bidirectional=True)
            self.second = nn.LSTM(10, 6, batch_first=True)
            self.head = nn.Linear(6, 3)

        def forward(self, x):
            return self.head(self.second(self.first(x)[0])[0][:, -1])

    module = settle(Two())
    states = States()
    states.recurrent("layers.0", module.first, [0, 3, 1, 2])  # i f g o -> i o f c
    states.recurrent("layers.1", module.second, [0, 3, 1, 2])
    states.dense("layers.2", module.head)
    x, t = data(3, 7, 4), torch.randint(0, 3, (3,))
    case = {
        "layers": [{"lstm": {"units": 5, "return_sequences": True, "bidirectional": True}}, {"lstm": {"units": 6}},
                   {"dense": {"units": 3}}],
        "inputs": {"input": tensor(x)}, "target": tensor(t), "loss": "ce",
        "optimizer": {"name": "adamw", "rate": 0.02, "weight_decay": 0.1, "clip_norm": 0.5},
    }
    return train(case, module, states, lambda m: m(x), lambda y: F.cross_entropy(y, t),
                 lambda p: torch.optim.AdamW(p, 0.02, weight_decay=0.1), clip_norm=0.5)


def gru():
    module = settle(LastStep(nn.GRU(5, 6, batch_first=True), nn.Linear(6, 2)))
    states = States()
    states.recurrent("layers.0", module.recurrent, [1, 0, 2])  # r z n -> z r h
    states.dense("layers.1", module.head)
    x, t = data(4, 6, 5), data(4, 2)
    case = {
        "layers": [{"gru": {"units": 6}}, {"dense": {"units": 2}}],
        "inputs": {"input": tensor(x)}, "target": tensor(t), "loss": "mse",
        "optimizer": {"name": "adam", "rate": 0.02, "weight_decay": 0.02},
    }
    return train(case, module, states, lambda m: m(x), lambda y: F.mse_loss(y, t),
                 lambda p: torch.optim.Adam(p, 0.02, weight_decay=0.02))


def rnn():
    module = settle(LastStep(nn.RNN(5, 6, batch_first=True), nn.Linear(6, 2)))
    states = States()
    states.recurrent("layers.0", module.recurrent, [0])
    states.dense("layers.1", module.head)
    x, t = data(4, 6, 5), data(4, 2)
    case = {
        "layers": [{"rnn": {"units": 6}}, {"dense": {"units": 2}}],
        "inputs": {"input": tensor(x)}, "target": tensor(t), "loss": "huber",
        "optimizer": {"name": "sgd", "rate": 0.1},
    }
    return train(case, module, states, lambda m: m(x), lambda y: F.huber_loss(y, t),
                 lambda p: torch.optim.SGD(p, 0.1))


def encoder(pre):
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(4, 8)
            self.blocks = nn.ModuleList([nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, activation="gelu", norm_first=pre,
                                                                    batch_first=True) for _ in range(2)])
            self.norm = nn.LayerNorm(8) if pre else nn.Identity()
            self.head = nn.Linear(8, 3)

        def forward(self, x):
            x = self.first(x)
            for block in self.blocks:
                x = block(x)
            return self.head(self.norm(x).mean(1))

    module = settle(Encoder())
    states = States()
    states.dense("layers.0", module.first)
    for i, block in enumerate(module.blocks):
        states.encoder_layer(f"layers.1.{i}", block)
    if pre:
        states.norm("layers.1.norm", module.norm)
    states.dense("layers.3", module.head)
    x, t = data(3, 5, 4), torch.randint(0, 3, (3,))
    case = {
        "layers": [{"dense": {"units": 8}},
                   {"transformer": {"heads": 2, "blocks": 2, "units": 12, "order": "pre" if pre else "post"}},
                   "global_avg_pool1d", {"dense": {"units": 3}}],
        "inputs": {"input": tensor(x)}, "target": tensor(t), "loss": "ce",
        # eps: the bias of keys has no gradient but rounding, which a small one would blow up
        "optimizer": {"name": "adamw", "rate": 0.01, "weight_decay": 0.05, "eps": 1e-4},
    }
    return train(case, module, states, lambda m: m(x), lambda y: F.cross_entropy(y, t),
                 lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.05, eps=1e-4))


class Decoders(nn.Module):
    """Decoder layers; torch's norm2 stands before cross-attention, norm3 before feed-forward."""

    def __init__(self, pre, activation):
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.blocks = nn.ModuleList([nn.TransformerDecoderLayer(8, 2, 12, dropout=0.0, activation=activation, norm_first=pre,
                                                                batch_first=True) for _ in range(2)])
        self.norm = nn.LayerNorm(8) if pre else nn.Identity()
        self.head = nn.Linear(8, 3)

    def states(self, states):
        states.dense("first", self.first)
        for i, block in enumerate(self.blocks):
            name = f"decoder.{i}"
            states.attention(f"{name}.attention", block.self_attn)
            states.attention(f"{name}.cross_attention", block.multihead_attn)
            for ours, theirs in (("norm1", block.norm1), ("cross_norm", block.norm2), ("norm2", block.norm3)):
                states.norm(f"{name}.{ours}", theirs)
            states.dense(f"{name}.feed_forward.up", block.linear1)
            states.dense(f"{name}.feed_forward.down", block.linear2)
        if not isinstance(self.norm, nn.Identity):
            states.norm("decoder.norm", self.norm)
        states.dense("head", self.head)

    def forward(self, x, memory, padding):
        x = self.first(x)
        causal = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        for block in self.blocks:
            x = block(x, memory, tgt_mask=causal, memory_key_padding_mask=padding)
        return self.head(self.norm(x))


def lengths_of(*lengths, size):
    return torch.tensor(lengths), torch.arange(size)[None, :] >= torch.tensor(lengths)[:, None]


def decoder():
    """Attention to a memory with lengths of its own, norms after the sums."""
    module = settle(Decoders(False, "relu"))
    states = States()
    module.states(states)
    x, memory, t = data(3, 5, 4), data(3, 6, 8), torch.randint(0, 3, (3, 5))
    lengths, padding = lengths_of(6, 2, 4, size=6)
    case = {
        "inputs": {"input": tensor(x), "memory": tensor(memory), "lengths": tensor(lengths)}, "target": tensor(t), "loss": "ce",
        "optimizer": {"name": "adamw", "rate": 0.01, "weight_decay": 0.05, "eps": 1e-4},
    }
    return train(case, module, states, lambda m: m(x, memory, padding),
                 lambda y: F.cross_entropy(y.reshape(-1, 3), t.reshape(-1)),
                 lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.05, eps=1e-4))


def encoder_decoder():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.source = nn.Linear(4, 8)
            self.encoder = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, activation="gelu", norm_first=True, batch_first=True)
            self.norm = nn.LayerNorm(8)
            self.decoder = Decoders(True, "gelu")

        def forward(self, source, x, padding):
            memory = self.norm(self.encoder(self.source(source), src_key_padding_mask=padding))
            return self.decoder(x, memory, padding)

    module = settle(Both())
    states = States()
    states.dense("source", module.source)
    states.encoder_layer("encoder.0", module.encoder)
    states.norm("encoder.norm", module.norm)
    module.decoder.states(states)
    source, x, t = data(3, 6, 4), data(3, 5, 4), torch.randint(0, 3, (3, 5))
    lengths, padding = lengths_of(3, 6, 1, size=6)
    case = {
        "inputs": {"source": tensor(source), "input": tensor(x), "lengths": tensor(lengths)}, "target": tensor(t), "loss": "ce",
        "optimizer": {"name": "adamw", "rate": 0.01, "weight_decay": 0.05, "eps": 1e-4, "clip_norm": 1.0},
    }
    return train(case, module, states, lambda m: m(source, x, padding),
                 lambda y: F.cross_entropy(y.reshape(-1, 3), t.reshape(-1)),
                 lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.05, eps=1e-4), clip_norm=1.0)


CASES = {
    "cnn": cnn,
    "resnet": resnet,
    "one_dimension": one_dimension,
    "lstm": lstm,
    "gru": gru,
    "rnn": rnn,
    "encoder_pre": lambda: encoder(True),
    "encoder_post": lambda: encoder(False),
    "decoder": decoder,
    "encoder_decoder": encoder_decoder,
}


def main():
    for name in sys.argv[1:] or CASES:
        torch.manual_seed(sum(map(ord, name)))
        case = {"made_by": f"tests/nn/golden.py, torch {torch.__version__.split('+')[0]}, f64", **CASES[name]()}
        text = json.dumps(case, separators=(",", ":"))
        # a line for each part, so that a change can be read
        for key in case:
            text = text.replace(f',"{key}":', f',\n"{key}":', 1)
        (FOLDER / f"{name}.json").write_text(text + "\n")
        print(f"{name}: {len(text)} bytes")


if __name__ == "__main__":
    main()
