"""Shapers that look at the text so far: their states are values kept with prefixes, made token by token."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from espalier.prefix import Prefix
from espalier.prefix_state import PrefixState
from espalier.shaper import Shaper

S = TypeVar("S")
_BLOCK = 256  # tokens after which counts are summed up: a row costs the same after any number of them


class History(Shaper, Generic[S]):
    """A shaper with a memory: `begin(x)` is its state after given tokens, `step(state, token)` after one more that was written.

    States are immutable values: forks share them, what is rolled back is forgotten with its prefix. A step is to cost O(1) or
    O(log t), never a scan of the text; `begin` may read all of x, once per prompt. `shape` is one row in a state.

    >>> import espalier as es
    >>> class Alternate(History[int]):  # no token twice in a row
    ...     stage = es.Stage.LOGITS
    ...     def begin(self, x):
    ...         return x.last
    ...     def step(self, state, token):
    ...         return token
    ...     def shape(self, row, state):
    ...         return row.index_fill(0, torch.tensor([state]), -1e4)
    >>> model = es.models.Table.random(vocab_size=2, depth=1, seed=0)
    >>> [x] = es.run(es.sample(model | Alternate(), es.Prefix([0]), es.stop.budget(4), es.Rng(0)))
    >>> x.ids()
    [0, 1, 0, 1, 0]
    """

    @abstractmethod
    def begin(self, x: Prefix) -> S:
        """The state after x, all of whose tokens count as given."""

    @abstractmethod
    def step(self, state: S, token: int) -> S:
        """The state after one more written token; the old one stays what it is."""

    @abstractmethod
    def shape(self, row: Tensor, state: S) -> Tensor:
        """The shaped row [V]; never changes its input in place."""

    @cached_property
    def state(self) -> PrefixState[S]:
        """The state after each prefix."""
        return PrefixState(self._after, written=True)

    def _after(self, node: Prefix, above: S | None) -> S:
        if node is node.origin:
            return self.begin(node)
        state: S = above  # type: ignore[assignment]
        for token in node.tokens:
            state = self.step(state, token)
        return state

    def __call__(self, weights: Tensor, prefixes: Sequence[Prefix]) -> Tensor:
        if len(prefixes) == 1:
            return self.shape(weights[0], self.state(prefixes[0]))[None]
        return torch.stack([self.shape(row, self.state(x)) for row, x in zip(weights, prefixes, strict=True)])


@dataclass(frozen=True, slots=True)
class Counts:
    """How often each token occurred: whole blocks as a vector over token ids, what came since as tokens.

    >>> counts = Counts.of([1, 1]) + 3
    >>> counts.block.tolist(), counts.recent, len(counts)
    ([0.0, 2.0], (3,), 3)
    """

    block: Tensor
    recent: tuple[int, ...] = ()
    length: int = 0

    @classmethod
    def of(cls, tokens: Sequence[int] = ()) -> Counts:
        """The counts of these tokens."""
        return cls(_counted(tokens), (), len(tokens))

    def __len__(self) -> int:
        return self.length

    def __add__(self, token: int) -> Counts:
        recent = (*self.recent, token)
        if len(recent) < _BLOCK:
            return replace(self, recent=recent, length=self.length + 1)
        new, old = _counted(recent), self.block
        if len(new) < len(old):
            new, old = old, new
        total = new.clone()
        total[: len(old)] += old
        return Counts(total, (), self.length + 1)

    def subtract(self, row: Tensor, amount: float) -> Tensor:
        """The row without `amount` for each time that its tokens occurred."""
        row = row.clone()
        if len(self.block):
            row[: len(self.block)].sub_(self.block.to(row.device), alpha=amount)
        if self.recent:
            row.index_add_(0, _index(self.recent, row), row.new_full((len(self.recent),), -amount))
        return row

    def replace_seen(self, row: Tensor, new: Tensor) -> Tensor:
        """The row with the values of `new` for the tokens that occurred."""
        size = len(self.block)
        if size:
            seen = torch.where(self.block.to(row.device) > 0, new[:size], row[:size])
            row = seen if size == len(row) else torch.cat([seen, row[size:]])
        if self.recent:
            at = _index(tuple(set(self.recent)), row)
            row = row.index_copy(0, at, new[at])
        return row


def _counted(tokens: Sequence[int]) -> Tensor:
    return torch.from_numpy(np.bincount(np.asarray(tokens, dtype=np.int64)).astype(np.float32))


def _index(tokens: tuple[int, ...], row: Tensor) -> Tensor:
    return torch.tensor(tokens, device=row.device, dtype=torch.long)
