"""Penalties on tokens that occurred: shapers of logits whose counts are kept with each prefix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from espalier.errors import expect, require
from espalier.prefix import Prefix
from espalier.shaper import Edit, Shaper, Stage
from espalier.shaping.ending import ends
from espalier.shaping.history import Counts, History
from espalier.text.vocab import Vocab


class repetition(History[Counts]):
    """Divides the positive logits of tokens that occurred (in the prompt too) by a factor, multiplies the negative ones.

    The rule reads the sign of raw logits, so it changes when a constant is added to a row. Keskar et al. 2019, "CTRL" (arXiv
    1909.05858), with the sign rule that transformers uses.

    >>> repetition(2.0)(torch.tensor([[1.0, -1.0, 1.0]]), [Prefix([0, 1])]).tolist()
    [[0.5, -2.0, 1.0]]
    """

    stage: ClassVar[Stage] = Stage.LOGITS

    def __init__(self, factor: float, prompt: bool = True) -> None:
        expect(factor, Real, "repetition_penalty", "a number")
        require(
            1e-30 <= factor <= 1e30,
            f"repetition_penalty={factor}: it must be positive, from 1e-30 to 1e30; 1 changes nothing, 1.1 discourages repeats",
        )
        self.factor, self.prompt = factor, prompt

    def begin(self, x: Prefix) -> Counts:
        return Counts.of(x.ids() if self.prompt else ())

    def step(self, state: Counts, token: int) -> Counts:
        return state + token

    def shape(self, row: Tensor, state: Counts) -> Tensor:
        return state.replace_seen(row, divided(row, self.factor))

    def changes(self, state: Counts) -> Sequence[Edit] | None:
        return [Edit("divide", state.seen, np.array([self.factor], np.float32))]


class presence(History[Counts]):
    """Subtracts an amount from the logit of every token that was written (prompts do not count).

    >>> presence(0.5)(torch.zeros(1, 3), [Prefix([0]) + 1 + 1]).tolist()
    [[0.0, -0.5, 0.0]]
    """

    stage: ClassVar[Stage] = Stage.LOGITS

    def __init__(self, amount: float) -> None:
        self.amount = _amount("presence_penalty", amount)

    def begin(self, x: Prefix) -> Counts:
        return Counts.of()

    def step(self, state: Counts, token: int) -> Counts:
        return state + token

    def shape(self, row: Tensor, state: Counts) -> Tensor:
        return state.replace_seen(row, row - self.amount)

    def changes(self, state: Counts) -> Sequence[Edit] | None:
        return [Edit("add", seen := state.seen, np.full(len(seen), -self.amount, np.float32))]


class frequency(presence):
    """Subtracts an amount from the logit of every token for each time that it was written (prompts do not count).

    >>> frequency(0.5)(torch.zeros(1, 3), [Prefix([0]) + 1 + 1]).tolist()
    [[0.0, -1.0, 0.0]]
    """

    def __init__(self, amount: float) -> None:
        self.amount = _amount("frequency_penalty", amount)

    def shape(self, row: Tensor, state: Counts) -> Tensor:
        return state.subtract(row, self.amount)

    def changes(self, state: Counts) -> Sequence[Edit] | None:
        tokens, times = state.each
        return [Edit("add", tokens, times * np.float32(-self.amount))]


@dataclass(frozen=True, slots=True)
class Window:
    """The last tokens of a text, and how many were written."""

    tokens: tuple[int, ...]
    written: int = 0


class penalty(History[Window]):
    """The repetition penalty for the last `window` tokens only, what is older is forgotten; short texts are not ended early.

    With `length_weight` λ the logits of end tokens are lowered by λ · max(0, 1 - t/length) after t written tokens. The papers
    do not give the form of that part; this one is ours, and λ = 0 leaves it out. Zhu et al. 2023, "Penalty decoding" (arXiv
    2310.14971).

    >>> penalty(2.0, window=1)(torch.ones(1, 3), [Prefix([0, 1])]).tolist()
    [[1.0, 0.5, 1.0]]
    """

    stage: ClassVar[Stage] = Stage.LOGITS

    def __init__(self, factor: float = 1.5, window: int = 100, length_weight: float = 0.0, length: int = 100) -> None:
        expect(factor, Real, "factor", "a number")
        require(1e-30 <= factor <= 1e30, f"factor={factor}: it must be positive, from 1e-30 to 1e30; 1 changes nothing")
        expect(window, Integral, "window", "a whole number")
        require(window >= 1, f"window={window}: at least the last token must count; factor=1 is no penalty")
        require(length_weight >= 0, f"length_weight={length_weight}: it is subtracted from end tokens; 0 for none")
        require(length >= 1, f"length={length}: texts are held up to a length of at least one token")
        self.factor, self.window, self.weight, self.length = factor, window, length_weight, length
        self.end: frozenset[int] = frozenset()

    def bound(self, vocab: Vocab | None) -> Shaper:
        if self.weight == 0:
            return self
        new = penalty(self.factor, self.window, self.weight, self.length)
        new.end = ends(vocab, "length_weight")
        return new

    def begin(self, x: Prefix) -> Window:
        return Window(tuple(x.tail(self.window)))

    def step(self, state: Window, token: int) -> Window:
        return Window((*state.tokens, token)[-self.window :], state.written + 1)

    def shape(self, row: Tensor, state: Window) -> Tensor:
        row = row.clone()
        at = torch.tensor(sorted(set(state.tokens)), device=row.device, dtype=torch.long)
        row[at] = divided(row[at], self.factor)
        missing = 1 - state.written / self.length
        if self.end and missing > 0:
            row[torch.tensor(sorted(self.end), device=row.device)] -= self.weight * missing
        return row

    def changes(self, state: Window) -> Sequence[Edit] | None:
        found = [Edit("divide", np.array(sorted(set(state.tokens)), np.int32), np.array([self.factor], np.float32))]
        missing = 1 - state.written / self.length
        if self.end and missing > 0:
            by = np.full(len(self.end), -self.weight * missing, np.float32)
            found.append(Edit("add", np.array(sorted(self.end), np.int32), by))
        return found


def divided(logits: Tensor, factor: float) -> Tensor:
    """Positive logits divided by a factor, negative ones multiplied."""
    return (torch.minimum if factor >= 1 else torch.maximum)(logits / factor, logits * factor)


def _amount(name: str, amount: float) -> float:
    expect(amount, Real, name, "a number")
    require(-2 <= amount <= 2, f"{name}={amount}: it is subtracted from logits; use -2 to 2, 0 for none")
    return amount
