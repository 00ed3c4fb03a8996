"""Beams for texts that owe phrases: banks by how much is met (grid and dynamic beams)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from espalier.decoders.beams.hypothesis import Hypothesis, Norm, normaliser
from espalier.decoders.beams.phrases import continuations, owed, trackers
from espalier.decoders.decoder import Weighted, at_least, check_parts
from espalier.errors import DeadEnd, Unsatisfiable, require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Row
from espalier.run import Decoder
from espalier.scorer import Ask, Constrained, Scorer
from espalier.stop import Stop


@dataclass(frozen=True)
class Banks:
    """Beam search under a guide that owes something, in banks by `guide.progress`: what is met, and if a phrase is begun.

    Candidates are the best of all, the best of each row, and every token that goes on with an owed phrase. rule="grid" keeps
    `width` hypotheses in each bank (Hokamp and Liu 2017, arXiv 1704.07138); "dynamic" keeps `width` in all, taken in turn
    from the fullest bank down (Post and Vilar 2018, arXiv 1804.06609). Guarantee: the finds satisfy the guide; their scores
    are a heuristic; with a width as large as the language, the best is the best of all. A guide that counts nothing has one
    bank, a plain beam.

    >>> import espalier as es
    >>> from espalier.constraints import contains
    >>> from espalier.text import Vocab
    >>> vocab = Vocab([b"a", b"b", None], end=[2])
    >>> model, stop = es.models.Table.random(3, 1, seed=0, vocab=vocab), es.stop.end([2]) | es.stop.budget(6)
    >>> [found] = es.run(Banks(contains("bb"), 3)(model, es.Prefix([0]), stop, es.Rng(0)))
    >>> b"bb" in vocab.join(found[0].prefix.written())
    True
    """

    guide: Any
    width: int
    rule: Literal["grid", "dynamic"] = "grid"
    norm: Norm = "gnmt"
    many: ClassVar[bool] = True  # one run finds several texts

    def __post_init__(self) -> None:
        at_least(self, width=1)
        require(self.rule in ("grid", "dynamic"), f"rule={self.rule!r}; use 'grid' or 'dynamic'")
        require(hasattr(self.guide, "over"), f"Banks({self.guide!r}): expected a guide such as contains('tea')")
        normaliser(self.norm)

    def __call__(self, scorer: Scorer, x: Prefix, stop: Stop, rng: Rng) -> Decoder[list[Weighted]]:
        check_parts(scorer, x, stop, rng)
        scorer = Constrained(scorer, self.guide)
        banks = _Banked(self, scorer)
        live, done = [Hypothesis(x, 0.0, 0.0)], list[Hypothesis]()
        while live:
            rows = yield Ask(scorer, [h.prefix for h in live])
            grown = [child for h, row in zip(live, rows, strict=True) for child in banks.children(h, row)]
            over = [h for h in grown if stop(h.prefix) is not None]
            done = sorted(done + [h for h in over if stop(h.prefix) == "stop"], key=lambda h: -h.score)[: self.width]
            ended = set(map(id, over))
            live = banks.kept([h for h in grown if id(h) not in ended])
            if len(done) == self.width and self.norm == 0:  # probabilities only fall
                live = [h for h in live if h.logp > done[-1].score]
        if not done:
            raise Unsatisfiable("no text was finished that satisfies the guide within the length limit; try a larger width")
        return [Weighted(h.prefix, h.score) for h in done]


class _Banked:
    def __init__(self, banks: Banks, scorer: Constrained) -> None:
        self.banks, self.scorer = banks, scorer
        self.clauses = [tracker.clauses for tracker in trackers(banks.guide)]

    def children(self, h: Hypothesis, row: Row) -> list[Hypothesis]:
        """The best tokens of a row, and those that go on with what is owed."""
        try:
            found = dict(row.top(2 * self.banks.width))
        except DeadEnd:
            return []
        for token in self.urgent(h.prefix):
            if token not in found and row.allowed(token):
                found[token] = row.logp(token)
        made = []
        for token, logp in found.items():
            prefix, total = h.prefix + token, h.logp + logp + row.log_normaliser
            norm = normaliser(self.banks.norm)(len(prefix) - len(prefix.origin))
            made.append(Hypothesis(prefix, total, total / norm))
        return made

    def urgent(self, x: Prefix) -> list[int]:
        """The tokens that go on with an owed phrase."""
        vocab = self.scorer.vocab
        if vocab is None or not self.clauses:
            return []
        text, met = vocab.join(x.written()), self.progress(x)
        tokens = []
        for clauses, progress in zip(self.clauses, met, strict=False):
            ways = continuations(text, owed(clauses, progress.clauses), vocab)
            tokens += [way[0] for way in ways.values()]
        return list(dict.fromkeys(tokens))

    def progress(self, x: Prefix) -> list[Any]:
        """What each of the guide's trackers says of a text."""
        said = self.scorer.constraint.progress(self.scorer.state(x))  # type: ignore[attr-defined]
        return [said] if hasattr(said, "met") else list(said) if isinstance(said, tuple) else []

    def bank(self, h: Hypothesis) -> tuple[int, int]:
        """How much is met, and whether more is begun."""
        said = [p for p in self.progress(h.prefix) if hasattr(p, "met")]
        return sum(p.met for p in said), int(any(p.begun for p in said))

    def kept(self, grown: list[Hypothesis]) -> list[Hypothesis]:
        """The hypotheses that go on: the best of each bank, or in turn from the fullest bank down."""
        banks: dict[tuple[int, int], list[Hypothesis]] = defaultdict(list)
        for h in sorted(grown, key=lambda h: -h.score):
            if self.scorer.viable(h.prefix):
                banks[self.bank(h)].append(h)
        if self.banks.rule == "grid":
            return [h for bank in banks.values() for h in bank[: self.banks.width]]
        striped = [(i, -b[0], -b[1], h) for b, bank in banks.items() for i, h in enumerate(bank)]
        return [h for *_, h in sorted(striped, key=lambda item: item[:3])[: self.banks.width]]
