"""A length policy that knows how sure it is of the acceptance."""

from __future__ import annotations

from espalier.drafting.draft import Draft, budget
from espalier.drafting.policies import LengthPolicy, Signals
from espalier.errors import require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows


class Thompson(LengthPolicy):
    """Before each pass draws an acceptance theta from its posterior and goes on with probability theta.

    The posterior of theta is Beta(alpha, beta), alpha counting accepted and beta rejected tokens on top of the prior. To draw
    theta and then flip a coin with it is to flip a coin with the posterior's mean, which is what is done. So with an
    acceptance a that is known, a / (1 - a) tokens are drafted on average. `calibration` mixes the mean with the drafter's
    confidence max q. Shared by all requests. Liu et al. 2024, "Speculative decoding via early-exiting for faster LLM
    inference with Thompson sampling control mechanism" (arXiv 2406.03853).

    >>> Thompson(alpha=3, beta=1).mean
    0.75
    """

    def __init__(self, alpha: float = 4.0, beta: float = 1.0, calibration: float = 0.0, most: int = 20) -> None:
        require(alpha > 0 and beta > 0, f"alpha={alpha}, beta={beta}: counts of the prior, both positive")
        require(0 <= calibration <= 1, f"calibration={calibration}: a share of the drafter's confidence, from 0 to 1")
        budget(most=most)
        self.alpha, self.beta, self.calibration, self.most = alpha, beta, calibration, most

    @property
    def mean(self) -> float:
        """The posterior mean of the acceptance."""
        return self.alpha / (self.alpha + self.beta)

    def plan(self, x: Prefix, rng: Rng) -> int | None:
        return self.most if rng.flip(self.mean) else 0

    def go_on(self, signals: Signals, rng: Rng) -> bool:
        confidence = float(signals.q.max()) if self.calibration else 0.0
        return rng.flip((1 - self.calibration) * self.mean + self.calibration * confidence)

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        self.alpha += len(draft.accepted(x))
        self.beta += draft.missed(x)
