#!/usr/bin/env python3
"""The mission's two programs, in C and as recipes, and the README's first program built the way a user would."""
import json
import re
import shutil
import subprocess

from harness import BUILD, ROOT, WORK, Skip, bars_images, case, finish, newest, ok, shared, write


def run(*command, cwd=None):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=cwd or WORK, timeout=300)


def about_five_and_six(text):
    numbers = [float(number) for number in re.findall(r"-?\d+\.\d+", text)]
    assert len(numbers) >= 2, text
    assert abs(numbers[0] - 5) < 0.05 and abs(numbers[1] - 6) < 0.05, text


@case("linear_answers_about_five_and_six")
def _():
    done = run(BUILD / "examples" / "linear")
    assert done.returncode == 0, done.stderr
    about_five_and_six(done.stdout)


@case("linear_as_a_recipe_answers_about_five_and_six")
def _():
    recipe = ROOT / "examples" / "recipes" / "linear.yaml"
    ok("train", recipe, "--out", WORK / "linear", "--quiet", cwd=ROOT)
    names = [line.strip() for line in (recipe.parent / "linear.csv").read_text().splitlines()[:1]][0].split(",")
    questions = write("questions.csv", ",".join(names[:2]) + "\n9,10\n11,12\n")
    about_five_and_six(ok("predict", WORK / "linear", questions).out)


@case("the_readme_program_is_examples_linear")
def _():
    blocks = re.findall(r"```c\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    source = (ROOT / "examples" / "linear.c").read_text()
    body = source[source.index("#include"):]
    assert any(block.strip() == body.strip() for block in blocks), "README.md's first program differs from examples/linear.c"


def installed():
    """What pkg-config says of the library, installed below WORK, and the folder of the library itself."""
    place = WORK / "installed"
    done = run("make", "install", f"DESTDIR={place}", f"BUILD={BUILD}", cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    found = sorted(place.rglob("pkgconfig"))
    assert found, "no pkg-config file was installed"
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "quern"], capture_output=True, text=True,
                           env={"PATH": "/usr/bin:/bin", "PKG_CONFIG_PATH": str(found[0]), "PKG_CONFIG_SYSROOT_DIR": str(place)})
    assert flags.returncode == 0, flags.stderr
    return [*flags.stdout.split(), f"-Wl,-rpath,{found[0].parent}"]


@case("the_readme_program_builds_against_the_installed_library")
def _():
    program = WORK / "first"
    done = run("gcc", "-O2", ROOT / "examples" / "linear.c", "-o", program, *installed())
    assert done.returncode == 0, done.stderr
    about_five_and_six(run(program).stdout)


@case("the_guides_cpp_program_builds_in_standard_cpp_and_runs")
def _():
    source = write("guide.cpp", re.search(r"```cpp\n(.*?)```", (ROOT / "docs" / "guide" / "c.md").read_text(), re.S)[1])
    compilers = [name for name in ("g++", "clang++") if shutil.which(name)]
    if not compilers:
        raise Skip("no C++ compiler")
    flags = installed()
    for compiler in compilers:
        for standard in ("c++11", "c++17"):
            program = WORK / f"guide-{compiler}-{standard}"
            done = run(compiler, f"-std={standard}", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", source, "-o", program, *flags)
            assert done.returncode == 0, done.stderr
            about_five_and_six(run(program).stdout)


@case("mnist_cnn_trains_saves_loads_and_predicts")
def _():
    work = WORK / "cnn"
    work.mkdir()
    done = run(BUILD / "examples" / "mnist_cnn", bars_images("cnn-images"), cwd=work)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"accuracy", done.stdout), done.stdout


@case("mnist_cnn_says_which_dimension_was_expected")
def _():
    folder = bars_images("wrong-shape", train=40, test=10, size=14)
    done = run(BUILD / "examples" / "mnist_cnn", folder)
    assert done.returncode != 0
    assert "28" in done.stderr and "14" in done.stderr, done.stderr


@case("the_saved_net_is_a_model_that_the_program_reads")
def _():
    folders = [path.parent.parent for path in (WORK / "cnn").rglob("quern.json")] or \
        [path.parent.parent for path in (WORK / "cnn-images").rglob("quern.json")]
    if not folders:
        raise Skip("mnist_cnn keeps its model elsewhere")
    ok("check", newest(folders[0]))


@case("mnist_cnn_as_a_recipe_learns_real_digits")
def _():
    digits = shared("mnist", "train-images-idx3-ubyte.gz").parent
    recipe = ROOT / "examples" / "recipes" / "mnist_cnn.yaml"
    ok("train", recipe, "--set", f"data.path={digits}", "--set", "train.epochs=1", "--out", WORK / "digits", "--quiet")
    metrics = json.loads((newest(WORK / "digits") / "metrics.json").read_text())
    assert metrics["test"]["accuracy"]["value"] >= 0.965, metrics["test"]["accuracy"]
    shutil.rmtree(WORK / "digits")


finish()
