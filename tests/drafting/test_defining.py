"""What each idea is for, as its paper says: one test of the defining behaviour of each."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import pytest
import torch
from policy_laws import Grown, assert_lossless

import espalier as es
from espalier import drafting as d
from espalier.decoders.fastcot import glance, growing
from espalier.drafting.draft import Draft
from espalier.drafting.model_free.lattice import best_paths
from espalier.drafting.trees.static_tree import MeasuredTree
from espalier.rows import Rows
from espalier.verification import GreedyMatch, Recursive, Rejection, SampleMatch
from espalier.verification.relaxed import Relaxed

ROOT = Path(es.__file__).parent
V = 6
BIG, MIDDLE, SMALL = (es.models.Table.random(V, depth, seed=4, scale=2.0) for depth in (3, 2, 1))


def speculated(target, drafter, verify, tokens=30, seed=0, prompt=(0, 1)):  # type: ignore[no-untyped-def]
    [x] = es.run(es.speculate(target, es.Prefix(prompt), es.stop.budget(tokens), drafter, verify, es.Rng(seed)))
    return x


def test_tests_that_are_named_in_the_library_are_there():
    named = {name for file in ROOT.rglob("*.py") for name in re.findall(r"`(test_\w+)`", file.read_text(encoding="utf-8"))}
    written = {
        name
        for file in Path(__file__).parents[1].rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert len(named) >= 20
    assert named <= written


@pytest.mark.parametrize(
    ("tree", "verify"),
    [(lambda: d.KConfig((2, 2, 1)), Recursive()), (lambda: d.Beam(width=3, depth=3, nodes=8), SampleMatch())],
    ids=["drawn", "beam"],
)
def test_a_staged_tree_is_the_unstaged_one_in_fewer_passes(tree, verify):
    cheap = lambda: d.DraftModel(SMALL, tree=d.KConfig((V, 3), kind="deterministic"))  # noqa: E731
    plain_middle, staged_middle = (es.models.Table.random(V, 2, seed=4, scale=2.0) for _ in range(2))
    drafts: dict[str, list[object]] = {"plain": [], "staged": []}
    for name, drafter in (
        ("plain", d.DraftModel(plain_middle, tree=tree(), length=d.Constant(3))),
        ("staged", d.Staged(staged_middle, cheap(), SampleMatch(), tokens=3, tree=tree())),
    ):
        x = es.Prefix([0, 1])
        drafter.check(BIG)
        for seed in range(12):
            [draft] = es.run(drafter.begin(x).propose(x, es.Rng(seed)))
            drafts[name].append(([y.ids() for y in draft.prefixes], draft.children, {n: w.q for n, w in draft.laws.items()}))
    for (ids, children, laws), (other_ids, other_children, other_laws) in zip(drafts["plain"], drafts["staged"], strict=True):  # type: ignore[misc]
        assert (ids, children) == (other_ids, other_children)
        assert laws.keys() == other_laws.keys()
        assert all(torch.equal(laws[node], other_laws[node]) for node in laws)
        assert any(len(below) > 1 for below in children)
    assert staged_middle.passes < plain_middle.passes
    middle = es.models.Table.random(V, 2, seed=4, scale=2.0)
    x = speculated(BIG, d.Staged(middle, cheap(), SampleMatch(), tokens=3, tree=tree()), verify)
    assert len(x.written()) == 30


def test_rasd_prunes_at_every_depth():
    """Of a retrieved path the part below the first unlikely token goes, at whatever depth, and nothing else."""

    class Retrieved(d.Drafter):
        def propose(self, x, rng):  # type: ignore[no-untyped-def]
            yield from ()
            draft = Draft(x)
            for path in itertools.product(range(V), repeat=3):
                draft.extend(0, path)
            return draft

    model = es.models.Table.random(V, 2, seed=4, scale=2.0)
    x = es.Prefix([0, 1])
    top = 2
    [draft] = es.run(d.RASD(model, Retrieved(), tokens=1, top=top, nodes=99).propose(x, es.Rng(0)))
    assert model.passes == 1  # all that was retrieved in one pass
    likely = lambda y: set(model.forward([y], frozenset()).logits[0].topk(top).indices.tolist())  # noqa: E731
    wanted = {
        path
        for n in (1, 2, 3)
        for path in itertools.product(range(V), repeat=n)
        if all(path[i] in likely(es.Prefix([0, 1, *path[:i]])) for i in range(n))
    }
    assert {tuple(y.ids()[2:]) for y in draft.prefixes[1:]} == wanted


def test_stand_stores_the_tempered_law():
    stand = d.STAND(V, nodes=4, depth=2, order=3, top=V)
    target = BIG | es.temperature(0.3) | es.top_k(4)
    x = speculated(target, stand, Rejection() if stand.kind != "without replacement" else Recursive(), tokens=1)
    [law] = [p for context, (_, p) in stand.table._rows.items() if len(context) == 2]
    [rows] = es.run(_rows(target, es.Prefix(x.ids()[:2])))
    said = rows[0].probs()
    assert len(law) == 4
    assert all(p == pytest.approx(float(said[token]), rel=1e-5) for token, p in law.items())
    greedy = d.STAND(V, nodes=4, depth=2, order=3, top=V)
    speculated(BIG | es.temperature(0), greedy, SampleMatch(), tokens=1)
    assert all(len(p) == V for _, p in greedy.table._rows.values())  # temperature 0 would leave one token to draw


def _rows(scorer, x):  # type: ignore[no-untyped-def]
    rows = yield es.Ask(scorer, [x])
    return rows


def test_stand_builds_its_tree_from_what_was_accepted():
    tree = MeasuredTree(nodes=6, depth=3, width=3, every=50)
    before = dict(tree.children)
    for _ in range(50):  # the second draw is right at the first level, and nothing ever is below
        draft = Draft(es.Prefix([0]))
        draft.extend(0, [1, 1])
        second = draft.add(0, 2)
        draft.add(second, 3)
        tree.learn(draft.prefixes[second] + 5, draft)
    assert tree.children[()] >= before[()]
    assert tree.children != before
    assert sum(tree.children.values()) == 6
    repeated = es.models.Table(V, 1, lambda context: torch.tensor([0.0, 4, 4, 0, 0, 0])[torch.arange(V)])
    stand = d.STAND(V, nodes=8, depth=4, order=2, top=4, every=8)
    first = dict(stand.measured.children)
    speculated(repeated, stand, Recursive(), tokens=120)
    assert stand.measured.children != first
    deepest = max(len(path) for path in stand.measured.children)
    assert deepest >= max(len(path) for path in first)


def test_first_draws_of_speculative_jacobi_come_from_the_text():
    size = 500
    loop = {0: 7, 7: 9, 9: 0}
    model = es.models.Table(size, 1, lambda context: torch.where(torch.arange(size) == loop.get(context[-1], 0), 8.0, 0.0))
    drafter = d.SpeculativeJacobi(6)
    x = speculated(model, drafter, Rejection(), tokens=40, prompt=(0, 7, 9, 0, 7, 9))
    assert model.passes < 20  # from uniform draws: 40 passes
    assert len(x.written()) == 40
    blind = es.models.Table(size, 1, model.law) if hasattr(model, "law") else None
    if blind is not None:
        speculated(blind, d.SpeculativeJacobi(6, blind=1.0), Rejection(), tokens=40, prompt=(0, 7, 9, 0, 7, 9))
        assert blind.passes > model.passes
    fresh = drafter.begin(x)
    fresh._size = 12
    [draft] = es.run(fresh.propose(es.Prefix([0, 7, 9, 0, 7, 9, 0]), es.Rng(0)))
    q = draft.laws[0].q
    assert q[7] == pytest.approx(0.95 + 0.05 / 12)
    assert float(q.sum()) == pytest.approx(1)


def test_candidates_come_from_the_targets_last_row_too():
    tree = d.KConfig((2,), kind="without replacement", last_row=0.5).begin(es.Prefix([0]))
    x = es.Prefix([0, 1])
    draft = Draft(x)
    rows = Rows(torch.tensor([[0.0, 9.0, 0, 0, 0, 0]]), [x])
    tree.observe(x + 1, draft, rows)
    [grown] = es.run(d.policies.grow(SMALL, x + 1, tree, d.Constant(1), es.Rng(0)))
    own = SMALL.forward([x + 1], frozenset()).logits[0].softmax(-1)
    assert torch.allclose(grown.laws[0].q.double(), (0.5 * own + 0.5 * rows[0].probs()).double())
    make = lambda: Grown(es.models.Table.random(3, 1, 8), d.KConfig((2, 1), last_row=0.4), d.Constant(2))  # noqa: E731
    assert_lossless(es.models.Table.random(3, 2, 3), make, Recursive(), length=3)


def test_the_window_of_fastcot_grows():
    sizes: list[int] = []

    class Watched(es.models.Table):
        def forward(self, prefixes, want):  # type: ignore[no-untyped-def]
            sizes.append(len(prefixes))
            return super().forward(prefixes, want)

    model = Watched(V, 1, lambda context: torch.arange(V) * 0.1)
    es.run(glance(model | es.temperature(0), es.Prefix([1]), es.stop.budget(60), [3], es.stop.budget(1), es.Rng(0), window=7))
    assert sizes[0] == 1 + growing(0)
    assert max(sizes) == 1 + 7
    assert sizes[:3] == sorted(sizes[:3])
    assert len(set(sizes[:-1])) > 2


def test_the_best_paths_of_a_lattice_are_those_of_all():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        columns = [dict(zip(range(4), torch.randn(4, generator=generator).tolist(), strict=True)) for _ in range(3)]
        pairs = torch.randn(4, 4, generator=generator)
        bigram = lambda a, b: float(pairs[a, b])  # noqa: B023, E731
        found = best_paths(2, columns, bigram, 0.7, 5)
        scored = sorted(
            itertools.product(range(4), repeat=3),
            key=lambda path: (
                -sum(columns[i][t] + 0.7 * bigram(a, t) for i, (a, t) in enumerate(zip((2, *path), path, strict=False)))
            ),
        )
        assert found == [list(path) for path in scored[:5]]
    x = speculated(BIG | es.temperature(0), d.Lattice(4), GreedyMatch())
    y = speculated(BIG | es.temperature(0), d.PromptLookup(), GreedyMatch())
    assert x.ids() == y.ids()


def test_model_free_drafters_take_length_policies():
    x = es.Prefix([0, 1, 2, 3, 4, 5, 0, 1])
    bass = d.BASS(start=2)
    limited = d.Limited(d.PromptLookup(tokens=6), bass).begin(x)
    [draft] = es.run(limited.propose(x, es.Rng(0)))
    assert draft.height() == 2
    goodput = d.Goodput(lambda n: 10 + n, most=3)
    for policy in (d.Constant(3), d.Heuristic(2), goodput, d.BASS(2), d.BanditLength((1, 2), d.EXP3)):
        y = speculated(BIG, d.Limited(d.PromptLookup(tokens=6, shortest=1), policy), SampleMatch())
        plain = es.run(es.sample(BIG, es.Prefix([0, 1]), es.stop.budget(30), es.Rng(0)))[0]
        assert y.ids() == plain.ids()
    with pytest.raises(es.InvalidInput, match="has no model"):
        d.Limited(d.PromptLookup(), d.Confidence(0.4))
    idle = d.Limited(d.PromptLookup(), d.Goodput(lambda n: 10.0 * n, every=99)).begin(x)
    [nothing] = es.run(idle.propose(x, es.Rng(0)))
    assert len(nothing) == 0


def test_relaxed_acceptance_allows_what_it_says_and_is_greedy_at_its_edge():
    drafter = lambda: d.DraftModel(SMALL, tree=d.Chain(4, kind="deterministic"), length=d.Constant(4))  # noqa: E731
    greedy = es.run(es.sample(BIG | es.temperature(0), es.Prefix([0, 1]), es.stop.budget(40), es.Rng(0)))[0].ids()
    assert speculated(BIG, drafter(), Relaxed(top=1), tokens=40).ids() == greedy
    assert speculated(BIG, drafter(), Relaxed(gap=0.0), tokens=40).ids() == greedy
    x = speculated(BIG, drafter(), Relaxed(top=3, gap=1.5), tokens=40)
    assert x.ids() != greedy
    for n in range(2, len(x.ids())):
        law = BIG.forward([es.Prefix(x.ids()[:n])], frozenset()).logits[0].log_softmax(-1)
        token = x.ids()[n]
        assert float(law.max() - law[token]) <= 1.5 + 1e-6
        assert int((law > law[token]).sum()) < 3
    assert math.exp(-1.5) > 0
