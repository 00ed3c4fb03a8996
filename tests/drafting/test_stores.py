"""Drafts from stores: suffix arrays, hidden states, and stores of several ranges."""

from __future__ import annotations

import pytest
import torch
from proposals import SMALL, passes, proposed

import espalier as es
from espalier.drafting import (
    DReSD,
    Graft,
    HiddenStore,
    Hierarchy,
    TextStore,
    TokenRecycling,
)
from espalier.errors import InvalidInput
from espalier.text import Vocab
from espalier.verification import SampleMatch


def test_the_tree_of_a_store_is_that_of_brute_force():
    generator = torch.Generator().manual_seed(0)
    texts = [torch.randint(0, 4, (60,), generator=generator).tolist() for _ in range(5)]
    store = TextStore(texts)
    for run in ([1], [2, 3], [0, 1, 2], [3, 3, 3, 3, 3]):
        found: dict[tuple[int, ...], int] = {}
        for text in texts:
            for at in range(len(text) - len(run) + 1):
                if text[at : at + len(run)] == run:
                    rest = text[at + len(run) : at + len(run) + 3]
                    for n in range(1, len(rest) + 1):
                        found[tuple(rest[:n])] = found.get(tuple(rest[:n]), 0) + 1
        tree = dict(store.tree(run, tokens=3, nodes=10_000))
        assert tree == found
        assert store.count(run) == sum(
            text[at : at + len(run)] == run for text in texts for at in range(len(text) - len(run) + 1)
        )
    few = [path for path, _ in store.tree([1], tokens=3, nodes=7)]
    assert len(few) == 7
    assert all(path[:-1] in few or len(path) == 1 for path in few)
    assert list(store.longest([9, *texts[0][10:20]], 16, 2)) == texts[0][10:20]
    assert list(store.longest([9, 9], 16, 1)) == []


def test_a_store_is_written_and_read_and_knows_its_vocabulary(tmp_path):
    vocab, other = Vocab([b"a", b"b", b"c"]), Vocab([b"a", b"b", b"x"])
    store = TextStore([[0, 1, 2, 1]], vocab)
    store.save(tmp_path / "store.npz")
    again = TextStore.load(tmp_path / "store.npz", vocab)
    assert again.continuations([1], 2) == store.continuations([1], 2)
    with pytest.raises(InvalidInput, match="another tokenizer"):
        TextStore.load(tmp_path / "store.npz", other)
    (tmp_path / "junk.npz").write_bytes(b"no")
    with pytest.raises(es.EspalierError, match="not a text store"):
        TextStore.load(tmp_path / "junk.npz")


def test_hierarchy_asks_the_nearest_store_first_and_says_nothing_twice():
    drafter = Hierarchy(n=3, guesses=3, store=TextStore([[1, 3, 3], [1, 2, 0]]), context=1)
    assert proposed(drafter, es.Prefix([1, 2, 0, 1])) == [[2], [2, 0], [3], [3, 3]]


def test_dresd_retrieves_the_continuation_of_its_own_states():
    model, drafter = es.models.Table.random(6, 2, seed=2), DReSD(HiddenStore(size=16), k=1, tokens=4)
    x = es.Prefix([1, 2])
    first = passes(drafter, model, x, 24)
    assert passes(drafter, model, x, 24) < first  # the second time every state is known
    with pytest.raises(InvalidInput, match="one store per model"):
        drafter.store.key(torch.zeros(1, 7).numpy())


def test_the_approximate_index_finds_what_the_exact_one_finds():
    pytest.importorskip("usearch")
    keys = torch.randn(300, 8, generator=torch.Generator().manual_seed(0)).numpy()
    exact, near, again = es.drafting.ExactIndex(8), es.drafting.ApproximateIndex(8), es.drafting.ApproximateIndex(8)
    for index in (exact, near, again):
        index.add(keys)
    found = [near.nearest(key, 5) for key in keys]
    assert found == [again.nearest(key, 5) for key in keys]
    assert sum(exact.nearest(key, 1)[0][0] == one[0][0] for key, one in zip(keys, found, strict=True)) >= 297


def test_graft_fills_the_whole_budget_without_duplicates():
    recycling = TokenRecycling(nodes=30, top=3)
    es.run(es.speculate(SMALL, es.Prefix([0]), es.stop.budget(20), recycling, SampleMatch(), es.Rng(0)))
    for confident in ((1.0,), (0.0,)):
        draft = proposed(Graft(SMALL, recycling, nodes=9, width=2, depth=3, confident=confident), es.Prefix([0, 1]))
        assert len(draft) == 9
        assert len(set(map(tuple, draft))) == 9
