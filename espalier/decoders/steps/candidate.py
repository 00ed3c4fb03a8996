"""What searches over steps work with: steps, candidates, and what was found."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from espalier.constraints.guide import Guide
from espalier.decoders.budget import Spent
from espalier.decoders.decoder import Weighted, at_least
from espalier.errors import expect, require
from espalier.prefix import Prefix
from espalier.text.vocab import Vocab

_SENTENCE = re.compile(rb"[.!?][\"')\]]*\s$|\n$")


@dataclass(frozen=True)
class Steps:
    """Where a step of a text ends: behind a text ("\\n\\n"), behind a "sentence", as soon as a guide accepts what the step
    says, or after a number of tokens; whichever comes first. A text that ends ends its step.

    >>> Steps(tokens=2).ends([5, 6], None), Steps("sentence").ends([0], Vocab([b"So. "]))
    (True, True)
    """

    until: str | Guide | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        expect(self.until, (str, Guide, type(None)), "until", "a text, 'sentence', or a guide")
        require(self.until != "", "until is empty, so every step would be; write until='\\n\\n' or tokens=32")
        some = self.until is not None or self.tokens is not None
        require(some, "say where a step ends: Steps('\\n\\n'), Steps('sentence'), Steps(guide) or Steps(tokens=32)")
        if self.tokens is not None:
            at_least(self, tokens=1)

    def ends(self, written: Sequence[int], vocab: Vocab | None) -> bool:
        """Whether a step that wrote these tokens is complete."""
        if self.tokens is not None and len(written) >= self.tokens:
            return True
        if self.until is None:
            return False
        require(vocab is not None, "steps that end by their text need a scorer with a vocabulary; use Steps(tokens=…)")
        assert vocab is not None
        data = vocab.join(written)
        if isinstance(self.until, Guide):
            state = self.until.advance(self.until.start(), data)
            return state is None or self.until.accepts(state)
        return _SENTENCE.search(data) is not None if self.until == "sentence" else self.until.encode() in data


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A text on its way: all that was written (`text`, `tokens`, `logp`), the candidate it goes on from, and how many steps
    it has. `over`: it is finished.

    >>> Candidate("ab", (0, 1), -1.0, None, 1, Prefix([7, 0, 1])).mean
    -0.5
    """

    text: str
    tokens: tuple[int, ...]
    logp: float
    parent: Candidate | None
    step: int
    prefix: Prefix = field(default_factory=Prefix)
    over: bool = False

    @property
    def mean(self) -> float:
        """The mean log-probability of its tokens."""
        return self.logp / max(len(self.tokens), 1)

    @property
    def last_logp(self) -> float:
        """The mean log-probability of the tokens of its last step."""
        before = self.parent
        fresh = len(self.tokens) - (len(before.tokens) if before is not None else 0)
        return (self.logp - (before.logp if before is not None else 0.0)) / max(fresh, 1)


Score = Callable[[list[Candidate]], Sequence[float]]
Stopped = Literal["budget", "done", "interrupted"]


class Found(list[Weighted]):
    """What a search found: finished texts by their scores, the best first (unfinished ones if none was finished).

    `best` is the best candidate, `all` every scored one that is finished, `stats` what was spent, `stopped` why it ended.

    >>> x = Prefix([0])
    >>> Found([(1.0, Candidate("", (), 0.0, None, 0, x))], Spent(), "done").best.prefix is x
    True
    """

    def __init__(self, scored: Sequence[tuple[float, Candidate]], stats: Spent, stopped: Stopped) -> None:
        ranked = sorted(scored, key=lambda pair: -pair[0])
        self.all: list[Candidate] = [candidate for _, candidate in ranked]
        self.scores: list[float] = [score for score, _ in ranked]
        self.stats, self.stopped = stats, stopped
        super().__init__(Weighted(candidate.prefix, score) for score, candidate in ranked)

    @property
    def best(self) -> Candidate:
        """The candidate with the best score."""
        return self.all[0]


@dataclass(frozen=True, slots=True)
class Progress:
    """What a search tells while it runs: what was spent, and the best score so far (None: nothing is finished).

    >>> Progress(Spent(), None).best is None
    True
    """

    spent: Spent
    best: float | None = field(default=None)
