"""Answers that end when the client goes: server-sent events, and work that is waited for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from starlette.types import Message, Receive, Scope, Send

from espalier.serving.http.failure import Failure

T = TypeVar("T")


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


async def gone(receive: Receive) -> None:
    """Returns when the client has closed its connection."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_gone(receive: Receive, work: Awaitable[T]) -> T:
    """What the work returns. Raises `ClientGone` and cancels it when the client goes first."""
    doing = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(gone(receive))
    try:
        await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise ClientGone
        return doing.result()
    finally:
        await _stop(doing, leaving)


async def _stop(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _next(events: AsyncIterator[bytes]) -> bytes:
    return await anext(events)


def data(value: Any) -> bytes:
    """One event of a stream."""
    return b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


class EventStream:
    """A stream of server-sent events, as an ASGI answer. An error before the first event is an answer of its own; after it,
    it is the last event. A comment is sent after `ping` silent seconds. When the client goes, the events are closed."""

    def __init__(
        self, events: AsyncIterator[bytes], ping: float, told: Callable[[BaseException], Failure], headers: dict[str, str]
    ) -> None:
        self.events, self.ping, self.told, self.headers = events, ping, told, headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        leaving = asyncio.ensure_future(gone(receive))
        coming: asyncio.Future[bytes] | None = None
        waited: set[asyncio.Future[Any]]
        begun = False
        try:
            while True:
                coming = coming or asyncio.ensure_future(_next(self.events))
                waited = {coming, leaving}
                done, _ = await asyncio.wait(waited, timeout=self.ping, return_when=asyncio.FIRST_COMPLETED)
                if leaving in done:
                    raise ClientGone
                chunk = b": ping\n\n"
                if coming in done:
                    try:
                        chunk = coming.result()
                    except StopAsyncIteration:
                        break
                    except Exception as error:
                        failed = self.told(error)
                        if not begun:
                            raise failed from error
                        await send({"type": "http.response.body", "body": data(failed.body), "more_body": True})
                        break
                    coming = None
                if not begun:
                    begun = True
                    await send(self._start())
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            if not begun:
                await send(self._start())
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await _stop(leaving, *([coming] if coming is not None else []))
            await self.events.aclose()  # type: ignore[attr-defined]

    def _start(self) -> Message:
        headers = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache", "x-accel-buffering": "no"}
        pairs = [(name.encode(), text.encode()) for name, text in (headers | self.headers).items()]
        return {"type": "http.response.start", "status": 200, "headers": pairs}
