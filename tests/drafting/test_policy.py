"""The two policy interfaces: slots are decided before tokens, lengths keep the token that made them stop."""

from __future__ import annotations

import pytest

import espalier as es
from espalier.drafting.draft import Draft
from espalier.drafting.policies import Chain, Constant, Growth, LengthPolicy, Signals, grow
from espalier.text.vocab import Vocab

MODEL = es.models.Table.random(vocab_size=4, depth=2, seed=1)
X = es.Prefix([2, 0])


class UntilUnlikely(LengthPolicy):
    def go_on(self, signals: Signals, rng: es.Rng) -> bool:
        return signals.chosen >= 0.5


def drafted(tree, length, seed=0):  # type: ignore[no-untyped-def]
    [draft] = es.run(grow(MODEL, X, tree, length, es.Rng(seed)))
    return draft


def test_a_chain_has_the_planned_length_and_carries_its_laws():
    draft = drafted(Chain(), Constant(4))
    assert len(draft) == 4
    for node in range(4):
        assert draft.laws[node].q.tolist() == MODEL.forward([draft.prefixes[node]], frozenset())[0].probs().tolist()
    assert len(drafted(Chain(most=2), Constant(4))) == 2


def test_the_token_that_stops_a_draft_is_part_of_it():
    for seed in range(50):
        draft = drafted(Chain(most=9), UntilUnlikely(), seed)
        chosen = [float(draft.laws[node].q[draft.token(node + 1)]) for node in range(len(draft))]
        assert all(q >= 0.5 for q in chosen[:-1])
        assert chosen[-1] < 0.5 or len(draft) == 9


def test_deterministic_children_are_the_most_probable_tokens_and_drawn_ones_cannot_be_taken_back():
    growth = Growth(X, "deterministic", es.Rng(0))
    growth.learn([0], MODEL.forward([X], frozenset()))
    assert [growth.draft.token(n) for n in growth.level([0], 9)] == growth.law(0).argsort(descending=True).tolist()
    assert [p.last for p in growth.only([3]).prefixes[1:]] == [growth.draft.token(3)]
    growth = Growth(X, "without replacement", es.Rng(0))
    growth.learn([0], MODEL.forward([X], frozenset()))
    assert sorted(growth.draft.token(n) for n in growth.level([0], 9)) == [0, 1, 2, 3]
    with pytest.raises(es.InvalidInput, match="bias"):
        growth.only([1])


def test_nothing_is_drafted_below_an_end_token():
    vocab = Vocab([b"a", b"b", b"c", b""], end=[3])
    model = es.models.Table.random(vocab_size=4, depth=2, seed=1, vocab=vocab)
    for seed in range(30):
        [draft] = es.run(grow(model, X, Chain(), Constant(6), es.Rng(seed)))
        tokens = [draft.token(n) for n in range(1, len(draft) + 1)]
        assert 3 not in tokens[:-1]
        assert len(tokens) == 6 or tokens[-1] == 3


def test_accepted_nodes_are_those_on_the_path():
    draft = Draft(X)
    a = draft.add(0, 1)
    b = draft.add(a, 2)
    draft.add(0, 3)
    assert draft.accepted(draft.prefixes[b] + 0) == [a, b]
    assert draft.accepted(X + 1) == []
    assert [p.ids() for p in draft.cut([b]).prefixes] == [[2, 0], [2, 0, 1], [2, 0, 1, 2]]


@pytest.mark.parametrize("wrong", [lambda: Chain(0), lambda: Constant(0), lambda: Constant(-3)])
def test_budgets_below_one_are_refused(wrong):
    with pytest.raises(es.InvalidInput, match="at least 1"):
        wrong()
