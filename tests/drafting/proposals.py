"""What the tests of model-free drafters share: small models and texts, and what a drafter proposes."""

from __future__ import annotations

import torch

import espalier as es
from espalier.drafting import (
    Draft,
    Drafter,
)
from espalier.verification import GreedyMatch

V = 3


SMALL = es.models.Table.random(V, 1, seed=5)


TEXTS = [[0, 1, 2, 0, 1, 1, 2, 0, 2, 2, 1, 0, 1, 2], [2, 1, 0, 0, 1]]


def written(x: es.Prefix) -> tuple[int, ...]:
    return tuple(x.written())


def tokens(draft: Draft) -> list[list[int]]:
    return [prefix.since(draft.prefixes[0]) for prefix in draft.prefixes[1:]]


def proposed(drafter: Drafter, x: es.Prefix, model: es.Model = SMALL) -> list[list[int]]:
    def once():  # type: ignore[no-untyped-def]
        return (yield from drafter.begin(x).propose(x, es.Rng(0)))

    [draft] = es.run(once())
    return tokens(draft)


def passes(drafter: Drafter, model: es.models.Table, x: es.Prefix, budget: int) -> int:
    before = model.passes
    es.run(es.speculate(model | es.temperature(0), x, es.stop.budget(budget), drafter, GreedyMatch(), es.Rng(0)))
    return model.passes - before


def cycle(length: int) -> es.models.Table:
    """A model that counts round and round: after t comes t + 1."""
    return es.models.Table(length, 1, lambda c: torch.eye(length)[(c[-1] + 1) % length] * 9 if c else torch.zeros(length))
