"""The tokenizer files of a model folder, all of them: what each says, checked, and which of two is believed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import tokenizers
from pydantic import BaseModel, ConfigDict, Field

from espalier.errors import LoadError
from espalier.text.json_files import checked, read_bytes, read_json, read_text

__all__ = ["TokenizerSettings", "read_tokenizer"]

NAMED = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")


class _Token(BaseModel):
    """A token as settings write it: its text, and how it is found in a text."""

    model_config = ConfigDict(extra="ignore", strict=True)
    content: str
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False
    normalized: bool = False
    special: bool = False


class _Template(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)
    name: str
    template: str


class TokenizerSettings(BaseModel):
    """What `tokenizer_config.json` says that matters here; other members are passed over."""

    model_config = ConfigDict(extra="ignore", strict=True)
    bos_token: _Token | str | None = None
    eos_token: _Token | str | None = None
    unk_token: _Token | str | None = None
    pad_token: _Token | str | None = None
    sep_token: _Token | str | None = None
    cls_token: _Token | str | None = None
    mask_token: _Token | str | None = None
    additional_special_tokens: list[_Token | str] | None = None
    extra_special_tokens: list[_Token | str] | dict[str, _Token | str] | None = None
    added_tokens_decoder: dict[str, _Token] = Field(default_factory=dict)
    chat_template: str | list[_Template] | dict[str, str] | None = None

    def name(self, key: str) -> str | None:
        """The text of one of the named tokens, such as `bos_token`."""
        value = getattr(self, key)
        return value.content if isinstance(value, _Token) else value

    def variables(self) -> dict[str, str]:
        """What chat templates are given of the tokens: the named ones, and extra ones that have names."""
        extra = self.extra_special_tokens if isinstance(self.extra_special_tokens, dict) else {}
        texts = {name: token.content if isinstance(token, _Token) else token for name, token in extra.items()}
        texts |= {key: found for key in NAMED if (found := self.name(key)) is not None}
        return dict.fromkeys(("bos_token", "eos_token", "unk_token", "pad_token"), "") | texts

    def specials(self) -> list[str]:
        """The texts of all tokens that these settings call special."""
        extra = self.extra_special_tokens or []
        listed = [*(self.additional_special_tokens or []), *(extra.values() if isinstance(extra, dict) else extra)]
        named = [self.name(key) for key in NAMED]
        texts = [*named, *(token.content if isinstance(token, _Token) else token for token in listed)]
        return [text for text in dict.fromkeys(texts) if text]

    def templates(self) -> dict[str, str]:
        """The chat templates by name; one alone is called "default"."""
        found = self.chat_template
        if isinstance(found, list):
            return {entry.name: entry.template for entry in found}
        if isinstance(found, dict):
            return dict(found)
        return {"default": found} if found else {}


def read_tokenizer(folder: Path) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    """The tokenizer of a folder, and its settings with the keys of `tokenizer_config.json`.

    `tokenizer.json` is the tokenizer; what `tokenizer_config.json` leaves out is looked for in `special_tokens_map.json`;
    tokens that only `added_tokens_decoder` or `added_tokens.json` name are added; templates come from the settings, from
    `chat_template.json`, `chat_template.jinja` and the folder `additional_chat_templates`, later ones first. This is how
    transformers reads them. Raises `LoadError` that names the file and the member.
    """
    backend = _backend(folder / "tokenizer.json")
    settings: dict[str, Any] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (path := folder / name).exists():
            content = {key: value for key, value in read_json(path).items() if value is not None}
            checked(TokenizerSettings, content, str(path))
            settings |= content
    added: dict[str, int] = {}
    if (path := folder / "added_tokens.json").exists():
        added = _added(path)
    settings["chat_template"] = _templates(folder, checked(TokenizerSettings, settings, str(folder / "tokenizer_config.json")))
    read = checked(TokenizerSettings, settings, str(folder / "tokenizer_config.json"))
    _add(backend, read, added, folder)
    return backend, settings


def _backend(path: Path) -> tokenizers.Tokenizer:
    content = read_bytes(path)
    try:
        return tokenizers.Tokenizer.from_buffer(content)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a bare Exception, or a panic of the Rust below it, which is none
        raise LoadError(f"{path} cannot be read as a tokenizer: {error}") from None


def _added(path: Path) -> dict[str, int]:
    content = read_json(path)
    for name, id in content.items():
        if not isinstance(id, int) or isinstance(id, bool) or id < 0 or not name:
            raise LoadError(f"{path}: {name!r:.80} has {id!r:.80}, not the number of a token")
    return content


def _templates(folder: Path, settings: TokenizerSettings) -> dict[str, str]:
    found = settings.templates()
    if (path := folder / "chat_template.json").exists():
        found |= checked(TokenizerSettings, read_json(path), str(path)).templates()
    if (path := folder / "chat_template.jinja").exists():
        found["default"] = read_text(path)
    for path in sorted((folder / "additional_chat_templates").glob("*.jinja")):
        found[path.stem] = read_text(path)
    return found


def _add(backend: tokenizers.Tokenizer, settings: TokenizerSettings, added: Mapping[str, int], folder: Path) -> None:
    """Adds the tokens that only the settings name, each under the id that they give it."""
    wanted: dict[int, _Token] = {}
    special = set(settings.specials())
    for name, id in added.items():
        wanted[id] = _Token(content=name, special=name in special)
    for number, token in settings.added_tokens_decoder.items():
        if not number.isdigit() or len(number) > 9:
            raise LoadError(
                f"{folder / 'tokenizer_config.json'}: added_tokens_decoder has {number!r:.80}, not the id of a token"
            )
        wanted[int(number)] = token
    here = {token.content for token in backend.get_added_tokens_decoder().values() if token.special}
    for id, token in sorted(wanted.items()):
        if backend.token_to_id(token.content) is not None:
            continue  # tokenizer.json has it, and is believed
        free = backend.get_vocab_size(with_added_tokens=True)
        if id != free and id != max(backend.get_vocab(with_added_tokens=True).values(), default=-1) + 1:
            raise LoadError(
                f"{folder}: the added token {token.content!r:.80} has the id {id}, but tokenizer.json ends at {free - 1}"
            )
        _give(backend, [token])
    missing = [name for name in special if backend.token_to_id(name) is not None and name not in here]
    _give(backend, [_Token(content=name, special=True) for name in missing])


def _give(backend: tokenizers.Tokenizer, tokens: Iterable[_Token]) -> None:
    """Makes them added tokens of the tokenizer."""
    for token in tokens:
        known = {t.content: t for t in backend.get_added_tokens_decoder().values()}.get(token.content)
        flags = known or token
        added = tokenizers.AddedToken(
            token.content,
            lstrip=flags.lstrip,
            rstrip=flags.rstrip,
            single_word=flags.single_word,
            normalized=flags.normalized,
            special=token.special,
        )
        (backend.add_special_tokens if token.special else backend.add_tokens)([added])
