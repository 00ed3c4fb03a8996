"""Self-speculation by early exit, and parts of real models."""

from __future__ import annotations

import pytest
import torch
from layered import MODEL, Layers
from policy_laws import PROMPT

import espalier as es
from espalier.drafting import Chain, Confidence, Constant, DraftModel
from espalier.drafting.draft_model.short_context import Shortened, ends
from espalier.drafting.lengths.tetris import Capacity, Tetris
from espalier.drafting.policies import grow
from espalier.drafting.self_draft.early_exit import DEL, early_exit
from espalier.drafting.self_draft.quantised import quantised
from espalier.drafting.self_draft.skip_layers import part, skip_layers
from espalier.drafting.self_draft.swift import SWIFT
from espalier.drafting.trees.side_leaves import CAPE, Siblings
from espalier.verification import Rejection, SampleMatch


def test_siblings_are_as_many_as_the_confidence_says():
    for p, expected in [(0.96, 3), (0.9, 5), (0.6, 8), (0.3, 10)]:
        q = torch.full((12,), (1 - p) / 11)
        q[4] = p
        model = es.models.Table(12, 0, lambda _, q=q: q.log())
        [draft] = es.run(grow(model, PROMPT, Siblings(), Constant(3), es.Rng(0)))
        assert [len(children) for children in draft.children if children] == [expected] * 3
        assert len(draft) == 3 * expected
        assert all(draft.token(children[0]) == 4 for children in draft.children if children)
    assert Siblings(CAPE).widths[-1] == (0.0, 8)
    with pytest.raises(es.InvalidInput):
        Siblings(((0.5, 2), (0.8, 1)))


def test_early_exit_before_layers_that_do_nothing_is_always_right():
    model = Layers.random(4, [1.0, 1.0, 1e-9], seed=3)
    drafter = early_exit(model, 2, Chain(kind="with replacement"), Constant(3))
    es.run(es.speculate(model, PROMPT, es.stop.budget(40), drafter, Rejection(), es.Rng(0)))
    assert model.passes == 10
    for layer in (0, 3):
        with pytest.raises(es.InvalidInput):
            early_exit(model, layer)


@pytest.mark.parametrize("planted", [{1: 0.3, 2: 0.6, 3: 0.9}, {1: 0.8, 2: 0.85, 3: 0.9}, {1: 0.05, 2: 0.1, 3: 0.2}])
def test_del_chooses_the_exit_and_length_with_the_most_tokens_per_layer(planted):
    drafter = DEL(MODEL, exits=planted, most=6)
    drafter.agreement = dict(planted)
    worth = {
        (layer, k): (1 - a ** (k + 1)) / (1 - a) / (k * layer + MODEL.layers) for layer, a in planted.items() for k in range(7)
    }
    assert worth[drafter.choose()] == max(worth.values())


def test_del_measures_the_agreement_of_each_exit():
    """An exit before layers that do nothing agrees always; one that is told to say something else never does."""
    a = es.models.Table(3, 0, lambda _: torch.tensor([3.0, 0.0, 0.0]))
    flip = es.models.Table(3, 0, lambda _: torch.tensor([-6.0, 3.0, 0.0]))
    nothing = es.models.Table(3, 0, lambda _: torch.zeros(3))
    drafter = DEL(Layers([a, flip, nothing]), exits=(1, 2), keep=0.8)
    target = Layers([a, flip, nothing]) | es.temperature(0)
    es.run(es.speculate(target, PROMPT, es.stop.budget(60), drafter, SampleMatch(), es.Rng(0)))
    assert drafter.agreement[1] < 0.01
    assert drafter.agreement[2] > 0.99
    assert drafter.choose()[0] == 2


def test_a_greedy_target_leaves_its_drafters_unsure():
    """Under temperature 0 the laws are one-hot; a deterministic drafter's policies must still see how sure it is."""
    seen = []

    class Watching(Confidence):
        def go_on(self, signals, rng):  # type: ignore[no-untyped-def]
            seen.append(float(signals.q.max()))
            return super().go_on(signals, rng)

    greedy, chain = MODEL | es.temperature(0), lambda: Chain(kind="deterministic")
    for drafter in (
        skip_layers(MODEL, {1}, length=Watching(0.6)),
        SWIFT(MODEL, tree=chain(), length=Watching(0.6), window=2),
        Tetris(part(MODEL, [0, 1]), Capacity(9), chain(), Watching(0.6), "token"),
    ):
        seen.clear()
        es.run(es.speculate(greedy, PROMPT, es.stop.budget(12), drafter, SampleMatch(), es.Rng(0)))
        assert seen
        assert max(seen) < 1, type(drafter).__name__


@pytest.mark.real
def test_parts_of_a_real_model_draft_for_it():
    """Greedy text with skipped layers, early exit, SWIFT, DEL and a short context is that of plain decoding, in fp32."""
    lm = es.load(dtype="float32")
    x, stop = lm.prompt("Write one sentence about pears."), es.stop.budget(24)
    [plain] = es.run(es.sample(lm.model | es.temperature(0), x, stop, es.Rng(0)))
    for drafter in (
        skip_layers(lm.model, range(4, 26, 3)),
        early_exit(lm.model, 20),
        SWIFT(lm.model, window=8, context=8, every=2, length=Confidence(0.8, most=4)),
        DEL(lm.model, most=3),
        DraftModel(Shortened(lm.model, ends(4, 12)), tree=Chain(kind="deterministic"), tokens=3),
    ):
        [y] = es.run(es.speculate(lm.model | es.temperature(0), x, stop, drafter, SampleMatch(), es.Rng(0)))
        assert y.ids() == plain.ids(), type(drafter).__name__


@pytest.mark.real
def test_eight_bits_draft_what_the_model_says_in_full_precision():
    lm = es.load(dtype="float32")
    if type(lm.model.executor).__name__ != "Engine":
        pytest.skip("int8 weights run on the native kernels only, and these are not built")
    plain = lm.generate("Name five fruits.", max_tokens=24, drafter=None)
    for drafter in ("quantised", quantised(lm.model, kv_bits=4)):
        fast = lm.generate("Name five fruits.", max_tokens=24, drafter=drafter)
        assert fast.tokens == plain.tokens
        assert fast.stats.passes < 0.5 * plain.stats.passes
