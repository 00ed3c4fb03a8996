"""Penalties: their definitions, transformers' processors as references, and what a row costs in a long text."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from transformers import RepetitionPenaltyLogitsProcessor

import espalier as es
from espalier.shaping import Counts, penalty
from espalier.text import Vocab

V = 6


def text(length: int, size: int, seed: int = 0) -> list[int]:
    return torch.randint(0, size, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


@pytest.mark.parametrize("given", [1, 5])
@pytest.mark.parametrize("written", [0, 3, 255, 256, 257, 700])
def test_counts_are_those_of_the_text(given, written):
    tokens = text(given + written, 5)
    x = es.Prefix(tokens[:given])
    for token in tokens[given:]:
        x = x + token
    row = torch.randn(V, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    times = Counter(tokens[given:])
    frequent = row - 0.5 * torch.tensor([float(times[v]) for v in range(V)])
    present = row - 0.5 * torch.tensor([float(times[v] > 0) for v in range(V)])
    seen = torch.tensor([v in tokens for v in range(V)])
    assert torch.allclose(es.frequency(0.5)(row[None], [x])[0], frequent, atol=1e-12)
    assert torch.equal(es.presence(0.5)(row[None], [x])[0], present)
    repeated = torch.where(seen, torch.where(row > 0, row / 1.3, row * 1.3), row)
    assert torch.equal(es.repetition(1.3)(row[None], [x])[0], repeated)
    theirs = RepetitionPenaltyLogitsProcessor(1.3)(torch.tensor([tokens]), row[None].clone())
    assert torch.equal(theirs[0], repeated)


def test_neutral_amounts_change_nothing():
    row, x = torch.randn(1, V), es.Prefix([0, 1]) + 2 + 2
    for shaper in (es.repetition(1.0), es.presence(0.0), es.frequency(0.0), penalty(1.0), es.bias({})):
        assert torch.equal(shaper(row, [x]), row)


def test_counts_of_a_fork_are_its_own():
    base = Counts.of([1])
    for _ in range(255):
        base = base + 2
    left, right = base + 3, base + 4
    assert left.subtract(torch.zeros(5), 1.0).tolist() == [0, -1, -255, -1, 0]
    assert right.subtract(torch.zeros(5), 1.0).tolist() == [0, -1, -255, 0, -1]


def test_what_left_the_window_is_not_penalised():
    x = es.Prefix([0]) + 1 + 2
    assert penalty(2.0, window=2)(torch.ones(1, 4), [x]).tolist() == [[1, 0.5, 0.5, 1]]
    assert penalty(2.0, window=9)(torch.ones(1, 4), [x]).tolist() == [[0.5, 0.5, 0.5, 1]]


def test_ends_are_held_back_until_a_length():
    rule = penalty(1.0, length_weight=8.0, length=4).bound(Vocab([b"a", b"b", None], end=[2]))
    x, lowered = es.Prefix([0]), []
    for _ in range(6):
        lowered.append(float(rule(torch.zeros(1, 3), [x])[0, 2]))
        x = x + 1
    assert lowered == [-8, -6, -4, -2, 0, 0]
    with pytest.raises(es.InvalidInput, match="says of none that it ends a text"):
        es.models.Table.random(3, 1, 0) | penalty(1.0, length_weight=1.0)


def test_a_row_late_in_a_text_looks_at_each_token_once():
    counts = Counts.of()
    for token in text(8400, 500):
        counts = counts + token
    assert len(counts) == 8400
    assert len(counts.each[0]) < 500 + 64
    assert len(counts.seen) <= 500
