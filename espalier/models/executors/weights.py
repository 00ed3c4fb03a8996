"""The tensors of a decoder-only transformer: found by their Hugging Face names, checked, fused where used together."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from espalier.errors import LoadError
from espalier.models.families import Config

__all__ = ["Ends", "Layer", "read_ends", "read_layers", "say_untied", "untied"]


@dataclass(frozen=True)
class Layer:
    """One layer. `qkv` is [(heads + 2 kv_heads) head_dim, hidden], `gate_up` is [2 ff, hidden]."""

    norm: Tensor
    qkv: Tensor
    qkv_bias: Tensor | None
    q_norm: Tensor | None
    k_norm: Tensor | None
    out: Tensor
    out_bias: Tensor | None
    out_norm: Tensor | None
    mlp_norm: Tensor
    gate_up: Tensor
    gate_up_bias: Tensor | None
    down: Tensor
    down_bias: Tensor | None
    down_norm: Tensor | None

    def to(self, dtype: torch.dtype, device: torch.device | str) -> Layer:
        """The layer in `dtype`; norm weights stay in float32."""
        moved: dict[str, Any] = {}
        for name, tensor in vars(self).items():
            if tensor is not None:
                moved[name] = tensor.to(device, torch.float32 if name.endswith("norm") else dtype)
        return replace(self, **moved)


@dataclass(frozen=True)
class Ends:
    """What comes before the first and after the last layer; `head` is `embed` where they are tied."""

    embed: Tensor
    norm: Tensor
    head: Tensor
    head_bias: Tensor | None = None


class Tensors:
    """Named tensors with checked shapes, and can say which were never asked for."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors
        roots = ("model.", "", "model.language_model.", "language_model.model.")
        self.root = next((root for root in roots if f"{root}embed_tokens.weight" in tensors), None)
        if self.root is None:
            raise LoadError(
                f"no embed_tokens.weight among {len(tensors)} tensors ({', '.join(list(tensors)[:4])} …): not a known decoder"
            )
        self.seen: set[str] = set()

    def __call__(self, name: str, *shape: int) -> Tensor:
        tensor = self.maybe(name, *shape)
        if tensor is None:
            raise LoadError(
                f"the tensor {self.root}{name} of shape {list(shape)} is missing: the weights do not belong to this config"
            )
        return tensor

    def maybe(self, name: str, *shape: int) -> Tensor | None:
        full = name if name.startswith("lm_head") else f"{self.root}{name}"
        if full not in self._tensors:
            return None
        tensor = self._tensors[full]
        if tuple(tensor.shape) != shape:
            raise LoadError(f"the tensor {full} has shape {list(tensor.shape)}, but the config says {list(shape)}")
        self.seen.add(full)
        return tensor

    def unread(self) -> list[str]:
        return [
            name
            for name in self._tensors
            if name not in self.seen and name.startswith(f"{self.root}layers.") and not name.endswith("rotary_emb.inv_freq")
        ]


def untied(config: Config, tensors: Mapping[str, Tensor]) -> Config:
    """The config, without its tie where another head than the embedding is stored: the stored one is used, and that is told."""
    if not config.tied or "lm_head.weight" not in tensors:
        return config
    get = Tensors(tensors)
    embed = get("embed_tokens.weight", config.vocab_size, config.hidden)
    if torch.equal(get("lm_head.weight", config.vocab_size, config.hidden), embed):
        return config
    say_untied()
    return replace(config, tied=False)


def say_untied() -> None:
    """Warns that the configuration ties a head which the weights have apart."""
    warnings.warn(
        "config.json says tie_word_embeddings, but lm_head.weight is stored and is not the embedding; the stored head is used",
        stacklevel=4,
    )


def read_ends(config: Config, tensors: Mapping[str, Tensor]) -> Ends:
    """Embedding, final norm and head. Raises LoadError where a tensor is missing or misshapen."""
    get = Tensors(tensors)
    embed = get("embed_tokens.weight", config.vocab_size, config.hidden)
    head = embed if config.tied else get("lm_head.weight", config.vocab_size, config.hidden)
    return Ends(embed, _norm(config, get("norm.weight", config.hidden)), head, get.maybe("lm_head.bias", config.vocab_size))


def read_layers(config: Config, tensors: Mapping[str, Tensor]) -> Iterator[Layer]:
    """Yields the layers one by one. Raises LoadError for a missing, misshapen or (at the end) unknown tensor of a layer."""
    get = Tensors(tensors)
    for layer in range(config.layers):
        yield _layer(config, get, f"layers.{layer}.")
    if unread := get.unread():
        raise LoadError(f"{len(unread)} tensors of the layers are not known to family {config.family}: {', '.join(unread[:4])}")


def _layer(config: Config, get: Tensors, at: str) -> Layer:
    d, ff, h = config.hidden, config.ff, config.head_dim
    q, kv = config.heads * h, config.kv_heads * h

    def norm(name: str, size: int = d) -> Tensor:
        return _norm(config, get(f"{at}{name}.weight", size))

    def fuse(*parts: tuple[str, int]) -> Tensor | None:
        biases = [get.maybe(f"{at}{name}.bias", size) for name, size in parts]
        if all(bias is None for bias in biases):
            return None
        return torch.cat(
            [torch.zeros(size) if bias is None else bias.float() for (_, size), bias in zip(parts, biases, strict=True)]
        )

    attention = [("self_attn.q_proj", q), ("self_attn.k_proj", kv), ("self_attn.v_proj", kv)]
    mlp = [("mlp.gate_proj", ff), ("mlp.up_proj", ff)]
    after = "pre_feedforward_layernorm" if config.sandwich else "post_attention_layernorm"
    return Layer(
        norm=norm("input_layernorm"),
        qkv=torch.cat([get(f"{at}{name}.weight", size, d) for name, size in attention]),
        qkv_bias=fuse(*attention),
        q_norm=norm("self_attn.q_norm", h) if config.qk_norm else None,
        k_norm=norm("self_attn.k_norm", h) if config.qk_norm else None,
        out=get(f"{at}self_attn.o_proj.weight", d, q),
        out_bias=fuse(("self_attn.o_proj", d)),
        out_norm=norm("post_attention_layernorm") if config.sandwich else None,
        mlp_norm=norm(after),
        gate_up=torch.cat([get(f"{at}{name}.weight", size, d) for name, size in mlp]),
        gate_up_bias=fuse(*mlp),
        down=get(f"{at}mlp.down_proj.weight", d, ff),
        down_bias=fuse(("mlp.down_proj", d)),
        down_norm=norm("post_feedforward_layernorm") if config.sandwich else None,
    )


def _norm(config: Config, weight: Tensor) -> Tensor:
    return weight.float() + (1.0 if config.unit_offset else 0.0)
