"""Special tokens that say where reasoning and calls are, and text with their names where they stand."""

from __future__ import annotations

from espalier.constraints.tool_call_formats import TOKENS
from espalier.lm import LanguageModel
from espalier.requests.tool_use import format_of
from espalier.text.detokenize import Detokenizer
from espalier.text.vocab import Vocab

THINKING = frozenset(("<think>", "</think>"))


def special_marks(vocab: Vocab) -> dict[int, str]:
    """The marks that are single special tokens of a vocabulary, by their ids."""
    return {id: name for id in vocab.special if (name := vocab.name(id)) in TOKENS or name in THINKING}


def shows_tools(lm: LanguageModel) -> bool:
    """Whether the chat template shows tools."""
    return any("tools" in template for template in lm.tokenizer.templates.values())


def call_format(lm: LanguageModel) -> str:
    """The format that calls are enforced in: the model's, or Hermes', which a system message tells, where no template does."""
    format = format_of(lm)
    return format if shows_tools(lm) or format == "harmony" else "hermes"


class Spelled:
    """Text as it comes, with the names of special marks where their tokens stand.

    >>> vocab = Vocab([b"a", b"b", None], names={2: "</think>"})
    >>> text = Spelled(vocab, special_marks(vocab))
    >>> text.feed("a", [0, 2]), text.feed("b", [1])
    ('a</think>', 'b')
    """

    def __init__(self, vocab: Vocab, marks: dict[int, str]) -> None:
        self._vocab, self._marks = vocab, marks
        self._decoder, self._written, self._shown = Detokenizer(vocab), 0, 0
        self._waiting: list[tuple[int, str]] = []
        self._once = set(THINKING)  # a text has one region of reasoning; what opens another writes nothing

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
            if name in THINKING:
                opens = name == "<think>" and at > 0
                name = name if name in self._once and not opens else ""
                self._once.discard(name)
            made, text, begin = made + text[:cut] + name, text[cut:], begin + cut
        return made + text
