"""Keys and values copied from another store: what a draft need not read again, and reads as the target wrote it."""

from __future__ import annotations

from collections.abc import MutableSet, Sequence

import numpy as np

from espalier.models.kv.pool import Slots
from espalier.models.kv.store import KV
from espalier.prefix import Prefix

__all__ = ["borrow", "refresh"]


def borrow(kv: KV, lender: KV, x: Prefix) -> None:
    """Copies what `lender` has computed of `x` and what is above it, down from where `kv` has something itself."""
    with kv._moving, kv._changes, lender._moving:
        if lender._changes.torn:
            return
        kv._collect()
        found = list[tuple[Prefix, Slots]]()
        for node in x.up():
            if kv._run(node) is not None:
                break
            if (run := lender._runs.get(id(node))) and run.prefix() is node and len(run.slots) == len(node.tokens):
                found.append((node, run.slots))
        if not found:
            return
        theirs = np.concatenate([slots for _, slots in found])
        if len(theirs) > kv._pool.free:
            kv._make_room(len(theirs), [kv._chain(x)])
        mine = kv._pool.take(len(theirs))
        kv._pool.copy(mine, lender._pool, theirs)
        ends = np.cumsum([len(slots) for _, slots in found])[:-1]
        for (node, _), slots in zip(found, np.split(mine, ends), strict=True):
            kv._register(node, slots.copy())


def refresh(kv: KV, lender: KV, x: Prefix, layers: Sequence[int], copied: MutableSet[Prefix]) -> None:
    """Copies these layers of what `lender` has computed above x, in place of what `kv` computed there itself.

    `copied`: the prefixes that were copied before. What x itself adds stays `kv`'s own: a scratch tail.
    """
    with kv._moving, kv._changes, lender._moving:
        if lender._changes.torn or x.parent is None:
            return
        kv._collect()
        found = list[tuple[Prefix, Slots]]()
        for node in x.parent.up():
            mine = kv._run(node)
            if node in copied and mine is not None:
                break
            if (run := lender._runs.get(id(node))) and run.prefix() is node and len(run.slots) == len(node.tokens) > 0:
                found.append((node, run.slots))
                if mine is not None:
                    kv._drop(mine)
        if not found:
            return
        for before in kv._remembered:
            before.path = None
        theirs = np.concatenate([slots for _, slots in found])
        if len(theirs) > kv._pool.free:
            kv._make_room(len(theirs), [kv._chain(x)])
        mine_all = kv._pool.take(len(theirs))
        kv._pool.copy_layers(mine_all, lender._pool, theirs, layers)
        ends = np.cumsum([len(slots) for _, slots in found])[:-1]
        for (node, _), slots in zip(found, np.split(mine_all, ends), strict=True):
            kv._register(node, slots.copy())
            copied.add(node)
