"""`trace`: the conversation between decoder and model, pass by pass."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from espalier.cli.flags import (
    Choice,
    Device,
    Drafter,
    Dtype,
    Grammar,
    MaxTokens,
    ModelName,
    PromptFile,
    PromptText,
    Raw,
    Regex,
    Schema,
    Seed,
    Temperature,
    TopP,
    constraint,
)
from espalier.cli.text import read_prompt, told
from espalier.lm import LanguageModel
from espalier.requests.options import Options
from espalier.requests.prompt import raw
from espalier.trace import Conversation, Pass, branches

BRANCHES = 4  # of a draft tree, that are shown


def trace(
    prompt: PromptText = None,
    file: PromptFile = None,
    model: ModelName = None,
    dtype: Dtype = None,
    device: Device = None,
    max_tokens: MaxTokens = 48,
    temperature: Temperature = 0.0,
    top_p: TopP = None,
    seed: Seed = None,
    raw_prompt: Raw = False,
    schema: Schema = None,
    regex: Regex = None,
    grammar: Grammar = None,
    choice: Choice = None,
    drafter: Drafter = "default",
) -> None:
    """Shows how an answer comes about: what every pass of the model was asked, and which drafted tokens were kept."""
    options: dict[str, Any] = {
        "max_tokens": max_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "seed": seed,
        "drafter": None if drafter == "none" else drafter,
        **constraint(schema, regex, grammar, choice),
    }
    Options(**options)  # before a model is loaded: a wrong value is told at once
    text = read_prompt(prompt, file)
    from espalier.models.load.open import load

    lm, said = told(load(model, dtype=dtype, device=device)), Conversation()
    lm.complete_all([raw(text) if raw_prompt else text], trace=said, **options)
    console = Console()
    console.print(table(lm, said))
    console.print(summary(lm, said))


def table(lm: LanguageModel, said: Conversation) -> Table:
    """One row per pass: its number and time, the model, the rows asked for, the draft with what was kept of it, the tokens."""
    shown = Table(title=None, header_style="bold", pad_edge=False)
    for name in ("pass", "s", "model", "rows"):
        shown.add_column(name, justify="left" if name == "model" else "right", no_wrap=True)
    shown.add_column("draft (kept, refused)", ratio=3)
    shown.add_column("settled", ratio=2)
    for number, turn in enumerate(said.passes, 1):
        model = "target" if turn.model is lm.model else "drafter"
        shown.add_row(str(number), f"{turn.seconds:.2f}", model, str(turn.nodes), _draft(lm, turn), _settled(lm, turn))
    return shown


def summary(lm: LanguageModel, said: Conversation) -> str:
    """One line: passes, tokens, tokens per pass."""
    passes = sum(turn.model is lm.model for turn in said.passes)
    tokens = sum(len(turn.kept) for turn in said.passes)
    others = len(said.passes) - passes
    drafts = f", and {others} of drafters" if others else ""
    return f"{tokens} tokens in {passes} passes{drafts}: {tokens / max(passes, 1):.2f} tokens per pass"


def _draft(lm: LanguageModel, turn: Pass) -> Text:
    text = Text()
    for question in turn.questions:
        paths = branches(question)
        for path in paths[:BRANCHES]:
            if len(text):
                text.append("\n")
            for node in path:
                text.append(_said(lm, node.tokens), style="bold green" if node.kept else "dim red")
        if len(paths) > BRANCHES:
            text.append(f"\n… {len(paths) - BRANCHES} more", style="dim")
    return text


def _settled(lm: LanguageModel, turn: Pass) -> Text:
    return Text(_said(lm, turn.kept))


def _said(lm: LanguageModel, tokens: tuple[int, ...] | list[int]) -> str:
    names = [lm.vocab[token].decode("utf-8", "replace") or f"⟨{token}⟩" for token in tokens]
    visible = "".join(names).replace("\n", "⏎").replace("\t", "⇥").replace("\r", "␍")
    return "".join(c if c.isprintable() else "�" for c in visible)
