"""Threads that fill known masks, alone and while another thread compiles something hostile.

`python -m espalier.bench.structured.stalls TOKENIZER [--threads 8] [--seconds 5]` prints a JSON line: µs of one `fill` of all
threads together, p50, p99 and the slowest, alone and beside, measured in turn twice; the hostile pattern stops at its limits
and comes again. TOKENIZER is a folder with tokenizer.json.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

import espalier as es
from espalier.bench.maskbench import percentiles
from espalier.constraints import Limits

HOSTILE = r"(.*a.{25})&(.*b.{26})&(.*c.{27})"


def fills(masks: Any, text: list[int], threads: int, seconds: float) -> list[float]:
    """The seconds of each `fill` of masks that are known, by so many threads at once."""
    states = [masks.state()]
    for token in text:
        states.append(masks.advance(states[-1], token))
    times: list[list[float]] = [[] for _ in range(threads)]
    for state in states:
        masks.fill(state, np.zeros(masks.words, dtype=np.int32))
    until = time.monotonic() + seconds

    def work(own: list[float]) -> None:
        words = np.zeros(masks.words, dtype=np.int32)
        while time.monotonic() < until:
            for state in states:
                begun = time.perf_counter()
                masks.fill(state, words)
                own.append(time.perf_counter() - begun)

    crew = [threading.Thread(target=work, args=(own,)) for own in times]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    return [t for own in times for t in own]


def beside(stop: threading.Event, vocab: Any) -> None:
    """Compiles and masks what is hostile until it is told to stop."""
    while not stop.is_set():
        try:
            guide = es.regex(HOSTILE, limits=Limits(memory_mb=64))
            masks = es.masks(guide, vocab)
            state, words = masks.state(), np.zeros(masks.words, dtype=np.int32)
            for _ in range(200):
                masks.fill(state, words)
                state = masks.advance(state, int(np.flatnonzero(np.unpackbits(words.view(np.uint8), bitorder="little"))[7]))
                if stop.is_set() or state is None:
                    break
        except es.EspalierError:
            continue


def stalls_bench(vocab: Any, text: list[int], threads: int, seconds: float) -> dict[str, Any]:
    """Percentiles of fills alone and beside, µs; `ratio`: p99 beside to alone."""
    masks = es.masks(es.json(), vocab)
    alone: list[float] = []
    busy: list[float] = []
    for _ in range(2):
        alone += fills(masks, text, threads, seconds)
        stop = threading.Event()
        hostile = threading.Thread(target=beside, args=(stop, vocab))
        hostile.start()
        busy += fills(masks, text, threads, seconds)
        stop.set()
        hostile.join()
    found = {"alone_us": percentiles(alone, 1e6), "beside_us": percentiles(busy, 1e6)}
    return {"threads": threads, **found, "ratio": round(found["beside_us"]["p99"] / found["alone_us"]["p99"], 2)}


def main() -> None:
    """The command line."""
    from espalier.text.tokenizer import Tokenizer

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tokenizer", type=Path)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5.0)
    args = parser.parse_args()
    own = Tokenizer.from_folder(args.tokenizer)
    text = list(own.encode('{"name": "a value", "numbers": [1, 2, 3.5], "more": {"x": null}'))
    print(json.dumps(stalls_bench(own.vocab, text, args.threads, args.seconds)))


if __name__ == "__main__":
    main()
