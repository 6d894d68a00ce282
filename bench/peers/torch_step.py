"""The networks of step_bench.c in PyTorch, on random data, and matrix products.

usage: torch_step.py CASE[_bf16] THREADS MODE [SECONDS | memory]     MODE: eager, fused (fused AdamW) or compiled (and fused AdamW)
_bf16: the forward pass and the loss under autocast. CASE may be gemm512, gemm1024, gemm2048.
Prints one line of JSON: the median and least microseconds of a step after a warm-up; or by how many bytes the peak of resident
memory grows from before any weight exists to after some steps.
"""
import ctypes
import gc
import json
import pathlib
import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.rnn, self.head = kind(28, 128, batch_first=True), nn.Linear(128, 10)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])


class Block(nn.Module):
    """GPT-2's block as nanoGPT writes it: one product for query, key and value, scaled_dot_product_attention."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):
        batch, steps, width = x.shape
        q, k, v = (part.view(batch, steps, self.heads, width // self.heads).transpose(1, 2)
                   for part in self.qkv(self.norm1(x)).split(width, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(batch, steps, width))
        return x + self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh"))


class Language(nn.Module):
    def __init__(self, classes, width, blocks, heads, steps):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(classes, width), nn.Embedding(steps, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(blocks)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes, bias=False)
        for table in (self.tokens, self.positions):  # N(0, 1), the default, makes denormal gradients
            nn.init.normal_(table.weight, std=0.02)
        self.head.weight = self.tokens.weight

    def forward(self, x):
        return self.head(self.norm(self.blocks(self.tokens(x) + self.positions.weight)))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.TransformerEncoderLayer(256, 8, 1024, dropout=0, batch_first=True), nn.Linear(256, 10)

    def forward(self, x):
        return self.head(self.layer(x))


def numbers(batch, steps, width):
    return lambda: torch.rand(batch, steps, width) * 2 - 1


def tokens(batch, steps, classes):
    return lambda: torch.randint(classes, (batch, steps))


CASES = {  # network, inputs, targets
    "mlp": (lambda: nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10)), lambda: torch.rand(32, 784),
            lambda: torch.randint(10, (32,))),
    "cnn_deep": (lambda: nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10)), lambda: torch.rand(32, 1, 28, 28),
        lambda: torch.randint(10, (32,))),
    "lstm": (lambda: Recurrent(nn.LSTM), numbers(32, 100, 28), lambda: torch.randint(10, (32,))),
    "gru": (lambda: Recurrent(nn.GRU), numbers(32, 100, 28), lambda: torch.randint(10, (32,))),
    "encoder": (Encoder, numbers(16, 128, 256), tokens(16, 128, 10)),
    "gpt2": (lambda: Language(50257, 768, 12, 12, 64), tokens(4, 64, 50257), tokens(4, 64, 50257)),
    "char": (lambda: Language(65, 128, 4, 4, 64), tokens(12, 64, 65), tokens(12, 64, 65)),
}


SMALL = {"gpt2": (lambda: Language(65, 128, 1, 4, 8), tokens(1, 8, 65), tokens(1, 8, 65))}  # of the same kind
SMALL["char"] = SMALL["gpt2"]


def make_step(name, mode, cases=CASES):
    if name.startswith("gemm"):
        size = int(name[4:])
        a, b, c = torch.rand(size, size), torch.rand(size, size), torch.empty(size, size)
        return lambda: torch.mm(a, b, out=c)
    build, inputs, targets = cases[name.removesuffix("_bf16")]
    net, x, labels = build(), inputs(), targets()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, fused=mode != "eager")
    model = torch.compile(net) if mode == "compiled" else net

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=name.endswith("_bf16")):
            y = model(x)
            loss = F.cross_entropy(y.reshape(-1, y.shape[-1]), labels.reshape(-1))
        loss.backward()
        optimizer.step()
    return step


def peak_bytes():
    line = next(line for line in pathlib.Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def measure(name, mode):
    """A small step first, so that code has been loaded; three steps are counted, as step_bench.c does."""
    make_step(name, mode, {**CASES, **SMALL})()
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    before = peak_bytes()
    step = make_step(name, mode)
    for _ in range(3):
        step()
    print(json.dumps({"case": name, "mode": mode, "grown_mb": (peak_bytes() - before) / 1e6, "version": "PyTorch " + torch.__version__}))


def main():
    name, threads, mode = sys.argv[1:4]
    torch.set_num_threads(int(threads))
    torch.manual_seed(1)
    if sys.argv[4:] == ["memory"]:
        measure(name, mode)
        return
    seconds = float(sys.argv[4]) if len(sys.argv) > 4 else 1.5
    step = make_step(name, mode)
    for _ in range(3):
        step()
    laps, began = [], time.perf_counter()
    while len(laps) < 7 or (len(laps) < 1000 and time.perf_counter() - began < seconds):
        start = time.perf_counter()
        step()
        laps.append(time.perf_counter() - start)
    print(json.dumps({"case": name, "mode": mode, "step_us": statistics.median(laps) * 1e6, "least_us": min(laps) * 1e6,
                      "version": "PyTorch " + torch.__version__}))


main()
