"""Parts by name: how a loss, metric, optimizer or schedule is built from what was asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def build(kind: str, table: Mapping[str, Callable[..., T]], spec: object) -> T:
    """Build the part that `spec` asks for.

    Args:
        kind: what the part is, for messages ("loss").
        table: constructors by name.
        spec: a name, or the mapping that the part's `config()` returned: its "name" and arguments.

    Raises:
        ValueError: unknown name (the message lists the valid ones) or a configuration without one.
        TypeError: `spec` is neither, or an argument is not the constructor's.
    """
    if isinstance(spec, str):
        name, arguments = spec, {}
    elif isinstance(spec, Mapping):
        arguments = {str(key): value for key, value in spec.items()}
        name = arguments.pop("name", None)
        if not isinstance(name, str):
            raise ValueError(f"[{kind}] a configuration needs a 'name'; got {dict(spec)!r}")
    else:
        raise TypeError(
            f"[{kind}] expected a name, a configuration or an object of this kind; got {spec!r}"
        )
    if name not in table:
        raise ValueError(f"[{kind}] unknown {kind} {name!r}; valid names: {', '.join(table)}")
    return table[name](**arguments)


def describe(part: object) -> dict[str, Any]:
    """Return what `build` needs to make `part` again, or {"custom": type} if it cannot."""
    config = getattr(part, "config", None)
    if callable(config):
        return dict(config())
    return {"custom": getattr(part, "__qualname__", type(part).__qualname__)}
