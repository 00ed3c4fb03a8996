"""`espalier bench rows`: what it takes, and what runs."""

from __future__ import annotations

from typing import Annotated

import typer

from espalier.errors import require


def rows(
    batch: Annotated[int, typer.Option(help="rows at once, texts side by side")] = 32,
    tokens: Annotated[int, typer.Option(help="turns of the loop that are measured in one go")] = 24,
    rounds: Annotated[int, typer.Option(help="how often all is measured; medians are reported")] = 5,
) -> None:
    """What lies between two passes: tokens drawn from many rows of 49,152, and whole turns of the loop, per row."""
    from espalier.bench.rows import rows_bench

    require(batch >= 1 and tokens >= 2 and rounds >= 1, "--batch and --rounds must be at least 1, --tokens at least 2")
    rows_bench(batch, tokens, rounds)
