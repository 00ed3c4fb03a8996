"""Weighted sums of rows: what two or three models, or prompts, say together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from espalier.errors import InvalidInput, require
from espalier.rows import Rows
from espalier.scorer import Scorer
from espalier.shaper import Stage
from espalier.shaping.combine.mixture import Mixture
from espalier.shaping.scores import NEVER

Space = Literal["logp", "logits"]


class combine(Mixture):
    """The scorer with rows Σ weights[i] · f(row of parts[i]), all parts asked in one turn; f is log-softmax or nothing.

    `head=(j, alpha)` keeps the tokens that part j finds plausible, p_j ≥ alpha · max p_j; the others follow far below, so
    that a constraint which allows none of the head still finds some. A token that a part of positive weight excludes stays
    excluded; where one of negative weight does, it counts as agreeing with part j (the first, without a head). `space` says
    what is summed: "logp", which works behind a part's own constraint and temperature, or raw "logits"; the law is the same.
    Weights [1] of one part leave it as it is.

    >>> import espalier as es
    >>> a, b = (es.models.Table.random(vocab_size=4, depth=2, seed=s) for s in (0, 1))
    >>> product = combine([a, b], [0.5, 0.5], head=(0, 0.1))
    >>> [x] = es.run(es.sample(product, es.Prefix([0]), es.stop.budget(2), es.Rng(0)))
    >>> len(x.written())
    2
    """

    def __init__(
        self,
        parts: Sequence[Scorer],
        weights: Sequence[float],
        head: tuple[int, float] | None = None,
        space: Space = "logp",
    ) -> None:
        require(len(parts) > 0, "combine() was given no parts; write combine([expert, amateur], [1, -1])")
        require(len(parts) == len(weights), f"{len(parts)} parts but {len(weights)} weights; give one weight per part")
        require(all(map(math.isfinite, weights)), f"weights={list(weights)}: they are finite numbers")
        require(any(weight > 0 for weight in weights), f"weights={list(weights)}: at least one part must speak for its tokens")
        require(space in ("logp", "logits"), f"space={space!r}: use 'logp' or 'logits'")
        if head is not None:
            require(0 <= head[0] < len(parts), f"head={head}: there is no part {head[0]} among {len(parts)}")
            require(0 <= head[1] <= 1, f"alpha={head[1]}: it is a fraction of the best token's probability, between 0 and 1")
        super().__init__(parts, self._sum)
        behind = [part.stage for part in parts if part.stage > Stage.LOGITS]
        if space == "logits" and behind:
            raise InvalidInput(
                f"space='logits' sums raw logits, but a part is behind {behind[0].says}; put that after the sum, or use 'logp'"
            )
        self.weights, self.head, self.space = tuple(weights), head, space

    def _read(self, rows: Rows) -> Tensor:
        if self.space == "logits" and rows.limits is None:
            return rows.logits
        return super()._read(rows)

    def _sum(self, rows: list[Tensor]) -> Tensor:
        lead = rows[self.head[0] if self.head is not None else 0]
        rows = [row.to(lead) for row in rows]
        total, excluded = torch.zeros_like(lead), torch.zeros_like(lead, dtype=torch.bool)
        for row, weight in zip(rows, self.weights, strict=True):
            out = row == -torch.inf
            if weight > 0:
                excluded |= out
            total = total + weight * torch.where(out, torch.where(lead == -torch.inf, 0.0, lead), row)
        if self.head is not None:
            total = torch.where(plausible(lead, self.head[1]), total, torch.log_softmax(lead, -1) - NEVER)
            excluded |= lead == -torch.inf
        return total.masked_fill(excluded, -torch.inf)


def plausible(row: Tensor, alpha: float) -> Tensor:
    """The head set: the tokens with p ≥ alpha · max p. Li et al. 2022 (arXiv 2210.15097)."""
    cut = math.log(alpha) if alpha > 0 else -math.inf
    return (row > -torch.inf) & (row >= row.amax(-1, keepdim=True) + cut - 1e-7)


def proxy(large: Scorer, tuned: Scorer, base: Scorer, a: float = 1.0) -> Scorer:
    """The large model as if it were tuned: logits z_large + a · (z_tuned - z_base), by a small model before and after tuning.

    tuned = base leaves the large model; large = base is the tuned one at a = 1. With a = 1 this is proxy tuning and emulated
    fine-tuning; with base = large, logits base + a · (tuned - base), an interpolation for a < 1 and a contrast above, it is the
    form of FS-GEN. All three are asked in one turn, a model that comes twice once. Liu et al. 2024 (arXiv 2401.08565);
    Mitchell et al. 2023 (arXiv 2310.12962); Zhang et al. 2024 (arXiv 2406.12295).

    >>> import espalier as es
    >>> large, tuned, base = (es.models.Table.random(vocab_size=4, depth=2, seed=s) for s in (0, 1, 2))
    >>> [x] = es.run(es.sample(proxy(large, tuned, base), es.Prefix([0]), es.stop.budget(3), es.Rng(0)))
    >>> len(x.written())
    3
    """
    require(0 <= a < math.inf, f"a={a}: the weight of the tuning, from 0; 1 is usual, 0 is the large model alone")
    return combine([large, tuned, base], [1, a, -a], space="logits")
