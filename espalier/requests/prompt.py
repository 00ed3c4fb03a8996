"""What a prompt may be: a text, a raw text, messages, or a prefix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, TypeAlias

from espalier.errors import ContextOverflow, InvalidInput, expect
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
    """Raise `ContextOverflow` for a text so long that the context cannot hold it, whatever its tokens are: before it is
    split into them, which may take minutes."""
    longest = tokenizer.longest
    if isinstance(prompt, str):
        texts: list[Any] = [prompt]
    else:  # a template may leave out what an assistant said
        messages = prompt if isinstance(prompt, list | tuple) else ()
        texts = [m.get("content") for m in messages if isinstance(m, Mapping) and m.get("role") in ("user", "system")]
    for text in texts:
        if isinstance(text, str) and len(text) > context * longest:
            raise ContextOverflow(
                f"the prompt has {len(text)} characters, at least {len(text) // longest} tokens, but at most {context} fit, "
                "output included; shorten it"
            )
