"""Verification by matching: the target chooses as if there were no draft, and the draft is followed as far as it agrees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar, Literal

from espalier.drafting.draft import Draft, Kind
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Row, Rows
from espalier.verification.verifier import Verifier

ANY: frozenset[Kind] = frozenset({"deterministic", "with replacement", "without replacement"})


class GreedyMatch(Verifier):
    """The path of most probable tokens through the draft, and the most probable token after it.

    Guarantee: greedy, for any draft. Stern, Shazeer, Uszkoreit 2018, "Blockwise parallel decoding" (arXiv 1811.03115).
    """

    guarantee: ClassVar[Literal["greedy", "sampling", "lossy"]] = "greedy"
    accepts: ClassVar[frozenset[Kind]] = ANY

    def __call__(self, draft: Draft, rows: Rows, rng: Rng) -> Iterator[Prefix]:
        return _follow(draft, rows, Row.argmax)


class SampleMatch(Verifier):
    """One draw per visited node: followed if the draft has it, emitted if not.

    Guarantee: sampling, for any draft that was made without looking at `rng`; with the same seed the very tokens that
    `sample` gives, since the same draws are made in the same order.
    """

    guarantee: ClassVar[Literal["greedy", "sampling", "lossy"]] = "sampling"
    accepts: ClassVar[frozenset[Kind]] = ANY

    def __call__(self, draft: Draft, rows: Rows, rng: Rng) -> Iterator[Prefix]:
        return _follow(draft, rows, lambda row: row.draw(rng))


def _follow(draft: Draft, rows: Rows, choose: Callable[[Row], int]) -> Iterator[Prefix]:
    node: int | None = 0
    while node is not None:
        x, token = draft.prefixes[node], choose(rows[node])
        node = next((child for child in draft.children[node] if draft.token(child) == token), None)
        yield x + token if node is None else draft.prefixes[node]
