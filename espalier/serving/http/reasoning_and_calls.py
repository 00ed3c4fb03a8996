"""A text, read as it comes: its reasoning, its content, and the calls of tools in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from espalier.serving.http.tool_stream import ToolText

_THINK, _THOUGHT = "<think>", "</think>"


@dataclass
class Parts:
    """The parts of one text. `feed` gives what is new as the deltas of a stream.

    >>> parts = Parts(thinks="may")
    >>> parts.feed("<think>Hm."), parts.feed("</think>\\n\\nYes", final=True)
    ([{'reasoning': 'Hm.', 'reasoning_content': 'Hm.'}], [{'content': 'Yes'}])
    """

    tools: str | None = None  # the format of calls, where there may be some
    thinks: str | None = None
    reasoning: str = ""
    content: str = ""
    calls: ToolText = field(init=False)
    _rest: str = ""

    def __post_init__(self) -> None:
        self.calls = ToolText(self.tools or "hermes")

    def feed(self, piece: str, final: bool = False) -> list[dict[str, Any]]:
        """The deltas of a further piece."""
        deltas: list[dict[str, Any]] = []
        if self.thinks is not None:
            new, piece = self._think(piece, final)
            if new:
                self.reasoning += new
                deltas.append({"reasoning": new, "reasoning_content": new})
        if not self.tools:
            if piece:
                self.content += piece
                deltas.append({"content": piece})
            return deltas
        for delta in self.calls.feed(piece, final):
            self.reasoning += delta.get("reasoning", "")
            self.content += delta.get("content", "")
            deltas.append(delta)
        return deltas

    def _think(self, piece: str, final: bool) -> tuple[str, str]:
        """New reasoning, and what of the piece comes after it."""
        self._rest += piece
        if self.thinks == "after":  # blanks between the reasoning and the answer are neither's
            rest, self._rest = self._rest.lstrip(), ""
            self.thinks = None if rest else "after"
            return "", rest
        if self.thinks == "may":
            begin = self._rest.lstrip()
            if not begin.startswith(_THINK):
                if _THINK.startswith(begin) and not final:
                    return "", ""
                self.thinks, rest, self._rest = None, self._rest, ""
                return "", rest
            self.thinks, self._rest = "inside", begin[len(_THINK) :]
        before, found, rest = self._rest.partition(_THOUGHT)
        if found:
            self.thinks, self._rest = "after", ""
            return before, self._think(rest, final)[1]
        held = 0 if final else next((n for n in range(len(_THOUGHT) - 1, 0, -1) if before.endswith(_THOUGHT[:n])), 0)
        self._rest = before[len(before) - held :]
        return before[: len(before) - held], ""

    @property
    def message(self) -> dict[str, Any]:
        """The message of the assistant that the whole text is."""
        calls = [call.json for call in self.calls.calls]
        message: dict[str, Any] = {"role": "assistant", "content": self.content or (None if calls else ""), "refusal": None}
        if self.reasoning:
            message |= {"reasoning": self.reasoning, "reasoning_content": self.reasoning}
        return message | ({"tool_calls": calls} if calls else {})
