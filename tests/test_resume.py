"""Resume to the same bits, checkpoints that are always complete, and damaged ones."""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sixloop
from sixloop import Trainer, checkpoint, schedules
from sixloop.callbacks import Callback, CSVLogger, EarlyStopping, ModelCheckpoint
from sixloop.checkpoint import CheckpointError
from sixloop.nn import BatchNorm, Dense, Dropout, Input, Sequential
from sixloop.optim import SGD, Adam

BATCHES = 7  # of an epoch: 100 samples, batches of 16
EPOCHS = 4


def data() -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(4).normal(size=(100, 6)).astype(np.float32)
    return x, x[:, :3].argmax(1)


def callbacks(directory: Path, every: int = 1) -> list[Callback]:
    return [
        # Before those whose state it saves, which must make no difference.
        ModelCheckpoint(directory, every=every),
        EarlyStopping(restore_best=True, patience=2, monitor="val_accuracy"),
        CSVLogger(directory / "log.csv"),
    ]


def begin(directory: Path, every: int = 1) -> Trainer:
    model = Sequential(
        [
            Input((6,)),
            Dense(12),
            BatchNorm(activation="relu"),
            Dropout(0.3),
            Dense(3, activation="softmax"),
        ]
    )
    schedule = schedules.LinearWarmup(schedules.OneCycle(0.05, steps=24), steps=4)
    return Trainer(
        model,
        Adam(weight_decay=0.01),
        metrics=["accuracy", "top_2_accuracy"],
        callbacks=callbacks(directory, every),
        schedule=schedule,
        l2=0.01,
        seed=3,
    )


def finish(trainer: Trainer) -> dict[str, Any]:
    x, y = data()
    history = trainer.fit(
        (x, y), epochs=EPOCHS, batch_size=16, validation=(x[:40], y[:40]), verbose=0
    )
    return {"sha256": trainer.model.weights_sha256(), "history": history.history}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    directory = tmp_path_factory.mktemp("uninterrupted")
    result = finish(begin(directory, every=1000))
    result["csv"] = (directory / "log.csv").read_text()
    return result


class Crash(Exception):
    pass


class CrashAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_batch_begin(self, trainer: Trainer) -> None:
        if trainer.step == self.step:
            raise Crash


# After the first step, around the ends of epochs, in the middle of one and before the last step.
@pytest.mark.parametrize("step", [1, 6, 7, 8, 11, 14, 15, 20, 21, 27])
def test_any_step_can_be_the_last(step: int, tmp_path: Path, uninterrupted: dict[str, Any]) -> None:
    trainer = begin(tmp_path, every=step)
    trainer.callbacks.append(CrashAt(step))
    with pytest.raises(Crash):
        finish(trainer)
    resumed = Trainer.resume(tmp_path / "last", callbacks=callbacks(tmp_path, every=step))
    assert resumed.step == step
    result = finish(resumed)
    assert result == {key: uninterrupted[key] for key in result}
    assert (tmp_path / "log.csv").read_text() == uninterrupted["csv"]


def test_a_finished_run_has_nothing_left(tmp_path: Path, uninterrupted: dict[str, Any]) -> None:
    finish(begin(tmp_path, every=1000))
    resumed = Trainer.resume(tmp_path / "last", callbacks=callbacks(tmp_path))
    assert finish(resumed)["sha256"] == uninterrupted["sha256"]
    assert resumed.step == BATCHES * EPOCHS


def test_early_stopping_holds_after_a_restart(tmp_path: Path) -> None:
    def stopping() -> list[Callback]:
        return [
            EarlyStopping("loss", mode="max", patience=0, restore_best=True),
            ModelCheckpoint(tmp_path),
        ]

    trainer = begin(tmp_path)
    trainer.callbacks = stopping()
    whole = finish(trainer)
    assert trainer.stop_reason.startswith("early stopping")
    resumed = Trainer.resume(tmp_path / "last", callbacks=stopping())
    assert finish(resumed) == whole
    assert resumed.stop_reason == trainer.stop_reason


CHILD = """
import os, signal, sys
from pathlib import Path
from test_resume import begin, callbacks, finish
from sixloop import Trainer
from sixloop.callbacks import Callback

directory, step = Path(sys.argv[1]), int(sys.argv[2])

class Kill(Callback):
    def on_batch_begin(self, trainer):
        if trainer.step == step:
            os.kill(os.getpid(), signal.SIGKILL)

last = directory / "last"
if last.exists() or last.with_name("last.old").exists():
    trainer = Trainer.resume(last, callbacks=callbacks(directory))
else:
    trainer = begin(directory)
trainer.callbacks.append(Kill())
print("ready", flush=True)
print(finish(trainer)["sha256"])
"""


def child(directory: Path, step: int = -1) -> subprocess.Popen[str]:
    # The path of this process, for modules that are only on it.
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, str(directory), str(step)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_sigkill_at_random_steps(tmp_path: Path, uninterrupted: dict[str, Any]) -> None:
    seed = random.randrange(1 << 32)
    steps = sorted(random.Random(seed).sample(range(1, BATCHES * EPOCHS), 2))
    for step in steps:
        process = child(tmp_path, step)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        assert output == "ready\n"
        assert steps_on_disk(tmp_path / "last") == step, f"seed {seed}"
    output, _ = child(tmp_path).communicate(timeout=60)
    assert output == f"ready\n{uninterrupted['sha256']}\n", f"seed {seed}"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_sigkill_at_random_times(tmp_path: Path, uninterrupted: dict[str, Any]) -> None:
    # With a checkpoint after every step, most of these hit one that is being written.
    seed = random.randrange(1 << 32)
    clock = random.Random(seed)
    for _ in range(3):
        process = child(tmp_path)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(clock.uniform(0.0, 0.1))
        process.kill()
        process.communicate(timeout=60)
    output, _ = child(tmp_path).communicate(timeout=60)
    assert output == f"ready\n{uninterrupted['sha256']}\n", f"seed {seed}"


# -------------------------------------------------------------------------------- what is in a file


def test_the_trainer_is_rebuilt(tmp_path: Path) -> None:
    trainer = begin(tmp_path)
    trainer.save(tmp_path / "saved")
    resumed = Trainer.resume(tmp_path / "saved")
    assert repr(resumed.optimizer) == repr(trainer.optimizer)
    assert repr(resumed.loss) == repr(trainer.loss)
    assert repr(resumed.metrics) == repr(trainer.metrics)
    assert resumed.schedule == trainer.schedule
    assert resumed.l2.l2 == trainer.l2.l2
    assert resumed.seed == 3
    assert resumed.callbacks == []
    assert resumed.model.weights_sha256() == trainer.model.weights_sha256()


def test_a_checkpoint_is_a_saved_model_too(tmp_path: Path) -> None:
    trainer = begin(tmp_path, every=1000)
    finish(trainer)
    trainer.save(tmp_path / "saved")
    assert sorted(p.name for p in (tmp_path / "saved").iterdir()) == [
        "callbacks.safetensors",
        "model.json",
        "optimizer.safetensors",
        "trainer.json",
        "weights.safetensors",
    ]
    model = sixloop.load(tmp_path / "saved")
    assert model.weights_sha256() == trainer.model.weights_sha256()


def test_binary_accuracy_keeps_its_name(tmp_path: Path) -> None:
    model = Sequential([Input((6,)), Dense(1, activation="sigmoid")])
    trainer = Trainer(model, loss="binary_cross_entropy")
    x, y = data()
    trainer.fit((x, y % 2), verbose=0)
    trainer.save(tmp_path / "saved")
    resumed = Trainer.resume(tmp_path / "saved")
    assert resumed.evaluate((x, y % 2)) == trainer.evaluate((x, y % 2))


def test_functions_of_the_users_own_are_given_again(tmp_path: Path) -> None:
    def own_loss(output: Any, target: np.ndarray) -> tuple[Any, np.ndarray]:
        return np.float32(1), np.zeros(output.shape, np.float32)

    def own_metric(output: Any, target: np.ndarray) -> Any:
        return np.float32(0.5)

    def own_schedule(step: int) -> float:
        return 0.1

    own: dict[str, Any] = {"loss": own_loss, "metrics": [own_metric], "schedule": own_schedule}
    keeper = ModelCheckpoint(tmp_path / "run", every=3)
    trainer = Trainer(begin(tmp_path).model, callbacks=[keeper], **own)
    finish(trainer)
    trainer.save(tmp_path / "saved")
    for name in own:
        rest = {key: value for key, value in own.items() if key != name}
        with pytest.raises(ValueError, match=rf"{name}: '.*own_.*' is .* give it again as {name}="):
            Trainer.resume(tmp_path / "saved", **rest)
    resumed = Trainer.resume(tmp_path / "saved", **own)
    assert resumed.loss is own_loss
    assert resumed.lr == 0.1


def test_callbacks_of_one_type_get_their_states_in_order(tmp_path: Path) -> None:
    class Counter(Callback):
        def __init__(self, step: int) -> None:
            self.step = step
            self.total = 0

        def on_batch_end(self, trainer: Trainer, loss: float) -> None:
            self.total += self.step

        def state(self) -> dict[str, Any]:
            return {"total": self.total}

        def arrays(self) -> dict[str, np.ndarray]:
            return {"totals": np.arange(self.total)}

        def load_state(self, state: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
            self.total = state["total"]
            assert len(arrays["totals"]) == self.total

    trainer = begin(tmp_path)
    trainer.callbacks = [Counter(1), CSVLogger(tmp_path / "log.csv"), Counter(10)]
    finish(trainer)
    trainer.save(tmp_path / "saved")
    again = [Counter(1), Counter(10), Counter(100)]
    Trainer.resume(tmp_path / "saved", callbacks=again)
    assert [c.total for c in again] == [28, 280, 0]


# ------------------------------------------------------------------------------- always a whole one


def steps_on_disk(path: Path) -> int:
    return checkpoint.read(path).state["step"]


class Failing:
    """A system function of which the calls from number `first` on fail."""

    def __init__(self, function: Any, first: int) -> None:
        self.function = function
        self.first = first
        self.calls = 0

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        self.calls += 1
        if self.calls > self.first:
            raise OSError("the machine stops here")
        return self.function(*arguments, **options)


@pytest.mark.parametrize("name", ["fsync", "rename", "mkdir", "rmdir", "unlink"])
def test_a_failure_at_any_point_leaves_a_whole_checkpoint(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "saved"
    trainer = begin(tmp_path)
    trainer.save(path)
    for first in range(100):
        before = steps_on_disk(path)
        trainer.step += 1
        failing = Failing(getattr(os, name), first)
        with monkeypatch.context() as patch:
            patch.setattr(os, name, failing)
            try:
                trainer.save(path)
            except OSError:
                pass
            else:
                assert steps_on_disk(path) == trainer.step
        assert steps_on_disk(path) in (before, trainer.step)
        assert Trainer.resume(path).model.weights_sha256() == trainer.model.weights_sha256()
        if failing.calls <= first:
            break
    else:
        pytest.fail(f"{name} is called too often")
    trainer.save(path)
    assert steps_on_disk(path) == trainer.step
    assert sorted(p.name for p in tmp_path.iterdir()) == ["saved"]


def test_everything_is_flushed_before_it_is_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = []
    fsync, rename = os.fsync, Path.rename

    def note_fsync(descriptor: int) -> None:
        events.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")).name)
        fsync(descriptor)

    def note_rename(self: Path, target: Path) -> Path:
        events.append(f"{self.name} -> {target.name}")
        return rename(self, target)

    if not Path("/proc/self/fd").exists():
        pytest.skip("this system does not tell the names of open files")
    trainer = begin(tmp_path)
    trainer.save(tmp_path / "saved")
    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(Path, "rename", note_rename)
    trainer.save(tmp_path / "saved")
    assert events[-9:] == [
        "model.json",
        "weights.safetensors",
        "optimizer.safetensors",
        "callbacks.safetensors",
        "trainer.json",
        ".saved.new",
        "saved -> saved.old",
        ".saved.new -> saved",
        tmp_path.name,
    ]


def test_nothing_of_anyone_else_is_replaced(tmp_path: Path) -> None:
    trainer = begin(tmp_path)
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match=r"more than a checkpoint, .*: thesis.txt"):
        trainer.save(tmp_path / "notes")
    with pytest.raises(FileExistsError, match="is a file"):
        trainer.save(tmp_path / "notes" / "thesis.txt")
    with pytest.raises(ValueError, match="expected the path of a directory to be"):
        trainer.save("/")
    assert (tmp_path / "notes" / "thesis.txt").read_text() == "years of work"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["notes"]


# ----------------------------------------------------------------------------------- damaged ones


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    trainer = begin(tmp_path)
    trainer.callbacks = []
    x, y = data()
    trainer.fit((x, y), verbose=0)
    trainer.save(tmp_path / "saved")
    return tmp_path / "saved"


FILES = [
    "model.json",
    "weights.safetensors",
    "optimizer.safetensors",
    "callbacks.safetensors",
    "trainer.json",
]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["cut", "empty", "longer", "bit", "gone", "directory"])
def test_damage_is_named(name: str, damage: str, saved: Path) -> None:
    file = saved / name
    content = bytearray(file.read_bytes())
    if damage == "cut":
        file.write_bytes(content[:-1])
    elif damage == "empty":
        file.write_bytes(b"")
    elif damage == "longer":
        file.write_bytes(content + b"x")
    elif damage == "bit":
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    else:
        file.unlink()
        if damage == "directory":
            file.mkdir()
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        Trainer.resume(saved)


def test_any_changed_byte_of_the_state_is_noticed(saved: Path) -> None:
    file = saved / "trainer.json"
    content = file.read_bytes()
    document = json.loads(content)
    dice = random.Random(1)
    noticed = 0
    for _ in range(300):
        changed = bytearray(content)
        changed[dice.randrange(len(changed))] = dice.randrange(256)
        file.write_bytes(changed)
        try:
            same = json.loads(changed) == document  # white space, or the same byte again
        except ValueError:
            same = False
        if same:
            checkpoint.read(saved)
        else:
            with pytest.raises(CheckpointError, match=r"trainer\.json"):
                checkpoint.read(saved)
            noticed += 1
    assert noticed > 100


def test_an_edited_number_is_damage(saved: Path) -> None:
    file = saved / "trainer.json"
    text = file.read_text()
    assert '"step": 4' in text
    file.write_text(text.replace('"step": 4', '"step": 5'))
    with pytest.raises(CheckpointError, match="damaged or was edited: its SHA-256 does not match"):
        Trainer.resume(saved)


def forge(saved: Path, change: Any) -> None:
    """Write a trainer.json whose checksums are right."""
    document = json.loads((saved / "trainer.json").read_text())
    change(document)
    document.pop("sha256", None)
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    document["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    (saved / "trainer.json").write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format="other"), "is foreign"),
        (lambda d: d.update(version=99), "has format version 99; this sixloop reads version 1"),
        (lambda d: d.update(files=[]), "no list of files"),
        (lambda d: d.update(state=3), "no state in it"),
        (lambda d: d["files"].update({"../../etc/passwd": {}}), "no list of files"),
        (lambda d: d["files"].update({"model.json": 7}), "no list of files"),
        (lambda d: d["state"].pop("step"), "step is None"),
        (lambda d: d["state"].update(epoch="many"), "epoch is 'many'"),
        (lambda d: d["state"].update(step=-1), "step is -1"),
        (lambda d: d["state"].update(run={"x": 1}), "run is {'x': 1}"),
        (lambda d: d["state"].update(sums={"loss": 3}), "sums is {'loss': 3}"),
        (lambda d: d["state"].update(epochs=[1, 2]), "history"),
        (lambda d: d["state"].update(callbacks=[3]), r"callbacks is \[3\]"),
    ],
)
def test_forged_checkpoints(change: Any, message: str, saved: Path) -> None:
    forge(saved, change)
    with pytest.raises(CheckpointError, match=message):
        Trainer.resume(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["optimizer"].update(name="lion"), "unknown optimizer 'lion'"),
        (lambda s: s["optimizer"].update(momentum=1), "momentum"),
        (lambda s: s["loss"].update(name="os.system"), "unknown loss 'os.system'"),
        (lambda s: s["metrics"].append({"name": "f1"}), "unknown metric 'f1'"),
        (lambda s: s["metrics"].append(3), "got 3"),
        (lambda s: s["schedule"].update(steps="x"), "must be an integer"),
        (lambda s: s["optimizer"].update(name="sgd", lr=None), "beta1|lr"),
    ],
)
def test_forged_parts(change: Any, message: str, saved: Path) -> None:
    forge(saved, lambda document: change(document["state"]))
    with pytest.raises((ValueError, TypeError), match=message):
        Trainer.resume(saved)


def test_numbers_that_json_does_not_have(tmp_path: Path) -> None:
    trainer = begin(tmp_path)
    trainer.history.append(1, {"loss": math.inf, "accuracy": math.nan})
    trainer.save(tmp_path / "saved")

    def refuse(name: str) -> None:
        pytest.fail(f"{name} is no JSON")

    json.loads((tmp_path / "saved" / "trainer.json").read_text(), parse_constant=refuse)
    history = Trainer.resume(tmp_path / "saved").history.history
    assert history["loss"] == [math.inf]
    assert math.isnan(history["accuracy"][0])


def test_an_optimizer_of_the_users_own(tmp_path: Path) -> None:
    class Mine(Adam):
        name = "mine"

    x, y = data()
    trainer = Trainer(begin(tmp_path).model, Mine(0.02))
    trainer.fit((x, y), verbose=0)
    trainer.save(tmp_path / "saved")
    with pytest.raises(ValueError, match="unknown optimizer 'mine'"):
        Trainer.resume(tmp_path / "saved")
    resumed = Trainer.resume(tmp_path / "saved", optimizer=Mine(0.02))
    assert resumed.optimizer.steps == trainer.step
    for t in (trainer, resumed):
        t.fit((x, y), verbose=0)
    assert resumed.model.weights_sha256() == trainer.model.weights_sha256()


def test_a_link_to_a_checkpoint_stays_one(tmp_path: Path) -> None:
    trainer = begin(tmp_path)
    trainer.save(tmp_path / "saved")
    (tmp_path / "link").symlink_to(tmp_path / "saved")
    trainer.step = 5
    trainer.save(tmp_path / "link")
    assert steps_on_disk(tmp_path / "saved") == steps_on_disk(tmp_path / "link") == 5
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "saved"]


def test_state_that_json_cannot_hold_harms_nothing(tmp_path: Path) -> None:
    class Strange(Callback):
        def state(self) -> dict[str, Any]:
            return {"now": object()}

    trainer = begin(tmp_path)
    trainer.save(tmp_path / "saved")
    trainer.callbacks.append(Strange())
    with pytest.raises(TypeError, match="not JSON serializable"):
        trainer.save(tmp_path / "saved")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["saved"]
    assert steps_on_disk(tmp_path / "saved") == 0


def test_not_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is nothing at"):
        Trainer.resume(tmp_path / "nowhere")
    (tmp_path / "file").write_text("hello")
    with pytest.raises(CheckpointError, match="is a file; a checkpoint is a directory"):
        Trainer.resume(tmp_path / "file")
    with pytest.raises(CheckpointError, match=r"has no trainer\.json: it is no checkpoint"):
        Trainer.resume(tmp_path)
    begin(tmp_path).model.save(tmp_path / "model")
    with pytest.raises(CheckpointError, match=r"read it with sixloop\.load"):
        Trainer.resume(tmp_path / "model")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "trainer.json").write_text("[" * 100_000)
    with pytest.raises(CheckpointError, match="not JSON"):
        Trainer.resume(tmp_path / "deep")


def test_state_of_other_weights_is_refused(saved: Path, tmp_path: Path) -> None:
    other = Trainer(Sequential([Input((6,)), Dense(3, activation="softmax")]), SGD())
    other.save(tmp_path / "other")
    for name in ("model.json", "weights.safetensors"):
        shutil.copy(tmp_path / "other" / name, saved / name)

    def accept(document: dict[str, Any]) -> None:
        files = json.loads((tmp_path / "other" / "trainer.json").read_text())["files"]
        for name in ("model.json", "weights.safetensors"):
            document["files"][name] = files[name]

    forge(saved, accept)
    with pytest.raises(CheckpointError, match="optimizer's state does not fit the model"):
        Trainer.resume(saved)
