"""The command line: ``sixloop`` or ``python -m sixloop``.

A run is a directory:

    run.json        what was asked for and, at the end, what came out
    model/          the trained model, for ``sixloop.load`` and the other commands
    last/           the last checkpoint, for ``train --resume``
    history.csv     loss and accuracy of each epoch
    curves.png      the same as a picture, where matplotlib is installed
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

# All else is imported by the command that needs it, so that `--help` and `info` answer at once.
if TYPE_CHECKING:
    from sixloop.data import ArrayDataset
    from sixloop.nn import Model
    from sixloop.trainer import Trainer

__all__ = ["main"]

USAGE_ERROR = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells report it

# What is told in one line. RuntimeError: no GPU, or an op that has no kernel for it.
_ERRORS = (
    ArithmeticError,
    ImportError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)

# For each data set: model, epochs, batch size. Folders of images have the last row.
_DEFAULTS = {
    "digits": ("small_cnn", 15, 32),
    "mnist": ("lenet5", 4, 64),
    "fashion-mnist": ("lenet5", 10, 64),
    "cifar10": ("cifar_cnn", 8, 128),
    "": ("cifar_cnn", 10, 64),
}
# Peak learning rates by the beginning of the name: those of networks with batch normalisation are
# larger, those of the deep ones without it smaller.
_LEARNING_RATES = {
    "small_cnn": 0.1,
    "cifar_cnn": 0.1,
    "resnet": 0.1,
    "densenet": 0.1,
    "alexnet": 0.01,
    "zfnet": 0.01,
    "vgg": 0.01,
    "googlenet": 0.01,
}
_LEARNING_RATE = 0.05
# What a run is begun with, and goes on with.
_RUN_OPTIONS = ("model", "variant", "depth", "data", "epochs", "batch_size", "lr", "seed", "out")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: of the command line; default those of the process.

    Returns:
        The exit code: 0, 2 after an error (one line on standard error), 130 after Ctrl-C.
    """
    try:
        options = _parser().parse_args(arguments)
        # A call from Python must not replace the process that made it.
        options.owns_process = arguments is None
        code: int = options.command(options)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("sixloop: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has enough (`sixloop summary lenet5 | head -1`). Python would
        # complain at exit when it flushes what is left.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except _ERRORS as error:
        print(f"sixloop: error: {_one_line(error)}", file=sys.stderr)
        return USAGE_ERROR


# ---------------------------------------------------------------------------------------- commands


def _train(options: argparse.Namespace) -> int:
    import sixloop
    from sixloop import data
    from sixloop.callbacks import CSVLogger, ModelCheckpoint

    began = time.monotonic()
    _set_threads(options.threads)
    run = _resumed_run(options) if options.resume is not None else _new_run(options)
    train, held_out = data.load(run["data"], root=run["data_dir"])
    out = Path(run["out"])
    callbacks = [ModelCheckpoint(out, best=False), CSVLogger(out / "history.csv")]
    trainer = (
        sixloop.Trainer.resume(
            out / "last",
            callbacks=callbacks,
            device=options.device,
            precision=options.precision,
        )
        if options.resume is not None
        else _new_trainer(run, train, callbacks, options.device, options.precision or "fp32")
    )
    model = trainer.model
    run["classes"] = list(train.classes)
    out.mkdir(parents=True, exist_ok=True)
    if options.resume is None:
        # The checkpoint of no steps replaces one of an earlier run, which --resume could otherwise
        # take up if this run dies in its first epoch.
        trainer.save(out / "last")
        _write_run(out, run)

    print(
        f"{model.name} ({model.count_parameters():,} parameters) on {run['data']}: "
        f"{len(train):,} samples of {_shape(train.shape)} to learn from, {len(held_out):,} held "
        f"out; {_processor(trainer.device)}",
        flush=True,
    )
    if run["data"] == "cifar10":
        train = train.with_transforms(data.random_crop(32, padding=2), data.horizontal_flip())
    history = trainer.fit(
        train, epochs=run["epochs"], batch_size=run["batch_size"], validation=held_out
    )
    if trainer.interrupted:
        print(
            f"sixloop: interrupted; to go on: sixloop train --resume {out}",
            file=sys.stderr,
        )
        return INTERRUPTED

    figures = trainer.evaluate(held_out)
    model = _without_auxiliary(model)
    digest = model.weights_sha256()
    model.class_names = tuple(train.classes)
    model.save(out / "model")
    run["result"] = {**figures, "weights_sha256": digest}
    _write_run(out, run)
    right = round(figures["accuracy"] * len(held_out))
    print(f"held-out accuracy  {figures['accuracy']:.2%} ({right:,} of {len(held_out):,})")
    print(f"weights SHA-256    {digest}")
    print(f"model saved in     {out / 'model'}")
    print(f"learning curves    {_plot(history, out / 'curves.png', run)}")
    print(f"time               {time.monotonic() - began:.1f} s")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    import numpy as np

    import sixloop
    from sixloop import data, inspect

    _set_threads(options.threads)
    model, run = _load_model(options.model)
    name = options.data or run.get("data")
    if name is None:
        raise ValueError(f"{options.model} does not say what it was trained on; give --data")
    _, held_out = data.load(name, root=options.data_dir or run.get("data_dir"))
    _check_fit(model, held_out, name)
    trainer = sixloop.Trainer(
        model, optimizer="sgd", device=options.device, precision=options.precision or "fp32"
    )
    figures = trainer.evaluate(held_out, batch_size=options.batch_size)
    scores = trainer.predict(held_out, batch_size=options.batch_size)
    matrix = inspect.confusion_matrix(held_out.y, np.argmax(scores, axis=-1), scores.shape[-1])
    right = int(np.trace(matrix))
    print(f"held-out accuracy  {figures['accuracy']:.2%} ({right:,} of {len(held_out):,})")
    print(f"held-out loss      {figures['loss']:.4f}")
    print(f"weights SHA-256    {model.weights_sha256()}")
    if len(matrix) <= 20:
        print("predicted (columns) for each true class (rows):")
        print(inspect.format_confusion(matrix, held_out.classes))
    return 0


def _predict(options: argparse.Namespace) -> int:
    import numpy as np

    from sixloop import inspect

    _set_threads(options.threads)
    model, run = _load_model(options.model)
    count = model.output_shapes[0][-1]
    names = model.class_names or run.get("classes") or [str(i) for i in range(count)]
    if len(names) != count:
        raise ValueError(f"{options.model} has {count} outputs, but {len(names)} class names")
    width = max(len(file) for file in options.image)
    for file in options.image:
        scores = inspect.classify(model, [file], ten_crop=options.ten_crop)[0]
        order = np.argsort(-scores, kind="stable")[: options.top]
        shares = "  ".join(f"{names[i]} {scores[i]:.2%}" for i in order)
        print(f"{file:<{width}}  {names[order[0]]}  ({shares})")
    return 0


def _describe(options: argparse.Namespace) -> Model:
    """Return the network of that name, without parameters, or the saved model."""
    from sixloop import models

    if options.model in models.list():
        return models.define(
            options.model,
            classes=options.classes,
            input_shape=options.input_shape,
            **_network_options(vars(options)),
        )
    if options.classes or options.input_shape or _network_options(vars(options)):
        raise ValueError(
            f"--classes, --input-shape, --variant and --depth are for a network by name "
            f"({', '.join(models.list())}); got {options.model}"
        )
    if not Path(options.model).exists():
        raise ValueError(
            f"{options.model!r} is neither a network ({', '.join(models.list())}) nor a saved model"
        )
    return _load_model(options.model)[0]


def _summary(options: argparse.Namespace) -> int:
    from sixloop import inspect

    model = _describe(options)
    if options.style == "lecture":
        for name in ("batch", "optimizer", "measure"):
            if getattr(options, name):
                raise ValueError(f"--style lecture has no memory; leave out --{name}")
        print(inspect.format_lecture(model))
    else:
        if options.optimizer is not None and options.batch is None:
            raise ValueError("--optimizer is for the memory of a batch; give --batch, too")
        print(model.summary(options.batch, optimizer=options.optimizer, measure=options.measure))
    if options.draw is not None:
        inspect.draw_graph(model, options.draw)
        print(f"graph drawn in {options.draw}")
    return 0


def _explain(options: argparse.Namespace) -> int:
    from sixloop.inspect.explain import explain

    _set_threads(options.threads)
    model = _describe(options)
    print(
        explain(
            model,
            options.batch,
            training=options.training,
            measure=options.measure,
            device=options.device,
            precision=options.precision,
            capability=options.capability,
        )
    )
    return 0


def _info(options: argparse.Namespace) -> int:
    import platform

    import sixloop

    print(f"sixloop          {sixloop.__version__}")
    print(f"Python           {platform.python_version()} on {platform.platform()}")
    print(f"instruction set  {sixloop.isa()} (available: {', '.join(sixloop.available_isas())})")
    print(f"threads          {sixloop.get_num_threads()}")
    print(f"CUDA             {sixloop.cuda.why()}")
    return 0


def _bench(options: argparse.Namespace) -> int:
    from importlib.util import find_spec

    from sixloop.bench import timing

    if options.vs is not None:
        if find_spec("torch") is None:
            raise ImportError("--vs torch needs PyTorch, which is not installed: pip install torch")
        if options.owns_process:
            timing.restart_with_environment()

    import sixloop
    from sixloop import ops
    from sixloop.bench import report, roofline, runner
    from sixloop.bench.cases import DEFAULT, FAMILIES, PASSES, cases
    from sixloop.bench.shapes import NETWORKS

    families = _names("--only", options.only, FAMILIES, ",".join(DEFAULT))
    networks = _names("--net", options.net, NETWORKS)
    passes = _names("--pass", options.passes, PASSES)
    if options.plot is not None:
        if not {"gemm", "conv2d", "direct"}.intersection(families):
            raise ValueError("--plot draws gemm, conv2d and direct; --only leaves them out")
        roofline.check_matplotlib()
    for file in (options.json, options.plot):
        if file is not None:  # now, not when all is measured
            Path(file).parent.mkdir(parents=True, exist_ok=True)
            Path(file).open("ab").close()
    _set_threads(options.threads)
    peer: Any = None
    if options.vs is not None:
        from sixloop.bench import torch_peer

        peer = torch_peer
        peer.set_threads(sixloop.get_num_threads())
    memory_gbs = ops.copy_bandwidth() / 1e9
    print(
        f"sixloop {sixloop.__version__}, {sixloop.isa()}, {sixloop.get_num_threads()} threads"
        f"{f'; PyTorch {peer.version()}' if peer else ''}; "
        f"FMA peak {ops.fma_peak() / 1e9:.0f} GFLOP/s, copies in memory {memory_gbs:.1f} GB/s",
        flush=True,
    )
    rows = runner.run(
        cases(families, networks, passes),
        seconds=options.seconds,
        peer=peer,
        show=lambda line: print(line, flush=True),
    )
    print(f"\nEach of the {len(rows)} results was verified before it was timed.")
    for line in report.summary_lines(rows):
        print(line)
    if options.json is not None:
        version = peer.version() if peer else None
        report.write(Path(options.json), report.result(rows, torch=version, memory_gbs=memory_gbs))
        print(f"written to {options.json}")
    if options.plot is not None:
        roofline.plot(rows, options.plot, memory_gbs=memory_gbs)
        print(f"roofline drawn in {options.plot}")
    return 0


# ------------------------------------------------------------------------------------------- parts


def _names(
    option: str, given: str | None, valid: Iterable[str], default: str | None = None
) -> list[str]:
    """Return the names of a list with commas, in the order of the valid ones."""
    valid = list(valid)
    wanted = (given or default or ",".join(valid)).split(",")
    for name in wanted:
        if name not in valid:
            raise ValueError(f"{option} takes {', '.join(valid)}; got {name!r}")
    return [name for name in valid if name in wanted]


def _new_run(options: argparse.Namespace) -> dict[str, Any]:
    name = options.data or "digits"
    model, epochs, batch_size = _DEFAULTS.get(name, _DEFAULTS[""])
    model = options.model or model
    label = name
    if name not in _DEFAULTS:
        # Absolute, so that the run can be resumed and evaluated from anywhere.
        name = str(Path(name).expanduser().resolve())
        label = Path(name).name
    return {
        "format": "sixloop run",
        "model": model,
        **_network_options(vars(options)),
        "data": name,
        "data_dir": options.data_dir and str(Path(options.data_dir).expanduser().resolve()),
        "epochs": options.epochs or epochs,
        "batch_size": options.batch_size or batch_size,
        "lr": options.lr
        or next((x for k, x in _LEARNING_RATES.items() if model.startswith(k)), _LEARNING_RATE),
        "seed": options.seed or 0,
        "out": options.out or str(Path("runs") / f"{label}-{model}"),
    }


def _network_options(given: dict[str, Any]) -> dict[str, Any]:
    """Return what was given of the options that some networks have."""
    return {key: given[key] for key in ("variant", "depth") if given.get(key) is not None}


def _resumed_run(options: argparse.Namespace) -> dict[str, Any]:
    given = [
        f"--{name.replace('_', '-')}" for name in _RUN_OPTIONS if getattr(options, name) is not None
    ]
    if given:
        raise ValueError(f"--resume goes on with the run as it was begun; leave out {given[0]}")
    directory = Path(options.resume)
    run = _read_run(directory)
    if not run:
        raise ValueError(f"{directory} is no run of `sixloop train`: it has no run.json")
    # The directory may have been moved, and so may the data.
    return {**run, "out": str(directory), "data_dir": options.data_dir or run["data_dir"]}


def _new_trainer(
    run: dict[str, Any],
    train: ArrayDataset,
    callbacks: Sequence[Any],
    device: str,
    precision: str,
) -> Trainer:
    from sixloop import Trainer, models, optim, schedules

    model = models.build(
        run["model"],
        classes=len(train.classes),
        input_shape=train.shape,
        seed=run["seed"],
        **_network_options(run),
    )
    steps = run["epochs"] * train.batch_count(run["batch_size"])
    warmup = max(1, steps // 10)
    return Trainer(
        model,
        optim.SGD(run["lr"], momentum=0.9, weight_decay=5e-4),
        callbacks=callbacks,
        schedule=schedules.LinearWarmup(
            schedules.Cosine(run["lr"], steps=max(1, steps - warmup)), steps=warmup
        ),
        device=device,
        precision=precision,
        seed=run["seed"],
    )


def _processor(device: str) -> str:
    import sixloop

    if device == "cuda":
        return sixloop.cuda.device_name()
    return f"{sixloop.get_num_threads()} threads, {sixloop.isa()}"


def _write_run(directory: Path, run: dict[str, Any]) -> None:
    import json

    new = directory / ".run.json.new"
    new.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    new.replace(directory / "run.json")


_RUN_TYPES: dict[str, tuple[type, ...]] = {
    "model": (str,),
    "data": (str,),
    "data_dir": (str, type(None)),
    "epochs": (int,),
    "batch_size": (int,),
    "classes": (list,),
}


def _read_run(directory: Path) -> dict[str, Any]:
    """Return what run.json says, or nothing if there is none."""
    import json

    path = directory / "run.json"
    if not path.is_file():
        return {}
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: not JSON ({error})") from error
    if not isinstance(run, dict) or run.get("format") != "sixloop run":
        raise ValueError(f"{path} is foreign: it does not say 'format': 'sixloop run'")
    for key, types in _RUN_TYPES.items():
        if not isinstance(run.get(key), types):
            raise ValueError(f"{path} is damaged: {key} is {run.get(key)!r}")
    run["classes"] = [str(name) for name in run["classes"]]
    return run


def _load_model(path: str) -> tuple[Model, dict[str, Any]]:
    """Load a model from the directory of a run, of a model or of a checkpoint, and its run.json."""
    import sixloop

    directory = Path(path)
    inner = next((d for d in ("model", "last") if (directory / d / "model.json").is_file()), None)
    if inner is not None and not (directory / "model.json").is_file():
        return _without_auxiliary(sixloop.load(directory / inner)), _read_run(directory)
    return _without_auxiliary(sixloop.load(directory)), _read_run(directory.resolve().parent)


def _without_auxiliary(model: Model) -> Model:
    """Return the part of a model that its first output needs: the others serve training alone."""
    from sixloop.nn import Model

    if len(model.outputs) == 1 or len(model.inputs) > 1:
        return model
    part = Model(model.inputs, model.outputs[0], name=model.name)
    part.preprocessing, part.class_names = model.preprocessing, model.class_names
    return part


def _check_fit(model: Model, dataset: ArrayDataset, name: str) -> None:
    shape, classes = model.input_shapes[0], model.output_shapes[0][-1]
    if tuple(shape) != dataset.shape or classes != len(dataset.classes):
        raise ValueError(
            f"{model.name} takes {_shape(shape)} and tells {classes} classes apart; {name} has "
            f"{_shape(dataset.shape)} and {len(dataset.classes)} classes"
        )


def _plot(history: Any, path: Path, run: dict[str, Any]) -> str:
    from sixloop.inspect import plot_history

    try:
        plot_history(history, path, title=f"{run['model']} on {Path(run['data']).name}")
    except ModuleNotFoundError:
        return "not drawn: pip install 'sixloop[plot]'"
    return str(path)


def _set_threads(threads: int | None) -> None:
    if threads is not None:
        import sixloop

        sixloop.set_num_threads(threads)


def _shape(shape: Sequence[int]) -> str:
    return "x".join(str(n) for n in shape)


def _one_line(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    text = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return f"out of memory{': ' if text else ''}{text}"
    return text or type(error).__name__


# -------------------------------------------------------------------------------------- arguments


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(USAGE_ERROR, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError
    return value


def _seed(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError
    return value


def _rate(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError
    return value


def _image_shape(text: str) -> tuple[int, ...]:
    return tuple(_count(n) for n in text.lower().split("x"))


def _capability(text: str) -> tuple[int, int]:
    major, minor = text.split(".")
    return int(major), int(minor)


# What argparse says of a wrong value: "invalid positive integer value: '0'".
_count.__name__ = "positive integer"
_seed.__name__ = "non-negative integer"
_rate.__name__ = "positive number"
_image_shape.__name__ = "HxWxC"
_capability.__name__ = "X.Y"

_DATA_HELP = (
    "digits, mnist, fashion-mnist, cifar10, or a folder of images with one folder a class "
    "(in train and test, or a fifth is held out)"
)
_NETWORKS = (
    "perceptron, mlp, lenet5, small_cnn, cifar_cnn, alexnet, zfnet, vgg11, vgg13, vgg16, vgg19, "
    "googlenet, resnet18, resnet34, resnet50, resnet101, resnet152, resnet_cifar, densenet121, "
    "densenet169, densenet201, densenet161 or densenet264"
)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="sixloop",
        description="Trains and applies convolutional networks.",
        epilog="Without arguments, `sixloop train` trains a small network on handwritten digits.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    train = commands.add_parser("train", help="train a network and save it")
    train.set_defaults(command=_train)
    train.add_argument("--model", metavar="NAME", help=f"{_NETWORKS}; default: by the data")
    _add_network_options(train)
    train.add_argument("--data", metavar="NAME|PATH", help=f"{_DATA_HELP}; default: digits")
    _add_data_dir(train)
    train.add_argument("--epochs", type=_count, metavar="N", help="default: by the data")
    train.add_argument("--batch-size", type=_count, metavar="N", help="default: by the data")
    train.add_argument(
        "--lr",
        type=_rate,
        metavar="X",
        help="largest learning rate, reached after a tenth of the steps and followed by half a "
        "cosine wave; default: by the model",
    )
    train.add_argument(
        "--seed", type=_seed, metavar="N", help="the same seed gives the same weights; default: 0"
    )
    _add_device(train)
    _add_threads(train)
    train.add_argument(
        "--out", metavar="DIR", help="where everything is saved; default: runs/DATA-MODEL"
    )
    train.add_argument(
        "--resume", metavar="DIR", help="go on with the run in DIR, with the settings it has"
    )

    evaluate = commands.add_parser("evaluate", help="test a saved model on held-out data")
    evaluate.set_defaults(command=_evaluate)
    _add_model(evaluate)
    evaluate.add_argument(
        "--data", metavar="NAME|PATH", help=f"{_DATA_HELP}; default: what it was trained on"
    )
    _add_data_dir(evaluate)
    evaluate.add_argument(
        "--batch-size", type=_count, metavar="N", default=256, help="default: 256"
    )
    _add_device(evaluate)
    _add_threads(evaluate)

    predict = commands.add_parser("predict", help="tell what is in image files")
    predict.set_defaults(command=_predict)
    _add_model(predict)
    predict.add_argument(
        "image",
        metavar="IMAGE",
        nargs="+",
        help="prepared as the model was saved to be, else resized to what it takes",
    )
    predict.add_argument(
        "--top", type=_count, metavar="N", default=5, help="classes to show; default: 5"
    )
    predict.add_argument(
        "--ten-crop",
        action="store_true",
        help="average over corners, middle and their mirror images",
    )
    _add_threads(predict)

    summary = commands.add_parser("summary", help="show the layers of a network or saved model")
    summary.set_defaults(command=_summary)
    _add_described(summary)
    summary.add_argument(
        "--batch", type=_count, metavar="N", help="show the memory that N samples take, too"
    )
    summary.add_argument(
        "--optimizer",
        metavar="NAME",
        help="count its state: sgd, rmsprop, adam or adamw; default: none",
    )
    summary.add_argument(
        "--measure", action="store_true", help="run a batch and measure the memory, too"
    )
    summary.add_argument(
        "--style",
        choices=("table", "lecture"),
        default="table",
        help="lecture: the few digits that slides print; default: table",
    )
    summary.add_argument(
        "--draw",
        metavar="FILE",
        help="draw the graph into FILE.txt, FILE.dot or FILE.svg (SVG needs Graphviz)",
    )

    explain = commands.add_parser(
        "explain",
        help="show which algorithm each layer gets, and why",
        description="For each convolution and dense layer: algorithm, the rule that chose it, "
        "method, kernel and its tile, scratch memory, operations for each byte that must move, and "
        "what the roofline of this machine, measured now, allows.",
    )
    explain.set_defaults(command=_explain)
    _add_described(explain)
    explain.add_argument(
        "--batch", type=_count, metavar="N", default=1, help="number of samples; default: 1"
    )
    explain.add_argument("--training", action="store_true", help="the gradients, too")
    explain.add_argument("--measure", action="store_true", help="run each and show its GFLOP/s")
    explain.add_argument(
        "--device",
        choices=("cpu", "cuda"),
        default="cpu",
        help="default: cpu; cuda needs no GPU but to measure",
    )
    explain.add_argument(
        "--precision",
        choices=("fp32", "tf32", "bf16"),
        default="fp32",
        help="of products on the GPU; default: fp32",
    )
    explain.add_argument(
        "--capability",
        type=_capability,
        metavar="X.Y",
        help="the GPU's compute capability; default: that of the GPU here, without one 9.0",
    )
    _add_threads(explain)

    bench = commands.add_parser(
        "bench",
        help="measure speed, alone or beside PyTorch",
        description="Times sixloop in turns of 50 ms, after each result was verified. Shares are "
        "those of the peak of multiply-adds and of a copy of as many bytes, measured in the run.",
        epilog="SIXLOOP_ISA=avx2 restricts sixloop; ONEDNN_MAX_CPU_ISA=AVX2 "
        "MKL_ENABLE_INSTRUCTIONS=AVX2 ATEN_CPU_CAPABILITY=avx2 OPENBLAS_CORETYPE=Haswell hold "
        "PyTorch and NumPy to the same.",
    )
    bench.set_defaults(command=_bench)
    bench.add_argument(
        "--vs",
        choices=("torch",),
        help="beside PyTorch in both of its layouts, and NumPy for gemm; default: alone",
    )
    bench.add_argument(
        "--only",
        metavar="LIST",
        help="of gemm, conv2d (all passes), direct (its forward pass by algorithm=direct), pool2d, "
        "softmax, batch_norm, lenet, with commas between them; default: all but direct",
    )
    bench.add_argument(
        "--net",
        metavar="LIST",
        help="whose convolutions: alexnet, vgg16, googlenet, resnet50, densenet121, lenet5; "
        "default: all",
    )
    bench.add_argument(
        "--pass",
        dest="passes",
        metavar="LIST",
        help="of the convolutions: forward, grad_input, grad_weight; default: all",
    )
    bench.add_argument(
        "--seconds",
        type=_rate,
        metavar="S",
        default=0.1,
        help="for each row and library, at least three runs; default: 0.1",
    )
    _add_threads(bench)
    bench.add_argument("--json", metavar="FILE", help="write all figures")
    bench.add_argument(
        "--plot", metavar="FILE", help="draw the roofline (.png, .svg, .pdf; needs matplotlib)"
    )

    info = commands.add_parser("info", help="show version, instruction set and threads")
    info.set_defaults(command=_info)
    return parser


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL", help="directory of a training run or of a saved model"
    )


def _add_described(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="NAME|MODEL", help=f"{_NETWORKS}, or a saved model")
    _add_network_options(parser)
    parser.add_argument(
        "--classes", type=_count, metavar="N", help="default: the network's own, 10 or 1000"
    )
    parser.add_argument(
        "--input-shape", type=_image_shape, metavar="HxWxC", help="default: the network's own"
    )


def _add_network_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--variant",
        metavar="V",
        help="of networks that have several, such as modern, 1998 or caffe of lenet5; default: "
        "the network's own",
    )
    parser.add_argument(
        "--depth", type=_count, metavar="D", help="of resnet_cifar: 20, 32, 44, ...; default: 20"
    )


def _add_data_dir(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        help="where the files of a named data set are or go; default: SIXLOOP_DATA or a cache",
    )


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where to compute, with the same bits; default: auto, the GPU where there is one",
    )
    parser.add_argument(
        "--precision",
        choices=("fp32", "tf32", "bf16"),
        help="on the GPU: tf32 and bf16 use tensor cores and round more; default: fp32, and with "
        "--resume that of the run",
    )


def _add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--threads", type=_count, metavar="N", help="changes no bit of a result; default: all"
    )
