"""Rows that are asked for by two parties, a drafter and the law that it drafts for, and computed once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import ClassVar
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from espalier.prefix import Prefix
from espalier.rows import Rows
from espalier.scorer import Answer, Ask, Scorer, Wrapper

_BUDGET = 16 << 20  # bytes of rows


class Remembered(Wrapper):
    """The inner scorer with its last rows at hand: a prefix that it was asked about lately is not asked about again.

    `Remembered.of(scorer)` is the one of a scorer, as long as somebody holds it; `known(scorer)` is it, or the scorer itself
    where nobody does. Rows behind a constraint or a truncation are passed on and not kept.
    """

    _all: ClassVar[WeakValueDictionary[int, Remembered]] = WeakValueDictionary()

    def __init__(self, inner: Scorer, budget: int = _BUDGET) -> None:
        super().__init__(inner)
        self.stage = inner.stage
        self._budget, self._used = budget, 0
        self._kept: OrderedDict[Prefix, tuple[Tensor, dict[str, Tensor]]] = OrderedDict()

    @classmethod
    def of(cls, scorer: Scorer) -> Remembered:
        """The one of this scorer; made if there is none."""
        if isinstance(scorer, Remembered):
            return scorer
        found = cls._all.get(id(scorer))
        if found is None or found.inner is not scorer:
            found = cls._all[id(scorer)] = cls(scorer)
        return found

    def answer(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Answer:
        missing = [x for x in prefixes if x not in self._kept or not want <= self._kept[x][1].keys()]
        if missing:
            rows: Rows = yield Ask(self.inner, missing, want)
            if rows.limits is not None or rows.after:
                if len(missing) == len(prefixes):
                    return rows
                return (yield Ask(self.inner, prefixes, want))  # type: ignore[no-any-return]
            fresh = {x: (rows.logits[i], {n: e[i] for n, e in rows.extras.items()}) for i, x in enumerate(missing)}
        else:
            fresh = {}
        found = [fresh.get(x) or self._kept[x] for x in prefixes]
        for x, row in fresh.items():
            self._keep(x, row[0].clone(), {name: extra.clone() for name, extra in row[1].items()})
        extras = {name: torch.stack([row[1][name] for row in found]) for name in want}
        return Rows(torch.stack([row[0] for row in found]), prefixes, extras)

    def _keep(self, x: Prefix, logits: Tensor, extras: dict[str, Tensor]) -> None:
        if (old := self._kept.pop(x, None)) is not None:
            self._used -= _size(*old)
        self._kept[x] = logits, extras
        self._used += _size(logits, extras)
        while self._used > self._budget and len(self._kept) > 1:
            self._used -= _size(*self._kept.popitem(last=False)[1])


def _size(logits: Tensor, extras: dict[str, Tensor]) -> int:
    return logits.nbytes + sum(extra.nbytes for extra in extras.values())


def known(scorer: Scorer) -> Scorer:
    """The scorer with the rows at hand that somebody else asked it for, if somebody remembers them."""
    found = Remembered._all.get(id(scorer))
    return found if found is not None and found.inner is scorer else scorer
