"""Drafts by parts of the target live in the target's own cache: skipped layers read it, early exits begin it."""

from __future__ import annotations

import gc
from collections.abc import Sequence

import pytest
import torch

import espalier as es
from espalier.bench.passes import random_weights
from espalier.drafting import Constant, DraftModel
from espalier.drafting.self_draft.early_exit import DEL, early_exit
from espalier.drafting.self_draft.propd import ProPD
from espalier.drafting.self_draft.skip_layers import SkipSearch, best_skip, skip_layers, units, without
from espalier.drafting.self_draft.swift import SWIFT
from espalier.models.executors.sublayers import Sublayers
from espalier.models.families import Config
from espalier.models.transformer import Transformer
from espalier.testing import assert_same_law, exact_law
from espalier.verification import Rejection, SampleMatch

LAYERS = 6


def tiny(eager: bool = False, budget: int = 4 << 30) -> Transformer:
    sizes = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": LAYERS, "num_attention_heads": 2}
    config = {"model_type": "llama", "num_key_value_heads": 1, "rms_norm_eps": 1e-5, "max_position_embeddings": 512, **sizes}
    config |= {"tie_word_embeddings": True, "vocab_size": 40}
    weights = random_weights(config, torch.float32, "cpu")
    weights = {name: each * (6 if "proj" in name else 1) for name, each in weights.items()}  # so that every layer matters
    return Transformer.from_weights(Config.from_hf(config), weights, eager=eager, budget=budget)


def prompt(count: int = 60) -> es.Prefix:
    return es.Prefix([1 + i % 39 for i in range(count)])


def plain(count: int = 60, tokens: int = 30) -> list[int]:
    [x] = es.run(es.sample(tiny() | es.temperature(0), prompt(count), es.stop.budget(tokens), es.Rng(0)))
    return x.ids()


class Counted:
    """An executor that counts rows times layers."""

    def __init__(self, inner, total):  # type: ignore[no-untyped-def]
        self.inner, self.total = inner, total

    def run(self, rows, *rest, **options):  # type: ignore[no-untyped-def]
        self.total.append(len(rows.tokens) * self.inner.layers)
        return self.inner.run(rows, *rest, **options)

    def partial(self, layers: Sequence[int]):  # type: ignore[no-untyped-def]
        return Counted(self.inner.partial(layers), self.total)

    def within(self, layers: Sequence[Sublayers]):  # type: ignore[no-untyped-def]
        return Counted(self.inner.within(layers), self.total)

    def __getattr__(self, name: str):  # type: ignore[no-untyped-def]
        return getattr(self.inner, name)


class Sizes(es.drafting.LengthPolicy):
    """Another policy, and how many nodes each draft has."""

    def __init__(self, inner, sizes):  # type: ignore[no-untyped-def]
        self.inner, self.sizes, self.most, self.want, self.reads = inner, sizes, inner.most, inner.want, inner.reads

    def begin(self, x):  # type: ignore[no-untyped-def]
        return Sizes(self.inner.begin(x), self.sizes)

    def plan(self, x, rng):  # type: ignore[no-untyped-def]
        return self.inner.plan(x, rng)

    def go_on(self, signals, rng):  # type: ignore[no-untyped-def]
        return self.inner.go_on(signals, rng)

    def observe(self, x, draft, rows):  # type: ignore[no-untyped-def]
        self.sizes.append(len(draft.prefixes))
        self.inner.observe(x, draft, rows)


def counted(model: Transformer) -> list[int]:
    total: list[int] = []
    model.executor = Counted(model.executor, total)  # type: ignore[assignment]
    return total


def write(model: Transformer, drafter: es.drafting.Drafter, count: int = 60, tokens: int = 30) -> es.Prefix:
    [y] = es.run(
        es.speculate(model | es.temperature(0), prompt(count), es.stop.budget(tokens), drafter, SampleMatch(), es.Rng(0))
    )
    return y


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("skip", [{2, 4}, {2, (3, "mlp"), (4, "attention")}], ids=["layers", "halves"])
def test_skipped_layers_read_the_targets_keys_and_values(monkeypatch, eager, skip):
    """In place: the prompt is read once, only drafted tokens have slots of the draft's own, the text is the target's."""
    model = tiny(eager)
    drafter = skip_layers(model, skip, length=Constant(3))
    part, rows = drafter.scorer, []
    plan = part.kv.plan
    scratch = []

    def planned(*a, **k):  # type: ignore[no-untyped-def]
        made = plan(*a, **k)
        rows.append(made.rows)
        scratch.append(model.kv._pool.used - sum(len(run.slots) for run in model.kv._runs.values()))
        return made

    monkeypatch.setattr(part.kv, "plan", planned)
    y = write(model, drafter)
    if not eager:
        assert y.ids() == plain()
    assert part.kv.keys is model.kv.keys
    assert max(rows) <= 2  # never the prompt
    assert max(scratch) <= 5  # the tokens of one round: no second cache
    del y
    gc.collect()
    assert (model.kv.used, part.kv.used) == (0, 0)


def test_a_part_answers_as_if_its_past_were_the_whole_models():
    """Against the eager reference of the same idea: whole model over the past, the part over the last token alone."""
    for eager in (False, True):
        model, by_hand = tiny(eager), tiny(True)
        kept = [Sublayers(0), Sublayers(2, feeds=False), Sublayers(3, attends=False), Sublayers(5)]
        x = prompt(20)
        model.forward([x])
        before = model.kv.keys.clone()
        row = model.sharing(kept).forward([x + 7, x]).logits
        slots = model.kv._run(x).slots.astype("int64")  # type: ignore[union-attr]
        assert torch.equal(model.kv.keys[:, slots], before[:, slots])  # nothing of the whole model's was written
        by_hand.forward([z := es.Prefix(x.ids())])
        node = z + 7
        made = by_hand.kv.plan([node])
        [only] = made.passes(8)
        hidden, _ = by_hand.executor.within(kept).run(only, by_hand.kv.keys, by_hand.kv.values, False)
        by_hand.kv.abandon(made)
        assert torch.allclose(row[:1], by_hand.executor.read(hidden, norm=False), atol=1e-4)


def test_agreement_is_higher_on_the_targets_cache_than_on_a_cache_of_its_own():
    """At equal sets, summed over sets of two of six layers: the toy has random weights, so nothing is tuned for it."""
    model = tiny()
    y = es.Prefix(prompt(8).ids())
    [y] = es.run(es.sample(model, y, es.stop.budget(120), es.Rng(3)))
    nodes = [node for node in y.up() if node.parent is not None][::-1]
    said = model.forward(nodes).logits.argmax(-1)
    on_own = on_targets = 0
    for skip in ({1, 3}, {2, 4}, {1, 2}, {3, 4}, {2, 3}):
        own, shared = model.partial([layer for layer in range(LAYERS) if layer not in skip]), without(model, skip)
        on_own += int((own.forward(nodes).logits.argmax(-1) == said).sum())
        on_targets += int((shared.forward([node.parent + node.last for node in nodes]).logits.argmax(-1) == said).sum())
    assert on_targets > on_own


def test_the_law_is_kept_by_drawn_drafts_of_a_sharing_part():
    """All draws replayed on a real small transformer: the law of two tokens is the target's."""
    model = tiny()
    target = model | es.top_k(2)
    make = lambda: skip_layers(model, {2, (3, "mlp")}, es.drafting.Chain(kind="with replacement"), Constant(2))  # noqa: E731
    x, stop = prompt(5), es.stop.budget(2)
    model.forward([x])
    key = lambda y: tuple(y.written())  # noqa: E731
    found = exact_law(lambda rng: es.speculate(target, x, stop, make(), Rejection(), rng), key)
    assert_same_law(found, exact_law(lambda rng: es.sample(target, x, stop, rng), key), tolerance=1e-5)


def test_halves_are_skipped_apart_in_the_search():
    model = tiny()
    assert units(model)[:2] == [(1, "attention"), (1, "mlp")]
    assert units(model, apart=False) == [1, 2, 3, 4]
    search = SkipSearch(model, [prompt(12).ids()])
    assert search.trial({(1, "mlp")}).speed >= 0
    found = best_skip(model, [prompt(12).ids()], trials=20, rng=es.Rng(1))
    assert all(isinstance(each, tuple) for each in found.skip)
    half = SkipSearch(model, [prompt(12).ids()], cost=lambda kept: kept)
    half.trial({(1, "mlp"), 2})
    assert half.trials[frozenset({(1, "mlp"), 2})].speed > 0
    greedy = best_skip(model, [prompt(12).ids()], "greedy", trials=12, apart=False)
    assert all(isinstance(each, int) for each in greedy.skip)


def test_swift_searches_halves_of_layers_on_one_cache():
    model = tiny()
    drafter = SWIFT(model, window=8, length=Constant(2), tree=es.drafting.Chain(kind="deterministic"), bayes=3, enough=2.0)
    y = write(model, drafter, tokens=40)
    assert y.ids() == plain(tokens=40)
    assert len(drafter.choice.scores) > 3
    assert all(isinstance(each, tuple) for skip in drafter.choice.scores for each in skip)
    read = {int(slot) for run in model.kv._runs.values() for slot in run.slots}
    assert model.kv.used - len(read) <= 4  # a trial leaves nothing behind


def test_the_target_goes_on_from_the_exit():
    """Rows times layers: L per token that was drafted or verified, no layer twice, one store; the text is the target's."""
    for exit_layer in (2, 4):
        model = tiny()
        total = counted(model)
        drafter = early_exit(model, exit_layer, length=Constant(3))
        rounds: list[int] = []
        drafter.length = Sizes(drafter.length, rounds)
        y = write(model, drafter)
        assert y.ids() == plain()
        # each round computes the rows of x and of its drafts through all layers, once; the prompt is 59 rows more
        unverified = sum(total) - LAYERS * (59 + sum(rounds))  # of the last round, which the budget cuts
        assert 0 <= unverified <= 3 * exit_layer
        assert model.kv.used == len(y.ids()) - 1 or model.kv.used <= len(y.ids()) + 3


@pytest.mark.parametrize("eager", [False, True])
def test_rows_after_exits_are_those_of_one_pass(eager):
    """Exits at several depths in one pass, some rows never asked before; extras of all layers are whole."""
    model, alone = tiny(eager), tiny(eager)
    x, z = prompt(9), prompt(9)
    model.forward([x])
    a, b = x + 5, x + 6
    c = a + 3
    first, second = model.exit(2), model.exit(4)
    first.forward([a, b])
    second.forward([c])
    assert first.costs([a, a + 1]) == [1, 1]
    fresh = c + 8
    assert model.costs([c, b, fresh]) == [2, 1, 1]
    got = model.forward([c, b, fresh, a], frozenset({"layers", "hidden"}))
    za = z + 5
    zc = za + 3
    wanted = alone.forward([zc, z + 6, zc + 8, za], frozenset({"layers", "hidden"}))
    close = torch.equal if not eager else torch.allclose
    for name in ("layers", "hidden"):
        assert close(got.extras[name], wanted.extras[name]) or torch.allclose(got.extras[name], wanted.extras[name], atol=1e-5)
    if not eager:
        assert torch.equal(got.logits, wanted.logits)
    assert model.costs([c]) == [1]
    part = alone.partial([0, 1])
    assert torch.allclose(first.forward([x + 5]).logits, part.forward([es.Prefix(x.ids()) + 5]).logits, atol=1e-5)


def test_del_goes_on_from_whichever_exit_it_chose():
    model = tiny()
    total = counted(model)
    drafter = DEL(model, exits=(1, 3), most=3)
    drafter.agreement = {1: 0.9, 3: 0.99}
    y = write(model, drafter)
    assert y.ids() == plain()
    assert sum(total) > 0


def test_pruning_by_an_exit_computes_no_layer_twice():
    """Early rows are the first part of the target's pass; never more target passes than plain decoding takes."""
    model, passes = tiny(), []
    small = tiny().partial([0, 1, 2, 3])
    beams = lambda: DraftModel(small, tree=es.drafting.Beam(width=3, depth=3, nodes=9))  # noqa: E731
    total = counted(model)
    answers = model.answers
    model.answers = lambda *a, **k: (passes.append(len(a) < 4), answers(*a, **k))[1]  # type: ignore[method-assign]
    y = write(model, ProPD(beams(), early=model.exit(2), top=2))
    assert y.ids() == plain()
    assert sum(passes) <= 30
    pruned = sum(total)
    whole = tiny()
    total = counted(whole)
    write(whole, beams())
    assert pruned < sum(total)


def test_rollback_and_forgetting_leave_no_slot_behind():
    """Random drafts, exits, skipped layers and forgotten branches in one small store: rows stay those of a fresh model."""
    model, fresh = tiny(budget=120 * 2 * LAYERS * 16 * 4), tiny()
    part, exits = model.sharing([0, 2, 5]), [model.exit(1), model.exit(3)]
    rng, living = es.Rng(4), [prompt(6)]
    weights = lambda n: torch.ones(n)  # noqa: E731
    for step in range(250):
        x = living[rng.categorical(weights(len(living)))]
        y = x + rng.categorical(weights(39))
        asked = [model, part, *exits][rng.categorical(weights(4))]
        rows = asked.forward([x, y])
        if asked is model and step % 5 == 0:
            assert torch.equal(rows.logits[1], fresh.forward([es.Prefix(y.ids())]).logits[0])
        if len(y) < 30 and rng.flip(0.6):
            living.append(y)
        if len(living) > 5 or model.kv.used > 90:
            living = [living[0], *living[2:]][:3]
    part_ids = part.kv.used
    assert part_ids <= model.kv.used <= 120
    del living, x, y, rows
    gc.collect()
    assert model.kv.used == 0


def test_what_cannot_be_shared_is_said_when_built():
    model = tiny()
    with pytest.raises(es.InvalidInput, match="cannot be skipped"):
        skip_layers(model, {(2, "head")})
    with pytest.raises(es.InvalidInput, match="would be skipped"):
        skip_layers(model, range(LAYERS))
    with pytest.raises(es.InvalidInput, match="after 1"):
        model.exit(LAYERS)
    with pytest.raises(es.InvalidInput, match="cannot go on"):
        model.sharing([0, 1]).exit(1)
    from layered import MODEL

    with pytest.raises(es.InvalidInput, match="cannot leave out attention"):
        skip_layers(MODEL, {(1, "mlp")})
    with pytest.raises(es.InvalidInput, match="cannot leave out attention"):
        SWIFT(MODEL, apart=True)
    with pytest.raises(es.InvalidInput, match="cannot leave out attention"):
        best_skip(MODEL, [[1, 2, 0]], apart=True)
