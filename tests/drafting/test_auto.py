"""The default drafter's control logic, on a simulated clock: it drafts where that pays and is never later than it says."""

from __future__ import annotations

import gc
from collections.abc import Callable

import pytest
from clocked import COSTS, ROWS, Clock, Timed, hashed, linear, periodic, stairs

import espalier as es
from espalier.drafting import Auto, Draft
from espalier.errors import InvalidInput
from espalier.testing import assert_same_law, exact_law
from espalier.verification import GreedyMatch, SampleMatch


def spoken(auto: Auto, clock: Clock, row: Callable[[list[int]], int], cost: Callable[[int], float], tokens: int = 400) -> float:
    """The time of one text, in times of plain decoding; and that the text is plain decoding's."""
    model, x = Timed(row, clock, cost), es.Prefix([1, 2, 3])
    start = clock.now
    [y] = es.run(es.speculate(model, x, es.stop.budget(tokens), auto, GreedyMatch(), es.Rng(0)))
    expected = x.ids()
    for _ in range(tokens):
        expected.append(row(expected))
    assert y.ids() == expected
    return (clock.now - start) / (tokens * cost(1))


@pytest.mark.parametrize("tokens", [32, 150])
@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
@pytest.mark.parametrize("cost", COSTS.values(), ids=COSTS.keys())
def test_it_is_never_slower_than_plain_decoding_by_more_than_5_percent(cost, row, tokens):
    clock = Clock()
    auto = Auto(clock=clock)
    for _ in range(3):  # a cold session, then a warm one
        assert spoken(auto, clock, row, cost, tokens) <= 1.05 + 1e-9


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_its_own_time_counts_too(row):
    for work in (0.0002, 0.001, 0.004):  # drafting takes a multiple of this each round, beside passes of 0.02
        clock = Clock(work)
        auto = Auto(clock=clock)
        for _ in range(2):
            # one reading of the clock lies within what counts as the pass
            assert spoken(auto, clock, row, linear(0.5), 300) <= 1.05 * (1 + work / 0.02) + 4 * work / (300 * 0.02)


def test_it_drafts_much_when_acceptance_is_high_and_nodes_are_cheap():
    clock = Clock()
    auto = Auto(clock=clock)
    spoken(auto, clock, periodic, linear(0.01), 100)
    assert spoken(auto, clock, periodic, linear(0.01), 400) < 0.15


def test_it_drafts_few_nodes_where_nodes_are_dear():
    clock = Clock()
    auto = Auto(clock=clock)
    spoken(auto, clock, periodic, linear(0.4), 200)
    assert spoken(auto, clock, periodic, linear(0.4), 200) < 0.6
    for row in (periodic, hashed):
        clock = Clock()
        auto = Auto(clock=clock)
        model = Timed(row, clock, linear(1.0))  # a node costs a pass: at best nothing is lost
        for _ in range(3):
            model.sizes.clear()
            es.run(es.speculate(model, es.Prefix([1, 2]), es.stop.budget(200), auto, GreedyMatch(), es.Rng(0)))
        if row is hashed:
            assert sum(model.sizes) < 230  # next to no nodes beside those that write the text


def test_where_a_second_row_costs_a_pass_it_tries_one_and_then_drafts_next_to_nothing():
    clock = Clock()
    auto = Auto(clock=clock)
    model = Timed(hashed, clock, linear(1.0))
    for text in range(4):
        model.sizes.clear()
        es.run(es.speculate(model, es.Prefix([1, 2]), es.stop.budget(100), auto, GreedyMatch(), es.Rng(0)))
        assert sum(model.sizes) - 100 <= 5
        if text == 0:
            assert sum(model.sizes[:32]) <= 33


def test_it_stops_at_the_stair_that_pays():
    clock = Clock()
    auto = Auto(clock=clock)
    spoken(auto, clock, periodic, stairs, 300)
    model = Timed(periodic, clock, stairs)
    es.run(es.speculate(model, es.Prefix([1, 2, 3]), es.stop.budget(200), auto, GreedyMatch(), es.Rng(0)))
    drafted = [n for n in model.sizes if n > 1]
    assert drafted
    # with certain tokens 8 per 1, 16 per 1.5, 24 per 2, 32 per 2.5, 48 per 3.5 passes: the largest is best
    assert max(drafted) >= 40


@pytest.mark.parametrize("cost", [linear(0.001), linear(0.02)])
def test_a_plain_pass_comes_after_64_passes_without_one(cost: Callable[[int], float]) -> None:
    clock, sizes = Clock(), list[int]()
    auto = Auto(nodes=6, clock=clock, table=None)

    def counted(n: int) -> float:
        sizes.append(n)
        return cost(n)

    spoken(auto, clock, periodic, counted, 1500)
    runs = "".join("." if n == 1 else "x" for n in sizes).split(".")
    assert max(map(len, runs)) == 64


def test_it_comes_back_when_the_text_becomes_predictable():
    clock = Clock()
    auto = Auto(clock=clock)

    def late(ids: list[int]) -> int:
        return hashed(ids) if len(ids) < 300 else periodic(ids)

    assert spoken(auto, clock, late, linear(0.05), 900) < 0.6


def rounds_with_drafts(factor: float) -> int:
    """How many rounds of a text have drafts, after eight of its passes took `factor` times as long."""
    clock, passes, burst = Clock(), 0, range(0)
    auto = Auto(clock=clock)

    def cost(n: int) -> float:
        nonlocal passes
        passes += 1
        return linear(0.02)(n) * (factor if passes in burst else 1)

    def often(ids: list[int]) -> int:
        return periodic(ids) if len(ids) % 3 else hashed(ids) % 20

    for prompt in [[0, 1], [1, 1], [2, 1], [3, 1], [4, 1], [5, 1], [7, 2], [8, 3]]:
        burst = range(passes + 8, passes + 16) if prompt == [8, 3] else range(0)
        model = Timed(often, clock, cost)
        es.run(es.speculate(model, es.Prefix(prompt), es.stop.budget(150), auto, GreedyMatch(), es.Rng(0)))
    return sum(n > 1 for n in model.sizes[20:])


def test_a_burst_of_other_work_does_not_stop_drafting():
    calm = rounds_with_drafts(1)
    assert calm > 12
    assert rounds_with_drafts(6) > 0.7 * calm


def test_requests_side_by_side_write_what_each_writes_alone():
    model = es.models.Table.random(6, 2, seed=3)

    def decoder(seed: int, auto: Auto):  # type: ignore[no-untyped-def]
        return es.speculate(model, es.Prefix([seed % 6, 1]), es.stop.budget(30), auto, SampleMatch(), es.Rng(seed))

    auto = Auto()
    together = [x.ids() for x in es.run(*(decoder(seed, auto) for seed in range(6)))]
    assert together == [es.run(decoder(seed, Auto()))[0].ids() for seed in range(6)]


def test_rounds_of_another_drafter_teach_it_rows_but_no_times():
    clock, x = Clock(), es.Prefix([1, 2, 3])
    auto = Auto(clock=clock)
    model = Timed(periodic, clock, linear(0.1))
    text = auto.begin(x)
    draft = Draft(x)
    draft.extend(0, [4, 5])
    text.observe(draft.prefixes[2] + 6, draft, model.forward(draft.prefixes, frozenset()))
    assert set(auto.memory.singles) == {3, 4, 5}
    assert auto.costs.of(1).plain is None


def test_a_cancelled_request_is_not_counted_for_ever():
    auto = Auto()
    loop = es.Loop()
    model = es.models.Table.random(6, 2, seed=3)
    loop.add(es.speculate(model, es.Prefix([1, 1]), es.stop.budget(30), auto, SampleMatch(), es.Rng(0)))
    loop.turn()
    loop.cancel(0)
    del loop
    gc.collect()
    assert len(auto.passes.open) == 0


def test_the_law_of_the_text_is_that_of_plain_sampling():
    model, x, stop = es.models.Table.random(3, 2, seed=4), es.Prefix([0, 1, 2, 0]), es.stop.budget(4)
    auto = Auto(clock=Clock())  # warm, and with a clock on which passes are free
    es.run(es.speculate(model, x, es.stop.budget(60), auto, SampleMatch(), es.Rng(0)))
    law = exact_law(lambda rng: es.speculate(model, x, stop, auto, SampleMatch(), rng), lambda y: tuple(y.written()))
    assert_same_law(law, model.joint(x, 4))


def test_what_cannot_work_is_refused():
    with pytest.raises(InvalidInput, match="nodes=0"):
        Auto(nodes=0)
    with pytest.raises(InvalidInput, match="slack"):
        Auto(slack=-0.1)
