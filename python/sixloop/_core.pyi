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
    def dtype(self) -> np.dtype[Any]:
        """NumPy's dtype."""
    @property
    def device(self) -> str:
        """Where the memory lies."""
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
        """A writable NumPy view of the same memory, which it keeps alive."""
    def to(self, device: str) -> Tensor:
        """The tensor on another device; itself where it is there already."""
    def reshape(self, *args: Any) -> Tensor:
        """The same memory under another shape; one size may be -1."""
    def copy(self) -> Tensor:
        """A new tensor with the same elements."""
    def fill(self, value: Any) -> None:
        """Sets every element."""
    def item(self) -> Any:
        """The only element, as a Python number."""
    def __array__(self, dtype: Any = None, copy: Any = None) -> Any: ...
    def __dlpack__(self, **kwargs: Any) -> Any: ...
    def __dlpack_device__(self) -> Any: ...
    def __len__(self) -> int: ...
    def __repr__(self) -> str: ...

def add(arg0: Any, arg1: Any, /) -> Any: ...
def available_isas() -> list[str]: ...
def empty(arg0: Any, arg1: Any, /) -> Tensor: ...
def empty_cache() -> None: ...
def isa() -> str: ...
def memory_stats() -> dict[str, Any]: ...
def num_threads() -> int: ...
def reset_peak_memory() -> None: ...
def resolve_padding(
    arg0: Any,
    arg1: Any,
    arg2: Any,
    arg3: Any,
    arg4: Any,
    /,
) -> tuple[tuple[int, int], tuple[int, int]]: ...
def set_cache_limit(arg0: Any, /) -> None: ...
def set_isa(arg0: str, /) -> None: ...
def set_num_threads(arg0: Any, /) -> None: ...
def zeros(arg0: Any, arg1: Any, /) -> Tensor: ...
