"""Jacobi decoding and its blocks: guess many positions at once, let every pass correct all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from espalier.drafting.draft import Draft, Drafter, ModelFree, PerText
from espalier.drafting.text_log import guess
from espalier.errors import require
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.rows import Rows

Mode = Literal["sliding", "blocks", "hybrid"]


class Jacobi(PerText):
    """A window of guesses for the next positions; each pass replaces every guess by the most probable token given the
    guesses before it, and verification settles those that can no longer change.

    The window is a chain below the prefix, so no other input than a draft is needed: position i is right after i + 1 passes
    at the latest, and the fixed point is greedy decoding. `guess` fills new positions (the paper's padding token); by
    default the last token of the text does. `mode`:

    - "sliding": the window always holds `tokens` positions (Jacobi), or at most so many: `window(written tokens)`;
    - "blocks": a block of `tokens` positions is solved before the next one begins (Gauss-Seidel-Jacobi);
    - "hybrid": blocks for the first `parallel` written tokens, one token at a time from there on.

    Santilli et al. 2023, "Accelerating transformer inference for translation via parallel decoding" (arXiv 2305.10427);
    Song et al. 2021, "Accelerating feedforward computation via parallel nonlinear equation solving" (arXiv 2002.03629).

    >>> import espalier as es
    >>> model, greedy = es.models.Table.random(vocab_size=3, depth=1, seed=2), es.verification.GreedyMatch()
    >>> [x] = es.run(es.speculate(model, es.Prefix([0]), es.stop.budget(12), Jacobi(4), greedy, es.Rng(0)))
    >>> len(x.written()), model.passes <= 12
    (12, True)
    """

    def __init__(
        self,
        tokens: int = 6,
        mode: Mode = "sliding",
        parallel: int = 64,
        guess: int | None = None,
        window: Callable[[int], int] | None = None,
    ) -> None:
        require(tokens >= 1, f"tokens={tokens}: a window holds at least one guess")
        require(mode in ("sliding", "blocks", "hybrid"), f"mode={mode!r}: write 'sliding', 'blocks' or 'hybrid'")
        require(parallel >= 1, f"parallel={parallel}: at least one token must be decoded in parallel")
        self.tokens, self.mode, self.parallel, self.guess, self.window = tokens, mode, parallel, guess, window

    def begin(self, x: Prefix) -> Drafter:
        return _Window(self)


class _Window(ModelFree):
    """One request's window: the guesses for the positions after the last prefix that was verified."""

    def __init__(self, settings: Jacobi) -> None:
        self.settings = settings
        self.guesses: list[int] = []

    def draft(self, x: Prefix, rng: Rng) -> Draft:
        s, done = self.settings, len(x) - len(x.origin)
        if not len(x) or (s.mode == "hybrid" and done >= s.parallel):
            return Draft(x)
        # the block's positions that are still open: a pass settles one more than its draft holds
        sliding = s.tokens if s.window is None else max(1, min(s.tokens, s.window(done)))
        size = sliding if s.mode == "sliding" else s.tokens - done % s.tokens - 1
        filler = s.guess if s.guess is not None else x.last
        draft = Draft(x)
        draft.extend(0, (self.guesses + [filler] * size)[:size])
        return draft

    def observe(self, x: Prefix, draft: Draft, rows: Rows) -> None:
        """The next iterate: what each row behind the settled prefix says of its own next position."""
        settled = draft.gained(x)
        self.guesses = [guess(rows[i]) for i in range(settled, len(rows))] if settled else []


def gauss_seidel(tokens: int = 6, guess: int | None = None) -> Jacobi:
    """Jacobi by blocks: `Jacobi(tokens, "blocks")`, as Santilli et al. 2023 (arXiv 2305.10427) recommend it.

    >>> gauss_seidel(4).mode
    'blocks'
    """
    return Jacobi(tokens, "blocks", guess=guess)


def hybrid(tokens: int = 6, parallel: int = 64, guess: int | None = None) -> Jacobi:
    """Blocks first, one token at a time after `parallel` written tokens: for texts whose length is not known.

    >>> hybrid(4, parallel=32).mode
    'hybrid'
    """
    return Jacobi(tokens, "hybrid", parallel, guess)
