"""Verification by matching: the target chooses as if there were no draft, and the draft is followed as far as it agrees."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

from torch import Tensor

from espalier.drafting.draft import Draft, Law
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Row, Rows
from espalier.verification.node_by_node import NodeByNode, one_by_one
from espalier.verification.verifier import Guarantee, Verifier


class GreedyMatch(Verifier):
    """The path of most probable tokens through the draft, and the most probable token after it.

    Guarantee: greedy, for any draft. Stern, Shazeer, Uszkoreit 2018, "Blockwise parallel decoding" (arXiv 1811.03115).

    >>> import espalier as es
    >>> model, stop = es.models.Table.random(vocab_size=3, depth=1, seed=2), es.stop.budget(12)
    >>> [x] = es.run(es.speculate(model, es.Prefix([0]), stop, es.drafting.PromptLookup(), GreedyMatch(), es.Rng(0)))
    >>> [y] = es.run(es.sample(model | es.temperature(0), es.Prefix([0]), stop, es.Rng(0)))
    >>> x.ids() == y.ids()
    True
    """

    guarantee: ClassVar[Guarantee] = "greedy"

    def __call__(self, draft: Draft, rows: Rows, rng: Rng) -> Iterator[Prefix]:
        return _follow(draft, rows, Row.argmax)


class SampleMatch(Verifier):
    """One draw per visited node: followed if the draft has it, emitted if not.

    Guarantee: sampling, for any draft that was made without looking at `rng`; with the same seed the very tokens that
    `sample` gives, since the same draws are made in the same order.

    >>> import espalier as es
    >>> model, stop = es.models.Table.random(vocab_size=3, depth=1, seed=2), es.stop.budget(12)
    >>> [x] = es.run(es.speculate(model, es.Prefix([0]), stop, es.drafting.PromptLookup(), SampleMatch(), es.Rng(7)))
    >>> [y] = es.run(es.sample(model, es.Prefix([0]), stop, es.Rng(7)))
    >>> x.ids() == y.ids()
    True
    """

    guarantee: ClassVar[Guarantee] = "sampling"

    def __call__(self, draft: Draft, rows: Rows, rng: Rng) -> Iterator[Prefix]:
        return _follow(draft, rows, lambda row: row.draw(rng))


class MultiCandidate(NodeByNode):
    """The children of a node one after the other: each is accepted with the probability that the target still gives it.

    A refused child's probability becomes zero and the rest is renormalised, and what remains after the last child is drawn
    from: the law of one draw, as in `SampleMatch`, told in another order. (Drawing anew from the whole of p after a refusal,
    as released code does, is biased towards the children.) Guarantee: sampling, for any draft. Yang et al. 2024,
    "Multi-candidate speculative decoding" (arXiv 2401.06706), where it is the naive rule; with the correction.

    >>> import espalier as es
    >>> small, big = (es.models.Table.random(vocab_size=3, depth=d, seed=0) for d in (1, 2))
    >>> drafter, stop = es.drafting.DraftModel(small, tree=es.drafting.KConfig((2, 1))), es.stop.budget(8)
    >>> [x] = es.run(es.speculate(big, es.Prefix([0]), stop, drafter, MultiCandidate(), es.Rng(0)))
    >>> len(x.written()), big.passes < 8
    (8, True)
    """

    guarantee: ClassVar[Guarantee] = "sampling"

    def choose(self, p: Tensor, law: Law | None, tokens: Sequence[int], rng: Rng) -> tuple[int, bool]:
        return one_by_one(p, tokens, rng)


def _follow(draft: Draft, rows: Rows, choose: Callable[[Row], int]) -> Iterator[Prefix]:
    node: int | None = 0
    while node is not None and draft.has_row(node):
        x, token = draft.prefixes[node], choose(rows[node])
        node = next((child for child in draft.children[node] if draft.token(child) == token), None)
        yield x + token if node is None else draft.prefixes[node]
