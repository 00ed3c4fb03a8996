"""A request that was handed in: its events as they come, its result, and the way to cancel it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from espalier.errors import Interrupted
from espalier.requests.completion import Completion
from espalier.serving.waiters import Waiter, wake

_LOOSE = 16  # events that may wait apart; what comes then is joined to the last ones


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text that has settled, with the tokens that were settled since the piece before, and their log-probabilities.

    `branch` says of which of the n texts it is. Pieces, tokens and log-probabilities joined are those of the completion.

    >>> Text("Hi", (7,), (-0.5,)).branch
    0
    """

    text: str
    tokens: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    branch: int = 0


@dataclass(frozen=True, slots=True)
class Done:
    """The last event: the completion, as `lm.complete` of that request alone returns it.

    >>> from espalier.requests.completion import Stats
    >>> Done(Completion("Hi", [7], [-0.5], "stop", Stats())).completion.text
    'Hi'
    """

    completion: Completion


Event = Text | Done


class Handle:
    """A request in an engine. Iterating gives `Text` events and `Done` last, and raises what the request failed with.

    Any thread may read it, and cancel it. Guarantee: what is not read is bounded by the text itself, however slow the reader.

    >>> import threading
    >>> handle = Handle(lambda handle: None)
    >>> handle.put(Text("a")); handle.finish(None)
    >>> [event.text for event in handle.take()], handle.over
    (['a'], True)
    """

    def __init__(self, cancel: Callable[[Handle], None], told: Callable[[Waiter], None] | None = None) -> None:
        self._cancel, self._told = cancel, told or _wake
        self._changed = threading.Condition()
        self._events: deque[Event] = deque()
        self._waiter: Waiter | None = None
        self._completion: Completion | None = None
        self.error: BaseException | None = None
        self.over = False
        self.cancelled = False

    def put(self, event: Event) -> None:
        """A further event; where many wait to be read, pieces of a text are joined."""
        with self._changed:
            last = self._events[-1] if self._events else None
            fresh = last is None  # else whoever waits was told already, and has not come yet
            if (
                len(self._events) >= _LOOSE
                and isinstance(event, Text)
                and isinstance(last, Text)
                and last.branch == event.branch
            ):
                joined = (last.text + event.text, last.tokens + event.tokens, last.logprobs + event.logprobs)
                self._events[-1] = Text(*joined, event.branch)
            else:
                self._events.append(event)
            if fresh:
                self._tell()

    def finish(self, completion: Completion | None, error: BaseException | None = None) -> None:
        """The end: a completion, or what the request failed with. Only the first end counts."""
        with self._changed:
            if not self.over:
                self.over, self._completion, self.error = True, completion, error
                if completion is not None:
                    self._events.append(Done(completion))
                self._tell()

    def _tell(self) -> None:
        self._changed.notify_all()
        if self._waiter is not None:
            self._told(self._waiter)

    def listen(self, waiter: Waiter | None) -> None:
        """Wakes the waiter whenever there is something to take; at once if there is already."""
        with self._changed:
            self._waiter = waiter
            if waiter is not None and (self._events or self.over):
                self._told(waiter)

    def take(self) -> list[Event]:
        """The events that came since the last call; raises what the request failed with, after its last event."""
        with self._changed:
            found = list(self._events)
            self._events.clear()
        if not found and self.error is not None:
            raise self.error
        return found

    def __iter__(self) -> Iterator[Event]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._events or self.over)
            found = self.take()
            yield from found
            if not found or isinstance(found[-1], Done):
                return

    def result(self, timeout: float | None = None) -> Completion:
        """The completion. Raises what the request failed with, and `TimeoutError` after `timeout` seconds."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.over, timeout):
                raise TimeoutError(f"the request had not ended after {timeout} seconds; it goes on, handle.cancel() stops it")
        if self.error is not None:
            raise self.error
        assert self._completion is not None
        return self._completion

    def cancel(self) -> None:
        """Stops the request: within two turns nothing is computed for it. Without effect on one that has ended."""
        with self._changed:
            if self.over:
                return
            self.cancelled = True
        self.finish(None, Interrupted("the request was cancelled; ask for it again"))
        self._cancel(self)


def _wake(waiter: Waiter) -> None:
    wake([waiter])


def texts(events: Sequence[Event], branch: int = 0) -> str:
    """The pieces of one text, joined.

    >>> texts([Text("a"), Text("b", branch=1), Text("c")])
    'ac'
    """
    return "".join(event.text for event in events if isinstance(event, Text) and event.branch == branch)
