"""Every example runs, and is as short as people like to copy."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def reckoned(text: str) -> bool:
    """Whether every observation is the value of the action before it, and an answer ends the text."""
    pairs = re.findall(r"Action: (\d+) ([+*-]) (\d+)\nObservation: (-?\d+)\n", text)
    value = {"+": int.__add__, "*": int.__mul__, "-": int.__sub__}
    right = [value[sign](int(a), int(b)) == int(seen) for a, sign, b, seen in pairs]
    return bool(right) and all(right) and re.search(r"\nAnswer: -?\d+\n$", text) is not None


SAYS = {  # what main() returned must be like this
    "extraction": lambda moon: 1 <= moon.diameter_km <= 10_000,
    "beam_under_schema": lambda found: (
        len(found) == 3 and all(set(json.loads(each.text)) == {"mood", "sure"} for each in found)
    ),
    "faithful_sampling": lambda drawn: all(each.text.strip() in ("red", "green", "blue", "yellow") for each in drawn),
    "own_drafter": lambda pair: pair[0].text == pair[1].text and pair[1].stats.passes < pair[0].stats.passes,
    "masks_in_your_loop": lambda text: all(isinstance(number, int) for number in json.loads(text)),
    "batch_over_a_file": lambda found: {line["kind"] for line in found} <= {"complaint", "praise", "question"},
    "trace_of_passes": lambda said: any(len(one.kept) > 1 for one in said.passes),
    "evaluation": lambda accuracy: accuracy >= 0.75,
    "balanced_guide": lambda texts: texts and all(text.count("(") == text.count(")") for text in texts),
    "lipogram": lambda text: "e" not in text.lower(),
    "haiku": lambda text: (
        [sum(len(sys.modules["example_haiku"].SOUNDS[word][0]) for word in line.split()) for line in text.split("\n")]
        == [5, 7, 5]
    ),
    "sql_on_sqlite": lambda texts: len(texts) == 2 and all(sys.modules["example_sql_on_sqlite"].runs(text) for text in texts),
    "ranking": lambda order: sorted(order) == ["[A]", "[B]", "[C]", "[D]"],
    "extractive_answer": lambda answer: "Warsaw" in answer and len(answer) <= 40,
    "react_calculator": lambda text: reckoned(text),
    "tool_calling": lambda answers: answers == ["20.0 EUR in USD", "sun in Oslo for 3 days", "5:00 drink tea"],
    "everything_at_once": lambda texts: all(len(json.loads(text)) >= 2 for text in texts),
}


@pytest.mark.real
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location(f"example_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pydantic look their module up
    spec.loader.exec_module(module)
    returned: Any = module.main()
    assert capsys.readouterr().out.strip() or returned
    assert path.stem not in SAYS or SAYS[path.stem](returned)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert 12 <= len(lines) <= 40, len(lines)
    assert lines[0].startswith('"""')


def test_examples_are_typed() -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--scripts-are-modules", *map(str, EXAMPLES)]
    said = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=900)
    assert said.returncode == 0, said.stdout
