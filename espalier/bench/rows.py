"""`espalier bench rows`: what lies between two passes: tokens drawn from many rows, and whole turns of the loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

import espalier as es
from espalier.bench.bounds import instructions
from espalier.bench.report import emit, machine, median, show
from espalier.models.executors import native
from espalier.models.executors.torch_threads import one_thread
from espalier.rows import Rows
from espalier.scorer import Model, Scorer
from espalier.text.vocab import Vocab
from espalier.token_constraint import StateLimit, token_constraint

SIZE = 49_152
PATTERN = "[0-9a-e]{1,4000}"
TEMPERED = (es.temperature(0.8),)
NUCLEUS = (es.temperature(0.8), es.top_p(0.9))
Taken = tuple[float, float]


def vocabulary() -> Vocab:
    """As many tokens as SmolLM2 has: numbers in hexadecimal, and an end."""
    return Vocab([b"%x" % i for i in range(SIZE - 1)] + [None], end=[SIZE - 1])


def logits(kind: str, count: int) -> torch.Tensor:
    """Rows [count, SIZE]: "flat", normal numbers of width 1, or "peaked", of width 2.5 with 30 that stand out."""
    bits = torch.Generator().manual_seed(0)
    rows = torch.randn(count, SIZE, generator=bits) * (1.0 if kind == "flat" else 2.5)
    if kind == "peaked":
        for row in rows:
            row[torch.randint(0, SIZE, (30,), generator=bits)] += 12
    return rows


class Given(Model):
    """A model whose rows are there already: what a turn costs besides its pass."""

    invariant = True

    def __init__(self, rows: torch.Tensor, vocab: Vocab) -> None:
        self.vocab, self.vocab_size, self._rows = vocab, SIZE, rows

    def forward(self, prefixes: Sequence[es.Prefix], want: frozenset[str]) -> Rows:
        return Rows(self._rows[: len(prefixes)], prefixes)


def turns(model: Given, build: Callable[[Scorer], Scorer], batch: int, tokens: int) -> Taken:
    """Whole turns of the loop: `batch` texts of so many tokens, written side by side."""
    texts = [es.sample(build(model), es.Prefix([i]), es.stop.budget(tokens), es.Rng(i)) for i in range(batch)]
    return clocked(lambda: es.run(*texts), batch * tokens)


def clocked(work: Callable[[], object], rows: int) -> Taken:
    """Microseconds per row: on the clock, and of the processor (all threads together)."""
    wall, own = time.perf_counter_ns(), time.process_time_ns()
    work()
    own, wall = time.process_time_ns() - own, time.perf_counter_ns() - wall
    return wall / 1e3 / rows, own / 1e3 / rows


SCORERS: dict[str, Callable[[Scorer], Scorer]] = {
    "greedy": lambda s: s | es.temperature(0),
    "temperature": lambda s: s | es.temperature(0.8),
    "temperature, top-p": lambda s: s | es.temperature(0.8) | es.top_p(0.9),
    "temperature, top-p, regex": lambda s: s * es.regex(PATTERN) | es.temperature(0.8) | es.top_p(0.9),
    "two penalties, temperature, top-p, regex": lambda s: (
        (s | es.repetition(1.1) | es.presence(0.2)) * es.regex(PATTERN) | es.temperature(0.8) | es.top_p(0.9)
    ),
}


def asked(rows: torch.Tensor, vocab: Vocab) -> dict[str, Callable[[], object]]:
    """What is asked of all rows at once, by name."""
    law, count = token_constraint(es.regex(PATTERN), vocab), len(rows)
    limits = [StateLimit(law, law.start(), frozenset(), SIZE) for _ in range(count)]
    prefixes, rngs = [es.Prefix([i]) for i in range(count)], [es.Rng(i) for i in range(count)]

    def of(after: tuple[es.Shaper, ...], limited: bool) -> Rows:
        return Rows(rows, prefixes, limits=limits if limited else None, after=after)

    asks: dict[str, Callable[[], object]] = {"draw: temperature": partial(of(TEMPERED, False).draw, rngs)}
    asks["draw: temperature, top-p"] = partial(of(NUCLEUS, False).draw, rngs)
    asks["draw: temperature, top-p, regex"] = partial(of(NUCLEUS, True).draw, rngs)
    penalised = of(NUCLEUS, True).reshaped(es.bias({5: 1.0, 9: -1.0})).reshaped(es.repetition(1.1))
    asks["draw: two penalties, temperature, top-p, regex"] = partial(penalised.draw, rngs)
    asks["top 16: regex"] = partial(of((), True).top, 16)
    return asks


def rows_bench(batch: int, tokens: int, rounds: int) -> list[dict[str, Any]]:
    """Microseconds per row, medians, for every instruction set; prints tables and JSON lines."""
    vocab, results = vocabulary(), list[dict[str, Any]]()
    for name in native.kernels()[:2]:
        for kind in ("peaked", "flat"):
            rows, times = logits(kind, batch), dict[str, list[Taken]]()
            work = asked(rows, vocab)
            with instructions(name):
                for _ in range(rounds + 1):
                    for what, ask in work.items():
                        with one_thread():
                            times.setdefault(what, []).append(clocked(ask, batch))
                    for what, build in SCORERS.items():
                        times.setdefault(f"turn: {what}", []).append(turns(Given(rows, vocab), build, batch, tokens))
            about = {"bench": "rows", "kernels": name, "rows": kind, "batch": batch}
            found = [
                (what, *(round(median([taken[i] for taken in each[1:]]), 1) for i in (0, 1))) for what, each in times.items()
            ]
            results += [{**about, "what": what, "us": wall, "processor_us": own} for what, wall, own in found]
            title = f"{name}, {kind} rows, {batch} at once, {native.threads()} threads: µs per row"
            show(title, ("", "clock", "processor"), found)
    emit({**result, **machine()} for result in results)
    return results
