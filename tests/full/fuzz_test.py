#!/usr/bin/env python3
"""Every fuzz target for ten minutes from its corpus, under the address and undefined-behaviour sanitizers. A finding fails.

environment: QUERN_FUZZ_SECONDS (600) for each target; QUERN_FUZZ_NEW, a folder that gets the inputs that reached new code.
"""
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
from harness import ROOT, WORK, Skip, case, finish

SECONDS = int(os.environ.get("QUERN_FUZZ_SECONDS", "600"))
FOLDER = ROOT / "build-fuzz"
TARGETS = re.findall(r"fuzz_targets \+= \{'(\w+)'", (ROOT / "tests" / "fuzz" / "meson.build").read_text())
_runs = {}


def build():
    if not shutil.which("clang"):
        raise Skip("clang is not installed")
    if not (FOLDER / "build.ninja").exists():
        subprocess.run(["meson", "setup", str(FOLDER), "-Dfuzz=true", "--buildtype=debugoptimized", "-Db_sanitize=address,undefined",
                        "-Db_lundef=false", "-Dc_args=-fsanitize=fuzzer-no-link"], cwd=ROOT, check=True, capture_output=True,
                       env={**os.environ, "CC": "clang"})
    subprocess.run(["ninja", "-C", str(FOLDER), "--quiet", *(f"tests/fuzz-{name}" for name in TARGETS)], cwd=ROOT, check=True)


def fuzz(name):
    """(exit, last words, inputs tried)"""
    fresh, found = WORK / f"corpus-{name}", WORK / f"found-{name}"
    fresh.mkdir()
    found.mkdir()
    done = subprocess.run([str(FOLDER / "tests" / f"fuzz-{name}"), str(fresh), str(ROOT / "tests" / "fuzz" / "corpus" / name),
                           f"-max_total_time={SECONDS}", "-timeout=20", "-rss_limit_mb=3000", "-max_len=65536",
                           "-print_final_stats=1", f"-artifact_prefix={found}/"], capture_output=True, text=True, errors="replace",
                          env={**os.environ, "ASAN_OPTIONS": "allocator_may_return_null=1:detect_leaks=1",
                               "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"})
    keep = os.environ.get("QUERN_FUZZ_NEW")
    for path in [*found.iterdir(), *(fresh.iterdir() if keep else [])]:
        place = pathlib.Path(keep or ROOT / "build-fuzz" / "findings") / name
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    tried = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    return done.returncode, done.stderr[-3000:], int(tried.group(1)) if tried else 0


def start_all():
    if not _runs:
        build()
        pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count())
        _runs.update({name: pool.submit(fuzz, name) for name in TARGETS})


def add_case(name):
    @case(f"fuzz_{name}_finds_nothing")
    def _():
        start_all()
        code, text, tried = _runs[name].result()
        assert code == 0, text
        print(f"# {name}: {tried} inputs in {SECONDS} s")
        assert tried > 100, text


for target in TARGETS:
    add_case(target)
finish()
