"""GGUF to the Hugging Face layout: configuration, names of tensors, and the changes llama.cpp makes to weights undone."""

from __future__ import annotations

import json
import math
import re
import shutil
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from espalier.errors import LoadError
from espalier.models.load.gguf import GGUF
from espalier.text.from_gguf import tokenizer_from_gguf

FAMILIES = {
    "llama": ("llama", "LlamaForCausalLM"),
    "qwen2": ("qwen2", "Qwen2ForCausalLM"),
    "qwen3": ("qwen3", "Qwen3ForCausalLM"),
    "gemma3": ("gemma3_text", "Gemma3ForCausalLM"),
}
OUTER = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
INNER = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
INNER_GEMMA = {
    **INNER,
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
DTYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


def _decimal(value: float) -> float:
    """The shortest decimal number that is this float32: the 1e-05 that was meant by 9.999999747378752e-06."""
    return float(str(np.float32(value)))


class Checkpoint:
    """A GGUF file seen as a Hugging Face checkpoint: `.config`, `.settings`, `.backend` (tokenizer), and its tensors.

    Guarantee: every tensor has the values of the file, exactly (quantised ones expanded to float32), in the layout that
    transformers expects: llama.cpp interleaves the halves of q and k heads for its rotary embedding, and adds one to
    Gemma's norms; both are undone. A tensor that is not understood is a `LoadError`, never left out.
    """

    def __init__(self, path: str | Path) -> None:
        self.file = GGUF(path)
        metadata = self.file.metadata
        self.arch = str(metadata.get("general.architecture"))
        if self.arch not in FAMILIES:
            raise LoadError(
                f"{path} holds a model of the family {self.arch!r}; from GGUF files {', '.join(FAMILIES)} can be read. Load "
                "its Hugging Face folder instead (any causal model runs through transformers)"
            )
        self.names = {name: self._name(name) for name in self.file.tensors}
        try:
            self.backend, self.settings = tokenizer_from_gguf(metadata)
            self.config = self._config()
            self._check_shapes()
        except (LoadError, MemoryError):
            raise
        except Exception as error:  # a flipped bit can make any value any other; tokenizers raises bare Exception
            raise LoadError(
                f"{path} is damaged: its metadata makes no sense ({error}); delete it and download it again"
            ) from error

    def _key(self, name: str, default: Any = None) -> Any:
        value = self.file.metadata.get(f"{self.arch}.{name}", default)
        if value is None:
            raise LoadError(f"{self.file.path} does not say {self.arch}.{name}; the file is damaged or of an unknown kind")
        return value

    def _name(self, name: str) -> str | None:
        if name == "rope_freqs.weight":
            return None  # it is in the configuration: see `_rope_scaling`
        if name in OUTER:
            return OUTER[name]
        inner = INNER_GEMMA if self.arch == "gemma3" else INNER
        match = re.fullmatch(r"blk\.(\d+)\.(\w+)\.(weight|bias)", name)
        if match is None or match[2] not in inner:
            raise LoadError(f"{self.file.path} has a tensor {name!r} that a model of the family {self.arch!r} does not have")
        return f"model.layers.{match[1]}.{inner[match[2]]}.{match[3]}"

    def _config(self) -> dict[str, Any]:
        key, metadata = self._key, self.file.metadata
        hidden, heads = int(key("embedding_length")), int(key("attention.head_count"))
        head_dim = int(key("attention.key_length", hidden // heads))
        model_type, architecture = FAMILIES[self.arch]
        layers = {int(name.split(".")[1]) for name in self.names if name.startswith("blk.")}
        if layers != set(range(len(layers))) or len(layers) != int(key("block_count")):
            raise LoadError(
                f"{self.file.path} names {key('block_count')} layers but has {len(layers)}; it is damaged or not whole"
            )
        if "token_embd.weight" not in self.file.tensors:
            raise LoadError(f"{self.file.path} has no token embeddings (token_embd.weight); it is not a whole model")
        config: dict[str, Any] = {
            "model_type": model_type,
            "architectures": [architecture],
            "vocab_size": self.file.tensors["token_embd.weight"].shape[0],
            "hidden_size": hidden,
            "intermediate_size": int(key("feed_forward_length")),
            "num_hidden_layers": int(key("block_count")),
            "num_attention_heads": heads,
            "num_key_value_heads": int(key("attention.head_count_kv", heads)),
            "head_dim": head_dim,
            "hidden_act": "silu",
            "max_position_embeddings": int(key("context_length")),
            "rms_norm_eps": _decimal(key("attention.layer_norm_rms_epsilon")),
            "rope_theta": _decimal(key("rope.freq_base", 1e6 if self.arch == "gemma3" else 1e4)),
            "tie_word_embeddings": "output.weight" not in self.file.tensors,
            "torch_dtype": "float32",
        }
        for name, id in (("bos", "bos"), ("eos", "eos"), ("pad", "padding")):
            if (value := metadata.get(f"tokenizer.ggml.{id}_token_id")) is not None:
                config[f"{name}_token_id"] = int(value)
        if scaling := self._rope_scaling(head_dim, config["rope_theta"]):
            config["rope_scaling"] = scaling
        if self.arch == "gemma3":
            self._gemma(config)
        elif self.arch == "llama":
            config["attention_bias"] = "blk.0.attn_q.bias" in self.file.tensors
        elif self.arch == "qwen2":
            config["use_sliding_window"] = False
        return config

    def _check_shapes(self) -> None:
        config = self.config
        hidden, width = config["hidden_size"], config["intermediate_size"]
        head, vocab = config["head_dim"], config["vocab_size"]
        queries, keys = head * config["num_attention_heads"], head * config["num_key_value_heads"]
        sides = {"q_proj": (queries, hidden), "k_proj": (keys, hidden), "v_proj": (keys, hidden), "o_proj": (hidden, queries)}
        sides |= {"gate_proj": (width, hidden), "up_proj": (width, hidden), "down_proj": (hidden, width)}
        sides |= {"embed_tokens": (vocab, hidden), "lm_head": (vocab, hidden), "q_norm": (head, 0), "k_norm": (head, 0)}
        for name, target in self.names.items():
            if target is None:
                continue
            part, kind = target.rsplit(".", 2)[-2:]
            matrix = kind == "weight" and "norm" not in part
            expected = sides.get(part, (hidden, 0))[: 2 if matrix else 1]
            if (shape := self.file.tensors[name].shape) != expected:
                raise LoadError(f"{self.file.path}: tensor {name} has the shape {shape}, not {expected}; the file is damaged")

    def _gemma(self, config: dict[str, Any]) -> None:
        layers = config["num_hidden_layers"]
        del config["hidden_act"]
        config |= {
            "hidden_activation": "gelu_pytorch_tanh",
            # llama.cpp scales by the width of a head, except for the 27B model (62 layers), which uses hidden size / heads.
            "query_pre_attn_scalar": config["hidden_size"] // config["num_attention_heads"]
            if layers == 62
            else config["head_dim"],
            "sliding_window": int(self._key("attention.sliding_window")),
            "rope_local_base_freq": 10000.0,
            "layer_types": ["full_attention" if (i + 1) % 6 == 0 else "sliding_attention" for i in range(layers)],
            "attention_bias": False,
            "attn_logit_softcapping": None,
            "final_logit_softcapping": self.file.metadata.get("gemma3.final_logit_softcapping"),
        }

    def _rope_scaling(self, head_dim: int, theta: float) -> dict[str, Any] | None:
        """Rope scaling as HF names it; Llama 3.1 stores one factor per frequency, from which its parameters are found."""
        metadata = self.file.metadata
        if "rope_freqs.weight" in self.file.tensors:
            factors = self.file.tensor("rope_freqs.weight").double()
            scaling = {
                "rope_type": "llama3",
                "factor": _decimal(float(factors.max())),
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 8192,
            }
            if not torch.allclose(_llama3_factors(scaling, head_dim, theta), factors, rtol=1e-4):
                raise LoadError(
                    f"{self.file.path} scales its rotary embedding in a way that is not Llama 3's; load the HF folder"
                )
            return scaling
        kind = metadata.get(f"{self.arch}.rope.scaling.type", "none")
        if kind == "none":
            return None
        if kind != "linear":
            raise LoadError(
                f"{self.file.path} scales its rotary embedding by {kind!r}, which is not known here; load the HF folder"
            )
        return {"rope_type": "linear", "factor": _decimal(self._key("rope.scaling.factor"))}

    def tensors(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Every tensor with its Hugging Face name, one at a time in the order of the file."""
        for name, target in self.names.items():
            if target is not None:
                yield target, self._undo(target, self.file.tensor(name))

    def _undo(self, target: str, tensor: torch.Tensor) -> torch.Tensor:
        if self.arch == "llama" and re.search(r"\.[qk]_proj\.", target):
            heads = self.config["num_attention_heads" if ".q_proj." in target else "num_key_value_heads"]
            half = tensor.shape[0] // heads // 2
            return tensor.reshape(heads, half, 2, *tensor.shape[1:]).transpose(1, 2).reshape(tensor.shape)
        if self.arch == "gemma3" and target.endswith("norm.weight"):
            return tensor - 1
        return tensor


def _llama3_factors(scaling: dict[str, Any], head_dim: int, theta: float) -> torch.Tensor:
    """By what each rotary frequency is divided (Llama 3.1): 1 where it is fast, `factor` where it is slow, smooth between."""
    exponent = torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim
    wavelength = 2 * math.pi * torch.pow(theta, exponent)
    turns = scaling["original_max_position_embeddings"] / wavelength
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    smooth = ((turns - low) / (high - low)).clamp(0, 1)
    factors: torch.Tensor = 1 / ((1 - smooth) / scaling["factor"] + smooth)
    return factors


def _write_safetensors(checkpoint: Checkpoint, path: Path, progress: Callable[[int], object]) -> None:
    """Writes the tensors one at a time, so that a model larger than memory can be converted."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, target in checkpoint.names.items():
        if target is not None:
            stored = checkpoint.file.tensors[name]
            size = math.prod(stored.shape) * stored.dtype.itemsize
            header[target] = {"dtype": DTYPES[stored.dtype], "shape": list(stored.shape), "data_offsets": [at, at + size]}
            at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        for _, tensor in checkpoint.tensors():
            raw = tensor.contiguous().view(torch.uint8).numpy()
            out.write(raw.data)
            progress(raw.nbytes)


def size_of(checkpoint: Checkpoint) -> int:
    """The bytes that the converted weights take."""
    return sum(math.prod(stored.shape) * stored.dtype.itemsize for stored in checkpoint.file)


def convert(source: Path, folder: Path, progress: Callable[[int], object] = lambda done: None) -> None:
    """Writes a GGUF file into `folder` as a Hugging Face checkpoint that transformers loads too: config.json,
    generation_config.json, model.safetensors, tokenizer.json, tokenizer_config.json.

    `progress` is told how many bytes were written. Raises `LoadError` for files that cannot be read, `OSError` for a full disk.
    """
    checkpoint = Checkpoint(source)
    config = checkpoint.config
    ends = {k: v for k, v in config.items() if k.endswith("_token_id")}
    _write_json(folder / "config.json", config)
    _write_json(folder / "generation_config.json", {**ends, "do_sample": False})
    _write_json(folder / "tokenizer_config.json", checkpoint.settings)
    checkpoint.backend.save(str(folder / "tokenizer.json"), pretty=False)
    _write_safetensors(checkpoint, folder / "model.safetensors", progress)
    for beside in ("LICENSE", "NOTICE"):
        if (path := source.parent / beside).exists():
            shutil.copy(path, folder / beside)


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
