"""Characters of several bytes: a guide that is exact announces every dead end, wherever tokens cut a character."""

from __future__ import annotations

import random

import pytest

import espalier as es
from espalier.constraints import contains, lexical, vocabulary
from espalier.constraints.words.characters import begun, counted, decoded, sign_begun, spelling
from espalier.constraints.words.phrases import absent
from espalier.errors import Unsatisfiable
from espalier.text.vocab import Vocab

BYTES = Vocab([*(bytes([byte]) for byte in range(256)), None], end=[256])
SOUNDS = {"été": [["EY0", "T", "EY1"]], "ça": [["S", "AA1"]], "καλός": [["K", "AH0", "L", "OW1"]], "o'clock": [["AH0", "AA1"]]}

EXACT = [
    vocabulary.anagram("été"),
    vocabulary.anagram("Straße"),
    vocabulary.anagram("İki", partial=True),
    vocabulary.anagram("tea"),
    vocabulary.palindrome(),
    vocabulary.palindrome(letters=4),
    vocabulary.palindrome(letters=5),
    vocabulary.letters(banned="é", required="ß"),
    vocabulary.starts_with("été"),
    vocabulary.word_lengths(2, 3),
    vocabulary.syllables([3, 1], SOUNDS.get, words=list(SOUNDS)),
    vocabulary.syllables([5], SOUNDS.get, words=["été", "Καλός"]) | vocabulary.anagram("é"),
    contains("é", "ça", within=9),
    contains("é", "ça", "ab", "b", "c", "dé", within=14),
    lexical("é", "ça", "ab", "b", "c", ["dé", "è"], whole_words=True, within=22),
]


def walk(guide: es.Guide, rng: random.Random, steps: int) -> tuple[bytes, bool]:
    """Bytes at random, those beyond ASCII half of the time; and whether nothing may follow, not even the end."""
    law, text = guide.over(BYTES), b""
    state = law.start()
    for _ in range(steps):
        ways = [token for token, on in enumerate(law.mask(state).tolist()) if on]
        if not ways:
            return text, True
        wide = [token for token in ways if 128 <= token < 256]
        token = rng.choice(wide if wide and rng.random() < 0.5 else ways)
        if token == 256:
            break
        text += BYTES[token]
        state = law.advance(state, token)
    return text, False


@pytest.mark.parametrize("guide", EXACT, ids=lambda guide: repr(guide).split(" at ")[0][:40])
def test_no_walk_over_bytes_is_stuck_unannounced(guide: es.Guide) -> None:
    rng = random.Random(1)
    walks = [walk(guide, rng, 24) for _ in range(12)]
    assert not [text for text, stuck in walks if stuck]
    assert any(byte >= 128 for text, _ in walks for byte in text)


def test_what_is_begun_can_be_finished() -> None:
    """Every allowed beginning of a character has a character that may stand there, and no other beginning is refused."""
    guide, states = vocabulary.anagram("Éa"), 0
    letters = {"é": {"é", "É"}, "a": {"a", "A"}}
    for text, left in (("", "éa"), ("a", "é"), ("É", "a"), ("éa", "")):
        state = guide.advance(guide.start(), text.encode())
        for lead in range(0xC2, 0xE0):
            held = bytes([lead])
            some = {chr(code) for code in begun(held)}
            fits = any(not c.isalnum() for c in some) or any(some & letters[letter] for letter in left)
            assert (guide.advance(state, held) is not None) == fits, (text, held)
            states += 1
    assert states == 120
    assert guide.advance(guide.start(), b"\xe5") is None, "only ideographs begin so"
    assert guide.advance(guide.start(), b"\xe2") is not None, "a sign may stand anywhere"


def test_haiku_of_words_beyond_ascii_are_finished() -> None:
    guide = vocabulary.syllables([3], SOUNDS.get, words=["été", "ça", "καλός"])
    assert guide.exactness == "exact"
    for text in ("été ça", "ça, ÉTÉ!", "Καλός ça", "ΚΑΛΌΣ ça", "ça ça ça"):
        assert guide.matches(text.encode()), text
    assert guide.advance(guide.start(), "été été".encode()[:-2]) is None, "four syllables do not fit"
    assert vocabulary.syllables([3], SOUNDS.get).exactness == "over"
    with pytest.raises(Unsatisfiable, match="no words of these have 3 syllables together"):
        vocabulary.syllables([2, 3], SOUNDS.get, words=["été"]).start()
    two = vocabulary.syllables([4], SOUNDS.get, words=["été", "ça", "xyz"])
    assert two.advance(two.start(), "ça été ".encode()) is not None
    assert two.advance(two.start(), b"x") is None, "a word whose sound is not known is not begun"


def test_letters_without_a_writing_of_their_own_do_not_count() -> None:
    """A capital that folds to a letter and a mark counts as the letter: else half of it could be owed for ever."""
    guide = vocabulary.anagram("İ")
    assert [guide.matches(text.encode()) for text in ("i", "I", "İ", "ii", "")] == [True, True, True, False, False]
    for code in range(0x110000):
        for letter in counted(chr(code)):
            assert counted(letter) == letter


def test_beginnings_are_those_of_the_encoding() -> None:
    rng = random.Random(2)
    for _ in range(2000):
        character = chr(rng.choice([rng.randrange(0x80, 0xD800), rng.randrange(0xE000, 0x110000)]))
        data = character.encode()
        held = data[: rng.randrange(1, len(data))]
        assert ord(character) in begun(held)
        assert decoded(b"a" + held) == ("a", held)
        assert sign_begun(held) or character.isalnum()
        assert {chr(begun(held)[0]).encode()[: len(held)], chr(begun(held)[-1]).encode()[: len(held)]} == {held}
    assert set(spelling(frozenset("s"))) == {"s", "S", "ß", "ẞ", "ſ"}


def test_a_deadline_beside_what_must_not_appear_is_over() -> None:
    """The shortest end may be one that is forbidden: such dead ends exist, and the guide says that they may."""
    phrases = ["ab", "bc", "cd", "de", "ef", "fa"]
    free = contains(*phrases, within=8)
    bound = lexical(*phrases, must_not=["abc"], within=8)
    other = lexical(*phrases[:5], ["fa", absent("xy")], within=8)
    assert [free.exactness, bound.exactness, other.exactness] == ["exact", "over", "over"]
    assert lexical("ab", "bc", must_not=["abc"], within=8).exactness == "exact", "the deadline is part of the expression"
    rng = random.Random(3)
    vocab = Vocab([*(bytes([c]) for c in b"abcdef "), None], end=[7])
    stuck = 0
    for guide in (free, bound):
        law = guide.over(vocab)
        for _ in range(60):
            state = law.start()
            for _ in range(12):
                ways = [token for token, on in enumerate(law.mask(state).tolist()) if on]
                if not ways:
                    assert guide is bound, "an exact guide is never stuck"
                    stuck += 1
                    break
                token = rng.choice(ways)
                if token == 7:
                    break
                state = law.advance(state, token)
    assert stuck > 0


@pytest.mark.parametrize("within", [13, 14, 17, 20])
def test_a_character_that_has_begun_is_counted(within: int) -> None:
    """Masks are what single checks say, and texts end in time, where tokens end inside characters."""
    guide = contains("é", "ça", "ab", "bé", "c", "dd", within=within)
    pieces = ["é", "ç", "a", "b", "c", "d", "ab", " ", "ça bé dd", "→x", "éé"]
    cut = [b"\xc3", b"\xa9", b"\xa7", b"\xe2", b"\x86", b"\x92", b"a\xc3", b"b \xe2\x86", b"\xa9b", None]
    vocab = Vocab([*(piece.encode() for piece in pieces), *cut], end=[len(pieces) + len(cut) - 1])
    law, rng = guide.over(vocab), random.Random(within)
    for _ in range(40):
        state, text = law.start(), b""
        for _ in range(16):
            mask = law.mask(state).tolist()
            assert mask == [law.allowed(state, token) for token in range(vocab.size)], text
            ways = [token for token, on in enumerate(mask) if on]
            assert ways, f"stuck after {text!r}"
            token = rng.choice(ways)
            if token in vocab.end:
                break
            state, text = law.advance(state, token), text + vocab[token]
        assert all(phrase.encode() in text[:within] for phrase in ("é", "ça", "ab", "bé", "c", "dd")) or len(text) < within
