"""The search of dead ends under random schemas that leave few texts or none: never beyond its bound of passes."""

from __future__ import annotations

import contextlib
import os
import random
from typing import Any

import pytest
from toys import random_lm

import espalier as es
from espalier.errors import EspalierError

MANY = int(os.environ.get("ESPALIER_SCHEMAS", "24"))  # 2,000 in the long form
TOKENS = 14


def schema(rng: random.Random, depth: int = 2) -> dict[str, Any]:
    """Keywords that are decided late, with bounds that leave little room."""
    leaves: list[dict[str, Any]] = [
        {"type": "integer", "multipleOf": rng.randrange(2, 40), "minimum": rng.randrange(50), "maximum": rng.randrange(120)},
        {"type": "number", "multipleOf": rng.choice([3, 0.7, 12.5])},
        {"type": "string", "pattern": rng.choice(["^a{3}$", "(?<!b)c", "^(?:(?!ab)[ab])+$"]), "maxLength": rng.randrange(5)},
        {"enum": rng.sample([1, "a", None, True, [1], "ab"], rng.randrange(1, 4))},
        {"not": {"type": rng.choice(["string", "object", "number"])}, "type": rng.choice(["string", "integer"])},
    ]
    if depth == 0 or rng.random() < 0.3:
        return rng.choice(leaves)
    inner, other = schema(rng, depth - 1), schema(rng, depth - 1)
    nested: list[dict[str, Any]] = [
        {"type": "array", "items": inner, "uniqueItems": True, "minItems": rng.randrange(4), "maxItems": rng.randrange(1, 5)},
        {"type": "object", "properties": {"a": inner, "b": other}, "required": ["a"], "maxProperties": rng.randrange(1, 3)},
        {"oneOf": [inner, other]},
        {"allOf": [inner, {"not": other}]},
        {"if": inner, "then": other, "else": {"type": "integer"}},
        {"type": "array", "contains": inner, "minContains": rng.randrange(3), "maxItems": 3},
    ]
    return rng.choice(nested)


@pytest.mark.parametrize("part", range(4))
def test_no_schema_takes_passes_beyond_the_bound(part: int) -> None:
    rng, whole = random.Random(part), 0
    for number in range(MANY // 4):
        given = schema(rng)
        lm = random_lm(number % 7)
        options = {"in_time": rng.random() < 0.5, "temperature": rng.choice([0.0, 1.0]), "seed": number}
        out = None
        with contextlib.suppress(EspalierError):
            out = lm.complete(es.raw("x"), schema=given, max_tokens=TOKENS, **options)
        if out is not None and out.whole:
            whole += 1
            assert es.json_schema(given).matches(out.text.encode()), (given, out.text)
        assert lm.model.passes <= 9 * TOKENS + 100, given  # type: ignore[attr-defined]
    assert whole > 0
