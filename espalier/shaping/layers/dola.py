"""DoLa: what the last layer says more than an early one, the one that differs most."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from espalier.errors import require
from espalier.prefix import Prefix
from espalier.rows import Rows
from espalier.scorer import Answer, Ask, Scorer
from espalier.shaping.combine.linear import plausible
from espalier.shaping.layers.lens import LAYERS, Lens
from espalier.shaping.scores import NEVER


class dola(Lens):
    """log p_N - log p_M on the tokens with p_N ≥ alpha · max p_N: N the last layer, M the candidate whose law differs most.

    Candidates: "low" or "high", every second layer of that half (from layer 2 on where embedding and head are one matrix), or
    a list of layers, 0 for the embeddings. The difference is `divergence`: "jsd", or "swapped", the mean of KL(m ‖ p_N) and
    KL(m ‖ p_l), m the average. `norm` puts early layers through the final norm. `released=True` is what the authors' code and
    transformers compute: no norm, "swapped". With equal layers the plausible tokens are alike. Chuang et al. 2023, "DoLa"
    (arXiv 2309.03883), who advise `repetition(1.2)` with it.

    >>> import espalier as es
    >>> lm = es.load()  # doctest: +SKIP
    >>> print(lm.generate("Who wrote Faust?", scorer=dola(lm.scorer, "high")))  # doctest: +SKIP
    """

    def __init__(
        self,
        scorer: Scorer,
        layers: Literal["low", "high"] | Sequence[int] = "low",
        alpha: float = 0.1,
        norm: bool = True,
        divergence: Literal["jsd", "swapped"] = "jsd",
        released: bool = False,
    ) -> None:
        super().__init__(scorer, norm and not released, "dola")
        require(0 <= alpha <= 1, f"alpha={alpha}: it is a fraction of the best token's probability, between 0 and 1")
        require(divergence in ("jsd", "swapped"), f"divergence={divergence!r}: use 'jsd' or 'swapped'")
        require(not isinstance(layers, str) or layers in ("low", "high"), f"layers={layers!r}: use 'low', 'high' or a list")
        self.alpha, self.swapped = alpha, released or divergence == "swapped"
        self.layers = self.chosen(bucket(layers, self.count, self.tied) if isinstance(layers, str) else layers)

    def answer(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Answer:
        rows: Rows = yield Ask(self.inner, prefixes, want | LAYERS)
        last = torch.log_softmax(rows.logits, -1)
        early = torch.log_softmax(self.through(rows, self.layers), -1)
        most = difference(last[:, None], early, self.swapped).argmax(-1)
        chosen = early[torch.arange(len(early), device=early.device), most]
        return rows.with_logits(torch.where(plausible(last, self.alpha), last - chosen, last - NEVER))


def bucket(half: str, count: int, tied: bool) -> list[int]:
    """The candidates of a half of `count` layers, as the authors have them: at most 20 layers deep from either end."""
    first = min(2, count // 2) if tied else 0
    if half == "high":
        return list(range(count // 2 if count <= 40 else count - 20, count, 2))
    end = count // 2 if count <= 40 else 20
    return list(range(first, end, 2)) or [first]


def difference(p: Tensor, q: Tensor, swapped: bool) -> Tensor:
    """The divergence of two laws, given by their logs: that of Jensen and Shannon, or with both KLs the other way round."""
    m = torch.logaddexp(p, q) - 0.6931471805599453
    if swapped:
        return 0.5 * (m.exp() * (2 * m - p - q)).sum(-1)
    return 0.5 * ((p.exp() * (p - m)).sum(-1) + (q.exp() * (q - m)).sum(-1))
