"""A small network on CIFAR-10, from folders of image files or the binary version.

    python bench/train_cifar10.py --data-dir DIR [--epochs 8] [--threads N]

DIR has train/<class>/*.jpg and test/<class>/*.jpg, or the files of the binary version. The pictures
are shifted and mirrored at random.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import _report

import sixloop
from sixloop import Trainer, data, models, optim, schedules

LR, MOMENTUM, WEIGHT_DECAY, BATCH_SIZE = 0.1, 0.9, 5e-4, 128
REQUIRED_ACCURACY = 0.70


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    if options.threads:
        sixloop.set_num_threads(options.threads)

    began = time.perf_counter()
    folder = Path(options.data_dir or ".")
    images = (folder / "train").is_dir()
    train, test = data.load(folder) if images else data.cifar10(options.data_dir)
    loading = time.perf_counter() - began
    print(f"{len(train):,} and {len(test):,} images read in {loading:.1f} s", flush=True)

    train = train.with_transforms(data.random_crop(32, padding=2), data.horizontal_flip())
    steps = options.epochs * train.batch_count(BATCH_SIZE)
    warmup = steps // 10
    model = models.build("cifar_cnn", classes=len(train.classes))
    trainer = Trainer(
        model,
        optim.SGD(LR, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY),
        schedule=schedules.LinearWarmup(schedules.Cosine(LR, steps=steps - warmup), steps=warmup),
    )
    seconds, accuracies = [], []
    for epoch in range(options.epochs):
        began = time.perf_counter()
        trainer.fit(train, epochs=1, batch_size=BATCH_SIZE, verbose=0)
        seconds.append(time.perf_counter() - began)
        accuracies.append(trainer.evaluate(test)["accuracy"])
        print(f"epoch {epoch + 1}  {seconds[-1]:.1f} s  {accuracies[-1]:.2%}", flush=True)

    result: dict[str, Any] = {
        "network": "cifar_cnn",
        "data": f"CIFAR-10, 50,000 and 10,000 images, {'image files' if images else 'binary'}",
        "batch_size": BATCH_SIZE,
        "loading_seconds": loading,
        "epoch_seconds": seconds,
        "test_accuracy": accuracies,
        "weights_sha256": model.weights_sha256(),
    }
    print(_report.write("train_cifar10", result))
    if not accuracies[-1] >= REQUIRED_ACCURACY:
        raise SystemExit(f"accuracy {accuracies[-1]:.2%} is below {REQUIRED_ACCURACY:.2%}")


if __name__ == "__main__":
    main()
