"""This library's server with a clock in it: `python -m espalier.bench.serve.own CLOCK OPTIONS…`, options as `serve` has them.

CLOCK is a file of four numbers: seconds of CPU of the engine's thread, of them in passes, rows of passes, and passes.
"""

from __future__ import annotations

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

    def timed_run(rows: Any, *rest: Any) -> Any:
        started = time.thread_time()
        found = run(rows, *rest)
        clock[0] = ended = time.thread_time()
        clock[1] += ended - started
        clock[2] += len(rows.tokens)
        clock[3] += 1
        return found

    def timed_read(*given: Any, **options: Any) -> Any:
        started = time.thread_time()
        found = read(*given, **options)
        clock[0] = ended = time.thread_time()
        clock[1] += ended - started
        return found

    executor.run, executor.read = timed_run, timed_read
    return lm


def main(file: Path, options: dict[str, Any]) -> None:
    """Serves until told to end."""
    from espalier.models.load.open import load
    from espalier.serving.config import configured
    from espalier.serving.http.server import serve

    config = configured(options)
    serve(config, lambda: clocked(load(config.model, dtype=config.dtype), file), lambda line: print(line, flush=True))


if __name__ == "__main__":
    names = [name.removeprefix("--").replace("-", "_") for name in sys.argv[2::2]]
    values = [int(value) if value.isdigit() else value for value in sys.argv[3::2]]
    main(Path(sys.argv[1]), dict(zip(names, values, strict=True)))
