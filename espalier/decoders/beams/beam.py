"""Beam search, with the scores, stopping rules and groups that have been proposed for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from espalier.capabilities import Extra
from espalier.decoders.beams.hypothesis import UID, Hypothesis, Norm, Score, checked, normaliser
from espalier.decoders.decoder import Weighted, check_parts
from espalier.decoders.faithful.ends import end_tokens
from espalier.decoders.speculation import check_extras
from espalier.errors import DeadEnd, Unsatisfiable, expect, require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Row, Rows
from espalier.run import Decoder
from espalier.scorer import Ask, Scorer
from espalier.shaper import Stage
from espalier.stop import Stop

StopRule = Literal["bound", "never", "fcfs"]


@dataclass(frozen=True)
class Beam:
    """Beam search: the `width` best unfinished prefixes go on, finished ones are kept apart.

    Score: logp / norm(length), plus `coverage` · Σ log min(attention to a place of the prompt, 1), minus λ · R of uid=(R, λ)
    with R "variance", "local", "max", "square" or "greedy" of the surprisals; or what `score(hypotheses)` says of each.
    Stop: "fcfs", when width · `patience` texts are finished; "bound", when nothing unfinished can still beat the finished
    ones (the same result as "never": when nothing is unfinished); where a score has no known bound it is "never".
    `groups` of hypotheses are chosen one after the other, and a token costs `diversity` for each time that earlier groups
    chose it in this step. propose="sample": a row's candidates are drawn without replacement instead of taken from its top.

    Guarantee: a heuristic; with a beam as wide as the language, the best is the best of all. logp is the *model's*: under a
    constraint it is not renormalised. Scores and coverage: Wu et al. 2016 (arXiv 1609.08144); patience: Kasai et al. 2022
    (arXiv 2204.05424); groups: Vijayakumar et al. 2016 (arXiv 1610.02424); uid: Meister et al. 2020 (arXiv 2010.02650);
    scores of a continuation: BEAST (arXiv 2402.15570); values: Josifoski et al. 2022 (arXiv 2210.07228).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=2, seed=0)
    >>> [found] = es.run(Beam(4)(model, es.Prefix([1]), es.stop.budget(2), es.Rng(0)))
    >>> len(found), found[0].log_weight >= found[1].log_weight
    (4, True)
    """

    width: int
    score: Score | None = None
    norm: Norm = "gnmt"
    coverage: float | None = None
    patience: float = 1
    stop: StopRule = "bound"
    groups: int = 1
    diversity: float = 0
    uid: tuple[str, float] = ("variance", 0)
    propose: Literal["top", "sample"] = "top"
    many: ClassVar[bool] = True  # one run finds several texts

    def __post_init__(self) -> None:
        expect(self.width, int, "width", "a whole number")
        require(self.width >= 1, f"width={self.width}: a beam keeps at least one hypothesis")
        normaliser(self.norm)
        require(self.stop in ("bound", "never", "fcfs"), f"stop={self.stop!r}; use 'bound', 'never' or 'fcfs'")
        require(self.patience > 0, f"patience={self.patience}: a factor above 0")
        fcfs = self.patience == 1 or self.stop == "fcfs"
        require(fcfs, "patience counts finished texts, which only stop='fcfs' looks at; write Beam(…, stop='fcfs')")
        divides = self.groups >= 1 and self.width % self.groups == 0
        require(divides, f"groups={self.groups}: as many as divide width={self.width}")
        require(self.uid[0] in UID, f"uid={self.uid!r}; use (one of {', '.join(map(repr, UID))}, a number)")
        require(self.propose in ("top", "sample"), f"propose={self.propose!r}; use 'top' or 'sample'")
        plain = self.coverage is None and not self.uid[1]
        require(self.score is None or plain, "score replaces coverage and uid; give one of them")

    def __call__(self, scorer: Scorer, x: Prefix, stop: Stop, rng: Rng) -> Decoder[list[Weighted]]:
        found = yield from self.search(scorer, x, stop, rng)
        return [Weighted(h.prefix, h.score) for h in found]

    def search(self, scorer: Scorer, x: Prefix, stop: Stop, rng: Rng) -> Decoder[list[Hypothesis]]:
        """The `width` best finished hypotheses, best first; fewer if there are fewer."""
        check_parts(scorer, x, stop, rng)
        want = frozenset({Extra.ATTENTION} if self.coverage is not None else set[str]())
        check_extras(scorer, want, "Beam(coverage=…)")
        limit = longest(stop)
        done: list[Hypothesis] = []
        live = [[Hypothesis(x, 0.0, 0.0)] for _ in range(self.groups)]
        while any(live) and not self._over([h for group in live for h in group], done, limit):
            prefixes = list(dict.fromkeys(h.prefix for group in live for h in group))
            rows = yield Ask(scorer, prefixes, want)
            at = {prefix: i for i, prefix in enumerate(prefixes)}
            chosen: Counter[int] = Counter()
            for g, group in enumerate(live):
                live[g], over = self._advance(group, rows, at, chosen, stop, rng, len(end_tokens(stop)))
                chosen.update(h.prefix.last for h in [*live[g], *over])
                done = _distinct(done + over)
            if not self._counts():
                done = sorted(done, key=lambda h: -h.score)[: self.width]
        if scorer.stage is not Stage.LOGITS:  # what a constraint has not let end is not valid: it counts if nothing else came
            done = [h for h in done if stop(h.prefix) == "stop" or scorer.may_end(h.prefix)] or done
        if not done:
            raise Unsatisfiable("no hypothesis in the beam could be finished under the constraint; try a wider beam")
        return sorted(done, key=lambda h: -h.score)[: self.width]

    def _counts(self) -> bool:
        return self.stop == "fcfs"

    def _advance(
        self, group: list[Hypothesis], rows: Rows, at: dict[Prefix, int], chosen: Counter[int], stop: Stop, rng: Rng, ends: int
    ) -> tuple[list[Hypothesis], list[Hypothesis]]:
        """The best unfinished and the finished among a group's children."""
        width = self.width // self.groups
        grown = [child for h in group for child in self._children(h, rows, at[h.prefix], self.width * (1 + max(1, ends)), rng)]
        if self.score is not None:
            scores = checked(self.score(grown), len(grown), "score")
            grown = [h.with_score(score) for h, score in zip(grown, scores, strict=True)]
            ranked = sorted(grown, key=lambda h: -h.score + self.diversity * chosen[h.prefix.last])
        else:  # the length is the same for all, so it does not matter here
            norm = normaliser(self.norm)
            ranked = sorted(grown, key=lambda h: -h.score * norm(h.length) + self.diversity * chosen[h.prefix.last])
        live: list[Hypothesis] = []
        over: list[Hypothesis] = []
        cut = 0
        for rank, h in enumerate(ranked):
            reason = stop(h.prefix)
            if reason == "stop":  # an end that would not have been kept must not crowd out better ones
                over += [h] if rank < width else []
            elif len(live) + cut < width:
                live += [h] if reason is None else []
                over += [h] if reason is not None else []
                cut += reason is not None
        return live, over

    def _children(self, h: Hypothesis, rows: Rows, at: int, k: int, rng: Rng) -> list[Hypothesis]:
        row = rows[at]
        covered = h.covered
        if self.coverage is not None:
            seen = rows.extras[Extra.ATTENTION][at].double()
            covered = seen if covered is None else covered + seen
        if self.propose == "top" and not self.uid[1] and (by_checks := row.leading(k)) is not None:
            return [self._scored(h, token, logp, 0.0, covered) for token, logp in by_checks]
        try:
            candidates = row.top(k) if self.propose == "top" else drawn(row, k, rng)
            shift, least = row.log_normaliser, -float(row.dense().max()) if self.uid[1] else 0.0
        except DeadEnd:
            return []
        return [self._scored(h, token, logp + shift, least - shift, covered) for token, logp in candidates]

    def _scored(self, h: Hypothesis, token: int, logp: float, least: float, covered: Tensor | None) -> Hypothesis:
        prefix, total = h.prefix + token, h.logp + logp
        uneven = h.uneven.after(-logp, least) if self.uid[1] else h.uneven
        score = total
        if self.uid[1]:
            score -= self.uid[1] * UID[self.uid[0]](uneven)
        score /= normaliser(self.norm)(len(prefix) - len(prefix.origin))
        if covered is not None and self.coverage is not None:
            score += self.coverage * float(covered.clamp(min=1e-9, max=1.0).log().sum())
        return Hypothesis(prefix, total, score, uneven, covered)

    def _over(self, live: list[Hypothesis], done: list[Hypothesis], limit: int | None) -> bool:
        if self.stop == "fcfs":
            return len(done) >= self.width * self.patience
        bounded = self.score is None and self.coverage is None and not self.uid[1] and self.stop == "bound"
        if not bounded or len(done) < self.width:
            return False
        worst = sorted((h.score for h in done), reverse=True)[self.width - 1]
        return max(self._attainable(h, limit) for h in live) <= worst

    def _attainable(self, h: Hypothesis, limit: int | None) -> float:
        """The best score that a text which begins so can have: its probability only falls, its length counts most at an end."""
        norm, length = normaliser(self.norm), h.length + 1
        ends = [norm(length), norm(limit) if limit is not None else norm(10**9)]
        return h.logp / max(ends) if h.logp < 0 else 0.0


def beam(scorer: Scorer, x: Prefix, stop: Stop, width: int, alpha: float = 1.0) -> Decoder[list[Hypothesis]]:
    """The `width` best finished hypotheses below x, best first: `Beam(width, norm=alpha)` with its log-probabilities.

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=2, seed=0)
    >>> [found] = es.run(beam(model, es.Prefix(), es.stop.budget(2), width=16, alpha=0.0))
    >>> best = max(model.joint(es.Prefix(), 2).items(), key=lambda item: item[1])
    >>> tuple(found[0].prefix.ids()) == best[0]
    True
    """
    return Beam(width, norm=alpha).search(scorer, x, stop, Rng(0))


def drawn(row: Row, k: int, rng: Rng) -> list[tuple[int, float]]:
    """k tokens drawn from a row without replacement, with their log-probabilities; fewer if fewer are possible."""
    weights = row.probs().double().clone()
    tokens: list[int] = []
    while len(tokens) < k and bool((weights > 0).any()):
        tokens.append(rng.categorical(weights))
        weights[tokens[-1]] = 0
    return [(token, row.logp(token)) for token in tokens]


def longest(stop: Stop) -> int | None:
    """The most tokens that a stop condition lets be written; None if it does not say."""
    most: int | None = getattr(stop, "most", None)
    return most


def _distinct(hypotheses: Sequence[Hypothesis]) -> list[Hypothesis]:
    """Without those whose tokens an earlier one has (groups may find the same text)."""
    seen: dict[tuple[int, ...], Hypothesis] = {}
    for h in hypotheses:
        seen.setdefault(tuple(h.prefix.written()), h)
    return list(seen.values())
