"""MaskBench: schemas with valid and invalid documents, and how long their masks take.

`python -m espalier.bench.maskbench PACK TOKENIZER [--list NAMES] [--limit N] [--hash]` prints one JSON line; with --hash it is
a hash of all masks in place of times, by which two versions are told apart. PACK is a .jsonl(.gz) of
`{"file", "data": {"schema", "tests": [{"valid", "data"}]}}`, TOKENIZER a folder with tokenizer.json. `Engine` is the adapter
for other harnesses: compile (from schema text), start, mask, commit, can_end. Protocol: S. Geng et al., "JSONSchemaBench"
(2025, arXiv 2501.10868).
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import espalier as es
from espalier.text.vocab import Vocab


class Engine:
    """One sequence after the other: `mask()` writes into `words`, `commit(token)` moves on."""

    def __init__(self, tokens: Sequence[bytes | None], eos: int) -> None:
        self.vocab = Vocab(tokens, end=[eos])
        self.words = np.zeros((len(tokens) + 31) // 32, dtype=np.int32)
        es.masks(es.json(), self.vocab)  # the byte trie

    def compile(self, schema: str) -> None:
        self.masks = es.masks(es.json_schema(schema), self.vocab)

    def start(self) -> None:
        cursor = self.masks.start(self.words)
        self.mask, self.commit, self.accepts = cursor.fill, cursor.commit, cursor.accepts

    def can_end(self) -> bool:
        return bool(self.accepts())


def follow(engine: Engine, tokens: Sequence[int], steps: list[float]) -> bool:
    """Whether the document is accepted; the seconds of each commit with the next mask are appended to `steps`."""
    engine.start()
    engine.mask()
    for token in tokens:
        if not (int(engine.words[token >> 5]) >> (token & 31)) & 1:
            return False
        wall, cpu = time.perf_counter(), time.process_time()
        engine.commit(token)
        engine.mask()
        steps.append(min(time.perf_counter() - wall, time.process_time() - cpu))
    return engine.can_end()


def measure(engine: Engine, encode: Any, cases: Iterator[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """Counts and times over the schemas; `problems` lists every schema that does not pass, with the reason."""
    first: list[float] = []
    steps: list[float] = []
    problems: list[tuple[str, str]] = []
    schemas = 0
    for name, case in cases:
        schemas += 1
        text = json.dumps(case["schema"])
        documents = [(bool(t["valid"]), encode(json.dumps(t["data"], ensure_ascii=False))) for t in case["tests"]]
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            engine.compile(text)
            engine.start()
            engine.mask()
            first.append(min(time.perf_counter() - wall, time.process_time() - cpu))
            wrong = [valid for valid, ids in documents if follow(engine, ids, steps) != valid]
        except es.EspalierError as error:
            problems.append((name, f"{type(error).__name__}: {error}"))
            continue
        if wrong:
            problems.append((name, f"{sum(wrong)} valid refused, {len(wrong) - sum(wrong)} invalid accepted"))
    return {
        "schemas": schemas,
        "passing": schemas - len(problems),
        "ttfm_ms": percentiles(first, 1e3),
        "tbm_us": percentiles(steps, 1e6),
        "masks": len(steps),
        "problems": problems,
    }


def masks_hash(engine: Engine, encode: Any, cases: Iterator[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """A hash of all masks along all documents, each up to its first refused token, and how many they are."""
    total, masks = hashlib.sha256(), 0
    for _, case in cases:
        try:
            engine.compile(json.dumps(case["schema"]))
            for test in case["tests"]:
                engine.start()
                for token in [*encode(json.dumps(test["data"], ensure_ascii=False)), None]:
                    engine.mask()
                    total.update(engine.words.tobytes())
                    masks += 1
                    if token is None or not (int(engine.words[token >> 5]) >> (token & 31)) & 1:
                        break
                    engine.commit(token)
        except es.EspalierError as error:
            total.update(type(error).__name__.encode())
    return {"hash": total.hexdigest()[:16], "masks": masks}


def percentiles(values: Sequence[float], scale: float) -> dict[str, float]:
    """Mean and percentiles, scaled.

    >>> percentiles([1.0, 3.0], 10)["avg"]
    20.0
    """
    v = sorted(values)
    at = {f"p{p:g}": round(v[max(0, math.ceil(p / 100 * len(v)) - 1)] * scale, 3) for p in (50, 90, 99, 99.9, 100)} if v else {}
    return {"avg": round(sum(v) / max(1, len(v)) * scale, 3), **at}


def load(pack: Path, names: Path | None, limit: int | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """The schemas of a pack, those of a list of names only, at most so many."""
    wanted = names.read_text().split() if names else None
    with gzip.open(pack, "rt") if pack.suffix == ".gz" else open(pack) as lines:
        found = {case["file"]: case["data"] for case in map(json.loads, lines)}
    chosen = wanted if wanted is not None else list(found)
    for name in chosen[:limit]:
        yield name, found[name]


def main() -> None:
    """The command line."""
    from tokenizers import Tokenizer

    from espalier.text.tokenizer import Tokenizer as Ours

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pack", type=Path)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--list", type=Path)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--hash", action="store_true")
    args = parser.parse_args()
    vocab = Ours.from_folder(args.tokenizer).vocab
    fast = Tokenizer.from_file(str(args.tokenizer / "tokenizer.json"))
    engine = Engine(vocab.tokens, min(vocab.end))
    run = masks_hash if args.hash else measure
    result = run(engine, lambda text: fast.encode(text, add_special_tokens=False).ids, load(args.pack, args.list, args.limit))
    print(json.dumps(result))


if __name__ == "__main__":
    main()
