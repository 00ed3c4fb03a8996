"""What many rows are asked at once: a token drawn from each, the best of each, by one native kernel where that can be.

A `Row` goes through the same functions, so a batch and its rows answer alike, flip for flip. Short rows, shapers that the
kernel does not know and sources of flips of another class go the readable way through `Row`.
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
    from espalier.rows import Limit, Row, Rows
    from espalier.shaper import Shaper

SHORT = 2048  # rows of fewer tokens are as quick the readable way
CHECKS = 4  # refusals after which the full mask is cheaper than more checks

Steps = list[tuple[str, float]]


def steps_of(logits: Tensor, after: Sequence[Shaper]) -> Steps | None:
    """The shapers as the kernel's steps; None if it cannot do one of them, or cannot read such rows."""
    if _kernels is None or logits.shape[-1] < SHORT or not logits.is_cpu or logits.dtype != torch.float32:
        return None
    steps = [shaper.in_kernel for shaper in after]
    return None if None in steps else steps  # type: ignore[return-value]


def draw(rows: Rows, rngs: Sequence[Rng]) -> list[int]:
    """A token drawn from each row by its own source of flips."""
    require(
        len(rngs) == len(rows),
        f"draw was given {len(rngs)} sources of flips for {len(rows)} rows; give one to each row, such as [Rng(0), Rng(1)]",
    )
    if any(shaper.greedy for shaper in rows.after):
        return argmax(rows)
    steps, limits = steps_of(rows.logits, rows.after), rows.limits if rows.limits is not None else [None] * len(rows)
    checks = all(shaper.elementwise for shaper in rows.after)
    readable = steps is None or any(type(rng) is not Rng for rng in rngs)
    masks: list[Any] = [None if checks or readable or limit is None else _bits(limit) for limit in limits]
    if readable or not (checks or all(limit is None or mask is not None for limit, mask in zip(limits, masks, strict=True))):
        return [row.draw(rng) for row, rng in zip(rows, rngs, strict=True)]
    found = _drawn(rows.logits, limits, steps or [], rngs, masks)
    return [rngs[i].categorical(rows[i].probs()) if token is None else token for i, token in enumerate(found)]


def _drawn(
    logits: Tensor, limits: Sequence[Limit | None], steps: Steps, rngs: Sequence[Rng], masks: list[Any]
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
        tokens = _kernel(logits, waiting, masks, refused, steps, [rngs[i] for i in waiting])
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
    logits: Tensor, at: list[int], masks: list[Any], refused: list[list[int]], steps: Steps, rngs: list[Rng]
) -> list[int]:
    few = logits if len(at) == len(logits) else logits[torch.tensor(at)]
    flips = [rng._bits.random() for rng in rngs]  # what `categorical` takes for one draw
    table = few.detach().contiguous().numpy()
    return _kernels.draw(table, [masks[i] for i in at], [refused[i] for i in at], steps, flips)


def draw_one(row: Row, rng: Rng) -> int | None:
    """What `draw` gives for one row; None, and no flip taken, if it must be drawn the readable way."""
    steps = steps_of(row.logits, row.after) if type(rng) is Rng else None
    checks = all(shaper.elementwise for shaper in row.after)
    if steps is None:
        return None
    mask = None if checks or row.limit is None else _bits(row.limit)
    if not (checks or row.limit is None or mask is not None):
        return None
    [token] = _drawn(row.logits[None], [row.limit], steps, [rng], [mask])
    return rng.categorical(row.probs()) if token is None else token


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
