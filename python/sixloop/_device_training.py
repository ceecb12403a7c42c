"""The Trainer's batches on the GPU: nothing waits for it, and a step that repeats is recorded.

Losses and metrics are summed up in a record in the GPU's memory (csrc/loss/loss.h), which the
Trainer reads when somebody wants to know, at the end of an epoch and every `READ_EVERY` batches. A
batch of a shape that was there twice before becomes a CUDA graph: the first runs as ever, the
second too while its allocations are noted, the third is recorded. All have the same bits.
"""

from __future__ import annotations

import gc
import operator
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sixloop import Tensor, _on_device, cuda, ops, zeros
from sixloop._arrays import to_device
from sixloop._on_device import declares

if TYPE_CHECKING:
    from sixloop.nn import Model
    from sixloop.trainer import Trainer

READ_EVERY = 32
"""Batches after which the record is read: at most so many run in vain after a loss that is NaN."""

READ_BYTES = 64 << 20
"""Bytes of predictions that wait on the GPU to be read together."""

MOST_GRAPHS = 8
"""Graphs that are kept, each with its own memory; the one not used for longest makes room."""


def why_not(trainer: Trainer) -> str:
    """Return why a Trainer's batches must wait for the GPU, or ""."""
    if not declares(trainer.loss, "is_recordable"):
        return "the loss is a function of your own, which takes NumPy arrays"
    for metric in trainer.metrics:
        if not declares(metric, "is_recordable"):
            return f"the metric {metric.name!r} is of your own and takes NumPy arrays"
    if not declares(trainer.optimizer, "is_recordable"):
        return f"the optimizer {type(trainer.optimizer).__name__} is of your own"
    if len(trainer.metrics) > _on_device.MOST_COUNTS:
        return f"there are more than {_on_device.MOST_COUNTS} metrics"
    if len(trainer.model.outputs) > _on_device.MOST_LOSSES:
        return f"the model has more than {_on_device.MOST_LOSSES} outputs"
    return ""


def why_no_graph(model: Model) -> str:
    """Return why a model's step is not recorded, or ""."""
    for layer in model.layers:
        if not declares(layer, "is_recordable"):
            return (
                f"the layer {model.layer_name(layer)!r} ({type(layer).__name__}) waits for the GPU"
            )
    return ""


def outputs_of(model: Model, batches: Iterable[NDArray[Any]]) -> Iterator[NDArray[Any]]:
    """Yield the first output for each batch, of a model on the GPU.

    Batches go there while the kernels of those before run, and nobody waits for an output before
    there are READ_BYTES of them.
    """
    staging = _on_device.CudaStaging()
    waiting: list[Tensor] = []
    for batch in batches:
        outputs = model(*staging.upload(batch))
        model._call = None  # the input's memory is another batch's soon
        waiting.append(outputs[0] if isinstance(outputs, list) else outputs)
        if sum(output.nbytes for output in waiting) >= READ_BYTES:
            yield from (output.numpy() for output in waiting)
            waiting.clear()
    yield from (output.numpy() for output in waiting)


class Failure(Exception):
    """A loss that is not finite.

    Attributes:
        step: of the batch, counted from 0.
        loss: its loss.
    """

    def __init__(self, step: int, loss: float) -> None:
        super().__init__(f"the loss is {loss} in step {step}")
        self.step = step
        self.loss = loss


class _Recorded:
    """A step for one shape of batch: traced, then captured, then launched."""

    def __init__(self) -> None:
        self.graph = _on_device.CudaGraph()
        self.inputs: list[Tensor] = []
        self.gradients: dict[str, Tensor] | None = None
        self.is_traced = False


class _Images(NamedTuple):
    """A data set on the GPU: pixels as they are stored, and what becomes of them."""

    x: Tensor
    shape: tuple[int, ...]
    scale: float
    mean: Tensor | None
    std: Tensor | None


class Batches:
    """Runs batches on the GPU, for training or for evaluation.

    Args:
        trainer: one for which `why_not` returns "".
        training: update the parameters.
        graphs: record steps where that is possible.

    Attributes:
        plainly: why steps are launched one kernel at a time, or "" where they are recorded.
        recorded: the number of graphs.
    """

    def __init__(self, trainer: Trainer, *, training: bool, graphs: bool = True) -> None:
        self._trainer = trainer
        self._training = training
        self.plainly = why_no_graph(trainer.model) if graphs else "graphs=False"
        self._staging = _on_device.CudaStaging()
        self._record = zeros((_on_device.RECORD_SIZE,), "float64", "cuda")
        self._live = self._record._part(0, 4)
        self._step = self._record._part(_on_device.STEP, _on_device.STEP + 1)
        self._graphs: OrderedDict[tuple[tuple[int, ...], ...], _Recorded] = OrderedDict()
        self._addresses: tuple[int, ...] = ()
        self._rounded: list[Tensor] = []
        self._images: _Images | None = None
        # Since the last look at the record: step, samples and predictions of each batch.
        self._pending: list[tuple[int, int, list[int]]] = []
        self._samples = 0
        self._totals: list[int] = []

    @property
    def recorded(self) -> int:
        return sum(entry.graph.is_captured for entry in self._graphs.values())

    def begin(self, sums: Mapping[str, Sequence[float]]) -> None:
        """Begin or go on with an epoch whose batches so far have `sums`."""
        names = ["loss", *(metric.name for metric in self._trainer.metrics)]
        totals = [sums.get(name, (0.0, 0)) for name in names]
        record = np.zeros(_on_device.RECORD_SIZE)
        record[_on_device.GOES] = 1
        record[_on_device.TOTAL] = totals[0][0]
        for i, (count, _) in enumerate(totals[1:]):
            record[_on_device.COUNTS + i] = count
        self._record.assign(record)
        self._samples = int(totals[0][1])
        self._totals = [int(number) for _, number in totals[1:]]
        self._pending = []
        self.look_for_changes()

    def look_for_changes(self) -> None:
        """Forget the graphs if parameters or state lie elsewhere than when they were recorded."""
        trainer = self._trainer
        if trainer.model.device == "cpu":  # of which the model's next call tells
            self._graphs.clear()
            return
        arrays = list(trainer.model.parameters().values())
        rounded: list[Tensor] = []
        if trainer.model.precision == "bf16":
            trainer.model._round_weights()
            rounded = [copy for _, copy in trainer.model._rounded.values()]
        if self._training:
            trainable = trainer.model.trainable_parameters()
            arrays += [slot for slots in trainer.optimizer.slots_of(trainable) for slot in slots]
        addresses = tuple(t.__cuda_array_interface__["data"][0] for t in arrays)
        same = len(rounded) == len(self._rounded) and all(map(operator.is_, rounded, self._rounded))
        if addresses != self._addresses or not same:
            self._graphs.clear()
            self._addresses = addresses
            self._rounded = rounded

    @property
    def is_pending(self) -> bool:
        """Whether batches were asked for since the last look at the record."""
        return bool(self._pending)

    @property
    def must_read(self) -> bool:
        """Whether it is time to look at the record."""
        return len(self._pending) >= READ_EVERY

    def adopt(self, data: Any) -> bool:
        """Copy the images of a data set to the GPU; return whether `run_images` may be used.

        Not where its transforms, or its class, are others than the library's, nor where it takes
        more than a quarter of the memory that is free.
        """
        from sixloop.data import ArrayDataset

        model = self._trainer.model
        if type(data) is not ArrayDataset or data.dtype != np.dtype(model.dtype):
            return False
        of_places, normalize = data.normalization_of_places()
        if not of_places or data.x.nbytes > cuda.memory_stats()["free"] // 4:
            return False
        old = self._images
        if old is not None and old.x.shape == data.x.shape and old.x.dtype == data.x.dtype:
            x = old.x
            x.assign(data.x)
        else:
            x = to_device(data.x, "cuda")
        mean = std = None
        if normalize is not None:
            mean, std = (
                to_device(np.array(values, data.dtype), "cuda")
                for values in (normalize.mean, normalize.std)
            )
        # What a graph reads is kept as it is until all graphs are gone.
        self._graphs.clear()
        self._images = _Images(x, data.shape, data.scale, mean, std)
        return True

    def run(self, x: NDArray[Any], y: Any, *, step: int, lr: float) -> None:
        """Ask for a batch: step number `step`, counted from 0."""
        self._ask([x], len(x), y, step, lr)

    def run_images(
        self,
        indices: NDArray[np.int64],
        places: NDArray[np.int64],
        y: Any,
        *,
        step: int,
        lr: float,
    ) -> None:
        """Ask for a batch of the images of `adopt`, from places in them: see images.h."""
        self._ask([indices, places], len(indices), y, step, lr)

    def _ask(self, arrays: list[NDArray[Any]], samples: int, y: Any, step: int, lr: float) -> None:
        trainer = self._trainer
        shape = (samples, *trainer.model.output_shapes[0])
        dtype = np.dtype(trainer.model.dtype)
        target = np.asarray(y)
        trainer.loss.check(shape, target)
        arrays = [*arrays, trainer.loss.target_on_gpu(shape, target, dtype)]
        arrays += [metric.target_on_gpu(shape, target, dtype) for metric in trainer.metrics]
        inputs = self._staging.upload(*arrays)
        numbers = (lr, 0.0, 0.0)
        if self._training:
            trainer.optimizer.steps += 1
            numbers = trainer.optimizer.live_numbers(lr)
        _on_device.set_record(self._record, *numbers, step)
        self._launch(inputs, step)
        totals = [metric.total(shape) for metric in trainer.metrics]
        self._pending.append((step, samples, totals))

    def read(self) -> tuple[dict[str, list[float]], float]:
        """Wait for what was asked for; return the sums of the epoch and the last batch's loss.

        Raises:
            Failure: a loss is not finite. The parameters are those from before its step, and the
                sums that the next call returns have no more than the batches before it.
        """
        record = self._record.numpy()
        failed = record[_on_device.GOES] == 0
        step = int(record[_on_device.FAILED_STEP])
        for number, samples, totals in self._pending:
            if failed and number >= step:
                break
            self._samples += samples
            self._totals = [a + b for a, b in zip(self._totals, totals, strict=True)]
        if failed and self._training:
            self._trainer.optimizer.steps -= sum(n >= step for n, _, _ in self._pending)
        self._pending = []
        if failed:
            self._record._part(_on_device.GOES, _on_device.GOES + 1).fill(1.0)
            raise Failure(step, float(record[_on_device.FAILED_LOSS]))
        sums: dict[str, list[float]] = {}
        if self._samples:
            sums["loss"] = [float(record[_on_device.TOTAL]), self._samples]
            for i, metric in enumerate(self._trainer.metrics):
                sums[metric.name] = [float(record[_on_device.COUNTS + i]), self._totals[i]]
        return sums, float(record[_on_device.LOSS])

    def _launch(self, inputs: list[Tensor], step: int) -> None:
        if self.plainly:
            self._work(inputs, step)
            return
        key = tuple(tuple(array.shape) for array in inputs)
        entry = self._graphs.get(key)
        if entry is None:
            while len(self._graphs) >= MOST_GRAPHS:
                self._graphs.popitem(last=False)
            self._graphs[key] = _Recorded()
            self._work(inputs, self._step)
            return
        self._graphs.move_to_end(key)
        if not entry.is_traced:
            entry.graph.trace_begin()
            try:
                self._work(inputs, self._step)
                self._trainer.model.release()
            finally:
                entry.graph.trace_end()
            entry.is_traced = True
            return
        if not entry.graph.is_captured:
            self._capture(entry, inputs)
            if self.plainly:
                self._work(inputs, step)
                return
        for mine, new in zip(entry.inputs, inputs, strict=True):
            mine.assign(new)
        entry.graph.launch()
        if self._training:
            self._trainer.model._gradients = entry.gradients

    def _capture(self, entry: _Recorded, inputs: list[Tensor]) -> None:
        entry.inputs = [array.copy() for array in inputs]
        model = self._trainer.model
        model.release()
        # Another Trainer's graphs wait for the GPU when they are collected, which must not be here.
        collects = gc.isenabled()
        gc.disable()
        try:
            entry.graph.capture_begin()
            self._work(entry.inputs, self._step)
            entry.gradients = model._gradients if self._training else None
            entry.graph.capture_end()
        except BaseException as error:
            entry.graph.abandon()
            model.release()
            self._graphs.clear()
            if not isinstance(error, (RuntimeError, NotImplementedError, MemoryError)):
                raise
            self.plainly = f"a step could not be recorded: {error}"
        finally:
            if collects:
                gc.enable()

    def _take_images(self, index: Tensor, places: Tensor) -> Tensor:
        images = self._images
        assert images is not None
        height, width, _ = images.shape
        x: Tensor = _on_device.take_images(
            *(images.x, index, places, height, width, images.scale, images.mean, images.std),
            self._trainer.model.dtype,
        )
        return x

    def _work(self, inputs: Sequence[Tensor], step: Any) -> None:
        """Give the GPU the work of one batch: the same for all of a shape."""
        trainer = self._trainer
        model, drop = trainer.model, trainer._drop_activation
        if len(inputs) == 3 + len(trainer.metrics):
            index, places, target, *labels = inputs
            x = self._take_images(index, places)
        else:
            x, target, *labels = inputs
        outputs = model(x, training=self._training, step=step, logits=drop)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        sums, divisors, factors, gradients = [], [], [], []
        for number, output in enumerate(outputs if self._training else outputs[:1]):
            total, divisor, gradient = trainer.loss.sum_on_gpu(output, target)
            factor = 1.0
            if number:
                factor = trainer.auxiliary_weight
                gradient = ops.scale(gradient, factor)
            sums.append(total)
            divisors.append(divisor)
            factors.append(factor)
            gradients.append(gradient)
        counts = [
            metric.count_on_gpu(outputs[0], truth, logits=trainer._logits)
            for metric, truth in zip(trainer.metrics, labels, strict=True)
        ]
        samples = int(x.shape[0])
        if not self._training:
            model.release()
            _on_device.end_batch(
                self._record, sums, divisors, factors, counts, None, 0.0, samples, False
            )
            return
        model.backward(gradients, input_gradient=False, from_logits=drop)
        found = model.gradients()
        parameters = model.trainable_parameters()
        squares = None
        l2 = trainer.l2.l2
        weights = [name for name, p in parameters.items() if p.ndim >= 2] if l2 else []
        if weights:
            squares = _on_device.add_penalty(
                [parameters[name] for name in weights], [found[name] for name in weights], l2
            )
        _on_device.end_batch(
            self._record, sums, divisors, factors, counts, squares, l2, samples, True
        )
        trainer.optimizer._update_all(
            list(parameters.values()),
            [found[name] for name in parameters],
            trainer.optimizer.slots_of(parameters),
            0.0,
            self._live,
        )
