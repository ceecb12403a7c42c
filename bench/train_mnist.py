"""LeNet-5 on the full MNIST: accuracy after each epoch, and the epoch's time beside PyTorch's.

    python bench/train_mnist.py --data-dir DIR [--epochs 4] [--threads N] [--no-torch]

Both train the same network on the same batches in the same order from the same NumPy data set, with
SGD, momentum and the same learning rates; epochs alternate. PyTorch runs in the faster of its two
layouts, which a short trial finds, with its fused optimizer, and with malloc's mmap and trim
thresholds raised, so that it does not pay for page faults. Evaluation is not in the times.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from typing import Any

import _report
import numpy as np

import sixloop
from sixloop import Trainer, data, models, optim, schedules

LR, MOMENTUM, BATCH_SIZE = 0.05, 0.9, 64
REQUIRED_ACCURACY = 0.985


class TorchPeer:
    """The same training in PyTorch."""

    def __init__(
        self, train: data.ArrayDataset, schedule: schedules.Schedule, threads: int
    ) -> None:
        import torch

        self.torch, self.train, self.schedule, self.step = torch, train, schedule, 0
        torch.set_num_threads(threads)
        self.layouts = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}
        trials = {name: self._trial(layout) for name, layout in self.layouts.items()}
        self.layout = min(trials, key=trials.__getitem__)
        self._start(self.layouts[self.layout])

    def _start(self, layout: Any) -> None:
        torch, nn = self.torch, self.torch.nn
        torch.manual_seed(0)
        self.model = nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(400, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, 10),
        ).to(memory_format=layout)
        self.memory_format = layout
        self.optimizer = torch.optim.SGD(self.model.parameters(), LR, momentum=MOMENTUM, fused=True)
        self.loss = nn.CrossEntropyLoss()
        self.step = 0

    def _input(self, x: np.ndarray) -> Any:
        nchw = self.torch.from_numpy(x).permute(0, 3, 1, 2)
        return nchw.contiguous(memory_format=self.memory_format)

    def _trial(self, layout: Any, batches: int = 150) -> float:
        self._start(layout)
        seconds = []
        for _, (x, y) in zip(range(batches), self.train.batches(BATCH_SIZE), strict=False):
            began = time.perf_counter()
            self._learn(x, y)
            seconds.append(time.perf_counter() - began)
        return float(np.median(seconds))

    def _learn(self, x: np.ndarray, y: np.ndarray) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.schedule(self.step)
        self.optimizer.zero_grad(set_to_none=True)
        self.loss(self.model(self._input(x)), self.torch.from_numpy(y)).backward()
        self.optimizer.step()
        self.step += 1

    def epoch(self, epoch: int) -> float:
        self.model.train()
        began = time.perf_counter()
        for x, y in self.train.batches(BATCH_SIZE, shuffle=True, seed=0, epoch=epoch):
            self._learn(x, y)
        return time.perf_counter() - began

    def accuracy(self, test: data.ArrayDataset) -> float:
        self.model.eval()
        right = 0
        with self.torch.no_grad():
            for x, y in test.batches(1000):
                right += int((self.model(self._input(x)).argmax(1).numpy() == y).sum())
        return right / len(test)


def raise_malloc_thresholds() -> None:
    """Start this process again with settings that only take effect at its start."""
    settings = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "8589934592"}
    if any(os.environ.get(key) != value for key, value in settings.items()):
        os.environ.update(settings)
        os.execv(sys.executable, [sys.executable, *sys.argv])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", help="folder of the IDX files")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--no-torch", action="store_true")
    options = parser.parse_args()
    if options.threads:
        sixloop.set_num_threads(options.threads)

    train, test = data.mnist(options.data_dir)
    steps = options.epochs * train.batch_count(BATCH_SIZE)
    warmup = steps // 10
    schedule = schedules.LinearWarmup(schedules.Cosine(LR, steps=steps - warmup), steps=warmup)
    model = models.build("lenet5")
    trainer = Trainer(model, optim.SGD(LR, momentum=MOMENTUM), schedule=schedule)
    peer = None
    if not options.no_torch:
        try:
            peer = TorchPeer(train, schedule, sixloop.get_num_threads())
        except ImportError:
            print("torch is not installed: without comparison")

    ours: dict[str, list[float]] = {"epoch_seconds": [], "test_accuracy": []}
    theirs: dict[str, list[float]] = {"epoch_seconds": [], "test_accuracy": []}
    for epoch in range(options.epochs):
        began = time.perf_counter()
        trainer.fit(train, epochs=1, batch_size=BATCH_SIZE, verbose=0)
        ours["epoch_seconds"].append(time.perf_counter() - began)
        ours["test_accuracy"].append(trainer.evaluate(test)["accuracy"])
        line = f"epoch {epoch + 1}  sixloop {_last(ours)}"
        if peer is not None:
            theirs["epoch_seconds"].append(peer.epoch(epoch))
            theirs["test_accuracy"].append(peer.accuracy(test))
            line += f"  torch {_last(theirs)}"
        print(line, flush=True)

    result: dict[str, Any] = {
        "network": "lenet5",
        "data": "MNIST, 60,000 and 10,000 images",
        "batch_size": BATCH_SIZE,
        "sixloop": {**ours, "weights_sha256": model.weights_sha256()},
    }
    if peer is not None:
        # The fastest epochs: other work on the machine only adds time, and to PyTorch's spinning
        # threads more than to ours.
        ratio = min(theirs["epoch_seconds"]) / min(ours["epoch_seconds"])
        result["torch"] = {"version": peer.torch.__version__, "layout": peer.layout, **theirs}
        result["torch_time_over_ours"] = ratio
        print(f"fastest epochs: torch takes {ratio:.2f} times as long ({peer.layout})")
    print(_report.write("train_mnist", result))
    final = ours["test_accuracy"][-1]
    if not final >= REQUIRED_ACCURACY or math.isnan(final):
        raise SystemExit(f"accuracy {final:.2%} is below {REQUIRED_ACCURACY:.2%}")


def _last(figures: dict[str, list[float]]) -> str:
    return f"{figures['epoch_seconds'][-1]:.2f} s, {figures['test_accuracy'][-1]:.2%}"


if __name__ == "__main__":
    raise_malloc_thresholds()
    main()
