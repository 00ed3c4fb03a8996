"""Whether answers are as right under a schema as without: sums in words, GSM8K, and classification."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from espalier.bench.report import median
from espalier.bench.structured.writers import NONE, writers
from espalier.errors import EspalierError
from espalier.lm import LanguageModel

SUM = {
    "type": "object",
    "properties": {"steps": {"type": "string", "maxLength": 300}, "answer": {"type": "integer"}},
    "required": ["steps", "answer"],
    "additionalProperties": False,
}
Reader = Callable[[str], object]


@dataclass(frozen=True)
class Question:
    """A question with its right answer, the schema of an answer, and solved ones that are shown before it."""

    task: str
    prompt: tuple[dict[str, str], ...]
    schema: Any
    right: object
    member: str
    loose: Reader  # the answer in a text that is no JSON


def tasks_of(gsm8k: Path | None, limit: int) -> list[Question]:
    """At most `limit` questions of each task: the bundled sums and texts to classify, and GSM8K's if there is a file.

    >>> {question.task for question in tasks_of(None, 2)} == {"sums", "classification"}
    True
    """
    lines = (files("espalier.bench.structured") / "quality.jsonl").read_text("utf-8").splitlines()
    found: dict[str, list[dict[str, Any]]] = {}
    for line in map(json.loads, lines):
        found.setdefault(line["task"], []).append(line)
    made = [_sum("sums", one, found["sums"][:2]) for one in found["sums"][2 : 2 + limit]]
    made += [_class(one, found["classification"][:4]) for one in found["classification"][4 : 4 + limit]]
    if gsm8k is not None and gsm8k.exists():
        with open(gsm8k, encoding="utf-8") as file:
            rows = [_worked(json.loads(line)) for _, line in zip(range(limit), file, strict=False)]
        made += [_sum("gsm8k", one, found["sums"][:2]) for one in rows]
    return made


def _worked(row: dict[str, str]) -> dict[str, Any]:
    steps, _, answer = row["answer"].partition("####")
    return {"question": row["question"], "steps": steps, "answer": int(answer.strip().replace(",", ""))}


def _sum(task: str, one: dict[str, Any], shown: Sequence[dict[str, Any]]) -> Question:
    ask = "{}\nAnswer as JSON: the steps, then the answer."
    turns = []
    for each in shown:
        said = json.dumps({"steps": each["steps"], "answer": each["answer"]})
        turns += [_turn("user", ask.format(each["question"])), _turn("assistant", said)]
    return Question(task, (*turns, _turn("user", ask.format(one["question"]))), SUM, one["answer"], "answer", last_number)


def _class(one: dict[str, Any], shown: Sequence[dict[str, Any]]) -> Question:
    labels = ["sports", "food", "weather", "money"]
    schema = {"type": "object", "properties": {"topic": {"enum": labels}}, "required": ["topic"], "additionalProperties": False}
    ask = f"What is this about: {', '.join(labels)}? Answer as JSON.\n{{}}"
    turns = []
    for each in shown:
        turns += [_turn("user", ask.format(each["text"])), _turn("assistant", json.dumps({"topic": each["topic"]}))]
    prompt = (*turns, _turn("user", ask.format(one["text"])))
    return Question("classification", prompt, schema, one["topic"], "topic", lambda text: _first(labels, text))


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def last_number(text: str) -> int | None:
    """The last whole number in a text, which is how answers of GSM8K are read.

    >>> last_number("12 + 30 = 1,042 pens."), last_number("none")
    (1042, None)
    """
    found = re.findall(r"-?\d[\d,]*", text)
    return int(found[-1].replace(",", "")) if found else None


def _first(labels: Sequence[str], text: str) -> str | None:
    places = {label: text.lower().find(label) for label in labels}
    return min((label for label in labels if places[label] >= 0), key=lambda label: places[label], default=None)


def answer_in(text: str, question: Question) -> tuple[object, bool]:
    """The answer in a text, and whether the text is JSON that has it; else what a lenient reader finds.

    >>> [question] = tasks_of(None, 1)[:1]
    >>> answer_in('{"answer": 7}', question), answer_in("It is 7.", question)
    ((7, True), (7, False))
    """
    try:
        value = json.loads(text)
    except ValueError:
        return question.loose(text), False
    there = isinstance(value, dict) and question.member in value
    return (value[question.member], True) if there else (question.loose(text), False)


def accuracy(lm: LanguageModel, questions: Sequence[Question], engines: Sequence[str], tokens: int) -> list[dict[str, Any]]:
    """Right answers by task and engine; without a constraint the lenient reader helps, so that only answers are compared."""
    systems, counts = writers(lm, engines), dict[tuple[str, str], dict[str, Any]]()
    for question in questions:
        for writer in systems:
            empty = {"of": 0, "right": 0, "readable": 0, "errors": 0, "tokens": 0, "pace": []}
            count = counts.setdefault((question.task, writer.name), empty)
            count["of"] += 1
            try:
                writer.ready(question.schema)
                done = writer.write(list(question.prompt), tokens)
            except (EspalierError, ValueError, RuntimeError):
                count["errors"] += 1
                continue
            answer, readable = answer_in(done.text, question)
            count["right"] += answer == question.right
            count["readable"] += readable
            count["tokens"] += len(done.tokens)
            count["pace"].append(1e3 * done.stats.seconds / max(1, len(done.tokens)))
    return [
        {"bench": "jsonschema", "part": "quality", "task": task, "engine": name, "constrained": name != NONE, **count}
        | {"ms_per_token": round(median(pace), 2)}
        for (task, name), count in counts.items()
        for pace in [count.pop("pace")]
    ]
