"""How numbers are spelled: the specification's set, and the plain one that a model is offered; one set for checks and masks."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import pytest
import torch
from toys import random_lm

import espalier as es
from espalier.errors import InvalidInput
from espalier.text.vocab import Vocab

DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")
SCHEMAS: list[dict[str, Any]] = [
    {"type": "integer"},
    {"type": "number"},
    {"type": "integer", "minimum": -3, "maximum": 12},
    {"type": "number", "exclusiveMinimum": 0.1, "maximum": 0.3},
    {"type": "number", "multipleOf": 0.25, "minimum": 0, "maximum": 1},
    {"type": "integer", "multipleOf": 3},
    {"type": "number", "not": {"type": "integer"}},
    {"anyOf": [{"type": "integer", "maximum": 5}, {"type": "number", "minimum": 100}]},
    {"enum": [1, 2.5, -3]},
    {"const": 100},
    {"type": "integer", "minimum": 10**18},
]
TEXTS = [f"{s}{w}{f}{e}" for s in ("", "-") for w in ("0", "1", "2", "5", "12", "100", "300", "1" + "0" * 18)
         for f in ("", ".0", ".5", ".25", ".2", ".000000") for e in ("", "e0", "E+2", "e-1")]  # fmt: skip


@pytest.mark.parametrize("schema", SCHEMAS)
def test_the_plain_set_is_what_is_plainly_spelled_of_the_full_one(schema: dict[str, Any]) -> None:
    full, plain = es.json_schema(schema), es.json_schema(schema, numbers="plain")
    for text in TEXTS:
        data, ordinary = text.encode(), DECIMAL.fullmatch(text) is not None
        if plain.matches(data):
            assert full.matches(data)
            assert ordinary
        elif ordinary and full.matches(data):  # missing is what writes an integer with a point, -0, and what is too long
            whole, _, fraction = text.lstrip("-").partition(".")
            assert (fraction and not int(fraction)) or text == "-0" or len(whole) > 15


@pytest.mark.parametrize("schema", SCHEMAS)
def test_masks_have_the_same_set(schema: dict[str, Any]) -> None:
    vocab = Vocab([bytes([b]) for b in b"0123456789.-+eE "] + [b"00", b".0", b"e1", b"12", None], end=[20])
    guide = es.json_schema(schema, numbers="plain")
    masks, rng = es.masks(guide, vocab), random.Random(1)
    buffer = torch.zeros(1, dtype=torch.int32)
    for _ in range(30):
        state = masks.state()
        at = guide.start()
        for _ in range(12):
            masks.fill(state, buffer)
            allowed = [t for t in range(20) if int(buffer[0]) >> t & 1]
            assert allowed == [t for t in range(20) if guide.advance(at, vocab[t]) is not None]
            assert bool(int(buffer[0]) >> 20 & 1) == guide.accepts(at)
            if not allowed:
                break
            token = rng.choice(allowed)
            state, at = masks.advance(state, token), guide.advance(at, vocab[token])


def test_exponents_are_offered_where_a_bound_leaves_nothing_else() -> None:
    for schema, good in (({"minimum": 1e60}, "1e60"), ({"exclusiveMinimum": 0, "maximum": 1e-60}, "1e-60")):
        assert es.json_schema({"type": "number"} | schema, numbers="plain").matches(good.encode())
    wide = es.json_schema({"type": "number", "minimum": 1e-60}, numbers="plain")
    assert (wide.matches(b"0.5"), wide.matches(b"1e3")) == (True, False)
    assert not es.json_schema({"type": "integer"}, numbers="plain").matches(b"1.11111111111111112222E+12")


def test_digits_come_to_an_end() -> None:
    for schema in ({"type": "integer"}, {"type": "number"}, {}):
        guide = es.json_schema(schema, numbers="plain")
        state, n = guide.start(), 0
        while (after := guide.advance(state, b"3")) is not None:
            state, n = after, n + 1
        assert n <= (10**6 if schema == {"type": "integer"} else 15)
        assert guide.accepts(state)


def test_generate_offers_plain_numbers() -> None:
    lm = random_lm(seed=3)
    schema = {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 3}
    for seed in range(5):
        out = lm.complete(es.raw("x"), schema=schema, temperature=1.0, seed=seed, max_tokens=300)
        assert "." not in out.text
        assert "e" not in out.text
        if out.whole:
            assert out.parsed == json.loads(out.text)
            assert all(type(n) is int for n in out.parsed)


def test_numbers_is_one_of_two_words() -> None:
    with pytest.raises(InvalidInput, match="numbers='float'"):
        es.json_schema({}, numbers="float")  # type: ignore[arg-type]
