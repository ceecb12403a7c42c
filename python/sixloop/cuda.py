"""The GPU: whether there is one, its memory, its stream.

A model goes there by ``model.to("cuda")``, and a Trainer takes it there by itself; NumPy arrays
stay what goes in and comes out. Tensors go there by ``tensor.to("cuda")`` or
``sixloop.zeros(shape, device="cuda")``; arrays of other libraries on the GPU go into
``sixloop.ops`` through DLPack, and results back through ``torch.from_dlpack(result)`` or the like,
without a copy. There is one device: the first that CUDA_VISIBLE_DEVICES leaves.

Kernels run after the function that asked for them has returned, in the order of one stream. With
SIXLOOP_CUDA_SYNC=1 in the environment every launch is waited for, so that an error comes from the
op that made it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sixloop import _core


def is_available() -> bool:
    """Returns whether there is a GPU that this build can use."""
    return not _core.cuda_why()


def why() -> str:
    """Returns the reason why there is no GPU to use; empty where there is one."""
    return _core.cuda_why()


def device_name() -> str:
    """Returns the name of the GPU.

    Raises:
        RuntimeError: there is none; the message says why.
    """
    name: str = _core.cuda_device()[0]
    return name


def compute_capability() -> tuple[int, int]:
    """Returns the GPU's compute capability, (9, 0) for Hopper.

    Raises:
        RuntimeError: there is no GPU; the message says why.
    """
    major, minor = _core.cuda_device()[1:3]
    return major, minor


def memory_stats() -> dict[str, int]:
    """Returns counters of the GPU's memory.

    ``allocated`` and ``peak`` are bytes of tensors, ``reserved`` what the pool holds for them,
    ``free`` and ``total`` bytes of the device; ``requests`` counts allocations.
    """
    return _core.cuda_memory_stats()


def reset_peak_memory() -> None:
    """Makes ``peak`` what is allocated now."""
    _core.cuda_reset_peak_memory()


def empty_cache() -> None:
    """Gives the memory that the pool holds without use back to the driver."""
    _core.cuda_empty_cache()


def set_guards(on: bool) -> None:
    """Puts arrays that are allocated from now on between guard bands, to debug kernels.

    An array then begins as NaN, with 4 KiB on either side that no kernel may write to; an array of
    a kernel's own, too. Each allocation takes a pass over its memory and each release a wait.

    Args:
        on: whether to.
    """
    _core.cuda_set_guards(on)


def check_guards() -> None:
    """Looks at the guard bands of all arrays that :func:`set_guards` gave some.

    Raises:
        RuntimeError: one was written to since the last call; the message says how far from its
            array, which may be gone.
    """
    _core.cuda_check_guards()


def synchronize() -> None:
    """Waits until everything that has been asked for is done."""
    _core.cuda_synchronize()


def current_stream() -> int:
    """Returns the stream of all kernels, a cudaStream_t as a number."""
    return _core.cuda_stream()


def set_stream(handle: int | None) -> None:
    """Chooses the stream of all kernels and copies (process-wide), after what it was asked before.

    Args:
        handle: a cudaStream_t as a number, such as ``torch.cuda.current_stream().cuda_stream``; 1
            is the legacy default stream, 2 that of each thread, None the library's own. It must
            live until another one is chosen.
    """
    _core.cuda_set_stream(0 if handle is None else handle)


@contextmanager
def stream(handle: int | None) -> Iterator[None]:
    """Chooses the stream as :func:`set_stream` does, within a ``with`` block."""
    before = _core.cuda_stream()
    set_stream(handle)
    try:
        yield
    finally:
        set_stream(before)
