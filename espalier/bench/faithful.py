"""`bench faithful`: what samples of p(text | valid) cost, on public tasks with grammars."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espalier.bench.report import emit, machine, show
from espalier.constraints import cfg
from espalier.decoders.faithful import faithful
from espalier.decoders.faithful.sampling import Method
from espalier.errors import EspalierError, InvalidInput, require

if TYPE_CHECKING:
    from espalier.lm import LanguageModel


@dataclass(frozen=True)
class Task:
    """A prompt and the grammar of its answer.

    >>> Task("a", "Say a:", 'root ::= "a"').name
    'a'
    """

    name: str
    prompt: str
    grammar: str


def tasks(data: Path, kinds: Sequence[str]) -> Iterator[Task]:
    """The tasks of a folder laid out as the public sample: gad/BV4, gad/SLIA, smiles (a text beside each grammar), spider (one
    grammar for all texts). Raises `InvalidInput` if there is none."""
    require(data.is_dir(), f"--data {data}: no such folder")
    found = 0
    for kind in kinds:
        for prompt in sorted((data / kind).glob("*.txt")):
            beside = [prompt.with_suffix(end) for end in (".ebnf", ".lark")] + [prompt.parent / "grammar.lark"]
            grammar = next((path for path in beside if path.exists()), None)
            if grammar is not None:
                found += 1
                yield Task(f"{kind}/{prompt.stem}", prompt.read_text(), grammar.read_text())
    if not found:
        raise InvalidInput(f"--data {data}: no prompt with a grammar beside it in {', '.join(kinds)}")


def faithful_bench(
    lm: LanguageModel, data: Path, kinds: Sequence[str], methods: Sequence[Method], limit: int, n: int, budget: int, tokens: int
) -> None:
    """One JSON line per task and method: attempts and passes for each valid sample, and what the result says of itself."""
    from espalier.requests.prompt import raw

    lines: list[dict[str, Any]] = []
    for kind in kinds:
        for task in [task for _, task in zip(range(limit), tasks(data, [kind]), strict=False)]:
            for method in methods:
                line: dict[str, Any] = {"task": task.name, "method": method, "budget": budget, "tokens": tokens, "n": n}
                start = time.perf_counter()
                try:
                    guide = cfg(task.grammar)
                    found = faithful(lm, raw(task.prompt), guide, n, method=method, budget=budget, seed=0, max_tokens=tokens)
                except EspalierError as error:
                    lines.append({**line, "error": str(error)[:200]})
                    continue
                valid = len(found)
                line |= {
                    "chosen": found.method,
                    "valid": valid,
                    "attempts": found.attempts,
                    "passes": found.passes,
                    "positions": found.positions,
                    "passes_per_valid": found.passes / valid if valid else None,
                    "attempts_per_valid": found.attempts / valid if valid else None,
                    "log_z": _finite(found.log_z),
                    "log_z_error": _finite(found.log_z_error),
                    "log_z_bound": _finite(found.log_z_bound),
                    "reliable": found.reliable,
                    "reason": found.reason,
                    "seconds": round(time.perf_counter() - start, 2),
                }
                lines.append(line)
                emit([line])
    emit([{"bench": "faithful", "model": lm.name, **machine()}])
    columns = ["task", "method", "valid", "attempts", "passes", "positions", "log z", "bound", "reliable", "s"]
    keys = ["task", "method", "valid", "attempts", "passes", "positions", "log_z", "log_z_bound", "reliable", "seconds"]
    show("faithful sampling", columns, [[line.get(key, line.get("error", "")) for key in keys] for line in lines])


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
