"""DRY: the longer the run that a token would repeat, the more it is penalised."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import ClassVar

import torch
from torch import Tensor

from espalier.errors import InvalidInput, expect, require
from espalier.prefix import Prefix
from espalier.shaper import Shaper, Stage
from espalier.shaping.history import History
from espalier.shaping.repeats.suffixes import Suffixes
from espalier.shaping.scores import NEVER
from espalier.text.vocab import Vocab

BREAKERS = ("\n", ":", '"', "*")


@dataclass(frozen=True, slots=True)
class Run:
    """A text with its repeats, and how many tokens came since the last breaker."""

    text: Suffixes
    since: int = 0


class dry(History[Run]):
    """Subtracts multiplier · base^(L - allowed) from the logit of a token that would extend a repeat of L ≥ allowed tokens.

    L is the length of the longest suffix of the text (its prompt included) that the token followed earlier. Suffixes end at
    `breakers`: texts, where any token that holds one breaks (they need the scorer's vocabulary), or token ids. Penalties
    end at 10,000. multiplier = 0 changes nothing. (The rule of text-generation-webui and llama.cpp.)

    >>> rule = dry(1.0, 2.0, allowed=2, breakers=())
    >>> rule(torch.zeros(1, 4), [Prefix([0, 1, 2, 3, 0, 1, 2])]).tolist()
    [[0.0, 0.0, 0.0, -2.0]]
    """

    stage: ClassVar[Stage] = Stage.LOGITS

    def __init__(
        self,
        multiplier: float = 0.8,
        base: float = 1.75,
        allowed: int = 2,
        breakers: Sequence[str | int] = BREAKERS,
        vocab: Vocab | None = None,
    ) -> None:
        expect(multiplier, Real, "multiplier", "a number")
        require(multiplier >= 0, f"multiplier={multiplier}: it is subtracted from logits; 0.8 is usual, 0 changes nothing")
        require(1 <= base < math.inf, f"base={base}: penalties grow by this factor per token, at least 1; 1.75 is usual")
        require(allowed >= 1, f"allowed={allowed}: repeats shorter than this are free; at least 1, 2 is usual")
        expect(breakers, Sequence, "breakers", "texts or token ids, such as ('\\n', ':')")
        self.multiplier, self.base, self.allowed, self.breakers = multiplier, base, allowed, tuple(breakers)
        steep = math.log(NEVER / multiplier, base) if multiplier and base > 1 else 0
        self._most = allowed + max(0, math.ceil(steep))  # what is longer is penalised alike
        self._vocab = vocab
        self._breaks = frozenset(b for b in self.breakers if isinstance(b, int))
        if vocab is not None and (texts := [b.encode() for b in self.breakers if isinstance(b, str)]):
            self._breaks |= {i for i, token in enumerate(vocab.tokens) if any(text in token for text in texts)}

    def bound(self, vocab: Vocab | None) -> Shaper:
        if self._vocab is not None or all(isinstance(b, int) for b in self.breakers):
            return self
        if vocab is None and self.breakers != BREAKERS:
            raise InvalidInput("breakers that are texts need a vocabulary, which this scorer has not; give token ids")
        return dry(self.multiplier, self.base, self.allowed, self.breakers, vocab)

    def begin(self, x: Prefix) -> Run:
        state = Run(Suffixes(self._most))
        for token in x.ids():
            state = self.step(state, token)
        return state

    def step(self, state: Run, token: int) -> Run:
        return Run(state.text + token, 0 if token in self._breaks else state.since + 1)

    def shape(self, row: Tensor, state: Run) -> Tensor:
        if state.since < self.allowed:
            return row
        found = state.text.repeats(self.allowed)
        if not found:
            return row
        lengths = [min(length, state.since) - self.allowed for length in found.values()]
        amounts = [min(self.multiplier * self.base**length, NEVER) for length in lengths]
        at = torch.tensor(list(found), device=row.device)
        return row.index_add(0, at, -row.new_tensor(amounts))
