"""Memory that grows where it lies: addresses for all that may come, pages only for what is used."""

from __future__ import annotations

import mmap
import sys

import numpy as np
import torch

__all__ = ["Memory"]

_NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)  # Linux: the machine need not promise all of it
_LARGEST = 1 << 40


class Memory:
    """Numbers [layers, slots, width] on the CPU, zero at first. `use` says how many slots of each layer are in use.

    Guarantee: to use more copies nothing and moves nothing; what is not used any more goes back to the system. Where the
    system cannot set addresses aside, `slots` is no more than `least`.

    >>> memory = Memory(layers=2, least=4, most=1000, width=3, dtype=torch.float32)
    >>> memory.tensor[1, 5] = 7; memory.use(256)
    >>> memory.tensor[1, 5].tolist()
    [7.0, 7.0, 7.0]
    """

    def __init__(self, layers: int, least: int, most: int, width: int, dtype: torch.dtype) -> None:
        self._slot, self._used = width * dtype.itemsize, 0
        self._mapped: mmap.mmap | None = None
        self.slots = max(1, most)
        self._layers = layers
        size = layers * self.slots * self._slot
        if sys.platform == "linux" and least < most and size <= _LARGEST:
            try:
                self._mapped = mmap.mmap(-1, max(1, size), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE)
            except (OSError, ValueError):
                self._mapped = None
        if self._mapped is None:
            self.slots = least
            memory = np.zeros(layers * least * self._slot, np.uint8)
        else:
            memory = np.frombuffer(self._mapped, np.uint8, size)
        with torch.inference_mode(False):
            self.tensor = torch.from_numpy(memory).view(dtype).view(layers, self.slots, width)
        self.use(least)

    def use(self, slots: int) -> None:
        """From now on the first so many slots of each layer are in use."""
        if self._mapped is not None and slots != self._used:
            fewer = slots < self._used
            for layer in range(self._layers):
                first = (layer * self.slots + min(slots, self._used)) * self._slot
                end = (layer * self.slots + max(slots, self._used)) * self._slot
                self._advise(first, end, fewer)
        self._used = slots

    def _advise(self, first: int, end: int, away: bool) -> None:
        """Gives whole pages between two bytes back, or wishes large ones there: reading streams through them."""
        assert self._mapped is not None
        page = mmap.PAGESIZE
        first = -(-first // page) * page if away else first // page * page
        end = end // page * page
        if first < end:
            self._mapped.madvise(mmap.MADV_DONTNEED if away else mmap.MADV_HUGEPAGE, first, end - first)
