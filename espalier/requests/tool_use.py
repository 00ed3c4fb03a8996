"""Tools of a request: whether the model sees them, the guide of the calls, and the calls that were written."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from espalier.constraints.guide import Guide
from espalier.constraints.schema.tool_forms import tools_of
from espalier.constraints.tool_call_formats import FORMATS
from espalier.constraints.tool_call_parser import ToolCall, read_calls
from espalier.constraints.tools import tool_calls
from espalier.errors import EspalierError, InvalidInput, require
from espalier.prefix import Prefix
from espalier.requests.prompt import Prompt, raw

if TYPE_CHECKING:
    from espalier.lm import LanguageModel
    from espalier.text.tokenizer import Tokenizer
    from espalier.text.vocab import Vocab

_ORDER = (
    "harmony",
    "hermes",
    "mistral-args",
    "mistral",
    "llama3-pythonic",
    "llama3",
)  # the marks of the first are the plainest
_CHOICES = "'auto' (text, and calls in it), 'required' (a call at once), 'none', or the name of a tool"


def check_tools(tools: Any, choice: str, others: Sequence[str]) -> None:
    """Raises `InvalidInput` for tools that are none, and for a choice that cannot be made."""
    if tools is None:
        require(choice == "auto", f"tool_choice={choice!r} was given without tools=")
        return
    hint = "leave tools= out, or call lm.tokenizer.chat(messages, tools=[]) for a template that asks whether there are any"
    require(not isinstance(tools, (list, tuple, Mapping)) or len(tools) > 0, f"tools={tools!r} names no tool: {hint}")
    names = tools_of(tools)
    require(isinstance(choice, str), f"tool_choice={choice!r}: it is {_CHOICES}")
    known = choice in ("auto", "required", "none") or choice in names
    require(known, f"tool_choice={choice!r}: it is {_CHOICES}; the tools are {', '.join(names)}")
    require(
        choice == "none" or not others,
        f"tools= was given with {' and '.join(others)}: the calls are the constraint; use one of them, or tool_choice='none'",
    )


def warn_unseen(tokenizer: Tokenizer, tools: Sequence[Mapping[str, Any]] | None, prompt: Prompt) -> None:
    """Warns where neither the chat template nor a message shows the tools: the model would call what it does not know."""
    if not tools or not tokenizer.templates or isinstance(prompt, raw | Prefix) or _shows_tools(tokenizer):
        return
    said = json.dumps(prompt if isinstance(prompt, str) else list(prompt), default=str, ensure_ascii=False).replace("\\", "")
    named = [tool.get("function", tool).get("name") for tool in tools]
    if unseen := [str(name) for name in named if not any(way.format(name) in said for way in _SHOWN)]:
        warnings.warn(
            f"this model's chat template does not show tools, so the model does not see {', '.join(unseen)}: calls have the "
            "right form, but it can only guess when to make which. Show the tools in a system message, {'role': 'system', "
            "'content': es.constraints.tools_text(tools)}, or load a model whose template has tools",
            stacklevel=6,
        )


_SHOWN = ('"{}"', "'{}'", "`{}`", "{}(")  # how a message writes the name of a tool that it shows
_PROBE = {"type": "function", "function": {"name": "probe_of_tools", "description": "", "parameters": {"type": "object"}}}
_showing: WeakKeyDictionary[Tokenizer, bool] = WeakKeyDictionary()


def _shows_tools(tokenizer: Tokenizer) -> bool:
    """Whether the template writes the name of a tool; True where it refuses the conversation that is tried."""
    if tokenizer not in _showing:
        try:
            _showing[tokenizer] = "probe_of_tools" in tokenizer.chat_text("?", tools=[_PROBE])
        except EspalierError:
            _showing[tokenizer] = True
    return _showing[tokenizer]


def format_of(lm: LanguageModel) -> str:
    """The format of calls that the model's chat template shows, Hermes' where it shows none."""
    source = "".join(str(text) for text in getattr(lm.tokenizer, "templates", {}).values())
    return next((name for name in _ORDER if any(mark in source for mark in FORMATS[name].marks)), "hermes")


def calls_guide(lm: LanguageModel, tools: Any, choice: str) -> Guide | None:
    """The guide of what the model may write, given its tools; None where it may write anything."""
    if choice == "none":
        return None
    format = format_of(lm)
    tokens = {lm.vocab.name(id) for id in lm.vocab.special - lm.vocab.end}
    if choice == "auto":
        return tool_calls(tools, format=format, tokens=tokens)
    demanded = tools if choice == "required" else {choice: tools_of(tools)[choice]}
    return tool_calls(demanded, format=format, tokens=tokens, at_least_one=True, most=0)


def written(tools: Any, tokens: Sequence[int], vocab: Vocab, format: str) -> list[ToolCall]:
    """The calls in a text, special tokens spelled by their names.

    Errors: `RefusedValue` where the class of some arguments refuses them.
    """
    spelled = b"".join(vocab[t] or (b"" if t in vocab.end else vocab.name(t).encode()) for t in tokens)
    try:
        return read_calls(tools, spelled.decode("utf-8", errors="replace"), format)
    except InvalidInput as error:
        if hasattr(error, "cause"):
            raise
        return []
