"""Token Recycling: the tokens that the target nearly said are drafts for later."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from espalier.drafting.draft import Draft, Drafter, ModelFree, PerText
from espalier.drafting.text_log import Reading, Session
from espalier.drafting.trees.static_tree import grow, rank_template
from espalier.errors import require
from espalier.models.executors import native
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows
from espalier.scorer import Scorer


class TokenRecycling(PerText):
    """A static tree over an adjacency matrix: below a token, the tokens that ranked highest after it when it was last scored.

    Every row that the target computes, of accepted nodes and rejected ones alike, refreshes the row of its node's token, so
    the matrix costs no pass of its own. It is kept for the next request ("hot start"); `shared=False` starts each request
    with an empty one. Before a token was scored, what followed it in the text stands in. Memory: `top` ids per token seen.
    The tree is of `rank_template`, by ranks; the paper's, of 80 nodes, was measured on its models.
    Luo et al. 2024, "Turning trash into treasure: Accelerating inference of large language models with token recycling"
    (arXiv 2408.08696).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=5, depth=1, seed=0)
    >>> drafter, greedy = TokenRecycling(nodes=8), es.verification.GreedyMatch()
    >>> [x] = es.run(es.speculate(model, es.Prefix([1]), es.stop.budget(30), drafter, greedy, es.Rng(0)))
    >>> model.passes < 15  # a bigram model is known after each token was scored once
    True
    """

    def __init__(self, nodes: int = 24, depth: int = 6, top: int = 8, shared: bool = True) -> None:
        self.template = rank_template(nodes, depth, top)
        require(top >= 1, f"top={top}: at least one successor per token must be kept")
        self.top, self.shared = top, shared
        self.matrix: dict[int, Sequence[int]] = {}
        self._session = Session()

    def check(self, scorer: Scorer) -> None:
        self._session.check(scorer)

    def begin(self, x: Prefix) -> Drafter:
        return _Recycling(self, self.matrix if self.shared else {})


class _Recycling(ModelFree):
    def __init__(self, settings: TokenRecycling, matrix: dict[int, Sequence[int]]) -> None:
        self.settings, self.matrix, self._text = settings, matrix, Reading()

    def draft(self, x: Prefix, rng: Rng) -> Draft:
        known, ids = self._text.read(x), self._text.ids
        for at in range(max(known, 1), len(ids)):
            self.matrix.setdefault(ids[at - 1], (ids[at],))
        draft = Draft(x)
        return grow(draft, self.settings.template, lambda node: self._after(draft, node)) if ids else draft

    def _after(self, draft: Draft, node: int) -> Sequence[int]:
        return self.matrix.get(draft.prefixes[node].last, ())

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        for prefix, tokens in zip(rows.prefixes, top_tokens(rows.logits, self.settings.top), strict=True):
            if len(prefix):
                self.matrix[prefix.last] = tokens


def top_tokens(logits: Tensor, k: int) -> list[list[int]]:
    """The k most probable tokens of each row of logits [N, V], best first; fewer if V < k or a token is impossible.

    >>> top_tokens(torch.tensor([[0.0, 2.0, 1.0]]), 2)
    [[1, 2]]
    """
    values, index = native.top(logits, k)
    if bool((values[:, -1] > -torch.inf).all()):
        return index.tolist()
    return [
        [t for t, w in zip(*row, strict=True) if w > -torch.inf] for row in zip(index.tolist(), values.tolist(), strict=True)
    ]
