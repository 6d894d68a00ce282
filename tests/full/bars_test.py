#!/usr/bin/env python3
"""What the models reach on real data: the accuracy bars of the first release. Minutes, not seconds."""
import json
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
from harness import BUILD, ROOT, WORK, Skip, adult, case, finish, newest, ok, quern, shared, write

FASHION = pathlib.Path("/usr/share/datasets/fashion-mnist")


def metrics(folder):
    return json.loads((newest(folder) / "metrics.json").read_text())


def accuracy(folder):
    return metrics(folder)["test"]["accuracy"]["value"]


@case("mission_program_2_reaches_98_1_on_mnist_in_5_epochs")
def _():
    digits = shared("mnist", "train-images-idx3-ubyte.gz").parent
    ok("train", ROOT / "examples" / "recipes" / "mnist_cnn.yaml", "--set", f"data.path={digits}", "--set", "train.epochs=5", "--out",
       WORK / "digits", "--quiet", timeout=580)
    assert accuracy(WORK / "digits") >= 0.981, accuracy(WORK / "digits")
    print(f"# accuracy {accuracy(WORK / 'digits'):.4f}")


@case("two_convolutions_reach_99_1_on_mnist_in_12_epochs")
def _():
    digits = shared("mnist", "train-images-idx3-ubyte.gz").parent
    recipe = write("deep.yaml", f"""quern: 1
name: deep
data: {{path: {digits}}}
model:
  layers:
    - conv2d: {{filters: 32, kernel: 3, padding: same, activation: relu}}
    - max_pool2d: {{size: 2}}
    - conv2d: {{filters: 64, kernel: 3, padding: same, activation: relu}}
    - max_pool2d: {{size: 2}}
    - flatten
    - dense: {{units: 128, activation: relu}}
    - dense: {{units: auto}}
train: {{epochs: 12, batch: 32, optimizer: adam, lr: 0.001, schedule: cosine, early_stop: 0}}
""")
    ok("train", recipe, "--out", WORK / "deep", "--quiet", timeout=580)
    assert accuracy(WORK / "deep") >= 0.991, accuracy(WORK / "deep")
    print(f"# accuracy {accuracy(WORK / 'deep'):.4f}")


@case("fashion_mnist_reaches_91")
def _():
    if not FASHION.is_dir():
        raise Skip("the package dataset-fashion-mnist is not installed")
    done = ok("train", ROOT / "examples" / "recipes" / "fashion_cnn.yaml", "--out", WORK / "fashion", "--quiet", timeout=580)
    assert accuracy(WORK / "fashion") >= 0.91, accuracy(WORK / "fashion")
    print(f"# accuracy {accuracy(WORK / 'fashion'):.4f} in {done.seconds:.0f} s")


def adult_auroc(folder, *words):
    done = ok("train", adult("train"), "--target", "income", "--out", folder, "--quiet", *words, timeout=300)
    result = ok("eval", folder, adult("test"), "--json").events()[-1]
    return result["metrics"]["test"]["auroc"]["value"], done.seconds


@case("adult_reaches_910_without_configuration_in_30_seconds")
def _():
    value, seconds = adult_auroc(WORK / "adult")
    print(f"# AUROC {value:.4f} in {seconds:.1f} s")
    assert value >= 0.910, value
    assert seconds <= 30, seconds
    assert metrics(WORK / "adult")["baseline"]


@case("adult_reaches_905_with_a_logistic_model")
def _():
    value, seconds = adult_auroc(WORK / "logistic", "--set", "model.type=logistic")
    print(f"# AUROC {value:.4f} in {seconds:.1f} s")
    assert value >= 0.905, value


@case("char_lm_reaches_1_92_on_tinyshakespeare_in_2000_steps")
def _():
    text = shared("tinyshakespeare", "input.txt")
    done = subprocess.run([BUILD / "examples" / "char_lm", text, "2000", "ROMEO:"], capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stderr
    last = done.stderr.splitlines()[-1]
    print(f"# {last}")
    assert float(re.search(r"validation ([0-9.]+)", last).group(1)) <= 1.92, last
    assert done.stdout.startswith("ROMEO:"), done.stdout[:80]


finish()
