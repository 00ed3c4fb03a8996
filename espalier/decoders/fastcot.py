"""FastCoT's glance: answer before the reasoning is exact. Lossy, and says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from espalier.decoders.sample import sample
from espalier.decoders.speculation import Rounds
from espalier.drafting.model_free.jacobi import Jacobi
from espalier.drafting.text_log import guess
from espalier.errors import require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.run import Decoder
from espalier.scorer import Scorer
from espalier.stop import Stop
from espalier.verification.match import SampleMatch


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

    Reasoning goes on in Jacobi windows until `stop` or until `passes` are used up; then what is exact, the window's
    present guess, and the tokens `ask` (say, "So the answer is") are read as given, and the answer is decoded until
    `answer` stops it. Guarantee: **lossy**, since guessed tokens may never have been written; with `passes=None` the
    reasoning is exact and so is the rest. Zhang et al. 2023, "Fast chain-of-thought" (arXiv 2311.08263).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=2, seed=0) | es.temperature(0)
    >>> budget = es.stop.budget
    >>> [seen] = es.run(glance(model, es.Prefix([1]), budget(9), [3], budget(2), es.Rng(0), window=4, passes=2))
    >>> len(seen.guessed) > 0, len(seen.answer.written())
    (True, 2)
    """
    require(window >= 1, f"window={window}: a window holds at least one guess")
    require(passes is None or passes >= 1, f"passes={passes}: at least one pass is needed; None means no limit")
    rounds = Rounds(scorer, x, stop, Jacobi(window), SampleMatch(), rng)
    guesses: list[int] = []
    made = 0
    while not stop(x) and (passes is None or made < passes):
        before, made = len(x), made + 1
        x, rows = yield from rounds.next(x)
        guesses = [guess(row) for row in rows[max(len(x) - before, 0) :]]
    approximate = [] if stop(x) else guesses
    y = yield from sample(scorer, x.given([*approximate, *ask]), answer, rng)
    return Glanced(x, approximate, y)
