"""Slots of keys and values: one growing pool per model, slots counted by how many hold them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from espalier.errors import require
from espalier.models.kv import fourbit
from espalier.models.kv.growing_memory import Memory
from espalier.prefix import Prefix

__all__ = ["FULL", "Pool", "Run", "Slots", "common"]

Slots = npt.NDArray[np.int32]
SMALLEST = 256  # slots for which memory is always held
FULL = 1 << 30  # the depth of what all layers have computed


@dataclass(eq=False, slots=True)
class Run:
    """The slots of one prefix node: of its first `len(slots)` tokens (fewer than it has while it is being prefilled).

    `states` [n, d + 1, D]: the residual stream before the first and after each of the d layers that an exit has computed of
    these tokens; None when all layers have.
    """

    key: int
    prefix: weakref.ref[Prefix]
    parent: int
    first: int
    slots: Slots
    used: int
    path: Slots | None = None  # slots of all ancestors and of this node; kept for what was asked last
    states: torch.Tensor | None = None

    @property
    def depth(self) -> int:
        """How many layers have keys and values in these slots."""
        return FULL if self.states is None else self.states.shape[1] - 1


class Pool:
    """A pool of slots; `keys` and `values` are [layers, capacity or more, width], in the pool's dtype (uint8: `fourbit`).

    Grows by doubling up to `limit` slots; on the CPU nothing moves then. A smaller size moves what lives to the front. A slot
    is free again when it has been released as often as it was taken and shared. `moved` counts slots that were copied.

    >>> pool = Pool(layers=1, width=2, dtype=torch.float32, device="cpu", limit=1000)
    >>> a = pool.take(3); pool.share(a[:2]); pool.release(a); pool.used
    2
    """

    _counts: npt.NDArray[np.int32]
    _free: list[int]
    keys: torch.Tensor
    values: torch.Tensor
    _memories: tuple[Memory, ...]
    moved = 0

    def __init__(self, layers: int, width: int, dtype: torch.dtype, device: torch.device | str, limit: int) -> None:
        require(limit >= 1, f"the budget of keys and values holds {limit} tokens, so nothing could be read; raise it")
        self._shape = (layers, width, dtype, torch.device(device))
        self.limit = limit
        self.reset()

    @property
    def capacity(self) -> int:
        """The number of slots for which memory is held."""
        return len(self._counts)

    @property
    def free(self) -> int:
        """The number of slots that can be taken without growing."""
        return len(self._free)

    @property
    def used(self) -> int:
        """The number of slots that somebody holds."""
        return len(self._counts) - len(self._free)

    def take(self, count: int) -> Slots:
        """`count` slots, in ascending order where the pool is fresh; there must be that many free."""
        slots = np.array(self._free[: -count - 1 : -1], np.int32)
        del self._free[-count:]
        self._counts[slots] = 1
        return slots

    def share(self, slots: Slots) -> None:
        """Holds the slots once more."""
        self._counts[slots] += 1

    def release(self, slots: Slots) -> None:
        """Holds the slots once less."""
        if len(slots) == 1:  # a drafted token: a tenth of the time
            slot = slots.item()
            self._counts[slot] -= 1
            if not self._counts[slot]:
                self._free.append(slot)
            return
        self._counts[slots] -= 1
        self._free.extend(slots[self._counts[slots] == 0][::-1].tolist())

    def copy(self, slots: Slots, other: Pool, theirs: Slots) -> None:
        """Copies the keys and values in the slots `theirs` of another pool into `slots` of this one, rounded to its dtype."""
        to, of = (torch.from_numpy(each.astype(np.int64)) for each in (slots, theirs))
        for mine, yours in ((self.keys, other.keys), (self.values, other.values)):
            copied = yours.index_select(1, of.to(yours.device))
            mine.index_copy_(1, to.to(mine.device), (fourbit.pack(copied) if mine.dtype == torch.uint8 else copied).to(mine))

    def fitting(self, count: int) -> int:
        """The capacity for `count` slots in use: a power of two (or the limit), so that it rarely changes."""
        return min(self.limit, max(SMALLEST, 1 << max(0, count - 1).bit_length()))

    def resize(self, capacity: int, holders: Sequence[Slots]) -> None:
        """A pool of another size. Where it has to be, what lives moves to the front: the slots in `holders` are renumbered."""
        before = self.capacity
        if before <= capacity <= self.keys.shape[1] and self._memories:
            for memory in self._memories:
                memory.use(capacity)
            self._counts = np.concatenate([self._counts, np.zeros(capacity - before, np.int32)])
            self._free = list(range(capacity - 1, before - 1, -1)) + self._free
            return
        living = np.flatnonzero(self._counts).astype(np.int32)
        numbers = np.zeros(max(1, before), np.int32)
        numbers[living] = np.arange(len(living), dtype=np.int32)
        for slots in holders:
            slots[:] = numbers[slots]
        index = torch.from_numpy(living.astype(np.int64)).to(self.keys.device)
        keys, values, memories = self.keys, self.values, self._memories
        if capacity > keys.shape[1] or not memories:
            keys, values, memories = self._tensors(capacity)
        keys[:, : len(living)] = self.keys[:, index]
        values[:, : len(living)] = self.values[:, index]
        self.keys, self.values, self._memories = keys, values, memories
        for memory in memories:
            memory.use(capacity)
        self.moved += len(living)
        counts = np.zeros(capacity, np.int32)
        counts[: len(living)] = self._counts[living]
        self._counts = counts
        self._free = list(range(capacity - 1, len(living) - 1, -1))

    def reset(self) -> None:
        """Frees all slots, whoever holds them, and the memory of all but the fewest."""
        self._counts = np.zeros(min(SMALLEST, self.limit), np.int32)
        self._free = list(range(len(self._counts) - 1, -1, -1))
        self.keys, self.values, self._memories = self._tensors(len(self._counts))

    def _tensors(self, capacity: int) -> tuple[torch.Tensor, torch.Tensor, tuple[Memory, ...]]:
        layers, width, dtype, device = self._shape
        if device.type == "cpu":
            keys, values = (Memory(layers, capacity, max(capacity, self.limit), width, dtype) for _ in range(2))
            return keys.tensor, values.tensor, (keys, values)
        with torch.inference_mode(False):
            shape = (layers, capacity, width)
            return torch.zeros(shape, dtype=dtype, device=device), torch.zeros(shape, dtype=dtype, device=device), ()


def common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens `a` and `b` have in common at the start."""
    return next((i for i, (s, t) in enumerate(zip(a, b, strict=False)) if s != t), min(len(a), len(b)))


def longest_path(
    tokens: Sequence[int], runs: Mapping[int, Run], children: Mapping[tuple[int, int], Sequence[int]], top: int = 0
) -> list[Slots]:
    """The slots of the longest living path from a root that begins as `tokens` do; `children`: (parent, first token) → keys,
    where `top` is the parent of roots."""
    best: list[Slots] = []
    stack: list[tuple[int, int, list[Slots]]] = [(top, 0, [])]
    longest = 0
    while stack:
        parent, depth, slots = stack.pop()
        if depth > longest:
            longest, best = depth, slots
        if depth == len(tokens):
            break
        for key in children.get((parent, tokens[depth]), ()):
            run = runs[key]
            node = run.prefix()
            if node is None or run.states is not None:
                continue
            same = common(node.tokens[: len(run.slots)], tokens[depth:])
            below = [*slots, run.slots[:same]]
            if same == len(node.tokens):
                stack.append((key, depth + same, below))
            elif depth + same > longest:
                longest, best = depth + same, below
    return best


def coldest(runs: Mapping[int, Run]) -> list[int]:
    """The keys of living runs, the least recently used first, leaves before their ancestors."""
    for run in runs.values():
        above = runs.get(run.parent)
        while above is not None and above.used < run.used:
            above.used = run.used
            above = runs.get(above.parent)
    living = [(-1, 0, key) if (x := run.prefix()) is None else (run.used, -len(x), key) for key, run in runs.items()]
    return [key for _, _, key in sorted(living)]


class Changes:
    """`with lock, changes:` a change of something shared is whole or undone.

    What an interrupt (Ctrl-C) left half done is not looked at again: whoever comes next calls `undo` first.

    >>> counts = [1]
    >>> changes = Changes(counts.clear)
    >>> try:
    ...     with changes:
    ...         counts.append(2)
    ...         raise KeyboardInterrupt
    ... except KeyboardInterrupt:
    ...     pass
    >>> with changes:
    ...     counts
    []
    """

    def __init__(self, undo: Callable[[], object]) -> None:
        self._undo, self.torn = undo, False

    def __enter__(self) -> None:
        if self.torn:
            self._undo()
        self.torn = True

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or issubclass(kind, Exception):
            self.torn = False
