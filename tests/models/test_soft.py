"""Input embeddings, attention and gradients: what soft prefixes give, against tokens, transformers and finite differences."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from toys import transformer as tiny

import espalier as es
from espalier.errors import InvalidInput
from espalier.models.executors import native
from espalier.models.transformer import Transformer
from espalier.prefix import Prefix
from espalier.soft_prefix import Soft

from .families import peer
from .folders import folder
from .test_transformer import EXECUTORS, ours, tokens


def asked(model: es.Scorer, prefixes: list[Prefix], embeds: Any = None, want: Any = frozenset()) -> es.Rows:
    def once() -> Any:
        return (yield es.Ask(model, prefixes, frozenset(want), embeds))

    [rows] = es.run(once())
    return rows


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_embeddings_of_tokens_are_those_tokens(family: str, executor: str) -> None:
    model = ours(peer(family), executor)
    assert model.capabilities.embeddings
    ids = tokens(12)
    plain = asked(model, [Prefix(ids)]).logits
    for cut in (1, 7):
        soft = asked(model, [Prefix(ids[:cut])], [model.embed(ids[cut:])])
        assert torch.allclose(soft.logits, plain, atol=1e-5)
        after = asked(model, [soft.prefixes[0] + 5 + 6]).logits
        assert torch.allclose(after, asked(model, [Prefix([*ids, 5, 6])]).logits, atol=1e-5)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_mixtures_equal_transformers(executor: str) -> None:
    theirs = peer("llama")
    model, ids = ours(theirs, executor), tokens(9)
    mixed = 0.3 * model.embed([4, 5, 6]) + 0.7 * model.embed([7, 8, 9])
    with torch.no_grad():
        expected = theirs(inputs_embeds=torch.cat([model.embed(ids), mixed])[None]).logits[0, -1]
    again = asked(model, [Prefix(ids)] * 2, [mixed, model.embed([1])]).logits[0]
    assert torch.allclose(again, expected, atol=1e-4)


def test_soft_prefixes_share_nothing_and_survive_eviction() -> None:
    model = tiny(budget=40 * 2 * 2 * 32 * 4)  # keys and values of 40 tokens
    soft = Soft(model.embed([3, 4]) * 0.5, tokens=[3, 4])
    first = asked(model, [soft]).logits
    assert not torch.allclose(asked(model, [Prefix([3, 4])]).logits, first, atol=1e-3), "what tokens stand for is not shared"
    for seed in range(4):
        asked(model, [Prefix([t % 23 for t in tokens(30, seed)])])
    assert torch.allclose(asked(model, [soft]).logits, first, atol=1e-5)
    assert torch.allclose(asked(model, [soft + 5]).logits, asked(model, [soft], [model.embed([5])]).logits, atol=1e-5)


def test_embeddings_come_through_shapers_and_guides() -> None:
    model = tiny()
    row = asked(model * Odd() | es.temperature(0.5), [Prefix([1, 2])], [model.embed([3])])[0]
    plain = asked(model * Odd() | es.temperature(0.5), [Prefix([1, 2, 3])])[0]
    assert torch.allclose(row.dense(), plain.dense(), atol=1e-5)


class Odd(es.TokenConstraint):
    exactness = "exact"

    def start(self) -> int:
        return 0

    def advance(self, state: int, token: int) -> int | None:
        return 0 if token % 2 else None

    def mask(self, state: int) -> torch.Tensor:
        return torch.arange(23) % 2 == 1


def test_what_a_model_cannot_do_is_said() -> None:
    table = es.models.Table.random(5, 1, seed=0)
    with pytest.raises(InvalidInput, match="takes tokens alone"):
        es.Ask(table | es.top_k(2), [Prefix([1])], embeds=[torch.zeros(1, 4)])
    model = tiny()
    with pytest.raises(InvalidInput, match="1 tensors for 2 prefixes"):
        es.Ask(model, [Prefix([1]), Prefix([2])], embeds=[torch.zeros(1, 64)])
    with pytest.raises(InvalidInput, match="width 5 were given to a model of width 64"):
        asked(model, [Prefix([1])], [torch.zeros(1, 5)])
    with pytest.raises(InvalidInput, match=r"\[n, D\]"):
        es.Ask(model, [Prefix([1])], embeds=[torch.zeros(64)])
    if native.available():
        with pytest.raises(InvalidInput, match="eager"):
            asked(tiny(eager=False), [Prefix([1])], [torch.zeros(1, 64, requires_grad=True)])
        with pytest.raises(InvalidInput, match="cannot give"):
            asked(tiny(eager=False), [Prefix([1])], want={"attention"})


def test_a_model_is_loaded_eagerly_if_asked() -> None:
    place = str(folder("Llama"))
    plain, eager = es.load(place, dtype="float32"), es.load(place, dtype="float32", eager=True)
    assert eager.model.capabilities.gradients
    assert es.Extra.ATTENTION in eager.model.capabilities.extras
    assert eager.generate(es.raw("a b"), max_tokens=6).text == plain.generate(es.raw("a b"), max_tokens=6).text
    decoder = es.decoders.Beam(3, coverage=0.2)
    assert len(eager.complete(es.raw("a b"), decoder=decoder, max_tokens=5).tokens) == 5
    if native.available():
        assert not plain.model.capabilities.gradients
        with pytest.raises(InvalidInput, match="attention"):
            plain.complete(es.raw("a b"), decoder=decoder, max_tokens=5)


def test_attention_is_that_of_transformers_up_to_the_origin() -> None:
    theirs = peer("llama")
    theirs.set_attn_implementation("eager")
    model, ids = ours(theirs), tokens(20)
    with torch.no_grad():
        every = torch.stack(theirs(torch.tensor([ids]), output_attentions=True).attentions).mean((0, 2))[0]
    x = Prefix(ids[:12])
    prefixes = [x, x + ids[12] + ids[13], Prefix(ids[:5]), (x + ids[12:]).given([])]
    told = asked(model, prefixes, want={"attention"}).extras["attention"]
    assert told.shape == (4, 20)
    for row, (last, given) in zip(told, [(11, 12), (13, 12), (4, 5), (19, 20)], strict=True):
        assert torch.allclose(row[:given], every[last, :given], atol=1e-5)
        assert not row[given:].any()


def test_attention_of_a_long_prompt_read_in_pieces() -> None:
    ids = [t % 23 for t in tokens(40)]
    whole, pieces = tiny(), tiny(chunk=7)
    x, y = Prefix(ids), Prefix(ids)
    first = asked(whole, [x, x + 1], want={"attention"}).extras["attention"]
    assert torch.allclose(asked(pieces, [y, y + 1], want={"attention"}).extras["attention"], first, atol=1e-5)


def test_coverage_on_a_transformer_ranks_by_what_was_attended_to() -> None:
    model, x, length = tiny(), Prefix([1, 2, 3, 4]), 2
    found = {}
    for a in range(23):
        y = x + a
        rows = asked(model, [x, y], want={"attention"})
        first, second = rows.logits.double().log_softmax(-1)
        covered = rows.extras["attention"].double().sum(0).clamp(max=1.0).log().sum()
        for b in range(23):
            found[a, b] = float(first[a] + second[b] + 3.0 * covered)
    best = max(found, key=found.__getitem__)
    decoder = es.decoders.Beam(23 * 23, norm=0.0, coverage=3.0)
    [hypotheses] = es.run(decoder(model, x, es.stop.budget(length), es.Rng(0)))
    assert tuple(hypotheses[0].prefix.written()) == best
    assert hypotheses[0].log_weight == pytest.approx(found[best], abs=1e-4)


def loss(model: Transformer, embeds: torch.Tensor, soft: list[Prefix] | None = None) -> torch.Tensor:
    x: Prefix = Prefix([1, 2])
    nodes = []
    for each in embeds:
        x = Soft(each[None], x)
        nodes.append(x)
    rows = asked(model, [*nodes, nodes[-1] + 7 + 8])
    return rows.logits.log_softmax(-1)[torch.arange(len(nodes) + 1), [3, 4, 5, 6][: len(nodes) + 1]].sum()


def test_gradients_are_those_of_finite_differences() -> None:
    model = tiny(chunk=2)
    embeds = torch.randn(3, 64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    [gradient] = torch.autograd.grad(loss(model, embeds), embeds)
    for seed in range(4):
        way = torch.randn(3, 64, generator=torch.Generator().manual_seed(9 + seed))
        with torch.no_grad():
            up, down = (float(loss(model, embeds + h * way)) for h in (1e-2, -1e-2))
        assert float((gradient * way).sum()) == pytest.approx((up - down) / 2e-2, rel=0.02, abs=0.02)
    assert not asked(model, [Prefix([1, 2, 3])]).logits.requires_grad
    assert not model.kv.keys.requires_grad


def test_keys_and_values_that_are_given_are_read_and_differentiable() -> None:
    model, ids = tiny(), [5, 6, 7, 8]
    x = Prefix(ids)
    plain = asked(model, [x, x + 9]).logits
    keys, values = model.cached(x)
    assert keys.shape == (2, 4, 32)
    again = Soft(tokens=ids, cache=(keys, values))
    assert torch.allclose(asked(model, [again + 9]).logits[0], plain[1], atol=1e-5)
    other = Soft(tokens=ids, cache=((keys * 0.5).requires_grad_(), values))
    moved = asked(model, [other + 9]).logits
    assert moved.requires_grad
    assert not torch.allclose(moved[0], plain[1], atol=1e-2)
    [gradient] = torch.autograd.grad(moved.log_softmax(-1)[0, 3], other.cache[0])
    assert bool(gradient.abs().sum() > 0)
    with pytest.raises(InvalidInput, match="no keys and values"):
        model.cached(Prefix([1, 1, 1]))
