"""Text to tokens and back, by the tokenizer that came with the model."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers

from espalier.errors import ContextOverflow, InvalidInput, LoadError, expect, require
from espalier.text.chat_template import Message, render, with_cut
from espalier.text.json_files import checked
from espalier.text.special_names import SpecialNames, plain
from espalier.text.token_bytes import byte_of_character, pieces_to_bytes
from espalier.text.tokenizer_files import TokenizerSettings, read_tokenizer
from espalier.text.vocab import Vocab

__all__ = ["TURN_ENDS", "Tokenizer", "byte_of_character"]

# Tokens that end a turn of a chat, although older configurations name only the end of a document as `eos`.
TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|end|>", "<|end_of_text|>")


class Tokenizer:
    """Text to token ids and back: `encode`, `decode`, `chat`, and `vocab`, what each id writes in bytes.

    `settings` has the keys of Hugging Face's `tokenizer_config.json` (`bos_token`, `chat_template`, ...), `end` names
    further end tokens by id, `size` is the width of the model's rows. Added tokens beyond it can never come out and are
    refused in a text; end tokens beyond it are left out.

    Guarantee: `encode(text, special=True)` and `chat` give the ids that transformers gives for the same files, except that
    names of special tokens in messages are text (`special_in_text=True` is transformers' way). Raises `LoadError` where the
    settings make no sense, or the model has fewer rows than the tokenizer has tokens of its own.

    >>> from tokenizers import decoders, models, pre_tokenizers
    >>> letters = {piece: i for i, piece in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    >>> backend = tokenizers.Tokenizer(models.BPE(vocab=letters, merges=[]))
    >>> backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    >>> tokenizer = Tokenizer(backend)
    >>> tokenizer.decode(tokenizer.encode("a b")), tokenizer.vocab.size
    ('a b', 256)
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        settings: Mapping[str, Any] | None = None,
        *,
        end: Iterable[int] = (),
        size: int = 0,
    ) -> None:
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        self._lock = threading.Lock()
        self._settings = checked(TokenizerSettings, settings or {}, "the settings of the tokenizer")
        named = backend.get_vocab(with_added_tokens=True)
        size = size or 1 + max(named.values(), default=-1)
        added = backend.get_added_tokens_decoder()
        if own := [id for id in named.values() if id >= size and id not in added]:
            raise LoadError(
                f"the tokenizer has {len(own)} tokens of its own beyond {size} rows of the model (vocab_size of config.json); "
                "they do not belong together"
            )
        tokens, names = pieces_to_bytes(backend, named, size)
        self.templates = self._settings.templates()
        self.template = self.templates.get("default")
        ends = set(end) | {id for id in [self._id("eos_token")] if id is not None}
        for template in self.templates.values():
            ends |= {named[name] for name in TURN_ENDS if name in template and named.get(name) in names}
        self.vocab = Vocab(tokens, {id for id in ends if 0 <= id < size}, names=names)
        self.vocab.made_by(self)
        single = {token[0] for token in self.vocab.tokens if len(token) == 1}
        self._missing = frozenset() if len(single) == 256 else frozenset(range(256)) - single

    @classmethod
    def from_folder(cls, folder: str | Path, *, end: Iterable[int] = (), size: int = 0) -> Tokenizer:
        """The tokenizer of a Hugging Face folder: `tokenizer.json` and the files beside it (see `tokenizer_files`)."""
        backend, settings = read_tokenizer(Path(folder))
        return cls(backend, settings, end=end, size=size)

    def _id(self, key: str) -> int | None:
        name = self._settings.name(key)
        return None if name is None else self._backend.token_to_id(name)

    @property
    def begin(self) -> int | None:
        """The token that begins a text (`bos`), where the model has one."""
        return self._id("bos_token")

    @cached_property
    def longest(self) -> int:
        """At most so many characters of a text become one token; normalizers may write several as one."""
        longest = max(map(len, self._backend.get_vocab(with_added_tokens=True)), default=1)
        return max(1, longest) * (1 if self._backend.normalizer is None else 4)

    def refuse_beyond(self, text: str, context: int | None) -> None:
        """Raises `ContextOverflow` for a text that takes more than `context` tokens, whatever they are: splitting it into them
        may take minutes."""
        if context is not None and len(text) > context * self.longest:
            raise ContextOverflow(
                f"the prompt has {len(text)} characters, at least {len(text) // self.longest} tokens, but at most {context} "
                "fit, output included; shorten it"
            )

    @cached_property
    def _special(self) -> SpecialNames:
        return SpecialNames(self._backend)

    def encode(self, text: str, special: bool = False) -> list[int]:
        """The tokens of a text.

        With `special=False` the text is only text: no special token is added, and the name of one inside the text is spelled
        out letter by letter, so `vocab.join(encode(text))` is the text again (after the tokenizer's own normalization). With
        `special=True` names of special tokens are read as these tokens, and what the model expects around a text (`bos`) is
        added.

        Raises `InvalidInput` for characters that this vocabulary cannot write.
        """
        ids = self._encode(text, names=special, around=special)
        if not special and not self._without_special(ids):
            mark = self._special.mark(text)
            ids = self._special.ids(self._special.marked(text, mark), mark)
        return self._told(ids)

    def _without_special(self, ids: Sequence[int]) -> bool:
        return self.vocab.special.isdisjoint(ids)

    def _encode(self, text: str, *, names: bool, around: bool) -> list[int]:
        self._check_text(text)
        with self._lock:
            self._backend.encode_special_tokens = not names
            return list(self._backend.encode(text, add_special_tokens=around).ids)

    def _check_text(self, text: str) -> None:
        expect(text, str, "the text to encode", "a str; bytes become one by data.decode()")
        try:
            raw = text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InvalidInput(
                f"the text has a lone surrogate {text[error.start]!r} at position {error.start}, which is not a character; "
                "decode your bytes as UTF-8 with errors='replace'"
            ) from None
        if self._missing and not self._missing.isdisjoint(raw):
            self._check_bytes(text)

    def _told(self, ids: list[int]) -> list[int]:
        """The same tokens, after a look at what is odd about them."""
        if ids and max(ids) >= self.vocab.size:
            id = max(ids)
            raise InvalidInput(
                f"the text has the token {self._backend.id_to_token(id)!r} ({id}), for which the model has no row; leave it out"
            )
        if (begin := self.begin) is not None and ids[:2] == [begin, begin]:
            warnings.warn(
                f"the prompt begins with {self._settings.name('bos_token')!r} twice: it is added to a text that has it; "
                "leave it out of the text",
                stacklevel=3,
            )
        return ids

    def _check_bytes(self, text: str) -> None:
        if "ByteLevel" not in str(self._backend.decoder):
            return  # characters outside the vocabulary become byte tokens or <unk> there
        for at, character in enumerate(text):
            if self._missing.isdisjoint(raw := character.encode()):
                continue
            if self.vocab.join(self._backend.encode(character, add_special_tokens=False).ids) != raw:
                raise InvalidInput(
                    f"the text has U+{ord(character):04X} at position {at}, which no token of this model can write; "
                    "remove that character"
                )

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of these tokens; special tokens write nothing, bytes that are no character become U+FFFD."""
        return self.vocab.join(tokens).decode("utf-8", errors="replace")

    def chat(
        self,
        messages: str | Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        generate: bool = True,
        template: str | None = None,
        template_args: Mapping[str, Any] | None = None,
        continue_final: bool = False,
        special_in_text: bool = False,
        context: int | None = None,
        **variables: Any,
    ) -> list[int]:
        """The tokens of a conversation as the model's chat template writes it; a string is one message of the user.

        With `generate` it ends where the assistant's answer begins, with `continue_final` where the last message ends, so that
        the model goes on with it. `template` names one of several; without it tools choose "tool_use" where there is one.
        `template_args` (and further arguments) are variables of the template: `{"enable_thinking": False}`. Names of
        special tokens in messages, tools and variables are only text, so no message can close its own turn, unless
        `special_in_text` says otherwise. A model without a chat template continues a string as a bare text, and refuses
        a list of messages. A text that no `context` tokens could write is a `ContextOverflow` before it is tokenized.
        """
        if not self.templates:
            if not isinstance(messages, str):
                raise InvalidInput(
                    "this model has no chat template: it continues text and knows no messages. Give a string, or load an "
                    "instruction-tuned model"
                )
            require(not tools, "this model has no chat template, so it knows no tools; load an instruction-tuned model")
            self.refuse_beyond(messages, context)
            return self._told(self._encode(messages, names=False, around=True))
        messages, tools, given = map(plain, (messages, tools, _variables(template_args, variables)))
        ways: dict[str, Any] = {"generate": generate, "template": template, "continue_final": continue_final}
        if special_in_text or not self._special.inside([messages, tools, given]):
            text = self._render(messages, tools, given, **ways)
            self.refuse_beyond(text, context)
            return self._told(self._encode(text, names=True, around=False))
        mark = self._special.mark(messages, tools, given, list(self.templates.values()))
        turns, tools, given = (self._special.marked(value, mark) for value in (messages, tools, given))
        text = self._render(turns, tools, given, **ways)
        self.refuse_beyond(written := self._special.unmarked(text, mark), context)
        self._check_text(written)
        return self._told(self._special.ids(text, mark))

    def chat_text(
        self,
        messages: str | Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        generate: bool = True,
        template: str | None = None,
        template_args: Mapping[str, Any] | None = None,
        continue_final: bool = False,
        **variables: Any,
    ) -> str:
        """The text that the chat template makes of a conversation, before it is tokenized (arguments as in `chat`)."""
        require(bool(self.templates), "this model has no chat template")
        messages, tools, given = map(plain, (messages, tools, _variables(template_args, variables)))
        return self._render(messages, tools, given, generate=generate, template=template, continue_final=continue_final)

    def _render(
        self,
        messages: str | Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None,
        given: Mapping[str, Any],
        *,
        generate: bool,
        template: str | None,
        continue_final: bool,
    ) -> str:
        turns: Sequence[Message] = [{"role": "user", "content": messages}] if isinstance(messages, str) else list(messages)
        for turn in turns:
            if not isinstance(turn, Mapping) or "role" not in turn:
                raise InvalidInput(f"a message is a mapping with 'role' and 'content', not {turn!r}")
            if "content" not in turn and "tool_calls" not in turn:
                raise InvalidInput(f"the message {dict(turn)!r} says nothing; write {{'role': …, 'content': …}}")
        cut = ""
        if continue_final:
            cut = self._special.mark(turns, tools, given, list(self.templates.values()), "\ue000")
            turns = [*turns[:-1], with_cut(turns, cut)]
        variables: dict[str, Any] = dict(self._settings.variables())
        variables |= {"tools": list(tools) if tools else None, "add_generation_prompt": generate and not continue_final}
        variables |= given
        text = render(self._chosen(template, bool(tools)), turns, **variables)
        if not continue_final:
            return text
        if cut not in text:
            raise InvalidInput("the chat template does not write the last message as it is, so it cannot be continued")
        return text[: text.rindex(cut)]

    def _chosen(self, name: str | None, tools: bool) -> str:
        """The template of this name, else the one for tools, else the default."""
        wanted = name if name is not None else "tool_use" if tools and "tool_use" in self.templates else "default"
        if wanted not in self.templates:
            raise InvalidInput(
                f"this model has no chat template called {wanted!r}; write template= one of {', '.join(sorted(self.templates))}"
            )
        return self.templates[wanted]


def _variables(template_args: Mapping[str, Any] | None, more: Mapping[str, Any]) -> dict[str, Any]:
    """The variables of a template that a person gives."""
    hint = "a mapping of names, such as {'enable_thinking': False}"
    expect(template_args, (Mapping, type(None)), "template_args", hint)
    for name in template_args or {}:
        expect(name, str, "a name in template_args", hint)
    return {**(template_args or {}), **more}
