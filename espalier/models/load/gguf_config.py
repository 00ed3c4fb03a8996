"""The settings in a GGUF file as a Hugging Face configuration: every key that changes the arithmetic is read or refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from espalier.errors import LoadError
from espalier.models.families import Family
from espalier.models.rope import Positive, Rope, RopeSettings, Share
from espalier.text.json_files import checked

__all__ = ["hf_config", "special_ids"]

Count = Annotated[int, Field(gt=0, le=1 << 20)]

# Keys that change the arithmetic of other families; here they must be absent or say nothing.
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "expert_count": (0,),
    "logit_scale": (0.0, 1.0),
    "residual_scale": (0.0, 1.0),
    "embedding_scale": (0.0, 1.0),
    "attention.scale": (0.0,),
    "attention.clamp_kqv": (0.0,),
    "attention.max_alibi_bias": (0.0,),
    "attention.causal": (True,),
    "attention.group_norm_groups": (0,),
    "rope.dimension_sections": (),
    "use_parallel_residual": (False,),
}


class _Keys(BaseModel):
    """The keys of one architecture, without its name in front; dots are underscores."""

    model_config = ConfigDict(extra="ignore", strict=True)
    context_length: Annotated[int, Field(gt=0, le=1 << 30)]
    embedding_length: Count
    block_count: Annotated[int, Field(gt=0, le=1 << 12)]
    feed_forward_length: Count
    attention_head_count: Annotated[int, Field(gt=0, le=1 << 12)]
    attention_head_count_kv: Annotated[int, Field(gt=0, le=1 << 12)] | None = None
    attention_key_length: Annotated[int, Field(gt=0, le=1 << 14)] | None = None
    attention_value_length: Annotated[int, Field(gt=0, le=1 << 14)] | None = None
    attention_layer_norm_rms_epsilon: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
    attention_sliding_window: Annotated[int, Field(ge=0, le=1 << 30)] | None = None
    attn_logit_softcapping: Share | None = None
    final_logit_softcapping: Share | None = None
    rope_freq_base: Positive | None = None
    rope_freq_base_swa: Positive | None = None
    rope_dimension_count: Annotated[int, Field(gt=0, le=1 << 14)] | None = None
    rope_scale_linear: Share | None = None
    rope_scaling_type: str | None = None
    rope_scaling_factor: Share | None = None
    rope_scaling_original_context_length: Annotated[int, Field(gt=0, le=1 << 30)] | None = None
    rope_scaling_attn_factor: Positive | None = None
    rope_scaling_yarn_beta_fast: Positive | None = None
    rope_scaling_yarn_beta_slow: Positive | None = None
    vocab_size: Annotated[int, Field(gt=0)] | None = None


def _decimal(value: float) -> float:
    """The shortest decimal number that is this float32: the 1e-05 that was meant by 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def hf_config(
    metadata: Mapping[str, Any], family: Family, where: str, tensors: Mapping[str, Any], freqs: torch.Tensor | None
) -> dict[str, Any]:
    """The `config.json` that the metadata of a GGUF file means. `freqs` is the tensor `rope_freqs.weight`, if there is one.

    Raises `LoadError` that names the key: for values that make no sense, and for settings that are not done here.
    """
    prefix = f"{family.gguf}."
    given = {key.removeprefix(prefix): value for key, value in metadata.items() if key.startswith(prefix)}
    for key, nothing in NEUTRAL.items():
        if key in given and given[key] not in nothing:
            raise LoadError(
                f"{where}: {prefix}{key} is {given[key]!r:.80}, which is not known for this family; load the HF folder"
            )
    keys = _checked_keys(given, where, prefix)
    heads = keys.attention_head_count
    head_dim = keys.attention_key_length or keys.embedding_length // heads
    if (keys.attention_value_length or head_dim) != head_dim:
        raise LoadError(f"{where}: {prefix}attention.value_length is {keys.attention_value_length}, the keys have {head_dim}")
    theta = _decimal(keys.rope_freq_base or (1e6 if family.gemma else 1e4))
    config: dict[str, Any] = {
        "model_type": family.model_type,
        "architectures": [family.architecture],
        "vocab_size": tensors["token_embd.weight"].shape[0],
        "hidden_size": keys.embedding_length,
        "intermediate_size": keys.feed_forward_length,
        "num_hidden_layers": keys.block_count,
        "num_attention_heads": heads,
        "num_key_value_heads": keys.attention_head_count_kv or heads,
        "head_dim": head_dim,
        "hidden_act": "silu",
        "max_position_embeddings": keys.context_length,
        "rms_norm_eps": _decimal(keys.attention_layer_norm_rms_epsilon),
        "rope_theta": theta,
        "tie_word_embeddings": "output.weight" not in tensors,
        "torch_dtype": "float32",
        **special_ids(metadata, where),
    }
    turned = keys.rope_dimension_count or head_dim
    if turned > head_dim or turned % 2:
        raise LoadError(f"{where}: {prefix}rope.dimension_count is {turned}, a head has {head_dim} dimensions")
    if turned < head_dim:
        config["rotary_dim"] = turned
    if scaling := _scaling(keys, where, prefix, turned, theta, freqs):
        config["rope_scaling"] = scaling
    if family.gemma:
        _gemma(config, keys, where, prefix)
    elif keys.attn_logit_softcapping or keys.final_logit_softcapping:
        raise LoadError(f"{where}: {prefix}final_logit_softcapping is not known for this family; load the HF folder")
    elif 0 < (keys.attention_sliding_window or 0) < keys.context_length:
        raise LoadError(f"{where}: {prefix}attention.sliding_window is not known for this family; load the HF folder")
    elif family.gguf == "llama":
        config["attention_bias"] = "blk.0.attn_q.bias" in tensors
    elif family.gguf == "qwen2":
        config["use_sliding_window"] = False
    return config


def _checked_keys(given: Mapping[str, Any], where: str, prefix: str) -> _Keys:
    known = {name.replace(".", "_"): value for name, value in given.items()}
    try:
        return checked(_Keys, known, where)
    except LoadError as error:
        text = str(error)
        for name in _Keys.model_fields:  # as the file spells it
            dotted = next((key for key in given if key.replace(".", "_") == name), _dotted(name))
            text = text.replace(f": {name} is wrong", f": {prefix}{dotted} is wrong")
        raise LoadError(text) from None


def _dotted(name: str) -> str:
    for group in ("rope_scaling_", "attention_", "rope_"):
        if name.startswith(group):
            return group[:-1].replace("_", ".") + "." + name.removeprefix(group)
    return name


def special_ids(metadata: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The ids of tokens with a part to play, under the names of a `config.json`; several end tokens are a list."""
    found: dict[str, int] = {}
    for name in ("bos", "eos", "padding", "eot", "eom"):
        key = f"tokenizer.ggml.{name}_token_id"
        value = metadata.get(key)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise LoadError(f"{where}: {key} is {value!r:.80}, not the number of a token")
        if value is not None:
            found[name] = value
    ends = list(dict.fromkeys(found[name] for name in ("eos", "eot", "eom") if name in found))
    ids: dict[str, Any] = {}
    if "bos" in found:
        ids["bos_token_id"] = found["bos"]
    if ends:
        ids["eos_token_id"] = ends[0] if len(ends) == 1 else ends
    if "padding" in found:
        ids["pad_token_id"] = found["padding"]
    return ids


def _scaling(
    keys: _Keys, where: str, prefix: str, turned: int, theta: float, freqs: torch.Tensor | None
) -> dict[str, Any] | None:
    """Rope scaling as Hugging Face names it; Llama 3.1 stores one factor per frequency, from which its parameters are found."""
    if freqs is not None:
        return _per_frequency(keys, where, turned, theta, freqs.double().flatten())
    kind = keys.rope_scaling_type
    factor = _decimal(keys.rope_scaling_factor or 0.0)
    if kind is None and keys.rope_scale_linear and keys.rope_scale_linear != 1.0:
        return {"rope_type": "linear", "factor": _decimal(keys.rope_scale_linear)}
    if kind in (None, "none") or (kind in ("linear", "yarn") and factor in (0.0, 1.0)):
        return None
    if kind == "linear":
        return {"rope_type": "linear", "factor": factor}
    if kind != "yarn":
        raise LoadError(f"{where}: {prefix}rope.scaling.type is {kind!r}, which is not known here; load the HF folder")
    scaling: dict[str, Any] = {"rope_type": "yarn", "factor": factor}
    scaling["original_max_position_embeddings"] = keys.rope_scaling_original_context_length or keys.context_length
    if keys.rope_scaling_yarn_beta_fast:
        scaling["beta_fast"] = _decimal(keys.rope_scaling_yarn_beta_fast)
    if keys.rope_scaling_yarn_beta_slow:
        scaling["beta_slow"] = _decimal(keys.rope_scaling_yarn_beta_slow)
    if keys.rope_scaling_attn_factor:  # llama.cpp multiplies yarn's own factor by it
        scaling["attention_factor"] = _decimal(keys.rope_scaling_attn_factor) * (1 + 0.1 * math.log(max(factor, 1.0)))
    return scaling


def _per_frequency(keys: _Keys, where: str, turned: int, theta: float, factors: torch.Tensor) -> dict[str, Any]:
    if len(factors) != turned // 2 or not bool((factors.isfinite() & (factors > 0)).all()):
        raise LoadError(f"{where}: rope_freqs.weight has {len(factors)} factors, not {turned // 2} numbers above 0")
    llama3 = {
        "rope_type": "llama3",
        "factor": _decimal(float(factors.max())),
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    plain = Rope(theta).frequencies(turned).double()
    known = Rope.of(theta, RopeSettings.model_validate(llama3), keys.context_length, keys.context_length)
    if torch.allclose(plain / known.frequencies(turned).double(), factors, rtol=1e-4):
        return llama3
    each = [float(factor) for factor in factors]
    return {
        "rope_type": "longrope",
        "short_factor": each,
        "long_factor": each,
        "attention_factor": 1.0,
        "original_max_position_embeddings": keys.context_length,
    }


def _gemma(config: dict[str, Any], keys: _Keys, where: str, prefix: str) -> None:
    layers = config["num_hidden_layers"]
    if not keys.attention_sliding_window:
        raise LoadError(f"{where} does not say {prefix}attention.sliding_window; the file is damaged or of an unknown kind")
    del config["hidden_act"]
    config |= {
        "hidden_activation": "gelu_pytorch_tanh",
        # llama.cpp scales by the width of a head, except for the 27B model (62 layers), which uses hidden size / heads.
        "query_pre_attn_scalar": config["hidden_size"] // config["num_attention_heads"] if layers == 62 else config["head_dim"],
        "sliding_window": keys.attention_sliding_window,
        "rope_local_base_freq": _decimal(keys.rope_freq_base_swa or 10000.0),
        "layer_types": ["full_attention" if (i + 1) % 6 == 0 else "sliding_attention" for i in range(layers)],
        "attention_bias": False,
        "attn_logit_softcapping": keys.attn_logit_softcapping or None,
        "final_logit_softcapping": keys.final_logit_softcapping or None,
    }
