"""Decoder-only transformers: the arithmetic in plain torch, and the model that answers for prefixes with some executor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from espalier.errors import InvalidInput
from espalier.models import native
from espalier.models.config import Config
from espalier.models.kv import KV
from espalier.models.packing import Pass
from espalier.models.weights import Ends, Layer, read_ends, read_layers
from espalier.prefix import Prefix
from espalier.rows import Rows
from espalier.scorer import Model

__all__ = ["Eager", "Executor", "Transformer"]

EXTRAS = frozenset({"hidden", "layers"})
DTYPES = {
    "fp32": torch.float32,
    "float32": torch.float32,
    "bf16": torch.bfloat16,
    "bfloat16": torch.bfloat16,
    "fp16": torch.float16,
    "float16": torch.float16,
    "int8": torch.int8,
}


class Executor(Protocol):
    """What runs the arithmetic of a pass. `eager` below is the readable one; `native.Engine` is the fast one on a CPU."""

    layers: int
    kv_dtype: torch.dtype
    device: torch.device

    def run(self, rows: Pass, keys: Tensor, values: Tensor, taps: bool) -> tuple[Tensor, Tensor | None]:
        """Returns for the rows in `rows.out` the residual stream after the final norm [n, D] and, with `taps`, before the first
        and after every layer [n, L + 1, D]; writes the keys and values of all rows."""
        ...

    def read(self, hidden: Tensor, norm: bool) -> Tensor:
        """Returns float32 logits [n, V] of rows of the residual stream, through the final norm first if `norm`."""
        ...

    def partial(self, layers: Sequence[int]) -> Executor:
        """Returns an executor of these layers only; weights are shared."""
        ...


class Eager:
    """Returns the reference executor: torch operations on any device, in float32, bfloat16 or float16.

    The residual stream, norms, softmax and logits are float32; matrices and what they multiply are in the dtype of the model.
    """

    def __init__(self, config: Config, layers: Sequence[Layer], ends: Ends, kinds: Sequence[int] | None = None) -> None:
        self.config = config
        self._layers = layers
        self._ends = ends
        self._kinds = list(range(config.layers)) if kinds is None else list(kinds)
        self.layers = len(layers)
        self.device = ends.embed.device
        self.kv_dtype = ends.embed.dtype
        self._frequencies = {rope: rope.frequencies(config.head_dim).to(self.device) for rope in set(config.ropes)}

    @torch.inference_mode()
    def run(self, rows: Pass, keys: Tensor, values: Tensor, taps: bool) -> tuple[Tensor, Tensor | None]:
        device, config = self.device, self.config
        tokens, slots, out = (torch.from_numpy(a.astype(np.int64)).to(device) for a in (rows.tokens, rows.slots, rows.out))
        positions = torch.from_numpy(rows.positions).to(device, torch.float32)
        columns, sees = _visible(rows)
        seen = torch.from_numpy(columns).to(device)
        masks = {window: torch.from_numpy(_window(sees, window)).to(device) for window in set(config.windows)}
        turns = {}
        for rope, frequencies in self._frequencies.items():
            angles = positions[:, None, None] * frequencies
            turns[rope] = (angles.cos() * rope.scale, angles.sin() * rope.scale)
        x = F.embedding(tokens, self._ends.embed).float() * config.embed_scale
        tapped = [x[out]] if taps else []
        for index, (kind, layer) in enumerate(zip(self._kinds, self._layers, strict=True)):
            h = _rms_norm(x, layer.norm, config.eps)
            q, k, v = self._project(layer, h, turns[config.ropes[kind]])
            keys[index, slots] = k.flatten(1).to(keys.dtype)
            values[index, slots] = v.flatten(1).to(values.dtype)
            h = self._attend(q, keys[index, seen], values[index, seen], masks[config.windows[kind]])
            x = x + _post_norm(_linear(h, layer.out, layer.out_bias), layer.out_norm, config.eps)
            gate, up = _linear(_rms_norm(x, layer.mlp_norm, config.eps), layer.gate_up, layer.gate_up_bias).chunk(2, -1)
            h = (F.gelu(gate, approximate="tanh") if config.gelu else F.silu(gate)) * up
            x = x + _post_norm(_linear(h, layer.down, layer.down_bias), layer.down_norm, config.eps)
            if taps:
                tapped.append(x[out])
        return _rms_norm(x[out], self._ends.norm, config.eps), torch.stack(tapped, 1) if taps else None

    def _project(self, layer: Layer, h: Tensor, turn: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Returns queries [R, heads, head_dim], keys and values [R, kv_heads, head_dim], normed and turned."""
        c = self.config
        qkv = _linear(h, layer.qkv, layer.qkv_bias).view(len(h), c.heads + 2 * c.kv_heads, c.head_dim)
        q, k, v = torch.split(qkv, [c.heads, c.kv_heads, c.kv_heads], 1)
        if layer.q_norm is not None and layer.k_norm is not None:
            q, k = _rms_norm(q, layer.q_norm, c.eps), _rms_norm(k, layer.k_norm, c.eps)
        return _turn(q, *turn), _turn(k, *turn), v

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Tensor:
        """Returns [R, heads head_dim]: each row's mix of the values [U, width] that its row of `mask` [R, U] lets it see."""
        c, rows = self.config, len(q)
        group = c.heads // c.kv_heads
        q = q.to(k.dtype).view(rows, c.kv_heads, group, c.head_dim).permute(1, 2, 0, 3)
        k = k.view(1, -1, c.kv_heads, c.head_dim).permute(2, 0, 3, 1)
        v = v.view(1, -1, c.kv_heads, c.head_dim).permute(2, 0, 1, 3)
        scores = (q @ k).float() * c.scale
        if c.attention_cap:
            scores = (scores / c.attention_cap).tanh() * c.attention_cap
        weights = scores.masked_fill(~mask, -torch.inf).softmax(-1)
        return (weights.to(v.dtype) @ v).permute(2, 0, 1, 3).reshape(rows, -1)

    @torch.inference_mode()
    def read(self, hidden: Tensor, norm: bool) -> Tensor:
        if norm:
            hidden = _rms_norm(hidden.float(), self._ends.norm, self.config.eps)
        logits = _linear(hidden, self._ends.head, self._ends.head_bias)
        cap = self.config.logit_cap
        return (logits / cap).tanh() * cap if cap else logits

    def partial(self, layers: Sequence[int]) -> Eager:
        kinds = [self._kinds[layer] for layer in layers]
        return Eager(self.config, [self._layers[layer] for layer in layers], self._ends, kinds)


class Transformer(Model):
    """Returns a model that answers with the law of the next token after each prefix, [N, V] float32 logits, one packed pass.

    Prefixes may be any trees of any requests; what they share is computed once and kept for as long as the prefix lives (`kv`).
    `want`: "hidden" gives extras["hidden"] [N, D], the last residual stream after the final norm; "layers" gives
    extras["layers"] [N, L + 1, D], the residual stream before the first and after every layer, not normed (`read` turns
    rows of it into logits). Long prompts are computed in chunks of `chunk` rows; `prefill` does so over several calls.

    Guarantee of the native kernels (float32, bfloat16, int8 on a CPU): a row's result is bitwise the same whatever else is in
    the pass, however its prefix was cut into nodes or chunks, and whether its past was cached, shared or computed again. The
    eager reference guarantees the same up to rounding.
    """

    def __init__(self, config: Config, executor: Executor, budget: int = 4 << 30, chunk: int = 256) -> None:
        self.config = config
        self.vocab_size = config.vocab_size
        self.executor = executor
        self._budget, self._chunk = budget, chunk
        width = config.kv_heads * config.head_dim
        self.kv = KV(executor.layers, width, executor.kv_dtype, executor.device, budget, config.context)

    @classmethod
    def from_weights(
        cls,
        config: Config,
        tensors: Mapping[str, Tensor],
        dtype: torch.dtype | str = torch.float32,
        device: torch.device | str = "cpu",
        *,
        eager: bool = False,
        budget: int = 4 << 30,
        chunk: int = 256,
    ) -> Transformer:
        """Returns the model with these weights, named as Hugging Face names them. `eager` asks for the plain torch reference.

        `dtype` is float32, bfloat16, float16 or int8 (weights in 8 bits with a scale per 64 inputs; native kernels only).
        """
        kind = DTYPES.get(dtype) if isinstance(dtype, str) else dtype
        if kind is None or kind not in DTYPES.values():
            raise InvalidInput(f"dtype {dtype!r} is not known; write one of {', '.join(DTYPES)} or the torch dtype")
        fast = torch.device(device).type == "cpu" and native.runs(config) and not eager
        if kind == torch.int8 and not fast:
            raise InvalidInput(
                "int8 weights run on the native CPU kernels only (device='cpu', eager=False, espalier._kernels built)"
            )
        ends = read_ends(config, tensors)
        if fast:
            return cls(config, native.Engine(config, read_layers(config, tensors), ends, kind), budget, chunk)
        embed, head = ends.embed.to(device, kind), ends.head.to(device, kind)
        bias = None if ends.head_bias is None else ends.head_bias.to(device, kind)
        moved = Ends(embed, ends.norm.to(device), embed if config.tied else head, bias)
        layers = [layer.to(kind, device) for layer in read_layers(config, tensors)]
        return cls(config, Eager(config, layers, moved), budget, chunk)

    @torch.inference_mode()
    def forward(self, prefixes: Sequence[Prefix], want: frozenset[str] = frozenset()) -> Rows:
        if unknown := want - EXTRAS:
            raise InvalidInput(f"this model cannot give {sorted(unknown)}; it can give {sorted(EXTRAS)}")
        plan = self.kv.plan(prefixes)
        taps = "layers" in want
        try:
            parts = [self._run(p, taps) for p in plan.passes(self._chunk)]
        except BaseException:
            self.kv.abandon(plan)
            raise
        self.kv.commit(plan)
        hidden = parts[0][0] if len(parts) == 1 else torch.cat([part for part, _ in parts])
        logits = self.executor.read(hidden, norm=False)
        extras = {"hidden": hidden} if "hidden" in want else {}
        if taps:
            extras["layers"] = torch.cat([tapped for _, tapped in parts if tapped is not None])
        rank = {row: i for i, row in enumerate(sorted(set(plan.asked)))}
        order = [rank[row] for row in plan.asked]
        if order != list(range(len(logits))):
            logits = logits[order]
            extras = {name: tensor[order] for name, tensor in extras.items()}
        return Rows(logits, prefixes, extras)

    def _run(self, rows: Pass, taps: bool) -> tuple[Tensor, Tensor | None]:
        if (highest := int(rows.tokens.view(np.uint32).max())) >= self.config.vocab_size:
            raise InvalidInput(
                f"token {np.uint32(highest).astype(np.int32)} is not in the vocabulary of {self.config.vocab_size} tokens"
            )
        return self.executor.run(rows, self.kv.keys, self.kv.values, taps)

    def prefill(self, x: Prefix, rows: int) -> int:
        """Computes at most `rows` more tokens of `x`, a long prompt in pieces; returns how many are missing then."""
        plan = self.kv.plan([x], rows)
        try:
            for p in plan.passes(self._chunk):
                self._run(p, False)
        except BaseException:
            self.kv.abandon(plan)
            raise
        self.kv.commit(plan)
        return self.kv.missing(x)

    def read(self, hidden: Tensor) -> Tensor:
        """Returns float32 logits [n, V] of rows [n, D] of the residual stream, say extras["layers"][:, l] (the logit lens)."""
        return self.executor.read(hidden, norm=True)

    def partial(self, layers: Sequence[int]) -> Transformer:
        """Returns the model that runs only these layers, in this order, with the same weights and a KV of its own."""
        if not layers or not all(0 <= layer < self.executor.layers for layer in layers):
            raise InvalidInput(f"layers {list(layers)} must be a non-empty choice from 0 … {self.executor.layers - 1}")
        return Transformer(self.config, self.executor.partial(layers), self._budget, self._chunk)


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


def _visible(rows: Pass) -> tuple[np.ndarray, np.ndarray]:
    """Returns the slots seen by any row [U], and how far back each lies for each row [R, U] (0 is itself, -1 is not seen)."""
    columns, where = np.unique(rows.paths, return_inverse=True)
    distance = np.full((len(rows.tokens), len(columns)), -1, np.int64)
    for s in range(len(rows.bounds) - 1):
        own = slice(rows.bounds[s], rows.bounds[s + 1])
        path = where[rows.starts[s] : rows.starts[s + 1]]
        back = rows.positions[own, None] - np.arange(len(path))[None]
        distance[own, path] = np.where(back < 0, -1, back)
    return columns.astype(np.int64), distance


def _window(distance: np.ndarray, window: int | None) -> np.ndarray:
    return (distance >= 0) & (distance < (window or np.iinfo(np.int64).max))
