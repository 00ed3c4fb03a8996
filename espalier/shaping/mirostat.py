"""Mirostat: truncation that steers the surprise of what is drawn towards a target."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from espalier.errors import require
from espalier.prefix import Prefix
from espalier.shaper import Stage
from espalier.shaping.row_history import RowHistory

_RANKS = 100  # the most probable tokens from which version 1 estimates the exponent


@dataclass(frozen=True, slots=True)
class Kept:
    """The tokens that a row kept, in order of their ids, and their surprise in bits."""

    tokens: Tensor
    bits: Tensor


class mirostat(RowHistory[float, Kept]):
    """Keeps the tokens of at most μ bits, one at least; after each token μ goes down by eta · (its surprise - tau).

    μ starts at 2 tau and is a value on each prefix, so drafts and beams have the μ of their own path. Surprise is that of the
    token in the truncated, renormalised row. Version 2 cuts at μ bits; version 1 keeps the k most probable tokens, k from μ and
    an estimate of the exponent of Zipf's law over the first 100 ranks. Guarantee: the mean surprise of n tokens differs from
    tau by (μ_0 - μ_n) / (eta · n). Tokens are only left out, so a tau above the model's own surprise is not reached. Basu et
    al. 2021, "Mirostat" (arXiv 2007.14966); version 2 as llama.cpp has it.

    >>> row = torch.tensor([[0.6, 0.25, 0.15]]).log()
    >>> mirostat(tau=1.1)(row, [Prefix([0])]).exp() > 0  # 2.2 bits: p ≥ 0.22
    tensor([[ True,  True, False]])
    """

    stage: ClassVar[Stage] = Stage.TRUNCATION

    def __init__(self, tau: float = 5.0, eta: float = 0.1, version: int = 2) -> None:
        super().__init__()
        require(0 < tau < math.inf, f"tau={tau}: a surprise to aim at is a positive number of bits; 5 is usual, 3 is plainer")
        require(0 <= eta < math.inf, f"eta={eta}: a step size, at least 0; 0.1 is usual, 0 never moves the cut")
        require(version in (1, 2), f"version={version}: there are version 1 (top-k by Zipf's law) and 2 (a cut at μ bits)")
        self.tau, self.eta, self.version = tau, eta, version

    def begin(self, x: Prefix) -> float:
        return 2 * self.tau

    def shape(self, row: Tensor, state: float) -> tuple[Tensor, Kept]:
        best = int(row.argmax())
        if self.version == 2:
            keep = -row / math.log(2) <= state
        else:
            keep = torch.zeros_like(row, dtype=torch.bool).index_fill_(0, row.topk(self._size(row, state)).indices, True)
            keep &= row > -torch.inf
        keep[best] = True
        tokens = keep.nonzero().flatten()
        bits = -torch.log_softmax(row[tokens].double(), -1) / math.log(2)
        return row.masked_fill(~keep, -torch.inf), Kept(tokens.to("cpu", torch.int32), bits.to("cpu", torch.float32))

    def step(self, state: float, token: int, note: Kept) -> float:
        at = int(torch.searchsorted(note.tokens, token))
        if at == len(note.tokens) or int(note.tokens[at]) != token:
            return state  # the row had excluded this token: nothing was drawn from it
        return state - self.eta * (float(note.bits[at]) - self.tau)

    def _size(self, row: Tensor, state: float) -> int:
        """How many tokens hold the surprise at `state`, if ranks follow Zipf's law with the exponent of the first ones."""
        top = row.double().topk(min(_RANKS, int((row > -torch.inf).sum()))).values
        if len(top) < 2:
            return 1
        ranks = torch.arange(1, len(top), dtype=torch.float64, device=row.device)
        t, b = ((ranks + 1) / ranks).log(), top[:-1] - top[1:]
        s = float((t * b).sum() / (t * t).sum())
        if s <= 0:
            return len(row)
        size, epsilon = len(row), s - 1
        mass = 1 / math.log(size) if abs(epsilon) < 1e-9 else epsilon / -math.expm1(-epsilon * math.log(size))
        bits = (math.log2(mass) + state) / s  # log2 of k: k = (mass · 2^μ)^(1/s)
        return size if bits >= math.log2(size) else max(1, round(2**bits))
