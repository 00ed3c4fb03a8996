"""What a pass costs beside what this machine can do at most: bytes read and products made, both measured in the same run."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import numpy as np

import espalier as es
from espalier.bench.report import emit, machine, median, show
from espalier.models.executors import native
from espalier.models.executors.choose_executor import DTYPES
from espalier.models.executors.packing import KINDS
from espalier.models.transformer import Transformer

MEMORY = 64 << 20  # floats that are read from end to end: more than any cache holds
PROMPTS = (128, 750)
LONG = 8192  # positions that one row looks back at


@contextmanager
def instructions(name: str) -> Iterator[None]:
    """The kernels of one instruction set, for as long as this lasts."""
    before = native.chosen()
    native.choose(name)
    try:
        yield
    finally:
        native.choose(before)


def bytes_per_second(memory: np.ndarray) -> float:
    """How many bytes all threads read in a second."""
    start = time.perf_counter()
    size = native.read(memory)
    return size / (time.perf_counter() - start)


def products_per_second(kind: str) -> float:
    """How many products of weights of a kind with inputs all threads make in a second, from the first cache."""
    start = time.perf_counter()
    made = native.products(kind, 400_000)
    return made / (time.perf_counter() - start)


@dataclass(frozen=True)
class Passing:
    """A pass to be measured: `once` makes it and says how many milliseconds it took."""

    once: Callable[[], float]
    rows: int
    answered: int
    kept: int  # positions whose keys and values are read
    seen: int  # positions that all rows together look back at


class Work:
    """What a pass has to read and to multiply: `bytes` of weights, keys and values, `products` of both."""

    def __init__(self, config: dict[str, Any], kind: str) -> None:
        d, f, v = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
        heads, kv, layers = config["num_attention_heads"], config["num_key_value_heads"], config["num_hidden_layers"]
        self.layers: float = layers * (2 * d * d + 2 * d * kv * (d // heads) + 3 * d * f)
        self.head: float = v * d
        self.width = {"float32": 4.0, "bfloat16": 2.0, "int8": 1 + 1 / 16, "int4": 5 / 8}[kind]
        self.position: float = layers * 2 * kv * (d // heads) * (4 if kind == "float32" else 2)  # bytes of keys and values
        self.attention: float = layers * 2 * d  # products for one row and position

    def bound(self, of: Passing, read: float, made: float) -> float:
        """The greater of the two bounds in milliseconds."""
        size = self.width * (self.layers + self.head) + self.position * of.kept
        products = of.rows * self.layers + of.answered * self.head + of.seen * self.attention
        return 1e3 * max(size / read, products / made)


def against_bounds(
    model: Transformer, config: dict[str, Any], dtype: str, context: int, batches: Sequence[int], rounds: int
) -> list[dict[str, Any]]:
    """Passes of one and of many rows, of prompts and of a long past, each as a ratio to the greater bound, for every
    instruction set; bounds and passes are measured in turn. What is measured is printed at once, as JSON and for people."""
    kind = KINDS[DTYPES[dtype]]
    work, memory, results = Work(config, kind), np.ones(MEMORY, np.float32), list[dict[str, Any]]()
    passes = _passes(model, context, sorted({1, *batches}))  # of all sets: what is read before them is read once
    for name in (name for name in native.kernels() if name != "base" or len(native.kernels()) == 1):
        for what, each in passes.items():
            with instructions(name):
                taken, read, made = _in_turn(each, memory, kind, rounds)
            bound = work.bound(each, read, made)
            result = {"bench": "bound", "kernels": name, "dtype": dtype, "pass": what, "ms": round(taken, 2)}
            result |= {"bound_ms": round(bound, 2), "ratio": round(taken / bound, 2)}
            results.append(result | {"read_gb_s": round(read / 1e9, 1), "products_g_s": round(made / 1e9, 1)})
            emit([{**results[-1], **machine()}])
            sys.stderr.write(f"{dtype}, {name}, {what}: {taken:.2f} ms, bound {bound:.2f} ms, ratio {taken / bound:.2f}\n")
        columns = ("pass", "ms", "bound_ms", "ratio", "read_gb_s", "products_g_s")
        title = f"{dtype}, {name}: passes beside the greater of the two bounds (bytes read, products made)"
        show(title, columns, [[r[c] for c in columns] for r in results if r["kernels"] == name])
    return results


def _in_turn(passing: Passing, memory: np.ndarray, kind: str, rounds: int) -> tuple[float, float, float]:
    """Medians: milliseconds of a pass, bytes read and products made in a second; the first round warms up."""
    found = [(passing.once(), bytes_per_second(memory), products_per_second(kind)) for _ in range(rounds + 1)][1:]
    taken, read, made = (median([each[i] for each in found]) for i in range(3))
    return taken, read, made


def _passes(model: Transformer, context: int, batches: Sequence[int]) -> dict[str, Passing]:
    """The passes that are measured, by name; every one is over tokens that were not seen before."""
    fresh = count(1)

    def tokens(n: int) -> list[int]:
        start = 13 * next(fresh)
        return [10 + (7 * i + start) % 9000 for i in range(n)]

    def clock(prefixes: Sequence[es.Prefix]) -> float:
        start = time.perf_counter()
        model.forward(prefixes, frozenset())
        return 1e3 * (time.perf_counter() - start)

    def decode(roots: list[es.Prefix]) -> float:
        model.forward(roots, frozenset())  # what they hold may have been dropped
        return clock([x + next(fresh) % 9000 for x in roots])

    made: dict[str, Passing] = {}
    for batch in batches:
        roots = [es.Prefix(tokens(context)) for _ in range(batch)]
        made[f"{batch} rows"] = Passing(partial(decode, roots), batch, batch, batch * (context + 1), batch * (context + 1))
    for n in PROMPTS:
        made[f"prompt of {n}"] = Passing(lambda n=n: clock([es.Prefix(tokens(n))]), n, 1, n, n * (n + 1) // 2)  # type: ignore[misc]
    if model.context > LONG:
        far = [es.Prefix(tokens(LONG))]
        made[f"1 row at {LONG}"] = Passing(partial(decode, far), 1, 1, LONG + 1, LONG + 1)
    return made
