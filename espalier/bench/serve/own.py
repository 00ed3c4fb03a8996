"""This library's server with a clock in it: `python -m espalier.bench.serve.own CLOCK OPTIONS…`, options as `serve` has them.

CLOCK is a file of four numbers: seconds of CPU of the engine's thread, of them in passes, rows of passes, and passes. Beside it
`CLOCK.turns` has three for each of the engine's first turns: when it ended, its seconds of CPU, and 1 where a prompt was read.
"""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from espalier.lm import LanguageModel


def clocked(lm: LanguageModel, file: Path) -> LanguageModel:
    """The model, whose passes are timed into a file."""
    clock: Any = np.memmap(file, np.float64, "w+", shape=(4,))
    executor: Any = lm.model.executor  # type: ignore[attr-defined]
    run, read = executor.run, executor.read

    def timed(part: Any, rows: int, passes: int, *given: Any, **options: Any) -> Any:
        started = time.thread_time()
        found = part(*given, **options)
        clock[0] = ended = time.thread_time()
        clock[1:] += ended - started, rows, passes
        return found

    def timed_run(rows: Any, *rest: Any) -> Any:
        return timed(run, len(rows.tokens), 1, rows, *rest)

    def timed_read(*given: Any, **options: Any) -> Any:  # the head: of a pass too
        return timed(read, 0, 0, *given, **options)

    executor.run, executor.read = timed_run, timed_read
    return lm


TURNS = 100_000  # of which the clock knows


def clocked_turns(file: Path) -> None:
    """Times every turn of the engines of this process into a file."""
    from espalier.serving.engine import Engine

    clock: Any = np.memmap(file, np.float64, "w+", shape=(TURNS, 3))
    turn, count = Engine._turn, itertools.count()

    def timed(engine: Engine) -> None:
        started, reading = time.thread_time(), bool(engine._reading or engine._waiting)
        turn(engine)
        if (at := next(count)) < TURNS:
            clock[at] = time.perf_counter(), time.thread_time() - started, reading

    Engine._turn = timed  # type: ignore[method-assign, assignment]


def main(file: Path, options: dict[str, Any]) -> None:
    """Serves until told to end."""
    from espalier.models.load.open import load
    from espalier.serving.config import configured
    from espalier.serving.http.server import serve

    clocked_turns(file.with_suffix(".turns"))
    config = configured(options)
    serve(config, lambda: clocked(load(config.model, dtype=config.dtype), file), lambda line: print(line, flush=True))


if __name__ == "__main__":
    names = [name.removeprefix("--").replace("-", "_") for name in sys.argv[2::2]]
    values = [int(value) if value.isdigit() else value for value in sys.argv[3::2]]
    main(Path(sys.argv[1]), dict(zip(names, values, strict=True)))
