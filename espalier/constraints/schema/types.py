"""Python types as JSON schemas, and JSON values as values of these types."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import inspect
import types
import typing
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Union, get_args, get_origin

from espalier.errors import InvalidInput

_PLAIN: dict[Any, dict[str, Any]] = {
    None: {"type": "null"},
    type(None): {"type": "null"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    dict: {"type": "object"},
    list: {"type": "array"},
    Any: {},
    object: {},
    datetime.datetime: {"type": "string", "format": "date-time"},
    datetime.date: {"type": "string", "format": "date"},
    datetime.time: {"type": "string", "format": "time"},
    uuid.UUID: {"type": "string", "format": "uuid"},
    decimal.Decimal: {"type": "number"},
}
_READ: dict[Any, Callable[[Any], Any]] = {
    float: float,
    int: int,
    datetime.datetime: datetime.datetime.fromisoformat,
    datetime.date: datetime.date.fromisoformat,
    datetime.time: datetime.time.fromisoformat,
    uuid.UUID: uuid.UUID,
    decimal.Decimal: lambda v: decimal.Decimal(str(v)),
}


def _closed(model: dict[str, Any]) -> dict[str, Any]:
    """A Pydantic model's schema with no members but its fields (Pydantic would ignore others, unless it says otherwise)."""
    return {**model, "additionalProperties": False} if "properties" in model and "additionalProperties" not in model else model


_TEMPLATE = "#/$defs/{model}"


def _foreign(schema: Mapping[str, Any], defs: dict[str, Any]) -> dict[str, Any]:
    """A schema that Pydantic wrote, without its $defs, which join ours."""
    own = dict(schema)
    defs.update({part: _closed(below) for part, below in own.pop("$defs", {}).items()})
    return own


def _adapter(kind: Any) -> Any:
    """Pydantic's adapter of an Annotated type whose metadata bound its values (`Field(ge=0)`, `annotated_types.Le(3)`); None
    for metadata that are only words. Raises `InvalidInput` where only Pydantic could read them and it is not there."""
    foreign = [m for m in kind.__metadata__ if type(m).__module__.split(".")[0] in ("pydantic", "annotated_types")]
    if not foreign:
        return None
    try:
        from pydantic import TypeAdapter
    except ImportError as error:
        raise InvalidInput(f"{kind}: {foreign[0]!r} can only be read by Pydantic, which is not installed") from error
    return TypeAdapter(kind)


def is_model(kind: Any) -> bool:
    """Whether this is a Pydantic model."""
    return isinstance(kind, type) and hasattr(kind, "model_json_schema") and hasattr(kind, "model_validate")


def schema_of(kind: Any) -> dict[str, Any]:
    """The JSON schema of a Python type: what its values look like as JSON.

    Understood: Pydantic models, dataclasses, TypedDicts, Enums, Literals, unions, `list`, `tuple`, `set`, `dict[str, …]`,
    plain types, dates, UUIDs, and functions (the object of their arguments). Fields without a default are required; objects
    have no other members. Raises `InvalidInput` for a type that has no JSON form.

    >>> schema_of(Literal["a", 1])
    {'enum': ['a', 1]}
    """
    defs: dict[str, Any] = {}
    schema = _schema(kind, defs)
    return {**schema, "$defs": defs} if defs else schema


def _schema(kind: Any, defs: dict[str, Any]) -> dict[str, Any]:
    if kind in _PLAIN if _hashable(kind) else False:
        return dict(_PLAIN[kind])
    origin, args = get_origin(kind), get_args(kind)
    if origin is typing.Annotated and (adapter := _adapter(kind)) is not None:
        return _foreign(adapter.json_schema(ref_template=_TEMPLATE), defs)
    if origin is typing.Annotated or origin in (typing.Required, typing.NotRequired, typing.Final):
        return _schema(args[0], defs)
    if origin is Literal:
        return {"enum": [a.value if isinstance(a, enum.Enum) else a for a in args]}
    if origin is Union or origin is types.UnionType:
        return {"anyOf": [_schema(a, defs) for a in args]}
    if origin in (list, set, frozenset, Sequence):
        return {
            "type": "array",
            "items": _schema(args[0], defs),
            **({"uniqueItems": True} if origin in (set, frozenset) else {}),
        }
    if origin is tuple:
        if len(args) == 2 and args[1] is ...:
            return {"type": "array", "items": _schema(args[0], defs)}
        return {"type": "array", "prefixItems": [_schema(a, defs) for a in args], "items": False, "minItems": len(args)}
    if origin in (dict, Mapping):
        if args[0] is not str:
            raise InvalidInput(f"{kind}: the names of a JSON object are strings; write dict[str, …]")
        return {"type": "object", "additionalProperties": _schema(args[1], defs)}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"enum": [member.value for member in kind]}
    return _named(kind, defs)


def _named(kind: Any, defs: dict[str, Any]) -> dict[str, Any]:
    """Types that may contain themselves: their schema stands in $defs."""
    name = getattr(kind, "__qualname__", str(kind)).replace("<locals>.", "")
    reference = {"$ref": f"#/$defs/{name}"}
    if name in defs:
        return reference
    if is_model(kind):
        model = _foreign(kind.model_json_schema(ref_template=_TEMPLATE), defs)
        defs.setdefault(name, _closed(model))
        return reference
    fields = _fields(kind)
    defs[name] = {}
    defs[name] = {
        "type": "object",
        "properties": {field: _schema(of, defs) for field, (of, _) in fields.items()},
        "required": [field for field, (_, required) in fields.items() if required],
        "additionalProperties": False,
    }
    return reference


def _fields(kind: Any) -> dict[str, tuple[Any, bool]]:
    """The members of an object type: name -> (type, required)."""
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind, include_extras=True)
        missing = dataclasses.MISSING
        return {
            f.name: (hints[f.name], f.default is missing and f.default_factory is missing)
            for f in dataclasses.fields(kind)
            if f.init
        }
    if typing.is_typeddict(kind):
        hints = typing.get_type_hints(kind, include_extras=True)
        required = kind.__required_keys__  # blind to NotRequired where annotations are texts
        return {name: (hint, name in required and get_origin(hint) is not typing.NotRequired) for name, hint in hints.items()}
    if inspect.isroutine(kind):
        hints = typing.get_type_hints(kind, include_extras=True)
        parameters = inspect.signature(kind).parameters.values()
        if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD, p.POSITIONAL_ONLY) for p in parameters):
            raise InvalidInput(f"{kind.__name__}: *args, **kwargs and positional-only parameters have no names to write")
        return {p.name: (hints.get(p.name, Any), p.default is p.empty) for p in parameters}
    raise InvalidInput(
        f"{kind!r} is no schema: pass a dict, JSON text, True or False, a Pydantic model, dataclass, TypedDict, Enum, Literal, "
        "a plain type such as list[int], or a function"
    )


def value_of(kind: Any, data: Any) -> Any:
    """The value of this type that a JSON value stands for (already known to satisfy `schema_of(kind)`).

    >>> value_of(tuple[int, ...], [1, 2])
    (1, 2)
    """
    if _hashable(kind) and kind in _READ:
        return _READ[kind](data)
    origin, args = get_origin(kind), get_args(kind)
    if origin is typing.Annotated and (adapter := _adapter(kind)) is not None:
        return adapter.validate_python(data)
    if origin is typing.Annotated or origin in (typing.Required, typing.NotRequired, typing.Final):
        return value_of(args[0], data)
    if origin is Union or origin is types.UnionType:
        return _first(args, data)
    if origin in (list, set, frozenset, Sequence):
        return (list if origin is Sequence else origin)(value_of(args[0], item) for item in data)
    if origin is tuple:
        each = [args[0]] * len(data) if len(args) == 2 and args[1] is ... else args
        return tuple(value_of(of, item) for of, item in zip(each, data, strict=True))
    if origin in (dict, Mapping):
        return {name: value_of(args[1], item) for name, item in data.items()}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind(data)
    if is_model(kind):
        return kind.model_validate(data)
    if dataclasses.is_dataclass(kind) or typing.is_typeddict(kind) or inspect.isroutine(kind):
        fields = _fields(kind)
        values = {name: value_of(fields[name][0], item) for name, item in data.items()}
        return kind(**values) if isinstance(kind, type) and dataclasses.is_dataclass(kind) else values
    return data


def _first(kinds: Sequence[Any], data: Any) -> Any:
    """The value for the first member of a union that the data satisfies."""
    from espalier.constraints.schema.json_schema import json_schema

    text = _text(data)
    for kind in kinds:
        if json_schema(schema_of(kind)).matches(text):
            return value_of(kind, data)
    return data


def _text(data: Any) -> bytes:
    import json

    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()


def _hashable(kind: Any) -> bool:
    try:
        hash(kind)
    except TypeError:
        return False
    return True
