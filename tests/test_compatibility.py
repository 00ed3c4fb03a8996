"""Every line of docs/compatibility.md, and the report on a folder of schemas."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import espalier as es
from espalier.constraints import tool_calls
from espalier.errors import InvalidInput

ROOT = Path(__file__).parents[1]
LINE = re.compile(r"^([a-z0-9-]+) +(.+?)  (takes|leaves|says)  (\".*\")$", re.MULTILINE)
LINES = LINE.findall((ROOT / "docs" / "compatibility.md").read_text("utf-8"))


def made(kind: str, given: Any) -> es.Guide:
    if kind in ("regex", "search"):
        return es.regex(given, search=kind == "search")
    if kind == "schema":
        return es.json_schema(given)
    if kind in ("gbnf", "lark"):
        return es.cfg(given, dialect=kind)
    if kind == "ebnf":
        return es.cfg(given)
    return tool_calls(given, format="hermes" if kind == "tools" else kind)


def test_the_log_has_lines() -> None:
    text = (ROOT / "docs" / "compatibility.md").read_text("utf-8")
    assert len(LINES) == sum(part.count("\n") - 1 for part in re.findall(r"```text.*?```", text, re.DOTALL)) > 40


@pytest.mark.parametrize("line", LINES, ids=[f"{i}-{line[0]}-{line[2]}" for i, line in enumerate(LINES)])
def test_a_line_of_the_log(line: tuple[str, str, str, str]) -> None:
    kind, given, verb, text = line[0], json.loads(line[1]), line[2], json.loads(line[3])
    if verb == "says":
        with pytest.raises(InvalidInput, match=re.escape(text)):
            made(kind, given)
    else:
        assert made(kind, given).matches(text.encode()) == (verb == "takes")


def test_a_folder_of_schemas_is_reported(tmp_path: Path) -> None:
    (tmp_path / "good.json").write_text('{"type": "integer"}')
    (tmp_path / "bad.json").write_text('{"type": 5}')
    (tmp_path / "no.json").write_text("{")
    run = [sys.executable, str(ROOT / "scripts" / "schemastore.py"), str(tmp_path)]
    done = subprocess.run(run, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "bad.json: refused: " in done.stdout
    assert "3 schemas, 2 refused, 1 read" in done.stdout
    fixtures = [*run[:2], str(ROOT / "tests" / "data" / "cases")]
    done = subprocess.run(fixtures, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)
    assert done.returncode == 0
    assert "FOREIGN" not in done.stdout
