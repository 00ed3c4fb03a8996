"""Numbers of a text as its schema means them: an integer is written as one, digits of a decimal are kept."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?', re.DOTALL)
KEPT = "\0digits"  # the one member of an object that stands for a decimal
_MOST = 4_000  # digits of an integer

Holds = Callable[[str, Any], bool]  # (JSON pointer of a schema, the value's text) → whether it satisfies that schema


class Numeral:
    """A number of a text: where it stands among its numbers, and how it is spelled."""

    __slots__ = ("at", "text")

    def __init__(self, at: int, text: str) -> None:
        self.at, self.text = at, text


def respelled(text: str, schema: Any, holds: Callable[[str, str], bool]) -> str:
    """The text with integers written as digits where the schema asks for integers, and decimals with their digits where it
    asks for `Decimal` (format "decimal"), as an object that holds them.

    `holds(pointer, text)` says whether a value satisfies the schema at a pointer.

    >>> respelled('{"n": 148.0, "x": 2.0}', {"properties": {"n": {"type": "integer"}}}, lambda at, value: True)
    '{"n": 148, "x": 2.0}'
    """
    if not _NEEDED.search(text) and "decimal" not in json.dumps(schema):
        return text
    numbers: list[Numeral] = []

    def numeral(spelled: str) -> Numeral:
        numbers.append(Numeral(len(numbers), spelled))
        return numbers[-1]

    value = json.loads(text, parse_float=numeral, parse_int=numeral)
    walk = _Walk(schema, holds)
    walk.visit(schema, "#", value, 0)
    if not walk.integers and not walk.decimals:
        return text
    counter = iter(range(len(numbers)))

    def put(match: re.Match[str]) -> str:
        token = match[0]
        if token[0] == '"':
            return token
        at = next(counter)
        if at in walk.decimals:
            return json.dumps({KEPT: token})
        return integer_text(token) if at in walk.integers else token

    return _TOKEN.sub(put, text)


_NEEDED = re.compile(r"[0-9][.eE][-+0-9]")


def integer_text(token: str) -> str:
    """The digits of an integer however it is spelled, the token itself if it is none (or too long to write).

    >>> integer_text("9.007199254740993e15"), integer_text("-0.0"), integer_text("1.5")
    ('9007199254740993', '0', '1.5')
    """
    if not _NEEDED.search(token):
        return token
    value = Decimal(token)
    if value.adjusted() > _MOST or value != value.to_integral_value():
        return token
    return str(int(value))


class _Walk:
    """Finds what a schema asks of each number of a value."""

    def __init__(self, root: Any, holds: Callable[[str, str], bool]) -> None:
        self.root, self.holds = root, holds
        self.integers: set[int] = set()
        self.decimals: set[int] = set()

    def visit(self, schema: Any, where: str, value: Any, depth: int) -> None:
        if not isinstance(schema, dict) or depth > 200:
            return
        if isinstance(value, Numeral):
            self._number(schema, value)
        for keyword in ("$ref", "$dynamicRef", "$recursiveRef"):
            if isinstance(schema.get(keyword), str) and (found := self._resolve(schema[keyword])):
                self.visit(found[0], found[1], value, depth + 1)
        for i, part in enumerate(schema.get("allOf") or ()):
            self.visit(part, f"{where}/allOf/{i}", value, depth + 1)
        for keyword in ("anyOf", "oneOf"):
            for i, part in enumerate(schema.get(keyword) or ()):
                self._if(part, f"{where}/{keyword}/{i}", value, depth)
        self._conditions(schema, where, value, depth)
        if isinstance(value, dict):
            for at, inner, below in self._members(schema, value):
                self.visit(inner, f"{where}/{at}", below, depth + 1)
        elif isinstance(value, list):
            for at, inner, below in self._items(schema, value):
                self.visit(inner, f"{where}/{at}", below, depth + 1)

    def _number(self, schema: Mapping[str, Any], value: Numeral) -> None:
        kinds = schema.get("type")
        kinds = kinds if isinstance(kinds, list) else [kinds]
        if "integer" in kinds:
            self.integers.add(value.at)
        if "const" in schema or isinstance(schema.get("enum"), list):
            listed = [schema["const"]] if "const" in schema else schema["enum"]
            exact = Decimal(value.text)
            if any(isinstance(v, int) and not isinstance(v, bool) and v == exact for v in listed):
                self.integers.add(value.at)
        if schema.get("format") == "decimal":
            self.decimals.add(value.at)

    def _conditions(self, schema: Mapping[str, Any], where: str, value: Any, depth: int) -> None:
        if "if" in schema:
            branch = "then" if self.holds(f"{where}/if", written(value)) else "else"
            self.visit(schema.get(branch), f"{where}/{branch}", value, depth + 1)
        for keyword in ("dependentSchemas", "dependencies"):
            for name, part in (schema.get(keyword) or {}).items():
                if isinstance(value, dict) and name in value:
                    self.visit(part, f"{where}/{keyword}/{escaped(name)}", value, depth + 1)

    def _if(self, part: Any, where: str, value: Any, depth: int) -> None:
        """A branch counts where the value satisfies it; asked only where it says something of a number."""
        trial = _Walk(self.root, self.holds)
        trial.visit(part, where, value, depth + 1)
        if (trial.integers - self.integers or trial.decimals - self.decimals) and self.holds(where, written(value)):
            self.integers |= trial.integers
            self.decimals |= trial.decimals

    def _members(self, schema: Mapping[str, Any], value: dict[str, Any]) -> Iterator[tuple[str, Any, Any]]:
        listed, patterns = schema.get("properties") or {}, schema.get("patternProperties") or {}
        for name, below in value.items():
            known = False
            if name in listed:
                known = True
                yield f"properties/{escaped(name)}", listed[name], below
            for pattern, inner in patterns.items():
                if _found(pattern, name):
                    known = True
                    yield f"patternProperties/{escaped(pattern)}", inner, below
            for keyword in ("additionalProperties", "unevaluatedProperties"):
                if not known and isinstance(schema.get(keyword), dict):
                    yield keyword, schema[keyword], below

    def _items(self, schema: Mapping[str, Any], value: list[Any]) -> Iterator[tuple[str, Any, Any]]:
        items = schema.get("items")
        first = schema.get("prefixItems") if "prefixItems" in schema else items if isinstance(items, list) else []
        keyword = "prefixItems" if "prefixItems" in schema else "items"
        for i, below in enumerate(value):
            if i < len(first or ()):
                yield f"{keyword}/{i}", (first or ())[i], below
            elif isinstance(items, dict):
                yield "items", items, below
            else:
                for rest in ("additionalItems", "unevaluatedItems"):
                    yield rest, schema.get(rest), below

    def _resolve(self, reference: str) -> tuple[Any, str] | None:
        if reference == "#":
            return self.root, "#"
        if not reference.startswith("#/"):
            return _anchored(self.root, "#", reference[1:]) if reference.startswith("#") else None
        found = self.root
        for part in reference[2:].split("/"):
            name = re.sub("%([0-9A-Fa-f]{2})", lambda m: chr(int(m[1], 16)), part).replace("~1", "/").replace("~0", "~")
            if isinstance(found, dict) and name in found:
                found = found[name]
            elif isinstance(found, list) and name.isdigit() and int(name) < len(found):
                found = found[int(name)]
            else:
                return None
        return found, reference


def _anchored(schema: Any, where: str, anchor: str) -> tuple[Any, str] | None:
    if isinstance(schema, dict):
        if anchor in (schema.get("$anchor"), schema.get("$dynamicAnchor")):
            return schema, where
        for name, part in schema.items():
            if found := _anchored(part, f"{where}/{escaped(name)}", anchor):
                return found
    return None


def _found(pattern: str, name: str) -> bool:
    from espalier.constraints.regex import regex

    return regex(pattern, search=True).matches(name.encode())


def escaped(name: str) -> str:
    """A name as a JSON pointer spells it."""
    return name.replace("~", "~0").replace("/", "~1")


def written(value: Any) -> str:
    """A value of numerals as JSON."""
    if isinstance(value, Numeral):
        return value.text
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(name, ensure_ascii=False)}:{written(v)}" for name, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
