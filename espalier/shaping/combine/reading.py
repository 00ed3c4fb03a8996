"""What a method of two prompts is given: a language model, which reads texts, or a bare scorer, which reads prefixes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from espalier.errors import InvalidInput, expect
from espalier.prefix import Prefix
from espalier.scorer import Scorer


def scorer_of(lm: Any) -> Scorer:
    """The scorer of a language model, or the scorer itself. Raises `InvalidInput` for anything else."""
    found: Any = lm if isinstance(lm, Scorer) else getattr(lm, "scorer", None)
    expect(found, Scorer, "the model", "a language model (es.load()) or a scorer")
    scorer: Scorer = found
    return scorer


def prefix_of(lm: Any, prompt: object) -> Prefix:
    """The prefix of a prompt, through the model's chat template. Raises `InvalidInput` for a text and a bare scorer."""
    if isinstance(prompt, Prefix):
        return prompt
    make: Callable[[object], Prefix] | None = getattr(lm, "prompt", None)
    if make is None:
        raise _unread(prompt)
    return make(prompt)


def text_of(lm: Any, text: str | Prefix) -> list[int]:
    """The tokens of a text as it stands, without a chat template. Raises `InvalidInput` for a text and a bare scorer."""
    if isinstance(text, Prefix):
        return text.ids()
    tokenizer = getattr(lm, "tokenizer", None)
    if tokenizer is None:
        raise _unread(text)
    return list(tokenizer.encode(text, special=True))


def _unread(prompt: object) -> InvalidInput:
    return InvalidInput(f"a bare scorer reads no text, so {prompt!r} cannot be a prompt; give a Prefix, or a language model")
