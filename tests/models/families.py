"""Small random models of every family, as transformers makes them."""

from __future__ import annotations

import copy
import functools
from typing import Any

import torch

COMMON: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "head_dim": 32,
}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"model_type": "llama", "tie_word_embeddings": True},
    "llama3": {"model_type": "llama", "rope_scaling": LLAMA3, "rope_theta": 500000.0, "attention_bias": True, "mlp_bias": True},
    "llama-linear": {"model_type": "llama", "rope_scaling": {"rope_type": "linear", "factor": 4.0}},
    "mistral": {"model_type": "mistral", "sliding_window": 7},
    "qwen2": {"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1},
    "qwen2-yarn": {
        "model_type": "qwen2",
        "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32},
    },
    "qwen3": {"model_type": "qwen3", "num_attention_heads": 6, "num_key_value_heads": 3},
    "gemma3": {
        "model_type": "gemma3_text",
        "sliding_window": 6,
        "num_hidden_layers": 4,
        "layer_types": ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
        "query_pre_attn_scalar": 24,
        "final_logit_softcapping": 3.0,
        "attn_logit_softcapping": 2.0,
        "tie_word_embeddings": True,
    },
}

HEADS: dict[str, dict[str, Any]] = {  # heads of other sizes, and how many of them share keys and values
    "3 of 64": {"model_type": "llama", "head_dim": 64, "num_attention_heads": 6, "num_key_value_heads": 2},
    "5 of 96": {
        "model_type": "mistral",
        "sliding_window": 40,
        "head_dim": 96,
        "num_attention_heads": 5,
        "num_key_value_heads": 1,
    },
    "1 of 16": {"model_type": "llama", "head_dim": 16, "num_attention_heads": 2, "num_key_value_heads": 2},
    "2 of 288": {"model_type": "llama", "head_dim": 288, "num_attention_heads": 4, "num_key_value_heads": 2},
}


def peer(name: str) -> Any:
    """Returns transformers' model of the family with random weights whose logits are of order one; the caller's to change."""
    return copy.deepcopy(_made(name))


@functools.cache
def _made(name: str) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    kind = dict((FAMILIES | HEADS)[name])
    config = AutoConfig.for_model(kind.pop("model_type"), **{**COMMON, **kind})
    config._attn_implementation = "eager"
    model = AutoModelForCausalLM.from_config(config).eval()
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        spread = 0.3 if parameter.dim() == 1 else 1.5 * parameter.shape[-1] ** -0.5
        noise = torch.randn(parameter.shape, generator=generator) * spread
        parameter.data = parameter.data * (parameter.dim() == 1) + noise
    return model
