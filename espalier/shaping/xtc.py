"""XTC: with some probability the most probable tokens are left out, all of them but the last that is probable enough."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from espalier.errors import require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.shaper import Shaper, Stage
from espalier.shaping.history import History

_COINS = 0x787463  # the key of the source of coins among those of a text


class xtc(History[int]):
    """With this probability removes all tokens with p ≥ threshold but the least probable of them.

    One flip per prefix, from the source that belongs to its tokens (`rng.at`), so whoever asks about a prefix, in a draft, a
    batch or a beam, finds the same coin. Law: given the coins each row is a truncation; over seeds each prefix's coin is
    independent and comes up with this probability, so a token's probability is the average of both rows. In
    `lm.generate` every completion has its own coins, of its seed; by hand give each text `xtc(…, rng=rng.split())`. Never
    acts with a threshold above 1/2, or where fewer than two tokens reach it. (The rule of text-generation-webui and llama.cpp.)

    >>> xtc(0.15, 1.0)(torch.tensor([[0.5, 0.3, 0.2]]).log(), [Prefix([0])]).exp()
    tensor([[0.0000, 0.0000, 0.2000]])
    """

    stage: ClassVar[Stage] = Stage.TRUNCATION
    keeps_best = False

    def __init__(self, threshold: float = 0.1, probability: float = 0.5, rng: Rng | None = None) -> None:
        require(0 < threshold <= 1, f"threshold={threshold}: a probability above 0; 0.1 is usual, above 0.5 nothing happens")
        require(0 <= probability <= 1, f"probability={probability}: a probability, 0 to 1; 0.5 is usual")
        self.threshold, self.probability, self.rng = threshold, probability, rng or Rng(0)
        self._own = rng is not None
        self._coins: WeakKeyDictionary[Prefix, bool] = WeakKeyDictionary()

    def seeded(self, rng: Rng) -> Shaper:
        return self if self._own else xtc(self.threshold, self.probability, rng.at(_COINS))

    def begin(self, x: Prefix) -> int:
        state = 0
        for token in x.ids():
            state = self.step(state, token)
        return state

    def step(self, state: int, token: int) -> int:
        return hash((state, token))

    def shape(self, row: Tensor, state: int) -> Tensor:
        above = (row.exp() >= self.threshold).nonzero().flatten()
        if len(above) < 2:
            return row
        least = above[row[above].argsort(stable=True, descending=True)[-1]]
        return row.index_fill(0, above[above != least], -torch.inf)

    def __call__(self, weights: Tensor, prefixes: Sequence[Prefix]) -> Tensor:
        rows = [self.shape(row, 0) if self._coin(x) else row for row, x in zip(weights, prefixes, strict=True)]
        return torch.stack(rows)

    def _coin(self, x: Prefix) -> bool:
        if x not in self._coins:
            self._coins[x] = self.rng.at(self.state(x)).flip(self.probability)
        return self._coins[x]
