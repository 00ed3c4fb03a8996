"""Energies of soft texts: differentiable numbers that `Langevin` brings down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from espalier.errors import require

__all__ = ["Energy", "SoftText", "fluency", "future", "keywords"]

Tokens = tuple[int, ...]


@dataclass(frozen=True)
class SoftText:
    """A text whose tokens are distributions: `logits` [T, V], which are moved; `lm` [T, V], the model's log-probabilities at
    each place given the soft text before it; `after`, by a given right context of n tokens, those [n, V] there."""

    logits: Tensor
    lm: Tensor
    after: dict[Tokens, Tensor]

    @property
    def logp(self) -> Tensor:
        """The log-probabilities [T, V] of the soft tokens."""
        return torch.log_softmax(self.logits, -1)


Energy = Callable[[SoftText], Tensor]


def fluency(text: SoftText) -> Tensor:
    """Soft fluency: the mean cross-entropy −Σ_v p(v | soft text before) · log soft token(v) of the places.

    >>> import math
    >>> flat = torch.zeros(2, 4)
    >>> round(float(fluency(SoftText(flat, flat.log_softmax(-1), {}))) / math.log(4), 6)
    1.0
    """
    return -(text.lm.exp() * text.logp).sum(-1).mean()


class future:
    """Minus the mean log-probability of a given right context behind the soft text.

    >>> future([1, 2]).right
    (1, 2)
    """

    def __init__(self, tokens: Sequence[int]) -> None:
        require(len(tokens) > 0, "the right context is empty; give its tokens")
        self.right: Tokens = tuple(int(token) for token in tokens)

    def __call__(self, text: SoftText) -> Tensor:
        rows = text.after[self.right]
        return -rows[torch.arange(len(self.right)), torch.tensor(self.right)].mean()


class keywords:
    """Minus the log of how often each phrase (token sequence) is expected in the soft text, at most once each; the mean.

    >>> text = torch.tensor([[9.0, 0.0], [0.0, 9.0]])
    >>> float(keywords([[0, 1]])(SoftText(text, text, {}))) < float(keywords([[1, 0]])(SoftText(text, text, {})))
    True
    """

    def __init__(self, phrases: Sequence[Sequence[int]]) -> None:
        require(len(phrases) > 0 and all(len(p) > 0 for p in phrases), f"keywords({phrases!r}): phrases of at least one token")
        self.phrases = [[int(token) for token in phrase] for phrase in phrases]

    def __call__(self, text: SoftText) -> Tensor:
        logp, losses = text.logp, list[Tensor]()
        for phrase in self.phrases:
            places = len(logp) - len(phrase) + 1
            require(places > 0, f"the phrase {phrase} is longer than the text of {len(logp)} tokens; ask for a longer one")
            at = torch.stack([logp[i : i + places, token] for i, token in enumerate(phrase)]).sum(0)
            losses.append(-torch.logsumexp(at, 0).clamp(max=0.0))
        return torch.stack(losses).mean()
