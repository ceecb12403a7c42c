"""The command line: what it prints, what it leaves, and how it fails."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import sixloop
from sixloop import cli, data, inspect, models, nn
from sixloop.trainer import History


@pytest.fixture(autouse=True)
def _own_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIXLOOP_DATA", raising=False)


def run(capsys, *arguments: object) -> str:
    """Run a command that must succeed; return its standard output."""
    code = cli.main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    assert code == 0, err
    return out


def fail(capsys, *arguments: object) -> str:
    """Run a command that must fail; return its one line on standard error."""
    try:
        code = cli.main([str(a) for a in arguments])
    except SystemExit as stop:  # argparse
        code = stop.code
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert err.count("\n") == 1, err
    assert re.match(r"sixloop( \w+)?: error: ", err)
    return err


def start(*arguments: object, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "sixloop", *map(str, arguments)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> tuple[str, str]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out, err


def digest(out: str) -> str:
    return re.search(r"weights SHA-256 +([0-9a-f]{64})\n", out)[1]


@pytest.fixture
def shades(tmp_path) -> Path:
    """Two classes of 8x8 images, dark and light, 30 images of each."""
    pillow = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for name, low in (("dark", 0), ("light", 128)):
        (tmp_path / "shades" / name).mkdir(parents=True)
        for i in range(30):
            pixels = rng.integers(low, low + 128, (8, 8, 3), np.uint8)
            pillow.fromarray(pixels).save(tmp_path / "shades" / name / f"{i}.png")
    return tmp_path / "shades"


# ------------------------------------------------------------------------------------------- train


def test_train_without_arguments(capsys):
    """The first thing that a newcomer does."""
    out = run(capsys, "train")
    accuracy = float(re.search(r"held-out accuracy +([0-9.]+)%", out)[1])
    assert accuracy >= 98
    folder = Path("runs/digits-small_cnn")
    assert f"model saved in     {folder / 'model'}\n" in out
    model = sixloop.load(folder / "model")
    assert model.weights_sha256() == digest(out)
    written = json.loads((folder / "run.json").read_text())
    assert written["result"]["weights_sha256"] == digest(out)
    assert written["classes"] == list("0123456789")
    assert len((folder / "history.csv").read_text().splitlines()) == 1 + written["epochs"]

    out = run(capsys, "evaluate", folder)
    assert f"held-out accuracy  {accuracy:.2f}%" in out
    assert digest(out) == model.weights_sha256()
    assert run(capsys, "evaluate", folder / "model", "--data", "digits") == out


def test_same_bits_with_any_threads_and_instruction_set(shades):
    options = ("train", "--data", shades, "--model", "small_cnn", "--epochs", 2)
    processes = [start(*options, "--out", "first", "--threads", 1)]
    processes += [
        start(*options, "--out", f"{isa}", "--threads", 3, SIXLOOP_ISA=isa)
        for isa in sixloop.available_isas()
    ]
    digests = {digest(finish(process)[0]) for process in processes}
    assert len(digests) == 1
    assert digest(finish(start(*options, "--out", "seed", "--seed", 1))[0]) not in digests


def test_a_folder_of_images(capsys, shades):
    out = run(capsys, "train", "--data", shades, "--model", "mlp", "--epochs", 20, "--out", "run")
    assert "48 samples of 8x8x3 to learn from, 12 held out" in out
    assert "100.00% (12 of 12)" in out
    out = run(capsys, "evaluate", "run")
    assert "100.00% (12 of 12)" in out
    dark, light = out.splitlines()[-2:]
    assert dark.split() == ["dark", "6", "."]
    assert light.split() == ["light", ".", "6"]
    dark, light = shades / "dark" / "3.png", shades / "light" / "12.png"
    out = run(capsys, "predict", "run", dark, light)
    lines = out.splitlines()
    assert re.match(
        rf"{re.escape(str(dark))} +dark +\(dark \d+\.\d\d%  light \d+\.\d\d%\)", lines[0]
    )
    assert lines[1].split()[1] == "light"
    assert run(capsys, "predict", "run", dark, "--top", 1).count("%") == 1


def test_train_a_published_network(capsys):
    out = run(capsys, "train", "--model", "resnet_cifar", "--epochs", 2)
    assert out.startswith("resnet_cifar (270,810 parameters) on digits: ")
    assert float(re.search(r"held-out accuracy +([0-9.]+)%", out)[1]) > 80
    written = json.loads(Path("runs/digits-resnet_cifar/run.json").read_text())
    assert written["lr"] == 0.1


def test_train_a_network_with_options(capsys):
    out = run(capsys, "train", "--model", "resnet_cifar", "--depth", 8, "--epochs", 1)
    count = models.define("resnet_cifar", depth=8, input_shape=(8, 8, 1)).count_parameters()
    assert out.startswith(f"resnet_cifar ({count:,} parameters) on digits: ")
    folder = Path("runs/digits-resnet_cifar")
    written = json.loads((folder / "run.json").read_text())
    assert written["depth"] == 8
    assert "variant" not in written
    assert digest(run(capsys, "train", "--resume", folder)) == digest(out)
    assert "leave out --depth" in fail(capsys, "train", "--resume", folder, "--depth", 8)


def test_auxiliary_outputs_serve_training_alone(capsys):
    image = nn.Input((8, 8, 1))
    x = nn.Flatten()(image)
    outputs = [nn.Dense(10, activation="softmax", name=name)(x) for name in ("end", "aux")]
    model = nn.Model(image, outputs)
    model.class_names = tuple("abcdefghij")
    model.preprocessing = data.Preprocessing(resize=9, crop=8, mean=0.5, std=0.25)
    model.save("saved")
    out = run(capsys, "evaluate", "saved", "--data", "digits")
    assert digest(out) == nn.Model(image, outputs[0]).weights_sha256() != model.weights_sha256()
    part, _ = cli._load_model("saved")
    assert len(part.outputs) == 1
    assert part.class_names == model.class_names
    assert part.preprocessing == model.preprocessing


def test_resume_after_sigkill_ends_with_the_same_bits(capsys):
    options = ("train", "--model", "mlp", "--epochs", 6, "--seed", 3)
    whole = digest(run(capsys, *options, "--out", "whole"))
    process = start(*options, "--out", "killed")
    for _ in range(1200):
        history = Path("killed/history.csv")
        if history.exists() and history.read_text().count("\n") >= 3:
            break
        time.sleep(0.05)
    process.kill()
    process.communicate()
    assert digest(run(capsys, "train", "--resume", "killed")) == whole
    assert digest(run(capsys, "train", "--resume", "killed")) == whole
    assert "leave out --epochs" in fail(capsys, "train", "--resume", "killed", "--epochs", 9)


def test_run_that_died_in_its_first_epoch_is_resumed_from_its_start(capsys):
    options = ("train", "--model", "perceptron", "--epochs", 2, "--out", "run")
    whole = digest(run(capsys, *options))
    # What is there before the first step of a second run in the same place.
    settings = json.loads(Path("run/run.json").read_text())
    train, _ = data.digits()
    cli._new_trainer(settings, train, [], "cpu", "fp32").save("run/last")
    assert digest(run(capsys, "train", "--resume", "run")) == whole


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_leaves_a_run_to_resume(capsys):
    process = start("train", "--model", "perceptron", "--epochs", 100_000, "--out", "run")
    for _ in range(1200):
        if Path("run/history.csv").exists():
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "sixloop train --resume run" in err
    assert "SHA-256" not in out
    history = Path("run/history.csv").read_text().splitlines()
    resumed = sixloop.Trainer.resume("run/last")
    assert len(history) == 1 + resumed.epoch
    assert "accuracy" in run(capsys, "evaluate", "run")


def test_ctrl_c_outside_of_training(capsys, monkeypatch):
    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(data, "load", interrupt)
    assert cli.main(["train"]) == 130
    assert capsys.readouterr().err == "sixloop: interrupted\n"


def test_curves_are_optional(capsys, monkeypatch):
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    out = run(capsys, "train", "--model", "perceptron", "--epochs", 1, "--out", "run")
    assert "learning curves    not drawn: pip install 'sixloop[plot]'" in out
    assert not Path("run/curves.png").exists()


def test_curves():
    pillow = pytest.importorskip("PIL.Image")
    pytest.importorskip("matplotlib")
    history = History()
    for epoch in range(1, 4):
        history.append(epoch, {"loss": 1 / epoch, "accuracy": 0.9, "val_loss": 2 / epoch})
    inspect.plot_history(history, "curves.png", title="a title")
    with pillow.open("curves.png") as image:
        assert image.width > 500
    with pytest.raises(ValueError, match="no epoch"):
        inspect.plot_history(History(), "curves.png")


# ------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["bake"], "bake"),
        (["train", "--epochs", "0"], "invalid positive integer value: '0'"),
        (["train", "--lr", "nan"], "invalid positive number value: 'nan'"),
        (["train", "--seed", "-1"], "non-negative integer"),
        (["train", "--threads", "100000"], "1024"),
        (["train", "--model", "lenet6"], "valid names: perceptron"),
        (["train", "--model", "lenet5"], "conv2d_2"),
        (
            ["train", "--model", "lenet5", "--variant", "1988"],
            "variant must be one of modern, 1998, caffe; got '1988' (did you mean '1998'?)",
        ),
        (["train", "--variant", "1998"], "small_cnn has no option 'variant'; it has none"),
        (["train", "--model", "vgg11", "--depth", "8"], "vgg11 has no option 'depth'; valid"),
        (["train", "--model", "resnet_cifar", "--depth", "9"], "depth must be 6n + 2"),
        (["train", "--model", "resnet_cifar", "--depth", "0"], "invalid positive integer"),
        (
            ["train", "--model", "alexnet"],
            "alexnet must fit its input, by default (N, 227, 227, 3); got (N, 8, 8, 1): [conv1] "
            "the 11x11 filter does not fit the 8x8 input",
        ),
        (["train", "--model", "vgg19"], "vgg19 must fit its input, by default (N, 224, 224, 3)"),
        (["train", "--model", "googlenet"], "got (N, 8, 8, 1): [avg_pool2d_1] the 5x5 pool does"),
        (["train", "--data", "nowhere"], "neither a data set (digits, mnist"),
        (["train", "--data", "."], "folder"),
        (["train", "--resume", "nowhere"], "run.json"),
        (["train", "--resume", "nowhere", "--lr", "1"], "leave out --lr"),
        (["train", "--out", "file"], "file"),
        (["evaluate", "nowhere"], "nowhere"),
        (["evaluate", "file"], "file"),
        (["evaluate", "saved"], "does not say what it was trained on; give --data"),
        (["evaluate", "saved", "--data", "digits"], "takes 28x28x1 and tells 10 classes apart"),
        (["predict", "saved", "nowhere.png"], "nowhere.png: No such file"),
        (["predict", "saved", "file"], "file: cannot be read as an image"),
        (["predict", "saved"], "IMAGE"),
        (["summary", "lenet6"], "neither a network (perceptron"),
        (["summary", "saved", "--classes", "3"], "--classes"),
        (["summary", "saved", "--variant", "1998"], "--variant and --depth are for a network"),
        (["summary", "lenet5", "--input-shape", "28x0x1"], "invalid HxWxC value"),
        (["summary", "broken"], "broken"),
        (["summary", "lenet5", "--batch", "0"], "invalid positive integer value: '0'"),
        (["summary", "lenet5", "--optimizer", "adam"], "give --batch, too"),
        (["summary", "lenet5", "--measure"], "measure needs a batch size"),
        (["summary", "lenet5", "--batch", "1", "--optimizer", "adamm"], "adamw"),
        (["summary", "lenet5", "--style", "slide"], "--style"),
    ],
)
def test_errors_are_one_line(capsys, arguments, message):
    Path("file").write_text("no image, no model")
    models.build("perceptron").save("saved")
    models.build("perceptron").save("broken")
    Path("broken/model.json").write_text("{")
    assert message in fail(capsys, *arguments)


def test_files_that_are_not_there(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    message = fail(capsys, "train", "--data", "mnist", "--data-dir", "somewhere")
    assert f"put train-images-idx3-ubyte.gz into {Path('somewhere/mnist').resolve()}" in message


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"format": "sixloop run"}', "[" * 100_000])
def test_damaged_run(capsys, content):
    models.build("perceptron").save("run/model")
    Path("run/run.json").write_text(content)
    assert "run.json" in fail(capsys, "train", "--resume", "run")
    assert "run.json" in fail(capsys, "evaluate", "run")


def test_out_of_memory(capsys, monkeypatch):
    def exhaust(*arguments: object, **options: object) -> None:
        raise MemoryError

    monkeypatch.setattr(models, "define", exhaust)
    assert fail(capsys, "summary", "lenet5") == "sixloop: error: out of memory\n"


def test_closed_pipe():
    with start("summary", "lenet5") as process:
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=60) == 0


# ---------------------------------------------------------------------------------- summary, info


def test_summary(capsys):
    assert "61,706" in run(capsys, "summary", "lenet5")
    assert "not trained 840" in run(capsys, "summary", "lenet5", "--variant", "1998")
    assert "trainable 1,727,962" in run(capsys, "summary", "resnet_cifar", "--depth", "110")
    assert "(N, 3)" in run(capsys, "summary", "mlp", "--classes", 3, "--input-shape", "4x5x2")
    models.build("perceptron", classes=4).save("saved")
    assert "(N, 4)" in run(capsys, "summary", "saved")


def test_summary_allocates_nothing(capsys):
    before = sixloop.memory_stats()["requests"]
    for style in ("table", "lecture"):
        assert "fc" in run(capsys, "summary", "googlenet", "--style", style)
    assert "peak of a training step" in run(capsys, "summary", "vgg19", "--batch", 32)
    assert sixloop.memory_stats()["requests"] == before


def test_summary_of_a_batch(capsys):
    out = run(capsys, "summary", "lenet5", "--batch", 8, "--optimizer", "adam", "--measure")
    assert "memory for a batch of 8, in bytes as allocated" in out
    figures = dict(re.findall(r"^([a-z ]+?)  +([\d,]+) +[\d.]+ MiB$", out, re.MULTILINE))
    memory = models.build("lenet5").summary(8, optimizer="adam").memory
    assert figures["peak of a training step"] == f"{memory.training:,}"
    assert figures["optimizer state"] == f"{memory.optimizer:,}"
    assert "measured peak of a training step" in figures
    assert "memory" not in run(capsys, "summary", "lenet5")


def test_info(capsys):
    out = run(capsys, "info")
    assert sixloop.__version__ in out
    assert f"instruction set  {sixloop.isa()}" in out
    assert re.search(r"threads +\d+", out)
    assert re.search(r"CUDA +\S+", out)


def test_help_names_all_networks_and_data_sets(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for name in (*models.list(), *data.NAMES):
        assert name in text


# ---------------------------------------------------------------------------------------- inspect


def test_confusion_matrix():
    matrix = inspect.confusion_matrix([0, 1, 1, 2, 2, 2], [0, 1, 0, 2, 2, 1], 4)
    assert matrix.tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 2, 0], [0, 0, 0, 0]]
    assert inspect.confusion_matrix([], [], 2).tolist() == [[0, 0], [0, 0]]
    with pytest.raises(ValueError, match="0 to 1; got 0 to 2"):
        inspect.confusion_matrix([0, 1], [0, 2], 2)
    with pytest.raises(ValueError, match="one length"):
        inspect.confusion_matrix([0, 1], [0], 2)
    table = inspect.format_confusion(np.diag([12345, 0]), ["airplane", "b"]).splitlines()
    assert table[0] == "true      airpl     b"
    assert table[1] == "airplane  12345     ."
