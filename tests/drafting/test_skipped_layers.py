"""Self-speculation by skipped layers: the law of the text, the search for layers, SWIFT."""

from __future__ import annotations

import itertools

import pytest
import torch
from layered import MODEL, Layers, logits
from policy_laws import PROMPT, assert_lossless

import espalier as es
from espalier.drafting import Chain, Confidence, Constant, DraftModel, KConfig
from espalier.drafting.draft_model.short_context import Shortened, ends
from espalier.drafting.self_draft.early_exit import DEL, early_exit
from espalier.drafting.self_draft.skip_layers import SkipSearch, best_skip, most_promising, part, skip_layers, speed, without
from espalier.drafting.self_draft.swift import SWIFT
from espalier.drafting.trees.side_leaves import Siblings
from espalier.verification import Recursive, Rejection, SampleMatch


def test_a_part_is_the_model_without_the_rest():
    whole = sum(logits(part(MODEL, [i]), PROMPT) for i in range(4))
    assert torch.allclose(whole, logits(MODEL, PROMPT))
    assert torch.allclose(logits(without(MODEL, {1, 2}), PROMPT), logits(part(MODEL, [0, 3]), PROMPT))
    for wrong in (lambda: without(MODEL, {4}), lambda: without(MODEL, range(4)), lambda: part(MODEL, [])):
        with pytest.raises(es.InvalidInput):
            wrong()
    with pytest.raises(es.InvalidInput, match="cannot draft for itself"):
        without(es.models.Table.random(3, 1, 0), {0})


DRAWN = Chain(kind="with replacement")


DRAFTERS = {
    "skip": lambda: skip_layers(MODEL, {1, 2}, length=Constant(2)),
    "skip drawn": lambda: skip_layers(MODEL, {1, 2}, DRAWN, Confidence(0.5, most=2)),
    "early": lambda: early_exit(MODEL, 1, length=Confidence(0.5, most=2)),
    "early drawn": lambda: early_exit(MODEL, 2, DRAWN, Constant(2)),
    "swift": lambda: SWIFT(MODEL, length=Constant(1), tree=Chain(kind="deterministic"), window=1, context=1, bayes=2),
    "swift drawn": lambda: SWIFT(MODEL, 0.5, DRAWN, Constant(1), window=1, context=1),
    "del": lambda: DEL(MODEL, exits=(1, 2), most=2),
    "del drawn": lambda: DEL(MODEL, exits=(1, 2), most=2, tree=DRAWN),
    "short": lambda: DraftModel(Shortened(MODEL, ends(0, 1)), tokens=2),
}


@pytest.mark.parametrize("name", DRAFTERS)
@pytest.mark.parametrize("shaped", ["plain", "shaped"])
def test_self_speculation_keeps_the_law(name, shaped):
    scorer = MODEL if shaped == "plain" else MODEL | es.repetition(1.5) | es.temperature(0.8) | es.top_p(0.9)
    length = 2 if "swift drawn" in name and shaped == "plain" else 3
    assert_lossless(scorer, DRAFTERS[name], Rejection(), length)
    if "drawn" not in name and name != "short":
        assert_lossless(scorer, DRAFTERS[name], SampleMatch(), 2)


def test_siblings_and_trees_of_skipped_layers_keep_the_law():
    make = lambda: skip_layers(MODEL, {1}, Siblings(((0.6, 1), (0.0, 2)), most=2), Constant(2))  # noqa: E731
    assert_lossless(MODEL, make, SampleMatch())
    make = lambda: skip_layers(MODEL, {1}, KConfig((2, 1)), Constant(2))  # noqa: E731
    assert_lossless(MODEL, make, Recursive())


def test_nothing_skipped_means_everything_accepted():
    model = Layers.random(4, [1.0, 1.0, 1.0], seed=3)
    drafter = skip_layers(model, (), Chain(kind="with replacement"), Constant(3))
    es.run(es.speculate(model, PROMPT, es.stop.budget(40), drafter, Rejection(), es.Rng(0)))
    assert model.passes == 10  # four tokens per pass


@pytest.mark.parametrize(("a", "c"), [(0.8, 0.3), (0.5, 0.6), (0.95, 0.1), (0.2, 0.9)])
def test_speed_is_that_of_a_simulation(a, c):
    found, k = speed(a, c)
    bits = torch.rand(40_000, 12, generator=torch.Generator().manual_seed(0)) < a
    for length in {k, max(k - 1, 0), k + 1} & set(range(13)):
        tokens = 1 + bits[:, :length].long().cumprod(1).sum(1).double()
        simulated = float(tokens.mean()) / (length * c + 1)
        assert simulated <= found * 1.02
        if length == k:
            assert simulated == pytest.approx(found, rel=0.02)


def samples(model, count=4, length=24):  # type: ignore[no-untyped-def]
    stop = es.stop.budget(length)
    return [es.run(es.sample(model, es.Prefix([i]), stop, es.Rng(i)))[0].ids() for i in range(count)]


PLANTED = Layers.random(5, [2.0, 0.001, 1.5, 0.001, 0.001, 1.0], seed=2)  # layers 1, 3 and 4 hardly matter


def test_greedy_search_finds_the_layers_that_do_not_matter():
    trial = best_skip(PLANTED, samples(PLANTED), method="greedy")
    assert trial.skip == {1, 3, 4}
    assert trial.acceptance > 0.99


def test_bayesian_search_finds_the_best_of_all_sets():
    search = SkipSearch(PLANTED, samples(PLANTED), greedy=False)
    everything = max(
        (search.trial(skip) for n in range(5) for skip in itertools.combinations(range(1, 5), n)), key=lambda t: t.speed
    )
    found = best_skip(PLANTED, samples(PLANTED), "bayes", trials=16, greedy=False)
    assert found.speed == everything.speed


def test_a_trial_is_the_acceptance_of_the_part():
    search = SkipSearch(PLANTED, [[0, 1, 2, 3]], greedy=False)
    x = [es.Prefix([0]), es.Prefix([0, 1]), es.Prefix([0, 1, 2])]
    p, q = (model.forward(x, frozenset()).logits.softmax(-1) for model in (PLANTED, without(PLANTED, {2})))
    trial = search.trial({2})
    assert trial.acceptance == pytest.approx(float(torch.minimum(p, q).sum(-1).mean()), abs=1e-12)
    assert trial.speed == speed(trial.acceptance, 5 / 6)[0]


def test_the_surrogate_finds_better_sets_than_chance():
    """Sixteen layers, of which seven inner ones hardly matter, 40 trials of 2^14: expected improvement against chance."""
    model = Layers.random(5, [1.0, *[0.01, 1.5] * 7, 1.0], seed=5)
    texts, gained = samples(model, 2, 12), []
    for seed in range(3):
        search, chance = SkipSearch(model, texts, False), SkipSearch(model, texts, False)
        search.by_bayes(40, es.Rng(seed))
        chance.by_bayes(40, es.Rng(seed), start=40)
        gained.append(search.best().speed - chance.best().speed)
    assert min(gained) >= 0
    assert sum(gained) > 0.2


def test_expected_improvement_prefers_what_is_near_the_best():
    known = {frozenset({1}): 1.0, frozenset({2}): 0.0, frozenset({3}): 0.0}
    near, far = frozenset({1, 4}), frozenset({2, 3})
    assert most_promising([far, near], known, layers=6) == near


def test_swift_finds_the_layers_that_do_not_matter_and_stops_looking():
    model = Layers.random(40, [2.0, 0.001, 1.5, 0.001, 0.001, 1.0], seed=2)  # many tokens, so that the text does not repeat
    drafter = SWIFT(model, ratio=0.75, tree=Chain(kind="deterministic"), window=16, context=4, bayes=5, enough=0.99)
    assert drafter.choice.skip == {1, 2, 3}
    target = model | es.temperature(0)
    es.run(es.speculate(target, PROMPT, es.stop.budget(80), drafter, SampleMatch(), es.Rng(1)))
    assert drafter.choice.ended
    assert drafter.choice.skip == {1, 3, 4}
    assert drafter.choice.scores[frozenset({1, 2, 3})] < 0.9 < drafter.choice.score == max(drafter.choice.scores.values())


def test_swift_scores_are_the_share_of_tokens_that_the_part_says():
    drafter = SWIFT(PLANTED, ratio=0.75, window=6, context=99, enough=2.0)
    [x] = es.run(es.sample(PLANTED | es.temperature(0), PROMPT, es.stop.budget(10), es.Rng(0)))
    es.run(drafter._trial(x, es.Rng(0)))
    ids, small = x.ids(), without(PLANTED, drafter.choice.skip)
    said = [int(logits(small, es.Prefix(ids[:n])).argmax()) for n in range(len(ids) - 6, len(ids))]
    assert drafter.choice.score == sum(a == b for a, b in zip(said, ids[-6:], strict=True)) / 6
