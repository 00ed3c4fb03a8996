"""How many threads share a pass: as many as bring something, measured once on a machine."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from espalier.models.executors import native
from espalier.models.load import packed

__all__ = ["processor", "settle"]

ENOUGH = 0.97  # of the best speed: fewer threads that reach it are taken
_settled = False


def settle() -> None:
    """Sets the number of threads of the native kernels, once in a process; ESPALIER_THREADS goes before it.

    At most one for each processor that this process may use (its affinity, the quota of its control group); half of them
    where that is as fast, as on processors whose cores run two threads. The measurement is kept in the cache folder.
    """
    global _settled
    if _settled or os.environ.get("ESPALIER_THREADS", "").isdigit():
        return
    _settled = True
    here = native.threads()
    most = min(here, _allowed())
    chosen = most
    if most >= 4:
        about = ["threads", most, native.chosen(), os.cpu_count(), processor()]
        chosen = int(packed.noted(about, lambda: _fewest([most, most // 2])))
    if chosen != here:
        native.set_threads(chosen)


def _allowed() -> int:
    """How many processors the quota of the control group is worth."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):
        return 1 << 16


def processor() -> str:
    """The name of this machine's processor, "" where it is not said."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _fewest(counts: list[int]) -> int:
    """The smallest of these numbers of threads that is nearly as fast as the best, at reading and at multiplying."""
    memory = np.ones(16 << 20, np.float32)
    speeds = {}
    for count in counts:
        native.set_threads(count)
        speeds[count] = (_speed(lambda: native.read(memory)), _speed(lambda: native.products("bfloat16", 20_000)))
    best = [max(speed[i] for speed in speeds.values()) for i in range(2)]
    enough = [count for count, speed in speeds.items() if all(speed[i] >= ENOUGH * best[i] for i in (0, 1))]
    return min(enough, default=counts[0])


def _speed(work: Callable[[], float]) -> float:
    """What `work` did per second, the best of seven."""
    best = 0.0
    for _ in range(7):
        start = time.perf_counter()
        done = work()
        best = max(best, done / max(time.perf_counter() - start, 1e-9))
    return best
