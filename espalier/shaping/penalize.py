"""Penalties and biases: shapers of logits, those with a memory reading it off each prefix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import ClassVar

import torch
from torch import Tensor

from espalier.errors import expect, require
from espalier.prefix import Prefix
from espalier.shaper import Shaper, Stage


class repetition(Shaper):
    """Divides the positive logits of tokens that occurred (in the prompt too) by a factor, multiplies the negative ones.

    Keskar et al. 2019, "CTRL" (arXiv 1909.05858), with the sign rule that transformers uses.

    >>> repetition(2.0)(torch.tensor([[1.0, -1.0, 1.0]]), [Prefix([0, 1])]).tolist()
    [[0.5, -2.0, 1.0]]
    """

    stage: ClassVar[Stage] = Stage.LOGITS

    def __init__(self, factor: float, prompt: bool = True) -> None:
        expect(factor, Real, "repetition_penalty", "a number")
        require(factor > 0, f"repetition_penalty={factor}: it must be positive; 1 changes nothing, 1.1 discourages repeats")
        self.factor, self.prompt = factor, prompt

    def __call__(self, weights: Tensor, prefixes: Sequence[Prefix]) -> Tensor:
        weights = weights.clone()
        for row, x in zip(weights, prefixes, strict=True):
            seen = torch.tensor(sorted(set(x.ids() if self.prompt else x.written())), device=row.device, dtype=torch.long)
            row[seen] = torch.where(row[seen] > 0, row[seen] / self.factor, row[seen] * self.factor)
        return weights


class presence(Shaper):
    """Subtracts an amount from the logit of every token that was written (prompts do not count).

    >>> presence(0.5)(torch.zeros(1, 3), [Prefix([0]) + 1 + 1]).tolist()
    [[0.0, -0.5, 0.0]]
    """

    stage: ClassVar[Stage] = Stage.LOGITS

    def __init__(self, amount: float) -> None:
        expect(amount, Real, "presence_penalty", "a number")
        require(-2 <= amount <= 2, f"presence_penalty={amount}: it is subtracted from logits; use -2 to 2, 0 for none")
        self.amount = amount

    def __call__(self, weights: Tensor, prefixes: Sequence[Prefix]) -> Tensor:
        return _subtract(weights, [dict.fromkeys(x.written(), self.amount) for x in prefixes])


class frequency(Shaper):
    """Subtracts an amount from the logit of every token for each time that it was written (prompts do not count).

    >>> frequency(0.5)(torch.zeros(1, 3), [Prefix([0]) + 1 + 1]).tolist()
    [[0.0, -1.0, 0.0]]
    """

    stage: ClassVar[Stage] = Stage.LOGITS

    def __init__(self, amount: float) -> None:
        expect(amount, Real, "frequency_penalty", "a number")
        require(-2 <= amount <= 2, f"frequency_penalty={amount}: it is subtracted from logits; use -2 to 2, 0 for none")
        self.amount = amount

    def __call__(self, weights: Tensor, prefixes: Sequence[Prefix]) -> Tensor:
        amounts = [{token: n * self.amount for token, n in Counter(x.written()).items()} for x in prefixes]
        return _subtract(weights, amounts)


class bias(Shaper):
    """Adds a number to the logits of chosen tokens; -inf forbids one.

    >>> bias({1: 2.0})(torch.zeros(1, 3), [Prefix()]).tolist()
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
        return _subtract(weights, [{token: -amount for token, amount in self.amounts.items()}] * len(prefixes))


def _subtract(weights: Tensor, amounts: Sequence[Mapping[int, float]]) -> Tensor:
    weights = weights.clone()
    for row, amount in zip(weights, amounts, strict=True):
        if amount:
            tokens = torch.tensor(list(amount), device=row.device)
            row[tokens] -= torch.tensor(list(amount.values()), dtype=row.dtype, device=row.device)
    return weights
