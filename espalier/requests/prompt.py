"""What a prompt may be: a text, a raw text, messages, or a prefix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, TypeAlias

from espalier.errors import InvalidInput, expect
from espalier.prefix import Prefix
from espalier.text.tokenizer import Tokenizer

PROMPTS = "a text, es.raw(text), a list of messages such as [{'role': 'user', 'content': 'Hi'}], or a Prefix"
Prompt: TypeAlias = "str | raw | Sequence[Mapping[str, Any]] | Prefix"


class raw(str):
    """A prompt that the model goes on with as it is: no chat template is applied.

    >>> raw("Once upon") == "Once upon", isinstance(raw("Once upon"), str)
    (True, True)
    """

    __slots__ = ()


def goes_on(message: Any) -> bool:
    """Whether a message is the beginning of an answer, which the model is to go on with."""
    return isinstance(message, Mapping) and message.get("role") == "assistant" and not message.get("tool_calls")


def check_prompt(prompt: object) -> None:
    """Raise `InvalidInput` for what is no prompt, with what to write instead."""
    if isinstance(prompt, list | tuple) and prompt and all(isinstance(each, str) for each in prompt):
        raise InvalidInput(f"the prompt was a list of {len(prompt)} texts; for several prompts write lm.complete_all([…])")
    ids = isinstance(prompt, list | tuple) and prompt and all(isinstance(each, Integral) for each in prompt)
    if ids or hasattr(prompt, "__array__"):
        raise InvalidInput(f"the prompt was {type(prompt).__name__} of numbers; token ids become a prompt by es.Prefix(ids)")
    expect(prompt, (str, Prefix, Sequence), "the prompt", PROMPTS)


def check_size(prompt: object, tokenizer: Tokenizer, context: int) -> None:
    """Raise `ContextOverflow` for a text that the context cannot hold, whatever its tokens are, before anything is made of it;
    what a template makes of messages is looked at by `Tokenizer.chat`."""
    if isinstance(prompt, str):
        texts: list[Any] = [prompt]
    else:  # a template may leave out what an assistant said
        messages = prompt if isinstance(prompt, list | tuple) else ()
        texts = [m.get("content") for m in messages if isinstance(m, Mapping) and m.get("role") in ("user", "system")]
    for text in texts:
        if isinstance(text, str):
            tokenizer.refuse_beyond(text, context)
