"""FSD: what the text so far would say next, as an n-gram model of itself, is taken off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from espalier.capabilities import Extra
from espalier.errors import require
from espalier.prefix import Prefix
from espalier.rows import Rows
from espalier.scorer import Answer, Scorer, Wrapper
from espalier.shaper import Stage
from espalier.shaping.extras import require_extra
from espalier.shaping.forks import unrestricted
from espalier.shaping.history import History
from espalier.shaping.positions import Positions
from espalier.shaping.repeats.contrastive import HIDDEN, Directions
from espalier.shaping.repeats.persistent_map import PersistentMap
from espalier.shaping.scores import candidates


def fsd(scorer: Scorer, k: int = 3, alpha: float = 0.45, n: int = 3, beta: float = 0.9, vector: bool = False) -> Scorer:
    """The scorer with (1 - alpha) · p(v) - alpha · penalty(v) for its k most probable tokens, the penalty that of an n-gram
    model of the text itself.

    Orders n - 1 … 0 are mixed by stick-breaking: beta of what is left goes to the longest context after which v was seen;
    prompts count. With `vector` contexts are compared by hidden states: the penalty is the largest cosine, at least 0, of the
    last n - 1 states with those before an earlier v (n = 2 is usual). Scores are made for the argmax; a row is their softmax,
    other tokens far below. alpha = 0 is greedy. Yang et al. 2023, "Frustratingly simple decoding" (arXiv 2305.12675).

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=6, depth=2, seed=0)
    >>> [x] = es.run(es.sample(fsd(model) | es.temperature(0), es.Prefix([1]), es.stop.budget(4), es.Rng(0)))
    >>> len(x.written())
    4
    """
    require(k >= 1, f"k={k}: at least one candidate; 3 is usual")
    require(0 <= alpha <= 1, f"alpha={alpha}: the share of the penalty, 0 to 1; 0.4 to 0.45 are usual")
    require(n >= (2 if vector else 1), f"n={n}: the order of the n-gram model, at least {2 if vector else 1}")
    require(0 < beta <= 1, f"beta={beta}: the share of the longest context, above 0 and at most 1; 0.9 is usual")
    unrestricted(scorer, "fsd")
    return _Vectors(scorer, k, alpha, n) if vector else scorer | _NGrams(k, alpha, n, beta)


@dataclass(frozen=True, slots=True)
class Continued:
    """How often a context was continued, and how often by which token."""

    total: int
    by: PersistentMap[int, int]


@dataclass(frozen=True, slots=True)
class Text:
    """The last tokens, and how each context of up to so many was continued."""

    last: tuple[int, ...]
    after: PersistentMap[tuple[int, ...], Continued]


class _NGrams(History[Text]):
    stage: ClassVar[Stage] = Stage.LOGITS

    def __init__(self, k: int, alpha: float, n: int, beta: float) -> None:
        self.k, self.alpha, self.n, self.beta = k, alpha, n, beta

    def begin(self, x: Prefix) -> Text:
        state = Text((), PersistentMap())
        for token in x.ids():
            state = self.step(state, token)
        return state

    def step(self, state: Text, token: int) -> Text:
        after = state.after
        for order in range(len(state.last) + 1):
            context = state.last[len(state.last) - order :]
            seen = after.get(context) or Continued(0, PersistentMap())
            after = after.put(context, Continued(seen.total + 1, seen.by.put(token, seen.by.get(token, 0) + 1)))
        last = (*state.last, token)
        return Text(last[max(0, len(last) - self.n + 1) :], after)

    def penalty(self, state: Text, token: int) -> float:
        """What the text's own n-gram model gives the token."""
        left, total = 1.0, 0.0
        for order in range(len(state.last), -1, -1):
            seen = state.after.get(state.last[len(state.last) - order :])
            count = 0 if seen is None else seen.by.get(token, 0)
            if seen is None or not count:
                continue
            share = count / (seen.total + (order > 0))
            total += left * share * (self.beta if order else 1.0)
            left *= 1 - self.beta
        return total

    def shape(self, row: Tensor, state: Text) -> Tensor:
        logps, at = torch.log_softmax(row, -1).topk(min(self.k, len(row)))
        penalties = [self.penalty(state, token) for token in at.tolist()]
        scores = (1 - self.alpha) * logps.exp() - self.alpha * logps.new_tensor(penalties)
        return candidates(row, at, scores)


@dataclass(frozen=True, slots=True)
class Windows:
    """The last hidden states, and of each earlier token the states before it, as one vector."""

    last: tuple[Tensor, ...] = ()
    keys: Directions = field(default_factory=Directions)
    tokens: tuple[int, ...] = ()


class _Vectors(Wrapper):
    def __init__(self, scorer: Scorer, k: int, alpha: float, n: int) -> None:
        super().__init__(scorer)
        require_extra(scorer, Extra.HIDDEN, "fsd with vector=True")
        self.k, self.alpha, self.n = k, alpha, n
        self._texts: Positions[tuple[Tensor, int], Windows] = Positions(
            scorer, HIDDEN, lambda rows, i: (rows.extras["hidden"][i].clone(), rows.prefixes[i].last), self._add
        )

    def _add(self, state: Windows | None, taken: tuple[Tensor, int], node: Prefix) -> Windows:
        state = state or Windows()
        hidden, token = taken
        full = len(state.last) == self.n - 1
        keys = state.keys + torch.cat(state.last) if full else state.keys
        return Windows((*state.last, hidden)[1 - self.n :], keys, (*state.tokens, token) if full else state.tokens)

    def answer(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Answer:
        rows: Rows = yield from self._texts.read(prefixes, want)
        top = torch.log_softmax(rows.logits, -1).topk(min(self.k, self.vocab_size), -1)
        shaped = []
        for i, x in enumerate(prefixes):
            penalties = top.values.new_tensor(self._penalties(self._texts[x], top.indices[i].tolist()))
            scores = (1 - self.alpha) * top.values[i].exp() - self.alpha * penalties
            shaped.append(candidates(rows.logits[i], top.indices[i], scores))
        return rows.with_logits(torch.stack(shaped))

    def _penalties(self, state: Windows, tokens: Sequence[int]) -> list[float]:
        if not state.tokens or len(state.last) < self.n - 1:
            return [0.0] * len(tokens)
        alike = state.keys.cosines(torch.cat(state.last)[None])[0]
        followed = torch.tensor(state.tokens)
        return [max(0.0, float(alike[followed == v].max())) if (followed == v).any() else 0.0 for v in tokens]
