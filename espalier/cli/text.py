"""Reading what the user gives: a prompt from an argument, a file or stdin, always as UTF-8."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from espalier.errors import InvalidInput

if TYPE_CHECKING:
    from espalier.lm import LanguageModel


def told(lm: LanguageModel) -> LanguageModel:
    """The same model, after saying on a terminal (stderr) in which format it runs where nobody asked for one."""
    if lm.why != "it was asked for" and sys.stderr.isatty():  # elsewhere stderr has errors alone
        print(f"espalier: {lm.name} runs in {lm.dtype}: {lm.why}", file=sys.stderr, flush=True)
    return lm


def decoded(raw: bytes, where: str) -> str:
    """The text of these bytes; `InvalidInput` with the first bad byte if they are not UTF-8.

    >>> decoded("caf\u00e9".encode(), "stdin")
    'caf\u00e9'
    """
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{where} is not UTF-8: byte 0x{error.object[error.start]:02x} at position {error.start} ({error.reason}); "
            "convert it first, for example with iconv -f LATIN1 -t UTF-8"
        ) from None


def read_file(path: Path) -> str:
    """The text of a file; `InvalidInput` if it is not there or is not UTF-8."""
    try:
        return decoded(path.read_bytes(), str(path))
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from error


def read_prompt(argument: str | None, file: Path | None) -> str:
    """The prompt: the argument, the file, or stdin (argument "-", or nothing given and stdin is not a terminal)."""
    if argument is not None and argument != "-" and file is not None:
        raise InvalidInput("a prompt and --file are both given; give one of them")
    if file is not None:
        text, where = read_file(file), str(file)
    elif argument is not None and argument != "-":
        text, where = argument, "the prompt"
    elif argument is None and sys.stdin.isatty():
        raise InvalidInput('no prompt is given; write ./run generate "your prompt", or --file FILE, or pipe it in')
    else:
        text, where = decoded(sys.stdin.buffer.read(), "stdin"), "stdin"
    if not text.strip():
        raise InvalidInput(f"the prompt is empty ({where}); write what the model should answer")
    return text
