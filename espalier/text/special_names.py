"""Names of special tokens in the text of people: only text, unless it is asked otherwise."""

from __future__ import annotations

import json
import re
import secrets
from collections import UserString
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import tokenizers

from espalier.errors import InvalidInput

__all__ = ["SpecialNames", "plain"]

_PRIVATE = (*range(0xE000, 0xF8FE), *range(0xF0000, 0xF0100))  # characters without a meaning, for marks of our own
DEEPEST = 200  # lists and mappings in each other
MOST = 1_000_000  # entries of a list


class SpecialNames:
    """What keeps a message from closing its own turn: the names of special tokens in it are marked before a template sees it.

    `marked(values)` puts a mark behind the first character of every such name, also of one that breaks off at the end of a
    text, so that no template can put it together. `ids(text)` gives the tokens of a text that a template made of marked
    values: names that the template wrote are their tokens, names that carry the mark are spelled. All else is as the tokenizer
    has it, since the text is encoded whole, by a copy of the tokenizer in which special tokens have names that nobody knows.
    """

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self._backend = backend
        added = backend.get_added_tokens_decoder()
        self.names = sorted(
            (token.content for token in added.values() if token.special and token.content), key=len, reverse=True
        )
        self._any = re.compile("|".join(map(re.escape, self.names)) or r"(?!)")
        self._begins = {name[:size] for name in self.names for size in range(1, len(name))}
        self._longest = max(map(len, self.names), default=0)
        self._copy: tuple[tokenizers.Tokenizer, dict[str, str]] | None = None

    def inside(self, value: Any) -> bool:
        """Whether the name of a special token stands, or begins at an end, somewhere in texts, lists and mappings."""
        return any(self._any.search(text) or self._broken(text) for text in _texts(value))

    def mark(self, *values: Any) -> str:
        """A character that occurs in none of these values."""
        seen = set().union(*(set(text) for value in values for text in _texts(value)))
        mark = next((chr(code) for code in _PRIVATE if chr(code) not in seen), None)
        if mark is None:
            raise InvalidInput("the messages use every character for private use (U+E000 …); leave one out")
        return mark

    def marked(self, value: Any, mark: str) -> Any:
        """The same texts, lists and mappings with a mark in every name of a special token."""
        if isinstance(value, str):
            text = self._any.sub(lambda found: found[0][0] + mark + found[0][1:], value)
            if cut := self._broken(text):
                text = text[:-cut] + text[-cut] + mark + text[len(text) - cut + 1 :]
            return text
        if isinstance(value, Mapping):
            return {self.marked(name, mark): self.marked(inner, mark) for name, inner in value.items()}
        if isinstance(value, list | tuple):
            inside = [self.marked(inner, mark) for inner in value]
            return inside if isinstance(value, list) else tuple(inside)  # the name of a member may be one
        if self.inside(value):
            what = f"a {type(value).__name__} writes the name of a special token"
            raise InvalidInput(f"{what} ({value!s:.80}); give its text, as a str")
        return value

    def _broken(self, text: str) -> int:
        """How many characters at the end of a text could be the beginning of a name."""
        return next((n for n in range(min(self._longest - 1, len(text)), 0, -1) if text[-n:] in self._begins), 0)

    def ids(self, text: str, mark: str) -> list[int]:
        """The tokens of a text in which names with a mark are text and the others are tokens."""
        copy, renamed = self._private()
        text = re.sub(f"(?:{self._any.pattern})(?!{mark})", lambda found: renamed[found[0]], text)
        return list(copy.encode(self.unmarked(text, mark), add_special_tokens=False).ids)

    @staticmethod
    def unmarked(text: str, mark: str) -> str:
        """The text without its marks, however a template wrote them."""
        return text.replace(mark, "").replace(json.dumps(mark)[1:-1], "")

    def _private(self) -> tuple[tokenizers.Tokenizer, dict[str, str]]:
        """A copy of the tokenizer in which special tokens have names that nobody knows, and these names."""
        if self._copy is None:
            nonce = secrets.token_hex(8)
            renamed = {name: f"\uf8fe{nonce}{at}\uf8fe" for at, name in enumerate(self.names)}
            state = json.loads(self._backend.to_str())
            state["post_processor"] = None
            for token in state["added_tokens"]:
                if token["content"] in renamed:
                    token |= {"content": renamed[token["content"]], "normalized": False, "special": True}
            model = state["model"]
            vocab = model["vocab"]
            if isinstance(vocab, dict):
                model["vocab"] = {renamed.get(piece, piece): id for piece, id in vocab.items()}
            else:
                model["vocab"] = [[renamed.get(piece, piece), score] for piece, score in vocab]
            if model.get("merges"):
                pairs = [tuple(m.split(" ", 1)) if isinstance(m, str) else tuple(m) for m in model["merges"]]
                model["merges"] = [list(pair) for pair in pairs if not {*pair, "".join(pair)} & renamed.keys()]
            if model.get("unk_token") in renamed:
                model["unk_token"] = renamed[model["unk_token"]]
            self._copy = tokenizers.Tokenizer.from_str(json.dumps(state)), renamed
        return self._copy


def plain(value: Any) -> Any:
    """The same in texts, lists, mappings and numbers, where it is made of other sequences, iterators or Pydantic objects.

    >>> plain(m for m in ({"role": "user"},))
    [{'role': 'user'}]
    """
    try:
        return _plain(value, 0)
    except InvalidInput:
        raise
    except Exception as error:  # of what stands in the place of lists
        raise InvalidInput(f"the messages cannot be read: {type(error).__name__}: {error!s:.200}") from error


def _plain(value: Any, depth: int) -> Any:
    if depth > DEEPEST:
        raise InvalidInput(f"the messages hold lists and mappings more than {DEEPEST} deep; make them flatter")
    if isinstance(value, str | UserString):
        return "".join(value.data if isinstance(value, UserString) else [value])
    if isinstance(value, Mapping):
        return {name if isinstance(name, tuple) else _plain(name, depth + 1): _plain(value[name], depth + 1) for name in value}
    if hasattr(value, "model_dump") and not isinstance(value, type):
        return _plain(value.model_dump(exclude_none=True, by_alias=True), depth + 1)
    if isinstance(value, Iterable) and not isinstance(value, bytes | bytearray | type):
        found = [_plain(inner, depth + 1) for inner in islice(value, MOST + 1)]
        if len(found) > MOST:
            raise InvalidInput(f"the messages hold a list of more than {MOST:,} entries; give fewer")
        return found
    return value


def _texts(value: Any, depth: int = 0) -> Iterable[str]:
    """Every text in texts, lists and mappings, names of members included."""
    if depth > DEEPEST:
        raise InvalidInput(f"the messages hold lists and mappings more than {DEEPEST} deep; make them flatter")
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(name, depth + 1)
            yield from _texts(inner, depth + 1)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner, depth + 1)
    elif value is not None and not isinstance(value, bool | int | float):
        yield _written(value)


def _written(value: Any) -> str:
    """What a template would write of an object."""
    try:
        return str(value)
    except Exception as error:  # of a stranger's class
        kind = type(value).__name__
        raise InvalidInput(f"a {kind} in the messages has no text: {type(error).__name__}; give its text, as a str") from error
