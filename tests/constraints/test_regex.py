"""`es.regex` against Python's re and the package regex, on all texts up to a length and prefix by prefix."""

import itertools
import random
import re
import unicodedata

import pytest
import regex as unicode_regex

from espalier.constraints import regex
from espalier.errors import InvalidInput, LimitExceeded, Unsatisfiable

TEXTS = ["".join(w) for n in range(6) for w in itertools.product("ab,", repeat=n)]


def pattern(rng: random.Random, depth: int, looks: bool) -> str:
    if depth == 0:
        return rng.choice(["a", "b", ",", "ab", ".", "[ab]", "[^a]", "", r"\w", r"\W", "(?:)"])
    kind = rng.choice(["cat", "cat", "or", "repeat", "repeat", "group"] + ["look"] * (2 * looks))
    a = pattern(rng, depth - 1, looks)
    if kind == "repeat":
        plain = pattern(rng, depth - 1, False)
        return f"(?:{plain})" + rng.choice(["*", "+", "?", "{2}", "{1,3}", "{2,}", "*?", "+?", "{0,2}?"])
    if kind == "group":
        return rng.choice([f"({a})", f"(?:{a})", f"(?P<n{rng.randrange(10**9)}>{a})"])
    b = pattern(rng, depth - 1, looks)
    if kind == "look":
        return rng.choice([f"(?={a}){b}", f"(?!{a}){b}", f"{a}(?={b})", "^" + a, a + r"\Z", rf"{a}\b{b}", rf"{a}\B", rf"\b{a}"])
    return f"{a}{b}" if kind == "cat" else f"(?:{a}|{b})"


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("search", [False, True])
def test_same_texts_as_python(seed: int, search: bool) -> None:
    rng = random.Random(seed)
    for _ in range(120):
        p = pattern(rng, rng.randrange(1, 4), looks=True)
        compiled = re.compile(p.replace(r"\B", r"(?!\b)"))  # before 3.14 \B is wrong on the empty text
        language = {t for t in TEXTS if (compiled.search(t) if search else compiled.fullmatch(t))}
        guide = regex(p.replace(r"\Z", "$"), search=search)
        assert {t for t in TEXTS if guide_matches(guide, t)} == language, p


def guide_matches(guide, text: str) -> bool:
    try:
        return guide.matches(text.encode())
    except Unsatisfiable:
        return False


@pytest.mark.parametrize("seed", range(4))
def test_a_prefix_is_refused_iff_no_completion_exists(seed: int) -> None:
    """The residual of an allowed prefix is walked to an end; a refused prefix begins no text up to the length."""
    rng = random.Random(seed)
    for _ in range(60):
        p = f"(?:{pattern(rng, 2, False)})&~(?:{pattern(rng, 2, False)})"
        left, right = p.split("&~")
        language = [t for t in TEXTS if re.fullmatch(left, t) and not re.fullmatch(right, t)]
        guide = regex(p)
        try:
            start = guide.start()
        except Unsatisfiable:
            assert not language
            continue
        for text in TEXTS[:100]:
            state = guide.advance(start, text.encode())
            if any(t.startswith(text) for t in language):
                assert state is not None
            if state is not None:
                assert completes(guide, state), (p, text)


def completes(guide, state) -> bool:
    seen, layer = {state}, [state]
    while layer:
        if any(guide.accepts(s) for s in layer):
            return True
        after = {guide.advance(s, c) for s in layer for c in (b"a", b"b", b",", b"\n", "é".encode(), b"x")} - {None}
        layer = list(after - seen)
        seen |= after
    return False


@pytest.mark.parametrize(
    "p",
    [
        r"\w",
        r"\W",
        r"\d",
        r"\D",
        r"\p{Lu}",
        r"\P{L}",
        r"\p{Greek}",
        r"\p{Script=Han}",
        r"[\p{L}\p{Nd}_-]",
        r"\pL",
        r"[^\p{Latin}x]",
        r"\p{Uppercase}",
        r"\p{^Lu}",
        r"(?i)ß|k|ς",
        r"(?i)[a-k]",
        r"\p{sc=Cyrl}",
        r"\p{Any}",
        r"\p{ASCII}",
        r"\p{Cn}",
        r"\p{Lowercase_Letter}",
    ],
)
def test_unicode_classes(p: str) -> None:
    pythonic = p[1] == "?" or p in {r"\w", r"\W", r"\d", r"\D"}
    guide, other = regex(p), re.compile(p) if pythonic else unicode_regex.compile(p)
    rng = random.Random(1)
    ranges = [*range(0x250), *range(0x370, 0x530), *(rng.randrange(0x110000) for _ in range(1500)), 0x212A, 0x17F, 0x10FFFF]
    for c in ranges:
        if 0xD800 <= c < 0xE000 or (pythonic and unicodedata.category(chr(c)) == "Cn"):
            continue
        assert guide.matches(chr(c).encode()) == bool(other.fullmatch(chr(c))), hex(c)


def test_space_is_what_python_calls_space() -> None:
    guide = regex(r"\s")
    assert {c for c in range(0x3100) if guide.matches(chr(c).encode())} == {c for c in range(0x3100) if chr(c).isspace()}


def test_schema_dialect_is_ecma_262() -> None:
    def found(p: str, text: str) -> bool:
        return regex(p, search=True).matches(text.encode())

    assert found("a&~b", "xa&~by")
    assert not found("a&~b", "a")
    assert not found(r"^\d$", "߀")
    assert not found(r"^\w$", "é")
    assert found(r"^\s$", "\ufeff")
    assert not found(r"^.$", "\u2028")
    assert found(r"^[^]$", "\n")
    assert not found("[]", "a")
    assert found(r"^\cC\x41\u{1F600}\ud83d\ude00\/\-$", "\x03A😀😀/-")
    assert found("^a{,2}$", "a{,2}")
    assert found("^(?:[\\w-.]+)$", "a-.")
    assert not found("^(a|b$|^c)", "ca") or found("^(a|b$|^c)", "ca")


@pytest.mark.parametrize(
    ("p", "texts", "others"),
    [
        (r"[a-z]{10000}", ["a" * 10000], ["a" * 9999, "a" * 10001]),
        (r"(?:ab?){5000,20000}", ["ab" * 5000, "a" * 20000], ["ab" * 4999, "a" * 20001]),
        (r"(?s:.){3}", ["a\né"], ["a\n", "a\néx"]),
        (r"(?m)^a$\n^b$", ["a\nb"], ["a", "ab"]),
        (r"(?x) a b # comment", ["ab"], ["a b"]),
        (r"a(?#nothing)b", ["ab"], ["a"]),
        (r"~(.*b.*)&.{2}", ["ac", "é!"], ["ab", "a"]),
        (r"a~b*c", ["axc", "abxc"], ["ac", "abc", "abbc"]),
        (r"(?!.*\d{3})[a-z0-9]{1,6}", ["a12b34", "12"], ["a123"]),
        (r"(?=.*[A-Z])(?=.*\d).{4,}", ["aaA1"], ["aaaa", "A1"]),
        ("", [""], ["a"]),
        ("a{0}", [""], ["a"]),
        (r"\U0001F600", ["😀"], []),
        (r"[]a]", ["]", "a"], ["b"]),
        (r"[^]a]", ["b"], ["]", "a"]),
        (r"[a\-z]", ["-"], ["b"]),
        (r"a{x}", ["a{x}"], ["a"]),
    ],
)
def test_examples(p: str, texts: list[str], others: list[str]) -> None:
    guide = regex(p)
    assert all(guide.matches(t.encode()) for t in texts)
    assert not any(guide.matches(t.encode()) for t in others)


@pytest.mark.parametrize(
    ("p", "says"),
    [
        (r"(a)\1", "back-reference"),
        (r"(?P<x>a)(?P=x)", "back-reference"),
        (r"(?<x>a)\k<x>", "back-reference"),
        ("(?<=a(?!b))b", "beside the look-behind"),
        (r"(?<=a\b)b", "after the look-behind"),
        ("(?:(?<=a.{12})b|a)*", "shorter look-behind"),
        ("(?>a)", "atomic"),
        ("a*+", "possessive"),
        ("(a", "without its"),
        ("a)", "without its"),
        ("[a", "without its"),
        ("*a", "nothing to repeat"),
        ("a{3,2}", "wrong order"),
        ("[z-a]", "wrong order"),
        (r"\p{Klingon}", "unknown Unicode property"),
        (r"\q", "unknown escape"),
        ("(" * 10_000 + ")" * 10_000, "nested deeper"),
        ("(?:a(?=a|b)){1001}", "out of the repeat"),
        (r"\b*", "no length"),
        ("a\\", "at the end"),
        ("a{99999999999}", "repeat count"),
    ],
)
def test_what_cannot_be_read_is_explained(p: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        regex(p)


def test_hard_patterns_end_at_a_limit_or_are_easy() -> None:
    from espalier.constraints import Limits

    assert regex("(a*)*b").matches(b"a" * 5000 + b"b")
    assert regex("(a|a|aa)*b").matches(b"a" * 5000 + b"b")
    assert regex("(.*a.{30})").matches(b"a" * 100)
    tight = Limits(compile_ms=200, states=20_000, memory_mb=20)
    with pytest.raises(LimitExceeded):
        regex("(.*a.{18}b.*)&~(.*a.{17}b.*)&(.*b.{19}a.*)&~(.*[ab].{18}[ab].*)", limits=tight)


@pytest.mark.parametrize("search", [False, True])
def test_what_follows_a_negative_look_ahead_that_matched_is_not_searched(search: bool) -> None:
    from espalier.constraints import Limits

    rest = ["-[0-9]{2}-[0-9]{2}(T.*)?", "-(.*a.{25})?", "[a-z]{0,30000}x[a-z]{0,30000}", r"(-\w{1,500}){1,50}", "(é.*a.{25})?"]
    texts = ["-01-02Txyz", "-" + "a" * 30, "axb", "-ab-c", "éa" + "b" * 25]
    for p, text in zip(rest, texts, strict=True):
        p = f"(?!0000)[0-9]{{4}}{p}"
        guide = regex(f"^(?:{p})$" if search else p, search=search, limits=Limits(states=20_000))
        assert guide.matches(f"2020{text}".encode())
        assert guide.matches(f"0001{text}".encode())
        assert guide.advance(guide.start(), b"000") is not None
        assert guide.advance(guide.start(), b"0000") is None
