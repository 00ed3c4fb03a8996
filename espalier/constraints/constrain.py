"""`scorer * guide`: a scorer whose rows are restricted by a guide, with the guide's states attached to prefixes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from espalier.errors import InvalidInput, require
from espalier.prefix import Prefix
from espalier.prefix_state import PrefixState
from espalier.rows import Limit, Rows
from espalier.scorer import Answer, Ask, Scorer, Wrapper
from espalier.shaper import Stage

State = Hashable


@runtime_checkable
class TokenLaw(Protocol):
    """A constraint at the level of tokens: immutable states, a check, and a mask. `exactness` is "exact" or "over"
    ("over" may allow a token after which no text can be finished; decoders then back up)."""

    exactness: str

    def start(self) -> Any: ...
    def advance(self, state: Any, token: int) -> Any | None: ...
    def allowed(self, state: Any, token: int) -> bool: ...
    def mask(self, state: Any) -> Tensor: ...  # bool [V]


def states(law: TokenLaw) -> PrefixState[Any]:
    """The state of a constraint after each prefix, counted from the prefix's origin; None once it has left the constraint."""

    def step(node: Prefix, above: Any) -> Any:
        state = law.start() if node is node.origin else above
        for token in () if node is node.origin else node.tokens:
            state = law.advance(state, token) if state is not None else None
        return state

    return PrefixState(step, written=True)


class Constrained(Wrapper):
    """The inner scorer under a constraint on what is written after each prefix's origin.

    Guarantee: a row gives mass only to tokens that the constraint allows there. States are kept per prefix, so forks
    share them and rolling back is forgetting. The law of `sample` is p(v | x) restricted and renormalised step by step,
    which is not p(text | text is valid).
    """

    def __init__(self, inner: Scorer, law: TokenLaw) -> None:
        inner.admit(Stage.CONSTRAINT, "a constraint")
        super().__init__(inner, Stage.CONSTRAINT)
        self.law = law
        self.state = states(law)  # after x; None if x has left the constraint
        self._shut: WeakKeyDictionary[Prefix, frozenset[int]] = WeakKeyDictionary()

    @classmethod
    def over(cls, inner: Scorer, guide: Any) -> Constrained:
        """`inner * guide`, for a guide over bytes (which needs the scorer's vocabulary) or a constraint over tokens."""
        if isinstance(guide, TokenLaw) and hasattr(guide, "allowed"):
            return cls(inner, guide)
        from espalier.constraints.guide import Guide
        from espalier.constraints.tokens import TokenGuide

        require(
            isinstance(guide, Guide),
            f"scorer * {guide!r}: expected a guide such as es.regex('[a-z]+') or es.json_schema(…)",
        )
        if inner.vocab is None:
            raise InvalidInput(
                "this scorer has no vocabulary, so a guide over bytes cannot be used with it; "
                "give the model one (model.vocab = Vocab(…)) or pass TokenGuide(guide, vocab)"
            )
        return cls(inner, TokenGuide(guide, inner.vocab))

    def answer(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Answer:
        rows: Rows = yield Ask(self.inner, prefixes, want)
        limits: list[Limit | None] = [self._limit(x) for x in prefixes]
        if rows.limits is not None:
            limits = [a if b is None else Both(a, b) for a, b in zip(limits, rows.limits, strict=True) if a is not None]
        return rows.limited(limits)

    def viable(self, prefix: Prefix) -> bool:
        return self.state(prefix) is not None and self.inner.viable(prefix)

    def forbid(self, prefix: Prefix, token: int) -> None:
        self._shut[prefix] = self._shut.get(prefix, frozenset()) | {token}

    def _limit(self, x: Prefix) -> StateLimit:
        return StateLimit(self.law, self.state(x), self._shut.get(x, frozenset()))


class StateLimit:
    """What a constraint in some state says of one row."""

    __slots__ = ("_mask", "law", "shut", "state")

    def __init__(self, law: TokenLaw, state: State | None, shut: frozenset[int]) -> None:
        self.law, self.state, self.shut = law, state, shut
        self._mask: Tensor | None = None

    def allowed(self, token: int) -> bool:
        if self.state is None or token in self.shut:
            return False
        return self.law.allowed(self.state, token)

    def mask(self) -> Tensor:
        if self._mask is None:
            if self.state is None:  # the mask of an inexact guide let a token through that its check refuses: a dead end
                return torch.zeros_like(self.law.mask(self.law.start()))
            self._mask = self.law.mask(self.state)
            if self.shut:
                self._mask = self._mask.clone()
                self._mask[torch.tensor(sorted(self.shut), device=self._mask.device)] = False
        return self._mask


class Both:
    """Two limits at once."""

    __slots__ = ("a", "b")

    def __init__(self, a: Limit, b: Limit) -> None:
        self.a, self.b = a, b

    def allowed(self, token: int) -> bool:
        return self.a.allowed(token) and self.b.allowed(token)

    def mask(self) -> Tensor:
        return self.a.mask() & self.b.mask()
