"""One line of the catalogue: a name that people type, what is behind it, and how arguments are read."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from espalier.errors import InvalidInput

Kind = Literal["drafter", "verifier", "length", "tree", "shaper", "decoder"]
GIVEN = frozenset({"model", "lm", "vocab_size"})  # what is at hand wherever a model is


@dataclass(frozen=True)
class Entry:
    """One name: its kind, the callable behind it ("module:name"), example arguments as people type them, and what it needs.

    `needs`: what nobody can type, the first arguments in this order: "model", the target, "vocab_size", its number of tokens,
    "lm", a language model (or a scorer), "prompt", "guide", and others that only code can give.

    >>> Entry("shaper", "top_p", "espalier.shaping:top_p", "0.9").make("0.8").p
    0.8
    """

    kind: Kind
    name: str
    where: str
    example: str = ""
    needs: tuple[str, ...] = ()

    @property
    def callable(self) -> Callable[..., Any]:
        """What is behind the name."""
        module, _, attribute = self.where.partition(":")
        made: Callable[..., Any] = getattr(import_module(module), attribute)
        return made

    @property
    def arguments(self) -> str:
        """The arguments that may be typed, with their defaults, as in a signature."""
        parameters = list(inspect.signature(self.callable).parameters.values())[len(self.needs) :]
        return ", ".join(str(p).split(":")[0] + ("" if p.default is p.empty else f"={p.default!r}") for p in parameters)

    def make(self, arguments: str = "", model: Any = None, **objects: Any) -> Any:
        """The object for arguments as people type them: "8", "0.8, base=1.75". Raises `InvalidInput` for others.

        `model` and `objects` are what it may need; a bare word among the arguments that is the name of one stands for it.
        """
        if model is not None:
            objects = {"lm": model, "vocab_size": model.vocab_size} | objects | {"model": model}
        positional, named = _read(self, arguments, objects)
        if missing := [name for name in self.needs if objects.get(name) is None]:
            raise InvalidInput(self._missing(missing))
        positional = [objects[name] for name in self.needs] + positional
        try:
            inspect.signature(self.callable).bind(*positional, **named)
        except TypeError as error:
            raise InvalidInput(f"{self.name}:{arguments}: {error}; its arguments are ({self.arguments})") from error
        return self.callable(*positional, **named)

    def _missing(self, missing: list[str]) -> str:
        if missing == ["guide"]:
            return f"{self.kind} {self.name!r} follows the guide of a request, and this one has none; give regex= or grammar="
        if GIVEN & set(missing):
            return f"{self.kind} {self.name!r} needs the model it works on; pass it where a model is at hand"
        module, _, attribute = self.where.removeprefix("espalier.").partition(":")
        option, call = _OPTIONS.get(self.kind, self.kind), ", ".join(filter(None, (*self.needs, self.arguments)))
        return (
            f"{self.kind} {self.name!r} needs {' and '.join(missing)}, which cannot be typed; build it: "
            f"{option}=es.{module}.{attribute}({call})"
        )

    @property
    def typed(self) -> bool:
        """Whether a model and what people type are enough to make it."""
        return set(self.needs) <= GIVEN

    def typical(self, model: Any = None, **objects: Any) -> Any:
        """The object for the example arguments."""
        return self.make(self.example, model, **objects)


# the option that takes an object of a kind, where it has another name: what is built around a scorer is one
_OPTIONS = {"shaper": "scorer"}


def _read(entry: Entry, arguments: str, objects: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    try:
        call = ast.parse(f"f({arguments})", mode="eval").body
        assert isinstance(call, ast.Call)
        return [_value(a, objects) for a in call.args], {str(k.arg): _value(k.value, objects) for k in call.keywords}
    except (SyntaxError, ValueError, AssertionError) as error:
        raise InvalidInput(
            f"{entry.name}:{arguments}: the arguments are written as in a call, such as {entry.name}:{entry.example or '8'}"
        ) from error


def _value(node: ast.expr, objects: Mapping[str, Any]) -> Any:
    return objects.get(node.id, node.id) if isinstance(node, ast.Name) else ast.literal_eval(node)
