"""QuantSpec: one store in two levels, of which the draft reads the upper one and the target both."""

from __future__ import annotations

import gc
import hashlib

import pytest
import torch
from toys import transformer

import espalier as es
from espalier.drafting import Constant, quantspec
from espalier.models import TwoLevelTransformer
from espalier.models.kv.two_levels import LevelKV, both, encode, upper
from espalier.testing import assert_same_law, exact_law
from espalier.verification import GreedyMatch, Rejection

GROUP = 16


def target(group: int = GROUP, **options) -> TwoLevelTransformer:  # type: ignore[no-untyped-def]
    return TwoLevelTransformer(transformer(**options), group)


def prompt(count: int = 70, seed: int = 0) -> es.Prefix:
    generator = torch.Generator().manual_seed(seed)
    return es.Prefix(torch.randint(0, 23, (count,), generator=generator).tolist())


def plain(model: es.Model, x: es.Prefix, tokens: int) -> list[int]:
    [found] = es.run(es.sample(model | es.temperature(0), x, es.stop.budget(tokens), es.Rng(0)))
    return found.ids()


def drafted(model: TwoLevelTransformer, x: es.Prefix, tokens: int, length: int = 4) -> list[int]:
    drafter = quantspec(model, length=Constant(length))
    [found] = es.run(es.speculate(model | es.temperature(0), x, es.stop.budget(tokens), drafter, GreedyMatch(), es.Rng(0)))
    return found.ids()


def digest(model: TwoLevelTransformer, slots) -> list[str]:  # type: ignore[no-untyped-def]
    pool = model.kv.levels  # type: ignore[attr-defined]
    return [hashlib.sha256(pool.keys[:, s].numpy().tobytes() + pool.values[:, s].numpy().tobytes()).hexdigest() for s in slots]


def test_both_levels_are_the_upper_one_and_what_it_misses():
    """Upper within half a step, both within 1/16 of one (and the rounding of the scales); flat groups come back as they are."""
    x = torch.randn(40, 64) * 3
    steps = (x.unflatten(-1, (-1, 16)).amax(-1) - x.unflatten(-1, (-1, 16)).amin(-1)).repeat_interleave(16, -1) / 15
    codes = encode(x)
    assert codes.shape[-1] == 80
    assert ((upper(codes, 64) - x).abs() <= 0.6 * steps + 0.02).all()
    assert ((both(codes, 64) - x).abs() <= steps / 16 + 0.002).float().mean() > 0.97
    assert (both(codes, 64) - x).square().mean() < (upper(codes, 64) - x).square().mean() / 100
    flat = torch.full((1, 16), 0.5)
    assert torch.equal(both(encode(flat), 16), flat)


@pytest.mark.parametrize("tokens", [1, 5])
def test_a_text_of_fewer_than_two_groups_is_that_of_the_model_itself(tokens):
    model, exact, x = target(), transformer(), prompt(2 * GROUP - 6)
    rows = [each.forward([x, x + tokens], frozenset()).logits for each in (model, exact)]
    assert torch.allclose(rows[0], rows[1], atol=1e-5)
    long = prompt(70)
    assert not torch.allclose(model.forward([long]).logits, exact.forward([long]).logits, atol=1e-5)


def test_rows_depend_on_the_position_alone():
    """One pass, passes of five rows, a token at a time: the same rows up to rounding, at every position."""
    x = prompt(80)
    whole = target(4)
    found = [es.Prefix(x.ids()[:n]) for n in range(1, 81)]
    chain = [es.Prefix(x.ids()[:1])]
    for token in x.ids()[1:]:
        chain.append(chain[-1] + token)
    one_by_one = torch.cat([whole.forward([y]).logits for y in chain])
    pieces = TwoLevelTransformer(transformer(chunk=5), 4)
    at_once = pieces.forward([chain[-1], *chain[:-1]]).logits[[*range(1, 80), 0]]
    alone = torch.cat([target(4).forward([y]).logits for y in found[::7]])
    assert torch.allclose(one_by_one, at_once, atol=1e-4)
    assert torch.allclose(one_by_one[::7], alone, atol=1e-4)


@pytest.mark.parametrize("length", [1, 4, GROUP - 2])
def test_greedy_texts_are_those_of_the_8_bit_target(length):
    for seed in range(2):
        assert drafted(target(), prompt(seed=seed), 40, length) == plain(target(), prompt(seed=seed), 40)


def test_the_law_is_that_of_the_8_bit_target():
    model, x = target(4, vocab_size=3), es.Prefix([0, 1, 2, 1, 0, 2, 2, 1, 0, 1])
    warm = es.temperature(3.0)
    stop = es.stop.budget(2)
    written = lambda y: tuple(y.written())  # noqa: E731
    truth = exact_law(lambda rng: es.sample(model | warm, x, stop, rng), written)
    drafter = lambda: quantspec(model, tree=es.drafting.Chain(kind="with replacement"), length=Constant(1))  # noqa: E731
    law = exact_law(lambda rng: es.speculate(model | warm, x, stop, drafter(), Rejection(), rng), written)
    assert_same_law(law, truth, tolerance=1e-5)


def test_target_and_draft_read_one_store():
    """The draft holds no slot but its scratch; what the target has read is read where it lies, in 4 bits."""
    model = target()
    draft, x = model.upper(), prompt()
    model.forward([x])
    used, memory = model.kv.used, model.kv.nbytes
    lower = model.kv.levels.keys[..., 24:].clone()  # type: ignore[attr-defined]
    y = x + 3
    row = draft.forward([y]).logits
    assert draft.kv.used == 1
    assert model.kv.used - used == 1
    assert model.kv.nbytes == memory
    model.kv.levels.keys[..., 24:] = 0  # type: ignore[attr-defined]
    assert torch.equal(draft.forward([y]).logits, row)  # the lower level is not read by the draft
    exact = model.forward([x + 4]).logits
    model.kv.levels.keys[..., 24:] = lower  # type: ignore[attr-defined]
    assert not torch.equal(model.forward([x + 4]).logits, exact)  # and it is by the target
    assert not torch.equal(model.forward([x + 3]).logits, row)


def test_a_token_takes_fewer_bytes_than_plain():
    """Bytes of codes per token, and all bytes held for a long text, below bfloat16's and float32's; recent rows are few."""
    model, exact = target(), transformer()
    half = exact.kv.bytes_per_token // 2
    assert model.kv.bytes_per_token < 0.63 * half
    x = prompt(900)
    for each in (model, exact):
        each.forward([x])
    model.kv.plan([x + 1])
    pool = model.kv.levels  # type: ignore[attr-defined]
    assert int((pool.row >= 0).sum()) <= 3 * GROUP + 1
    held = model.kv.used * model.kv.bytes_per_token + int((pool.row >= 0).sum()) * exact.kv.bytes_per_token
    assert held < exact.kv.used * half


def test_rejected_drafts_touch_recent_rows_only():
    """Random drafts of the model on the upper level, kept or not: codes that are there stay, bit for bit, and the rows of the
    target are those of one that never drafted."""
    model, rng = target(8, budget=1 << 22), es.Rng(3)
    draft, fresh = model.upper(), target(8)
    x = y = prompt(30)
    model.forward([x])
    fresh.forward([y])
    for _ in range(40):
        pool = model.kv.levels  # type: ignore[attr-defined]
        coded = [s for s in range(pool.capacity) if pool.coded[s]]
        before = digest(model, coded)
        tail, nodes = x, list[es.Prefix]()
        for _ in range(1 + rng.categorical(torch.ones(6))):
            tail = tail + rng.categorical(torch.ones(23))
            nodes.append(tail)
            draft.forward([tail])
        found = model.forward(nodes).logits
        kept = rng.categorical(torch.ones(len(nodes) + 1))
        assert digest(model, coded) == before
        for at in range(kept):
            y = y + nodes[at].last
            assert torch.allclose(fresh.forward([y]).logits[0], found[at], atol=1e-4)
        x = nodes[kept - 1] if kept else x
        del nodes, tail
    del x, y
    gc.collect()
    assert model.kv.used == draft.kv.used == 0
    assert not pool.coded.any()
    assert (pool.row < 0).all()


def test_forks_joined_roots_and_a_small_store_give_the_rows_of_a_fresh_one():
    """A fork from where rows in full are gone, equal prompts, eviction and shrinking: still the rows of the position."""
    model, rng = target(4, budget=90 * 160 * 2), es.Rng(5)
    living = [prompt(12)]
    for step in range(120):
        x = living[rng.categorical(torch.ones(len(living)))]
        y = es.Prefix(x.ids()) if rng.flip(0.1) else x + rng.categorical(torch.ones(23))
        row = model.forward([y]).logits[0]
        if step % 4 == 0:
            assert torch.allclose(row, target(4).forward([es.Prefix(y.ids())]).logits[0], atol=1e-4)
        if len(y) < 40:
            living.append(y)
        living = living[-4:] if rng.flip(0.8) else [living[0], living[-1]]
    assert isinstance(model.kv, LevelKV)


def test_eight_texts_share_a_loop():
    alone = [plain(target(), prompt(seed=seed), 24) for seed in range(4)]
    model = target()
    drafter, greedy = quantspec(model, length=Constant(3)), model | es.temperature(0)
    made = [es.speculate(greedy, prompt(seed=s), es.stop.budget(24), drafter, GreedyMatch(), es.Rng(0)) for s in range(4)]
    assert [x.ids() for x in es.run(*made)] == alone


def test_what_has_no_two_levels_is_said_when_built():
    with pytest.raises(es.InvalidInput, match="one precision"):
        quantspec(transformer())
    with pytest.raises(es.InvalidInput, match="plain torch executor"):
        TwoLevelTransformer(transformer(eager=False))
    with pytest.raises(es.InvalidInput, match="plain torch executor"):
        TwoLevelTransformer(es.models.Table.random(vocab_size=3, depth=1, seed=0))  # type: ignore[arg-type]
    with pytest.raises(es.InvalidInput, match="at least 4"):
        target(2)
    with pytest.raises(es.InvalidInput, match="codes"):
        target().cached(prompt())
