"""The loop: steps all live decoders, gathers what they ask, and makes at most one forward pass per model and turn."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from espalier.errors import InvalidInput, expect
from espalier.prefix import Prefix
from espalier.scorer import Ask, Model
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

    `results[number]` is what a finished decoder returned, `errors[number]` what it raised; `kept` receives what settles.

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
        self.kept: list[tuple[int, Prefix]] = []
        self.passes = 0
        self._trace = trace
        self._waiting: list[tuple[_Task, Ask]] = []
        self._waited: dict[Model, int] = {}
        self._live: dict[int, _Task] = {}
        self._added = 0

    def __len__(self) -> int:
        return len(self._live)

    def add(self, decoder: Decoder[Any]) -> int:
        """Starts a decoder, up to its first question, and returns its number."""
        expect(decoder, Generator, "a decoder", "a generator such as es.sample(scorer, x, stop, rng); several: run(a, b)")
        number, self._added = self._added, self._added + 1
        task = self._live[number] = _Task(decoder, number)
        with one_thread():
            self._advance(task, None)
        return number

    def cancel(self, number: int) -> None:
        """Stops a decoder; what only it held is freed."""
        task = self._live.pop(number, None)
        if task is not None:
            self._waiting = [(waiting, ask) for waiting, ask in self._waiting if waiting.number != number]
            for generator in reversed(task.stack):
                generator.close()

    def turn(self) -> None:
        """Answers every question that waits: one forward pass per model; a patient model's wait for others to join them."""
        waiting, self._waiting = self._due()
        groups: dict[int, list[tuple[_Task, Ask]]] = {}
        for task, ask in waiting:
            groups.setdefault(id(ask.scorer), []).append((task, ask))
        for group in groups.values():
            answers = self._answers([ask for _, ask in group])
            with one_thread():
                for (task, _), answer in zip(group, answers, strict=True):
                    self._advance(task, answer, answer if isinstance(answer, Exception) else None)

    def _due(self) -> tuple[list[tuple[_Task, Ask]], list[tuple[_Task, Ask]]]:
        models = {ask.scorer for _, ask in self._waiting if isinstance(ask.scorer, Model)}
        patient = {model for model in models if model.patience > self._waited.get(model, 0)}
        held = patient if models - patient else set()
        self._waited = {model: self._waited.get(model, 0) + 1 for model in held}
        parts: tuple[list[tuple[_Task, Ask]], list[tuple[_Task, Ask]]] = ([], [])
        for task, ask in self._waiting:
            parts[ask.scorer in held].append((task, ask))
        return parts

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
                    self._waiting.append((task, message))
                    return
                task.stack.append(message.scorer.answer(message.prefixes, message.want))
            elif isinstance(message, Keep):
                if message.branch == 0:
                    self.kept.append((task.number, message.prefix))
                if self._trace is not None:
                    self._trace("keep", (task.number, message.prefix))
                value = message.prefix
            elif isinstance(message, tuple) and message:
                task.parts, task.missing = [None] * len(message), len(message)
                for slot, ask in enumerate(message):
                    self._advance(_Task(_ask(ask), task.number, task, slot), None)
                return
            else:
                error = InvalidInput(f"a decoder yielded {message!r}; yield Ask(scorer, prefixes), a tuple of them, or Keep(x)")
        self._finish(task, value, error)

    def _finish(self, task: _Task, value: Any, error: BaseException | None) -> None:
        parent = task.parent
        if parent is None:
            if self._live.pop(task.number, None) is not None:
                if error is not None:
                    self.errors[task.number] = error
                else:
                    self.results[task.number] = value
            return
        parent.parts[task.slot] = error if error is not None else value
        parent.missing -= 1
        if parent.missing == 0:
            failed = next((part for part in parent.parts if isinstance(part, BaseException)), None)
            self._advance(parent, parent.parts, failed)


def _ask(ask: Ask) -> Generator[Ask, Rows, Rows]:
    return (yield ask)


def run(*decoders: Decoder[T], trace: Trace | None = None) -> list[T]:
    """What each decoder returns, in order; all of them share every forward pass.

    The result of a decoder does not depend on which others run beside it. If one raises, the others are closed and the
    error is raised here.

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=3, seed=0)
    >>> [x] = run(es.sample(model, es.Prefix(), es.stop.budget(3), es.Rng(0)))
    >>> len(x)
    3
    """
    loop = Loop(trace)
    numbers = [loop.add(decoder) for decoder in decoders]
    while loop and not loop.errors:
        loop.turn()
    for number in numbers:
        loop.cancel(number)
    for error in loop.errors.values():
        raise error
    return [loop.results[number] for number in numbers]


def settle(decoder: Decoder[Any], trace: Trace | None = None) -> Iterator[Prefix]:
    """The prefixes that settle while one decoder runs, as they do, and its result last.

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=3, seed=0)
    >>> [len(x) for x in settle(es.sample(model, Prefix([1]), es.stop.budget(3), es.Rng(0)))]
    [2, 3, 4, 4]
    """
    loop = Loop(trace)
    number = loop.add(decoder)
    try:
        while True:
            yield from (prefix for _, prefix in loop.kept)
            loop.kept.clear()
            if not loop:
                break
            loop.turn()
        if loop.errors:
            raise loop.errors[number]
        yield loop.results[number]
    finally:
        loop.cancel(number)
