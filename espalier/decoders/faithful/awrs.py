"""Adaptive weighted rejection sampling: an allowed token and an unbiased estimate of the allowed mass, by few checks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from espalier.decoders.budget import Budget, Spent
from espalier.decoders.decoder import Weighted, check_parts
from espalier.decoders.faithful.ends import Ends, close, unconstrained
from espalier.errors import LimitExceeded, Unsatisfiable, require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Row
from espalier.run import Decoder
from espalier.scorer import Ask, Scorer
from espalier.stop import Stop

Estimator = Literal["recursive", "geometric"]
Instead = Callable[[int], "Drawn | None"]
REFUSALS = 64  # checks, all in vain, after which a mask is asked for where there is one
_BLOCK = 256  # tokens that are summed together


@dataclass(frozen=True, slots=True)
class Drawn:
    """A token (None: all were refused), the log of its weight, and how many tokens were checked."""

    token: int | None
    log_weight: float
    checks: int


class Untested:
    """The tokens of a row [V] that were not drawn yet, for draws without replacement: a block by its sum, then a token in it,
    so that a draw costs two short rows and not one of V.

    >>> left = Untested(torch.tensor([0.75, 0.25]).log())
    >>> round(math.exp(left.drop(0)), 6), round(math.exp(left.log_mass), 6), left.draw(Rng(0))
    (0.75, 0.25, 1)
    """

    def __init__(self, logp: Tensor) -> None:
        self._logp = logp.detach().double().cpu().clone()
        self._weigh()

    def _weigh(self) -> None:
        """Weights relative to the largest that is left; where all of them have become tiny they are taken anew."""
        top = float(self._logp.max())
        self._top = top if top > -math.inf else 0.0
        weights = (self._logp - self._top).exp()
        blocks = -(-len(weights) // _BLOCK)
        self._weights = torch.nn.functional.pad(weights, (0, blocks * _BLOCK - len(weights))).view(blocks, _BLOCK)
        self._sums = self._weights.sum(1)
        self._total = float(self._sums.sum())

    def any(self) -> bool:
        """Whether a token with weight is left."""
        return self._total > 0

    @property
    def log_mass(self) -> float:
        """The log of the mass that is left: a sum of what is there, never 1 minus what was drawn."""
        return self._top + math.log(self._total) if self._total > 0 else -math.inf

    def draw(self, rng: Rng) -> int:
        """A token in proportion to its weight; it stays."""
        block = rng.categorical(self._sums) if len(self._sums) > 1 else 0
        return block * _BLOCK + rng.categorical(self._weights[block])

    def drop(self, token: int) -> float:
        """Takes a token out; its log-probability."""
        own, block = float(self._logp[token]), token // _BLOCK
        self._logp[token] = -torch.inf
        self._weights[block, token % _BLOCK] = 0
        self._sums[block] = self._weights[block].sum()
        self._total = float(self._sums.sum())
        if self._total < 1e-150:
            self._weigh()
        return own


def recursive(logp: Tensor, allowed: Callable[[int], bool], rng: Rng, instead: Instead | None = None) -> Drawn:
    """Tokens in the order of draws without replacement, up to the first that is allowed and the one after it.

    Law: the token has exactly the law p restricted to the allowed tokens, and E[weight · 1{token = v}] = p(v) · 1[v allowed].
    The weight is the mass of what was untested when the token came, itself included, if the next one is allowed too (or
    none is left), else p(token). As this holds of whatever is left, another draw with the same law and weights may take over:
    `instead(checks)` is asked when `REFUSALS` tokens were refused.
    """
    left, checks = Untested(logp), 0
    while left.any():
        if checks == REFUSALS and instead is not None and (drawn := instead(checks)) is not None:
            return drawn
        untested, token, checks = left.log_mass, left.draw(rng), checks + 1
        own = left.drop(token)
        if not allowed(token):
            continue
        if not left.any():
            return Drawn(token, untested, checks)
        return Drawn(token, untested if allowed(left.draw(rng)) else own, checks + 1)
    return Drawn(None, -math.inf, checks)


def geometric(logp: Tensor, allowed: Callable[[int], bool], rng: Rng, accepts: int = 2) -> Drawn:
    """Independent runs that share what was refused, up to `accepts` allowed tokens; the first is returned.

    Law: as `recursive`. What a run without memory would have refused again is drawn as a geometric number, so the weight
    is the unbiased estimate of a probability from the number of trials to the `accepts`-th success.
    """
    left, first = Untested(logp), None
    whole = left.log_mass
    accepted = refused = checks = 0
    while accepted < accepts:
        if not left.any():
            return Drawn(None, -math.inf, checks)
        if left.log_mass < whole:
            refused += _failures(math.exp(left.log_mass - whole), rng)
        token, checks = left.draw(rng), checks + 1
        if allowed(token):
            accepted, first = accepted + 1, token if first is None else first
        else:
            refused += 1
            left.drop(token)
    return Drawn(first, math.log((accepts - 1) / (accepted + refused - 1)) + whole, checks)


def _failures(success: float, rng: Rng) -> int:
    """Failures before the first success: the binary digits of a geometric number are independent."""
    log_failure = math.log1p(-success) if success < 1 else -math.inf
    number, digit = 0, 1
    while digit * log_failure > -45:  # below 1e-19 a digit is 0
        odds = math.exp(digit * log_failure)
        number += digit * rng.flip(odds / (1 + odds))
        digit *= 2
    return number


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A row without its constraint [V], and the probabilities of the allowed tokens with their sum, if there is a mask.
    `proposal`: what tokens are drawn from instead, with weight / proposal as the weight of the draw."""

    row: Row
    logp: Tensor
    weights: Tensor | None = None
    total: float = 1.0
    proposal: Tensor | None = None
    masked: list[Opened] = field(default_factory=list)  # the same with its mask, once it was asked for

    def exploring(self, share: float, most: int = 64) -> Opened:
        """The same with this share of the draws spread evenly over the allowed tokens, where these are few (`most`). The
        weight of a draw is at most 1 / (1 − share) of what it was, and a rare token that much is valid behind is not missed."""
        if self.weights is None or self.total <= 0 or not share:
            return self
        possible = self.weights > 0
        if not 1 < int(possible.sum()) <= most:
            return self
        even = possible.double() / possible.sum()
        return replace(self, proposal=(1 - share) * self.weights / self.total + share * even)


@dataclass(frozen=True)
class Awrs:
    """Adaptive weighted rejection sampling of one text, or, as `SMC(propose=Awrs())`, of a step of each particle.

    Guarantee: a find is properly weighted, E[weight · f(text)] = Σ p(y) f(y) over valid y, by checks alone; one find has the
    law of masked decoding. Where the constraint has a mask and `masks` is True, the allowed mass itself is the weight, without
    variance; with masks=False that is so only where 64 checks were in vain ("recursive"). Lipkin et al. 2025
    (arXiv 2504.05410).

    >>> import espalier as es
    >>> model, x = es.models.Table.random(vocab_size=3, depth=1, seed=0), es.Prefix([0])
    >>> [[found]] = es.run(Awrs()(model, x, es.stop.end([2]) | es.stop.budget(8), es.Rng(0)))
    >>> found.log_weight
    0.0
    """

    guide: Any = None
    estimator: Estimator = "recursive"
    masks: bool = True
    target: str = "finished"
    budget: Budget | int | None = None

    samples: ClassVar[bool] = True  # of the scorer's own law, so no temperature unless one is asked for

    def __post_init__(self) -> None:
        known = self.estimator in ("recursive", "geometric")
        require(known, f"estimator={self.estimator!r}; use estimator='recursive' or 'geometric'")
        Budget.of(self.budget)

    def open(self, row: Row, ends: Tensor | None) -> Opened:
        """What draws from a row need: the allowed mass itself if the constraint has a mask."""
        logp = close(unconstrained(row), ends)
        mask = row.limit.mask() if row.limit is not None and self.masks else None
        if row.limit is not None and mask is None:
            return Opened(row, logp)
        return _weighed(row, logp, mask)

    def draw(self, opened: Opened, rng: Rng) -> Drawn:
        """A token and the log of its weight."""
        opened = opened.masked[0] if opened.masked else opened
        if opened.weights is not None:
            return _exact(opened, rng, 0)
        if self.estimator == "geometric":
            return geometric(opened.logp, opened.row.allowed, rng)
        return recursive(opened.logp, opened.row.allowed, rng, lambda checks: _by_mask(opened, rng, checks))

    def __call__(self, scorer: Scorer, x: Prefix, stop: Stop, rng: Rng) -> Decoder[list[Weighted]]:
        check_parts(scorer, x, stop, rng)
        scorer = scorer if self.guide is None else scorer * self.guide
        ends, spent, log_weight = Ends(scorer, stop, self.target), Spent(Budget.of(self.budget)), 0.0
        while (over := ends(x)) is None:
            if not spent.pay(1):
                raise LimitExceeded(f"the budget ended after {spent.tokens} tokens, before the text did; allow more")
            [row] = yield Ask(scorer, [x])
            drawn = self.draw(self.open(row, ends.closing(x)), rng)
            if drawn.token is None:
                raise Unsatisfiable(f"no token is allowed after {x!r}: this text has weight 0; use es.decoders.SMC or CARS")
            x, log_weight = x + drawn.token, log_weight + drawn.log_weight
        return [Weighted(x, log_weight if over == "valid" else -math.inf)]


def _weighed(row: Row, logp: Tensor, mask: Tensor | None) -> Opened:
    if mask is not None:
        logp = logp.masked_fill(~mask.to(logp.device), -torch.inf)
    weights = logp.double().exp().cpu()
    return Opened(row, logp, weights, float(weights.sum()))


def _exact(opened: Opened, rng: Rng, checks: int) -> Drawn:
    """An allowed token by its probability, with the allowed mass as its weight."""
    assert opened.weights is not None
    if opened.total <= 0:
        return Drawn(None, -math.inf, checks)
    if opened.proposal is not None:
        token = rng.categorical(opened.proposal)
        return Drawn(token, math.log(float(opened.weights[token] / opened.proposal[token])), checks)
    return Drawn(rng.categorical(opened.weights), math.log(opened.total), checks)


def _by_mask(opened: Opened, rng: Rng, checks: int) -> Drawn | None:
    """The draw by the mask that was not asked for before, for this and all later draws from the row; None if there is none."""
    mask = opened.row.limit.mask() if opened.row.limit is not None else None
    if mask is None:
        return None
    opened.masked.append(_weighed(opened.row, opened.logp, mask))
    return _exact(opened.masked[0], rng, checks)
