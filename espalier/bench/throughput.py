"""`espalier bench speculation --throughput`: tokens per second by input length and batch size, drafted and plain."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import espalier as es
from espalier.bench.report import emit, machine, show
from espalier.drafting.draft import Drafter
from espalier.errors import InvalidInput, require
from espalier.lm import LanguageModel
from espalier.scorer import Scorer

__all__ = ["of_length", "throughput", "throughput_bench"]

PLAIN = "espalier"


def of_length(texts: Sequence[Sequence[int]], length: int, count: int) -> list[list[int]]:
    """`count` inputs of exactly `length` tokens: texts one after the other, each input from another text on.

    >>> of_length([[1, 2], [3]], 4, 2)
    [[1, 2, 3, 1], [3, 1, 2, 3]]
    """
    filled = [text for text in texts if text]
    require(bool(filled), "there is no text to make inputs of")
    made = []
    for first in range(count):
        at = first % len(filled)
        made.append(list(islice((token for text in cycle([*filled[at:], *filled[:at]]) for token in text), length)))
    return made


def throughput(
    lm: LanguageModel, inputs: Sequence[Sequence[int]], drafters: Mapping[str, Drafter], tokens: int
) -> list[dict[str, Any]]:
    """One result per system for one batch: all write `tokens` tokens after the same inputs, which are read once before.

    `tokens_per_s` is of writing alone, `prompt_tokens_per_s` of reading; `speedup` is to plain decoding of the same batch;
    `tokens_per_pass` are the tokens of all texts over all passes, those of a draft model included.
    """
    roots = [es.Prefix(ids) for ids in inputs]
    began = time.perf_counter()
    lm.model.forward(roots, frozenset())
    reading = sum(map(len, roots)) / (time.perf_counter() - began)
    lines, plain_s, plain_texts = list[dict[str, Any]](), math.nan, list[list[int]]()
    for name, drafter in [(PLAIN, None), *drafters.items()]:
        scorer = lm.model | es.bias(dict.fromkeys(lm.vocab.end, float("-inf"))) | es.temperature(0)
        loop = es.Loop()
        began = time.perf_counter()
        numbers = [loop.add(_decoder(scorer, x, drafter, tokens)) for x in roots]
        while loop:
            loop.turn()
        took = time.perf_counter() - began
        for number in numbers:
            if number in loop.errors:
                raise loop.errors[number]
        texts = [loop.results[number].written() for number in numbers]
        if drafter is None:
            plain_s, plain_texts = took, texts
        lines.append(
            {
                "bench": "speculation throughput",
                "system": name,
                "input": len(roots[0]),
                "batch": len(roots),
                "tokens": tokens,
                "tokens_per_s": round(sum(map(len, texts)) / took, 2),
                "prompt_tokens_per_s": round(reading, 1),
                "speedup": round(plain_s / took, 3),
                "tokens_per_pass": round(sum(map(len, texts)) / max(1, loop.passes), 3),
                "same_text": round(sum(a == b for a, b in zip(texts, plain_texts, strict=True)) / len(texts), 3),
            }
        )
    return lines


def _decoder(scorer: Scorer, x: es.Prefix, drafter: Drafter | None, tokens: int) -> Any:
    stop, rng = es.stop.budget(tokens), es.Rng(0)
    if drafter is None:
        return es.sample(scorer, x, stop, rng)
    return es.speculate(scorer, x, stop, drafter, es.verification.SampleMatch(), rng)


def throughput_bench(
    lm: LanguageModel,
    texts: Sequence[Sequence[int]],
    dtype: str,
    drafters: Sequence[str],
    lengths: Sequence[int],
    batches: Sequence[int],
    tokens: int,
    log: Path | None = None,
    seconds: float = math.inf,
) -> list[dict[str, Any]]:
    """Measures the cells, small ones first, prints a table and JSON lines. What the log holds is not measured again, and after
    `seconds` no further cell is begun.

    Raises InvalidInput for inputs that leave no room to write.
    """
    require(min([*lengths, *batches]) >= 1, "input lengths and batch sizes are at least 1")
    if max(lengths) + tokens > lm.context:
        raise InvalidInput(f"inputs of {max(lengths)} and {tokens} tokens more do not fit in a context of {lm.context}")
    from espalier import catalogue

    lines = _logged(log)
    known = {(line["input"], line["batch"]) for line in lines}
    until = time.monotonic() + seconds
    for length, batch in sorted(((n, b) for n in lengths for b in batches), key=lambda cell: cell[0] * cell[1]):
        if (length, batch) in known or time.monotonic() > until:
            continue
        made = {f"{PLAIN} {name}": catalogue.find("drafter", name).make(model=lm.model) for name in drafters}
        new = [{**line, "dtype": dtype} for line in throughput(lm, of_length(texts, length, batch), made, tokens)]
        lines += new
        if log is not None:
            with log.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(line) + "\n" for line in new)
    names = list(dict.fromkeys(line["system"] for line in lines))
    cells = list(dict.fromkeys((line["input"], line["batch"]) for line in lines))
    by = {(line["system"], line["input"], line["batch"]): line for line in lines}
    for key, what in (("tokens_per_s", "tokens per second"), ("speedup", "times plain decoding"), ("same_text", "same text")):
        rows = [[name, *(by[name, *cell][key] if (name, *cell) in by else "" for cell in cells)] for name in names]
        show(f"{what}: {dtype}, {tokens} tokens", ["system", *(f"{n} x {b}" for n, b in cells)], rows)
    about = machine()
    emit({**line, **about} for line in lines)
    return lines


def _logged(log: Path | None) -> list[dict[str, Any]]:
    if log is None or not log.exists():
        return []
    try:
        lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
        return [line for line in lines if (line["input"], line["batch"], line["system"])]
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"--log {log}: not a log of this benchmark ({error}); name a new file") from error
