"""The default drafter in a batch, on a simulated clock: a row is judged by what it costs all, and no text is late."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from clocked import COSTS, ROWS, Clock, Timed, hashed, linear, misleading, periodic

import espalier as es
from espalier.drafting import Auto
from espalier.drafting.auto.shared_pass import Costs, Offer, Passes
from espalier.drafting.pass_cost import PassCost
from espalier.verification import GreedyMatch

Row = Callable[[list[int]], int]


def batch(
    rows: Sequence[Row],
    cost: Callable[[int], float],
    scheduler: es.Scheduler | None = None,
    rounds: int = 1,
    work: float = 0.0,
) -> float:
    """How many times as fast as in plain decoding the slowest text is of a batch with these rows, in the last of the rounds."""
    clock, slowest, prompts = Clock(work), 0.0, len(rows)
    auto = Auto(clock=clock)
    model = Timed(lambda ids: rows[(ids[2] - 3) % prompts](ids), clock, cost)
    for round_ in range(rounds):
        ways: list[dict[int, tuple[float, list[int]]]] = []
        for drafter in (None, auto):
            loop, start, done = es.Loop(scheduler=scheduler), clock.now, dict[int, tuple[float, list[int]]]()
            for i in range(prompts):
                x, stop, rng = es.Prefix([1, 2, 3 + i + prompts * round_]), es.stop.budget(120), es.Rng(i)
                plain = drafter is None
                loop.add(
                    es.sample(model | es.temperature(0), x, stop, rng)
                    if plain
                    else es.speculate(model, x, stop, drafter, GreedyMatch(), rng)
                )
            while loop:
                loop.turn()
                for number in loop.results.keys() - done:
                    done[number] = clock.now - start, loop.results[number].ids()
            ways.append(done)
        plain_way, drafted = ways
        assert {n: ids for n, (_, ids) in plain_way.items()} == {n: ids for n, (_, ids) in drafted.items()}
        slowest = min(plain_way[n][0] / drafted[n][0] for n in drafted)
    return slowest


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
@pytest.mark.parametrize("cost", COSTS.values(), ids=COSTS.keys())
def test_a_batch_of_eight_is_nowhere_slower_than_97_percent_of_plain_decoding(cost, row):
    assert batch([row] * 8, cost) >= 0.97


@pytest.mark.parametrize("cost", ["cheap", "fair", "stairs"])
@pytest.mark.parametrize("easy", [1, 4, 7])
def test_a_text_that_nobody_can_foresee_is_not_late_for_those_beside_it(cost, easy):
    assert batch([periodic] * easy + [hashed] * (8 - easy), COSTS[cost], rounds=2) >= 0.97


@pytest.mark.parametrize("texts", [2, 3, 12])
def test_other_batches_are_not_slower_either(texts):
    for cost in (linear(0.01), linear(0.1)):
        assert batch([hashed] * texts, cost) >= 0.97
        assert batch([misleading] * texts, cost) >= 0.97


@pytest.mark.parametrize("rows", [8, 12])
def test_drafts_that_have_no_room_in_a_turn_are_not_late(rows):
    assert batch([misleading] * 8, linear(0.05), es.Scheduler(rows=rows)) >= 0.97


def test_what_drafting_itself_takes_for_each_text_counts_for_all():
    """Each of eight texts reads the clock four times a round, a tenth of a pass in all; it can see only half of that."""
    assert batch([hashed] * 8, linear(0.1), work=0.0001) >= 0.94  # all of it in every round: 0.91


def test_a_batch_gains_where_rows_are_cheap():
    assert batch([periodic] * 8, linear(0.01), rounds=2) > 4
    assert batch([periodic] * 8, linear(0.1), rounds=2) > 1.5


def test_a_row_is_judged_by_what_it_costs_all():
    """Eight texts, a row takes an eighth of their pass: it pays for whoever is right more often than the pass is long."""
    cost = PassCost(lambda n: 7 + n, texts=8)
    assert Offer(cost, 8, 0, 7.0).best([0.99], 1) == 0  # (8 + 0.99) / (9 / 8) < 8
    cheap = PassCost(lambda n: 15 + n, texts=8)
    assert Offer(cheap, 8, 0, 7.0).best([0.6, 0.4], 2) == 1  # (8 + 0.6) / (17 / 16) > 8, and 9 / (18 / 16) is less
    assert Offer(cheap, 8, 4, 7.0 + 4.0).best([0.6, 0.55], 2) == 0  # the others' drafts write 12 in 20 / 16: 9.6
    assert Offer(cheap, 8, 4, 7.0 + 4.0).best([0.7], 1) == 1
    assert Offer(cheap, 8, 4, 7.0).risk(3) == pytest.approx(8 * 2 / 16)


def test_what_the_texts_are_booked_is_what_all_of_them_were_late():
    passes, texts = Passes(Costs(None)), [type("Text", (), {})() for _ in range(4)]
    for now, rows in ((0.0, [0, 0, 0, 0]), (10.0, [3, 0, 1, 0])):
        for text, count in zip(texts, rows, strict=True):
            passes.ask(text, count, 0.0, now)
        took = 4.0 if not sum(rows) else 6.0
        made = [passes.scored(text, now + took) for text in texts]
        assert all(each is made[0] for each in made)
        assert (made[0].texts, made[0].rows, made[0].passes) == (4, sum(rows), took / 4)
    shares = [made[0].share(count) for count in (3, 0, 1, 0)]
    assert shares == pytest.approx([1 + 3 / 4 * 2, 1, 1 + 1 / 4 * 2, 1])
    assert sum(shares) == pytest.approx(4 * 1.5)
    assert len(passes.open) == 0


def test_a_pass_that_read_a_prompt_teaches_no_times():
    costs = Costs(None)
    passes, text, other = Passes(costs), type("Text", (), {})(), type("Text", (), {})()
    passes.ask(other, 0, 0.0, 0.0, reading=True)
    passes.ask(text, 0, 0.0, 0.0)
    assert passes.scored(text, 50.0).passes == 1  # whatever it took
    assert costs.of(2).plain is None
    passes.ask(text, 0, 0.0, 60.0)
    assert passes.scored(text, 99.0).passes == 1  # the prompt goes on
    assert passes.scored(other, 99.0).passes == 1
    passes.ask(text, 0, 0.0, 100.0)
    passes.scored(text, 101.0)
    assert costs.of(1).plain == 1
