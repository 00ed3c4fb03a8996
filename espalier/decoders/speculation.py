"""Speculation: a draft below the text, one pass over the draft, and what the verifier accepts of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from espalier.decoders.backtracking import DeadEnds
from espalier.decoders.decoder import check_parts
from espalier.drafting.draft import Draft, Drafter
from espalier.drafting.shared_drafters import InTurn
from espalier.errors import DeadEnd, InvalidInput, expect
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows
from espalier.run import Decoder, Draw, Keep
from espalier.scorer import Ask, Scorer
from espalier.stop import Stop
from espalier.verification.exact_match import SampleMatch
from espalier.verification.verifier import Verifier, check_pair


def speculate(scorer: Scorer, x: Prefix, stop: Stop, drafter: Drafter, verify: Verifier, rng: Rng) -> Decoder[Prefix]:
    """x, extended by what `drafter` proposes and `verify` accepts, until `stop`; one pass scores a whole draft.

    Guarantee: the verifier's (`verify.guarantee`), for every scorer: shapers with history and constraints are evaluated on
    each node's own path. With an empty draft this is `sample`. Leviathan et al. 2023 (arXiv 2211.17192); trees: Miao et
    al. 2023, "SpecInfer" (arXiv 2305.09781).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=3, seed=0)
    >>> verify, drafter = es.verification.SampleMatch(), es.drafting.PromptLookup()
    >>> [x] = es.run(speculate(model, es.Prefix(), es.stop.budget(3), drafter, verify, es.Rng(0)))
    >>> [y] = es.run(es.sample(model, es.Prefix(), es.stop.budget(3), es.Rng(0)))
    >>> x.ids() == y.ids()  # matching makes the same draws in the same order
    True
    """
    rounds = Rounds(scorer, x, stop, drafter, verify, rng)
    while not stop(x):
        x, _ = yield from rounds.next(x)
    return x


class Rounds:
    """Rounds of speculation for one text: a draft below it, one pass over the draft, what the verifier accepts of it."""

    def __init__(self, scorer: Scorer, x: Prefix, stop: Stop, drafter: Drafter, verify: Verifier, rng: Rng) -> None:
        check_parts(scorer, x, stop, rng)
        check_pair(drafter, verify)
        check_extras(scorer, drafter.want | verify.want, f"{type(drafter.owner).__name__} with {type(verify).__name__}")
        self.scorer, self.stop, self.verify, self.rng = scorer, stop, verify, rng
        self.drafter, self.want, self.own = InTurn(drafter, scorer, x), drafter.want | verify.want, rng.split()
        self.dead = DeadEnds(scorer, stop)
        self.plain = type(verify) is SampleMatch  # without a draft it draws once, as other texts of the turn do

    def next(self, x: Prefix) -> Decoder[tuple[Prefix, Rows]]:
        """The prefix that x grows to in one round, and the rows of the draft that was below x."""
        draft = (yield from self.drafter.propose(x, self.own)).pruned(self._worthwhile)
        draft.scored = len(draft.prefixes)
        rows = yield Ask(self.scorer, [*draft.prefixes, *self.verify.asides(draft)], self.want)
        if missing := self.want - rows.extras.keys():
            raise refused(missing, "drafter or verifier")
        self.drafter.join(draft)
        try:
            drawn = self.plain and len(draft.prefixes) == 1
            for y in [x + (yield Draw(rows[0], self.rng))] if drawn else self._accepted(draft, rows):
                x = yield Keep(y)
                if self.stop(x):
                    break
        except DeadEnd as end:
            x = self.dead.back_up(end)
        self.drafter.observe(x, draft, rows)
        return x, rows

    def _accepted(self, draft: Draft, rows: Rows) -> Iterator[Prefix]:
        """What the verifier yields, if it is what a verifier may yield: prefixes that grow, and one at least."""
        name, last = f"the verifier {type(self.verify).__name__}", draft.prefixes[0]
        accepted = self.verify(draft, rows, self.rng)
        expect(accepted, Iterable, f"what {name} returned", "an iterator over the accepted prefixes")
        for y in accepted:
            if not isinstance(y, Prefix) or len(y) <= len(last):
                raise InvalidInput(f"{name} yielded {y!r} after {last!r}; yield the prefixes from there down, each longer")
            last = y
            yield y
        if last is draft.prefixes[0]:
            raise InvalidInput(f"{name} yielded nothing, so the text would never end; the token that it drew is the least")

    def _worthwhile(self, y: Prefix) -> bool:
        """Nothing goes on behind a node that ends the text, and its own token any pass gives."""
        return not self.stop(y) and self.scorer.viable(y)


def check_extras(scorer: Scorer, want: frozenset[str], who: str) -> None:
    """Raise `InvalidInput` if the scorer says that its passes do not give all of `want`, which `who` reads."""
    if scorer.extras is not None and (missing := want - scorer.extras):
        raise refused(missing, who)


def refused(missing: Iterable[str], who: str) -> InvalidInput:
    return InvalidInput(
        f"{who} read {sorted(missing)} of the target's pass, which this target does not give; use one that reads tokens "
        "alone, such as es.drafting.PromptLookup() with es.verification.SampleMatch()"
    )
