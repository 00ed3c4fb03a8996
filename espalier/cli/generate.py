"""`generate`: the completion of one prompt."""

from __future__ import annotations

import json
import secrets
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from espalier.cli.text import read_file, read_prompt
from espalier.completion import Completion
from espalier.errors import InvalidInput
from espalier.lm import raw
from espalier.options import Options

ModelName = Annotated[str | None, typer.Option("--model", "-m", help="Built-in name, folder, .gguf file or hub id.")]
Dtype = Annotated[str | None, typer.Option(help="float32, bfloat16, float16 or int8 (default: float32 on CPU).")]
Device = Annotated[str | None, typer.Option(help="cpu or cuda (default: cuda if there is one).")]
MaxTokens = Annotated[int, typer.Option(help="The most tokens to write.")]
MaxSeconds = Annotated[float | None, typer.Option(help="The longest time to write.")]
Temperature = Annotated[float, typer.Option(help="0 is greedy; higher is more varied.")]
TopK = Annotated[int | None, typer.Option(help="Draw from the k likeliest tokens only.")]
TopP = Annotated[float | None, typer.Option(help="Draw from the likeliest tokens that hold this much probability.")]
MinP = Annotated[float | None, typer.Option(help="Drop tokens below this fraction of the likeliest one's probability.")]
Seed = Annotated[int | None, typer.Option(help="Makes the run reproducible.")]
Stop = Annotated[list[str] | None, typer.Option(help="Stop before this text (may be given several times).")]
System = Annotated[str | None, typer.Option(help="A system message before the prompt.")]


def constraint(schema: Path | None, regex: str | None, grammar: Path | None, choice: list[str] | None) -> dict[str, Any]:
    """The options of `generate` that name a constraint, with their files read."""
    options: dict[str, Any] = {"regex": regex, "choices": choice or None}
    if schema is not None:
        try:
            options["schema"] = json.loads(read_file(schema))
        except ValueError as error:
            raise InvalidInput(f"{schema} is not JSON: {error}") from error
    if grammar is not None:
        options["grammar"] = read_file(grammar)
    return {name: value for name, value in options.items() if value is not None}


def as_json(completion: Completion, model: str, seed: int | None) -> str:
    """One line of JSON: the first completion's fields, and all of them under `completions` if there are several."""

    def fields(one: Completion) -> dict[str, Any]:
        stats = {**asdict(one.stats), "rest_seconds": one.stats.rest_seconds, "tokens_per_pass": one.stats.tokens_per_pass}
        stats["per_pass"] = {str(count): times for count, times in sorted(one.stats.per_pass.items())}
        shown = {name: getattr(one, name) for name in ("text", "tokens", "logprobs", "finish_reason")}
        if one.parsed is not None:
            shown["parsed"] = one.parsed
        return {**shown, "stats": stats}

    line = {"model": model, "seed": seed, **fields(completion)}
    if len(completion) > 1:
        line["completions"] = [fields(one) for one in completion]
    return json.dumps(line, ensure_ascii=False)


def generate(
    prompt: Annotated[str | None, typer.Argument(help='The prompt; "-" or nothing reads stdin.')] = None,
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Read the prompt from this file.")] = None,
    model: ModelName = None,
    dtype: Dtype = None,
    device: Device = None,
    max_tokens: MaxTokens = 256,
    max_seconds: MaxSeconds = None,
    temperature: Temperature = 0.0,
    top_k: TopK = None,
    top_p: TopP = None,
    min_p: MinP = None,
    repetition_penalty: Annotated[float, typer.Option(help="Above 1: tokens that occurred become less likely.")] = 1.0,
    presence_penalty: Annotated[float, typer.Option(help="Subtracted from the logit of tokens that were written.")] = 0.0,
    frequency_penalty: Annotated[float, typer.Option(help="The same, once per time it was written.")] = 0.0,
    seed: Seed = None,
    n: Annotated[int, typer.Option("--n", "-n", help="How many completions.")] = 1,
    stop: Stop = None,
    system: System = None,
    raw_prompt: Annotated[bool, typer.Option("--raw", help="Continue the prompt as it is: no chat template.")] = False,
    schema: Annotated[Path | None, typer.Option(help="A JSON Schema file that the answer must satisfy.")] = None,
    regex: Annotated[str | None, typer.Option(help="A regular expression that the whole answer must match.")] = None,
    grammar: Annotated[Path | None, typer.Option(help="A grammar file that the answer must follow.")] = None,
    choice: Annotated[list[str] | None, typer.Option(help="The answer is one of these (give it several times).")] = None,
    drafter: Annotated[
        str, typer.Option(help="auto, lookup, recycling, … or none: how tokens are drafted; never what is written.")
    ] = "auto",
    json_line: Annotated[bool, typer.Option("--json", help="One JSON object on one line instead of text.")] = False,
) -> None:
    """Answers a prompt (or continues it, with --raw) and prints the text."""
    if seed is None and temperature > 0:
        seed = secrets.randbits(31)
    options: dict[str, Any] = {
        "max_tokens": max_tokens,
        "max_seconds": max_seconds,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "repetition_penalty": repetition_penalty,
        "presence_penalty": presence_penalty,
        "frequency_penalty": frequency_penalty,
        "seed": seed,
        "n": n,
        "stop": stop or (),
        "drafter": None if drafter == "none" else drafter,
        **(constrained := constraint(schema, regex, grammar, choice)),
    }
    checked = Options(**options)  # before a model is loaded: a wrong value is told at once
    checked.rngs()
    text = read_prompt(prompt, file)
    if raw_prompt and system is not None:
        raise InvalidInput("--system needs the chat template, which --raw leaves out; drop one of them")
    from espalier.models.load import load

    lm = load(model, dtype=dtype, device=device)
    ask: Any = raw(text) if raw_prompt else text
    if system is not None:
        ask = [{"role": "system", "content": system}, {"role": "user", "content": text}]
    if n == 1 and not json_line and not constrained and sys.stdout.isatty():
        for piece in lm.stream(ask, **options):
            print(piece, end="", flush=True)
        print()
        return
    completion = lm.complete(ask, **options)
    if json_line:
        print(as_json(completion, lm.name, seed))
        return
    cut = [one for one in completion if one.finish_reason != "stop"] if constrained else []
    if cut:  # what was written so far is not what was asked for: --json shows it, with its finish_reason
        raise InvalidInput(
            f"the text was cut off ({cut[0].finish_reason}) after {len(cut[0].tokens)} tokens, before it satisfied "
            f"--{next(iter(constrained))}; raise --max-tokens"
        )
    for number, one in enumerate(completion):
        if n > 1:
            print(f"[{number + 1}]")
        print(one.text)
