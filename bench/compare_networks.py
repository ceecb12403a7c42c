"""Whole networks beside PyTorch: one process, in turns, medians and ratios.

    python bench/compare_networks.py [--only resnet50,...] [--threads 2] [--json FILE]

For each network inference with batch 1 and 8, and a training step (forward, softmax
cross-entropy, backward, SGD with momentum) with batch 8; then the steps with other batches and
images in `STEPS`. PyTorch runs the same graph with the same weights, in both of its layouts and
with malloc's mmap and trim thresholds raised; before the timing, its logits, the gradient of the
input and the norm of every parameter's gradient must be ours. With --compile, also `torch.compile`.
Inference with batch normalisation is also timed after `nn.fold_batch_norm`.
The peaks of memory are ours, as `model.summary(batch, measure=True)` has them.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _environment  # noqa: F401, it may start the process anew

# isort: split
import _report
import numpy as np
import torch
import torch.nn.functional as F
from _networks import NETWORKS, Network
from _torch_twin import Twin

import sixloop
from sixloop import losses, models, nn, optim
from sixloop.bench.timing import alternate, limits

LAYOUTS = {"torch_nhwc": torch.channels_last, "torch_nchw": torch.contiguous_format}
FORWARD_BATCHES, STEP_BATCH = (1, 8), 8
# Network, its other options, batch of a training step: images or batches that others time, too.
STEPS = [
    ("vgg16", {}, 2),
    ("resnet18", {"input_shape": (64, 64, 3)}, 16),
    ("resnet50", {}, 4),
]
AUXILIARY_WEIGHT = 0.3  # of the losses of outputs other than the first


class Case:
    """A network with a batch of random images and labels, in both libraries."""

    def __init__(
        self,
        network: Network,
        batch: int,
        more: dict[str, Any],
        compiled: bool,
        model: nn.Model | None = None,
    ) -> None:
        self.label = network.label
        self.model = model or models.build(network.name, **network.options, **more)
        rng = np.random.default_rng(0)
        shape = self.model.input_shapes[0]
        self.x = rng.standard_normal((batch, *shape)).astype(self.model.dtype)
        self.labels = rng.integers(0, self.model.output_shapes[0][-1], batch)
        self.loss = losses.get("cross_entropy")
        self.twins = {name: Twin(self.model, layout) for name, layout in LAYOUTS.items()}
        self.networks: dict[str, Any] = dict(self.twins)
        if compiled:
            self.networks["torch_compile"] = torch.compile(self.twins["torch_nhwc"])
        self.images = {
            name: torch.from_numpy(self.x).permute(0, 3, 1, 2)
            if self.x.ndim == 4
            else torch.from_numpy(self.x)
            for name in self.networks
        }
        for name, image in self.images.items():
            layout = LAYOUTS.get(name, torch.channels_last)
            self.images[name] = image.contiguous(memory_format=layout) if image.ndim == 4 else image

    def gradient(self, training: bool, step: int = 0, *, of_input: bool = False) -> Any:
        """Forward and backward in sixloop; returns the logits and the gradient of the input."""
        logits = self.model(self.x, training=training, step=step, logits=True)
        outputs = logits if isinstance(logits, list) else [logits]
        gradients = [
            self.loss(y, self.labels)[1] * self.x.dtype.type(AUXILIARY_WEIGHT if i else 1)
            for i, y in enumerate(outputs)
        ]
        dx = self.model.backward(
            gradients if isinstance(logits, list) else gradients[0],
            input_gradient=of_input,
            from_logits=True,
        )
        return outputs, dx

    def torch_loss(self, outputs: Any) -> torch.Tensor:
        labels = torch.from_numpy(self.labels)
        if isinstance(outputs, torch.Tensor):
            return F.cross_entropy(outputs, labels)
        first, *others = (F.cross_entropy(y, labels) for y in outputs)
        return sum(others, first * (1 / AUXILIARY_WEIGHT)) * AUXILIARY_WEIGHT

    def verify_logits(self) -> None:
        """Compares what inference computes, before the softmax."""
        for name, twin in self.twins.items():
            with torch.inference_mode():
                theirs = twin.eval()(self.images[name])
            ours = self.model(self.x, logits=True)
            _compare(f"{self.label}: logits", ours, theirs, 1e-4)

    def inference(self) -> dict[str, Callable[[], Any]]:
        """Returns the calls that classify the batch."""
        for network in self.networks.values():
            network.eval()
        x = sixloop.Tensor(self.x)

        def theirs(name: str) -> Callable[[], Any]:
            network, image = self.networks[name], self.images[name]

            def run() -> None:
                with torch.inference_mode():
                    outputs = network(image)
                    for y in outputs if isinstance(outputs, list) else [outputs]:
                        torch.softmax(y, -1)

            return run

        ours: dict[str, Callable[[], Any]] = {"sixloop": lambda: self.model(x)}
        if any(isinstance(layer, nn.BatchNorm) for layer in self.model.layers):
            folded = nn.fold_batch_norm(self.model)
            ours["sixloop_folded"] = lambda: folded(x)
        return {**ours, **{name: theirs(name) for name in self.networks}}

    def training(self) -> dict[str, Callable[[], Any]]:
        """Returns the calls that make a training step."""
        for network in self.networks.values():
            network.train()
        optimizer = optim.SGD(lr=0.0, momentum=0.9)  # why 0: see sixloop/bench/cases.py
        parameters = self.model.trainable_parameters()
        step = 0

        def ours() -> None:
            nonlocal step
            self.gradient(True, step)
            optimizer.update(parameters, self.model.gradients())
            step += 1

        def theirs(name: str) -> Callable[[], Any]:
            network, image = self.networks[name], self.images[name]
            sgd = torch.optim.SGD(network.parameters(), lr=0.0, momentum=0.9)

            def run() -> None:
                sgd.zero_grad()
                self.torch_loss(network(image)).backward()
                sgd.step()

            return run

        return {"sixloop": ours, **{name: theirs(name) for name in self.networks}}


def verify_gradients(network: Network, more: dict[str, Any]) -> None:
    """Compares a training step in float64, where no rounding tips over a ReLU or a maximum.

    As in training, or as in inference where there is dropout, whose masks differ.
    """
    model = models.define(network.name, **network.options, **more)
    model.build(dtype="float64")
    case = Case(network, 2, more, compiled=False, model=model)
    training = not any(isinstance(layer, nn.Dropout) for layer in model.layers)
    twin = case.twins["torch_nhwc"].train(training)
    x = case.images["torch_nhwc"].clone().requires_grad_()
    theirs = twin(x)
    case.torch_loss(theirs).backward()
    outputs, dx = case.gradient(training, of_input=True)
    label = network.label
    _compare(f"{label}: logits in training", outputs, theirs, 1e-9)
    assert x.grad is not None
    _compare(
        f"{label}: gradient of the input",
        dx,
        x.grad.permute(0, 2, 3, 1) if x.ndim == 4 else x.grad,
        1e-7,
    )
    found = model.gradients()
    for name, parameter in zip(twin.names, twin.parameters(), strict=True):
        assert parameter.grad is not None
        _compare(
            f"{label}: norm of the gradient of {name}",
            np.linalg.norm(np.asarray(found[name])),
            torch.linalg.norm(parameter.grad.flatten()),
            1e-7,
        )


def _compare(what: str, ours: Any, theirs: Any, tolerance: float) -> None:
    """Compares arrays, or lists of them, as a whole."""
    pairs = zip(ours, theirs, strict=True) if isinstance(theirs, list) else [(ours, theirs)]
    for one, other in pairs:
        a = np.asarray(one[0] if isinstance(one, list) else one, np.float64)
        b = other.detach().numpy().astype(np.float64)
        error = float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30))
        if not error < tolerance:
            raise SystemExit(f"{what}: differs by {error:.1e}")


def report(rows: list[dict[str, Any]], row: dict[str, Any], times: dict[str, Any]) -> None:
    ours = times["sixloop"]["median_ms"]
    row["times"] = times
    row["ratios"] = {k: v["median_ms"] / ours for k, v in times.items() if k != "sixloop"}
    rows.append(row)
    ratios = "  ".join(f"{name} {ratio:5.2f}" for name, ratio in row["ratios"].items())
    what = f"{row['pass']} b{row['batch']}"
    print(f"{row['network']:36} {what:12} {ours:9.2f} ms  {ratios}", flush=True)


def measure(
    network: Network, more: dict[str, Any], step_batch: int, args: argparse.Namespace
) -> dict[str, list[dict[str, Any]]]:
    """Returns the rows of one network: its times, and if it is a listed one its memory."""
    torch.set_num_threads(args.threads)
    sixloop.set_num_threads(args.threads)
    rows: list[dict[str, Any]] = []
    memory: list[dict[str, Any]] = []
    row = {"network": network.label, **({"image": more["input_shape"]} if more else {})}
    listed = network in NETWORKS
    if listed and "forward" in args.passes:
        for batch in FORWARD_BATCHES:
            case = Case(network, batch, more, args.compile)
            case.verify_logits()
            times, _ = alternate(args.seconds, case.inference(), least=3)
            report(rows, {**row, "pass": "forward", "batch": batch}, times)
            del case
    if "step" in args.passes:
        verify_gradients(network, more)
        case = Case(network, step_batch, more, args.compile)
        times, _ = alternate(args.seconds, case.training(), least=3)
        report(rows, {**row, "pass": "step", "batch": step_batch}, times)
        del case
    if listed:
        model = models.build(network.name, **network.options)
        for batch in FORWARD_BATCHES:
            sizes = model.summary(batch, optimizer=optim.SGD(0.1, momentum=0.9), measure=True)
            assert sizes.memory is not None
            memory.append(
                {
                    "network": network.label,
                    "batch": batch,
                    "forward_bytes": sizes.memory.measured_forward,
                    "step_bytes": sizes.memory.measured_training,
                    "forward_computed": sizes.memory.forward,
                    "step_computed": sizes.memory.training,
                }
            )
    return {"rows": rows, "memory": memory}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="names of networks, with commas between them")
    parser.add_argument("--passes", default="forward,step")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each library and row")
    parser.add_argument("--compile", action="store_true", help="torch.compile, too (needs g++)")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    only = args.only.split(",") if args.only else models.list()
    cases = [(network, {}, STEP_BATCH) for network in NETWORKS if network.name in only]
    cases += [(Network(n, {}, ""), more, batch) for n, more, batch in STEPS if n in only]

    # Each in a process of its own: neither library's memory counts for the next network.
    result: dict[str, Any] = {
        "machine": {**_report.machine(), "threads": args.threads},
        "torch": torch.__version__,
        "limits": limits(),
        "date": time.strftime("%Y-%m-%d"),
        "rows": [],
        "memory": [],
    }
    for case in cases:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found = pool.apply(measure, (*case, args))
        for key, rows in found.items():
            result[key] += rows
        if args.json:
            args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
