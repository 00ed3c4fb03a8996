"""Guides: what may be said, decided byte by byte."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from espalier import _grammar
from espalier.errors import InvalidInput, LimitExceeded

if TYPE_CHECKING:
    from espalier.text.vocab import Vocab
    from espalier.token_constraint import TokenConstraint

State = Hashable


@dataclass(frozen=True)
class Limits:
    """How much one guide may cost; past a bound `LimitExceeded` names the place instead of hanging.

    `compile_ms` bounds the building of a guide and each single call on bytes, `mask_us` each single mask, `states` and
    `memory_mb` what one call may add to the process. `None` = unlimited. Raises `InvalidInput` for what is no bound.

    >>> Limits(compile_ms=50).compile_ms
    50
    """

    compile_ms: float | None = 10_000
    states: int | None = 2_000_000
    memory_mb: float | None = 1_000
    mask_us: float | None = 10_000_000

    def __post_init__(self) -> None:
        for name, bound in vars(self).items():
            number = isinstance(bound, (int, float)) and not isinstance(bound, bool)
            if bound is not None and not (number and bound > 0):
                raise InvalidInput(f"Limits({name}={bound!r}): a bound is a number above 0, or None for no bound")

    def native(self) -> Any:
        """The bounds as the engine takes them."""
        bounds = [bound if bound is not None and bound < 2**63 else 0 for bound in vars(self).values()]  # 0 = no bound
        compile_ms, states, memory_mb, mask_us = bounds
        return _grammar.Limits(compile_ms, math.ceil(states), memory_mb, mask_us)


class Guide(ABC):
    """A set of texts (byte strings) that can be followed byte by byte.

    Law: `advance(start(), b)` is None iff no text of the set begins with b, for guides whose `exactness` is "exact"; a
    guide that is "over" may allow some b that cannot be finished (and never refuses one that can). States are immutable,
    hashable values: keep them, compare them, go on from any of them. Guides combine: `a & b`, `a | b`, `a + b`,
    `a.repeat(lo, hi)`, and `~a` where that is decidable.

    >>> import espalier.constraints as es
    >>> word = es.regex("[a-z]+")
    >>> state = word.advance(word.start(), b"ab")
    >>> word.accepts(state), word.advance(state, b"!"), (word + es.choices([".", "!"])).matches(b"ab!")
    (True, None, True)
    """

    @property
    @abstractmethod
    def exactness(self) -> str:
        """ "exact", or "over": may allow a beginning that no text of the set has."""

    @abstractmethod
    def start(self) -> State:
        """The state before the first byte. Raises `Unsatisfiable` if the set is known to be empty."""

    @abstractmethod
    def advance(self, state: Any, data: bytes) -> State | None:
        """The state after these bytes, None if no text of the set goes on like this."""

    @abstractmethod
    def accepts(self, state: Any) -> bool:
        """Whether the text may end here."""

    @abstractmethod
    def forced(self, state: Any) -> bytes:
        """The bytes with which every continuation begins (b"" if the text may end here, or go on in two ways)."""

    @abstractmethod
    def native(self) -> Any:
        """What computes token masks for this guide: a matcher, or a pair of them."""

    def matches(self, data: bytes) -> bool:
        """Whether the text is in the set.

        >>> from espalier.constraints import regex
        >>> regex("a{2,3}").matches(b"aaa")
        True
        """
        state = self.advance(self.start(), data)
        return state is not None and self.accepts(state)

    def over(self, vocab: Vocab) -> TokenConstraint:
        """This guide as a constraint on the tokens of a vocabulary: what `scorer * guide` uses.

        >>> import espalier as es
        >>> from espalier.text.vocab import Vocab
        >>> law = es.regex("ab*").over(Vocab([b"a", b"b", b"ab", None], end=[3]))
        >>> law.mask(law.start()).tolist()
        [True, False, True, False]
        """
        from espalier.constraints.tokens import TokenGuide

        return TokenGuide(self, vocab)

    def __and__(self, other: Guide) -> Guide:
        from espalier.constraints.compile import both

        return both(self, other) if isinstance(other, Guide) else NotImplemented

    def __or__(self, other: Guide) -> Guide:
        from espalier.constraints.compile import either

        return either(self, other) if isinstance(other, Guide) else NotImplemented

    def __add__(self, other: Guide) -> Guide:
        from espalier.constraints.compile import then

        return then(self, other) if isinstance(other, Guide) else NotImplemented

    def __invert__(self) -> Guide:
        from espalier.constraints.compile import complement

        return complement(self)

    def repeat(self, lo: int = 0, hi: int | None = None) -> Guide:
        """This guide's texts, one after the other, from `lo` to `hi` of them (None: any number)."""
        from espalier.constraints.compile import repeat

        return repeat(self, lo, hi)


class MachineGuide(Guide):
    """The guide of a native machine. `expression` is its regular expression (an id of the store) if it is regular.

    States are small integers of this guide's matcher; equal situations have equal states.
    """

    _FORCED = 1 << 16  # bytes looked ahead at most

    def __init__(self, machine: Any, name: str, *, limits: Limits | None = None, expression: int | None = None) -> None:
        self.name, self.limits, self.expression = name, limits or Limits(), expression
        with teaching():
            self._matcher = _grammar.Matcher(machine, name, self.limits.native())
        self._maskers: dict[str, Any] = {}

    @property
    def exactness(self) -> str:
        return "exact" if self._matcher.machine.exact else "over"

    def start(self) -> int:
        with teaching():
            state: int = self._matcher.start()
        if state == 0:
            from espalier.errors import Unsatisfiable

            raise Unsatisfiable(f"{self.name}: no text at all satisfies this")
        return state

    def advance(self, state: int, data: bytes) -> int | None:
        with teaching():
            return self._matcher.advance(state, data) or None

    def accepts(self, state: int) -> bool:
        with teaching():
            accepts: bool = self._matcher.accepts(state)
        return accepts

    def forced(self, state: int) -> bytes:
        with teaching():
            data: bytes = self._matcher.forced(state, self._FORCED)
        return data

    def matches(self, data: bytes) -> bool:
        with teaching():
            found: bool = self._matcher.matches(data)
        return found

    def native(self) -> Any:
        return self._matcher

    def masker(self, vocab: Any) -> Any:
        """The native masks of this guide over a vocabulary, made once."""
        from espalier.constraints.vocab_masks import trie

        key = vocab.fingerprint
        if key not in self._maskers:
            self._maskers[key] = _grammar.Masker(self._matcher, trie(vocab), sorted(vocab.end))
        return self._maskers[key]

    def __repr__(self) -> str:
        return f"<{self.exactness} guide {self.name}>"


class teaching:  # a context manager, written like a function
    """Turns the engine's errors into this library's; what is called within takes a guide's state, or bytes, or both."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, _grammar.GrammarError):
            raise taught(str(error)) from None
        if isinstance(error, TypeError) and "incompatible function arguments" in str(error):
            raise InvalidInput(
                "the text of a guide is bytes, and a state one of its own: guide.matches(text.encode())"
            ) from None


def taught(message: str) -> Exception:
    """The error of this library that says what the engine said."""
    return (LimitExceeded if "Limits" in message else InvalidInput)(message)
