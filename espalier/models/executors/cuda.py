"""The fast executor on CUDA: small passes are captured once per shape and replayed, so that launches cost nothing."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from espalier.models.executors.eager import Eager, Inputs
from espalier.models.executors.sublayers import Sublayers
from espalier.models.kv.layout import Pass

__all__ = ["Captured"]

ROWS = 64  # passes of more rows are long enough to hide their launches
GRAPHS = 48  # shapes kept; the least recently used one is forgotten


@dataclass(frozen=True)
class Recording:
    """A captured pass: fill `inputs`, replay, read `hidden` (and `taps`)."""

    graph: torch.cuda.CUDAGraph
    inputs: Inputs
    hidden: Tensor
    taps: Tensor | None


class Captured:
    """The executor that replays captured graphs of the eager reference's arithmetic.

    A pass is padded to the next power of two of rows (copies of its last row, which write what that row writes) and to a
    multiple of 256 seen slots (masked). Graphs hold the addresses of keys and values, so a pool that moves makes new ones.
    Numbers are the reference's up to the rounding of other matrix shapes.
    """

    stages = True

    def __init__(self, eager: Eager) -> None:
        self.eager = eager
        self.layers, self.kv_dtype, self.device = eager.layers, eager.kv_dtype, eager.device
        self._pool = torch.cuda.graph_pool_handle()  # graphs share memory: each one's results are copied out at once
        self._recordings: OrderedDict[tuple[int, ...], Recording] = OrderedDict()

    @torch.no_grad()
    def run(
        self, rows: Pass, keys: Tensor, values: Tensor, taps: bool, start: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        if len(rows.tokens) > ROWS or start is not None:
            return self.eager.run(rows, keys, values, taps, start=start)
        inputs = padded(Inputs.of(rows))
        key = (len(inputs.tokens), len(inputs.seen), len(inputs.out), keys.data_ptr(), int(taps))
        recording = self._recordings.get(key)
        if recording is None:
            recording = self._recordings[key] = self._record(inputs, keys, values, taps)
            if len(self._recordings) > GRAPHS:
                self._recordings.popitem(last=False)
        self._recordings.move_to_end(key)
        for static, now in zip(recording.inputs.tensors(), inputs.tensors(), strict=True):
            static.copy_(now, non_blocking=True)
        recording.graph.replay()
        answered = len(rows.out)
        return recording.hidden[:answered].clone(), recording.taps[:answered].clone() if recording.taps is not None else None

    def _record(self, inputs: Inputs, keys: Tensor, values: Tensor, taps: bool) -> Recording:
        static = inputs.to(self.device)
        stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):  # kernels are chosen and workspaces made outside the capture
            self.eager.compute(static, keys, values, taps)
        torch.cuda.current_stream(self.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            hidden, tapped = self.eager.compute(static, keys, values, taps)
        return Recording(graph, static, hidden, tapped)

    def read(self, hidden: Tensor, norm: bool) -> Tensor:
        return self.eager.read(hidden, norm)

    def partial(self, layers: Sequence[int]) -> Captured:
        return Captured(self.eager.partial(layers))

    def within(self, layers: Sequence[Sublayers]) -> Captured:
        return Captured(self.eager.within(layers))


def padded(inputs: Inputs) -> Inputs:
    """The same pass with more rows and columns than it needs, so that few shapes occur."""
    rows, columns = len(inputs.tokens), len(inputs.seen)
    size, width = 1 << (rows - 1).bit_length(), -(-columns // 256) * 256
    last = torch.arange(size).clamp(max=rows - 1)
    back = torch.full((size, width), -1, dtype=inputs.back.dtype)
    back[:, :columns] = inputs.back[last]
    seen = torch.cat([inputs.seen, inputs.seen[:1].expand(width - columns)])
    out = torch.cat([inputs.out, inputs.out.new_zeros(size - len(inputs.out))])
    return Inputs(inputs.tokens[last], inputs.positions[last], inputs.slots[last], seen, back, out)
