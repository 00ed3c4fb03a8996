"""DeCo: what a layer shortly before the last was sure of is added to the last."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from espalier.errors import require
from espalier.prefix import Prefix
from espalier.rows import Rows
from espalier.scorer import Answer, Ask, Scorer
from espalier.shaping.layers.lens import LAYERS, Lens
from espalier.shaping.scores import NEVER


class deco(Lens):
    """z_N + alpha · m · z_l on the candidates of the last layer, l the layer that gives one of them the largest probability, m.

    Candidates: of the `top_k` most probable tokens the shortest run of mass `top_p`; all others follow far below. `layers`
    are 5/8 to 7/8 of the depth (20 to 28 of 32) if left out, read through the final norm. alpha = 0 is the last layer, cut
    to the candidates. Wang et al. 2024, "MLLM can see? Dynamic correction decoding" (arXiv 2410.11779).

    >>> import espalier as es
    >>> lm = es.load()  # doctest: +SKIP
    >>> print(lm.generate("Who wrote Faust?", scorer=deco(lm.scorer)))  # doctest: +SKIP
    """

    def __init__(
        self, scorer: Scorer, layers: Sequence[int] | None = None, alpha: float = 0.6, top_p: float = 0.9, top_k: int = 20
    ) -> None:
        super().__init__(scorer, True, "deco")
        require(alpha >= 0, f"alpha={alpha}: the weight of the earlier layer, from 0; 0.6 is usual")
        require(0 < top_p <= 1, f"top_p={top_p}: a mass is more than 0 and at most 1; 0.9 is usual")
        require(top_k >= 1, f"top_k={top_k}: at least one candidate; 20 is usual")
        self.alpha, self.top_p, self.top_k = alpha, top_p, top_k
        late = range(round(0.625 * self.count), min(round(0.875 * self.count), self.count - 1) + 1)
        self.layers = self.chosen(list(late) or [self.count - 1] if layers is None else layers)

    def answer(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Answer:
        rows: Rows = yield Ask(self.inner, prefixes, want | LAYERS)
        logits, early = rows.logits, self.through(rows, self.layers)
        keep = self._candidates(logits)
        sure = early.softmax(-1).masked_fill(~keep[:, None], -1).amax(-1)  # [N, layers]
        most, at = sure.max(-1)
        chosen = early[torch.arange(len(early), device=early.device), at]
        shaped = logits + self.alpha * most[:, None] * chosen
        return rows.with_logits(torch.where(keep, shaped, torch.log_softmax(logits, -1) - NEVER))

    def _candidates(self, logits: Tensor) -> Tensor:
        values, tokens = logits.softmax(-1).topk(min(self.top_k, logits.shape[-1]), -1)
        keep = (values.cumsum(-1) - values < self.top_p) & (values > 0)
        return torch.zeros_like(logits, dtype=torch.bool).scatter(-1, tokens, keep)
