"""One forward pass over the rows of several spans, packed: no padding, each row sees its own path of slots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from espalier.prefix import Prefix

__all__ = ["Pass", "Plan", "Span"]

Ints = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Span:
    """Consecutive tokens to compute: the last `len(tokens)` of `path`, which lists the slots of positions 0, 1, …"""

    tokens: Ints
    path: Ints


@dataclass(frozen=True)
class Pass:
    """Rows packed for one pass. Row `r` has token `tokens[r]`, stands at `positions[r]` and writes slot `slots[r]`.

    Span `s` owns rows `bounds[s] : bounds[s + 1]`; it sees the slots `paths[starts[s] : starts[s + 1]]`, in order of
    position; its row at position `p` sees the first `p + 1` of them. `out[i]` is the i-th row that is answered.
    """

    tokens: Ints
    positions: Ints
    slots: Ints
    bounds: Ints
    paths: Ints
    starts: Ints
    out: Ints

    @staticmethod
    def split(spans: Sequence[Span], asked: Sequence[int], limit: int) -> Iterator[Pass]:
        """Yields passes of at most `limit` rows over the spans in order; their `out` rows together are sorted(set(asked))."""
        wanted = sorted(set(asked))
        pieces: list[Span] = []
        rows = done = 0
        for span in spans:
            count = len(span.tokens)
            base, start = len(span.path) - count, 0
            while start < count:
                size = min(count - start, limit - rows)
                pieces.append(Span(span.tokens[start : start + size], span.path[: base + start + size]))
                start, rows = start + size, rows + size
                if rows == limit:
                    yield Pass._pack(pieces, [row - done for row in wanted if done <= row < done + rows])
                    pieces, done, rows = [], done + rows, 0
        if pieces:
            yield Pass._pack(pieces, [row - done for row in wanted if done <= row < done + rows])

    @staticmethod
    def _pack(pieces: Sequence[Span], out: Sequence[int]) -> Pass:
        if len(pieces) == 1:  # the common case, decoding one text: nothing to concatenate
            [span] = pieces
            rows, length = len(span.tokens), len(span.path)
            return Pass(
                span.tokens,
                np.arange(length - rows, length, dtype=np.int32),
                span.path[length - rows :],
                np.array([0, rows], np.int32),
                span.path,
                np.array([0, length], np.int32),
                np.array(out, np.int32),
            )
        counts = [len(span.tokens) for span in pieces]
        lengths = [len(span.path) for span in pieces]
        return Pass(
            np.concatenate([span.tokens for span in pieces]),
            np.concatenate([np.arange(n - c, n, dtype=np.int32) for n, c in zip(lengths, counts, strict=True)]),
            np.concatenate([span.path[n - c :] for span, n, c in zip(pieces, lengths, counts, strict=True)]),
            np.cumsum([0, *counts], dtype=np.int32),
            np.concatenate([span.path for span in pieces]),
            np.cumsum([0, *lengths], dtype=np.int32),
            np.array(out, np.int32),
        )


@dataclass(eq=False)
class Plan:
    """What one question costs: the spans of rows to compute, and which row answers which prefix.

    Exactly one of `KV.commit(plan)` (after the pass) and `KV.abandon(plan)` (the pass failed) must follow.
    """

    spans: list[Span] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)  # per asked prefix: its row
    rows: int = 0
    fresh: list[tuple[Prefix, Ints, Ints]] = field(default_factory=list)  # node, all its slots, the newly taken ones
    paths: dict[int, Ints] = field(default_factory=dict)
    remember: dict[int, Ints] = field(default_factory=dict)
    answered_by: dict[int, int] = field(default_factory=dict)

    def add(self, tokens: Sequence[int], path: Ints) -> int:
        """The row of the last of `tokens`, which are the last of `path`."""
        self.spans.append(Span(np.asarray(tokens, np.int32), path))
        self.rows += len(tokens)
        return self.rows - 1

    def passes(self, limit: int) -> Iterator[Pass]:
        """The passes of at most `limit` rows that compute the plan, in order."""
        return Pass.split(self.spans, self.asked, limit)
