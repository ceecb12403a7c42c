"""Whether computations can run on a graphics card: not yet, this version has CPU kernels alone."""

from __future__ import annotations

__all__ = ["is_available", "why"]


def is_available() -> bool:
    """Return whether an op can run on a graphics card of this machine."""
    return False


def why() -> str:
    """Return in words why that is so."""
    return "not built: this version of sixloop has kernels for CPUs only"
