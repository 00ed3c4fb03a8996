"""Explanations and pictures of guides."""

from __future__ import annotations

import re

import pytest
from constraints.python_guides import Balanced

import espalier as es
from espalier.constraints import contains, picture, predicate, substring
from espalier.errors import InvalidInput, LimitExceeded


def test_every_part_is_told_with_the_reason_where_it_is_not_exact() -> None:
    guide = (Balanced() | es.regex("a")) & es.json_schema({"not": {"const": 1}}) + contains("tea", within=9)
    parts = es.explain(guide)
    assert [part.depth for part in parts] == [0, 1, 2, 2, 1, 2, 2]
    assert parts[0].term == repr(guide)
    assert (parts[0].runs, parts[0].exactness) == ("side by side", "over")
    told = {part.term: part for part in parts}
    assert told["Balanced()"].runs == "written in Python"
    assert told["Balanced() | regex('a')"].runs == "either, in Python"
    assert "not decided late" in told["""json_schema('{"not": {"const": 1}}')"""].why
    assert told["contains('tea', within=9)"].runs == "a regular expression, progress counted"
    assert all((part.why == "") == (part.exactness == "exact") for part in parts)
    assert es.explain(predicate(str.islower))[0].runs == "written in Python, by checks alone"
    assert [k.keyword for k in es.explain({"type": "null"})] == ["type"]


def test_a_picture_is_the_automaton() -> None:
    guide = es.choices(["ab", "ac", 'q"\\ x'])
    dot = picture(guide)
    edges = re.findall(r'(\d+) -> (\d+) \[label="(.*)"\];', dot)
    ends = set(re.findall(r"(\d+) \[shape=doublecircle\]", dot))
    ways = {(at, label): to for at, to, label in edges}
    state = "0"
    for label in ["a", "bc"]:
        state = ways[state, label]
    assert state in ends
    state = "0"
    for label in ["q", '\\"', "\\\\", "␣", "x"]:
        state = ways[state, label]
    assert state in ends
    assert "any" in picture(es.constraints.healing("", None))
    assert picture(substring("aba")).count("->") == 5


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda: picture(es.regex("a{100}")), LimitExceeded, "more than 60 states"),
        (lambda: picture(Balanced(), states=5), LimitExceeded, "more than 5 states"),
        (lambda: picture("a"), InvalidInput, "give a guide"),  # type: ignore[arg-type]
    ],
)
def test_wrong_use_is_told(call, error, says: str) -> None:
    with pytest.raises(error, match=says):
        call()
