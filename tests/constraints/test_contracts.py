"""What people pass by mistake is told in words, and what they pass rarely works."""

from __future__ import annotations

import gc
import threading
from typing import Any

import numpy as np
import pytest

import espalier as es
from espalier.errors import InvalidInput, LimitExceeded
from espalier.text.vocab import Vocab

LETTERS = Vocab([b"a", b"b", b"ab", None], end=[3])


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: es.regex(b"a"), "a pattern is a str"),  # type: ignore[arg-type]
        (lambda: es.regex(None), "a pattern is a str"),  # type: ignore[arg-type]
        (lambda: es.choices([1, 2]), "write '1'"),  # type: ignore[list-item]
        (lambda: es.choices(None), "give a list of texts"),  # type: ignore[arg-type]
        (lambda: es.cfg(b"s ::= 'a'"), "give the grammar as a str"),  # type: ignore[arg-type]
        (lambda: es.regex("a").matches("a"), "bytes"),  # type: ignore[arg-type]
        (lambda: es.regex("a").advance(es.regex("a").start(), "a"), "bytes"),  # type: ignore[arg-type]
        (lambda: es.regex("a").advance(12345, b"a"), "none of regex a's"),
        (lambda: es.regex("a").accepts(12345), "none of regex a's"),
        (lambda: es.masks(es.regex("a"), LETTERS).advance(12345, 0), "none of regex a's"),
        (lambda: es.masks(es.regex("a"), None), "a Vocab"),  # type: ignore[arg-type]
        (lambda: es.masks("a", LETTERS), "give a guide"),  # type: ignore[arg-type]
        (lambda: es.masks(es.regex("a"), LETTERS).start([0]), "int32"),
        (lambda: es.json_schema({}, registry=["x"]), "addresses and their schemas"),  # type: ignore[arg-type]
        (lambda: es.explain("{"), "not JSON"),
    ],
)
def test_mistakes_are_told(call: Any, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        call()


@pytest.mark.parametrize("field", ["compile_ms", "states", "memory_mb", "mask_us"])
@pytest.mark.parametrize("bound", [0, -1, "a", float("nan"), True])
def test_what_is_no_bound_is_refused(field: str, bound: Any) -> None:
    with pytest.raises(InvalidInput, match=field):
        es.Limits(**{field: bound})


@pytest.mark.parametrize("bound", [None, float("inf"), 1e6])
def test_bounds_may_be_left_out(bound: float | None) -> None:
    limits = es.Limits(compile_ms=bound, states=bound, memory_mb=bound, mask_us=bound)  # type: ignore[arg-type]
    assert es.regex("unbounded[0-9]", limits=limits).matches(b"unbounded7")


def test_choices_have_limits() -> None:
    with pytest.raises(LimitExceeded, match="choices"):
        es.choices([f"limited {i}" for i in range(5_000)], limits=es.Limits(states=10))


def test_a_pattern_with_hundreds_of_open_alternatives() -> None:
    guide = es.regex("[ab]*a[ab]{600}")
    assert not guide.matches(b"ab" * 600)
    assert guide.matches(b"ab" * 600 + b"b")


def test_gbnf_begins_at_root_wherever_it_stands() -> None:
    text = 'ws ::= " "*\nroot ::= "a" ws NUMBER\nNUMBER ::= digit+\ndigit ::= [0-9]\n'
    for dialect in ("auto", "gbnf"):
        assert es.cfg(text, dialect=dialect).matches(b"a  12")
    assert es.cfg('ws ::= " "*\nroot ::= "a" ws /b+/', dialect="auto").matches(b"a bb")


def test_a_cursor_keeps_its_buffer() -> None:
    fill = es.masks(es.regex("ab*"), LETTERS).start(np.zeros(1, dtype=np.int32)).fill
    gc.collect()
    others = [np.full(1, 77, dtype=np.int32) for _ in range(100)]
    fill()
    assert all(int(other[0]) == 77 for other in others)


def test_guides_are_made_and_read_in_several_threads() -> None:
    wrong: list[object] = []

    def work(seed: int) -> None:
        for i in range(60):
            word = f"thread{seed}x{i}"
            guide = es.choices([word, word + "y"]) | es.json_schema({"const": word})
            if not guide.matches(word.encode()) or guide.matches(b"thread"):
                wrong.append(word)
            buffer = np.zeros(1, dtype=np.int32)
            es.masks(es.regex(f"a{{{seed},{seed + i}}}b"), LETTERS).start(buffer).fill()
            if int(buffer[0]) & 1 != (seed > 0 or i > 0):
                wrong.append((seed, i))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_an_intersection_is_a_guide_that_combines() -> None:
    whole, large = es.json_schema({"type": "integer"}), es.json_schema({"minimum": 3})
    number, letter = whole & large, es.regex("x")
    cases: list[tuple[es.Guide, list[bytes], list[bytes]]] = [
        (number | letter, [b"5", b"x"], [b"2", b"5.5", b"5x"]),
        (number + letter, [b"5x", b"12x"], [b"2x", b"5", b"5.5x"]),
        (number.repeat(2, 2), [b"33", b"312"], [b"2", b"3", b"1.51.5"]),
        ((letter + number) & (letter + es.regex("[0-6]+")), [b"x5"], [b"x7", b"x2"]),
        (es.cfg('s ::= "<" n ">" | "(" s ")"', n=number), [b"<5>", b"((<5>))"], [b"<2>", b"<5"]),
    ]
    vocab = Vocab([b"x", b"<", b">", *(b"%d" % i for i in range(10)), b"5x", b"<5", b"(", None], end=[16])
    for guide, inside, outside in cases:
        assert guide.exactness == "over"
        assert [guide.matches(text) for text in inside + outside] == [True] * len(inside) + [False] * len(outside)
        masks = es.masks(guide, vocab)
        buffer = np.zeros(masks.words, dtype=np.int32)
        masks.fill(masks.state(), buffer)
        allowed = {id for id in range(16) if int(buffer[id >> 5]) >> (id & 31) & 1}
        assert allowed == {id for id in range(16) if guide.advance(guide.start(), vocab[id]) is not None}
