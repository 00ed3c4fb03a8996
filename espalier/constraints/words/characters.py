"""Characters that are written byte by byte: which are whole, and which may still become of the bytes of one that is not."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache, lru_cache

# bytes that begin a character, with the least and the greatest that may follow them at once
_LEADS = [(b"\xc2\x80", b"\xdf\xbf"), (b"\xe0\xa0\x80", b"\xed\x9f\xbf"), (b"\xee\x80\x80", b"\xef\xbf\xbf")]
_LEADS += [(b"\xf0\x90\x80\x80", b"\xf4\x8f\xbf\xbf")]


def decoded(data: bytes) -> tuple[str, bytes] | None:
    """The characters that are whole, and the bytes of one that is not yet; None if no text goes on like this.

    >>> decoded(b"ab\\xc3"), decoded(b"\\xff")
    (('ab', b'\\xc3'), None)
    """
    for held in range(min(3, len(data)) + 1):
        head, tail = data[: len(data) - held], data[len(data) - held :]
        try:
            text = head.decode()
        except UnicodeDecodeError:
            continue
        begun = not tail or any(_fits(tail, low, high) for low, high in _LEADS)
        return (text, tail) if begun else None
    return None


def _fits(tail: bytes, low: bytes, high: bytes) -> bool:
    whole = len(tail) < len(low) and low[: len(tail)] <= tail <= high[: len(tail)]
    return whole and all(128 <= byte < 192 for byte in tail[1:])


def begun(held: bytes) -> range:
    """The code points of the characters whose bytes begin with `held`, the first bytes of one.

    >>> [chr(code) for code in begun(b"\\xc3")][:3], len(begun(b"\\xf0\\x9f"))
    (['À', 'Á', 'Â'], 4096)
    """
    low, high = next((low, high) for low, high in _LEADS if _fits(held, low, high))
    first = held + (low[len(held) :] if low.startswith(held) else b"\x80" * (len(low) - len(held)))
    last = held + (high[len(held) :] if high.startswith(held) else b"\xbf" * (len(low) - len(held)))
    return range(ord(first.decode()), ord(last.decode()) + 1)


@cache
def sign_begun(held: bytes) -> bool:
    """Whether some character that is no letter and no digit begins with these bytes."""
    return any(not chr(code).isalnum() for code in begun(held))


def counted(character: str) -> str:
    """The letters and digits that a character counts as, case aside: none for a blank, a sign or a mark.

    >>> counted("ẞ"), counted("É"), counted("-")
    ('ss', 'é', '')
    """
    return "".join(filter(str.isalnum, character.casefold())) if character.isalnum() else ""


@lru_cache(maxsize=4096)
def spelling(letters: frozenset[str]) -> tuple[str, ...]:
    """The characters that count as some of these letters, in upper or lower case, and as no others.

    >>> sorted(spelling(frozenset("ks")))  # and long, sharp and Kelvin's ones
    ['K', 'S', 'k', 's', 'ß', 'ſ', 'ẞ', 'K']
    """
    return (*letters, *(c for c, text in _cased() if letters.issuperset(text) and c not in letters))


def one_begins(characters: Iterable[str], held: bytes) -> list[str]:
    """Those of some characters whose bytes begin with `held`."""
    return [character for character in characters if character.encode().startswith(held)]


@cache
def _cased() -> list[tuple[str, str]]:
    """The characters that count as other ones, each with what it counts as; about 1500."""
    every = ((c, c.casefold()) for c in map(chr, range(0x110000)) if c.isalnum())
    return [(c, counted(c)) for c, folded in every if folded != c]
