#!/usr/bin/env python3
"""kill -9 at fifty random moments of training: what is on disk always loads, and the run always resumes to the same bits."""
import os
import pathlib
import random
import shutil
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
from harness import QUERN, WORK, case, churn_table, finish, newest, ok, write

KILLS = 50
TABLE = churn_table(3000, name="kill.csv")
RECIPE = write("kill.yaml", f"quern: 1\nname: kill\ndata: {{path: {TABLE}, target: churn}}\nmodel: {{type: mlp}}\n"
                            "train: {epochs: 400, early_stop: 0}\n")


def versions(folder):
    return sorted(name for name in os.listdir(folder) if name.isdigit()) if folder.is_dir() else []


def start(folder, *words):
    return subprocess.Popen([QUERN, "train", str(RECIPE), "--out", str(folder), "--quiet", "--checkpoint", "50ms", *words], stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, cwd=WORK)


@case("killed_fifty_times_it_always_loads_and_resumes")
def _():
    began = time.monotonic()
    ok("train", RECIPE, "--out", WORK / "whole", "--quiet")
    length = time.monotonic() - began
    expected = (newest(WORK / "whole") / "model.safetensors").read_bytes()
    chance = random.Random(20)
    folder = WORK / "killed"
    finished = resumed = 0
    for kill in range(KILLS):
        resume = folder.is_dir() and (folder / "checkpoint").exists() or bool(folder.is_dir() and list(folder.rglob("checkpoint")))
        process = start(folder, *(["--resume"] if resume else []))
        resumed += resume
        time.sleep(chance.uniform(0, length))
        process.kill()
        err = process.communicate()[1].decode()
        assert process.returncode in (0, -9), f"kill {kill}: exit {process.returncode}: {err}"
        for version in versions(folder):
            ok("check", folder / version)
            assert (folder / version / "model.safetensors").read_bytes() == expected, f"kill {kill}: other bits"
        if versions(folder):
            finished += 1
            ok("predict", folder, TABLE)
            shutil.rmtree(folder)
    if folder.is_dir() and list(folder.rglob("checkpoint")):
        ok("train", RECIPE, "--out", folder, "--resume", "--quiet")
        assert (newest(folder) / "model.safetensors").read_bytes() == expected
    print(f"# {KILLS} kills, {resumed} runs resumed, {finished} came to their end")
    assert resumed >= 5, f"only {resumed} runs resumed from a checkpoint"


@case("killed_while_a_second_version_is_made_the_first_stays_whole")
def _():
    folder = WORK / "second"
    ok("train", RECIPE, "--out", folder, "--quiet")
    first = {path.name: path.read_bytes() for path in (folder / "1").iterdir() if path.is_file()}
    chance = random.Random(21)
    for _ in range(10):
        process = start(folder)
        time.sleep(chance.uniform(0, 1.0))
        process.kill()
        process.communicate()
        assert {path.name: path.read_bytes() for path in (folder / "1").iterdir() if path.is_file()} == first
        ok("predict", folder, TABLE)


finish()
