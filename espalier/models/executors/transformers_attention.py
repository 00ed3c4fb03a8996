"""Attention over our keys and values, as transformers' attention and mask registries want it (see `transformers.py`)."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from espalier.errors import InvalidInput, LoadError

__all__ = ["NAME", "Turn", "attention", "current", "mask", "register"]

NAME = "espalier"


@dataclass(eq=False)
class Turn:
    """What attention sees in one pass. Without `keys` the rows see each other, and the shapes of their keys are noted."""

    positions: Tensor  # [R]
    columns: Tensor  # [U] positions of the slots that are seen
    sees: Tensor  # bool [R, U]
    place: dict[int, int]  # the model's layer index → ours
    slots: Tensor | None = None
    seen: Tensor | None = None
    keys: Tensor | None = None
    values: Tensor | None = None
    shapes: dict[int, tuple[int, int]] = field(default_factory=dict)


current: ContextVar[Turn | None] = ContextVar("turn", default=None)


def mask(*_: Any, mask_function: Callable[..., Tensor], **__: Any) -> Tensor:
    """bool [1, 1, R, U]: what the model's mask function says of the positions, among what each row's path holds."""
    turn = _now()
    zero = torch.zeros((), dtype=torch.long, device=turn.positions.device)
    allowed = mask_function(zero, zero, turn.positions[:, None], turn.columns[None])
    return (turn.sees & allowed)[None, None]


def attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """[1, R, heads, dim]: attention of the rows (query, key, value: [1, heads, R, dim]) over their own paths."""
    turn = _now()
    if strange := [name for name, value in others.items() if value is not None and "bias" in name]:
        raise LoadError(f"{type(module).__name__} wants {strange} in its attention, which this executor does not know")
    k, v = _remember(turn, int(module.layer_idx), key[0], value[0])  # type: ignore[arg-type]
    visible = turn.sees if attention_mask is None else attention_mask[0, 0]
    rows, group = query.shape[2], query.shape[1] // k.shape[0]
    q = query[0].reshape(k.shape[0], group * rows, -1)
    scores = (q @ k.transpose(1, 2)).float() * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    scores = scores.view(k.shape[0], group, rows, -1)
    if softcap is not None:
        scores = (scores / softcap).tanh() * softcap
    scores = scores.masked_fill(~visible, -torch.inf)
    if s_aux is not None:  # a sink per head takes a share of the weight and gives nothing (Xiao et al. 2023, 2309.17453)
        sinks = s_aux.float().view(k.shape[0], group, 1, 1).expand(-1, -1, rows, 1)
        weights = torch.cat([scores, sinks], -1).softmax(-1)[..., :-1]
    else:
        weights = scores.softmax(-1)
    mixed = weights.flatten(1, 2).to(v.dtype) @ v
    return mixed.reshape(query.shape[1], rows, -1).transpose(0, 1)[None].contiguous(), None


def _remember(turn: Turn, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Writes the rows' keys and values [heads, R, dim] into their slots; returns those of all slots that are seen."""
    k, v = key.transpose(0, 1).flatten(1), value.transpose(0, 1).flatten(1)
    if turn.keys is None or turn.values is None:
        turn.shapes[layer] = (k.shape[1], v.shape[1])
        return key, value
    at = turn.place[layer]
    turn.keys[at, turn.slots, : k.shape[1]] = k.to(turn.keys.dtype)
    turn.values[at, turn.slots, : v.shape[1]] = v.to(turn.values.dtype)
    keys = turn.keys[at, turn.seen, : k.shape[1]].view(-1, *key.shape[::2]).transpose(0, 1)
    values = turn.values[at, turn.seen, : v.shape[1]].view(-1, *value.shape[::2]).transpose(0, 1)
    return keys.to(key.dtype), values.to(value.dtype)


def _now() -> Turn:
    turn = current.get()
    if turn is None:
        raise InvalidInput("this transformers model belongs to Espalier now; ask it through Espalier, not by calling it")
    return turn


def register() -> None:
    """Makes both known to transformers under `NAME`."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, attention)
    AttentionMaskInterface.register(NAME, mask)
