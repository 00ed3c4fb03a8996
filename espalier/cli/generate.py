"""`generate`: the completion of one prompt."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from espalier.cli.flags import (
    Choice,
    Decoder,
    Device,
    Drafter,
    Dtype,
    Grammar,
    MaxSeconds,
    MaxTokens,
    MinP,
    ModelName,
    PromptFile,
    PromptText,
    Raw,
    Regex,
    Schema,
    Seed,
    Shape,
    Stop,
    System,
    Temperature,
    TopK,
    TopP,
    constraint,
)
from espalier.cli.text import read_prompt, told
from espalier.errors import InvalidInput
from espalier.requests.completion import Completion
from espalier.requests.options import Options
from espalier.requests.prompt import raw

if TYPE_CHECKING:
    from espalier.lm import LanguageModel


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


def as_text(completion: Completion, constrained: Mapping[str, Any]) -> str:
    """The text, or all texts with their numbers; `InvalidInput` for one that was cut off before it was what was asked."""
    cut = [one for one in completion if not one.whole]
    if cut:  # what was written so far is not what was asked for: --json shows it, with its finish_reason
        raise InvalidInput(
            f"the text was cut off ({cut[0].finish_reason}) after {len(cut[0].tokens)} tokens, before it satisfied "
            f"--{next(iter(constrained))}; raise --max-tokens"
        )
    if len(completion) == 1:
        return completion.text
    return "\n".join(f"[{number}]\n{one.text}" for number, one in enumerate(completion, 1))


def question(text: str, raw_prompt: bool, system: str | None) -> Any:
    """The prompt as `complete` takes it; `InvalidInput` for a system message without the chat template."""
    if raw_prompt and system is not None:
        raise InvalidInput("--system needs the chat template, which --raw leaves out; drop one of them")
    if system is not None:
        return [{"role": "system", "content": system}, {"role": "user", "content": text}]
    return raw(text) if raw_prompt else text


def generate(
    prompt: PromptText = None,
    file: PromptFile = None,
    model: ModelName = None,
    dtype: Dtype = None,
    device: Device = None,
    max_tokens: MaxTokens = 256,
    max_seconds: MaxSeconds = None,
    temperature: Temperature = None,
    top_k: TopK = None,
    top_p: TopP = None,
    min_p: MinP = None,
    repetition_penalty: Annotated[float, typer.Option(help="Above 1: tokens that occurred become less likely.")] = 1.0,
    presence_penalty: Annotated[float, typer.Option(help="Subtracted from the logit of tokens that were written.")] = 0.0,
    frequency_penalty: Annotated[float, typer.Option(help="The same, once per time it was written.")] = 0.0,
    shape: Shape = None,
    seed: Seed = None,
    n: Annotated[int, typer.Option("--n", "-n", help="How many completions.")] = 1,
    stop: Stop = None,
    system: System = None,
    raw_prompt: Raw = False,
    schema: Schema = None,
    regex: Regex = None,
    grammar: Grammar = None,
    choice: Choice = None,
    drafter: Drafter = "default",
    decoder: Decoder = None,
    json_line: Annotated[bool, typer.Option("--json", help="One JSON object on one line instead of text.")] = False,
) -> None:
    """Answers a prompt (or continues it, with --raw) and prints the text."""
    if seed is None and temperature:
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
        "shapers": shape or (),
        "seed": seed,
        "n": n,
        "stop": stop or (),
        "drafter": None if drafter == "none" else drafter,
        "decoder": decoder,
        **(constrained := constraint(schema, regex, grammar, choice)),
    }
    checked = Options(**options)  # before a model is loaded: a wrong value is told at once
    checked.rngs()
    ask = question(read_prompt(prompt, file), raw_prompt, system)
    from espalier.models.load.open import load

    answer(told(load(model, dtype=dtype, device=device)), ask, options, constrained, json_line)


def answer(lm: LanguageModel, ask: Any, options: dict[str, Any], constrained: Mapping[str, Any], json_line: bool) -> None:
    """Prints the completion: piece by piece on a terminal, where nothing can take it back, else when it is whole."""
    if options["n"] == 1 and not json_line and not constrained and sys.stdout.isatty():
        for piece in lm.stream(ask, **options):
            print(piece, end="", flush=True)
        print()
        return
    completion = lm.complete(ask, **options)
    print(as_json(completion, lm.name, options["seed"]) if json_line else as_text(completion, constrained))
