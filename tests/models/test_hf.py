"""Models of transformers that our own executor does not know: the same answers on trees as on plain text."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from espalier.errors import InvalidInput, LoadError
from espalier.models.executors.transformers import from_transformers
from espalier.prefix import Prefix
from espalier.rng import Rng
from espalier.testing import check_kv

from .families import COMMON
from .test_transformer import chain, tokens

MODELS: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 48, "n_layer": 3, "n_head": 4, "vocab_size": 97, "n_positions": 256},
    "gpt_neox": COMMON | {"rotary_pct": 0.25},
    "phi3": COMMON | {"pad_token_id": 0, "sliding_window": 6},
    "gemma2": COMMON | {"sliding_window": 6, "attn_logit_softcapping": 5.0, "final_logit_softcapping": 4.0},
    "cohere": COMMON | {"logit_scale": 0.3},
    "olmo2": COMMON | {"eos_token_id": 1, "pad_token_id": 0},
    "mixtral": COMMON | {"num_local_experts": 4, "sliding_window": 9},
    "gpt_oss": COMMON | {"num_local_experts": 4, "sliding_window": 5},
    "deepseek_v3": COMMON
    | {
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "n_group": 1,
        "topk_group": 1,
        "moe_intermediate_size": 16,
        "kv_lora_rank": 16,
        "q_lora_rank": 24,
        "head_dim": 8,
        "num_key_value_heads": 4,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 16,
        "v_head_dim": 12,
        "first_k_dense_replace": 1,
    },
    "llama": COMMON,
}


def peer(kind: str) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **MODELS[kind])).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=1.2 * parameter.shape[-1] ** -0.5)
    return model


@pytest.mark.parametrize("kind", MODELS)
def test_answers_are_those_of_the_model_itself(kind: str) -> None:
    model = peer(kind)
    ids = tokens(30)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        expected = model(torch.tensor([ids]), output_hidden_states=True)
    ours = from_transformers(model)
    rows = ours.forward(chain(ids, 20), frozenset({"hidden", "layers"}))
    assert float((rows.logits - expected.logits[0, 19:]).abs().max()) <= 1e-4
    assert float((rows.extras["hidden"] - expected.hidden_states[-1][0, 19:]).abs().max()) <= 1e-4
    for layer in range(ours.executor.layers):
        assert float((rows.extras["layers"][:, layer] - expected.hidden_states[layer][0, 19:]).abs().max()) <= 1e-4
    torch.testing.assert_close(ours.read(rows.extras["layers"][:, -1]), rows.logits, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["gpt2", "gemma2", "deepseek_v3"])
def test_kv_laws(kind: str) -> None:
    check_kv(from_transformers(peer(kind)), Rng(5))


def test_a_part_of_the_layers() -> None:
    model = peer("gemma2")
    whole = from_transformers(model)
    part = whole.partial([0, 2])
    x = Prefix(tokens(20))
    before = whole.forward([x], frozenset()).logits
    rows = part.forward([x], frozenset({"layers"}))
    assert rows.extras["layers"].shape == (1, 3, 48)
    assert torch.equal(whole.forward([Prefix(x.ids())], frozenset()).logits, before) or torch.allclose(
        whole.forward([Prefix(x.ids())], frozenset()).logits, before, atol=1e-5
    )
    cut = peer("gemma2")
    cut.model.layers = torch.nn.ModuleList([cut.model.layers[0], cut.model.layers[2]])
    cut.config.num_hidden_layers = 2
    cut.config.layer_types = [cut.config.layer_types[0], cut.config.layer_types[2]]
    cut.set_attn_implementation("eager")
    with torch.no_grad():
        expected = cut(torch.tensor([x.ids()]), use_cache=False).logits[0, -1]
    assert float((rows.logits[0] - expected).abs().max()) <= 1e-4


def test_what_cannot_follow_a_tree_is_refused() -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    mamba = AutoConfig.for_model("mamba", vocab_size=97, hidden_size=32, num_hidden_layers=2, state_size=4)
    with pytest.raises(LoadError):
        from_transformers(AutoModelForCausalLM.from_config(mamba))
    bloom = AutoConfig.for_model("bloom", vocab_size=97, hidden_size=32, n_layer=2, n_head=2)
    with pytest.raises(LoadError):
        from_transformers(AutoModelForCausalLM.from_config(bloom))


def test_the_model_must_not_be_called_past_us() -> None:
    model = peer("olmo2")
    from_transformers(model)
    with pytest.raises(InvalidInput, match="belongs"):
        model(torch.tensor([[1, 2, 3]]))


def test_a_folder_of_another_family_is_loaded_through_transformers(tmp_path: Path, shared_tokenizer: Path) -> None:
    """`load` gives a model that answers as transformers does."""
    import espalier as es

    model = peer("olmo2")
    model.save_pretrained(tmp_path)
    shutil.copy(shared_tokenizer, tmp_path / "tokenizer.json")
    ids = tokens(20)
    with torch.no_grad():
        expected = model(torch.tensor([ids])).logits[0, -1]
    lm = es.load(tmp_path, device="cpu")
    assert float((lm.model.forward([Prefix(ids)], frozenset()).logits[0] - expected).abs().max()) <= 1e-4
    with pytest.raises(InvalidInput, match="int8"):
        es.load(tmp_path, dtype="int8", device="cpu")


@pytest.fixture
def shared_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer.json over 97 byte-like tokens."""
    from tokenizers import Tokenizer, decoders, models

    place = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer = Tokenizer(models.BPE({chr(33 + i): i for i in range(94)}, []))
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(place))
    return place
