"""Inputs that went wrong, from public bug reports: each with the right value (`tests/data/cases/constraints.json`)."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import espalier as es

CASES = json.loads((Path(__file__).parents[1] / "data" / "cases" / "constraints.json").read_text("utf-8"))
NAMES = """
import espalier as es
from espalier.constraints import *
from espalier.constraints import parse, tool_calls
from typing import *
import typing_extensions, dataclasses, enum, datetime, decimal, uuid, pydantic
from dataclasses import dataclass
from pydantic import BaseModel, Field, ConfigDict, field_validator
"""
# Where the case says in words what is right, or leaves a choice: what we chose.
CHOSEN: dict[str, Any] = {
    "leap-second": "refused",  # no datetime holds it, so it is not in the set
    "local-recursive-dataclass": True,
    "openai-function-as-value": False,
    "openai-tools-list": True,
    "no-parameters": True,
    "wrapper-as-schema": False,
    "exponent-trailing-zero": False,  # docs/constraints.md: one spelling per exponent
    "integer-1.50e1": False,
    "trailing-newline": False,
    "lone-surrogate": False,
    "pickle-guide": True,
    "gbnf-special-token": False,  # tokens are read; a text is not a token
    "iso-ebnf-braces": "refused",
    "integer-value-is-int": "int",
    "integer-member-is-int": "{'n': 148}",
}


def outcome(case: dict[str, Any]) -> Any:
    given = case["input"]
    module = types.ModuleType("case_" + case["id"].replace("-", "_").replace(".", "_"))
    sys.modules[module.__name__] = module  # classes of a case are looked up in it
    exec(NAMES, module.__dict__)
    try:
        if "code" in given:
            exec(given["code"], module.__dict__)
            return module.__dict__["result"]
        make = module.__dict__[given["do"].split("(")[0]]
        what = given.get("schema", given.get("grammar", given.get("pattern")))
        return make(what, **given.get("options", {})).matches(given["text"].encode())
    except es.EspalierError as error:
        return "refused" if len(str(error)) > 20 else str(error)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_case_has_the_right_value(case: dict[str, Any]) -> None:
    assert outcome(case) == CHOSEN.get(case["id"], case["expect"])
