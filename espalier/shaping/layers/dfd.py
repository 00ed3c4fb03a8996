"""Dynamic focus decoding: the more the layers change their minds, the lower the temperature."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from espalier.errors import require
from espalier.prefix import Prefix
from espalier.rows import Rows
from espalier.scorer import Answer, Ask, Scorer
from espalier.shaping.layers.lens import LAYERS, Lens


class dfd(Lens):
    """z_N / T with T = base · 2^(-D / sigma): D the mean over earlier layers of KL(p_N ‖ p_l), on the tokens with
    p_N > max p_N / 10, both renormalised there.

    Layers that differ mark a step of knowledge, which is drawn sharper. `layers` are all below the last if left out (from 1
    on where embedding and head are one matrix); `norm` puts them through the final norm, the authors' code does not. With equal
    layers T is `base`. It takes the place of a temperature. Luo et al. 2025 (arXiv 2503.08057).

    >>> import espalier as es
    >>> lm = es.load()  # doctest: +SKIP
    >>> print(lm.generate("Tell a story.", scorer=dfd(lm.scorer), temperature=1.0))  # doctest: +SKIP
    """

    def __init__(
        self,
        scorer: Scorer,
        base: float = 1.1,
        sigma: float = 4.0,
        layers: Sequence[int] | None = None,
        norm: bool = True,
    ) -> None:
        super().__init__(scorer, norm, "dfd")
        require(0 < base < math.inf, f"base={base}: the temperature where all layers agree, above 0; 1.1 is usual")
        require(sigma > 0, f"sigma={sigma}: how many nats halve the temperature, above 0; 4 is usual")
        self.base, self.sigma = base, sigma
        self.layers = self.chosen(list(range(1 if self.tied else 0, self.count)) if layers is None else layers)

    def answer(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Answer:
        rows: Rows = yield Ask(self.inner, prefixes, want | LAYERS)
        logits = rows.logits
        head = logits > logits.amax(-1, keepdim=True) - math.log(10)
        ours = torch.log_softmax(logits.masked_fill(~head, -torch.inf), -1)[:, None]
        theirs = torch.log_softmax(self.through(rows, self.layers).masked_fill(~head[:, None], -torch.inf), -1)
        terms = torch.where(head[:, None], ours.exp() * (ours - theirs), 0.0)
        change = terms.sum(-1).mean(-1, keepdim=True)
        return rows.with_logits(logits / (self.base * 0.5 ** (change / self.sigma)))
