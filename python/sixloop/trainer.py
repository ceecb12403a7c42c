"""Trainer: fits a model to data, and can be stopped and resumed at any step without a trace.

    trainer = Trainer(model, SGD(0.1, momentum=0.9), callbacks=[ModelCheckpoint("runs/a")])
    history = trainer.fit((x, y), epochs=10, batch_size=64, validation=(x_val, y_val))

    trainer = Trainer.resume("runs/a/last", callbacks=[ModelCheckpoint("runs/a")])
    history = trainer.fit((x, y), epochs=10, batch_size=64, validation=(x_val, y_val))

The second part, in another process, goes on where the last checkpoint was written and ends with
the same bits in the weights as a run that was never stopped: the order of the data and all random
numbers are functions of (seed, epoch, step), and everything else is in the checkpoint.
"""

from __future__ import annotations

import math
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sixloop import (
    _checks,
    _device_training,
    _registry,
    checkpoint,
    losses,
    ops,
    optim,
    schedules,
)
from sixloop._arrays import to_device, to_numpy
from sixloop._training_setup import (
    again,
    check_callbacks,
    check_count,
    choose_device,
    find_metrics,
    output_form,
)
from sixloop._training_state import STATE, History, Run
from sixloop.callbacks import Callback, Progress

if TYPE_CHECKING:
    from sixloop.nn import Layer, Model

__all__ = ["History", "NonFiniteLossError", "Trainer"]


class NonFiniteLossError(FloatingPointError):
    """The loss became infinite or NaN.

    Attributes:
        epoch: of the batch, counted from 1.
        step: optimizer step that was not taken, counted from 1.
        layer: name of the first layer whose output is not finite, or None if all are finite.
    """

    def __init__(self, message: str, epoch: int, step: int, layer: str | None) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.step = step
        self.layer = layer


class Trainer:
    """Trains, evaluates and applies a model with one input.

    Where the model has several outputs, the first is its answer, which metrics, `evaluate` and
    `predict` take; the others, of the same shape, are auxiliary classifiers (Szegedy et al. 2014,
    section 5): in training, their losses are added.

    Args:
        model: built with `seed` if it has no parameters yet.
        optimizer: an Optimizer, or a name for its defaults: "sgd", "rmsprop", "adam" (default),
            "adamw".
        loss: a Loss or a name: "cross_entropy" (default), "binary_cross_entropy",
            "mean_squared_error", "weston_watkins_hinge"; or a function
            `f(output, target) -> (float, gradient)`. Where the model ends in the softmax or sigmoid
            that belongs to the loss, loss and metrics see the values before it.
        metrics: Metrics or names: "accuracy" (default), "binary_accuracy", "top_<k>_accuracy"; or
            functions `f(output, target) -> float`. With "binary_cross_entropy", "accuracy" is the
            binary one.
        callbacks: called in this order (default none).
        schedule: `step -> learning rate` (steps count from 0), in place of the optimizer's rate.
        l2: factor of the penalty l2/2 * sum(w^2) over the weights, not the biases (default 0); see
            `losses.L2Penalty` for the difference to `weight_decay`.
        device: "cpu", "cuda" or "auto" (default), which is the GPU where `sixloop.cuda` has one.
            The model is moved there. Losses and metrics of your own get NumPy arrays on either.
            The bits are the same, and so are checkpoints.
        seed: of initialisation, shuffling, dropout and augmentation (default 0).
        auxiliary_weight: factor of the losses of the outputs after the first (default 0.3, that of
            the paper).
        precision: on the GPU, "fp32" (default), "tf32" or "bf16", as `Model.to` has them; the
            parameters, the optimizer's state, the loss and statistics stay float32 in all of them,
            and so a checkpoint goes on in any.
        graphs: on the GPU, record the step for each shape of batch that comes a third time, and
            launch it as one (default True); `execution` says what came of it. The bits are the
            same.

    Attributes:
        device: where the model is trained, "cpu" or "cuda".
        step, epoch: optimizer steps and epochs that are complete.
        batch: batches of the running epoch that are complete.
        history: of all complete epochs.
        stop_reason: why the last `fit` ended before its last epoch; "" if it did not.

    Raises:
        ValueError: unknown name of a loss, metric, optimizer, device or precision (the message
            lists the valid ones), a precision that the device or the model's dtype does not have,
            or a last activation that the loss would misread.
        RuntimeError: "cuda" where there is no GPU to use; the message says why.
    """

    def __init__(
        self,
        model: Model,
        optimizer: str | optim.Optimizer = "adam",
        loss: str | losses.Loss | Callable[[Any, Any], tuple[float, Any]] = "cross_entropy",
        metrics: Sequence[Any] = ("accuracy",),
        callbacks: Sequence[Callback] = (),
        schedule: Callable[[int], float] | None = None,
        *,
        l2: float = 0.0,
        device: str = "auto",
        seed: int = 0,
        auxiliary_weight: float = 0.3,
        precision: str = "fp32",
        graphs: bool = True,
    ) -> None:
        where = choose_device(device)
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ValueError(f"[Trainer] seed must be an integer >= 0; got {seed!r}")
        self.model = model
        self.optimizer = optim.get(optimizer)
        self.loss = losses.get(loss)
        self.metrics = find_metrics(metrics, self.loss)
        self.callbacks = check_callbacks(callbacks)
        self.schedule = None if schedule is None else schedules.get(schedule)
        self.l2 = losses.L2Penalty(l2)
        self.device = where
        self.graphs = bool(graphs)
        self.seed = seed
        self.auxiliary_weight = _checks.number(
            "Trainer", "auxiliary_weight", auxiliary_weight, low=0.0
        )

        self.step = 0
        self.epoch = 0
        self.batch = 0
        self.history = History()
        self.stop_reason = ""
        self._sums: dict[str, list[float]] = {}
        self._run: Run | None = None
        self._continuing = False
        self._interrupts = 0
        self._saves: list[str | os.PathLike[str]] = []
        self._batches: _device_training.Batches | None = None
        self._held_out_batches: _device_training.Batches | None = None
        self._waits = ""
        self._train_data: Any = None  # of the running fit
        self._adopted = False  # whether its images lie on the GPU

        self._logits, self._drop_activation = output_form(model, self.loss)
        if not model.is_built:
            model.build(seed=seed)
        model.to(where, precision=precision)
        if where == "cuda":
            self._waits = _device_training.why_not(self)
            if not self._waits:
                self._batches = _device_training.Batches(self, training=True, graphs=self.graphs)

    @property
    def execution(self) -> str:
        """How training steps are carried out: one line.

        "on the CPU"; "one graph for each shape of batch" on the GPU; "kernel by kernel: <why>",
        where a step cannot be recorded; "kernel by kernel, waiting for each batch: <why>", where
        the loss, a metric or the optimizer needs the CPU.
        """
        if self.device == "cpu":
            return "on the CPU"
        if self._batches is None:
            return f"kernel by kernel, waiting for each batch: {self._waits}"
        if self._batches.plainly:
            return f"kernel by kernel: {self._batches.plainly}"
        return "one graph for each shape of batch"

    @property
    def continuing(self) -> bool:
        """Whether the running `fit` goes on with one that was interrupted or killed."""
        return self._continuing

    @property
    def interrupted(self) -> bool:
        """Whether the running or last `fit` was ended by Ctrl-C."""
        return self._interrupts > 0

    @property
    def lr(self) -> float:
        """The learning rate of the next step."""
        return self.optimizer.lr if self.schedule is None else self.schedule(self.step)

    def fit(
        self,
        data: Any,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        validation: Any = None,
        shuffle: bool = True,
        verbose: int = 1,
        resume: bool = True,
    ) -> History:
        """Train for a number of epochs.

        Ctrl-C ends training after the running batch, with weights and History intact; a second one
        raises KeyboardInterrupt. Call `fit` with the same arguments again, in this process or after
        `Trainer.resume`, to go on with the next batch as if nothing had happened: `epochs` then
        counts those from before too.

        Args:
            data: a pair of arrays (x (N, ...), y (N, ...)) or a data set.
            epochs: passes over the data, >= 0 (default 1). After a `fit` that came to its end,
                another one adds as many.
            batch_size: samples for a step, >= 1 (default 32). The last batch may be smaller.
            validation: as `data`; evaluated after every epoch (default None).
            shuffle: a new order in every epoch, from the seed (default True).
            verbose: 0 shows nothing, 1 a bar on a terminal and otherwise a line an epoch (default),
                2 a line an epoch; on standard error.
            resume: go on with an interrupted `fit` (default True). False starts to count anew and
                leaves an epoch that was begun.

        Returns:
            The History of all epochs of this trainer.

        Raises:
            NonFiniteLossError: names the epoch, the step and the first layer whose output is not
                finite. The weights are those from before the step.
            ValueError, TypeError: data that do not fit, or arguments out of range.
        """
        epochs = check_count("epochs", epochs, 0)
        batch_size = check_count("batch_size", batch_size, 1)
        if verbose not in (0, 1, 2):
            raise ValueError(f"[Trainer.fit] verbose must be 0, 1 or 2; got {verbose!r}")
        train = self._data_set("fit", data)
        held_out = None if validation is None else self._data_set("validation", validation)
        last_epoch = self._begin(len(train), batch_size, bool(shuffle), resume) + epochs
        callbacks = self.callbacks
        progress = None
        if verbose:
            batches = -(-len(train) // batch_size)
            progress = Progress(last_epoch, batches, bar=None if verbose == 1 else False)
            callbacks = [*callbacks, progress]
        try:
            with self._catch_interrupts():
                self._fit(train, held_out, last_epoch, callbacks)
        finally:
            if progress is not None:
                progress.close()
            self._saves.clear()
            self._train_data = None
        return self.history

    def _begin(self, samples: int, batch_size: int, shuffle: bool, resume: bool) -> int:
        """Start a run or go on with one; return the number of epochs complete at its start."""
        self._interrupts = 0
        self.stop_reason = ""
        run = self._run
        self._continuing = resume and run is not None
        if run is None or not resume:
            self.batch = 0
            self._sums = {}
            run = self._run = Run(self.epoch, samples, batch_size, shuffle)
        asked = Run(run.first_epoch, samples, batch_size, shuffle)
        if self.batch and asked != run:
            raise ValueError(
                f"[Trainer.fit] the run to go on with stopped in epoch {self.epoch + 1} after "
                f"batch {self.batch}, with {run.samples} samples, batch_size={run.batch_size}, "
                f"shuffle={run.shuffle}; got {samples} samples, batch_size={batch_size}, "
                f"shuffle={shuffle}. Give the same, or resume=False to begin a new run"
            )
        self._run = asked
        return asked.first_epoch

    def _fit(
        self, train: Any, held_out: Any, last_epoch: int, callbacks: Sequence[Callback]
    ) -> None:
        self._train_data = train
        self._adopted = self._batches is not None and self._batches.adopt(train)
        reads = any(c.reads_batch_loss and _overrides(c, "on_batch_end") for c in callbacks)
        # The library's own callbacks move no parameters between two batches.
        own = [c for c in callbacks if type(c).__module__ != Callback.__module__]
        moves = any(_overrides(c, hook) for c in own for hook in ("on_batch_begin", "on_batch_end"))
        hooks = {
            name: [getattr(c, name) for c in callbacks if _overrides(c, name)] for name in _HOOKS
        }
        self._call(hooks["on_train_begin"])
        while self.epoch < last_epoch and not self._must_stop:
            if self.batch == 0:
                self._call(hooks["on_epoch_begin"])
            self._train_epoch(hooks["on_batch_begin"], hooks["on_batch_end"], reads, moves)
            if self._must_stop:
                break
            logs = self.running()
            if held_out is not None:
                assert self._run is not None
                figures = self._evaluate(held_out, self._run.batch_size, interruptible=True)
                if self._interrupts:  # in the validation, which the next fit repeats
                    break
                logs.update({f"val_{name}": value for name, value in figures.items()})
            self.epoch += 1
            self.batch = 0
            self._sums = {}
            self.history.append(self.epoch, logs)
            self._call(hooks["on_epoch_end"], logs)
        if self.epoch >= last_epoch:
            self._interrupts = 0  # a Ctrl-C after the last batch comes too late
            self._run = None
        elif self._interrupts:
            self.stop_reason = f"interrupted in epoch {self.epoch + 1} after batch {self.batch}"
        elif self.batch == 0:
            self._run = None
        self._call(hooks["on_train_end"])

    def _training_batches(self) -> Iterator[tuple[Any, ...]]:
        """Return the rest of the epoch's batches."""
        batches: Iterator[tuple[Any, ...]] = self._train_data.batches(**self._place_in_data())
        return batches

    def _placed_batches(self) -> Iterator[tuple[Any, ...]]:
        """Return the same as indices, places and targets: see ArrayDataset.placed_batches."""
        batches: Iterator[tuple[Any, ...]] = self._train_data.placed_batches(
            **self._place_in_data()
        )
        return batches

    def _place_in_data(self) -> dict[str, Any]:
        assert self._run is not None
        return {
            "batch_size": self._run.batch_size,
            "shuffle": self._run.shuffle,
            "seed": self.seed,
            "epoch": self.epoch,
            "start": self.batch,
        }

    def _train_epoch(
        self,
        begin: Sequence[Callable[..., None]],
        end: Sequence[Callable[..., None]],
        reads: bool,
        moves: bool,
    ) -> None:
        dtype = np.dtype(self.model.dtype)
        there = self._batches
        if there is not None:
            there.begin(self._sums)
        try:
            for *x, y in self._placed_batches() if self._adopted else self._training_batches():
                if begin:
                    self._call(begin)
                loss = math.nan
                if there is not None and moves:
                    there.look_for_changes()
                if there is None:
                    loss = self._train_batch(np.asarray(x[0], dtype), y)
                elif self._adopted:
                    there.run_images(x[0], x[1], y, step=self.step, lr=self.lr)
                else:
                    there.run(np.asarray(x[0], dtype), y, step=self.step, lr=self.lr)
                self.step += 1
                self.batch += 1
                if there is not None and (reads or there.must_read):
                    loss = self._settle()
                if end:
                    self._call(end, loss)
                if self._must_stop:
                    break
        finally:
            self._settle()

    def _settle(self) -> float:
        """Wait for the GPU, if there is one: sums are then up to date. Returns the last loss.

        Raises:
            NonFiniteLossError: step and batch are then those of the batch that failed.
        """
        if self._batches is None or not self._batches.is_pending:
            return math.nan
        try:
            self._sums, loss = self._batches.read()
        except _device_training.Failure as failure:
            self.batch -= self.step - failure.step
            self.step = failure.step
            self._sums, _ = self._batches.read()
            x, y = next(iter(self._training_batches()))
            x = np.asarray(x, np.dtype(self.model.dtype))
            raise self._non_finite(x, y, failure.loss) from None
        return loss

    def _train_batch(self, x: NDArray[Any], y: Any) -> float:
        """Train on a batch whose loss the CPU looks at before the update."""
        model, drop = self.model, self._drop_activation
        parameters = model.trainable_parameters()
        outputs = model(self._on_device(x), training=True, step=self.step, logits=drop)
        output = _first(outputs)
        loss, gradient = self._loss(output, y)
        if len(model.outputs) > 1:
            gradient = [gradient]
            for auxiliary in outputs[1:]:
                more, of_more = self._loss(auxiliary, y)
                loss += self.auxiliary_weight * more
                gradient.append(ops.scale(of_more, self.auxiliary_weight))
        if not math.isfinite(loss):
            raise self._non_finite(x, y, loss)
        model.backward(gradient, input_gradient=False, from_logits=drop)
        gradients = model.gradients()
        if self.l2.l2:
            loss += self.l2(parameters, gradients)
        self.optimizer.update(parameters, gradients, self.lr)
        _count(self._sums, "loss", loss * len(y), len(y))
        self._count_metrics(self._sums, output, y)
        return loss

    def _on_device(self, x: NDArray[Any]) -> Any:
        """Returns a batch as the model takes it: a Tensor where it is on the GPU."""
        return x if self.device == "cpu" else to_device(x, self.device)

    def _loss(self, output: Any, target: Any) -> tuple[float, Any]:
        own = not isinstance(self.loss, losses.Loss)  # a function of the user's
        loss, gradient = self.loss(to_numpy(output) if own else output, target)
        return loss, gradient

    def _count_metrics(self, sums: dict[str, list[float]], output: Any, target: Any) -> None:
        if not self.metrics:
            return
        values = to_numpy(output)  # once for all metrics
        for metric in self.metrics:
            _count(sums, metric.name, *metric.count(values, target, logits=self._logits))

    def running(self) -> dict[str, float]:
        """Return the means of the running epoch so far: the loss and the metrics."""
        self._settle()
        return _means(self._sums)

    def stop(self, reason: str = "stopped by a callback") -> None:
        """End `fit` after the running batch; for callbacks."""
        self.stop_reason = reason

    def request_save(self, path: str | os.PathLike[str]) -> None:
        """Write a checkpoint when all callbacks of the running hook have run; for callbacks.

        Then the checkpoint has the state of each of them after this hook, whatever their order.
        """
        self._saves.append(path)

    @property
    def _must_stop(self) -> bool:
        return self._interrupts > 0 or self.stop_reason != ""

    def _call(self, hooks: Sequence[Callable[..., None]], *arguments: Any) -> None:
        for hook in hooks:
            hook(self, *arguments)
        while self._saves:
            self.save(self._saves.pop(0))

    @contextmanager
    def _catch_interrupts(self) -> Iterator[None]:
        """Count the first Ctrl-C; leave a second, and all where the handler is not Python's own."""
        if (
            threading.current_thread() is not threading.main_thread()
            or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        ):
            yield
            return

        def handle(number: int, frame: Any) -> None:
            self._interrupts += 1
            if self._interrupts > 1:
                signal.default_int_handler(number, frame)

        signal.signal(signal.SIGINT, handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _non_finite(self, x: Any, y: Any, loss: float) -> NonFiniteLossError:
        layer = None
        if not np.isfinite(x).all():
            cause = "the batch itself has values that are not finite"
        elif np.asarray(y).dtype.kind == "f" and not np.isfinite(y).all():
            cause = "the targets have values that are not finite"
        else:
            layer = self.model.first_non_finite(x)
            cause = (
                "the outputs of all layers are finite, so it is the loss that overflows"
                if layer is None
                else f"the first layer whose output is not finite is {layer!r}"
            )
        return NonFiniteLossError(
            f"[Trainer.fit] the loss is {loss} in epoch {self.epoch + 1}, step {self.step + 1}: "
            f"{cause} (learning rate {self.lr:g})",
            self.epoch + 1,
            self.step + 1,
            layer,
        )

    def evaluate(self, data: Any, *, batch_size: int = 256) -> dict[str, float]:
        """Return the loss (without the L2 penalty) and the metrics over all of `data`.

        Args:
            data: a pair of arrays (x (N, ...), y (N, ...)) or a data set.
            batch_size: samples that go through the model at once, >= 1 (default 256).
        """
        batch_size = check_count("batch_size", batch_size, 1)
        return self._evaluate(self._data_set("evaluate", data), batch_size)

    def _evaluate(
        self, data: Any, batch_size: int, *, interruptible: bool = False
    ) -> dict[str, float]:
        if self._batches is not None:
            return self._evaluate_there(data, batch_size, interruptible)
        sums: dict[str, list[float]] = {}
        dtype = np.dtype(self.model.dtype)
        for x, y in data.batches(batch_size):
            batch = self._on_device(np.asarray(x, dtype))
            output = _first(self.model(batch, logits=self._drop_activation))
            loss, _ = self._loss(output, y)
            _count(sums, "loss", loss * len(y), len(y))
            self._count_metrics(sums, output, y)
            if interruptible and self._interrupts:
                break
        return _means(sums)

    def _evaluate_there(self, data: Any, batch_size: int, interruptible: bool) -> dict[str, float]:
        there = self._held_out_batches
        if there is None:
            there = _device_training.Batches(self, training=False, graphs=self.graphs)
            self._held_out_batches = there
        dtype = np.dtype(self.model.dtype)
        there.begin({})
        for x, y in data.batches(batch_size):
            there.run(np.asarray(x, dtype), y, step=0, lr=0.0)
            if interruptible and self._interrupts:
                break
        return _means(there.read()[0])

    def predict(self, x: Any, *, batch_size: int = 256) -> NDArray[Any]:
        """Return the model's output for every sample, with its last activation.

        Args:
            x: array (N, ...), taken as `fit` takes it (uint8 pixels are divided by 255), or a data
                set, of which the targets are ignored. N = 0 is fine.
            batch_size: samples that go through the model at once, >= 1 (default 256).

        Returns:
            Array (N, ...) of the model's dtype.
        """
        batch_size = check_count("batch_size", batch_size, 1)
        dtype = np.dtype(self.model.dtype)
        if not hasattr(x, "batches"):
            from sixloop.data import ArrayDataset

            x = np.asarray(x)
            if x.ndim == 0:
                raise ValueError(
                    f"[Trainer] predict: expected samples (N, ...); got the scalar {x}"
                )
            x = ArrayDataset(x, np.zeros(len(x), np.int64), dtype=dtype)
        if len(x) == 0:
            return np.empty((0, *self.model.output_shapes[0]), dtype)
        batches = (np.asarray(batch, dtype) for batch, _ in x.batches(batch_size))
        if self.model.device == "cpu":
            outputs = [np.asarray(_first(self.model(batch))) for batch in batches]
        else:
            outputs = list(_device_training.outputs_of(self.model, batches))
        return outputs[0].copy() if len(outputs) == 1 else np.concatenate(outputs)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a checkpoint of everything: the directory `path`, in place of an older one.

        `checkpoint` has the format and what happens if the process dies meanwhile.
        """
        self._settle()
        arrays = {}
        saved = []
        for index, callback in enumerate(self.callbacks):
            saved.append({"type": type(callback).__qualname__, "state": callback.state()})
            arrays.update({f"{index}/{name}": a for name, a in callback.arrays().items()})
        state = {
            "optimizer": _registry.describe(self.optimizer),
            "loss": _registry.describe(self.loss),
            "metrics": [metric.config() for metric in self.metrics],
            "schedule": None if self.schedule is None else _registry.describe(self.schedule),
            "l2": self.l2.l2,
            "auxiliary_weight": self.auxiliary_weight,
            # Wherever this run was: its bits do not depend on it, nor whether it can go on here.
            "device": "auto",
            "precision": self.model.precision,
            "seed": self.seed,
            "step": self.step,
            "epoch": self.epoch,
            "batch": self.batch,
            "sums": self._sums,
            "history": self.history.history,
            "epochs": self.history.epochs,
            "run": None if self._run is None else vars(self._run),
            "callbacks": saved,
        }
        checkpoint.write(path, self.model, state, self.optimizer.state(), arrays)

    @classmethod
    def resume(
        cls,
        path: str | os.PathLike[str],
        *,
        callbacks: Sequence[Callback] = (),
        optimizer: optim.Optimizer | None = None,
        loss: Callable[[Any, Any], tuple[float, Any]] | None = None,
        metrics: Sequence[Any] | None = None,
        schedule: Callable[[int], float] | None = None,
        custom_layers: Iterable[type[Layer]] = (),
        device: str | None = None,
        precision: str | None = None,
        graphs: bool = True,
    ) -> Trainer:
        """Return the trainer that was saved at `path`, to go on with `fit` on the same data.

        Args:
            path: a checkpoint.
            callbacks: the same as before, which are given their saved state, by type and order;
                one that was not there before starts afresh.
            optimizer: needed if it was of a class of your own. It is given its saved state.
            loss: needed if it was a function or class of your own, which a checkpoint cannot hold.
            metrics: all of them; needed if one was a function of your own.
            schedule: needed if it was a function of your own.
            custom_layers: classes of your own layers that the model contains.
            device: "cpu", "cuda" or "auto", whatever it was before; default "auto".
            precision: as in the constructor; default that of the saved run where the device is the
                GPU, else "fp32".
            graphs: as in the constructor.

        Raises:
            CheckpointError: there is no checkpoint, or it is damaged or foreign.
            ValueError: a function of your own was not given again.
        """
        from sixloop.nn import load

        found = checkpoint.read(path)
        state = found.state
        for name, is_valid in STATE.items():
            if not is_valid(state.get(name)):
                raise checkpoint.CheckpointError(
                    f"[Trainer.resume] the state in {found.path} is not a trainer's: "
                    f"{name} is {state.get(name)!r:.100}"
                )
        if any(len(values) != len(state["epochs"]) for values in state["history"].values()):
            raise checkpoint.CheckpointError(
                f"[Trainer.resume] the state in {found.path} is not a trainer's: the lists of the "
                f"history differ in length"
            )
        if metrics is None:
            metrics = [again("metrics", saved, None) for saved in state["metrics"]]
        weight = state.get("auxiliary_weight")
        where = choose_device(device or state["device"])
        saved_precision = (state.get("precision") or "fp32") if where == "cuda" else "fp32"
        trainer = cls(
            load(found.path, custom_layers),
            again("optimizer", state["optimizer"], optimizer),
            again("loss", state["loss"], loss),
            metrics,
            callbacks,
            again("schedule", state["schedule"], schedule),
            l2=state["l2"],
            device=where,
            precision=precision or saved_precision,
            seed=state["seed"],
            auxiliary_weight=0.3 if weight is None else weight,
            graphs=graphs,
        )
        trainer._load_optimizer(found)
        trainer.step = state["step"]
        trainer.epoch = state["epoch"]
        trainer.batch = state["batch"]
        trainer._sums = state["sums"]
        trainer.history = History(state["history"], state["epochs"])
        trainer._run = None if state["run"] is None else Run(**state["run"])
        trainer._load_callbacks(state["callbacks"], found.callbacks)
        return trainer

    def _load_optimizer(self, found: checkpoint.Checkpoint) -> None:
        parameters = self.model.trainable_parameters()
        for key, array in found.optimizer.items():
            _, slash, name = key.partition("/")
            parameter = parameters.get(name)
            if slash and (
                parameter is None
                or tuple(parameter.shape) != array.shape
                or parameter.dtype != array.dtype
            ):
                theirs = "" if parameter is None else f" {parameter.shape} {parameter.dtype}"
                raise checkpoint.CheckpointError(
                    f"[Trainer.resume] the optimizer's state does not fit the model in "
                    f"{found.path}: {key} is {array.shape} {array.dtype}, the model has "
                    + (f"{name}{theirs}" if theirs else f"no {name}")
                )
        self.optimizer.load_state(found.optimizer)

    def _load_callbacks(
        self, saved: Sequence[Mapping[str, Any]], arrays: Mapping[str, NDArray[Any]]
    ) -> None:
        used: set[int] = set()
        for callback in self.callbacks:
            name = type(callback).__qualname__
            for index, entry in enumerate(saved):
                if index not in used and entry["type"] == name:
                    used.add(index)
                    prefix = f"{index}/"
                    own = {k[len(prefix) :]: a for k, a in arrays.items() if k.startswith(prefix)}
                    try:
                        callback.load_state(entry["state"], own)
                    except (KeyError, TypeError, ValueError) as error:
                        raise checkpoint.CheckpointError(
                            f"[Trainer.resume] {name} does not understand its saved state: "
                            f"{type(error).__name__}: {error}"
                        ) from error
                    break

    def _data_set(self, op: str, data: Any) -> Any:
        """Return `data` as a data set that is not empty and fits the model."""
        if hasattr(data, "batches"):
            if len(data) == 0:
                raise ValueError(f"[Trainer] {op}: the data set is empty")
            targets = getattr(data, "y", None)
            if isinstance(targets, np.ndarray):
                self._check_targets(targets)
            return data
        if not isinstance(data, (tuple, list)) or len(data) != 2:
            raise TypeError(
                f"[Trainer] {op}: expected a pair of arrays (x, y) or a data set; "
                f"got {type(data).__name__}"
                + (f" of length {len(data)}" if isinstance(data, (tuple, list)) else "")
            )
        from sixloop.data import ArrayDataset

        x, y = np.asarray(data[0]), np.asarray(data[1])
        if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
            raise ValueError(
                f"[Trainer] {op}: x and y need one entry for each sample; "
                f"got x {x.shape}, y {y.shape}"
            )
        if len(x) == 0:
            raise ValueError(f"[Trainer] {op}: the data are empty; got x {x.shape}, y {y.shape}")
        self._check_targets(y)
        return ArrayDataset(x, y, dtype=np.dtype(self.model.dtype))

    def _check_targets(self, targets: NDArray[Any]) -> None:
        """Raise for targets that do not fit: before the first step, not within an epoch."""
        if isinstance(self.loss, losses.Loss):
            self.loss.check((len(targets), *self.model.output_shapes[0]), targets)


_HOOKS = (
    "on_train_begin",
    "on_train_end",
    "on_epoch_begin",
    "on_epoch_end",
    "on_batch_begin",
    "on_batch_end",
)


def _overrides(callback: Callback, hook: str) -> bool:
    return getattr(type(callback), hook) is not getattr(Callback, hook)


def _first(outputs: Any) -> Any:
    return outputs[0] if isinstance(outputs, list) else outputs


def _count(sums: dict[str, list[float]], name: str, value: float, number: int) -> None:
    # Python's own numbers: functions of the user's own return NumPy's too, which JSON cannot hold.
    entry = sums.setdefault(name, [0.0, 0])
    entry[0] += float(value)
    entry[1] += int(number)


def _means(sums: Mapping[str, list[float]]) -> dict[str, float]:
    return {name: total / number for name, (total, number) in sums.items()}
