"""How models write tool calls: one entry per format."""

from __future__ import annotations

from typing import NamedTuple


class CallFormat(NamedTuple):
    """A format: what opens a call and closes it, the members that hold its name and arguments (`None`: written as in Python,
    `name(argument=value)`), and whether a list of calls stands between."""

    begin: str
    end: str
    arguments: str | None = "arguments"
    listed: bool = False
    opener: str = ""  # a special token that may stand before the calls
    marks: tuple[str, ...] = ()  # what in a chat template tells that the model writes so


FORMATS: dict[str, CallFormat] = {
    "hermes": CallFormat("<tool_call>", "</tool_call>", marks=("<tool_call>",)),  # Hermes, Qwen, SmolLM
    "mistral": CallFormat("[TOOL_CALLS]", "", listed=True, marks=("[TOOL_CALLS]",)),
    "llama3": CallFormat("", "", "parameters", opener="<|python_tag|>", marks=("<|python_tag|>", '"parameters"')),
    "llama3-pythonic": CallFormat("[", "]", None, marks=("func_name1(params_name1",)),
    "harmony": CallFormat("<|channel|>commentary to=functions.", "<|call|>", marks=("<|channel|>",)),
    "json": CallFormat("", ""),  # the text is the call
}
