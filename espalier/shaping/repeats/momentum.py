"""Momentum decoding: a token that closes a circle in the text has resistance, the longer the circle's arc the more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from espalier.errors import require
from espalier.prefix import Prefix
from espalier.shaper import Stage
from espalier.shaping.history import History
from espalier.shaping.repeats.persistent_map import PersistentMap
from espalier.shaping.scores import candidates


@dataclass(frozen=True, slots=True)
class Arcs:
    """The last tokens, and all runs of up to so many tokens that occurred."""

    last: tuple[int, ...]
    seen: PersistentMap[tuple[int, ...], bool]


class momentum(History[Arcs]):
    """Scores p(v) - alpha · table[L] for the k most probable tokens: L tokens, v the last of them, occurred before in the text.

    L = 0 for a token that never occurred; runs longer than the table are ruled out. Scores are made for the argmax; a row is
    their softmax, other tokens far below. alpha = 0 is greedy. Lan et al. 2022, "Momentum decoding" (arXiv 2212.02175).

    >>> rule = momentum(k=2, alpha=0.5)
    >>> rule(torch.tensor([[0.6, 0.4]]).log(), [Prefix([0])])[0].tolist()
    [0.10000002384185791, 0.4000000059604645]
    """

    stage: ClassVar[Stage] = Stage.LOGITS

    def __init__(self, k: int = 5, alpha: float = 0.2, table: Sequence[float] = (0, 1, 2, 3, 4, 5)) -> None:
        require(k >= 1, f"k={k}: at least one candidate; 5 is usual")
        require(alpha >= 0, f"alpha={alpha}: the weight of the resistance, from 0; 0.2 is usual")
        require(len(table) >= 1, "the table of resistances is empty; the usual one is (0, 1, 2, 3, 4, 5)")
        self.k, self.alpha, self.table = k, alpha, tuple(table)

    def begin(self, x: Prefix) -> Arcs:
        state = Arcs((), PersistentMap())
        for token in x.ids():
            state = self.step(state, token)
        return state

    def step(self, state: Arcs, token: int) -> Arcs:
        run, seen = (*state.last, token)[-len(self.table) :], state.seen
        for start in range(len(run)):
            seen = seen.put(run[start:], True)
        return Arcs(run, seen)

    def shape(self, row: Tensor, state: Arcs) -> Tensor:
        logps, at = torch.log_softmax(row, -1).topk(min(self.k, len(row)))
        costs = [self._cost(state, token) for token in at.tolist()]
        return candidates(row, at, logps.exp() - torch.tensor(costs, dtype=row.dtype, device=row.device))

    def _cost(self, state: Arcs, token: int) -> float:
        length = 0
        while length <= len(state.last) and length < len(self.table):
            run = (*state.last[len(state.last) - length :], token)
            if not state.seen.get(run):
                break
            length += 1
        if length == len(self.table):
            return float("inf") if self.alpha else 0.0
        return self.alpha * self.table[length]
