"""Dead ends: backing up over prefixes that nothing may follow."""

from __future__ import annotations

from collections.abc import Callable

from espalier.errors import DeadEnd, EspalierError, InvalidInput, LimitExceeded, Unsatisfiable
from espalier.prefix import Prefix
from espalier.scorer import Scorer


class DeadEnds:
    """Backs up over prefixes that nothing may follow; nothing is left is `Unsatisfiable`.

    How often is limited by what may be written: 50 times, and 4 times for each token that `stop` allows, so that a text of n
    tokens costs at most 9 n + 100 passes. Beyond that is `LimitExceeded`. Shutting a way and drawing again from what remains
    leaves the law that a mask which knew of the dead end would give.
    """

    def __init__(self, scorer: Scorer, stop: Callable[[Prefix], str | None]) -> None:
        most = getattr(stop, "most", None)
        self.limit = 50 + 4 * most if most is not None else 10_000
        self.scorer, self.met, self.shaped_away = scorer, 0, False

    def back_up(self, end: DeadEnd) -> Prefix:
        """The prefix to go on from: the dead end's parent, from which the way into it is now shut."""
        x, self.met = end.prefix, self.met + 1
        self.shaped_away |= end.shaped_away
        if x is x.origin or x.parent is None:
            raise self._nothing() from end
        if self.met > self.limit:
            raise LimitExceeded(
                f"{self.limit} times the text came to where the constraint lets nothing follow, and was taken back; it allows "
                "beginnings that cannot be finished (es.explain(constraint)): state it otherwise, or raise max_tokens"
            )
        self.scorer.forbid(x.parent, x.last)
        return x.parent

    def _nothing(self) -> EspalierError:
        if not self.shaped_away:
            return Unsatisfiable("nothing that the model can say satisfies the constraint, from the first token on")
        return InvalidInput(
            "the constraint allows tokens where a shaper before it has made all of them impossible (-inf), so nothing is left; "
            "a shaper that removes tokens belongs behind the constraint (stage = es.Stage.TRUNCATION), a bias should be finite"
        )
