"""Rows under constraints without a mask: tokens are checked in the order in which they would be chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from espalier.rows import Limit


def leading(logits: Tensor, limit: Limit, k: int) -> list[tuple[int, float]]:
    """The k most probable tokens that the limit allows, with their log-probabilities before it, best first; the first of equals
    first. What a part of the limit refuses by its mask is not checked."""
    logp = torch.log_softmax(logits, -1)
    values, tokens = without_refused(logp.exp(), limit).log().sort(descending=True, stable=True)
    found: list[tuple[int, float]] = []
    for token, value in zip(tokens.tolist(), values.tolist(), strict=True):
        if len(found) == k or value == -torch.inf:
            break
        if limit.allowed(token):
            found.append((token, float(logp[token])))
    return found


def without_refused(weights: Tensor, limit: Limit) -> Tensor:
    """The weights, zero where a part of the limit that has a mask refuses the token: nothing that the whole allows is lost."""
    hint = getattr(limit, "hint", None)
    known: Tensor | None = hint() if hint is not None else None
    return weights if known is None else weights * known.to(weights.device)


def checked(logits: Tensor, limit: Limit) -> Tensor:
    """bool [V]: the tokens with weight that the limit allows, each checked on its own."""
    possible = without_refused((logits > -torch.inf).double(), limit) > 0
    return torch.tensor([able and limit.allowed(token) for token, able in enumerate(possible.tolist())])


def any_allowed(limit: Limit, size: int) -> bool:
    """Whether the limit allows any token at all."""
    possible = without_refused(torch.ones(size), limit).nonzero().flatten().tolist()
    return any(map(limit.allowed, possible))
