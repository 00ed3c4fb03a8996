"""Constraints on tokens: what may stand right of `scorer *`, and what it says of one row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

from espalier.errors import InvalidInput, expect
from espalier.prefix import Prefix
from espalier.prefix_state import PrefixState

if TYPE_CHECKING:
    from numpy import ndarray
    from torch import Tensor

    from espalier.rows import Limit
    from espalier.text.vocab import Vocab

_WANTED = "a guide such as es.regex('[a-z]+') or es.json_schema(…), or an es.TokenConstraint"


class TokenConstraint(ABC):
    """What may stand right of `scorer *`: immutable, hashable states that follow the tokens, and a check of one token.

    Write `start` and `advance`; the state counts from the prefix's origin. `mask` is optional: without it rows go on checking
    tokens in the order in which they would be chosen, so a check may be as dear as a parser. `exactness` is "exact", or "over"
    if a token may be allowed after which no text can be finished (decoders then back up). A guide over bytes becomes one by
    `guide.over(vocab)`.

    Law: the rows of `scorer * constraint` are the scorer's rows restricted to the allowed tokens and renormalised, whether a
    mask is given or not.

    >>> import espalier as es
    >>> class Rising(TokenConstraint):  # every token is greater than the one before
    ...     exactness = "over"
    ...     def start(self):
    ...         return -1
    ...     def advance(self, state, token):
    ...         return token if token > state else None
    >>> model = es.models.Table.random(vocab_size=5, depth=1, seed=0)
    >>> [x] = es.run(es.sample(model * Rising(), es.Prefix([0]), es.stop.budget(3), es.Rng(0)))
    >>> x.written() == sorted(x.written())
    True
    """

    exactness: str = "over"

    @abstractmethod
    def start(self) -> Any:
        """The state before the first token. Raises `Unsatisfiable` if it is known that no text satisfies the constraint."""

    @abstractmethod
    def advance(self, state: Any, token: int) -> Any | None:
        """The state after this token, None if it is refused."""

    def allowed(self, state: Any, token: int) -> bool:
        """Whether this token may follow."""
        return self.advance(state, token) is not None

    def mask(self, state: Any) -> Tensor | None:
        """bool [V]: the tokens that may follow. None: no mask is at hand, check tokens instead."""
        return None

    def hint(self, state: Any) -> Tensor | None:
        """bool [V]: False where a token is certainly refused, if that is known without a check of each; else None."""
        return self.mask(state) if self.mask is not None else None

    def __and__(self, other: Any) -> Together:
        return Together(self).__and__(other)


def token_constraint(value: Any, vocab: Vocab | None) -> TokenConstraint:
    """What a value right of `scorer *` says of tokens: `value.over(vocab)`, or the value if it is a constraint on tokens.

    >>> token_constraint("abc", None)
    Traceback (most recent call last):
        ...
    espalier.errors.InvalidInput: what restricts a scorer was 'abc'; expected a guide such as es.regex('[a-z]+') or \
es.json_schema(…), or an es.TokenConstraint
    """
    if hasattr(value, "over") and not isinstance(value, type):
        if vocab is None and isinstance(value, TokenConstraint):
            return value  # it knows its tokens; a vocabulary would only give it a mask
        if vocab is None:
            raise InvalidInput(
                "this scorer has no vocabulary, so a guide over bytes cannot be used with it; "
                "give the model one (model.vocab = Vocab(…)) or write scorer * guide.over(vocab)"
            )
        value = value.over(vocab)
    if not restricts(value):
        expect(value, TokenConstraint, "what restricts a scorer", _WANTED)
    constraint: TokenConstraint = value
    return constraint


def restricts(value: Any) -> bool:
    """Whether `scorer * value` means something: a guide, or a constraint on tokens (by its methods, if not by its class)."""
    known = isinstance(value, TokenConstraint) or all(hasattr(value, name) for name in ("start", "advance", "allowed"))
    return not isinstance(value, type) and (known or hasattr(value, "over"))


class Together:
    """`guide & constraint`: guides and constraints on tokens, all of which must hold; `over(vocab)` makes it one constraint.

    >>> import espalier as es
    >>> from espalier.text.vocab import Vocab
    >>> class NotTwice(es.TokenConstraint):  # no token right after itself
    ...     def start(self):
    ...         return -1
    ...     def advance(self, state, token):
    ...         return None if token == state else token
    >>> law = (es.regex("a*b*") & NotTwice()).over(Vocab([b"a", b"b", None], end=[2]))
    >>> law.allowed(law.advance(law.start(), 0), 0), law.allowed(law.advance(law.start(), 0), 1)
    (False, True)
    """

    exactness = "over"

    def __init__(self, *parts: Any) -> None:
        self.parts = parts

    def over(self, vocab: Vocab) -> TokenConstraint:
        """The constraint that all parts make together; their checks are made in the order of the parts."""
        return _All([token_constraint(part, vocab) for part in self.parts])

    def __and__(self, other: Any) -> Together:
        if not restricts(other):
            expect(other, TokenConstraint, "what stands beside a constraint", _WANTED)
        return Together(*self.parts, other)

    def __repr__(self) -> str:
        return " & ".join(map(repr, self.parts))


class _All(TokenConstraint):
    def __init__(self, parts: list[TokenConstraint]) -> None:
        self.parts = parts

    def start(self) -> Any:
        return tuple(part.start() for part in self.parts)

    def advance(self, state: Any, token: int) -> Any | None:
        after = []
        for part, at in zip(self.parts, state, strict=True):
            following = part.advance(at, token)
            if following is None:
                return None
            after.append(following)
        return tuple(after)

    def allowed(self, state: Any, token: int) -> bool:
        return all(part.allowed(at, token) for part, at in zip(self.parts, state, strict=True))

    def mask(self, state: Any) -> Tensor | None:
        whole: Tensor | None = None
        for part, at in zip(self.parts, state, strict=True):
            made = getattr(part, "mask", None)
            mask = made(at) if made is not None else None
            if mask is None:
                return None
            whole = mask if whole is None else whole & mask
        return whole

    def hint(self, state: Any) -> Tensor | None:
        known: Tensor | None = None
        for part, at in zip(self.parts, state, strict=True):
            known = _narrowed(known, getattr(part, "hint", lambda at: None)(at))
        return known


def _narrowed(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a & b


def states(constraint: TokenConstraint) -> PrefixState[Any]:
    """The state of a constraint after each prefix, counted from the prefix's origin; None once it has left the constraint."""

    def step(node: Prefix, above: Any) -> Any:
        state = constraint.start() if node is node.origin else above
        for token in () if node is node.origin else node.tokens:
            state = constraint.advance(state, token) if state is not None else None
        return state

    return PrefixState(step, written=True)


class StateLimit:
    """What a constraint in some state says of one row of `size` tokens; `shut` are ways that turned out to be dead ends."""

    __slots__ = ("_mask", "constraint", "shut", "size", "state")

    def __init__(self, constraint: TokenConstraint, state: Hashable | None, shut: frozenset[int], size: int) -> None:
        self.constraint, self.state, self.shut, self.size = constraint, state, shut, size
        self._mask: Tensor | None = None

    def allowed(self, token: int) -> bool:
        if self.state is None or token in self.shut:
            return False
        return self.constraint.allowed(self.state, token)

    def mask(self) -> Tensor | None:
        if self._mask is None:
            self._mask = self._made()
        return self._mask

    def bits(self) -> ndarray | None:
        """The mask as a bitmap, where the constraint writes it as one; None goes by `mask`."""
        made = getattr(self.constraint, "bits", None)
        found: ndarray | None = None if made is None or self.state is None or self.shut else made(self.state)
        return found

    def hint(self) -> Tensor | None:
        """What is certainly refused (False), where there is no mask but a part of the constraint has one."""
        made = getattr(self.constraint, "hint", None)
        known: Tensor | None = made(self.state) if made is not None and self.state is not None else None
        return known

    def _made(self) -> Tensor | None:
        import torch

        if self.state is None:  # the mask of an inexact guide let a token through that its check refuses: a dead end
            return torch.zeros(self.size, dtype=torch.bool)
        made = getattr(self.constraint, "mask", None)
        mask: Tensor | None = made(self.state) if made is not None else None
        if mask is None:
            return None
        if not isinstance(mask, torch.Tensor) or mask.dtype != torch.bool or mask.shape != (self.size,):
            given = f"{mask.dtype} {list(mask.shape)}" if isinstance(mask, torch.Tensor) else repr(mask)[:80]
            name, wanted = type(self.constraint).__name__, f"a bool tensor [{self.size}], or None to go by checks"
            raise InvalidInput(f"{name}.mask gave {given}; expected {wanted}")
        if self.shut:
            mask = mask.clone()
            mask[torch.tensor(sorted(self.shut), device=mask.device)] = False
        return mask


class BothLimits:
    """Two limits at once."""

    __slots__ = ("a", "b")

    def __init__(self, a: Limit, b: Limit) -> None:
        self.a, self.b = a, b

    def allowed(self, token: int) -> bool:
        return self.a.allowed(token) and self.b.allowed(token)

    def mask(self) -> Tensor | None:
        a = self.a.mask()
        b = self.b.mask() if a is not None else None
        return None if a is None or b is None else a & b

    def hint(self) -> Tensor | None:
        """What one of the two certainly refuses (False)."""
        a, b = (
            (limit.mask() if limit.mask() is not None else getattr(limit, "hint", _nothing)()) for limit in (self.a, self.b)
        )
        return _narrowed(a, b)


def _nothing() -> None:
    return None
