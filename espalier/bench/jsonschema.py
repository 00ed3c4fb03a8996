"""`espalier bench jsonschema`: JSONSchemaBench's protocol. How many schemas an engine takes, how many of them rightly, how many
texts under them are valid, how long it takes, and whether answers under a schema are as right as without one.

S. Geng et al., "Generating structured outputs from language models" (2025, arXiv 2501.10868). Words: *declared* coverage: the
engine takes the schema; *true*: it also judges every document of the schema's tests rightly; *empirical*: a model's text under
it ends and is valid. Every engine stands in the same loop, before the same model, greedy.
"""

from __future__ import annotations

import gzip
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espalier.bench.maskbench import percentiles
from espalier.bench.report import emit, machine, median, show
from espalier.bench.structured.engines import Worker, installed
from espalier.bench.structured.quality import accuracy, tasks_of
from espalier.bench.structured.writers import writers
from espalier.errors import EspalierError, InvalidInput, require
from espalier.lm import LanguageModel

PARTS = ("coverage", "empirical", "quality")
SHORT = 1200  # characters of a schema that a small model is shown


@dataclass(frozen=True)
class Case:
    """A schema with documents and whether they are valid."""

    name: str
    split: str
    schema: Any
    documents: tuple[tuple[bool, str], ...]


def records(path: Path, limit: int | None) -> Iterator[Case]:
    """The first schemas of a file of MaskBench records."""
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
        for number, line in enumerate(file):
            if number == limit:
                return
            record = json.loads(line)
            tests = [(bool(t["valid"]), json.dumps(t["data"], ensure_ascii=False)) for t in record["data"]["tests"]]
            yield Case(record["file"], record.get("split", ""), record["data"]["schema"], tuple(tests))


def suite(folder: Path, limit: int | None) -> Iterator[Case]:
    """Groups of the official test suite, spread over its files. Left out: formats (which it leaves open), vocabularies,
    documents from elsewhere, and schemas under which it has no text."""
    groups = [
        Case(f"{path.stem}: {group['description']}", path.stem, group["schema"], tuple(_documents(group)))
        for path in sorted(folder.glob("*.json"))
        if path.stem not in ("format", "refRemote", "vocabulary")
        for group in json.loads(path.read_text(encoding="utf-8"))
        if any(test["valid"] for test in group["tests"])
    ]
    step = max(1, len(groups) // limit) if limit else 1
    yield from groups[::step][:limit]


def _documents(group: dict[str, Any]) -> Iterator[tuple[bool, str]]:
    for test in group["tests"]:
        yield test["valid"], json.dumps(test["data"], ensure_ascii=False)


def coverage(cases: Sequence[Case], engines: Sequence[str], tokenizer: Path, seconds: float, name: str) -> list[dict[str, Any]]:
    """Declared and true coverage and times, one result for each engine; times also on what all engines take."""
    answers: dict[str, list[dict[str, Any]]] = {}
    for engine in engines:
        worker = Worker(engine, tokenizer, seconds)
        try:
            answers[engine] = [worker.ask(case.schema, [text for _, text in case.documents]) for case in cases]
        finally:
            worker.close()
    common = [at for at in range(len(cases)) if all("verdicts" in answers[engine][at] for engine in engines)]
    return [
        {"bench": "jsonschema", "part": "coverage", "data": name, "engine": engine, **counted(cases, found)}
        | {"common": len(common), **{f"common_{k}": v for k, v in times([found[at] for at in common]).items()}}
        for engine, found in answers.items()
    ]


def counted(cases: Sequence[Case], found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The counts of one engine.

    >>> case = Case("a", "s", {}, ((True, "1"), (False, "2")))
    >>> said = {"verdicts": [True, True], "first": 0.1, "compile": 0.1, "steps": []}
    >>> counted([case, case], [{"error": "timeout"}, said])["under"]
    1
    """
    tested = [(case, said) for case, said in zip(cases, found, strict=True) if case.documents]
    splits: dict[str, list[int]] = {}
    over = under = right = 0
    for case, said in tested:
        pairs = list(zip((valid for valid, _ in case.documents), said.get("verdicts", ()), strict=False))
        over += sum(valid and not judged for valid, judged in pairs)
        under += sum(judged and not valid for valid, judged in pairs)
        good = bool(pairs) and all(valid == judged for valid, judged in pairs)
        right += good
        count = splits.setdefault(case.split, [0, 0])
        count[0], count[1] = count[0] + good, count[1] + 1
    declared = sum("error" not in said for said in found)
    why = Counter(said.get("error", said.get("late_error", "")) for said in found)
    return {
        "schemas": len(cases),
        "declared": declared,
        "tested": len(tested),
        "true": right,
        "over": over,
        "under": under,
        "timeouts": why["timeout"],
        "crashes": why["crash"],
        **times(found),
        "by_split": {split: f"{good}/{of}" for split, (good, of) in sorted(splits.items())},
    }


def times(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Milliseconds of compilation and up to the first mask, microseconds of each later one."""
    taken = [said for said in found if "verdicts" in said]
    steps = [step for said in taken for step in said["steps"]]
    return {
        "compile_ms": percentiles([said["compile"] for said in taken], 1e3),
        "first_mask_ms": percentiles([said["first"] for said in taken], 1e3),
        "mask_us": percentiles(steps, 1e6),
    }


def empirical(lm: LanguageModel, cases: Sequence[Case], engines: Sequence[str], tokens: int) -> list[dict[str, Any]]:
    """Texts that end and are valid, and the times of the tokens, under each engine and under none."""
    counts: dict[str, dict[str, Any]] = {}
    systems = writers(lm, engines)
    for case in cases:
        prompt = f"Write one JSON value that satisfies this JSON Schema. Write only JSON.\n\n{json.dumps(case.schema)}"
        for writer in systems:
            count = counts.setdefault(writer.name, {"declared": 0, "ended": 0, "valid": 0, "first": [], "pace": []})
            start = time.perf_counter()
            try:
                writer.ready(case.schema)
                compiled = time.perf_counter() - start
                done = writer.write(prompt, tokens)
            except (EspalierError, ValueError, RuntimeError) as error:
                count.setdefault("first_error", f"{case.name}: {type(error).__name__}: {error}"[:160])
                continue
            ended, stats = done.finish_reason == "stop", done.stats
            count["declared"] += 1
            count["ended"] += ended
            count["valid"] += ended and valid(case.schema, done.text)
            count["first"].append(1e3 * (compiled + stats.first_token_seconds))
            count["pace"] += [1e3 * (stats.seconds - stats.first_token_seconds) / (stats.tokens - 1)] * (stats.tokens > 1)
    return [
        {"bench": "jsonschema", "part": "empirical", "engine": name, "schemas": len(cases), **count}
        | {"compliance": round(count["valid"] / max(1, count["declared"]), 3)}
        | {"first_token_ms": median(count["first"]), "ms_per_token": median(count["pace"]), "first": None, "pace": None}
        for name, count in counts.items()
    ]


def valid(schema: Any, text: str) -> bool:
    """Whether a text is JSON that the reference validator takes.

    >>> valid({"type": "integer"}, "1"), valid({"type": "integer"}, "x")
    (True, False)
    """
    import jsonschema

    validator = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        value = json.loads(text)
    except ValueError:
        return False
    return bool(validator(schema, format_checker=validator.FORMAT_CHECKER).is_valid(value))


def small(cases: Sequence[Case], limit: int) -> list[Case]:
    """Schemas of objects that a small model can be shown."""
    fitting = [
        case
        for case in cases
        if len(json.dumps(case.schema)) <= SHORT and isinstance(case.schema, dict) and "properties" in case.schema
    ]
    return fitting[:limit]


def jsonschema_bench(
    lm: LanguageModel,
    tokenizer: Path,
    data: Path,
    tests: Path | None,
    gsm8k: Path | None,
    engines: Sequence[str],
    parts: Sequence[str],
    limit: int,
    tokens: int,
    seconds: float,
) -> list[dict[str, Any]]:
    """All parts, one after the other; prints tables, and JSON lines."""
    names = list(engines) or installed()
    missing = [name for name in names if name not in installed()]
    require(not missing, f"--engines {', '.join(missing)}: not installed here; there are {', '.join(installed())}")
    if not data.exists():
        raise InvalidInput(f"--data {data}: no such file; give MaskBench records (.jsonl or .jsonl.gz)")
    results: list[dict[str, Any]] = []
    cases = list(records(data, None))
    if "coverage" in parts:
        found = coverage(cases[: 6 * limit], names, tokenizer, seconds, data.name)
        if tests is not None and tests.exists():
            found += coverage(list(suite(tests, 4 * limit)), names, tokenizer, seconds, "test suite")
        columns = ["data", "engine", "schemas", "declared", "tested", "true", "over", "under", "timeouts", "crashes"]
        show("coverage", columns, [[r[c] for c in columns] for r in found])
        rows = [[r["engine"], r["common"], *(r[f"common_{c}"].get(p, "") for c, p in _TIMES)] for r in found]
        show("times on what all engines take", ("engine", "schemas", *(f"{c} {p}" for c, p in _TIMES)), rows)
        results += found
    if "empirical" in parts:
        found = empirical(lm, small(cases, limit), names, tokens)
        columns = ["engine", "schemas", "declared", "ended", "valid", "compliance", "first_token_ms", "ms_per_token"]
        show(f"texts of at most {tokens} tokens under a schema, greedy", columns, [[r[c] for c in columns] for r in found])
        results += [{k: v for k, v in r.items() if v is not None} for r in found]
    if "quality" in parts:
        found = accuracy(lm, tasks_of(gsm8k, limit), names, tokens)
        columns = ["task", "engine", "of", "right", "readable", "tokens", "ms_per_token"]
        show("answers, greedy", columns, [[r[c] for c in columns] for r in found])
        results += found
    emit({**result, **machine()} for result in results)
    return results


_TIMES = [("compile_ms", "p50"), ("first_mask_ms", "p50"), ("first_mask_ms", "p99"), ("mask_us", "avg"), ("mask_us", "p99")]
