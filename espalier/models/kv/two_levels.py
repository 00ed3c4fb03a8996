"""Keys and values in two levels, 4 bits and 4 more, with recent rows in full: one store that is read in two precisions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from espalier.errors import require
from espalier.models.kv import fourbit
from espalier.models.kv.layout import Plan
from espalier.models.kv.pool import FULL, Pool, Run, Slots
from espalier.models.kv.store import KV
from espalier.prefix import Prefix

__all__ = ["LevelKV", "LevelPool", "both", "coded_until", "encode", "upper", "width"]


def width(numbers: int) -> int:
    """The bytes of a slot of so many numbers: 4 + 4 bits each and a quarter byte for scales.

    >>> width(192)
    240
    """
    return fourbit.width(numbers) + numbers // 2


def encode(numbers: Tensor) -> Tensor:
    """Numbers [..., n] as bytes [..., width(n)]: `fourbit` codes, then what they miss in sixteenths of a step, -8 … 7.

    `both` is within 1/16 of a step, half of that but for ties; `upper` within half a step.

    >>> x = torch.linspace(-1, 1, 32); codes = encode(x)
    >>> bool((both(codes, 32) - x).abs().max() < 0.006), bool((upper(codes, 32) - x).abs().max() < 0.04)
    (True, True)
    """
    codes = fourbit.pack(numbers)
    missed = _grouped(numbers.float() - fourbit.unpack(codes), fourbit.GROUP)
    by = _steps(codes)
    low = (
        torch.where(by > 0, 16 * missed / torch.where(by > 0, by, 1), 0).round().clamp(-8, 7).add(8).to(torch.uint8).flatten(-2)
    )
    half = low.shape[-1] // 2
    return torch.cat([codes, low[..., :half] | low[..., half:] << 4], -1)


def upper(codes: Tensor, numbers: int) -> Tensor:
    """What the upper 4 bits say, float32 [..., numbers]."""
    return fourbit.unpack(codes[..., : fourbit.width(numbers)])


def both(codes: Tensor, numbers: int) -> Tensor:
    """What all 8 bits say, float32 [..., numbers]."""
    high, low = codes[..., : fourbit.width(numbers)], codes[..., fourbit.width(numbers) :]
    digits = _grouped(torch.cat([low & 15, low >> 4], -1).float() - 8, fourbit.GROUP)
    return fourbit.unpack(high) + (digits * _steps(high) / 16).flatten(-2)


def _grouped(numbers: Tensor, size: int) -> Tensor:
    return numbers.reshape(*numbers.shape[:-1], numbers.shape[-1] // size, size)


def _steps(codes: Tensor) -> Tensor:
    return _grouped(codes, fourbit.GROUP // 2 + 4)[..., -2:].contiguous().view(torch.bfloat16).float()


def coded_until(position: int, group: int) -> int:
    """Below which position a row reads codes: it has `group` rows or more before it in full, and fewer than twice as many.

    >>> [coded_until(position, 4) for position in (0, 7, 8, 11, 12)]
    [0, 0, 4, 4, 8]
    """
    return max(0, (position // group - 1) * group)


class LevelPool(Pool):
    """Slots whose keys and values are codes; those that were written last have rows in full besides (`recent` [2, L, F, n]).

    `row[slot]`: which row in full, -1 for none; `coded[slot]`: whether the codes were written.
    """

    recent: Tensor

    def __init__(self, layers: int, numbers: int, dtype: torch.dtype, device: torch.device | str, limit: int) -> None:
        self.numbers, self._full = numbers, (layers, numbers, dtype, torch.device(device))
        super().__init__(layers, width(numbers), torch.uint8, device, limit)

    def reset(self) -> None:
        super().reset()
        self.row, self.coded = np.full(self.capacity, -1, np.int64), np.zeros(self.capacity, bool)
        self._unused: list[int] = []
        self.recent = self._rows(0)

    def _rows(self, count: int) -> Tensor:
        layers, numbers, dtype, device = self._full
        with torch.inference_mode(False):
            return torch.zeros(2, layers, count, numbers, dtype=dtype, device=device)

    def hold(self, slots: Slots) -> None:
        """Sees to rows in full for these slots, which are going to be written."""
        new = np.unique(slots[self.row[slots] < 0])
        if len(new) > len(self._unused):
            before = self.recent.shape[2]
            grown = self._rows(max(64, 2 * before, before + len(new)))
            grown[:, :, :before] = self.recent
            self._unused = list(range(grown.shape[2] - 1, before - 1, -1)) + self._unused
            self.recent = grown
        self.row[new] = [self._unused.pop() for _ in new]

    def settle(self, slots: Slots) -> None:
        """Gives up the rows in full of those of these slots that have codes."""
        self._give_up(slots[self.coded[slots]])
        held = self.recent.shape[2] - len(self._unused)
        if 4 * held < self.recent.shape[2] and self.recent.shape[2] > 256:
            living = np.flatnonzero(self.row >= 0)
            packed = self._rows(2 * held)
            packed[:, :, :held] = self.recent[:, :, torch.from_numpy(self.row[living]).to(self.recent.device)]
            self.row[living] = np.arange(held)
            self.recent, self._unused = packed, list(range(2 * held - 1, held - 1, -1))

    def _give_up(self, slots: Slots) -> None:
        rows = self.row[slots]
        self._unused.extend(rows[rows >= 0].tolist())
        self.row[slots] = -1

    def release(self, slots: Slots) -> None:
        super().release(slots)
        gone = slots[self._counts[slots] == 0]
        self._give_up(gone)
        self.coded[gone] = False

    def resize(self, capacity: int, holders: Sequence[Slots]) -> None:
        before, living = self.capacity, np.flatnonzero(self._counts)
        stays = before <= capacity <= self.keys.shape[1] and self._memories
        super().resize(capacity, holders)
        from_ = np.arange(before) if stays else living
        row, coded = self.row[from_], self.coded[from_]
        self.row, self.coded = np.full(capacity, -1, np.int64), np.zeros(capacity, bool)
        self.row[: len(from_)], self.coded[: len(from_)] = row, coded


class LevelKV(KV):
    """A store of keys and values in two levels (QuantSpec: Tiwari et al. 2025, arXiv 2502.10424), in slots as `KV`'s.

    A row reads the codes of what lies before `coded_until` its position and the rest in full: which, depends on its position
    alone, so a text does not depend on how it was cut into passes. Codes are written once, when a row first reads them,
    `group` rows or more behind the last: a draft of at most `group` - 2 tokens that is rejected touches rows in full only. A
    fork from further back than what is still there in full is computed again from its start. The `budget` is that of the codes.

    >>> kv, x = LevelKV(layers=1, width=16, dtype=torch.float32, group=4), Prefix([1, 2, 3])
    >>> kv.bytes_per_token, KV(layers=1, width=16, dtype=torch.bfloat16).bytes_per_token
    (40, 64)
    """

    _pool: LevelPool

    def __init__(
        self,
        layers: int,
        width: int,
        dtype: torch.dtype,
        device: torch.device | str = "cpu",
        budget: int = 4 << 30,
        context: int | None = None,
        group: int = 64,
    ) -> None:
        require(group >= 4, f"group={group}: at least 4 rows are kept in full")
        require(width % fourbit.GROUP == 0, f"a slot of {width} numbers is not whole groups of {fourbit.GROUP}")
        super().__init__(layers, globals()["width"](width), torch.uint8, device, budget, context)
        self._pool = LevelPool(layers, width, dtype, device, self._pool.limit)
        self.group = group

    @property
    def levels(self) -> LevelPool:
        """The slots, for the executor that reads and writes them."""
        return self._pool

    @property
    def nbytes(self) -> int:
        """The bytes held now: codes, and recent rows in full."""
        return super().nbytes + self._pool.recent.nbytes

    def plan(
        self, prefixes: Sequence[Prefix], rows: int | None = None, ahead: Sequence[tuple[Prefix, int]] = (), depth: int = FULL
    ) -> Plan:
        with self._moving, self._changes:
            self._collect()
            for x in {id(x): x for x in [*prefixes, *(x for x, _ in ahead)]}.values():
                self._renew(x)
        return super().plan(prefixes, rows, ahead, depth)

    def _renew(self, x: Prefix) -> None:
        """Forgets what was read of `x` if rows that it needs in full are there as codes only."""
        path, nodes = self._chain(x)
        found = [path]
        for node in nodes:
            have = self._have(node)
            run = self._run(node)
            if run is not None:
                found.append(run.slots)
            if have < len(node.tokens):
                break
        slots = np.concatenate(found)
        if self._there(slots, min(len(slots), len(x) - 1)):
            return
        for node in x.up():
            if run := self._own(node):
                self._drop(run)
        for run in self._runs.values():
            run.path = None

    def _there(self, slots: Slots, position: int) -> bool:
        """Whether a row at `position`, above which these slots lie, finds in full what it reads in full."""
        return bool((self._pool.row[slots[coded_until(position, self.group) : position]] >= 0).all())

    def _adopt(self, root: Prefix) -> Run | None:
        run = super()._adopt(root)
        if run is None or self._there(run.slots, min(len(run.slots), len(root) - 1)):
            return run
        self._drop(run)
        return None
