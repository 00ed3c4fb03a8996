"""Prefixes: immutable runs of tokens linked to their parents. Forking is sharing, rolling back is forgetting."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from espalier.errors import InvalidInput


class Query(Protocol):
    """What a model can be asked about: hashable, with an origin. A `Prefix` is one, a canvas with holes another.

    >>> query: Query = Prefix([1, 2]) + 3
    >>> query.origin.ids()
    [1, 2]
    """

    def __hash__(self) -> int: ...
    @property
    def origin(self) -> Any:
        """What was given; itself, if all of it was."""


class Prefix:
    """A sequence of tokens, as a node of a tree: its own run of tokens below a parent.

    A prefix knows no model, no guide and no text. Whoever has a value for it (keys and values, a guide's state) keeps that
    value in a weak map of its own, so the value lives exactly as long as somebody holds the prefix. Two nodes with equal
    tokens are different prefixes: identity is what values hang on.

    Tokens are either *given* (a prompt, a later turn of a chat) or *written* by a decoder (`x + token`); `origin` is the
    nearest given node, so what was written is `x.since(x.origin)`. Guides start, and penalties and budgets count, there.

    >>> x = Prefix([1, 2, 3])
    >>> y = x + 5 + [6, 7]
    >>> y.ids(), len(y), y.since(x), y.last, y.origin is x
    ([1, 2, 3, 5, 6, 7], 6, [5, 6, 7], 7, True)
    """

    __slots__ = ("__weakref__", "_origin", "length", "parent", "tokens")

    parent: Prefix | None
    tokens: tuple[int, ...]
    length: int

    def __init__(self, tokens: Iterable[int] = (), parent: Prefix | None = None, *, written: bool = False) -> None:
        try:
            self.tokens = tuple(map(operator.index, tokens))
        except TypeError as error:
            raise InvalidInput(
                f"a prefix was made of {tokens!r}, but tokens are whole numbers; a text becomes a prefix by lm.prompt(text)"
            ) from error
        self.parent = parent
        self.length = len(self.tokens) + (parent.length if parent is not None else 0)
        self._origin = parent.origin if written and parent is not None else None  # never itself: a cycle would outlive its use

    def __add__(self, more: int | Iterable[int]) -> Prefix:
        """The prefix with these tokens written after it; a new node at every call."""
        return Prefix((more,) if isinstance(more, int) else more, self, written=True)

    def given(self, tokens: Iterable[int]) -> Prefix:
        """The prefix followed by tokens that were not written by a decoder: the next turn's prompt, with its own origin."""
        return Prefix(tokens, self)

    @property
    def origin(self) -> Prefix:
        """The nearest node, this one or one above it, whose tokens were given."""
        return self if self._origin is None else self._origin

    @property
    def last(self) -> int:
        """The last token. Raises IndexError for an empty prefix."""
        for node in self.up():
            if node.tokens:
                return node.tokens[-1]
        raise IndexError("the empty prefix has no last token")

    def up(self) -> Iterator[Prefix]:
        """This node, its parent, and so on up to the root."""
        node: Prefix | None = self
        while node is not None:
            yield node
            node = node.parent

    def path(self) -> list[Prefix]:
        """The nodes from the root down to this one."""
        return list(self.up())[::-1]

    def ids(self) -> list[int]:
        """All tokens, from the first."""
        return [token for node in self.path() for token in node.tokens]

    def since(self, ancestor: Prefix) -> list[int]:
        """The tokens after an ancestor. Raises ValueError if `ancestor` is not above this node."""
        runs: list[tuple[int, ...]] = []
        for node in self.up():
            if node is ancestor:
                return [token for run in reversed(runs) for token in run]
            runs.append(node.tokens)
        raise ValueError("since() was given a prefix that is not an ancestor of this one")

    def written(self) -> list[int]:
        """The tokens that decoders wrote after what was given."""
        return self.since(self.origin)

    def tail(self, n: int) -> list[int]:
        """The last n tokens (all of them if there are fewer), without walking further up than that."""
        runs: list[tuple[int, ...]] = []
        missing = n
        for node in self.up():
            if missing <= 0:
                break
            runs.append(node.tokens[-missing:])
            missing -= len(runs[-1])
        return [token for run in reversed(runs) for token in run]

    def __len__(self) -> int:
        return self.length

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        tail = ", ".join(map(str, self.tail(8)))
        return f"Prefix([{'…, ' if len(self) > 8 else ''}{tail}], length={len(self)})"
