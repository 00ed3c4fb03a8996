"""Tiny random models in folders and files as people have them: a byte tokenizer, and whatever is laid over the settings."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

import espalier as es

CHATML = (
    "{% for m in messages %}<|im_start|>{{m.role}}\n{{m.content}}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
SIZES: dict[str, Any] = {
    "vocab_size": 259,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,
    "eos_token_id": 258,
    "bos_token_id": None,
    "pad_token_id": None,
}
BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())


def letters(*special: str) -> Tokenizer:
    """256 bytes, then the special tokens: 256 <|endoftext|>, 257 <|im_start|>, 258 <|im_end|>, 259 …"""
    tokenizer = Tokenizer(models.BPE(vocab={piece: id for id, piece in enumerate(BYTES)}, merges=[]))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    names = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", *special)
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    return tokenizer


def folder(
    kind: str = "Llama",
    tokenizer: Tokenizer | None = None,
    settings: Mapping[str, Any] | None = None,
    drop: Iterable[str] = (),
    config: Mapping[str, Any] | None = None,
    files: Mapping[str, Any] | None = None,
    **sizes: Any,
) -> Path:
    """transformers' class `kind` in a folder of its own; `settings` and `config` are laid over what would be written."""
    import transformers

    torch.manual_seed(0)
    shape = getattr(transformers, kind + ("TextConfig" if kind == "Gemma3" else "Config"))(**{**SIZES, **sizes})
    place = Path(tempfile.mkdtemp())
    transformers.AutoModelForCausalLM.from_config(shape).float().save_pretrained(place)
    (place / "generation_config.json").unlink(missing_ok=True)
    (tokenizer or letters()).save(str(place / "tokenizer.json"))
    base = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", "chat_template": CHATML}
    (place / "tokenizer_config.json").write_text(json.dumps({**base, **(settings or {})}))
    change(place / "config.json", config or {}, drop)
    for name, content in (files or {}).items():
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return place


def change(path: Path, over: Mapping[str, Any], drop: Iterable[str] = ()) -> Path:
    """The JSON file with these members laid over its own, without those in `drop`."""
    content = json.loads(path.read_text())
    for name in drop:
        content.pop(name, None)
    path.write_text(json.dumps({**content, **over}))
    return path


def theirs(place: Path, ids: Sequence[int]) -> torch.Tensor:
    """transformers' logits after these ids."""
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32, attn_implementation="eager").eval()
    with torch.inference_mode():
        logits: torch.Tensor = model(torch.tensor([list(ids)])).logits[0, -1].float()
    return logits


def ours(lm: es.LanguageModel, ids: Sequence[int]) -> torch.Tensor:
    """Our logits after these ids."""
    return lm.model.forward([es.Prefix(ids)], frozenset()).logits[0].float()


def apart(place: Path, ids: Sequence[int] = (5, 6, 7, 9, 200, 11)) -> float:
    """By how much our logits differ from transformers' for a folder."""
    return float((ours(es.load(place), ids) - theirs(place, ids)).abs().max())


def gguf_file(
    drop: Iterable[str] = (),
    kv: Mapping[str, Any] | None = None,
    tokens: Sequence[str] | None = None,
    arch: str = "llama",
    pre: str = "llama-bpe",
    eos: int = 258,
    template: str | None = CHATML,
) -> Path:
    """A tiny random Llama as a GGUF file: the 256 bytes, then <|begin|>, <|im_start|>, <|im_end|>, <|endoftext|>."""
    import gguf

    hidden, width, vocab, heads, kv_heads = 64, 128, 260, 4, 2
    path = Path(tempfile.mkdtemp()) / "m.gguf"
    writer, rng = gguf.GGUFWriter(path, arch), np.random.default_rng(0)
    writer.add_context_length(512)
    writer.add_embedding_length(hidden)
    writer.add_block_count(2)
    writer.add_feed_forward_length(width)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    names = list(tokens or [*BYTES, "<|begin|>", "<|im_start|>", "<|im_end|>", "<|endoftext|>"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(names)
    writer.add_token_types([1] * 256 + [3] * (len(names) - 256))
    writer.add_token_merges([])
    writer.add_bos_token_id(256)
    writer.add_eos_token_id(eos)
    if template:
        writer.add_chat_template(template)
    for key, value in (kv or {}).items():
        kinds = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
        kinds[type(value)](key, value)
    part = hidden // heads
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (vocab, hidden),
        "output_norm.weight": (hidden,),
        "output.weight": (vocab, hidden),
    }
    for layer in range(2):
        at = f"blk.{layer}."
        shapes |= {at + "attn_q.weight": (hidden, hidden), at + "attn_output.weight": (hidden, hidden)}
        shapes |= {at + "attn_k.weight": (kv_heads * part, hidden), at + "attn_v.weight": (kv_heads * part, hidden)}
        shapes |= {at + "attn_norm.weight": (hidden,), at + "ffn_norm.weight": (hidden,)}
        shapes |= {at + "ffn_gate.weight": (width, hidden), at + "ffn_up.weight": (width, hidden)}
        shapes |= {at + "ffn_down.weight": (hidden, width)}
    for name, shape in shapes.items():
        values = np.ones(shape, np.float32) if len(shape) == 1 else rng.normal(0, 0.06, shape).astype(np.float32)
        if name not in drop:
            writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
