"""What prefixes cost and hold: the plan of their rows, the rows that it would have, the slots that they take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from espalier.errors import ContextOverflow, InvalidInput, LimitExceeded, require
from espalier.models.kv.layout import Plan
from espalier.models.kv.pool import FULL, Slots
from espalier.prefix import Prefix

if TYPE_CHECKING:
    from espalier.models.kv.store import KV

__all__ = ["check_length", "extended", "held", "lacking", "no_room", "planned", "row_costs", "slots_of"]

EMPTY: Slots = np.empty(0, np.int32)
Chain: TypeAlias = tuple[Slots, list[Prefix]]  # a remembered path, and the nodes below it


def check_length(x: Prefix, context: int | None) -> None:
    """Raises InvalidInput for an empty prefix, ContextOverflow for one that the context does not hold."""
    if len(x) == 0:
        raise InvalidInput("an empty prefix has no last token to go on from; give it one at least, say the start token")
    if context is not None and len(x) > context:
        raise ContextOverflow(f"{len(x)} tokens were given, but the context holds {context}; shorten the prompt")


def no_room(kv: KV, count: int) -> LimitExceeded:
    """The error for so many slots that do not fit, beside what is asked at the same time."""
    limit = kv._pool.limit
    return LimitExceeded(
        f"the KV budget holds {limit} tokens ({limit * kv.bytes_per_token} bytes); besides what is asked "
        f"now {kv._pool.free} are left, but {count} are needed: raise the budget, or ask for fewer or shorter prefixes"
    )


def lacking(kv: KV, chains: Sequence[Chain]) -> int:
    """How many tokens of these nodes have no keys and values."""
    nodes = {id(node): node for _, chain in chains for node in chain}
    return sum(len(node.tokens) - kv._have(node) for node in nodes.values())


def planned(
    kv: KV, plan: Plan, prefixes: Sequence[Prefix], ahead: Sequence[int], chains: Sequence[Chain], rows: int | None
) -> Plan:
    """The plan with the rows of `prefixes`, whose chains come first, and so many rows of each chain behind them."""
    for x, (path, chain) in zip(prefixes, chains, strict=False):
        for node in chain:
            path = extended(kv, plan, node, path, None)
        plan.remember[id(x)] = path
        if id(x) not in plan.answered_by:
            plan.answered_by[id(x)] = plan.add([x.last], kv._answering(x, path))
        plan.asked.append(plan.answered_by[id(x)])
    for count, (path, chain) in zip(ahead, chains[len(prefixes) :], strict=True):
        most = plan.rows + count if rows is None else rows
        for node in chain:
            path = extended(kv, plan, node, path, most)
    return plan


def extended(kv: KV, plan: Plan, node: Prefix, path: Slots, rows: int | None) -> Slots:
    """The path down to `node`, with the rows that it lacks in the plan."""
    if id(node) in plan.paths:
        return plan.paths[id(node)]
    run = kv._run(node)
    slots = EMPTY if run is None else run.slots  # what was used when is noted in `commit`
    above, first = path, plan.rows
    tokens = node.tokens[len(slots) :]
    if rows is not None:
        tokens = tokens[: max(0, rows - plan.rows)]
    if len(slots):
        path = np.concatenate([above, slots]) if len(above) else slots
        shallow, mixed = run is not None and run.depth < plan.depth, bool(tokens) and plan.depth < FULL
        if shallow or mixed:  # go on from the layer that an exit has come to, or begin anew up to the exit
            states = run.states if run is not None and shallow else None
            plan.answered_by[id(node)] = plan.add(node.tokens[: len(slots)], path, states)
            plan.begun[node] = first, plan.rows
    if tokens:
        taken = kv._pool.take(len(tokens))
        slots = np.concatenate([slots, taken]) if len(slots) else taken
        path = np.concatenate([above, slots]) if len(above) else slots
        plan.fresh.append((node, slots, taken))
        plan.answered_by[id(node)] = plan.add(tokens, path)
        if plan.depth < FULL:
            plan.begun[node] = first, plan.rows
    plan.paths[id(node)] = path
    return path


def row_costs(kv: KV, prefixes: Sequence[Prefix], depth: int = FULL) -> list[int]:
    """How many rows a plan (of so many layers) computes for each of these prefixes, given those before it in the list.

    >>> import torch
    >>> from espalier.models.kv.store import KV
    >>> kv, x = KV(layers=1, width=2, dtype=torch.float32), Prefix([1, 2, 3])
    >>> row_costs(kv, [x, x, x + 4])
    [3, 0, 1]
    """
    with kv._moving, kv._changes:
        kv._collect()
        counts, seen, asked = list[int](), set[int](), set[int]()

        def have(x: Prefix) -> int:
            return kv._have(x) if (run := kv._run(x)) is None or run.depth >= depth else 0

        for x in prefixes:
            rows = 0 if id(x) in asked or (id(x) not in seen and have(x) < len(x.tokens)) else 1  # its last token
            asked.add(id(x))
            for node in x.up():
                if id(node) in seen:
                    break
                seen.add(id(node))
                rows += len(node.tokens) - have(node)
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
