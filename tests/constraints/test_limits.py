"""Each bound of `Limits` ends what goes past it, for every kind of guide, byte by byte, in masks and under `generate`."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from toys import random_lm

import espalier as es
from espalier.constraints import Guide, Limits
from espalier.errors import LimitExceeded
from espalier.text.vocab import Vocab

BYTES = Vocab([*(bytes([b]) for b in range(256)), None], end=[256])


def hard(letter: str) -> str:
    """A pattern with a state for each of the last letters. Each test has its own: equal expressions cost nothing twice."""
    return f"(.*a.{{18}}{letter}.*)&~(.*a.{{17}}{letter}.*)&(.*{letter}.{{19}}a.*)"


def as_regex(letter: str, limits: Limits) -> Guide:
    return es.regex(hard(letter), limits=limits)


def as_cfg(letter: str, limits: Limits) -> Guide:
    return es.cfg(f's ::= t | "(" s ")"\nt ::= /{hard(letter)}/', limits=limits)


def as_schema(letter: str, limits: Limits) -> Guide:
    pattern = f"^[uv]*{letter}[uv{letter}]{{30}}[uv]*u[uv]{{11}}$"
    return es.json_schema({"properties": {"code": {"type": "string", "pattern": pattern}}, "required": ["code"]}, limits=limits)


def use(make: Callable[[str, Limits], Guide], letter: str, limits: Limits) -> None:
    guide = make(letter, limits)
    text = b"".join(bytes([b"uvab"[i * i % 7 % 4]]) for i in range(60)) * 20
    if make is as_schema:
        text = b'{"code": "' + letter.encode() * 31 + b"".join(bytes([b"uv"[i * i // 3 % 7 % 2]]) for i in range(2_000)) + b'"}'
    guide.matches(text)


BOUNDS = {"states": Limits(states=25), "memory": Limits(memory_mb=0.001), "time": Limits(compile_ms=0.001)}
KINDS = {"regex": as_regex, "cfg": as_cfg, "schema": as_schema}


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("kind", KINDS)
def test_states_memory_and_time_of_bytes(kind: str, bound: str) -> None:
    letter = "cdefghijk"[list(KINDS).index(kind) * 3 + list(BOUNDS).index(bound)]
    begun = time.process_time()
    with pytest.raises(LimitExceeded, match="Limits"):
        use(KINDS[kind], letter, BOUNDS[bound])
    assert time.process_time() - begun < 5


def test_the_place_is_named() -> None:
    code = bytes(random.Random(1).choices(b"uv", k=2_000))
    inner = {"properties": {"code": {"type": "string", "pattern": "^[uv]*u[uv]{12}w?$"}}}
    guide = es.json_schema({"properties": {"inner": inner}}, limits=Limits(states=500))
    with pytest.raises(LimitExceeded, match="at #/properties/inner"):
        guide.matches(b'{"inner": {"code": "' + code + b'"}}')
    grammar = es.cfg('outer ::= "(" outer ")" | /[uv]*u[uv]{13}x/', limits=Limits(states=500))
    with pytest.raises(LimitExceeded, match="at rule `outer`"):
        grammar.matches(b"((" + code)


@pytest.mark.parametrize("kind", KINDS)
def test_time_of_a_mask(kind: str) -> None:
    letter = "xyz"[list(KINDS).index(kind)]
    pieces = [bytes([b'uv"a{c:xyz'[(i * j + i) % 10] for j in range(i % 23 + 1)]) + str(i).encode() for i in range(30_000)]
    vocab = Vocab([b'"', *pieces, None], end=[len(pieces) + 1])
    guide = KINDS[kind](letter, Limits(mask_us=1))
    if kind == "schema":
        guide = es.json_schema({"type": "string", "pattern": f"^[^{letter}]*([uv]+{letter}){{2,90}}"}, limits=Limits(mask_us=1))
    buffer = np.zeros((vocab.size + 31) // 32, dtype=np.int32)
    cursor = es.masks(guide, vocab).start(buffer)
    assert kind != "schema" or cursor.commit(0)
    with pytest.raises(LimitExceeded, match="Limits"):
        cursor.fill()


@pytest.mark.parametrize("bound", BOUNDS)
def test_generate_raises_it_too(bound: str) -> None:
    guide = partial(as_regex, "lmn"[list(BOUNDS).index(bound)], BOUNDS[bound])
    with pytest.raises(LimitExceeded, match="Limits"):
        random_lm().generate(es.raw("x"), constraint=guide(), max_tokens=50)


def test_generate_is_told_of_a_slow_mask() -> None:
    lm = random_lm()
    odd = next(token for token in lm.vocab.tokens if token and b"\n" not in token)
    guide = es.choices([odd * 3, odd * 5], limits=Limits(mask_us=1e-6))
    with pytest.raises(LimitExceeded, match="Limits"):  # n: until the model disagrees so much that a mask is made
        lm.generate(es.raw("x"), constraint=guide, temperature=5.0, seed=1, n=20, max_tokens=8)


@pytest.mark.parametrize("bad", [b'"\xff"', b'"\xc3"', b"\xed\xa0\x80", b'"\xf8\x88\x80\x80\x80"'])
def test_ill_formed_utf8_is_refused(bad: bytes) -> None:
    assert not es.json().matches(bad)
    assert not es.regex(".*").matches(bad)
    assert not es.cfg("s ::= /.*/").matches(bad)


def test_what_is_not_a_number_is_refused() -> None:
    for text in (b"NaN", b"Infinity", b"-Infinity", b"1e", b"0x1", b".5"):
        assert not es.json_schema({"type": "number"}).matches(text)
    for schema in ({"const": float("nan")}, {"maximum": float("inf")}):
        with pytest.raises(es.InvalidInput, match="NaN"):
            es.json_schema(schema)


def test_nesting_of_ten_thousand() -> None:
    depth = 10_000
    nested: Any = es.cfg('s ::= "(" s ")" | "x"')
    assert nested.matches(b"(" * depth + b"x" + b")" * depth)
    deep = '{"items":' * depth + "true" + "}" * depth
    with pytest.raises(es.InvalidInput, match="nested deeper than"):
        es.json_schema(deep)
    with pytest.raises(es.InvalidInput, match="nested deeper than"):
        es.regex("(" * depth + "a" + ")" * depth)
    with pytest.raises(es.InvalidInput, match="nested deeper than"):
        es.regex("~" * depth + "a")
    assert es.regex("a{10000}").matches(b"a" * depth)
