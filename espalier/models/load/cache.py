"""The cache folder: models that were fetched and converted, each complete or absent."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from espalier.errors import LoadError
from espalier.models.load import digests


def home() -> Path:
    """The cache folder: `$ESPALIER_HOME`, or `~/.cache/espalier`."""
    return Path(os.environ.get("ESPALIER_HOME") or Path.home() / ".cache" / "espalier").expanduser()


def place(name: str) -> Path:
    """Where a model of this name lies once it is complete."""
    return home() / "models" / name


def complete(name: str) -> Path | None:
    """The folder of a cached model, or None if it is not there, or not whole (see `digests.whole`)."""
    folder = place(name)
    return folder if digests.whole(folder) else None


def size(folder: Path) -> int:
    """The bytes that a folder takes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name != digests.NAME)


@contextmanager
def locked(name: str, waiting: Callable[[], object]) -> Iterator[None]:
    """While it lasts no other process makes what is called `name`; `waiting()` is called if another one is making it."""
    path = home() / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        waiting()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def disk_error(error: OSError, what: str) -> LoadError:
    """What to tell a person whose disk refused to take `what`."""
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        advice = "free some space, or point ESPALIER_HOME to a larger disk"
    else:
        advice = "set ESPALIER_HOME to a folder that can be written"
    return LoadError(f"{what} cannot be stored under {home()}: {reason}; {advice}. Nothing was left half-written")


def require_space(needed: int, what: str) -> None:
    """Raises `LoadError` if the disk of the cache folder has less than `needed` bytes free."""
    folder = home()
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise LoadError(
            f"{what} needs {needed / 1e6:.0f} MB under {folder}, where {free / 1e6:.0f} MB are free; free some space, or point "
            "ESPALIER_HOME to a larger disk"
        )


def build(name: str, fill: Callable[[Path], object], waiting: Callable[[], object] = lambda: None) -> Path:
    """The folder of the model `name`, made by `fill(folder)` unless it is there already.

    Guarantee: the folder appears whole or not at all: `fill` works in a temporary folder beside it, which is renamed at the
    end and removed after any error or interruption. One process fills, others wait (`waiting()` is called once) and use what
    it made. What a killed process left behind is removed by the next one, and a folder that is not what was written (half of
    it, or cut off since) is made again. A disk that is full is a `LoadError`.
    """
    if (done := complete(name)) is not None:
        return done
    target = place(name)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(name, waiting):
            if (done := complete(name)) is not None:
                return done
            for left in target.parent.glob(f".{name}.*"):
                shutil.rmtree(left, ignore_errors=True)
            work = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=target.parent))
            try:
                fill(work)
                digests.write_digests(work)
                work.chmod(0o755)
                if target.exists():  # what lies there is not whole
                    shutil.rmtree(target) if target.is_dir() and not target.is_symlink() else target.unlink()
                work.rename(target)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise disk_error(error, f"the model {name!r}") from error
    return target
