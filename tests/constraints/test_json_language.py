"""The language of a schema: against the validator, by enumeration, prefix by prefix."""

from __future__ import annotations

import itertools
import json
import random
import time
from typing import Any

import jsonschema
import numpy as np
import pytest

import espalier as es
from espalier.text.vocab import Vocab

NAMES = ["a", "b", "c"]
SCALARS: list[Any] = [None, True, False, 0, 1, 2, -1, 1.5, "", "a", "ab", "1"]


def random_schema(rng: random.Random, depth: int = 2) -> Any:
    if depth == 0 or rng.random() < 0.15:
        return rng.choice(
            [True, False, {"type": "string"}, {"type": "integer"}, {"const": 1}, {"enum": ["a", 1, None]}, {"maxLength": 1}]
        )
    below = lambda: random_schema(rng, depth - 1)  # noqa: E731
    some = lambda: {n: below() for n in rng.sample(NAMES, rng.randint(1, 2))}  # noqa: E731
    keywords: dict[str, Any] = {
        "type": lambda: rng.choice(["object", "array", "string", "number", ["object", "null"], ["array", "integer"]]),
        "properties": some,
        "required": lambda: rng.sample(NAMES, rng.randint(1, 2)),
        "additionalProperties": below,
        "patternProperties": lambda: {"^[ab]$": below()},
        "propertyNames": lambda: rng.choice([{"maxLength": 1}, {"enum": ["a", "c"]}, {"pattern": "^[ab]"}]),
        "minProperties": lambda: rng.randint(0, 2),
        "maxProperties": lambda: rng.randint(0, 2),
        "dependentRequired": lambda: {"a": ["b"]},
        "dependentSchemas": lambda: {"b": below()},
        "items": below,
        "prefixItems": lambda: [below()],
        "contains": below,
        "minContains": lambda: rng.randint(0, 2),
        "maxContains": lambda: rng.randint(1, 2),
        "minItems": lambda: rng.randint(0, 2),
        "maxItems": lambda: rng.randint(0, 2),
        "uniqueItems": lambda: True,
        "minimum": lambda: rng.choice([0, 0.5, 1]),
        "multipleOf": lambda: rng.choice([1, 2, 0.5]),
        "exclusiveMaximum": lambda: rng.choice([1, 2]),
        "minLength": lambda: rng.randint(0, 2),
        "pattern": lambda: rng.choice(["^a", "b$", "[0-9]"]),
        "allOf": lambda: [below(), below()],
        "anyOf": lambda: [below(), below()],
        "oneOf": lambda: [below(), below()],
        "not": below,
        "unevaluatedProperties": below,
        "unevaluatedItems": below,
    }
    chosen = rng.sample(sorted(keywords), rng.randint(1, 4))
    schema = {name: keywords[name]() for name in chosen}
    if rng.random() < 0.1:
        schema |= {"if": below(), "then": below(), "else": below()}
    return schema


def random_value(rng: random.Random, depth: int = 2) -> Any:
    kind = rng.random()
    if depth == 0 or kind < 0.4:
        return rng.choice(SCALARS)
    if kind < 0.7:
        return {n: random_value(rng, depth - 1) for n in rng.sample(NAMES, rng.randint(0, 3))}
    return [random_value(rng, depth - 1) for _ in range(rng.randint(0, 3))]


@pytest.mark.parametrize("seed", range(8))
def test_random_schemas_agree_with_the_validator(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(120):
        schema = random_schema(rng)
        validator = jsonschema.Draft202012Validator(schema)
        values = [random_value(rng) for _ in range(30)]
        guide = es.json_schema(schema)
        try:
            guide.start()
        except es.EspalierError:
            assert not any(validator.is_valid(v) for v in values), schema
            continue
        for value in values:
            assert guide.matches(json.dumps(value).encode()) == validator.is_valid(value), (schema, value)


EXACT: list[tuple[Any, str, int]] = [
    ({"type": "object", "properties": {"a": {"enum": [1, 2]}, "b": False}, "additionalProperties": False}, '{}":,ab12', 7),
    ({"enum": [12, "ab", [1]]}, '12"ab[]', 5),
    ({"type": "array", "items": {"enum": [1, 2]}, "minItems": 1, "maxItems": 2}, "[]12,", 6),
    ({"anyOf": [{"const": 1}, {"type": "array", "prefixItems": [{"const": 2}], "items": False, "minItems": 1}]}, "[]12,", 5),
    ({"allOf": [{"enum": ["aa", "ab", "b"]}, {"pattern": "b"}]}, '"ab', 5),
    (
        {
            "type": "object",
            "required": ["a"],
            "properties": {"a": {"const": 1}},
            "maxProperties": 1,
            "propertyNames": {"enum": ["a", "b"]},
        },
        '{}":ab1',
        8,
    ),
]


@pytest.mark.parametrize(("schema", "alphabet", "length"), EXACT)
def test_a_prefix_is_refused_iff_it_has_no_completion(schema: Any, alphabet: str, length: int) -> None:
    """All texts over a small alphabet: those that match are the valid ones, and every prefix of one is allowed."""
    guide = es.json_schema(schema, whitespace="compact", formats="annotate")
    validator = jsonschema.Draft202012Validator(schema)
    live: set[bytes] = set()
    allowed: set[bytes] = set()
    for n in range(length + 1):
        for letters in itertools.product(alphabet, repeat=n):
            text = "".join(letters).encode()
            if n and text[:-1] not in allowed:
                continue
            state = guide.advance(guide.start(), text)
            if state is None:
                continue
            allowed.add(text)
            if guide.accepts(state):
                assert validator.is_valid(json.loads(text)), text
                live.update(text[:i] for i in range(n + 1))
    for value in [*SCALARS, 12, [1], [2], [1, 2], [1, 1], {"a": 1}, {"a": 2}, {}, "b", "aa"]:
        text = json.dumps(value, separators=(",", ":")).encode()
        assert guide.matches(text) == validator.is_valid(value), text
    longest = max(map(len, live))
    assert longest < length or all(len(text) == length for text in allowed - live), sorted(allowed - live)[:5]
    assert {t for t in allowed if len(t) <= 1} == {t for t in live if len(t) <= 1}
    if longest < length:
        assert allowed == live


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":2}',
        b"[1,]",
        b"01",
        b"+1",
        b"NaN",
        b"'a'",
        b'"\x01"',
        b'"\\ud800"',
        b"tru",
        b'{"a"}',
        b"\xff",
        b'"\xff"',
        b"",
    ],
)
def test_what_is_not_json_is_refused(text: bytes) -> None:
    assert not es.json().matches(text)


@pytest.mark.parametrize("indent", [None, 1, 2, 4, "\t"])
def test_every_usual_layout_is_accepted(indent: Any) -> None:
    value = {"a": [1, {"b": [], "c": {}}, "x\n"], "é": None}
    assert es.json().matches(json.dumps(value, indent=indent).encode())
    assert es.json(whitespace="pretty").matches(json.dumps(value, indent=indent).encode()) == (indent == 2)
    assert es.json(whitespace="compact").matches(json.dumps(value, separators=(",", ":")).encode())


def test_strict_order() -> None:
    schema = {"properties": {"a": {}, "b": {}}, "type": "object"}
    strict = es.json_schema(schema, order="strict")
    assert strict.matches(b'{"a": 1, "b": 2, "z": 3}')
    assert not strict.matches(b'{"b": 1, "a": 2}')
    assert es.json_schema(schema).matches(b'{"b": 1, "a": 2}')


def test_the_mask_does_not_offer_the_end_of_a_repeated_object():
    vocab = Vocab([bytes([b]) for b in range(256)] + [None], end=[256])
    guide = es.json_schema({"type": "array", "uniqueItems": True, "items": {"type": "object"}})
    words = np.zeros(9, dtype=np.int32)
    cursor = es.masks(guide, vocab).start(words)
    for byte in b'[{"a": 1}, {"a": 1':
        assert cursor.commit(byte)
    cursor.fill()
    assert not words[ord("}") >> 5] >> (ord("}") & 31) & 1
    assert words[ord("0") >> 5] >> (ord("0") & 31) & 1


def _branches(kind: str, count: int) -> dict[str, Any]:
    """A oneOf (or a chain of if and then) whose branches are told apart by the member `k`."""
    tests = {
        "const": lambda i: {"const": f"k{i}"},
        "pattern": lambda i: {"type": "string", "pattern": f"^k{i}-[a-z]*$"},
        "range": lambda i: {"type": "integer", "minimum": 10 * i, "maximum": 10 * i + 9},
    }
    if kind == "if":
        links = [{"if": {"properties": {"k": {"const": f"k{i}"}}}, "then": {"required": [f"v{i}"]}} for i in range(count)]
        return {"type": "object", "required": ["k"], "allOf": links}
    test = tests[kind]
    return {
        "oneOf": [
            {"type": "object", "properties": {"k": test(i), f"v{i}": {"type": "integer"}}, "required": ["k", f"v{i}"]}
            for i in range(count)
        ]
    }


@pytest.mark.parametrize("kind", ["const", "pattern", "range", "if"])
def test_many_branches_told_apart_by_one_member(kind: str) -> None:
    key = {"const": lambda i: f"k{i}", "pattern": lambda i: f"k{i}-a", "range": lambda i: 10 * i + 3, "if": lambda i: f"k{i}"}[
        kind
    ]
    count = 60
    schema = _branches(kind, count)
    begun = time.process_time()
    guide = es.json_schema(schema)
    judge = jsonschema.Draft202012Validator(schema)
    documents = [{"k": key(i), f"v{j}": 1} for i, j in [(0, 0), (7, 7), (7, 8), (59, 59), (60, 60), (3, 2)]]
    documents += [
        {"v7": 1, "k": key(7)},
        {"v7": "x", "k": key(7)},
        {"k": key(7)},
        {"k": "other"},
        {"v7": 1, "v8": 2, "k": key(8)},
    ]
    for document in documents:
        assert guide.matches(json.dumps(document).encode()) == judge.is_valid(document), document
    assert time.process_time() - begun < 10


def test_branches_that_overlap_are_not_taken_for_apart() -> None:
    tests: list[dict[str, Any]] = [{"type": "string", "pattern": f"^ab{i}"} for i in range(8)]
    for extra in ({"type": "string", "pattern": "^ab1x"}, {"type": "string", "pattern": "^ab"}, {"enum": ["ab5", "q"]}):
        schema = {"oneOf": [{"required": ["k"], "properties": {"k": test}} for test in [*tests, extra]]}
        try:
            guide = es.json_schema(schema)
            matched = [guide.matches(json.dumps({"k": text}).encode()) for text in ("ab1x", "ab1", "ab5", "ab9", "q")]
        except es.EspalierError:
            continue  # too many combinations: said, not guessed
        judge = jsonschema.Draft202012Validator(schema)
        assert matched == [judge.is_valid({"k": text}) for text in ("ab1x", "ab1", "ab5", "ab9", "q")]
