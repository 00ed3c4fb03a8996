"""Folders as they are on the hub: defaults left out, scaled positions, heads of their own; the logits are transformers'."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import espalier as es
from espalier.errors import ContextOverflow, InvalidInput, LoadError
from espalier.models.executors.tree_as_batch import Paths
from espalier.models.families import Config

from .folders import apart, change, folder, gguf_file, ours, theirs

LONG = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "factor": 4.0,
    "short_factor": [1.0 + i / 8 for i in range(8)],
    "long_factor": [4.0 + i for i in range(8)],
    "original_max_position_embeddings": 128,
}


def test_gemma_whose_text_config_leaves_out_what_is_the_default() -> None:
    sizes = {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "sliding_window": 4096}
    place = folder("Gemma3", **sizes, max_position_embeddings=131072)
    whole = json.loads((place / "config.json").read_text())
    want = ours(es.load(place), [5, 6, 7])
    keep = ("hidden_size", "intermediate_size", "model_type", "num_hidden_layers", "vocab_size")
    few = {key: whole[key] for key in keep}
    (place / "config.json").write_text(json.dumps({"model_type": "gemma3", "eos_token_id": [258], "text_config": few}))
    lm = es.load(place)
    assert lm.context == 131072
    assert torch.equal(ours(lm, [5, 6, 7]), want)


@pytest.mark.parametrize("kind", ["Llama", "Mistral", "Qwen2", "Qwen3", "Gemma3"])
def test_every_default_is_the_one_of_transformers(kind: str) -> None:
    import transformers

    name = kind + ("TextConfig" if kind == "Gemma3" else "Config")
    default = getattr(transformers, name)()
    assert Config.from_hf({"model_type": default.model_type}) == Config.from_hf(default.to_dict())


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [
        ("Llama", {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}}),
        ("Llama", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}}),
        ("Llama", {"rope_parameters": LONG}),
        ("Qwen2", {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}}),
        ("Llama", {"hidden_act": "gelu"}),
        ("OPT", {"ffn_dim": 128, "word_embed_proj_dim": 64, "pad_token_id": 1}),
        ("GPT2", {"n_embd": 64, "n_layer": 2, "n_head": 4}),
        ("GPTNeoX", {"rotary_pct": 0.25}),
        ("Phi", {"partial_rotary_factor": 0.5}),
        ("StableLm", {"partial_rotary_factor": 0.25}),
        ("Bloom", {"n_layer": 2, "n_head": 4}),
        ("Falcon", {}),
        ("Llama4Text", {"pad_token_id": 1}),
        ("Mamba2", {"num_heads": 8, "head_dim": 16, "state_size": 16, "n_groups": 1, "chunk_size": 32}),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value)),
)
def test_logits_are_those_of_transformers(kind: str, sizes: dict[str, Any]) -> None:
    assert apart(folder(kind, **sizes)) < 1e-3


def yarn(**more: Any) -> dict[str, Any]:
    return {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 64, **more}


@pytest.mark.parametrize(
    ("rope", "trained", "context"),
    [
        (yarn(), 64, 256),
        (yarn(), 1024, 1024),
        ({"rope_type": "yarn", "rope_theta": 1e4, "factor": 2.0}, 64, 128),
        ({"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}, 64, 128),
        ({"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}, 64, 64),
        ({**LONG}, 512, 128),
        ({"rope_type": "default", "rope_theta": 1e4}, 64, 64),
        (
            {
                "rope_type": "llama3",
                "rope_theta": 1e4,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
            512,
            512,
        ),
    ],
)
def test_the_context_is_what_positions_and_scaling_give(rope: dict[str, Any], trained: int, context: int) -> None:
    lm = es.load(folder(max_position_embeddings=trained, rope_parameters=rope))
    assert lm.context == context
    with pytest.raises(ContextOverflow):
        lm.prompt(es.Prefix([5] * context))
    assert lm.prompt(es.Prefix([5] * (context - 1)))


@pytest.mark.parametrize("kind", ["linear", "yarn"])
def test_the_context_through_transformers_is_scaled_too(kind: str) -> None:
    rope = {"rope_type": kind, "rope_theta": 1e4, "factor": 4.0, "partial_rotary_factor": 0.5}
    place = folder("Phi", max_position_embeddings=64, rope_parameters=rope)
    assert es.load(place).context == 256
    assert apart(place, [(7 * i) % 250 for i in range(100)]) < 1e-3


def test_gemma_with_linear_scaling_is_not_scaled_again() -> None:
    ropes = {
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
    }
    assert es.load(folder("Gemma3", head_dim=16, rope_parameters=ropes, max_position_embeddings=64)).context == 64


def test_a_context_may_be_asked_for() -> None:
    place = folder(max_position_embeddings=64)
    assert es.load(place, context=16).context == 16
    assert es.load(place, context=128).context == 128
    with pytest.raises(InvalidInput, match="context"):
        es.load(place, context=1)
    with pytest.raises(InvalidInput, match="context"):
        es.load(place, context="x")  # type: ignore[arg-type]
    dynamic = folder(max_position_embeddings=64, rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0})
    with pytest.raises(LoadError, match="context=128 is more than 64"):
        es.load(dynamic, context=128)
    assert es.load(folder("GPT2", n_embd=64, n_layer=1, n_head=4, n_positions=64), context=32).context == 32


def test_longrope_beyond_its_first_context_has_the_long_factors() -> None:
    place = folder(rope_parameters=LONG)
    ids = [(7 * i) % 250 for i in range(200)]
    far = es.load(place, context=512)
    assert far.context == 512
    assert float((ours(far, ids) - theirs(place, ids)).abs().max()) < 1e-3


def test_the_first_context_may_stand_outside_of_the_scaling() -> None:
    rope = {key: value for key, value in LONG.items() if key != "original_max_position_embeddings"}
    change_to = {"rope_parameters": None, "rope_scaling": rope, "original_max_position_embeddings": 128}
    assert es.load(folder(config=change_to)).context == 128


def test_a_stored_head_is_used_under_a_tied_config_and_that_is_told() -> None:
    place = folder(tie_word_embeddings=True)
    weights = load_file(place / "model.safetensors")
    weights["lm_head.weight"] = weights["model.embed_tokens.weight"].clone()
    save_file(weights, place / "model.safetensors", metadata={"format": "pt"})
    assert apart(place) < 1e-3
    weights["lm_head.weight"] = torch.randn(259, 64)
    save_file(weights, place / "model.safetensors", metadata={"format": "pt"})
    with pytest.warns(UserWarning, match="the stored head is used"):
        assert apart(place) < 1e-3


def test_what_transformers_runs_path_by_path() -> None:
    lm = es.load(folder("OPT", ffn_dim=128, word_embed_proj_dim=64, pad_token_id=1))
    assert isinstance(lm.model, Paths)
    assert len(lm.complete("hi", max_tokens=3).tokens) == 3


def test_keys_that_matter_are_never_passed_over() -> None:
    with pytest.raises(LoadError, match="partial_rotary_factor"):
        es.load(folder(config={"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.5}}))
    with pytest.raises(LoadError, match="use_bidirectional_attention"):
        es.load(folder("Gemma3", head_dim=16, config={"use_bidirectional_attention": True}))
    for method in ("gptq", "awq", "bitsandbytes"):
        with pytest.raises(LoadError, match=f"{method}.*quantization_config"):
            es.load(folder(config={"quantization_config": {"quant_method": method, "bits": 4}}))


def test_how_weights_are_stored_may_be_said_inside_of_the_text_config() -> None:
    place = folder("Gemma3", head_dim=16)
    whole = json.loads((place / "config.json").read_text())
    whole["quantization_config"] = {"quant_method": "awq", "bits": 4}
    (place / "config.json").write_text(json.dumps({"model_type": "gemma3", "text_config": whole}))
    with pytest.raises(LoadError, match=r"awq.*quantization_config"):
        es.load(place)


WRONG: list[dict[str, Any]] = [
    {"vocab_size": "x"},
    {"vocab_size": 2147483648},
    {"vocab_size": -1},
    {"vocab_size": True},
    {"vocab_size": 1.5},
    {"hidden_size": "big"},
    {"hidden_size": 0},
    {"hidden_size": float("nan")},
    {"num_hidden_layers": 10**9},
    {"num_attention_heads": [4]},
    {"num_key_value_heads": 3},
    {"head_dim": -2},
    {"head_dim": 15},
    {"rms_norm_eps": float("nan")},
    {"rms_norm_eps": "1e-5"},
    {"rms_norm_eps": float("inf")},
    {"max_position_embeddings": "512"},
    {"max_position_embeddings": 10**18},
    {"rope_parameters": 1},
    {"rope_parameters": [1]},
    {"rope_parameters": {"rope_type": "yarn", "factor": "x"}},
    {"rope_parameters": {"rope_type": "yarn", "factor": float("nan")}},
    {"rope_parameters": {"rope_type": "llama3", "factor": 8.0}},
    {"rope_parameters": {"rope_type": 5}},
    {"rope_parameters": {"rope_type": "longrope", "short_factor": [1.0], "long_factor": [1.0]}},
    {"text_config": []},
    {"text_config": 5},
    {"eos_token_id": "x"},
    {"eos_token_id": [1, "x"]},
    {"eos_token_id": {"a": 1}},
    {"eos_token_id": 1.5},
    {"layer_types": ["full_attention"]},
    {"layer_types": 5},
    {"layer_types": ["x", "y"]},
    {"tie_word_embeddings": "yes"},
    {"hidden_act": 5},
    {"hidden_act": "no_such"},
    {"model_type": None},
    {"model_type": 5},
    {"model_type": []},
    {"model_type": "no_such"},
    {"quantization_config": 5},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_wrong_setting_is_named_with_its_file(wrong: dict[str, Any]) -> None:
    with pytest.raises(LoadError, match=r"config\.json") as caught:
        es.load(folder(config=wrong))
    assert next(iter(wrong)) in str(caught.value) or "rotary embedding" in str(caught.value) or "head_dim" in str(caught.value)


def test_wrong_settings_through_transformers_are_ours_too() -> None:
    for wrong in ({"n_head": "x"}, {"n_embd": -1}, {"n_layer": None}, {"activation_function": "no"}, {"n_positions": []}):
        with pytest.raises(LoadError):
            es.load(folder("GPT2", n_embd=64, n_layer=1, n_head=4, config=wrong))


def test_the_old_spelling_of_scaling_is_checked_too() -> None:
    for wrong in (1, "x", [1], {"type": "linear", "factor": "x"}):
        place = folder()
        change(place / "config.json", {"rope_scaling": wrong, "rope_theta": 1e4}, drop=["rope_parameters"])
        with pytest.raises(LoadError, match=r"config\.json: rope_scaling"):
            es.load(place)


def test_an_adapter_alone_is_named() -> None:
    place = folder()
    (place / "config.json").rename(place / "adapter_config.json")
    with pytest.raises(LoadError, match=r"es\.load\(base, lora="):
        es.load(place)


def test_the_helper_for_gguf_files_gives_a_whole_model() -> None:
    assert len(es.load(gguf_file()).complete("hi", max_tokens=3).tokens) == 3
