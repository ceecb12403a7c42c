"""Callbacks: code of yours that a Trainer calls while it trains.

    class Print(Callback):
        def on_epoch_end(self, trainer, logs):
            print(trainer.epoch, logs["loss"])

A callback that remembers something gives it out in `state` and takes it back in `load_state`, and a
resumed run goes on as if it had never stopped.
"""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sixloop.trainer import Trainer

__all__ = ["CSVLogger", "Callback", "EarlyStopping", "ModelCheckpoint"]


class Callback:
    """The base of the callbacks: six hooks that do nothing.

    The trainer tells where it is: `trainer.step` and `trainer.epoch` are the optimizer steps and
    epochs that are complete, `trainer.batch` the batches of the running epoch that are. A hook may
    call `trainer.stop(reason)` and `trainer.request_save(path)`.
    """

    reads_batch_loss: ClassVar[bool] = True
    """Whether `on_batch_end` looks at its `loss`. The GPU is then waited for after every batch;
    where no callback looks, they get NaN, and `trainer.running()` has the means so far."""

    def on_train_begin(self, trainer: Trainer) -> None:
        """Called by `fit` before the first batch. `trainer.continuing`: of a run begun earlier."""

    def on_train_end(self, trainer: Trainer) -> None:
        """Called by `fit` after the last batch, also if it was stopped, but not on an error."""

    def on_epoch_begin(self, trainer: Trainer) -> None:
        """Called before the first batch of an epoch (not again if it is resumed in the middle)."""

    def on_epoch_end(self, trainer: Trainer, logs: Mapping[str, float]) -> None:
        """Called after an epoch and its validation; `logs` is its row of the History."""

    def on_batch_begin(self, trainer: Trainer) -> None:
        """Called before a batch."""

    def on_batch_end(self, trainer: Trainer, loss: float) -> None:
        """Called after a batch and its update; `loss` is the batch's, before the update."""

    def state(self) -> dict[str, Any]:
        """Return what must survive a restart, as values that JSON can hold."""
        return {}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that must survive a restart."""
        return {}

    def load_state(self, state: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what `state` and `arrays` returned in another process."""


class _Monitor:
    """Tells whether a figure of the History is the best so far."""

    def __init__(self, op: str, monitor: str | None, mode: str, min_delta: float = 0.0) -> None:
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"[{op}] unknown mode {mode!r}; valid modes: auto, min, max")
        if not 0 <= min_delta < math.inf:
            raise ValueError(f"[{op}] expected finite min_delta >= 0; got {min_delta!r}")
        self.op = op
        self.monitor = monitor
        self.mode = mode
        self.min_delta = min_delta
        self.best: float | None = None

    def improves(self, logs: Mapping[str, float]) -> bool:
        """Compare with the best and remember the better. NaN never improves."""
        name = self.monitor or ("val_loss" if "val_loss" in logs else "loss")
        if name not in logs:
            raise ValueError(
                f"[{self.op}] there is no {name!r} to monitor; this run has: {', '.join(logs)}"
            )
        value = logs[name]
        sign = 1.0 if self.mode == "max" or (self.mode == "auto" and "loss" not in name) else -1.0
        if math.isnan(value) or (
            self.best is not None and sign * (value - self.best) <= self.min_delta
        ):
            return False
        self.best = value
        return True


class EarlyStopping(Callback):
    """Stop when a figure has not improved for some epochs.

    Args:
        monitor: name in the History (default: "val_loss", without validation "loss").
        patience: epochs without improvement that are let pass, >= 0 (default 3): training stops at
            the end of the one after.
        min_delta: an improvement by no more than this does not count (default 0).
        mode: "min", "max" or "auto" (default): "min" for names with "loss" in them, else "max".
        restore_best: at the end of training, stopped or not, put back the weights and running
            statistics of the best epoch (default False). Not after Ctrl-C, which is no end.

    Attributes:
        best: the best value so far, or None.
        best_epoch: its epoch, counted from 1, or None.
    """

    def __init__(
        self,
        monitor: str | None = None,
        *,
        patience: int = 3,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best: bool = False,
    ) -> None:
        if isinstance(patience, bool) or not isinstance(patience, int) or patience < 0:
            raise ValueError(f"[EarlyStopping] patience must be an integer >= 0; got {patience!r}")
        self._monitor = _Monitor("EarlyStopping", monitor, mode, min_delta)
        self.patience = patience
        self.restore_best = restore_best
        self._reset()

    def _reset(self) -> None:
        self._monitor.best = None
        self.best_epoch: int | None = None
        self._waited = 0
        self._stopped = ""
        self._weights: dict[str, NDArray[Any]] = {}

    @property
    def best(self) -> float | None:
        return self._monitor.best

    def on_train_begin(self, trainer: Trainer) -> None:
        if not trainer.continuing:
            self._reset()
        elif self._stopped:
            trainer.stop(self._stopped)

    def on_epoch_end(self, trainer: Trainer, logs: Mapping[str, float]) -> None:
        if self._monitor.improves(logs):
            self.best_epoch = trainer.epoch
            self._waited = 0
            if self.restore_best:
                for name, parameter in trainer.model.parameters().items():
                    if name in self._weights:
                        np.copyto(self._weights[name], parameter.numpy())
                    else:
                        self._weights[name] = parameter.numpy().copy()
            return
        self._waited += 1
        if self._waited > self.patience:
            self._stopped = (
                f"early stopping: no improvement on {self.best} of epoch {self.best_epoch} "
                f"for {self._waited} epochs"
            )
            trainer.stop(self._stopped)

    def on_train_end(self, trainer: Trainer) -> None:
        if self._weights and not trainer.interrupted:
            for name, parameter in trainer.model.parameters().items():
                parameter.assign(self._weights[name])

    def state(self) -> dict[str, Any]:
        return {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "waited": self._waited,
            "stopped": self._stopped,
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        return self._weights

    def load_state(self, state: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        self._monitor.best = state["best"]
        self.best_epoch = state["best_epoch"]
        self._waited = state["waited"]
        self._stopped = state["stopped"]
        self._weights = {name: np.array(array) for name, array in arrays.items()}


class ModelCheckpoint(Callback):
    """Keep checkpoints: `<directory>/last` and, of the best epoch so far, `<directory>/best`.

    `Trainer.resume` goes on from either, and `sixloop.load` reads the model from either. A
    checkpoint is written when all callbacks of the hook have run, so that it has the state of all
    of them.

    Args:
        directory: where; made if need be.
        monitor: name in the History (default: "val_loss", without validation "loss").
        mode: "min", "max" or "auto" (default): "min" for names with "loss" in them, else "max".
        best: keep the best (default True).
        last: keep the last, at the end of every epoch and after Ctrl-C (default True).
        every: steps after which the last is written as well, >= 1 (default None: never).

    Attributes:
        value: the monitored value of the best epoch so far, or None.
    """

    reads_batch_loss = False

    def __init__(
        self,
        directory: str | os.PathLike[str],
        monitor: str | None = None,
        *,
        mode: str = "auto",
        best: bool = True,
        last: bool = True,
        every: int | None = None,
    ) -> None:
        if every is not None and (
            isinstance(every, bool) or not isinstance(every, int) or every < 1
        ):
            raise ValueError(
                f"[ModelCheckpoint] every must be an integer >= 1 or None; got {every!r}"
            )
        self.directory = Path(directory)
        self.best = best
        self.last = last
        self.every = every
        self._monitor = _Monitor("ModelCheckpoint", monitor, mode)
        self._saved_step = -1

    @property
    def value(self) -> float | None:
        return self._monitor.best

    def on_train_begin(self, trainer: Trainer) -> None:
        if not trainer.continuing:
            self._monitor.best = None

    def on_batch_end(self, trainer: Trainer, loss: float) -> None:
        if self.every is not None and trainer.step % self.every == 0:
            self._save_last(trainer)

    def on_epoch_end(self, trainer: Trainer, logs: Mapping[str, float]) -> None:
        if self.best and self._monitor.improves(logs):
            trainer.request_save(self.directory / "best")
        if self.last:
            self._save_last(trainer)

    def on_train_end(self, trainer: Trainer) -> None:
        if self.last and trainer.interrupted and trainer.step != self._saved_step:
            self._save_last(trainer)

    def _save_last(self, trainer: Trainer) -> None:
        self._saved_step = trainer.step
        trainer.request_save(self.directory / "last")

    def state(self) -> dict[str, Any]:
        return {"best": self._monitor.best}

    def load_state(self, state: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        self._monitor.best = state["best"]


class CSVLogger(Callback):
    """Keep the History in a CSV file: a row for each epoch, with the epoch's number first.

    The file is written anew and renamed after every epoch, so that it is complete at any time, and
    that of a resumed run is the same as that of an uninterrupted one.

    Args:
        path: of the file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def on_epoch_end(self, trainer: Trainer, logs: Mapping[str, float]) -> None:
        import csv

        history = trainer.history
        columns = history.history
        self.path.parent.mkdir(parents=True, exist_ok=True)
        new = self.path.with_name(f".{self.path.name}.new")
        with new.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["epoch", *columns])
            writer.writerows(zip(history.epochs, *columns.values(), strict=True))
        new.replace(self.path)


class Progress(Callback):
    """What `fit(verbose=)` shows on standard error: a bar on a terminal, elsewhere a line an epoch.

    Args:
        epochs: the number of the last epoch.
        batches: in an epoch.
        bar: show a bar (default: whether standard error is a terminal).
    """

    reads_batch_loss = False

    interval = 0.1
    """Seconds between two updates of the bar."""

    def __init__(self, epochs: int, batches: int, bar: bool | None = None) -> None:
        self.epochs = epochs
        self.batches = batches
        self.stream = sys.stderr
        self.show_bar = self.stream.isatty() if bar is None else bar
        self._bar: Any = None
        self._next = 0.0
        self._begun = time.monotonic()

    def on_train_begin(self, trainer: Trainer) -> None:
        self._begun = time.monotonic()

    def on_batch_end(self, trainer: Trainer, loss: float) -> None:
        if not self.show_bar:
            return
        now = time.monotonic()
        if now < self._next and trainer.batch < self.batches:
            return
        self._next = now + self.interval
        if self._bar is None:
            label = f"epoch {trainer.epoch + 1}/{self.epochs}"
            self._bar = _bar(self.stream, label, trainer.batch, self.batches)
        self._bar.n = trainer.batch
        self._bar.set_postfix_str(_figures(trainer.running()), refresh=False)
        self._bar.refresh()

    def on_epoch_end(self, trainer: Trainer, logs: Mapping[str, float]) -> None:
        if self._bar is not None:
            self._bar.set_postfix_str(_figures(logs), refresh=True)
            self.close()
        if not self.show_bar:
            now = time.monotonic()
            seconds, self._begun = now - self._begun, now
            self._line(f"epoch {trainer.epoch}/{self.epochs}  {seconds:.1f} s  {_figures(logs)}")

    def on_train_end(self, trainer: Trainer) -> None:
        self.close()
        if trainer.stop_reason:
            self._line(trainer.stop_reason)

    def close(self) -> None:
        """Take the bar away, also after an error."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _line(self, text: str) -> None:
        self.stream.write(text + "\n")
        self.stream.flush()


def _figures(values: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in values.items())


def _bar(stream: Any, label: str, done: int, total: int) -> Any:
    from tqdm import tqdm

    # Without tqdm's monitor thread: all updates come from on_batch_end.
    bar = type("Bar", (tqdm,), {"monitor_interval": 0})
    return bar(
        total=total,
        initial=done,
        desc=label,
        file=stream,
        unit="batch",
        dynamic_ncols=True,
    )
