"""One forward pass over the rows of several spans, packed: no padding, each row sees its own path of slots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from torch import Tensor

from espalier.models.kv.pool import FULL
from espalier.prefix import Prefix

__all__ = ["Pass", "Plan", "Span"]

Ints = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Span:
    """Consecutive tokens to compute: the last `len(tokens)` of `path`, which lists the slots of positions 0, 1, …

    `states` [n, d + 1, D]: the residual stream up to the layer from which these tokens go on; None: from the first.
    """

    tokens: Ints
    path: Ints
    states: Tensor | None = None


@dataclass(frozen=True)
class Pass:
    """Rows packed for one pass. Row `r` has token `tokens[r]`, stands at `positions[r]` and writes slot `slots[r]`.

    Span `s` owns rows `bounds[s] : bounds[s + 1]`; it sees the slots `paths[starts[s] : starts[s + 1]]`, in order of
    position; its row at position `p` sees the first `p + 1` of them. `out[i]` is the i-th row that is answered. `states`: those
    of each span, if any span has some.
    """

    tokens: Ints
    positions: Ints
    slots: Ints
    bounds: Ints
    paths: Ints
    starts: Ints
    out: Ints
    states: tuple[Tensor | None, ...] = ()

    def of_spans(self, chosen: Sequence[int]) -> tuple[Pass, Ints]:
        """The pass of these spans alone, all of whose rows are answered, and which rows of this pass they are."""
        rows = np.concatenate([np.arange(self.bounds[s], self.bounds[s + 1], dtype=np.int32) for s in chosen])
        paths = [self.paths[self.starts[s] : self.starts[s + 1]] for s in chosen]
        bounds = np.cumsum([0, *(self.bounds[s + 1] - self.bounds[s] for s in chosen)], dtype=np.int32)
        starts = np.cumsum([0, *map(len, paths)], dtype=np.int32)
        every = np.arange(len(rows), dtype=np.int32)
        slots, paths_ = np.ascontiguousarray(self.slots[rows]), np.concatenate(paths)
        return Pass(self.tokens[rows], self.positions[rows], slots, bounds, paths_, starts, every), rows

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
                states = None if span.states is None else span.states[start : start + size]
                pieces.append(Span(span.tokens[start : start + size], span.path[: base + start + size], states))
                start, rows = start + size, rows + size
                if rows == limit:
                    yield Pass._pack(pieces, [row - done for row in wanted if done <= row < done + rows])
                    pieces, done, rows = [], done + rows, 0
        if pieces:
            yield Pass._pack(pieces, [row - done for row in wanted if done <= row < done + rows])

    @staticmethod
    def _pack(pieces: Sequence[Span], out: Sequence[int]) -> Pass:
        states = tuple(span.states for span in pieces) if any(span.states is not None for span in pieces) else ()
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
                states,
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
            states,
        )


@dataclass(eq=False)
class Plan:
    """What one question costs: the spans of rows to compute, and which row answers which prefix.

    Exactly one of `KV.commit(plan)` (after the pass) and `KV.abandon(plan)` (the pass failed) must follow. With a `depth`, only
    so many layers are computed; whoever runs it leaves the residual streams of all its rows in `states` [rows, depth + 1, D].
    """

    depth: int = FULL
    states: Tensor | None = None
    begun: dict[Prefix, tuple[int, int]] = field(default_factory=dict)  # whose depth changes: the rows that say its states

    spans: list[Span] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)  # per asked prefix: its row
    rows: int = 0
    fresh: list[tuple[Prefix, Ints, Ints]] = field(default_factory=list)  # node, all its slots, the newly taken ones
    paths: dict[int, Ints] = field(default_factory=dict)
    remember: dict[int, Ints] = field(default_factory=dict)
    answered_by: dict[int, int] = field(default_factory=dict)

    def add(self, tokens: Sequence[int], path: Ints, states: Tensor | None = None) -> int:
        """The row of the last of `tokens`, which are the last of `path`."""
        self.spans.append(Span(np.asarray(tokens, np.int32), path, states))
        self.rows += len(tokens)
        return self.rows - 1

    def passes(self, limit: int) -> Iterator[Pass]:
        """The passes of at most `limit` rows that compute the plan, in order."""
        return Pass.split(self.spans, self.asked, limit)
