"""Filters of letters and words: which letters, how a text begins and ends, palindromes, anagrams, lengths of words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from espalier import _grammar
from espalier.constraints.guide import Guide, MachineGuide
from espalier.constraints.regex import regex, regular
from espalier.constraints.words.characters import begun, counted, decoded, one_begins, sign_begun, spelling
from espalier.errors import InvalidInput, require

_ANY = _grammar.re_negate(_grammar.re_alt([]))
_TEXT = _grammar.re_text()


def letters(banned: str = "", required: str = "", only: str | None = None, *, case: bool = False) -> MachineGuide:
    """The guide of the texts without any of the `banned` characters, with each of the `required` ones, of `only` these letters.

    `only` bounds letters: what is no letter is allowed. Upper and lower case count alike unless `case=True`. Exact. A text
    without a letter is a lipogram. Roush et al. 2022, "Most language models can be poets too" (arXiv 2306.15926).

    >>> lipogram = letters(banned="e", required="z")
    >>> lipogram.matches(b"A lazy dog"), lipogram.matches(b"A dog"), lipogram.advance(lipogram.start(), b"The")
    (True, False, None)
    """
    require(bool(banned or required or only is not None), "letters: say which are banned or required: letters(banned='e')")
    for name, given in (("banned", banned), ("required", required), ("only", only)):
        if given is not None and not isinstance(given, str):
            raise InvalidInput(f"letters({name}={given!r}): give the characters as one text: {name}='e'")
    clash = sorted(set(_cases(banned, case)) & set(_cases(required, case)))
    require(not clash, f"letters: {clash[0] if clash else ''!r} is banned and required; leave it out of one of them")
    allowed = [(0, 0x10FFFF)] if only is None else _ranges(_cases(only, case) | _NO_LETTERS)
    wanted = _grammar.re_repeat(_grammar.re_codepoints(allowed), 0, _grammar.INF)
    if banned:
        there = _cat(_ANY, _one(banned, case), _ANY)
        wanted = _grammar.re_both(wanted, _grammar.re_negate(there))
    for letter in dict.fromkeys(required):
        wanted = _grammar.re_both(wanted, _cat(_ANY, _one(letter, case), _ANY))
    guide = regular(_grammar.re_both(_TEXT, wanted), f"letters banned={banned!r} required={required!r} only={only!r}")
    return guide.by(letters, banned=banned or None, required=required or None, only=only, case=case)


def starts_with(*texts: str) -> MachineGuide:
    """The guide of the texts that start with one of these. Exact.

    >>> starts_with("Once", "Long ago").matches(b"Once upon a time")
    True
    """
    begin = _choice("starts_with", texts)
    return regular(_grammar.re_both(_TEXT, _grammar.re_cat(begin, _ANY)), f"starts with {texts!r}").by(starts_with, *texts)


def ends_with(*texts: str) -> MachineGuide:
    """The guide of the texts that end with one of these. Exact.

    >>> ends_with("!", "?").matches(b"Who?")
    True
    """
    end = _choice("ends_with", texts)
    return regular(_grammar.re_both(_TEXT, _grammar.re_cat(_ANY, end)), f"ends with {texts!r}").by(ends_with, *texts)


def word_lengths(lo: int = 1, hi: int | None = None) -> MachineGuide:
    """The guide of the texts in which every word has from `lo` to `hi` characters; words are parted by what is no letter,
    digit, mark or underscore. Exact.

    >>> guide = word_lengths(hi=4)
    >>> guide.matches(b"See, a cat!"), guide.matches(b"A horse"), guide.advance(guide.start(), b"A horse")
    (True, False, None)
    """
    right = isinstance(lo, int) and lo >= 1 and (hi is None or hi >= lo)
    require(right, f"word_lengths({lo}, {hi}): write 1 <= lo <= hi, such as hi=5")
    letter = r"\p{L}\p{M}\p{N}_"
    word = f"[{letter}]{{{lo},{'' if hi is None else hi}}}"
    return regex(f"[^{letter}]*(?:{word}[^{letter}]+)*(?:{word})?").by(word_lengths, lo, hi)


@dataclass(frozen=True)
class palindrome(Guide):
    """The guide of the texts whose letters and digits read the same from both ends; case, blanks and signs do not count.

    Without `letters` any beginning can still become one, so nothing is refused before the text ends. With `letters=n` it has
    n of them, and the second half follows from the first. Exact.

    >>> palindrome().matches(b"Never odd or even."), palindrome().matches(b"ab")
    (True, False)
    >>> guide = palindrome(letters=5)
    >>> guide.advance(guide.start(), b"Lev") is not None, guide.advance(guide.start(), b"Levi")
    (True, None)
    """

    letters: int | None = None

    def __post_init__(self) -> None:
        require(self.letters is None or self.letters >= 0, f"palindrome(letters={self.letters}): a number that is not negative")

    @property
    def exactness(self) -> str:
        return "exact"

    def start(self) -> tuple[str, bytes]:
        return "", b""

    def advance(self, state: tuple[str, bytes], data: bytes) -> tuple[str, bytes] | None:
        read, after = state[0], decoded(state[1] + data)
        if after is None:
            return None
        for character in after[0]:
            further = self._step(read, character)
            if further is None:
                return None
            read = further
        return (read, after[1]) if self._may_become(read, after[1]) else None

    def _step(self, read: str, character: str) -> str | None:
        for one in counted(character):
            mirror = None if self.letters is None else self.letters - 1 - len(read)
            if mirror is not None and (mirror < 0 or (mirror < len(read) and read[mirror] != one)):
                return None
            read += one
        return read

    def _may_become(self, read: str, held: bytes) -> bool:
        """Whether some character that begins with these bytes may stand here."""
        if held == b"" or self.letters is None or sign_begun(held):
            return True
        free = 2 * len(read) < self.letters
        some = map(chr, begun(held)) if free else one_begins(spelling(frozenset(read)), held)
        return any(self._step(read, character) is not None for character in some)

    def accepts(self, state: tuple[str, bytes]) -> bool:
        return state[1] == b"" and state[0] == state[0][::-1] and self.letters in (None, len(state[0]))


@dataclass(frozen=True)
class anagram(Guide):
    """The guide of the texts that use exactly the letters and digits of `word`; case, blanks and signs do not count.

    With `partial=True` some of them, none more often than it is there. Exact.

    >>> anagram("Tom Marvolo Riddle").matches(b"I am Lord Voldemort"), anagram("tea").matches(b"teat")
    (True, False)
    """

    word: str
    partial: bool = False

    def __post_init__(self) -> None:
        require(isinstance(self.word, str) and any(map(str.isalnum, self.word)), f"anagram({self.word!r}): a text with letters")

    @property
    def exactness(self) -> str:
        return "exact"

    def start(self) -> tuple[tuple[tuple[str, int], ...], bytes]:
        return _counted(Counter(one for c in self.word for one in counted(c))), b""

    def advance(self, state: tuple[tuple[tuple[str, int], ...], bytes], data: bytes) -> object | None:
        left, after = Counter(dict(state[0])), decoded(state[1] + data)
        if after is None:
            return None
        for character in after[0]:
            used = Counter(counted(character))
            if not used <= left:
                return None
            left -= used
        return (_counted(left), after[1]) if self._may_become(left, after[1]) else None

    def _may_become(self, left: Counter[str], held: bytes) -> bool:
        """Whether some character that begins with these bytes may stand here."""
        if held == b"" or sign_begun(held):
            return True
        return any(Counter(counted(character)) <= left for character in one_begins(spelling(frozenset(left)), held))

    def accepts(self, state: tuple[tuple[tuple[str, int], ...], bytes]) -> bool:
        return state[1] == b"" and (self.partial or not state[0])


def _counted(counts: Counter[str]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted((letter, count) for letter, count in counts.items() if count))


_NO_LETTERS = frozenset(chr(c) for c in range(128) if not chr(c).isalpha())


def _cases(characters: str, case: bool) -> frozenset[str]:
    if case:
        return frozenset(characters)
    return frozenset(one for c in characters for one in (c, *(v for v in (c.lower(), c.upper()) if len(v) == 1)))


def _ranges(characters: Iterable[str]) -> list[tuple[int, int]]:
    return [(ord(c), ord(c)) for c in sorted(characters)]


def _one(characters: str, case: bool) -> Any:
    return _grammar.re_codepoints(_ranges(_cases(characters, case)))


def _cat(*parts: Any) -> Any:
    whole = _grammar.re_literal(b"")
    for part in parts:
        whole = _grammar.re_cat(whole, part)
    return whole


def _choice(name: str, texts: tuple[str, ...]) -> Any:
    require(len(texts) > 0, f"{name}(): give at least one text: {name}('a')")
    for text in texts:
        if not isinstance(text, str):
            raise InvalidInput(f"{name}: {text!r} is no text; write {name}('a')")
    return _grammar.re_alt([_grammar.re_literal(text.encode()) for text in texts])
