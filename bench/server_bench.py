#!/usr/bin/env python3
"""What one request costs the server: its own CPU time over the requests it answered, with a tiny model and kept connections.

usage: server_bench.py QUERN MODEL [SECONDS]
Prints one line of JSON a case: {"case":, "requests":, "cpu_us":, "per_s":}, then ready time and memory. The clients (wrk, h2load)
share the machine, so requests a second say less than the server's CPU time.
"""
import json
import os
import re
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

TICKS = os.sysconf("SC_CLK_TCK")


def start(quern, model):
    """Returns (process, url, milliseconds from start to the ready line)."""
    began = time.perf_counter()
    process = subprocess.Popen([quern, "serve", model, "--port", "0", "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    for line in process.stdout:
        event = json.loads(line)
        if event.get("event") == "ready":
            return process, event["url"], (time.perf_counter() - began) * 1e3
    sys.exit("server_bench: the server ended before it was ready")


def cpu_s(pid):
    """User and system time of all threads, in ticks of 10 ms."""
    with open(f"/proc/{pid}/stat") as file:
        user, system = file.read().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / TICKS


def rss_mb(pid):
    with open(f"/proc/{pid}/status") as file:
        return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1)) / 1024


def field(number, value):
    """One length-delimited protobuf field."""
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def infer_frame(model, tensor, values):
    """A framed inference.ModelInferRequest with raw contents."""
    shape = varint(1) + varint(len(values))
    message = field(1, model.encode()) + field(5, field(1, tensor.encode()) + field(2, b"FP32") + field(3, shape))
    message += field(7, struct.pack(f"<{len(values)}f", *values))
    return b"\0" + struct.pack(">I", len(message)) + message


def measure(pid, name, command, pattern):
    before = cpu_s(pid)
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    seconds = time.perf_counter() - began
    match = re.search(pattern, done.stdout)
    if done.returncode or not match or "Non-2xx" in done.stdout or re.search(r"[1-9]\d* (failed|errored)", done.stdout):
        sys.exit(f"server_bench: {name}: {done.stdout}{done.stderr}")
    requests = int(match.group(1))
    print(json.dumps({"case": name, "requests": requests, "cpu_us": (cpu_s(pid) - before) * 1e6 / requests,
                      "per_s": requests / seconds}), flush=True)


def main():
    quern, model = sys.argv[1:3]
    seconds = sys.argv[3] if len(sys.argv) > 3 else "4"
    ready = []
    for _ in range(5):
        process, url, ready_ms = start(quern, model)
        ready.append(ready_ms)
        process.terminate()
        process.wait()
    process, url, _ = start(quern, model)
    folder = tempfile.mkdtemp()
    try:
        name = json.load(urllib.request.urlopen(url + "/v2/models"))
        name = name["models"][0]
        about = json.load(urllib.request.urlopen(f"{url}/v2/models/{name}"))
        tensor = about["inputs"][0]["name"]
        infer = {"inputs": [{"name": tensor, "shape": [1, 2], "datatype": "FP32", "data": [9, 10]}]}
        for case, path, body in [("rest_v1", f"/v1/models/{name}:predict", {"instances": [[9, 10]]}),
                                 ("rest_infer", f"/v2/models/{name}/infer", infer)]:
            script = os.path.join(folder, case + ".lua")
            with open(script, "w") as file:
                file.write(f'wrk.method = "POST"\nwrk.body = [==[{json.dumps(body)}]==]\n'
                           'wrk.headers["content-type"] = "application/json"\n')
            measure(process.pid, case, ["wrk", "-t1", "-c16", f"-d{seconds}s", "-s", script, url + path], r"(\d+) requests in")
        frame = os.path.join(folder, "frame")
        with open(frame, "wb") as file:
            file.write(infer_frame(name, tensor, [9, 10]))
        measure(process.pid, "grpc_infer",
                ["h2load", "-t1", "-c16", "-m1", "-D", seconds, "-d", frame, "-H", "content-type: application/grpc", "-H", "te: trailers",
                 url + "/inference.GRPCInferenceService/ModelInfer"], r"(\d+) succeeded")
        print(json.dumps({"case": "ready", "ms": statistics.median(ready)}))
        print(json.dumps({"case": "memory", "rss_mb": rss_mb(process.pid)}))
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


main()
