"""`espalier bench cache`: first tokens of a chat's turns and of requests that share system prompts, with and without cache."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

import espalier as es
from espalier.bench.report import emit, machine, median, show
from espalier.errors import require
from espalier.lm import LanguageModel

__all__ = ["cache_bench", "chat", "shared_prompts"]


def _first(lm: LanguageModel, prompt: es.Prefix) -> tuple[float, int]:
    """(milliseconds, known tokens) of the first token after a prompt."""
    began = time.perf_counter()
    done = lm.complete(prompt, max_tokens=1, drafter=None)
    return 1e3 * (time.perf_counter() - began), done.stats.cached_tokens


def chat(lm: LanguageModel, turns: int, said: int, answer: int, seed: int = 0) -> list[dict[str, Any]]:
    """One result per turn: the time of its first token going on from the cache, and cold, with nothing known.

    A user says `said` tokens in each turn, which are drawn; the model answers with `answer`.
    """
    require(lm.cache is not None, "there is no prefix cache: cache_mb=0, or rows depend on how they were computed")
    assert lm.cache is not None
    dice, ids, lines = random.Random(seed), list[int](), list[dict[str, Any]]()
    _first(lm, es.Prefix([dice.randrange(lm.vocab.size // 2) for _ in range(8)]))  # the first call allocates
    lm.cache.clear()
    for turn in range(1, turns + 1):
        ids += [dice.randrange(256, lm.vocab.size) if lm.vocab.size > 512 else dice.randrange(100) for _ in range(said)]
        warm, known = _first(lm, es.Prefix(ids))
        lines.append({"bench": "cache", "part": "chat", "turn": turn, "prompt": len(ids), "cached": known, "first_ms": warm})
        ids += lm.complete(es.Prefix(ids), max_tokens=answer, drafter=None).tokens
    begins, at = list[list[int]](), 0
    for line in lines:
        begins.append(ids[: line["prompt"]])
    for at, begin in enumerate(begins):
        lm.cache.clear()
        cold, _ = _first(lm, es.Prefix(begin))
        lines[at] |= {"cold_ms": round(cold, 2), "ratio": round(lines[at]["first_ms"] / cold, 4)}
        lines[at]["first_ms"] = round(lines[at]["first_ms"], 2)
    lm.cache.clear()
    return lines


def shared_prompts(lm: LanguageModel, requests: int, systems: int, length: int, own: int, seed: int = 1) -> dict[str, Any]:
    """Requests that begin with one of `systems` prompts of `length` tokens and go on with `own` tokens of their own.

    The hit rate is the share of prompt tokens that were known; times are medians of the first token, the two ways in turns.
    """
    require(lm.cache is not None, "there is no prefix cache: cache_mb=0, or rows depend on how they were computed")
    assert lm.cache is not None
    dice, size = random.Random(seed), lm.vocab.size

    def draw(count: int) -> list[int]:
        return [dice.randrange(min(256, size // 4), size // 2) for _ in range(count)]

    prompts, kept = [draw(length) for _ in range(systems)], lm.cache
    kept.clear()
    with_cache, without, known, total, most = list[float](), list[float](), 0, 0, 0
    for _ in range(requests):
        ids = [*dice.choice(prompts), *draw(own)]
        ms, cached = _first(lm, es.Prefix(ids))
        with_cache.append(ms)
        known, total, most = known + cached, total + len(ids), max(most, kept.nbytes)
        if len(without) < 40:  # enough for a median
            lm.cache = None
            try:
                without.append(_alone(lm, [*draw(1), *ids]))
            finally:
                lm.cache = kept
    return {
        "bench": "cache",
        "part": "shared prompts",
        "requests": requests,
        "systems": systems,
        "prompt": length + own,
        "hit_rate": round(known / total, 4),
        "first_ms": round(median(with_cache), 2),
        "without_ms": round(median(without), 2),
        "ratio": round(median(with_cache) / median(without), 4),
        "cache_mb": round(most / (1 << 20), 2),
        "budget_mb": kept.cache_mb,
    }


def _alone(lm: LanguageModel, ids: Sequence[int]) -> float:
    """The first token's time of a prompt that begins as no living one does."""
    return _first(lm, es.Prefix(ids))[0]


def cache_bench(
    lm: LanguageModel, dtype: str, turns: int, said: int, answer: int, requests: int, systems: int, length: int, own: int
) -> list[dict[str, Any]]:
    """Measures both, prints tables and JSON lines, and returns the results."""
    talk = chat(lm, turns, said, answer)
    shared = shared_prompts(lm, requests, systems, length, own)
    keys = ("turn", "prompt", "cached", "first_ms", "cold_ms", "ratio")
    show(f"a chat of {turns} turns: {dtype}", keys, [[line[key] for key in keys] for line in talk])
    named = [key for key in shared if key not in ("bench", "part")]
    show(f"requests with shared system prompts: {dtype}", named, [[shared[key] for key in named]])
    about = machine()
    lines = [{**line, "dtype": dtype} for line in [*talk, shared]]
    emit({**line, **about} for line in lines)
    return lines
