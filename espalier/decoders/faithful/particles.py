"""Populations of weighted prefixes that advance together: the state of one run of SMC."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from espalier.decoders.faithful.bound_trie import Node
from espalier.prefix import Prefix
from espalier.rng import Rng


@dataclass(frozen=True, slots=True, eq=False)
class Particle:
    """A prefix and its log-weight. `steps`: the log-weights of its single tokens and their log-probabilities; `ancestor`:
    which of the first ones it comes from; `over`: it is a finished text."""

    prefix: Prefix
    ancestor: int
    log_weight: float = 0.0
    twist: float = 0.0
    steps: tuple[tuple[float, float], ...] = ()
    over: bool = False

    @property
    def live(self) -> bool:
        """Whether it goes on."""
        return not self.over and self.log_weight > -math.inf

    @property
    def logp(self) -> float:
        """The log-probability of what it wrote, without the constraint."""
        return math.fsum(logp for _, logp in self.steps)

    def grown(self, prefix: Prefix, log_weight: float, logp: float, over: bool) -> Particle:
        """This particle with one more token."""
        steps = (*self.steps, (log_weight, logp))
        return replace(self, prefix=prefix, log_weight=self.log_weight + log_weight, steps=steps, over=over)

    def dead(self) -> Particle:
        """This particle with weight 0."""
        return replace(self, log_weight=-math.inf)

    def weighing(self, log_weight: float) -> Particle:
        """This particle with another weight."""
        return replace(self, log_weight=log_weight)


def log_mean(particles: Sequence[Particle], size: int) -> float:
    """log (Σ weights / size): of a population, the unbiased estimate of the mass that it samples."""
    weights = torch.tensor([p.log_weight for p in particles], dtype=torch.float64)
    return float(torch.logsumexp(weights, 0)) - math.log(size) if len(particles) else -math.inf


def shares(particles: Sequence[Particle]) -> Tensor:
    """The weights [N], scaled to sum to 1; all 0 if every particle is dead."""
    logs = torch.tensor([p.log_weight for p in particles], dtype=torch.float64)
    top = logs.max() if len(logs) else torch.tensor(-torch.inf)
    return torch.softmax(logs, 0) if bool(top > -torch.inf) else torch.zeros(len(logs), dtype=torch.float64)


def effective(weights: Tensor) -> float:
    """The effective number of particles, (Σ w)² / Σ w²."""
    return float(weights.sum() ** 2 / (weights**2).sum()) if bool(weights.any()) else 0.0


def relative_variance(particles: Sequence[Particle], size: int) -> float:
    """An estimate of Var(mean weight) / (mean weight)², from how unequally the first particles' descendants share the weight
    (Chan and Lai 2013; Lee and Whiteley 2018)."""
    families = torch.zeros(size, dtype=torch.float64)
    for particle, share in zip(particles, shares(particles).tolist(), strict=True):
        families[particle.ancestor] += share
    return float(((families - 1 / size) ** 2).sum()) * size / max(size - 1, 1)


def pick(particles: Sequence[Particle], rng: Rng) -> Particle:
    """One particle, drawn by its weight."""
    return particles[rng.categorical(shares(particles))]


class Bounds:
    """Sure bounds of the valid mass from the rows that particles have seen, without keeping the prefixes alive: `root.bound`
    above; below, `shown`, the mass of the valid texts whose end tokens the rows allow, drawn or not."""

    def __init__(self, x: Prefix) -> None:
        self.shown = 0.0
        self._empty = Prefix()
        self.root = Node(self._empty, None, 1.0)
        self._nodes: WeakKeyDictionary[Prefix, Node] = WeakKeyDictionary({x: self.root})

    def visit(self, x: Prefix, allowed: Tensor, children: Sequence[Prefix], over: float = 0.0) -> None:
        """Notes the probabilities [V] of the allowed tokens after x, which prefixes were made of them, and how much of it
        ends a valid text."""
        node = self._nodes.get(x)
        if node is None:
            return
        if not node.seen and over:
            self.shown += over * math.exp(math.fsum(math.log(above.p) for above in node.up() if above.p < 1))
        for child in children:
            if child.last not in node.children:
                node.children[child.last] = Node(self._empty, node, float(allowed[child.last]))
            self._nodes[child] = node.children[child.last]
        rest = allowed.double().clone()
        rest[list(node.children)] = 0
        node.rest, node.seen = float(rest.sum()), True
        node.lower(node.rest + sum(child.p * child.bound for child in node.children.values()))

    def cut(self, x: Prefix) -> None:
        """Notes that x is no beginning of a valid text."""
        if (node := self._nodes.get(x)) is not None and not node.children:
            node.lower(0.0)
