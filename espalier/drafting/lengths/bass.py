"""One draft length for a batch, by the rule of batched speculative sampling."""

from __future__ import annotations

import math

from espalier.drafting.draft import Draft
from espalier.drafting.lengths.barrier import Meeting
from espalier.drafting.policies import LengthPolicy
from espalier.errors import require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows


class BASS(LengthPolicy):
    """The same length k for all requests: k + `grow` once some request accepted its whole draft, else a little less.

    Less is max(1, the most that any accepted, k - ⌈k / 10⌉ - s), s = 1 if the round before made it less too. A round is what
    the requests of a batch report before they meet again; then all of them draft the new k. They accept raggedly and nothing
    is padded: the loop packs what each drafts. Qian et al. 2024, "BASS" (arXiv 2404.15778). Give the same object to all
    requests. The rule is tested, round by round, by `test_bass_decides_once_a_round_for_all`, and on a clock by
    `test_rounds_of_bass_take_what_the_rule_says`.

    >>> BASS(start=7).plan(Prefix([1]), Rng(0))
    7
    """

    def __init__(self, start: int = 7, most: int = 32, grow: int = 2) -> None:
        require(1 <= start <= most and grow >= 1, f"start={start}, most={most}, grow={grow}: need 1 ≤ start ≤ most, grow ≥ 1")
        self.tokens, self.most, self.grow = start, most, grow
        self.meeting = Meeting()
        self._shrank = 0
        self._round: list[tuple[int, int]] = []

    def plan(self, x: Prefix, rng: Rng) -> int | None:
        if self._round:
            longest = max(taken for taken, _ in self._round)
            if any(taken == drafted for taken, drafted in self._round):
                self.tokens, self._shrank = min(self.tokens + self.grow, self.most), 0
            else:
                self.tokens = max(1, longest, self.tokens - math.ceil(self.tokens / 10) - self._shrank)
                self._shrank = 1
            self._round = []
        return self.tokens

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        if len(draft):
            self._round.append((len(draft.accepted(x)), draft.height()))
