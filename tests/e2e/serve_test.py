#!/usr/bin/env python3
"""The server as its users meet it: ready line, every surface, the same answer on each, versions, slow clients, a graceful end."""
import base64
import csv
import io
import json
import re
import signal
import socket
import struct
import subprocess
import threading
import time
import zlib

from harness import (QUERN, WORK, Server, bars_images, case, churn_model, churn_table, expect, field, finish, infer_tensor, newest, ok,
                     quern, read_fields, write)

ROW = {"age": 39, "city": "Oslo", "spend": 3.5, "calls": 4}


def predict(server, rows, path="/v1/models/churn:predict"):
    status, text = server.post(path, {"instances": rows})
    assert status == 200, f"{status} {text}"
    return json.loads(text)["predictions"]


@case("every_surface_answers")
def _():
    with Server(churn_model()) as server:
        for path in ("/v2/health/live", "/v2/health/ready", "/healthz", "/health", "/v2", "/v2/models", "/v2/models/churn",
                     "/v2/models/churn/ready", "/v2/models/churn/versions/1", "/v2/models/churn/stats", "/v2/models/churn/config",
                     "/v1/models", "/v1/models/churn", "/v1/models/churn/metadata", "/openapi.json", "/metrics"):
            status, text = server.get(path)
            assert status == 200, f"{path}: {status} {text[:200]}"
        code, _, body = server.grpc("grpc.health.v1.Health/Check")
        assert (code, read_fields(body)) == (0, [(1, 1)])
        code, _, body = server.grpc("inference.GRPCInferenceService/ModelMetadata", field(1, "churn"))
        assert code == 0 and (1, b"churn") in read_fields(body)


@case("a_folder_name_reaches_statistics_too")
def _():
    folder = WORK / "nickname"
    if not folder.exists():
        folder.symlink_to(churn_model())
    with Server(folder) as server:
        status, text = server.get("/v2/models/nickname/stats")
        stats = json.loads(text)["model_stats"] if isinstance(text, (str, bytes)) else text["model_stats"]
        assert status == 200 and len(stats) == 1, stats


@case("files_rest_and_grpc_give_the_same_numbers")
def _():
    table = write("one-row.csv", "age,city,spend,calls\n39,Oslo,3.5,4\n")
    from_file = list(csv.DictReader(io.StringIO(ok("predict", churn_model(), table).out)))[0]
    with Server(churn_model()) as server:
        by_row = predict(server, [ROW])[0]
        assert by_row["prediction"] == from_file["prediction"]
        for label, value in by_row["probability"].items():
            assert abs(value - float(from_file[f"probability_{label}"])) < 1e-7, (value, from_file)
        inputs = [{"name": "city", "shape": [1], "datatype": "BYTES", "data": ["Oslo"]}]
        inputs += [{"name": name, "shape": [1, 1], "datatype": "FP64", "data": [ROW[name]]} for name in ("age", "spend", "calls")]
        status, text = server.post("/v2/models/churn/infer", {"id": "7", "inputs": inputs})
        assert status == 200, text
        answer = json.loads(text)
        outputs = {output["name"]: output["data"] for output in answer["outputs"]}
        assert answer["id"] == "7" and outputs["prediction"] == [by_row["prediction"]]
        assert max(abs(a - b) for a, b in zip(outputs["probability"], by_row["probability"].values())) < 1e-7
        message = field(1, "churn") + infer_tensor("city", "BYTES", [1], field(8, "Oslo"))
        for name in ("age", "spend", "calls"):
            message += infer_tensor(name, "FP64", [1], field(7, struct.pack("<d", ROW[name])))
        code, text, body = server.grpc("inference.GRPCInferenceService/ModelInfer", message)
        assert code == 0, text
        flat = struct.pack("<2f", *outputs["probability"])
        assert flat in body or all(struct.pack("<f", value) in body for value in outputs["probability"]), "other probabilities by gRPC"


@case("rows_together_answer_as_alone")
def _():
    rows = [{"age": 20 + i, "city": ("Oslo", "Bergen", None)[i % 3], "spend": i * 2.5, "calls": i % 9} for i in range(40)]
    with Server(churn_model()) as server:
        together = predict(server, rows)
        assert together == [predict(server, [row])[0] for row in rows]


@case("missing_columns_are_missing_values_and_unknown_ones_an_error")
def _():
    with Server(churn_model()) as server:
        assert predict(server, [{"calls": 4}])[0]["prediction"] in ("yes", "no")
        assert server.post("/v1/models/churn:predict", {"instances": [{**ROW, "shoes": 44}]})[0] == 400
    with Server(churn_model(), "--ignore-unknown") as server:
        assert predict(server, [{**ROW, "shoes": 44}]) == predict(server, [ROW])


@case("versions_are_addressed_and_the_newest_is_the_default")
def _():
    folder = WORK / "two"
    for epochs in (1, 8):
        ok("train", churn_table(), "--target", "churn", "--name", "two", "--model", "mlp", "--out", folder, "--set",
           f"train.epochs={epochs}", "--quiet")
    with Server(folder) as server:
        old, new = (predict(server, [ROW], f"/v1/models/two/versions/{version}:predict") for version in (1, 2))
        assert old != new
        assert predict(server, [ROW], "/v1/models/two:predict") == new


@case("a_repository_is_served_whole_and_by_folder_names")
def _():
    repo = WORK / "repo"
    repo.mkdir()
    for name in ("first", "second"):
        subprocess.run(["cp", "-r", str(churn_model()), str(repo / name)], check=True)
    with Server("--repo", repo) as server:
        assert predict(server, [ROW], "/v1/models/first:predict") == predict(server, [ROW], "/v1/models/second:predict")
        assert server.get("/v2/models/third")[0] == 404


def png(pixels, size):
    """Grey pixels as a PNG file."""
    rows = b"".join(b"\0" + bytes(pixels[at:at + size]) for at in range(0, size * size, size))
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    head = struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@case("a_picture_is_asked_about_as_a_file_and_as_numbers")
def _():
    images = bars_images("serve-images")
    recipe = write("serve-bars.yaml", f"quern: 1\nname: bars\ndata: {{path: {images}}}\nmodel: {{type: cnn}}\ntrain: {{epochs: 2}}\n")
    ok("train", recipe, "--out", WORK / "bars", "--quiet")
    pixels = [255 if at // 28 == 14 else 20 for at in range(784)]
    nested = [[[value] for value in pixels[at:at + 28]] for at in range(0, 784, 28)]
    with Server(WORK / "bars") as server:
        column = json.loads(server.get("/v2/models/bars")[1])["inputs"][0]["name"]
        answers = [predict(server, [instance], "/v1/models/bars:predict")[0]
                   for instance in ({column: {"b64": base64.b64encode(png(pixels, 28)).decode()}}, {column: nested}, nested)]
        assert answers[0] == answers[1] == answers[2], answers
        assert str(answers[0]["prediction"]) == "0", answers[0]
        data = [{"b64": base64.b64encode(png(pixels, 28)).decode()}]
        status, text = server.post("/v2/models/bars/infer",
                                   {"inputs": [{"name": column, "shape": [1], "datatype": "BYTES", "data": data}]})
        outputs = {output["name"]: output["data"] for output in json.loads(text)["outputs"]}
        assert status == 200 and outputs["prediction"] == [answers[0]["prediction"]], text
        assert max(abs(a - b) for a, b in zip(outputs["probability"], answers[0]["probability"].values())) < 1e-7, text


@case("models_are_served_under_names_given")
def _():
    one = newest(churn_model())
    with Server(f"old={one}", f"new={churn_model()}") as server:
        assert predict(server, [ROW], "/v1/models/old:predict") == predict(server, [ROW], "/v1/models/new:predict")
        status, text = server.get("/v2/models")
        assert status == 200 and '"old"' in text and '"new"' in text, text
    done = quern("serve", one, churn_model(), "--port", "0")
    expect(done, 2, "two models are called 'churn'", "hint: give one another name: churn-2=")
    expect(quern("serve", f"a b={one}", "--port", "0"), 2, "'a b' cannot be a model's name")
    expect(quern("serve", f"x={one}/none", "--port", "0"), 5, "none")


@case("http2_without_tls_answers_rest_too")
def _():
    with Server(churn_model()) as server:
        for path, body in (("/v2/models/churn", None), ("/v1/models/churn:predict", json.dumps({"instances": [ROW]})), ("/no", "{}")):
            words = ["curl", "-s", "--http2-prior-knowledge", "-o", "-", "-w", "\n%{http_code} %{http_version}", server.url + path]
            out = subprocess.run(words + (["-d", body] if body else []), capture_output=True, text=True).stdout
            assert out.endswith("\n404 2" if path == "/no" else "\n200 2"), out


@case("metrics_count_what_was_asked")
def _():
    with Server(churn_model()) as server:
        for _ in range(5):
            predict(server, [ROW])
        server.post("/v1/models/churn:predict", "{")
        text = server.get("/metrics")[1]
        assert re.search(r"^# TYPE \S+ histogram$", text, re.M), text[:500]
        assert re.search(r'model="churn".* 5(\.0)?$', text, re.M), text


@case("slow_clients_hold_up_nobody")
def _():
    with Server(churn_model()) as server:
        crowd = []
        for _ in range(100):
            stream = socket.create_connection((server.host, server.port))
            stream.sendall(b"POST /v1/models/churn:predict HTTP/1.1\r\nhost: x\r\ncontent-le")
            crowd.append(stream)
        began = time.monotonic()
        for _ in range(20):
            predict(server, [ROW])
        assert time.monotonic() - began < 2
        for stream in crowd:
            stream.close()
        assert server.alive()


@case("a_client_that_leaves_is_forgotten")
def _():
    body = json.dumps({"instances": [ROW] * 2000}).encode()
    with Server(churn_model()) as server:
        before = None
        for turn in range(60):
            stream = socket.create_connection((server.host, server.port))
            stream.sendall(b"POST /v1/models/churn:predict HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            stream.close()
            if turn == 20:
                before = server.rss_kb()
        assert predict(server, [ROW])
        assert server.rss_kb() - before < 4096, f"{before} kB became {server.rss_kb()} kB"


@case("sigterm_finishes_what_is_under_way_and_exits_0")
def _():
    with Server(churn_model()) as server:
        answers = []

        def ask():
            for _ in range(3):
                try:
                    status, text = server.post("/v1/models/churn:predict", {"instances": [ROW] * 3000})
                except ConnectionError:
                    status, text = 0, ""  # no new work
                answers.append((status, len(text)))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        while len(answers) < 2:
            time.sleep(0.005)
        server.process.send_signal(signal.SIGTERM)
        for thread in threads:
            thread.join()
        assert server.process.wait(timeout=10) == 0, server.stderr()
        whole = max(size for status, size in answers if status == 200)
        assert all(status in (0, 503) or size == whole for status, size in answers), answers


def ask_until_gone(server, kept, sent):
    """One small request after the other, on one connection or each on its own; (when it had been sent, its status or 0)."""
    body = json.dumps({"instances": [ROW]}).encode()
    head = f"POST /v1/models/churn:predict HTTP/1.1\r\nhost: {server.host}\r\ncontent-length: {len(body)}\r\n\r\n"
    request = head.encode() + body
    stream = None
    try:
        while True:
            stream = stream if stream and kept else socket.create_connection((server.host, server.port), timeout=10)
            stream.sendall(request)
            sent.append([time.monotonic(), 0])
            answer = b""
            while b"\r\n\r\n" not in answer or len(answer.split(b"\r\n\r\n", 1)[1]) < length_of(answer):
                piece = stream.recv(65536)
                if not piece:
                    sent[-1][1] = -1 if answer else 0
                    return
                answer += piece
            sent[-1][1] = int(answer.split()[1])
            if not kept:
                stream.close()
    except OSError:
        return


def length_of(answer):
    return int(re.search(rb"content-length: (\d+)", answer, re.I).group(1))


@case("what_was_sent_before_sigterm_is_answered")
def _():
    for _ in range(5):
        with Server(churn_model()) as server:
            sent = [[] for _ in range(12)]
            threads = [threading.Thread(target=ask_until_gone, args=(server, at % 2 == 0, one)) for at, one in enumerate(sent)]
            for thread in threads:
                thread.start()
            time.sleep(0.5)
            asked = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            for thread in threads:
                thread.join()
            assert server.process.wait(timeout=10) == 0, server.stderr()
            before = [status for one in sent for when, status in one if when < asked]
            assert len(before) > 100 and set(before) == {200}, {status: before.count(status) for status in set(before)}
            assert all(status in (0, 200) for one in sent for _, status in one), "an answer was cut short"


@case("a_load_of_wrk_ends_with_the_server_in_order")
def _():
    script = write("ask.lua", "wrk.method = 'POST'\nwrk.body = '" + json.dumps({"instances": [ROW]}) + "'\n")
    with Server(churn_model()) as server:
        load = subprocess.Popen(["wrk", "-t1", "-c32", "-d2s", "-s", str(script), server.url + "/v1/models/churn:predict"],
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        time.sleep(1)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(timeout=10) == 0, server.stderr()
        out = load.communicate(timeout=30)[0]
        assert "Non-2xx" not in out, out
        assert int(re.search(r"(\d+) requests in", out).group(1)) > 1000, out


@case("a_header_that_drips_is_cut")
def _():
    with Server(churn_model()) as server:
        began, ended = time.monotonic(), {}

        def drip(name, first, more):
            stream = socket.create_connection((server.host, server.port), timeout=30)
            stream.sendall(first)
            try:
                while True:
                    stream.sendall(more)
                    stream.settimeout(0.5)
                    try:
                        if stream.recv(4096) == b"":
                            break
                    except TimeoutError:
                        pass
            except OSError:
                pass
            ended[name] = time.monotonic() - began

        preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
        headers = b"\0\1\0\1\0\0\0\0\1"  # a HEADERS frame of 256 bytes that never ends
        drips = {"http1": (b"GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: ", b"a"), "http2": (preface + headers, b"\x82"),
                 "first bytes": (b"P", b"R")}
        threads = [threading.Thread(target=drip, args=(name, *what), daemon=True) for name, what in drips.items()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=40)
        assert set(ended) == set(drips) and all(8 < took < 25 for took in ended.values()), ended
        assert server.alive() and predict(server, [ROW])


@case("the_same_port_again_at_once")
def _():
    with Server(churn_model()) as server:
        predict(server, [ROW])
        port = server.port
    process = subprocess.Popen([QUERN, "serve", str(churn_model()), "--port", str(port), "--json"], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True)
    assert json.loads(process.stdout.readline())["event"] == "ready"
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=10) in (0, 130)


@case("nothing_but_the_model_is_needed")
def _():
    folder = newest(churn_model())
    alone = WORK / "alone" / "1"
    alone.mkdir(parents=True)
    for name in ("quern.json", "model.safetensors"):
        (alone / name).write_bytes((folder / name).read_bytes())
    done = quern("predict", alone.parent, churn_table())
    if done.code == 0:
        assert done.out == ok("predict", churn_model(), churn_table()).out
    else:
        expect(done, 3, "recipe.yaml|metrics.json|README.md|report.html")


finish()
