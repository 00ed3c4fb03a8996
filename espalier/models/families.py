"""What differs between the families of decoder-only transformers that our executor runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from espalier.errors import LoadError

__all__ = ["Config", "Rope", "Sizes"]

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "gemma3_text")


@dataclass(frozen=True)
class Rope:
    """A rotary embedding (Su et al. 2021, RoFormer, 2104.09864): `frequencies` of the pairs of a head's dimensions.

    `kind` is "default", "linear" (position interpolation), "llama3" (Llama 3.1: long wavelengths are slowed down) or "yarn"
    (Peng et al. 2023, 2309.00071). `scale` multiplies cos and sin (yarn's attention temperature; 1 elsewhere).

    >>> Rope(10000.0).frequencies(4).tolist()
    [1.0, 0.009999999776482582]
    """

    theta: float
    kind: str = "default"
    factor: float = 1.0
    low: float = 1.0
    high: float = 4.0
    trained: int = 8192
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True
    scale: float = 1.0

    @classmethod
    def from_hf(cls, theta: float, scaling: Mapping[str, Any] | None, context: int) -> Rope:
        scaling = scaling or {}
        kind = scaling.get("rope_type", scaling.get("type", "default")) or "default"
        theta = float(scaling.get("rope_theta", theta))
        if scaling.get("partial_rotary_factor", 1.0) != 1.0:
            raise LoadError("rope with partial_rotary_factor != 1 is not known to this executor; use transformers'")
        if kind == "default":
            return cls(theta)
        factor = float(scaling.get("factor", 1.0))
        if kind == "linear":
            return cls(theta, "linear", factor)
        trained = int(scaling.get("original_max_position_embeddings", context))
        if kind == "llama3":
            low, high = float(scaling["low_freq_factor"]), float(scaling["high_freq_factor"])
            return cls(theta, "llama3", factor, low, high, trained)
        if kind == "yarn":
            return cls(
                theta,
                "yarn",
                factor,
                trained=trained,
                beta_fast=float(scaling.get("beta_fast") or 32.0),
                beta_slow=float(scaling.get("beta_slow") or 1.0),
                truncate=bool(scaling.get("truncate", True)),
                scale=_yarn_scale(scaling, factor),
            )
        raise LoadError(f"rope scaling {kind!r} is not known; known: default, linear, llama3, yarn")

    def frequencies(self, head_dim: int) -> torch.Tensor:
        """[head_dim / 2] float32 radians per position."""
        steps = torch.arange(0, head_dim, 2, dtype=torch.int64).to(torch.float32) / head_dim
        plain = 1.0 / (self.theta**steps)
        if self.kind == "linear":
            return plain / self.factor
        if self.kind == "llama3":
            length = 2 * math.pi / plain
            smooth = (self.trained / length - self.low) / (self.high - self.low)
            mixed = (1 - smooth) * plain / self.factor + smooth * plain
            slow = torch.where(length > self.trained / self.low, plain / self.factor, mixed)
            return torch.where(length < self.trained / self.high, plain, slow)
        if self.kind == "yarn":
            first, last = self._turns(self.beta_fast, head_dim), self._turns(self.beta_slow, head_dim)
            if self.truncate:
                first, last = math.floor(first), math.ceil(last)
            first, last = max(first, 0), min(last, head_dim - 1)
            ramp = (torch.arange(head_dim // 2, dtype=torch.float32) - first) / ((last - first) or 0.001)
            keep = 1 - ramp.clamp(0, 1)
            return plain / self.factor * (1 - keep) + plain * keep
        return plain

    def _turns(self, turns: float, head_dim: int) -> float:
        """The dimension that makes `turns` full turns over the trained context."""
        return head_dim * math.log(self.trained / (turns * 2 * math.pi)) / (2 * math.log(self.theta))


def _yarn_scale(scaling: Mapping[str, Any], factor: float) -> float:
    def mscale(by: float) -> float:
        return 1.0 if factor <= 1 else 0.1 * by * math.log(factor) + 1.0

    if scaling.get("attention_factor") is not None:
        return float(scaling["attention_factor"])
    if scaling.get("mscale") and scaling.get("mscale_all_dim"):
        return mscale(float(scaling["mscale"])) / mscale(float(scaling["mscale_all_dim"]))
    return mscale(1.0)


class Sizes(Protocol):
    """What every model says of itself: `Config` for our own executors, less for those of others."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def context(self) -> int: ...
    @property
    def kv_heads(self) -> int: ...
    @property
    def head_dim(self) -> int: ...


@dataclass(frozen=True)
class Config:
    """The shape and the peculiarities of one model: everything the executor must know besides the weights.

    `windows[l]` is the sliding window of layer `l` (it sees itself and `window - 1` positions before it) or None;
    `ropes[l]` its rotary embedding. `sandwich` means Gemma's four norms per layer, `unit_offset` its `1 + weight`.
    """

    family: str
    vocab_size: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ff: int
    context: int
    eps: float
    tied: bool
    windows: tuple[int | None, ...]
    ropes: tuple[Rope, ...]
    scale: float
    gelu: bool = False
    sandwich: bool = False
    unit_offset: bool = False
    qk_norm: bool = False
    embed_scale: float = 1.0
    attention_cap: float | None = None
    logit_cap: float | None = None

    @classmethod
    def from_hf(cls, config: Mapping[str, Any]) -> Config:
        """The Config of a Hugging Face `config.json` (old and new spelling of rope). Unknown families are an error."""
        if "text_config" in config and config.get("model_type") == "gemma3":
            config = {**config["text_config"], "model_type": "gemma3_text"}
        family = str(config.get("model_type"))
        if family not in FAMILIES:
            raise LoadError(f"model_type {family!r} is not one of {', '.join(FAMILIES)}; the transformers executor runs it")
        gemma = family == "gemma3_text"
        heads = int(config["num_attention_heads"])
        head_dim = int(config.get("head_dim") or int(config["hidden_size"]) // heads)
        activation = config.get("hidden_activation") or config.get("hidden_act") or "silu"
        if activation not in ("silu", "gelu_pytorch_tanh"):
            raise LoadError(f"activation {activation!r} is not known to this executor; known: silu, gelu_pytorch_tanh")
        kinds = _layer_kinds(config, family)
        return cls(
            family=family,
            vocab_size=int(config["vocab_size"]),
            hidden=int(config["hidden_size"]),
            layers=int(config["num_hidden_layers"]),
            heads=heads,
            kv_heads=int(config.get("num_key_value_heads") or heads),
            head_dim=head_dim,
            ff=int(config["intermediate_size"]),
            context=int(config["max_position_embeddings"]),
            eps=float(config["rms_norm_eps"]),
            tied=bool(config.get("tie_word_embeddings", gemma)),
            windows=tuple(int(config["sliding_window"]) if kind == "sliding_attention" else None for kind in kinds),
            ropes=tuple(_rope(config, kind, gemma) for kind in kinds),
            scale=float(config.get("query_pre_attn_scalar") or head_dim) ** -0.5 if gemma else head_dim**-0.5,
            gelu=activation == "gelu_pytorch_tanh",
            sandwich=gemma,
            unit_offset=gemma,
            qk_norm=family in ("qwen3", "gemma3_text"),
            embed_scale=float(config["hidden_size"]) ** 0.5 if gemma else 1.0,
            attention_cap=config.get("attn_logit_softcapping") if gemma else None,
            logit_cap=config.get("final_logit_softcapping") if gemma else None,
        )


def _layer_kinds(config: Mapping[str, Any], family: str) -> list[str]:
    layers = int(config["num_hidden_layers"])
    if config.get("layer_types"):
        kinds = [str(kind) for kind in config["layer_types"]]
        if len(kinds) != layers or set(kinds) - {"full_attention", "sliding_attention"}:
            raise LoadError(f"layer_types {kinds} must name full_attention or sliding_attention for each of {layers} layers")
        return kinds
    if family == "gemma3_text":
        every = int(config.get("sliding_window_pattern") or config.get("_sliding_window_pattern") or 6)
        return ["full_attention" if (layer + 1) % every == 0 else "sliding_attention" for layer in range(layers)]
    if family == "mistral" and config.get("sliding_window"):
        return ["sliding_attention"] * layers
    if family.startswith("qwen") and config.get("use_sliding_window") and config.get("sliding_window"):
        first = int(config.get("max_window_layers", 28))
        return ["sliding_attention" if layer >= first else "full_attention" for layer in range(layers)]
    return ["full_attention"] * layers


def _rope(config: Mapping[str, Any], kind: str, gemma: bool) -> Rope:
    context = int(config["max_position_embeddings"])
    new = config.get("rope_parameters")
    theta = float(config.get("rope_theta") or (1_000_000.0 if gemma else 10_000.0))
    if new and kind in new:
        return Rope.from_hf(theta, new[kind], context)
    if new and "rope_type" in new:
        return Rope.from_hf(theta, new, context)
    if gemma and kind == "sliding_attention":
        return Rope(float(config.get("rope_local_base_freq") or 10_000.0))
    return Rope.from_hf(theta, config.get("rope_scaling"), context)
