"""The engine: one loop that any thread may add to, step, read and cancel in; everything that decodes drives one."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterator
from typing import Any, TypeVar

from espalier.errors import Interrupted, InvalidInput, expect
from espalier.prefix import Prefix
from espalier.run import Decoder, Keep, Loop, Trace
from espalier.scheduler import Scheduler

T = TypeVar("T")


class Engine:
    """A loop with a door for threads: `add` a decoder, `step`, take what was `kept`, read its `result`, or `cancel` it.

    Whoever waits for a result steps for all; one thread at a time, the others wait or come in between two steps.
    Guarantee: a decoder that raises, or is interrupted (Ctrl-C), ends alone. `result` and `stream` always come to an end if
    the decoders do: what an interrupt tore apart is told as `Interrupted`. What was read or cancelled is forgotten.

    >>> import espalier as es
    >>> model, engine = es.models.Table.random(vocab_size=4, depth=3, seed=0), Engine()
    >>> a, b = (engine.add(es.sample(model, Prefix([i]), es.stop.budget(3), es.Rng(i))) for i in range(2))
    >>> [len(keep.prefix) for keep in engine.stream(a)], len(engine.result(b)), len(engine)
    ([2, 3, 4], 4, 0)
    """

    def __init__(self, trace: Trace | None = None, scheduler: Scheduler | None = None) -> None:
        self._loop = Loop(trace, scheduler)
        self._stepping, self._stepper = threading.Lock(), 0
        self._door = threading.Lock()  # of the four below; never held while something runs
        self._added = 0
        self._joining: deque[tuple[int, Decoder[Any]]] = deque()
        self._leaving: deque[int] = deque()
        self._kept: dict[int, list[Keep]] = {}  # of every decoder that was neither read to its end nor cancelled

    def __len__(self) -> int:
        """How many decoders have not ended."""
        return len(self._loop) + len(self._joining)

    @property
    def errors(self) -> dict[int, BaseException]:
        """What decoders raised whose result was not read yet, by their numbers."""
        return self._loop.errors

    def add(self, decoder: Decoder[Any]) -> int:
        """The number of a decoder that joins at the next step. Any thread may add at any time; nobody waits."""
        expect(decoder, Generator, "a decoder", "a generator such as es.sample(scorer, x, stop, rng); several: run(a, b)")
        with self._door:
            number, self._added = self._added, self._added + 1
            self._kept[number] = []
            self._joining.append((number, decoder))
        return number

    def step(self) -> int:
        """Answers what all decoders ask now, one forward pass per model, and returns how many have not ended.

        Raises what a trace raises; what decoders raise is in `errors`.
        """
        if self._stepper == threading.get_ident():
            raise InvalidInput("a decoder, or a trace, cannot step the engine that runs it; yield Ask(…) instead")
        with self._stepping:
            try:
                self._stepper = threading.get_ident()
                self._leave()
                refused = len(self.errors)
                while self._joining:  # it is known to the loop before it has left the queue: `over` looks at both
                    self._loop.add(self._joining[0][1], self._joining[0][0])
                    self._joining.popleft()
                if self._loop and len(self.errors) == refused:  # else somebody may want to stop before a model runs
                    self._loop.turn()
                self._leave()
            finally:
                self._stepper = 0
                self._sort()
        return len(self)

    def cancel(self, number: int) -> None:
        """Stops a decoder and forgets it: now, or, where another thread is in a step, at the end of that step."""
        with self._door:
            self._kept.pop(number, None)
            self._leaving.append(number)
        if self._stepper != threading.get_ident() and self._stepping.acquire(blocking=False):
            try:
                self._leave()
            finally:
                self._stepping.release()

    def kept(self, number: int) -> list[Keep]:
        """What has settled of a decoder since this was asked last, in order."""
        with self._door:
            found = self._kept.get(number, [])
            if found:
                self._kept[number] = []
            return found

    def result(self, number: int) -> Any:
        """What a decoder returned, stepping until it has. Raises what it raised, or `Interrupted`; forgets it then."""
        while not self.over(number):
            self.step()
        with self._door:
            self._kept.pop(number, None)
            error, missing = self._loop.errors.pop(number, None), object()
            value = self._loop.results.pop(number, missing)
        if error is None and value is missing:
            error = Interrupted("this text was cancelled, read before, or lost when a step was interrupted; ask for it again")
        if error is not None:
            raise error
        return value

    def stream(self, number: int) -> Iterator[Keep]:
        """What settles of a decoder, as it does; closing the stream cancels the decoder. Raises what the decoder raised."""
        try:
            over = False
            while not over:
                over = self.over(number)
                yield from self.kept(number)
                if not over:
                    self.step()
            if (error := self._loop.errors.get(number)) is not None:
                raise error
        finally:
            if not self.over(number) or number in self._loop.errors:
                self.cancel(number)

    def over(self, number: int) -> bool:
        """Whether a decoder has ended: returned, raised, or cancelled."""
        return number not in self._loop and all(joining != number for joining, _ in list(self._joining))

    def _leave(self) -> None:
        while self._leaving:
            number = self._leaving[0]
            with self._door:
                kept = [(joining, decoder) for joining, decoder in self._joining if joining != number]
                self._joining = deque(kept)
            self._loop.cancel(number)
            self._loop.results.pop(number, None)
            self._loop.errors.pop(number, None)
            self._leaving.popleft()

    def _sort(self) -> None:
        """Gives what was kept in this step to those who ask for it."""
        with self._door:
            for number, keep in self._loop.kept:
                if number in self._kept:
                    self._kept[number].append(keep)
            self._loop.kept.clear()


def run(*decoders: Decoder[T], trace: Trace | None = None, scheduler: Scheduler | None = None) -> list[T]:
    """What each decoder returns, in order; all of them share every forward pass.

    The result of a decoder does not depend on which others run beside it. If one raises, the others are closed and the
    error is raised here.

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=3, seed=0)
    >>> [x] = run(es.sample(model, es.Prefix(), es.stop.budget(3), es.Rng(0)))
    >>> len(x)
    3
    """
    engine, numbers = Engine(trace, scheduler), list[int]()
    try:
        for decoder in decoders:
            numbers.append(engine.add(decoder))
        while not engine.errors and engine.step():
            pass
        for error in engine.errors.values():
            raise error
        return [engine.result(number) for number in numbers]
    finally:
        for number in numbers:
            engine.cancel(number)


def settle(decoder: Decoder[Any], trace: Trace | None = None) -> Iterator[Prefix]:
    """The prefixes that settle while one decoder runs, as they do (those of its first text), and its result last.

    >>> import espalier as es
    >>> model = es.models.Table.random(vocab_size=4, depth=3, seed=0)
    >>> [len(x) for x in settle(es.sample(model, Prefix([1]), es.stop.budget(3), es.Rng(0)))]
    [2, 3, 4, 4]
    """
    engine = Engine(trace)
    number = engine.add(decoder)
    yield from (keep.prefix for keep in engine.stream(number) if keep.branch == 0)
    yield engine.result(number)
