"""Every public name says what it is, with an example that runs (the suite runs them all as doctests)."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

import pytest

ROOMS = [
    "",
    ".constraints",
    ".constraints.cfg.grammars",
    ".drafting",
    ".models",
    ".decoders",
    ".shaping",
    ".text",
    ".serving",
    ".verification",
]
# Interfaces whose implementations have examples, and parts of what another name's example shows.
SHOWN_ELSEWHERE = {"Capacity", "Healed", "LengthPolicy", "Plan", "Predictor", "SkipSearch", "TreePolicy"}


def public() -> Iterator[tuple[str, Any]]:
    for room in ROOMS:
        module = importlib.import_module(f"espalier{room}")
        for name in module.__all__:
            if not inspect.ismodule(getattr(module, name)):
                yield f"espalier{room}.{name}", getattr(module, name)


@pytest.mark.parametrize(("name", "thing"), [pytest.param(name, thing, id=name) for name, thing in public()])
def test_a_public_name_is_documented(name, thing):
    doc = inspect.getdoc(thing)
    assert doc
    assert ">>>" in doc or name.rpartition(".")[2] in SHOWN_ELSEWHERE, "an example"
    for method, value in inspect.getmembers(thing) if inspect.isclass(thing) else ():
        if not method.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
            assert inspect.getdoc(value), f"{method} says what it returns"
