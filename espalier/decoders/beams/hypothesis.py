"""What a beam keeps: a prefix, its log-probability, what its score needs of its past, and how scores are made of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from espalier.errors import InvalidInput, require
from espalier.prefix import Prefix


@dataclass(frozen=True, slots=True)
class Surprisals:
    """Running sums over the surprisals u = −log p(token | prefix) of a text (Welford's for the variance)."""

    n: int = 0
    mean: float = 0.0
    squares: float = 0.0  # Σ (u − mean)²
    last: float = 0.0
    local: float = 0.0  # Σ (u_t − u_{t−1})²
    largest: float = 0.0
    square: float = 0.0  # Σ u²
    greedy: float = 0.0  # Σ (u − the smallest possible u)²

    def after(self, u: float, least: float) -> Surprisals:
        """The sums with one more surprisal; `least` is the smallest one that the row offered."""
        n = self.n + 1
        mean = self.mean + (u - self.mean) / n
        local = self.local + ((u - self.last) ** 2 if self.n else 0.0)
        squares = self.squares + (u - self.mean) * (u - mean)
        return Surprisals(n, mean, squares, u, local, max(self.largest, u), self.square + u * u, self.greedy + (u - least) ** 2)


UID: dict[str, Callable[[Surprisals], float]] = {
    "variance": lambda s: s.squares / max(s.n, 1),
    "local": lambda s: s.local / max(s.n, 1),
    "max": lambda s: s.largest,
    "square": lambda s: s.square,
    "greedy": lambda s: s.greedy,
}


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A prefix with its natural-log probability `logp` (of what was written) and its `score`, by which it is ranked.

    >>> Hypothesis(Prefix([1, 2]), logp=-3.0, score=-1.5).score
    -1.5
    """

    prefix: Prefix
    logp: float
    score: float
    uneven: Surprisals = field(default_factory=Surprisals, compare=False, repr=False)
    covered: Tensor | None = field(default=None, compare=False, repr=False)  # attention to each place of the prompt so far

    @property
    def length(self) -> int:
        """How many tokens were written."""
        return len(self.prefix) - len(self.prefix.origin)

    def with_score(self, score: float) -> Hypothesis:
        """This hypothesis with another score."""
        return replace(self, score=score)


Score = Callable[[list[Hypothesis]], Sequence[float]]
Norm = str | float | tuple[str, float]


def normaliser(norm: Norm) -> Callable[[int], float]:
    """n → what the log-probability of n tokens is divided by. "gnmt": ((5 + n) / 6) ** 0.6, or ("gnmt", alpha); "mean": n;
    a number: n ** number.

    >>> normaliser("mean")(4), normaliser(0.5)(4), round(normaliser(("gnmt", 1.0))(7), 3)
    (4.0, 2.0, 2.0)
    """
    if isinstance(norm, tuple) and len(norm) == 2 and norm[0] == "gnmt":
        alpha = float(norm[1])
        return lambda n: float(((5 + n) / 6) ** alpha)
    if norm == "gnmt":
        return normaliser(("gnmt", 0.6))
    if norm == "mean":
        return lambda n: float(max(n, 1))
    if isinstance(norm, str | tuple) or not math.isfinite(norm):
        raise InvalidInput(f"norm={norm!r}; use 'gnmt', ('gnmt', 0.2), 'mean', or a number alpha for length ** alpha")
    power = float(norm)
    return lambda n: float(max(n, 1) ** power)


def checked(values: Sequence[float], count: int, what: str) -> list[float]:
    """The values as numbers, if there is one for each of `count`. Raises `InvalidInput` otherwise.

    >>> checked([1], 1, "score")
    [1.0]
    """
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{what} gave {values!r:.80}; expected {count} numbers, one for each that it was given") from error
    require(len(numbers) == count, f"{what} gave {len(numbers)} numbers for {count} candidates; it gives one for each")
    require(not any(math.isnan(number) for number in numbers), f"{what} gave a number that is not one (nan)")
    return numbers
