"""`espalier bench …`: measurements with peers side by side; JSON lines on standard output, tables on standard error."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from espalier.errors import require

app = typer.Typer(help="Measure: JSON lines on standard output, tables on standard error.", no_args_is_help=True)


@app.command()
def decode(
    model: Annotated[Optional[str], typer.Option(help="built-in name, folder or .gguf")] = None,  # noqa: UP045
    dtype: Annotated[str, typer.Option(help="comma-separated: fp32, bf16, int8")] = "fp32,bf16,int8",
    prompts: Annotated[Optional[Path], typer.Option(help="JSON lines with 'turns' (Spec-Bench)")] = None,  # noqa: UP045
    limit: Annotated[int, typer.Option(help="how many prompts")] = 4,
    context: Annotated[int, typer.Option(help="tokens of each prompt")] = 128,
    tokens: Annotated[int, typer.Option(help="tokens to write")] = 48,
    rounds: Annotated[int, typer.Option(help="how often all is measured; medians are reported")] = 3,
    openvino: Annotated[Optional[Path], typer.Option(help="folder of an OpenVINO GenAI model, as a further peer")] = None,  # noqa: UP045
) -> None:
    """Plain decoding and prompt lookup against transformers (and OpenVINO GenAI), ms per pass against tree nodes, the loop."""
    from espalier.bench.decode import decode_bench
    from espalier.models.load import load, locate

    dtypes = [name.strip() for name in dtype.split(",")]
    require(set(dtypes) <= {"fp32", "bf16", "int8"}, f"--dtype {dtype}: use a list of fp32, bf16 and int8")
    require(tokens >= 2 and rounds >= 1 and limit >= 1, "--tokens must be at least 2, --rounds and --limit at least 1")
    decode_bench(lambda name: load(model, dtype=name), locate(model), dtypes, prompts, limit, context, tokens, rounds, openvino)
