"""When to stop: conditions on a prefix, combined with `|`. A stop answers with the reason, or None to go on."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from numbers import Integral, Real
from typing import TYPE_CHECKING

from espalier.errors import expect, require, utf8
from espalier.prefix import Prefix

if TYPE_CHECKING:
    from espalier.text.vocab import Vocab


class Stop(ABC):
    """prefix → "stop" (the model or a stop string ended it), "length", "time", or None: go on. Only `deadline` reads a clock.

    Decoders ask after every single token, so a condition that first holds inside an accepted draft cuts the draft there.
    `most` is how many tokens can be written at most, where that is known.

    >>> s = budget(2) | end({7})
    >>> s(Prefix([1]) + 5), s(Prefix([1]) + 7), s(Prefix([1]) + 5 + 5)
    (None, 'stop', 'length')
    """

    most: int | None = None

    @abstractmethod
    def __call__(self, x: Prefix) -> str | None:
        """The reason to stop at x, or None."""

    def __or__(self, other: Stop) -> Stop:
        require(callable(other), f"stop | {other!r}; expected another condition, such as es.stop.budget(64)")
        return Either(self, other)


class Either(Stop):
    """Stops when either of two conditions does; the first one's reason goes first.

    >>> Either(budget(1), end([7]))(Prefix([1]) + 7)
    'length'
    """

    def __init__(self, first: Stop, second: Stop) -> None:
        self.first, self.second = first, second
        self.most = min((n for n in (first.most, getattr(second, "most", None)) if n is not None), default=None)

    def __call__(self, x: Prefix) -> str | None:
        return self.first(x) or self.second(x)


class budget(Stop):
    """Stops ("length") after this many written tokens.

    >>> x = Prefix([1, 2, 3])
    >>> budget(2)(x + 4), budget(2)(x + 4 + 5)
    (None, 'length')
    """

    def __init__(self, tokens: int) -> None:
        expect(tokens, Integral, "max_tokens", "a whole number")
        require(tokens >= 1, f"max_tokens={tokens}: at least one token must be allowed; try max_tokens=64")
        self.tokens = self.most = int(tokens)

    def __call__(self, x: Prefix) -> str | None:
        return "length" if len(x) - len(x.origin) >= self.tokens else None


class end(Stop):
    """Stops ("stop") when the last written token is one of these.

    >>> end([7])(Prefix([7])), end([7])(Prefix([1]) + 7)
    (None, 'stop')
    """

    def __init__(self, tokens: Iterable[int]) -> None:
        expect(tokens, Iterable, "end", "the ids of tokens, such as end([2]) or end(lm.vocab.end)")
        self.tokens = frozenset(tokens)

    def __call__(self, x: Prefix) -> str | None:
        return "stop" if x is not x.origin and x.last in self.tokens else None


class strings(Stop):
    """Stops ("stop") when the written bytes contain one of these strings, also where it straddles tokens.

    Only matches that end in the node asked about are looked for: decoders ask about every node on the way.

    >>> from espalier.text import Vocab
    >>> stop, x = strings("ab", Vocab([b"a", b"b"])), Prefix([1])
    >>> stop(x + 0), stop(x + 0 + 1)
    (None, 'stop')
    """

    def __init__(self, wanted: str | bytes | Iterable[str | bytes], vocab: Vocab) -> None:
        wanted = [wanted] if isinstance(wanted, str | bytes) else wanted
        expect(wanted, Iterable, "stop", "a text or a list of texts, such as stop=['\\n\\n', 'END']")
        wanted = list(wanted)
        for text in wanted:
            expect(text, (str, bytes), "a stop string", "a text; tokens that end a text are es.stop.end([…])")
        self.wanted = [utf8(s, "the stop string") if isinstance(s, str) else bytes(s) for s in wanted]
        require(all(self.wanted), "a stop string is empty, so it would stop everything at once; remove it")
        self.vocab = vocab
        self._reach = max((len(s) for s in self.wanted), default=1) - 1

    def __call__(self, x: Prefix) -> str | None:
        if x is x.origin:
            return None
        new = self.vocab.join(x.tokens)
        before = b""
        node = x.parent
        while node is not None and len(before) < self._reach and node is not x.origin:
            before = self.vocab.join(node.tokens) + before
            node = node.parent
        text = before[max(0, len(before) - self._reach) :] + new
        return "stop" if any(s in text for s in self.wanted) else None

    def match(self, text: bytes, since: int = 0) -> tuple[int, int] | None:
        """Where the first match in a text begins and ends (the earliest to be complete, the longest of these), or None.

        Matches that are complete in the first `since` bytes do not count.
        """
        places = ((text.find(s, max(0, since - len(s) + 1)), len(s)) for s in self.wanted)
        found = [(at + length, at) for at, length in places if at >= 0]
        return min(found)[::-1] if found else None

    def cut(self, text: bytes) -> int | None:
        """Where the first match in a text begins, or None."""
        match = self.match(text)
        return None if match is None else match[0]

    def held(self, text: bytes) -> int:
        """How many bytes at the end of a text may still turn out to be the beginning of a stop string."""
        return max((n for s in self.wanted for n in range(1, min(len(s), len(text) + 1)) if text.endswith(s[:n])), default=0)


class after(Stop):
    """Another condition, asked only from this many written tokens on.

    >>> s, x = after(2, end([7])), Prefix([1])
    >>> s(x + 7), s(x + 7 + 7)
    (None, 'stop')
    """

    def __init__(self, tokens: int, condition: Stop) -> None:
        expect(tokens, Integral, "min_tokens", "a whole number")
        self.tokens, self.condition = tokens, condition

    def __call__(self, x: Prefix) -> str | None:
        return self.condition(x) if len(x) - len(x.origin) >= self.tokens else None


class deadline(Stop):
    """Stops ("time") when this many seconds have passed since it was first asked.

    >>> deadline(60.0)(Prefix([1])) is None
    True
    """

    def __init__(self, seconds: float) -> None:
        expect(seconds, Real, "max_seconds", "a number")
        require(seconds > 0, f"max_seconds={seconds}: a time budget must be positive; leave it out for none")
        self.seconds = seconds
        self._until: float | None = None

    def __call__(self, x: Prefix) -> str | None:
        now = time.monotonic()
        if self._until is None:
            self._until = now + self.seconds
        return "time" if now >= self._until else None
