"""Pydantic models that stand for what Pydantic does not know: functions, attrs and msgspec classes, older TypedDicts."""

from __future__ import annotations

import collections.abc as abc
import dataclasses
import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, Union, get_args, get_origin

from espalier.errors import InvalidInput

_LISTS = (abc.Iterable, abc.Iterator, abc.Collection, abc.Container, abc.Reversible)
_WRAPPERS = (typing.Required, typing.NotRequired, typing.Final)


class Member(NamedTuple):
    """One member of an object: its type, whether it must be there, and its name in JSON where that is another one."""

    type: Any
    required: bool
    alias: str = ""


def twin_of(kind: Any, twins: dict[Any, Any]) -> Any:
    """The type that Pydantic reads in place of this one; the type itself where Pydantic knows it and all that it holds.

    `twins` remembers the classes on the way, so that recursive ones end.

    >>> twin_of(list[int], {}) == list[int]
    True
    """
    origin = get_origin(kind)
    if kind in _LISTS or origin in _LISTS:
        return list[twin_of((get_args(kind) or (Any,))[0], twins)]  # type: ignore[misc]
    if origin is not None and origin is not typing.Literal and not _is_record(kind):
        return _rebuilt(kind, origin, twins)
    if not _is_record(kind):
        return kind
    found = next((twin for known, twin in twins.items() if known is kind), None)
    if found is not None:
        return found
    if _needs_twin(kind, set()):
        return _model(kind, twins)
    return kind


def members(kind: Any) -> dict[str, Member]:
    """The members that a value of this class is made of; empty for what is no record of members."""
    if is_function(kind):
        return _parameters(kind)
    of = get_origin(kind) or kind  # of a generic class with its arguments
    if dataclasses.is_dataclass(of):
        hints, missing = _hints(kind), dataclasses.MISSING
        fields = {f.name: f for f in of.__dataclass_fields__.values() if f.init}  # InitVar too
        return {
            name: Member(_init_type(hints.get(name, f.type)), f.default is missing and f.default_factory is missing)
            for name, f in fields.items()
            if get_origin(hints.get(name)) is not typing.ClassVar and hints.get(name) is not typing.ClassVar
        }
    if _is_typed_dict(of):
        required = of.__required_keys__  # blind to NotRequired where annotations are texts
        return {
            name: Member(_bare(hint), name in required and "NotRequired" not in str(get_origin(hint)))
            for name, hint in _hints(kind).items()
        }
    if _is_named_tuple(of):
        hints = _hints(kind)
        return {name: Member(hints.get(name, Any), name not in of._field_defaults) for name in of._fields}
    if hasattr(of, "__attrs_attrs__"):
        hints = _hints(kind)
        return {
            a.name: Member(hints.get(a.name, Any), a.default.__class__.__name__ == "_Nothing", a.alias or a.name)
            for a in of.__attrs_attrs__
            if a.init
        }
    if hasattr(of, "__struct_fields__"):
        return _struct_members(kind, of)
    if hasattr(of, "model_fields"):
        return {name: Member(f.annotation, f.is_required()) for name, f in of.model_fields.items()}
    return {}


def is_function(kind: Any) -> bool:
    """Whether this is called with arguments and is no class: a function, a method, a `functools.partial`."""
    return inspect.isroutine(kind) or isinstance(kind, functools.partial)


def _rebuilt(kind: Any, origin: Any, twins: dict[Any, Any]) -> Any:
    args = get_args(kind)
    if origin is typing.Annotated:
        meta = [m for word in kind.__metadata__ for m in _meta(word)]
        inner = twin_of(args[0], twins)
        same = inner is args[0] and meta == list(kind.__metadata__)
        return kind if same else typing.Annotated[(inner, *meta)]
    if origin in _WRAPPERS:
        return twin_of(args[0], twins)
    if origin is abc.Callable:
        return kind
    made = tuple(twin_of(a, twins) for a in args)
    if all(a is b for a, b in zip(args, made, strict=True)):
        return kind
    if origin is Union or origin is types.UnionType:
        return Union[made]  # noqa: UP007
    return origin[made]


def _meta(word: Any) -> list[Any]:
    """msgspec's bounds in Pydantic's words; everything else as it is."""
    if type(word).__module__.split(".")[0] != "msgspec":
        return [word]
    from pydantic import Field

    names = ("gt", "ge", "lt", "le", "multiple_of", "pattern", "min_length", "max_length")
    return [Field(**{name: getattr(word, name) for name in names if getattr(word, name, None) is not None})]


def _needs_twin(kind: Any, seen: set[int]) -> bool:
    """Whether somewhere in this class stands what Pydantic does not know."""
    if id(kind) in seen:
        return False
    seen.add(id(kind))
    origin = get_origin(kind)
    if kind in _LISTS or origin in _LISTS or is_function(kind):
        return True
    of = origin or kind
    if hasattr(of, "__attrs_attrs__") or hasattr(of, "__struct_fields__"):
        return True
    if _is_typed_dict(of) and type(of).__module__ == "typing" and sys.version_info < (3, 12):
        return True  # Pydantic refuses these
    if origin is not None and not _is_record(kind):
        meta = getattr(kind, "__metadata__", ())
        return any(_meta(m) != [m] for m in meta) or any(_needs_twin(a, seen) for a in get_args(kind) if a is not ...)
    if hasattr(kind, "__pydantic_fields__") or hasattr(kind, "model_fields") or not _is_record(kind):
        return False  # what Pydantic has made itself it reads itself
    try:
        return any(_needs_twin(member.type, seen) for member in members(kind).values())
    except NameError:  # a class made in a function, which names itself: Pydantic finds it
        return False


def _model(kind: Any, twins: dict[Any, Any]) -> Any:
    """A model of the members, whose values become values of the class."""
    from pydantic import ConfigDict, Field, create_model, model_validator

    name = getattr(kind, "__name__", type(kind).__name__)
    key = f"Twin{len(twins)}"
    twins[kind] = typing.ForwardRef(key)
    fields: dict[str, Any] = {}
    names = members(kind)
    for i, (member, (of, required, alias)) in enumerate(names.items()):
        default = ... if required else None
        fields[f"f{i}"] = (twin_of(of, twins), Field(default, alias=alias or member))

    build = _builder(kind, list(names))

    def made(cls: Any, data: Any, handler: Callable[[Any], Any]) -> Any:
        model = handler(data)
        given = model.model_fields_set
        return build({member: getattr(model, f"f{i}") for i, member in enumerate(names) if f"f{i}" in given})

    wrap: Any = {"made": model_validator(mode="wrap")(classmethod(made))}  # type: ignore[arg-type]
    twin = create_model(
        key,
        __config__=ConfigDict(title=name, arbitrary_types_allowed=False, extra="forbid"),
        __validators__=wrap,
        **fields,
    )
    known = {t.__forward_arg__: t for t in twins.values() if isinstance(t, typing.ForwardRef)}
    twins[kind] = twin
    spaces: dict[str, Any] = {t.__name__: t for t in twins.values() if isinstance(t, type)}
    if set(known) <= set(spaces):  # nothing above is still open
        for model in spaces.values():
            model.model_rebuild(force=True, _types_namespace=spaces)
    return twin


def _builder(kind: Any, names: list[str]) -> Callable[[dict[str, Any]], Any]:
    kind = get_origin(kind) or kind
    if is_function(kind) or _is_typed_dict(kind):
        return dict
    if hasattr(kind, "__attrs_attrs__"):
        aliases = {a.name: a.alias or a.name for a in kind.__attrs_attrs__}
        return lambda values: kind(**{aliases[name]: value for name, value in values.items()})
    if hasattr(kind, "__struct_fields__"):
        return lambda values: kind(**{name: value for name, value in values.items() if name in kind.__struct_fields__})
    return lambda values: kind(**values)


def _parameters(kind: Any) -> dict[str, Member]:
    inner = kind.func if isinstance(kind, functools.partial) else kind
    try:
        parameters = list(inspect.signature(kind).parameters.values())
    except (TypeError, ValueError):
        raise InvalidInput(
            f"{kind!r} does not say what its arguments are; write def {_name(inner)}(…) with their types"
        ) from None
    unbound = inspect.isfunction(inner) and _name(inner).rpartition(".")[0].rpartition(".")[2] not in ("", "<locals>")
    if unbound and parameters and parameters[0].name in ("self", "cls") and parameters[0].annotation is inspect.Parameter.empty:
        parameters = parameters[1:]
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD, p.POSITIONAL_ONLY) for p in parameters):
        raise InvalidInput(f"{_name(inner)}: *args, **kwargs and positional-only parameters have no names to write")
    hints = _hints(inner)
    return {p.name: Member(hints.get(p.name, Any), p.default is p.empty) for p in parameters}


def _struct_members(alias: Any, kind: Any) -> dict[str, Member]:
    hints, config = _hints(alias), kind.__struct_config__
    if config.array_like:
        raise InvalidInput(f"{kind.__name__}: a Struct with array_like=True is written as a list; leave array_like out")
    defaults = dict(zip(reversed(kind.__struct_fields__), reversed(kind.__struct_defaults__), strict=False))
    found = {
        name: Member(hints[name], name not in defaults or repr(defaults[name]) == "NODEFAULT", encoded)
        for name, encoded in zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True)
    }
    if config.tag is not None:
        found = {f"{config.tag_field}": Member(typing.Literal[config.tag], True), **found}
    return found


def _hints(kind: Any) -> dict[str, Any]:
    """The annotations, evaluated; of a generic alias with its arguments put in."""
    origin = get_origin(kind)
    named = {kind.__name__: kind} if isinstance(kind, type) else None  # made in a function, it names itself
    hints = typing.get_type_hints(origin or kind, localns=named, include_extras=True)
    if origin is not None:
        given = dict(zip(getattr(origin, "__parameters__", ()), get_args(kind), strict=False))
        hints = {name: given.get(hint, hint) if isinstance(hint, TypeVar) else hint for name, hint in hints.items()}
    return hints


def _init_type(hint: Any) -> Any:
    return hint.type if isinstance(hint, dataclasses.InitVar) else _bare(hint)


def _bare(hint: Any) -> Any:
    while "NotRequired" in str(get_origin(hint)) or "Required" in str(get_origin(hint)) or "ReadOnly" in str(get_origin(hint)):
        hint = get_args(hint)[0]
    return hint


def _is_typed_dict(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, dict) and hasattr(kind, "__required_keys__")


def _is_named_tuple(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_field_defaults")


def _is_record(kind: Any) -> bool:
    """Whether a value of this has named members."""
    kind = get_origin(kind) or kind
    if is_function(kind) or _is_typed_dict(kind) or _is_named_tuple(kind):
        return True
    marks = ("__dataclass_fields__", "__attrs_attrs__", "__struct_fields__", "model_fields")
    return isinstance(kind, type) and any(hasattr(kind, mark) for mark in marks)


def _name(kind: Any) -> str:
    return str(getattr(kind, "__qualname__", None) or getattr(kind, "__name__", None) or repr(kind))
