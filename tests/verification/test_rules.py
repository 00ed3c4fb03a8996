"""What each rule says of itself besides the law: how often it accepts, and how far the lossy ones may go."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

import espalier as es
from espalier import drafting as d
from espalier import verification as v
from espalier.errors import InvalidInput
from espalier.rows import Rows
from espalier.testing import outcomes
from espalier.verification.kseq import least_rho


def laws(seed, size=4, count=2):  # type: ignore[no-untyped-def]
    bits = torch.Generator().manual_seed(seed)
    return [torch.softmax(2 * torch.randn(size, generator=bits, dtype=torch.float64), -1) for _ in range(count)]


def drawn(x, q, tokens, replacement=True):  # type: ignore[no-untyped-def]
    draft = d.Draft(x)
    draft.drawn(0, q, replacement)
    for token in tokens:
        draft.add(0, token)
    return draft


def emitted(rule, draft, rows):  # type: ignore[no-untyped-def]
    """Every sequence of tokens that a rule may emit for a draft, with its probability."""
    law = {}
    x = draft.prefixes[0]
    for p, tokens in outcomes(lambda rng: tuple([y.last for y in rule(draft, rows, rng)])):
        law[tokens] = law.get(tokens, 0.0) + p
    assert x.written() == []
    return law


def one_level(rule, p, q, k):  # type: ignore[no-untyped-def]
    """P(some child is accepted) and the law of the first token, over all draws of k children from q."""
    x, size = es.Prefix([0]), len(p)
    accepted, law = 0.0, torch.zeros(size, dtype=torch.float64)
    for tokens in itertools.product(range(size), repeat=k):
        weight = math.prod(float(q[t]) for t in tokens)
        draft = drawn(x, q, tokens)
        rows = Rows(p.log().expand(len(draft.prefixes), -1), draft.prefixes)
        for said, chance in emitted(rule, draft, rows).items():
            law[said[0]] += weight * chance
            accepted += weight * chance * (len(said) > 1)
    return accepted, law


def optimum(p, q, k):  # type: ignore[no-untyped-def]
    """The largest P(accept) of any coupling of p with k draws from q: the least cut over all sets of tokens."""
    cuts = []
    for keep in itertools.product([False, True], repeat=len(p)):
        inside = torch.tensor(keep)
        cuts.append(float(p[~inside].sum()) + 1 - (1 - float(q[inside].sum())) ** k)
    return min(cuts)


@pytest.mark.parametrize("seed", range(4))
def test_one_draw_is_accepted_as_often_as_any_rule_could(seed):
    p, q = laws(seed)
    overlap = float(torch.minimum(p, q).sum())
    for rule in (v.Rejection(), v.Recursive(), v.KSeq(), v.Block()):
        accepted, law = one_level(rule, p, q, 1)
        assert accepted == pytest.approx(overlap, abs=1e-12)
        assert torch.allclose(law, p, atol=1e-12)
    assert overlap == pytest.approx(optimum(p, q, 1), abs=1e-12)


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_k_seq_is_within_a_factor_of_the_optimal_transport(seed, k):
    p, q = laws(seed, size=3)
    best = optimum(p, q, k)
    accepted, law = one_level(v.KSeq(), p, q, k)
    assert (1 - 1 / math.e) * best <= accepted <= best + 1e-12
    assert torch.allclose(law, p, atol=1e-12)
    assert accepted >= float(torch.minimum(p, q).sum()) - 1e-12  # and never worse than one draw
    recursive, _ = one_level(v.Recursive(), p, q, k)
    assert recursive <= best + 1e-12


def test_rho_is_the_least_that_is_valid():
    for seed, k in itertools.product(range(20), (1, 2, 5)):
        p, q = laws(seed)
        rho = least_rho(p, q, k)
        for at, valid in ((rho, True), (rho * 0.999, rho == 1.0)):
            b = float(torch.minimum(q, p / max(at, 1.0)).sum())
            assert (1 - (1 - b) ** k <= max(at, 1.0) * b + 1e-12) == (valid or at <= 1)


@pytest.mark.parametrize("seed", range(6))
def test_a_block_is_accepted_at_least_as_far_as_token_by_token(seed):
    """E[tokens of one pass] over all chains of three draws: block verification is never behind, and ahead somewhere."""
    target, small = es.models.Table.random(2, 2, seed=seed), es.models.Table.random(2, 1, seed=seed + 50)

    def length(rule):  # type: ignore[no-untyped-def]
        def once(rng):  # type: ignore[no-untyped-def]
            x = es.Prefix([0, 1])
            [draft] = es.run(d.DraftModel(small, tokens=3).propose(x, rng))
            return len(list(rule(draft, target.forward(draft.prefixes, frozenset()), rng)))

        return sum(p * n for p, n in outcomes(once))

    token_by_token, block = length(v.Rejection()), length(v.Block())
    assert block >= token_by_token - 1e-12
    assert block > token_by_token + 1e-6


def test_tokens_per_pass_are_what_the_acceptance_rate_predicts():
    """Rows that do not depend on the prefix: E[tokens] = (1 - a^(K + 1)) / (1 - a), and K + 1 if drafter and target agree."""
    p, q = laws(1)
    target, small = (es.models.Table(4, 0, lambda _, law=law: law.log()) for law in (p, q))
    a, k = float(torch.minimum(p, q).sum()), 3

    def once(rng):  # type: ignore[no-untyped-def]
        [draft] = es.run(d.DraftModel(small, tokens=k).propose(es.Prefix([0]), rng))
        return len(list(v.Rejection()(draft, target.forward(draft.prefixes, frozenset()), rng)))

    assert sum(w * n for w, n in outcomes(once)) == pytest.approx((1 - a ** (k + 1)) / (1 - a), abs=1e-10)


# Lossy rules


@pytest.mark.parametrize("lenience", [0.2, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_lenience_raises_no_token_above_its_bound(seed, lenience):
    p, q = laws(seed)
    accepted, law = one_level(v.Lenient(lenience), p, q, 1)
    assert bool((law <= p / lenience + 1e-12).all())
    assert accepted == pytest.approx(float(torch.minimum(q, p / lenience).sum()), abs=1e-12)
    assert bool(torch.allclose(law, p, atol=1e-12)) == (lenience == 1.0)


@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_an_ensemble_is_the_mixture(weight):
    p, q = laws(2)
    _, law = one_level(v.Ensemble(weight), p, q, 1)
    assert torch.allclose(law, (1 - weight) * p + weight * q, atol=1e-12)


def test_typical_acceptance_follows_its_threshold():
    x = es.Prefix([0])
    sure, unsure = torch.tensor([0.96, 0.02, 0.02]), torch.tensor([0.4, 0.35, 0.25])
    for p, token, taken in [(sure, 0, True), (sure, 1, False), (unsure, 1, True), (unsure, 2, True)]:
        draft = d.Draft(x)
        draft.add(0, token)
        rows = Rows(p.double().log().expand(2, -1), draft.prefixes)
        said = [y.last for y in v.Typical(epsilon=0.1, delta=0.3)(draft, rows, es.Rng(0))]
        assert said == ([token, 0] if taken else [0])
    assert v.Typical(0.09, 0.3).threshold(unsure) == pytest.approx(min(0.09, 0.3 * math.exp(-1.0805)), abs=1e-4)


def test_typical_acceptance_takes_the_longest_path_and_then_the_most_probable():
    draft = d.Draft(es.Prefix([0]))
    a, b = draft.add(0, 0), draft.add(0, 1)
    c, e = draft.add(b, 1), draft.add(b, 0)
    rows = Rows(torch.tensor([[0.6, 0.4], [0.5, 0.5], [0.3, 0.7], [0.9, 0.1], [0.9, 0.1]]).log(), draft.prefixes)
    assert [y.last for y in v.Typical(0.05, 9.0)(draft, rows, es.Rng(0))] == [1, 1, 0]
    assert {a, c, e} == {1, 3, 4}


def judged(weight, bias=0.0):  # type: ignore[no-untyped-def]
    draft = d.Draft(es.Prefix([0]))
    draft.extend(0, [2, 2])
    logits = torch.tensor([[5.0, 0.0, -1.0]] * 3, dtype=torch.float64)
    hidden = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    rows = Rows(logits, draft.prefixes, {"hidden": hidden})
    return [y.last for y in v.Judge(torch.tensor(weight, dtype=torch.float64), bias)(draft, rows, es.Rng(0))]


def test_a_judge_passes_what_its_head_likes():
    assert judged([9.0, 9.0]) == [2, 2, 0]
    assert judged([9.0, -9.0]) == [2, 0]
    assert judged([-9.0, 9.0]) == [0]


def test_a_fitted_judge_separates_what_can_be_separated_and_prefers_to_refuse():
    bits = torch.Generator().manual_seed(0)
    hidden = torch.randn(400, 5, generator=bits)
    good = hidden[:, 0] - 0.5 * hidden[:, 3] > 0.1
    judge = v.Judge.fit(hidden, good, errors_weigh=1.0)
    assert float((judge.passes(hidden.double()) == good).double().mean()) > 0.97
    noisy = good ^ (torch.rand(400, generator=bits) < 0.2)
    shares = [float(v.Judge.fit(hidden, noisy, errors_weigh=w).passes(hidden.double()).double().mean()) for w in (1.0, 6.0)]
    assert shares[1] < shares[0]
    with pytest.raises(InvalidInput, match="only one kind"):
        v.Judge.fit(hidden, torch.ones(400, dtype=torch.bool))


def test_a_judge_refuses_a_model_without_hidden_states_and_heads_of_another_size():
    draft = d.Draft(es.Prefix([0]))
    with pytest.raises(InvalidInput, match="hidden states"):
        list(v.Judge(torch.ones(2))(draft, Rows(torch.zeros(1, 3), draft.prefixes), es.Rng(0)))
    with pytest.raises(InvalidInput, match="size 2"):
        list(v.Judge(torch.ones(2))(draft, Rows(torch.zeros(1, 3), draft.prefixes, {"hidden": torch.zeros(1, 3)}), es.Rng(0)))


def test_reflection_asks_about_a_copy_of_the_draft_behind_the_request():
    draft = d.Draft(es.Prefix([7]))
    draft.extend(0, [1, 2, 3])
    asides = v.Reflective([8, 9], 0.5).asides(draft)
    assert [x.ids() for x in asides] == [[7, 1, 2, 3, 8, 9], [7, 1, 2, 3, 8, 9, 1], [7, 1, 2, 3, 8, 9, 1, 2]]
    assert v.Reflective([8, 9], 0.0).asides(draft) == ()


def test_reflection_mixes_first_and_second_thoughts_and_keeps_what_is_excluded_excluded():
    draft = d.Draft(es.Prefix([0]))
    draft.extend(0, [1])
    rule = v.Reflective([2], 0.5)
    p, r = torch.tensor([0.8, 0.2, 0.0]), torch.tensor([0.1, 0.5, 0.4])
    prefixes = [*draft.prefixes, *rule.asides(draft)]
    rows = Rows(torch.stack([p, p, r]).double().log(), prefixes)
    law = emitted(rule, draft, rows)
    first = {token: sum(w for said, w in law.items() if said[0] == token) for token in range(3)}
    assert first[1] == pytest.approx(0.5 * 0.2 + 0.5 * 0.5 / 0.6, abs=1e-7)
    assert first[2] == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: v.Lenient(0.0),
        lambda: v.Lenient(1.5),
        lambda: v.Ensemble(1.0),
        lambda: v.Typical(epsilon=-0.1),
        lambda: v.Typical(delta=-1.0),
        lambda: v.Judge(torch.ones(2, 2)),
        lambda: v.Reflective([1], weight=2.0),
    ],
)
def test_impossible_parameters_are_refused(make):
    with pytest.raises(InvalidInput):
        make()
