"""What a state is said to owe at least is no more than the nearest end, whatever names are demanded, listed or not."""

from __future__ import annotations

import random
from typing import Any

import pytest

import espalier as es
from espalier.errors import Unsatisfiable

BYTES = [bytes([b]) for b in b'{}":,xya1[]']
NAMES = ["x", "y", "xx", "xy", "a"]


def nearest(guide: es.Guide, state: Any) -> int | None:
    """The bytes of the nearest end, by going through all texts of these letters; None where they are too many."""
    here, seen, count = {state}, {state}, 0
    while here and len(seen) < 2_000:
        if any(guide.accepts(each) for each in here):
            return count
        after = {guide.advance(each, b) for each in here for b in BYTES} - seen - {None}
        here, seen, count = after, seen | after, count + 1
    return None


def compare(guide: es.Guide, begun: bytes, state: Any) -> bool:
    """Compares what is owed with the nearest end; whether that could be found."""
    if state is None or (least := nearest(guide, state)) is None:
        return False
    owed, found, text = guide.engine.native().shortest(state)
    assert owed <= least
    assert not found or (len(text) >= least and guide.matches(begun + text))
    return True


def schema(dice: random.Random) -> dict[str, Any]:
    """An object whose demanded names may stand in no other keyword."""
    inner = [{"enum": [1]}, {"enum": [[1]]}, {"type": "object", "required": ["x"], "additionalProperties": {"enum": [1]}}]
    found: dict[str, Any] = {"type": "object", "required": dice.sample(NAMES, dice.randrange(3))}
    if dice.random() < 0.6:
        found["properties"] = {name: dice.choice(inner) for name in dice.sample(NAMES, dice.randrange(1, 3))}
    if dice.random() < 0.5:
        found["additionalProperties"] = {"enum": [1]}
    if dice.random() < 0.2:
        found["patternProperties"] = {"^x": {"enum": [1]}}
    return found


@pytest.mark.parametrize("seed", range(6))
def test_no_more_is_owed_than_the_nearest_end(seed: int) -> None:
    dice, compared = random.Random(seed), 0
    for _ in range(12):
        guide = es.json_schema(schema(dice), whitespace="compact")
        try:
            start = guide.start()
        except Unsatisfiable:
            continue
        for begun in (b"", b"{", b'{"', b'{"x"', b'{"x":1,'):
            state = guide.advance(start, begun)
            compared += compare(guide, begun, state)
    assert compared >= 5


@pytest.mark.parametrize("seed", range(4))
def test_no_more_is_owed_where_a_schema_is_a_part(seed: int) -> None:
    dice, compared = random.Random(seed), 0
    for _ in range(8):
        inner = es.json_schema(schema(dice), whitespace="compact")
        around = [
            es.constraints.choices(["[", "[["]) + inner + es.constraints.choices(["]a", "]]]"]),
            (es.constraints.choices(["["]) + inner).repeat(2, 3),
            es.cfg("s ::= '[' (x ']' | x 'aa')", x=inner),
        ]
        for guide in around:
            for begun in (b"", b"[", b"[{", b'[{"', b'[{"x":1,'):
                try:
                    state = guide.advance(guide.start(), begun)
                except Unsatisfiable:
                    break
                compared += compare(guide, begun, state)
    assert compared >= 5
