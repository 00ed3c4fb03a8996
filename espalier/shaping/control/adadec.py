"""AdaDec: where the row is unsure, the best tokens are tried out some steps ahead."""

from __future__ import annotations

import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from espalier.errors import require
from espalier.prefix import Prefix
from espalier.rows import Rows
from espalier.scorer import Answer, Ask, Scorer, Wrapper
from espalier.shaping.forks import Forks, unrestricted
from espalier.shaping.scores import candidates
from espalier.shaping.temper import entropy


@dataclass(slots=True)
class _Trial:
    """A candidate on its way: the text so far, its log-probabilities, and the row that follows it."""

    text: Prefix
    total: float
    count: int
    row: Tensor


class adadec(Wrapper):
    """Rows of entropy ≥ threshold (nats) are decided by a trial: each of the `beams` best tokens v is followed greedily for
    `ahead` tokens, and scores lam · (log p(v) + Σ log p of these) / their number. Other rows stay as they are.

    Meant for greedy decoding: `adadec(…) | temperature(0)`. Only the token is taken, not what was tried; an end token ends a
    trial. The first step of the trials is one pass whose rows are kept, the others are `ahead` - 1 passes of `beams` rows, at
    unsure places only. `adadec.learn(scorer, texts)` gives a threshold. Infinity is the scorer itself. He et al. 2025,
    "AdaDec" (arXiv 2506.08980).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=6, depth=2, seed=0)
    >>> scorer = adadec(model, threshold=1.0) | es.temperature(0)
    >>> [x] = es.run(es.sample(scorer, es.Prefix([1]), es.stop.budget(4), es.Rng(0)))
    >>> len(x.written())
    4
    """

    def __init__(self, scorer: Scorer, threshold: float, beams: int = 3, ahead: int = 5, lam: float = 1.0) -> None:
        super().__init__(unrestricted(scorer, "adadec"))
        check_settings(threshold, beams, ahead, lam)
        self.threshold, self.beams, self.ahead, self.lam = threshold, beams, ahead, lam
        self._forks = Forks(scorer)

    def answer(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Answer:
        rows: Rows = yield Ask(self._forks, prefixes, want)
        logps = torch.log_softmax(rows.logits, -1)
        unsure = (entropy(logps)[:, 0] >= self.threshold).nonzero().flatten().tolist()
        if not unsure:
            return rows
        top = logps[unsure].topk(min(self.beams, self.vocab_size), -1)
        scores = yield from self._tried([prefixes[i] for i in unsure], top.indices.tolist(), top.values.tolist())
        logits = rows.logits.clone()
        for at, i in enumerate(unsure):
            logits[i] = candidates(logits[i], top.indices[at], logits.new_tensor(scores[at]))
        return rows.with_logits(logits)

    def _tried(
        self, prefixes: Sequence[Prefix], tokens: list[list[int]], logps: list[list[float]]
    ) -> Generator[Ask, Any, list[list[float]]]:
        """The score of each candidate of each prefix."""
        ends = self.vocab.end if self.vocab is not None else frozenset[int]()
        ahead = yield from self._forks.ahead(prefixes, tokens if self.ahead else [[] for _ in tokens])
        empty = torch.empty(0)
        trials = [
            [
                _Trial(x + v, logp, 1, ahead[i][j][0] if self.ahead else empty)
                for j, (v, logp) in enumerate(zip(vs, ls, strict=True))
            ]
            for i, (x, vs, ls) in enumerate(zip(prefixes, tokens, logps, strict=True))
        ]
        going = [trial for group in trials for trial in group if trial.text.last not in ends]
        for step in range(self.ahead):
            for trial in going:
                row = torch.log_softmax(trial.row, -1)
                best = int(row.argmax())
                trial.text, trial.total, trial.count = trial.text + best, trial.total + float(row[best]), trial.count + 1
            going = [trial for trial in going if trial.text.last not in ends]
            if not going or step == self.ahead - 1:
                break
            rows: Rows = yield Ask(self.inner, [trial.text for trial in going])
            for trial, logits in zip(going, rows.logits, strict=True):
                trial.row = logits
        return [[self.lam * trial.total / trial.count for trial in group] for group in trials]

    @staticmethod
    def learn(scorer: Scorer, texts: Sequence[Prefix]) -> float:
        """A threshold: see `learn`."""
        return learn(scorer, texts)


def check_settings(threshold: float, beams: int, ahead: int, lam: float) -> None:
    """Raise `InvalidInput` for settings of AdaDec that cannot be."""
    require(threshold == threshold, "threshold is not a number; 0.6 to 1.4 nats are usual, or adadec.learn(scorer, texts)")
    require(beams >= 1, f"beams={beams}: at least one candidate; 3 is usual")
    require(ahead >= 0, f"ahead={ahead}: a number of tokens from 0; 5 is usual")
    require(0 < lam < math.inf, f"lam={lam}: the weight of the trials, above 0; 1 is usual")


def learn(scorer: Scorer, texts: Sequence[Prefix]) -> float:
    """The entropy from which on the scorer's most probable token is rather not the one that a text goes on with.

    The texts are traces that are right, such as solutions of tasks: `Prefix(prompt) + solution` counts what was written, a
    prefix without written tokens all behind its first. The cut is the one with the best balanced accuracy, that of a logistic
    regression with balanced classes, which has one cut for each entropy. Infinity if the scorer is always right.
    """
    from espalier.engine import run

    require(len(texts) > 0, "learn() needs texts that are right, such as solutions of tasks")
    [seen] = run(_traced(scorer, texts))
    return cut(seen)


def _traced(scorer: Scorer, texts: Sequence[Prefix]) -> Generator[Ask, Any, list[tuple[float, bool]]]:
    """For each position of each text the entropy of its row, and whether its most probable token comes next."""
    seen: list[tuple[float, bool]] = []
    for text in texts:
        ids = text.ids()
        given = len(ids) - len(text.written()) if text.written() else min(1, len(ids))
        x, chain = Prefix(ids[:given]), list[Prefix]()
        for token in ids[given:]:
            chain.append(x)
            x = x + token
        for start in range(0, len(chain), 64):
            rows: Rows = yield Ask(scorer, chain[start : start + 64])
            logps = torch.log_softmax(rows.logits, -1)
            right = logps.argmax(-1) == torch.tensor(ids[given + start : given + start + len(logps)], device=logps.device)
            seen += zip(entropy(logps)[:, 0].tolist(), right.tolist(), strict=True)
    return seen


def cut(seen: Sequence[tuple[float, bool]]) -> float:
    """The entropy that parts right from wrong with the best balanced accuracy.

    >>> cut([(0.1, True), (0.2, True), (0.4, True), (0.9, False), (1.2, False)])
    0.9
    """
    wrong, right = sum(not ok for _, ok in seen), sum(ok for _, ok in seen)
    if not wrong:
        return math.inf
    best, threshold, below, above = 0.5, math.inf, 0, wrong
    ordered = sorted(seen)
    for at, (bits, ok) in enumerate(ordered):
        if at == 0 or ordered[at - 1][0] < bits:
            accuracy = (below / right + above / wrong) / 2 if right else 1.0
            if accuracy > best:
                best, threshold = accuracy, bits
        below, above = below + ok, above - (not ok)
    return threshold
