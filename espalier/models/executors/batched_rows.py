"""What many rows are asked at once: a token drawn from each, the best of each, by one native kernel where that can be.

A `Row` goes through the same functions, so a batch and its rows answer alike, flip for flip. Short rows, shapers that the
kernel does not know and sources of flips of another class go the readable way through `Row`. Logits of which a few are
changed (biases, penalties) are not copied: the changes go along as edits, and the kernel makes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from espalier.errors import require
from espalier.rng import Rng

try:
    import espalier._kernels as _kernels
except ImportError:  # not built: everything goes through `Row`
    _kernels = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from espalier.prefix import Prefix
    from espalier.rows import Limit, Row, Rows
    from espalier.shaper import Edit, Shaper

SHORT = 2048  # rows of fewer tokens are as quick the readable way
CHECKS = 4  # refusals after which the full mask is cheaper than more checks

MOST = 256  # of the best tokens of a row the kernel looks for so many at most

Steps = list[tuple[str, float]]
Edits = Sequence["Edit"]


def steps_of(logits: Tensor, after: Sequence[Shaper]) -> Steps | None:
    """The shapers as the kernel's steps; None if it cannot do one of them, or cannot read such rows."""
    if not _reads(logits):
        return None
    steps = [shaper.in_kernel for shaper in after]
    return None if None in steps else steps  # type: ignore[return-value]


def _reads(logits: Tensor) -> bool:
    return _kernels is not None and logits.shape[-1] >= SHORT and logits.is_cpu and logits.dtype == torch.float32


def noted(logits: Tensor, edits: Sequence[Edits] | None, shaper: Shaper, prefixes: Sequence[Prefix]) -> Sequence[Edits] | None:
    """The edits of rows with those of one more shaper; None if its work on them cannot be noted as edits."""
    if not _reads(logits) or logits.requires_grad:
        return None
    more = [shaper.edits(x) for x in prefixes]
    if any(each is None for each in more):
        return None
    return [(*before, *new) for before, new in zip(edits or [()] * len(more), more, strict=True)]  # type: ignore[misc]


def edited(logits: Tensor, edits: Sequence[Edits]) -> Tensor:
    """Rows [N, V] with their edits made."""
    new = logits.detach().clone()
    with np.errstate(all="ignore"):  # overflow is infinite, which rows are looked at for
        for row, changes in zip(new.numpy(), edits, strict=True):
            for what, tokens, by in changes:
                if what == "add":
                    np.add.at(row, tokens, by)
                else:
                    x, kept = row[tokens], np.minimum if by[0] >= 1 else np.maximum
                    row[tokens] = kept(x / by[0], x * by[0])
    return new


def draw(rows: Rows, rngs: Sequence[Rng]) -> list[int]:
    """A token drawn from each row by its own source of flips."""
    require(
        len(rngs) == len(rows),
        f"draw was given {len(rngs)} sources of flips for {len(rows)} rows; give one to each row, such as [Rng(0), Rng(1)]",
    )
    if any(shaper.greedy for shaper in rows.after):
        return argmax(rows)
    found = drawn(list(rows), rngs)
    for token in found:
        if isinstance(token, Exception):
            raise token
    return found  # type: ignore[return-value]


def drawn(rows: Sequence[Row], rngs: Sequence[Rng]) -> list[int | Exception]:
    """A token for each of any rows, drawn by its own source of flips; or what is raised where there is none."""
    found: list[int | Exception] = [0] * len(rows)
    together: list[_Drawing] = []
    for at, (row, rng) in enumerate(zip(rows, rngs, strict=True)):
        try:
            drawing = _drawing(row, rng, at)
            if drawing is None:
                found[at] = row.draw(rng)
            else:
                together.append(drawing)
        except Exception as error:  # a constraint's, or a dead end
            found[at] = error
    _draw(together, found)
    return found


def draw_one(row: Row, rng: Rng) -> int | None:
    """What `drawn` gives for one row; None, and no flip taken, if it must be drawn the readable way."""
    drawing = _drawing(row, rng, 0)
    if drawing is None:
        return None
    found: list[int | Exception] = [0]
    _draw([drawing], found)
    if isinstance(found[0], Exception):
        raise found[0]
    return found[0]


class _Drawing:
    """A row that the kernel draws a token from: under which mask, and without which tokens."""

    __slots__ = ("at", "edits", "limit", "logits", "mask", "refused", "rng", "row", "steps")

    def __init__(self, row: Row, rng: Rng, at: int, steps: Steps, mask: Any) -> None:
        self.row, self.rng, self.at, self.steps, self.mask = row, rng, at, steps, mask
        self.logits, self.edits = row._logits.detach().contiguous().numpy(), row._edits
        self.limit = row.limit if mask is None else None  # what is asked about a token once it is drawn
        self.refused: list[int] = []


def _drawing(row: Row, rng: Rng, at: int) -> _Drawing | None:
    """None for a row that the kernel cannot draw from."""
    steps = steps_of(row._logits, row.after) if type(rng) is Rng and row._dense is None else None
    if steps is None:
        return None
    checks = row.limit is None or all(shaper.elementwise for shaper in row.after)
    mask = None if checks or row.limit is None else _bits(row.limit)
    return _Drawing(row, rng, at, steps, mask) if checks or mask is not None else None


def _draw(waiting: list[_Drawing], found: list[int | Exception]) -> None:
    """Puts a token of each row in its place.

    Under a limit whose mask is not at hand a token is drawn first and asked about then: one that is refused has its weight
    made zero, and the rest is drawn again, which leaves the law restricted to the allowed tokens. After a few refusals the
    mask takes over.
    """
    while waiting:
        flips = [drawing.rng._bits.random() for drawing in waiting]  # what `categorical` takes for one draw
        tokens = _kernels.draw(
            [drawing.logits for drawing in waiting],
            [drawing.mask for drawing in waiting],
            [drawing.refused for drawing in waiting],
            [drawing.edits for drawing in waiting],
            [drawing.steps for drawing in waiting],
            flips,
        )
        again = []
        for drawing, token in zip(waiting, tokens, strict=True):
            try:
                if token < 0:  # told by the readable way, or drawn by it
                    found[drawing.at] = drawing.rng.categorical(drawing.row.probs())
                elif drawing.limit is None or drawing.limit.allowed(token):
                    found[drawing.at] = token
                else:
                    _refuse(drawing, drawing.limit, token)
                    again.append(drawing)
            except Exception as error:  # a constraint's, or a dead end
                found[drawing.at] = error
        waiting = again


def _refuse(drawing: _Drawing, limit: Limit, token: int) -> None:
    """Notes a refused token; after a few the mask, or what parts of it refuse."""
    drawing.refused.append(token)
    if len(drawing.refused) == CHECKS and (mask := _bits(limit)) is not None:
        drawing.mask, drawing.limit, drawing.refused = mask, None, []
    elif len(drawing.refused) == CHECKS:
        drawing.mask = _hint(limit)


def _bits(limit: Limit) -> Any:
    """The mask of a limit as bytes of eight tokens each, in whole words of 32; None if there is none."""
    made = getattr(limit, "bits", None)
    bits = made() if made is not None else None
    return bits if bits is not None else _packed(limit.mask())


def _packed(mask: Tensor | None) -> Any:
    if mask is None:
        return None
    packed = np.packbits(mask.numpy(), bitorder="little")
    return packed if len(packed) % 4 == 0 else np.concatenate([packed, np.zeros(-len(packed) % 4, np.uint8)])


def _hint(limit: Limit) -> Any:
    hint = getattr(limit, "hint", None)
    return _packed(hint() if hint is not None else None)


def _table(logits: Tensor) -> Any:
    return logits.detach().contiguous().numpy()


def top(rows: Rows, k: int) -> list[list[tuple[int, float]]]:
    """The k most probable tokens of each row with their log-probabilities; of equals the first."""
    limits = rows.limits if rows.limits is not None else [None] * len(rows)
    found = _likeliest(rows._logits, rows._edits or [], limits, rows.after, k)
    if found is None:
        return [top_one(row, k) for row in rows]
    return [each if each is not None else _top_readable(rows[i], k) for i, each in enumerate(found)]


def top_one(row: Row, k: int) -> list[tuple[int, float]]:
    """What `top` gives for one row."""
    found = _likeliest(row._logits[None], [row._edits] if row._edits else [], [row.limit], row.after, k)
    return found[0] if found is not None and found[0] is not None else _top_readable(row, k)


def _likeliest(
    logits: Tensor, edits: Sequence[Edits], limits: Sequence[Limit | None], after: Sequence[Shaper], k: int
) -> list[list[tuple[int, float]] | None] | None:
    """By the kernel; None for what it cannot do, all rows or one of them."""
    steps, k = steps_of(logits, after), min(k, logits.shape[-1])
    if steps is None or not 0 < k <= MOST or not len(logits):
        return None
    masks = [None if limit is None else _bits(limit) for limit in limits]
    if any(mask is None and limit is not None for mask, limit in zip(masks, limits, strict=True)):
        return None
    values, places = np.empty((len(logits), k), np.float32), np.empty((len(logits), k), np.int32)
    counts = _kernels.likeliest(list(_table(logits)), masks, edits, [steps] * len(logits), values, places)
    pairs = zip(places.tolist(), values.tolist(), counts, strict=True)
    return [None if n < 0 else list(zip(tokens[:n], logps[:n], strict=True)) for tokens, logps, n in pairs]


def _top_readable(row: Row, k: int) -> list[tuple[int, float]]:
    dense, k = row.dense(), max(0, min(k, row.logits.shape[-1]))
    if 0 < k <= MOST and _reads(dense):
        values, places = np.empty((1, k), np.float32), np.empty((1, k), np.int32)
        _kernels.top(_table(dense[None]), values, places)
        found = zip(places[0].tolist(), values[0].tolist(), strict=True)
    else:
        ordered, tokens = dense.sort(descending=True, stable=True)
        found = zip(tokens[:k].tolist(), ordered[:k].tolist(), strict=True)
    return [(token, logp) for token, logp in found if logp > -torch.inf]


def argmax(rows: Rows) -> list[int]:
    """The most probable allowed token of each row; the first of equals."""
    plain = rows.logits.is_cpu and rows.logits.dtype in (torch.float32, torch.float64)
    if not plain or any(shaper.greedy or not shaper.keeps_best for shaper in rows.after) or not len(rows):
        return [row.argmax() for row in rows]
    best = rows.logits.detach().numpy().argmax(-1).tolist()
    greatest = rows.logits[torch.arange(len(best)), torch.tensor(best)].tolist()
    limits = rows.limits if rows.limits is not None else [None] * len(best)
    return [
        token if -torch.inf < value < torch.inf and (limit is None or limit.allowed(token)) else rows[i].argmax()
        for i, (token, value, limit) in enumerate(zip(best, greatest, limits, strict=True))
    ]
