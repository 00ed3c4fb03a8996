"""How many threads torch's own operations use, changed for the calling thread alone."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from pathlib import Path


@cache
def _openmp() -> ctypes.PyDLL | None:
    """The OpenMP library that torch has loaded; None if it shares its work by other means."""
    import torch

    beside = Path(torch.__file__).parent / "lib"
    names = [str(path) for kind in ("libgomp*", "libiomp*", "libomp*") for path in sorted(beside.glob(kind))]
    for name in [*names, "libgomp.so.1", "libiomp5.so", "libomp.so", "libomp.dylib"]:
        try:
            found = ctypes.PyDLL(name, mode=getattr(os, "RTLD_NOLOAD", 0) | getattr(os, "RTLD_LAZY", 0))
            found.omp_set_num_threads, found.omp_get_max_threads  # noqa: B018 - raises AttributeError where they are missing
        except (OSError, AttributeError):
            continue
        if _counts(found):
            return found
    return None


def _counts(library: ctypes.PyDLL) -> bool:
    """Whether this is the library whose number torch asks for."""
    import torch

    threads = torch.get_num_threads()
    library.omp_set_num_threads(threads + 1)
    try:
        return torch.get_num_threads() == threads + 1
    finally:
        library.omp_set_num_threads(threads)


class one_thread:
    """While it lasts, torch works on the calling thread alone.

    Between passes rows are too small to share, and the threads that torch would wake keep spinning on the cores that the
    next pass needs (a third of the time of a pass of sixteen rows on two cores). `torch.set_num_threads` would change it for
    threads that are born meanwhile, and for good; OpenMP's own number belongs to the calling thread. Where torch is built
    without OpenMP nothing is changed.

    >>> import torch
    >>> before = torch.get_num_threads()
    >>> with one_thread():
    ...     pass
    >>> torch.get_num_threads() == before
    True
    """

    __slots__ = ("_library", "_threads")

    def __enter__(self) -> None:
        self._library = _openmp() if "torch" in sys.modules else None
        if self._library is not None:
            self._threads = self._library.omp_get_max_threads()
            self._library.omp_set_num_threads(1)

    def __exit__(self, *raised: object) -> None:
        if self._library is not None:
            self._library.omp_set_num_threads(self._threads)
