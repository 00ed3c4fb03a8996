"""Rotary position embeddings: the frequencies of every way of scaling them, and how long a text each of them is for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

__all__ = ["Rope", "RopeSettings"]

Positive = Annotated[float, Field(gt=0, lt=1e12, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, lt=1e12, allow_inf_nan=False)]
Length = Annotated[int, Field(gt=0, le=1 << 30)]


class RopeSettings(BaseModel):
    """`rope_parameters` or `rope_scaling` of a `config.json`, checked: what is wrong is an error that names the member."""

    model_config = ConfigDict(extra="ignore", strict=True)
    kind: str = Field("default", validation_alias=AliasChoices("rope_type", "type"))
    rope_theta: Positive | None = None
    factor: Positive = 1.0
    partial_rotary_factor: Positive | None = None
    original_max_position_embeddings: Length | None = None
    low_freq_factor: Positive | None = None
    high_freq_factor: Positive | None = None
    beta_fast: Positive | None = None
    beta_slow: Positive | None = None
    truncate: bool = True
    attention_factor: Positive | None = None
    mscale: Share | None = None
    mscale_all_dim: Share | None = None
    short_factor: list[Positive] | None = None
    long_factor: list[Positive] | None = None

    @model_validator(mode="before")
    @classmethod
    def _old_names(cls, content: Any) -> Any:
        if isinstance(content, dict):
            content = {name: value for name, value in content.items() if value is not None}
            if content.get("rope_type", content.get("type")) == "su":  # what longrope was called first
                content = {**content, "rope_type": "longrope"}
        return content

    @model_validator(mode="after")
    def _whole(self) -> RopeSettings:
        needed = {"llama3": ("low_freq_factor", "high_freq_factor"), "longrope": ("short_factor", "long_factor")}
        for name in needed.get(self.kind, ()):
            if getattr(self, name) is None:
                raise ValueError(f"rope of type {self.kind!r} needs {name}")
        low, high = self.low_freq_factor, self.high_freq_factor
        if self.kind == "llama3" and low is not None and high is not None and low >= high:
            raise ValueError("low_freq_factor must be less than high_freq_factor")
        return self


@dataclass(frozen=True)
class Rope:
    """A rotary embedding (Su et al. 2021, RoFormer, 2104.09864): `frequencies` of the pairs of a head's dimensions.

    `kind` is "default", "linear" (position interpolation), "dynamic" (the same as default within the trained context),
    "llama3" (Llama 3.1: long wavelengths are slowed down), "yarn" (Peng et al. 2023, 2309.00071) or "longrope" (Ding et al.
    2024, 2402.13753: one factor per frequency). `scale` multiplies cos and sin. Only the first `turned` dimensions are
    turned where it is not 0.

    >>> Rope(10000.0).frequencies(4).tolist(), Rope(10000.0, turned=2).frequencies(4).tolist()
    ([1.0, 0.009999999776482582], [1.0, 0.0])
    """

    theta: float
    kind: Literal["default", "linear", "dynamic", "llama3", "yarn", "longrope"] | str = "default"
    factor: float = 1.0
    low: float = 1.0
    high: float = 4.0
    trained: int = 8192
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    truncate: bool = True
    scale: float = 1.0
    factors: tuple[float, ...] = ()
    turned: int = 0

    def frequencies(self, head_dim: int) -> torch.Tensor:
        """[head_dim / 2] float32 radians per position."""
        turned = self.turned or head_dim
        return torch.cat([self._turning(turned), torch.zeros((head_dim - turned) // 2)])

    def _turning(self, dims: int) -> torch.Tensor:
        steps = torch.arange(0, dims, 2, dtype=torch.int64).to(torch.float32) / dims
        plain = 1.0 / (self.theta**steps)
        if self.kind == "linear":
            return plain / self.factor
        if self.kind == "longrope":
            return 1.0 / (torch.tensor(self.factors, dtype=torch.float32) * self.theta**steps)
        if self.kind == "llama3":
            length = 2 * math.pi / plain
            smooth = (self.trained / length - self.low) / (self.high - self.low)
            mixed = (1 - smooth) * plain / self.factor + smooth * plain
            slow = torch.where(length > self.trained / self.low, plain / self.factor, mixed)
            return torch.where(length < self.trained / self.high, plain, slow)
        if self.kind == "yarn":
            first, last = self._turns(self.beta_fast, dims), self._turns(self.beta_slow, dims)
            if self.truncate:
                first, last = math.floor(first), math.ceil(last)
            first, last = max(first, 0), min(last, dims - 1)
            ramp = (torch.arange(dims // 2, dtype=torch.float32) - first) / ((last - first) or 0.001)
            keep = 1 - ramp.clamp(0, 1)
            return plain / self.factor * (1 - keep) + plain * keep
        return plain

    def _turns(self, turns: float, dims: int) -> float:
        """The dimension that makes `turns` full turns over the trained context."""
        return dims * math.log(self.trained / (turns * 2 * math.pi)) / (2 * math.log(self.theta))

    @classmethod
    def of(cls, theta: float, settings: RopeSettings, trained: int, context: int, asked: int | None = None) -> Rope:
        """The rope of checked settings: `trained` is max_position_embeddings, `context` the longest text that scaling gives.

        With longrope the long factors are used if a longer text was `asked` for than the model was trained on at first.
        """
        kind, theta, factor = settings.kind, settings.rope_theta or theta, settings.factor
        original = settings.original_max_position_embeddings or trained
        if kind == "linear":
            return cls(theta, kind, factor)
        if kind == "llama3":
            return cls(theta, kind, factor, settings.low_freq_factor or 1.0, settings.high_freq_factor or 4.0, original)
        if kind == "yarn":
            fast, slow = settings.beta_fast or 32.0, settings.beta_slow or 1.0
            scale = _yarn_scale(settings)
            return cls(
                theta, kind, factor, trained=original, beta_fast=fast, beta_slow=slow, truncate=settings.truncate, scale=scale
            )
        if kind == "longrope":
            far = (asked or 0) > original
            factors = tuple((settings.long_factor if far else settings.short_factor) or ())
            return cls(theta, kind, factors=factors, scale=_long_scale(settings, trained, original))
        return cls(theta, kind)


def _yarn_scale(settings: RopeSettings) -> float:
    def mscale(by: float) -> float:
        return 1.0 if settings.factor <= 1 else 0.1 * by * math.log(settings.factor) + 1.0

    if settings.attention_factor is not None:
        return settings.attention_factor
    if settings.mscale and settings.mscale_all_dim:
        return mscale(settings.mscale) / mscale(settings.mscale_all_dim)
    return mscale(1.0)


def _long_scale(settings: RopeSettings, trained: int, original: int) -> float:
    if settings.attention_factor is not None:
        return settings.attention_factor
    factor = settings.factor if "factor" in settings.model_fields_set else trained / original
    return 1.0 if factor <= 1 or original <= 1 else math.sqrt(1 + math.log(factor) / math.log(original))
