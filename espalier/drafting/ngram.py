"""Drafts from the text itself: what followed the last few tokens where they occurred before."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from espalier.drafting.draft import Draft, Drafter
from espalier.errors import require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.scorer import Ask


class PromptLookup(Drafter):
    """A chain: the tokens that followed the latest earlier occurrence of the longest matching suffix.

    Suffixes of `longest` down to `shortest` tokens are looked for, in prompt and output alike, and `tokens` are drafted; if
    the text ends sooner, what followed is repeated, as the text itself did.
    Saxena 2023, "Prompt lookup decoding"; Yang et al. 2023, "Inference with reference" (arXiv 2304.04487).

    >>> import espalier as es
    >>> x = Prefix([1, 2, 3, 4, 1, 2])
    >>> [p.ids()[len(x):] for p in PromptLookup(tokens=2).draft(x).prefixes]
    [[], [3], [3, 4]]
    """

    def __init__(self, tokens: int = 8, longest: int = 3, shortest: int = 1) -> None:
        require(tokens >= 1, f"tokens={tokens}: a draft budget is at least 1; leave the drafter out for plain decoding")
        require(1 <= shortest <= longest, f"shortest={shortest}, longest={longest}: need 1 ≤ shortest ≤ longest")
        self.tokens, self.longest, self.shortest = tokens, longest, shortest

    def begin(self, x: Prefix) -> Drafter:
        return _Lookup(self)

    def draft(self, x: Prefix) -> Draft:
        """The draft below x."""
        return _Lookup(self).draft(x)

    def propose(self, x: Prefix, rng: Rng) -> Generator[Ask, Any, Draft]:
        yield from ()
        return self.draft(x)


class _Lookup(Drafter):
    """One request's index: every n-gram seen so far → where it ended last (and the time before that)."""

    def __init__(self, settings: PromptLookup) -> None:
        self.settings = settings
        self._ids: list[int] = []
        self._at: Prefix | None = None
        self._ends: dict[tuple[int, ...], tuple[int, int]] = {}

    def propose(self, x: Prefix, rng: Rng) -> Generator[Ask, Any, Draft]:
        yield from ()
        return self.draft(x)

    def draft(self, x: Prefix) -> Draft:
        self._read(x)
        ids, s, draft = self._ids, self.settings, Draft(x)
        for n in range(min(s.longest, len(ids) - 1), s.shortest - 1, -1):
            last, before = self._ends.get(tuple(ids[len(ids) - n :]), (-1, -1))
            found = before if last == len(ids) else last
            if found > 0:
                run = ids[found : found + s.tokens]
                while len(run) < s.tokens:  # the text ends in a repetition: go on repeating it
                    run += run[: s.tokens - len(run)]
                draft.extend(0, run)
                break
        return draft

    def _read(self, x: Prefix) -> None:
        try:
            new = x.since(self._at) if self._at is not None else x.ids()
        except ValueError:  # x does not go on from what was read (a decoder backed up): read it anew
            self._ids, self._ends, new = [], {}, x.ids()
        self._at = x
        for token in new:
            self._ids.append(token)
            end = len(self._ids)
            for n in range(self.settings.shortest, min(self.settings.longest, end) + 1):
                gram = tuple(self._ids[end - n :])
                self._ends[gram] = (end, self._ends.get(gram, (-1, -1))[0])
