"""`chat`: a conversation in the terminal."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from espalier.cli.flags import Device, Dtype, MaxTokens, ModelName, Seed, System, Temperature, TopK, TopP
from espalier.cli.remote import Remote
from espalier.cli.text import decoded, told
from espalier.errors import EspalierError, InvalidInput, require
from espalier.lm import LanguageModel
from espalier.requests.options import Options

HELP = "/new begins a new conversation, /quit (or Ctrl-D) leaves, Ctrl-C stops an answer"


def _read(interactive: bool) -> str | None:
    """The next thing that the user says; None at the end."""
    if interactive:
        try:
            return input("> ")
        except EOFError:
            print()
            return None
    line = sys.stdin.buffer.readline()
    return decoded(line, "stdin").rstrip("\r\n") if line else None


def _answer(lm: LanguageModel | Remote, messages: list[dict[str, str]], options: dict[str, Any]) -> str:
    """Streams the answer to the terminal and returns it; Ctrl-C keeps what was written so far."""
    said: list[str] = []
    try:
        for piece in lm.stream(messages, **options):
            said.append(piece)
            print(piece, end="", flush=True)
    except KeyboardInterrupt:
        print(" [stopped]", end="")
    print(flush=True)
    return "".join(said)


def _partner(model: str | None, dtype: str | None, device: str | None, server: str | None) -> LanguageModel | Remote:
    if server is not None:
        require(
            model is None and dtype is None and device is None, "--server brings its own model; leave out what is said of one"
        )
        return Remote(server)
    from espalier.models.load.open import load

    lm = told(load(model, dtype=dtype, device=device))
    if lm.tokenizer.template is None:
        raise InvalidInput(f"{lm.name} has no chat template: it continues text. Use ./run generate --raw, or another --model")
    return lm


def chat(
    model: ModelName = None,
    dtype: Dtype = None,
    device: Device = None,
    system: System = None,
    max_tokens: MaxTokens = 512,
    temperature: Temperature = 0.7,
    top_k: TopK = None,
    top_p: TopP = 0.95,
    seed: Seed = None,
    server: Annotated[str | None, typer.Option(help="Talk with the model of this server instead.")] = None,
) -> None:
    """Talks with the model: each line is a turn, the whole conversation is its context."""
    options: dict[str, Any] = {
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "seed": seed,
    }
    Options(**options).rngs()
    lm = _partner(model, dtype, device, server)
    interactive = sys.stdin.isatty()
    if interactive:
        import readline  # noqa: F401  (line editing and history for input())

        print(f"{lm.name}: {HELP}", file=sys.stderr)
    opening = [] if system is None else [{"role": "system", "content": system}]
    messages = list(opening)
    while (line := _read(interactive)) is not None:
        if line.strip() in ("/quit", "/exit"):
            return
        if line.strip() == "/new":
            messages = list(opening)
            continue
        if line.strip() == "/help":
            print(HELP, file=sys.stderr)
            continue
        if not line.strip():
            continue
        turn = {"role": "user", "content": line}
        try:
            answer = _answer(lm, [*messages, turn], options)
        except EspalierError as error:
            if not interactive:
                raise
            print(f"espalier: {error} (/new begins a new conversation)", file=sys.stderr)
            continue
        messages += [turn, {"role": "assistant", "content": answer}]
