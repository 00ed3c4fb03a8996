"""Which tokens may be written at all, and how early a text may end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from espalier.errors import expect, require
from espalier.prefix import Prefix
from espalier.shaper import Edit, Shaper, Stage


class only(Shaper):
    """Leaves these tokens alone and makes all others impossible.

    >>> only([0, 2])(torch.zeros(1, 3), [Prefix()]).tolist()
    [[0.0, -inf, 0.0]]
    """

    stage: ClassVar[Stage] = Stage.LOGITS

    def __init__(self, tokens: Iterable[int]) -> None:
        expect(tokens, Iterable, "allowed_tokens", "token ids, such as [13, 198]")
        self.tokens = sorted(set(tokens))
        require(bool(self.tokens), "allowed_tokens is empty: at least one token must be left to write")

    def check(self, vocab_size: int) -> None:
        wrong = [token for token in self.tokens if not 0 <= token < vocab_size]
        require(not wrong, f"allowed_tokens: token {wrong[:1]} is outside this vocabulary of {vocab_size} tokens")

    def __call__(self, weights: Tensor, prefixes: Sequence[Prefix]) -> Tensor:
        kept = torch.tensor(self.tokens, device=weights.device)
        return torch.full_like(weights, -torch.inf).index_copy(-1, kept, weights.index_select(-1, kept))


class not_before(Shaper):
    """Makes these tokens impossible until so many tokens have been written: end tokens, for a text of some length.

    >>> x = Prefix([0])
    >>> not_before(1, [2])(torch.zeros(2, 3), [x, x + 1]).tolist()
    [[0.0, 0.0, -inf], [0.0, 0.0, 0.0]]
    """

    stage: ClassVar[Stage] = Stage.LOGITS

    def __init__(self, count: int, tokens: Iterable[int]) -> None:
        expect(count, Integral, "min_tokens", "a whole number")
        require(count >= 0, f"min_tokens={count}: it cannot be negative")
        self.count, self.tokens = count, sorted(set(tokens))

    def edits(self, x: Prefix) -> Sequence[Edit] | None:
        if type(self) is not not_before:
            return None
        shut = self.tokens if len(x) - len(x.origin) < self.count else []
        return [Edit("add", np.array(shut, np.int32), np.full(len(shut), -np.inf, np.float32))] if shut else []

    def __call__(self, weights: Tensor, prefixes: Sequence[Prefix]) -> Tensor:
        early = torch.tensor([len(x) - len(x.origin) < self.count for x in prefixes], device=weights.device)
        if not self.tokens or not bool(early.any()):
            return weights
        weights = weights.clone()
        shut = torch.tensor(self.tokens, device=weights.device)
        weights[:, shut] = weights[:, shut].masked_fill(early[:, None], -torch.inf)
        return weights
