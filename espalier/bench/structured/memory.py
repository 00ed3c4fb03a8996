"""Resident memory while schemas and patterns come that are all different, and whether what is dropped changes any mask.

`python -m espalier.bench.structured.memory TOKENIZER [--schemas 5000] [--patterns 5000] [--masks 30] [--bound MB]` prints a
JSON line for each thousand: resident MB, and a hash of all masks so far. A run with a bound that nothing meets has the same
hashes. TOKENIZER is a folder with tokenizer.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from pathlib import Path
from typing import Any

import numpy as np

import espalier as es
from espalier.bench.serve.soak import some_schema
from espalier.constraints.engine_memory import engine_memory


def some_pattern(number: int) -> str:
    """One of very many patterns.

    >>> some_pattern(1) == some_pattern(1), some_pattern(1) == some_pattern(2)
    (True, False)
    """
    dice = random.Random(f"pattern {number}")

    def piece() -> str:
        least, last = dice.randrange(4), chr(98 + dice.randrange(24))
        word = "".join(dice.choices("abcdefghij", k=dice.randrange(2, 7)))
        counted = f"[a-{last}]{{{least},{least + dice.randrange(1, 40)}}}"
        return dice.choice([counted, f"({word}|{word[::-1]}|x)*", r"\d+", rf".{{0,{dice.randrange(1, 50)}}}", r"(\w+ )?", word])

    return "".join(piece() for _ in range(dice.randrange(2, 7)))


def masked(guide: Any, vocab: Any, count: int, seed: int) -> bytes:
    """The digest of the masks along one random text of the guide, at most so many."""
    dice, digest = random.Random(seed), hashlib.sha256()
    masks = es.masks(guide, vocab)
    words = np.zeros(masks.words, dtype=np.int32)
    cursor = masks.start(words)
    for _ in range(count):
        cursor.fill()
        digest.update(words.tobytes())
        allowed = np.flatnonzero(np.unpackbits(words.view(np.uint8), bitorder="little"))
        if not len(allowed):
            break
        token = int(allowed[dice.randrange(len(allowed))])
        if token in vocab.end:
            break
        cursor.commit(token)
    return digest.digest()


def resident_mb() -> float:
    """What the process holds in memory."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def memory_bench(vocab: Any, schemas: int, patterns: int, masks: int) -> None:
    """Schemas and patterns in turn; a line after every thousand of them."""
    total = hashlib.sha256()
    for number in range(max(schemas, patterns)):
        if number < schemas:
            total.update(masked(es.json_schema(some_schema(number)), vocab, masks, number))
        if number < patterns:
            total.update(masked(es.regex(some_pattern(number)), vocab, masks, number))
        if (number + 1) % 1000 == 0 or number + 1 == max(schemas, patterns):
            held = engine_memory()
            line = {"of_each": number + 1, "resident_mb": round(resident_mb(), 1), "masks": total.hexdigest()[:16]}
            print(json.dumps({**line, "generations": held.generations, "held_mb": round(held.megabytes, 1)}), flush=True)


def main() -> None:
    """The command line."""
    from espalier.text.tokenizer import Tokenizer

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--schemas", type=int, default=5000)
    parser.add_argument("--patterns", type=int, default=5000)
    parser.add_argument("--masks", type=int, default=30)
    parser.add_argument("--bound", type=float, default=256.0)
    args = parser.parse_args()
    engine_memory(memory_mb=args.bound)
    memory_bench(Tokenizer.from_folder(args.tokenizer).vocab, args.schemas, args.patterns, args.masks)


if __name__ == "__main__":
    main()
