"""The loop: steps all live decoders, gathers what they ask, and makes at most one forward pass per model and turn."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from types import GeneratorType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from espalier.errors import Interrupted, InvalidInput, expect
from espalier.prefix import Prefix
from espalier.scorer import Ask, Model, Scorer
from espalier.torch_threads import one_thread

if TYPE_CHECKING:
    from espalier.rows import Rows

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class Keep:
    """What a decoder yields when a prefix has settled: it will be part of the result. Answered with the prefix.

    `branch` is the number of the text that it belongs to, for decoders that write several: 0 is the one that is streamed.

    >>> import espalier as es
    >>> def echo(x, tokens):  # a decoder that asks nobody
    ...     for token in tokens:
    ...         x = yield Keep(x + token)
    ...     return x
    >>> [len(x) for x in es.settle(echo(Prefix([1]), [2, 3]))]
    [2, 3, 3]
    """

    prefix: Prefix
    branch: int = 0


Decoder: TypeAlias = Generator["Ask | tuple[Ask, ...] | Keep", Any, T]
Trace: TypeAlias = Callable[[str, Any], None]  # ("pass", (model, asks, rows)) or ("keep", (decoder's number, prefix))


class _Task:
    """A decoder (or one of several asks of one) as a stack of generators: scorers are asked in its name."""

    __slots__ = ("missing", "number", "parent", "parts", "slot", "stack")

    def __init__(self, generator: Generator[Any, Any, Any], number: int, parent: _Task | None = None, slot: int = 0) -> None:
        self.stack = [generator]
        self.number, self.parent, self.slot = number, parent, slot
        self.parts: list[Any] = []
        self.missing = 0


class Loop:
    """Decoders that run side by side. `add` one at any time, `turn` makes one pass per model, `cancel` forgets one.

    `results[number]` is what a finished decoder returned, `errors[number]` what it raised; `kept` receives what settles. What
    raises, or hands over nonsense, ends alone. After an interrupt (Ctrl-C) the others go on: the decoder that it hit ends
    with `Interrupted`. For one thread; `Engine` is for several.

    >>> import espalier as es
    >>> model, loop = es.models.Table.random(vocab_size=4, depth=3, seed=0), Loop()
    >>> numbers = [loop.add(es.sample(model, Prefix([i]), es.stop.budget(3 + i), es.Rng(i))) for i in range(2)]
    >>> while loop:
    ...     loop.turn()
    >>> [len(loop.results[number]) for number in numbers], loop.passes
    ([4, 5], 4)
    """

    def __init__(self, trace: Trace | None = None) -> None:
        self.results: dict[int, Any] = {}
        self.errors: dict[int, BaseException] = {}
        self.kept: list[tuple[int, Keep]] = []
        self.passes = 0
        self._trace = trace
        self._waiting: dict[_Task, Ask] = {}
        self._waited: dict[Model, int] = {}
        self._live: dict[int, _Task] = {}
        self._numbers = itertools.count()
        self._torn: int | None = None  # whose task is being resumed

    def __len__(self) -> int:
        return len(self._live)

    def __contains__(self, number: int) -> bool:
        return number in self._live

    def add(self, decoder: Decoder[Any], number: int | None = None) -> int:
        """Starts a decoder, up to its first question, and returns its number."""
        expect(decoder, Generator, "a decoder", "a generator such as es.sample(scorer, x, stop, rng); several: run(a, b)")
        self._mend()
        number = next(self._numbers) if number is None else number
        if number not in self._live:
            task = self._live[number] = _Task(decoder, number)
            with one_thread():
                self._resume(task, None)
        return number

    def cancel(self, number: int) -> None:
        """Stops a decoder; what only it held is freed."""
        task = self._live.pop(number, None)
        if task is not None:
            self._waiting = {waiting: ask for waiting, ask in self._waiting.items() if waiting.number != number}
            for generator in reversed(task.stack):
                try:
                    generator.close()
                except Exception as raised:
                    self.errors[number] = raised

    def turn(self) -> None:
        """Answers every question that waits: one forward pass per model; a patient model's wait for others to join them."""
        self._mend()
        groups: dict[int, list[tuple[_Task, Ask]]] = {}
        for task, ask in self._due():
            groups.setdefault(id(ask.scorer), []).append((task, ask))
        for group in groups.values():
            answers = self._answers([ask for _, ask in group])
            with one_thread():
                for (task, _), answer in zip(group, answers, strict=True):
                    if task in self._waiting:  # else it was cancelled meanwhile
                        self._resume(task, answer, answer if isinstance(answer, Exception) else None)

    def _resume(self, task: _Task, value: Any, error: Exception | None = None) -> None:
        self._torn = task.number
        self._waiting.pop(task, None)
        self._advance(task, value, error)
        self._torn = None

    def _mend(self) -> None:
        """Ends the decoder that an interrupt tore apart: it would never ask again."""
        if (number := self._torn) is not None:
            if number not in self.results:
                self.errors.setdefault(number, Interrupted("this text was interrupted between two tokens; ask for it again"))
            self.cancel(number)
            self._torn = None

    def _due(self) -> list[tuple[_Task, Ask]]:
        models = {ask.scorer for ask in self._waiting.values() if isinstance(ask.scorer, Model)}
        patient = {model for model in models if model.patience > self._waited.get(model, 0)}
        held = patient if models - patient else set()
        self._waited = {model: self._waited.get(model, 0) + 1 for model in held}
        return [(task, ask) for task, ask in self._waiting.items() if ask.scorer not in held]

    def _answers(self, asks: Sequence[Ask]) -> Sequence[Rows | Exception]:
        """One pass for all questions; where that fails one for each, so that only those fail that cannot be answered."""
        try:
            return self._forward(asks)
        except Exception as error:
            return [error] if len(asks) == 1 else [self._answers([ask])[0] for ask in asks]

    def _forward(self, asks: Sequence[Ask]) -> list[Rows]:
        model = asks[0].scorer
        assert isinstance(model, Model)
        places: dict[Prefix, int] = {}
        for ask in asks:
            for prefix in ask.prefixes:
                places.setdefault(prefix, len(places))
        with model.passing:
            rows = model.forward(list(places), frozenset().union(*(ask.want for ask in asks)))
        _check_rows(rows, model, len(places))
        self.passes += 1
        if self._trace is not None:
            self._trace("pass", (model, asks, rows))
        if len(asks) == 1 and len(places) == len(asks[0].prefixes):
            return [rows]
        return [rows.take([places[prefix] for prefix in ask.prefixes]) for ask in asks]

    def _advance(self, task: _Task, value: Any, error: BaseException | None = None) -> None:
        while task.stack:
            try:
                message = task.stack[-1].send(value) if error is None else task.stack[-1].throw(error)
            except StopIteration as end:
                task.stack.pop()
                value, error = end.value, None
                continue
            except Exception as raised:
                task.stack.pop()
                error = raised
                continue
            value, error = None, None
            if isinstance(message, Ask):
                if isinstance(message.scorer, Model):
                    self._waiting[task] = message
                    return
                try:
                    task.stack.append(_answering(message))
                except Exception as raised:
                    error = raised
            elif isinstance(message, Keep) and isinstance(message.prefix, Prefix):
                self.kept.append((task.number, message))
                if self._trace is not None:
                    self._trace("keep", (task.number, message.prefix))
                value = message.prefix
            elif isinstance(message, tuple) and message:
                task.parts, task.missing = [None] * len(message), len(message)
                for slot, ask in enumerate(message):
                    self._advance(_Task(_ask(ask), task.number, task, slot), None)
                return
            else:
                error = InvalidInput(
                    f"a decoder yielded {message!r}; yield Ask(scorer, prefixes), a tuple of them, or Keep(prefix)"
                )
        self._finish(task, value, error)

    def _finish(self, task: _Task, value: Any, error: BaseException | None) -> None:
        parent = task.parent
        if parent is None:
            if task.number in self._live:
                if error is not None:
                    self.errors[task.number] = error
                else:
                    self.results[task.number] = value
                self._live.pop(task.number)
            return
        parent.parts[task.slot] = error if error is not None else value
        parent.missing -= 1
        if parent.missing == 0:
            failed = next((part for part in parent.parts if isinstance(part, BaseException)), None)
            self._advance(parent, parent.parts, failed)


def _ask(ask: Ask) -> Generator[Ask, Rows, Rows]:
    return (yield ask)


def _answering(ask: Ask) -> Generator[Any, Any, Rows]:
    try:
        answer = ask.scorer.answer(ask.prefixes, ask.want)
    except AttributeError:
        expect(ask.scorer, Scorer, "the scorer of an Ask", "a scorer, such as lm.scorer | es.temperature(0.7)")
        raise
    if type(answer) is not GeneratorType:
        expect(answer, Generator, f"{type(ask.scorer).__name__}.answer(…)", "a generator: rows = yield Ask(…); return rows")
    return answer


def _check_rows(rows: Rows, model: Model, count: int) -> None:
    logits = getattr(rows, "logits", None)
    if logits is None or len(rows) != count or tuple(logits.shape) != (count, model.vocab_size):
        found = repr(rows)[:200] if logits is None else f"{len(rows)} rows {list(logits.shape)}"
        wanted = f"Rows(logits, prefixes) with logits [{count}, {model.vocab_size}]"
        raise InvalidInput(f"{type(model).__name__}.forward returned {found} for {count} prefixes; return {wanted}")
