"""The table that drafting starts from: what it holds, that it is bounded, and that it changes no text."""

from __future__ import annotations

from pathlib import Path

import pytest

import espalier as es
from espalier.drafting import Auto, Successors
from espalier.drafting.auto.candidates import Memory
from espalier.drafting.model_free.successors import CLASSES, NONE, class_of
from espalier.errors import InvalidInput
from espalier.text.vocab import Vocab

SEEN = [([1], {2: 0.6, 3: 0.3}), ([4, 1], {2: 0.2, 5: 0.72}), ([4, 1], {2: 0.4, 5: 0.32}), ([1, 2], {3: 1.0})]


def test_it_holds_the_mean_law_of_each_context_best_first():
    table = Successors.of(SEEN)
    assert table.after(1) == ((2, class_of(0.4)), (5, class_of(1.04 / 3)), (3, class_of(0.1)))
    assert table.after(4, 1) == ((5, class_of(0.52)), (2, class_of(0.3)))
    assert table.after(1, 2) == table.after(2) == ((3, 0),)
    assert table.after(9) is None
    assert table.after(2, 1) is None


def test_classes_are_intervals_of_probability():
    for kind, least in enumerate(CLASSES):
        assert class_of(least) == kind
        assert class_of(least - 1e-9) == kind + 1
    assert class_of(0.0) == NONE


def test_its_size_is_bounded_and_the_frequent_stay():
    table = Successors.of(SEEN, width=1, limit=2)
    assert len(table) == 2
    assert table.after(1) == ((2, class_of(0.4)),)


def test_it_is_kept_in_a_file(tmp_path: Path):
    table = Successors.of(SEEN)
    table.save(tmp_path / "table.npz")
    again = Successors.load(tmp_path / "table.npz")
    for context in [(1,), (4, 1), (1, 2), (2,), (9,)]:
        assert again.after(*context) == table.after(*context)
    (tmp_path / "other").write_text("not a table")
    for file in ("other", "none"):
        with pytest.raises(InvalidInput, match=r"scripts/successors\.py"):
            Successors.load(tmp_path / file)


def test_there_is_none_for_a_vocabulary_that_is_not_known():
    assert Successors.shipped(Vocab([b"a", b"b", None], end=[2])) is None


def test_the_session_comes_before_the_table_after_two_tokens_and_behind_it_after_one():
    memory = Memory(Successors.of(SEEN))
    assert memory.entry([4, 1]) == (((5, 2), (2, 3)), 1)
    memory.pairs[4, 1] = ((7, 0),)
    assert memory.entry([4, 1]) == (((7, 0),), 0)
    memory.singles[1], memory.singles[8] = ((9, 0),), ((9, 0),)
    assert memory.entry([0, 1]) == (memory.before.after(1), 2)  # type: ignore[union-attr]
    assert memory.entry([0, 8]) == (((9, 0),), 3)
    assert memory.entry([0, 6]) is None


def test_a_table_of_the_model_drafts_from_the_first_round_on_and_changes_no_text():
    model = es.models.Table.random(vocab_size=16, depth=1, seed=2)
    rows = model.forward([es.Prefix([token]) for token in range(16)], frozenset()).logits.softmax(-1).tolist()
    table = Successors.of([([token], dict(enumerate(law))) for token, law in enumerate(rows)])
    stop, x, greedy = es.stop.budget(12), es.Prefix([3, 5]), es.verification.GreedyMatch()
    [plain] = es.run(es.sample(model | es.temperature(0), x, stop, es.Rng(0)))
    passes = []
    for start in (None, table):
        auto = Auto(slack=1e6, clock=lambda: 0.0, table=start)
        es.run(es.speculate(model, es.Prefix([1]), es.stop.budget(2), auto, greedy, es.Rng(0)))
        model.passes = 0
        [y] = es.run(es.speculate(model, x, stop, auto, greedy, es.Rng(0)))
        assert y.ids() == plain.ids()
        passes.append(model.passes)
    assert passes[1] < passes[0]
