"""Randomness: the coin flips through which every random choice of the library goes."""

from __future__ import annotations

import math
from numbers import Integral

import numpy as np
import torch
from torch import Tensor

from espalier.errors import InvalidInput


class Rng:
    """A source of coin flips, reproducible from its seed and independent of everything else that runs.

    All random choices of the library are `categorical` draws or `flip`s of an `Rng` that is handed in. A test can therefore
    hand in one that replays every outcome and so compute the exact law of any decoder (`espalier.testing.exact_law`).

    >>> rng = Rng(0)
    >>> rng.categorical(torch.tensor([0.0, 1.0, 0.0]))
    1
    >>> Rng(7).flip(0.5) == Rng(7).flip(0.5)  # the same seed, the same flips
    True
    """

    def __init__(self, seed: int | np.random.SeedSequence = 0) -> None:
        whole = isinstance(seed, Integral)
        if not isinstance(seed, np.random.SeedSequence) and not (whole and int(seed) >= 0):
            raise InvalidInput(f"seed={seed!r}: a seed is a whole number that is not negative; try seed=0")
        self._seeds = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
        self._bits = np.random.Generator(np.random.PCG64(self._seeds))

    def categorical(self, weights: Tensor) -> int:
        """An index drawn with probability proportional to its weight.

        `weights`: [V], non-negative, not all zero, need not sum to one. One uniform number is used per draw. The sums are
        taken in float64. Raises InvalidInput if no weight is positive and finite.
        """
        cumulative = torch.cumsum(weights, 0, dtype=torch.float64)
        total = float(cumulative[-1])
        if not (0 < total < math.inf):
            raise InvalidInput(f"the weights to draw from sum to {total}; a draw needs at least one positive, finite weight")
        at = int(torch.searchsorted(cumulative, self._bits.random() * total, right=True))
        if at >= len(cumulative) or weights[at] <= 0:  # a product rounded up to the total: take the last possible index
            at = int(weights.nonzero()[-1])
        return at

    def flip(self, p: float) -> bool:
        """True with probability p (values outside [0, 1] count as the nearer end)."""
        return bool(self._bits.random() < p)

    def at(self, key: int) -> Rng:
        """The source that belongs to a key, a whole number: the same however much was drawn before, independent of other keys'.

        For choices that belong to a place in a text, not to a moment: whoever comes to the place finds the same flips.

        >>> Rng(7).at(3).flip(0.5) == Rng(7).at(3).flip(0.5)
        True
        """
        seeds = self._seeds
        return Rng(np.random.SeedSequence(seeds.entropy, spawn_key=(*seeds.spawn_key, 1 << 32, key & (1 << 64) - 1)))

    def uniform(self) -> float:
        """A number in (0, 1). For draws that are not a choice among outcomes; `testing.exact_law` cannot replay them."""
        return (float(self._bits.random()) + 2.0**-54) / (1 + 2.0**-53)

    def normal(self, *shape: int) -> Tensor:
        """Independent standard normal numbers (float32). As for `uniform`, `testing.exact_law` cannot replay them."""
        return torch.from_numpy(self._bits.standard_normal(shape, dtype=np.float32))

    def split(self) -> Rng:
        """A new, independent source; the n-th split of an equal source is equal."""
        return Rng(self._seeds.spawn(1)[0])
