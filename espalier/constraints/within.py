"""What can still be finished: a guide, restricted to the texts that end within a number of tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from espalier import _grammar
from espalier.constraints.compiled.engines import NativeMachine
from espalier.constraints.compiled.owed import owed
from espalier.constraints.guide import Guide, MachineGuide
from espalier.constraints.tokens import TokenGuide
from espalier.errors import InvalidInput, expect, require
from espalier.text.vocab import Vocab
from espalier.token_constraint import TokenConstraint

if TYPE_CHECKING:
    from torch import Tensor


def within(guide: Guide, *, tokens: int) -> Within:
    """The guide, restricted to texts that are written, end token included, within `tokens` tokens.

    Law: under `scorer * within(guide, tokens=n)` a token is allowed iff the guide allows it and some text of the guide goes on
    with it and is finished in time; rows are the scorer's, restricted to these and renormalised. A state knows the fewest
    bytes that it owes (closing quotes and brackets, members that are required), and the fewest tokens that write one of the
    shortest texts. Where a longer text might need fewer tokens, the states that tokens lead to are gone through: all of them
    where they are few (300, and 1 million divided by the size of the vocabulary), and the law is exact; else one token
    ahead (vocabularies of at most 64 tokens: up to 300 states), and a text that is shorter in no other way is not counted on.
    Where more than 64 tokens are left beyond those owed, a vocabulary of more than 64 tokens is not gone through (each token
    may lead to a state of its own): the row is the guide's, and a token that cannot be finished is refused when it is chosen.
    Of such a vocabulary, states that differ in a captured text only (a name that no schema lists) count as one. Where its
    tokens meet more than 256 states, the row is the guide's too, or with nothing to spare the shortest text's.
    Guides that are "over" may owe more than is known; decoders then back up.

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
    """A guide over a vocabulary and what is left of a budget. States are (the guide's state, tokens left, the way to it).

    `spoke` holds the ways to states at which a token that the guide allows was refused because no text would end in time. A
    way is a number made of its tokens, for the engine's states are others once it has forgotten what it knew.
    """

    def __init__(self, guide: Guide, vocab: Vocab, tokens: int) -> None:
        self.guide, self.vocab, self.tokens = guide, vocab, tokens
        self.exactness = guide.engine.exactness
        self._law = TokenGuide(guide, vocab)
        self._owed = owed(guide, vocab)
        self.spoke: set[int] = set()

    @property
    def possible(self) -> bool:
        """Whether some text is finished in time."""
        return self._owed.fits(self._law.start(), self.tokens)

    def start(self) -> Any:
        state = self._law.start()
        if not self.possible:
            least = self._owed.bounds(self._owed.sort(state))[0]
            raise InvalidInput(
                f"{self.guide.engine.label}: no text of it is finished within {self.tokens} tokens; it needs at least {least}, "
                "raise max_tokens"
            )
        return state, self.tokens, 0

    def advance(self, state: Any, token: int) -> Any | None:
        inner, left, way = state
        after = self._law.advance(inner, token) if left > 0 else None
        if after is None:
            return None
        if not self._owed.fits(after, left - 1):
            self.spoke.add(way)
            return None
        return after, left - 1, hash((way, token))

    def accepts(self, state: Any) -> bool:
        """Whether the text may end here (or has ended)."""
        return self._law.accepts(state[0])

    def mask(self, state: Any) -> Tensor:
        import torch

        inner, left, behind = state
        if left <= 0 or inner == _grammar.ENDED:
            return torch.zeros(self.vocab.size, dtype=torch.bool)
        if self._owed.far(inner, left):
            return self._law.filled(inner)
        fits = self._owed.fit(inner, left - 1)
        allowed = self._law.filled(inner)
        if fits is None:  # too much to look at: the shortest way where nothing is to spare, else a check of what is chosen
            way = self._owed.on_the_way(inner, left - 1)
            fits = np.isin(np.arange(self.vocab.size), way) if way else allowed.numpy()
        found = torch.from_numpy(fits)
        if not torch.equal(found, allowed):
            self.spoke.add(behind)
        return found

    def hurried(self, tokens: list[int]) -> bool:
        """Whether the budget had a say in a text: somewhere on its way a token was refused because of it."""
        way = 0
        for token in tokens:
            if way in self.spoke:
                return True
            way = hash((way, token))
        return False
