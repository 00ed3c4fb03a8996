"""Tiny random models of every family, as transformers builds them and as llama.cpp would store them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

from espalier.text.tokenizer import byte_of_character

SHAPE = {
    "vocab_size": 272,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 7,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 512,
    "bos_token_id": 256,
    "eos_token_id": 257,
    "pad_token_id": 257,
}
FAMILIES = {
    "llama": ("LlamaConfig", {"rope_theta": 5e5, "rms_norm_eps": 1e-5}),
    "qwen2": ("Qwen2Config", {"rope_theta": 1e6, "tie_word_embeddings": True}),
    "qwen3": ("Qwen3Config", {"rope_theta": 1e6}),
    "gemma3": ("Gemma3TextConfig", {"sliding_window": 16, "query_pre_attn_scalar": 32, "rope_local_base_freq": 1e4}),
}
NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
GEMMA = {
    "post_attention_layernorm": "post_attention_norm",
    "pre_feedforward_layernorm": "ffn_norm",
    "post_feedforward_layernorm": "post_ffw_norm",
}


def random_model(family: str, **changes: Any) -> Any:
    """A transformers model with small random weights (norms too, so that a lost or doubled norm shows)."""
    import transformers

    name, special = FAMILIES[family]
    config = getattr(transformers, name)(**{**SHAPE, **special, **changes})
    torch.manual_seed(7)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.2)
    return model


def _stored(family: str, name: str, tensor: torch.Tensor) -> tuple[str, np.ndarray[Any, Any]]:
    """The name and layout that llama.cpp's converter gives a tensor (its published rules, applied forwards)."""
    names = {**NAMES, **GEMMA} if family == "gemma3" else NAMES
    base, kind = name.rsplit(".", 1)
    if base.startswith("model.layers."):
        _, _, layer, inner = base.split(".", 3)
        target = f"blk.{layer}.{names[inner]}.{kind}"
    else:
        target = f"{names[base]}.{kind}"
    values = tensor.detach()
    if family == "llama" and (".q_proj" in name or ".k_proj" in name):
        heads = SHAPE["num_attention_heads" if ".q_proj" in name else "num_key_value_heads"]
        values = values.reshape(heads, 2, values.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(values.shape)
    if family == "gemma3" and base.endswith("norm"):
        values = values + 1
    return target, values.numpy()


def write_tokenizer(writer: gguf.GGUFWriter, pieces: int = SHAPE["vocab_size"]) -> None:
    """A byte-level vocabulary: 256 bytes, special tokens, and a few merges."""
    letters = {byte: character for character, byte in byte_of_character().items()}
    merges = ["t h", "th e", "i n", f"{letters[32]} the", "e r"]
    words = [letters[b] for b in range(256)] + ["<|im_start|>", "<|im_end|>"] + [m.replace(" ", "") for m in merges]
    words += [f"<unused{i}>" for i in range(pieces - len(words))]
    kinds = [3 if word.startswith("<") and len(word) > 2 else 1 for word in words]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(words)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(256)
    writer.add_eos_token_id(257)
    writer.add_chat_template(
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )


def write_gguf(path: Path, family: str, model: Any, quantize: gguf.GGMLQuantizationType | None = None) -> Path:
    """Writes a transformers model as a GGUF file; `quantize` applies to all matrices."""
    config = model.config
    writer = gguf.GGUFWriter(str(path), family)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(float(FAMILIES[family][1].get("rope_theta", 1e6)))
    if family == "gemma3":
        writer.add_sliding_window(config.sliding_window)
    write_tokenizer(writer)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        target, values = _stored(family, name, tensor)
        if quantize is not None and values.ndim == 2:
            writer.add_tensor(target, gguf.quantize(values, quantize), raw_dtype=quantize)
        else:
            writer.add_tensor(target, np.ascontiguousarray(values))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
