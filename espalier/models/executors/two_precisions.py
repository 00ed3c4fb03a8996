"""Passes that read codes of older keys and values, in 4 bits or in 8, and recent ones in full."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from espalier.models.executors.eager import Eager, Inputs, visible
from espalier.models.executors.sublayers import Sublayers
from espalier.models.kv.layout import Pass
from espalier.models.kv.pool import Slots
from espalier.models.kv.two_levels import LevelPool, both, coded_until, encode, upper

__all__ = ["TwoPrecisions"]


class TwoPrecisions:
    """The reference executor on a store in two levels: with 8 `bits` it reads both of older rows, with 4 the upper one.

    The reader of 8 bits is the target; what it has left behind by `group` rows is given up in full.
    """

    stages = False

    def __init__(self, inner: Eager, pool: LevelPool, group: int, bits: Literal[4, 8] = 8) -> None:
        self.inner, self.pool, self.group, self.bits = inner, pool, group, bits
        self.layers, self.kv_dtype, self.device = inner.layers, inner.kv_dtype, inner.device

    def run(
        self, rows: Pass, keys: Tensor, values: Tensor, taps: bool, *, start: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        pool, (inputs, recent) = self.pool, self._inputs(rows)
        pool.hold(rows.slots)
        older = inputs.seen[recent:].numpy()
        fresh = older[~pool.coded[older]]
        stores: list[Any] = [_Store(pool, which, recent, fresh, self.bits) for which in (0, 1)]
        with torch.no_grad():
            found = self.inner.compute(inputs.to(self.device), stores[0], stores[1], taps, None, start)
        pool.coded[fresh] = True
        if self.bits == 8:
            self._settle(rows)
        return found

    def _inputs(self, rows: Pass) -> tuple[Inputs, int]:
        """The pass as tensors; of the columns that are seen, so many first are those in full, and the rest are codes."""
        seen, back = visible(rows)
        positions = rows.positions[:, None]
        bounds = np.maximum(0, (positions // self.group - 1) * self.group)  # coded_until
        coded = (back >= 0) & (positions - back < bounds)
        parts, columns = list[np.ndarray](), list[np.ndarray]()
        for mask in ((back >= 0) & ~coded, coded):
            some = mask.any(0)
            columns.append(seen[some])
            parts.append(np.where(mask, back, -1)[:, some])
        inputs = [torch.from_numpy(each.astype(np.int64)) for each in (rows.tokens, rows.slots, rows.out)]
        at = torch.from_numpy(rows.positions).to(torch.float32)
        columns_, back_ = torch.from_numpy(np.concatenate(columns)), torch.from_numpy(np.concatenate(parts, 1))
        return Inputs(inputs[0], at, inputs[1], columns_, back_, inputs[2]), len(columns[0])

    def _settle(self, rows: Pass) -> None:
        for s in range(len(rows.bounds) - 1):
            path = rows.paths[rows.starts[s] : rows.starts[s + 1]]
            first = len(path) - int(rows.bounds[s + 1] - rows.bounds[s])
            from_, to = (coded_until(position - self.group, self.group) for position in (first, len(path)))
            if to > from_:
                self.pool.settle(path[from_:to])

    def read(self, hidden: Tensor, norm: bool) -> Tensor:
        return self.inner.read(hidden, norm)

    def upper(self) -> TwoPrecisions:
        """The executor that reads the upper 4 bits of the same store."""
        return TwoPrecisions(self.inner, self.pool, self.group, 4)

    def partial(self, layers: Sequence[int]) -> Eager:
        return self.inner.partial(layers)

    def within(self, layers: Sequence[Sublayers]) -> TwoPrecisions:
        return TwoPrecisions(self.inner.within(layers), self.pool, self.group, 4)


class _Store:
    """Keys, or values, as the reference's arithmetic reads and writes them: `store[layer, slots]`."""

    def __init__(self, pool: LevelPool, which: int, recent: int, fresh: Slots, bits: int) -> None:
        self.dtype, self._full, self._codes = pool.recent.dtype, pool.recent[which], (pool.keys, pool.values)[which]
        self._numbers, self._recent, self._decode = pool.numbers, recent, both if bits == 8 else upper
        device = self._full.device
        self._row, self._fresh = torch.from_numpy(pool.row).to(device), torch.from_numpy(fresh).to(device)

    def __setitem__(self, at: tuple[int, Tensor], numbers: Tensor) -> None:
        self._full[at[0], self._row[at[1]]] = numbers

    def __getitem__(self, at: tuple[int, Tensor]) -> Tensor:
        layer, seen = at
        if len(self._fresh):
            self._codes[layer, self._fresh] = encode(self._full[layer, self._row[self._fresh]])
        recent, older = seen[: self._recent], seen[self._recent :]
        rows = self._row[recent]
        found = self._full[layer, rows.clamp(min=0)]
        if bool((rows < 0).any()):  # a draft from further back than what is there in full
            found[rows < 0] = self._decode(self._codes[layer, recent[rows < 0]], self._numbers).to(self.dtype)
        if not len(older):
            return found
        return torch.cat([found, self._decode(self._codes[layer, older], self._numbers).to(self.dtype)])
