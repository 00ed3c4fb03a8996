"""Rows made of scores for a few candidates: what is not a candidate comes last, but is never impossible by that."""

from __future__ import annotations

import torch
from torch import Tensor

NEVER = 1e4  # subtracted from logits: no draw reaches what is so far below, but a constraint that leaves nothing else does


def candidates(row: Tensor, at: Tensor, scores: Tensor) -> Tensor:
    """The row in which the tokens `at` have these scores as logits and all others follow far below, in the row's own order.

    >>> candidates(torch.tensor([2.0, 1.0, 0.0]), torch.tensor([1]), torch.tensor([0.5])).argmax().item()
    1
    """
    below = torch.log_softmax(row, -1) - NEVER
    scores = torch.where(torch.isneginf(scores), below[at], scores.to(below))
    return below.index_copy(0, at, torch.where(torch.isneginf(row[at]), row[at], scores))
