"""`espalier bench faithful` and `bench search`: what they take, and what runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Optional

import typer

from espalier.errors import require


def faithful(
    data: Annotated[Path, typer.Option(help="folder with gad/BV4, gad/SLIA, smiles, spider, …")] = Path(
        "../shared/data/faithful"
    ),
    model: Annotated[Optional[str], typer.Option(help="built-in name, folder or .gguf")] = None,  # noqa: UP045
    dtype: Annotated[str, typer.Option(help="fp32, bf16 or int8")] = "bf16",
    kinds: Annotated[
        str, typer.Option(help="folders of tasks, comma-separated")
    ] = "gad/BV4,gad/SLIA,smiles,spider,patterns,goal_inference",
    methods: Annotated[
        str, typer.Option(help="comma-separated: auto, cars, ars, asap, smc, awrs, reject, local")
    ] = "cars,asap,awrs,smc,auto",
    limit: Annotated[int, typer.Option(help="tasks of each kind")] = 2,
    n: Annotated[int, typer.Option(help="samples of each task")] = 5,
    budget: Annotated[int, typer.Option(help="passes for each task and method")] = 200,
    tokens: Annotated[int, typer.Option(help="the most tokens of a sample")] = 64,
    peer: Annotated[Optional[Path], typer.Option(help="a Python with genlm-control: small cases beside it instead")] = None,  # noqa: UP045
    runs: Annotated[int, typer.Option(help="runs of each case beside the peer")] = 100,
) -> None:
    """Samples of p(text | grammar): attempts and passes for each valid one, and whether the result is called reliable."""
    if peer is not None:
        from espalier.bench.searches.peer import peer_bench

        require(runs >= 1 and n >= 1, "--runs and --n must be at least 1")
        peer_bench(peer, max(n, 8), runs)
        return
    from espalier.bench.searches.faithful import faithful_bench
    from espalier.models.load.open import load

    require(min(limit, n, budget, tokens) >= 1, "--limit, --n, --budget and --tokens must be at least 1")
    names: list[Any] = [name.strip() for name in methods.split(",")]
    folders = [name.strip() for name in kinds.split(",")]
    faithful_bench(load(model, dtype=dtype), data, folders, names, limit, n, budget, tokens)


def search(
    tasks: Annotated[int, typer.Option(help="how many seeded tasks")] = 50,
    tokens: Annotated[int, typer.Option(help="budget of each search on each task: rows computed")] = 400,
    gsm8k: Annotated[Optional[Path], typer.Option(help="JSON lines with question and answer: a real model on these")] = None,  # noqa: UP045
    humaneval: Annotated[Optional[Path], typer.Option(help="JSON lines with prompt, test and entry_point")] = None,  # noqa: UP045
    model: Annotated[Optional[str], typer.Option(help="built-in name, folder or .gguf")] = None,  # noqa: UP045
    dtype: Annotated[str, typer.Option(help="fp32, bf16 or int8")] = "bf16",
    limit: Annotated[int, typer.Option(help="problems of each file")] = 5,
    seconds: Annotated[float, typer.Option(help="begin nothing more after so long")] = 450,
    beams: Annotated[int, typer.Option(help="prompts of beam search beside transformers' instead; 0: none")] = 0,
) -> None:
    """The searches against best-of-n at equal budgets: on tasks whose reward lies on an improbable text, or public samples."""
    if beams:
        from espalier.bench.searches.beam_speed import beam_bench
        from espalier.models.load.open import load

        require(1 <= beams <= 20, "--beams is at most 20")
        beam_bench(load(model, dtype="fp32", cache_mb=0), beams, min(tokens, 48))
        return
    if files := {name: path for name, path in (("gsm8k", gsm8k), ("humaneval", humaneval)) if path is not None}:
        from espalier.bench.searches.public import text_bench
        from espalier.models.load.open import load

        require(limit >= 1 and tokens >= 1 and seconds > 0, "--limit, --tokens and --seconds must be above 0")
        text_bench(load(model, dtype=dtype), files, limit, tokens, seconds)
        return
    from espalier.bench.searches.planted import search_bench

    require(tasks >= 1 and tokens >= 1, "--tasks and --tokens must be at least 1")
    search_bench(tasks, tokens)
