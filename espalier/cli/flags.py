"""The options that commands share, each said once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from espalier.cli.text import read_file
from espalier.errors import InvalidInput

PromptText = Annotated[str | None, typer.Argument(metavar="PROMPT", help='The prompt; "-" or nothing reads stdin.')]
PromptFile = Annotated[Path | None, typer.Option("--file", "-f", help="Read the prompt from this file.")]
Raw = Annotated[bool, typer.Option("--raw", help="Continue the prompt as it is: no chat template.")]
ModelName = Annotated[str | None, typer.Option("--model", "-m", help="Built-in name, folder, .gguf file or hub id.")]
Dtype = Annotated[str | None, typer.Option(help="auto (the default), float32, bfloat16, float16, int8 or int4.")]
Device = Annotated[str | None, typer.Option(help="cpu or cuda (default: cuda if there is one).")]
MaxTokens = Annotated[int, typer.Option(help="The most tokens to write.")]
MaxSeconds = Annotated[float | None, typer.Option(help="The longest time to write.")]
Temperature = Annotated[float | None, typer.Option(help="0 is greedy; higher is more varied.")]
TopK = Annotated[int | None, typer.Option(help="Draw from the k likeliest tokens only.")]
TopP = Annotated[float | None, typer.Option(help="Draw from the likeliest tokens that hold this much probability.")]
MinP = Annotated[float | None, typer.Option(help="Drop tokens below this fraction of the likeliest one's probability.")]
Shape = Annotated[list[str] | None, typer.Option("--shape", help='A shaper by name, such as "dry:0.8" (may be repeated).')]
Seed = Annotated[int | None, typer.Option(help="Makes the run reproducible.")]
Stop = Annotated[list[str] | None, typer.Option(help="Stop before this text (may be given several times).")]
System = Annotated[str | None, typer.Option(help="A system message before the prompt.")]
Schema = Annotated[Path | None, typer.Option(help="A JSON Schema file that the answer must satisfy.")]
Regex = Annotated[str | None, typer.Option(help="A regular expression that the whole answer must match.")]
Grammar = Annotated[Path | None, typer.Option(help="A grammar file that the answer must follow.")]
Choice = Annotated[list[str] | None, typer.Option(help="The answer is one of these (give it several times).")]
Drafter = Annotated[
    str, typer.Option(help="How tokens are drafted, never which: auto, lookup, recycling, … or none; left out as in Python.")
]
Decoder = Annotated[str | None, typer.Option(help="A decoder by name, with its arguments: beam:8.")]


def constraint(schema: Path | None, regex: str | None, grammar: Path | None, choice: list[str] | None) -> dict[str, Any]:
    """The options of `generate` that name a constraint, with their files read."""
    options: dict[str, Any] = {"regex": regex, "choices": choice or None}
    if schema is not None:
        text = read_file(schema)
        try:
            options["schema"] = json.loads(text)
        except ValueError as error:
            raise InvalidInput(f"{schema} is not JSON: {error}") from error
    if grammar is not None:
        options["grammar"] = read_file(grammar)
    return {name: value for name, value in options.items() if value is not None}
