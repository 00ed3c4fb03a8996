"""Our transformers equal transformers' on the same weights; the laws of packed passes hold for both executors."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from espalier.errors import ContextOverflow, InvalidInput, LoadError
from espalier.models.executors import native
from espalier.models.families import Config
from espalier.models.transformer import Transformer
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.testing import check_kv, check_scorer

from .families import FAMILIES, peer

EXECUTORS = [
    "eager",
    pytest.param("native", marks=pytest.mark.skipif(not native.available(), reason="native kernels not built")),
]


def ours(model: Any, executor: str = "eager", dtype: torch.dtype | str = torch.float32, **options: Any) -> Transformer:
    config = Config.from_hf(model.config.to_dict())
    return Transformer.from_weights(config, model.state_dict(), dtype, eager=executor == "eager", **options)


def tokens(count: int, seed: int = 1) -> list[int]:
    return torch.randint(0, 97, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


def chain(ids: list[int], first: int) -> list[Prefix]:
    """The prefixes of `ids` from length `first` on."""
    prefixes = [Prefix(ids[:first])]
    for token in ids[first:]:
        prefixes.append(prefixes[-1] + token)
    return prefixes


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_and_taps_equal_transformers(family: str, executor: str) -> None:
    model = peer(family)
    ids = tokens(80)
    softcap = getattr(model.config, "attn_logit_softcapping", None)
    extra = (
        {} if softcap is None else {"softcap": softcap}
    )  # transformers 5.23 stores Gemma 3's cap but does not apply it by itself
    with torch.no_grad():
        expected = model(torch.tensor([ids]), output_hidden_states=True, **extra)
    rows = ours(model, executor).forward(chain(ids, 40), frozenset({"hidden", "layers"}))
    assert float((rows.logits - expected.logits[0, 39:]).abs().max()) <= 1e-4
    assert float((rows.extras["hidden"] - expected.hidden_states[-1][0, 39:]).abs().max()) <= 1e-4
    for layer in range(model.config.num_hidden_layers):
        assert float((rows.extras["layers"][:, layer] - expected.hidden_states[layer][0, 39:]).abs().max()) <= 1e-4


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("family", FAMILIES)
def test_kv_laws(family: str, executor: str) -> None:
    model = ours(peer(family), executor)
    check_kv(model, Rng(5), tolerance=1e-4 if executor == "eager" else 0.0)
    check_scorer(model, chain(tokens(20), 14), 1e-5)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_the_last_layer_read_is_the_answer(executor: str) -> None:
    model = ours(peer("gemma3"), executor)
    rows = model.forward(chain(tokens(12), 8), frozenset({"layers"}))
    torch.testing.assert_close(model.read(rows.extras["layers"][:, -1]), rows.logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_partial_model_is_the_model_with_fewer_layers(executor: str) -> None:
    full = peer("qwen3")
    part = ours(full, executor).partial([0, 2])
    cut = peer("qwen3")
    cut.model.layers = torch.nn.ModuleList([cut.model.layers[0], cut.model.layers[2]])
    cut.model.layers[1].self_attn.layer_idx = 1
    ids = tokens(15)
    with torch.no_grad():
        cut.config.num_hidden_layers = 2
        expected = cut(torch.tensor([ids]), use_cache=False).logits[0, -1]
    assert float((part.forward([Prefix(ids)], frozenset()).logits[0] - expected).abs().max()) <= 1e-4
    assert part.kv.keys.shape[0] == 2


@pytest.mark.parametrize("executor", EXECUTORS)
def test_taps_can_be_trained_on(executor: str) -> None:
    model = ours(peer(next(iter(FAMILIES))), executor)
    layers = model.forward([Prefix(tokens(5))], frozenset({"layers"})).extras["layers"]
    head = torch.nn.Linear(layers.shape[-1], 1)
    head(layers[:, -1]).sum().backward()
    assert head.weight.grad is not None


@pytest.mark.parametrize("executor", EXECUTORS)
def test_long_prompts_in_chunks(executor: str) -> None:
    model = peer("mistral")
    ids = tokens(200)
    whole = ours(model, executor).forward([Prefix(ids)], frozenset()).logits
    chunked = ours(model, executor, chunk=17).forward([Prefix(ids)], frozenset()).logits
    assert float((whole - chunked).abs().max()) <= (1e-4 if executor == "eager" else 0.0)


def test_reduced_precision_is_close() -> None:
    model = peer("llama")
    exact = ours(model).forward([Prefix(tokens(30))], frozenset()).logits
    for dtype, bound in ((torch.bfloat16, 0.2), (torch.float16, 0.02)):
        rough = ours(model, "eager", dtype).forward([Prefix(tokens(30))], frozenset()).logits
        assert 0 < float((rough - exact).abs().max()) < bound


def test_what_cannot_work_is_refused_and_leaves_the_pool_as_it_was() -> None:
    model = ours(peer("llama"))
    with pytest.raises(InvalidInput, match="empty"):
        model.forward([Prefix()], frozenset())
    with pytest.raises(ContextOverflow, match="512"):
        model.forward([Prefix([1] * 513)], frozenset())
    with pytest.raises(InvalidInput, match="cannot give"):
        model.forward([Prefix([1])], frozenset({"thoughts"}))
    with pytest.raises(InvalidInput, match="vocabulary"):
        model.forward([Prefix([97])], frozenset())
    with pytest.raises(InvalidInput, match="layers"):
        model.partial([3])
    assert model.kv.used == 0


def test_weights_must_fit_the_config() -> None:
    model = peer("llama")
    config = Config.from_hf(model.config.to_dict())
    tensors = dict(model.state_dict())
    with pytest.raises(LoadError, match="shape"):
        Transformer.from_weights(config, tensors | {"model.norm.weight": torch.ones(3)}, eager=True)
    with pytest.raises(LoadError, match="not known"):
        Transformer.from_weights(config, tensors | {"model.layers.0.self_attn.sinks": torch.ones(3)}, eager=True)
    del tensors["model.layers.1.mlp.up_proj.weight"]
    with pytest.raises(LoadError, match="up_proj"):
        Transformer.from_weights(config, tensors, eager=True)
    with pytest.raises(LoadError, match="mamba"):
        Config.from_hf({"model_type": "mamba"})
