"""Biases: numbers added to the logits of chosen tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import ClassVar

import torch
from torch import Tensor

from espalier.errors import expect, require
from espalier.prefix import Prefix
from espalier.shaper import Shaper, Stage


class bias(Shaper):
    """Adds a number to the logits of chosen tokens; -inf forbids one.

    >>> import espalier as es
    >>> bias({1: 2.0})(torch.zeros(1, 3), [es.Prefix()]).tolist()
    [[0.0, 2.0, 0.0]]
    """

    stage: ClassVar[Stage] = Stage.LOGITS

    def __init__(self, amounts: Mapping[int, float]) -> None:
        expect(amounts, Mapping, "logit_bias", "token ids with what is added to their logits, such as {7: -2.0}")
        for token, amount in amounts.items():
            expect(token, Integral, "a key of logit_bias", "the id of a token")
            expect(amount, Real, "a value of logit_bias", "a number")
        require(all(a == a and a < float("inf") for a in amounts.values()), "logit_bias: a bias is a number below infinity")
        self.amounts = dict(amounts)

    def check(self, vocab_size: int) -> None:
        wrong = [token for token in self.amounts if not 0 <= token < vocab_size]
        require(not wrong, f"logit_bias: token {wrong[:1]} is outside this vocabulary of {vocab_size} tokens")

    def __call__(self, weights: Tensor, prefixes: Sequence[Prefix]) -> Tensor:
        if not self.amounts:
            return weights
        at = torch.tensor(list(self.amounts), device=weights.device)
        return weights.index_add(-1, at, weights.new_tensor(list(self.amounts.values())).expand(len(weights), -1))
