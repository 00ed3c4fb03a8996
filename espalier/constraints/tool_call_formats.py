"""How models write tool calls: one entry per format, and what of them are special tokens of a vocabulary."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from espalier.constraints.choices import choices
from espalier.constraints.guide import Guide
from espalier.constraints.regex import regex
from espalier.constraints.special import token


class CallFormat(NamedTuple):
    """A format: what opens a call and closes it, the member that holds its arguments beside `name` (`None`: written as in
    Python, `name(argument=value)`), whether a list of calls stands between, and `named`, what a bare name ends with where its
    arguments alone are an object."""

    begin: str
    end: str
    arguments: str | None = "arguments"
    listed: bool = False
    named: str = ""
    opener: str = ""  # a special token that may stand before the calls
    marks: tuple[str, ...] = ()  # what in a chat template tells that the model writes so


CALL_ID = "[CALL_ID]"  # between a name and [ARGS] some of Mistral's models write an id

FORMATS: dict[str, CallFormat] = {
    "hermes": CallFormat("<tool_call>", "</tool_call>", marks=("<tool_call>",)),  # Hermes, Qwen, SmolLM
    "mistral": CallFormat("[TOOL_CALLS]", "", listed=True, marks=("[TOOL_CALLS]",)),
    "mistral-args": CallFormat("[TOOL_CALLS]", "", named="[ARGS]", marks=("[ARGS]",)),  # since Mistral Small 3.1
    "llama3": CallFormat("", "", "parameters", opener="<|python_tag|>", marks=("<|python_tag|>", '"parameters"')),
    "llama3-pythonic": CallFormat("[", "]", None, marks=("func_name1(params_name1",)),
    "harmony": CallFormat("<|channel|>commentary to=functions.", "<|call|>", marks=("<|channel|>",)),
    "json": CallFormat("", ""),  # the text is the call
}

# What may be special tokens of a vocabulary: where calls, and harmony's messages, begin and end.
TOKENS = frozenset(
    [
        mark
        for one in FORMATS.values()
        for mark in (one.begin, one.end, one.named, one.opener)
        if mark[:1] in "<[" and mark[-1:] in ">]" and mark[1:]
    ]
    + [CALL_ID, "<|channel|>", "<|message|>", "<|constrain|>", "<|start|>", "<|end|>", "<|return|>"]
) - {"[", "]"}


def either(guides: Sequence[Guide]) -> Guide:
    """The texts of any of the guides.

    >>> either([choices(["a"]), choices(["b"])]).matches(b"b")
    True
    """
    found = guides[0]
    for guide in guides[1:]:
        found = found | guide
    return found


def spelt(text: str, tokens: Collection[str]) -> Guide:
    """The guide of one text, in which the names of special tokens are these tokens.

    >>> from espalier.constraints.special_bytes import spelled
    >>> spelt("<|call|>", ["<|call|>"]).matches(spelled(3, "<|call|>")), spelt("<|call|>", []).matches(b"<|call|>")
    (True, True)
    """
    names = sorted((name for name in tokens if name in text), key=len, reverse=True)
    parts = re.split(f"({'|'.join(map(re.escape, names))})", text) if names else [text]
    found: Guide | None = None
    for part in parts:
        if part or len(parts) == 1:
            guide: Guide = token(part) if part in names else choices([part])
            found = guide if found is None else found + guide
    assert found is not None
    return found


def messages(
    calls: Sequence[Guide], tokens: Collection[str], demanded: bool, most: int | None, answer: Guide | None = None
) -> Guide:
    """Harmony's messages up to the one that ends the turn: a call of a tool, or (unless one is `demanded`) a final text.

    Before it come thoughts and preambles, with `most` at most so many characters of them each (none where it is 0). The token
    that ends a call is left to the end tokens. `answer` is what the final text must be, if it is not free.
    """
    text = regex("(?s:.*)" if most is None or not demanded else f"(?s:.{{0,{most}}})")
    heads = [spelt(f"<|channel|>{channel}<|message|>", tokens) for channel in ("analysis", "commentary")]
    before = (either(heads) + text + spelt("<|end|><|start|>assistant", tokens)).repeat()
    final = spelt("<|channel|>final<|message|>", tokens) + (regex("(?s:.*)") if answer is None else answer)
    if not calls:
        return before + final
    call = spelt("<|channel|>commentary to=functions.", tokens) + either(calls)
    if demanded:
        return call if most == 0 else before + call
    return before + (call | final)
