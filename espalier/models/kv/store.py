"""Keys and values of prefixes: slots in one growing pool, held for as long as the prefix lives."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Sequence

import numpy as np
import torch

from espalier.models.kv.layout import Plan
from espalier.models.kv.planning import check_length, lacking, no_room, planned
from espalier.models.kv.pool import FULL, Changes, Pool, Run, Slots, coldest, longest_path
from espalier.prefix import Prefix
from espalier.soft_prefix import Soft

__all__ = ["KV"]

EMPTY: Slots = np.empty(0, np.int32)


class KV:
    """Storage for the keys and values of prefixes; `plan` says what must be computed to answer for some of them.

    Guarantees: a prefix's keys and values are found through its ancestors, so a fork shares them; they are freed when the
    prefix is forgotten (weak references, no call needed); a new root whose first tokens are those of a living path shares
    that path's slots; `plan` takes no more than `budget` bytes: least recently used prefixes are evicted and computed again,
    in the same pass, when they are asked for. Memory shrinks again when three quarters of it are free.

    `keys` and `values` are [layers, capacity or more, width]; slot numbers change only inside `plan`.
    Radix sharing follows Zheng et al. 2023 (SGLang, 2312.07104).

    >>> kv = KV(layers=2, width=4, dtype=torch.float32)
    >>> x = Prefix([1, 2, 3])
    >>> plan = kv.plan([x]); plan.rows
    3
    >>> kv.commit(plan); kv.plan([x + 4]).rows
    1
    """

    def __init__(
        self,
        layers: int,
        width: int,
        dtype: torch.dtype,
        device: torch.device | str = "cpu",
        budget: int = 4 << 30,
        context: int | None = None,
    ) -> None:
        self.bytes_per_token = 2 * layers * width * dtype.itemsize
        self._pool = Pool(layers, width, dtype, device, int(budget // self.bytes_per_token))
        self.context = context
        self._runs: dict[int, Run] = {}
        self._children: dict[tuple[int, int], list[int]] = {}  # (parent, first token) -> nodes; 0 is the parent of roots
        self._forgotten: deque[int] = deque()
        self._tails, self._orphans = (
            weakref.WeakSet[KV](),
            deque[dict[int, Run]](),
        )  # of drafts that read this, and of gone ones
        self._salts, self._tops = weakref.WeakKeyDictionary[Prefix, int](), dict[str, int]()
        self._remembered, self._turn = list[Run](), 0
        self._open: Plan | None = None  # what is being computed now: until it is settled, slots stay where they are
        self._moving, self._changes = threading.Lock(), Changes(self._start_anew)  # held, and noted, while slots change hands

    @property
    def keys(self) -> torch.Tensor:
        """The keys of all slots, [layers, capacity or more, width]."""
        return self._pool.keys

    @property
    def values(self) -> torch.Tensor:
        """The values of all slots, [layers, capacity or more, width]."""
        return self._pool.values

    @property
    def capacity(self) -> int:
        """The number of slots for which memory is held."""
        with self._moving, self._changes:
            self._collect()
            return self._pool.capacity

    @property
    def used(self) -> int:
        """The number of slots that living prefixes hold."""
        with self._moving, self._changes:
            self._collect()
            return self._pool.used

    @property
    def limit(self) -> int:
        """How many slots there may be at most; may be set."""
        return self._pool.limit

    @limit.setter
    def limit(self, slots: int) -> None:
        with self._moving, self._changes:
            self._pool.limit = max(self._pool.capacity, slots)

    @property
    def nbytes(self) -> int:
        """The bytes held now."""
        return self.capacity * self.bytes_per_token

    def plan(
        self, prefixes: Sequence[Prefix], rows: int | None = None, ahead: Sequence[tuple[Prefix, int]] = (), depth: int = FULL
    ) -> Plan:
        """What must be computed to answer for `prefixes`, and `ahead`: the next so many rows of others, unanswered. With
        `rows`, only the first so many rows of `prefixes` themselves, unanswered too; with `depth`, only so many layers.

        Raises InvalidInput for an empty prefix, ContextOverflow for one longer than the context, LimitExceeded when the
        budget does not hold what is asked at once.
        """
        with self._moving, self._changes:
            for kv in self._family():
                kv._release(kv._open)  # there is one if an interrupt came between a plan and its end
            self._collect()
            self._turn += 1
            if rows is not None:
                ahead, prefixes = [(x, rows) for x in prefixes], list[Prefix]()
            every = [*prefixes, *(x for x, _ in ahead)]
            chains = [self._chain(x) for x in every]
            missing = min(lacking(self, chains), lacking(self, chains[: len(prefixes)]) + sum(count for _, count in ahead))
            if (missing := missing + self._spare(prefixes)) > self._pool.free:
                self._make_room(missing, chains)
                chains = [self._chain(x) for x in every]
            plan = planned(self, Plan(depth=depth), prefixes, [count for _, count in ahead], chains, rows)
            self._open = plan
            return plan

    def commit(self, plan: Plan) -> None:
        """Takes what the plan computed as the keys and values of its prefixes (nothing, if all was forgotten meanwhile)."""
        with self._moving, self._changes:
            if plan is not self._open:
                return
            for node, slots, _ in plan.fresh:
                (self._own(node) or self._register(node, slots)).slots = slots
            self._open = None
            for node, (first, last) in plan.begun.items():
                if run := self._own(node):
                    run.states = None if plan.states is None else plan.states[first:last].clone()
            if plan.depth < FULL:
                return
            for before in self._remembered:
                before.path = None
            self._remembered = []
            for key, path in plan.remember.items():
                if run := self._runs.get(key):
                    run.path, run.used = path, self._turn
                    self._remembered.append(run)

    def abandon(self, plan: Plan) -> None:
        """Gives back what the plan took; nothing of it is remembered."""
        with self._moving, self._changes:
            self._release(plan)

    def _release(self, plan: Plan | None) -> None:
        if plan is not None and plan is self._open:
            self._open = None
            for _, _, taken in plan.fresh:
                self._pool.release(taken)

    def missing(self, x: Prefix) -> int:
        """How many tokens of `x` have no keys and values."""
        with self._moving, self._changes:
            return len(x) - sum(len(run.slots) for node in x.up() if (run := self._run(node)))

    def salt(self, root: Prefix, salt: str) -> None:
        """From now on this root shares slots with roots of the same salt only."""
        self._salts[root] = self._tops.setdefault(salt, -1 - len(self._tops))

    def known(self, x: Prefix) -> int:
        """How many of the first tokens of `x` have keys and values, by it or by another path with the same tokens."""
        with self._moving, self._changes:
            self._collect()
            return sum([self._have(node) for node in x.path()])

    def clear(self) -> None:
        """Forgets everything; prefixes are computed again when asked for."""
        with self._moving, self._changes:
            self._start_anew()

    def _start_anew(self) -> None:
        for kv in self._family():
            kv._children, kv._remembered, kv._open = {}, [], None
            kv._runs.clear()
        self._orphans.clear()
        self._pool.reset()

    def _spare(self, prefixes: Sequence[Prefix]) -> int:
        return 0  # slots that a pass takes and gives back

    def _answering(self, x: Prefix, path: Slots) -> Slots:
        """The path whose last slot the row after `x` writes, if only the row is missing."""
        return path

    def _family(self) -> list[KV]:
        """All that take slots of this pool: this store, and the tails of drafts that read it."""
        return [self, *self._tails]

    def _chain(self, x: Prefix) -> tuple[Slots, list[Prefix]]:
        """The deepest remembered path above `x`, and the nodes from there down to `x`."""
        check_length(x, self.context)
        nodes: list[Prefix] = []
        node: Prefix | None = x
        path = EMPTY
        while node is not None:
            run = self._run(node)
            if run is not None and run.path is not None and len(run.path) == len(node):
                path = run.path
                break
            nodes.append(node)
            node = node.parent
        return path, nodes[::-1]

    def _run(self, node: Prefix) -> Run | None:
        return self._own(node)

    def _own(self, node: Prefix) -> Run | None:
        run = self._runs.get(id(node))
        if run is None or run.prefix() is node:
            return run
        self._drop(run)  # of a prefix that stood at this address: an interrupt swallowed the news of its end
        return None

    def _have(self, node: Prefix) -> int:
        run = self._run(node) or (self._adopt(node) if node.parent is None and not isinstance(node, Soft) else None)
        return 0 if run is None else len(run.slots)

    def _register(self, node: Prefix, slots: Slots) -> Run:
        key = id(node)
        parent = self._above(node)
        forgotten = self._forgotten  # the callback must not keep the pool alive; deque.append is atomic in any thread
        ref = weakref.ref(node, lambda _: forgotten.append(key))
        first = -1 if isinstance(node, Soft) else node.tokens[0]  # nobody shares what its tokens only stand for
        run = Run(key, ref, parent, first, slots, self._turn)
        self._runs[key] = run
        self._children.setdefault((parent, run.first), []).append(key)
        return run

    def _above(self, node: Prefix) -> int:
        """The key under which a node is found: its parent's, and for a root 0 or what stands for its salt."""
        return id(node.parent) if node.parent is not None else self._salts.get(node, 0)

    def _adopt(self, root: Prefix) -> Run | None:
        """A run that shares the longest living path with the same tokens as `root`, if there is one."""
        if not (best := longest_path(root.tokens, self._runs, self._children, self._above(root))):
            return None
        shared = np.concatenate(best)
        self._pool.share(shared)
        return self._register(root, shared)

    def _drop(self, run: Run) -> None:
        """Frees a run; what is below it stays and finds its ancestors computed again."""
        siblings = self._children[(run.parent, run.first)]
        siblings.remove(run.key)
        if not siblings:
            del self._children[(run.parent, run.first)]
        del self._runs[run.key]
        self._pool.release(run.slots)

    def _collect(self) -> None:
        """Frees the runs of forgotten prefixes and gives memory back when three quarters of it are free."""
        family = self._family()
        for kv in family:
            while kv._forgotten:
                run = kv._runs.get(kv._forgotten.popleft())
                if run is not None and run.prefix() is None:
                    kv._drop(run)
        for run in (run for _ in range(len(self._orphans)) for run in self._orphans.popleft().values()):
            self._pool.release(run.slots)
        roomy = all(kv._open is None for kv in family) and self._pool.used * 4 <= self._pool.capacity
        if roomy and self._pool.fitting(2 * self._pool.used) < self._pool.capacity:
            self._resize(self._pool.fitting(2 * self._pool.used))

    def _make_room(self, count: int, chains: Sequence[tuple[Slots, list[Prefix]]]) -> None:
        """Sees to `count` free slots: grows up to the budget, then evicts what is not on the way to what is asked."""
        pool = self._pool
        if (capacity := pool.fitting(pool.used + count)) > pool.capacity:
            self._resize(capacity)
        if count > pool.free:
            kept = {id(node) for _, chain in chains for x in chain[-1:] for node in x.up()}
            self._evict(max(count, pool.capacity // 16), kept)
        if count > pool.free:
            raise no_room(self, count)

    def _resize(self, capacity: int) -> None:
        runs = (run for runs in (*(kv._runs for kv in self._family()), *tuple(self._orphans)) for run in runs.values())
        held = (slots for run in runs for slots in (run.slots, run.path) if slots is not None)
        self._pool.resize(capacity, list({id(slots): slots for slots in held}.values()))  # a root's path is its slots

    def _evict(self, count: int, kept: set[int]) -> None:
        """Frees least recently used runs, leaves before their ancestors, until `count` slots are free."""
        for kv in self._family()[::-1]:
            for key in coldest(kv._runs):
                if self._pool.free < count and key not in kept:
                    kv._drop(kv._runs[key])
        for run in self._runs.values():
            run.path = None
