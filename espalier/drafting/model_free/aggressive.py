"""Aggressive decoding: where the output mostly copies the input, draft the input."""

from __future__ import annotations

from collections.abc import Sequence

from espalier.drafting.draft import Draft, ModelFree, PerText, budget
from espalier.drafting.text_log import Reading
from espalier.errors import require
from espalier.prefix import Prefix
from espalier.rng import Rng


class Aggressive(PerText):
    """A chain copied from `source`, from the place that the output has reached in it.

    At first that place is the beginning; after a mismatch tokens come one by one until the last `match` written tokens occur
    exactly once in the source, and copying goes on behind them. Without a `source` the prompt is it (then the beginning is
    no place to copy from, and copying waits for a match). Made for correction, translation memory and edits of code.
    Sun et al. 2021, "Instantaneous grammatical error correction with shallow aggressive decoding" (arXiv 2106.04970);
    Ge, Xia, Sun, Chen, Wei 2022, "Lossless acceleration for Seq2seq generation with aggressive decoding" (arXiv 2205.10350).

    >>> drafter = Aggressive([7, 8, 9], tokens=2)
    >>> x = Prefix([1, 2])
    >>> [p.ids() for p in drafter.begin(x).draft(x, Rng(0)).prefixes]
    [[1, 2], [1, 2, 7], [1, 2, 7, 8]]
    """

    def __init__(self, source: Sequence[int] | None = None, tokens: int = 16, match: int = 2) -> None:
        budget(tokens=tokens)
        require(match >= 1, f"match={match}: at least one token must match before copying goes on")
        require(
            source is None or len(source) > 0, "source is empty, so there is nothing to copy; leave it out to copy the prompt"
        )
        self.source, self.tokens, self.match = source, tokens, match

    def begin(self, x: Prefix) -> _Copy:
        return _Copy(self, list(self.source) if self.source is not None else x.ids(), self.source is not None)


class _Copy(ModelFree):
    def __init__(self, settings: Aggressive, source: list[int], from_start: bool) -> None:
        self.settings, self.source, self._text = settings, source, Reading()
        self._place: int | None = 0 if from_start else None  # where in the source the output is
        self._written = 0
        n, self._ends = settings.match, dict[tuple[int, ...], int]()
        for end in range(n, len(source) + 1):
            gram = tuple(source[end - n : end])
            self._ends[gram] = end if gram not in self._ends else -1  # -1: it occurs more than once

    def draft(self, x: Prefix, rng: Rng) -> Draft:
        known, n = self._text.read(x), self.settings.match
        written = x.written()
        if known == 0:
            self._written = 0
        for at in range(self._written, len(written)):
            if self._place is not None and self._place < len(self.source) and written[at] == self.source[self._place]:
                self._place += 1
                continue
            end = self._ends.get(tuple(written[max(0, at - n + 1) : at + 1]), -1)
            self._place = end if end >= 0 else None
        self._written = len(written)
        draft = Draft(x)
        if self._place is not None:
            draft.extend(0, self.source[self._place : self._place + self.settings.tokens])
        return draft
