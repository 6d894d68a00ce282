"""The networks of fit_bench.c in PyTorch, trained by a plain loop over tensors in memory (no DataLoader, which is slower).

usage: torch_fit.py CASE[128][_bf16] FOLDER THREADS MODE     MODE: eager, fused (fused Adam, channels last) or compiled (and fused Adam)
128: batches of 128, not 32; _bf16: the forward pass and the loss under autocast.
Prints one line of JSON: seconds of an epoch and microseconds of a step, the median after a warm-up.
"""
import json
import pathlib
import statistics
import sys
import time

import torch
from torch import nn

sys.path.insert(0, str(pathlib.Path(__file__).parent))
import mnist

CASES = {
    "linear": (3200, 20, lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 10))),
    "mlp": (3200, 20, lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))),
    "cnn": (60000, 1, lambda: nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(5408, 10))),
    "cnn_deep": (60000, 1, lambda: nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10))),
}


def main():
    name, folder, threads, mode = sys.argv[1:5]
    network, bf16 = name.removesuffix("_bf16"), name.endswith("_bf16")
    batch = 128 if network.endswith("128") else 32
    samples, epochs, build = CASES[network.removesuffix("128")]
    torch.set_num_threads(int(threads))
    torch.manual_seed(1)
    pixels, digits = mnist.load(folder, samples)
    images, targets = torch.from_numpy(pixels).unsqueeze(1), torch.from_numpy(digits)
    net = build()
    if mode != "eager" and name.startswith("cnn"):
        net, images = net.to(memory_format=torch.channels_last), images.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.001, fused=mode != "eager")
    model = torch.compile(net) if mode == "compiled" else net

    def step(inputs, labels):
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = nn.functional.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()

    def run_epoch():
        order = torch.randperm(samples)
        if samples < 10000:  # one gather for the whole epoch costs the small steps least
            pairs = zip(images[order].split(batch), targets[order].split(batch))
        else:
            pairs = ((images[chosen], targets[chosen]) for chosen in order.split(batch))
        for inputs, labels in pairs:
            step(inputs, labels)

    for _ in range(10):
        step(images[:batch], targets[:batch])
    laps = []
    for _ in range(epochs):
        began = time.perf_counter()
        run_epoch()
        laps.append(time.perf_counter() - began)
    epoch_s = statistics.median(laps)
    print(json.dumps({"case": name, "mode": mode, "epoch_s": epoch_s, "step_us": epoch_s * 1e6 / (samples / batch),
                      "version": "PyTorch " + torch.__version__}))


main()
