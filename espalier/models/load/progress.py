"""What loading tells a person beside its result, and the progress of what takes long."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from espalier.models.load.builtin import Progress


def say(text: str) -> None:
    """Tells a person something beside the result: on stderr, never mixed with what the command prints."""
    print(f"espalier: {text}", file=sys.stderr, flush=True)


@contextmanager
def progress(name: str) -> Iterator[Progress]:
    """A progress bar on stderr if that is a terminal, else one line per stage."""
    if not sys.stderr.isatty():
        seen: set[str] = set()

        def line(stage: str, done: int, total: int) -> None:
            if stage not in seen:
                seen.add(stage)
                say(f"{stage} {name} ({total / 1e6:.0f} MB), once")

        yield line
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks = {}

        def move(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(f"{stage} {name}", total=total)
            bar.update(tasks[stage], completed=done, total=total)

        yield move
