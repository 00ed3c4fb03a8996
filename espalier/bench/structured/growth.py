"""How the cost of masks grows with a schema's branches and with the items of `uniqueItems`.

`python -m espalier.bench.structured.growth [TOKENIZER] [--branches 25,100,400,1600] [--items 100,1000,4000] [--rounds 3]`
prints a JSON line for each kind and size. Branches: CPU ms of compiling, all masks and all steps of one document over single
bytes; `growth`: to the size before. Items: µs of a mask, of a step and of both, medians over the last quarter, and seconds in
all. TOKENIZER is a folder with tokenizer.json; without it items are written in single bytes, too.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import espalier as es
from espalier.errors import LimitExceeded
from espalier.text.vocab import Vocab

BYTES = Vocab([*(bytes([b]) for b in range(256)), None], end=[256])


def _branch(i: int, **kind: Any) -> dict[str, Any]:
    return {"properties": {"kind": kind, f"value{i}": {"type": "integer"}}, "required": ["kind", f"value{i}"]}


def _if_then(n: int) -> dict[str, Any]:
    chain = [
        {"if": {"properties": {"kind": {"const": f"k{i}_ab"}}, "required": ["kind"]}, "then": {"required": [f"value{i}"]}}
        for i in range(n)
    ]
    kinds = {"properties": {"kind": {"enum": [f"k{i}_ab" for i in range(n)]}}, "required": ["kind"]}
    return {"type": "object", "allOf": chain, **kinds}


BRANCHES: dict[str, Callable[[int], dict[str, Any]]] = {
    "oneOf by const": lambda n: {"type": "object", "oneOf": [_branch(i, const=f"k{i}_ab") for i in range(n)]},
    "oneOf by pattern": lambda n: {
        "type": "object",
        "oneOf": [_branch(i, type="string", pattern=f"^k{i}_[a-z]+$") for i in range(n)],
    },
    "oneOf by range": lambda n: {
        "type": "object",
        "oneOf": [_branch(i, type="integer", minimum=10 * i, maximum=10 * i + 9) for i in range(n)],
    },
    "if/then": _if_then,
    "anyOf by const": lambda n: {"type": "object", "anyOf": [_branch(i, const=f"k{i}_ab") for i in range(n)]},
}

ITEMS: dict[str, Callable[[random.Random], Any]] = {
    "integer": lambda dice: dice.randrange(10**6),
    "number": lambda dice: dice.randrange(10**7) / 100,
    "string": lambda dice: "".join(dice.choices("abcdefghijklmnopqrstuvwxyz ", k=dice.randrange(4, 9))),
    "object": lambda dice: {"a": dice.randrange(10**5), "b": dice.randrange(100)},
}


def branch_ms(make: Callable[[int], dict[str, Any]], ranged: bool, n: int, rounds: int) -> float:
    """The least CPU time of `rounds` schemas of n branches and a few more."""
    times = []
    for more in range(rounds):
        count = n + more
        document = {"kind": 5 * n + 3 if ranged else f"k{n // 2}_ab", f"value{n // 2}": 3}
        schema, text = json.dumps(make(count)), json.dumps(document).encode()
        begun = time.process_time()
        masks = es.masks(es.json_schema(schema), BYTES)
        cursor = masks.start(np.zeros(masks.words, dtype=np.int32))
        for byte in text:
            cursor.fill()
            if not cursor.commit(byte):
                raise AssertionError(f"{count} branches refuse {document}")
        cursor.fill()
        times.append((time.process_time() - begun) * 1e3)
    return min(times)


def item_us(kind: str, n: int, vocab: Vocab, encode: Callable[[str], Sequence[int]]) -> dict[str, float]:
    """Of a list of n different items: the median mask and step of the last quarter, both together, and all in seconds."""
    dice = random.Random(5)
    items: dict[str, None] = {}
    while len(items) < n:
        items[json.dumps(ITEMS[kind](dice))] = None
    masks = es.masks(es.json_schema({"type": "array", "uniqueItems": True, "items": {"type": kind}}), vocab)
    cursor = masks.start(np.zeros(masks.words, dtype=np.int32))
    fills, steps = [], []
    for token in encode(f"[{', '.join(items)}]"):
        begun = time.perf_counter()
        cursor.fill()
        filled = time.perf_counter()
        cursor.commit(token)
        fills.append(filled - begun)
        steps.append(time.perf_counter() - filled)
    last = len(fills) * 3 // 4
    mask, step = (float(np.median(times[last:])) * 1e6 for times in (fills, steps))
    both = float(np.median(np.add(fills[last:], steps[last:]))) * 1e6
    found = {"mask_us": mask, "step_us": step, "both_us": both}
    return {**{name: round(us, 1) for name, us in found.items()}, "all_s": round(sum(fills) + sum(steps), 2)}


def main() -> None:
    """The command line."""
    from espalier.text.tokenizer import Tokenizer

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tokenizer", type=Path, nargs="?")
    parser.add_argument("--branches", default="25,100,400,1600")
    parser.add_argument("--items", default="100,1000,4000")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    for kind, make in BRANCHES.items():
        before = 0.0
        branch_ms(make, kind.endswith("range"), 5, 1)
        for n in map(int, filter(None, args.branches.split(","))):
            ms = branch_ms(make, kind.endswith("range"), n, args.rounds)
            growth = round(ms / before, 2) if before else None
            print(json.dumps({"branches": kind, "n": n, "cpu_ms": round(ms, 1), "growth": growth}), flush=True)
            before = ms
    own = Tokenizer.from_folder(args.tokenizer) if args.tokenizer else None
    for kind in ITEMS:
        for n in map(int, filter(None, args.items.split(","))):
            times: dict[str, Any]
            try:
                times = item_us(kind, n, own.vocab if own else BYTES, own.encode if own else lambda text: list(text.encode()))
            except LimitExceeded as error:
                times = {"error": str(error)}
            print(json.dumps({"items": kind, "n": n, **times}), flush=True)


if __name__ == "__main__":
    main()
