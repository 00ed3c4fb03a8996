"""FastCoT's glance: answer before the reasoning is exact. Lossy, and says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from espalier.decoders.decoder import Weighted
from espalier.decoders.sample import sample
from espalier.decoders.speculation import Rounds
from espalier.drafting.model_free.jacobi import Jacobi
from espalier.drafting.text_log import guess
from espalier.errors import require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.run import Decoder, Keep
from espalier.scorer import Scorer
from espalier.stop import Stop, budget
from espalier.verification.exact_match import SampleMatch


def growing(written: int) -> int:
    """How many positions the window holds after so many written tokens, where its greatest size does not say fewer.

    At the start little can be guessed well; one position more for every two tokens (the paper's schedule is not published).
    FastCoT's defining behaviour, a window that moves and changes its size, is tested by `test_the_window_of_fastcot_grows`.

    >>> [growing(n) for n in (0, 1, 2, 8)]
    [2, 2, 3, 6]
    """
    return 2 + written // 2


@dataclass(frozen=True, slots=True, eq=False)
class Glanced:
    """What `glance` returns: `thought` (exact tokens), `guessed` (tokens of it that were still approximate when the answer
    was asked for) and `answer`, the prefix of the answer, whose origin is behind the question for it."""

    thought: Prefix
    guessed: Sequence[int]
    answer: Prefix


def glance(
    scorer: Scorer,
    x: Prefix,
    stop: Stop,
    ask: Sequence[int],
    answer: Stop,
    rng: Rng,
    *,
    window: int = 8,
    passes: int | None = None,
) -> Decoder[Glanced]:
    """An answer given after at most `passes` passes of reasoning, from exact tokens and, behind them, a guessed window.

    Reasoning goes on in Jacobi windows, which grow with what is written up to `window` positions (`growing`), until `stop` or
    until `passes` are used up; then what is exact, the window's present guess, and the tokens `ask` (say, "So the answer is")
    are read as given, and the answer is decoded until `answer` stops it. Guarantee: **lossy**, since guessed tokens may never
    have been written; with `passes=None` the reasoning is exact and so is the rest. Zhang et al. 2023, "Fast
    chain-of-thought" (arXiv 2311.08263).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=2, seed=0) | es.temperature(0)
    >>> budget = es.stop.budget
    >>> [seen] = es.run(glance(model, es.Prefix([1]), budget(9), [3], budget(2), es.Rng(0), window=4, passes=2))
    >>> len(seen.guessed) > 0, len(seen.answer.written())
    (True, 2)
    """
    require(window >= 1, f"window={window}: a window holds at least one guess")
    require(passes is None or passes >= 1, f"passes={passes}: at least one pass is needed; None means no limit")
    x, approximate = yield from _thought(scorer, x, stop, rng, window, passes)
    y = yield from sample(scorer, x.given([*approximate, *ask]), answer, rng)
    return Glanced(x, approximate, y)


def _thought(
    scorer: Scorer, x: Prefix, stop: Stop, rng: Rng, window: int, passes: int | None
) -> Decoder[tuple[Prefix, list[int]]]:
    """Reasoning in Jacobi windows: what is exact after so many passes, and the window's present guess of what follows."""
    rounds = Rounds(scorer, x, stop, Jacobi(window, window=growing), SampleMatch(), rng)
    guesses: list[int] = []
    made = 0
    while not stop(x) and (passes is None or made < passes):
        before, made = len(x), made + 1
        x, rows = yield from rounds.next(x)
        guesses = [guess(row) for row in rows[max(len(x) - before, 0) :]]
    return x, [] if stop(x) else guesses


@dataclass(frozen=True)
class FastCoT:
    """FastCoT as an object: reasoning of at most `reasoning` tokens and `passes` passes, the tokens `ask`, then the answer.

    All of it is one text, which the request's stop ends; the reasoning ends before if it stops itself. Guarantee: **lossy**, as
    `glance`; with `passes=None` nothing is guessed. Zhang et al. 2023 (arXiv 2311.08263).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=2, seed=0) | es.temperature(0)
    >>> fast = FastCoT(ask=[3], reasoning=5, window=4)
    >>> [[found]] = es.run(fast(model, es.Prefix([1]), es.stop.budget(9), es.Rng(0)))
    >>> found.prefix.written()[5], len(found.prefix.written())
    (3, 9)
    """

    ask: Sequence[int]
    reasoning: int = 64
    window: int = 8
    passes: int | None = None

    def __post_init__(self) -> None:
        require(self.window >= 1, f"window={self.window}: a window holds at least one guess")
        require(self.reasoning >= 1, f"reasoning={self.reasoning}: at least one token of reasoning is needed")
        require(self.passes is None or self.passes >= 1, f"passes={self.passes}: at least one pass; None means no limit")

    def __call__(self, scorer: Scorer, x: Prefix, stop: Stop, rng: Rng) -> Decoder[list[Weighted]]:
        enough = budget(self.reasoning)
        x, approximate = yield from _thought(scorer, x, stop | enough, rng, self.window, self.passes)
        room = max(0, self.reasoning - len(x.written()))
        for token in (*approximate[:room], *self.ask):
            if stop(x):
                break
            x = yield Keep(x + token)
        return [Weighted((yield from sample(scorer, x, stop, rng)))]
