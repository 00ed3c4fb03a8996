"""Where a text is under a constraint: the states that follow prefixes, kept for as long as the prefixes live."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Protocol
from weakref import WeakKeyDictionary

from espalier.prefix import Prefix

State = Hashable


class Steps(Protocol):
    """The moves of a constraint over tokens: a first state, and the state after one more token, None if it is refused."""

    def start(self) -> Any: ...
    def advance(self, state: Any, token: int) -> Any | None: ...


class States:
    """The state of a constraint after each prefix, counted from the prefix's origin; None once it has left the constraint.

    Forks share what they have in common, and a forgotten prefix's state is forgotten.
    """

    def __init__(self, law: Steps) -> None:
        self.law = law
        self._states: WeakKeyDictionary[Prefix, State | None] = WeakKeyDictionary()

    def __call__(self, x: Prefix) -> Any | None:
        missing: list[Prefix] = []
        node = x
        while node not in self._states:
            missing.append(node)
            if node is node.origin or node.parent is None:
                break
            node = node.parent
        for node in reversed(missing):
            state: Any | None = self.law.start() if node is node.origin else self._states[node.parent]  # type: ignore[index]
            for token in () if node is node.origin else node.tokens:
                state = self.law.advance(state, token) if state is not None else None
            self._states[node] = state
        return self._states[x]
