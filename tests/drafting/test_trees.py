"""Tree policies: optimal where they say so (against brute force), and lossless under recursive rejection (exact laws)."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from policy_laws import PROMPT, Grown, all_trees, assert_lossless

import espalier as es
from espalier.drafting.policies import Chain, Constant, grow
from espalier.drafting.self_draft.propd import ProPD
from espalier.drafting.trees.beam_tree import Beam, OptTree
from espalier.drafting.trees.dyspec import DySpec
from espalier.drafting.trees.fixed_tree import KConfig, Template
from espalier.drafting.trees.random_tree import StochasticBeam
from espalier.drafting.trees.sequoia import Acceptance, Sequoia, best_size, best_tree
from espalier.verification import Recursive, Rejection, SampleMatch

V = 3
TARGET = es.models.Table.random(vocab_size=V, depth=2, seed=3)
DRAFT = es.models.Table.random(vocab_size=V, depth=2, seed=8)

TREES = {
    "chain": lambda: Chain(2),
    "chain of the best": lambda: Chain(2, kind="deterministic"),
    "k-config with": lambda: KConfig((2, 1), kind="with replacement"),
    "k-config without": lambda: KConfig((2, 1)),
    "k-config all": lambda: KConfig((3,)),
    "k-config more than there are": lambda: KConfig((5,)),
    "k-config best": lambda: KConfig((2, 2), kind="deterministic"),
    "template": lambda: Template([(0,), (1,), (0, 0)]),
    "template with": lambda: Template([(0,), (1,), (1, 0)], kind="with replacement"),
    "beam": lambda: Beam(width=2, depth=2, nodes=3),
    "opt-tree": lambda: OptTree(nodes=3, depth=3, delta=0.0),
    "dyspec": lambda: DySpec(nodes=3),
    "dyspec threshold": lambda: DySpec(nodes=3, threshold=0.3),
    "stochastic beam": lambda: StochasticBeam(width=2, depth=2),
    "sequoia": lambda: Sequoia(nodes=3, depth=2, acceptance=[0.6, 0.5]),
    "sequoia sized": lambda: Sequoia(draft_cost=0.1, verify_cost=lambda n: 10 + 0.9 * n, depth=2, acceptance=[0.6, 0.5, 0.1]),
}


def drafted(tree, seed=0, model=DRAFT, passes=99):  # type: ignore[no-untyped-def]
    [draft] = es.run(grow(model, PROMPT, tree, Constant(passes), es.Rng(seed)))
    return draft


@pytest.mark.parametrize("name", TREES)
def test_every_tree_keeps_the_law(name):
    v = 2 if name == "stochastic beam" else V  # it flips twice per slot: fewer tokens, fewer outcomes
    target, draft = (es.models.Table.random(vocab_size=v, depth=2, seed=seed) for seed in (3, 8))
    assert_lossless(target, lambda: Grown(draft, TREES[name]()), Recursive())


@pytest.mark.parametrize("name", ["chain", "template", "beam", "dyspec", "sequoia"])
def test_trees_keep_the_law_of_a_shaped_target(name):
    scorer, draft = TARGET | es.temperature(0.7) | es.top_p(0.8), DRAFT | es.temperature(1.4)
    assert_lossless(scorer, lambda: Grown(draft, TREES[name]()), Recursive())


@pytest.mark.parametrize("name", ["chain", "chain of the best", "beam", "opt-tree", "k-config best"])
def test_chains_and_deterministic_trees_keep_the_law_under_the_other_verifiers(name):
    verifiers = [SampleMatch(), Rejection()] if "chain" in name else [SampleMatch()]
    for verifier in verifiers:
        assert_lossless(TARGET, lambda: Grown(DRAFT, TREES[name]()), verifier)


class KeepsTheLikely(KConfig):
    """Wrong on purpose: drops drawn tokens that q finds unlikely."""

    def finalize(self, growth):  # type: ignore[no-untyped-def]
        draft = super().finalize(growth)
        kept = es.drafting.Draft(draft.prefixes[0])
        for node in draft.children[0]:
            if float(growth.law(0)[draft.token(node)]) > 0.4:
                if 0 not in kept.laws:
                    kept.drawn(0, growth.law(0), replacement=True)
                kept.add(0, draft.token(node))
        return kept


def test_dropping_drawn_tokens_is_caught():
    drafter = Grown(DRAFT, KeepsTheLikely((1,), kind="with replacement"))
    with pytest.raises(AssertionError, match="should be"):
        assert_lossless(TARGET, lambda: drafter, Recursive())


def value(tree, acceptance):  # type: ignore[no-untyped-def]
    """Expected accepted tokens of a tree: every slot by its acceptance and the misses of elder siblings, along its path."""
    total = 0.0
    for path in tree:
        p = 1.0
        for b in path:
            p *= acceptance[b] * math.prod(1 - a for a in acceptance[:b])
        total += p
    return total


@pytest.mark.parametrize("acceptance", [[0.8, 0.5, 0.2], [0.3, 0.6, 0.6], [0.5], [0.9, 0.0, 0.9], [1.0, 0.5]])
def test_sequoia_is_the_best_of_all_trees(acceptance):
    for slots in range(1, 8):
        trees = list(all_trees(slots, len(acceptance)))
        for depth in (1, 2, 3, 7):
            fitting = [tree for tree in trees if max(map(len, tree)) <= depth]
            smaller = [t for m in range(1, slots) for t in all_trees(m, len(acceptance)) if max(map(len, t)) <= depth]
            expected, found = best_tree(acceptance, slots, depth)
            assert expected == pytest.approx(max(value(tree, acceptance) for tree in fitting + smaller), abs=1e-12)
            assert value(found, acceptance) == pytest.approx(expected, abs=1e-12)
            assert max(map(len, found)) <= depth
            assert len(found) <= slots


def test_the_number_of_trees_is_the_number_of_ordered_trees():
    assert [len(list(all_trees(n, n))) for n in range(1, 6)] == [1, 2, 5, 14, 42]  # Catalan: the enumeration is complete


def test_the_size_follows_the_cost_of_a_pass():
    acceptance = [0.7, 0.5, 0.3]
    flat = best_size(acceptance, 0.01, lambda n: 10.0)[1]
    steep = best_size(acceptance, 0.01, lambda n: 10.0 * n)[1]
    middle = best_size(acceptance, 0.01, lambda n: 10.0 + 0.5 * n)[1]
    assert len(flat) == 64
    assert steep == []
    assert 0 < len(middle) < 64
    best = min(
        ((levels * 0.01 + 10 + 0.5 * (m + 1)) / (1 + best_tree(acceptance, m, levels)[0]), m)
        for m in (1, 2, 4, 8, 16, 32, 64)
        for levels in range(1, min(8, m) + 1)
    )
    assert len(middle) == best[1]


def test_sequoia_measures_its_acceptance():
    """The target is the drafter: every first child is accepted, so the tree becomes a chain."""
    tree = Sequoia(nodes=3, depth=3, acceptance=Acceptance([0.3, 0.6, 0.6], weight=1), refit=5)
    before = tree.template.paths
    es.run(es.speculate(DRAFT, PROMPT, es.stop.budget(300), Grown(DRAFT, tree), Recursive(), es.Rng(0)))
    assert before != tree.template.paths == [(0,), (0, 0), (0, 0, 0)]
    assert tree.acceptance.vector[0] > 0.97


def test_measured_acceptance_is_what_recursive_rejection_gives():
    """One level of two siblings on a one-row target: P(first) = Σ min(p, q) exactly; the count must come near."""
    p, q = torch.tensor([0.6, 0.3, 0.1]).double(), torch.tensor([0.2, 0.3, 0.5]).double()
    target, draft = es.models.Table(3, 0, lambda _: p.log()), es.models.Table(3, 0, lambda _: q.log())
    counts = Acceptance([0.5, 0.5], weight=1e-9)

    class Counting(KConfig):
        def observe(self, x, draft, rows):  # type: ignore[no-untyped-def]
            counts.observe(x, draft)

    es.run(es.speculate(target, PROMPT, es.stop.budget(4000), Grown(draft, Counting((2,))), Recursive(), es.Rng(1)))
    first = float(torch.minimum(p, q).sum())
    assert counts.tried[0] > 2000
    assert abs(counts.vector[0] - first) < 4 * math.sqrt(first * (1 - first) / counts.tried[0])


def sequences(depth):  # type: ignore[no-untyped-def]
    """Path probability under the drafter of every sequence of up to `depth` tokens."""
    probability = {}
    for n in range(1, depth + 1):
        for tokens in itertools.product(range(V), repeat=n):
            x, p = PROMPT, 1.0
            for token in tokens:
                p *= float(DRAFT.forward([x], frozenset())[0].probs()[token])
                x = x + token
            probability[tokens] = p
    return probability


@pytest.mark.parametrize("nodes", range(1, 8))
def test_opt_tree_is_the_best_subtree(nodes):
    probability = sequences(4)
    draft = drafted(OptTree(nodes=nodes, depth=4, delta=0.0))
    found = {tuple(p.since(PROMPT)) for p in draft.prefixes[1:]}
    assert len(found) == nodes

    def grown(tree):  # type: ignore[no-untyped-def]
        for above in ((), *tree):
            for token in range(V):
                if (*above, token) not in tree and len(above) < 4:
                    yield tree | {(*above, token)}

    trees = {frozenset()}
    for _ in range(min(nodes, 5)):
        trees = {bigger for tree in trees for bigger in grown(tree)}
    if nodes <= 5:
        best = max(sum(probability[path] for path in tree) for tree in trees)
    else:  # path probabilities fall along a path, so the best subtree is the largest of all
        best = sum(sorted(probability.values(), reverse=True)[:nodes])
    assert sum(probability[path] for path in found) == pytest.approx(best, abs=1e-12)


def test_opt_tree_stops_when_a_level_does_not_pay():
    assert max(len(p) for p in drafted(OptTree(nodes=9, depth=6, delta=9.0)).prefixes) == len(PROMPT) + 2
    deep = drafted(OptTree(nodes=9, depth=6, delta=0.0))
    assert max(len(p) for p in deep.prefixes) > len(PROMPT) + 2


def test_a_wide_beam_holds_the_most_probable_nodes():
    probability = sequences(3)
    draft = drafted(Beam(width=27, depth=3, nodes=7))
    found = sorted((probability[tuple(p.since(PROMPT))] for p in draft.prefixes[1:]), reverse=True)
    assert found == pytest.approx(sorted(probability.values(), reverse=True)[:7], abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_dyspec_fills_slots_in_order_of_value(seed):
    draft = drafted(DySpec(nodes=12), seed)
    assert len(draft) == 12
    values, slot, rest = [], {0: 1.0}, {}
    for node in range(1, 13):  # the order of filling is the order of the nodes
        parent = draft.parents[node]
        q = DRAFT.forward([draft.prefixes[parent]], frozenset())[0].probs()
        r = rest.setdefault(parent, q.clone())
        values.append(slot[parent])
        share = float(r[draft.token(node)] / r.sum())
        slot[node], slot[parent] = slot[parent] * share, slot[parent] * (1 - share)
        r[draft.token(node)] = 0
        open_slots = [slot[n] for n in slot if n not in rest or bool((rest[n] > 0).any())]
        assert node == 12 or max(open_slots) <= values[-1] + 1e-12
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(values))


def test_dyspec_takes_the_largest_slot_each_time_with_few_passes():
    model = es.models.Table.random(vocab_size=V, depth=2, seed=8)
    draft = drafted(DySpec(nodes=12), 3, model)
    assert model.passes < 12
    assert len(draft) == 12
    assert all(len(p) - len(PROMPT) <= model.passes for p in draft.prefixes)


def test_stochastic_beam_first_child_is_drawn_from_q():
    from espalier.testing import Replay  # the exact law of the first node: replay its flips

    q = DRAFT.forward([PROMPT], frozenset())[0].probs()
    rng = Replay([])
    es.run(grow(DRAFT, PROMPT, StochasticBeam(2, 1), Constant(9), rng))
    flips = [weights for weights in rng.seen if len(weights) == V]
    assert flips[0] == pytest.approx(q.tolist(), abs=1e-12)


def test_propd_prunes_what_the_early_layers_do_not_expect_and_nothing_else():
    early = es.models.Table.random(vocab_size=V, depth=1, seed=4)
    inner = Grown(DRAFT, KConfig((3, 3), kind="deterministic"))
    [draft] = es.run(ProPD(inner, early, top=1).propose(PROMPT, es.Rng(0)))
    paths = {tuple(p.since(PROMPT)) for p in draft.prefixes[1:]}
    best = early.forward([PROMPT], frozenset())[0].argmax()
    assert paths == {(best,), (best, early.forward([PROMPT + best], frozenset())[0].argmax())}
    [whole] = es.run(ProPD(inner, early, top=V).propose(PROMPT, es.Rng(0)))
    assert len(whole) == 12
    assert_lossless(TARGET, lambda: ProPD(inner, early, top=2), SampleMatch())
    with pytest.raises(es.InvalidInput, match="bias"):
        ProPD(Grown(DRAFT, KConfig((2,))), early)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: KConfig(()),
        lambda: KConfig((2, 0)),
        lambda: Template([]),
        lambda: Template([(0, 0)]),
        lambda: Template([(1,)]),
        lambda: Beam(nodes=0),
        lambda: OptTree(nodes=0),
        lambda: OptTree(delta=-1),
        lambda: DySpec(nodes=0),
        lambda: StochasticBeam(width=0),
        lambda: Sequoia(),
        lambda: Sequoia(nodes=4, draft_cost=1.0),
        lambda: best_tree([], 3, 3),
        lambda: best_tree([1.5], 3, 3),
        lambda: best_tree([0.5], 0, 3),
    ],
)
def test_impossible_shapes_are_refused(wrong):
    with pytest.raises(es.InvalidInput):
        wrong()
