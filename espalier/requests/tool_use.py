"""Tools of a request: what the chat template is told of them, the guide of the calls, and the calls that were written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from espalier.constraints.guide import Guide
from espalier.constraints.tool_call_formats import FORMATS
from espalier.constraints.tool_call_parser import ToolCall, read_calls
from espalier.constraints.tools import tool_calls, tools_of
from espalier.errors import InvalidInput, require

if TYPE_CHECKING:
    from espalier.lm import LanguageModel
    from espalier.text.vocab import Vocab

_ORDER = ("harmony", "hermes", "mistral", "llama3-pythonic", "llama3")  # the marks of the first are the plainest
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


def told(tools: Any) -> list[dict[str, Any]]:
    """The tools as chat templates read them: OpenAI's objects.

    >>> told([{"name": "now", "description": "The time"}])[0]["function"]["description"]
    'The time'
    """
    described = _described(tools)
    return [
        {"type": "function", "function": {"name": name, "description": described.get(name, ""), "parameters": schema.plain}}
        for name, schema in tools_of(tools).items()
    ]


def _described(tools: Any) -> dict[str, str]:
    listed = tools.values() if isinstance(tools, Mapping) and "name" not in tools and "function" not in tools else tools
    found: dict[str, str] = {}
    for tool in (
        listed if isinstance(listed, Sequence) or (not isinstance(listed, Mapping) and not callable(listed)) else [listed]
    ):
        inner = tool.get("function", tool) if isinstance(tool, Mapping) else tool
        if isinstance(inner, Mapping) and isinstance(inner.get("name"), str):
            found[inner["name"]] = str(inner.get("description") or "")
        elif callable(inner) and getattr(inner, "__doc__", None):
            found[getattr(inner, "__name__", "")] = " ".join(str(inner.__doc__).split())
    return found


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
