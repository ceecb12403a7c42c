"""What the recipes share: their options, and the log, curve and report that they leave."""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sixloop
from sixloop import callbacks, data, inspect
from sixloop.trainer import History


class _Clock(callbacks.Callback):
    """Seconds of each epoch, with its evaluation."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_begin(self, trainer: sixloop.Trainer) -> None:
        self._last = time.perf_counter()

    def on_epoch_end(self, trainer: sixloop.Trainer, logs: Mapping[str, float]) -> None:
        now = time.perf_counter()
        self.seconds.append(round(now - self._last, 2))
        self._last = now


def parse(description: str | None) -> argparse.Namespace:
    """Read the options that every recipe has."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent, metavar="DIR")
    parser.add_argument("--threads", type=int, metavar="N")
    options = parser.parse_args()
    if options.threads:
        sixloop.set_num_threads(options.threads)
    return options


def run(
    name: str,
    options: argparse.Namespace,
    trainer: sixloop.Trainer,
    train: data.ArrayDataset,
    test: data.ArrayDataset,
    epochs: int,
    batch_size: int,
    *,
    required: float,
) -> None:
    """Train; write NAME.csv (the log), NAME.svg (the curves), NAME.json (what came out of it).

    The accuracy is that of the last epoch on the test set, which decides nothing during training.
    """
    out: Path = options.out
    clock = _Clock()
    trainer.callbacks.extend([callbacks.CSVLogger(out / f"{name}.csv"), clock])
    history = trainer.fit(train, epochs=epochs, batch_size=batch_size, validation=test, verbose=2)
    if trainer.interrupted:
        raise SystemExit("interrupted")
    accuracy = trainer.evaluate(test)["accuracy"]
    _draw(history, out / f"{name}.svg", title=f"{name}: {accuracy:.2%}")
    report: dict[str, Any] = {
        "command": f"python docs/recipes/{name}.py --data-dir DIR",
        "parameters": trainer.model.count_parameters(),
        "epochs": epochs,
        "batch_size": batch_size,
        "test_accuracy": accuracy,
        "epoch_seconds": clock.seconds,
        "seconds": round(sum(clock.seconds), 1),
        "weights_sha256": trainer.model.weights_sha256(),
        "date": time.strftime("%Y-%m-%d"),
        "sixloop": sixloop.__version__,
        "isa": sixloop.isa(),
        "threads": sixloop.get_num_threads(),
        "processor": _processor(),
    }
    (out / f"{name}.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"test accuracy {accuracy:.2%} after {report['seconds']:.0f} s")
    if not accuracy >= required:
        raise SystemExit(f"below {required:.0%}")


def _draw(history: History, path: Path, *, title: str) -> None:
    import matplotlib

    # Words as text and no random names: a file that version control can compare.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": path.stem}):
        inspect.plot_history(history, path, title=title)
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("".join(f"{line.rstrip()}\n" for line in lines), encoding="utf-8")


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
