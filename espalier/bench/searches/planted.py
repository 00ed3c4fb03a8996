"""`bench search`: the searches on a seeded family of tasks in which an improbable text has the reward, at equal budgets."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from espalier.bench.report import emit, machine, show
from espalier.decoders import MCTS, PGTD, VED, AStar, BestOf, LiteSearch, Phi, Rankgen, Rebase, Search, Steps
from espalier.decoders.steps.candidate import Candidate
from espalier.engine import run
from espalier.models.table import Table
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.stop import budget

_TOKEN = Steps(tokens=1)


class Planted:
    """A table model and a text that follows it badly: at each place its second or third token. The score of a text is how far
    it follows the planted one, as a share of the depth.

    >>> task = Planted(0, depth=6, branching=4)
    >>> task.score([Candidate("", task.text, 0.0, None, 1, Prefix())])
    [1.0]
    """

    def __init__(self, seed: int, depth: int, branching: int) -> None:
        self.model = Table.random(branching, depth, seed=seed, scale=1.0)
        bits, written = np.random.default_rng([seed, 99]), list[int]()
        for _ in range(depth):
            order = self.model.row(tuple([0, *written][-depth:])).argsort(descending=True).tolist()
            written.append(order[int(bits.integers(1, min(3, branching)))])
        self.text = tuple(written)

    def score(self, candidates: list[Candidate]) -> list[float]:
        """For each candidate, the share of the planted text that it begins with."""
        return [self._follows(c.tokens) / len(self.text) for c in candidates]

    def _follows(self, tokens: tuple[int, ...]) -> int:
        return next((i for i, (a, b) in enumerate(zip(tokens, self.text, strict=False)) if a != b), len(tokens))


def searches(branching: int) -> dict[str, Callable[..., Search]]:
    """The searches, each with settings for single tokens as steps."""
    return {
        "best_of_n": lambda **given: BestOf(100_000, **given),
        "rebase": lambda **given: Rebase(128, temperature=0.05, **given),
        "astar": lambda **given: AStar(64, weight=0.0, **given),
        "mcts": lambda **given: MCTS(rollouts=400, branch=branching, explore=0.3, **given),
        "pgtd": lambda **given: PGTD(rollouts=400, branch=branching, explore=0.3, **given),
        "litesearch": lambda **given: LiteSearch(enough=0.99, leaves=50, rounds=400, least=60, most=60, **given),
        "ved": lambda **given: VED(width=4, explore=0.1, **given),
        "phi": lambda **given: Phi(6, 24, sigma=9.0, agree=2.0, temperature=0.02, **given),
        "rankgen": lambda **given: Rankgen(2, 64, **given),
    }


def search_bench(count: int, tokens: int, depth: int = 6, branching: int = 4) -> None:
    """One JSON line per search: the share of tasks that it solves within the budget, and what it spent."""
    lines: list[dict[str, Any]] = []
    for name, make in searches(branching).items():
        solved = spent = calls = 0
        start = time.perf_counter()
        for seed in range(count):
            task = Planted(seed, depth, branching)
            search = make(score=task.score, steps=_TOKEN, budget=tokens)
            [found] = run(search(task.model, Prefix([0]), budget(depth), Rng(seed)))
            solved += found.best.tokens == task.text
            spent, calls = spent + found.stats.tokens, calls + found.stats.calls
        seconds = time.perf_counter() - start
        line = {"search": name, "tasks": count, "budget": tokens, "solved": solved / count, "tokens": spent / count}
        lines.append({**line, "scores": calls / count, "seconds": round(seconds / count, 4)})
        emit([lines[-1]])
    emit([{"bench": "search", "depth": depth, "branching": branching, **machine()}])
    keys = ["search", "solved", "tokens", "scores", "seconds"]
    show(f"planted texts, {tokens} tokens", keys, [[line[key] for key in keys] for line in lines])
