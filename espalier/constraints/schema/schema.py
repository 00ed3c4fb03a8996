"""A schema: its text, the Python type it came from, its draft, and the value of a text that satisfies it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from espalier.constraints.schema.spelling import respelled
from espalier.constraints.schema.types import Reader, reader
from espalier.constraints.schema.unwrap import unwrapped
from espalier.errors import InvalidInput, RefusedValue, utf8

_DRAFTS = {"draft-04": "4", "draft-06": "6", "draft-07": "7", "2019-09": "2019-09", "2020-12": "2020-12"}


class Schema:
    """What a JSON text has to satisfy, given in any form that `json_schema` takes.

    `text` is the JSON Schema, `type` the Python type it came from (None for dicts and texts), `draft` the version that its
    `$schema` names ("2020-12" without one), `value(text)` the value of a text: a `Person` for `Schema(Person)`, plain Python
    values else. An integer of the schema is read as an `int`, exactly, however it is spelled; a `Decimal` keeps its digits.

    Errors: `InvalidInput` for what is no schema, naming the type and the member; see `value` for its own.

    >>> s = Schema({"type": "integer"})
    >>> s.text, s.type, s.draft, s.value("148.0")
    ('{"type": "integer"}', None, '2020-12', 148)
    """

    def __init__(self, schema: Any, *, registry: Mapping[str, Any] | None = None) -> None:
        if registry is not None and not isinstance(registry, Mapping):
            raise InvalidInput(
                f"registry={registry!r}: write the addresses and their schemas, {{'https://example.org/s': schema}}"
            )
        given: Any = schema.given if isinstance(schema, Schema) else schema
        self.given: Any = given
        self.registry: dict[str, str] = {uri: Schema(part).text for uri, part in (registry or {}).items()}
        if isinstance(schema, Schema):
            self.registry = {**schema.registry, **self.registry}
        self._reader: Reader | None = None
        self.text: str
        if isinstance(given, (str, bytes)):
            self.text = _decoded(given)
            try:
                value = json.loads(self.text)
            except (ValueError, RecursionError):
                value = None  # told by the engine, with the place
            if isinstance(value, Mapping) and (inner := unwrapped(value)) is not value:
                self.text = _dumped(inner)
        else:
            if isinstance(given, Mapping):
                given = unwrapped(given)
            if not isinstance(given, (Mapping, bool)):
                self._reader = reader(given)
                given = self._reader.schema
            self.text = _dumped(given)
        self.type = self.given if self._reader is not None else None

    @cached_property
    def plain(self) -> Any:
        """The schema as a JSON value."""
        return json.loads(self.text)

    @property
    def draft(self) -> str:
        """The version of JSON Schema that `$schema` names, "2020-12" where it names none."""
        named = self.plain.get("$schema") if isinstance(self.plain, dict) else None
        return next((draft for mark, draft in _DRAFTS.items() if mark in str(named)), "2020-12")

    @cached_property
    def guide(self) -> Any:
        """The guide of the texts that satisfy the schema, in any spelling of numbers."""
        from espalier.constraints.schema.json_schema import json_schema

        return json_schema(self)

    def value(self, text: str) -> Any:
        """The value of a text.

        Errors: `InvalidInput` for a text that does not satisfy the schema; `RefusedValue` (one, too) where the class refuses
        it all the same (a validator, a date that no calendar has): it holds the text and the cause.

        >>> Schema(tuple[int, ...]).value("[1, 2]")
        (1, 2)
        """
        if not self.guide.matches(utf8(text, "the text")):
            raise InvalidInput(f"the text does not satisfy the schema: {text[:200]!r}")
        return self.read(text)

    def read(self, text: str) -> Any:
        """The value of a text that is known to satisfy the schema. Errors: `RefusedValue`."""
        exact = respelled(text, self.plain, self._holds)
        try:
            if self._reader is not None:
                return self._reader.read(exact)
            return json.loads(exact, parse_int=_integer)
        except Exception as error:
            raise RefusedValue(text, self.name, error) from error

    @property
    def name(self) -> str:
        """What messages call it."""
        return "the schema" if self.type is None else str(getattr(self.type, "__qualname__", self.type))

    def _holds(self, pointer: str, text: str) -> bool:
        from espalier.constraints.schema.json_schema import json_schema

        if pointer not in self._parts:
            part = {"$ref": f"espalier:schema{pointer}"}
            self._parts[pointer] = json_schema(part, registry={**self.registry, "espalier:schema": self.text})
        return bool(self._parts[pointer].matches(text.encode()))

    @cached_property
    def _parts(self) -> dict[str, Any]:
        return {}

    def __repr__(self) -> str:
        return f"Schema({self.name if self.type is not None else self.text[:200]})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schema) and (self.text, self.type) == (other.text, other.type)

    def __hash__(self) -> int:
        return hash(self.text)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.given, self.registry)


def _restored(given: Any, registry: dict[str, str]) -> Schema:
    return Schema(given, registry=registry)


def _integer(digits: str) -> int:
    if len(digits) <= 4_000:
        return int(digits)
    raise InvalidInput(f"an integer of {len(digits)} digits is more than Python reads; bound it with minimum and maximum")


def _decoded(text: str | bytes) -> str:
    try:
        return text.decode() if isinstance(text, bytes) else text.encode().decode()
    except UnicodeError as error:
        raise InvalidInput(f"the text of the schema is not UTF-8: {error}") from None


def _dumped(schema: Any) -> str:
    try:
        text = json.dumps(schema, ensure_ascii=False, allow_nan=False)
        text.encode()
        return text
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"the schema holds {error.object[error.start]!r}, half of a character: no text can hold it"
        ) from None
    except RecursionError:
        raise InvalidInput("the schema is nested deeper than Python can write, or contains itself") from None
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"the schema is not JSON: {error}; NaN, infinity and Python objects have no JSON form") from error


__all__ = ["Schema"]
