#!/usr/bin/env python3
"""A full disk, at every place where it can become full: said with the place and exit 4 or 5, nothing half written, and what was there stays."""
import os
import pathlib
import shutil
import subprocess
import sys

from harness import QUERN, WORK, case, churn_model, churn_table, expect, finish, newest, ok, quern

DISK = WORK / "disk"
PAGE = 4096
WHY = "No space left|KiB are free"


def mount(pages):
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={pages * PAGE}", "none", str(DISK)], check=True, capture_output=True)


def unmount():
    subprocess.run(["umount", str(DISK)], check=True, capture_output=True)


def may_mount():
    DISK.mkdir()
    try:
        mount(4)
    except (OSError, subprocess.CalledProcessError):
        return False
    unmount()
    return True


if not may_mount():
    print("1..0 # skip small disks are made by root only (mount -t tmpfs)")
    sys.exit(0)


def on_each_disk(pages, act):
    """act(size in pages) on an empty disk of each size; how many went well."""
    good = 0
    for size in pages:
        mount(size)
        try:
            good += act(size)
        finally:
            unmount()
    return good


def versions(folder):
    return [name for name in os.listdir(folder) if name.isdigit()] if os.path.isdir(folder) else []


@case("training_on_a_small_disk_writes_all_or_nothing")
def _():
    words = ["train", churn_table(), "--target", "churn", "--model", "mlp", "--set", "train.epochs=2", "--checkpoint", "1ms", "--quiet"]
    whole = sum(-(-file.stat().st_size // PAGE) for file in newest(churn_model()).iterdir())

    def act(size):
        done = quern(*words, "--out", DISK / "m")
        if done.code == 0:
            ok("check", newest(DISK / "m"))
            return 1
        assert done.code in (4, 5), done
        expect(done, done.code, WHY)
        assert not versions(DISK / "m"), f"{size} pages: {os.listdir(DISK / 'm')}"
        return 0

    good = on_each_disk([1, 2, 3, 4, 6, 8, *range(10, whole + 40, 3)], act)
    assert good >= 1, f"no disk of up to {whole + 40} pages was large enough"


@case("a_second_version_that_does_not_fit_leaves_the_first")
def _():
    first = newest(churn_model())
    whole = sum(-(-file.stat().st_size // PAGE) for file in first.iterdir())

    def act(size):
        shutil.copytree(first, DISK / "m" / "1")
        done = quern("train", churn_table(), "--target", "churn", "--model", "mlp", "--set", "train.epochs=2", "--out", DISK / "m", "--quiet")
        ok("check", DISK / "m" / "1")
        if done.code:
            expect(done, done.code, WHY)
            assert versions(DISK / "m") == ["1"], os.listdir(DISK / "m")
        return done.code == 0

    on_each_disk(range(whole + 4, 2 * whole + 30, 8), act)


@case("predictions_and_recipes_that_do_not_fit_are_not_there")
def _():
    def act(size):
        for words in (["predict", churn_model(), churn_table(), "--out", DISK / "answers.csv"],
                      ["init", churn_table(), "--target", "churn", "--out", DISK / "churn.yaml"]):
            done = quern(*words)
            if done.code:
                expect(done, 5, "No space left")
                assert os.listdir(DISK) == [], os.listdir(DISK)
            else:
                pathlib.Path(words[-1]).unlink()
        return done.code == 0

    assert on_each_disk([1, 2, 3, 8], act) >= 1


@case("a_full_standard_output_is_said")
def _():
    with open("/dev/full", "w") as full:
        for words in (["predict", str(churn_model()), str(churn_table())], ["look", str(churn_table())], ["schema", "recipe"],
                      ["eval", str(churn_model()), str(churn_table())], ["doctor"]):
            done = subprocess.run([QUERN, *words], stdout=full, stderr=subprocess.PIPE, text=True)
            assert done.returncode == 5 and "No space left" in done.stderr, (words, done)


finish()
