"""`espalier bench serve`: tokens per second, first token and pauses at several numbers of clients, peers in turn."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import espalier as es
from espalier.bench.report import emit, machine, median, show
from espalier.bench.serve.systems import Own, System, clients
from espalier.lm import LanguageModel

TEXT = """the a of to and in is it that was for on as with his they at be this from have or by one had not but what all were
when we there can an your which their said if do will each about how up out them then she many some so these would other into
has"""
_PERSON = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}}
LIST = {"type": "array", "items": _PERSON}
PROMPT = 32  # tokens
COLUMNS = ("system", "clients", "tokens_per_s", "first_ms", "pause_p50_ms", "pause_p99_ms", "of_library", "of_passes", "cpu_us")


def prompts(lm: LanguageModel, seed: int) -> Iterator[str]:
    """Texts of exactly 32 tokens, each another."""
    dice, known = random.Random(seed), TEXT.split()
    while True:
        words = dice.choice(known)
        while len(lm.tokenizer.encode(words)) < PROMPT:
            words += " " + dice.choice(known)
        if len(lm.tokenizer.encode(words)) == PROMPT:
            yield words


def percentile(values: Sequence[float], p: float) -> float:
    """The p-th percentile."""
    return sorted(values)[min(len(values) - 1, int(p / 100 * len(values)))] if values else float("nan")


def measured(system: System, bodies: Sequence[dict[str, Any]], rounds: int) -> dict[str, Any]:
    """What clients saw, each of which sends its body so many times."""
    before = system.cpu() if isinstance(system, Own) else None
    answers = clients(system, [[body] * rounds for body in bodies])
    flat = [answer for each in answers for answer in each]
    wrong = [answer for answer in flat if answer["status"] != 200 or not answer["times"]]
    if wrong:
        raise RuntimeError(f"{system.name} failed: {wrong[0]['status']} {wrong[0]['error']}")
    tokens = sum(answer["tokens"] for answer in flat)
    seconds = max(a["times"][-1] for a in flat) - min(a["sent"] for a in flat)
    pauses = [1e3 * (b - a) for answer in flat for a, b in zip(answer["times"], answer["times"][1:], strict=False)]
    found = {
        "tokens": tokens,
        "tokens_per_s": tokens / seconds,
        "first_ms": 1e3 * median([a["times"][0] - a["sent"] for a in flat]),
        "pause_p50_ms": percentile(pauses, 50),
        "pause_p99_ms": percentile(pauses, 99),
    }
    if before is not None and isinstance(system, Own):
        spent = {name: value - before[name] for name, value in system.cpu().items()}
        outside = spent["http"] + spent["engine"] - spent["in_passes"]
        found |= {"cpu_us": 1e6 * outside / tokens, "cpu_us_http": 1e6 * spent["http"] / tokens}
    return found


def library(lm: LanguageModel, texts: Sequence[str], tokens: int) -> float:
    """Tokens per second of `lm.complete_all`."""
    wanted = [es.Request(es.raw(text), max_tokens=tokens, ignore_eos=True, temperature=0.0, drafter=None) for text in texts]
    started = time.perf_counter()
    found = lm.complete_all(wanted)
    return sum(len(one.tokens) for one in found) / (time.perf_counter() - started)


def passes(lm: LanguageModel, rows: int, tokens: int) -> float:
    """Rows per second of passes of so many rows, half way through their texts."""
    dice = random.Random(1)
    prefixes = [es.Prefix([dice.randrange(500, 5000) for _ in range(PROMPT + tokens // 2)]) for _ in range(rows)]
    lm.model.forward(prefixes, frozenset())
    times = []
    for _ in range(12):
        prefixes = [x + 500 for x in prefixes]
        started = time.perf_counter()
        lm.model.forward(prefixes, frozenset())
        times.append(time.perf_counter() - started)
    return rows / statistics.median(times)


def serve_bench(
    lm: LanguageModel, own: Own, peers: Sequence[System], counts: Sequence[int], tokens: int, rounds: int
) -> list[dict[str, Any]]:
    """Measures; prints a table and JSON lines. Every number is of the same run; servers that are not measured are idle."""
    results = list[dict[str, Any]]()
    texts = prompts(lm, 0)
    plain = {"max_tokens": tokens, "temperature": 0, "stream": True, "stream_options": {"include_usage": True}}
    ours = plain | {"ignore_eos": True, "espalier": {"drafter": "none"}}
    ways: dict[str, dict[str, Any]] = {
        "espalier": ours,
        "espalier, auto": plain | {"ignore_eos": True},
        "espalier, a schema each": plain | {"json_schema": LIST, "espalier": {"drafter": "none"}},
    }
    with own:
        measured(own, [ours | {"prompt": next(texts), "max_tokens": 8} for _ in range(max(counts))], 1)  # warms up
        for count in counts:
            for name, way in ways.items():
                row = measured(own, [way | {"prompt": next(texts)} for _ in range(count)], rounds)
                if name == "espalier":
                    speed = median([library(lm, [next(texts) for _ in range(count)], tokens) for _ in range(rounds)])
                    row |= {"of_library": row["tokens_per_s"] / speed}
                    row |= {"of_passes": row["tokens_per_s"] / passes(lm, count, tokens)}
                results.append({"bench": "serve", "system": name, "clients": count, **row})
    for peer in peers:
        with ExitStack() as stack:
            try:
                stack.enter_context(peer)
                measured(peer, [plain | {"prompt": next(texts), "max_tokens": 8}], 1)
                for count in counts:
                    row = measured(peer, [plain | {"prompt": next(texts)} for _ in range(count)], rounds)
                    results.append({"bench": "serve", "system": peer.name, "clients": count, **row})
            except (es.EspalierError, RuntimeError) as error:
                results.append({"bench": "serve", "system": peer.name, "clients": 0, "error": str(error)[-500:]})
    show(f"{lm.name}, {tokens} tokens after {PROMPT}", COLUMNS, [[r.get(c, "") for c in COLUMNS] for r in results])
    emit({**result, **machine()} for result in results)
    return results
