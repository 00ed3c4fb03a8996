"""Contrast of two models: what the expert says more than the amateur does."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from espalier.errors import require
from espalier.scorer import Scorer
from espalier.shaping.mix import Mixture


def contrast(expert: Scorer, amateur: Scorer, beta: float = 0.5, alpha: float = 0.1) -> Scorer:
    """(1 + β) log p_e - β log p_a on the tokens with p_e ≥ α max p_e, renormalised; both models are asked in one turn.

    β = 0 leaves the expert, cut to its plausible tokens; an amateur equal to the expert, too. As a target law it is speculated
    like any other: with the amateur as the draft model, `DraftModel(amateur)`, that is speculative contrastive decoding.
    Li et al. 2022, "Contrastive decoding" (arXiv 2210.15097); O'Brien, Lewis 2023 (arXiv 2309.09117), this form; Yuan et al.
    2023, "Speculative contrastive decoding" (arXiv 2311.08981).

    >>> import espalier as es
    >>> expert, amateur = (es.models.Table.random(vocab_size=4, depth=d, seed=0) for d in (2, 1))
    >>> target, stop = contrast(expert, amateur), es.stop.budget(4)
    >>> drafter, verify = es.drafting.DraftModel(amateur, tokens=2), es.verification.Rejection()
    >>> [x] = es.run(es.speculate(target, es.Prefix([0]), stop, drafter, verify, es.Rng(0)))
    >>> len(x.written())
    4
    """
    require(beta >= 0, f"beta={beta}: the weight of the contrast cannot be negative; 0 is the expert alone")
    require(0 <= alpha <= 1, f"alpha={alpha}: it is a fraction of the best token's probability, between 0 and 1")
    cut = math.log(alpha) if alpha > 0 else -math.inf

    def combine(models: list[Tensor]) -> Tensor:
        ours, theirs = models
        plausible = (ours > -torch.inf) & (ours >= ours.amax(-1, keepdim=True) + cut - 1e-7)
        theirs = torch.where(theirs == -torch.inf, ours, theirs)
        return torch.where(plausible, (1 + beta) * ours - beta * theirs, -torch.inf)

    return Mixture([expert, amateur], combine)
