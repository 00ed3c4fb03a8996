"""What the guide of a schema does with each keyword."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from espalier import _grammar
from espalier.constraints.schema.keywords import KEYWORDS, LISTS, MAPS, ONES, PLAIN
from espalier.constraints.schema.schema import Schema
from espalier.errors import InvalidInput

_FORMATS = {
    "date",
    "time",
    "date-time",
    "duration",
    "ipv4",
    "ip-address",
    "ipv6",
    "email",
    "uuid",
    "uri",
}
_FORMATS |= {"uri-reference", "iri", "iri-reference", "uri-template", "json-pointer", "relative-json-pointer"}
_NEARLY = {
    "regex": "brackets, classes and escapes are checked, groups at most two deep",
    "hostname": "labels that begin with xn-- are taken as they are, not decoded",
    "host-name": "labels that begin with xn-- are taken as they are, not decoded",
    "idn-email": "any letters of Unicode are taken as letters",
    "idn-hostname": "any letters of Unicode are taken as letters",
}
_LATE = {
    "uniqueItems": "decided when an item ends: few possible values may run out",
    "not": "decided exactly when the value ends; a beginning that can only violate it may be allowed",
    "oneOf": "decided exactly when the value ends; a beginning that must match two branches may be allowed",
    "if": "decided exactly when the value ends; a beginning that has no end may be allowed",
    "unevaluatedProperties": "decided exactly when the value ends; a beginning that has no end may be allowed",
    "unevaluatedItems": "decided exactly when the value ends; a beginning that has no end may be allowed",
    "dependentSchemas": "decided exactly when the value ends; a beginning that has no end may be allowed",
    "contains": "decided exactly when the value ends; a beginning that has no end may be allowed",
}


_BESIDE_REF = frozenset(("$ref", "$schema", "id", "$id", "definitions", "$defs"))  # where nothing else counts


class Keyword(NamedTuple):
    """One keyword of a schema: where it stands (a JSON pointer) and what becomes of it."""

    where: str
    keyword: str
    treatment: str  # "enforced", "approximated" or "annotation"
    why: str = ""


def explain(schema: Any, *, formats: str = "assert") -> list[Keyword]:
    """What is done with every keyword of a schema, in its order: "enforced", "approximated" (and why), or "annotation".

    Enforced: every text that matches satisfies it, and no text is refused because of it that satisfies it. Approximated: the
    same, but some beginning may be allowed that cannot be finished; or, for a few formats, what is checked is a part of the
    format. Annotation: JSON Schema gives the keyword no say, or does not know it.

    >>> [(k.keyword, k.treatment) for k in explain({"type": "string", "format": "date", "title": "When"})]
    [('type', 'enforced'), ('format', 'enforced'), ('title', 'annotation')]
    """
    try:
        value = json.loads(Schema(schema).text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InvalidInput(f"the schema is not JSON: {error}") from error
    return list(_walk(value, "#", formats == "assert", ""))


def late(schema: Any) -> frozenset[str]:
    """The keywords of a schema for which a beginning without an end may be allowed.

    >>> sorted(late({"items": {"not": {"type": "null"}}, "uniqueItems": True}))
    ['not', 'uniqueItems']
    """
    if isinstance(schema, str) and "\\u" not in schema and not any(f'"{name}"' in schema for name in (*_LATE, "multipleOf")):
        return frozenset()  # most schemas have none of these words, and the walk costs more than the rest of compiling them
    found: set[str] = set()
    _collect_late(json.loads(Schema(schema).text if not isinstance(schema, str) else schema), "", found)
    return frozenset(found)


def _collect_late(schema: Any, draft: str, found: set[str]) -> None:
    """What `_walk` would say is approximated, without a line for each keyword."""
    if not isinstance(schema, dict):
        return
    named = schema.get("$schema")
    draft = named if isinstance(named, str) else draft
    alone = isinstance(schema.get("$ref"), str) and _grammar.schema_ref_alone(draft)
    for keyword, value in schema.items():
        if not (alone and keyword not in _BESIDE_REF) and _grammar.schema_knows(draft, keyword):
            if (keyword in _LATE and value is not False) or (keyword == "multipleOf" and _uneven(value)):
                found.add(keyword)
            for _, inner in _inner(keyword, value):
                _collect_late(inner, draft, found)


def _walk(schema: Any, where: str, asserted: bool, draft: str) -> Iterator[Keyword]:
    """`draft`: the `$schema` in force, "" where none is given."""
    if not isinstance(schema, dict):
        return
    named = schema.get("$schema")
    draft = named if isinstance(named, str) else draft
    alone = isinstance(schema.get("$ref"), str) and _grammar.schema_ref_alone(draft)
    for keyword, value in schema.items():
        below = f"{where}/{_escape(keyword)}"
        if alone and keyword not in _BESIDE_REF:
            yield Keyword(below, keyword, "annotation", f"in {draft} nothing beside a $ref counts")
            continue
        if not _grammar.schema_knows(draft, keyword):
            yield Keyword(below, keyword, "annotation", f"{draft} has no such keyword")
            continue
        yield _treatment(keyword, value, below, asserted)
        for name, inner in _inner(keyword, value):
            yield from _walk(inner, below + name, asserted, draft)


def _inner(keyword: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The schemas below a keyword, each with what its place adds."""
    if keyword in MAPS or keyword == "dependencies":
        for name, inner in value.items() if isinstance(value, dict) else ():
            yield "/" + _escape(name), inner
    elif isinstance(value, list) and (keyword in LISTS or keyword == "items"):
        for i, inner in enumerate(value):
            yield f"/{i}", inner
    elif keyword in ONES or keyword == "items":
        yield "", value


def _treatment(keyword: str, value: Any, where: str, asserted: bool) -> Keyword:
    if keyword == "format":
        if not asserted:
            return Keyword(where, keyword, "annotation", 'formats="annotate"')
        if value in _NEARLY:
            return Keyword(where, keyword, "approximated", _NEARLY[value])
        known = value in _FORMATS
        return Keyword(where, keyword, "enforced" if known else "annotation", "" if known else f"{value!r} is no known format")
    if keyword == "multipleOf" and _uneven(value):
        why = "decided when the number ends; with bounds, a beginning that has no end may be allowed"
        return Keyword(where, keyword, "approximated", why)
    if keyword in _LATE and value is not False:
        return Keyword(where, keyword, "approximated", _LATE[keyword])
    if keyword in PLAIN or keyword in ONES or keyword in LISTS or keyword in MAPS:
        return Keyword(where, keyword, "enforced")
    known = keyword in KEYWORDS or keyword.startswith(("$", "x-"))
    return Keyword(where, keyword, "annotation", "" if known else "no keyword of JSON Schema: it says nothing of a value")


def _uneven(step: Any) -> bool:
    """Whether multiples of it cannot be told by their last digits."""
    return str(step).strip("0.").rstrip("0") not in ("1", "")


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
