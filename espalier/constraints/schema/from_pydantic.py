"""The JSON schema of what Pydantic reads: closed objects, numbers for decimals, names of members as their type spells them."""

from __future__ import annotations

import enum
import json
from decimal import Decimal
from functools import lru_cache
from typing import Any

from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import to_jsonable_python

from espalier.errors import InvalidInput

Core = Any  # one of Pydantic's core schemas

_LABEL = "(?!xn--)[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_BYTE = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_HOST = f"(?:(?:{_LABEL}\\.){{0,16}}(?!xn--)[A-Za-z](?:[A-Za-z0-9-]{{0,61}}[A-Za-z0-9])?|(?:{_BYTE}\\.){{3}}{_BYTE})"
_PLACE = f"(?:[A-Za-z0-9._~%!$&'()*+,;=:-]*@)?{_HOST}(?::[0-9]{{1,4}})?(?:[/?#].*)?"
_BASE64 = "^(?:[A-Za-z0-9{0}]{{4}})*(?:[A-Za-z0-9{0}][AQgw]==|[A-Za-z0-9{0}]{{2}}[AEIMQUYcgkosw048]=)?$"
_SECOND = "[0-5]"  # no class of Python holds a leap second

FORMATS: dict[str, dict[str, Any]] = {  # what else a text needs so that its class takes it
    "date": {"pattern": "^(?!0000)"},  # years begin with 1
    "date-time": {"pattern": f"^(?!0000).{{17}}{_SECOND}"},
    "time": {"pattern": f"^.{{6}}{_SECOND}"},
    "duration": {"pattern": "^P(?!.*[YMWD0-9][0-9]{4})(?=.)"},
    "base64": {"pattern": _BASE64.format("+/")},
    "base64url": {"pattern": _BASE64.format("_-")},
    "ipvanyaddress": {"anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]},
    "ipv4interface": {"pattern": f"^(?:{_BYTE}\\.){{3}}{_BYTE}/(?:[12]?[0-9]|3[0-2])$"},
    **{f"uuid{v}": {"format": "uuid", "pattern": f"^.{{14}}{v}.{{4}}[89abAB]"} for v in (1, 3, 4, 5, 6, 7, 8)},
}
_UNREADABLE = {  # what a grammar cannot know
    "file-path": "write pathlib.Path",
    "directory-path": "write pathlib.Path",
    "ipv6network": "write str",
    "ipv6interface": "write ipaddress.IPv6Address or str",
    "ipvanynetwork": "write ipaddress.IPv4Network or str",
    "ipvanyinterface": "write ipaddress.IPv4Interface or str",
}


class Generate(GenerateJsonSchema):
    """Pydantic's generator, where it says less than its reader demands."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012

    def generate(self, schema: Core, mode: Any = "validation") -> dict[str, Any]:
        made: dict[str, Any] = _narrowed(super().generate(schema, mode))
        return made

    def field_is_present(self, field: Any) -> bool:
        return field.get("init") is not False and super().field_is_present(field)

    def model_schema(self, schema: Any) -> dict[str, Any]:
        return _closed(super().model_schema(schema))

    def dataclass_schema(self, schema: Any) -> dict[str, Any]:
        return _closed(super().dataclass_schema(schema))

    def typed_dict_schema(self, schema: Any) -> dict[str, Any]:
        return _closed(super().typed_dict_schema(schema))

    def decimal_schema(self, schema: Any) -> dict[str, Any]:
        made: dict[str, Any] = {"type": "number", "format": "decimal"}
        for name, keyword in (("ge", "minimum"), ("gt", "exclusiveMinimum"), ("le", "maximum"), ("lt", "exclusiveMaximum")):
            if schema.get(name) is not None:
                made[keyword] = _number(schema[name])
        if schema.get("multiple_of") is not None:
            made["multipleOf"] = _number(schema["multiple_of"])
        digits, places = schema.get("max_digits"), schema.get("decimal_places")
        if digits is not None:
            counts = range(min(digits, 28) + 1) if places is None else [places]
            made["anyOf"] = [_fitting(count, digits - count) for count in counts]
        elif places is not None:
            made["allOf"] = [_fitting(places, None)]
        return made

    def url_schema(self, schema: Any) -> dict[str, Any]:
        allowed = schema.get("allowed_schemes")
        if allowed:
            pattern = f"^(?:{'|'.join(allowed)})://{_PLACE}$"
        else:
            special = "(?!(?:https?|wss?|ftp|file):)"
            scheme = "[A-Za-z][A-Za-z0-9+.-]{0,30}"
            pattern = f"^(?:(?!file:){scheme}://{_PLACE}|{special}{scheme}:[A-Za-z0-9].*)$"
        return {**super().url_schema(schema), "pattern": pattern}

    def json_schema(self, schema: Any) -> dict[str, Any]:
        raise InvalidInput("a JSON text inside a JSON string cannot be followed; write the inner type itself, not Json[…]")

    def is_subclass_schema(self, schema: Any) -> dict[str, Any]:
        raise InvalidInput("a class has no JSON form; write Literal[…] or an Enum of its names")

    def datetime_schema(self, schema: Any) -> dict[str, Any]:
        made = super().datetime_schema(schema)
        if schema.get("tz_constraint") == "naive":
            days = "(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31"
            day = f"(?!0000)[0-9]{{4}}-(?:{days})"
            clock = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,6})?"
            return {"type": "string", "pattern": f"^{day}T{clock}$"}
        return made

    def dict_schema(self, schema: Any) -> dict[str, Any]:
        made = super().dict_schema(schema)
        names = self._names(schema.get("keys_schema"))
        made.pop("patternProperties", None)
        made.pop("propertyNames", None)
        inner = schema.get("values_schema")
        made["additionalProperties"] = self.generate_inner(inner).copy() if inner else True
        return {**made, "propertyNames": names} if names else made

    def _names(self, keys: Core | None) -> dict[str, Any] | None:
        """What the names of an object are, None for any: JSON spells them as strings, whatever they are read as."""
        if keys is None:
            return None
        kind = keys["type"]
        if kind == "int":
            return _integer_names(keys)
        if kind == "float":
            return {"pattern": "^-?(?:0|[1-9][0-9]{0,14})(?:\\.[0-9]{1,15})?$"}
        if kind == "bool":
            return {"enum": ["true", "false"]}
        if kind in ("enum", "literal"):
            return {"enum": list(spelled(keys))}
        if kind in ("function-before", "function-after", "function-wrap") and keys["schema"]["type"] in (
            "int",
            "float",
            "bool",
            "enum",
            "literal",
        ):
            return self._names(keys["schema"])
        found = self.generate_inner(keys)
        plain = found
        while "$ref" in plain:
            plain = self.get_schema_from_definitions(plain["$ref"]) or {}
        if plain.get("type") == "string":
            return {k: v for k, v in found.items() if k != "title"}
        if not plain:
            return None
        raise InvalidInput(
            f"the names of a JSON object are strings, and {plain.get('type', 'these keys')} is not read from one; "
            "write dict[str, …], or a list of pairs"
        )


def spelled(node: Core) -> dict[str, Any]:
    """The names that stand for the members of an enumeration or a Literal, where they are the names of an object."""
    listed = node["members"] if node["type"] == "enum" else node["expected"]
    found: dict[str, Any] = {}
    for member in listed:
        value = to_jsonable_python(member.value if isinstance(member, enum.Enum) else member)
        if not isinstance(value, (str, int, float)):
            raise InvalidInput(
                f"the names of a JSON object are strings, and {member!r} is not read from one; write dict[str, …]"
            )
        found[value if isinstance(value, str) else json.dumps(value)] = member
    return found


def _integer_names(keys: Core) -> dict[str, Any]:
    low = keys["ge"] if keys.get("ge") is not None else keys["gt"] + 1 if keys.get("gt") is not None else None
    high = keys["le"] if keys.get("le") is not None else keys["lt"] - 1 if keys.get("lt") is not None else None
    if keys.get("multiple_of") is None and low in (None, 0, 1) and high is None:
        return {"pattern": {None: "^(?:0|-?[1-9][0-9]*)$", 0: "^(?:0|[1-9][0-9]*)$", 1: "^[1-9][0-9]*$"}[low]}
    if low is not None and high is not None and high - low < 10_000:
        return {"enum": [str(i) for i in range(low, high + 1) if i % (keys.get("multiple_of") or 1) == 0]}
    raise InvalidInput(
        "bounds of integers that name members must lie on both sides, at most 10,000 apart; or write dict[str, …]"
    )


def _closed(made: dict[str, Any]) -> dict[str, Any]:
    """Without members but the listed ones (Pydantic would ignore others, unless the class says otherwise)."""
    return {**made, "additionalProperties": False} if "properties" in made and "additionalProperties" not in made else made


def _number(value: Any) -> int | float:
    exact = Decimal(str(value))
    return int(exact) if exact == exact.to_integral_value() else float(exact)


def _fitting(places: int, whole: int | None) -> dict[str, Any]:
    """Numbers of at most `places` digits after the point and `whole` before it."""
    made: dict[str, Any] = {"multipleOf": 1 if places == 0 else float(Decimal(1).scaleb(-places))}
    if whole is not None:
        made |= {"exclusiveMinimum": -(10**whole), "exclusiveMaximum": 10**whole}
    return made


@lru_cache(maxsize=1)
def _networks() -> str:
    """IPv4 networks: the bits behind the prefix are 0."""
    forms = []
    for prefix in range(33):
        full, rest = divmod(prefix, 8)
        parts = [_BYTE] * full
        if full < 4:
            steps = [str(i) for i in range(0, 256, 2 ** (8 - rest))]
            parts += [f"(?:{'|'.join(steps)})", *["0"] * (3 - full)]
        forms.append("\\.".join(parts) + f"/{prefix}")
    return f"^(?:{'|'.join(forms)})$"


def _narrowed(schema: Any) -> Any:
    """With what each format needs besides, so that a text of the set is one that its class takes."""
    if isinstance(schema, list):
        return [_narrowed(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    made = {
        key: value if key in ("default", "const", "enum", "examples") else _narrowed(value) for key, value in schema.items()
    }
    form = made.get("format")
    if made.get("type") != "string" or not isinstance(form, str):
        return made
    if form in _UNREADABLE:
        raise InvalidInput(f"a text of the format {form} is only known to be one when it is whole; {_UNREADABLE[form]}")
    more = {"pattern": _networks()} if form == "ipv4network" else FORMATS.get(form)
    if more is None:
        return made
    if form in ("ipvanyaddress", "ipv4interface", "ipv4network", "base64", "base64url") or form.startswith("uuid"):
        del made["format"]
    return {**made, "allOf": [*made.get("allOf", []), more]}


__all__ = ["FORMATS", "Generate", "spelled"]
