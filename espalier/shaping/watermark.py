"""Watermarks: a bias that is invisible to readers and evident to whoever holds the key."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from espalier.errors import require
from espalier.prefix import Prefix
from espalier.shaper import Shaper, Stage


@dataclass(frozen=True, slots=True)
class Detection:
    """How many of the scored tokens are green, the z-score of that, and the probability of a z as high without a watermark.

    >>> watermark(key=1).detect([1, 2, 3], vocab_size=10).scored
    2
    """

    green: int
    scored: int
    z: float
    p: float


class watermark(Shaper):
    """Adds `delta` to the logits of the green tokens: a fraction `gamma` of the vocabulary, chosen by `key` and the last token.

    `detect` needs the key and no model. A text of T scored tokens without the watermark has z = (green - γT) / √(Tγ(1 - γ))
    near a standard normal one; with it z grows with √T. Each pair of tokens is scored once, since a repeated pair is no new
    evidence. The list depends on the prefix alone, so drafts carry the same watermark. Kirchenbauer et al. 2023, "A watermark
    for large language models" (arXiv 2301.10226).

    >>> mark = watermark(key=7, delta=4.0)
    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=50, depth=2, seed=0)
    >>> [x] = es.run(es.sample(model | mark, es.Prefix([0]), es.stop.budget(60), es.Rng(0)))
    >>> [y] = es.run(es.sample(model, es.Prefix([0]), es.stop.budget(60), es.Rng(0)))
    >>> mark.detect(x.ids(), 50).z > 4 > mark.detect(y.ids(), 50).z
    True
    """

    stage: ClassVar[Stage] = Stage.LOGITS

    def __init__(self, key: int, gamma: float = 0.25, delta: float = 2.0) -> None:
        require(key >= 0, f"key={key}: a key is a whole number that is not negative")
        require(0 < gamma < 1, f"gamma={gamma}: the green share of the vocabulary is above 0 and below 1")
        require(math.isfinite(delta), f"delta={delta}: it is added to logits; 2 is usual")
        self.key, self.gamma, self.delta = key, gamma, delta
        self._green = functools.lru_cache(4096)(self._list)

    def green(self, last: int, vocab_size: int) -> Tensor:
        """The green tokens after a token: bool [V], exactly round(γV) of them."""
        return self._green(last, vocab_size)

    def _list(self, last: int, vocab_size: int) -> Tensor:
        order = np.random.default_rng([self.key, last]).permutation(vocab_size)
        mask = torch.zeros(vocab_size, dtype=torch.bool)
        mask[torch.from_numpy(order[: round(self.gamma * vocab_size)].copy())] = True
        return mask

    def __call__(self, weights: Tensor, prefixes: Sequence[Prefix]) -> Tensor:
        size = weights.shape[-1]
        masks = [self.green(x.last, size) if len(x) else torch.zeros(size, dtype=torch.bool) for x in prefixes]
        return weights + self.delta * torch.stack(masks).to(weights)

    def detect(self, tokens: Sequence[int], vocab_size: int) -> Detection:
        """What the watermark's key says about a text of at least two tokens."""
        require(len(tokens) >= 2, f"a text of {len(tokens)} tokens has no pair of tokens to score; give at least two")
        pairs = set(itertools.pairwise(tokens))
        green = sum(bool(self.green(last, vocab_size)[token]) for last, token in pairs)
        gamma, n = round(self.gamma * vocab_size) / vocab_size, len(pairs)
        z = (green - gamma * n) / math.sqrt(n * gamma * (1 - gamma))
        return Detection(green, n, z, math.erfc(z / math.sqrt(2)) / 2)
