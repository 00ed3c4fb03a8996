"""What our executor reads of a Hugging Face `config.json`, each member checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from espalier.errors import LoadError
from espalier.models.rope import Length, Positive, RopeSettings

__all__ = ["HFSettings", "text_settings"]

Count = Annotated[int, Field(gt=0, le=1 << 20)]


class HFSettings(BaseModel):
    """What our executor reads of a `config.json`, each member checked."""

    model_config = ConfigDict(extra="ignore", strict=True, populate_by_name=True)
    vocab_size: Annotated[int, Field(gt=0, le=1 << 24)]
    hidden_size: Count
    intermediate_size: Count
    num_hidden_layers: Annotated[int, Field(gt=0, le=1 << 12)]
    num_attention_heads: Annotated[int, Field(gt=0, le=1 << 12)]
    num_key_value_heads: Annotated[int, Field(gt=0, le=1 << 12)] | None = None
    head_dim: Annotated[int, Field(gt=0, le=1 << 14)] | None = None
    activation: str = Field("silu", validation_alias=AliasChoices("hidden_activation", "hidden_act"))
    max_position_embeddings: Length
    original_max_position_embeddings: Length | None = None
    rms_norm_eps: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
    tie_word_embeddings: bool = False
    sliding_window: Length | None = None
    use_sliding_window: bool = False
    max_window_layers: int | None = None
    layer_types: list[str] | None = None
    sliding_window_pattern: Annotated[int, Field(gt=0)] = Field(
        6, validation_alias=AliasChoices("sliding_window_pattern", "_sliding_window_pattern")
    )
    rope_theta: Positive
    rope_local_base_freq: Positive = 10000.0
    rope_scaling: RopeSettings | None = None
    rope_parameters: RopeSettings | dict[str, RopeSettings] | None = None
    partial_rotary_factor: Positive | None = None
    rotary_dim: Annotated[int, Field(gt=0)] | None = None  # from GGUF files: how many dimensions of a head are turned
    query_pre_attn_scalar: Positive | None = None
    attn_logit_softcapping: Positive | None = None
    final_logit_softcapping: Positive | None = None
    use_bidirectional_attention: bool = False


def text_settings(config: Mapping[str, Any], where: str = "config.json") -> Mapping[str, Any]:
    """The part of a `config.json` that is about text: all of it, or its `text_config`. Raises `LoadError`."""
    inner = config.get("text_config")
    if inner is None:
        return config
    if not isinstance(inner, Mapping):
        raise LoadError(f"{where}: text_config is {inner!r:.80}, not an object")
    return inner
