"""One step ahead: the rows of candidate tokens, kept so that the chosen one costs no second pass."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from espalier.errors import InvalidInput
from espalier.prefix import Prefix
from espalier.rows import Rows
from espalier.scorer import Answer, Ask, Scorer, Wrapper
from espalier.shaper import Stage

Kept: TypeAlias = "tuple[Tensor, dict[str, Tensor]]"  # logits [V] and extras of one prefix
_BUDGET = 64 << 20  # bytes of rows that are kept for candidates


class Forks(Wrapper):
    """The inner scorer, asked about candidates ahead of time: `ahead` asks, and whoever asks about the chosen one later is
    answered from what was kept. Rows of older forks are forgotten under a budget of bytes and asked for again."""

    def __init__(self, inner: Scorer, want: frozenset[str] = frozenset(), budget: int = _BUDGET) -> None:
        super().__init__(inner)
        self.want, self._budget, self._used = want, budget, 0
        self._kept: OrderedDict[Prefix, dict[int, Kept]] = OrderedDict()

    def answer(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Answer:
        found = [self._find(x, want) for x in prefixes]
        missing = [i for i, kept in enumerate(found) if kept is None]
        if missing:
            rows: Rows = yield Ask(self.inner, [prefixes[i] for i in missing], want | self.want)
            for i, at in enumerate(missing):
                found[at] = rows.logits[i], {name: value[i] for name, value in rows.extras.items()}
        whole = [kept for kept in found if kept is not None]
        names = set.intersection(*(set(extras) for _, extras in whole))
        extras = {name: torch.stack([kept[1][name] for kept in whole]) for name in names}
        return Rows(torch.stack([logits for logits, _ in whole]), prefixes, extras)

    def _find(self, x: Prefix, want: frozenset[str]) -> Kept | None:
        if x is x.origin or x.parent is None or x.parent not in self._kept or len(x.tokens) != 1:
            return None
        kept = self._kept[x.parent].get(x.last)
        return kept if kept is not None and want <= kept[1].keys() else None

    def ahead(self, prefixes: Sequence[Prefix], tokens: Sequence[Sequence[int]]) -> Generator[Ask, Any, list[list[Kept]]]:
        """For each prefix the logits and extras after each of its candidates; all that is not kept is asked in one turn."""
        kept = [dict(self._kept.get(x, {})) for x in prefixes]
        asked = [(i, x + v) for i, x in enumerate(prefixes) for v in tokens[i] if v not in kept[i]]
        if asked:
            rows: Rows = yield Ask(self.inner, [y for _, y in asked], self.want)
            for at, (i, y) in enumerate(asked):
                kept[i][y.last] = rows.logits[at].clone(), {name: value[at].clone() for name, value in rows.extras.items()}
        for x, found in zip(prefixes, kept, strict=True):
            self._keep(x, found)
        return [[found[v] for v in each] for found, each in zip(kept, tokens, strict=True)]

    def _keep(self, x: Prefix, found: dict[int, Kept]) -> None:
        self._used -= sum(_size(one) for one in self._kept.pop(x, {}).values())
        self._kept[x] = found
        self._used += sum(_size(one) for one in found.values())
        while self._used > self._budget and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._used -= sum(_size(one) for one in oldest.values())


def _size(kept: Kept) -> int:
    return kept[0].nbytes + sum(value.nbytes for value in kept[1].values())


def unrestricted(scorer: Scorer, who: str) -> Scorer:
    """The scorer, if it is not behind a constraint, a temperature or a truncation. Raises `InvalidInput` if it is."""
    if not isinstance(scorer, Scorer):
        raise InvalidInput(f"{who} was given {scorer!r}; expected a scorer, such as lm.scorer")
    if scorer.stage > Stage.LOGITS:
        raise InvalidInput(
            f"{who} reads the probabilities of all tokens, but was given a scorer behind {scorer.stage.says}, where they are "
            f"others; build it on the model, the rest comes after it: es.shaping.{who}(model, …) * guide | temperature"
        )
    return scorer
