"""Contrastive search: probable tokens whose hidden state is unlike those of the text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from espalier.capabilities import Extra
from espalier.errors import require
from espalier.prefix import Prefix
from espalier.rows import Rows
from espalier.scorer import Answer, Scorer, Wrapper
from espalier.shaping.extras import require_extra
from espalier.shaping.forks import Forks, unrestricted
from espalier.shaping.positions import Positions
from espalier.shaping.scores import candidates

_BLOCK = 64
HIDDEN = frozenset({Extra.HIDDEN})


@dataclass(frozen=True, slots=True)
class Directions:
    """Vectors of length 1, one per position: blocks of doubling sizes, O(log T) of them, and those since."""

    blocks: tuple[Tensor, ...] = ()
    recent: tuple[Tensor, ...] = ()

    def __add__(self, hidden: Tensor) -> Directions:
        recent = (*self.recent, unit(hidden))
        if len(recent) < _BLOCK:
            return Directions(self.blocks, recent)
        block, blocks = torch.stack(recent), list(self.blocks)
        while blocks and len(blocks[-1]) == len(block):
            block = torch.cat([blocks.pop(), block])
        return Directions((*blocks, block), ())

    def cosines(self, hidden: Tensor) -> Tensor:
        """[k, T]: of some vectors [k, D] with all positions."""
        parts = [*self.blocks, torch.stack(self.recent)] if self.recent else list(self.blocks)
        directions = unit(hidden)
        return torch.cat([part @ directions.T for part in parts]).T  # the tall one first: twice as fast


def unit(hidden: Tensor) -> Tensor:
    """Vectors of length 1 in these directions."""
    hidden = hidden if hidden.dtype == torch.float64 else hidden.float()
    length: Tensor = hidden.norm(dim=-1, keepdim=True)
    return hidden / length.clamp(min=1e-12)


def remember(scorer: Scorer) -> Positions[Tensor, Directions]:
    """The directions of the hidden states of all positions of each text."""

    def add(state: Directions | None, hidden: Tensor, node: Prefix) -> Directions:
        return (state or Directions()) + hidden

    return Positions(scorer, HIDDEN, lambda rows, i: rows.extras["hidden"][i].clone(), add)


class contrastive_search(Wrapper):
    """Scores (1 - alpha) · p(v) - alpha · max_j cos(h_v, h_j) for the k most probable tokens v, j over all earlier positions.

    h_v is the last hidden state after v: k rows are asked about ahead, in one pass, and the chosen one's row is kept, so a
    token costs one pass of k rows. Scores are made for the argmax; a row is their softmax, other tokens far below.
    alpha = 0 is greedy. Su et al. 2022 (arXiv 2202.06417); Su, Collier 2022 (arXiv 2210.14140).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=6, depth=2, seed=0)
    >>> scorer = contrastive_search(model, k=3, alpha=0.4) | es.temperature(0)
    >>> [x] = es.run(es.sample(scorer, es.Prefix([1]), es.stop.budget(4), es.Rng(0)))
    >>> len(x.written()), model.passes
    (4, 5)
    """

    def __init__(self, scorer: Scorer, k: int = 4, alpha: float = 0.6) -> None:
        require(k >= 1, f"k={k}: at least one candidate; 4 to 8 are usual")
        require(0 <= alpha <= 1, f"alpha={alpha}: the share of the penalty, 0 to 1; 0.6 is usual")
        super().__init__(unrestricted(scorer, "contrastive_search"))
        require_extra(scorer, Extra.HIDDEN, "contrastive_search")
        self.k, self.alpha = k, alpha
        self._forks = Forks(scorer, HIDDEN)
        self._texts = remember(self._forks)

    def answer(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Answer:
        rows: Rows = yield from self._texts.read(prefixes, want)
        top = torch.log_softmax(rows.logits, -1).topk(min(self.k, self.vocab_size), -1)
        ahead = yield from self._forks.ahead(prefixes, top.indices.tolist())
        shaped = []
        for i, x in enumerate(prefixes):
            hidden = torch.stack([extras["hidden"] for _, extras in ahead[i]])
            alike = self._texts[x].cosines(hidden).amax(-1).to(rows.logits)
            scores = (1 - self.alpha) * top.values[i].exp() - self.alpha * alike
            shaped.append(candidates(rows.logits[i], top.indices[i], scores))
        return rows.with_logits(torch.stack(shaped))
