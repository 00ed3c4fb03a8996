"""Chat templates in bounds: what a template does is counted, and it ends when it has used up its time or its memory."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from types import BuiltinFunctionType
from typing import Any

from jinja2 import nodes
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from espalier.errors import LimitExceeded

__all__ = ["Bounded", "Meter", "metered"]

SECONDS = 5.0  # of one rendering, on the clock of its thread
CHARACTERS = 50_000_000  # all that a rendering makes, whether it is shown or thrown away
WIDEST = 100_000  # any number that says how wide or how often
LEFT_OUT = ("pprint", "urlize", "xmlattr", "wordwrap")  # filters that no chat needs and that have no bound of their own


@dataclass
class Meter:
    """What one rendering has used so far."""

    seconds: float = SECONDS
    characters: int = CHARACTERS
    started: float = field(default_factory=time.thread_time)

    def tick(self, written: int = 0) -> None:
        """One turn of a loop, one call; `written` characters were made."""
        self.characters -= written
        if self.characters < 0:
            raise LimitExceeded(f"the chat template makes more than {CHARACTERS:,} characters for these messages")
        if time.thread_time() - self.started > self.seconds:
            raise LimitExceeded(f"the chat template takes more than {self.seconds:g} s for these messages")

    def room(self, characters: int) -> None:
        """Raises if so many characters, which are about to be made at once, are more than are left."""
        if characters > self.characters:
            raise LimitExceeded(f"the chat template makes more than {CHARACTERS:,} characters at once for these messages")


_running = threading.local()


def _meter() -> Meter:
    meter: Meter | None = getattr(_running, "meter", None)
    return Meter() if meter is None else meter


@contextmanager
def metered(meter: Meter) -> Iterator[None]:
    """While it lasts this thread's templates count on `meter`."""
    before = getattr(_running, "meter", None)
    _running.meter = meter
    try:
        yield
    finally:
        _running.meter = before


class Bounded(ImmutableSandboxedEnvironment):
    """A sandbox whose loops, calls, filters and operators count what they use (see `Meter`).

    A template reaches nothing but its variables (jinja2's own sandbox). Every loop and macro ticks, every text that an
    operator, a method or a filter makes is counted before or when it is made, and numbers that say how wide or how often
    are at most WIDEST, so that no single step is large either.
    """

    intercepted_binops = frozenset({"*", "**", "+", "%"})

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.globals.pop("lipsum", None)
        for name in LEFT_OUT:
            self.filters.pop(name, None)
        self.filters = {name: _counted(name, made) for name, made in self.filters.items()}

    def add_filter(self, name: str, made: Callable[..., Any]) -> None:
        """Adds a filter that is counted like the others."""
        self.filters[name] = _counted(name, made)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        _watch(tree)
        tree.set_environment(self)
        return tree

    def tick(self, written: int) -> str:
        """What the first line of every loop and macro calls."""
        _meter().tick(written)
        return ""

    def glue(self, parts: Sequence[Any]) -> str:
        """What the operator `~` makes."""
        text = "".join(map(str, parts))
        _meter().tick(len(text))
        return text

    def shown(self, value: Any) -> Any:
        """A value that is about to be written."""
        _meter().tick(_size(value))
        return value

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """What `*`, `**`, `+` and `%` make."""
        if operator == "*":
            for some, times in ((left, right), (right, left)):
                if isinstance(times, int) and hasattr(some, "__len__"):
                    _meter().room(max(times, 0) * _size(some))
        elif operator == "**":
            _narrow((left, right), 10_000)
        elif operator == "%" and isinstance(left, str):
            _check_format(left, right if isinstance(right, tuple) else (right,))
        value = super().call_binop(context, operator, left, right)
        _meter().tick(_size(value))
        return value

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """The method `format` of a text, with its widths checked."""
        made = super().wrap_str_format(value)
        if made is None:
            return None

        @wraps(made)
        def run(*args: Any, **kwargs: Any) -> str:
            _narrow([*args, *kwargs.values()])
            _check_format(value.__self__, [*args, *kwargs.values()])
            return made(*args, **kwargs)

        return run

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(__obj, BuiltinFunctionType) and isinstance(__obj.__self__, str | bytes | int | list | tuple | dict):
            _check_call(__obj.__name__, __obj.__self__, [*args, *kwargs.values()])
        value = super().call(__context, __obj, *args, **kwargs)
        _meter().tick(_size(value))
        return value


def _watch(tree: nodes.Node) -> None:
    """Lets every loop and macro tick, and counts whatever is written or glued together."""
    for child in tree.iter_child_nodes():
        _watch(child)
    if isinstance(tree, nodes.For | nodes.Macro | nodes.CallBlock):
        literal = sum(len(data.data) for data in tree.find_all(nodes.TemplateData))
        tree.body.insert(0, nodes.ExprStmt(_ask("tick", nodes.Const(literal))))
    if isinstance(tree, nodes.Output):
        tree.nodes = [node if isinstance(node, nodes.TemplateData) else _ask("shown", node) for node in tree.nodes]
    for name, value in tree.iter_fields():
        if isinstance(value, nodes.Concat):
            setattr(tree, name, _glued(value))
        elif isinstance(value, list):
            value[:] = [_glued(item) if isinstance(item, nodes.Concat) else item for item in value]


def _ask(method: str, argument: nodes.Expr) -> nodes.Call:
    return nodes.Call(nodes.EnvironmentAttribute(method), [argument], [], None, None)


def _glued(concat: nodes.Concat) -> nodes.Call:
    return _ask("glue", nodes.List(concat.nodes))


def _size(value: Any) -> int:
    if isinstance(value, int):
        return value.bit_length() // 8
    return len(value) if isinstance(value, str | bytes | list | tuple | dict | range) else 1


def _narrow(values: Sequence[Any], most: int = WIDEST) -> None:
    for value in values:
        if isinstance(value, int) and abs(value) > most:
            raise LimitExceeded(f"the chat template asks for {value}, more than the {most:,} that a template may count to")


def _check_format(text: str, values: Sequence[Any]) -> None:
    if re.search(r"\d{5}|\*", text):
        raise LimitExceeded(f"the chat template formats with a width that is too large or not fixed: {text[:80]!r}")
    _meter().room(len(text) + sum(_size(value) for value in values) * (1 + text.count("%") + text.count("{")))


def _check_call(name: str, owner: Any, args: Sequence[Any]) -> None:
    """Refuses a method of a text, a number or a list whose answer would be too large to be made."""
    _narrow(args)
    texts = [arg for arg in args if isinstance(arg, str | bytes)]
    if name == "replace" and len(texts) == 2:
        _meter().room(owner.count(texts[0]) * len(texts[1]))
    elif name == "join" and args:
        _meter().room((len(args[0]) if hasattr(args[0], "__len__") else WIDEST) * len(owner))
    elif name in ("expandtabs", "translate"):
        _meter().room(len(owner) * max([8, *(arg for arg in args if isinstance(arg, int))]))


def _check_filter(name: str, args: Sequence[Any]) -> None:
    _narrow([arg for arg in args if isinstance(arg, int)][: 2 if isinstance(args[0], int) else 3] if args else ())
    value, rest = (args[0], args[1:]) if args else ("", ())
    wide = max([1, *(arg for arg in rest if isinstance(arg, int)), *(len(arg) for arg in rest if isinstance(arg, str))])
    if name == "replace" and len(rest) >= 2:
        _meter().room(str(value).count(str(rest[0])) * len(str(rest[1])))
    elif name == "indent":
        _meter().room((str(value).count("\n") + 1) * wide)
    elif name == "join":
        _meter().room((len(value) if hasattr(value, "__len__") else WIDEST) * wide)
    elif name == "format":
        _check_format(str(value), rest)
    elif name == "tojson":
        _narrow(rest, 64)


def _counted(name: str, made: Callable[..., Any]) -> Callable[..., Any]:
    passed = 1 if hasattr(made, "jinja_pass_arg") else 0

    @wraps(made)
    def run(*args: Any, **kwargs: Any) -> Any:
        given = args[passed:]
        _check_filter(name, [*given, *(v for v in kwargs.values() if not isinstance(v, bool))])
        value = made(*args, **kwargs)
        _meter().tick(_size(value))
        return value

    return run
