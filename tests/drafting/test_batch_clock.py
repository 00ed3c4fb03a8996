"""BASS, Goodput and TETRIS on a simulated clock: rounds take what their rules say, worked out by hand."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
import torch
from clocked import Clock

import espalier as es
from espalier import drafting as d
from espalier.verification import GreedyMatch

V = 40
PASS, ROW, DRAFT_PASS, DRAFT_ROW = 10.0, 0.5, 1.0, 0.1


class Saying(es.Model):
    """A model that says a token by the text's first one and its length; a draft says it at a share of all places.

    A draft that is right at less than nine tenths of them is unsure: 0.16 where a sure one has 0.99.
    """

    vocab_size = V

    def __init__(self, clock: Clock, cost: tuple[float, float], shares: Sequence[float] = ()) -> None:
        self.clock, self.cost, self.sizes = clock, cost, list[int]()
        self.shares = shares
        dice = random.Random(0)
        self.right = [[dice.random() < share for _ in range(4000)] for share in shares]

    def forward(self, prefixes: Sequence[es.Prefix], want: frozenset[str]) -> es.Rows:
        self.clock.now += self.cost[0] + self.cost[1] * len(prefixes)
        self.sizes.append(len(prefixes))
        logits = torch.zeros(len(prefixes), V)
        for i, x in enumerate(prefixes):
            first = x.origin.tokens[0]
            right = not self.right or self.right[first][len(x)]
            sure = 8.0 if not self.shares or self.shares[first] >= 0.9 else 2.0
            logits[i, (3 * len(x) + first + (not right)) % V] = sure
        return es.Rows(logits, prefixes)


class Batch:
    """Texts of one model that run side by side until the clock says so, and what they have written by then."""

    def __init__(self, shares: Sequence[float], row: float = ROW) -> None:
        self.clock, self.texts = Clock(), len(shares)
        self.target, self.draft = Saying(self.clock, (PASS, row)), Saying(self.clock, (DRAFT_PASS, DRAFT_ROW), shares)

    def run(self, drafter: d.Drafter, until: float) -> list[int]:
        loop, written = es.Loop(), [0] * self.texts
        for i in range(self.texts):
            loop.add(es.speculate(self.target, es.Prefix([i]), es.stop.budget(3000), drafter, GreedyMatch(), es.Rng(i)))
        while self.clock.now < until:
            loop.turn()
        for number, keep in loop.kept:
            written[number] = len(keep.prefix) - 1
            assert keep.prefix.tokens[-1] == (3 * (len(keep.prefix) - 1) + number) % V
        return written


def greedy(model: es.Model, length: d.LengthPolicy) -> d.DraftModel:
    return d.DraftModel(model, tree=d.Chain(kind="deterministic"), length=length)


def test_rounds_of_bass_take_what_the_rule_says():
    """One text of four accepts all and the others nothing, so k is 5, 7, 9: each round has k passes of 4 rows, and one of
    4 (k + 1). When no text accepts anything any more, k falls by ⌈k / 10⌉, and by one more in each round after the first."""
    batch = Batch([1.0, 0.0, 0.0, 0.0])
    rounds = [k * (DRAFT_PASS + 4 * DRAFT_ROW) + PASS + 4 * (k + 1) * ROW for k in (5, 7, 9)]
    assert rounds == pytest.approx([29.0, 35.8, 42.6])
    policy = d.BASS(start=5)
    written = batch.run(greedy(batch.draft, policy), sum(rounds) - 1e-6)
    assert batch.clock.now == pytest.approx(sum(rounds))
    assert batch.target.sizes == [24, 32, 40]
    assert written == [6 + 8 + 10, 3, 3, 3]
    batch = Batch([0.0] * 4)
    batch.run(greedy(batch.draft, d.BASS(start=13)), 280.0)
    assert [size // 4 - 1 for size in batch.target.sizes[:8]] == [13, 11, 8, 6, 4, 2, 1, 1]


def test_a_round_of_goodput_takes_what_its_costs_say():
    """Three texts, all thought to accept 0.7: the worth of a k-th row is 0.7^k, and the round takes what was foreseen."""
    policy = d.Goodput(lambda rows: PASS + ROW * rows, lambda texts: DRAFT_PASS + DRAFT_ROW * texts, start=0.7)
    tokens = [3 * sum(0.7**j for j in range(k + 1)) for k in range(9)]
    takes = [k * (DRAFT_PASS + 3 * DRAFT_ROW) + PASS + 3 * (k + 1) * ROW for k in range(9)]
    best = max(range(9), key=lambda k: tokens[k] / takes[k])
    assert policy.lengths([0.7] * 3) == [best] * 3 == [2] * 3
    batch = Batch([1.0, 0.5, 0.0])
    batch.run(greedy(batch.draft, policy), 17.0)
    assert batch.clock.now == pytest.approx(takes[2]) == pytest.approx(2 * 1.3 + 10 + 4.5)
    assert (batch.target.sizes, batch.draft.sizes) == ([9], [3, 3])


def test_goodput_writes_more_than_any_one_length():
    shares, until = [0.95, 0.6, 0.1], 3000.0

    def rate(policy: d.LengthPolicy) -> float:
        batch = Batch(shares)
        return sum(batch.run(greedy(batch.draft, policy), until)) / batch.clock.now

    policy = d.Goodput(lambda rows: PASS + ROW * rows, lambda texts: DRAFT_PASS + DRAFT_ROW * texts)
    assert rate(policy) > 1.05 * max(rate(d.Constant(k)) for k in (1, 2, 3, 5, 8))


@pytest.mark.parametrize("score", ["slot", "token"])
def test_rounds_of_tetris_take_what_its_budget_says(score):
    """Four slots for three texts that draft six tokens each: all go to the sure one, whose fourth is worth 0.99^4 > 0.16."""
    rounds, slots = 5, 4
    takes = 6 * (DRAFT_PASS + 3 * DRAFT_ROW) + PASS + (3 + slots) * 2.0
    batch = Batch([1.0, 0.2, 0.2], row=2.0)
    drafter = d.Tetris(batch.draft, d.Capacity(slots), d.Chain(6, kind="deterministic"), d.Constant(6), score)
    written = batch.run(drafter, rounds * takes - 1e-6)
    assert batch.target.sizes == [3 + slots] * rounds
    assert batch.clock.now == pytest.approx(rounds * takes) == pytest.approx(5 * 31.8)
    assert written == [rounds * (slots + 1), rounds, rounds]
    whole = Batch([1.0, 0.2, 0.2], row=2.0)  # all six of all three: a pass takes 52, for little more
    more = whole.run(d.Tetris(whole.draft, d.Capacity(99), d.Chain(6, kind="deterministic"), d.Constant(6), score), 1000.0)
    assert whole.target.sizes[0] == 3 + 18
    assert sum(written) / batch.clock.now > 1.2 * sum(more) / whole.clock.now
