"""How a model writes calls of tools: the pieces around their names and arguments, and which of them are tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from espalier import constraints
from espalier.constraints import Guide, Limits
from espalier.lm import LanguageModel
from espalier.requests.tool_use import format_of
from espalier.text.detokenize import Detokenizer
from espalier.text.vocab import Vocab

MARKS = ("<think>", "</think>", "<tool_call>", "</tool_call>", "[TOOL_CALLS]")


@dataclass(frozen=True)
class CallStyle:
    """Calls are `begin` call `end`, or `begin` call `between` call … `end`; a call is `{"name": …` `arguments` object `}`.

    `whole`: a text is one call and nothing else, or no call at all. `special` are the marks that are single special tokens.

    >>> HERMES.head("add")
    '{"name": "add", "arguments": '
    """

    name: str
    begin: str
    end: str
    arguments: str = ', "arguments": '
    between: str | None = None
    whole: bool = False
    id_letters: int = 24
    special: frozenset[str] = field(default_factory=frozenset)

    def head(self, name: str) -> str:
        """What comes before the arguments of a call."""
        return f'{{"name": "{name}"{self.arguments}'

    def mark(self, text: str, limits: Limits) -> Guide:
        """The guide of a piece, in which special tokens stand for themselves."""
        guide: Guide | None = None
        for part in re.split(f"({'|'.join(map(re.escape, sorted(self.special)))})", text) if self.special else [text]:
            if part:
                one: Guide = constraints.token(part) if part in self.special else constraints.choices([part], limits=limits)
                guide = one if guide is None else guide + one
        return constraints.choices([""], limits=limits) if guide is None else guide

    @property
    def opened(self) -> bool:
        """Whether calls begin with a special token, which no text holds."""
        return any(self.begin.startswith(name) for name in self.special)


HERMES = CallStyle("hermes", "<tool_call>\n", "\n</tool_call>")  # also Qwen's
MISTRAL = CallStyle("mistral", "[TOOL_CALLS] [", "]", between=", ", id_letters=9)
LLAMA3 = CallStyle("llama3", "", "", arguments=', "parameters": ', whole=True)
STYLES = {style.name: style for style in (HERMES, MISTRAL, LLAMA3)}


def special_marks(vocab: Vocab) -> dict[int, str]:
    """The marks that are single special tokens of a vocabulary, by their ids."""
    return {id: name for id in vocab.special if (name := vocab.name(id)) in MARKS}


def style_of(lm: LanguageModel) -> CallStyle:
    """How a model's chat template writes calls; as Hermes does where it has another way, or none."""
    style = STYLES.get(format_of(lm), HERMES)
    special = frozenset(special_marks(lm.vocab).values())
    return CallStyle(**{**vars(style), "special": special}) if special else style


def shows_tools(lm: LanguageModel) -> bool:
    """Whether the chat template shows tools, in a format that is enforced."""
    return format_of(lm) in STYLES and any("tools" in template for template in lm.tokenizer.templates.values())


class Spelled:
    """Text as it comes, with the names of special marks where their tokens stand.

    >>> vocab = Vocab([b"a", b"b", None], names={2: "<think>"})
    >>> text = Spelled(vocab, special_marks(vocab))
    >>> text.feed("a", [0, 2]), text.feed("b", [1])
    ('a<think>', 'b')
    """

    def __init__(self, vocab: Vocab, marks: dict[int, str]) -> None:
        self._vocab, self._marks = vocab, marks
        self._decoder, self._written, self._shown = Detokenizer(vocab), 0, 0
        self._waiting: list[tuple[int, str]] = []
        self._once = {"<think>", "</think>"}  # a text has one region of reasoning; what opens another writes nothing

    def feed(self, text: str, tokens: list[int] | tuple[int, ...], final: bool = False) -> str:
        """The further text, spelled."""
        if not self._marks:
            return text
        for token in tokens:
            if token in self._marks:
                self._waiting.append((self._written, self._marks[token]))
            else:
                self._written += len(self._decoder.write([token]))
        made, begin = "", self._shown
        self._shown += len(text)
        while self._waiting and (self._waiting[0][0] <= self._shown or final):
            at, name = self._waiting.pop(0)
            cut = max(0, min(len(text), at - begin))
            if name in ("<think>", "</think>"):
                opens = name == "<think>" and at > 0
                name = name if name in self._once and not opens else ""
                self._once.discard(name)
            made, text, begin = made + text[:cut] + name, text[cut:], begin + cut
        return made + text
