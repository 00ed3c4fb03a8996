"""Shapers that remember their own earlier rows: what is noted of a row decides about the state after its next token."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from espalier.errors import DeadEnd
from espalier.prefix import Prefix
from espalier.rows import Rows
from espalier.shaper import Shaper

S = TypeVar("S")
N = TypeVar("N")


class RowHistory(Shaper, Generic[S, N]):
    """A shaper whose state follows the tokens and the rows that they were drawn from.

    `begin(x)` is the state after given tokens; `shape(row, state)` returns the shaped row and a small note of it;
    `step(state, token, note)` is the state after a token that follows that row. Notes and states are values kept with
    prefixes, so a row depends on its own path alone: rows above it that nobody has asked for are asked for first. Of several
    tokens written at once only the first has a row, the others leave the state as it is.
    """

    def __init__(self) -> None:
        self._notes: WeakKeyDictionary[Prefix, N] = WeakKeyDictionary()
        self._states: WeakKeyDictionary[Prefix, S] = WeakKeyDictionary()

    @abstractmethod
    def begin(self, x: Prefix) -> S:
        """The state after x, all of whose tokens count as given."""

    @abstractmethod
    def shape(self, row: Tensor, state: S) -> tuple[Tensor, N]:
        """The shaped row [V], and what `step` needs to know of it."""

    @abstractmethod
    def step(self, state: S, token: int, note: N) -> S:
        """The state after `token`, which follows the row of which `note` was taken."""

    def state(self, x: Prefix) -> S:
        """The state after x, made of the rows above it that have been shaped."""
        path = [x]
        while path[-1] not in self._states and path[-1] is not path[-1].origin:
            path.append(path[-1].parent)  # type: ignore[arg-type]
        top = path.pop()
        state, known = self._states[top] if top in self._states else self.begin(top), True
        self._states[top] = state
        for node in reversed(path):
            above: Prefix = node.parent  # type: ignore[assignment]
            if above in self._notes and node.tokens:
                state = self.step(state, node.tokens[0], self._notes[above])
            known = known and (above in self._notes or not node.tokens)
            if known:
                self._states[node] = state
        return state

    def __call__(self, weights: Tensor, prefixes: Sequence[Prefix]) -> Tensor:
        shaped: list[Tensor] = [weights[i] for i in range(len(prefixes))]
        for i in sorted(range(len(prefixes)), key=lambda i: len(prefixes[i])):
            shaped[i], self._notes[prefixes[i]] = self.shape(weights[i], self.state(prefixes[i]))
        return torch.stack(shaped)

    def unseen(self, prefixes: Sequence[Prefix]) -> list[Prefix]:
        here, found = set(prefixes), dict[Prefix, None]()
        for x in prefixes:
            while x is not x.origin and x not in self._states:
                x = x.parent  # type: ignore[assignment]
                if x not in self._notes and x not in here:
                    found[x] = None
        return sorted(found, key=len)

    def see(self, rows: Rows) -> None:
        parents = {x.parent for x in rows.prefixes if x is not x.origin}
        for i in sorted(range(len(rows)), key=lambda i: len(rows.prefixes[i])):
            if rows.prefixes[i] in parents and rows.prefixes[i] not in self._notes:
                try:
                    rows[i].dense()
                except DeadEnd:
                    continue
