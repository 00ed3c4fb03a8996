"""What a pass costs: a curve measured once per model and machine, ratios learned as passes happen, and a ledger of it."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import statistics
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch

from espalier.errors import require
from espalier.models.executors import native
from espalier.models.load.cache import home
from espalier.models.load.threads import processor
from espalier.prefix import Prefix
from espalier.scorer import Model

MEASURED = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)


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


def measure(model: Model, sizes: Iterable[int] = MEASURED, context: int = 64, repeats: int = 5) -> PassCurve:
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
    return [fingerprint, name or "", *where, platform.machine(), platform.processor(), processor(), *threads]


def _key(model: Model, name: str | None) -> str:
    return hashlib.sha256(json.dumps(_about(model, name)).encode()).hexdigest()[:24]


_SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
_GUESS = 0.04  # what one more node is thought to cost, in plain passes, before anything was measured,
_FEARED = 0.6  # and what it may cost


class PassCost:
    """The time of a pass over n nodes, learned from passes as they happen: `plain` (seconds for one node) × `ratio(n)`.

    The plain time follows the load of the machine and the length of the context quickly; the ratios, which are a matter of
    the hardware, are learned slowly. Sizes in between are interpolated; beyond the largest one measured its slope goes on.
    `curve` gives the ratios to start from, if they were measured before. Where a plain pass has the roots of several `texts`,
    n - 1 is the number of nodes beside them.

    >>> cost = PassCost()
    >>> for n, seconds in [(1, 0.010), (1, 0.010), (8, 0.020)] * 20:
    ...     cost.learn(n, seconds)
    >>> round(cost.plain, 4), round(cost.ratio(8), 2), round(cost.ratio(4), 2)
    (0.01, 2.0, 1.43)
    """

    def __init__(self, curve: Callable[[int], float] | None = None, texts: int = 1) -> None:
        self._guess, self._feared = (each / (1 + each * (texts - 1)) for each in (_GUESS, _FEARED))
        self.plain: float | None = None
        self.stale = 0  # passes since the last plain one
        self._curve = curve
        self._ratios: dict[int, float] = {}
        self._seen: dict[int, int] = {}
        self._knots: list[int] = [1]
        self._table: list[float] = []  # of all sizes; empty when something was learned since

    def ratio(self, n: int) -> float:
        """What a pass over n nodes costs, in plain passes; 1 for n = 1."""
        table = self._table or self._all_ratios()
        return table[min(bisect_left(_SIZES, n), len(_SIZES) - 1)]

    def between(self, n: int) -> float:
        """`ratio`, but linear between the sizes that are told apart, for passes to which many add a few nodes."""
        table, at = self._table or self._all_ratios(), bisect_left(_SIZES, n)
        if at in (0, len(_SIZES)):
            return self.ratio(n)
        low, high = _SIZES[at - 1], _SIZES[at]
        return table[at - 1] + (table[at] - table[at - 1]) * (n - low) / (high - low)

    @property
    def reach(self) -> int:
        """How many nodes to draft at most: what was not measured yet is approached by doubling."""
        return _SIZES[-1] if self._curve is not None else max(1, 2 * self._knots[-1] - 1)

    def _all_ratios(self) -> list[float]:
        """The ratios of all sizes, made aside and then put in place: an interrupt leaves the old ones, or these."""
        table, least = list[float](), float("inf")
        for size in reversed(_SIZES):
            if size in self._ratios:  # a larger pass that took less says that this one was disturbed when it was measured
                least = min(least, self._ratios[size])
            table.append(least if size in self._ratios else self._between(size))
        self._table = table[::-1]
        return self._table

    def _between(self, size: int) -> float:
        """The ratio of a size that was not measured."""
        if size == 1:
            return 1.0
        if self._curve is not None:
            return self._curve(size) / self._curve(1)
        knots = self._knots
        at = bisect_left(knots, size)
        low = knots[at - 1]
        below = self._ratios.get(low, 1.0)
        if at < len(knots):
            high = knots[at]
            return below + (self._ratios[high] - below) * (size - low) / (high - low)
        slope = (below - 1) / (low - 1) if low > 1 else self._guess
        return below + max(slope, self._guess / 4) * (size - low)

    def learn(self, n: int, seconds: float) -> None:
        """Takes in that a pass over n nodes took so long. A pass that took far longer than expected counts as twice that
        (four times, when the size is new); what is known of sizes is doubted a little after each 64 plain passes."""
        size = size_of(n)
        self.stale = 0 if size == 1 else self.stale + 1
        if self.plain is None:  # nothing to compare with yet
            if size == 1:
                self.plain = max(seconds, 1e-9)
            return
        seen = self._seen[size] = self._seen.get(size, 0) + 1
        known = self.ratio(size)
        seconds = min(seconds, (4 if seen == 1 else 2) * self.plain * known)
        if size == 1:
            self.plain += max(1 / (seen + 1), 0.3) * (seconds - self.plain)
            if seen % 64 == 0:
                self._ratios = {knot: 1 + 0.9 * (ratio - 1) for knot, ratio in self._ratios.items()}
                self._table = []
            return
        self._ratios[size] = max(known + max(1 / seen, 0.05) * (seconds / self.plain - known), 0.5)
        self._knots = [1, *sorted(self._ratios)]  # a knot has its ratio already
        self._table = []
        if seen > 2:
            self.plain += 0.1 * (seconds / self.ratio(size) - self.plain)

    def fair(self, n: int, seconds: float) -> float:
        """What a pass over n nodes is booked as, in plain passes: its time, but no more than twice what such passes take if
        some were measured, and one if nothing was drafted. What is beyond that was not the draft's doing."""
        if n == 1 or self.plain is None:
            return 1.0
        passes, seen = seconds / self.plain, self._seen.get(size_of(n), 0)
        return min(passes, 2 * self.ratio(n)) if seen > 2 else passes

    def best(self, gains: Sequence[float], most: int) -> tuple[int, float]:
        """How many of the nodes, whose probabilities of being accepted are `gains`, to draft, and how many times as fast as
        plain decoding that is expected to be."""
        chosen, rate, tokens = 0, 1.0, 1.0
        most = min(most, self.reach)
        for n, gain in enumerate(gains[:most], start=1):
            tokens += gain
            if size_of(n + 1) == n + 1 or n == min(len(gains), most):
                now = tokens / self.ratio(n + 1)
                if now > rate:
                    chosen, rate = n, now
        return chosen, rate

    def risk(self, n: int) -> float:
        """By how many plain passes a pass over n nodes may be longer than one: what was measured, and for nodes beyond four
        times what the measured ones cost each; 0.6 of a pass of one text each where nothing was measured."""
        known = self._knots[-1]
        if self._curve is not None or n <= known:
            return self.ratio(n) - 1
        each = min(1.0, 4 * (self._ratios[known] - 1) / (known - 1) + 0.1) if known > 1 else self._feared
        return max(self.ratio(n), self._ratios.get(known, 1.0) + (n - known) * each) - 1

    def may_gain(self, n: int, tokens: float, gain: float, rate: float, most: int) -> bool:
        """Whether more than n nodes, the first of which give `tokens` and every further one at most `gain`, could be faster
        than `rate`: if not, looking for more of them is in vain."""
        return any((tokens + (size - 1 - n) * gain) / self.ratio(size) > rate for size in _SIZES if n + 1 < size <= most + 1)


def size_of(n: int) -> int:
    """The class of pass sizes to which n nodes belong, by its largest."""
    return _SIZES[min(bisect_left(_SIZES, n), len(_SIZES) - 1)]


class Ledger:
    """What speculation has cost a text beyond plain decoding, against what it may: `slack` of the plain time.

    A short text may be late by `slack` of what `least` tokens take. In plain passes (of the moment), so that a machine that
    becomes slower is not speculation's fault.

    >>> ledger = Ledger(slack=0.05, least=40)
    >>> ledger.book(tokens=1, passes=2.5)
    >>> ledger.allows(0.4), ledger.allows(0.6)
    (True, False)
    """

    def __init__(self, slack: float, least: int) -> None:
        self.slack, self.least = slack, least
        self.tokens, self.late = 0, 0.0

    def book(self, tokens: int, passes: float) -> None:
        """A round that wrote so many tokens and took as long as so many plain passes."""
        self.tokens += tokens
        self.late += passes - tokens

    def allows(self, passes: float, part: float = 1.0) -> bool:
        """Whether a round may take this much longer than what it surely gains, with this part of the slack."""
        return self.late + passes <= part * self.slack * max(self.tokens, self.least)
