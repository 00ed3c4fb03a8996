"""No n-gram twice."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor

from espalier.errors import expect, require
from espalier.prefix import Prefix
from espalier.shaper import Stage
from espalier.shaping.history import Counts, History
from espalier.shaping.repeats.persistent_map import PersistentMap
from espalier.shaping.scores import NEVER

Chain: TypeAlias = "tuple[int, Chain] | None"


@dataclass(frozen=True, slots=True)
class Followers:
    """The last tokens, and after each earlier run of as many tokens what followed it."""

    last: tuple[int, ...]
    after: PersistentMap[tuple[int, ...], Chain]
    counts: Counts | None = None  # for n = 1 alone: the tokens that occurred


class no_repeat(History[Followers]):
    """Rules out every token that would complete an n-gram which the text, its prompt included, has already.

    Such tokens are put so far below the others that no draw reaches them; where a constraint leaves nothing else, they stay in
    their order. Guarantee: without a constraint no n-gram is written twice as long as the row has another token. Paulus et al.
    2017 (arXiv 1705.04304); transformers' no_repeat_ngram_size.

    >>> no_repeat(2)(torch.zeros(1, 3), [Prefix([0, 1, 0])]).tolist()
    [[0.0, -10000.0, 0.0]]
    """

    stage: ClassVar[Stage] = Stage.LOGITS

    def __init__(self, n: int) -> None:
        expect(n, Integral, "n", "a whole number")
        require(n >= 1, f"n={n}: the length of the runs that may not come twice, at least 1; 3 is usual")
        self.n = n

    def begin(self, x: Prefix) -> Followers:
        if self.n == 1:
            return Followers((), PersistentMap(), Counts.of(x.ids()))
        state = Followers((), PersistentMap())
        for token in x.ids():
            state = self.step(state, token)
        return state

    def step(self, state: Followers, token: int) -> Followers:
        if state.counts is not None:
            return Followers((), state.after, state.counts + token)
        after = state.after
        if len(state.last) == self.n - 1:
            after = after.put(state.last, (token, after.get(state.last)))
        return Followers((*state.last, token)[1 - self.n :], after)

    def shape(self, row: Tensor, state: Followers) -> Tensor:
        if state.counts is not None:
            return state.counts.replace_seen(row, row - NEVER)
        followers, tokens = state.after.get(state.last), set[int]()
        while followers is not None:
            tokens.add(followers[0])
            followers = followers[1]
        if not tokens:
            return row
        at = torch.tensor(sorted(tokens), device=row.device)
        return row.index_copy(0, at, row[at] - NEVER)
