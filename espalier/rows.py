"""Rows: the answers of scorers, lazy about constraints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol, overload

import torch
from torch import Tensor

from espalier import row_checks
from espalier.models.executors import batched_rows
from espalier.prefix import Prefix
from espalier.shaper import Shaper, shaped

if TYPE_CHECKING:
    from espalier.rng import Rng

_CHECKS = batched_rows.CHECKS


class Limit(Protocol):
    """What a constraint says of one row: a check of one token, and the mask of all, or None if only checks are at hand."""

    def allowed(self, token: int) -> bool: ...
    def mask(self) -> Tensor | None: ...  # bool [V], True = allowed


class Rows(Sequence["Row"]):
    """N rows of log-weights [N, V], each with what restricts it and the shapers that follow the restriction.

    `rows[i]` is a `Row`, `rows[a:b]` are rows again. `extras` holds what was wanted besides, e.g. extras["hidden"] [N, D].

    >>> rows = Rows(torch.tensor([[0.0, 1.0], [1.0, 0.0]]), [Prefix([0]), Prefix([1])])
    >>> rows[1].argmax(), rows.dense().exp().sum(-1).tolist()
    (0, [1.0, 1.0])
    """

    __slots__ = ("_edits", "_logits", "after", "extras", "limits", "prefixes")

    def __init__(
        self,
        logits: Tensor,
        prefixes: Sequence[Prefix],
        extras: Mapping[str, Tensor] | None = None,
        limits: Sequence[Limit | None] | None = None,
        after: tuple[Shaper, ...] = (),
        edits: Sequence[batched_rows.Edits] | None = None,
    ) -> None:
        self._logits, self._edits, self.prefixes, self.extras = logits, edits, prefixes, dict(extras or {})
        self.limits, self.after = limits, after

    @property
    def logits(self) -> Tensor:
        """[N, V] log-weights before the constraint."""
        if self._edits is not None:
            self._logits, self._edits = batched_rows.edited(self._logits, self._edits), None
        return self._logits

    def __len__(self) -> int:
        return len(self.prefixes)

    @overload
    def __getitem__(self, at: int) -> Row: ...
    @overload
    def __getitem__(self, at: slice) -> Rows: ...
    def __getitem__(self, at: int | slice) -> Row | Rows:
        if isinstance(at, slice):
            extras = {name: value[at] for name, value in self.extras.items()}
            limits = self.limits[at] if self.limits is not None else None
            edits = self._edits[at] if self._edits is not None else None
            return Rows(self._logits[at], self.prefixes[at], extras, limits, self.after, edits)
        limit = self.limits[at] if self.limits is not None else None
        return Row(self._logits[at], self.prefixes[at], limit, self.after, self._edits[at] if self._edits else ())

    def __iter__(self) -> Iterator[Row]:
        return (self[i] for i in range(len(self)))

    def reshaped(self, shaper: Shaper) -> Rows:
        """These rows with a shaper of logits at work: noted, where it changes a few logits only."""
        if (edits := batched_rows.noted(self._logits, self._edits, shaper, self.prefixes)) is not None:
            return Rows(self._logits, self.prefixes, self.extras, self.limits, self.after, edits)
        return self.with_logits(shaped(shaper, self.logits, self.prefixes))

    def with_logits(self, logits: Tensor) -> Rows:
        """These rows with other log-weights."""
        return Rows(logits, self.prefixes, self.extras, self.limits, self.after)

    def limited(self, limits: Sequence[Limit | None]) -> Rows:
        """These rows under these limits instead of the ones they have."""
        return Rows(self._logits, self.prefixes, self.extras, limits, self.after, self._edits)

    def take(self, at: Sequence[int]) -> Rows:
        """The rows at these places, in this order; neighbours are looked at where they lie, not copied."""
        if at and at[0] >= 0 and at[-1] < len(self) and list(at) == list(range(at[0], at[0] + len(at))):
            return self[at[0] : at[0] + len(at)]
        index = torch.tensor(at, device=self._logits.device)
        extras = {name: value[index] for name, value in self.extras.items()}
        limits = [self.limits[i] for i in at] if self.limits is not None else None
        return Rows(self.logits[index], [self.prefixes[i] for i in at], extras, limits, self.after)

    def followed_by(self, shaper: Shaper) -> Rows:
        """These rows with one more shaper after the constraint."""
        return Rows(self._logits, self.prefixes, self.extras, self.limits, (*self.after, shaper), self._edits)

    def argmax(self) -> list[int]:
        """The most probable allowed token of each row, as `Row.argmax` finds it."""
        return batched_rows.argmax(self)

    def draw(self, rngs: Sequence[Rng]) -> list[int]:
        """A token of each row, drawn by its own source of flips: what `Row.draw` gives, flip for flip, all rows at once.

        Raises InvalidInput for another number of sources than rows, DeadEnd if a row allows no token.
        """
        return batched_rows.draw(self, rngs)

    def top(self, k: int) -> list[list[tuple[int, float]]]:
        """The k most probable tokens of each row with their log-probabilities, as `Row.top` finds them."""
        return batched_rows.top(self, k)

    def dense(self) -> Tensor:
        """[N, V] natural-log probabilities of all rows."""
        return torch.stack([row.dense() for row in self])


class Row:
    """The law of the next token after one prefix, after shapers, constraint, temperature and truncation.

    `argmax`, `draw` and `top` check single tokens first and ask for the full mask only when checks are refused, so a
    constraint costs as much as the model disagrees with it; the law is the same either way. `logp`, `probs` and `dense`
    need the mask, or a check of every token where there is none. All raise `DeadEnd` if no token is allowed.

    >>> row = Rows(torch.tensor([[0.0, 2.0, 1.0]]), [Prefix([0])])[0]
    >>> row.argmax(), [token for token, _ in row.top(2)], round(row.logp(1), 3)
    (1, [1, 2], -0.408)
    """

    __slots__ = ("_dense", "_edits", "_logits", "_logz", "after", "limit", "prefix")

    def __init__(
        self, logits: Tensor, prefix: Prefix, limit: Limit | None, after: tuple[Shaper, ...], edits: batched_rows.Edits = ()
    ) -> None:
        self._logits, self._edits, self.prefix, self.limit, self.after = logits, edits, prefix, limit, after
        self._dense: Tensor | None = None
        self._logz: float | None = None

    @property
    def logits(self) -> Tensor:
        """[V] log-weights before the constraint."""
        if self._edits:
            self._logits, self._edits = batched_rows.edited(self._logits[None], [self._edits])[0], ()
        return self._logits

    def allowed(self, token: int) -> bool:
        """Whether the constraint lets this token follow (True if there is no constraint)."""
        return self.limit is None or self.limit.allowed(token)

    def argmax(self) -> int:
        """The most probable allowed token; the first of equals."""
        return row_checks.argmax(self, _CHECKS)

    def draw(self, rng: Rng) -> int:
        """A token drawn from exactly this row's law.

        With a constraint and no truncation this is rejection without replacement: a refused token's weight becomes zero
        and the rest is drawn again, which leaves the law restricted to the allowed tokens. After a few refusals the mask
        takes over; a constraint without a mask goes on like this to the end.
        """
        if any(shaper.greedy for shaper in self.after):
            return self.argmax()
        if self._dense is None and (token := batched_rows.draw_one(self, rng)) is not None:
            return token
        if self._dense is None and self.limit is not None and all(shaper.elementwise for shaper in self.after):
            row_checks.best(self.logits, self.prefix)
            logp = self._shaped(torch.log_softmax(self.logits, -1))
            if (token := row_checks.drawn(logp, self.limit, self.prefix, rng, _CHECKS)) is not None:
                return token
        return rng.categorical(self.probs())

    def top(self, k: int) -> list[tuple[int, float]]:
        """The k most probable tokens with their log-probabilities, best first, of equals the first; fewer if fewer can be."""
        return batched_rows.top_one(self, k)

    def leading(self, k: int) -> list[tuple[int, float]] | None:
        """The k most probable allowed tokens and log-probabilities before the constraint, by checks; None if a mask serves."""
        lazy = self.limit is not None and not self.after and self.limit.mask() is None
        return row_checks.leading(self.logits, self.limit, k) if lazy and self.limit is not None else None

    def logp(self, token: int) -> float:
        """The natural-log probability of one token."""
        return float(self.dense()[token])

    def probs(self) -> Tensor:
        """[V] probabilities."""
        return self.dense().exp()

    def dense(self) -> Tensor:
        """[V] natural-log probabilities; computed once per row."""
        if self._dense is None:
            logp, self._logz = row_checks.restricted(self)
            self._dense = self._shaped(logp)
        return self._dense

    def log_weight(self, token: int) -> float:
        """log p(token) - log q(token): p before constraint, temperature and truncation, q what `draw` draws from.

        Exact for every shaper. Infinite for a token that q excludes. Summed over a text it is the log importance weight that
        takes draws from these rows back to the law of p on the texts that q allows.
        """
        logp = float(self.logits[token].double()) - float(torch.logsumexp(self.logits.double(), -1))
        return logp - self.logp(token) if logp > -torch.inf else logp

    @property
    def log_normaliser(self) -> float:
        """log Σ p(v) over the allowed tokens v, p before the constraint: how much of the model's mass the constraint leaves."""
        if self._logz is None:
            self._logz = row_checks.restricted(self)[1] if self.limit is not None else 0.0
        return self._logz

    def _shaped(self, logp: Tensor) -> Tensor:
        for shaper in self.after:
            logp = torch.log_softmax(shaped(shaper, logp[None], [self.prefix])[0], -1)
        if self.after:
            row_checks.some_left(logp, self.after, self.prefix)
        return logp
