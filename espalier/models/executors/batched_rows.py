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
    steps, limits = steps_of(rows._logits, rows.after), rows.limits if rows.limits is not None else [None] * len(rows)
    checks = all(shaper.elementwise for shaper in rows.after)
    readable = steps is None or any(type(rng) is not Rng for rng in rngs)
    masks: list[Any] = [None if checks or readable or limit is None else _bits(limit) for limit in limits]
    if readable or not (checks or all(limit is None or mask is not None for limit, mask in zip(limits, masks, strict=True))):
        return [row.draw(rng) for row, rng in zip(rows, rngs, strict=True)]
    found = _drawn(rows._logits, rows._edits or [], limits, steps or [], rngs, masks)
    return [rngs[i].categorical(rows[i].probs()) if token is None else token for i, token in enumerate(found)]


def _drawn(
    logits: Tensor,
    edits: Sequence[Edits],
    limits: Sequence[Limit | None],
    steps: Steps,
    rngs: Sequence[Rng],
    masks: list[Any],
) -> list[int | None]:
    """A token for each row of `logits` [N, V], None where none can be drawn.

    Under a limit whose mask is not among `masks` a token is drawn first and asked about then: one that is refused has its
    weight made zero, and the rest is drawn again, which leaves the law restricted to the allowed tokens. After a few refusals
    the mask takes over.
    """
    refused: list[list[int]] = [[] for _ in rngs]
    found: list[int | None] = [None] * len(rngs)
    masked = [mask is not None for mask in masks]
    waiting = list(range(len(rngs)))
    while waiting:
        tokens = _kernel(logits, edits, waiting, masks, refused, steps, [rngs[i] for i in waiting])
        again = []
        for i, token in zip(waiting, tokens, strict=True):
            limit = limits[i]
            if token < 0:
                continue
            if limit is None or masked[i] or limit.allowed(token):
                found[i] = token
                continue
            refused[i].append(token)
            if len(refused[i]) == CHECKS and (mask := _bits(limit)) is not None:
                masks[i], masked[i], refused[i] = mask, True, []
            elif len(refused[i]) == CHECKS:
                masks[i] = _hint(limit)  # what parts of it refuse
            again.append(i)
        waiting = again
    return found


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


def _kernel(
    logits: Tensor,
    edits: Sequence[Edits],
    at: list[int],
    masks: list[Any],
    refused: list[list[int]],
    steps: Steps,
    rngs: list[Rng],
) -> list[int]:
    flips = [rng._bits.random() for rng in rngs]  # what `categorical` takes for one draw
    if len(at) < len(logits):
        logits, masks, refused = logits[torch.tensor(at)], [masks[i] for i in at], [refused[i] for i in at]
        edits = [edits[i] for i in at] if edits else edits
    return _kernels.draw(_table(logits), masks, refused, edits, steps, flips)


def _table(logits: Tensor) -> Any:
    return logits.detach().contiguous().numpy()


def draw_one(row: Row, rng: Rng) -> int | None:
    """What `draw` gives for one row; None, and no flip taken, if it must be drawn the readable way."""
    steps, limit = steps_of(row._logits, row.after) if type(rng) is Rng else None, row.limit
    if steps is None:
        return None
    checks = limit is not None and all(shaper.elementwise for shaper in row.after)
    mask = None if checks or limit is None else _bits(limit)
    edits = [row._edits] if row._edits else []
    if checks:
        [token] = _drawn(row._logits[None], edits, [limit], steps, [rng], [None])
    elif limit is None or mask is not None:
        [token] = _kernels.draw(_table(row._logits[None]), [mask], [], edits, steps, [rng._bits.random()])
    else:
        return None
    return rng.categorical(row.probs()) if token is None or token < 0 else token


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
    counts = _kernels.likeliest(_table(logits), masks, edits, steps, values, places)
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
