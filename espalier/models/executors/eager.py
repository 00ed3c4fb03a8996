"""The arithmetic of decoder-only transformers in plain torch: the readable reference, on any device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from espalier.models.executors.soft_rows import SoftRows
from espalier.models.executors.sublayers import Sublayers
from espalier.models.executors.weights import Ends, Layer
from espalier.models.families import Config
from espalier.models.kv.layout import Pass
from espalier.models.rope import Rope

__all__ = ["Eager", "Executor", "Inputs", "visible"]


class Executor(Protocol):
    """What runs the arithmetic of a pass. `eager` below is the readable one; `native.Engine` is the fast one on a CPU."""

    layers: int
    kv_dtype: torch.dtype
    device: torch.device
    stages: bool  # whether it goes on from a residual stream, and runs halves of layers

    def run(
        self, rows: Pass, keys: Tensor, values: Tensor, taps: bool, *, start: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """For the rows in `rows.out` the residual stream after the final norm [n, D] and, with `taps`, before the first
        and after every layer [n, L + 1, D]; writes the keys and values of all rows. `start` [R, D]: the residual stream to
        begin with, in place of embedded tokens. An executor with an `embedding` [V, D] takes `soft` besides: a `SoftRows`, what
        is given for tokens."""
        ...

    def read(self, hidden: Tensor, norm: bool) -> Tensor:
        """Float32 logits [n, V] of rows of the residual stream, through the final norm first if `norm`."""
        ...

    def partial(self, layers: Sequence[int]) -> Executor:
        """An executor of these layers only, with keys and values of as many layers; weights are shared."""
        ...

    def within(self, layers: Sequence[Sublayers]) -> Executor:
        """An executor of these sublayers only, on the keys and values of all layers; weights are shared."""
        ...


@dataclass(frozen=True)
class Inputs:
    """A pass as tensors: R rows, of which `out` are answered; row r sees column u (a slot) if 0 ≤ back[r, u] < window."""

    tokens: Tensor  # [R]
    positions: Tensor  # [R], float32
    slots: Tensor  # [R], where each row's keys and values go
    seen: Tensor  # [U], the slots that any row sees
    back: Tensor  # [R, U], how many positions back each lies, -1 if it is not seen
    out: Tensor  # [n]

    @classmethod
    def of(cls, rows: Pass) -> Inputs:
        """The inputs of a packed pass, on the CPU."""
        seen, back = visible(rows)
        tokens, slots, out = (torch.from_numpy(a.astype(np.int64)) for a in (rows.tokens, rows.slots, rows.out))
        positions = torch.from_numpy(rows.positions).to(torch.float32)
        return cls(tokens, positions, slots, torch.from_numpy(seen), torch.from_numpy(back), out)

    def tensors(self) -> list[Tensor]:
        """All fields, in order."""
        return [getattr(self, field.name) for field in fields(self)]

    def to(self, device: torch.device) -> Inputs:
        """The inputs on a device."""
        return Inputs(*(tensor.to(device) for tensor in self.tensors()))


class Eager:
    """The reference executor: torch operations on any device, in float32, bfloat16 or float16.

    The residual stream, norms, softmax and logits are float32; matrices and what they multiply are in the dtype of the model.
    """

    stages = True

    def __init__(
        self,
        config: Config,
        layers: Sequence[Layer],
        ends: Ends,
        kinds: Sequence[int] | None = None,
        places: Sequence[Sublayers] | None = None,
    ) -> None:
        self.config = config
        self._layers = layers
        self._ends = ends
        self._kinds = list(range(config.layers)) if kinds is None else list(kinds)
        self._places = [Sublayers(at) for at in range(len(layers))] if places is None else list(places)
        self.layers = len(layers)
        self.device = ends.embed.device
        self.kv_dtype = ends.embed.dtype
        self._frequencies = {rope: rope.frequencies(config.head_dim).to(self.device) for rope in set(config.ropes)}

    @property
    def embedding(self) -> Tensor:
        """The input embeddings of all tokens [V, D]."""
        return self._ends.embed

    def run(
        self, rows: Pass, keys: Tensor, values: Tensor, taps: bool, soft: SoftRows | None = None, start: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        with torch.set_grad_enabled(soft is not None and soft.gradients):
            return self.compute(Inputs.of(rows).to(self.device), keys, values, taps, soft, start)

    def compute(
        self, rows: Inputs, keys: Tensor, values: Tensor, taps: bool, soft: SoftRows | None = None, start: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """What `run` returns, from tensors alone: without `soft` nothing here looks at a value, so the pass can be captured."""
        config = self.config
        masks = {window: _window(rows.back, window) for window in set(config.windows)}
        turns = {}
        for rope, frequencies in self._frequencies.items():
            angles = rows.positions[:, None, None] * frequencies
            turns[rope] = (angles.cos() * rope.scale, angles.sin() * rope.scale)
        x = F.embedding(rows.tokens, self._ends.embed).float()
        x = (x if soft is None else soft.embedded(x)) * config.embed_scale if start is None else start
        columns = (rows.seen == rows.slots[:, None]).int().argmax(1) if soft is not None and soft.gradients else rows.slots
        tapped = [x[rows.out]] if taps else []
        for place, kind, layer in zip(self._places, self._kinds, self._layers, strict=True):
            if place.attends:
                x = x + self._mixed(layer, kind, place.layer, x, turns, masks, keys, values, rows, columns, soft)
            if place.feeds:
                gate, up = _linear(_rms_norm(x, layer.mlp_norm, config.eps), layer.gate_up, layer.gate_up_bias).chunk(2, -1)
                h = (F.gelu(gate, approximate="tanh") if config.gelu else F.silu(gate)) * up
                x = x + _post_norm(_linear(h, layer.down, layer.down_bias), layer.down_norm, config.eps)
            if taps:
                tapped.append(x[rows.out])
        if soft is not None and soft.attention:
            soft.tell(rows.back[rows.out], rows.positions[rows.out])
        return _rms_norm(x[rows.out], self._ends.norm, config.eps), torch.stack(tapped, 1) if taps else None

    def _mixed(
        self,
        layer: Layer,
        kind: int,
        at: int,
        x: Tensor,
        turns: dict[Rope, tuple[Tensor, Tensor]],
        masks: dict[int | None, Tensor],
        keys: Tensor,
        values: Tensor,
        rows: Inputs,
        columns: Tensor,
        soft: SoftRows | None,
    ) -> Tensor:
        """What a layer's attention adds to the residual stream; its keys and values are written at `at`."""
        config = self.config
        q, k, v = self._project(layer, _rms_norm(x, layer.norm, config.eps), turns[config.ropes[kind]])
        k, v = k.flatten(1), v.flatten(1)
        if soft is not None:
            k, v = soft.kept(at, k, v)
        keys[at, rows.slots] = k.detach().to(keys.dtype)
        values[at, rows.slots] = v.detach().to(values.dtype)
        seen = keys[at, rows.seen], values[at, rows.seen]
        if soft is not None:
            seen = soft.fresh(seen[0], columns, k), soft.fresh(seen[1], columns, v)
        h, weights = self._attend(q, *seen, masks[config.windows[kind]])
        if soft is not None and soft.attention:
            soft.note(weights.mean((0, 1))[rows.out])
        return _post_norm(_linear(h, layer.out, layer.out_bias), layer.out_norm, config.eps)

    def _project(self, layer: Layer, h: Tensor, turn: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Queries [R, heads, head_dim], keys and values [R, kv_heads, head_dim], normed and turned."""
        c = self.config
        qkv = _linear(h, layer.qkv, layer.qkv_bias).view(len(h), c.heads + 2 * c.kv_heads, c.head_dim)
        q, k, v = torch.split(qkv, [c.heads, c.kv_heads, c.kv_heads], 1)
        if layer.q_norm is not None and layer.k_norm is not None:
            q, k = _rms_norm(q, layer.q_norm, c.eps), _rms_norm(k, layer.k_norm, c.eps)
        return _turn(q, *turn), _turn(k, *turn), v

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """[R, heads head_dim]: each row's mix of the values [U, width] that its row of `mask` [R, U] lets it see; weights."""
        c, rows = self.config, len(q)
        group = c.heads // c.kv_heads
        q = q.to(k.dtype).view(rows, c.kv_heads, group, c.head_dim).permute(1, 2, 0, 3)
        k = k.view(1, -1, c.kv_heads, c.head_dim).permute(2, 0, 3, 1)
        v = v.view(1, -1, c.kv_heads, c.head_dim).permute(2, 0, 1, 3)
        scores = (q @ k).float() * c.scale
        if c.attention_cap:
            scores = (scores / c.attention_cap).tanh() * c.attention_cap
        weights = scores.masked_fill(~mask, -torch.inf).softmax(-1)
        return (weights.to(v.dtype) @ v).permute(2, 0, 1, 3).reshape(rows, -1), weights

    def read(self, hidden: Tensor, norm: bool) -> Tensor:
        if norm:
            hidden = _rms_norm(hidden.float(), self._ends.norm, self.config.eps)
        logits = _linear(hidden, self._ends.head, self._ends.head_bias)
        cap = self.config.logit_cap
        return (logits / cap).tanh() * cap if cap else logits

    def trimmed(self, keep: Tensor) -> Eager:
        """The executor whose head has these rows only."""
        bias = None if self._ends.head_bias is None else self._ends.head_bias[keep]
        ends = replace(self._ends, head=self._ends.head[keep], head_bias=bias)
        return Eager(self.config, self._layers, ends, self._kinds, self._places)

    def partial(self, layers: Sequence[int]) -> Eager:
        kinds = [self._kinds[layer] for layer in layers]
        return Eager(self.config, [self._layers[layer] for layer in layers], self._ends, kinds)

    def within(self, layers: Sequence[Sublayers]) -> Eager:
        kinds = [self._kinds[each.layer] for each in layers]
        return Eager(self.config, [self._layers[each.layer] for each in layers], self._ends, kinds, layers)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return F.linear(x.to(weight.dtype), weight, bias).float()


def _rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Root mean square layer normalisation (Zhang and Sennrich 2019, 1910.07467) over the last dimension."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight


def _post_norm(x: Tensor, weight: Tensor | None, eps: float) -> Tensor:
    return x if weight is None else _rms_norm(x, weight, eps)


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns the pairs (i, i + head_dim / 2) of each head by the angle of its position."""
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def visible(rows: Pass) -> tuple[np.ndarray, np.ndarray]:
    """The slots seen by any row [U], and how far back each lies for each row [R, U] (0 is itself, -1 is not seen)."""
    if len(rows.bounds) == 2:  # one span sees one path
        back = rows.positions[:, None].astype(np.int32) - np.arange(len(rows.paths), dtype=np.int32)[None]
        return rows.paths.astype(np.int64), np.maximum(back, -1)
    columns, where = np.unique(rows.paths, return_inverse=True)
    distance = np.full((len(rows.tokens), len(columns)), -1, np.int32)
    for s in range(len(rows.bounds) - 1):
        own = slice(rows.bounds[s], rows.bounds[s + 1])
        path = where[rows.starts[s] : rows.starts[s + 1]]
        distance[own, path] = np.maximum(rows.positions[own, None] - np.arange(len(path), dtype=np.int32)[None], -1)
    return columns.astype(np.int64), distance


def _window(back: Tensor, window: int | None) -> Tensor:
    return (back >= 0) & (back < (window or torch.iinfo(back.dtype).max))
