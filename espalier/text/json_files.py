"""Files that came with a model, read without trust: their size, their syntax and their members are checked by name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from espalier.errors import LoadError

__all__ = ["checked", "read_bytes", "read_json", "read_text", "refuse_pointer"]

LARGEST = 1 << 28  # bytes of a JSON or text file; the largest tokenizer known has a tenth of it
POINTER = b"version https://git-lfs.github.com/spec/"
T = TypeVar("T", bound=BaseModel)


def refuse_pointer(path: Path, begin: bytes) -> None:
    """Raises `LoadError` if a file begins as a pointer of git-lfs does: the file itself was never fetched.

    >>> refuse_pointer(Path("config.json"), b"{}")
    """
    if begin.startswith(POINTER):
        raise LoadError(f"{path} is only a pointer of git-lfs, not the file: run `git lfs pull` beside it, or fetch it again")


def read_bytes(path: Path) -> bytes:
    """The bytes of a file that is small by its nature. Raises `LoadError` if it is missing, endless, too large or a pointer."""
    try:
        if not path.exists():
            raise LoadError(f"{path} does not exist; a model folder holds config.json, *.safetensors and tokenizer.json")
        if not path.is_file():
            raise LoadError(f"{path} is not a file")
        if (size := path.stat().st_size) > LARGEST:
            raise LoadError(f"{path} has {size:,} bytes; at most {LARGEST:,} are read of a file of this kind")
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        raise LoadError(f"{path} cannot be read: {error}") from error
    if len(content) > LARGEST:
        raise LoadError(f"{path} has more than {LARGEST:,} bytes, the most that is read of a file of this kind")
    refuse_pointer(path, content[:64])
    return content


def read_text(path: Path) -> str:
    """The text of a file, which must be UTF-8. Raises `LoadError` as `read_bytes` does."""
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LoadError(f"{path} cannot be read: {error}") from error


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises `LoadError` as `read_bytes` does, and for anything but an object."""
    text = read_text(path)
    try:
        content = json.loads(text)
        json.dumps(content, ensure_ascii=False).encode()  # half of a character (a lone surrogate) is in no text
    except (ValueError, RecursionError) as error:
        raise LoadError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise LoadError(f"{path} holds {type(content).__name__}, not an object")
    return content


def checked(kind: type[T], content: Mapping[str, Any], where: str) -> T:
    """The members of `content` that `kind` names, checked. Raises `LoadError` that names the file and the member.

    >>> class Size(BaseModel):
    ...     width: int
    >>> checked(Size, {"width": 3, "depth": "?"}, "config.json").width
    3
    """
    try:
        return kind.model_validate(dict(content))
    except ValidationError as error:
        _tell(error, where)


def _tell(error: ValidationError, where: str) -> NoReturn:
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"] if not str(part).startswith(("function-", "constrained-")))
    given = "" if first["type"] == "missing" else f", not {first['input']!r:.80}"
    message = str(first["msg"]).removeprefix("Value error, ")
    raise LoadError(f"{where}: {place or 'it'} is wrong ({message[:1].lower()}{message[1:]}{given})") from error
