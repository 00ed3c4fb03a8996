"""The fast executor: packed weights, and a whole pass in one call of the native CPU kernels (core/kernels)."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from copy import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from espalier.errors import InvalidInput
from espalier.models.executors.packing import KINDS, PackedLayer, pack, packed_layer
from espalier.models.executors.soft_rows import SoftRows
from espalier.models.executors.sublayers import Sublayers
from espalier.models.executors.weights import Ends, Layer
from espalier.models.families import Config
from espalier.models.kv.layout import Pass

try:
    import espalier._kernels as _kernels
except ImportError:  # not built: the eager reference does the work
    _kernels = None  # type: ignore[assignment]

__all__ = [
    "Engine",
    "available",
    "choose",
    "chosen",
    "kernels",
    "log_sum_exp",
    "products",
    "quick",
    "read",
    "runs",
    "set_threads",
    "threads",
    "top",
    "trim_memory",
    "zeros",
]


def available() -> bool:
    """Whether the native kernels were built."""
    return _kernels is not None


def runs(config: Config) -> bool:
    """Whether the kernels can run a model of this shape: heads must be whole vectors of sixteen.

    Raises InvalidInput if ESPALIER_KERNELS names an instruction set that is not there.
    """
    if _refused is not None:
        raise _refused
    return available() and config.head_dim % 16 == 0


def kernels() -> list[str]:
    """The names of the instruction sets that this processor can run, the fastest first; the first is in use."""
    return [] if _kernels is None else list(_kernels.kernels())


def choose(name: str) -> None:
    """Uses another instruction set from now on (for tests and measurements); ESPALIER_KERNELS does so from the start.

    Raises InvalidInput for one that this processor or this build has not.
    """
    if name not in kernels():
        there = ", ".join(kernels()) or "none: the native kernels are not built"
        raise InvalidInput(f"the instruction set {name!r} cannot be used here; write one of those that are there ({there})")
    _kernels.choose(name)


def chosen() -> str:
    """The name of the instruction set in use."""
    return "" if _kernels is None else str(_kernels.chosen())


def quick() -> bool:
    """Whether the instruction set in use widens bfloat16 as fast as memory gives it."""
    return chosen() != "base" or platform.machine() in ("aarch64", "arm64")


def threads() -> int:
    """The number of threads that share a pass."""
    return int(_kernels.threads())


def set_threads(count: int) -> None:
    """Shares every later pass among `count` threads; ESPALIER_THREADS does so from the start. No pass may be running."""
    _kernels.set_threads(count)


def zeros(*shape: int, dtype: torch.dtype) -> Tensor:
    """Zeroed memory, on large pages where the system has them: streams through it need not look up so many addresses."""
    memory = torch.empty(shape, dtype=dtype)
    if _kernels is not None:
        _kernels.wish_large_pages(memory.data_ptr(), memory.nbytes)
    return memory.zero_()


def trim_memory() -> None:
    """Gives back to the system what was freed but is still held by the C library (glibc; nothing elsewhere)."""
    if _kernels is not None:
        _kernels.trim_memory()


def log_sum_exp(row: Tensor) -> float:
    """log Σ exp over a row of logits [V]."""
    if _kernels is None or not row.is_cpu or row.dtype != torch.float32:
        return float(row.logsumexp(-1))
    return float(_kernels.log_sum_exp(row.detach().contiguous().numpy()))


def top(rows: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k greatest numbers of each row [N, V] and where they are (int32), both [N, min(k, V)], the greatest first.

    >>> top(torch.tensor([[0.0, 2.0, 1.0]]), 2)
    (tensor([[2., 1.]]), tensor([[1, 2]], dtype=torch.int32))
    """
    k = min(k, rows.shape[1])
    if _kernels is None or not rows.is_cpu or rows.dtype != torch.float32:
        found = rows.topk(k)
        return found.values, found.indices.int()
    values, places = torch.empty(len(rows), k, dtype=torch.float32), torch.empty(len(rows), k, dtype=torch.int32)
    _kernels.top(rows.detach().contiguous().numpy(), values.numpy(), places.numpy())
    return values, places


def products(kind: str, rounds: int) -> float:
    """How many products of weights of this kind ("float32", "bfloat16", "int8") were made in so many rounds on all threads."""
    return float(_kernels.products(kind, rounds))


def read(memory: np.ndarray) -> int:
    """Reads floats from end to end on all threads; how many bytes were read."""
    return int(_kernels.read(memory))


_refused: InvalidInput | None = None  # said when a model is loaded: an import must not fail
if wanted := os.environ.get("ESPALIER_KERNELS", ""):
    try:
        choose(wanted)
    except InvalidInput as error:
        _refused = InvalidInput(f"ESPALIER_KERNELS={wanted}: {error}")
if _kernels is not None and (count := os.environ.get("ESPALIER_THREADS", "")).isdigit():
    set_threads(max(1, int(count)))


class Engine:
    """The executor that runs float32, bfloat16, int8 or int4 weights on the threads of the CPU (float16 as float32).

    The residual stream, norms, softmax, logits and all sums are float32. In all but float32, keys and values are bfloat16;
    int8 weights have a scale per output and 64 inputs, int4 weights a scale and a least (float16) per output and 32 inputs; a
    matrix in groups of 32 with a scale, as GGUF's Q8_0, is kept so in both. The inputs of a product are then rounded to 15
    bits, with a scale per 64 of them.
    Guarantee: the sums of a row are taken in an order that depends on that row alone, so its bits do not depend on the pass.
    """

    device = torch.device("cpu")
    stages = True

    def __init__(self, config: Config, layers: Iterable[Layer], ends: Ends, dtype: torch.dtype) -> None:
        kind = KINDS[dtype]
        head = pack(kind, ends.head, ends.head_bias)
        self._hold(config, kind, ends.embed, ends.norm.float(), head, [packed_layer(kind, layer) for layer in layers])

    @classmethod
    def of(cls, config: Config, kind: str, embed: Tensor, norm: Tensor, head: Any, layers: list[PackedLayer]) -> Engine:
        """The executor of weights that were packed before in this format (see `parts`)."""
        engine = cls.__new__(cls)
        engine._hold(config, kind, embed, norm, head, layers)
        return engine

    def _hold(self, config: Config, kind: str, embed: Tensor, norm: Tensor, head: Any, layers: list[PackedLayer]) -> None:
        self.config, self.kind, self._outputs = config, kind, config.vocab_size
        self.kv_dtype = torch.float32 if self.kind == "float32" else torch.bfloat16
        self._embed, self._norm, self._head, self._layers = embed, norm, head, layers
        self._ropes = list(dict.fromkeys(config.ropes))
        self._chosen = list(range(len(layers)))  # which of the model's layers these are
        self._halves: list[Sublayers] | None = None  # what is run of them, and where their keys and values are; None: in order
        self._rounded: tuple[Any, list[PackedLayer]] | None = None  # head and layers in int8, once they were asked for
        self._build()

    @property
    def parts(self) -> tuple[Tensor, Tensor, Any, list[PackedLayer]]:
        """Embedding, final norm, head and layers, as `of` takes them."""
        return self._embed, self._norm, self._head, self._layers

    def _build(self) -> None:
        c = self.config
        sizes = [c.hidden, c.heads, c.kv_heads, c.head_dim, c.ff]
        numbers = [c.eps, c.scale, c.attention_cap or 0.0, c.logit_cap or 0.0]
        ropes = [(rope.frequencies(c.head_dim).numpy(), rope.scale) for rope in self._ropes]
        norm = self._norm.numpy()
        places = [(self._ropes.index(c.ropes[layer]), c.windows[layer] or 0) for layer in self._chosen]
        halves = self._halves or [Sublayers(-1)] * len(places)  # -1: keys and values are kept in the order of the layers
        packed = [
            _kernels.layer(norms, matrices, rope, window, half.layer, half.attends, half.feeds)
            for (norms, matrices), (rope, window), half in zip(self._layers, places, halves, strict=True)
        ]
        self._engine = _kernels.Engine(sizes, numbers, c.gelu, packed, ropes, norm, self._head)
        self.layers = len(packed)

    @property
    def embedding(self) -> Tensor:
        """The input embeddings of all tokens [V, D]."""
        return self._embed

    def run(
        self, rows: Pass, keys: Tensor, values: Tensor, taps: bool, soft: SoftRows | None = None, start: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        c, answered = self.config, len(rows.out)
        embedded = F.embedding(torch.from_numpy(rows.tokens), self._embed).float() if start is None else start.contiguous()
        if soft is not None:
            embedded = soft.embedded(embedded)
        if c.embed_scale != 1.0 and start is None:
            embedded *= c.embed_scale
        if keys.dtype == torch.bfloat16:
            keys, values = keys.view(torch.int16), values.view(torch.int16)
        hidden = torch.empty(answered, c.hidden, dtype=torch.float32)  # whatever a host's default is
        tapped = torch.empty(answered, self.layers + 1, c.hidden, dtype=torch.float32) if taps else None
        self._engine.run(  # arrays are handed over in a tenth of the time that tensors take
            embedded.numpy(),
            rows.positions,
            rows.slots,
            rows.bounds,
            rows.paths,
            rows.starts,
            rows.out,
            keys.numpy(),
            values.numpy(),
            hidden.numpy(),
            None if tapped is None else tapped.numpy(),
        )
        return hidden, tapped

    def read(self, hidden: Tensor, norm: bool) -> Tensor:
        logits = torch.empty(len(hidden), self._outputs, dtype=torch.float32)
        self._engine.read(hidden.float().contiguous().numpy(), norm, logits.numpy())
        return logits

    def trimmed(self, keep: Tensor) -> Engine | None:
        """The executor whose head has these rows only, if they are at hand (those of a tied embedding)."""
        if not self.config.tied:
            return None
        few = copy(self)
        few._head, few._outputs, few._rounded = pack(self._head.kind, self._embed[keep], None), len(keep), None
        few._build()
        return few

    def partial(self, layers: Sequence[int]) -> Engine:
        part = copy(self)
        part._layers, part._rounded = [self._layers[layer] for layer in layers], None
        part._chosen, part._halves = [self._chosen[layer] for layer in layers], None
        part._build()
        return part

    def within(self, layers: Sequence[Sublayers]) -> Engine:
        part = copy(self)
        part._layers, part._rounded = [self._layers[each.layer] for each in layers], None
        part._chosen, part._halves = [self._chosen[each.layer] for each in layers], list(layers)
        part._build()
        return part

    def quantised(self, kv_bits: int = 16) -> Engine:
        """The executor with these weights rounded to int8, and keys and values as they are (`kv_bits=16`) or of 4 bits.

        Weights are rounded at the first call and kept. Raises InvalidInput if both are so coarse already.
        """
        if kv_bits not in (4, 16):
            raise InvalidInput(f"kv_bits={kv_bits}: keys and values are kept in 16 bits or in 4")
        if self.kind in ("int8", "int4") and kv_bits == 16:
            raise InvalidInput(f"the weights are {self.kind} already; only keys and values are left to be rounded: kv_bits=4")
        rough = copy(self)
        rough._halves = None
        rough.kv_dtype = self.kv_dtype if kv_bits == 16 else torch.uint8
        if self.kind not in ("int8", "int4"):
            if self._rounded is None:
                layers = [(norms, [matrix.rounded("int8") for matrix in matrices]) for norms, matrices in self._layers]
                self._rounded = self._head.rounded("int8"), layers
            rough.kind, rough._rounded = "int8", None
            rough._head, rough._layers = self._rounded
        rough._build()
        return rough
