"""Who waits in asyncio for what an engine's thread makes, and how they are woken."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NamedTuple


class Waiter(NamedTuple):
    """Somebody who waits in an asyncio loop: `call` is to be called there."""

    loop: asyncio.AbstractEventLoop
    call: Callable[[], object]


def wake(waiters: Iterable[Waiter]) -> None:
    """Calls each in its loop, from any thread: one message per loop, however many wait there. Loops that ended have nobody.

    >>> async def scenario():
    ...     ready = asyncio.Event()
    ...     wake([Waiter(asyncio.get_running_loop(), ready.set)])
    ...     return await ready.wait()
    >>> asyncio.run(scenario())
    True
    """
    calls: dict[asyncio.AbstractEventLoop, list[Callable[[], object]]] = {}
    for waiter in waiters:
        calls.setdefault(waiter.loop, []).append(waiter.call)
    for loop, each in calls.items():
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_call, each)


def _call(calls: list[Callable[[], object]]) -> None:
    for call in calls:
        call()
