"""The families of decoder-only transformers that our executor runs: their names, their defaults and what differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from espalier.errors import LoadError
from espalier.models.hf_settings import HFSettings, text_settings
from espalier.models.rope import Rope, RopeSettings
from espalier.text.json_files import checked

__all__ = ["BY_GGUF", "FAMILIES", "Config", "Family", "NotOurs", "Rope", "Sizes"]


class NotOurs(LoadError):
    """A setting that a family of ours can have and our executor does not know; transformers may."""


@dataclass(frozen=True)
class Family:
    """One family: its `model_type`, its class in transformers, the architecture that GGUF files name, and what its
    configurations mean where they are silent (the defaults of the class in transformers)."""

    model_type: str
    architecture: str
    gguf: str | None
    defaults: Mapping[str, Any]
    gemma: bool = False
    qk_norm: bool = False
    inner: Mapping[str, str] = field(default_factory=dict)  # GGUF names of a layer's tensors that differ from the usual


_USUAL = {
    "vocab_size": 32000,
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "max_position_embeddings": 2048,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
}
_QWEN = {"vocab_size": 151936, "intermediate_size": 22016, "num_key_value_heads": 32, "max_position_embeddings": 32768}
_GEMMA = {
    "vocab_size": 262208,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "hidden_act": "gelu_pytorch_tanh",
    "max_position_embeddings": 131072,
    "rope_theta": 1000000.0,
    "sliding_window": 4096,
    "query_pre_attn_scalar": 256,
    "tie_word_embeddings": True,
}
_GEMMA_INNER = {
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
_MISTRAL = {"intermediate_size": 14336, "num_key_value_heads": 8, "max_position_embeddings": 131072, "sliding_window": 4096}
FAMILIES = {
    family.model_type: family
    for family in (
        Family("llama", "LlamaForCausalLM", "llama", _USUAL),
        Family("mistral", "MistralForCausalLM", None, {**_USUAL, **_MISTRAL}),
        Family("qwen2", "Qwen2ForCausalLM", "qwen2", {**_USUAL, **_QWEN}),
        Family("qwen3", "Qwen3ForCausalLM", "qwen3", {**_USUAL, **_QWEN, "head_dim": 128}, qk_norm=True),
        Family(
            "gemma3_text",
            "Gemma3ForCausalLM",
            "gemma3",
            {**_USUAL, **_GEMMA},
            gemma=True,
            qk_norm=True,
            inner=_GEMMA_INNER,
        ),
    )
}
BY_GGUF = {family.gguf: family for family in FAMILIES.values() if family.gguf is not None}


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
    def from_hf(cls, config: Mapping[str, Any], where: str = "config.json", context: int | None = None) -> Config:
        """The Config of a Hugging Face `config.json` ; what it leaves out is the family's default.

        `context` is the longest text that is asked for, if any. Raises `LoadError` that names the member that is wrong,
        and `NotOurs` for a family or a setting that our executor does not know.
        """
        outer = config.get("model_type")
        name = "gemma3_text" if outer == "gemma3" else outer
        if not isinstance(name, str) or name not in FAMILIES:
            raise NotOurs(
                f"{where}: model_type {outer!r} is not one of {', '.join(FAMILIES)}; the transformers executor runs it"
            )
        family = FAMILIES[name]
        given = {key: value for key, value in text_settings(config, where).items() if value is not None or key in _NONE_MEANS}
        if "hidden_activation" in given or "hidden_act" in given:
            given = {"hidden_act": given.get("hidden_activation") or given.get("hidden_act"), **given}
        settings = checked(HFSettings, {**family.defaults, **given}, where)
        return _config(cls, family, settings, where, context)


_NONE_MEANS = ("sliding_window", "head_dim", "num_key_value_heads")  # members whose null is not the default of the family


def _config(cls: type[Config], family: Family, s: HFSettings, where: str, asked: int | None) -> Config:
    gemma = family.gemma
    heads, kv_heads = s.num_attention_heads, s.num_key_value_heads or s.num_attention_heads
    head_dim = s.head_dim or s.hidden_size // heads
    if heads % kv_heads or head_dim < 2 or head_dim % 2 or (s.head_dim is None and s.hidden_size % heads):
        raise LoadError(
            f"{where}: {heads} attention heads over {kv_heads} for keys and values, hidden_size {s.hidden_size} and head_dim "
            f"{head_dim} do not fit together"
        )
    if s.activation not in ("silu", "gelu_pytorch_tanh"):
        raise NotOurs(f"{where}: hidden_act {s.activation!r} is not known to our executor; known: silu, gelu_pytorch_tanh")
    if s.use_bidirectional_attention:
        raise LoadError(f"{where}: use_bidirectional_attention: the model reads texts both ways, so it cannot go on with one")
    kinds = _layer_kinds(s, family, where)
    if "sliding_attention" in kinds and s.sliding_window is None:
        raise LoadError(f"{where}: sliding_window is missing, but layer_types names sliding_attention")
    limit = _context(s, kinds, family, asked, where)
    return cls(
        family=family.model_type,
        vocab_size=s.vocab_size,
        hidden=s.hidden_size,
        layers=s.num_hidden_layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        ff=s.intermediate_size,
        context=limit,
        eps=s.rms_norm_eps,
        tied=s.tie_word_embeddings,
        windows=tuple(s.sliding_window if kind == "sliding_attention" else None for kind in kinds),
        ropes=tuple(_rope(s, kind, family, where, limit, asked, head_dim) for kind in kinds),
        scale=(s.query_pre_attn_scalar or head_dim) ** -0.5 if gemma else head_dim**-0.5,
        gelu=s.activation == "gelu_pytorch_tanh",
        sandwich=gemma,
        unit_offset=gemma,
        qk_norm=family.qk_norm,
        embed_scale=float(s.hidden_size) ** 0.5 if gemma else 1.0,
        attention_cap=s.attn_logit_softcapping if gemma else None,
        logit_cap=s.final_logit_softcapping if gemma else None,
    )


def _layer_kinds(s: HFSettings, family: Family, where: str) -> list[str]:
    layers = s.num_hidden_layers
    if s.layer_types:
        if len(s.layer_types) != layers:
            raise LoadError(f"{where}: layer_types names {len(s.layer_types)} layers, num_hidden_layers {layers}")
        if strange := set(s.layer_types) - {"full_attention", "sliding_attention"}:
            raise NotOurs(f"{where}: layer_types {sorted(strange)} are not known to our executor")
        return s.layer_types
    if family.gemma:
        every = s.sliding_window_pattern
        return ["full_attention" if (layer + 1) % every == 0 else "sliding_attention" for layer in range(layers)]
    if family.model_type == "mistral" and s.sliding_window:
        return ["sliding_attention"] * layers
    if family.model_type.startswith("qwen") and s.use_sliding_window and s.sliding_window:
        first = 28 if s.max_window_layers is None else s.max_window_layers
        return ["sliding_attention" if layer >= first else "full_attention" for layer in range(layers)]
    return ["full_attention"] * layers


def _rope_settings(s: HFSettings, kind: str, family: Family) -> tuple[float, RopeSettings]:
    """The base and the scaling of the layers of one kind: the new spelling first, then the old one."""
    if isinstance(s.rope_parameters, RopeSettings):
        return s.rope_theta, s.rope_parameters
    if s.rope_parameters is not None and kind in s.rope_parameters:
        return s.rope_theta, s.rope_parameters[kind]
    if family.gemma and kind == "sliding_attention":
        return s.rope_local_base_freq, RopeSettings.model_validate({})
    return s.rope_theta, s.rope_scaling or RopeSettings.model_validate({})


def _original(s: HFSettings, settings: RopeSettings) -> RopeSettings:
    """The scaling with the length of the first training, which some configurations name outside of it."""
    if settings.original_max_position_embeddings or not s.original_max_position_embeddings:
        return settings
    return settings.model_copy(update={"original_max_position_embeddings": s.original_max_position_embeddings})


def _rope(s: HFSettings, kind: str, family: Family, where: str, limit: int, asked: int | None, head_dim: int) -> Rope:
    theta, settings = _rope_settings(s, kind, family)
    settings = _original(s, settings)
    if settings.kind not in ("default", "linear", "dynamic", "llama3", "yarn", "longrope"):
        raise NotOurs(f"{where}: rope_scaling of type {settings.kind!r} is not known to our executor")
    part = settings.partial_rotary_factor or s.partial_rotary_factor or 1.0
    if part != 1.0:
        raise LoadError(
            f"{where}: partial_rotary_factor {part} is nothing that {family.model_type!r} has; transformers would pass over it"
        )
    rope = Rope.of(theta, settings, s.max_position_embeddings, limit, asked)
    turned = s.rotary_dim or head_dim
    if turned > head_dim or turned % 2 or (rope.factors and len(rope.factors) != turned // 2):
        raise LoadError(
            f"{where}: the rotary embedding turns {turned} of {head_dim} dimensions with {len(rope.factors)} factors"
        )
    return rope if turned == head_dim else Rope(**{**vars(rope), "turned": turned})


def _context(s: HFSettings, kinds: list[str], family: Family, asked: int | None, where: str) -> int:
    """The longest text: what the positions and their scaling give, or what is asked for where that can be."""
    _, settings = _rope_settings(s, "full_attention" if "full_attention" in kinds else kinds[0], family)
    settings = _original(s, settings)
    trained = s.max_position_embeddings
    original = settings.original_max_position_embeddings or trained
    limit = trained
    if settings.kind == "yarn" or (settings.kind == "linear" and not family.gemma):
        limit = max(trained, int(settings.factor * original))
    if settings.kind == "longrope":
        limit = trained if asked is not None and asked > original else min(original, trained)
    if asked is None:
        return limit
    if asked > limit and settings.kind in ("dynamic", "longrope"):
        raise LoadError(
            f"context={asked} is more than {limit}, and {where} scales its rotary embedding by {settings.kind!r}, whose "
            "frequencies are for no longer text"
        )
    return asked
