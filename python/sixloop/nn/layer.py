"""The base of all layers, the symbolic tensors they are called on, and the per-call store."""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np

from sixloop import Tensor, _checks, initializers, ops
from sixloop._checks import Pair, Shape
from sixloop.ops import Array


@dataclass(frozen=True)
class ParameterSpec:
    """What a layer says of one parameter before it is allocated.

    Args:
        shape: its shape.
        initializer: fills it when the model is built.
        trainable: False for running statistics and whatever else no optimizer updates.
    """

    shape: Shape
    initializer: initializers.Initializer
    trainable: bool = True


@dataclass(frozen=True)
class Footprint:
    """Which arrays one call of a layer makes and keeps: what ``summary`` computes memory from.

    The activation that ``layer.activation`` names counts on top of it: its output, or what it is
    given, stays for backward, which makes one more array of the output's size.

    Attributes:
        is_view: the output is the input's memory, and the input's gradient that of the output.
        keeps_inputs: backward reads the inputs.
        kept_elements: sizes of further arrays that stay for backward, whatever the batch.
        kept_outputs: number of further arrays of the output's size that stay for backward.
        kept_bytes: bytes for each value of the output that stay for backward, as one array.
        extra_outputs: arrays of the output's size that forward holds besides it for a moment.
        shares_gradient: all inputs get the same array as gradient.
        skips_unneeded: a gradient that no trainable parameter needs is not computed.
        is_activation: the activation is all that the layer computes.
        fuses_gradient: the activation's gradient is part of the layer's, and keeps nothing for it.
    """

    is_view: bool = False
    keeps_inputs: bool = False
    kept_elements: tuple[int, ...] = ()
    kept_outputs: int = 0
    kept_bytes: int = 0
    extra_outputs: int = 0
    shares_gradient: bool = False
    skips_unneeded: bool = False
    is_activation: bool = False
    fuses_gradient: bool = False


class Scratch(NamedTuple):
    """Bytes, as allocated, that one call needs for a moment, besides inputs and results.

    Attributes:
        forward, grad_weight, grad_input: of a pass.
        inference: of a forward pass without backward, where that is another number; else None.
        kept: not for a moment: what such a pass keeps beside the weights for the next one.
    """

    forward: int = 0
    grad_weight: int = 0
    grad_input: int = 0
    inference: int | None = None
    kept: int = 0


class Window(NamedTuple):
    """Input pixels that an output pixel depends on, and the step to the next one, as (h, w)."""

    span: Pair = (1, 1)
    strides: Pair = (1, 1)


class Context:
    """What one call of one layer keeps between forward and backward.

    A layer that is called twice in a graph has two contexts, so sharing layers is safe.

    Attributes:
        saving: True when a backward pass may follow; a layer saves nothing otherwise.
        linear: True when the layer must leave out its activation (``logits=True``).
        seed, purpose, step: the key of this call's random numbers; the element is the rest of it.
            ``step`` is a Tensor where the call is recorded: see ``Layer.is_recordable``.
        needs: for each input, whether backward must compute its gradient (set before backward).
        saved: whatever the layer keeps for backward.
        precision: "fp32", "tf32" or "bf16": see ``weight`` and ``products()``.
        statistics: of a normalisation's input, mean and variance, where the layer before found
            them; else None.
        epilogue: what the gradient of ``activation=`` follows from.
    """

    __slots__ = (
        "_gradients",
        "_prefix",
        "_rounded",
        "epilogue",
        "linear",
        "needs",
        "precision",
        "purpose",
        "saved",
        "saving",
        "seed",
        "statistics",
        "step",
    )

    def __init__(
        self,
        *,
        saving: bool = False,
        linear: bool = False,
        seed: int = 0,
        purpose: int = 0,
        step: int | Tensor = 0,
        precision: str = "fp32",
        rounded: Mapping[int, tuple[Tensor, Tensor]] | None = None,
    ) -> None:
        self.saving = saving
        self.linear = linear
        self.seed = seed
        self.purpose = purpose
        self.step: int | Tensor = step
        self.precision = precision
        self._rounded = rounded or {}
        self.needs: tuple[bool, ...] = ()
        self.saved: Any = None
        self.statistics: tuple[Tensor, Tensor] | None = None
        self.epilogue: Any = None
        self._gradients: dict[str, Tensor] = {}
        self._prefix = ""

    def collect(self, gradients: dict[str, Tensor], prefix: str, needs: tuple[bool, ...]) -> None:
        """Says where this call's parameter gradients go and which input gradients are wanted."""
        self._gradients = gradients
        self._prefix = prefix
        self.needs = needs

    def weight(self, parameter: Tensor) -> Tensor:
        """Returns the weight of a product: for "bf16" the model's copy in bfloat16."""
        if self.precision != "bf16":
            return parameter
        found = self._rounded.get(id(parameter))
        return ops.cast(parameter, "bfloat16") if found is None else found[1]

    def products(self, own: ops.Precision) -> ops.Precision:
        """Returns the precision of a layer's products: that of the call, else the layer's own."""
        if self.precision == "fp32":
            return own
        return "tf32" if self.precision == "tf32" else "fp32"  # bfloat16 has but one

    def add_gradient(self, name: str, gradient: Tensor) -> None:
        """Adds one call's gradient of the parameter ``name``: calls of a shared layer add up."""
        if self.precision == "bf16":
            gradient = ops.cast(gradient, "float32")
        key = f"{self._prefix}.{name}"
        before = self._gradients.get(key)
        self._gradients[key] = gradient if before is None else ops.add(before, gradient)


class Symbol:
    """A tensor of the graph that is being built: it has a shape, but no values.

    Attributes:
        shape: shape of one sample, without the batch axis.
        node: the call that makes it, or None for an ``Input``.
    """

    __slots__ = ("node", "shape")

    def __init__(self, shape: Shape, node: Node | None) -> None:
        self.shape = shape
        self.node = node

    def __repr__(self) -> str:
        source = "" if self.node is None else f" from {type(self.node.layer).__name__}"
        return f"<symbolic tensor {_checks.show(self.shape)}{source}>"


class Input(Symbol):
    """Begins a graph: the place of an array of shape (N, *shape).

    Args:
        shape: shape of one sample without the batch axis, (H, W, C) for images.
        name: a name for error messages; "input_1", "input_2", ... in its model by default.

    Raises:
        ValueError, TypeError: a size that is not a positive integer.
    """

    __slots__ = ("name",)

    def __init__(self, shape: int | tuple[int, ...] | list[int], name: str | None = None) -> None:
        super().__init__(_checks.shape("Input", shape), None)
        self.name = None if name is None else _checks.text("Input", "name", name)

    def __repr__(self) -> str:
        name = "" if self.name is None else f", name={self.name!r}"
        return f"Input(shape={self.shape}{name})"


class Node:
    """One call of a layer on symbolic tensors."""

    __slots__ = ("index", "inputs", "layer", "output_shape")
    _counter: ClassVar[Iterator[int]] = itertools.count()

    def __init__(self, layer: Layer, inputs: tuple[Symbol, ...], output_shape: Shape) -> None:
        self.layer = layer
        self.inputs = inputs
        self.output_shape = output_shape
        # A call is made after the calls it depends on, so this order is a topological one.
        self.index = next(Node._counter)


class Layer:
    """Base of all layers: says shapes and parameters, computes forward and backward.

    A layer of your own overrides ``output_shape``, ``forward`` and ``backward``, and
    ``parameter_specs`` when it has parameters. Every argument of its ``__init__`` must be an
    attribute of the same name: ``config`` and ``repr`` read them. Shapes are those of one sample.
    ``multiply_adds``, ``window``, ``footprint`` and ``scratch`` are what the summary counts by.

    Attributes:
        name: the name given, or the one its first model gave it ("conv2d_1"), or None before that.
        arity: number of inputs, or None for two or more.
        is_view: True when the output shares the input's memory, so that it costs no bytes.
        makes_new_output: True when the output never shares memory with anything else, so that
            nobody needs to look.
        is_recordable: True when forward and backward give the GPU the same work in every step, and
            wait for none of it: the Trainer may then record a step once and run it again, with
            ``ctx.step`` a Tensor there. What a class inherits does not count.
    """

    arity: ClassVar[int | None] = 1
    is_view: ClassVar[bool] = False
    makes_new_output: ClassVar[bool] = False
    is_recordable: ClassVar[bool] = False

    def __init__(self, *, name: str | None = None) -> None:
        self.name = None if name is None else _checks.text(type(self).__name__, "name", name)
        self.auto_named = name is None
        self._specs: dict[str, ParameterSpec] | None = None
        self._parameters: dict[str, Tensor] = {}

    def output_shape(self, *shapes: Shape) -> Shape:
        """Returns the shape of the output for inputs of these shapes, or raise ``ValueError``."""
        raise NotImplementedError(f"{type(self).__name__} has no output_shape")

    def parameter_specs(self, *shapes: Shape) -> dict[str, ParameterSpec]:
        """Returns what parameters the layer has for inputs of these shapes; none by default."""
        return {}

    def multiply_adds(self, *shapes: Shape) -> int:
        """Returns the multiply-adds of one sample (convolution and dense layers only)."""
        return 0

    def window(self, *shapes: Shape) -> Window | Literal["all"]:
        """Returns what part of its input an output value depends on; by default its own place.

        "all" is the whole image.
        """
        return Window()

    def footprint(self, *shapes: Shape, training: bool) -> Footprint:
        """Returns which arrays a call makes and keeps; by default the inputs stay for backward."""
        return Footprint(is_view=self.is_view, keeps_inputs=not self.is_view)

    def scratch(self, batch: int, itemsize: int, *shapes: Shape) -> Scratch:
        """Returns the memory that a call gives back before it returns; by default none.

        Args:
            batch: number of samples.
            itemsize: bytes of an element.
            shapes: of the inputs, of one sample.
        """
        return Scratch()

    def forward(self, ctx: Context, *inputs: Array, training: bool) -> Array:
        """Returns the output [N, ...]; keep in ``ctx`` what backward needs if ``ctx.saving``."""
        raise NotImplementedError(f"{type(self).__name__} has no forward")

    def backward(self, ctx: Context, dy: Array) -> tuple[Array | None, ...]:
        """Returns the gradient of each input; None where ``ctx.needs`` says it is not wanted.

        Parameter gradients go to ``ctx.add_gradient(name, gradient)``.
        """
        raise NotImplementedError(f"{type(self).__name__} has no backward")

    @property
    def specs(self) -> Mapping[str, ParameterSpec]:
        """The parameters the layer has; empty until it is called on a symbolic tensor."""
        return self._specs or {}

    @property
    def is_built(self) -> bool:
        """Whether all parameters are allocated."""
        return len(self._parameters) == len(self.specs)

    def parameters(self) -> dict[str, Tensor]:
        """Returns the parameters by their name in the layer; empty before the model is built."""
        return dict(self._parameters)

    def build(self, name: str, *, seed: int, dtype: str) -> None:
        """Allocates and fills the parameters that are not there yet, keyed by seed and name."""
        for key, spec in self.specs.items():
            if key not in self._parameters:
                purpose = initializers.stable_hash(f"{name}.{key}")
                self._parameters[key] = spec.initializer(
                    spec.shape, seed=seed, purpose=purpose, dtype=dtype
                )

    def set_parameters(self, values: Mapping[str, Tensor]) -> None:
        """Takes over tensors as parameters; their shapes were checked by the caller."""
        self._parameters.update(values)

    def config(self) -> dict[str, Any]:
        """Returns the arguments that make this layer again, as JSON-able values."""
        return {key: _jsonable(getattr(self, key)) for key in _arguments(type(self))}

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={getattr(self, key)!r}" for key in _arguments(type(self)))
        return f"{type(self).__name__}({arguments})"

    def __call__(self, *inputs: Symbol | list[Symbol] | tuple[Symbol, ...]) -> Symbol:
        """Applies the layer to symbolic tensors, given one by one or as one list."""
        symbols = self._symbols(inputs)
        shapes = tuple(symbol.shape for symbol in symbols)
        try:
            output = self.output_shape(*shapes)
            specs = self.parameter_specs(*shapes)
            _checks.elements("output", "the output", output)
            for key, spec in specs.items():
                _checks.elements(key, f"parameter {key}", spec.shape)
        except ValueError as error:
            rule = re.sub(r"^\[\w+\] ", "", str(error))
            raise ValueError(f"[{self._label(symbols)}] {rule}") from None
        if self._specs is None:
            self._specs = specs
        elif self._specs != specs:
            then = {key: spec.shape for key, spec in self._specs.items()}
            now = {key: spec.shape for key, spec in specs.items()}
            raise ValueError(
                f"[{self._label(symbols)}] a layer called twice shares its parameters, so the "
                f"inputs must need the same ones: first call {then}, this call {now}; got input "
                f"{', '.join(map(_checks.show, shapes))}"
            )
        return Symbol(output, Node(self, symbols, output))

    def _symbols(self, inputs: tuple[Any, ...]) -> tuple[Symbol, ...]:
        if len(inputs) == 1 and isinstance(inputs[0], (list, tuple)):
            inputs = tuple(inputs[0])
        label = self.name or type(self).__name__
        for value in inputs:
            if not isinstance(value, Symbol):
                raise TypeError(
                    f"[{label}] layers are called on symbolic tensors: begin with "
                    f"Input(shape=...), and give arrays to the Model; got {type(value).__name__}"
                )
        if len(inputs) < 2 if self.arity is None else len(inputs) != self.arity:
            wanted = "two or more inputs" if self.arity is None else f"{self.arity} input"
            raise ValueError(f"[{label}] {type(self).__name__} takes {wanted}; got {len(inputs)}")
        return inputs

    def _label(self, symbols: tuple[Symbol, ...]) -> str:
        """Returns the layer's name, or the name it would get in a model of what lies before it."""
        if self.name is not None:
            return self.name
        before = {id(node.layer): node.layer for node in ancestors(symbols)}
        before.pop(id(self), None)
        number = 1 + sum(type(layer) is type(self) for layer in before.values())
        return f"{snake_case(type(self).__name__)}_{number}"


def ancestors(
    symbols: tuple[Symbol, ...] | list[Symbol], stop: frozenset[int] = frozenset()
) -> list[Node]:
    """Returns all calls that ``symbols`` depend on, in topological order.

    Args:
        symbols: where to begin.
        stop: ids of symbols whose own calls do not count (a model's inputs).
    """
    nodes: dict[int, Node] = {}
    # A list instead of recursion: a chain of 10,000 layers is fine.
    pending = list(symbols)
    while pending:
        symbol = pending.pop()
        node = symbol.node
        if id(symbol) in stop or node is None or node.index in nodes:
            continue
        nodes[node.index] = node
        pending.extend(node.inputs)
    return [nodes[index] for index in sorted(nodes)]


def snake_case(name: str) -> str:
    """Returns GlobalAvgPool2D as global_avg_pool2d."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])", "_", name).lower()


def _arguments(kind: type[Layer]) -> list[str]:
    return list(inspect.signature(kind).parameters)


def _jsonable(value: object) -> Any:
    if isinstance(value, initializers.Initializer):
        return value.config()
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value
