"""Drafts 4 to 2020-12: a keyword says something where the draft that `$schema` names knows it, and nowhere else."""

from __future__ import annotations

import json
import random
from typing import Any

import jsonschema
import pytest

import espalier as es

DRAFTS: dict[str, Any] = {
    "http://json-schema.org/draft-04/schema#": jsonschema.Draft4Validator,
    "http://json-schema.org/draft-06/schema#": jsonschema.Draft6Validator,
    "http://json-schema.org/draft-07/schema#": jsonschema.Draft7Validator,
    "https://json-schema.org/draft/2019-09/schema": jsonschema.Draft201909Validator,
    "https://json-schema.org/draft/2020-12/schema": jsonschema.Draft202012Validator,
}
KEYWORDS: list[dict[str, Any]] = [
    {"const": 1},
    {"contains": {"type": "string"}},
    {"propertyNames": {"maxLength": 1}},
    {"if": {"type": "object"}, "then": {"required": ["a"]}, "else": {"maximum": 1}},
    {"dependentRequired": {"a": ["b"]}},
    {"dependentSchemas": {"a": {"maxProperties": 1}}},
    {"unevaluatedProperties": False, "properties": {"a": {}}},
    {"unevaluatedItems": {"type": "integer"}},
    {"contains": {"type": "integer"}, "minContains": 2, "maxContains": 2},
    {"prefixItems": [{"type": "string"}, {"type": "integer"}]},
    {"items": {"type": "integer"}},
    {"$ref": "#/definitions/a", "maximum": 0, "definitions": {"a": {"type": ["integer", "object"]}}},
    {"type": "integer"},
    {"properties": {"a": {"not": {"enum": [1, "x"]}}, "bb": {"type": "array", "uniqueItems": True}}},
]
OLD = [  # spellings that later drafts gave up
    {"minimum": 1, "exclusiveMinimum": True, "maximum": 2, "exclusiveMaximum": False},
    {"items": [{"type": "string"}], "additionalItems": False},
    {"dependencies": {"a": ["b"], "bb": {"maxProperties": 1}}},
    {"id": "http://x.test/root.json", "definitions": {"n": {"id": "#n", "type": "integer"}}, "items": {"$ref": "#n"}},
    {"id": "http://x.test/d/", "items": {"$ref": "e.json"}, "definitions": {"e": {"id": "e.json", "type": "string"}}},
]
VALUES: list[Any] = [None, True, 0, 1, 1.0, 1.5, 2, 3, "", "x", [], [1], ["x"], ["x", 1], ["x", "y"], [1, 1], [1, 1, 1], {}]
VALUES += [{"a": 1}, {"a": 1, "b": 2}, {"bb": 1}, {"a": "x"}, {"bb": [1, 1.0]}, {"bb": [], "c": 1}, {"é": 1}]


def agree(schema: dict[str, Any], validator: Any) -> None:
    guide = es.json_schema(schema)
    for value in VALUES:
        text = json.dumps(value, ensure_ascii=False)
        assert guide.matches(text.encode()) == validator(schema).is_valid(value), (schema, text)


@pytest.mark.parametrize("draft", DRAFTS)
def test_keywords_count_in_the_drafts_that_know_them(draft: str) -> None:
    draws = random.Random(draft)
    for keyword in KEYWORDS:
        agree({"$schema": draft, **keyword}, DRAFTS[draft])
    for _ in range(40):
        some = [k for k in draws.sample(KEYWORDS, 2) if "$ref" not in k]
        agree({"$schema": draft, draws.choice(["allOf", "anyOf", "oneOf"]): some or [{}]}, DRAFTS[draft])


@pytest.mark.parametrize("schema", OLD)
def test_older_spellings(schema: dict[str, Any]) -> None:
    draft = "http://json-schema.org/draft-04/schema#"
    agree({"$schema": draft, **schema}, DRAFTS[draft])


def test_a_later_draft_may_refer_to_an_older_one() -> None:
    old = {"$schema": "https://json-schema.org/draft/2019-09/schema", "prefixItems": [{"type": "string"}]}
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$ref": "http://x.test/old", "type": "array"}
    assert es.json_schema(schema, registry={"http://x.test/old": old}).matches(b"[1, 2]")


def test_explanations_know_the_draft() -> None:
    said = {
        k.where: (k.treatment, k.why) for k in es.explain({"$schema": next(iter(DRAFTS)), "if": {"const": 1}, "type": "null"})
    }
    assert said["#/if"][0] == "annotation"
    assert "draft-04" in said["#/if"][1]
    assert said["#/type"] == ("enforced", "")
    assert "#/if/const" not in said
    beside = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$ref": "#/definitions/a",
        "maximum": 3,
        "definitions": {"a": True},
    }
    assert {k.keyword: k.treatment for k in es.explain(beside)}["maximum"] == "annotation"
    assert {k.keyword: k.treatment for k in es.explain({**beside, "$schema": list(DRAFTS)[3]})}["maximum"] == "enforced"


@pytest.mark.parametrize(
    "schema",
    [
        {"not": {"uniqueItems": True}},
        {"anyOf": [{"uniqueItems": True}, {"minItems": 3}]},
        {"oneOf": [{"uniqueItems": True}, {"maxItems": 1}]},
        {"if": {"uniqueItems": True}, "then": {"maxItems": 1}},
        {"properties": {"bb": {"not": {"type": "array", "uniqueItems": True}}}},
    ],
)
def test_items_may_be_equal_where_the_schema_does_not_insist(schema: dict[str, Any]) -> None:
    agree(schema, jsonschema.Draft202012Validator)
