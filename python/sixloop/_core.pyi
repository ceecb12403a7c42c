"""Written by tools/generate_stubs.py from the extension module; do not edit."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__version__: str

class Tensor:
    """A dense row-major array in the library's own memory."""

    def __init__(self, data: Any, dtype: Any = None) -> None:
        """Copies an array, nested lists or a DLPack provider. dtype None keeps an array's own
        dtype; Python floats become float32."""
    @property
    def shape(self) -> tuple[Any, ...]:
        """Extents, a tuple of int."""
    @property
    def dtype(self) -> Any:
        """NumPy's dtype; of bfloat16, which NumPy has not, the name "bfloat16"."""
    @property
    def device(self) -> str:
        """Where the memory lies: "cpu" or "cuda"."""
    @property
    def ndim(self) -> int:
        """Number of dimensions."""
    @property
    def size(self) -> int:
        """Number of elements."""
    @property
    def nbytes(self) -> int:
        """Bytes of the elements."""
    def numpy(self) -> NDArray[Any]:
        """A writable NumPy view of the same memory, which it keeps alive; a copy where the tensor
        is on cuda. Of bfloat16 an array of ml_dtypes' where that package is there, else a
        TypeError: use ops.cast."""
    def to(self, device: str) -> Tensor:
        """The tensor on another device; itself where it is there already."""
    def _move(self, device: str) -> None:
        """What this object stands for becomes its copy on a device: whoever holds the object goes
        with it."""
    def _part(self, begin: int, end: int) -> Tensor:
        """Elements [begin, end) in the order of memory, which they share."""
    def reshape(self, *args: Any) -> Tensor:
        """The same memory under another shape; one size may be -1."""
    def copy(self) -> Tensor:
        """A new tensor with the same elements."""
    def fill(self, value: Any) -> None:
        """Sets every element."""
    def assign(self, values: Any) -> None:
        """Copies the elements of an array of the same shape and dtype, from either device, into
        this tensor. Into bfloat16 those of an array of ml_dtypes' bfloat16, too."""
    def item(self) -> Any:
        """The only element, as a Python number."""
    def __array__(self, dtype: Any = None, copy: Any = None) -> Any: ...
    def __dlpack__(self, **kwargs: Any) -> Any: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...
    @property
    def _version(self) -> int:
        """How often somebody had the right to write to the memory; 0 on cuda."""
    @property
    def _kept_bytes(self) -> int:
        """Of filters that are kept beside the memory."""
    @property
    def _address(self) -> int:
        """Of the first byte."""
    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """"""
    def __len__(self) -> int: ...
    def __repr__(self) -> str: ...

class CudaGraph:
    """A step that is traced, captured and launched again."""

    def __init__(self) -> None: ...
    def trace_begin(self) -> None: ...
    def trace_end(self) -> None: ...
    def capture_begin(self) -> None: ...
    def capture_end(self) -> None: ...
    def abandon(self) -> None: ...
    def launch(self) -> None: ...
    @property
    def is_captured(self) -> bool:
        """Whether launch() has something to run."""
    @property
    def nbytes(self) -> int:
        """Bytes of its own memory."""

class CudaStaging:
    """Pinned memory from which batches go to the GPU."""

    def __init__(self) -> None: ...
    def upload(self, *args: Any) -> list[Tensor]: ...

def activate(arg0: str, arg1: Any, arg2: Any, /) -> Any: ...
def activate_grad(arg0: str, arg1: Any, arg2: Any, arg3: Any, /) -> Any: ...
def activation(arg0: Any, arg1: Any, /) -> Any: ...
def activation_bias_grad(arg0: Any, arg1: Any, arg2: Any, /) -> tuple[Any, Any]: ...
def activation_grad_from_output(arg0: Any, arg1: Any, arg2: Any, /) -> Any: ...
def adam_numbers(
    arg0: int,
    arg1: float,
    arg2: float,
    arg3: float,
    arg4: float,
    arg5: bool,
    /,
) -> list[float]: ...
def adam_update(
    param: Any,
    grad: Any,
    m: Any,
    v: Any,
    step: Any,
    lr: Any,
    beta1: Any,
    beta2: Any,
    epsilon: Any,
    weight_decay: Any,
    decoupled: Any,
    live: Any = None,
) -> None: ...
def add(arg0: Any, arg1: Any, arg2: Any, /) -> Any: ...
def add_penalty(arg0: list[Tensor], arg1: list[Tensor], arg2: float, /) -> Tensor: ...
def allocated_bytes(arg0: Any, /) -> int: ...
def available_isas() -> list[str]: ...
def avg_pool2d(arg0: Any, arg1: Any, arg2: Any, arg3: Any, /) -> Any: ...
def avg_pool2d_grad(arg0: Any, arg1: Any, arg2: Any, arg3: Any, arg4: Any, /) -> Any: ...
def batch_invariant() -> bool: ...
def batch_norm(
    arg0: Any,
    arg1: Any,
    arg2: Any,
    arg3: Any,
    arg4: Any,
    arg5: Any,
    arg6: Any,
    arg7: bool,
    arg8: Any,
    /,
) -> tuple[Any, ...]: ...
def batch_norm_grad(
    arg0: Any,
    arg1: Any,
    arg2: Any,
    arg3: Any,
    arg4: Any,
    arg5: Any,
    arg6: bool,
    arg7: Any,
    arg8: Any,
    /,
) -> tuple[Any, ...]: ...
def bias_add(arg0: Any, arg1: Any, arg2: Any, /) -> Any: ...
def bias_grad(arg0: Any, /) -> Any: ...
def cast(arg0: Any, arg1: Any, /) -> Any: ...
def cast_into(arg0: Any, arg1: Any, /) -> None: ...
def col2im(arg0: Any, arg1: Any, arg2: Any, arg3: Any, arg4: Any, arg5: Any, /) -> Any: ...
def concat(arg0: Any, arg1: Any, /) -> Any: ...
def conv2d(
    arg0: Any,
    arg1: Any,
    arg2: Any,
    arg3: Any,
    arg4: Any,
    arg5: Any,
    arg6: Any,
    arg7: Any,
    arg8: Any,
    arg9: Any,
    arg10: Any,
    arg11: Any,
    /,
) -> Any: ...
def conv2d_algorithm(
    arg0: Any,
    arg1: Any,
    arg2: Any,
    arg3: Any,
    arg4: Any,
    arg5: Any,
    arg6: Any,
    /,
) -> str: ...
def conv2d_grad_input(
    arg0: Any,
    arg1: Any,
    arg2: Any,
    arg3: Any,
    arg4: Any,
    arg5: Any,
    arg6: Any,
    arg7: Any,
    arg8: Any,
    /,
) -> Any: ...
def conv2d_grad_weight(
    arg0: Any,
    arg1: Any,
    arg2: Any,
    arg3: Any,
    arg4: Any,
    arg5: Any,
    arg6: Any,
    arg7: Any,
    arg8: Any,
    /,
) -> Any: ...
def conv2d_output_shape(
    arg0: Any,
    arg1: Any,
    arg2: Any,
    arg3: Any,
    arg4: Any,
    arg5: Any,
    /,
) -> tuple[int, int, int, int]: ...
def conv2d_plan(
    arg0: Any,
    arg1: Any,
    arg2: Any,
    arg3: Any,
    arg4: Any,
    arg5: Any,
    arg6: Any,
    arg7: Any,
    arg8: bool,
    arg9: Any,
    /,
) -> tuple[str, str, str, tuple[Any, ...], int, int]: ...
def conv2d_plan_on_cuda(
    arg0: Any,
    arg1: Any,
    arg2: Any,
    arg3: Any,
    arg4: Any,
    arg5: Any,
    arg6: Any,
    arg7: Any,
    arg8: Any,
    arg9: Any,
    arg10: Any,
    /,
) -> tuple[Any, ...]: ...
def conv2d_statistics(
    arg0: Any,
    arg1: Any,
    arg2: Any,
    arg3: Any,
    arg4: Any,
    arg5: Any,
    arg6: Any,
    arg7: Any,
    arg8: Any,
    /,
) -> tuple[Any, Any, Any]: ...
def copy_bandwidth(arg0: Any, /) -> float: ...
def count_binary(arg0: Tensor, arg1: Tensor, arg2: float, /) -> Tensor: ...
def count_top_k(arg0: Tensor, arg1: Tensor, arg2: int, /) -> Tensor: ...
def crop2d(arg0: Any, arg1: Any, /) -> Any: ...
def cross_entropy(arg0: Any, arg1: Any, /) -> tuple[float, Any]: ...
def cuda_check_guards() -> None: ...
def cuda_device() -> tuple[str, int, int, int, int]: ...
def cuda_empty_cache() -> None: ...
def cuda_memory_stats() -> dict[str, Any]: ...
def cuda_reset_peak_memory() -> None: ...
def cuda_set_guards(arg0: Any, /) -> None: ...
def cuda_set_stream(arg0: Any, /) -> None: ...
def cuda_stream() -> int: ...
def cuda_synchronize() -> None: ...
def cuda_why() -> str: ...
def dropout(
    arg0: str,
    arg1: str,
    arg2: Any,
    arg3: Any,
    arg4: Any,
    arg5: Any,
    arg6: Any,
    /,
) -> Any: ...
def empty(arg0: Any, arg1: Any, arg2: str, /) -> Tensor: ...
def empty_cache() -> None: ...
def end_batch(
    arg0: Tensor,
    arg1: list[Tensor],
    arg2: list[float],
    arg3: list[float],
    arg4: list[Tensor],
    arg5: Tensor | None,
    arg6: float,
    arg7: int,
    arg8: bool,
    /,
) -> None: ...
def fma_peak() -> float: ...
def from_nchw(arg0: Any, /) -> Any: ...
def gemm(
    arg0: Any,
    arg1: Any,
    arg2: Any,
    arg3: bool,
    arg4: bool,
    arg5: Any,
    arg6: Any,
    /,
) -> Any: ...
def gemm_plan(
    arg0: Any,
    arg1: Any,
    arg2: Any,
    arg3: bool,
    arg4: bool,
    arg5: bool,
    /,
) -> tuple[str, str, int]: ...
def gemm_plan_on_cuda(
    arg0: Any,
    arg1: Any,
    arg2: Any,
    arg3: bool,
    arg4: bool,
    arg5: Any,
    arg6: Any,
    arg7: Any,
    /,
) -> tuple[Any, ...]: ...
def global_avg_pool2d(arg0: Any, /) -> Any: ...
def global_avg_pool2d_grad(arg0: Any, arg1: Any, /) -> Any: ...
def im2col(arg0: Any, arg1: Any, arg2: Any, arg3: Any, arg4: Any, /) -> Any: ...
def isa() -> str: ...
def local_response_norm(arg0: Any, arg1: Any, arg2: Any, arg3: Any, arg4: Any, /) -> Any: ...
def local_response_norm_grad(
    arg0: Any,
    arg1: Any,
    arg2: Any,
    arg3: Any,
    arg4: Any,
    arg5: Any,
    /,
) -> Any: ...
def log_softmax(arg0: Any, arg1: Any, /) -> Any: ...
def log_softmax_grad(arg0: Any, arg1: Any, arg2: Any, /) -> Any: ...
def loss_binary_cross_entropy(arg0: Tensor, arg1: Tensor, /) -> tuple[Any, ...]: ...
def loss_cross_entropy(arg0: Tensor, arg1: Tensor, /) -> tuple[Any, ...]: ...
def loss_hinge(arg0: Tensor, arg1: Tensor, arg2: float, /) -> tuple[Any, ...]: ...
def loss_squared_error(arg0: Tensor, arg1: Tensor, /) -> tuple[Any, ...]: ...
def max_pool2d(arg0: Any, arg1: Any, arg2: Any, arg3: Any, /) -> Any: ...
def max_pool2d_grad(arg0: Any, arg1: Any, arg2: Any, arg3: Any, arg4: Any, /) -> Any: ...
def max_pool2d_grad_from_indices(
    arg0: Any,
    arg1: Any,
    arg2: Any,
    arg3: Any,
    arg4: Any,
    arg5: Any,
    /,
) -> Any: ...
def max_pool2d_indices(arg0: Any, arg1: Any, arg2: Any, arg3: Any, /) -> tuple[Any, Any]: ...
def memory_stats() -> dict[str, Any]: ...
def moving_average(arg0: Any, arg1: Any, arg2: Any, arg3: Any, /) -> None: ...
def num_threads() -> int: ...
def pool2d_output_shape(
    arg0: Any,
    arg1: Any,
    arg2: Any,
    arg3: Any,
    /,
) -> tuple[int, int, int, int]: ...
def random_bits(arg0: Any, arg1: Any, arg2: Any, arg3: Any, /) -> Any: ...
def random_normal(
    arg0: Any,
    arg1: Any,
    arg2: Any,
    arg3: Any,
    arg4: Any,
    arg5: Any,
    arg6: Any,
    arg7: str,
    /,
) -> Tensor: ...
def random_uniform(
    arg0: Any,
    arg1: Any,
    arg2: Any,
    arg3: Any,
    arg4: Any,
    arg5: Any,
    arg6: Any,
    arg7: str,
    /,
) -> Tensor: ...
def reset_peak_memory() -> None: ...
def resolve_padding(
    arg0: Any,
    arg1: Any,
    arg2: Any,
    arg3: Any,
    arg4: Any,
    /,
) -> tuple[tuple[int, int], tuple[int, int]]: ...
def rmsprop_update(
    param: Any,
    grad: Any,
    square_avg: Any,
    lr: Any,
    rho: Any,
    epsilon: Any,
    weight_decay: Any,
    live: Any = None,
) -> None: ...
def scale(arg0: Any, arg1: Any, /) -> Any: ...
def set_batch_invariant(arg0: bool, /) -> None: ...
def set_cache_limit(arg0: Any, /) -> None: ...
def set_isa(arg0: str, /) -> None: ...
def set_num_threads(arg0: Any, /) -> None: ...
def set_record(arg0: Tensor, arg1: float, arg2: float, arg3: float, arg4: int, /) -> None: ...
def sgd_update(
    param: Any,
    grad: Any,
    velocity: Any,
    lr: Any,
    momentum: Any,
    nesterov: Any,
    weight_decay: Any,
    live: Any = None,
) -> None: ...
def softmax(arg0: Any, arg1: Any, /) -> Any: ...
def softmax_grad(arg0: Any, arg1: Any, arg2: Any, /) -> Any: ...
def split(arg0: Any, arg1: Any, arg2: Any, /) -> list[Any]: ...
def take_images(
    arg0: Tensor,
    arg1: Tensor,
    arg2: Tensor,
    arg3: int,
    arg4: int,
    arg5: float,
    arg6: Tensor | None,
    arg7: Tensor | None,
    arg8: str,
    /,
) -> Tensor: ...
def to_nchw(arg0: Any, /) -> Any: ...
def zero_pad2d(arg0: Any, arg1: Any, /) -> Any: ...
def zeros(arg0: Any, arg1: Any, arg2: str, /) -> Tensor: ...
