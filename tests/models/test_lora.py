"""A merged adapter gives W + alpha / r · B A, in every matrix that it names, or is refused."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import espalier as es
from espalier.errors import LoadError

from .folders import change, folder, gguf_file, ours, theirs

TARGETS = ("self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj")


def adapter(base: Path, rank: int = 4, prefix: str = "base_model.model.", **settings: Any) -> Path:
    """A random adapter for a tiny Llama in a folder."""
    place = Path(tempfile.mkdtemp())
    said = {"peft_type": "LORA", "r": rank, "lora_alpha": 8, "target_modules": ["q_proj"], "bias": "none", **settings}
    (place / "adapter_config.json").write_text(json.dumps(said))
    torch.manual_seed(1)
    tensors: dict[str, torch.Tensor] = {}
    for name, weight in load_file(base / "model.safetensors").items():
        if any(target in name for target in TARGETS):
            at = prefix + name.removesuffix(".weight")
            tensors[f"{at}.lora_A.weight"] = torch.randn(rank, weight.shape[1]) * 0.1
            tensors[f"{at}.lora_B.weight"] = torch.randn(weight.shape[0], rank) * 0.1
            if settings.get("use_dora"):
                tensors[f"{at}.lora_magnitude_vector"] = torch.rand(weight.shape[0]) + 0.5
    save_file(tensors, place / "adapter_model.safetensors")
    return place


def by_hand(base: Path, place: Path, strength: float) -> Path:
    """A copy of the base with the adapter added, in a folder of its own."""
    copy = folder()
    weights = load_file(base / "model.safetensors")
    given = load_file(place / "adapter_model.safetensors")
    for name, weight in weights.items():
        at = "base_model.model." + name.removesuffix(".weight")
        if f"{at}.lora_A.weight" in given:
            weight = weight + strength * given[f"{at}.lora_B.weight"] @ given[f"{at}.lora_A.weight"]
            if (length := given.get(f"{at}.lora_magnitude_vector")) is not None:
                weight = length[:, None] * weight / weight.norm(dim=1, keepdim=True)
            weights[name] = weight.contiguous()
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    return copy


@pytest.mark.parametrize(
    ("settings", "strength"),
    [({}, 2.0), ({"use_rslora": True}, 8 / math.sqrt(4)), ({"use_dora": True}, 2.0), ({"lora_alpha": 1.5}, 1.5 / 4)],
    ids=["lora", "rslora", "dora", "alpha"],
)
def test_the_model_is_the_one_with_the_adapter_added_by_hand(settings: dict[str, Any], strength: float) -> None:
    base = folder()
    place = adapter(base, **settings)
    got = ours(es.load(base, lora=place), [5, 6, 7])
    assert float((got - theirs(by_hand(base, place, strength), [5, 6, 7])).abs().max()) < 1e-3
    assert float((got - theirs(base, [5, 6, 7])).abs().max()) > 0.05


def test_ranks_and_strengths_of_their_own(tmp_path: Path) -> None:
    base = folder()
    place = adapter(base)
    path = place / "adapter_model.safetensors"
    given = load_file(path)
    for name in [name for name in given if "down_proj.lora_" in name]:
        given[name] = torch.cat([given[name]] * 2, 0 if "lora_A" in name else 1)
    save_file(given, path)
    change(place / "adapter_config.json", {"rank_pattern": {"down_proj": 8}, "alpha_pattern": {"mlp.down_proj": 16}})
    want = by_hand(base, place, 2.0)
    assert float((ours(es.load(base, lora=place), [5, 6]) - theirs(want, [5, 6])).abs().max()) < 1e-3


def test_tensors_trained_whole_and_names_from_inside_the_model() -> None:
    base = folder()
    place = adapter(base)
    path = place / "adapter_model.safetensors"
    given = load_file(path)
    given["base_model.model.lm_head.weight"] = torch.randn(259, 64)
    save_file(given, path)
    lm = es.load(base, lora=place)
    copy = by_hand(base, place, 2.0)
    weights = load_file(copy / "model.safetensors")
    weights["lm_head.weight"] = given["base_model.model.lm_head.weight"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert float((ours(lm, [5, 6]) - theirs(copy, [5, 6])).abs().max()) < 1e-3


def test_a_head_of_its_own_for_a_model_whose_head_was_tied() -> None:
    base = folder(tie_word_embeddings=True)
    place = adapter(base)
    a, b = torch.randn(4, 64), torch.randn(259, 4)
    at = "base_model.model.lm_head"
    save_file({f"{at}.lora_A.weight": a, f"{at}.lora_B.weight": b}, place / "adapter_model.safetensors")
    embed = load_file(base / "model.safetensors")["model.embed_tokens.weight"]
    with pytest.warns(UserWarning, match="stored head"):
        lm = es.load(base, lora=place)
    x = es.Prefix([5, 6, 7])
    rows = lm.model.forward([x], frozenset({"hidden"}))
    assert torch.allclose(rows.logits[0], rows.extras["hidden"][0] @ (embed + 2 * b @ a).T, atol=1e-3)


def test_adapters_for_a_family_of_transformers_and_its_turned_matrices() -> None:
    base = folder("GPT2", n_embd=64, n_layer=1, n_head=4)
    whole = load_file(base / "model.safetensors")
    name = next(name for name in whole if name.endswith("c_attn.weight"))
    place = adapter(folder(), fan_in_fan_out=True)
    a, b = torch.randn(4, 64) * 0.2, torch.randn(192, 4) * 0.2
    at = "base_model.model." + name.removesuffix(".weight")
    save_file({f"{at}.lora_A.weight": a, f"{at}.lora_B.weight": b}, place / "adapter_model.safetensors")
    got = ours(es.load(base, lora=place), [5, 6, 7])
    save_file({**whole, name: whole[name] + 2 * (b @ a).T}, base / "model.safetensors", metadata={"format": "pt"})
    assert float((got - theirs(base, [5, 6, 7])).abs().max()) < 1e-3


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"peft_type": "IA3"}, "IA3"),
        ({"r": 0}, r"adapter_config\.json: r is wrong"),
        ({"r": "x"}, r"adapter_config\.json: r is wrong"),
        ({"lora_alpha": float("nan")}, "lora_alpha"),
        ({"r": 8}, "r 8"),
        ({"rank_pattern": []}, "rank_pattern"),
        ({"layer_replication": [[0, 1]]}, "peft_type"),
    ],
    ids=str,
)
def test_wrong_settings_are_named(settings: dict[str, Any], says: str) -> None:
    base = folder()
    place = adapter(base)
    change(place / "adapter_config.json", settings)
    with pytest.raises(LoadError, match=says):
        es.load(base, lora=place)


def test_adapters_that_do_not_fit_are_refused() -> None:
    base = folder()
    with pytest.raises(LoadError, match=r"changes 'model\.layers\.0.*trained for another"):
        es.load(folder("GPT2", n_embd=64, n_layer=1, n_head=4), lora=adapter(base))
    with pytest.raises(LoadError, match="they do not fit"):
        es.load(folder(hidden_size=32), lora=adapter(base))
    place = adapter(base)
    given = load_file(place / "adapter_model.safetensors")
    given.pop(next(name for name in given if "lora_B" in name))
    save_file(given, place / "adapter_model.safetensors")
    with pytest.raises(LoadError, match="belong together"):
        es.load(base, lora=place)
    (place / "adapter_model.safetensors").unlink()
    with pytest.raises(LoadError, match=r"adapter_model\.safetensors does not exist"):
        es.load(base, lora=place)
    with pytest.raises(LoadError, match=r"adapter_config\.json does not exist"):
        es.load(base, lora=base)


def test_a_gguf_model_takes_an_adapter_too() -> None:
    base, file = folder(num_attention_heads=4, num_key_value_heads=2), gguf_file()
    changed = ours(es.load(file, lora=adapter(base)), [5, 6, 7])
    assert float((changed - ours(es.load(file), [5, 6, 7])).abs().max()) > 0.01
