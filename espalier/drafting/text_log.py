"""Reading along: the tokens of one growing text, for drafters that remember what was written."""

from __future__ import annotations

from espalier.errors import BrokenRow, DeadEnd, InvalidInput, Unsatisfiable
from espalier.prefix import Prefix
from espalier.rows import Row
from espalier.scorer import Scorer


def guess(row: Row) -> int:
    """The most probable allowed token of a row; of a row that allows none, the most probable one.

    For guesses about positions that were not reached: a dead end there is nobody's dead end yet.
    """
    try:
        return row.argmax()
    except (DeadEnd, Unsatisfiable, BrokenRow):
        return int(row.logits.argmax())


def likely(row: Row, k: int) -> set[int]:
    """The k most probable allowed tokens of a row; none of a row that allows none."""
    try:
        return {token for token, _ in row.top(k)}
    except (DeadEnd, Unsatisfiable, BrokenRow):
        return set()


class Reading:
    """The tokens of one text as it grows: `read(x)` says from where on they are new.

    Only prefixes that settled are read, so nothing of a rejected draft is ever remembered. When a decoder backed up and
    x does not go on from what was read, it is read anew from the first token.

    >>> text = Reading()
    >>> x = Prefix([1, 2])
    >>> text.read(x), text.read(x + 3), text.ids
    (0, 2, [1, 2, 3])
    >>> text.read(x + 4), text.ids
    (0, [1, 2, 4])
    """

    __slots__ = ("_at", "ids")

    def __init__(self) -> None:
        self.ids: list[int] = []
        self._at: Prefix | None = None

    def read(self, x: Prefix) -> int:
        """How many of the tokens in `ids` were there before; 0 if all of them are new (or were read anew)."""
        known = len(self.ids)
        try:
            new = x.since(self._at) if self._at is not None else x.ids()
        except ValueError:
            self.ids, known, new = [], 0, x.ids()
        self._at = x
        self.ids.extend(new)
        return known


class Session:
    """Whose tokens a drafter remembers from request to request: those of the first target that it drafted for."""

    __slots__ = ("_first",)

    def __init__(self) -> None:
        self._first: tuple[int, str | None] | None = None

    def check(self, scorer: Scorer) -> None:
        """Raise `InvalidInput` if the target is of another vocabulary than the first one."""
        own = scorer.vocab_size, scorer.vocab.fingerprint if scorer.vocab is not None else None
        if self._first is None:
            self._first = own
        if self._first != own:
            raise InvalidInput(
                f"this drafter has learned the tokens of another target ({self._first[0]} tokens; this one has {own[0]}), "
                "where they mean other text; make one drafter per model"
            )
