"""Trainer and callbacks: training, History, stopping, errors and what is shown."""

from __future__ import annotations

import csv
import io
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sixloop
from sixloop import Trainer, losses, schedules
from sixloop.callbacks import Callback, CSVLogger, EarlyStopping, ModelCheckpoint
from sixloop.data import ArrayDataset
from sixloop.nn import (
    BatchNorm,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Input,
    MaxPool2D,
    Model,
    Sequential,
)
from sixloop.optim import SGD, Adam
from sixloop.trainer import NonFiniteLossError


def data(n: int = 150, dtype: str = "float32") -> tuple[np.ndarray, np.ndarray]:
    """Three classes: which of the first three numbers is the largest."""
    x = np.random.default_rng(4).normal(size=(n, 6)).astype(dtype)
    return x, x[:, :3].argmax(1)


def classifier(last: str | None = "softmax", dropout: float = 0.0) -> Sequential:
    layers: list[Any] = [Input((6,)), Dense(16, activation="relu")]
    if dropout:
        layers.append(Dropout(dropout))
    return Sequential([*layers, Dense(3, activation=last)])


def fit(trainer: Trainer, **changes: Any) -> Any:
    arguments: dict[str, Any] = {"epochs": 3, "batch_size": 32, "verbose": 0}
    return trainer.fit(data(), **{**arguments, **changes})


class Recorder(Callback):
    def __init__(self) -> None:
        self.calls: list[tuple[str, int, int, int]] = []

    def note(self, hook: str, trainer: Trainer) -> None:
        self.calls.append((hook, trainer.step, trainer.epoch, trainer.batch))

    def on_train_begin(self, trainer: Trainer) -> None:
        self.note("train begin", trainer)

    def on_train_end(self, trainer: Trainer) -> None:
        self.note("train end", trainer)

    def on_epoch_begin(self, trainer: Trainer) -> None:
        self.note("epoch begin", trainer)

    def on_epoch_end(self, trainer: Trainer, logs: Mapping[str, float]) -> None:
        self.note("epoch end", trainer)

    def on_batch_begin(self, trainer: Trainer) -> None:
        self.note("batch begin", trainer)

    def on_batch_end(self, trainer: Trainer, loss: float) -> None:
        assert math.isfinite(loss)
        self.note("batch end", trainer)


class At(Callback):
    """Does something when a number of steps is complete."""

    def __init__(self, step: int, action: Any) -> None:
        self.step = step
        self.action = action

    def on_batch_end(self, trainer: Trainer, loss: float) -> None:
        if trainer.step == self.step:
            self.action(trainer)


def press_ctrl_c(trainer: Trainer) -> None:
    os.kill(os.getpid(), signal.SIGINT)


# ----------------------------------------------------------------------------------------- training


def test_learns() -> None:
    trainer = Trainer(classifier(), Adam(0.02))
    history = fit(trainer, epochs=15, validation=data(60))
    assert history.epochs == list(range(1, 16))
    assert set(history.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert all(len(values) == 15 for values in history.history.values())
    assert history.history["loss"][-1] < history.history["loss"][0] / 3
    assert history.history["val_accuracy"][-1] > 0.9
    assert (trainer.step, trainer.epoch, trainer.batch) == (75, 15, 0)
    assert history is trainer.history


def test_two_runs_have_the_same_bits() -> None:
    first, second = (Trainer(classifier(dropout=0.3), seed=7) for _ in range(2))
    assert fit(first) == fit(second)
    assert first.model.weights_sha256() == second.model.weights_sha256()
    other = Trainer(classifier(dropout=0.3), seed=8)
    fit(other)
    assert other.model.weights_sha256() != first.model.weights_sha256()


@pytest.mark.parametrize(
    ("loss", "optimizer"),
    [
        ("cross_entropy", "adam"),
        ("weston_watkins_hinge", "rmsprop"),
        ("binary_cross_entropy", "adamw"),
        ("mean_squared_error", SGD(0.05, momentum=0.9, nesterov=True)),
    ],
)
def test_the_bits_depend_on_no_machine(
    loss: str, optimizer: Any, same_everywhere: Callable[[Callable[[], Any]], Any]
) -> None:
    x = np.random.default_rng(6).normal(size=(40, 9, 7, 2)).astype(np.float32)
    y = x.sum((1, 2, 3)) > 0
    target = y.astype(np.int64) if loss in ("cross_entropy", "weston_watkins_hinge") else y[:, None]

    def train() -> list[np.ndarray]:
        model = Sequential(
            [
                Input((9, 7, 2)),
                Conv2D(5, 3, padding="same", activation="relu"),
                MaxPool2D(2),
                BatchNorm(activation="tanh"),
                Dropout(0.25),
                Flatten(),
                Dense(1 if target.ndim == 2 else 2),
            ]
        )
        part = optimizer if isinstance(optimizer, str) else optimizer.config()
        schedule = schedules.LinearWarmup(schedules.Cosine(0.02, steps=8), steps=2)
        trainer = Trainer(model, part, loss, metrics=[], schedule=schedule, l2=0.01)
        history = trainer.fit((x, target), epochs=2, batch_size=9, verbose=0).history
        figures = np.array(history["loss"])
        return [figures, *(p.numpy().copy() for p in model.parameters().values())]

    same_everywhere(train)


def test_softmax_at_the_end_changes_nothing_but_the_predictions() -> None:
    with_softmax, with_logits = Trainer(classifier("softmax")), Trainer(classifier(None))
    assert fit(with_softmax) == fit(with_logits)
    assert with_softmax.model.weights_sha256() == with_logits.model.weights_sha256()
    np.testing.assert_allclose(with_softmax.predict(data()[0]).sum(1), 1, rtol=1e-6)


def test_figures_are_means_over_samples() -> None:
    # 150 = 4 * 32 + 22: a mean of batch means would be off. With rate 0 the weights stand still.
    trainer = Trainer(classifier(), SGD(0.0), metrics=["accuracy", "top_2_accuracy"])
    history = fit(trainer, epochs=1, validation=data())
    x, y = data()
    logits = np.asarray(trainer.model(x, logits=True))
    expected = losses.CrossEntropy()(logits, y)[0]
    figures = {name: values[0] for name, values in history.history.items()}
    assert figures["loss"] == pytest.approx(expected, rel=1e-6)
    assert figures["val_loss"] == pytest.approx(expected, rel=1e-6)
    assert figures["accuracy"] == figures["val_accuracy"] == (logits.argmax(1) == y).mean()
    assert figures["top_2_accuracy"] >= figures["accuracy"]
    assert trainer.evaluate((x, y), batch_size=150)["loss"] == pytest.approx(expected, rel=1e-12)


def test_predict() -> None:
    trainer = Trainer(classifier())
    x = data()[0]
    whole = trainer.predict(x)
    assert whole.shape == (150, 3)
    np.testing.assert_array_equal(whole, np.asarray(trainer.model(x)))
    assert trainer.predict(x, batch_size=64).shape == (150, 3)
    assert trainer.predict(x[:0]).shape == (0, 3)
    with pytest.raises(ValueError, match="got the scalar 3"):
        trainer.predict(3.0)


def test_a_second_fit_goes_on() -> None:
    twice, once = Trainer(classifier()), Trainer(classifier())
    fit(twice, epochs=1)
    history = fit(twice, epochs=2)
    assert history.epochs == [1, 2, 3]
    assert history == fit(once, epochs=3)
    assert twice.model.weights_sha256() == once.model.weights_sha256()


def test_binary_classifier() -> None:
    x, y = data()
    target = (y == 0).astype(np.int64)
    model = Sequential([Input((6,)), Dense(8, activation="relu"), Dense(1, activation="sigmoid")])
    trainer = Trainer(model, Adam(0.05), loss="binary_cross_entropy")
    history = trainer.fit((x, target), epochs=10, verbose=0)
    share = ((trainer.predict(x)[:, 0] > 0.5) == target).mean()
    assert trainer.evaluate((x, target))["accuracy"] == share > 0.9
    assert history.history["accuracy"][-1] > 0.9


def test_regression() -> None:
    x, _ = data(64)
    target = x @ np.arange(6, dtype=np.float32)[:, None] + 1
    trainer = Trainer(
        Sequential([Input((6,)), Dense(1)]), SGD(0.1), loss="mean_squared_error", metrics=[]
    )
    history = trainer.fit((x, target), epochs=60, verbose=0)
    assert list(history.history) == ["loss"]
    assert history.history["loss"][-1] < 1e-4


def test_schedule_takes_the_place_of_the_rate() -> None:
    by_schedule = Trainer(classifier(), SGD(123.0), schedule=schedules.Constant(0.1))
    by_rate = Trainer(classifier(), SGD(0.1))
    fit(by_schedule)
    fit(by_rate)
    assert by_schedule.model.weights_sha256() == by_rate.model.weights_sha256()

    rates = []

    class Rates(Callback):
        def on_batch_begin(self, trainer: Trainer) -> None:
            rates.append(trainer.lr)

    warm = schedules.LinearWarmup(0.1, steps=4)
    trainer = Trainer(classifier(), SGD(123.0), schedule=warm, callbacks=[Rates()])
    fit(trainer, epochs=1)
    assert rates == [warm(step) for step in range(5)]
    assert trainer.lr == warm(5)


def test_l2_penalty_shrinks_the_weights_and_shows_in_the_loss() -> None:
    plain, penalised = Trainer(classifier(), SGD(0.1)), Trainer(classifier(), SGD(0.1), l2=0.05)
    start = penalised.evaluate(data())["loss"]
    weights = [
        p.numpy() for p in penalised.model.trainable_parameters().values() if len(p.shape) > 1
    ]
    penalty = 0.05 / 2 * sum((w.astype(np.float64) ** 2).sum() for w in weights)
    first: list[float] = []
    penalised.callbacks.append(At(1, lambda trainer: first.append(trainer.running()["loss"])))
    fit(penalised, batch_size=150, epochs=30)
    fit(plain, batch_size=150, epochs=30)
    assert first[0] == pytest.approx(start + penalty, rel=1e-6)
    sizes = [
        sum(float((p.numpy() ** 2).sum()) for p in t.model.trainable_parameters().values())
        for t in (plain, penalised)
    ]
    assert sizes[1] < sizes[0]


def test_a_loss_of_the_users_own() -> None:
    def squared(output: Any, target: np.ndarray) -> tuple[float, np.ndarray]:
        difference = np.asarray(output) - np.eye(3, dtype=np.float32)[target]
        return float((difference**2).mean()), 2 * difference / difference.size

    history = fit(Trainer(classifier("softmax"), Adam(0.02), loss=squared), epochs=10)
    assert history.history["loss"][-1] < history.history["loss"][0]


def test_float64() -> None:
    model = classifier()
    model.build(seed=0, dtype="float64")
    trainer = Trainer(model)
    trainer.fit(data(dtype="float64"), epochs=1, verbose=0)
    assert trainer.predict(data(5)[0]).dtype == np.float64


# ---------------------------------------------------------------------------------------- callbacks


def test_order_of_the_hooks() -> None:
    recorder = Recorder()
    fit(Trainer(classifier(), callbacks=[recorder]), epochs=2, batch_size=100)
    epoch = [
        [
            ("epoch begin", 2 * e, e, 0),
            ("batch begin", 2 * e, e, 0),
            ("batch end", 2 * e + 1, e, 1),
            ("batch begin", 2 * e + 1, e, 1),
            ("batch end", 2 * e + 2, e, 2),
            ("epoch end", 2 * e + 2, e + 1, 0),
        ]
        for e in range(2)
    ]
    assert recorder.calls == [
        ("train begin", 0, 0, 0),
        *epoch[0],
        *epoch[1],
        ("train end", 4, 2, 0),
    ]


def test_callbacks_can_stop() -> None:
    trainer = Trainer(classifier(), callbacks=[At(7, lambda t: t.stop("enough"))])
    history = fit(trainer)
    assert trainer.step == 7
    assert trainer.stop_reason == "enough"
    assert history.epochs == [1]


class Scripted(Callback):
    """Overwrites a figure of the epoch, for callbacks that come later."""

    def __init__(self, name: str, values: list[float]) -> None:
        self.name = name
        self.values = values

    def on_epoch_end(self, trainer: Trainer, logs: Any) -> None:
        logs[self.name] = self.values[trainer.epoch - 1]


def test_early_stopping_waits_and_restores() -> None:
    best: dict[str, bytes] = {}

    class KeepSecond(Callback):
        def on_epoch_end(self, trainer: Trainer, logs: Mapping[str, float]) -> None:
            if trainer.epoch == 2:
                best["sha256"] = trainer.model.weights_sha256()

    stopping = EarlyStopping(patience=2, restore_best=True)
    script = Scripted("loss", [3, 1, 2, math.nan, 1, 0, 0])
    trainer = Trainer(classifier(), callbacks=[script, stopping, KeepSecond()])
    history = fit(trainer, epochs=7)
    assert history.epochs == [1, 2, 3, 4, 5]
    assert (stopping.best, stopping.best_epoch) == (1, 2)
    assert "no improvement on 1 of epoch 2 for 3 epochs" in trainer.stop_reason
    assert trainer.model.weights_sha256() == best["sha256"]


@pytest.mark.parametrize(
    ("arguments", "values", "epochs"),
    [
        ({"patience": 0}, [3, 2, 2, 1], 3),
        ({"patience": 0, "min_delta": 0.5}, [3, 2, 1.6, 1], 3),
        ({"patience": 1, "monitor": "accuracy"}, [0.1, 0.3, 0.2, 0.3], 4),
        ({"patience": 0, "monitor": "accuracy", "mode": "min"}, [0.3, 0.2, 0.4, 0], 3),
    ],
)
def test_early_stopping_arguments(
    arguments: dict[str, Any], values: list[float], epochs: int
) -> None:
    stopping = EarlyStopping(**arguments)
    script = Scripted(arguments.get("monitor", "loss"), values)
    assert len(fit(Trainer(classifier(), callbacks=[script, stopping]), epochs=4).epochs) == epochs


def test_monitoring_what_is_not_there() -> None:
    trainer = Trainer(classifier(), callbacks=[EarlyStopping("val_loss")])
    with pytest.raises(ValueError, match="no 'val_loss' to monitor; this run has: loss, accuracy"):
        fit(trainer)
    with pytest.raises(ValueError, match="unknown mode 'best'; valid modes: auto, min, max"):
        EarlyStopping(mode="best")
    with pytest.raises(ValueError, match="patience must be an integer >= 0; got -1"):
        EarlyStopping(patience=-1)
    with pytest.raises(ValueError, match="every must be an integer >= 1 or None; got 0"):
        ModelCheckpoint("here", every=0)


def test_checkpoints_of_the_best_and_the_last(tmp_path: Path) -> None:
    digests = []

    class Digests(Callback):
        def on_epoch_end(self, trainer: Trainer, logs: Mapping[str, float]) -> None:
            digests.append(trainer.model.weights_sha256())

    keeper = ModelCheckpoint(tmp_path / "run")
    script = Scripted("loss", [3, 1, 2])
    trainer = Trainer(classifier(), callbacks=[script, keeper, Digests()])
    fit(trainer)
    assert keeper.value == 1
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["best", "last"]
    assert sixloop.load(tmp_path / "run" / "best").weights_sha256() == digests[1]
    assert sixloop.load(tmp_path / "run" / "last").weights_sha256() == digests[2]


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "log.csv"
    trainer = Trainer(classifier(), callbacks=[CSVLogger(path)])
    fit(trainer, epochs=2)
    history = fit(trainer, epochs=1, validation=data(40)).history
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["epoch", "loss", "accuracy", "val_loss", "val_accuracy"]
    assert [row[0] for row in rows] == ["1", "2", "3"]
    assert [float(row[1]) for row in rows] == history["loss"]
    assert [row[3] for row in rows] == ["nan", "nan", str(history["val_loss"][2])]


# ------------------------------------------------------------------------------------- interruption


@pytest.mark.parametrize("step", [1, 5, 8, 14, 15])
def test_ctrl_c_ends_after_the_batch_and_fit_goes_on(step: int) -> None:
    whole = Trainer(classifier(dropout=0.2), Adam(0.01))
    expected = fit(whole, validation=data(40))

    trainer = Trainer(classifier(dropout=0.2), Adam(0.01), callbacks=[At(step, press_ctrl_c)])
    history = fit(trainer, validation=data(40))
    assert trainer.step == step
    assert trainer.interrupted
    epoch, batch = trainer.epoch + 1, trainer.batch
    assert trainer.stop_reason == f"interrupted in epoch {epoch} after batch {batch}"
    assert history.epochs == list(range(1, (step - 1) // 5 + 1))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    assert fit(trainer, validation=data(40)) == expected
    assert not trainer.interrupted
    assert trainer.stop_reason == ""
    assert trainer.model.weights_sha256() == whole.model.weights_sha256()


def test_evaluate_after_ctrl_c_is_of_all_data() -> None:
    trainer = Trainer(classifier(), callbacks=[At(3, press_ctrl_c)])
    fit(trainer)
    assert trainer.evaluate(data(), batch_size=10) == pytest.approx(trainer.evaluate(data()))


def test_a_second_ctrl_c_raises() -> None:
    def twice(trainer: Trainer) -> None:
        press_ctrl_c(trainer)
        press_ctrl_c(trainer)

    with pytest.raises(KeyboardInterrupt):
        fit(Trainer(classifier(), callbacks=[At(3, twice)]))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_the_users_own_is_left_alone() -> None:
    seen = []
    before = signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    try:
        trainer = Trainer(classifier(), callbacks=[At(3, press_ctrl_c)])
        fit(trainer)
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [signal.SIGINT]
    assert trainer.epoch == 3


def test_fit_in_another_thread() -> None:
    trainer = Trainer(classifier())
    thread = threading.Thread(target=fit, args=(trainer,))
    thread.start()
    thread.join()
    alone = Trainer(classifier())
    fit(alone)
    assert trainer.model.weights_sha256() == alone.model.weights_sha256()


def test_an_interrupted_fit_asks_for_the_same_again() -> None:
    trainer = Trainer(classifier(), callbacks=[At(7, press_ctrl_c)])
    fit(trainer)
    with pytest.raises(
        ValueError,
        match=r"stopped in epoch 2 after batch 2, with 150 samples, batch_size=32, shuffle=True; "
        r"got 150 samples, batch_size=16, shuffle=True",
    ):
        fit(trainer, batch_size=16)
    history = fit(trainer, batch_size=16, epochs=2, resume=False)
    assert history.epochs == [1, 2, 3]
    assert trainer.step == 7 + 2 * 10


# -------------------------------------------------------------------------------------- bad numbers


def test_a_loss_that_is_not_finite_names_the_layer() -> None:
    model = classifier()

    def poison(trainer: Trainer) -> None:
        # Only the weights of the last layer have three columns.
        for parameter in model.parameters().values():
            if parameter.shape == (16, 3):
                parameter.numpy()[0, 0] = np.nan

    trainer = Trainer(model, callbacks=[At(7, poison)])
    with pytest.raises(NonFiniteLossError, match="the loss is nan in epoch 2, step 8: ") as caught:
        fit(trainer)
    error = caught.value
    assert (error.epoch, error.step) == (2, 8)
    assert error.layer is not None
    assert f"first layer whose output is not finite is {error.layer!r}" in str(error)
    assert error.layer == model.first_non_finite(data()[0])
    assert trainer.step == 7
    assert trainer.history.epochs == [1]


def test_data_that_are_not_finite() -> None:
    x, y = data()
    x[17, 2] = np.inf
    with pytest.raises(NonFiniteLossError, match="the batch itself has values that are not finite"):
        Trainer(classifier()).fit((x, y), verbose=0)
    target = data()[0][:, :3].copy()
    target[0, 0] = np.nan
    with pytest.raises(NonFiniteLossError, match="the targets have values that are not finite"):
        Trainer(classifier(None), loss="mean_squared_error", metrics=[]).fit(
            (data()[0], target), verbose=0
        )


def test_a_loss_that_overflows_by_itself() -> None:
    trainer = Trainer(classifier(), loss=lambda output, target: (math.inf, np.zeros_like(output)))
    with pytest.raises(NonFiniteLossError, match="so it is the loss that overflows") as caught:
        fit(trainer)
    assert caught.value.layer is None


# --------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"loss": "mse"}, ValueError, "unknown loss 'mse'; valid names: cross_entropy, "),
        ({"optimizer": "lamb"}, ValueError, "unknown optimizer 'lamb'; valid names: sgd, "),
        ({"metrics": ["f1"]}, ValueError, "unknown metric 'f1'; valid names: accuracy, "),
        ({"metrics": "accuracy"}, TypeError, "metrics must be a list; got 'accuracy'"),
        ({"metrics": ["accuracy", "accuracy"]}, ValueError, "metrics need different names"),
        ({"device": "tpu"}, ValueError, "unknown device 'tpu'; valid devices: auto, cpu, cuda"),
        ({"seed": -1}, ValueError, "seed must be an integer >= 0; got -1"),
        ({"seed": 0.5}, ValueError, "seed must be an integer >= 0; got 0.5"),
        ({"l2": -1}, ValueError, "finite and >= 0; got -1"),
        ({"callbacks": [print]}, TypeError, "expected sixloop.callbacks.Callback objects"),
        ({"schedule": "cosine"}, TypeError, "steps"),
        (
            {"loss": "binary_cross_entropy"},
            ValueError,
            "'binary_cross_entropy' does not go with the last activation 'softmax' of model "
            "'sequential': expected 'sigmoid' or none",
        ),
        (
            {"loss": "weston_watkins_hinge"},
            ValueError,
            "does not go with the last activation 'softmax' of model 'sequential': expected none",
        ),
    ],
)
def test_bad_arguments_of_the_trainer(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Trainer(classifier(), **arguments)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"epochs": -1}, ValueError, "epochs must be an integer >= 0; got -1"),
        ({"epochs": 1.5}, ValueError, "epochs must be an integer >= 0; got 1.5"),
        ({"batch_size": 0}, ValueError, "batch_size must be an integer >= 1; got 0"),
        ({"batch_size": True}, ValueError, "batch_size must be an integer >= 1; got True"),
        ({"verbose": 3}, ValueError, "verbose must be 0, 1 or 2; got 3"),
        ({"data": 3}, TypeError, r"expected a pair of arrays \(x, y\) or a data set; got int"),
        ({"data": (1, 2, 3)}, TypeError, "got tuple of length 3"),
        ({"data": (data()[0], data()[1][:7])}, ValueError, r"got x \(150, 6\), y \(7,\)"),
        ({"data": (data()[0][:0], data()[1][:0])}, ValueError, "the data are empty"),
        ({"data": (data()[0], data()[1] + 1)}, ValueError, "got 1 to 3 with 3 classes"),
        ({"data": (data()[0], data()[1] - 1)}, ValueError, "got -1 to 1 with 3 classes"),
        ({"data": (data()[0], data()[1] * 1.0)}, TypeError, "expected integers; got dtype float64"),
        ({"data": (data()[0], np.eye(3)[data()[1]])}, TypeError, "expected integers"),
        ({"data": (data()[0][:, :5], data()[1])}, ValueError, r"6"),
        ({"validation": (data()[0], data()[1] + 1)}, ValueError, "got 1 to 3 with 3 classes"),
        ({"validation": data()[0]}, TypeError, "validation: expected a pair of arrays"),
    ],
)
def test_bad_arguments_of_fit(change: dict[str, Any], error: type[Exception], message: str) -> None:
    trainer = Trainer(classifier())
    digest = trainer.model.weights_sha256()
    arguments = {"data": data(), "verbose": 0, **change}
    with pytest.raises(error, match=message):
        trainer.fit(**arguments)
    assert trainer.model.weights_sha256() == digest
    assert trainer.step == 0


def test_labels_of_a_data_set_are_checked_before_the_first_step() -> None:
    x, y = data()
    recorder = Recorder()
    trainer = Trainer(classifier(), callbacks=[recorder])
    with pytest.raises(ValueError, match="got 0 to 3 with 3 classes"):
        trainer.fit(ArrayDataset(x, np.append(y[:-1], 3)), verbose=0)
    with pytest.raises(ValueError, match="the data set is empty"):
        trainer.fit(ArrayDataset(x[:0], y[:0]), verbose=0)
    assert recorder.calls == []


def test_zero_epochs_are_fine() -> None:
    trainer = Trainer(classifier())
    assert fit(trainer, epochs=0).epochs == []
    assert trainer.step == 0


# ------------------------------------------------------------------------------------ what is shown


def test_silent(capsys: pytest.CaptureFixture[str]) -> None:
    trainer = Trainer(classifier())
    fit(trainer, verbose=0)
    trainer.evaluate(data())
    trainer.predict(data()[0])
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("verbose", [1, 2])
def test_a_line_an_epoch(verbose: int, capsys: pytest.CaptureFixture[str]) -> None:
    fit(Trainer(classifier()), verbose=verbose, validation=data(40))
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert len(lines) == 3
    for epoch, line in enumerate(lines, start=1):
        assert line.startswith(f"epoch {epoch}/3  ")
        for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
            assert f"  {name} " in line


def test_the_reason_for_stopping_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    fit(Trainer(classifier(), callbacks=[At(7, press_ctrl_c)]), verbose=1)
    assert capsys.readouterr().err.splitlines()[-1] == "interrupted in epoch 2 after batch 2"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    threads = threading.active_count()
    fit(Trainer(classifier()), batch_size=1, epochs=2, verbose=1)
    shown = terminal.getvalue()
    assert "epoch 1/2: 100%" in shown
    assert "epoch 2/2: 100%" in shown
    assert "accuracy" in shown
    # First and last batch, the end of the epoch, and ten a second in between.
    assert shown.count("\r") < 150
    assert threading.active_count() == threads


# ---------------------------------------------------------------------- models with several outputs


def with_auxiliary(last: str | None = "softmax") -> Model:
    image = Input((6,))
    low = Dense(8, activation="relu", name="low")(image)
    high = Dense(8, activation="relu", name="high")(low)
    outputs = [
        Dense(3, activation=last, name=name)(x)
        for name, x in (("end", high), ("aux1", low), ("aux2", low))
    ]
    return Model(image, outputs)


@pytest.mark.parametrize("last", ["softmax", None])
def test_losses_of_auxiliary_outputs_are_added(last: str | None) -> None:
    x, y = data(32)
    model = with_auxiliary(last)
    trainer = Trainer(model, SGD(0.5), auxiliary_weight=0.25)
    before = {name: p.numpy().copy() for name, p in model.trainable_parameters().items()}
    logits = model(x, training=True, logits=True)
    found = [losses.get("cross_entropy")(z, y) for z in logits]
    model.backward([found[0][1], 0.25 * found[1][1], 0.25 * found[2][1]])
    gradients = {name: g.numpy().copy() for name, g in model.gradients().items()}
    history = trainer.fit((x, y), epochs=1, batch_size=32, shuffle=False, verbose=0)
    expected = found[0][0] + 0.25 * (found[1][0] + found[2][0])
    assert history.history["loss"] == [pytest.approx(expected, rel=1e-6)]
    for name, parameter in model.trainable_parameters().items():
        step = before[name] - np.float32(0.5) * gradients[name]
        np.testing.assert_allclose(parameter.numpy(), step, rtol=1e-6, atol=1e-7)


def test_the_first_output_is_the_answer() -> None:
    x, y = data()
    model = with_auxiliary()
    trainer = Trainer(model, Adam(0.02))
    trainer.fit((x, y), epochs=20, validation=(x, y), verbose=0)
    alone = Model(model.inputs, model.outputs[0])
    figures = trainer.evaluate((x, y))
    assert figures == Trainer(alone).evaluate((x, y))
    assert figures["accuracy"] > 0.95
    assert trainer.history.history["val_loss"][-1] == pytest.approx(figures["loss"], rel=1e-6)
    np.testing.assert_array_equal(trainer.predict(x), alone(x))


def test_auxiliary_weight_is_saved(tmp_path: Path) -> None:
    Trainer(with_auxiliary(), auxiliary_weight=0.0).save(tmp_path / "a")
    assert Trainer.resume(tmp_path / "a").auxiliary_weight == 0
    assert Trainer(with_auxiliary()).auxiliary_weight == 0.3


def test_outputs_that_are_no_auxiliary_ones() -> None:
    a, b = Input((6,)), Input((6,))
    h = Dense(3)(a)
    for model, message in (
        (Model([a, b], [h, Dense(3)(b)]), "one input; 'model' has 2"),
        (Model(a, [h, Dense(4)(a)]), r"outputs of one shape, .* has \(N, 3\), \(N, 4\)"),
        (Model(a, [h, Dense(3, activation="softmax")(a)]), "in the same activation; those of"),
    ):
        with pytest.raises(ValueError, match=message):
            Trainer(model)
    with pytest.raises(ValueError, match="auxiliary_weight must be in"):
        Trainer(with_auxiliary(), auxiliary_weight=-1)
