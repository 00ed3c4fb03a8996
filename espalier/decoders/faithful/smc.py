"""Sequential Monte Carlo: populations of weighted prefixes whose weights correct step by step for what was masked."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from espalier.decoders.budget import Budget, Spent
from espalier.decoders.decoder import Weighted, at_least, check_parts
from espalier.decoders.faithful.awrs import Awrs
from espalier.decoders.faithful.ends import Ends
from espalier.decoders.faithful.particles import pick
from espalier.decoders.faithful.populations import Populations
from espalier.decoders.faithful.resample import SCHEMES
from espalier.errors import LimitExceeded, Unsatisfiable, require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.run import Decoder
from espalier.scorer import Scorer
from espalier.stop import Stop

Resample = Literal["systematic", "multinomial", "stratified", "residual", "steer"]
Twist = Callable[[list[Prefix]], Sequence[float]]


@dataclass(frozen=True)
class SMC:
    """Particles for p(text | text is valid), or any target given by potentials, as a decoder.

    Each particle draws among the allowed tokens and owes the allowed mass as weight; where the effective number of particles
    falls below `ess` of them, they are resampled. Guarantee: asymptotic in `particles`; the mean weight is an unbiased
    estimate of p(valid) for any number of them, and finds are properly weighted. The first find is drawn by weight.

    `twist(prefixes)`: a log-potential of each prefix; the target is p · exp(twist) at each length and at the end, so give 0
    for finished texts if it only looks ahead; −inf kills. `power`: p(v | x) to this power (over whole texts). `islands`:
    separate populations, pooled by their mean weights. `rejuvenate`: Metropolis–Hastings moves of every particle at
    lengths 1, 2, 4, … and the limit, which write a text anew from a random place. Each keeps the target, and when they are
    made does not depend on the weights, so the mean weight stays unbiased (after each *resampling* it would not).
    `explore`: this share of the draws is spread evenly over the allowed tokens, where these are few (64), and weighted for it:
    a rare beginning behind which most of the valid mass lies is then seen.
    `propose`: `Awrs()` where the constraint can only be checked. resample="steer" makes `branch` children of each particle
    and keeps the best without replacement. target="global": the target is the product of p(v) over the tokens that
    temperature and truncation keep, normalised over whole texts.

    Lew et al. 2023 (arXiv 2306.03081), Loula et al. 2025 (arXiv 2504.13139); moves and power: "Sampling for quality"
    (arXiv 2604.16453). A text that is cut by its length has weight 0 (target="prefix": counts as it is); where one more token
    is left, only end tokens are drawn, with their mass as weight.

    >>> import espalier as es
    >>> model, x = es.models.Table.random(vocab_size=3, depth=1, seed=0), es.Prefix([0])
    >>> [found] = es.run(SMC(8)(model, x, es.stop.end([2]) | es.stop.budget(8), es.Rng(0)))
    >>> len(found), found[0].prefix.last
    (8, 2)
    """

    particles: int = 64
    ess: float = 0.5
    resample: Resample = "systematic"
    twist: Twist | None = None
    islands: int = 1
    rejuvenate: int = 0
    target: Literal["finished", "prefix", "global"] = "finished"
    guide: Any = None
    propose: Awrs = field(default_factory=Awrs)
    power: float = 1.0
    branch: int = 2
    explore: float = 0.0
    budget: Budget | int | None = None

    samples: ClassVar[bool] = True  # of the scorer's own law, so no temperature unless one is asked for

    def __post_init__(self) -> None:
        at_least(self, particles=1, islands=1, branch=1, rejuvenate=0)
        require(0 <= self.ess <= 1, f"ess={self.ess}: a share of the particles, between 0 and 1")
        require(0 <= self.explore < 1, f"explore={self.explore}: a share of the draws, from 0 to below 1")
        require(self.power > 0, f"power={self.power}: a power above 0; 1 is the model itself")
        require(
            self.target in ("finished", "prefix", "global"), f"target={self.target!r}; use 'finished', 'prefix' or 'global'"
        )
        schemes = [*SCHEMES, "steer"]
        require(self.resample in schemes, f"resample={self.resample!r}; use one of {', '.join(map(repr, schemes))}")
        Budget.of(self.budget)

    def populations(self, scorer: Scorer, x: Prefix, stop: Stop, rng: Rng, spent: Spent | None = None) -> Populations:
        """The populations of one run, before the first step."""
        check_parts(scorer, x, stop, rng)
        scorer = scorer if self.guide is None else scorer * self.guide
        ends = Ends(scorer, stop, "finished" if self.target == "global" else self.target)
        return Populations(self, scorer, x, ends, rng, spent or Spent(Budget.of(self.budget)))

    def __call__(self, scorer: Scorer, x: Prefix, stop: Stop, rng: Rng) -> Decoder[list[Weighted]]:
        populations = self.populations(scorer, x, stop, rng)
        yield from populations.advance()
        alive = [p for p in populations.pooled() if p.log_weight > -math.inf]
        if not alive and populations.exhausted:
            raise LimitExceeded("the budget ended before any particle was a finished text; allow more")
        if not alive:
            raise Unsatisfiable(
                f"all {self.particles * self.islands} particles died: none of them met a text that the constraint accepts "
                "within the length limit; use more particles or es.decoders.CARS"
            )
        first = pick(alive, rng)
        return [Weighted(p.prefix, p.log_weight) for p in [first, *(p for p in alive if p is not first)]]
