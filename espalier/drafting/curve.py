"""What a pass costs: milliseconds against the number of nodes in it, measured once per model and machine."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from espalier.errors import require
from espalier.models import native
from espalier.models.cache import home
from espalier.prefix import Prefix
from espalier.scorer import Model

SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)


@dataclass(frozen=True)
class PassCurve:
    """Milliseconds per pass at some numbers of nodes, linear in between and beyond.

    >>> curve = PassCurve((1, 9), (10.0, 18.0))
    >>> curve(5), curve(17), curve.ratio(9)
    (14.0, 26.0, 1.8)
    """

    nodes: Sequence[int]
    milliseconds: Sequence[float]

    def __post_init__(self) -> None:
        require(len(self.nodes) == len(self.milliseconds) >= 1, "a curve needs as many times as node counts, and at least one")
        require(list(self.nodes) == sorted(set(self.nodes)), f"nodes={self.nodes}: increasing node counts are needed")

    def __call__(self, nodes: float) -> float:
        """Milliseconds of a pass over this many nodes."""
        n, ms = self.nodes, self.milliseconds
        if len(n) == 1:
            return ms[0]
        i = next((i for i in range(1, len(n)) if nodes <= n[i]), len(n) - 1)
        slope = (ms[i] - ms[i - 1]) / (n[i] - n[i - 1])
        return ms[i - 1] + slope * (nodes - n[i - 1])

    def ratio(self, nodes: float) -> float:
        """How many times a pass over one node this is."""
        return self(nodes) / self(1)


def measure(model: Model, sizes: Iterable[int] = SIZES, context: int = 64, repeats: int = 5) -> PassCurve:
    """The curve of a model at a context of this many tokens: the median over `repeats` passes per size, after one to warm up.

    The nodes are a chain below the context, whose own pass is not counted. Made monotone: a larger pass counts for no less.
    """
    sizes, tokens = sorted(set(sizes)), [token % model.vocab_size for token in range(1, context + 1)]
    require(bool(sizes) and sizes[0] >= 1, f"sizes={sizes}: node counts are at least 1")
    milliseconds: list[float] = []
    for size in sizes:
        taken = [_once(model, tokens, size) for _ in range(repeats + 1)][1:]
        milliseconds.append(max(statistics.median(taken), *milliseconds[-1:], 0.0))
    return PassCurve(tuple(sizes), tuple(milliseconds))


def _once(model: Model, tokens: Sequence[int], size: int) -> float:
    x = Prefix(tokens)
    model.forward([x], frozenset())
    chain = [x + 0]
    while len(chain) < size:
        chain.append(chain[-1] + len(chain) % model.vocab_size)
    _finish(model)
    start = time.perf_counter()
    model.forward(chain, frozenset())
    _finish(model)
    return 1000 * (time.perf_counter() - start)


def _finish(model: Model) -> None:
    if str(getattr(model, "device", "cpu")).startswith("cuda"):
        torch.cuda.synchronize()


def pass_curve(model: Model, name: str | None = None) -> PassCurve:
    """The model's curve on this machine: read from $ESPALIER_HOME/curves if it was measured before, else measured and kept.

    The key is the model's `fingerprint` (its class and vocabulary size if it has none) and `name`, its device, the processor
    and the number of threads of torch and of the kernels. $ESPALIER_HOME is ~/.cache/espalier unless set. An unreadable file
    is measured anew.

    >>> pass_curve(lm.model).ratio(8)  # doctest: +SKIP
    """
    file = home() / "curves" / f"{_key(model, name)}.json"
    try:
        stored = json.loads(file.read_text())
        return PassCurve(tuple(stored["nodes"]), tuple(stored["milliseconds"]))
    except (OSError, ValueError, KeyError, TypeError):
        measured = measure(model)
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_suffix(f".{os.getpid()}.part")
    partial.write_text(json.dumps({"nodes": measured.nodes, "milliseconds": measured.milliseconds, "of": _about(model, name)}))
    partial.replace(file)
    return measured


def _about(model: Model, name: str | None) -> list[str]:
    fingerprint = getattr(model, "fingerprint", None) or f"{type(model).__name__} of {model.vocab_size}"
    where = [str(getattr(model, "device", "cpu"))]
    if where[0].startswith("cuda"):
        where.append(torch.cuda.get_device_name(where[0]))
    threads = [str(torch.get_num_threads()), str(native.threads() if native.available() else 0)]
    return [fingerprint, name or "", *where, platform.machine(), platform.processor(), _processor(), *threads]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _key(model: Model, name: str | None) -> str:
    return hashlib.sha256(json.dumps(_about(model, name)).encode()).hexdigest()[:24]
