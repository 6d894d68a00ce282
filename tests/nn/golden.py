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

    def recurrent(self, name, layer, order, level=0):
        """order: torch's gates in ONNX's order; level: which layer of a stack"""

        def gates(w):
            return torch.cat([w.chunk(len(order))[g] for g in order])

        suffixes = [f"_l{level}"] + ([f"_l{level}_reverse"] if layer.bidirectional else [])
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
        "optimizer": {"name": "sgd", "rate": 0.05, "momentum": 0.9, "nesterov": 1, "weight_decay": 0.01},
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


def gru(kind=nn.GRU, attributes={}):
    module = settle(LastStep(kind(5, 6, batch_first=True), nn.Linear(6, 2)))
    states = States()
    states.recurrent("layers.0", module.recurrent, [1, 0, 2])  # r z n -> z r h
    states.dense("layers.1", module.head)
    x, t = data(4, 6, 5), data(4, 2)
    case = {
        "layers": [{"gru": {"units": 6, **attributes}}, {"dense": {"units": 2}}],
        "inputs": {"input": tensor(x)}, "target": tensor(t), "loss": "mse",
        "optimizer": {"name": "adam", "rate": 0.02, "weight_decay": 0.02},
    }
    return train(case, module, states, lambda m: m(x), lambda y: F.mse_loss(y, t),
                 lambda p: torch.optim.Adam(p, 0.02, weight_decay=0.02))


class ResetFirst(nn.GRU):
    """Cho et al. 2014: the reset gate scales the state before its product. PyTorch's own scales what comes out of it."""

    def forward(self, x):
        (wr, wz, wn), (ur, uz, un) = self.weight_ih_l0.chunk(3), self.weight_hh_l0.chunk(3)
        (br, bz, bn), (cr, cz, cn) = self.bias_ih_l0.chunk(3), self.bias_hh_l0.chunk(3)
        h, steps = x.new_zeros(x.shape[0], self.hidden_size), []
        for now in x.unbind(1):
            r = torch.sigmoid(now @ wr.T + br + h @ ur.T + cr)
            z = torch.sigmoid(now @ wz.T + bz + h @ uz.T + cz)
            n = torch.tanh(now @ wn.T + bn + (r * h) @ un.T + cn)
            h = (1 - z) * n + z * h
            steps.append(h)
        return torch.stack(steps, 1), h


def gru_reset_first():
    return gru(ResetFirst, {"reset_first": True})


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


PREFIX_MASK = [[1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 1, 1]]
SPARSE_MASK = [[1, 0], [0, 1], [1, 1], [0, 1], [1, 0]]


def masked():
    """An encoder under a pattern (there the mask says what is hidden), then attention to a memory under another."""

    def hidden(mask):
        return ~torch.tensor(mask, dtype=torch.bool)

    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, activation="gelu", norm_first=False, batch_first=True)
            self.memory = nn.Linear(8, 8)
            self.cross = nn.MultiheadAttention(8, 4, batch_first=True)
            self.head = nn.Linear(8, 3)

        def forward(self, x):
            x = self.block(x, src_mask=hidden(PREFIX_MASK))
            memory = self.memory(x[:, 1:3])
            return self.head(self.cross(x, memory, memory, attn_mask=hidden(SPARSE_MASK))[0].mean(1))

    module = settle(Masked())
    states = States()
    states.encoder_layer("layers.0.0", module.block)
    states.dense("layers.1.memory.1", module.memory)
    states.attention("layers.1", module.cross)
    states.dense("layers.3", module.head)
    x, t = data(3, 5, 8), torch.randint(0, 3, (3,))
    case = {
        "layers": [{"transformer": {"heads": 2, "units": 12, "order": "post", "mask": PREFIX_MASK}},
                   {"multi_head_attention": {"heads": 4, "mask": SPARSE_MASK, "memory": [{"slice": {"axis": 1, "start": 1, "end": 3}},
                                                                                         {"dense": {"units": 8}}]}},
                   "global_avg_pool1d", {"dense": {"units": 3}}],
        "inputs": {"input": tensor(x)}, "target": tensor(t), "loss": "ce",
        "optimizer": {"name": "adamw", "rate": 0.01, "weight_decay": 0.05, "eps": 1e-4},
    }
    return train(case, module, states, lambda m: m(x), lambda y: F.cross_entropy(y, t),
                 lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.05, eps=1e-4))


def initial():
    """Recurrent layers that begin from what other layers make of the sample: a stack of two directions, and one of one."""

    class Initial(nn.Module):
        def __init__(self):
            super().__init__()
            self.start = nn.Linear(4, 24)
            self.lstm = nn.LSTM(4, 3, num_layers=2, batch_first=True, bidirectional=True)
            self.reader = nn.GRU(6, 5, batch_first=True)
            self.gru = nn.GRU(6, 5, batch_first=True)
            self.head = nn.Linear(5, 2)

        def forward(self, x):
            h, c = self.start(x[:, 0]).chunk(2, 1)
            h, c = (part.reshape(-1, 4, 3).transpose(0, 1).contiguous() for part in (h, c))
            x = self.lstm(x, (h, c))[0]
            return self.head(self.gru(x, self.reader(x)[1])[0][:, -1])

    module = settle(Initial())
    states = States()
    states.dense("layers.0.initial.2", module.start)
    for level in range(2):
        states.recurrent(f"layers.0.{level}", module.lstm, [0, 3, 1, 2], level)
    states.recurrent("layers.1.initial.0", module.reader, [1, 0, 2])
    states.recurrent("layers.1", module.gru, [1, 0, 2])
    states.dense("layers.2", module.head)
    x, t = data(4, 6, 4), data(4, 2)
    case = {
        "layers": [{"lstm": {"units": 3, "layers": 2, "bidirectional": True, "return_sequences": True,
                             "initial": [{"slice": {"axis": 1, "end": 1}}, "flatten", {"dense": {"units": 24}}]}},
                   {"gru": {"units": 5, "initial": [{"gru": {"units": 5}}]}}, {"dense": {"units": 2}}],
        "inputs": {"input": tensor(x)}, "target": tensor(t), "loss": "mse",
        "optimizer": {"name": "sgd", "rate": 0.1},
    }
    return train(case, module, states, lambda m: m(x), lambda y: F.mse_loss(y, t), lambda p: torch.optim.SGD(p, 0.1))


def unpool():
    """SegNet in small: what is done to the pooled image returns to where its pixels came from; odd pixels get zeros."""

    class Unpool(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(2, 4, 3, padding=1)
            self.inner = nn.Conv2d(4, 4, 3, padding=1)
            self.last = nn.Conv2d(4, 3, 3, padding=1)

        def forward(self, x):
            x = F.relu(self.first(x))
            y, places = F.max_pool2d(x, (2, 3), return_indices=True)
            y = F.max_unpool2d(torch.tanh(self.inner(y)), places, (2, 3), output_size=x.shape[2:])
            return self.last(y).mean((2, 3))

    module = settle(Unpool())
    states = States()
    states.conv2d("layers.0", module.first)
    states.conv2d("layers.1.layers.0", module.inner)
    states.conv2d("layers.2", module.last)
    x, t = data(3, 7, 8, 2), torch.randint(0, 3, (3,))
    case = {
        "layers": [{"conv2d": {"filters": 4, "kernel": 3, "padding": "same", "activation": "relu"}},
                   {"max_unpool2d": {"size": [2, 3],
                                     "layers": [{"conv2d": {"filters": 4, "kernel": 3, "padding": "same", "activation": "tanh"}}]}},
                   {"conv2d": {"filters": 3, "kernel": 3, "padding": "same"}}, "global_avg_pool2d"],
        "inputs": {"input": tensor(x)}, "target": tensor(t), "loss": "ce",
        "optimizer": {"name": "sgd", "rate": 0.05, "momentum": 0.9, "nesterov": True},
    }
    return train(case, module, states, lambda m: m(x.permute(0, 3, 1, 2)), lambda y: F.cross_entropy(y, t),
                 lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, nesterov=True))


def chosen():
    """Pools with dilation and counted padding, parameters of activations, cuts, quotients, choices, and many indices."""
    places = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]

    class Chosen(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv2d(2, 3, 3)
            self.yes, self.last = nn.Linear(12, 12), nn.Linear(12, 3)

        def forward(self, x):
            x = F.leaky_relu(self.first(x), 0.2)
            x = F.avg_pool2d(F.max_pool2d(x, 2, 1, dilation=2), 3, 2, 1)
            x = F.elu(x.permute(0, 2, 3, 1).flatten(1), 0.5)[:, places]
            x = torch.where(x.flip(1) < x, self.yes(x), x.clamp(-0.3, 0.4))
            return self.last(x.tanh() / x.clamp(1, 2))

    module = settle(Chosen())
    states = States()
    states.conv2d("layers.0", module.first)
    states.dense("layers.7.layers.0", module.yes)
    states.dense("layers.9", module.last)
    x, t = data(3, 8, 7, 2), torch.randint(0, 3, (3,))
    case = {
        "layers": [{"conv2d": {"filters": 3, "kernel": 3}}, {"activation": {"name": "leaky_relu", "alpha": 0.2}},
                   {"max_pool2d": {"stride": 1, "dilation": 2}}, {"avg_pool2d": {"size": 3, "stride": 2, "padding": 1, "count_padding": True}},
                   "flatten", {"activation": {"name": "elu", "alpha": 0.5}}, {"gather": {"indices": places}},
                   {"where": {"condition": [{"residual": {"join": "less", "layers": [{"gather": {"indices": list(range(11, -1, -1))}}]}}],
                              "layers": [{"dense": {"units": 12}}],
                              "otherwise": [{"clip": {"min": -0.3, "max": 0.4}}]}},
                   {"residual": {"join": "divide", "layers": [{"activation": {"name": "tanh"}}], "shortcut": [{"clip": {"min": 1, "max": 2}}]}},
                   {"dense": {"units": 3}}],
        "inputs": {"input": tensor(x)}, "target": tensor(t), "loss": "ce", "optimizer": {"name": "sgd", "rate": 0.05},
    }
    return train(case, module, states, lambda m: m(x.permute(0, 3, 1, 2)), lambda y: F.cross_entropy(y, t),
                 lambda p: torch.optim.SGD(p, 0.05))


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


class Lion(torch.optim.Optimizer):
    """Chen et al. 2023, algorithm 2."""

    def __init__(self, params, lr, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                update = (b1 * m + (1 - b1) * p.grad).sign() + group["weight_decay"] * p
                p.sub_(group["lr"] * update)
                m.copy_(b2 * m + (1 - b2) * p.grad)


class Lamb(torch.optim.Optimizer):
    """You et al. 2020, algorithm 2, with the bias corrections of its appendix and phi the identity."""

    def __init__(self, params, lr, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.01):
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for p in group["params"]:
                s = self.state[p]
                s["t"] = s.get("t", 0) + 1
                s["m"] = b1 * s.get("m", torch.zeros_like(p)) + (1 - b1) * p.grad
                s["v"] = b2 * s.get("v", torch.zeros_like(p)) + (1 - b2) * p.grad ** 2
                r = s["m"] / (1 - b1 ** s["t"]) / ((s["v"] / (1 - b2 ** s["t"])).sqrt() + group["eps"])
                r = r + group["weight_decay"] * p
                trust = p.norm() / r.norm() if p.norm() > 0 and r.norm() > 0 else 1.0
                p.sub_(group["lr"] * trust * r)


class Muon(torch.optim.Optimizer):
    """torch.optim.Muon in f64, where that rounds to bf16, and AdamW for what is no matrix."""

    def __init__(self, params, lr, momentum=0.95, weight_decay=0.1, nesterov=True, match_adam=True):
        super().__init__(params, {"lr": lr, "momentum": momentum})
        params = self.param_groups[0]["params"]
        self.options = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "nesterov": nesterov,
                        "adjust_lr_fn": "match_rms_adamw" if match_adam else "original"}
        self.matrices = [p for p in params if p.dim() == 2]
        # the same by torch itself, in bf16: both must agree to its digits
        self.twins = [p.detach().clone().requires_grad_() for p in self.matrices]
        self.theirs = torch.optim.Muon(self.twins, **self.options)
        self.rest = torch.optim.AdamW([p for p in params if p.dim() != 2], lr, weight_decay=weight_decay)

    @torch.no_grad()
    def step(self):
        o = self.options
        self.rest.step()
        for p, twin in zip(self.matrices, self.twins):
            n = self.state[p].setdefault("n", torch.zeros_like(p))
            n.lerp_(p.grad, 1 - o["momentum"])
            x = p.grad.lerp(n, o["momentum"]) if o["nesterov"] else n.clone()
            wide = x.shape[0] <= x.shape[1]
            x = x if wide else x.T
            x = x / x.norm().clamp(min=1e-7)
            for _ in range(5):
                s = x @ x.T
                x = 3.4445 * x + (-4.7750 * s + 2.0315 * s @ s) @ x
            x = x if wide else x.T
            out, into = p.shape
            f = 0.2 * max(out, into) ** 0.5 if o["adjust_lr_fn"] == "match_rms_adamw" else max(1, out / into) ** 0.5
            twin.grad = p.grad.clone()
            p.mul_(1 - o["lr"] * o["weight_decay"]).sub_(o["lr"] * f * x)
        self.theirs.step()
        for p, twin in zip(self.matrices, self.twins):
            assert (p - twin).abs().max() < 0.02 * p.abs().max(), (p - twin).abs().max()


def optimizer(name, make, **options):
    """A network of two dense layers with biases under one optimiser."""
    module = settle(nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)))
    states = States()
    states.dense("layers.0", module[0])
    states.dense("layers.1", module[2])
    x, t = data(6, 3), data(6, 2)
    case = {
        "layers": [{"dense": {"units": 5, "activation": "tanh"}}, {"dense": {"units": 2}}],
        "inputs": {"input": tensor(x)}, "target": tensor(t), "loss": "mse",
        "optimizer": {"name": name, **options},
    }
    options.pop("clip_norm", None)
    return train(case, module, states, lambda m: m(x), lambda y: F.mse_loss(y, t), make,
                 clip_norm=case["optimizer"].get("clip_norm", 0.0))


def reparametrised(kind):
    """Weights by direction and gain, or divided by their largest singular value (torch.nn.utils.parametrizations)."""
    from torch.nn.utils import parametrizations as P
    first, head = settle(nn.Conv2d(2, 4, 3)), settle(nn.Linear(4 * 16, 3))
    turn = [lambda w: w.permute(2, 3, 1, 0), lambda w: w.reshape(3, 4, 4, 4).permute(2, 3, 1, 0).reshape(64, 3)]
    make = P.weight_norm if kind == "weight_norm" else P.spectral_norm
    layers = [make(first), make(head)]
    states, buffers = States(), States()
    for name, layer, by in zip(("layers.0", "layers.2"), layers, turn):
        own = layer.parametrizations.weight
        if kind == "weight_norm":
            with torch.no_grad():  # what f32 holds, and not the norm itself
                own.original0.copy_((own.original0 * 1.25).float().double())
            states.add(f"{name}.gain", [own.original0], lambda g: g.reshape(-1))
            states.add(f"{name}.weight", [own.original1], by)
        else:
            states.add(f"{name}.weight", [own.original], by)
            with torch.no_grad():
                own[0]._u.copy_(own[0]._u.float().double())
                own[0]._v.copy_(own[0]._v.float().double())
            buffers.add(f"{name}.spectral_u", [own[0]._u], lambda u: u[:, None])
            # v lies as the weight's other dimensions do
            buffers.add(f"{name}.spectral_v", [own[0]._v],
                        (lambda v: v.reshape(2, 3, 3).permute(1, 2, 0).reshape(-1, 1)) if layer is layers[0]
                        else (lambda v: v.reshape(4, 4, 4).permute(1, 2, 0).reshape(-1, 1)))
        states.add(f"{name}.bias", [layer.bias])
    module = nn.Sequential(layers[0], nn.Tanh(), nn.Flatten(), layers[1])
    x, t = data(4, 6, 6, 2), torch.randint(0, 3, (4,))
    case = {
        "layers": [{"conv2d": {"filters": 4, "kernel": 3, "activation": "tanh", "reparametrize": kind}}, "flatten",
                   {"dense": {"units": 3, "reparametrize": kind}}],
        "inputs": {"input": tensor(x)}, "target": tensor(t), "loss": "ce",
        "optimizer": {"name": "sgd", "rate": 0.1},
    }
    if buffers.rows:
        case["buffers"] = buffers.write(lambda b: b)
    train(case, module, states, lambda m: m(x.permute(0, 3, 1, 2)), lambda y: F.cross_entropy(y, t),
          lambda p: torch.optim.SGD(p, 0.1))
    if buffers.rows:
        case["buffers_after"] = buffers.write(lambda b: b)
    return case


def reparametrised_sequence(kind):
    """The same for a transposed convolution and a GRU of both directions, whose matrices are those of linear layers here."""
    from torch.nn.utils import parametrizations as P
    make = P.weight_norm if kind == "weight_norm" else P.spectral_norm
    grow, head = settle(nn.ConvTranspose1d(3, 4, 3, stride=2)), settle(nn.Linear(10, 3))
    parts = [[settle(nn.Linear(4, 15)), settle(nn.Linear(5, 15))] for _ in range(2)]
    make(grow)
    for pair in parts:
        for layer in pair:
            make(layer)
    states, buffers = States(), States()

    def gates(w):  # torch's r z n in ONNX's order z r h
        r, z, n = w.chunk(3)
        return torch.cat([z, r, n])

    def both(i, what):
        return [what(pair[i].parametrizations.weight) for pair in parts]

    def stack(turn=lambda w: w):
        return lambda *ws: torch.stack([turn(w) for w in ws])

    own = grow.parametrizations.weight
    if kind == "weight_norm":
        with torch.no_grad():
            for g in [own.original0] + both(0, lambda w: w.original0) + both(1, lambda w: w.original0):
                g.copy_((g * 1.25).float().double())
        states.add("layers.0.gain", [own.original0], lambda g: g.reshape(-1))
        states.add("layers.0.weight", [own.original1], lambda w: w.permute(2, 1, 0))
        for i, (name, gain) in enumerate((("weight", "gain"), ("recurrent", "recurrent_gain"))):
            states.add(f"layers.1.{gain}", both(i, lambda w: w.original0), stack(gates))
            states.add(f"layers.1.{name}", both(i, lambda w: w.original1), stack(gates))
    else:
        with torch.no_grad():
            for power in [own[0]] + both(0, lambda w: w[0]) + both(1, lambda w: w[0]):
                power._u.copy_(power._u.float().double())
                power._v.copy_(power._v.float().double())
        states.add("layers.0.weight", [own.original], lambda w: w.permute(2, 1, 0))
        buffers.add("layers.0.spectral_u", [own[0]._u], lambda u: u[:, None])
        buffers.add("layers.0.spectral_v", [own[0]._v], lambda v: v.reshape(3, 3).T.reshape(-1, 1))
        for i, (name, what) in enumerate((("weight", ""), ("recurrent", "recurrent_"))):
            states.add(f"layers.1.{name}", both(i, lambda w: w.original), stack(gates))
            buffers.add(f"layers.1.{what}spectral_u", both(i, lambda w: w[0]._u), stack(lambda u: gates(u)[:, None]))
            buffers.add(f"layers.1.{what}spectral_v", both(i, lambda w: w[0]._v), stack(lambda v: v[:, None]))
    states.add("layers.0.bias", [grow.bias])
    states.add("layers.1.bias", [layer.bias for pair in parts for layer in pair],
               lambda *bs: torch.stack([torch.cat([gates(bs[i]), gates(bs[i + 1])]) for i in (0, 2)]))
    states.dense("layers.2", head)
    module = nn.ModuleList([grow, head] + [layer for pair in parts for layer in pair])

    def walk(steps, wi, bi, wh, bh):
        h = torch.zeros(steps[0].shape[0], 5, dtype=torch.float64)
        for x in steps:
            (ri, zi, ni), (rh, zh, nh) = F.linear(x, wi, bi).chunk(3, 1), F.linear(h, wh, bh).chunk(3, 1)
            r, z = torch.sigmoid(ri + rh), torch.sigmoid(zi + zh)
            n = torch.tanh(ni + r * nh)
            h = (1 - z) * n + z * h
        return h

    def run(_):
        steps = list(grow(x.permute(0, 2, 1)).permute(2, 0, 1))
        # a weight is made once a step, as each making moves the power iteration on
        made = [[(layer.weight, layer.bias) for layer in pair] for pair in parts]
        ends = [walk(order, *first, *second) for order, (first, second) in zip((steps, steps[::-1]), made)]
        return head(torch.cat(ends, 1))

    x, t = data(4, 3, 3), torch.randint(0, 3, (4,))
    case = {
        "layers": [{"conv1d_transpose": {"filters": 4, "kernel": 3, "stride": 2, "reparametrize": kind}},
                   {"gru": {"units": 5, "bidirectional": True, "reparametrize": kind}}, {"dense": {"units": 3}}],
        "inputs": {"input": tensor(x)}, "target": tensor(t), "loss": "ce",
        "optimizer": {"name": "sgd", "rate": 0.1},
    }
    if buffers.rows:
        case["buffers"] = buffers.write(lambda b: b)
    train(case, module, states, run, lambda y: F.cross_entropy(y, t), lambda p: torch.optim.SGD(p, 0.1))
    if buffers.rows:
        case["buffers_after"] = buffers.write(lambda b: b)
    return case


OPTIMIZERS = {
    "adagrad": lambda: optimizer("adagrad", lambda p: torch.optim.Adagrad(p, 0.1, lr_decay=0.1, weight_decay=0.01),
                                 rate=0.1, lr_decay=0.1, weight_decay=0.01),
    "rmsprop": lambda: optimizer("rmsprop", lambda p: torch.optim.RMSprop(p, 0.01, alpha=0.9, weight_decay=0.01),
                                 rate=0.01, rho=0.9, weight_decay=0.01),
    "rmsprop_momentum": lambda: optimizer("rmsprop", lambda p: torch.optim.RMSprop(p, 0.01, momentum=0.8), rate=0.01,
                                          momentum=0.8, clip_norm=0.5),
    "rmsprop_centered": lambda: optimizer("rmsprop", lambda p: torch.optim.RMSprop(p, 0.003, momentum=0.5, centered=True),
                                          rate=0.003, momentum=0.5, centered=1),
    "adadelta": lambda: optimizer("adadelta", lambda p: torch.optim.Adadelta(p, 1.0, rho=0.8, weight_decay=0.01), rate=1.0,
                                  rho=0.8, weight_decay=0.01),
    "nadam": lambda: optimizer("nadam", lambda p: torch.optim.NAdam(p, 0.02, weight_decay=0.01), rate=0.02,
                               weight_decay=0.01),
    "lion": lambda: optimizer("lion", lambda p: Lion(p, 0.01, weight_decay=0.1), rate=0.01, weight_decay=0.1),
    "lamb": lambda: optimizer("lamb", lambda p: Lamb(p, 0.05), rate=0.05, weight_decay=0.01, clip_norm=0.5),
    "adafactor": lambda: optimizer("adafactor", lambda p: torch.optim.Adafactor(p, 0.1, weight_decay=0.01), rate=0.1,
                                   weight_decay=0.01),
    "muon": lambda: optimizer("muon", lambda p: Muon(p, 0.02), rate=0.02, weight_decay=0.1),
    "muon_original": lambda: optimizer(
        "muon", lambda p: Muon(p, 0.02, momentum=0.9, nesterov=False, match_adam=False, weight_decay=0.0), rate=0.02,
        momentum=0.9, nesterov=0, match_adam=0, weight_decay=0.0, clip_norm=0.5),
}

def quantile(y, t):
    return torch.maximum(0.8 * (t - y), -0.2 * (t - y)).mean()


def loss(name, of, target, shape=(6, 3), units=2, **options):
    """A network of two dense layers under one loss, ten steps of Adam. `of` gives the loss of predictions and target."""
    module = settle(nn.Sequential(nn.Linear(shape[-1], 5), nn.Tanh(), nn.Linear(5, units)))
    states = States()
    states.dense("layers.0", module[0])
    states.dense("layers.1", module[2])
    x = data(*shape)
    case = {
        "layers": [{"dense": {"units": 5, "activation": "tanh"}}, {"dense": {"units": units}}],
        "inputs": {"input": tensor(x)}, "loss": name, "loss_options": options,
        "optimizer": {"name": "adam", "rate": 0.02, "eps": 1e-4},
    }
    if target is not None:
        target = target()
        case["target"] = tensor(target)
    return train(case, module, states, lambda m: m(x), lambda y: of(y, target),
                 lambda p: torch.optim.Adam(p, 0.02, eps=1e-4))


def ctc(y, t):
    lengths = (t >= 0).sum(1)
    return F.ctc_loss(y.log_softmax(-1).transpose(0, 1), t.clamp(min=0), torch.full((len(y),), y.shape[1]), lengths, blank=1)


LOSSES = {
    "kl": lambda: loss("kl", lambda y, t: F.kl_div(y.log_softmax(-1), t, reduction="batchmean"),
                       lambda: data(6, 4).softmax(-1).float().double(), units=4),
    # torch has no hinge of single scores: Keras' formula
    "hinge": lambda: loss("hinge", lambda y, t: F.relu(0.8 - (2 * t - 1) * y).mean(),
                          lambda: torch.randint(0, 2, (6, 2)).double(), margin=0.8),
    "squared_hinge": lambda: loss("squared_hinge", lambda y, t: (F.relu(1 - (2 * t - 1) * y) ** 2).mean(),
                                  lambda: torch.randint(0, 2, (6, 2)).double()),
    "poisson": lambda: loss("poisson", lambda y, t: F.poisson_nll_loss(y, t), lambda: torch.randint(0, 5, (6, 2)).double()),
    # torch has no pinball loss: Koenker and Bassett's formula
    "quantile": lambda: loss("quantile", quantile, lambda: data(6, 2), quantile=0.8),
    "cosine": lambda: loss("cosine", lambda y, t: F.cosine_embedding_loss(y[:, 0], y[:, 1], t, margin=-0.5),
                           lambda: torch.tensor([1., -1, 1, -1, -1, 1]).double(), shape=(6, 2, 3), units=4, margin=-0.5),
    "triplet": lambda: loss("triplet", lambda y, t: F.triplet_margin_loss(y[:, 0], y[:, 1], y[:, 2], margin=0.9), None,
                            shape=(6, 3, 3), units=4, margin=0.9),
    "ctc": lambda: loss("ctc", ctc, lambda: torch.tensor([[0, 2, 2], [3, 0, -1], [2, -1, -1]]), shape=(3, 8, 3), units=4,
                        blank=1),
}

CASES = {
    "weight_norm": lambda: reparametrised("weight_norm"),
    "spectral_norm": lambda: reparametrised("spectral_norm"),
    "weight_norm_sequence": lambda: reparametrised_sequence("weight_norm"),
    "spectral_norm_sequence": lambda: reparametrised_sequence("spectral_norm"),
    **{f"loss_{name}": make for name, make in LOSSES.items()},
    **{f"optimizer_{name}": make for name, make in OPTIMIZERS.items()},
    "cnn": cnn,
    "resnet": resnet,
    "one_dimension": one_dimension,
    "lstm": lstm,
    "gru": gru, "gru_reset_first": gru_reset_first,
    "rnn": rnn,
    "encoder_pre": lambda: encoder(True),
    "encoder_post": lambda: encoder(False),
    "masked": masked,
    "initial": initial,
    "unpool": unpool,
    "chosen": chosen,
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
