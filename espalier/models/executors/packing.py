"""Weights in the layout of the native kernels: whole panels of outputs, in one of their formats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from espalier.models.executors.weights import Layer

try:
    import espalier._kernels as _kernels
except ImportError:  # not built: the eager reference does the work
    _kernels = None  # type: ignore[assignment]

__all__ = ["KINDS", "PackedLayer", "holding", "layout", "matrix", "pack", "packed_layer"]

KINDS = {
    torch.float32: "float32",
    torch.float16: "float32",
    torch.bfloat16: "bfloat16",
    torch.int8: "int8",
    torch.quint4x2: "int4",
}
# What may take the place of a format for a matrix that it holds exactly: GGUF's Q4_0, Q4_1 and Q8_0 lie in groups of 32.
EXACT = {"int4": ("int4", "int8 by 32"), "int8": ("int8 by 32",)}
# A layer's norms (input, query, key, after attention, before and after the feed-forward block) and matrices (qkv, out, gate and
# up in the order of the panels, down), as the kernels take them.
PackedLayer = tuple[list[np.ndarray | None], list[Any]]
SLICE = 4096  # rows of a matrix that are converted at once while it is packed


def layout() -> int:
    """The number of the layout of packed matrices; another one means other bytes."""
    return int(_kernels.LAYOUT)


def matrix(kind: str, shape: tuple[int, ...], memory: np.ndarray, bias: np.ndarray | None) -> Any:
    """A matrix that was packed before, in memory that it shares."""
    out, inputs = shape
    made = _kernels.Matrix.of(kind, out, inputs, memory)
    if bias is not None:
        made.bias(bias)
    return made


def packed_layer(kind: str, layer: Layer) -> PackedLayer:
    """The norms and matrices of a layer, packed."""
    norms = (layer.norm, layer.q_norm, layer.k_norm, layer.out_norm, layer.mlp_norm, layer.down_norm)
    gate_up, gate_up_bias = _interleave(layer.gate_up), layer.gate_up_bias
    matrices = [
        pack(kind, layer.qkv, layer.qkv_bias),
        pack(kind, layer.out, layer.out_bias),
        pack(kind, gate_up, None if gate_up_bias is None else _interleave(gate_up_bias)),
        pack(kind, layer.down, layer.down_bias),
    ]
    return [None if norm is None else norm.float().contiguous().numpy() for norm in norms], matrices


def pack(kind: str, weight: Tensor, bias: Tensor | None) -> Any:
    """A matrix [out, in] of the kernels in this format; in int4 and int8 weights that whole numbers hold are kept exactly."""
    matrix = _kernels.Matrix(holding(weight, EXACT.get(kind, ())) or kind, *weight.shape)
    for first, rows in _slices(weight):
        matrix.fill(first, rows)
    if bias is not None:
        matrix.bias(bias.detach().float().contiguous().numpy())
    return matrix


def holding(weight: Tensor, kinds: Iterable[str] = EXACT["int4"]) -> str | None:
    """The first of these kinds that holds a matrix exactly.

    >>> holding(torch.arange(8.0)[None]), holding(torch.tensor([[0.0, 0.1, 1.0, 7.0]]))
    ('int4', None)
    """
    known = kinds if _kernels else ()
    return next((kind for kind in known if all(_kernels.holds(kind, rows) for _, rows in _slices(weight))), None)


def _slices(weight: Tensor) -> Iterator[tuple[int, np.ndarray]]:
    """Some rows after others as floats, each with the number of its first row."""
    for first in range(0, len(weight), SLICE):
        yield first, weight[first : first + SLICE].detach().float().contiguous().numpy()


def _interleave(gate_up: Tensor) -> Tensor:
    """The rows in the order of the panels: sixteen gates, the sixteen ups that belong to them, and so on."""
    gate, up = gate_up.chunk(2)
    short = -len(gate) % 16
    padding = (0, 0) * (gate.dim() - 1) + (0, short)
    parts = [F.pad(part, padding).reshape(-1, 16, *part.shape[1:]) for part in (gate, up)]
    return torch.stack(parts, 1).flatten(0, 2)
