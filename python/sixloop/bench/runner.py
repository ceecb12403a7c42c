"""One run: every case is prepared, verified, timed in turns with its peers, and reported."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from sixloop import ops
from sixloop.bench import report, timing, verify
from sixloop.bench.cases import Case, Work, prepare

__all__ = ["run"]

# With fewer operations a byte memory decides, on any machine: its peak is tens of times as many.
_FLOP_PER_BYTE = 2


def run(
    cases: Iterable[Case],
    *,
    seconds: float,
    peer: ModuleType | None = None,
    show: Callable[[str], object] = lambda line: None,
) -> list[report.Row]:
    """Times cases, each after its results are verified.

    Args:
        cases: of `cases.cases`.
        seconds: for each row and library.
        peer: `sixloop.bench.torch_peer`, or None for sixloop alone.
        show: is given each line of the table as soon as it is known.

    Returns:
        The rows, see `report.row`.

    Raises:
        ValueError: a result that is wrong, ours or a peer's, or no case.
    """
    cases = list(cases)
    if not cases:
        raise ValueError("[bench] there is nothing to time")
    table = report.Table(cases, peers=peer is not None)
    show(table.head())
    rows = []
    for case in cases:
        rows.append(_time(case, prepare(case), peer, seconds))
        show(table.line(case, rows[-1]))
    return rows


def _time(case: Case, work: Work, peer: ModuleType | None, seconds: float) -> report.Row:
    what = f"{case.family} {case.name}"
    results = list(work.result())
    verify.check_samples(what, results, work.samples())
    calls: dict[str, Callable[[], Any]] = {report.OURS: work.run}
    if peer is not None:
        for name, other in peer.peers(case, work).items():
            theirs = other.result()
            verify.check_all(what, results[: len(theirs)], name, theirs)
            calls[name] = other.run
    del results
    memory_decides = case.bytes and case.flop < _FLOP_PER_BYTE * case.bytes
    copy_gbs = ops.copy_bandwidth(case.bytes) / 1e9 if memory_decides else None
    times, peak = timing.alternate(seconds, calls, least=3)
    return report.row(case, times, peak_gflops=peak, copy_gbs=copy_gbs, algorithm=work.algorithm)
