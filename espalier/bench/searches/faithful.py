"""`bench faithful`: what samples of p(text | valid) cost, on public tasks with grammars."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from espalier.bench.report import emit, machine, show
from espalier.constraints import Guide, cfg, regex
from espalier.decoders.faithful import faithful
from espalier.decoders.faithful.samples import Faithful, by_checks
from espalier.errors import EspalierError, InvalidInput, require

if TYPE_CHECKING:
    from espalier.lm import LanguageModel


@dataclass(frozen=True)
class Task:
    """A prompt, and the grammar of its answer, or (`regular`) its expression.

    >>> Task("a", "Say a:", 'root ::= "a"').guide().matches(b"a")
    True
    """

    name: str
    prompt: str
    grammar: str
    regular: bool = False

    def guide(self) -> Guide:
        """What the answer must be. Raises `InvalidInput` for an expression that is not regular."""
        return regex(self.grammar) if self.regular else cfg(self.grammar)


def tasks(data: Path, kinds: Sequence[str]) -> Iterator[Task]:
    """The tasks of a folder laid out as the public sample: gad/BV4, gad/SLIA, smiles (a text beside each grammar), spider (one
    grammar for all texts), goal_inference (a grammar, and the domain that is the prompt), patterns (expressions in a table;
    those that are not regular are left out). Raises `InvalidInput` if there is none."""
    require(data.is_dir(), f"--data {data}: no such folder")
    found = 0
    for kind in kinds:
        for task in _others(data / kind, kind):
            found += 1
            yield task
        for prompt in sorted((data / kind).glob("*.txt")):
            beside = [prompt.with_suffix(end) for end in (".ebnf", ".lark")] + [prompt.parent / "grammar.lark"]
            grammar = next((path for path in beside if path.exists()), None)
            if grammar is not None:
                found += 1
                yield Task(f"{kind}/{prompt.stem}", prompt.read_text(), grammar.read_text())
    if not found:
        raise InvalidInput(f"--data {data}: no prompt with a grammar beside it in {', '.join(kinds)}")


def _others(folder: Path, kind: str) -> Iterator[Task]:
    for domain in sorted(folder.glob("*.pddl")):
        for grammar in sorted(folder.glob("*.lark")):
            yield Task(f"{kind}/{domain.stem}", f"{domain.read_text()}\n; A goal:\n", grammar.read_text())
    for table in sorted(folder.glob("*.csv")):
        with open(table, encoding="utf-8", newline="") as file:
            for number, row in enumerate(csv.DictReader(file)):
                if _regular(row["regex"]):
                    prompt = f"Strings that match {row['regex']}, one a line:\n"
                    yield Task(f"{kind}/{number}", prompt, row["regex"], regular=True)


def _regular(expression: str) -> bool:
    try:
        regex(expression)
    except EspalierError:
        return False
    return True


def _found(lm: LanguageModel, task: Task, method: str, n: int, budget: int, tokens: int) -> Faithful:
    from espalier.requests.prompt import raw

    if method == "awrs":
        return by_checks(lm, raw(task.prompt), task.guide(), n, budget, 0, tokens)
    asked: dict[str, Any] = {"method": method, "budget": budget, "seed": 0, "max_tokens": tokens}
    return faithful(lm, raw(task.prompt), task.guide(), n, **asked)


def faithful_bench(
    lm: LanguageModel, data: Path, kinds: Sequence[str], methods: Sequence[str], limit: int, n: int, budget: int, tokens: int
) -> None:
    """One JSON line per task and method: attempts and passes for each valid sample, and what the result says of itself."""
    lines: list[dict[str, Any]] = []
    for kind in kinds:
        for task in [task for _, task in zip(range(limit), tasks(data, [kind]), strict=False)]:
            for method in methods:
                line: dict[str, Any] = {"task": task.name, "method": method, "budget": budget, "tokens": tokens, "n": n}
                start = time.perf_counter()
                try:
                    found = _found(lm, task, method, n, budget, tokens)
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
