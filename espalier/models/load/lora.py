"""Adapters of low rank (LoRA), merged into the weights that they were trained for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from espalier.errors import LoadError
from espalier.models.load.folder import Weights, read_shard, text_tensors
from espalier.text.json_files import checked, read_json

__all__ = ["merged"]


class _Adapter(BaseModel):
    """What `adapter_config.json` says of the arithmetic."""

    model_config = ConfigDict(extra="ignore", strict=True)
    peft_type: str
    r: Annotated[int, Field(gt=0, le=1 << 16)]
    lora_alpha: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    fan_in_fan_out: bool = False
    use_rslora: bool = False
    rank_pattern: dict[str, Annotated[int, Field(gt=0)]] = Field(default_factory=dict)
    alpha_pattern: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(default_factory=dict)
    layer_replication: list[Any] | None = None


def merged(weights: Weights, folder: Path) -> Weights:
    """The weights with the adapter of a folder (`adapter_config.json`, `adapter_model.safetensors`) added to them.

    W + alpha / r · B A for every matrix with a pair A, B (Hu et al. 2021, "LoRA", arXiv 2106.09685; alpha / √r with rsLoRA,
    Kalajdzievski 2023, 2312.03732), its columns given their own lengths with DoRA (Liu et al. 2024, 2402.09353); tensors
    that were trained whole take the place of the old ones. Raises `LoadError` where any tensor of the adapter has no place
    in the model, or the adapter is of another kind.
    """
    where = str(folder / "adapter_config.json")
    said = read_json(folder / "adapter_config.json")
    settings = checked(_Adapter, {name: value for name, value in said.items() if value is not None}, where)
    if settings.peft_type != "LORA" or settings.layer_replication:
        raise LoadError(f"{where}: peft_type is {settings.peft_type!r}; adapters of the kind 'LORA' can be merged")
    if "quantization_config" in weights.config:
        raise LoadError(f"{folder} cannot be merged: the weights of the model are quantised; load the model that is not")
    path = folder / "adapter_model.safetensors"
    if not path.is_file():
        raise LoadError(f"{path} does not exist; an adapter's weights are read from there (a *.bin could run code when opened)")
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in read_shard(path).items():
        target, part = _place(name)
        parts.setdefault(target, {})[part] = tensor
    names = {name.removeprefix("model."): name for name in weights.stored}  # some adapters are named from inside the model
    stored = dict(weights.stored)
    for target, given in parts.items():
        name = target if target in stored else names.get(target.removeprefix("model."), "")
        if not name and target == "lm_head.weight" and "embed_tokens.weight" in names:  # tied until now
            name, stored[target] = target, weights.stored[names["embed_tokens.weight"]]
        if not name:
            raise LoadError(f"{path} changes {target!r}, which the model does not have; it was trained for another one")
        stored[name] = _changed(stored[name], given, settings, target, str(path))
    sources = (*weights.sources, path, folder / "adapter_config.json")
    return replace(weights, stored=stored, tensors=text_tensors(stored), sources=sources)


def _place(name: str) -> tuple[str, str]:
    """The tensor of the model that one of the adapter changes, and by what."""
    plain = name.removeprefix("base_model.model.").replace(".base_layer.", ".").replace(".modules_to_save.", ".")
    for part in ("lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector"):
        for ending in (f".{part}.weight", f".{part}.default.weight", f".{part}.default", f".{part}"):
            if plain.endswith(ending):
                return f"{plain.removesuffix(ending)}.weight", part.replace("embedding_", "embedding ")
    return plain, "whole"


def _changed(old: Tensor, given: Mapping[str, Tensor], settings: _Adapter, target: str, where: str) -> Tensor:
    whole = given.get("whole")
    if whole is not None and whole.shape != old.shape:
        raise LoadError(f"{where}: {target} has the shape {list(whole.shape)}, the model's {list(old.shape)}")
    base = old if whole is None else whole.to(old.dtype)
    if set(given) == {"whole"}:
        return base
    table = "lora_embedding A" in given
    a, b = (given.get(f"lora_embedding {part}" if table else f"lora_{part}") for part in "AB")
    if a is None or b is None:
        raise LoadError(f"{where}: {target} has {', '.join(sorted(given))}, but A and B belong together")
    turned = settings.fan_in_fan_out and not table
    shape = old.T.shape if turned or table else old.shape
    if a.dim() != 2 or b.dim() != 2 or (b.shape[0], a.shape[1]) != tuple(shape) or a.shape[0] != b.shape[1]:
        raise LoadError(f"{where}: {target} is {list(old.shape)}, A {list(a.shape)} and B {list(b.shape)}; they do not fit")
    rank, alpha = _strength(settings, target)
    if rank != a.shape[0]:
        raise LoadError(f"{where}: {target} has the rank {a.shape[0]}, but adapter_config.json says r {rank}")
    delta = (b.float() @ a.float()) * (alpha / (rank**0.5 if settings.use_rslora else rank))
    weight = base.float() + (delta.T if turned or table else delta)
    if (length := given.get("lora_magnitude_vector")) is not None:
        if length.numel() != shape[0] or turned or table:
            raise LoadError(f"{where}: {target} has {length.numel()} lengths for {shape[0]} rows")
        weight = weight * (length.float().flatten() / weight.norm(dim=1))[:, None]
    if not bool(torch.isfinite(weight).all()):
        raise LoadError(f"{where}: {target} with the adapter has weights that are not numbers")
    return weight.to(old.dtype)


def _strength(settings: _Adapter, target: str) -> tuple[int, float]:
    """The rank and alpha of one module; a pattern names the end of its name."""
    module = target.removesuffix(".weight")

    def pattern(patterns: Mapping[str, Any], default: Any) -> Any:
        return next((value for name, value in patterns.items() if module == name or module.endswith(f".{name}")), default)

    return pattern(settings.rank_pattern, settings.r), pattern(settings.alpha_pattern, settings.lora_alpha)
