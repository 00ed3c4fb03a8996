"""Keys and values copied from another store: what a draft need not read again, and reads as the target wrote it."""

from __future__ import annotations

import numpy as np

from espalier.models.kv.pool import Slots
from espalier.models.kv.store import KV
from espalier.prefix import Prefix

__all__ = ["borrow"]


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
            if (
                (run := lender._runs.get(id(node)))
                and run.prefix() is node
                and run.states is None
                and len(run.slots) == len(node.tokens)
            ):
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
