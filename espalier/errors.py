"""The errors that this library raises on purpose: each says what was given, why it cannot work and what to write instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from espalier.prefix import Prefix


class EspalierError(Exception):
    """Any error that Espalier raises on purpose; its text is meant for the person who wrote the input.

    `completion` is the completion that it is about, where it is about one.

    >>> issubclass(InvalidInput, EspalierError), issubclass(Unsatisfiable, EspalierError)
    (True, True)
    """

    completion: Any = None


class InvalidInput(EspalierError, ValueError):
    """A value that cannot work, found before any model runs (an impossible parameter, an empty prompt, a wrong pair).

    >>> issubclass(InvalidInput, ValueError)
    True
    """


class RefusedValue(InvalidInput):
    """A text that is whole and satisfies its schema, but is refused by the class that it stands for.

    `text` is the text, `cause` what the class raised, `completion` the completion it came from, where it came from one.
    """

    def __init__(self, text: str, kind: str, cause: BaseException) -> None:
        super().__init__(f"{kind} refuses the text {text[:2000]!r}: {type(cause).__name__}: {cause}")
        self.text, self.kind, self.cause = text, kind, cause

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.text, self.kind, self.cause)


class Interrupted(EspalierError):
    """A text that an interrupt (Ctrl-C) hit in the middle of a step, while others went on."""


class BrokenRow(EspalierError):
    """A row of log-weights that is no law: NaN or infinite, from a model whose weights or settings are broken."""


class LoadError(EspalierError):
    """Weights, a tokenizer or a configuration that cannot be found or read."""


class ContextOverflow(InvalidInput):
    """More tokens than the model's context holds."""


class LimitExceeded(EspalierError):
    """A budget (time, states, memory) was used up; names the place that used it."""


class DeadEnd(EspalierError):
    """No token may follow `prefix`. Decoders catch it and back up; nobody else sees it.

    `shaped_away`: the constraint allows tokens here, but shapers before it made all of them impossible.
    """

    def __init__(self, prefix: Prefix, shaped_away: bool = False) -> None:
        super().__init__(f"no token is allowed after {prefix!r}")
        self.prefix, self.shaped_away = prefix, shaped_away


class Unsatisfiable(EspalierError):
    """No text at all satisfies what was asked."""


def expect(value: object, kind: type | tuple[type, ...], name: str, hint: str) -> None:
    """Raise `InvalidInput` unless the value is of this kind; `hint` says what to write instead.

    >>> expect(3, int, "n", "a number")
    """
    if not isinstance(value, kind):
        given = f"the class {value.__name__}" if isinstance(value, type) else repr(value)[:200]
        raise InvalidInput(f"{name} was {given}; expected {hint}")


def require(condition: bool, message: str) -> None:
    """Raise `InvalidInput(message)` unless the condition holds.

    >>> require(1 + 1 == 2, "arithmetic is broken")
    """
    if not condition:
        raise InvalidInput(message)


def utf8(text: str, name: str) -> bytes:
    """The bytes of a text. Errors: `InvalidInput` for a surrogate in it, which is half of a character.

    >>> utf8("\u00e9", "a stop string")
    b'\xc3\xa9'
    """
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"{name} {text!r:.200} has a lone surrogate at position {error.start}, half of a character, which no text holds; "
            "write the whole character, or decode your bytes as UTF-8 with errors='replace'"
        ) from None
