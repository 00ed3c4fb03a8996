"""DoLa, DeCo and dynamic focus: their equations on a toy of layers, transformers' hidden states as reference, refusals."""

from __future__ import annotations

import math

import pytest
import torch
from layered import Layers
from torch.nn.functional import kl_div, log_softmax, softmax
from transformers import LlamaConfig, LlamaForCausalLM

import espalier as es
from espalier import shaping as s
from espalier.models.families import Config
from espalier.models.transformer import Transformer
from espalier.shaping.layers.dola import bucket

V = 6
MODEL = Layers.random(V, [1.2, 0.9, 0.7, 0.8, 0.6, 0.9], seed=5)
X = es.Prefix([1, 2])
STREAM = MODEL.forward([X], frozenset({"layers"})).extras["layers"][0]  # the head reads it as it is
LAST = STREAM[-1]


def row(scorer, x=X):
    def ask():
        [found] = yield es.Ask(scorer, [x])
        return found.logits

    [found] = es.run(ask())
    return found


def jsd(a, b):
    p, q = softmax(a, -1), softmax(b, -1)
    m = (p + q) / 2
    return float(0.5 * ((p * (p / m).log()).sum() + (q * (q / m).log()).sum()))


def swapped(a, b):
    m = (softmax(a, -1) + softmax(b, -1)) / 2
    kls = [kl_div(log_softmax(each, -1), m, reduction="none").mean(-1) for each in (a, b)]
    return float(0.5 * (kls[0] + kls[1]))


@pytest.mark.parametrize(("layers", "ids"), [("low", [0, 2]), ("high", [3, 5]), ([1, 4, 5], [1, 4, 5])])
@pytest.mark.parametrize("divergence", ["jsd", "swapped"])
def test_dola_is_its_equation(layers, ids, divergence):
    measure = jsd if divergence == "jsd" else swapped
    early = max(ids, key=lambda layer: measure(LAST, STREAM[layer]))
    expected = log_softmax(LAST, -1) - log_softmax(STREAM[early], -1)
    keep = LAST.max() + math.log(0.1) <= LAST
    found = row(s.dola(MODEL, layers, divergence=divergence))
    assert torch.allclose(found[keep], expected[keep], atol=1e-12)
    assert (found[~keep] < -9000).all()


def test_candidate_layers_are_those_of_the_authors():
    assert bucket("low", 32, False) == list(range(0, 16, 2))
    assert bucket("low", 32, True) == list(range(2, 16, 2))
    assert bucket("high", 32, True) == list(range(16, 32, 2))
    assert bucket("low", 80, False) == list(range(0, 20, 2))
    assert bucket("high", 80, False) == list(range(60, 80, 2))


def test_equal_layers_leave_the_plausible_tokens_alike_and_the_temperature_at_its_base():
    same = Layers([MODEL.tables[0], *(es.models.Table(V, 0, lambda context: torch.zeros(V)) for _ in range(3))])
    z = MODEL.tables[0].row((1, 2))
    keep = z >= z.max() + math.log(0.1)
    assert torch.allclose(softmax(row(s.dola(same, [1, 2])), -1), keep / keep.sum().double(), atol=1e-12)
    assert torch.allclose(row(s.dfd(same, 1.3, 0.5, layers=[1, 2, 3])), z / 1.3, atol=1e-12)


@pytest.mark.parametrize("alpha", [0.0, 0.6])
def test_deco_is_its_equation(alpha):
    p = softmax(LAST, -1)
    order = p.argsort(descending=True)[:4]
    mass = p[order].cumsum(-1)
    keep = order[: int((mass < 0.8).sum()) + 1]
    laws = softmax(STREAM[[2, 3, 4]], -1)
    at = laws[:, keep].amax(-1).argmax()
    expected = LAST + alpha * laws[at, keep].max() * STREAM[2 + int(at)]
    found = row(s.deco(MODEL, [2, 3, 4], alpha, top_p=0.8, top_k=4))
    assert torch.allclose(found[keep], expected[keep], atol=1e-12)
    assert int((found > -9000).sum()) == len(keep)
    assert s.deco(MODEL).layers == [4, 5]  # 5/8 to 7/8 of six layers


def test_dfd_is_its_equation_and_sharpens_where_layers_differ():
    keep = LAST.max() - math.log(10) < LAST
    ours = softmax(LAST[keep], -1)
    change = sum(float((ours * (ours / softmax(STREAM[layer][keep], -1)).log()).sum()) for layer in range(6)) / 6
    found = row(s.dfd(MODEL, base=1.1, sigma=0.25))
    assert torch.allclose(found, LAST / (1.1 * 0.5 ** (change / 0.25)), atol=1e-12)
    far = row(s.dfd(MODEL, 1.1, 0.25, layers=[0]))
    near = row(s.dfd(MODEL, 1.1, 0.25, layers=[5]))
    assert float(softmax(far, -1).max()) > float(softmax(near, -1).max())


def test_models_without_layers_are_refused_when_built():
    class Bare(es.Model):
        vocab_size = V

        def forward(self, prefixes, want):
            raise AssertionError("no pass is paid for")

    for build in (s.dola, s.deco, s.dfd):
        with pytest.raises(es.InvalidInput, match="reads 'layers' of each pass, which Bare does not give"):
            build(Bare())
        with pytest.raises(es.InvalidInput, match="has not; use a transformer"):
            build(es.models.Table.random(V, 1, 0))
        with pytest.raises(es.InvalidInput, match="given a scorer behind temperature"):
            build(MODEL | es.temperature(0.5))
        with pytest.raises(es.InvalidInput, match="is not below the last of 6"):
            build(MODEL, layers=[6])
    assert row(s.dola(MODEL | es.repetition(1.2), "high")).shape == (V,)


@pytest.fixture(scope="module")
def both():
    """A small Llama with random weights, in transformers and here."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=300, hidden_size=64, intermediate_size=96, num_hidden_layers=6, num_attention_heads=4,
        num_key_value_heads=2, initializer_range=0.15, tie_word_embeddings=True,
    )  # fmt: skip
    theirs = LlamaForCausalLM(config).eval()
    return theirs, Transformer.from_weights(Config.from_hf(config.to_dict()), theirs.state_dict())


TEXT = [5, 17, 203, 9, 44, 17, 203]


@pytest.mark.parametrize("layers", ["low", "high"])
def test_dola_as_released_is_that_of_transformers_hidden_states(both, layers):
    theirs, ours = both
    with torch.no_grad():
        out = theirs(torch.tensor([TEXT]), output_hidden_states=True)
        last = out.logits[0, -1]
        early = {layer: theirs.lm_head(out.hidden_states[layer][0, -1]) for layer in bucket(layers, 6, True)}
    best = max(early, key=lambda layer: swapped(last, early[layer]))
    keep = last >= last.max() + math.log(0.1)
    expected = (log_softmax(last, -1) - log_softmax(early[best], -1))[keep]
    found = row(s.dola(ours, layers, released=True), es.Prefix(TEXT))
    assert torch.allclose(found[keep], expected, atol=1e-4)
    assert torch.allclose(softmax(found, -1)[keep], softmax(expected, -1), atol=1e-5)
    assert int((found > -9000).sum()) == int(keep.sum())


def test_contrastive_search_is_that_of_transformers_hidden_states(both):
    theirs, ours = both
    with torch.no_grad():
        out = theirs(torch.tensor([TEXT]), output_hidden_states=True)
        p = softmax(out.logits[0, -1], -1)
        candidates = p.topk(4).indices.tolist()
        ahead = theirs(torch.tensor([[*TEXT, v] for v in candidates]), output_hidden_states=True).hidden_states[-1][:, -1]
    context = torch.nn.functional.normalize(out.hidden_states[-1][0], dim=-1)
    alike = (torch.nn.functional.normalize(ahead, dim=-1) @ context.T).amax(-1)
    x = es.Prefix(TEXT[:3]) + TEXT[3] + TEXT[4:]
    found = row(s.contrastive_search(ours, 4, 0.6), x)
    assert torch.allclose(found[candidates], 0.4 * p[candidates] - 0.6 * alike, atol=1e-5)
