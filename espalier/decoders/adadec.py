"""AdaDec as a decoder: greedy, with a pause where the law is unsure, to try the best tokens out some steps ahead."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from espalier.decoders.backtracking import DeadEnds
from espalier.decoders.decoder import Weighted, check_parts
from espalier.errors import DeadEnd
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Row, Rows
from espalier.run import Decoder, Keep
from espalier.scorer import Ask, Scorer
from espalier.shaping.control.adadec import check_settings, learn
from espalier.shaping.temper import entropy
from espalier.stop import Stop


@dataclass(slots=True)
class _Trial:
    """A candidate on its way: its nodes below the text, the log-probabilities of their tokens, and the laws behind them."""

    nodes: list[Prefix]
    logps: list[float]
    laws: dict[Prefix, Tensor] = field(default_factory=dict)
    dead: bool = False

    @property
    def mean(self) -> float:
        """The mean log-probability; that of a trial which ran into a dead end is below all others."""
        return -torch.inf if self.dead else sum(self.logps) / len(self.logps)


@dataclass(frozen=True)
class AdaDec:
    """Greedy decoding that pauses where the entropy of the law is ≥ `threshold` (nats): each of the `beams` best tokens is
    followed greedily for `ahead` tokens, and the one whose trial has the best mean log-probability is written.

    Works on the scorer's law as it is, so trials keep to a constraint and end where the text may end; dead ends lose. With an
    unconstrained scorer the text is that of `es.shaping.adadec(scorer, …) | temperature(0)`. What was tried and is then
    written is not asked about again. `lam` weighs the trial against the text so far, which is the same for all candidates of a
    single text, so any lam > 0 chooses alike. `AdaDec.learn(scorer, texts)` gives a threshold; infinity is greedy. He et al.
    2025, "AdaDec" (arXiv 2506.08980).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=6, depth=2, seed=0)
    >>> [[found]] = es.run(AdaDec(1.0)(model, es.Prefix([1]), es.stop.budget(4), es.Rng(0)))
    >>> len(found.prefix.written())
    4
    """

    threshold: float
    beams: int = 3
    ahead: int = 5
    lam: float = 1.0
    samples: ClassVar[bool] = True  # reads the entropy of the law itself, so no temperature unless one is asked for
    learn: ClassVar[Callable[[Scorer, Sequence[Prefix]], float]] = staticmethod(learn)

    def __post_init__(self) -> None:
        check_settings(self.threshold, self.beams, self.ahead, self.lam)

    def __call__(self, scorer: Scorer, x: Prefix, stop: Stop, rng: Rng) -> Decoder[list[Weighted]]:
        check_parts(scorer, x, stop, rng)
        dead, laws, tried = DeadEnds(scorer, stop), dict[Prefix, Tensor](), dict[Prefix, Prefix]()
        while not stop(x):
            try:
                law = laws[x] if x in laws else (yield from _asked(scorer, [x]))[0].dense()
            except DeadEnd as end:
                x, laws, tried = dead.back_up(end), {}, {}  # laws from before the way was shut
                continue
            token, unsure = int(law.argmax()), float(entropy(law[None])) >= self.threshold
            if unsure and self.beams > 1:
                trials = yield from self._tried(scorer, x, law, stop)
                best = max(trials, key=lambda trial: trial.mean)
                laws, tried = best.laws, dict(zip([x, *best.nodes], best.nodes, strict=False))
                token = best.nodes[0].last
            following = tried.get(x)
            x = yield Keep(following if following is not None and following.last == token else x + token)
        return [Weighted(x)]

    def _tried(self, scorer: Scorer, x: Prefix, law: Tensor, stop: Stop) -> Decoder[list[_Trial]]:
        """The candidates after x, each followed greedily, all in one pass per step."""
        values, tokens = law.topk(min(self.beams, len(law)))
        trials = [
            _Trial([x + token], [logp])
            for token, logp in zip(tokens.tolist(), values.tolist(), strict=True)
            if logp > -torch.inf
        ]
        for _ in range(self.ahead):
            going = [trial for trial in trials if not trial.dead and not stop(trial.nodes[-1])]
            if not going:
                break
            rows = yield from _asked(scorer, [trial.nodes[-1] for trial in going])
            for trial, row in zip(going, rows, strict=True):
                if (found := _law(row)) is None:
                    trial.dead = True
                    continue
                best = int(found.argmax())
                trial.laws[trial.nodes[-1]] = found
                trial.logps.append(float(found[best]))
                trial.nodes.append(trial.nodes[-1] + best)
        return trials


def _asked(scorer: Scorer, prefixes: Sequence[Prefix]) -> Decoder[Rows]:
    return (yield Ask(scorer, prefixes))  # type: ignore[no-any-return]


def _law(row: Row) -> Tensor | None:
    try:
        return row.dense()
    except DeadEnd:
        return None
