"""Keys and values in 4 bits, as the native kernels read them: for drafts, whose rows need not be exact."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["GROUP", "pack", "unpack", "width"]

GROUP = 16  # numbers that share their least one and a step


def width(numbers: int) -> int:
    """The bytes of a slot of so many numbers (a multiple of 16): three quarters of one each.

    >>> width(192)
    144
    """
    return numbers // GROUP * (GROUP // 2 + 4)


def pack(numbers: Tensor) -> Tensor:
    """Numbers [..., n] as bytes [..., width(n)].

    Of each sixteen, eight bytes hold the digits (lanes 0 to 7 in their low halves, 8 to 15 in their high ones), four the least
    number and the step between digits in bfloat16. A number comes back within half a step, and the rounding of those two.
    QuantSpec (Tiwari et al. 2025, arXiv 2502.10424) groups keys by channel; where every token has a slot of its own, a group is
    of one token.

    >>> pack(torch.arange(16.0))[:10].tolist()
    [128, 145, 162, 179, 196, 213, 230, 247, 0, 0]
    """
    groups = numbers.float().reshape(*numbers.shape[:-1], -1, GROUP)
    low, high = groups.amin(-1), groups.amax(-1)
    scale = torch.stack([low, (high - low) / 15], -1).bfloat16()
    by, above = scale[..., 1:].float(), groups - scale[..., :1].float()
    digits = torch.where(by > 0, above / torch.where(by > 0, by, 1), 0).clamp(0, 15).add(0.5).to(torch.uint8)
    packed = digits[..., :8] | digits[..., 8:] << 4
    return torch.cat([packed, scale.view(torch.uint8)], -1).flatten(-2)


def unpack(packed: Tensor) -> Tensor:
    """The numbers [..., n], float32, of bytes [..., width(n)]: what the kernels see.

    >>> unpack(pack(torch.arange(16.0))).tolist() == list(range(16))
    True
    """
    groups = packed.reshape(*packed.shape[:-1], -1, GROUP // 2 + 4)
    digits = torch.cat([groups[..., :8] & 15, groups[..., :8] >> 4], -1)
    scale = groups[..., 8:].contiguous().view(torch.bfloat16).float()
    return torch.addcmul(scale[..., :1], digits.float(), scale[..., 1:]).flatten(-2)
