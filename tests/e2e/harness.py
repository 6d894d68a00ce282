"""What the end-to-end tests share: TAP lines, running the program, a server of one's own, requests, small data.

A test file calls `case("name")` as a decorator for each test and ends with `finish()`. Environment: QUERN, the program; QUERN_BUILD, the
release build folder. Needs nothing outside Python's standard library, and curl for gRPC.
"""
import atexit
import gzip
import json
import os
import pathlib
import random
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback
import zipfile
import zlib

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("QUERN_BUILD", ROOT / "build"))
QUERN = os.environ.get("QUERN", str(BUILD / "quern"))
DATA = ROOT.parent / "shared" / "data"
WORK = pathlib.Path(tempfile.mkdtemp(prefix="quern-e2e-"))
ADULT_COLUMNS = ("age,workclass,fnlwgt,education,education-num,marital-status,occupation,relationship,race,sex,capital-gain,"
                 "capital-loss,hours-per-week,native-country,income")
atexit.register(shutil.rmtree, WORK, ignore_errors=True)

_tests = []


class Skip(Exception):
    """Raised by a test that cannot run here; says why."""


def case(name):
    def remember(function):
        _tests.append((name, function))
        return function
    return remember


def finish():
    """Runs every test of the file in order and exits 1 when one failed."""
    failed = 0
    print(f"1..{len(_tests)}", flush=True)
    for number, (name, function) in enumerate(_tests, 1):
        try:
            function()
            print(f"ok {number} - {name}", flush=True)
        except Skip as why:
            print(f"ok {number} - {name} # SKIP {why}", flush=True)
        except Exception as fault:
            failed += 1
            text = str(fault) if isinstance(fault, AssertionError) else traceback.format_exc()
            print(f"not ok {number} - {name}", *("# " + line for line in text.splitlines()[-25:]), sep="\n", flush=True)
    sys.exit(1 if failed else 0)


class Done:
    """How a run of the program ended."""

    def __init__(self, code, out, err, seconds):
        self.code, self.out, self.err, self.seconds = code, out, err, seconds

    def __str__(self):
        return f"exit {self.code}\nstdout: {self.out[-1500:]}\nstderr: {self.err[-1500:]}"

    def events(self):
        return [json.loads(line) for line in self.out.splitlines() if line.strip()]


def quern(*words, stdin=None, cwd=None, env=None, timeout=300, program=None):
    began = time.monotonic()
    done = subprocess.run([program or QUERN, *map(str, words)], cwd=cwd or WORK, env={**os.environ, **(env or {})}, timeout=timeout,
                          input=stdin, stdin=subprocess.DEVNULL if stdin is None else None, capture_output=True, text=True,
                          errors="replace")
    return Done(done.returncode, done.stdout, done.stderr, time.monotonic() - began)


def ok(*words, **options):
    """Runs the program, which has to succeed."""
    done = quern(*words, **options)
    assert done.code == 0, f"{' '.join(map(str, words))}: {done}"
    return done


def expect(done, code, *patterns):
    """Exit code, and every pattern (a regular expression, case ignored) somewhere in standard error; never a trace."""
    assert done.code == code, f"expected exit {code}: {done}"
    for pattern in patterns:
        assert re.search(pattern, done.err, re.I), f"expected /{pattern}/ in standard error: {done}"
    for mark in ("AddressSanitizer", "runtime error:", "Segmentation", "assertion", "core dumped"):
        assert mark not in done.err, f"a trace reached the user: {done}"


def write(name, text):
    path = WORK / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(text, bytes):
        path.write_bytes(text)
    else:
        path.write_text(text)
    return path


def shared(*parts):
    """A file of the real data; the test is skipped where it is absent."""
    path = DATA.joinpath(*parts)
    if not path.exists():
        raise Skip(f"no {'/'.join(parts)} in ../shared/data")
    return path


def adult(part):
    """The Adult table with its column names as a header."""
    path = WORK / f"adult-{part}.csv"
    if not path.exists():
        write(path.name, ADULT_COLUMNS + "\n" + shared("adult", f"adult-{part}.csv").read_text())
    return path


# ---- data made up here ----

def churn_table(rows=400, seed=7, name="churn.csv"):
    """Two classes that a linear model tells apart well but not wholly; numbers, categories, missing cells."""
    chance = random.Random(seed)
    lines = ["age,city,spend,calls,churn"]
    for _ in range(rows):
        age, spend, calls = chance.randint(18, 80), chance.uniform(0, 100), chance.randint(0, 9)
        city = chance.choice(["Oslo", "Bergen", "Tromso"])
        score = 0.6 * calls - 0.04 * spend + (1.5 if city == "Oslo" else 0) + chance.gauss(0, 0.7)
        cells = [age, city, f"{spend:.2f}", calls, "yes" if score > 1 else "no"]
        if chance.random() < 0.05:
            cells[chance.randrange(3)] = ""
        lines.append(",".join(map(str, cells)))
    return write(name, "\n".join(lines) + "\n")


def price_table(rows=300, seed=3, name="price.csv"):
    """A number that is a plain function of two others, with little noise."""
    chance = random.Random(seed)
    lines = ["size,rooms,price"]
    for _ in range(rows):
        size, rooms = chance.uniform(20, 200), chance.randint(1, 6)
        lines.append(f"{size:.1f},{rooms},{3 * size + 20 * rooms + chance.gauss(0, 5):.2f}")
    return write(name, "\n".join(lines) + "\n")


def idx_bytes(dims, values):
    return struct.pack(">BBBB", 0, 0, 8, len(dims)) + struct.pack(f">{len(dims)}I", *dims) + bytes(values)


def bars_images(folder, train=600, test=100, size=28, seed=5):
    """An IDX folder of images whose class (0, 1, 2) is where a bright bar stands."""
    chance = random.Random(seed)
    (WORK / folder).mkdir(parents=True, exist_ok=True)
    for part, count in (("train", train), ("t10k", test)):
        pixels, labels = bytearray(), bytearray()
        for _ in range(count):
            label = chance.randrange(3)
            image = bytearray(chance.randrange(60) for _ in range(size * size))
            for at in range(size):
                middle = size // 2
                place = (middle * size + at, at * size + middle, at * size + at)[label]
                image[place] = 255
            pixels += image
            labels.append(label)
        (WORK / folder / f"{part}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx_bytes([count, size, size], pixels)))
        (WORK / folder / f"{part}-labels-idx1-ubyte").write_bytes(idx_bytes([count], labels))
    return WORK / folder


def png_bytes(width, height, pixels):
    """A grey PNG."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + bytes(pixels[row * width:(row + 1) * width]) for row in range(height))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def npz(path, arrays):
    """An NPZ of name -> (dtype, shape, bytes)."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, (dtype, shape, data) in arrays.items():
            head = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {tuple(shape)}, }}".encode()
            head += b" " * (63 - (len(head) + 10) % 64) + b"\n"
            archive.writestr(name + ".npy", b"\x93NUMPY\x01\0" + struct.pack("<H", len(head)) + head + data)
    return path


def npz_floats(path, name):
    """The numbers of one f32 array of an NPZ."""
    data = zipfile.ZipFile(path).read(name + ".npy")
    data = data[10 + struct.unpack("<H", data[8:10])[0]:]
    return struct.unpack(f"<{len(data) // 4}f", data)


def newest(folder):
    """The newest version's folder."""
    versions = sorted(int(path.name) for path in pathlib.Path(folder).iterdir() if path.name.isdigit())
    assert versions, f"no version in {folder}"
    return pathlib.Path(folder) / str(versions[-1])


_models = {}


def churn_model():
    """A small model of the churn table, trained once a file."""
    if "churn" not in _models:
        ok("train", churn_table(), "--target", "churn", "--out", WORK / "churn", "--set", "train.epochs=5", "--quiet")
        _models["churn"] = WORK / "churn"
    return _models["churn"]


# ---- a server of one's own ----

class Server:
    """A server on a free port, ended with the block."""

    def __init__(self, *words, env=None):
        self.words, self.env = words, env

    def __enter__(self):
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen([QUERN, "serve", *map(str, self.words), "--port", "0", "--json"], cwd=WORK,
                                        env={**os.environ, **(self.env or {})}, stdout=subprocess.PIPE, stderr=self.log,
                                        stdin=subprocess.DEVNULL, text=True)
        for line in self.process.stdout:
            event = json.loads(line)
            if event.get("event") == "ready":
                self.url = event["url"].rstrip("/")
                self.host, port = re.match(r"https?://([^:/]+):(\d+)", self.url).groups()
                self.port = int(port)
                return self
        raise AssertionError(f"the server ended before it was ready: {self.stderr()}")

    def __exit__(self, *fault):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stdout.close()

    def stderr(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")

    def rss_kb(self):
        return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{self.process.pid}/status").read_text()).group(1))

    def alive(self):
        return self.process.poll() is None and self.get("/v2/health/live")[0] == 200

    def raw(self, data, timeout=10, shut=True):
        """Bytes on a fresh connection; everything that comes back until the server closes or falls silent."""
        with socket.create_connection((self.host, self.port), timeout=timeout) as stream:
            try:
                stream.sendall(data)
                if shut:
                    stream.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            answer = b""
            try:
                while part := stream.recv(65536):
                    answer += part
            except OSError:
                pass
        return answer

    def get(self, path, headers=None):
        return self.request("GET", path, None, headers)

    def post(self, path, body, headers=None):
        if not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        return self.request("POST", path, body, {"content-type": "application/json", **(headers or {})})

    def request(self, method, path, body=None, headers=None):
        """(status, text) over HTTP/1.1."""
        body = body.encode() if isinstance(body, str) else body
        head = {"host": f"{self.host}:{self.port}", "connection": "close", **(headers or {})}
        if body is not None and "content-length" not in head and "transfer-encoding" not in head:
            head["content-length"] = str(len(body))
        lines = [f"{method} {path} HTTP/1.1"] + [f"{name}: {value}" for name, value in head.items()]
        return parse_answer(self.raw("\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b""), shut=False))

    def grpc(self, method, message=b"", framed=None, content_type="application/grpc"):
        """(grpc-status, grpc-message, answer's bytes) over HTTP/2 by curl; the HTTP status when there is no grpc-status."""
        frame = framed if framed is not None else b"\0" + struct.pack(">I", len(message)) + message
        path = write("grpc-frame", frame)
        command = ["curl", "-s", "--http2-prior-knowledge", "--max-time", "20", "-D", str(WORK / "grpc-head"), "-o", str(WORK / "grpc-body"),
                   "-H", f"content-type: {content_type}", "-H", "te: trailers", "--data-binary", f"@{path}"]
        for name in ("grpc-head", "grpc-body"):
            write(name, b"")
        subprocess.run(command + [f"{self.url}/{method}"], stdout=subprocess.DEVNULL)
        head = (WORK / "grpc-head").read_text(errors="replace")
        status = re.search(r"^grpc-status: *(\d+)", head, re.M | re.I)
        text = re.search(r"^grpc-message: *(.*?)\r?$", head, re.M | re.I)
        http = re.search(r"^HTTP/\S+ (\d+)", head)
        code = int(status.group(1)) if status else f"HTTP {http.group(1) if http else 'none'}"
        body = (WORK / "grpc-body").read_bytes()
        return code, percent_decode(text.group(1)) if text else "", body[5:]


def percent_decode(text):
    return re.sub(r"%([0-9A-Fa-f]{2})", lambda match: chr(int(match.group(1), 16)), text)


def parse_answer(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    match = re.match(rb"HTTP/1\.[01] (\d+)", head)
    if re.search(rb"transfer-encoding: *chunked", head, re.I):
        whole, rest = b"", body
        while (size := int(rest.split(b"\r\n", 1)[0] or b"0", 16)) > 0:
            rest = rest.split(b"\r\n", 1)[1]
            whole, rest = whole + rest[:size], rest[size + 2:]
        body = whole
    return (int(match.group(1)) if match else 0), body.decode(errors="replace")


# ---- protobuf by hand ----

def varint(value):
    out = b""
    value &= (1 << 64) - 1
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(number, value):
    """A length-delimited field; an int becomes a varint field."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def infer_tensor(name, datatype, shape, contents=b""):
    return field(5, field(1, name) + field(2, datatype) + field(3, b"".join(varint(size) for size in shape)) +
                 (field(5, contents) if contents else b""))


def read_fields(data):
    """[(number, value)] of a message: ints for varints, bytes for the rest."""
    at, found = 0, []

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = number()
        if key & 7 == 0:
            found.append((key >> 3, number()))
        else:
            size = number() if key & 7 == 2 else 8 if key & 7 == 1 else 4
            found.append((key >> 3, data[at:at + size]))
            at += size
    return found
