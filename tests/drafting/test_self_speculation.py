"""Self-speculation on toys with layers: what is left out, what is chosen, and that nothing changes the law."""

from __future__ import annotations

import itertools

import pytest
import torch
from policy_laws import PROMPT, assert_lossless
from torch import Tensor

import espalier as es
from espalier.drafting import Chain, Confidence, Constant, DraftModel, KConfig
from espalier.drafting.early import DEL, early_exit
from espalier.drafting.policy import grow
from espalier.drafting.quantised import quantised
from espalier.drafting.short import Enriched, Shortened, ends, relevant
from espalier.drafting.siblings import CAPE, Siblings
from espalier.drafting.skip import SkipSearch, best_skip, most_promising, part, skip_layers, speed, without
from espalier.drafting.swift import SWIFT
from espalier.drafting.tetris import Capacity, Tetris
from espalier.rows import Rows
from espalier.verification import Recursive, Rejection, SampleMatch


class Layers(es.Model):
    """A toy with layers: each adds its own table's row to the residual stream, which is read as logits."""

    def __init__(self, tables: list[es.models.Table]) -> None:
        self.tables, self.layers, self.passes = tables, len(tables), 0
        self.vocab_size = tables[0].vocab_size

    @classmethod
    def random(cls, vocab_size: int, scales: list[float], seed: int = 0) -> Layers:
        return cls([es.models.Table.random(vocab_size, 2, seed * 100 + i, scale=s) for i, s in enumerate(scales)])

    def forward(self, prefixes, want):  # type: ignore[no-untyped-def]
        self.passes += 1
        steps = torch.stack([table.forward(prefixes, frozenset()).logits for table in self.tables], 1)
        stream = torch.cat([torch.zeros_like(steps[:, :1]), steps.cumsum(1)], 1)
        extras = {"layers": stream} if "layers" in want else {}
        extras |= {"hidden": stream[:, -1]} if "hidden" in want else {}
        return Rows(stream[:, -1], prefixes, extras)

    def partial(self, layers):  # type: ignore[no-untyped-def]
        return Layers([self.tables[layer] for layer in layers])

    def read(self, hidden: Tensor) -> Tensor:
        return hidden


def logits(model: es.Model, x: es.Prefix) -> Tensor:
    return model.forward([x], frozenset()).logits[0]


MODEL = Layers.random(3, [1.5, 0.5, 0.3, 0.8], seed=1)


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


def test_a_short_context_is_shared_like_the_long_one():
    short = Shortened(MODEL, ends(head=1, tail=2))
    x = es.Prefix([0, 1, 2, 0, 1])
    y, z = x + 2, x + [0, 1]  # noqa: RUF005
    assert short.prefix(z).ids() == [0, 0, 1, 0, 1]
    assert short.prefix(y).parent is short.prefix(z).parent is short.prefix(x)
    turn = z.given([2, 2, 2])
    assert short.prefix(turn + 1).ids() == [0, 2, 2, 1]
    [rows] = es.run(_ask(short, [y, z]))
    assert torch.equal(rows.logits[1], logits(MODEL, es.Prefix([0, 0, 1, 0, 1])))
    assert rows.prefixes == [y, z]


def _ask(scorer, prefixes):  # type: ignore[no-untyped-def]
    return (yield es.Ask(scorer, prefixes))


def test_relevant_chunks_are_those_that_share_rare_tokens_with_the_end():
    prompt = [9, *(0, 1, 2, 0), *(3, 0, 1, 0), *(0, 2, 1, 0), *(1, 2, 0, 0), *(0, 3)]
    assert relevant(chunks=1, size=4, query=2, head=1)(prompt) == [9, 3, 0, 1, 0, 0, 3]
    assert relevant(chunks=9, size=4, query=2, head=1)(prompt) == prompt
    assert ends(3, 3)([1, 2]) == [1, 2]


@pytest.mark.parametrize("eta", [0.0, 0.7, 10.0])
def test_rapid_is_lossless_with_respect_to_its_enriched_law(eta):
    short = Shortened(MODEL, ends(0, 1))
    law = Enriched(MODEL, short, eta)
    p, q = logits(MODEL, PROMPT).softmax(-1), logits(MODEL, es.Prefix(PROMPT.ids()[-1:])).softmax(-1)
    [rows] = es.run(_ask(law, [PROMPT]))
    assert torch.allclose(rows[0].probs(), (logits(MODEL, PROMPT) + eta * (q - p)).softmax(-1), atol=1e-12)
    assert_lossless(law, lambda: DraftModel(short, tokens=2), Rejection())


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
