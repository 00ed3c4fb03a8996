"""The store of expressions against brute force: random expressions over a small alphabet, all words up to a length."""

import itertools
import json
import random

import pytest

from espalier import _grammar as g

ALPHABET = b"ab"
LENGTH = 6
WORDS = [bytes(w) for n in range(LENGTH + 1) for w in itertools.product(ALPHABET, repeat=n)]
ALL = frozenset(WORDS)
LETTERS = g.re_bytes([(97, 98)])


def join(x: frozenset[bytes], y: frozenset[bytes]) -> frozenset[bytes]:
    return frozenset(u + v for u in x for v in y if len(u) + len(v) <= LENGTH)


def power(x: frozenset[bytes], lo: int, hi: int) -> frozenset[bytes]:
    total: frozenset[bytes] = frozenset()
    word = frozenset([b""])
    for n in range(min(hi, lo + LENGTH) + 1):
        if n >= lo:
            total |= word
        word = join(word, x)
    return total


def build(rng: random.Random, depth: int) -> tuple[int, frozenset[bytes]]:
    """A random expression within the words over the alphabet, and its words up to LENGTH."""
    kind = (
        rng.choice(["literal", "set"])
        if depth == 0
        else rng.choice(["cat", "cat", "alt", "alt", "and", "not", "repeat", "repeat", "repeat"])
    )
    if kind == "literal":
        word = bytes(rng.choice(ALPHABET) for _ in range(rng.randrange(4)))
        return g.re_literal(word), frozenset([word])
    if kind == "set":
        letters = rng.sample(list(ALPHABET), rng.randrange(1, 3))
        return g.re_bytes([(c, c) for c in letters]), frozenset(bytes([c]) for c in letters)
    a, x = build(rng, depth - 1)
    if kind == "not":
        return g.re_both(g.re_repeat(LETTERS, 0, g.INF), g.re_negate(a)), ALL - x
    if kind == "repeat":
        lo = rng.randrange(4)
        hi = rng.choice([lo, lo + 1, lo + 3, g.INF])
        return g.re_repeat(a, lo, hi), power(x, lo, hi)
    b, y = build(rng, depth - 1)
    if kind == "cat":
        return g.re_cat(a, b), join(x, y)
    return (g.re_alt([a, b]), x | y) if kind == "alt" else (g.re_both(a, b), x & y)


@pytest.mark.parametrize("seed", range(8))
def test_words_and_prefixes_are_those_of_the_language(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(250):
        r, words = build(rng, rng.randrange(1, 5))
        state = {b"": r}
        for word in WORDS:
            if word:
                state[word] = g.re_step(state[word[:-1]], word[-1])
            s = state[word]
            assert g.re_nullable(s) == (word in words), word
            assert (s == 0) == g.re_empty(s) or word == b""
            if any(w.startswith(word) for w in words):
                assert s != 0
        # a residual that is alive has a word within it: found by breadth-first search over derivatives
        for word in WORDS[: 1 << 4]:
            assert g.re_empty(state[word]) == (shortest(state[word]) is None)


def shortest(r: int) -> bytes | None:
    seen, layer = {r}, {r: b""}
    while layer:
        for s, word in layer.items():
            if g.re_nullable(s):
                return word
        layer = {
            t: word + bytes([c])
            for s, word in layer.items()
            for c in ALPHABET
            for t in [g.re_step(s, c)]
            if t not in seen and not seen.add(t)
        }
    return None


def run(r: int, text: bytes) -> int:
    for byte in text:
        r = g.re_step(r, byte)
    return r


@pytest.mark.parametrize(
    ("lo", "hi"), [(0, 0x10FFFF), (0x80, 0x7FF), (0x7F, 0x80), (0x3A1, 0x10437), (0xD000, 0xE123), (0x41, 0x41)]
)
def test_code_points_are_exactly_their_utf8(lo: int, hi: int) -> None:
    r = g.re_codepoints([(lo, hi)])
    rng = random.Random(0)
    for c in [lo, hi, lo - 1, hi + 1, *(rng.randrange(0x110000) for _ in range(3000))]:
        if 0 <= c < 0x110000 and not 0xD800 <= c < 0xE000:
            assert g.re_nullable(run(r, chr(c).encode())) == (lo <= c <= hi), hex(c)


@pytest.mark.parametrize("bad", [b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80", b"\xff", b"\xe0\x80\x80", b"\xf8"])
def test_text_refuses_what_is_not_utf8(bad: bytes) -> None:
    assert run(g.re_text(), b"a" + bad) == 0


def test_counted_repeats_are_not_expanded() -> None:
    before = g.re_count()
    r = g.re_repeat(g.re_literal(b"ab"), 10_000, 20_000)
    assert g.re_count() - before < 10
    assert g.re_nullable(run(r, b"ab" * 10_000))
    assert not g.re_nullable(run(r, b"ab" * 9_999))
    ambiguous = g.re_repeat(g.re_alt([g.re_literal(b"a"), g.re_literal(b"aa")]), 3000, 3000)
    before = g.re_count()
    assert [g.re_nullable(run(ambiguous, b"a" * n)) for n in (2999, 3000, 6000, 6001)] == [False, True, True, False]
    assert g.re_count() - before < 100_000


def test_json_string_is_the_set_of_spellings() -> None:
    texts = ["", "é", 'a"b', "\U0001f600", "\n", "ab", "/"]
    r = g.re_json_string(g.re_alt([g.re_literal(t.encode()) for t in texts]))
    for t in texts:
        for spelled in (
            json.dumps(t),
            json.dumps(t, ensure_ascii=False),
            '"' + "".join(f"\\u{u:04X}" for u in units(t)) + '"',
        ):
            assert g.re_nullable(run(r, spelled[1:-1].encode())), spelled
    assert g.re_nullable(run(r, b"\\/"))
    for bad in (b'"', b"\n", b"\\ud83d", b"\\udc00", b"\\ud83d\\u0041", b"\\x", b"aa"):
        assert not g.re_nullable(run(r, bad)), bad
    everything = g.re_json_string(g.re_text())
    assert run(everything, b"\\ude00") == 0
    assert run(everything, b"\\uDC") == 0, "a low surrogate alone stands for no text"
    assert run(everything, b"\\ud83d\\uDe") != 0


def units(text: str) -> list[int]:
    data = text.encode("utf-16-be")
    return [data[i] << 8 | data[i + 1] for i in range(0, len(data), 2)]
