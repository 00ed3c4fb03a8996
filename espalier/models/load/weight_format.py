"""In which format a checkpoint's weights run when the choice is left to the library."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

SLICE = 1 << 22  # numbers looked at together


def fitting(tensors: Mapping[str, Tensor], device: torch.device, kernels: bool = True) -> tuple[torch.dtype, str]:
    """The fastest format that keeps every bit of the matrices, and why; on CUDA bfloat16, whatever they are stored in.

    Matrices that bfloat16 holds exactly run in it, even if the file has them in float32, where the native kernels run the model
    (`kernels`); all others in float32. int8 and int4 round, so they must be asked for.

    >>> fitting({"a.weight": torch.ones(2, 2)}, torch.device("cpu"))
    (torch.bfloat16, 'bfloat16 holds its weights exactly')
    >>> fitting({"a.weight": torch.full((2, 2), 0.1)}, torch.device("cpu"))
    (torch.float32, 'bfloat16 would round a.weight')
    """
    if device.type == "cuda":
        return torch.bfloat16, "it is the fast one on CUDA"
    if not kernels:
        return torch.float32, "torch's own bfloat16 is slow on a CPU"
    for name in tensors:
        tensor = tensors[name]
        if tensor.dim() == 2 and tensor.is_floating_point() and not _is_bfloat16(tensor):
            return torch.float32, f"bfloat16 would round {name}"
    return torch.bfloat16, "bfloat16 holds its weights exactly"


def named(dtype: torch.dtype) -> str:
    """The name of a format, as it is written in `dtype=`.

    >>> named(torch.bfloat16), named(torch.quint4x2)
    ('bfloat16', 'int4')
    """
    return "int4" if dtype == torch.quint4x2 else str(dtype).removeprefix("torch.")


def _is_bfloat16(tensor: Tensor) -> bool:
    if tensor.dtype == torch.bfloat16:
        return True
    flat = tensor.reshape(-1)
    parts = (flat[at : at + SLICE] for at in range(0, len(flat), SLICE))
    return all(bool(torch.equal(part.bfloat16().to(part.dtype), part)) for part in parts)
