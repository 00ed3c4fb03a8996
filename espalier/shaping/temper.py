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
        self.t, self.greedy, self.extreme = float(t), float(t) == 0, not 1e-30 <= t <= 1e30  # beyond float32

    @property
    def in_kernel(self) -> tuple[str, float] | None:
        return ("temperature", float(self.t)) if type(self) is temperature and not self.greedy else None

    def __call__(self, weights: Tensor, prefixes: Sequence[Prefix]) -> Tensor:
        if self.extreme and not self.greedy:
            return (weights - weights.amax(-1, keepdim=True)).double().div(self.t).to(weights)
        if not self.greedy:
            return weights / self.t
        best = weights.argmax(-1, keepdim=True)
        return torch.full_like(weights, -torch.inf).scatter(-1, best, 0.0)


class dynamic_temperature(Shaper):
    """Temperature low + (high - low) · (H / log n)^exponent: H the entropy of the row, n how many tokens it leaves.

    Sure rows are sharpened, unsure ones flattened. low = high is `temperature`. (The rule of koboldcpp and llama.cpp.)

    >>> dynamic_temperature(0.5, 2.0)(torch.tensor([[0.5, 0.5]]).log(), []).exp().tolist()  # unsure: T = 2
    [[0.7071067690849304, 0.7071067690849304]]
    """

    stage: ClassVar[Stage] = Stage.TEMPERATURE

    def __init__(self, low: float, high: float, exponent: float = 1.0) -> None:
        require(0 < low <= high < math.inf, f"low={low}, high={high}: two temperatures above 0, the lower one first")
        require(0 <= exponent < math.inf, f"exponent={exponent}: a number from 0; 1 is usual")
        self.low, self.high, self.exponent = low, high, exponent

    def __call__(self, weights: Tensor, prefixes: Sequence[Prefix]) -> Tensor:
        left = (weights > -torch.inf).sum(-1, keepdim=True).clamp(min=2)
        share = (entropy(weights) / left.log()).clamp(0, 1)
        return weights / (self.low + (self.high - self.low) * share**self.exponent)


def entropy(logps: Tensor) -> Tensor:
    """The entropy in nats of each row of log-probabilities, [N, 1]."""
    total: Tensor = (logps.exp() * logps.clamp(min=-1e4)).sum(-1, keepdim=True)
    return -total
