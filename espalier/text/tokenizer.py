"""Text to tokens and back, by the tokenizer that came with the model."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tokenizers

from espalier.errors import InvalidInput, LoadError, expect
from espalier.text.chat_template import Message, render
from espalier.text.vocab import Vocab

# Tokens that end a turn of a chat, although older configurations name only the end of a document as `eos`.
TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|end|>", "<|end_of_text|>")


def byte_of_character() -> dict[str, int]:
    """The byte that each character of a byte-level BPE spells: printable ones spell themselves, the others are shifted by 256.

    Reference: A. Radford et al., 2019, "Language Models are Unsupervised Multitask Learners".

    >>> byte_of_character()["\u0120"] == ord(" ") and len(byte_of_character())
    256
    """
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    shifted = [byte for byte in range(256) if byte not in plain]
    return {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(shifted)}


def _pieces_to_bytes(
    backend: tokenizers.Tokenizer, pieces: Mapping[str, int], size: int
) -> tuple[list[bytes | None], dict[int, str]]:
    """What every id writes in bytes, and the names of those that write nothing."""
    decoder = json.loads(backend.decoder.__getstate__()) if backend.decoder is not None else {}
    steps = decoder.get("decoders", [decoder])
    kinds = {step.get("type") for step in steps}
    byte_level, fallback = "ByteLevel" in kinds, "ByteFallback" in kinds
    spaces = [(s["pattern"].get("String"), s["content"]) for s in steps if s.get("type") == "Replace"]
    spaces += [(s.get("replacement", "▁"), " ") for s in steps if s.get("type") == "Metaspace"]
    if not byte_level and not spaces:
        raise LoadError(
            f"the tokenizer has a decoder of kind {sorted(map(str, kinds))}, whose tokens have no fixed bytes; byte-level and "
            "sentencepiece tokenizers can be used"
        )
    alphabet = byte_of_character()
    added = backend.get_added_tokens_decoder()
    tokens: list[bytes | None] = [None] * size
    names: dict[int, str] = {}
    special = {id for id, token in added.items() if token.special}
    for piece, id in pieces.items():
        if id in special:
            names[id] = piece
        elif byte_level:
            known = [alphabet.get(character) for character in piece]
            tokens[id] = piece.encode() if None in known else bytes(b for b in known if b is not None)
        elif fallback and len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
            tokens[id] = bytes([int(piece[3:5], 16)])
        else:
            for old, new in spaces:
                piece = piece.replace(old, new)
            tokens[id] = piece.encode()
    return tokens, names


class Tokenizer:
    """Text to token ids and back: `encode`, `decode`, `chat`, and `vocab`, what each id writes in bytes.

    `settings` has the keys of Hugging Face's `tokenizer_config.json` (`bos_token`, `chat_template`, ...), `end` names
    further end tokens by id, `size` is the width of the model's rows where that is more than the tokenizer's ids.

    Guarantee: `encode(text, special=True)` and `chat` give the ids that transformers gives for the same files.

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
        self._backend = backend
        self._lock = threading.Lock()
        self._settings = dict(settings or {})
        named = backend.get_vocab(with_added_tokens=True)
        size = max(size, 1 + max(named.values(), default=-1))
        tokens, names = _pieces_to_bytes(backend, named, size)
        self.template = _template(self._settings)
        ends = set(end) | {id for id in [self._id("eos_token")] if id is not None}
        if self.template:
            ends |= {named[name] for name in TURN_ENDS if name in self.template and named.get(name) in names}
        self.vocab = Vocab(tokens, ends, names=names)
        single = {token[0] for token in self.vocab.tokens if len(token) == 1}
        self._missing = frozenset() if len(single) == 256 else frozenset(range(256)) - single

    @classmethod
    def from_folder(cls, folder: str | Path, *, end: Iterable[int] = (), size: int = 0) -> Tokenizer:
        """The tokenizer of a Hugging Face folder (`tokenizer.json`, `tokenizer_config.json`, `chat_template.jinja`)."""
        folder = Path(folder)
        try:
            backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # the tokenizers package raises bare Exception
            raise LoadError(f"{folder / 'tokenizer.json'} cannot be read as a tokenizer: {error}") from error
        settings: dict[str, Any] = {}
        try:
            if (path := folder / "tokenizer_config.json").exists():
                settings = json.loads(path.read_text("utf-8"))
            if (path := folder / "chat_template.jinja").exists():
                settings["chat_template"] = path.read_text("utf-8")
        except (OSError, ValueError) as error:
            raise LoadError(f"{path} cannot be read: {error}") from error
        return cls(backend, settings, end=end, size=size)

    def _name(self, key: str) -> str | None:
        value = self._settings.get(key)
        return value.get("content") if isinstance(value, dict) else value

    def _id(self, key: str) -> int | None:
        name = self._name(key)
        return None if name is None else self._backend.token_to_id(name)

    @property
    def begin(self) -> int | None:
        """The token that begins a text (`bos`), where the model has one."""
        return self._id("bos_token")

    def encode(self, text: str, special: bool = False) -> list[int]:
        """The tokens of a text.

        With `special=False` the text is only text: no special token is added, and the name of one inside the text is spelled
        out letter by letter, so `vocab.join(encode(text))` is the text again (after the tokenizer's own normalization). With
        `special=True` names of special tokens are read as these tokens, and what the model expects around a text (`bos`) is
        added.

        Raises `InvalidInput` for characters that this vocabulary cannot write.
        """
        return self._encode(text, names=special, around=special)

    def _encode(self, text: str, *, names: bool, around: bool) -> list[int]:
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
        with self._lock:
            self._backend.encode_special_tokens = not names
            return list(self._backend.encode(text, add_special_tokens=around).ids)

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
        **variables: Any,
    ) -> list[int]:
        """The tokens of a conversation as the model's chat template writes it; a string is one message of the user.

        With `generate` it ends where the assistant's answer begins. A model without a chat template continues a string as a
        bare text, and refuses a list of messages.
        """
        if self.template is None:
            if not isinstance(messages, str):
                raise InvalidInput(
                    "this model has no chat template: it continues text and knows no messages. Give a string, or load an "
                    "instruction-tuned model"
                )
            return self._encode(messages, names=False, around=True)
        return self._encode(self.chat_text(messages, tools=tools, generate=generate, **variables), names=True, around=False)

    def chat_text(
        self,
        messages: str | Sequence[Message],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        generate: bool = True,
        **variables: Any,
    ) -> str:
        """The text that the chat template makes of a conversation, before it is tokenized."""
        if self.template is None:
            raise InvalidInput("this model has no chat template")
        turns: Sequence[Message] = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
        for turn in turns:
            if not isinstance(turn, Mapping) or "role" not in turn:
                raise InvalidInput(f"a message is a mapping with 'role' and 'content', not {turn!r}")
            if "content" not in turn and "tool_calls" not in turn:
                raise InvalidInput(f"the message {dict(turn)!r} says nothing; write {{'role': …, 'content': …}}")
        names = {key: self._name(key) or "" for key in ("bos_token", "eos_token", "unk_token", "pad_token")}
        return render(
            self.template,
            turns,
            tools=list(tools) if tools else None,
            add_generation_prompt=generate,
            **{**names, **variables},
        )


def _template(settings: Mapping[str, Any]) -> str | None:
    template = settings.get("chat_template")
    if isinstance(template, list):  # several named templates
        named = {entry["name"]: entry["template"] for entry in template}
        template = named.get("default")
    return template or None
