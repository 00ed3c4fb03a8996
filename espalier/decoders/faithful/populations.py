"""The populations of one run of SMC: steps, weights, resampling, moves."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from espalier.decoders.budget import Spent
from espalier.decoders.faithful.awrs import Drawn, Opened
from espalier.decoders.faithful.ends import Ends
from espalier.decoders.faithful.particles import Bounds, Particle, effective, log_mean, relative_variance, shares
from espalier.decoders.faithful.resample import SCHEMES, without_replacement
from espalier.errors import DeadEnd, InvalidInput, require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Row
from espalier.run import Decoder
from espalier.scorer import Ask, Scorer

if TYPE_CHECKING:
    from espalier.decoders.faithful.smc import SMC


class Populations:
    """The islands of one run of SMC, and what is known of their quality."""

    def __init__(self, smc: SMC, scorer: Scorer, x: Prefix, ends: Ends, rng: Rng, spent: Spent) -> None:
        self.smc, self.scorer, self.x, self.ends, self.rng, self.spent = smc, scorer, x, ends, rng, spent
        start = self._twist([x])[0] if smc.twist else 0.0
        first = [Particle(x, i, start, start) for i in range(smc.particles)]
        self.islands = [list(first) for _ in range(smc.islands)]
        self.bounds = Bounds(x)
        self.exhausted = False
        self.length = 0  # steps made
        limit = getattr(ends.stop, "most", None)
        require(
            not smc.rejuvenate or limit is not None,
            "moves are made at lengths that are known before, so they need a length limit: stop | es.stop.budget(64)",
        )
        self._limit = limit or 0

    def advance(self) -> Decoder[None]:
        """Steps until no particle goes on or the budget ends; then texts that are not finished have weight 0.

        Moves are made at lengths that are known before, whatever the weights are and whether anything still goes on: a choice
        that looked at the weights would bias what comes after it.
        """
        while not self.exhausted and (self._goes_on() or (self.smc.rejuvenate and self.length < self._limit)):
            if not self._goes_on():
                self.length += 1
                yield from self._rejuvenate_all()
                continue
            self.islands = [self._cloned(island) for island in self.islands]
            flat = [p for island in self.islands for p in island]
            moved = yield from self._step(flat)
            if moved is flat:
                break
            self.length += 1
            sizes = [len(island) for island in self.islands]
            at = iter(moved)
            self.islands = [[next(at) for _ in range(size)] for size in sizes]
            self._resample()
            yield from self._rejuvenate_all()
        self.islands = [[p if p.over else p.dead() for p in island] for island in self.islands]

    def _goes_on(self) -> bool:
        return any(p.live for island in self.islands for p in island)

    def pooled(self) -> list[Particle]:
        """All particles; a weight is its share of the estimate of the mass, so islands pool by their mean weights."""
        return [p for island in self.islands for p in island]

    @property
    def log_masses(self) -> list[float]:
        """The log of each island's mean weight."""
        return [log_mean(island, self.smc.particles) for island in self.islands]

    @property
    def log_z(self) -> float:
        """The log of the unbiased estimate of the mass of the target."""
        return log_mean(self.pooled(), self.smc.particles * self.smc.islands)

    @property
    def log_z_error(self) -> float:
        """One standard error of `log_z`: from the families of particles within islands, or from how islands differ."""
        if self.log_z == -math.inf:
            return math.inf
        scale = [math.exp(mass - self.log_z) for mass in self.log_masses]
        k = len(scale)
        within = sum(s**2 * v for s, v in zip(scale, self.variances, strict=True)) / k**2
        between = sum((s - 1) ** 2 for s in scale) / (k * (k - 1)) if k > 1 else 0.0
        return math.sqrt(max(within, between))

    @property
    def variances(self) -> list[float]:
        """The relative variance of each island's mean weight."""
        return [relative_variance(island, self.smc.particles) for island in self.islands]

    @property
    def ancestors(self) -> int:
        """How many of the first particles have finished descendants, over all islands."""
        return sum(len({p.ancestor for p in island if p.log_weight > -math.inf}) for island in self.islands)

    def _cloned(self, island: list[Particle]) -> list[Particle]:
        if self.smc.resample != "steer":
            return island
        m = self.smc.branch
        return [
            c for p in island for c in ([p.weighing(p.log_weight - math.log(m))] * m if p.live else [p])
        ]  # clones share the weight

    def _step(self, particles: list[Particle]) -> Decoder[list[Particle]]:
        """Each live particle with one more token; the same list if the budget has ended."""
        prefixes = list(dict.fromkeys(p.prefix for p in particles if p.live))
        if not prefixes:
            return particles
        if not self.spent.pay(len(prefixes)):
            self.exhausted = True
            return particles
        rows = yield Ask(self.scorer, prefixes)
        opened = {x: self._open(row) for x, row in zip(prefixes, rows, strict=True)}
        children: dict[Prefix, dict[int, Prefix]] = {x: {} for x in prefixes}
        moved = [self._moved(p, opened[p.prefix], children[p.prefix]) if p.live else p for p in particles]
        self._note(opened, children)
        return self._twisted(moved, particles)

    def _moved(self, p: Particle, opened: Opened, children: dict[int, Prefix]) -> Particle:
        drawn = self._draw(opened)
        if drawn.token is None:
            return p.dead()
        child = children.setdefault(drawn.token, p.prefix + drawn.token)
        end = self.ends(child)
        if end == "time":
            self.exhausted = True
        grown = p.grown(child, drawn.log_weight, float(opened.logp[drawn.token]), over=end is not None)
        return grown if end in (None, "valid") else grown.dead()

    def _open(self, row: Row) -> Opened:
        opened = self.smc.propose.open(row, self.ends.closing(row.prefix))
        if self.smc.target == "global":
            return opened
        if self.smc.power == 1.0:
            return opened.exploring(self.smc.explore)
        require(opened.weights is not None, "power needs the mask of the constraint, which this one does not have")
        assert opened.weights is not None
        powered = opened.weights**self.smc.power
        return Opened(row, opened.logp, powered, float(powered.sum())).exploring(self.smc.explore)

    def _draw(self, opened: Opened) -> Drawn:
        if self.smc.target == "global":
            return self._drawn_globally(opened.row, self.ends.closing(opened.row.prefix))
        return self.smc.propose.draw(opened, self.rng)

    def _drawn_globally(self, row: Row, closing: Tensor | None) -> Drawn:
        try:
            q = row.probs().double()
        except DeadEnd:
            return Drawn(None, -math.inf, 0)
        if closing is not None:
            ends = torch.zeros_like(q)
            ends[closing] = q[closing]
            q = ends
        total = float(q.sum())
        if total <= 0:
            return Drawn(None, -math.inf, 0)
        token = self.rng.categorical(q)
        return Drawn(token, row.log_weight(token) + math.log(total), 0)

    def _note(self, opened: dict[Prefix, Opened], children: dict[Prefix, dict[int, Prefix]]) -> None:
        """Lowers the bound of the target's mass by what the rows forbid."""
        if self.smc.target == "global" or self.smc.power != 1.0:
            return
        for x, row in opened.items():
            if row.weights is not None:
                self.bounds.visit(x, row.weights, list(children[x].values()), self._ending(x, row.weights))
                for child in children[x].values():
                    if self.ends(child) in ("cut", "dead"):
                        self.bounds.cut(child)

    def _ending(self, x: Prefix, weights: Tensor) -> float:
        """The probability that the token after x ends a valid text."""
        return math.fsum(float(weights[t]) for t in self.ends.tokens if weights[t] > 0 and self.ends(x + t) == "valid")

    def _twist(self, prefixes: list[Prefix]) -> list[float]:
        assert self.smc.twist is not None
        values = list(self.smc.twist(prefixes))
        if len(values) != len(prefixes):
            raise InvalidInput(
                f"twist gave {len(values)} values for {len(prefixes)} prefixes; it gives one log-potential for each"
            )
        return [float(value) for value in values]

    def _twisted(self, moved: list[Particle], before: list[Particle]) -> list[Particle]:
        if self.smc.twist is None:
            return moved
        at = [i for i, (p, q) in enumerate(zip(moved, before, strict=True)) if p is not q and p.log_weight > -math.inf]
        values = self._twist([moved[i].prefix for i in at]) if at else []
        for i, value in zip(at, values, strict=True):
            p = moved[i]
            moved[i] = Particle(p.prefix, p.ancestor, p.log_weight + value - p.twist, value, p.steps, p.over)
        return moved

    def _resample(self) -> None:
        n = self.smc.particles
        for k, island in enumerate(self.islands):
            weights = shares(island)
            if self.smc.resample == "steer":
                if len(island) > n:
                    total = log_mean(island, 1)
                    kept = without_replacement(weights, n, self.rng)
                    self.islands[k] = [island[i].weighing(math.log(w) + total) for i, w in kept]
                continue
            if not bool(weights.any()) or effective(weights) >= self.smc.ess * n:
                continue
            mean = log_mean(island, n)
            places = SCHEMES[self.smc.resample](weights, n, self.rng)
            self.islands[k] = [island[i].weighing(mean) for i in places]

    def _rejuvenate_all(self) -> Decoder[None]:
        """The moves that are due at this length: at 1, 2, 4, …, and at the length limit."""
        due = self.length == self._limit or self.length & (self.length - 1) == 0
        for _ in range(self.smc.rejuvenate if due else 0):
            for k in range(len(self.islands)):
                if not self.exhausted:
                    yield from self._rejuvenate(k)

    def _rejuvenate(self, k: int) -> Decoder[None]:
        """One Metropolis–Hastings move of each particle of an island: written anew from a random place, up to this length."""
        island = self.islands[k]
        cut = self.rng.categorical(torch.ones(self.length))
        at = [i for i, p in enumerate(island) if len(p.steps) > cut and p.log_weight > -math.inf]
        fresh = [Particle(_above(island[i].prefix, cut), island[i].ancestor) for i in at]
        if self.smc.twist:
            fresh = [Particle(p.prefix, p.ancestor, 0.0, 0.0) for p in fresh]
        for _ in range(self.length - cut):
            fresh = yield from self._step(fresh)
            if self.exhausted:
                return
        for i, new in zip(at, fresh, strict=True):
            old = island[i]
            ratio = _weight(new.steps) + new.twist - _weight(old.steps[cut:]) - old.twist
            if new.log_weight > -math.inf and (ratio >= 0 or self.rng.flip(math.exp(ratio))):
                steps = (*old.steps[:cut], *new.steps)
                island[i] = Particle(new.prefix, old.ancestor, old.log_weight, new.twist, steps, new.over)


def _weight(steps: tuple[tuple[float, float], ...]) -> float:
    return math.fsum(log_weight for log_weight, _ in steps)


def _above(x: Prefix, written: int) -> Prefix:
    """The prefix of x with this many written tokens."""
    length = len(x.origin) + written
    return next(node for node in x.up() if len(node) == length)
