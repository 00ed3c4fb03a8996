"""Temperature: dividing log-probabilities by a number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import ClassVar

import torch
from torch import Tensor

from espalier.errors import expect, require
from espalier.prefix import Prefix
from espalier.shaper import Shaper, Stage


class temperature(Shaper):
    """The law proportional to p^(1/T); T = 0 leaves only the most probable token (the first of equals).

    >>> temperature(2.0)(torch.tensor([[0.0, -2.0]]), []).tolist()
    [[0.0, -1.0]]
    """

    stage: ClassVar[Stage] = Stage.TEMPERATURE
    elementwise = True

    def __init__(self, t: float) -> None:
        expect(t, Real, "temperature", "a number; 0 is greedy")
        require(
            0 <= t < math.inf,
            f"temperature={t}: it cannot be negative or infinite; 0 is greedy, 1 leaves the law as it is",
        )
        self.t, self.greedy = t, t == 0

    def __call__(self, weights: Tensor, prefixes: Sequence[Prefix]) -> Tensor:
        if not self.greedy:
            return weights / self.t
        best = weights.argmax(-1, keepdim=True)
        return torch.full_like(weights, -torch.inf).scatter(-1, best, 0.0)
