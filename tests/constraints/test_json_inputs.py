"""Schemas as Python types, explanations, limits."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
import random
import time
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pydantic
import pytest

import espalier as es
from espalier.constraints import parse
from espalier.errors import InvalidInput, LimitExceeded, Unsatisfiable


class Colour(enum.Enum):
    RED = "red"
    NUMBER = 2


@dataclasses.dataclass
class Person:
    name: str
    age: int
    born: datetime.date | None = None
    colour: Colour = Colour.RED
    friends: list[Person] = dataclasses.field(default_factory=list)


class Model(pydantic.BaseModel):
    name: str = pydantic.Field(max_length=3)
    scores: list[int]


Small = Annotated[int, pydantic.Field(ge=1, le=9), "words about it"]


@dataclasses.dataclass
class Bounded:
    level: Small
    note: Annotated[str, "only words"]


class Point(TypedDict):
    x: int
    label: NotRequired[str]


def call(city: str, days: int = 1) -> None: ...


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Person, '{"name": "A", "age": 3, "born": "2020-02-29"}', Person("A", 3, datetime.date(2020, 2, 29))),
        (Person, '{"name": "A", "age": 3, "friends": [{"name": "B", "age": 1}]}', Person("A", 3, friends=[Person("B", 1)])),
        (Model, '{"name": "abc", "scores": [1]}', Model(name="abc", scores=[1])),
        (Point, '{"x": 1}', {"x": 1}),
        (Colour, "2", Colour.NUMBER),
        (Literal["a", "b"], '"b"', "b"),
        (call, '{"city": "Rome"}', {"city": "Rome"}),
        (tuple[int, str], '[1, "a"]', (1, "a")),
        (dict[str, float], '{"a": 1}', {"a": 1.0}),
        (set[int], "[1, 2]", {1, 2}),
        (Small, "5", 5),
        (list[Small], "[9, 1]", [9, 1]),
        (Bounded, '{"level": 4, "note": "x"}', Bounded(4, "x")),
        (Annotated[list[Model], pydantic.Field(max_length=1)], '[{"name": "a", "scores": []}]', [Model(name="a", scores=[])]),
    ],
)
def test_values_of_python_types(kind: Any, text: str, value: Any) -> None:
    assert parse(kind, text) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Small, "10"),
        (list[Small], "[3, 10]"),
        (Bounded, '{"level": 10, "note": "x"}'),
        (Person, '{"name": "A"}'),
        (Model, '{"name": "abcd", "scores": []}'),
        (Point, '{"x": 1, "y": 2}'),
        (call, "{}"),
    ],
)
def test_values_that_do_not_fit_are_refused(kind: Any, text: str) -> None:
    with pytest.raises(InvalidInput):
        parse(kind, text)


def test_explain_leaves_nothing_out() -> None:
    schema = {
        "oneOf": [{"format": "uri"}, {"format": "x"}],
        "title": "T",
        "uniqueItems": True,
        "items": {"minimum": 1, "foo": 2},
    }
    said = {k.where: k.treatment for k in es.explain(schema)}
    assert said == {
        "#/oneOf": "approximated",
        "#/oneOf/0/format": "enforced",
        "#/oneOf/1/format": "annotation",
        "#/title": "annotation",
        "#/uniqueItems": "approximated",
        "#/items": "enforced",
        "#/items/minimum": "enforced",
        "#/items/foo": "annotation",
    }
    assert es.json_schema(schema).exactness == "over"
    assert es.json_schema({"items": {"minimum": 1}}).exactness == "exact"


@pytest.mark.parametrize(
    ("schema", "names"),
    [
        ({"minimum": float("nan")}, "NaN"),
        ("{", "line 1"),
        ('{"minimum": NaN}', "NaN"),
        ({"type": "strin"}, "#/type"),
        ({"properties": {"a": {"pattern": "("}}, "required": ["a"]}, "#/properties/a/pattern"),
        ({"$ref": "#/$defs/x"}, "#/$defs/x"),
        ({"$ref": "http://nowhere/x"}, "registry"),
        ({"multipleOf": 0}, "#/multipleOf"),
        ({"allOf": [{"$ref": "#"}]}, "itself"),
        ("[" * 5000, "deeper"),
    ],
)
def test_errors_name_the_place(schema: Any, names: str) -> None:
    with pytest.raises(InvalidInput) as error:
        [es.json_schema(schema).matches(text) for text in (b'{"a": "x"}', b"1", b'"x"')]
    assert names in str(error.value)


def test_large_things() -> None:
    words = [f"word-{i}" for i in range(10_000)]
    guide = es.json_schema({"enum": words})
    assert guide.matches(b'"word-9999"')
    assert not guide.matches(b'"word-10000"')
    large = {"type": "object", "properties": {f"p{i}": {"type": "string", "description": "d" * 80} for i in range(8000)}}
    assert len(json.dumps(large)) > 1_000_000
    begun = time.process_time()
    assert es.json_schema(large).matches(b'{"p7999": "x", "p1": "y"}')
    assert not es.json_schema(large).matches(b'{"p7999": 1}')
    assert time.process_time() - begun < 20


def test_documents_may_be_deep() -> None:
    depth = 10_000
    assert es.json().matches(b"[" * depth + b"]" * depth)
    assert not es.json().matches(b"[" * depth + b"]" * (depth - 1))


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"minimum": 1e400 if False else 10**400}, str(10**400), str(10**400 - 1)),
        ({"const": 10**399 + 1}, str(10**399 + 1), str(10**399)),
        ('{"maximum": 1e400}', "1" + "0" * 400, "1" + "0" * 401),
        ({"multipleOf": 0.01}, "19.99", "19.999"),
        ({"multipleOf": 7}, "49.0", "50"),
        ({"type": "integer"}, "1.0", "1.5"),
        ({"exclusiveMinimum": -0.5}, "-0.49", "-5e-1"),
    ],
)
def test_numbers_are_exact(schema: Any, good: str, bad: str) -> None:
    guide = es.json_schema(schema)
    assert guide.matches(good.encode())
    assert not guide.matches(bad.encode())


def test_a_limit_is_an_error_and_not_a_wait() -> None:
    pattern = "^[uv]*u[uv]{14}$"  # a state for each of the last 15 letters; expressions of other tests cost nothing any more
    text = b'"' + bytes(random.Random(0).choices(b"uv", k=200)) + b'"'
    with pytest.raises(LimitExceeded):
        es.json_schema({"pattern": pattern}, limits=es.Limits(states=100)).matches(text)


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|a)*$", "^(a|b)*a(a|b){400}$", "(a*)*b"])
def test_catastrophic_patterns_are_read_in_linear_time(pattern: str) -> None:
    begun = time.process_time()
    assert not es.json_schema({"type": "string", "pattern": pattern}).matches(b'"' + b"a" * 5000 + b'!"')
    assert time.process_time() - begun < 10


def test_what_is_made_of_a_schema_is_as_exact_as_the_schema() -> None:
    over, exact = es.json_schema({"items": {"type": "string"}, "uniqueItems": True}), es.json_schema({"type": "array"})
    word = es.regex("x")
    assert (over | word).exactness == (word + over).exactness == over.repeat(1, 2).exactness == over.exactness == "over"
    assert (exact | word).exactness == (word + exact).exactness == exact.repeat(1, 2).exactness == exact.exactness == "exact"


def test_zeros_come_to_an_end() -> None:
    for schema in ({"type": "integer"}, {"minimum": 1, "maximum": 9, "type": "integer"}, {"multipleOf": 0.5}, {"enum": [5]}):
        guide = es.json_schema(schema)
        assert guide.matches(b"5")
        assert guide.matches(b"5.000000")
        assert not guide.matches(b"5." + b"0" * 40)
        state = guide.advance(guide.start(), b"5.000000")
        assert guide.accepts(state)
        assert guide.advance(state, b"0") is None or schema == {"multipleOf": 0.5}  # decided when the number ends
    for denied in ({"not": {"type": "integer"}}, {"not": {"maximum": 5}, "type": "number"}, {"not": {"const": 5}}):
        for text in (b"5.0", b"5.000000", b"5.0000000", b"5.00000000000", b"5e0", b"5e00", b"5e000", b"5e0000"):
            assert not es.json_schema(denied).matches(text), (denied, text)


def test_many_branches_that_a_number_tells_apart() -> None:
    branches = [{"properties": {"k": {"const": i}, "v": {"type": ["string", "null"]}}, "required": ["k"]} for i in range(60)]
    guide = es.json_schema({"oneOf": branches})
    for good in (b'{"k": 59, "v": "a"}', b'{"v": null, "k": 7.0}', b'{"w": 1, "k": 3}'):
        assert guide.matches(good)
    for bad in (b'{"k": 60}', b'{"v": 1, "k": 3}', b'{"v": "a"}'):
        assert not guide.matches(bad)


def test_names_and_words_that_no_text_can_hold() -> None:
    with pytest.raises(Unsatisfiable):
        es.json_schema(r'{"type": "object", "required": ["\ud800"]}').start()
    guide = es.json_schema(r'{"properties": {"a\ud800": {}}, "additionalProperties": false}')
    assert guide.advance(guide.start(), b'{"') is None
    assert not es.json_schema(r'{"enum": ["a", "a\ud800"]}').matches(b'"a\xed\xa0\x80"')
    for text in (b'{"const": "\xff"}', '{"const": "\udcff"}'):
        with pytest.raises(InvalidInput, match="not UTF-8"):
            es.json_schema(text)
