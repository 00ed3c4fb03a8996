"""In which format a checkpoint's weights run when the choice is left to the library."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from espalier.models.executors.packing import holding

SLICE = 1 << 22  # numbers looked at together


def fitting(tensors: Mapping[str, Tensor], device: torch.device, kernels: bool = True) -> tuple[torch.dtype, str]:
    """The fastest format that keeps every bit of the matrices, and why; on CUDA bfloat16, whatever they are stored in.

    Where the native kernels run the model (`kernels`), matrices that 4 bits with a scale and a least per 32 inputs hold,
    or 8 bits with a scale, run in int4 (in int8 if all of them need 8 bits), those that bfloat16 holds in it, even if the file
    has them in float32; all others in float32. What int8 and int4 would round runs in them only if they are asked for.

    >>> fitting({"a.weight": torch.tensor([[1.0, 2.0, 8.5]])}, torch.device("cpu"))
    (torch.quint4x2, 'its weights were rounded to 4 bits before, and are kept exactly')
    >>> fitting({"a.weight": torch.tensor([[1.0, 2.0, 2.0**40]])}, torch.device("cpu"))
    (torch.bfloat16, 'bfloat16 holds its weights exactly')
    >>> fitting({"a.weight": torch.tensor([[0.1, 0.3, 0.7]])}, torch.device("cpu"))
    (torch.float32, 'bfloat16 would round a.weight')
    """
    if device.type == "cuda":
        return torch.bfloat16, "it is the fast one on CUDA"
    if not kernels:
        return torch.float32, "torch's own bfloat16 is slow on a CPU"
    if (whole := _whole_numbers(tensors)) is not None:
        few = "4 bits" if whole == torch.quint4x2 else "8 bits"
        return whole, f"its weights were rounded to {few} before, and are kept exactly"
    for name, tensor in _matrices(tensors):
        if not _is_bfloat16(tensor):
            return torch.float32, f"bfloat16 would round {name}"
    return torch.bfloat16, "bfloat16 holds its weights exactly"


def _matrices(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    for name in tensors:
        tensor = tensors[name]
        if tensor.dim() == 2 and tensor.is_floating_point():
            yield name, tensor


def _whole_numbers(tensors: Mapping[str, Tensor]) -> torch.dtype | None:
    """int4 or int8, if it holds all matrices exactly."""
    kinds = set[str]()
    for _, tensor in _matrices(tensors):
        if (kind := holding(tensor)) is None:
            return None
        kinds.add(kind)
    return None if not kinds else torch.quint4x2 if "int4" in kinds else torch.int8


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
