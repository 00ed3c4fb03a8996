"""The loop: steps all live decoders, gathers what they ask, and makes at most one forward pass per model and turn."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from espalier.capabilities import check_rows
from espalier.errors import Interrupted, InvalidInput, expect
from espalier.models.executors.torch_threads import one_thread
from espalier.prefix import Prefix
from espalier.scheduler import Scheduler
from espalier.scorer import Ask, Model
from espalier.turns.batching import Batch, Queue
from espalier.turns.drawing import Draws
from espalier.turns.messages import Draw as Draw
from espalier.turns.messages import Keep as Keep
from espalier.turns.task import Task, answering, asking

if TYPE_CHECKING:
    from espalier.rows import Rows

T = TypeVar("T")


Decoder: TypeAlias = Generator["Ask | tuple[Ask, ...] | Draw | Keep", Any, T]
Trace: TypeAlias = Callable[[str, Any], None]  # ("pass", (model, asks, rows)) or ("keep", (decoder's number, prefix))


class Loop:
    """Decoders that run side by side. `add` one at any time, `turn` makes one pass per model, `cancel` forgets one.

    `scheduler` says which of the questions that wait go into a turn, and how much of them (a row budget).

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

    def __init__(self, trace: Trace | None = None, scheduler: Scheduler | None = None) -> None:
        expect(scheduler, (Scheduler, type(None)), "the scheduler of a loop", "es.Scheduler(rows=256), or None")
        self.results: dict[int, Any] = {}
        self.errors: dict[int, BaseException] = {}
        self.kept: list[tuple[int, Keep]] = []
        self.passes = 0
        self._trace = trace
        self._queue = Queue(scheduler or Scheduler())
        self._live: dict[int, Task] = {}
        self._numbers = itertools.count()
        self._draws = Draws()
        self._torn: list[int] = []  # whose task is being resumed, or being drawn for

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
            task = self._live[number] = Task(decoder, number)
            with one_thread():
                self._resume(task, None)
                self._draw()
        return number

    def cancel(self, number: int) -> None:
        """Stops a decoder; what only it held is freed."""
        task = self._live.pop(number, None)
        if task is not None:
            self._queue.forget(number)
            self._draws.forget(number)
            for generator in reversed(task.stack):
                try:
                    generator.close()
                except Exception as raised:
                    self.errors[number] = raised

    def turn(self) -> None:
        """Answers the questions that wait, as the scheduler says: at most one forward pass per model."""
        self._mend()
        self._draw()
        for gathering in (False, True):
            for batch in self._queue.batches(gathering):
                answers = self._answers(batch)
                with one_thread():
                    for task, answer in answers:
                        if task in self._queue.waiting:  # else it was cancelled meanwhile
                            self._resume(task, answer)
                    self._draw()

    def _resume(self, task: Task, value: Any) -> None:
        self._torn = [task.number]
        self._queue.answered(task)
        self._advance(task, value, value if isinstance(value, Exception) else None)
        self._torn = []

    def _draw(self) -> None:
        """Tokens for all decoders that wait for one, drawn together."""
        while self._draws:
            self._torn = [task.number for task, _ in self._draws.waiting]
            self._draws.make()
            self._torn = []
            for task, token in self._draws.made():
                self._resume(task, token)

    def _mend(self) -> None:
        """Ends the decoders that an interrupt tore apart: they would never ask again."""
        while self._torn:
            if (number := self._torn[-1]) not in self.results:
                self.errors.setdefault(number, Interrupted("this text was interrupted between two tokens; ask for it again"))
            self.cancel(number)
            self._torn.pop()

    def _answers(self, batch: Batch) -> list[tuple[Any, Rows | Exception]]:
        """One pass for all questions; where that fails one for each, so that only those fail that cannot be answered."""
        try:
            return self._forward(batch)
        except Exception as error:
            if len(alone := batch.alone()) == 1:
                return [((batch.parts or batch.ahead)[0][0], error)]
            return [answer for each in alone for answer in self._answers(each)]

    def _forward(self, batch: Batch) -> list[tuple[Any, Rows | Exception]]:
        model, parts = batch.model, batch.parts
        asked = [query for _, question, count in parts for query in question.left[:count]]
        places = {query: at for at, query in enumerate(dict.fromkeys(asked))}
        ahead = [(prefix, rows) for _, prefix, rows in batch.ahead]
        want = frozenset[str]().union(*(question.ask.want for _, question, _ in parts))
        with model.passing:
            rows = model.forward_beside(list(places), want, ahead) if ahead else model.forward(list(places), want)
        self.passes += not model.gathers
        if not parts:
            return []
        check_rows(rows, type(model).__name__, len(places), model.vocab_size)
        if self._trace is not None and not model.gathers:
            self._trace("pass", (model, [question.ask for _, question, _ in parts], rows))
        if len(parts) == 1 and len(places) == parts[0][2]:
            found = [rows]
        else:
            found = [rows.take([places[prefix] for prefix in question.left[:count]]) for _, question, count in parts]
        answers = ((task, question.take(part)) for (task, question, _), part in zip(parts, found, strict=True))
        return [(task, whole) for task, whole in answers if whole is not None]

    def _advance(self, task: Task, value: Any, error: BaseException | None = None) -> None:
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
                try:
                    if isinstance(message.scorer, Model):
                        self._queue.ask(task, task.number, message)
                        return
                    task.stack.append(answering(message))
                except Exception as raised:
                    error = raised
            elif isinstance(message, Draw) and hasattr(message.row, "draw") and hasattr(message.rng, "flip"):
                self._draws.waiting.append((task, message))
                return
            elif isinstance(message, Keep) and isinstance(message.prefix, Prefix):
                self.kept.append((task.number, message))
                self._queue.kept(task.number)
                if self._trace is not None:
                    self._trace("keep", (task.number, message.prefix))
                value = message.prefix
            elif isinstance(message, tuple) and message:
                task.parts, task.missing = [None] * len(message), len(message)
                for slot, ask in enumerate(message):
                    self._advance(Task(asking(ask), task.number, task, slot), None)
                return
            else:
                error = InvalidInput(
                    f"a decoder yielded {message!r}; yield Ask(scorer, prefixes) or several, Draw(row, rng), or Keep(prefix)"
                )
        self._finish(task, value, error)

    def _finish(self, task: Task, value: Any, error: BaseException | None) -> None:
        parent = task.parent
        if parent is None:
            if task.number in self._live:
                if error is not None:
                    self.errors[task.number] = error
                else:
                    self.results[task.number] = value
                self._live.pop(task.number)
            self._queue.forget(task.number)
            return
        parent.parts[task.slot] = error if error is not None else value
        parent.missing -= 1
        if parent.missing == 0:
            failed = next((part for part in parent.parts if isinstance(part, BaseException)), None)
            self._advance(parent, parent.parts, failed)
