"""Mistakes in a schema are told when its guide is made, with the place."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

import espalier as es
from espalier.errors import InvalidInput


@pytest.mark.parametrize(
    ("schema", "place", "why"),
    [
        ({"properties": {"a": {"items": {"pattern": "(a"}}}}, "#/properties/a/items/pattern", "without its ')'"),
        ({"properties": {"a": {"pattern": "(x)\\1"}}}, "#/properties/a/pattern", "back-references are not regular"),
        ({"patternProperties": {"[": True}}, "#/patternProperties/", "without its ']'"),
        ({"anyOf": [True, {"$ref": "#/$defs/none"}]}, "#/anyOf/1", "nothing stands there"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#gone"}}}}, "#/$defs/a/items", "nothing stands there"),
        ({"properties": {"a": {"$ref": "https://x.test/s"}}}, "#/properties/a", 'registry={"https://x.test/s": schema}'),
        ({"not": {"$ref": "#/%zz"}}, "#/not", "nothing stands there"),
        ({"then": {"$dynamicRef": "#n"}, "if": True}, "#/then", "nothing stands there"),
        ("[1]", "#", "a schema is an object, true or false"),
        ({"$ref": "#/$defs/a", "$defs": {"a": 3}}, "#/$defs/a", "a schema is an object, true or false"),
    ],
)
def test_told_at_once(schema: Any, place: str, why: str) -> None:
    with pytest.raises(InvalidInput) as told:
        es.json_schema(schema)
    assert place in str(told.value)
    assert why in str(told.value)


def test_a_mistake_in_a_remote_schema_is_told_too() -> None:
    with pytest.raises(InvalidInput, match="without its ']'"):
        es.json_schema({"$ref": "https://x.test/s"}, registry={"https://x.test/s": {"items": {"pattern": "[a"}}})


@pytest.mark.parametrize(
    "schema",
    [
        {"$defs": {"unused": {"$ref": "#/nowhere"}}, "type": "string"},
        {"enum": [{"$ref": "#/nowhere"}, {"pattern": "("}]},
        {"properties": {"$ref": {"type": "string"}, "pattern": {"const": "("}}},
        {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "$ref": "#/definitions/a",
            "pattern": "(",
            "definitions": {"a": {}},
        },
        {"items": {"$ref": "#"}, "type": "array"},
    ],
)
def test_what_is_never_reached_is_no_mistake(schema: Any) -> None:
    es.json_schema(schema).start()


def test_a_schema_of_a_megabyte_is_checked_quickly() -> None:
    part = {"type": "object", "properties": {f"name{i}": {"type": "string", "pattern": "^[a-z]{1,9}$"} for i in range(40)}}
    schema = {
        "properties": {f"p{i}": {"$ref": f"#/$defs/d{i}"} for i in range(450)},
        "$defs": {f"d{i}": part for i in range(450)},
    }
    text = json.dumps(schema)
    assert len(text) > 1_000_000
    before = time.process_time()
    es.json_schema(text)
    assert time.process_time() - before < 1.0


@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        ("properties", ([], {"a": 5})),
        ("required", ("a", [1], True)),
        ("items", (5, [5])),
        ("prefixItems", ({}, [5])),
        ("additionalProperties", ("no",)),
        ("uniqueItems", ("yes", 1)),
        ("dependentRequired", ({"a": "b"}, [])),
        ("dependencies", ({"a": 5},)),
        ("format", (5,)),
        ("contains", (5, [])),
        ("if", (5,)),
        ("minContains", ("1", -1, 0.5)),
        ("maxLength", (-1, 1.5, "3")),
        ("minimum", ("3", None, True)),
        ("multipleOf", (0, -2, "2")),
        ("enum", ("a", {})),
        ("type", (5, "strin", ["string", "txt"], [5])),
        ("anyOf", ([], {}, [5])),
        ("pattern", (5,)),
        ("$id", (5,)),
    ],
)
def test_the_value_of_a_keyword_is_of_its_kind(keyword: str, values: tuple[Any, ...]) -> None:
    for value in values:
        with pytest.raises(InvalidInput, match=re.escape(f"#/properties/x/{keyword}")):
            es.json_schema({"properties": {"x": {keyword: value}}})
    for unread in (
        {"enum": [{keyword: values[0]}]},
        {"properties": {keyword: True}},
        {"$defs": {"unused": {keyword: values[0]}}},
    ):
        es.json_schema(unread)
