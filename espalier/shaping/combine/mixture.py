"""Scorers made of several scorers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from espalier.errors import DeadEnd, InvalidInput, expect
from espalier.prefix import Prefix
from espalier.rows import Limit, Row, Rows
from espalier.scorer import Answer, Ask, Scorer


class Mixture(Scorer):
    """The scorer whose rows are `combine` of its parts' log-probabilities, all asked in one turn.

    >>> import torch, espalier as es
    >>> a, b = (es.models.Table.random(vocab_size=4, depth=2, seed=s) for s in (0, 1))
    >>> half = Mixture([a, b], lambda logps: torch.logaddexp(*logps))  # the average of two laws
    >>> [x] = es.run(es.sample(half, es.Prefix(), es.stop.budget(2), es.Rng(0)))
    """

    def __init__(self, parts: Sequence[Scorer], combine: Callable[[list[Tensor]], Tensor]) -> None:
        for part in parts:
            expect(part, Scorer, "a part of a mixture", "a scorer, such as lm.scorer")
        sizes = {part.vocab_size for part in parts}
        if len(sizes) != 1:
            raise InvalidInput(f"a mixture needs parts of one vocabulary, these have {sorted(sizes)} tokens")
        self.parts, self.combine = tuple(parts), combine
        self.vocab_size, self.vocab = parts[0].vocab_size, parts[0].vocab
        self._shut: WeakKeyDictionary[Prefix, frozenset[int]] = WeakKeyDictionary()  # ways into dead ends

    @property
    def extras(self) -> frozenset[str] | None:
        return self.parts[0].extras

    def answer(self, prefixes: Sequence[Prefix], want: frozenset[str]) -> Answer:
        answers: list[Rows] = yield tuple(Ask(part, prefixes, want) for part in self.parts)
        logps = self.combine([self._read(rows) for rows in answers])
        dead = (logps == -torch.inf).all(-1)
        limits = [self._limit(x, end, logps.shape[-1]) for x, end in zip(prefixes, dead.tolist(), strict=True)]
        return Rows(logps.masked_fill(dead[:, None], 0.0), prefixes, answers[0].extras, limits)

    def _read(self, rows: Rows) -> Tensor:
        return torch.stack([_law(row) for row in rows])

    def _limit(self, x: Prefix, dead: bool, size: int) -> Limit | None:
        if not dead and x not in self._shut:
            return None
        possible = torch.full((size,), not dead)
        possible[sorted(self._shut.get(x, ()))] = False
        return _Mask(possible)

    def forbid(self, prefix: Prefix, token: int) -> None:
        self._shut[prefix] = self._shut.get(prefix, frozenset()) | {token}

    def viable(self, prefix: Prefix) -> bool:
        return all(part.viable(prefix) for part in self.parts)


class _Mask:
    """The limit that is a mask, bool [V]."""

    def __init__(self, possible: Tensor) -> None:
        self.possible = possible

    def allowed(self, token: int) -> bool:
        return bool(self.possible[token])

    def mask(self) -> Tensor:
        return self.possible


def _law(row: Row) -> Tensor:
    """[V] log-probabilities; -inf everywhere where the part's own constraint allows nothing."""
    try:
        return row.dense()
    except DeadEnd:
        return torch.full_like(row.logits, -torch.inf)
