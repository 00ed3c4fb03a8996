"""Guides: what may be said, decided byte by byte. A guide is a small immutable term; `compile` makes it run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass, fields
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

from espalier.constraints import compile
from espalier.constraints.compiled.engines import Engine, NativeMachine
from espalier.constraints.compiled.leaf import Leaf
from espalier.constraints.limits import Limits, taught, teaching
from espalier.constraints.tokens import TokenGuide
from espalier.errors import InvalidInput
from espalier.token_constraint import Together, restricts

if TYPE_CHECKING:
    from espalier.text.vocab import Vocab
    from espalier.token_constraint import TokenConstraint

State = Hashable


class Guide(ABC):
    """A set of texts (byte strings) that can be followed byte by byte.

    Law: `advance(start(), b)` is None iff no text of the set begins with b, for guides whose `exactness` is "exact"; a
    guide that is "over" may allow some b that cannot be finished (and never refuses one that can). States are immutable,
    hashable values: keep them, compare them, go on from any of them. Guides combine: `a & b`, `a | b`, `a + b`,
    `a.repeat(lo, hi)`, and `~a` where that is decidable.

    Write one of your own with three methods: `start`, `advance`, `accepts`. It combines with every other guide; token masks
    come from walking the vocabulary. State `exactness = "exact"` if it is. An answer that makes no sense raises `InvalidInput`.
    Guides print as what they were made of, can be pickled, and never change: a copy is the guide itself.

    >>> import espalier as es
    >>> class Balanced(es.Guide):
    ...     exactness = "exact"
    ...     def start(self):
    ...         return 0
    ...     def advance(self, depth, data):
    ...         for byte in data:
    ...             depth += (byte == ord("(")) - (byte == ord(")"))
    ...             if depth < 0 or byte not in b"()":
    ...                 return None
    ...         return depth
    ...     def accepts(self, depth):
    ...         return depth == 0
    >>> sums = Balanced() + es.regex("[0-9]+")
    >>> sums, sums.matches(b"(())12"), sums.matches(b"(()12")
    (Balanced() + regex('[0-9]+'), True, False)
    """

    @property
    def exactness(self) -> str:
        """ "exact", or "over": may allow a beginning that no text of the set has."""
        return "over"

    lazy: bool = False  # True: checks are dear; rows check tokens in the order in which they would be chosen, without a mask

    @abstractmethod
    def start(self) -> Any:
        """The state before the first byte. Raises `Unsatisfiable` if the set is known to be empty."""

    @abstractmethod
    def advance(self, state: Any, data: bytes) -> Any | None:
        """The state after these bytes, None if no text of the set goes on like this."""

    @abstractmethod
    def accepts(self, state: Any) -> bool:
        """Whether the text may end here."""

    def forced(self, state: Any) -> bytes:
        """The bytes with which every continuation begins (b"" if the text may end here, or go on in two ways)."""
        return b""

    def progress(self, state: Any) -> Any:
        """How far a text has got with what it owes, for searches that keep banks; 0 where nothing is counted."""
        engine: object = self.engine
        return 0 if engine is self else getattr(engine, "progress", lambda state: 0)(state)

    @property
    def engine(self) -> Engine:
        """What follows the bytes: what the guide was compiled to."""
        return Leaf(self)

    def matches(self, data: bytes) -> bool:
        """Whether the text is in the set.

        >>> from espalier.constraints import regex
        >>> regex("a{2,3}").matches(b"aaa")
        True
        """
        engine = self.engine
        state = engine.advance(engine.start(), data)
        return state is not None and engine.accepts(state)

    def over(self, vocab: Vocab) -> TokenConstraint:
        """This guide as a constraint on the tokens of a vocabulary: what `scorer * guide` uses.

        >>> import espalier as es
        >>> from espalier.text.vocab import Vocab
        >>> law = es.regex("ab*").over(Vocab([b"a", b"b", b"ab", None], end=[3]))
        >>> law.mask(law.start()).tolist()
        [True, False, True, False]
        """
        return TokenGuide(self, vocab)

    def __and__(self, other: Any) -> Any:
        if not isinstance(other, Guide) and restricts(other):
            return Together(self, other)
        return Both(self, _operand(self, "&", other))

    def __or__(self, other: Guide) -> Guide:
        return Alt(self, _operand(self, "|", other))

    def __add__(self, other: Guide) -> Guide:
        return Seq(self, _operand(self, "+", other))

    def __invert__(self) -> Guide:
        return Not(self)

    def repeat(self, lo: int = 0, hi: int | None = None) -> Guide:
        """This guide's texts, one after the other, from `lo` to `hi` of them (None: any number).

        >>> from espalier.constraints import regex
        >>> regex("ab").repeat(2, 3).matches(b"abab")
        True
        """
        return Repeat(self, lo, hi)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: Any) -> Self:
        return self

    def __repr__(self) -> str:
        public = [f"{name}={value!r}" for name, value in vars(self).items() if not name.startswith("_")]
        return f"{type(self).__name__}({', '.join(public)})"


def _operand(guide: Guide, sign: str, other: Any) -> Guide:
    if not isinstance(other, Guide):
        hint = f"es.choices([{other!r}])" if isinstance(other, (str, bytes)) else "es.regex(…) or es.choices([…])"
        raise InvalidInput(f"{guide!r} {sign} {other!r}: both sides are guides; write {hint}")
    return other


class MachineGuide(NativeMachine, Guide):
    """A leaf: the guide of a native machine. It remembers by which call it was made, so that it prints and can be pickled."""

    _made: tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]] | None = None

    @property
    def engine(self) -> Engine:
        return self

    def by(self, make: Callable[..., Any], *args: Any, **options: Any) -> Self:
        """This guide, marked as what `make(*args, **options)` returns; options that are None or False are left out."""
        self._made = make, args, {name: value for name, value in options.items() if value is not None and value is not False}
        return self

    def __repr__(self) -> str:
        if self._made is None:
            return f"<{self.exactness} guide {self.name}>"
        make, args, options = self._made
        shown = [_short(arg) for arg in args] + [f"{name}={_short(value)}" for name, value in options.items()]
        return f"{make.__name__}({', '.join(shown)})"

    def __reduce__(self) -> Any:
        if self._made is None:
            raise InvalidInput(f"{self!r} was made from a native machine by hand, so it cannot be pickled")
        make, args, options = self._made
        return partial(make, *args, **options), ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MachineGuide) or self._made is None:
            return self is other
        return self._made == other._made

    def __hash__(self) -> int:
        return hash((type(self), self.name))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 120 else text[:100] + "…" + text[-10:]


class Term(Guide):
    """A guide made of guides. What it compiles to is made once, when the term is."""

    def __post_init__(self) -> None:
        assert self.engine  # made now: what cannot be compiled is told at once

    @cached_property
    def engine(self) -> Engine:
        return self._compiled()

    @abstractmethod
    def _compiled(self) -> Engine: ...

    @property
    def exactness(self) -> str:
        return self.engine.exactness

    def start(self) -> Any:
        return self.engine.start()

    def advance(self, state: Any, data: bytes) -> Any | None:
        return self.engine.advance(state, data)

    def accepts(self, state: Any) -> bool:
        return self.engine.accepts(state)

    def forced(self, state: Any) -> bytes:
        return self.engine.forced(state)

    def __reduce__(self) -> Any:
        return type(self), tuple(getattr(self, field.name) for field in fields(self))  # type: ignore[arg-type]


@dataclass(frozen=True, repr=False)
class _Pair(Term):
    a: Guide
    b: Guide

    sign: ClassVar[str]
    level: ClassVar[int]  # how tightly Python binds the sign
    combined: ClassVar[Callable[[Engine, Engine, str], Engine]]

    def _compiled(self) -> Engine:
        a, b = self.a.engine, self.b.engine
        return type(self).combined(a, b, f"({a.label}) {self.sign} ({b.label})")

    def __repr__(self) -> str:
        return f"{_in(self.a, self.level)} {self.sign} {_in(self.b, self.level + 1)}"


class Both(_Pair):
    """`a & b`: the texts in a and in b. Exact if both are regular, else "over".

    >>> from espalier.constraints import regex
    >>> (regex("a*b*") & regex(".{3}") | regex("b+") + regex("c")).matches(b"aab")
    True
    """

    sign, level, combined = "&", 2, compile.both


class Alt(_Pair):
    """`a | b`: the texts in a or in b; exact if both are."""

    sign, level, combined = "|", 1, compile.either


class Seq(_Pair):
    """`a + b`: a text of a followed by a text of b; exact if both are."""

    sign, level, combined = "+", 3, compile.then


@dataclass(frozen=True, repr=False)
class Repeat(Term):
    """`a.repeat(lo, hi)`: `lo` to `hi` texts of a, one after the other (None: any number); exact if a is."""

    a: Guide
    lo: int = 0
    hi: int | None = None

    def _compiled(self) -> Engine:
        label = f"({self.a.engine.label}){{{self.lo},{'' if self.hi is None else self.hi}}}"
        return compile.repeat(self.a.engine, self.lo, self.hi, label)

    def __repr__(self) -> str:
        return f"{_in(self.a, 5)}.repeat({self.lo}, {self.hi})"


@dataclass(frozen=True, repr=False)
class Not(Term):
    """`~a`: the well-formed UTF-8 texts that are not in a; only for regular guides."""

    a: Guide

    def _compiled(self) -> Engine:
        return compile.complement(self.a.engine, f"~({self.a.engine.label})")

    def __repr__(self) -> str:
        return f"~{_in(self.a, 4)}"


def _in(guide: Guide, level: int) -> str:
    own = guide.level if isinstance(guide, _Pair) else 4 if isinstance(guide, Not) else 5
    return repr(guide) if own >= level else f"({guide!r})"


__all__ = ["Alt", "Both", "Guide", "Limits", "MachineGuide", "Not", "Repeat", "Seq", "Term", "taught", "teaching"]
