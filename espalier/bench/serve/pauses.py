"""`espalier bench serve --stall`: four texts are streamed while a long prompt arrives."""

from __future__ import annotations

import random
import statistics
from typing import Any

from espalier.bench.report import emit, machine
from espalier.bench.serve.systems import Own, clients


def stall_bench(system: Own, tokens: int = 4000, vocab: int = 20000, written: int = 2500) -> dict[str, Any]:
    """The longest pause of four streams, of so many `written` tokens, while a prompt of so many tokens is read, against the
    median pause before; and the newcomer's first token, against that on an idle server. `cpu_…` is of the engine's turns in its
    own seconds of CPU, which other processes do not lengthen."""
    dice = random.Random(0)

    def ids(count: int) -> list[int]:
        return [dice.randrange(1000, vocab) for _ in range(count)]

    stream = {"stream": True, "stream_options": {"include_usage": True}, "ignore_eos": True, "espalier": {"drafter": "none"}}
    long = {"prompt": ids(tokens), "max_tokens": 2, **stream}
    with system:
        clients(system, [[{**long, "prompt": ids(64)}]])
        [[idle]] = clients(system, [[{**long, "prompt": ids(tokens)}]])
        streams = [[{"prompt": ids(32), "max_tokens": written, **stream}] for _ in range(4)]
        wait = 5.0
        found = clients(system, [*streams, [long]], [0.0] * 4 + [wait])
        turns = system.turns()
    new = found[-1][0]
    gaps = [(b, b - a) for [one] in found[:-1] for a, b in zip(one["times"], one["times"][1:], strict=False)]
    before = [gap for at, gap in gaps if at < new["sent"]][20:]
    during = [gap for at, gap in gaps if new["sent"] <= at <= new["times"][0] + 0.1]
    alone = [cpu for at, cpu, reading in turns if new["sent"] - wait / 2 < at < new["sent"] and not reading]
    beside = [cpu for at, cpu, reading in turns if new["sent"] <= at <= new["times"][0] and reading]
    plain, first = statistics.median(before), [one["times"][0] - one["sent"] for one in (new, idle)]
    result = {
        "bench": "stall",
        "pause_before_ms": 1e3 * plain,
        "longest_before": max(before) / plain,
        "median_during": statistics.median(during) / plain,
        "longest_during": max(during) / plain,
        "cpu_turn_ms": 1e3 * statistics.median(alone),
        "cpu_median_during": statistics.median(beside) / statistics.median(alone),
        "cpu_longest_during": max(beside) / statistics.median(alone),
        "first_token_s": first[0],
        "first_token_of_idle": first[0] / first[1],
    }
    emit([{**result, **machine()}])
    return result
