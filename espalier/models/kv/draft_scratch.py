"""The scratch tail of a draft that reads the keys and values of another store in place."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Sequence

import numpy as np

from espalier.models.kv.layout import Plan
from espalier.models.kv.pool import FULL, Run, Slots
from espalier.models.kv.store import KV
from espalier.prefix import Prefix

__all__ = ["Tail"]


class Tail(KV):
    """Keys and values of drafted tokens, in slots of `lender`'s own pool; what the lender has read is read where it lies.

    Guarantees: no slot of the lender is written, and none is copied; drafted tokens have slots of the tail's own (scratch)
    until the lender has read them. A row that is asked about what the lender has read is computed beside its slot. `used`
    counts the slots that are this tail's alone.

    >>> import torch
    >>> kv, x = KV(layers=1, width=2, dtype=torch.float32), Prefix([1, 2, 3])
    >>> kv.commit(kv.plan([x])); tail = Tail(kv)
    >>> plan = tail.plan([x + 4]); tail.commit(plan); plan.rows, tail.used, kv.used
    (1, 1, 4)
    """

    def __init__(self, lender: KV) -> None:
        self.lender = lender
        self.bytes_per_token, self.context = lender.bytes_per_token, lender.context
        self._pool, self._moving, self._changes = lender._pool, lender._moving, lender._changes
        self._runs, self._children, self._forgotten = {}, {}, deque[int]()
        self._salts, self._tops = lender._salts, lender._tops
        self._remembered, self._turn, self._open = [], 0, None
        self._aside: list[Slots] = []
        lender._tails.add(self)
        weakref.finalize(self, lender._orphans.append, self._runs).atexit = False

    @property
    def used(self) -> int:
        """The number of slots that this tail holds and its lender does not."""
        with self._moving, self._changes:
            self._collect()
            theirs = {int(slot) for run in self.lender._runs.values() for slot in run.slots}
            return len({int(slot) for run in self._runs.values() for slot in run.slots} - theirs)

    @property
    def nbytes(self) -> int:
        """The bytes of the slots that are this tail's alone; the memory is the lender's."""
        return self.used * self.bytes_per_token

    def plan(
        self, prefixes: Sequence[Prefix], rows: int | None = None, ahead: Sequence[tuple[Prefix, int]] = (), depth: int = FULL
    ) -> Plan:
        with self._moving, self._changes:
            for run in list(self._runs.values()):
                node = run.prefix()
                if node is None or self._settled(node) is not None:
                    self._drop(run)
        return super().plan(prefixes, rows, ahead, depth)

    def commit(self, plan: Plan) -> None:
        plan.remember.clear()  # what the lender drops would leave such paths behind
        super().commit(plan)
        with self._moving, self._changes:
            self._give_back()

    def _give_back(self) -> None:
        while self._aside:
            self._pool.release(self._aside.pop())

    def _release(self, plan: Plan | None) -> None:
        super()._release(plan)
        self._give_back()

    def _spare(self, prefixes: Sequence[Prefix]) -> int:
        return len(prefixes)

    def _answering(self, x: Prefix, path: Slots) -> Slots:
        """A row about what the lender has read writes beside the lender's slot, into one that is free again after the pass."""
        if self._settled(x) is None:
            return path
        self._aside.append(self._pool.take(1))
        return np.concatenate([path[:-1], self._aside[-1]])

    def clear(self) -> None:
        """Forgets the scratch; what the lender has stays."""
        with self._moving, self._changes:
            for run in list(self._runs.values()):
                self._drop(run)

    def _family(self) -> list[KV]:
        return self.lender._family()

    def _start_anew(self) -> None:
        self.lender._start_anew()

    def _run(self, node: Prefix) -> Run | None:
        return self._settled(node) or self._own(node)

    def _settled(self, node: Prefix) -> Run | None:
        """The lender's run of a node, if all layers of it have read the whole of it."""
        run = self.lender._run(node)
        return run if run is not None and run.states is None and len(run.slots) == len(node.tokens) else None

    def _adopt(self, root: Prefix) -> Run | None:
        self.lender._have(root)
        theirs = self.lender._run(root)
        if theirs is None or theirs.states is not None or self._settled(root) is not None:
            return self._run(root)
        self._pool.share(theirs.slots)
        return self._register(root, theirs.slots.copy())

    def _collect(self) -> None:
        self.lender._collect()

    def _resize(self, capacity: int) -> None:
        self.lender._resize(capacity)

    def _evict(self, count: int, kept: set[int]) -> None:
        self.lender._evict(count, kept)

    def _above(self, node: Prefix) -> int:
        return id(node.parent) if node.parent is not None else 0
