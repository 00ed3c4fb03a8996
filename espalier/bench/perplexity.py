"""`bench decode --perplexity`: how well a model foretells given texts in each number format."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from espalier.bench.report import emit, machine, show
from espalier.engine import run
from espalier.errors import InvalidInput, require
from espalier.lm import LanguageModel
from espalier.prefix import Prefix
from espalier.requests.text_logprobs import scored

COLUMNS = ("dtype", "tokens", "perplexity", "ratio", "apart")


def perplexity_bench(
    load: Callable[[str], LanguageModel], dtypes: Sequence[str], texts: Sequence[str], context: int
) -> list[dict[str, Any]]:
    """exp of the mean -log p of the tokens of the texts, of each the first `context`, the very first left out.

    Per format "ratio" to the first format's perplexity, and "apart", the mean distance of a token's log-probability from the
    one in the first format.
    """
    found: list[dict[str, Any]] = []
    first: list[float] = []
    for dtype in dtypes:
        lm = load(dtype)
        said: list[float] = []
        for text in texts:
            ids = lm.tokenizer.encode(text)[:context]
            if len(ids) > 1:
                [[one]] = run(scored(lm.scorer, Prefix(ids[:1]), [ids[1:]], lm.vocab))
                said += one.logprobs
        require(len(said) > 0, "the texts have no tokens to foretell")
        first = first or said
        value = math.exp(-statistics.fmean(said))
        row = {"bench": "perplexity", "model": lm.name, "dtype": dtype, "tokens": len(said), "perplexity": round(value, 4)}
        row["ratio"] = round(value / found[0]["perplexity"], 5) if found else 1.0
        row["apart"] = round(statistics.fmean(abs(a - b) for a, b in zip(said, first, strict=True)), 5)
        found.append(row)
    show(f"{len(texts)} texts", COLUMNS, [[str(row[column]) for column in COLUMNS] for row in found])
    emit({**row, **machine()} for row in found)
    return found


def texts_of(path: Path | None, limit: int, context: int) -> list[str]:
    """The first texts of a file (JSON lines with "turns", as Spec-Bench) of five letters or more for each token."""
    if path is None or min(limit, context) < 2:
        raise InvalidInput("--perplexity needs --prompts, and --limit and --context above 1")
    try:
        turns = [json.loads(line)["turns"][0] for line in path.read_text("utf-8").splitlines() if line.strip()]
        long = [text for text in turns if len(text) >= 5 * context]
    except (OSError, ValueError, TypeError, LookupError) as error:
        said = f'--prompts {path}: {type(error).__name__}: {error}; write JSON lines with "turns", as Spec-Bench has them'
        raise InvalidInput(said) from error
    require(len(long) >= limit, f"{path} has {len(long)} texts of {5 * context} letters, and --limit is {limit}")
    return long[:limit]
