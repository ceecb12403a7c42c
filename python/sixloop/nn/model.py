"""A graph of layers that runs: forward, backward, parameters."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

import sixloop
from sixloop import Tensor, _checks, initializers, ops
from sixloop._arrays import check_device, device_of, share_memory, to_device, to_numpy
from sixloop._checks import Shape, show
from sixloop._on_device import declares
from sixloop.nn import _residual, _tensor_cores
from sixloop.nn.layer import (
    Context,
    Layer,
    Node,
    ParameterSpec,
    Symbol,
    ancestors,
    snake_case,
)
from sixloop.ops import Array

if TYPE_CHECKING:
    from sixloop.data import Preprocessing
    from sixloop.nn.summary import Summary
    from sixloop.optim import Optimizer

LOGIT_ACTIVATIONS = ("softmax", "sigmoid")
_FLOATS = ("float32", "float64")
PRECISIONS = ("fp32", "tf32", "bf16")
_DLPACK_CUDA = 2  # the number of CUDA among DLPack's devices

Symbols = Symbol | list[Symbol] | tuple[Symbol, ...]


class Step:
    """One call of a layer in the order of execution; arrays live in numbered slots.

    Attributes:
        layer, name: the layer and its name in this model.
        inputs, output: slots of the arrays it reads and of the one it makes.
        normalization: of an addition, the call of a BatchNorm that runs as one with it, or None.
        is_joined: whether it is such a normalisation, which the addition runs.
        finds_statistics: whether it is a convolution that computes those of the BatchNorm behind
            it, in training on tensor cores.
        addition: the call of an Add that this convolution runs, in inference on tensor cores.
        reads: slots of the arrays it needs when it runs: the inputs; of such an addition the other
            input and that of the normalisation, of which there are none then.
        release: slots that no later step of the forward pass reads.
        before: for each of `reads`, whether its gradient leads to a trainable parameter.
        useful: whether backward through this step reaches a trainable parameter.
        purpose: key of the call's random numbers.
    """

    __slots__ = (
        "addition",
        "before",
        "finds_statistics",
        "inputs",
        "is_joined",
        "layer",
        "name",
        "normalization",
        "output",
        "purpose",
        "reads",
        "release",
        "useful",
    )

    def __init__(
        self, layer: Layer, name: str, inputs: tuple[int, ...], output: int, purpose: int
    ) -> None:
        self.layer = layer
        self.name = name
        self.inputs = inputs
        self.output = output
        self.purpose = purpose
        self.normalization: Step | None = None
        self.is_joined = False
        self.finds_statistics = False
        self.addition: Step | None = None
        self.reads = inputs
        self.release: list[int] = []
        self.before: tuple[bool, ...] = ()
        self.useful = False


class _Call:
    """What the last call of a model keeps for its backward pass."""

    __slots__ = ("arrays", "as_numpy", "batch", "linear", "step", "tape", "training")

    def __init__(
        self,
        arrays: list[Array],
        tape: list[Context | None] | None,
        *,
        training: bool,
        step: int,
        linear: bool,
        as_numpy: bool,
    ) -> None:
        self.arrays = arrays
        self.tape = tape
        self.training = training
        self.step = step
        self.linear = linear
        self.as_numpy = as_numpy  # what the caller gave, and gets
        self.batch = int(arrays[0].shape[0])


class Model:
    """A directed acyclic graph of layers between inputs and outputs.

    Only layers that an output depends on are part of the model. Parameters are allocated when they
    are first needed; before that, ``summary`` and ``count_parameters`` work from shapes.

    Args:
        inputs: one symbolic tensor or a list of them, normally ``Input``s.
        outputs: one symbolic tensor or a list of them.
        name: used in error messages and saved with the model.

    Attributes:
        layers: the layers in order of execution, each once.
        input_shapes, output_shapes: shapes of one sample, without the batch axis.
        steps: the calls of layers in the order of execution.
        output_slots: which of the steps' slots are outputs.
        preprocessing: how an image becomes an input, for ``inspect.classify`` and the command
            ``predict``; None by default. Set it, and it is saved with the model.
        class_names: what the outputs stand for, in their order; None by default. Saved, too.

    Raises:
        ValueError: an output depends on an ``Input`` that is not among the inputs, an input that
            no output depends on, or two layers of one name.

    Example:
        >>> image = Input(shape=(28, 28, 1))
        >>> x = Flatten()(image)
        >>> model = Model(image, Dense(10, activation="softmax")(x))
        >>> model(numpy.zeros((2, 28, 28, 1), "float32")).shape
        (2, 10)
    """

    def __init__(self, inputs: Symbols, outputs: Symbols, name: str = "model") -> None:
        self.name = _checks.text("Model", "name", name)
        self.inputs = self._symbol_list("inputs", inputs)
        self.outputs = self._symbol_list("outputs", outputs)
        if len({id(symbol) for symbol in self.inputs}) != len(self.inputs):
            raise ValueError(f"[{name}] inputs must be different; got {self.inputs}")
        self.input_shapes = [symbol.shape for symbol in self.inputs]
        self.output_shapes = [symbol.shape for symbol in self.outputs]
        self.input_names = [
            getattr(symbol, "name", None) or f"input_{i}" for i, symbol in enumerate(self.inputs, 1)
        ]
        self.nodes = self._reachable()
        self._names = self._name_layers()
        self.layers = self._unique_layers()
        self._plan()
        self.seed = 0
        # The layer of a single output is the last.
        self._makes_new_output = bool(
            len(self.outputs) == 1 and self.steps and self.steps[-1].layer.makes_new_output
        )
        self._dtype: str | None = None
        self._device = "cpu"  # of parameters to be, and of a model without any
        self._precision = "fp32"
        # Weights and their copies in bfloat16, by the identity of the weight.
        self._rounded: dict[int, tuple[Tensor, Tensor]] = {}
        self._parameters: dict[str, Tensor] = {}
        self._trainable: dict[str, Tensor] = {}
        self._gradients: dict[str, Tensor] | None = None
        self._call: _Call | None = None
        self.preprocessing: Preprocessing | None = None
        self.class_names: tuple[str, ...] | None = None

    # ---- running -------------------------------------------------------------------------------

    def __call__(
        self, x: Any, *, training: bool = False, step: int = 0, logits: bool = False
    ) -> Any:
        """Runs the model on a batch.

        With ``training=False`` nothing but the input itself is kept: activations are freed as soon
        as no later layer reads them, and a ``backward`` afterwards runs the forward pass again.
        Inputs are not copied, so do not overwrite them before ``backward``; outputs are yours. Of a
        model on the GPU, inputs that are elsewhere are copied there.

        On symbolic tensors a model acts like a layer: its layers, with their parameters, become
        part of the new graph.

        Args:
            x: array [N, *input_shape] of the model's dtype, or a list of arrays for several
                inputs. NumPy arrays give NumPy arrays, also where the model is on the GPU; any
                ``Tensor`` gives Tensors on the model's device. N may be 0.
            training: dropout drops, batch normalisation uses and follows the batch's statistics.
            step: number of the training step, from which the dropout masks follow.
            logits: leave out the softmax or sigmoid at the end, for a loss that takes logits; with
                several outputs, that of each.

        Returns:
            The output [N, *output_shape], or a list of them for several outputs.

        Raises:
            ValueError, TypeError: an input of the wrong shape or dtype, one on the GPU for a model
                that is not there, or logits of a model that ends in another activation, or whose
                outputs end differently or are read by layers.
        """
        values = list(x) if isinstance(x, (list, tuple)) else [x]
        if values and all(isinstance(value, Symbol) for value in values):
            return self._embed(values)
        arrays = self._check_inputs(values)
        if logits:
            self._check_logits()
        if not self.is_built:
            self.build(seed=self.seed)
        as_numpy = Tensor not in map(type, arrays)
        arrays = self._moved_inputs(arrays)
        self._call = None  # frees the activations of the call before
        outputs, tape = self._forward(
            arrays, training=training, step=step, linear=logits, saving=training
        )
        self._call = _Call(
            arrays, tape, training=training, step=step, linear=logits, as_numpy=as_numpy
        )
        if as_numpy:
            outputs = [to_numpy(y) for y in outputs]
        return outputs[0] if len(outputs) == 1 else outputs

    def backward(self, dy: Any, *, input_gradient: bool = True, from_logits: bool = False) -> Any:
        """Computes the gradients of all trainable parameters for the last call.

        ``gradients()`` then returns them; those of the backward pass before are overwritten.
        After a call with ``training=True`` it can run once, since activations are freed on the way.

        Args:
            dy: gradient of the loss with respect to what the call returned, of the same shape; for
                several outputs a list, in which None stands for zeros. Moved to the model's device.
            input_gradient: also compute the gradient of the input. False saves the first layer's.
            from_logits: ``dy`` belongs to the logits although the call returned probabilities.

        Returns:
            The gradient of the input, or a list of them for several inputs, or None without
            ``input_gradient``.

        Raises:
            RuntimeError: there was no call before.
            ValueError, TypeError: ``dy`` of the wrong shape or dtype.
        """
        call = self._call
        if call is None:
            raise RuntimeError(
                f"[{self.name}] backward needs a forward pass before it: call model(x, "
                "training=True) before each backward"
            )
        gradients = self._check_output_gradients(dy, call.batch)
        if from_logits:
            self._check_logits()
        tape = call.tape
        if tape is None:
            _, tape = self._forward(
                call.arrays,
                training=call.training,
                step=call.step,
                linear=call.linear,
                saving=True,
            )
            assert tape is not None
        else:
            self._call = None
        if from_logits:
            for step, ctx in zip(self.steps, tape, strict=True):
                if step.output in self._heads:
                    assert ctx is not None
                    ctx.linear, ctx.epilogue = True, None
        collected: dict[str, Tensor] = {}
        self._gradients = collected
        slots: list[Array | None] = [None] * (len(self.inputs) + len(self.steps))
        for slot, gradient in zip(self.output_slots, gradients, strict=True):
            _accumulate(slots, slot, gradient)
        for index in range(len(self.steps) - 1, -1, -1):
            step = self.steps[index]
            ctx, tape[index] = tape[index], None
            dy, slots[step.output] = slots[step.output], None
            if dy is None or ctx is None or not (input_gradient or step.useful):
                continue
            needs = (True,) * len(step.reads) if input_gradient else step.before
            ctx.collect(collected, step.name, needs)
            norm = step.normalization
            if norm is None:
                found = step.layer.backward(ctx, dy)
            else:
                norm_ctx, tape[self._index(norm)] = tape[self._index(norm)], None
                assert norm_ctx is not None
                norm_ctx.collect(collected, norm.name, needs[1:])
                found = _residual.backward(step, ctx, norm_ctx, dy)
            for slot, need, dx in zip(step.reads, needs, found, strict=True):
                if need:
                    _accumulate(slots, slot, dx)
        if not input_gradient:
            return None
        result = [
            sixloop.zeros(tuple(array.shape), str(array.dtype), device_of(array))
            if dx is None
            else dx
            for array, dx in zip(call.arrays, slots[: len(call.arrays)], strict=True)
        ]
        if self.precision == "bf16":
            result = [ops.cast(dx, "float32") for dx in result]
        _separate(result, gradients)
        if call.as_numpy:
            result = [to_numpy(dx) for dx in result]
        return result[0] if len(result) == 1 else result

    def release(self) -> None:
        """Frees what the last call keeps for backward, and the gradients of the last backward."""
        self._call = None
        self._gradients = None

    def first_non_finite(self, x: Any) -> str | None:
        """Returns the name of the first layer whose output has a NaN or an infinity, or None.

        Args:
            x: as for a call. An input that is not finite itself is reported by its own name.
        """
        arrays = self._check_inputs(list(x) if isinstance(x, (list, tuple)) else [x])
        if not self.is_built:
            self.build(seed=self.seed)
        for name, array in zip(self.input_names, arrays, strict=True):
            if not np.isfinite(to_numpy(array)).all():
                return name
        slots: list[Any] = [*self._moved_inputs(arrays), *[None] * len(self.steps)]
        for step in self.steps:
            inputs = [slots[i] for i in step.inputs]
            slots[step.output] = y = step.layer.forward(Context(), *inputs, training=False)
            if not np.isfinite(to_numpy(y)).all():
                return step.name
            for slot in step.release:
                slots[slot] = None
        return None

    # ---- parameters ----------------------------------------------------------------------------

    @property
    def is_built(self) -> bool:
        """Whether the parameters are allocated."""
        return self._dtype is not None

    @property
    def dtype(self) -> str:
        """The dtype of the parameters, allocated or to be: "float32" or "float64"."""
        if self._dtype is not None:
            return self._dtype
        shared = (p.dtype for layer in self.layers for p in layer.parameters().values())
        return str(next(shared, "float32"))

    def build(self, seed: int = 0, dtype: str | None = None) -> None:
        """Allocates and fills the parameters; those that are there already keep their values.

        Args:
            seed: key of all random numbers, for the fill and from now on for dropout.
            dtype: "float32" (default) or "float64".

        Raises:
            ValueError: unknown dtype, or the parameters exist in another dtype.
            MemoryError: the parameters do not fit into memory.
        """
        seed = _checks.integer(self.name, "seed", seed, minimum=0, maximum=2**63 - 1)
        existing = {str(p.dtype) for layer in self.layers for p in layer.parameters().values()}
        if dtype is not None:
            name = dtype if isinstance(dtype, str) else np.dtype(dtype).name
            existing.add(_checks.choice(self.name, "dtype", name, _FLOATS))
        if len(existing) > 1:
            raise ValueError(
                f"[{self.name}] all parameters have one dtype, and existing ones keep theirs; got "
                + " and ".join(sorted(existing))
            )
        wanted = existing.pop() if existing else "float32"
        device = self.device
        self.seed = seed
        for layer in self.layers:
            layer.build(self.layer_name(layer), seed=self.seed, dtype=wanted)
        held = {self.layer_name(layer): layer.parameters() for layer in self.layers}
        for key in self._specs:
            layer_name, _, own = key.rpartition(".")
            self._parameters[key] = held[layer_name][own]
        self._trainable = {k: self._parameters[k] for k, s in self._specs.items() if s.trainable}
        self._dtype = wanted
        # New ones were made on the CPU.
        for parameter in self._parameters.values():
            parameter._move(device)

    @property
    def device(self) -> str:
        """Where the parameters are, or will be, and the model computes: "cpu" or "cuda"."""
        if self._parameters:
            return next(iter(self._parameters.values())).device
        there = {p.device for layer in self.layers for p in layer.parameters().values()}
        return "cuda" if "cuda" in there else self._device

    @property
    def precision(self) -> str:
        """How the model computes on the GPU: "fp32", "tf32" or "bf16"; see ``to``."""
        return self._precision if self._precision == "fp32" or self.device == "cuda" else "fp32"

    def to(self, device: str, *, precision: str | None = None) -> Model:
        """Moves the model to a device, parameters and running statistics with it.

        The Tensors that ``parameters()`` returned move, too, and with them other models that share
        layers with this one; NumPy views of them from before do not. What the last call keeps, and
        the gradients, are freed. Bits do not depend on the device, unless ``precision`` says so.

        Args:
            device: "cpu" or "cuda".
            precision: on the GPU, for parameters of float32: "fp32" has the CPU's bits; "tf32"
                rounds the factors of products to 10 bits of mantissa, for tensor cores; with "bf16"
                activations and their gradients are bfloat16, too, and products take weights
                rounded to it, while parameters, their gradients, statistics and sums stay float32.
                Inputs and outputs are float32. Default: what it was, "fp32" at first.

        Returns:
            The model itself.

        Raises:
            ValueError: unknown device or precision; one besides "fp32" on the CPU, for float64, or
                "bf16" with a layer that does not declare ``is_recordable``.
            RuntimeError: there is no GPU to use; the message says why.

        Example:
            >>> model.to("cuda")(x)  # x is a NumPy array, and so is the result
        """
        check_device(self.name, device)
        if precision is not None:
            self._check_precision(device, precision)
        if device != self.device or precision not in (None, self._precision):
            self.release()
            self._rounded = {}
        self._device = device
        self._precision = precision or self._precision
        for layer in self.layers:
            for parameter in layer.parameters().values():
                parameter._move(device)
        return self

    def _check_precision(self, device: str, precision: str) -> None:
        _checks.choice(self.name, "precision", precision, PRECISIONS)
        if precision == "fp32":
            return
        if device == "cpu":
            raise ValueError(
                f"[{self.name}] precision={precision!r} is for the GPU; got device='cpu', which "
                f"computes in the precision of its parameters"
            )
        if self.dtype != "float32":
            raise ValueError(
                f"[{self.name}] precision={precision!r} is for parameters of float32; got a model "
                f"of {self.dtype}"
            )
        for layer in self.layers:
            if precision == "bf16" and not declares(layer, "is_recordable"):
                raise ValueError(
                    f"[{self.name}] precision='bf16' needs layers that take bfloat16 and declare "
                    f"is_recordable; got {self.layer_name(layer)!r} ({type(layer).__name__})"
                )

    def parameters(self) -> dict[str, Tensor]:
        """Returns all parameters by name ("conv2d_1.weight"), running statistics included.

        The Tensors are those that the model computes with: changing them changes the model.
        """
        if not self.is_built:
            self.build(seed=self.seed)
        return dict(self._parameters)

    def trainable_parameters(self) -> dict[str, Tensor]:
        """Returns the parameters that an optimizer updates, by name."""
        if not self.is_built:
            self.build(seed=self.seed)
        return dict(self._trainable)

    def gradients(self) -> dict[str, Tensor]:
        """Returns the gradients that the last ``backward`` computed, by parameter name.

        Raises:
            RuntimeError: there was no ``backward`` yet.
        """
        if self._gradients is None:
            raise RuntimeError(f"[{self.name}] gradients need a call of backward before")
        found = self._gradients
        if not self._trainable.keys() <= found.keys():
            for key, parameter in self._trainable.items():
                if key not in found:  # no output gradient reached this layer
                    found[key] = sixloop.zeros(parameter.shape, self.dtype, parameter.device)
        return {key: found[key] for key in self._trainable}

    def specs(self) -> dict[str, ParameterSpec]:
        """Returns shape, initializer and kind of each parameter by name, without allocating it."""
        return dict(self._specs)

    def count_parameters(self, trainable_only: bool = False) -> int:
        """Returns the number of parameters, without allocating them.

        Args:
            trainable_only: leave out running statistics.
        """
        return sum(
            _checks.elements(self.name, key, spec.shape)
            for key, spec in self._specs.items()
            if spec.trainable or not trainable_only
        )

    def weights_sha256(self) -> str:
        """Returns the SHA-256 of all parameters, in the order of their names.

        Name, dtype, shape and little-endian bytes of each enter.
        """
        digest = hashlib.sha256()
        for name, tensor in sorted(self.parameters().items()):
            values = tensor.numpy()
            head = json.dumps([name, str(values.dtype), list(values.shape)])
            digest.update(head.encode() + b"\n")
            digest.update(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).data)
        return digest.hexdigest()

    # ---- description and files -----------------------------------------------------------------

    @property
    def final_activation(self) -> str | None:
        """Name of the activation that the model ends in: of each output, if they have the same."""
        return _activation(self._head_layers[0]) if self._head_layers else None

    @property
    def ends_alike(self) -> bool:
        """Whether all outputs end in the same activation, or in none, and no layer reads one."""
        return bool(self._heads)

    @property
    def takes_logits(self) -> bool:
        """Whether the model ends in a softmax or sigmoid that ``logits=True`` leaves out."""
        return self.final_activation in LOGIT_ACTIVATIONS

    def get_layer(self, name: str) -> Layer:
        """Returns the layer of this name; a ``ValueError`` lists the names."""
        names = {self.layer_name(layer): layer for layer in self.layers}
        return names[_checks.choice(self.name, "layer name", name, names)]

    def layer_name(self, layer: Layer) -> str:
        """Returns the name of a layer in this model, which its parameters begin with."""
        return self._names[id(layer)]

    def summary(
        self,
        batch: int | None = None,
        *,
        optimizer: str | Optimizer | None = None,
        measure: bool = False,
    ) -> Summary:
        """Returns a table of the layers: ``print(model.summary())``.

        Args:
            batch: also compute the memory that a batch of so many samples takes; default None.
            optimizer: whose state counts then, an Optimizer or its name; default none.
            measure: also run the model on such a batch and measure; this builds it, and resets
                ``sixloop.memory_stats()["peak"]``. Needs ``batch``; default False.

        Raises:
            ValueError, TypeError: a batch below 1, an unknown optimizer, measure without batch.
        """
        from sixloop.nn.summary import summarize

        return summarize(self, batch, optimizer=optimizer, measure=measure)

    def config(self) -> dict[str, Any]:
        """Returns the architecture as JSON-able values, for ``model_from_config``."""
        return {
            "name": self.name,
            "inputs": [
                {"name": name, "shape": list(shape)}
                for name, shape in zip(self.input_names, self.input_shapes, strict=True)
            ],
            "layers": [
                {
                    "class": type(layer).__name__,
                    "config": {**layer.config(), "name": self.layer_name(layer)},
                }
                for layer in self.layers
            ],
            "calls": [{"layer": step.name, "inputs": list(step.inputs)} for step in self.steps],
            "outputs": list(self.output_slots),
        }

    def save(self, path: str | PathLike[str]) -> None:
        """Writes the directory ``path`` with model.json and weights.safetensors, atomically.

        Raises:
            ValueError: ``path`` exists and holds anything but a saved model.
            OSError: the directory can't be written; what was there before is still there.
        """
        from sixloop.nn.serialization import save

        save(self, path)

    def load_weights(
        self, source: str | PathLike[str] | Mapping[str, Any], strict: bool = True
    ) -> tuple[list[str], list[str]]:
        """Copies weights into the model, all of them or, on an error, none.

        Args:
            source: a safetensors file, the directory of a saved model, or a dict from parameter
                name to array.
            strict: raise for missing and unexpected names, instead of leaving them out.

        Returns:
            The missing and the unexpected names.

        Raises:
            ValueError: a damaged file, missing or unexpected names (strict), or a parameter of
                another shape or dtype; the message lists them with both shapes.
        """
        from sixloop.nn.serialization import load_weights

        return load_weights(self, source, strict=strict)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(name={self.name!r}, inputs={_shapes(self.input_shapes)}, "
            f"outputs={_shapes(self.output_shapes)}, layers={len(self.layers)}, "
            f"parameters={self.count_parameters():,})"
        )

    # ---- the plan ------------------------------------------------------------------------------

    def _symbol_list(self, argument: str, value: Any) -> list[Symbol]:
        symbols = list(value) if isinstance(value, (list, tuple)) else [value]
        if not symbols:
            raise ValueError(f"[{self.name}] {argument} must not be empty")
        for symbol in symbols:
            if not isinstance(symbol, Symbol):
                raise TypeError(
                    f"[{self.name}] {argument} must be symbolic tensors, what Input(...) and layer "
                    f"calls return; got {type(symbol).__name__}"
                )
        return symbols

    def _reachable(self) -> list[Node]:
        stop = frozenset(id(symbol) for symbol in self.inputs)
        nodes = ancestors(self.outputs, stop)
        read = [symbol for node in nodes for symbol in node.inputs] + self.outputs
        for symbol in read:
            if symbol.node is None and id(symbol) not in stop:
                raise ValueError(
                    f"[{self.name}] an output depends on {symbol!r}, which is not among the inputs "
                    f"{self.inputs}: add it to inputs="
                )
        used = {id(symbol) for symbol in read}
        for symbol in self.inputs:
            if id(symbol) not in used:
                raise ValueError(
                    f"[{self.name}] no output depends on the input {symbol!r}: "
                    "leave it out of inputs="
                )
        return nodes

    def _unique_layers(self) -> list[Layer]:
        return list({id(node.layer): node.layer for node in self.nodes}.values())

    def _name_layers(self) -> dict[int, str]:
        """Gives unnamed layers class-wise numbered names in order of execution."""
        layers = self._unique_layers()
        names: dict[int, str] = {}
        taken: set[str] = set()
        for layer in layers:
            if layer.name is None or layer.auto_named:
                continue
            if layer.name in taken:
                raise ValueError(f"[{self.name}] two layers have the name {layer.name!r}")
            names[id(layer)] = layer.name
            taken.add(layer.name)
        for layer in layers:
            # A name that another model gave stays, unless two layers got the same one there.
            if layer.auto_named and layer.name is not None and layer.name not in taken:
                names[id(layer)] = layer.name
                taken.add(layer.name)
        counts: dict[str, int] = {}
        for layer in layers:
            if id(layer) in names:
                continue
            stem = snake_case(type(layer).__name__)
            number = counts.get(stem, 0) + 1
            while f"{stem}_{number}" in taken:
                number += 1
            counts[stem] = number
            names[id(layer)] = f"{stem}_{number}"
            taken.add(names[id(layer)])
            if layer.name is None:
                layer.name = names[id(layer)]
        return names

    def _plan(self) -> None:
        """Numbers the slots and finds which arrays and gradients are needed until when."""
        # A call's output is known by the symbols that read it, so slots are keyed by node.
        slot_of_input = {id(symbol): i for i, symbol in enumerate(self.inputs)}
        slot_of_node = {node.index: i for i, node in enumerate(self.nodes, len(self.inputs))}

        def slot(symbol: Symbol) -> int:
            if id(symbol) in slot_of_input:
                return slot_of_input[id(symbol)]
            assert symbol.node is not None
            return slot_of_node[symbol.node.index]

        self.steps: list[Step] = []
        calls: dict[str, int] = {}
        for node in self.nodes:
            name = self.layer_name(node.layer)
            calls[name] = calls.get(name, 0) + 1
            purpose = initializers.stable_hash(f"{name}/call {calls[name]}")
            inputs = tuple(slot(symbol) for symbol in node.inputs)
            output = slot_of_node[node.index]
            self.steps.append(Step(node.layer, name, inputs, output, purpose))
        self.output_slots = [slot(symbol) for symbol in self.outputs]
        self._specs = {
            f"{self.layer_name(layer)}.{key}": spec
            for layer in self.layers
            for key, spec in layer.specs.items()
        }

        last_read: dict[int, Step] = {}
        leads: set[int] = set()
        kept = set(self.output_slots)
        _residual.join(self.steps, kept)
        _tensor_cores.plan(self.steps, kept)
        for step in self.steps:
            last_read.update((i, step) for i in (*step.inputs, *step.reads))
            step.before = tuple(i in leads for i in step.reads)
            own = any(spec.trainable for spec in step.layer.specs.values())
            step.useful = own or any(i in leads for i in step.inputs)
            if step.useful:
                leads.add(step.output)
        for i, step in last_read.items():
            if i not in kept:
                step.release.append(i)
        # The outputs whose last activation can be left out: no layer reads them, and all end alike.
        ends = {_activation(step.layer) for step in self.steps if step.output in kept}
        alone = len(kept) == len(self.outputs) and kept.isdisjoint(last_read)
        alike = len(ends) == 1 and min(kept) >= len(self.inputs)
        self._heads = frozenset(kept) if alone and alike else frozenset()
        self._head_layers = [step.layer for step in self.steps if step.output in self._heads]

    def _forward(
        self, arrays: list[Array], *, training: bool, step: int, linear: bool, saving: bool
    ) -> tuple[list[Array], list[Context | None] | None]:
        precision = self.precision
        if precision == "bf16":
            arrays = [ops.cast(array, "bfloat16") for array in arrays]
            self._round_weights()
        slots: list[Any] = [*arrays, *[None] * len(self.steps)]
        tape: list[Context | None] | None = [] if saving else None
        inputs: list[Any] = []
        epilogues: _tensor_cores.Epilogues | None = None
        if precision != "fp32":
            heads = self._heads if linear else frozenset[int]()
            epilogues = _tensor_cores.Epilogues(slots, heads, training=training)
        ctx = Context(seed=self.seed, step=step, precision=precision, rounded=self._rounded)
        # Where nothing is kept for backward one context serves all calls.
        own_contexts = saving or linear
        for call in self.steps:
            if own_contexts:
                ctx = Context(
                    saving=saving,
                    linear=linear and call.output in self._heads,
                    seed=self.seed,
                    step=step,
                    precision=precision,
                    rounded=self._rounded,
                )
            ctx.purpose = call.purpose
            if epilogues is not None and epilogues.run(call, ctx):
                pass
            elif not call.is_joined:
                inputs = [slots[i] for i in call.reads]
                norm = call.normalization
                if norm is None:
                    slots[call.output] = call.layer.forward(ctx, *inputs, training=training)
                else:
                    norm_ctx = ctx if tape is None else tape[self._index(norm)]
                    assert norm_ctx is not None
                    slots[call.output] = _residual.forward(
                        call, ctx, norm_ctx, *inputs, training=training
                    )
            for slot in call.release:
                slots[slot] = None
            if tape is not None:
                tape.append(ctx)
        outputs = [slots[i] for i in self.output_slots]
        if precision == "bf16":
            return [ops.cast(y, "float32") for y in outputs], tape
        # The caller may write to what it gets, but not into the inputs or what a layer has saved.
        # A single output that its layer neither saved nor was given is nobody else's.
        if saving and (len(outputs) > 1 or ctx.epilogue is not None):
            outputs = [y.copy() for y in outputs]
        elif not self._makes_new_output:
            _separate(outputs, inputs if saving else arrays)
        return outputs, tape

    def _index(self, step: Step) -> int:
        """Returns the place of a step among all."""
        return step.output - len(self.inputs)

    def _round_weights(self) -> None:
        """Brings the copies in bfloat16 up to date: one launch for up to 64 weights."""
        weights = [p for p in self._trainable.values() if p.ndim >= 2]
        if self._rounded.keys() != {id(p) for p in weights}:
            self._rounded = {
                id(p): (p, sixloop.empty(p.shape, "bfloat16", "cuda")) for p in weights
            }
        ops.cast_into(weights, [copy for _, copy in self._rounded.values()])

    def _embed(self, symbols: list[Symbol]) -> Any:
        """Calls the model's layers on other symbolic tensors."""
        shapes = [symbol.shape for symbol in symbols]
        if shapes != self.input_shapes:
            raise ValueError(
                f"[{self.name}] model takes inputs {_shapes(self.input_shapes)}; "
                f"got {_shapes(shapes)}"
            )
        slots = [*symbols]
        for step in self.steps:
            slots.append(step.layer(*[slots[i] for i in step.inputs]))
        outputs = [slots[i] for i in self.output_slots]
        return outputs[0] if len(outputs) == 1 else outputs

    # ---- checks --------------------------------------------------------------------------------

    def _check_inputs(self, values: list[Any]) -> list[Array]:
        # The usual case costs a microsecond; what is wrong with another one is found below.
        if len(values) == 1 == len(self.inputs) and self._dtype is not None:
            value = values[0]
            if (
                (type(value) is Tensor or type(value) is np.ndarray)
                and value.ndim > 0
                and value.shape[1:] == self.input_shapes[0]
                and value.dtype == self._dtype
            ):
                return values
        if len(values) != len(self.inputs):
            raise ValueError(
                f"[{self.name}] must be given one array for each input "
                f"({', '.join(self.input_names)}); got {len(values)}"
            )
        arrays = [
            self._as_array(f"input {n!r}", v) for n, v in zip(self.input_names, values, strict=True)
        ]
        for name, array, sample in zip(self.input_names, arrays, self.input_shapes, strict=True):
            shape = tuple(array.shape)
            if len(shape) != len(sample) + 1 or shape[1:] != sample:
                raise ValueError(
                    f"[{self.name}] input {name!r} must have shape {show(sample)}; got {shape}"
                    + _layout_hint(shape, sample)
                )
        batches = {int(array.shape[0]) for array in arrays}
        if len(batches) > 1:
            raise ValueError(
                f"[{self.name}] all inputs must have the same batch size; got "
                + ", ".join(
                    f"{n!r} {tuple(a.shape)}" for n, a in zip(self.input_names, arrays, strict=True)
                )
            )
        for name, array in zip(self.input_names, arrays, strict=True):
            self._check_dtype(f"input {name!r}", array)
        return arrays

    def _moved_inputs(self, arrays: list[Array]) -> list[Array]:
        """Returns the inputs on the model's device."""
        device = self.device
        if device == "cuda":
            return [to_device(array, device) for array in arrays]
        for i, array in enumerate(arrays):
            if device_of(array) != device:
                raise ValueError(
                    f"[{self.name}] input {self.input_names[i]!r} is on {device_of(array)}, the "
                    f"model on {device}: model.to({device_of(array)!r}) moves it"
                )
        return arrays

    def _check_dtype(self, what: str, array: Array) -> None:
        if self._dtype is not None and array.dtype == self._dtype:
            return
        dtype = np.dtype(array.dtype)
        # A model without parameters takes either dtype.
        valid = (self.dtype,) if self._specs else _FLOATS
        if dtype not in [np.dtype(name) for name in valid]:
            fix = f"x.astype({valid[0]!r})"
            if dtype == np.float64 and not self.is_built:
                fix += " or model.build(dtype='float64')"
            elif dtype == np.uint8:
                fix += " / 255"
            raise TypeError(
                f"[{self.name}] {what} must be {' or '.join(valid)}; got {dtype}: {fix}"
            )

    def _as_array(self, what: str, value: Any) -> Array:
        if isinstance(value, Tensor):
            return value
        if isinstance(value, np.ndarray):
            return np.asarray(value)
        if hasattr(value, "__dlpack__"):
            # Into memory of our own, where it lies on the GPU.
            device, _ = value.__dlpack_device__()
            return Tensor(value) if device == _DLPACK_CUDA else np.from_dlpack(value)
        raise TypeError(
            f"[{self.name}] {what} must be a NumPy array, a sixloop.Tensor or a DLPack provider; "
            f"got {type(value).__name__}"
        )

    def _check_output_gradients(self, dy: Any, batch: int) -> list[Array | None]:
        values = list(dy) if isinstance(dy, (list, tuple)) else [dy]
        if len(values) != len(self.outputs):
            raise ValueError(
                f"[{self.name}] backward takes one gradient for each of the {len(self.outputs)} "
                f"outputs; got {len(values)}"
            )
        gradients: list[Array | None] = []
        for index, (value, sample) in enumerate(zip(values, self.output_shapes, strict=True)):
            if value is None and len(values) > 1:
                gradients.append(None)
                continue
            what = f"dy[{index}]" if len(values) > 1 else "dy"
            array = self._as_array(what, value)
            if tuple(array.shape) != (batch, *sample):
                raise ValueError(
                    f"[{self.name}] {what} must have the output's shape {(batch, *sample)}; "
                    f"got {tuple(array.shape)}"
                )
            self._check_dtype(what, array)
            # A copy, where it is no Tensor: all gradients are then Tensors of our own.
            own = to_device(array, self.device)
            gradients.append(ops.cast(own, "bfloat16") if self.precision == "bf16" else own)
        return gradients

    def _check_logits(self) -> None:
        final = self.final_activation
        if len(self.outputs) > 1 and not self._heads:
            raise ValueError(
                f"[{self.name}] logits of several outputs need outputs that no layer reads and "
                f"that end in the same activation; got {self.outputs}"
            )
        if final not in (None, *LOGIT_ACTIVATIONS):
            raise ValueError(
                f"[{self.name}] logits are those of a model that ends in softmax, sigmoid or no "
                f"activation; got one that ends in {final!r}"
            )


def _accumulate(slots: list[Array | None], slot: int, gradient: Array | None) -> None:
    if gradient is not None:
        before = slots[slot]
        slots[slot] = gradient if before is None else ops.add(before, gradient)


def _separate(results: list[Array], given: Sequence[Array | None]) -> None:
    """Copies those results that share memory with each other or with ``given``.

    Flatten and an idle Dropout hand on what they get, and so does the backward pass of Add.
    """
    others = [array for array in given if array is not None]
    for i, array in enumerate(results):
        if any(share_memory(array, other) for other in others):
            results[i] = array.copy()
        others.append(results[i])


def _activation(layer: Layer) -> str | None:
    activation = getattr(layer, "activation", None)
    return activation if isinstance(activation, str) else None


def _shapes(shapes: list[Shape]) -> str:
    return show(shapes[0]) if len(shapes) == 1 else f"[{', '.join(map(show, shapes))}]"


def _layout_hint(shape: tuple[int, ...], sample: Shape) -> str:
    if shape == sample:
        return ": add the batch axis with x[None]"
    if len(sample) == 3 and len(shape) == 4 and shape[1:] == (sample[2], sample[0], sample[1]):
        return ": channels come last here, sixloop.from_nchw(x) moves them"
    if sample[-1] == 1 and shape[1:] == sample[:-1]:
        return ": add the channel axis with x[..., None]"
    return ""
