"""What prefixes cost and hold: the plan of their rows, the rows that it would have, the slots that they take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from espalier.errors import require
from espalier.models.kv.layout import Plan
from espalier.models.kv.pool import Slots
from espalier.prefix import Prefix

if TYPE_CHECKING:
    from espalier.models.kv.store import KV

__all__ = ["held", "lacking", "planned", "row_costs", "slots_of"]

Chain: TypeAlias = tuple[Slots, list[Prefix]]  # a remembered path, and the nodes below it


def lacking(kv: KV, chains: Sequence[Chain]) -> int:
    """How many tokens of these nodes have no keys and values."""
    nodes = {id(node): node for _, chain in chains for node in chain}
    return sum(len(node.tokens) - kv._have(node) for node in nodes.values())


def planned(kv: KV, prefixes: Sequence[Prefix], ahead: Sequence[int], chains: Sequence[Chain], rows: int | None) -> Plan:
    """The plan of the rows of `prefixes`, whose chains come first, and of so many rows of each chain behind them."""
    plan = Plan()
    for x, (path, chain) in zip(prefixes, chains, strict=False):
        for node in chain:
            path = kv._extend(plan, node, path, None)
        plan.remember[id(x)] = path
        if id(x) not in plan.answered_by:
            plan.answered_by[id(x)] = plan.add([x.last], path)
        plan.asked.append(plan.answered_by[id(x)])
    for count, (path, chain) in zip(ahead, chains[len(prefixes) :], strict=True):
        most = plan.rows + count if rows is None else rows
        for node in chain:
            path = kv._extend(plan, node, path, most)
    return plan


def row_costs(kv: KV, prefixes: Sequence[Prefix]) -> list[int]:
    """How many rows a plan computes for each of these prefixes, given those before it in the list.

    >>> import torch
    >>> from espalier.models.kv.store import KV
    >>> kv, x = KV(layers=1, width=2, dtype=torch.float32), Prefix([1, 2, 3])
    >>> row_costs(kv, [x, x, x + 4])
    [3, 0, 1]
    """
    with kv._moving, kv._changes:
        kv._collect()
        counts, seen, asked = list[int](), set[int](), set[int]()
        for x in prefixes:
            rows = 0 if id(x) in asked or (id(x) not in seen and kv._have(x) < len(x.tokens)) else 1  # its last token
            asked.add(id(x))
            for node in x.up():
                if id(node) in seen:
                    break
                seen.add(id(node))
                rows += len(node.tokens) - kv._have(node)
                run = kv._run(node)
                if run is not None and run.path is not None and len(run.path) == len(node):
                    break
            counts.append(rows)
        return counts


def held(kv: KV, roots: Sequence[Prefix]) -> int:
    """How many slots some prefixes hold together; what they share counts once."""
    with kv._moving, kv._changes:
        runs = [run.slots for root in roots if (run := kv._run(root)) is not None]
        return len(np.unique(np.concatenate(runs))) if runs else 0


def slots_of(kv: KV, x: Prefix) -> Slots:
    """The slots of all tokens of a prefix. Raises InvalidInput if some have no keys and values."""
    with kv._moving, kv._changes:
        found = [run.slots for node in x.path() if (run := kv._run(node)) is not None]
        require(sum(map(len, found)) == len(x), f"{x!r} has no keys and values; ask about it first")
        return np.concatenate(found)
