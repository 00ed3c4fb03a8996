"""The programs in examples/ run, are short, and say what they say they say."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


def load(name: str) -> Any:
    """One of the programs as a module."""
    [path] = [path for path in EXAMPLES if path.stem == name]
    spec = importlib.util.spec_from_file_location(f"example_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_short(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith('"""'), "the first line says what the program shows"
    assert 15 <= len(lines) <= 40


def test_brackets_of_a_guide_of_ones_own_balance_under_a_beam() -> None:
    found = load("balanced_guide").main()
    assert found
    for text in found:
        assert text.count("x") == 1
        assert text.count("(") == text.count(")")
