"""Drafters that need no model: what each of them proposes."""

from __future__ import annotations

import pytest
import torch
from proposals import V, cycle, passes, proposed, tokens

import espalier as es
from espalier.decoders.fastcot import glance
from espalier.drafting import (
    ADED,
    STAND,
    Aggressive,
    Cascade,
    Draft,
    Fuse,
    Jacobi,
    Lookahead,
    PromptLookup,
    TokenRecycling,
    gauss_seidel,
    hybrid,
)
from espalier.drafting.trees.static_tree import rank_template
from espalier.testing import assert_same_law, exact_law
from espalier.verification import SampleMatch


def test_recycling_knows_a_bigram_model_once_each_token_was_scored():
    model, drafter = cycle(5), TokenRecycling(nodes=6, depth=6, top=2)
    passes(drafter, model, es.Prefix([0]), 8)
    deepest = max(map(len, drafter.template))
    assert passes(drafter, model, es.Prefix([0]), 7 * (deepest + 1)) == 7
    assert passes(TokenRecycling(nodes=6, top=2, shared=False), model, es.Prefix([0]), 8) > 2


def test_lookup_on_periodic_text_accepts_whole_drafts():
    assert passes(PromptLookup(tokens=10), cycle(7), es.Prefix(list(range(7)) * 2), 22) == 2


def test_jacobi_needs_no_more_passes_than_tokens_and_one_when_the_guess_is_right():
    constant = es.models.Table(4, 0, lambda c: torch.tensor([0.0, 5.0, 0.0, 0.0]))
    assert passes(Jacobi(4, guess=1), constant, es.Prefix([0]), 10) == 2
    assert passes(gauss_seidel(5, guess=1), constant, es.Prefix([0]), 10) == 2
    assert passes(hybrid(5, parallel=5, guess=1), constant, es.Prefix([0]), 10) == 1 + 5
    # one that converges only from the left: a pass per token, never more
    assert passes(Jacobi(4, guess=0), cycle(9), es.Prefix([3]), 10) <= 10


def test_jacobi_iterates_are_the_argmaxes_behind_the_settled_part():
    model = es.models.Table.random(5, 2, seed=0)
    drafter, x = Jacobi(4).begin(es.Prefix([1])), es.Prefix([1])
    draft = Draft(x)
    draft.extend(0, [0, 0, 0, 0])
    rows = model.forward(draft.prefixes, frozenset())
    right = rows[0].argmax()
    drafter.observe(x + right if right else draft.prefixes[1], draft, rows)
    assert drafter.guesses == [rows[i].argmax() for i in range(1, 5)]


def test_lookahead_fills_its_pool_from_its_own_window():
    # a text that never repeats an n-gram within the budget: only the window can know what comes
    model = es.models.Table.random(40, 1, seed=3)
    alone = passes(Lookahead(window=6, n=3, guesses=4), model, es.Prefix([1, 2, 3]), 30)
    assert alone < 30


def test_lookahead_never_exceeds_its_budget_of_nodes():
    drafter, sizes = Lookahead(window=3, n=4, guesses=2), list[int]()
    model = es.models.Table.random(3, 2, seed=3)
    decoder = es.speculate(model, es.Prefix([0, 1]), es.stop.budget(60), drafter, SampleMatch(), es.Rng(0))
    es.run(decoder, trace=lambda kind, what: sizes.append(len(what[1][0].prefixes) - 1) if kind == "pass" else None)
    assert max(sizes) <= (3 + 2) * (4 - 1)


def test_aggressive_copies_again_behind_a_unique_match():
    source = [1, 2, 3, 4, 5, 6, 7]
    drafter = Aggressive(source, tokens=3, match=2).begin(es.Prefix([0]))
    x = es.Prefix([0])
    assert tokens(drafter.draft(x, es.Rng(0))) == [[1], [1, 2], [1, 2, 3]]
    x = x + 1 + 9
    assert tokens(drafter.draft(x, es.Rng(0))) == []
    x = x + 4
    assert tokens(drafter.draft(x, es.Rng(0))) == []
    x = x + 5
    assert tokens(drafter.draft(x, es.Rng(0))) == [[6], [6, 7]]


def test_identical_source_and_output_take_one_pass_per_draft():
    model = cycle(50)
    assert passes(Aggressive(list(range(1, 21)), tokens=30), model, es.Prefix([0]), 20) == 1


def test_stand_averages_the_laws_it_saw():
    from espalier.drafting.model_free.stand import _Table

    table = _Table(top=2)
    table.add((1,), [3, 4], [0.6, 0.4])
    table.add((1,), [3, 5], [0.2, 0.8])
    law = table.law([0, 1])
    assert {3: pytest.approx(0.4), 5: pytest.approx(0.4)} == law  # 4 has 0.2 and falls out
    assert table.law([1, 0]) == {}


def test_stand_drafts_carry_the_law_of_their_siblings():
    drafter = STAND(V, nodes=4, depth=2, order=2)
    model, x = es.models.Table.random(V, 1, seed=0), es.Prefix([0])
    es.run(es.speculate(model, x, es.stop.budget(12), drafter, SampleMatch(), es.Rng(0)))

    def once(rng: es.Rng):  # type: ignore[no-untyped-def]
        return (yield from drafter.begin(x).propose(x, rng))

    first = exact_law(once, lambda draft: draft.token(draft.children[0][0]))
    [draft] = es.run(once(es.Rng(1)))
    q = draft.laws[0].q
    assert not draft.laws[0].replacement
    assert_same_law(first, {t: float(q[t]) for t in range(V) if q[t] > 0})
    second = exact_law(once, lambda draft: tuple(draft.token(c) for c in draft.children[0][:2]))
    assert_same_law(
        second, {(a, b): float(q[a] * q[b] / (1 - q[a])) for a in range(V) for b in range(V) if a != b and q[b] > 0}
    )


def test_aded_finds_the_chain_of_a_deterministic_table():
    drafter = ADED([[0, 1, 2, 3, 4, 5, 6]], nodes=4, depth=4, rollouts=20)
    assert proposed(drafter, es.Prefix([0, 1])) == [[2], [2, 3], [2, 3, 4], [2, 3, 4, 5]]


def test_fused_drafts_are_the_union_of_their_paths():
    x = es.Prefix([0, 1, 2, 3, 0, 1])
    one, two = PromptLookup(tokens=3), Aggressive([2, 0, 4], tokens=3)
    both = proposed(Fuse(one, two, nodes=20), x)
    assert sorted(both) == sorted([*proposed(one, x), [2, 0], [2, 0, 4]])
    assert proposed(Fuse(one, two, nodes=4), x) == [[2], [2, 3], [2, 3, 0], [2, 0]]
    assert proposed(Cascade(PromptLookup(longest=5, shortest=5), two), x) == proposed(two, x)


def test_glance_is_exact_without_a_limit_and_guesses_with_one():
    model = es.models.Table.random(4, 2, seed=0) | es.temperature(0)
    budget = es.stop.budget
    [plain] = es.run(es.sample(model, es.Prefix([1]), budget(12), es.Rng(0)))
    [seen] = es.run(glance(model, es.Prefix([1]), budget(12), [3], budget(2), es.Rng(0), window=4))
    assert seen.thought.ids() == plain.ids()
    assert seen.guessed == []
    [early] = es.run(glance(model, es.Prefix([1]), budget(12), [3], budget(2), es.Rng(0), window=4, passes=2))
    assert len(early.thought) < 13
    assert early.guessed
    assert early.answer.origin.ids() == [*early.thought.ids(), *early.guessed, 3]


def test_a_template_holds_the_most_probable_paths():
    template = rank_template(40, depth=4, width=3, decay=0.4)
    assert len(template) == len(set(template)) == 40
    assert all(path[:-1] in template or len(path) == 1 for path in template)
    weight = {r: 0.6 * 0.4**r for r in range(3)}

    def p(path: tuple[int, ...]) -> float:
        return float(torch.tensor([weight[r] for r in path]).prod())

    import itertools

    every = [path for n in range(1, 5) for path in itertools.product(range(3), repeat=n)]
    assert min(map(p, template)) >= max(p(path) for path in every if path not in template) - 1e-6
