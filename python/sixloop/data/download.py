"""Where data files are kept, and how missing ones are fetched.

Files are looked for in `root` and in its folder named after the data set. `root` is the argument,
else the environment variable SIXLOOP_DATA, else ``sixloop`` in the user's cache folder.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Remote", "data_root", "locate"]

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Remote:
    """A file to be downloaded.

    Attributes:
        name: the file's name, under each of the mirrors.
        mirrors: addresses of folders, tried in this order.
        checksum: "sha256:..." or "md5:...".
        of_content: whether the checksum is of the decompressed bytes of a gzip file: mirrors
            compress anew, the content stays.
    """

    name: str
    mirrors: tuple[str, ...]
    checksum: str
    of_content: bool = False

    def matches(self, path: Path) -> bool:
        """Return whether the file has the content that is expected; False if it is damaged."""
        import gzip
        import zlib

        algorithm, _, expected = self.checksum.partition(":")
        digest = hashlib.new(algorithm, usedforsecurity=False)
        try:
            with gzip.open(path) if self.of_content else path.open("rb") as file:
                while piece := file.read(1 << 20):
                    digest.update(piece)
        except (EOFError, gzip.BadGzipFile, zlib.error):
            return False
        return digest.hexdigest() == expected


def data_root(root: PathLike | None = None) -> Path:
    """Return the folder in which data sets are kept: `root`, SIXLOOP_DATA or a cache folder."""
    chosen = root if root is not None else os.environ.get("SIXLOOP_DATA")
    if chosen:
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        base = "~/Library/Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "sixloop"


def locate(
    dataset: str,
    candidates: Sequence[str],
    *,
    root: PathLike | None,
    remote: Remote,
    download: bool,
    unpack: Callable[[Path], None] | None = None,
) -> Path:
    """Return the path of a data file, after downloading it if need be.

    Args:
        dataset: name of the data set and of its folder.
        candidates: names that the file may have, relative to `root` or to its folder of that name.
        root: see `data_root`.
        remote: what to download into the folder when no candidate is there.
        download: whether to do that.
        unpack: makes a candidate out of the downloaded file, which is then removed.

    Raises:
        FileNotFoundError: the file is not there and could not be fetched; the message says what to
            put where.
    """
    base = data_root(root)
    folder = base / dataset
    for place in (base, folder):
        for candidate in candidates:
            if (place / candidate).is_file():
                return place / candidate

    files = " or ".join(dict.fromkeys((remote.name, candidates[0])))
    advice = (
        f"put {files} into {folder}, or name another folder with root= (--data-dir) or SIXLOOP_DATA"
    )
    if not download:
        raise FileNotFoundError(f"[{dataset}] {candidates[0]} not found in {base}; {advice}")
    try:
        from pooch import HTTPDownloader
    except ImportError as error:
        raise FileNotFoundError(
            f"[{dataset}] {candidates[0]} not found in {base}; {advice}, or install what "
            f"downloads it: pip install 'sixloop[download]'"
        ) from error

    target = folder / remote.name
    failures = []
    for mirror in remote.mirrors:
        partial = target.with_name(f"{target.name}.{os.getpid()}.part")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            fetch = HTTPDownloader(progressbar=sys.stderr.isatty(), timeout=30)
            fetch(mirror + remote.name, str(partial), None)
            if not remote.matches(partial):
                raise ValueError("the checksum of what came is wrong")
            partial.replace(target)
            break
        # requests raises OSErrors; a mirror in trouble may also send what no parser expects.
        except (OSError, ValueError) as error:
            failures.append(f"{mirror} ({_first_line(error)})")
        finally:
            partial.unlink(missing_ok=True)
    else:
        raise FileNotFoundError(
            f"[{dataset}] {candidates[0]} not found in {base}, and no mirror delivered it: "
            f"{'; '.join(failures)}. To go on without network, {advice}"
        )
    if unpack is not None:
        unpack(target)
        target.unlink()
        return locate(dataset, candidates, root=root, remote=remote, download=False)
    return target


def _first_line(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return text if len(text) <= 120 else text[:117] + "..."
