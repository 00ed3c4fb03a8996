"""A length policy for drafters that have none of their own: prompt lookup, stores, tables of n-grams."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from espalier.drafting.draft import Draft, Drafter
from espalier.drafting.policies import LengthPolicy
from espalier.errors import InvalidInput, expect
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows
from espalier.scorer import Ask, Scorer

__all__ = ["Limited", "shallow"]


class Limited(Drafter):
    """Another drafter's drafts, no deeper than a length policy plans for the round; nothing is proposed where it plans 0.

    For drafters that ask no model: the policy decides before the draft is made, by what became of earlier ones (`Constant`,
    `Heuristic`, `BASS`, `Goodput`, `BanditLength` …). So drawn drafts keep their law. Raises InvalidInput for a policy that
    looks at the rows of a draft model, such as `Confidence`. Tested by `test_model_free_drafters_take_length_policies`.

    >>> import espalier as es
    >>> model, verify = es.models.Table.random(vocab_size=3, depth=1, seed=0), es.verification.SampleMatch()
    >>> drafter = Limited(es.drafting.PromptLookup(tokens=8), es.drafting.Heuristic(start=2))
    >>> [x] = es.run(es.speculate(model, es.Prefix([0, 1]), es.stop.budget(20), drafter, verify, es.Rng(0)))
    >>> len(x.written())
    20
    """

    def __init__(self, drafter: Drafter, length: LengthPolicy) -> None:
        expect(drafter, Drafter, "drafter", "a drafter, such as es.drafting.PromptLookup()")
        expect(length, LengthPolicy, "length", "a length policy, such as es.drafting.Heuristic(3)")
        if not length.blind:
            raise InvalidInput(
                f"{type(length).__name__} ends a draft by what the draft model's rows say, and {type(drafter).__name__} has no "
                "model; use a policy that goes by what was accepted, such as es.drafting.Heuristic(3)"
            )
        self.drafter, self.length = drafter, length
        self.kind, self.want = drafter.kind, drafter.want | length.reads

    def check(self, scorer: Scorer) -> None:
        self.drafter.check(scorer)

    @property
    def owner(self) -> Drafter:
        return self.drafter.owner

    def begin(self, x: Prefix) -> Drafter:
        return Limited(self.drafter.begin(x), self.length.begin(x))

    def propose(self, x: Prefix, rng: Rng) -> Generator[Ask, Any, Draft]:
        if self.length.meeting is not None:
            yield Ask(self.length.meeting, [x])
        most = self.length.plan(x, rng)
        if most == 0:
            return Draft(x)
        draft = yield from self.drafter.propose(x, rng)
        return draft if most is None else shallow(draft, most)

    def join(self, draft: Draft) -> None:
        self.drafter.join(draft)

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        self.drafter.observe(x, draft, rows)
        self.length.observe(x, draft, rows)


def shallow(draft: Draft, most: int) -> Draft:
    """The draft down to a depth that does not depend on its tokens, so that draws keep their laws.

    >>> draft = Draft(Prefix([1])); last = draft.extend(0, [2, 3, 4])
    >>> [x.ids() for x in shallow(draft, 2).prefixes]
    [[1], [1, 2], [1, 2, 3]]
    """
    kept, place = Draft(draft.prefixes[0]), {0: 0}
    for node in range(1, len(draft.prefixes)):
        if draft.parents[node] in place and draft.depth(node) <= most:
            place[node] = kept.adopt(place[draft.parents[node]], draft.prefixes[node])
    for node, at in place.items():
        kept.children[at] = [place[child] for child in draft.children[node] if child in place]
        if node in draft.laws and kept.children[at]:
            kept.laws[at] = draft.laws[node]
    return kept
