"""What all searches over steps have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from espalier.decoders.budget import Budget
from espalier.decoders.steps.candidate import Found, Progress, Score, Steps
from espalier.decoders.steps.space import Exhausted, Space
from espalier.engine import run
from espalier.errors import LimitExceeded, expect
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.run import Decoder
from espalier.scorer import Scorer
from espalier.stop import Stop


@dataclass(frozen=True, kw_only=True)
class Search(ABC):
    """A search for the text with the best score: `score(candidates)` gives one number for each, of unfinished texts too.

    `steps` says where a step ends, `budget` how much may be spent (a number: tokens, that is rows computed). Write `grow`;
    what it evaluates is booked, and when the budget ends the best so far is returned. `run` does the same outside a loop;
    it and `lm.generate(decoder=…)` give the best so far when they are interrupted.

    >>> import espalier as es
    >>> class Twice(Search):  # the better one of two texts
    ...     def grow(self, space):
    ...         space.evaluate((yield from space.expand([space.root] * 2, whole=True)))
    >>> model = es.models.Table.random(vocab_size=4, depth=2, seed=0)
    >>> Twice(score=lambda cs: [c.logp for c in cs]).run(model, Prefix([1]), es.stop.budget(3), Rng(0)).stopped
    'done'
    """

    score: Score | None = None
    steps: Steps = field(default_factory=lambda: Steps("\n\n", tokens=256))
    budget: Budget | int | None = None
    progress: Callable[[Progress], None] | None = None

    many: ClassVar[bool] = True  # one run finds several texts

    def __post_init__(self) -> None:
        expect(self.steps, Steps, "steps", "es.decoders.Steps('\\n\\n') or Steps(tokens=32)")
        Budget.of(self.budget)
        self.check()

    def check(self) -> None:  # noqa: B027 - optional
        """Raise `InvalidInput` for settings that cannot work."""

    @abstractmethod
    def grow(self, space: Space) -> Decoder[None]:
        """The search itself: writes and evaluates candidates until it is done."""

    def space(self, scorer: Scorer, x: Prefix, stop: Stop, rng: Rng) -> Space:
        """The space of one search."""
        return Space(scorer, x, stop, rng, self.score, self.steps, Budget.of(self.budget), self.progress)

    def __call__(self, scorer: Scorer, x: Prefix, stop: Stop, rng: Rng) -> Decoder[Found]:
        return (yield from self._searched(self.space(scorer, x, stop, rng)))

    def _searched(self, space: Space) -> Decoder[Found]:
        try:
            yield from self.grow(space)
        except Exhausted:
            return space.found("budget")
        except KeyboardInterrupt:  # in a score, or thrown in by whoever was interrupted while this waited for rows
            return _best_so_far(space)
        return space.found("budget" if space.short else "done")

    def run(self, scorer: Scorer, x: Prefix, stop: Stop, rng: Rng) -> Found:
        """What the search finds; the best so far if it is interrupted (Ctrl-C)."""
        space = self.space(scorer, x, stop, rng)
        try:
            [found] = run(self._searched(space))
        except KeyboardInterrupt:
            return _best_so_far(space)
        return found


def _best_so_far(space: Space) -> Found:
    """What an interrupted search has found; the interrupt itself goes on if that is nothing."""
    try:
        return space.found("interrupted")
    except LimitExceeded:
        raise KeyboardInterrupt from None
