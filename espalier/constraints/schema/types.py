"""Python types as JSON schemas, and JSON texts as values of these types: both are Pydantic's."""

from __future__ import annotations

import decimal
import enum
import json
import typing
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, get_args, get_origin

from espalier.constraints.schema import pydantic_twins
from espalier.constraints.schema.spelling import KEPT
from espalier.errors import InvalidInput

_FORMS = (
    "pass a dict, JSON text, True or False, a Pydantic model, dataclass, TypedDict, NamedTuple, Enum, Literal, attrs or "
    "msgspec class, a plain type such as list[int], or a function"
)


class Reader(NamedTuple):
    """A Python type as a JSON schema, and what makes values of it: `read(text)`, of texts that satisfy the schema."""

    schema: dict[str, Any]
    read: Callable[[str], Any]


def reader(kind: Any) -> Reader:
    """How a Python type is written and read.

    Objects have no members but those of their class, and members without a default are required; members of a `Decimal` are
    numbers; names of a dict's members are spelled as JSON spells them (`dict[int, …]` has "1"). Whatever Pydantic knows is
    understood, and attrs and msgspec classes, functions (the object of their arguments), `Iterable`, older TypedDicts.

    Raises `InvalidInput` with the type, the member and what to write instead for one that has no JSON form.

    >>> reader(dict[int, bool]).schema["propertyNames"]
    {'pattern': '^(?:0|-?[1-9][0-9]*)$'}
    >>> reader(tuple[int, str]).read('[1, "a"]')
    (1, 'a')
    """
    if isinstance(kind, (int, float, list, set)):
        raise InvalidInput(f"{kind!r} is no schema: {_FORMS}")
    try:
        return _reader(kind)
    except Exception as error:
        path, part, why = _culprit(kind, error)
        place = f"{_name(kind)}{path}" + (f" ({_name(part)})" if part is not kind else "")
        raise InvalidInput(f"{place}: {why}") from error


def _reader(kind: Any) -> Reader:
    from pydantic import TypeAdapter
    from pydantic_core import SchemaValidator

    from espalier.constraints.schema.from_pydantic import Generate

    adapter = kind if isinstance(kind, TypeAdapter) else _adapter(kind)
    core = adapter.core_schema
    mended = _Mended(core)
    schema = Generate(by_alias=True).generate(mended.core, "validation")
    if not mended.changed:
        return Reader(schema, adapter.validate_json)
    return Reader(schema, SchemaValidator(mended.core, _use_prebuilt=False).validate_json)


def _adapter(kind: Any) -> Any:
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUndefinedAnnotation

    twin = pydantic_twins.twin_of(kind, {})
    try:
        return TypeAdapter(twin)
    except (NameError, PydanticUndefinedAnnotation):
        # a class made in a function and named by itself: Pydantic looks names up where the adapter is made
        space = {part.__name__: part for part in _parts(kind, []) if hasattr(part, "__name__")}
        exec("adapter = TypeAdapter(twin)", space | {"TypeAdapter": TypeAdapter, "twin": twin}, space)
        return space["adapter"]


class _Mended:
    """A core schema in which JSON's spelling of a value is enough: enumerations of what JSON has no form for, iterables."""

    def __init__(self, core: Any) -> None:
        self.changed = False
        self.refs: dict[str, Any] = {}
        self._find(core)
        self.core = self._walk(core)

    def _find(self, node: Any) -> None:
        if isinstance(node, dict):
            if isinstance(node.get("ref"), str):
                self.refs[node["ref"]] = node
            for key, value in node.items():
                if key not in ("metadata", "serialization", "expected", "members", "config"):
                    self._find(value)
        elif isinstance(node, (list, tuple)):
            for value in node:
                self._find(value)

    def _walk(self, node: Any) -> Any:
        if isinstance(node, (list, tuple)):
            return type(node)(self._walk(value) for value in node) if type(node) in (list, tuple) else node
        if not isinstance(node, dict):
            return node
        kept = ("metadata", "serialization", "expected", "members", "config", "cls", "default", "choices")
        made = {key: value if key in kept else self._walk(value) for key, value in node.items()}
        if isinstance(node.get("choices"), dict):
            made["choices"] = {tag: self._walk(choice) for tag, choice in node["choices"].items()}
        elif isinstance(node.get("choices"), list):
            made["choices"] = [self._walk(choice) for choice in node["choices"]]
        kind = node.get("type")
        if kind == "dict" and "keys_schema" in node:
            made["keys_schema"] = self._keys(node["keys_schema"], made["keys_schema"])
        if kind == "decimal":
            return self._before(made, _decimal)
        if kind == "generator":
            self.changed = True
            return {"type": "list"} | {
                k: v for k, v in made.items() if k in ("items_schema", "min_length", "max_length", "ref")
            }
        if kind == "enum" and not all(type(m.value) in (str, int) for m in node["members"]):
            return self._by_value(made, {_key(m.value): m for m in node["members"]}, _key)
        if kind == "literal" and any(isinstance(m, enum.Enum) for m in node["expected"]):
            return self._by_value(made, {_key(getattr(m, "value", m)): m for m in node["expected"]}, _key)
        return made

    def _keys(self, keys: Any, made: Any) -> Any:
        """Names of members that are read as what is no text."""
        from espalier.constraints.schema.from_pydantic import spelled

        plain = self.refs.get(keys.get("schema_ref", ""), keys)
        if plain.get("type") not in ("enum", "literal"):
            return made
        if plain is not keys:
            made = {k: v for k, v in plain.items() if k != "ref"}
        table = spelled(plain)
        if all(isinstance(member, str) and type(member) is str for member in table.values()):
            return made
        return self._by_value({k: v for k, v in made.items() if k != "ref"}, table, lambda name: name)

    def _by_value(self, made: dict[str, Any], table: Mapping[Any, Any], key: Callable[[Any], Any]) -> dict[str, Any]:
        def member(value: Any) -> Any:
            try:
                return table.get(key(value), value)
            except (TypeError, ValueError):
                return value

        return self._before(made, member)

    def _before(self, made: dict[str, Any], read: Callable[[Any], Any]) -> dict[str, Any]:
        from pydantic_core import core_schema

        self.changed = True
        made = dict(made)
        ref = made.pop("ref", None)
        return dict(core_schema.no_info_before_validator_function(read, made, ref=ref))


def _decimal(value: Any) -> Any:
    """The decimal of a numeral in its own digits (see `spelling.kept`)."""
    return decimal.Decimal(value[KEPT]) if isinstance(value, dict) and list(value) == [KEPT] else value


def _key(value: Any) -> str:
    from pydantic_core import to_jsonable_python

    return json.dumps(_plain(to_jsonable_python(value)), sort_keys=True)


def _plain(value: Any) -> Any:
    """With 1 for 1.0: JSON has one of them."""
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {name: _plain(v) for name, v in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _parts(kind: Any, found: list[Any]) -> list[Any]:
    """The classes that a type is made of."""
    for part in (kind, *(a for a in get_args(kind) if not isinstance(a, (str, int)))):
        if isinstance(part, type) and part not in found:
            found.append(part)
        elif get_origin(part) is not None and part is not kind:
            _parts(part, found)
    return found


def _culprit(kind: Any, error: Exception, path: str = "", depth: int = 0) -> tuple[str, Any, str]:
    """Where in a type the part stands that cannot be read: its path, itself, and why with what to write instead."""
    if isinstance(error, InvalidInput) and depth == 0 and not _members(kind):
        return path, kind, str(error)
    for name, of in _members(kind).items() if depth < 20 else ():
        try:
            _reader(of)
        except Exception as below:
            return _culprit(of, below, f"{path}{name}", depth + 1)
    if isinstance(error, InvalidInput):
        return path, kind, str(error)
    text = " ".join(str(error).split(" For further information")[0].split())[:300]
    try:
        pydantic_twins.members(kind)
    except NameError as lost:
        text = str(lost)
    if isinstance(error, NameError) or type(error).__name__ in ("PydanticUndefinedAnnotation", "PydanticUserError"):
        hint = "its annotations must be types that can be found from where it is defined"
        return path, kind, f"{text.rstrip('.')}; {hint}: write the type itself, or define it in a module"
    if type(error).__name__ == "PydanticInvalidForJsonSchema":
        hint = "write a type that has one, or give it one with Annotated[…, pydantic.WithJsonSchema({…})]"
        return path, kind, f"there is no JSON schema for its values; {hint}"
    if type(error).__name__ == "PydanticSchemaGenerationError":
        return path, kind, f"its values have no JSON form that is known; {_FORMS}"
    return path, kind, f"{type(error).__name__}: {text}; {_FORMS}"


def _members(kind: Any) -> dict[str, Any]:
    try:
        named = {f".{name}": member.type for name, member in pydantic_twins.members(get_origin(kind) or kind).items()}
    except Exception:
        named = {}
    if named:
        return named
    if get_origin(kind) is typing.Annotated:
        return {"": get_args(kind)[0]}
    return {f"[{i}]": a for i, a in enumerate(get_args(kind)) if a is not ... and not isinstance(a, (str, int, bool, list))}


def _name(kind: Any) -> str:
    name = getattr(kind, "__qualname__", None) if isinstance(kind, type) or pydantic_twins.is_function(kind) else None
    return (name or str(kind)).replace("<locals>.", "")
