"""Drafts from the text itself: what followed the last few tokens where they occurred before."""

from __future__ import annotations

from espalier.drafting.draft import Draft, ModelFree, PerText, budget
from espalier.drafting.text_log import Reading
from espalier.errors import require
from espalier.prefix import Prefix
from espalier.rng import Rng


class PromptLookup(PerText):
    """A chain: the tokens that followed the latest earlier occurrence of the longest matching suffix.

    Suffixes of `longest` down to `shortest` tokens are looked for, in prompt and output alike, and `tokens` are drafted; if
    the text ends sooner, what followed is repeated, as the text itself did.
    Saxena 2023, "Prompt lookup decoding"; Yang et al. 2023, "Inference with reference" (arXiv 2304.04487).

    >>> import espalier as es
    >>> x = Prefix([1, 2, 3, 4, 1, 2])
    >>> [p.ids()[len(x):] for p in PromptLookup(tokens=2).begin(x).draft(x, Rng(0)).prefixes]
    [[], [3], [3, 4]]
    """

    def __init__(self, tokens: int = 8, longest: int = 3, shortest: int = 1) -> None:
        budget(tokens=tokens)
        require(1 <= shortest <= longest, f"shortest={shortest}, longest={longest}: need 1 ≤ shortest ≤ longest")
        self.tokens, self.longest, self.shortest = tokens, longest, shortest

    def begin(self, x: Prefix) -> _Lookup:
        return _Lookup(self)


class _Lookup(ModelFree):
    """One request's index: every n-gram seen so far → where it ended last (and the time before that)."""

    def __init__(self, settings: PromptLookup) -> None:
        self.settings = settings
        self._text = Reading()
        self._ends: dict[tuple[int, ...], tuple[int, int]] = {}

    def draft(self, x: Prefix, rng: Rng) -> Draft:
        self._read(x)
        ids, s, draft = self._text.ids, self.settings, Draft(x)
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
        known, ids = self._text.read(x), self._text.ids
        if known == 0:
            self._ends = {}
        for end in range(known + 1, len(ids) + 1):
            for n in range(self.settings.shortest, min(self.settings.longest, end) + 1):
                gram = tuple(ids[end - n : end])
                self._ends[gram] = (end, self._ends.get(gram, (-1, -1))[0])
