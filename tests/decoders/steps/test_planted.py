"""Each search finds what greedy decoding never and best-of-n hardly ever finds, for the same number of rows."""

from __future__ import annotations

import pytest

import espalier as es
from decoders.steps.planted import BRANCHING, STOP, Planted, X
from espalier.decoders import MCTS, PGTD, VED, AStar, BestOf, LiteSearch, Phi, Rankgen, Rebase, Steps

BUDGET, TASKS = 400, 15  # rows; the whole tree has 1365
TOKEN = Steps(tokens=1)

SEARCHES = {
    "rebase": lambda **given: Rebase(128, temperature=0.05, **given),
    "astar": lambda **given: AStar(64, weight=0.0, **given),
    "astar over the best tokens": lambda **given: AStar(BRANCHING, propose="top", weight=0.0, **given),
    "mcts": lambda **given: MCTS(rollouts=400, branch=BRANCHING, explore=0.3, **given),
    "pgtd": lambda **given: PGTD(rollouts=400, branch=BRANCHING, explore=0.3, **given),
    "litesearch": lambda **given: LiteSearch(enough=0.99, leaves=50, rounds=400, least=60, most=60, **given),
    "ved": lambda **given: VED(width=4, explore=0.1, **given),
    "phi": lambda **given: Phi(6, 24, sigma=9.0, agree=2.0, temperature=0.02, **given),
    "rankgen": lambda **given: Rankgen(2, 64, **given),
}


def rate(make) -> float:
    solved = 0
    for seed in range(TASKS):
        task = Planted(seed)
        [found] = es.run(make(score=task.score, steps=TOKEN, budget=BUDGET)(task.model, X, STOP, es.Rng(seed)))
        assert found.stats.tokens <= BUDGET
        solved += task.solved(found)
    return solved / TASKS


@pytest.mark.parametrize("make", SEARCHES.values(), ids=SEARCHES.keys())
def test_a_search_wins(make):
    assert rate(make) >= 0.8


def test_greedy_and_best_of_n_do_not():
    greedy = [es.run(es.sample(Planted(s).model | es.temperature(0), X, STOP, es.Rng(0)))[0] for s in range(TASKS)]
    assert sum(tuple(x.written()) == Planted(s).text for s, x in enumerate(greedy)) / TASKS < 0.05
    assert rate(lambda **given: BestOf(10_000, **given)) < 0.3
