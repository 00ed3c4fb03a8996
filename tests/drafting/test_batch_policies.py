"""Policies that look at all requests of a batch: goodput's length, TETRIS's slots."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from policy_laws import PROMPT, Grown, assert_lossless, enumerated

import espalier as es
from espalier.drafting import Chain, Constant, KConfig
from espalier.drafting.draft import Draft
from espalier.drafting.lengths.goodput import Goodput
from espalier.drafting.lengths.tetris import Capacity, Tetris
from espalier.drafting.policies import grow
from espalier.run import Loop
from espalier.testing import Replay, _next, assert_same_law
from espalier.verification import Recursive, Rejection, SampleMatch

V = 3
TARGET = es.models.Table.random(vocab_size=V, depth=2, seed=3)
DRAFT = es.models.Table.random(vocab_size=V, depth=2, seed=8)


def test_goodput_extremes():
    """Passes of constant cost: draft all that may be. Passes that cost as much as their nodes: do not draft."""
    assert Goodput(lambda n: 10.0).best([0.7] * 4) == 8
    assert Goodput(lambda n: 10.0 * n).best([0.7] * 4) == 0
    assert Goodput(lambda n: 10.0, draft_cost=lambda b: 10.0).best([0.3] * 4) == 0


@pytest.mark.parametrize("requests", [1, 4, 32])
@pytest.mark.parametrize("a", [0.2, 0.6, 0.9])
def test_goodput_takes_the_best_length_and_drafts_less_in_larger_batches(requests, a):
    policy = Goodput(lambda n: 10.0 + 0.4 * n, draft_cost=lambda b: 0.5 + 0.05 * b, most=12)
    tokens = lambda k: sum(a**i for i in range(k + 1))  # noqa: E731
    values = [requests * tokens(k) / (k * (0.5 + 0.05 * requests) + 10 + 0.4 * requests * (k + 1)) for k in range(13)]
    assert policy.best([a] * requests) == max(range(13), key=values.__getitem__)
    assert policy.best([a] * requests) <= policy.best([a])


def test_goodput_measures_every_request_and_forgets_those_that_end():
    policy = Goodput(lambda n: 10.0, most=2, start=0.5)
    same = es.models.Table.random(vocab_size=V, depth=2, seed=3)
    decoders = [
        es.speculate(TARGET, PROMPT, es.stop.budget(60), Grown(draft, Chain(), policy), Rejection(), es.Rng(i))
        for i, draft in enumerate([same, DRAFT])
    ]
    loop = Loop()
    for decoder in decoders:
        loop.add(decoder)
    for _ in range(40):
        loop.turn()
    high, low = sorted((view.acceptance for view in policy._live), reverse=True)
    assert high > 0.9 > low
    while loop:
        loop.turn()
    del decoders, decoder
    assert len(policy._live) == 0


def test_goodput_keeps_probing_when_drafting_does_not_pay():
    policy = Goodput(lambda n: 10.0 * n, every=5).begin(PROMPT)
    assert [policy.plan(PROMPT, es.Rng(0)) for _ in range(11)] == [0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]


def test_goodput_keeps_the_law():
    make = lambda: Grown(DRAFT, Chain(), Goodput(lambda n: 10 + n, most=2))  # noqa: E731
    assert_lossless(TARGET, make, Rejection(), length=3)


def requests(capacity, count, tree, score, length=3):  # type: ignore[no-untyped-def]
    """The drafts of several requests that share a capacity, made in the same turns."""
    rng = [es.Rng(i) for i in range(count)]
    drafters = [Tetris(DRAFT, capacity, tree(), Constant(length), score) for _ in range(count)]
    roots = [es.Prefix([i % V, i // V]) for i in range(count)]
    return es.run(*(drafter.propose(x, r) for drafter, x, r in zip(drafters, roots, rng, strict=True)))


@pytest.mark.parametrize("budget", range(1, 10))
def test_tetris_keeps_the_most_valuable_prefix_sets(budget):
    """Against all ways to share the budget among three chains of three tokens."""
    best_chain = lambda: Chain(kind="deterministic")  # noqa: E731
    drafts = requests(Capacity(budget), 3, best_chain, "token")
    whole = requests(Capacity(99), 3, best_chain, "token")
    value = lambda draft, k: sum(math.exp(logq(draft, n)) for n in range(1, k + 1))  # noqa: E731
    options = [ks for ks in itertools.product(range(4), repeat=3) if sum(ks) <= budget]
    best = max(sum(value(draft, k) for draft, k in zip(whole, ks, strict=True)) for ks in options)
    assert sum(map(len, drafts)) == min(budget, 9)
    assert sum(value(draft, len(draft)) for draft in drafts) == pytest.approx(best, abs=1e-12)


def logq(draft: Draft, node: int) -> float:
    total = 0.0
    while node:
        parent = draft.parents[node]
        total += DRAFT.forward([draft.prefixes[parent]], frozenset())[0].logp(draft.token(node))
        node = parent
    return total


def test_a_capacity_per_request_grows_with_the_requests():
    assert sum(map(len, requests(Capacity(2, per_request=True), 4, Chain, "slot"))) == 8


@pytest.mark.parametrize("tree", [lambda: Chain(), lambda: KConfig((2, 2))], ids=["chain", "tree"])
def test_tetris_drafts_are_trees_that_keep_their_laws(tree):
    for budget in range(1, 9):
        for draft in requests(Capacity(budget), 3, tree, "slot", length=2):
            for node in range(1, len(draft.prefixes)):
                assert draft.prefixes[node].parent is draft.prefixes[draft.parents[node]]
            assert all(node in draft.laws for node, children in enumerate(draft.children) if children)


@pytest.mark.parametrize(
    ("tree", "verifier"), [(lambda: Chain(), Rejection()), (lambda: KConfig((2, 1)), Recursive())], ids=["chain", "tree"]
)
def test_tetris_by_slots_keeps_the_law(tree, verifier):
    assert_lossless(TARGET, lambda: Tetris(DRAFT, Capacity(2), tree(), Constant(2)), verifier)


def test_tetris_by_tokens_keeps_the_law_of_deterministic_drafts_and_refuses_drawn_ones():
    make = lambda: Tetris(DRAFT, Capacity(1), Chain(kind="deterministic"), Constant(2), "token")  # noqa: E731
    assert_lossless(TARGET, make, SampleMatch())
    with pytest.raises(es.InvalidInput, match="bias"):
        Tetris(DRAFT, Capacity(3), Chain(), score="token")


def joint_law(make):  # type: ignore[no-untyped-def]
    """The exact joint law of the first tokens of two requests that run together."""
    law, script = {}, []
    for _ in range(200_000):
        rng = Replay(script)
        texts = es.run(*make(rng))
        p = math.prod(probabilities[i] for probabilities, i in zip(rng.seen, rng.script, strict=True))
        key = tuple(tuple(x.written()) for x in texts)
        law[key] = law.get(key, 0.0) + p
        script = _next(rng)
        if not script:
            return law
    raise AssertionError("too many outcomes")


def pair(rng, drafter):  # type: ignore[no-untyped-def]
    return [es.speculate(TARGET, PROMPT, es.stop.budget(1), drafter, Rejection(), rng) for _ in range(2)]


def test_two_requests_that_share_a_capacity_of_one_slot_keep_their_joint_law():
    law = joint_law(lambda rng: pair(rng, Tetris(DRAFT, Capacity(1), Chain(), Constant(1))))
    p = enumerated(TARGET, 1)
    assert_same_law(law, {(a, b): p[a] * p[b] for a in p for b in p})


def test_choosing_among_drawn_tokens_is_caught():
    """What the paper does under sampling: the slot goes to the token that turned out more probable."""
    drafter = Tetris(DRAFT, Capacity(1), Chain(), Constant(1))
    drafter.score = "token"  # past the refusal
    drafter.begin = lambda x: drafter
    law = joint_law(lambda rng: pair(rng, drafter))
    p = enumerated(TARGET, 1)
    with pytest.raises(AssertionError, match="should be"):
        assert_same_law(law, {(a, b): p[a] * p[b] for a in p for b in p})


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Capacity(0),
        lambda: Goodput(lambda n: 1.0, most=0),
        lambda: Goodput(lambda n: 1.0, start=1.0),
        lambda: Tetris(DRAFT, Capacity(1), score="both"),
        lambda: es.run(Tetris(DRAFT, Capacity(1), KConfig((3,), kind="with replacement")).propose(PROMPT, es.Rng(0))),
    ],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(es.InvalidInput):
        wrong()


def test_a_chain_that_is_not_cut_is_what_grow_gives():
    [plain] = es.run(grow(DRAFT, PROMPT, Chain(), Constant(3), es.Rng(7)))
    [whole] = es.run(Tetris(DRAFT, Capacity(9), Chain(), Constant(3)).propose(PROMPT, es.Rng(7)))
    assert [p.ids() for p in plain.prefixes] == [p.ids() for p in whole.prefixes]
    assert torch.equal(plain.laws[0].q, whole.laws[0].q)
