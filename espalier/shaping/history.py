"""Shapers that look at the text so far: their states are values kept with prefixes, made token by token."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from espalier.prefix import Prefix
from espalier.prefix_state import PrefixState
from espalier.shaper import Edit, Shaper

S = TypeVar("S")
_BLOCK = 64  # tokens after which counts are summed up


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

    def changes(self, state: S) -> Sequence[Edit] | None:
        """What `shape` does in this state, where that is to change a few logits; None if it must see the row."""
        return None

    def edits(self, x: Prefix) -> Sequence[Edit] | None:
        return self.changes(self.state(x)) if _by_changes(type(self)) else None

    def __call__(self, weights: Tensor, prefixes: Sequence[Prefix]) -> Tensor:
        if len(prefixes) == 1:
            return self.shape(weights[0], self.state(prefixes[0]))[None]
        return torch.stack([self.shape(row, self.state(x)) for row, x in zip(weights, prefixes, strict=True)])


@cache
def _by_changes(kind: type) -> bool:
    """Whether a class says what it changes, and no class below that one shapes rows another way."""
    first = next(each for each in kind.__mro__ if {"changes", "shape", "__call__"} & vars(each).keys())
    return first is not History and "changes" in vars(first)


@dataclass(frozen=True, slots=True)
class Counts:
    """How often each token occurred: the tokens of whole blocks with their numbers, and what came since.

    >>> counts = Counts.of([1, 1]) + 3 + 3
    >>> counts.tokens.tolist(), counts.times.tolist(), counts.recent, counts.fresh, len(counts)
    ([1], [2.0], (3, 3), (3,), 4)
    """

    tokens: np.ndarray  # int32, each once, rising
    times: np.ndarray  # float32
    recent: tuple[int, ...] = ()
    fresh: tuple[int, ...] = ()  # of the recent ones those that had not occurred before, each once
    length: int = 0

    @classmethod
    def of(cls, tokens: Sequence[int] = ()) -> Counts:
        """The counts of these tokens."""
        return cls(*_counted(np.asarray(tokens, np.int32), np.ones(len(tokens), np.float32)), length=len(tokens))

    def __len__(self) -> int:
        return self.length

    def __add__(self, token: int) -> Counts:
        if len(self.recent) + 1 == _BLOCK:
            tokens, times = np.append(self.each[0], np.int32(token)), np.append(self.each[1], np.float32(1))
            return Counts(*_counted(tokens, times), length=self.length + 1)
        at = int(self.tokens.searchsorted(token))
        known = token in self.fresh or (at < len(self.tokens) and self.tokens[at] == token)
        fresh = self.fresh if known else (*self.fresh, token)
        return Counts(self.tokens, self.times, (*self.recent, token), fresh, self.length + 1)

    @property
    def seen(self) -> np.ndarray:
        """The tokens that occurred, each once (int32)."""
        return np.concatenate([self.tokens, np.array(self.fresh, np.int32)])

    @property
    def each(self) -> tuple[np.ndarray, np.ndarray]:
        """Tokens (int32) and how often they occurred (float32): those of whole blocks once, later ones as they came."""
        recent = np.array(self.recent, np.int32)
        return np.concatenate([self.tokens, recent]), np.concatenate([self.times, np.ones(len(recent), np.float32)])

    def subtract(self, row: Tensor, amount: float) -> Tensor:
        """The row without `amount` for each time that its tokens occurred."""
        tokens, times = self.each
        return row.index_add(0, _index(tokens, row), torch.from_numpy(times * np.float32(-amount)).to(row))

    def replace_seen(self, row: Tensor, new: Tensor) -> Tensor:
        """The row with the values of `new` for the tokens that occurred."""
        plain = row.is_cpu and row.dtype == new.dtype == torch.float32
        if plain and not (row.requires_grad or new.requires_grad):  # numpy looks up a few in half the time
            changed, places = row.clone(), self.seen
            changed.numpy()[places] = new.numpy()[places]
            return changed
        at = _index(self.seen, row)
        return row.scatter(0, at, new.gather(0, at))


def _counted(tokens: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each token once, rising, with the sum of its numbers."""
    found, at = np.unique(tokens, return_inverse=True)
    return found, np.bincount(at, times, len(found)).astype(np.float32)


def _index(tokens: np.ndarray, row: Tensor) -> Tensor:
    return torch.from_numpy(tokens.astype(np.int64)).to(row.device)
