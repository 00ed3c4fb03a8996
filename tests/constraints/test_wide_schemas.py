"""Schemas of many branches: work grows with the branches, not with their square, and masks are those of few branches."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import espalier as es
from espalier.constraints import Limits
from espalier.errors import LimitExceeded
from espalier.text.vocab import Vocab

BYTES = Vocab([*(bytes([b]) for b in range(256)), None], end=[256])


def branch(i: int, kind: dict[str, Any]) -> dict[str, Any]:
    return {"properties": {"kind": kind, f"value{i}": {"type": "integer"}}, "required": ["kind", f"value{i}"]}


def by_const(n: int) -> dict[str, Any]:
    return {"type": "object", "oneOf": [branch(i, {"const": f"k{i}_ab"}) for i in range(n)]}


def by_pattern(n: int) -> dict[str, Any]:
    return {"type": "object", "oneOf": [branch(i, {"type": "string", "pattern": f"^k{i}_[a-z]+$"}) for i in range(n)]}


def any_of(n: int) -> dict[str, Any]:
    return {"type": "object", "anyOf": [branch(i, {"const": f"k{i}_ab"}) for i in range(n)]}


def if_then(n: int) -> dict[str, Any]:
    chain = [
        {
            "if": {"properties": {"kind": {"const": f"k{i}_ab"}}, "required": ["kind"]},
            "then": {"properties": {f"value{i}": {"type": "integer"}}, "required": [f"value{i}"]},
        }
        for i in range(n)
    ]
    kinds = {"properties": {"kind": {"enum": [f"k{i}_ab" for i in range(n)]}}, "required": ["kind"]}
    return {"type": "object", "allOf": chain, **kinds}


KINDS = (by_const, by_pattern, any_of, if_then)


def walk(schema: dict[str, Any], text: bytes, limits: Limits | None = None) -> list[bytes]:
    masks = es.masks(es.json_schema(schema, limits=limits), BYTES)
    cursor = masks.start(words := np.zeros(9, dtype=np.int32))
    seen = []
    for byte in text:
        cursor.fill()
        seen.append(words.tobytes())
        if not cursor.commit(byte):
            break
    cursor.fill()
    return [*seen, words.tobytes(), bytes([cursor.accepts()])]


def document(i: int) -> bytes:
    return json.dumps({"kind": f"k{i}_ab", f"value{i}": 3}).encode()


@pytest.mark.parametrize("kind", KINDS)
def test_memory_grows_with_the_branches(kind: Callable[[int], dict[str, Any]]) -> None:
    """Bytes of formulas, frames and answers: the same bound a branch at 100 and at 800 branches. With n² it was 15 MB."""
    for n in (100, 800):
        walk(kind(n), document(n // 2), Limits(memory_mb=0.5 + n * 0.007))
    with pytest.raises(LimitExceeded):
        walk(kind(801), document(400), Limits(memory_mb=0.1))


@pytest.mark.parametrize("kind", KINDS)
def test_time_grows_with_the_branches(kind: Callable[[int], dict[str, Any]]) -> None:
    def spent(n: int) -> float:
        begun = time.process_time()
        walk(kind(n), document(n // 2))
        return time.process_time() - begun

    few, many = (min(spent(n + again) for again in range(3)) for n in (150, 1200))
    assert many < 20 * few  # 8 times the branches; it was 70 to 100 times


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("beside", [{}, {"additionalProperties": {"type": ["integer", "string"]}}, {"minProperties": 2}])
def test_masks_are_those_of_few_branches(kind: Callable[[int], dict[str, Any]], beside: dict[str, Any]) -> None:
    """The names that 80 branches list beside those of 20 are all that tells the masks within a branch apart."""
    for text in (b'{"kind":"k7_ab","value7":3}', b'{"value7":3,"kind":"k7_ab"}', b'{"value7":1,"value8":2,"kind":"k8_ab"}'):
        few, many = walk({**kind(20), **beside}, text), walk({**kind(80), **beside}, text)
        assert len(few) == len(many)
        allowed = [np.frombuffer(m, dtype=np.int32) for m in many[:-1]]
        assert all((np.frombuffer(f, dtype=np.int32) & ~m == 0).all() for f, m in zip(few[:-1], allowed, strict=True))
        assert few[-1] == many[-1]
        assert few[-2] == many[-2]


def test_what_no_branch_admits_is_refused() -> None:
    guide = es.json_schema({**by_const(60), "additionalProperties": False})
    assert not guide.matches(b'{"kind":"k7_ab","value7":3}')
    guide = es.json_schema(by_const(60))
    assert guide.matches(b'{"value7":"x","value8":3,"kind":"k8_ab"}')
    assert not guide.matches(b'{"value7":"x","value8":3,"kind":"k7_ab"}')
    assert not guide.matches(b'{"value7":3,"kind":"k8_ab"}')


def test_strings_that_were_there_are_one_list_of_words() -> None:
    """`uniqueItems` of strings: 4 times the items in at most 12 times the time of all masks; it was more than 30 times."""
    schema = {"type": "array", "items": {"type": "string"}, "uniqueItems": True}

    def spent(n: int) -> float:
        text = json.dumps([f"w{i * 7919 % 10007}" for i in range(n)]).encode()
        begun = time.process_time()
        assert len(walk(schema, text[:-1])) == len(text) + 1
        return time.process_time() - begun

    assert min(spent(800), spent(801)) < 12 * max(spent(200), spent(201))
    guide = es.json_schema(schema)
    assert guide.matches(b'["a","b","\\u0063"]')
    assert not guide.matches(b'["a","c","\\u0063"]')


def test_words_less_other_words() -> None:
    """An enumeration beside many words that it may not be, and a length: exactly the words that are left."""
    words = [f"w{i}" for i in range(60)] + ["longer word", 'a"quote']
    banned = [{"not": {"const": w}} for w in words[:40]] + [{"not": {"enum": ["w41", "w43", "never listed"]}}]
    schema = {"enum": words, "allOf": [*banned, {"maxLength": 8}]}
    masks = es.masks(es.json_schema(json.dumps(schema)), BYTES)

    def taken(word: str) -> bool:
        cursor = masks.start(np.zeros(9, dtype=np.int32))
        return all(cursor.commit(byte) for byte in json.dumps(word).encode()) and cursor.accepts()

    left = {w for w in words if taken(w)}
    assert left == set(words[40:]) - {"w41", "w43", "longer word"}
