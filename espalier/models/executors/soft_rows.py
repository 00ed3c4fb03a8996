"""What a pass is given instead of tokens, and what it tells besides: rows of embeddings, of keys and values; attention."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from espalier.capabilities import Capabilities
from espalier.errors import InvalidInput, require
from espalier.models.kv.layout import Pass, Plan
from espalier.prefix import Prefix
from espalier.soft_prefix import Soft

__all__ = ["Given", "SoftRows", "joined", "to_given"]


@dataclass
class SoftRows:
    """Of one pass: `at`, the rows whose embeddings [m, D] are given; `held`, those whose keys and values [L, m, width] are;
    `gradients`: they are differentiable; `attention`: what each answered row attends to is noted in `told` [n, T]."""

    at: Tensor
    embeds: Tensor | None = None
    held: Tensor | None = None
    cache: tuple[Tensor, Tensor] | None = None
    gradients: bool = False
    attention: bool = False
    told: Tensor | None = None
    _weights: list[Tensor] = field(default_factory=list)

    def embedded(self, x: Tensor) -> Tensor:
        """The embeddings [R, D] of a pass with the given ones in their places."""
        if self.embeds is None:
            return x
        if self.embeds.shape[1] != x.shape[1]:
            raise InvalidInput(f"embeddings of width {self.embeds.shape[1]} were given to a model of width {x.shape[1]}")
        return x.index_copy(0, self.at.to(x.device), self.embeds.to(x))

    def kept(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """A layer's keys and values [R, width] with the given ones in their places."""
        if self.held is None or self.cache is None:
            return k, v
        at = self.held.to(k.device)
        return k.index_copy(0, at, self.cache[0][layer].to(k)), v.index_copy(0, at, self.cache[1][layer].to(v))

    def fresh(self, stored: Tensor, columns: Tensor, now: Tensor) -> Tensor:
        """The stored rows [U, width] that are seen, those of this pass as they were computed: gradients go through them."""
        return stored.index_copy(0, columns, now.to(stored.dtype)) if self.gradients else stored

    def note(self, weights: Tensor) -> None:
        """Notes one layer's attention [n, U], averaged over heads, of the answered rows to the seen slots."""
        self._weights.append(weights)

    def tell(self, back: Tensor, positions: Tensor) -> None:
        """Sums up what was noted: attention [n, T] to positions, averaged over layers."""
        mean = torch.stack(self._weights).mean(0)
        places = positions.long()[:, None] - back
        row, column = (back >= 0).nonzero(as_tuple=True)
        told = mean.new_zeros(len(mean), int(positions.max()) + 1 if len(mean) else 1)
        self.told = told.index_put((row, places[row, column].long()), mean[row, column])


class Given:
    """What the soft prefixes of a plan give, by slots."""

    def __init__(self, plan: Plan, prefixes: Sequence[Prefix]) -> None:
        nodes = {id(node): (node, slots) for node, slots, _ in plan.fresh if isinstance(node, Soft)}
        self.gradients = any(node.gradients for node, _ in nodes.values())
        for x in prefixes:  # its last row is computed again
            if isinstance(last := _last(x), Soft) and id(last) not in nodes:
                path = plan.remember[id(x)]
                require(not last.gradients, "gradients reach what is computed in one pass; make a new es.Soft for each pass")
                nodes[id(last)] = (last, path[len(path) - len(last.tokens) :])
        self._at = {int(slot): (node, j) for node, slots in nodes.values() for j, slot in enumerate(slots)}

    @classmethod
    def of(cls, plan: Plan, prefixes: Sequence[Prefix], attention: bool, can: Capabilities) -> Given | None:
        """What soft prefixes give; None if there are none, and nothing is to be told of attention. Raises `InvalidInput` for a
        model that cannot take it."""
        soft = any(isinstance(node, Soft) for node, _, _ in plan.fresh) or any(isinstance(_last(x), Soft) for x in prefixes)
        if not soft and not attention:
            return None
        given = cls(plan, prefixes)
        require(can.embeddings or not soft, "this model takes tokens alone, no embeddings: its executor does not read them")
        kept = any(isinstance(node, Soft) and node.cache is not None for node, _, _ in plan.fresh)
        require(
            can.gradients or not (given.gradients or kept),
            "gradients, and keys and values that are given, need the eager executor: es.load(name, eager=True)",
        )
        return given

    def rows(self, rows: Pass, attention: bool) -> SoftRows:
        """What it gives for one pass."""
        found = [(r, *self._at[slot]) for r, slot in enumerate(rows.slots.tolist()) if slot in self._at]
        by_embeds = [(r, node.embeds[j]) for r, node, j in found if node.embeds is not None]
        by_cache = [(r, node.cache[0][:, j], node.cache[1][:, j]) for r, node, j in found if node.cache is not None]
        return SoftRows(
            _places(r for r, _ in by_embeds),
            torch.stack([e for _, e in by_embeds]) if by_embeds else None,
            _places(r for r, _, _ in by_cache) if by_cache else None,
            (torch.stack([k for _, k, _ in by_cache], 1), torch.stack([v for *_, v in by_cache], 1)) if by_cache else None,
            self.gradients,
            attention,
        )

    def tokens(self, rows: Pass) -> Pass:
        """The pass with a token in the place of each that only stands for an embedding."""
        tokens = rows.tokens.copy()
        for r, slot in enumerate(rows.slots.tolist()):
            if slot in self._at and self._at[slot][0].embeds is not None:
                tokens[r] = 0
        return Pass(tokens, rows.positions, rows.slots, rows.bounds, rows.paths, rows.starts, rows.out)


def _places(rows: Iterable[int]) -> Tensor:
    return torch.tensor(list(rows), dtype=torch.long)


def _last(x: Prefix) -> Prefix:
    return next((node for node in x.up() if node.tokens), x)


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Rows of several passes [n, T] below each other, filled up to the longest."""
    width = max(part.shape[1] for part in parts)
    return torch.cat([F.pad(part, (0, width - part.shape[1])) for part in parts])


def to_given(attention: Tensor, prefixes: Sequence[Prefix]) -> Tensor:
    """Attention [N, T] to the positions of what was given alone, as many as the longest has."""
    lengths = torch.tensor([len(x.origin) for x in prefixes], device=attention.device)
    attention = attention[:, : int(lengths.max())]
    return attention * (torch.arange(attention.shape[1], device=attention.device) < lengths[:, None])
