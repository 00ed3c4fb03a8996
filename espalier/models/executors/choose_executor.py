"""Which executor runs a model: by device, number format and what is asked for."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from espalier.errors import InvalidInput
from espalier.models.executors import native
from espalier.models.executors.cuda import Captured
from espalier.models.executors.eager import Eager, Executor
from espalier.models.executors.weights import Ends, read_ends, read_layers, untied
from espalier.models.families import Config

__all__ = ["DTYPES", "executor_of"]

DTYPES = {
    "fp32": torch.float32,
    "float32": torch.float32,
    "bf16": torch.bfloat16,
    "bfloat16": torch.bfloat16,
    "fp16": torch.float16,
    "float16": torch.float16,
    "int8": torch.int8,
    "int4": torch.quint4x2,
}


def executor_of(
    config: Config,
    tensors: Mapping[str, Tensor],
    dtype: torch.dtype | str,
    device: torch.device | str,
    *,
    eager: bool,
    graphs: bool,
) -> tuple[Config, Executor]:
    """The executor of these weights, and the settings that it runs with; see `Transformer.from_weights`."""
    kind = DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if kind is None or kind not in DTYPES.values():
        raise InvalidInput(f"dtype {dtype!r} is not known; write one of {', '.join(DTYPES)} or the torch dtype")
    if graphs and torch.device(device).type != "cuda":
        raise InvalidInput(f"graphs=True captures passes on CUDA, but the device is {device}; leave it out")
    fast = torch.device(device).type == "cpu" and native.runs(config) and not eager
    if kind in (torch.int8, torch.quint4x2) and not fast:
        raise InvalidInput(
            "int8 and int4 weights run on the native CPU kernels only (device='cpu', eager=False, espalier._kernels built)"
        )
    config = untied(config, tensors)
    ends = read_ends(config, tensors)
    if fast:
        return config, native.Engine(config, read_layers(config, tensors), ends, kind)
    embed, head = ends.embed.to(device, kind), ends.head.to(device, kind)
    bias = None if ends.head_bias is None else ends.head_bias.to(device, kind)
    moved = Ends(embed, ends.norm.to(device), embed if config.tied else head, bias)
    layers = [layer.to(kind, device) for layer in read_layers(config, tensors)]
    executor = Eager(config, layers, moved)
    return config, Captured(executor) if graphs else executor
