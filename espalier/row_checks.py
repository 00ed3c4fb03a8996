"""What is looked up in single rows: the greatest token, whether a row is a law, and, under constraints without a mask, tokens
checked in the order in which they would be chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from espalier.errors import BrokenRow, DeadEnd, Unsatisfiable
from espalier.prefix import Prefix
from espalier.shaper import Shaper

if TYPE_CHECKING:
    from espalier.rng import Rng
    from espalier.rows import Limit, Row


def greatest(weights: Tensor) -> tuple[int, float]:
    """The first place of the greatest, and what it is. NumPy finds it in 4 µs among 49,152 where torch takes 60, and wakes no
    other thread."""
    if weights.is_cpu and weights.dtype in (torch.float32, torch.float64):
        plain = weights.detach().numpy()
        return (best := int(plain.argmax())), float(plain[best])
    return (best := int(weights.argmax())), float(weights[best])


def best(logits: Tensor, x: Prefix) -> int:
    """The most probable token after x, allowed or not. NaN counts as the greatest, so one look tells whether this is a law."""
    token, value = greatest(logits)
    if value == -torch.inf:
        raise Unsatisfiable(f"every token is forbidden after {x!r}: a bias, or a shaper of logits, leaves none")
    if not value < torch.inf:
        raise BrokenRow(
            f"the model's row after {x!r} has {value} at token {token}, so it is no law; its weights or "
            "settings are broken, or a shaper of logits is (load the weights again; leave the shaper out)"
        )
    return token


def argmax(row: Row, checks: int) -> int:
    """The most probable token of a row; the best few are checked, then the mask is asked for."""
    if not keep_best(row.after):
        return greatest(row.dense())[0]
    limit, logits = row.limit, row.logits
    first = best(logits, row.prefix)
    if limit is None or limit.allowed(first):
        return first
    for token in logits.topk(min(1 + checks, len(logits))).indices.tolist():
        if token != first and logits[token] > -torch.inf and limit.allowed(token):
            return first_of_equals(logits, limit, token)
    if limit.mask() is not None:
        return greatest(restricted(row)[0])[0]
    if found := leading(logits, limit, 1):
        return found[0][0]
    raise dead_end(limit, row.prefix, len(logits))


def restricted(row: Row) -> tuple[Tensor, float]:
    """The log-probabilities [V] of a row under its limit, and the log of the mass that the limit leaves."""
    best(row.logits, row.prefix)
    logp, logz = torch.log_softmax(row.logits, -1), 0.0
    if row.limit is not None:
        if (mask := row.limit.mask()) is None:
            mask = checked(row.logits, row.limit)
        logp = logp.masked_fill(~mask.to(logp.device), -torch.inf)
        total = torch.logsumexp(logp, -1)
        logz = float(total)
        if logz == -torch.inf:
            raise dead_end(row.limit, row.prefix, len(row.logits))
        logp = logp - total
    return logp, logz


def some_left(logp: Tensor, shapers: Sequence[Shaper], x: Prefix) -> None:
    """Raise `BrokenRow` if these shapers left no token of the row after x, or made NaN of it."""
    if not greatest(logp)[1] > -torch.inf:
        names = ", ".join(type(shaper).__name__ for shaper in shapers)
        raise BrokenRow(f"after {names} no token is left of the row after {x!r} (or NaN is); leave one at least")


def keep_best(shapers: Sequence[Shaper]) -> bool:
    """Whether the most probable token stays it under these shapers."""
    for shaper in shapers:
        if shaper.greedy or not shaper.keeps_best:
            return shaper.greedy
    return True


def leading(logits: Tensor, limit: Limit, k: int) -> list[tuple[int, float]]:
    """The k most probable tokens that the limit allows, with their log-probabilities before it, best first; the first of equals
    first. What a part of the limit refuses by its mask is not checked."""
    logp = torch.log_softmax(logits, -1)
    values, tokens = without_refused(logp.exp(), limit).log().sort(descending=True, stable=True)
    found: list[tuple[int, float]] = []
    for token, value in zip(tokens.tolist(), values.tolist(), strict=True):
        if len(found) == k or value == -torch.inf:
            break
        if limit.allowed(token):
            found.append((token, float(logp[token])))
    return found


def first_of_equals(logits: Tensor, limit: Limit, token: int) -> int:
    """The first token that the limit allows among those as probable as this one."""
    equal = (logits[:token] == logits[token]).nonzero().flatten().tolist()
    return next((t for t in equal if limit.allowed(t)), token)


def drawn(logp: Tensor, limit: Limit, x: Prefix, rng: Rng, checks: int) -> int | None:
    """A token drawn by those log-weights that the limit allows, by rejection without replacement; None if so many were refused
    that the mask is the shorter way, or what is left is too improbable for weights that are no logs. Without a mask it goes on
    to the end."""
    weights, refused = logp.exp(), list[int]()
    while bool(weights.any()):
        token = rng.categorical(weights)
        if limit.allowed(token):
            return token
        refused.append(token)
        weights[token] = 0
        if len(refused) == checks:
            if limit.mask() is not None:
                return None
            weights = without_refused(weights, limit)
    left = without_refused((logp > -torch.inf).to(weights), limit)
    left[refused] = 0
    if bool(left.any()):
        return None
    raise dead_end(limit, x, len(weights))


def without_refused(weights: Tensor, limit: Limit) -> Tensor:
    """The weights, zero where a part of the limit that has a mask refuses the token: nothing that the whole allows is lost."""
    hint = getattr(limit, "hint", None)
    known: Tensor | None = hint() if hint is not None else None
    return weights if known is None else weights * known.to(weights.device)


def checked(logits: Tensor, limit: Limit) -> Tensor:
    """bool [V]: the tokens with weight that the limit allows, each checked on its own."""
    possible = without_refused((logits > -torch.inf).double(), limit) > 0
    return torch.tensor([able and limit.allowed(token) for token, able in enumerate(possible.tolist())])


def any_allowed(limit: Limit, size: int) -> bool:
    """Whether the limit allows any token at all."""
    possible = without_refused(torch.ones(size), limit).nonzero().flatten().tolist()
    return any(map(limit.allowed, possible))


def dead_end(limit: Limit, x: Prefix, size: int) -> DeadEnd:
    """The error that says why no token is left after x: the limit allows none of `size`, or shapers left none."""
    mask = limit.mask()
    return DeadEnd(x, shaped_away=bool(mask.any()) if mask is not None else any_allowed(limit, size))
