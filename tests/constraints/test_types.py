"""Python types under a schema: each form is read as what it means, or refused with the type, the member and a way out."""

# ruff: noqa: UP006, E501
from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import functools
import ipaddress
import pathlib
import pickle
import random
import typing
import uuid
from collections.abc import Callable
from typing import Annotated, Any, Dict, Generic, List, Literal, NamedTuple, NewType, Optional, Tuple, TypeVar, Union  # noqa: UP035

import attrs
import msgspec
import pydantic
import pytest
import typing_extensions

import espalier as es
from espalier.constraints import parse
from espalier.constraints.schema.schema import Schema
from espalier.errors import EspalierError, InvalidInput, RefusedValue

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Step(enum.Enum):
    A = (1, 1)
    B = (1, 2)


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Day(enum.Enum):
    FIRST = datetime.date(2024, 1, 1)


class Pair(NamedTuple):
    x: int
    y: str = "a"


class Old(typing.TypedDict):
    a: int


class New(typing_extensions.TypedDict):
    a: int
    b: typing_extensions.NotRequired[str]


@dataclasses.dataclass
class Box(Generic[T]):
    item: T


@dataclasses.dataclass
class Init:
    a: int
    b: dataclasses.InitVar[int]
    c: int = dataclasses.field(init=False, default=3)

    def __post_init__(self, b: int) -> None:
        self.s = b


@dataclasses.dataclass
class Holder:
    old: Old
    steps: dict[str, Step] | None = None
    many: typing.Iterable[int] = ()


@attrs.define
class Leaf:
    _hidden: int
    of: Optional[Leaf] = None  # noqa: UP045


class Struct(msgspec.Struct, rename="camel"):
    first_name: str
    age: Annotated[int, msgspec.Meta(ge=0, le=150)] = 3
    inner: Optional[Struct] = None  # noqa: UP045


class Cat(msgspec.Struct, tag="cat"):
    lives: int


class Dog(msgspec.Struct, tag="dog"):
    lives: int


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(strict=True)
    day: datetime.date
    kind: Literal[Colour.RED]
    price: decimal.Decimal = decimal.Decimal(1)


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    a: int = pydantic.Field(alias="A")


class Method:
    def call(self, city: str, days: int = 1) -> None: ...

    @classmethod
    def made(cls, city: str) -> None: ...


def tree() -> Any:
    @dataclasses.dataclass
    class Node:
        v: int
        next: Optional[Node] = None  # noqa: UP045

    return Node


D = decimal.Decimal
UTC = datetime.UTC
Node = tree()
WORKS: list[tuple[Any, str, Any, str]] = [  # type, a text, its value, a text that is none
    (List, '[1,"a"]', [1, "a"], "{}"),
    (Dict, '{"a":1}', {"a": 1}, "[]"),
    (Tuple, "[1,2]", (1, 2), "{}"),
    (tuple, "[1]", (1,), "1"),
    (tuple[()], "[]", (), "[1]"),
    (set, "[1,2]", {1, 2}, "[1,1]"),
    (frozenset[str], '["a"]', frozenset({"a"}), "[1]"),
    (Literal[Colour.RED], '"red"', Colour.RED, '"blue"'),
    (Literal[Step.B, 4], "[1,2]", Step.B, "[1,1]"),
    (Step, "[1,1]", Step.A, "[1]"),
    (Day, '"2024-01-01"', Day.FIRST, '"2024-01-02"'),
    (Level, "2", Level.HIGH, "3"),
    (Level, "2.0", Level.HIGH, '"2"'),
    (New, '{"a":1,"b":"x"}', {"a": 1, "b": "x"}, '{"a":1,"c":1}'),
    (Old, '{"a":1}', {"a": 1}, "{}"),
    (list[Old], '[{"a":1}]', [{"a": 1}], '[{"a":"x"}]'),
    (Pair, '[1,"b"]', Pair(1, "b"), '{"x":1}'),
    (typing.Iterable[int], "[1,2]", [1, 2], '["a"]'),
    (collections.abc.Collection[int], "[1]", [1], '["a"]'),
    (collections.abc.Sequence[int], "[1]", [1], '["a"]'),
    (NewType("Id", int), "7", 7, '"7"'),
    (Box[int], '{"item":1}', Box(1), '{"item":"a"}'),
    (Box[Old], '{"item":{"a":1}}', Box({"a": 1}), '{"item":{"a":"a"}}'),
    (dict[Literal["a", "b"], int], '{"a":1}', {"a": 1}, '{"c":1}'),
    (dict[Literal["a", 1], int], '{"1":1}', {1: 1}, '{"2":1}'),
    (dict[Colour, int], '{"red":1}', {Colour.RED: 1}, '{"green":1}'),
    (dict[Level, int], '{"1":1}', {Level.LOW: 1}, '{"3":1}'),
    (tuple[Level, dict[Level, int]], '[1,{"1":1}]', (Level.LOW, {Level.LOW: 1}), '[1,{"one":1}]'),
    (dict[int, str], '{"12":"a"}', {12: "a"}, '{"a":"a"}'),
    (dict[Annotated[int, pydantic.Field(ge=0, lt=3)], str], '{"2":"a"}', {2: "a"}, '{"3":"a"}'),
    (dict[bool, int], '{"true":1}', {True: 1}, '{"yes":1}'),
    (dict[datetime.date, int], '{"2024-01-01":1}', {datetime.date(2024, 1, 1): 1}, '{"x":1}'),
    (dict[uuid.UUID, int], f'{{"{uuid.UUID(int=1)}":1}}', {uuid.UUID(int=1): 1}, '{"x":1}'),
    (datetime.timedelta, '"P3DT4H"', datetime.timedelta(days=3, hours=4), '"3 days"'),
    (datetime.datetime, '"2024-01-01t00:00:00z"', datetime.datetime(2024, 1, 1, tzinfo=UTC), '"1990-12-31T23:59:60Z"'),
    (datetime.time, '"12:00:00z"', datetime.time(12, tzinfo=UTC), '"23:59:60Z"'),
    (datetime.date, '"2024-02-29"', datetime.date(2024, 2, 29), '"0000-01-01"'),
    (pydantic.NaiveDatetime, '"2024-02-28T10:00:00"', datetime.datetime(2024, 2, 28, 10), '"2024-02-28T10:00:00Z"'),
    (bytes, '"ab"', b"ab", "1"),
    (pydantic.Base64Bytes, '"YWI="', b"ab", '"a"'),
    (pathlib.Path, '"a/b"', pathlib.Path("a/b"), "1"),
    (ipaddress.IPv4Address, '"1.2.3.4"', ipaddress.IPv4Address("1.2.3.4"), '"1.2.3"'),
    (ipaddress.IPv4Network, '"10.0.0.0/9"', ipaddress.IPv4Network("10.0.0.0/9"), '"10.1.0.0/9"'),
    (pydantic.HttpUrl, '"https://example.org/a?b=1"', pydantic.HttpUrl("https://example.org/a?b=1"), '"ftp://example.org"'),
    (pydantic.AnyUrl, '"mailto:a@b.c"', pydantic.AnyUrl("mailto:a@b.c"), '"x"'),
    (pydantic.UUID4, f'"{uuid.UUID(int=1 << 64, version=4)}"', uuid.UUID(int=1 << 64, version=4), f'"{uuid.UUID(int=1)}"'),
    (D, "0.12345678901234567890123", D("0.12345678901234567890123"), '"1"'),
    (pydantic.condecimal(max_digits=4, decimal_places=2), "12.34", D("12.34"), "123.4"),
    (pydantic.condecimal(max_digits=3), "0.001", D("0.001"), "12.34"),
    (pydantic.condecimal(ge=D("0.1"), le=D("0.3")), "0.2", D("0.2"), "0.4"),
    (dict[str, list[D]], '{"a":[1.50,2]}', {"a": [D("1.50"), D(2)]}, '{"a":["x"]}'),
    (int | float, "2.0", 2, '"2"'),
    (Union[str, D], "1.10", D("1.10"), "true"),  # noqa: UP007
    (Init, '{"a":1,"b":2}', Init(1, 2), '{"a":1,"b":2,"c":3}'),
    (Holder, '{"old":{"a":1},"many":[1]}', Holder({"a": 1}, None, [1]), '{"old":{}}'),
    (Holder, '{"old":{"a":1},"steps":null}', Holder({"a": 1}), '{"old":{"a":1},"x":1}'),
    (Node, '{"v":1,"next":{"v":2}}', Node(1, Node(2)), '{"v":1,"next":{}}'),
    (list[Node], '[{"v":1}]', [Node(1)], "[{}]"),
    (Leaf, '{"hidden":1,"of":{"hidden":2}}', Leaf(1, Leaf(2)), '{"_hidden":1}'),
    (Struct, '{"firstName":"A","inner":{"firstName":"B"}}', Struct("A", 3, Struct("B")), '{"firstName":"A","age":-1}'),
    (Cat | Dog, '{"type":"dog","lives":2}', Dog(2), '{"lives":2}'),
    (
        Strict,
        '{"day":"2024-01-01","kind":"red","price":1.10}',
        Strict(day=datetime.date(2024, 1, 1), kind=Colour.RED, price=D("1.10")),
        '{"day":1}',
    ),
    (Open, '{"A":1,"more":2}', Open(A=1, more=2), '{"a":1}'),
    (Method.call, '{"city":"Rome"}', {"city": "Rome"}, '{"self":1,"city":"Rome"}'),
    (Method().call, '{"city":"Rome"}', {"city": "Rome"}, "{}"),
    (Method.made, '{"city":"Rome"}', {"city": "Rome"}, "{}"),
    (functools.partial(Method.call, None), '{"city":"Rome"}', {"city": "Rome"}, "{}"),
    (functools.partial(Method.call, None, city="Rome"), "{}", {}, '{"town":1}'),
    (pydantic.TypeAdapter(list[int]), "[1]", [1], '["a"]'),
    (Annotated[int, "words"], "1", 1, "1.5"),
    (None, "null", None, "1"),
    (Any, "[1.5]", [1.5], "["),
]


@pytest.mark.parametrize(("kind", "text", "value", "other"), WORKS)
def test_forms_of_types(kind: Any, text: str, value: Any, other: str) -> None:
    guide = es.json_schema(kind)
    assert guide.matches(text.encode())
    found = parse(kind, text)
    assert (found, type(found)) == (value, type(value))
    assert str(found) == str(value)
    assert not guide.matches(other.encode())


class Plain: ...


@dataclasses.dataclass
class Person:
    name: str
    pet: Plain


@dataclasses.dataclass
class House:
    people: list[Person]


def missing() -> Any:
    @dataclasses.dataclass
    class Lost:
        v: Nowhere  # type: ignore[name-defined]  # noqa: F821

    return Lost


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Plain, ["Plain", "dataclass"]),
        (Person, ["Person.pet", "Plain"]),
        (House, ["House.people[0].pet", "Plain"]),
        (Callable[[int], int], ["Callable", "WithJsonSchema"]),
        (type[int], ["type[int]", "Literal"]),
        (dict[tuple[int, int], int], ["dict[tuple[int, int], int]", "dict[str, …]"]),
        (dict[Step, int], ["Step", "dict[str, …]"]),
        (pydantic.Json[int], ["Json", "inner type"]),
        (pydantic.FilePath, ["pathlib.Path"]),
        (missing(), ["Lost", "Nowhere"]),
        (lambda *args: None, ["*args"]),
        (5, ["5", "dataclass"]),
        ([int], ["dataclass"]),
    ],
)
def test_types_without_a_form_are_refused_when_the_guide_is_made(kind: Any, words: list[str]) -> None:
    with pytest.raises(InvalidInput) as error:
        es.json_schema(kind)
    for word in words:
        assert word in str(error.value)


def test_two_types_of_one_name_are_two_definitions() -> None:
    one, two = pydantic.create_model("Item", sku=(int, ...)), pydantic.create_model("Item", title=(str, ...))
    guide = es.json_schema(dict[str, one | two])
    assert guide.matches(b'{"a":{"title":"x"},"b":{"sku":1}}')
    assert not guide.matches(b'{"a":{"title":1}}')
    assert type(parse(one | two, '{"title":"x"}')) is two
    structs = [msgspec.defstruct("Item", [(name, int)]) for name in ("a", "b")]
    assert parse(tuple[structs[0], structs[1]], '[{"a":1},{"b":2}]') == (structs[0](1), structs[1](2))


def test_what_a_class_refuses_is_an_error_with_text_and_cause() -> None:
    class Big(pydantic.BaseModel):
        a: int

        @pydantic.field_validator("a")
        @classmethod
        def check(cls, v: int) -> int:
            if v < 200:
                raise ValueError("too small")
            return v

    with pytest.raises(EspalierError) as error:
        parse(Big, '{"a":5}')
    assert isinstance(error.value, RefusedValue)
    assert (error.value.text, type(error.value.cause)) == ('{"a":5}', pydantic.ValidationError)
    assert '{"a":5}' in str(error.value)
    assert "too small" in str(error.value)


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "integer"}, "11.000000", 11),
        ({"type": "integer"}, "9.007199254740993e15", 9007199254740993),
        ({"type": "integer"}, "1e300", 10**300),
        ({"type": "number"}, "2.0", 2.0),
        ({"type": ["integer", "string"]}, "2.0", 2),
        ({"properties": {"n": {"type": "integer"}}}, '{"n":148.0,"m":148.0}', {"n": 148, "m": 148.0}),
        ({"items": {"anyOf": [{"type": "string"}, {"type": "integer", "minimum": 9}, {"type": "number"}]}}, "[9.0,8.0]", [9, 8.0]),
        ({"$defs": {"k": {"type": "integer"}}, "additionalProperties": {"$ref": "#/$defs/k"}}, '{"x":1.0}', {"x": 1}),
        ({"patternProperties": {"^n": {"type": "integer"}}}, '{"n":1.0,"m":1.0}', {"n": 1, "m": 1.0}),
        ({"prefixItems": [{"type": "integer"}], "items": {"type": "number"}}, "[1.0,1.0]", [1, 1.0]),
        ({"enum": [1, 2.5, "1.0"]}, "1.0", 1),
        ({"items": {"if": {"minimum": 5}, "then": {"type": "integer"}}}, "[7.0,2.0]", [7, 2.0]),
        ({"oneOf": [{"properties": {"k": {"const": "i"}, "v": {"type": "integer"}}, "required": ["k"]},
                    {"properties": {"k": {"const": "f"}, "v": {"type": "number"}}, "required": ["k"]}]},
         '{"k":"f","v":3.0}', {"k": "f", "v": 3.0}),
        ({"$id": "https://example.org/s", "$defs": {"k": {"$anchor": "i", "type": "integer"}}, "items": {"$ref": "#i"}}, "[3.0]", [3]),
    ],
)  # fmt: skip
def test_an_integer_is_read_as_an_int(schema: Any, text: str, value: Any) -> None:
    found = parse(schema, text)
    assert repr(found) == repr(value)


def sampled(guide: es.Guide, rng: random.Random, letters: bytes) -> str | None:
    """A text of the set, drawn byte by byte."""
    state, text = guide.start(), b""
    for _ in range(120):
        if guide.accepts(state) and rng.random() < 0.3:
            return text.decode()
        ways = [(bytes([b]), after) for b in letters if (after := guide.advance(state, bytes([b]))) is not None]
        if not ways:
            return text.decode() if guide.accepts(state) else None
        byte, state = rng.choice(ways)
        text += byte
    return None


@pytest.mark.parametrize(
    "kind",
    [
        datetime.date, datetime.time, datetime.datetime, pydantic.NaiveDatetime, datetime.timedelta, uuid.UUID, pydantic.UUID4,
        ipaddress.IPv4Address, ipaddress.IPv4Network, ipaddress.IPv4Interface, ipaddress.IPv6Address, pydantic.Base64Bytes,
        pydantic.Base64UrlBytes, pydantic.HttpUrl, pydantic.AnyUrl, pydantic.IPvAnyAddress, dict[int, int], dict[Level, int],
        pydantic.condecimal(max_digits=5, decimal_places=2), pydantic.condecimal(max_digits=4), D, dict[float, int],
        pydantic.conint(multiple_of=7, gt=3), pydantic.PositiveFloat,
    ],
)  # fmt: skip
def test_no_text_of_the_set_is_refused_by_its_class(kind: Any) -> None:
    guide, rng, read = es.json_schema(kind, whitespace="compact"), random.Random(0), 0
    letters = b'"{}:,.-+0123456789abcdefzTZPYMDHSWhtps/?%_@=~[]AEIMQUYcgkosw'
    for _ in range(300):
        text = sampled(guide, rng, letters)
        if text is not None and len(text) < 110:
            parse(kind, text)
            read += 1
    assert read >= 20


def test_schema_is_one_noun() -> None:
    schema = Schema(Strict)
    assert schema.type is Strict
    assert schema.draft == "2020-12"
    assert '"day"' in schema.text
    assert es.json_schema(schema).matches(b'{"day":"2024-01-01","kind":"red"}')
    assert schema.value('{"day":"2024-01-01","kind":"red"}').kind is Colour.RED
    old = Schema({"$schema": "http://json-schema.org/draft-07/schema#", "type": "integer"})
    assert (old.draft, old.type, old.value("3.0")) == ("7", None, 3)
    with pytest.raises(InvalidInput, match="does not satisfy"):
        old.value('"a"')


class Sent(pydantic.BaseModel):
    a: int


def test_a_guide_of_a_class_is_pickled_with_its_class() -> None:
    guide = pickle.loads(pickle.dumps(es.json_schema(Sent, numbers="plain")))
    assert guide.schema.value('{"a": 1}') == Sent(a=1)
    assert guide == es.json_schema(Sent, numbers="plain")

    class Local(pydantic.BaseModel):
        a: int

    other = pickle.loads(pickle.dumps(es.json_schema(Local)))  # the class cannot be sent, the schema can
    assert (other.matches(b'{"a": 1}'), other.matches(b"{}")) == (True, False)
