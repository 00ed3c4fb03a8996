"""JSON Schema as a guide."""

from __future__ import annotations

import json as _json
import pickle
from collections.abc import Mapping
from functools import cached_property, lru_cache
from importlib.resources import files
from typing import Any, Literal

from espalier import _grammar
from espalier.constraints.guide import Limits, MachineGuide, teaching
from espalier.constraints.schema.schema import Schema
from espalier.errors import InvalidInput

_BLANKS = {"flexible": 0, "compact": 1, "pretty": 2}


def json_schema(
    schema: Any,
    *,
    formats: Literal["assert", "annotate"] = "assert",
    order: Literal["schema", "any", "strict"] = "schema",
    registry: Mapping[str, Any] | None = None,
    whitespace: Literal["flexible", "compact", "pretty"] = "flexible",
    numbers: Literal["json", "plain"] = "json",
    limits: Limits | None = None,
) -> JsonGuide:
    r"""The guide of all JSON texts whose value satisfies the schema.

    `schema` is a dict, JSON text, True or False, or a Python type: Pydantic model, dataclass, TypedDict, Enum, Literal, union,
    `list[int]` …, or a function (the object of its arguments). Drafts 4 to 2020-12; `$schema` chooses, without it 2020-12
    with the older spellings of tuples, dependencies and exclusive bounds. `registry` holds what remote `$ref`s name.

    Guarantees: a text that `matches` is valid; nothing is ignored (`explain` lists what each keyword does). `exactness` is
    "over" where a beginning may be allowed that cannot be finished. Names of members do not repeat. Listed names, `enum` and
    `const` strings have one spelling (characters as they are, or \uXXXX beyond ASCII); other strings may use any escape.
    Numbers under a numeric keyword (`integer` too) are plain decimals with at most 6 zeros at the end of the fraction, or
    have one digit before the point of d.ddde±x; exponents stay within the range of doubles.

    `numbers`: "json" spells numbers as above; "plain" writes integers as digits and other numbers as ordinary decimals of at
    most 15 digits before and after the point (more where a bound has more, exponents only where a bound leaves nothing else),
    which is what a model should write; checks and masks have the same set. Under either an integer is read as an `int`.

    `order`: "schema" and "any" are the same set: members in every order that the schema allows; "strict" accepts listed
    members only in the schema's order. `whitespace`: "flexible" (runs of blanks are bounded), "compact" (none), "pretty" (two
    blanks a level). `formats="annotate"` does not assert `format`.

    Raises `InvalidInput`, naming the place, for what is no schema; `LimitExceeded` past a limit. Wright et al., draft 2020-12.

    >>> guide = json_schema({"type": "object", "properties": {"n": {"type": "integer", "maximum": 9}}, "required": ["n"]})
    >>> guide.matches(b'{"n": 7}'), guide.matches(b'{"n": 10}'), guide.matches(b'{}')
    (True, False, False)
    """
    for name, value, known in (
        ("formats", formats, ("assert", "annotate")),
        ("order", order, ("schema", "any", "strict")),
        ("whitespace", whitespace, tuple(_BLANKS)),
        ("numbers", numbers, ("json", "plain")),
    ):
        if value not in known:
            raise InvalidInput(f"{name}={value!r}: write one of {', '.join(map(repr, known))}")
    asked, limits = limits, limits or Limits()
    given = schema if isinstance(schema, Schema) and registry is None else Schema(schema, registry=registry)
    texts = list(given.registry.items())
    _publish()
    with teaching():
        machine = _grammar.schema_machine(
            given.text, texts, formats == "assert", order == "strict", _BLANKS[whitespace], numbers == "plain", limits.native()
        )
    options = {
        "formats": formats if formats != "assert" else None,
        "order": order if order != "schema" else None,
        "registry": dict(texts) or None,
        "whitespace": whitespace if whitespace != "flexible" else None,
        "numbers": numbers if numbers != "json" else None,
    }
    return JsonGuide(machine, given, limits).by(json_schema, given.text, limits=asked, **options)


class JsonGuide(MachineGuide):
    """The guide of a schema, which is `schema`."""

    def __init__(self, machine: Any, schema: Schema, limits: Limits) -> None:
        super().__init__(machine, "the schema", limits=limits)
        self.schema, self._machine = schema, machine

    @cached_property
    def inexact(self) -> frozenset[str]:
        """The keywords for which a beginning without an end may be allowed; see `explain`."""
        from espalier.constraints.schema.explain import late

        return frozenset().union(*(late(text) for text in (self.schema.text, *self.schema.registry.values())))

    @property
    def exactness(self) -> str:
        return "over" if self.inexact else "exact"

    def __reduce__(self) -> Any:
        made = super().__reduce__()
        if self.schema.type is None or not _can_be_sent(self.schema):
            return made
        return _typed, (self.schema, made)

    def machine(self) -> Any:
        self._machine.inexact = self.inexact  # what is made of this machine is as exact as it is
        return super().machine()


def _can_be_sent(schema: Schema) -> bool:
    try:
        return bool(pickle.dumps(schema))
    except (pickle.PicklingError, AttributeError, TypeError):  # a class made in a function: the schema is sent, not the class
        return False


def _typed(schema: Schema, made: tuple[Any, ...]) -> JsonGuide:
    guide: JsonGuide = made[0](*made[1])
    guide.schema = schema
    return guide


def json(*, whitespace: Literal["flexible", "compact", "pretty"] = "flexible", limits: Limits | None = None) -> JsonGuide:
    """The guide of all JSON texts.

    >>> json().matches(b'[1, {"a": null}]'), json().matches(b"[1,]")
    (True, False)
    """
    return json_schema(True, whitespace=whitespace, limits=limits)


def parse(schema: Any, text: str) -> Any:
    """The value of a finished text: a `Person` for `schema=Person`, a JSON value for dicts and texts.

    Raises `InvalidInput` if the text does not satisfy the schema, or if the class refuses what does (`RefusedValue`, with the
    text and the cause); nothing invalid is returned.

    >>> parse({"type": "array"}, "[1]"), parse(tuple[int, int], "[1, 2]")
    ([1], (1, 2))
    """
    return (schema if isinstance(schema, Schema) else Schema(schema)).value(text)


@lru_cache(maxsize=1)
def _publish() -> None:
    """Offers the published metaschemas to $ref."""
    known = _json.loads(files("espalier.constraints.schema").joinpath("metaschemas.json").read_text())
    for uri, metaschema in known.items():
        _grammar.offer_schema(uri, _json.dumps(metaschema))
