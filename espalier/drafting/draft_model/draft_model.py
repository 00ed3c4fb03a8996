"""Drafts written by a smaller model: chains and trees, drawn or most probable."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from espalier.drafting.draft import Draft, Drafter, Kind
from espalier.drafting.draft_model.row_cache import known
from espalier.drafting.policies import Chain, Constant, LengthPolicy, TreePolicy, grow
from espalier.errors import InvalidInput, expect
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows
from espalier.scorer import Ask, Constrained, Scorer, Shaped, Wrapper


class DraftModel(Drafter):
    """A draft that `scorer` (a model, shaped and constrained as you like) writes with the tree's and the length's policies.

    By default a chain of `tokens` draws, to be verified by `Rejection` or `Block`. `tree` decides about the shape and about
    how tokens are chosen (`tree.kind`): `Chains(k, depth)` for `KSeq`, `KConfig(…)` and `StochasticBeam(…)` without
    replacement for `Recursive`, deterministic ones for `SampleMatch`. A bare model speaks under the target's own shapers and
    guide, so that it is greedy where the target is and leaves no constraint; a model with shapers of its own is left as it
    is. Either way the laws in the draft are the ones that were drawn from. Leviathan et al. 2023 (arXiv 2211.17192).

    >>> import espalier as es
    >>> small, big = (es.models.Table.random(vocab_size=4, depth=d, seed=0) for d in (1, 2))
    >>> verify, stop = es.verification.Rejection(), es.stop.budget(8)
    >>> [x] = es.run(es.speculate(big, es.Prefix([0]), stop, DraftModel(small, tokens=3), verify, es.Rng(0)))
    >>> len(x.written()), big.passes < 8
    (8, True)
    """

    def __init__(
        self, scorer: Scorer, tokens: int = 5, tree: TreePolicy | None = None, length: LengthPolicy | None = None
    ) -> None:
        self.scorer = scorer
        self.length = length if length is not None else Constant(tokens)
        self.tree = tree if tree is not None else Chain(tokens)
        self.kind, self.want = self.tree.kind, self.length.reads
        self._spoken = scorer

    def check(self, scorer: Scorer) -> None:
        same_vocabulary(self.scorer, scorer)
        self._spoken = in_place_of_model(scorer, self.scorer, self.kind)

    def begin(self, x: Prefix) -> Drafter:
        return DraftModel(self._spoken, tree=self.tree.begin(x), length=self.length.begin(x))

    def propose(self, x: Prefix, rng: Rng) -> Generator[Ask, Any, Draft]:
        return grow(known(self.scorer), x, self.tree, self.length, rng)

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        self.tree.observe(x, draft, rows)
        self.length.observe(x, draft, rows)


def in_place_of_model(target: Scorer, drafter: Scorer, kind: Kind = "with replacement") -> Scorer:
    """The target's shapers and constraints over the drafter, if it has none of its own; else the drafter as it is.

    A deterministic draft leaves temperature 0 out: the most probable tokens are the same, and policies still see how sure the
    drafter is and what else it would say.

    >>> import espalier as es
    >>> small, big = (es.models.Table.random(vocab_size=4, depth=d, seed=0) for d in (1, 2))
    >>> greedy = in_place_of_model(big | es.temperature(0), small)
    >>> greedy.inner is small, greedy.shaper.t
    (True, 0.0)
    """
    if isinstance(drafter, Shaped | Constrained):
        return drafter
    if isinstance(target, Shaped):
        spoken = in_place_of_model(target.inner, drafter, kind)
        return spoken if kind == "deterministic" and target.shaper.greedy else spoken | target.shaper
    if isinstance(target, Constrained):
        return Constrained(in_place_of_model(target.inner, drafter, kind), target.constraint)
    if isinstance(target, Wrapper):  # one that only looks on, such as a meter
        return in_place_of_model(target.inner, drafter, kind)
    return drafter


def same_vocabulary(drafter: Scorer, target: Scorer) -> None:
    """Raise `InvalidInput` unless two scorers speak of the same tokens."""
    expect(drafter, Scorer, "the draft model", "a scorer, such as lm.scorer")
    if drafter.vocab_size != target.vocab_size:
        raise InvalidInput(
            f"the draft model has {drafter.vocab_size} tokens and the target {target.vocab_size}, so a token of one means "
            "nothing to the other; map it with es.drafting.Intersection(draft, target.vocab), or draft text with "
            "es.drafting.Retokenised(draft, target.vocab)"
        )
    if drafter.vocab is not None and target.vocab is not None and drafter.vocab != target.vocab:
        raise InvalidInput(
            "the draft model's vocabulary has as many tokens as the target's, but they do not write the same bytes; map it "
            "with es.drafting.Intersection(draft, target.vocab)"
        )
