"""The pool of keys and values: forks share, forgetting frees, budgets evict, equal tokens are shared."""

from __future__ import annotations

import gc

import pytest
import torch

from espalier.errors import LimitExceeded
from espalier.models.kv.store import KV
from espalier.models.transformer import Transformer
from espalier.prefix import Prefix

from .test_transformer import ours, peer, tokens


def pool(budget: int = 1 << 20) -> KV:
    return KV(layers=2, width=4, dtype=torch.float32, budget=budget)


def ask(kv: KV, *prefixes: Prefix) -> int:
    """Commits a plan; returns how many rows it computed."""
    plan = kv.plan(prefixes)
    kv.commit(plan)
    return plan.rows


def test_forks_share_and_forgetting_frees() -> None:
    kv = pool()
    x = Prefix(range(10))
    y, z = x + 1, x + 2
    assert (ask(kv, y, z), kv.used) == (12, 12)
    assert ask(kv, y) == 1  # its last row is computed again, into its own slot
    assert kv.used == 12
    del y
    assert kv.used == 11
    del x
    assert kv.used == 11  # z still stands on it
    del z
    assert (kv.used, kv.nbytes) == (0, pool().nbytes)


def test_ten_thousand_forks_leave_memory_where_it_began() -> None:
    kv = pool()
    x = Prefix(range(100))
    ask(kv, x)
    gc.disable()  # reference counts alone must do
    try:
        before = kv.nbytes, kv.used, len(kv._runs), len(kv._children)
        for i in range(10_000):
            y = x + i
            ask(kv, y, y + 1, y + 2)
        del y
        assert (kv.nbytes, kv.used, len(kv._runs), len(kv._children)) == before
    finally:
        gc.enable()


def test_memory_shrinks_when_most_of_it_is_free() -> None:
    kv = pool()
    x = Prefix(range(10))
    ask(kv, x)
    small = kv.nbytes
    many = [Prefix([i, *range(1000)]) for i in range(8)]
    ask(kv, *many)
    assert kv.capacity >= 8008
    del many
    assert (kv.used, kv.nbytes) == (10, small)


def test_compaction_moves_what_lives() -> None:
    model = ours(peer("llama"))
    x = Prefix(tokens(30))
    before = model.forward([x], frozenset()).logits
    many = [Prefix([i, *tokens(60)]) for i in range(8)]
    y = x + 5
    model.forward([*many, y], frozenset())
    capacity = model.kv.capacity
    del many
    after = model.forward([x, y], frozenset()).logits
    assert model.kv.capacity < capacity
    torch.testing.assert_close(before[0], after[0], atol=1e-5, rtol=0)
    model.kv.clear()
    torch.testing.assert_close(model.forward([y], frozenset()).logits[0], after[1], atol=1e-5, rtol=0)


def test_a_full_pool_evicts_the_least_recently_used_and_computes_it_again() -> None:
    kv = pool()
    kv = pool(budget=64 * kv.bytes_per_token)
    a, b = Prefix([1, *range(29)]), Prefix([2, *range(29)])
    assert ask(kv, a) + ask(kv, b) == 60
    assert ask(kv, a) == 1
    c = Prefix([3, *range(20)])
    assert ask(kv, c) == 21  # b goes, it was used least recently
    assert ask(kv, a) == 1
    assert ask(kv, b) == 30
    assert kv.nbytes <= 64 * kv.bytes_per_token
    d = Prefix([4, *range(70)])
    with pytest.raises(LimitExceeded, match="budget"):
        kv.plan([d])


def test_an_evicted_ancestor_is_computed_in_the_same_pass() -> None:
    config_model = peer("llama")
    free = ours(config_model)
    budget = 40 * free.kv.bytes_per_token
    model = Transformer(free.config, free.executor, budget=budget)
    x = Prefix(tokens(12))
    leaves = [x + tokens(3, seed) for seed in range(4)]
    expected = free.forward(leaves, frozenset()).logits
    for turn in range(3):
        other = Prefix(tokens(25, 9 + turn))
        model.forward([other], frozenset())
        for leaf, row in zip(leaves, expected, strict=True):
            torch.testing.assert_close(model.forward([leaf], frozenset()).logits[0], row, atol=1e-5, rtol=0)
    assert model.kv.nbytes <= budget


def test_equal_tokens_at_the_root_are_shared() -> None:
    kv = pool()
    first = Prefix(range(50))
    chat = first + [7, 8] + 9
    ask(kv, chat)
    again = Prefix([*range(50), 7, 8, 9, 100, 101])  # the next turn, rendered anew as one prompt
    assert ask(kv, again) == 2
    assert kv.used == 55
    half = Prefix([*range(25), 3])
    assert ask(kv, half) == 1
    del first, chat
    assert kv.used == 56  # what `again` and `half` share stays
    del again
    assert kv.used == 26
    del half
    assert kv.used == 0


def test_a_failed_pass_takes_nothing() -> None:
    kv = pool()
    x = Prefix(range(5))
    kv.abandon(kv.plan([x]))
    assert kv.used == 0
    assert ask(kv, x) == 5


def test_pieces_of_a_prompt() -> None:
    kv = pool()
    x = Prefix(range(10)).given([1, 2, 3])
    done = []
    while kv.missing(x):
        plan = kv.plan([x], rows=4)
        done.append(plan.rows)
        kv.commit(plan)
    assert done == [4, 4, 4, 1]
    assert ask(kv, x) == 1


def test_the_end_of_a_prefix_that_nobody_heard_of_is_found_out() -> None:
    kv = KV(layers=1, width=2, dtype=torch.float32)
    x = Prefix([1, 2, 3])
    kv.commit(kv.plan([x]))
    y = Prefix([4, 5, 6, 7])
    run = kv._runs.pop(id(x))  # an interrupt swallowed the callback, and another prefix came to stand at the address
    run.key = id(y)
    kv._runs[id(y)] = run
    kv._children[run.parent, run.first] = [id(y)]
    del x
    assert kv.plan([y]).rows == 4


def test_growth_moves_nothing_and_shrinking_only_what_lives() -> None:
    kv = pool()
    x = Prefix(range(10))
    ask(kv, x)
    address = kv.keys.data_ptr()
    kv.keys[:, 3] = 5
    many = [Prefix([i, *range(1000)]) for i in range(8)]
    ask(kv, *many)
    assert (kv._pool.moved, kv.keys.data_ptr()) == (0, address)
    kv.keys[:, 5000] = 7
    del many
    assert kv.capacity < 5000  # shrunk
    assert kv._pool.moved == 10
    assert float(kv.keys[0, 3, 0]) == 5
    assert float(kv.keys[0, 5000, 0]) == 0  # given back to the system


def test_where_no_addresses_can_be_set_aside_a_pool_grows_by_copying(monkeypatch) -> None:
    monkeypatch.setattr("espalier.models.kv.growing_memory._LARGEST", 0)
    kv = pool()
    x = Prefix(range(10))
    ask(kv, x)
    kv.keys[:, 3] = 5
    ask(kv, *[Prefix([i, *range(300)]) for i in range(2)])
    assert kv._pool.moved > 0
    assert 5 in kv.keys[0, :10, 0]
