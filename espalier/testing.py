"""Laws as functions: what every scorer, model and decoder must satisfy, for tests of this library and of its users."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.run import Decoder, run
from espalier.scorer import Ask, Scorer

T = TypeVar("T")
H = TypeVar("H", bound=Hashable)


class Replay(Rng):
    """An `Rng` that plays a script of outcomes and notes, for each flip, the probabilities of all outcomes."""

    def __init__(self, script: Sequence[int]) -> None:
        super().__init__(0)
        self.script, self.seen = list(script), list[list[float]]()

    def categorical(self, weights: Tensor) -> int:
        total = float(weights.double().sum())
        if not 0 < total < math.inf:
            raise AssertionError(f"a draw from weights that sum to {total}")
        return self._outcome((weights.double() / total).tolist())

    def flip(self, p: float) -> bool:
        p = min(max(p, 0.0), 1.0)
        return self._outcome([1 - p, p]) == 1

    def split(self) -> Rng:
        return self  # flips are told apart by their order, so one script serves all streams

    def _outcome(self, probabilities: list[float]) -> int:
        at = len(self.seen)
        self.seen.append(probabilities)
        if at == len(self.script):
            self.script.append(next(i for i, p in enumerate(probabilities) if p > 0))
        return self.script[at]


def exact_law(decoder: Callable[[Rng], Decoder[T]], key: Callable[[T], H], limit: int = 200_000) -> dict[H, float]:
    """The exact probability of every result of a decoder, by replaying every outcome of every coin flip.

    `decoder` makes a fresh decoder from an Rng, `key` makes results comparable. Raises AssertionError past `limit` runs.

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=3, depth=1, seed=0)
    >>> law = exact_law(lambda rng: es.sample(model, es.Prefix(), es.stop.budget(2), rng), lambda x: tuple(x.ids()))
    >>> assert_same_law(law, model.joint(es.Prefix(), 2))
    """
    law: dict[H, float] = {}
    script: list[int] = []
    for _ in range(limit):
        rng = Replay(script)
        [result] = run(decoder(rng))
        p = math.prod(probabilities[i] for probabilities, i in zip(rng.seen, rng.script, strict=True))
        law[key(result)] = law.get(key(result), 0.0) + p
        script = _next(rng)
        if not script:
            return law
    raise AssertionError(f"more than {limit} runs: make the model smaller")


def _next(rng: Replay) -> list[int]:
    for at in reversed(range(len(rng.seen))):
        for outcome in range(rng.script[at] + 1, len(rng.seen[at])):
            if rng.seen[at][outcome] > 0:
                return [*rng.script[:at], outcome]
    return []


def assert_same_law(law: dict[H, float], expected: dict[H, float], tolerance: float = 1e-12) -> None:
    """Raise AssertionError if two laws differ anywhere by more than `tolerance`."""
    for outcome in law.keys() | expected.keys():
        got, want = law.get(outcome, 0.0), expected.get(outcome, 0.0)
        assert abs(got - want) <= tolerance, f"P({outcome}) is {got:.15g}, should be {want:.15g}"


def check_scorer(scorer: Scorer, prefixes: Sequence[Prefix], tolerance: float = 1e-6) -> None:
    """Assert the laws of a scorer: rows [N, V] are normalised, and a row alone equals the row in a batch."""
    [together] = run(_rows(scorer, prefixes))
    assert together.shape == (len(prefixes), scorer.vocab_size), f"rows {tuple(together.shape)}"
    assert torch.allclose(together.logsumexp(-1), torch.zeros(1).to(together), atol=tolerance), "rows do not sum to one"
    for i, x in enumerate(prefixes):
        [alone] = run(_rows(scorer, [x]))
        worst = float((alone[0].exp() - together[i].exp()).abs().max())
        assert worst <= tolerance, f"row {i} alone differs from the row in a batch by {worst:.3g}"


def _rows(scorer: Scorer, prefixes: Sequence[Prefix]) -> Decoder[Tensor]:
    rows = yield Ask(scorer, prefixes)
    return rows.dense()  # type: ignore[no-any-return]
