"""What can still be finished: a guide, restricted to the texts that end within a number of tokens."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from espalier import _grammar
from espalier.constraints.compiled.engines import NativeMachine
from espalier.constraints.compiled.maskers import masker
from espalier.constraints.guide import Guide, MachineGuide, teaching
from espalier.constraints.tokens import TokenGuide
from espalier.errors import InvalidInput, LimitExceeded, expect, require
from espalier.text.vocab import Vocab
from espalier.token_constraint import TokenConstraint

if TYPE_CHECKING:
    from torch import Tensor

_NEVER = 1 << 30
_SMALL = 64  # tokens of a vocabulary in which all ways are tried where bounds do not decide
_TRIES = 300
_REMEMBERED = 50_000  # states of which it is known
_KEPT = 64  # states whose successors are remembered


def within(guide: Guide, *, tokens: int) -> Within:
    """The guide, restricted to texts that are written, end token included, within `tokens` tokens.

    Law: under `scorer * within(guide, tokens=n)` a token is allowed iff the guide allows it and some text of the guide goes on
    with it and is finished in time; rows are the scorer's, restricted to these and renormalised. A state knows the fewest
    bytes that it owes (closing quotes and brackets, members that are required); the fewest tokens are those that write one of
    the shortest texts, and where single tokens are bytes that is exact. Where a longer text may need fewer tokens, all ways are
    tried in vocabularies of at most 64 tokens, up to 300 states; else such a text is not counted on. Guides that are "over"
    may owe more than is known; decoders then back up.

    Errors: `InvalidInput` for a guide that is no guide over bytes, and when used: where no text at all is as short.

    >>> import espalier as es
    >>> vocab = Vocab([b"(", b")", b"a", None], end=[3])
    >>> law = within(es.cfg('s ::= "(" s ")" | "a"'), tokens=4).over(vocab)
    >>> state = law.advance(law.start(), 0)
    >>> law.mask(state).tolist()  # of four tokens one is spent, two close, one ends
    [False, False, True, False]
    """
    return Within(guide, tokens)


class Within:
    """`within(guide, tokens=n)`: becomes a constraint by `over(vocab)`, or right of `scorer *`."""

    def __init__(self, guide: Guide, tokens: int) -> None:
        expect(guide, Guide, "within(…)", "a guide, such as es.json_schema(…)")
        expect(tokens, int, "tokens", "a whole number")
        require(tokens >= 1, f"tokens={tokens}: at least one token must be allowed; try 64")
        if not isinstance(guide.engine, NativeMachine):  # guides side by side go in step instead
            machine = guide.engine.machine()
            require(
                machine is not None,
                f"{guide!r} is written in Python: it does not know what a text still owes; leave in_time out",
            )
            guide = MachineGuide(machine, guide.engine.label)
        self.guide, self.tokens = guide, tokens

    def over(self, vocab: Vocab) -> InTime:
        """The constraint on the tokens of a vocabulary."""
        return InTime(self.guide, vocab, self.tokens)

    def __repr__(self) -> str:
        return f"within({self.guide!r}, tokens={self.tokens})"


class InTime(TokenConstraint):
    """A guide over a vocabulary and what is left of a budget. States are (the guide's state, tokens left).

    `spoke` holds the states at which a token that the guide allows was refused because no text would end in time.
    """

    def __init__(self, guide: Guide, vocab: Vocab, tokens: int) -> None:
        self.guide, self.vocab, self.tokens = guide, vocab, tokens
        self.exactness = guide.engine.exactness
        self._law = TokenGuide(guide, vocab)
        self._owed = owed(guide, vocab)
        self.spoke: set[Any] = set()

    @property
    def possible(self) -> bool:
        """Whether some text is finished in time."""
        return self._owed.fits(self._law.start(), self.tokens)

    def start(self) -> Any:
        state = self._law.start()
        if not self.possible:
            least = self._owed.bounds(state)[0]
            raise InvalidInput(
                f"{self.guide.engine.label}: no text of it is finished within {self.tokens} tokens; it needs at least {least}, "
                "raise max_tokens"
            )
        return state, self.tokens

    def advance(self, state: Any, token: int) -> Any | None:
        inner, left = state
        after = self._law.advance(inner, token) if left > 0 else None
        if after is None:
            return None
        if not self._owed.fits(after, left - 1):
            self.spoke.add(state)
            return None
        return after, left - 1

    def accepts(self, state: Any) -> bool:
        """Whether the text may end here (or has ended)."""
        return self._law.accepts(state[0])

    def mask(self, state: Any) -> Tensor:
        import torch

        inner, left = state
        if left <= 0 or inner == _grammar.ENDED:
            return torch.zeros(self.vocab.size, dtype=torch.bool)
        states, which = self._owed.successors(inner)
        fits = np.array(self._owed.fit(states, left - 1), dtype=bool)
        if not fits[1:].all():
            self.spoke.add(state)
        return torch.from_numpy(fits[which])

    def hurried(self, tokens: list[int]) -> bool:
        """Whether the budget had a say in a text: somewhere on its way a token was refused because of it."""
        state: Any = self.start()
        for token in tokens:
            if state in self.spoke:
                return True
            state = self.advance(state, token)
            if state is None:
                return True
        return False


class Owed:
    """How many tokens the states of a guide still owe, over one vocabulary."""

    def __init__(self, guide: Guide, vocab: Vocab) -> None:
        self.vocab = vocab
        assert isinstance(guide.engine, NativeMachine)
        self._masker: Any = masker(guide.engine, vocab).native  # type: ignore[attr-defined]
        self._guide = guide.engine.native()
        self._last = 1 if vocab.end else 0  # the end token
        self._bounds: dict[Any, tuple[int, int]] = {}
        self._exact: dict[tuple[Any, int], bool] = {}
        self._shortest: dict[Any, tuple[int, bool, bytes]] = {}
        self._fewest: dict[bytes, int] = {}
        self._after: OrderedDict[Any, tuple[list[Any], np.ndarray[Any, Any]]] = OrderedDict()

    def fits(self, state: Any, left: int) -> bool:
        """Whether a text is finished from here within `left` tokens."""
        if state == _grammar.ENDED:
            return left >= 0
        least, most = self.bounds(state)
        if most <= left:
            return True
        if least > left:
            return False
        if self.vocab.size > _SMALL:
            return most >= _NEVER  # where the search gave up nothing is refused
        if (state, left) not in self._exact:
            self._exact[state, left] = self._tried(state, left, [_TRIES])
        return self._exact[state, left]

    def fit(self, states: Sequence[Any], left: int) -> list[bool]:
        """Of each of many states (None: of none) whether it `fits`; texts that several of them owe are cut once."""
        if self.vocab.size <= _SMALL:
            return [state is not None and self.fits(state, left) for state in states]
        bounds, fewest, answers = self._bounds, self._fewest, list[bool]()
        for state in states:
            if state is None or state in bounds or state == _grammar.ENDED:
                answers.append(state is not None and self.fits(state, left))
                continue
            _, found, text = self.shortest(state)
            if not found:
                answers.append(self.fits(state, left))
                continue
            if text not in fewest:
                if len(fewest) > _REMEMBERED:
                    fewest.clear()
                fewest[text] = min(_NEVER, self._ways(text)[0][0] + self._last)
            answers.append(fewest[text] <= left or (fewest[text] >= _NEVER and -(-len(text) // self.vocab.longest) < left))
        return answers

    def shortest(self, state: Any) -> tuple[int, bool, bytes]:
        """The bytes that are owed at least, whether a shortest text is known, and that text."""
        if (known := self._shortest.get(state)) is not None:
            return known
        if len(self._shortest) > _REMEMBERED:
            self._shortest.clear()
        try:
            with teaching():
                known = self._guide.shortest(state)
        except LimitExceeded:  # looking ahead is no reason to refuse: what is not known is not hurried
            known = 0, False, b""
        self._shortest[state] = known
        return known

    def bounds(self, state: Any) -> tuple[int, int]:
        """At least and at most so many tokens finish a text from here."""
        if state not in self._bounds:
            if len(self._bounds) > _REMEMBERED:
                self._bounds.clear()
                self._exact.clear()
            owed_bytes, found, text = self.shortest(state)
            if not found:
                least = _NEVER if owed_bytes >= _NEVER else -(-owed_bytes // max(1, self.vocab.longest)) + self._last
                self._bounds[state] = least, _NEVER
            else:
                self._cut(state, text)
        return self._bounds[state]

    def _cut(self, state: Any, text: bytes) -> None:
        """The fewest tokens that write the text; the states on their way owe no more than what is left of them."""
        ids, longest, n = self.vocab.ids, self.vocab.longest, len(text)
        fewest, step = self._ways(text)
        at, here = 0, state
        while True:
            least = -(-(n - at) // max(1, longest)) + self._last
            most = min(_NEVER, fewest[at] + self._last)
            known = self._bounds.get(here)
            self._bounds[here] = (least, most) if known is None else (max(least, known[0]), min(most, known[1]))
            if at >= n or fewest[at] >= _NEVER:
                return
            token = ids[text[at : at + step[at]]]
            with teaching():
                here = self._masker.advance(here, token)
            at += step[at]

    def _ways(self, text: bytes) -> tuple[list[int], list[int]]:
        """From each place of a text on: the fewest tokens that write the rest, and how long the first of them is."""
        ids, longest, n = self.vocab.ids, self.vocab.longest, len(text)
        fewest = [0] * n + [0]
        step: list[int] = [0] * n
        for at in range(n - 1, -1, -1):
            fewest[at] = _NEVER
            for size in range(1, min(longest, n - at) + 1):
                if fewest[at + size] + 1 < fewest[at] and text[at : at + size] in ids:
                    fewest[at], step[at] = fewest[at + size] + 1, size
        return fewest, step

    def _tried(self, state: Any, left: int, budget: list[int]) -> bool:
        """All ways of a small vocabulary, where the bounds leave it open."""
        key = state, left
        if key in self._exact:
            return self._exact[key]
        budget[0] -= 1
        if budget[0] < 0 or left <= 0:
            return False
        open_: list[Any] = []
        for after in self.successors(state)[0][1:]:
            least, most = (0, 0) if after == _grammar.ENDED else self.bounds(after)
            if most <= left - 1:
                self._exact[key] = True
                return True
            if least <= left - 1:
                open_.append(after)
        found = any(self._tried(after, left - 1, budget) for after in open_)
        if budget[0] >= 0:
            self._exact[key] = found
        return found

    def successors(self, state: Any) -> tuple[list[Any], np.ndarray[Any, Any]]:
        """The states that tokens lead to, each once behind a None, and which of them each token leads to (0 = refused)."""
        if state in self._after:
            self._after.move_to_end(state)
            return self._after[state]
        which = np.zeros(self.vocab.size, dtype=np.uint32)
        with teaching():
            states = self._masker.successors(state, which.ctypes.data, which.size)
        self._after[state] = states, which
        if len(self._after) > _KEPT:
            self._after.popitem(last=False)
        return states, which


def owed(guide: Guide, vocab: Vocab) -> Owed:
    """What a guide's states owe over a vocabulary, worked out once per guide."""
    kept: dict[str, Owed] = guide.engine.__dict__.setdefault("_owed", {})
    if vocab.fingerprint not in kept:
        kept[vocab.fingerprint] = Owed(guide, vocab)
    return kept[vocab.fingerprint]
